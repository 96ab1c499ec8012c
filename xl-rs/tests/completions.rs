//! The completions for bash, asked by bash itself: verbs, flags, and names of domains where a domain
//! is wanted.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// What people, and those who mean harm, call domains.
const NAMES: [&str; 12] = [
    "web one",
    "db",
    "$(touch pwned)x",
    "`touch pwned`",
    "$HOME",
    "a;halt",
    "*",
    "it's",
    "a \"quoted\" name",
    "back\\slash",
    "über",
    "Domain-0b",
];

/// Stands in the shell for the program, which has no Xen to ask here. What it would offer is printed
/// as it is inserted, and as the shell reads that.
const DOMAINS: &str = r#"
xlr() { [ "$1 $2" = "list --names" ] && printf '%s\n' "${of_xen[@]}"; }
ask() {
    COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
    _xlr_and_domains xlr "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
    local IFS='|'
    echo "${COMPREPLY[*]}"
}
insert() {
    ask "$@" >/dev/null
    eval "set -- ${COMPREPLY[*]}"
    local IFS='|'
    echo "$*"
}
"#;

/// What bash prints, line by line, with the completions loaded, in an empty folder.
fn bash(names: &[&str], lines: &[&str]) -> Vec<String> {
    let generated = Command::new(env!("CARGO_BIN_EXE_xlr"))
        .args(["generate", "completions", "bash"])
        .output()
        .unwrap();
    assert!(generated.status.success());
    let mut script = generated.stdout;
    script.extend_from_slice(DOMAINS.as_bytes());
    let quote = |name: &&str| format!("'{}'", name.replace('\'', r"'\''"));
    let names: Vec<String> = names.iter().map(quote).collect();
    script.extend_from_slice(format!("of_xen=({})\n", names.join(" ")).as_bytes());
    script.extend_from_slice((lines.join("\n") + "\nls -A\n").as_bytes());
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("xlr-tab-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut bash = Command::new("bash")
        .args(["--norc", "--noprofile"])
        .env("LC_ALL", "C.UTF-8")
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash");
    bash.stdin.take().unwrap().write_all(&script).unwrap();
    let answers = String::from_utf8(bash.wait_with_output().unwrap().stdout).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    answers.lines().map(String::from).collect()
}

#[test]
fn bash_completes_verbs_flags_and_domains() {
    let asked = [
        ("xlr li", "list"),
        ("xlr console ''", r"web\ one|db"),
        ("xlr -v console ''", r"web\ one|db"),
        ("xlr console w", r"web\ one"),
        (r"xlr console 'web\ o'", r"web\ one"),
        ("xlr console '\"web'", ""),
        ("xlr list db ''", r"web\ one|db"),
        ("xlr destroy db ''", "-f|-h|--help"),
        ("xlr console -", "-t|-n|-e|-h|--help"),
        ("xlr create --d", "--defconfig|--dry-run"),
        ("xlr create --f", ""),
        ("xlr create ''", ""),
        ("xlr -v create ''", ""),
        ("xlr create hpc", ""),
        ("xlr create hpc.cfg ''", ""),
        ("xlr config-update ''", r"web\ one|db"),
        ("xlr config-update db ''", ""),
    ];
    let lines: Vec<String> = asked.iter().map(|(line, _)| format!("ask {line}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let answers = bash(&NAMES[..2], &lines);
    assert_eq!(answers.len(), asked.len(), "{answers:?}");
    for ((line, expected), answer) in asked.iter().zip(answers) {
        assert_eq!(answer, *expected, "{line}");
    }
}

/// A name is offered as it is, is one word when it is inserted, and is never carried out.
#[test]
fn names_are_nothing_but_text() {
    let answers = bash(&NAMES, &["insert xlr destroy ''"]);
    assert_eq!(answers, [NAMES.join("|")]);
    for name in NAMES {
        // The folder's listing would be a second line.
        assert_eq!(bash(&[name], &["insert xlr console ''"]), [name]);
    }
}
