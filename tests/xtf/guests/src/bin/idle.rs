//! Waits until the toolstack asks for a shutdown (`control/shutdown`), then does what `on=` says:
//! `obey` (default), `poweroff`, `reboot`, `crash`, or `ignore`.
//!
//! It acknowledges a request by writing an empty value, as the protocol has it, and blocks in
//! between without a periodic wake-up.
#![no_std]
#![no_main]

use xtf::xen_sys::sched::{SHUTDOWN_crash, SHUTDOWN_poweroff, SHUTDOWN_reboot};

const CONTROL: &str = "control/shutdown";

xtf::main!(idle);

fn idle(guest: &mut xtf::Guest) -> xtf::Outcome {
    match serve(guest) {
        Ok(reason) => {
            xtf::println!("Test result: {}", xtf::Outcome::Success);
            xtf::console::flush();
            xtf::shutdown(reason)
        }
        Err(error) => {
            xtf::println!("{CONTROL}: {error}");
            xtf::Outcome::Error("the store does not serve us")
        }
    }
}

/// The reason with which to end.
fn serve(guest: &mut xtf::Guest) -> Result<u32, xtf::store::Error> {
    guest.store.watch(CONTROL, "idle")?;
    xtf::println!("xtf: idle");
    loop {
        guest.store.next_event()?;
        let wanted = match guest.store.read(CONTROL)? {
            "" => continue,
            "poweroff" | "halt" => Some(SHUTDOWN_poweroff),
            "reboot" => Some(SHUTDOWN_reboot),
            "crash" => Some(SHUTDOWN_crash),
            _ => None,
        };
        xtf::println!("xtf: asked to end");
        guest.store.write(CONTROL, "")?;
        let reason = match guest.option("on").unwrap_or("obey") {
            "poweroff" => Some(SHUTDOWN_poweroff),
            "reboot" => Some(SHUTDOWN_reboot),
            "crash" => Some(SHUTDOWN_crash),
            "ignore" => None,
            _ => wanted,
        };
        if let Some(reason) = reason {
            return Ok(reason);
        }
    }
}
