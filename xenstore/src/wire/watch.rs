//! Watch tokens and the events that carry them ("Watches" of the specification).

use std::fmt;

use thiserror::Error;

use super::fields::{DecodeError, Fields};
use crate::path::Path;

/// The caller's name for a watch: any bytes but NUL. Events bring it back.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(Vec<u8>);

/// A token with a NUL in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a watch token cannot hold a NUL byte")]
pub struct TokenError;

impl Token {
    /// Makes a token.
    ///
    /// # Errors
    /// A NUL among the bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, TokenError> {
        let bytes = bytes.into();
        if bytes.contains(&0) { Err(TokenError) } else { Ok(Self(bytes)) }
    }

    /// The bytes, without a NUL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl PartialEq<str> for Token {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Token {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

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
        out.extend_from_slice(&self.token.0);
        out.push(0);
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        Ok(Self { path: fields.path()?, token: fields.token()? })
    }
}
