//! Results as JUnit XML, in the form that Jenkins, GitLab and GitHub's actions for test reports read:
//! what Maven's Surefire writes, reruns included. Pure.
//!
//! `xl-rs/tests/junit.xsd` says what there can be: a part of the language of `junit-10.xsd` of Jenkins'
//! xUnit plugin, and a test holds what is written here against it.

use super::attempt::{Attempt, Came};
use super::log;
use super::report::{Report, Summary};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// How files of results begin: anything else that stands there was not meant.
const BEGIN: &[u8] = b"<?xml";

/// A new file for results, in the place of older ones.
///
/// # Errors
/// The system's; what is there is no file of results.
pub fn fresh(path: &Path) -> io::Result<File> {
    if std::fs::symlink_metadata(path).is_ok_and(|there| there.is_file()) {
        let (mut there, mut begin) = (File::open(path)?, Vec::new());
        there.by_ref().take(BEGIN.len() as u64).read_to_end(&mut begin)?;
        if !begin.is_empty() && begin != BEGIN {
            return Err(io::Error::other("what is there holds no results; name another file"));
        }
    }
    log::fresh(path)
}

/// The whole document.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn document(summary: &Summary, host: &str) -> io::Result<Vec<u8>> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let tests = summary.reports.len().to_string();
    let count = |element| {
        summary.reports.iter().filter(|report| stands_for(report) == Some(element)).count()
    };
    let [failures, errors, skipped] =
        ["failure", "error", "skipped"].map(|element| count(element).to_string());
    let (time, name) = (format!("{:.3}", summary.took.as_secs_f64()), legal(&summary.name));
    let counts = [
        ("name", name.as_str()),
        ("tests", &tests),
        ("failures", &failures),
        ("errors", &errors),
        ("time", &time),
    ];
    let host = legal(host);
    let rest = [("skipped", skipped.as_str()), ("timestamp", &summary.begun), ("hostname", &host)];
    writer.create_element("testsuites").with_attributes(counts).write_inner_content(|writer| {
        let suite = writer.create_element("testsuite").with_attributes(counts);
        suite.with_attributes(rest).write_inner_content(|writer| {
            summary.reports.iter().try_for_each(|report| case(writer, report, &name))
        })?;
        Ok(())
    })?;
    let mut document = writer.into_inner();
    document.push(b'\n');
    Ok(document)
}

fn case(writer: &mut Writer<Vec<u8>>, report: &Report, suite: &str) -> io::Result<()> {
    let time = format!("{:.3}", report.took().as_secs_f64());
    let name = legal(&report.name);
    let case = [("name", name.as_str()), ("classname", suite), ("time", &time)];
    writer.create_element("testcase").with_attributes(case).write_inner_content(|writer| {
        let passed = report.came().is_pass();
        for (index, attempt) in report.attempts.iter().enumerate() {
            let Some(element) = element(&attempt.came, passed, index) else { continue };
            let (kind, message) = (kind(&attempt.came), legal(attempt.came.why()));
            let writer = writer
                .create_element(element)
                .with_attributes([("type", kind.as_str()), ("message", &message)]);
            // The last run's console follows as such.
            match index + 1 == report.attempts.len() {
                true => writer.write_empty()?,
                false => writer.write_text_content(BytesText::new(&legal(&attempt.tail)))?,
            };
        }
        let last: Option<&Attempt> = report.attempts.last();
        if stands_for(report) == Some("skipped") {
            let why = [("type", "interrupted"), ("message", report.came().why())];
            writer.create_element("skipped").with_attributes(why).write_empty()?;
        }
        if let Some(last) = last.filter(|last| !last.tail.is_empty()) {
            let text = legal(&last.tail);
            writer.create_element("system-out").write_text_content(BytesText::new(&text))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// What a case counts as that has not passed: what its first run came to, as it is that element which
/// has no name of a rerun.
fn stands_for(report: &Report) -> Option<&'static str> {
    if report.came().is_pass() {
        return None;
    }
    let first = report.attempts.first();
    first.and_then(|attempt| element(&attempt.came, false, 0)).or(Some("skipped"))
}

/// What a run that has not passed is called. Of one that failed for good the first run is the failure
/// and those after it are reruns; of one that passed in the end those before that were flaky.
fn element(came: &Came, passed: bool, index: usize) -> Option<&'static str> {
    let is_error = match came {
        Came::Interrupted => return None,
        Came::To(_) if came.is_pass() => return None,
        Came::To(_) => false,
        Came::Broken(_) => true,
    };
    Some(match (is_error, passed, index) {
        (false, true, _) => "flakyFailure",
        (true, true, _) => "flakyError",
        (false, false, 0) => "failure",
        (true, false, 0) => "error",
        (false, false, _) => "rerunFailure",
        (true, false, _) => "rerunError",
    })
}

fn kind(came: &Came) -> String {
    match came {
        Came::To(verdict) => {
            let name = serde_json::to_value(verdict.cause).unwrap_or_default();
            name.as_str().unwrap_or_default().to_owned()
        }
        Came::Broken(_) => String::from("infrastructure"),
        Came::Interrupted => String::from("interrupted"),
    }
}

/// Text without what XML 1.0 has no way to say.
fn legal(text: &str) -> String {
    let is_legal = |c: &char| match c {
        '\t' | '\n' | '\r' => true,
        _ => *c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'),
    };
    text.chars().filter(is_legal).collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::one_of_each;
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    /// What xmllint says of a document: nothing, if it is valid.
    fn problems(document: &[u8]) -> String {
        let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/junit.xsd");
        let mut xmllint = Command::new("xmllint")
            .args(["--noout", "--nonet", "--schema", schema, "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("xmllint, of Debian's libxml2-utils");
        xmllint.stdin.take().unwrap().write_all(document).unwrap();
        let output = xmllint.wait_with_output().unwrap();
        match output.status.success() {
            true => String::new(),
            false => String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[test]
    fn only_results_are_replaced() {
        let path = std::env::temp_dir().join(format!("xlr-junit-{}", std::process::id()));
        for (there, replaced) in
            [(&b"<?xml version"[..], true), (b"", true), (b"[memory]", false), (b"<?x", false)]
        {
            std::fs::write(&path, there).unwrap();
            assert_eq!(fresh(&path).is_ok(), replaced, "{there:?}");
            let left = std::fs::read(&path).unwrap();
            assert_eq!(left, if replaced { &b""[..] } else { there });
        }
        std::fs::remove_file(&path).unwrap();
        assert!(fresh(&path).is_ok());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn one_of_each_is_valid() {
        let mut summary = one_of_each();
        summary.reports[1].attempts[0].tail = String::from("a ]]> <b> & \"c\"\u{0}\n");
        summary.reports[4].attempts[0].tail = String::from("last words\n");
        summary.reports.push(Report { name: String::from("never"), attempts: Vec::new() });
        let document = document(&summary, "node-1").unwrap();
        let text = String::from_utf8(document.clone()).unwrap();
        assert_eq!(problems(&document), "", "{text}");
        for words in [
            r#"<testsuite name="suite" tests="6" failures="2" errors="1" time="3.000" skipped="1""#,
            r#"<flakyFailure type="fail-on" message="printed «&lt;&amp;&quot;&gt;»">"#,
            r#"<rerunFailure type="fail-on""#,
            r#"<failure type="timeout" message="not within 1 s"/>"#,
            r#"<error type="infrastructure" message="no memory"/>"#,
            r#"<skipped type="interrupted""#,
            "<system-out>last words\n</system-out>",
        ] {
            assert!(text.contains(words), "no {words} in {text}");
        }
    }

    /// The first run that has not passed is what a case counts as, whatever the last came to.
    #[test]
    fn totals_are_those_of_the_elements() {
        use super::super::judge::{Cause, Outcome, Verdict};
        use super::super::report::tests::ran;
        let verdict = Verdict { outcome: Outcome::Fail, cause: Cause::End, reason: String::new() };
        let failed = || Came::To(verdict.clone());
        let broken = || Came::Broken(String::from("no memory"));
        let check = |all: &[Came], words: &str, element: &str, absent: &str| {
            let mut summary = one_of_each();
            let attempts = all.iter().cloned().map(ran).collect();
            summary.reports = vec![Report { name: String::from("a"), attempts }];
            let document = document(&summary, "node-1").unwrap();
            assert_eq!(problems(&document), "");
            let text = String::from_utf8(document).unwrap();
            assert!(text.contains(words) && text.contains(element), "{text}");
            assert!(!text.contains(absent), "{text}");
        };
        let interrupted = || Came::Interrupted;
        check(&[broken(), failed()], "failures=\"0\" errors=\"1\"", "<rerunFailure", "<failure");
        check(&[failed(), broken()], "failures=\"1\" errors=\"0\"", "<rerunError", "<error");
        check(
            &[failed(), interrupted()],
            "failures=\"1\" errors=\"0\"",
            "skipped=\"0\"",
            "<skipped",
        );
        check(&[interrupted()], "failures=\"0\" errors=\"0\"", "skipped=\"1\"", "<failure");
    }

    /// The schema refuses what is none: a check that cannot fail shows nothing.
    #[test]
    fn the_schema_refuses_what_is_wrong() {
        let text = String::from_utf8(document(&one_of_each(), "node-1").unwrap()).unwrap();
        for (from, to) in
            [("failures=\"2\"", ""), ("<failure", "<fault"), ("time=\"3.000\"", "time=\"3 s\"")]
        {
            assert!(text.contains(from), "{from}");
            assert_ne!(problems(text.replace(from, to).as_bytes()), "", "{from}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn whatever_a_guest_prints_is_valid(name in ".{0,20}", tail in "(?s).{0,200}", why in ".{0,20}") {
            let mut summary = one_of_each();
            summary.reports[2].name = name;
            summary.reports[2].attempts[1].tail = tail;
            summary.reports[4].attempts[0].came = Came::Broken(why);
            let document = document(&summary, "node-1").unwrap();
            prop_assert_eq!(problems(&document), "");
        }
    }
}
