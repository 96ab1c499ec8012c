//! `info`: facts about the host and its hypervisor.

use super::error::CommandError;
use super::{print, print_json};
use crate::cli::InfoArgs;
use crate::output::facts::Facts;
use libxc_safe::{CpuPlace, NumaNode, PciAddress, Xen};
use serde_json::{Value, json};
use std::io::ErrorKind;

/// Where dom0's kernel lists PCI devices.
const PCI: &str = "/sys/bus/pci/devices";

/// Runs the command.
pub fn run(arguments: &InfoArgs) -> Result<(), CommandError> {
    let facts = gather(&Xen::open()?, arguments)?;
    match &arguments.key {
        Some(key) => {
            let value =
                facts.get(key).ok_or_else(|| CommandError::NoSuchFact { key: key.clone() })?;
            print(format!("{value}\n").as_bytes())
        }
        None if arguments.json => print_json(&facts.to_json()),
        None => print(facts.to_text().as_bytes()),
    }
}

/// All facts, topology included, as text.
pub fn text(xen: &Xen) -> Result<String, CommandError> {
    Ok(gather(xen, &InfoArgs { numa: true, ..InfoArgs::default() })?.to_text())
}

fn gather(xen: &Xen, arguments: &InfoArgs) -> Result<Facts, CommandError> {
    let mut facts = Facts::default();
    let system = rustix::system::uname();
    facts.add("host", system.nodename().to_string_lossy());
    facts.add("release", system.release().to_string_lossy());
    facts.add("version", system.version().to_string_lossy());
    facts.add("machine", system.machine().to_string_lossy());
    machine(xen, &mut facts)?;
    if arguments.numa {
        topology(xen, &mut facts, arguments.json)?;
    }
    hypervisor(xen, &mut facts)?;
    Ok(facts)
}

fn machine(xen: &Xen, facts: &mut Facts) -> Result<(), CommandError> {
    let info = xen.physinfo()?;
    let mib = |pages: u64| pages / 256;
    let words: Vec<String> = info.hw_cap.iter().map(|word| format!("{word:08x}")).collect();
    let names: Vec<&str> = info.capabilities.names().collect();
    facts.add("nr_cpus", info.cpus);
    facts.add("max_cpu_id", info.max_cpu_id);
    facts.add("nr_nodes", info.nodes);
    facts.add("cores_per_socket", info.cores_per_socket);
    facts.add("threads_per_core", info.threads_per_core);
    facts.add("cpu_mhz", format!("{}.{:03}", info.cpu_khz / 1000, info.cpu_khz % 1000));
    facts.add("hw_caps", words.join(":"));
    facts.add("virt_caps", names.join(" "));
    facts.add("total_memory", mib(info.total_pages));
    facts.add("free_memory", mib(info.free_pages.saturating_sub(info.outstanding_pages)));
    let shared = xen.shared_memory()?;
    facts.add("sharing_freed_memory", mib(shared.freed_pages));
    facts.add("sharing_used_memory", mib(shared.used_pages));
    facts.add("outstanding_claims", mib(info.outstanding_pages));
    facts.add("free_cpus", xen.free_cpus()?.len());
    Ok(())
}

fn hypervisor(xen: &Xen, facts: &mut Facts) -> Result<(), CommandError> {
    let version = xen.version()?;
    // The pool of domain 0 exists on every host, and its scheduler is the one xl names.
    let scheduler = xen.cpupools()?.first().map_or("unknown", |pool| pool.scheduler.name());
    let build_id: String = version.build_id.iter().map(|byte| format!("{byte:02x}")).collect();
    facts.add("xen_major", version.major);
    facts.add("xen_minor", version.minor);
    facts.add("xen_extra", version.extra.clone());
    facts.add("xen_version", version.to_string());
    facts.add("xen_caps", version.capabilities.join(" "));
    facts.add("xen_scheduler", scheduler);
    facts.add("xen_pagesize", version.page_bytes);
    facts.add("platform_params", format!("virt_start={:#x}", version.virt_start));
    facts.add("xen_changeset", version.changeset);
    facts.add("xen_commandline", version.command_line);
    facts.add("cc_compiler", version.compiler);
    facts.add("cc_compile_by", version.compiled_by);
    facts.add("cc_compile_domain", version.compile_domain);
    facts.add("cc_compile_date", version.compile_date);
    facts.add("build_id", build_id);
    facts.add("xend_config_format", 4);
    facts.add("xlr_domctl", format!("{:#x}", xen.domctl_revision().raw()));
    facts.add("xlr_sysctl", format!("{:#x}", xen.sysctl_revision().raw()));
    Ok(())
}

/// A number, or a dash where Xen does not know it.
fn number(value: Option<u32>) -> String {
    value.map_or_else(|| String::from("-"), |value| value.to_string())
}

fn topology(xen: &Xen, facts: &mut Facts, as_json: bool) -> Result<(), CommandError> {
    let cpus = xen.cpu_topology()?;
    let present: Vec<(u32, CpuPlace)> =
        (0u32..).zip(cpus).filter_map(|(cpu, place)| place.map(|place| (cpu, place))).collect();
    let devices = pci_devices()?;
    let addresses: Vec<PciAddress> = devices.iter().map(|(_, address)| *address).collect();
    let near = xen.pci_nodes(&addresses)?;
    // xl tells of no device whose node is not known.
    let devices: Vec<(String, u32)> = devices
        .into_iter()
        .zip(near)
        .filter_map(|((name, _), node)| node.map(|node| (name, node)))
        .collect();
    let nodes = xen.numa_nodes()?;
    if as_json {
        json_topology(facts, present, devices, nodes);
    } else {
        text_topology(facts, present, devices, nodes);
    }
    Ok(())
}

fn json_topology(
    facts: &mut Facts,
    cpus: Vec<(u32, CpuPlace)>,
    devices: Vec<(String, u32)>,
    nodes: Vec<NumaNode>,
) {
    let cpu = |(cpu, place): (u32, CpuPlace)| json!({"cpu": cpu, "core": place.core, "socket": place.socket, "node": place.node});
    let node = |node: NumaNode| {
        json!({
            "node": node.id, "memory_bytes": node.size_bytes,
            "free_bytes": node.free_bytes, "distances": node.distances,
        })
    };
    let device = |(name, node): (String, u32)| json!({ "device": name, "node": node });
    facts.add("cpu_topology", cpus.into_iter().map(cpu).collect::<Vec<Value>>());
    facts.add("device_topology", devices.into_iter().map(device).collect::<Vec<Value>>());
    facts.add("numa_info", nodes.into_iter().map(node).collect::<Vec<Value>>());
}

fn text_topology(
    facts: &mut Facts,
    cpus: Vec<(u32, CpuPlace)>,
    devices: Vec<(String, u32)>,
    nodes: Vec<NumaNode>,
) {
    let mut table = String::from("\ncpu:    core    socket     node");
    // Nor of a CPU whose core is not known: the only one of an AMD machine.
    for (cpu, place) in cpus.into_iter().filter(|(_, place)| place.core.is_some()) {
        let [core, socket, node] = [place.core, place.socket, place.node].map(number);
        table.push_str(&format!("\n{cpu:>3}:    {core:>4}     {socket:>4}     {node:>4}"));
    }
    facts.add("cpu_topology", table);
    let mut table = String::from("\ndevice           node");
    for (name, node) in &devices {
        table.push_str(&format!("\n{name}      {node}"));
    }
    if devices.is_empty() {
        table.push_str("\nNo device topology data available");
    }
    facts.add("device topology", table);
    let mut table = String::from("\nnode:    memsize    memfree    distances");
    for node in nodes {
        let distances: Vec<String> =
            node.distances.iter().map(|distance| number(*distance)).collect();
        let (size, free) = (node.size_bytes >> 20, node.free_bytes >> 20);
        table.push_str(&format!(
            "\n{:>4}:    {size:>6}     {free:>6}      {}",
            node.id,
            distances.join(",")
        ));
    }
    facts.add("numa_info", table);
}

/// The functions of PCI devices that dom0's kernel knows, by name.
fn pci_devices() -> Result<Vec<(String, PciAddress)>, CommandError> {
    let failed = |source| CommandError::Read { path: PCI.into(), source };
    let entries = match std::fs::read_dir(PCI) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut devices = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        // What is named otherwise is no function of a device, and nothing that Xen could know.
        if let Some(address) = pci_address(&name) {
            devices.push((name, address));
        }
    }
    devices.sort();
    Ok(devices)
}

/// `SSSS:BB:DD.F`, as the kernel names a function of a device.
fn pci_address(name: &str) -> Option<PciAddress> {
    let (segment, rest) = name.split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let (device, function) =
        (u8::from_str_radix(device, 16).ok()?, u8::from_str_radix(function, 16).ok()?);
    (device < 32 && function < 8).then_some(PciAddress {
        segment: u16::from_str_radix(segment, 16).ok()?,
        bus: u8::from_str_radix(bus, 16).ok()?,
        device_function: device << 3 | function,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pci_devices() {
        for (name, address) in [
            ("0000:00:1f.2", Some((0, 0, 0xfa))),
            ("0001:a0:00.7", Some((1, 0xa0, 7))),
            ("0000:00:20.0", None),
            ("0000:00:1f.8", None),
            ("10000:00:1f.2", None),
            ("00:1f.2", None),
            ("", None),
        ] {
            let found = pci_address(name).map(|a| (a.segment, a.bus, a.device_function));
            assert_eq!(found, address, "{name:?}");
        }
    }
}
