//! `cargo lab test`: every test of the project in stages, a summary, one last plain line.

use crate::artefact::Artefacts;
use crate::case::{Ending, Group};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::runner::{Item, Record, Runner};
use crate::stage::{Count, Stages};
use crate::{cases, dom0_tests, guest, kernel, program, report, skips};

/// What to run.
pub struct Options {
    /// Only what CI needs: each capability once.
    pub ci: bool,
    /// Only cases whose name contains this; no other stage then.
    pub filter: Option<String>,
    /// Only the cases on real Xen.
    pub cases_only: bool,
    /// Whether xlr is built and put into dom0.
    pub with_xlr: bool,
}

/// Runs the stages; the exit code is 0 only when nothing failed.
pub fn main(paths: &Paths, options: &Options) -> Result<i32> {
    let mut count = Count::default();
    let mut artefacts = Artefacts::open(paths)?;
    let mut stages = Stages::new(paths);
    if options.filter.is_none() && !options.cases_only {
        stages.host(&mut artefacts, options.ci, &mut count)?;
    }
    let items = stages.timed("build what runs in dom0", |_| select(paths, options))?;
    if items.is_empty() {
        return Err(Error::Failed("no case matches: an empty selection is no success".into()));
    }
    let xlr = if options.with_xlr {
        Some(stages.timed("build xlr", |_| program::xlr(paths, "lab"))?)
    } else {
        None
    };
    stages.xtf(options.filter.is_none(), &mut count)?;
    if guest::small_kernel(paths).is_none() {
        stages.timed("small guest kernel (once)", kernel::build)?;
    }
    let mut runner = Runner::new(paths, &mut artefacts, xlr, skips::read(paths)?);
    report::step(&format!("{} cases on real Xen", items.len()));
    let records = stages.timed("cases on real Xen", |_| Ok(runner.run(&items)))?;
    let spent = runner.spent.clone();
    for record in &records {
        count.add(&record.name, &record.ending);
    }
    stages.summary();
    for group in Group::ALL {
        let seconds = spent.get(&group).copied().unwrap_or_default();
        if seconds > 0.0 {
            let budget = f64::from(u32::try_from(group.budget_seconds()).unwrap_or(u32::MAX));
            let over = if options.ci && seconds > budget { "  OVER BUDGET" } else { "" };
            println!("  cases: {:<28} {seconds:7.1} s of {budget:.0}{over}", group.name());
        }
    }
    slowest(&records);
    for (name, why) in &count.failures {
        println!("\nFAILED {name}\n  {}", why.replace('\n', "\n  "));
    }
    println!();
    println!("{} passed, {} failed, {} skipped", count.passed, count.failures.len(), count.skipped);
    Ok(i32::from(!count.failures.is_empty()))
}

fn select(paths: &Paths, options: &Options) -> Result<Vec<Item>> {
    let wanted = |name: &str| options.filter.as_ref().is_none_or(|filter| name.contains(filter));
    let mut items: Vec<Item> = cases::all()
        .into_iter()
        .filter(|case| !options.ci || case.ci)
        .filter(|case| wanted(case.name))
        .map(Item::Case)
        .collect();
    items.extend(dom0_tests::all(paths)?.into_iter().filter(|t| wanted(&t.name)).map(Item::Test));
    Ok(items)
}

fn slowest(records: &[Record]) {
    let mut order: Vec<&Record> = records.iter().collect();
    order.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    for record in order.iter().take(5) {
        println!("  slow:  {:<28} {:7.1} s ({})", record.name, record.seconds, record.group.name());
    }
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
