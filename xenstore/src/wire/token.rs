//! Watch tokens ("Watches" of the specification).

use std::fmt;

use thiserror::Error;

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
