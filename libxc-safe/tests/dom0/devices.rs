//! Event channels and grants of this domain with itself.

use std::time::Duration;

use libxc_safe::{
    Domid, Errno, Error, EventChannels, GrantAllocator, GrantDevice, GrantRef, GrantedPages, Port,
    Protection, UnmapNotify, Xen,
};

use super::{Outcome, ensure, in_dom0, show};

in_dom0!(event_channels, grants, grant_errors);

fn event_channels(_: &Xen) -> Outcome {
    let [ours, theirs] =
        [EventChannels::open().map_err(show)?, EventChannels::open().map_err(show)?];
    let mut pending = Vec::new();
    ensure(ours.pending(&mut pending) == Ok(0), "nothing pending at first")?;
    let offered = ours.bind_unbound(Domid::DOM0).map_err(show)?;
    let bound = theirs.bind_interdomain(Domid::DOM0, offered).map_err(show)?;
    // A port starts pending when it is bound: take that first.
    drain(&ours)?;
    drain(&theirs)?;
    theirs.notify(bound).map_err(show)?;
    ensure(ours.wait(Some(Duration::from_secs(5))) == Ok(true), "an event within 5 s")?;
    ensure(ours.pending(&mut pending) == Ok(1) && pending == [offered], "our port")?;
    // Masked until it is unmasked: a second event waits.
    theirs.notify(bound).map_err(show)?;
    ensure(ours.pending(&mut pending) == Ok(0), "a masked port to be silent")?;
    ours.unmask(offered).map_err(show)?;
    ensure(ours.wait(Some(Duration::from_secs(5))) == Ok(true), "the second event")?;
    let twice = theirs.bind_interdomain(Domid::DOM0, offered).err().ok_or("bound twice")?;
    let missing = ours.notify(Port(4000)).err().ok_or("a foreign port notified")?;
    ensure(missing.errno() == Some(Errno::NOTCONN), format!("ENOTCONN, got {missing}"))?;
    ours.unbind(offered).map_err(show)?;
    ensure(ours.unbind(offered).is_err(), "a port to be unbound once")?;
    Ok(format!("ports {offered} and {bound}, bound twice: {twice}"))
}

fn grants(_: &Xen) -> Outcome {
    let allocator = GrantAllocator::open().map_err(show)?;
    let device = GrantDevice::open().map_err(show)?;
    let pages = allocator.allocate(Domid::DOM0, 3, true).map_err(show)?;
    let references = pages.references().to_vec();
    ensure(references.len() == 3 && pages.len() == 3 * 4096, "three pages")?;
    pages.write(4096, b"second page").map_err(show)?;
    let mapped = device.map(Domid::DOM0, &references, Protection::ReadWrite).map_err(show)?;
    let mut text = [0; 11];
    mapped.read(4096, &mut text).map_err(show)?;
    ensure(&text == b"second page", format!("the text, got {text:?}"))?;
    mapped.store_u32(8, 0xABCD).map_err(show)?;
    ensure(pages.load_u32(8) == Ok(0xABCD), "the same page")?;
    copied(&device, &references, &pages)?;
    mapped.write(100, &[9]).map_err(show)?;
    let channels = EventChannels::open().map_err(show)?;
    let peer = EventChannels::open().map_err(show)?;
    let offered = channels.bind_unbound(Domid::DOM0).map_err(show)?;
    let bound = peer.bind_interdomain(Domid::DOM0, offered).map_err(show)?;
    drain(&channels)?;
    let notify = UnmapNotify { clear_byte: Some(100), event: Some(bound) };
    mapped.notify_on_unmap(notify).map_err(show)?;
    drop(mapped);
    ensure(channels.wait(Some(Duration::from_secs(5))) == Ok(true), "an event on unmapping")?;
    ensure(pages.load_u8(100) == Ok(0), "the byte to be cleared")?;
    Ok(format!("references {references:?}, shared, copied, unmapped with notice"))
}

fn grant_errors(_: &Xen) -> Outcome {
    let allocator = GrantAllocator::open().map_err(show)?;
    let device = GrantDevice::open().map_err(show)?;
    let nothing = device.map(Domid::DOM0, &[], Protection::Read);
    ensure(matches!(nothing, Err(Error::Invalid { .. })), "no references to be refused")?;
    let readonly = allocator.allocate(Domid::DOM0, 1, false).map_err(show)?;
    let writable = device.map(Domid::DOM0, readonly.references(), Protection::ReadWrite).err();
    let writable = writable.ok_or("a read-only grant mapped for writing")?;
    let read = device.map(Domid::DOM0, readonly.references(), Protection::Read).map_err(show)?;
    ensure(read.write(0, b"x") == Err(Error::ReadOnly), "a read-only mapping")?;
    let many = allocator.allocate(Domid::DOM0, 100_000, true).err().ok_or("100000 granted")?;
    // A hundred rounds: references that leaked would run into the limit of 1024.
    for _ in 0..20 {
        allocator.allocate(Domid::DOM0, 100, true).map_err(show)?;
    }
    Ok(format!("for writing: {writable} / too many: {many}"))
}

fn drain(channels: &EventChannels) -> Result<(), String> {
    let mut ports = Vec::new();
    channels.pending(&mut ports).map_err(show)?;
    ports.iter().try_for_each(|port| channels.unmask(*port)).map_err(show)
}

fn copied(
    device: &GrantDevice,
    references: &[GrantRef],
    pages: &GrantedPages,
) -> Result<(), String> {
    let mut bytes = [0; 6];
    device.copy_from(Domid::DOM0, references[1], 0, &mut bytes).map_err(show)?;
    ensure(&bytes == b"second", format!("a copy, got {bytes:?}"))?;
    device.copy_to(Domid::DOM0, references[2], 4000, b"copied").map_err(show)?;
    pages.read(8192 + 4000, &mut bytes).map_err(show)?;
    ensure(&bytes == b"copied", format!("the copy, got {bytes:?}"))?;
    let refused = device.copy_from(Domid::DOM0, GrantRef(0x7FFF), 0, &mut bytes);
    ensure(refused.is_err(), "a copy from no grant to fail")
}
