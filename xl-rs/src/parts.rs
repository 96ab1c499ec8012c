//! Where the time of a create goes, part by part, for the benchmark.
//!
//! In: calls of [`done`] at the end of each stretch of work. Out: with `XLR_LOG=xlr::parts=debug` one
//! line per part at the end, and when the program began and ended by the monotonic clock, so that
//! whoever started it can tell what came before and after. Nothing is logged in between: a line costs
//! more than some of the parts. Without that log a call is one look at a number.

use rustix::time::{ClockId, clock_gettime};
use std::sync::Mutex;
use std::time::Duration;
use tracing::Level;

/// What time is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The command line.
    Arguments,
    /// Parsing and checking the configuration, planning.
    Configuration,
    /// Kernel and ramdisk: opening them, reading headers, decoding.
    Files,
    /// What is kept under `/run` and `/var/lib`: locks, records, configurations.
    State,
    /// Requests to xenstored: connecting, and making them.
    Requests,
    /// Waiting for xenstored, and all that runs because of the requests: sending them, reading the
    /// replies.
    Waiting,
    /// Calls to the hypervisor.
    Hypercalls,
    /// Guest memory: mapping it, and copying into it.
    Memory,
}

impl Part {
    /// All parts, in the order of [`Part::name`]s that is shown.
    const ALL: [Self; 8] = [
        Self::Arguments,
        Self::Configuration,
        Self::Files,
        Self::State,
        Self::Requests,
        Self::Waiting,
        Self::Hypercalls,
        Self::Memory,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Arguments => "arguments",
            Self::Configuration => "configuration",
            Self::Files => "files",
            Self::State => "state",
            Self::Requests => "requests",
            Self::Waiting => "waiting-for-xenstored",
            Self::Hypercalls => "hypercalls",
            Self::Memory => "memory",
        }
    }
}

/// What was spent so far.
struct Spent {
    began: Duration,
    last: Duration,
    parts: [Duration; Part::ALL.len()],
}

static SPENT: Mutex<Option<Spent>> = Mutex::new(None);

/// Time of the monotonic clock.
fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds)
        + Duration::from_nanos(u64::try_from(now.tv_nsec).unwrap_or_default())
}

fn is_wanted() -> bool {
    tracing::enabled!(target: "xlr::parts", Level::DEBUG)
}

/// When the program begins, and when it has read the command line: for [`begin`].
#[must_use]
pub fn clock() -> Duration {
    now()
}

/// The log is set up, which counts for no part. The program began, and had read the command line, at
/// these times.
pub fn begin(began: Duration, read: Duration) {
    if is_wanted()
        && let Ok(mut spent) = SPENT.lock()
    {
        let mut parts = [Duration::ZERO; Part::ALL.len()];
        parts[Part::Arguments as usize] = read.saturating_sub(began);
        *spent = Some(Spent { began, last: now(), parts });
    }
}

/// What was done since the last call was for this part.
pub fn done(part: Part) {
    change(|spent| {
        let now = now();
        spent.parts[part as usize] += now.saturating_sub(spent.last);
        spent.last = now;
    });
}

/// Some of what was counted for one part was for another.
pub fn move_time(from: Part, to: Part, time: Duration) {
    change(|spent| {
        let time = time.min(spent.parts[from as usize]);
        spent.parts[from as usize] -= time;
        spent.parts[to as usize] += time;
    });
}

fn change(by: impl FnOnce(&mut Spent)) {
    if is_wanted()
        && let Ok(mut spent) = SPENT.lock()
        && let Some(spent) = spent.as_mut()
    {
        by(spent);
    }
}

/// Logs what was spent.
pub fn tell() {
    change(|spent| {
        let ended = now();
        for part in Part::ALL {
            let took = spent.parts[part as usize];
            tracing::debug!(target: "xlr::parts", part = part.name(), ?took);
        }
        let (began, ended) = (spent.began.as_nanos(), ended.as_nanos());
        let telling = now().as_nanos() - ended;
        tracing::debug!(target: "xlr::parts", began, ended, telling, "by the monotonic clock");
    });
}
