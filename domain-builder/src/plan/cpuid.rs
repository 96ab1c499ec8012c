//! The CPUID policy of a new PV domain.
//!
//! In: Xen's default policy for PV guests and two flags of the host's. Out: the leaves that differ
//! from the default; only these are sent, as Xen keeps what a set does not name. As xl does:
//! a PV guest sees the host's topology (without CPUID faulting it could read it anyway), so it gets
//! the flags that go with it; an invariant time stamp counter is promised only where Xen emulates
//! it. Unlike xl, nothing is sent when nothing differs.

use super::facts::{CpuLeaf, HostCpu};

/// Leaf 1, EDX: more than one logical processor per package.
const HYPER_THREADING: u32 = 1 << 28;
/// Leaf 0x80000001, ECX: the same, on AMD.
const CMP_LEGACY: u32 = 1 << 1;
/// Leaf 0x80000007, EDX: the time stamp counter is invariant.
const INVARIANT_TSC: u32 = 1 << 8;

/// Leaves that the policy may change; [`HostCpu::pv_default`] holds those of them that exist.
pub const ADJUSTED_LEAVES: [u32; 3] = [1, 0x8000_0001, 0x8000_0007];

/// Leaves to set, ascending. Empty when Xen's default serves.
#[must_use]
pub fn changed_leaves(cpu: &HostCpu, invariant_tsc: bool) -> Vec<CpuLeaf> {
    let with = |value: u32, bit: u32, set: bool| if set { value | bit } else { value & !bit };
    let adjusted = |old: &CpuLeaf| {
        let mut new = *old;
        match new.leaf {
            1 => new.d = with(new.d, HYPER_THREADING, cpu.hyper_threading),
            0x8000_0001 => new.c = with(new.c, CMP_LEGACY, cpu.cmp_legacy),
            0x8000_0007 => new.d = with(new.d, INVARIANT_TSC, invariant_tsc),
            _ => {}
        }
        (new != *old).then_some(new)
    };
    cpu.pv_default.iter().filter_map(adjusted).collect()
}

/// What the plan needs of the host's policy and the default for PV guests.
#[must_use]
pub fn host_cpu(host: &[CpuLeaf], pv_default: &[CpuLeaf]) -> HostCpu {
    let find = |leaf: u32| host.iter().find(|found| found.leaf == leaf);
    HostCpu {
        hyper_threading: find(1).is_some_and(|leaf| leaf.d & HYPER_THREADING != 0),
        cmp_legacy: find(0x8000_0001).is_some_and(|leaf| leaf.c & CMP_LEGACY != 0),
        pv_default: pv_default
            .iter()
            .filter(|leaf| ADJUSTED_LEAVES.contains(&leaf.leaf))
            .copied()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(leaf: u32, c: u32, d: u32) -> CpuLeaf {
        CpuLeaf { leaf, subleaf: u32::MAX, a: 1, b: 2, c, d }
    }

    fn check(host: [u32; 2], default: [u32; 3], invariant_tsc: bool, wanted: &[CpuLeaf]) {
        let host = [leaf(0, 9, 9), leaf(1, 0, host[0]), leaf(0x8000_0001, host[1], 0)];
        let pv_default = [
            leaf(0, 9, 9),
            leaf(1, 0, default[0]),
            leaf(0x8000_0001, default[1], 5),
            leaf(0x8000_0007, 0, default[2]),
            leaf(0x8000_0008, 7, 7),
        ];
        let cpu = host_cpu(&host, &pv_default);
        assert_eq!(cpu.pv_default.len(), 3);
        assert_eq!(changed_leaves(&cpu, invariant_tsc), wanted);
    }

    #[test]
    fn only_what_differs_is_set() {
        let htt = 1 << 28;
        check([htt, 2], [htt | 1, 2, 0], false, &[]);
        check([htt, 0], [1, 0, 0], false, &[leaf(1, 0, htt | 1)]);
        check([0, 0], [htt, 0, 0], false, &[leaf(1, 0, 0)]);
        check([0, 2], [0, 1, 0], false, &[leaf(0x8000_0001, 3, 5)]);
        check([0, 0], [0, 2, 0], false, &[leaf(0x8000_0001, 0, 5)]);
        check([0, 0], [0, 0, 256], false, &[leaf(0x8000_0007, 0, 0)]);
        check([0, 0], [0, 0, 1], true, &[leaf(0x8000_0007, 0, 257)]);
        check([0, 0], [0, 0, 256], true, &[]);
    }

    #[test]
    fn leaves_that_do_not_exist_are_left_alone() {
        let cpu = HostCpu { hyper_threading: true, cmp_legacy: true, pv_default: Vec::new() };
        assert_eq!(changed_leaves(&cpu, true), []);
    }
}
