//! CPUID leaves and MSR values that a domain sees.

use xen_sys::arch_x86::{xen_cpuid_leaf, xen_msr_entry};
use xen_sys::domctl::{
    XEN_CPUID_INPUT_UNUSED, XEN_DOMCTL_get_cpu_policy, XEN_DOMCTL_set_cpu_policy,
    xen_domctl_cpu_policy,
};
use xen_sys::sysctl::{
    XEN_SYSCTL_cpu_policy_host, XEN_SYSCTL_cpu_policy_hvm_default, XEN_SYSCTL_cpu_policy_hvm_max,
    XEN_SYSCTL_cpu_policy_pv_default, XEN_SYSCTL_cpu_policy_pv_max, XEN_SYSCTL_cpu_policy_raw,
    XEN_SYSCTL_get_cpu_policy, xen_sysctl_cpu_policy,
};
use xen_sys::types::Domid;

use super::PAYLOAD_BYTES;
use crate::error::{Error, Result};
use crate::layout::{get, put};
use crate::xen::Xen;

/// One CPUID leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The leaf (EAX on entry).
    pub leaf: u32,
    /// The subleaf (ECX on entry), all ones where the leaf has none.
    pub subleaf: u32,
    /// EAX.
    pub a: u32,
    /// EBX.
    pub b: u32,
    /// ECX.
    pub c: u32,
    /// EDX.
    pub d: u32,
}

/// One model-specific register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msr {
    /// Its index.
    pub index: u32,
    /// Zero so far.
    pub flags: u32,
    /// Its value.
    pub value: u64,
}

/// What a domain is shown of the CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuPolicy {
    /// CPUID leaves.
    pub leaves: Vec<Leaf>,
    /// Model-specific registers.
    pub msrs: Vec<Msr>,
}

/// The policies of the host (`XEN_SYSCTL_cpu_policy_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemPolicy {
    /// What the CPU says.
    Raw,
    /// What Xen itself uses.
    Host,
    /// The most that a PV guest can get.
    PvMax,
    /// The most that an HVM or PVH guest can get.
    HvmMax,
    /// What a PV guest gets by default.
    PvDefault,
    /// What an HVM or PVH guest gets by default.
    HvmDefault,
}

impl SystemPolicy {
    fn index(self) -> u32 {
        match self {
            Self::Raw => XEN_SYSCTL_cpu_policy_raw,
            Self::Host => XEN_SYSCTL_cpu_policy_host,
            Self::PvMax => XEN_SYSCTL_cpu_policy_pv_max,
            Self::HvmMax => XEN_SYSCTL_cpu_policy_hvm_max,
            Self::PvDefault => XEN_SYSCTL_cpu_policy_pv_default,
            Self::HvmDefault => XEN_SYSCTL_cpu_policy_hvm_default,
        }
    }
}

const LEAF_BYTES: usize = size_of::<xen_cpuid_leaf>();
const MSR_BYTES: usize = size_of::<xen_msr_entry>();

impl CpuPolicy {
    fn leaf_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.leaves.len() * LEAF_BYTES];
        for (at, leaf) in bytes.chunks_exact_mut(LEAF_BYTES).zip(&self.leaves) {
            put!(
                at,
                xen_cpuid_leaf {
                    leaf: leaf.leaf,
                    subleaf: leaf.subleaf,
                    a: leaf.a,
                    b: leaf.b,
                    c: leaf.c,
                    d: leaf.d,
                }
            );
        }
        bytes
    }

    fn msr_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.msrs.len() * MSR_BYTES];
        for (at, msr) in bytes.chunks_exact_mut(MSR_BYTES).zip(&self.msrs) {
            put!(at, xen_msr_entry { idx: msr.index, flags: msr.flags, val: msr.value });
        }
        bytes
    }

    /// Decodes the first `leaves` and `msrs` records; more than there are is cut.
    fn decode(leaf_bytes: &[u8], leaves: u32, msr_bytes: &[u8], msrs: u32) -> Self {
        let leaf = |at: &[u8]| Leaf {
            leaf: get!(at, xen_cpuid_leaf, leaf),
            subleaf: get!(at, xen_cpuid_leaf, subleaf),
            a: get!(at, xen_cpuid_leaf, a),
            b: get!(at, xen_cpuid_leaf, b),
            c: get!(at, xen_cpuid_leaf, c),
            d: get!(at, xen_cpuid_leaf, d),
        };
        let msr = |at: &[u8]| Msr {
            index: get!(at, xen_msr_entry, idx),
            flags: get!(at, xen_msr_entry, flags),
            value: get!(at, xen_msr_entry, val),
        };
        let leaves = leaf_bytes.chunks_exact(LEAF_BYTES).take(leaves as usize);
        let msrs = msr_bytes.chunks_exact(MSR_BYTES).take(msrs as usize);
        Self { leaves: leaves.map(leaf).collect(), msrs: msrs.map(msr).collect() }
    }
}

impl Xen {
    /// The most leaves and MSRs that a policy has on this host.
    fn policy_limits(&self) -> Result<(u32, u32)> {
        const MOST: u32 = 1 << 16;
        let operation = "XEN_SYSCTL_get_cpu_policy";
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_sysctl_cpu_policy { index: XEN_SYSCTL_cpu_policy_host });
        // SAFETY: null handles ask for the sizes only.
        unsafe { self.sysctl(operation, XEN_SYSCTL_get_cpu_policy, &mut payload) }?;
        let leaves = get!(payload, xen_sysctl_cpu_policy, nr_leaves);
        let msrs = get!(payload, xen_sysctl_cpu_policy, nr_msrs);
        if leaves > MOST || msrs > MOST {
            let what = "too many CPUID leaves";
            return Err(Error::BadAnswer { operation, domid: None, what });
        }
        Ok((leaves, msrs))
    }

    /// One of the host's policies.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; EOPNOTSUPP for PV or HVM where Xen was built without it.
    pub fn system_cpu_policy(&self, which: SystemPolicy) -> Result<CpuPolicy> {
        type Raw = xen_sysctl_cpu_policy;
        let (max_leaves, max_msrs) = self.policy_limits()?;
        let mut leaves = self.pool().zeroed(max_leaves as usize * LEAF_BYTES)?;
        let mut msrs = self.pool().zeroed(max_msrs as usize * MSR_BYTES)?;
        let mut payload = [0; PAYLOAD_BYTES];
        put!(
            payload,
            Raw {
                index: which.index(),
                nr_leaves: max_leaves,
                nr_msrs: max_msrs,
                leaves: leaves.address(),
                msrs: msrs.address(),
            }
        );
        let command = XEN_SYSCTL_get_cpu_policy;
        // SAFETY: Xen writes at most nr_leaves and nr_msrs records, the sizes of the buffers.
        unsafe { self.sysctl("XEN_SYSCTL_get_cpu_policy", command, &mut payload) }?;
        let counts = (get!(payload, Raw, nr_leaves), get!(payload, Raw, nr_msrs));
        Ok(CpuPolicy::decode(leaves.bytes(), counts.0, msrs.bytes(), counts.1))
    }

    /// The policy of a domain.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn cpu_policy(&self, domid: Domid) -> Result<CpuPolicy> {
        type Raw = xen_domctl_cpu_policy;
        let (max_leaves, max_msrs) = self.policy_limits()?;
        let mut leaves = self.pool().zeroed(max_leaves as usize * LEAF_BYTES)?;
        let mut msrs = self.pool().zeroed(max_msrs as usize * MSR_BYTES)?;
        let mut payload = [0; PAYLOAD_BYTES];
        put!(
            payload,
            Raw {
                nr_leaves: max_leaves,
                nr_msrs: max_msrs,
                leaves: leaves.address(),
                msrs: msrs.address(),
            }
        );
        let command = XEN_DOMCTL_get_cpu_policy;
        // SAFETY: Xen writes at most nr_leaves and nr_msrs records, the sizes of the buffers.
        unsafe { self.domctl("XEN_DOMCTL_get_cpu_policy", command, domid, &mut payload) }?;
        let counts = (get!(payload, Raw, nr_leaves), get!(payload, Raw, nr_msrs));
        Ok(CpuPolicy::decode(leaves.bytes(), counts.0, msrs.bytes(), counts.1))
    }

    /// Loads the policy of a domain that has not run yet.
    ///
    /// # Errors
    /// [`Error::PolicyRefused`] when Xen names the leaf or MSR that it does not accept,
    /// [`Error::Hypercall`] else.
    pub fn set_cpu_policy(&self, domid: Domid, policy: &CpuPolicy) -> Result<()> {
        type Raw = xen_domctl_cpu_policy;
        let operation = "XEN_DOMCTL_set_cpu_policy";
        let count = |len: usize| {
            u32::try_from(len).map_err(|_| Error::Invalid { operation, what: "too many entries" })
        };
        let mut leaves = self.pool().holding(&policy.leaf_bytes())?;
        let mut msrs = self.pool().holding(&policy.msr_bytes())?;
        let mut payload = [0; PAYLOAD_BYTES];
        put!(
            payload,
            Raw {
                nr_leaves: count(policy.leaves.len())?,
                nr_msrs: count(policy.msrs.len())?,
                leaves: leaves.address(),
                msrs: msrs.address(),
                err_leaf: XEN_CPUID_INPUT_UNUSED,
                err_subleaf: XEN_CPUID_INPUT_UNUSED,
                err_msr: XEN_CPUID_INPUT_UNUSED,
            }
        );
        let command = XEN_DOMCTL_set_cpu_policy;
        // SAFETY: Xen reads nr_leaves and nr_msrs records, the sizes of the buffers.
        let outcome = unsafe { self.domctl(operation, command, domid, &mut payload) };
        let named = |value: u32| (value != XEN_CPUID_INPUT_UNUSED).then_some(value);
        match outcome {
            Ok(_) => Ok(()),
            Err(Error::Hypercall { errno, .. })
                if named(get!(payload, Raw, err_leaf)).is_some()
                    || named(get!(payload, Raw, err_msr)).is_some() =>
            {
                Err(Error::PolicyRefused {
                    domid,
                    leaf: named(get!(payload, Raw, err_leaf)),
                    subleaf: named(get!(payload, Raw, err_subleaf)),
                    msr: named(get!(payload, Raw, err_msr)),
                    errno,
                })
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_round_trip() {
        let policy = CpuPolicy {
            leaves: vec![
                Leaf { leaf: 0, subleaf: u32::MAX, a: 1, b: 2, c: 3, d: 4 },
                Leaf { leaf: 7, subleaf: 0, a: 5, b: 6, c: 7, d: 8 },
            ],
            msrs: vec![Msr { index: 0xCE, flags: 0, value: 1 << 31 }],
        };
        let (leaves, msrs) = (policy.leaf_bytes(), policy.msr_bytes());
        assert_eq!(leaves.len(), 48);
        assert_eq!(leaves[24..32], [7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(msrs, [0xCE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0]);
        assert_eq!(CpuPolicy::decode(&leaves, 2, &msrs, 1), policy);
        assert_eq!(CpuPolicy::decode(&leaves, 99, &msrs, 99), policy, "counts are bounded");
        assert_eq!(CpuPolicy::decode(&leaves, 0, &msrs, 0), CpuPolicy::default());
    }
}
