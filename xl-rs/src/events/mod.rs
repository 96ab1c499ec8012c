//! What happens on this host: the words for it, and the book that finds out.
//!
//! In: what there is of domains, devices and daemons, looked at again and again ([`picture`]). Out:
//! [`Event`]s, as lines of text or of JSON. Never asks anybody anything itself.

pub mod picture;

use crate::output::domains;
use crate::printable;
use jiff::Timestamp;
use libxc_safe::ShutdownReason;
use serde::Serialize;
use uuid::Uuid;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A domain was there already.
    DomainThere,
    /// A domain was made.
    DomainCreated,
    /// It has another name.
    DomainRenamed,
    /// It has shut down, or crashed: the reason says how.
    DomainShutDown,
    /// It runs again after a shutdown: it was resumed.
    DomainResumed,
    /// It is gone.
    DomainGone,
    /// A device was there already.
    DeviceThere,
    /// A domain was given a device.
    DeviceAdded,
    /// Both ends of it work.
    DeviceConnected,
    /// It is being let go.
    DeviceClosing,
    /// Its backend has let it go.
    DeviceClosed,
    /// It is gone.
    DeviceRemoved,
    /// A daemon was there already.
    DaemonThere,
    /// A daemon is ready.
    DaemonReady,
    /// A daemon has ended.
    DaemonEnded,
    /// xenstored does not answer any more.
    StoreLost,
    /// It answers again.
    StoreBack,
    /// All that was there has been told; from here on it is what happens.
    Ready,
}

impl Kind {
    /// As JSON has it.
    #[must_use]
    pub fn word(self) -> String {
        let word = serde_json::to_value(self).ok();
        word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// A device of a domain, with its backend in dom0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// `vbd`, `vif` and so on.
    pub kind: String,
    /// Whose it is.
    pub domid: u16,
    /// Its number.
    pub devid: u32,
}

/// One thing that happened. What does not apply is `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When it was seen, in UTC.
    pub time: String,
    /// What.
    pub event: Kind,
    /// The domain.
    pub domid: Option<u16>,
    /// Its name.
    pub name: Option<String>,
    /// Its UUID.
    pub uuid: Option<Uuid>,
    /// Why it has shut down.
    pub reason: Option<String>,
    /// The kind of device.
    pub device: Option<String>,
    /// Its number.
    pub devid: Option<u32>,
    /// The daemon.
    pub daemon: Option<&'static str>,
}

impl Event {
    /// Of nothing in particular.
    #[must_use]
    pub fn new(event: Kind, now: Timestamp) -> Self {
        Self {
            time: now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            event,
            domid: None,
            name: None,
            uuid: None,
            reason: None,
            device: None,
            devid: None,
            daemon: None,
        }
    }

    /// One line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!("{} {}", self.time, self.event.word());
        let words = [
            self.domid.map(|domid| domid.to_string()),
            self.name.clone(),
            self.reason.clone(),
            self.device.clone(),
            self.devid.map(|devid| devid.to_string()),
            self.daemon.map(str::to_owned),
        ];
        for word in words.into_iter().flatten() {
            line.push(' ');
            line.push_str(&printable::line(&word));
        }
        line.push('\n');
        line
    }

    /// One line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// A reason in words.
#[must_use]
pub fn reason(reason: ShutdownReason) -> String {
    domains::reason(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_json() {
        let now: Timestamp = "2026-03-04T05:06:07.089Z".parse().unwrap();
        let event = Event {
            domid: Some(7),
            name: Some(String::from("a\u{1b}b")),
            reason: Some(reason(ShutdownReason::Crash)),
            ..Event::new(Kind::DomainShutDown, now)
        };
        let line = event.line();
        assert!(line.starts_with("2026-03-04T05:06:07.089Z domain-shut-down 7 a"), "{line}");
        assert!(line.ends_with("b crash\n") && !line.contains('\u{1b}'), "{line}");
        let json: serde_json::Value = serde_json::from_str(&event.json()).unwrap();
        assert_eq!(json["event"], "domain-shut-down");
        assert_eq!(json["device"], serde_json::Value::Null);
        assert_eq!(event.json().lines().count(), 1);
    }
}
