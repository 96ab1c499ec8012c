//! What a case could leave behind in dom0, as one value that can be compared.
//!
//! Taken with the C tools, which are independent of what is tested.

use crate::console;
use crate::dom0::init;
use std::collections::BTreeMap;
use std::io;

/// The state of dom0 that must be the same before and after a case.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Snapshot {
    /// Domains by number, with their names.
    pub domains: BTreeMap<String, String>,
    /// xenstore nodes with value and permissions.
    pub nodes: BTreeMap<String, String>,
    /// Loop devices with the files behind them.
    pub loops: BTreeMap<String, String>,
    /// PCI functions that are set aside for guests, and numbers of virtual functions.
    pub pci: BTreeMap<String, String>,
    /// Network interfaces, with the bridges that they are ports of.
    #[serde(default)]
    pub interfaces: BTreeMap<String, String>,
    /// Processes of user space: command lines with how many there are.
    pub processes: BTreeMap<String, u32>,
    /// Lines of dom0's kernel log so far that tell of a crash.
    pub kernel_trouble: Vec<String>,
}

/// Takes a snapshot.
pub fn take() -> io::Result<Snapshot> {
    Ok(Snapshot {
        domains: domains()?,
        nodes: nodes()?,
        loops: loops()?,
        pci: pci()?,
        interfaces: interfaces()?,
        processes: processes()?,
        kernel_trouble: kernel_trouble()?,
    })
}

/// `lab snapshot`: prints one as JSON.
pub fn main() -> io::Result<()> {
    println!("{}", serde_json::to_string(&take()?)?);
    Ok(())
}

fn tool(program: &str, args: &[&str]) -> io::Result<String> {
    let out = init::command(program).args(args).output()?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        return Err(io::Error::other(format!("{program} {args:?}: {} {said}", out.status)));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Domains by number, with their names.
///
/// # Errors
/// Those of xl.
pub fn domains() -> io::Result<BTreeMap<String, String>> {
    let text = tool("/xen/bin/xl", &["list"])?;
    Ok(text
        .lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // Name, ID, Mem, VCPUs, State, Time: the name alone may hold blanks.
            let at = words.len().checked_sub(5)?;
            Some((words.get(at)?.to_string(), words[..at].join(" ")))
        })
        .collect())
}

/// Nodes that the daemons themselves write as they go.
const OWN_NODES: [&str; 2] = ["/tool/xenstored/", "/tool/xlr-"];

fn nodes() -> io::Result<BTreeMap<String, String>> {
    Ok(parse_nodes(&tool("/usr/bin/xenstore-ls", &["-fp"])?))
}

/// Nodes with value and permissions, from what `xenstore-ls -fp` prints.
pub fn parse_nodes(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once(" = "))
        .filter(|(path, _)| !OWN_NODES.iter().any(|own| path.starts_with(own)))
        .filter(|(path, _)| !is_guests_word(path))
        .map(|(path, value)| (path.to_string(), value.to_string()))
        .collect()
}

/// Whether a guest's kernel writes it about its own half of a device, whenever it likes. No toolstack
/// reads it, or removes it before the domain goes.
fn is_guests_word(path: &str) -> bool {
    let below = path.strip_prefix("/local/domain/").and_then(|rest| rest.split_once('/'));
    below.is_some_and(|(domid, node)| {
        domid != "0" && (node == "error" || node.starts_with("error/"))
    })
}

fn loops() -> io::Result<BTreeMap<String, String>> {
    let mut loops = BTreeMap::new();
    for entry in std::fs::read_dir("/sys/block")?.flatten() {
        let backing = entry.path().join("loop/backing_file");
        if let Ok(file) = std::fs::read_to_string(backing) {
            let name = entry.file_name().to_string_lossy().into_owned();
            loops.insert(name, file.trim().to_string());
        }
    }
    Ok(loops)
}

/// Which functions xen-pciback holds and may hold, and how many virtual functions others have.
fn pci() -> io::Result<BTreeMap<String, String>> {
    let mut pci = BTreeMap::new();
    if let Ok(slots) = std::fs::read_to_string("/sys/bus/pci/drivers/pciback/slots") {
        pci.extend(slots.lines().map(|slot| (slot.to_string(), String::from("a slot of pciback"))));
    }
    for entry in std::fs::read_dir("/sys/bus/pci/devices")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let driver = std::fs::read_link(entry.path().join("driver")).unwrap_or_default();
        if driver.ends_with("pciback") {
            pci.insert(name.clone(), String::from("held by pciback"));
        }
        let count = std::fs::read_to_string(entry.path().join("sriov_numvfs"));
        if let Some(count) = count.ok().filter(|count| count.trim() != "0") {
            pci.insert(format!("virtual functions of {name}"), count.trim().to_string());
        }
    }
    Ok(pci)
}

/// Interfaces but those of PCI devices, which come with their drivers.
fn interfaces() -> io::Result<BTreeMap<String, String>> {
    let mut interfaces = BTreeMap::new();
    for entry in std::fs::read_dir("/sys/class/net")?.flatten() {
        let bus = std::fs::read_link(entry.path().join("device/subsystem")).unwrap_or_default();
        if bus.ends_with("pci") {
            continue;
        }
        let master = std::fs::read_link(entry.path().join("master")).unwrap_or_default();
        let master = master.file_name().unwrap_or_default().to_string_lossy().into_owned();
        interfaces.insert(entry.file_name().to_string_lossy().into_owned(), master);
    }
    Ok(interfaces)
}

fn processes() -> io::Result<BTreeMap<String, u32>> {
    let own = std::process::id().to_string();
    let mut processes = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == own || !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // Kernel threads have no command line; a process may end while it is looked at.
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if !line.is_empty() {
            let text = String::from_utf8_lossy(&line).replace('\0', " ");
            *processes.entry(text.trim().to_string()).or_default() += 1;
        }
    }
    Ok(processes)
}

fn kernel_trouble() -> io::Result<Vec<String>> {
    let log = tool("/bin/busybox", &["dmesg"])?;
    Ok(log.lines().filter(|line| console::kernel_trouble(line)).map(String::from).collect())
}
