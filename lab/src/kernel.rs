//! `cargo lab kernel`: the small guest kernel, by the recipe in `configs/kernel`.

use crate::artefact::Artefacts;
use crate::command;
use crate::error::{Context as _, Error, Result};
use crate::paths::Paths;
use crate::report;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tools of the recipe that a machine with Rust, gcc and git may lack: program, Debian package.
const TOOLS: [(&str, &str); 6] = [
    ("make", "make"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("xz", "xz-utils"),
    ("ld", "binutils"),
];

/// Builds it into `target/lab/kernel`.
pub fn build(paths: &Paths) -> Result<i32> {
    let recipe = Recipe::prepare(paths)?;
    report::step("building the small guest kernel (about 10 minutes of CPU time)");
    recipe.build()?;
    report::step("the small guest kernel is there; guests use it from now on");
    Ok(0)
}

/// Everything that the build needs, in its place.
pub struct Recipe {
    script: PathBuf,
    tarball: PathBuf,
    out: PathBuf,
}

impl Recipe {
    /// Fetches sources and tools.
    pub fn prepare(paths: &Paths) -> Result<Recipe> {
        tools()?;
        let root = Artefacts::open(paths)?.root("linux-source")?;
        Ok(Recipe {
            script: paths.workspace.join("configs/kernel/build.sh"),
            tarball: tarball(&root.join("usr/src"))?,
            out: paths.dir("kernel")?,
        })
    }

    /// Builds, behind everything else that this machine has to do.
    pub fn build(&self) -> Result<()> {
        let mut command = Command::new("nice");
        command.args(["-n", "10", "sh"]).arg(&self.script).arg(&self.tarball).arg(&self.out);
        command::run(&mut command)
    }
}

fn tarball(dir: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(dir).on("list", dir)?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with(".tar.xz"))
        .ok_or_else(|| Error::Missing(format!("no kernel source in {}", dir.display())))
}

/// Installs missing tools when this is root, or prints the command.
fn tools() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &str| std::env::split_paths(&path).any(|dir| dir.join(name).exists());
    let mut missing: Vec<&str> =
        TOOLS.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect();
    if !Path::new("/usr/include/gelf.h").exists() {
        missing.push("libelf-dev");
    }
    if missing.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        let names = missing.join(" ");
        return Err(Error::Missing(format!(
            "the kernel's build needs more tools; as root: apt-get install {names}"
        )));
    }
    report::step(&format!("installing {}", missing.join(" ")));
    // A new machine may have no package lists yet.
    command::run(Command::new("apt-get").args(["update", "-q"]))?;
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.args(["install", "-y", "-q", "--no-install-recommends"]).args(missing);
    command::run(&mut command)
}
