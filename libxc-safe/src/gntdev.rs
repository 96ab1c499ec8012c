//! `/dev/xen/gntdev`: pages that other domains granted to this one.

use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use xen_sys::grant_table::{GNTCOPY_dest_gref, GNTCOPY_source_gref, GNTST_okay};
use xen_sys::ioctl::gntdev::{
    IOCTL_GNTDEV_GRANT_COPY, IOCTL_GNTDEV_MAP_GRANT_REF, IOCTL_GNTDEV_SET_UNMAP_NOTIFY,
    IOCTL_GNTDEV_UNMAP_GRANT_REF, UNMAP_NOTIFY_CLEAR_BYTE, UNMAP_NOTIFY_SEND_EVENT,
    gntdev_grant_copy_segment, gntdev_grant_copy_segment_foreign, gntdev_grant_copy_segment_ptr,
    ioctl_gntdev_grant_copy, ioctl_gntdev_grant_ref, ioctl_gntdev_map_grant_ref,
    ioctl_gntdev_unmap_grant_ref, ioctl_gntdev_unmap_notify,
};
use xen_sys::types::{Domid, GrantRef, Port};

use crate::buffer::PAGE_BYTES;
use crate::error::{Error, Result};
use crate::ioctl::ioctl;
use crate::layout::{get, put};
use crate::mapping::{Mapping, Protection};

const PATH: &str = "/dev/xen/gntdev";

/// What the kernel does when a mapping goes away, also when the process dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnmapNotify {
    /// Sets this byte of the mapping to zero.
    pub clear_byte: Option<usize>,
    /// Signals this local event channel port, which must be bound by `/dev/xen/evtchn`.
    pub event: Option<Port>,
}

impl UnmapNotify {
    /// Action bits, byte and port as both grant devices take them.
    pub(crate) fn parts(self) -> (u32, u64, u32) {
        let clear = if self.clear_byte.is_some() { UNMAP_NOTIFY_CLEAR_BYTE } else { 0 };
        let event = if self.event.is_some() { UNMAP_NOTIFY_SEND_EVENT } else { 0 };
        let port = self.event.map_or(0, |port| port.0);
        (clear | event, self.clear_byte.unwrap_or(0) as u64, port)
    }

    /// Whether the byte lies within `len` bytes.
    pub(crate) fn check(self, len: usize) -> Result<()> {
        match self.clear_byte {
            Some(offset) if offset >= len => Err(Error::OutOfBounds { offset, len: 1, size: len }),
            _ => Ok(()),
        }
    }
}

/// The open device. Mappings keep it open for as long as they live.
#[derive(Clone, Debug)]
pub struct GrantDevice {
    fd: Arc<OwnedFd>,
}

/// Granted pages, mapped here in the order they were asked for. Unmapped on drop.
#[derive(Debug)]
pub struct GrantMapping {
    // Dropped in this order: the pages must be unmapped before the references are given back.
    mapping: Mapping,
    held: Held,
}

/// References that the driver holds for this process; given back on drop.
#[derive(Debug)]
struct Held {
    fd: Arc<OwnedFd>,
    index: u64,
    count: u32,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut argument =
            ioctl_gntdev_unmap_grant_ref { index: self.index, count: self.count, pad: 0 };
        // SAFETY: the driver reads `argument`. Nothing is mapped at this index any more.
        let outcome = unsafe { ioctl(&*self.fd, IOCTL_GNTDEV_UNMAP_GRANT_REF, &raw mut argument) };
        debug_assert!(outcome.is_ok(), "giving grant references back: {outcome:?}");
    }
}

impl Deref for GrantMapping {
    type Target = Mapping;

    fn deref(&self) -> &Mapping {
        &self.mapping
    }
}

impl GrantMapping {
    /// Says what the kernel is to do when this mapping goes away.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::Device`].
    pub fn notify_on_unmap(&self, notify: UnmapNotify) -> Result<()> {
        notify.check(self.mapping.len())?;
        let (action, byte, event_channel_port) = notify.parts();
        let mut argument =
            ioctl_gntdev_unmap_notify { index: self.held.index + byte, action, event_channel_port };
        // SAFETY: the driver reads `argument`; the byte that it may clear later lies in the
        // mapping, checked above, to which no reference exists.
        unsafe { ioctl(&*self.held.fd, IOCTL_GNTDEV_SET_UNMAP_NOTIFY, &raw mut argument) }
            .map_err(|errno| device("set the unmap notification", None, errno))?;
        Ok(())
    }
}

impl GrantDevice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::NotRoot`], [`Error::NotDom0`].
    pub fn open() -> Result<Self> {
        let fd = rustix::fs::open(PATH, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::open(PATH, "xen-gntdev", errno))?;
        Ok(Self { fd: Arc::new(fd) })
    }

    /// Maps pages that `domid` granted, as one run.
    ///
    /// # Errors
    /// [`Error::Device`]; EINVAL when a reference grants nothing to this domain.
    pub fn map(
        &self,
        domid: Domid,
        references: &[GrantRef],
        protection: Protection,
    ) -> Result<GrantMapping> {
        let operation = "map granted pages";
        let count = u32::try_from(references.len()).ok().filter(|count| *count > 0);
        let Some(count) = count else {
            return Err(Error::Invalid { operation, what: "no pages, or too many" });
        };
        let mut argument = map_argument(domid, references, count);
        // SAFETY: `argument` has the head and as many references as it says, which is what the
        // driver reads; it writes the index within the head.
        unsafe { ioctl(&*self.fd, IOCTL_GNTDEV_MAP_GRANT_REF, argument.as_mut_ptr()) }
            .map_err(|errno| device(operation, Some(domid), errno))?;
        let index = get!(argument, ioctl_gntdev_map_grant_ref, index);
        let held = Held { fd: Arc::clone(&self.fd), index, count };
        let bytes = references.len() * PAGE_BYTES;
        let mapping = Mapping::map(&*self.fd, index, bytes, protection)
            .map_err(|errno| device(operation, Some(domid), errno))?;
        Ok(GrantMapping { mapping, held })
    }

    /// Copies from a granted page without mapping it.
    ///
    /// # Errors
    /// [`Error::Device`], [`Error::BadAnswer`] when the grant does not allow it.
    pub fn copy_from(
        &self,
        domid: Domid,
        reference: GrantRef,
        offset: u16,
        bytes: &mut [u8],
    ) -> Result<()> {
        let local =
            gntdev_grant_copy_segment_ptr { virt: bytes.as_mut_ptr().expose_provenance() as u64 };
        let foreign = foreign(domid, reference, offset);
        // SAFETY: Xen writes `len` bytes at `dest`, all of `bytes`, borrowed mutably until after.
        unsafe { self.copy(domid, foreign, local, bytes.len(), GNTCOPY_source_gref) }
    }

    /// Copies to a granted page without mapping it.
    ///
    /// # Errors
    /// As [`GrantDevice::copy_from`].
    pub fn copy_to(
        &self,
        domid: Domid,
        reference: GrantRef,
        offset: u16,
        bytes: &[u8],
    ) -> Result<()> {
        let local =
            gntdev_grant_copy_segment_ptr { virt: bytes.as_ptr().expose_provenance() as u64 };
        let foreign = foreign(domid, reference, offset);
        // SAFETY: Xen reads `len` bytes at `source`, all of `bytes`, borrowed until after.
        unsafe { self.copy(domid, local, foreign, bytes.len(), GNTCOPY_dest_gref) }
    }

    /// Copies one segment.
    ///
    /// # Safety
    /// The end that `flags` does not call a reference holds the address of `len` bytes of this
    /// process, readable as source, writable and borrowed by the caller alone as destination.
    unsafe fn copy(
        &self,
        domid: Domid,
        source: gntdev_grant_copy_segment_ptr,
        dest: gntdev_grant_copy_segment_ptr,
        len: usize,
        flags: u16,
    ) -> Result<()> {
        let operation = "copy a granted page";
        let Some(len) = u16::try_from(len).ok().filter(|len| usize::from(*len) <= PAGE_BYTES)
        else {
            return Err(Error::Invalid { operation, what: "more than a page" });
        };
        let mut segment =
            gntdev_grant_copy_segment { source, dest, len, flags, status: 0, _hole0: [0; 2] };
        let mut argument = ioctl_gntdev_grant_copy {
            count: 1,
            _hole0: [0; 4],
            segments: (&raw mut segment).expose_provenance() as u64,
        };
        // SAFETY: the driver reads `argument` and one segment, and writes the segment's status;
        // the caller vouches for the segment's local end.
        unsafe { ioctl(&*self.fd, IOCTL_GNTDEV_GRANT_COPY, &raw mut argument) }
            .map_err(|errno| device(operation, Some(domid), errno))?;
        // SAFETY: the driver may have written the status through the exposed address; an i16 is
        // valid whatever its bits are.
        let status = unsafe { (&raw const segment.status).read_volatile() };
        if status == GNTST_okay {
            return Ok(());
        }
        let what = "the grant does not allow it";
        Err(Error::BadAnswer { operation, domid: Some(domid), what })
    }
}

fn foreign(domid: Domid, reference: GrantRef, offset: u16) -> gntdev_grant_copy_segment_ptr {
    let foreign = gntdev_grant_copy_segment_foreign { r#ref: reference.0, offset, domid: domid.0 };
    gntdev_grant_copy_segment_ptr { foreign }
}

/// The argument of the map ioctl: a head, then one record per reference.
fn map_argument(domid: Domid, references: &[GrantRef], count: u32) -> Vec<u8> {
    type Head = ioctl_gntdev_map_grant_ref;
    const REFS: usize = std::mem::offset_of!(Head, refs);
    const RECORD: usize = size_of::<ioctl_gntdev_grant_ref>();
    let mut argument = vec![0; REFS + references.len() * RECORD];
    put!(argument, Head { count: count });
    for (record, reference) in argument[REFS..].chunks_exact_mut(RECORD).zip(references) {
        put!(record, ioctl_gntdev_grant_ref { domid: u32::from(domid.0), r#ref: reference.0 });
    }
    argument
}

fn device(operation: &'static str, domid: Option<Domid>, errno: Errno) -> Error {
    Error::Device { operation, path: PATH, domid, errno }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_argument_to_the_byte() {
        let check = |references: &[u32], expected: &[u8]| {
            let references: Vec<_> = references.iter().copied().map(GrantRef).collect();
            let count = references.len() as u32;
            assert_eq!(map_argument(Domid(3), &references, count), expected);
        };
        let head = |count: u8| [count, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        check(&[9], &[&head(1)[..], &[3, 0, 0, 0, 9, 0, 0, 0]].concat());
        let two = [3, 0, 0, 0, 0, 1, 0, 0, 3, 0, 0, 0, 8, 0, 0, 0];
        check(&[256, 8], &[&head(2)[..], &two].concat());
    }

    #[test]
    fn notifications() {
        let check = |clear_byte, event: Option<u32>, parts, fits| {
            let notify = UnmapNotify { clear_byte, event: event.map(Port) };
            assert_eq!(notify.parts(), parts);
            assert_eq!(notify.check(PAGE_BYTES).is_ok(), fits);
        };
        check(None, None, (0, 0, 0), true);
        check(Some(4095), None, (1, 4095, 0), true);
        check(Some(4096), None, (1, 4096, 0), false);
        check(None, Some(7), (2, 0, 7), true);
        check(Some(8), Some(7), (3, 8, 7), true);
    }
}
