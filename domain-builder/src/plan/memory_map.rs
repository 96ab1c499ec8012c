//! The memory map that a PV guest is told when it asks.
//!
//! Without devices it is one range of RAM from 0. A guest that drives devices of the host keeps its
//! own memory out of the addresses at which these answer, so it is told the host's holes: its RAM
//! ends where the first of them begins, and what does not fit below goes above all of them. Frames
//! stay numbered from 0 without a gap; the guest moves them as it boots. Pure.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a range is, as firmware numbers it.
pub const RAM: u32 = 1;
/// RAM that must not be used.
const UNUSABLE: u32 = 5;

/// Ranges that begin in here are the host's own affair: legacy devices and firmware.
const LOW_END: u64 = 1 << 20;
/// Above here no device answers that is reached by 32 bits.
const HIGH_START: u64 = 1 << 32;

/// One range of a memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapEntry {
    /// First byte.
    pub start: u64,
    /// First byte after it.
    pub end: u64,
    /// What it is, as firmware numbers it: 1 for RAM.
    pub kind: u32,
}

impl MapEntry {
    const fn ram(start: u64, end: u64) -> Self {
        Self { start, end, kind: RAM }
    }

    const fn unusable(start: u64, end: u64) -> Self {
        Self { start, end, kind: UNUSABLE }
    }

    /// Whether a device may answer there, or firmware live there.
    const fn is_hole(self) -> bool {
        self.kind != RAM && self.kind != UNUSABLE
    }
}

impl fmt::Display for MapEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, end, kind } = self;
        match *kind {
            RAM => write!(f, "RAM {start:#x}-{end:#x}"),
            UNUSABLE => write!(f, "unusable {start:#x}-{end:#x}"),
            kind => write!(f, "kind {kind} {start:#x}-{end:#x}"),
        }
    }
}

/// The map of a guest that is told nothing of the host.
#[must_use]
pub fn flat(max_memory_bytes: u64) -> Vec<MapEntry> {
    vec![MapEntry::ram(0, max_memory_bytes)]
}

/// The map of a guest that is told the `host`'s holes. Host RAM below 4 GiB that the guest does not
/// cover is unusable for it: it would take a gap for room to put devices in.
#[must_use]
pub fn with_holes(host: &[MapEntry], memory_bytes: u64, max_memory_bytes: u64) -> Vec<MapEntry> {
    let known = || host.iter().copied().filter(|entry| entry.start > LOW_END);
    let first = known().filter(|entry| entry.is_hole()).map(|entry| entry.start).min();
    let last = known().filter(|entry| entry.is_hole()).map(|entry| entry.end).max();
    let ram_end = first.map_or(memory_bytes, |first| first.min(memory_bytes));
    let mut map = vec![MapEntry::ram(0, ram_end)];
    // Down to here everything is spoken for.
    let mut taken = ram_end;
    if let Some(first) = first.filter(|first| *first > ram_end) {
        map.push(MapEntry::unusable(ram_end, first));
        taken = first;
    }
    for entry in known() {
        if entry.is_hole() {
            map.push(entry);
        } else if entry.kind == RAM {
            // Above 4 GiB nothing is taken: the guest's own memory goes there.
            let (start, end) = (entry.start.max(taken), entry.end.min(HIGH_START));
            if start < end {
                map.push(MapEntry::unusable(start, end));
            }
        }
    }
    let above = max_memory_bytes.saturating_sub(ram_end);
    if above > 0 {
        let start = last.unwrap_or(0).max(HIGH_START);
        map.push(MapEntry::ram(start, start.saturating_add(above)));
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    const fn entry(start: u64, end: u64, kind: u32) -> MapEntry {
        MapEntry { start, end, kind }
    }

    /// A machine of 2 GiB as its firmware describes it.
    const HOST: [MapEntry; 6] = [
        entry(0, 0x9_fc00, 1),
        entry(0x9_fc00, 0xa_0000, 2),
        entry(0xf_0000, 0x10_0000, 2),
        entry(0x10_0000, 0x7ffd_f000, 1),
        entry(0x7ffd_f000, 0x8000_0000, 2),
        entry(0xb000_0000, 0xc000_0000, 2),
    ];

    fn check(host: &[MapEntry], memory_mib: u64, max_mib: u64, expected: &[MapEntry]) {
        let map = with_holes(host, memory_mib * MIB, max_mib * MIB);
        assert_eq!(map, expected, "{memory_mib} of {max_mib} MiB");
    }

    #[test]
    fn holes_are_the_hosts() {
        let holes = [HOST[4], HOST[5]];
        let gap = entry(256 * MIB, 0x7ffd_f000, UNUSABLE);
        let small = [MapEntry::ram(0, 256 * MIB), gap, holes[0], holes[1]];
        check(&HOST, 256, 256, &small);
        let above = MapEntry::ram(1 << 32, (1 << 32) + 44 * MIB);
        check(&HOST, 256, 300, &[&small[..], &[above]].concat());
        // More than there is room for below the first hole.
        let rest = MapEntry::ram(1 << 32, (1 << 32) + 3072 * MIB - 0x7ffd_f000);
        check(&HOST, 3072, 3072, &[MapEntry::ram(0, 0x7ffd_f000), holes[0], holes[1], rest]);
        // A host with devices above 4 GiB, and RAM between its holes.
        let split = [
            entry(16 * MIB, 17 * MIB, 2),
            entry(17 * MIB, 64 * MIB, 1),
            entry(1 << 33, 1 << 34, 2),
        ];
        let expected = [
            MapEntry::ram(0, 16 * MIB),
            split[0],
            entry(17 * MIB, 64 * MIB, UNUSABLE),
            split[2],
            MapEntry::ram(1 << 34, (1 << 34) + 16 * MIB),
        ];
        check(&split, 32, 32, &expected);
        // RAM that goes on above 4 GiB.
        let across = [entry(16 * MIB, 17 * MIB, 2), entry(1 << 30, 5 << 30, RAM)];
        let below = [MapEntry::ram(0, 16 * MIB), across[0], entry(1 << 30, 1 << 32, UNUSABLE)];
        let rest = MapEntry::ram(1 << 32, (1 << 32) + 16 * MIB);
        check(&across, 32, 32, &[&below[..], &[rest]].concat());
        check(
            &[],
            32,
            40,
            &[MapEntry::ram(0, 32 * MIB), MapEntry::ram(1 << 32, (1 << 32) + 8 * MIB)],
        );
    }

    proptest! {
        /// Whatever firmware says: all memory is there, in a place of its own.
        #[test]
        fn memory_is_whole(
            host in prop::collection::vec((0u64..1 << 36, 1u64..1 << 33, 1u32..7), 0..12),
            memory in 1u64..1 << 34,
            more in 0u64..1 << 34,
        ) {
            let host: Vec<MapEntry> =
                host.iter().map(|&(start, bytes, kind)| entry(start, start + bytes, kind)).collect();
            let map = with_holes(&host, memory, memory + more);
            let ram: Vec<&MapEntry> = map.iter().filter(|entry| entry.kind == RAM).collect();
            prop_assert_eq!(ram.iter().map(|entry| entry.end - entry.start).sum::<u64>(), memory + more);
            for ram in &ram {
                for other in map.iter().filter(|other| other.kind != RAM) {
                    prop_assert!(other.end <= ram.start || other.start >= ram.end, "{map:?}");
                }
            }
        }
    }
}
