//! `events`: streams what happens to domains, devices and daemons, until nobody reads any more.
//!
//! In: xenstored's watches, which say where to look; the hypervisor's list, the nodes of backends and
//! the daemons' locks, which say what is so. Out: a line per event. Nothing is polled. A store that
//! ends is two events: when it is back everything is looked at again. Guests cannot write to any of
//! the nodes that are watched.

use super::error::CommandError;
use super::{domain, print};
use crate::cli::EventsArgs;
use crate::events::picture::{Change, Domain, Picture, Stage};
use crate::events::{Device, Event, Kind, reason};
use crate::state::State;
use crate::state::lock::Subject;
use jiff::Timestamp;
use libxc_safe::Xen;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use uuid::Uuid;
use xenstore::client::{Client, Error as StoreError, Nodes as _, RETURN_PATIENCE};

/// Where dom0's backends are.
const BACKENDS: &str = "/local/domain/0/backend";
/// What daemons write when they are ready; who holds the lock is there.
pub const DAEMONS: &str = "/tool";

/// The daemons, their nodes below [`DAEMONS`] and the locks that they hold.
const KNOWN: [(&str, &str, Subject); 2] = [
    ("supervise", super::announce::SUPERVISE, Subject::Supervisor),
    ("consoled", super::announce::CONSOLED, Subject::Consoled),
];

/// Runs the command.
pub fn run(arguments: &EventsArgs) -> Result<(), CommandError> {
    let mut watching = Watching::start(arguments.json)?;
    watching.begin(Kind::DomainThere, Kind::DeviceThere, Kind::DaemonThere)?;
    watching.tell(&Event::new(Kind::Ready, Timestamp::now()))?;
    loop {
        let done = match watching.wait()? {
            Woken::Unread => return Ok(()),
            Woken::Event => watching.look(),
            Woken::Lost => watching.come_back(),
        };
        match done {
            Err(CommandError::Store(error)) if error.is_disconnected() => watching.come_back()?,
            done => done?,
        }
    }
}

/// What is to be looked at.
#[derive(Default)]
struct Dirty {
    domains: bool,
    devices: BTreeSet<Device>,
    daemons: bool,
    all: bool,
}

enum Woken {
    /// Something may have happened.
    Event,
    /// The store is gone.
    Lost,
    /// Nobody reads what is printed.
    Unread,
}

struct Watching {
    xen: Xen,
    store: Client,
    state: State,
    json: bool,
    picture: Picture,
    /// Domains whose names are watched.
    named: BTreeSet<u16>,
    /// Daemons that are there: readable when they end.
    daemons: BTreeMap<usize, UnixStream>,
}

impl Watching {
    fn start(json: bool) -> Result<Self, CommandError> {
        let (xen, store, state) = (Xen::open()?, Client::connect()?, State::open()?);
        let (picture, named) = (Picture::default(), BTreeSet::new());
        let mut watching =
            Self { xen, store, state, json, picture, named, daemons: BTreeMap::new() };
        watching.set_watches()?;
        Ok(watching)
    }

    fn set_watches(&mut self) -> Result<(), CommandError> {
        self.named.clear();
        for path in ["@introduceDomain", "@releaseDomain", BACKENDS, DAEMONS] {
            self.store.watch(path, "xlr")?;
        }
        Ok(())
    }

    /// Tells all that is there, with these words.
    fn begin(&mut self, domains: Kind, devices: Kind, daemons: Kind) -> Result<(), CommandError> {
        for change in self.domains()? {
            let change = match change {
                Change::Domain(Kind::DomainCreated, domid, found) => {
                    Change::Domain(domains, domid, found)
                }
                change => change,
            };
            self.tell_change(change)?;
        }
        for change in self.all_devices()? {
            let change = match change {
                Change::Device(_, device) => Change::Device(devices, device),
                change => change,
            };
            self.tell_change(change)?;
        }
        self.look_at_daemons(daemons)
    }

    /// Everything after the store was away.
    fn come_back(&mut self) -> Result<(), CommandError> {
        self.tell(&Event::new(Kind::StoreLost, Timestamp::now()))?;
        loop {
            match self.store.connect_anew(RETURN_PATIENCE) {
                Ok(store) => self.store = store,
                Err(error) if error.is_unavailable() => continue,
                Err(error) => return Err(error.into()),
            }
            match self.set_watches().and_then(|()| self.look_at_all(true)) {
                // It was not back for good.
                Err(CommandError::Store(error)) if error.is_disconnected() => {}
                done => return done,
            }
        }
    }

    fn look_at_all(&mut self, back: bool) -> Result<(), CommandError> {
        let mut changes = self.domains()?;
        changes.extend(self.all_devices()?);
        if back {
            self.tell(&Event::new(Kind::StoreBack, Timestamp::now()))?;
        }
        changes.into_iter().try_for_each(|change| self.tell_change(change))?;
        self.look_at_daemons(Kind::DaemonReady)
    }

    /// Takes the events that are there, and looks where they say.
    fn look(&mut self) -> Result<(), CommandError> {
        let mut dirty = Dirty::default();
        loop {
            match self.store.next_event(Some(Duration::ZERO)) {
                Ok(Some(event)) => self.note(event.path.as_str(), &mut dirty),
                Ok(None) => break,
                Err(StoreError::EventsLost { .. }) => dirty.all = true,
                Err(error) => return Err(error.into()),
            }
        }
        if dirty.all {
            return self.look_at_all(false);
        }
        if dirty.domains {
            for change in self.domains()? {
                self.tell_change(change)?;
            }
        }
        for device in dirty.devices {
            let change = self.device(&device)?;
            change.map_or(Ok(()), |change| self.tell_change(change))?;
        }
        if dirty.daemons { self.look_at_daemons(Kind::DaemonReady) } else { Ok(()) }
    }

    /// Where an event says to look.
    fn note(&self, path: &str, dirty: &mut Dirty) {
        if let Some(below) = path.strip_prefix(BACKENDS) {
            let parts: Vec<&str> = below.split('/').filter(|part| !part.is_empty()).collect();
            dirty.devices.extend(self.picture.devices_below(&parts));
            dirty.devices.extend(device_of(&parts));
        } else if path.starts_with(DAEMONS) {
            dirty.daemons = true;
        } else {
            dirty.domains = true;
        }
    }

    /// The domains as they are now; their names are watched from here on.
    fn domains(&mut self) -> Result<Vec<Change>, CommandError> {
        let all = domain::all(&self.xen, &mut self.store)?;
        let there = all.into_iter().filter(|named| named.info.domid.0 != 0 && !named.info.dying);
        let now: BTreeMap<u16, Domain> = there
            .map(|named| {
                let uuid = Uuid::from_bytes(named.info.uuid);
                let shutdown = named.info.shutdown;
                (named.info.domid.0, Domain { uuid, name: named.name, shutdown })
            })
            .collect();
        let fresh: Vec<u16> =
            now.keys().filter(|domid| !self.named.contains(domid)).copied().collect();
        for domid in self.named.clone() {
            if !now.contains_key(&domid) {
                self.named.remove(&domid);
                match self.store.unwatch(domain::name_path(domid.into()), "xlr") {
                    Err(error) if !error.is_not_found() => return Err(error.into()),
                    _ => {}
                }
            }
        }
        for &domid in &fresh {
            self.store.watch(domain::name_path(domid.into()), "xlr")?;
            self.named.insert(domid);
        }
        // A name that comes between the two is in the watch's first event.
        Ok(self.picture.look_at_domains(now))
    }

    fn device(&mut self, device: &Device) -> Result<Option<Change>, CommandError> {
        let Device { kind, domid, devid } = device;
        let state = self.store.read_optional(format!("{BACKENDS}/{kind}/{domid}/{devid}/state"))?;
        Ok(self.picture.look_at_device(device, state.as_deref().map(Stage::of)))
    }

    /// Every device that there is, and every one that was.
    fn all_devices(&mut self) -> Result<Vec<Change>, CommandError> {
        let mut devices: BTreeSet<Device> = self.picture.devices_below(&[]).into_iter().collect();
        for kind in self.names(BACKENDS)? {
            for domid in self.names(&format!("{BACKENDS}/{kind}"))? {
                for devid in self.names(&format!("{BACKENDS}/{kind}/{domid}"))? {
                    devices.extend(device_of(&[&kind, &domid, &devid]));
                }
            }
        }
        let mut changes = Vec::new();
        for device in devices {
            changes.extend(self.device(&device)?);
        }
        Ok(changes)
    }

    fn names(&mut self, path: &str) -> Result<Vec<String>, CommandError> {
        match self.store.directory(path) {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            names => Ok(names?),
        }
    }

    /// Which daemons there are: those that have said that they are ready, and hold their lock.
    fn look_at_daemons(&mut self, new: Kind) -> Result<(), CommandError> {
        for (index, (daemon, node, subject)) in KNOWN.into_iter().enumerate() {
            let said = self.store.exists(node)?;
            let there = said && self.state.is_locked(subject)?;
            if there && !self.daemons.contains_key(&index) {
                self.daemons.insert(index, self.state.released(subject)?);
                let event = Event::new(new, Timestamp::now());
                self.tell(&Event { daemon: Some(daemon), ..event })?;
            }
        }
        Ok(())
    }

    fn tell_change(&mut self, change: Change) -> Result<(), CommandError> {
        let now = Timestamp::now();
        let event = match change {
            Change::Domain(kind, domid, found) => Event {
                domid: Some(domid),
                name: found.name,
                uuid: Some(found.uuid),
                reason: found.shutdown.map(reason),
                ..Event::new(kind, now)
            },
            Change::Device(kind, device) => Event {
                domid: Some(device.domid),
                name: self.picture.name(device.domid),
                device: Some(device.kind),
                devid: Some(device.devid),
                ..Event::new(kind, now)
            },
        };
        self.tell(&event)
    }

    fn tell(&self, event: &Event) -> Result<(), CommandError> {
        let line = if self.json { event.json() } else { event.line() };
        print(line.as_bytes())
    }

    /// Waits for an event, a daemon's end, the store's, or the reader's.
    fn wait(&mut self) -> Result<Woken, CommandError> {
        if self.store.events_waiting() > 0 {
            return Ok(Woken::Event);
        }
        let out = std::io::stdout();
        // Of what is written to only its end is asked for.
        let mut fds =
            vec![PollFd::new(&out, PollFlags::empty()), PollFd::new(&self.store, PollFlags::IN)];
        fds.extend(self.daemons.values().map(|ends| PollFd::new(ends, PollFlags::IN)));
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(CommandError::Signals { source: errno.into() }),
        }
        let woken: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let indices = self.daemons.keys().copied();
        let ended: Vec<usize> =
            indices.zip(&woken[2..]).filter(|(_, ended)| **ended).map(|(index, _)| index).collect();
        for index in ended {
            self.daemons.remove(&index);
            let event = Event::new(Kind::DaemonEnded, Timestamp::now());
            self.tell(&Event { daemon: Some(KNOWN[index].0), ..event })?;
        }
        if woken[0] {
            return Ok(Woken::Unread);
        }
        match self.store.lost() {
            Some(_) => Ok(Woken::Lost),
            None => Ok(Woken::Event),
        }
    }
}

/// The device that a path below the backends is about.
fn device_of(parts: &[&str]) -> Option<Device> {
    let [kind, domid, devid, ..] = parts else { return None };
    Some(Device {
        kind: (*kind).to_owned(),
        domid: domid.parse().ok()?,
        devid: devid.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_devices() {
        let check = |parts: &[&str], found: Option<(&str, u16, u32)>| {
            let device = device_of(parts);
            let device = device.as_ref().map(|it| (it.kind.as_str(), it.domid, it.devid));
            assert_eq!(device, found, "{parts:?}");
        };
        check(&["vbd", "3", "51712", "state"], Some(("vbd", 3, 51712)));
        check(&["vif", "3", "0"], Some(("vif", 3, 0)));
        check(&["vif", "3"], None);
        check(&["vif", "x", "0"], None);
    }
}
