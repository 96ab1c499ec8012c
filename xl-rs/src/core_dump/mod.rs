//! The core of a domain: its memory and registers in a file for debuggers.
//!
//! In: a PV domain, best one that is paused or has ended, and a path. Out: an ELF file in Xen's own
//! format, readable by gdb as well ([`elf`]), which has its name only once it is whole. Pages of zeros
//! are holes of the file. Which memory the guest has is what it says itself ([`p2m`]); where it has
//! not said so yet, what its page tables map. Never holds more of the guest in memory than the list of
//! its pages, and never asks xenstore anything.

pub mod elf;
pub mod error;
pub mod p2m;
pub mod tables;

pub use error::CoreError;

use crate::draft::Draft;
use elf::{Layout, Segment};
use libxc_safe::{DomainInfo, Protection, Xen};
use p2m::Told;
use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use tables::{Frames, LOWER, PAGE_BYTES, UPPER, Walk};
use xen_sys::arch_x86::{vcpu_guest_context, xen_cr3_to_pfn};
use xen_sys::types::{Domid, Gfn, Mfn, Pfn};

/// How many pages are copied at once.
const BATCH: usize = 256;

/// What became of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Pages of the guest that are in it.
    pub pages: u64,
    /// Whether its addresses are all there for gdb; crash needs none of that.
    pub all_addresses: bool,
}

/// Writes the core of a domain to `path`. `watch` is told how many pages of how many are done, and says
/// whether to go on.
///
/// # Errors
/// [`CoreError`]: there is no file then, or the one that was there.
pub fn write_core(
    xen: &Xen,
    info: &DomainInfo,
    path: &Path,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Written, CoreError> {
    let domid = info.domid;
    let kind = match info.hvm {
        true => Some("no PV domain"),
        false if xen.address_size(domid)? != 64 => Some("a 32-bit domain"),
        false => None,
    };
    if let Some(kind) = kind {
        return Err(CoreError::Kind { domid, kind });
    }
    let guest = Guest::look(xen, info)?;
    let mib = info.tot_pages.div_ceil(256);
    let failed = |source| CoreError::Write { domid, path: path.to_owned(), mib, source };
    let draft = Draft::of(path, 0o600).map_err(failed)?;
    let Some(draft) = draft else { return Err(CoreError::NotAFile { path: path.to_owned() }) };
    let mut core = Core { file: draft.file(), guest: &guest, failed: &failed, placed: Vec::new() };
    let written = core.write(xen, watch)?;
    match xen.domain_info(domid)? {
        Some(now) if now.uuid == info.uuid && !now.dying => {}
        _ => return Err(CoreError::Gone { domid }),
    }
    draft.done().map_err(failed)?;
    Ok(written)
}

/// What is known of the guest before its memory is copied.
struct Guest {
    domid: Domid,
    /// Registers of the vcpus that have any, and their numbers.
    contexts: Vec<Vec<u8>>,
    numbers: Vec<u32>,
    shared_info: Vec<u8>,
    /// Ascending.
    pages: Vec<(Pfn, Mfn)>,
    layout: Layout,
    release: (u16, u16),
    record: Vec<u8>,
}

impl Guest {
    fn look(xen: &Xen, info: &DomainInfo) -> Result<Self, CoreError> {
        let domid = info.domid;
        let (mut contexts, mut numbers) = (Vec::new(), Vec::new());
        for vcpu in 0..info.max_vcpu_id.map_or(0, |highest| highest.saturating_add(1)) {
            if let Some(context) = xen.vcpu_context_bytes(domid, vcpu)? {
                contexts.push(context);
                numbers.push(vcpu);
            }
        }
        if contexts.is_empty() {
            return Err(CoreError::NoVcpu { domid });
        }
        let mapping = xen.map_foreign(domid, &[info.shared_info_frame], Protection::Read)?;
        let mut shared_info = vec![0; PAGE_BYTES];
        mapping.read(0, &mut shared_info)?;
        let record = xen.version_record()?;
        let release = xen.release();
        let note_bytes = elf::xen_notes(0, 0, release, &record).len() as u64;
        let layout = Layout::new(contexts.len() as u64, note_bytes);
        let mut guest = Self {
            domid,
            contexts,
            numbers,
            shared_info,
            pages: Vec::new(),
            layout,
            release,
            record,
        };
        guest.pages = guest.memory(xen, info)?;
        Ok(guest)
    }

    /// Its pages, as it says.
    fn memory(&self, xen: &Xen, info: &DomainInfo) -> Result<Vec<(Pfn, Mfn)>, CoreError> {
        let mut frames = Foreign { xen, domid: self.domid };
        // Far more than any guest needs for what it may get later, and yet a bound.
        let most = info.max_pages.max(info.tot_pages).saturating_mul(16).saturating_add(1 << 20);
        let mut pages = Told::read(&self.shared_info).pages(&mut frames, most)?;
        if pages.len() as u64 > info.tot_pages {
            // A guest whose table names one frame more than once gets no core larger than itself.
            let mut seen = HashSet::new();
            pages.retain(|(_, mfn)| seen.insert(*mfn));
        }
        if pages.is_empty() {
            pages = self.mapped(&mut frames, info.tot_pages)?;
        }
        match pages.is_empty() {
            true => Err(CoreError::NoMemory { domid: self.domid }),
            false => Ok(pages),
        }
    }

    /// The pages that its page tables map, for a guest that ended before it said which it has.
    fn mapped(&self, frames: &mut Foreign<'_>, tables: u64) -> Result<Vec<(Pfn, Mfn)>, CoreError> {
        let xen = frames.xen;
        let mut mapped = BTreeSet::new();
        // Frames of others are mapped, too, and what a hostile guest makes up.
        let most = usize::try_from(tables.saturating_mul(2)).unwrap_or(usize::MAX);
        let mut walk = Walk::new(frames, tables);
        for root in self.roots() {
            for span in [UPPER, LOWER] {
                walk.pages(root, &span, &mut |_, mfn| {
                    if mapped.len() < most {
                        mapped.insert(mfn);
                    }
                })?;
            }
        }
        let mapped: Vec<Mfn> = mapped.into_iter().collect();
        let known = xen.pages_of_frames(&mapped)?.into_iter().zip(mapped);
        let mut pages: Vec<_> = known.filter_map(|(pfn, mfn)| Some((pfn?, mfn))).collect();
        pages.sort_unstable();
        Ok(pages)
    }

    /// The roots of all page tables: of kernels, and of the programs that run.
    fn roots(&self) -> Vec<Mfn> {
        const USER: usize = 1;
        const KERNEL: usize = 3;
        let root = |context: &Vec<u8>, register: usize| {
            let at = offset_of!(vcpu_guest_context, ctrlreg) + 8 * register;
            Mfn(xen_cr3_to_pfn(elf::word(context, at)))
        };
        let of_context = |context| [root(context, KERNEL), root(context, USER)];
        self.contexts.iter().flat_map(of_context).filter(|root| root.0 != 0).collect()
    }
}

/// Frames of a domain as they are now.
struct Foreign<'a> {
    xen: &'a Xen,
    domid: Domid,
}

impl Frames for Foreign<'_> {
    fn pages(&mut self, frames: &[Mfn]) -> Result<Vec<Option<Vec<u8>>>, CoreError> {
        let mut pages = Vec::new();
        for part in frames.chunks(BATCH) {
            let part: Vec<Gfn> = part.iter().map(|mfn| Gfn::from(*mfn)).collect();
            let (mapping, present) =
                self.xen.map_foreign_present(self.domid, &part, Protection::Read)?;
            let mut at = 0;
            for present in present {
                let Some(mapping) = mapping.as_ref().filter(|_| present) else {
                    pages.push(None);
                    continue;
                };
                let mut page = vec![0; PAGE_BYTES];
                mapping.read(at, &mut page)?;
                at += PAGE_BYTES;
                pages.push(Some(page));
            }
        }
        Ok(pages)
    }
}

/// A core that is being written.
struct Core<'a> {
    file: &'a File,
    guest: &'a Guest,
    failed: &'a dyn Fn(io::Error) -> CoreError,
    /// The pages that are in the file, in their order.
    placed: Vec<(Pfn, Mfn)>,
}

impl Core<'_> {
    fn write(
        &mut self,
        xen: &Xen,
        watch: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Written, CoreError> {
        let guest = self.guest;
        let all = guest.pages.len() as u64;
        for part in guest.pages.chunks(BATCH) {
            self.copy(xen, part)?;
            if !watch(self.placed.len() as u64, all) {
                return Err(CoreError::Interrupted { domid: guest.domid });
            }
        }
        let pages = self.placed.len() as u64;
        if pages == 0 {
            return Err(CoreError::NoMemory { domid: guest.domid });
        }
        let p2m: Vec<u8> = self
            .placed
            .iter()
            .flat_map(|(pfn, mfn)| [pfn.0, mfn.0])
            .flat_map(u64::to_le_bytes)
            .collect();
        self.put(guest.layout.p2m_at(pages), &p2m)?;
        drop(p2m);
        let (segments, all_addresses) = self.segments()?;
        let threads: Vec<u8> = guest
            .numbers
            .iter()
            .zip(&guest.contexts)
            .flat_map(|(number, context)| elf::thread_note(*number, context))
            .collect();
        let tail_at = guest.layout.p2m_at(pages) + pages * elf::ENTRY_BYTES;
        self.put(tail_at, &guest.layout.tail(pages, &threads, &segments))?;
        let vcpus = guest.contexts.len() as u64;
        let notes = elf::xen_notes(vcpus, pages, guest.release, &guest.record);
        let head = guest.layout.head(
            pages,
            &notes,
            &guest.contexts,
            &guest.shared_info,
            threads.len() as u64,
            segments.len() as u64,
        );
        self.put(0, &head)?;
        Ok(Written { pages, all_addresses })
    }

    fn put(&self, at: u64, bytes: &[u8]) -> Result<(), CoreError> {
        self.file.write_all_at(bytes, at).map_err(self.failed)
    }

    /// Copies those of the pages that the domain still has; of those with zeros only the place.
    fn copy(&mut self, xen: &Xen, pages: &[(Pfn, Mfn)]) -> Result<(), CoreError> {
        let frames: Vec<Gfn> = pages.iter().map(|(_, mfn)| Gfn::from(*mfn)).collect();
        let (mapping, present) =
            xen.map_foreign_present(self.guest.domid, &frames, Protection::Read)?;
        let Some(mapping) = mapping else { return Ok(()) };
        let mut bytes = vec![0; mapping.len()];
        mapping.read(0, &mut bytes)?;
        drop(mapping);
        let at = self.guest.layout.p2m_at(self.placed.len() as u64);
        let is_zero = |page: &&[u8]| page.iter().all(|byte| *byte == 0);
        let pieces: Vec<&[u8]> = bytes.chunks(PAGE_BYTES).collect();
        let mut offset = 0;
        for run in pieces.chunk_by(|one, next| is_zero(one) == is_zero(next)) {
            let length = run.len() * PAGE_BYTES;
            if run.first().is_some_and(|page| !is_zero(page)) {
                self.put(at + offset as u64, &bytes[offset..offset + length])?;
            }
            offset += length;
        }
        let there = pages.iter().zip(present).filter(|(_, present)| *present);
        self.placed.extend(there.map(|(page, _)| *page));
        Ok(())
    }

    /// The addresses that the first vcpu sees, from the page tables in the file; whether these are all.
    fn segments(&self) -> Result<(Vec<Segment>, bool), CoreError> {
        let mut by_frame: Vec<u32> = (0..).take(self.placed.len()).collect();
        by_frame.sort_unstable_by_key(|index| self.placed[*index as usize].1);
        let find = |mfn: Mfn| {
            let found = by_frame.binary_search_by_key(&mfn, |index| self.placed[*index as usize].1);
            found.ok().map(|place| by_frame[place])
        };
        let mut frames = Stored { core: self, find: &find };
        let mut segments = Vec::new();
        let mut room = true;
        let Some(&root) = self.guest.roots().first() else { return Ok((segments, true)) };
        let mut walk = Walk::new(&mut frames, self.placed.len() as u64);
        // The kernel's half comes first: if there is no room for all, it is the one that is wanted.
        for span in [UPPER, LOWER] {
            walk.pages(root, &span, &mut |address, mfn| {
                if let Some(index) = find(mfn).filter(|_| room) {
                    let pfn = self.placed[index as usize].0.0;
                    room = Segment::add(&mut segments, address, pfn, index.into());
                }
            })?;
        }
        let all = room && !walk.cut_short();
        Ok((segments, all))
    }
}

/// Frames of a domain as they are in its core.
struct Stored<'a> {
    core: &'a Core<'a>,
    find: &'a dyn Fn(Mfn) -> Option<u32>,
}

impl Frames for Stored<'_> {
    fn pages(&mut self, frames: &[Mfn]) -> Result<Vec<Option<Vec<u8>>>, CoreError> {
        let page = |mfn: &Mfn| {
            let Some(index) = (self.find)(*mfn) else { return Ok(None) };
            let mut page = vec![0; PAGE_BYTES];
            let at = self.core.guest.layout.p2m_at(index.into());
            self.core.file.read_exact_at(&mut page, at).map_err(self.core.failed)?;
            Ok(Some(page))
        };
        frames.iter().map(page).collect()
    }
}
