//! The CPUID policy of a new PV domain.
//!
//! In: Xen's default policy for PV guests, two flags of the host's, and what the configuration says of
//! single bits. Out: the leaves that differ from the default; only these are sent, as Xen keeps what a set does not name. As xl does:
//! a PV guest sees the host's topology (without CPUID faulting it could read it anyway), so it gets
//! the flags that go with it; an invariant time stamp counter is promised only where Xen emulates
//! it. Unlike xl, nothing is sent when nothing differs.

use super::facts::{CpuLeaf, HostCpu};
use crate::spec::{CpuidBits, Register};

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
pub fn changed_leaves(cpu: &HostCpu, invariant_tsc: bool, said: &[CpuidBits]) -> Vec<CpuLeaf> {
    let with = |value: u32, bit: u32, set: bool| if set { value | bit } else { value & !bit };
    let adjusted = |old: &CpuLeaf| {
        let mut new = *old;
        match new.leaf {
            1 => new.d = with(new.d, HYPER_THREADING, cpu.hyper_threading),
            0x8000_0001 => new.c = with(new.c, CMP_LEGACY, cpu.cmp_legacy),
            0x8000_0007 => new.d = with(new.d, INVARIANT_TSC, invariant_tsc),
            _ => {}
        }
        let here = || said.iter().filter(|bits| is_of(bits, old));
        // What is said of a register replaces the adjustments above, as under xl.
        for bits in here() {
            *register(&mut new, bits.register) = *register(&mut old.clone(), bits.register);
        }
        for bits in here() {
            let default = *register(&mut old.clone(), bits.register);
            let host = cpu.host.iter().find(|leaf| is_of(bits, leaf));
            let host = host.map_or(default, |leaf| *register(&mut leaf.clone(), bits.register));
            let value = register(&mut new, bits.register);
            let touched = bits.set | bits.clear | bits.host | bits.default;
            *value = (*value & !touched) | bits.set | (host & bits.host) | (default & bits.default);
        }
        (new != *old).then_some(new)
    };
    cpu.pv_default.iter().filter_map(adjusted).collect()
}

fn is_of(bits: &CpuidBits, leaf: &CpuLeaf) -> bool {
    leaf.leaf == bits.leaf && leaf.subleaf == bits.subleaf.unwrap_or(u32::MAX)
}

fn register(leaf: &mut CpuLeaf, register: Register) -> &mut u32 {
    match register {
        Register::Eax => &mut leaf.a,
        Register::Ebx => &mut leaf.b,
        Register::Ecx => &mut leaf.c,
        Register::Edx => &mut leaf.d,
    }
}

/// The first of these whose leaf Xen does not have for PV guests on this host.
#[must_use]
pub fn without_leaf<'a>(cpu: &HostCpu, said: &'a [CpuidBits]) -> Option<&'a CpuidBits> {
    let there = |leaves: &[CpuLeaf], bits| leaves.iter().any(|leaf| is_of(bits, leaf));
    said.iter().find(|bits| !there(&cpu.pv_default, bits) || !there(&cpu.host, bits))
}

/// What the plan needs of the host's policy and the default for PV guests.
#[must_use]
pub fn host_cpu(host: &[CpuLeaf], pv_default: &[CpuLeaf], said: &[CpuidBits]) -> HostCpu {
    let is_said = |leaf: &&CpuLeaf| said.iter().any(|bits| is_of(bits, leaf));
    let find = |leaf: u32| host.iter().find(|found| found.leaf == leaf);
    HostCpu {
        hyper_threading: find(1).is_some_and(|leaf| leaf.d & HYPER_THREADING != 0),
        cmp_legacy: find(0x8000_0001).is_some_and(|leaf| leaf.c & CMP_LEGACY != 0),
        pv_default: pv_default
            .iter()
            .filter(|leaf| ADJUSTED_LEAVES.contains(&leaf.leaf) || is_said(leaf))
            .copied()
            .collect(),
        host: host.iter().filter(is_said).copied().collect(),
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
        let cpu = host_cpu(&host, &pv_default, &[]);
        assert_eq!(cpu.pv_default.len(), 3);
        assert_eq!(changed_leaves(&cpu, invariant_tsc, &[]), wanted);
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
        let cpu = HostCpu { hyper_threading: true, cmp_legacy: true, ..HostCpu::default() };
        assert_eq!(changed_leaves(&cpu, true, &[]), []);
    }

    #[test]
    fn what_is_said_of_bits_is_done() {
        let host = [leaf(1, 0xf0f0, 1 << 28)];
        let pv_default = [leaf(1, 0xff00, 0), leaf(0x8000_0007, 0, 0)];
        let said = |register, change: fn(&mut CpuidBits)| {
            let mut bits = CpuidBits::none(1, None, register);
            change(&mut bits);
            bits
        };
        let check = |said: &[CpuidBits], c: u32, d: u32| {
            let cpu = host_cpu(&host, &pv_default, said);
            let expected = leaf(1, c, d);
            let changed = changed_leaves(&cpu, false, said);
            assert_eq!(changed.first().copied().unwrap_or(pv_default[0]), expected);
            assert_eq!(without_leaf(&cpu, said), None);
        };
        // Nothing is said: the guest sees the host's topology.
        check(&[], 0xff00, 1 << 28);
        check(&[said(Register::Ecx, |bits| bits.set = 1)], 0xff01, 1 << 28);
        check(&[said(Register::Ecx, |bits| bits.clear = 0x100)], 0xfe00, 1 << 28);
        check(&[said(Register::Ecx, |bits| bits.host = 0xffff)], 0xf0f0, 1 << 28);
        let both = [
            said(Register::Ecx, |bits| bits.set = 3),
            said(Register::Ecx, |bits| bits.default = 2),
        ];
        check(&both, 0xff01, 1 << 28);
        // Of a register of which anything is said, the rest is the default.
        check(&[said(Register::Edx, |bits| bits.set = 2)], 0xff00, 2);
        let nowhere = [CpuidBits::none(7, Some(0), Register::Ebx)];
        assert_eq!(
            without_leaf(&host_cpu(&host, &pv_default, &nowhere), &nowhere),
            Some(&nowhere[0])
        );
    }
}
