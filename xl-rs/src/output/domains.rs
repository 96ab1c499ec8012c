//! The table of `list`, and the same as JSON.

use libxc_safe::{DomainInfo, ShutdownReason};
use serde::Serialize;
use std::fmt::Write;
use uuid::Uuid;

/// What stands in the name's place for a domain without one. xl prints the same.
const NO_NAME: &str = "(null)";

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
pub struct Columns {
    /// UUID, reason, label.
    pub verbose: bool,
    /// CPU pool.
    pub cpupool: bool,
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

impl State {
    fn letters(self) -> String {
        [
            (self.running, 'r'),
            (self.blocked, 'b'),
            (self.paused, 'p'),
            (self.shutdown, 's'),
            (self.crashed, 'c'),
            (self.dying, 'd'),
        ]
        .into_iter()
        .map(|(is, letter)| if is { letter } else { '-' })
        .collect()
    }
}

/// The table, header and all. Pools print by the name that `pool_name` gives.
#[must_use]
pub fn table(rows: &[Row], columns: Columns, pool_name: impl Fn(u32) -> String) -> String {
    let mut out =
        String::from("Name                                        ID   Mem VCPUs\tState\tTime(s)");
    if columns.verbose {
        out.push_str("   UUID                            Reason-Code\tSecurity Label");
    }
    if columns.cpupool {
        out.push_str("         Cpupool");
    }
    out.push('\n');
    for row in rows {
        let name = row.name.as_deref().unwrap_or(NO_NAME);
        let seconds = row.cpu_time_ns as f64 / 1e9;
        let mib = row.memory_kib / 1024;
        let state = row.state.letters();
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            "{name:<40} {:>5} {mib:>5} {:>5}     {state}  {seconds:>8.1}",
            row.domid, row.vcpus
        );
        if columns.verbose {
            let reason =
                row.reason_code.map_or_else(|| String::from("-"), |code| format!("{code:x}"));
            let _ = write!(out, " {} {reason:>8} {:>16}", row.uuid, "-");
        }
        if columns.cpupool {
            let _ = write!(out, "{:>16}", pool_name(row.cpupool));
        }
        out.push('\n');
    }
    out
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
            vcpus: 1,
            state,
            shutdown_reason: None,
            cpu_time_ns: 349_000_000,
            cpupool: 0,
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
            table(&rows[1..], Columns { verbose: true, cpupool: false }, none),
            "Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID                            Reason-Code\tSecurity Label\n\
             a                                            1    64     1     --p---       0.0 2c75fd12-8c60-48a5-acb0-6341ee1753f4        -                -\n"
        );
        assert_eq!(
            table(&rows[1..], Columns { verbose: false, cpupool: true }, none),
            "Name                                        ID   Mem VCPUs\tState\tTime(s)         Cpupool\n\
             a                                            1    64     1     --p---       0.0          Pool-0\n"
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
        assert_eq!(all.letters(), "rbpscd");
        assert_eq!(State::default().letters(), "------");
        let table = table(&[row(None, all)], Columns::default(), |_| String::new());
        assert!(table.contains("\n(null)  "), "{table}");
    }

    #[test]
    fn json_keeps_units_in_its_names() {
        let json = serde_json::to_value(row(Some("a"), State::default())).expect("plain data");
        assert_eq!(json["memory_kib"], 64 << 10);
        assert_eq!(json["cpu_time_ns"], 349_000_000);
        assert_eq!(json["state"]["paused"], false);
        assert_eq!(json["shutdown_reason"], serde_json::Value::Null);
        assert!(json.get("reason_code").is_none());
    }
}
