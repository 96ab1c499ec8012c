//! One process of a guest that has the device open: a thread serves it, and shares nothing with others
//! but the guest's quotas.
//!
//! ```text
//! loop { requests; receive rings; send rings; completions; asynchronous events }   until nothing moves
//!        then spins for a while, then says that it sleeps, looks once more, and waits for
//!        the guest's port, the device's completion channel, its events, or the end
//! ```
//!
//! In: the guest's pages. Out: what the device makes of them. [`pages`] is the control and the event
//! page, [`requests`] makes and destroys objects, [`queues`] moves work and completions.

mod pages;
mod queues;
mod requests;

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::{Duration, Instant};

use ib_protocol::{ASYNC_SLOTS, AsyncEvent, DeviceAttributes, REQUEST_SLOTS, status};
use libxc_safe::{Domid, EventChannels, GrantDevice, GrantMapping, GrantRef, Port};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use self::pages::{Opened, Pages};
use self::queues::{GuestCq, GuestQp, Scratch};
use crate::error::{Error, Result};
use crate::handles::{Kind, Table};
use crate::policy::Policy;
use crate::service::nodes;
use crate::usage::{Resource, Taken, Usage};
use crate::verbs::{AsyncAbout, Channel, Context, Library, Mr, Pd};

/// Protection domains that a context may have.
pub const PDS_MAX: usize = 64;
/// How long to wait for room at the device.
const ROOM_NSEC: i64 = 1_000_000;
/// Passes without anything to do between two looks at the clock.
const PASSES_PER_LOOK: u32 = 16;

/// How a context is told to end.
#[derive(Debug)]
pub struct Stop {
    asked: AtomicBool,
    wake: OwnedFd,
}

impl Stop {
    /// Not asked yet.
    ///
    /// # Errors
    /// [`Error::Host`] without descriptors.
    pub fn new() -> Result<Arc<Self>> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::host("make an event descriptor")(errno.into()))?;
        Ok(Arc::new(Self { asked: AtomicBool::new(false), wake }))
    }

    /// Asks it to end, now.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        // Full only if it was asked before.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }
}

/// A process that asks for a context, and what it may have.
#[derive(Debug)]
pub struct Asked {
    /// Its domain.
    pub domid: Domid,
    /// Which creation of the domain it belongs to.
    pub creation: Option<String>,
    /// Grant reference of its control page.
    pub reference: GrantRef,
    /// The verbs device.
    pub device: String,
    /// Its guest's policy.
    pub policy: Arc<Policy>,
    /// Its guest's quotas.
    pub usage: Arc<Usage>,
    /// Counted against the guest's contexts; `None` when there are too many, and it is told so.
    pub taken: Option<Taken>,
    /// libibverbs.
    pub library: Arc<Library>,
    /// How to end it.
    pub stop: Arc<Stop>,
    /// How long to look for work before sleeping.
    pub spin: Duration,
}

/// Why a context ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The process closed it or died.
    Guest,
    /// The backend was told to.
    Stopped,
}

/// A region that a guest registered, and what it counts for.
type GuestMr = Mr<[Taken; 2]>;

/// Pages that stay mapped between two registrations; none while a region has them.
type KeptPages = Option<(GrantMapping, Taken)>;

/// A completion channel of the guest: a port.
struct GuestChannel {
    channels: Rc<EventChannels>,
    port: Port,
    _taken: Taken,
}

impl Drop for GuestChannel {
    fn drop(&mut self) {
        if let Err(error) = self.channels.unbind(self.port) {
            tracing::warn!("{error}");
        }
    }
}

/// The served context. Fields go in this order: queue pairs before regions and completion queues, all
/// of them before the device, and the pages last, whose going tells the guest.
struct Served {
    domid: Domid,
    qps: Table<GuestQp>,
    mrs: Table<GuestMr>,
    kept: Table<KeptPages>,
    cqs: Table<GuestCq>,
    guest_channels: Table<Rc<GuestChannel>>,
    pds: Table<Rc<Pd>>,
    channel: Rc<Channel>,
    context: Rc<Context>,
    attributes: DeviceAttributes,
    grants: GrantDevice,
    policy: Arc<Policy>,
    usage: Arc<Usage>,
    stop: Arc<Stop>,
    spin: Duration,
    scratch: Scratch,
    closing: bool,
    taken: Taken,
    pages: Pages,
}

/// Serves a process from its request to its end.
pub fn serve(mut asked: Asked) {
    let domid = asked.domid;
    let taken = asked.taken.take();
    match begin(&asked, taken) {
        Ok(Some(mut served)) => {
            tracing::info!("domain {domid}: a process opened {}", asked.device);
            let end = served.run();
            let tells = match end {
                Ok(End::Guest) => {
                    tracing::info!("domain {domid}: a process closed {}", asked.device);
                    false
                }
                Ok(End::Stopped) => true,
                Err(error) => {
                    tracing::warn!("domain {domid}: {}; its context is closed", error.chain());
                    true
                }
            };
            served.finish(tells);
        }
        Ok(None) => {}
        Err(error) => tracing::warn!("domain {domid}: {}", error.chain()),
    }
}

/// Maps the pages, opens the device, and answers; `None` when the answer is a refusal.
fn begin(asked: &Asked, taken: Option<Taken>) -> Result<Option<Served>> {
    let grants = GrantDevice::open()?;
    let opened = Pages::open(&grants, asked.domid, asked.reference)?;
    let pages = match opened {
        Opened::Fine(pages) => pages,
        Opened::Refused => return Ok(None),
    };
    // Its page is mapped, so that its number can be nobody else's from here on. Before, it could.
    match nodes::is_creation(asked.domid.0, asked.creation.as_deref()) {
        Ok(true) => {}
        Ok(false) => {
            tracing::warn!("domain {}: another domain has its number by now", asked.domid);
            return Ok(None);
        }
        Err(error) => {
            // Whose page it is, nobody can say: it is told that it is not served, and nothing else.
            pages.answer(status::NO_DEVICE)?;
            return Err(error.into());
        }
    }
    let Some(taken) = taken else {
        pages.answer(status::TOO_MANY)?;
        return Ok(None);
    };
    let limits = asked.usage.limits();
    let objects = limits.qps + limits.cqs + limits.mrs + PDS_MAX as u32 + 16;
    let device = Context::open(&asked.library, &asked.device, objects).and_then(|context| {
        let channel = Channel::create(&context)
            .map_err(|errno| context.failed("ibv_create_comp_channel", errno))?;
        let attributes =
            context.query_device().map_err(|errno| context.failed("ibv_query_device", errno))?;
        Ok((context, channel, attributes))
    });
    let (context, channel, attributes) = match device {
        Ok(device) => device,
        Err(error) => {
            pages.answer(status::NO_DEVICE)?;
            return Err(error);
        }
    };
    let attributes = crate::check::device_for(limits, &attributes);
    pages.answer(status::ACCEPTED)?;
    Ok(Some(Served {
        domid: asked.domid,
        qps: Table::new(Kind::Qp),
        mrs: Table::new(Kind::Mr),
        kept: Table::new(Kind::Kept),
        cqs: Table::new(Kind::Cq),
        guest_channels: Table::new(Kind::Channel),
        pds: Table::new(Kind::Pd),
        channel,
        context,
        attributes,
        grants,
        policy: Arc::clone(&asked.policy),
        usage: Arc::clone(&asked.usage),
        stop: Arc::clone(&asked.stop),
        spin: asked.spin,
        scratch: Scratch::default(),
        closing: false,
        taken,
        pages,
    }))
}

impl Served {
    fn run(&mut self) -> Result<End> {
        let mut idle = Idle::default();
        loop {
            if let Some(end) = self.ended()? {
                return Ok(end);
            }
            if self.pass()? {
                idle = Idle::default();
            } else if idle.spins(self.spin) {
                std::hint::spin_loop();
            } else {
                self.sleep()?;
                // An event without work behind it buys no time.
                idle = Idle::spent();
            }
        }
    }

    fn ended(&self) -> Result<Option<End>> {
        if self.stop.is_asked() {
            return Ok(Some(End::Stopped));
        }
        let gone = self.closing || !self.pages.guest_is_alive()?;
        Ok(gone.then_some(End::Guest))
    }

    /// Looks at everything once; tells whether anything moved.
    fn pass(&mut self) -> Result<bool> {
        let domid = self.domid;
        let mut moved = self.drain()?;
        for cq in self.cqs.iter_mut() {
            moved |= cq
                .deliver(&self.pages.channels, &self.usage)
                .map_err(|fault| broken(domid, &fault))?;
        }
        // As many as there are slots: a guest that asks without end is looked at for its end, too.
        for _ in 0..REQUEST_SLOTS {
            let next = self.pages.next_request().map_err(|fault| broken(domid, &fault))?;
            let Some((id, request)) = next else { break };
            // Work that was put into rings before is posted before.
            for _ in 0..queues::BATCHES_MAX {
                if !self.drain()? {
                    break;
                }
            }
            let answer = self.answer(request);
            self.pages.reply(id, &answer)?;
            moved = true;
            if self.closing {
                break;
            }
        }
        Ok(moved | self.asynchronous()?)
    }

    /// Posts what is in the rings of work.
    fn drain(&mut self) -> Result<bool> {
        let domid = self.domid;
        let mut moved = false;
        let mut fault = None;
        for qp in self.qps.iter_mut() {
            let drained = qp
                .drain_receives(&mut self.cqs, &mut self.scratch, &self.pages.channels)
                .and_then(|received| {
                    let (cqs, scratch) = (&mut self.cqs, &mut self.scratch);
                    let sent = qp.drain_sends(cqs, scratch, &self.pages.channels, &self.usage)?;
                    Ok(received | sent)
                });
            match drained {
                Ok(any) => moved |= any,
                Err(found) => fault = Some(found),
            }
        }
        fault.map_or(Ok(moved), |fault| Err(broken(domid, &fault)))
    }

    /// Passes on asynchronous events. What the guest has no room for is dropped: the kernel would keep it
    /// for as long as nobody takes it.
    fn asynchronous(&mut self) -> Result<bool> {
        let domid = self.domid;
        let mut moved = false;
        for _ in 0..ASYNC_SLOTS {
            let Some(news) = self.context.next_event() else { break };
            moved = true;
            if self.pages.async_room().map_err(|fault| broken(domid, &fault))? == 0 {
                tracing::debug!("domain {domid}: does not read its asynchronous events");
                continue;
            }
            let (handle, port) = match news.about {
                AsyncAbout::Cq(handle) | AsyncAbout::Qp(handle) => (handle, 0),
                AsyncAbout::Port(port) => (0, port),
                AsyncAbout::Device => (0, 0),
            };
            self.pages.tell(&AsyncEvent { event_type: news.event_type, handle, port })?;
        }
        Ok(moved)
    }

    /// Waits, unless something came while it said so.
    fn sleep(&mut self) -> Result<()> {
        self.pages.say_asleep(true)?;
        fence(Ordering::SeqCst);
        for cq in self.cqs.iter_mut() {
            cq.arm(&self.context)?;
        }
        if self.ended()?.is_none() && !self.pass()? {
            let mut fds = [
                PollFd::new(&*self.pages.channels, PollFlags::IN),
                PollFd::from_borrowed_fd(self.channel.fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.context.async_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.stop.wake.as_fd(), PollFlags::IN),
            ];
            // The device tells nobody when it has done work that makes no completion.
            let waits = self.qps.iter().any(|qp| qp.waits);
            let timeout = Timespec { tv_sec: 0, tv_nsec: ROOM_NSEC };
            match poll(&mut fds, waits.then_some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::host("wait for events")(errno.into())),
            }
        }
        self.pages.say_asleep(false)?;
        self.pages.take_ports()?;
        while let Some(handle) = self.channel.next() {
            if let Some(cq) = self.cqs.get_mut(handle) {
                cq.disarmed();
            }
        }
        Ok(())
    }

    /// Lets go of everything; tells the guest if it did not ask for that.
    fn finish(self, tells: bool) {
        let Self { qps, mrs, kept, cqs, guest_channels, pds, channel, context, taken, .. } = self;
        let mut pages = self.pages;
        drop((qps, mrs, kept, cqs, guest_channels, pds));
        drop(channel);
        drop(context);
        // Before the guest can see that all is gone.
        drop(taken);
        if tells && let Err(error) = pages.closed() {
            tracing::debug!("{error}");
        }
    }

    fn take(&self, resource: Resource, count: usize) -> Result<Taken, libxc_safe::Errno> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.usage.take(resource, count).ok_or(libxc_safe::Errno::DQUOT)
    }
}

/// The error of a guest that broke the protocol.
fn broken(domid: Domid, what: &impl std::fmt::Display) -> Error {
    Error::Protocol { domid, what: what.to_string() }
}

/// How long nothing has moved.
#[derive(Default)]
struct Idle {
    passes: u32,
    since: Option<Instant>,
    spent: bool,
}

impl Idle {
    /// No time is left.
    fn spent() -> Self {
        Self { spent: true, ..Self::default() }
    }

    /// Whether to look again at once.
    fn spins(&mut self, limit: Duration) -> bool {
        self.passes = self.passes.wrapping_add(1);
        if self.spent {
            return false;
        }
        match self.since {
            None => {
                self.since = Some(Instant::now());
                !limit.is_zero()
            }
            Some(since) => !self.passes.is_multiple_of(PASSES_PER_LOOK) || since.elapsed() < limit,
        }
    }
}
