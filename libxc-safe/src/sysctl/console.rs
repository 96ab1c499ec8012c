//! The hypervisor's own log and its debug keys.

use xen_sys::sysctl::{
    XEN_SYSCTL_debug_keys, XEN_SYSCTL_readconsole, xen_sysctl_debug_keys, xen_sysctl_readconsole,
};

use crate::domctl::PAYLOAD_BYTES;
use crate::error::{Error, Result};
use crate::layout::{get, put};
use crate::xen::Xen;

/// Bytes read at once.
const CHUNK: u32 = 16 * 1024;
/// A log larger than any ring is not read on, so that a busy writer cannot hold the reader.
const MOST: usize = 64 << 20;

/// A part of the hypervisor's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleText {
    /// What was logged: text as a rule, but guests can write any byte to it.
    pub bytes: Vec<u8>,
    /// Where to go on reading: for the next [`Xen::read_console`].
    pub next_index: u32,
}

impl Xen {
    /// Reads the hypervisor's log: all that is there, or what came after `from`, an earlier
    /// [`ConsoleText::next_index`]. `clear` removes what was read.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn read_console(&self, from: Option<u32>, clear: bool) -> Result<ConsoleText> {
        type Raw = xen_sysctl_readconsole;
        let operation = "XEN_SYSCTL_readconsole";
        let mut text = ConsoleText { bytes: Vec::new(), next_index: from.unwrap_or(0) };
        let mut incremental = from.is_some();
        let mut buffer = self.pool().zeroed(CHUNK as usize)?;
        loop {
            let mut payload = [0; PAYLOAD_BYTES];
            put!(
                payload,
                Raw {
                    clear: u8::from(clear),
                    incremental: u8::from(incremental),
                    index: text.next_index,
                    buffer: buffer.address(),
                    count: CHUNK,
                }
            );
            // SAFETY: Xen writes at most `count` bytes at `buffer`, its size.
            unsafe { self.sysctl(operation, XEN_SYSCTL_readconsole, &mut payload) }?;
            let count = get!(payload, Raw, count);
            let Some(read) = buffer.bytes().get(..count as usize) else {
                let what = "more bytes than asked for";
                return Err(Error::BadAnswer { operation, domid: None, what });
            };
            text.bytes.extend_from_slice(read);
            text.next_index = get!(payload, Raw, index);
            incremental = true;
            if count < CHUNK || text.bytes.len() >= MOST {
                return Ok(text);
            }
        }
    }

    /// Acts as if `keys` had been typed on Xen's console: each prints something to its log.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn send_debug_keys(&self, keys: &str) -> Result<()> {
        let operation = "XEN_SYSCTL_debug_keys";
        let Ok(count) = u32::try_from(keys.len()) else {
            return Err(Error::Invalid { operation, what: "too many keys" });
        };
        let mut buffer = self.pool().holding(keys.as_bytes())?;
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_sysctl_debug_keys { keys: buffer.address(), nr_keys: count });
        // SAFETY: Xen reads nr_keys bytes at `keys`, the size of `buffer`.
        unsafe { self.sysctl(operation, XEN_SYSCTL_debug_keys, &mut payload) }
    }
}
