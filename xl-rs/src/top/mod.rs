//! What domains use now, in xentop's columns.
//!
//! In: two looks at the domains ([`crate::measure`]). Out: rows, lines of text, and the screen
//! ([`screen`]). Columns, their widths and the words in them are xentop's, for scripts that read them.

pub mod screen;

use crate::measure::{Measured, Sample};
use crate::output::domains::Row as Listed;
use std::cmp::Ordering;

/// One domain.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its number.
    pub domid: u16,
    /// Its name.
    pub name: String,
    /// Six letters, in xentop's order.
    pub state: String,
    /// CPU time that it has used.
    pub cpu_seconds: u64,
    /// CPU time since the last look, in percent of one CPU.
    pub cpu_percent: f64,
    /// Memory that it has.
    pub memory_kib: u64,
    /// The same, of the host's.
    pub memory_percent: f64,
    /// Memory that it may have, where there is a limit.
    pub max_memory_kib: Option<u64>,
    /// The same, of the host's.
    pub max_memory_percent: f64,
    /// Vcpus that are up.
    pub vcpus: u32,
    /// Its interfaces.
    pub nics: usize,
    /// What they have sent.
    pub sent_kib: u64,
    /// What they have received.
    pub received_kib: u64,
    /// Its disks.
    pub disks: usize,
    /// Requests that had to wait, reads, writes, sectors read, sectors written.
    pub disk_counts: [u64; 5],
    /// Its security label.
    pub ssidref: u32,
}

/// A number of pages that stands for no limit.
const NO_LIMIT_PAGES: u64 = u32::MAX as u64;

/// The rows of a look, with what was used since an earlier one.
#[must_use]
pub fn rows(now: &Sample, before: Option<&Sample>) -> Vec<Row> {
    now.domains.iter().map(|domain| row(domain, now, before)).collect()
}

fn row(domain: &Measured, now: &Sample, before: Option<&Sample>) -> Row {
    let info = &domain.info;
    let of_host = |pages: u64| 100.0 * pages as f64 / (now.host.total_pages.max(1)) as f64;
    let limit = Some(info.max_pages).filter(|pages| *pages < NO_LIMIT_PAGES);
    let sum = |count: fn(&crate::measure::Disk) -> u64| domain.disks.iter().map(count).sum();
    let state = Listed::new(info, None).state;
    let letter = |is, letter| if is { letter } else { '-' };
    Row {
        domid: info.domid.0,
        name: domain.name.clone().unwrap_or_else(|| format!("({})", info.domid)),
        state: [
            letter(state.dying, 'd'),
            letter(state.shutdown, 's'),
            letter(state.blocked, 'b'),
            letter(state.crashed, 'c'),
            letter(state.paused, 'p'),
            letter(state.running, 'r'),
        ]
        .iter()
        .collect(),
        cpu_seconds: info.cpu_time_ns / 1_000_000_000,
        cpu_percent: before.map_or(0.0, |before| percent(domain, now, before)),
        memory_kib: info.tot_pages * 4,
        memory_percent: of_host(info.tot_pages),
        max_memory_kib: limit.map(|pages| pages * 4),
        max_memory_percent: limit.map_or(0.0, of_host),
        vcpus: info.online_vcpus,
        nics: domain.nics.len(),
        sent_kib: domain.nics.iter().map(|nic| nic.sent_bytes).sum::<u64>() / 1024,
        received_kib: domain.nics.iter().map(|nic| nic.received_bytes).sum::<u64>() / 1024,
        disks: domain.disks.len(),
        disk_counts: [
            sum(|disk| disk.out_of_requests),
            sum(|disk| disk.reads),
            sum(|disk| disk.writes),
            sum(|disk| disk.read_sectors),
            sum(|disk| disk.written_sectors),
        ],
        ssidref: info.ssidref,
    }
}

/// CPU time since then in percent; of a domain that was not there then, none.
fn percent(domain: &Measured, now: &Sample, before: &Sample) -> f64 {
    let same =
        |old: &&Measured| (old.info.domid, old.info.uuid) == (domain.info.domid, domain.info.uuid);
    let Some(old) = before.domains.iter().find(same) else { return 0.0 };
    let used = domain.info.cpu_time_ns.saturating_sub(old.info.cpu_time_ns);
    let passed = now.at.saturating_duration_since(before.at).as_nanos().max(1);
    100.0 * used as f64 / passed as f64
}

/// A column.
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// Its width.
    pub width: usize,
    /// What is in it.
    pub cell: fn(&Row) -> String,
    /// Which of two rows comes first when it is sorted by.
    pub order: fn(&Row, &Row) -> Ordering,
}

macro_rules! column {
    ($title:literal, $width:literal, $cell:expr, by name) => {
        Column {
            title: $title,
            width: $width,
            cell: $cell,
            order: |one, other| one.name.cmp(&other.name),
        }
    };
    ($title:literal, $width:literal, $cell:expr, $value:expr) => {
        Column {
            title: $title,
            width: $width,
            cell: $cell,
            order: |one, other| {
                let value: fn(&Row) -> f64 = $value;
                value(other).total_cmp(&value(one))
            },
        }
    };
}

/// All columns, in xentop's order.
pub const COLUMNS: [Column; 19] = [
    column!("NAME", 10, |row| row.name.clone(), by name),
    Column {
        title: "STATE",
        width: 6,
        cell: |row| row.state.clone(),
        order: |one, other| other.state.cmp(&one.state),
    },
    column!("CPU(sec)", 10, |row| row.cpu_seconds.to_string(), |row| row.cpu_seconds as f64),
    column!("CPU(%)", 6, |row| format!("{:.1}", row.cpu_percent), |row| row.cpu_percent),
    column!("MEM(k)", 10, |row| row.memory_kib.to_string(), |row| row.memory_kib as f64),
    column!("MEM(%)", 6, |row| format!("{:.1}", row.memory_percent), |row| row.memory_percent),
    column!(
        "MAXMEM(k)",
        10,
        |row| row.max_memory_kib.map_or_else(|| String::from("no limit"), |kib| kib.to_string()),
        |row| row.max_memory_kib.map_or(f64::INFINITY, |kib| kib as f64)
    ),
    column!(
        "MAXMEM(%)",
        9,
        |row| match row.max_memory_kib {
            None => String::from("n/a"),
            Some(_) => format!("{:.1}", row.max_memory_percent),
        },
        |row| row.max_memory_kib.map_or(f64::INFINITY, |kib| kib as f64)
    ),
    column!("VCPUS", 5, |row| row.vcpus.to_string(), |row| f64::from(row.vcpus)),
    column!("NETS", 4, |row| row.nics.to_string(), |row| row.nics as f64),
    column!("NETTX(k)", 8, |row| row.sent_kib.to_string(), |row| row.sent_kib as f64),
    column!("NETRX(k)", 8, |row| row.received_kib.to_string(), |row| row.received_kib as f64),
    column!("VBDS", 4, |row| row.disks.to_string(), |row| row.disks as f64),
    column!("VBD_OO", 8, |row| row.disk_counts[0].to_string(), |row| row.disk_counts[0] as f64),
    column!("VBD_RD", 8, |row| row.disk_counts[1].to_string(), |row| row.disk_counts[1] as f64),
    column!("VBD_WR", 8, |row| row.disk_counts[2].to_string(), |row| row.disk_counts[2] as f64),
    column!("VBD_RSECT", 10, |row| row.disk_counts[3].to_string(), |row| row.disk_counts[3] as f64),
    column!("VBD_WSECT", 10, |row| row.disk_counts[4].to_string(), |row| row.disk_counts[4] as f64),
    column!("SSID", 4, |row| row.ssidref.to_string(), |row| f64::from(row.ssidref)),
];

/// How rows are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Names in full.
    pub full_names: bool,
    /// dom0 before all others.
    pub dom0_first: bool,
    /// A line per vcpu.
    pub vcpus: bool,
    /// A line per interface.
    pub networks: bool,
    /// A line per disk.
    pub disks: bool,
    /// The headings before every domain.
    pub repeat_header: bool,
}

/// Sorts by a column; those that are alike stay by number.
pub fn sort(rows: &mut [Row], column: Option<usize>, look: Look) {
    rows.sort_by(|one, other| {
        let first = match look.dom0_first {
            true => (one.domid != 0).cmp(&(other.domid != 0)),
            false => Ordering::Equal,
        };
        let by = column.and_then(|column| COLUMNS.get(column));
        let ordered = by.map_or(Ordering::Equal, |column| (column.order)(one, other));
        first.then(ordered).then(one.domid.cmp(&other.domid))
    });
}

/// How wide the column of names is: names in full make room for the longest.
#[must_use]
pub fn name_width(rows: &[Row], look: Look) -> usize {
    let longest = rows.iter().map(|row| crate::printable::line(&row.name).chars().count()).max();
    longest.filter(|_| look.full_names).unwrap_or(0).max(COLUMNS[0].width)
}

fn width_of(column: &Column, name_width: usize) -> usize {
    if column.title == "NAME" { name_width } else { column.width }
}

/// The headings.
#[must_use]
pub fn header(name_width: usize) -> String {
    let titles = COLUMNS.iter().map(|column| {
        let width = width_of(column, name_width);
        // A state is six letters, and its heading stands at its left.
        if column.title == "STATE" {
            format!("{:^width$}", " STATE")
        } else {
            format!("{:>width$}", column.title)
        }
    });
    titles.collect::<Vec<_>>().join(" ")
}

/// A row; a name that is longer than its column is cut.
#[must_use]
pub fn line(row: &Row, name_width: usize) -> String {
    let cells = COLUMNS.iter().map(|column| {
        let (text, width) = ((column.cell)(row), width_of(column, name_width));
        let text = crate::printable::line(&text).into_owned();
        match column.title {
            "NAME" => format!("{:>width$}", text.chars().take(width).collect::<String>()),
            _ => format!("{text:>width$}"),
        }
    });
    cells.collect::<Vec<_>>().join(" ")
}

/// The lines that follow a row, where they are wanted.
#[must_use]
pub fn details(domain: &Measured, look: Look) -> Vec<String> {
    let mut lines = Vec::new();
    if look.vcpus {
        let vcpus = domain.vcpus.iter().enumerate().filter(|(_, vcpu)| vcpu.online);
        let cell = |(number, vcpu): (usize, &libxc_safe::VcpuInfo)| {
            format!(" {number:>2}: {:>10}s", vcpu.cpu_time_ns / 1_000_000_000)
        };
        lines.push(format!("VCPUs(sec): {}", vcpus.map(cell).collect::<String>()));
    }
    if look.networks {
        lines.extend(domain.nics.iter().map(|nic| {
            format!(
                "Net{} RX: {:>8}bytes {:>8}pkts {:>8}err {:>8}drop  TX: {:>8}bytes {:>8}pkts {:>8}err {:>8}drop",
                nic.devid, nic.received_bytes, nic.received_packets, 0, nic.receive_dropped,
                nic.sent_bytes, nic.sent_packets, 0, nic.send_dropped
            )
        }));
    }
    if look.disks {
        lines.extend(domain.disks.iter().map(|disk| {
            format!(
                "VBD BlkBack {:>4} [{:>2x}:{:>2x}]  OO: {:>8}   RD: {:>8}   WR: {:>8}  RSECT: {:>10}  WSECT: {:>10}",
                disk.devid, disk.devid >> 8, disk.devid & 0xff, disk.out_of_requests, disk.reads,
                disk.writes, disk.read_sectors, disk.written_sectors
            )
        }));
    }
    lines
}

/// Everything of one look as text, headings first.
#[must_use]
pub fn text(now: &Sample, before: Option<&Sample>, column: Option<usize>, look: Look) -> String {
    let mut rows = rows(now, before);
    sort(&mut rows, column, look);
    let name_width = name_width(&rows, look);
    let mut out = header(name_width);
    out.push('\n');
    for (index, row) in rows.iter().enumerate() {
        if look.repeat_header && index > 0 {
            out.push_str(&header(name_width));
            out.push('\n');
        }
        out.push_str(&line(row, name_width));
        out.push('\n');
        let domain = now.domains.iter().find(|domain| domain.info.domid.0 == row.domid);
        for detail in domain.map(|domain| details(domain, look)).unwrap_or_default() {
            out.push_str(&detail);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::tests::{domain, sample};
    use std::time::Duration;

    #[test]
    fn the_columns_are_xentops() {
        assert_eq!(
            header(10),
            "      NAME  STATE   CPU(sec) CPU(%)     MEM(k) MEM(%)  MAXMEM(k) MAXMEM(%) VCPUS NETS \
             NETTX(k) NETRX(k) VBDS   VBD_OO   VBD_RD   VBD_WR  VBD_RSECT  VBD_WSECT SSID"
        );
        let rows = rows(&sample(), None);
        assert_eq!(
            line(&rows[0], 10),
            "  Domain-0 -----r          1    0.0       1024   25.0   no limit       n/a     1    0 \
             \u{20}      0        0    0        0        0        0          0          0    0"
        );
        assert!(line(&rows[1], 10).starts_with("a-very-lon --b---          1    0.0"));
        assert_eq!(name_width(&rows, Look::default()), 10);
        let full = name_width(&rows, Look { full_names: true, ..Look::default() });
        assert_eq!(full, "a-very-long-name".len());
        assert!(header(full).starts_with("            NAME  STATE "));
        let full = line(&rows[1], full);
        assert!(full.starts_with("a-very-long-name --b---"), "{full}");
    }

    #[test]
    fn rates_are_those_between_two_looks() {
        let before = sample();
        let mut now = before.clone();
        now.at = before.at + Duration::from_secs(2);
        now.domains[1].info.cpu_time_ns += 3_000_000_000;
        now.domains.push(domain(9, Some("new")));
        let percents: Vec<f64> =
            rows(&now, Some(&before)).iter().map(|row| row.cpu_percent).collect();
        assert_eq!(percents, [0.0, 150.0, 0.0, 0.0]);
        assert_eq!(rows(&now, None)[1].cpu_percent, 0.0);
        // Another domain under the same number.
        now.domains[1].info.uuid = [99; 16];
        assert_eq!(rows(&now, Some(&before))[1].cpu_percent, 0.0);
    }

    #[test]
    fn rows_are_sorted() {
        let look = Look::default();
        let check = |title: &str, look: Look, order: &[u16]| {
            let mut rows = rows(&sample(), None);
            let column = COLUMNS.iter().position(|column| column.title == title);
            sort(&mut rows, column, look);
            let found: Vec<u16> = rows.iter().map(|row| row.domid).collect();
            assert_eq!(found, order, "{title}");
        };
        check("none", look, &[0, 1, 2]);
        check("NAME", look, &[0, 1, 2]);
        check("MEM(k)", look, &[2, 0, 1]);
        check("MAXMEM(k)", look, &[0, 1, 2]);
        check("MEM(k)", Look { dom0_first: true, ..look }, &[0, 2, 1]);
        check("VBD_RD", look, &[1, 0, 2]);
    }

    #[test]
    fn details_follow_their_domain() {
        let look = Look {
            vcpus: true,
            networks: true,
            disks: true,
            repeat_header: true,
            ..Look::default()
        };
        let text = text(&sample(), None, None, look);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.iter().filter(|line| line.starts_with("      NAME")).count(), 3);
        assert!(text.contains("\nVCPUs(sec):   0:          1s\n"), "{text}");
        assert!(text.contains("\nNet0 RX:"), "{text}");
        assert!(
            text.contains("\nVBD BlkBack 51712 [ca: 0]  OO:        0   RD:        3"),
            "{text}"
        );
    }
}
