//! Pages of a guest, by its directory.
//!
//! In: the reference of a directory page, and how many pages it lists. Out: those pages, mapped in their
//! order. Each directory page is copied once, and the copy is used.

use ib_protocol::{DIRECTORY_REFERENCES, DirectoryHeader, PAGE_BYTES, Record, directory_reference};
use libxc_safe::{Domid, GrantDevice, GrantMapping, GrantRef, Protection};

/// Maps the pages that a guest's directory lists.
///
/// # Errors
/// What Xen or the kernel answers: a reference that grants nothing is EINVAL.
pub fn map(
    grants: &GrantDevice,
    domid: Domid,
    directory: u32,
    pages: usize,
) -> Result<GrantMapping, libxc_safe::Error> {
    let mut references = Vec::with_capacity(pages);
    let mut next = GrantRef(directory);
    while references.len() < pages {
        let mut page = [0; PAGE_BYTES];
        grants.copy_from(domid, next, 0, &mut page)?;
        let share = (pages - references.len()).min(DIRECTORY_REFERENCES);
        references.extend((0..share).map(|index| GrantRef(directory_reference(&page, index))));
        next = GrantRef(DirectoryHeader::decode(&page).next);
    }
    grants.map(domid, &references, Protection::ReadWrite)
}
