//! A create that fails leaves nothing: at every step of the plan, and when it is interrupted.

use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv, await_node, config, domid, run};
use crate::dom0::init;
use crate::dom0::snapshot::{self, Snapshot};
use crate::{ensure, fail, leftovers};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("undo/every-step", Group::Failure, every_step),
    // In CI bad-input/files has the same files, with more looked at.
    Case { ci: false, ..Case::new("undo/before-anything", Group::Failure, before_anything) },
    Case::new("undo/console-late", Group::Failure, console_late),
    Case::new("undo/taken", Group::Failure, taken),
    Case::new("undo/two-at-once", Group::Failure, two_at_once),
    Case::new("undo/renamed-meanwhile", Group::Failure, renamed_meanwhile),
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

/// A create that fails right after its introduction, while xenconsoled is about to answer it: the
/// answer is a node, and must not come after the removal. Many rounds, since it is a race.
fn console_late() -> Verdict {
    const ROUNDS: usize = 25;
    let path = config("undone", GUEST)?;
    let plan = run(&format!("/bin/xlr create --dry-run=json {path}"))?.success()?;
    let plan: serde_json::Value = serde_json::from_str(&plan.out)?;
    let end = plan["steps"].as_array().map_or(0, Vec::len).to_string();
    let before = snapshot::take()?;
    for _ in 0..ROUNDS {
        argv(&["/bin/xlr", "create", "--fail-before-step", &end, &path])?.failure()?;
    }
    unchanged(&before, "creates that failed right after their introduction")
}

/// A name or a UUID that another domain has is refused, and that domain is not touched.
fn taken() -> Verdict {
    let uuid = "uuid = \"11111111-2222-3333-4444-555555555555\"\n";
    let path = config("undone", &format!("{GUEST}{uuid}"))?;
    run(&format!("/bin/xlr create -p {path}"))?.success()?;
    let id = run("/bin/xlr domid undone")?.success()?.out.trim().to_owned();
    await_node(&format!("/local/domain/{id}/console/tty"), 20)?;
    let before = snapshot::take()?;
    for assignment in ["name=\"other\"", "uuid=\"99999999-2222-3333-4444-555555555555\""] {
        let said = argv(&["/bin/xlr", "create", "-p", &path, assignment])?.failure()?;
        ensure!(said.code == 3, "{assignment}: exit code {}", said.code);
        ensure!(said.err.contains(&format!("domain {id}")), "{assignment}: {}", said.err);
        unchanged(&before, &format!("a refused create with {assignment}"))?;
    }
    run("/bin/xlr destroy undone")?.success()?;
    Ok(())
}

/// Of several creates of one name that run at once exactly one succeeds, the others say why.
fn two_at_once() -> Verdict {
    const ROUNDS: usize = 5;
    let path = config("undone", GUEST)?;
    let before = snapshot::take()?;
    for round in 0..ROUNDS {
        let creates: Vec<_> = (0..3)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || argv(&["/bin/xlr", "create", "-p", &path]))
            })
            .collect();
        let mut succeeded = 0;
        for create in creates {
            let said = create.join().map_err(|_| Stop::Failed("a thread panicked".into()))??;
            match said.code {
                0 => succeeded += 1,
                3 => ensure!(said.err.contains("called \"undone\""), "{}", said.err),
                _ => return Err(Stop::Failed(format!("exit code {}: {}", said.code, said.err))),
            }
        }
        ensure!(succeeded == 1, "round {round}: {succeeded} of 3 creates succeeded");
        run("/bin/xlr destroy undone")?.success()?;
        unchanged(&before, &format!("round {round}"))?;
    }
    Ok(())
}

/// Another domain is given the name after a create has found it free, and before the create has
/// written it. xl knows none of our locks: the create fails, and is undone. Our own rename waits for
/// the create, and is refused.
fn renamed_meanwhile() -> Verdict {
    let path = config("undone", GUEST)?;
    let other = config("other", &GUEST.replace("undone", "other"))?;
    run(&format!("/bin/xlr create -p {other}"))?.success()?;
    let Some(id) = domid("other")? else { fail!("no domain was made") };
    await_node(&format!("/local/domain/{id}/console/tty"), 20)?;
    let before = snapshot::take()?;

    let mut create = Held::start(&path)?;
    argv(&["/xen/bin/xl", "rename", "other", "undone"])?.success()?;
    let (code, said) = create.finish()?;
    ensure!(code == Some(3), "after xl's rename the create ends with {code:?}: {said}");
    ensure!(said.contains(&format!("domain {id} is called \"undone\"")), "{said}");
    argv(&["/xen/bin/xl", "rename", "undone", "other"])?.success()?;
    unchanged(&before, "a create whose name xl gave away meanwhile")?;

    let mut create = Held::start(&path)?;
    let mut rename = init::command("/bin/xlr");
    rename.args(["rename", "other", "undone"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let rename = rename.spawn()?;
    let (code, said) = create.finish()?;
    ensure!(code == Some(0), "beside our rename the create ends with {code:?}: {said}");
    let rename = rename.wait_with_output()?;
    let said = String::from_utf8_lossy(&rename.stderr);
    ensure!(rename.status.code() == Some(1) && said.contains("belongs to"), "rename: {said}");
    argv(&["/bin/xlr", "destroy", "undone"])?.success()?;
    unchanged(&before, "a create, a rename that was refused, and destroy")?;
    argv(&["/bin/xlr", "destroy", "other"])?.success()?;
    Ok(())
}

/// A create that has made its domain and has written none of its nodes.
struct Held {
    log: Slow,
    child: Child,
}

impl Held {
    fn start(path: &str) -> Result<Held, Stop> {
        let made = format!("begin step={} ", step("create-domain", path)?);
        let mut log = Slow::new()?;
        let mut command = init::command("/bin/xlr");
        command.args(["-vvv", "create", "-p", path]).stdout(Stdio::null()).stderr(log.writer()?);
        let child = command.spawn()?;
        drop(command);
        // That the domain is made is in the pipe then, that its nodes are begun waits.
        log.until(&made)?;
        Ok(Held { log, child })
    }

    /// Lets it go on; how it ended, and what it said.
    fn finish(&mut self) -> Result<(Option<i32>, String), Stop> {
        let said = self.log.rest()?;
        Ok((self.child.wait()?.code(), said))
    }
}

/// The place of a step in the plan.
fn step(name: &str, path: &str) -> Result<usize, Stop> {
    let plan = argv(&["/bin/xlr", "create", "--dry-run=json", path])?.success()?;
    let plan: serde_json::Value = serde_json::from_str(&plan.out)?;
    let steps = plan["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = steps.iter().position(|step| step["step"] == name);
    found.ok_or_else(|| Stop::Failed(format!("no step {name} in {plan}")))
}

/// A pipe that holds one line: who writes the next one waits until this one is read.
struct Slow {
    from: OwnedFd,
    to: Option<OwnedFd>,
}

impl Slow {
    fn new() -> Result<Slow, Stop> {
        let (from, to) =
            pipe_with(PipeFlags::DIRECT | PipeFlags::CLOEXEC).map_err(std::io::Error::from)?;
        fcntl_setpipe_size(&to, 4096).map_err(std::io::Error::from)?;
        Ok(Slow { from, to: Some(to) })
    }

    /// The end for the writer; there is one only, so that its end is the end of the lines.
    fn writer(&mut self) -> Result<OwnedFd, Stop> {
        self.to.take().ok_or_else(|| Stop::Failed("the writer's end is taken".into()))
    }

    /// What was written at once; empty at the end.
    fn read(&mut self) -> Result<String, Stop> {
        let mut bytes = [0; 4096];
        let count = rustix::io::read(&self.from, &mut bytes).map_err(std::io::Error::from)?;
        Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
    }

    /// Reads the line with the mark, and none after it.
    fn until(&mut self, mark: &str) -> Verdict {
        loop {
            let line = self.read()?;
            eprint!("{line}");
            ensure!(!line.is_empty(), "no line with «{mark}»");
            if line.contains(mark) {
                return Ok(());
            }
        }
    }

    fn rest(&mut self) -> Result<String, Stop> {
        let mut all = String::new();
        loop {
            let line = self.read()?;
            if line.is_empty() {
                eprint!("{all}");
                return Ok(all);
            }
            all += &line;
        }
    }
}

fn unchanged(before: &Snapshot, after: &str) -> Verdict {
    let found = leftovers::compare(before, &snapshot::take()?);
    ensure!(found.is_empty(), "{after} left something: {}", found.join("; "));
    Ok(())
}
