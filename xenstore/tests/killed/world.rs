//! Pages, a file and a hypervisor that outlive servers, and the kills.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use xenstore::saved::{append_frame, begin, load};
use xenstore::server::{
    Entry, Fault, Found, Host, Identity, Journal, Page, PageRing, ReplayError, Revived, Server,
    ServerImage,
};
use xenstore::store::{ConnectionId, Effect, Ring, State};
use xenstore::{Domid, Errno};

/// How a server ends.
struct Killed;

/// Where the next kill is, in steps from now; none when it is 0.
#[derive(Debug, Default)]
pub struct Kill {
    left: Cell<u64>,
    /// Steps that were taken in all.
    pub taken: Cell<u64>,
}

impl Kill {
    pub fn after(&self, steps: u64) {
        self.left.set(steps);
    }

    /// A step; whether it is the last one.
    fn step(&self) -> bool {
        self.taken.set(self.taken.get() + 1);
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left == 1
    }
}

/// A ring page that server and client share.
#[derive(Clone, Debug)]
pub struct Shared(pub Rc<RefCell<Vec<u8>>>);

impl Shared {
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new(vec![0; 4096])))
    }

    pub fn word(&self, offset: usize) -> u32 {
        u32::from_le_bytes(*self.0.borrow()[offset..].first_chunk().unwrap())
    }

    pub fn set_word(&self, offset: usize, value: u32) {
        self.0.borrow_mut()[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }
}

/// The server's side of a page.
#[derive(Debug)]
pub struct ServerPage {
    page: Shared,
    kill: Rc<Kill>,
}

impl Page for ServerPage {
    fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), Fault> {
        bytes.copy_from_slice(&self.page.0.borrow()[offset..offset + bytes.len()]);
        Ok(())
    }

    fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Fault> {
        let dies = self.kill.step();
        let len = if dies { bytes.len() / 2 } else { bytes.len() };
        self.page.0.borrow_mut()[offset..offset + len].copy_from_slice(&bytes[..len]);
        if dies {
            resume_unwind(Box::new(Killed));
        }
        Ok(())
    }

    fn load(&self, offset: usize) -> Result<u32, Fault> {
        Ok(self.page.word(offset))
    }

    fn store(&self, offset: usize, value: u32) -> Result<(), Fault> {
        if self.kill.step() {
            resume_unwind(Box::new(Killed));
        }
        self.page.set_word(offset, value);
        Ok(())
    }

    fn signal(&self) -> Result<(), Fault> {
        if self.kill.step() {
            resume_unwind(Box::new(Killed));
        }
        Ok(())
    }
}

/// Keeps entries in the file of the world.
pub struct FileJournal {
    file: Rc<RefCell<Vec<u8>>>,
    kill: Rc<Kill>,
    entries: Vec<u8>,
    answers: crc32fast::Hasher,
    /// Frames that follow an image which is being written.
    following: Option<Vec<u8>>,
}

impl Journal for FileJournal {
    fn note(&mut self, entry: Entry<'_>) {
        entry.save(&mut self.entries);
    }

    fn answered(&mut self, message: &[u8]) {
        self.answers.update(message);
    }

    fn commit(&mut self) -> io::Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let mut frame = Vec::new();
        append_frame(&self.entries, std::mem::take(&mut self.answers).finalize(), &mut frame);
        self.entries.clear();
        if self.kill.step() {
            // Cut short somewhere, with or without any of it.
            frame.truncate(self.kill.taken.get() as usize * 7 % frame.len());
            self.file.borrow_mut().extend_from_slice(&frame);
            resume_unwind(Box::new(Killed));
        }
        self.file.borrow_mut().extend_from_slice(&frame);
        self.following.iter_mut().for_each(|following| following.extend_from_slice(&frame));
        if self.kill.step() {
            resume_unwind(Box::new(Killed));
        }
        Ok(())
    }
}

/// The hypervisor of the world.
pub struct Hypervisor {
    pages: BTreeMap<Domid, Shared>,
    domains: Rc<RefCell<BTreeMap<Domid, Found>>>,
    kill: Rc<Kill>,
    faults: Rc<RefCell<Vec<ConnectionId>>>,
}

impl Hypervisor {
    fn link(&self, domid: Domid) -> Option<PageRing<ServerPage>> {
        let page = self.pages.get(&domid)?.clone();
        PageRing::new(ServerPage { page, kill: Rc::clone(&self.kill) }).ok()
    }
}

impl Host for Hypervisor {
    type Transport = PageRing<ServerPage>;

    fn connect(&mut self, domid: Domid, _ring: Ring) -> Result<Self::Transport, Errno> {
        self.link(domid).ok_or(Errno::Einval)
    }

    fn identity(&mut self, domid: Domid) -> Option<Identity> {
        self.domains.borrow().get(&domid).map(|found| found.identity)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn carry_out(&mut self, _effect: Effect) {}

    fn faulted(&mut self, connection: ConnectionId, _fault: &Fault) {
        self.faults.borrow_mut().push(connection);
    }
}

pub type TestServer = Server<Hypervisor, FileJournal>;

/// What outlives servers.
pub struct World {
    pub pages: BTreeMap<Domid, Shared>,
    pub domains: Rc<RefCell<BTreeMap<Domid, Found>>>,
    pub file: Rc<RefCell<Vec<u8>>>,
    pub kill: Rc<Kill>,
    /// Whose ring was mapped by servers that took up another's place.
    pub mapped: RefCell<Vec<Domid>>,
    /// Who was cut off, ever.
    pub faults: Rc<RefCell<Vec<ConnectionId>>>,
}

pub fn identity(number: u8) -> Found {
    Found { identity: Identity([number; 16]), shut_down: false }
}

impl World {
    /// Pages for domain 0 and some guests; no server yet.
    pub fn new(guests: u16) -> Self {
        let pages = (0..=guests).map(|domid| (Domid(domid), Shared::new())).collect();
        let domains = (1..=guests).map(|domid| (Domid(domid), identity(domid as u8))).collect();
        Self {
            pages,
            domains: Rc::new(RefCell::new(domains)),
            file: Rc::default(),
            kill: Rc::default(),
            faults: Rc::default(),
            mapped: RefCell::default(),
        }
    }

    fn host(&self) -> Hypervisor {
        Hypervisor {
            pages: self.pages.clone(),
            domains: Rc::clone(&self.domains),
            kill: Rc::clone(&self.kill),
            faults: Rc::clone(&self.faults),
        }
    }

    fn journal(&self) -> FileJournal {
        FileJournal {
            file: Rc::clone(&self.file),
            kill: Rc::clone(&self.kill),
            entries: Vec::new(),
            answers: crc32fast::Hasher::new(),
            following: None,
        }
    }

    /// A server: the first one, or one that takes up what the file says.
    pub fn server(&self) -> TestServer {
        let mut server = self.try_server().unwrap();
        self.keep(&mut server);
        server
    }

    /// The same, before the first image.
    pub fn try_server(&self) -> Result<TestServer, ReplayError> {
        let file = self.file.borrow().clone();
        if file.is_empty() {
            let mut server = Server::new(State::new(), self.host(), self.journal());
            let link = self.host().link(Domid::DOM0).unwrap();
            server.attach(ConnectionId::Domain(Domid::DOM0), link, 0, 0);
            Ok(server)
        } else {
            let revived = Revived::read(&load(&file).unwrap()).unwrap();
            assert_eq!(revived.state().check(), Vec::<String>::new());
            let existing = self.domains.borrow().clone();
            revived.attach(self.host(), self.journal(), &existing, |host, id, _| match id {
                ConnectionId::Domain(domid) => {
                    self.mapped.borrow_mut().push(domid);
                    host.link(domid)
                }
                ConnectionId::Socket(_) => None,
            })
        }
    }

    /// A new image in place of the file, as by a rename.
    pub fn keep(&self, server: &mut TestServer) {
        let mut image = Vec::new();
        server.save(&mut image);
        let dies = self.kill.step();
        if !dies {
            *self.file.borrow_mut() = begin(&image);
        }
        let journal = server.journal_mut();
        journal.entries.clear();
        journal.answers = crc32fast::Hasher::new();
        if dies || self.kill.step() {
            resume_unwind(Box::new(Killed));
        }
    }

    /// A piece of an image that is written while the server goes on; the last one puts it in place.
    pub fn piece(&self, server: &mut TestServer, image: &mut Option<(ServerImage, Vec<u8>)>) {
        let Some((writing, bytes)) = image else {
            server.journal_mut().commit().unwrap();
            server.journal_mut().following = Some(Vec::new());
            *image = Some((server.begin_image(), Vec::new()));
            return;
        };
        if !writing.write(3, bytes) {
            return;
        }
        let dies = self.kill.step();
        let following = server.journal_mut().following.take().unwrap();
        if !dies {
            *self.file.borrow_mut() = [begin(bytes), following].concat();
        }
        *image = None;
        server.end_image();
        if dies || self.kill.step() {
            resume_unwind(Box::new(Killed));
        }
    }

    /// One server's life: `true` when it was killed in it.
    pub fn live(&self, life: impl FnOnce(TestServer)) -> bool {
        match catch_unwind(AssertUnwindSafe(|| life(self.server()))) {
            Ok(()) => false,
            Err(reason) if reason.is::<Killed>() => true,
            Err(reason) => resume_unwind(reason),
        }
    }
}

/// Whether the file, read again, is the server that wrote it.
pub fn assert_same(world: &World, server: &TestServer) {
    let file = world.file.borrow().clone();
    let revived = Revived::read(&load(&file).unwrap()).unwrap();
    let (mut live, mut again) = (Vec::new(), Vec::new());
    server.save(&mut live);
    revived.save(&mut again);
    assert!(live == again, "the file gives another server than the one that wrote it");
}
