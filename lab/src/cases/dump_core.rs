//! Cores of domains: the same as xl's, section by section, with registers and addresses for gdb; and
//! written at a domain's end, where its configuration says so.

use crate::case::{Case, Group};
use crate::dom0::dump;
use crate::dom0::guest::Guest;
use crate::dom0::host::{Stop, Verdict, argv, await_text, config, console, domid, run};
use crate::{ensure, fail};
use libxc_safe::{Domid, VcpuContext, Xen};
use object::elf::{FileHeader64, PT_LOAD, PT_NOTE, ProgramHeader64};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::{Endianness, ReadCache};
use std::collections::BTreeMap;
use std::fs::File;
use std::mem::offset_of;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case { ci: false, ..Case::new("dump-core/as-xl", Group::Toolstack, as_xl) },
    Case::new("dump-core/at-end", Group::Toolstack, at_end),
];

const FOLDER: &str = "/var/lib/xen/dump";
const PAGE: u64 = 4096;

fn failed(error: impl std::fmt::Display) -> Stop {
    Stop::Failed(error.to_string())
}

/// A section: kind, alignment, size of an entry, place and size.
#[derive(Clone, Copy, Debug)]
struct Section {
    form: (u32, u64, u64),
    at: u64,
    size: u64,
}

/// What is in a core.
struct Core {
    file: File,
    sections: BTreeMap<String, Section>,
    programs: Vec<ProgramHeader64<Endianness>>,
}

impl Core {
    fn read(path: &str) -> Result<Core, Stop> {
        let endian = Endianness::Little;
        let cache = ReadCache::new(File::open(path)?);
        let header = FileHeader64::<Endianness>::parse(&cache).map_err(failed)?;
        let table = header.sections(endian, &cache).map_err(failed)?;
        let mut sections = BTreeMap::new();
        for section in table.iter() {
            let name = table.section_name(endian, section).map_err(failed)?;
            let form = (
                section.sh_type(endian).0,
                section.sh_addralign(endian),
                section.sh_entsize(endian),
            );
            let (at, size) = (section.sh_offset(endian), section.sh_size(endian));
            let name = String::from_utf8_lossy(name).into_owned();
            sections.insert(name, Section { form, at, size });
        }
        let programs = header.program_headers(endian, &cache).map_err(failed)?.to_vec();
        let kind = (header.e_type(endian).0, header.e_machine(endian).0);
        ensure!(kind == (4, 62), "{path} is {kind:?}");
        Ok(Core { file: File::open(path)?, sections, programs })
    }

    fn section(&self, name: &str) -> Result<Section, Stop> {
        self.sections.get(name).copied().ok_or_else(|| failed(format!("there is no {name}")))
    }

    fn bytes(&self, at: u64, size: u64) -> Result<Vec<u8>, Stop> {
        let mut bytes = vec![0; usize::try_from(size).map_err(failed)?];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// The bytes at an address, as gdb finds them.
    fn memory(&self, address: u64, size: u64) -> Result<Vec<u8>, Stop> {
        let endian = Endianness::Little;
        for program in &self.programs {
            let (from, bytes) = (program.p_vaddr(endian), program.p_filesz(endian));
            if program.p_type(endian) == PT_LOAD && from <= address && address - from < bytes {
                return self.bytes(program.p_offset(endian) + address - from, size);
            }
        }
        fail!("no program header has {address:#x}")
    }

    /// A register in the note of the first thread, by its place among them.
    fn register(&self, place: u64) -> Result<u64, Stop> {
        let endian = Endianness::Little;
        let note = self.programs.iter().find(|program| program.p_type(endian) == PT_NOTE);
        let Some(note) = note else { fail!("there is no PT_NOTE") };
        let bytes = self.bytes(note.p_offset(endian) + 12 + 8 + 112 + 8 * place, 8)?;
        Ok(word(&bytes, 0))
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// Fails unless xl's has the same sections and bytes as ours, of which one was written before it and one
/// after: a few pages differ between these two, as the hypervisor sets time and what pends for a vcpu
/// that is paused, too. xl has room for every page that the hypervisor counts, and fills what it found
/// none for.
fn same([ours, after]: [&Core; 2], xls: &Core) -> Verdict {
    let names = |core: &Core| core.sections.keys().cloned().collect::<Vec<_>>();
    ensure!(names(ours) == names(xls), "sections {:?}, xl {:?}", names(ours), names(xls));
    let mut restless = 0;
    for name in names(ours) {
        let (one, other) = (ours.section(&name)?, xls.section(&name)?);
        ensure!(one.form == other.form, "{name}: {one:?}, xl {other:?}");
        ensure!(one.size <= other.size, "{name} has more than xl's: {one:?}, {other:?}");
        let mut at = 0;
        while at < one.size {
            let size = (one.size - at).min(PAGE);
            let (mine, its) = (ours.bytes(one.at + at, size)?, xls.bytes(other.at + at, size)?);
            if mine != its {
                ensure!(
                    after.bytes(one.at + at, size)? != mine,
                    "{name} differs from xl's at {at:#x} of {:#x}",
                    one.size
                );
                restless += 1;
            }
            at += size;
        }
        // (pages of zeros, entries of ones)
        let rest = other.size - one.size;
        ensure!(
            rest == 0 || name == ".xen_pages" || name == ".xen_p2m",
            "{name}: {one:?}, xl {other:?}"
        );
        let rest = xls.bytes(other.at + one.size, rest)?;
        let fill = if name == ".xen_p2m" { 0xff } else { 0 };
        ensure!(rest.iter().all(|byte| *byte == fill), "{name} of xl has more than ours");
    }
    ensure!(restless <= 8, "{restless} pages of a paused domain are not at rest");
    Ok(())
}

/// Everything that gdb needs of a domain's first vcpu is in its core, as the hypervisor has it.
fn debuggable(core: &Core, id: u32) -> Verdict {
    const RIP: u64 = 16;
    const RSP: u64 = 19;
    let id = Domid(u16::try_from(id).map_err(failed)?);
    let xen = Xen::open().map_err(failed)?;
    let context: Box<VcpuContext> = xen.vcpu_context(id, 0).map_err(failed)?;
    let (rip, rsp) = (context.user_regs.rip, context.user_regs.rsp);
    let found = (core.register(RIP)?, core.register(RSP)?);
    ensure!(found == (rip, rsp), "rip and rsp are {found:x?}, not {rip:#x} and {rsp:#x}");
    core.memory(rsp, 8)?;
    core.memory(rip, 1)?;
    let prstatus = core.section(".xen_prstatus")?;
    let at = offset_of!(VcpuContext, user_regs.rip) as u64;
    ensure!(word(&core.bytes(prstatus.at + at, 8)?, 0) == rip, "another rip in .xen_prstatus");
    Ok(())
}

fn blocks(path: &str) -> Result<u64, Stop> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(std::fs::metadata(path)?.blocks() * 512)
}

fn as_xl() -> Verdict {
    let before = dump::take()?;
    let mut guest = Guest::create("dumped", "memory = 48\nvcpus = 2\nmaxmem = 64\n")?;
    run("/bin/xlr pause dumped")?.success()?;
    let said = run("/bin/xlr dump-core dumped /tmp/ours")?.success()?;
    ensure!(said.err.contains("The core of domain"), "{}", said.err);
    run("/xen/bin/xl dump-core dumped /tmp/xls")?.success()?;
    run("/bin/xlr dump-core dumped /tmp/after")?.success()?;
    let [ours, xls, after] = ["/tmp/ours", "/tmp/xls", "/tmp/after"].map(Core::read);
    let (ours, xls, after) = (ours?, xls?, after?);
    same([&ours, &after], &xls)?;
    std::fs::remove_file("/tmp/xls")?;
    std::fs::remove_file("/tmp/after")?;
    debuggable(&ours, guest.domid)?;
    let pages = ours.section(".xen_pages")?.size;
    ensure!(blocks("/tmp/ours")? + PAGE < pages, "no page of zeros is a hole: {pages}");

    // What stands in the way, and what is left then.
    std::fs::create_dir("/tmp/little")?;
    argv(&["/bin/mount", "-t", "tmpfs", "-o", "size=2M", "none", "/tmp/little"])?.success()?;
    std::fs::write("/tmp/little/core", "an earlier one")?;
    let full = run("/bin/xlr dump-core dumped /tmp/little/core")?.failure()?;
    ensure!(full.err.contains("No space left"), "{}", full.err);
    let left = std::fs::read_dir("/tmp/little")?.count();
    ensure!(left == 1, "{left} files are left");
    ensure!(std::fs::read("/tmp/little/core")? == b"an earlier one", "the earlier core is gone");
    argv(&["/bin/umount", "/tmp/little"])?.success()?;
    std::fs::remove_dir("/tmp/little")?;
    let device = run("/bin/xlr dump-core dumped /dev/null")?.failure()?;
    ensure!(device.err.contains("is no file"), "{}", device.err);
    let nowhere = run("/bin/xlr dump-core dumped /tmp/nowhere/core")?.failure()?;
    ensure!(nowhere.err.contains("No such file"), "{}", nowhere.err);
    run("/bin/xlr dump-core 0 /tmp/zero")?.failure()?;

    // One that runs is not stopped by it.
    run("/bin/xlr unpause dumped")?.success()?;
    run("/bin/xlr dump-core dumped /tmp/ours")?.success()?;
    Core::read("/tmp/ours")?.section(".xen_p2m")?;
    std::fs::remove_file("/tmp/ours")?;
    guest.sh("true")?;
    guest.destroy()?;
    dump::unchanged(&before, "cores")
}

/// The cores of a domain in xl's folder.
fn cores(name: &str) -> Result<Vec<PathBuf>, Stop> {
    if !Path::new(FOLDER).exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(FOLDER)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&format!("{name}-")) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Both actions, for a guest that never said which memory it has: it is told from its page tables.
fn at_end() -> Verdict {
    let before = dump::take()?;
    let path = config(
        "cored",
        "name = \"cored\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\nvcpus = 1\n\
         extra = \"on=obey\"\non_crash = \"coredump-restart\"\non_poweroff = \"coredump-destroy\"\n",
    )?;
    let mut log = console("cored")?;
    let mut follows =
        crate::dom0::init::command("/bin/xlr").args(["create", "-F", &path]).spawn()?;
    let mut ids = Vec::new();
    for word in ["crash", "poweroff"] {
        await_text(&mut log, "xtf: idle", 30)?;
        log.text.clear();
        let Some(id) = domid("cored")? else { fail!("there is no cored") };
        ids.push(id);
        let node = format!("/local/domain/{id}/control/shutdown");
        argv(&["/usr/bin/xenstore-write", &node, word])?.success()?;
    }
    let ended = follows.wait()?;
    ensure!(ended.success() && ids[0] != ids[1], "{ended}, {ids:?}");
    let found = cores("cored")?;
    ensure!(found.len() == 2, "two ends left {found:?}");
    for path in found {
        let core = Core::read(&path.display().to_string())?;
        let pages = core.section(".xen_p2m")?.size / 16;
        ensure!(pages > 100 && pages <= 2048, "{pages} pages of 2048");
        // The shutdown is the last thing that it asked for.
        let rip = core.register(16)?;
        let before = core.memory(rip - 2, 2)?;
        ensure!(before == [0x0f, 0x05], "before rip {rip:#x} is {before:x?}");
        std::fs::remove_file(path)?;
    }
    dump::unchanged(&before, "cores at a domain's end")
}
