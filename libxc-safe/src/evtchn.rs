//! `/dev/xen/evtchn`: event channels of this process.
//!
//! A port that is pending is masked until it is unmasked. Ports are closed with the device.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use xen_sys::ioctl::evtchn::{
    IOCTL_EVTCHN_BIND_INTERDOMAIN, IOCTL_EVTCHN_BIND_UNBOUND_PORT, IOCTL_EVTCHN_BIND_VIRQ,
    IOCTL_EVTCHN_NOTIFY, IOCTL_EVTCHN_RESET, IOCTL_EVTCHN_UNBIND, ioctl_evtchn_bind_interdomain,
    ioctl_evtchn_bind_unbound_port, ioctl_evtchn_bind_virq, ioctl_evtchn_notify,
    ioctl_evtchn_unbind,
};
use xen_sys::types::{Domid, Port};

use crate::error::{Error, Result};
use crate::ioctl::ioctl;

const PATH: &str = "/dev/xen/evtchn";
/// Ports read at once.
const BATCH: usize = 128;

/// An open `/dev/xen/evtchn` with the ports bound by it. Poll it for reading.
#[derive(Debug)]
pub struct EventChannels {
    fd: OwnedFd,
}

impl AsFd for EventChannels {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl EventChannels {
    /// Opens the device; no port is bound yet.
    ///
    /// # Errors
    /// [`Error::NotRoot`], [`Error::NotDom0`].
    pub fn open() -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::open(PATH, flags, Mode::empty())
            .map_err(|errno| Error::open(PATH, "xen-evtchn", errno))?;
        Ok(Self { fd })
    }

    /// Connects to `remote_port`, which `remote` allocated for this domain. The new local port
    /// starts pending.
    ///
    /// # Errors
    /// [`Error::Device`]; EINVAL when that port does not wait for this domain.
    pub fn bind_interdomain(&self, remote: Domid, remote_port: Port) -> Result<Port> {
        let mut argument = ioctl_evtchn_bind_interdomain {
            remote_domain: u32::from(remote.0),
            remote_port: remote_port.0,
        };
        // SAFETY: the driver reads `argument`.
        unsafe {
            self.call("bind to a port", IOCTL_EVTCHN_BIND_INTERDOMAIN, Some(remote), &mut argument)
        }
        .map(Port)
    }

    /// Allocates a local port for `remote` to connect to.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn bind_unbound(&self, remote: Domid) -> Result<Port> {
        let mut argument = ioctl_evtchn_bind_unbound_port { remote_domain: u32::from(remote.0) };
        let number = IOCTL_EVTCHN_BIND_UNBOUND_PORT;
        // SAFETY: the driver reads `argument`.
        unsafe { self.call("allocate a port", number, Some(remote), &mut argument) }.map(Port)
    }

    /// Binds a virtual interrupt (`VIRQ_*`) to a local port.
    ///
    /// # Errors
    /// [`Error::Device`]; EEXIST when this domain has it bound already.
    pub fn bind_virq(&self, virq: u32) -> Result<Port> {
        let mut argument = ioctl_evtchn_bind_virq { virq };
        // SAFETY: the driver reads `argument`.
        unsafe { self.call("bind a VIRQ", IOCTL_EVTCHN_BIND_VIRQ, None, &mut argument) }.map(Port)
    }

    /// Closes a port.
    ///
    /// # Errors
    /// [`Error::Device`]; ENOTCONN when it is not bound here.
    pub fn unbind(&self, port: Port) -> Result<()> {
        let mut argument = ioctl_evtchn_unbind { port: port.0 };
        // SAFETY: the driver reads `argument`.
        unsafe { self.call("unbind a port", IOCTL_EVTCHN_UNBIND, None, &mut argument) }?;
        Ok(())
    }

    /// Signals the other end of a port.
    ///
    /// # Errors
    /// [`Error::Device`]; ENOTCONN when it is not bound here.
    pub fn notify(&self, port: Port) -> Result<()> {
        let mut argument = ioctl_evtchn_notify { port: port.0 };
        // SAFETY: the driver reads `argument`.
        unsafe { self.call("notify a port", IOCTL_EVTCHN_NOTIFY, None, &mut argument) }?;
        Ok(())
    }

    /// Forgets events that wait to be read, and the error of an overflow.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn reset(&self) -> Result<()> {
        // SAFETY: this ioctl takes no argument.
        unsafe { self.call("reset", IOCTL_EVTCHN_RESET, None, &mut ()) }?;
        Ok(())
    }

    /// Appends the ports that are pending to `ports`, and returns how many there were: 0 when
    /// none is. Each stays masked until [`EventChannels::unmask`]. Does not wait.
    ///
    /// # Errors
    /// [`Error::Device`]; EFBIG when more events came than the driver could hold: reset, and take
    /// every port as pending.
    pub fn pending(&self, ports: &mut Vec<Port>) -> Result<usize> {
        let mut bytes = [0; BATCH * 4];
        let read = loop {
            match rustix::io::read(&self.fd, &mut bytes) {
                Ok(read) => break read,
                Err(Errno::AGAIN) => return Ok(0),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.error("read pending ports", None, errno)),
            }
        };
        let words = bytes[..read].chunks_exact(4);
        ports.extend(
            words.map(|word| Port(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))),
        );
        Ok(read / 4)
    }

    /// Waits until a port is pending, at most `timeout` (none: without limit). Returns whether one
    /// is.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        let timeout = timeout.map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(self.error("poll", None, errno)),
        }
    }

    /// Lets a port that was pending become pending again.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn unmask(&self, port: Port) -> Result<()> {
        self.unmask_all(&[port])
    }

    /// Lets ports that were pending become pending again.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn unmask_all(&self, ports: &[Port]) -> Result<()> {
        for batch in ports.chunks(BATCH) {
            let mut bytes = [0; BATCH * 4];
            for (word, port) in bytes.chunks_exact_mut(4).zip(batch) {
                word.copy_from_slice(&port.0.to_ne_bytes());
            }
            // The driver takes all of it or fails.
            while let Err(errno) = rustix::io::write(&self.fd, &bytes[..batch.len() * 4]) {
                if errno != Errno::INTR {
                    return Err(self.error("unmask ports", None, errno));
                }
            }
        }
        Ok(())
    }

    fn error(&self, operation: &'static str, domid: Option<Domid>, errno: Errno) -> Error {
        Error::Device { operation, path: PATH, domid, errno }
    }

    /// Makes an ioctl.
    ///
    /// # Safety
    /// `argument` is what the driver expects for `number`.
    unsafe fn call<T>(
        &self,
        operation: &'static str,
        number: u32,
        domid: Option<Domid>,
        argument: &mut T,
    ) -> Result<u32> {
        // SAFETY: as the caller vouches; the structures hold no address.
        unsafe { ioctl(&self.fd, number, argument) }
            .map_err(|errno| self.error(operation, domid, errno))
    }
}
