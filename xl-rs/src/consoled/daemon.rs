//! The loop: waits for event channels, endpoints, xenstore and signals, all at once, and gives each
//! console that has something to do its turn, one after the other.

use super::console::{Console, Link, Turn, TurnError};
use super::endpoint::Endpoint;
use super::nodes::{self, BACKENDS, Changed, Seen};
use super::ring::Ring;
use super::state::{Sight, Step, next, until_rest};
use super::{ConsoledError, Key};
use crate::commands::announce::{CONSOLED, announce, withdraw};
use crate::descriptors;
use crate::state::State;
use crate::state::lock::{Lock, Subject};
use libxc_safe::{
    Domid, Errno, EventChannels, GrantDevice, GrantMapping, GrantRef, Port, Protection,
};
use rustix::event::{Timespec, epoll};
use rustix::process::umask;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use xen_sys::io::xenbus::{XenbusStateClosed, XenbusStateConnected, XenbusStateInitWait};
use xenstore::client::{Client, Error as StoreError, RETURN_PATIENCE};

/// What an event of epoll is about; consoles follow, each with two numbers.
const CHANNELS: u64 = 0;
const STORE: u64 = 1;
const SIGNALS: u64 = 2;
const FIRST_SERIAL: u64 = 2;
/// Events taken at once.
const EVENTS: usize = 64;
/// Token of the watch that tells of domains that die.
const GONE: &str = "gone";

/// The daemon, with all consoles taken up.
#[derive(Debug)]
pub struct Daemon {
    epoll: OwnedFd,
    channels: EventChannels,
    grants: GrantDevice,
    store: Client,
    signals: UnixStream,
    consoles: BTreeMap<Key, Console<GrantMapping>>,
    by_serial: HashMap<u64, Key>,
    by_port: HashMap<Port, Key>,
    serial: u64,
    /// Consoles whose nodes have changed.
    changed: BTreeSet<Key>,
    /// Consoles that have something to do.
    ready: BTreeSet<Key>,
    /// Held from the beginning: one daemon per host.
    _only: Lock,
    /// Held once all consoles are taken up: the terminals that nodes name are ours.
    serving: Option<Lock>,
}

fn failed(operation: &'static str) -> impl Fn(io::Error) -> ConsoledError {
    move |source| ConsoledError::Io { operation, source }
}

impl Daemon {
    /// Opens what is needed and takes up every console that there is.
    ///
    /// # Errors
    /// [`ConsoledError`]: another one runs, or something cannot be opened.
    pub fn start() -> Result<Self, ConsoledError> {
        let state = State::open()?;
        let only = state.lock_if_free(Subject::Consoled)?.ok_or(ConsoledError::Running)?;
        // Sockets are root's alone.
        umask(rustix::fs::Mode::from_raw_mode(0o177));
        // A console takes up to three, and a host has many.
        descriptors::as_many_as_allowed();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|errno| failed("wait for events")(errno.into()))?;
        let (signals, signalled) = UnixStream::pair().map_err(failed("prepare for signals"))?;
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
            let end = signalled.try_clone().map_err(failed("prepare for signals"))?;
            signal_hook::low_level::pipe::register(signal, end)
                .map_err(failed("prepare for signals"))?;
        }
        let mut daemon = Self {
            epoll,
            channels: EventChannels::open()?,
            grants: GrantDevice::open()?,
            store: Client::connect()?,
            signals,
            consoles: BTreeMap::new(),
            by_serial: HashMap::new(),
            by_port: HashMap::new(),
            serial: FIRST_SERIAL,
            changed: BTreeSet::new(),
            ready: BTreeSet::new(),
            _only: only,
            serving: None,
        };
        let level = epoll::EventFlags::IN;
        watch(&daemon.epoll, &daemon.channels, CHANNELS, level)?;
        watch(&daemon.epoll, &daemon.store, STORE, level)?;
        watch(&daemon.epoll, &daemon.signals, SIGNALS, level)?;
        daemon.watch_store()?;
        daemon.look_at_all()?;
        daemon.settle_changed()?;
        daemon.serving = Some(state.lock(Subject::Consoles, |_| {})?);
        Ok(daemon)
    }

    /// How many consoles there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.consoles.len()
    }

    /// Says in the store that it serves.
    ///
    /// # Errors
    /// [`ConsoledError::Store`].
    pub fn announce(&mut self) -> Result<(), ConsoledError> {
        Ok(announce(&mut self.store, CONSOLED)?)
    }

    /// Serves until a signal comes.
    ///
    /// # Errors
    /// [`ConsoledError`] that is of no single console.
    pub fn run(&mut self) -> Result<(), ConsoledError> {
        loop {
            match self.round() {
                Ok(true) => return self.leave(),
                Ok(false) => {}
                Err(error) if error.is_store_lost() => self.reconnect(&error)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Does what there is to do, and waits; tells whether a signal came.
    fn round(&mut self) -> Result<bool, ConsoledError> {
        self.take_news()?;
        self.settle_changed()?;
        for key in std::mem::take(&mut self.ready) {
            self.turn(key)?;
        }
        self.wait()
    }

    /// Connects to the store anew and looks at everything again. Rings and endpoints are none of the
    /// store's and go on.
    fn reconnect(&mut self, lost: &ConsoledError) -> Result<(), ConsoledError> {
        tracing::warn!("connects anew: {}", crate::commands::error::chain(lost));
        // The old connection's descriptor leaves the set as it is closed.
        self.store = self.store.connect_anew(RETURN_PATIENCE)?;
        watch(&self.epoll, &self.store, STORE, epoll::EventFlags::IN)?;
        self.announce()?;
        self.watch_store()?;
        for key in self.consoles.keys() {
            self.store.watch(format!("{}/state", nodes::frontend(*key)), "frontend")?;
        }
        self.look_at_all()?;
        // Turns that the loss has cut short.
        self.ready.extend(self.consoles.keys());
        self.bury()
    }

    fn watch_store(&mut self) -> Result<(), ConsoledError> {
        self.store.watch(BACKENDS, "backends")?;
        self.store.watch("@releaseDomain", GONE)?;
        Ok(())
    }

    /// Waits, unless there is something to do; tells whether a signal came.
    fn wait(&mut self) -> Result<bool, ConsoledError> {
        let busy =
            !self.ready.is_empty() || !self.changed.is_empty() || self.store.events_waiting() > 0;
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            busy.then_some(&none),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed("wait for events")(errno.into())),
        }
        let mut ends = false;
        for event in events {
            let (data, flags) = (event.data, event.flags);
            match data.u64() {
                CHANNELS => self.take_ports()?,
                // Taken before the next turn.
                STORE => {}
                SIGNALS => ends = true,
                token => self.wake(token / 2, flags),
            }
        }
        Ok(ends)
    }

    fn wake(&mut self, serial: u64, flags: epoll::EventFlags) {
        use epoll::EventFlags as F;
        // One that has gone meanwhile is known no more.
        let Some(key) = self.by_serial.get(&serial) else { return };
        let Some(console) = self.consoles.get_mut(key) else { return };
        let hung_up = flags.intersects(F::HUP | F::ERR);
        console.wake(flags.intersects(F::IN | F::RDHUP), flags.contains(F::OUT), hung_up);
        self.ready.insert(*key);
    }

    /// Ports that guests have signalled. Each is let through again before its console has its turn,
    /// so that nothing said meanwhile is missed; however often it is signalled, a turn is one turn.
    fn take_ports(&mut self) -> Result<(), ConsoledError> {
        let mut ports = Vec::new();
        match self.channels.pending(&mut ports) {
            Ok(_) => {}
            Err(error) if error.errno() == Some(Errno::FBIG) => {
                self.channels.reset()?;
                ports = self.by_port.keys().copied().collect();
            }
            Err(error) => return Err(error.into()),
        }
        for port in ports {
            self.ready.extend(self.by_port.get(&port));
            // A port that was closed meanwhile is nobody's.
            if let Err(error) = self.channels.unmask(port) {
                tracing::debug!(%error, port = port.0, "not unmasked");
            }
        }
        Ok(())
    }

    fn take_news(&mut self) -> Result<(), ConsoledError> {
        loop {
            match self.store.next_event(Some(Duration::ZERO)) {
                Ok(None) => return Ok(()),
                Ok(Some(event)) if event.token.as_bytes() == GONE.as_bytes() => self.bury()?,
                Ok(Some(event)) => match nodes::changed(event.path.as_str()) {
                    Changed::One(key) => drop(self.changed.insert(key)),
                    Changed::Any => self.look_at_all()?,
                    Changed::Other => {}
                },
                Err(StoreError::EventsLost { .. }) => {
                    self.look_at_all()?;
                    self.bury()?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Every console that there is or was shall be looked at.
    fn look_at_all(&mut self) -> Result<(), ConsoledError> {
        self.changed.extend(nodes::keys(&mut self.store)?);
        self.changed.extend(self.consoles.keys());
        Ok(())
    }

    /// Lets go of the rings of domains that are dying: they cannot go as long as a page is mapped.
    fn bury(&mut self) -> Result<(), ConsoledError> {
        let connected = self.consoles.iter().filter(|(_, console)| console.link.is_some());
        let keys: Vec<Key> = connected.map(|(key, _)| *key).collect();
        let mut last = None;
        for key in keys {
            let alive = match last {
                Some((domid, alive)) if domid == key.domid => alive,
                _ => self.store.is_introduced(Domid(key.domid))?,
            };
            last = Some((key.domid, alive));
            if !alive {
                self.unlink(key)?;
                if let Some(console) = self.consoles.get_mut(&key) {
                    (console.broken, console.told) = (true, true);
                }
            }
        }
        Ok(())
    }

    fn settle_changed(&mut self) -> Result<(), ConsoledError> {
        for key in std::mem::take(&mut self.changed) {
            let settled = until_rest(|| self.step(key));
            match settled {
                Ok(true) => {}
                Ok(false) => drop(self.changed.insert(key)),
                Err(error) if error.is_of_one() => self.give_up(key, &error)?,
                Err(error) => {
                    // Of this one nothing more is known than before.
                    self.changed.insert(key);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Carries out what a console's nodes ask for; tells whether they ask for nothing more.
    fn step(&mut self, key: Key) -> Result<bool, ConsoledError> {
        let seen = nodes::look(&mut self.store, key)?;
        let other =
            |console: &Console<_>| seen.as_ref().is_none_or(|seen| seen.marker != console.marker);
        if self.consoles.get(&key).is_some_and(other) {
            self.remove(key)?;
        }
        let Some(seen) = seen else { return Ok(true) };
        if !self.consoles.contains_key(&key) {
            self.add(key, &seen)?;
        }
        let Some(console) = self.consoles.get_mut(&key) else { return Ok(true) };
        let step = next(Sight {
            backend: seen.backend,
            online: seen.online,
            frontend: seen.frontend,
            open: console.endpoint.is_some(),
            connected: console.link.is_some(),
            broken: console.broken,
            failed: console.failed,
        });
        let there = match step {
            Step::Rest => return Ok(true),
            Step::Open => self.open(key, &seen)?,
            Step::Offer => self.say(key, XenbusStateInitWait)?,
            Step::Connect => {
                self.connect(key, &seen)?;
                self.say(key, XenbusStateConnected)?
            }
            Step::Close => {
                self.unlink(key)?;
                self.say(key, XenbusStateClosed)?
            }
            Step::SayClosed => self.say(key, XenbusStateClosed)?,
            Step::Forgive => {
                console.broken = false;
                true
            }
        };
        // If it went while we looked, that is an event of its own.
        Ok(!there)
    }

    fn say(&mut self, key: Key, state: u32) -> Result<bool, ConsoledError> {
        let Some(console) = self.consoles.get(&key) else { return Ok(false) };
        Ok(nodes::say(&mut self.store, key, &console.marker, Some(state), None)?)
    }

    fn add(&mut self, key: Key, seen: &Seen) -> Result<(), ConsoledError> {
        self.store.watch(format!("{}/state", nodes::frontend(key)), "frontend")?;
        self.serial += 1;
        self.by_serial.insert(self.serial, key);
        self.consoles.insert(key, Console::new(self.serial, seen.marker.clone()));
        Ok(())
    }

    fn open(&mut self, key: Key, seen: &Seen) -> Result<bool, ConsoledError> {
        let Some(console) = self.consoles.get_mut(&key) else { return Ok(false) };
        let endpoint = Endpoint::open(key, &seen.connection)?;
        let watched = match (endpoint.listener(), endpoint.peer()) {
            (Some(listener), _) => Some((listener, console.serial * 2)),
            (None, Some(peer)) => Some((peer, console.serial * 2 + 1)),
            (None, None) => None,
        };
        if let Some((fd, token)) = watched {
            watch(&self.epoll, fd, token, edges())?;
        }
        let tty = endpoint.terminal().map(str::to_owned);
        console.endpoint = Some(endpoint);
        tracing::info!(%key, ?tty, "open");
        match tty {
            Some(tty) => Ok(nodes::say(&mut self.store, key, &console.marker, None, Some(&tty))?),
            None => Ok(true),
        }
    }

    /// Maps the ring that the guest names, and connects to its port.
    fn connect(&mut self, key: Key, seen: &Seen) -> Result<(), ConsoledError> {
        let (Some(ring), Some(port)) = (seen.ring, seen.port) else {
            let node = if seen.ring.is_none() { "ring-ref" } else { "port" };
            return Err(ConsoledError::NoNumber { key, node });
        };
        let domid = Domid(key.domid);
        let connect = || {
            let page = self.grants.map(domid, &[GrantRef(ring)], Protection::ReadWrite)?;
            let ring = Ring::take_up(page)?;
            Ok(Link { ring, port: self.channels.bind_interdomain(domid, Port(port))? })
        };
        let link = connect().map_err(|source| ConsoledError::Connect { key, source })?;
        tracing::info!(%key, port = link.port.0, "connected");
        // Whoever served it before may have died between its last step and telling the guest.
        self.channels.notify(link.port)?;
        self.by_port.insert(link.port, key);
        self.ready.insert(key);
        if let Some(console) = self.consoles.get_mut(&key) {
            console.link = Some(link);
        }
        Ok(())
    }

    /// Lets go of the ring, after handing on what is left in it as far as it is taken.
    fn unlink(&mut self, key: Key) -> Result<(), ConsoledError> {
        let Some(console) = self.consoles.get_mut(&key) else { return Ok(()) };
        if !console.broken {
            // A guest that lies at the end has nothing left to say.
            let _ = console.last_words();
        }
        if let Some(link) = console.link.take() {
            self.by_port.remove(&link.port);
            self.channels.unbind(link.port)?;
            tracing::info!(%key, "disconnected");
        }
        Ok(())
    }

    /// The console is gone.
    fn remove(&mut self, key: Key) -> Result<(), ConsoledError> {
        self.unlink(key)?;
        if let Some(console) = self.consoles.remove(&key) {
            self.by_serial.remove(&console.serial);
            let unwatched =
                self.store.unwatch(format!("{}/state", nodes::frontend(key)), "frontend");
            if let Err(error) = unwatched
                && error.is_disconnected()
            {
                return Err(error.into());
            }
            tracing::info!(%key, "gone");
        }
        Ok(())
    }

    /// A console that cannot be served: it is closed and all others go on. Said once: a guest could
    /// fill the log otherwise.
    fn give_up(&mut self, key: Key, error: &ConsoledError) -> Result<(), ConsoledError> {
        let Some(console) = self.consoles.get_mut(&key) else {
            tracing::warn!("{key} is not taken up: {}", crate::commands::error::chain(error));
            return Ok(());
        };
        // Dom0's side does not become better by itself; a guest may.
        console.failed |= error.is_of_endpoint();
        console.broken = true;
        if !std::mem::replace(&mut console.told, true) {
            tracing::warn!("{}", crate::commands::error::chain(error));
        }
        self.unlink(key)?;
        match self.say(key, XenbusStateClosed) {
            Err(error) if error.is_of_one() => {
                tracing::warn!("{key}: {}", crate::commands::error::chain(&error));
                Ok(())
            }
            said => said.map(drop),
        }
    }

    fn turn(&mut self, key: Key) -> Result<(), ConsoledError> {
        let Some(console) = self.consoles.get_mut(&key) else { return Ok(()) };
        match console.turn() {
            Ok(Turn { notify, more, client }) => {
                if client && let Some(peer) = console.endpoint.as_ref().and_then(Endpoint::peer) {
                    watch(&self.epoll, peer, console.serial * 2 + 1, edges())?;
                }
                if more {
                    self.ready.insert(key);
                }
                if let Some(port) = notify {
                    self.channels.notify(port)?;
                }
                Ok(())
            }
            Err(TurnError::Broken(broken)) => {
                self.give_up(key, &ConsoledError::Broken { key, source: broken.0 })
            }
            Err(TurnError::Xen(error)) => Err(error.into()),
        }
    }

    /// Ends: terminals that will be gone are named no more. The consoles wait for a successor.
    fn leave(&mut self) -> Result<(), ConsoledError> {
        drop(self.serving.take());
        // Without a store there is nobody who could read it.
        let _ = withdraw(&mut self.store, CONSOLED);
        for (key, console) in &self.consoles {
            if console.endpoint.as_ref().is_some_and(|endpoint| endpoint.terminal().is_some()) {
                nodes::say(&mut self.store, *key, &console.marker, None, Some(""))?;
            }
        }
        Ok(())
    }
}

/// Told at every change alone: what is not taken at once is remembered, and costs nothing.
fn edges() -> epoll::EventFlags {
    use epoll::EventFlags as F;
    F::IN | F::OUT | F::RDHUP | F::ET
}

fn watch(
    epoll: &OwnedFd,
    fd: impl AsFd,
    token: u64,
    flags: epoll::EventFlags,
) -> Result<(), ConsoledError> {
    epoll::add(epoll, fd, epoll::EventData::new_u64(token), flags)
        .map_err(|errno| failed("wait for events")(errno.into()))
}
