//! A create that is killed leaves at most one paused domain, which is recorded, and the next command
//! removes it; commands that run at once keep out of each other's way.

use crate::case::{Case, Group};
use crate::dom0::dump::{self, Dump, no_tops, without_tops};
use crate::dom0::host::{Stop, Verdict, argv, config, domid, run};
use crate::dom0::init;
use crate::dom0::pending::{pending, swept};
use crate::dom0::stopped::{step, steps, stopped};
use crate::{ensure, fail};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Instant;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("killed/some-steps", Group::Failure, || kill(Which::Some)),
    Case {
        ci: false,
        limit_seconds: 400,
        ..Case::new("killed/every-step", Group::Failure, || kill(Which::Every))
    },
    Case::new("killed/some-times", Group::Failure, || any_time(8)),
    Case { ci: false, ..Case::new("killed/any-time", Group::Failure, || any_time(24)) },
    Case::new("killed/destroy-some-times", Group::Failure, || destroy_any_time(6)),
    Case {
        ci: false,
        ..Case::new("killed/destroy-any-time", Group::Failure, || destroy_any_time(16))
    },
    Case::new("killed/others-untouched", Group::Failure, others_untouched),
    Case::new("killed/beside-a-create", Group::Failure, beside_a_create),
    Case::new("killed/let-run-half-made", Group::Failure, let_run_half_made),
    Case::new("killed/waits-say-so", Group::Failure, waits_say_so),
    Case::new("killed/before-it-settles", Group::Failure, before_it_settles),
    Case::new("killed/state-of-another-version", Group::Failure, another_version),
];

/// At which steps the kill comes.
#[derive(PartialEq)]
enum Which {
    Some,
    Every,
}

/// Those of [`Which::Some`], by name; and always those after the last step.
const SOME: [&str; 5] =
    ["check-name", "create-domain", "write-identity", "populate-memory", "introduce"];

const UUID: &str = "11111111-2222-3333-4444-555555555555";

fn guest(name: &str) -> Result<String, Stop> {
    let text = format!(
        "name = \"{name}\"\nuuid = \"{UUID}\"\ntype = \"pv\"\nkernel = \"/guest/vmlinuz\"\n\
         ramdisk = \"/guest/initramfs.gz\"\nmemory = 64\nvcpus = 2\ncpus = \"0\"\n"
    );
    config(name, &text)
}

fn kill(which: Which) -> Verdict {
    let path = guest("killed")?;
    let mut steps = steps(&path)?;
    steps.extend(["unkept", "kept", "running"].map(String::from));
    let before = dump::take()?;
    for (index, step) in steps.iter().enumerate() {
        let last = index + 3 >= steps.len();
        if which == Which::Some && !last && !SOME.contains(&step.as_str()) {
            continue;
        }
        let number = index.to_string();
        without_tops()?;
        stopped(&["create", "--stop-before-step", &number, &path])?.kill()?;
        let domains = run("/xen/bin/xl list")?.success()?.out;
        let left: Vec<&str> = domains.lines().skip(2).collect();
        ensure!(left.len() <= 1, "before {step}: {domains}");
        let records = pending()?;
        if let Some(line) = left.first() {
            ensure!(records == 1, "before {step}: {records} records of {line}");
            let paused = line.split_whitespace().nth(4).is_some_and(|state| state.contains('p'));
            ensure!(paused || step == "running", "before {step} it runs: {line}");
        }
        run("/bin/xlr list --names")?.success()?;
        ensure!(pending()? == records, "before {step}: a completion has removed a record");
        let said = swept()?;
        if step == "running" {
            // Its create was complete but for the record.
            ensure!(domid("killed")?.is_some(), "a running domain was removed: {}", said.err);
            run("/bin/xlr destroy killed")?.success()?;
        } else if !left.is_empty() {
            ensure!(said.err.contains("(killed)"), "before {step} nothing was said: {}", said.err);
        }
        dump::unchanged(&before, &format!("a kill before {step}"))?;
        if step != "running" {
            no_tops(&format!("a kill before {step}"))?;
        }
    }
    Ok(())
}

/// Kills at instants spread over the time that a create takes.
fn any_time(kills: u32) -> Verdict {
    let path = guest("killed")?;
    let before = dump::take()?;
    // Once for the kernel's decoding, which the others find in the cache.
    run(&format!("/bin/xlr create -p {path}"))?.success()?;
    run("/bin/xlr destroy killed")?.success()?;
    let begun = Instant::now();
    run(&format!("/bin/xlr create -p {path}"))?.success()?;
    let whole = begun.elapsed();
    run("/bin/xlr destroy killed")?.success()?;
    let mut half_made = 0;
    for kill in 0..kills {
        let mut command = init::command("/bin/xlr");
        command.args(["create", "-p", &path]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        // An instant is what is wanted here, not an event.
        std::thread::sleep(whole * (2 * kill + 1) / (2 * kills));
        child.kill()?;
        let ended = child.wait()?.code();
        let domains = run("/xen/bin/xl list")?.success()?.out.lines().count() - 2;
        ensure!(domains <= 1, "{domains} domains after kill {kill}");
        if ended == Some(0) {
            run("/bin/xlr destroy killed")?.success()?;
        } else {
            // Its record goes last: without one the create was complete, and only its process was not.
            let whole = domains == 1 && pending()? == 0;
            half_made += usize::from(domains == 1 && !whole);
            swept()?;
            if whole {
                run("/bin/xlr destroy killed")?.success()?;
            }
        }
        dump::unchanged(&before, &format!("kill {kill} of {kills} within {whole:?}"))?;
    }
    ensure!(half_made > 0, "no kill came while a domain was half made");
    Ok(())
}

/// Kills at instants spread over the time that a destroy takes: the domain is whole or goes.
fn destroy_any_time(kills: u32) -> Verdict {
    let path = guest("killed")?;
    let before = dump::take()?;
    run(&format!("/bin/xlr create -p {path}"))?.success()?;
    let begun = Instant::now();
    run("/bin/xlr destroy killed")?.success()?;
    let whole = begun.elapsed();
    for kill in 0..kills {
        run(&format!("/bin/xlr create -p {path}"))?.success()?;
        let mut command = init::command("/bin/xlr");
        command.args(["destroy", "killed"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        // An instant is what is wanted here, not an event.
        std::thread::sleep(whole * (2 * kill + 1) / (2 * kills));
        child.kill()?;
        child.wait()?;
        swept()?;
        let domains = run("/xen/bin/xl list")?.success()?.out;
        if domains.lines().count() > 2 {
            ensure!(domid("killed")?.is_some(), "kill {kill} left it half removed: {domains}");
            run("/bin/xlr destroy killed")?.success()?;
        }
        dump::unchanged(&before, &format!("kill {kill} of {kills} within {whole:?}"))?;
    }
    Ok(())
}

/// What a killed create has left is removed; what is only like it stays: a domain that runs, and
/// one of another creation with the same number and UUID.
fn others_untouched() -> Verdict {
    let path = guest("killed")?;
    let before = dump::take()?;
    let made = stopped(&["create", "--stop-before-step", "3", &path])?;
    // While the create is at work nobody touches it.
    swept()?;
    let id = run("/bin/xlr domid killed")?.success()?.out.trim().to_owned();
    made.kill()?;
    let marker = format!("/libxl/{id}/xlr");
    argv(&["/usr/bin/xenstore-write", &marker, "0.1.0 00000000000000ff"])?.success()?;
    let said = swept()?;
    ensure!(run("/bin/xlr domid killed")?.code == 0, "a domain of another creation was removed");
    ensure!(
        said.err.contains(&format!("domain {id} with UUID {UUID} is left alone")),
        "{}",
        said.err
    );
    ensure!(pending()? == 1, "{} records of a domain that is there", pending()?);
    run(&format!("/bin/xlr destroy {id}"))?.success()?;
    swept()?;
    ensure!(pending()? == 0, "a record of a domain that is gone");
    unchanged(&before, "a kill, and a destroy by hand")?;

    // Whoever waits for a domain's end leaves another one of the same number and UUID alone.
    let idle = config(
        "killed",
        &format!(
            "name = \"killed\"\nuuid = \"{UUID}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\n\
             memory = 8\nextra = \"on=ignore\"\n"
        ),
    )?;
    run(&format!("/bin/xlr create {idle}"))?.success()?;
    let id = run("/bin/xlr domid killed")?.success()?.out.trim().to_owned();
    let mut waiting = init::command("/bin/xlr");
    let mut waiting = waiting.args(["shutdown", "-w", "killed"]).stderr(Stdio::piped()).spawn()?;
    let Some(pipe) = waiting.stderr.take() else { fail!("no pipe to xlr") };
    let mut lines = BufReader::new(pipe).lines();
    for line in lines.by_ref() {
        if line?.contains("Waiting for 1") {
            break;
        }
    }
    let marker = format!("/libxl/{id}/xlr");
    argv(&["/usr/bin/xenstore-write", &marker, "0.1.0 00000000000000ff"])?.success()?;
    let xen = libxc_safe::Xen::open().map_err(|error| Stop::Failed(error.to_string()))?;
    let number = libxc_safe::Domid(id.parse().unwrap_or_default());
    xen.shutdown(number, libxc_safe::ShutdownReason::Poweroff)
        .map_err(|error| Stop::Failed(error.to_string()))?;
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let ended = waiting.wait()?;
    eprintln!("shutdown -w ended with {ended}: {rest:?}");
    ensure!(rest.iter().any(|line| line.contains("reason code 0")), "it said {rest:?}");
    ensure!(domid("killed")?.is_some(), "shutdown -w destroyed a domain of another creation");
    run(&format!("/bin/xlr destroy {id}"))?.success()?;
    unchanged(&before, "a wait for another's end")
}

/// What is left of a create is not taken for the domain of one that is at work, of the same UUID and
/// without a marker as yet; and a record that cannot be read holds up nobody.
fn beside_a_create() -> Verdict {
    let path = guest("killed")?;
    let before = dump::take()?;
    let early = step(&path, "write-identity")?;
    let made = stopped(&["create", "-p", "--stop-before-step", &early, &path])?;
    // As a create leaves it that is killed with its domain just made: no number is known.
    let Some(entry) = std::fs::read_dir("/run/xlr/pending")?.next() else { fail!("no record") };
    let text = std::fs::read_to_string(entry?.path())?;
    let mut record: serde_json::Value =
        serde_json::from_str(text.lines().last().unwrap_or_default())?;
    record["generation"] = 255.into();
    record["domid"] = serde_json::Value::Null;
    std::fs::write(format!("/run/xlr/pending/{UUID}.00000000000000ff.0"), format!("{record}\n"))?;
    let damaged = format!("/run/xlr/pending/{UUID}.00000000000000fe.0");
    std::fs::write(&damaged, "{")?;
    let said = swept()?;
    ensure!(said.err.contains(&format!("{damaged} is damaged")), "{}", said.err);
    ensure!(!said.err.contains("Removed"), "beside a create: {}", said.err);
    ensure!(pending()? == 3, "{} records", pending()?);
    let said = made.resume()?;
    ensure!(said.code == 0, "the create: {}", said.err);
    ensure!(domid("killed")?.is_some(), "its domain was taken for what was left");
    // Now it has its marker: it is another's, and the record speaks of nothing.
    let said = swept()?;
    ensure!(!said.err.contains("Removed"), "beside a whole domain: {}", said.err);
    ensure!(pending()? == 1, "{} records", pending()?);

    // Killed: its own record is finished, although one that comes before it cannot be read.
    run("/bin/xlr destroy killed")?.success()?;
    let late = step(&path, "populate-memory")?;
    stopped(&["create", "--stop-before-step", &late, &path])?.kill()?;
    let said = swept()?;
    ensure!(said.err.contains("Removed what was left"), "{}", said.err);
    std::fs::remove_file(damaged)?;
    unchanged(&before, "a sweep beside a create, and a damaged record")
}

/// Whoever lets a half-made domain run does not make it whole.
fn let_run_half_made() -> Verdict {
    let path = guest("killed")?;
    let before = dump::take()?;
    let late = step(&path, "populate-memory")?;
    let made = stopped(&["create", "--stop-before-step", &late, &path])?;
    run("/xen/bin/xl unpause killed")?.success()?;
    made.kill()?;
    let said = swept()?;
    ensure!(said.err.contains("(killed)"), "nothing was said: {}", said.err);
    unchanged(&before, "a half-made domain that was let run")?;

    // A domain's configuration for its next start is not that of a domain before it.
    run(&format!("/bin/xlr create -p {path}"))?.success()?;
    let id = domid("killed")?.unwrap_or_default();
    run("/bin/xlr destroy killed")?.success()?;
    let text = format!("/var/lib/xen/userdata-d.{}.{UUID}.xl", id + 1);
    std::fs::write(&text, "from an earlier start of the host")?;
    run(&format!("/bin/xlr create -p {path}"))?.success()?;
    let next = domid("killed")?.unwrap_or_default();
    ensure!(next == id + 1, "domid {next} after {id}");
    ensure!(!std::path::Path::new(&text).exists(), "{text} is still there");
    run("/bin/xlr destroy killed")?.success()?;
    unchanged(&before, "a text of an earlier domain")
}

fn unchanged(before: &Dump, after: &str) -> Verdict {
    dump::unchanged(before, after)
}

/// A second command for the same name or domain waits, and says so.
fn waits_say_so() -> Verdict {
    let path = guest("busy")?;
    let before = dump::take()?;
    let first = stopped(&["create", "-p", "--stop-before-step", "1", &path])?;
    let other = "uuid=\"99999999-2222-3333-4444-555555555555\"";
    let mut second = init::command("/bin/xlr");
    let mut second = second.args(["create", "-p", &path, other]).stderr(Stdio::piped()).spawn()?;
    let Some(pipe) = second.stderr.take() else { fail!("no pipe to xlr") };
    let mut lines = BufReader::new(pipe).lines();
    let said = lines.next().transpose()?.unwrap_or_default();
    ensure!(said.contains("Waiting for the name \"busy\", which process"), "it says {said}");
    ensure!(second.try_wait()?.is_none(), "it waits for nothing");
    let said = first.resume()?;
    ensure!(said.code == 0, "the first: {}", said.err);
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let code = second.wait()?.code();
    ensure!(code == Some(3), "the second ended with {code:?}: {rest:?}");
    ensure!(rest.iter().any(|line| line.contains("called \"busy\" already")), "{rest:?}");
    run("/bin/xlr destroy busy")?.success()?;
    unchanged(&before, "two creates of one name")
}

/// Until a create has settled it holds the lock on the UUID, although the domain stands: who destroys
/// it or lets it run waits for that, and a kill ends it.
fn before_it_settles() -> Verdict {
    let path = guest("mapped")?;
    let before = dump::take()?;
    let end = (steps(&path)?.len() + 3).to_string();
    for verb in ["unpause", "destroy"] {
        let made = stopped(&["create", "-p", "--stop-before-step", &end, &path])?;
        ensure!(pending()? == 0 && domid("mapped")?.is_some(), "it does not stand");
        let mut command = init::command("/bin/xlr");
        let mut other = command.args([verb, "mapped"]).stderr(Stdio::piped()).spawn()?;
        let Some(pipe) = other.stderr.take() else { fail!("no pipe to xlr") };
        let mut lines = BufReader::new(pipe).lines();
        let said = lines.next().transpose()?.unwrap_or_default();
        ensure!(said.contains(&format!("Waiting for the UUID {UUID}")), "{verb} says {said}");
        ensure!(other.try_wait()?.is_none(), "{verb} waits for nothing");
        made.resume()?.success()?;
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        let code = other.wait()?.code();
        ensure!(code == Some(0), "{verb} ended with {code:?}: {rest:?}");
        if verb == "unpause" {
            run("/bin/xlr destroy mapped")?.success()?;
        }
        unchanged(&before, &format!("{verb} before it settles"))?;
    }
    stopped(&["create", "-p", "--stop-before-step", &end, &path])?.kill()?;
    ensure!(domid("mapped")?.is_some(), "the kill ended the domain");
    run("/bin/xlr destroy mapped")?.success()?;
    unchanged(&before, "a kill before it settles")
}

/// State that a newer xlr wrote, or that cannot be written, is refused before anything is done.
fn another_version() -> Verdict {
    let path = guest("refused")?;
    run(&format!("/bin/xlr create -p {path}"))?.success()?;
    run("/bin/xlr destroy refused")?.success()?;
    let before = dump::take()?;
    for root in ["/run/xlr", "/var/lib/xlr"] {
        let version = format!("{root}/version");
        std::fs::write(&version, "2\n")?;
        let said = run(&format!("/bin/xlr create -p {path}"))?.failure()?;
        std::fs::write(&version, "1\n")?;
        ensure!(said.code == 7, "{root}: exit code {}", said.code);
        ensure!(said.err.contains(&format!("{root} holds state of version 2")), "{}", said.err);
        unchanged(&before, "state of version 2")?;
    }
    // A directory that cannot be made: something else has its name.
    std::fs::rename("/var/lib/xlr", "/var/lib/xlr.away")?;
    std::fs::write("/var/lib/xlr", "")?;
    let said = run(&format!("/bin/xlr create -p {path}"))?.failure()?;
    std::fs::remove_file("/var/lib/xlr")?;
    std::fs::rename("/var/lib/xlr.away", "/var/lib/xlr")?;
    ensure!(said.code == 7, "exit code {}", said.code);
    ensure!(said.err.contains("/var/lib/xlr"), "{}", said.err);
    unchanged(&before, "a directory that cannot be made")
}
