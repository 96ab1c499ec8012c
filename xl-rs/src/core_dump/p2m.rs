//! Which frame is behind each page of a PV guest, as the guest itself says.
//!
//! In: its `shared_info`, and somebody who reads its frames. Out: pages with their frames, by ascending
//! page. A guest keeps its table either at one address (newer kernels) or as a tree of frames. What it
//! says is believed as far as the hypervisor lets its frames be mapped, and for no more pages than it
//! could have.

use super::error::CoreError;
use super::tables::{ENTRIES, Frames, PAGE_BYTES, Walk, in_guest, words};
use std::mem::offset_of;
use xen_sys::arch_x86::xen_cr3_to_pfn;
use xen_sys::types::{Mfn, Pfn};
use xen_sys::xen::shared_info;

/// How many pages of the table are read at once.
const AT_ONCE: usize = 256;
/// Frames beyond this are no frames: foreign and identity entries have higher bits set.
const NO_FRAME: u64 = 1 << 40;

/// What the guest says about its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// How many entries it has.
    pub entries: u64,
    /// The frame of the tree's root.
    pub tree: u64,
    /// The page tables under which `address` holds.
    pub cr3: u64,
    /// Where the linear table is.
    pub address: u64,
}

impl Told {
    /// From the bytes of `shared_info`.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let word = |at: usize| {
            let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
            word.map_or(0, |word| u64::from_le_bytes(*word))
        };
        Self {
            entries: word(offset_of!(shared_info, arch.max_pfn)),
            tree: word(offset_of!(shared_info, arch.pfn_to_mfn_frame_list_list)),
            cr3: word(offset_of!(shared_info, arch.p2m_cr3)),
            address: word(offset_of!(shared_info, arch.p2m_vaddr)),
        }
    }

    /// The pages that the table names; none if it names none that can be believed. `most` is how many
    /// entries it may have.
    ///
    /// # Errors
    /// [`CoreError`] of the reading.
    pub fn pages(&self, frames: &mut dyn Frames, most: u64) -> Result<Vec<(Pfn, Mfn)>, CoreError> {
        if self.entries == 0 || self.entries > most {
            return Ok(Vec::new());
        }
        let table = match self.cr3 {
            0 => self.of_tree(frames)?,
            _ => self.of_list(frames)?,
        };
        let mut pages = Vec::new();
        for (first, part) in (0_u64..).step_by(AT_ONCE).zip(table.chunks(AT_ONCE)) {
            let known: Vec<(u64, Mfn)> = (first..)
                .zip(part)
                .filter_map(|(index, mfn)| mfn.map(|mfn| (index, mfn)))
                .collect();
            let asked: Vec<Mfn> = known.iter().map(|(_, mfn)| *mfn).collect();
            for ((index, _), page) in known.iter().zip(frames.pages(&asked)?) {
                let Some(page) = page else { continue };
                let entries = (index * ENTRIES..self.entries).zip(words(&page));
                let named = entries.filter(|(_, mfn)| *mfn < NO_FRAME);
                pages.extend(named.map(|(pfn, mfn)| (Pfn(pfn), Mfn(mfn))));
            }
        }
        Ok(pages)
    }

    /// How many pages the table has.
    fn table_pages(&self) -> usize {
        usize::try_from(self.entries.div_ceil(ENTRIES)).unwrap_or(usize::MAX)
    }

    /// The frames of a table that is at one address.
    fn of_list(&self, frames: &mut dyn Frames) -> Result<Vec<Option<Mfn>>, CoreError> {
        let count = self.table_pages();
        let bytes = count as u64 * PAGE_BYTES as u64;
        let last = self.address.checked_add(bytes - 1).and_then(in_guest);
        let (Some(first), Some(last)) = (in_guest(self.address), last) else {
            return Ok(Vec::new());
        };
        let mut table = vec![None; count];
        // Of each level as many as a span of that length can need, and one more.
        let tables = 8 + 2 * (count as u64).div_ceil(ENTRIES);
        Walk::new(frames, tables).pages(
            Mfn(xen_cr3_to_pfn(self.cr3)),
            &(first..last + 1),
            &mut |at, mfn| {
                let index = (at - self.address) / PAGE_BYTES as u64;
                if let Some(place) = usize::try_from(index).ok().and_then(|at| table.get_mut(at)) {
                    *place = Some(mfn);
                }
            },
        )?;
        Ok(table)
    }

    /// The frames of a table that is a tree.
    fn of_tree(&self, frames: &mut dyn Frames) -> Result<Vec<Option<Mfn>>, CoreError> {
        let count = self.table_pages();
        let mut table = Vec::new();
        for middle in frames.words(Mfn(self.tree))?.unwrap_or_default() {
            if table.len() >= count {
                break;
            }
            let leaves = match middle < NO_FRAME {
                true => frames.words(Mfn(middle))?,
                false => None,
            };
            let leaves = leaves.unwrap_or_else(|| vec![u64::MAX; ENTRIES as usize]);
            table.extend(leaves.into_iter().map(|mfn| (mfn < NO_FRAME).then_some(Mfn(mfn))));
        }
        table.truncate(count);
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables::tests::Written;
    use super::*;

    const ADDRESS: u64 = 0xffff_8900_0000_0000;

    /// A guest of 1,000 pages, whose table is in the frames 60 and 61.
    fn guest() -> Written {
        let mut frames = Written::default();
        frames.set(60, 0, 5000);
        frames.set(60, 1, u64::MAX);
        frames.set(60, 2, 1 << 63 | 7);
        frames.set(60, 3, 1 << 62 | 3);
        frames.set(60, 4, 5004);
        frames.set(61, 0, 5512);
        frames.set(61, 487, 5999);
        frames.set(61, 488, 6000);
        for index in 5..512 {
            frames.set(60, index, u64::MAX);
        }
        for index in (1..487).chain(489..512) {
            frames.set(61, index, u64::MAX);
        }
        frames
    }

    const PAGES: [(u64, u64); 4] = [(0, 5000), (4, 5004), (512, 5512), (999, 5999)];

    fn check(frames: &mut Written, told: Told, most: u64, pages: &[(u64, u64)]) {
        let found = told.pages(frames, most).unwrap();
        let found: Vec<_> = found.into_iter().map(|(pfn, mfn)| (pfn.0, mfn.0)).collect();
        assert_eq!(found, pages, "{told:x?}");
    }

    #[test]
    fn a_table_at_one_address() {
        let mut frames = guest();
        frames.map(50, ADDRESS, 60);
        frames.map(50, ADDRESS + 0x1000, 61);
        let told = Told { entries: 1000, tree: u64::MAX, cr3: 50 << 12, address: ADDRESS };
        check(&mut frames, told, 1000, &PAGES);
        check(&mut frames, told, 999, &[]);
        check(&mut frames, Told { entries: 0, ..told }, 1000, &[]);
        check(&mut frames, Told { entries: 999, ..told }, 1000, &PAGES[..3]);
        check(&mut frames, Told { cr3: 99 << 12, ..told }, 1000, &[]);
        // The hypervisor's addresses, and none at all.
        for address in [0xffff_8000_0000_0000, 0xffff_87ff_ffff_f000, u64::MAX - 1, 1 << 60] {
            check(&mut frames, Told { address, ..told }, 1000, &[]);
        }
    }

    #[test]
    fn a_table_that_is_a_tree() {
        let mut frames = guest();
        frames.set(70, 0, 71);
        frames.set(71, 0, 60);
        frames.set(71, 1, 61);
        let told = Told { entries: 1000, tree: 70, cr3: 0, address: 0 };
        check(&mut frames, told, 1000, &PAGES);
        check(&mut frames, Told { tree: 99, ..told }, 1000, &[]);
        // A part of it that is not there.
        frames.set(71, 0, u64::MAX);
        check(&mut frames, told, 1000, &PAGES[2..]);
    }

    #[test]
    fn it_is_read_where_the_guest_writes_it() {
        let mut bytes = vec![0; 4096];
        let at = offset_of!(shared_info, arch);
        for (index, value) in [11_u64, 22, 33, 44, 55].into_iter().enumerate() {
            bytes[at + 8 * index..at + 8 * index + 8].copy_from_slice(&value.to_le_bytes());
        }
        let told = Told { entries: 11, tree: 22, cr3: 44, address: 55 };
        assert_eq!(Told::read(&bytes), told);
        assert_eq!(Told::read(&[]).entries, 0);
    }
}
