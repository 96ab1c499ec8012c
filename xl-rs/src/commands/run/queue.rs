//! In which order the guests of a suite are run, and how many at once: pure.
//!
//! In: what each guest needs, and how much memory the host has free. Out: who is next. The memory of
//! one that was begun and is not made yet is set aside: the host still counts it as free. The first in
//! line may be overtaken by others that there is room for, but only so often. Where nobody runs the
//! first one begins, whatever it needs: what it lacks is for its making to say.

use std::collections::{BTreeMap, VecDeque};

/// How often the first in line is overtaken before it is waited for.
const OVERTAKEN: usize = 16;

/// What a guest needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Memory, with what the hypervisor adds to it.
    pub memory_kib: u64,
    /// Its vcpus.
    pub vcpus: u32,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    need: Need,
    /// Whether the host does not count its memory as free any more.
    made: bool,
}

/// The guests that wait, and those that run.
#[derive(Clone, Debug)]
pub struct Queue {
    needs: Vec<Need>,
    waiting: VecDeque<usize>,
    /// Those that others have taken the memory from: they wait for room.
    back: Vec<usize>,
    running: BTreeMap<usize, Running>,
    jobs: usize,
    cpus: u32,
    overtaken: usize,
}

impl Queue {
    /// All wait. No more than `jobs` run at once, and no more vcpus than the host has CPUs.
    #[must_use]
    pub fn new(needs: Vec<Need>, jobs: usize, cpus: u32) -> Self {
        let waiting = (0..needs.len()).collect();
        let (back, running) = (Vec::new(), BTreeMap::new());
        Self { needs, waiting, back, running, jobs: jobs.max(1), cpus, overtaken: 0 }
    }

    /// Who is to begin now, if anybody.
    pub fn next(&mut self, free_kib: u64) -> Option<usize> {
        if self.running.len() >= self.jobs {
            return None;
        }
        let room = self.room(free_kib);
        let fits = |index: &usize| {
            let need = self.needs[*index];
            self.running.is_empty()
                || (need.memory_kib <= room.memory_kib && need.vcpus <= room.vcpus)
        };
        let place = self.waiting.iter().position(fits)?;
        if place > 0 {
            if self.overtaken >= OVERTAKEN {
                return None;
            }
            self.overtaken += 1;
        } else {
            self.overtaken = 0;
        }
        let index = self.waiting.remove(place)?;
        self.running.insert(index, Running { need: self.needs[index], made: false });
        Some(index)
    }

    fn room(&self, free_kib: u64) -> Need {
        let begun = self.running.values().filter(|running| !running.made);
        let set_aside = begun.map(|running| running.need.memory_kib).fold(0, u64::saturating_add);
        let vcpus = self.running.values().map(|running| running.need.vcpus);
        Need {
            memory_kib: free_kib.saturating_sub(set_aside),
            vcpus: self.cpus.saturating_sub(vcpus.fold(0, u32::saturating_add)),
        }
    }

    /// This one has its memory.
    pub fn made(&mut self, index: usize) {
        if let Some(running) = self.running.get_mut(&index) {
            running.made = true;
        }
    }

    /// This one does not run any more. It waits again if it is to be run once more.
    pub fn done(&mut self, index: usize, again: bool) {
        self.running.remove(&index);
        if again {
            self.waiting.push_back(index);
        }
    }

    /// The memory of this one was taken by others between the look and its making: it comes first once
    /// there is room for it. False if nobody runs whose end could make room, neither of ours nor
    /// `others`, and where the host has no such memory at all.
    pub fn put_back(&mut self, index: usize, others: bool, host_kib: u64) -> bool {
        let waits = (others || self.running.len() > 1) && self.needs[index].memory_kib <= host_kib;
        if waits && self.running.remove(&index).is_some() {
            self.back.push(index);
        }
        waits
    }

    /// Whether some were put back: nobody tells when there is room for them.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        !self.back.is_empty()
    }

    /// Those that were put back, and for which there is room now, come first. Where nobody runs, neither
    /// of ours nor `others`, they have to try: what they lack is for their making to say.
    pub fn look_again(&mut self, free_kib: u64, others: bool) {
        let nobody = !others && self.running.is_empty();
        let room = self.room(free_kib);
        let needs = &self.needs;
        let fit =
            self.back.extract_if(.., |index| nobody || needs[*index].memory_kib <= room.memory_kib);
        for index in fit.collect::<Vec<_>>().into_iter().rev() {
            self.waiting.push_front(index);
        }
    }

    /// Nobody else is to begin.
    pub fn close(&mut self) {
        self.waiting.clear();
        self.back.clear();
    }

    /// Whether nobody runs or waits.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.back.is_empty() && self.running.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn needs(all: &[(u64, u32)]) -> Vec<Need> {
        all.iter().map(|&(memory_kib, vcpus)| Need { memory_kib, vcpus }).collect()
    }

    fn all_next(queue: &mut Queue, free_kib: u64) -> Vec<usize> {
        std::iter::from_fn(|| queue.next(free_kib)).collect()
    }

    #[test]
    fn as_many_as_there_is_room_for() {
        let check = |all: &[(u64, u32)], jobs, cpus, free_kib, begin: &[usize]| {
            let mut queue = Queue::new(needs(all), jobs, cpus);
            assert_eq!(all_next(&mut queue, free_kib), begin, "{all:?}, {jobs} jobs");
        };
        check(&[(10, 1), (10, 1), (10, 1)], 2, 8, 100, &[0, 1]);
        check(&[(10, 1), (10, 1), (10, 1)], 8, 8, 25, &[0, 1]);
        check(&[(10, 1), (10, 1), (10, 1)], 8, 2, 100, &[0, 1]);
        // Another one fits.
        check(&[(10, 1), (50, 1), (10, 1)], 8, 8, 30, &[0, 2]);
        // Too large for the host, and first.
        check(&[(1000, 64), (10, 1)], 8, 8, 100, &[0]);
        check(&[(1000, 1), (10, 1)], 0, 8, 100, &[0]);
        check(&[], 8, 8, 100, &[]);
    }

    #[test]
    fn memory_is_set_aside_until_it_is_taken() {
        let mut queue = Queue::new(needs(&[(60, 1), (60, 1)]), 8, 8);
        assert_eq!(all_next(&mut queue, 100), [0]);
        queue.made(0);
        assert_eq!(all_next(&mut queue, 40), Vec::<usize>::new());
        assert_eq!(all_next(&mut queue, 60), [1]);
        queue.done(0, true);
        queue.done(1, false);
        assert!(!queue.is_over());
        assert_eq!(all_next(&mut queue, 100), [0]);
        queue.done(0, false);
        assert!(queue.is_over());
    }

    /// What others take meanwhile is waited for, as long as somebody runs whose end makes room.
    #[test]
    fn who_has_lost_a_race_comes_first() {
        const HOST: u64 = 100;
        let mut queue = Queue::new(needs(&[(10, 1); 4]), 3, 8);
        assert_eq!(all_next(&mut queue, 100), [0, 1, 2]);
        assert!(queue.put_back(1, false, HOST) && queue.put_back(2, false, HOST));
        assert!(!queue.put_back(0, false, HOST), "none would wake it");
        // Others may try; they come when there is room.
        assert_eq!(all_next(&mut queue, 100), [3]);
        queue.made(0);
        queue.made(3);
        for (free, others, next) in [(9, true, &[][..]), (10, true, &[1]), (100, false, &[])] {
            queue.look_again(free, others);
            assert_eq!(all_next(&mut queue, free), next, "{free}");
        }
        queue.done(0, false);
        queue.done(3, false);
        assert!(queue.put_back(1, true, HOST) && queue.is_crowded() && !queue.is_over());
        // Nobody tells of domains that were never introduced: nobody is left, and it has to try.
        queue.look_again(0, false);
        assert!(!queue.is_crowded());
        assert_eq!(all_next(&mut queue, 0), [1]);
        queue.done(1, false);
        assert_eq!(all_next(&mut queue, 0), [2]);
        assert!(!queue.put_back(2, true, 9), "it never fits");
        queue.done(2, false);
        assert!(queue.is_over());
        let mut queue = Queue::new(needs(&[(10, 1); 2]), 2, 8);
        assert_eq!(all_next(&mut queue, 100), [0, 1]);
        assert!(queue.put_back(1, false, HOST));
        queue.close();
        queue.done(0, false);
        assert!(queue.is_over(), "after a signal none begins");
    }

    #[test]
    fn nobody_is_overtaken_for_ever() {
        let mut all = vec![(10, 1), (90, 1)];
        all.extend([(10, 1); 40]);
        let mut queue = Queue::new(needs(&all), 2, 8);
        let mut begun = all_next(&mut queue, 95);
        while let Some(&first) = begun.first() {
            assert!(begun.len() <= 2, "{begun:?}");
            queue.done(first, false);
            if first == 1 {
                assert!(all.len() - queue.waiting.len() <= 20, "it waited for too many");
                return;
            }
            begun.remove(0);
            let busy: u64 = begun.iter().map(|&index| all[index].0).sum();
            begun.iter().for_each(|&index| queue.made(index));
            begun.extend(all_next(&mut queue, 95 - busy));
        }
        panic!("it never ran");
    }

    proptest! {
        /// Never more than there is room for, unless one runs alone; and all of them run.
        #[test]
        fn all_run_within_bounds(
            all in prop::collection::vec((1_u64..60, 1_u32..6), 0..30),
            jobs in 1_usize..6,
            ends in prop::collection::vec(0_usize..6, 200),
        ) {
            const FREE_KIB: u64 = 100;
            const CPUS: u32 = 8;
            let mut queue = Queue::new(needs(&all), jobs, CPUS);
            let (mut running, mut ran): (Vec<usize>, usize) = (Vec::new(), 0);
            for end in ends {
                let busy: u64 = running.iter().map(|&index| all[index].0).sum();
                running.iter().for_each(|&index| queue.made(index));
                running.extend(all_next(&mut queue, FREE_KIB.saturating_sub(busy)));
                let memory: u64 = running.iter().map(|&index| all[index].0).sum();
                let vcpus: u32 = running.iter().map(|&index| all[index].1).sum();
                prop_assert!(running.len() <= jobs);
                prop_assert!(running.len() <= 1 || (memory <= FREE_KIB && vcpus <= CPUS));
                if running.is_empty() {
                    break;
                }
                queue.done(running.remove(end % running.len()), false);
                ran += 1;
            }
            prop_assert!(queue.is_over() && ran == all.len(), "{ran} of {}", all.len());
        }
    }
}
