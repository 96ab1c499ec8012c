//! The lab: boots the real Xen hypervisor in an emulator and runs demo, tests and benchmarks
//! on it, from a fresh checkout, as an ordinary user.
//!
//! The same static program is process 1 of dom0 and the agent that runs commands there.
#![forbid(unsafe_code)]

mod apt;
mod artefact;
mod attack;
mod bench;
mod case;
mod cases;
mod cli;
mod command;
mod console;
mod cpio;
mod debugger;
mod demo;
mod dom0;
mod dom0_tests;
mod elf;
mod error;
mod frame;
mod guest;
mod image;
mod kernel;
mod lanes;
mod leftovers;
mod modules;
mod paths;
mod program;
mod qemu;
mod rdma;
mod report;
mod runner;
mod session;
mod shell;
mod skips;
mod slot;
mod stage;
mod test;
mod tools;
mod unpacked;
mod vmlinux;
mod xenstored;

use std::process::ExitCode;

fn main() -> ExitCode {
    report::elapsed();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if std::process::id() == 1 {
        dom0::init::main();
    }
    let result = match args.first().map(String::as_str) {
        Some("warden") => qemu::warden(&args[1..]).map(|()| 0),
        Some("follow") => inside("follow", dom0::follow::main(&args[1..])),
        Some("snapshot") => inside("look around", dom0::snapshot::main().map(|()| 0)),
        Some("case") if args.len() == 2 => inside("run", cases::main(&args[1]).map(|()| 0)),
        Some("bench-dom0") => inside("measure", bench::inside(&args[1..]).map(|()| 0)),
        Some("attack") => inside("attack", attack::main(&args[1..])),
        Some("agent") => inside("serve", dom0::agent::main().map(|()| 0)),
        _ => cli::main(),
    };
    match result {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            eprintln!("lab: {}", error::chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// The result of what runs inside dom0.
fn inside(operation: &'static str, result: std::io::Result<i32>) -> error::Result<i32> {
    result.map_err(|source| error::Error::File { operation, path: "dom0".into(), source })
}
