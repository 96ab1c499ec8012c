//! What can go wrong when talking to the hypervisor, and what the user can do about it.
//!
//! In: operation names, domids and errno values from the other modules. Out: one [`Error`] type.
//! Nothing here retries or hides a failure.

use rustix::io::Errno;
use xen_sys::types::{Domid, Gfn};

/// The result of everything that may reach the hypervisor.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed operation: its name, the domain it was about, the errno, and advice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device exists but this user may not open it.
    #[error("cannot open {path}: {errno}; controlling Xen needs root")]
    NotRoot {
        /// The device file.
        path: &'static str,
        /// EACCES or EPERM.
        errno: Errno,
    },
    /// There is no hypercall device: no Xen below, or its driver is not loaded.
    #[error(
        "cannot open {path}: {errno}; this is not a Xen host's dom0, or the kernel module \
         {module} is not loaded"
    )]
    NotDom0 {
        /// The device file.
        path: &'static str,
        /// The kernel module that provides it.
        module: &'static str,
        /// ENOENT, ENXIO or ENODEV.
        errno: Errno,
    },
    /// The hypervisor answers, but does not let this domain control it.
    #[error(
        "{operation}: {errno}; this domain may not control the hypervisor: run in dom0, or \
         permit it in the XSM policy"
    )]
    NotPrivileged {
        /// Name of the hypercall.
        operation: &'static str,
        /// EPERM.
        errno: Errno,
    },
    /// The hypervisor speaks a revision of domctl or sysctl that this build does not know.
    #[error(
        "this Xen ({major}.{minor}) speaks {interface} {}, this build knows {known_first:#04x} to \
         {known_last:#04x} ({known_releases}); use a build made for this Xen, or one of these \
         releases of Xen",
        found.map_or_else(|| "of an unknown revision".to_owned(), |raw| format!("{raw:#04x}"))
    )]
    WrongRevision {
        /// `domctl` or `sysctl`.
        interface: &'static str,
        /// Xen's major version, from XENVER_version.
        major: u16,
        /// Xen's minor version.
        minor: u16,
        /// The revision it accepts, when probing found it.
        found: Option<u32>,
        /// Oldest revision that this build speaks.
        known_first: u32,
        /// Newest revision that this build speaks.
        known_last: u32,
        /// The releases of Xen between the two.
        known_releases: String,
    },
    /// A hypercall failed.
    #[error("{operation}{}: {errno}{}", about(*domid), advice(operation, *errno))]
    Hypercall {
        /// Name of the operation as in Xen's public headers.
        operation: &'static str,
        /// The domain it was about.
        domid: Option<Domid>,
        /// What Xen answered.
        errno: Errno,
    },
    /// Xen refuses a CPU policy and names the entry that it objects to.
    #[error("XEN_DOMCTL_set_cpu_policy (domain {domid}): {errno}; Xen objects to {}", entry(*leaf, *subleaf, *msr))]
    PolicyRefused {
        /// The domain.
        domid: Domid,
        /// The CPUID leaf.
        leaf: Option<u32>,
        /// Its subleaf.
        subleaf: Option<u32>,
        /// The MSR.
        msr: Option<u32>,
        /// What Xen answered.
        errno: Errno,
    },
    /// Foreign memory: one frame cannot be mapped.
    #[error(
        "mapping frame {:#x} (number {index} of the request) of domain {domid}: {errno}{}",
        gfn.0,
        frame_advice(*errno)
    )]
    ForeignFrame {
        /// Owner of the frame.
        domid: Domid,
        /// The frame.
        gfn: Gfn,
        /// Its place in the request.
        index: usize,
        /// Why: ENOENT paged out, EINVAL no such frame, EPERM not allowed.
        errno: Errno,
    },
    /// A kernel device refused an operation.
    #[error("{operation} on {path}{}: {errno}", about(*domid))]
    Device {
        /// What was asked.
        operation: &'static str,
        /// The device file.
        path: &'static str,
        /// The domain it was about.
        domid: Option<Domid>,
        /// What the kernel answered.
        errno: Errno,
    },
    /// Memory of this process that a call needs could not be had.
    #[error("{operation} ({bytes} bytes): {errno}")]
    Memory {
        /// What it was for.
        operation: &'static str,
        /// How much.
        bytes: usize,
        /// What the kernel answered.
        errno: Errno,
    },
    /// An access outside a mapping.
    #[error("access to bytes {offset:#x}+{len:#x} of a mapping of {size:#x} bytes")]
    OutOfBounds {
        /// First byte.
        offset: usize,
        /// How many.
        len: usize,
        /// The mapping's size.
        size: usize,
    },
    /// A write to a mapping that was made read-only.
    #[error("write to a read-only mapping")]
    ReadOnly,
    /// Reading a file into a mapping ended early.
    #[error("the file ended at {offset:#x}: {missing} bytes are missing")]
    FileTooShort {
        /// File offset of its end.
        offset: u64,
        /// How many bytes are missing.
        missing: usize,
    },
    /// This release of Xen has no such ability.
    #[error("{what} needs Xen {since} or newer")]
    Unsupported {
        /// The ability.
        what: &'static str,
        /// First release with it.
        since: &'static str,
    },
    /// The request makes no sense; nothing was asked of the hypervisor.
    #[error("{operation}: {what}")]
    Invalid {
        /// The operation.
        operation: &'static str,
        /// What is wrong with its arguments.
        what: &'static str,
    },
    /// The hypervisor's answer makes no sense.
    #[error("{operation}{}: unexpected answer: {what}", about(*domid))]
    BadAnswer {
        /// The operation.
        operation: &'static str,
        /// The domain it was about.
        domid: Option<Domid>,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl Error {
    /// The errno behind this error, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::NotRoot { errno, .. }
            | Self::NotDom0 { errno, .. }
            | Self::NotPrivileged { errno, .. }
            | Self::Hypercall { errno, .. }
            | Self::PolicyRefused { errno, .. }
            | Self::ForeignFrame { errno, .. }
            | Self::Device { errno, .. }
            | Self::Memory { errno, .. } => Some(*errno),
            Self::WrongRevision { .. } => Some(Errno::ACCESS),
            Self::OutOfBounds { .. }
            | Self::ReadOnly
            | Self::FileTooShort { .. }
            | Self::Unsupported { .. }
            | Self::Invalid { .. }
            | Self::BadAnswer { .. } => None,
        }
    }

    /// Whether the domain that the operation was about does not exist.
    #[must_use]
    pub fn is_no_such_domain(&self) -> bool {
        matches!(
            self,
            Self::Hypercall { domid: Some(_), errno: Errno::SRCH, .. }
                | Self::ForeignFrame { errno: Errno::SRCH, .. }
        )
    }

    /// The error of a hypercall.
    pub(crate) fn hypercall(operation: &'static str, domid: Option<Domid>, errno: Errno) -> Self {
        Self::Hypercall { operation, domid, errno }
    }

    /// The error of opening a device under /dev/xen.
    pub(crate) fn open(path: &'static str, module: &'static str, errno: Errno) -> Self {
        match errno {
            Errno::ACCESS | Errno::PERM => Self::NotRoot { path, errno },
            Errno::NOENT | Errno::NXIO | Errno::NODEV | Errno::NOTDIR => {
                Self::NotDom0 { path, module, errno }
            }
            _ => Self::Device { operation: "open", path, domid: None, errno },
        }
    }
}

fn about(domid: Option<Domid>) -> String {
    domid.map_or_else(String::new, |domid| format!(" (domain {domid})"))
}

fn entry(leaf: Option<u32>, subleaf: Option<u32>, msr: Option<u32>) -> String {
    match (leaf, subleaf, msr) {
        (Some(leaf), Some(subleaf), _) => format!("CPUID leaf {leaf:#x} subleaf {subleaf:#x}"),
        (Some(leaf), None, _) => format!("CPUID leaf {leaf:#x}"),
        (None, _, Some(msr)) => format!("MSR {msr:#x}"),
        (None, _, None) => "no entry in particular".to_owned(),
    }
}

/// What an administrator can do about an answer of the hypervisor; empty where nothing is known.
fn advice(operation: &str, errno: Errno) -> &'static str {
    match (operation, errno) {
        (_, Errno::SRCH) => "; there is no such domain",
        // Not the revision's fault: that is known to be the right one.
        (_, Errno::ACCESS) => {
            "; the host's XSM policy forbids it, see the hypervisor's log (`xlr dmesg`)"
        }
        (_, Errno::PERM) => {
            "; the hypervisor does not permit this, see its log (`xlr dmesg`) for the reason"
        }
        ("XEN_DOMCTL_createdomain", Errno::NOMEM) => {
            "; Xen has no memory left for the domain's structures: free some, or reduce dom0_mem"
        }
        ("XEN_DOMCTL_createdomain", Errno::EXIST) => "; the domid is taken",
        ("XEN_DOMCTL_createdomain", Errno::INVAL) => {
            "; the hypervisor's log names the reason (raise its level with loglvl=all)"
        }
        ("XENMEM_claim_pages" | "XENMEM_populate_physmap", Errno::NOMEM) => {
            "; not enough free memory: destroy a domain, or balloon dom0 down"
        }
        ("XENMEM_populate_physmap", Errno::INVAL) => {
            "; the request lies outside of what the domain may have"
        }
        (_, Errno::NOSYS | Errno::OPNOTSUPP) => "; this hypervisor was built without it",
        (_, Errno::FAULT) => "; a hypercall buffer was not accessible to Xen",
        _ => "",
    }
}

fn frame_advice(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT | Errno::AGAIN => "; the frame is paged out or being paged in",
        Errno::INVAL => "; the domain has no such frame",
        Errno::PERM => "; this domain may not map it",
        Errno::SRCH => "; there is no such domain",
        _ => "",
    }
}
