//! Directory pages: lists of grant references for memory regions and rings.
//!
//! A request names the first directory page and says how many pages there are; each directory page
//! names the next one. The backend copies a directory page once (grant copy) and keeps nothing of it:
//! once the reply is there, the guest may use its directory pages for the next request.

use crate::record::{Field, record};
use crate::{PAGE_BYTES, Record};

/// References in one directory page, behind its head.
pub const DIRECTORY_REFERENCES: usize = (PAGE_BYTES - DirectoryHeader::SIZE) / 4;

record! {
    /// The head of a directory page. References follow, 4 bytes each: those of this page's share, in
    /// the order of their pages.
    DirectoryHeader, 8, {
        /// Grant reference of the next directory page; 0 and not looked at in the last one.
        0 next: u32,
    }
}

/// How many directory pages list `pages` references.
#[must_use]
pub const fn directory_pages(pages: usize) -> usize {
    pages.div_ceil(DIRECTORY_REFERENCES)
}

/// The reference at `index` of a directory page.
#[must_use]
pub fn directory_reference(page: &[u8; PAGE_BYTES], index: usize) -> u32 {
    u32::get(page.get(DirectoryHeader::SIZE + index * 4..).unwrap_or(&[]))
}
