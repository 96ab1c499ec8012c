//! The keeper's life.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with};

use super::message::{self, Kind, Message};
use crate::commands::xenstored::XenstoredError;
use crate::commands::xenstored::confine::confine_keeper;
use crate::commands::xenstored::error::system;

/// When connections are tried again that could not be taken up: what they need may come back elsewhere.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A connection.
struct Kept {
    number: u32,
    socket: OwnedFd,
    /// Replies are sent from here.
    out: OwnedFd,
}

#[derive(Default)]
struct Process {
    /// The xenstored that runs.
    xenstored: Option<OwnedFd>,
    listeners: Vec<OwnedFd>,
    kept: Vec<Kept>,
    /// The last number that was given.
    last: u32,
    /// A connection could not be taken up, since something is used up: none is before this, unless one
    /// was given back.
    full_until: Option<Instant>,
    ends: bool,
}

/// Keeps what it is given, until it is told to end. Standard input is where xenstoreds come.
pub fn run() -> Result<(), XenstoredError> {
    rustix::process::setsid().map_err(system("begin a session"))?;
    confine_keeper(&[]);
    keep(rustix::stdio::stdin())
}

/// Keeps what xenstoreds give that connect to `control`.
pub fn keep(control: BorrowedFd<'_>) -> Result<(), XenstoredError> {
    let mut process = Process::default();
    while !process.ends {
        let left = process.left_full();
        let accepts = process.xenstored.is_some() && left.is_none();
        let (came, said, connections) = {
            let mut places = Vec::with_capacity(4);
            places.push(PollFd::from_borrowed_fd(control, PollFlags::IN));
            if let Some(xenstored) = &process.xenstored {
                places.push(PollFd::new(xenstored, PollFlags::IN));
            }
            if accepts {
                places.extend(process.listeners.iter().map(|l| PollFd::new(l, PollFlags::IN)));
            }
            match poll(&mut places, left.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(system("wait for events")(errno)),
            }
            let mut ready = places.iter().map(|place| !place.revents().is_empty());
            let came = ready.next().unwrap_or_default();
            let said = process.xenstored.is_some() && ready.next().unwrap_or_default();
            (came, said, ready.any(|ready| ready))
        };
        if said || came {
            process.listen();
        }
        if came && let Ok(next) = accept_with(control, SocketFlags::CLOEXEC) {
            process.greet(next);
        }
        if connections {
            process.accept();
        }
    }
    Ok(())
}

impl Process {
    /// For how long no connections are taken up.
    fn left_full(&mut self) -> Option<Timespec> {
        let left = self.full_until?.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.full_until = None;
            return None;
        }
        Timespec::try_from(left).ok()
    }

    /// Takes what the xenstored has said, whether or not it lives.
    fn listen(&mut self) {
        while let Some(xenstored) = &self.xenstored {
            match message::receive(xenstored, RecvFlags::DONTWAIT) {
                Ok(Some(message)) => self.hear(message),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Ok(None) | Err(_) => self.xenstored = None,
            }
        }
    }

    fn hear(&mut self, message: Message) {
        match (message.kind, message.descriptors) {
            (Some(Kind::Listener), [Some(listener), None]) => {
                if message.number == 0 {
                    self.listeners.clear();
                }
                self.listeners.push(listener);
            }
            (Some(Kind::Kept), [Some(socket), Some(out)]) => {
                self.kept.retain(|kept| kept.number != message.number);
                self.last = self.last.max(message.number);
                self.kept.push(Kept { number: message.number, socket, out });
            }
            (Some(Kind::Close), _) => {
                self.kept.retain(|kept| kept.number != message.number);
                self.full_until = None;
            }
            (Some(Kind::End), _) => self.ends = true,
            _ => {}
        }
    }

    /// Tells a xenstored of everything. It comes in place of the one before: a host has one.
    fn greet(&mut self, next: OwnedFd) {
        let wait = SendFlags::empty();
        let told = message::send(&next, Kind::Version, message::VERSION, &[], wait)
            .and_then(|()| {
                self.listeners.iter().zip(0..).try_for_each(|(listener, number)| {
                    message::send(&next, Kind::Listener, number, &[listener.as_fd()], wait)
                })
            })
            .and_then(|()| self.kept.iter().try_for_each(|kept| kept.show(&next)))
            .and_then(|()| message::send(&next, Kind::Ready, 0, &[], wait));
        self.xenstored = Some(next);
        self.full_until = None;
        if told.is_err() {
            // One that was killed while it listened is no loss: the next one hears the same. It may have
            // said that it needs nothing.
            self.listen();
            self.xenstored = None;
        }
    }

    /// Takes up one connection at each listener that has one.
    fn accept(&mut self) {
        for index in 0..self.listeners.len() {
            let Some(listener) = self.listeners.get(index) else { return };
            // First: a connection for which it cannot be had would be lost.
            let Ok(out) = rustix::fs::memfd_create("xenstored", MemfdFlags::CLOEXEC) else {
                self.full_until = Some(Instant::now() + AGAIN_AFTER);
                return;
            };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = match accept_with(listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => continue,
                Err(_) => {
                    self.full_until = Some(Instant::now() + AGAIN_AFTER);
                    continue;
                }
            };
            let number = self.next_number();
            let kept = Kept { number, socket, out };
            // Should it not be there to hear, the next one will.
            if let Some(xenstored) = &self.xenstored {
                let _ = kept.show(xenstored);
            }
            self.kept.push(kept);
        }
    }

    fn next_number(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            let is_taken = |kept: &Kept| kept.number == self.last;
            if !self.kept.iter().any(is_taken) {
                return self.last;
            }
        }
    }
}

impl Kept {
    /// Waits for as long as the xenstored lives and does not take it.
    fn show(&self, xenstored: &OwnedFd) -> Result<(), Errno> {
        let descriptors = [self.socket.as_fd(), self.out.as_fd()];
        message::send(xenstored, Kind::Kept, self.number, &descriptors, SendFlags::empty())
    }
}

#[cfg(test)]
mod tests;
