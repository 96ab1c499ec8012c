//! gdb in dom0, for cases that read what xlr writes as its users do.
//!
//! In: Debian's gdb-minimal with its libraries. Out: an archive that follows dom0's initramfs, for
//! machines that ask for it.

use crate::artefact::Artefacts;
use crate::cpio::Cpio;
use crate::elf;
use crate::error::{Context as _, Result};
use std::path::PathBuf;

/// Where libraries lie in dom0 and in Debian's packages.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// The archive.
pub fn archive(artefacts: &mut Artefacts) -> Result<Vec<u8>> {
    let root = artefacts.root("gdb")?;
    let program = root.join("usr/bin/gdb");
    let directories = LIBRARIES.map(|name| root.join(name));
    let mut cpio = Cpio::new();
    cpio.file("bin/gdb", 0o755, &std::fs::read(&program).on("read", &program)?);
    let libraries: Vec<PathBuf> = elf::closure(&[program], &directories)?.into_iter().collect();
    for path in libraries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let folder = if name.starts_with("ld-linux") { "lib64" } else { LIBRARIES[0] };
        let bytes = std::fs::read(&path).on("read", &path)?;
        cpio.file(&format!("{folder}/{name}"), 0o755, &bytes);
    }
    Ok(cpio.finish())
}
