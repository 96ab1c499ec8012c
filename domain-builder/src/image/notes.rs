//! What a kernel tells Xen about itself (`public/elfnote.h`).
//!
//! In: note type and descriptor of each ELF note named "Xen", or the string of a legacy
//! `__xen_guest` section. Out: [`XenNotes`]. Unknown types are ignored, as newer kernels may speak
//! to newer Xens; a known one that breaks its form is an error. Never judges whether the kernel can
//! be started: that is [`super::pv`]'s business.

use super::error::Problem;
use super::features::Features;
use serde::{Deserialize, Serialize};
use xen_sys::elfnote::*;

/// The note types that are read, with the names they have in messages.
const KNOWN: [(u32, &str); 19] = [
    (XEN_ELFNOTE_INFO, "INFO"),
    (XEN_ELFNOTE_ENTRY, "ENTRY"),
    (XEN_ELFNOTE_HYPERCALL_PAGE, "HYPERCALL_PAGE"),
    (XEN_ELFNOTE_VIRT_BASE, "VIRT_BASE"),
    (XEN_ELFNOTE_PADDR_OFFSET, "PADDR_OFFSET"),
    (XEN_ELFNOTE_XEN_VERSION, "XEN_VERSION"),
    (XEN_ELFNOTE_GUEST_OS, "GUEST_OS"),
    (XEN_ELFNOTE_GUEST_VERSION, "GUEST_VERSION"),
    (XEN_ELFNOTE_LOADER, "LOADER"),
    (XEN_ELFNOTE_PAE_MODE, "PAE_MODE"),
    (XEN_ELFNOTE_FEATURES, "FEATURES"),
    (XEN_ELFNOTE_BSD_SYMTAB, "BSD_SYMTAB"),
    (XEN_ELFNOTE_HV_START_LOW, "HV_START_LOW"),
    (XEN_ELFNOTE_L1_MFN_VALID, "L1_MFN_VALID"),
    (XEN_ELFNOTE_SUSPEND_CANCEL, "SUSPEND_CANCEL"),
    (XEN_ELFNOTE_INIT_P2M, "INIT_P2M"),
    (XEN_ELFNOTE_MOD_START_PFN, "MOD_START_PFN"),
    (XEN_ELFNOTE_SUPPORTED_FEATURES, "SUPPORTED_FEATURES"),
    (XEN_ELFNOTE_PHYS32_ENTRY, "PHYS32_ENTRY"),
];

/// Highest number of `INFO` notes and of L1_MFN_VALID pairs that are kept; more is an error.
const MAX_LIST: usize = 64;

/// In which form the kernel speaks to Xen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotesForm {
    /// Not at all: no ELF note named "Xen", no `__xen_guest` section.
    #[default]
    Absent,
    /// ELF notes.
    ElfNotes,
    /// A `__xen_guest` section with `NAME=VALUE` pairs.
    LegacySection,
}

/// How to recognise a non-present L1 entry that holds a machine frame: `entry & mask == value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct L1MfnValid {
    /// Bits that count.
    pub mask: u64,
    /// What they must be.
    pub value: u64,
}

/// The kernel's notes. `None` means that the note is absent; addresses are guest virtual unless
/// named otherwise. The note's name stands first in each description.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct XenNotes {
    /// Which of the two forms was found.
    pub form: NotesForm,
    /// INFO: free `NAME=VALUE` strings.
    pub info: Vec<String>,
    /// ENTRY: entry point for PV; `e_entry` serves where it is absent.
    pub entry_vaddr: Option<u64>,
    /// HYPERCALL_PAGE: where the kernel wants the page of hypercall stubs. Kernels since Linux
    /// 6.13 (and stable updates) do without.
    pub hypercall_page: Option<u64>,
    /// VIRT_BASE: virtual address of guest physical 0.
    pub virt_base: Option<u64>,
    /// PADDR_OFFSET: what to subtract from `p_paddr` to get the guest physical address.
    pub paddr_offset: Option<u64>,
    /// XEN_VERSION: always `xen-3.0` in practice.
    pub xen_version: Option<String>,
    /// GUEST_OS: name of the system.
    pub guest_os: Option<String>,
    /// GUEST_VERSION: its version.
    pub guest_version: Option<String>,
    /// LOADER: `generic` where any builder will do.
    pub loader: Option<String>,
    /// PAE_MODE: of interest to 32-bit kernels only.
    pub pae_mode: Option<String>,
    /// FEATURES and SUPPORTED_FEATURES together.
    pub features: Features,
    /// BSD_SYMTAB: the kernel wants its symbol table loaded behind it.
    pub bsd_symtab: bool,
    /// HV_START_LOW: lowest address at which the hypervisor's hole may begin.
    pub hv_start_low: Option<u64>,
    /// L1_MFN_VALID: for the save and restore of non-present entries.
    pub l1_mfn_valid: Vec<L1MfnValid>,
    /// SUSPEND_CANCEL: the kernel copes with a suspend that is called off.
    pub suspend_cancel: bool,
    /// INIT_P2M: where to map the initial table of machine frames.
    pub init_p2m: Option<u64>,
    /// MOD_START_PFN: the ramdisk may lie outside the initial mapping, named by its frame number.
    pub mod_start_pfn: bool,
    /// PHYS32_ENTRY: physical entry point for PVH.
    pub phys32_entry: Option<u64>,
}

impl XenNotes {
    /// Takes one ELF note named "Xen". A later note of the same type replaces an earlier one.
    pub(super) fn add(&mut self, kind: u32, desc: &[u8]) -> Result<(), Problem> {
        let Some(&(_, name)) = KNOWN.iter().find(|(known, _)| *known == kind) else {
            return Ok(());
        };
        self.form = NotesForm::ElfNotes;
        let desc = Desc { note: name, bytes: desc };
        match kind {
            XEN_ELFNOTE_INFO => {
                let text = desc.text()?;
                self.check_room(name, self.info.len())?;
                self.info.push(text);
            }
            XEN_ELFNOTE_ENTRY => self.entry_vaddr = Some(desc.number()?),
            XEN_ELFNOTE_HYPERCALL_PAGE => self.hypercall_page = Some(desc.number()?),
            XEN_ELFNOTE_VIRT_BASE => self.virt_base = Some(desc.number()?),
            XEN_ELFNOTE_PADDR_OFFSET => self.paddr_offset = Some(desc.number()?),
            XEN_ELFNOTE_XEN_VERSION => self.xen_version = Some(desc.text()?),
            XEN_ELFNOTE_GUEST_OS => self.guest_os = Some(desc.text()?),
            XEN_ELFNOTE_GUEST_VERSION => self.guest_version = Some(desc.text()?),
            XEN_ELFNOTE_LOADER => self.loader = Some(desc.text()?),
            XEN_ELFNOTE_PAE_MODE => self.pae_mode = Some(desc.text()?),
            XEN_ELFNOTE_FEATURES => self.features.add_text(&desc.text()?),
            XEN_ELFNOTE_BSD_SYMTAB => self.bsd_symtab = desc.text()? == "yes",
            XEN_ELFNOTE_HV_START_LOW => self.hv_start_low = Some(desc.number()?),
            XEN_ELFNOTE_L1_MFN_VALID => {
                for pair in desc.pairs()? {
                    self.check_room(name, self.l1_mfn_valid.len())?;
                    self.l1_mfn_valid.push(pair);
                }
            }
            XEN_ELFNOTE_SUSPEND_CANCEL => self.suspend_cancel = desc.number()? != 0,
            XEN_ELFNOTE_INIT_P2M => self.init_p2m = Some(desc.number()?),
            XEN_ELFNOTE_MOD_START_PFN => self.mod_start_pfn = desc.number()? != 0,
            XEN_ELFNOTE_SUPPORTED_FEATURES => self.features.add_bits(desc.number()?),
            XEN_ELFNOTE_PHYS32_ENTRY => self.phys32_entry = Some(desc.number()?),
            _ => {}
        }
        Ok(())
    }

    fn check_room(&self, note: &'static str, len: usize) -> Result<(), Problem> {
        if len < MAX_LIST {
            return Ok(());
        }
        Err(Problem::Note { note, reason: format!("more than {MAX_LIST} of them") })
    }

    /// Reads the string of a `__xen_guest` section: `NAME=VALUE` or `NAME`, divided by commas.
    /// Unknown names are ignored.
    pub(super) fn from_legacy(section: &[u8]) -> Result<Self, Problem> {
        let mut notes = Self { form: NotesForm::LegacySection, ..Self::default() };
        let text = Desc { note: "__xen_guest", bytes: section }.text()?;
        let mut hypercall_pfn = None;
        for item in text.split(',') {
            let (name, value) = item.split_once('=').unwrap_or((item, ""));
            let value_owned = || Some(value.to_owned());
            match name.trim() {
                "GUEST_OS" => notes.guest_os = value_owned(),
                "GUEST_VER" => notes.guest_version = value_owned(),
                "XEN_VER" => notes.xen_version = value_owned(),
                "LOADER" => notes.loader = value_owned(),
                "PAE" => notes.pae_mode = value_owned(),
                "BSD_SYMTAB" => notes.bsd_symtab = true,
                "FEATURES" => notes.features.add_text(value),
                "VIRT_BASE" => notes.virt_base = Some(legacy_number("VIRT_BASE", value)?),
                "VIRT_ENTRY" => notes.entry_vaddr = Some(legacy_number("VIRT_ENTRY", value)?),
                "ELF_PADDR_OFFSET" => {
                    notes.paddr_offset = Some(legacy_number("ELF_PADDR_OFFSET", value)?);
                }
                "HYPERCALL_PAGE" => {
                    hypercall_pfn = Some(legacy_number("HYPERCALL_PAGE", value)?);
                }
                _ => {}
            }
        }
        // Here the page is named by its number in guest physical memory, and the physical
        // addresses of the file are meant to be virtual ones unless it says otherwise.
        let base = notes.virt_base.unwrap_or(0);
        notes.hypercall_page = match hypercall_pfn {
            None => None,
            Some(pfn) => {
                Some(pfn.checked_mul(4096).and_then(|bytes| base.checked_add(bytes)).ok_or_else(
                    || Problem::Note {
                        note: "HYPERCALL_PAGE",
                        reason: format!("page {pfn:#x} leaves the address space"),
                    },
                )?)
            }
        };
        notes.paddr_offset = notes.paddr_offset.or(notes.virt_base);
        Ok(notes)
    }
}

/// A number as C's `strtoull` with base 0 reads it.
fn legacy_number(note: &'static str, text: &str) -> Result<u64, Problem> {
    let text = text.trim();
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None if text.len() > 1 && text.starts_with('0') => u64::from_str_radix(&text[1..], 8),
        None => text.parse(),
    };
    parsed.map_err(|_| Problem::Note { note, reason: format!("{text:?} is not a number") })
}

/// The descriptor of one note.
struct Desc<'a> {
    note: &'static str,
    bytes: &'a [u8],
}

impl Desc<'_> {
    fn bad(&self, reason: String) -> Problem {
        Problem::Note { note: self.note, reason }
    }

    /// Four or eight bytes, little endian.
    fn number(&self) -> Result<u64, Problem> {
        if let Ok(bytes) = <[u8; 4]>::try_from(self.bytes) {
            Ok(u32::from_le_bytes(bytes).into())
        } else if let Ok(bytes) = <[u8; 8]>::try_from(self.bytes) {
            Ok(u64::from_le_bytes(bytes))
        } else {
            Err(self.bad(format!("a number of {} bytes; 4 or 8 are allowed", self.bytes.len())))
        }
    }

    /// ASCII up to the first NUL or the end. Control characters are refused: these strings are
    /// printed on terminals.
    fn text(&self) -> Result<String, Problem> {
        let end = self.bytes.iter().position(|&b| b == 0).unwrap_or(self.bytes.len());
        let text = &self.bytes[..end];
        if let Some(byte) = text.iter().find(|b| !(b' '..=b'~').contains(*b)) {
            return Err(self.bad(format!("byte {byte:#04x} in a text")));
        }
        Ok(text.iter().map(|&b| char::from(b)).collect())
    }

    /// Pairs of mask and value, each 8 bytes (or each 4 in a descriptor of 8).
    fn pairs(&self) -> Result<Vec<L1MfnValid>, Problem> {
        let width = if self.bytes.len() == 8 { 4 } else { 8 };
        if self.bytes.is_empty() || !self.bytes.len().is_multiple_of(2 * width) {
            return Err(self.bad(format!("{} bytes are no pairs", self.bytes.len())));
        }
        let number = |bytes: &[u8]| Desc { note: self.note, bytes }.number();
        self.bytes
            .chunks_exact(2 * width)
            .map(|pair| {
                let (mask, value) = pair.split_at(width);
                Ok(L1MfnValid { mask: number(mask)?, value: number(value)? })
            })
            .collect()
    }
}
