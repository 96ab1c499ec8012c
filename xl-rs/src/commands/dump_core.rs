//! `dump-core`, and the cores of domains that end.
//!
//! In: a domain, and a path or none. Out: its core in that file, or in one of its own under
//! `/var/lib/xen/dump`, where xl's are. The domain runs on meanwhile if it does; one that is paused
//! or has ended gives a core that fits together.

use super::error::CommandError;
use super::signals::Signals;
use super::{domain, tell, warn};
use crate::cli::DumpCoreArgs;
use crate::core_dump::{CoreError, Written, write_core};
use jiff::Timestamp;
use libxc_safe::{DomainInfo, Xen};
use std::fs::DirBuilder;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use xenstore::client::{Client, Nodes as _};

/// Where cores are that were given no name.
const FOLDER: &str = "/var/lib/xen/dump";

/// Runs the command.
pub fn run(arguments: &DumpCoreArgs) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let info = domain::find(&xen, &mut store, &arguments.domain)?;
    if info.domid.0 == 0 {
        return Err(CommandError::Dom0 { hint: "" });
    }
    let path = match &arguments.file {
        Some(file) => file.clone(),
        None => own_path(&info, &mut store)?,
    };
    let signals = Signals::take()?;
    signals.hold();
    dump(&xen, &info, &path, &signals)
}

/// Writes the core of a domain that has ended, before that goes: under `/var/lib/xen/dump`.
pub fn dump_at_end(
    info: &DomainInfo,
    xen: &Xen,
    store: &mut Client,
    signals: &Signals,
) -> Result<(), CommandError> {
    let path = own_path(info, store)?;
    dump(xen, info, &path, signals)
}

fn dump(xen: &Xen, info: &DomainInfo, path: &Path, signals: &Signals) -> Result<(), CommandError> {
    let domid = info.domid;
    let mut progress = Progress { shown: io::stderr().is_terminal().then_some(0) };
    let written = write_core(xen, info, path, &mut |done, all| {
        progress.show(done, all);
        !signals.seen()
    });
    progress.clear();
    let Written { pages, all_addresses } = written?;
    if !all_addresses {
        warn(format_args!("gdb does not see all addresses of domain {domid}, there are too many"));
    }
    let mib = pages.div_ceil(256);
    tell(format_args!("The core of domain {domid}, {mib} MiB, is {}", path.display()));
    Ok(())
}

/// A line on a terminal that tells how far it is.
struct Progress {
    /// Percents, on a terminal only.
    shown: Option<u64>,
}

impl Progress {
    fn show(&mut self, done: u64, all: u64) {
        let percents = done * 100 / all.max(1);
        if self.shown.is_some_and(|shown| shown < percents) {
            self.shown = Some(percents);
            let _ = write!(io::stderr(), "\r{percents:3} %");
        }
    }

    fn clear(&self) {
        if self.shown.is_some_and(|shown| shown > 0) {
            let _ = write!(io::stderr(), "\r     \r");
        }
    }
}

/// The file for a core that was given none.
fn own_path(info: &DomainInfo, store: &mut Client) -> Result<PathBuf, CommandError> {
    let folder = Path::new(FOLDER);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| {
        let mib = info.tot_pages.div_ceil(256);
        CoreError::Write { domid: info.domid, path: folder.to_owned(), mib, source }
    })?;
    let name = store.read_text_optional(domain::name_path(info.domid))?;
    let name = name.unwrap_or_else(|| format!("domain {}", info.domid));
    Ok(folder.join(file_name(&name, Timestamp::now())))
}

/// What a core is called: its domain's name, as far as that can be a file's, and the time: one that is
/// started again may have ended again within a second.
fn file_name(name: &str, now: Timestamp) -> String {
    let plain = |letter: char| match letter {
        '/' | '\0'..='\x1f' | '\x7f' => '_',
        letter => letter,
    };
    let mut name: String = name.chars().take(80).map(plain).collect();
    if name.starts_with('.') {
        name.insert(0, '_');
    }
    format!("{name}-{}", now.strftime("%Y%m%dT%H%M%S%.3fZ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_called_after_its_domain() {
        let now: Timestamp = "2026-03-04T05:06:07.25Z".parse().unwrap();
        let check = |name: &str, file: &str| assert_eq!(file_name(name, now), file, "{name}");
        check("web", "web-20260304T050607.250Z");
        check("../etc", "_.._etc-20260304T050607.250Z");
        check("a/b\nc", "a_b_c-20260304T050607.250Z");
        assert!(file_name(&"ä".repeat(300), now).len() < 255);
    }
}
