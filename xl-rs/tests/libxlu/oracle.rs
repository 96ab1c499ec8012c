//! libxlutil itself, asked through the C program beside this file.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// One question.
#[derive(Clone, Copy)]
pub enum Question<'a> {
    /// A configuration, and the keys to look up in it.
    Configuration { text: &'a [u8], keys: &'a [String] },
    /// A disk.
    Disk(&'a str),
    /// A PCI device.
    Pci(&'a str),
    /// The rate of a network interface.
    Rate(&'a str),
}

/// What the library made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was read; what was read, one item a line.
    Read(String),
    /// It was refused; the library's words.
    Refused(String),
    /// An assertion of the library failed.
    Aborted,
}

/// Has the library answer all questions, in order.
pub fn ask(questions: &[Question<'_>]) -> Vec<Answer> {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(compiled);
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // What a failed assertion says; the answer tells of it.
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let mut request = Vec::new();
    for question in questions {
        encode(question, &mut request);
    }
    let mut input = child.stdin.take().expect("stdin is piped");
    let writer = std::thread::spawn(move || input.write_all(&request));
    let mut output = Vec::new();
    child.stdout.take().expect("stdout is piped").read_to_end(&mut output).expect("answers");
    writer.join().expect("the writer ends").expect("questions are taken");
    let status = child.wait().expect("the program ends");
    assert!(status.success(), "the program ended with {status}");
    let mut rest = &output[..];
    let answers: Vec<Answer> = std::iter::from_fn(|| decode(&mut rest)).collect();
    assert_eq!(answers.len(), questions.len(), "one answer for each question");
    answers
}

fn encode(question: &Question<'_>, out: &mut Vec<u8>) {
    let (kind, text) = match question {
        Question::Configuration { text, .. } => (b'c', *text),
        Question::Disk(text) => (b'd', text.as_bytes()),
        Question::Pci(text) => (b'p', text.as_bytes()),
        Question::Rate(text) => (b'r', text.as_bytes()),
    };
    out.push(kind);
    let mut string = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).expect("a short text");
        out.extend(length.to_le_bytes());
        out.extend(bytes);
    };
    string(text);
    if let Question::Configuration { keys, .. } = question {
        keys.iter().for_each(|key| string(key.as_bytes()));
        string(b"");
    }
}

fn decode(rest: &mut &[u8]) -> Option<Answer> {
    let (head, after) = rest.split_first_chunk::<4>()?;
    let (text, after) = after.split_at(u32::from_le_bytes(*head) as usize);
    *rest = after;
    let text = String::from_utf8_lossy(text);
    Some(match text.split_at_checked(4) {
        Some(("read", items)) => Answer::Read(items.to_owned()),
        _ if text == "aborted" => Answer::Aborted,
        _ => Answer::Refused(text.strip_prefix("refused ").expect("a verdict").to_owned()),
    })
}

/// The program, compiled against the headers and libraries of Xen 4.17 that the environment names.
fn compiled() -> PathBuf {
    let named = |name: &str| {
        let help = "see the head of tests/libxlu/main.rs";
        PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set; {help}")))
    };
    let (include, libraries) = (named("XEN_HEADERS_4_17"), named("XEN_LIBRARIES_4_17"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libxlu/dump.c");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let program = folder.join("libxlu-dump");
    // Another run of this test may be executing the program; it keeps the one it has.
    let new = folder.join(format!("libxlu-dump.{}", std::process::id()));
    let said = Command::new("cc")
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&new)
        .arg(source)
        .arg("-I")
        .arg(include)
        .args(["libxlutil.so.4.17", "libxenlight.so.4.17"].map(|name| libraries.join(name)))
        // The older kind of path serves the libraries that these need, too.
        .arg(format!("-Wl,--disable-new-dtags,-rpath,{}", libraries.display()))
        .output()
        .expect("cc runs");
    assert!(said.status.success(), "cc: {}", String::from_utf8_lossy(&said.stderr));
    std::fs::rename(&new, &program).expect("the program gets its name");
    program
}
