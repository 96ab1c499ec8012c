//! Permissions of a node: an owner, what everybody else may do, and exceptions.
//!
//! On the wire each entry is a letter and a domid: `n0` none, `r5` read, `w5` write, `b5` both. The
//! first entry names the owner, whose own rights are never limited; its letter holds for all domains
//! without an entry of their own ("Database read, write and permissions operations").

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use xen_sys::types::Domid;

/// What a domain may do with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Neither read nor write (`n`).
    None,
    /// Read (`r`).
    Read,
    /// Write (`w`).
    Write,
    /// Read and write (`b`).
    Both,
}

impl Access {
    /// The letter of the text form.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::None => 'n',
            Self::Read => 'r',
            Self::Write => 'w',
            Self::Both => 'b',
        }
    }

    const fn from_letter(letter: u8) -> Option<Self> {
        match letter {
            b'n' => Some(Self::None),
            b'r' => Some(Self::Read),
            b'w' => Some(Self::Write),
            b'b' => Some(Self::Both),
            _ => None,
        }
    }
}

/// Why a text is no permission.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PermissionsError {
    /// No entry at all: a node always has an owner.
    #[error("a node's permissions need at least one entry, its owner")]
    Empty,
    /// An entry that is not a letter of `nrwb` and a domid.
    #[error(
        "\"{0}\" is no permission: a letter of n, r, w, b and a domain number up to 65535 are wanted"
    )]
    Entry(String),
}

/// The permissions of one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permissions {
    /// Who owns the node and may always read, write and change permissions.
    pub owner: Domid,
    /// What domains without an entry in `grants` may do.
    pub others: Access,
    /// Exceptions, in the order of the wire.
    pub grants: Vec<(Domid, Access)>,
}

impl Permissions {
    /// Only the owner (and a privileged domain) may use the node: `n<owner>`.
    #[must_use]
    pub const fn private(owner: Domid) -> Self {
        Self { owner, others: Access::None, grants: Vec::new() }
    }

    /// Adds an entry for `domid`.
    #[must_use]
    pub fn grant(mut self, domid: Domid, access: Access) -> Self {
        self.grants.push((domid, access));
        self
    }

    /// Reads the entries of the wire (each without its NUL).
    ///
    /// # Errors
    /// Names the first entry that is none.
    pub fn from_entries<'a>(
        entries: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, PermissionsError> {
        let mut entries = entries.into_iter().map(parse_entry);
        let (owner, others) = entries.next().ok_or(PermissionsError::Empty)??;
        Ok(Self { owner, others, grants: entries.collect::<Result<_, _>>()? })
    }

    /// The entries of the wire, the owner's first.
    pub fn entries(&self) -> impl Iterator<Item = (Domid, Access)> {
        std::iter::once((self.owner, self.others)).chain(self.grants.iter().copied())
    }
}

fn parse_entry(text: &[u8]) -> Result<(Domid, Access), PermissionsError> {
    let bad = || PermissionsError::Entry(text.escape_ascii().to_string());
    let (&letter, digits) = text.split_first().ok_or_else(bad)?;
    let access = Access::from_letter(letter).ok_or_else(bad)?;
    let domid = crate::wire::decimal(digits).ok_or_else(bad)?;
    Ok((Domid(domid), access))
}

/// Entries separated by spaces or commas, as `xenstore-chmod` and `xenstore-ls -p` show them.
impl FromStr for Permissions {
    type Err = PermissionsError;
    fn from_str(text: &str) -> Result<Self, PermissionsError> {
        let entries = text.split([' ', ',']).filter(|e| !e.is_empty()).map(str::as_bytes);
        Self::from_entries(entries)
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (domid, access)) in self.entries().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{}{domid}", access.letter())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: Result<Permissions, &str>) {
        match (text.parse::<Permissions>(), wanted) {
            (Ok(found), Ok(wanted)) => {
                assert_eq!(found, wanted);
                assert_eq!(found.to_string(), text);
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, wanted) => panic!("{text:?}: {found:?}, wanted {wanted:?}"),
        }
    }

    #[test]
    fn text_form() {
        check("n0", Ok(Permissions::private(Domid(0))));
        check("n0,r5", Ok(Permissions::private(Domid(0)).grant(Domid(5), Access::Read)));
        check(
            "b65535,w1,n2,b3",
            Ok(Permissions { others: Access::Both, ..Permissions::private(Domid(65535)) }
                .grant(Domid(1), Access::Write)
                .grant(Domid(2), Access::None)
                .grant(Domid(3), Access::Both)),
        );
        check("", Err("at least one"));
        check("x0", Err("\"x0\" is no permission"));
        check("n", Err("\"n\""));
        check("n65536", Err("\"n65536\""));
        check("n-1", Err("\"n-1\""));
        check("n+1", Err("\"n+1\""));
        check("n0,r", Err("\"r\""));
    }
}
