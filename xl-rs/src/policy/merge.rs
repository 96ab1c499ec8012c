//! A configuration under a policy: what is overridden, and what is refused.

use super::pinning::{Narrowed, is_everywhere, narrow, text_of};
use super::{Facts, Rules, devices};
use crate::config::lower::{Affinity, DomainConfig, end_action_name};
use crate::config::reader::At;
use crate::config::tree::Kind;
use crate::config::{cpulist::Term, tree};
use crate::template::ranges::{amount_text, compact};
use domain_builder::spec::{EndAction, EndActions};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Which rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is called, as in `memory.max`.
    pub name: String,
    /// Its line in the policy; 0 for what every policy says.
    pub line: usize,
}

/// An assignment that takes the place of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The key.
    pub key: &'static str,
    /// What it becomes, as xl.cfg has it.
    pub becomes: String,
    /// Which rule says so.
    pub rule: Rule,
}

/// A reason to refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The key at fault.
    pub key: &'static str,
    /// Which item of its list.
    pub index: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: String,
    /// Which rule says so.
    pub rule: Rule,
}

/// What becomes of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Put after the configuration these make it satisfy the policy, if nothing is refused.
    pub overrides: Vec<Override>,
    /// Why it cannot be.
    pub refusals: Vec<Refusal>,
}

/// The files that have to be looked at, and whether a hash is needed.
#[must_use]
pub fn files(rules: &Rules, config: &DomainConfig) -> BTreeMap<PathBuf, bool> {
    let mut files = BTreeMap::new();
    if rules.kernel.is_some() {
        files.insert(config.kernel.value.clone(), true);
    }
    if let (Some(_), Some(ramdisk)) = (&rules.ramdisk, &config.ramdisk) {
        files.insert(ramdisk.value.clone(), true);
    }
    let limited = rules.image.is_some() || rules.devices.contains_key("disk");
    for disk in config.devices.disks.iter().filter(|_| limited) {
        let hashed = files.entry(PathBuf::from(&disk.target)).or_default();
        *hashed |= disk.read_only && rules.image.is_some();
    }
    files
}

/// Holds a configuration against rules.
#[must_use]
pub fn merge(rules: &Rules, config: &DomainConfig, facts: &Facts) -> Merged {
    let mut merged = Merged::default();
    memory(rules, config, &mut merged);
    vcpus(rules, config, &mut merged);
    boot_files(rules, config, facts, &mut merged);
    pinning(rules, config, &mut merged);
    force(rules, config, &mut merged);
    merged.refusals.extend(devices::refusals(rules, config, facts));
    merged
}

fn rule(name: impl Into<String>, line: usize) -> Rule {
    Rule { name: name.into(), line }
}

fn memory(rules: &Rules, config: &DomainConfig, merged: &mut Merged) {
    let Some(limit) = &rules.memory_max_kib else { return };
    let rule = rule("memory.max", limit.line);
    let text = amount_text(limit.value);
    if config.memory_kib > limit.value {
        merged.refusals.push(Refusal {
            key: "memory",
            index: None,
            what: format!("memory, {}, is more than {text}", amount_text(config.memory_kib)),
            help: format!("ask for {text} or less"),
            rule,
        });
    } else if config.max_memory_kib > limit.value {
        merged.overrides.push(Override { key: "maxmem", becomes: format!("\"{text}\""), rule });
    }
}

fn vcpus(rules: &Rules, config: &DomainConfig, merged: &mut Merged) {
    let Some(limit) = &rules.vcpus_max else { return };
    let (rule, most) = (rule("vcpus.max", limit.line), limit.value);
    if config.vcpus > most {
        merged.refusals.push(Refusal {
            key: "vcpus",
            index: None,
            what: format!("{} vcpus are more than {most}", config.vcpus),
            help: format!("ask for {most} or less"),
            rule,
        });
    } else if config.max_vcpus > most {
        merged.overrides.push(Override { key: "maxvcpus", becomes: most.to_string(), rule });
    }
}

fn boot_files(rules: &Rules, config: &DomainConfig, facts: &Facts, merged: &mut Merged) {
    let files = [
        ("kernel", &rules.kernel, Some(&config.kernel)),
        ("ramdisk", &rules.ramdisk, config.ramdisk.as_ref()),
    ];
    for (key, allowed, file) in files {
        let (Some(allowed), Some(file)) = (allowed, file) else { continue };
        let path = file.value.to_string_lossy();
        let rule = rule(format!("{key}.sha256"), allowed.line);
        let changeable = devices::changeable(&path, key, None, rule.clone(), facts);
        let refusal = changeable.or_else(|| devices::hash(&path, key, None, allowed, rule, facts));
        merged.refusals.extend(refusal);
    }
}

fn pinning(rules: &Rules, config: &DomainConfig, merged: &mut Merged) {
    let required = rules.pinning.as_ref().filter(|rule| rule.value);
    // Those that maxvcpus is lowered to.
    let most = rules.vcpus_max.as_ref().map_or(config.max_vcpus, |limit| limit.value);
    let vcpus = config.max_vcpus.min(most) as usize;
    let (lists, whole): (Vec<Option<&At<Vec<Term>>>>, bool) = match &config.hard_affinity {
        Affinity::Anywhere => (vec![None], true),
        Affinity::Every(list) => (vec![Some(list)], true),
        // Vcpus beyond the end are free.
        Affinity::Each(lists) => {
            let all = lists.iter().map(Some).chain(std::iter::repeat(None));
            (all.take(vcpus).collect(), false)
        }
    };
    let Some(allowed) = &rules.cpus else {
        let is_free =
            |list: &Option<&At<Vec<Term>>>| list.is_none_or(|list| is_everywhere(&list.value));
        if let Some(required) = required.filter(|_| lists.iter().any(is_free)) {
            merged.refusals.push(Refusal {
                key: "cpus",
                index: None,
                what: String::from("the domain is not pinned"),
                help: String::from("set cpus, for every vcpu"),
                rule: rule("pinning.required", required.line),
            });
        }
        return;
    };
    let rule = rule("pinning.cpus", allowed.line);
    let (mut texts, mut changed) = (Vec::new(), false);
    for (index, list) in lists.iter().enumerate() {
        let narrowed = list.map_or_else(
            || match allowed.value[..] {
                [] => Narrowed::Nothing,
                _ => Narrowed::To(compact(&allowed.value)),
            },
            |list| narrow(&list.value, &allowed.value),
        );
        changed |= narrowed != Narrowed::Stays;
        texts.push(match (narrowed, list) {
            (Narrowed::To(text), _) => text,
            (Narrowed::Stays, list) => list.map_or_else(String::new, |list| text_of(&list.value)),
            (Narrowed::Nothing, _) => {
                merged.refusals.push(Refusal {
                    key: "cpus",
                    index: (!whole).then_some(index),
                    what: String::from("none of these CPUs is allowed"),
                    help: format!("allowed: {}", compact(&allowed.value)),
                    rule,
                });
                return;
            }
        });
    }
    if changed {
        let quoted: Vec<String> = texts.iter().map(|text| format!("\"{text}\"")).collect();
        let becomes = if whole { quoted.concat() } else { format!("[{}]", quoted.join(", ")) };
        merged.overrides.push(Override { key: "cpus", becomes, rule });
    }
}

fn force(rules: &Rules, config: &DomainConfig, merged: &mut Merged) {
    for (key, forced) in &rules.force {
        if action(&config.on_end, key) != Some(forced.value) {
            merged.overrides.push(Override {
                key,
                becomes: format!("\"{}\"", end_action_name(forced.value)),
                rule: rule(format!("force.{key}"), forced.line),
            });
        }
    }
}

/// What is done at an end, by its key.
#[must_use]
pub fn action(ends: &EndActions, key: &str) -> Option<EndAction> {
    Some(match key {
        "on_poweroff" => ends.poweroff,
        "on_reboot" => ends.reboot,
        "on_watchdog" => ends.watchdog,
        "on_crash" => ends.crash,
        "on_soft_reset" => ends.soft_reset,
        _ => return None,
    })
}

/// Where the item of a setting stands, or all of its value.
#[must_use]
pub fn span_of(value: &tree::Value, index: Option<usize>) -> tree::Span {
    match (&value.kind, index) {
        (Kind::List(items), Some(index)) => items.get(index).map_or(value.span, |item| item.span),
        _ => value.span,
    }
}
