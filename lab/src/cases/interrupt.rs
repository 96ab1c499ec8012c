//! A create that is interrupted: either nothing of it is left, or the domain is there.

use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, config, domid, run};
use crate::dom0::init;
use crate::dom0::snapshot::{self, Snapshot};
use crate::{ensure, fail, leftovers};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("interrupt/some-steps", Group::Failure, || interrupt(Which::Some)),
    Case {
        ci: false,
        limit_seconds: 300,
        ..Case::new("interrupt/every-step", Group::Failure, || interrupt(Which::Every))
    },
];

/// At which steps a signal comes.
#[derive(PartialEq)]
enum Which {
    Some,
    Every,
}

/// Those of [`Which::Some`]: a domain without nodes, one with its first, one that has memory, one
/// that is known to xenstored and only waits to run.
const SOME: [&str; 4] = ["max-vcpus", "claim-memory", "load-kernel", "introduce"];

const GUEST: &str = "name = \"cut\"\ntype = \"pv\"\nkernel = \"/guest/vmlinuz\"\n\
     ramdisk = \"/guest/initramfs.gz\"\nmemory = 256\nvcpus = 2\ncpus = \"0\"\n";

/// The signals that end a program, as scripts see them end it.
const SIGNALS: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

fn interrupt(which: Which) -> Verdict {
    let path = config("cut", GUEST)?;
    let plan = run(&format!("/bin/xlr create --dry-run=json {path}"))?.success()?;
    let plan: serde_json::Value = serde_json::from_str(&plan.out)?;
    let Some(steps) = plan["steps"].as_array() else { fail!("the plan has no steps: {plan}") };
    let before = snapshot::take()?;
    let mut undone = BTreeSet::new();
    let mut tried = 0;
    for (index, step) in steps.iter().enumerate() {
        let name = step["step"].as_str().unwrap_or_default();
        if which == Which::Some && !SOME.contains(&name) {
            continue;
        }
        let signal = SIGNALS[tried % SIGNALS.len()];
        tried += 1;
        undone.extend(one(&path, &format!("begin step={index} "), signal, &before)?);
    }
    ensure!(tried >= SOME.len(), "only {tried} of the steps are in the plan: {plan}");
    // Between the said step and the first instruction of the guest.
    one(&path, "domain created", Signal::INT, &before)?;
    // A signal that always comes too late would prove nothing.
    ensure!(undone.len() > tried / 2, "of {tried} creates only {undone:?} were interrupted");
    Ok(())
}

/// Sends the signal when the line with `mark` appears. Gives the step that was interrupted.
fn one(path: &str, mark: &str, signal: Signal, before: &Snapshot) -> Result<Option<String>, Stop> {
    let mut command = init::command("/bin/xlr");
    command.args(["-vvv", "create", path]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let Some(pipe) = child.stderr.take() else { fail!("no pipe to xlr") };
    let (mut sent, mut said) = (false, String::new());
    for line in BufReader::new(pipe).lines() {
        let line = line?;
        if !sent && line.contains(mark) {
            kill_process(Pid::from_child(&child), signal).map_err(std::io::Error::from)?;
            sent = true;
        }
        // Without those of the log: what is said of the end.
        if line.starts_with("xlr: ") {
            said.push_str(&line);
        }
    }
    let status = child.wait()?;
    eprintln!("{signal:?} at «{mark}»: {status}: {said}");
    ensure!(sent, "xlr never said «{mark}»; it said {said}");
    let there = domid("cut")?;
    match status.code() {
        Some(130) => {
            ensure!(said.contains("interrupted"), "{mark}: it said {said}");
            unchanged(before, &format!("{signal:?} at «{mark}»"))?;
            let step = said.split("step ").nth(1).and_then(|text| text.split(' ').next());
            Ok(step.map(String::from))
        }
        // Without a code: the signal came when the domain ran already, and ended xlr alone.
        Some(0) | None => {
            ensure!(there.is_some(), "{mark}: {status}, and no domain");
            run("/bin/xlr destroy cut")?.success()?;
            unchanged(before, &format!("create in spite of {signal:?} at «{mark}», and destroy"))?;
            Ok(None)
        }
        _ => fail!("{signal:?} at «{mark}»: {status}, domain {there:?}: {said}"),
    }
}

fn unchanged(before: &Snapshot, after: &str) -> Verdict {
    let found = leftovers::compare(before, &snapshot::take()?);
    ensure!(found.is_empty(), "{after} left something: {}", found.join("; "));
    Ok(())
}
