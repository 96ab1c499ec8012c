//! Configurations from templates: what is rendered boots, and is what Xen then has. What is converted is
//! what it was.

use crate::case::{Case, Group};
use crate::dom0::host::{
    Said, Stop, Verdict, argv, await_text, config, console, domid, report, run,
};
use crate::{ensure, fail};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case { numa_nodes: 4, ci: false, ..Case::new("template/cluster", Group::Create, cluster) },
    Case {
        xen: "4.20",
        numa_nodes: 2,
        ..Case::new("template/all-or-none", Group::Create, all_or_none)
    },
    Case { ci: false, ..Case::new("template/converted", Group::Toolstack, converted) },
];

const CLUSTER: &str = include_str!("../../../configs/templates/mpi-cluster.cfg.j2");

/// The template and the values of a site with so many NUMA nodes of one CPU.
fn site(nodes: u32) -> Verdict {
    std::fs::write("/tmp/mpi.cfg.j2", CLUSTER)?;
    let numa: Vec<String> = (0..nodes).map(|node| format!("\"{node}\"")).collect();
    std::fs::write("/tmp/site.toml", format!("numa = [{}]\n", numa.join(", ")))?;
    Ok(())
}

fn json(line: &str) -> Result<Value, Stop> {
    let said = run(line)?.success()?;
    serde_json::from_str(&said.out).map_err(|error| format!("{line}: {error}").into())
}

/// Four guests of one template, each on a NUMA node of its own: rendered, compared, booted one by one,
/// and once more all at once.
fn cluster() -> Verdict {
    site(4)?;
    let values = "--values /tmp/site.toml --set nodes=4 --set kernel=/guest/vmlinuz --set ramdisk=/guest/initramfs.gz";
    let render = format!("/bin/xlr render /tmp/mpi.cfg.j2 {values} -o /tmp/cluster");
    let said = run(&format!("{render} --set memory=96"))?.success()?;
    ensure!(said.err.contains("4 written"), "{}", said.err);
    let said = run(&format!("{render} --set memory=96 --diff"))?.success()?;
    ensure!(said.out.is_empty(), "nothing would change: {}", said.out);
    let said = run(&format!("{render} --set memory=97 --diff"))?.failure()?;
    ensure!(said.code == 1 && said.out.matches("+memory  = 97").count() == 4, "{}", said.out);

    let mut consoles = Vec::new();
    for node in 0..4 {
        consoles.push(console(&format!("mpi-{node}"))?);
        run(&format!("/bin/xlr create /tmp/cluster/mpi-{node}.cfg"))?.success()?;
    }
    for (node, console) in consoles.iter_mut().enumerate() {
        await_text(console, "xlr-guest: ready", 300)?;
        let words = report(&console.text);
        let text = std::fs::read_to_string(format!("/tmp/cluster/mpi-{node}.cfg"))?;
        let uuid = words.get("uuid").map_or("", String::as_str);
        ensure!(text.contains(&format!("\"{uuid}\"")), "mpi-{node} is {words:?}, made from {text}");
    }
    placed(4)?;
    for node in 0..4 {
        run(&format!("/bin/xlr destroy mpi-{node}"))?.success()?;
    }
    // The template itself, all of its guests: the same ones.
    run(&format!("/bin/xlr create -p /tmp/mpi.cfg.j2 {values} --set memory=96"))?.success()?;
    placed(4)?;
    for node in 0..4 {
        run(&format!("/bin/xlr destroy mpi-{node}"))?.success()?;
    }
    std::fs::remove_dir_all("/tmp/cluster")?;
    Ok(())
}

/// Each guest is what its number makes it, and runs on its own CPU, where its memory is, too.
fn placed(nodes: usize) -> Verdict {
    let domains = json("/bin/xlr list -n --json")?;
    let vcpus = json("/bin/xlr vcpu-list --json")?;
    let (Some(domains), Some(vcpus)) = (domains.as_array(), vcpus.as_array()) else {
        fail!("no arrays: {domains} {vcpus}")
    };
    let mut uuids = BTreeSet::new();
    for node in 0..nodes {
        let name = format!("mpi-{node}");
        let Some(domain) = domains.iter().find(|domain| domain["name"] == name.as_str()) else {
            fail!("{name} is not there: {domains:?}")
        };
        uuids.insert(domain["uuid"].to_string());
        let vcpu = vcpus.iter().find(|vcpu| vcpu["name"] == name.as_str());
        let cpus = vcpu.map(|vcpu| vcpu["hard_affinity"].clone()).unwrap_or_default();
        ensure!(cpus == serde_json::json!([node]), "{name} runs on {cpus}");
        let numa = &domain["numa_nodes"];
        ensure!(*numa == serde_json::json!([node]), "{name} has memory of {numa}");
    }
    ensure!(uuids.len() == nodes, "UUIDs: {uuids:?}");
    Ok(())
}

/// Of a template's guests all are made, or none: wherever the last one fails.
fn all_or_none() -> Verdict {
    site(2)?;
    let values = "--values /tmp/site.toml --set nodes=2 --set memory=8 --set kernel=/guest/xtf/idle \
                  --set ramdisk=/guest/initramfs.gz";
    let create = format!("/bin/xlr create -p /tmp/mpi.cfg.j2 {values}");
    let none = || -> Verdict {
        let left = run("/bin/xlr list --names")?.success()?.out;
        ensure!(left.trim().is_empty(), "left: {left}");
        Ok(())
    };
    for step in [0, 5, 12] {
        run(&format!("{create} --fail-before-step {step}"))?.failure()?;
        none()?;
    }
    // One whose name is taken: the other one goes again.
    let taken = config("taken", "name = \"mpi-1\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\n")?;
    argv(&["/bin/xlr", "create", "-p", &taken])?.success()?;
    let said = run(&create)?.failure()?;
    ensure!(said.err.contains("mpi-1") && domid("mpi-0")?.is_none(), "{}", said.err);
    run("/bin/xlr destroy mpi-1")?.success()?;
    for refused in ["-c", "-F"] {
        let said = run(&format!("{create} {refused}"))?.failure()?;
        ensure!(said.err.contains("makes 2 domains"), "{}", said.err);
    }
    // What is wrong is told before anything is made, and where.
    let said = run(&format!("{create} --set cpus=2"))?.failure()?;
    ensure!(said.code == 3 && said.err.contains("/tmp/mpi.cfg.j2:19"), "{}", said.err);
    none()?;
    run(&create)?.success()?;
    placed(2)?;
    for node in 0..2 {
        run(&format!("/bin/xlr destroy mpi-{node}"))?.success()?;
    }
    none()
}

/// Nothing was left out but the scheduler, which is the pool's and no key of xl.cfg.
fn carried(said: &Said, of: &str) -> Verdict {
    let mut left = said.err.lines().filter(|line| line.contains("not carried over"));
    let scheduler = left.all(|line| line.contains("sched_params.sched "));
    ensure!(scheduler, "left of {of}'s: {}", said.err);
    Ok(())
}

/// A domain of xl's, as `xl list -l` has it, converted, and made again by xl: the same to libxl.
fn converted() -> Verdict {
    for image in ["/tmp/a.img", "/tmp/b.img"] {
        std::fs::File::create(image)?.set_len(1 << 20)?;
    }
    let text = "name = \"full\"\ntype = \"pv\"\nuuid = \"01020304-0506-0708-090a-0b0c0d0e0f10\"\n\
        kernel = \"/guest/xtf/idle\"\nramdisk = \"/guest/initramfs.gz\"\nroot = \"/dev/xvda\"\n\
        extra = \"a b=\\\"c d\\\"\"\nmemory = 16\nmaxmem = 32\nvcpus = 1\nmaxvcpus = 2\ncpus = [\"0\", \"0\"]\n\
        cpu_weight = 300\ncap = 50\nnomigrate = 1\ntsc_mode = \"native\"\non_crash = \"preserve\"\n\
        on_reboot = \"rename-restart\"\nmax_grant_frames = 40\nmax_maptrack_frames = 50\n\
        max_event_channels = 200\nmax_grant_version = 1\nrtc_timeoffset = 3600\n\
        ioports = [\"2f8-2ff\", \"2e8\"]\nirqs = [4]\ncpuid = [\"0x1:ecx=xxxxxxxxxxx0xxxxxxxxxxxxxxxxxxxx\"]\nmsr_relaxed = 1\n\
        xend_suspend_evtchn_compat = 1\n\
        disk = [\"/tmp/a.img,raw,xvda,rw\", \"/tmp/b.img,raw,xvdb,ro\"]\n";
    let path = config("full", text)?;
    let of_xl = |path: &str| -> Result<Value, Stop> {
        argv(&["/xen/bin/xl", "create", "-p", path])?.success()?;
        let found = json("/xen/bin/xl list -l full")?;
        run("/xen/bin/xl destroy full")?.success()?;
        Ok(found)
    };
    let before = of_xl(&path)?;
    std::fs::write("/tmp/full.json", before.to_string())?;
    let said = run("/bin/xlr config convert /tmp/full.json")?.success()?;
    carried(&said, "xl")?;
    let again = config("again", &said.out)?;
    let after = of_xl(&again)?;
    let config = |found: &Value| found[0]["config"].clone();
    ensure!(config(&before) == config(&after), "before {before:#}\nafter {after:#}");
    // What xlr makes of it, libxl sees as the same, too.
    argv(&["/bin/xlr", "create", "-p", &again])?.success()?;
    let ours = json("/bin/xlr list -l full")?;
    run("/bin/xlr destroy full")?.success()?;
    std::fs::write("/tmp/ours.json", ours.to_string())?;
    let said = run("/bin/xlr config convert /tmp/ours.json")?.success()?;
    carried(&said, "xlr")?;
    for file in ["/tmp/a.img", "/tmp/b.img", "/tmp/full.json", "/tmp/ours.json"] {
        ensure!(Path::new(file).exists(), "{file}");
        std::fs::remove_file(file)?;
    }
    Ok(())
}
