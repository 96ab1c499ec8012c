//! The commands of xlr beside create, held against the C tools where those have an answer.

use crate::case::{Case, Group};
use crate::dom0::host::{Verdict, argv, await_text, config, console, domid, run};
use crate::ensure;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("commands/list-names-state", Group::Toolstack, list_names_state),
    Case::new("commands/shutdown", Group::Toolstack, shutdown),
    Case::new("commands/host", Group::Toolstack, host),
    Case::new("commands/refusals", Group::Toolstack, refusals),
];

/// A microkernel that waits until it is told to end.
fn idle(name: &str) -> Result<String, crate::dom0::host::Stop> {
    config(
        name,
        &format!(
            "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\nvcpus = 1\n"
        ),
    )
}

/// The state letters of a domain in a listing.
fn state(listing: &str, name: &str) -> Option<String> {
    let line = listing.lines().find(|line| line.split_whitespace().next() == Some(name))?;
    line.split_whitespace().nth(4).map(String::from)
}

fn list_names_state() -> Verdict {
    let path = idle("listed")?;
    run(&format!("/bin/xlr create -p {path}"))?.success()?;
    let id = domid("listed")?.map_or(String::new(), |id| id.to_string());
    let said = run("/bin/xlr domid listed")?.success()?;
    ensure!(said.out.trim() == id, "domid {} and not {id}", said.out);
    let said = argv(&["/bin/xlr", "domname", &id])?.success()?;
    ensure!(said.out.trim() == "listed", "domname {}", said.out);

    let ours = run("/bin/xlr list")?.success()?.out;
    let theirs = run("/xen/bin/xl list")?.success()?.out;
    ensure!(columns(&ours) == columns(&theirs), "list differs:\n{ours}{theirs}");
    let json = run("/bin/xlr list --json")?.success()?;
    let json: serde_json::Value = serde_json::from_str(&json.out)?;
    let names: Vec<&str> = json
        .as_array()
        .map(|all| all.iter().filter_map(|domain| domain["name"].as_str()).collect())
        .unwrap_or_default();
    ensure!(names == ["Domain-0", "listed"], "names in JSON: {names:?}");

    ensure!(state(&ours, "listed").is_some_and(|s| s.contains('p')), "not paused: {ours}");
    run("/bin/xlr unpause listed")?.success()?;
    let now = run("/xen/bin/xl list")?.success()?.out;
    ensure!(state(&now, "listed").is_some_and(|s| !s.contains('p')), "still paused: {now}");
    run("/bin/xlr pause listed")?.success()?;
    let now = run("/xen/bin/xl list")?.success()?.out;
    ensure!(state(&now, "listed").is_some_and(|s| s.contains('p')), "not paused again: {now}");
    run("/bin/xlr destroy listed")?.success()?;
    ensure!(domid("listed")?.is_none(), "still there after destroy");
    Ok(())
}

/// A listing without the times, which go on.
fn columns(listing: &str) -> Vec<Vec<String>> {
    let words = |line: &str| -> Vec<String> {
        let mut words: Vec<String> = line.split_whitespace().map(String::from).collect();
        words.pop();
        words
    };
    let mut lines: Vec<Vec<String>> = listing.lines().map(words).collect();
    // Whether dom0 runs or blocks at the moment of the question is chance.
    for line in lines.iter_mut().filter(|line| line.first().is_some_and(|n| n == "Domain-0")) {
        line.pop();
    }
    lines
}

fn shutdown() -> Verdict {
    let path = idle("ending")?;
    let mut log = console("ending")?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    await_text(&mut log, "\n", 20)?;
    run("/bin/xlr shutdown -w ending")?.success()?;
    ensure!(domid("ending")?.is_none(), "still there after shutdown -w");
    Ok(())
}

/// Facts about the host are the ones that xl tells.
fn host() -> Verdict {
    let theirs = run("/xen/bin/xl info")?.success()?.out;
    let ours = run("/bin/xlr info")?.success()?.out;
    let fact = |text: &str, key: &str| {
        let line =
            text.lines().find(|line| line.split(':').next().is_some_and(|k| k.trim() == key));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_string())
    };
    for key in ["xen_version", "nr_cpus", "total_memory", "free_memory", "virt_caps", "xen_caps"] {
        let (a, b) = (fact(&ours, key), fact(&theirs, key));
        ensure!(a.is_some() && a == b, "{key}: {a:?} and not {b:?}");
    }
    let json = run("/bin/xlr info --json")?.success()?;
    let _: serde_json::Value = serde_json::from_str(&json.out)?;
    let ours = run("/bin/xlr dmesg")?.success()?.out;
    let theirs = run("/xen/bin/xl dmesg")?.success()?.out;
    ensure!(ours == theirs, "dmesg differs: {} and {} bytes", ours.len(), theirs.len());
    Ok(())
}

/// What cannot be done is refused with a word, and does nothing.
fn refusals() -> Verdict {
    let path = idle("twice")?;
    run(&format!("/bin/xlr create -p {path}"))?.success()?;
    for (line, word) in [
        (format!("/bin/xlr create -p {path}"), "twice"),
        ("/bin/xlr destroy nobody".into(), "nobody"),
        ("/bin/xlr pause nobody".into(), "nobody"),
        ("/bin/xlr destroy 0".into(), "0"),
        ("/bin/xlr domid nobody".into(), "nobody"),
    ] {
        let said = run(&line)?.failure()?;
        ensure!(said.err.contains(word), "{line} does not name {word}: {}", said.err);
    }
    run("/bin/xlr destroy twice")?.success()?;
    Ok(())
}
