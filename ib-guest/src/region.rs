//! Pages that are shared with the backend for a ring, and the directory pages that tell it of any pages.

use crate::error::Result;
use ib_protocol::{DIRECTORY_REFERENCES, DirectoryHeader, Record, directory_pages};
use libxc_safe::{Domid, GrantAllocator, GrantRef, GrantedPages};

/// A list of references in pages of its own. The backend needs it until it has replied.
#[derive(Debug)]
pub struct Directory {
    pages: GrantedPages,
}

impl Directory {
    /// The list of `references`, of which there is one at least.
    ///
    /// # Errors
    /// [`crate::error::Error::Xen`].
    pub fn new(
        allocator: &GrantAllocator,
        backend: Domid,
        references: &[GrantRef],
    ) -> Result<Self> {
        let pages = allocator.allocate(backend, directory_pages(references.len()), true)?;
        for (index, chunk) in references.chunks(DIRECTORY_REFERENCES).enumerate() {
            let next = pages.references().get(index + 1).map_or(0, |reference| reference.0);
            let mut bytes = vec![0; DirectoryHeader::SIZE];
            DirectoryHeader { next }.encode(&mut bytes);
            bytes.extend(chunk.iter().flat_map(|reference| reference.0.to_le_bytes()));
            pages.write(index * ib_protocol::PAGE_BYTES, &bytes)?;
        }
        Ok(Self { pages })
    }

    /// The reference that a request names.
    #[must_use]
    pub fn first(&self) -> u32 {
        self.pages.references().first().map_or(0, |reference| reference.0)
    }
}
