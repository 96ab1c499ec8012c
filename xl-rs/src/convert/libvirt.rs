//! A domain's XML as libvirt has it: `virsh dumpxml`.
//!
//! Elements and attributes are marked as they are carried over; those without a mark at the end are not.
//! Neither entities nor document types are read.

use super::{Converted, Definition, Left, Wrong};
use crate::config::device::vif::Vif;
use crate::device::vif::Mac;
use roxmltree::{Document, Node, NodeId, ParsingOptions};
use std::collections::HashSet;

/// More elements than any domain has.
const MOST_NODES: u32 = 100_000;
/// More vcpus than any domain has.
const MOST_VCPUS: usize = 8192;

/// The domains of a document: `<domain>`, alone or among others in any element.
///
/// # Errors
/// [`Wrong`]: it is no XML, or there is no domain in it.
pub fn convert(text: &str) -> Result<Vec<Converted>, Wrong> {
    let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| {
        let at = error.pos();
        Wrong { line: at.row as usize, column: at.col as usize, what: error.to_string() }
    })?;
    // What others keep within a domain, in <metadata>, is theirs.
    let is_within = |node: Node<'_, '_>| node.ancestors().skip(1).any(|outer| is(outer, "domain"));
    let all = document.descendants();
    let domains = all.filter(|node| is(*node, "domain") && !is_within(*node));
    // A PCI address has a domain, too: as an attribute.
    let found: Vec<Converted> = domains.map(|node| Walk::new(node).domain()).collect();
    if found.is_empty() {
        let what = String::from("there is no <domain> in it");
        return Err(Wrong { line: 1, column: 1, what });
    }
    Ok(found)
}

/// One domain on its way.
struct Walk<'a, 'input> {
    root: Node<'a, 'input>,
    elements: HashSet<NodeId>,
    attributes: HashSet<(NodeId, &'a str)>,
    out: Definition,
    notes: Vec<Left>,
}

impl<'a, 'input> Walk<'a, 'input> {
    fn new(root: Node<'a, 'input>) -> Self {
        let (elements, attributes) = (HashSet::from([root.id()]), HashSet::new());
        Self { root, elements, attributes, out: Definition::default(), notes: Vec::new() }
    }

    fn domain(mut self) -> Converted {
        let root = self.root;
        self.attribute(root, "id");
        // Every kind of hypervisor: what matters is the kind of guest.
        self.attribute(root, "type");
        let name = self.text_of(root, "name").unwrap_or_default();
        self.out.text("name", &name);
        self.system();
        if let Some(uuid) = self.text_of(root, "uuid") {
            self.out.text("uuid", &uuid);
        }
        self.memory();
        self.vcpus();
        for key in ["on_poweroff", "on_reboot", "on_crash"] {
            if let Some(action) = self.text_of(root, key) {
                self.out.text(key, &action);
            }
        }
        self.clock();
        self.devices();
        let left = self.left();
        Converted { name, text: self.out.finish(), left }
    }

    /// The first child of this name that has no mark yet, which it gets.
    fn child(&mut self, of: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
        let free = |node: &Node<'_, '_>| is(*node, name) && !self.elements.contains(&node.id());
        let found = of.children().find(free)?;
        self.elements.insert(found.id());
        Some(found)
    }

    fn attribute(&mut self, of: Node<'a, 'input>, name: &'a str) -> Option<String> {
        let found = of.attribute(name)?.to_owned();
        self.attributes.insert((of.id(), name));
        Some(found)
    }

    /// Marks an attribute if it says what is so anyway.
    fn usual(&mut self, of: Node<'a, 'input>, name: &'a str, values: &[&str]) {
        if of.attribute(name).is_some_and(|value| values.contains(&value)) {
            self.attributes.insert((of.id(), name));
        }
    }

    fn text_of(&mut self, of: Node<'a, 'input>, name: &str) -> Option<String> {
        let found = self.child(of, name)?;
        Some(text(found))
    }

    /// Says that an element is not carried, and why. The mark keeps it from being told twice.
    fn note(&mut self, node: Node<'a, 'input>, why: &str) {
        let line = Some(line(node));
        self.notes.push(Left { path: path(node), line, what: why.to_owned() });
    }

    fn system(&mut self) {
        let root = self.root;
        let Some(system) = self.child(root, "os") else { return };
        if let Some(kind) = self.child(system, "type") {
            self.usual(kind, "arch", &["x86_64"]);
            self.usual(kind, "machine", &["xenpv"]);
            let text = text(kind);
            let ours = match text.as_str() {
                "linux" | "xen" => "pv",
                "xenpvh" => "pvh",
                other => other,
            };
            self.out.text("type", ours);
        }
        for (name, key) in [("kernel", "kernel"), ("initrd", "ramdisk"), ("cmdline", "cmdline")] {
            if let Some(text) = self.text_of(system, name) {
                self.out.text(key, &text);
            }
        }
    }

    /// An amount in KiB.
    fn amount(&mut self, name: &str) -> Option<u64> {
        let root = self.root;
        let node = self.child(root, name)?;
        let unit = self.attribute(node, "unit").unwrap_or_else(|| String::from("KiB"));
        let bytes: u64 = match unit.as_str() {
            "b" | "bytes" => 1,
            "KB" => 1000,
            "k" | "KiB" => 1 << 10,
            "MB" => 1_000_000,
            "M" | "MiB" => 1 << 20,
            "GB" => 1_000_000_000,
            "G" | "GiB" => 1 << 30,
            "TB" => 1_000_000_000_000,
            "T" | "TiB" => 1 << 40,
            _ => {
                self.note(node, "its unit is not known");
                return None;
            }
        };
        let number = text(node).parse::<u64>().ok();
        let Some(all) = number.and_then(|number| number.checked_mul(bytes)) else {
            self.note(node, "it is no amount");
            return None;
        };
        // As libvirt does: what is not whole is rounded up.
        Some(all.div_ceil(1 << 10))
    }

    fn memory(&mut self) {
        let most = self.amount("memory");
        let now = self.amount("currentMemory").or(most);
        if let Some(now) = now {
            self.out.memory("memory", now);
        }
        if let Some(most) = most.filter(|most| Some(*most) != now) {
            self.out.memory("maxmem", most);
        }
    }

    fn vcpus(&mut self) {
        let root = self.root;
        let (mut everywhere, mut all_vcpus) = (None, 0);
        if let Some(vcpu) = self.child(root, "vcpu") {
            let number = |text: String| text.parse::<i64>().ok();
            let most = number(text(vcpu));
            let current = self.attribute(vcpu, "current").map(number);
            if most.is_none() || current == Some(None) {
                self.note(vcpu, "it is no number of vcpus");
            }
            let now = current.flatten().or(most);
            all_vcpus = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(0);
            self.usual(vcpu, "placement", &["static"]);
            everywhere = self.attribute(vcpu, "cpuset");
            if let Some(now) = now {
                self.out.number("vcpus", now);
            }
            if let Some(most) = most.filter(|most| Some(*most) != now) {
                self.out.number("maxvcpus", most);
            }
        }
        let mut pins = Vec::new();
        if let Some(tune) = self.child(root, "cputune") {
            while let Some(pin) = self.child(tune, "vcpupin") {
                let vcpu = self.attribute(pin, "vcpu").and_then(|text| text.parse::<usize>().ok());
                let cpus = self.attribute(pin, "cpuset");
                match (vcpu, cpus) {
                    (Some(vcpu), Some(cpus)) if vcpu < MOST_VCPUS => pins.push((vcpu, cpus)),
                    _ => self.note(pin, "it names no vcpu and no CPUs"),
                }
            }
        }
        if let Some(last) = pins.iter().map(|(vcpu, _)| *vcpu).max() {
            // In xl.cfg vcpus beyond the end are free, in libvirt they are as the others.
            let (all, most) = match everywhere {
                Some(cpus) => (cpus, all_vcpus.min(MOST_VCPUS)),
                None => (String::from("all"), 0),
            };
            let mut lists = vec![all; most.max(last + 1)];
            for (vcpu, cpus) in pins {
                lists[vcpu] = cpus;
            }
            self.out.texts("cpus", &lists);
        } else if let Some(cpus) = everywhere {
            self.out.text("cpus", &cpus);
        }
    }

    fn clock(&mut self) {
        let root = self.root;
        let Some(clock) = self.child(root, "clock") else { return };
        match self.attribute(clock, "offset").as_deref() {
            None | Some("utc") => {
                self.usual(clock, "adjustment", &["reset", "0"]);
            }
            Some("localtime") => self.out.flag("localtime"),
            Some("variable") => {
                self.usual(clock, "basis", &["utc"]);
                let seconds = self.attribute(clock, "adjustment");
                match seconds.as_deref().unwrap_or("0").parse() {
                    Ok(seconds) => self.out.number("rtc_timeoffset", seconds),
                    Err(_) => self.note(clock, "its adjustment is no number"),
                }
            }
            Some(_) => self.note(clock, "xl.cfg has no such clock"),
        }
    }

    fn devices(&mut self) {
        let root = self.root;
        let Some(devices) = self.child(root, "devices") else { return };
        let (mut disks, mut vifs, mut functions, mut channels) = (vec![], vec![], vec![], vec![]);
        for device in devices.children().filter(Node::is_element) {
            match device.tag_name().name() {
                "disk" => disks.extend(self.disk(device)),
                "interface" => vifs.extend(self.interface(device)),
                "hostdev" => functions.extend(self.function(device)),
                "channel" => channels.extend(self.channel(device)),
                // Every guest has one of each.
                "console" => self.console(device),
                "memballoon" if device.attribute("model") == Some("xen") => {
                    self.elements.insert(device.id());
                    self.attribute(device, "model");
                }
                _ => {}
            }
        }
        self.out.texts("disk", &disks);
        self.out.texts("vif", &vifs);
        self.out.texts("pci", &functions);
        self.out.texts("channel", &channels);
    }

    fn disk(&mut self, disk: Node<'a, 'input>) -> Option<String> {
        let source = disk.children().find(|node| node.has_tag_name("source"));
        let place = match disk.attribute("type") {
            Some("file") => "file",
            Some("block") => "dev",
            _ => return None,
        };
        let target = disk.children().find(|node| node.has_tag_name("target"))?;
        let vdev = target.attribute("dev")?.to_owned();
        self.elements.insert(disk.id());
        self.attribute(disk, "type");
        self.child(disk, "target");
        self.attribute(target, "dev");
        self.usual(target, "bus", &["xen"]);
        let mut format = String::from("raw");
        if let Some(driver) = self.child(disk, "driver") {
            // Who serves it is for this host to say.
            self.usual(driver, "name", &["phy", "file", "qemu", "tap", "tap2"]);
            format = self.attribute(driver, "type").unwrap_or(format);
        }
        let path = source.and_then(|source| {
            self.child(disk, "source");
            self.attribute(source, place)
        });
        let is_cdrom = match disk.attribute("device") {
            Some("cdrom") => true,
            None | Some("disk") => false,
            // A kind that stays without a mark.
            Some(_) => return Some(format!("format={format},vdev={vdev},target={}", path?)),
        };
        self.attribute(disk, "device");
        let read_only = self.child(disk, "readonly").is_some() || is_cdrom;
        let access = if read_only { "ro" } else { "rw" };
        let kind = if is_cdrom { ",devtype=cdrom" } else { "" };
        let path = path.unwrap_or_default();
        Some(format!("format={format},vdev={vdev},access={access}{kind},target={path}"))
    }

    fn interface(&mut self, interface: Node<'a, 'input>) -> Option<String> {
        if !matches!(interface.attribute("type"), Some("bridge" | "ethernet")) {
            return None;
        }
        self.elements.insert(interface.id());
        self.attribute(interface, "type");
        let mut vif = Vif::default();
        if let Some(mac) = self.child(interface, "mac") {
            let address = self.attribute(mac, "address");
            vif.mac = address.as_deref().and_then(Mac::parse).map(|mac| mac.0);
            if vif.mac.is_none() {
                self.note(mac, "it is no address");
            }
        }
        if let Some(source) = self.child(interface, "source") {
            vif.bridge = self.attribute(source, "bridge");
        }
        if let Some(script) = self.child(interface, "script") {
            vif.script = self.attribute(script, "path");
        }
        if let Some(target) = self.child(interface, "target") {
            // One that libvirt has made up is of one run only.
            vif.interface = self.attribute(target, "dev").filter(|name| !name.starts_with("vif"));
        }
        if let Some(ip) = self.child(interface, "ip") {
            vif.ip = self.attribute(ip, "address");
        }
        if let Some(mtu) = self.child(interface, "mtu") {
            vif.mtu = self.attribute(mtu, "size").and_then(|size| size.parse().ok());
            if vif.mtu.is_none() {
                self.note(mtu, "it is no size of a packet");
            }
        }
        Some(vif.text())
    }

    fn function(&mut self, device: Node<'a, 'input>) -> Option<String> {
        if device.attribute("type") != Some("pci") {
            return None;
        }
        let source = device.children().find(|node| node.has_tag_name("source"))?;
        let address = source.children().find(|node| node.has_tag_name("address"))?;
        let number = |name: &str| {
            let text = address.attribute(name).unwrap_or("0");
            match text.strip_prefix("0x") {
                Some(digits) => u16::from_str_radix(digits, 16).ok(),
                None => text.parse().ok(),
            }
        };
        let (segment, bus) = (number("domain")?, number("bus")?);
        let (slot, function) = (number("slot")?, number("function")?);
        self.elements.extend([device.id(), source.id(), address.id()]);
        for name in ["domain", "bus", "slot", "function", "type"] {
            self.attribute(address, name);
        }
        self.attribute(device, "type");
        self.usual(device, "mode", &["subsystem"]);
        let seize = match self.attribute(device, "managed").as_deref() {
            Some("yes") => ",seize=1",
            _ => "",
        };
        Some(format!("{segment:04x}:{bus:02x}:{slot:02x}.{function:x}{seize}"))
    }

    fn channel(&mut self, channel: Node<'a, 'input>) -> Option<String> {
        let target = channel.children().find(|node| node.has_tag_name("target"))?;
        if target.attribute("type") != Some("xen") {
            return None;
        }
        let name = target.attribute("name")?;
        let connection = match channel.attribute("type")? {
            "pty" => String::from("connection=pty"),
            "unix" => {
                let source = channel.children().find(|node| node.has_tag_name("source"))?;
                let path = source.attribute("path")?;
                self.elements.insert(source.id());
                self.attribute(source, "path");
                self.usual(source, "mode", &["bind"]);
                format!("connection=socket,path={path}")
            }
            _ => return None,
        };
        self.elements.extend([channel.id(), target.id()]);
        self.attribute(channel, "type");
        self.attribute(target, "type");
        self.attribute(target, "name");
        Some(format!("name={name},{connection}"))
    }

    /// The first console, which every guest has.
    fn console(&mut self, console: Node<'a, 'input>) {
        let target = console.children().find(|node| node.has_tag_name("target"));
        let is_first = target.is_none_or(|target| {
            target.attribute("type") == Some("xen")
                && matches!(target.attribute("port"), None | Some("0"))
        });
        if console.attribute("type") == Some("pty") && is_first {
            self.elements.insert(console.id());
            // The terminal is of one run only.
            self.attribute(console, "type");
            self.attribute(console, "tty");
            if let Some(source) = self.child(console, "source") {
                self.attribute(source, "path");
            }
            if let Some(target) = self.child(console, "target") {
                self.attribute(target, "type");
                self.attribute(target, "port");
            }
        }
    }

    /// Every element and attribute without a mark, in the order of the document.
    fn left(&mut self) -> Vec<Left> {
        let mut left = std::mem::take(&mut self.notes);
        for node in self.root.descendants().filter(Node::is_element) {
            if !self.elements.contains(&node.id()) {
                left.push(Left { path: path(node), line: Some(line(node)), what: text(node) });
                continue;
            }
            for attribute in node.attributes() {
                if !self.attributes.contains(&(node.id(), attribute.name())) {
                    let path = format!("{}/@{}", path(node), attribute.name());
                    let what = attribute.value().to_owned();
                    left.push(Left { path, line: Some(line(node)), what });
                }
            }
        }
        left.sort_by_key(|left| left.line);
        left
    }
}

/// Whether it is libvirt's element of this name, not one of the same name in a namespace.
fn is(node: Node<'_, '_>, name: &str) -> bool {
    node.has_tag_name(name) && node.tag_name().namespace().is_none()
}

/// All of an element's own text, also behind comments and other elements.
fn text(node: Node<'_, '_>) -> String {
    let texts: String =
        node.children().filter(Node::is_text).filter_map(|part| part.text()).collect();
    texts.trim().to_owned()
}

fn line(node: Node<'_, '_>) -> usize {
    node.document().text_pos_at(node.range().start).row as usize
}

fn path(node: Node<'_, '_>) -> String {
    let mut names: Vec<&str> =
        node.ancestors().filter(Node::is_element).map(|node| node.tag_name().name()).collect();
    names.reverse();
    names.join("/")
}
