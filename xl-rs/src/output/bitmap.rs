//! Sets of CPUs and NUMA nodes as text: `all`, `none`, or ranges as in `0-3,6`.

use std::fmt::Write;

/// The text for those of `members` that are below `count`: a set that holds every number below
/// `count` is `all`.
#[must_use]
pub fn text(members: &[u32], count: u32) -> String {
    let mut members: Vec<u32> = members.iter().copied().filter(|member| *member < count).collect();
    members.sort_unstable();
    members.dedup();
    match members[..] {
        [] => return String::from("none"),
        _ if members.len() == count as usize => return String::from("all"),
        _ => {}
    }
    let mut out = String::new();
    for range in members.chunk_by(|one, next| *next == one + 1) {
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
        for (members, count, expected) in [
            (&[][..], 4, "none"),
            (&[0, 1, 2, 3], 4, "all"),
            (&[0], 1, "all"),
            (&[0, 1, 2, 3], 5, "0-3"),
            (&[0, 2, 3], 5, "0,2-3"),
            (&[4, 1, 1], 5, "1,4"),
            (&[7], 4, "none"),
            (&[0, 7], 4, "0"),
        ] {
            assert_eq!(text(members, count), expected, "{members:?} of {count}");
        }
    }
}
