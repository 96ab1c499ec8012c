//! Paths of nodes: checked once, when they are made.
//!
//! The rules are those of the specification's introduction: ASCII letters, digits and `-/_@`; no
//! empty component, no trailing slash except in `/`; a length limit that differs for absolute and
//! relative paths. Three shapes exist: absolute (`/local/domain/3`), relative to the caller's own
//! directory (`device/vif`), and special watch paths (`@releaseDomain`).

use std::fmt;

use thiserror::Error;

/// Longest absolute or special path in bytes (`XENSTORE_ABS_PATH_MAX`).
pub const ABSOLUTE_PATH_MAX: usize = 3072;
/// Longest relative path in bytes (`XENSTORE_REL_PATH_MAX`).
pub const RELATIVE_PATH_MAX: usize = 2048;

/// Why a text is no path of a store.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// The empty text.
    #[error("a xenstore path cannot be empty")]
    Empty,
    /// A byte that no node name has.
    #[error(
        "xenstore path \"{path}\" has {byte:#04x} at byte {offset}; a path may hold letters, digits and -/_@"
    )]
    Character {
        /// The text, escaped and cut to a printable length.
        path: String,
        /// The offending byte.
        byte: u8,
        /// Where it stands, from 0.
        offset: usize,
    },
    /// `//` or a slash at the end.
    #[error("xenstore path \"{path}\" has an empty component")]
    EmptyComponent {
        /// The text.
        path: String,
    },
    /// Beyond the protocol's limit.
    #[error("a xenstore path of {len} bytes is over the protocol's limit of {limit}")]
    TooLong {
        /// Length of the text in bytes.
        len: usize,
        /// The limit in bytes that applies to its shape.
        limit: usize,
    },
}

/// A valid path of a store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(String);

impl Path {
    /// Checks `text` and makes it a path.
    ///
    /// # Errors
    /// Says what is wrong with the text and where.
    pub fn new(text: impl Into<String>) -> Result<Self, PathError> {
        let text = text.into();
        check(text.as_bytes())?;
        Ok(Self(text))
    }

    /// Checks bytes of the wire (without their NUL) and makes them a path.
    ///
    /// # Errors
    /// As [`Path::new`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PathError> {
        check(bytes)?;
        // The check admits ASCII only, so each byte is one character.
        Ok(Self(bytes.iter().map(|&b| char::from(b)).collect()))
    }

    /// A path that is known to be one, such as a part of another.
    pub(crate) const fn unchecked(text: String) -> Self {
        Self(text)
    }

    /// The path below this one: `self/name`.
    ///
    /// # Errors
    /// `name` may hold slashes between components, but must itself be a relative path.
    pub fn join(&self, name: &str) -> Result<Self, PathError> {
        if name.is_empty() {
            return Err(PathError::Empty);
        }
        Self::new(if self.0 == "/" { format!("/{name}") } else { format!("{}/{name}", self.0) })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the path starts at the root.
    #[must_use]
    pub fn is_absolute(&self) -> bool {
        self.0.starts_with('/')
    }

    /// Whether this is a special watch path, such as `@introduceDomain`.
    #[must_use]
    pub fn is_special(&self) -> bool {
        self.0.starts_with('@')
    }

    /// The levels of `self` below `ancestor`: 0 for the same path, 1 for a direct child; `None` when
    /// it is no child (in the specification's sense, where a path is a child of itself).
    #[must_use]
    pub fn levels_below(&self, ancestor: &Path) -> Option<usize> {
        if self == ancestor {
            return Some(0);
        }
        let rest = if ancestor.0 == "/" {
            self.0.strip_prefix('/')?
        } else {
            self.0.strip_prefix(ancestor.as_str())?.strip_prefix('/')?
        };
        Some(rest.bytes().filter(|&b| b == b'/').count() + 1)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for Path {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Path {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::new(text)
    }
}

/// Which bytes may stand in a path.
const PATH_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < u8::MAX {
        table[byte as usize] = is_path_byte(byte);
        byte += 1;
    }
    table
};

/// Whether `byte` may stand in a path.
const fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'/' | b'_' | b'@')
}

fn check(bytes: &[u8]) -> Result<(), PathError> {
    let Some(&first) = bytes.first() else { return Err(PathError::Empty) };
    let limit = if matches!(first, b'/' | b'@') { ABSOLUTE_PATH_MAX } else { RELATIVE_PATH_MAX };
    if bytes.len() > limit {
        return Err(PathError::TooLong { len: bytes.len(), limit });
    }
    // One pass: every request of a server comes through here.
    let (mut empty_component, mut previous) = (false, 0);
    for (offset, &byte) in bytes.iter().enumerate() {
        if !PATH_BYTES[usize::from(byte)] {
            return Err(PathError::Character { path: shown(bytes), byte, offset });
        }
        empty_component |= byte == b'/' && previous == b'/';
        previous = byte;
    }
    if empty_component || (previous == b'/' && bytes.len() > 1) {
        return Err(PathError::EmptyComponent { path: shown(bytes) });
    }
    Ok(())
}

/// The start of a bad path, fit for a message.
fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 80;
    let cut = bytes.len() > SHOWN_MAX;
    let text = bytes[..bytes.len().min(SHOWN_MAX)].escape_ascii();
    if cut { format!("{text}…") } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: Result<(), &str>) {
        let found = Path::new(text).map(|p| assert_eq!(p.as_str(), text));
        match (found, wanted) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{text:?}: {error} lacks {part}");
            }
            (found, wanted) => panic!("{text:?}: {found:?}, wanted {wanted:?}"),
        }
    }

    #[test]
    fn valid_and_invalid_paths() {
        check("/", Ok(()));
        check("/local/domain/0", Ok(()));
        check("device/vif/0/state", Ok(()));
        check("@releaseDomain", Ok(()));
        check("@releaseDomain/5", Ok(()));
        check("/a-b_c@D9", Ok(()));
        check("", Err("empty"));
        check("//", Err("empty component"));
        check("/a//b", Err("empty component"));
        check("/a/", Err("empty component"));
        check("a/", Err("empty component"));
        check("/a b", Err("0x20 at byte 2"));
        check("/a\0", Err("0x00 at byte 2"));
        check("/ä", Err("0xc3 at byte 1"));
        check("/a.b", Err("0x2e"));
        check("/~", Err("0x7e"));
    }

    #[test]
    fn lengths_at_the_limit_and_one_more() {
        for (first, limit) in [("/", ABSOLUTE_PATH_MAX), ("@", ABSOLUTE_PATH_MAX), ("a", 2048)] {
            let longest = format!("{first}{}", "x".repeat(limit - 1));
            assert!(Path::new(longest.clone()).is_ok());
            let over = format!("{longest}x");
            assert_eq!(Path::new(over), Err(PathError::TooLong { len: limit + 1, limit }));
        }
    }

    #[test]
    fn bytes_and_text_agree() {
        for byte in 0..=255u8 {
            let bytes = [b'/', byte];
            let from_bytes = Path::from_bytes(&bytes).is_ok();
            let allowed = byte.is_ascii_alphanumeric() || b"-_@".contains(&byte);
            assert_eq!(from_bytes, allowed, "byte {byte:#x}");
        }
    }

    #[test]
    fn levels() {
        let levels = |path: &str, ancestor: &str| {
            Path::new(path).unwrap().levels_below(&Path::new(ancestor).unwrap())
        };
        assert_eq!(levels("/a", "/a"), Some(0));
        assert_eq!(levels("/a/b", "/a"), Some(1));
        assert_eq!(levels("/a/b/c", "/a"), Some(2));
        assert_eq!(levels("/ab", "/a"), None);
        assert_eq!(levels("/", "/a"), None);
        assert_eq!(levels("/a/b", "/"), Some(2));
        assert_eq!(levels("/", "/"), Some(0));
        assert_eq!(levels("@releaseDomain/5", "@releaseDomain"), Some(1));
    }

    #[test]
    fn joining() {
        let root = Path::new("/").unwrap();
        assert_eq!(root.join("a").unwrap().as_str(), "/a");
        assert_eq!(root.join("a").unwrap().join("b/c").unwrap().as_str(), "/a/b/c");
        assert!(root.join("").is_err());
        assert!(root.join("/a").is_err());
    }
}
