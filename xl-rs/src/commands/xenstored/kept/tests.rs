//! Servers are killed at each step of an exchange over one socket; the program at its other end gets
//! every byte once.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rustix::event::epoll::CreateFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::super::steps::{Killed, end_at};
use super::*;

const STEPS: [&str; 5] = ["receive", "received", "staged", "sent", "replaced"];

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }
}

/// What outlives servers: descriptors, and what a journal would have.
struct World {
    pair: Rc<Pair>,
    program: UnixStream,
    epoll: Rc<OwnedFd>,
    keeper: Rc<Keeper>,
    other_end: OwnedFd,
    /// Up to where requests are committed.
    taken: u32,
    /// The position of the first byte of `waiting`, as the last commit has it.
    base: u32,
    waiting: Vec<u8>,
    kills: u32,
}

impl World {
    fn new() -> Self {
        let (server, program) = UnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        program.set_nonblocking(true).unwrap();
        let out = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        let kind = SocketType::SEQPACKET;
        let (near, other_end) =
            socketpair(AddressFamily::UNIX, kind, SocketFlags::NONBLOCK, None).unwrap();
        Self {
            pair: Pair::new(server.into(), out),
            program,
            epoll: Rc::new(epoll::create(CreateFlags::CLOEXEC).unwrap()),
            keeper: Keeper::behind(near),
            other_end,
            taken: 0,
            base: 0,
            waiting: Vec::new(),
            kills: 0,
        }
    }

    /// The next server.
    fn server(&mut self) -> KeptSocket {
        // It comes with an epoll of its own.
        self.epoll = Rc::new(epoll::create(CreateFlags::CLOEXEC).unwrap());
        let link = KeptSocket::new(7, Rc::clone(&self.pair), &self.keeper, &self.epoll).unwrap();
        let (received, sent) = link.published(self.taken).unwrap();
        assert!(self.taken.wrapping_sub(received) < 64 << 10, "{received} of {}", self.taken);
        let gone = sent.wrapping_sub(self.base) as usize;
        assert!(gone <= self.waiting.len(), "{gone} of {}", self.waiting.len());
        self.waiting.drain(..gone);
        self.base = sent;
        link
    }

    /// A round of a server: requests are taken and committed, replies sent.
    fn round(&mut self, link: &mut KeptSocket, sent: &mut usize, takes_all: bool) {
        let mut bytes = Vec::new();
        let count = link.receive(self.taken, &mut bytes).unwrap();
        assert_eq!(count, bytes.len());
        if !takes_all {
            bytes.truncate(count / 2);
        }
        // The commit, with which the journal hears of what was sent before.
        self.waiting.drain(..*sent);
        self.base = self.base.wrapping_add(*sent as u32);
        *sent = 0;
        self.taken = self.taken.wrapping_add(bytes.len() as u32);
        self.waiting.extend(bytes.iter().map(|byte| byte ^ 0x55));
        link.taken(self.taken).unwrap();
        loop {
            let went = link.send(&self.waiting[*sent..]).unwrap();
            if went == 0 {
                break;
            }
            *sent += went;
        }
        // Nobody is at the other end of the channel.
        let mut message = [0; 64];
        while recv(&self.other_end, &mut message, RecvFlags::DONTWAIT).is_ok() {}
    }
}

/// The other end: it writes and reads as much as it likes.
struct Program {
    wanted: Vec<u8>,
    written: usize,
    got: Vec<u8>,
}

impl Program {
    fn act(&mut self, stream: &mut UnixStream, random: &mut Random) {
        let end = (self.written + random.below(9_000)).min(self.wanted.len());
        match stream.write(&self.wanted[self.written..end]) {
            Ok(count) => self.written += count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        let mut bytes = vec![0; 1 + random.below(20_000)];
        match stream.read(&mut bytes) {
            Ok(count) => self.got.extend_from_slice(&bytes[..count]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

/// Serves `len` bytes while servers end as `next_end` says; how many there were.
fn exchange(len: usize, seed: u64, mut next_end: impl FnMut(&mut Random) -> Option<String>) -> u32 {
    let mut random = Random(seed);
    let wanted: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
    let mut program = Program { wanted, written: 0, got: Vec::new() };
    let mut world = World::new();
    while program.got.len() < len {
        end_at(next_end(&mut random).map(|end| end.parse().unwrap()));
        let life = catch_unwind(AssertUnwindSafe(|| {
            let mut link = world.server();
            let mut sent = 0;
            while program.got.len() < len {
                program.act(&mut world.program, &mut random);
                let takes_all = random.below(3) > 0;
                world.round(&mut link, &mut sent, takes_all);
            }
        }));
        match life {
            Ok(()) => break,
            Err(reason) if reason.is::<Killed>() => world.kills += 1,
            Err(reason) => resume_unwind(reason),
        }
    }
    end_at(None);
    let right: Vec<u8> = program.wanted.iter().map(|byte| byte ^ 0x55).collect();
    assert!(program.got == right, "seed {seed:#x}: other bytes");
    world.kills
}

#[test]
fn a_kill_at_each_step() {
    for step in STEPS {
        for times in 1..12 {
            let mut left = 1;
            let kills = exchange(700_000, 0x7374_6570, |_| {
                left -= 1;
                (left == 0).then(|| format!("{step}:{times}"))
            });
            assert!(kills == 1 || step == "replaced" && times > 1, "{step}:{times}: {kills}");
        }
    }
}

#[test]
fn fuzz_kills_anywhere() {
    let rounds = std::env::var("XLR_FUZZ_ITERS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    for seed in 0..rounds {
        let kills = exchange(2_000_000, 0x6b69_6c6c + seed, |random| {
            let step = STEPS[random.below(STEPS.len())];
            let most = if step == "replaced" { 2 } else { 30 };
            Some(format!("{step}:{}", 1 + random.below(most)))
        });
        assert!(kills > 1, "seed {seed}: {kills} kills");
    }
}

#[test]
fn positions_are_held_across_their_wrap() {
    for at in [0, 1, POSITION, POSITION + 1, POSITION + 2, u32::MAX - 1, u32::MAX] {
        for behind in [0, 1, 4096, 70_000] {
            let position_then = at.wrapping_sub(behind);
            assert_eq!(position(held(position_then), at), position_then, "{at} − {behind}");
            assert_eq!(position(behind.cast_signed(), at), position_then, "{at} − {behind}");
        }
    }
    assert_eq!(held(0), -1, "a new socket's own");
}

#[test]
fn a_program_that_leaves_is_noticed_behind_what_was_taken() {
    let mut world = World::new();
    let mut link = world.server();
    assert!(link.is_fresh());
    world.program.write_all(b"request").unwrap();
    let mut bytes = Vec::new();
    assert_eq!(link.receive(0, &mut bytes).unwrap(), 7);
    link.taken(7).unwrap();
    bytes.clear();
    assert_eq!(link.receive(7, &mut bytes).unwrap(), 0);
    assert!(!link.is_fresh());
    world.program.write_all(b"last").unwrap();
    drop(std::mem::replace(&mut world.program, UnixStream::pair().unwrap().0));
    assert_eq!(link.receive(7, &mut bytes).unwrap(), 4);
    link.taken(11).unwrap();
    assert!(matches!(link.receive(11, &mut bytes), Err(Fault::Closed)));
}
