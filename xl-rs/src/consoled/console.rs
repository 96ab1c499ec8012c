//! One console: the guest's ring on one side, an endpoint on the other.

use super::endpoint::Endpoint;
use super::ring::{Broken, OUT_BYTES, Page, Ring};
use libxc_safe::{Error, Port};

/// A ring, and the port by which each side tells the other that it has moved.
#[derive(Debug)]
pub struct Link<P> {
    /// The ring.
    pub ring: Ring<P>,
    /// Our end of the event channel.
    pub port: Port,
}

/// A console. What is not open or not mapped is none.
#[derive(Debug)]
pub struct Console<P> {
    /// Names it among all that this process has served.
    pub serial: u64,
    /// Which creation of the domain it belongs to.
    pub marker: String,
    /// Dom0's side.
    pub endpoint: Option<Endpoint>,
    /// The guest's side.
    pub link: Option<Link<P>>,
    /// Whether the guest has lied since it began.
    pub broken: bool,
    /// Whether dom0's side cannot be opened.
    pub failed: bool,
    /// Whether something was said about it in the log: guests cannot fill that.
    pub told: bool,
    /// Whether the endpoint may have something to read.
    readable: bool,
    /// Whether it may take something.
    writable: bool,
    /// Whether its client has hung up.
    hung_up: bool,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The guest is to be told: this is our end of its channel.
    pub notify: Option<Port>,
    /// There may be more to do at once.
    pub more: bool,
    /// A client has come, whom nobody watches yet.
    pub client: bool,
}

/// Why a turn ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnError {
    /// The guest's indices make no sense.
    Broken(Broken),
    /// The mapping.
    Xen(Error),
}

impl From<Error> for TurnError {
    fn from(error: Error) -> Self {
        Self::Xen(error)
    }
}

impl<P: Page> Console<P> {
    /// One that nothing is known of yet.
    #[must_use]
    pub fn new(serial: u64, marker: String) -> Self {
        Self {
            serial,
            marker,
            endpoint: None,
            link: None,
            broken: false,
            failed: false,
            told: false,
            readable: true,
            writable: true,
            hung_up: false,
        }
    }

    /// The endpoint may be ready again.
    pub fn wake(&mut self, readable: bool, writable: bool, hung_up: bool) {
        self.readable |= readable || hung_up;
        self.writable |= writable || hung_up;
        self.hung_up |= hung_up;
    }

    /// Moves what waits, at most one ring each way.
    ///
    /// # Errors
    /// The guest lies; the console is not to be served any more.
    pub fn turn(&mut self) -> Result<Turn, TurnError> {
        let mut turn = Turn::default();
        let Some(endpoint) = &mut self.endpoint else { return Ok(turn) };
        if endpoint.accept() {
            (self.readable, self.writable, self.hung_up) = (true, true, false);
            turn.client = true;
        }
        self.hand_on(&mut turn)?;
        if self.link.is_none() {
            return Ok(turn);
        }
        let Some(endpoint) = &mut self.endpoint else { return Ok(turn) };
        let had = endpoint.peer().is_some();
        endpoint.reap(self.hung_up);
        // Another client may wait for its place.
        turn.more |= had && endpoint.peer().is_none();
        Ok(turn)
    }

    /// Moves what waits before the ring goes. Clients neither come nor go: that is for a turn, whose
    /// new client is watched.
    ///
    /// # Errors
    /// As those of a turn.
    pub fn last_words(&mut self) -> Result<(), TurnError> {
        self.hand_on(&mut Turn::default())
    }

    fn hand_on(&mut self, turn: &mut Turn) -> Result<(), TurnError> {
        let (Some(endpoint), Some(link)) = (&mut self.endpoint, &mut self.link) else {
            return Ok(());
        };
        let mut moved = false;
        if self.writable {
            let mut buffer = [0; OUT_BYTES];
            let waiting = link.ring.waiting(&mut buffer)?.map_err(TurnError::Broken)?;
            if !waiting.is_empty() {
                match endpoint.write(waiting) {
                    Some(count) => {
                        link.ring.taken(count)?;
                        moved |= count > 0;
                        turn.more = true;
                    }
                    None => self.writable = false,
                }
            }
        }
        if self.readable {
            let room = link.ring.room()?.map_err(TurnError::Broken)?;
            let mut buffer = [0; OUT_BYTES];
            // Without room it waits for the guest, who tells when it has taken something.
            if room > 0 {
                match endpoint.read(&mut buffer[..room]) {
                    Some(bytes) => {
                        link.ring.give(bytes)?;
                        moved |= !bytes.is_empty();
                        turn.more = true;
                    }
                    None => self.readable = false,
                }
            }
        }
        turn.notify = moved.then_some(link.port);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consoled::Key;
    use crate::consoled::ring::tests::Shared;
    use domain_builder::spec::Connection;
    use std::os::unix::net::UnixStream;

    /// A client that comes as the ring goes is met by the next turn, which tells to watch it.
    #[test]
    fn last_words_meet_no_client() {
        let path = std::env::temp_dir().join(format!("consoled-last-{}", std::process::id()));
        let key = Key { domid: 1, number: 2 };
        let mut console = Console::new(1, String::from("marker"));
        let opened = Endpoint::open(key, &Connection::Socket(path.clone()));
        console.endpoint = Some(opened.expect("opens"));
        let ring = Ring::take_up(Shared::new()).expect("maps");
        console.link = Some(Link { ring, port: Port(1) });
        let _client = UnixStream::connect(&path).expect("connects");
        console.last_words().expect("nothing is said");
        let peer = |console: &Console<Shared>| {
            console.endpoint.as_ref().and_then(Endpoint::peer).is_some()
        };
        assert!(!peer(&console));
        assert!(console.turn().expect("a turn").client && peer(&console));
    }
}
