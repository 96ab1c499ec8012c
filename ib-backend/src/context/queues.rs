//! Rings of work and completions: what moves without a request.
//!
//! Work is copied out of its slot, checked, and posted in batches; a slot is the guest's again once it is
//! copied. A guest's index that cannot be ends the context.

use std::rc::Rc;
use std::sync::atomic::{Ordering, fence};

use ib_protocol::{
    Arm, Completion, QpLayout, QpSize, Receive, Record, Ring, SendWork, Sge, available,
};
use libxc_safe::{Errno, EventChannels, GrantMapping};

use super::GuestChannel;
use super::pages::Fault;
use crate::error::Error;
use crate::handles::Table;
use crate::usage::{Taken, Usage};
use crate::verbs::{Context, Cq, Payload, Qp, ReceiveBatch, SendBatch, Stopped};
use crate::work::{self, BAD_OPERATION, Follows};

/// Work requests posted with one call of the device.
const BATCH: u32 = 32;
/// Batches that the largest ring holds.
pub(super) const BATCHES_MAX: u32 = ib_protocol::SLOTS_MAX / BATCH;
/// Completions of one queue passed on before others have their turn.
const DELIVER_MAX: usize = 64;
/// `IBV_QPS_RESET`.
pub(super) const RESET: u32 = 0;
/// `IBV_QPS_RTS`: from here on sends may be posted.
const READY_TO_SEND: u32 = 3;
/// `IBV_WC_RECV`, a bit of every opcode of a receive.
const RECEIVED: u32 = 1 << 7;

// Where the indices lie; `tests` compare them with the records.
const PRODUCER: usize = 0;
const CONSUMER: usize = 0x40;
const CQ_CONSUMER: usize = 0;
const CQ_NOTIFY: usize = 4;
const CQ_PRODUCER: usize = 0x40;
const CQ_FIRED: usize = 0x44;
/// Where a completion queue says that the backend lives.
pub(super) const CQ_ALIVE: usize = 0x48;

/// Buffers that all queues of a context use, one after the other.
#[derive(Default)]
pub(super) struct Scratch {
    sends: SendBatch,
    receives: ReceiveBatch,
    /// Bytes of each request of the batch.
    lengths: Vec<u64>,
    entries: Vec<Sge>,
    payload: Vec<u8>,
}

impl Scratch {
    /// Copies `len` bytes of a region.
    fn copy(&mut self, region: &GrantMapping, offset: usize, len: usize) -> Result<(), Fault> {
        self.payload.resize(len, 0);
        Ok(region.read(offset, &mut self.payload)?)
    }

    /// Copies entries of a region.
    fn copy_entries(
        &mut self,
        region: &GrantMapping,
        offset: usize,
        count: usize,
    ) -> Result<(), Fault> {
        self.copy(region, offset, count * Sge::SIZE)?;
        self.entries.clear();
        self.entries.extend(self.payload.chunks_exact(Sge::SIZE).map(Sge::decode));
        Ok(())
    }
}

/// A completion queue.
pub(super) struct GuestCq {
    pub(super) real: Rc<Cq>,
    pub(super) region: GrantMapping,
    pub(super) ring: Ring,
    pub(super) channel: Option<Rc<GuestChannel>>,
    pub(super) producer: u32,
    pub(super) consumer: u32,
    pub(super) fired: u32,
    /// Whether the device will tell of the next completion.
    pub(super) armed: bool,
    pub(super) _taken: [Taken; 2],
}

impl GuestCq {
    /// Completions that the guest has room for.
    fn room(&mut self) -> Result<u32, Fault> {
        let known = self.producer.wrapping_sub(self.consumer);
        if self.ring.slots - known < DELIVER_MAX as u32 {
            let consumer = self.region.load_u32(CQ_CONSUMER)?;
            available(self.producer, consumer, self.ring.slots)
                .map_err(|fault| Fault::Ring("completion", fault))?;
            self.consumer = consumer;
        }
        Ok(self.ring.slots - self.producer.wrapping_sub(self.consumer))
    }

    fn put(&mut self, completion: &Completion) -> Result<(), Fault> {
        let mut slot = [0; Completion::SIZE];
        completion.encode(&mut slot);
        self.region.write(self.ring.slot(self.producer), &slot)?;
        self.producer = self.producer.wrapping_add(1);
        Ok(())
    }

    /// Shows what was put, and tells the channel if the guest wants to be told.
    fn publish(&mut self, channels: &EventChannels) -> Result<(), Fault> {
        self.region.store_u32(CQ_PRODUCER, self.producer)?;
        let Some(channel) = &self.channel else { return Ok(()) };
        fence(Ordering::SeqCst);
        let notify = self.region.load_u32(CQ_NOTIFY)?;
        // The device does not say which completions are solicited: a guest that waits for those alone
        // is told of others, too.
        if Arm::of(notify, self.fired) != Arm::Nothing {
            self.fired = notify;
            self.region.store_u32(CQ_FIRED, notify)?;
            channels.notify(channel.port)?;
        }
        Ok(())
    }

    /// Passes completions of the device on, as far as the guest has room.
    pub(super) fn deliver(
        &mut self,
        channels: &EventChannels,
        usage: &Usage,
    ) -> Result<bool, Fault> {
        let mut completions = [Completion::default(); 16];
        let (mut delivered, mut received) = (0, 0);
        while delivered < DELIVER_MAX {
            let room = self.room()? as usize;
            if room == 0 {
                break;
            }
            let wanted = room.min(completions.len());
            let got = self.real.poll(&mut completions, wanted).unwrap_or_else(|errno| {
                tracing::error!("a completion queue cannot be polled: {errno}");
                0
            });
            for completion in completions.iter().take(got) {
                if completion.opcode & RECEIVED != 0 && completion.status == 0 {
                    received += u64::from(completion.byte_len);
                    usage.count(1, 0);
                }
                self.put(completion)?;
            }
            delivered += got;
            if got < wanted {
                break;
            }
        }
        if delivered > 0 {
            usage.count(0, received);
            self.publish(channels)?;
        }
        Ok(delivered > 0)
    }

    /// Completes a request that could not be posted; `false` when the guest has no room for that.
    fn fail(
        &mut self,
        channels: &EventChannels,
        wr_id: u64,
        qp_num: u32,
        status: u32,
    ) -> Result<bool, Fault> {
        if self.room()? == 0 {
            return Ok(false);
        }
        self.put(&Completion { wr_id, status, qp_num, ..Completion::default() })?;
        self.publish(channels)?;
        Ok(true)
    }

    /// Lets the device tell of the next completion.
    pub(super) fn arm(&mut self, context: &Context) -> Result<(), Error> {
        if !self.armed {
            self.real.arm().map_err(|errno| context.failed("ibv_req_notify_cq", errno))?;
            self.armed = true;
        }
        Ok(())
    }

    /// The device has told.
    pub(super) fn disarmed(&mut self) {
        self.armed = false;
    }
}

/// A queue pair.
pub(super) struct GuestQp {
    pub(super) real: Qp,
    pub(super) region: GrantMapping,
    pub(super) layout: QpLayout,
    pub(super) size: QpSize,
    pub(super) send_cq: u32,
    pub(super) recv_cq: u32,
    pub(super) send_consumer: u32,
    pub(super) recv_consumer: u32,
    /// `enum ibv_qp_state`, as the guest set it last.
    pub(super) state: u32,
    pub(super) port: u8,
    /// Work waits for room at the device.
    pub(super) waits: bool,
    pub(super) _taken: [Taken; 2],
}

impl GuestQp {
    /// Slots of a ring that were filled, at most a batch.
    fn filled(&self, ring: &Ring, consumer: u32, name: &'static str) -> Result<u32, Fault> {
        if ring.slots == 0 {
            return Ok(0);
        }
        let producer = self.region.load_u32(ring.header + PRODUCER)?;
        let filled =
            available(producer, consumer, ring.slots).map_err(|fault| Fault::Ring(name, fault))?;
        Ok(filled.min(BATCH))
    }

    /// Posts receives.
    pub(super) fn drain_receives(
        &mut self,
        cqs: &mut Table<GuestCq>,
        scratch: &mut Scratch,
        channels: &EventChannels,
    ) -> Result<bool, Fault> {
        // The device takes none in this state; the guest may fill the ring before it leaves it.
        if self.state == RESET {
            return Ok(false);
        }
        let ring = self.layout.recv;
        let filled = self.filled(&ring, self.recv_consumer, "receive")?;
        if filled == 0 {
            return Ok(false);
        }
        scratch.receives.clear();
        let mut refused = None;
        for index in 0..filled {
            let at = ring.slot(self.recv_consumer.wrapping_add(index));
            let mut head = [0; Receive::SIZE];
            self.region.read(at, &mut head)?;
            let work = Receive::decode(&head);
            match work::receive(&work, &self.size) {
                Ok(count) => {
                    scratch.copy_entries(&self.region, at + Receive::SIZE, count)?;
                    scratch.receives.push(&work, &scratch.entries);
                }
                Err(status) => {
                    refused = Some((work.wr_id, status));
                    break;
                }
            }
        }
        let posted = scratch.receives.post(&self.real);
        let (mut taken, failed) =
            outcome(posted, scratch.receives.len(), refused, |index| scratch.receives.wr_id(index));
        if let Some((wr_id, status)) = failed
            && let Some(cq) = cqs.get_mut(self.recv_cq)
            && cq.fail(channels, wr_id, self.real.number(), status)?
        {
            taken += 1;
        }
        self.recv_consumer = self.recv_consumer.wrapping_add(taken);
        self.region.store_u32(ring.header + CONSUMER, self.recv_consumer)?;
        Ok(taken > 0)
    }

    /// Posts sends.
    pub(super) fn drain_sends(
        &mut self,
        cqs: &mut Table<GuestCq>,
        scratch: &mut Scratch,
        channels: &EventChannels,
        usage: &Usage,
    ) -> Result<bool, Fault> {
        let ring = self.layout.send;
        let filled = self.filled(&ring, self.send_consumer, "send")?;
        if filled == 0 {
            self.waits = false;
            return Ok(false);
        }
        scratch.sends.clear();
        scratch.lengths.clear();
        let mut refused = None;
        for index in 0..filled {
            let at = ring.slot(self.send_consumer.wrapping_add(index));
            if let Some(found) = self.copy_send(at, scratch)? {
                refused = Some(found);
                break;
            }
        }
        let posted = scratch.sends.post(&self.real);
        let (mut taken, failed) =
            outcome(posted, scratch.sends.len(), refused, |index| scratch.sends.wr_id(index));
        usage.count(u64::from(taken), scratch.lengths.iter().take(taken as usize).sum());
        if let Some((wr_id, status)) = failed
            && let Some(cq) = cqs.get_mut(self.send_cq)
            && cq.fail(channels, wr_id, self.real.number(), status)?
        {
            taken += 1;
        }
        self.waits = taken < filled;
        self.send_consumer = self.send_consumer.wrapping_add(taken);
        self.region.store_u32(ring.header + CONSUMER, self.send_consumer)?;
        Ok(taken > 0)
    }

    /// Adds the send at an offset to the batch; or gives its id and the status of its refusal.
    fn copy_send(&self, at: usize, scratch: &mut Scratch) -> Result<Option<(u64, u32)>, Fault> {
        let mut head = [0; SendWork::SIZE];
        self.region.read(at, &mut head)?;
        let work = SendWork::decode(&head);
        // Not every device says so at once, and one that does not would do it later.
        if self.state < READY_TO_SEND {
            return Ok(Some((work.wr_id, BAD_OPERATION)));
        }
        let behind = at + SendWork::SIZE;
        match work::send(&work, &self.size) {
            Ok(Follows::Entries(count)) => {
                scratch.copy_entries(&self.region, behind, count)?;
                let lengths = scratch.entries.iter().map(|entry| u64::from(entry.length));
                scratch.lengths.push(lengths.sum());
                scratch.sends.push(&work, Payload::Entries(&scratch.entries));
            }
            Ok(Follows::Inline(count)) => {
                scratch.copy(&self.region, behind, count)?;
                scratch.lengths.push(count as u64);
                scratch.sends.push(&work, Payload::Inline(&scratch.payload));
            }
            Err(status) => return Ok(Some((work.wr_id, status))),
        }
        Ok(None)
    }

    /// Forgets what is in the rings: the queue pair was reset.
    pub(super) fn reset(&mut self) -> Result<(), libxc_safe::Error> {
        for (ring, consumer) in [
            (self.layout.send, &mut self.send_consumer),
            (self.layout.recv, &mut self.recv_consumer),
        ] {
            if ring.slots > 0 {
                *consumer = self.region.load_u32(ring.header + PRODUCER)?;
                self.region.store_u32(ring.header + CONSUMER, *consumer)?;
            }
        }
        Ok(())
    }
}

/// How many requests of a batch were taken, and which one completes with a failure.
fn outcome(
    posted: Result<(), Stopped>,
    count: usize,
    refused: Option<(u64, u32)>,
    wr_id: impl Fn(usize) -> Option<u64>,
) -> (u32, Option<(u64, u32)>) {
    match posted {
        Ok(()) => (count as u32, refused),
        // No room at the device: what is left waits in the ring.
        Err(Stopped { posted, errno: Errno::NOMEM }) => (posted as u32, None),
        Err(Stopped { posted, errno: _ }) => {
            (posted as u32, wr_id(posted).map(|id| (id, BAD_OPERATION)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ib_protocol::{CompletionHeader, FieldLayout, WorkHeader};

    #[test]
    fn indices_lie_where_the_records_say() {
        let check = |fields: &[FieldLayout], name: &str, offset: usize| {
            let field = fields.iter().find(|field| field.name == name).unwrap();
            assert_eq!(field.offset, offset, "{name}");
        };
        check(WorkHeader::FIELDS, "producer", PRODUCER);
        check(WorkHeader::FIELDS, "consumer", CONSUMER);
        check(CompletionHeader::FIELDS, "consumer", CQ_CONSUMER);
        check(CompletionHeader::FIELDS, "notify", CQ_NOTIFY);
        check(CompletionHeader::FIELDS, "producer", CQ_PRODUCER);
        check(CompletionHeader::FIELDS, "fired", CQ_FIRED);
        check(CompletionHeader::FIELDS, "backend_alive", CQ_ALIVE);
    }

    #[test]
    fn batches_stop_where_the_device_stops() {
        let id = |index: usize| Some(100 + index as u64);
        let refused = Some((9, 1));
        assert_eq!(outcome(Ok(()), 4, None, id), (4, None));
        assert_eq!(outcome(Ok(()), 4, refused, id), (4, refused));
        let stopped = |errno| Err(Stopped { posted: 2, errno });
        assert_eq!(outcome(stopped(Errno::NOMEM), 4, refused, id), (2, None));
        assert_eq!(outcome(stopped(Errno::INVAL), 4, refused, id), (2, Some((102, 2))));
    }
}
