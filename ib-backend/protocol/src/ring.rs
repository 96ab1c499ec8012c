//! Rings of work and completions: where their parts lie, and what their indices allow.
//!
//! Indices are counts since the beginning that wrap at 2^32, so a ring's slots are a power of two.
//! Only its owner writes an index; the other side copies it once and checks how far it is ahead.

use crate::record::record;
use crate::work::{Completion, Receive, SendWork, Sge};
use crate::{PAGE_BYTES, Record};

/// Slots that a ring may have at most, whatever the device offers.
pub const SLOTS_MAX: u32 = 1 << 16;
/// Scatter-gather entries or inline bytes that a slot may have room for at most.
const SGES_MAX: u32 = 256;
const INLINE_BYTES_MAX: u32 = 4096;
/// Slots of a send ring begin on lines of the cache.
const LINE: usize = 64;

record! {
    /// Head of a send or receive ring.
    WorkHeader, 128, {
        /// Guest: slots filled since the beginning.
        0x00 producer: u32,
        /// Backend: slots copied since the beginning; they may be filled again.
        0x40 consumer: u32,
    }
}

record! {
    /// Head of a completion ring.
    CompletionHeader, 128, {
        /// Guest: completions read since the beginning.
        0x00 consumer: u32,
        /// Guest: armed how often, times 4, with 1 for solicited completions and 2 for any.
        0x04 notify: u32,
        /// Backend: completions written since the beginning.
        0x40 producer: u32,
        /// Backend: the value of `notify` that it has sent an event for.
        0x44 fired: u32,
        /// Backend: 1; its kernel clears it when the backend ends or the queue goes (unmap notification, with an event on the channel's port).
        0x48 backend_alive: u8,
    }
}

/// A ring within its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Where its head lies.
    pub header: usize,
    /// Where its first slot lies.
    pub first: usize,
    /// Slots: a power of two, or 0 for a ring that is not there.
    pub slots: u32,
    /// Bytes from one slot to the next.
    pub stride: usize,
}

impl Ring {
    /// Where the slot with this index lies.
    #[must_use]
    pub const fn slot(&self, index: u32) -> usize {
        if self.slots == 0 {
            return self.first;
        }
        self.first + (index & (self.slots - 1)) as usize * self.stride
    }

    const fn end(&self) -> usize {
        self.first + self.slots as usize * self.stride
    }
}

/// What a guest asks of a QP's rings, in verbs' terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QpSize {
    /// Work requests that the send queue holds.
    pub send_wr: u32,
    /// Work requests that the receive queue holds; 0 for none.
    pub recv_wr: u32,
    /// Scatter-gather entries of a send.
    pub send_sge: u32,
    /// Scatter-gather entries of a receive.
    pub recv_sge: u32,
    /// Bytes of inline data of a send.
    pub inline_bytes: u32,
}

/// A QP's region: both heads, the send slots, the receive slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QpLayout {
    /// The send ring.
    pub send: Ring,
    /// The receive ring.
    pub recv: Ring,
    /// Pages of the region.
    pub pages: usize,
}

impl QpLayout {
    /// The region of a QP of this size; `None` when a number is beyond what the protocol allows.
    #[must_use]
    pub const fn new(size: QpSize) -> Option<Self> {
        let (Some(send_slots), Some(recv_slots)) = (slots(size.send_wr), slots(size.recv_wr))
        else {
            return None;
        };
        if size.send_sge > SGES_MAX
            || size.recv_sge > SGES_MAX
            || size.inline_bytes > INLINE_BYTES_MAX
        {
            return None;
        }
        let entries = size.send_sge as usize * Sge::SIZE;
        let inline = size.inline_bytes as usize;
        let payload = if entries > inline { entries } else { inline };
        let send = Ring {
            header: 0,
            first: 2 * WorkHeader::SIZE,
            slots: send_slots,
            stride: (SendWork::SIZE + payload).next_multiple_of(LINE),
        };
        let recv = Ring {
            header: WorkHeader::SIZE,
            first: send.end(),
            slots: recv_slots,
            stride: Receive::SIZE + size.recv_sge as usize * Sge::SIZE,
        };
        Some(Self { send, recv, pages: recv.end().div_ceil(PAGE_BYTES) })
    }
}

/// Completions that a guest's CQ holds.
pub type CqSize = u32;

/// A CQ's region: its head and its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CqLayout {
    /// The completion ring.
    pub ring: Ring,
    /// Pages of the region.
    pub pages: usize,
}

impl CqLayout {
    /// The region of a CQ for at least `entries` completions; `None` for none or too many.
    #[must_use]
    pub const fn new(entries: CqSize) -> Option<Self> {
        match slots(entries) {
            None | Some(0) => None,
            Some(slots) => {
                let first = CompletionHeader::SIZE;
                let ring = Ring { header: 0, first, slots, stride: Completion::SIZE };
                Some(Self { ring, pages: ring.end().div_ceil(PAGE_BYTES) })
            }
        }
    }
}

const fn slots(entries: u32) -> Option<u32> {
    match entries {
        0 => Some(0),
        1..=SLOTS_MAX => Some(entries.next_power_of_two()),
        _ => None,
    }
}

/// An index of the other side that cannot be: it is further ahead than the ring has slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingFault {
    /// Slots that it claims.
    pub claimed: u32,
    /// Slots that there are.
    pub slots: u32,
}

/// How many slots lie between `consumer` and `producer`.
///
/// # Errors
/// [`RingFault`] when there are more than the ring has.
#[inline]
pub const fn available(producer: u32, consumer: u32, slots: u32) -> Result<u32, RingFault> {
    let claimed = producer.wrapping_sub(consumer);
    if claimed > slots { Err(RingFault { claimed, slots }) } else { Ok(claimed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions() {
        let size = QpSize { send_wr: 5, recv_wr: 500, send_sge: 1, recv_sge: 1, inline_bytes: 0 };
        let layout = QpLayout::new(size).unwrap();
        assert_eq!(layout.send, Ring { header: 0, first: 256, slots: 8, stride: 128 });
        assert_eq!(layout.recv, Ring { header: 128, first: 1280, slots: 512, stride: 32 });
        assert_eq!(layout.pages, 5, "17664 bytes");
        assert_eq!(layout.send.slot(9), layout.send.slot(1));
        let none = QpLayout::new(QpSize { recv_wr: 0, ..size }).unwrap();
        assert_eq!((none.recv.slots, none.recv.slot(7)), (0, 1280));
        assert_eq!(QpLayout::new(QpSize { send_wr: SLOTS_MAX + 1, ..size }), None);
        assert_eq!(QpLayout::new(QpSize { send_sge: 257, ..size }), None);
        assert_eq!(QpLayout::new(QpSize { inline_bytes: 4097, ..size }), None);
        let cq = CqLayout::new(63).unwrap();
        assert_eq!((cq.ring.slots, cq.pages), (64, 2));
        assert_eq!(CqLayout::new(0), None);
        assert_eq!(CqLayout::new(u32::MAX), None);
    }

    #[test]
    fn indices_wrap_and_are_checked() {
        assert_eq!(available(3, u32::MAX, 8), Ok(4));
        assert_eq!(available(8, 0, 8), Ok(8));
        assert_eq!(available(9, 0, 8), Err(RingFault { claimed: 9, slots: 8 }));
        assert_eq!(available(0, 1, 8), Err(RingFault { claimed: u32::MAX, slots: 8 }), "went back");
    }
}
