//! A create that fails leaves nothing: at every step of the plan, and when it is interrupted.

use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv, config, run};
use crate::dom0::snapshot::{self, Snapshot};
use crate::{ensure, leftovers};

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("undo/every-step", Group::Create, every_step),
    Case::new("undo/before-anything", Group::Create, before_anything),
];

const GUEST: &str = "name = \"undone\"\ntype = \"pv\"\nkernel = \"/guest/vmlinuz\"\n\
     ramdisk = \"/guest/initramfs.gz\"\nmemory = 64\nvcpus = 2\ncpus = \"0\"\n";

/// Fails before each step and after the last one: the error names the step, dom0 is as before.
fn every_step() -> Verdict {
    let path = config("undone", GUEST)?;
    let plan = run(&format!("/bin/xlr create --dry-run=json {path}"))?.success()?;
    let plan: serde_json::Value = serde_json::from_str(&plan.out)?;
    let Some(steps) = plan["steps"].as_array() else {
        return Err(Stop::Failed(format!("the plan has no steps: {plan}")));
    };
    ensure!(steps.len() > 10, "a plan of {} steps cannot build a domain", steps.len());
    let before = snapshot::take()?;
    for index in 0..=steps.len() {
        let number = index.to_string();
        let said =
            argv(&["/bin/xlr", "create", "--fail-before-step", &number, &path])?.failure()?;
        ensure!(said.code == 1, "step {index}: exit code {}", said.code);
        ensure!(said.err.contains("undone"), "step {index}: no name in {}", said.err);
        unchanged(&before, &format!("a failure before step {index}"))?;
    }
    // What fails at every step on request succeeds without it.
    argv(&["/bin/xlr", "create", "-p", &path])?.success()?;
    run("/bin/xlr destroy undone")?.success()?;
    unchanged(&before, "create and destroy")
}

/// What is wrong with the files or the name is said before a domain exists.
fn before_anything() -> Verdict {
    let before = snapshot::take()?;
    std::fs::write("/tmp/truncated", &std::fs::read("/guest/stock")?[..100_000])?;
    std::fs::write("/tmp/text", "a text, and not a kernel, although it is a file\n")?;
    let checks: [(&str, &str, &str); 6] = [
        ("kernel = \"/nowhere\"", "/nowhere", "missing kernel"),
        ("kernel = \"/tmp/truncated\"", "/tmp/truncated", "truncated kernel"),
        ("kernel = \"/tmp/text\"", "/tmp/text", "no kernel"),
        ("ramdisk = \"/nowhere\"", "/nowhere", "missing ramdisk"),
        ("memory = 8", "8", "too little memory"),
        ("memory = 100000", "memory", "memory beyond what is free"),
    ];
    for (line, names, what) in checks {
        let path = config("refused", &format!("{GUEST}{line}\n"))?;
        let said = run(&format!("/bin/xlr create {path}"))?.failure()?;
        ensure!(said.err.contains(names), "{what}: {names} is not named in {}", said.err);
        unchanged(&before, what)?;
    }
    std::fs::remove_file("/tmp/truncated")?;
    std::fs::remove_file("/tmp/text")?;
    Ok(())
}

fn unchanged(before: &Snapshot, after: &str) -> Verdict {
    let found = leftovers::compare(before, &snapshot::take()?);
    ensure!(found.is_empty(), "{after} left something: {}", found.join("; "));
    Ok(())
}
