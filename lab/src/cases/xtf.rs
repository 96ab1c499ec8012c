//! Microkernel guests made by xlr: what they find is what they were promised.

use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv, await_text, config, console, run};
use crate::{ensure, fail};

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("xtf/hello", Group::Xtf, || success("hello", 8, 1, "")),
    Case::new("xtf/start-check", Group::Xtf, || {
        success("start-check", 8, 1, "memory_kib=8192 vcpus=1 name=start-check")
    }),
    Case::new("xtf/start-check-linux", Group::Xtf, || {
        let line = "init_p2m=1 memory_kib=98304 vcpus=2 name=start-check-linux";
        success("start-check-linux", 96, 2, line)
    }),
    Case::new("xtf/start-check-ramdisk", Group::Xtf, start_check_ramdisk),
    Case::new("xtf/wrong-promise", Group::Xtf, wrong_promise),
    Case {
        xen: "4.14",
        ..Case::new("xtf/xen-4.14", Group::Xtf, || {
            success("start-check", 8, 1, "memory_kib=8192 vcpus=1 name=start-check")
        })
    },
    Case {
        // One boot in CI serves this release and a host with NUMA nodes.
        xen: "4.20",
        numa_nodes: 2,
        ..Case::new("xtf/xen-4.20", Group::Xtf, || {
            success("start-check", 8, 1, "memory_kib=8192 vcpus=1 name=start-check")
        })
    },
];

fn success(guest: &str, memory_mib: u32, vcpus: u32, line: &str) -> Verdict {
    verdict(guest, memory_mib, vcpus, line, None, "Test result: SUCCESS")
}

/// Every byte of a ramdisk that is no whole number of pages arrives.
fn start_check_ramdisk() -> Verdict {
    let bytes = std::fs::read("/guest/vmlinuz")?;
    let Some(part) = bytes.get(..300_001) else { fail!("/guest/vmlinuz is too short") };
    std::fs::write("/tmp/ramdisk", part)?;
    let said = argv(&["/bin/busybox", "crc32", "/tmp/ramdisk"])?.success()?;
    let crc = said.out.split_whitespace().next().unwrap_or_default();
    let line = format!("memory_kib=8192 vcpus=4 ramdisk_bytes=300001 ramdisk_crc32={crc}");
    verdict("start-check", 8, 4, &line, Some("/tmp/ramdisk"), "Test result: SUCCESS")
}

/// The guest does find what is wrong: a check that cannot fail shows nothing.
fn wrong_promise() -> Verdict {
    let line = "memory_kib=4096 vcpus=2 name=other";
    verdict("start-check", 8, 1, line, None, "Test result: FAILURE")
}

/// Starts a guest, waits for the line, and removes what is left of it.
fn verdict(
    guest: &str,
    memory_mib: u32,
    vcpus: u32,
    line: &str,
    ramdisk: Option<&str>,
    wanted: &str,
) -> Verdict {
    let kernel = format!("/guest/xtf/{guest}");
    ensure!(std::path::Path::new(&kernel).exists(), "no {kernel}: tests/xtf/build.sh makes it");
    let ramdisk = ramdisk.map_or(String::new(), |path| format!("ramdisk = \"{path}\"\n"));
    let path = config(
        guest,
        &format!(
            "name = \"{guest}\"\ntype = \"pv\"\nkernel = \"{kernel}\"\n{ramdisk}\
             extra = \"{line}\"\nmemory = {memory_mib}\nvcpus = {vcpus}\n"
        ),
    )?;
    let mut log = console(guest)?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    let heard =
        await_text(&mut log, "Test result: ", 30).and_then(|()| await_text(&mut log, "\n", 5));
    run(&format!("/bin/xlr destroy {guest}"))?.success()?;
    heard?;
    let text = String::from_utf8_lossy(&log.text).into_owned();
    if text.contains(wanted) {
        return Ok(());
    }
    Err(Stop::Failed(format!("no «{wanted}»; the console: {text}")))
}
