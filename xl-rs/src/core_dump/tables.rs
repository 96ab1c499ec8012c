//! x86-64 page tables of a PV guest, which hold machine frames: which pages they map, and where.
//!
//! In: a root table, a span of addresses, and somebody who reads frames. Out: every page that is
//! mapped there, by ascending address. The guest made the tables: one may be named by many entries,
//! and so map far more addresses than there is memory. So no more tables are read than was allowed.

use super::error::CoreError;
use std::ops::Range;
use xen_sys::types::Mfn;

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
/// Entries of a table, and of a page of a p2m.
pub const ENTRIES: u64 = 512;

/// Reads frames of one domain.
pub trait Frames {
    /// The bytes of each; none of those that the domain does not have.
    ///
    /// # Errors
    /// [`CoreError`]: not for a frame that is missing.
    fn pages(&mut self, frames: &[Mfn]) -> Result<Vec<Option<Vec<u8>>>, CoreError>;

    /// The words of one.
    ///
    /// # Errors
    /// As there.
    fn words(&mut self, frame: Mfn) -> Result<Option<Vec<u64>>, CoreError> {
        let page = self.pages(&[frame])?.pop().flatten();
        Ok(page.map(|page| words(&page)))
    }
}

/// Little-endian words.
#[must_use]
pub fn words(bytes: &[u8]) -> Vec<u64> {
    let (chunks, _) = bytes.as_chunks::<8>();
    chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect()
}

/// The lower half of all addresses.
pub const LOWER: Range<u64> = 0..1 << 47;
/// The upper half without what belongs to the hypervisor, as 48 bits.
pub const UPPER: Range<u64> = (1 << 47) + (16 << 39)..1 << 48;

/// A walk through page tables.
pub struct Walk<'a> {
    frames: &'a mut dyn Frames,
    /// How many more tables may be read.
    left: u64,
}

impl<'a> Walk<'a> {
    /// One that reads at most so many tables.
    pub fn new(frames: &'a mut dyn Frames, tables: u64) -> Self {
        Self { frames, left: tables }
    }

    /// Whether it ended before all tables were read.
    #[must_use]
    pub fn cut_short(&self) -> bool {
        self.left == 0
    }

    /// Gives `leaf` every page that is mapped in `span` (48 bits), with its address in full.
    ///
    /// # Errors
    /// [`CoreError`] of the reading.
    pub fn pages(
        &mut self,
        root: Mfn,
        span: &Range<u64>,
        leaf: &mut dyn FnMut(u64, Mfn),
    ) -> Result<(), CoreError> {
        self.table(root, 4, 0, span, leaf)
    }

    fn table(
        &mut self,
        table: Mfn,
        level: u32,
        base: u64,
        span: &Range<u64>,
        leaf: &mut dyn FnMut(u64, Mfn),
    ) -> Result<(), CoreError> {
        const PRESENT: u64 = 1;
        const LARGE: u64 = 1 << 7;
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        let Some(entries) = self.frames.words(table)? else { return Ok(()) };
        let size = 1_u64 << (12 + 9 * (level - 1));
        for (index, entry) in (0_u64..).zip(entries) {
            let from = base + index * size;
            if entry & PRESENT == 0 || from >= span.end || from + size <= span.start {
                continue;
            }
            let mfn = entry >> 12 & 0xff_ffff_ffff;
            match level {
                1 => leaf(in_full(from), Mfn(mfn)),
                2 if entry & LARGE != 0 => {
                    for page in 0..ENTRIES {
                        let at = from + page * PAGE_BYTES as u64;
                        if span.contains(&at) {
                            leaf(in_full(at), Mfn(mfn + page));
                        }
                    }
                }
                // No guest has larger ones.
                _ if entry & LARGE != 0 && level == 3 => {}
                _ => self.table(Mfn(mfn), level - 1, from, span, leaf)?,
            }
        }
        Ok(())
    }
}

/// An address of 48 bits as the processor wants it.
fn in_full(address: u64) -> u64 {
    if address >> 47 & 1 == 1 { address | 0xffff << 48 } else { address }
}

/// Whether an address is one that the processor takes and that is not the hypervisor's; as 48 bits.
#[must_use]
pub fn in_guest(address: u64) -> Option<u64> {
    let short = address & ((1 << 48) - 1);
    (in_full(short) == address && (LOWER.contains(&short) || UPPER.contains(&short)))
        .then_some(short)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Frames that a test has written.
    #[derive(Default)]
    pub struct Written(pub BTreeMap<u64, Vec<u64>>);

    impl Written {
        /// Sets one word.
        pub fn set(&mut self, mfn: u64, index: usize, word: u64) {
            self.0.entry(mfn).or_insert_with(|| vec![0; 512])[index] = word;
        }

        /// Maps `address` to `mfn`, with tables at frames of their own.
        pub fn map(&mut self, root: u64, address: u64, mfn: u64) {
            let mut table = root;
            for level in (2..=4).rev() {
                let index = (address >> (12 + 9 * (level - 1)) & 511) as usize;
                let known = self.0.get(&table).map_or(0, |words| words[index]);
                let next =
                    if known & 1 == 1 { known >> 12 } else { root + self.0.len() as u64 + 1000 };
                self.set(table, index, next << 12 | 1);
                self.0.entry(next).or_insert_with(|| vec![0; 512]);
                table = next;
            }
            self.set(table, (address >> 12 & 511) as usize, mfn << 12 | 1);
        }
    }

    impl Frames for Written {
        fn pages(&mut self, frames: &[Mfn]) -> Result<Vec<Option<Vec<u8>>>, CoreError> {
            let page = |mfn: &Mfn| {
                self.0
                    .get(&mfn.0)
                    .map(|words| words.iter().flat_map(|it| it.to_le_bytes()).collect())
            };
            Ok(frames.iter().map(page).collect())
        }
    }

    fn all(
        frames: &mut Written,
        root: u64,
        span: &Range<u64>,
        most: u64,
    ) -> (Vec<(u64, u64)>, bool) {
        let mut found = Vec::new();
        let mut walk = Walk::new(frames, most);
        walk.pages(Mfn(root), span, &mut |at, mfn| found.push((at, mfn.0))).unwrap();
        let cut = walk.cut_short();
        (found, cut)
    }

    #[test]
    fn what_is_mapped_is_found_in_order() {
        let mut frames = Written::default();
        let pages = [
            (0x1000, 7),
            (0x7fff_ffff_f000, 8),
            (0xffff_8000_0000_0000, 1),
            (0xffff_8880_0000_0000, 9),
            (0xffff_ffff_8100_0000, 10),
        ];
        for (at, mfn) in pages {
            frames.map(50, at, mfn);
        }
        let whole = 0..1 << 48;
        assert_eq!(all(&mut frames, 50, &whole, 100), (pages.to_vec(), false));
        assert_eq!(all(&mut frames, 50, &LOWER, 100).0, pages[..2]);
        assert_eq!(all(&mut frames, 50, &UPPER, 100).0, pages[3..], "the hypervisor's are not");
        let (some, cut) = all(&mut frames, 50, &whole, 4);
        assert!(cut && some.len() <= 1, "{some:?}");
    }

    #[test]
    fn large_pages_are_many_small_ones() {
        let mut frames = Written::default();
        frames.set(1, 0, 2 << 12 | 1);
        frames.set(2, 0, 3 << 12 | 1);
        frames.set(3, 1, 512 << 12 | 0x81);
        let (found, _) = all(&mut frames, 1, &(0x20_1000..0x20_3000), 9);
        assert_eq!(found, [(0x20_1000, 513), (0x20_2000, 514)]);
    }

    #[test]
    fn tables_that_name_each_other_come_to_an_end() {
        let mut frames = Written::default();
        for index in 0..512 {
            frames.set(1, index, 1 << 12 | 1);
        }
        let mut count = 0_u64;
        let mut walk = Walk::new(&mut frames, 50);
        walk.pages(Mfn(1), &(0..1 << 48), &mut |_, _| count += 1).unwrap();
        assert!(walk.cut_short() && count <= 50 * 512, "{count}");
    }

    #[test]
    fn addresses_of_guests() {
        let check =
            |address, guest: Option<u64>| assert_eq!(in_guest(address), guest, "{address:#x}");
        check(0, Some(0));
        check(0xffff_ffff_8100_0000, Some(0xffff_8100_0000));
        check(0xffff_8800_0000_0000, Some(0x8800_0000_0000));
        check(0xffff_87ff_ffff_f000, None);
        check(0x0000_8000_0000_0000, None);
        check(0x8000_0000_0000_0000, None);
    }
}
