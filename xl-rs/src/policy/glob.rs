//! Patterns of a policy: `*` stands for any characters.

/// Whether a text fits a pattern. A `*` in the text fits none but a `*`.
#[must_use]
pub fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "abc", true),
            ("/srv/*", "/srv/a/b", true),
            ("/srv/*", "/srv", false),
            ("*.img", "a.img", true),
            ("*.img", "a.img.sh", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "axxbxbc", true),
            ("a*b*c", "acb", false),
            ("0000:03:00.*", "0000:03:00.1", true),
            ("0000:03:00.1", "0000:03:00.*", false),
            ("**", "a", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern:?} {text:?}");
        }
    }
}
