//! `uptime`: how long domains have been running.

use super::domain::{self, Named};
use super::error::CommandError;
use super::{list, print, print_json};
use crate::cli::UptimeArgs;
use crate::output::uptimes::{UptimeRow, lines, table};
use domain_builder::nodes::uuid_text;
use jiff::Zoned;
use libxc_safe::{DomainInfo, Xen};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use xenstore::client::{Client, Nodes};

/// Where dom0's kernel tells its own.
const DOM0_UPTIME: &str = "/proc/uptime";

/// Runs the command.
pub fn run(arguments: &UptimeArgs) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let all = domain::all(&xen, &mut store)?;
    let (chosen, missing) = list::choose(all, &arguments.domains);
    if let Some(error) = missing.into_iter().next() {
        return Err(error);
    }
    let mut rows = Vec::with_capacity(chosen.len());
    for Named { info, name } in chosen {
        // A domain that is being made has no start yet: it is left out, as by xl.
        if let Some(uptime_seconds) = uptime(&mut store, &info)? {
            rows.push(UptimeRow { name, domid: info.domid.0, uptime_seconds });
        }
    }
    if arguments.json {
        return print_json(&serde_json::to_value(&rows).unwrap_or_default());
    }
    let text = match arguments.short {
        true => lines(&rows, &Zoned::now().strftime("%H:%M:%S").to_string()),
        false => table(&rows),
    };
    print(text.as_bytes())
}

fn uptime(store: &mut Client, info: &DomainInfo) -> Result<Option<u64>, CommandError> {
    if info.domid.0 == 0 {
        let failed = |source| CommandError::Read { path: DOM0_UPTIME.into(), source };
        let text = std::fs::read_to_string(Path::new(DOM0_UPTIME)).map_err(failed)?;
        return Ok(whole_seconds(&text));
    }
    let node = format!("/vm/{}/start_time", uuid_text(&info.uuid));
    let start = store.read_text_optional(node)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // A clock that was set back does not make a domain younger than nothing.
    Ok(start.as_deref().and_then(whole_seconds).map(|start| since.saturating_sub(start)))
}

/// The number before the first dot.
fn whole_seconds(text: &str) -> Option<u64> {
    text.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::whole_seconds;

    #[test]
    fn seconds_before_the_dot() {
        for (text, seconds) in [
            ("31.52 28.10\n", Some(31)),
            ("1765712345.07", Some(1_765_712_345)),
            ("7", Some(7)),
            ("", None),
            ("x", None),
            ("-1.0", None),
        ] {
            assert_eq!(whole_seconds(text), seconds, "{text:?}");
        }
    }
}
