//! A verbs device that is open: queries, and its asynchronous events.

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use ib_protocol::{DeviceAttributes, GidReply, PortAttributes};
use libxc_safe::Errno;

use super::ffi::{
    Plain, ibv_async_event, ibv_context, ibv_cq, ibv_device_attr, ibv_gid, ibv_gid_entry,
    ibv_port_attr, ibv_qp,
};
use super::guardian::Guarded;
use super::library::Library;
use super::{done, last_errno};
use crate::error::{Error, Result};

/// An open device: one per guest process, so that its objects are told apart by the kernel, too.
#[derive(Debug)]
pub struct Context {
    library: Arc<Library>,
    raw: NonNull<ibv_context>,
    name: String,
    /// Given up first: the guardian knows the descriptor only while it is open.
    guarded: Option<Guarded>,
}

/// What an asynchronous event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsyncAbout {
    /// The queue with this handle of the guest.
    Cq(u32),
    /// The queue pair with this handle of the guest.
    Qp(u32),
    /// A port.
    Port(u32),
    /// The device.
    Device,
}

/// An asynchronous event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncNews {
    /// `enum ibv_event_type`.
    pub event_type: u32,
    /// What it is about.
    pub about: AsyncAbout,
}

impl Drop for Context {
    fn drop(&mut self) {
        drop(self.guarded.take());
        // SAFETY: ours, open, and all objects made of it are gone: they hold an Rc of this.
        let closed = unsafe { (self.library.ibv_close_device)(self.raw.as_ptr()) };
        if closed != 0 {
            tracing::error!("{} does not close: {}", self.name, last_errno());
        }
    }
}

impl Context {
    /// Opens a device, for at most `objects` objects at once.
    ///
    /// # Errors
    /// [`Error::NoDevice`]; [`Error::Verb`] when it does not open or the guardian cannot watch it.
    pub fn open(library: &Arc<Library>, name: &str, objects: u32) -> Result<Rc<Self>> {
        let opened = library.with_devices(|device, found| {
            // SAFETY: the device is of the list that is shown.
            (found == name).then(|| unsafe { (library.ibv_open_device)(device) })
        });
        let Some(opened) = opened else {
            return Err(Error::NoDevice { device: name.to_owned(), there: library.devices() });
        };
        let failed = |verb, errno| Error::Verb { verb, device: name.to_owned(), errno };
        let raw = NonNull::new(opened).ok_or_else(|| failed("ibv_open_device", last_errno()))?;
        let library = Arc::clone(library);
        let mut context = Self { library, raw, name: name.to_owned(), guarded: None };
        let async_fd = context.async_fd();
        let flags = rustix::fs::fcntl_getfl(async_fd).and_then(|flags| {
            rustix::fs::fcntl_setfl(async_fd, flags | rustix::fs::OFlags::NONBLOCK)
        });
        flags.map_err(|errno| failed("fcntl of the event descriptor", errno))?;
        let guarded = Guarded::new(context.command_fd(), objects);
        context.guarded = Some(guarded.map_err(|errno| failed("guard", errno))?);
        Ok(Rc::new(context))
    }

    pub(super) fn raw(&self) -> *mut ibv_context {
        self.raw.as_ptr()
    }

    pub(super) fn library(&self) -> &Library {
        &self.library
    }

    /// Whether the device is software, which reads and writes memory as this program does. What a real
    /// one sees of a guest's pages may be bounced by a PV dom0's DMA layer.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.guarded.as_ref().is_some_and(Guarded::is_software)
    }

    /// The error of a verb on this device.
    #[must_use]
    pub fn failed(&self, verb: &'static str, errno: Errno) -> Error {
        Error::Verb { verb, device: self.name.clone(), errno }
    }

    fn command_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the structure is ours and readable; the descriptor is open as long as the context.
        unsafe { BorrowedFd::borrow_raw((*self.raw()).cmd_fd) }
    }

    /// Poll it for reading: an asynchronous event waits.
    #[must_use]
    pub fn async_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: as above.
        unsafe { BorrowedFd::borrow_raw((*self.raw()).async_fd) }
    }

    /// The device's attributes, with what the device allows in the fields that are quotas.
    ///
    /// # Errors
    /// What the device answers.
    pub fn query_device(&self) -> Result<DeviceAttributes, Errno> {
        let mut attr = ibv_device_attr::zeroed();
        // SAFETY: the context is open; the function writes one struct ibv_device_attr.
        done(unsafe { (self.library.ibv_query_device)(self.raw(), &raw mut attr) })?;
        // SAFETY: the device is valid as long as the context that was opened of it.
        let device = unsafe { &*(*self.raw()).device };
        let count = |number: i32| u32::try_from(number).unwrap_or(0);
        Ok(DeviceAttributes {
            fw_ver: attr.fw_ver.map(i8::cast_unsigned),
            node_guid: attr.node_guid.to_ne_bytes(),
            sys_image_guid: attr.sys_image_guid.to_ne_bytes(),
            max_mr_size: attr.max_mr_size,
            page_size_cap: attr.page_size_cap,
            vendor_id: attr.vendor_id,
            vendor_part_id: attr.vendor_part_id,
            hw_ver: attr.hw_ver,
            max_qp: count(attr.max_qp),
            max_qp_wr: count(attr.max_qp_wr),
            device_cap_flags: attr.device_cap_flags,
            max_sge: count(attr.max_sge),
            max_sge_rd: count(attr.max_sge_rd),
            max_cq: count(attr.max_cq),
            max_cqe: count(attr.max_cqe),
            max_mr: count(attr.max_mr),
            max_pd: count(attr.max_pd),
            max_qp_rd_atom: count(attr.max_qp_rd_atom),
            max_res_rd_atom: count(attr.max_res_rd_atom),
            max_qp_init_rd_atom: count(attr.max_qp_init_rd_atom),
            atomic_cap: attr.atomic_cap,
            max_pages: 0,
            max_pkeys: attr.max_pkeys,
            local_ca_ack_delay: attr.local_ca_ack_delay,
            phys_port_cnt: attr.phys_port_cnt,
            node_type: device.node_type as u8,
            transport_type: device.transport_type as u8,
        })
    }

    /// A port's attributes.
    ///
    /// # Errors
    /// What the device answers; EINVAL for a port that cannot be.
    pub fn query_port(&self, port: u32) -> Result<PortAttributes, Errno> {
        let port = u8::try_from(port).map_err(|_| Errno::INVAL)?;
        let mut attr = ibv_port_attr::zeroed();
        // SAFETY: the context is open; the function writes at most one struct ibv_port_attr.
        done(unsafe { (self.library.ibv_query_port)(self.raw(), port, &raw mut attr) })?;
        Ok(PortAttributes {
            state: attr.state,
            max_mtu: attr.max_mtu,
            active_mtu: attr.active_mtu,
            gid_tbl_len: u32::try_from(attr.gid_tbl_len).unwrap_or(0),
            port_cap_flags: attr.port_cap_flags,
            max_msg_sz: attr.max_msg_sz,
            bad_pkey_cntr: attr.bad_pkey_cntr,
            qkey_viol_cntr: attr.qkey_viol_cntr,
            pkey_tbl_len: attr.pkey_tbl_len,
            lid: attr.lid,
            sm_lid: attr.sm_lid,
            port_cap_flags2: attr.port_cap_flags2,
            lmc: attr.lmc,
            max_vl_num: attr.max_vl_num,
            sm_sl: attr.sm_sl,
            subnet_timeout: attr.subnet_timeout,
            init_type_reply: attr.init_type_reply,
            active_width: attr.active_width,
            active_speed: attr.active_speed,
            phys_state: attr.phys_state,
            link_layer: attr.link_layer,
            flags: attr.flags,
        })
    }

    /// An entry of a port's GID table; an empty one has zeros.
    ///
    /// # Errors
    /// What the device answers; EINVAL for a port or an index that cannot be.
    pub fn query_gid(&self, port: u32, index: u32) -> Result<GidReply, Errno> {
        let narrow = u8::try_from(port).map_err(|_| Errno::INVAL)?;
        let number = i32::try_from(index).map_err(|_| Errno::INVAL)?;
        let mut gid = ibv_gid([0; 16]);
        // SAFETY: the context is open; the function writes one union ibv_gid.
        done(unsafe { (self.library.ibv_query_gid)(self.raw(), narrow, number, &raw mut gid) })?;
        let mut entry = ibv_gid_entry::zeroed();
        let size = size_of::<ibv_gid_entry>();
        // SAFETY: the context is open; the function writes one struct ibv_gid_entry, whose size it is
        // told. An empty entry is an error here, and has no type.
        let known = unsafe {
            (self.library._ibv_query_gid_ex)(self.raw(), port, index, &raw mut entry, 0, size)
        };
        Ok(GidReply { gid: gid.0, gid_type: if known == 0 { entry.gid_type } else { 0 } })
    }

    /// An entry of a port's P_Key table, in network byte order.
    ///
    /// # Errors
    /// What the device answers; EINVAL for a port or an index that cannot be.
    pub fn query_pkey(&self, port: u32, index: u32) -> Result<u16, Errno> {
        let port = u8::try_from(port).map_err(|_| Errno::INVAL)?;
        let index = i32::try_from(index).map_err(|_| Errno::INVAL)?;
        let mut pkey = 0;
        // SAFETY: the context is open; the function writes one 16-bit number.
        done(unsafe { (self.library.ibv_query_pkey)(self.raw(), port, index, &raw mut pkey) })?;
        Ok(pkey)
    }

    /// The next asynchronous event, if one waits.
    pub fn next_event(&self) -> Option<AsyncNews> {
        let mut event = ibv_async_event::zeroed();
        // SAFETY: the context is open, and its event descriptor does not block; the function writes
        // one event when it returns 0. For events of a QP or CQ the element is that object, which
        // is alive: destroying one waits until its events are acknowledged, and both happen in this
        // thread. Their contexts are the guest's handles, see `Cq::create` and `Qp::create`.
        let news = unsafe {
            if (self.library.ibv_get_async_event)(self.raw(), &raw mut event) != 0 {
                return None;
            }
            let handle = |context: *mut std::ffi::c_void| context.addr() as u32;
            let about = match event.event_type {
                0 => AsyncAbout::Cq(handle((*event.element.cast::<ibv_cq>()).cq_context)),
                1..=7 | 16 => AsyncAbout::Qp(handle((*event.element.cast::<ibv_qp>()).qp_context)),
                9..=13 | 17 | 18 => AsyncAbout::Port(event.element.addr() as u32),
                _ => AsyncAbout::Device,
            };
            AsyncNews { event_type: event.event_type, about }
        };
        // SAFETY: the event that was got just now, acknowledged once.
        unsafe { (self.library.ibv_ack_async_event)(&raw mut event) };
        Some(news)
    }
}
