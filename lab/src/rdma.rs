//! What InfiniBand needs beyond an ordinary machine: in dom0 a device in software (rxe), rdma-core's
//! library and programs; for guests an initramfs with the same programs over our own library.
//!
//! In: Debian's packages, and the crate `ib-guest`. Out: an archive that follows dom0's initramfs, for
//! machines that ask for it.

use crate::artefact::Artefacts;
use crate::cpio::Cpio;
use crate::error::{Context as _, Error, Result};
use crate::paths::Paths;
use crate::qemu::OWN_PROGRAM;
use crate::{command, elf, guest, modules, program, report, unpacked};
use std::path::{Path, PathBuf};
use std::process::Command;

/// rdma-core's programs, as users have them: in dom0 and in guests the same files.
const PROGRAMS: [&str; 7] = [
    "ibv_devices",
    "ibv_devinfo",
    "ibv_asyncwatch",
    "ibv_rc_pingpong",
    "ibv_uc_pingpong",
    "ibv_ud_pingpong",
    "ibv_srq_pingpong",
];

/// Where libraries lie, on Debian and in what the lab makes.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// The dynamic loader, by the name that every program has in it.
const LOADER: &str = "lib64/ld-linux-x86-64.so.2";

/// The provider that rdma-core loads for rxe, and the file that makes it do so.
const PROVIDER: &str = "usr/lib/x86_64-linux-gnu/libibverbs/librxe-rdmav34.so";
const PROVIDER_NAME: &str = "etc/libibverbs.d/rxe.driver";

/// The archive of dom0's part.
pub fn archive(paths: &Paths, artefacts: &mut Artefacts) -> Result<Vec<u8>> {
    let kernel = artefacts.root("kernel")?;
    let packages = artefacts.root("rdma")?;
    let mut cpio = Cpio::new();
    modules::add_rdma(&mut cpio, &kernel)?;
    let own = library(paths)?;
    let tests = test_programs(paths, &packages, &own)?;
    let mut files: Vec<(String, PathBuf)> = programs(&packages);
    files.extend(tests.clone());
    files.push(("bin/rdma".into(), packages.join("usr/bin/rdma")));
    files.push(("bin/xlr-ibd".into(), program::xlr_ibd(paths)?));
    files.push((PROVIDER.into(), packages.join(PROVIDER)));
    dynamic(&mut cpio, &files, &directories(&packages))?;
    let name = packages.join(PROVIDER_NAME);
    cpio.file(PROVIDER_NAME, 0o644, &std::fs::read(&name).on("read", &name)?);
    // Linux unpacks one archive after the other.
    let mut initramfs = guest::initramfs(paths, &unpacked::busybox(&artefacts.root("busybox")?)?)?;
    initramfs.extend(guest::compressed(for_guests(&own, tests, &packages)?)?);
    cpio.file("guest/initramfs-rdma.gz", 0o644, &initramfs);
    Ok(cpio.finish())
}

/// What guests have beside their own initramfs: rdma-core's programs, and our library in the place of
/// rdma-core's.
fn for_guests(own: &Path, tests: Vec<(String, PathBuf)>, packages: &Path) -> Result<Cpio> {
    let mut directories = vec![own.to_owned()];
    directories.extend(self::directories(packages));
    let mut cpio = Cpio::new();
    let mut files = [programs(packages), tests].concat();
    // For systems that have it, and load ours before it.
    let usual = "libibverbs.so.1";
    files.push((format!("usr/lib/rdma-core/{usual}"), packages.join(LIBRARIES).join(usual)));
    dynamic(&mut cpio, &files, &directories)?;
    let installer = own.join(INSTALLER);
    let bytes = std::fs::read(&installer).on("read", &installer)?;
    cpio.file(&format!("bin/{INSTALLER}"), 0o755, &bytes);
    // What speaks the protocol by itself, for guests that attack.
    cpio.file("bin/lab", 0o755, &std::fs::read(OWN_PROGRAM).on("read", OWN_PROGRAM)?);
    Ok(cpio)
}

/// The one file that gives a guest's system InfiniBand.
const INSTALLER: &str = "xlr-ib-install";

/// `cargo lab ib-guest`: builds it.
pub fn installer(paths: &Paths) -> Result<i32> {
    let directory = library(paths)?;
    report::step(&format!("in a guest: sh {}", directory.join(INSTALLER).display()));
    Ok(0)
}

/// The programs that test and measure what rdma-core's programs do not: their sources, and their names in
/// dom0 and in guests.
const TESTS: [(&str, &str); 2] = [("verbs.c", "verbs-test"), ("perf.c", "verbs-perf")];

/// Builds them, against rdma-core's header: over whose library they run is decided where they run.
fn test_programs(paths: &Paths, packages: &Path, own: &Path) -> Result<Vec<(String, PathBuf)>> {
    let sources = paths.workspace.join("ib-guest/tests");
    let build = |(source, name): (&str, &str)| {
        let program = own.join(name);
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-Wall", "-Werror"]).arg("-I").arg(packages.join("usr/include"));
        cc.arg(sources.join(source)).arg(own.join("libibverbs.so.1"));
        command::output(cc.arg("-o").arg(&program))?;
        Ok((format!("bin/{name}"), program))
    };
    TESTS.into_iter().map(build).collect()
}

/// In the place of rdma-core's library, and to be loaded before it.
const LIBRARY_NAMES: [&str; 2] = ["libibverbs.so.1", "libxlr-ibverbs.so"];

/// Builds the guests' library, by the two names that it has: in the place of rdma-core's, and to be
/// loaded before it (LD_PRELOAD). Returns the directory.
///
/// Programs of this project are static files, which a library cannot be, and rustc makes no `cdylib` for
/// a target whose programs are (`.cargo/config.toml`). So it makes an archive of position-independent
/// code, as all of its code is, and the C compiler, which rustc links with anyhow, makes a library of
/// that: no second build of everything with other flags is needed.
fn library(paths: &Paths) -> Result<PathBuf> {
    report::step("building the guests' libibverbs");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["rustc", "--quiet", "--package", "ib-guest", "--profile", "small"]);
    command::run(cargo.args(["--crate-type", "staticlib"]).current_dir(&paths.workspace))?;
    let archive = paths.cargo_output("small").join("libib_guest.a");
    let versions = paths.workspace.join("ib-guest/libibverbs.map");
    let directory = paths.dir("libibverbs")?;
    for name in LIBRARY_NAMES {
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-s", "-static-libgcc", "-Wl,--gc-sections,-z,defs,-z,now"]);
        cc.arg(format!("-Wl,-soname,{name}"));
        cc.arg(format!("-Wl,--version-script,{}", versions.display()));
        cc.arg("-Wl,--whole-archive").arg(&archive).arg("-Wl,--no-whole-archive");
        command::output(cc.arg("-o").arg(directory.join(name)))?;
    }
    // A script with the libraries behind its last line.
    let mut tar = Command::new("tar");
    tar.args(["-cf", "-", "--owner=0", "--group=0"]).args(LIBRARY_NAMES).current_dir(&directory);
    let script = paths.workspace.join("ib-guest/install");
    let mut file = std::fs::read(&script).on("read", &script)?;
    file.extend(command::output(&mut tar)?);
    let installer = directory.join(INSTALLER);
    std::fs::write(&installer, file).on("write", &installer)?;
    Ok(directory)
}

/// rdma-core's programs: their names, and where they are.
fn programs(packages: &Path) -> Vec<(String, PathBuf)> {
    let program = |name| (format!("bin/{name}"), packages.join("usr/bin").join(name));
    PROGRAMS.into_iter().map(program).collect()
}

/// Where unpacked packages have their libraries.
fn directories(root: &Path) -> Vec<PathBuf> {
    ["lib/x86_64-linux-gnu", LIBRARIES, "lib64"].iter().map(|dir| root.join(dir)).collect()
}

/// Adds programs or libraries with all that they need, found in `directories`.
fn dynamic(cpio: &mut Cpio, files: &[(String, PathBuf)], directories: &[PathBuf]) -> Result<()> {
    let paths: Vec<PathBuf> = files.iter().map(|(_, path)| path.clone()).collect();
    let read = |path: &Path| std::fs::read(path).on("read", path);
    for (name, path) in files {
        cpio.file(name, 0o755, &read(path)?);
    }
    for path in elf::closure(&paths, directories)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !LOADER.ends_with(&name) {
            cpio.file(&format!("{LIBRARIES}/{name}"), 0o755, &read(&path)?);
        }
    }
    let loader = directories
        .iter()
        .filter_map(|dir| Some(dir.join(Path::new(LOADER).file_name()?)))
        .find(|path| path.exists())
        .ok_or_else(|| Error::Missing(format!("no package holds {LOADER}")))?;
    cpio.file(LOADER, 0o755, &read(&loader)?);
    Ok(())
}
