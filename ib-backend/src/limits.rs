//! What a guest may have: quotas, as the backend's nodes say them.

use crate::error::Error;

/// Quotas of one guest's device, over all of its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Granted pages that are mapped at once: regions and rings.
    pub pages: u32,
    /// Queue pairs.
    pub qps: u32,
    /// Completion queues.
    pub cqs: u32,
    /// Memory regions.
    pub mrs: u32,
    /// Contexts: processes that have the device open.
    pub contexts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pages: 8192, qps: 64, cqs: 128, mrs: 1024, contexts: 16 }
    }
}

impl Limits {
    /// The quotas that nodes say; `read` gives the text of a node, where there is one.
    ///
    /// # Errors
    /// [`Error::Node`] for what is no number.
    pub fn from_nodes(
        backend: &str,
        mut read: impl FnMut(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let mut number = |name: &str, default: u32| match read(name) {
            None => Ok(default),
            Some(value) => value.trim().parse().map_err(|_| Error::Node {
                path: format!("{backend}/{name}"),
                value,
                expected: "number",
            }),
        };
        let usual = Self::default();
        Ok(Self {
            pages: number("pages", usual.pages)?,
            qps: number("qps", usual.qps)?,
            cqs: number("cqs", usual.cqs)?,
            mrs: number("mrs", usual.mrs)?,
            contexts: number("contexts", usual.contexts)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_say_quotas() {
        let check = |nodes: &[(&str, &str)], expected: Option<Limits>| {
            let read = |name: &str| {
                let found = nodes.iter().find(|(node, _)| *node == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(Limits::from_nodes("/b", read).ok(), expected, "{nodes:?}");
        };
        check(&[], Some(Limits::default()));
        check(
            &[("pages", "100"), ("qps", "0")],
            Some(Limits { pages: 100, qps: 0, ..Limits::default() }),
        );
        check(&[("mrs", "-1")], None);
        check(&[("cqs", "many")], None);
        check(&[("pages", "4294967296")], None);
    }
}
