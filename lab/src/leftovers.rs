//! What a case left behind: the difference between two snapshots of dom0.

use crate::dom0::snapshot::Snapshot;
use std::collections::BTreeMap;
use std::fmt::Display;

/// Nodes that the first use of a toolstack makes and nobody removes: xl leaves it, too.
const LASTING: [&str; 2] = ["/libxl", "/vm"];

/// Everything that is different afterwards, in words; empty when the case left nothing.
pub fn compare(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let mut found = Vec::new();
    difference("domain", &before.domains, &after.domains, &mut found);
    let lasting = |nodes: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        let kept = nodes.iter().filter(|(path, _)| !LASTING.contains(&path.as_str()));
        kept.map(|(path, value)| (path.clone(), value.clone())).collect()
    };
    let (old, new) = (lasting(&before.nodes), lasting(&after.nodes));
    difference("xenstore node", &old, &new, &mut found);
    difference("loop device", &before.loops, &after.loops, &mut found);
    difference("PCI device", &before.pci, &after.pci, &mut found);
    difference("interface", &before.interfaces, &after.interfaces, &mut found);
    difference("process", &before.processes, &after.processes, &mut found);
    for line in after.kernel_trouble.iter().skip(before.kernel_trouble.len()) {
        found.push(format!("dom0's kernel said: {line}"));
    }
    found
}

fn difference<V: Display + PartialEq>(
    what: &str,
    before: &BTreeMap<String, V>,
    after: &BTreeMap<String, V>,
    found: &mut Vec<String>,
) {
    for (key, value) in after {
        match before.get(key) {
            None => found.push(format!("{what} left: {key} = {value}")),
            Some(old) if old != value => {
                found.push(format!("{what} changed: {key} = {value}, was {old}"));
            }
            Some(_) => {}
        }
    }
    for (key, value) in before {
        if !after.contains_key(key) {
            found.push(format!("{what} gone: {key} = {value}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_leftover_is_seen() {
        let before = Snapshot::default();
        let mut after = Snapshot::default();
        assert!(compare(&before, &after).is_empty());
        after.nodes.insert("/libxl".into(), "\"\"".into());
        assert!(compare(&before, &after).is_empty(), "what xl leaves is no leftover");
        after.domains.insert("3".into(), "x".into());
        after.nodes.insert("/vm/1".into(), "\"\"".into());
        after.loops.insert("loop0".into(), "/tmp/f".into());
        after.pci.insert("0000:00:04.0".into(), "held by pciback".into());
        after.interfaces.insert("vif1.0".into(), "xenbr0".into());
        after.processes.insert("xl create".into(), 1);
        after.kernel_trouble.push("BUG: x".into());
        assert_eq!(compare(&before, &after).len(), 7);
        assert_eq!(compare(&after, &before).len(), 6, "what is gone counts, too");
    }
}
