//! Leaves out what looks like a password.

/// Words that announce a secret wherever they stand before an `=` or `:`.
const SECRETS: [&str; 5] = ["passw", "secret", "token", "credential", "authoriz"];
/// Ends of a name that announce one where the `=` or `:` follows at once: `rd.luks.key=`, `"psk":`.
const SECRET_ENDS: [&str; 6] = ["pass", "phrase", "pwd", "key", "psk", "auth"];
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
    let after_word = word.and_then(|at| Some(at + lower.get(at..)?.find(['=', ':'])? + 1));
    let after_name = lower.match_indices(['=', ':']).find_map(|(at, _)| {
        let name = lower.get(..at)?.trim_end_matches([' ', '\t', '"', '\'']);
        SECRET_ENDS.iter().any(|end| name.ends_with(end)).then_some(at + 1)
    });
    // What is not there is greater than nothing, and would win.
    let cut = [after_word, after_name].into_iter().flatten().min();
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
            ("root=/dev/a rd.luks.key=/a:UUID=b\n", "root=/dev/a rd.luks.key=(left out)\n"),
            ("passphrase=x y", "passphrase=(left out)"),
            ("pass = x", "pass =(left out)"),
            ("db_pwd=x", "db_pwd=(left out)"),
            ("\"psk\": \"x\",\n", "\"psk\":(left out)\n"),
            ("PSK='x'", "PSK=(left out)"),
            ("auth=x token=y", "auth=(left out)"),
            ("Authorization: Bearer x", "Authorization:(left out)"),
            ("keymap=de passthrough=1 keys=2", "keymap=de passthrough=1 keys=2"),
            ("the key is a = 1\n", "the key is a = 1\n"),
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
