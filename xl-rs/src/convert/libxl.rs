//! What `xl list -l` prints, or `xlr list -l`: libxl's JSON.
//!
//! A value is taken out of the document when it is carried over; what is in it at the end is not.

use super::{Converted, Definition, Left, Wrong};
use crate::config::device::rate::Rate;
use crate::config::device::vif::Vif;
use crate::device::vif::Mac;
use crate::template::ranges::compact;
use serde_json::{Map, Value};

type Object = Map<String, Value>;

/// The domains of a document: an array of `{ "domid", "config" }`, one of these, or a configuration.
///
/// # Errors
/// [`Wrong`]: it is no JSON, or there is no domain in it.
pub fn convert(text: &str) -> Result<Vec<Converted>, Wrong> {
    let document: Value = serde_json::from_str(text).map_err(|error| Wrong {
        line: error.line(),
        column: error.column(),
        what: error.to_string(),
    })?;
    let all = match document {
        Value::Array(all) => all,
        one => vec![one],
    };
    let mut found = Vec::new();
    for (index, one) in all.into_iter().enumerate() {
        let path = format!("[{index}]");
        let Value::Object(mut one) = one else { return Err(no_domain(&path)) };
        let (mut left, config) = match one.remove("config") {
            Some(Value::Object(config)) => (one, config),
            None if one.contains_key("c_info") => (Object::new(), one),
            _ => return Err(no_domain(&path)),
        };
        // dom0 is made by Xen, not from a configuration.
        if left.remove("domid") == Some(Value::from(0)) {
            continue;
        }
        let mut converted = domain(config, &format!("{path}.config"));
        rest(&Value::Object(left), &path, &mut converted.left);
        found.push(converted);
    }
    Ok(found)
}

fn no_domain(path: &str) -> Wrong {
    let what = format!("{path} is no domain of xl list -l: it has no config");
    Wrong { line: 1, column: 1, what }
}

fn domain(mut config: Object, path: &str) -> Converted {
    let mut out = Definition::default();
    let mut create = object(&mut config, "c_info");
    let mut build = object(&mut config, "b_info");
    let name = text(&mut create, "name").unwrap_or_default();
    out.text("name", &name);
    out.text("type", &text(&mut create, "type").unwrap_or_default());
    create_info(&mut create, &mut out);
    build_info(&mut build, &mut out);
    cpus(&mut build, &mut out);
    hardware(&mut build, &mut out);
    devices(&mut config, &mut out);
    for key in ["on_poweroff", "on_reboot", "on_watchdog", "on_crash", "on_soft_reset"] {
        // What is not written is libxl's default, which is not that of xl.cfg.
        let action = text(&mut config, key).unwrap_or_else(|| String::from("destroy"));
        out.text(
            key,
            &match action.as_str() {
                "restart_rename" => String::from("rename-restart"),
                action => action.replace('_', "-"),
            },
        );
    }
    config.insert("c_info".into(), create.into());
    config.insert("b_info".into(), build.into());
    let mut left = Vec::new();
    rest(&Value::Object(config), path, &mut left);
    Converted { name, text: out.finish(), left }
}

/// What has not been taken, each value by its path.
fn rest(value: &Value, path: &str, left: &mut Vec<Left>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| rest(value, &format!("{path}.{key}"), left));
        }
        Value::Array(items) if items.iter().any(|item| item.is_object()) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, item)| rest(item, &format!("{path}[{index}]"), left));
        }
        // A list from which all was taken, or which was empty.
        Value::Array(items) if items.is_empty() => {}
        value => left.push(Left { path: path.to_owned(), line: None, what: value.to_string() }),
    }
}

fn object(from: &mut Object, key: &str) -> Object {
    match from.remove(key) {
        Some(Value::Object(fields)) => fields,
        Some(other) => {
            from.insert(key.to_owned(), other);
            Object::new()
        }
        None => Object::new(),
    }
}

/// Takes a value if it is as wanted; it stays otherwise.
fn take<T>(from: &mut Object, key: &str, wanted: impl Fn(&Value) -> Option<T>) -> Option<T> {
    let found = from.get(key).and_then(wanted)?;
    from.remove(key);
    Some(found)
}

fn text(from: &mut Object, key: &str) -> Option<String> {
    take(from, key, |value| value.as_str().map(str::to_owned))
}

fn number(from: &mut Object, key: &str) -> Option<i64> {
    take(from, key, Value::as_i64)
}

/// libxl writes truth as a word, a truth value or a number.
fn flag(from: &mut Object, key: &str) -> Option<bool> {
    take(from, key, |value| match value {
        Value::Bool(truth) => Some(*truth),
        Value::Number(number) => Some(number.as_i64() != Some(0)),
        Value::String(word) if word == "True" => Some(true),
        Value::String(word) if word == "False" => Some(false),
        _ => None,
    })
}

/// Drops a value that says what is so anyway.
fn drop_if(from: &mut Object, key: &str, usual: impl Into<Value>) {
    if from.get(key) == Some(&usual.into()) {
        from.remove(key);
    }
}

fn create_info(info: &mut Object, out: &mut Definition) {
    if let Some(uuid) = text(info, "uuid") {
        out.text("uuid", &uuid);
    }
    if let Some(pool) = number(info, "poolid") {
        out.text("pool", &pool.to_string());
    }
    if let Some(passthrough) = text(info, "passthrough") {
        out.text("passthrough", &passthrough);
    }
    for key in ["driver_domain", "xend_suspend_evtchn_compat"] {
        if flag(info, key) == Some(true) {
            out.flag(key);
        }
    }
    // Any number, and scripts that xl or xlr run themselves.
    drop_if(info, "domid", u32::MAX);
    drop_if(info, "run_hotplug_scripts", "True");
}

fn build_info(info: &mut Object, out: &mut Definition) {
    for key in ["kernel", "ramdisk", "cmdline"] {
        if let Some(text) = text(info, key) {
            out.text(key, &text);
        }
    }
    let kib = |value: &Value| value.as_u64();
    if let Some(kib) = take(info, "target_memkb", kib) {
        out.memory("memory", kib);
    }
    if let Some(kib) = take(info, "max_memkb", kib) {
        out.memory("maxmem", kib);
    }
    if let Some(mode) = text(info, "tsc_mode") {
        out.text("tsc_mode", &mode);
    }
    for (key, ours) in [("disable_migrate", "nomigrate"), ("localtime", "localtime")] {
        if flag(info, key) == Some(true) {
            out.flag(ours);
        }
    }
    for (key, ours) in [
        ("rtc_timeoffset", "rtc_timeoffset"),
        ("max_grant_frames", "max_grant_frames"),
        ("max_maptrack_frames", "max_maptrack_frames"),
        ("max_grant_version", "max_grant_version"),
        ("event_channels", "max_event_channels"),
    ] {
        if let Some(number) = number(info, key) {
            out.number(ours, number);
        }
    }
    let mut x86 = object(info, "arch_x86");
    if flag(&mut x86, "msr_relaxed") == Some(true) {
        out.flag("msr_relaxed");
    }
    info.insert("arch_x86".into(), x86.into());
    let mut pv = object(info, "type.pv");
    if flag(&mut pv, "e820_host") == Some(true) {
        out.flag("e820_host");
    }
    info.insert("type.pv".into(), pv.into());
    // What a PV guest of xlr's has anyway.
    drop_if(info, "claim_mode", "True");
    drop_if(info, "video_memkb", 0);
}

fn cpus(info: &mut Object, out: &mut Definition) {
    let set = |value: &Value| -> Option<Vec<u32>> {
        let numbers = value.as_array()?.iter();
        numbers.map(|number| u32::try_from(number.as_u64()?).ok()).collect()
    };
    let sets = |value: &Value| value.as_array()?.iter().map(set).collect::<Option<Vec<_>>>();
    let online = take(info, "avail_vcpus", |value| {
        // Vcpus that are online are the first ones.
        set(value).filter(|set| (0..).zip(set).all(|(number, vcpu)| number == *vcpu))
    });
    let most = number(info, "max_vcpus");
    let online = online.and_then(|set| i64::try_from(set.len()).ok()).or(most);
    if let Some(online) = online {
        out.number("vcpus", online);
    }
    if let Some(most) = most.filter(|most| Some(*most) != online) {
        out.number("maxvcpus", most);
    }
    let mut placed = false;
    for (key, ours) in [("vcpu_hard_affinity", "cpus"), ("vcpu_soft_affinity", "cpus_soft")] {
        if let Some(mut sets) = take(info, key, sets) {
            // Vcpus beyond the end are free.
            while sets.last().is_some_and(Vec::is_empty) {
                sets.pop();
            }
            let list = |set: &Vec<u32>| match set[..] {
                [] => String::from("all"),
                _ => compact(set),
            };
            placed = true;
            out.texts(ours, &sets.iter().map(list).collect::<Vec<_>>());
        }
    }
    if placed {
        // It follows from these.
        drop_if(info, "numa_placement", "False");
    }
    let mut sched = object(info, "sched_params");
    for (key, ours) in [("weight", "cpu_weight"), ("cap", "cap")] {
        if let Some(number) = number(&mut sched, key) {
            out.number(ours, number);
        }
    }
    info.insert("sched_params".into(), sched.into());
    let leaves =
        |value: &Value| value.as_array()?.iter().map(cpuid_leaf).collect::<Option<Vec<_>>>();
    // A list, and since Xen 4.17 one within an object.
    let mut policy = object(info, "cpuid");
    let found = take(info, "cpuid", leaves).or_else(|| take(&mut policy, "cpuid", leaves));
    if !policy.is_empty() {
        info.insert("cpuid".into(), policy.into());
    }
    if let Some(leaves) = found {
        out.texts("cpuid", &leaves);
    }
}

/// `0x7,0x0:ebx=x1…`
fn cpuid_leaf(value: &Value) -> Option<String> {
    let mut leaf = value.as_object()?.clone();
    let number = |value: &Value| value.as_u64();
    let mut text = format!("{:#x}", take(&mut leaf, "leaf", number)?);
    if let Some(subleaf) = take(&mut leaf, "subleaf", number) {
        text.push_str(&format!(",{subleaf:#x}"));
    }
    let mut mark = ':';
    for register in ["eax", "ebx", "ecx", "edx"] {
        if let Some(bits) = self::text(&mut leaf, register) {
            text.push_str(&format!("{mark}{register}={bits}"));
            mark = ',';
        }
    }
    leaf.is_empty().then_some(text)
}

fn hardware(info: &mut Object, out: &mut Definition) {
    let pair = |value: &Value, first: &str| {
        let mut range = value.as_object()?.clone();
        let number = |value: &Value| value.as_u64();
        let first = take(&mut range, first, number)?;
        let count = take(&mut range, "number", number)?;
        first.checked_add(count)?;
        // The guest's frame is the host's.
        drop_if(&mut range, "gfn", u64::MAX);
        range.is_empty().then_some((first, count))
    };
    let ranges = |value: &Value, first: &str| {
        value.as_array()?.iter().map(|range| pair(range, first)).collect::<Option<Vec<_>>>()
    };
    if let Some(ports) = take(info, "ioports", |value| ranges(value, "first")) {
        let text = |(first, count): &(u64, u64)| {
            format!("{first:x}-{:x}", first + count.saturating_sub(1))
        };
        out.texts("ioports", &ports.iter().map(text).collect::<Vec<_>>());
    }
    if let Some(memory) = take(info, "iomem", |value| ranges(value, "start")) {
        let text = |(first, count): &(u64, u64)| format!("{first:x},{count:x}");
        out.texts("iomem", &memory.iter().map(text).collect::<Vec<_>>());
    }
    let numbers = |value: &Value| {
        value.as_array()?.iter().map(|irq| irq.as_u64().map(|irq| irq.to_string())).collect()
    };
    if let Some(irqs) = take::<Vec<String>>(info, "irqs", numbers) {
        out.texts("irqs", &irqs);
    }
}

/// Lists of devices: what is carried of each is taken out of it, and what is in it then is left.
fn devices(config: &mut Object, out: &mut Definition) {
    for (key, ours, describe) in [
        ("disks", "disk", disk as fn(&mut Object) -> Option<String>),
        ("nics", "vif", interface),
        ("pcidevs", "pci", function),
        ("channels", "channel", channel),
    ] {
        let Some(Value::Array(items)) = config.get_mut(key) else { continue };
        let described = items.iter_mut().filter_map(|item| describe(item.as_object_mut()?));
        let texts: Vec<String> = described.collect();
        out.texts(ours, &texts);
        items.retain(|item| item.as_object().is_none_or(|fields| !fields.is_empty()));
    }
}

fn disk(disk: &mut Object) -> Option<String> {
    let mut parts = Vec::new();
    let vdev = text(disk, "vdev")?;
    let target = text(disk, "pdev_path").unwrap_or_default();
    let format = text(disk, "format").unwrap_or_else(|| String::from("raw"));
    parts.push(format!("format={format},vdev={vdev}"));
    let writable = flag(disk, "readwrite").unwrap_or(false);
    parts.push(format!("access={}", if writable { "rw" } else { "ro" }));
    let is_cdrom = flag(disk, "is_cdrom") == Some(true);
    if is_cdrom {
        parts.push(String::from("devtype=cdrom"));
    }
    if let Some(script) = text(disk, "script") {
        parts.push(format!("script={script}"));
    }
    if flag(disk, "direct_io_safe") == Some(true) {
        parts.push(String::from("direct-io-safe"));
    }
    if let Some(discard) = flag(disk, "discard_enable") {
        parts.push(String::from(if discard { "discard" } else { "no-discard" }));
    }
    if flag(disk, "trusted") == Some(false) {
        parts.push(String::from("untrusted"));
    }
    // Not removable but for CD-ROMs, in this host's kernel, and not replicated: as ever.
    take(disk, "removable", |value| {
        let is_usual = [Value::from(is_cdrom), Value::from(i32::from(is_cdrom))].contains(value);
        is_usual.then_some(())
    });
    for (key, usual) in [("backend", "phy"), ("backend", "unknown"), ("specification", "xen")] {
        drop_if(disk, key, usual);
    }
    for key in ["colo_enable", "colo_restore_enable"] {
        drop_if(disk, key, "False");
    }
    parts.push(format!("target={target}"));
    Some(parts.join(","))
}

fn interface(nic: &mut Object) -> Option<String> {
    let small = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let mut vif = Vif {
        mac: take(nic, "mac", |value| Mac::parse(value.as_str()?)).map(|mac| mac.0),
        bridge: text(nic, "bridge"),
        gateway_device: text(nic, "gatewaydev"),
        ip: text(nic, "ip"),
        script: text(nic, "script"),
        interface: text(nic, "ifname"),
        model: text(nic, "model"),
        vlan: text(nic, "vlan"),
        mtu: take(nic, "mtu", |value| u16::try_from(value.as_u64()?).ok()),
        devid: take(nic, "devid", small),
        trusted: flag(nic, "trusted"),
        ..Vif::default()
    };
    let rate = nic.get("rate_bytes_per_interval").and_then(Value::as_u64);
    let interval = nic.get("rate_interval_usecs").and_then(small);
    if let (Some(bytes_per_interval), Some(interval_us)) = (rate, interval) {
        vif.rate = Some(Rate { bytes_per_interval, interval_us });
        nic.remove("rate_bytes_per_interval");
        nic.remove("rate_interval_usecs");
    }
    // A PV guest's interfaces are of this type only.
    drop_if(nic, "nictype", "vif");
    Some(vif.text())
}

fn function(device: &mut Object) -> Option<String> {
    let part = |key: &str, most: u64| match device.get(key) {
        None => Some(0),
        Some(value) => value.as_u64().filter(|number| *number <= most),
    };
    let (segment, bus, slot, function) =
        (part("domain", 0xffff)?, part("bus", 0xff)?, part("dev", 31)?, part("func", 7)?);
    for key in ["domain", "bus", "dev", "func"] {
        device.remove(key);
    }
    let mut text = format!("{segment:04x}:{bus:02x}:{slot:02x}.{function:x}");
    // The function's own bit, and a place that PV guests choose themselves.
    drop_if(device, "vfunc_mask", 1u64 << function);
    // A place is that of a device; its function is the same as here.
    let place = |value: &Value| value.as_u64().filter(|place| [0, function].contains(&(place & 7)));
    if let Some(place) = take(device, "vdevfn", place).filter(|place| *place != 0) {
        text.push_str(&format!("@{:02x}", place >> 3));
    }
    for key in ["permissive", "msitranslate", "seize", "power_mgmt"] {
        if let Some(set) = flag(device, key) {
            text.push_str(&format!(",{key}={}", u8::from(set)));
        }
    }
    if let Some(policy) = self::text(device, "rdm_policy").filter(|policy| policy != "strict") {
        text.push_str(&format!(",rdm_policy={policy}"));
    }
    Some(text)
}

fn channel(channel: &mut Object) -> Option<String> {
    let name = text(channel, "name")?;
    channel.remove("devid");
    if let Some(Value::Object(mut socket)) = channel.remove("connection.socket") {
        let path = text(&mut socket, "path")?;
        return Some(format!("name={name},connection=socket,path={path}"));
    }
    channel.remove("connection.pty")?;
    Some(format!("name={name},connection=pty"))
}
