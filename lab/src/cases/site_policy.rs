//! A site's policy on real Xen: what is forced is what the domain has, what is refused is not made, and
//! both places are told.

use crate::case::{Case, Group};
use crate::dom0::host::{Said, Stop, Verdict, argv, config, domid, run};
use crate::{ensure, fail};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("site-policy/applied", Group::Toolstack, applied),
    Case { ci: false, ..Case::new("site-policy/everywhere", Group::Toolstack, everywhere) },
    Case { ci: false, ..Case::new("site-policy/broken", Group::Toolstack, broken) },
];

const PATH: &str = "/etc/xlr/policy.toml";
const KERNEL: &str = "/guest/xtf/idle";

/// The policy in its place, until this goes.
struct InForce;

impl InForce {
    fn put(text: &str) -> Result<InForce, Stop> {
        std::fs::create_dir_all("/etc/xlr")?;
        // The way to it is root's alone, as on a disk; in the lab's ramdisk it is everybody's.
        for folder in ["/", "/etc", "/etc/xlr"] {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
        }
        std::fs::write(PATH, text)?;
        std::fs::set_permissions(PATH, std::fs::Permissions::from_mode(0o644))?;
        Ok(InForce)
    }
}

impl Drop for InForce {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(PATH);
    }
}

fn guest(more: &str) -> Result<String, Stop> {
    let text = format!(
        "name = \"ruled\"\ntype = \"pv\"\nkernel = \"{KERNEL}\"\nmemory = 8\nvcpus = 1\n{more}"
    );
    config("ruled", &text)
}

/// A create that has to be refused, with these words, and both places.
fn refused(more: &str, words: &[&str]) -> Verdict {
    let path = guest(more)?;
    let said = argv(&["/bin/xlr", "create", "-p", &path])?.failure()?;
    ensure!(said.code == 3, "{more}: exit code {}: {}", said.code, said.err);
    for words in words {
        ensure!(said.err.contains(words), "{more}: {words:?} is missing in: {}", said.err);
    }
    ensure!(domid("ruled")?.is_none(), "{more}: it is there");
    Ok(())
}

fn sha256(path: &str) -> Result<String, Stop> {
    let said = argv(&["/bin/sha256sum", path])?.success()?;
    Ok(said.out.split_whitespace().next().unwrap_or_default().to_owned())
}

fn applied() -> Verdict {
    for folder in ["/guest", "/guest/xtf"] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    }
    let hash = sha256(KERNEL)?;
    let policy = format!(
        "[memory]\nmax = \"16M\"\n\n[vcpus]\nmax = 2\n\n[kernel]\nsha256 = [\"{hash}\"]\n\n\
         [pinning]\ncpus = \"0\"\n\n[force]\non_crash = \"preserve\"\n\n[devices]\ndisk = []\nraw = false\n\n\
         [user.1000.memory]\nmax = 4\n\n[user.1001]\nexempt = true\n"
    );
    let in_force = InForce::put(&policy)?;
    let path = guest("maxmem = 64\non_crash = \"destroy\"\n")?;
    let said = argv(&["/bin/xlr", "create", "-p", &path])?.success()?;
    told(&said, "maxmem is \"16M\"", "/tmp/ruled.cfg:6", "policy.toml:2 (memory.max)")?;
    told(&said, "on_crash is \"preserve\"", "/tmp/ruled.cfg:7", "policy.toml:14 (force.on_crash)")?;
    told(
        &said,
        "cpus is \"0\"",
        "/tmp/ruled.cfg does not set it",
        "policy.toml:11 (pinning.cpus)",
    )?;
    let has = argv(&["/xen/bin/xl", "list", "-l", "ruled"])?.success()?;
    let has: Value = serde_json::from_str(&has.out)?;
    let (build, crash) = (&has[0]["config"]["b_info"], &has[0]["config"]["on_crash"]);
    ensure!(crash == "preserve" && build["max_memkb"] == 16 << 10, "the domain has {has:#}");
    ensure!(build["vcpu_hard_affinity"][0] == serde_json::json!([0]), "it is pinned: {build:#}");

    // A new configuration for its next start is held to it, too, and keeps what is forced.
    let said = argv(&["/bin/xlr", "config-update", "ruled", &path])?.success()?;
    told(&said, "on_crash is \"preserve\"", "/tmp/ruled.cfg:7", "policy.toml:14")?;
    let more = guest("vcpus = 3\n")?;
    argv(&["/bin/xlr", "config-update", "ruled", &more])?.failure()?;
    run("/bin/xlr destroy ruled")?.success()?;

    // What every host has other CPUs for is narrowed, and still makes a domain.
    let path = guest("cpus = \"all\"\n")?;
    let said = argv(&["/bin/xlr", "create", "-p", &path])?.success()?;
    told(&said, "cpus is \"all,^1-65535\"", "/tmp/ruled.cfg:6", "policy.toml:11")?;
    let has = argv(&["/xen/bin/xl", "list", "-l", "ruled"])?.success()?;
    let has: Value = serde_json::from_str(&has.out)?;
    let pinned = &has[0]["config"]["b_info"]["vcpu_hard_affinity"][0];
    ensure!(*pinned == serde_json::json!([0]), "it is pinned to {pinned}");
    run("/bin/xlr destroy ruled")?.success()?;

    refused("vif = [\"script=/tmp/own\"]\n", &["a script of one's own", "ruled.cfg:6"])?;
    refused("memory = 32\n", &["memory, 32M, is more than 16M", "ruled.cfg:6", "policy.toml:2"])?;
    refused("vcpus = 3\n", &["3 vcpus are more than 2", "ruled.cfg:6", "policy.toml:5"])?;
    refused("irqs = [4]\n", &["irqs is not allowed", "policy.toml:18"])?;
    refused(
        "disk = [\"/dev/ram0,raw,xvda,rw\"]\n",
        &["/dev/ram0 is not allowed", "policy.toml:17"],
    )?;
    refused("kernel = \"/guest/xtf/hello\"\n", &["not among the files", "policy.toml:8"])?;
    others(&hash)?;
    drop(in_force);
    Ok(())
}

/// Users, and files that can be exchanged.
fn others(hash: &str) -> Verdict {
    let path = guest("memory = 8\n")?;
    let as_user = |uid: &str, line: &[&str]| -> Result<Said, Stop> {
        let uid = format!("SUDO_UID={uid}");
        argv(&[&["/bin/env", uid.as_str(), "/bin/xlr"], line].concat())
    };
    let said = as_user("1000", &["create", "-p", &path])?.failure()?;
    ensure!(said.err.contains("for 1000") && said.err.contains("more than 4M"), "{}", said.err);
    let wide = guest("memory = 32\n")?;
    as_user("1001", &["create", "-p", &wide])?.success()?;
    run("/bin/xlr destroy ruled")?.success()?;

    // /tmp is everybody's: the kernel could be another one by the time it is loaded.
    std::fs::copy(KERNEL, "/tmp/copy")?;
    ensure!(sha256("/tmp/copy")? == hash, "the copy has another hash");
    refused("kernel = \"/tmp/copy\"\n", &["can be exchanged", "/tmp can be changed by others"])?;
    std::fs::remove_file("/tmp/copy")?;
    // What this process has open is no file that stays the same.
    let open = "kernel = \"/proc/self/fd/0\"\n";
    refused(open, &["can be exchanged", "/proc/self can be changed by others"])?;
    Ok(())
}

/// What makes no domain, and what makes one for a while, are held to it, too.
fn everywhere() -> Verdict {
    let _in_force = InForce::put("[memory]\nmax = \"16M\"\n")?;
    let wide = guest("memory = 32\n")?;
    let said = run(&format!("/bin/xlr run {wide}"))?.failure()?;
    ensure!(said.code == 3 && said.err.contains("more than 16M"), "{}: {}", said.code, said.err);
    // The policy itself is no place for results, and what a run adds is held to it.
    let small = guest("")?;
    let line = ["/bin/xlr", "run", &small, "--end", "crash", "--timeout", "1"];
    let before = std::fs::read_to_string(PATH)?;
    let said = argv(&[&line[..], &["--junit", PATH]].concat())?.failure()?;
    ensure!(said.code == 3 && said.err.contains("holds no results"), "{}", said.err);
    ensure!(std::fs::read_to_string(PATH)? == before, "the policy is another one");
    std::fs::write(PATH, format!("{before}[devices]\ndisk = []\n"))?;
    let said = argv(&[&line[..], &["--scratch", "1MiB", "--log", "/tmp/ruled"]].concat())?;
    let words = said.err.contains("is not allowed as disk") && said.err.contains("devices.disk");
    ensure!(said.code == 3 && words, "{}: {}", said.code, said.err);
    ensure!(std::fs::read_dir("/tmp/ruled")?.next().is_none(), "a scratch device is left");
    std::fs::remove_dir("/tmp/ruled")?;
    let wide = guest("memory = 32\n")?;
    let said = run(&format!("/bin/xlr config check {wide}"))?.failure()?;
    ensure!(said.code == 3 && said.err.contains("more than 16M"), "{}", said.err);
    let template =
        "name = \"ruled\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\nmaxmem = {{ most }}\n";
    std::fs::write("/tmp/ruled.cfg.j2", template)?;
    let said = run("/bin/xlr render /tmp/ruled.cfg.j2 --set most=64")?.success()?;
    let line = "maxmem = \"16M\"  # /etc/xlr/policy.toml:2: memory.max";
    ensure!(
        said.out.contains(line) && said.err.contains("ruled.cfg.j2:4"),
        "{}{}",
        said.out,
        said.err
    );
    std::fs::remove_file("/tmp/ruled.cfg.j2")?;
    block_devices()
}

/// As udev makes them they are their group's, too; as nobody should make them, everybody's.
fn block_devices() -> Verdict {
    let _in_force = InForce::put("[devices]\ndisk = [\"/dev/xlr-ruled\"]\n")?;
    std::fs::set_permissions("/dev", std::fs::Permissions::from_mode(0o755))?;
    let device = "/dev/xlr-ruled";
    run(&format!("/bin/busybox mknod {device} b 1 0"))?.success()?;
    let path = guest(&format!("disk = [\"{device},raw,xvda,rw\"]\n"))?;
    let mut codes = Vec::new();
    for mode in [0o660, 0o666] {
        std::fs::set_permissions(device, std::fs::Permissions::from_mode(mode))?;
        codes.push(run(&format!("/bin/xlr config check {path}"))?.code);
    }
    std::fs::remove_file(device)?;
    ensure!(codes == [0, 3], "writable by the group and by all: exit codes {codes:?}");
    Ok(())
}

/// A policy that is none, or that is not root's alone, lets nothing through.
fn broken() -> Verdict {
    let in_force = InForce::put("[memory]\nmaximum = 4\n")?;
    refused("", &["/etc/xlr/policy.toml:2", "maximum"])?;
    std::fs::write(PATH, "[memory]\nmax = 64\n")?;
    let path = guest("")?;
    argv(&["/bin/xlr", "create", "-p", &path])?.success()?;
    run("/bin/xlr destroy ruled")?.success()?;
    std::fs::set_permissions(PATH, std::fs::Permissions::from_mode(0o666))?;
    refused("", &["can be changed by others than root"])?;
    std::fs::set_permissions(PATH, std::fs::Permissions::from_mode(0o644))?;
    std::fs::set_permissions("/etc/xlr", std::fs::Permissions::from_mode(0o777))?;
    refused("", &["can be changed by others than root", "chmod go-w /etc/xlr"])?;
    std::fs::set_permissions("/etc/xlr", std::fs::Permissions::from_mode(0o755))?;
    drop(in_force);
    std::os::unix::fs::symlink("/net/away.toml", PATH)?;
    let refusal = refused("", &["cannot read the policy"]);
    std::fs::remove_file(PATH)?;
    refusal?;
    std::fs::create_dir(PATH)?;
    let refusal = refused("", &["cannot read the policy"]);
    std::fs::remove_dir(PATH)?;
    ensure!(!Path::new(PATH).exists(), "the policy is still there");
    refusal
}

/// What was overridden is told with the place of both.
fn told(said: &Said, what: &str, here: &str, there: &str) -> Verdict {
    for words in [what, here, there] {
        if !said.err.contains(words) {
            fail!("{words:?} is missing in: {}", said.err);
        }
    }
    Ok(())
}
