//! Why something was not done with a PCI device, and what to do.

use super::Bdf;
use crate::cli::program;
use std::io;
use std::path::PathBuf;

/// A failed operation on a PCI device.
#[derive(Debug, thiserror::Error)]
pub enum PciError {
    /// There is none at this address.
    #[error(
        "this host has no PCI device {bdf}; {} pci list shows those that it has",
        program::name()
    )]
    NoSuchDevice {
        /// The address.
        bdf: Bdf,
    },
    /// Nobody was made assignable under this name.
    #[error(
        "no PCI device is called {name:?}; {0} pci-assignable-add -n NAME BDF gives a name, {0} \
         pci-assignable-list -n shows them",
        program::name()
    )]
    NoSuchName {
        /// The name.
        name: String,
    },
    /// Two devices would have one name.
    #[error("PCI device {bdf} is called {name:?} already; choose another name")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        bdf: Bdf,
    },
    /// A name that none can have.
    #[error("{name:?} cannot be the name of a PCI device: 1 to 64 visible characters, no blanks")]
    BadName {
        /// The name.
        name: String,
    },
    /// Several functions where one is meant.
    #[error("{text} means all functions of a device; name one of them")]
    OneFunction {
        /// What was given.
        text: String,
    },
    /// A text that names no device.
    #[error("{text:?}: {problem}; {help}")]
    NotADevice {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: String,
        /// What to write.
        help: &'static str,
    },
    /// Nothing holds devices for guests.
    #[error(
        "PCI device {bdf}: the kernel module xen-pciback is not loaded, which holds devices for \
         guests; load it with: modprobe xen-pciback"
    )]
    NoPciback {
        /// The device.
        bdf: Bdf,
    },
    /// Devices would reach all of the host's memory.
    #[error(
        "PCI device {bdf} cannot be given away: Xen uses no IOMMU on this host, without which a \
         device reaches all of its memory; switch the IOMMU on in the firmware (VT-d, AMD-Vi), and \
         take iommu=off from Xen's command line"
    )]
    NoIommu {
        /// The device.
        bdf: Bdf,
    },
    /// It is none that can be given away.
    #[error("PCI device {bdf} is a bridge, behind which others are: it stays with this host")]
    Bridge {
        /// The device.
        bdf: Bdf,
    },
    /// Its virtual functions are guests'.
    #[error(
        "PCI device {bdf} has virtual functions that are set aside for guests ({}); give them back \
         first, with {} pci-assignable-remove -r",
        functions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "), program::name()
    )]
    VirtualFunctions {
        /// The physical function.
        bdf: Bdf,
        /// Those of its virtual ones.
        functions: Vec<Bdf>,
    },
    /// A driver of dom0 has it.
    #[error(
        "PCI device {bdf} is not assignable: {}; {} pci-assignable-add {bdf} sets it aside for \
         guests, or seize=1 in its description",
        match driver {
            Some(driver) => format!("the driver {driver} of this host uses it"),
            None => "it was not set aside for guests".to_owned(),
        },
        program::name()
    )]
    NotAssignable {
        /// The device.
        bdf: Bdf,
        /// Who has it.
        driver: Option<String>,
    },
    /// Another domain has it.
    #[error(
        "PCI device {bdf} belongs to domain {domid}; {} pci-detach {domid} {bdf} takes it back",
        program::name()
    )]
    InUse {
        /// The device.
        bdf: Bdf,
        /// Whose it is.
        domid: u16,
    },
    /// The domain cannot have any.
    #[error(
        "domain {domid} was made without passthrough, so it cannot be given PCI device {bdf}; write \
         passthrough = \"enabled\" and e820_host = 1 into its configuration and create it anew"
    )]
    NoPassthrough {
        /// The domain.
        domid: u16,
        /// The device.
        bdf: Bdf,
    },
    /// The domain has it not.
    #[error(
        "domain {domid} has no PCI device {bdf}; {0} pci-list {domid} shows those it has",
        program::name()
    )]
    NotGiven {
        /// The device.
        bdf: Bdf,
        /// The domain.
        domid: u16,
    },
    /// It is no PV domain.
    #[error(
        "domain {domid} is no PV domain, and only those can be given PCI devices by this version; use xl"
    )]
    NotPv {
        /// The domain.
        domid: u16,
    },
    /// The domain shall have it twice.
    #[error("PCI device {bdf} is named twice; remove one of the two")]
    Twice {
        /// The device.
        bdf: Bdf,
    },
    /// The guest's kernel does nothing.
    #[error(
        "the kernel of domain {domid} does not answer: its driver for PCI devices (xen-pcifront) is \
         not loaded, or the domain is paused; nothing was changed"
    )]
    GuestSilent {
        /// The domain.
        domid: u16,
    },
    /// The driver that it was taken from does not take it back.
    #[error(
        "PCI device {bdf} is no longer set aside for guests, and the driver {driver} did not take \
         it back; load that driver and write {bdf} to /sys/bus/pci/drivers/{driver}/bind"
    )]
    Rebind {
        /// The device.
        bdf: Bdf,
        /// The driver.
        driver: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something failed, and what was done had to be taken back, which failed as well.
    #[error(
        "PCI device {bdf} is between drivers now ({left}); {} pci-assignable-remove -r {bdf} mends it",
        program::name()
    )]
    Undo {
        /// The device.
        bdf: Bdf,
        /// What could not be taken back.
        left: Box<PciError>,
        /// What failed first.
        #[source]
        source: Box<PciError>,
    },
    /// A file of the kernel's.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the kernel's that says something else than it should.
    #[error("{} holds {text:?}, which is not understood", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
    },
    /// The hypervisor.
    #[error("PCI device {bdf}")]
    Xen {
        /// The device.
        bdf: Bdf,
        /// Why.
        #[source]
        source: libxc_safe::Error,
    },
    /// A guest has it, as the hypervisor says, and nothing else does.
    #[error(
        "PCI device {bdf} is not this host's: Xen has given it to a domain, or keeps it for itself, \
         though xenstore knows of none; destroy the domain that uses it, or restart the host"
    )]
    StillGiven {
        /// The device.
        bdf: Bdf,
        /// What it says.
        #[source]
        source: libxc_safe::Error,
    },
    /// The hypervisor, before any device.
    #[error(transparent)]
    Hypervisor(libxc_safe::Error),
    /// xenstore.
    #[error(transparent)]
    Store(#[from] xenstore::client::Error),
}

impl PciError {
    /// A file of the kernel's could not be used.
    pub(super) fn io(operation: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { operation, path: path.into(), source }
    }
}
