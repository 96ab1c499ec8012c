//! Memory of domains: allocated, mapped, granted, given back.

use libxc_safe::{
    Domid, E820Entry, Error, Gfn, GrantDevice, GrantRef, MemoryFlags, Mfn, Protection, Xen,
};

use super::{Outcome, Temporary, ensure, in_dom0, show};

/// Rounds of create and destroy; what one round leaks shows this many times.
const ROUNDS: u64 = 40;

in_dom0!(memory, unmapped_in_one_call, nothing_leaks, foreign_errors, grant_table);

fn memory(xen: &Xen) -> Outcome {
    let domain = Temporary::pv(xen)?;
    let domid = domain.domid;
    xen.max_vcpus(domid, 2).map_err(show)?;
    xen.set_address_size(domid, 64).map_err(show)?;
    ensure(xen.address_size(domid).map_err(show)? == 64, "64 bits")?;
    xen.set_max_mem_kib(domid, 8 * 1024).map_err(show)?;
    xen.claim_pages(domid, 1024 + 16).map_err(show)?;
    let claimed = xen.physinfo().map_err(show)?.outstanding_pages;
    ensure(claimed >= 1040, format!("1040 pages claimed, got {claimed}"))?;
    let mut large = [0, 512];
    let done = xen.populate_physmap(domid, 9, MemoryFlags::ANY, &mut large).map_err(show)?;
    ensure(done == 2 && large.iter().all(|mfn| *mfn % 512 == 0), "two extents of 2 MiB")?;
    let mut small: Vec<u64> = (1024..1040).collect();
    let done =
        xen.populate_physmap(domid, 0, MemoryFlags::exact_node(0), &mut small).map_err(show)?;
    ensure(done == 16, "16 small extents")?;
    xen.claim_pages(domid, 0).map_err(show)?;
    let mut beyond: Vec<u64> = (0x10_000..0x10_800).collect();
    let done = xen.populate_physmap(domid, 0, MemoryFlags::ANY, &mut beyond).map_err(show)?;
    ensure(done == 2048 - 1040, format!("max_mem to stop at 1008 extents, got {done}"))?;
    let info = xen.existing_domain_info(domid).map_err(show)?;
    ensure(info.tot_pages == 2048 && info.max_pages == 2048, "2048 pages")?;
    written_and_read(xen, domid, &small, large[0])?;
    let map = [E820Entry { address: 0, bytes: 8 << 20, kind: 1 }];
    xen.set_memory_map(domid, &map).map_err(show)?;
    xen.clear_pages(domid, &[Mfn(large[0])]).map_err(show)?;
    let cleared = xen.map_foreign(domid, &[Gfn(large[0])], Protection::Read).map_err(show)?;
    ensure(cleared.load_u32(0) == Ok(0), "a cleared page")?;
    drop(cleared);
    let freed = xen.decrease_reservation(domid, 0, &[Gfn(small[15])]).map_err(show)?;
    ensure(freed == 1, "one page taken back")?;
    Ok(format!("8 MiB allocated, mapped, written, read: {info:?}"))
}

/// More pages than one list of calls holds, in each kind of mapping, while another thread maps and
/// unmaps beside it. That they are gone shows in Linux' list of mappings and in what Xen counts: a
/// page that anyone can write to becomes no page table.
fn unmapped_in_one_call(xen: &Xen) -> Outcome {
    const PAGES: usize = 2500;
    let domain = Temporary::pv(xen)?;
    let domid = domain.domid;
    xen.set_max_mem_kib(domid, 16 * 1024).map_err(show)?;
    let mut mfns: Vec<u64> = (0..PAGES as u64).collect();
    let done = xen.populate_physmap(domid, 0, MemoryFlags::ANY, &mut mfns).map_err(show)?;
    ensure(done == PAGES, format!("{PAGES} pages, got {done}"))?;
    let frames: Vec<Gfn> = mfns.iter().copied().map(Gfn).collect();
    for count in [1, 3, 4, 5, 511, 513, 1021, 1022, 1023, 2044, 2045, PAGES] {
        let mapping = xen.map_foreign(domid, &frames[..count], Protection::ReadWrite);
        let mapping = mapping.map_err(show)?;
        let last = (count - 1) * 4096;
        mapping.write_words(0, &[count as u64]).map_err(show)?;
        mapping.write_words(last, &[0]).map_err(show)?;
        ensure(privcmd_kib()? == count as u64 * 4, "all of it in the list of mappings")?;
        xen.unmap_foreign(mapping).map_err(show)?;
        ensure(privcmd_kib()? == 0, format!("{count} pages, some of them still listed"))?;
        // An empty page is as good a page table as any, as long as nobody can write to it.
        for mfn in [mfns[0], mfns[count - 1], mfns[count / 2]] {
            xen.clear_pages(domid, &[Mfn(mfn)]).map_err(show)?;
            xen.pin_l4(domid, Mfn(mfn)).map_err(|e| format!("{count} pages: {e}"))?;
            xen.unpin(domid, Mfn(mfn)).map_err(show)?;
        }
    }
    let both = |frames: &[Gfn]| {
        (0..20).try_for_each(|_| {
            let mapping = xen.map_foreign(domid, frames, Protection::ReadWrite)?;
            mapping.write(0, b"mine")?;
            xen.unmap_foreign(mapping)
        })
    };
    let (one, other) = frames.split_at(PAGES / 2);
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| both(one));
        both(other).and(beside.join().expect("no panic"))
    })
    .map_err(show)?;
    ensure(privcmd_kib()? == 0, "two threads unmapped all")?;
    Ok(format!("{PAGES} pages unmapped"))
}

/// How much of privcmd is mapped here.
fn privcmd_kib() -> Result<u64, String> {
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(show)?;
    let bytes = maps.lines().filter(|line| line.ends_with("/dev/xen/privcmd")).map(|line| {
        let ends = line.split_whitespace().next().and_then(|range| range.split_once('-'));
        let number = |text| u64::from_str_radix(text, 16).ok();
        ends.and_then(|(start, end)| Some(number(end)? - number(start)?))
    });
    bytes.sum::<Option<u64>>().map(|bytes| bytes / 1024).ok_or_else(|| format!("{maps}?"))
}

fn foreign_errors(xen: &Xen) -> Outcome {
    let domain = Temporary::pv(xen)?;
    let domid = domain.domid;
    xen.set_max_mem_kib(domid, 1024).map_err(show)?;
    let mut frames = [0, 1];
    xen.populate_physmap(domid, 0, MemoryFlags::ANY, &mut frames).map_err(show)?;
    let asked = [Gfn(frames[0]), Gfn(0xFF_FFFF_FFFF), Gfn(frames[1])];
    let error = xen.map_foreign(domid, &asked, Protection::ReadWrite).err().ok_or("it mapped")?;
    let named = matches!(error, Error::ForeignFrame { index: 1, gfn: Gfn(0xFF_FFFF_FFFF), .. });
    ensure(named, format!("frame 1 named, got {error}"))?;
    let missing = xen.map_foreign(Domid(0x7000), &asked[..1], Protection::Read);
    let missing = missing.err().ok_or("a missing domain's frame mapped")?;
    ensure(missing.is_no_such_domain(), format!("ESRCH, got {missing}"))?;
    let none = xen.map_foreign(domid, &[], Protection::Read);
    ensure(matches!(none, Err(Error::Invalid { .. })), "no frames to be refused")?;
    let pin = xen.pin_l4(domid, Mfn(frames[0]));
    Ok(format!("{error} / {missing} / empty page as L4: {pin:?}"))
}

fn grant_table(xen: &Xen) -> Outcome {
    let domain = Temporary::pv(xen)?;
    let domid = domain.domid;
    xen.set_max_mem_kib(domid, 1024).map_err(show)?;
    let mut frames = [0];
    xen.populate_physmap(domid, 0, MemoryFlags::ANY, &mut frames).map_err(show)?;
    let page = xen.map_foreign(domid, &[Gfn(frames[0])], Protection::ReadWrite).map_err(show)?;
    page.write(0, b"by grant").map_err(show)?;
    let table = xen.map_grant_table(domid, 0, 1).map_err(show)?;
    table.permit(GrantRef(1), Domid::DOM0, Gfn(frames[0])).map_err(show)?;
    let out = table.permit(GrantRef(512), Domid::DOM0, Gfn(0));
    ensure(matches!(out, Err(Error::OutOfBounds { .. })), "entry 512 to be outside")?;
    let device = GrantDevice::open().map_err(show)?;
    let granted = device.map(domid, &[GrantRef(1)], Protection::ReadWrite).map_err(show)?;
    let mut text = [0; 8];
    granted.read(0, &mut text).map_err(show)?;
    ensure(&text == b"by grant", format!("the text, got {text:?}"))?;
    granted.store_u32(0, 7).map_err(show)?;
    ensure(page.load_u32(0) == Ok(7), "both to be the same page")?;
    let mut head = [0; 8];
    table.read(8, &mut head).map_err(show)?;
    // The older way, for kernels without the resource ioctl, leads to the same pages.
    let pages = xen.grant_table_frames(domid, 0, 1).map_err(show)?;
    let older = xen.map_foreign(domid, &pages, Protection::Read).map_err(show)?;
    let mut same = [0; 8];
    older.read(8, &mut same).map_err(show)?;
    ensure(same == head, format!("{head:02x?} by frame, got {same:02x?}"))?;
    drop(older);
    let closed = device.map(domid, &[GrantRef(2)], Protection::Read).err().ok_or("2 mapped")?;
    drop((granted, table, page));
    Ok(format!("entry 1 in use: {head:02x?}, an empty entry: {closed}"))
}

/// Xen frees a domain's structures some time after it is gone, and keeps a few for the next one:
/// one round says nothing, many rounds do.
fn nothing_leaks(xen: &Xen) -> Outcome {
    let round = || {
        let domain = Temporary::pv(xen)?;
        xen.max_vcpus(domain.domid, 2).map_err(show)?;
        xen.set_max_mem_kib(domain.domid, 1024).map_err(show)?;
        let mut pages: Vec<u64> = (0..256).collect();
        xen.populate_physmap(domain.domid, 0, MemoryFlags::ANY, &mut pages).map_err(show)?;
        let frames = [Gfn(pages[0]), Gfn(pages[1])];
        let mapping = xen.map_foreign(domain.domid, &frames, Protection::Read).map_err(show)?;
        let wrong = [Gfn(pages[2]), Gfn(u64::MAX >> 12)];
        let failed = xen.map_foreign(domain.domid, &wrong, Protection::ReadWrite);
        ensure(failed.is_err(), "a frame beyond the machine not to be mapped")?;
        drop(mapping);
        xen.map_grant_table(domain.domid, 0, 1).map_err(show)?;
        Ok::<_, String>(())
    };
    let free_pages = || {
        let info = xen.physinfo().map_err(show)?;
        Ok::<_, String>(info.free_pages + info.scrub_pages)
    };
    for _ in 0..4 {
        round()?;
    }
    let before = free_pages()?;
    for _ in 0..ROUNDS {
        round()?;
    }
    let after = free_pages()?;
    ensure(after + ROUNDS > before, format!("{before} pages free, got {after}"))?;
    Ok(format!("{ROUNDS} domains of 256 pages: {before} pages free before, {after} after"))
}

fn written_and_read(xen: &Xen, domid: Domid, small: &[u64], large: u64) -> Result<(), String> {
    let mut frames: Vec<Gfn> = small.iter().rev().copied().map(Gfn).collect();
    frames.extend((large..large + 512).map(Gfn));
    let mapping = xen.map_foreign(domid, &frames, Protection::ReadWrite).map_err(show)?;
    ensure(mapping.len() == 528 * 4096 && mapping.domid() == domid, "528 pages mapped")?;
    let mut bytes = vec![1; 3 * 4096];
    mapping.read(100, &mut bytes).map_err(show)?;
    ensure(bytes.iter().all(|byte| *byte == 0), "new memory to be zero")?;
    mapping.write(4090, b"across a page").map_err(show)?;
    mapping.write_words(8192, &[0x1122_3344_5566_7788, 2]).map_err(show)?;
    let program = std::fs::File::open("/proc/self/exe").map_err(show)?;
    mapping.write_from(16 * 4096, &program, 0, 1 << 20).map_err(show)?;
    xen.unmap_foreign(mapping).map_err(show)?;
    // Mapped again, one by one: what was written went to the frames that were named.
    let page = |gfn| xen.map_foreign(domid, &[Gfn(gfn)], Protection::Read).map_err(show);
    let (first, second) = (page(small[15])?, page(small[14])?);
    let mut text = [0; 13];
    first.read(4090, &mut text[..6]).map_err(show)?;
    second.read(0, &mut text[6..]).map_err(show)?;
    ensure(&text == b"across a page", format!("the text, got {text:?}"))?;
    ensure(page(small[13])?.load_u32(4) == Ok(0x1122_3344), "the words")?;
    let mut magic = [0; 4];
    page(large)?.read(0, &mut magic).map_err(show)?;
    ensure(&magic == b"\x7FELF", "the file's start")
}
