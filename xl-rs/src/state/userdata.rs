//! The files that libxl keeps of every domain, so that xl can list and destroy what xlr made.
//!
//! In: the specification of a domain. Out: `/var/lib/xen/userdata-d.DOMID.UUID.libxl-json`, which
//! `xl list -l` needs. `xl destroy` removes it with the domain, and so does xlr. Values are written
//! out even where xl leaves its default away (`max_vcpus`, memory), and a clock in local time as the
//! offset that it has; all else is as xl writes it for the same configuration. `config-update` of
//! either tool leaves a new configuration beside it, as `.xl`, for the next reboot.

use super::{StateError, make_directory, names, read, remove, replace};
use crate::config::device::vif::Vif;
use crate::config::devices::Devices;
use crate::device::disk::DiskSpec;
use crate::device::pci::Listed;
use crate::device::vdev;
use crate::device::vif::Nic;
use crate::device::vif::nic::nics;
use crate::pci::Bdf;
use domain_builder::spec::{
    Channel, Connection, DomainSpec, EndAction, Hardware, HostRange, TscMode,
};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use uuid::Uuid;
use xen_sys::types::Domid;

/// Where libxl keeps them.
const DIRECTORY: &str = "/var/lib/xen";

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The configuration as libxl has it.
    Json,
    /// The text of a configuration that `config-update` left.
    Text,
}

fn path(domid: u16, uuid: Uuid, kind: Kind) -> PathBuf {
    let name = match kind {
        Kind::Json => "libxl-json",
        Kind::Text => "xl",
    };
    Path::new(DIRECTORY).join(format!("userdata-d.{domid}.{uuid}.{name}"))
}

/// Writes one. Without the directory there is no libxl on this host, and nothing to write for it;
/// what `config-update` leaves is for xlr as well, and makes the directory.
///
/// # Errors
/// [`StateError::Io`].
pub fn write(domid: u16, uuid: Uuid, kind: Kind, bytes: &[u8]) -> Result<(), StateError> {
    let directory = Path::new(DIRECTORY);
    match kind {
        Kind::Json if !directory.is_dir() => return Ok(()),
        Kind::Json => {}
        Kind::Text => make_directory(directory)?,
    }
    replace(&path(domid, uuid, kind), bytes)
}

/// Reads one; none if there is none.
///
/// # Errors
/// [`StateError::Io`].
pub fn load(domid: u16, uuid: Uuid, kind: Kind) -> Result<Option<Vec<u8>>, StateError> {
    Ok(read(&path(domid, uuid, kind))?.filter(|bytes| !bytes.is_empty()))
}

/// Removes one.
///
/// # Errors
/// [`StateError::Io`].
pub fn unlink(domid: u16, uuid: Uuid, kind: Kind) -> Result<(), StateError> {
    remove(&path(domid, uuid, kind))
}

/// Removes every file that is kept of a domain, whoever wrote it.
///
/// # Errors
/// [`StateError::Io`].
pub fn remove_all(domid: u16, uuid: Uuid) -> Result<(), StateError> {
    let directory = Path::new(DIRECTORY);
    let middle = format!(".{domid}.{uuid}.");
    for name in names(directory)? {
        let rest = name.strip_prefix("userdata-").and_then(|rest| rest.get(1..));
        if rest.is_some_and(|rest| rest.starts_with(&middle)) {
            remove(&directory.join(&name))?;
        }
    }
    Ok(())
}

/// Keeps the configuration on under another UUID.
///
/// # Errors
/// [`StateError::Io`].
pub fn rename(domid: u16, old: Uuid, new: Uuid) -> Result<(), StateError> {
    let from = path(domid, old, Kind::Json);
    match std::fs::rename(&from, path(domid, new, Kind::Json)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StateError::io("rename", &from, error))
        }
        _ => unlink(domid, old, Kind::Text),
    }
}

/// The domain's configuration in libxl's form; ends with a NUL, as libxl reads it as a C string.
/// `placed` says that the configuration places each vcpu, so that libxl would choose no NUMA node.
#[must_use]
pub fn libxl_json(spec: &DomainSpec, placed: bool, devices: &Devices) -> Vec<u8> {
    let mut domain = Map::new();
    let mut info = create_info(spec);
    // With PCI devices libxl takes it for granted.
    if spec.hardware.passthrough && devices.pci.is_empty() {
        info["passthrough"] = "enabled".into();
    }
    domain.insert("c_info".into(), info);
    domain.insert("b_info".into(), Value::Object(build_info(spec, placed)));
    if !devices.disks.is_empty() {
        let disks: Vec<Value> = devices.disks.iter().map(disk).collect();
        domain.insert("disks".into(), disks.into());
    }
    if !spec.channels.is_empty() {
        domain.insert("channels".into(), (1..).zip(&spec.channels).map(channel).collect());
    }
    if !devices.vifs.is_empty() {
        let nics = nics(&devices.vifs, Uuid::from_bytes(spec.uuid));
        let nics: Vec<Value> = devices.vifs.iter().zip(&nics).map(interface).collect();
        domain.insert("nics".into(), nics.into());
    }
    let ends = &spec.on_end;
    for (key, action) in [
        ("on_poweroff", ends.poweroff),
        ("on_reboot", ends.reboot),
        ("on_watchdog", ends.watchdog),
        ("on_crash", ends.crash),
        ("on_soft_reset", ends.soft_reset),
    ] {
        // What libxl takes for granted it does not write.
        if action != EndAction::Destroy {
            domain.insert(key.into(), action_name(action).into());
        }
    }
    text(&domain)
}

fn channel((number, channel): (u32, &Channel)) -> Value {
    let mut found = json!({ "devid": number, "name": channel.name });
    match &channel.connection {
        Connection::Pty => found["connection.pty"] = json!({}),
        Connection::Socket(path) => {
            found["connection.socket"] = json!({ "path": path.to_string_lossy() });
        }
    }
    found
}

fn create_info(spec: &DomainSpec) -> Value {
    let mut info = json!({
        "type": "pv",
        "name": spec.name,
        // The domid that was asked for: any.
        "domid": u32::MAX,
        "uuid": Uuid::from_bytes(spec.uuid).to_string(),
        "run_hotplug_scripts": "True",
    });
    if spec.cpupool != 0 {
        info["poolid"] = spec.cpupool.into();
    }
    for (key, wanted) in [
        ("driver_domain", spec.driver_domain),
        ("xend_suspend_evtchn_compat", spec.no_suspend_node),
    ] {
        if wanted {
            info[key] = "True".into();
        }
    }
    info
}

fn build_info(spec: &DomainSpec, placed: bool) -> Map<String, Value> {
    let mut info = Map::new();
    let mut set = |key: &str, value: Value| {
        info.insert(key.into(), value);
    };
    set("max_vcpus", spec.max_vcpus.into());
    set("avail_vcpus", (0..spec.vcpus).collect());
    let (hard, soft) = affinity(spec);
    for (key, list) in [("vcpu_hard_affinity", hard), ("vcpu_soft_affinity", soft)] {
        if !list.is_empty() {
            set(key, list.into());
        }
    }
    if placed {
        set("numa_placement", "False".into());
    }
    set("max_memkb", spec.max_memory_kib.into());
    set("target_memkb", spec.memory_kib.into());
    set("video_memkb", 0.into());
    let mut sched = Map::new();
    for (key, value) in [("weight", spec.sched.weight), ("cap", spec.sched.cap)] {
        if let Some(value) = value {
            sched.insert(key.into(), value.into());
        }
    }
    set("sched_params", sched.into());
    match spec.tsc_mode {
        TscMode::Default => {}
        TscMode::AlwaysEmulate => set("tsc_mode", "always_emulate".into()),
        TscMode::Native => set("tsc_mode", "native".into()),
    }
    set("claim_mode", "True".into());
    if spec.no_migrate {
        set("disable_migrate", "True".into());
    }
    if spec.time_offset_seconds != 0 {
        set("rtc_timeoffset", spec.time_offset_seconds.into());
    }
    if let Some(version) = spec.max_grant_version {
        set("max_grant_version", version.into());
    }
    for (key, value) in [
        ("max_grant_frames", spec.max_grant_frames),
        ("max_maptrack_frames", spec.max_maptrack_frames),
        ("event_channels", spec.max_event_channels),
    ] {
        if let Some(value) = value {
            set(key, value.into());
        }
    }
    hardware(&spec.hardware, &mut set);
    set("kernel", spec.kernel.to_string_lossy().into());
    if !spec.cmdline.is_empty() {
        set("cmdline", spec.cmdline.as_str().into());
    }
    if let Some(ramdisk) = &spec.ramdisk {
        set("ramdisk", ramdisk.to_string_lossy().into());
    }
    set("type.pv", if spec.hardware.host_map { json!({ "e820_host": "True" }) } else { json!({}) });
    set("arch_arm", json!({}));
    let relaxed = if spec.msr_relaxed { "True" } else { "False" };
    set("arch_x86", json!({ "msr_relaxed": relaxed }));
    info
}

/// What of the host's hardware the domain may reach.
fn hardware(hardware: &Hardware, set: &mut impl FnMut(&str, Value)) {
    let ranges = |ranges: &[HostRange], first: &str| -> Value {
        ranges.iter().map(|range| json!({ first: range.first, "number": range.count })).collect()
    };
    if !hardware.ports.is_empty() {
        set("ioports", ranges(&hardware.ports, "first"));
    }
    if !hardware.irqs.is_empty() {
        set("irqs", hardware.irqs.clone().into());
    }
    if !hardware.memory.is_empty() {
        set("iomem", ranges(&hardware.memory, "start"));
    }
}

/// Notes a disk that was attached to a domain, where libxl's file says what the domain has.
///
/// # Errors
/// [`StateError`].
pub fn add_disk(domid: Domid, uuid: Uuid, spec: &DiskSpec) -> Result<(), StateError> {
    change(domid, uuid, "disks", |disks| {
        disks.retain(|disk| !is_disk(disk, spec.devid));
        let mut disk = disk(spec);
        // libxl writes this one for those of a configuration only.
        disk.as_object_mut().map(|disk| disk.remove("colo_restore_enable"));
        disks.push(disk);
    })
}

/// Notes that a disk was detached.
///
/// # Errors
/// [`StateError`].
pub fn remove_disk(domid: Domid, uuid: Uuid, devid: u32) -> Result<(), StateError> {
    change(domid, uuid, "disks", |disks| disks.retain(|disk| !is_disk(disk, devid)))
}

fn is_disk(disk: &Value, devid: u32) -> bool {
    disk["vdev"].as_str().and_then(vdev::number) == Some(devid)
}

/// Notes that an interface was attached.
///
/// # Errors
/// [`StateError`].
pub fn add_interface(domid: Domid, uuid: Uuid, vif: &Vif, nic: &Nic) -> Result<(), StateError> {
    change(domid, uuid, "nics", |nics| {
        nics.retain(|other| !is_interface(other, nic.devid));
        nics.push(interface((vif, nic)));
    })
}

/// Notes that an interface was detached.
///
/// # Errors
/// [`StateError`].
pub fn remove_interface(domid: Domid, uuid: Uuid, devid: u32) -> Result<(), StateError> {
    change(domid, uuid, "nics", |nics| nics.retain(|nic| !is_interface(nic, devid)))
}

/// Notes which PCI devices a domain has now.
///
/// # Errors
/// [`StateError`].
pub fn set_pci(domid: Domid, uuid: Uuid, listed: &[Listed]) -> Result<(), StateError> {
    change(domid, uuid, "pcidevs", |devices| *devices = listed.iter().map(function).collect())
}

/// A PCI device by its function. What libxl takes for granted it does not write.
fn function(listed: &Listed) -> Value {
    let Bdf { segment, bus, device, function } = listed.bdf;
    let mut found = json!({ "vfunc_mask": 1 << function });
    for (key, number) in [
        ("func", function.into()),
        ("dev", device.into()),
        ("bus", bus.into()),
        ("domain", segment),
        ("vdevfn", listed.virtual_devfn.unwrap_or(0).into()),
    ] {
        if number != 0 {
            found[key] = number.into();
        }
    }
    for key in ["msitranslate", "power_mgmt", "permissive"] {
        if listed.has(&format!("{key}=1")) {
            found[key] = true.into();
        }
    }
    let relaxed = listed.has("rdm_policy=relaxed");
    found["rdm_policy"] = if relaxed { "relaxed" } else { "strict" }.into();
    if let Some(name) = &listed.name {
        found["name"] = name.as_str().into();
    }
    found
}

fn is_interface(nic: &Value, devid: u32) -> bool {
    // libxl leaves a number of 0 out.
    nic["devid"].as_u64().unwrap_or(0) == u64::from(devid)
}

/// Changes a list of devices in libxl's file; without one there is nothing to change.
fn change(
    domid: Domid,
    uuid: Uuid,
    key: &str,
    change: impl FnOnce(&mut Vec<Value>),
) -> Result<(), StateError> {
    let Some(bytes) = load(domid.0, uuid, Kind::Json)? else { return Ok(()) };
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let damaged = |why: &str| StateError::Damaged {
        path: path(domid.0, uuid, Kind::Json),
        why: why.to_owned(),
    };
    let mut config: Map<String, Value> =
        serde_json::from_slice(&bytes[..end]).map_err(|error| damaged(&error.to_string()))?;
    let list = config.entry(key).or_insert_with(|| json!([]));
    let list = list.as_array_mut().ok_or_else(|| damaged("its devices are no list"))?;
    change(list);
    if list.is_empty() {
        config.remove(key);
    }
    write(domid.0, uuid, Kind::Json, &text(&config))
}

/// libxl's form: a text that ends with a NUL.
fn text(config: &Map<String, Value>) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(config).unwrap_or_default();
    bytes.extend_from_slice(b"\n\0");
    bytes
}

/// A disk. What libxl takes for granted it does not write.
fn disk(spec: &DiskSpec) -> Value {
    let mut disk = json!({ "pdev_path": spec.target, "vdev": spec.vdev, "format": "raw" });
    if spec.has_own_script() {
        disk["script"] = spec.script.as_str().into();
    }
    for (key, set) in
        [("removable", spec.cdrom), ("readwrite", !spec.read_only), ("is_cdrom", spec.cdrom)]
    {
        if set {
            disk[key] = 1.into();
        }
    }
    if spec.direct_io_safe {
        disk["direct_io_safe"] = true.into();
    }
    if spec.discard == spec.read_only {
        disk["discard_enable"] = if spec.discard { "True" } else { "False" }.into();
    }
    if !spec.trusted {
        disk["trusted"] = "False".into();
    }
    disk["colo_restore_enable"] = "False".into();
    disk
}

/// An interface: what was written, and what libxl fills in beside that.
fn interface((vif, nic): (&Vif, &Nic)) -> Value {
    let mut interface = json!({ "devid": nic.devid, "mac": nic.mac.to_string(), "nictype": "vif" });
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            interface[key] = value;
        }
    };
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    set("bridge", text(&vif.bridge));
    set("ip", text(&vif.ip));
    set("model", text(&vif.model));
    set("ifname", text(&vif.interface));
    set("gatewaydev", text(&vif.gateway_device));
    set("vlan", text(&vif.vlan));
    if vif.script.is_some() {
        set("script", Some(nic.mode.script().to_string_lossy().into()));
    }
    set("mtu", nic.mtu.map(Value::from));
    set("rate_bytes_per_interval", nic.rate.map(|rate| rate.bytes_per_interval.into()));
    set("rate_interval_usecs", nic.rate.map(|rate| rate.interval_us.into()));
    let trusted = vif.trusted.map(|trusted| if trusted { "True" } else { "False" });
    set("trusted", trusted.map(Value::from));
    interface
}

/// Hard and soft affinity, a list of CPUs per vcpu; up to the last vcpu that has one.
fn affinity(spec: &DomainSpec) -> (Vec<Value>, Vec<Value>) {
    let list = |set: Option<&domain_builder::spec::CpuSet>| {
        set.map(|set| Value::from(set.0.clone())).unwrap_or_else(|| json!([]))
    };
    let mut lists = (Vec::new(), Vec::new());
    if spec.affinity.iter().any(|vcpu| vcpu.hard.is_some()) {
        lists.0 = spec.affinity.iter().map(|vcpu| list(vcpu.hard.as_ref())).collect();
    }
    if spec.affinity.iter().any(|vcpu| vcpu.soft.is_some()) {
        lists.1 = spec.affinity.iter().map(|vcpu| list(vcpu.soft.as_ref())).collect();
    }
    lists
}

fn action_name(action: EndAction) -> &'static str {
    match action {
        EndAction::Destroy => "destroy",
        EndAction::Restart => "restart",
        EndAction::RenameRestart => "restart_rename",
        EndAction::Preserve => "preserve",
        EndAction::CoredumpDestroy => "coredump_destroy",
        EndAction::CoredumpRestart => "coredump_restart",
        EndAction::SoftReset => "soft_reset",
    }
}
