//! A good host, and what is said when each thing is missing.

use super::facts::*;
use super::judge::{Feature, Finding, Status, judge};
use clap::ValueEnum;
use libxc_safe::{Capabilities, Errno, Error, GrantTableSize};
use xen_sys::sysctl::{XEN_SYSCTL_PHYSCAP_directio, XEN_SYSCTL_PHYSCAP_pv};

fn xen(facts: &mut HostFacts) -> &mut XenFacts {
    facts.xen.as_mut().expect("the good host's Xen answers")
}

fn good() -> HostFacts {
    let device =
        |name, module| DeviceFile { name, module, driver: true, mode: Some(0o20600), usable: true };
    let driver = |module| Driver { module, present: true, listed: Some(true) };
    let process =
        |pid, name: &str, line: &str| Process { pid, name: name.into(), command_line: line.into() };
    let directory =
        |path| Directory { path, problem: None, free_kib: Some(1 << 20), in_memory: true };
    HostFacts {
        root: true,
        kernel: "6.1.0".into(),
        hypervisor: Some("xen".into()),
        xen: Ok(XenFacts {
            version: "4.17.5".into(),
            command_line: "placeholder dom0_mem=512M,max:512M".into(),
            domctl: 0x15,
            sysctl: 0x15,
            capabilities: Capabilities {
                bits: XEN_SYSCTL_PHYSCAP_pv | XEN_SYSCTL_PHYSCAP_directio,
            },
            total_kib: 2 << 20,
            free_kib: 1 << 20,
            dom0_kib: 512 << 10,
            hypercall_pages: true,
            grants: GrantTableSize { frames: 2, max_frames: 64 },
        }),
        devices: vec![device("privcmd", "xen-privcmd"), device("evtchn", "xen-evtchn")],
        drivers: ["xen-blkback", "xen-netback", "xen-pciback", "loop", "bridge"]
            .map(driver)
            .to_vec(),
        store: Ok(StoreFacts { dom0_prepared: true }),
        processes: Ok(vec![
            process(70, "xenstored", "/usr/sbin/xenstored"),
            process(71, "xenconsoled", "/usr/sbin/xenconsoled --log=guest"),
        ]),
        channels_served: Ok(true),
        bridges: Ok(vec!["xenbr0".into()]),
        iommu_in_firmware: Ok(true),
        assignable: 1,
        directories: vec![directory(crate::state::RUN), directory(crate::state::LIB)],
    }
}

fn find(facts: &HostFacts, feature: Feature) -> Finding {
    judge(facts, &[feature]).remove(0)
}

#[test]
fn nothing_is_wrong_with_a_good_host() {
    let findings = judge(&good(), &[]);
    assert_eq!(findings.len(), Feature::value_variants().len());
    for finding in findings {
        assert_eq!(finding.status(), Status::Ok, "{finding:?}");
        assert!(!finding.seen.is_empty());
    }
}

/// The name that is printed is the one that is typed.
#[test]
fn names_of_features() {
    for feature in Feature::value_variants() {
        let typed = feature.to_possible_value().expect("none is hidden");
        assert_eq!(feature.name(), typed.get_name());
    }
}

/// Takes one thing from the good host. That feature is judged so, with these words in what is wrong
/// and in how to mend it; no other is worse than before.
fn check(take: fn(&mut HostFacts), feature: Feature, status: Status, what: &str, mend: &str) {
    let mut facts = good();
    take(&mut facts);
    let finding = find(&facts, feature);
    assert_eq!(finding.status(), status, "{finding:?}");
    let said = |problem: &&super::judge::Problem| {
        problem.what.contains(what) && problem.mend.contains(mend)
    };
    assert!(finding.problems.iter().find(said).is_some(), "{what:?}, {mend:?}: {finding:?}");
}

/// As [`check`], and nothing else is wrong then.
fn check_alone(take: fn(&mut HostFacts), feature: Feature, status: Status, what: &str, mend: &str) {
    check(take, feature, status, what, mend);
    let mut facts = good();
    take(&mut facts);
    for finding in judge(&facts, &[]).iter().filter(|finding| finding.feature != feature) {
        assert_eq!(finding.status(), Status::Ok, "{what}: {finding:?}");
    }
}

fn without(facts: &mut HostFacts, module: &str, listed: Option<bool>) {
    for driver in facts.drivers.iter_mut().filter(|driver| driver.module == module) {
        (driver.present, driver.listed) = (false, listed);
    }
}

#[test]
fn the_way_to_the_hypervisor() {
    use Feature::Hypercalls;
    use Status::{Degraded, Missing, Unknown};
    check(|f| f.hypervisor = None, Hypercalls, Missing, "does not run on Xen", "xen-system-amd64");
    let no_file = |f: &mut HostFacts| f.devices[0].mode = None;
    check_alone(no_file, Hypercalls, Missing, "/dev/xen/privcmd is not there, though", "devtmpfs");
    let no_driver = |f: &mut HostFacts| {
        (f.devices[1].mode, f.devices[1].driver) = (None, false);
    };
    check_alone(no_driver, Hypercalls, Missing, "/dev/xen/evtchn", "modprobe xen-evtchn");
    let open = |f: &mut HostFacts| f.devices[0].mode = Some(0o20666);
    check_alone(
        open,
        Hypercalls,
        Degraded,
        "every user (mode 0666)",
        "chmod 0600 /dev/xen/privcmd",
    );
    let not_root = |f: &mut HostFacts| {
        f.root = false;
        f.devices[0].usable = false;
        f.xen = Err(Error::NotRoot { path: "/dev/xen/privcmd", errno: Errno::ACCESS });
    };
    check(not_root, Hypercalls, Unknown, "was not asked", "as root");
    let pages = |f: &mut HostFacts| xen(f).hypercall_pages = false;
    check_alone(pages, Hypercalls, Degraded, "can move", "4.18");
    let newer = |f: &mut HostFacts| {
        f.xen = Err(Error::WrongRevision {
            interface: "domctl",
            major: 4,
            minor: 23,
            found: Some(0x19),
            known_first: 0x12,
            known_last: 0x18,
            known_releases: "Xen 4.14 to 4.22".into(),
        });
    };
    check(newer, Hypercalls, Missing, "domctl 0x19", "install an xlr");
    // What depends on the answer is unknown then, and not ok.
    let mut facts = good();
    newer(&mut facts);
    for feature in [Feature::Memory, Feature::Grants, Feature::Pci] {
        assert_eq!(find(&facts, feature).status(), Unknown, "{feature:?}");
    }
}

#[test]
fn daemons() {
    use Feature::{Channels, Consoles, Xenstore};
    use Status::{Degraded, Missing, Unknown};
    let hangs = |f: &mut HostFacts| f.store = Err("no answer in 5 s".into());
    check_alone(hangs, Xenstore, Missing, "does not answer: no answer in 5 s", "bug-report");
    let dead = |f: &mut HostFacts| {
        f.store = Err("refused".into());
        f.processes = Ok(f.processes.clone().expect("known").split_off(1));
    };
    check_alone(dead, Xenstore, Missing, "no xenstored answers: refused", "start xenstored");
    let denied = |f: &mut HostFacts| {
        (f.root, f.store) = (false, Err("Permission denied".into()));
    };
    check_alone(denied, Xenstore, Unknown, "Permission denied", "as root");
    let unprepared = |f: &mut HostFacts| f.store = Ok(StoreFacts { dom0_prepared: false });
    check_alone(unprepared, Xenstore, Degraded, "domain 0 has no nodes", "xen-init-dom0");
    let silent = |f: &mut HostFacts| {
        f.processes.as_mut().expect("known").truncate(1);
    };
    check_alone(silent, Consoles, Missing, "xenconsoled does not run", "start xenconsoled");
    let unserved = |f: &mut HostFacts| f.channels_served = Ok(false);
    check_alone(unserved, Channels, Missing, "consoled does not run", "xlr consoled");
    let locked = |f: &mut HostFacts| f.channels_served = Err("denied".into());
    check_alone(locked, Channels, Unknown, "denied", "as root");
    let hidden = |f: &mut HostFacts| f.processes = Err("hidden".into());
    check_alone(hidden, Consoles, Unknown, "hidden", "as root");
    let mut facts = good();
    facts.processes.as_mut().expect("known")[0].name = "oxenstored".into();
    assert!(find(&facts, Xenstore).seen.contains("OCaml"));
    facts.processes.as_mut().expect("known").remove(0);
    assert!(find(&facts, Xenstore).seen.contains("no process of this host"));
}

#[test]
fn memory_and_grants() {
    use Feature::{Grants, Memory};
    use Status::{Degraded, Missing};
    let line = |f: &mut HostFacts, line: &str| xen(f).command_line = line.into();
    let balloon = |f: &mut HostFacts| xen(f).command_line = "dom0_max_vcpus=1".into();
    check_alone(balloon, Memory, Degraded, "xlr takes none from it", "dom0_mem=2048M,max:2048M");
    let no_max = |f: &mut HostFacts| xen(f).command_line = "dom0_mem=1G".into();
    check_alone(no_max, Memory, Degraded, "has no max", "dom0_mem=1G,max:1G");
    let full = |f: &mut HostFacts| xen(f).free_kib = 31 << 10;
    check_alone(full, Memory, Missing, "31 MiB are free", "end a guest");
    let taken = |f: &mut HostFacts| {
        xen(f).command_line = String::new();
        xen(f).free_kib = 0;
    };
    check_alone(taken, Memory, Missing, "0 MiB are free", "mem-set 0");
    let few = |f: &mut HostFacts| {
        xen(f).command_line = "dom0_mem=1,max:1 gnttab_max_maptrack_frames=0x100".into();
    };
    check_alone(few, Grants, Degraded, "=256 is less", "gnttab_max_maptrack_frames=1024");
    let small = |f: &mut HostFacts| {
        xen(f).command_line = "gnttab_max_frames=128 dom0_mem=1,max:1 gnttab_max_frames=8".into();
    };
    check_alone(small, Grants, Degraded, "gnttab_max_frames=8 is less", "gnttab_max_frames=64");
    let used = |f: &mut HostFacts| xen(f).grants = GrantTableSize { frames: 58, max_frames: 64 };
    check_alone(used, Grants, Degraded, "nearly full: 58 of 64", "gnttab_max_frames=128");
    let mut facts = good();
    line(&mut facts, "dom0_mem=1,max:1 gnttab_max_frames=rubbish gnttab_max_maptrack_frames=2048");
    let finding = find(&facts, Grants);
    assert_eq!(finding.status(), Status::Ok, "{finding:?}");
    assert!(finding.seen.contains("524288 pages") && finding.seen.contains("64 frames"));
}

#[test]
fn where_state_is_kept() {
    use Feature::State;
    use Status::{Degraded, Missing, Unknown};
    let refused = |f: &mut HostFacts| f.directories[1].problem = Some("cannot be written".into());
    check_alone(refused, State, Missing, "cannot be written", "/var/lib/xlr writable");
    let user = |f: &mut HostFacts| {
        f.root = false;
        f.directories[0].problem = Some("denied".into());
    };
    check_alone(user, State, Unknown, "denied", "as root");
    let full = |f: &mut HostFacts| f.directories[1].free_kib = Some(5 << 10);
    check_alone(full, State, Degraded, "/var/lib/xlr has 5 MiB left", "df /var/lib/xlr");
    let lasting = |f: &mut HostFacts| f.directories[0].in_memory = false;
    check_alone(lasting, State, Degraded, "/run/xlr outlives", "tmpfs");
    let mut facts = good();
    (facts.directories[1].in_memory, facts.directories[1].free_kib) = (false, None);
    assert_eq!(find(&facts, State).status(), Status::Ok);
}

#[test]
fn devices_for_guests() {
    use Feature::{Disks, Networks, Pci};
    use Status::{Degraded, Missing, Unknown};
    let blkback = |f: &mut HostFacts| without(f, "xen-blkback", Some(true));
    check_alone(blkback, Disks, Missing, "xen-blkback is not loaded", "modprobe xen-blkback");
    let none = |f: &mut HostFacts| without(f, "xen-blkback", Some(false));
    check_alone(none, Disks, Missing, "has no xen-blkback", "CONFIG_XEN_BLKDEV_BACKEND");
    let unlisted = |f: &mut HostFacts| without(f, "loop", None);
    check_alone(unlisted, Disks, Degraded, "files cannot be disks", "no list of modules");
    let netback = |f: &mut HostFacts| without(f, "xen-netback", Some(true));
    check_alone(netback, Networks, Missing, "xen-netback is not loaded", "modprobe xen-netback");
    let no_bridge = |f: &mut HostFacts| f.bridges = Ok(Vec::new());
    check_alone(no_bridge, Networks, Degraded, "no xenbr0", "ip link add xenbr0 type bridge");
    let other = |f: &mut HostFacts| f.bridges = Ok(vec!["br1".into()]);
    check_alone(other, Networks, Degraded, "no xenbr0", "write bridge=br1");
    let no_module = |f: &mut HostFacts| {
        f.bridges = Ok(Vec::new());
        without(f, "bridge", Some(false));
    };
    check_alone(no_module, Networks, Degraded, "has no bridge", "CONFIG_BRIDGE");
    let unseen = |f: &mut HostFacts| f.bridges = Err("no /sys".into());
    check_alone(unseen, Networks, Unknown, "no /sys", "as root");
    let pciback = |f: &mut HostFacts| without(f, "xen-pciback", Some(true));
    check_alone(pciback, Pci, Missing, "xen-pciback is not loaded", "modprobe xen-pciback");
    let no_iommu = |f: &mut HostFacts| {
        xen(f).capabilities = Capabilities { bits: XEN_SYSCTL_PHYSCAP_pv };
    };
    check_alone(no_iommu, Pci, Missing, "uses no IOMMU", "iommu=on,verbose");
    let no_table = |f: &mut HostFacts| {
        xen(f).capabilities = Capabilities { bits: XEN_SYSCTL_PHYSCAP_pv };
        f.iommu_in_firmware = Ok(false);
    };
    check_alone(no_table, Pci, Missing, "uses no IOMMU", "firmware's set-up");
    let off = |f: &mut HostFacts| {
        xen(f).capabilities = Capabilities { bits: XEN_SYSCTL_PHYSCAP_pv };
        xen(f).command_line.push_str(" iommu=verbose,off");
    };
    check_alone(off, Pci, Missing, "uses no IOMMU", "take iommu=off");
}
