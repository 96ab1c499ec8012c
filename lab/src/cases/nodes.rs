//! What a domain made by xlr looks like to everybody else: its nodes, permissions and CPUID
//! policy are those of a domain that xl made from the same configuration.

use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv, await_node, config, run};
use crate::dom0::snapshot;
use crate::{ensure, fail};
use std::collections::BTreeMap;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("nodes/equal-to-xl", Group::Create, || equal_to_xl(1, "")),
    Case::new("nodes/equal-to-xl-driver-domain", Group::Create, || {
        equal_to_xl(1, "driver_domain = 1\nxend_suspend_evtchn_compat = 1\n")
    }),
    Case::new("nodes/channels-equal-to-xl", Group::Create, channels_equal_to_xl),
    Case::new("nodes/equal-to-xl-disks", Group::Create, disks),
    Case {
        ci: false,
        ..Case::new("nodes/equal-to-xl-4-vcpus", Group::Create, || equal_to_xl(4, ""))
    },
];

/// Why xlr notes more of a loop device than its name.
const FREED: &str = "the file of its loop device, which is freed only while it serves that";

/// Nodes that differ on purpose: path below the domain, whose it is, and the reason.
const INTENDED: &[(&str, &str)] = &[
    ("/libxl/D/xlr", "xlr's own marker: it manages only what carries it"),
    ("/local/domain/0/backend/vbd/D/51712/loop-file", FREED),
    ("/local/domain/0/backend/vbd/D/5632/loop-file", FREED),
    ("/libxl/D/device/pci", "the toolstack's copy, which xl makes for every other kind of device"),
    ("/libxl/pci/0000-00-04-0/owner", "which domain of this number a function belongs to"),
];

/// Nodes of xl's that xlr has not, below the domain or dom0, and the reason.
const WITHOUT_QEMU: &[(&str, &str)] = &[
    ("/local/domain/0/device-model", "how QEMU says that it is ready; consoled serves without it"),
    ("/local/domain/D/image", "the number of QEMU's process"),
];

/// Nodes that the first create of a boot makes and that stay.
const FIRST_USE: &[&str] = &["/libxl", "/vm"];

/// Values that differ from one domain to the next and are compared by presence and permissions.
const VARYING: &[&str] = &["start_time", "ring-ref", "port", "tty", "randomval"];

/// Every kind of disk: the backend's half, the guest's, and libxl's copy.
fn disks() -> Verdict {
    for name in ["twin-a", "twin-b", "twin-c"] {
        std::fs::File::create(format!("/tmp/{name}.img"))?.set_len(1 << 20)?;
    }
    run("/bin/losetup /dev/loop7 /tmp/twin-c.img")?.success()?;
    equal_to_xl(
        1,
        "disk = [\"/tmp/twin-a.img,raw,xvda,rw\", \"/tmp/twin-b.img,,hdc:cdrom,r\",\
         \"/dev/loop7,raw,xvdaa,w,no-discard,direct-io-safe\"]\n",
    )?;
    run("/bin/losetup -d /dev/loop7")?.success()?;
    Ok(())
}

/// Creates the same configuration with both tools, paused, and compares every node.
fn equal_to_xl(vcpus: u32, more: &str) -> Verdict {
    equal_once(vcpus, more, &[])
}

/// The same, of domains whose nodes are complete when these are there, too; `D` is the domid. xl waits
/// for a guest to let go of devices even if it never ran, and leaves them: xlr ends both.
pub fn equal_once(vcpus: u32, more: &str, settled: &[&str]) -> Verdict {
    let path = twin(vcpus, more)?;
    let theirs = nodes_of(&["/xen/bin/xl", "create", "-p", &path], settled)?;
    let ours = nodes_of(&["/bin/xlr", "create", "-p", &path], settled)?;
    compare(&theirs, &ours)
}

/// Where xl of Debian looks for QEMU.
const QEMU: &str = "/usr/libexec/xen-qemu-system-i386";
/// What the program in its place finds.
const FOUND: &str = "/tmp/nodes-before-qemu";

/// With channels xl starts QEMU once all nodes of the domain are there. A program in QEMU's place
/// writes them down and ends; xl gives up then.
fn channels_equal_to_xl() -> Verdict {
    let channels = "\"name=one,connection=pty\", \
                    \"name=two,connection=socket,path=/run/two.sock\"";
    // xl 4.17 loses the first of several channels, which it takes for the first console.
    let lost = format!("channel = [ \"name=lost,connection=pty\", {channels} ]\n");
    let before = snapshot::take()?.nodes;
    std::fs::create_dir_all("/usr/libexec")?;
    std::fs::write(QEMU, format!("#!/bin/sh\n/usr/bin/xenstore-ls -fp >{FOUND}\nexit 1\n"))?;
    run(&format!("/bin/busybox chmod 0755 {QEMU}"))?.success()?;
    argv(&["/xen/bin/xl", "create", "-p", &twin(1, &lost)?])?.failure()?;
    std::fs::remove_file(QEMU)?;
    run("/usr/bin/xenstore-rm /local/domain/0/device-model")?.success()?;
    let found = snapshot::parse_nodes(&std::fs::read_to_string(FOUND)?);
    let name = |(path, value): (&String, &String)| {
        let domid = path.strip_prefix("/local/domain/")?.strip_suffix("/name")?;
        value.starts_with("\"twin\"").then(|| domid.to_owned())
    };
    let Some(domid) = found.iter().find_map(name) else { fail!("QEMU finds no domain: {found:?}") };
    let mut theirs = added(&before, found, &domid);
    theirs.retain(|path, _| !WITHOUT_QEMU.iter().any(|(intended, _)| path.starts_with(intended)));
    let path = twin(1, &format!("channel = [ {channels} ]\n"))?;
    compare(&theirs, &nodes_of(&["/bin/xlr", "create", "-q", "-p", &path], &[])?)
}

fn twin(vcpus: u32, more: &str) -> Result<String, Stop> {
    config(
        "twin",
        &format!(
            "name = \"twin\"\nuuid = \"11111111-2222-3333-4444-555555555555\"\ntype = \"pv\"\n\
             kernel = \"/guest/vmlinuz\"\nramdisk = \"/guest/initramfs.gz\"\n\
             extra = \"console=hvc0\"\nmemory = 64\nmaxmem = 96\nvcpus = {vcpus}\n{more}"
        ),
    )
}

/// Fails unless ours are theirs, but for what is intended.
pub(super) fn compare(
    theirs: &BTreeMap<String, String>,
    ours: &BTreeMap<String, String>,
) -> Verdict {
    let mut differences = Vec::new();
    for (path, value) in theirs {
        match ours.get(path) {
            None => differences.push(format!("missing {path} = {value}")),
            Some(own) if own != value => {
                differences.push(format!("{path} = {own}, xl has {value}"));
            }
            Some(_) => {}
        }
    }
    for (path, value) in ours.iter().filter(|(path, _)| !theirs.contains_key(*path)) {
        if !INTENDED.iter().any(|(intended, _)| path.starts_with(intended)) {
            differences.push(format!("xl has no {path} = {value}"));
        }
    }
    ensure!(
        differences.is_empty(),
        "{} differences: {}",
        differences.len(),
        differences.join("\n")
    );
    Ok(())
}

/// The nodes that the command adds, with the domid taken out of paths and values.
fn nodes_of(create: &[&str], settled: &[&str]) -> Result<BTreeMap<String, String>, Stop> {
    let before = snapshot::take()?.nodes;
    argv(create)?.success()?;
    let domid = run("/xen/bin/xl domid twin")?.success()?.out.trim().to_owned();
    // xenconsoled answers a domain's appearance in its own time: wait for its last word.
    await_node(&format!("/local/domain/{domid}/console/tty"), 20)?;
    for path in settled {
        await_node(&path.replace('D', &domid), 20)?;
    }
    let after = snapshot::take()?.nodes;
    let end = if settled.is_empty() { "/xen/bin/xl" } else { "/bin/xlr" };
    run(&format!("{end} destroy twin"))?.success()?;
    Ok(added(&before, after, &domid))
}

/// What has come, with the domid taken out of paths and values.
pub(super) fn added(
    before: &BTreeMap<String, String>,
    after: BTreeMap<String, String>,
    domid: &str,
) -> BTreeMap<String, String> {
    after
        .into_iter()
        .filter(|(path, _)| !before.contains_key(path) && !FIRST_USE.contains(&path.as_str()))
        .map(|(path, value)| neutral(&path, &value, domid))
        .collect()
}

/// Path and value with the domid as `D`, varying values as `*`.
fn neutral(path: &str, value: &str, domid: &str) -> (String, String) {
    let path = without_domid(path, domid);
    let last = path.rsplit('/').next().unwrap_or_default();
    let (text, rights) = value.rsplit_once("   (").unwrap_or((value, ""));
    let rights: Vec<String> = rights
        .trim_end_matches(')')
        .split(',')
        .map(|right| match right.split_at_checked(1) {
            Some((right, owner)) if owner == domid => format!("{right}D"),
            _ => right.to_owned(),
        })
        .collect();
    let text = match last {
        _ if VARYING.contains(&last) => "*".to_owned(),
        // The loop device that happened to be free: xl attaches several disks at once.
        "node" | "physical-device" | "physical-device-path" if free_loop(text) => "*".to_owned(),
        "domid" | "frontend-id" if text.trim_matches('"') == domid => "\"D\"".to_owned(),
        _ => without_domid(text, domid),
    };
    (path, format!("{text} ({})", rights.join(",")))
}

/// Whether a value names a loop device that the cases do not choose themselves.
fn free_loop(text: &str) -> bool {
    let text = text.trim_matches('"');
    let number = text.strip_prefix("/dev/loop").or_else(|| text.strip_prefix("7:"));
    number
        .is_some_and(|number| number != "7" && number.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A path with the domid as `D` where a path has one: below a domain's own roots, and below a class
/// of backends.
fn without_domid(path: &str, domid: &str) -> String {
    let (mut above, mut before) = ("", "");
    let parts = path.split('/').map(|part| {
        // Below a backend's kind comes the domid; below a frontend's the device's number.
        let here = part.trim_end_matches('"') == domid
            && (["domain", "libxl"].contains(&before) || above == "backend");
        (above, before) = (before, part);
        if here { part.replace(domid, "D") } else { part.to_owned() }
    });
    parts.collect::<Vec<String>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domid_is_taken_out_and_nothing_else() {
        for (path, value, expected) in [
            (
                "/local/domain/7/console/port",
                "\"2\"   (n0,r7)",
                ("/local/domain/D/console/port", "* (n0,rD)"),
            ),
            (
                "/local/domain/7/device/console/7/backend",
                "\"/local/domain/0/backend/console/7/7\"   (n7,r0)",
                (
                    "/local/domain/D/device/console/7/backend",
                    "\"/local/domain/0/backend/console/D/7\" (nD,r0)",
                ),
            ),
            (
                "/libxl/7/device/console/0/frontend",
                "\"/local/domain/7/console\"   (n0,r7)",
                ("/libxl/D/device/console/0/frontend", "\"/local/domain/D/console\" (n0,rD)"),
            ),
            (
                "/libxl/7/device/vif/7/backend",
                "\"/local/domain/0/backend/vif/7/7\"   (n0)",
                ("/libxl/D/device/vif/7/backend", "\"/local/domain/0/backend/vif/D/7\" (n0)"),
            ),
            ("/local/domain/7", "\"\"   (n0,r7)", ("/local/domain/D", "\"\" (n0,rD)")),
            (
                "/local/domain/0/backend/console/7/0/online",
                "\"1\"   (n0,r7)",
                ("/local/domain/0/backend/console/D/0/online", "\"1\" (n0,rD)"),
            ),
            (
                "/local/domain/77/memory/target",
                "\"65536\"   (n0,r77)",
                ("/local/domain/77/memory/target", "\"65536\" (n0,r77)"),
            ),
            (
                "/local/domain/7/cpu/7/availability",
                "\"7\"   (n0,r7)",
                ("/local/domain/D/cpu/7/availability", "\"7\" (n0,rD)"),
            ),
            (
                "/local/domain/7/domid",
                "\"7\"   (n0,r7)",
                ("/local/domain/D/domid", "\"D\" (n0,rD)"),
            ),
        ] {
            let (found, text) = neutral(path, value, "7");
            assert_eq!((found.as_str(), text.as_str()), expected);
        }
    }
}
