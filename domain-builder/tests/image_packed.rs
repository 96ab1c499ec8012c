//! Packed kernels, bzImages and what people mistake for kernels.

mod image_support;

use domain_builder::image::{CacheOptions, ImageError, KernelImage, Origin, from_bytes, load};
use image_support::{Elf, PACKINGS, Scratch, bzimage, bzimage_of, chain, pack, reported};
use std::path::Path;

const LIMIT: u64 = 64 << 20;

fn uncached() -> CacheOptions {
    CacheOptions { directory: None, max_bytes: None, max_image_bytes: LIMIT }
}

/// All bytes of all segments.
fn contents(image: &KernelImage) -> Vec<Vec<u8>> {
    let read = |segment: usize| {
        let mut bytes = vec![0; image.segments[segment].mem_len as usize];
        image.read_segment_at(&image.segments[segment], 0, &mut bytes).unwrap();
        bytes
    };
    (0..image.segments.len()).map(read).collect()
}

/// Checks that a file decodes to the kernel of [`Elf::linux`].
fn check(name: &str, bytes: &[u8], packing: &str) {
    let scratch = Scratch::new();
    let path = scratch.file("kernel", bytes);
    let plain = scratch.file("plain", &Elf::linux().build());
    let want = load(&plain, &uncached()).unwrap();
    let found =
        load(&path, &uncached()).unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
    assert_eq!(found.compression, packing, "{name}");
    assert_eq!((&found.segments, &found.notes), (&want.segments, &want.notes), "{name}");
    assert_eq!(contents(&found), contents(&want), "{name}");
    assert!(matches!(found.origin, Origin::CacheOff), "{name}");
    assert_eq!(found.hash.unwrap().0, *blake3::hash(bytes).as_bytes(), "{name}");
}

/// Checks that bytes are refused in words that contain `want`.
fn check_refused(name: &str, bytes: &[u8], want: &str) {
    let scratch = Scratch::new();
    let path = scratch.file("kernel", bytes);
    let from_file = load(&path, &uncached()).map(|_| name).expect_err(name);
    let from_memory = from_bytes(&path, bytes, LIMIT).map(|_| name).expect_err(name);
    for error in [from_file, from_memory] {
        let text = chain(&error);
        let head = format!("kernel {}: ", path.display());
        assert!(text.starts_with(&head) && text.contains(want), "{name}: {text}");
        assert!(!repeats_itself(&error), "{name}: {text}");
    }
}

/// Whether an error says what its source says.
fn repeats_itself(error: &ImageError) -> bool {
    let source = std::error::Error::source(error).map(ToString::to_string);
    source.is_some_and(|source| error.to_string().contains(&source))
}

#[test]
fn every_packing_is_decoded() {
    let elf = Elf::linux().build();
    for packing in PACKINGS {
        check(packing, &pack(packing, &elf), reported(packing));
        check(&format!("bzImage {packing}"), &bzimage(packing, &elf), reported(packing));
    }
    check("bzImage of an ELF file", &bzimage_of(&elf), "none");
}

/// Files that the tools themselves have made; see the README beside them.
#[test]
fn files_of_the_tools_are_decoded() {
    let fixtures: [(&[u8], &str); 7] = [
        (include_bytes!("fixtures/image/kernel.gz"), "gzip"),
        (include_bytes!("fixtures/image/kernel.xz"), "xz"),
        (include_bytes!("fixtures/image/kernel.lzma"), "lzma"),
        (include_bytes!("fixtures/image/kernel.bz2"), "bzip2"),
        (include_bytes!("fixtures/image/kernel.lz4"), "lz4"),
        (include_bytes!("fixtures/image/kernel.lz4l"), "lz4"),
        (include_bytes!("fixtures/image/kernel.zst"), "zstd"),
    ];
    let len = Elf::linux().build().len() as u32;
    for (bytes, packing) in fixtures {
        check(packing, bytes, packing);
        let mut payload = bytes.to_vec();
        if packing != "gzip" {
            payload.extend(len.to_le_bytes());
        }
        check(&format!("bzImage {packing}"), &bzimage_of(&payload), packing);
    }
}

#[test]
fn the_fixture_is_the_kernel_made_here() {
    let elf = Elf::linux().build();
    let want = "e3af5850df4de9818f76fdf58a5b15ad0524a6a5aa7379a561b339a73b820ddc";
    assert_eq!(blake3::hash(&elf).to_hex().as_str(), want, "the fixtures must be made again");
}

#[test]
fn no_kernel_is_refused() {
    let elf = Elf::linux().build();
    check_refused("empty", b"", "the file is empty");
    check_refused("text", b"#!/bin/sh\n", "not a kernel image (it begins with 23 21 2f");
    check_refused("one byte", b"\x7f", "not a kernel image");
    check_refused("lzo", b"\x89LZO\0\r\n\x1a\n", "packed by lzo, which is not supported");
    check_refused("packed text", &pack("gzip", b"hello"), "what the gzip data holds is not an ELF");
    check_refused("packed nothing", &pack("xz", b""), "what the xz data holds is not an ELF");
    check_refused("packed twice", &pack("gzip", &pack("xz", &elf)), "not an ELF file");
    let mut arm = elf.clone();
    arm[18] = 183;
    check_refused("packed arm64", &pack("zstd", &arm), "64-bit Arm");
    check_refused("bzImage of text", &bzimage_of(b"hello there"), "which is no known packing");
    check_refused("bzImage of lzo", &bzimage_of(b"\x89LZO\0\r\n\x1a\n...."), "packed by lzo");
}

#[test]
fn cut_data_is_refused() {
    let elf = Elf::linux().build();
    for packing in PACKINGS {
        let whole = pack(packing, &elf);
        for cut in [whole.len() / 3, whole.len() / 2, whole.len() - 1] {
            let name = format!("{packing} cut at {cut}");
            check_refused(&name, &whole[..cut], "damaged or cut off");
        }
    }
    let whole = bzimage("xz", &elf);
    check_refused("bzImage cut", &whole[..whole.len() / 2], "bzImage: the payload ends at byte");
}

#[test]
fn bzimage_headers_are_checked() {
    let whole = bzimage("gzip", &Elf::linux().build());
    let patch = |at: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let cases = [
        ("cut in the header", whole[..0x24f].to_vec(), "ends in the header"),
        ("protocol 2.07", patch(0x206, &[7, 2]), "boot protocol 2.07"),
        ("no signature", patch(0x202, b"hdrs"), "not a kernel image"),
        ("no boot flag", patch(0x1fe, &[0, 0]), "not a kernel image"),
        ("offset outside", patch(0x248, &[0xff; 4]), "the payload ends at byte 4294"),
        ("length outside", patch(0x24c, &[0xff; 4]), "the payload ends at byte 4294"),
        ("no payload", patch(0x24c, &[0; 4]), "which is no known packing"),
        ("payload of 3 bytes", patch(0x24c, &[3, 0, 0, 0]), "the payload is empty"),
    ];
    for (name, bytes, want) in cases {
        check_refused(name, &bytes, want);
    }
    // No setup sectors means four.
    let mut file = whole.clone();
    file[0x1f1] = 0;
    file.splice(4 * 512..4 * 512, [0x90; 512]);
    check("four sectors", &file, "gzip");
    check("protocol 2.08", &patch(0x206, &[8, 2]), "gzip");
}

#[test]
fn the_declared_length_counts() {
    let elf = Elf::linux().build();
    for packing in PACKINGS {
        let mut payload = pack(packing, &elf);
        if packing == "gzip" {
            continue; // Its own check sum speaks first.
        }
        payload.extend((elf.len() as u32 - 1).to_le_bytes());
        check_refused(packing, &bzimage_of(&payload), "the payload should decode to");
    }
}

#[test]
fn sizes_are_limited() {
    let elf = Elf::linux().build();
    let len = elf.len() as u64;
    for packing in PACKINGS {
        let packed = pack(packing, &elf);
        let path = Path::new("k");
        assert!(from_bytes(path, &packed, len).is_ok(), "{packing} at the limit");
        let error = from_bytes(path, &packed, len - 1).unwrap_err().to_string();
        assert!(error.contains("the decoded kernel exceeds the limit"), "{packing}: {error}");
    }
    let scratch = Scratch::new();
    let path = scratch.file("kernel", &elf);
    let options = |max_image_bytes| CacheOptions { max_image_bytes, ..uncached() };
    assert!(load(&path, &options(len)).is_ok());
    let error = load(&path, &options(len - 1)).unwrap_err().to_string();
    assert!(error.contains("the kernel file exceeds the limit"), "{error}");
}

/// Some hundred bytes that decode to much more stop at the limit.
#[test]
fn bombs_stop_at_the_limit() {
    let zeros = vec![0; 3 << 20];
    for packing in PACKINGS {
        let error = from_bytes(Path::new("k"), &pack(packing, &zeros), 1 << 18).unwrap_err();
        assert!(error.to_string().contains("exceeds the limit of 262144 bytes"), "{error}");
    }
}

/// A header that asks for a dictionary of gigabytes is refused before it gets one.
#[test]
fn dictionaries_are_limited() {
    let mut lzma = pack("lzma", &Elf::linux().build());
    lzma[1..5].copy_from_slice(&0xf000_0000_u32.to_le_bytes());
    check_refused("lzma", &lzma, "the lzma data is damaged or cut off after 0 decoded bytes");
}

#[test]
fn places_that_are_no_files_are_refused() {
    let scratch = Scratch::new();
    let pipe = scratch.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let link = scratch.join("link");
    std::os::unix::fs::symlink(&link, &link).unwrap();
    let file = scratch.file("file", b"x");
    for (path, want) in [
        (scratch.join("missing").as_path(), "no such file; check kernel="),
        (scratch.path(), "it is a directory; kernel= must name a regular file"),
        (&pipe, "it is a pipe"),
        (Path::new("/dev/null"), "it is a device"),
        (&link, "cannot open it: "),
        (&file.join("below"), "no such file"),
    ] {
        let text = chain(&load(path, &uncached()).unwrap_err());
        assert!(text.contains(want), "{}: {text}", path.display());
        assert!(text.starts_with(&format!("kernel {}: ", path.display())), "{text}");
    }
}

/// A plain ELF file is read where it lies, and a change under our hands is noticed.
#[test]
fn a_plain_file_is_read_in_place() {
    let scratch = Scratch::new();
    let bytes = Elf::linux().build();
    let path = scratch.file("vmlinux", &bytes);
    let image = load(&path, &CacheOptions::default()).unwrap();
    assert!(matches!(image.origin, Origin::Direct) && image.file().is_some());
    assert_eq!((image.hash, image.decoded_bytes), (None, bytes.len() as u64));
    assert_eq!(image.segment_bytes(&image.segments[0]), None);
    let mut found = [0; 5];
    image.read_segment_at(&image.segments[0], 5, &mut found).unwrap();
    assert_eq!(found, [0xe8, 1, 0, 0, 0]);
    std::fs::File::options().write(true).open(&path).unwrap().set_len(5000).unwrap();
    let error = image.read_segment_at(&image.segments[1], 0, &mut found).unwrap_err();
    assert!(error.to_string().contains("the file changed while it was read"), "{error}");
}
