//! ELF files, Xen notes and the PV layout: what is read, and what is refused in which words.

mod image_support;

use domain_builder::image::{
    CacheOptions, KernelImage, L1MfnValid, NotesForm, from_elf_bytes, load,
};
use image_support::{Elf, Load, Notes, PADDR, Scratch, VIRT_BASE, linux_notes, note, number, text};
use std::path::Path;

fn parse(bytes: Vec<u8>) -> Result<KernelImage, String> {
    from_elf_bytes(Path::new("/boot/k"), bytes).map_err(|error| image_support::chain(&error))
}

/// Checks that the bytes are refused, by the file's name and in words that contain `want`.
fn check_refused(name: &str, bytes: Vec<u8>, want: &str) {
    let text = parse(bytes).map(|_| name).expect_err(name);
    assert!(text.starts_with("kernel /boot/k: ") && text.contains(want), "{name}: {text}");
}

/// Writes a little-endian number into a copy of `bytes`.
fn patch<const N: usize>(bytes: &[u8], at: usize, value: [u8; N]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + N].copy_from_slice(&value);
    bytes
}

#[test]
fn linux_is_read() {
    let image = parse(Elf::linux().build()).unwrap();
    let notes = &image.notes;
    assert_eq!(notes.form, NotesForm::ElfNotes);
    assert_eq!(notes.entry_vaddr, Some(VIRT_BASE + PADDR + 0x10));
    assert_eq!((notes.virt_base, notes.paddr_offset), (Some(VIRT_BASE), Some(0)));
    assert_eq!((notes.init_p2m, notes.hypercall_page), (Some(0x80_0000_0000), None));
    assert_eq!(notes.hv_start_low, Some(0xffff_8000_0000_0000));
    assert_eq!(notes.guest_os.as_deref(), Some("linux"));
    assert_eq!(notes.guest_version.as_deref(), Some("2.6"));
    assert_eq!(notes.xen_version.as_deref(), Some("xen-3.0"));
    assert_eq!(notes.loader.as_deref(), Some("generic"));
    assert_eq!(notes.pae_mode.as_deref(), Some("yes"));
    assert_eq!(notes.l1_mfn_valid, [L1MfnValid { mask: 1, value: 1 }]);
    assert!(notes.suspend_cancel && notes.mod_start_pfn && !notes.bsd_symtab);
    assert_eq!((notes.features.supported, notes.features.required), (0x8811, 1));
    assert_eq!(notes.phys32_entry, None);
    assert_eq!(image.elf_entry, PADDR);
    assert_eq!(image.physical_range(), PADDR..PADDR + 0x30_0000 + 70_000);

    let layout = image.pv().unwrap();
    assert_eq!(layout.entry_vaddr, VIRT_BASE + PADDR + 0x10);
    assert_eq!(layout.kernel, VIRT_BASE + PADDR..VIRT_BASE + PADDR + 0x30_0000 + 70_000);
    // Placed by the physical address: the file says 0 for the virtual one.
    assert_eq!(image.segments[2].vaddr, 0);
    assert_eq!(layout.segments[2].vaddr, VIRT_BASE + PADDR + 0x30_0000);
    assert_eq!(layout.segments[2].guest_paddr, PADDR + 0x30_0000);
}

#[test]
fn segments_are_read_with_their_zeros() {
    let elf = Elf::linux();
    let image = parse(elf.build()).unwrap();
    for (segment, load) in image.segments.iter().zip(&elf.loads) {
        let mut want = load.bytes.clone();
        want.resize(load.mem_len as usize, 0);
        let mut found = vec![0xff; want.len()];
        image.read_segment_at(segment, 0, &mut found).unwrap();
        assert_eq!(found, want);
        assert_eq!(image.segment_bytes(segment), Some(load.bytes.as_slice()));
        // Across the end of the file's part, and up to the last byte.
        let from = load.bytes.len().saturating_sub(5);
        let mut found = vec![0xff; want.len() - from];
        image.read_segment_at(segment, from as u64, &mut found).unwrap();
        assert_eq!(found, want[from..]);
        let past = image.read_segment_at(segment, load.mem_len, &mut [0]);
        assert!(past.unwrap_err().to_string().contains("leaves a segment"));
        assert!(image.read_segment_at(segment, u64::MAX, &mut [0; 2]).is_err());
        image.read_segment_at(segment, load.mem_len, &mut []).unwrap();
    }
}

#[test]
fn a_kernel_that_is_written_to_is_noticed() {
    let scratch = Scratch::new();
    let bytes = Elf::linux().build();
    let path = scratch.file("kernel", &bytes);
    let kernel = load(&path, &CacheOptions::default()).unwrap();
    kernel.check_unchanged().unwrap();
    // Replaced under its name: the open file is the old one, whole.
    let other = scratch.file("other", &bytes);
    std::fs::rename(&other, &path).unwrap();
    kernel.check_unchanged().unwrap();
    let kernel = load(&path, &CacheOptions::default()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let error = kernel.check_unchanged().unwrap_err();
    assert!(image_support::chain(&error).contains("changed while it was read"));
}

#[test]
fn broken_elf_is_refused() {
    let good = Elf::linux().build();
    let program = |index: usize, field: usize| 64 + index * 56 + field;
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("cut in the header", good[..63].to_vec(), "the ELF header lies outside the file"),
        ("cut in a segment", good[..20_000].to_vec(), "segment 0 lies outside the file"),
        ("32-bit x86", patch(&patch(&good, 4, [1]), 18, [3]), "for 32-bit x86"),
        ("x32", patch(&good, 4, [1]), "ELFCLASS32"),
        ("arm64", patch(&good, 18, [183]), "for 64-bit Arm; needed is a 64-bit x86-64"),
        ("unknown machine", patch(&good, 18, [0x34, 0x12]), "for machine 4660"),
        ("big endian", patch(&good, 5, [2]), "big-endian"),
        ("module", patch(&good, 16, [1]), "a kernel module or object file"),
        ("core", patch(&good, 16, [4]), "file type 4"),
        ("no headers", patch(&good, 56, [0, 0]), "0 program headers"),
        ("128 + 1 headers", patch(&good, 56, [129, 0]), "129 program headers"),
        ("extended count", patch(&good, 56, [0xff, 0xff]), "65535 program headers"),
        ("header size", patch(&good, 54, [55, 0]), "ELF: "),
        ("headers outside", patch(&good, 32, [0xff; 8]), "ELF: "),
        ("offset wraps", patch(&good, program(0, 8), [0xff; 8]), "segment 0 lies outside"),
        ("file length wraps", patch(&good, program(1, 32), [0xff; 8]), "segment 1 is longer"),
        (
            "both lengths wrap",
            patch(&patch(&good, program(1, 32), [0xff; 8]), program(1, 40), [0xff; 8]),
            "segment 1 lies outside",
        ),
        ("memory wraps", patch(&good, program(1, 40), [0xff; 8]), "segment 1 leaves the address"),
        ("overlap", patch(&good, program(1, 40), 0x10_0001_u64.to_le_bytes()), "overlap in memory"),
        ("notes outside", patch(&good, program(3, 8), [0xff; 8]), "note segment lies outside"),
        (
            "notes too long",
            patch(&good, program(3, 32), (1_u64 << 20 | 1).to_le_bytes()),
            "more than 1048576 bytes of notes",
        ),
    ];
    for (name, bytes, want) in cases {
        check_refused(name, bytes.clone(), want);
    }
    // Without notes the last segment ends the file: whole it is read, a byte less is too little.
    let last = Elf::with_notes(Notes::Absent).build();
    assert!(parse(last.clone()).is_ok());
    check_refused("one byte short", last[..last.len() - 1].to_vec(), "segment 2 lies outside");
    let no_load = Elf { loads: Vec::new(), ..Elf::linux() };
    check_refused("nothing to load", no_load.build(), "no loadable segment");
    // The bound itself is allowed: 128 headers, most of them of a type that means nothing.
    let mut elf = Elf::linux();
    let extra = Load { paddr: 0, vaddr: 0, bytes: Vec::new(), mem_len: 0 };
    elf.loads.splice(3..3, vec![extra; 124]);
    assert_eq!(parse(elf.build()).unwrap().segments.len(), 3);
}

/// Checks the notes' error for one note, given as its descriptor.
fn check_note(kind: u32, desc: &[u8], want: Option<&str>) {
    let result = parse(Elf::with_notes(Notes::Segment(note("Xen", kind, desc))).build());
    match (result, want) {
        (Ok(_), None) => {}
        (Err(text), Some(want)) if text.contains(want) => {}
        (result, want) => panic!("note {kind} {desc:?}: {result:?}, want {want:?}"),
    }
}

#[test]
fn notes_have_their_forms() {
    for kind in [1, 2, 3, 4, 12, 14, 15, 16, 17, 18] {
        check_note(kind, &[1; 4], None);
        check_note(kind, &[1; 8], None);
        for len in [0, 1, 2, 3, 5, 7, 9, 16] {
            check_note(kind, &vec![1; len], Some("a number of"));
        }
    }
    for kind in [0, 5, 6, 7, 8, 9, 10, 11] {
        check_note(kind, b"generic\0", None);
        check_note(kind, b"generic", None);
        check_note(kind, b"", None);
        check_note(kind, b"\x1b[2J\0", Some("byte 0x1b in a text"));
        check_note(kind, b"\xff\0", Some("byte 0xff in a text"));
    }
    check_note(13, &[1; 16], None);
    check_note(13, &[1; 48], None);
    check_note(13, &[1; 8], None);
    check_note(13, &[1; 24], Some("are no pairs"));
    check_note(13, &[], Some("are no pairs"));
    // 64 pairs are kept, 65 are too many.
    check_note(13, &[1; 64 * 16], None);
    check_note(13, &[1; 65 * 16], Some("more than 64"));
    // Types that are not known here belong to the future or to crash dumps.
    for kind in [19, 0x100_0001, u32::MAX] {
        check_note(kind, &[1; 3], None);
    }
}

#[test]
fn numbers_are_read_in_both_widths() {
    let notes = [note("Xen", 3, &0x8000_0000_u32.to_le_bytes()), number(2, 0xffff_ffff_8000_1000)];
    let image = parse(Elf::with_notes(Notes::Segment(notes.concat())).build()).unwrap();
    assert_eq!(image.notes.virt_base, Some(0x8000_0000));
    assert_eq!(image.notes.hypercall_page, Some(0xffff_ffff_8000_1000));
}

#[test]
fn notes_of_others_are_left_alone() {
    let notes = [note("GNU", 1, &[1; 3]), note("Xen ", 1, &[1; 3]), note("xen", 1, &[1; 3])];
    let image = parse(Elf::with_notes(Notes::Segment(notes.concat())).build()).unwrap();
    assert_eq!(image.notes.form, NotesForm::Absent);
}

#[test]
fn cut_notes_are_refused() {
    let whole = linux_notes();
    let elf = |notes: &[u8]| Elf::with_notes(Notes::Segment(notes.to_vec())).build();
    for cut in [1, 4, 11, 13, 17] {
        check_refused("cut", elf(&whole[..cut]), "ELF: ");
    }
    let long = patch(&whole, 4, [0xff; 4]);
    check_refused("descriptor too long", elf(&long), "ELF: ");
}

#[test]
fn notes_are_found_in_sections() {
    let from_segment = parse(Elf::linux().build()).unwrap().notes;
    let elf = Elf::with_notes(Notes::Section(linux_notes()));
    assert_eq!(parse(elf.build()).unwrap().notes, from_segment);
}

#[test]
fn legacy_section_is_read() {
    let legacy = "GUEST_OS=netbsd,GUEST_VER=5.0,XEN_VER=xen-3.0,LOADER=generic,PAE=yes,\
                  VIRT_BASE=0xffffffff80000000,ELF_PADDR_OFFSET=0,VIRT_ENTRY=0xffffffff81000010,\
                  HYPERCALL_PAGE=0x1001,FEATURES=!writable_page_tables|bogus,BSD_SYMTAB,NEW=1";
    let image = parse(Elf::with_notes(Notes::Legacy(legacy.to_owned())).build()).unwrap();
    let notes = &image.notes;
    assert_eq!(notes.form, NotesForm::LegacySection);
    assert_eq!(notes.guest_os.as_deref(), Some("netbsd"));
    assert_eq!(notes.entry_vaddr, Some(VIRT_BASE + PADDR + 0x10));
    // A page number there, an address here.
    assert_eq!(notes.hypercall_page, Some(VIRT_BASE + PADDR + 0x1000));
    assert_eq!((notes.features.required, notes.paddr_offset), (1, Some(0)));
    assert!(notes.bsd_symtab);

    let check = |text: &str, virt_base, paddr_offset| {
        let image = parse(Elf::with_notes(Notes::Legacy(text.to_owned())).build()).unwrap();
        assert_eq!((image.notes.virt_base, image.notes.paddr_offset), (virt_base, paddr_offset));
    };
    // The offset is the base unless said otherwise; numbers as in C.
    check("VIRT_BASE=0x4000", Some(0x4000), Some(0x4000));
    check("VIRT_BASE=4096,ELF_PADDR_OFFSET=010", Some(4096), Some(8));
    check("LOADER=generic", None, None);
    for (text, want) in [
        ("VIRT_BASE=high", "\"high\" is not a number"),
        ("VIRT_BASE=0x", "is not a number"),
        ("VIRT_BASE", "is not a number"),
        ("VIRT_BASE=0x10000000000000000", "is not a number"),
        ("VIRT_BASE=0xfffffffffffff000,HYPERCALL_PAGE=1", "leaves the address space"),
        ("HYPERCALL_PAGE=0xffffffffffffffff", "leaves the address space"),
    ] {
        check_refused(text, Elf::with_notes(Notes::Legacy(text.to_owned())).build(), want);
    }
}

/// Checks what [`KernelImage::pv`] says of a kernel with these notes: `None` is yes.
fn check_pv(notes: Notes, want: Option<&str>) {
    let image = parse(Elf::with_notes(notes.clone()).build()).unwrap();
    match (image.pv(), want) {
        (Ok(_), None) => {}
        (Err(error), Some(want))
            if error.to_string().contains(want)
                && error.to_string().starts_with("kernel /boot/k: ") => {}
        (result, want) => panic!("{notes:?}: {result:?}, want {want:?}"),
    }
}

#[test]
fn pv_needs_what_pv_needs() {
    let base = [number(3, VIRT_BASE), number(1, VIRT_BASE + PADDR)].concat();
    let with = |more: &[Vec<u8>]| Notes::Segment([base.clone(), more.concat()].concat());
    let hole = 0xffff_8000_0000_0000;
    let end = VIRT_BASE + PADDR + 0x30_0000 + 70_000;
    check_pv(Notes::Absent, Some("not a PV kernel: it carries no Xen notes"));
    check_pv(Notes::Segment(number(18, PADDR)), Some("only Xen entry point is for PVH"));
    check_pv(
        Notes::Segment([text(8, "generic"), text(5, "xen-3.0"), number(18, PADDR)].concat()),
        Some("only Xen entry point is for PVH"),
    );
    check_pv(with(&[number(18, PADDR)]), None);
    check_pv(with(&[]), None);
    check_pv(with(&[text(8, "generic")]), None);
    check_pv(with(&[text(8, "special")]), Some("wants the loader \"special\""));
    check_pv(with(&[text(5, "xen-4.0")]), Some("made for \"xen-4.0\""));
    check_pv(with(&[text(10, "bogus|writable_page_tables")]), None);
    check_pv(with(&[text(10, "!bogus")]), Some("requires the feature bogus"));
    check_pv(with(&[text(10, "!dom0")]), Some("requires the feature dom0"));
    check_pv(with(&[text(10, "!auto_translated_physmap")]), Some("auto_translated_physmap"));
    check_pv(with(&[text(11, "no")]), None);
    check_pv(with(&[text(11, "yes")]), Some("BSD_SYMTAB"));
    check_pv(with(&[number(2, VIRT_BASE + PADDR)]), None);
    check_pv(with(&[number(2, VIRT_BASE + PADDR + 8)]), Some("is not a page of the kernel"));
    check_pv(with(&[number(2, VIRT_BASE)]), Some("is not a page of the kernel"));
    check_pv(with(&[number(2, end & !0xfff)]), Some("is not a page of the kernel"));
    check_pv(with(&[number(2, !0xfff)]), Some("is not a page of the kernel"));
    check_pv(with(&[number(15, 0x80_0000_0000)]), None);
    check_pv(with(&[number(15, 0x80_0000_0001)]), Some("INIT_P2M"));
    check_pv(with(&[number(15, VIRT_BASE + PADDR)]), Some("INIT_P2M"));
    check_pv(with(&[number(15, hole)]), Some("INIT_P2M"));
    check_pv(with(&[number(15, 0x8000_0000_0000)]), Some("INIT_P2M"));
    check_pv(with(&[number(1, VIRT_BASE + PADDR - 1)]), Some("the entry point"));
    check_pv(with(&[number(1, end - 1)]), None);
    check_pv(with(&[number(1, end)]), Some("the entry point"));
    check_pv(with(&[number(4, PADDR), number(1, VIRT_BASE)]), None);
    check_pv(with(&[number(4, PADDR + 1)]), Some("leaves the address space"));
    check_pv(with(&[number(3, VIRT_BASE + 1)]), Some("is not at a page"));
    check_pv(with(&[number(3, !0xfff)]), Some("leaves the address space"));
    check_pv(with(&[number(3, hole)]), Some("is not free for guests"));
    check_pv(with(&[number(3, hole - 0x1000)]), Some("is not free for guests"));
    // The initial mapping begins at VIRT_BASE, not at the kernel.
    let below = 0xffff_8800_0000_0000 - PADDR;
    check_pv(with(&[number(3, below), number(1, below + PADDR)]), Some("is not free for guests"));
    check_pv(with(&[number(15, VIRT_BASE)]), Some("INIT_P2M"));
    check_pv(Notes::Segment(number(4, 0)), Some("PADDR_OFFSET without VIRT_BASE"));
    // Without ENTRY and VIRT_BASE: the file's entry point, and physical is virtual.
    check_pv(Notes::Segment(text(8, "generic")), None);
    check_pv(Notes::Legacy("LOADER=generic".to_owned()), None);
}
