//! Requests carried out: objects made, changed, destroyed.
//!
//! A request that fails changes nothing. What is taken of a quota is given back with the object.

use std::rc::Rc;

use ib_protocol::{
    CreateCq, CreateQp, DeviceAttributes, GidReply, MrReply, PkeyReply, PortAttributes,
    QpAttributes, QpReply, REPLY_BYTES, RegMr, ReplyHeader, Request, UnknownRequest, reply,
};
use libxc_safe::{Errno, GrantMapping, Port};

use super::pages::announce;
use super::queues::{CQ_ALIVE, GuestCq, GuestQp, RESET};
use super::{GuestChannel, PDS_MAX, Served};
use crate::check::{self, Tables, mask};
use crate::policy::Gid;
use crate::region;
use crate::usage::Resource;
use crate::verbs::{Context, Cq, Mr, Pd, Qp};

/// What is answered.
pub(super) enum Answer {
    Failed(Errno),
    Done,
    Handle(u32),
    Device(DeviceAttributes),
    Port(PortAttributes),
    Gid(GidReply),
    Pkey(PkeyReply),
    Qp(u32, QpReply),
    QpAttributes(QpAttributes),
    Mr(u32, MrReply),
}

impl Answer {
    pub(super) fn encode(&self, id: u32) -> [u8; REPLY_BYTES] {
        let head = |handle| ReplyHeader { id, errno: 0, handle };
        match self {
            Self::Failed(errno) => {
                let errno = errno.raw_os_error().cast_unsigned();
                reply::<PkeyReply>(ReplyHeader { id, errno, handle: 0 }, None)
            }
            Self::Done => reply::<PkeyReply>(head(0), None),
            Self::Handle(handle) => reply::<PkeyReply>(head(*handle), None),
            Self::Device(body) => reply(head(0), Some(body)),
            Self::Port(body) => reply(head(0), Some(body)),
            Self::Gid(body) => reply(head(0), Some(body)),
            Self::Pkey(body) => reply(head(0), Some(body)),
            Self::Qp(handle, body) => reply(head(*handle), Some(body)),
            Self::QpAttributes(body) => reply(head(0), Some(body)),
            Self::Mr(handle, body) => reply(head(*handle), Some(body)),
        }
    }
}

impl Tables for Context {
    fn gid(&self, port: u32, index: u32) -> Result<Gid, Errno> {
        self.query_gid(port, index).map(|reply| reply.gid)
    }

    fn pkey(&self, port: u32, index: u32) -> Result<u16, Errno> {
        self.query_pkey(port, index).map(u16::from_be)
    }
}

impl Served {
    /// Carries a request out.
    pub(super) fn answer(&mut self, request: Result<Request, UnknownRequest>) -> Answer {
        let answer = match request {
            Ok(request) => self.carry_out(request),
            Err(UnknownRequest(_)) => Err(Errno::OPNOTSUPP),
        };
        answer.unwrap_or_else(Answer::Failed)
    }

    fn carry_out(&mut self, request: Request) -> Result<Answer, Errno> {
        match request {
            Request::Close => {
                self.close();
                Ok(Answer::Done)
            }
            Request::QueryDevice => Ok(Answer::Device(self.attributes)),
            Request::QueryPort(port) => self.context.query_port(port).map(Answer::Port),
            Request::QueryGid(port, index) => self.query_gid(port, index),
            Request::QueryPkey(port, index) => self.query_pkey(port, index),
            Request::AllocPd => self.alloc_pd(),
            Request::DeallocPd(pd) => unused(self.pds.get(pd)).map(|()| done(self.pds.remove(pd))),
            Request::CreateChannel(port) => self.create_channel(port),
            Request::DestroyChannel(channel) => unused(self.guest_channels.get(channel))
                .map(|()| done(self.guest_channels.remove(channel))),
            Request::CreateCq(create) => self.create_cq(&create),
            Request::DestroyCq(cq) => {
                let found = self.cqs.get(cq).map(|cq| &cq.real);
                unused(found).map(|()| done(self.cqs.remove(cq)))
            }
            Request::CreateQp(pd, create) => self.create_qp(pd, &create),
            Request::ModifyQp(qp, attr_mask, attributes) => {
                self.modify_qp(qp, attr_mask, &attributes)
            }
            Request::QueryQp(qp, attr_mask) => self.query_qp(qp, attr_mask),
            Request::DestroyQp(qp) => {
                self.qps.remove(qp).map(|qp| done(Some(qp))).ok_or(Errno::INVAL)
            }
            Request::RegMr(pd, reg) => self.reg_mr(pd, &reg),
            Request::DeregMr(mr, keeps) => self.dereg_mr(mr, keeps),
            Request::UnmapPages(kept) => {
                self.kept.remove(kept).map(|kept| done(Some(kept))).ok_or(Errno::INVAL)
            }
        }
    }

    /// Everything goes now, so that the guest's pages are its own when it has the reply.
    fn close(&mut self) {
        use crate::handles::{Kind, Table};
        self.closing = true;
        drop(std::mem::replace(&mut self.qps, Table::new(Kind::Qp)));
        drop(std::mem::replace(&mut self.mrs, Table::new(Kind::Mr)));
        drop(std::mem::replace(&mut self.kept, Table::new(Kind::Kept)));
        drop(std::mem::replace(&mut self.cqs, Table::new(Kind::Cq)));
        drop(std::mem::replace(&mut self.guest_channels, Table::new(Kind::Channel)));
        drop(std::mem::replace(&mut self.pds, Table::new(Kind::Pd)));
    }

    /// A source that the guest may not use is an empty entry to it.
    fn query_gid(&self, port: u32, index: u32) -> Result<Answer, Errno> {
        let reply = self.context.query_gid(port, index)?;
        let is_allowed = self.policy.allows_source(index, &reply.gid);
        Ok(Answer::Gid(if is_allowed { reply } else { GidReply::default() }))
    }

    /// A partition that the guest may not use is the invalid one to it.
    fn query_pkey(&self, port: u32, index: u32) -> Result<Answer, Errno> {
        let pkey = self.context.query_pkey(port, index)?;
        let is_allowed = self.policy.allows_pkey(u16::from_be(pkey));
        Ok(Answer::Pkey(PkeyReply { pkey: if is_allowed { pkey } else { 0 } }))
    }

    fn alloc_pd(&mut self) -> Result<Answer, Errno> {
        if self.pds.len() >= PDS_MAX {
            return Err(Errno::DQUOT);
        }
        let pd = Pd::alloc(&self.context)?;
        self.pds.insert(pd).map(Answer::Handle).map_err(|_| Errno::DQUOT)
    }

    fn create_channel(&mut self, port: u32) -> Result<Answer, Errno> {
        let taken = self.take(Resource::Channels, 1)?;
        let channels = Rc::clone(&self.pages.channels);
        let port =
            channels.bind_interdomain(self.domid, Port(port)).map_err(|error| errno(&error))?;
        let channel = Rc::new(GuestChannel { channels, port, _taken: taken });
        self.guest_channels.insert(channel).map(Answer::Handle).map_err(|_| Errno::DQUOT)
    }

    fn create_cq(&mut self, create: &CreateCq) -> Result<Answer, Errno> {
        let layout = check::completion_queue(create, &self.attributes)?;
        let channel = match create.channel {
            ib_protocol::NO_HANDLE => None,
            handle => Some(Rc::clone(self.guest_channels.get(handle).ok_or(Errno::INVAL)?)),
        };
        let taken = [self.take(Resource::Cqs, 1)?, self.take(Resource::Pages, layout.pages)?];
        let handle = self.cqs.next().ok_or(Errno::DQUOT)?;
        let region = region::map(&self.grants, self.domid, create.directory, layout.pages)
            .map_err(|error| errno(&error))?;
        let port = channel.as_ref().map(|channel| channel.port);
        announce(&region, CQ_ALIVE, port).map_err(|error| errno(&error))?;
        // As large as the ring: that is what the guest may leave unread.
        let entries = layout.ring.slots.min(self.attributes.max_cqe);
        let real = Cq::create(&self.channel, entries, handle)?;
        let cq = GuestCq {
            real,
            region,
            ring: layout.ring,
            channel,
            producer: 0,
            consumer: 0,
            fired: 0,
            armed: false,
            _taken: taken,
        };
        self.cqs.insert(cq).map(Answer::Handle).map_err(|_| Errno::DQUOT)
    }

    fn create_qp(&mut self, pd: u32, create: &CreateQp) -> Result<Answer, Errno> {
        let (wanted, layout) = check::queue_pair(create, &self.attributes)?;
        let pd = self.pds.get(pd).ok_or(Errno::INVAL)?;
        let send_cq = &self.cqs.get(create.send_cq).ok_or(Errno::INVAL)?.real;
        let recv_cq = &self.cqs.get(create.recv_cq).ok_or(Errno::INVAL)?.real;
        let taken = [self.take(Resource::Qps, 1)?, self.take(Resource::Pages, layout.pages)?];
        let handle = self.qps.next().ok_or(Errno::DQUOT)?;
        let region = region::map(&self.grants, self.domid, create.directory, layout.pages)
            .map_err(|error| errno(&error))?;
        let real = Qp::create(pd, send_cq, recv_cq, &wanted, handle)?;
        let size = wanted.size;
        let body = QpReply {
            qp_num: real.number(),
            max_send_wr: size.send_wr,
            max_recv_wr: size.recv_wr,
            max_send_sge: size.send_sge,
            max_recv_sge: size.recv_sge,
            max_inline_data: size.inline_bytes,
        };
        let qp = GuestQp {
            real,
            region,
            layout,
            size,
            send_cq: create.send_cq,
            recv_cq: create.recv_cq,
            send_consumer: 0,
            recv_consumer: 0,
            state: RESET,
            port: 1,
            waits: false,
            _taken: taken,
        };
        let handle = self.qps.insert(qp).map_err(|_| Errno::DQUOT)?;
        Ok(Answer::Qp(handle, body))
    }

    fn modify_qp(
        &mut self,
        qp: u32,
        attr_mask: u32,
        attributes: &QpAttributes,
    ) -> Result<Answer, Errno> {
        let qp = self.qps.get_mut(qp).ok_or(Errno::INVAL)?;
        check::change(attr_mask, attributes, qp.port, &self.policy, &*self.context)?;
        qp.real.modify(attr_mask, attributes)?;
        if attr_mask & mask::PORT != 0 {
            qp.port = attributes.port_num;
        }
        if attr_mask & mask::STATE != 0 {
            qp.state = attributes.qp_state;
            if qp.state == RESET {
                qp.reset().map_err(|error| errno(&error))?;
            }
        }
        Ok(Answer::Done)
    }

    fn query_qp(&self, qp: u32, attr_mask: u32) -> Result<Answer, Errno> {
        let qp = self.qps.get(qp).ok_or(Errno::INVAL)?;
        let mut attributes = qp.real.query(attr_mask)?;
        // The guest's rings, which it asked for, not the device's queues, which may be larger.
        attributes.max_send_wr = qp.size.send_wr;
        attributes.max_recv_wr = qp.size.recv_wr;
        attributes.max_send_sge = qp.size.send_sge;
        attributes.max_recv_sge = qp.size.recv_sge;
        attributes.max_inline_data = qp.size.inline_bytes;
        Ok(Answer::QpAttributes(attributes))
    }

    fn reg_mr(&mut self, pd: u32, reg: &RegMr) -> Result<Answer, Errno> {
        let plan = check::region(reg)?;
        let pd = self.pds.get(pd).ok_or(Errno::INVAL)?;
        let pages = plan.pages as usize;
        let one = self.take(Resource::Mrs, 1)?;
        let (mapping, taken) = match reg.kept {
            ib_protocol::NO_HANDLE => {
                let taken = self.take(Resource::Pages, pages)?;
                let mapping = region::map(&self.grants, self.domid, reg.directory, pages)
                    .map_err(|error| errno(&error))?;
                (mapping, taken)
            }
            kept => {
                let place = self.kept.get_mut(kept).ok_or(Errno::INVAL)?;
                let fits = |(mapping, _): &mut (GrantMapping, _)| {
                    mapping.len() == pages * ib_protocol::PAGE_BYTES
                };
                place.take_if(fits).ok_or(Errno::INVAL)?
            }
        };
        let taken = [one, taken];
        match Mr::register(pd, mapping, plan.offset, plan.len, plan.iova, plan.access, taken) {
            Ok(mr) => {
                // A handle of what a region has now names nothing.
                drop(self.kept.remove(reg.kept));
                let (lkey, rkey) = mr.keys();
                let handle = self.mrs.insert(mr).map_err(|_| Errno::DQUOT)?;
                Ok(Answer::Mr(handle, MrReply { lkey, rkey }))
            }
            Err((errno, mapping, [_, taken])) => {
                match self.kept.get_mut(reg.kept) {
                    Some(place) => *place = Some((mapping, taken)),
                    // Unmapped before they count no more.
                    None => drop((mapping, taken)),
                }
                Err(errno)
            }
        }
    }

    /// Pages that stay mapped count as before; where there are as many kept as there may be regions they do
    /// not stay. A device that does not let go is told of, once: its handle is gone.
    fn dereg_mr(&mut self, mr: u32, keeps: bool) -> Result<Answer, Errno> {
        let mr = self.mrs.remove(mr).ok_or(Errno::INVAL)?;
        let (mapping, [_, taken]) = mr.deregister()?;
        if !keeps || self.kept.len() >= self.usage.limits().mrs as usize {
            drop((mapping, taken));
            return Ok(Answer::Done);
        }
        let kept = self.kept.insert(Some((mapping, taken)));
        Ok(kept.map_or(Answer::Done, Answer::Handle))
    }
}

/// Whether nothing is made of this object.
fn unused<T>(object: Option<&Rc<T>>) -> Result<(), Errno> {
    match object {
        None => Err(Errno::INVAL),
        Some(object) if Rc::strong_count(object) > 1 => Err(Errno::BUSY),
        Some(_) => Ok(()),
    }
}

/// Destroys an object that was taken out.
fn done<T>(object: Option<T>) -> Answer {
    drop(object);
    Answer::Done
}

fn errno(error: &libxc_safe::Error) -> Errno {
    error.errno().unwrap_or(Errno::INVAL)
}
