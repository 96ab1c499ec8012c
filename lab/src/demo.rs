//! `cargo lab demo`: a guest of `configs/hpc.cfg` on real Xen, from nothing to a clean end.
//!
//! Shows what it does, and fails unless the guest, the configuration and the hypervisor agree.

use crate::artefact::Artefacts;
use crate::dom0::host;
use crate::error::{Context as _, Error, Result};
use crate::frame::Order;
use crate::paths::Paths;
use crate::qemu::Machine;
use crate::session::{Boot, Session, show};
use crate::{program, report};
use std::collections::BTreeMap;
use std::time::Duration;

const STEP: Duration = Duration::from_secs(180);
const CONFIG: &str = "/configs/hpc.cfg";

/// Carries the demonstration out; the exit code is 0 only when all agreed.
pub fn main(paths: &Paths, with_xl: bool) -> Result<i32> {
    let tool = if with_xl { "xl" } else { "xlr" };
    let xlr = if with_xl { None } else { Some(program::xlr(paths, "release")?) };
    let mut artefacts = Artefacts::open(paths)?;
    let boot = Boot {
        paths,
        machine: Machine::default(),
        xlr,
        limit: Duration::from_secs(900),
        log_name: "demo".into(),
    };
    let config = paths.workspace.join(CONFIG.trim_start_matches('/'));
    let text = std::fs::read_to_string(&config).on("read", &config)?;
    let wanted = Wanted::parse(&text)
        .ok_or_else(|| Error::Form { path: config, why: "no name, memory, vcpus".into() })?;

    let mut session = Session::boot(&mut artefacts, &boot)?;
    command(&mut session, &[tool, "create", CONFIG])?;
    report::step("the guest's console");
    let guest = console(&mut session, &wanted.name)?;
    command(&mut session, &[tool, "list"])?;
    let hypervisor = hypervisor(&mut session, &wanted.name)?;
    let agreed = compare(&wanted, &guest, &hypervisor);
    command(&mut session, &[tool, "shutdown", "-w", &wanted.name])?;
    let left = command(&mut session, &[tool, "list"])?;
    let gone = !left.lines().any(|line| line.split_whitespace().next() == Some(&*wanted.name));
    report::step("powering off");
    let ended = session.power_off()?;

    let mut failures = Vec::new();
    if !agreed {
        failures.push("the guest, hpc.cfg and the hypervisor do not agree");
    }
    if !gone {
        failures.push("the guest was not gone after its shutdown");
    }
    if !ended {
        failures.push("the machine did not power off by itself");
    }
    if failures.is_empty() {
        report::step("demo: all is well");
        return Ok(0);
    }
    Err(Error::Failed(format!("demo: {}", failures.join("; "))))
}

/// Runs a command in dom0, shown; fails when it fails. Returns its output.
fn command(session: &mut Session, argv: &[&str]) -> Result<String> {
    report::step(&format!("dom0# {}", argv.join(" ")));
    let order = Order { argv: argv.iter().map(ToString::to_string).collect(), ..Order::default() };
    let mut output = Vec::new();
    let code = session.stream(&order, STEP, |_, bytes| {
        show(bytes);
        output.extend_from_slice(bytes);
    })?;
    let text = String::from_utf8_lossy(&output).into_owned();
    if code == 0 {
        return Ok(text);
    }
    let status = format!("exit code {code}");
    Err(Error::Program { program: argv.join(" "), status, output: text })
}

/// Shows the guest's console until the guest is up; returns its report.
fn console(session: &mut Session, name: &str) -> Result<BTreeMap<String, String>> {
    let log = host::console_log(name).display().to_string();
    let argv = ["/bin/lab", "follow", &log, "xlr-guest: ready", "120"];
    let order = Order { argv: argv.map(String::from).to_vec(), ..Order::default() };
    let mut text = Vec::new();
    let code = session.stream(&order, STEP, |_, bytes| {
        show(bytes);
        text.extend_from_slice(bytes);
    })?;
    if code == 0 {
        return Ok(host::report(&text));
    }
    Err(Error::Machine("the guest did not come up within 120 s".into()))
}

/// What hpc.cfg asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    name: String,
    memory_mib: u64,
    vcpus: u64,
}

impl Wanted {
    /// Reads the three keys from lines of `key = value`; deliberately not by xlr's own parser.
    fn parse(text: &str) -> Option<Wanted> {
        let mut values = BTreeMap::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            if let Some((key, value)) = line.split_once('=') {
                values.insert(key.trim(), value.trim().trim_matches('"'));
            }
        }
        Some(Wanted {
            name: values.get("name")?.to_string(),
            memory_mib: values.get("memory")?.parse().ok()?,
            vcpus: values.get("vcpus").map_or(Some(1), |value| value.parse().ok())?,
        })
    }
}

/// What the hypervisor says, asked through the C tools: domid, memory (MiB), vcpus, uuid.
#[derive(Debug)]
struct Answer {
    domid: u64,
    memory_mib: u64,
    vcpus: u64,
    uuid: String,
}

fn hypervisor(session: &mut Session, name: &str) -> Result<Answer> {
    let outcome = session.run(&["/xen/bin/xl", "list", "-v", name], STEP)?;
    let text = outcome.text();
    let bad = || Error::Machine(format!("xl list says: {text}{}", outcome.error_text()));
    let line = text.lines().nth(1).ok_or_else(bad)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse().ok()).ok_or_else(bad);
    Ok(Answer {
        domid: number(1)?,
        memory_mib: number(2)?,
        vcpus: number(3)?,
        uuid: words.get(6).map(ToString::to_string).ok_or_else(bad)?,
    })
}

/// Prints what each side says; true when all agree.
fn compare(wanted: &Wanted, guest: &BTreeMap<String, String>, answer: &Answer) -> bool {
    let said = |key: &str| guest.get(key).map_or("-", String::as_str).to_string();
    let memory_kib = (wanted.memory_mib * 1024).to_string();
    let rows = [
        ("name", wanted.name.clone(), said("name"), said("name"), wanted.name.clone()),
        (
            "memory KiB",
            memory_kib.clone(),
            said("memory_kib"),
            said("store_memory_kib"),
            (answer.memory_mib * 1024).to_string(),
        ),
        (
            "vcpus",
            wanted.vcpus.to_string(),
            said("vcpus"),
            said("store_vcpus"),
            answer.vcpus.to_string(),
        ),
        ("domid", "-".into(), said("domid"), said("domid"), answer.domid.to_string()),
        ("uuid", "-".into(), said("uuid"), said("store_uuid"), answer.uuid.clone()),
    ];
    report::step("what hpc.cfg asks, what the guest sees, what the hypervisor says");
    let width = 37;
    println!(
        "{:<11} {:<width$} {:<width$} {:<width$} {:<width$}",
        "", "hpc.cfg", "guest: kernel", "guest: xenstore", "hypervisor"
    );
    let mut agreed = true;
    for (what, config, kernel, store, hypervisor) in rows {
        // What hpc.cfg leaves to the toolstack is stated by the hypervisor alone.
        let stated = config == "-" || config == hypervisor;
        let same = stated && hypervisor == kernel && hypervisor == store;
        agreed &= same;
        let mark = if same { "" } else { "  <- differs" };
        println!(
            "{what:<11} {config:<width$} {kernel:<width$} {store:<width$} {hypervisor:<width$}{mark}"
        );
    }
    agreed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_from_a_configuration() {
        let text = "# x\nname = \"hpc\"\nmemory = 256   # MiB\nvcpus  = 2\n";
        let wanted = Wanted { name: "hpc".into(), memory_mib: 256, vcpus: 2 };
        assert_eq!(Wanted::parse(text), Some(wanted));
        assert_eq!(Wanted::parse("memory = 1\n"), None);
    }
}
