//! Every key of xl.cfg, and what becomes of it here: the one table.
//!
//! Keys of the strings inside a list (`disk.vdev`) stand in it too, under the key that holds the
//! list. [`super::lower`] reads every key marked [`Fate::Honoured`]; a test holds the two together.

use Fate::{Honoured, Ignored, Part, Refused};
use std::fmt::Write as _;

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

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key, or `key.part`; a trailing `*` covers a family of parts.
    pub name: &'static str,
    /// What becomes of it.
    pub fate: Fate,
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
    Key { name, fate }
}

/// Keys that xl does not know, each with what it means.
pub const OWN: &[(&str, &str)] = &[(
    "rdma",
    "`rdma = [ \"backend-device=rxe0, pages=8192\" ]` gives InfiniBand devices to a guest, served by \
     `xlr-ibd` in dom0. `backend-device` is dom0's device; `pages` (default 1024) how many pages the \
     guest may share at once, for which `max_grant_frames` is raised; `qps`, `cqs` and `mrs` limit \
     queue pairs, completion queues and memory regions; `devid` is its number. Policy, as lists \
     separated by blanks, where a list that is not there allows all: `gids` (indices of the GID \
     table), `pkeys` (`0xffff`), `destinations` (GIDs or IPv4 addresses with the bits that count: \
     `10.9.0.0/24 fe80::/64`).",
)];

/// Every key of xl.cfg, in the order of xl's manual, and after `pci` those of [`OWN`].
pub const KEYS: &[Key] = &[
    key("name", Honoured),
    key("type", Honoured),
    key("builder", Honoured),
    key("uuid", Honoured),
    key("pool", Honoured),
    key("vcpus", Honoured),
    key("maxvcpus", Honoured),
    key("cpus", Honoured),
    key("cpus_soft", Honoured),
    key("cpu_weight", Honoured),
    key("cap", Honoured),
    key("period", Ignored(SCHEDULER)),
    key("slice", Ignored(SCHEDULER)),
    key("latency", Ignored(SCHEDULER)),
    key("extratime", Ignored(SCHEDULER)),
    key("memory", Honoured),
    key("maxmem", Honoured),
    key("vnuma", Refused("Xen offers virtual NUMA to HVM and PVH guests only")),
    key("on_poweroff", Honoured),
    key("on_reboot", Honoured),
    key("on_watchdog", Honoured),
    key("on_crash", Honoured),
    key("on_soft_reset", Honoured),
    key("kernel", Honoured),
    key("ramdisk", Honoured),
    key("cmdline", Honoured),
    key("root", Honoured),
    key("extra", Honoured),
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
    key("max_grant_frames", Honoured),
    key("max_maptrack_frames", Honoured),
    key("max_grant_version", Honoured),
    key("max_event_channels", Honoured),
    key("nomigrate", Honoured),
    key("tsc_mode", Honoured),
    key("cpuid", Honoured),
    key("driver_domain", Honoured),
    key("device_tree", Ignored(ARM)),
    key("passthrough", Honoured),
    key("xend_suspend_evtchn_compat", Honoured),
    key("vmtrace_buf_kb", Refused("Xen traces HVM and PVH guests only")),
    key("vpmu", Ignored(ARM)),
    key("xenstore_feature_mask", Honoured),
    key("xenstore_quota", Honoured),
    key("disk", Honoured),
    key("vif", Honoured),
    key("vif2", Ignored(LEGACY)),
    key("p9", Refused(DEVICE)),
    key("vtpm", Refused(DEVICE)),
    key("pvcalls", Refused(DEVICE)),
    key("vfb", Refused(DEVICE)),
    key("channel", Honoured),
    key("rdm", Refused(DEVICE)),
    key("rdm_mem_boundary", Ignored(HVM)),
    key("usbctrl", Refused(DEVICE)),
    key("usbdev", Refused(DEVICE)),
    key("pci", Honoured),
    key("rdma", Honoured),
    key("pci_permissive", Honoured),
    key("pci_msitranslate", Honoured),
    key("pci_seize", Honoured),
    key("pci_power_mgmt", Honoured),
    key("e820_host", Honoured),
    key("ioports", Honoured),
    key("iomem", Honoured),
    key("irqs", Honoured),
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
    key("localtime", Honoured),
    key("rtc_timeoffset", Honoured),
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
    key("msr_relaxed", Honoured),
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
         acts on it, and `create` says so. No core is written yet: `coredump-destroy` and \
         `coredump-restart` act as `destroy` and `restart`, and a warning says so.\n\n",
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
