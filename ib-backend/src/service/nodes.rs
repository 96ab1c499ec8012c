//! The nodes of RDMA devices: what they say, and what is written to them.
//!
//! Only the toolstack writes below a backend. From the guest's half comes nothing but the names in its
//! mailbox and the number in each, and a number is taken once: the node is removed as it is read.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use xenstore::client::{Client, Error, Nodes};

/// Where the backends are.
pub const BACKENDS: &str = "/local/domain/0/backend/rdma";
/// How long a thread on its own waits for a store that is away, and for one that does not answer. The
/// process that it is about waits longer than for both, and the daemon's end no longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests of a guest that are looked at in one turn.
const MAIL_MAX: usize = 32;
/// What a device can be told, beyond its state.
const SETTINGS: [&str; 9] =
    ["backend-device", "pages", "qps", "cqs", "mrs", "contexts", "gids", "pkeys", "destinations"];

/// `XenbusState*`.
mod state {
    pub const INIT_WAIT: &str = "2";
    pub const CONNECTED: &str = "4";
    pub const CLOSING: &str = "5";
    pub const CLOSED: &str = "6";
}

/// Which device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Whose.
    pub domid: u16,
    /// Its number.
    pub number: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RDMA device {} of domain {}", self.number, self.domid)
    }
}

/// What the nodes of a device say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Which creation of the domain; a domid comes again, this does not.
    pub creation: Option<String>,
    /// Whether it is to be served.
    pub serves: bool,
    /// Whether its end is waited for.
    pub closes: bool,
    /// The settings that there are.
    pub settings: BTreeMap<&'static str, String>,
}

/// The backend's directory.
pub fn backend(key: Key) -> String {
    format!("{BACKENDS}/{}/{}", key.domid, key.number)
}

/// Where a guest asks for contexts.
pub fn mailbox(key: Key) -> String {
    format!("{}/{}", frontend(key), ib_protocol::CONTEXTS_NODE)
}

fn frontend(key: Key) -> String {
    format!("/local/domain/{}/device/rdma/{}", key.domid, key.number)
}

/// The token of a mailbox' watch.
pub fn token(key: Key) -> String {
    format!("mail-{}-{}", key.domid, key.number)
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Backends.
    Backends,
    /// A guest's half.
    Mailbox(Key),
    /// Domains came or went.
    Domains,
    /// Nothing of ours.
    Other,
}

/// What an event with this path is about.
pub fn changed(path: &str) -> Changed {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        ["@releaseDomain", ..] => Changed::Domains,
        ["", "local", "domain", "0", "backend", "rdma", ..] => Changed::Backends,
        ["", "local", "domain", domid, "device", "rdma", number, ..] => {
            key(domid, number).map_or(Changed::Other, Changed::Mailbox)
        }
        _ => Changed::Other,
    }
}

fn key(domid: &str, number: &str) -> Option<Key> {
    Some(Key { domid: domid.parse().ok()?, number: number.parse().ok()? })
}

fn children(store: &mut Client, path: &str) -> Result<Vec<String>, Error> {
    match store.directory(path) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        found => found,
    }
}

/// Where the toolstack says which creation of a domain it is.
fn creation_node(domid: u16) -> String {
    format!("/libxl/{domid}/xlr")
}

/// Whether a domain is still the one that it was, asked by a thread on its own.
pub fn is_creation(domid: u16, creation: Option<&str>) -> Result<bool, Error> {
    let mut store = Client::connect_within(PATIENCE)?;
    store.set_request_timeout(Some(PATIENCE));
    store.outlive_store(PATIENCE);
    let now = store.read_text_optional(creation_node(domid))?;
    Ok(now.as_deref() == creation)
}

/// All devices that have nodes.
pub fn keys(store: &mut Client) -> Result<Vec<Key>, Error> {
    let mut found = Vec::new();
    for domid in children(store, BACKENDS)? {
        for number in children(store, &format!("{BACKENDS}/{domid}"))? {
            found.extend(key(&domid, &number));
        }
    }
    Ok(found)
}

/// What a device's nodes say.
pub fn look(store: &mut Client, key: Key) -> Result<Wanted, Error> {
    let backend = backend(key);
    let mut paths = vec![
        creation_node(key.domid),
        format!("{backend}/state"),
        format!("{backend}/online"),
        format!("{}/backend", frontend(key)),
    ];
    paths.extend(SETTINGS.iter().map(|name| format!("{backend}/{name}")));
    let values = store.read_each(&paths)?;
    let mut texts =
        values.into_iter().map(|value| value.and_then(|value| String::from_utf8(value).ok()));
    let mut next = || texts.next().flatten();
    let (creation, state, online, frontend) = (next(), next(), next(), next());
    let is_online = online.as_deref() != Some("0") && frontend.is_some();
    let state = state.unwrap_or_default();
    let closes = !state.is_empty() && state != state::CLOSED;
    let is_closing = state == state::CLOSING || !closes;
    let settings = SETTINGS.iter().filter_map(|name| Some((*name, next()?))).collect();
    Ok(Wanted { creation, serves: is_online && !is_closing, closes, settings })
}

/// Sets the state, as long as it is one of `from`: the toolstack writes it, too, and nothing is written
/// for a device that it has removed.
fn set_state(store: &mut Client, key: Key, from: &[&str], to: &str) -> Result<(), Error> {
    let backend = backend(key);
    let path = format!("{backend}/state");
    let version = format!("{backend}/version");
    store.transaction(|transaction| {
        let now = transaction.read_text_optional(&path)?;
        if now.is_some_and(|now| from.contains(&now.as_str())) {
            transaction.write(&version, ib_protocol::VERSION.to_string())?;
            transaction.write(&path, to.as_bytes())?;
        }
        Ok::<_, Error>(())
    })
}

/// Says that the device is served.
pub fn serving(store: &mut Client, key: Key) -> Result<(), Error> {
    set_state(store, key, &["1", "3", state::CONNECTED], state::INIT_WAIT)
}

/// Says that the guest uses the device.
pub fn connected(store: &mut Client, key: Key) -> Result<(), Error> {
    set_state(store, key, &[state::INIT_WAIT], state::CONNECTED)
}

/// Says that nothing of the device is left.
pub fn closed(store: &mut Client, key: Key) -> Result<(), Error> {
    let all = ["1", state::INIT_WAIT, "3", state::CONNECTED, state::CLOSING];
    set_state(store, key, &all, state::CLOSED)
}

/// Says that the device cannot be served, and why.
pub fn refuse(store: &mut Client, key: Key, why: &str) -> Result<(), Error> {
    let place = format!("/local/domain/0/error/backend/rdma/{}/{}/error", key.domid, key.number);
    store.write(&place, why.as_bytes())?;
    closed(store, key)
}

/// The names in a guest's mailbox, some of them if there are many. A guest that changes it faster than it
/// can be read is heard when it rests: each change is an event.
pub fn mail(store: &mut Client, key: Key) -> Result<Vec<String>, Error> {
    let mut names = match children(store, &mailbox(key)) {
        Err(Error::DirectoryChanging { .. }) => Vec::new(),
        names => names?,
    };
    names.truncate(MAIL_MAX);
    Ok(names)
}

/// The number in a guest's request, which is removed; `None` if it says none.
pub fn open_mail(store: &mut Client, key: Key, name: &str) -> Result<Option<u32>, Error> {
    let path = format!("{}/{name}", mailbox(key));
    let value = store.read_optional(&path)?;
    match store.rm(&path) {
        Err(error) if !error.is_not_found() => return Err(error),
        _ => {}
    }
    let text = value.and_then(|value| String::from_utf8(value).ok());
    Ok(text.and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_apart() {
        let check = |path, expected| assert_eq!(changed(path), expected, "{path}");
        let mail = |domid, number| Changed::Mailbox(Key { domid, number });
        check("/local/domain/0/backend/rdma", Changed::Backends);
        check("/local/domain/0/backend/rdma/3/0/state", Changed::Backends);
        check("/local/domain/3/device/rdma/0/contexts/17", mail(3, 0));
        check("/local/domain/3/device/rdma/0", mail(3, 0));
        check("/local/domain/x/device/rdma/0", Changed::Other);
        check("/local/domain/3/device/rdma", Changed::Other);
        check("@releaseDomain", Changed::Domains);
        check("@releaseDomain/3", Changed::Domains);
    }
}
