//! Locks between commands that run at once: one per name, per UUID and per domain.
//!
//! In: what is to be worked on. Out: [`Lock`], which holds until it is dropped. A lock is a
//! `flock` on a file of its own, so it ends with the process that holds it, however that ends; the
//! file goes with the lock. Never waits without saying so.
//!
//! The kernel tells of a `flock` only by being asked for one. Whoever merely looks holds another one
//! meanwhile, on the directory: whoever finds a lock taken tries again under that, and is then sure
//! that somebody works by it.

use super::{State, StateError, names};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// What is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A name that a domain has or shall have.
    Name(&'a str),
    /// A UUID that a domain shall have.
    Uuid(uuid::Uuid),
    /// A domain, by number.
    Domain(u16),
    /// What comes after a domain's end, by number: held by who stays for it.
    End(u16),
    /// Who has which PCI device of the host.
    PciDevices,
    /// Being the one who serves consoles.
    Consoled,
    /// The consoles, once they are served.
    Consoles,
    /// Being the one who looks after every domain's end.
    Supervisor,
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "the name {name:?}"),
            Self::Uuid(uuid) => write!(f, "the UUID {uuid}"),
            Self::Domain(domid) => write!(f, "domain {domid}"),
            Self::End(domid) => write!(f, "the end of domain {domid}"),
            Self::PciDevices => f.write_str("PCI devices"),
            Self::Consoled => write!(f, "the place of consoled"),
            Self::Consoles => write!(f, "the consoles"),
            Self::Supervisor => f.write_str("the place of the supervisor"),
        }
    }
}

impl Subject<'_> {
    fn file_name(&self) -> String {
        match self {
            Self::Name(name) => format!("name-{}", escape(name)),
            Self::Uuid(uuid) => format!("uuid-{uuid}"),
            Self::Domain(domid) => format!("domain-{domid}"),
            Self::End(domid) => format!("end-{domid}"),
            Self::PciDevices => String::from("pci-devices"),
            Self::Consoled => String::from("consoled"),
            Self::Consoles => String::from("consoles"),
            Self::Supervisor => String::from("supervisor"),
        }
    }
}

/// Longest part of a name in a file's name, of which a file system takes 255 bytes.
const NAME_BYTES: usize = 200;

/// A name as part of a file's name: nothing in it leads elsewhere. Of a long one the beginning is
/// enough: two names that begin alike wait for each other, and harm nothing.
fn escape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        if text.len() >= NAME_BYTES {
            break;
        }
        match character {
            '/' | '%' | '\0' => text.push_str(&format!("%{:02x}", u32::from(character))),
            _ => text.push(character),
        }
    }
    text
}

/// A lock that is held.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn signed(path: PathBuf, file: File) -> Self {
        // Only for the words of who waits: a lock that does not say whose it is holds as well.
        let _ = file
            .set_len(0)
            .and_then(|()| (&file).write_all(format!("process {}", std::process::id()).as_bytes()));
        Self { path, _file: file }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked, so nobody works by this file; who waits for it sees that it is gone.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl State {
    /// Takes a lock. If another command holds it, `tell` is called with a line for the user, and
    /// the lock is waited for.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn lock(
        &self,
        subject: Subject<'_>,
        tell: impl FnOnce(fmt::Arguments<'_>),
    ) -> Result<Lock, StateError> {
        let path = self.locks().join(subject.file_name());
        let mut tell = Some(tell);
        loop {
            let file = open(&path).map_err(|source| StateError::io("open", &path, source))?;
            if !self.try_for_sure(&file, &path)? {
                if let Some(tell) = tell.take() {
                    let holder = holder(&path);
                    tell(format_args!("Waiting for {subject}, which {holder} works on"));
                }
                wait(&file, FlockOperation::LockExclusive)
                    .map_err(|source| StateError::io("lock", &path, source.into()))?;
            }
            if !is_at(&file, &path) {
                // Its holder has removed it: another file has taken its place, or none yet.
                continue;
            }
            return Ok(Lock::signed(path, file));
        }
    }

    /// Waits until no other command holds a lock, without taking it: for what must be over before
    /// something begins, and cannot come again.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn await_end(
        &self,
        subject: Subject<'_>,
        tell: impl FnOnce(fmt::Arguments<'_>),
    ) -> Result<(), StateError> {
        let path = self.locks().join(subject.file_name());
        if !self.is_locked(subject)? {
            return Ok(());
        }
        tell(format_args!("Waiting for {subject}, which {} works on", holder(&path)));
        loop {
            let Some(file) = existing(&path)? else { return Ok(()) };
            // Shared: whoever looks meanwhile sees no holder.
            wait(&file, FlockOperation::LockShared)
                .map_err(|source| StateError::io("lock", &path, source.into()))?;
            if is_at(&file, &path) {
                return Ok(());
            }
        }
    }

    /// Takes a lock unless another command holds it.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn lock_if_free(&self, subject: Subject<'_>) -> Result<Option<Lock>, StateError> {
        let path = self.locks().join(subject.file_name());
        loop {
            let file = open(&path).map_err(|source| StateError::io("open", &path, source))?;
            if !self.try_for_sure(&file, &path)? {
                return Ok(None);
            }
            if is_at(&file, &path) {
                return Ok(Some(Lock::signed(path, file)));
            }
        }
    }

    /// Whether a command holds a lock. Nobody who wants it notices.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn is_locked(&self, subject: Subject<'_>) -> Result<bool, StateError> {
        let path = self.locks().join(subject.file_name());
        if existing(&path)?.is_none() {
            return Ok(false);
        }
        let _looking = self.looking()?;
        // Opened only now: what a sweep removes meanwhile is not looked at.
        let Some(file) = existing(&path)? else { return Ok(false) };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(StateError::io("lock", &path, errno.into())),
        }
    }

    /// A stream that comes to its end when no other command holds a lock. A thread waits for that:
    /// the kernel tells of a file that is closed (inotify(7)) before it lets go of its lock.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn released(&self, subject: Subject<'static>) -> Result<UnixStream, StateError> {
        let failed = |source| StateError::io("await", &self.locks(), source);
        let (came, end) = UnixStream::pair().map_err(failed)?;
        let state = self.clone();
        let wait = move || {
            // Whoever reads the stream looks at the lock again, and is told what is wrong with it.
            let _ = state.await_end(subject, |_| {});
            drop(end);
        };
        std::thread::Builder::new().name(String::from("lock")).spawn(wait).map_err(failed)?;
        Ok(came)
    }

    /// Removes the lock files that commands which were killed have left.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn sweep_locks(&self) -> Result<(), StateError> {
        let names = names(&self.locks())?;
        if names.is_empty() {
            return Ok(());
        }
        let _looking = self.looking()?;
        for name in names {
            let path = self.locks().join(name);
            let Ok(file) = File::open(&path) else { continue };
            if try_lock(&file, &path)? && is_at(&file, &path) {
                drop(Lock { path, _file: file });
            }
        }
        Ok(())
    }

    /// Locks the file unless a command has: one that only looks whether it is locked does not count.
    pub(super) fn try_for_sure(&self, file: &File, path: &Path) -> Result<bool, StateError> {
        if try_lock(file, path)? {
            return Ok(true);
        }
        let _looking = self.looking()?;
        try_lock(file, path)
    }

    /// Held by whoever takes locks only to see whether they are held. Never waited under, so whoever
    /// waits for it waits for no longer than a look takes.
    pub(super) fn looking(&self) -> Result<File, StateError> {
        let path = self.locks();
        let directory =
            File::open(&path).map_err(|source| StateError::io("open", &path, source))?;
        wait(&directory, FlockOperation::LockExclusive)
            .map_err(|source| StateError::io("lock", &path, source.into()))?;
        Ok(directory)
    }
}

/// Opens the file if there is one.
fn existing(path: &Path) -> Result<Option<File>, StateError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::io("open", path, source)),
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Not truncated: the bytes are the holder's.
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Locks the file unless another process has.
pub(super) fn try_lock(file: &File, path: &Path) -> Result<bool, StateError> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(StateError::io("lock", path, errno.into())),
    }
}

pub(super) fn wait(file: &File, operation: FlockOperation) -> Result<(), Errno> {
    loop {
        match flock(file, operation) {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

/// Whether the path still leads to this file.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let own = file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
    let there = std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    matches!((own, there), (Ok(own), Ok(there)) if own == there)
}

/// Who holds it, by its own words. They may still be those of one that was killed.
fn holder(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let alive = |pid: &str| Path::new("/proc").join(pid).exists();
    match text.strip_prefix("process ") {
        Some(pid) if pid.parse::<u32>().is_ok() && alive(pid) => text,
        _ => String::from("another command"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::state;
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;

    fn quiet(_: fmt::Arguments<'_>) {}

    #[test]
    fn names_stay_in_their_directory() {
        let check = |name: &str, file: &str| {
            assert_eq!(Subject::Name(name).file_name(), file);
        };
        check("hpc", "name-hpc");
        check("..", "name-..");
        check("a/../b", "name-a%2f..%2fb");
        check("50%", "name-50%25");
        check(&"%".repeat(255), &format!("name-{}", "%25".repeat(67)));
        check(&"\u{10000}".repeat(64), &format!("name-{}", "\u{10000}".repeat(50)));
        assert_eq!(Subject::Domain(7).file_name(), "domain-7");
    }

    #[test]
    fn a_lock_that_is_held_is_not_waited_for() {
        let (state, root) = state("lock-if-free");
        let subject = Subject::Uuid(uuid::Uuid::from_u128(7));
        let held = state.lock(subject, quiet).unwrap();
        assert!(state.lock_if_free(subject).unwrap().is_none());
        assert!(state.lock_if_free(Subject::Domain(7)).unwrap().is_some());
        drop(held);
        assert!(state.lock_if_free(subject).unwrap().is_some());
        assert!(names(&state.locks()).unwrap().is_empty());
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_lock_that_is_held_is_not_swept() {
        let (state, root) = state("lock-swept");
        let subject = Subject::Uuid(uuid::Uuid::from_u128(7));
        state.await_end(subject, quiet).unwrap();
        assert!(names(&state.locks()).unwrap().is_empty(), "a wait for nothing leaves nothing");
        let held = state.lock(subject, quiet).unwrap();
        state.sweep_locks().unwrap();
        assert!(state.is_locked(subject).unwrap(), "it is swept while it is held");
        drop(held);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_dead_process_is_not_waited_for_by_its_number() {
        let (_, root) = state("lock-holder");
        let path = root.join("lock");
        let own = format!("process {}", std::process::id());
        let check = |text: &str, words: &str| {
            std::fs::write(&path, text).unwrap();
            assert_eq!(holder(&path), words, "{text:?}");
        };
        check(&own, &own);
        // More than the kernel gives.
        check("process 4194305", "another command");
        check("process ..", "another command");
        check("", "another command");
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn one_at_a_time_and_who_waits_says_so() {
        let (state, root) = state("lock");
        let subject = Subject::Name("a");
        let held = state.lock(subject, quiet).unwrap();
        let other = state.lock(Subject::Name("b"), quiet).unwrap();
        assert!(state.is_locked(subject).unwrap());
        assert!(!state.is_locked(Subject::End(1)).unwrap());
        let (said, words) = mpsc::channel();
        let waiter = std::thread::spawn({
            let state = state.clone();
            move || {
                let tell = |text: fmt::Arguments<'_>| said.send(text.to_string()).unwrap();
                drop(state.lock(subject, tell).unwrap());
            }
        });
        let words = words.recv().unwrap();
        assert!(words.contains("the name \"a\", which process"), "{words}");
        assert!(!waiter.is_finished());
        drop(held);
        waiter.join().unwrap();
        drop(other);
        assert!(names(&state.locks()).unwrap().is_empty());
        std::fs::remove_dir_all(root).unwrap();
    }

    /// The file is removed and made again all the time; two holders at once would show.
    #[test]
    fn it_excludes_while_files_come_and_go() {
        let (state, root) = state("exclude");
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let held = state.lock(Subject::Domain(1), quiet).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(held);
                    }
                });
            }
        });
        std::fs::remove_dir_all(root).unwrap();
    }

    /// Looks and sweeps go on all the time, and whoever takes the lock is never told of a holder; nor
    /// is one seen by those who look, but for the taker.
    #[test]
    fn who_only_looks_is_not_noticed() {
        let (state, root) = state("look");
        let (free, held) = (Subject::End(1), Subject::End(2));
        let path = state.locks().join(free.file_name());
        let done = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while done.load(Ordering::SeqCst) == 0 {
                        // What a killed command leaves.
                        std::fs::write(state.locks().join(held.file_name()), "").unwrap();
                        state.sweep_locks().unwrap();
                        assert!(!state.is_locked(held).unwrap(), "a look is taken for a holder");
                        let _ = state.is_locked(free).unwrap();
                    }
                });
            }
            let mut noticed = 0;
            for _ in 0..2_000 {
                std::fs::write(&path, "").unwrap();
                drop(state.lock(free, |_| noticed += 1).unwrap());
                std::fs::write(&path, "").unwrap();
                noticed += u32::from(state.lock_if_free(free).unwrap().is_none());
            }
            // Before anything can fail here: the others end by it.
            done.store(1, Ordering::SeqCst);
            assert_eq!(noticed, 0, "a look is taken for a holder");
        });
        std::fs::remove_dir_all(root).unwrap();
    }

    /// Of two who await an end neither takes the other for who holds it.
    #[test]
    fn who_awaits_an_end_holds_nothing() {
        let (state, root) = state("await");
        let subject = Subject::End(3);
        let held = state.lock(subject, quiet).unwrap();
        let (said, words) = mpsc::channel();
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let (state, said) = (state.clone(), said.clone());
                std::thread::spawn(move || {
                    let tell = |text: fmt::Arguments<'_>| said.send(text.to_string()).unwrap();
                    state.await_end(subject, tell).unwrap();
                    assert!(!state.is_locked(subject).unwrap());
                })
            })
            .collect();
        for _ in &waiters {
            let words = words.recv().unwrap();
            assert!(words.contains("the end of domain 3, which process"), "{words}");
        }
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        drop(held);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_sweep_takes_what_nobody_holds() {
        let (state, root) = state("sweep-locks");
        std::fs::write(state.locks().join("name-dead"), "process 1").unwrap();
        let held = state.lock(Subject::Name("alive"), quiet).unwrap();
        state.sweep_locks().unwrap();
        assert_eq!(names(&state.locks()).unwrap(), ["name-alive"]);
        drop(held);
        std::fs::remove_dir_all(root).unwrap();
    }
}
