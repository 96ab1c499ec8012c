//! Kernels that have been damaged on purpose: refused or read, never a panic, never too much.
//!
//! `XLR_FUZZ_ITERS` sets the number of damaged files.

mod image_support;

use domain_builder::image::{KernelImage, from_bytes};
use image_support::{Elf, Notes, PACKINGS, Random, bzimage, bzimage_of, linux_notes, pack};
use std::path::Path;

const LIMIT: u64 = 2 << 20;

fn iterations() -> u64 {
    std::env::var("XLR_FUZZ_ITERS").ok().and_then(|text| text.parse().ok()).unwrap_or(1500)
}

fn corpus() -> Vec<Vec<u8>> {
    let elf = Elf::linux().build();
    let legacy = "GUEST_OS=x,LOADER=generic,VIRT_BASE=0xffffffff80000000,HYPERCALL_PAGE=0x1";
    let mut corpus = vec![
        elf.clone(),
        Elf::with_notes(Notes::Section(linux_notes())).build(),
        Elf::with_notes(Notes::Legacy(legacy.to_owned())).build(),
        bzimage_of(&elf),
    ];
    for packing in PACKINGS {
        corpus.push(pack(packing, &elf));
        corpus.push(bzimage(packing, &elf));
    }
    corpus
}

/// Numbers on which parsers stumble.
const SPITEFUL: [u64; 8] = [0, 1, 0x7fff_ffff, 0xffff_ffff, 1 << 63, u64::MAX, u64::MAX - 63, 0xff];

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return;
        }
        // Headers stand in front; half of the damage goes there.
        let reach = if random.below(2) == 0 { bytes.len().min(700) } else { bytes.len() };
        let at = random.below(reach);
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => {
                let value = SPITEFUL[random.below(8)].to_le_bytes();
                let len = (1 << random.below(4)).min(bytes.len() - at);
                bytes[at..at + len].copy_from_slice(&value[..len]);
            }
            3 => bytes.truncate(at),
            4 => {
                let len = random.below(64).min(bytes.len() - at);
                bytes.drain(at..at + len);
            }
            _ => {
                let len = random.below(64).min(bytes.len() - at);
                let piece = bytes[at..at + len].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, piece);
            }
        }
    }
}

/// What holds of every image, however it came about.
fn check(image: &KernelImage) {
    assert!(image.decoded_bytes <= LIMIT && !image.segments.is_empty());
    let mut last = 0;
    for segment in &image.segments {
        assert!(segment.paddr >= last && segment.file_len <= segment.mem_len);
        assert!(segment.file_offset + segment.file_len <= image.decoded_bytes);
        last = segment.paddr.checked_add(segment.mem_len).unwrap();
        let bytes = image.segment_bytes(segment).unwrap();
        assert_eq!(bytes.len() as u64, segment.file_len);
        let mut tail = [1; 3];
        let from = segment.mem_len.saturating_sub(3);
        image.read_segment_at(segment, from, &mut tail[..segment.mem_len.min(3) as usize]).unwrap();
    }
    match image.pv() {
        Ok(layout) => {
            assert!(layout.kernel.contains(&layout.entry_vaddr));
            assert_eq!(layout.segments.len(), image.segments.len());
            for (place, segment) in layout.segments.iter().zip(&image.segments) {
                assert!(place.vaddr >= layout.kernel.start);
                assert!(place.vaddr + segment.mem_len <= layout.kernel.end);
                assert_eq!(place.vaddr - layout.virt_base, place.guest_paddr);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

#[test]
fn fuzz_image() {
    let corpus = corpus();
    let mut random = Random(0x5eed_0001);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..iterations() {
        let mut bytes = corpus[random.below(corpus.len())].clone();
        damage(&mut bytes, &mut random);
        match from_bytes(Path::new("k"), &bytes, LIMIT) {
            Ok(image) => {
                read += 1;
                check(&image);
            }
            Err(error) => {
                refused += 1;
                assert!(image_support::chain(&error).starts_with("kernel k: "));
            }
        }
    }
    // Damage that always or never matters tests little.
    assert!(read * 20 > refused && refused * 20 > read, "{read} read, {refused} refused");
}
