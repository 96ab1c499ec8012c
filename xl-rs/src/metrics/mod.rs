//! What Prometheus is told of this host.
//!
//! In: a [`Sample`], and what is known of xlr's own daemons. Out: text ([`text`]). Names of metrics
//! and labels stay; units are in the names. Never opens anything.

pub mod text;

use crate::measure::{Measured, Sample};
use crate::output::domains::{self, Row};
use text::{Kind, Label, Text};

/// What xlr itself knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// `supervise` runs.
    pub supervise: bool,
    /// `consoled` runs.
    pub consoled: bool,
    /// Domains that were started again since the host's start.
    pub restarts: u64,
    /// Restarts that have not come to their end.
    pub restarting: u64,
}

const PAGE_BYTES: f64 = 4096.0;

/// How a domain is labelled.
struct Labels {
    domid: String,
    name: String,
}

impl Labels {
    fn of(domain: &Measured) -> Self {
        let name = domain.name.clone().unwrap_or_default();
        Self { domid: domain.info.domid.to_string(), name }
    }

    fn get(&self) -> [Label<'_>; 2] {
        [("domid", &self.domid), ("name", &self.name)]
    }

    fn with<'a>(&'a self, label: &'static str, value: &'a str) -> [Label<'a>; 3] {
        let [one, two] = self.get();
        [one, two, (label, value)]
    }
}

/// All of it.
#[must_use]
pub fn exposition(sample: &Sample, version: &str, own: Own) -> String {
    let mut text = Text::default();
    host(&mut text, sample, version);
    domains(&mut text, sample);
    vcpus(&mut text, sample);
    disks(&mut text, sample);
    nics(&mut text, sample);
    daemons(&mut text, sample, own);
    text.finish()
}

fn host(text: &mut Text, sample: &Sample, version: &str) {
    let Sample { host, .. } = sample;
    text.family("xlr_build_info", Kind::Gauge, "Versions; the value is always 1.")
        .sample(&[("version", env!("CARGO_PKG_VERSION")), ("xen", version)], 1.0);
    let pages = |pages: u64| pages as f64 * PAGE_BYTES;
    for (name, help, value) in [
        ("xlr_host_cpus", "CPUs that are online.", f64::from(host.cpus)),
        ("xlr_host_memory_bytes", "Memory of the host.", pages(host.total_pages)),
        ("xlr_host_free_memory_bytes", "Memory that no domain has.", pages(host.free_pages)),
        (
            "xlr_host_claimed_memory_bytes",
            "Memory that is claimed for domains and not given yet.",
            pages(host.outstanding_pages),
        ),
        ("xlr_domains", "Domains, dom0 among them.", sample.domains.len() as f64),
    ] {
        text.family(name, Kind::Gauge, help).sample(&[], value);
    }
}

/// A family with a sample for every domain.
fn each(
    text: &mut Text,
    sample: &Sample,
    (name, kind, help): (&'static str, Kind, &str),
    value: impl Fn(&Measured) -> f64,
) {
    let mut family = text.family(name, kind, help);
    for domain in &sample.domains {
        family.sample(&Labels::of(domain).get(), value(domain));
    }
}

fn domains(text: &mut Text, sample: &Sample) {
    let mut family =
        text.family("xlr_domain_info", Kind::Gauge, "A domain's UUID; the value is always 1.");
    for domain in &sample.domains {
        let uuid = uuid::Uuid::from_bytes(domain.info.uuid).to_string();
        family.sample(&Labels::of(domain).with("uuid", &uuid), 1.0);
    }
    let help = "Whether a domain is in a state: 1 or 0. It may be in several.";
    let mut family = text.family("xlr_domain_state", Kind::Gauge, help);
    for domain in &sample.domains {
        let state = Row::new(&domain.info, None).state;
        for (word, is) in [
            ("running", state.running),
            ("blocked", state.blocked),
            ("paused", state.paused),
            ("shutdown", state.shutdown),
            ("crashed", state.crashed),
            ("dying", state.dying),
        ] {
            family.sample(&Labels::of(domain).with("state", word), f64::from(u8::from(is)));
        }
    }
    let help = "Why a domain has shut down; the value is always 1.";
    let mut family = text.family("xlr_domain_shutdown_reason", Kind::Gauge, help);
    for domain in &sample.domains {
        if let Some(reason) = domain.info.shutdown {
            let reason = domains::reason(reason);
            family.sample(&Labels::of(domain).with("reason", &reason), 1.0);
        }
    }
    let of = ("xlr_domain_cpu_seconds_total", Kind::Counter, "CPU time that a domain has used.");
    each(text, sample, of, |domain| seconds(domain.info.cpu_time_ns));
    let of = ("xlr_domain_memory_bytes", Kind::Gauge, "Memory that a domain has.");
    each(text, sample, of, |domain| domain.info.tot_pages as f64 * PAGE_BYTES);
    let of = ("xlr_domain_max_memory_bytes", Kind::Gauge, "Memory that a domain may have.");
    each(text, sample, of, |domain| domain.info.max_pages as f64 * PAGE_BYTES);
    let of = ("xlr_domain_vcpus", Kind::Gauge, "Vcpus of a domain that are online.");
    each(text, sample, of, |domain| f64::from(domain.info.online_vcpus));
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn vcpus(text: &mut Text, sample: &Sample) {
    let help = "CPU time that a vcpu has used.";
    let mut family = text.family("xlr_vcpu_cpu_seconds_total", Kind::Counter, help);
    for domain in &sample.domains {
        for (number, vcpu) in domain.vcpus.iter().enumerate() {
            let number = number.to_string();
            let labels = Labels::of(domain);
            family.sample(&labels.with("vcpu", &number), seconds(vcpu.cpu_time_ns));
        }
    }
    let mut family = text.family("xlr_vcpu_online", Kind::Gauge, "Whether a vcpu is up: 1 or 0.");
    for domain in &sample.domains {
        for (number, vcpu) in domain.vcpus.iter().enumerate() {
            let number = number.to_string();
            let labels = Labels::of(domain);
            family.sample(&labels.with("vcpu", &number), f64::from(u8::from(vcpu.online)));
        }
    }
}

/// Something that is counted of a device, and its help.
type Count<T> = (&'static str, &'static str, fn(&T) -> f64);

fn disks(text: &mut Text, sample: &Sample) {
    const SECTOR_BYTES: f64 = 512.0;
    let counts: [Count<crate::measure::Disk>; 5] = [
        ("xlr_block_reads_total", "Requests to read.", |disk| disk.reads as f64),
        ("xlr_block_writes_total", "Requests to write.", |disk| disk.writes as f64),
        ("xlr_block_read_bytes_total", "Bytes read.", |disk| {
            disk.read_sectors as f64 * SECTOR_BYTES
        }),
        ("xlr_block_written_bytes_total", "Bytes written.", |disk| {
            disk.written_sectors as f64 * SECTOR_BYTES
        }),
        (
            "xlr_block_out_of_requests_total",
            "Requests that had to wait in dom0 for memory.",
            |disk| disk.out_of_requests as f64,
        ),
    ];
    for (name, help, value) in counts {
        let mut family = text.family(name, Kind::Counter, help);
        for domain in &sample.domains {
            for disk in &domain.disks {
                let devid = disk.devid.to_string();
                family.sample(&Labels::of(domain).with("devid", &devid), value(disk));
            }
        }
    }
}

fn nics(text: &mut Text, sample: &Sample) {
    let counts: [Count<crate::measure::Nic>; 6] = [
        ("xlr_network_received_bytes_total", "Bytes that the guest got.", |nic| {
            nic.received_bytes as f64
        }),
        ("xlr_network_sent_bytes_total", "Bytes that the guest sent.", |nic| nic.sent_bytes as f64),
        ("xlr_network_received_packets_total", "Packets that the guest got.", |nic| {
            nic.received_packets as f64
        }),
        ("xlr_network_sent_packets_total", "Packets that the guest sent.", |nic| {
            nic.sent_packets as f64
        }),
        ("xlr_network_receive_dropped_total", "Packets for the guest that were dropped.", |nic| {
            nic.receive_dropped as f64
        }),
        ("xlr_network_send_dropped_total", "Packets of the guest that were dropped.", |nic| {
            nic.send_dropped as f64
        }),
    ];
    for (name, help, value) in counts {
        let mut family = text.family(name, Kind::Counter, help);
        for domain in &sample.domains {
            for nic in &domain.nics {
                let devid = nic.devid.to_string();
                family.sample(&Labels::of(domain).with("devid", &devid), value(nic));
            }
        }
    }
}

fn daemons(text: &mut Text, sample: &Sample, own: Own) {
    let bit = |is| f64::from(u8::from(is));
    let help = "Whether xenstored answers: 1 or 0. Names are empty while it does not.";
    let up = sample.store_answered.is_some();
    text.family("xlr_store_up", Kind::Gauge, help).sample(&[], bit(up));
    let help = "How long xenstored took to connect and to tell all names.";
    let mut family = text.family("xlr_store_answer_seconds", Kind::Gauge, help);
    if let Some(took) = sample.store_answered {
        family.sample(&[], took.as_secs_f64());
    }
    let help = "Whether a daemon of xlr's runs: 1 or 0.";
    text.family("xlr_daemon_up", Kind::Gauge, help)
        .sample(&[("daemon", "supervise")], bit(own.supervise))
        .sample(&[("daemon", "consoled")], bit(own.consoled));
    let help = "Domains that were started again since the host's start.";
    text.family("xlr_restarts_total", Kind::Counter, help).sample(&[], own.restarts as f64);
    let help = "Restarts that have not come to their end: their domains are gone.";
    text.family("xlr_restarts_unfinished", Kind::Gauge, help).sample(&[], own.restarting as f64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::tests::{domain, host};
    use crate::measure::{Disk, Nic};
    use libxc_safe::ShutdownReason;
    use std::time::Instant;

    fn sample() -> Sample {
        let mut one = domain(1, Some("a \"b\"\\"));
        one.disks = vec![Disk { devid: 51712, reads: 3, read_sectors: 24, ..Disk::default() }];
        one.nics = vec![Nic { devid: 0, sent_bytes: 77, ..Nic::default() }];
        let mut two = domain(2, None);
        two.info.shutdown = Some(ShutdownReason::Crash);
        let domains = vec![one, two];
        Sample { at: Instant::now(), host: host(), domains, store_answered: None }
    }

    #[test]
    fn all_of_it_reads_back() {
        let own = Own { supervise: true, restarts: 4, ..Own::default() };
        let text = exposition(&sample(), "4.17.0", own);
        let samples = text::reader::read(&text).unwrap_or_else(|why| panic!("{why}:\n{text}"));
        let check = |name: &str, labels: &[(&str, &str)], value: f64| {
            let found = samples.iter().find(|(other, has, _)| {
                let all =
                    |(label, value): &(&str, &str)| has.get(*label).is_some_and(|has| has == value);
                other == name && labels.iter().all(all)
            });
            assert_eq!(found.map(|found| found.2), Some(value), "{name} {labels:?}");
        };
        check("xlr_domains", &[], 2.0);
        check("xlr_domain_memory_bytes", &[("domid", "1"), ("name", "a \"b\"\\")], 1048576.0);
        check("xlr_domain_cpu_seconds_total", &[("domid", "2"), ("name", "")], 1.5);
        check("xlr_domain_shutdown_reason", &[("domid", "2"), ("reason", "crash")], 1.0);
        check("xlr_domain_state", &[("domid", "1"), ("state", "blocked")], 1.0);
        check("xlr_block_read_bytes_total", &[("domid", "1"), ("devid", "51712")], 12288.0);
        check("xlr_network_sent_bytes_total", &[("domid", "1"), ("devid", "0")], 77.0);
        check("xlr_store_up", &[], 0.0);
        check("xlr_daemon_up", &[("daemon", "supervise")], 1.0);
        check("xlr_restarts_total", &[], 4.0);
        assert!(!samples.iter().any(|(name, ..)| name == "xlr_store_answer_seconds"));
    }
}
