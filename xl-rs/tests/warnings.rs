//! No warning is lost: a command has no log unless it is asked for one, so what it warns of goes to
//! standard error by `commands::warn`. Only services, which have one, say their warnings there.

use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

const SERVICES: [&str; 2] = ["commands/xenstored", "consoled"];

/// All sources below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = read_dir(folder).expect("a folder of sources");
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        match path.is_dir() {
            true => found.extend(sources(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn only_services_warn_in_a_log() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut services, mut others) = (0, Vec::new());
    for path in sources(&root) {
        let text = read_to_string(&path).expect("a source");
        let warns = ["warn!", "error!", "Level::WARN", "Level::ERROR"]
            .iter()
            .any(|word| text.contains(&format!("tracing::{word}")));
        let name = path.strip_prefix(&root).expect("below it").to_owned();
        match SERVICES.iter().any(|service| name.starts_with(service)) {
            true => services += usize::from(warns),
            false if warns => others.push(name),
            false => {}
        }
    }
    assert!(services > 2, "only {services} files are seen to warn");
    assert!(others.is_empty(), "nobody reads their warnings: {others:?}");
}
