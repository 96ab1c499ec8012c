//! Payloads as fields: strings ended by NUL, numbers in decimal.
//!
//! In: a payload. Out: its fields one by one, or what is wrong with it. Used by requests and replies
//! alike; it copies nothing that is not wanted and never reads past the payload.

use thiserror::Error;
use xen_sys::types::Domid;

use super::header::MessageType;
use super::token::Token;
use crate::errno::Errno;
use crate::path::{Path, PathError};
use crate::permissions::PermissionsError;

/// Why a payload does not fit its type.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A type's number outside the protocol.
    #[error("message type {0} is not known")]
    UnknownType(u32),
    /// A type that does not go in this direction, such as a request of type ERROR.
    #[error("{0} does not travel in this direction")]
    WrongDirection(MessageType),
    /// A string without its NUL, or no string where one was due.
    #[error("field {0} is missing or has no terminating NUL")]
    Unterminated(&'static str),
    /// A field that should be a decimal number within its range.
    #[error("field {field} is no number in its range: \"{text}\"")]
    Number {
        /// The field's name in the specification.
        field: &'static str,
        /// What stood there, escaped.
        text: String,
    },
    /// A field that allows a few words only, such as T or F.
    #[error("field {field} has no meaning: \"{text}\"")]
    Word {
        /// The field's name in the specification.
        field: &'static str,
        /// What stood there, escaped.
        text: String,
    },
    /// More fields than the type has.
    #[error("{0} bytes follow the last field")]
    Excess(usize),
    /// A field that should be a path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Fields that should be permissions.
    #[error(transparent)]
    Permissions(#[from] PermissionsError),
}

impl DecodeError {
    /// The error that a server answers to such a request, as xenstored does.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::UnknownType(_) | Self::WrongDirection(_) => Errno::Enosys,
            _ => Errno::Einval,
        }
    }
}

/// A decimal number without sign, blanks or anything else; `None` beyond the type's range.
pub(crate) fn decimal<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    // FromStr would take a leading plus.
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The part of a payload that is not read yet.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    /// The next string, without its NUL.
    pub(super) fn string(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let end = self.rest.iter().position(|&b| b == 0);
        let end = end.ok_or(DecodeError::Unterminated(field))?;
        let (string, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        Ok(string)
    }

    /// All strings up to the payload's end.
    pub(super) fn strings(&mut self, field: &'static str) -> Result<Vec<&'a [u8]>, DecodeError> {
        let mut strings = Vec::new();
        while !self.rest.is_empty() {
            strings.push(self.string(field)?);
        }
        Ok(strings)
    }

    /// The next string as a path.
    pub(super) fn path(&mut self) -> Result<Path, DecodeError> {
        Ok(Path::from_bytes(self.string("path")?)?)
    }

    /// The next string as a watch token.
    pub(super) fn token(&mut self) -> Result<Token, DecodeError> {
        // A string of the wire holds no NUL.
        Token::new(self.string("token")?).map_err(|_| DecodeError::Unterminated("token"))
    }

    /// The next string as an unsigned decimal number.
    pub(super) fn number<T: std::str::FromStr>(
        &mut self,
        field: &'static str,
    ) -> Result<T, DecodeError> {
        let text = self.string(field)?;
        decimal(text).ok_or_else(|| DecodeError::Number { field, text: escaped(text) })
    }

    /// The next string as a domain number.
    pub(super) fn domid(&mut self) -> Result<Domid, DecodeError> {
        self.number("domid").map(Domid)
    }

    /// The next string as T or F.
    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.string(field)? {
            b"T" => Ok(true),
            b"F" => Ok(false),
            text => Err(DecodeError::Word { field, text: escaped(text) }),
        }
    }

    /// Everything that is left, NULs included.
    pub(super) fn remainder(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// How many strings are left.
    pub(super) fn count(&self) -> usize {
        self.rest.iter().filter(|&&b| b == 0).count()
    }

    /// Checks that nothing is left.
    pub(super) fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Excess(self.rest.len())) }
    }
}

/// Bytes of the wire, fit for a message.
pub(super) fn escaped(text: &[u8]) -> String {
    const SHOWN_MAX: usize = 80;
    text[..text.len().min(SHOWN_MAX)].escape_ascii().to_string()
}
