//! The two pages that a context has from the beginning: control and asynchronous events.
//!
//! One granted page each, so that the kernel of either side can tell the other of its end (unmap
//! notification): of the control page by the control port, of the event page by the async port.

use crate::record::{numbers, record};
use crate::{PAGE_BYTES, REPLY_BYTES, REQUEST_BYTES, Record};

/// Requests that may be under way at once: a power of two.
pub const REQUEST_SLOTS: u32 = 8;
/// Replies that a guest may leave unread: as many as requests.
pub const REPLY_SLOTS: u32 = REQUEST_SLOTS;
/// Events that a guest may leave unread.
pub const ASYNC_SLOTS: u32 = 128;

const REQUESTS_AT: usize = 0x100;
const REPLIES_AT: usize = REQUESTS_AT + REQUEST_SLOTS as usize * REQUEST_BYTES;
const EVENTS_AT: usize = 0x100;
const _: () = assert!(REPLIES_AT + REPLY_SLOTS as usize * REPLY_BYTES <= PAGE_BYTES);
const _: () = assert!(EVENTS_AT + ASYNC_SLOTS as usize * AsyncEvent::SIZE <= PAGE_BYTES);

numbers! {
    /// Values of [`ControlPage::status`].
    status {
        /// The backend has not looked yet.
        PENDING = 0,
        /// Requests may be made.
        ACCEPTED = 1,
        /// The backend does not speak this version; its own is in `backend_version`.
        BAD_VERSION = 3,
        /// The guest has as many contexts as it may have.
        TOO_MANY = 4,
        /// The device cannot be opened; the backend's log says why.
        NO_DEVICE = 5,
        /// A page or a port that the control page names cannot be had.
        BAD_REFERENCE = 6,
        /// The guest broke the protocol, or the device is being taken away: all objects are gone.
        CLOSED = 7,
    }
}

record! {
    /// The head of the control page. Requests follow at 0x100, replies behind them.
    ControlPage, 256, {
        /// Guest: [`MAGIC`](crate::MAGIC).
        0x00 magic: u32,
        /// Guest: the version it speaks.
        0x04 version: u32,
        /// Guest: its unbound port for requests, replies and rings of work, allocated for the backend.
        0x08 control_port: u32,
        /// Guest: its unbound port for asynchronous events.
        0x0c async_port: u32,
        /// Guest: grant reference of the event page.
        0x10 async_reference: u32,
        /// Guest: 1; its kernel clears it when the process ends (unmap notification, with an event on the control port).
        0x14 guest_alive: u8,
        /// Guest: requests made since the beginning.
        0x40 request_producer: u32,
        /// Backend: what became of the context, see `status`.
        0x80 status: u32,
        /// Backend: the version it speaks.
        0x84 backend_version: u32,
        /// Backend: 1; its kernel clears it when the backend ends (unmap notification, with an event on the control port).
        0x88 backend_alive: u8,
        /// Backend: replies made since the beginning.
        0x8c reply_producer: u32,
        /// Backend: 1 when it is about to sleep; who then produces work or a request sets it to 0 and sends an event on the control port.
        0xc0 backend_sleeps: u32,
    }
}

record! {
    /// The head of the event page. Events follow at 0x100.
    AsyncPage, 256, {
        /// Guest: events read since the beginning.
        0x00 consumer: u32,
        /// Backend: events written since the beginning.
        0x40 producer: u32,
        /// Backend: 1; its kernel clears it when the backend ends (unmap notification, with an event on the async port).
        0x44 backend_alive: u8,
    }
}

record! {
    /// An asynchronous event.
    AsyncEvent, 16, {
        /// `enum ibv_event_type`.
        0 event_type: u32,
        /// The QP or CQ it is about; 0 for the device or a port.
        4 handle: u32,
        /// The port it is about; 0 for an object or the device.
        8 port: u32,
    }
}

/// Where the request with this index lies in the control page.
#[must_use]
pub const fn request_offset(index: u32) -> usize {
    REQUESTS_AT + (index % REQUEST_SLOTS) as usize * REQUEST_BYTES
}

/// Where the reply with this index lies in the control page.
#[must_use]
pub const fn reply_offset(index: u32) -> usize {
    REPLIES_AT + (index % REPLY_SLOTS) as usize * REPLY_BYTES
}

/// Where the event with this index lies in the event page.
#[must_use]
pub const fn async_offset(index: u32) -> usize {
    EVENTS_AT + (index % ASYNC_SLOTS) as usize * AsyncEvent::SIZE
}
