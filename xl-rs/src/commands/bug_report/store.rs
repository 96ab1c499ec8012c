//! What xenstore holds of xlr's domains, and the configurations that were saved for them.

use super::super::domain::Named;
use super::super::error::CommandError;
use super::super::saved;
use domain_builder::nodes::{MARKER, uuid_text};
use std::fmt::Write as _;
use xenstore::client::{Client, Nodes};

/// More than any domain has, less than would fill a disk.
const NODES_MAX: usize = 5000;

/// The nodes below the domains' three roots, one line each.
pub fn dump(store: &mut Client, named: &[Named]) -> Result<String, CommandError> {
    let mut out = String::new();
    for domain in ours(store, named)? {
        let domid = domain.info.domid;
        let roots = [
            format!("/local/domain/{domid}"),
            format!("/libxl/{domid}"),
            format!("/vm/{}", uuid_text(&domain.info.uuid)),
        ];
        for root in roots {
            walk(store, root, &mut out)?;
        }
    }
    if out.is_empty() {
        out.push_str("xlr has no domains\n");
    }
    Ok(out)
}

/// The saved configuration of each domain.
pub fn configurations(store: &mut Client, named: &[Named]) -> Result<String, CommandError> {
    let mut out = String::new();
    for domain in ours(store, named)? {
        let text = match saved::read(&domain.info) {
            Ok(Some(value)) => format!("{value:#}"),
            Ok(None) => String::from("none is saved"),
            Err(error) => super::chain(&error),
        };
        let _ = writeln!(out, "domain {}: {text}", domain.info.domid);
    }
    Ok(out)
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

/// Prints the nodes from `root` on, parents before children.
fn walk(store: &mut Client, root: String, out: &mut String) -> Result<(), CommandError> {
    let mut waiting = vec![root];
    let mut count = 0;
    while let Some(path) = waiting.pop() {
        // Nodes come and go while they are read.
        let Some(value) = store.read_optional(&path)? else { continue };
        let _ = writeln!(out, "{path} = {:?}", String::from_utf8_lossy(&value));
        count += 1;
        if count >= NODES_MAX {
            let _ = writeln!(out, "... and more");
            return Ok(());
        }
        let mut names = match store.directory(&path) {
            Ok(names) => names,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error.into()),
        };
        names.sort_unstable_by(|one, other| other.cmp(one));
        waiting.extend(names.into_iter().map(|name| format!("{path}/{name}")));
    }
    Ok(())
}
