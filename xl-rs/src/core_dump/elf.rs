//! The bytes of a core file that are not the guest's memory.
//!
//! ```text
//!   ELF header │ section headers │ .note.Xen │ .xen_prstatus │ .xen_shared_info │ padding
//!   .xen_pages │ .xen_p2m │ .shstrtab │ padding │ NT_PRSTATUS of each vcpu │ program headers
//! ```
//!
//! The sections are Xen's format (its `dump-core-format.txt`), which crash reads. gdb knows no sections
//! in a core: for it there are program headers besides, one for every run of pages that the page
//! tables of the first vcpu map. They are the last in the file, as crash takes a core whose program
//! headers come first for one of kdump's.

use std::mem::offset_of;
use xen_sys::arch_x86::{VGCF_in_kernel, cpu_user_regs, vcpu_guest_context};
use xen_sys::elfnote::{
    XEN_ELFNOTE_DUMPCORE_FORMAT_VERSION, XEN_ELFNOTE_DUMPCORE_HEADER, XEN_ELFNOTE_DUMPCORE_NONE,
    XEN_ELFNOTE_DUMPCORE_XEN_VERSION,
};

const HEADER_BYTES: u64 = 64;
const SECTION_HEADER_BYTES: u64 = 64;
const PROGRAM_HEADER_BYTES: u64 = 56;
const SECTIONS: u64 = 7;
const STRINGS_SECTION: u16 = 1;
const PAGE: u64 = 4096;
/// Bytes of one `.xen_prstatus` entry.
pub const CONTEXT_BYTES: u64 = size_of::<vcpu_guest_context>() as u64;
/// Bytes of one `.xen_p2m` entry.
pub const ENTRY_BYTES: u64 = 16;
/// More than this an ELF header cannot count.
pub const MOST_SEGMENTS: usize = 0xfff0;

const NAMES: [&str; SECTIONS as usize] =
    ["", ".shstrtab", ".note.Xen", ".xen_prstatus", ".xen_shared_info", ".xen_pages", ".xen_p2m"];

/// A run of addresses that is one run of pages in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its first address.
    pub address: u64,
    /// Its first page, by number in the guest.
    pub pfn: u64,
    /// Its first page, by number in the file.
    pub index: u64,
    /// How many pages.
    pub pages: u64,
}

impl Segment {
    /// Adds a page to the last of `segments`, or begins another; tells whether there was room.
    pub fn add(segments: &mut Vec<Self>, address: u64, pfn: u64, index: u64) -> bool {
        if let Some(last) = segments.last_mut()
            && last.address.wrapping_add(last.pages * PAGE) == address
            && last.pfn + last.pages == pfn
            && last.index + last.pages == index
        {
            last.pages += 1;
            return true;
        }
        if segments.len() == MOST_SEGMENTS {
            return false;
        }
        segments.push(Self { address, pfn, index, pages: 1 });
        true
    }
}

/// A note of an ELF file; the names here have 3 or 4 letters.
fn note(name: &str, kind: u32, description: &[u8]) -> Vec<u8> {
    let name_bytes = name.len() + 1;
    let mut bytes = Vec::new();
    for word in [name_bytes as u32, description.len() as u32, kind] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(name.as_bytes());
    bytes.resize(12 + name_bytes.next_multiple_of(4), 0);
    bytes.extend(description);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn bytes_of(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The `.note.Xen` section. `release` and `record` are what the hypervisor says of itself.
#[must_use]
pub fn xen_notes(vcpus: u64, pages: u64, release: (u16, u16), record: &[u8]) -> Vec<u8> {
    const MAGIC_PV: u64 = 0xF00F_EBED;
    const FORMAT: u64 = 1;
    let mut version = bytes_of(&[release.0.into(), release.1.into()]);
    version.extend(record);
    [
        note("Xen", XEN_ELFNOTE_DUMPCORE_NONE, &[]),
        note("Xen", XEN_ELFNOTE_DUMPCORE_HEADER, &bytes_of(&[MAGIC_PV, vcpus, pages, PAGE])),
        note("Xen", XEN_ELFNOTE_DUMPCORE_XEN_VERSION, &version),
        note("Xen", XEN_ELFNOTE_DUMPCORE_FORMAT_VERSION, &bytes_of(&[FORMAT])),
    ]
    .concat()
}

/// A word of a vcpu's context; 0 beyond its end.
#[must_use]
pub fn word(context: &[u8], at: usize) -> u64 {
    let word = context.get(at..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u64::from_le_bytes(*word))
}

/// `NT_PRSTATUS` of a vcpu: its registers as a debugger of processes wants them.
#[must_use]
pub fn thread_note(number: u32, context: &[u8]) -> Vec<u8> {
    /// Bytes, and places, of Linux' `elf_prstatus`.
    const STATUS_BYTES: usize = 336;
    const PID_AT: usize = 32;
    const REGISTERS_AT: usize = 112;
    const NT_PRSTATUS: u32 = 1;
    let registers = offset_of!(vcpu_guest_context, user_regs);
    let general = |at: usize| word(context, registers + at);
    // A selector is what is left of its word, beside what only Xen writes there.
    let selector = |at: usize| general(at) & 0xffff;
    let kernel = word(context, offset_of!(vcpu_guest_context, flags)) & VGCF_in_kernel != 0;
    let gs_base = match kernel {
        true => offset_of!(vcpu_guest_context, gs_base_kernel),
        false => offset_of!(vcpu_guest_context, gs_base_user),
    };
    let values = [
        general(offset_of!(cpu_user_regs, r15)),
        general(offset_of!(cpu_user_regs, r14)),
        general(offset_of!(cpu_user_regs, r13)),
        general(offset_of!(cpu_user_regs, r12)),
        general(offset_of!(cpu_user_regs, rbp)),
        general(offset_of!(cpu_user_regs, rbx)),
        general(offset_of!(cpu_user_regs, r11)),
        general(offset_of!(cpu_user_regs, r10)),
        general(offset_of!(cpu_user_regs, r9)),
        general(offset_of!(cpu_user_regs, r8)),
        general(offset_of!(cpu_user_regs, rax)),
        general(offset_of!(cpu_user_regs, rcx)),
        general(offset_of!(cpu_user_regs, rdx)),
        general(offset_of!(cpu_user_regs, rsi)),
        general(offset_of!(cpu_user_regs, rdi)),
        // No system call is to be restarted.
        u64::MAX,
        general(offset_of!(cpu_user_regs, rip)),
        selector(offset_of!(cpu_user_regs, cs)),
        general(offset_of!(cpu_user_regs, rflags)),
        general(offset_of!(cpu_user_regs, rsp)),
        selector(offset_of!(cpu_user_regs, ss)),
        word(context, offset_of!(vcpu_guest_context, fs_base)),
        word(context, gs_base),
        selector(offset_of!(cpu_user_regs, ds)),
        selector(offset_of!(cpu_user_regs, es)),
        selector(offset_of!(cpu_user_regs, fs)),
        selector(offset_of!(cpu_user_regs, gs)),
    ];
    let mut status = vec![0; STATUS_BYTES];
    // Threads are told apart by their number, and 0 is none.
    status[PID_AT..PID_AT + 4].copy_from_slice(&(number + 1).to_le_bytes());
    let values = bytes_of(&values);
    status[REGISTERS_AT..REGISTERS_AT + values.len()].copy_from_slice(&values);
    note("CORE", NT_PRSTATUS, &status)
}

/// Where everything is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    vcpus: u64,
    note_bytes: u64,
}

impl Layout {
    /// Of a file with so many vcpus, and so many bytes in `.note.Xen`.
    #[must_use]
    pub fn new(vcpus: u64, note_bytes: u64) -> Self {
        Self { vcpus, note_bytes }
    }

    fn notes_at() -> u64 {
        HEADER_BYTES + SECTIONS * SECTION_HEADER_BYTES
    }

    fn contexts_at(self) -> u64 {
        Self::notes_at() + self.note_bytes
    }

    fn shared_info_at(self) -> u64 {
        self.contexts_at() + self.vcpus * CONTEXT_BYTES
    }

    /// Where the pages begin.
    #[must_use]
    pub fn pages_at(self) -> u64 {
        (self.shared_info_at() + PAGE).next_multiple_of(PAGE)
    }

    /// Where `.xen_p2m` begins when there are so many pages.
    #[must_use]
    pub fn p2m_at(self, pages: u64) -> u64 {
        self.pages_at() + pages * PAGE
    }

    /// What precedes the pages: `notes` are those of [`xen_notes`].
    #[must_use]
    pub fn head(
        self,
        pages: u64,
        notes: &[u8],
        contexts: &[Vec<u8>],
        shared_info: &[u8],
        threads: u64,
        segments: u64,
    ) -> Vec<u8> {
        let headers_at = self.headers_at(pages, threads);
        let mut head = elf_header(headers_at, segments + 1);
        head.extend(self.section_headers(pages));
        head.extend(notes);
        head.extend(contexts.iter().flatten());
        head.extend(shared_info);
        head
    }

    fn section_headers(self, pages: u64) -> Vec<u8> {
        const NULL: u32 = 0;
        const DATA: u32 = 1;
        const STRINGS: u32 = 3;
        const NOTES: u32 = 7;
        // Kind, place, size, alignment, size of an entry: in the order of their names.
        let p2m_at = self.p2m_at(pages);
        let strings_at = p2m_at + pages * ENTRY_BYTES;
        let strings = strings().len() as u64;
        let sections = [
            (NULL, 0, 0, 0, 0),
            (STRINGS, strings_at, strings, 0, 0),
            (NOTES, Self::notes_at(), self.note_bytes, 0, 0),
            (DATA, self.contexts_at(), self.vcpus * CONTEXT_BYTES, 8, CONTEXT_BYTES),
            (DATA, self.shared_info_at(), PAGE, 8, PAGE),
            (DATA, self.pages_at(), pages * PAGE, PAGE, PAGE),
            (DATA, p2m_at, pages * ENTRY_BYTES, 8, ENTRY_BYTES),
        ];
        let mut bytes = Vec::new();
        let mut name_at = 0_u32;
        for (name, (kind, at, size, alignment, entry)) in NAMES.iter().zip(sections) {
            bytes.extend(name_at.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(bytes_of(&[0, 0, at, size, 0, alignment, entry]));
            name_at += name.len() as u32 + 1;
        }
        bytes
    }

    /// Where the notes of the threads begin.
    fn threads_at(self, pages: u64) -> u64 {
        (self.p2m_at(pages) + pages * ENTRY_BYTES + strings().len() as u64).next_multiple_of(8)
    }

    fn headers_at(self, pages: u64, threads: u64) -> u64 {
        (self.threads_at(pages) + threads).next_multiple_of(8)
    }

    /// What follows `.xen_p2m`: `threads` are the notes of [`thread_note`].
    #[must_use]
    pub fn tail(self, pages: u64, threads: &[u8], segments: &[Segment]) -> Vec<u8> {
        const LOAD: u32 = 1;
        const NOTE: u32 = 4;
        const ALL: u32 = 7;
        let begins = self.p2m_at(pages) + pages * ENTRY_BYTES;
        let mut tail = strings();
        tail.resize((self.threads_at(pages) - begins) as usize, 0);
        tail.extend(threads);
        let bytes = threads.len() as u64;
        tail.resize((self.headers_at(pages, bytes) - begins) as usize, 0);
        let mut header = |kind: u32, flags: u32, words: [u64; 6]| {
            tail.extend(kind.to_le_bytes());
            tail.extend(flags.to_le_bytes());
            tail.extend(bytes_of(&words));
        };
        header(NOTE, 0, [self.threads_at(pages), 0, 0, bytes, 0, 4]);
        for segment in segments {
            let at = self.pages_at() + segment.index * PAGE;
            let (physical, bytes) = (segment.pfn * PAGE, segment.pages * PAGE);
            header(LOAD, ALL, [at, segment.address, physical, bytes, bytes, PAGE]);
        }
        tail
    }
}

/// `.shstrtab`.
fn strings() -> Vec<u8> {
    NAMES.iter().flat_map(|name| name.bytes().chain([0])).collect()
}

fn elf_header(headers_at: u64, headers: u64) -> Vec<u8> {
    const CLASS_64: u8 = 2;
    const LITTLE_ENDIAN: u8 = 1;
    const CURRENT: u8 = 1;
    const SYSV: u8 = 0;
    const CORE: u16 = 4;
    const X86_64: u16 = 62;
    let mut bytes = vec![0x7f, b'E', b'L', b'F', CLASS_64, LITTLE_ENDIAN, CURRENT, SYSV, CURRENT];
    bytes.resize(16, 0);
    bytes.extend(CORE.to_le_bytes());
    bytes.extend(X86_64.to_le_bytes());
    bytes.extend(u32::from(CURRENT).to_le_bytes());
    bytes.extend(bytes_of(&[0, headers_at, HEADER_BYTES]));
    bytes.extend(0_u32.to_le_bytes());
    let counts = [HEADER_BYTES, PROGRAM_HEADER_BYTES, headers, SECTION_HEADER_BYTES, SECTIONS];
    bytes.extend(counts.iter().flat_map(|count| (*count as u16).to_le_bytes()));
    bytes.extend(STRINGS_SECTION.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_pages_are_one_segment() {
        let mut segments = Vec::new();
        for (address, pfn, index) in
            [(0x1000, 5, 5), (0x2000, 6, 6), (0x3000, 7, 8), (0x4000, 9, 9), (0x6000, 10, 10)]
        {
            assert!(Segment::add(&mut segments, address, pfn, index));
        }
        let runs: Vec<_> = segments.iter().map(|it| (it.address, it.pages)).collect();
        assert_eq!(runs, [(0x1000, 2), (0x3000, 1), (0x4000, 1), (0x6000, 1)]);
        let many = Segment { address: 0, pfn: 0, index: 0, pages: 1 };
        let mut segments = vec![many; MOST_SEGMENTS];
        assert!(!Segment::add(&mut segments, 0x9000, 1, 9));
        assert!(Segment::add(&mut segments, 0x1000, 1, 1), "the last one grows all the same");
        // The last page of all addresses.
        let mut segments = Vec::new();
        assert!(Segment::add(&mut segments, 0xffff_ffff_ffff_f000, 1, 1));
        assert!(Segment::add(&mut segments, 0, 2, 2));
    }

    #[test]
    fn a_note_is_padded() {
        assert_eq!(note("Xen", 2, &[]), b"\x04\0\0\0\0\0\0\0\x02\0\0\0Xen\0");
        assert_eq!(note("CORE", 1, &[7])[12..], *b"CORE\0\0\0\0\x07\0\0\0");
        let record = vec![0; 1264];
        assert_eq!(xen_notes(1, 2, (4, 17), &record).len(), 16 + 48 + 16 + 1280 + 24);
    }

    #[test]
    fn a_debugger_finds_the_registers() {
        let mut context = vec![0; CONTEXT_BYTES as usize];
        let mut set = |at: usize, value: u64| {
            context[at..at + 8].copy_from_slice(&value.to_le_bytes());
        };
        let registers = offset_of!(vcpu_guest_context, user_regs);
        set(registers + offset_of!(cpu_user_regs, rip), 0x1234);
        set(registers + offset_of!(cpu_user_regs, cs), 0xffff_ffff_0000_e033);
        set(offset_of!(vcpu_guest_context, gs_base_kernel), 77);
        set(offset_of!(vcpu_guest_context, gs_base_user), 88);
        let value = |context: &[u8], register: usize| {
            word(&thread_note(0, context), 12 + 8 + 112 + 8 * register)
        };
        assert_eq!(value(&context, 16), 0x1234);
        assert_eq!(value(&context, 17), 0xe033);
        assert_eq!(value(&context, 22), 88);
        let at = offset_of!(vcpu_guest_context, flags);
        context[at..at + 8].copy_from_slice(&VGCF_in_kernel.to_le_bytes());
        assert_eq!(value(&context, 22), 77);
        assert_eq!(value(&[], 16), 0, "what is cut off is 0");
    }
}
