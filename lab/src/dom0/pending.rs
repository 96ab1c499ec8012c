//! What xlr has recorded as under way.

use crate::dom0::host::{Said, Stop, Verdict, run};
use crate::fail;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

const RECORDS: &str = "/run/xlr/pending";

/// Has what is left removed, by a command that has nothing else to do with it.
pub fn swept() -> Result<Said, Stop> {
    run("/bin/xlr list")?.success()
}

/// How many records there are.
pub fn pending() -> Result<usize, Stop> {
    Ok(std::fs::read_dir(RECORDS)?.count())
}

/// Waits until nothing is under way: every domain stands that a command has let run. A guest may
/// speak earlier than that.
pub fn settled() -> Verdict {
    const LIMIT: Duration = Duration::from_secs(30);
    let failed = |errno: rustix::io::Errno| Stop::from(std::io::Error::from(errno));
    let notify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(failed)?;
    inotify::add_watch(&notify, RECORDS, WatchFlags::DELETE).map_err(failed)?;
    let deadline = Instant::now() + LIMIT;
    while pending()? > 0 {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or_default();
        match poll(&mut [PollFd::new(&notify, PollFlags::IN)], Some(&left)) {
            Ok(0) => fail!("{} records are left after {LIMIT:?}", pending()?),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&notify, &mut buffer);
        while events.next().is_ok() {}
    }
    Ok(())
}
