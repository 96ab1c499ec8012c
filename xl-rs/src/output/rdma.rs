//! The tables of `rdma list` and `rdma stats`; the first one's rows as JSON, too.

use crate::device::rdma::Served;
use serde::Serialize;
use std::fmt::Write;

/// One InfiniBand device of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RdmaRow {
    /// The domain that has it.
    pub domid: u16,
    /// Its number there.
    pub devid: u32,
    /// The domain that serves it.
    pub backend_domid: u16,
    /// dom0's device behind it.
    pub device: Option<String>,
    /// How many pages the guest may share.
    pub pages: Option<u64>,
    /// How many queue pairs it may have, if that is limited.
    pub qps: Option<u64>,
    /// How many completion queues.
    pub cqs: Option<u64>,
    /// How many memory regions.
    pub mrs: Option<u64>,
    /// How far the backend is.
    pub backend_state: Option<u32>,
    /// The backend's directory.
    pub backend_path: String,
}

/// The devices of domains.
#[must_use]
pub fn table(rows: &[RdmaRow]) -> String {
    let mut out = format!(
        "{:>5} {:>5} {:<16} {:>8} {:>6} {:>6} {:>6} {:>5}\n",
        "DomID", "DevID", "Device", "Pages", "QPs", "CQs", "MRs", "State"
    );
    for row in rows {
        let number = |value: Option<u64>| value.map_or_else(|| "-".into(), |n| n.to_string());
        // Writing into a String cannot fail.
        let _ = writeln!(
            out,
            "{:>5} {:>5} {:<16} {:>8} {:>6} {:>6} {:>6} {:>5}",
            row.domid,
            row.devid,
            row.device.as_deref().unwrap_or("-"),
            number(row.pages),
            number(row.qps),
            number(row.cqs),
            number(row.mrs),
            number(row.backend_state.map(u64::from)),
        );
    }
    out
}

/// What domains use.
#[must_use]
pub fn stats_table(rows: &[Served]) -> String {
    let mut out = format!(
        "{:>5} {:>5} {:<16} {:>8} {:>6} {:>6} {:>6} {:>8} {:>12} {:>16}\n",
        "DomID", "DevID", "Device", "Contexts", "QPs", "CQs", "MRs", "Pages", "Operations", "Bytes"
    );
    for row in rows {
        // As above.
        let _ = writeln!(
            out,
            "{:>5} {:>5} {:<16} {:>8} {:>6} {:>6} {:>6} {:>8} {:>12} {:>16}",
            row.domid,
            row.devid,
            row.device,
            row.contexts,
            row.qps,
            row.cqs,
            row.mrs,
            row.pages,
            row.operations,
            row.bytes,
        );
    }
    out
}
