//! Hardware of the host that a domain is given: `pci` and its defaults, `passthrough`, `e820_host`,
//! `ioports`, `iomem`, `irqs`.
//!
//! In: settings. Out: the PCI devices as they were described, defaults filled in, and what the
//! builder must know. Pure: whether the host has such devices is looked at later.

use super::device::pci::{self, Pci, RdmPolicy, Which};
use super::device::resource;
use super::devices::descriptions;
use super::diagnostic::Problem;
use super::reader::{At, Reader};
use domain_builder::spec::{Hardware, HostRange};

/// Reads all of it.
pub fn hardware(reader: &mut Reader<'_>) -> (Vec<Pci>, Hardware) {
    let devices = devices(reader);
    let passthrough = passthrough(reader, devices.first());
    // As xl: with devices it is on, whatever is said.
    let host_map = reader.flag("e820_host") || !devices.is_empty();
    // What cannot be parsed was told of before, item by item.
    let ports = items(reader, "ioports", |text| {
        let ports = resource::io_ports(text).ok()?;
        let count = u64::from(ports.last - ports.first) + 1;
        Some(HostRange { first: ports.first.into(), count })
    });
    let memory = items(reader, "iomem", |text| {
        let memory = resource::io_memory(text).ok()?;
        Some(HostRange { first: memory.first_mfn, count: memory.pages })
    });
    let irqs = items(reader, "irqs", |text| resource::irq(text).ok());
    for range in &memory {
        let end = range.value.first.checked_add(range.value.count);
        if range.value.count == 0 || end.is_none_or(|end| end > FRAMES) {
            let help = String::from("write \"START,NUMBER\" in hexadecimal pages");
            let message = String::from("iomem names frames that there cannot be");
            reader.refuse(range.span, message, "0 or too many pages", Some(help));
        }
    }
    let values = |ranges: Vec<At<HostRange>>| ranges.into_iter().map(|at| at.value).collect();
    let irqs = irqs.into_iter().map(|at| at.value).collect();
    let hardware =
        Hardware { passthrough, host_map, ports: values(ports), memory: values(memory), irqs };
    (devices.into_iter().map(|at| at.value).collect(), hardware)
}

/// Frames of 52 bits of address, the most that x86 has.
const FRAMES: u64 = 1 << 40;

fn items<T>(reader: &mut Reader<'_>, key: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<At<T>> {
    let texts = descriptions(reader, key);
    let parsed = |text: At<String>| Some(At { value: parse(&text.value)?, span: text.span });
    texts.into_iter().filter_map(parsed).collect()
}

fn devices(reader: &mut Reader<'_>) -> Vec<At<Pci>> {
    let defaults = [
        reader.flag("pci_permissive"),
        reader.flag("pci_msitranslate"),
        reader.flag("pci_seize"),
        reader.flag("pci_power_mgmt"),
    ];
    let [permissive, msi_translate, seize, power_management] = defaults;
    let mut devices = items(reader, "pci", |text| pci::parse(text).ok());
    let mut seen: Vec<Which> = Vec::new();
    for device in &mut devices {
        let pci = &mut device.value;
        pci.permissive.get_or_insert(permissive);
        pci.msi_translate.get_or_insert(msi_translate);
        pci.seize.get_or_insert(seize);
        pci.power_management.get_or_insert(power_management);
        pci.rdm_policy.get_or_insert(RdmPolicy::Strict);
        if seen.contains(&pci.which) {
            let help = String::from("remove one of the two");
            let message = String::from("pci names this device twice");
            reader.refuse(device.span, message, "named before", Some(help));
        }
        seen.push(pci.which.clone());
    }
    devices
}

/// Whether devices can be assigned to the domain. For a PV domain there is one way to do it.
fn passthrough(reader: &mut Reader<'_>, device: Option<&At<Pci>>) -> bool {
    let Some(text) = reader.text("passthrough") else { return device.is_some() };
    match text.value.as_str() {
        "default" | "unknown" | "0" => device.is_some(),
        "enabled" | "sync_pt" => true,
        "disabled" => {
            if let Some(device) = device {
                let message = "pci gives a device to a domain whose passthrough is disabled";
                let problem = Problem::error(device.span, message, "cannot be given");
                let help = "remove passthrough: with devices it is enabled by itself";
                reader.problems.push(problem.help(help));
            }
            false
        }
        "share_pt" => {
            let message = String::from("passthrough cannot be share_pt for a PV guest");
            let help = String::from("write passthrough = \"enabled\"");
            reader.refuse(text.span, message, "HVM and PVH guests have that", Some(help));
            false
        }
        _ => {
            let label = "one of disabled, enabled, sync_pt, default";
            reader.refuse(text.span, String::from("passthrough is not known"), label, None);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Sources;
    use super::super::{Loaded, load};
    use super::*;

    fn read(text: &str) -> Loaded {
        let mut sources = Sources::default();
        sources.add("a.cfg", format!("name='n'\nkernel='/k'\nmemory=64\n{text}"));
        load(sources)
    }

    #[test]
    fn defaults_are_for_what_a_device_does_not_say() {
        let text = "pci=['03:00.0', '04:00.0,permissive=0,seize=0', 'name=fast']\n\
                    pci_permissive=1\npci_seize=1\npci_msitranslate=1\npci_power_mgmt=1";
        let loaded = read(text);
        assert_eq!(loaded.problems, []);
        let config = loaded.config.unwrap();
        let flags =
            |pci: &Pci| [pci.permissive, pci.seize, pci.msi_translate, pci.power_management];
        let found: Vec<_> = config.devices.pci.iter().map(flags).collect();
        let yes = Some(true);
        assert_eq!(found[0], [yes; 4]);
        assert_eq!(found[1], [Some(false), Some(false), yes, yes]);
        assert_eq!(found[2], [yes; 4]);
        assert!(config.hardware.passthrough && config.hardware.host_map);
        let none = read("pci=[]\npassthrough='default'\nioports=''\nirqs=[]").config.unwrap();
        assert_eq!((none.devices.pci, none.hardware), (Vec::new(), Hardware::default()));
    }

    #[test]
    fn what_cannot_be_had_is_refused_at_its_place() {
        for (text, words) in [
            ("pci='03:00.0'", "pci must be a list"),
            ("pci=['03:00.0', '0000:03:00.0']", "names this device twice"),
            ("pci=['03:00.0']\npassthrough='disabled'", "whose passthrough is disabled"),
            ("passthrough='share_pt'", "cannot be share_pt"),
            ("passthrough='maybe'", "passthrough is not known"),
            ("iomem=['fed9f,0']", "frames that there cannot be"),
            ("iomem=['fffffffffffff,1']", "frames that there cannot be"),
            ("irqs=['x']", "no interrupt"),
        ] {
            let loaded = read(text);
            assert!(loaded.config.is_none(), "{text}");
            let problems: Vec<_> = loaded.problems.iter().map(|p| p.message.as_str()).collect();
            assert!(problems.len() == 1 && problems[0].contains(words), "{text}: {problems:?}");
        }
    }
}
