//! What a server needs of the world outside.

use std::time::Duration;

use super::fault::Fault;
use super::transport::Transport;
use crate::store::{ConnectionId, Effect, Ring};
use crate::wire::Packet;
use crate::{Domid, Errno};

/// Which domain a number means: what the hypervisor says of a domain and of no other one that has had
/// the number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub [u8; 16]);

/// A domain that exists and is not being destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which one it is.
    pub identity: Identity,
    /// Whether it has shut down or crashed.
    pub shut_down: bool,
}

/// The hypervisor and the machine, as a server needs them.
pub trait Host {
    /// The ways to peers.
    type Transport: Transport;

    /// Maps the ring of a domain and binds its event channel.
    ///
    /// # Errors
    /// What to answer to the INTRODUCE.
    fn connect(&mut self, domid: Domid, ring: Ring) -> Result<Self::Transport, Errno>;

    /// Which domain has this number, if one exists that is not being destroyed.
    fn identity(&mut self, domid: Domid) -> Option<Identity>;

    /// The time by any clock that runs evenly. Asked for only when a guest holds up others.
    fn now(&self) -> Duration;

    /// Carries out a `Log`, `LogFile`, `Report` or `Print`.
    fn carry_out(&mut self, effect: Effect);

    /// Hears of a connection that was ended because of its peer's doing.
    fn faulted(&mut self, connection: ConnectionId, fault: &Fault);

    /// Hears of every request, before it is answered: for a log of them.
    fn request(&mut self, _connection: ConnectionId, _packet: &Packet) {}

    /// Hears of every reply and event, as bytes: for a log of them.
    fn answer(&mut self, _connection: ConnectionId, _message: &[u8]) {}
}
