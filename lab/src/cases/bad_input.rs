//! What is wrong is refused with an error that says what to do, by the documented exit code, and
//! leaves nothing: dumps of everything before and after are the same.

use crate::case::{Case, Group};
use crate::dom0::dump::{self, no_tops, without_tops};
use crate::dom0::host::{Said, Stop, Verdict, argv, config, domid, run};
use crate::dom0::init;
use crate::dom0::pending::{pending, swept};
use crate::dom0::stopped::{steps, stopped};
use crate::{ensure, fail};
use rustix::process::{Pid, Signal};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::process::CommandExt as _;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("bad-input/files", Group::Failure, files),
    Case::new("bad-input/sizes-and-names", Group::Failure, sizes_and_names),
    Case::new("bad-input/rights", Group::Failure, rights),
    Case::new("bad-input/signals", Group::Failure, signals),
    Case::new("bad-input/ramdisk-rewritten", Group::Failure, ramdisk_rewritten),
    Case { wrecks: true, ..Case::new("bad-input/no-xenstored", Group::Failure, no_xenstored) },
    Case {
        wrecks: true,
        ..Case::new("bad-input/xenstored-dies-early", Group::Failure, || store_dies("max-vcpus"))
    },
    Case {
        wrecks: true,
        ci: false,
        ..Case::new("bad-input/xenstored-dies-late", Group::Failure, || store_dies("introduce"))
    },
];

const GUEST: &str = "name = \"bad\"\ntype = \"pv\"\nkernel = \"/guest/vmlinuz\"\n\
     ramdisk = \"/guest/initramfs.gz\"\nmemory = 64\nvcpus = 2\ncpus = \"0\"\n";

/// A create that must fail, with this code and these words, and leave nothing. A dry run says so
/// beforehand.
fn refused(what: &str, path: &str, code: i32, words: &[&str]) -> Verdict {
    let before = dump::take()?;
    let said = run(&format!("/bin/xlr create -n {path}"))?;
    judge(&format!("a dry run of {what}"), &said, code, words)?;
    let said = run(&format!("/bin/xlr create {path}"))?;
    judge(what, &said, code, words)?;
    dump::unchanged(&before, what)
}

/// A create that must fail because of what other domains have at the moment. That may be otherwise when
/// it counts: a dry run warns, shows the plan and ends well, as xl's does.
fn in_the_way(what: &str, path: &str, code: i32, words: &[&str]) -> Verdict {
    let before = dump::take()?;
    let said = run(&format!("/bin/xlr create -n {path}"))?;
    judge(&format!("a dry run of {what}"), &said, 0, &[words, &["xlr: warning: now "]].concat())?;
    ensure!(said.out.contains("create-domain"), "no plan: {}", said.out);
    let quiet = run(&format!("/bin/xlr create -q -q -n {path}"))?.success()?;
    ensure!(quiet.err.is_empty() && quiet.out.contains("create-domain"), "quiet: {}", quiet.err);
    run(&format!("/xen/bin/xl create -n {path}"))?.success()?;
    let said = run(&format!("/bin/xlr create {path}"))?;
    judge(what, &said, code, words)?;
    dump::unchanged(&before, what)
}

fn judge(what: &str, said: &Said, code: i32, words: &[&str]) -> Verdict {
    ensure!(said.code == code, "{what}: exit code {} and not {code}: {}", said.code, said.err);
    for word in words {
        ensure!(said.err.contains(word), "{what}: no «{word}» in {}", said.err);
    }
    Ok(())
}

/// Kernels and ramdisks that are none.
fn files() -> Verdict {
    let stock = std::fs::read("/guest/stock")?;
    let idle = std::fs::read("/guest/xtf/idle")?;
    std::fs::write("/tmp/truncated", stock.get(..100_000).unwrap_or_default())?;
    std::fs::write("/tmp/cut", idle.get(..idle.len() / 2).unwrap_or_default())?;
    std::fs::write("/tmp/empty", "")?;
    std::fs::write("/tmp/text", "a text, and not a kernel, although it is a file\n")?;
    // A program is an ELF file without Xen's notes.
    std::fs::copy("/bin/busybox", "/tmp/no-notes")?;
    let mut arm = idle.clone();
    arm[18] = 183; // e_machine: AArch64
    std::fs::write("/tmp/aarch64", &arm)?;
    let mut narrow = idle.clone();
    narrow[4] = 1; // EI_CLASS: 32 bits
    std::fs::write("/tmp/narrow", &narrow)?;
    let checks: [(&str, &str, &[&str]); 11] = [
        ("missing kernel", "kernel = \"/nowhere\"", &["/nowhere", "no such file", "check kernel="]),
        (
            "truncated bzImage",
            "kernel = \"/tmp/truncated\"",
            &["/tmp/truncated", "copy the kernel"],
        ),
        ("truncated ELF", "kernel = \"/tmp/cut\"", &["/tmp/cut", "again"]),
        ("empty kernel", "kernel = \"/tmp/empty\"", &["/tmp/empty", "is empty"]),
        ("no kernel", "kernel = \"/tmp/text\"", &["/tmp/text", "not a kernel image"]),
        ("no Xen notes", "kernel = \"/tmp/no-notes\"", &["/tmp/no-notes", "note"]),
        ("AArch64", "kernel = \"/tmp/aarch64\"", &["/tmp/aarch64", "x86-64"]),
        ("32 bits", "kernel = \"/tmp/narrow\"", &["/tmp/narrow", "x86-64"]),
        ("a directory", "kernel = \"/tmp\"", &["/tmp", "it is a directory"]),
        ("missing ramdisk", "ramdisk = \"/nowhere\"", &["ramdisk /nowhere", "check ramdisk="]),
        ("a device", "ramdisk = \"/dev/null\"", &["ramdisk /dev/null", "it is a device"]),
    ];
    for (what, line, words) in checks {
        let path = config("bad", &format!("{GUEST}{line}\n"))?;
        refused(what, &path, 3, words)?;
    }
    refused("missing configuration", "/nowhere.cfg", 3, &["/nowhere.cfg"])?;
    for name in ["truncated", "cut", "empty", "text", "no-notes", "aarch64", "narrow"] {
        std::fs::remove_file(format!("/tmp/{name}"))?;
    }
    Ok(())
}

/// Too large, too much, taken, broken.
fn sizes_and_names() -> Verdict {
    let large = std::fs::File::create("/tmp/large")?;
    large.set_len(80 << 20)?;
    let path = config("bad", &format!("{GUEST}ramdisk = \"/tmp/large\"\n"))?;
    refused("ramdisk larger than memory", &path, 3, &["ramdisk", "memory"])?;
    std::fs::remove_file("/tmp/large")?;
    let path = config("bad", &format!("{GUEST}memory = 100000\n"))?;
    in_the_way("memory beyond what is free", &path, 1, &["needs", "KiB free", "lower memory"])?;
    let path = config("bad", &format!("{GUEST}memory = 8\n"))?;
    refused("memory below what the kernel needs", &path, 3, &["memory"])?;
    for (what, text, word) in [
        ("broken line", "name = \"bad\nkernel = \"/guest/vmlinuz\"\n", "broken.cfg:1"),
        ("no kernel", "name = \"bad\"\ntype = \"pv\"\n", "add a line: kernel"),
        (
            "not a number",
            "name = \"bad\"\ntype = \"pv\"\nkernel = \"/guest/small\"\nvcpus = \"x\"\n",
            "broken.cfg:4",
        ),
    ] {
        let path = config("broken", text)?;
        refused(what, &path, 3, &[word, "nothing was done"])?;
    }
    let path = config("bad", GUEST)?;
    run(&format!("/bin/xlr create -p {path}"))?.success()?;
    in_the_way("a name in use", &path, 3, &["called \"bad\" already", "choose another name"])?;
    run("/bin/xlr destroy bad")?.success()?;
    let uuid = "uuid = \"11111111-2222-3333-4444-777777777777\"\n";
    let path = config("bad", &format!("{GUEST}{uuid}"))?;
    run(&format!("/bin/xlr create -p {path}"))?.success()?;
    let other = config("other", &format!("{GUEST}{uuid}").replace("\"bad\"", "\"other\""))?;
    in_the_way("a UUID in use", &other, 3, &["has this UUID already"])?;
    // All that is in the way; and what the configuration alone forbids is an error still.
    let said = run(&format!("/bin/xlr create -n {path} memory=100000"))?.success()?;
    let all = ["has this UUID already", "KiB free"];
    ensure!(all.iter().all(|word| said.err.contains(word)), "not all is said: {}", said.err);
    let line = format!("/bin/xlr create -n {path} memory=8");
    judge(&line, &run(&line)?, 3, &["memory"])?;
    run("/bin/xlr destroy -f -f bad")?.success()?;
    Ok(())
}

/// Not root; no privcmd.
fn rights() -> Verdict {
    let path = config("bad", GUEST)?;
    let before = dump::take()?;
    for (verb, argument) in [("create", path.as_str()), ("list", "-v"), ("destroy", "1")] {
        let mut command = init::command("/bin/xlr");
        let out = command.args([verb, argument]).uid(1000).gid(1000).output()?;
        let err = String::from_utf8_lossy(&out.stderr).into_owned();
        ensure!(out.status.code() == Some(4), "{verb} by uid 1000: {}: {err}", out.status);
        ensure!(err.contains("root"), "{verb} by uid 1000 says {err}");
    }
    dump::unchanged(&before, "commands by somebody else than root")?;
    // The device, and the older way to it.
    std::fs::rename("/dev/xen/privcmd", "/dev/xen/privcmd.away")?;
    let unmounted = run("/bin/busybox umount /proc/xen")?;
    let said = run(&format!("/bin/xlr create {path}"))?;
    std::fs::rename("/dev/xen/privcmd.away", "/dev/xen/privcmd")?;
    if unmounted.code == 0 {
        run("/bin/busybox mount -t xenfs xenfs /proc/xen")?.success()?;
    }
    judge("no privcmd", &said, 4, &["privcmd"])?;
    dump::unchanged(&before, "a create without privcmd")
}

/// Every signal that ends a program, while the create stands at a step: all is undone.
fn signals() -> Verdict {
    let path = config("bad", GUEST)?;
    let steps = steps(&path)?;
    let before = dump::take()?;
    let signals = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];
    // Before the domain, with memory, as the last step begins, after it, and when it runs already.
    let places = ["create-domain", "load-kernel", "introduce"]
        .iter()
        .filter_map(|name| steps.iter().position(|step| step == name))
        .chain([steps.len(), steps.len() + 1, steps.len() + 2]);
    for (at, signal) in places.zip(signals.iter().cycle()) {
        without_tops()?;
        let made = stopped(&["create", "--stop-before-step", &at.to_string(), &path])?;
        made.signal(*signal)?;
        let said = made.resume()?;
        judge(&format!("{signal:?} at {at}"), &said, 130, &["interrupted"])?;
        dump::unchanged(&before, &format!("{signal:?} before step {at}"))?;
        no_tops(&format!("{signal:?} before step {at}"))?;
    }
    Ok(())
}

/// A ramdisk that is written to while it is loaded is noticed; a mixture would boot, or not.
fn ramdisk_rewritten() -> Verdict {
    std::fs::copy("/guest/initramfs.gz", "/tmp/rewritten")?;
    let path = config("bad", &format!("{GUEST}ramdisk = \"/tmp/rewritten\"\n"))?;
    let steps = steps(&path)?;
    let Some(at) = steps.iter().position(|step| step == "load-ramdisk") else {
        fail!("the plan loads no ramdisk: {steps:?}")
    };
    let before = dump::take()?;
    let made = stopped(&["create", "--stop-before-step", &at.to_string(), &path])?;
    let mut file = std::fs::OpenOptions::new().write(true).open("/tmp/rewritten")?;
    file.seek(SeekFrom::Start(1000))?;
    file.write_all(b"something else")?;
    drop(file);
    let said = made.resume()?;
    judge("a ramdisk written to", &said, 3, &["/tmp/rewritten", "changed while"])?;
    std::fs::remove_file("/tmp/rewritten")?;
    dump::unchanged(&before, "a ramdisk written to")
}

/// Kills the real xenstored.
fn kill_store() -> Verdict {
    let pid = std::fs::read_to_string("/run/xen/xenstored.pid")?;
    let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) else {
        fail!("xenstored's pid is {pid}")
    };
    rustix::process::kill_process(pid, Signal::KILL).map_err(std::io::Error::from)?;
    crate::dom0::host::await_process_end("/xen/bin/xenstored", 20)
}

/// What can be seen without xenstored: domains by the hypervisor, and the files of xlr.
fn domains() -> Result<Vec<u16>, Stop> {
    let failed = |error: libxc_safe::Error| Stop::Failed(error.to_string());
    let all = libxc_safe::Xen::open().and_then(|xen| xen.domains()).map_err(failed)?;
    // One that is dying may be kept by xenconsoled, which hears of its end from xenstored only.
    Ok(all.iter().filter(|info| !info.dying).map(|info| info.domid.0).collect())
}

/// Starts a new xenstored and lets the daemons of dom0 introduce themselves.
fn start_store() -> Verdict {
    run("/xen/bin/xenstored --pid-file /run/xen/xenstored.pid")?.success()?;
    Ok(())
}

const UUID: &str = "11111111-2222-3333-4444-555555555555";

/// With xenstored dead before anything begins.
fn no_xenstored() -> Verdict {
    let path = config("bad", &format!("{GUEST}uuid = \"{UUID}\"\n"))?;
    run(&format!("/bin/xlr create -p {path}"))?.success()?;
    let Some(id) = domid("bad")? else { fail!("no domain was made") };
    kill_store()?;
    for line in [format!("create {path} name=\"other\""), "list".into(), "destroy bad".into()] {
        let said = run(&format!("/bin/xlr {line}"))?;
        judge(&line, &said, 6, &["xenstored", "start xenstored"])?;
    }
    ensure!(domains()?.len() == 2, "domains: {:?}", domains()?);
    // By number, what xlr made can be destroyed; its nodes go when xenstored is back.
    let said = run(&format!("/bin/xlr destroy {id}"))?.success()?;
    ensure!(said.err.contains("recorded"), "{}", said.err);
    ensure!(domains()? == [0], "domains: {:?}", domains()?);
    removed_when_back(id)
}

/// With xenstored killed while the create stands before `step`.
fn store_dies(step: &str) -> Verdict {
    let path = config("bad", &format!("{GUEST}uuid = \"{UUID}\"\n"))?;
    let steps = steps(&path)?;
    let Some(at) = steps.iter().position(|name| name == step) else {
        fail!("no {step} in {steps:?}")
    };
    let made = stopped(&["create", "--stop-before-step", &at.to_string(), &path])?;
    let Some(id) = domid("bad")? else { fail!("no domain was made") };
    kill_store()?;
    let said = made.resume()?;
    judge("xenstored died", &said, 6, &["xenstored", "recorded"])?;
    ensure!(domains()? == [0], "domains: {:?}", domains()?);
    removed_when_back(id)
}

/// A xenstored that comes back with the nodes of a dead domain: the next command removes them.
fn removed_when_back(id: u32) -> Verdict {
    ensure!(pending()? == 1, "{} records", pending()?);
    // Still dead: nothing is forgotten.
    run("/bin/xlr list")?.failure()?;
    ensure!(pending()? == 1, "{} records", pending()?);
    let marker = format!("0.1.0 {:016x}", recorded_generation()?);
    start_store()?;
    for (path, value) in [
        (format!("/libxl/{id}/xlr"), marker.as_str()),
        (format!("/local/domain/{id}/name"), "bad"),
        (format!("/libxl/{id}/type"), "pv"),
        (format!("/vm/{UUID}/name"), "bad"),
        (format!("/local/domain/0/backend/console/{id}/0/state"), "1"),
    ] {
        argv(&["/usr/bin/xenstore-write", &path, value])?.success()?;
    }
    run("/bin/xlr list --names")?.success()?;
    ensure!(pending()? == 1, "a completion has removed something");
    let said = swept()?;
    ensure!(said.err.contains(&format!("Removed what was left of domain {id}")), "{}", said.err);
    ensure!(pending()? == 0, "{} records", pending()?);
    let nodes = run("/usr/bin/xenstore-ls -f")?.success()?.out;
    let left = nodes.lines().find(|line| line.contains(&format!("/{id}/")) || line.contains(UUID));
    ensure!(left.is_none(), "left: {left:?}");
    Ok(())
}

/// The creation that the one record names.
fn recorded_generation() -> Result<u64, Stop> {
    let Some(entry) = std::fs::read_dir("/run/xlr/pending")?.next() else { fail!("no record") };
    let text = std::fs::read_to_string(entry?.path())?;
    let record: serde_json::Value = serde_json::from_str(text.lines().last().unwrap_or_default())?;
    match record["generation"].as_u64() {
        Some(generation) => Ok(generation),
        None => fail!("no creation in {text}"),
    }
}
