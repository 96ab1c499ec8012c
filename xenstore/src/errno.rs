//! The error names of the protocol: one table of name, number and meaning.
//!
//! The wire carries names, never numbers ("Error replies" of the specification; the list is
//! `xsd_errors` of `io/xs_wire.h`). A name outside the list is kept as it came: oxenstored, for one,
//! says `EQUOTA`.

use std::fmt;

macro_rules! errnos {
    ($($variant:ident = $number:literal, $name:literal, $meaning:literal;)*) => {
        /// An error that a xenstored may answer, as listed in `io/xs_wire.h`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum Errno {
            $(#[doc = $meaning] $variant = $number,)*
        }

        impl Errno {
            /// Every error of the protocol, in the order of the header.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name on the wire, such as `ENOENT`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What the error means for the caller of a store, in a few words.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

errnos! {
    Einval = 22, "EINVAL", "malformed request";
    Eacces = 13, "EACCES", "the node's permissions do not allow this";
    Eexist = 17, "EEXIST", "already there";
    Eisdir = 21, "EISDIR", "the node is a directory";
    Enoent = 2, "ENOENT", "no such node, transaction or watch";
    Enomem = 12, "ENOMEM", "xenstored is out of memory, or the caller's memory quota is used up";
    Enospc = 28, "ENOSPC", "a quota of the caller or of the node is used up";
    Eio = 5, "EIO", "xenstored's database is damaged, or the operation failed inside it";
    Enotempty = 39, "ENOTEMPTY", "the node has children";
    Enosys = 38, "ENOSYS", "this xenstored does not know the operation";
    Erofs = 30, "EROFS", "the connection may only read";
    Ebusy = 16, "EBUSY", "xenstored is busy, or the caller has a transaction open";
    Eagain = 11, "EAGAIN", "another change got in the way of the transaction";
    Eisconn = 106, "EISCONN", "the domain is already connected";
    E2big = 7, "E2BIG", "the answer or the path is longer than the protocol allows";
    Eperm = 1, "EPERM", "only a privileged domain may do this";
}

impl Errno {
    /// The number, as in Linux's and Xen's errno.h.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self as i32
    }

    /// The error with this number, if the protocol has it.
    #[must_use]
    pub fn from_raw(raw: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|e| e.raw() == raw)
    }

    /// The error with this name on the wire.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|e| e.name().as_bytes() == name)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.meaning())
    }
}

/// The payload of an ERROR reply: a name of the list, or what else the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A name of `io/xs_wire.h`.
    Known(Errno),
    /// Any other text, without the trailing NUL.
    Unknown(Vec<u8>),
}

impl Failure {
    /// Reads the text of an ERROR reply (without its NUL).
    #[must_use]
    pub fn from_text(text: &[u8]) -> Self {
        Errno::from_name(text).map_or_else(|| Self::Unknown(text.to_vec()), Self::Known)
    }

    /// The text of the ERROR reply (without its NUL).
    #[must_use]
    pub fn text(&self) -> &[u8] {
        match self {
            Self::Known(errno) => errno.name().as_bytes(),
            Self::Unknown(text) => text,
        }
    }

    /// The number, for a name of the list.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Known(errno) => Some(*errno),
            Self::Unknown(_) => None,
        }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Known(errno)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(errno) => errno.fmt(f),
            Self::Unknown(text) => {
                write!(f, "{} (not an error of the protocol)", text.escape_ascii())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_one_of_xs_wire_h() {
        // Name and number, in the header's order.
        let header = [
            ("EINVAL", 22),
            ("EACCES", 13),
            ("EEXIST", 17),
            ("EISDIR", 21),
            ("ENOENT", 2),
            ("ENOMEM", 12),
            ("ENOSPC", 28),
            ("EIO", 5),
            ("ENOTEMPTY", 39),
            ("ENOSYS", 38),
            ("EROFS", 30),
            ("EBUSY", 16),
            ("EAGAIN", 11),
            ("EISCONN", 106),
            ("E2BIG", 7),
            ("EPERM", 1),
        ];
        let ours: Vec<_> = Errno::ALL.iter().map(|e| (e.name(), e.raw())).collect();
        assert_eq!(ours, header);
        for errno in Errno::ALL {
            assert_eq!(Errno::from_name(errno.name().as_bytes()), Some(*errno));
            assert_eq!(Errno::from_raw(errno.raw()), Some(*errno));
            let system = rustix::io::Errno::from_raw_os_error(errno.raw());
            assert!(format!("{system:?}").len() > 1, "{errno} is a number of this system");
        }
    }

    #[test]
    fn a_name_outside_the_table_is_kept() {
        let failure = Failure::from_text(b"EQUOTA");
        assert_eq!(failure, Failure::Unknown(b"EQUOTA".to_vec()));
        assert_eq!(failure.text(), b"EQUOTA");
        assert_eq!(failure.errno(), None);
        assert!(failure.to_string().starts_with("EQUOTA"));
        assert_eq!(Failure::from_text(b"ENOENT").errno(), Some(Errno::Enoent));
    }
}
