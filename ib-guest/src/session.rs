//! A context at the backend: meeting, requests and their replies, the doorbell of all rings,
//! asynchronous events.
//!
//! In: a device's number. Out: a connection over two pages and two event channels that ends with this
//! process. What the backend writes is copied once and checked; it is never waited for without an
//! event channel that its end makes ring, too.

use crate::bell::Bell;
use crate::error::{Error, Result};
use crate::process::PerProcess;
use ib_protocol::{
    ASYNC_SLOTS, AsyncEvent, AsyncPage, CONTEXTS_NODE, ControlPage, MAGIC, REPLY_BYTES, Record,
    ReplyHeader, Request, VERSION, async_offset, available, reply_offset, request_offset, status,
};
use libxc_safe::{Domid, Errno, EventChannels, GrantAllocator, GrantedPages, Port, UnmapNotify};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use xenstore::client::{Client, Nodes as _};

/// How long the backend may take to look at a request for a context.
const MEETING: Duration = Duration::from_secs(20);
/// Directory of the guest's devices, in its own part of xenstore.
const DEVICES: &str = "device/rdma";

/// Where a field of a record lies.
const fn at<R: Record>(name: &str) -> usize {
    let mut index = 0;
    while index < R::FIELDS.len() {
        if same(R::FIELDS[index].name.as_bytes(), name.as_bytes()) {
            return R::FIELDS[index].offset;
        }
        index += 1;
    }
    panic!("the record has no such field")
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}

const GUEST_ALIVE: usize = at::<ControlPage>("guest_alive");
const REQUEST_PRODUCER: usize = at::<ControlPage>("request_producer");
const STATUS: usize = at::<ControlPage>("status");
const BACKEND_ALIVE: usize = at::<ControlPage>("backend_alive");
const REPLY_PRODUCER: usize = at::<ControlPage>("reply_producer");
const BACKEND_SLEEPS: usize = at::<ControlPage>("backend_sleeps");
const ASYNC_CONSUMER: usize = at::<AsyncPage>("consumer");
const ASYNC_PRODUCER: usize = at::<AsyncPage>("producer");

/// A lock that outlives whoever panicked with it: everything under it is whole at any moment.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The numbers of the guest's devices, ascending.
///
/// # Errors
/// [`Error::Store`].
pub fn devices() -> Result<Vec<u32>> {
    let mut store = Client::connect()?;
    let names = match store.directory(DEVICES) {
        Err(error) if error.is_not_found() => Vec::new(),
        names => names?,
    };
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// What makes the pages of this process that others may map.
#[derive(Default)]
struct Allocators {
    /// Rings and buffers: one for all sessions, so that where a page lies in its device says which one it is.
    pages: Option<GrantAllocator>,
    /// The pages that tell of this process' end. Buffers that a child inherits keep the file open that they
    /// come from, so that these have one of their own.
    control: Option<GrantAllocator>,
}

/// For pages, and for those that tell of this process' end.
fn allocators() -> Result<(GrantAllocator, GrantAllocator)> {
    static ALLOCATORS: PerProcess<Mutex<Allocators>> = PerProcess::new();
    let mut all = lock(ALLOCATORS.get());
    let Allocators { pages, control } = &mut *all;
    Ok((opened(pages, &INHERITED[0])?, opened(control, &INHERITED[1])?))
}

fn opened(one: &mut Option<GrantAllocator>, told: &Inherited) -> Result<GrantAllocator> {
    if let Some(one) = one {
        return Ok(one.clone());
    }
    let new = GrantAllocator::open()?;
    let stat = rustix::fs::fstat(new.as_fd())
        .map_err(|errno| Error::System { what: "look at the grant device", errno })?;
    told.device.store(stat.st_rdev, Ordering::Relaxed);
    told.descriptor.store(new.as_fd().as_raw_fd(), Ordering::Release);
    Ok(one.insert(new).clone())
}

/// A descriptor that a child inherits, and the number of its device.
struct Inherited {
    descriptor: AtomicI32,
    device: AtomicU64,
}

/// No lock is in it: it is read in a child, whose locks may be held by threads that are not there.
static INHERITED: [Inherited; 2] =
    [const { Inherited { descriptor: AtomicI32::new(-1), device: AtomicU64::new(0) } }; 2];

/// The descriptors that this process has of its parent's, and their device; they are told once.
pub fn take_inherited() -> [(i32, u64); 2] {
    INHERITED
        .each_ref()
        .map(|one| (one.descriptor.swap(-1, Ordering::Acquire), one.device.load(Ordering::Relaxed)))
}

/// A connection to the backend.
#[derive(Debug)]
pub struct Session {
    /// The domain of the backend.
    pub backend: Domid,
    /// Makes pages that it may map.
    pub allocator: GrantAllocator,
    /// Rings for asynchronous events.
    pub bell: Bell,
    /// How many pages the guest may have: what the backend allows and what its own kernel does.
    pages_most: AtomicUsize,
    /// One request after the other: made and answered so far.
    turn: Mutex<u32>,
    control: Mutex<GrantedPages>,
    asynchronous: Mutex<(GrantedPages, u32)>,
    events: EventChannels,
    port: Port,
    /// Whether the program was told that the device has failed.
    told_of_end: AtomicBool,
}

/// The body of a reply.
#[derive(Debug)]
pub struct Reply {
    /// The new object.
    pub handle: u32,
    slot: [u8; REPLY_BYTES],
}

impl Reply {
    /// The body, read as `R`.
    #[must_use]
    pub fn body<R: Record>(&self) -> R {
        R::decode(&self.slot[ReplyHeader::SIZE..])
    }
}

impl Session {
    /// Opens a context on the device `devid`.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(devid: u32) -> Result<Self> {
        let mut store = Client::connect()?;
        let path = format!("{DEVICES}/{devid}/backend-id");
        let value = store.read_text(&path)?;
        let backend = value.parse().map(Domid).map_err(|_| Error::BadNode { path, value })?;
        let ((allocator, own), events) = (allocators()?, EventChannels::open()?);
        let (port, bell) = (events.bind_unbound(backend)?, Bell::new(backend)?);
        let asynchronous = own.allocate(backend, 1, true)?;
        let control = own.allocate(backend, 1, true)?;
        let mut head = [0; ControlPage::SIZE];
        ControlPage {
            magic: MAGIC,
            version: VERSION,
            control_port: port.0,
            async_port: bell.port().0,
            async_reference: reference(&asynchronous),
            guest_alive: 1,
            ..ControlPage::default()
        }
        .encode(&mut head);
        control.write(0, &head)?;
        let end = UnmapNotify { clear_byte: Some(GUEST_ALIVE), event: Some(port) };
        control.notify_on_unmap(0, end)?;
        let reference = reference(&control);
        let session = Self {
            backend,
            allocator,
            pages_most: AtomicUsize::new(0),
            bell,
            turn: Mutex::new(0),
            control: Mutex::new(control),
            asynchronous: Mutex::new((asynchronous, 0)),
            events,
            port,
            told_of_end: AtomicBool::new(false),
        };
        let node = format!("{DEVICES}/{devid}/{CONTEXTS_NODE}/{reference}");
        store.write(&node, reference.to_string())?;
        if let Err(error) = session.meet(devid) {
            // The backend may have taken it away already.
            let _ = store.rm(&node);
            return Err(error);
        }
        Ok(session)
    }

    /// How many pages the guest may have, all its programs together; 0 until it was said.
    #[must_use]
    pub fn pages_most(&self) -> usize {
        self.pages_most.load(Ordering::Relaxed)
    }

    /// Says how many pages the guest may have.
    pub fn set_pages_most(&self, pages: u32) {
        self.pages_most.store(pages as usize, Ordering::Relaxed);
    }

    /// Waits until the backend has looked.
    fn meet(&self, devid: u32) -> Result<()> {
        let deadline = Instant::now() + MEETING;
        loop {
            let why = match lock(&self.control).load_u32(STATUS)? {
                status::PENDING => "",
                status::ACCEPTED => return Ok(()),
                status::BAD_VERSION => "it speaks another version of the protocol",
                status::TOO_MANY => "as many programs use the device as may",
                status::NO_DEVICE => "dom0's device cannot be opened",
                status::CLOSED => "the device is being taken away",
                _ => "it cannot use what this process offers",
            };
            if !why.is_empty() {
                return Err(Error::Refused { devid, why });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::NoAnswer { devid });
            }
            self.wait(Some(left))?;
        }
    }

    /// Waits for an event of the control port.
    fn wait(&self, limit: Option<Duration>) -> Result<()> {
        self.events.wait(limit)?;
        let mut ports = Vec::new();
        if self.events.pending(&mut ports)? > 0 {
            self.events.unmask_all(&ports)?;
        }
        Ok(())
    }

    /// Wakes the backend if it sleeps. Call it after an index was advanced.
    ///
    /// # Errors
    /// [`Error::Xen`].
    #[inline]
    pub fn ring(&self) -> Result<()> {
        // The index before the look, as the backend says that it sleeps before it looks at the index.
        fence(Ordering::SeqCst);
        let control = lock(&self.control);
        if control.load_u32(BACKEND_SLEEPS)? == 0 {
            return Ok(());
        }
        control.store_u32(BACKEND_SLEEPS, 0)?;
        drop(control);
        Ok(self.events.notify(self.port)?)
    }

    /// Whether requests and work still reach anybody.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        alive(&lock(&self.control))
    }

    /// Makes a request, and waits for its reply.
    ///
    /// # Errors
    /// [`Error::Answer`], [`Error::Gone`].
    pub fn request(&self, request: &Request) -> Result<Reply> {
        let mut turn = lock(&self.turn);
        let id = *turn;
        {
            let control = lock(&self.control);
            if !alive(&control) {
                return Err(Error::Gone);
            }
            control.write(request_offset(id), &request.encode(id))?;
            *turn = id.wrapping_add(1);
            control.store_u32(REQUEST_PRODUCER, *turn)?;
        }
        self.ring()?;
        let mut slot = [0; REPLY_BYTES];
        loop {
            {
                let control = lock(&self.control);
                if control.load_u32(REPLY_PRODUCER)? == *turn {
                    control.read(reply_offset(id), &mut slot)?;
                    break;
                }
                if !alive(&control) {
                    return Err(Error::Gone);
                }
            }
            self.wait(None)?;
        }
        let head = ReplyHeader::decode(&slot);
        match i32::try_from(head.errno) {
            _ if head.id != id => Err(Error::Gone),
            Ok(0) => Ok(Reply { handle: head.handle, slot }),
            Ok(errno @ 1..=4095) => {
                let errno = Errno::from_raw_os_error(errno);
                Err(Error::Answer { request: name(request), errno })
            }
            _ => Err(Error::Gone),
        }
    }

    /// The next asynchronous event, which is waited for. The last one says that the device has failed, once
    /// the backend has ended.
    ///
    /// # Errors
    /// As [`Bell::wait`]; [`Error::Gone`] after the last one.
    pub fn next_event(&self) -> Result<AsyncEvent> {
        loop {
            self.bell.take()?;
            if let Some(event) = self.look_at_events()? {
                match event.event_type {
                    DEVICE_FATAL => return self.last_event(),
                    _ => return Ok(event),
                }
            }
            if !self.is_alive() {
                return self.last_event();
            }
            self.bell.wait()?;
        }
    }
}

impl Session {
    /// The next asynchronous event that has come, if one has.
    fn look_at_events(&self) -> Result<Option<AsyncEvent>> {
        let (page, consumed) = &mut *lock(&self.asynchronous);
        let producer = page.load_u32(ASYNC_PRODUCER)?;
        let waiting = available(producer, *consumed, ASYNC_SLOTS)?;
        if waiting == 0 {
            return Ok(None);
        }
        let mut slot = [0; AsyncEvent::SIZE];
        page.read(async_offset(*consumed), &mut slot)?;
        *consumed = consumed.wrapping_add(1);
        page.store_u32(ASYNC_CONSUMER, *consumed)?;
        if waiting > 1 {
            self.bell.keep();
        }
        Ok(Some(AsyncEvent::decode(&slot)))
    }

    fn last_event(&self) -> Result<AsyncEvent> {
        match self.told_of_end.swap(true, Ordering::Relaxed) {
            true => Err(Error::Gone),
            false => Ok(AsyncEvent { event_type: DEVICE_FATAL, ..AsyncEvent::default() }),
        }
    }
}

/// `enum ibv_event_type`: the device has failed.
const DEVICE_FATAL: u32 = 8;

fn alive(control: &GrantedPages) -> bool {
    control.load_u8(BACKEND_ALIVE) == Ok(1) && control.load_u32(STATUS) == Ok(status::ACCEPTED)
}

fn reference(pages: &GrantedPages) -> u32 {
    pages.references().first().map_or(0, |reference| reference.0)
}

/// What a request is called in messages.
const fn name(request: &Request) -> &'static str {
    match request {
        Request::Close => "CLOSE",
        Request::QueryDevice => "QUERY_DEVICE",
        Request::QueryPort(_) => "QUERY_PORT",
        Request::QueryGid(..) => "QUERY_GID",
        Request::QueryPkey(..) => "QUERY_PKEY",
        Request::AllocPd => "ALLOC_PD",
        Request::DeallocPd(_) => "DEALLOC_PD",
        Request::CreateChannel(_) => "CREATE_CHANNEL",
        Request::DestroyChannel(_) => "DESTROY_CHANNEL",
        Request::CreateCq(_) => "CREATE_CQ",
        Request::DestroyCq(_) => "DESTROY_CQ",
        Request::CreateQp(..) => "CREATE_QP",
        Request::ModifyQp(..) => "MODIFY_QP",
        Request::QueryQp(..) => "QUERY_QP",
        Request::DestroyQp(_) => "DESTROY_QP",
        Request::RegMr(..) => "REG_MR",
        Request::DeregMr(..) => "DEREG_MR",
        Request::UnmapPages(_) => "UNMAP_PAGES",
    }
}
