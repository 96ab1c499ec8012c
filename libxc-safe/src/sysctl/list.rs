//! All domains at once.

use xen_sys::sysctl::{XEN_SYSCTL_getdomaininfolist, xen_sysctl_getdomaininfolist};
use xen_sys::types::Domid;

use crate::domctl::{DomainInfo, PAYLOAD_BYTES};
use crate::error::{Error, Result};
use crate::layout::{get, put};
use crate::xen::Xen;

/// Records asked for at first: they fit into the smallest buffer, and most hosts have no more.
const FIRST_BATCH: u32 = 48;
/// Records asked for in later calls: four pooled buffers' worth would be no faster.
const BATCH: u32 = 256;

impl Xen {
    /// Every domain, by ascending domid. The list is put together from several calls when there
    /// are many domains: each record is consistent, the list need not be.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn domains(&self) -> Result<Vec<DomainInfo>> {
        type Raw = xen_sysctl_getdomaininfolist;
        let operation = "XEN_SYSCTL_getdomaininfolist";
        let revision = self.domctl_revision();
        let record = DomainInfo::record_bytes(revision);
        let mut domains = Vec::new();
        let (mut first, mut batch) = (0, FIRST_BATCH);
        loop {
            let mut buffer = self.pool().zeroed(batch as usize * record)?;
            let mut payload = [0; PAYLOAD_BYTES];
            put!(
                payload,
                Raw { first_domain: first, max_domains: batch, buffer: buffer.address() }
            );
            // SAFETY: Xen writes at most max_domains records of the size that goes with the
            // revision, which is the size of `buffer`.
            unsafe { self.sysctl(operation, XEN_SYSCTL_getdomaininfolist, &mut payload) }?;
            let count = get!(payload, Raw, num_domains).min(batch);
            let records = buffer.bytes().chunks_exact(record).take(count as usize);
            domains.extend(records.map(|bytes| DomainInfo::decode(revision, bytes)));
            let last = domains.last().map(|info| info.domid.0);
            match last {
                Some(last) if count == batch && last >= first && Domid(last).is_ordinary() => {
                    (first, batch) = (last + 1, BATCH);
                }
                Some(last) if count == batch && last < first => {
                    let what = "the list of domains goes backwards";
                    return Err(Error::BadAnswer { operation, domid: None, what });
                }
                _ => return Ok(domains),
            }
        }
    }
}
