//! The daemon: meets guests in xenstore, gives each of their processes a thread, and ends those whose
//! device or domain goes.
//!
//! In: the backend's nodes (the toolstack's alone), and the mailbox of each guest, from which only a
//! number is taken. Out: the backend's state, threads, statistics. [`nodes`] is xenstore, [`stats`] the
//! socket. It makes no hypercall: grants, event channels and a socket to xenstored are all that it
//! holds.

pub(crate) mod nodes;
mod stats;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use libxc_safe::{Domid, GrantRef};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use xenstore::client::{Client, RETURN_PATIENCE};

use self::nodes::{Changed, Key, Wanted};
use self::stats::Socket;
use crate::context::{self, Asked, Stop};
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::usage::{Resource, Usage};
use crate::verbs::guardian::Guardian;
use crate::verbs::{Context, Library};

/// How the daemon is told to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a context looks for work before it sleeps.
    pub spin: Duration,
    /// Where statistics are served.
    pub socket: PathBuf,
    /// Devices that are hardware and may be served.
    pub trusted: Vec<String>,
}

/// A thread that serves a process, or refuses it.
#[derive(Debug)]
struct Running {
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
    refuses: bool,
}

/// A device of a guest.
#[derive(Debug)]
struct Device {
    /// Which creation of the domain it belongs to.
    creation: Option<String>,
    backend_device: String,
    policy: Arc<Policy>,
    usage: Arc<Usage>,
    running: BTreeMap<u64, Running>,
    /// It takes no more processes, and is forgotten when the last one has ended.
    closing: bool,
    /// Why it is served no more: not before its nodes are made anew.
    failed: Option<String>,
    /// Its state has been set to Connected.
    connected: bool,
}

/// A thread that has ended: its device and serial number.
type Ended = (Key, u64);

/// Tells the daemon of a thread's end when it is dropped.
struct Tells {
    ended: mpsc::Sender<Ended>,
    wake: Arc<OwnedFd>,
    about: Ended,
}

impl Drop for Tells {
    fn drop(&mut self) {
        // Both fail only when the daemon ends.
        let _ = self.ended.send(self.about);
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// The daemon.
#[derive(Debug)]
pub struct Service {
    library: Arc<Library>,
    store: Client,
    options: Options,
    socket: Socket,
    signals: UnixStream,
    guardian: Guardian,
    devices: BTreeMap<Key, Device>,
    /// Threads tell of their end by these.
    ended: mpsc::Receiver<Ended>,
    ending: mpsc::Sender<Ended>,
    wake: Arc<OwnedFd>,
    serial: u64,
}

impl Service {
    /// Connects to the store and begins to listen. `signals` is readable when the daemon is to end.
    ///
    /// # Errors
    /// No libibverbs, no store, or another daemon.
    pub fn start(options: Options, signals: UnixStream, guardian: Guardian) -> Result<Self> {
        let library = Library::load()?;
        let socket = Socket::listen(&options.socket)?;
        let mut store = Client::connect()?;
        store.outlive_store(RETURN_PATIENCE);
        store.watch(nodes::BACKENDS, "backends")?;
        store.watch("@releaseDomain", "gone")?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::host("make an event descriptor")(errno.into()))?;
        let (ending, ended) = mpsc::channel();
        Ok(Self {
            library,
            store,
            options,
            socket,
            signals,
            guardian,
            devices: BTreeMap::new(),
            ended,
            ending,
            wake: Arc::new(wake),
            serial: 0,
        })
    }

    /// The verbs devices of this host.
    #[must_use]
    pub fn host_devices(&self) -> Vec<String> {
        self.library.devices()
    }

    /// Serves until a signal comes or something fails, and then lets go of everything.
    ///
    /// # Errors
    /// xenstored is lost for good, or this host fails.
    pub fn run(&mut self) -> Result<()> {
        let outcome = self.serve();
        for device in self.devices.values_mut() {
            device.end();
        }
        for device in std::mem::take(&mut self.devices).into_values() {
            for running in device.running.into_values() {
                let _ = running.thread.join();
            }
        }
        outcome
    }

    fn serve(&mut self) -> Result<()> {
        loop {
            self.take_news()?;
            self.reap()?;
            self.socket.serve(|| stats::report(&self.devices));
            if self.wait()? {
                return Ok(());
            }
        }
    }

    /// Waits for something; tells whether it is a signal.
    fn wait(&mut self) -> Result<bool> {
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = (self.store.events_waiting() > 0).then_some(&none);
        let mut fds = [
            PollFd::new(&self.store, PollFlags::IN),
            PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.guardian, PollFlags::IN),
        ];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::host("wait for events")(errno.into())),
        }
        let [.., signals, guardian] = fds.each_ref().map(|fd| !fd.revents().is_empty());
        if guardian {
            tracing::warn!(
                "the guardian of registered memory was killed; another one takes its place"
            );
            self.guardian.again()?;
        }
        Ok(signals)
    }

    /// Takes what the store tells.
    fn take_news(&mut self) -> Result<()> {
        let (mut all, mut gone, mut some) = (false, false, BTreeSet::new());
        loop {
            match self.store.next_event(Some(Duration::ZERO)) {
                Ok(Some(event)) => match nodes::changed(event.path.as_str()) {
                    Changed::Backends => all = true,
                    Changed::Mailbox(key) => drop(some.insert(key)),
                    Changed::Domains => gone = true,
                    Changed::Other => {}
                },
                Ok(None) => break,
                Err(xenstore::client::Error::EventsLost { .. }) => (all, gone) = (true, true),
                Err(error) => return Err(error.into()),
            }
        }
        if gone {
            self.bury()?;
        }
        if all {
            self.look_at_all()?;
            some.extend(self.devices.keys());
        }
        for key in some {
            let taken = self.take_mail(key);
            self.contain(key, taken)?;
        }
        Ok(())
    }

    /// What fails for one device ends that device. Only a lost store is everybody's.
    fn contain(&mut self, key: Key, outcome: Result<()>) -> Result<()> {
        match outcome {
            Err(Error::Store(error)) if error.is_disconnected() || error.is_unavailable() => {
                Err(error.into())
            }
            Err(error) => {
                tracing::error!("{key}: {}; it is served no more", error.chain());
                if let Some(device) = self.devices.get_mut(&key) {
                    device.failed = Some(error.chain());
                    device.end();
                }
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Ends the contexts of domains that are gone: their memory is kept until the device lets go.
    fn bury(&mut self) -> Result<()> {
        let domids: BTreeSet<u16> = self.devices.keys().map(|key| key.domid).collect();
        for domid in domids {
            if !self.store.is_introduced(Domid(domid))? {
                let of_it = self.devices.iter_mut().filter(|(key, _)| key.domid == domid);
                of_it.for_each(|(_, device)| device.end());
            }
        }
        Ok(())
    }

    /// Compares the devices with their nodes.
    fn look_at_all(&mut self) -> Result<()> {
        let keys = nodes::keys(&mut self.store)?;
        for (key, device) in &mut self.devices {
            if !keys.contains(key) {
                device.end();
            }
        }
        for key in keys {
            let settled = self.look_at(key);
            self.contain(key, settled)?;
        }
        Ok(())
    }

    fn look_at(&mut self, key: Key) -> Result<()> {
        let wanted = nodes::look(&mut self.store, key)?;
        self.settle(key, wanted)
    }

    fn settle(&mut self, key: Key, wanted: Wanted) -> Result<()> {
        if let Some(device) = self.devices.get_mut(&key) {
            // A domid that came again is another guest; what was served goes first.
            let is_same = wanted.creation == device.creation;
            if !is_same || !wanted.serves {
                device.end();
            }
            if !device.closing || !device.running.is_empty() {
                return Ok(());
            }
            self.forget(key)?;
        }
        if !wanted.serves {
            return if wanted.closes { Ok(nodes::closed(&mut self.store, key)?) } else { Ok(()) };
        }
        match self.take_up(key, wanted) {
            Ok(device) => {
                self.store.watch(nodes::mailbox(key), nodes::token(key))?;
                nodes::serving(&mut self.store, key)?;
                tracing::info!("{key}: serves {}", device.backend_device);
                self.devices.insert(key, device);
            }
            Err(error) => {
                tracing::warn!("{key}: {}", error.chain());
                nodes::refuse(&mut self.store, key, &error.chain())?;
            }
        }
        Ok(())
    }

    /// A device that its nodes describe, if it can be served.
    fn take_up(&self, key: Key, wanted: Wanted) -> Result<Device> {
        let read = |name: &str| wanted.settings.get(name).cloned();
        let backend = nodes::backend(key);
        let limits = crate::limits::Limits::from_nodes(&backend, read)?;
        let policy = Policy::from_nodes(&backend, read)?;
        let backend_device = read("backend-device").unwrap_or_default();
        let there = self.library.devices();
        if !there.contains(&backend_device) {
            return Err(Error::NoDevice { device: backend_device, there });
        }
        if !self.options.trusted.contains(&backend_device)
            && !Context::open(&self.library, &backend_device, 0)?.is_software()
        {
            return Err(Error::Untrusted { device: backend_device });
        }
        Ok(Device {
            creation: wanted.creation,
            backend_device,
            policy: Arc::new(policy),
            usage: Usage::new(limits),
            running: BTreeMap::new(),
            closing: false,
            failed: None,
            connected: false,
        })
    }

    /// Takes the requests for contexts out of a guest's mailbox.
    fn take_mail(&mut self, key: Key) -> Result<()> {
        if self.devices.get(&key).is_none_or(|device| device.closing) {
            return Ok(());
        }
        for name in nodes::mail(&mut self.store, key)? {
            let Some(device) = self.devices.get(&key) else { break };
            let taken = device.usage.take(Resource::Contexts, 1);
            // One refusal at a time: what a guest asks too much of waits in its own mailbox.
            if taken.is_none() && device.running.values().any(|running| running.refuses) {
                break;
            }
            let Some(reference) = nodes::open_mail(&mut self.store, key, &name)? else { continue };
            let Some(stop) = tell(key, Stop::new()) else { break };
            let asked = Asked {
                domid: Domid(key.domid),
                creation: device.creation.clone(),
                reference: GrantRef(reference),
                device: device.backend_device.clone(),
                policy: Arc::clone(&device.policy),
                usage: Arc::clone(&device.usage),
                taken,
                library: Arc::clone(&self.library),
                stop: Arc::clone(&stop),
                spin: self.options.spin,
            };
            if tell(key, self.begin(key, asked, stop)).is_none() {
                break;
            }
        }
        let Some(device) = self.devices.get_mut(&key) else { return Ok(()) };
        if !device.connected && !device.running.is_empty() {
            device.connected = true;
            nodes::connected(&mut self.store, key)?;
        }
        Ok(())
    }

    fn begin(&mut self, key: Key, asked: Asked, stop: Arc<Stop>) -> Result<()> {
        let refuses = asked.taken.is_none();
        self.serial += 1;
        let serial = self.serial;
        let (ended, wake) = (self.ending.clone(), Arc::clone(&self.wake));
        let name = format!("domain {}", key.domid);
        let tells = Tells { ended, wake, about: (key, serial) };
        let body = move || {
            // Told in any case: a thread that panics has ended, too.
            let _tells = tells;
            context::serve(asked);
        };
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(body)
            .map_err(Error::host("start a thread for a guest"))?;
        if let Some(device) = self.devices.get_mut(&key) {
            device.running.insert(serial, Running { stop, thread, refuses });
        }
        Ok(())
    }

    /// Takes threads that have ended, and devices with them.
    fn reap(&mut self) -> Result<()> {
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        let ended: Vec<_> = self.ended.try_iter().collect();
        let mut keys = BTreeSet::new();
        for (key, serial) in ended {
            keys.insert(key);
            let Some(device) = self.devices.get_mut(&key) else { continue };
            if let Some(running) = device.running.remove(&serial)
                && running.thread.join().is_err()
            {
                tracing::error!("{key}: a thread ended by a panic");
            }
        }
        keys.extend(self.devices.iter().filter(|(_, device)| device.closing).map(|(key, _)| *key));
        for key in keys {
            let Some(device) = self.devices.get(&key) else { continue };
            if !device.closing {
                // There may be room for one that waits.
                let taken = self.take_mail(key);
                self.contain(key, taken)?;
            } else if device.running.is_empty() {
                let failed = device.failed.clone();
                let settled = self.forget(key).and_then(|()| match failed {
                    Some(why) => Ok(nodes::refuse(&mut self.store, key, &why)?),
                    None => self.look_at(key),
                });
                self.contain(key, settled)?;
            }
        }
        Ok(())
    }

    /// Forgets a device of which nothing is left.
    fn forget(&mut self, key: Key) -> Result<()> {
        self.devices.remove(&key);
        tracing::info!("{key}: gone");
        match self.store.unwatch(nodes::mailbox(key), nodes::token(key)) {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// What this host cannot give to one process of a guest is told, and the others go on.
fn tell<T>(key: Key, outcome: Result<T>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!("{key}: a process cannot be served: {}", error.chain());
            None
        }
    }
}

impl Device {
    /// Ends all of its contexts, and takes no more.
    fn end(&mut self) {
        self.closing = true;
        self.running.values().for_each(|running| running.stop.ask());
    }
}
