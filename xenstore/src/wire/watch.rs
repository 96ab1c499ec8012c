//! The events of watches ("Watches" of the specification).

use super::fields::{DecodeError, Fields};
use super::token::Token;
use crate::path::Path;

/// Something changed at `path`, which lies at or below the path that was watched.
///
/// Events may be spurious, and one comes when the watch is set: it is a reason to look, not news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// What changed; the watched path itself when a parent of it was removed.
    pub path: Path,
    /// The token of the watch.
    pub token: Token,
}

impl WatchEvent {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.path.as_str().as_bytes());
        out.push(0);
        out.extend_from_slice(self.token.as_bytes());
        out.push(0);
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        Ok(Self { path: fields.path()?, token: fields.token()? })
    }
}
