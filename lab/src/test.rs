//! `cargo lab test`: every test of the project in stages, a summary, one last plain line.

use crate::artefact::Artefacts;
use crate::case::Ending;
use crate::error::{Error, Result, chain};
use crate::kernel::Recipe;
use crate::paths::Paths;
use crate::runner::{Item, Record, Run, Runner};
use crate::stage::{Count, Stages};
use crate::xenstored::Xenstored;
use crate::{cases, dom0_tests, guest, program, report, skips};
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

/// What to run.
pub struct Options {
    /// Only what CI needs: each capability once.
    pub ci: bool,
    /// Only cases whose name contains one of these, and no other stage; all where there is none.
    pub filters: Vec<String>,
    /// Only the cases on real Xen.
    pub cases_only: bool,
    /// Whether xlr is built and put into dom0.
    pub with_xlr: bool,
    /// Who serves the store, in place of what each case says.
    pub xenstored: Option<Xenstored>,
}

/// `--list`: the names of the cases that a run with these options has, one a line.
pub fn list(paths: &Paths, options: &Options) -> Result<i32> {
    for item in select(paths, options)? {
        println!("{}", item.name());
    }
    Ok(0)
}

/// Runs the stages; the exit code is 0 only when nothing failed. Whatever happens, the last line
/// says how many passed, failed and were skipped.
pub fn main(paths: &Paths, options: &Options) -> Result<i32> {
    let mut count = Count::default();
    let mut stages = Stages::new(paths);
    let mut done = Run::default();
    if let Err(error) = run(paths, options, &mut stages, &mut count, &mut done) {
        count.failures.push(("the run itself".into(), chain(&error)));
    }
    stages.summary();
    done.summary(options.ci);
    for (name, why) in &count.failures {
        println!("\nFAILED {name}\n  {}", why.replace('\n', "\n  "));
    }
    println!();
    println!("{} passed, {} failed, {} skipped", count.passed, count.failures.len(), count.skipped);
    Ok(i32::from(!count.failures.is_empty()))
}

fn run(
    paths: &Paths,
    options: &Options,
    stages: &mut Stages,
    count: &mut Count,
    done: &mut Run,
) -> Result<()> {
    let skips = skips::read(paths)?;
    // Compilers leave a processor idle while they link or wait for one another: the kernel has it.
    let recipe = match guest::small_kernel(paths) {
        Some(_) => None,
        None => Some(stages.timed("what the guest kernel is made of", Recipe::prepare)?),
    };
    let mut artefacts = Artefacts::open(paths)?;
    let (items, xlr) = std::thread::scope(|scope| {
        let kernel = recipe.as_ref().map(|recipe| scope.spawn(|| recipe.build()));
        if options.filters.is_empty() && !options.cases_only {
            stages.host(&mut artefacts, options.ci, &skips, count)?;
        }
        let items = stages.timed("build what runs in dom0", |_| select(paths, options))?;
        if items.is_empty() {
            return Err(Error::Failed("no case matches: an empty selection is no success".into()));
        }
        let xlr = if options.with_xlr {
            Some(stages.timed("build xlr", |_| program::xlr(paths, "small"))?)
        } else {
            None
        };
        stages.xtf(options.filters.is_empty(), count)?;
        if let Some(kernel) = kernel {
            let panicked = |_| Err(Error::Failed("the kernel's build panicked".into()));
            stages.timed("rest of the guest kernel", |_| kernel.join().unwrap_or_else(panicked))?;
        }
        Ok((items, xlr))
    })?;
    let runner = Runner {
        paths,
        artefacts: Mutex::new(&mut artefacts),
        xlr,
        skips,
        xenstored: options.xenstored,
        boots: AtomicU32::new(0),
    };
    report::step(&format!("{} cases on real Xen", items.len()));
    *done = stages.timed("cases on real Xen", |_| Ok(runner.run(&items)))?;
    if options.filters.is_empty() {
        stages.offline(&artefacts, count);
    }
    for record in &done.records {
        count.add(&record.name, &record.ending);
    }
    Ok(())
}

impl Run {
    /// Prints what the groups and the slowest cases took.
    fn summary(&self, ci: bool) {
        for (group, seconds) in &self.spent {
            let budget = group.budget_seconds();
            let over = if ci && *seconds > budget { "  OVER BUDGET" } else { "" };
            println!("  cases: {:<28} {seconds:7.1} s of {budget:.0}{over}", group.name());
        }
        let mut order: Vec<&Record> = self.records.iter().collect();
        order.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        for record in order.iter().take(5) {
            let group = record.group.name();
            println!("  slow:  {:<28} {:7.1} s ({group})", record.name, record.seconds);
        }
    }
}

fn select(paths: &Paths, options: &Options) -> Result<Vec<Item>> {
    let filters = &options.filters;
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|part| name.contains(part));
    let mut items: Vec<Item> = cases::all()
        .into_iter()
        .filter(|case| !options.ci || case.ci)
        .filter(|case| wanted(case.name))
        .map(Item::Case)
        .collect();
    let tests = dom0_tests::all(paths, filters, options.ci)?;
    items.extend(tests.into_iter().filter(|test| wanted(&test.name)).map(Item::Test));
    Ok(items)
}

impl Count {
    /// Counts one ending.
    pub fn add(&mut self, name: &str, ending: &Ending) {
        match ending {
            Ending::Passed => self.passed += 1,
            Ending::Skipped(_) => self.skipped += 1,
            Ending::Failed(why) => self.failures.push((name.into(), why.clone())),
        }
    }
}
