//! Creating a domain: one typed request, one layout per revision of domctl.

use xen_sys::domctl::{
    XEN_DOMCTL_CDF_hap, XEN_DOMCTL_CDF_hvm, XEN_DOMCTL_CDF_iommu, XEN_DOMCTL_CDF_nested_virt,
    XEN_DOMCTL_CDF_oos_off, XEN_DOMCTL_CDF_s3_integrity, XEN_DOMCTL_CDF_vpmu,
    XEN_DOMCTL_CDF_xs_domain, XEN_DOMCTL_IOMMU_no_sharept, XEN_DOMCTL_createdomain,
    xen_domctl_createdomain_0x12, xen_domctl_createdomain_0x13, xen_domctl_createdomain_0x14,
    xen_domctl_createdomain_0x15, xen_domctl_createdomain_0x17,
};
use xen_sys::revision::DomctlRevision;
use xen_sys::types::Domid;
use xen_sys::xen::DOMID_ANY;

use super::{PAYLOAD_BYTES, Payload};
use crate::error::{Error, Result};
use crate::layout::put;
use crate::xen::Xen;

/// What a new domain is. Its limits are fixed here; memory, vCPUs and contents come later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateDomain {
    /// The domid to use; none lets Xen choose.
    pub domid: Option<Domid>,
    /// The domain's handle: its UUID, in the order of its text form.
    pub uuid: [u8; 16],
    /// Security label; 0 where no XSM policy is loaded.
    pub ssidref: u32,
    /// HVM or PVH rather than PV (`XEN_DOMCTL_CDF_hvm`).
    pub hvm: bool,
    /// Hardware-assisted paging, for HVM and PVH.
    pub hap: bool,
    /// Memory is measured over S3 sleep.
    pub s3_integrity: bool,
    /// Shadow page tables are kept in sync.
    pub oos_off: bool,
    /// The domain will run xenstored.
    pub xenstore_domain: bool,
    /// Devices may be passed through, now or later: it cannot be switched on afterwards.
    pub iommu: bool,
    /// Nested virtualisation (Xen 4.15).
    pub nested_virt: bool,
    /// Virtual performance counters (Xen 4.16).
    pub vpmu: bool,
    /// The IOMMU gets page tables of its own.
    pub iommu_no_sharept: bool,
    /// Number of vCPUs, not 0; [`Xen::max_vcpus`] must be called with the same number.
    pub max_vcpus: u32,
    /// Highest event channel port that the domain may use.
    pub max_event_channel_port: u32,
    /// Limit of grant table frames; none takes Xen's default.
    pub max_grant_frames: Option<u32>,
    /// Limit of frames that track grants mapped by the domain; none takes Xen's default.
    pub max_maptrack_frames: Option<u32>,
    /// Highest grant table version, 1 or 2 (Xen 4.16; earlier releases take the hypervisor's).
    pub max_grant_version: u8,
    /// `XEN_DOMCTL_ALTP2M_*` mode (Xen 4.19; 0 for none).
    pub altp2m_mode: u32,
    /// Bytes of trace buffer per vCPU (Xen 4.15; 0 for none).
    pub vmtrace_bytes: u32,
    /// The CPU pool to run in (given to createdomain since Xen 4.17, moved there afterwards
    /// before).
    pub cpupool: u32,
    /// `XEN_X86_EMU_*`: what Xen emulates; 0 for PV.
    pub emulation_flags: u32,
    /// `XEN_X86_MSR_RELAXED` (Xen 4.15).
    pub misc_flags: u32,
}

impl Default for CreateDomain {
    /// A PV domain of one vCPU with the limits that xl sets.
    fn default() -> Self {
        Self {
            domid: None,
            uuid: [0; 16],
            ssidref: 0,
            hvm: false,
            hap: false,
            s3_integrity: false,
            oos_off: false,
            xenstore_domain: false,
            iommu: false,
            nested_virt: false,
            vpmu: false,
            iommu_no_sharept: false,
            max_vcpus: 1,
            max_event_channel_port: 1023,
            max_grant_frames: None,
            max_maptrack_frames: None,
            max_grant_version: 2,
            altp2m_mode: 0,
            vmtrace_bytes: 0,
            cpupool: 0,
            emulation_flags: 0,
            misc_flags: 0,
        }
    }
}

impl CreateDomain {
    fn flags(&self) -> u32 {
        [
            (self.hvm, XEN_DOMCTL_CDF_hvm),
            (self.hap, XEN_DOMCTL_CDF_hap),
            (self.s3_integrity, XEN_DOMCTL_CDF_s3_integrity),
            (self.oos_off, XEN_DOMCTL_CDF_oos_off),
            (self.xenstore_domain, XEN_DOMCTL_CDF_xs_domain),
            (self.iommu, XEN_DOMCTL_CDF_iommu),
            (self.nested_virt, XEN_DOMCTL_CDF_nested_virt),
            (self.vpmu, XEN_DOMCTL_CDF_vpmu),
        ]
        .iter()
        .fold(0, |flags, (set, flag)| if *set { flags | flag } else { flags })
    }

    /// What this revision cannot express is refused rather than dropped.
    fn check(&self, revision: DomctlRevision) -> Result<()> {
        let needs = [
            (self.nested_virt, DomctlRevision::V0x13, "nested virtualisation by flag", "4.15"),
            (self.vmtrace_bytes != 0, DomctlRevision::V0x13, "processor tracing", "4.15"),
            (self.misc_flags != 0, DomctlRevision::V0x13, "relaxed MSR access", "4.15"),
            (self.vpmu, DomctlRevision::V0x14, "a virtual PMU per domain", "4.16"),
            (self.altp2m_mode != 0, DomctlRevision::V0x17, "altp2m at creation", "4.19"),
        ];
        for (wanted, since_revision, what, since) in needs {
            if wanted && revision < since_revision {
                return Err(Error::Unsupported { what, since });
            }
        }
        Ok(())
    }

    /// The argument of createdomain in the layout of `revision`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what that revision has no field for.
    pub(crate) fn encode(&self, revision: DomctlRevision) -> Result<Payload> {
        self.check(revision)?;
        let mut bytes = [0; PAYLOAD_BYTES];
        // The head is the same in every revision.
        put!(
            bytes,
            xen_domctl_createdomain_0x12 {
                ssidref: self.ssidref,
                handle: self.uuid,
                flags: self.flags(),
                iommu_opts: if self.iommu_no_sharept { XEN_DOMCTL_IOMMU_no_sharept } else { 0 },
                max_vcpus: self.max_vcpus,
                max_evtchn_port: self.max_event_channel_port,
                max_grant_frames: limit(self.max_grant_frames),
                max_maptrack_frames: limit(self.max_maptrack_frames),
            }
        );
        let grant_opts = u32::from(self.max_grant_version);
        match revision {
            DomctlRevision::V0x12 => put!(bytes, xen_domctl_createdomain_0x12 {
                arch.emulation_flags: self.emulation_flags,
            }),
            DomctlRevision::V0x13 => put!(bytes, xen_domctl_createdomain_0x13 {
                vmtrace_size: self.vmtrace_bytes,
                arch.emulation_flags: self.emulation_flags,
                arch.misc_flags: self.misc_flags,
            }),
            DomctlRevision::V0x14 => put!(bytes, xen_domctl_createdomain_0x14 {
                grant_opts: grant_opts,
                vmtrace_size: self.vmtrace_bytes,
                arch.emulation_flags: self.emulation_flags,
                arch.misc_flags: self.misc_flags,
            }),
            DomctlRevision::V0x15 | DomctlRevision::V0x16 => {
                put!(bytes, xen_domctl_createdomain_0x15 {
                    grant_opts: grant_opts,
                    vmtrace_size: self.vmtrace_bytes,
                    cpupool_id: self.cpupool,
                    arch.emulation_flags: self.emulation_flags,
                    arch.misc_flags: self.misc_flags,
                });
            }
            DomctlRevision::V0x17 | DomctlRevision::V0x18 => {
                put!(bytes, xen_domctl_createdomain_0x17 {
                    grant_opts: grant_opts,
                    altp2m_opts: self.altp2m_mode,
                    vmtrace_size: self.vmtrace_bytes,
                    cpupool_id: self.cpupool,
                    arch.emulation_flags: self.emulation_flags,
                    arch.misc_flags: self.misc_flags,
                });
            }
        }
        Ok(bytes)
    }
}

/// Xen takes a negative limit for its own default.
fn limit(frames: Option<u32>) -> i32 {
    frames.map_or(-1, |frames| i32::try_from(frames).unwrap_or(i32::MAX))
}

/// What to put for "choose a domid": 0 works up to 4.21, 4.22 wants a name for it.
fn any_domid(revision: DomctlRevision) -> Domid {
    if revision < DomctlRevision::V0x18 { Domid(0) } else { Domid(DOMID_ANY) }
}

impl Xen {
    /// Creates an empty domain, paused, and returns its domid.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what this Xen does not have, [`Error::Hypercall`]; no domain is
    /// left behind.
    pub fn create_domain(&self, request: &CreateDomain) -> Result<Domid> {
        let operation = "XEN_DOMCTL_createdomain";
        if request.domid.is_some_and(|domid| !domid.is_ordinary() || domid == Domid::DOM0) {
            return Err(Error::Invalid { operation, what: "the domid is reserved" });
        }
        let revision = self.domctl_revision();
        let mut payload = request.encode(revision)?;
        let domid = request.domid.unwrap_or_else(|| any_domid(revision));
        // SAFETY: createdomain carries no address.
        let answer =
            unsafe { self.domctl(operation, XEN_DOMCTL_createdomain, domid, &mut payload) }?;
        let created = answer.domid;
        if revision < DomctlRevision::V0x15
            && request.cpupool != 0
            && let Err(error) = self.cpupool_move_domain(request.cpupool, created)
        {
            self.destroy(created)?;
            return Err(error);
        }
        Ok(created)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> CreateDomain {
        CreateDomain {
            uuid: *b"0123456789abcdef",
            ssidref: 0x0102_0304,
            iommu: true,
            max_vcpus: 4,
            max_event_channel_port: 1023,
            max_grant_frames: Some(64),
            max_maptrack_frames: None,
            max_grant_version: 1,
            cpupool: 7,
            emulation_flags: 0x0A0B_0C0D,
            ..CreateDomain::default()
        }
    }

    /// The bytes as words of 32 bits, without the zero tail.
    fn words(payload: &Payload) -> Vec<u32> {
        let words = payload.chunks_exact(4).map(|at| u32::from_le_bytes(at.try_into().unwrap()));
        let mut words: Vec<_> = words.collect();
        while words.last() == Some(&0) {
            words.pop();
        }
        words
    }

    #[test]
    fn layouts_by_revision() {
        let head = [
            0x0102_0304, // ssidref
            0x3332_3130, // handle, "0123"
            0x3736_3534,
            0x6261_3938,
            0x6665_6463,
            0x20, // flags: iommu
            0,    // iommu_opts
            4,    // max_vcpus
            1023, // max_evtchn_port
            64,   // max_grant_frames
            u32::MAX,
        ];
        let check = |revision: DomctlRevision, tail: &[u32]| {
            let expected: Vec<u32> = head.iter().chain(tail).copied().collect();
            assert_eq!(words(&request().encode(revision).unwrap()), expected, "{revision:?}");
        };
        let emulation = 0x0A0B_0C0D;
        check(DomctlRevision::V0x12, &[emulation]);
        check(DomctlRevision::V0x13, &[0, emulation]);
        check(DomctlRevision::V0x14, &[1, 0, emulation]);
        check(DomctlRevision::V0x15, &[1, 0, 7, emulation]);
        check(DomctlRevision::V0x16, &[1, 0, 7, emulation]);
        check(DomctlRevision::V0x17, &[1, 0, 0, 7, emulation]);
        check(DomctlRevision::V0x18, &[1, 0, 0, 7, emulation]);
    }

    #[test]
    fn late_fields_by_revision() {
        let request = CreateDomain {
            nested_virt: true,
            vpmu: true,
            altp2m_mode: 2,
            vmtrace_bytes: 0x1000,
            misc_flags: 1,
            ..request()
        };
        let payload = request.encode(DomctlRevision::V0x17).unwrap();
        assert_eq!(words(&payload)[5], 0xE0, "iommu, nested_virt, vpmu");
        assert_eq!(words(&payload)[11..], [1, 2, 0x1000, 7, 0x0A0B_0C0D, 1]);
    }

    #[test]
    fn what_a_revision_lacks_is_refused() {
        let check = |change: fn(&mut CreateDomain), first: DomctlRevision| {
            let mut request = request();
            change(&mut request);
            for revision in DomctlRevision::KNOWN {
                let refused = matches!(request.encode(*revision), Err(Error::Unsupported { .. }));
                assert_eq!(refused, *revision < first, "{revision:?}");
            }
        };
        check(|r| r.nested_virt = true, DomctlRevision::V0x13);
        check(|r| r.vmtrace_bytes = 4096, DomctlRevision::V0x13);
        check(|r| r.misc_flags = 1, DomctlRevision::V0x13);
        check(|r| r.vpmu = true, DomctlRevision::V0x14);
        check(|r| r.altp2m_mode = 1, DomctlRevision::V0x17);
        check(|_| (), DomctlRevision::V0x12);
    }

    #[test]
    fn xen_4_22_wants_a_name_for_any_domid() {
        assert_eq!(any_domid(DomctlRevision::V0x17), Domid(0));
        assert_eq!(any_domid(DomctlRevision::V0x18), Domid(0x7FF5));
    }
}
