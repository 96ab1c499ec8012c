//! `bug-report`: what a maintainer needs to know, in one text file.
//!
//! Every part is collected on its own: one that fails says why in its place, and the others are
//! there. Changes nothing on the host. What looks like a password is left out; so is what guests
//! print, unless it is asked for.

mod bounded;
mod host;
mod redact;
mod store;

use super::domain::{self, Named};
use super::error::{CommandError, chain};
use super::{info, tell, vcpu_list};
use crate::cli::{BugReportArgs, definition};
use crate::output::domains::Row;
use crate::printable;
use jiff::Timestamp;
use libxc_safe::Xen;
use redact::redact;
use rustix::fs::Mode;
use std::fmt::{Display, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;
use xenstore::client::Client;

/// How long xenstored may take for one answer: it may be what the report is about.
const STORE_PATIENCE: Duration = Duration::from_secs(5);
/// The most of the hypervisor's log that is taken, from its end.
const LOG_BYTES: usize = 128 << 10;

/// Runs the command.
pub fn run(arguments: &BugReportArgs) -> Result<(), CommandError> {
    let now = Timestamp::now();
    let report = collect(arguments.guest_consoles);
    let now_text = now.to_string();
    let file = match arguments.output.as_deref() {
        Some("-") => {
            let what = String::from("standard output");
            let mut out = std::io::stdout().lock();
            report
                .write(&now_text, &mut out)
                .and_then(|()| out.flush())
                .map_err(|source| CommandError::Write { what: what.clone(), source })?;
            what
        }
        given => {
            let own = || format!("xlr-bug-report-{}.txt", now.strftime("%Y%m%d-%H%M%S"));
            let path = given.map_or_else(own, String::from);
            write(&path, |file| report.write(&now_text, file))?;
            path
        }
    };
    tell(report.summary(&file, arguments.guest_consoles));
    Ok(())
}

/// For root's eyes only, and never over a file that is there. One that could not be written to its
/// end is removed again.
fn write(
    path: &str,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), CommandError> {
    let failed = |source| CommandError::Write { what: String::from(path), source };
    let mode = (Mode::RUSR | Mode::WUSR).bits();
    let mut open = OpenOptions::new();
    let mut file = open.write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    content(&mut file).map_err(|source| {
        // What failed is told; that the rest of it could not be removed would only hide that.
        let _ = fs::remove_file(path);
        failed(source)
    })
}

/// What was collected.
#[derive(Debug, Default)]
struct Report {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    title: &'static str,
    /// The text, or why there is none.
    body: Result<String, String>,
}

impl Report {
    fn add<E: std::error::Error>(&mut self, title: &'static str, body: Result<String, E>) {
        self.parts.push(Part { title, body: body.map_err(|error| chain(&error)) });
    }

    /// A part that needs something that could not be had.
    fn lacks(&mut self, title: &'static str, why: &str) {
        self.parts.push(Part { title, body: Err(String::from(why)) });
    }

    /// Part by part, so that the whole is in memory once only.
    fn write(&self, now: &str, out: &mut impl io::Write) -> io::Result<()> {
        write!(out, "xlr bug report, {now}\n\n")?;
        for Part { title, body } in &self.parts {
            match body {
                Ok(_) => writeln!(out, "  {title}")?,
                Err(why) => writeln!(out, "  {title}: NOT COLLECTED, {}", redact(why).trim_end())?,
            }
        }
        for Part { title, body } in &self.parts {
            let Ok(body) = body else { continue };
            // It goes to a terminal or a mail; guests wrote part of it.
            write!(out, "\n===== {title} =====\n{}", printable::lines(&redact(body)))?;
            if !body.ends_with('\n') {
                writeln!(out)?;
            }
        }
        Ok(())
    }

    fn summary(&self, file: &str, guest_consoles: bool) -> impl Display {
        let (there, missing): (Vec<&Part>, Vec<&Part>) =
            self.parts.iter().partition(|part| part.body.is_ok());
        let titles: Vec<&str> = there.iter().map(|part| part.title).collect();
        let mut out = format!("Collected into {file}: {}.", titles.join(", "));
        for same in missing.chunk_by(|one, next| one.body == next.body) {
            let titles: Vec<&str> = same.iter().map(|part| part.title).collect();
            let why = same[0].body.as_ref().err().map_or("", String::as_str);
            let _ = write!(out, "\nNot collected: {}: {why}.", titles.join(", "));
        }
        out.push_str(
            "\nPasswords are left out as far as they can be told. Read it before you send it: names, \
             paths and kernel command lines of guests are in it",
        );
        out.push_str(match guest_consoles {
            true => ", and so is what guests printed.",
            false => "; what guests printed is not (--guest-consoles adds it).",
        });
        out
    }
}

fn collect(guest_consoles: bool) -> Report {
    let mut report = Report::default();
    report.add("versions", host::versions(&definition().render_long_version()));
    let store = Client::connect().map(|mut store| {
        store.set_request_timeout(Some(STORE_PATIENCE));
        store
    });
    match Xen::open() {
        Ok(xen) => {
            let named = store.map_err(|error| chain(&error)).and_then(|mut store| {
                let named = domain::all(&xen, &mut store).map_err(|error| chain(&error))?;
                Ok((named, store))
            });
            // The hypervisor knows them all the same, if not by name.
            let domains = match &named {
                Ok((named, _)) => Ok(named.clone()),
                Err(_) => domain::nameless(&xen).map_err(|error| chain(&error)),
            };
            of_xen(&mut report, &xen, &domains, guest_consoles);
            of_domains(&mut report, &domains, named.map(|(_, store)| store));
        }
        Err(error) => {
            let why = chain(&error);
            OF_XEN.iter().chain(&OF_DOMAINS).for_each(|title| report.lacks(title, &why));
        }
    }
    report.add("state of xlr", host::state());
    report.add("daemons", host::daemons());
    report.add("memory of dom0", host::memory());
    report.add("kernel log of dom0, lines on Xen", host::kernel_log());
    report.add("logs of Xen", host::logs(guest_consoles));
    report
}

/// Parts that come from the hypervisor; only names of domains are missing without xenstore.
const OF_XEN: [&str; 3] = ["info -n", "vcpu-list", "log of the hypervisor"];
/// Parts that need xenstore, too.
const OF_DOMAINS: [&str; 3] = ["list --json", "nodes of xlr's domains", "their configurations"];

fn of_xen(
    report: &mut Report,
    xen: &Xen,
    domains: &Result<Vec<Named>, String>,
    guest_consoles: bool,
) {
    let [facts, vcpus, log] = OF_XEN;
    report.add(facts, info::text(xen));
    match domains {
        Ok(domains) => report.add(vcpus, vcpu_list::text(xen, domains)),
        Err(why) => report.lacks(vcpus, why),
    }
    report.add(
        log,
        xen.read_console(None, false).map(|log| {
            let from = log.bytes.len().saturating_sub(LOG_BYTES);
            let text = String::from_utf8_lossy(&log.bytes[from..]);
            if guest_consoles { text.into_owned() } else { without_guests(&text) }
        }),
    );
}

/// The hypervisor's log without the lines that guests had it print: those begin with `(dN)`, or
/// `(dNvM)` from Xen 4.20 on. Their number stands for them.
fn without_guests(log: &str) -> String {
    let mut kept = String::with_capacity(log.len());
    let mut left_out = 0;
    for line in log.split_inclusive('\n') {
        let printed = line.strip_prefix("(d").and_then(|rest| rest.split_once(')'));
        let of_guest = printed.is_some_and(|(who, _)| {
            who.starts_with(|c: char| c.is_ascii_digit())
                && who.chars().all(|c| c.is_ascii_digit() || c == 'v')
        });
        if of_guest {
            left_out += 1;
        } else {
            kept.push_str(line);
        }
    }
    if left_out > 0 {
        if !kept.is_empty() && !kept.ends_with('\n') {
            kept.push('\n');
        }
        kept.push_str(&format!("{left_out} lines of guests are left out (--guest-consoles)\n"));
    }
    kept
}

fn of_domains(
    report: &mut Report,
    domains: &Result<Vec<Named>, String>,
    store: Result<Client, String>,
) {
    let [list, nodes, configurations] = OF_DOMAINS;
    let domains = match domains {
        Ok(domains) => domains.as_slice(),
        Err(why) => return OF_DOMAINS.iter().for_each(|title| report.lacks(title, why)),
    };
    report.add(list, Ok::<_, CommandError>(rows(domains)));
    match store {
        Ok(mut store) => {
            report.add(nodes, store::dump(&mut store, domains));
            report.add(configurations, store::configurations(&mut store, domains));
        }
        Err(why) => {
            report.lacks(nodes, &why);
            report.lacks(configurations, &why);
        }
    }
}

fn rows(named: &[Named]) -> String {
    let rows: Vec<Row> =
        named.iter().map(|domain| Row::new(&domain.info, domain.name.clone())).collect();
    format!("{:#}\n", serde_json::to_value(rows).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What failed is named in both places, and hides nothing else.
    #[test]
    fn a_part_that_fails_leaves_the_others() {
        let mut report = Report::default();
        report.add("one", Ok::<_, CommandError>(String::from("first\nvncpasswd=geheim")));
        report.lacks("two", "not root");
        report.add("three", Ok::<_, CommandError>(String::from("third\x1b[2J\n")));
        let mut text = Vec::new();
        report.write("now", &mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "xlr bug report, now\n\n  one\n  two: NOT COLLECTED, not root\n  three\n\n\
             ===== one =====\nfirst\nvncpasswd=(left out)\n\n===== three =====\nthird?[2J\n"
        );
        let summary = report.summary("f", false).to_string();
        assert!(
            summary.starts_with("Collected into f: one, three.\nNot collected: two: not root.\n")
        );
        assert!(summary.contains("--guest-consoles adds it"), "{summary}");
    }

    #[test]
    fn no_file_is_written_over() {
        let path = std::env::temp_dir().join(format!("xlr-report-{}", std::process::id()));
        let path = path.to_str().unwrap();
        write(path, |file| file.write_all(b"a")).unwrap();
        assert!(write(path, |file| file.write_all(b"b")).is_err());
        assert_eq!(fs::read_to_string(path).unwrap(), "a");
        fs::remove_file(path).unwrap();
    }

    /// As on a disk that is full.
    #[test]
    fn half_a_report_does_not_stay() {
        let path = std::env::temp_dir().join(format!("xlr-half-{}", std::process::id()));
        let path = path.to_str().unwrap();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let failed = write(path, |file| file.write_all(b"half").and_then(|()| Err(full())));
        assert!(matches!(failed, Err(CommandError::Write { .. })), "{failed:?}");
        assert!(!fs::exists(path).unwrap());
    }

    #[test]
    fn what_guests_had_xen_print_is_left_out() {
        let one = "1 lines of guests are left out (--guest-consoles)\n";
        for (log, expected) in [
            ("", String::new()),
            ("(XEN) d1v0 oops\n", String::from("(XEN) d1v0 oops\n")),
            ("(XEN) a\n(d1) secret\n(XEN) b\n", format!("(XEN) a\n(XEN) b\n{one}")),
            ("(d12v3) secret\n", String::from(one)),
            ("(XEN) a\n(d1) secret", format!("(XEN) a\n{one}")),
            ("(d) a\n(dx) b\n(d1 c\n", String::from("(d) a\n(dx) b\n(d1 c\n")),
        ] {
            assert_eq!(without_guests(log), expected, "{log:?}");
        }
    }
}
