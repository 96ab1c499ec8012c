//! A context, with everything that a guest can write in reach.

use std::io;
use std::time::{Duration, Instant};

use ib_protocol::{
    CONTEXTS_NODE, ControlPage, CqLayout, CreateCq, CreateQp, DIRECTORY_REFERENCES,
    DirectoryHeader, FieldLayout, MAGIC, MrReply, PAGE_BYTES, QpLayout, QpReply, Record, RegMr,
    ReplyHeader, Request, VERSION, directory_pages, reply_offset, request_offset, status,
};
use libxc_safe::{Domid, EventChannels, GrantAllocator, GrantedPages, Port, UnmapNotify};
use xenstore::client::{Client, Nodes as _};

/// The backend.
const BACKEND: Domid = Domid(0);
/// How long it may take for anything.
const LIMIT: Duration = Duration::from_secs(60);

pub type Outcome<T> = io::Result<T>;

/// A failure, in words.
pub fn fail<T>(why: impl Into<String>) -> Outcome<T> {
    Err(io::Error::other(why.into()))
}

/// Where a field lies.
pub fn at<R: Record>(name: &str) -> usize {
    let found = R::FIELDS.iter().find(|field: &&FieldLayout| field.name == name);
    found.map_or_else(|| unreachable!("{name}"), |field| field.offset)
}

/// A process' side of a context.
pub struct Raw {
    pub allocator: GrantAllocator,
    pub channels: EventChannels,
    pub control: GrantedPages,
    _events: GrantedPages,
    pub port: Port,
    next: u32,
    /// Directory pages of requests under way.
    directories: Vec<GrantedPages>,
}

/// A queue pair with its queue of completions.
pub struct Pair {
    pub qp: u32,
    pub number: u32,
    pub cq: u32,
    pub work: GrantedPages,
    pub layout: QpLayout,
    pub completions: GrantedPages,
}

impl Raw {
    /// Makes the pages and asks for a context; `twist` changes the head of the control page before.
    /// Gives back what the backend answered.
    pub fn ask(twist: impl FnOnce(&mut ControlPage)) -> Outcome<(Raw, u32)> {
        let allocator = GrantAllocator::open().map_err(io::Error::other)?;
        let channels = EventChannels::open().map_err(io::Error::other)?;
        let port = channels.bind_unbound(BACKEND).map_err(io::Error::other)?;
        let async_port = channels.bind_unbound(BACKEND).map_err(io::Error::other)?;
        let events = allocator.allocate(BACKEND, 1, true).map_err(io::Error::other)?;
        let control = allocator.allocate(BACKEND, 1, true).map_err(io::Error::other)?;
        let mut head = ControlPage {
            magic: MAGIC,
            version: VERSION,
            control_port: port.0,
            async_port: async_port.0,
            async_reference: events.references()[0].0,
            guest_alive: 1,
            ..ControlPage::default()
        };
        twist(&mut head);
        let mut bytes = [0; ControlPage::SIZE];
        head.encode(&mut bytes);
        control.write(0, &bytes).map_err(io::Error::other)?;
        let end =
            UnmapNotify { clear_byte: Some(at::<ControlPage>("guest_alive")), event: Some(port) };
        control.notify_on_unmap(0, end).map_err(io::Error::other)?;
        let reference = control.references()[0].0;
        mail(&reference.to_string(), &reference.to_string())?;
        let raw = Raw {
            allocator,
            channels,
            control,
            _events: events,
            port,
            next: 0,
            directories: Vec::new(),
        };
        let answer = raw.until("an answer", |raw| {
            let status = raw.word(at::<ControlPage>("status"))?;
            Ok((status != status::PENDING).then_some(status))
        })?;
        Ok((raw, answer))
    }

    /// Ends the context, and waits until the backend has nothing of it.
    fn leave(&mut self) -> Outcome<()> {
        if self.is_served()? {
            // It may be closed already, which the page shows a little later.
            let _ = self.request(&Request::Close);
        }
        let alive = at::<ControlPage>("backend_alive");
        self.until("the end of the context", |raw| {
            let alive = raw.control.load_u8(alive).map_err(io::Error::other)?;
            Ok((alive == 0).then_some(()))
        })
    }

    /// A context that was accepted.
    pub fn open() -> Outcome<Raw> {
        match Raw::ask(|_| {})? {
            (raw, status::ACCEPTED) => Ok(raw),
            (_, other) => fail(format!("not accepted: status {other}")),
        }
    }

    pub fn word(&self, offset: usize) -> Outcome<u32> {
        self.control.load_u32(offset).map_err(io::Error::other)
    }

    /// Writes a word of the control page, and wakes the backend.
    pub fn set(&self, offset: usize, value: u32) -> Outcome<()> {
        self.control.store_u32(offset, value).map_err(io::Error::other)?;
        self.ring()
    }

    pub fn ring(&self) -> Outcome<()> {
        self.channels.notify(self.port).map_err(io::Error::other)
    }

    /// Looks until there is something.
    pub fn until<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&Raw) -> Outcome<Option<T>>,
    ) -> Outcome<T> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(found) = look(self)? {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return fail(format!("{what} does not come"));
            }
            // What is looked at may come without an event of these ports: a completion.
            self.channels
                .wait(Some(left.min(Duration::from_millis(20))))
                .map_err(io::Error::other)?;
            self.heard()?;
        }
    }

    /// Lets the ports that were signalled be signalled again.
    pub fn heard(&self) -> Outcome<()> {
        let mut ports = Vec::new();
        self.channels.pending(&mut ports).map_err(io::Error::other)?;
        self.channels.unmask_all(&ports).map_err(io::Error::other)
    }

    /// Whether the backend serves this context.
    pub fn is_served(&self) -> Outcome<bool> {
        let alive = self.control.load_u8(at::<ControlPage>("backend_alive"));
        Ok(alive.map_err(io::Error::other)? == 1
            && self.word(at::<ControlPage>("status"))? == status::ACCEPTED)
    }

    /// Makes a request; gives the errno (0: none), the handle and the slot.
    pub fn request(&mut self, request: &Request) -> Outcome<(u32, u32, [u8; 256])> {
        self.request_bytes(&request.encode(self.next))
    }

    /// The id of the next request.
    pub fn next_id(&self) -> u32 {
        self.next
    }

    pub fn request_bytes(&mut self, slot: &[u8]) -> Outcome<(u32, u32, [u8; 256])> {
        let index = self.next;
        self.next += 1;
        self.control.write(request_offset(index), slot).map_err(io::Error::other)?;
        self.set(at::<ControlPage>("request_producer"), self.next)?;
        self.until("a reply", |raw| {
            let there = raw.word(at::<ControlPage>("reply_producer"))? == index + 1;
            let lost = !there && !raw.is_served()?;
            if lost { fail("the context is closed") } else { Ok(there.then_some(())) }
        })?;
        let mut reply = [0; 256];
        self.control.read(reply_offset(index), &mut reply).map_err(io::Error::other)?;
        let head = ReplyHeader::decode(&reply);
        if head.id != index {
            return fail(format!("the reply to {index} says {}", head.id));
        }
        Ok((head.errno, head.handle, reply))
    }

    /// A request that must succeed; gives the handle and the body.
    pub fn good(&mut self, request: &Request) -> Outcome<(u32, [u8; 240])> {
        let (errno, handle, reply) = self.request(request)?;
        if errno != 0 {
            return fail(format!("{request:?}: errno {errno}"));
        }
        let mut body = [0; 240];
        body.copy_from_slice(&reply[16..]);
        Ok((handle, body))
    }

    /// A request that must fail with this errno.
    pub fn bad(&mut self, request: &Request, expected: u32) -> Outcome<()> {
        let (errno, ..) = self.request(request)?;
        if errno == expected {
            Ok(())
        } else {
            fail(format!("{request:?}: errno {errno}, not {expected}"))
        }
    }

    pub fn pages(&self, count: usize) -> Outcome<GrantedPages> {
        self.allocator.allocate(BACKEND, count, true).map_err(io::Error::other)
    }

    /// The reference of a directory that lists these references.
    pub fn directory(&mut self, references: &[u32]) -> Outcome<u32> {
        let pages = self.pages(directory_pages(references.len()))?;
        let own: Vec<u32> = pages.references().iter().map(|reference| reference.0).collect();
        for (page, share) in references.chunks(DIRECTORY_REFERENCES).enumerate() {
            let mut bytes = own.get(page + 1).copied().unwrap_or(0).to_le_bytes().to_vec();
            bytes.resize(DirectoryHeader::SIZE, 0);
            bytes.extend(share.iter().flat_map(|reference| reference.to_le_bytes()));
            pages.write(page * PAGE_BYTES, &bytes).map_err(io::Error::other)?;
        }
        self.directories.push(pages);
        Ok(own[0])
    }

    pub fn directory_of(&mut self, pages: &GrantedPages) -> Outcome<u32> {
        let references: Vec<u32> = pages.references().iter().map(|reference| reference.0).collect();
        self.directory(&references)
    }

    pub fn pd(&mut self) -> Outcome<u32> {
        Ok(self.good(&Request::AllocPd)?.0)
    }

    pub fn cq(&mut self, entries: u32) -> Outcome<(u32, GrantedPages)> {
        let layout = CqLayout::new(entries).map_or_else(|| fail("no such CQ"), Ok)?;
        let pages = self.pages(layout.pages)?;
        let directory = self.directory_of(&pages)?;
        let create = CreateCq { entries, directory, ..CreateCq::default() };
        Ok((self.good(&Request::CreateCq(create))?.0, pages))
    }

    /// What asks for a region of all of these pages.
    pub fn registration(&mut self, pages: &GrantedPages) -> Outcome<RegMr> {
        let count = pages.references().len();
        Ok(RegMr {
            iova: 0x10_0000,
            length: (count * PAGE_BYTES) as u64,
            access: 0xf,
            pages: count as u32,
            directory: self.directory_of(pages)?,
            kept: 0,
        })
    }

    /// Registers pages; gives the handle and the local key.
    pub fn register(&mut self, pd: u32, pages: &GrantedPages) -> Outcome<(u32, u32)> {
        let reg = self.registration(pages)?;
        let (handle, body) = self.good(&Request::RegMr(pd, reg))?;
        Ok((handle, MrReply::decode(&body).lkey))
    }

    /// A queue pair of 8 sends and receives over one queue of 32 completions.
    pub fn pair(&mut self, pd: u32) -> Outcome<Pair> {
        let (cq, completions) = self.cq(32)?;
        let mut create = CreateQp {
            qp_type: 2,
            send_cq: cq,
            recv_cq: cq,
            max_send_wr: 8,
            max_recv_wr: 8,
            max_send_sge: 2,
            max_recv_sge: 2,
            max_inline_data: 32,
            ..CreateQp::default()
        };
        let layout = QpLayout::new(create.size()).map_or_else(|| fail("no such QP"), Ok)?;
        let work = self.pages(layout.pages)?;
        create.directory = self.directory_of(&work)?;
        let (qp, body) = self.good(&Request::CreateQp(pd, create))?;
        let number = QpReply::decode(&body).qp_num;
        Ok(Pair { qp, number, cq, work, layout, completions })
    }

    /// Waits until the backend has closed this context, and answers no more.
    pub fn closed(&self) -> Outcome<()> {
        self.until("the end of the context", |raw| {
            Ok((raw.word(at::<ControlPage>("status"))? == status::CLOSED).then_some(()))
        })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Err(error) = self.leave() {
            eprintln!("attack: {error}");
        }
    }
}

/// Puts something into the guest's mailbox.
pub fn mail(name: &str, value: &str) -> Outcome<()> {
    let mut store = Client::connect().map_err(io::Error::other)?;
    let path = format!("device/rdma/0/{CONTEXTS_NODE}/{name}");
    store.write(path, value).map_err(io::Error::other)
}

/// Waits until the backend has emptied the mailbox.
pub fn mailbox_is_emptied() -> Outcome<()> {
    let mut store = Client::connect().map_err(io::Error::other)?;
    let deadline = Instant::now() + LIMIT;
    let path = format!("device/rdma/0/{CONTEXTS_NODE}");
    store.watch(&path, "mail").map_err(io::Error::other)?;
    loop {
        if store.directory(&path).map_err(io::Error::other)?.is_empty() {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return fail("the mailbox stays full");
        }
        store.next_event(Some(left)).map_err(io::Error::other)?;
    }
}
