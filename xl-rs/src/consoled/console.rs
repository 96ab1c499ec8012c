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
        let Some(link) = &mut self.link else { return Ok(turn) };
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
        let had = endpoint.peer().is_some();
        endpoint.reap(self.hung_up);
        // Another client may wait for its place.
        turn.more |= had && endpoint.peer().is_none();
        Ok(turn)
    }
}
