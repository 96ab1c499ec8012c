//! The shape of the workspace, as ARCHITECTURE.md states it: arrows point downward only, and
//! `unsafe` stays where hypercalls and the host's ioctls are made.
//!
//! Reads `cargo metadata` and the sources; runs nothing of the project.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every crate and what it may depend on inside the workspace, lowest first. A crate that is
/// missing here fails the test, so that a new one has to say where it stands.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("xen-sys", &[]),
    ("libxc-safe", &["xen-sys"]),
    ("host-sys", &[]),
    ("xenstore", &["xen-sys"]),
    ("domain-builder", &["xen-sys", "libxc-safe", "xenstore"]),
    ("ib-protocol", &[]),
    ("ib-guest", &["xen-sys", "libxc-safe", "xenstore", "ib-protocol"]),
    ("ib-backend", &["ib-protocol", "libxc-safe", "xenstore"]),
    ("xl-rs", &["xen-sys", "libxc-safe", "host-sys", "xenstore", "domain-builder"]),
    ("lab", &["xen-sys", "libxc-safe", "xenstore", "domain-builder", "ib-protocol"]),
];

/// Crates that may hold `unsafe`; every other one forbids it in its root.
const MAY_BE_UNSAFE: &[&str] = &["xen-sys", "libxc-safe", "host-sys", "ib-guest", "ib-backend"];

struct Package {
    name: String,
    folder: PathBuf,
    roots: Vec<PathBuf>,
    inner_dependencies: BTreeSet<String>,
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("is JSON");
    let list = metadata["packages"].as_array().expect("packages");
    list.iter()
        .map(|package| Package {
            name: text(&package["name"]),
            folder: Path::new(&text(&package["manifest_path"])).parent().unwrap().to_path_buf(),
            roots: package["targets"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|target| {
                    let kind = text(&target["kind"][0]);
                    kind == "lib" || kind == "bin"
                })
                .map(|target| PathBuf::from(text(&target["src_path"])))
                .collect(),
            inner_dependencies: package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|dependency| dependency["path"].is_string())
                .map(|dependency| text(&dependency["name"]))
                .collect(),
        })
        .collect()
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.expect("readable folder").path()) {
        if entry.is_dir() {
            rust_files(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}

#[test]
fn dependencies_point_downward() {
    for package in packages() {
        let (_, allowed) = MAY_DEPEND_ON
            .iter()
            .find(|(name, _)| *name == package.name)
            .unwrap_or_else(|| panic!("{} has no place in MAY_DEPEND_ON", package.name));
        for dependency in &package.inner_dependencies {
            // A crate may name itself to have its own features in its tests.
            assert!(
                *dependency == package.name || allowed.contains(&dependency.as_str()),
                "{} depends on {dependency}, which does not stand below it",
                package.name
            );
        }
    }
}

#[test]
fn every_safe_crate_forbids_unsafe() {
    for package in packages() {
        if MAY_BE_UNSAFE.contains(&package.name.as_str()) {
            continue;
        }
        for root in &package.roots {
            let source = fs::read_to_string(root).expect("readable source");
            assert!(
                source.contains("#![forbid(unsafe_code)]"),
                "{} does not forbid unsafe code",
                root.display()
            );
        }
    }
}

#[test]
fn the_backend_is_unsafe_where_it_calls_the_device_only() {
    for package in packages().iter().filter(|package| package.name == "ib-backend") {
        let mut files = Vec::new();
        rust_files(&package.folder.join("src"), &mut files);
        assert!(!files.is_empty(), "{} has sources", package.name);
        for file in
            files.iter().filter(|file| !file.components().any(|part| part.as_os_str() == "verbs"))
        {
            let source = fs::read_to_string(file).expect("readable source");
            assert!(!source.contains("unsafe {"), "{} is unsafe", file.display());
        }
    }
}

#[test]
fn the_store_and_the_configuration_know_no_hypercall() {
    for package in packages() {
        let forbidden: &[&str] = match package.name.as_str() {
            "xenstore" => &["libxc_safe", "/dev/xen/privcmd"],
            "domain-builder" => &["xl.cfg parser", "nom::"],
            _ => continue,
        };
        let mut files = Vec::new();
        rust_files(&package.folder.join("src"), &mut files);
        assert!(!files.is_empty(), "{} has sources", package.name);
        for file in files {
            let source = fs::read_to_string(&file).expect("readable source");
            for word in forbidden {
                assert!(!source.contains(word), "{} mentions {word}", file.display());
            }
        }
    }
}

#[test]
fn only_libxc_safe_opens_the_hypercall_devices() {
    const DEVICES: &[&str] =
        &["/dev/xen/privcmd", "/dev/xen/evtchn", "/dev/xen/gntdev", "/dev/xen/gntalloc"];
    for package in packages() {
        if package.name == "libxc-safe" || package.name == "lab" {
            continue;
        }
        let mut files = Vec::new();
        rust_files(&package.folder.join("src"), &mut files);
        for file in files {
            let source = fs::read_to_string(&file).expect("readable source");
            // Texts for people may name a device; opening one takes a call on the same line.
            for line in source.lines().filter(|line| line.contains("open(")) {
                for device in DEVICES {
                    assert!(!line.contains(device), "{} opens {device}", file.display());
                }
            }
        }
    }
}
