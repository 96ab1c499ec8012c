//! The table of `uptime`, its short form, and the same as JSON.

use super::shown;
use serde::Serialize;
use std::fmt::Write;

/// How long one domain has been running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UptimeRow {
    /// Its name.
    pub name: Option<String>,
    /// Its domid.
    pub domid: u16,
    /// Since its creation.
    pub uptime_seconds: u64,
}

/// The table, header and all.
#[must_use]
pub fn table(rows: &[UptimeRow]) -> String {
    let mut out = format!("{:<33} {:>4} Uptime\n", "Name", "ID");
    for row in rows {
        let name = shown(row.name.as_deref());
        let duration = duration(row.uptime_seconds, true);
        // Writing into a String cannot fail.
        let _ = writeln!(out, "{name:<33} {:>4} {duration}", row.domid);
    }
    out
}

/// One line in words per domain; `now` is the time of day.
#[must_use]
pub fn lines(rows: &[UptimeRow], now: &str) -> String {
    let mut out = String::new();
    for row in rows {
        let name = shown(row.name.as_deref());
        let duration = duration(row.uptime_seconds, false);
        let _ = writeln!(out, " {now} up {duration}, {name} ({})", row.domid);
    }
    out
}

fn duration(seconds: u64, with_seconds: bool) -> String {
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
    let mut out = match days {
        0 => String::new(),
        1 => String::from("1 day, "),
        _ => format!("{days} days, "),
    };
    let _ = write!(out, "{hours:>2}:{minutes:02}");
    if with_seconds {
        let _ = write!(out, ":{seconds:02}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (seconds, long, short) in [
            (0, " 0:00:00", " 0:00"),
            (59, " 0:00:59", " 0:00"),
            (3_661, " 1:01:01", " 1:01"),
            (86_399, "23:59:59", "23:59"),
            (86_400, "1 day,  0:00:00", "1 day,  0:00"),
            (2 * 86_400 + 36_000, "2 days, 10:00:00", "2 days, 10:00"),
        ] {
            assert_eq!(duration(seconds, true), long, "{seconds}");
            assert_eq!(duration(seconds, false), short, "{seconds}");
        }
    }

    /// Byte for byte what xl prints.
    #[test]
    fn the_forms_are_xls() {
        let rows = [
            UptimeRow { name: Some(String::from("Domain-0")), domid: 0, uptime_seconds: 31 },
            UptimeRow { name: None, domid: 12, uptime_seconds: 4_000 },
        ];
        assert_eq!(
            table(&rows),
            "Name                                ID Uptime\n\
             Domain-0                             0  0:00:31\n\
             (null)                              12  1:06:40\n"
        );
        assert_eq!(
            lines(&rows, "15:16:28"),
            " 15:16:28 up  0:00, Domain-0 (0)\n 15:16:28 up  1:06, (null) (12)\n"
        );
    }
}
