//! Ring pages of guests and of the kernel, with their event channels.

use std::io;
use std::rc::Rc;

use libxc_safe::{EventChannels, ForeignMapping, GrantMapping, KernelRing, Mapping};
use xenstore::Port;
use xenstore::server::{Fault, Page};

use super::steps::{self, Step};

/// How a page came here.
#[derive(Debug)]
pub enum Memory {
    /// By the grant that the toolstack reserves for it.
    Granted(GrantMapping),
    /// By its frame.
    Foreign(ForeignMapping),
    /// From the kernel.
    Kernel(KernelRing),
}

/// A page and the local port that goes with it, which is closed on drop.
#[derive(Debug)]
pub struct SharedPage {
    memory: Memory,
    events: Rc<EventChannels>,
    port: Port,
}

impl SharedPage {
    /// Takes a page and a port that is bound by `events`.
    pub fn new(memory: Memory, events: Rc<EventChannels>, port: Port) -> Self {
        Self { memory, events, port }
    }

    fn mapping(&self) -> &Mapping {
        match &self.memory {
            Memory::Granted(granted) => granted,
            Memory::Foreign(foreign) => foreign,
            Memory::Kernel(kernel) => kernel,
        }
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        if let Err(error) = self.events.unbind(self.port) {
            tracing::warn!("{error}");
        }
    }
}

fn link(operation: &'static str) -> impl FnOnce(libxc_safe::Error) -> Fault {
    move |error| Fault::Link { operation, source: io::Error::other(error) }
}

impl Page for SharedPage {
    fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), Fault> {
        self.mapping().read(offset, bytes).map_err(link("read from a ring"))
    }

    fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Fault> {
        self.mapping().write(offset, bytes).map_err(link("write to a ring"))?;
        steps::passed(Step::Copied);
        Ok(())
    }

    fn load(&self, offset: usize) -> Result<u32, Fault> {
        self.mapping().load_u32(offset).map_err(link("read an index of a ring"))
    }

    fn store(&self, offset: usize, value: u32) -> Result<(), Fault> {
        self.mapping().store_u32(offset, value).map_err(link("write an index of a ring"))?;
        steps::passed(Step::Indexed);
        Ok(())
    }

    fn signal(&self) -> Result<(), Fault> {
        steps::passed(Step::Notify);
        self.events.notify(self.port).map_err(link("notify a domain"))
    }
}
