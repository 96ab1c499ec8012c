//! The guest's p2m list: machine frames by pfn.
//!
//! In: frames in the order of their pfns, as they are allocated. Out: the frame of a pfn, those of a
//! run, the list as it lies in the guest's memory. Memory mostly comes in extents of 2 MiB, of which
//! the first frame says all: the list of a large guest is never written down here, as every page of
//! it would cost a fault, some thousands of instructions in a PV dom0.

use super::layout::Frames;

/// Frames in a block: 2 MiB.
pub const BLOCK_FRAMES: usize = 512;

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct P2m {
    /// All of [`BLOCK_FRAMES`], but for the last.
    blocks: Vec<Block>,
    len: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Block {
    /// One frame after the other, from this one on.
    Run(u64),
    /// Frames that lie anywhere.
    Each(Box<[u64]>),
}

impl Block {
    fn mfn(&self, at: usize) -> Option<u64> {
        match self {
            Self::Run(first) => Some(first + at as u64),
            Self::Each(frames) => frames.get(at).copied(),
        }
    }
}

impl P2m {
    /// Number of frames.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.len
    }

    /// Adds an extent of [`BLOCK_FRAMES`] frames.
    pub fn add_extent(&mut self, first: u64) {
        if self.len.is_multiple_of(BLOCK_FRAMES as u64) {
            self.blocks.push(Block::Run(first));
            self.len += BLOCK_FRAMES as u64;
        } else {
            self.add((first..).take(BLOCK_FRAMES));
        }
    }

    /// Adds frames that lie anywhere.
    pub fn add(&mut self, frames: impl IntoIterator<Item = u64>) {
        let mut open = Vec::new();
        if !self.len.is_multiple_of(BLOCK_FRAMES as u64)
            && let Some(Block::Each(last)) = self.blocks.pop()
        {
            open = last.into_vec();
            self.len -= open.len() as u64;
        }
        for frame in frames {
            open.push(frame);
            if open.len() == BLOCK_FRAMES {
                self.close(std::mem::take(&mut open));
            }
        }
        if !open.is_empty() {
            self.close(open);
        }
    }

    fn close(&mut self, frames: Vec<u64>) {
        self.len += frames.len() as u64;
        let first = frames.first().copied().unwrap_or_default();
        let is_run = frames.len() == BLOCK_FRAMES
            && frames.iter().zip(first..).all(|(frame, expected)| *frame == expected);
        self.blocks.push(if is_run { Block::Run(first) } else { Block::Each(frames.into()) });
    }

    /// The machine frame of `pfn`.
    #[must_use]
    pub fn mfn(&self, pfn: u64) -> Option<u64> {
        let pfn = usize::try_from(pfn).ok()?;
        self.blocks.get(pfn / BLOCK_FRAMES)?.mfn(pfn % BLOCK_FRAMES)
    }

    /// The machine frames of a run; `None` if it goes beyond the list.
    #[must_use]
    pub fn run(&self, run: Frames) -> Option<impl ExactSizeIterator<Item = u64>> {
        let end = run.start.checked_add(run.count).filter(|end| *end <= self.len)?;
        let (start, end) = (usize::try_from(run.start).ok()?, usize::try_from(end).ok()?);
        let frame = |pfn: usize| self.blocks[pfn / BLOCK_FRAMES].mfn(pfn % BLOCK_FRAMES);
        Some((start..end).map(move |pfn| frame(pfn).unwrap_or_default()))
    }

    /// The list, a block at a time: at most [`BLOCK_FRAMES`] frames, a page of the guest's memory.
    ///
    /// # Errors
    /// Those of `write`, which is given the number of the block and its frames.
    pub fn write<E>(&self, mut write: impl FnMut(usize, &[u64]) -> Result<(), E>) -> Result<(), E> {
        let mut run = [0; BLOCK_FRAMES];
        for (index, block) in self.blocks.iter().enumerate() {
            match block {
                Block::Run(first) => {
                    run.iter_mut().zip(*first..).for_each(|(entry, mfn)| *entry = mfn);
                    write(index, &run)?;
                }
                Block::Each(frames) => write(index, frames)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a part of the list is made of: an extent, or frames.
    #[derive(Clone, Debug)]
    enum Part {
        Extent(u64),
        Frames(Vec<u64>),
        Consecutive(u64, usize),
    }

    fn parts() -> impl Strategy<Value = Vec<Part>> {
        let frame = 0..1u64 << 36;
        let part = prop_oneof![
            frame.clone().prop_map(Part::Extent),
            proptest::collection::vec(frame.clone(), 0..1200).prop_map(Part::Frames),
            (frame, 0usize..1200).prop_map(|(first, count)| Part::Consecutive(first, count)),
        ];
        proptest::collection::vec(part, 0..6)
    }

    proptest! {
        /// However it is added, it is the list.
        #[test]
        fn is_a_list(parts in parts(), start in 0u64..4000, count in 0u64..4000) {
            let (mut p2m, mut list) = (P2m::default(), Vec::new());
            for part in parts {
                let frames = match part {
                    Part::Extent(first) => {
                        p2m.add_extent(first);
                        list.extend((first..).take(BLOCK_FRAMES));
                        continue;
                    }
                    Part::Frames(frames) => frames,
                    Part::Consecutive(first, count) => (first..).take(count).collect(),
                };
                p2m.add(frames.iter().copied());
                list.extend(frames);
            }
            prop_assert_eq!(p2m.pages(), list.len() as u64);
            let all: Vec<u64> = (0..).map_while(|pfn| p2m.mfn(pfn)).collect();
            prop_assert_eq!(&all, &list);
            let run = p2m.run(Frames { start, count }).map(Iterator::collect::<Vec<_>>);
            let wanted = list.get(start as usize..(start + count) as usize).map(<[u64]>::to_vec);
            prop_assert_eq!(run, wanted);
            let mut written = Vec::new();
            p2m.write(|index, frames| {
                assert_eq!(written.len(), index * BLOCK_FRAMES);
                written.extend_from_slice(frames);
                Ok::<_, ()>(())
            }).unwrap();
            prop_assert_eq!(written, list);
        }
    }

    #[test]
    fn numbers_beyond_every_list() {
        let mut p2m = P2m::default();
        p2m.add_extent(7);
        for pfn in [512, 513, u64::MAX] {
            assert_eq!(p2m.mfn(pfn), None, "{pfn}");
        }
        assert!(p2m.run(Frames { start: u64::MAX, count: 2 }).is_none());
        assert!(p2m.run(Frames { start: 0, count: 513 }).is_none());
        assert_eq!(
            p2m.run(Frames { start: 510, count: 2 }).unwrap().collect::<Vec<_>>(),
            [517, 518]
        );
    }
}
