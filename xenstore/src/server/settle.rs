//! After the commit: request bytes are given back, replies and events go out.

use std::time::Duration;

use super::fault::Fault;
use super::host::Host;
use super::journal::{Entry, Journal};
use super::serve::{Server, guest, signed};
use super::transport::Transport;
use crate::Domid;
use crate::store::ConnectionId;

impl<H: Host, J: Journal> Server<H, J> {
    /// Tells everyone what there is to tell. All of it is committed.
    pub(super) fn settle_all(&mut self) {
        for effect in std::mem::take(&mut self.later) {
            self.host.carry_out(effect);
        }
        let mut unsettled = std::mem::take(&mut self.unsettled);
        // Rings that begin anew come first: who is told that a domain was introduced lets it run, and what
        // it asks before its ring is emptied would be lost.
        unsettled.sort_by_key(|id| self.connections.get(id).is_none_or(|c| c.was_reset.is_none()));
        for id in unsettled.drain(..) {
            if let Err(fault) = self.settle(id) {
                self.fail(id, &fault);
            }
        }
        // Whoever failed meanwhile has nothing to be told; whoever was marked is marked still.
        unsettled.append(&mut self.unsettled);
        self.unsettled = unsettled;
    }

    fn settle(&mut self, id: ConnectionId) -> Result<(), Fault> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        connection.unsettled = false;
        if connection.parked {
            return Ok(());
        }
        if let Some(features) = connection.was_reset.take() {
            connection.link.reset(features)?;
            connection.link.reset_done()?;
            // Nothing was taken from it since.
            self.ready(id);
        }
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let mut notify = connection.link.taken(connection.request_position)?;
        let mut sent = 0;
        let sending = loop {
            let (at, waiting) = connection.out.not_sent(sent);
            match connection.link.send(at, waiting) {
                Ok(0) => break Ok(()),
                Ok(count) => sent += count.min(waiting.len()),
                Err(fault) => break Err(fault),
            }
        };
        if sent > 0 {
            self.journal.note(Entry::Sent { connection: id, bytes: sent });
            self.sent(id, sent);
        }
        sending?;
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        notify |= sent > 0;
        if notify {
            connection.link.notify()?;
        }
        let waits = !connection.out.waiting().is_empty();
        if waits != connection.awaits_room {
            connection.link.await_room(waits)?;
            connection.awaits_room = waits;
        }
        if waits || connection.stuck_since.is_some() {
            self.watch_reader(id);
        }
        self.resume(id);
        Ok(())
    }

    /// Bytes at the head of what waits for a connection are sent: nobody answers for them any more.
    pub(super) fn sent(&mut self, id: ConnectionId, count: usize) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let count = count.min(connection.out.waiting().len());
        let mut origins = Vec::new();
        connection.out.advance(count, |origin| origins.extend(origin));
        if let Some(domid) = guest(id) {
            self.state.queued(domid, 0, -signed(count));
        }
        for origin in origins {
            self.answered_for(origin);
        }
    }

    /// Notes since when a reader has left what another guest answers for. The kernel of
    /// this domain is waited for however long it takes: without its store the host is lost.
    fn watch_reader(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let kernel = id == ConnectionId::Domain(Domid::DOM0);
        if kernel || !connection.out.holds_up_others() {
            connection.stuck_since = None;
            self.stuck.remove(&id);
        } else {
            connection.stuck_since = connection.out.owed_since(self.host.now());
            self.stuck.insert(id);
        }
    }

    /// When [`Server::expire`] has something to do, if nothing happens before.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        let since = self.stuck.iter().filter_map(|id| self.connections.get(id)?.stuck_since);
        since.min().map(|since| since + Duration::from_secs(Self::UNREAD_SECONDS))
    }

    /// Cuts off guests that have held up others for too long.
    pub fn expire(&mut self) {
        if self.stuck.is_empty() {
            return;
        }
        let now = self.host.now();
        let limit = Duration::from_secs(Self::UNREAD_SECONDS);
        let late: Vec<(ConnectionId, usize)> = self
            .stuck
            .iter()
            .filter_map(|&id| {
                let connection = self.connections.get(&id)?;
                let late = connection.stuck_since? + limit <= now;
                late.then(|| (id, connection.out.waiting().len()))
            })
            .collect();
        for (id, waiting_bytes) in late {
            self.fail(id, &Fault::Unread { waiting_bytes });
        }
    }
}
