//! The guest's memory: frame numbers both ways, and frames that the initial mapping does not reach.
//!
//! A PV guest sees machine frames. The builder lists them by pfn (p2m); Xen lists pfns by machine
//! frame (m2p), read-only, at a fixed address.

use crate::{
    hypercall::{self, Errno},
    single::Single,
};
use core::cell::UnsafeCell;
use xen_sys::{
    arch_x86::__MACH2PHYS_VIRT_START,
    memory::{
        XENMEM_current_reservation, XENMEM_machphys_mapping, XENMEM_maximum_reservation,
        xen_machphys_mapping, xen_memory_domain,
    },
    types::{Domid, Mfn, Pfn},
    xen::shared_info as SharedInfo,
};

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Where `link.ld` and the notes put pfn 0.
pub const VIRT_BASE: u64 = 0xffff_ffff_8000_0000;
/// Page table entry: present.
pub const PRESENT: u64 = 1 << 0;
/// Page table entry: writable.
pub const WRITABLE: u64 = 1 << 1;
/// Page table entry: accessed and dirty, set beforehand so that no one has to.
const ACCESSED_DIRTY: u64 = 1 << 5 | 1 << 6;
/// Page table entry: bits of the frame number.
pub const FRAME_MASK: u64 = 0x000f_ffff_ffff_f000;

/// Frames that the runtime can look into at a time.
const WINDOWS: usize = 5;

/// A page of the image whose address is lent to other frames.
#[repr(C, align(4096))]
struct Page(UnsafeCell<[u8; PAGE as usize]>);

// SAFETY: the contents are reached through raw pointers only, under the rules of this module.
unsafe impl Sync for Page {}

impl Page {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; PAGE as usize]))
    }

    fn address(&self) -> u64 {
        self.0.get() as u64
    }
}

#[unsafe(link_section = ".bss.pages")]
static SHARED_INFO: Page = Page::new();
#[unsafe(link_section = ".bss.pages")]
static WINDOW: [Page; WINDOWS] = [const { Page::new() }; WINDOWS];
/// Pages that a guest may share with others.
pub const SHARED_PAGES: usize = 4;
#[unsafe(link_section = ".bss.pages")]
static SHARED: [Page; SHARED_PAGES] = [const { Page::new() }; SHARED_PAGES];
/// How many windows are in use: they nest like calls.
static DEPTH: Single<usize> = Single::new(0);

/// Maps shared_info; once, before anything reads the clock or waits.
pub fn map_shared_info(machine_address: u64) -> Result<(), Errno> {
    let entry = (machine_address & FRAME_MASK) | PRESENT | WRITABLE | ACCESSED_DIRTY;
    // SAFETY: the page exists to be replaced, nothing has used it yet.
    unsafe { hypercall::update_va_mapping(SHARED_INFO.address(), entry) }
}

/// The address of a page that nothing else uses, to be shared.
#[must_use]
pub fn shared_page(index: usize) -> u64 {
    SHARED[index].address()
}

/// The page shared with Xen. Xen writes to it at any time.
#[must_use]
pub fn shared_info() -> *mut SharedInfo {
    SHARED_INFO.0.get().cast()
}

/// Whether the runtime put another frame (or none) at this address of the initial mapping.
#[must_use]
pub fn is_remapped(va: u64) -> bool {
    let page = va & !(PAGE - 1);
    page == SHARED_INFO.address()
        || WINDOW.iter().any(|window| page == window.address())
        || page == crate::start::guard_page()
}

/// The address in the initial mapping of a page of the guest.
#[must_use]
pub fn address(pfn: Pfn) -> u64 {
    VIRT_BASE.wrapping_add(pfn.0.wrapping_mul(PAGE))
}

/// How far Xen's machine-to-physical table reaches.
pub fn machine_frames() -> Result<u64, Errno> {
    let mut mapping: xen_machphys_mapping = xen_sys::Zeroed::zeroed();
    // SAFETY: the operation writes the structure and nothing else.
    unsafe { hypercall::memory_op(XENMEM_machphys_mapping, &mut mapping)? };
    Ok(mapping.max_mfn.saturating_add(1))
}

/// The pfn that Xen has for a machine frame; `None` beyond the table.
///
/// For a frame of another domain the number is that domain's affair: compare with the p2m.
#[must_use]
pub fn pfn_of(mfn: Mfn, machine_frames: u64) -> Option<Pfn> {
    if mfn.0 >= machine_frames {
        return None;
    }
    let entry = (__MACH2PHYS_VIRT_START as *const u64).wrapping_add(mfn.0 as usize);
    // SAFETY: Xen maps its table there, readable, for frames below the limit it told. It changes
    // entries when frames change hands, hence volatile.
    Some(Pfn(unsafe { entry.read_volatile() }))
}

/// Lends `f` a view of a frame: 512 words, writable or not.
///
/// Xen refuses frames of other domains, and writable views of page tables and descriptor tables.
pub fn with_frame<R>(mfn: Mfn, writable: bool, f: impl FnOnce(*mut u64) -> R) -> Result<R, Errno> {
    let mut level = 0;
    DEPTH.with(|depth| {
        level = *depth;
        *depth += 1;
    });
    let window = WINDOW.get(level).expect("windows nest as deep as page tables and one more");
    let rights = if writable { WRITABLE } else { 0 };
    let entry = (mfn.0 << 12) | PRESENT | ACCESSED_DIRTY | rights;
    // SAFETY: windows are used here only, and this level's is free: it is mapped below and gone
    // again before the level is given back.
    let mapped = unsafe { hypercall::update_va_mapping(window.address(), entry) };
    let result = mapped.map(|()| f(window.0.get().cast()));
    // SAFETY: as above; `f` was lent the pointer for the call only.
    unsafe { hypercall::update_va_mapping(window.address(), 0)? };
    DEPTH.with(|depth| *depth = level);
    result
}

/// Pages that Xen counts as this domain's: now, and at most.
pub fn reservation() -> Result<(u64, u64), Errno> {
    let mut domain = xen_memory_domain { domid: Domid::SELF.0 };
    // SAFETY: both operations read the structure only.
    unsafe {
        Ok((
            hypercall::memory_op(XENMEM_current_reservation, &mut domain)?,
            hypercall::memory_op(XENMEM_maximum_reservation, &mut domain)?,
        ))
    }
}
