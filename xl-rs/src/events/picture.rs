//! What there is of domains and devices, and what has changed since it was looked at last: pure.
//!
//! In: the hypervisor's list with names, and states of backends. Out: events. A domain is told of once
//! it has a name, which it gets last; a number that another domain has now is two events.

use super::{Device, Kind};
use libxc_safe::ShutdownReason;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its name, if it has one by now.
    pub name: Option<String>,
    /// Why it has shut down, if it has.
    pub shutdown: Option<ShutdownReason>,
}

/// How far a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// On its way to be connected.
    Added,
    /// Connected.
    Connected,
    /// Being closed.
    Closing,
    /// Closed.
    Closed,
}

impl Stage {
    /// From the `state` node of a backend.
    #[must_use]
    pub fn of(state: &[u8]) -> Self {
        match state {
            b"4" | b"7" | b"8" => Self::Connected,
            b"5" => Self::Closing,
            b"6" => Self::Closed,
            _ => Self::Added,
        }
    }

    fn event(self) -> Kind {
        match self {
            Self::Added => Kind::DeviceAdded,
            Self::Connected => Kind::DeviceConnected,
            Self::Closing => Kind::DeviceClosing,
            Self::Closed => Kind::DeviceClosed,
        }
    }
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Something about a domain.
    Domain(Kind, u16, Domain),
    /// Something about a device.
    Device(Kind, Device),
}

/// All that there is.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    domains: BTreeMap<u16, Domain>,
    devices: BTreeMap<Device, Stage>,
}

impl Picture {
    /// The domains as they are now.
    pub fn look_at_domains(&mut self, now: BTreeMap<u16, Domain>) -> Vec<Change> {
        let mut changes = Vec::new();
        for (&domid, old) in &self.domains {
            if now.get(&domid).is_none_or(|new| new.uuid != old.uuid) {
                // One that never had a name was never told of.
                if old.name.is_some() {
                    changes.push(Change::Domain(Kind::DomainGone, domid, old.clone()));
                }
            }
        }
        for (&domid, new) in &now {
            let old = self.domains.get(&domid).filter(|old| old.uuid == new.uuid);
            let old_name = old.and_then(|old| old.name.as_ref());
            let mut tell = |kind| changes.push(Change::Domain(kind, domid, new.clone()));
            let Some(name) = &new.name else { continue };
            match old_name {
                None => tell(Kind::DomainCreated),
                Some(old) if old != name => tell(Kind::DomainRenamed),
                Some(_) => {}
            }
            let old_shutdown = old.filter(|_| old_name.is_some()).and_then(|old| old.shutdown);
            match (old_shutdown, new.shutdown) {
                (old, Some(reason)) if old != Some(reason) => tell(Kind::DomainShutDown),
                (Some(_), None) => tell(Kind::DomainResumed),
                _ => {}
            }
        }
        let before = std::mem::replace(&mut self.domains, now);
        for (domid, domain) in &mut self.domains {
            // A domain that is being taken down loses its name before it goes.
            if domain.name.is_none()
                && let Some(old) = before.get(domid).filter(|old| old.uuid == domain.uuid)
            {
                domain.name.clone_from(&old.name);
            }
        }
        changes
    }

    /// A device as it is now; none if it is gone.
    pub fn look_at_device(&mut self, device: &Device, now: Option<Stage>) -> Option<Change> {
        let old = match now {
            Some(stage) => self.devices.insert(device.clone(), stage),
            None => self.devices.remove(device),
        };
        let kind = match (old, now) {
            (old, Some(stage)) if old != Some(stage) => stage.event(),
            (Some(_), None) => Kind::DeviceRemoved,
            _ => return None,
        };
        Some(Change::Device(kind, device.clone()))
    }

    /// The devices that are known, of which a part of this path below a backend directory may tell:
    /// those with this kind, domid and devid, where given.
    #[must_use]
    pub fn devices_below(&self, parts: &[&str]) -> Vec<Device> {
        let matches = |device: &&Device| {
            let names = [device.kind.clone(), device.domid.to_string(), device.devid.to_string()];
            parts.iter().zip(&names).all(|(part, name)| part == name)
        };
        self.devices.keys().filter(matches).cloned().collect()
    }

    /// The domains that are known.
    pub fn domids(&self) -> impl Iterator<Item = u16> {
        self.domains.keys().copied()
    }

    /// The name of a domain.
    #[must_use]
    pub fn name(&self, domid: u16) -> Option<String> {
        self.domains.get(&domid)?.name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(uuid: u128, name: Option<&str>, shutdown: Option<ShutdownReason>) -> Domain {
        Domain { uuid: Uuid::from_u128(uuid), name: name.map(str::to_owned), shutdown }
    }

    fn look(picture: &mut Picture, now: &[(u16, Domain)]) -> Vec<(Kind, u16)> {
        let changes = picture.look_at_domains(now.iter().cloned().collect());
        let of = |change| match change {
            Change::Domain(kind, domid, _) => (kind, domid),
            Change::Device(..) => panic!("a device"),
        };
        changes.into_iter().map(of).collect()
    }

    #[test]
    fn the_life_of_domains() {
        use Kind::{DomainCreated, DomainGone, DomainRenamed, DomainResumed, DomainShutDown};
        let mut picture = Picture::default();
        let crash = Some(ShutdownReason::Crash);
        let mut check = |now: &[(u16, Domain)], events: &[(Kind, u16)]| {
            assert_eq!(look(&mut picture, now), events, "{now:?}");
        };
        check(&[(1, domain(1, None, None))], &[]);
        check(&[(1, domain(1, Some("a"), None))], &[(DomainCreated, 1)]);
        check(&[(1, domain(1, Some("a"), None))], &[]);
        check(&[(1, domain(1, Some("b"), None))], &[(DomainRenamed, 1)]);
        check(&[(1, domain(1, Some("b"), crash))], &[(DomainShutDown, 1)]);
        check(&[(1, domain(1, Some("b"), crash))], &[]);
        check(&[(1, domain(1, Some("b"), None))], &[(DomainResumed, 1)]);
        // Its nodes go before it does.
        check(&[(1, domain(1, None, None))], &[]);
        check(&[(1, domain(1, Some("b"), None))], &[]);
        // The number is another's now, and two events came as one.
        let both = [(DomainGone, 1), (DomainCreated, 1), (DomainShutDown, 1)];
        check(&[(1, domain(2, Some("c"), crash))], &both);
        check(&[(2, domain(3, None, None))], &[(DomainGone, 1)]);
        check(&[], &[]);
    }

    #[test]
    fn the_life_of_a_device() {
        let mut picture = Picture::default();
        let device = Device { kind: String::from("vbd"), domid: 3, devid: 51712 };
        let states: [(Option<&[u8]>, Option<Kind>); 8] = [
            (Some(b"1"), Some(Kind::DeviceAdded)),
            (Some(b"2"), None),
            (Some(b"4"), Some(Kind::DeviceConnected)),
            (Some(b"4"), None),
            (Some(b"5"), Some(Kind::DeviceClosing)),
            (Some(b"6"), Some(Kind::DeviceClosed)),
            (None, Some(Kind::DeviceRemoved)),
            (None, None),
        ];
        for (state, event) in states {
            let found = picture.look_at_device(&device, state.map(Stage::of));
            let kind = found.map(|change| match change {
                Change::Device(kind, _) => kind,
                Change::Domain(..) => panic!("a domain"),
            });
            assert_eq!(kind, event, "{state:?}");
        }
        picture.look_at_device(&device, Some(Stage::Added));
        for (parts, count) in
            [(&[][..], 1), (&["vbd"], 1), (&["vif"], 0), (&["vbd", "3"], 1), (&["vbd", "4"], 0)]
        {
            assert_eq!(picture.devices_below(parts).len(), count, "{parts:?}");
        }
    }
}
