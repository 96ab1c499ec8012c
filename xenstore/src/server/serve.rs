//! Turns: requests are taken, applied, and their consequences queued.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

use super::connection::Connection;
use super::fault::Fault;
use super::host::{Found, Host, Identity};
use super::journal::{Entry, Journal};
use super::queue::Queue;
use super::transport::Transport;
use crate::store::{Changes, ConnectionId, Effect, Event, Ring, Snapshot, State};
use crate::wire::{Header, MessageType, Packet, Reply, Request, RequestId, TransactionId};
use crate::{Domid, Errno};

/// A store with its connections.
#[derive(Debug)]
pub struct Server<H: Host, J> {
    pub(super) state: State,
    pub(super) host: H,
    pub(super) journal: J,
    pub(super) connections: BTreeMap<ConnectionId, Connection<H::Transport>>,
    /// Whose turn comes, in this order.
    pub(super) ready: VecDeque<ConnectionId>,
    /// Who has to be told something after the commit.
    pub(super) unsettled: Vec<ConnectionId>,
    /// Readers that take nothing while guests answer for what waits for them.
    pub(super) stuck: BTreeSet<ConnectionId>,
    /// Connections whose queues have grown too long.
    pub(super) overfull: Vec<ConnectionId>,
    /// Effects that wait for the commit.
    pub(super) later: Vec<Effect>,
    pub(super) last_socket: u32,
    /// Which domains the store means by numbers.
    pub(super) identities: BTreeMap<Domid, Identity>,
    /// What an image that is being written is of.
    pub(super) held: Option<Snapshot>,
    /// Where bytes are received, and where messages are put together: kept for their memory.
    received: Vec<u8>,
    encoded: Vec<u8>,
}

impl<H: Host, J: Journal> Server<H, J> {
    /// How many requests a connection may make before the others have their turn.
    pub const REQUESTS_PER_TURN: usize = 32;
    /// Waiting bytes from which on no further requests are taken from anyone.
    pub const HOLD_BACK_BYTES: usize = 64 << 10;
    /// Waiting bytes at which a connection is cut off whose memory no quota binds.
    pub const QUEUE_BYTES: usize = 16 << 20;
    /// How long a message may wait for its reader while another guest answers for it.
    pub const UNREAD_SECONDS: u64 = 20;

    /// A server of `state`, which no peer has a connection to yet.
    #[must_use]
    pub fn new(state: State, host: H, journal: J) -> Self {
        Self {
            state,
            host,
            journal,
            connections: BTreeMap::new(),
            ready: VecDeque::new(),
            unsettled: Vec::new(),
            stuck: BTreeSet::new(),
            overfull: Vec::new(),
            later: Vec::new(),
            last_socket: 0,
            identities: BTreeMap::new(),
            held: None,
            received: Vec::new(),
            encoded: Vec::new(),
        }
    }

    /// The store.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The store, to set it up before anyone is served.
    pub const fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// The world outside.
    pub const fn host_mut(&mut self) -> &mut H {
        &mut self.host
    }

    /// The journal.
    pub const fn journal_mut(&mut self) -> &mut J {
        &mut self.journal
    }

    /// A connection.
    pub fn connection(&self, id: ConnectionId) -> Option<&Connection<H::Transport>> {
        self.connections.get(&id)
    }

    /// Attaches the way to a peer whose connection the store knows, with both streams at these
    /// positions, and looks at it in the next round.
    pub fn attach(&mut self, id: ConnectionId, link: H::Transport, request: u32, reply: u32) {
        self.connections.insert(id, Connection::new(link, request, Queue::at(reply, guest(id))));
        self.ready(id);
    }

    /// Takes up a socket.
    pub fn open_socket(
        &mut self,
        link: impl FnOnce(u32) -> io::Result<H::Transport>,
    ) -> io::Result<()> {
        let number = loop {
            self.last_socket = self.last_socket.wrapping_add(1);
            if self.state.connect_socket(self.last_socket) {
                break self.last_socket;
            }
        };
        match link(number) {
            Ok(link) => {
                self.journal.note(Entry::Opened(number));
                self.attach(ConnectionId::Socket(number), link, 0, 0);
                Ok(())
            }
            Err(error) => {
                self.state.disconnect_socket(number);
                Err(error)
            }
        }
    }

    /// Takes up a socket that has this number already, and from which nothing was taken yet; `false`
    /// when another connection has the number.
    pub fn take_socket(&mut self, number: u32, link: H::Transport) -> bool {
        if !self.state.connect_socket(number) {
            return false;
        }
        self.last_socket = number;
        self.journal.note(Entry::Opened(number));
        self.attach(ConnectionId::Socket(number), link, 0, 0);
        true
    }

    /// Says that something may have come for a connection, or that there is room for more.
    pub fn ready(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !std::mem::replace(&mut connection.listed, true)
        {
            self.ready.push_back(id);
        }
    }

    /// Whether another round has something to do.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Gives every connection that has work its turn, commits, and tells everyone.
    ///
    /// # Errors
    /// The journal cannot keep what was done; nobody has been told of it.
    pub fn round(&mut self) -> io::Result<()> {
        for _ in 0..self.ready.len() {
            let Some(id) = self.ready.pop_front() else { break };
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.listed = false;
                self.mark(id);
                if let Err(fault) = self.turn(id) {
                    self.fail(id, &fault);
                }
                self.cut_overfull();
            }
        }
        self.journal.commit()?;
        self.settle_all();
        Ok(())
    }

    /// Learns from the hypervisor which domains are left: each that exists and does not end. Which one
    /// has a number is not looked at: the end of a domain is heard long before its number comes again,
    /// and identities may change while a domain lives.
    pub fn domains_changed(&mut self, existing: &BTreeMap<Domid, Found>) {
        let known: Vec<Domid> = self.state.domains().map(|(domid, _)| domid).collect();
        for domid in known.into_iter().filter(|&domid| domid != Domid::DOM0) {
            match existing.get(&domid) {
                None => {
                    self.journal.note(Entry::Gone(domid));
                    self.gone(domid);
                }
                Some(found) if found.shut_down && !self.state.has_shut_down(domid) => {
                    self.journal.note(Entry::ShutDown(domid));
                    self.shut_down(domid);
                }
                Some(_) => {}
            }
        }
    }

    /// A domain has shut down or crashed.
    pub(super) fn shut_down(&mut self, domid: Domid) {
        let changes = self.state.domain_shut_down(domid);
        self.follow(None, Header::default(), changes);
    }

    /// A domain is no more.
    pub(super) fn gone(&mut self, domid: Domid) {
        self.identities.remove(&domid);
        let changes = self.state.domain_gone(domid);
        self.follow(None, Header::default(), changes);
    }

    /// Serves one connection for one turn.
    fn turn(&mut self, id: ConnectionId) -> Result<(), Fault> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        if connection.was_reset.is_some() {
            // What its ring says ends with the commit.
            return Ok(());
        }
        if connection.link.asks_for_reset() {
            self.begin_anew(id, None)?;
        }
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        if connection.parked || connection.was_reset.is_some() {
            return Ok(());
        }
        let mut received = std::mem::take(&mut self.received);
        received.clear();
        let result = connection
            .link
            .receive(connection.request_position, &mut received)
            .and_then(|_| self.take_requests(id, &received));
        self.received = received;
        let more = |connection: &Connection<H::Transport>| {
            !connection.held_back && connection.link.has_more(connection.request_position)
        };
        if self.connections.get(&id).is_some_and(more) {
            self.ready(id);
        }
        result
    }

    fn take_requests(&mut self, id: ConnectionId, mut input: &[u8]) -> Result<(), Fault> {
        let mut left = Self::REQUESTS_PER_TURN;
        while !input.is_empty() {
            let may_ask = self.may_ask(id);
            let Some(connection) = self.connections.get_mut(&id) else { break };
            if !may_ask {
                connection.held_back = true;
                break;
            }
            if left == 0 {
                self.ready(id);
                break;
            }
            let (before, held) = (input.len(), connection.parser.held().len());
            let packet = connection.parser.advance(&mut input)?;
            // Positions are modulo 2³².
            let taken = (before - input.len()) as u32;
            connection.request_position = connection.request_position.wrapping_add(taken);
            match packet {
                Some(packet) => {
                    left -= 1;
                    self.answer(id, &packet);
                }
                None => {
                    let bytes = connection.parser.held().get(held..).unwrap_or_default();
                    self.journal.note(Entry::Partial { connection: id, bytes });
                }
            }
        }
        Ok(())
    }

    /// Whether further requests are taken from a connection now.
    pub(super) fn may_ask(&self, id: ConnectionId) -> bool {
        let short =
            |connection: &Connection<_>| connection.out.waiting().len() < Self::HOLD_BACK_BYTES;
        self.connections.get(&id).is_some_and(short) && self.state.may_ask(id)
    }

    pub(super) fn answer(&mut self, id: ConnectionId, packet: &Packet) {
        self.host.request(id, packet);
        self.learn_of_domains(id, packet);
        self.journal.note(Entry::Request { connection: id, packet });
        let outcome = self.state.apply_packet(id, packet);
        if let Some(reply) = &outcome.reply {
            self.reply(id, packet.header, reply);
        }
        self.follow(Some(id), packet.header, outcome.changes);
    }

    /// Tells the store which of the domains that a request names exist.
    fn learn_of_domains(&mut self, id: ConnectionId, packet: &Packet) {
        use MessageType as T;
        let kind = packet.header.message_type();
        if !matches!(kind, Some(T::SetPerms | T::SetFeature | T::GetQuota | T::SetQuota)) {
            return;
        }
        let Ok(request) = Request::decode(packet) else { return };
        for domid in self.state.unknown_domains(id, &request) {
            if let Some(identity) = self.host.identity(domid) {
                self.journal.note(Entry::Exists(domid, identity));
                self.identities.insert(domid, identity);
                self.state.domain_exists(domid);
            }
        }
    }

    /// Queues the answer to the request with this header.
    fn reply(&mut self, id: ConnectionId, header: Header, reply: &Reply) {
        let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.parked) else { return };
        self.encoded.clear();
        let encoded = reply.encode(header.request, header.transaction, &mut self.encoded);
        if encoded.is_err() {
            let error = Reply::Error(Errno::E2big.into());
            // An error is never too long.
            let _ = error.encode(header.request, header.transaction, &mut self.encoded);
        }
        self.host.answer(id, &self.encoded);
        self.journal.answered(&self.encoded);
        let origin = guest(id);
        connection.out.push_reply(&self.encoded, origin);
        if let Some(domid) = origin {
            self.state.queued(domid, 1, signed(self.encoded.len()));
        }
        self.mark(id);
    }

    /// Brings about what a change entails. `cause` is the connection whose request, with that
    /// header, led to it.
    pub(super) fn follow(&mut self, cause: Option<ConnectionId>, header: Header, changes: Changes) {
        for effect in changes.effects {
            match effect {
                Effect::Connect { introducer, domid, gfn, port } => {
                    self.connect(introducer, header, domid, Ring { gfn, port });
                }
                Effect::Reset { connection, features } => {
                    if let Err(fault) = self.begin_anew(connection, Some(features)) {
                        self.fail(connection, &fault);
                    }
                }
                Effect::Disconnect(domid) => self.disconnect(domid),
                effect => self.later.push(effect),
            }
        }
        let origin = cause.and_then(guest);
        let mut reached = BTreeSet::new();
        for event in changes.events {
            self.deliver(event, origin, &mut reached);
        }
    }

    fn connect(&mut self, introducer: ConnectionId, header: Header, domid: Domid, ring: Ring) {
        // A port can be bound once only: the old ring has to go before the new one comes.
        self.drop_connection(ConnectionId::Domain(domid));
        // First which one it is: should the number change hands, the mapping fails or is another's.
        let identity = self.host.identity(domid);
        let link = identity.ok_or(Errno::Einval).and_then(|_| self.host.connect(domid, ring));
        let identity = identity.unwrap_or_default();
        let result = link.map(|link| {
            self.identities.insert(domid, identity);
            self.attach(ConnectionId::Domain(domid), link, 0, 0);
        });
        self.journal.note(Entry::Connected { domid, identity, ring, result });
        if result.is_err() {
            // Its old ring is gone all the same; the next INTRODUCE tries again.
            self.state.reset(ConnectionId::Domain(domid));
        }
        let outcome = self.state.connected(domid, ring, result);
        if let Some(reply) = &outcome.reply {
            self.reply(introducer, header, reply);
        }
        self.follow(Some(introducer), header, outcome.changes);
    }

    /// Queues an event. `origin` is the guest that has to answer for it: once per request and
    /// connection, since the reader decides how many watches see the same change. `reached` are the
    /// connections that got an event of this request.
    fn deliver(
        &mut self,
        event: Event,
        origin: Option<Domid>,
        reached: &mut BTreeSet<ConnectionId>,
    ) {
        let id = event.connection;
        let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.parked) else { return };
        self.encoded.clear();
        let event = Reply::Event(event.event);
        if event.encode(RequestId(0), TransactionId::NONE, &mut self.encoded).is_err() {
            // The store makes none that is too long.
            return;
        }
        self.host.answer(id, &self.encoded);
        self.journal.answered(&self.encoded);
        if !connection.out.push_event(&self.encoded, origin) {
            return;
        }
        if let Some(domid) = origin {
            if reached.insert(id) {
                self.state.queued(domid, 1, 0);
            } else {
                connection.out.answer_once();
            }
        }
        if let Some(domid) = guest(id) {
            self.state.queued(domid, 0, signed(self.encoded.len()));
        }
        if connection.out.waiting().len() > Self::QUEUE_BYTES {
            self.overfull.push(id);
        }
        self.mark(id);
    }

    /// Notes that there is something to tell after the commit.
    pub(super) fn mark(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !std::mem::replace(&mut connection.unsettled, true)
        {
            self.unsettled.push(id);
        }
    }

    /// Empties a connection on either side; the store has dropped, or drops here, what it held for
    /// it. `features` are given when the ring is a new one.
    pub(super) fn begin_anew(
        &mut self,
        id: ConnectionId,
        features: Option<u32>,
    ) -> Result<(), Fault> {
        self.drop_queue(id);
        let features = match features {
            Some(features) => features,
            None => {
                self.state.reset(id);
                self.journal.note(Entry::Reset { connection: id, parked: false });
                guest(id).map_or(0, |domid| self.state.ring_features(domid))
            }
        };
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        connection.parser = crate::wire::Parser::new();
        connection.request_position = 0;
        connection.out = Queue::at(0, guest(id));
        connection.parked = false;
        connection.held_back = false;
        // The ring itself after the commit: who is killed before leaves it as the file has it.
        connection.was_reset = Some(features);
        self.mark(id);
        Ok(())
    }

    fn cut_overfull(&mut self) {
        for id in std::mem::take(&mut self.overfull) {
            if let Some(connection) = self.connections.get(&id).filter(|c| !c.parked) {
                let waiting_bytes = connection.out.waiting().len();
                self.fail(id, &Fault::Unread { waiting_bytes });
            }
        }
    }

    /// Ends a connection because of its peer's doing: a socket goes, a ring is left alone.
    pub(super) fn fail(&mut self, id: ConnectionId, fault: &Fault) {
        if !matches!(fault, Fault::Closed) {
            self.host.faulted(id, fault);
        }
        match id {
            ConnectionId::Socket(number) => {
                self.drop_connection(id);
                self.state.disconnect_socket(number);
                self.journal.note(Entry::Closed(number));
            }
            ConnectionId::Domain(_) => {
                self.drop_queue(id);
                self.state.reset(id);
                self.journal.note(Entry::Reset { connection: id, parked: true });
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.parked = true;
                    connection.parser = crate::wire::Parser::new();
                    connection.link.park(fault);
                }
            }
        }
    }

    fn disconnect(&mut self, domid: Domid) {
        self.identities.remove(&domid);
        self.drop_connection(ConnectionId::Domain(domid));
        // The number may come back for another domain, which answers for nothing of this one's.
        for connection in self.connections.values_mut() {
            connection.out.forget(domid);
        }
    }

    pub(super) fn drop_connection(&mut self, id: ConnectionId) {
        self.drop_queue(id);
        self.connections.remove(&id);
    }

    /// Forgets what waits for a connection.
    fn drop_queue(&mut self, id: ConnectionId) {
        self.stuck.remove(&id);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.stuck_since = None;
        let mut out = std::mem::take(&mut connection.out);
        let waiting = out.waiting().len();
        connection.out = Queue::at(out.base(), out.reader());
        if let Some(domid) = guest(id) {
            self.state.queued(domid, 0, -signed(waiting));
        }
        let mut origins = Vec::new();
        out.advance(waiting, |origin| origins.extend(origin));
        for origin in origins {
            self.answered_for(origin);
        }
    }

    /// A message that a guest answered for is gone; perhaps it may ask again.
    pub(super) fn answered_for(&mut self, origin: Domid) {
        self.state.queued(origin, -1, 0);
        self.resume(ConnectionId::Domain(origin));
    }

    /// Lets a connection that was held back go on, if it may.
    pub(super) fn resume(&mut self, id: ConnectionId) {
        let held_back = self.connections.get(&id).is_some_and(|c| c.held_back && !c.parked);
        if held_back && self.may_ask(id) {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.held_back = false;
            }
            self.ready(id);
        }
    }
}

/// The guest of a connection: the one whose quotas count.
pub(super) fn guest(id: ConnectionId) -> Option<Domid> {
    match id {
        ConnectionId::Domain(domid) if domid != Domid::DOM0 => Some(domid),
        _ => None,
    }
}

/// A length as a change of an account. No queue comes near 2⁶³ bytes.
pub(super) fn signed(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
