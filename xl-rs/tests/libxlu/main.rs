//! The parser of xl.cfg beside libxlutil's, which xl uses: the same texts, the same settings.
//!
//! Run with `cargo test -p xl-rs --features libxlu-check --test libxlu`, and in the environment
//! `XEN_HEADERS_4_17`, the include directory of that release (the one that holds `libxlutil.h`),
//! and `XEN_LIBRARIES_4_17`, the directory with `libxlutil.so.4.17` and what it needs, for example
//! from Debian's `libxen-dev` and `libxenmisc4.17`. `cargo lab test` sets both.
//!
//! Texts are generated from a constant seed. A difference that is meant stands in [`INTENDED`]
//! with its reason, and each of those has to be seen, or it has lost its reason.

mod devices;
mod generate;
mod oracle;
mod ours;
#[path = "../support/random.rs"]
mod random;

use generate::{ERRORS, MUTATED, PRODUCTIONS};
use oracle::{Answer, Question, ask};
use random::Random;
use std::collections::{BTreeMap, BTreeSet};
use xl_rs::config::device::{self, disk::Disk};
use xl_rs::config::diagnostic::Problem;
use xl_rs::config::parse::{MAX_DEPTH, MAX_LENGTH};

/// Configurations to compare.
const TEXTS: usize = 10_000;
/// In how many texts each rule of the language has to occur, sound and broken.
const AT_LEAST: (usize, usize) = (250, 50);

/// What one side made of a text.
type Read = Result<String, Vec<Problem>>;

/// A difference that is meant.
struct Intended {
    name: &'static str,
    /// Why.
    reason: &'static str,
    /// Whether a difference is of this kind.
    is: fn(&[u8], &Read, &Answer) -> bool,
}

const INTENDED: &[Intended] = &[
    Intended {
        name: "last byte",
        reason: "libxlutil loses one byte that makes no sense when it is the very last of the text; \
                 `memory = 4G` without a newline is 4 MiB for it",
        is: |text, ours, theirs| {
            let Some((last, rest)) = text.split_last() else { return false };
            let same = ours::configuration(rest).ok().map(Answer::Read);
            !b"\n \t".contains(last) && ours.is_err() && same.as_ref() == Some(theirs)
        },
    },
    Intended {
        name: "comment at the end",
        reason: "libxlutil refuses a comment on the last line if no newline ends it",
        is: |text, ours, theirs| {
            let last = text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            ours.is_ok() && last.contains(&b'#') && matches!(theirs, Answer::Refused(_))
        },
    },
    Intended {
        name: "octal escape",
        reason: "libxlutil takes \\101 and makes nothing of it, neither the character nor the digits",
        is: |_, ours, theirs| all_say(ours, "numeric escapes") && matches!(theirs, Answer::Read(_)),
    },
    Intended {
        name: "depth",
        reason: "no key takes lists this deep, and a recursive reader needs a limit",
        is: |_, ours, theirs| all_say(ours, "nested deeper") && matches!(theirs, Answer::Read(_)),
    },
    Intended {
        name: "length",
        reason: "what is larger than this is no configuration",
        is: |_, ours, theirs| all_say(ours, "larger than") && matches!(theirs, Answer::Read(_)),
    },
    Intended {
        name: "NUL",
        reason: "a NUL inside of a string fails an assertion of libxlutil; here it is refused where \
                 the text is used",
        is: |text, _, theirs| text.contains(&0) && *theirs == Answer::Aborted,
    },
];

fn all_say(ours: &Read, words: &str) -> bool {
    ours.as_ref().is_err_and(|problems| problems.iter().all(|p| p.message.contains(words)))
}

/// Everything in a text that could be a key.
fn keys(text: &[u8]) -> Vec<String> {
    let part = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_');
    let words = text.split(|byte| !part(byte)).filter(|word| !word.is_empty());
    // A key may also stand right behind a number that ends a statement no one can read.
    let keys: BTreeSet<String> = words
        .flat_map(|word| (0..word.len().min(4)).map(move |from| &word[from..]))
        .filter(|word| word.first().is_some_and(u8::is_ascii_lowercase))
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    keys.into_iter().collect()
}

/// Whether both find the first mistake in the same line. Where a newline stands in place of a token
/// libxlutil names the line before, down to line 0; and where a list never ends it names the last
/// line, this project the one where the list begins.
fn same_line(text: &[u8], problems: &[Problem], words: &str) -> bool {
    let Some(first) = problems.iter().min_by_key(|problem| problem.span) else { return false };
    let start = first.span.map_or(0, |span| span.start);
    let ours = 1 + text[..start].iter().filter(|byte| **byte == b'\n').count();
    let theirs = words.split(':').nth(1).and_then(|line| line.parse().ok()).unwrap_or(usize::MAX);
    let at_newline = text.get(start).is_none_or(|byte| b"\n#".contains(byte));
    let elsewhere = ["never closed", "numeric escapes"];
    ours == theirs
        || (ours == theirs + 1 && at_newline)
        || elsewhere.iter().any(|words| first.message.contains(words))
}

/// Which intended difference two answers are, `None` where they agree.
fn compare(text: &[u8], theirs: &Answer) -> Option<&'static str> {
    let ours = ours::configuration(text);
    let agree = match (&ours, theirs) {
        (Ok(ours), Answer::Read(theirs)) => ours == theirs,
        (Err(_), Answer::Refused(_)) => true,
        _ => false,
    };
    let shown = String::from_utf8_lossy(text);
    if agree {
        if let (Err(problems), Answer::Refused(words)) = (&ours, theirs) {
            assert!(same_line(text, problems, words), "{shown}\n{problems:#?}\n{words}");
        }
        return None;
    }
    let intended = INTENDED.iter().find(|intended| (intended.is)(text, &ours, theirs));
    let intended = intended
        .unwrap_or_else(|| panic!("{shown}\nours: {ours:#?}\ntheirs: {theirs:#?}\n{text:?}"));
    assert!(!intended.reason.is_empty());
    Some(intended.name)
}

#[test]
fn ten_thousand_configurations() {
    let mut random = Random(0x5eed_1b71_0c0f_f1ce);
    let texts: Vec<_> = (0..TEXTS).map(|_| generate::text(&mut random)).collect();
    let keys: Vec<_> = texts.iter().map(|one| keys(&one.text)).collect();
    let both = texts.iter().zip(&keys);
    let questions: Vec<_> =
        both.map(|(one, keys)| Question::Configuration { text: &one.text, keys }).collect();
    let mut seen = BTreeMap::<&str, usize>::new();
    let mut sound = 0;
    let mut ended = Vec::new();
    for ((one, keys), theirs) in texts.iter().zip(&keys).zip(ask(&questions)) {
        sound += usize::from(matches!(theirs, Answer::Read(_)));
        let difference = compare(&one.text, &theirs);
        if difference == Some("comment at the end") {
            ended.push(([&one.text[..], b"\n"].concat(), keys));
        }
        let classes: BTreeSet<_> = one.classes.iter().copied().chain(difference).collect();
        classes.into_iter().for_each(|class| *seen.entry(class).or_default() += 1);
    }
    // It is the missing newline that they differ by, and nothing else.
    let questions: Vec<_> =
        ended.iter().map(|(text, keys)| Question::Configuration { text, keys }).collect();
    for ((text, _), theirs) in ended.iter().zip(ask(&questions)) {
        let shown = String::from_utf8_lossy(text);
        assert_eq!(compare(text, &theirs), None, "with a newline at its end:\n{shown}");
    }
    println!("{sound} of {TEXTS} texts are sound; in how many texts each rule occurs:");
    seen.iter().for_each(|(class, count)| println!("{count:6} {class}"));
    let errors = ERRORS.iter().map(|(class, _)| (*class, AT_LEAST.1));
    let productions = PRODUCTIONS.iter().map(|class| (*class, AT_LEAST.0));
    // The two at the end of a text need an end of their own, and come by chance.
    let differences =
        [("last byte", 3), ("comment at the end", 3), ("octal escape", AT_LEAST.1), (MUTATED, 250)];
    for (class, least) in productions.chain(errors).chain(differences) {
        // Texts of blanks alone all look alike.
        let least = if class == "nothing but blanks" { 50 } else { least };
        let count = seen.get(class).copied().unwrap_or(0);
        assert!(count >= least, "{class} occurs in {count} texts, not in {least}");
    }
    assert!(sound > TEXTS / 2, "only {sound} texts are sound");
}

/// Each intended difference is one; without it the texts would agree.
#[test]
fn intended_differences() {
    let deep = |n: usize| format!("a={}{}\n", "[".repeat(n), "]".repeat(n)).into_bytes();
    let mut long = b"a=1".to_vec();
    long.resize(MAX_LENGTH + 1, b' ');
    let texts: Vec<(Option<&str>, Vec<u8>)> = vec![
        (Some("last byte"), b"memory=4G".to_vec()),
        (None, b"memory=4G\n".to_vec()),
        (None, b"memory=4GB".to_vec()),
        (Some("comment at the end"), b"a=1 # one".to_vec()),
        (None, b"a=1 # one\n".to_vec()),
        (Some("octal escape"), b"a='\\101'\n".to_vec()),
        (None, b"a='\\1'\n".to_vec()),
        (Some("depth"), deep(MAX_DEPTH + 1)),
        (None, deep(MAX_DEPTH)),
        (Some("length"), long.clone()),
        (None, long[..MAX_LENGTH].to_vec()),
        (Some("NUL"), b"a='x\0y'\n".to_vec()),
        (None, b"a=1\0\n".to_vec()),
    ];
    let keys = ["a", "memory"].map(String::from);
    let questions: Vec<_> =
        texts.iter().map(|(_, text)| Question::Configuration { text, keys: &keys }).collect();
    let mut left: BTreeSet<_> = INTENDED.iter().map(|intended| intended.name).collect();
    for ((expected, text), theirs) in texts.iter().zip(ask(&questions)) {
        let shown = String::from_utf8_lossy(&text[..text.len().min(80)]);
        assert_eq!(compare(text, &theirs), *expected, "{shown}");
        expected.iter().for_each(|name| _ = left.remove(name));
    }
    assert!(left.is_empty(), "no text shows {left:?}");
}

/// A reader of descriptions of devices, in the words of the C program.
type Ours = fn(&str) -> Result<String, device::SpecError>;

/// Descriptions of devices: what is read, and what is refused. The library is asked for what
/// `known` makes of a text. Both do the same but for texts that `intended` holds for; the reasons
/// stand there.
fn check_devices(
    seed: u64,
    generate: fn(&mut Random) -> String,
    question: for<'a> fn(&'a str) -> Question<'a>,
    ours: Ours,
    known: fn(&str) -> String,
    intended: fn(&str, Ours, &Answer) -> bool,
) {
    let mut random = Random(seed);
    let texts: Vec<String> = (0..TEXTS).map(|_| generate(&mut random)).collect();
    let known: Vec<String> = texts.iter().map(|text| known(text)).collect();
    let questions: Vec<_> = known.iter().map(|text| question(text)).collect();
    let (mut sound, mut refused, mut differ) = (0, 0, 0);
    for (text, theirs) in texts.iter().zip(ask(&questions)) {
        let read = ours;
        let ours = ours(text);
        match (&ours, &theirs) {
            (Ok(ours), Answer::Read(theirs)) if ours == theirs => sound += 1,
            (Err(_), Answer::Refused(_)) => refused += 1,
            _ if intended(text, read, &theirs) => differ += 1,
            _ => panic!("{text:?}\nours: {ours:#?}\ntheirs: {theirs:#?}"),
        }
    }
    println!("{sound} are read alike, {refused} are refused by both, {differ} differ on purpose");
    assert!(sound > TEXTS / 20 && refused > TEXTS / 20, "{sound} {refused}");
}

#[test]
fn disks() {
    let ours = |text: &str| {
        let disk = device::disk::parse(text)?;
        Ok(ours::disk(&Disk { trusted: None, ..disk }))
    };
    check_devices(
        0x5eed_d15c,
        devices::disk,
        |text| Question::Disk(text),
        ours,
        without_trust,
        last_byte_is_lost,
    );
}

/// No difference is meant.
fn nothing(_: &str, _: Ours, _: &Answer) -> bool {
    false
}

/// A disk without the words that are younger than 4.17, which takes them for positions.
fn without_trust(text: &str) -> String {
    // What follows a target is part of it.
    let end = text.find("target=").unwrap_or(text.len());
    let (items, target) = text.split_at(end);
    let kept = items.split(',').filter(|item| !matches!(*item, "trusted" | "untrusted"));
    kept.collect::<Vec<_>>().join(",") + target
}

/// A last byte that makes no sense is lost in a disk as in a configuration.
fn last_byte_is_lost(text: &str, ours: Ours, theirs: &Answer) -> bool {
    let Some(rest) = text.strip_suffix('=') else { return false };
    ours(text).is_err() && ours(rest).ok().map(Answer::Read).as_ref() == Some(theirs)
}

#[test]
fn pci_devices() {
    let ours = |text: &str| device::pci::parse(text).map(|pci| ours::pci(&pci));
    check_devices(
        0x5eed_0bdf,
        devices::pci,
        |text| Question::Pci(text),
        ours,
        str::to_owned,
        nothing,
    );
}

#[test]
fn rates() {
    let ours = |text: &str| device::rate::parse(text).map(|rate| ours::rate(&rate));
    check_devices(
        0x5eed_4a7e,
        devices::rate,
        |text| Question::Rate(text),
        ours,
        str::to_owned,
        nothing,
    );
}

/// What libxlutil reads although it means nothing, and what is refused here.
#[test]
fn stricter_with_devices() {
    let texts = [
        (Question::Pci("bdf=3:0.0junk"), "what follows bdf= is not looked at"),
        (Question::Pci("3:0.0,seize=yes"), "atoi makes 0 of it, the opposite of what is meant"),
        (Question::Disk("/x,raw,xvda,colo-port=80x"), "atoi stops at the x"),
        (Question::Disk("/x,raw,xvda\n"), "the newline becomes part of the device's name"),
    ];
    let questions: Vec<_> = texts.iter().map(|(question, _)| *question).collect();
    for ((question, reason), theirs) in texts.iter().zip(ask(&questions)) {
        let (text, ours) = match question {
            Question::Pci(text) => (text, device::pci::parse(text).is_ok()),
            Question::Disk(text) => (text, device::disk::parse(text).is_ok()),
            _ => unreachable!("only these two are listed"),
        };
        assert!(matches!(theirs, Answer::Read(_)), "{text:?}: {theirs:?}, though {reason}");
        assert!(!ours, "{text:?} is read: {reason}");
    }
}
