//! Which domain is meant: names and domids, from the hypervisor's list and xenstore's names.
//!
//! The hypervisor says who exists, xenstore only what they are called. All names are read in one
//! round trip.

use super::error::CommandError;
use super::tell;
use crate::cli::number::digits;
use crate::state::State;
use crate::state::lock::{Lock, Subject};
use libxc_safe::{DomainInfo, Xen};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};
use xen_sys::types::Domid;
use xenstore::client::{Client, Nodes};

/// A domain and its name, if xenstore has one.
#[derive(Clone, Debug)]
pub struct Named {
    /// What the hypervisor says.
    pub info: DomainInfo,
    /// Its name.
    pub name: Option<String>,
}

/// Every domain with its name, by ascending domid.
pub fn all(xen: &Xen, store: &mut Client) -> Result<Vec<Named>, CommandError> {
    let domains = xen.domains()?;
    // A domain that is being made or taken down has no name.
    let names = store.read_each(domains.iter().map(|info| name_path(info.domid)))?;
    let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    let named = |(info, name): (DomainInfo, Option<_>)| Named { info, name: name.map(text) };
    Ok(domains.into_iter().zip(names).map(named).collect())
}

/// Every domain without its name, for when xenstore cannot be asked.
pub fn nameless(xen: &Xen) -> Result<Vec<Named>, libxc_safe::Error> {
    Ok(xen.domains()?.into_iter().map(|info| Named { info, name: None }).collect())
}

/// The domain that `given` means: a domid if it is a number, a name otherwise.
pub fn find(xen: &Xen, store: &mut Client, given: &str) -> Result<DomainInfo, CommandError> {
    match digits(given) {
        Some(domid) => xen.domain_info(Domid(domid))?.ok_or(CommandError::NoSuchDomid { domid }),
        None => by_name(xen, store, given)?
            .ok_or_else(|| CommandError::NoSuchName { given: given.to_owned() }),
    }
}

/// The domain that `given` means, and its lock. While that is waited for the domain may end, and
/// another one be called so: which one is meant is looked at again under the lock.
pub fn find_and_lock(
    xen: &Xen,
    store: &mut Client,
    state: &State,
    given: &str,
) -> Result<(DomainInfo, Lock), CommandError> {
    let mut info = find(xen, store, given)?;
    loop {
        let lock = state.lock(Subject::Domain(info.domid.0), |text| tell(text))?;
        let now = find(xen, store, given)?;
        if (now.domid, now.uuid) == (info.domid, info.uuid) {
            return Ok((now, lock));
        }
        info = now;
    }
}

/// The domain with this name.
pub fn by_name(
    xen: &Xen,
    store: &mut Client,
    name: &str,
) -> Result<Option<DomainInfo>, CommandError> {
    let named = all(xen, store)?.into_iter().find(|domain| domain.name.as_deref() == Some(name));
    Ok(named.map(|domain| domain.info))
}

/// Where a domain's name is kept.
#[must_use]
pub fn name_path(domid: Domid) -> String {
    format!("/local/domain/{domid}/name")
}

/// What Xen says of a domain that was there a moment ago; none if it has gone since.
pub fn unless_gone<T>(answer: Result<T, libxc_safe::Error>) -> Result<Option<T>, CommandError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_no_such_domain() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The CPUs of this host, by number.
pub fn cpus(xen: &Xen) -> Result<Vec<u32>, CommandError> {
    let places = xen.cpu_topology()?;
    Ok((0..).zip(places).filter_map(|(cpu, place)| place.map(|_| cpu)).collect())
}

/// The same domain as it is now, or none if it is gone; a domid that was taken by another domain
/// meanwhile counts as gone, and so does one that is being taken down: xenstored reports a domain's
/// end while the hypervisor still lists it, and nothing more after that.
pub fn again(xen: &Xen, known: &DomainInfo) -> Result<Option<DomainInfo>, CommandError> {
    let now = xen.domain_info(known.domid)?;
    Ok(now.filter(|info| info.uuid == known.uuid && !info.dying))
}

/// Waits for a watch event, or until `timeout` has passed; tells whether there is reason to look.
/// Which event it was does not matter: whoever waits looks at everything anew.
pub fn wait_for_event(store: &mut Client, timeout: Option<Duration>) -> Result<bool, CommandError> {
    match store.next_event(timeout) {
        Ok(event) => Ok(event.is_some()),
        Err(xenstore::client::Error::EventsLost { .. }) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the store has an event, one of `others` can be read, or it is `until`; tells which of
/// `others` can be, or nothing if only the time has passed. Events are taken from the store: whoever
/// waits looks at everything anew.
pub fn wait_for_any(
    store: &mut Client,
    others: &[BorrowedFd<'_>],
    until: Option<Instant>,
) -> Result<Option<Vec<bool>>, CommandError> {
    // Events may have come along with the answer to a request, where poll does not see them.
    let mut readable = vec![false; others.len()];
    while store.events_waiting() == 0 {
        let left = until.map(|until| {
            Timespec::try_from(until.saturating_duration_since(Instant::now())).unwrap_or_default()
        });
        let store_fd = PollFd::new(&*store, PollFlags::IN);
        let mut fds: Vec<_> = others.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        fds.push(store_fd);
        match poll(&mut fds, left.as_ref()) {
            Ok(0) => return Ok(None),
            Ok(_) => {
                for (readable, fd) in readable.iter_mut().zip(&fds) {
                    *readable = !fd.revents().is_empty();
                }
                break;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(CommandError::Wait { source: errno.into() }),
        }
    }
    while wait_for_event(store, Some(Duration::ZERO))? {}
    Ok(Some(readable))
}

#[cfg(test)]
mod tests {
    use super::unless_gone;
    use libxc_safe::{Errno, Error};
    use xen_sys::types::Domid;

    /// A domain that ends while it is looked at is none; any other error is one.
    #[test]
    fn a_domain_that_has_gone_is_no_error() {
        let refused = |domid, errno| {
            unless_gone::<u8>(Err(Error::Hypercall { operation: "a test", domid, errno })).ok()
        };
        assert_eq!(unless_gone(Ok(1)).ok(), Some(Some(1)));
        assert_eq!(refused(Some(Domid(3)), Errno::SRCH), Some(None));
        assert_eq!(refused(Some(Domid(3)), Errno::PERM), None);
        assert_eq!(refused(None, Errno::SRCH), None);
    }
}
