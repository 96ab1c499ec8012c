//! What this project reads, in the words of the C program.

use std::fmt::Write as _;
use xl_rs::config::device::disk::{Backend, Disk, Format, Specification};
use xl_rs::config::device::pci::{Function, Pci, RdmPolicy, Which};
use xl_rs::config::device::rate::Rate;
use xl_rs::config::diagnostic::{Problem, Severity};
use xl_rs::config::parse::parse;
use xl_rs::config::reader::c_number;
use xl_rs::config::settings::fold;
use xl_rs::config::source::Sources;
use xl_rs::config::tree::{Kind, Operator, Value};

/// The settings of a text, or what is wrong with it.
pub fn configuration(text: &[u8]) -> Result<String, Vec<Problem>> {
    let mut sources = Sources::default();
    let source = sources.add("cfg", text);
    let (tree, mut problems) = parse(text, source);
    let (settings, found) = fold(&[tree], &sources);
    problems.extend(found);
    problems.retain(|problem| problem.severity == Severity::Error);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut out = String::new();
    for (key, setting) in settings {
        let _ = write!(out, "\n{key} = ");
        value(&mut out, &setting.value);
        let number = match &setting.value.kind {
            Kind::Number(text) => c_number(text),
            Kind::String(bytes) => std::str::from_utf8(bytes).ok().and_then(c_number),
            Kind::List(_) => None,
        };
        if let (Some(number), Operator::Set) = (number, setting.operator) {
            let _ = write!(out, " is {number}");
        }
    }
    Ok(out)
}

fn value(out: &mut String, value: &Value) {
    match &value.kind {
        Kind::Number(text) => quoted(out, text.as_bytes()),
        Kind::String(bytes) => quoted(out, bytes),
        Kind::List(items) => {
            out.push('[');
            for item in items {
                self::value(out, item);
                out.push(',');
            }
            out.push(']');
        }
    }
}

fn quoted(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => {
                let _ = write!(out, "\\x{byte:02x}");
            }
            0x20..0x7f => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push('"');
}

/// A disk.
pub fn disk(disk: &Disk) -> String {
    let mut out = String::new();
    text(&mut out, "target", disk.target.as_deref());
    text(&mut out, "vdev", disk.vdev.as_deref());
    let format = match disk.format.unwrap_or_default() {
        Format::Raw => "raw",
        Format::Qcow => "qcow",
        Format::Qcow2 => "qcow2",
        Format::Vhd => "vhd",
        Format::Qed => "qed",
        Format::Empty => "empty",
    };
    let _ = write!(out, "\nformat {format}");
    if let Some(backend) = disk.backend_type {
        let name = match backend {
            Backend::Phy => "phy",
            Backend::Tap => "tap",
            Backend::Qdisk => "qdisk",
            Backend::Standalone => "standalone",
        };
        let _ = write!(out, "\nbackendtype {name}");
    }
    if let Some(specification) = disk.specification {
        let name = match specification {
            Specification::Xen => "xen",
            Specification::Virtio => "virtio",
        };
        let _ = write!(out, "\nspecification {name}");
    }
    text(&mut out, "backend", disk.backend.as_deref());
    text(&mut out, "script", disk.script.as_deref());
    let number = u8::from;
    let _ = write!(
        out,
        "\nwritable {} cdrom {} direct-io-safe {}",
        number(!disk.read_only),
        number(disk.cdrom),
        number(disk.direct_io_safe)
    );
    let colo = &disk.colo;
    for (name, flag) in
        [("discard", disk.discard), ("trusted", disk.trusted), ("colo", colo.enabled)]
    {
        if let Some(flag) = flag {
            let _ = write!(out, "\n{name} {}", number(flag));
        }
    }
    text(&mut out, "colo-host", colo.host.as_deref());
    if let Some(port) = colo.port {
        let _ = write!(out, "\ncolo-port {port}");
    }
    text(&mut out, "colo-export", colo.export.as_deref());
    text(&mut out, "active-disk", colo.active.as_deref());
    text(&mut out, "hidden-disk", colo.hidden.as_deref());
    out
}

fn text(out: &mut String, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        let _ = write!(out, "\n{name} ");
        quoted(out, text.as_bytes());
    }
}

/// A PCI device.
pub fn pci(pci: &Pci) -> String {
    let mut out = String::new();
    match &pci.which {
        Which::Name(name) => text(&mut out, "name", Some(name)),
        Which::Address(address) => {
            let (function, all) = match address.function {
                Function::One(function) => (function, 0),
                Function::All => (0, 1),
            };
            let (segment, bus, device) = (address.segment, address.bus, address.device);
            let _ =
                write!(out, "\nbdf {segment:04x}:{bus:02x}:{device:02x}.{function:x} all {all}");
        }
    }
    let flag = |flag: Option<bool>| u8::from(flag.unwrap_or(false));
    let _ = write!(
        out,
        "\nvslot {} permissive {} msitranslate {} seize {} power_mgmt {}",
        pci.vslot.unwrap_or(0),
        flag(pci.permissive),
        flag(pci.msi_translate),
        flag(pci.seize),
        flag(pci.power_management)
    );
    match pci.rdm_policy {
        None => {}
        Some(RdmPolicy::Strict) => out.push_str("\nrdm_policy strict"),
        Some(RdmPolicy::Relaxed) => out.push_str("\nrdm_policy relaxed"),
    }
    out
}

/// A rate.
pub fn rate(rate: &Rate) -> String {
    format!("\nbytes {} every {} us", rate.bytes_per_interval, rate.interval_us)
}
