//! The kernel cache: what is decoded once is found again, without being read; it is shared, bounded
//! and trusted only where nobody else can write.

use crate::case::{Case, Group};
use crate::dom0::host::{Said, Stop, Verdict, argv, config, domid};
use crate::dom0::init;
use crate::{ensure, fail};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("cache/small-kernel", Group::Kernel, || found("/guest/vmlinuz")),
    Case {
        ci: false,
        limit_seconds: 240,
        ..Case::new("cache/stock-kernel", Group::Kernel, || found("/guest/stock"))
    },
    Case::new("cache/changed-kernel", Group::Kernel, changed_kernel),
    Case::new("cache/writable-by-others", Group::Kernel, writable_by_others),
    Case { limit_seconds: 240, ..Case::new("cache/four-at-once", Group::Kernel, four_at_once) },
    Case { limit_seconds: 240, ..Case::new("cache/bound", Group::Kernel, bound) },
];

const CACHE: &str = "/var/cache/xlr/kernels";

/// What a create reads beside the kernel: configuration, index, /proc, the kernel's headers.
const SMALL_BYTES: u64 = 512 << 10;

/// Makes the cache empty.
fn empty() -> Verdict {
    match std::fs::remove_dir_all(CACHE) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// What is in the cache's directory, beside the decoded kernels' hashes.
fn names() -> Result<Vec<String>, Stop> {
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(CACHE)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The hashes of the decoded kernels. Fails when there is anything else but what belongs there.
fn entries() -> Result<BTreeSet<String>, Stop> {
    let (mut kernels, mut uses) = (BTreeSet::new(), BTreeSet::new());
    for name in names()? {
        match name.rsplit_once('.') {
            Some((hash, "elf")) => _ = kernels.insert(hash.to_owned()),
            Some((hash, "used")) => _ = uses.insert(hash.to_owned()),
            _ => ensure!(name == "index.json" || name == "lock", "{name} was left in the cache"),
        }
    }
    ensure!(kernels == uses, "kernels {kernels:?}, their uses {uses:?}");
    Ok(kernels)
}

/// Runs a program and counts the bytes that it read.
fn reading(words: &[&str]) -> Result<(Said, u64), Stop> {
    let [program, args @ ..] = words else { fail!("an empty command") };
    let mut child =
        init::command(program).args(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut err = String::new();
    if let Some(mut pipe) = child.stderr.take() {
        pipe.read_to_string(&mut err)?;
    }
    // The count goes when the process is collected: look at it in between.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(Pid::from_child(&child)), options).map_err(std::io::Error::from)?;
    let counts = std::fs::read_to_string(format!("/proc/{}/io", child.id()))?;
    let code = child.wait()?.code().unwrap_or(255);
    let read = counts.lines().find_map(|line| line.strip_prefix("rchar: ")?.trim().parse().ok());
    let Some(read) = read else { fail!("/proc/PID/io says {counts}") };
    let said = Said { command: words.join(" "), code, out: String::new(), err };
    eprintln!("$ {}\n{}[{code}, {read} bytes read]", said.command, said.err);
    Ok((said.success()?, read))
}

/// Plans a domain with the kernel: it is decoded or found, and nothing is made.
fn plan(kernel: &str) -> Result<(String, u64), Stop> {
    let path = guest("cached", kernel)?;
    let (said, read) = reading(&["/bin/xlr", "-v", "create", "--dry-run", &path])?;
    Ok((said.err, read))
}

fn guest(name: &str, kernel: &str) -> Result<String, Stop> {
    config(
        name,
        &format!(
            "name = \"{name}\"\ntype = \"pv\"\nkernel = \"{kernel}\"\nmemory = 192\nvcpus = 1\n"
        ),
    )
}

/// Copies a kernel, with something added.
fn copy(from: &str, to: &str, added: &[u8]) -> Verdict {
    let mut bytes = std::fs::read(from)?;
    bytes.extend_from_slice(added);
    std::fs::write(to, bytes)?;
    Ok(())
}

fn bytes_of(path: &str) -> Result<u64, Stop> {
    Ok(std::fs::metadata(path)?.len())
}

/// The first create of a kernel decodes it, the second finds it without reading it.
fn found(kernel: &str) -> Verdict {
    empty()?;
    let (cold, read) = plan(kernel)?;
    ensure!(cold.contains("cache=\"stored\""), "cold: {cold}");
    ensure!(read > bytes_of(kernel)?, "cold, only {read} bytes were read");
    let kept = entries()?;
    ensure!(kept.len() == 1, "after one kernel: {kept:?}");
    let mode = std::fs::metadata(CACHE)?.mode() & 0o7777;
    ensure!(mode == 0o700, "{CACHE} has mode {mode:o}");
    let (warm, read) = plan(kernel)?;
    ensure!(warm.contains("cache=\"hit\""), "warm: {warm}");
    ensure!(read < SMALL_BYTES, "warm, {read} bytes were read");
    ensure!(entries()? == kept, "a hit changed the cache: {:?}", names()?);
    Ok(())
}

/// Another content under the same name is another kernel; the same content under another name is
/// not decoded again.
fn changed_kernel() -> Verdict {
    empty()?;
    let kernel = "/tmp/changing";
    copy("/guest/vmlinuz", kernel, b"")?;
    let (first, _) = plan(kernel)?;
    ensure!(first.contains("cache=\"stored\""), "first: {first}");
    let kept = entries()?;
    let (other, read) = plan("/guest/vmlinuz")?;
    ensure!(other.contains("cache=\"hit\""), "the same content elsewhere: {other}");
    ensure!(read > bytes_of("/guest/vmlinuz")?, "the content was not looked at: {read} bytes");
    ensure!(entries()? == kept, "the same content was kept twice: {:?}", names()?);
    copy("/guest/vmlinuz", kernel, b"changed")?;
    let (changed, _) = plan(kernel)?;
    ensure!(changed.contains("cache=\"stored\""), "changed: {changed}");
    ensure!(entries()?.len() == 2 && entries()?.is_superset(&kept), "{:?}", names()?);
    std::fs::remove_file(kernel)?;
    Ok(())
}

/// A directory that others can write is not used, which is said, and the domain is made all the
/// same.
fn writable_by_others() -> Verdict {
    empty()?;
    std::fs::create_dir_all(CACHE)?;
    std::fs::set_permissions(CACHE, std::fs::Permissions::from_mode(0o777))?;
    let path = guest("cached", "/guest/vmlinuz")?;
    let said = argv(&["/bin/xlr", "create", "-p", &path])?.success()?;
    let warned = said.err.contains(CACHE) && said.err.contains("lets others write");
    ensure!(warned, "no warning: {}", said.err);
    ensure!(domid("cached")?.is_some(), "no domain");
    ensure!(names()?.is_empty(), "the directory was used: {:?}", names()?);
    argv(&["/bin/xlr", "destroy", "cached"])?.success()?;
    let quiet = argv(&["/bin/xlr", "create", "-q", "-p", &path])?.success()?;
    ensure!(quiet.err.is_empty(), "-q says {}", quiet.err);
    argv(&["/bin/xlr", "destroy", "cached"])?.success()?;
    empty()
}

/// Of four creates of the same kernel that nobody has decoded before, one decodes.
fn four_at_once() -> Verdict {
    empty()?;
    let path = guest("cached", "/guest/vmlinuz")?;
    let name = |number: usize| format!("cached-{number}");
    let mut running = Vec::new();
    for number in 0..4 {
        let name = format!("name=\"{}\"", name(number));
        let mut command = init::command("/bin/xlr");
        command.args(["-v", "create", "-p", &path, &name]);
        running.push(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?);
    }
    let mut said = Vec::new();
    for child in running {
        let out = child.wait_with_output()?;
        said.push((out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned()));
    }
    eprintln!("{said:#?}");
    let (mut there, mut count) = (0, (0, 0));
    for number in 0..4 {
        if domid(&name(number))?.is_some() {
            there += 1;
            argv(&["/bin/xlr", "destroy", &name(number)])?.success()?;
        }
    }
    for (code, text) in &said {
        ensure!(*code == Some(0), "exit code {code:?}: {text}");
        count.0 += text.matches("cache=\"stored\"").count();
        count.1 += text.matches("cache=\"hit\"").count();
    }
    ensure!(there == 4, "{there} domains of four");
    ensure!(count == (1, 3), "{} decoded and {} found: {said:?}", count.0, count.1);
    ensure!(entries()?.len() == 1, "{:?}", names()?);
    Ok(())
}

/// The cache takes a quarter of what is free: where that is room for one kernel, the second one
/// replaces the first.
fn bound() -> Verdict {
    empty()?;
    let (first, second) = ("/guest/vmlinuz", "/tmp/second");
    plan(first)?;
    let kept = entries()?;
    let Some(hash) = kept.first() else { fail!("nothing was kept: {:?}", names()?) };
    let stored = std::fs::metadata(Path::new(CACHE).join(format!("{hash}.elf")))?.blocks() * 512;
    copy("/guest/vmlinuz", second, b"another")?;
    // With five times the kernel free, and the kernel itself, the share is one and a half.
    let fill = available_bytes()?.saturating_sub(5 * stored);
    let ballast = vec![1u8; usize::try_from(fill).unwrap_or_default()];
    eprintln!("{stored} bytes kept, {fill} bytes of ballast, {} free", available_bytes()?);
    let planned = plan(second);
    // Not before: it must stand while the kernel is decoded.
    drop(std::hint::black_box(ballast));
    std::fs::remove_file(second)?;
    let (said, _) = planned?;
    ensure!(said.contains("cache=\"stored\""), "the second kernel: {said}");
    let now = entries()?;
    ensure!(now.len() == 1 && now != kept, "{kept:?} became {now:?}");
    Ok(())
}

/// `MemAvailable`.
fn available_bytes() -> Result<u64, Stop> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("MemAvailable:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    kib.map(|kib| kib * 1024).ok_or_else(|| Stop::Failed(format!("no MemAvailable: {text}")))
}
