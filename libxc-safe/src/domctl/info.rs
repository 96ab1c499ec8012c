//! What the hypervisor says of a domain, decoded per revision.

use xen_sys::domctl::{
    XEN_DOMCTL_getdomaininfo, XEN_DOMINF_blocked, XEN_DOMINF_debugged, XEN_DOMINF_dying,
    XEN_DOMINF_hap, XEN_DOMINF_hvm_guest, XEN_DOMINF_paused, XEN_DOMINF_running,
    XEN_DOMINF_shutdown, XEN_DOMINF_shutdownmask, XEN_DOMINF_shutdownshift, XEN_DOMINF_xs_domain,
    XEN_INVALID_MAX_VCPU_ID, xen_domctl_getdomaininfo_0x12, xen_domctl_getdomaininfo_0x13,
    xen_domctl_getdomaininfo_0x14,
};
use xen_sys::revision::DomctlRevision;
use xen_sys::types::{Domid, Gfn};

use super::PAYLOAD_BYTES;
use crate::error::{Error, Result};
use crate::layout::get;
use crate::xen::Xen;

/// Why a domain shut down (`SHUTDOWN_*`, sched.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownReason {
    /// It powered off.
    Poweroff,
    /// It wants to be started again.
    Reboot,
    /// It suspended: to be saved or migrated.
    Suspend,
    /// It crashed.
    Crash,
    /// Its watchdog expired.
    Watchdog,
    /// It wants to be reset in place (kexec).
    SoftReset,
    /// A code that this build does not know.
    Other(u8),
}

impl ShutdownReason {
    /// The reason with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Poweroff,
            1 => Self::Reboot,
            2 => Self::Suspend,
            3 => Self::Crash,
            4 => Self::Watchdog,
            5 => Self::SoftReset,
            other => Self::Other(other),
        }
    }

    /// The code of this reason.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Poweroff => 0,
            Self::Reboot => 1,
            Self::Suspend => 2,
            Self::Crash => 3,
            Self::Watchdog => 4,
            Self::SoftReset => 5,
            Self::Other(code) => code,
        }
    }
}

/// The state of one domain at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainInfo {
    /// Its domid.
    pub domid: Domid,
    /// Its handle, the UUID.
    pub uuid: [u8; 16],
    /// It is being destroyed.
    pub dying: bool,
    /// It has shut down, and why.
    pub shutdown: Option<ShutdownReason>,
    /// The toolstack paused it.
    pub paused: bool,
    /// All its vCPUs wait for events.
    pub blocked: bool,
    /// One of its vCPUs runs right now.
    pub running: bool,
    /// A debugger is attached.
    pub debugged: bool,
    /// It is HVM or PVH rather than PV.
    pub hvm: bool,
    /// It uses hardware-assisted paging.
    pub hap: bool,
    /// It runs xenstored.
    pub xenstore_domain: bool,
    /// Pages that it has.
    pub tot_pages: u64,
    /// Pages that it may have.
    pub max_pages: u64,
    /// Pages claimed for it and not yet allocated.
    pub outstanding_pages: u64,
    /// Pages shared with other domains.
    pub shared_pages: u64,
    /// Pages paged out.
    pub paged_pages: u64,
    /// Frame of its shared info page; all ones when it has none.
    pub shared_info_frame: Gfn,
    /// CPU time that its vCPUs used, nanoseconds.
    pub cpu_time_ns: u64,
    /// vCPUs that are up.
    pub online_vcpus: u32,
    /// Highest vCPU number; none before [`Xen::max_vcpus`].
    pub max_vcpu_id: Option<u32>,
    /// Security label.
    pub ssidref: u32,
    /// Its CPU pool.
    pub cpupool: u32,
    /// Bits of a guest physical address (Xen 4.16).
    pub gpaddr_bits: Option<u8>,
    /// What Xen emulates for it, `XEN_X86_EMU_*`.
    pub emulation_flags: u32,
}

impl DomainInfo {
    /// Whether it shut down by a crash.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.shutdown == Some(ShutdownReason::Crash)
    }

    /// Bytes of one record in `revision`.
    pub(crate) fn record_bytes(revision: DomctlRevision) -> usize {
        if revision < DomctlRevision::V0x14 {
            size_of::<xen_domctl_getdomaininfo_0x12>()
        } else {
            size_of::<xen_domctl_getdomaininfo_0x14>()
        }
    }

    /// Decodes a record of at least [`Self::record_bytes`] bytes.
    pub(crate) fn decode(revision: DomctlRevision, bytes: &[u8]) -> Self {
        type Head = xen_domctl_getdomaininfo_0x12;
        let flags = get!(bytes, Head, flags);
        let has = |flag: u32| flags & flag != 0;
        let reason = (flags >> XEN_DOMINF_shutdownshift) & XEN_DOMINF_shutdownmask;
        let max_vcpu_id = get!(bytes, Head, max_vcpu_id);
        let (gpaddr_bits, emulation_flags) = match revision {
            DomctlRevision::V0x12 => (None, get!(bytes, Head, arch_config.emulation_flags)),
            DomctlRevision::V0x13 => {
                (None, get!(bytes, xen_domctl_getdomaininfo_0x13, arch_config.emulation_flags))
            }
            _ => (
                Some(get!(bytes, xen_domctl_getdomaininfo_0x14, gpaddr_bits)),
                get!(bytes, xen_domctl_getdomaininfo_0x14, arch_config.emulation_flags),
            ),
        };
        Self {
            domid: Domid(get!(bytes, Head, domain)),
            uuid: get!(bytes, Head, handle),
            dying: has(XEN_DOMINF_dying),
            shutdown: has(XEN_DOMINF_shutdown)
                .then(|| ShutdownReason::from_code(reason.to_le_bytes()[0])),
            paused: has(XEN_DOMINF_paused),
            blocked: has(XEN_DOMINF_blocked),
            running: has(XEN_DOMINF_running),
            debugged: has(XEN_DOMINF_debugged),
            hvm: has(XEN_DOMINF_hvm_guest),
            hap: has(XEN_DOMINF_hap),
            xenstore_domain: has(XEN_DOMINF_xs_domain),
            tot_pages: get!(bytes, Head, tot_pages),
            max_pages: get!(bytes, Head, max_pages),
            outstanding_pages: get!(bytes, Head, outstanding_pages),
            shared_pages: get!(bytes, Head, shr_pages),
            paged_pages: get!(bytes, Head, paged_pages),
            shared_info_frame: Gfn(get!(bytes, Head, shared_info_frame)),
            cpu_time_ns: get!(bytes, Head, cpu_time),
            online_vcpus: get!(bytes, Head, nr_online_vcpus),
            max_vcpu_id: (max_vcpu_id != XEN_INVALID_MAX_VCPU_ID).then_some(max_vcpu_id),
            ssidref: get!(bytes, Head, ssidref),
            cpupool: get!(bytes, Head, cpupool),
            gpaddr_bits,
            emulation_flags,
        }
    }
}

impl Xen {
    /// The state of `domid`, or none when there is no such domain.
    ///
    /// # Errors
    /// [`Error::Hypercall`] for anything but a missing domain.
    pub fn domain_info(&self, domid: Domid) -> Result<Option<DomainInfo>> {
        let operation = "XEN_DOMCTL_getdomaininfo";
        let mut payload = [0; PAYLOAD_BYTES];
        // SAFETY: getdomaininfo carries no address.
        let answer =
            unsafe { self.domctl(operation, XEN_DOMCTL_getdomaininfo, domid, &mut payload) };
        match answer {
            Ok(_) => {
                let info = DomainInfo::decode(self.domctl_revision(), &payload);
                // Older releases answer with the next domain that exists.
                Ok((info.domid == domid).then_some(info))
            }
            Err(error) if error.is_no_such_domain() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The state of `domid`, which must exist.
    ///
    /// # Errors
    /// [`Error::Hypercall`], with ESRCH when there is no such domain.
    pub fn existing_domain_info(&self, domid: Domid) -> Result<DomainInfo> {
        self.domain_info(domid)?.ok_or(Error::Hypercall {
            operation: "XEN_DOMCTL_getdomaininfo",
            domid: Some(domid),
            errno: rustix::io::Errno::SRCH,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_by_revision() {
        let check = |revision: DomctlRevision, size: usize, emulation_at: usize, gpaddr| {
            assert_eq!(DomainInfo::record_bytes(revision), size, "{revision:?}");
            let mut bytes = vec![0_u8; size];
            bytes[0..2].copy_from_slice(&0x1234_u16.to_le_bytes());
            bytes[4..8].copy_from_slice(&0x0003_0014_u32.to_le_bytes());
            for (n, at) in (8..64).step_by(8).enumerate() {
                bytes[at..at + 8].copy_from_slice(&(0x1000 + n as u64).to_le_bytes());
            }
            for (n, at) in (64..76).step_by(4).enumerate() {
                bytes[at..at + 4].copy_from_slice(&(5 + n as u32).to_le_bytes());
            }
            bytes[76..92].copy_from_slice(b"0123456789abcdef");
            bytes[92] = 9;
            if size > 104 {
                bytes[96] = 39;
            }
            bytes[emulation_at..emulation_at + 4].copy_from_slice(&0x55_u32.to_le_bytes());
            let expected = DomainInfo {
                domid: Domid(0x1234),
                uuid: *b"0123456789abcdef",
                dying: false,
                shutdown: Some(ShutdownReason::Crash),
                paused: false,
                blocked: true,
                running: false,
                debugged: false,
                hvm: false,
                hap: false,
                xenstore_domain: false,
                tot_pages: 0x1000,
                max_pages: 0x1001,
                outstanding_pages: 0x1002,
                shared_pages: 0x1003,
                paged_pages: 0x1004,
                shared_info_frame: Gfn(0x1005),
                cpu_time_ns: 0x1006,
                online_vcpus: 5,
                max_vcpu_id: Some(6),
                ssidref: 7,
                cpupool: 9,
                gpaddr_bits: gpaddr,
                emulation_flags: 0x55,
            };
            assert_eq!(DomainInfo::decode(revision, &bytes), expected, "{revision:?}");
            assert!(expected.crashed());
        };
        check(DomctlRevision::V0x12, 104, 96, None);
        check(DomctlRevision::V0x13, 104, 96, None);
        for revision in &DomctlRevision::KNOWN[2..] {
            check(*revision, 112, 104, Some(39));
        }
    }

    #[test]
    fn flags_one_by_one() {
        let check = |flags: u32, holds: fn(&DomainInfo) -> bool| {
            for set in [false, true] {
                let mut bytes = [0; 112];
                let flags = if set { flags } else { !flags };
                bytes[4..8].copy_from_slice(&flags.to_le_bytes());
                let info = DomainInfo::decode(DomctlRevision::V0x15, &bytes);
                assert_eq!(holds(&info), set, "{flags:#x}");
            }
        };
        check(1, |info| info.dying);
        check(2, |info| info.hvm);
        check(4, |info| info.shutdown == Some(ShutdownReason::Poweroff));
        check(8, |info| info.paused);
        check(16, |info| info.blocked);
        check(32, |info| info.running);
        check(64, |info| info.debugged);
        check(128, |info| info.xenstore_domain);
        check(256, |info| info.hap);
    }

    #[test]
    fn no_vcpus_yet() {
        let mut bytes = [0; 112];
        bytes[68..72].fill(0xFF);
        assert_eq!(DomainInfo::decode(DomctlRevision::V0x15, &bytes).max_vcpu_id, None);
    }

    #[test]
    fn shutdown_codes_round_trip() {
        for code in 0..=u8::MAX {
            assert_eq!(ShutdownReason::from_code(code).code(), code);
        }
    }
}
