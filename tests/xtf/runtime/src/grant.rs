//! The guest's grant table: what the builder has put into it, and what the guest itself grants.

use crate::{
    hypercall::{self, Errno},
    memory,
};
use core::ptr::addr_of_mut;
use xen_sys::{
    grant_table::{GNTTABOP_setup_table, GTF_permit_access, gnttab_setup_table, grant_entry_v1},
    types::{Domid, GrantRef, Mfn},
};

/// Entries of version 1 in the first frame.
pub const ENTRIES: u32 = 512;

/// The grant table's first frame, which Xen assigns on demand.
///
/// Fails with the grant operation's negative status as errno.
pub fn first_frame() -> Result<Mfn, Errno> {
    let mut frame = 0_u64;
    let mut setup: gnttab_setup_table = xen_sys::Zeroed::zeroed();
    setup.dom = Domid::SELF.0;
    setup.nr_frames = 1;
    setup.frame_list = core::ptr::from_mut(&mut frame) as u64;
    // SAFETY: for one frame Xen writes one word at frame_list, and the structure's status.
    unsafe { hypercall::grant_table_op(GNTTABOP_setup_table, &mut setup)? };
    if setup.status != 0 {
        return Err(Errno(-i64::from(setup.status)));
    }
    // SAFETY: `frame` is alive; Xen wrote it behind the compiler's back.
    Ok(Mfn(unsafe { core::ptr::from_ref(&frame).read_volatile() }))
}

/// Entry `reference` of the table whose first frame is `table`.
pub fn entry(table: Mfn, reference: GrantRef) -> Result<grant_entry_v1, Errno> {
    assert!(reference.0 < ENTRIES, "the first frame holds {ENTRIES} entries");
    memory::with_frame(table, false, |words| {
        // SAFETY: the frame is mapped and holds 512 entries of 8 bytes; Xen sets bits in them at
        // any time, hence volatile.
        unsafe { words.cast::<grant_entry_v1>().add(reference.0 as usize).read_volatile() }
    })
}

/// Lets domain `to` map `frame` by `reference`.
pub fn permit(table: Mfn, reference: GrantRef, frame: Mfn, to: Domid) -> Result<(), Errno> {
    assert!(reference.0 < ENTRIES, "the first frame holds {ENTRIES} entries");
    memory::with_frame(table, true, |words| {
        let entry = words.cast::<grant_entry_v1>().wrapping_add(reference.0 as usize);
        // SAFETY: the frame is mapped, writable, and holds 512 entries of 8 bytes. Xen looks at an
        // entry once its flags permit something, so these come last; x86 keeps the order.
        unsafe {
            addr_of_mut!((*entry).frame).write_volatile(frame.0 as u32);
            addr_of_mut!((*entry).domid).write_volatile(to.0);
            addr_of_mut!((*entry).flags).write_volatile(GTF_permit_access);
        }
    })
}
