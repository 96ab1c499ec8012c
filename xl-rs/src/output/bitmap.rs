//! Sets of CPUs and NUMA nodes as text: `all`, `none`, or ranges as in `0-3,6`.

use std::collections::BTreeSet;
use std::fmt::Write;

/// The text for those of `members` that are `present` on this host: a set that holds all of these is
/// `all`. Numbers have gaps where hyperthreads are off (`smt=0`) or nodes have no memory.
#[must_use]
pub fn text(members: &[u32], present: &[u32]) -> String {
    let mut shown = present.to_vec();
    shown.sort_unstable();
    shown.dedup();
    let all = shown.len();
    let members: BTreeSet<u32> = members.iter().copied().collect();
    shown.retain(|number| members.contains(number));
    match shown.len() {
        0 => return String::from("none"),
        count if count == all => return String::from("all"),
        _ => {}
    }
    let mut out = String::new();
    for range in shown.chunk_by(|one, next| *next == one + 1) {
        if !out.is_empty() {
            out.push(',');
        }
        // Writing into a String cannot fail.
        let _ = match range {
            [first, .., last] => write!(out, "{first}-{last}"),
            _ => write!(out, "{}", range[0]),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn sets_as_xl_prints_them() {
        let four = &[0, 1, 2, 3][..];
        for (members, present, expected) in [
            (&[][..], four, "none"),
            (&[0, 1, 2, 3], four, "all"),
            (&[0], &[0], "all"),
            (&[0, 1, 2, 3], &[0, 1, 2, 3, 4], "0-3"),
            (&[0, 2, 3], &[0, 1, 2, 3, 4], "0,2-3"),
            (&[4, 1, 1], &[4, 3, 2, 1, 0], "1,4"),
            (&[7], four, "none"),
            (&[0, 7], four, "0"),
            // Without hyperthreads, as a vcpu that is not pinned has it.
            (&[0, 1, 2, 3, 4, 5, 6, 7], &[0, 2, 4, 6], "all"),
            (&[4, 6], &[0, 2, 4, 6], "4,6"),
            (&[], &[], "none"),
        ] {
            assert_eq!(text(members, present), expected, "{members:?} of {present:?}");
        }
    }
}
