//! Which bytes of kernel and ramdisk go where.

use super::*;
use crate::plan::loads::{kernel_clears, kernel_loads, ramdisk_loads};
use crate::plan::steps::Source;

/// What loads and clears leave in the kernel's frames, byte by byte: (segment, offset) or zero.
fn check_loads(kernel: &KernelFacts, layout: &Layout) {
    let bytes = (layout.kernel.end() * PAGE_BYTES) as usize;
    // 0: untouched, 1: zero, otherwise 2 + a mix of segment and offset.
    let mut memory = vec![0u32; bytes];
    let mark = |segment: usize, offset: u64| 2 + segment as u32 * 0x1000_0000 + offset as u32;
    for load in kernel_loads(kernel) {
        let from = (load.frames.start * PAGE_BYTES) as usize;
        let to = (load.frames.end() * PAGE_BYTES) as usize;
        assert!(memory[from..to].iter().all(|&b| b == 0), "mapped twice");
        memory[from..to].fill(1);
        for piece in load.pieces {
            let Source::Kernel { segment, offset } = piece.source else { panic!() };
            for at in 0..piece.bytes {
                memory[from + (piece.at + at) as usize] = mark(segment, offset + at);
            }
        }
    }
    for frames in kernel_clears(kernel, layout) {
        let range = (frames.start * PAGE_BYTES) as usize..(frames.end() * PAGE_BYTES) as usize;
        assert!(memory[range.clone()].iter().all(|&b| b == 0), "cleared what was loaded");
        memory[range].fill(1);
    }
    let mut wanted = vec![0u32; bytes];
    wanted[(layout.kernel.start * PAGE_BYTES) as usize..].fill(1);
    for segment in &kernel.segments {
        for at in segment.data.iter().flat_map(Clone::clone) {
            wanted[(segment.start + at) as usize] = mark(segment.index, at);
        }
    }
    assert!(memory == wanted);
}

#[test]
fn kernel_bytes_and_zeros_go_where_they_belong() {
    let kernel = micro();
    check_loads(&kernel, &Layout::new(&kernel, None, 8 * MIB / PAGE_BYTES).unwrap());
    // Two segments share a page; one has no file bytes; a load is longer than one mapping.
    let mut kernel = micro();
    kernel.segments = vec![
        segment(0, 0x10_0000, 0x1800, 0x1800),
        segment(1, 0x10_1800, 0x100, 0x9000),
        segment(2, 0x20_0000, 0, 0x3000),
        segment(3, 0x20_3010, 17 * MIB, 17 * MIB),
    ];
    check_loads(&kernel, &Layout::new(&kernel, None, 64 * MIB / PAGE_BYTES).unwrap());
    // Holes at the start, between pages, inside of a page and at the end.
    kernel.segments[3].data = vec![0x3000..0x5000, 0x5ff0..0x6010, 0x10_0000..0x10_0123];
    check_loads(&kernel, &Layout::new(&kernel, None, 64 * MIB / PAGE_BYTES).unwrap());
    kernel.segments[0].data.clear();
    check_loads(&kernel, &Layout::new(&kernel, None, 64 * MIB / PAGE_BYTES).unwrap());
}

#[test]
fn ramdisk_loads_cover_the_file_once() {
    for bytes in [0, 1, 4096, 4097, 16 * MIB, 40 * MIB + 3] {
        let frames = Frames { start: 7, count: bytes.div_ceil(PAGE_BYTES) };
        let mut next = 0;
        for load in ramdisk_loads(frames, bytes) {
            assert_eq!(load.pieces.len(), 1);
            let piece = load.pieces[0];
            assert_eq!(piece.source, Source::Ramdisk { offset: next });
            assert_eq!(load.frames.start * PAGE_BYTES + piece.at, 7 * PAGE_BYTES + next);
            next += piece.bytes;
        }
        assert_eq!(next, bytes);
    }
}
