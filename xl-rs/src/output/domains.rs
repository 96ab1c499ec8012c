//! The table of `list`, and the same as JSON.

use super::{bitmap, shown};
use crate::printable;
use libxc_safe::{DomainInfo, ShutdownReason};
use serde::Serialize;
use std::fmt::Write;
use uuid::Uuid;

/// One domain, as listings show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its name; none while it is being made or taken down.
    pub name: Option<String>,
    /// Its domid.
    pub domid: u16,
    /// Its UUID.
    pub uuid: String,
    /// Memory that it has or is about to get.
    pub memory_kib: u64,
    /// Memory that it may have.
    pub max_memory_kib: u64,
    /// Memory that is claimed for it and not given yet; part of `memory_kib`.
    pub claimed_kib: u64,
    /// Vcpus that are up.
    pub vcpus: u32,
    /// Its state.
    pub state: State,
    /// Why it shut down, if it did.
    pub shutdown_reason: Option<String>,
    /// CPU time that it used.
    pub cpu_time_ns: u64,
    /// Its CPU pool, by number.
    pub cpupool: u32,
    /// The NUMA nodes that its memory is taken from, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa_nodes: Option<Vec<u32>>,
    /// The number of the reason, for the table.
    #[serde(skip)]
    reason_code: Option<u8>,
}

/// The six letters of the state column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct State {
    /// `r`
    pub running: bool,
    /// `b`
    pub blocked: bool,
    /// `p`
    pub paused: bool,
    /// `s`
    pub shutdown: bool,
    /// `c`
    pub crashed: bool,
    /// `d`
    pub dying: bool,
}

/// Columns that `list` adds on demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns<'a> {
    /// UUID, reason, label.
    pub verbose: bool,
    /// Label.
    pub context: bool,
    /// Memory claimed and not given yet.
    pub claims: bool,
    /// CPU pool.
    pub cpupool: bool,
    /// Nodes; these are on this host.
    pub numa: Option<&'a [u32]>,
}

impl Row {
    /// Joins what the hypervisor knows with the name from xenstore.
    #[must_use]
    pub fn new(info: &DomainInfo, name: Option<String>) -> Self {
        Self {
            name,
            domid: info.domid.0,
            uuid: Uuid::from_bytes(info.uuid).to_string(),
            memory_kib: (info.tot_pages.saturating_add(info.outstanding_pages)).saturating_mul(4),
            max_memory_kib: info.max_pages.saturating_mul(4),
            claimed_kib: info.outstanding_pages.saturating_mul(4),
            vcpus: info.online_vcpus,
            state: State {
                running: info.running,
                blocked: info.blocked,
                paused: info.paused,
                shutdown: info.shutdown.is_some(),
                crashed: info.crashed(),
                dying: info.dying,
            },
            shutdown_reason: info.shutdown.map(reason),
            cpu_time_ns: info.cpu_time_ns,
            cpupool: info.cpupool,
            numa_nodes: None,
            reason_code: info.shutdown.map(ShutdownReason::code),
        }
    }
}

/// A word for a shutdown reason.
#[must_use]
pub fn reason(reason: ShutdownReason) -> String {
    String::from(match reason {
        ShutdownReason::Poweroff => "poweroff",
        ShutdownReason::Reboot => "reboot",
        ShutdownReason::Suspend => "suspend",
        ShutdownReason::Crash => "crash",
        ShutdownReason::Watchdog => "watchdog",
        ShutdownReason::SoftReset => "soft-reset",
        ShutdownReason::Other(code) => return format!("code {code}"),
    })
}

impl Row {
    /// The state column. Where a domain has shut down, the fifth place tells why.
    fn letters(&self) -> String {
        let letter = |is: bool, letter| if is { letter } else { '-' };
        let reason = match self.reason_code {
            None => '-',
            Some(code) => REASONS.get(usize::from(code)).copied().unwrap_or('?'),
        };
        let state = self.state;
        [
            letter(state.running, 'r'),
            letter(state.blocked, 'b'),
            letter(state.paused, 'p'),
            letter(state.shutdown, 's'),
            reason,
            letter(state.dying, 'd'),
        ]
        .iter()
        .collect()
    }
}

/// The letters of the shutdown reasons: poweroff, reboot, suspend, crash, watchdog, soft reset.
const REASONS: [char; 6] = ['-', 'r', 's', 'c', 'w', 'S'];

/// The table, header and all. Pools print by the name that `pool_name` gives.
#[must_use]
pub fn table(rows: &[Row], columns: Columns<'_>, pool_name: impl Fn(u32) -> String) -> String {
    let mut out =
        String::from("Name                                        ID   Mem VCPUs\tState\tTime(s)");
    if columns.verbose {
        out.push_str("   UUID                            Reason-Code\tSecurity Label");
    } else if columns.context {
        out.push_str("   Security Label");
    }
    if columns.claims {
        out.push_str("  Claimed");
    }
    if columns.cpupool {
        out.push_str("         Cpupool");
    }
    if columns.numa.is_some() {
        out.push_str(" NODE Affinity");
    }
    out.push('\n');
    for row in rows {
        line(&mut out, row, columns, &pool_name);
        out.push('\n');
    }
    out
}

/// The table of `vm-list`.
#[must_use]
pub fn uuids(rows: &[Row]) -> String {
    let mut out = String::from("UUID                                  ID    name\n");
    for row in rows {
        let name = shown(row.name.as_deref());
        // Writing into a String cannot fail.
        let _ = writeln!(out, "{}  {}    {name:<30}", row.uuid, row.domid);
    }
    out
}

fn line(out: &mut String, row: &Row, columns: Columns<'_>, pool_name: impl Fn(u32) -> String) {
    let name = shown(row.name.as_deref());
    let seconds = row.cpu_time_ns as f64 / 1e9;
    let mib = row.memory_kib / 1024;
    let state = row.letters();
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        "{name:<40} {:>5} {mib:>5} {:>5}     {state}  {seconds:>8.1}",
        row.domid, row.vcpus
    );
    if columns.verbose {
        let reason = row.reason_code.map_or_else(|| String::from("-"), |code| format!("{code:x}"));
        let _ = write!(out, " {} {reason:>8}", row.uuid);
    }
    if columns.claims {
        let _ = write!(out, " {:>5}", row.claimed_kib / 1024);
    }
    if columns.verbose || columns.context {
        // Labels exist under XSM only, which xlr refuses to create under.
        let _ = write!(out, " {:>16}", "-");
    }
    if columns.cpupool {
        let _ = write!(out, "{:>16}", printable::line(&pool_name(row.cpupool)));
    }
    if let Some(nodes) = columns.numa {
        let _ = write!(out, " {}", bitmap::text(row.numa_nodes.as_deref().unwrap_or(&[]), nodes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: Option<&str>, state: State) -> Row {
        Row {
            name: name.map(String::from),
            domid: 1,
            uuid: String::from("2c75fd12-8c60-48a5-acb0-6341ee1753f4"),
            memory_kib: 64 << 10,
            max_memory_kib: 65 << 10,
            claimed_kib: 3 << 10,
            vcpus: 1,
            state,
            shutdown_reason: None,
            cpu_time_ns: 349_000_000,
            cpupool: 0,
            numa_nodes: None,
            reason_code: None,
        }
    }

    /// Byte for byte what xl 4.17 printed on a host.
    #[test]
    fn the_table_is_xls() {
        let paused = row(Some("a"), State { paused: true, ..State::default() });
        let dom0 = Row {
            name: Some(String::from("Domain-0")),
            domid: 0,
            uuid: Uuid::nil().to_string(),
            memory_kib: 512 << 10,
            cpu_time_ns: 4_900_000_000,
            state: State { running: true, ..State::default() },
            ..paused.clone()
        };
        let rows = [dom0, Row { cpu_time_ns: 0, ..paused }];
        let none = |_| String::from("Pool-0");
        assert_eq!(
            table(&rows, Columns::default(), none),
            "Name                                        ID   Mem VCPUs\tState\tTime(s)\n\
             Domain-0                                     0   512     1     r-----       4.9\n\
             a                                            1    64     1     --p---       0.0\n"
        );
        assert_eq!(
            table(&rows[1..], Columns { verbose: true, ..Columns::default() }, none),
            "Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID                            Reason-Code\tSecurity Label\n\
             a                                            1    64     1     --p---       0.0 2c75fd12-8c60-48a5-acb0-6341ee1753f4        -                -\n"
        );
        assert_eq!(
            table(&rows[1..], Columns { cpupool: true, ..Columns::default() }, none),
            "Name                                        ID   Mem VCPUs\tState\tTime(s)         Cpupool\n\
             a                                            1    64     1     --p---       0.0          Pool-0\n"
        );
    }

    #[test]
    fn more_columns() {
        let row = Row {
            numa_nodes: Some(vec![1]),
            ..row(Some("a"), State { paused: true, ..State::default() })
        };
        let pool = |_| String::from("Pool-0");
        let columns = Columns { context: true, numa: Some(&[0, 1]), ..Columns::default() };
        assert_eq!(
            table(std::slice::from_ref(&row), columns, pool),
            "Name                                        ID   Mem VCPUs\tState\tTime(s)   Security Label NODE Affinity\n\
             a                                            1    64     1     --p---       0.3                - 1\n"
        );
        let claims = Columns { claims: true, ..Columns::default() };
        assert_eq!(
            table(std::slice::from_ref(&row), claims, pool),
            "Name                                        ID   Mem VCPUs\tState\tTime(s)  Claimed\n\
             a                                            1    64     1     --p---       0.3     3\n"
        );
        assert_eq!(
            uuids(std::slice::from_ref(&row)),
            "UUID                                  ID    name\n\
             2c75fd12-8c60-48a5-acb0-6341ee1753f4  1    a                             \n"
        );
        let all = Columns {
            verbose: true,
            context: true,
            claims: false,
            cpupool: true,
            numa: Some(&[0]),
        };
        let row = Row { numa_nodes: Some(vec![0]), ..row };
        assert_eq!(
            table(&[row], all, pool),
            "Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID                            Reason-Code\tSecurity Label         Cpupool NODE Affinity\n\
             a                                            1    64     1     --p---       0.3 2c75fd12-8c60-48a5-acb0-6341ee1753f4        -                -          Pool-0 all\n"
        );
    }

    #[test]
    fn every_state_has_its_letter() {
        let all = State {
            running: true,
            blocked: true,
            paused: true,
            shutdown: true,
            crashed: true,
            dying: true,
        };
        for (reason_code, letters) in [
            (None, "rbps-d"),
            (Some(0), "rbps-d"),
            (Some(1), "rbpsrd"),
            (Some(2), "rbpssd"),
            (Some(3), "rbpscd"),
            (Some(4), "rbpswd"),
            (Some(5), "rbpsSd"),
            (Some(6), "rbps?d"),
        ] {
            assert_eq!(Row { reason_code, ..row(None, all) }.letters(), letters, "{reason_code:?}");
        }
        assert_eq!(row(None, State::default()).letters(), "------");
        let table = table(&[row(None, all)], Columns::default(), |_| String::new());
        assert!(table.contains("\n(null)  "), "{table}");
    }

    #[test]
    fn names_steer_no_terminal() {
        let rows = [row(Some("\x1b[2Ja"), State::default())];
        let columns = Columns { cpupool: true, ..Columns::default() };
        for text in [table(&rows, columns, |_| String::from("P\u{202e}0\n")), uuids(&rows)] {
            assert!(text.contains("?[2Ja  "), "{text:?}");
            assert!(!text.contains(['\x1b', '\u{202e}']) && text.lines().count() == 2, "{text:?}");
        }
    }

    #[test]
    fn json_keeps_units_in_its_names() {
        let json = serde_json::to_value(row(Some("a"), State::default())).expect("plain data");
        assert_eq!(json["memory_kib"], 64 << 10);
        assert_eq!(json["cpu_time_ns"], 349_000_000);
        assert_eq!(json["state"]["paused"], false);
        assert_eq!(json["shutdown_reason"], serde_json::Value::Null);
        assert!(json.get("reason_code").is_none() && json.get("numa_nodes").is_none());
    }
}
