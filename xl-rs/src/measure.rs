//! What the domains of this host use: one look at all of them.
//!
//! In: the hypervisor, the store for names, and what dom0's kernel counts for the backends of disks and
//! interfaces (`/sys/bus/xen-backend`). Out: a [`Sample`]. A domain or device that goes meanwhile is
//! left out. Never asks a guest anything.

use crate::commands::error::CommandError;
use libxc_safe::{DomainInfo, PhysInfo, VcpuInfo, Xen};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use xen_sys::types::Domid;
use xenstore::client::{Client, Nodes as _};

/// Where dom0's kernel lists backends.
const BACKENDS: &str = "/sys/bus/xen-backend/devices";
/// How long the store may take for a request: what is measured is told without names then.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// What dom0's kernel has counted for a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Its number.
    pub devid: u32,
    /// Requests that had to wait because there was no memory for them.
    pub out_of_requests: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Sectors of 512 bytes that were read.
    pub read_sectors: u64,
    /// Sectors of 512 bytes that were written.
    pub written_sectors: u64,
}

/// What dom0's kernel has counted for an interface, as the guest sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nic {
    /// Its number.
    pub devid: u32,
    /// Bytes that the guest got.
    pub received_bytes: u64,
    /// Bytes that it sent.
    pub sent_bytes: u64,
    /// Packets that it got.
    pub received_packets: u64,
    /// Packets that it sent.
    pub sent_packets: u64,
    /// Packets for it that were dropped.
    pub receive_dropped: u64,
    /// Packets of its that were dropped.
    pub send_dropped: u64,
}

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// What the hypervisor says.
    pub info: DomainInfo,
    /// Its name, where the store could be asked and has one.
    pub name: Option<String>,
    /// Its vcpus, by number.
    pub vcpus: Vec<VcpuInfo>,
    /// Its disks, by number.
    pub disks: Vec<Disk>,
    /// Its interfaces, by number.
    pub nics: Vec<Nic>,
}

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// The host.
    pub host: PhysInfo,
    /// Domains by number.
    pub domains: Vec<Measured>,
    /// How long the store took to tell the names; none if it did not.
    pub store_answered: Option<Duration>,
}

impl Sample {
    /// Looks at everything.
    ///
    /// # Errors
    /// The hypervisor's. That there is no store is none.
    pub fn take(xen: &Xen) -> Result<Self, CommandError> {
        let host = xen.physinfo()?;
        let at = Instant::now();
        let infos = xen.domains()?;
        let domids: Vec<Domid> = infos.iter().map(|info| info.domid).collect();
        let asked = Instant::now();
        let names = names(&domids);
        let store_answered = names.is_some().then(|| asked.elapsed());
        let mut names = names.unwrap_or_default().into_iter();
        let mut devices = devices(Path::new(BACKENDS));
        let mut domains = Vec::with_capacity(infos.len());
        for info in infos {
            let name = names.next().flatten();
            let Some(vcpus) = vcpus(xen, &info)? else { continue };
            let (disks, nics) = devices.remove(&info.domid.0).unwrap_or_default();
            domains.push(Measured { info, name, vcpus, disks, nics });
        }
        Ok(Self { at, host, domains, store_answered })
    }
}

/// None of a domain that is gone.
fn vcpus(xen: &Xen, info: &DomainInfo) -> Result<Option<Vec<VcpuInfo>>, CommandError> {
    let mut vcpus = Vec::new();
    for vcpu in 0..info.max_vcpu_id.map_or(0, |highest| highest.saturating_add(1)) {
        match xen.vcpu_info(info.domid, vcpu) {
            Ok(info) => vcpus.push(info),
            Err(error) if error.is_no_such_domain() => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(vcpus))
}

/// The names, in one round trip; none if the store cannot be asked.
fn names(domids: &[Domid]) -> Option<Vec<Option<String>>> {
    let mut store = Client::connect().ok()?;
    store.set_request_timeout(Some(STORE_PATIENCE));
    let names = store.read_each(domids.iter().map(|domid| format!("/local/domain/{domid}/name")));
    let text = |name: Option<Vec<u8>>| name.map(|name| String::from_utf8_lossy(&name).into_owned());
    Some(names.ok()?.into_iter().map(text).collect())
}

/// Disks and interfaces, by domain.
fn devices(backends: &Path) -> BTreeMap<u16, (Vec<Disk>, Vec<Nic>)> {
    let mut devices: BTreeMap<u16, (Vec<Disk>, Vec<Nic>)> = BTreeMap::new();
    // A kernel without backends has no such folder.
    let Ok(entries) = std::fs::read_dir(backends) else { return devices };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some((kind, domid, devid)) = name.to_str().and_then(device_of) else { continue };
        let (disks, nics) = devices.entry(domid).or_default();
        match kind {
            "vbd" => disks.push(disk(&entry.path().join("statistics"), devid)),
            "vif" => nics.push(nic(&entry.path().join("net"), devid)),
            _ => {}
        }
    }
    for (disks, nics) in devices.values_mut() {
        disks.sort_by_key(|disk| disk.devid);
        nics.sort_by_key(|nic| nic.devid);
    }
    devices
}

/// `KIND-DOMID-DEVID`.
fn device_of(name: &str) -> Option<(&str, u16, u32)> {
    let mut parts = name.splitn(3, '-');
    let (kind, domid, devid) = (parts.next()?, parts.next()?, parts.next()?);
    Some((kind, domid.parse().ok()?, devid.parse().ok()?))
}

/// A number in a file; 0 if there is no such file, as before a device is connected.
fn counter(folder: &Path, name: &str) -> u64 {
    let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn disk(statistics: &Path, devid: u32) -> Disk {
    let count = |name| counter(statistics, name);
    Disk {
        devid,
        out_of_requests: count("oo_req"),
        reads: count("rd_req"),
        writes: count("wr_req"),
        read_sectors: count("rd_sect"),
        written_sectors: count("wr_sect"),
    }
}

/// The device's folder `net` holds one of the interface's name. What dom0's end receives the guest has
/// sent.
fn nic(net: &Path, devid: u32) -> Nic {
    let first = std::fs::read_dir(net).ok().and_then(|mut entries| entries.next()?.ok());
    let Some(interface) = first else { return Nic { devid, ..Nic::default() } };
    let statistics = interface.path().join("statistics");
    let count = |name| counter(&statistics, name);
    Nic {
        devid,
        received_bytes: count("tx_bytes"),
        sent_bytes: count("rx_bytes"),
        received_packets: count("tx_packets"),
        sent_packets: count("rx_packets"),
        receive_dropped: count("tx_dropped"),
        send_dropped: count("rx_dropped"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use libxc_safe::{Capabilities, Gfn};

    /// A domain as it could be.
    pub fn domain(domid: u16, name: Option<&str>) -> Measured {
        let info = DomainInfo {
            domid: Domid(domid),
            uuid: [domid as u8; 16],
            dying: false,
            shutdown: None,
            paused: false,
            blocked: true,
            running: false,
            debugged: false,
            hvm: false,
            hap: false,
            xenstore_domain: false,
            tot_pages: 256,
            max_pages: 512,
            outstanding_pages: 0,
            shared_pages: 0,
            paged_pages: 0,
            shared_info_frame: Gfn(1),
            cpu_time_ns: 1_500_000_000,
            online_vcpus: 1,
            max_vcpu_id: Some(0),
            ssidref: 0,
            cpupool: 0,
            gpaddr_bits: None,
            emulation_flags: 0,
        };
        let vcpu = VcpuInfo {
            online: true,
            blocked: true,
            running: false,
            cpu_time_ns: 1_500_000_000,
            cpu: 0,
        };
        let name = name.map(str::to_owned);
        Measured { info, name, vcpus: vec![vcpu], disks: Vec::new(), nics: Vec::new() }
    }

    /// A host as it could be.
    pub fn host() -> PhysInfo {
        PhysInfo {
            threads_per_core: 1,
            cores_per_socket: 1,
            cpus: 2,
            max_cpu_id: 1,
            nodes: 1,
            max_node_id: 0,
            cpu_khz: 1,
            capabilities: Capabilities { bits: 0 },
            arch_capabilities: 0,
            total_pages: 1024,
            free_pages: 512,
            scrub_pages: 0,
            outstanding_pages: 0,
            max_mfn: 1024,
            hw_cap: [0; 8],
        }
    }

    /// Three domains.
    pub fn sample() -> Sample {
        let mut zero = domain(0, Some("Domain-0"));
        (zero.info.running, zero.info.blocked) = (true, false);
        zero.info.max_pages = u64::from(u32::MAX);
        let mut one = domain(1, Some("a-very-long-name"));
        one.disks = vec![Disk { devid: 51712, reads: 3, ..Disk::default() }];
        one.nics = vec![Nic::default()];
        let mut two = domain(2, Some("third"));
        two.info.tot_pages = 300;
        let domains = vec![zero, one, two];
        Sample { at: Instant::now(), host: host(), domains, store_answered: None }
    }

    #[test]
    fn what_the_kernel_counts() {
        let root = std::env::temp_dir().join(format!("xlr-measure-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("vbd-3-51728/statistics/rd_req", "7\n");
        write("vbd-3-51712/statistics/wr_sect", "9\n");
        write("vif-3-0/net/vif3.0/statistics/rx_bytes", "100\n");
        write("vif-3-0/net/vif3.0/statistics/tx_bytes", "200\n");
        write("vif-4-1/state", "1\n");
        write("console-3-0/state", "4\n");
        write("vbd-x-1/state", "4\n");
        let found = devices(&root);
        let (disks, nics) = &found[&3];
        assert_eq!(disks.iter().map(|disk| disk.devid).collect::<Vec<_>>(), [51712, 51728]);
        assert_eq!((disks[1].reads, disks[0].written_sectors), (7, 9));
        assert_eq!((nics[0].sent_bytes, nics[0].received_bytes), (100, 200));
        assert_eq!(found[&4].1, [Nic { devid: 1, ..Nic::default() }]);
        assert_eq!(found.len(), 2);
        assert!(devices(&root.join("none")).is_empty());
        std::fs::remove_dir_all(&root).unwrap();
    }
}
