//! The guests of a suite, several at once, each in a thread of its own.
//!
//! In: guests, and how many may run at once. Out: a report of each, in their order. The [`Queue`] says
//! who is next; what it asks the host for is memory that is free. After a signal nobody begins, and
//! those that run end.

use super::attempt::{Attempt, Came, Guest, Manner, attempt};
use super::progress::Progress;
use super::queue::{Need, Queue};
use super::report::Report;
use crate::commands::build::definition;
use crate::commands::error::CommandError;
use crate::commands::signals::Signals;
use crate::state::State;
use libxc_safe::Xen;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// What the hypervisor takes for a domain beside its memory, at the most: its structures, and those of
/// its vcpus.
const OVERHEAD_KIB: u64 = 2048;
const OVERHEAD_VCPU_KIB: u64 = 256;
const PAGE_KIB: u64 = 4;
/// How often room is looked for while guests wait for it.
const TURN: Duration = Duration::from_millis(500);

/// How a suite is run.
pub struct Pool<'a> {
    /// The guests.
    pub guests: &'a [Guest],
    /// What each of them needs.
    pub needs: Vec<Need>,
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
    /// It has its memory.
    Made(usize),
    /// It has come to this.
    Came(usize, Box<Attempt>),
}

impl Pool<'_> {
    /// Runs all of them.
    pub fn run(&self) -> Result<Vec<Report>, CommandError> {
        let (xen, state) = (Xen::open()?, State::open()?);
        let host = xen.physinfo()?;
        let host_kib = host.total_pages.saturating_mul(PAGE_KIB);
        let mut queue = Queue::new(self.needs.clone(), self.jobs, host.cpus);
        let mut reports: Vec<Report> = self.guests.iter().map(report).collect();
        let mut progress = Progress::new(self.guests.len(), self.quiet);
        let (tell, news) = channel();
        std::thread::scope(|scope| {
            loop {
                if self.signals.seen() {
                    queue.close();
                }
                if queue.is_crowded() {
                    queue.look_again(free_kib(&xen), is_leased(&state));
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
                    return;
                }
                // It never ends while `tell` is there; each thread has something to say at its end. For
                // room there is no event: others' domains that were never introduced end unheard, and
                // balloons shrink.
                let news = match queue.is_crowded() {
                    true => match news.recv_timeout(TURN) {
                        Err(RecvTimeoutError::Timeout) => continue,
                        other => other.ok(),
                    },
                    false => news.recv().ok(),
                };
                let Some(news) = news else { return };
                match news {
                    News::Made(index) => queue.made(index),
                    News::Came(index, attempt)
                        if attempt.crowded
                            && queue.put_back(index, is_leased(&state), host_kib) =>
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

/// Whether a guest of any runner is there, whose end may make room.
fn is_leased(state: &State) -> bool {
    state.leases().is_ok_and(|leases| !leases.held.is_empty())
}

/// What it needs.
///
/// # Errors
/// Its configuration is wrong, or refused by the site's policy.
pub fn need(guest: &Guest) -> Result<Need, CommandError> {
    // Under the site's policy, which may give it another size.
    let (_, config) = definition(guest.sources.clone(), true)?;
    let overhead_kib = OVERHEAD_KIB + u64::from(config.max_vcpus) * OVERHEAD_VCPU_KIB;
    let memory_kib = config.memory_kib.saturating_add(overhead_kib);
    Ok(Need { memory_kib, vcpus: config.vcpus })
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
