//! Runs cases: groups them by machine, boots, runs each inside dom0, attributes what went wrong.
//!
//! After each case dom0 is compared with its state before, and what Xen and dom0 printed
//! meanwhile is read: a crash, an error line or a leftover fails the case that caused it, and
//! the next case gets a fresh machine. Two machines run side by side ([`crate::lanes`]).

use crate::artefact::Artefacts;
use crate::case::{Case, Ending, Group};
use crate::dom0::snapshot::Snapshot;
use crate::dom0_tests::Dom0Test;
use crate::error::{Error, Result, chain};
use crate::frame::Order;
use crate::lanes::{Lanes, Next};
use crate::paths::Paths;
use crate::qemu::Machine;
use crate::session::{Boot, Session};
use crate::skips::Skip;
use crate::xenstored::Xenstored;
use crate::{console, leftovers, report, slot};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Limit for the checks after a case.
const CHECK: Duration = Duration::from_secs(60);

/// Something to run in dom0.
#[derive(Clone)]
pub enum Item {
    /// A case of the lab.
    Case(Case),
    /// A test of a crate.
    Test(Dom0Test),
}

impl Item {
    /// Its full name.
    pub fn name(&self) -> &str {
        match self {
            Item::Case(case) => case.name,
            Item::Test(test) => &test.name,
        }
    }

    /// The group whose time it takes.
    pub fn group(&self) -> Group {
        match self {
            Item::Case(case) => case.group,
            Item::Test(test) => test.group,
        }
    }

    fn machine(&self) -> Machine {
        match self {
            Item::Case(case) => case.machine(),
            Item::Test(test) => Machine { xen: test.xen.into(), ..Machine::default() },
        }
    }

    fn wrecks(&self) -> bool {
        matches!(self, Item::Case(case) if case.wrecks)
    }

    fn limit(&self) -> Duration {
        match self {
            Item::Case(case) => Duration::from_secs(case.limit_seconds),
            Item::Test(_) => Duration::from_secs(120),
        }
    }

    fn argv(&self) -> Vec<String> {
        match self {
            Item::Case(case) => vec!["/bin/lab".into(), "case".into(), case.name.into()],
            Item::Test(test) => {
                let mut argv = vec![test.path_in_dom0()];
                let Some(name) = &test.test else { return argv };
                let flags = ["--include-ignored", "--exact", "--nocapture", "--test-threads=1"];
                argv.extend(flags.map(String::from));
                argv.push(name.clone());
                argv
            }
        }
    }
}

/// How one item ended.
pub struct Record {
    /// Its full name.
    pub name: String,
    /// The group whose time it took.
    pub group: Group,
    /// The ending, checks included.
    pub ending: Ending,
    /// How long it took, without the boot.
    pub seconds: f64,
}

/// What a run came to.
#[derive(Default)]
pub struct Run {
    /// One for each item, in the order in which they ended.
    pub records: Vec<Record>,
    /// What each group has taken, boots included, waiting for other emulators not.
    pub spent: BTreeMap<Group, f64>,
}

/// Runs items.
pub struct Runner<'a> {
    /// The lab's directories.
    pub paths: &'a Paths,
    /// The artefacts, which one lane uses at a time.
    pub artefacts: Mutex<&'a mut Artefacts>,
    /// The `xlr` that goes into dom0.
    pub xlr: Option<PathBuf>,
    /// The accepted skips.
    pub skips: Vec<Skip>,
    /// Who serves the store, in place of what each item says.
    pub xenstored: Option<Xenstored>,
    /// How many machines were booted.
    pub boots: AtomicU32,
}

impl Runner<'_> {
    /// Runs all items, as many at once as this machine bears emulators.
    pub fn run(&self, items: &[Item]) -> Run {
        let lanes = Mutex::new(Lanes::new(items.iter().map(|item| {
            let mut machine = item.machine();
            machine.xenstored = self.xenstored.unwrap_or(machine.xenstored);
            (machine, item.wrecks(), item)
        })));
        let run = Mutex::new(Run::default());
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let panicked = std::thread::scope(|scope| {
            let count = processors.min(slot::SLOTS);
            let threads: Vec<_> =
                (0..count).map(|_| scope.spawn(|| self.lane(&lanes, &run))).collect();
            threads.into_iter().filter_map(|thread| thread.join().err()).count()
        });
        let mut run = run.into_inner().unwrap_or_else(PoisonError::into_inner);
        if panicked > 0 {
            let why = format!("{panicked} lanes panicked; what they said is above");
            let (name, ending) = (String::from("the run itself"), Ending::Failed(why));
            run.records.push(Record { name, group: Group::Xtf, ending, seconds: 0.0 });
        }
        run
    }

    /// Runs items one after the other until there is none left for this lane.
    fn lane(&self, lanes: &Mutex<Lanes<&Item>>, run: &Mutex<Run>) {
        let mut session: Option<Live> = None;
        let mut held = None;
        loop {
            let next = held_by(lanes).next(held);
            let changes = next.as_ref().map(|next| next.shape) != held;
            if changes && let Some(old) = session.take() {
                self.end(old);
            }
            let Some(Next { shape, machine, item }) = next else { return };
            held = Some(shape);
            let start = Instant::now();
            let mut waited = 0.0;
            let (ending, seconds) = self.one(&machine, &mut session, item, &mut waited);
            let good = matches!(ending, Ending::Passed | Ending::Skipped(_));
            let ended = live_ended(&mut session);
            // What a failed case may have done to dom0 must not fail the next one.
            if (item.wrecks() || !good)
                && let Some(old) = session.take()
                && !ended
            {
                self.end(old);
            }
            let spent = start.elapsed().as_secs_f64() - waited;
            let ending = self.judge(item, ending);
            let mut run = held_by(run);
            *run.spent.entry(item.group()).or_default() += spent;
            tell(run.records.len() + 1, &ending, item.name(), seconds);
            let (name, group) = (item.name().to_string(), item.group());
            run.records.push(Record { name, group, ending, seconds });
        }
    }

    /// A skip that nobody accepted is a failure.
    fn judge(&self, item: &Item, ending: Ending) -> Ending {
        let ending = match ending {
            Ending::Skipped(why) if !self.skips.iter().any(|skip| skip.case == item.name()) => {
                Ending::Failed(format!("skipped, but not listed in lab/skips.toml: {why}"))
            }
            ending => ending,
        };
        let Item::Case(Case { must_fail: Some(reason), .. }) = item else { return ending };
        match ending {
            Ending::Failed(why) if why.contains(reason) => Ending::Passed,
            other => Ending::Failed(format!("should have failed with «{reason}», was {other:?}")),
        }
    }

    fn one(
        &self,
        machine: &Machine,
        session: &mut Option<Live>,
        item: &Item,
        waited: &mut f64,
    ) -> (Ending, f64) {
        if session.is_none() {
            match self.boot(machine, waited) {
                Ok(live) => *session = Some(live),
                Err(error) => {
                    return (Ending::Failed(format!("no machine: {}", chain(&error))), 0.0);
                }
            }
        }
        let Some(live) = session else { return (Ending::Failed("no machine".into()), 0.0) };
        let start = Instant::now();
        let ending = live.run(item).unwrap_or_else(|error| Ending::Failed(live.wreck(&error)));
        (ending, start.elapsed().as_secs_f64())
    }

    fn boot(&self, machine: &Machine, waited: &mut f64) -> Result<Live> {
        let number = self.boots.fetch_add(1, Ordering::Relaxed) + 1;
        let boot = Boot {
            paths: self.paths,
            machine: machine.clone(),
            xlr: self.xlr.clone(),
            limit: Duration::from_secs(1800),
            log_name: format!("test-{number:02}-xen-{}", machine.xen),
        };
        let begun = Instant::now();
        let prepared = {
            let mut artefacts = held_by(&self.artefacts);
            *waited += begun.elapsed().as_secs_f64();
            boot.prepare(&mut artefacts)?
        };
        let mut session = Session::power_on(prepared)?;
        *waited += session.waited_seconds;
        let snapshot = snapshot(&mut session)?;
        let read = session.console().len();
        Ok(Live { session, snapshot, read, programs: Vec::new() })
    }

    fn end(&self, live: Live) {
        let dir = live.session.dir.clone();
        match live.session.power_off() {
            Ok(true) => {}
            _ => report::note(&format!("the machine did not power off; see {}", dir.display())),
        }
    }
}

/// What the lanes share. A lane that panicked fails the run, and leaves nothing half-changed here.
fn held_by<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the machine is down already.
fn live_ended(live: &mut Option<Live>) -> bool {
    live.as_mut().is_some_and(|live| live.session.ended())
}

fn tell(done: usize, ending: &Ending, name: &str, seconds: f64) {
    let (word, why) = match ending {
        Ending::Passed => ("ok  ", String::new()),
        Ending::Failed(why) => ("FAIL", format!("\n{}", indent(why))),
        Ending::Skipped(why) => ("skip", format!(": {why}")),
    };
    report::step(&format!("{word} {done:3} {name} ({seconds:.1} s){why}"));
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("            {line}")).collect::<Vec<_>>().join("\n")
}

fn snapshot(session: &mut Session) -> Result<Snapshot> {
    let outcome = session.run(&["/bin/lab", "snapshot"], CHECK)?;
    serde_json::from_slice(&outcome.output).map_err(|error| {
        Error::Machine(format!("no snapshot of dom0: {error}: {}", outcome.error_text()))
    })
}

/// A booted machine with what is known of it.
struct Live {
    session: Session,
    snapshot: Snapshot,
    /// How much of the console log was read.
    read: usize,
    /// Test programs that were put into dom0.
    programs: Vec<String>,
}

impl Live {
    fn run(&mut self, item: &Item) -> Result<Ending> {
        if let Item::Test(test) = item {
            self.put(test)?;
        }
        let order = Order { argv: item.argv(), ..Order::default() };
        let (mut output, mut all) = (Vec::new(), Vec::new());
        let code = self.session.stream(&order, item.limit(), |kind, bytes| {
            if kind == crate::frame::Kind::Output {
                output.extend_from_slice(bytes);
            }
            all.extend_from_slice(bytes);
        });
        let all = String::from_utf8_lossy(&all).into_owned();
        self.keep(item, &all);
        // A case that was cut off says at least how far it came.
        let code = match code {
            Ok(code) => code,
            Err(error) => {
                let said = crate::command::tail(&all, 8);
                return Ok(Ending::Failed(format!("{}\nit had said:\n{said}", self.wreck(&error))));
            }
        };
        let output = String::from_utf8_lossy(&output).into_owned();
        let ending = match item {
            Item::Case(_) => case_ending(code, &output, &all),
            Item::Test(test) => test_ending(code, test.test.is_none(), &output, &all),
        };
        // What a case has wrecked on purpose cannot be asked, and is not used again.
        let trouble = if item.wrecks() { self.crashes() } else { self.trouble()? };
        if trouble.is_empty() {
            return Ok(ending);
        }
        let before =
            if let Ending::Failed(why) = ending { format!("{why}\n") } else { String::new() };
        Ok(Ending::Failed(format!("{before}{}", trouble.join("\n"))))
    }

    /// Why a case failed that could not be carried through: the error, and what the console
    /// says about it.
    fn wreck(&self, error: &Error) -> String {
        let console = self.session.console();
        let mut lines = vec![chain(error)];
        lines.extend(console::trouble(console.get(self.read..).unwrap_or_default()));
        lines.join("\n")
    }

    fn put(&mut self, test: &Dom0Test) -> Result<()> {
        let path = test.path_in_dom0();
        if !self.programs.contains(&path) {
            self.session.put(&test.program, &path)?;
            self.programs.push(path);
        }
        Ok(())
    }

    /// Keeps what the case said beside the console log.
    fn keep(&self, item: &Item, text: &str) {
        let name = item.name().replace(['/', ':'], "_");
        let _ = std::fs::write(self.session.dir.join(format!("{name}.txt")), text);
    }

    /// What Xen and dom0's kernel have printed of crashes since the last look.
    fn crashes(&mut self) -> Vec<String> {
        let console = self.session.console();
        let found = console::trouble(console.get(self.read..).unwrap_or_default());
        self.read = console.len();
        found
    }

    /// Everything that is wrong with the machine after a case.
    fn trouble(&mut self) -> Result<Vec<String>> {
        let after = snapshot(&mut self.session)?;
        let mut found = leftovers::compare(&self.snapshot, &after);
        self.session.run(&["/xen/bin/xl", "debug-keys", "g"], CHECK)?;
        let console = self.session.console_until(self.read, console::GRANTS_END, CHECK)?;
        let new = console.get(self.read..).unwrap_or_default();
        found.extend(console::trouble(new));
        found.extend(console::grants(new));
        self.read = console.len();
        self.snapshot = after;
        Ok(found)
    }
}

/// The ending that the case printed as its last line.
fn case_ending(code: i32, output: &str, all: &str) -> Ending {
    let last = output.lines().next_back().unwrap_or_default();
    match serde_json::from_str(last) {
        Ok(ending) if code == 0 => ending,
        _ => {
            let said = crate::command::tail(all, 15);
            Ending::Failed(format!("the case ended with {code} and no verdict:\n{said}"))
        }
    }
}

/// A program's exit code, for a single test libtest's own words as well: a test that did not run
/// is no success.
fn test_ending(code: i32, whole: bool, output: &str, all: &str) -> Ending {
    if code == 0 && whole {
        return Ending::Passed;
    }
    if code == 0 && output.contains("test result: ok. 1 passed") {
        return Ending::Passed;
    }
    Ending::Failed(format!("exit code {code}:\n{}", crate::command::tail(all, 25)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_of_cases_and_tests() {
        assert_eq!(case_ending(0, "x\n\"passed\"\n", ""), Ending::Passed);
        let failed = case_ending(0, "{\"failed\":\"why\"}\n", "");
        assert_eq!(failed, Ending::Failed("why".into()));
        assert!(matches!(case_ending(101, "\"passed\"\n", ""), Ending::Failed(_)));
        assert!(matches!(case_ending(0, "nothing\n", ""), Ending::Failed(_)));
        assert_eq!(
            test_ending(0, false, "test result: ok. 1 passed; 0 failed", ""),
            Ending::Passed
        );
        let empty = test_ending(0, false, "test result: ok. 0 passed; 0 failed", "");
        assert!(matches!(empty, Ending::Failed(_)), "a test that did not run");
    }
}
