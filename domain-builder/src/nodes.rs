//! The xenstore nodes of a domain, as a list of requests.
//!
//! In: what the plan knows of the domain ([`NodePlan`]). Out: [`StoreOp`]s in the order in which
//! they are sent, with placeholders for what only a domain that exists can tell; [`resolve`] fills
//! them from [`Live`]. Pure: talks to no xenstored.
//!
//! The nodes and permissions are those that xl of Xen 4.17 leaves behind for the same
//! configuration; what differs on purpose:
//!
//! - `/libxl/D/xlr` holds this program's version and which creation made the domain: unasked, xlr
//!   acts only on domains that carry it.
//! - `/libxl/D/dm-version` is always `qemu_xen`; xl says `qemu_xen_traditional` where it finds no
//!   QEMU on the host. A PV guest has no device model either way.
//!
//! A child inherits its parent's permissions, so one `SET_PERMS` at the root of a subtree serves
//! all below it, and only what differs is set again. Nothing below these roots is visible to the
//! guest or to a daemon before the domain is introduced, so no transaction is needed.

mod channel;
#[cfg(test)]
mod tests;

use crate::spec::Channel;
use serde::{Deserialize, Serialize};
use std::fmt;
use xen_sys::types::Domid;
use xenstore::wire::Request;
use xenstore::{Path, PathError, Permissions};

/// Lines that xenconsoled keeps for a console that is not read (`LIBXL_XENCONSOLE_LIMIT`).
const CONSOLE_LIMIT_BYTES: &str = "1048576";
const CONSOLE_PROTOCOL: &str = "vt100";
/// `XenbusStateInitialising` (xenbus.h).
const STATE_INITIALISING: &str = "1";

/// Name of the marker node under `/libxl/D`.
pub const MARKER: &str = "xlr";

/// What the nodes depend on and the plan knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlan {
    /// The domain's name.
    pub name: String,
    /// The domain's UUID.
    pub uuid: [u8; 16],
    /// Path of the kernel, as the configuration names it.
    pub kernel: String,
    /// Path of the ramdisk.
    pub ramdisk: Option<String>,
    /// Kernel command line.
    pub cmdline: String,
    /// Memory at start.
    pub memory_kib: u64,
    /// Ceiling for ballooning.
    pub max_memory_kib: u64,
    /// Vcpus online at start.
    pub vcpus: u32,
    /// Vcpus that exist.
    pub max_vcpus: u32,
    /// Domain that serves the console.
    pub console_domid: u16,
    /// The domain serves devices to others.
    pub driver_domain: bool,
    /// The node for the suspend event channel is left out.
    pub no_suspend_node: bool,
    /// Consoles beyond the first.
    pub channels: Vec<Channel>,
}

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Root {
    /// `/local/domain/D`
    Domain,
    /// `/vm/UUID`
    Vm,
    /// `/libxl/D`
    Libxl,
    /// `/local/domain/B/backend/console/D/0`, with `B` the console's domain.
    ConsoleBackend,
    /// `/local/domain/0/backend/console/D/N`: dom0 serves consoles beyond the first.
    ChannelBackend(u32),
}

/// A node's path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePath {
    /// Where it begins.
    pub root: Root,
    /// The rest, without leading slash; empty for the root itself.
    pub rest: String,
}

/// A node's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// Known beforehand.
    Text(String),
    /// The domid in decimal.
    Domid,
    /// The guest's port to xenstore.
    StorePort,
    /// The xenstore ring's machine frame, in decimal.
    StoreMfn,
    /// The guest's port to its console.
    ConsolePort,
    /// The console ring's machine frame, in decimal.
    ConsoleMfn,
    /// Path of a node.
    Path(NodePath),
    /// Seconds since 1970 with two digits after the point.
    StartTime,
    /// The marker: this version, and the creation in hexadecimal digits.
    Marker(String),
}

/// Who may do what: the owner first, as xenstore orders them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// `n0,rD`: the guest reads.
    GuestReads,
    /// `nD`: the guest owns it.
    GuestOwns,
    /// `nB,rD`: the console's domain owns it, the guest reads.
    ConsoleOwns,
    /// `nD,rB`: the guest owns it, the console's domain reads.
    GuestOwnsConsoleReads,
    /// `nD,r0`: the guest owns it, dom0 as a backend reads.
    GuestOwnsDom0Reads,
}

/// One request to xenstored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreOp {
    /// Remove what an earlier domain of the same number may have left.
    Remove(NodePath),
    /// Write a node; missing parents appear with it.
    Write(NodePath, Value),
    /// Set a node's permissions.
    Permit(NodePath, Access),
}

/// What only a domain that exists can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The domid.
    pub domid: u16,
    /// The domain's UUID.
    pub uuid: [u8; 16],
    /// Domain that serves the console.
    pub console_domid: u16,
    /// The guest's port to xenstore.
    pub store_port: u32,
    /// Machine frame of the xenstore ring.
    pub store_mfn: u64,
    /// The guest's port to its console.
    pub console_port: u32,
    /// Machine frame of the console ring.
    pub console_mfn: u64,
    /// Time since 1970 in hundredths of a second.
    pub start_time_centis: u64,
    /// The domain's creation: no two have the same.
    pub generation: u64,
}

impl Live {
    /// What is left to know of a domain that shall go: rings and ports count no more.
    #[must_use]
    pub const fn of_dead(domid: u16, uuid: [u8; 16], console_domid: u16) -> Self {
        Self {
            domid,
            uuid,
            console_domid,
            store_port: 0,
            store_mfn: 0,
            console_port: 0,
            console_mfn: 0,
            start_time_centis: 0,
            generation: 0,
        }
    }
}

/// The creation that a marker's value names.
#[must_use]
pub fn generation(marker: &str) -> Option<u64> {
    u64::from_str_radix(marker.split_once(' ')?.1, 16).ok()
}

/// Text form of a UUID, lower case with dashes.
#[must_use]
pub fn uuid_text(uuid: &[u8; 16]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut text = String::with_capacity(36);
    for (at, byte) in uuid.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    text
}

/// Collects requests.
struct Ops(Vec<StoreOp>);

impl Ops {
    fn remove(&mut self, root: Root) {
        self.0.push(StoreOp::Remove(NodePath { root, rest: String::new() }));
    }

    fn write(&mut self, root: Root, rest: impl Into<String>, value: Value) {
        self.0.push(StoreOp::Write(NodePath { root, rest: rest.into() }, value));
    }

    fn text(&mut self, root: Root, rest: impl Into<String>, text: impl Into<String>) {
        self.write(root, rest, Value::Text(text.into()));
    }

    fn permit(&mut self, root: Root, rest: &str, access: Access) {
        self.0.push(StoreOp::Permit(NodePath { root, rest: rest.to_owned() }, access));
    }

    /// An empty node with permissions of its own.
    fn make(&mut self, root: Root, rest: &str, access: Access) {
        self.text(root, rest, "");
        self.permit(root, rest, access);
    }
}

/// Requests that give a new domain its name and its marker, sent as soon as the domid is known so
/// that listings show the domain under its name while its memory is being prepared.
#[must_use]
pub fn identity(plan: &NodePlan, version: &str) -> Vec<StoreOp> {
    let mut ops = Ops(Vec::new());
    // Dom0 alone may use what it makes below its own directories.
    ops.remove(Root::Libxl);
    ops.write(Root::Libxl, MARKER, Value::Marker(version.to_owned()));
    for root in [Root::Vm, Root::Domain] {
        ops.remove(root);
        ops.make(root, "", Access::GuestReads);
    }
    let vm = NodePath { root: Root::Vm, rest: String::new() };
    ops.write(Root::Domain, "vm", Value::Path(vm));
    ops.text(Root::Domain, "name", plan.name.as_str());
    ops.0
}

/// All other requests, to be sent before the introduction.
#[must_use]
pub fn contents(plan: &NodePlan) -> Vec<StoreOp> {
    let mut ops = Ops(Vec::new());
    vm_nodes(&mut ops, plan);
    domain_nodes(&mut ops, plan);
    console_nodes(&mut ops, plan);
    channel::nodes(&mut ops, &plan.channels);
    ops.text(Root::Libxl, "type", "pv");
    ops.text(Root::Libxl, "dm-version", "qemu_xen");
    ops.0
}

fn vm_nodes(ops: &mut Ops, plan: &NodePlan) {
    ops.text(Root::Vm, "uuid", uuid_text(&plan.uuid));
    ops.text(Root::Vm, "name", plan.name.as_str());
    ops.text(Root::Vm, "image/ostype", "linux");
    ops.text(Root::Vm, "image/kernel", plan.kernel.as_str());
    if let Some(ramdisk) = &plan.ramdisk {
        ops.text(Root::Vm, "image/ramdisk", ramdisk.as_str());
    }
    if !plan.cmdline.is_empty() {
        ops.text(Root::Vm, "image/cmdline", plan.cmdline.as_str());
    }
    ops.write(Root::Vm, "start_time", Value::StartTime);
}

fn domain_nodes(ops: &mut Ops, plan: &NodePlan) {
    guest_nodes(ops, plan);
    for name in ["multiprocessor-suspend", "xs_reset_watches"] {
        ops.text(Root::Domain, format!("control/platform-feature-{name}"), "1");
    }
    ops.text(Root::Domain, "memory/static-max", plan.max_memory_kib.to_string());
    ops.text(Root::Domain, "memory/target", plan.memory_kib.to_string());
    ops.text(Root::Domain, "memory/videoram", "0");
    ops.write(Root::Domain, "domid", Value::Domid);
    ops.write(Root::Domain, "store/port", Value::StorePort);
    ops.write(Root::Domain, "store/ring-ref", Value::StoreMfn);
    for vcpu in 0..plan.max_vcpus {
        let state = if vcpu < plan.vcpus { "online" } else { "offline" };
        ops.text(Root::Domain, format!("cpu/{vcpu}/availability"), state);
    }
}

/// The guest's own nodes. A new node takes its parent's permissions, so the parents are lent to the
/// guest, which cannot reach xenstored yet, while these are made: two requests a directory in place
/// of one more for every node.
fn guest_nodes(ops: &mut Ops, plan: &NodePlan) {
    if !plan.no_suspend_node {
        ops.make(Root::Domain, "device/suspend/event-channel", Access::GuestOwns);
    }
    ops.permit(Root::Domain, "", Access::GuestOwns);
    if plan.no_suspend_node {
        ops.text(Root::Domain, "device", "");
    }
    if plan.driver_domain {
        for name in ["libxl", "device-model"] {
            ops.text(Root::Domain, name, "");
        }
    }
    for name in ["data", "drivers", "feature", "attr", "error"] {
        ops.text(Root::Domain, name, "");
    }
    for name in ["shutdown", "feature-poweroff", "feature-reboot", "feature-suspend", "sysrq"] {
        ops.text(Root::Domain, format!("control/{name}"), "");
    }
    ops.permit(Root::Domain, "control", Access::GuestReads);
    ops.permit(Root::Domain, "", Access::GuestReads);
}

fn console_nodes(ops: &mut Ops, plan: &NodePlan) {
    let frontend = NodePath { root: Root::Domain, rest: "console".to_owned() };
    let backend = NodePath { root: Root::ConsoleBackend, rest: String::new() };

    ops.write(Root::Domain, "console/backend", Value::Path(backend.clone()));
    if plan.console_domid != 0 {
        // Dom0 as the console's domain gives the permissions that are inherited anyway.
        ops.permit(Root::Domain, "console", Access::ConsoleOwns);
        ops.permit(Root::Domain, "console/backend", Access::ConsoleOwns);
    }
    ops.text(Root::Domain, "console/backend-id", plan.console_domid.to_string());
    ops.permit(Root::Domain, "console/backend-id", Access::GuestOwnsConsoleReads);
    ops.text(Root::Domain, "console/limit", CONSOLE_LIMIT_BYTES);
    ops.text(Root::Domain, "console/type", "xenconsoled");
    ops.text(Root::Domain, "console/output", "pty");
    ops.text(Root::Domain, "console/tty", "");
    ops.write(Root::Domain, "console/port", Value::ConsolePort);
    ops.write(Root::Domain, "console/ring-ref", Value::ConsoleMfn);

    ops.remove(Root::ConsoleBackend);
    ops.make(Root::ConsoleBackend, "", Access::ConsoleOwns);
    backend_nodes(ops, Root::ConsoleBackend, "", &frontend);
    // libxl's own copy, which it trusts in place of the backend's.
    ops.write(Root::Libxl, "device/console/0/backend", Value::Path(backend));
    backend_nodes(ops, Root::Libxl, "device/console/0/", &frontend);
}

fn backend_nodes(ops: &mut Ops, root: Root, prefix: &str, frontend: &NodePath) {
    ops.write(root, format!("{prefix}frontend"), Value::Path(frontend.clone()));
    ops.write(root, format!("{prefix}frontend-id"), Value::Domid);
    ops.text(root, format!("{prefix}online"), "1");
    ops.text(root, format!("{prefix}state"), STATE_INITIALISING);
    ops.text(root, format!("{prefix}protocol"), CONSOLE_PROTOCOL);
}

/// Roots to remove when the domain goes, in order; the console's backend directory with its parent
/// `.../console/D`, which exists for this domain alone.
#[must_use]
pub fn removal(live: &Live) -> Vec<String> {
    let servers = [live.console_domid, 0];
    // Dom0 serves channels whoever serves the first console.
    let servers = if live.console_domid == 0 { &servers[..1] } else { &servers };
    let consoles = servers
        .iter()
        .map(|server| format!("/local/domain/{server}/backend/console/{}", live.domid));
    let own = [
        format!("/vm/{}", uuid_text(&live.uuid)),
        format!("/local/domain/{}", live.domid),
        format!("/libxl/{}", live.domid),
    ];
    consoles.chain(own).collect()
}

/// Directories that the first domain on a host brings with it. xl leaves them behind when the last
/// one goes, and so does a destroy; only a create that fails removes those it made.
pub const TOP_DIRECTORIES: [&str; 2] = ["/vm", "/libxl"];

/// Directories that a domain shares with others and that go with the last of them, deepest first.
#[must_use]
pub fn shared_parents(live: &Live) -> Vec<String> {
    let backend = format!("/local/domain/{}/backend", live.console_domid);
    vec![format!("{backend}/console"), backend]
}

/// Fills in what the domain's existence has told.
///
/// # Errors
/// [`PathError`] for a path that xenstore cannot have.
pub fn resolve(ops: &[StoreOp], live: &Live) -> Result<Vec<Request>, PathError> {
    // Most paths begin with one of these: made once for all of them.
    let roots = Roots::of(live);
    let request = |op: &StoreOp| {
        Ok(match op {
            StoreOp::Remove(path) => Request::Rm(Path::new(roots.path(path))?),
            StoreOp::Write(path, value) => Request::Write {
                path: Path::new(roots.path(path))?,
                value: value.text(live, &roots).into_bytes(),
            },
            StoreOp::Permit(path, access) => Request::SetPerms {
                path: Path::new(roots.path(path))?,
                permissions: access.permissions(live),
            },
        })
    };
    ops.iter().map(request).collect()
}

/// What paths begin with.
struct Roots {
    domain: String,
    vm: String,
    libxl: String,
    console_backend: String,
}

impl Roots {
    fn new(domid: &str, uuid: &str, console: &str) -> Self {
        Self {
            domain: format!("/local/domain/{domid}"),
            vm: format!("/vm/{uuid}"),
            libxl: format!("/libxl/{domid}"),
            console_backend: format!("/local/domain/{console}/backend/console/{domid}/0"),
        }
    }

    fn of(live: &Live) -> Self {
        let (domid, console) = (live.domid.to_string(), live.console_domid.to_string());
        Self::new(&domid, &uuid_text(&live.uuid), &console)
    }

    /// Few domains have one.
    fn channel_backend(&self, number: u32) -> String {
        let domid = self.domain.rsplit('/').next().unwrap_or_default();
        format!("/local/domain/0/backend/console/{domid}/{number}")
    }

    fn path(&self, path: &NodePath) -> String {
        let root = match path.root {
            Root::Domain => &self.domain,
            Root::Vm => &self.vm,
            Root::Libxl => &self.libxl,
            Root::ConsoleBackend => &self.console_backend,
            Root::ChannelBackend(number) => &self.channel_backend(number),
        };
        if path.rest.is_empty() {
            return root.clone();
        }
        let mut text = String::with_capacity(root.len() + 1 + path.rest.len());
        text.push_str(root);
        text.push('/');
        text.push_str(&path.rest);
        text
    }
}

impl Value {
    fn text(&self, live: &Live, roots: &Roots) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Domid => live.domid.to_string(),
            Self::StorePort => live.store_port.to_string(),
            Self::StoreMfn => live.store_mfn.to_string(),
            Self::ConsolePort => live.console_port.to_string(),
            Self::ConsoleMfn => live.console_mfn.to_string(),
            Self::Path(path) => roots.path(path),
            Self::StartTime => {
                let centis = live.start_time_centis;
                format!("{}.{:02}", centis / 100, centis % 100)
            }
            Self::Marker(version) => format!("{version} {:016x}", live.generation),
        }
    }
}

impl Access {
    fn permissions(self, live: &Live) -> Permissions {
        let (guest, console) = (Domid(live.domid), Domid(live.console_domid));
        let read = xenstore::Access::Read;
        match self {
            Self::GuestReads => Permissions::private(Domid::DOM0).grant(guest, read),
            Self::GuestOwns => Permissions::private(guest),
            Self::ConsoleOwns => Permissions::private(console).grant(guest, read),
            Self::GuestOwnsConsoleReads => Permissions::private(guest).grant(console, read),
            Self::GuestOwnsDom0Reads => Permissions::private(guest).grant(Domid::DOM0, read),
        }
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Roots::new("D", "UUID", "B").path(self))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Domid => f.write_str("<domid>"),
            Self::StorePort => f.write_str("<store port>"),
            Self::StoreMfn => f.write_str("<store mfn>"),
            Self::ConsolePort => f.write_str("<console port>"),
            Self::ConsoleMfn => f.write_str("<console mfn>"),
            Self::Path(path) => write!(f, "\"{path}\""),
            Self::StartTime => f.write_str("<time of day>"),
            Self::Marker(version) => write!(f, "\"{version} <creation>\""),
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GuestReads => "n0,rD",
            Self::GuestOwns => "nD",
            Self::ConsoleOwns => "nB,rD",
            Self::GuestOwnsConsoleReads => "nD,rB",
            Self::GuestOwnsDom0Reads => "nD,r0",
        })
    }
}

impl fmt::Display for StoreOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remove(path) => write!(f, "remove {path}"),
            Self::Write(path, value) => write!(f, "write  {path} = {value}"),
            Self::Permit(path, access) => write!(f, "permit {path} {access}"),
        }
    }
}
