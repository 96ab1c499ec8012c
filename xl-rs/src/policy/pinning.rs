//! Which CPUs a list may still name under a policy, worked out on the list itself.
//!
//! What `all` and `nodes:0` mean only a host knows. Such a list is narrowed by taking away what is not
//! allowed, so that the result lies within both whatever the host has. Pure.

use crate::config::cpulist::{Range, Term};
use crate::template::ranges::compact;
use std::fmt::Write as _;

/// One more than the highest number of a CPU that a list can name.
const CPUS: usize = 0x1_0000;

/// What becomes of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Narrowed {
    /// It stays as it is.
    Stays,
    /// This takes its place.
    To(String),
    /// Nothing of it is allowed.
    Nothing,
}

/// Narrows a list to the allowed CPUs.
#[must_use]
pub fn narrow(terms: &[Term], allowed: &[u32]) -> Narrowed {
    let permitted = set_of(allowed);
    let most = at_most(terms);
    if most.iter().zip(&permitted).all(|(named, permitted)| *permitted || !*named) {
        return Narrowed::Stays;
    }
    let symbolic = terms.iter().any(|term| !matches!(term.range, Range::Cpus(..)));
    if !symbolic {
        let left = (0..).zip(most.iter().zip(&permitted));
        let left: Vec<u32> = left
            .filter(|(_, (named, permitted))| **named && **permitted)
            .map(|(cpu, _)| cpu)
            .collect();
        return if left.is_empty() { Narrowed::Nothing } else { Narrowed::To(compact(&left)) };
    }
    let mut text = text_of(terms);
    let forbidden = (0..).zip(&permitted).filter(|(_, permitted)| !**permitted);
    let forbidden: Vec<u32> = forbidden.map(|(cpu, _)| cpu).collect();
    for range in compact(&forbidden).split(',') {
        // Writing into a String cannot fail.
        let _ = write!(text, ",^{range}");
    }
    Narrowed::To(text)
}

/// Whether a list names every CPU of any host: who has it is not pinned.
#[must_use]
pub fn is_everywhere(terms: &[Term]) -> bool {
    let all = terms.iter().rposition(|term| term.range == Range::All && !term.exclude);
    all.is_some_and(|all| terms[all..].iter().all(|term| !term.exclude))
}

fn set_of(cpus: &[u32]) -> Vec<bool> {
    let mut set = vec![false; CPUS];
    for cpu in cpus {
        if let Some(slot) = set.get_mut(*cpu as usize) {
            *slot = true;
        }
    }
    set
}

/// Every CPU that the list can name on some host.
fn at_most(terms: &[Term]) -> Vec<bool> {
    let mut set = vec![false; CPUS];
    for term in terms {
        let (low, high) = match (term.range, term.exclude) {
            (Range::Cpus(low, high), _) => (low as usize, high as usize),
            (Range::All, _) | (Range::Nodes(..), false) => (0, CPUS - 1),
            // It may take nothing away.
            (Range::Nodes(..), true) => continue,
        };
        if let Some(slots) = set.get_mut(low..=high) {
            slots.fill(!term.exclude);
        }
    }
    set
}

/// The terms as text.
#[must_use]
pub fn text_of(terms: &[Term]) -> String {
    let texts = terms.iter().map(|term| {
        let sign = if term.exclude { "^" } else { "" };
        match term.range {
            Range::All => format!("{sign}all"),
            Range::Cpus(low, high) if low == high => format!("{sign}{low}"),
            Range::Cpus(low, high) => format!("{sign}{low}-{high}"),
            Range::Nodes(low, high) => format!("{sign}nodes:{low}-{high}"),
        }
    });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::cpulist::{parse, resolve};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn lists_are_narrowed() {
        let check = |text: &str, allowed: &[u32], expected: Narrowed| {
            assert_eq!(narrow(&parse(text).expect(text), allowed), expected, "{text}");
        };
        let to = |text: &str| Narrowed::To(text.to_owned());
        check("2-3", &[2, 3, 4], Narrowed::Stays);
        check("0-3", &[2, 3, 4], to("2-3"));
        check("0-8,^0-1", &[2, 3, 4], to("2-4"));
        check("0-1", &[2, 3], Narrowed::Nothing);
        check("all", &[2, 3], to("all,^0-1,^4-65535"));
        check("nodes:1,^7", &[2, 3], to("nodes:1-1,^7,^0-1,^4-65535"));
        check("nodes:1-1,^7,^0-1,^4-65535", &[2, 3], Narrowed::Stays);
        check("all,^all,2", &[2], Narrowed::Stays);
        check("0", &[], Narrowed::Nothing);
    }

    #[test]
    fn lists_that_pin_nothing() {
        for (text, expected) in [
            ("all", true),
            ("0,nodes:all", true),
            ("^0,all,3", true),
            ("all,^0", false),
            ("all,^all,2", false),
            ("^all,2", false),
            ("0-7", false),
            ("nodes:0", false),
        ] {
            assert_eq!(is_everywhere(&parse(text).expect(text)), expected, "{text}");
        }
    }

    proptest! {
        /// On every host: no CPU that is not allowed, none that was not asked for, and again nothing to do.
        #[test]
        fn what_is_left_lies_within_both(
            parts in proptest::collection::vec(("\\^?", prop_oneof!["[0-9]", "[0-4]-[5-9]", "all", "node:[01]"]), 1..5),
            allowed in proptest::collection::btree_set(0u32..12, 0..8),
            host in proptest::collection::vec(proptest::option::of(0u32..2), 10..12),
        ) {
            let parts: Vec<String> = parts.into_iter().map(|(sign, part)| sign + &part).collect();
            let terms = parse(&parts.join(",")).expect("a list");
            let allowed: Vec<u32> = allowed.into_iter().collect();
            let asked: BTreeSet<u32> = resolve(&terms, &host).map(|set| set.0.into_iter().collect()).unwrap_or_default();
            let both: Vec<u32> = asked.into_iter().filter(|cpu| allowed.contains(cpu)).collect();
            let after = match narrow(&terms, &allowed) {
                Narrowed::Nothing => {
                    prop_assert_eq!(both, Vec::<u32>::new());
                    return Ok(());
                }
                Narrowed::Stays => terms.clone(),
                Narrowed::To(text) => parse(&text).expect("a list"),
            };
            prop_assert_eq!(narrow(&after, &allowed), Narrowed::Stays);
            // What can be had of both is had.
            if !both.is_empty() {
                prop_assert_eq!(resolve(&after, &host).map(|set| set.0), Ok(both));
            } else if resolve(&terms, &host).is_ok() {
                prop_assert!(resolve(&after, &host).is_err());
            }
        }
    }
}
