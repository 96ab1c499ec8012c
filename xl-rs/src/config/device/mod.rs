//! The strings inside `disk`, `vif`, `pci` and their kin: text → typed description.
//!
//! One parser per kind, all pure. What they describe is not built here: [`super::lower`] uses them to
//! tell a mistake in a description from a kind of device that is not supported, and
//! [`super::devices`] makes of them what this version can attach.

pub mod channel;
pub mod disk;
pub mod pci;
pub mod rate;
pub mod rdma;
pub mod resource;
pub mod vif;

use std::fmt;
use std::ops::Range;

/// What is wrong with a description, and which bytes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// The bytes at fault.
    pub range: Range<usize>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to write instead.
    pub help: &'static str,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SpecError {}

/// A part of a description and where it begins in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl<'a> Part<'a> {
    pub(super) const fn whole(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// An error about all of this part.
    pub(super) fn error(self, message: impl Into<String>, help: &'static str) -> SpecError {
        let range = self.at..self.at + self.text.len();
        SpecError { range, message: message.into(), help }
    }

    /// The parts before and after the first `mark`, without it.
    pub(super) fn split_once(self, mark: char) -> Option<(Self, Self)> {
        let (before, after) = self.text.split_once(mark)?;
        let at = self.at + before.len() + mark.len_utf8();
        Some((Self { text: before, ..self }, Self { text: after, at }))
    }

    /// The parts between commas.
    pub(super) fn split_commas(self) -> impl Iterator<Item = Self> {
        let mut at = self.at;
        self.text.split(',').map(move |text| {
            let part = Self { text, at };
            at += text.len() + 1;
            part
        })
    }

    /// Without blanks at its beginning.
    pub(super) fn trim_start(self) -> Self {
        let text = self.text.trim_start_matches([' ', '\t', '\n']);
        Self { text, at: self.at + self.text.len() - text.len() }
    }

    /// 0 or 1.
    pub(super) fn flag(self) -> Result<bool, SpecError> {
        match self.text {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(self.error(format!("{:?} is neither 0 nor 1", self.text), "write 0 or 1")),
        }
    }
}

/// A description of a device by the key it is written under, as far as its syntax can be checked.
/// `None` for keys whose descriptions have no parser.
#[must_use]
pub fn check(key: &str, text: &str) -> Option<Result<(), SpecError>> {
    Some(match key {
        "channel" => channel::parse(text).map(drop),
        "disk" => disk::parse(text).map(drop),
        "vif" => vif::parse(text).map(drop),
        "pci" => pci::parse(text).map(drop),
        "rdma" => rdma::parse(text).map(drop),
        "ioports" => resource::io_ports(text).map(drop),
        "iomem" => resource::io_memory(text).map(drop),
        "irqs" => resource::irq(text).map(drop),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever stands there, an answer comes, and an error lies inside of the text.
        #[test]
        fn any_text_survives(
            text in prop_oneof![
                any::<String>(),
                "[a-z0-9:.,=@*/ -]{0,30}",
                "((target|format|vdev|mac|rate|bdf|vslot|name|connection|path)=[a-f0-9:.x*@]{0,8},?){0,4}",
            ]
        ) {
            for key in ["channel", "disk", "vif", "pci", "rdma", "ioports", "iomem", "irqs"] {
                if let Some(Err(error)) = check(key, &text) {
                    prop_assert!(text.get(error.range.clone()).is_some(), "{:?} {:?}", key, error);
                    prop_assert!(!error.message.is_empty());
                }
            }
        }
    }
}
