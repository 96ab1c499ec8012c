//! The completions for bash, asked by bash itself: verbs, flags, and names of domains where a domain
//! is wanted.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Stands in the shell for the program, which has no Xen to ask here.
const DOMAINS: &str = r#"
xlr() { printf '[\n  {\n    "name": "Domain-0",\n    "domid": 0\n  },\n  {\n    "name": "web one",\n    "domid": 1\n  },\n  {\n    "name": "db",\n    "domid": 2\n  }\n]\n'; }
ask() {
    COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
    _xlr_and_domains xlr "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
    local IFS='|'
    echo "${COMPREPLY[*]}"
}
"#;

#[test]
fn bash_completes_verbs_flags_and_domains() {
    let generated = Command::new(env!("CARGO_BIN_EXE_xlr"))
        .args(["generate", "completions", "bash"])
        .output()
        .unwrap();
    assert!(generated.status.success());
    let asked = [
        ("xlr li", "list"),
        ("xlr console ''", "web one|db"),
        ("xlr -v console ''", "web one|db"),
        ("xlr console w", "web one"),
        ("xlr list db ''", "web one|db"),
        ("xlr destroy db ''", "-f|-h|--help"),
        ("xlr console -", "-t|-n|-e|-h|--help"),
        ("xlr create --d", "--defconfig|--dry-run"),
        ("xlr create --f", ""),
    ];
    let mut script = generated.stdout;
    script.extend_from_slice(DOMAINS.as_bytes());
    for (line, _) in asked {
        script.extend_from_slice(format!("ask {line}\n").as_bytes());
    }
    let mut bash = Command::new("bash")
        .args(["--norc", "--noprofile"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash");
    bash.stdin.take().unwrap().write_all(&script).unwrap();
    let answers = String::from_utf8(bash.wait_with_output().unwrap().stdout).unwrap();
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), asked.len(), "{answers:?}");
    for ((line, expected), answer) in asked.iter().zip(answers) {
        assert_eq!(answer, *expected, "{line}");
    }
}
