//! News of interfaces, for who waits until one is gone.
//!
//! What the news say is not read: after each the kernel is asked anew, so that none can be missed.

use super::{Doing, NetlinkError};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// The group that hears of every interface (`RTMGRP_LINK`).
const LINK: u32 = 1;

/// A socket that can be read after an interface has come, changed or gone.
#[derive(Debug)]
pub struct Departures(OwnedFd);

impl Departures {
    /// Hears of what happens from now on.
    ///
    /// # Errors
    /// [`NetlinkError::Open`].
    pub fn open() -> Result<Self, NetlinkError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)
            .and_then(|socket| bind(&socket, &SocketAddrNetlink::new(0, LINK)).map(|()| socket));
        socket.map(Self).map_err(|source| NetlinkError::Open { source })
    }

    /// Takes the news that are there.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`].
    pub fn take(&self) -> Result<(), NetlinkError> {
        let mut byte = [0_u8; 1];
        loop {
            match recv(&self.0, &mut byte, RecvFlags::empty()) {
                // News that found no room are news, too.
                Ok(_) | Err(Errno::INTR | Errno::NOBUFS) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => {
                    let doing = Doing { operation: "hear of", subject: "interfaces" };
                    return Err(doing.socket(error));
                }
            }
        }
    }
}

impl AsFd for Departures {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
