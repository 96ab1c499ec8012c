//! Kernels made in code, packed by the encoders of the libraries, and a place to put them.
#![allow(dead_code, missing_docs, reason = "each test program uses a part")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where [`Elf`] keeps its notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notes {
    /// A note segment.
    Segment(Vec<u8>),
    /// A note section, no segment.
    Section(Vec<u8>),
    /// A `__xen_guest` section.
    Legacy(String),
    Absent,
}

/// A segment to be written.
#[derive(Clone, Debug)]
pub struct Load {
    pub paddr: u64,
    pub vaddr: u64,
    pub bytes: Vec<u8>,
    pub mem_len: u64,
}

/// A 64-bit x86-64 ELF file to be written.
#[derive(Clone, Debug)]
pub struct Elf {
    pub entry: u64,
    pub loads: Vec<Load>,
    pub notes: Notes,
}

pub const VIRT_BASE: u64 = 0xffff_ffff_8000_0000;
pub const PADDR: u64 = 0x100_0000;

/// One ELF note named `name`.
pub fn note(name: &str, kind: u32, desc: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((name.len() as u32 + 1).to_le_bytes());
    bytes.extend((desc.len() as u32).to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    for part in [[name.as_bytes(), &[0]].concat(), desc.to_vec()] {
        bytes.extend(&part);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// One Xen note with a number of 8 bytes.
pub fn number(kind: u32, value: u64) -> Vec<u8> {
    note("Xen", kind, &value.to_le_bytes())
}

/// One Xen note with a string.
pub fn text(kind: u32, value: &str) -> Vec<u8> {
    note("Xen", kind, &[value.as_bytes(), &[0]].concat())
}

/// The notes of a Linux kernel for PV.
pub fn linux_notes() -> Vec<u8> {
    [
        text(6, "linux"),
        text(7, "2.6"),
        text(5, "xen-3.0"),
        number(3, VIRT_BASE),
        number(15, 0x80_0000_0000),
        number(1, VIRT_BASE + PADDR + 0x10),
        text(10, "!writable_page_tables|pae_pgdir_above_4gb"),
        note("Xen", 17, &0x8801_u32.to_le_bytes()),
        text(9, "yes"),
        text(8, "generic"),
        note("Xen", 13, &[1_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat()),
        note("Xen", 14, &1_u32.to_le_bytes()),
        note("Xen", 16, &1_u32.to_le_bytes()),
        number(12, 0xffff_8000_0000_0000),
        number(4, 0),
        note("GNU", 3, b"build id"),
    ]
    .concat()
}

impl Elf {
    /// A small kernel in the shape of Linux: text, data with a tail of zeros in memory, and a
    /// segment that names 0 as its virtual address.
    pub fn linux() -> Self {
        let text = (0..4000_u32).flat_map(|n| [0xe8, (n % 64) as u8, 0, 0, 0]).collect();
        let load = |paddr, vaddr, bytes: Vec<u8>, tail: u64| Load {
            mem_len: bytes.len() as u64 + tail,
            paddr,
            vaddr,
            bytes,
        };
        Self {
            entry: PADDR,
            loads: vec![
                load(PADDR, VIRT_BASE + PADDR, text, 0),
                load(PADDR + 0x20_0000, VIRT_BASE + PADDR + 0x20_0000, vec![0x5a; 9000], 0x3000),
                load(PADDR + 0x30_0000, 0, vec![0; 70_000], 0),
            ],
            notes: Notes::Segment(linux_notes()),
        }
    }

    /// One with other bytes in its text, for a second content.
    pub fn variant(seed: u8) -> Self {
        let mut elf = Self::linux();
        elf.loads[0].bytes[0] = seed;
        elf
    }

    pub fn with_notes(notes: Notes) -> Self {
        Self { notes, ..Self::linux() }
    }

    /// The file: header, program headers, segments, notes, sections.
    pub fn build(&self) -> Vec<u8> {
        let (note_bytes, in_segment) = match &self.notes {
            Notes::Segment(bytes) => (bytes.clone(), true),
            Notes::Section(bytes) => (bytes.clone(), false),
            Notes::Legacy(text) => ([text.as_bytes(), &[0]].concat(), false),
            Notes::Absent => (Vec::new(), false),
        };
        let headers = self.loads.len() + usize::from(in_segment);
        let mut body = vec![0; 64 + 56 * headers];
        let mut programs = Vec::new();
        for load in &self.loads {
            body.resize(body.len().next_multiple_of(4096), 0);
            let at = body.len() as u64;
            body.extend(&load.bytes);
            let len = load.bytes.len() as u64;
            programs.push([1 | 7 << 32, at, load.vaddr, load.paddr, len, load.mem_len, 4096]);
        }
        body.resize(body.len().next_multiple_of(4), 0);
        let notes_at = body.len() as u64;
        body.extend(&note_bytes);
        let len = note_bytes.len() as u64;
        if in_segment {
            programs.push([4 | 4 << 32, notes_at, 0, 0, len, len, 4]);
        }
        let mut sections_at = 0;
        let mut section_count = 0;
        if matches!(self.notes, Notes::Section(_) | Notes::Legacy(_)) {
            let kind = if matches!(self.notes, Notes::Section(_)) { 7 } else { 1 };
            let names = b"\0__xen_guest\0.shstrtab\0";
            let names_at = body.len() as u64;
            body.extend(names);
            body.resize(body.len().next_multiple_of(8), 0);
            sections_at = body.len() as u64;
            section_count = 3;
            body.extend([0; 64]);
            body.extend(section(1, kind, notes_at, len));
            body.extend(section(13, 3, names_at, names.len() as u64));
        }
        let mut head = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let short = |value: u16| value.to_le_bytes();
        head.extend([short(2), short(62), short(1), short(0)].concat());
        head.extend([self.entry, 64, sections_at].map(u64::to_le_bytes).concat());
        head.extend([short(0), short(0), short(64), short(56)].concat());
        head.extend(short(headers as u16));
        head.extend(
            [short(64), short(section_count), short(section_count.saturating_sub(1))].concat(),
        );
        for program in programs {
            head.extend(program.map(u64::to_le_bytes).concat());
        }
        body[..head.len()].copy_from_slice(&head);
        body
    }
}

fn section(name: u32, kind: u32, offset: u64, len: u64) -> Vec<u8> {
    let mut bytes = [name.to_le_bytes(), kind.to_le_bytes()].concat();
    bytes.extend([0, 0, offset, len, 0, 4, 0].map(u64::to_le_bytes).concat());
    bytes
}

/// The ways in which kernels are packed, by the name that the image reports.
pub const PACKINGS: [&str; 7] = ["gzip", "xz", "lzma", "bzip2", "lz4-legacy", "lz4-frame", "zstd"];

/// Packs `data` by one of [`PACKINGS`].
pub fn pack(packing: &str, data: &[u8]) -> Vec<u8> {
    match packing {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "xz" => {
            let options = lzma_rust2::XzOptions::with_preset(6);
            let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "lzma" => {
            let options = lzma_rust2::LzmaOptions::with_preset(6);
            let mut encoder =
                lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, None).unwrap();
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "bzip2" => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "lz4-legacy" => {
            let mut packed = 0x184C_2102_u32.to_le_bytes().to_vec();
            for block in data.chunks(8 << 20) {
                let block = lz4_flex::block::compress(block);
                packed.extend((block.len() as u32).to_le_bytes());
                packed.extend(block);
            }
            packed
        }
        "lz4-frame" => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => {
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            ruzstd::encoding::compress_to_vec(data, level)
        }
        other => panic!("no packing {other}"),
    }
}

/// The name under which a packing is reported.
pub fn reported(packing: &str) -> &str {
    packing.split('-').next().unwrap()
}

/// Wraps an ELF file as Linux' build does: packed, the decoded length behind it unless the
/// packing says it itself, a setup header in front.
pub fn bzimage(packing: &str, elf: &[u8]) -> Vec<u8> {
    let mut payload = pack(packing, elf);
    if packing != "gzip" {
        payload.extend((elf.len() as u32).to_le_bytes());
    }
    bzimage_of(&payload)
}

/// Puts a setup header (protocol 2.15, three setup sectors) before a payload, and an unrelated
/// tail behind it.
pub fn bzimage_of(payload: &[u8]) -> Vec<u8> {
    const OFFSET: usize = 0x2cc;
    let mut file = vec![0x90; 4 * 512 + OFFSET];
    file[0x1f1] = 3;
    file[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    file[0x248..0x24c].copy_from_slice(&(OFFSET as u32).to_le_bytes());
    file[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    file.extend(payload);
    file.extend([0xcc; 333]);
    file
}

/// A directory of its own that goes away with the value.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("image-test-{}-{count}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An error with everything that caused it, as the program prints it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A small generator of numbers (xorshift64*), the same in each run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
