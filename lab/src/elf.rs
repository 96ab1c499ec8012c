//! What the lab reads from ELF files: the libraries a program needs, the modules a module needs.

use crate::error::{Context as _, Error, Result};
use object::elf::{DT_NEEDED, FileHeader64, SHT_DYNAMIC};
use object::read::elf::{Dyn as _, FileHeader as _, SectionHeader as _};
use object::{Endianness, Object as _, ObjectSection as _};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The names of the shared libraries that `bytes` asks for (DT_NEEDED); none when it is no ELF
/// file or a static one.
pub fn needed(bytes: &[u8]) -> Vec<String> {
    read_needed(bytes).unwrap_or_default()
}

fn read_needed(bytes: &[u8]) -> object::Result<Vec<String>> {
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let mut names = Vec::new();
    for section in sections.iter().filter(|s| s.sh_type(endian) == SHT_DYNAMIC) {
        let Some((entries, link)) = section.dynamic(endian, bytes)? else { continue };
        let strings = sections.strings(endian, bytes, link)?;
        for entry in entries {
            if entry.tag(endian) == DT_NEEDED {
                names.push(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned());
            }
        }
    }
    Ok(names)
}

/// Every library that `programs` need, directly or not, found in `directories`.
pub fn closure(programs: &[PathBuf], directories: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let mut libraries = BTreeSet::new();
    let mut queue: Vec<PathBuf> = programs.to_vec();
    while let Some(file) = queue.pop() {
        let bytes = std::fs::read(&file).on("read", &file)?;
        for name in needed(&bytes) {
            let found = directories
                .iter()
                .map(|dir| dir.join(&name))
                .find(|path| path.exists())
                .ok_or_else(|| Error::Form {
                    path: file.clone(),
                    why: format!("it needs {name}, which no fetched package holds"),
                })?;
            if libraries.insert(found.clone()) {
                queue.push(found);
            }
        }
    }
    Ok(libraries)
}

/// The kernel modules that a module needs, from its `.modinfo`.
pub fn module_depends(path: &Path) -> Result<Vec<String>> {
    let bytes = std::fs::read(path).on("read", path)?;
    let bad = |error: object::Error| Error::Form { path: path.into(), why: error.to_string() };
    let file = object::File::parse(&*bytes).map_err(bad)?;
    let Some(section) = file.section_by_name(".modinfo") else { return Ok(Vec::new()) };
    let info = section.data().map_err(bad)?;
    let depends = info.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"depends="));
    let names = String::from_utf8_lossy(depends.unwrap_or_default()).into_owned();
    Ok(names.split(',').filter(|name| !name.is_empty()).map(String::from).collect())
}
