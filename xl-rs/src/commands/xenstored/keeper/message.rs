//! What a keeper and a xenstored tell each other: a kind, a number, descriptors. Either may be a build
//! of another day, so none of this changes without [`VERSION`], and [`Kind::End`] never does: it is what one
//! says to a keeper whose version it does not know.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Of these messages.
pub const VERSION: u32 = 1;
/// No message brings more descriptors.
const DESCRIPTORS_MAX: usize = 2;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first of the keeper, with its version.
    Version = 1,
    /// A listener. In place of all earlier ones, when the number is 0.
    Listener = 2,
    /// A connection with this number: the socket, and the file that replies are sent from. In place of
    /// what the number stood for.
    Kept = 3,
    /// The keeper has told of all that it holds.
    Ready = 4,
    /// The connection with this number is at its end.
    Close = 5,
    /// Nothing is needed any more.
    End = 6,
}

impl Kind {
    fn from_number(number: u32) -> Option<Self> {
        use Kind::{Close, End, Kept, Listener, Ready, Version};
        [Version, Listener, Kept, Ready, Close, End].into_iter().find(|&kind| kind as u32 == number)
    }
}

/// A message that has come.
#[derive(Debug)]
pub struct Message {
    /// `None` for a kind that this build does not know.
    pub kind: Option<Kind>,
    /// Its number.
    pub number: u32,
    /// Descriptors, in their order.
    pub descriptors: [Option<OwnedFd>; DESCRIPTORS_MAX],
}

/// Sends a message, at once or not at all, unless `flags` let it wait.
pub fn send(
    socket: impl AsFd,
    kind: Kind,
    number: u32,
    descriptors: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> Result<(), Errno> {
    let mut bytes = [0; 8];
    let (head, tail) = bytes.split_at_mut(4);
    head.copy_from_slice(&(kind as u32).to_le_bytes());
    tail.copy_from_slice(&number.to_le_bytes());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, flags | SendFlags::NOSIGNAL).map(drop)
}

/// Takes a message; `None` when the other end is gone, and all that it said was taken.
pub fn receive(socket: impl AsFd, flags: RecvFlags) -> Result<Option<Message>, Errno> {
    let mut bytes = [0; 8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut iov = [IoSliceMut::new(&mut bytes)];
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let len = loop {
        match recvmsg(&socket, &mut iov, &mut control, flags) {
            Ok(received) => break received.bytes,
            // The other end went without hearing everything. That is told once, and before what it had
            // said itself.
            Err(Errno::CONNRESET) => {}
            Err(errno) => return Err(errno),
        }
    };
    if len == 0 {
        return Ok(None);
    }
    let mut descriptors = [None, None];
    let mut places = descriptors.iter_mut();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            // Further ones than there are places for are closed.
            for (descriptor, place) in rights.zip(&mut places) {
                *place = Some(descriptor);
            }
        }
    }
    let (kind, number) =
        (u64::from_le_bytes(bytes) as u32, (u64::from_le_bytes(bytes) >> 32) as u32);
    let kind = if len == bytes.len() { Kind::from_number(kind) } else { None };
    Ok(Some(Message { kind, number, descriptors }))
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn what_was_said_by_one_that_did_not_hear_everything_is_heard() {
        let flags = SocketFlags::CLOEXEC;
        let (near, far) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let socket = [near.as_fd()];
        send(&far, Kind::Kept, 3, &socket, SendFlags::empty()).unwrap();
        send(&far, Kind::Close, 4, &[], SendFlags::empty()).unwrap();
        send(&near, Kind::Kept, 5, &[], SendFlags::empty()).unwrap();
        drop(far);
        let heard = || receive(&near, RecvFlags::DONTWAIT).unwrap();
        let first = heard().unwrap();
        assert_eq!((first.kind, first.number), (Some(Kind::Kept), 3));
        assert!(matches!(first.descriptors, [Some(_), None]));
        let second = heard().unwrap();
        assert_eq!((second.kind, second.number), (Some(Kind::Close), 4));
        assert!(heard().is_none());
    }
}
