//! Posting work: many requests with one call of the device.
//!
//! A batch owns everything that the device reads while it is posted: the requests, their entries, and
//! inline data. Addresses of entries are the guest's own; only inline data lies here.

use std::ptr;

use ib_protocol::{Receive, SendWork, Sge, opcode};
use libxc_safe::Errno;

use super::done;
use super::ffi::{Plain, ibv_recv_wr, ibv_send_wr, ibv_sge};
use super::objects::Qp;

/// `IBV_SEND_INLINE`.
const INLINE: u32 = 8;

/// What a send carries.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Entries: the guest's memory, by its keys.
    Entries(&'a [Sge]),
    /// The bytes themselves.
    Inline(&'a [u8]),
}

/// Posting stopped at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Requests before it, which were posted.
    pub posted: usize,
    /// Why: ENOMEM when the device's queue has no room.
    pub errno: Errno,
}

/// Where a request's entries begin.
#[derive(Clone, Copy, Debug)]
enum Start {
    Entries(usize),
    Inline(usize),
}

/// Sends to be posted together.
#[derive(Default)]
pub struct SendBatch {
    requests: Vec<ibv_send_wr>,
    starts: Vec<Start>,
    entries: Vec<ibv_sge>,
    inline: Vec<u8>,
}

impl std::fmt::Debug for SendBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendBatch").field("requests", &self.requests.len()).finish_non_exhaustive()
    }
}

impl SendBatch {
    /// How many requests it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Forgets its requests.
    pub fn clear(&mut self) {
        self.requests.clear();
        self.starts.clear();
        self.entries.clear();
        self.inline.clear();
    }

    /// The `wr_id` of a request.
    #[must_use]
    pub fn wr_id(&self, index: usize) -> Option<u64> {
        self.requests.get(index).map(|request| request.wr_id)
    }

    /// Adds a request. Whether it is inline is what `payload` says, whatever the flags are: with that
    /// flag the device would take an address for one of this program.
    pub fn push(&mut self, work: &SendWork, payload: Payload<'_>) {
        let mut request = ibv_send_wr::zeroed();
        request.wr_id = work.wr_id;
        request.opcode = work.opcode;
        request.send_flags = work.send_flags & !INLINE;
        request.imm_data = work.imm_data;
        request.remote_addr = work.remote_addr;
        if matches!(work.opcode, opcode::ATOMIC_CMP_AND_SWP | opcode::ATOMIC_FETCH_AND_ADD) {
            request.compare_add = work.compare_add;
            request.swap = work.swap;
            request.atomic_rkey = work.rkey;
        } else {
            request.compare_add = u64::from(work.rkey);
        }
        match payload {
            Payload::Entries(entries) => {
                self.starts.push(Start::Entries(self.entries.len()));
                self.entries.extend(entries.iter().map(entry));
                request.num_sge = entries.len() as i32;
            }
            Payload::Inline(bytes) => {
                self.starts.push(Start::Inline(self.inline.len()));
                self.inline.extend_from_slice(bytes);
                // One entry, whose address is filled in when the bytes lie still.
                let length = bytes.len() as u32;
                self.entries.push(ibv_sge { addr: 0, length, lkey: 0 });
                request.num_sge = 1;
                request.send_flags |= INLINE;
            }
        }
        self.requests.push(request);
    }

    /// Posts all requests.
    ///
    /// # Errors
    /// How many were posted before one that was not, and why.
    pub fn post(&mut self, qp: &Qp) -> Result<(), Stopped> {
        if self.requests.is_empty() {
            return Ok(());
        }
        let entries = self.entries.as_mut_ptr();
        let mut next_entry = 0;
        for (request, start) in self.requests.iter_mut().zip(&self.starts) {
            let first = match *start {
                Start::Entries(first) => first,
                Start::Inline(at) => {
                    let bytes = self.inline.as_ptr().wrapping_add(at);
                    // SAFETY: one entry was pushed for this request at this place.
                    unsafe { (*entries.add(next_entry)).addr = bytes.expose_provenance() as u64 };
                    next_entry
                }
            };
            next_entry = first + request.num_sge as usize;
            // SAFETY: `first` is at most the number of entries.
            request.sg_list = unsafe { entries.add(first) };
        }
        let first = self.requests.as_mut_ptr();
        let count = self.requests.len();
        let mut bad = ptr::null_mut();
        // SAFETY: each request is linked to the one behind it in the vector, the last to nothing; all
        // are read until the call returns, and nothing is kept of them: inline data is copied,
        // and other entries hold addresses of the guest's regions, which the device checks by key.
        // The context is open, so its table is filled in.
        let posted = unsafe {
            for index in 0..count - 1 {
                (*first.add(index)).next = first.add(index + 1);
            }
            match (*qp.context().raw()).ops.post_send {
                Some(post) => done(post(qp.raw(), first, &raw mut bad)),
                None => Err(Errno::NOSYS),
            }
        };
        posted.map_err(|errno| Stopped { posted: place(first, bad, count), errno })
    }
}

/// Receives to be posted together.
#[derive(Default)]
pub struct ReceiveBatch {
    requests: Vec<ibv_recv_wr>,
    starts: Vec<usize>,
    entries: Vec<ibv_sge>,
}

impl std::fmt::Debug for ReceiveBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveBatch")
            .field("requests", &self.requests.len())
            .finish_non_exhaustive()
    }
}

impl ReceiveBatch {
    /// How many requests it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Forgets its requests.
    pub fn clear(&mut self) {
        self.requests.clear();
        self.starts.clear();
        self.entries.clear();
    }

    /// The `wr_id` of a request.
    #[must_use]
    pub fn wr_id(&self, index: usize) -> Option<u64> {
        self.requests.get(index).map(|request| request.wr_id)
    }

    /// Adds a request.
    pub fn push(&mut self, work: &Receive, entries: &[Sge]) {
        self.starts.push(self.entries.len());
        self.entries.extend(entries.iter().map(entry));
        self.requests.push(ibv_recv_wr {
            wr_id: work.wr_id,
            next: ptr::null_mut(),
            sg_list: ptr::null_mut(),
            num_sge: entries.len() as i32,
        });
    }

    /// Posts all requests.
    ///
    /// # Errors
    /// How many were posted before one that was not, and why.
    pub fn post(&mut self, qp: &Qp) -> Result<(), Stopped> {
        if self.requests.is_empty() {
            return Ok(());
        }
        let entries = self.entries.as_mut_ptr();
        for (request, start) in self.requests.iter_mut().zip(&self.starts) {
            // SAFETY: `start` is at most the number of entries.
            request.sg_list = unsafe { entries.add(*start) };
        }
        let first = self.requests.as_mut_ptr();
        let count = self.requests.len();
        let mut bad = ptr::null_mut();
        // SAFETY: as in `SendBatch::post`.
        let posted = unsafe {
            for index in 0..count - 1 {
                (*first.add(index)).next = first.add(index + 1);
            }
            match (*qp.context().raw()).ops.post_recv {
                Some(post) => done(post(qp.raw(), first, &raw mut bad)),
                None => Err(Errno::NOSYS),
            }
        };
        posted.map_err(|errno| Stopped { posted: place(first, bad, count), errno })
    }
}

fn entry(sge: &Sge) -> ibv_sge {
    ibv_sge { addr: sge.addr, length: sge.length, lkey: sge.lkey }
}

/// Which of the requests the device names as the one that it did not take; the first if it names none.
fn place<T>(first: *mut T, bad: *mut T, count: usize) -> usize {
    let bytes = bad.addr().wrapping_sub(first.addr());
    let index = bytes / size_of::<T>();
    if bad.is_null() || index >= count { 0 } else { index }
}
