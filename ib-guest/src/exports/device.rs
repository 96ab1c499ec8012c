//! Devices, contexts, queries, protection domains, asynchronous events.

use super::{code, explain, fail, memory, object, pair, queue, set_errno};
use crate::abi::{
    ibv_async_event, ibv_context, ibv_context_ops, ibv_device, ibv_device_attr, ibv_gid_entry,
    ibv_pd, ibv_port_attr, ibv_qp,
};
use crate::cache;
use crate::error::{Error, Result};
use crate::session::{Session, devices, lock};
use ib_protocol::{DeviceAttributes, GidReply, PkeyReply, PortAttributes, Request};
use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void};
use std::sync::{Arc, Mutex, OnceLock};

/// A device of the guest's.
#[repr(C)]
pub struct Device {
    abi: ibv_device,
    devid: u32,
    /// In network byte order, once it was asked for.
    guid: OnceLock<u64>,
}

/// An open device.
#[repr(C)]
pub struct Context {
    abi: ibv_context,
    /// The connection, which objects of the context share.
    pub session: Arc<Session>,
    /// QPs and CQs by their handles, for events.
    pub qps: Mutex<BTreeMap<u32, usize>>,
    /// See `qps`.
    pub cqs: Mutex<BTreeMap<u32, usize>>,
}

/// A protection domain.
#[repr(C)]
pub struct Pd {
    abi: ibv_pd,
}

/// The context behind a pointer of the program's.
///
/// # Safety
/// The contract of [`super`]; the context is not closed while the result lives.
pub unsafe fn context<'a>(context: *mut ibv_context) -> &'a Context {
    // SAFETY: as the caller vouches, it is one that `ibv_open_device` made, and `Context` begins with it.
    unsafe { &*context.cast::<Context>() }
}

fn characters<const N: usize>(text: &str) -> [c_char; N] {
    let mut characters = [0; N];
    for (to, from) in characters.iter_mut().take(N - 1).zip(text.bytes()) {
        *to = from.cast_signed();
    }
    characters
}

fn device(devid: u32) -> Box<Device> {
    let name = format!("xrdma{devid}");
    Box::new(Device {
        abi: ibv_device {
            _ops: [std::ptr::null_mut(); 2],
            // A channel adapter on InfiniBand's transport, which RoCE is, too.
            node_type: 1,
            transport_type: 0,
            name: characters(&name),
            dev_name: characters(&name),
            // No driver of the guest's kernel has a part in it: there is nothing below /sys.
            dev_path: characters(&format!("/sys/class/infiniband_verbs/{name}")),
            ibdev_path: characters(&format!("/sys/class/infiniband/{name}")),
        },
        devid,
        guid: OnceLock::new(),
    })
}

/// The devices of the guest: an array that ends with NULL.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_get_device_list(num: *mut c_int) -> *mut *mut ibv_device {
    let found = match devices() {
        Ok(found) => found,
        Err(error) => {
            fail(&error);
            return std::ptr::null_mut();
        }
    };
    if !num.is_null() {
        // SAFETY: by the contract it can be written where it is not NULL.
        unsafe { *num = found.len() as c_int };
    }
    // Devices are never freed: programs may keep them beyond the list, and there are few.
    let list = found.into_iter().map(known).chain([std::ptr::null_mut()]);
    let list: Vec<*mut ibv_device> = list.collect();
    Box::into_raw(list.into_boxed_slice()).cast()
}

/// The device of this number: the same one each time it is asked for.
fn known(devid: u32) -> *mut ibv_device {
    static KNOWN: Mutex<BTreeMap<u32, usize>> = Mutex::new(BTreeMap::new());
    let make = || Box::into_raw(device(devid)).expose_provenance();
    std::ptr::with_exposed_provenance_mut(*lock(&KNOWN).entry(devid).or_insert_with(make))
}

/// Frees a list.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_free_device_list(list: *mut *mut ibv_device) {
    if list.is_null() {
        return;
    }
    let mut length = 0;
    // SAFETY: by the contract it is a list of `ibv_get_device_list`, which ends with NULL.
    while !unsafe { *list.add(length) }.is_null() {
        length += 1;
    }
    // SAFETY: it was made as a boxed slice of this length, its NULL included.
    drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(list, length + 1)) });
}

/// A device's name.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_get_device_name(device: *mut ibv_device) -> *const c_char {
    // SAFETY: by the contract the device is one of ours, which are never freed.
    unsafe { (&raw const (*device).name).cast() }
}

/// A device's GUID, in network byte order. The backend is asked once.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_get_device_guid(device: *mut ibv_device) -> u64 {
    // SAFETY: by the contract the device is one of ours, which are never freed.
    let device = unsafe { &*device.cast::<Device>() };
    let ask = || {
        let session = session(device.devid)?;
        let attributes = session.request(&Request::QueryDevice)?.body::<DeviceAttributes>();
        session.request(&Request::Close)?;
        Ok::<_, Error>(u64::from_ne_bytes(attributes.node_guid))
    };
    match device.guid.get() {
        Some(guid) => *guid,
        None => match ask() {
            Ok(guid) => *device.guid.get_or_init(|| guid),
            Err(error) => {
                fail(&error);
                0
            }
        },
    }
}

/// A device's place in the kernel's list, in which it is not.
#[unsafe(no_mangle)]
pub extern "C" fn ibv_get_device_index(_: *mut ibv_device) -> c_int {
    -1
}

const OPERATIONS: ibv_context_ops = ibv_context_ops {
    _compat_query_device: None,
    _compat_query_port: None,
    _compat_alloc_pd: None,
    _compat_dealloc_pd: None,
    _compat_reg_mr: None,
    _compat_rereg_mr: None,
    _compat_dereg_mr: None,
    alloc_mw: memory::alloc_mw,
    bind_mw: memory::bind_mw,
    dealloc_mw: memory::dealloc_mw,
    _compat_create_cq: None,
    poll_cq: queue::poll_cq,
    req_notify_cq: queue::req_notify_cq,
    _compat_cq_event: None,
    _compat_resize_cq: None,
    _compat_destroy_cq: None,
    _compat_create_srq: None,
    _compat_modify_srq: None,
    _compat_query_srq: None,
    _compat_destroy_srq: None,
    post_srq_recv: pair::post_srq_recv,
    _compat_create_qp: None,
    _compat_query_qp: None,
    _compat_modify_qp: None,
    _compat_destroy_qp: None,
    post_send: pair::post_send,
    post_recv: pair::post_recv,
    _compat_create_ah: None,
    _compat_destroy_ah: None,
    _compat_attach_mcast: None,
    _compat_detach_mcast: None,
    _compat_async_event: None,
};

/// Where the kernel keeps how many pages a guest may grant by gntalloc.
const GRANT_LIMIT: &str = "/sys/module/xen_gntalloc/parameters/limit";
/// Pages for rings and other programs, beside those that the backend allows.
const MORE_PAGES: u32 = 4096;

/// The kernel's own limit is 1024 pages; what the backend allows is more as a rule. Where this may not
/// be raised, a registration beyond it says so. Gives how many of these pages there can be.
fn raise_grant_limit(pages: u32) -> u32 {
    let limit = std::fs::read_to_string(GRANT_LIMIT).unwrap_or_default();
    let wanted = pages.saturating_add(MORE_PAGES);
    match limit.trim().parse::<u32>() {
        Ok(limit) if limit < wanted => {
            let raised = std::fs::write(GRANT_LIMIT, wanted.to_string()).is_ok();
            if raised { pages } else { pages.min(limit) }
        }
        _ => pages,
    }
}

/// A connection, whose end the backend hears of although this process may have children.
fn session(devid: u32) -> Result<Session> {
    super::fork::heed();
    cache::or_clear(|| Session::open(devid))
}

fn open(device: *mut ibv_device, devid: u32) -> Result<Box<Context>> {
    let session = session(devid)?;
    let attributes = session.request(&Request::QueryDevice)?.body::<DeviceAttributes>();
    session.set_pages_most(raise_grant_limit(attributes.max_pages));
    let abi = ibv_context {
        device,
        ops: OPERATIONS,
        // There is no command channel of a kernel's.
        cmd_fd: -1,
        async_fd: session.bell.descriptor(),
        num_comp_vectors: 1,
        mutex: [0; 5],
        abi_compat: std::ptr::null_mut(),
    };
    let (qps, cqs) = (Mutex::default(), Mutex::default());
    Ok(Box::new(Context { abi, session: Arc::new(session), qps, cqs }))
}

/// Opens a device.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_open_device(device: *mut ibv_device) -> *mut ibv_context {
    // SAFETY: by the contract the device is one of ours, which are never freed.
    let devid = unsafe { (*device.cast::<Device>()).devid };
    let opened = open(device, devid).inspect_err(|error| explain("ibv_open_device", error));
    object(opened).cast()
}

/// Closes a device. The backend lets go of everything that is left in the context.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_close_device(context: *mut ibv_context) -> c_int {
    // SAFETY: by the contract it is a context of ours that is not used any more.
    let context = unsafe { Box::from_raw(context.cast::<Context>()) };
    let closed = context.session.request(&Request::Close);
    cache::forget(&context.session);
    match closed {
        // One that is gone is closed.
        Ok(_) | Err(Error::Gone) => 0,
        Err(error) => fail(&error),
    }
}

/// What a device can do.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_query_device(
    context: *mut ibv_context,
    to: *mut ibv_device_attr,
) -> c_int {
    // SAFETY: by the contract.
    let context = unsafe { self::context(context) };
    let answer = match context.session.request(&Request::QueryDevice) {
        Ok(answer) => answer.body::<DeviceAttributes>(),
        Err(error) => return fail(&error),
    };
    let attributes = ibv_device_attr {
        fw_ver: answer.fw_ver,
        node_guid: u64::from_ne_bytes(answer.node_guid),
        sys_image_guid: u64::from_ne_bytes(answer.sys_image_guid),
        max_mr_size: answer.max_mr_size,
        page_size_cap: answer.page_size_cap,
        vendor_id: answer.vendor_id,
        vendor_part_id: answer.vendor_part_id,
        hw_ver: answer.hw_ver,
        max_qp: answer.max_qp,
        max_qp_wr: answer.max_qp_wr,
        device_cap_flags: answer.device_cap_flags,
        max_sge: answer.max_sge,
        max_sge_rd: answer.max_sge_rd,
        max_cq: answer.max_cq,
        max_cqe: answer.max_cqe,
        max_mr: answer.max_mr,
        max_pd: answer.max_pd,
        max_qp_rd_atom: answer.max_qp_rd_atom,
        max_ee_rd_atom: 0,
        max_res_rd_atom: answer.max_res_rd_atom,
        max_qp_init_rd_atom: answer.max_qp_init_rd_atom,
        max_ee_init_rd_atom: 0,
        atomic_cap: answer.atomic_cap,
        others: [0; 14],
        max_pkeys: answer.max_pkeys,
        local_ca_ack_delay: answer.local_ca_ack_delay,
        phys_port_cnt: answer.phys_port_cnt,
    };
    // SAFETY: by the contract it can be written.
    unsafe { to.write(attributes) };
    0
}

/// What a port is.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_query_port(
    context: *mut ibv_context,
    port: u8,
    to: *mut ibv_port_attr,
) -> c_int {
    // SAFETY: by the contract.
    let context = unsafe { self::context(context) };
    let answer = match context.session.request(&Request::QueryPort(port.into())) {
        Ok(answer) => answer.body::<PortAttributes>(),
        Err(error) => return fail(&error),
    };
    let attributes = ibv_port_attr {
        state: answer.state,
        max_mtu: answer.max_mtu,
        active_mtu: answer.active_mtu,
        gid_tbl_len: answer.gid_tbl_len,
        port_cap_flags: answer.port_cap_flags,
        max_msg_sz: answer.max_msg_sz,
        bad_pkey_cntr: answer.bad_pkey_cntr,
        qkey_viol_cntr: answer.qkey_viol_cntr,
        pkey_tbl_len: answer.pkey_tbl_len,
        lid: answer.lid,
        sm_lid: answer.sm_lid,
        lmc: answer.lmc,
        max_vl_num: answer.max_vl_num,
        sm_sl: answer.sm_sl,
        subnet_timeout: answer.subnet_timeout,
        init_type_reply: answer.init_type_reply,
        active_width: answer.active_width,
        active_speed: answer.active_speed,
        phys_state: answer.phys_state,
        link_layer: answer.link_layer,
        flags: answer.flags,
    };
    // SAFETY: by the contract it can be written: programs' structures are longer than this part.
    unsafe { to.write(attributes) };
    0
}

/// An entry of a port's GID table.
fn gid(context: &Context, port: u32, index: u32) -> Result<GidReply> {
    Ok(context.session.request(&Request::QueryGid(port, index))?.body())
}

/// An entry of a port's GID table.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_query_gid(
    context: *mut ibv_context,
    port: u8,
    index: c_int,
    to: *mut [u8; 16],
) -> c_int {
    // SAFETY: by the contract.
    let context = unsafe { self::context(context) };
    match gid(context, port.into(), index.cast_unsigned()) {
        // SAFETY: by the contract it can be written.
        Ok(answer) => unsafe { to.write(answer.gid) },
        Err(error) => {
            fail(&error);
            return -1;
        }
    }
    0
}

/// An entry of a port's GID table, with its type.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ibv_query_gid_ex(
    context: *mut ibv_context,
    port: u32,
    index: u32,
    to: *mut ibv_gid_entry,
    _flags: u32,
    size: usize,
) -> c_int {
    // SAFETY: by the contract.
    let context = unsafe { self::context(context) };
    if size < size_of::<ibv_gid_entry>() {
        return libc::EINVAL;
    }
    let answer = match gid(context, port, index) {
        Ok(answer) => answer,
        Err(error) => return fail(&error),
    };
    let GidReply { gid, gid_type } = answer;
    let entry = ibv_gid_entry { gid, gid_index: index, port_num: port, gid_type, ndev_ifindex: 0 };
    // SAFETY: by the contract it can be written, and is long enough as seen above.
    unsafe { to.write(entry) };
    0
}

/// The type of an entry of a port's GID table, as sysfs has it: 0 for InfiniBand and RoCE v1, 1 for v2.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_query_gid_type(
    context: *mut ibv_context,
    port: u8,
    index: u32,
    to: *mut u32,
) -> c_int {
    // SAFETY: by the contract.
    let context = unsafe { self::context(context) };
    match gid(context, port.into(), index) {
        // SAFETY: by the contract it can be written.
        Ok(answer) => unsafe { to.write(u32::from(answer.gid_type == 2)) },
        Err(error) => {
            fail(&error);
            return -1;
        }
    }
    0
}

/// An entry of a port's partition table, in network byte order.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_query_pkey(
    context: *mut ibv_context,
    port: u8,
    index: c_int,
    to: *mut u16,
) -> c_int {
    // SAFETY: by the contract.
    let context = unsafe { self::context(context) };
    let request = Request::QueryPkey(port.into(), index.cast_unsigned());
    match context.session.request(&request) {
        // SAFETY: by the contract it can be written.
        Ok(answer) => unsafe { to.write(answer.body::<PkeyReply>().pkey) },
        Err(error) => {
            fail(&error);
            return -1;
        }
    }
    0
}

/// Makes a protection domain.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_alloc_pd(context: *mut ibv_context) -> *mut ibv_pd {
    // SAFETY: by the contract.
    let session = unsafe { &self::context(context).session };
    let made = session.request(&Request::AllocPd);
    object(made.map(|reply| Box::new(Pd { abi: ibv_pd { context, handle: reply.handle } }))).cast()
}

/// Destroys a protection domain.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_dealloc_pd(pd: *mut ibv_pd) -> c_int {
    // SAFETY: by the contract.
    let (session, handle) = unsafe { (&context((*pd).context).session, (*pd).handle) };
    let done = gone_is_done(session.request(&Request::DeallocPd(handle)).map(drop));
    if done.is_ok() {
        // SAFETY: by the contract it is one of ours, and nobody uses it any more.
        drop(unsafe { Box::from_raw(pd.cast::<Pd>()) });
    }
    code(done)
}

/// What the backend held went with it.
pub(super) fn gone_is_done(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(Error::Gone) => Ok(()),
        outcome => outcome,
    }
}

/// `enum ibv_event_type`: those about a CQ, and those about a QP.
const CQ_EVENT: u32 = 0;
const QP_EVENTS: [u32; 8] = [1, 2, 3, 4, 5, 6, 7, 16];

/// The next asynchronous event. Once the backend is gone, that the device has failed.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_get_async_event(
    context: *mut ibv_context,
    to: *mut ibv_async_event,
) -> c_int {
    // SAFETY: by the contract.
    let context = unsafe { self::context(context) };
    let event = loop {
        let event = match context.session.next_event() {
            Ok(event) => event,
            Err(error) => {
                fail(&error);
                return -1;
            }
        };
        let element = match event.event_type {
            CQ_EVENT => {
                let cqs = lock(&context.cqs);
                cqs.get(&event.handle).map(|address| {
                    // SAFETY: it stands in the table until it is destroyed, under the same lock.
                    unsafe { queue::cq(std::ptr::with_exposed_provenance_mut(*address)) }
                        .told
                        .tell();
                    *address as u64
                })
            }
            kind if QP_EVENTS.contains(&kind) => {
                let qps = lock(&context.qps);
                qps.get(&event.handle).map(|address| {
                    // SAFETY: as above.
                    unsafe { pair::qp(std::ptr::with_exposed_provenance_mut(*address)) }
                        .told
                        .tell();
                    *address as u64
                })
            }
            _ => Some(event.port.into()),
        };
        // What it is about may have been destroyed meanwhile.
        if let Some(element) = element {
            break ibv_async_event { element, event_type: event.event_type };
        }
    };
    // SAFETY: by the contract it can be written.
    unsafe { to.write(event) };
    0
}

/// An asynchronous event was dealt with; until then what it is about cannot be destroyed.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_ack_async_event(event: *mut ibv_async_event) {
    // SAFETY: by the contract it is one that `ibv_get_async_event` gave.
    let ibv_async_event { element, event_type } = unsafe { event.read() };
    let address = element as usize;
    if event_type == CQ_EVENT {
        // SAFETY: it is about a CQ, which is not destroyed before this.
        unsafe { queue::cq(std::ptr::with_exposed_provenance_mut(address)) }.told.acknowledge(1);
    } else if QP_EVENTS.contains(&event_type) {
        // SAFETY: it is about a QP, which is not destroyed before this.
        unsafe { pair::qp(std::ptr::with_exposed_provenance_mut(address)) }.told.acknowledge(1);
    }
}

/// From now on a child does not inherit memory that is registered, as without the kernel's own support for
/// forks: it must not touch it. Rings and the like no child inherits.
#[unsafe(no_mangle)]
pub extern "C" fn ibv_fork_init() -> c_int {
    crate::pin::keep_from_children();
    0
}

/// `enum ibv_fork_status`: 1 once [`ibv_fork_init`] was called. Before that a program that forks shares
/// registered memory with its child.
#[unsafe(no_mangle)]
pub extern "C" fn ibv_is_fork_initialized() -> c_int {
    c_int::from(crate::pin::is_kept_from_children())
}

/// What this device does not have.
#[unsafe(no_mangle)]
pub extern "C" fn ibv_create_ah(_: *mut ibv_pd, _: *mut c_void) -> *mut c_void {
    set_errno(libc::EOPNOTSUPP);
    std::ptr::null_mut()
}

/// See [`ibv_create_ah`].
#[unsafe(no_mangle)]
pub extern "C" fn ibv_destroy_ah(_: *mut c_void) -> c_int {
    libc::EOPNOTSUPP
}

/// See [`ibv_create_ah`].
#[unsafe(no_mangle)]
pub extern "C" fn ibv_attach_mcast(_: *mut ibv_qp, _: *const c_void, _: u16) -> c_int {
    libc::EOPNOTSUPP
}

/// See [`ibv_create_ah`].
#[unsafe(no_mangle)]
pub extern "C" fn ibv_detach_mcast(_: *mut ibv_qp, _: *const c_void, _: u16) -> c_int {
    libc::EOPNOTSUPP
}
