//! Steps at which a test may have the service killed.

use std::cell::Cell;
use std::str::FromStr;

#[cfg(not(test))]
use rustix::process::{Signal, getpid, kill_process};

/// Something that is done between a request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A commit is about to be written.
    Commit,
    /// It is written.
    Committed,
    /// An image is begun.
    Image,
    /// A piece of an image is written, and others are left.
    Piece,
    /// It is written.
    Kept,
    /// Bytes of a reply are in the ring, its index is not.
    Copied,
    /// An index of a ring has been set.
    Indexed,
    /// A peer is about to be notified.
    Notify,
    /// The keeper's descriptors are here, and nothing was done with them.
    Joined,
    /// A connection has come from the keeper.
    Came,
    /// A socket's peek offset says how much is to be received.
    Receive,
    /// It is received, and the offset says no more.
    Received,
    /// Bytes of a reply are in the file from which they are sent.
    Staged,
    /// They are sent.
    Sent,
    /// A socket has another file.
    Replaced,
}

const NAMES: [(&str, Step); 15] = [
    ("commit", Step::Commit),
    ("committed", Step::Committed),
    ("image", Step::Image),
    ("piece", Step::Piece),
    ("kept", Step::Kept),
    ("copied", Step::Copied),
    ("indexed", Step::Indexed),
    ("notify", Step::Notify),
    ("joined", Step::Joined),
    ("came", Step::Came),
    ("receive", Step::Receive),
    ("received", Step::Received),
    ("staged", Step::Staged),
    ("sent", Step::Sent),
    ("replaced", Step::Replaced),
];

/// Where the end is: at this step, when it comes for the so many-th time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    step: Step,
    times: u32,
}

impl FromStr for End {
    type Err = String;

    /// `STEP:TIMES`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, times) = text.split_once(':').ok_or("write STEP:TIMES")?;
        let known = NAMES.iter().find(|(known, _)| *known == name);
        let names = || NAMES.map(|(name, _)| name).join(", ");
        let &(_, step) = known.ok_or_else(|| format!("steps are {}", names()))?;
        let times = times.parse().map_err(|_| "TIMES is a number")?;
        Ok(Self { step, times })
    }
}

thread_local! {
    static END: Cell<Option<End>> = const { Cell::new(None) };
}

/// Chooses where the service ends.
pub fn end_at(end: Option<End>) {
    END.set(end);
}

/// A step is reached; perhaps the last one.
pub fn passed(step: Step) {
    let Some(end) = END.get().filter(|end| end.step == step) else { return };
    if end.times <= 1 {
        END.set(None);
        end_here();
    } else {
        END.set(Some(End { times: end.times - 1, ..end }));
    }
}

#[cfg(not(test))]
fn end_here() {
    // A process can always kill itself.
    let _ = kill_process(getpid(), Signal::KILL);
}

/// How a server ends in a test of this process.
#[cfg(test)]
pub struct Killed;

#[cfg(test)]
fn end_here() {
    std::panic::resume_unwind(Box::new(Killed));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_names() {
        assert_eq!("indexed:7".parse(), Ok(End { step: Step::Indexed, times: 7 }));
        for wrong in ["indexed", "indexed:", "other:1"] {
            assert!(wrong.parse::<End>().is_err(), "{wrong}");
        }
    }
}
