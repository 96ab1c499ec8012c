//! Removes a domain and what belongs to it: after a create that failed, and on request.
//!
//! In: who the domain is. Out: nothing of it left, or a list of what could not be removed. Never
//! touches a domain without making sure that it is still the one that was meant: a domid is used
//! again after a domain's end, its UUID is not.
//!
//! xenstored is not told to release the domain: it notices a domain's end by itself, and only then
//! wakes xenconsoled, which would otherwise look too early, see the domain still there, and keep
//! its console for ever. xl does the same.

use crate::causes::with_causes;
use crate::nodes::{self, Live, MARKER, removal, shared_parents};
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
    /// Its UUID, which a later domain may bear again too: a restarted one keeps it.
    pub uuid: [u8; 16],
    /// Its creation, if xlr made it and it is known: borne by no other domain ever.
    pub generation: Option<u64>,
}

/// What there may be of a domain, known beforehand: the domain itself and its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The domid.
    pub domid: Domid,
    /// The UUID.
    pub uuid: [u8; 16],
    /// Who serves its console.
    pub console_domid: u16,
    /// Directories that came with it, and go with it if nothing else is in them.
    pub brought: Vec<String>,
}

impl Identity {
    /// Who bears this domid now.
    ///
    /// # Errors
    /// [`DestroyError::Gone`] when nobody does.
    pub fn of(xen: &Xen, domid: Domid) -> Result<Self, DestroyError> {
        let info = xen.domain_info(domid)?;
        info.map(|info| Self { domid, uuid: info.uuid, generation: None })
            .ok_or(DestroyError::Gone { domid })
    }

    /// Makes sure that the domain is still there and still the same, as far as the hypervisor knows.
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
    left.iter().map(|left| with_causes(left)).collect::<Vec<_>>().join("; ")
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
    /// A subtree that may be another domain's as well: the hypervisor did not say.
    #[error("left in xenstore: {path}, which another domain may use")]
    Shared {
        /// Its root.
        path: String,
        /// Why that is not known.
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

/// What there is of a domain that is to be destroyed, if it can be: what `xl destroy` would remove.
/// The guest is not asked. Changes nothing: the caller notes it, and then calls [`remove`]. Whether it
/// has devices other than its console is told beside it: the caller detaches them before that.
///
/// # Errors
/// [`DestroyError`].
pub fn destroyable(
    xen: &Xen,
    store: &mut Client,
    identity: &Identity,
) -> Result<(Leftover, bool), DestroyError> {
    let Identity { domid, uuid, generation } = *identity;
    identity.check(xen)?;
    let seen = Seen::of(store, domid)?;
    if generation.is_some_and(|own| !seen.may_be(own)) {
        return Err(DestroyError::Another { domid });
    }
    let console_domid = seen.console_domid;
    Ok((Leftover { domid, uuid, console_domid, brought: Vec::new() }, seen.has_devices))
}

/// Destroys a domain where xenstored cannot be reached. Its nodes stay: [`remove`] takes them away
/// once it can. What devices it has is not known then, so that none of them is detached.
///
/// # Errors
/// [`DestroyError`]; the domain still exists.
pub fn destroy_without_store(xen: &Xen, identity: &Identity) -> Result<(), DestroyError> {
    identity.check(xen)?;
    match xen.destroy(identity.domid) {
        Err(error) if !error.is_no_such_domain() => Err(error.into()),
        _ => Ok(()),
    }
}

/// Removes what there is of a domain; gives what could not be removed. A domain that has its number
/// meanwhile is left alone.
#[must_use]
pub fn remove(xen: &Xen, store: &mut Client, what: &Leftover) -> Vec<UndoError> {
    let live = Live::of_dead(what.domid.0, what.uuid, what.console_domid);
    let brought: Vec<&str> = what.brought.iter().map(String::as_str).collect();
    undo(xen, store, &live, Some(&brought))
}

/// What the nodes that no guest can write to say of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether it has devices other than its console.
    pub has_devices: bool,
    /// Who serves its console; dom0 where nothing is said.
    pub console_domid: u16,
    /// Its creation, if xlr made it.
    pub generation: Option<u64>,
    /// Whether xlr made it.
    pub ours: bool,
    /// Whether a toolstack has written anything of it.
    pub known: bool,
}

impl Seen {
    /// Looks at a domain's nodes, in one round trip.
    ///
    /// # Errors
    /// Those of the store.
    pub fn of(store: &mut Client, domid: Domid) -> Result<Self, xenstore::client::Error> {
        let root = format!("/libxl/{domid}");
        let requests = [
            Request::directory(&root)?,
            Request::directory(format!("{root}/device"))?,
            // xl keeps PCI devices nowhere else, also those that it gave to a domain of xlr's.
            Request::directory(format!("/local/domain/0/backend/pci/{domid}"))?,
            Request::read(format!("{root}/{MARKER}"))?,
            Request::read(format!("{root}/device/console/0/backend"))?,
        ];
        let (mut lists, mut texts) = (Vec::new(), Vec::new());
        for reply in store.batch(&requests)? {
            match reply {
                Ok(Reply::Directory(names)) => lists.push(names),
                Ok(Reply::Value(value)) => texts.push(Some(value)),
                Err(error) if error.is_not_found() && lists.len() < 3 => lists.push(Vec::new()),
                Err(error) if error.is_not_found() => texts.push(None),
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        let mut lists = lists.into_iter();
        let mut texts = texts
            .into_iter()
            .map(|text| text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
        let known = lists.next().is_some_and(|names| !names.is_empty());
        let devices = lists.next().unwrap_or_default();
        let pci = lists.next().unwrap_or_default();
        let marker = texts.next().flatten();
        let backend = texts.next().flatten().unwrap_or_default();
        let number = backend.strip_prefix("/local/domain/").and_then(|rest| rest.split('/').next());
        let has_devices = !pci.is_empty() || devices.iter().any(|kind| kind != "console");
        Ok(Self {
            has_devices,
            console_domid: number.and_then(|number| number.parse().ok()).unwrap_or(0),
            generation: marker.as_deref().and_then(nodes::generation),
            ours: marker.is_some(),
            known,
        })
    }

    /// Whether this can be the domain of that creation: its nodes say so, or there are none.
    #[must_use]
    pub fn may_be(&self, generation: u64) -> bool {
        self.generation == Some(generation) || !self.known
    }
}

/// Whose a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// The domain's that is meant.
    Its,
    /// That of a domain with another UUID.
    Another,
    /// There is no such domain.
    Nobodys,
}

/// Whose a number is, by the UUID that the hypervisor gives for it.
fn whose<E>(held: Result<Option<[u8; 16]>, E>, uuid: [u8; 16]) -> Result<Whose, E> {
    Ok(match held? {
        Some(other) if other != uuid => Whose::Another,
        Some(_) => Whose::Its,
        None => Whose::Nobodys,
    })
}

/// Whether another domain has the nodes of this UUID as well. What remains of one that is being taken
/// down is memory that is still given back: it has none any more.
fn shares(
    domains: impl IntoIterator<Item = (Domid, [u8; 16], bool)>,
    own: Domid,
    uuid: [u8; 16],
) -> bool {
    domains.into_iter().any(|(domid, other, dying)| other == uuid && domid != own && !dying)
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
    let held = xen.domain_info(domid).map(|info| info.map(|info| info.uuid));
    match whose(held, live.uuid) {
        // Ended by someone else meanwhile, and the number given away: what bears it now stays.
        Ok(Whose::Another) => return Vec::new(),
        Ok(Whose::Nobodys) => {}
        // It stops before its nodes go.
        Ok(Whose::Its) => match xen.pause(domid) {
            Err(cause) if !cause.is_no_such_domain() => {
                return vec![UndoError::Domain { domid, cause }];
            }
            _ => {}
        },
        // Not known to be the one that is meant: it may be anybody's.
        Err(cause) => return vec![UndoError::Domain { domid, cause }],
    }
    let mut left = Vec::new();
    if let Some(brought) = brought {
        await_console(store, domid);
        // Two domains bear one UUID while one of them is migrated to this host: the last removes
        // /vm/UUID. Where the hypervisor does not answer it is kept: it can still be removed.
        let shared = match xen.domains() {
            Ok(domains) => {
                let ids = domains.iter().map(|other| (other.domid, other.uuid, other.dying));
                shares(ids, domid, live.uuid)
            }
            Err(cause) => {
                let path = format!("/vm/{}", nodes::uuid_text(&live.uuid));
                left.push(UndoError::Shared { path, cause });
                true
            }
        };
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

    /// A look that failed is no leave to go on.
    #[test]
    fn a_number_is_its_anothers_or_nobodys() {
        let check = |held: Result<Option<[u8; 16]>, ()>, answer: Result<Whose, ()>| {
            assert_eq!(whose(held, [7; 16]), answer, "{held:?}");
        };
        check(Ok(Some([7; 16])), Ok(Whose::Its));
        check(Ok(Some([8; 16])), Ok(Whose::Another));
        check(Ok(None), Ok(Whose::Nobodys));
        check(Err(()), Err(()));
    }

    #[test]
    fn nodes_are_shared_by_the_living() {
        let check = |others: &[(u16, u8, bool)], shared: bool| {
            let ids = others.iter().map(|&(domid, uuid, dying)| (Domid(domid), [uuid; 16], dying));
            assert_eq!(shares(ids, Domid(5), [7; 16]), shared, "{others:?}");
        };
        check(&[], false);
        check(&[(5, 7, false), (6, 8, false)], false);
        check(&[(5, 7, false), (6, 7, false)], true);
        check(&[(5, 7, false), (4, 7, true)], false);
        check(&[(4, 7, true), (6, 7, false)], true);
    }

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
