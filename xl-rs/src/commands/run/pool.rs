//! The guests of a suite, several at once, each in a thread of its own.
//!
//! In: guests, and how many may run at once. Out: a report of each, in their order. The [`Queue`] says
//! who is next; what it asks the host for is memory that is free. After a signal nobody begins, and
//! those that run end.

use super::attempt::{Attempt, Came, Guest, Manner, attempt};
use super::progress::Progress;
use super::queue::{Need, Queue};
use super::report::Report;
use crate::cli::program;
use crate::commands::build::definition;
use crate::commands::error::{CommandError, chain};
use crate::commands::signals::Signals;
use crate::commands::{domain, tell as say};
use crate::state::State;
use libxc_safe::Xen;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use xenstore::client::{Client, RETURN_PATIENCE};

/// What the hypervisor takes for a domain beside its memory, at the most: its structures, and those of
/// its vcpus.
const OVERHEAD_KIB: u64 = 2048;
const OVERHEAD_VCPU_KIB: u64 = 256;
const PAGE_KIB: u64 = 4;

/// How a suite is run.
pub struct Pool<'a> {
    /// The guests.
    pub guests: &'a [Guest],
    /// How many run at once.
    pub jobs: usize,
    /// Where what they leave is kept, a folder for each.
    pub folder: Option<&'a Path>,
    /// Whether warnings are not printed, nor progress.
    pub quiet: bool,
    /// The signals, which are held.
    pub signals: &'a Signals,
}

enum News {
    /// A domain has gone, whosever it was.
    Freed,
    /// It has its memory.
    Made(usize),
    /// It has come to this.
    Came(usize, Box<Attempt>),
}

impl Pool<'_> {
    /// Runs all of them.
    pub fn run(&self) -> Result<Vec<Report>, CommandError> {
        let (xen, state) = (Xen::open()?, State::open()?);
        let needs = self.guests.iter().map(need).collect();
        let mut queue = Queue::new(needs, self.jobs, xen.physinfo()?.cpus);
        let mut reports: Vec<Report> = self.guests.iter().map(report).collect();
        let mut progress = Progress::new(self.guests.len(), self.quiet);
        let (tell, news) = channel();
        let (over, until) = UnixStream::pair().map_err(|source| CommandError::Wait { source })?;
        std::thread::scope(|scope| {
            let (listens, others) = (tell.clone(), &until);
            scope.spawn(move || {
                // Without it the ends of this suite's own guests are what others wait for.
                if let Err(error) = listen(others, &listens) {
                    say(format_args!("{}: {}", program::name(), chain(&error)));
                }
            });
            loop {
                if self.signals.seen() {
                    queue.close();
                }
                while let Some(index) = queue.next(free_kib(&xen)) {
                    let (guest, retry) = (&self.guests[index], reports[index].attempts.len());
                    progress.begins(index, &guest.name, retry);
                    let folder = self.folder.map(|folder| folder_of(folder, &guest.name, retry));
                    let (ours, tell) = (&tell, tell.clone());
                    let work = move || self.work(index, folder.as_deref(), &tell);
                    let name = String::from("guest");
                    let begun = std::thread::Builder::new().name(name).spawn_scoped(scope, work);
                    if let Err(error) = begun {
                        // The others' results are not lost with it.
                        let came = Came::Broken(format!("no thread for it: {error}"));
                        let attempt = Attempt { came, ..Attempt::default() };
                        drop(ours.send(News::Came(index, Box::new(attempt))));
                    }
                }
                if queue.is_over() {
                    drop(over);
                    return;
                }
                // It never ends while `tell` is there; each thread has something to say at its end.
                let Ok(news) = news.recv() else { return };
                match news {
                    News::Freed => queue.freed(),
                    News::Made(index) => queue.made(index),
                    News::Came(index, attempt)
                        if attempt.crowded && queue.put_back(index, is_leased(&state)) =>
                    {
                        progress.waits(index, &self.guests[index].name);
                    }
                    News::Came(index, attempt) => {
                        let passed = attempt.came.is_pass() || attempt.came == Came::Interrupted;
                        reports[index].attempts.push(*attempt);
                        let left = reports[index].retries() < self.guests[index].retries as usize;
                        let again = !passed && left && !self.signals.seen();
                        progress.ended(index, &reports[index], again);
                        queue.done(index, again);
                    }
                }
            }
        });
        progress.finish();
        Ok(reports)
    }

    fn work(&self, index: usize, folder: Option<&Path>, tell: &Sender<News>) {
        // Whoever listens does so until all have come to their end.
        let made = || drop(tell.send(News::Made(index)));
        let manner = Manner {
            signals: self.signals,
            folder,
            streams: false,
            quiet: self.quiet,
            made: Some(&made),
        };
        // A panic is a fault of this program; the guest's lease is for the next command.
        let came = catch_unwind(AssertUnwindSafe(|| attempt(&self.guests[index], manner)));
        let came = came.unwrap_or_else(|_| Attempt {
            came: Came::Broken(String::from("a fault of this program")),
            ..Attempt::default()
        });
        drop(tell.send(News::Came(index, Box::new(came))));
    }
}

fn report(guest: &Guest) -> Report {
    Report { name: guest.name.clone(), attempts: Vec::new() }
}

/// Tells whenever a domain has gone, until the other end of `until` is closed.
fn listen(until: &UnixStream, tell: &Sender<News>) -> Result<(), CommandError> {
    let mut store = Client::connect()?;
    store.outlive_store(RETURN_PATIENCE);
    store.watch("@releaseDomain", "run-freed")?;
    loop {
        match domain::wait_for_any(&mut store, &[until.as_fd()], None)?.as_deref() {
            Some([true]) => return Ok(()),
            // Whoever listens does so until this is told to end.
            _ => drop(tell.send(News::Freed)),
        }
    }
}

/// Whether a guest of any runner is there, whose end may make room.
fn is_leased(state: &State) -> bool {
    state.leases().is_ok_and(|leases| !leases.held.is_empty())
}

/// What it needs; of one whose configuration is wrong nothing, as its making will say what is.
fn need(guest: &Guest) -> Need {
    // Under the site's policy, which may give it another size.
    definition(guest.sources.clone(), true).map_or_else(
        |_| Need::default(),
        |(_, config)| {
            let vcpus = u64::from(config.max_vcpus);
            let overhead_kib = OVERHEAD_KIB + vcpus * OVERHEAD_VCPU_KIB;
            Need { memory_kib: config.memory_kib.saturating_add(overhead_kib), vcpus: config.vcpus }
        },
    )
}

/// The memory that is free; none while that cannot be known: then they run one after the other.
fn free_kib(xen: &Xen) -> u64 {
    xen.physinfo().map_or(0, |info| {
        info.free_pages.saturating_sub(info.outstanding_pages).saturating_mul(PAGE_KIB)
    })
}

fn folder_of(folder: &Path, name: &str, retry: usize) -> PathBuf {
    match retry {
        0 => folder.join(name),
        _ => folder.join(name).join(format!("retry-{retry}")),
    }
}
