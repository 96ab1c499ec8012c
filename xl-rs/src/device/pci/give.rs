//! What the hypervisor and the kernel do for a function that a domain gets, or that is taken back.

use super::wanted::Given;
use crate::pci::assignable::reset;
use crate::pci::{Bdf, PciError, Sysfs};
use libxc_safe::{Errno, Xen};
use xen_sys::types::{Domid, Mfn};

const PAGE_BYTES: u64 = 4096;

/// Gives a function to a domain: as after power-on, reaching the domain's memory and no other, with
/// leave to map its registers and to bind its interrupt.
///
/// # Errors
/// [`PciError`]; [`take`] takes back what was done.
pub fn give(xen: &Xen, sysfs: &Sysfs, domid: Domid, given: &Given) -> Result<(), PciError> {
    let bdf = given.bdf;
    reset(sysfs, bdf);
    if given.permissive {
        sysfs.make_permissive(bdf)?;
    }
    let failed = |source| PciError::Xen { bdf, source };
    xen.assign_device(domid, bdf.into(), given.relaxed).map_err(failed)?;
    set_regions(xen, sysfs, domid, bdf, true)?;
    if let Some(irq) = sysfs.irq(bdf)? {
        let pirq = xen.map_gsi(domid, irq).map_err(failed)?;
        xen.set_irq_permission(domid, pirq, true).map_err(failed)?;
    }
    Ok(())
}

/// Takes a function from a domain and puts it into quarantine. What was not given, or went with the
/// domain, is no failure.
///
/// # Errors
/// [`PciError`]; the domain is to be taken for its owner, as it has the function or leave to use it.
pub fn take(xen: &Xen, sysfs: &Sysfs, domid: Domid, bdf: Bdf) -> Result<(), PciError> {
    let gone = |error: &libxc_safe::Error| {
        matches!(error.errno(), Some(Errno::SRCH | Errno::NODEV | Errno::INVAL))
    };
    let xen_done = |done: Result<(), libxc_safe::Error>| match done {
        Err(error) if !gone(&error) => Err(PciError::Xen { bdf, source: error }),
        _ => Ok(()),
    };
    // It reaches no memory from here on, whatever it was told to do.
    xen_done(xen.deassign_device(domid, bdf.into()))?;
    let regions = set_regions(xen, sysfs, domid, bdf, false);
    let regions = match regions {
        Err(PciError::Xen { source, .. }) if gone(&source) => Ok(()),
        regions => regions,
    };
    let irq = match sysfs.irq(bdf) {
        Ok(Some(irq)) => {
            let unmapped = xen_done(xen.unmap_pirq(domid, irq));
            unmapped.and(xen_done(xen.set_irq_permission(domid, irq, false)))
        }
        other => other.map(drop),
    };
    reset(sysfs, bdf);
    regions.and(irq)
}

fn set_regions(
    xen: &Xen,
    sysfs: &Sysfs,
    domid: Domid,
    bdf: Bdf,
    allow: bool,
) -> Result<(), PciError> {
    for region in sysfs.regions(bdf)? {
        let done = match (u32::try_from(region.start), u32::try_from(region.length)) {
            (Ok(first), Ok(ports)) if region.ports => {
                xen.set_ioport_permission(domid, first, ports, allow)
            }
            _ => {
                let first = Mfn(region.start / PAGE_BYTES);
                xen.set_iomem_permission(domid, first, region.length.div_ceil(PAGE_BYTES), allow)
            }
        };
        done.map_err(|source| PciError::Xen { bdf, source })?;
    }
    Ok(())
}
