//! From a file to a server: the image is read, what followed is done again, and the ways to peers are
//! put in place of those that ended with the killed server.
//!
//! In: the contents of a file; what the hypervisor and the rings say. Out: a server that goes on where
//! the other one was. Peers whose rings say what cannot be are cut off, each by itself; domains that
//! have gone meanwhile, or whose number another one has, are gone for the store as well.
//!
//! Nothing is decided twice: entries run through the functions that made them.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use super::connection::Connection;
use super::fault::Fault;
use super::host::{Found, Host, Identity};
use super::journal::{Entry, Journal, NoJournal};
use super::serve::Server;
use super::transport::Transport;
use crate::codec::Reader;
use crate::saved::{Contents, Damaged};
use crate::store::{ConnectionId, Effect, Ring, State};
use crate::wire::{HEADER_LEN, Header, Packet};
use crate::{Domid, Errno};

/// Why a store cannot be taken up again.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The image makes no sense.
    #[error("the image of the store cannot be read")]
    Image(#[source] Damaged),
    /// A frame makes no sense.
    #[error("frame {number} of what followed the image cannot be read")]
    Entry {
        /// Which one, from 0 on.
        number: usize,
        /// What is wrong.
        #[source]
        source: Damaged,
    },
    /// An entry cannot have happened in the state before it.
    #[error("an entry of frame {number} does not fit what was before it")]
    Misplaced {
        /// Which frame, from 0 on.
        number: usize,
    },
    /// The requests of a frame have other answers than they had.
    #[error(
        "the requests of frame {number} would be answered in another way than they were: another \
         version of this program wrote it; start that version, end it with SIGTERM, and try again"
    )]
    Differs {
        /// Which frame, from 0 on.
        number: usize,
    },
    /// There is no way to the kernel of this domain, or its ring does not fit. Without its store the
    /// host is lost, and it never asks for a new beginning.
    #[error("the ring of this domain's kernel cannot be taken up again{}", .0.as_ref().map_or(
        ": it cannot be reached, as said above", |_| ""
    ))]
    Kernel(#[source] Option<Fault>),
}

/// No way to anyone.
#[derive(Debug)]
pub struct Detached;

impl Transport for Detached {
    fn receive(&mut self, _at: u32, _buffer: &mut Vec<u8>) -> Result<usize, Fault> {
        Ok(0)
    }

    fn taken(&mut self, _at: u32) -> Result<bool, Fault> {
        Ok(false)
    }

    fn send(&mut self, _at: u32, _bytes: &[u8]) -> Result<usize, Fault> {
        Ok(0)
    }

    fn notify(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

/// The world as the entries have it.
#[derive(Debug, Default)]
pub struct Recorded {
    /// How the INTRODUCE went that is done next.
    connected: Option<(Identity, Result<(), Errno>)>,
    answers: crc32fast::Hasher,
}

impl Host for Recorded {
    type Transport = Detached;

    fn connect(&mut self, _domid: Domid, _ring: Ring) -> Result<Detached, Errno> {
        self.connected.map_or(Err(Errno::Einval), |(_, result)| result.map(|()| Detached))
    }

    fn identity(&mut self, _domid: Domid) -> Option<Identity> {
        self.connected.map(|(identity, _)| identity)
    }

    /// No time passes: whoever held up others too long has an entry that says so.
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn carry_out(&mut self, _effect: Effect) {}

    fn faulted(&mut self, _connection: ConnectionId, _fault: &Fault) {}

    fn answer(&mut self, _connection: ConnectionId, message: &[u8]) {
        self.answers.update(message);
    }
}

/// A store and its connections as the killed server left them, without ways to anyone.
#[derive(Debug)]
pub struct Revived {
    server: Server<Recorded, NoJournal>,
}

impl Revived {
    /// Reads the image and does again what followed.
    ///
    /// # Errors
    /// The file is no work of this program, or of a version that answered in another way.
    pub fn read(contents: &Contents<'_>) -> Result<Self, ReplayError> {
        let server = Server::restore(contents.image, Recorded::default(), NoJournal, || Detached)
            .map_err(ReplayError::Image)?;
        let mut revived = Self { server };
        for (number, frame) in contents.frames.iter().enumerate() {
            let mut input = Reader::new(frame.entries);
            revived.server.host.answers = crc32fast::Hasher::new();
            // A frame was written after what the one before it led to.
            let connections = revived.server.connections.values_mut();
            connections.for_each(|connection| connection.was_reset = None);
            while !input.is_empty() {
                let mut packet = Packet { header: Header::default(), payload: Vec::new() };
                let entry = Entry::restore(&mut input, &mut packet)
                    .map_err(|source| ReplayError::Entry { number, source })?;
                revived.server.host.connected = match Entry::connected_next(&input) {
                    Some(Entry::Connected { identity, result, .. }) => Some((identity, result)),
                    _ => None,
                };
                revived.repeat(entry).ok_or(ReplayError::Misplaced { number })?;
            }
            if std::mem::take(&mut revived.server.host.answers).finalize() != frame.answers {
                return Err(ReplayError::Differs { number });
            }
        }
        Ok(revived)
    }

    /// The store.
    #[must_use]
    pub const fn state(&self) -> &State {
        self.server.state()
    }

    /// Appends all of it, as [`Server::save`] does.
    pub fn save(&self, out: &mut Vec<u8>) {
        self.server.save(out);
    }

    /// Does again what an entry says; `None` when it cannot have happened.
    fn repeat(&mut self, entry: Entry<'_>) -> Option<()> {
        let server = &mut self.server;
        match entry {
            Entry::Request { connection, packet } => {
                let stream = server.connections.get_mut(&connection)?;
                stream.take_whole(HEADER_LEN + packet.payload.len());
                server.answer(connection, packet);
            }
            Entry::Partial { connection, bytes } => {
                server.connections.get_mut(&connection)?.take_partial(bytes)?;
            }
            Entry::Sent { connection, bytes } => {
                let waiting = server.connections.get(&connection)?.out().waiting().len();
                if bytes > waiting {
                    return None;
                }
                server.sent(connection, bytes);
            }
            Entry::Exists(domid, identity) => {
                server.identities.insert(domid, identity);
                server.state.domain_exists(domid);
            }
            // Was done with the request before it.
            Entry::Connected { .. } => {}
            Entry::ShutDown(domid) => server.shut_down(domid),
            Entry::Gone(domid) => server.gone(domid),
            Entry::Opened(number) => {
                server.last_socket = number;
                if !server.state.connect_socket(number) {
                    return None;
                }
                server.attach(ConnectionId::Socket(number), Detached, 0, 0);
            }
            Entry::Closed(number) => server.fail(ConnectionId::Socket(number), &Fault::Closed),
            Entry::Image(begun) => server.hold(begun),
            Entry::Reset { connection, parked: true } => server.fail(connection, &Fault::Closed),
            Entry::Reset { connection, parked: false } => {
                server.begin_anew(connection, None).ok()?;
            }
        }
        // Nobody is told anything, and whose turn came is in the order of the entries.
        server.later.clear();
        server.overfull.clear();
        server.unsettled.clear();
        server.ready.clear();
        for connection in server.connections.values_mut() {
            (connection.listed, connection.unsettled) = (false, false);
        }
        Some(())
    }

    /// Puts ways to peers in their places and goes on. `existing` are the domains that the hypervisor
    /// has; `link` makes the way to a peer, with the ring that a domain was introduced with. Who gets
    /// none has lost its connection.
    ///
    /// # Errors
    /// The kernel of this domain cannot go on. Nobody was told anything, and nothing was changed.
    pub fn attach<H: Host, J: Journal>(
        self,
        mut host: H,
        journal: J,
        existing: &BTreeMap<Domid, Found>,
        mut link: impl FnMut(&mut H, ConnectionId, Option<Ring>) -> Option<H::Transport>,
    ) -> Result<Server<H, J>, ReplayError> {
        let mut old = self.server;
        let mut links = BTreeMap::new();
        let kernel = ConnectionId::Domain(Domid::DOM0);
        if let Some(connection) = old.connections.get(&kernel) {
            let link = link(&mut host, kernel, None).ok_or(ReplayError::Kernel(None))?;
            if !connection.parked && connection.was_reset.is_none() {
                connection.sent_meanwhile(&link).map_err(|why| ReplayError::Kernel(Some(why)))?;
            }
            links.insert(kernel, link);
        }
        for id in old.connections.keys().copied().filter(|&id| id != kernel).collect::<Vec<_>>() {
            let (ring, here) = match id {
                ConnectionId::Domain(domid) => {
                    let found = existing.get(&domid).map(|found| found.identity);
                    (old.state.ring(domid), found == old.identities.get(&domid).copied())
                }
                ConnectionId::Socket(_) => (None, true),
            };
            let way = if here { link(&mut host, id, ring) } else { None };
            match way {
                Some(link) => drop(links.insert(id, link)),
                None if matches!(id, ConnectionId::Socket(_)) => old.fail(id, &Fault::Closed),
                None => {
                    old.drop_connection(id);
                    old.state.reset(id);
                }
            }
        }
        let mut server = Server::new(old.state, host, journal);
        (server.last_socket, server.identities) = (old.last_socket, old.identities);
        for (id, connection) in old.connections {
            if let Some(link) = links.remove(&id) {
                server.connections.insert(id, connection.with_link(link));
                if let Err(fault) = server.take_up(id) {
                    server.fail(id, &fault);
                }
            }
        }
        let replaced = |(domid, known): (&Domid, &Identity)| {
            let other = existing.get(domid).is_some_and(|found| found.identity != *known);
            other.then_some(*domid)
        };
        for domid in server.identities.iter().filter_map(replaced).collect::<Vec<_>>() {
            server.journal.note(Entry::Gone(domid));
            server.gone(domid);
        }
        server.domains_changed(existing);
        Ok(server)
    }
}

impl<H: Host, J: Journal> Server<H, J> {
    /// Compares what a ring says with what was written down, and forgets what its peer has.
    fn take_up(&mut self, id: ConnectionId) -> Result<(), Fault> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        if connection.parked {
            return Ok(());
        }
        match (connection.sent_meanwhile(&connection.link), connection.was_reset) {
            // The killed server had begun anew with it.
            (Ok(has), Some(features)) => {
                connection.was_reset = None;
                connection.link.advertise(features)?;
                self.sent(id, has);
            }
            (Ok(has), None) => self.sent(id, has),
            // It had not, or not wholly.
            (Err(Fault::Resumed { .. }), Some(_)) => {}
            (Err(fault), _) => return Err(fault),
        }
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        // It may wait for a sign of something that it was given before the kill.
        connection.link.notify()?;
        self.mark(id);
        self.ready(id);
        Ok(())
    }
}

impl<T> Connection<T> {
    /// How much of what waits the peer has already, as the way to it says.
    fn sent_meanwhile<L: Transport>(&self, link: &L) -> Result<usize, Fault> {
        // A ring that asks for a new beginning gets it in its turn, whatever its positions are.
        let published = link.published(self.request_position)?.filter(|_| !link.asks_for_reset());
        let Some((taken, sent)) = published else { return Ok(0) };
        let not_yet_taken = self.request_position.wrapping_sub(taken) as usize;
        let has = sent.wrapping_sub(self.out.base()) as usize;
        if not_yet_taken > link.unpublished_max() || has > self.out.waiting().len() {
            return Err(Fault::Resumed { taken, sent });
        }
        Ok(has)
    }
}
