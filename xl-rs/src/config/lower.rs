//! Settings into a [`DomainConfig`]: every key gets its meaning, defaults are xl's.
//!
//! Pure: what only the host knows (which CPUs, which pools) stays symbolic until
//! [`super::resolve`]. Which keys are read here is what [`super::keys`] calls honoured.

use super::cpulist::{self, Term};
use super::device;
use super::devices::{self, Devices};
use super::diagnostic::{Fix, Problem};
use super::hardware::hardware;
use super::keys::{self, Fate};
use super::reader::{At, Reader, as_text};
use super::settings::{Setting, Settings};
use super::store_limits::store_limits;
use super::tree::{Kind, Span, Value};
use crate::printable;
use domain_builder::spec::{
    Channel, Connection, CpuidBits, EndAction, EndActions, Hardware, SchedParams, StoreLimits,
    TscMode,
};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use uuid::Uuid;

/// xl starts a domain without `memory` with this much.
const DEFAULT_MEMORY_KIB: u64 = 32 << 10;
/// A longer name would not fit where others keep it (lock files, log names).
const LONGEST_NAME: usize = 200;

/// `cpus` or `cpus_soft`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Affinity {
    /// Not set: everywhere.
    #[default]
    Anywhere,
    /// One list for every vcpu.
    Every(At<Vec<Term>>),
    /// One list per vcpu; vcpus beyond the end are free.
    Each(Vec<At<Vec<Term>>>),
}

/// A domain as its configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainConfig {
    /// `name`.
    pub name: At<String>,
    /// `uuid`; a random one otherwise.
    pub uuid: Option<Uuid>,
    /// `kernel`.
    pub kernel: At<PathBuf>,
    /// `ramdisk`.
    pub ramdisk: Option<At<PathBuf>>,
    /// `cmdline`, or `root` and `extra` joined.
    pub cmdline: String,
    /// `memory`.
    pub memory_kib: u64,
    /// `maxmem`.
    pub max_memory_kib: u64,
    /// `vcpus`.
    pub vcpus: u32,
    /// `maxvcpus`.
    pub max_vcpus: u32,
    /// `cpus`.
    pub hard_affinity: Affinity,
    /// `cpus_soft`.
    pub soft_affinity: Affinity,
    /// `cpu_weight`, `cap`.
    pub sched: SchedParams,
    /// `pool`, by name.
    pub pool: Option<At<String>>,
    /// `tsc_mode`.
    pub tsc_mode: TscMode,
    /// `cpuid`.
    pub cpuid: Vec<CpuidBits>,
    /// `on_poweroff` and its kin.
    pub on_end: EndActions,
    /// `max_grant_frames`.
    pub max_grant_frames: Option<u32>,
    /// `max_maptrack_frames`.
    pub max_maptrack_frames: Option<u32>,
    /// `max_event_channels`.
    pub max_event_channels: Option<u32>,
    /// `max_grant_version`.
    pub max_grant_version: Option<u8>,
    /// `nomigrate`.
    pub no_migrate: bool,
    /// `msr_relaxed`.
    pub msr_relaxed: bool,
    /// `rtc_timeoffset`.
    pub time_offset_seconds: i64,
    /// `localtime`: the guest's wall clock shows the host's zone.
    pub local_time: bool,
    /// `driver_domain`.
    pub driver_domain: bool,
    /// `xend_suspend_evtchn_compat`.
    pub no_suspend_node: bool,
    /// `disk` and its kin.
    pub devices: Devices,
    /// `passthrough`, `e820_host`, `ioports`, `iomem`, `irqs`.
    pub hardware: Hardware,
    /// `channel`.
    pub channels: Vec<Channel>,
    /// `xenstore_feature_mask`, `xenstore_quota`.
    pub store_limits: StoreLimits,
}

/// Gives the settings their meaning. `None` if one of the problems is an error.
#[must_use]
pub fn lower(settings: &Settings) -> (Option<DomainConfig>, Vec<Problem>) {
    let mut reader = Reader::new(settings);
    for (name, setting) in settings {
        reader.problems.extend(descriptions(name, &setting.value));
        reader.problems.extend(verdict(name, setting));
    }
    guest_type(&mut reader);
    let name = name(&mut reader);
    let uuid = uuid(&mut reader);
    let kernel = path(&mut reader, "kernel");
    let ramdisk = path(&mut reader, "ramdisk");
    let cmdline = cmdline(&mut reader);
    let (memory_kib, max_memory_kib) = memory(&mut reader);
    let (vcpus, max_vcpus) = vcpus(&mut reader);
    let hard_affinity = affinity(&mut reader, "cpus", max_vcpus);
    let soft_affinity = affinity(&mut reader, "cpus_soft", max_vcpus);
    let sched = SchedParams {
        weight: number(&mut reader, "cpu_weight", keys::CPU_WEIGHT),
        cap: number(&mut reader, "cap", keys::CAP),
    };
    let pool = reader.filled("pool");
    let tsc_mode = tsc_mode(&mut reader);
    let cpuid = cpuid(&mut reader);
    let on_end = on_end(&mut reader);
    let max_grant_frames = number(&mut reader, "max_grant_frames", keys::GRANT_FRAMES);
    let max_maptrack_frames = number(&mut reader, "max_maptrack_frames", keys::MAPTRACK_FRAMES);
    let max_event_channels = number(&mut reader, "max_event_channels", keys::EVENT_CHANNELS);
    let max_grant_version = number(&mut reader, "max_grant_version", keys::GRANT_VERSION);
    let no_migrate = reader.flag("nomigrate");
    let msr_relaxed = reader.flag("msr_relaxed");
    let time_offset_seconds = number(&mut reader, "rtc_timeoffset", keys::TIME_OFFSET).unwrap_or(0);
    let local_time = reader.flag("localtime");
    let driver_domain = reader.flag("driver_domain");
    let no_suspend_node = reader.flag("xend_suspend_evtchn_compat");
    let mut devices = devices::read(&mut reader);
    let max_grant_frames = devices::grant_frames(&mut reader, &devices.rdma, max_grant_frames);
    let (pci, hardware) = hardware(&mut reader);
    devices.pci = pci;
    let channels = channels(&mut reader);
    let store_limits = store_limits(&mut reader);
    for (key, what) in [("name", "the domain's name"), ("kernel", "the guest's kernel")] {
        if reader.get(key).is_none() {
            let missing = Problem::missing(format!("{key} is not set"));
            let help = match misspelt(settings, key) {
                Some(slip) => format!("{slip} looks like it: write {key} = \"…\""),
                None => format!("add a line: {key} = \"…\" ({what})"),
            };
            reader.problems.push(missing.help(help));
        }
    }
    let problems = reader.problems;
    let refused =
        problems.iter().any(|problem| problem.severity == super::diagnostic::Severity::Error);
    let config = match (name, kernel) {
        (Some(name), Some(kernel)) if !refused => Some(DomainConfig {
            name,
            uuid,
            kernel,
            ramdisk,
            cmdline,
            memory_kib,
            max_memory_kib,
            vcpus,
            max_vcpus,
            hard_affinity,
            soft_affinity,
            sched,
            pool,
            tsc_mode,
            cpuid,
            on_end,
            max_grant_frames,
            max_maptrack_frames,
            max_event_channels,
            max_grant_version,
            no_migrate,
            msr_relaxed,
            time_offset_seconds,
            local_time,
            driver_domain,
            no_suspend_node,
            devices,
            hardware,
            channels,
            store_limits,
        }),
        _ => None,
    };
    (config, problems)
}

/// A key that is set, is not known, and is spelt much like this one.
fn misspelt<'a>(settings: &'a Settings, key: &str) -> Option<&'a str> {
    let unknown = settings.keys().filter(|name| keys::find(name).is_none());
    unknown.map(String::as_str).find(|name| keys::nearest(name) == Some(key))
}

/// What is wrong with the descriptions of devices in a list. They are read although some kinds are
/// refused as a whole: a mistake in one is told as such, with its place.
fn descriptions(key: &str, value: &Value) -> Vec<Problem> {
    let Kind::List(items) = &value.kind else { return Vec::new() };
    let wrong = |item: &Value| {
        let text = match as_text(item) {
            Ok(text) => text,
            Err(_) if device::check(key, "").is_none() => return None,
            Err(found) => {
                let message = format!("an item of {key} must be a string, not {found}");
                return Some(Problem::error(item.span, message, "not a string"));
            }
        };
        let error = device::check(key, text)?.err()?;
        let span = item.span.inside_literal(text.len(), error.range.start, error.range.end);
        Some(Problem::error(span, format!("{key}: {error}"), "here").help(error.help))
    };
    items.iter().filter_map(wrong).collect()
}

/// What the table of keys says to this one.
fn verdict(name: &str, setting: &Setting) -> Option<Problem> {
    let span = setting.key_span;
    match keys::find(name).map(|key| key.fate) {
        Some(Fate::Honoured | Fate::Part) => None,
        Some(Fate::Refused(_) | Fate::Ignored(_)) if asks_for_nothing(&setting.value.kind) => None,
        Some(Fate::Refused(why)) => Some(
            Problem::error(span, format!("{name} cannot be honoured: {why}"), "not supported")
                .help("remove the line, or create this domain with another toolstack"),
        ),
        Some(Fate::Ignored(why)) => {
            let problem = Problem::warning(span, format!("{name} has no effect: {why}"), "ignored");
            Some(match setting.whole_span() {
                Some(span) => problem.fix(Fix { span, text: String::new() }),
                None => problem,
            })
        }
        None => {
            let problem =
                Problem::warning(span, format!("{name} is not a key of xl.cfg"), "ignored");
            Some(match keys::nearest(name) {
                Some(known) => {
                    let fix = Fix { span, text: known.to_owned() };
                    problem.help(format!("did you mean {known}?")).fix(fix)
                }
                None => problem.help("see xl.cfg(5) for the keys there are"),
            })
        }
    }
}

fn asks_for_nothing(kind: &Kind) -> bool {
    match kind {
        Kind::String(bytes) => bytes.is_empty() || bytes == b"0",
        Kind::Number(text) => super::reader::c_number(text) == Some(0),
        Kind::List(items) => items.is_empty(),
    }
}

/// `type` and the older `builder`; xl takes any prefix of a type's name, in this order. Both at
/// once have to agree.
fn guest_type(reader: &mut Reader<'_>) {
    one_type(reader, "type", &["hvm", "pv", "pvh"]);
    one_type(reader, "builder", &["hvm", "generic", "linux"]);
}

fn one_type(reader: &mut Reader<'_>, key: &str, names: &[&str]) {
    let Some(found) = reader.filled(key) else { return };
    match names.iter().find(|name| name.starts_with(&found.value)) {
        Some(&("pv" | "generic" | "linux")) => {}
        Some(name) => {
            let message =
                format!("{} guests are not supported by this version", name.to_uppercase());
            let help =
                String::from("set type = \"pv\"; the kernel must be able to run as a PV guest");
            reader.refuse(found.span, message, "only pv is", Some(help));
        }
        None => {
            let message = format!("{key} {:?} is not known", found.value);
            reader.refuse(found.span, message, &format!("one of {}", names.join(", ")), None);
        }
    }
}

/// What keeps a text from being a domain's name.
#[must_use]
pub fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() {
        Some(String::from("a name has at least one character"))
    } else if name.len() > LONGEST_NAME {
        Some(format!("longer than {LONGEST_NAME} bytes"))
    } else if name.contains('/') {
        Some(String::from("a name must not contain /"))
    } else if name.contains(printable::steers) {
        Some(String::from("a name must not contain control characters"))
    } else {
        None
    }
}

/// What makes a text a name that is better not given.
#[must_use]
pub fn name_warning(name: &str) -> Option<&'static str> {
    let digits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some("a name of digits only is taken for a domid by every command")
}

fn name(reader: &mut Reader<'_>) -> Option<At<String>> {
    let name = reader.filled("name")?;
    if let Some(wrong) = name_problem(&name.value) {
        let help = String::from("letters, digits, - and . make a good name");
        reader.refuse(name.span, String::from("this name cannot be used"), &wrong, Some(help));
        return None;
    }
    if let Some(message) = name_warning(&name.value) {
        let warning = Problem::warning(name.span, message, "looks like a domid");
        reader.problems.push(warning.help("put a letter in front"));
    }
    Some(name)
}

fn uuid(reader: &mut Reader<'_>) -> Option<Uuid> {
    let text = reader.filled("uuid")?;
    let uuid = Uuid::try_parse(&text.value).ok();
    if uuid.is_none() {
        let help = String::from("write xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, as uuidgen prints it");
        reader.refuse(text.span, String::from("uuid is not a UUID"), "not a UUID", Some(help));
    }
    uuid
}

fn path(reader: &mut Reader<'_>, key: &str) -> Option<At<PathBuf>> {
    // An empty ramdisk is how templates say that there is none.
    let text = if key == "ramdisk" {
        reader.text(key).filter(|text| !text.value.is_empty())
    } else {
        reader.filled(key)
    }?;
    Some(At { value: PathBuf::from(text.value), span: text.span })
}

fn cmdline(reader: &mut Reader<'_>) -> String {
    let cmdline = reader.text("cmdline");
    let root = reader.text("root");
    let extra = reader.text("extra");
    if let Some(cmdline) = cmdline {
        for (key, other) in [("root", root), ("extra", extra)] {
            if let Some(other) = other {
                let message = format!("{key} has no effect beside cmdline");
                let warning = Problem::warning(other.span, message, "ignored");
                reader.problems.push(warning.help("write everything into cmdline"));
            }
        }
        return cmdline.value;
    }
    match (root, extra) {
        (Some(root), Some(extra)) => format!("root={} {}", root.value, extra.value),
        (Some(root), None) => format!("root={}", root.value),
        (None, Some(extra)) => extra.value,
        (None, None) => String::new(),
    }
}

/// (`memory`, `maxmem`), each falling back to the other.
fn memory(reader: &mut Reader<'_>) -> (u64, u64) {
    let memory = reader.memory_kib("memory", keys::MEMORY_KIB);
    let most = reader.memory_kib("maxmem", keys::MEMORY_KIB);
    let default_kib = most.as_ref().map_or(DEFAULT_MEMORY_KIB, |most| most.value);
    if reader.get("memory").is_none() {
        let source = if most.is_some() { "what maxmem says" } else { "xl's default" };
        let message =
            format!("memory is not set: the domain gets {source}, {} MiB", default_kib >> 10);
        let severity = super::diagnostic::Severity::Warning;
        let warning = Problem { severity, ..Problem::missing(message) };
        let help = match misspelt(reader.settings(), "memory") {
            Some(slip) => format!("{slip} looks like it: write memory = 512"),
            None => String::from("add a line: memory = 512"),
        };
        reader.problems.push(warning.help(help));
    }
    let memory_kib = memory.map_or(default_kib, |memory| memory.value);
    let Some(most) = most else { return (memory_kib, memory_kib) };
    if most.value < memory_kib {
        let message = format!("maxmem is less than memory, {} MiB", memory_kib >> 10);
        let help = String::from("raise maxmem, or remove it to have it equal memory");
        reader.refuse(most.span, message, "less than memory", Some(help));
    }
    (memory_kib, most.value)
}

/// (`vcpus`, `maxvcpus`).
fn vcpus(reader: &mut Reader<'_>) -> (u32, u32) {
    let online = number(reader, "vcpus", keys::VCPUS).unwrap_or(1);
    let most = reader.number("maxvcpus", keys::VCPUS);
    let Some(most) = most else { return (online, online) };
    let span = most.span;
    let most = u32::try_from(most.value).unwrap_or(online);
    if most < online {
        let help = String::from("raise maxvcpus, or remove it to have it equal vcpus");
        let message = format!("maxvcpus is less than vcpus, {online}");
        reader.refuse(span, message, "less than vcpus", Some(help));
    }
    (online, most)
}

fn number<T: TryFrom<i64>>(
    reader: &mut Reader<'_>,
    key: &str,
    range: RangeInclusive<i64>,
) -> Option<T> {
    // Every range given here fits the type it is read into.
    T::try_from(reader.number(key, range)?.value).ok()
}

fn affinity(reader: &mut Reader<'_>, key: &str, max_vcpus: u32) -> Affinity {
    let Some((is_list, texts)) = reader.text_or_list(key) else { return Affinity::Anywhere };
    let mut lists = Vec::with_capacity(texts.len());
    for text in &texts {
        match cpulist::parse(&text.value) {
            Ok(terms) => lists.push(At { value: terms, span: text.span }),
            Err(at) => {
                let span = cpu_list_span(text, at);
                let message = format!("{key} is not a list of CPUs");
                let help =
                    "write \"0-3,^1\", \"nodes:0\", \"all\", or a list with one of these per vcpu";
                reader.refuse(span, message, "breaks here", Some(String::from(help)));
            }
        }
    }
    if !is_list {
        return lists.pop().map_or(Affinity::Anywhere, Affinity::Every);
    }
    if let Some(extra) = lists.get(max_vcpus as usize) {
        let plural = if max_vcpus == 1 { "" } else { "s" };
        let message = format!("{key} has {} entries for {max_vcpus} vcpu{plural}", lists.len());
        let warning = Problem::warning(extra.span, message, "no vcpu has this number");
        reader.problems.push(warning.help("remove the entries that are too many"));
        lists.truncate(max_vcpus as usize);
    }
    Affinity::Each(lists)
}

fn cpu_list_span(text: &At<String>, at: usize) -> Span {
    let length = text.value.len();
    text.span.inside_literal(length, at, (at + 1).min(length))
}

/// `channel`. What is wrong with one alone was told already, with its place.
fn channels(reader: &mut Reader<'_>) -> Vec<Channel> {
    let Some(setting) = reader.get("channel") else { return Vec::new() };
    let Kind::List(items) = &setting.value.kind else {
        if !asks_for_nothing(&setting.value.kind) {
            let help = Some(String::from("write channel = [ \"name=a, connection=pty\" ]"));
            let (span, message) = (setting.value.span, String::from("channel must be a list"));
            reader.refuse(span, message, "not a list", help);
        }
        return Vec::new();
    };
    let mut found: Vec<Channel> = Vec::new();
    for item in items {
        let Some(Ok(channel)) = as_text(item).ok().map(device::channel::parse) else { continue };
        let same = |other: &Channel| match (&other.connection, &channel.connection) {
            _ if other.name == channel.name => Some("name"),
            (Connection::Socket(one), Connection::Socket(two)) if one == two => Some("path"),
            _ => None,
        };
        if let Some(what) = found.iter().find_map(same) {
            let message = format!("two channels have the same {what}");
            reader.refuse(item.span, message, "here again", None);
        }
        found.push(channel);
    }
    found
}

fn tsc_mode(reader: &mut Reader<'_>) -> TscMode {
    let Some(text) = reader.text("tsc_mode") else { return TscMode::default() };
    // xl takes the number of the ABI as well as the name.
    match text.value.as_str() {
        "default" | "0" => TscMode::Default,
        "always_emulate" | "1" => TscMode::AlwaysEmulate,
        "native" | "2" => TscMode::Native,
        _ => {
            let label = "one of default, always_emulate, native";
            reader.refuse(text.span, String::from("tsc_mode is not known"), label, None);
            TscMode::default()
        }
    }
}

/// `cpuid` as a text or as a list.
fn cpuid(reader: &mut Reader<'_>) -> Vec<CpuidBits> {
    let Some((is_list, texts)) = reader.text_or_list("cpuid") else { return Vec::new() };
    let parse = if is_list { super::cpuid::parse_leaf } else { super::cpuid::parse };
    let mut all = Vec::new();
    for text in texts.iter().filter(|text| is_list || !text.value.is_empty()) {
        match parse(&text.value) {
            Ok(bits) => all.extend(bits),
            Err(error) => {
                let (start, end) = (error.range.start, error.range.end);
                let span = text.span.inside_literal(text.value.len(), start, end);
                let help = Some(error.help.to_owned());
                reader.refuse(span, format!("cpuid: {error}"), "here", help);
            }
        }
    }
    all
}

fn on_end(reader: &mut Reader<'_>) -> EndActions {
    let default = EndActions::default();
    EndActions {
        poweroff: end_action(reader, "on_poweroff", default.poweroff),
        reboot: end_action(reader, "on_reboot", default.reboot),
        crash: end_action(reader, "on_crash", default.crash),
        watchdog: end_action(reader, "on_watchdog", default.watchdog),
        soft_reset: end_action(reader, "on_soft_reset", default.soft_reset),
    }
}

/// What may be done at a domain's end, by its name.
const END_ACTIONS: &[(&str, EndAction)] = &[
    ("destroy", EndAction::Destroy),
    ("restart", EndAction::Restart),
    ("rename-restart", EndAction::RenameRestart),
    ("preserve", EndAction::Preserve),
    ("coredump-destroy", EndAction::CoredumpDestroy),
    ("coredump-restart", EndAction::CoredumpRestart),
    ("soft-reset", EndAction::SoftReset),
];

/// The name of an action.
#[must_use]
pub fn end_action_name(action: EndAction) -> &'static str {
    let name = END_ACTIONS.iter().find(|(_, known)| *known == action);
    name.map_or("destroy", |(name, _)| name)
}

fn end_action(reader: &mut Reader<'_>, key: &str, default: EndAction) -> EndAction {
    let Some(text) = reader.text(key) else { return default };
    if let Some((_, action)) = END_ACTIONS.iter().find(|(name, _)| *name == text.value) {
        return *action;
    }
    let names: Vec<&str> = END_ACTIONS.iter().map(|(name, _)| *name).collect();
    let label = format!("one of {}", names.join(", "));
    let problem = Problem::error(text.span, format!("{key} is not an action"), label);
    let distance = |name: &&str| strsim::osa_distance(name, &text.value);
    let nearest = names.iter().map(|name| (distance(name), name)).min();
    reader.problems.push(match nearest {
        Some((1..=2, name)) => {
            let fix = Fix { span: text.span, text: format!("\"{name}\"") };
            problem.help(format!("did you mean {name}?")).fix(fix)
        }
        _ => problem,
    });
    default
}
