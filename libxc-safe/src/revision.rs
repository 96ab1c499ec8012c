//! Which revisions of domctl and sysctl the running hypervisor speaks.
//!
//! Xen answers EACCES to a request of another revision before it looks at anything else, so
//! harmless requests find the one it speaks. Known revisions are tried newest first. When none
//! fits, unknown numbers are tried too, only to name what was found.

use rustix::io::Errno;
use xen_sys::domctl::XEN_DOMCTL_getdomaininfo;
use xen_sys::revision::{DomctlRevision, SysctlRevision};
use xen_sys::sysctl::XEN_SYSCTL_sched_id;
use xen_sys::types::Domid;

use crate::domctl::PAYLOAD_BYTES;
use crate::error::{Error, Result};
use crate::xen::Xen;

/// Numbers tried to name an unknown revision: far beyond any that exists.
const CONCEIVABLE: std::ops::Range<u32> = 1..0x80;

/// What probing found.
#[derive(Debug, PartialEq, Eq)]
enum Probe<R> {
    /// This revision is spoken.
    Speaks(R),
    /// None of ours; this one, if any.
    Unknown(Option<u32>),
    /// A failure that has nothing to do with revisions.
    Failed(Errno),
}

/// Tries revisions by `ask`, which returns what Xen answers to one number.
fn probe<R: Copy>(
    known: &[R],
    raw: fn(R) -> u32,
    mut ask: impl FnMut(u32) -> Result<Result<(), Errno>>,
) -> Result<Probe<R>> {
    for revision in known.iter().rev() {
        match ask(raw(*revision))? {
            Err(Errno::ACCESS) => {}
            Err(errno) => return Ok(Probe::Failed(errno)),
            Ok(()) => return Ok(Probe::Speaks(*revision)),
        }
    }
    for number in CONCEIVABLE.rev() {
        if ask(number)? != Err(Errno::ACCESS) {
            return Ok(Probe::Unknown(Some(number)));
        }
    }
    Ok(Probe::Unknown(None))
}

impl Xen {
    pub(crate) fn detect_domctl(&self) -> Result<DomctlRevision> {
        let outcome = probe(DomctlRevision::KNOWN, DomctlRevision::raw, |revision| {
            let mut payload = [0; PAYLOAD_BYTES];
            // SAFETY: getdomaininfo carries no address.
            let answer = unsafe {
                self.domctl_raw(revision, XEN_DOMCTL_getdomaininfo, Domid::DOM0, &mut payload)
            }?;
            Ok(answer.map(|_| ()))
        })?;
        let known: Vec<_> = DomctlRevision::KNOWN.iter().map(|r| (r.raw(), r.releases())).collect();
        self.conclude("domctl", "XEN_DOMCTL_getdomaininfo", outcome, &known)
    }

    pub(crate) fn detect_sysctl(&self) -> Result<SysctlRevision> {
        let outcome = probe(SysctlRevision::KNOWN, SysctlRevision::raw, |revision| {
            let mut payload = [0; PAYLOAD_BYTES];
            // SAFETY: sched_id carries no address.
            unsafe { self.sysctl_raw(revision, XEN_SYSCTL_sched_id, &mut payload) }
        })?;
        let known: Vec<_> = SysctlRevision::KNOWN.iter().map(|r| (r.raw(), r.releases())).collect();
        self.conclude("sysctl", "XEN_SYSCTL_sched_id", outcome, &known)
    }

    /// The revision, or the error that says why there is none; `known` is oldest first.
    fn conclude<R>(
        &self,
        interface: &'static str,
        operation: &'static str,
        outcome: Probe<R>,
        known: &[(u32, &str)],
    ) -> Result<R> {
        let found = match outcome {
            Probe::Speaks(revision) => return Ok(revision),
            Probe::Failed(errno) => return Err(privilege_error(operation, errno)),
            Probe::Unknown(found) => found,
        };
        let (major, minor) = self.release();
        let releases: Vec<_> = known.iter().map(|(_, releases)| *releases).collect();
        Err(Error::WrongRevision {
            interface,
            major,
            minor,
            found,
            known_first: known.first().map_or(0, |(raw, _)| *raw),
            known_last: known.last().map_or(0, |(raw, _)| *raw),
            known_releases: format!("Xen {}", releases.join(", ")),
        })
    }
}

/// The right revision was refused: that is about privilege, whatever else it is an error.
fn privilege_error(operation: &'static str, errno: Errno) -> Error {
    match errno {
        Errno::PERM => Error::NotPrivileged { operation, errno },
        Errno::NOSYS => Error::NotDom0 { path: "/dev/xen/privcmd", module: "xen-privcmd", errno },
        _ => Error::Hypercall { operation, domid: None, errno },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probing() {
        // What a hypervisor that speaks `spoken` answers, and with what once it matches.
        let check = |spoken: u32, answer: Result<(), Errno>, expected: Probe<DomctlRevision>| {
            let ask = |number| Ok(if number == spoken { answer } else { Err(Errno::ACCESS) });
            let found = probe(DomctlRevision::KNOWN, DomctlRevision::raw, ask).unwrap();
            assert_eq!(found, expected, "{spoken:#x} {answer:?}");
        };
        for revision in DomctlRevision::KNOWN {
            check(revision.raw(), Ok(()), Probe::Speaks(*revision));
        }
        check(0x15, Err(Errno::PERM), Probe::Failed(Errno::PERM));
        check(0x15, Err(Errno::FAULT), Probe::Failed(Errno::FAULT));
        check(0x11, Ok(()), Probe::Unknown(Some(0x11)));
        check(0x19, Err(Errno::PERM), Probe::Unknown(Some(0x19)));
        check(0x1234, Ok(()), Probe::Unknown(None));
    }

    #[test]
    fn every_case_says_what_to_do() {
        let check = |error: Error, parts: &[&str]| {
            let text = error.to_string();
            for part in parts {
                assert!(text.contains(part), "{text:?} lacks {part:?}");
            }
        };
        check(
            Error::WrongRevision {
                interface: "domctl",
                major: 4,
                minor: 23,
                found: Some(0x19),
                known_first: 0x12,
                known_last: 0x18,
                known_releases: "Xen 4.14, 4.15 to 4.22".to_owned(),
            },
            &["Xen (4.23)", "domctl 0x19", "0x12 to 0x18", "Xen 4.14, 4.15 to 4.22", "use a build"],
        );
        check(privilege_error("XEN_DOMCTL_getdomaininfo", Errno::PERM), &["run in dom0"]);
        let domid = Some(Domid(7));
        let forbidden = Error::hypercall("XEN_DOMCTL_createdomain", domid, Errno::ACCESS);
        check(forbidden, &["domain 7", "XSM policy forbids"]);
        check(Error::open("/dev/xen/privcmd", "m", Errno::ACCESS), &["needs root"]);
        check(Error::open("/dev/xen/privcmd", "m", Errno::NOENT), &["not a Xen host's dom0"]);
        check(Error::open("/dev/xen/privcmd", "m", Errno::NXIO), &["not a Xen host's dom0"]);
    }
}
