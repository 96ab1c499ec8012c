//! Fares as the command line says, so that somebody can judge it: `how=` is
//!
//! - `pass` (default), `fail`: prints a result and powers off; `reboot`, `crash`: ends so after a result,
//! - `stay`: prints a result and blocks; `hang`: blocks without one,
//! - `flood`: prints lines without end; `endless`: one line without end,
//! - `echo`: prints its command line as Linux does, and powers off,
//! - `prompt`: prints a result without the end of its line, and blocks.
//!
//! Before all that it writes `code=` to `data/exit-code`, if there is one; with `mute=1` it prints no
//! result.
#![no_std]
#![no_main]

use xtf::xen_sys::sched::{SHUTDOWN_crash, SHUTDOWN_poweroff, SHUTDOWN_reboot};

xtf::main!(fare);

fn fare(guest: &mut xtf::Guest) -> xtf::Outcome {
    let line = guest.boot.info.cmd_line;
    if let Some(code) = xtf::cmdline::value(&line, "code")
        && let Err(error) = guest.store.write("data/exit-code", code)
    {
        xtf::println!("data/exit-code: {error}");
        return xtf::Outcome::Error("the store does not take the code");
    }
    let result = guest.option("mute").is_none();
    match guest.option("how").unwrap_or("pass") {
        "fail" => xtf::println!("1 of 7 tests failed"),
        "hang" => stay(),
        "flood" => loop {
            xtf::println!("xtf: a line of a flood, which is as long as lines usually are, and no longer");
        },
        "endless" => loop {
            xtf::console::print(format_args!("xtf: a part of a line that has no end; "));
        },
        "echo" => {
            let line = str::from_utf8(xtf::cmdline::bytes(&line)).unwrap_or("");
            xtf::println!("[    0.000000] Kernel command line: {line}");
            end(SHUTDOWN_poweroff)
        }
        "prompt" => {
            xtf::console::print(format_args!("all tests passed; what now? "));
            stay()
        }
        _ if result => xtf::println!("all tests passed"),
        _ => {}
    }
    match guest.option("how").unwrap_or("pass") {
        "stay" => stay(),
        "crash" => end(SHUTDOWN_crash),
        "reboot" => end(SHUTDOWN_reboot),
        _ => end(SHUTDOWN_poweroff),
    }
}

/// Ends once all that was printed is taken.
fn end(reason: u32) -> ! {
    xtf::console::flush();
    xtf::shutdown(reason)
}

fn stay() -> ! {
    loop {
        // Nothing ever comes: it blocks.
        let _ = xtf::event::wait(&[], None);
    }
}
