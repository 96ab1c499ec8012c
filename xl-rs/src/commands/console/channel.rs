//! Which node names the terminal of a console, and when it is believed.
//!
//! The guest cannot write such a node, nor make one anew where it has removed its directory: its
//! parent is the toolstack's.

use super::ConsoleError;
use crate::commands::error::CommandError;
use crate::state::lock::Subject;
use crate::state::{State, StateError};
use domain_builder::nodes::MARKER;
use xen_sys::types::Domid;
use xenstore::client::{Client, Nodes};

/// A node that names a terminal.
#[derive(Clone, Debug)]
pub(super) struct Tty {
    /// Its path.
    pub(super) node: String,
    /// Whether it names one of consoled's. Once that is gone the terminal may be somebody else's.
    by_consoled: bool,
}

impl Tty {
    /// That of the first console.
    pub(super) fn first(domid: Domid) -> Self {
        Self { node: format!("/local/domain/{domid}/console/tty"), by_consoled: false }
    }

    /// That of any console. Whether it is a terminal is asked where no guest writes.
    pub(super) fn of(store: &mut Client, domid: Domid, number: u16) -> Result<Self, CommandError> {
        if number == 0 {
            return Ok(Self::first(domid));
        }
        let libxl = format!("/libxl/{domid}/device/console/{number}");
        match store.read_text_optional(format!("{libxl}/connection"))?.as_deref() {
            None => return Err(ConsoleError::NoSuchConsole { domid, number }.into()),
            Some("socket") => {
                let path = store.read_text_optional(format!("{libxl}/path"))?.unwrap_or_default();
                return Err(ConsoleError::IsSocket { domid, number, path }.into());
            }
            Some(_) => {}
        }
        // What xl has made has a server of its own.
        let by_consoled = store.exists(format!("/libxl/{domid}/{MARKER}"))?;
        let node = format!("/local/domain/{domid}/device/console/{number}/tty");
        let tty = Self { node, by_consoled };
        match tty.is_served()? {
            true => Ok(tty),
            false => Err(ConsoleError::NoConsoled { domid, number }.into()),
        }
    }

    /// Whether who has named the terminal is still there.
    pub(super) fn is_served(&self) -> Result<bool, StateError> {
        match State::existing()? {
            _ if !self.by_consoled => Ok(true),
            Some(state) => state.is_locked(Subject::Consoles),
            None => Ok(false),
        }
    }
}
