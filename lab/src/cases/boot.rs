//! The lab itself: dom0 is whole, and a guest of the C tools runs on every release.

use crate::case::{Case, Group};
use crate::dom0::host::{Verdict, await_text, config, console, domid, report, run};
use crate::ensure;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("boot/dom0-is-whole", Group::Xtf, dom0_is_whole),
    Case { ci: false, ..Case::new("boot/guest-by-xl", Group::Xtf, guest_by_xl) },
];

fn dom0_is_whole() -> Verdict {
    let info = run("/xen/bin/xl info")?.success()?;
    ensure!(info.out.contains("xen_version"), "xl info names no version");
    let name = run("/usr/bin/xenstore-read /local/domain/0/name")?.success()?;
    ensure!(name.out.trim() == "Domain-0", "dom0 is called {}", name.out);
    let nobody = run("/bin/busybox su nobody -s /bin/sh -c id")?.success()?;
    ensure!(nobody.out.starts_with("uid=65534(nobody) gid=65534(nogroup)"), "{}", nobody.out);
    for device in ["privcmd", "evtchn", "gntdev", "gntalloc", "xenbus"] {
        let path = format!("/dev/xen/{device}");
        ensure!(std::path::Path::new(&path).exists(), "no {path}");
    }
    Ok(())
}

fn guest_by_xl() -> Verdict {
    let path = config(
        "by-xl",
        "name = \"by-xl\"\ntype = \"pv\"\nkernel = \"/guest/vmlinuz\"\n\
         ramdisk = \"/guest/initramfs.gz\"\nextra = \"console=hvc0\"\nmemory = 128\nvcpus = 1\n",
    )?;
    let mut log = console("by-xl")?;
    run(&format!("/xen/bin/xl create {path}"))?.success()?;
    let domid = domid("by-xl")?;
    await_text(&mut log, "xlr-guest: ready", 60)?;
    let report = report(&log.text);
    ensure!(report.get("memory_kib").is_some_and(|kib| kib == "131072"), "{report:?}");
    ensure!(report.get("domid").and_then(|id| id.parse().ok()) == domid, "{report:?} {domid:?}");
    run("/xen/bin/xl destroy by-xl")?.success()?;
    Ok(())
}
