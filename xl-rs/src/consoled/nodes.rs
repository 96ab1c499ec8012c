//! The nodes of consoles: what they say, and what is written to them.
//!
//! Only the toolstack writes below a backend, so names and paths are taken from there. Of what the
//! guest writes only numbers are taken. Nothing is ever written for a device that is gone.

use super::Key;
use domain_builder::nodes::MARKER;
use domain_builder::spec::Connection;
use std::path::PathBuf;
use xenstore::client::{Client, Error, Nodes};
use xenstore::wire::{Reply, Request};

/// Where the backends of consoles are.
pub const BACKENDS: &str = "/local/domain/0/backend/console";

/// What the nodes of a console say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which creation of the domain it belongs to; a domid comes again, this does not.
    pub marker: String,
    /// What it is connected to.
    pub connection: Connection,
    /// The backend's state.
    pub backend: u32,
    /// Whether the toolstack wants it.
    pub online: bool,
    /// The guest's state.
    pub frontend: u32,
    /// The guest's ring; none if it says no number.
    pub ring: Option<u32>,
    /// The guest's port.
    pub port: Option<u32>,
}

/// The backend's directory.
#[must_use]
pub fn backend(key: Key) -> String {
    format!("{BACKENDS}/{}/{}", key.domid, key.number)
}

/// The frontend's directory.
#[must_use]
pub fn frontend(key: Key) -> String {
    format!("/local/domain/{}/device/console/{}", key.domid, key.number)
}

/// What changed, by the path of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// One console.
    One(Key),
    /// Perhaps all of them.
    Any,
    /// Nothing that is ours.
    Other,
}

/// Which console an event is about.
#[must_use]
pub fn changed(path: &str) -> Changed {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let key = |domid: &str, number: &str| {
        let (domid, number) = (domid.parse().ok()?, number.parse().ok()?);
        (number > 0).then_some(Key { domid, number })
    };
    let found = match parts[..] {
        ["local", "domain", "0", "backend", "console", domid, number, ..] => key(domid, number),
        ["local", "domain", "0", "backend", "console", ..] => return Changed::Any,
        ["local", "domain", domid, "device", "console", number, ..] => key(domid, number),
        _ => None,
    };
    found.map_or(Changed::Other, Changed::One)
}

/// All consoles that there are, but the first of each domain.
///
/// # Errors
/// Those of the store.
pub fn keys(store: &mut Client) -> Result<Vec<Key>, Error> {
    let mut found = Vec::new();
    for domid in children(store, BACKENDS)? {
        for number in children(store, &format!("{BACKENDS}/{domid}"))? {
            if let Changed::One(key) = changed(&format!("{BACKENDS}/{domid}/{number}")) {
                found.push(key);
            }
        }
    }
    Ok(found)
}

fn children(store: &mut Client, path: &str) -> Result<Vec<String>, Error> {
    match store.directory(path) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        found => found,
    }
}

/// Looks at a console; none if it is gone, or is none that xlr made.
///
/// # Errors
/// Those of the store.
pub fn look(store: &mut Client, key: Key) -> Result<Option<Seen>, Error> {
    let (backend, frontend) = (backend(key), frontend(key));
    let paths = [
        format!("/libxl/{}/{MARKER}", key.domid),
        format!("{backend}/connection"),
        format!("{backend}/path"),
        format!("{backend}/state"),
        format!("{backend}/online"),
        format!("{frontend}/state"),
        format!("{frontend}/ring-ref"),
        format!("{frontend}/port"),
    ];
    let requests = paths.iter().map(Request::read).collect::<Result<Vec<_>, _>>()?;
    let mut texts = Vec::with_capacity(requests.len());
    for reply in store.batch(&requests)? {
        texts.push(match reply {
            // What is no text is no number and no path.
            Ok(Reply::Value(value)) => String::from_utf8(value).ok(),
            Ok(_) => None,
            Err(error) if error.is_disconnected() => return Err(error),
            Err(_) => None,
        });
    }
    Ok(seen(&texts))
}

fn seen(texts: &[Option<String>]) -> Option<Seen> {
    let [marker, connection, path, backend, online, frontend, ring, port] = texts else {
        return None;
    };
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
    let connection = match connection.as_deref()? {
        "pty" => Connection::Pty,
        "socket" => Connection::Socket(PathBuf::from(path.clone()?)),
        _ => return None,
    };
    Some(Seen {
        marker: marker.clone()?,
        connection,
        backend: number(backend)?,
        online: online.as_deref() == Some("1"),
        frontend: number(frontend).unwrap_or(0),
        ring: number(ring),
        port: number(port),
    })
}

/// Sets the backend's state, or the name of the terminal, of this very console: a domain that is
/// removed meanwhile gets no node back. Tells whether it is there.
///
/// # Errors
/// Those of the store.
pub fn say(
    store: &mut Client,
    key: Key,
    marker: &str,
    state: Option<u32>,
    tty: Option<&str>,
) -> Result<bool, Error> {
    let (backend, tty_node) = (backend(key), format!("{}/tty", frontend(key)));
    let state_node = format!("{backend}/state");
    store.transaction(|tx| {
        let now = tx.read_text_optional(format!("/libxl/{}/{MARKER}", key.domid))?;
        if now.as_deref() != Some(marker) || !tx.exists(&state_node)? {
            return Ok::<bool, Error>(false);
        }
        if let Some(state) = state {
            tx.write(&state_node, state.to_string())?;
        }
        // The guest may have removed its own directory.
        if let Some(tty) = tty
            && tx.exists(&tty_node)?
        {
            tx.write(&tty_node, tty)?;
        }
        Ok(true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_name_consoles() {
        let one = |domid, number| Changed::One(Key { domid, number });
        for (path, expected) in [
            ("/local/domain/0/backend/console/3/1/state", one(3, 1)),
            ("/local/domain/0/backend/console/3/12", one(3, 12)),
            ("/local/domain/0/backend/console/3", Changed::Any),
            ("/local/domain/0/backend/console", Changed::Any),
            ("/local/domain/0/backend/console/3/0/state", Changed::Other),
            ("/local/domain/0/backend/console/3/x", Changed::Other),
            ("/local/domain/0/backend/console/70000/1", Changed::Other),
            ("/local/domain/7/device/console/2/state", one(7, 2)),
            ("/local/domain/7/device/vif/2/state", Changed::Other),
            ("@releaseDomain", Changed::Other),
        ] {
            assert_eq!(changed(path), expected, "{path}");
        }
    }

    #[test]
    fn nodes_that_make_no_console() {
        let texts = |texts: [&str; 8]| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            seen(&texts.map(some))
        };
        let good = ["m", "socket", "/run/a", "4", "1", "4", "8", "9"];
        let found = texts(good).expect("a console");
        assert_eq!((found.backend, found.frontend, found.online), (4, 4, true));
        assert_eq!((found.ring, found.port), (Some(8), Some(9)));
        assert_eq!(found.connection, Connection::Socket("/run/a".into()));
        let with = |at: usize, text| {
            let mut all = good;
            all[at] = text;
            texts(all)
        };
        for (at, text) in [(0, ""), (1, ""), (1, "ioemu"), (2, ""), (3, ""), (3, "x")] {
            assert_eq!(with(at, text), None, "{at} {text}");
        }
        assert_eq!(with(1, "pty").expect("a terminal").connection, Connection::Pty);
        for lie in ["", "-1", "4294967296", "x", "0x10"] {
            assert_eq!(with(6, lie).expect("still a console").ring, None, "{lie}");
            assert_eq!(with(5, lie).expect("still a console").frontend, 0, "{lie}");
        }
        assert!(!with(4, "0").expect("still there").online);
    }
}
