//! The control page and the event page: requests in, replies and events out.

use std::fmt;
use std::rc::Rc;

use ib_protocol::{
    ASYNC_SLOTS, AsyncEvent, AsyncPage, ControlPage, MAGIC, REQUEST_BYTES, REQUEST_SLOTS, Record,
    Request, RingFault, UnknownRequest, VERSION, async_offset, available, reply_offset,
    request_offset, status,
};
use libxc_safe::{
    Domid, EventChannels, GrantDevice, GrantMapping, GrantRef, Port, Protection, UnmapNotify,
};

use super::requests::Answer;
use crate::error::{Error, Result};

/// `IBV_EVENT_DEVICE_FATAL`.
const DEVICE_FATAL: u32 = 8;

/// Where a field of a record lies.
const fn at<R: Record>(name: &str) -> usize {
    let mut index = 0;
    while index < R::FIELDS.len() {
        let field = R::FIELDS[index].name.as_bytes();
        let mut same = field.len() == name.len();
        let mut byte = 0;
        while same && byte < field.len() {
            same = field[byte] == name.as_bytes()[byte];
            byte += 1;
        }
        if same {
            return R::FIELDS[index].offset;
        }
        index += 1;
    }
    panic!("no such field")
}

const GUEST_ALIVE: usize = const { at::<ControlPage>("guest_alive") };
const REQUEST_PRODUCER: usize = const { at::<ControlPage>("request_producer") };
const STATUS: usize = const { at::<ControlPage>("status") };
const BACKEND_VERSION: usize = const { at::<ControlPage>("backend_version") };
const BACKEND_ALIVE: usize = const { at::<ControlPage>("backend_alive") };
const REPLY_PRODUCER: usize = const { at::<ControlPage>("reply_producer") };
const BACKEND_SLEEPS: usize = const { at::<ControlPage>("backend_sleeps") };
const ASYNC_CONSUMER: usize = const { at::<AsyncPage>("consumer") };
const ASYNC_PRODUCER: usize = const { at::<AsyncPage>("producer") };
const ASYNC_ALIVE: usize = const { at::<AsyncPage>("backend_alive") };

/// What a guest did that the protocol does not allow, or what its rings cannot be accessed for.
#[derive(Debug)]
pub(super) enum Fault {
    /// An index.
    Ring(&'static str, RingFault),
    /// Memory or a port.
    Xen(libxc_safe::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(ring, RingFault { claimed, slots }) => {
                write!(f, "its {ring} ring of {slots} slots is said to hold {claimed}")
            }
            Self::Xen(error) => error.fmt(f),
        }
    }
}

impl From<libxc_safe::Error> for Fault {
    fn from(error: libxc_safe::Error) -> Self {
        Self::Xen(error)
    }
}

/// A request with its id.
pub(super) type Numbered = (u32, Result<Request, UnknownRequest>);

/// The two pages, their ports, and where in them we are. Unmapping tells the guest.
pub(super) struct Pages {
    pub(super) channels: Rc<EventChannels>,
    control: GrantMapping,
    events: GrantMapping,
    control_port: Port,
    async_port: Port,
    request_consumer: u32,
    reply_producer: u32,
    async_producer: u32,
}

/// What became of opening them.
pub(super) enum Opened {
    /// They are mapped; no answer is given yet.
    Fine(Pages),
    /// The guest has its answer.
    Refused,
}

impl Pages {
    /// Maps both pages and binds both ports of a process that asks for a context.
    pub(super) fn open(grants: &GrantDevice, domid: Domid, reference: GrantRef) -> Result<Opened> {
        let control = grants.map(domid, &[reference], Protection::ReadWrite)?;
        let mut head = [0; ControlPage::SIZE];
        control.read(0, &mut head)?;
        let head = ControlPage::decode(&head);
        if head.magic != MAGIC {
            // Whatever it is, it is not ours to write.
            let what = "what it grants is no control page".to_owned();
            return Err(Error::Protocol { domid, what });
        }
        let channels = Rc::new(EventChannels::open()?);
        control.store_u32(BACKEND_VERSION, VERSION)?;
        let refuse = |why: u32, port: Option<Port>| -> Result<Opened> {
            control.store_u32(STATUS, why)?;
            if let Some(port) = port {
                channels.notify(port)?;
            }
            Ok(Opened::Refused)
        };
        let Ok(control_port) = channels.bind_interdomain(domid, Port(head.control_port)) else {
            return refuse(status::BAD_REFERENCE, None);
        };
        if head.version != VERSION {
            return refuse(status::BAD_VERSION, Some(control_port));
        }
        let event_page = [GrantRef(head.async_reference)];
        let Ok(events) = grants.map(domid, &event_page, Protection::ReadWrite) else {
            return refuse(status::BAD_REFERENCE, Some(control_port));
        };
        let Ok(async_port) = channels.bind_interdomain(domid, Port(head.async_port)) else {
            return refuse(status::BAD_REFERENCE, Some(control_port));
        };
        announce(&control, BACKEND_ALIVE, Some(control_port))?;
        announce(&events, ASYNC_ALIVE, Some(async_port))?;
        Ok(Opened::Fine(Self {
            channels,
            control,
            events,
            control_port,
            async_port,
            request_consumer: 0,
            reply_producer: 0,
            async_producer: 0,
        }))
    }

    /// Gives the answer to the request for a context.
    pub(super) fn answer(&self, status: u32) -> Result<()> {
        self.control.store_u32(STATUS, status)?;
        Ok(self.channels.notify(self.control_port)?)
    }

    pub(super) fn guest_is_alive(&self) -> Result<bool> {
        Ok(self.control.load_u8(GUEST_ALIVE)? != 0)
    }

    pub(super) fn say_asleep(&self, asleep: bool) -> Result<()> {
        Ok(self.control.store_u32(BACKEND_SLEEPS, asleep.into())?)
    }

    /// Takes the ports that were signalled: what they stand for is looked at in any case.
    pub(super) fn take_ports(&self) -> Result<()> {
        let mut ports = Vec::new();
        self.channels.pending(&mut ports)?;
        Ok(self.channels.unmask_all(&ports)?)
    }

    /// The next request, copied.
    pub(super) fn next_request(&mut self) -> Result<Option<Numbered>, Fault> {
        let producer = self.control.load_u32(REQUEST_PRODUCER)?;
        let waiting = available(producer, self.request_consumer, REQUEST_SLOTS)
            .map_err(|fault| Fault::Ring("request", fault))?;
        if waiting == 0 {
            return Ok(None);
        }
        let mut slot = [0; REQUEST_BYTES];
        self.control.read(request_offset(self.request_consumer), &mut slot)?;
        self.request_consumer = self.request_consumer.wrapping_add(1);
        Ok(Some(Request::decode(&slot)))
    }

    pub(super) fn reply(&mut self, id: u32, answer: &Answer) -> Result<()> {
        self.control.write(reply_offset(self.reply_producer), &answer.encode(id))?;
        self.reply_producer = self.reply_producer.wrapping_add(1);
        self.control.store_u32(REPLY_PRODUCER, self.reply_producer)?;
        Ok(self.channels.notify(self.control_port)?)
    }

    /// How many events the guest has room for.
    pub(super) fn async_room(&self) -> Result<u32, Fault> {
        let consumer = self.events.load_u32(ASYNC_CONSUMER)?;
        let unread = available(self.async_producer, consumer, ASYNC_SLOTS)
            .map_err(|fault| Fault::Ring("event", fault))?;
        Ok(ASYNC_SLOTS - unread)
    }

    /// Writes an event, for which there is room, and tells.
    pub(super) fn tell(&mut self, event: &AsyncEvent) -> Result<()> {
        let mut slot = [0; AsyncEvent::SIZE];
        event.encode(&mut slot);
        self.events.write(async_offset(self.async_producer), &slot)?;
        self.async_producer = self.async_producer.wrapping_add(1);
        self.events.store_u32(ASYNC_PRODUCER, self.async_producer)?;
        Ok(self.channels.notify(self.async_port)?)
    }

    /// Tells the guest that everything is gone although it did not ask for that.
    pub(super) fn closed(&mut self) -> Result<()> {
        self.answer(status::CLOSED)?;
        if self.async_room().is_ok_and(|room| room > 0) {
            self.tell(&AsyncEvent { event_type: DEVICE_FATAL, handle: 0, port: 0 })?;
        }
        Ok(())
    }
}

/// Says in a page of the guest that the backend is alive, and lets the kernel say the opposite when the
/// page is unmapped, also by this program's death.
pub(super) fn announce(
    page: &GrantMapping,
    alive_at: usize,
    event: Option<Port>,
) -> Result<(), libxc_safe::Error> {
    page.write(alive_at, &[1])?;
    page.notify_on_unmap(UnmapNotify { clear_byte: Some(alive_at), event })
}
