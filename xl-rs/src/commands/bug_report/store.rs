//! What xenstore holds of xlr's domains, and the configurations that were saved for them.

use super::super::domain::Named;
use super::super::error::CommandError;
use super::super::saved;
use super::bounded::Bounded;
use domain_builder::nodes::{MARKER, uuid_text};
use xenstore::client::{Client, Nodes};

/// The most nodes of one subtree. No toolstack makes as many; guests can.
const NODES_MAX: usize = 500;
/// The most bytes of one value, before it is quoted. Longer ones say nothing of the toolstack.
const VALUE_BYTES: usize = 256;
/// The most bytes of one subtree: a guest that fills those it may write to leaves the others their
/// place.
const SUBTREE_BYTES: usize = 16 << 10;
/// The most bytes of one domain's configuration.
const CONFIGURATION_BYTES: usize = 64 << 10;
/// The most bytes of all domains together.
const WHOLE_BYTES: usize = 4 << 20;

/// The nodes below the domains' three roots, one line each.
///
/// Guests write some of them: nothing here grows with what they write beyond the limits above.
pub fn dump(store: &mut Client, named: &[Named]) -> Result<String, CommandError> {
    let mut out = Bounded::new(WHOLE_BYTES);
    for domain in ours(store, named)? {
        let domid = domain.info.domid;
        let roots = [
            format!("/local/domain/{domid}"),
            format!("/libxl/{domid}"),
            format!("/vm/{}", uuid_text(&domain.info.uuid)),
        ];
        for root in roots {
            let Some(value) = store.read_optional(&root)? else { continue };
            out.add(&node(&root, &value));
            for child in children(store, &root)? {
                out.add(&walk(store, child)?);
            }
        }
    }
    Ok(or_none(out))
}

/// The saved configuration of each domain.
pub fn configurations(store: &mut Client, named: &[Named]) -> Result<String, CommandError> {
    let mut out = Bounded::new(WHOLE_BYTES);
    for domain in ours(store, named)? {
        let text = match saved::read(&domain.info) {
            Ok(Some(value)) => format!("{value:#}"),
            Ok(None) => String::from("none is saved"),
            Err(error) => super::chain(&error),
        };
        let mut lines = Bounded::new(CONFIGURATION_BYTES);
        format!("domain {}: {text}\n", domain.info.domid)
            .split_inclusive('\n')
            .for_each(|line| lines.add(line));
        out.add(&lines.text());
    }
    Ok(or_none(out))
}

fn or_none(out: Bounded) -> String {
    let text = out.text();
    if text.is_empty() { String::from("xlr has no domains\n") } else { text }
}

/// The domains that xlr made.
fn ours<'a>(store: &mut Client, named: &'a [Named]) -> Result<Vec<&'a Named>, CommandError> {
    let mut found = Vec::new();
    for domain in named {
        if store.exists(format!("/libxl/{}/{MARKER}", domain.info.domid))? {
            found.push(domain);
        }
    }
    Ok(found)
}

/// The nodes from `root` on, parents before children.
fn walk(store: &mut Client, root: String) -> Result<String, CommandError> {
    let mut out = Bounded::new(SUBTREE_BYTES);
    let mut waiting = vec![root];
    let mut count = 0;
    while let Some(path) = waiting.pop() {
        // Nodes come and go while they are read.
        let Some(value) = store.read_optional(&path)? else { continue };
        out.add(&node(&path, &value));
        count += 1;
        if out.is_full() || count >= NODES_MAX {
            return Ok(out.text() + "... and more nodes\n");
        }
        waiting.extend(children(store, &path)?.into_iter().rev());
    }
    Ok(out.text())
}

/// The paths of a node's children, by name.
fn children(store: &mut Client, path: &str) -> Result<Vec<String>, CommandError> {
    let mut names = match store.directory(path) {
        Ok(names) => names,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    names.sort_unstable();
    names.truncate(NODES_MAX);
    Ok(names.into_iter().map(|name| format!("{path}/{name}")).collect())
}

/// One line; of a long value its start and its length.
fn node(path: &str, value: &[u8]) -> String {
    let start = String::from_utf8_lossy(value.get(..VALUE_BYTES).unwrap_or(value));
    match value.len() {
        0..=VALUE_BYTES => format!("{path} = {start:?}\n"),
        length => format!("{path} = {start:?}... ({length} bytes)\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_short_whatever_a_guest_writes() {
        assert_eq!(node("/a", b"x\ny"), "/a = \"x\\ny\"\n");
        assert_eq!(node("/a", b""), "/a = \"\"\n");
        let long = node("/a", &[0x1f; 4096]);
        assert!(long.ends_with("\"... (4096 bytes)\n"), "{long}");
        assert_eq!(long.matches("u{1f}").count(), VALUE_BYTES);
        assert_eq!(node("/a", &[b'x'; VALUE_BYTES]).len(), VALUE_BYTES + "/a = \"\"\n".len());
    }
}
