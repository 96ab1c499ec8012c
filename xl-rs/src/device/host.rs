//! What device work is done with: xenstored, the events that are waited for, the signals that end it.

use std::os::fd::{AsFd, BorrowedFd};
use xenstore::client::Client;

/// The host's side of device work.
pub struct Host<'a> {
    /// Requests go here.
    pub store: &'a mut Client,
    /// Events come here: the caller's own watches are not disturbed. Made when it is needed.
    events: Option<Client>,
    /// Readable once a signal came that asks us to end.
    interrupt: Option<BorrowedFd<'a>>,
}

impl<'a> Host<'a> {
    /// `interrupt` becomes readable when waiting shall end, and stays so.
    pub fn new(store: &'a mut Client, interrupt: Option<&'a impl AsFd>) -> Self {
        Self { store, events: None, interrupt: interrupt.map(AsFd::as_fd) }
    }

    /// One that no signal interrupts: what is begun is finished.
    pub fn undisturbed(store: &'a mut Client) -> Self {
        Self { store, events: None, interrupt: None }
    }

    /// What ends every wait.
    pub(super) const fn interrupt(&self) -> Option<BorrowedFd<'a>> {
        self.interrupt
    }

    /// The connection for events.
    pub(super) fn events(&mut self) -> Result<&mut Client, xenstore::client::Error> {
        match &mut self.events {
            Some(events) => Ok(events),
            none => Ok(none.insert(Client::connect()?)),
        }
    }
}
