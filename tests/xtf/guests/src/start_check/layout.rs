//! Checks p2m, page tables and the order of what the builder put into memory.

use super::{check, equal};
use xtf::{
    Guest,
    memory::{self, PAGE, VIRT_BASE},
    tables::{self, Visit},
    xen_sys::{
        types::Mfn,
        xen::{SIF_MOD_START_PFN, start_info},
    },
};

/// Page tables that are remembered: enough for an initial mapping of 1 GiB.
const TABLES: usize = 600;
/// The least that must be mapped beyond the last element (xen.h, start-of-day layout).
const PADDING: u64 = 512 * 1024;

struct Tables {
    frames: [u64; TABLES],
    count: usize,
}

impl Tables {
    fn contains(&self, mfn: Mfn) -> bool {
        self.frames[..self.count.min(TABLES)].contains(&mfn.0)
    }
}

pub fn check(guest: &mut Guest) {
    frames(guest);
    let info = guest.boot.info;
    let Some(root) = guest.boot.mfn_of_va(info.pt_base) else {
        check!(guest, false, "pt_base {:#x} is outside of the memory", info.pt_base);
        return;
    };
    let mut found = Tables { frames: [0; TABLES], count: 0 };
    let walked = tables::walk(root, &mut |visit| {
        if let Visit::Table { mfn, .. } = visit {
            if let Some(slot) = found.frames.get_mut(found.count) {
                *slot = mfn.0;
            }
            found.count += 1;
        }
    });
    if let Err(error) = walked {
        check!(guest, false, "walking the page tables: {error}");
        return;
    }
    check!(guest, found.count <= TABLES, "{} page tables are more than expected", found.count);
    let end = initial_mapping(guest, root, &found);
    elements(guest, &found, end);
}

/// Every pfn has a frame, and Xen agrees which.
fn frames(guest: &mut Guest) {
    let boot = guest.boot;
    let mut wrong = 0_u64;
    for pfn in 0..boot.info.nr_pages {
        let back = boot.mfn(pfn).and_then(|mfn| memory::pfn_of(mfn, boot.machine_frames));
        if back.map(|back| back.0) != Some(pfn) {
            wrong += 1;
            if wrong == 1 {
                check!(guest, false, "pfn {pfn}: p2m {:?}, m2p {back:?}", boot.mfn(pfn));
            }
        }
    }
    equal!(guest, "pfns on which p2m and m2p disagree", wrong, 0);
}

/// Pages mapped from the base on: linear, read-only exactly where they are page tables. The end.
fn initial_mapping(guest: &mut Guest, root: Mfn, found: &Tables) -> u64 {
    let boot = guest.boot;
    let mut end = VIRT_BASE;
    let (mut crooked, mut rights, mut tables, mut elsewhere) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut first_wrong = None;
    let p2m = boot.info.mfn_list..boot.info.mfn_list + boot.info.nr_pages * 8;
    let walked = tables::walk(root, &mut |visit| {
        let Visit::Page { va, mfn, writable, pages } = visit else { return };
        if memory::is_remapped(va) {
            return;
        }
        let is_table = found.contains(mfn);
        tables += u64::from(is_table);
        if writable == is_table {
            rights += 1;
            first_wrong.get_or_insert((va, mfn));
        }
        if va >= VIRT_BASE {
            let pfn = memory::pfn_of(mfn, boot.machine_frames);
            // The runtime unmaps its guard page.
            while memory::is_remapped(end) {
                end += PAGE;
            }
            if va != end || pfn.map(memory::address) != Some(va) || pages != 1 {
                crooked += 1;
                first_wrong.get_or_insert((va, mfn));
            }
            end = va + pages * PAGE;
        } else if !p2m.contains(&va) {
            elsewhere += 1;
            first_wrong.get_or_insert((va, mfn));
        }
    });
    check!(guest, walked.is_ok(), "walking the pages: {walked:?}");
    if let Some((va, mfn)) = first_wrong {
        check!(guest, false, "first wrong mapping: {va:#x} to machine frame {:#x}", mfn.0);
    }
    equal!(guest, "pages of the initial mapping out of order", crooked, 0);
    equal!(guest, "pages with the wrong right to write", rights, 0);
    equal!(guest, "mapped pages that are neither initial mapping nor p2m", elsewhere, 0);
    check!(guest, tables > 0, "no page table is mapped");
    end
}

/// Kernel, ramdisk, p2m, start_info, rings, page tables, stack: inside the mapping, none on another.
fn elements(guest: &mut Guest, found: &Tables, end: u64) {
    let boot = guest.boot;
    let info = boot.info;
    let page = |va: u64| va..va + PAGE;
    let ring = |mfn| boot.va_of(mfn).map_or(0..0, page);
    let tables = info.pt_base..info.pt_base + info.nr_pt_frames * PAGE;
    let ramdisk_start = if info.flags & SIF_MOD_START_PFN == 0 {
        info.mod_start
    } else {
        VIRT_BASE.wrapping_add(info.mod_start * PAGE)
    };
    let list = info.mfn_list..info.mfn_list + info.nr_pages * 8;
    let own_p2m = list.start < VIRT_BASE;
    let areas = [
        ("image", boot.image()),
        ("start_info", page(boot.info_va)),
        ("store ring", ring(boot.store().0)),
        ("console ring", ring(boot.console().0)),
        ("page tables", tables.clone()),
        ("stack", boot.stack - PAGE..boot.stack),
        ("ramdisk", ramdisk_start..ramdisk_start + info.mod_len),
        ("p2m", if own_p2m { 0..0 } else { list }),
    ];
    for (i, (name, area)) in areas.iter().enumerate() {
        let unmapped_ramdisk = *name == "ramdisk" && info.flags & SIF_MOD_START_PFN != 0;
        if !area.is_empty() && !unmapped_ramdisk {
            check!(
                guest,
                area.start >= VIRT_BASE && area.end <= end,
                "{name} at {:#x} is outside of the initial mapping",
                area.start
            );
        }
        for (other, rival) in &areas[..i] {
            let apart = area.end <= rival.start || rival.end <= area.start;
            check!(guest, area.is_empty() || rival.is_empty() || apart, "{name} lies on {other}");
        }
    }
    let last = areas.iter().map(|(_, area)| area.end).filter(|last| *last <= end).max();
    let padding = end - last.unwrap_or(end);
    check!(guest, padding >= PADDING, "only {padding} bytes are mapped beyond the last element");
    check!(
        guest,
        end.is_multiple_of(1 << 22),
        "the initial mapping ends at {end:#x}, not at 4 MiB"
    );
    p2m_list(guest, own_p2m);
    let mut inside = 0;
    for frame in &found.frames[..found.count.min(TABLES)] {
        let Some(pfn) = memory::pfn_of(Mfn(*frame), boot.machine_frames) else { continue };
        if tables.contains(&memory::address(pfn)) {
            inside += 1;
        } else {
            // Tables that map a p2m of its own stand with it.
            let with_p2m = pfn.0.wrapping_sub(info.first_p2m_pfn) < info.nr_p2m_frames;
            check!(guest, own_p2m && with_p2m, "the page table at pfn {pfn} is in no one's list");
        }
    }
    equal!(guest, "page tables at pt_base, nr_pt_frames", inside, info.nr_pt_frames);
}

/// A list outside of the initial mapping is described by first_p2m_pfn and nr_p2m_frames.
fn p2m_list(guest: &mut Guest, own_p2m: bool) {
    let info = guest.boot.info;
    let wanted = guest.option("init_p2m") == Some("1");
    equal!(guest, "p2m at an address of its own", own_p2m, wanted);
    if own_p2m {
        equal!(guest, "mfn_list", info.mfn_list, xtf::note::INIT_P2M);
        let least = (info.nr_pages * 8).div_ceil(PAGE);
        check!(guest, info.nr_p2m_frames >= least, "nr_p2m_frames {}", info.nr_p2m_frames);
        let last = info.first_p2m_pfn + info.nr_p2m_frames;
        check!(guest, last <= info.nr_pages, "the p2m ends at pfn {last}");
    }
}

/// The pfn of the ramdisk's page at `at`, an address or a pfn by the flag.
pub fn ramdisk_pfn(info: &start_info, at: u64) -> u64 {
    if info.flags & SIF_MOD_START_PFN == 0 { at.wrapping_sub(VIRT_BASE) / PAGE } else { at }
}

/// The ramdisk's next page, in the same terms.
pub fn next_ramdisk_page(info: &start_info, at: u64) -> u64 {
    if info.flags & SIF_MOD_START_PFN == 0 { at + PAGE } else { at + 1 }
}
