//! `xlr host check`: a host that has everything, and what is said when each thing is taken away.

use crate::case::{Case, Group};
use crate::dom0::host::{Said, Stop, Verdict, argv, run};
use crate::dom0::init;
use crate::ensure;
use serde_json::Value;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("host-check/good", Group::Device, good),
    Case::new("host-check/drivers", Group::Device, drivers),
    Case::new("host-check/device-files", Group::Device, device_files),
    Case::new("host-check/daemons", Group::Device, daemons),
    Case::new("host-check/state", Group::Device, state),
    Case::new("host-check/not-root", Group::Device, not_root),
    Case {
        ci: false,
        xen_options: "dom0_mem=512M gnttab_max_maptrack_frames=512 gnttab_max_frames=48",
        ..Case::new("host-check/limits", Group::Device, limits)
    },
];

/// What the check says of one feature.
struct Finding {
    status: String,
    text: String,
}

/// Runs the check for one feature; its exit code must fit what it says.
fn check(feature: &str) -> Result<Finding, Stop> {
    let said = argv(&["/bin/xlr", "host", "check", "--json", feature])?;
    finding(&said)
}

fn finding(said: &Said) -> Result<Finding, Stop> {
    let json: Value = serde_json::from_str(&said.out)?;
    let status = json["features"][0]["status"].as_str().unwrap_or_default().to_owned();
    ensure!(json["status"].as_str() == Some(&status), "one feature, two words: {json}");
    let code = match &status[..] {
        "ok" => 0,
        "unknown" => 4,
        _ => 8,
    };
    ensure!(said.code == code, "{status} with exit code {}: {}", said.code, said.err);
    Ok(Finding { status, text: json.to_string() })
}

/// Fails unless the feature is judged so, in these words.
fn expect(feature: &str, status: &str, words: &[&str]) -> Verdict {
    let found = check(feature)?;
    ensure!(found.status == status, "{feature} is {}, not {status}: {}", found.status, found.text);
    for word in words {
        ensure!(found.text.contains(word), "{feature} says nothing of {word:?}: {}", found.text);
    }
    Ok(())
}

/// Everything that the lab's dom0 has is found; what it has not is named, and decides the exit code.
fn good() -> Verdict {
    let pid = std::fs::read_to_string("/run/xen/xenstored.pid")?;
    expect("hypercalls", "ok", &["Xen 4.17", "domctl 0x15 (known: 0x12 to 0x18)"])?;
    expect("xenstore", "ok", &[&format!("xenstored (C, process {})", pid.trim())])?;
    expect("consoles", "ok", &["logs what guests print"])?;
    // Backends of an earlier case may have given pages of dom0's up for what they map.
    expect("memory", "ok", &["domain 0 has 5", " MiB by dom0_mem=512M,max:512M"])?;
    expect("grants", "ok", &["of 64 grant frames", "262144 pages"])?;
    expect("state", "ok", &["/run/xlr", "/var/lib/xlr"])?;
    expect("disks", "ok", &[])?;
    expect("pci", "missing", &["uses no IOMMU", "VT-d or AMD-Vi"])?;
    let said = run("/bin/xlr host check")?;
    ensure!(said.code == 8, "a host without an IOMMU ends with {}", said.code);
    for (feature, status) in [("hypercalls", "ok"), ("disks", "ok"), ("pci", "missing")] {
        let line = said.out.lines().find(|line| line.starts_with(feature)).unwrap_or_default();
        ensure!(line.split_whitespace().nth(1) == Some(status), "{feature}: {}", said.out);
    }
    ensure!(said.err.contains("the worst is missing"), "{}", said.err);
    let several =
        run("/bin/xlr host check hypercalls xenstore consoles memory grants state disks")?;
    several.success()?;
    Ok(())
}

/// Drivers and bridges, each taken away and brought back.
fn drivers() -> Verdict {
    for module in ["xen-netback", "bridge"] {
        run(&format!("/bin/busybox modprobe {module}"))?.success()?;
    }
    let link = "/bin/busybox ip link";
    expect("networks", "degraded", &["there is no xenbr0", "ip link add xenbr0 type bridge"])?;
    run("/bin/busybox brctl addbr other")?.success()?;
    expect("networks", "degraded", &["there is no xenbr0", "bridge=other"])?;
    run("/bin/busybox brctl addbr xenbr0")?.success()?;
    expect("networks", "ok", &["bridges other, xenbr0"])?;
    for bridge in ["other", "xenbr0"] {
        run(&format!("{link} set {bridge} down"))?.success()?;
        run(&format!("/bin/busybox brctl delbr {bridge}"))?.success()?;
    }
    for (module, feature, status, words) in [
        ("xen_netback", "networks", "missing", "modprobe xen-netback"),
        ("bridge", "networks", "missing", "no bridge can be made"),
        ("xen_blkback", "disks", "missing", "no guest can have a disk"),
        ("loop", "disks", "missing", "files cannot be disks"),
    ] {
        run(&format!("/bin/busybox rmmod {module}"))?.success()?;
        expect(feature, status, &[words])?;
    }
    for module in ["loop.ko", "xen-blkback.ko"] {
        run(&format!("/bin/busybox insmod /lib/modules/{module}"))?.success()?;
    }
    expect("disks", "ok", &[])?;
    run("/bin/busybox modprobe xen-pciback")?.success()?;
    let pci = check("pci")?;
    ensure!(!pci.text.contains("xen-pciback is not"), "pciback is there: {}", pci.text);
    run("/bin/busybox rmmod xen_pciback")?.success()?;
    expect("pci", "missing", &["modprobe xen-pciback"])
}

/// Device files: gone, open to everybody, without their driver.
fn device_files() -> Verdict {
    let file = "/dev/xen/gntalloc";
    run(&format!("/bin/busybox chmod 0666 {file}"))?.success()?;
    expect("hypercalls", "degraded", &["open to every user (mode 0666)", "chmod 0600 "])?;
    run(&format!("/bin/busybox chmod 0600 {file}"))?.success()?;
    run(&format!("/bin/busybox mv {file} /dev/elsewhere"))?.success()?;
    let gone = expect("hypercalls", "missing", &["/dev/xen/gntalloc is not there, though"]);
    run(&format!("/bin/busybox mv /dev/elsewhere {file}"))?.success()?;
    gone?;
    run("/bin/busybox rmmod xen_gntalloc")?.success()?;
    let gone = expect("hypercalls", "missing", &["modprobe xen-gntalloc"]);
    run("/bin/busybox insmod /lib/modules/xen-gntalloc.ko")?.success()?;
    gone?;
    expect("hypercalls", "ok", &[])
}

/// The daemons: one that is gone, one that hangs.
fn daemons() -> Verdict {
    let before = check("consoles")?.text;
    super::console::stop_xenconsoled()?;
    let gone = expect("consoles", "missing", &["xenconsoled does not run", "start xenconsoled"]);
    super::console::start_xenconsoled()?;
    gone?;
    expect("consoles", "ok", &[])?;
    ensure!(check("consoles")?.text != before, "xenconsoled is another process: {before}");

    let store = std::fs::read_to_string("/run/xen/xenstored.pid")?.trim().to_owned();
    run(&format!("/bin/busybox kill -STOP {store}"))?.success()?;
    let hangs = expect("xenstore", "missing", &["runs and does not answer", "bug-report"]);
    run(&format!("/bin/busybox kill -CONT {store}"))?.success()?;
    hangs?;
    expect("xenstore", "ok", &[])?;

    run("/usr/bin/xenstore-rm /local/domain/0/domid")?.success()?;
    let unprepared = expect("xenstore", "degraded", &["domain 0 has no nodes"]);
    run("/usr/bin/xenstore-write /local/domain/0/domid 0")?.success()?;
    unprepared
}

/// Directories that cannot be written, or are full.
fn state() -> Verdict {
    run("/bin/xlr host check state")?.success()?;
    let folder = "/var/lib/xlr";
    std::fs::create_dir_all(folder)?;
    run(&format!("/bin/busybox mount -t tmpfs -o size=1m tmpfs {folder}"))?.success()?;
    let full = expect("state", "degraded", &["/var/lib/xlr has 1 MiB left"]);
    let read_only = run(&format!("/bin/busybox mount -o remount,ro {folder}"))
        .and_then(Said::success)
        .and_then(|_| expect("state", "missing", &["/var/lib/xlr cannot be written"]));
    run(&format!("/bin/busybox umount {folder}"))?.success()?;
    full.and(read_only)?;
    expect("state", "ok", &[])
}

/// Who is not root is told what could not be looked at, and what can be is.
fn not_root() -> Verdict {
    let check = |feature: &str| -> Result<Said, Stop> {
        let mut command = init::command("/bin/xlr");
        command.args(["host", "check", "--json", feature]).uid(65534).gid(65534);
        let out = command.stdin(Stdio::null()).output()?;
        Ok(Said {
            command: format!("xlr host check {feature} as nobody"),
            code: out.status.code().unwrap_or(255),
            out: String::from_utf8_lossy(&out.stdout).into_owned(),
            err: String::from_utf8_lossy(&out.stderr).into_owned(),
        })
    };
    for (feature, status, words) in [
        ("hypercalls", "unknown", "the hypervisor was not asked"),
        ("memory", "unknown", "run this as root"),
        ("state", "unknown", "run this as root"),
        ("disks", "ok", "xen-blkback"),
        ("consoles", "ok", "xenconsoled"),
    ] {
        let said = check(feature)?;
        let found = finding(&said)?;
        ensure!(
            found.status == status && found.text.contains(words),
            "{feature}: {} {}",
            found.status,
            found.text
        );
    }
    Ok(())
}

/// Limits that somebody has lowered, and a dom0 whose memory has no bound.
fn limits() -> Verdict {
    expect("memory", "degraded", &["dom0_mem=512M has no max", "dom0_mem=512M,max:512M"])?;
    expect("grants", "degraded", &["frames=512 is less", "gnttab_max_frames=48 is less", "131072"])
}
