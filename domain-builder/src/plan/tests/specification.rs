//! From a specification to the steps, or to what is wrong with it.

use super::*;
use crate::plan::memory_map::{self, MapEntry};
use crate::plan::steps::Step;
use crate::plan::{Plan, plan_facts};
use crate::spec::TscMode;
use crate::spec::{CpuSet, Hardware, HostRange, VcpuAffinity};
use proptest::prelude::*;

#[test]
fn bad_specifications_are_refused() {
    fn check(change: impl FnOnce(&mut DomainSpec), part: &str) {
        let mut spec = spec(256 * 1024, 2);
        change(&mut spec);
        let error = plan_facts(&spec, &micro(), None, &host()).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let pinned = |cpus: Vec<u32>| {
        vec![VcpuAffinity::default(), VcpuAffinity { hard: Some(CpuSet(cpus)), soft: None }]
    };
    check(|s| s.name.clear(), "must not be empty");
    check(|s| s.name = "a/b".to_owned(), "must not be empty");
    check(|s| s.vcpus = 0, "vcpus=0");
    check(|s| s.max_vcpus = 1, "maxvcpus=1");
    check(|s| s.max_vcpus = 8193, "maxvcpus=8193");
    check(|s| s.max_memory_kib = 1, "raise maxmem");
    check(|s| s.cmdline = "a\0b".to_owned(), "NUL");
    check(|s| s.numa_nodes = vec![0, 1], "no NUMA node 1: this host has [0]");
    check(|s| s.affinity = pinned(vec![4]), "vcpu 1 cannot be pinned to CPU 4");
    check(|s| s.affinity = pinned(vec![]), "no CPU");
    check(|s| s.memory_kib = 1024, "at least");
    check(|s| (s.memory_kib, s.max_memory_kib) = (u64::MAX, u64::MAX), "lower memory");
}

#[test]
fn steps_follow_the_specification() {
    let mut wanted = spec(64 * 1024, 2);
    wanted.max_vcpus = 4;
    wanted.max_memory_kib = 128 * 1024;
    wanted.tsc_mode = TscMode::AlwaysEmulate;
    wanted.sched.weight = Some(512);
    let hard = Some(CpuSet(vec![1, 3, 9]));
    wanted.affinity = vec![VcpuAffinity { hard, soft: None }];
    let plan = plan_facts(&wanted, &linux(14 * MIB), Some(5000), &host()).unwrap();
    let names: Vec<_> = plan.steps.iter().map(Step::name).collect();
    assert_eq!(
        names,
        [
            "check-name",
            "create-domain",
            "write-identity",
            "max-vcpus",
            "vcpu-affinity",
            "max-memory",
            "event-channels",
            "memory-map",
            "tsc",
            "cpu-policy",
            "address-size",
            "claim-memory",
            "populate-memory",
            "cancel-claim",
            "load-kernel",
            "load-ramdisk",
            "clear-pages",
            "shared-info",
            "write-p2m",
            "write-boot-pages",
            "hypercall-page",
            "pin-tables",
            "vcpu-context",
            "seed-grants",
            "sched-params",
            "introduce"
        ]
    );
    for step in &plan.steps {
        match step {
            Step::MaxMemory { kib } => assert_eq!(*kib, 65 * 1024),
            Step::MemoryMap { entries } => assert_eq!(*entries, memory_map::flat(128 * MIB)),
            Step::CpuPolicy { leaves } => assert_eq!(leaves, &[CpuLeaf { d: 256, ..LEAF_7 }]),
            Step::VcpuAffinity { vcpus } => assert_eq!(vcpus[0].hard, Some(vec![1, 3])),
            Step::VcpuContext(start) => {
                assert_eq!(start.rip, LINUX_BASE + 16 * MIB + 0x1c0);
                assert_eq!(start.rsi, plan.layout.vaddr(plan.layout.start_info));
                assert_eq!(start.rsp, plan.layout.vaddr(plan.layout.boot_stack) + 4096);
            }
            Step::HypercallPage { pfn } => assert_eq!(*pfn, 0x1001),
            _ => {}
        }
    }
    let text = plan.to_string();
    assert!(text.contains("write  /local/domain/D/cpu/3/availability = \"offline\""), "{text}");
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
}

#[test]
fn hosts_on_which_a_domain_could_not_live_are_refused() {
    fn check(change: impl FnOnce(&mut HostFacts), part: &str) {
        let mut host = host();
        change(&mut host);
        let error = plan_facts(&spec(64 * 1024, 1), &micro(), None, &host).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    check(|host| host.flask = true, "flask=disabled");
    check(|host| host.pvh_dom0 = true, "without dom0=pvh");
}

#[test]
fn hardware_of_the_host_is_reached_by_leave() {
    let hole = MapEntry { start: 1 << 31, end: 1 << 32, kind: 2 };
    let host = HostFacts { memory_map: vec![hole], ..host() };
    let ports = vec![HostRange { first: 0x2f8, count: 8 }];
    let memory = vec![HostRange { first: 0xfebc0, count: 0x20 }];
    let hardware = Hardware {
        passthrough: true,
        host_map: true,
        ports: ports.clone(),
        memory: memory.clone(),
        irqs: vec![5],
    };
    let spec = DomainSpec { hardware, ..spec(64 * 1024, 1) };
    let steps = plan_facts(&spec, &micro(), None, &host).unwrap().steps;
    let create = |step: &Step| matches!(step, Step::CreateDomain(create) if create.passthrough);
    assert!(steps.iter().any(create), "{steps:?}");
    let entries = memory_map::with_holes(&[hole], 64 * MIB, 64 * MIB);
    assert!(entries.contains(&hole) && steps.contains(&Step::MemoryMap { entries }), "{steps:?}");
    assert!(steps.contains(&Step::HostResources { ports, memory, irqs: vec![5] }), "{steps:?}");
    let none = HostFacts { iommu: false, ..host };
    let error = plan_facts(&spec, &micro(), None, &none).unwrap_err().to_string();
    assert!(error.contains("need an IOMMU"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Plans never panic, whatever the numbers.
    #[test]
    fn any_numbers_give_a_plan_or_an_error(
        virt_base: u64,
        entry: u64,
        p2m in proptest::option::of(any::<u64>()),
        start: u64,
        file_bytes: u64,
        memory_bytes: u64,
        ramdisk in proptest::option::of(any::<u64>()),
        memory_kib: u64,
        vcpus: u32,
    ) {
        let kernel = KernelFacts {
            guest_os: String::new(),
            virt_base: virt_base & !0xfff,
            entry_vaddr: entry,
            hypercall_page_vaddr: None,
            init_p2m_vaddr: p2m,
            ramdisk_by_pfn: entry & 1 == 0,
            segments: vec![segment(0, start, file_bytes, memory_bytes)],
        };
        let _ = plan_facts(&spec(memory_kib, vcpus), &kernel, ramdisk, &host());
    }
}
