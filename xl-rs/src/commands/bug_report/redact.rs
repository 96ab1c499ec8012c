//! Leaves out what looks like a password.

/// Words that announce a secret.
const SECRETS: [&str; 4] = ["passw", "secret", "token", "credential"];
/// What stands for it.
const LEFT_OUT: &str = "(left out)";

/// The text, where each line that announces a secret ends at the first `=` or `:` after the word.
#[must_use]
pub fn redact(text: &str) -> String {
    text.split_inclusive('\n').map(line).collect()
}

fn line(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let word = SECRETS.iter().filter_map(|secret| lower.find(secret)).min();
    let cut = word.and_then(|at| Some(at + lower.get(at..)?.find(['=', ':'])? + 1));
    match cut.and_then(|cut| line.get(..cut)) {
        None => String::from(line),
        Some(kept) => {
            let end = if line.ends_with('\n') { "\n" } else { "" };
            format!("{kept}{LEFT_OUT}{end}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::redact;
    use proptest::prelude::*;

    #[test]
    fn secrets_are_left_out() {
        for (text, expected) in [
            ("a = 1\nvncpasswd = \"x\"\nb = 2\n", "a = 1\nvncpasswd =(left out)\nb = 2\n"),
            ("\"passwd\": \"x\",\n", "\"passwd\":(left out)\n"),
            ("extra = \"ro PASSWORD=x y\"", "extra = \"ro PASSWORD=(left out)"),
            ("spicepasswd=x", "spicepasswd=(left out)"),
            ("a token is missing\n", "a token is missing\n"),
            ("time: no secret\n", "time: no secret\n"),
            ("ü token: x", "ü token:(left out)"),
            ("", ""),
        ] {
            assert_eq!(redact(text), expected, "{text:?}");
        }
    }

    proptest! {
        /// A value after a password's key never comes through, whatever stands around it.
        #[test]
        fn no_value_comes_through(before in "[^\n]{0,9}", after in "[^\n]{0,9}") {
            let text = redact(&format!("{before}password={after}geheim\nnext\n"));
            prop_assert!(!text.contains("geheim"), "{}", text);
            prop_assert!(text.ends_with("\nnext\n"));
        }
    }
}
