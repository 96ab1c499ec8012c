//! Prints a line and ends: the smallest guest.
#![no_std]
#![no_main]

xtf::main!(hello);

fn hello(guest: &mut xtf::Guest) -> xtf::Outcome {
    match guest.store.read("domid") {
        Ok(domid) => xtf::println!("xtf: hello domid={domid}"),
        Err(error) => {
            xtf::println!("domid: {error}");
            return xtf::Outcome::Error("the store does not answer");
        }
    }
    xtf::Outcome::Success
}
