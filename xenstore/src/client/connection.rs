//! A connection: the session, a transport, and the exchange between them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::again::{Place, Return, is_repeatable};
use super::error::{Attempt, Error, Loss};
use super::expect;
use super::nodes::Nodes;
use super::session::{Counters, Session};
use super::transport::{self, Framing, Transport};
use crate::errno::Errno;
use crate::wire::{HEADER_LEN, PAYLOAD_MAX, Reply, Request, RequestId, TransactionId};

/// How long a request may wait for its reply unless [`Client::set_request_timeout`] says otherwise.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes asked for in one read: a page, as every page costs a fault at the start of a short command.
const READ_CHUNK: usize = 4096;

/// A blocking connection to a store.
///
/// Requests are sent one by one ([`Nodes::call`] and what builds on it) or in bursts
/// ([`Nodes::batch`]). Watch events that arrive meanwhile are kept for [`Client::next_event`].
#[derive(Debug)]
pub struct Client {
    pub(super) transport: Box<dyn Transport>,
    pub(super) session: Session,
    /// Nothing is sent once it is set, unless the connection is made anew.
    pub(super) lost: Option<Loss>,
    /// Where the store is.
    pub(super) place: Place,
    /// How long a lost connection is made anew; not at all when `None`.
    pub(super) patience: Option<Duration>,
    /// How it is made anew, once it was lost.
    pub(super) coming: Return,
    timeout: Option<Duration>,
    /// Bytes to send, and where each packet ends; empty between exchanges.
    out: Vec<u8>,
    ends: Vec<(RequestId, usize)>,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects to the store of this host: the place that the environment variable `XENSTORED_PATH`
    /// names, else xenstored's socket in its usual places, else the kernel's `/dev/xen/xenbus`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with every place that was tried.
    pub fn connect() -> Result<Self, Error> {
        Ok(Self::from_box(transport::find(false)?, Place::Usual))
    }

    /// Connects to the store at `path`: a socket, or the kernel's device.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the reason.
    pub fn connect_to(path: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let transport = open_at(path)?;
        Ok(Self::from_box(transport, Place::Path(path.to_owned())))
    }

    /// A client over a transport that is connected already.
    #[must_use]
    pub fn over(transport: impl Transport + 'static) -> Self {
        Self::from_box(Box::new(transport), Place::Given)
    }

    pub(super) fn from_box(transport: Box<dyn Transport>, place: Place) -> Self {
        let mut session = Session::new();
        if transport.framing() != Framing::Stream {
            // The kernel takes path and token of a watch and drops the rest.
            session.keep_depths();
        }
        Self {
            transport,
            session,
            lost: None,
            place,
            patience: None,
            coming: Return::default(),
            timeout: Some(REQUEST_TIMEOUT),
            out: Vec::new(),
            ends: Vec::new(),
            buffer: vec![0; READ_CHUNK],
        }
    }

    /// How long a request, or a burst of them, may wait without any byte from the server; `None` for
    /// ever. A request that waits longer ends the connection.
    pub fn set_request_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// How many watch events may wait to be taken ([`super::EVENTS_MAX`] by default).
    pub fn set_event_limit(&mut self, limit: usize) {
        self.session.events.set_limit(limit);
    }

    /// What this connection counted so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.session.counters
    }

    /// Why the connection is of no more use, if it is.
    #[must_use]
    pub const fn lost(&self) -> Option<&Loss> {
        self.lost.as_ref()
    }

    pub(super) fn framing(&self) -> Framing {
        self.transport.framing()
    }

    /// One burst of requests in one transaction (or none), one wait for all replies.
    pub(super) fn burst(
        &mut self,
        transaction: TransactionId,
        requests: &[Request],
    ) -> Result<Vec<Result<Reply, Error>>, Error> {
        let Some(first) = requests.first() else { return Ok(Vec::new()) };
        let outside = transaction == TransactionId::NONE;
        if let Some(loss) = self.lost.clone()
            && !(outside && self.connect_again(None)?)
        {
            return Err(Error::broken(first, loss));
        }
        let replies = self.burst_once(transaction, requests);
        let is_lost = replies.as_ref().is_err_and(Error::is_disconnected);
        if is_lost && outside && requests.iter().all(is_repeatable) && self.connect_again(None)? {
            return self.burst_once(transaction, requests);
        }
        replies
    }

    fn burst_once(
        &mut self,
        transaction: TransactionId,
        requests: &[Request],
    ) -> Result<Vec<Result<Reply, Error>>, Error> {
        // All lengths first: nothing may be sent when one request cannot be.
        requests.iter().try_for_each(|request| self.fits(request))?;
        self.out.clear();
        self.ends.clear();
        for request in requests {
            let id = self.session.request(request, transaction, &mut self.out);
            let id = id.map_err(|len| self.too_long(request, len))?;
            self.ends.push((id, self.out.len()));
        }
        let begun = Instant::now();
        let exchanged = self.exchange();
        self.session.counters.waited += begun.elapsed();
        let ids: Vec<_> = self.ends.drain(..).map(|(id, _)| id).collect();
        if let Err(loss) = exchanged {
            self.lost = Some(loss.clone());
            // The end may come right behind the last reply.
            if self.session.waiting() > 0 {
                let unanswered = ids.iter().position(|id| self.session.take(*id).is_none());
                return Err(Error::disconnected(&requests[unanswered.unwrap_or(0)], loss));
            }
        }
        let outcome = |(request, id): (&Request, RequestId)| match self.session.take(id) {
            Some(outcome) => Ok(expect::reply(request, outcome)),
            None => Err(Error::lost_reply(request)),
        };
        requests.iter().zip(ids).map(outcome).collect()
    }

    fn fits(&self, request: &Request) -> Result<(), Error> {
        let len = request.payload_len();
        if len > self.payload_max() { Err(self.too_long(request, len)) } else { Ok(()) }
    }

    fn too_long(&self, request: &Request, len_bytes: usize) -> Error {
        Error::TooLong {
            operation: request.message_type(),
            subject: request.subject(),
            len_bytes,
            limit_bytes: self.payload_max(),
        }
    }

    fn payload_max(&self) -> usize {
        match self.framing() {
            Framing::Stream => PAYLOAD_MAX,
            Framing::PacketPerWrite { packet_max } => {
                packet_max.saturating_sub(HEADER_LEN).min(PAYLOAD_MAX)
            }
        }
    }

    /// Sends `out` and reads until every request has its reply.
    fn exchange(&mut self) -> Result<(), Loss> {
        match self.framing() {
            Framing::Stream => self.exchange_stream(),
            Framing::PacketPerWrite { .. } => self.exchange_packets(),
        }
    }

    /// All packets in one burst. Reading goes on while writing would block, so that two full buffers
    /// cannot hold each other up.
    fn exchange_stream(&mut self) -> Result<(), Loss> {
        self.session.counters.round_trips += 1;
        let mut sent = 0;
        let mut deadline = self.deadline();
        while sent < self.out.len() || self.session.waiting() > 0 {
            let before = sent;
            self.send_stream(&mut sent)?;
            let all = sent == self.out.len();
            // Where nothing is left to send or no room to send it, only waiting helps: what has
            // arrived so far was read already.
            if all || before == sent {
                self.wait_or_lose(!all, deadline)?;
            }
            if self.hear()? {
                deadline = self.deadline();
            }
        }
        Ok(())
    }

    /// One packet after the other: the kernel's device keeps one request at a time. The failure of a
    /// write is the answer to its packet.
    fn exchange_packets(&mut self) -> Result<(), Loss> {
        let mut start = 0;
        for (id, end) in self.ends.clone() {
            self.session.counters.round_trips += 1;
            let unanswered = self.session.waiting();
            let deadline = self.deadline();
            match self.send_packet(start..end, deadline)? {
                Ok(()) => {}
                Err(errno) => self.session.refuse(id, errno),
            }
            while self.session.waiting() == unanswered {
                self.wait_or_lose(false, deadline)?;
                self.hear()?;
            }
            start = end;
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.timeout.map(|timeout| Instant::now() + timeout)
    }

    fn wait_or_lose(&self, writing: bool, deadline: Option<Instant>) -> Result<(), Loss> {
        if self.wait(writing, deadline)? {
            Ok(())
        } else {
            Err(Loss::Timeout(self.timeout.unwrap_or_default()))
        }
    }

    /// Writes as much as fits now.
    fn send_stream(&mut self, sent: &mut usize) -> Result<(), Loss> {
        while *sent < self.out.len() {
            match self.transport.write(&self.out[*sent..]) {
                Ok(0) => return Err(Loss::Closed),
                Ok(count) => *sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Loss::from(&error)),
            }
        }
        Ok(())
    }

    /// Writes one packet by one write; gives the errno that answers it, if it is one of the protocol.
    fn send_packet(
        &mut self,
        bytes: std::ops::Range<usize>,
        deadline: Option<Instant>,
    ) -> Result<Result<(), Errno>, Loss> {
        loop {
            match self.transport.write(&self.out[bytes.clone()]) {
                Ok(count) if count == bytes.len() => return Ok(Ok(())),
                Ok(_) => return Err(Loss::Io("the device cut a packet".to_owned())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_or_lose(true, deadline)?;
                }
                Err(error) => {
                    let errno = error.raw_os_error().and_then(Errno::from_raw);
                    return errno.map(Err).ok_or_else(|| Loss::from(&error));
                }
            }
        }
    }

    /// Reads what is there. Says whether it was anything.
    pub(super) fn hear(&mut self) -> Result<bool, Loss> {
        let mut heard = false;
        loop {
            match self.transport.read(&mut self.buffer) {
                Ok(0) => return Err(Loss::Closed),
                Ok(count) => {
                    self.session.receive(&self.buffer[..count])?;
                    heard = true;
                    if count < self.buffer.len() {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(heard),
                Err(error) => return Err(Loss::from(&error)),
            }
        }
    }

    /// Waits until there is something to read, or room to write if `writing`. `false` at the deadline.
    pub(super) fn wait(&self, writing: bool, deadline: Option<Instant>) -> Result<bool, Loss> {
        let mut interest = PollFlags::IN;
        if writing {
            interest |= PollFlags::OUT;
        }
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            match poll(&mut [PollFd::new(&self.transport, interest)], timeout.as_ref()) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Loss::from(&error.into())),
            }
        }
    }

    /// Remembers that the connection is gone.
    pub(super) fn lose(&mut self, loss: Loss) -> Error {
        self.lost = Some(loss.clone());
        Error::WatchesLost { loss }
    }
}

pub(super) fn open_at(path: &std::path::Path) -> Result<Box<dyn Transport>, Error> {
    transport::open(path).map_err(|error| Error::Unavailable {
        tried: vec![Attempt { path: path.to_owned(), error }],
    })
}

impl Nodes for Client {
    fn call(&mut self, request: &Request) -> Result<Reply, Error> {
        self.call_in(TransactionId::NONE, request)
    }

    fn batch(&mut self, requests: &[Request]) -> Result<Vec<Result<Reply, Error>>, Error> {
        self.burst(TransactionId::NONE, requests)
    }
}

impl Client {
    pub(super) fn call_in(
        &mut self,
        transaction: TransactionId,
        request: &Request,
    ) -> Result<Reply, Error> {
        let replies = self.burst(transaction, std::slice::from_ref(request))?;
        replies.into_iter().next().unwrap_or_else(|| Err(Error::lost_reply(request)))
    }
}

/// The descriptor of the connection, for a caller's own event loop. Poll it for reading only while
/// [`Client::events_waiting`] is 0: what waits there was read already.
impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}
