//! The xenstored's end: finding a keeper, starting one, and telling it what is at its end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect,
    listen, socket_with,
};

use super::PATH;
use super::message::{self, Kind, Message, VERSION};
use crate::commands::xenstored::error::{XenstoredError, file, system};

/// How long a keeper may take for its next word when it tells what it holds.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// The peek offset of a socket that is at its end: no server's ([`kept`](super::super::kept)).
const ENDED: i32 = i32::MIN;

/// The descriptors of a connection.
#[derive(Debug)]
pub struct Pair {
    /// Where the program is.
    pub socket: OwnedFd,
    /// The file from which replies are sent.
    pub out: RefCell<Rc<OwnedFd>>,
}

impl Pair {
    /// A socket, and the file from which replies to it are sent.
    pub fn new(socket: OwnedFd, out: OwnedFd) -> Rc<Self> {
        Rc::new(Self { socket, out: RefCell::new(Rc::new(out)) })
    }

    /// Whether a server has said that the connection is at its end. The keeper may not have heard of it.
    pub fn has_ended(&self) -> bool {
        host_sys::peek::offset(&self.socket) == Ok(ENDED)
    }
}

/// What a keeper holds.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Where programs connect.
    pub listeners: Vec<OwnedFd>,
    /// Connections by their numbers.
    pub kept: BTreeMap<u32, Rc<Pair>>,
    /// Numbers of connections for which no descriptor was left here.
    cut: Vec<u32>,
}

/// A keeper, and what it was given.
#[derive(Debug)]
pub struct Keeper {
    /// `None` when there is none any more and none could be started.
    channel: RefCell<Option<OwnedFd>>,
    child: RefCell<Option<Child>>,
    kept: RefCell<BTreeMap<u32, Rc<Pair>>>,
    /// Connections of whose end it has not heard.
    ended: RefCell<Vec<u32>>,
    /// Whether what is dropped here is at its end: not before the service serves, and not when it
    /// leaves its connections to the next one.
    is_serving: Cell<bool>,
}

impl Keeper {
    /// Finds the keeper that an earlier xenstored left, or starts one.
    pub fn find_or_start() -> Result<(Rc<Self>, Inventory), XenstoredError> {
        if let Some(found) = Self::find(PATH) {
            return Ok(found);
        }
        let (channel, child) = start()?;
        Ok((Self::new(channel, Some(child), &Inventory::default()), Inventory::default()))
    }

    /// Finds a keeper here.
    pub fn find(path: &str) -> Option<(Rc<Self>, Inventory)> {
        let (channel, inventory) = find(path)?;
        Some((Self::new(channel, None, &inventory), inventory))
    }

    fn new(channel: OwnedFd, child: Option<Child>, inventory: &Inventory) -> Rc<Self> {
        Rc::new(Self {
            channel: RefCell::new(Some(channel)),
            child: RefCell::new(child),
            kept: RefCell::new(inventory.kept.clone()),
            ended: RefCell::new(inventory.cut.clone()),
            is_serving: Cell::new(false),
        })
    }

    /// A keeper behind this channel, which holds nothing.
    #[cfg(test)]
    pub fn behind(channel: OwnedFd) -> Rc<Self> {
        Self::new(channel, None, &Inventory::default())
    }

    /// Has a keeper that an earlier xenstored left end, and what it holds close.
    pub fn end_any() {
        if let Some((channel, _)) = find(PATH) {
            let _ = message::send(&channel, Kind::End, 0, &[], SendFlags::empty());
            // It is gone when nothing comes any more.
            while let Ok(Some(_)) = message::receive(&channel, RecvFlags::empty()) {}
        }
    }

    /// Hands the listeners over, in place of those that it has.
    pub fn give_listeners(&self, listeners: &[OwnedFd]) -> Result<(), Errno> {
        let channel = self.channel.borrow();
        let Some(channel) = &*channel else { return Err(Errno::PIPE) };
        listeners.iter().zip(0..).try_for_each(|(listener, number)| {
            let descriptors = [listener.as_fd()];
            message::send(channel, Kind::Listener, number, &descriptors, SendFlags::empty())
        })
    }

    /// Puts another file in the place of the one from which replies to a connection are sent. `false`
    /// when the keeper did not take it.
    pub fn replace(&self, number: u32, pair: &Pair, out: &Rc<OwnedFd>) -> bool {
        let channel = self.channel.borrow();
        let descriptors = [pair.socket.as_fd(), out.as_fd()];
        let sent = channel.as_ref().is_some_and(|channel| {
            message::send(channel, Kind::Kept, number, &descriptors, SendFlags::DONTWAIT).is_ok()
        });
        if sent {
            *pair.out.borrow_mut() = Rc::clone(out);
        }
        sent
    }

    /// Nobody holds the sockets but this process.
    pub fn give_up(&self) {
        self.channel.take();
        self.tell();
    }

    /// From here on a connection that is dropped is at its end.
    pub fn serve(&self) {
        self.is_serving.set(true);
        self.settle();
    }

    /// What was dropped so far is at its end. To be said before the store is saved without it.
    pub fn settle(&self) {
        self.ended.borrow().iter().for_each(|&number| self.mark(number));
        self.tell();
    }

    /// Has a connection show that it is at its end to whoever finds it.
    fn mark(&self, number: u32) {
        if let Some(pair) = self.kept.borrow().get(&number) {
            // A socket takes it always.
            let _ = host_sys::peek::set_offset(&pair.socket, ENDED);
        }
    }

    /// Leaves all connections to the next xenstored.
    pub fn leave(&self) {
        self.is_serving.set(false);
    }

    /// A connection is dropped.
    pub fn drop_connection(&self, number: u32) {
        if std::thread::panicking() {
            return;
        }
        self.ended.borrow_mut().push(number);
        if self.is_serving.get() {
            self.mark(number);
            self.tell();
        }
    }

    /// Tells what it has not heard.
    pub fn tell(&self) {
        let mut ended = self.ended.borrow_mut();
        let channel = self.channel.borrow();
        while let Some(&number) = ended.last() {
            let told = channel.as_ref().map_or(Ok(()), |channel| {
                message::send(channel, Kind::Close, number, &[], SendFlags::DONTWAIT)
            });
            match told {
                // One that is lost hears of nothing, and the next one is not told of this connection.
                Ok(()) | Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => {}
                Err(_) => return,
            }
            self.kept.borrow_mut().remove(&number);
            ended.pop();
        }
    }

    /// Where it speaks.
    pub fn with_channel<R>(&self, act: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
        self.channel.borrow().as_ref().map(|channel| act(channel.as_fd()))
    }

    /// The next connection that it took up; `Err` when it is gone.
    pub fn next(&self) -> Result<Option<(u32, Rc<Pair>)>, Lost> {
        loop {
            let channel = self.channel.borrow();
            let Some(channel) = &*channel else { return Ok(None) };
            match message::receive(channel, RecvFlags::DONTWAIT) {
                Ok(Some(message)) => match (message.kind, message.descriptors) {
                    (Some(Kind::Kept), [Some(socket), Some(out)]) => {
                        let pair = Pair::new(socket, out);
                        self.kept.borrow_mut().insert(message.number, Rc::clone(&pair));
                        return Ok(Some((message.number, pair)));
                    }
                    // No descriptor is left here: the program had better hear of it.
                    (Some(Kind::Kept), _) => self.ended.borrow_mut().push(message.number),
                    _ => {}
                },
                Ok(None) => return Err(Lost),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(_) => return Err(Lost),
            }
        }
    }

    /// Starts another keeper in the place of one that is gone, and hands everything over. The
    /// listeners go last: from then on it takes up connections.
    pub fn replace_keeper(&self, listeners: &[OwnedFd]) -> Result<(), XenstoredError> {
        // It may be stuck rather than gone; two of them would be one too many.
        if let Some(channel) = self.channel.take() {
            dismiss(&channel);
        }
        if let Some(child) = self.child.take() {
            end(child);
        }
        self.tell();
        let (channel, child) = start()?;
        *self.channel.borrow_mut() = Some(channel);
        let given = self.give_kept().map_err(system("hand sockets to a keeper")).and_then(|()| {
            self.give_listeners(listeners).map_err(system("hand listeners to a keeper"))
        });
        match given {
            Ok(()) => *self.child.borrow_mut() = Some(child),
            Err(_) => end(child),
        }
        given
    }

    fn give_kept(&self) -> Result<(), Errno> {
        let channel = self.channel.borrow();
        let Some(channel) = &*channel else { return Err(Errno::PIPE) };
        self.kept.borrow().iter().try_for_each(|(&number, pair)| {
            let out = pair.out.borrow();
            let descriptors = [pair.socket.as_fd(), out.as_fd()];
            message::send(channel, Kind::Kept, number, &descriptors, SendFlags::empty())
        })
    }
}

/// Has a keeper end that is of no use: nobody would find it any more, and it would hold what it has for
/// ever.
fn dismiss(channel: &OwnedFd) {
    // One that is gone hears nothing.
    let _ = message::send(channel, Kind::End, 0, &[], SendFlags::DONTWAIT);
}

/// Ends a keeper of this process.
fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The keeper is gone.
#[derive(Clone, Copy, Debug)]
pub struct Lost;

/// The keeper that is there, and what it holds.
fn find(path: &str) -> Option<(OwnedFd, Inventory)> {
    let channel = join(path).ok()?;
    hear_all(&channel)
        .inspect_err(|why| {
            tracing::warn!("the keeper of sockets is not of use, and has to end: {why}");
            dismiss(&channel);
        })
        .ok()
        .map(|inventory| (channel, inventory))
}

fn join(path: &str) -> Result<OwnedFd, Errno> {
    let channel = socket()?;
    connect(&channel, &SocketAddrUnix::new(path)?)?;
    Ok(channel)
}

fn socket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Starts a keeper that holds nothing.
fn start() -> Result<(OwnedFd, Child), XenstoredError> {
    let control = control(PATH).map_err(file("listen at", PATH))?;
    let child = Command::new("/proc/self/exe")
        .args(["xenstored", "--keeper"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(control))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(system("start a keeper of sockets"))?;
    let joined = join(PATH).map_err(|errno| file("connect to", PATH)(errno.into()));
    let heard = joined.and_then(|channel| {
        hear_all(&channel).map_err(system("hear a keeper of sockets")).map(|_| channel)
    });
    match heard {
        Ok(channel) => Ok((channel, child)),
        Err(error) => {
            end(child);
            Err(error)
        }
    }
}

/// The place where a keeper is found, of which the one before has gone.
pub fn control(path: &str) -> Result<OwnedFd, std::io::Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    if let Some(folder) = Path::new(path).parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let control = socket()?;
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = bind(&control, &SocketAddrUnix::new(path)?);
    rustix::process::umask(mask);
    bound?;
    listen(&control, 4)?;
    Ok(control)
}

/// What a keeper says when it is found.
fn hear_all(channel: &OwnedFd) -> Result<Inventory, std::io::Error> {
    let mut inventory = Inventory::default();
    let mut is_known = false;
    loop {
        let Message { kind, number, descriptors } = next(channel)?;
        match (kind, descriptors) {
            (Some(Kind::Version), _) => is_known = number == VERSION,
            (Some(Kind::Listener), [Some(listener), _]) => inventory.listeners.push(listener),
            (Some(Kind::Kept), [Some(socket), Some(out)]) => {
                inventory.kept.insert(number, Pair::new(socket, out));
            }
            // The program had better hear of it.
            (Some(Kind::Kept), _) => inventory.cut.push(number),
            (Some(Kind::Ready), _) if is_known => return Ok(inventory),
            (Some(Kind::Ready), _) => {
                return Err(std::io::Error::other("it is of another version of this program"));
            }
            _ => {}
        }
    }
}

fn next(channel: &OwnedFd) -> Result<Message, std::io::Error> {
    let mut place = [PollFd::new(channel, PollFlags::IN)];
    if poll(&mut place, Some(&PATIENCE))? == 0 {
        return Err(std::io::ErrorKind::TimedOut.into());
    }
    let message = message::receive(channel, RecvFlags::empty())?;
    message.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests;
