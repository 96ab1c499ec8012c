//! Requests: whether they make sense, and what they come to. Pure: nothing is asked of the device.
//!
//! In: a request that was copied, what the device can do, the guest's policy. Out: a plan, or the errno
//! that the guest is told. Handles and quotas are looked at where the objects are.

use ib_protocol::{
    CqLayout, CreateCq, CreateQp, DeviceAttributes, PAGE_BYTES, QpAttributes, QpLayout, RegMr,
};
use libxc_safe::Errno;

use crate::limits::Limits;
use crate::policy::{Gid, Policy};
use crate::verbs::QpWanted;

/// `enum ibv_access_flags` that guests may use: local write, remote write, read, atomic.
const ACCESS: u32 = 0xf;
/// `IBV_ACCESS_RELAXED_ORDERING`: a hint, which is passed over.
const RELAXED_ORDERING: u32 = 1 << 20;

/// `enum ibv_qp_type` of reliable and unreliable connections.
const CONNECTED: [u32; 2] = [2, 3];

/// `enum ibv_qp_attr_mask`.
pub mod mask {
    /// The state.
    pub const STATE: u32 = 1;
    /// What the remote side may do.
    pub const ACCESS_FLAGS: u32 = 1 << 3;
    /// Index of the P_Key.
    pub const PKEY_INDEX: u32 = 1 << 4;
    /// The port.
    pub const PORT: u32 = 1 << 5;
    /// The path.
    pub const PATH: u32 = 1 << 7;
    /// The alternate path.
    pub const ALTERNATE_PATH: u32 = 1 << 14;
    /// The size of the queues.
    pub const CAPACITY: u32 = 1 << 19;
    /// All that a guest may change.
    pub const ALLOWED: u32 = (((1 << 21) - 1) | (1 << 25)) & !ALTERNATE_PATH & !CAPACITY;
}

/// A region to be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionPlan {
    /// Pages that it lies in.
    pub pages: u32,
    /// Where it begins in the first.
    pub offset: usize,
    /// Its bytes.
    pub len: usize,
    /// The guest's address.
    pub iova: u64,
    /// `enum ibv_access_flags`.
    pub access: u32,
}

/// Whether a region makes sense.
///
/// # Errors
/// EINVAL; EOPNOTSUPP for kinds of access that are not offered.
pub fn region(reg: &RegMr) -> Result<RegionPlan, Errno> {
    let access = reg.access & !RELAXED_ORDERING;
    if access & !ACCESS != 0 {
        return Err(Errno::OPNOTSUPP);
    }
    let len = usize::try_from(reg.length).map_err(|_| Errno::INVAL)?;
    let offset = (reg.iova % PAGE_BYTES as u64) as usize;
    let end = offset.checked_add(len).ok_or(Errno::INVAL)?;
    let fits = end.div_ceil(PAGE_BYTES) == reg.pages as usize;
    if len == 0 || !fits || reg.iova.checked_add(reg.length).is_none() {
        return Err(Errno::INVAL);
    }
    Ok(RegionPlan { pages: reg.pages, offset, len, iova: reg.iova, access })
}

/// Whether a completion queue makes sense, and its region.
///
/// # Errors
/// EINVAL.
pub fn completion_queue(create: &CreateCq, device: &DeviceAttributes) -> Result<CqLayout, Errno> {
    if create.entries > device.max_cqe {
        return Err(Errno::INVAL);
    }
    CqLayout::new(create.entries).ok_or(Errno::INVAL)
}

/// Whether a queue pair makes sense, and its region.
///
/// # Errors
/// EINVAL; EOPNOTSUPP for types that are not offered.
pub fn queue_pair(
    create: &CreateQp,
    device: &DeviceAttributes,
) -> Result<(QpWanted, QpLayout), Errno> {
    if !CONNECTED.contains(&create.qp_type) {
        return Err(Errno::OPNOTSUPP);
    }
    let size = create.size();
    let fits = size.send_wr <= device.max_qp_wr
        && size.recv_wr <= device.max_qp_wr
        && size.send_sge <= device.max_sge
        && size.recv_sge <= device.max_sge;
    let layout = QpLayout::new(size).filter(|_| fits).ok_or(Errno::INVAL)?;
    let signal_all = create.sq_sig_all != 0;
    Ok((QpWanted { qp_type: create.qp_type, signal_all, size }, layout))
}

/// The device's tables, as far as a change of a queue pair needs them.
pub trait Tables {
    /// The GID at an index.
    ///
    /// # Errors
    /// What the device answers.
    fn gid(&self, port: u32, index: u32) -> Result<Gid, Errno>;
    /// The P_Key at an index, in host byte order.
    ///
    /// # Errors
    /// What the device answers.
    fn pkey(&self, port: u32, index: u32) -> Result<u16, Errno>;
}

/// Whether a guest may change its queue pair, which uses `port` so far, like this.
///
/// # Errors
/// EPERM for the guest's policy; EOPNOTSUPP for attributes that are not offered; EINVAL.
pub fn change(
    attr_mask: u32,
    attributes: &QpAttributes,
    port: u8,
    policy: &Policy,
    tables: &impl Tables,
) -> Result<(), Errno> {
    if attr_mask & !mask::ALLOWED != 0 {
        return Err(Errno::OPNOTSUPP);
    }
    if attr_mask & mask::ACCESS_FLAGS != 0 && attributes.qp_access_flags & !ACCESS != 0 {
        return Err(Errno::INVAL);
    }
    let port = if attr_mask & mask::PORT != 0 { attributes.port_num } else { port };
    if attr_mask & mask::PKEY_INDEX != 0 {
        let pkey = tables.pkey(port.into(), attributes.pkey_index.into())?;
        if !policy.allows_pkey(pkey) {
            return Err(Errno::PERM);
        }
    }
    if attr_mask & mask::PATH != 0 {
        let is_global = attributes.is_global != 0;
        if !policy.allows_destination(is_global.then_some(&attributes.dgid)) {
            return Err(Errno::PERM);
        }
        // A path by LID alone speaks as the port does, which is the GID at index 0.
        let index = if is_global { attributes.sgid_index.into() } else { 0 };
        let gid = tables.gid(attributes.ah_port_num.into(), index)?;
        if !policy.allows_source(index, &gid) {
            return Err(Errno::PERM);
        }
    }
    Ok(())
}

/// The device's attributes as this guest sees them: its quotas, and without what is not offered.
#[must_use]
pub fn device_for(guest: &Limits, device: &DeviceAttributes) -> DeviceAttributes {
    /// SRQ resizing, memory windows, XRC, memory management extensions.
    const NOT_OFFERED: u32 = 1 << 13 | 1 << 17 | 1 << 20 | 1 << 21 | 1 << 23 | 1 << 24;
    DeviceAttributes {
        device_cap_flags: device.device_cap_flags & !NOT_OFFERED,
        max_qp: device.max_qp.min(guest.qps),
        max_cq: device.max_cq.min(guest.cqs),
        max_mr: device.max_mr.min(guest.mrs),
        max_cqe: device.max_cqe.min(ib_protocol::SLOTS_MAX),
        max_qp_wr: device.max_qp_wr.min(ib_protocol::SLOTS_MAX),
        max_pd: device.max_pd.min(crate::context::PDS_MAX as u32),
        max_pages: guest.pages,
        ..*device
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions() {
        let check = |iova, length, pages, access, expected: Result<(usize, usize), Errno>| {
            let reg = RegMr { iova, length, access, pages, directory: 1, kept: 0 };
            let plan = region(&reg).map(|plan| (plan.offset, plan.len));
            assert_eq!(plan, expected, "{iova:#x}+{length:#x} in {pages}");
        };
        check(0x1000, 4096, 1, 15, Ok((0, 4096)));
        check(0x1fff, 2, 2, 1, Ok((0xfff, 2)));
        check(0x1fff, 1, 1, 1 | RELAXED_ORDERING, Ok((0xfff, 1)));
        check(0x1000, 4097, 1, 1, Err(Errno::INVAL));
        check(0x1000, 4096, 2, 1, Err(Errno::INVAL));
        check(0x1000, 0, 0, 1, Err(Errno::INVAL));
        check(0x1000, u64::MAX, 0, 1, Err(Errno::INVAL));
        check(u64::MAX - 4095, 4096, 1, 1, Err(Errno::INVAL));
        check(0x1000, 4096, 1, 1 << 6, Err(Errno::OPNOTSUPP));
    }

    fn device() -> DeviceAttributes {
        DeviceAttributes { max_qp_wr: 100, max_sge: 4, max_cqe: 1000, ..Default::default() }
    }

    #[test]
    fn queues_are_what_the_device_can_do() {
        let cq = |entries| {
            completion_queue(&CreateCq { entries, ..Default::default() }, &device())
                .map(|layout| layout.ring.slots)
        };
        assert_eq!((cq(1000), cq(1001), cq(0)), (Ok(1024), Err(Errno::INVAL), Err(Errno::INVAL)));
        let qp = |qp_type, max_send_wr, max_send_sge| {
            let create = CreateQp { qp_type, max_send_wr, max_send_sge, ..Default::default() };
            queue_pair(&create, &device()).map(|(_, layout)| layout.send.slots)
        };
        assert_eq!(qp(2, 100, 4), Ok(128));
        assert_eq!(qp(2, 101, 4), Err(Errno::INVAL));
        assert_eq!(qp(2, 100, 5), Err(Errno::INVAL));
        assert_eq!(qp(4, 1, 1), Err(Errno::OPNOTSUPP), "datagrams");
    }

    struct Two;

    impl Tables for Two {
        fn gid(&self, port: u32, index: u32) -> Result<Gid, Errno> {
            if port != 1 || index > 1 { Err(Errno::INVAL) } else { Ok([index as u8; 16]) }
        }
        fn pkey(&self, port: u32, index: u32) -> Result<u16, Errno> {
            if port != 1 { Err(Errno::INVAL) } else { Ok(0x8000 + index as u16) }
        }
    }

    #[test]
    fn changes_are_policy() {
        let policy = Policy::from_nodes("/b", |name| {
            let value = match name {
                "gids" => "1",
                "pkeys" => "0x8002",
                _ => "fe80::/16",
            };
            Some(value.to_owned())
        });
        let policy = policy.unwrap();
        let mut to = [0; 16];
        to[..2].copy_from_slice(&[0xfe, 0x80]);
        let good = QpAttributes {
            dgid: to,
            is_global: 1,
            sgid_index: 1,
            ah_port_num: 1,
            port_num: 1,
            pkey_index: 2,
            ..Default::default()
        };
        let check = |attr_mask, attributes: QpAttributes, expected| {
            assert_eq!(
                change(attr_mask, &attributes, 1, &policy, &Two),
                expected,
                "{attributes:?}"
            );
        };
        let all = mask::PATH | mask::PKEY_INDEX | mask::PORT;
        check(all, good, Ok(()));
        check(all, QpAttributes { sgid_index: 0, ..good }, Err(Errno::PERM));
        check(all, QpAttributes { sgid_index: 2, ..good }, Err(Errno::INVAL));
        check(all, QpAttributes { pkey_index: 1, ..good }, Err(Errno::PERM));
        check(all, QpAttributes { dgid: [0; 16], ..good }, Err(Errno::PERM));
        check(all, QpAttributes { is_global: 0, ..good }, Err(Errno::PERM));
        check(all, QpAttributes { port_num: 2, ..good }, Err(Errno::INVAL));
        check(mask::STATE, QpAttributes::default(), Ok(()));
        check(mask::ALTERNATE_PATH, good, Err(Errno::OPNOTSUPP));
        check(mask::CAPACITY, good, Err(Errno::OPNOTSUPP));
        check(1 << 26, good, Err(Errno::OPNOTSUPP));
        let access = |qp_access_flags| QpAttributes { qp_access_flags, ..good };
        check(mask::ACCESS_FLAGS, access(15), Ok(()));
        check(mask::ACCESS_FLAGS, access(16), Err(Errno::INVAL));
    }
}
