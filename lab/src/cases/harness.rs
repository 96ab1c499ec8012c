//! The harness itself: cases that do what no case may do, and must be failed for it.

use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, config, run};
use crate::dom0::init;
use crate::{ensure, fail};
use libxc_safe::{Domid, GrantAllocator, GrantDevice, Protection};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

/// A case that must fail, with a part of the reason.
const fn bad(name: &'static str, reason: &'static str, run: fn() -> Verdict) -> Case {
    Case { must_fail: Some(reason), ci: false, ..Case::new(name, Group::Xtf, run) }
}

/// The cases of this topic.
pub const CASES: &[Case] = &[
    bad("harness/leaves-a-domain", "domain left", leaves_a_domain),
    bad("harness/leaves-a-node", "xenstore node left", leaves_a_node),
    bad("harness/leaves-a-process", "process left", leaves_a_process),
    bad("harness/leaves-a-grant", "grant of d0 in use", leaves_a_grant),
    bad("harness/xen-says-something", "'q' pressed", xen_says_something),
    bad("harness/leaves-a-loop-device", "loop device left", leaves_a_loop_device),
    bad("harness/kernel-reports-a-bug", "dom0's kernel said", kernel_reports_a_bug),
    Case { ci: true, ..bad("harness/skips-unlisted", "not listed", skips_unlisted) },
    Case {
        limit_seconds: 3,
        ..bad("harness/takes-too-long", "took longer than 3 s", takes_too_long)
    },
    bad("harness/ends-without-a-word", "no verdict", ends_without_a_word),
    Case { wrecks: true, ..bad("harness/crashes-dom0", "the machine went down", crashes_dom0) },
    Case {
        wrecks: true,
        xen_options: "noreboot",
        ..bad("harness/crashes-and-hangs", "crashed during", crashes_dom0)
    },
];

fn leaves_a_domain() -> Verdict {
    let text = "name = \"left\"\ntype = \"pv\"\nkernel = \"/guest/vmlinuz\"\nmemory = 32\n";
    let path = config("left", text)?;
    run(&format!("/xen/bin/xl create -p {path}"))?.success()?;
    Ok(())
}

fn leaves_a_node() -> Verdict {
    run("/usr/bin/xenstore-write /tool/left here")?.success()?;
    Ok(())
}

fn leaves_a_process() -> Verdict {
    let mut command = init::command("/bin/busybox");
    command.args(["sleep", "1000"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    Ok(())
}

/// Tells this case that it is the process that holds the grant.
const HOLD: &str = "LAB_HOLD_A_GRANT";

/// A page that dom0 grants to itself and maps, in a process that outlives the case.
fn leaves_a_grant() -> Verdict {
    if std::env::var_os(HOLD).is_some() {
        return hold_a_grant().map_err(|error| Stop::Failed(error.to_string()));
    }
    let mut command = init::command("/bin/lab");
    command.args(["case", "harness/leaves-a-grant"]).env(HOLD, "1");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let Some(pipe) = child.stdout.take() else { fail!("no pipe to the holder") };
    let mut line = String::new();
    BufReader::new(pipe).read_line(&mut line)?;
    ensure!(line.trim() == "held", "the holder says «{line}»");
    Ok(())
}

fn hold_a_grant() -> libxc_safe::Result<()> {
    let pages = GrantAllocator::open()?.allocate(Domid::DOM0, 1, true)?;
    let protection = Protection::Read;
    let _mapping = GrantDevice::open()?.map(Domid::DOM0, pages.references(), protection)?;
    println!("held");
    loop {
        std::thread::park();
    }
}

fn xen_says_something() -> Verdict {
    run("/xen/bin/xl debug-keys q")?.success()?;
    Ok(())
}

fn leaves_a_loop_device() -> Verdict {
    std::fs::write("/tmp/disk", vec![0; 1 << 20])?;
    run("/bin/busybox losetup -f /tmp/disk")?.success()?;
    Ok(())
}

/// What a crash writes into the kernel's log.
fn kernel_reports_a_bug() -> Verdict {
    std::fs::write("/dev/kmsg", "<3>BUG: not a real one, a line that looks like one\n")?;
    Ok(())
}

fn skips_unlisted() -> Verdict {
    Err(Stop::Skipped("nobody listed it".into()))
}

fn takes_too_long() -> Verdict {
    loop {
        std::thread::park();
    }
}

fn ends_without_a_word() -> Verdict {
    std::process::exit(0)
}

/// Xen ends the machine when dom0's kernel is gone.
fn crashes_dom0() -> Verdict {
    std::fs::write("/proc/sysrq-trigger", "c")?;
    takes_too_long()
}
