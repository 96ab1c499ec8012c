//! A server as bytes: the store, and how far each connection has got.

use super::connection::Connection;
use super::entries::{connection, domid, identity, put_connection};
use super::host::Host;
use super::journal::{Entry, Journal};
use super::queue::Queue;
use super::serve::{Server, guest};
use crate::codec::{Damaged, Put, Reader};
use crate::store::{Image, State};
use crate::wire::Parser;

impl<H: Host, J: Journal> Server<H, J> {
    /// Appends all that a later server needs to go on where this one is. Nothing that was done since
    /// may be told to anyone before the journal has it.
    pub fn save(&self, out: &mut Vec<u8>) {
        let mut image = self.image();
        while !image.write(usize::MAX, out) {}
    }

    /// Everything as it is now, to be written as long as nothing else is done.
    #[must_use]
    pub fn image(&self) -> ServerImage {
        let mut rest = Vec::new();
        rest.put(self.last_socket.into());
        rest.put_len(self.identities.len());
        for (domid, identity) in &self.identities {
            rest.put(domid.0.into());
            rest.extend_from_slice(&identity.0);
        }
        rest.put_len(self.connections.len());
        for (id, connection) in &self.connections {
            put_connection(*id, &mut rest);
            rest.put(connection.request_position.into());
            rest.put_bytes(connection.parser.held());
            rest.put_flag(connection.parked);
            connection.out.save(&mut rest);
        }
        ServerImage { state: self.state.image(), rest }
    }

    /// Everything as it is now, to be written while the server goes on: what is noted from here on
    /// follows the image. Trees are held until [`Server::end_image`].
    pub fn begin_image(&mut self) -> ServerImage {
        let image = self.image();
        self.journal.note(Entry::Image(true));
        self.hold(true);
        image
    }

    /// The image that was begun is whole, or given up.
    pub fn end_image(&mut self) {
        if self.held.is_some() {
            self.journal.note(Entry::Image(false));
            self.hold(false);
        }
    }

    /// Holds all trees as they are, or lets them go.
    pub(super) fn hold(&mut self, begun: bool) {
        self.held = begun.then(|| self.state.snapshot());
    }

    /// Reads what was saved. `link` makes the ways to peers.
    pub(super) fn restore(
        bytes: &[u8],
        host: H,
        journal: J,
        link: impl Fn() -> H::Transport,
    ) -> Result<Self, Damaged> {
        let mut input = Reader::new(bytes);
        let mut server = Self::new(State::restore_from(&mut input)?, host, journal);
        server.last_socket = input.narrow("the number of a socket")?;
        for _ in 0..input.count("the number of identities")? {
            server.identities.insert(domid(&mut input)?, identity(&mut input)?);
        }
        for _ in 0..input.count("the number of connections")? {
            let id = connection(&mut input)?;
            let request_position = input.narrow("a position")?;
            let mut held = input.bytes("a part of a request")?;
            let parked = input.flag("a connection")?;
            let out = Queue::restore(&mut input, guest(id))?;
            let mut connection = Connection::new(link(), request_position, out);
            connection.parked = parked;
            let whole = connection.parser.advance(&mut held);
            if !matches!(whole, Ok(None)) || !server.state.connections().any(|known| known == id) {
                return Err(input.damaged("a connection"));
            }
            server.connections.insert(id, connection);
        }
        input.end()?;
        Ok(server)
    }
}

/// A server that is being written.
#[derive(Debug)]
pub struct ServerImage {
    state: Image,
    /// Everything but the store.
    rest: Vec<u8>,
}

impl ServerImage {
    /// Appends what comes next, at most so many nodes; whether it is whole now.
    pub fn write(&mut self, nodes: usize, out: &mut Vec<u8>) -> bool {
        let whole = self.state.write(nodes, out);
        if whole {
            out.append(&mut self.rest);
        }
        whole
    }
}

impl<T> Connection<T> {
    /// The same streams, with another way to the peer.
    pub(super) fn with_link<L>(self, link: L) -> Connection<L> {
        let Self { parser, request_position, out, parked, was_reset, .. } = self;
        Connection { parser, parked, was_reset, ..Connection::new(link, request_position, out) }
    }

    /// Takes further bytes of a request as they were taken before; `None` when they end it.
    pub(super) fn take_partial(&mut self, bytes: &[u8]) -> Option<()> {
        let mut rest = bytes;
        // Positions are modulo 2³².
        self.request_position = self.request_position.wrapping_add(bytes.len() as u32);
        self.parser.advance(&mut rest).ok()?.is_none().then_some(())
    }

    /// Takes a request as it was taken before.
    pub(super) fn take_whole(&mut self, len: usize) {
        let new = len.saturating_sub(self.parser.held().len());
        // Positions are modulo 2³².
        self.request_position = self.request_position.wrapping_add(new as u32);
        self.parser = Parser::new();
    }
}
