//! Artefacts: sets of Debian packages, named in `lab/artefacts.toml`, fetched once, checked by
//! sha256, unpacked under `target/lab/root/SET`.
//!
//! The choice of versions is recorded in `target/lab/artefacts.lock.json`; as long as it holds
//! and the files are there, nothing goes to the network.

use crate::apt::{Apt, Package};
use crate::command;
use crate::error::{Context as _, Error, Result};
use crate::paths::Paths;
use crate::report;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One set of packages, as `artefacts.toml` describes it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// Debian release.
    pub release: String,
    /// Preferred suite of that release.
    pub suite: Option<String>,
    /// Packages wanted.
    pub packages: Vec<String>,
    /// Dependencies taken along, by name or `prefix*`.
    #[serde(default)]
    pub with: Vec<String>,
    /// Exceptions from `with`.
    #[serde(default)]
    pub without: Vec<String>,
    /// What the set is for.
    pub why: String,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    sets: BTreeMap<String, Set>,
}

/// What was chosen for a set, and from which description.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Locked {
    set: Set,
    packages: Vec<Package>,
}

/// The store of artefacts.
pub struct Artefacts {
    paths: Paths,
    sets: BTreeMap<String, Set>,
    lock: BTreeMap<String, Locked>,
}

impl Artefacts {
    /// Reads the list and the lock.
    pub fn open(paths: &Paths) -> Result<Artefacts> {
        let list = paths.workspace.join("lab/artefacts.toml");
        let text = std::fs::read_to_string(&list).on("read", &list)?;
        let file: File = toml::from_str(&text)
            .map_err(|error| Error::Form { path: list, why: error.to_string() })?;
        Ok(Artefacts { paths: paths.clone(), sets: file.sets, lock: read_lock(paths) })
    }

    /// The names of all sets.
    pub fn names(&self) -> Vec<String> {
        self.sets.keys().cloned().collect()
    }

    /// The names of the sets that were fetched as they are described now.
    pub fn fetched(&self) -> Vec<String> {
        let same = |(name, set): &(&String, &Set)| {
            self.lock.get(*name).is_some_and(|locked| locked.set == **set)
        };
        self.sets.iter().filter(same).map(|(name, _)| name.clone()).collect()
    }

    /// Forgets the recorded choice, so that the next use asks the mirror again.
    pub fn forget(&mut self, name: &str) -> Result<()> {
        let _guard = lock_file(&self.paths)?;
        self.lock = read_lock(&self.paths);
        self.lock.remove(name);
        let _ = std::fs::remove_dir_all(self.paths.lab.join("apt"));
        self.write_lock()
    }

    fn write_lock(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(&self.lock).unwrap_or_default();
        let path = lock_path(&self.paths);
        std::fs::write(&path, text).on("write", &path)
    }

    /// The directory of a set, unpacked; fetches what is missing.
    pub fn root(&mut self, name: &str) -> Result<PathBuf> {
        let _guard = lock_file(&self.paths)?;
        self.lock = read_lock(&self.paths);
        let set = self
            .sets
            .get(name)
            .cloned()
            .ok_or_else(|| Error::Missing(format!("no set {name} in lab/artefacts.toml")))?;
        let root = self.paths.dir("root")?.join(name);
        let stamp = stamp(&root);
        if let Some(locked) = self.lock.get(name).filter(|locked| locked.set == set)
            && std::fs::read_to_string(&stamp).is_ok_and(|text| text == fingerprint(locked))
        {
            return Ok(root);
        }
        report::step(&format!("fetching {name}: {}", set.why));
        let locked = self.fetch(name, &set)?;
        self.unpack(&locked, &root)?;
        std::fs::write(&stamp, fingerprint(&locked)).on("write", &stamp)?;
        Ok(root)
    }

    /// Chooses versions where none are recorded, downloads what is missing, checks everything.
    fn fetch(&mut self, name: &str, set: &Set) -> Result<Locked> {
        let debs = self.paths.dir("deb")?;
        if let Some(locked) = self.lock.get(name).filter(|locked| locked.set == *set).cloned()
            && locked.packages.iter().all(|package| verified(package, &debs.join(&package.file)))
        {
            return Ok(locked);
        }
        let mut apt = Apt::new(&self.paths, &set.release)?;
        let mut attempt = self.choose(&mut apt, set).and_then(|l| self.download(&apt, &l, &debs));
        if attempt.is_err() {
            // A version that the mirror has replaced since the index was fetched.
            apt.update()?;
            attempt = self.choose(&mut apt, set).and_then(|l| self.download(&apt, &l, &debs));
        }
        let locked = attempt?;
        self.lock.insert(name.into(), locked.clone());
        self.write_lock()?;
        Ok(locked)
    }

    fn choose(&self, apt: &mut Apt, set: &Set) -> Result<Locked> {
        let mut packages = apt.resolve(&set.packages, set.suite.as_deref())?;
        packages.retain(|package| taken(set, &package.name));
        for wanted in &set.packages {
            if !packages.iter().any(|package| package.name == *wanted) {
                return Err(Error::Missing(format!("apt did not offer {wanted}")));
            }
        }
        Ok(Locked { set: set.clone(), packages })
    }

    fn download(&self, apt: &Apt, locked: &Locked, debs: &Path) -> Result<Locked> {
        let missing: Vec<&Package> = locked
            .packages
            .iter()
            .filter(|package| !verified(package, &debs.join(&package.file)))
            .collect();
        let total_bytes: u64 = missing.iter().map(|package| package.size_bytes).sum();
        if missing.is_empty() {
            return Ok(locked.clone());
        }
        report::note(&format!("{} packages, {} MB", missing.len(), total_bytes / 1_000_000));
        apt.download(&missing, debs)?;
        for package in missing {
            let file = debs.join(&package.file);
            if !verified(package, &file) {
                return Err(Error::Form {
                    path: file,
                    why: "its sha256 is not the index's".into(),
                });
            }
        }
        Ok(locked.clone())
    }

    fn unpack(&self, locked: &Locked, root: &Path) -> Result<()> {
        if root.exists() {
            std::fs::remove_dir_all(root).on("remove", root)?;
        }
        let debs = self.paths.dir("deb")?;
        for package in &locked.packages {
            let mut command = Command::new("dpkg-deb");
            command.arg("-x").arg(debs.join(&package.file)).arg(root);
            command::output(&mut command)?;
        }
        Ok(())
    }
}

/// The file that says what is unpacked at `root`; it is made after everything else.
pub fn stamp(root: &Path) -> PathBuf {
    // The name of a set may hold a dot of its own.
    let mut name = root.as_os_str().to_owned();
    name.push(".stamp");
    name.into()
}

fn lock_path(paths: &Paths) -> PathBuf {
    paths.lab.join("artefacts.lock.json")
}

fn read_lock(paths: &Paths) -> BTreeMap<String, Locked> {
    let bytes = std::fs::read(lock_path(paths)).ok();
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Two labs of one checkout do not unpack the same set at once.
fn lock_file(paths: &Paths) -> Result<std::fs::File> {
    let path = paths.lab.join("artefacts.flock");
    let file = std::fs::File::create(&path).on("create", &path)?;
    file.lock().on("lock", &path)?;
    Ok(file)
}

fn taken(set: &Set, name: &str) -> bool {
    let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, name));
    set.packages.iter().any(|wanted| wanted == name) || (any(&set.with) && !any(&set.without))
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

fn fingerprint(locked: &Locked) -> String {
    let mut hash = Sha256::new();
    for package in &locked.packages {
        hash.update(package.sha256.as_bytes());
    }
    hex(&hash.finalize())
}

fn verified(package: &Package, file: &Path) -> bool {
    sha256(file).is_ok_and(|found| found == package.sha256)
}

/// The sha256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).on("open", path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer).on("read", path)?;
        if count == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..count]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_taken_by_pattern() {
        let set = Set {
            release: "r".into(),
            suite: None,
            packages: vec!["xen-utils".into()],
            with: vec!["lib*".into(), "seabios".into()],
            without: vec!["libpython*".into()],
            why: String::new(),
        };
        for (name, expected) in [
            ("xen-utils", true),
            ("libc6", true),
            ("libpython3.11", false),
            ("seabios", true),
            ("seabios-extra", false),
            ("perl-base", false),
        ] {
            assert_eq!(taken(&set, name), expected, "{name}");
        }
    }

    #[test]
    fn the_list_parses() {
        let file: File = toml::from_str(include_str!("../artefacts.toml")).expect("parses");
        assert!(file.sets.contains_key("qemu"));
    }
}
