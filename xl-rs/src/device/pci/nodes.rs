//! The nodes of a domain's PCI device: what is written of each function, and what is read back.
//!
//! Read is only what dom0 alone can write: the backend's half.

use super::address;
use super::wanted::Given;
use crate::device::{Device, DeviceError, XenbusState};
use crate::pci::Bdf;
use xen_sys::types::Domid;
use xenstore::client::{Client, Nodes};
use xenstore::wire::Request;

/// More functions than there is room for.
const DEVICES_MAX: usize = 256;

/// What there is of a function, in the order in which xl writes it.
pub(super) const PARTS: [&str; 7] = ["key", "dev", "vdev", "vdevfn", "name", "opts", "state"];

/// What is read back of each.
const READ: [&str; 4] = ["dev", "vdevfn", "name", "opts"];

/// A function of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which one.
    pub bdf: Bdf,
    /// Where the guest was to see it: device << 3 | function.
    pub virtual_devfn: Option<u8>,
    /// The name that it was meant by.
    pub name: Option<String>,
    /// What else was said of it: `key=value` between commas, as in a description.
    pub options: Option<String>,
}

impl Listed {
    /// A description of it, by its address.
    #[must_use]
    pub fn text(&self) -> String {
        let slot = self.virtual_devfn.map(|devfn| format!("@{:x}", devfn >> 3));
        let options = self.options.iter().filter(|options| !options.is_empty());
        let options: String = options.map(|options| format!(",{options}")).collect();
        format!("{}{}{options}", self.bdf, slot.unwrap_or_default())
    }

    /// Whether something was said of it.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|options| options.split(',').any(|one| one == option))
    }
}

/// The device without its functions.
pub(super) fn device(domid: Domid, name: &str) -> Device {
    Device {
        address: address(domid),
        frontend: vec![
            ("backend-id", String::from("0")),
            ("state", XenbusState::Initialising.number().to_string()),
        ],
        frontend_read_only: Vec::new(),
        backend: vec![
            ("frontend-id", domid.to_string()),
            ("online", String::from("1")),
            ("state", XenbusState::Initialising.number().to_string()),
            ("domain", name.to_owned()),
        ],
    }
}

/// The requests that add function number `number`.
pub(super) fn adding(
    domid: Domid,
    given: &Given,
    number: usize,
) -> Result<Vec<Request>, xenstore::PathError> {
    let backend = address(domid).backend_path();
    let flag = u8::from;
    let options = format!(
        "msitranslate={},power_mgmt={},permissive={},rdm_policy={}",
        flag(given.msi_translate),
        flag(given.power_management),
        flag(given.permissive),
        if given.relaxed { "relaxed" } else { "strict" },
    );
    let bdf = given.bdf.to_string();
    let mut parts = vec![("key", bdf.clone()), ("dev", bdf)];
    parts.extend(given.virtual_devfn.map(|devfn| ("vdevfn", format!("{devfn:x}"))));
    parts.extend(given.name.clone().map(|name| ("name", name)));
    parts.push(("opts", options));
    parts.push(("state", XenbusState::Initialising.number().to_string()));
    let mut requests = Vec::with_capacity(parts.len() + 1);
    for (part, value) in parts {
        requests.push(Request::write(format!("{backend}/{part}-{number}"), value)?);
    }
    requests.push(Request::write(format!("{backend}/num_devs"), (number + 1).to_string())?);
    Ok(requests)
}

/// The functions of a domain, by their numbers.
///
/// # Errors
/// Those of the store.
pub fn list(store: &mut Client, domid: Domid) -> Result<Vec<Listed>, DeviceError> {
    let backend = address(domid).backend_path();
    let count = store.read_text_optional(format!("{backend}/num_devs"))?;
    let count = count.and_then(|count| count.parse().ok()).unwrap_or(0).min(DEVICES_MAX);
    let paths = (0..count).flat_map(|number| READ.map(|part| format!("{backend}/{part}-{number}")));
    let values = store.read_each(paths)?.into_iter();
    let texts: Vec<_> = values.map(|value| String::from_utf8(value?).ok()).collect();
    let mut listed = Vec::new();
    for parts in texts.chunks_exact(READ.len()) {
        let [dev, devfn, name, options] = parts else { continue };
        // A number whose function was removed half-way counts all the same.
        let Some(bdf) = dev.as_deref().and_then(|dev| dev.parse().ok()) else { continue };
        let virtual_devfn = devfn.as_deref().and_then(|devfn| u8::from_str_radix(devfn, 16).ok());
        let (name, options) = (name.clone(), options.clone());
        listed.push(Listed { bdf, virtual_devfn, name, options });
    }
    Ok(listed)
}
