//! Properties of kernel images, against models that are too simple to be wrong.

mod image_support;

use domain_builder::image::{CacheOptions, from_bytes, from_elf_bytes, load};
use image_support::{Elf, Load, Notes, PACKINGS, Scratch, bzimage, number, pack};
use proptest::collection::vec;
use proptest::prelude::*;
use std::path::Path;

/// Segments as a loader of one's own would place them: gaps, bytes, tails of zeros.
fn elf() -> impl Strategy<Value = Elf> {
    let bytes = prop_oneof![
        vec(any::<u8>(), 0..3000),
        (0_usize..20_000).prop_map(|len| vec![0; len]),
        (vec(any::<u8>(), 1..10), 0_usize..9000).prop_map(|(mut bytes, zeros)| {
            bytes.resize(bytes.len() + zeros, 0);
            bytes.push(1);
            bytes
        }),
    ];
    let load = (0_u64..10_000, bytes, 0_u64..10_000, any::<u64>());
    (vec(load, 1..6), any::<u64>()).prop_map(|(loads, entry)| {
        let mut paddr = 0x10_0000;
        let mut elf = Elf { entry, loads: Vec::new(), notes: Notes::Absent };
        for (gap, bytes, tail, vaddr) in loads {
            let mem_len = bytes.len() as u64 + tail;
            paddr += gap;
            elf.loads.push(Load { paddr, vaddr, bytes, mem_len });
            paddr += mem_len;
        }
        elf
    })
}

/// Guest memory as the file describes it, byte by byte.
fn memory(elf: &Elf) -> Vec<(u64, u8)> {
    let mut memory = Vec::new();
    for load in &elf.loads {
        for offset in 0..load.mem_len {
            let byte = load.bytes.get(offset as usize).copied().unwrap_or(0);
            memory.push((load.paddr + offset, byte));
        }
    }
    memory
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn an_elf_file_is_what_was_written(mut elf in elf(), rotate in 0_usize..6, cut in 1_usize..5000) {
        let want = memory(&elf);
        let loaded = elf.loads.iter().filter(|load| load.mem_len > 0).count();
        let middle = rotate % elf.loads.len();
        elf.loads.rotate_left(middle);
        let result = from_elf_bytes(Path::new("k"), elf.build());
        prop_assert_eq!(result.is_ok(), loaded > 0);
        let Ok(image) = result else { return Ok(()) };
        prop_assert_eq!(image.elf_entry, elf.entry);
        let mut found = Vec::new();
        for segment in &image.segments {
            let mut offset = 0;
            while offset < segment.mem_len {
                let mut bytes = vec![0xa5; cut.min((segment.mem_len - offset) as usize)];
                image.read_segment_at(segment, offset, &mut bytes).unwrap();
                found.extend((segment.paddr + offset..).zip(bytes.iter().copied()));
                offset += bytes.len() as u64;
            }
        }
        prop_assert_eq!(found, want);
    }

    #[test]
    fn the_cache_gives_back_what_was_packed(
        elf in elf(), packing in 0_usize..PACKINGS.len(), wrapped: bool,
    ) {
        let bytes = elf.build();
        let file = match wrapped {
            true => bzimage(PACKINGS[packing], &bytes),
            false => pack(PACKINGS[packing], &bytes),
        };
        let scratch = Scratch::new();
        let path = scratch.file("kernel", &file);
        let options = CacheOptions {
            directory: Some(scratch.join("cache")),
            max_bytes: Some(1 << 20),
            max_image_bytes: 1 << 20,
        };
        prop_assume!(memory(&elf).len() > 1);
        load(&path, &options).unwrap();
        let entry = std::fs::read_dir(scratch.join("cache")).unwrap().map(|e| e.unwrap().path())
            .find(|path| path.extension().is_some_and(|end| end == "elf")).unwrap();
        prop_assert!(std::fs::read(entry).unwrap() == bytes);
        prop_assert_eq!(from_bytes(&path, &file, 1 << 20).unwrap().decoded_bytes, bytes.len() as u64);
    }

    /// The layout is the file's addresses moved by VIRT_BASE and PADDR_OFFSET, or it is refused.
    #[test]
    fn the_layout_moves_every_segment_alike(
        elf in elf(),
        base in prop_oneof![Just(0xffff_ffff_8000_0000), 0_u64..1 << 40, any::<u64>()],
        offset in prop_oneof![0_u64..0x20_0000, any::<u64>()],
    ) {
        let base = base & !0xfff;
        let first = elf.loads[0].paddr;
        let last = elf.loads.last().unwrap();
        let end = u128::from(base) + u128::from(last.paddr + last.mem_len);
        let entry = base.wrapping_add(first).wrapping_sub(offset);
        let notes = [number(1, entry), number(3, base), number(4, offset)].concat();
        let elf = Elf { notes: Notes::Segment(notes), ..elf };
        prop_assume!(elf.loads.iter().all(|load| load.mem_len > 0));
        let image = from_elf_bytes(Path::new("k"), elf.build()).unwrap();
        match image.pv() {
            Ok(layout) => {
                prop_assert!(offset <= first);
                for (place, load) in layout.segments.iter().zip(&elf.loads) {
                    prop_assert_eq!(place.guest_paddr, load.paddr - offset);
                    prop_assert_eq!(place.vaddr, base + (load.paddr - offset));
                }
                prop_assert_eq!(layout.entry_vaddr, layout.kernel.start);
                let last_page = (layout.kernel.end - 1) >> 47;
                prop_assert!(last_page == base >> 47 && (last_page == 0 || last_page == 0x1_ffff));
            }
            // All that can be wrong: below 0, beyond the top, or where no guest may be.
            Err(_) => prop_assert!(
                offset > first
                    || end - u128::from(offset) >= 1 << 64
                    || (base < 0xffff_8800_0000_0000 && end - u128::from(offset) > 0x8000_0000_0000)
            ),
        }
    }
}
