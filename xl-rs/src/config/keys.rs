//! Every key of xl.cfg, and what becomes of it here: the one table.
//!
//! Keys of the strings inside a list (`disk.vdev`) stand in it too, under the key that holds the
//! list. [`super::lower`] reads every key marked [`Fate::Honoured`]; a test holds the two together.

use Fate::{Honoured, Ignored, Part, Refused};
use Form::{Any, Filled, Flag, Items, Memory, Number, OneOf, Text, TextOrTexts, Texts};
use std::fmt::Write as _;
use std::ops::RangeInclusive;

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does what xl's manual says.
    Honoured,
    /// A configuration that asks for it is refused, for this reason. Asking for nothing (an empty
    /// list, an empty string, 0) is fine.
    Refused(&'static str),
    /// It has no effect, for this reason, and the user is told so.
    Ignored(&'static str),
    /// It stands inside the strings of another key and shares that key's fate.
    Part,
}

/// What a key takes. [`super::lower`] reads within the same limits; [`super::schema`] tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A text, which may be empty.
    Text,
    /// A text that is not empty.
    Filled,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A whole number within limits.
    Number(&'static RangeInclusive<i64>),
    /// A number of which only 0 counts as no.
    Flag,
    /// An amount of memory: a number of MiB, or a text with a unit; the limits are in KiB.
    Memory(&'static RangeInclusive<u64>),
    /// A text, or a list of texts.
    TextOrTexts,
    /// A list of texts; an empty text is an empty list.
    Texts,
    /// A list of texts and nothing else.
    Items,
    /// Nothing is known about it, as it has no effect.
    Any,
}

/// From 1 MiB to 16 TiB, where x86 Xen ends.
pub const MEMORY_KIB: RangeInclusive<u64> = 1 << 10..=16 << 30;
/// Up to Xen's limit for PV guests (`MAX_VIRT_CPUS`).
pub const VCPUS: RangeInclusive<i64> = 1..=8192;
/// `cpu_weight`.
pub const CPU_WEIGHT: RangeInclusive<i64> = 1..=65535;
/// `cap`.
pub const CAP: RangeInclusive<i64> = 0..=65535;
/// `max_grant_frames`.
pub const GRANT_FRAMES: RangeInclusive<i64> = 1..=0x7fff_ffff;
/// `max_maptrack_frames`.
pub const MAPTRACK_FRAMES: RangeInclusive<i64> = 0..=0x7fff_ffff;
/// `max_event_channels`.
pub const EVENT_CHANNELS: RangeInclusive<i64> = 1..=0x1_ffff;
/// `max_grant_version`: without grants a PV guest would have neither console nor xenstore.
pub const GRANT_VERSION: RangeInclusive<i64> = 1..=2;
/// `rtc_timeoffset`.
pub const TIME_OFFSET: RangeInclusive<i64> = i32::MIN as i64..=i32::MAX as i64;
/// `xenstore_feature_mask`.
pub const FEATURE_MASK: RangeInclusive<i64> = 0..=u32::MAX as i64;

/// What may be done at a domain's end.
const END_ACTIONS: &[&str] = &[
    "destroy",
    "restart",
    "rename-restart",
    "preserve",
    "coredump-destroy",
    "coredump-restart",
    "soft-reset",
];
const TSC_MODES: &[&str] = &["default", "always_emulate", "native", "0", "1", "2"];
const PASSTHROUGH: &[&str] = &["disabled", "enabled", "sync_pt", "default", "unknown", "0"];

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key, or `key.part`; a trailing `*` covers a family of parts.
    pub name: &'static str,
    /// What becomes of it.
    pub fate: Fate,
    /// What it takes.
    pub form: Form,
    /// What it is, in a few words; empty where it has no effect.
    pub what: &'static str,
}

const HVM: &str = "it concerns HVM and PVH guests only";
const DEVICE_MODEL: &str = "there is no device model";
const DISPLAY: &str = "there is no framebuffer";
const ARM: &str = "it concerns Arm only";
const LEGACY: &str = "nothing has used it for years";
const SCHEDULER: &str = "the credit schedulers have no such parameter";
const NO_BOOTLOADER: &str = "there is no bootloader";
const NO_SHIM: &str = "there is no PV shim";
const DEVICE: &str = "devices of this kind are not supported by this version of xlr";
const XSM: &str = "labels count under a Flask policy (XSM) only, and xlr makes no domain under one";

const fn key(name: &'static str, fate: Fate) -> Key {
    Key { name, fate, form: Any, what: "" }
}

const fn takes(name: &'static str, form: Form, what: &'static str) -> Key {
    Key { name, fate: Honoured, form, what }
}

/// Keys that xl does not know, each with what it means.
pub const OWN: &[(&str, &str)] = &[(
    "rdma",
    "`rdma = [ \"backend-device=rxe0, pages=8192\" ]` gives InfiniBand devices to a guest, served by \
     `xlr-ibd` in dom0. `backend-device` is dom0's device; `pages` (default 1024) how many pages the \
     guest may share at once, for which `max_grant_frames` is raised; `qps`, `cqs`, `mrs` and `contexts` limit \
     queue pairs, completion queues, memory regions and programs; `devid` is its number. Policy, as lists \
     separated by blanks, where a list that is not there allows all: `gids` (indices of the GID \
     table), `pkeys` (`0xffff`), `destinations` (GIDs or IPv4 addresses with the bits that count: \
     `10.9.0.0/24 fe80::/64`).",
)];

/// Every key of xl.cfg, in the order of xl's manual, and after `pci` those of [`OWN`].
pub const KEYS: &[Key] = &[
    takes("name", Filled, "the domain's name, which no other domain has"),
    takes("type", OneOf(&["pv"]), "kind of guest"),
    takes("builder", OneOf(&["generic", "linux"]), "kind of guest, as it was written once"),
    takes("uuid", Filled, "the domain's UUID; a random one if it is left out"),
    takes("pool", Filled, "cpupool, by name or number"),
    takes("vcpus", Number(&VCPUS), "vcpus that are online at the start"),
    takes("maxvcpus", Number(&VCPUS), "vcpus that there can be; vcpus if it is left out"),
    takes(
        "cpus",
        TextOrTexts,
        "CPUs that the vcpus run on: \"0-3,^1\", \"nodes:0\", \"all\", or a list with one of these per vcpu",
    ),
    takes("cpus_soft", TextOrTexts, "CPUs that the vcpus should run on, written as for cpus"),
    takes(
        "cpu_weight",
        Number(&CPU_WEIGHT),
        "share of CPU time beside other domains; 256 if it is left out",
    ),
    takes("cap", Number(&CAP), "most CPU time in hundredths of a CPU; 0 for no limit"),
    key("period", Ignored(SCHEDULER)),
    key("slice", Ignored(SCHEDULER)),
    key("latency", Ignored(SCHEDULER)),
    key("extratime", Ignored(SCHEDULER)),
    takes("memory", Memory(&MEMORY_KIB), "memory at the start, in MiB or with a unit (\"4G\")"),
    takes(
        "maxmem",
        Memory(&MEMORY_KIB),
        "most memory that the domain can have later; memory if it is left out",
    ),
    key("vnuma", Refused("Xen offers virtual NUMA to HVM and PVH guests only")),
    takes("on_poweroff", OneOf(END_ACTIONS), "what is done when it has powered off"),
    takes("on_reboot", OneOf(END_ACTIONS), "what is done when it reboots"),
    takes("on_watchdog", OneOf(END_ACTIONS), "what is done when its watchdog has ended it"),
    takes("on_crash", OneOf(END_ACTIONS), "what is done when it has crashed"),
    takes("on_soft_reset", OneOf(END_ACTIONS), "what is done at a soft reset"),
    takes("kernel", Filled, "path of the guest's kernel in dom0"),
    takes("ramdisk", Text, "path of the guest's initial ramdisk in dom0"),
    takes("cmdline", Text, "the kernel's command line; root and extra have no effect beside it"),
    takes("root", Text, "what becomes root=... on the kernel's command line"),
    takes("extra", Text, "what follows root=... on the kernel's command line"),
    key("firmware", Refused("only direct kernel boot is supported: set kernel")),
    key("bootloader", Refused("only direct kernel boot is supported: set kernel")),
    key("bootloader_args", Ignored(NO_BOOTLOADER)),
    key("bootloader_restrict", Ignored(NO_BOOTLOADER)),
    key("bootloader_user", Ignored(NO_BOOTLOADER)),
    key("pvshim", Refused("PV shims are not supported")),
    key("pvshim_path", Ignored(NO_SHIM)),
    key("pvshim_cmdline", Ignored(NO_SHIM)),
    key("pvshim_extra", Ignored(NO_SHIM)),
    key("seclabel", Ignored(XSM)),
    key("init_seclabel", Ignored(XSM)),
    takes("max_grant_frames", Number(&GRANT_FRAMES), "most frames of the domain's grant table"),
    takes(
        "max_maptrack_frames",
        Number(&MAPTRACK_FRAMES),
        "most frames of the domain's maptrack table",
    ),
    takes(
        "max_grant_version",
        Number(&GRANT_VERSION),
        "highest version of grant tables that it may use",
    ),
    takes("max_event_channels", Number(&EVENT_CHANNELS), "highest event channel that it may have"),
    takes("nomigrate", Flag, "it cannot be migrated, and may see an invariant TSC"),
    takes("tsc_mode", OneOf(TSC_MODES), "how it reads the time stamp counter"),
    takes(
        "cpuid",
        TextOrTexts,
        "bits of CPUID that it is shown: \"host,avx=0\", or a list of leaves",
    ),
    takes("driver_domain", Flag, "it may serve devices to other domains"),
    key("device_tree", Ignored(ARM)),
    takes("passthrough", OneOf(PASSTHROUGH), "whether devices can be assigned to it"),
    takes("xend_suspend_evtchn_compat", Flag, "no node for the suspend event channel"),
    key("vmtrace_buf_kb", Refused("Xen traces HVM and PVH guests only")),
    key("vpmu", Ignored(ARM)),
    takes(
        "xenstore_feature_mask",
        Number(&FEATURE_MASK),
        "features of the store that it is offered",
    ),
    takes("xenstore_quota", Items, "its limits in the store: \"nodes=2000\""),
    takes("disk", Texts, "disks: \"/srv/web.img,raw,xvda,rw\""),
    takes("vif", Texts, "network interfaces: \"bridge=xenbr0,mac=00:16:3e:00:00:01\""),
    key("vif2", Ignored(LEGACY)),
    key("p9", Refused(DEVICE)),
    key("vtpm", Refused(DEVICE)),
    key("pvcalls", Refused(DEVICE)),
    key("vfb", Refused(DEVICE)),
    takes("channel", Texts, "channels: \"name=org.example.agent,connection=pty\""),
    key("rdm", Refused(DEVICE)),
    key("rdm_mem_boundary", Ignored(HVM)),
    key("usbctrl", Refused(DEVICE)),
    key("usbdev", Refused(DEVICE)),
    takes("pci", Texts, "PCI devices: \"0000:03:00.0,permissive=0\""),
    takes("rdma", Texts, "InfiniBand devices: \"backend-device=rxe0,pages=8192\""),
    takes("pci_permissive", Flag, "default of permissive for pci"),
    takes("pci_msitranslate", Flag, "default of msitranslate for pci"),
    takes("pci_seize", Flag, "default of seize for pci"),
    takes("pci_power_mgmt", Flag, "default of power_mgmt for pci"),
    takes("e820_host", Flag, "its memory map has the host's holes"),
    takes("ioports", Texts, "I/O ports that it may use: \"2f8-2ff\""),
    takes("iomem", Texts, "pages of I/O memory that it may map: \"fed9f,1\""),
    takes("irqs", Texts, "interrupts of the host that it may have"),
    key("dtdev", Ignored(ARM)),
    key("gfx_passthru", Ignored(HVM)),
    key("vdispl", Refused(DEVICE)),
    key("vsnd", Refused(DEVICE)),
    key("vkb", Refused(DEVICE)),
    key("vkb_device", Ignored(HVM)),
    key("virtio", Ignored(ARM)),
    key("dm_restrict", Ignored(DEVICE_MODEL)),
    key("device_model_user", Ignored(DEVICE_MODEL)),
    key("tee", Ignored(ARM)),
    key("hap", Ignored(HVM)),
    key("oos", Ignored(HVM)),
    key("shadow_memory", Ignored(HVM)),
    key("nestedhvm", Ignored(HVM)),
    key("timer_mode", Refused(HVM)),
    key("boot", Ignored(HVM)),
    key("hdtype", Ignored(HVM)),
    key("bios", Ignored(HVM)),
    key("bios_path_override", Ignored(HVM)),
    key("firmware_override", Ignored(HVM)),
    key("pae", Ignored(HVM)),
    key("acpi", Ignored(HVM)),
    key("acpi_s3", Ignored(HVM)),
    key("acpi_s4", Ignored(HVM)),
    key("acpi_laptop_slate", Ignored(HVM)),
    key("apic", Ignored(HVM)),
    key("nx", Ignored(HVM)),
    key("hpet", Ignored(HVM)),
    key("hvm_pirq", Ignored(HVM)),
    key("altp2m", Ignored(HVM)),
    key("altp2mhvm", Ignored(HVM)),
    key("altp2m_count", Ignored(HVM)),
    key("acpi_firmware", Ignored(HVM)),
    key("smbios_firmware", Ignored(HVM)),
    key("smbios", Ignored(HVM)),
    key("ms_vm_genid", Ignored(HVM)),
    takes("localtime", Flag, "its clock shows the host's time zone"),
    takes("rtc_timeoffset", Number(&TIME_OFFSET), "seconds that its clock is ahead"),
    key("vpt_align", Ignored(HVM)),
    key("mmio_hole", Ignored(HVM)),
    key("xen_platform_pci", Ignored(HVM)),
    key("xen_platform_pci_bar_uc", Ignored(HVM)),
    key("viridian", Ignored(HVM)),
    key("videoram", Ignored(HVM)),
    key("stdvga", Ignored(HVM)),
    key("vga", Ignored(HVM)),
    key("vnc", Refused(DEVICE)),
    key("vnclisten", Ignored(DISPLAY)),
    key("vncdisplay", Ignored(DISPLAY)),
    key("vncunused", Ignored(DISPLAY)),
    key("vncpasswd", Ignored(DISPLAY)),
    key("vncviewer", Ignored(LEGACY)),
    key("keymap", Ignored(DISPLAY)),
    key("sdl", Ignored(DISPLAY)),
    key("opengl", Ignored(DISPLAY)),
    key("display", Ignored(DISPLAY)),
    key("xauthority", Ignored(DISPLAY)),
    key("nographic", Ignored(HVM)),
    key("spice", Ignored(HVM)),
    key("spicehost", Ignored(HVM)),
    key("spiceport", Ignored(HVM)),
    key("spicetls_port", Ignored(HVM)),
    key("spicedisable_ticketing", Ignored(HVM)),
    key("spicepasswd", Ignored(HVM)),
    key("spiceagent_mouse", Ignored(HVM)),
    key("spicevdagent", Ignored(HVM)),
    key("spice_clipboard_sharing", Ignored(HVM)),
    key("spiceusbredirection", Ignored(HVM)),
    key("spice_image_compression", Ignored(HVM)),
    key("spice_streaming_video", Ignored(HVM)),
    key("serial", Ignored(HVM)),
    key("soundhw", Ignored(HVM)),
    key("usb", Ignored(HVM)),
    key("usbversion", Ignored(HVM)),
    key("usbdevice", Ignored(HVM)),
    key("vendor_device", Ignored(HVM)),
    key("device_model", Ignored(LEGACY)),
    key("device_model_version", Ignored(DEVICE_MODEL)),
    key("device_model_override", Ignored(DEVICE_MODEL)),
    key("device_model_args", Ignored(DEVICE_MODEL)),
    key("device_model_args_pv", Ignored(DEVICE_MODEL)),
    key("device_model_args_hvm", Ignored(DEVICE_MODEL)),
    key("device_model_stubdomain_override", Ignored(DEVICE_MODEL)),
    key("device_model_stubdomain_seclabel", Ignored(DEVICE_MODEL)),
    key("stubdomain_kernel", Ignored(DEVICE_MODEL)),
    key("stubdomain_cmdline", Ignored(DEVICE_MODEL)),
    key("stubdomain_ramdisk", Ignored(DEVICE_MODEL)),
    key("stubdomain_memory", Ignored(DEVICE_MODEL)),
    key("gic_version", Ignored(ARM)),
    key("vuart", Ignored(ARM)),
    key("sve", Ignored(ARM)),
    key("llc_colors", Ignored(ARM)),
    key("nr_spis", Ignored(ARM)),
    key("trap_unmapped_accesses", Ignored(ARM)),
    key("arm_sci", Ignored(ARM)),
    key("mca_caps", Ignored(HVM)),
    takes("msr_relaxed", Flag, "unknown MSRs read as 0"),
    key("disk.target", Part),
    key("disk.format", Part),
    key("disk.vdev", Part),
    key("disk.access", Part),
    key("disk.devtype", Part),
    key("disk.backend", Part),
    key("disk.backendtype", Part),
    key("disk.specification", Part),
    key("disk.script", Part),
    key("disk.direct-io-safe", Part),
    key("disk.discard", Part),
    key("disk.trusted", Part),
    key("disk.grant_usage", Part),
    key("disk.colo", Part),
    key("vif.mac", Part),
    key("vif.bridge", Part),
    key("vif.type", Part),
    key("vif.model", Part),
    key("vif.vifname", Part),
    key("vif.script", Part),
    key("vif.ip", Part),
    key("vif.gatewaydev", Part),
    key("vif.backend", Part),
    key("vif.rate", Part),
    key("vif.devid", Part),
    key("vif.mtu", Part),
    key("vif.vlan", Part),
    key("vif.trusted", Part),
    key("vif.accel", Part),
    key("vif.forwarddev", Part),
    key("vif.colo_*", Part),
    key("pci.bdf", Part),
    key("pci.vslot", Part),
    key("pci.permissive", Part),
    key("pci.msitranslate", Part),
    key("pci.seize", Part),
    key("pci.power_mgmt", Part),
    key("pci.rdm_policy", Part),
    key("pci.name", Part),
    key("vnuma.pnode", Part),
    key("vnuma.size", Part),
    key("vnuma.vcpus", Part),
    key("vnuma.vdistances", Part),
    key("channel.backend", Part),
    key("channel.name", Part),
    key("channel.connection", Part),
    key("channel.path", Part),
    key("p9.tag", Part),
    key("p9.path", Part),
    key("p9.security_model", Part),
    key("p9.backend", Part),
    key("p9.type", Part),
    key("p9.max-files", Part),
    key("p9.max-open-files", Part),
    key("p9.max-space", Part),
    key("p9.auto-delete", Part),
    key("rdm.strategy", Part),
    key("rdm.policy", Part),
    key("vtpm.backend", Part),
    key("vtpm.uuid", Part),
    key("pvcalls.backend", Part),
    key("vfb.*", Part),
    key("usbctrl.type", Part),
    key("usbctrl.version", Part),
    key("usbctrl.ports", Part),
    key("usbdev.type", Part),
    key("usbdev.hostbus", Part),
    key("usbdev.hostaddr", Part),
    key("usbdev.controller", Part),
    key("usbdev.port", Part),
    key("vdispl.*", Part),
    key("vsnd.*", Part),
    key("vkb.*", Part),
    key("virtio.*", Part),
    key("smbios.*", Part),
    key("xenstore_quota.*", Part),
    key("arm_sci.type", Part),
    key("loader", Ignored(LEGACY)),
];

/// The row of a top-level key.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name && key.fate != Part)
}

/// The known top-level key that is spelt most like `name`, if one is close enough to be meant.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    let limit = 1 + name.len() / 4;
    KEYS.iter()
        .filter(|key| key.fate != Part)
        .map(|key| (strsim::osa_distance(name, key.name), key.name))
        .filter(|&(distance, _)| distance <= limit)
        // Among equals a key that does something is the likelier one.
        .min_by_key(|&(distance, known)| {
            (distance, find(known).is_some_and(|key| key.fate != Honoured))
        })
        .map(|(_, known)| known)
}

/// The table as a page of Markdown; `docs/xl.cfg.md` is this text.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "# Keys of xl.cfg\n\n\
         Written by a test from the table in `xl-rs/src/config/keys.rs`; change it there.\n\n\
         What xlr does with each key that xl of Xen 4.14 to 4.22 knows. A key that is in none of \
         these lists is warned about, with the nearest one that is.\n\n\
         ## Honoured\n\nIt does what `xl.cfg(5)` says.\n\n",
    );
    let top = || KEYS.iter().filter(|key| key.fate != Part);
    let names = |keys: &mut dyn Iterator<Item = &Key>| -> String {
        let names: Vec<String> = keys.map(|key| format!("`{}`", key.name)).collect();
        names.join(", ")
    };
    let (at_end, honoured): (Vec<&Key>, Vec<&Key>) =
        top().filter(|key| key.fate == Honoured).partition(|key| key.name.starts_with("on_"));
    let is_own = |key: &&Key| OWN.iter().any(|(own, _)| *own == key.name);
    out.push_str(&names(&mut honoured.into_iter().filter(|key| !is_own(key))));
    out.push_str(".\n\nKeys of xlr's own:\n\n");
    for (name, meaning) in OWN {
        // Writing into a String cannot fail.
        let _ = writeln!(out, "- `{name}`: {meaning}");
    }
    out.push_str(
        "\n## Honoured by who waits\n\nStored with the domain. `create -F`, which waits for \
         the domain's end, carries it out; `shutdown -w` and `reboot` heed it. Without them nothing \
         acts on it, and `create` says so. `coredump-destroy` and `coredump-restart` write \
         `/var/lib/xen/dump/NAME-TIME` first.\n\n",
    );
    out.push_str(&names(&mut at_end.into_iter()));
    let refused = |fate| match fate {
        Refused(why) => Some(why),
        _ => None,
    };
    out.push_str(
        ".\n\n## Refused\n\nA configuration that asks for it is an error. Asking for nothing (an \
         empty list or string, 0) is fine.\n\n",
    );
    by_reason(&mut out, top(), refused);
    out.push_str("\n## Ignored\n\nIt has no effect, and a warning says so.\n\n");
    let ignored = |fate| match fate {
        Ignored(why) => Some(why),
        _ => None,
    };
    by_reason(&mut out, top(), ignored);
    out
}

/// A table with one row for each reason, in the order in which they appear.
fn by_reason<'a>(
    out: &mut String,
    keys: impl Iterator<Item = &'a Key>,
    reason: impl Fn(Fate) -> Option<&'static str>,
) {
    let mut rows: Vec<(&str, Vec<String>)> = Vec::new();
    for key in keys {
        let Some(why) = reason(key.fate) else { continue };
        let name = format!("`{}`", key.name);
        match rows.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(name),
            None => rows.push((why, vec![name])),
        }
    }
    out.push_str("| why | keys |\n|---|---|\n");
    for (why, names) in rows {
        // Writing into a String cannot fail.
        let _ = writeln!(out, "| {why} | {} |", names.join(" "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_stands_once_and_parts_have_a_whole() {
        let mut names = BTreeSet::new();
        for key in KEYS {
            assert!(names.insert(key.name), "{} stands twice", key.name);
            if let Some((whole, _)) = key.name.split_once('.') {
                assert_eq!(key.fate, Part, "{}", key.name);
                assert!(find(whole).is_some(), "{} has no whole", key.name);
            } else {
                assert_ne!(key.fate, Part, "{}", key.name);
            }
        }
    }

    #[test]
    fn a_slip_finds_the_key_that_was_meant() {
        for (slip, meant) in [
            ("memmory", Some("memory")),
            ("mem", None),
            ("max_mem", Some("maxmem")),
            ("vcpu", Some("vcpus")),
            ("maxvcpu", Some("maxvcpus")),
            ("ramdsik", Some("ramdisk")),
            ("initrd", None),
            ("on_powerof", Some("on_poweroff")),
            ("cpu", Some("cpus")),
            ("xyzzy", None),
        ] {
            assert_eq!(nearest(slip), meant, "{slip}");
        }
    }
}
