//! Against the general reader and the filter of `lzma-rust2`.

use super::*;
use lzma_rust2::filter::bcj::BcjReader;
use lzma_rust2::{CheckType, FilterConfig, FilterType, XzOptions, XzReader, XzWriter};
use proptest::collection::vec;
use proptest::prelude::*;
use std::io::Write;
use std::num::NonZeroU64;

const LIMIT_KIB: u32 = 64 << 10;
/// Made by the xz program with the options of Linux' build.
const FIXTURE: &[u8] = include_bytes!("../../../tests/fixtures/image/kernel.xz");

fn general(file: &[u8]) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let read = XzReader::new_mem_limit(file, true, LIMIT_KIB).read_to_end(&mut content);
    read.map(|_| content).map_err(|error| error.to_string())
}

fn single(file: &Single<'_>) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let take = |piece: &[u8]| {
        content.extend_from_slice(piece);
        Ok::<_, ()>(())
    };
    match file.decode(LIMIT_KIB, take) {
        Ok(()) => Ok(content),
        Err(Stop::Data(error)) => Err(error.to_string()),
        Err(Stop::Sink(())) => unreachable!("all is taken"),
    }
}

/// A program: half of it is machine code.
fn program() -> Vec<u8> {
    let mut bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    bytes.truncate(1 << 20);
    bytes
}

fn packed(content: &[u8], set: impl FnOnce(&mut XzOptions)) -> Vec<u8> {
    let mut options = XzOptions::with_preset(1);
    options.check_type = CheckType::Crc32;
    set(&mut options);
    let mut writer = XzWriter::new(Vec::new(), options).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

fn filter(filter_type: FilterType, property: u32) -> Vec<FilterConfig> {
    vec![FilterConfig { filter_type, property }]
}

#[test]
fn what_linux_makes_is_read_here() {
    let content = program();
    let check = |name: &str, file: &[u8], is_ours: bool| {
        let ours = Single::of(file);
        assert_eq!(ours.is_some(), is_ours, "{name}");
        let want = general(file).unwrap();
        assert!(ours.is_none_or(|ours| single(&ours).unwrap() == want), "{name}");
    };
    let x86 = packed(&content, |o| o.filters = filter(FilterType::BcjX86, 0));
    check("fixture", FIXTURE, true);
    check("x86", &x86, true);
    check("no filter", &packed(&content, |_| ()), true);
    check("one byte", &packed(b"x", |_| ()), true);
    check("three bytes", &packed(b"\xe8\0\0", |o| o.filters = filter(FilterType::BcjX86, 0)), true);
    check(
        "x86 from elsewhere",
        &packed(&content, |o| o.filters = filter(FilterType::BcjX86, 4096)),
        false,
    );
    check("arm", &packed(&content, |o| o.filters = filter(FilterType::BcjArm, 0)), false);
    check("CRC64", &packed(&content, |o| o.check_type = CheckType::Crc64), false);
    let blocks = packed(&content, |o| {
        o.lzma_options.dict_size = 1 << 16;
        o.block_size = NonZeroU64::new(1 << 19);
    });
    check("blocks", &blocks, false);
    check("two streams", &[FIXTURE, &x86].concat(), false);
    check("stream padding", &[FIXTURE, &[0; 4]].concat(), false);
}

/// The fixture with another block header: flags and what follows them, without check sum.
fn with_header(fields: &[u8]) -> Vec<u8> {
    let mut header = vec![0];
    header.extend(fields);
    while header.len() % 4 != 0 {
        header.push(0);
    }
    header[0] = (header.len() / 4) as u8;
    header.extend(crc32fast::hash(&header).to_le_bytes());
    let fixture = Single::of(FIXTURE).unwrap();
    let number = |mut value: u64, to: &mut Vec<u8>| {
        while value > 0x7f {
            to.push(value as u8 | 0x80);
            value >>= 7;
        }
        to.push(value as u8);
    };
    let mut index = vec![0, 1];
    number((header.len() + fixture.packed.len() + 4) as u64, &mut index);
    number(fixture.decoded_bytes, &mut index);
    while index.len() % 4 != 0 {
        index.push(0);
    }
    index.extend(crc32fast::hash(&index).to_le_bytes());
    let mut tail = (index.len() as u32 / 4 - 1).to_le_bytes().to_vec();
    tail.extend([0, 1]);
    let mut file = [&FIXTURE[..12], &header, fixture.packed].concat();
    while file.len() % 4 != 0 {
        file.push(0);
    }
    file.extend(fixture.crc32.to_le_bytes());
    file.extend(index);
    file.extend(crc32fast::hash(&tail).to_le_bytes());
    file.extend(tail);
    file.extend(b"YZ");
    file
}

#[test]
fn block_headers_are_compared() {
    let want = general(FIXTURE).unwrap();
    let fixture = Single::of(FIXTURE).unwrap();
    let (packed, decoded) = (fixture.packed.len(), want.len());
    let two = |length: usize| [length as u8 | 0x80, (length >> 7) as u8];
    assert!((0x80..0x4000).contains(&packed));
    let three =
        |length: usize| [length as u8 | 0x80, (length >> 7) as u8 | 0x80, (length >> 14) as u8];
    assert!((0x4000..0x20_0000).contains(&decoded));
    let filters: &[u8] = &[4, 0, 0x21, 1, 0x1a];
    let check = |name: &str, fields: &[u8], is_ours: bool| {
        let file = with_header(fields);
        let ours = Single::of(&file).map(|ours| single(&ours).unwrap());
        assert!(ours == is_ours.then(|| want.clone()), "{name}");
        if is_ours {
            assert!(general(&file).as_ref() == Ok(&want), "{name}");
        }
    };
    check("as it is", &[&[1], filters].concat(), true);
    assert!(with_header(&[&[1], filters].concat()) == FIXTURE);
    check("a longer header", &[&[1], filters, &[0; 8]].concat(), true);
    check("packed length", &[&[0x41], &two(packed)[..], filters].concat(), true);
    check("decoded length", &[&[0x81], &three(decoded)[..], filters].concat(), true);
    check("both", &[&[0xc1], &two(packed)[..], &three(decoded), filters].concat(), true);
    check("another packed length", &[&[0x41], &two(packed - 1)[..], filters].concat(), false);
    check("another decoded length", &[&[0x81], &three(decoded + 1)[..], filters].concat(), false);
    check("a number too long", &[&[1, 0x84, 0], &filters[1..]].concat(), false);
    check("a number without end", &[&[0x41][..], &[0xff; 12]].concat(), false);
    check("reserved flags", &[&[5], filters].concat(), false);
    check("three filters", &[&[2, 4, 0], filters].concat(), false);
    check("padding that is none", &[&[1], filters, &[0, 1]].concat(), false);
    check("a dictionary beyond all", &[1, 4, 0, 0x21, 1, 41], false);
    check("no code of a dictionary", &[0, 0x21, 1], false);
}

#[test]
fn dictionaries_have_a_limit() {
    for (code, is_read) in [(0x1a, true), (0x1c, false), (40, false)] {
        let file = with_header(&[1, 4, 0, 0x21, 1, code]);
        let ours = single(&Single::of(&file).unwrap());
        assert_eq!(ours.is_ok(), is_read, "{code}");
        assert!(ours == general(&file), "{code}");
    }
}

/// No byte of a file can change and the content be given out: what one reader refuses, both do.
#[test]
fn every_byte_counts() {
    let want = general(FIXTURE).unwrap();
    let mut ours_refused = 0;
    for at in 0..FIXTURE.len() {
        let mut file = FIXTURE.to_vec();
        file[at] ^= 1 << (at % 8);
        if let Some(ours) = Single::of(&file) {
            // Some changes of LZMA2 mean nothing; then the content is what it was.
            match single(&ours) {
                Ok(content) => assert!(content == want, "byte {at}"),
                Err(_) => ours_refused += 1,
            }
        }
        if at % 8 == 0 {
            let both = Single::of(&file).is_some_and(|ours| single(&ours).is_ok());
            assert!(!both || general(&file).is_ok(), "byte {at}");
        }
    }
    assert!(ours_refused > 0);
}

#[test]
fn what_the_frame_promises_is_kept() {
    let good = || Single::of(FIXTURE).unwrap();
    let longer = [good().packed, &[0]].concat();
    let shorter = &good().packed[..good().packed.len() - 1];
    let check = |file: Single<'_>, want: &str| {
        let error = single(&file).unwrap_err();
        assert!(error.contains(want), "{want}: {error}");
    };
    check(Single { crc32: !good().crc32, ..good() }, "check sum");
    check(Single { decoded_bytes: good().decoded_bytes + 1, ..good() }, "another length");
    check(Single { packed: &longer, ..good() }, "goes on behind its data");
    check(Single { packed: shorter, ..good() }, "");
    check(Single { has_x86: false, ..good() }, "check sum");
}

/// The filter over `bytes` in buffers of these sizes, in turn.
fn unfiltered(bytes: &[u8], sizes: &[usize]) -> Vec<u8> {
    let (mut filter, mut bytes) = (X86::default(), bytes.to_vec());
    let (mut from, mut to) = (0, 0);
    for size in sizes.iter().cycle() {
        to = bytes.len().min(to + size);
        from += filter.decode(&mut bytes[from..to]);
        assert!(to - from < 5);
        if to == bytes.len() {
            break;
        }
    }
    bytes
}

fn unfiltered_by_the_library(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    BcjReader::new_x86(bytes, 0).read_to_end(&mut out).unwrap();
    out
}

#[test]
fn machine_code_is_unfiltered_alike() {
    let program = program();
    let want = unfiltered_by_the_library(&program);
    assert!(want != program);
    assert!(unfiltered(&program, &[program.len()]) == want);
    assert!(unfiltered(&program, &[4096, 1, 70_000, 3, 7]) == want);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Bytes that mean something to the filter, close to each other.
    #[test]
    fn anything_is_unfiltered_alike(
        bytes in vec(
            prop_oneof![
                3 => Just(0xe8_u8), 2 => Just(0xe9), 3 => Just(0), 3 => Just(0xff), 2 => Just(1),
                1 => Just(0xfe), 3 => any::<u8>(),
            ],
            0..300,
        ),
        sizes in vec(1_usize..40, 1..5),
    ) {
        prop_assert_eq!(unfiltered(&bytes, &sizes), unfiltered_by_the_library(&bytes));
    }
}
