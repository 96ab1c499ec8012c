//! Numbers in order through the store: each is written, heard of once, and read back, until
//! `data/end` is there. What a store loses, does twice or sends again shows here.
#![no_std]
#![no_main]

use xtf::{Guest, Outcome, store::Error};

xtf::main!(sequence);

/// Rounds between two looks at `data/end`.
const BETWEEN_LOOKS: u32 = 8;

fn sequence(guest: &mut Guest) -> Outcome {
    let mut round = 0;
    match rounds(guest, &mut round) {
        Ok(None) => {
            xtf::println!("xtf: {round} rounds");
            Outcome::Success
        }
        Ok(Some(why)) => {
            xtf::println!("xtf: round {round}: {why}");
            Outcome::Failure
        }
        Err(error) => {
            xtf::println!("xtf: round {round}: {error}");
            Outcome::Failure
        }
    }
}

/// What was wrong, if something was.
fn rounds(guest: &mut Guest, round: &mut u32) -> Result<Option<&'static str>, Error> {
    let store = &mut guest.store;
    store.watch("data/sequence", "sequence")?;
    if store.next_event()?.path() != "data/sequence" {
        return Ok(Some("another event than that of the watch"));
    }
    xtf::println!("xtf: counts");
    loop {
        *round += 1;
        let mut digits = [0; 10];
        let number = decimal(*round, &mut digits);
        store.write("data/sequence", number)?;
        let event = store.next_event()?;
        if event.path() != "data/sequence" || event.token() != "sequence" {
            return Ok(Some("another event than that of the write"));
        }
        if store.read("data/sequence")? != number {
            return Ok(Some("another value than was written"));
        }
        if *round % BETWEEN_LOOKS == 0 {
            match store.read("data/end") {
                Ok(_) => break,
                Err(error) if error.is("ENOENT") => {}
                Err(error) => return Err(error),
            }
        }
    }
    // An event too many would come before this one.
    store.watch("data/last", "last")?;
    let last = store.next_event()?.path() == "data/last" && store.lost_events() == 0;
    Ok(if last { None } else { Some("an event too many") })
}

fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &str {
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return str::from_utf8(&digits[first..]).unwrap_or("");
        }
    }
}
