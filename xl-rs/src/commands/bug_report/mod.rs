//! `bug-report`: what a maintainer needs to know, in one text file.
//!
//! Every part is collected on its own: one that fails says why in its place, and the others are
//! there. Changes nothing on the host. What looks like a password is left out; so is what guests
//! print, unless it is asked for.

mod host;
mod redact;
mod store;

use super::domain::{self, Named};
use super::error::{CommandError, chain};
use super::{info, print, tell, vcpu_list};
use crate::cli::{BugReportArgs, definition};
use crate::output::domains::Row;
use jiff::Timestamp;
use libxc_safe::Xen;
use redact::redact;
use rustix::fs::Mode;
use std::fmt::{Display, Write as _};
use std::fs::OpenOptions;
use std::io::Write as _;
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
    let text = report.text(&now.to_string());
    let file = match arguments.output.as_deref() {
        Some("-") => {
            print(text.as_bytes())?;
            String::from("standard output")
        }
        given => {
            let own = || format!("xlr-bug-report-{}.txt", now.strftime("%Y%m%d-%H%M%S"));
            let path = given.map_or_else(own, String::from);
            write(&path, &text)?;
            path
        }
    };
    tell(report.summary(&file, arguments.guest_consoles));
    Ok(())
}

/// For root's eyes only, and never over a file that is there.
fn write(path: &str, text: &str) -> Result<(), CommandError> {
    let failed = |source| CommandError::Write { what: String::from(path), source };
    let mode = (Mode::RUSR | Mode::WUSR).bits();
    let mut open = OpenOptions::new();
    let mut file = open.write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
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

    fn text(&self, now: &str) -> String {
        let mut out = format!("xlr bug report, {now}\n\n");
        for Part { title, body } in &self.parts {
            // Writing into a String cannot fail.
            let _ = match body {
                Ok(_) => writeln!(out, "  {title}"),
                Err(why) => writeln!(out, "  {title}: NOT COLLECTED, {}", redact(why).trim_end()),
            };
        }
        for Part { title, body } in &self.parts {
            let Ok(body) = body else { continue };
            let _ = write!(out, "\n===== {title} =====\n{}", redact(body));
            if !out.ends_with('\n') {
                out.push('\n');
            }
        }
        out
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
            of_xen(&mut report, &xen);
            of_domains(&mut report, &xen, store);
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

/// Parts that come from the hypervisor alone.
const OF_XEN: [&str; 3] = ["info -n", "vcpu-list", "log of the hypervisor"];
/// Parts that need xenstore, too.
const OF_DOMAINS: [&str; 3] = ["list --json", "nodes of xlr's domains", "their configurations"];

fn of_xen(report: &mut Report, xen: &Xen) {
    let [facts, vcpus, log] = OF_XEN;
    report.add(facts, info::text(xen));
    report.add(vcpus, vcpu_list::text_without_names(xen));
    report.add(
        log,
        xen.read_console(None, false).map(|log| {
            let from = log.bytes.len().saturating_sub(LOG_BYTES);
            String::from_utf8_lossy(&log.bytes[from..]).into_owned()
        }),
    );
}

fn of_domains(report: &mut Report, xen: &Xen, store: Result<Client, xenstore::client::Error>) {
    let [list, nodes, configurations] = OF_DOMAINS;
    let named = match store {
        Err(error) => Err(chain(&error)),
        Ok(mut store) => match domain::all(xen, &mut store) {
            Err(error) => Err(chain(&error)),
            Ok(named) => Ok((named, store)),
        },
    };
    match named {
        Ok((named, mut store)) => {
            report.add(list, Ok::<_, CommandError>(rows(&named)));
            report.add(nodes, store::dump(&mut store, &named));
            report.add(configurations, store::configurations(&mut store, &named));
        }
        Err(why) => {
            // The hypervisor knows them all the same, if not by name.
            let nameless = xen.domains().map(|domains| {
                let named = domains.into_iter().map(|info| Named { info, name: None });
                rows(&named.collect::<Vec<_>>())
            });
            report.add(list, nameless);
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
        report.add("three", Ok::<_, CommandError>(String::from("third\n")));
        let text = report.text("now");
        assert_eq!(
            text,
            "xlr bug report, now\n\n  one\n  two: NOT COLLECTED, not root\n  three\n\n\
             ===== one =====\nfirst\nvncpasswd=(left out)\n\n===== three =====\nthird\n"
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
        write(path, "a").unwrap();
        assert!(write(path, "b").is_err());
        assert_eq!(std::fs::read_to_string(path).unwrap(), "a");
        std::fs::remove_file(path).unwrap();
    }
}
