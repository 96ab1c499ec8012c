//! `/dev/xen/privcmd`: raw hypercalls, and frames of other domains mapped into this process.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use xen_sys::ioctl::privcmd::{
    IOCTL_PRIVCMD_HYPERCALL, IOCTL_PRIVCMD_MMAP_RESOURCE, IOCTL_PRIVCMD_MMAPBATCH_V2,
    privcmd_hypercall, privcmd_mmap_resource, privcmd_mmapbatch_v2,
};
use xen_sys::types::{Domid, Gfn};

use crate::buffer::PAGE_BYTES;
use crate::error::{Error, Result};
use crate::ioctl::ioctl;
use crate::mapping::{Mapping, Protection};

const PATH: &str = "/dev/xen/privcmd";

/// The open device.
pub(crate) struct Privcmd {
    fd: OwnedFd,
}

impl Privcmd {
    pub(crate) fn open() -> Result<Self> {
        let fd = rustix::fs::open(PATH, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::open(PATH, "xen-privcmd", errno))?;
        Ok(Self { fd })
    }

    /// Makes hypercall `number`; returns its result, not negative, or its errno.
    ///
    /// # Safety
    ///
    /// Every address that `arguments` holds, directly or inside of what it points at, must be that
    /// of a live [`crate::buffer::Buffer`] with as many bytes as the operation reads or writes, or
    /// null where the operation allows it; and no slice of those buffers may be alive. The
    /// operation must not change memory of this process in any other way.
    pub(crate) unsafe fn hypercall(&self, number: u64, arguments: [u64; 5]) -> Result<u32, Errno> {
        let mut call = privcmd_hypercall { op: number, arg: arguments };
        // SAFETY: `call` is the argument that this ioctl reads; the kernel passes the rest on to
        // Xen, which the caller vouches for.
        unsafe { ioctl(&self.fd, IOCTL_PRIVCMD_HYPERCALL, &raw mut call) }
    }

    /// Maps `frames` of `domid`, in their order, as one run of pages.
    pub(crate) fn map_frames(
        &self,
        domid: Domid,
        frames: &[Gfn],
        protection: Protection,
    ) -> Result<Mapping> {
        let (mapping, errors) = self.map_each(domid, frames, protection)?;
        // ENOENT is answered when single frames were paged out; their errors say which.
        for (index, (error, gfn)) in errors.iter().zip(frames).enumerate() {
            if *error != 0 {
                let errno = Errno::from_raw_os_error(error.wrapping_neg());
                return Err(Error::ForeignFrame { domid, gfn: *gfn, index, errno });
            }
        }
        Ok(mapping)
    }

    /// Maps those of `frames` that `domid` has, in their order, as one run of pages; tells which. None
    /// if it has none of them.
    pub(crate) fn map_present(
        &self,
        domid: Domid,
        frames: &[Gfn],
        protection: Protection,
    ) -> Result<(Option<Mapping>, Vec<bool>)> {
        let mut present = vec![true; frames.len()];
        loop {
            let of_all = frames.iter().zip(&present);
            let wanted: Vec<Gfn> = of_all.filter(|(_, has)| **has).map(|(gfn, _)| *gfn).collect();
            if wanted.is_empty() {
                return Ok((None, present));
            }
            let (mapping, errors) = self.map_each(domid, &wanted, protection)?;
            if errors.iter().all(|error| *error == 0) {
                return Ok((Some(mapping), present));
            }
            // Where a frame is missing the mapping has a hole, which nobody may touch.
            drop(mapping);
            let mut errors = errors.iter();
            for has in present.iter_mut().filter(|has| **has) {
                *has = errors.next().is_some_and(|error| *error == 0);
            }
        }
    }

    /// Maps `frames`, and gives the errno of each, negative, or 0.
    fn map_each(
        &self,
        domid: Domid,
        frames: &[Gfn],
        protection: Protection,
    ) -> Result<(Mapping, Vec<i32>)> {
        let operation = "map foreign frames";
        if frames.is_empty() {
            return Err(Error::Invalid { operation, what: "no frames" });
        }
        let Ok(num) = u32::try_from(frames.len()) else {
            return Err(Error::Invalid { operation, what: "too many frames" });
        };
        let bytes = frames.len() * PAGE_BYTES;
        let mapping = Mapping::map(&self.fd, 0, bytes, protection)
            .map_err(|errno| Error::Memory { operation, bytes, errno })?;
        let mut errors = vec![0_i32; frames.len()];
        let mut call = privcmd_mmapbatch_v2 {
            num,
            dom: domid.0,
            addr: mapping.address(),
            // Gfn is a transparent u64, which is what the driver reads.
            arr: frames.as_ptr().expose_provenance() as u64,
            err: errors.as_mut_ptr().expose_provenance() as u64,
            _hole0: [0; 2],
        };
        // SAFETY: the driver reads `num` words at `arr` and writes `num` ints at `err`, both of
        // which hold that many, and fills the pages of `mapping`, which nothing refers to yet.
        let outcome = unsafe { ioctl(&self.fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &raw mut call) };
        match outcome {
            Err(errno) if errors.iter().all(|error| *error == 0) => {
                Err(Error::Device { operation, path: PATH, domid: Some(domid), errno })
            }
            _ => Ok((mapping, errors)),
        }
    }

    /// Maps `count` frames of a resource (`XENMEM_resource_*`) of `domid`, from frame `first` on.
    pub(crate) fn map_resource(
        &self,
        domid: Domid,
        kind: u16,
        id: u32,
        first: u32,
        count: usize,
    ) -> Result<Mapping, Errno> {
        if count == 0 {
            return Err(Errno::INVAL);
        }
        let protection = Protection::ReadWrite;
        let mapping = Mapping::map(&self.fd, 0, count * PAGE_BYTES, protection)?;
        let mut call = privcmd_mmap_resource {
            dom: domid.0,
            r#type: u32::from(kind),
            id,
            idx: first,
            num: count as u64,
            addr: mapping.address(),
            _hole0: [0; 2],
        };
        // SAFETY: the driver fills the `num` pages of `mapping`, which nothing refers to yet, and
        // touches no other memory of this process.
        unsafe { ioctl(&self.fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &raw mut call) }?;
        Ok(mapping)
    }
}
