//! Which devices and images a policy lets a guest have.

use super::merge::{Refusal, Rule};
use super::{Facts, Ruled, Rules, glob};
use crate::config::device::pci::{Function, Pci, Which};
use crate::config::device::vif::Mode;
use crate::config::lower::DomainConfig;
use crate::device::disk::DiskSpec;
use domain_builder::spec::Connection;
use std::path::Path;

/// One thing that is given, as patterns see it.
struct Given {
    key: &'static str,
    index: usize,
    /// What patterns are held against; none for what can only be refused.
    subject: Result<String, &'static str>,
}

/// What is refused.
#[must_use]
pub fn refusals(rules: &Rules, config: &DomainConfig, facts: &Facts) -> Vec<Refusal> {
    let mut found = Vec::new();
    for (key, rule) in &rules.devices {
        found.extend(given(key, config).into_iter().filter_map(|given| against(rule, given)));
    }
    if let Some(rule) = rules.raw.as_ref().filter(|rule| !rule.value) {
        found.extend(raw(rule, config));
    }
    for (index, disk) in config.devices.disks.iter().enumerate() {
        found.extend(image(rules, index, disk, facts));
        if disk.has_own_script() {
            found.push(own_script("disk", index));
        }
        if rules.devices.contains_key("disk") || rules.image.is_some() {
            let line = rules.devices.get("disk").map(|rule| rule.line);
            let line = line.or(rules.image.as_ref().map(|rule| rule.line)).unwrap_or(1);
            let rule = Rule { name: String::from("disks are limited"), line };
            found.extend(changeable(&disk.target, "disk", Some(index), rule, facts));
        }
    }
    for (index, vif) in config.devices.vifs.iter().enumerate() {
        // Where interfaces are limited it cannot be held against what is allowed, which is told.
        let is_own = matches!(Mode::of_script(vif.script.as_deref()), Mode::Script(_));
        if is_own && !rules.devices.contains_key("vif") {
            found.push(own_script("vif", index));
        }
    }
    found
}

/// What a class of devices gives.
fn given(key: &'static str, config: &DomainConfig) -> Vec<Given> {
    let devices = &config.devices;
    let subjects: Vec<Result<String, &'static str>> = match key {
        "disk" => devices.disks.iter().map(|disk| clean(&disk.target)).collect(),
        "vif" => devices
            .vifs
            .iter()
            .map(|vif| match Mode::of_script(vif.script.as_deref()) {
                Mode::Bridged => Ok(vif.bridge.clone().unwrap_or_else(|| String::from("xenbr0"))),
                _ => Err("only interfaces on a bridge can be allowed"),
            })
            .collect(),
        "pci" => devices.pci.iter().map(address).collect(),
        "rdma" => devices.rdma.iter().map(|rdma| Ok(rdma.device.clone())).collect(),
        "channel" => config
            .channels
            .iter()
            .map(|channel| match &channel.connection {
                Connection::Pty => Ok(String::from("pty")),
                Connection::Socket(path) => clean(&path.to_string_lossy()),
            })
            .collect(),
        _ => Vec::new(),
    };
    let given = |(index, subject)| Given { key, index, subject };
    subjects.into_iter().enumerate().map(given).collect()
}

/// A path on which no pattern can be misled.
fn clean(path: &str) -> Result<String, &'static str> {
    let plain =
        path.starts_with('/') && !path[1..].split('/').any(|part| matches!(part, "" | "." | ".."));
    if plain { Ok(path.to_owned()) } else { Err("write its path from / on, without . and ..") }
}

fn address(pci: &Pci) -> Result<String, &'static str> {
    match &pci.which {
        Which::Name(_) => Err("write its address in place of its name"),
        Which::Address(address) => Ok(match address.function {
            Function::One(function) => address.at(function).to_string(),
            Function::All => {
                let one = address.at(0).to_string();
                format!("{}*", &one[..one.len() - 1])
            }
        }),
    }
}

fn against(rule: &Ruled<Vec<String>>, given: Given) -> Option<Refusal> {
    let Given { key, index, subject } = given;
    let name = format!("devices.{key}");
    let rule_place = Rule { name, line: rule.line };
    let index = Some(index);
    match subject {
        Ok(subject) if rule.value.iter().any(|pattern| glob::fits(pattern, &subject)) => None,
        Ok(subject) => {
            let allowed = match rule.value[..] {
                [] => String::from("none is allowed"),
                _ => format!("allowed: {}", rule.value.join(", ")),
            };
            let what = format!("{subject} is not allowed as {key}");
            Some(Refusal { key, index, what, help: allowed, rule: rule_place })
        }
        Err(help) => {
            let what = format!("this {key} cannot be held against what is allowed");
            Some(Refusal { key, index, what, help: help.to_owned(), rule: rule_place })
        }
    }
}

/// I/O ports, I/O memory and interrupts.
fn raw(rule: &Ruled<bool>, config: &DomainConfig) -> Vec<Refusal> {
    let hardware = &config.hardware;
    let given = [
        ("ioports", hardware.ports.is_empty()),
        ("iomem", hardware.memory.is_empty()),
        ("irqs", hardware.irqs.is_empty()),
    ];
    let refusal = |key| Refusal {
        key,
        index: None,
        what: format!("{key} is not allowed"),
        help: String::from("remove it, or ask the administrator"),
        rule: Rule { name: String::from("devices.raw"), line: rule.line },
    };
    given.into_iter().filter(|(_, none)| !none).map(|(key, _)| refusal(key)).collect()
}

/// A script of one's own would run as root, who is held to no rule.
fn own_script(key: &'static str, index: usize) -> Refusal {
    Refusal {
        key,
        index: Some(index),
        what: String::from("a script of one's own is not allowed under a policy"),
        help: String::from("remove script="),
        rule: Rule { name: String::from("a script would run as root"), line: 0 },
    }
}

/// Images by their hash, where the guest only reads them, and by name where it writes.
fn image(rules: &Rules, index: usize, disk: &DiskSpec, facts: &Facts) -> Option<Refusal> {
    let images = rules.image.as_ref()?;
    let rule = |name: &str, line| Rule { name: String::from(name), line };
    if disk.read_only {
        return hash(
            &disk.target,
            "disk",
            Some(index),
            images,
            rule("image.sha256", images.line),
            facts,
        );
    }
    let none = Ruled { value: Vec::new(), line: images.line };
    let writable = rules.writable.as_ref().unwrap_or(&none);
    let fits = |path: &String| writable.value.iter().any(|pattern| glob::fits(pattern, path));
    if clean(&disk.target).ok().as_ref().is_some_and(fits) {
        return None;
    }
    Some(Refusal {
        key: "disk",
        index: Some(index),
        what: format!("{} is not among the disks that a guest may write to", disk.target),
        help: match writable.value[..] {
            [] => String::from("write access=ro, for an image that is allowed"),
            _ => format!("allowed: {}; others with access=ro", writable.value.join(", ")),
        },
        rule: rule("image.writable", writable.line),
    })
}

/// A file's hash must be among those that are allowed.
pub(super) fn hash(
    path: &str,
    key: &'static str,
    index: Option<usize>,
    allowed: &Ruled<Vec<String>>,
    rule: Rule,
    facts: &Facts,
) -> Option<Refusal> {
    let found = facts.get(Path::new(path)).and_then(|facts| facts.sha256.as_ref());
    let (what, help) = match found {
        Some(Ok(hash)) if allowed.value.contains(hash) => return None,
        Some(Ok(hash)) => (
            format!("{path} is not among the files that are allowed"),
            format!("its SHA-256: {hash}"),
        ),
        Some(Err(why)) => (format!("{path} could not be hashed: {why}"), String::from("see to it")),
        None => (format!("{path} was not hashed"), String::from("give a path that can be read")),
    };
    Some(Refusal { key, index, what, help, rule })
}

/// Who can change the file, or the way to it, can have another one there in a moment.
pub(super) fn changeable(
    path: &str,
    key: &'static str,
    index: Option<usize>,
    rule: Rule,
    facts: &Facts,
) -> Option<Refusal> {
    let at = facts.get(Path::new(path))?.changeable.as_ref()?;
    let what = format!("{path} can be exchanged after it was checked");
    let help = format!("{} can be changed by others than root, or is not there", at.display());
    Some(Refusal { key, index, what, help, rule })
}
