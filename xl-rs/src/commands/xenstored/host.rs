//! The hypervisor and the machine, as the server needs them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use libxc_safe::{DomainInfo, EventChannels, GrantDevice, GrantRef, KernelRing, Protection, Xen};
use xenstore::server::{Fault, Found, Host, Identity, PageRing};
use xenstore::store::{ConnectionId, Effect, Ring};
use xenstore::wire::Packet;
use xenstore::{Domid, Errno, Port};

use super::link::Link;
use super::page::{Memory, SharedPage};
use super::trace::{self, Trace};

/// The grant that every toolstack reserves for the ring (`GNTTAB_RESERVED_XENSTORE`).
const RING_GRANT: GrantRef = GrantRef(1);

/// What the store's effects work with.
#[derive(Debug)]
pub struct XenHost {
    xen: Xen,
    grants: GrantDevice,
    events: Rc<EventChannels>,
    /// Whose ring a local port belongs to. Entries of ports that are closed do no harm: a port that
    /// comes again replaces them.
    ports: BTreeMap<Port, ConnectionId>,
    /// How often guests broke their rings: one that does so again and again is not worth a line each.
    faults: BTreeMap<ConnectionId, u64>,
    trace: Option<Trace>,
    trace_file: PathBuf,
    start: Instant,
}

impl XenHost {
    /// Opens the devices.
    pub fn open(events: &Rc<EventChannels>) -> Result<Self, libxc_safe::Error> {
        Ok(Self {
            xen: Xen::open()?,
            grants: GrantDevice::open()?,
            events: Rc::clone(events),
            ports: BTreeMap::new(),
            faults: BTreeMap::new(),
            trace: None,
            trace_file: trace::FILE.into(),
            start: Instant::now(),
        })
    }

    /// Logs all requests to this file from now on.
    pub fn trace_to(&mut self, path: &Path) -> io::Result<()> {
        self.trace = Some(Trace::open(path, self.start)?);
        self.trace_file = path.to_owned();
        Ok(())
    }

    /// Writes out what was logged.
    pub fn flush(&mut self) {
        if let Some(trace) = &mut self.trace {
            trace.flush();
        }
    }

    /// Notes whose ring a local port belongs to.
    pub fn note_port(&mut self, port: Port, connection: ConnectionId) {
        self.ports.insert(port, connection);
    }

    /// Whose ring a local port belongs to.
    pub fn of_port(&self, port: Port) -> Option<ConnectionId> {
        self.ports.get(&port).copied()
    }

    /// Everyone who has a ring.
    pub fn ring_owners(&self) -> Vec<ConnectionId> {
        self.ports.values().copied().collect()
    }

    /// Every domain that is not being destroyed, and whether it has shut down.
    pub fn domains(&self) -> Result<BTreeMap<Domid, Found>, libxc_safe::Error> {
        let domains = self.xen.domains()?;
        let alive = domains.into_iter().filter(|domain| !domain.dying);
        let found = |domain: &DomainInfo| Found {
            identity: Identity(domain.uuid),
            shut_down: domain.shutdown.is_some(),
        };
        Ok(alive.map(|domain| (domain.domid, found(&domain))).collect())
    }

    fn map(&self, domid: Domid, ring: Ring) -> Result<Memory, libxc_safe::Error> {
        match self.grants.map(domid, &[RING_GRANT], Protection::ReadWrite) {
            Ok(granted) => Ok(Memory::Granted(granted)),
            // A toolstack that does not seed the grant table says where the page is.
            Err(_) => {
                self.xen.map_foreign(domid, &[ring.gfn], Protection::ReadWrite).map(Memory::Foreign)
            }
        }
    }

    /// The way to a domain that the service before this one served.
    pub fn connect_again(&mut self, domid: Domid, ring: Option<Ring>) -> Option<Link> {
        let link = match (domid, ring) {
            (Domid::DOM0, _) => self.connect_kernel(),
            (domid, Some(ring)) => self.try_connect(domid, ring),
            (_, None) => return None,
        };
        let warn = |error: &_| tracing::warn!("domain {domid} is not connected again: {error}");
        link.inspect_err(warn).ok()
    }

    /// Connects to the kernel of this domain, whose ring may hold requests already.
    pub fn connect_kernel(&mut self) -> Result<Link, libxc_safe::Error> {
        let kernel = KernelRing::open()?;
        let port = self.events.bind_interdomain(Domid::DOM0, kernel.port())?;
        self.note_port(port, ConnectionId::Domain(Domid::DOM0));
        let page = SharedPage::new(Memory::Kernel(kernel), Rc::clone(&self.events), port);
        Ok(Link::Ring(PageRing::new(page).map_err(|_| libxc_safe::Error::ReadOnly)?))
    }

    fn try_connect(&mut self, domid: Domid, ring: Ring) -> Result<Link, libxc_safe::Error> {
        let memory = self.map(domid, ring)?;
        let port = self.events.bind_interdomain(domid, ring.port)?;
        self.note_port(port, ConnectionId::Domain(domid));
        let page = SharedPage::new(memory, Rc::clone(&self.events), port);
        let ring = PageRing::new(page).map_err(|_| libxc_safe::Error::ReadOnly)?;
        Ok(Link::Ring(ring))
    }

    fn report(&mut self, path: Option<&Path>, text: &str) -> io::Result<()> {
        match path {
            Some(path) => {
                let mut trace = Trace::open(path, self.start)?;
                trace.text(text);
                trace.flush();
            }
            None => match &mut self.trace {
                Some(trace) => trace.text(text),
                None => tracing::warn!("{text}"),
            },
        }
        Ok(())
    }
}

impl Host for XenHost {
    type Transport = Link;

    fn connect(&mut self, domid: Domid, ring: Ring) -> Result<Link, Errno> {
        self.faults.remove(&ConnectionId::Domain(domid));
        self.try_connect(domid, ring).map_err(|error| {
            tracing::warn!("domain {domid} is not connected: {error}");
            Errno::Einval
        })
    }

    fn identity(&mut self, domid: Domid) -> Option<Identity> {
        match self.xen.domain_info(domid) {
            Ok(info) => info.filter(|info| !info.dying).map(|info| Identity(info.uuid)),
            Err(error) => {
                tracing::warn!("{error}");
                None
            }
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn carry_out(&mut self, effect: Effect) {
        // A file that a CONTROL request names, and what became of it.
        let (path, done) = match effect {
            Effect::Log(true) => {
                let path = self.trace_file.clone();
                let done = self.trace_to(&path);
                (path, done)
            }
            Effect::Log(false) => {
                self.trace = None;
                return;
            }
            Effect::LogFile(path) => {
                let path = PathBuf::from(path);
                if self.trace.is_none() {
                    self.trace_file = path;
                    return;
                }
                let done = self.trace_to(&path);
                (path, done)
            }
            Effect::Report { file, text } => {
                let path = file.map(PathBuf::from);
                let done = self.report(path.as_deref(), &text);
                (path.unwrap_or_default(), done)
            }
            Effect::Print(text) => {
                tracing::warn!("{text}");
                return;
            }
            // These concern connections, and the server sees to them.
            Effect::Connect { .. } | Effect::Reset { .. } | Effect::Disconnect(_) => return,
        };
        if let Err(error) = done {
            tracing::warn!(
                "cannot write {}, which a CONTROL request names: {error}",
                path.display()
            );
        }
    }

    fn faulted(&mut self, connection: ConnectionId, fault: &Fault) {
        let why = super::super::error::chain(fault);
        if matches!(connection, ConnectionId::Socket(_)) {
            tracing::warn!("{connection} is cut off: {why}");
            return;
        }
        let times = self.faults.entry(connection).or_default();
        *times = times.saturating_add(1);
        if *times == 1 {
            tracing::warn!("{connection} is cut off: {why}");
        } else if times.is_power_of_two() {
            tracing::warn!("{connection} is cut off for the {times}th time: {why}");
        }
    }

    fn request(&mut self, connection: ConnectionId, packet: &Packet) {
        if let Some(trace) = &mut self.trace {
            trace.request(connection, packet);
        }
    }

    fn answer(&mut self, connection: ConnectionId, message: &[u8]) {
        if let Some(trace) = &mut self.trace {
            trace.answer(connection, message);
        }
    }
}
