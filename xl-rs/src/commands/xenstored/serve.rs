//! The service: its start, and the loop that it spends its life in.

use std::fs::{File, Permissions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use libxc_safe::EventChannels;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use xen_sys::xen::VIRQ_DOM_EXC;
use xenstore::server::{Host as _, Server, Transport as _};
use xenstore::store::{ConnectionId, State};
use xenstore::{Domid, Port};

use super::doors::{Doors, KEEPER};
use super::error::{XenstoredError, file, system};
use super::host::XenHost;
use super::link::Link;
use super::saved::{self, Log};
use super::steps;
use crate::cli::XenstoredArgs;
use crate::descriptors;

/// What an event is about; numbers below are those of sockets.
const EVENT_CHANNELS: u64 = 1 << 32;
/// Somebody wants the service to end.
const TERMINATE: u64 = EVENT_CHANNELS + 1;
/// Events taken from the kernel at once.
const EVENTS: usize = 64;

/// A xenstored.
pub struct Service {
    server: Server<XenHost, Log>,
    epoll: Rc<OwnedFd>,
    events: Rc<EventChannels>,
    /// Where it is heard that some domain has ended.
    ends: Port,
    doors: Doors,
    ports: Vec<Port>,
    /// Readable once SIGTERM has come.
    _terminate: UnixStream,
    /// Locked for as long as this process lives.
    _pid_file: File,
}

impl Service {
    /// Takes up the service: from here on programs and guests are connected to this process.
    pub fn start(arguments: &XenstoredArgs) -> Result<Self, XenstoredError> {
        let mut pid_file = lock(&arguments.pid_file)?;
        descriptors::as_many_as_allowed();
        let events = Rc::new(EventChannels::open()?);
        let mut host = XenHost::open(&events)?;
        // The hypervisor lets one process have it: another xenstored, of whatever kind, shows here.
        let ends = events.bind_virq(VIRQ_DOM_EXC).map_err(|error| match error.errno() {
            Some(libxc_safe::Errno::EXIST) => XenstoredError::Running { pid: None },
            _ => error.into(),
        })?;
        // Not before: the file may be that of another kind of xenstored, which locks it otherwise.
        write_pid(&mut pid_file).map_err(file("write", &arguments.pid_file))?;
        if let Some(path) = &arguments.trace_file {
            host.trace_to(path).map_err(file("write", path))?;
        }
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(system("make an epoll"))?;
        let epoll = Rc::new(epoll);
        let data = EventData::new_u64(EVENT_CHANNELS);
        epoll::add(&*epoll, &*events, data, EventFlags::IN).map_err(system("wait for events"))?;
        if let Some(end) = &arguments.end_at {
            let wrong = |why: String| std::io::Error::new(std::io::ErrorKind::InvalidInput, why);
            let end = end.parse().map_err(wrong).map_err(system("choose an end"))?;
            steps::end_at(Some(end));
        }
        let (log, revived) = saved::open(&arguments.state_directory)?;
        let (mut doors, mut inventory) = Doors::find(&epoll, !arguments.no_keeper);
        let mut server = match revived {
            // With its quotas, which CONTROL may have changed since they were given here.
            Some(revived) => {
                let existing = host.domains()?;
                let server = revived.attach(host, log, &existing, |host, id, ring| match id {
                    ConnectionId::Domain(domid) => host.connect_again(domid, ring),
                    ConnectionId::Socket(number) => {
                        let pair = inventory.kept.remove(&number)?;
                        doors.link_again(number, pair).map(Link::Kept)
                    }
                });
                server.map_err(|error| saved::unusable(&arguments.state_directory, error))?
            }
            None => {
                let mut server = first(host, log)?;
                for (quota, limit) in arguments.all_quotas() {
                    server.state_mut().set_limit(quota, limit);
                }
                if let Some(bytes) = arguments.quota_soft {
                    server.state_mut().set_soft_memory(bytes);
                }
                server
            }
        };
        doors.settle();
        saved::keep(&mut server);
        let terminate = terminate(&epoll).map_err(system("prepare for signals"))?;
        doors.open(&mut server, inventory)?;
        let ports = Vec::new();
        Ok(Self {
            server,
            epoll,
            events,
            ends,
            doors,
            ports,
            _terminate: terminate,
            _pid_file: pid_file,
        })
    }

    /// Serves until SIGTERM. What is left then needs no requests to be done again, so that another
    /// version of this program may take it up.
    pub fn run(&mut self) -> Result<(), XenstoredError> {
        let mut ready = Vec::with_capacity(EVENTS);
        loop {
            self.server.host_mut().flush();
            let timeout = self.timeout();
            ready.clear();
            let waited = epoll::wait(
                &*self.epoll,
                rustix::buffer::spare_capacity(&mut ready),
                timeout.as_ref(),
            );
            match waited {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(system("wait for events")(errno)),
            }
            if ready.iter().any(|event| event.data.u64() == TERMINATE) {
                self.doors.leave();
                return saved::finish(&mut self.server);
            }
            self.take_events(&ready)?;
            self.server.expire();
            self.server.round().map_err(system("keep the journal"))?;
            saved::keep(&mut self.server);
            self.doors.tell();
        }
    }

    /// How long there is nothing to do unless something comes.
    fn timeout(&mut self) -> Option<Timespec> {
        if self.server.has_work() || saved::is_writing(&mut self.server) {
            return Some(Timespec::default());
        }
        let at = self.server.next_expiry()?;
        let left = at.saturating_sub(self.server.host_mut().now()) + Duration::from_millis(1);
        Timespec::try_from(left).ok()
    }

    /// Looks at what the kernel tells of. Ends of domains come first: a number may be in use again.
    fn take_events(&mut self, ready: &[Event]) -> Result<(), XenstoredError> {
        if ready.iter().any(|event| event.data.u64() == EVENT_CHANNELS) {
            self.take_ports()?;
        }
        for event in ready {
            match event.data.u64() {
                EVENT_CHANNELS | TERMINATE => {}
                door @ KEEPER.. => self.doors.enter(door, &mut self.server)?,
                number => {
                    if let Ok(number) = u32::try_from(number) {
                        self.server.ready(ConnectionId::Socket(number));
                    }
                }
            }
        }
        Ok(())
    }

    fn take_ports(&mut self) -> Result<(), XenstoredError> {
        self.ports.clear();
        match self.events.pending(&mut self.ports) {
            Ok(_) => {}
            Err(error) if error.errno() == Some(libxc_safe::Errno::FBIG) => {
                self.events.reset()?;
                self.look_at_domains();
                for id in self.server.host_mut().ring_owners() {
                    self.server.ready(id);
                }
            }
            Err(error) => return Err(error.into()),
        }
        // First, so that what comes while the rings are looked at is heard.
        self.events.unmask_all(&self.ports)?;
        let ports = std::mem::take(&mut self.ports);
        if ports.contains(&self.ends) {
            self.look_at_domains();
        }
        for &port in &ports {
            if let Some(id) = self.server.host_mut().of_port(port) {
                self.server.ready(id);
            }
        }
        self.ports = ports;
        Ok(())
    }

    fn look_at_domains(&mut self) {
        match self.server.host_mut().domains() {
            Ok(existing) => self.server.domains_changed(&existing),
            Err(error) => tracing::warn!("{error}"),
        }
    }
}

/// A server of an empty store, to which the kernel is connected.
fn first(mut host: XenHost, log: Log) -> Result<Server<XenHost, Log>, XenstoredError> {
    let link = host.connect_kernel()?;
    let mut server = Server::new(State::new(), host, log);
    let failed = |source| XenstoredError::KernelRing { source };
    let Link::Ring(mut ring) = link else { return Ok(server) };
    let (request, reply) = ring.positions().map_err(failed)?;
    let features = server.state().ring_features(Domid::DOM0);
    ring.advertise(features).map_err(failed)?;
    // The kernel waits for a sign that its store is there.
    ring.notify().map_err(failed)?;
    server.attach(ConnectionId::Domain(Domid::DOM0), Link::Ring(ring), request, reply);
    Ok(server)
}

/// Has SIGTERM heard where everything else is.
fn terminate(epoll: &OwnedFd) -> std::io::Result<UnixStream> {
    let (end, signalled) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, signalled)?;
    epoll::add(epoll, &end, EventData::new_u64(TERMINATE), EventFlags::IN)?;
    Ok(end)
}

/// Opens and locks the file, and leaves what it holds.
fn lock(path: &Path) -> Result<File, XenstoredError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(file("make", folder))?;
    }
    let mut options = File::options();
    let opened = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let mut pid_file = opened.map_err(file("open", path))?;
    // Who may read it may lock it, and no xenstored could start any more.
    pid_file
        .set_permissions(Permissions::from_mode(0o600))
        .map_err(file("set the rights of", path))?;
    if pid_file.try_lock().is_err() {
        let mut text = String::new();
        // A number that cannot be read is only not shown.
        let _ = pid_file.read_to_string(&mut text);
        return Err(XenstoredError::Running { pid: text.trim().parse().ok() });
    }
    Ok(pid_file)
}

/// Writes this process's number.
fn write_pid(pid_file: &mut File) -> std::io::Result<()> {
    pid_file.set_len(0)?;
    pid_file.rewind()?;
    writeln!(pid_file, "{}", std::process::id())
}
