//! `xlr bug-report`: what it collects, and that it does so whatever else does not work.

use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv, await_text, config, console, run};
use crate::dom0::init;
use crate::{ensure, fail};
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use xenstore::client::{Client, Nodes as _};

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("bug-report/complete", Group::Toolstack, complete),
    Case::new("bug-report/flooded", Group::Toolstack, flooded),
    Case::new("bug-report/in-part", Group::Toolstack, in_part),
];

/// A domain whose configuration holds what must not get out.
fn guest() -> Verdict {
    let path = config(
        "reported",
        "name = \"reported\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\nvcpus = 1\n\
         extra = \"on=ignore password=geheim\"\n",
    )?;
    let mut log = console("reported")?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    await_text(&mut log, "xtf: idle", 20)
}

/// Makes a report and returns it with what was said of it.
fn report(flags: &[&str]) -> Result<(String, String), Stop> {
    let path = "/tmp/report.txt";
    let _ = std::fs::remove_file(path);
    let said = argv(&[&["/bin/xlr", "bug-report", "-o", path], flags].concat())?.success()?;
    Ok((std::fs::read_to_string(path)?, said.err))
}

fn complete() -> Verdict {
    guest()?;
    let (text, said) = report(&[])?;
    ensure!(!text.contains("NOT COLLECTED") && !said.contains("Not collected"), "{said}");
    for part in [
        "domctl 0x12",
        "xen_version            : 4.17",
        "virt_caps",
        "Affinity (Hard / Soft)",
        "===== log of the hypervisor =====",
        "\"name\": \"reported\"",
        "/control/feature-poweroff = ",
        "/xlr = ",
        "xenstored state S",
        "MemTotal",
        "passwor", // its key alone
    ] {
        ensure!(text.contains(part), "the report has no {part:?}");
    }
    for never in ["geheim", "xtf: idle"] {
        ensure!(!text.contains(never), "the report has {never:?}");
    }
    let (text, _) = report(&["--guest-consoles"])?;
    ensure!(text.contains("xtf: idle") && !text.contains("geheim"), "with --guest-consoles");
    // A file that is there stays; without -o there is a new one.
    argv(&["/bin/xlr", "bug-report", "-o", "/tmp/report.txt"])?.failure()?;
    let printed = run("/bin/xlr bug-report -o -")?.success()?;
    ensure!(printed.out.contains("===== versions ====="), "{}", printed.out);
    run("/bin/xlr destroy reported")?.success()?;
    Ok(())
}

/// What a guest may write does not make the report longer than that, nor push out what is not the
/// guest's.
fn flooded() -> Verdict {
    guest()?;
    let id = argv(&["/bin/xlr", "domid", "reported"])?.success()?.out;
    let failed = |error: xenstore::client::Error| Stop::Failed(error.to_string());
    let mut store = Client::connect().map_err(failed)?;
    // As long as a value may be, of bytes that take eight times that when they are quoted.
    let value = [0x1f; 2000];
    for number in 0..800 {
        let path = format!("/local/domain/{}/data/flood-{number}", id.trim());
        store.write(path, value).map_err(failed)?;
    }
    let (text, _) = report(&[])?;
    ensure!(text.len() < 1 << 20, "a report of {} bytes", text.len());
    for part in ["(2000 bytes)", "... and more nodes", "left out here", "/memory/target = "] {
        ensure!(text.contains(part), "the report has no {part:?}");
    }
    run("/bin/xlr destroy reported")?.success()?;
    Ok(())
}

/// Not root; xenstored hangs; xenstored has died and left its socket behind.
fn in_part() -> Verdict {
    guest()?;
    let out = init::command("/bin/xlr").args(["bug-report", "-o", "-"]).uid(65534).output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    ensure!(out.status.success(), "as nobody: {}", out.status);
    ensure!(text.contains("info -n: NOT COLLECTED, cannot open"), "as nobody: {text}");
    ensure!(text.contains("===== daemons ====="), "as nobody: {text}");

    let pid = std::fs::read_to_string("/run/xen/xenstored.pid")?;
    let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) else { fail!("pid {pid:?}") };
    kill_process(pid, Signal::STOP).map_err(std::io::Error::from)?;
    let made = report(&[]);
    kill_process(pid, Signal::CONT).map_err(std::io::Error::from)?;
    let (text, said) = made?;
    nameless(&text, &said)?;
    ensure!(text.contains("xenstored state T"), "not seen to be stopped: {text}");

    let socket = "/tmp/dead-xenstored";
    let _ = std::fs::remove_file(socket);
    drop(UnixListener::bind(socket)?);
    let mut command = init::command("/bin/xlr");
    let out = command.args(["bug-report", "-o", "-"]).env("XENSTORED_PATH", socket).output()?;
    let [text, said] = [&out.stdout, &out.stderr].map(|said| String::from_utf8_lossy(said));
    ensure!(out.status.success(), "with a dead xenstored: {}: {said}", out.status);
    nameless(&text, &said)?;
    ensure!(said.contains("Connection refused"), "{said}");
    run("/bin/xlr destroy reported")?.success()?;
    Ok(())
}

/// Without xenstored everything else is there.
fn nameless(text: &str, said: &str) -> Verdict {
    ensure!(
        said.contains("Not collected: nodes of xlr's domains, their configurations: "),
        "{said}"
    );
    for part in ["\"name\": null", "\"domid\": 0", "virt_caps", "===== daemons ====="] {
        ensure!(text.contains(part), "the report has no {part:?}: {text}");
    }
    Ok(())
}
