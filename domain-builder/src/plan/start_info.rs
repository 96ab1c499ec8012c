//! The start info page (`struct start_info`, xen.h) and the shared info page at start, as bytes.
//!
//! In: the layout, the command line and what only apply knows (machine frames and ports). Out: one
//! page each. Writes field by field at the header's offsets; holds no pointer into the structure.

use super::layout::{Layout, PAGE_BYTES};
use serde::{Deserialize, Serialize};
use std::mem::offset_of;
use xen_sys::xen::{MAX_GUEST_CMDLINE, XEN_LEGACY_MAX_VCPUS, shared_info, vcpu_info};

/// Longest command line in bytes, its final NUL not counted.
pub const MAX_CMDLINE_BYTES: usize = MAX_GUEST_CMDLINE - 1;

const MAGIC: &[u8] = b"xen-3.0-x86_64";

/// Offsets in `struct start_info`.
mod at {
    use std::mem::offset_of;
    use xen_sys::xen::{start_info, start_info_console_domU};

    pub const NR_PAGES: usize = offset_of!(start_info, nr_pages);
    pub const SHARED_INFO: usize = offset_of!(start_info, shared_info);
    pub const FLAGS: usize = offset_of!(start_info, flags);
    pub const STORE_MFN: usize = offset_of!(start_info, store_mfn);
    pub const STORE_EVTCHN: usize = offset_of!(start_info, store_evtchn);
    const CONSOLE: usize = offset_of!(start_info, console);
    pub const CONSOLE_MFN: usize = CONSOLE + offset_of!(start_info_console_domU, mfn);
    pub const CONSOLE_EVTCHN: usize = CONSOLE + offset_of!(start_info_console_domU, evtchn);
    pub const PT_BASE: usize = offset_of!(start_info, pt_base);
    pub const NR_PT_FRAMES: usize = offset_of!(start_info, nr_pt_frames);
    pub const MFN_LIST: usize = offset_of!(start_info, mfn_list);
    pub const MOD_START: usize = offset_of!(start_info, mod_start);
    pub const MOD_LEN: usize = offset_of!(start_info, mod_len);
    pub const CMD_LINE: usize = offset_of!(start_info, cmd_line);
    pub const FIRST_P2M_PFN: usize = offset_of!(start_info, first_p2m_pfn);
    pub const NR_P2M_FRAMES: usize = offset_of!(start_info, nr_p2m_frames);
}

/// What is known of the start info before the domain exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartInfo {
    /// `SIF_*` flags.
    pub flags: u32,
    /// Virtual address, or pfn under `SIF_MOD_START_PFN`; 0 without a ramdisk.
    pub mod_start: u64,
    /// Exact length of the ramdisk in bytes.
    pub mod_len: u64,
    /// Kernel command line without NUL; at most [`MAX_CMDLINE_BYTES`].
    pub cmdline: String,
}

/// What only a domain that exists can tell: machine frames and ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assigned {
    /// Machine frame of the shared info page.
    pub shared_info_mfn: u64,
    /// Machine frame of the xenstore ring.
    pub store_mfn: u64,
    /// The guest's event channel to xenstore.
    pub store_port: u32,
    /// Machine frame of the console ring.
    pub console_mfn: u64,
    /// The guest's event channel to the console.
    pub console_port: u32,
}

impl StartInfo {
    /// The page as the guest finds it.
    #[must_use]
    pub fn page(&self, layout: &Layout, assigned: &Assigned) -> Box<[u8; PAGE_BYTES as usize]> {
        let mut page = Box::new([0u8; PAGE_BYTES as usize]);
        page[..MAGIC.len()].copy_from_slice(MAGIC);
        let mut word = |at: usize, value: u64| {
            page[at..at + 8].copy_from_slice(&value.to_le_bytes());
        };
        word(at::NR_PAGES, layout.pages);
        word(at::SHARED_INFO, assigned.shared_info_mfn * PAGE_BYTES);
        word(at::FLAGS, u64::from(self.flags));
        word(at::STORE_MFN, assigned.store_mfn);
        word(at::STORE_EVTCHN, u64::from(assigned.store_port));
        word(at::CONSOLE_MFN, assigned.console_mfn);
        word(at::CONSOLE_EVTCHN, u64::from(assigned.console_port));
        word(at::PT_BASE, layout.vaddr(layout.tables.start));
        word(at::NR_PT_FRAMES, layout.tables.count);
        word(at::MFN_LIST, layout.p2m_vaddr);
        word(at::MOD_START, self.mod_start);
        word(at::MOD_LEN, self.mod_len);
        if layout.mappings.len() > 1 {
            word(at::FIRST_P2M_PFN, layout.p2m.start);
            word(at::NR_P2M_FRAMES, layout.p2m.count + layout.p2m_tables.count);
        }
        // The plan has checked the length; a longer line is cut rather than spilled.
        let text = self.cmdline.as_bytes();
        let len = text.len().min(MAX_CMDLINE_BYTES);
        page[at::CMD_LINE..at::CMD_LINE + len].copy_from_slice(&text[..len]);
        page
    }
}

/// The shared info page at start: zero but for every vcpu's event channels masked.
#[must_use]
pub fn shared_info_page() -> Box<[u8; PAGE_BYTES as usize]> {
    const FIRST: usize =
        offset_of!(shared_info, vcpu_info) + offset_of!(vcpu_info, evtchn_upcall_mask);
    let mut page = Box::new([0u8; PAGE_BYTES as usize]);
    for vcpu in 0..XEN_LEGACY_MAX_VCPUS {
        page[FIRST + vcpu * size_of::<vcpu_info>()] = 1;
    }
    page
}
