//! Where programs come in: through a keeper, or at listeners of this process alone.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use xenstore::client::SOCKETS;
use xenstore::server::{Host, Journal, Server};

use super::error::{XenstoredError, system};
use super::keeper::{Inventory, Keeper, Pair};
use super::kept::KeptSocket;
use super::link::{Link, Socket};
use super::listen;
use super::steps::{self, Step};

/// The number of the keeper's events; those of listeners follow.
pub const KEEPER: u64 = 1 << 33;
const LISTENERS: u64 = KEEPER + 1;

/// Listeners, and the keeper that has them, too.
#[derive(Debug)]
pub struct Doors {
    listeners: Vec<OwnedFd>,
    keeper: Option<Rc<Keeper>>,
    epoll: Rc<OwnedFd>,
    /// Where programs look for listeners.
    places: &'static [&'static str],
    /// The listeners are heard here.
    are_own: bool,
}

impl Doors {
    /// Finds what an earlier xenstored left: doors that are not open yet, and connections.
    pub fn find(epoll: &Rc<OwnedFd>, with_keeper: bool) -> (Self, Inventory) {
        let (keeper, mut inventory) = if with_keeper {
            match Keeper::find_or_start() {
                Ok((keeper, inventory)) => (Some(keeper), inventory),
                Err(error) => {
                    warn_unkept(&error);
                    (None, Inventory::default())
                }
            }
        } else {
            Keeper::end_any();
            (None, Inventory::default())
        };
        steps::passed(Step::Joined);
        let listeners = std::mem::take(&mut inventory.listeners);
        let (epoll, places) = (Rc::clone(epoll), &SOCKETS[..]);
        let doors = Self { listeners, keeper, epoll, places, are_own: false };
        (doors, inventory)
    }

    /// Doors at these listeners, wherever they are, held by a keeper.
    #[cfg(test)]
    pub fn at(listeners: Vec<OwnedFd>, keeper: Rc<Keeper>, epoll: &Rc<OwnedFd>) -> Self {
        let (keeper, epoll) = (Some(keeper), Rc::clone(epoll));
        Self { listeners, keeper, epoll, places: &[], are_own: false }
    }

    /// The way to a program whose connection an earlier server served, unless it was at its end.
    pub fn link_again(&self, number: u32, pair: Rc<Pair>) -> Option<KeptSocket> {
        if pair.has_ended() {
            self.keeper.as_ref()?.drop_connection(number);
            return None;
        }
        self.link(number, pair)
    }

    /// The way to a program whose connection is kept.
    fn link(&self, number: u32, pair: Rc<Pair>) -> Option<KeptSocket> {
        let keeper = self.keeper.as_ref()?;
        KeptSocket::new(number, pair, keeper, &self.epoll)
            .inspect_err(|error| {
                tracing::warn!("socket {number} cannot be served: {error}");
                keeper.drop_connection(number);
            })
            .ok()
    }

    /// Connections that were given up so far are at their ends. To be said before the store is saved
    /// without them.
    pub fn settle(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.settle();
        }
    }

    /// Takes up connections that no server has served, and opens. What is left in the inventory is of
    /// no use to anyone any more, because the store that was spoken of is not there.
    pub fn open<H: Host<Transport = Link>, J: Journal>(
        &mut self,
        server: &mut Server<H, J>,
        inventory: Inventory,
    ) -> Result<(), XenstoredError> {
        let failed = |errno: Errno| system("wait for a keeper of sockets")(errno);
        for (number, pair) in inventory.kept {
            if let Some(link) = self.link(number, pair)
                && link.is_fresh()
            {
                server.take_socket(number, Link::Kept(link));
            }
        }
        if self.listeners.is_empty() || !listen::can_be_found(self.places) {
            self.listeners = listen::listen()?;
            if let Some(keeper) = &self.keeper {
                keeper.give_listeners(&self.listeners).map_err(failed)?;
            }
        }
        match &self.keeper {
            Some(keeper) => {
                keeper.serve();
                self.hear_keeper(keeper).map_err(failed)
            }
            None => self.hear_listeners(),
        }
    }

    fn hear_keeper(&self, keeper: &Keeper) -> Result<(), Errno> {
        let data = EventData::new_u64(KEEPER);
        let added = keeper.with_channel(|it| epoll::add(&*self.epoll, it, data, EventFlags::IN));
        added.unwrap_or(Ok(()))
    }

    fn hear_listeners(&mut self) -> Result<(), XenstoredError> {
        for (index, listener) in (LISTENERS..).zip(&self.listeners) {
            let data = EventData::new_u64(index);
            // Edges: where no descriptor is left, the next connection is the next try.
            epoll::add(&*self.epoll, listener, data, EventFlags::IN | EventFlags::ET)
                .map_err(system("wait for connections"))?;
        }
        self.are_own = true;
        Ok(())
    }

    /// Leaves connections to the next xenstored.
    pub fn leave(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.leave();
        }
    }

    /// Tells the keeper what it could not be told before.
    pub fn tell(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.tell();
        }
    }

    /// Takes up the connections that an event tells of.
    pub fn enter<H: Host<Transport = Link>, J: Journal>(
        &mut self,
        event: u64,
        server: &mut Server<H, J>,
    ) -> Result<(), XenstoredError> {
        if event == KEEPER { self.take_from_keeper(server) } else { self.accept(event, server) }
    }

    fn take_from_keeper<H: Host<Transport = Link>, J: Journal>(
        &mut self,
        server: &mut Server<H, J>,
    ) -> Result<(), XenstoredError> {
        let Some(keeper) = self.keeper.clone() else { return Ok(()) };
        loop {
            match keeper.next() {
                Ok(Some((number, pair))) => {
                    steps::passed(Step::Came);
                    if let Some(link) = self.link(number, pair) {
                        server.take_socket(number, Link::Kept(link));
                    }
                }
                Ok(None) => return Ok(()),
                Err(_) => break,
            }
        }
        tracing::warn!("the keeper of sockets has ended; another one is started");
        match keeper.replace_keeper(&self.listeners) {
            Ok(()) => self.hear_keeper(&keeper).map_err(system("wait for a keeper of sockets")),
            Err(error) => {
                warn_unkept(&error);
                keeper.give_up();
                self.hear_listeners()
            }
        }
    }

    /// Takes up the connections that wait at a listener.
    fn accept<H: Host<Transport = Link>, J: Journal>(
        &mut self,
        event: u64,
        server: &mut Server<H, J>,
    ) -> Result<(), XenstoredError> {
        let index = usize::try_from(event - LISTENERS).unwrap_or(usize::MAX);
        let Some(listener) = self.listeners.get(index).filter(|_| self.are_own) else {
            return Ok(());
        };
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = match accept_with(listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => {
                    tracing::warn!("a program cannot connect: {error}");
                    return Ok(());
                }
            };
            let epoll = &self.epoll;
            let link = |number| Socket::new(socket.into(), epoll, number).map(Link::Socket);
            if let Err(error) = server.open_socket(link) {
                tracing::warn!("a program cannot connect: {error}");
            }
        }
    }
}

fn warn_unkept(error: &XenstoredError) {
    let why = crate::commands::error::chain(error);
    tracing::warn!("a restart of this service would close the sockets of programs: {why}");
}

#[cfg(test)]
mod tests;
