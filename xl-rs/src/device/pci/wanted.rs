//! From descriptions to functions of this host, each looked at before anything is touched.

use crate::config::device::pci::{self as description, Pci, RdmPolicy, Which};
use crate::pci::assignable::Host;
use crate::pci::sysfs::PCIBACK;
use crate::pci::{Bdf, PciError, notes};
use libxc_safe::{Errno, Xen};
use xen_sys::types::Domid;

/// A function as a domain gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Which one.
    pub bdf: Bdf,
    /// Where the guest shall see it: device << 3 | function. A hint that PV guests do not get.
    pub virtual_devfn: Option<u8>,
    /// The name it was meant by.
    pub name: Option<String>,
    /// The guest may write to all of its configuration space.
    pub permissive: bool,
    /// MSI is offered for INTx; noted, for HVM guests only.
    pub msi_translate: bool,
    /// The guest may change its power state; noted, for HVM guests only.
    pub power_management: bool,
    /// A clash with memory that firmware reserved for it is accepted.
    pub relaxed: bool,
    /// It is taken from its driver if it was not set aside.
    pub seize: bool,
}

/// The functions that descriptions mean, in the order in which xl gives them: of a device with all its
/// functions the last one first.
///
/// # Errors
/// [`PciError`] for a name that nobody has, a device that is not there, and one that is named twice.
pub fn functions(wanted: &[Pci], host: &mut Host<'_>) -> Result<Vec<Given>, PciError> {
    let mut all: Vec<Given> = Vec::new();
    for pci in wanted {
        for given in functions_of(pci, host)? {
            if all.iter().any(|other| other.bdf == given.bdf) {
                return Err(PciError::Twice { bdf: given.bdf });
            }
            all.push(given);
        }
    }
    Ok(all)
}

fn functions_of(pci: &Pci, host: &mut Host<'_>) -> Result<Vec<Given>, PciError> {
    let given = |bdf: Bdf, function: u8| Given {
        bdf,
        virtual_devfn: pci.vslot.map(|slot| slot << 3 | function),
        name: match &pci.which {
            Which::Name(name) => Some(name.clone()),
            Which::Address(_) => None,
        },
        permissive: pci.permissive.unwrap_or(false),
        msi_translate: pci.msi_translate.unwrap_or(false),
        power_management: pci.power_management.unwrap_or(false),
        relaxed: pci.rdm_policy == Some(RdmPolicy::Relaxed),
        seize: pci.seize.unwrap_or(false),
    };
    let address = match &pci.which {
        Which::Name(name) => return Ok(vec![given(host.by_name(name)?, 0)]),
        Which::Address(address) => address,
    };
    if let description::Function::One(function) = address.function {
        // Alone it is the guest's function 0: without one there is no device.
        return Ok(vec![given(address.at(function), 0)]);
    }
    let first = address.at(0);
    let mut functions = host.sysfs.functions(first)?;
    if functions.is_empty() {
        return Err(PciError::NoSuchDevice { bdf: first });
    }
    functions.reverse();
    Ok(functions.into_iter().map(|bdf| given(bdf, bdf.function)).collect())
}

/// Who is to get functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taker {
    /// A domain that will be made, with this UUID. An earlier one that bears it gives its own up.
    Planned([u8; 16]),
    /// A domain that is there.
    Existing(Domid),
}

/// Makes sure that each function can be given to a domain, or seized for it.
///
/// # Errors
/// [`PciError`] says what is in the way.
pub fn check(given: &[Given], taker: Taker, host: &mut Host<'_>) -> Result<(), PciError> {
    let owners = notes::owners(host.xen, host.store)?;
    for one in given {
        let bdf = one.bdf;
        if !host.sysfs.has(bdf) {
            return Err(PciError::NoSuchDevice { bdf });
        }
        host.check_passthrough(bdf)?;
        match host.check_free(bdf, &owners) {
            Err(PciError::NotAssignable { .. }) if one.seize => host.check_seizable(bdf)?,
            Err(PciError::InUse { domid, .. }) if gives_up(host.xen, domid, taker, bdf)? => {}
            checked => checked?,
        }
        if let Taker::Existing(domid) = taker {
            check_domain(host.xen, domid, bdf)?;
        }
    }
    Ok(())
}

/// Whether a domain gives its functions up for the one that is to be made.
fn gives_up(xen: &Xen, domid: u16, taker: Taker, bdf: Bdf) -> Result<bool, PciError> {
    let Taker::Planned(uuid) = taker else { return Ok(false) };
    let info = xen.domain_info(Domid(domid)).map_err(|source| PciError::Xen { bdf, source })?;
    Ok(info.is_some_and(|info| info.uuid == uuid))
}

/// Whether Xen would assign it: a domain that was made without passthrough cannot have any.
fn check_domain(xen: &Xen, domid: Domid, bdf: Bdf) -> Result<(), PciError> {
    match xen.test_assign_device(domid, bdf.into()) {
        Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => {
            Err(PciError::NoPassthrough { domid: domid.0, bdf })
        }
        tested => tested.map_err(|source| PciError::Xen { bdf, source }),
    }
}

/// Sets those aside that are to be taken from their drivers.
///
/// # Errors
/// [`PciError`]; what was set aside before stays so.
pub fn seize(given: &[Given], host: &mut Host<'_>) -> Result<(), PciError> {
    for one in given.iter().filter(|one| one.seize) {
        if host.sysfs.driver_of(one.bdf)?.as_deref() != Some(PCIBACK) {
            host.add(one.bdf, None)?;
        }
    }
    Ok(())
}
