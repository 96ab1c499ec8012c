//! Why guests cannot be run, beside all that a create can fail for.

use crate::commands::error::CommandError;
use std::io;
use std::path::PathBuf;

/// What is wrong with what was asked for, or with where results are to go.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A pattern that is none, or too large.
    #[error("{text:?} is no pattern; see docs.rs/regex for what one can be")]
    Pattern {
        /// What was given.
        text: String,
        /// What is wrong with it.
        #[source]
        source: Box<regex::Error>,
    },
    /// A pattern that says nothing of a guest: each has an empty line, or no line without it.
    #[error("the pattern {text:?} matches an empty line, and so every guest")]
    Empty {
        /// What was given.
        text: String,
    },
    /// A suite that is not alone.
    #[error("{suite:?} is a suite, and takes nothing beside it; its `set` is what assignments are")]
    Beside {
        /// Which.
        suite: String,
    },
    /// A suite that cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A suite that says what cannot be meant.
    #[error("{}: {}", path.display(), why.trim_end())]
    Suite {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, and where.
        why: String,
    },
    /// A guest of a suite whose configuration cannot be read.
    #[error("guest {name:?}")]
    Config {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: Box<CommandError>,
    },
    /// A size that is none.
    #[error("{text:?} is no size of a scratch device; write a number with MiB or GiB, as in 64MiB")]
    Size {
        /// What was given.
        text: String,
    },
    /// Files that are to be kept, and nowhere to keep them.
    #[error("a scratch device is for files that are kept: name a folder for them by --log")]
    Nowhere,
    /// Files of another run, which would pass for this one's.
    #[error(
        "{} has the files of another run, or is no run's; remove it, or name another folder by --log",
        path.display()
    )]
    Left {
        /// Where.
        path: PathBuf,
    },
    /// A scratch device in the place of a disk.
    #[error("the guest has a disk {vdev} already, which is the name of its scratch device")]
    Taken {
        /// Its name.
        vdev: &'static str,
    },
    /// A file of results that cannot be written.
    #[error("cannot write {}; look at its rights, and at the room where it is", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl RunError {
    /// Whether the command line, or a file that it names, is wrong.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Write { .. } | Self::Taken { .. } | Self::Left { .. })
    }

    /// A file that cannot be written.
    pub fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Write { path, source }
    }
}
