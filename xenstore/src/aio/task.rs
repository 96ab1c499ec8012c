//! The task that owns the socket.
//!
//! In: commands of the handles, bytes of the socket. Out: outcomes to those who asked, events to
//! their receiver. It ends when the connection is lost, or when no handle and no request is left.
//!
//! ```text
//! handles ──Command──▶ session.request ──▶ out ──▶ socket
//! socket ──▶ session.receive ──▶ outcomes ──▶ oneshot of the burst
//!                           └─▶ events   ──▶ channel (bounded) ──▶ Events
//! ```

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::{EVENT_CHANNEL_MAX, Options};
use crate::client::{Counters, Error, Loss, Outcome, Session, Waiting};
use crate::wire::{PAYLOAD_MAX, Reply, Request, RequestId, TransactionId};

/// Bytes that may wait to be sent before further bursts are taken in.
const OUT_MAX: usize = 1 << 20;
/// Bytes asked for in one read.
const READ_CHUNK: usize = 32 * 1024;

/// What a handle asks of the task.
#[derive(Debug)]
pub(super) enum Command {
    /// Requests to send together.
    Burst {
        transaction: TransactionId,
        requests: Vec<Request>,
        reply: oneshot::Sender<Result<Vec<Outcome>, Loss>>,
    },
    /// A transaction that nobody wants any more.
    Discard(TransactionId),
    /// The server knows no depths of watches.
    KeepDepths,
}

/// What handles and the task share.
#[derive(Debug, Default)]
struct Shared {
    counters: Mutex<Counters>,
    conflicts: std::sync::atomic::AtomicU64,
    loss: Mutex<Option<Loss>>,
}

/// A handle's way to the task.
#[derive(Clone, Debug)]
pub(super) struct Link {
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
}

/// A burst that was handed to the task.
pub(super) struct Posted {
    receiver: oneshot::Receiver<Result<Vec<Outcome>, Loss>>,
}

impl Posted {
    /// The outcome of a burst of one.
    pub(super) async fn wait(self, request: &Request) -> Result<Outcome, Error> {
        let mut outcomes = self.wait_all(request).await?;
        outcomes.pop().ok_or_else(|| Error::lost_reply(request))
    }

    async fn wait_all(self, first: &Request) -> Result<Vec<Outcome>, Error> {
        match self.receiver.await {
            Ok(Ok(outcomes)) => Ok(outcomes),
            Ok(Err(loss)) => Err(Error::disconnected(first, loss)),
            Err(_) => Err(Error::disconnected(first, Loss::Shut)),
        }
    }
}

impl Link {
    /// Sends a command that has no answer. A task that has ended needs none.
    pub(super) fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    pub(super) fn counters(&self) -> Counters {
        let mut counters = *lock(&self.shared.counters);
        counters.conflicts = self.shared.conflicts.load(std::sync::atomic::Ordering::Relaxed);
        counters
    }

    pub(super) fn count_conflict(&self) {
        self.shared.conflicts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    /// Hands over one request; it is sent even if nobody waits for the outcome.
    pub(super) fn post(
        &self,
        transaction: TransactionId,
        request: &Request,
    ) -> Result<Posted, Error> {
        self.post_all(transaction, std::slice::from_ref(request), request)
    }

    fn post_all(
        &self,
        transaction: TransactionId,
        requests: &[Request],
        first: &Request,
    ) -> Result<Posted, Error> {
        for request in requests {
            let len_bytes = request.payload_len();
            if len_bytes > PAYLOAD_MAX {
                let (operation, subject) = (request.message_type(), request.subject());
                let limit_bytes = PAYLOAD_MAX;
                return Err(Error::TooLong { operation, subject, len_bytes, limit_bytes });
            }
        }
        let (reply, receiver) = oneshot::channel();
        let command = Command::Burst { transaction, requests: requests.to_vec(), reply };
        if self.commands.send(command).is_err() {
            let loss = lock(&self.shared.loss).clone();
            return Err(Error::broken(first, loss.unwrap_or(Loss::Shut)));
        }
        Ok(Posted { receiver })
    }

    /// Sends requests together and waits for their outcomes.
    pub(super) async fn burst(
        &self,
        transaction: TransactionId,
        requests: &[Request],
    ) -> Result<Vec<Outcome>, Error> {
        let Some(first) = requests.first() else { return Ok(Vec::new()) };
        self.post_all(transaction, requests, first)?.wait_all(first).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Plain values: whoever panicked left them whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Requests whose outcomes go to one caller.
#[derive(Debug)]
struct Burst {
    ids: Vec<RequestId>,
    outcomes: Vec<Option<Outcome>>,
    missing: usize,
    reply: oneshot::Sender<Result<Vec<Outcome>, Loss>>,
}

type EventSender = mpsc::Sender<Result<Waiting, Loss>>;

struct Task {
    stream: UnixStream,
    session: Session,
    bursts: VecDeque<Burst>,
    /// Ends of discarded transactions, whose outcome nobody wants.
    unwanted: Vec<RequestId>,
    out: Vec<u8>,
    sent: usize,
    timeout: Option<Duration>,
    /// When the server was last heard, or the first request after a rest was sent.
    heard: Instant,
    shared: Arc<Shared>,
}

/// Starts the task over a connected socket.
pub(super) fn spawn(
    stream: UnixStream,
    options: Options,
) -> (Link, mpsc::Receiver<Result<Waiting, Loss>>) {
    let (commands, receiver) = mpsc::unbounded_channel();
    let (events, event_receiver) = mpsc::channel(EVENT_CHANNEL_MAX);
    let shared = Arc::new(Shared::default());
    let mut session = Session::new();
    session.events.set_limit(options.event_limit);
    let task = Task {
        stream,
        session,
        bursts: VecDeque::new(),
        unwanted: Vec::new(),
        out: Vec::new(),
        sent: 0,
        timeout: options.request_timeout,
        heard: Instant::now(),
        shared: Arc::clone(&shared),
    };
    tokio::spawn(task.run(receiver, events));
    (Link { commands, shared }, event_receiver)
}

impl Task {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>, events: EventSender) {
        let Err(loss) = self.serve(&mut commands, &events).await else { return };
        *lock(&self.shared.loss) = Some(loss.clone());
        commands.close();
        for burst in self.bursts.drain(..) {
            let _ = burst.reply.send(Err(loss.clone()));
        }
        while let Ok(command) = commands.try_recv() {
            if let Command::Burst { reply, .. } = command {
                let _ = reply.send(Err(loss.clone()));
            }
        }
        while let Some(waiting) = self.session.pop_event() {
            if events.send(Ok(waiting)).await.is_err() {
                return;
            }
        }
        let _ = events.send(Err(loss)).await;
    }

    /// Serves until no handle is left (`Ok`) or the connection is lost.
    async fn serve(
        &mut self,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        events: &EventSender,
    ) -> Result<(), Loss> {
        let mut open = true;
        while open || self.session.waiting() > 0 {
            if events.is_closed() {
                // Nobody will ever take them.
                while self.session.pop_event().is_some() {}
            }
            let unsent = self.sent < self.out.len();
            let asked = self.session.waiting() > 0;
            // With nothing to wait for, the store may keep the events: back-pressure.
            let reading = asked || self.session.events.is_empty();
            let deadline = self.timeout.filter(|_| asked).map(|timeout| self.heard + timeout);
            tokio::select! {
                command = commands.recv(), if open && self.out.len() - self.sent < OUT_MAX => {
                    match command {
                        Some(command) => self.command(command),
                        None => open = false,
                    }
                }
                ready = self.stream.readable(), if reading => {
                    ready.map_err(|error| Loss::from(&error))?;
                    self.receive()?;
                }
                ready = self.stream.writable(), if unsent => {
                    ready.map_err(|error| Loss::from(&error))?;
                    self.send()?;
                }
                permit = events.reserve(), if !self.session.events.is_empty() => {
                    if let (Ok(permit), Some(waiting)) = (permit, self.session.pop_event()) {
                        permit.send(Ok(waiting));
                    }
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    return Err(Loss::Timeout(self.timeout.unwrap_or_default()));
                }
            }
            *lock(&self.shared.counters) = self.session.counters;
        }
        Ok(())
    }

    fn command(&mut self, command: Command) {
        if self.session.waiting() == 0 {
            self.heard = Instant::now();
        }
        match command {
            Command::KeepDepths => self.session.keep_depths(),
            Command::Discard(transaction) => self.discard(transaction),
            Command::Burst { transaction, requests, reply } => {
                self.session.counters.round_trips += 1;
                // Lengths were checked when the burst was posted.
                let ids: Vec<_> = requests
                    .iter()
                    .filter_map(|r| self.session.request(r, transaction, &mut self.out).ok())
                    .collect();
                let outcomes = ids.iter().map(|_| None).collect();
                let missing = ids.len();
                self.bursts.push_back(Burst { ids, outcomes, missing, reply });
            }
        }
    }

    fn discard(&mut self, transaction: TransactionId) {
        let end = Request::TransactionEnd { commit: false };
        self.unwanted.extend(self.session.request(&end, transaction, &mut self.out));
    }

    fn send(&mut self) -> Result<(), Loss> {
        match self.stream.try_write(&self.out[self.sent..]) {
            Ok(0) => return Err(Loss::Closed),
            Ok(count) => self.sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Loss::from(&error)),
        }
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Loss> {
        let mut buffer = [0; READ_CHUNK];
        let result = match self.stream.try_read(&mut buffer) {
            Ok(0) => return Err(Loss::Closed),
            Ok(count) => {
                self.heard = Instant::now();
                self.session.receive(&buffer[..count])
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(Loss::from(&error)),
        };
        // What came before the trouble still counts.
        self.deliver();
        result
    }

    /// Hands outcomes to those who wait for them.
    fn deliver(&mut self) {
        let session = &mut self.session;
        self.unwanted.retain(|id| session.take(*id).is_none());
        let mut started = Vec::new();
        for burst in &mut self.bursts {
            for (id, outcome) in burst.ids.iter().zip(&mut burst.outcomes) {
                if outcome.is_none() {
                    *outcome = session.take(*id);
                    burst.missing -= usize::from(outcome.is_some());
                }
            }
        }
        let mut rest = VecDeque::with_capacity(self.bursts.len());
        for burst in self.bursts.drain(..) {
            if burst.missing > 0 {
                rest.push_back(burst);
                continue;
            }
            let outcomes = burst.outcomes.into_iter().flatten().collect();
            // A caller that has gone cannot end the transaction that it started.
            if let Err(Ok(outcomes)) = burst.reply.send(Ok(outcomes)) {
                started.extend(outcomes.into_iter().filter_map(|outcome| match outcome {
                    Ok(Reply::TransactionStarted(id)) => Some(id),
                    _ => None,
                }));
            }
        }
        self.bursts = rest;
        started.into_iter().for_each(|transaction| self.discard(transaction));
    }
}
