//! Removes a domain and what belongs to it: after a create that failed, and on request.
//!
//! In: who the domain is. Out: nothing of it left, or a list of what could not be removed. Never
//! touches a domain without making sure that it is still the one that was meant: a domid is used
//! again after a domain's end, its UUID is not.
//!
//! xenstored is not told to release the domain: it notices a domain's end by itself, and only then
//! wakes xenconsoled, which would otherwise look too early, see the domain still there, and keep
//! its console for ever. xl does the same.

use crate::nodes::{Live, removal, shared_parents};
use libxc_safe::Xen;
use std::time::{Duration, Instant};
use xen_sys::types::Domid;
use xenstore::client::{Client, Nodes};
use xenstore::wire::{Reply, Request};

/// How long a removal waits for xenconsoled to have answered the domain's introduction.
const CONSOLE_DEADLINE: Duration = Duration::from_secs(2);

/// Who a domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its domid, which a later domain may bear again.
    pub domid: Domid,
    /// Its UUID.
    pub uuid: [u8; 16],
}

impl Identity {
    /// Who bears this domid now.
    ///
    /// # Errors
    /// [`DestroyError::Gone`] when nobody does.
    pub fn of(xen: &Xen, domid: Domid) -> Result<Self, DestroyError> {
        let info = xen.domain_info(domid)?;
        info.map(|info| Self { domid, uuid: info.uuid }).ok_or(DestroyError::Gone { domid })
    }

    /// Makes sure that the domain is still there and still the same.
    fn check(&self, xen: &Xen) -> Result<(), DestroyError> {
        let now = Self::of(xen, self.domid)?;
        if now.uuid == self.uuid {
            Ok(())
        } else {
            Err(DestroyError::Another { domid: self.domid })
        }
    }
}

/// Why a domain was not destroyed.
#[derive(Debug, thiserror::Error)]
pub enum DestroyError {
    /// There is none of this number.
    #[error("there is no domain {domid}")]
    Gone {
        /// The number.
        domid: Domid,
    },
    /// Another domain bears the number now.
    #[error("domain {domid} is not the one that was meant: it ended, and another has its number")]
    Another {
        /// The number.
        domid: Domid,
    },
    /// Devices that need more than the removal of nodes.
    #[error(
        "domain {domid} has devices ({}), which this version cannot detach; use xl destroy {domid}",
        kinds.join(", ")
    )]
    Devices {
        /// The domain.
        domid: Domid,
        /// Kinds of the devices.
        kinds: Vec<String>,
    },
    /// The hypervisor refused.
    #[error(transparent)]
    Xen(#[from] libxc_safe::Error),
    /// xenstored refused or is gone; the domain was not touched.
    #[error(transparent)]
    Store(#[from] xenstore::client::Error),
    /// Something of it is left, perhaps the domain itself.
    #[error("domain {domid} could not be removed altogether: {}", list(left))]
    Left {
        /// The domain.
        domid: Domid,
        /// What is left.
        left: Vec<UndoError>,
    },
}

/// What is left, each with why, in one line.
pub(crate) fn list(left: &[UndoError]) -> String {
    let with_causes = |left: &UndoError| {
        let mut text = left.to_string();
        let mut cause = std::error::Error::source(left);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    };
    left.iter().map(with_causes).collect::<Vec<_>>().join("; ")
}

/// Something that could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// The domain itself.
    #[error("domain {domid} still exists; remove it with xlr destroy {domid}")]
    Domain {
        /// The domain.
        domid: Domid,
        /// Why.
        #[source]
        cause: libxc_safe::Error,
    },
    /// A subtree in xenstore.
    #[error("left in xenstore: {path}; remove it with xenstore-rm {path}")]
    Node {
        /// Its root; several, with blanks between, where nothing is known of each.
        path: String,
        /// Why.
        #[source]
        cause: xenstore::client::Error,
    },
}

/// Destroys a domain and removes its nodes, as `xl destroy` does. The guest is not asked.
///
/// # Errors
/// [`DestroyError`]; nothing was changed unless it is [`DestroyError::Left`].
pub fn destroy(xen: &Xen, store: &mut Client, identity: &Identity) -> Result<(), DestroyError> {
    let domid = identity.domid;
    identity.check(xen)?;
    let kinds = devices(store, domid)?;
    if !kinds.is_empty() {
        return Err(DestroyError::Devices { domid, kinds });
    }
    let live = Live::of_dead(domid.0, identity.uuid, console_domid(store, domid)?);
    match xen.pause(domid) {
        // Ended just now by someone else: its nodes are still to be removed.
        Err(error) if !error.is_no_such_domain() => return Err(error.into()),
        _ => {}
    }
    let left = undo(xen, store, &live, Some(&[]));
    if left.is_empty() { Ok(()) } else { Err(DestroyError::Left { domid, left }) }
}

/// Kinds of devices other than the console, from the subtree that no guest can write to.
fn devices(store: &mut Client, domid: Domid) -> Result<Vec<String>, DestroyError> {
    let kinds = match store.directory(format!("/libxl/{domid}/device")) {
        Ok(kinds) => kinds,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    Ok(kinds.into_iter().filter(|kind| kind != "console").collect())
}

/// Who serves the domain's console, from the same subtree; dom0 where nothing is said.
fn console_domid(store: &mut Client, domid: Domid) -> Result<u16, DestroyError> {
    let path = format!("/libxl/{domid}/device/console/0/backend");
    let backend = store.read_text_optional(path)?.unwrap_or_default();
    let number = backend.strip_prefix("/local/domain/").and_then(|rest| rest.split('/').next());
    Ok(number.and_then(|number| number.parse().ok()).unwrap_or(0))
}

/// Removes nodes (where there are some) and domain; gives what is left of them. `brought` names
/// directories that were not there before the domain, and go with it if nothing else is in them.
pub(crate) fn undo(
    xen: &Xen,
    store: &mut Client,
    live: &Live,
    brought: Option<&[&str]>,
) -> Vec<UndoError> {
    let domid = Domid(live.domid);
    // Ended by someone else meanwhile, and the number given away: what bears it now stays.
    if matches!(xen.domain_info(domid), Ok(Some(info)) if info.uuid != live.uuid) {
        return Vec::new();
    }
    let mut left = Vec::new();
    if let Some(brought) = brought {
        await_console(store, domid);
        // Two domains bear one UUID while one of them is migrated to this host: the last removes
        // /vm/UUID. Where the hypervisor does not answer it is kept: it can still be removed.
        let shared = xen.domains().map_or(true, |domains| {
            domains.iter().any(|other| other.uuid == live.uuid && other.domid.0 != live.domid)
        });
        remove_nodes(store, live, shared, brought, &mut left);
    }
    match xen.destroy(domid) {
        Err(cause) if !cause.is_no_such_domain() => left.push(UndoError::Domain { domid, cause }),
        _ => {}
    }
    left
}

/// Lets xenconsoled have its word. It answers a domain's introduction by writing `console/tty`, in
/// its own time; written after the removal, the node would bring its parents back for ever.
/// Nobody may be serving consoles, so the wait ends after [`CONSOLE_DEADLINE`]. It has a connection
/// of its own: the events that wait on the caller's are the caller's.
fn await_console(store: &mut Client, domid: Domid) {
    const TOKEN: &str = "undo";
    let path = format!("/local/domain/{domid}/console/tty");
    let written = |store: &mut Client| {
        store.read_optional(&path).map_or(true, |tty| tty.is_some_and(|tty| !tty.is_empty()))
    };
    if written(store) || !store.is_introduced(domid).unwrap_or(false) {
        return;
    }
    let Ok(mut own) = Client::connect() else { return };
    if own.watch(&path, TOKEN).is_err() {
        return;
    }
    let deadline = Instant::now() + CONSOLE_DEADLINE;
    while !written(&mut own) {
        let left = deadline.saturating_duration_since(Instant::now());
        match own.next_event(Some(left)) {
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

fn remove_nodes(
    store: &mut Client,
    live: &Live,
    keep_vm: bool,
    brought: &[&str],
    left: &mut Vec<UndoError>,
) {
    let mut paths = removal(live);
    if keep_vm {
        paths.retain(|path| !path.starts_with("/vm/"));
    }
    let mut parents = shared_parents(live);
    parents.extend(brought.iter().map(ToString::to_string));
    let fail = |path: &String, cause| UndoError::Node { path: path.clone(), cause };
    let requests: Result<Vec<_>, _> =
        paths.iter().map(Request::rm).chain(parents.iter().map(Request::directory)).collect();
    let sent =
        requests.map_err(xenstore::client::Error::from).and_then(|requests| store.batch(&requests));
    let replies = match sent {
        Ok(replies) => replies,
        // None of them may be gone.
        Err(cause) => return left.push(fail(&paths.join(" "), cause)),
    };
    let mut emptied = false;
    let all = paths.iter().chain(&parents);
    for (at, (path, reply)) in all.zip(replies).enumerate() {
        match reply {
            Ok(Reply::Directory(children)) => emptied |= children.is_empty(),
            Err(cause) if at < paths.len() && !cause.is_not_found() => left.push(fail(path, cause)),
            _ => {}
        }
    }
    if emptied && let Err(cause) = remove_empty(store, &parents) {
        left.push(fail(&parents[0], cause));
    }
}

/// Removes directories that hold nothing any more, the deepest first, in a transaction: another
/// create may be about to write there.
fn remove_empty(store: &mut Client, parents: &[String]) -> Result<(), xenstore::client::Error> {
    store.transaction(|transaction| {
        for path in parents {
            match transaction.directory(path) {
                Ok(children) if children.is_empty() => transaction.rm(path)?,
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_named_with_why() {
        let cause = || libxc_safe::Error::ReadOnly;
        let domid = Domid(5);
        let left = || vec![UndoError::Domain { domid, cause: cause() }];
        let text = DestroyError::Left { domid, left: left() }.to_string();
        assert!(
            text.starts_with("domain 5 could not be removed altogether: domain 5 still"),
            "{text}"
        );
        assert!(text.ends_with(&format!("xlr destroy 5: {}", cause())), "{text}");
        let both = left().into_iter().chain(left()).collect::<Vec<_>>();
        assert_eq!(list(&both), format!("{0}; {0}", list(&left())));
        assert_eq!(list(&[]), "");
    }
}
