//! Every key of xl.cfg: what the table says of it is what happens.
//!
//! `keys/xl-cfg-keys.tsv` lists the keys that xl of Xen 4.14 to 4.22 knows, with their
//! meaning; keys of the strings inside a list are written `disk.vdev`.

use domain_builder::plan::facts::{CpuLeaf, HostCpu, HostFacts, KernelFacts, KernelSegment};
use domain_builder::plan::memory_map::MapEntry;
use domain_builder::plan::plan_facts;
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;
use xl_rs::config::diagnostic::{Severity, render};
use xl_rs::config::keys::{Fate, KEYS, OWN, markdown};
use xl_rs::config::resolve::Host;
use xl_rs::config::source::Sources;
use xl_rs::config::{Loaded, load};

const INVENTORY: &str = include_str!("keys/xl-cfg-keys.tsv");
/// Keys that files in the wild hold, and that no xl of these releases reads.
const BESIDE_THE_INVENTORY: &[&str] = &["loader"];

const BASE: &str = "name='n'\nkernel='/k'\nmemory=64\n";

/// What a key changes.
enum Effect {
    /// These fields of the specification, and with them the plan.
    Plan(&'static [&'static str]),
    /// This field of the specification, which the plan does not depend on: it says what happens
    /// when the domain ends.
    Stored(&'static str),
    /// The devices, which are attached to the domain that was planned.
    Devices,
    /// Nothing: the one value that is possible is the default.
    OnlyOne,
    /// Devices, which are attached to the domain once it is built.
    OfDevices,
}
use Effect::{Devices, OfDevices, OnlyOne, Plan, Stored};

/// For every honoured key a text that sets it, after [`BASE`], and what that changes.
const EFFECTS: &[(&str, &str, Effect)] = &[
    ("name", "name='other'", Plan(&["name"])),
    ("type", "type='pv'", OnlyOne),
    ("builder", "builder='generic'", OnlyOne),
    ("uuid", "uuid='01020304-0506-0708-090a-0b0c0d0e0f10'", Plan(&["uuid"])),
    ("pool", "pool='batch'", Plan(&["cpupool"])),
    ("vcpus", "vcpus=2", Plan(&["max_vcpus", "vcpus"])),
    ("maxvcpus", "maxvcpus=4", Plan(&["max_vcpus"])),
    ("cpus", "cpus='0-1,^1'", Plan(&["affinity"])),
    ("cpus_soft", "cpus_soft=['1']", Plan(&["affinity"])),
    ("cpu_weight", "cpu_weight=512", Plan(&["sched"])),
    ("cap", "cap=50", Plan(&["sched"])),
    ("memory", "memory=96", Plan(&["max_memory_kib", "memory_kib"])),
    ("maxmem", "maxmem=96", Plan(&["max_memory_kib"])),
    ("on_poweroff", "on_poweroff='preserve'", Stored("on_end")),
    ("on_reboot", "on_reboot='destroy'", Stored("on_end")),
    ("on_watchdog", "on_watchdog='restart'", Stored("on_end")),
    ("on_crash", "on_crash='rename-restart'", Stored("on_end")),
    ("on_soft_reset", "on_soft_reset='rename-restart'", Stored("on_end")),
    ("kernel", "kernel='/other'", Plan(&["kernel"])),
    ("ramdisk", "ramdisk='/r'", Plan(&["ramdisk"])),
    ("cmdline", "cmdline='quiet'", Plan(&["cmdline"])),
    ("root", "root='/dev/xvda'", Plan(&["cmdline"])),
    ("extra", "extra='quiet'", Plan(&["cmdline"])),
    ("max_grant_frames", "max_grant_frames=7", Plan(&["max_grant_frames"])),
    ("max_maptrack_frames", "max_maptrack_frames=7", Plan(&["max_maptrack_frames"])),
    ("max_grant_version", "max_grant_version=1", Plan(&["max_grant_version"])),
    ("max_event_channels", "max_event_channels=127", Plan(&["max_event_channels"])),
    ("xenstore_feature_mask", "xenstore_feature_mask=0xfffffffd", Plan(&["store_limits"])),
    ("xenstore_quota", "xenstore_quota=['nodes=77', 'watches=0x10']", Plan(&["store_limits"])),
    ("nomigrate", "nomigrate=1", Plan(&["no_migrate"])),
    ("tsc_mode", "tsc_mode='native'", Plan(&["tsc_mode"])),
    ("cpuid", "cpuid='host,invtsc=1'", Plan(&["cpuid"])),
    ("driver_domain", "driver_domain=1", Plan(&["driver_domain"])),
    ("xend_suspend_evtchn_compat", "xend_suspend_evtchn_compat=1", Plan(&["no_suspend_node"])),
    ("channel", "channel=['name=a,connection=pty']", Plan(&["channels"])),
    ("localtime", "localtime=1", Plan(&["time_offset_seconds"])),
    ("rtc_timeoffset", "rtc_timeoffset=60", Plan(&["time_offset_seconds"])),
    ("msr_relaxed", "msr_relaxed=1", Plan(&["msr_relaxed"])),
    ("disk", "disk=['/dev/vg/x,raw,xvda,rw']", Devices),
    ("vif", "vif=['bridge=xenbr0']", Devices),
    ("pci", "pci=['03:00.0']", Plan(&["hardware"])),
    ("rdma", "rdma=['backend-device=rxe0']", Devices),
    ("pci_permissive", "pci_permissive=1", OfDevices),
    ("pci_msitranslate", "pci_msitranslate=1", OfDevices),
    ("pci_seize", "pci_seize=1", OfDevices),
    ("pci_power_mgmt", "pci_power_mgmt=1", OfDevices),
    ("passthrough", "passthrough='enabled'", Plan(&["hardware"])),
    ("e820_host", "e820_host=1", Plan(&["hardware"])),
    ("ioports", "ioports=['2f8-2ff']", Plan(&["hardware"])),
    ("iomem", "iomem=['fed9f,1']", Plan(&["hardware"])),
    ("irqs", "irqs=[4]", Plan(&["hardware"])),
];

fn read(more: &str) -> Loaded {
    let mut sources = Sources::default();
    sources.add("guest.cfg", BASE);
    sources.add("more.cfg", more);
    load(sources)
}

/// Specification and plan of a text that has to pass without a word.
fn planned(more: &str) -> (Value, Value) {
    let loaded = read(more);
    assert_eq!(loaded.problems, [], "{more}");
    let host = Host {
        node_of_cpu: vec![Some(0), Some(0)],
        pools: vec![("batch".into(), 3)],
        utc_offset_seconds: 3600,
    };
    let config = loaded.config.expect("a configuration");
    let spec = config.resolve(&host, Uuid::from_bytes([7; 16])).expect("a specification");
    let ramdisk = spec.ramdisk.as_ref().map(|_| 0x4000);
    let plan = plan_facts(&spec, &kernel(), ramdisk, &facts()).expect("a plan");
    let json = |value: serde_json::Result<Value>| value.expect("a value");
    (json(serde_json::to_value(&spec)), json(serde_json::to_value(&plan)))
}

fn kernel() -> KernelFacts {
    let segment = KernelSegment {
        index: 0,
        start: 1 << 20,
        file_bytes: 4096,
        data: std::iter::once(0..4096).collect(),
        memory_bytes: 8192,
    };
    KernelFacts {
        guest_os: "micro".into(),
        virt_base: 0,
        entry_vaddr: 1 << 20,
        hypercall_page_vaddr: None,
        init_p2m_vaddr: None,
        ramdisk_by_pfn: false,
        segments: vec![segment],
    }
}

fn facts() -> HostFacts {
    let tsc = CpuLeaf { leaf: 0x8000_0007, subleaf: u32::MAX, a: 0, b: 0, c: 0, d: 0 };
    HostFacts {
        xen_version: (4, 17),
        max_grant_version: 2,
        cpu: HostCpu {
            hyper_threading: false,
            cmp_legacy: false,
            pv_default: vec![tsc],
            host: vec![tsc],
        },
        numa_nodes: vec![0],
        node_loads: Vec::new(),
        cpus: 2,
        flask: false,
        pvh_dom0: false,
        iommu: true,
        memory_map: vec![MapEntry { start: 1 << 31, end: 1 << 32, kind: 2 }],
        store_domid: 0,
        console_domid: 0,
    }
}

#[test]
fn the_table_has_every_key_of_the_inventory() {
    let inventory: BTreeSet<&str> = INVENTORY
        .lines()
        .skip(1)
        .map(|line| line.split('\t').next().unwrap_or_default())
        .chain(BESIDE_THE_INVENTORY.iter().copied())
        .chain(OWN.iter().map(|(own, _)| *own))
        .collect();
    let table: BTreeSet<&str> = KEYS.iter().map(|key| key.name).collect();
    assert!(inventory.len() > 240, "the inventory has only {} keys", inventory.len());
    assert_eq!(inventory.difference(&table).collect::<Vec<_>>(), [&""; 0], "not in the table");
    assert_eq!(table.difference(&inventory).collect::<Vec<_>>(), [&""; 0], "not in the inventory");
}

#[test]
fn every_honoured_key_has_its_effect() {
    let honoured: Vec<&str> =
        KEYS.iter().filter(|key| key.fate == Fate::Honoured).map(|key| key.name).collect();
    let tested: Vec<&str> = EFFECTS.iter().map(|(key, ..)| *key).collect();
    assert_eq!(
        honoured.iter().collect::<BTreeSet<_>>(),
        tested.iter().collect::<BTreeSet<_>>(),
        "each honoured key needs an effect here"
    );
    let (spec, plan) = planned("");
    for (key, text, effect) in EFFECTS {
        let (changed, other_plan) = planned(text);
        let fields = spec.as_object().expect("an object");
        let differ: Vec<&str> = fields
            .keys()
            .filter(|field| spec[field.as_str()] != changed[field.as_str()])
            .map(String::as_str)
            .collect();
        let (expected, planned): (&[&str], bool) = match effect {
            Plan(fields) => (fields, true),
            Stored(field) => (std::slice::from_ref(field), false),
            Devices => {
                let devices = |text| read(text).config.map(|config| config.devices);
                assert_ne!(devices(text), devices(""), "{key}");
                (&[], false)
            }
            OnlyOne | OfDevices => (&[], false),
        };
        assert_eq!(differ.iter().collect::<BTreeSet<_>>(), expected.iter().collect(), "{key}");
        assert_eq!(plan != other_plan, planned, "{key} in the plan");
    }
}

/// A value that makes no sense for any key: honoured ones refuse it where it stands.
#[test]
fn every_honoured_key_refuses_nonsense() {
    for (key, ..) in EFFECTS {
        let loaded = read(&format!("\n{key} = [[[]]]"));
        assert!(loaded.config.is_none(), "{key}");
        let shown = render(&loaded.problems, &loaded.sources, false);
        assert!(shown.contains(key) && shown.contains("more.cfg:2:"), "{shown}");
    }
}

#[test]
fn every_refused_key_is_refused_by_name_with_its_place() {
    let refused = KEYS.iter().filter_map(|key| match key.fate {
        Fate::Refused(why) => Some((key.name, why)),
        _ => None,
    });
    for (key, why) in refused {
        let loaded = read(&format!("\n{key} = 'x'"));
        assert!(loaded.config.is_none(), "{key}");
        let message = format!("{key} cannot be honoured: {why}");
        let errors: Vec<_> = loaded.problems.iter().map(|problem| &problem.message).collect();
        assert_eq!(errors, [&message]);
        let shown = render(&loaded.problems, &loaded.sources, false);
        assert!(shown.contains("more.cfg:2:1"), "{shown}");
        for nothing in ["[]", "''", "0"] {
            let loaded = read(&format!("{key} = {nothing}"));
            let refused = loaded.problems.iter().any(|p| p.message.starts_with(key));
            assert!(!refused, "{key} = {nothing}");
        }
    }
}

#[test]
fn every_ignored_key_is_warned_about_with_its_place() {
    let ignored = KEYS.iter().filter_map(|key| match key.fate {
        Fate::Ignored(why) => Some((key.name, why)),
        _ => None,
    });
    for (key, why) in ignored {
        let loaded = read(&format!("\n{key} = 'x'"));
        assert!(loaded.config.is_some(), "{key}");
        assert_eq!(loaded.problems.len(), 1, "{key}: {:?}", loaded.problems);
        let problem = &loaded.problems[0];
        assert_eq!(problem.message, format!("{key} has no effect: {why}"));
        assert_eq!(problem.severity, Severity::Warning);
        let shown = render(&loaded.problems, &loaded.sources, false);
        assert!(shown.contains("more.cfg:2:1"), "{shown}");
    }
}

/// `XLR_WRITE_DOCS=1` writes the page instead of comparing it.
/// What only the domain's end shows is not among what holds while it runs.
#[test]
fn the_page_tells_what_waits_for_the_end() {
    let page = markdown();
    let list = |from: &str, to: &str| {
        let (_, rest) = page.split_once(from).expect(from);
        rest.split_once(to).expect(to).0.to_owned()
    };
    let (now, at_end) = (
        list("\n## Honoured\n", "\n## Honoured by who waits\n"),
        list("\n## Honoured by who waits\n", "\n## Refused\n"),
    );
    for (key, _, effect) in EFFECTS {
        let (key, waits) = (format!("`{key}`"), matches!(effect, Stored(_)));
        assert_eq!((now.contains(&key), at_end.contains(&key)), (!waits, waits), "{key}");
    }
}

#[test]
fn the_page_of_keys_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/xl.cfg.md");
    if std::env::var_os("XLR_WRITE_DOCS").is_some() {
        std::fs::write(path, markdown()).expect("the page is written");
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == markdown(), "docs/xl.cfg.md is old; XLR_WRITE_DOCS=1 cargo test writes it");
}
