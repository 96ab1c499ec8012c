//! Building domains with xlr.

use crate::case::{Case, Group};
use crate::dom0::host::{Verdict, await_text, config, console, domid, report, run};
use crate::ensure;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("create/hpc", Group::Create, hpc),
    // In CI memory/odd-sizes has a guest of 65 MiB, and the stock kernel runs with two vcpus.
    Case { ci: false, ..Case::new("create/small-64-mib", Group::Create, || boots("small", 64, 1)) },
    Case {
        ci: false,
        ..Case::new("create/small-two-vcpus", Group::Create, || boots("small", 256, 2))
    },
    Case {
        ci: false,
        ..Case::new("create/small-1300-mib", Group::Create, || boots("small", 1300, 1))
    },
    Case::new("create/stock-kernel", Group::Kernel, || boots("stock", 256, 2)),
    Case { xen: "4.14", ..Case::new("create/xen-4.14", Group::Create, hpc) },
    Case { xen: "4.20", numa_nodes: 2, ..Case::new("create/xen-4.20", Group::Create, hpc) },
];

/// The configuration that the project ships.
pub(super) fn hpc() -> Verdict {
    let mut log = console("hpc")?;
    run("/bin/xlr create /configs/hpc.cfg")?.success()?;
    await_text(&mut log, "xlr-guest: ready", 60)?;
    check_report("hpc", &log.text, 256, 1)?;
    run("/bin/xlr destroy hpc")?.success()?;
    ensure!(domid("hpc")?.is_none(), "hpc is still there");
    Ok(())
}

/// A guest of the given shape comes up and sees what it was given.
fn boots(kernel: &str, memory_mib: u64, vcpus: u32) -> Verdict {
    let name = format!("{kernel}-{memory_mib}-{vcpus}");
    // Where the small kernel was not built the stock one stands in for it under `vmlinuz`.
    let kernel = if kernel == "small" { "vmlinuz" } else { kernel };
    let path = config(
        &name,
        &format!(
            "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/{kernel}\"\n\
             ramdisk = \"/guest/initramfs.gz\"\nextra = \"console=hvc0\"\n\
             memory = {memory_mib}\nvcpus = {vcpus}\n"
        ),
    )?;
    let mut log = console(&name)?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    await_text(&mut log, "xlr-guest: ready", 90)?;
    check_report(&name, &log.text, memory_mib, vcpus)?;
    run(&format!("/bin/xlr destroy {name}"))?.success()?;
    Ok(())
}

/// Compares what the guest says with what was asked for and with the hypervisor's answer.
fn check_report(name: &str, console: &[u8], memory_mib: u64, vcpus: u32) -> Verdict {
    let report = report(console);
    let domid = domid(name)?;
    let number = |key: &str| report.get(key).and_then(|value| value.parse::<u64>().ok());
    for (key, expected) in [
        ("memory_kib", memory_mib * 1024),
        ("store_memory_kib", memory_mib * 1024),
        ("vcpus", u64::from(vcpus)),
        ("store_vcpus", u64::from(vcpus)),
    ] {
        ensure!(number(key) == Some(expected), "{key} is {:?}, not {expected}", report.get(key));
    }
    ensure!(number("domid") == domid.map(u64::from), "domid {:?} {domid:?}", report.get("domid"));
    ensure!(report.get("uuid") == report.get("store_uuid"), "uuid differs: {report:?}");
    ensure!(report.get("name").is_some_and(|found| found == name), "name: {report:?}");
    Ok(())
}
