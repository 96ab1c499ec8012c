//! `--json` on listings and `--dry-run`: every answer parses, agrees with xl's, and changes
//! nothing.

use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv, config, domid, run};
use crate::dom0::snapshot;
use crate::{ensure, fail, leftovers};
use serde_json::Value;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("json/list", Group::Toolstack, list),
    Case::new("json/info", Group::Toolstack, info),
    Case::new("json/shapes", Group::Toolstack, shapes),
    Case::new("json/dry-run", Group::Toolstack, dry_run),
];

fn guest(name: &str, memory_mib: u32, vcpus: u32) -> Result<String, Stop> {
    config(
        name,
        &format!(
            "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\n\
             memory = {memory_mib}\nvcpus = {vcpus}\n"
        ),
    )
}

fn json(line: &str) -> Result<Value, Stop> {
    let said = run(line)?.success()?;
    ensure!(said.err.is_empty(), "{line} says on standard error: {}", said.err);
    serde_json::from_str(&said.out).map_err(|error| format!("{line}: {error}").into())
}

/// Domains as `xl list -v` prints them: name, domid, MiB, vcpus, state, UUID.
fn rows_of_xl() -> Result<Vec<[String; 6]>, Stop> {
    let said = run("/xen/bin/xl list -v")?.success()?;
    let mut rows = Vec::new();
    for line in said.out.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, domid, mib, vcpus, state, _time, uuid, ..] = words[..] else {
            fail!("xl list -v prints {line:?}");
        };
        rows.push([name, domid, mib, vcpus, state, uuid].map(String::from));
    }
    Ok(rows)
}

/// A domain of our JSON in the same form.
fn row(domain: &Value) -> [String; 6] {
    let text = |key: &str| domain[key].as_str().unwrap_or("(null)").to_owned();
    let number = |key: &str| domain[key].as_u64().map_or(String::from("none"), |n| n.to_string());
    let mib = domain["memory_kib"].as_u64().map(|kib| (kib / 1024).to_string());
    let letters = [
        ("running", 'r'),
        ("blocked", 'b'),
        ("paused", 'p'),
        ("shutdown", 's'),
        ("crashed", 'c'),
        ("dying", 'd'),
    ];
    let state = letters
        .iter()
        .map(|(key, letter)| if domain["state"][key] == Value::Bool(true) { *letter } else { '-' })
        .collect();
    let mib = mib.unwrap_or_default();
    [text("name"), number("domid"), mib, number("vcpus"), state, text("uuid")]
}

/// Two domains, of which one has ended of itself, and dom0.
fn list() -> Verdict {
    let (one, two) = (guest("json-one", 8, 1)?, guest("json-two", 9, 3)?);
    argv(&["/bin/xlr", "create", "-p", &one])?.success()?;
    argv(&["/xen/bin/xl", "create", "-p", &two])?.success()?;
    let ours = json("/bin/xlr list --json")?;
    let Some(ours) = ours.as_array() else { fail!("no array: {ours}") };
    let ours: Vec<[String; 6]> = ours.iter().map(row).collect();
    let theirs = rows_of_xl()?;
    ensure!(ours.len() == 3 && theirs.len() == 3, "three domains: {ours:?} {theirs:?}");
    for (our, their) in ours.iter().zip(&theirs) {
        // Whether dom0 runs or blocks at the moment of the question is chance.
        let state = our[4] == their[4] || our[1] == "0";
        let same = our[..4] == their[..4] && our[5] == their[5] && state;
        ensure!(same, "{our:?} and not {their:?}");
    }
    for name in ["json-one", "json-two"] {
        let id = domid(name)?;
        let chosen = json(&format!("/bin/xlr list --json {name}"))?;
        ensure!(chosen[0]["domid"].as_u64() == id.map(u64::from), "{name}: {chosen} {id:?}");
        ensure!(chosen.as_array().is_some_and(|all| all.len() == 1), "{name}: {chosen}");
        let text = run(&format!("/bin/xlr domid {name}"))?.success()?.out;
        ensure!(text.trim().parse().ok() == id, "domid {text} and not {id:?}");
    }
    let verbose = run("/bin/xlr list -v json-one")?.success()?.out;
    let their = run("/xen/bin/xl list -v json-one")?.success()?.out;
    ensure!(verbose == their, "list -v:\n{verbose}{their}");
    let gone = run("/bin/xlr list --json nobody")?.failure()?;
    ensure!(gone.err.contains("nobody"), "{}", gone.err);
    argv(&["/bin/xlr", "destroy", "json-one"])?.success()?;
    argv(&["/xen/bin/xl", "destroy", "json-two"])?.success()?;
    Ok(())
}

/// Every fact that xl tells is told, with the same value, as text and as JSON.
fn info() -> Verdict {
    let theirs = run("/xen/bin/xl info")?.success()?.out;
    let ours = json("/bin/xlr info --json")?;
    let mut compared = 0;
    for line in theirs.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let (key, value) = (key.trim(), value.trim());
        let own = match &ours[key] {
            Value::Null => fail!("xl says {key} = {value}, info --json does not"),
            Value::String(text) => text.trim().to_owned(),
            other => other.to_string(),
        };
        ensure!(own == value, "{key} is {own:?}, xl has {value:?}");
        let single = argv(&["/bin/xlr", "info", key])?.success()?.out;
        ensure!(single.trim() == value, "info {key} prints {single:?}, xl has {value:?}");
        compared += 1;
    }
    ensure!(compared > 20, "only {compared} facts: {theirs}");
    let ours = json("/bin/xlr info -n --json")?;
    let cpus = ours["cpu_topology"].as_array().map_or(0, Vec::len);
    ensure!(ours["nr_cpus"].as_u64() == Some(cpus as u64), "{cpus} CPUs: {ours}");
    let nodes = ours["numa_info"].as_array().map_or(0, Vec::len);
    ensure!(ours["nr_nodes"].as_u64() == Some(nodes as u64), "{nodes} nodes: {ours}");
    Ok(())
}

/// The names that are promised, no more and no fewer: who renames one breaks scripts.
fn shapes() -> Verdict {
    let path = guest("json-shape", 8, 1)?;
    argv(&["/bin/xlr", "create", "-p", &path])?.success()?;
    let id = domid("json-shape")?.unwrap_or_default();
    let state = ["blocked", "crashed", "dying", "paused", "running", "shutdown"];
    let row = "claimed_kib cpu_time_ns cpupool domid max_memory_kib memory_kib name shutdown_reason state uuid vcpus";
    let vcpu = "blocked cpu cpu_time_ns domid hard_affinity name online running soft_affinity vcpu";
    for (line, names) in [
        ("list json-shape --json", row.to_owned()),
        ("list -n json-shape --json", row.replace("shutdown_reason", "numa_nodes shutdown_reason")),
        ("vcpu-list json-shape --json", vcpu.to_owned()),
        ("uptime json-shape --json", String::from("domid name uptime_seconds")),
        ("domid json-shape --json", String::from("domid name")),
        (&format!("domname {id} --json"), String::from("domid name")),
        ("dmesg --json", String::from("text")),
    ] {
        let value = json(&format!("/bin/xlr {line}"))?;
        let first = value.as_array().map_or(Some(&value), |all| all.first());
        let Some(first) = first.and_then(Value::as_object) else {
            fail!("{line}: no object in {value}");
        };
        let found: Vec<&str> = first.keys().map(String::as_str).collect();
        ensure!(found.join(" ") == names, "{line}: {found:?} and not {names}");
        if let Some(found) = first.get("state").and_then(Value::as_object) {
            let found: Vec<&str> = found.keys().map(String::as_str).collect();
            ensure!(found == state, "{line}: state has {found:?}");
        }
    }
    argv(&["/bin/xlr", "destroy", "json-shape"])?.success()?;
    Ok(())
}

/// A plan is shown as text and as JSON, the same steps in both, and nothing happens.
fn dry_run() -> Verdict {
    let path = config(
        "planned",
        "name = \"planned\"\ntype = \"pv\"\nkernel = \"/guest/vmlinuz\"\n\
         ramdisk = \"/guest/initramfs.gz\"\nmemory = 64\nvcpus = 2\n",
    )?;
    let free = run("/xen/bin/xl info free_memory")?.success()?.out;
    let before = snapshot::take()?;
    let plan = json(&format!("/bin/xlr create --dry-run=json {path}"))?;
    let text = run(&format!("/bin/xlr create --dry-run {path}"))?.success()?.out;
    let found = leftovers::compare(&before, &snapshot::take()?);
    ensure!(found.is_empty(), "--dry-run left something: {}", found.join("; "));
    let now = run("/xen/bin/xl info free_memory")?.success()?.out;
    ensure!(free == now, "free memory was {free}, is {now}");
    ensure!(plan["name"] == "planned", "the plan's name: {}", plan["name"]);
    let Some(steps) = plan["steps"].as_array() else { fail!("no steps: {plan}") };
    ensure!(steps.len() > 10, "{} steps", steps.len());
    let mut rest = text.as_str();
    for step in steps {
        let name = step["step"].as_str().unwrap_or("?");
        let Some(at) = rest.find(name) else { fail!("{name} is not in its place in {text}") };
        rest = rest.get(at + name.len()..).unwrap_or_default();
    }
    // What was shown is what is done.
    argv(&["/bin/xlr", "create", "-p", &path])?.success()?;
    argv(&["/bin/xlr", "destroy", "planned"])?.success()?;
    Ok(())
}
