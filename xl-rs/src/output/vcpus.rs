//! The table of `vcpu-list`, and the same as JSON.

use super::{bitmap, shown};
use libxc_safe::{Affinity, VcpuInfo};
use serde::Serialize;
use std::fmt::Write;
use xen_sys::types::Domid;

/// One vcpu, as listings show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VcpuRow {
    /// Its domain's name.
    pub name: Option<String>,
    /// Its domain.
    pub domid: u16,
    /// Its number.
    pub vcpu: u32,
    /// Whether it is up.
    pub online: bool,
    /// Whether it runs at this moment.
    pub running: bool,
    /// Whether it waits for an event.
    pub blocked: bool,
    /// The CPU that it runs on, or ran on last; none while it is down.
    pub cpu: Option<u32>,
    /// CPU time that it used.
    pub cpu_time_ns: u64,
    /// CPUs that it may run on.
    pub hard_affinity: Vec<u32>,
    /// CPUs that it prefers.
    pub soft_affinity: Vec<u32>,
}

impl VcpuRow {
    /// Joins what the hypervisor says of a vcpu.
    #[must_use]
    pub fn new(
        (name, domid): (Option<String>, Domid),
        vcpu: u32,
        info: &VcpuInfo,
        affinity: Affinity,
    ) -> Self {
        Self {
            name,
            domid: domid.0,
            vcpu,
            online: info.online,
            running: info.running,
            blocked: info.blocked,
            cpu: info.online.then_some(info.cpu),
            cpu_time_ns: info.cpu_time_ns,
            hard_affinity: affinity.hard,
            soft_affinity: affinity.soft,
        }
    }

    fn state(&self) -> String {
        let letter = |is: bool, letter| if is { letter } else { '-' };
        match self.online {
            true => [letter(self.running, 'r'), letter(self.blocked, 'b'), '-'].iter().collect(),
            // p: not online. xl writes it so.
            false => String::from("--p"),
        }
    }
}

/// The table, header and all, on a host with these `cpus`.
#[must_use]
pub fn table(rows: &[VcpuRow], cpus: &[u32]) -> String {
    let mut out = format!(
        "{:<32} {:>5} {:>5} {:>5} {:>5} {:>9} Affinity (Hard / Soft)\n",
        "Name", "ID", "VCPU", "CPU", "State", "Time(s)"
    );
    for row in rows {
        let name = shown(row.name.as_deref());
        let cpu = row.cpu.map_or_else(|| String::from("-"), |cpu| cpu.to_string());
        let hard = bitmap::text(&row.hard_affinity, cpus);
        let soft = bitmap::text(&row.soft_affinity, cpus);
        // The CPU is one place left of its heading, as xl has it. Writing into a String cannot fail.
        let _ = writeln!(
            out,
            "{name:<32} {:>5} {:>5} {cpu:>4} {:>5} {:>9.1}  {hard} / {soft}",
            row.domid,
            row.vcpu,
            row.state(),
            row.cpu_time_ns as f64 / 1e9,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte for byte what xl prints.
    #[test]
    fn the_table_is_xls() {
        let running = VcpuRow {
            name: Some(String::from("Domain-0")),
            domid: 0,
            vcpu: 0,
            online: true,
            running: true,
            blocked: false,
            cpu: Some(0),
            cpu_time_ns: 5_349_000_000,
            hard_affinity: vec![0, 1],
            soft_affinity: vec![1],
        };
        let down = VcpuRow {
            name: None,
            domid: 12,
            vcpu: 3,
            online: false,
            running: false,
            cpu: None,
            cpu_time_ns: 0,
            ..running.clone()
        };
        let blocked = VcpuRow { running: false, blocked: true, vcpu: 1, ..running.clone() };
        assert_eq!(
            table(&[running, blocked, down], &[0, 1]),
            "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)\n\
             Domain-0                             0     0    0   r--       5.3  all / 1\n\
             Domain-0                             0     1    0   -b-       5.3  all / 1\n\
             (null)                              12     3    -   --p       0.0  all / 1\n"
        );
    }
}
