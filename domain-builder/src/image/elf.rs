//! The ELF file of a kernel: segments and notes.
//!
//! In: a whole decoded ELF file, in memory or on disk. Out: [`Elf`], with every offset checked
//! against the file and every address against overflow. Never copies segments and never reads more
//! than headers and notes.

use super::error::Problem;
use super::kernel::Segment;
use super::notes::{NotesForm, XenNotes};
use object::LittleEndian;
use object::elf::{self, FileHeader64, ProgramHeader64};
use object::read::elf::{FileHeader, NoteIterator, ProgramHeader, SectionHeader};
use object::read::{ReadCache, ReadCacheOps, ReadRef};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

type Header = FileHeader64<LittleEndian>;

/// Highest number of program headers; kernels have fewer than ten.
pub(super) const MAX_PROGRAM_HEADERS: u16 = 128;
/// Most bytes of notes, or of a `__xen_guest` section, that are looked at.
pub(super) const MAX_NOTE_BYTES: u64 = 1 << 20;

/// What the ELF file says.
pub(super) struct Elf {
    pub entry: u64,
    pub segments: Vec<Segment>,
    pub notes: XenNotes,
}

/// Reads an ELF file on disk; only headers and notes are read.
pub(super) fn parse_file(file: &File, len: u64) -> Result<Elf, Problem> {
    let cache = ReadCache::new(Window { file, len, position: 0, failure: None });
    let parsed = parse(&cache);
    match cache.into_inner().failure {
        Some(source) if source.kind() == io::ErrorKind::UnexpectedEof => Err(Problem::Changed),
        Some(source) => Err(Problem::Io { operation: "read", source }),
        None => parsed,
    }
}

/// Reads an ELF file from anything that can be read at an offset.
pub(super) fn parse<'d, R: ReadRef<'d>>(data: R) -> Result<Elf, Problem> {
    check_ident(data)?;
    let header = Header::parse(data).map_err(broken)?;
    check_kind(header)?;
    let count = header.e_phnum.get(LittleEndian);
    if count == 0 || count > MAX_PROGRAM_HEADERS {
        return Err(Problem::Elf { reason: format!("{count} program headers") });
    }
    let programs = header.program_headers(LittleEndian, data).map_err(broken)?;
    let len = data.len().map_err(|()| cut("file"))?;
    let segments = segments(programs, len)?;
    let notes = notes(header, programs, data)?;
    Ok(Elf { entry: header.e_entry.get(LittleEndian), segments, notes })
}

fn broken(error: object::read::Error) -> Problem {
    Problem::Elf { reason: error.to_string() }
}

fn cut(what: &str) -> Problem {
    Problem::Elf { reason: format!("the {what} lies outside the file") }
}

/// Class, byte order and machine, before anything whose layout depends on them.
fn check_ident<'d, R: ReadRef<'d>>(data: R) -> Result<(), Problem> {
    let ident =
        data.read_bytes_at(0, size_of::<Header>() as u64).map_err(|()| cut("ELF header"))?;
    let wrong = |found: &str| Err(Problem::WrongMachine { found: found.to_owned() });
    if ident[5] != elf::ELFDATA2LSB.0 {
        return wrong("a big-endian machine");
    }
    let machine = u16::from_le_bytes([ident[18], ident[19]]);
    let name = match machine {
        3 => "32-bit x86",
        40 => "32-bit Arm",
        62 => "x86-64",
        183 => "64-bit Arm",
        243 => "RISC-V",
        _ => return wrong(&format!("machine {machine}")),
    };
    match (ident[4], machine) {
        (2, 62) => Ok(()),
        (1, 62) => wrong("x86-64 in 32-bit form (class ELFCLASS32)"),
        _ => wrong(name),
    }
}

fn check_kind(header: &Header) -> Result<(), Problem> {
    match header.e_type.get(LittleEndian) {
        kind if kind == elf::ET_EXEC || kind == elf::ET_DYN => Ok(()),
        kind if kind == elf::ET_REL => {
            Err(Problem::Elf { reason: "a kernel module or object file".to_owned() })
        }
        kind => Err(Problem::Elf { reason: format!("file type {} is no program", kind.0) }),
    }
}

/// The loadable segments, checked and sorted by physical address.
fn segments(
    programs: &[ProgramHeader64<LittleEndian>],
    file_bytes: u64,
) -> Result<Vec<Segment>, Problem> {
    let e = LittleEndian;
    let mut segments = Vec::new();
    for (index, program) in programs.iter().enumerate() {
        let segment = Segment {
            paddr: program.p_paddr.get(e),
            vaddr: program.p_vaddr.get(e),
            file_offset: program.p_offset.get(e),
            file_len: program.p_filesz.get(e),
            mem_len: program.p_memsz.get(e),
            flags: program.p_flags.get(e).0,
        };
        if program.p_type.get(e) != elf::PT_LOAD || segment.mem_len == 0 {
            continue;
        }
        let bad = |reason| Problem::Elf { reason: format!("segment {index} {reason}") };
        if segment.file_len > segment.mem_len {
            return Err(bad("is longer in the file than in memory"));
        }
        match segment.file_offset.checked_add(segment.file_len) {
            Some(end) if end <= file_bytes => {}
            _ => return Err(bad("lies outside the file")),
        }
        if segment.paddr.checked_add(segment.mem_len).is_none() {
            return Err(bad("leaves the address space"));
        }
        segments.push(segment);
    }
    segments.sort_by_key(|segment| segment.paddr);
    if segments.is_empty() {
        return Err(Problem::Elf { reason: "no loadable segment".to_owned() });
    }
    for pair in segments.windows(2) {
        if pair[0].paddr + pair[0].mem_len > pair[1].paddr {
            let reason = format!(
                "the segments at {:#x} and {:#x} overlap in memory",
                pair[0].paddr, pair[1].paddr
            );
            return Err(Problem::Elf { reason });
        }
    }
    Ok(segments)
}

/// Xen notes from the note segments; failing that, the note sections; failing that, `__xen_guest`.
fn notes<'d, R: ReadRef<'d>>(
    header: &Header,
    programs: &[ProgramHeader64<LittleEndian>],
    data: R,
) -> Result<XenNotes, Problem> {
    let mut notes = XenNotes::default();
    let mut budget = MAX_NOTE_BYTES;
    for program in programs {
        if program.p_type.get(LittleEndian) == elf::PT_NOTE {
            let (offset, len) = program.file_range(LittleEndian);
            add_notes(&mut notes, area(data, offset, len, &mut budget, "note segment")?)?;
        }
    }
    // A stripped kernel need not have sections, and those of others are none of our business
    // once the segments have spoken.
    if notes.form != NotesForm::Absent || header.e_shnum.get(LittleEndian) == 0 {
        return Ok(notes);
    }
    let sections = header.section_headers(LittleEndian, data).map_err(broken)?;
    for section in sections {
        if section.sh_type.get(LittleEndian) == elf::SHT_NOTE
            && let Some((offset, len)) = section.file_range(LittleEndian)
        {
            add_notes(&mut notes, area(data, offset, len, &mut budget, "note section")?)?;
        }
    }
    if notes.form != NotesForm::Absent {
        return Ok(notes);
    }
    let names = header.section_strings(LittleEndian, data, sections).map_err(broken)?;
    for section in sections {
        if section.name(LittleEndian, names).is_ok_and(|name| name == b"__xen_guest")
            && let Some((offset, len)) = section.file_range(LittleEndian)
        {
            let text = area(data, offset, len, &mut budget, "__xen_guest section")?;
            return XenNotes::from_legacy(text);
        }
    }
    Ok(notes)
}

/// Bytes of one area of notes, out of what may still be read.
fn area<'d, R: ReadRef<'d>>(
    data: R,
    offset: u64,
    len: u64,
    budget: &mut u64,
    what: &str,
) -> Result<&'d [u8], Problem> {
    let reason = || format!("more than {MAX_NOTE_BYTES} bytes of notes");
    *budget = budget.checked_sub(len).ok_or_else(|| Problem::Elf { reason: reason() })?;
    data.read_bytes_at(offset, len).map_err(|()| cut(what))
}

/// Adds those notes of an area that are named "Xen". They are padded to 4 bytes, whatever
/// alignment the area states.
fn add_notes(notes: &mut XenNotes, area: &[u8]) -> Result<(), Problem> {
    let mut notes_in_area = NoteIterator::<Header>::new(LittleEndian, 4, area).map_err(broken)?;
    while let Some(note) = notes_in_area.next().map_err(broken)? {
        if note.name() == b"Xen" {
            notes.add(note.n_type(LittleEndian).0, note.desc())?;
        }
    }
    Ok(())
}

/// A file seen through positioned reads, which keeps the first failure for the report.
struct Window<'f> {
    file: &'f File,
    len: u64,
    position: u64,
    failure: Option<io::Error>,
}

impl Window<'_> {
    fn keep<T>(&mut self, result: io::Result<T>) -> Result<T, ()> {
        result.map_err(|error| {
            self.failure.get_or_insert(error);
        })
    }
}

impl ReadCacheOps for Window<'_> {
    fn len(&mut self) -> Result<u64, ()> {
        Ok(self.len)
    }

    fn seek(&mut self, position: u64) -> Result<u64, ()> {
        self.position = position;
        Ok(position)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ()> {
        let result = self.file.read_at(buffer, self.position);
        let count = self.keep(result)?;
        self.position += count as u64;
        Ok(count)
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), ()> {
        let result = self.file.read_exact_at(buffer, self.position);
        self.keep(result)?;
        self.position += buffer.len() as u64;
        Ok(())
    }
}
