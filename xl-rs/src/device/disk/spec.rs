//! A disk as it shall be: what its description asks for, checked as far as that goes without a host.
//!
//! In: a parsed description. Out: a [`DiskSpec`], or what of it cannot be had, and what to write
//! instead. Pure.

use crate::config::device::disk::{Backend, Disk, Format, Specification};
use crate::device::vdev;

/// The script that xl has for block devices and files; what it does is built in here.
pub const USUAL_SCRIPT: &str = "/etc/xen/scripts/block";
/// Where scripts are that are named without a path.
const SCRIPTS: &str = "/etc/xen/scripts";

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSpec {
    /// Block device or file, or what a script makes one of; as it was written.
    pub target: String,
    /// Its name in the guest, as it was written.
    pub vdev: String,
    /// The number of that name.
    pub devid: u32,
    /// Whether the guest may only read.
    pub read_only: bool,
    /// Whether the guest sees a CD-ROM.
    pub cdrom: bool,
    /// Whether the guest may discard blocks.
    pub discard: bool,
    /// `O_DIRECT` is safe with it: a word for backends that ask.
    pub direct_io_safe: bool,
    /// Whether the guest may trust the backend.
    pub trusted: bool,
    /// The hotplug script.
    pub script: String,
}

/// Why a disk cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// What, and why.
    pub message: String,
    /// What to do.
    pub help: &'static str,
}

impl DiskSpec {
    /// The disk that a description asks for.
    ///
    /// # Errors
    /// [`Unsupported`].
    pub fn of(disk: &Disk) -> Result<Self, Unsupported> {
        refuse(disk)?;
        let vdev = disk.vdev.clone().unwrap_or_default();
        let Some(devid) = vdev::number(&vdev) else {
            return unsupported(
                format!("{vdev:?} is no name of a disk"),
                "xvda, xvdb1, sda, hdc, d5p1 and numbers are: see xen-vbd-interface(7)",
            );
        };
        let target = disk.target.clone().unwrap_or_default();
        if target.is_empty() {
            return unsupported(
                String::from("a PV guest's disk needs a medium"),
                "name a block device or a file, or remove the drive",
            );
        }
        Ok(Self {
            target,
            vdev,
            devid,
            read_only: disk.read_only,
            cdrom: disk.cdrom,
            discard: disk.discard.unwrap_or(!disk.read_only),
            direct_io_safe: disk.direct_io_safe,
            trusted: disk.trusted.unwrap_or(true),
            script: script(disk.script.as_deref()),
        })
    }

    /// A description of which [`Self::of`] makes the same disk.
    #[must_use]
    pub fn text(&self) -> String {
        let access = if self.read_only { "r" } else { "w" };
        let mut text = format!("format=raw,vdev={},access={access}", self.vdev);
        for (flag, other, set) in
            [("discard", "no-discard", self.discard), ("trusted", "untrusted", self.trusted)]
        {
            text.push_str(&format!(",{}", if set { flag } else { other }));
        }
        for (flag, set) in [("cdrom", self.cdrom), ("direct-io-safe", self.direct_io_safe)] {
            if set {
                text.push_str(&format!(",{flag}"));
            }
        }
        if self.has_own_script() {
            text.push_str(&format!(",script={}", self.script));
        }
        // It takes all that follows: commas and colons are its own.
        text + ",target=" + &self.target
    }

    /// Whether a script serves it that does something else than what is built in.
    #[must_use]
    pub fn has_own_script(&self) -> bool {
        is_own_script(&self.script)
    }
}

/// Whether that is another script than the usual one.
#[must_use]
pub fn is_own_script(script: &str) -> bool {
    script != USUAL_SCRIPT
}

/// Where a script is.
fn script(given: Option<&str>) -> String {
    match given {
        None | Some("") => String::from(USUAL_SCRIPT),
        Some(path) if path.starts_with('/') => path.to_owned(),
        Some(name) => format!("{SCRIPTS}/{name}"),
    }
}

fn unsupported<T>(message: String, help: &'static str) -> Result<T, Unsupported> {
    Err(Unsupported { message, help })
}

/// What asks for something that is not there.
fn refuse(disk: &Disk) -> Result<(), Unsupported> {
    let format = match disk.format {
        None | Some(Format::Raw) => None,
        Some(Format::Empty) => {
            return unsupported(
                String::from("a PV guest has no drive without a medium"),
                "name a block device or a file, or remove the drive",
            );
        }
        Some(Format::Qcow) => Some("qcow"),
        Some(Format::Qcow2) => Some("qcow2"),
        Some(Format::Vhd) => Some("vhd"),
        Some(Format::Qed) => Some("qed"),
    };
    if let Some(format) = format {
        return unsupported(
            format!("dom0's kernel serves raw disks only, not {format}"),
            "qemu-img convert -O raw makes one of it",
        );
    }
    if let Some(backend) = disk.backend.as_deref()
        && !matches!(backend, "" | "0" | "Domain-0")
    {
        return unsupported(
            format!("disks are served by dom0 only, not by the domain {backend:?}"),
            "remove backend=, or create this domain with xl",
        );
    }
    let served_by = match disk.backend_type {
        None | Some(Backend::Phy) => None,
        Some(Backend::Tap) => Some("tap"),
        Some(Backend::Qdisk) => Some("qdisk"),
        Some(Backend::Standalone) => Some("standalone"),
    };
    if let Some(backend) = served_by {
        return unsupported(
            format!("disks are served by dom0's kernel (phy) only, not by {backend}"),
            "remove backendtype=: block devices and raw files need none",
        );
    }
    if disk.specification == Some(Specification::Virtio) || disk.grant_usage.is_some() {
        return unsupported(
            String::from("virtio disks are not supported"),
            "remove specification= and grant_usage=: the guest finds a Xen disk",
        );
    }
    let colo = &disk.colo;
    if colo.enabled == Some(true)
        || [&colo.host, &colo.export, &colo.active, &colo.hidden].iter().any(|key| key.is_some())
        || colo.port.is_some()
    {
        return unsupported(
            String::from("replicated disks (colo) are not supported"),
            "remove the keys that begin with colo",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::device::disk::parse;

    fn of(text: &str) -> Result<DiskSpec, Unsupported> {
        DiskSpec::of(&parse(text).expect(text))
    }

    #[test]
    fn what_is_not_said_is_as_under_xl() {
        let spec = of("/t,raw,xvda,rw").unwrap();
        assert_eq!(
            (spec.devid, spec.read_only, spec.discard, spec.trusted),
            (51712, false, true, true)
        );
        assert_eq!(spec.script, "/etc/xen/scripts/block");
        let spec = of("/t,,hdc:cdrom,r").unwrap();
        assert_eq!(
            (spec.devid, spec.read_only, spec.discard, spec.cdrom),
            (5632, true, false, true)
        );
        assert!(of("/t,raw,xvda,r,discard").unwrap().discard);
        assert!(!of("/t,raw,xvda,w,untrusted").unwrap().trusted);
        assert!(of("/t,raw,xvda,w,backend=0,backendtype=phy,no-colo").is_ok());
    }

    #[test]
    fn a_disk_reads_back() {
        for text in [
            "/t,raw,xvda,rw",
            "/t,,hdc:cdrom,r",
            "vdev=51712,script=own,no-discard,untrusted,direct-io-safe,target=a:b,c=d",
            "/t,raw,sdb1,r,discard",
        ] {
            let spec = of(text).unwrap();
            assert_eq!(of(&spec.text()), Ok(spec.clone()), "{text}: {}", spec.text());
        }
    }

    #[test]
    fn a_script_of_ones_own() {
        let check = |text: &str, script: &str, own: bool| {
            let spec = of(text).unwrap();
            assert_eq!((spec.script.as_str(), spec.has_own_script()), (script, own), "{text}");
        };
        check("/t,raw,xvda,w,script=block", "/etc/xen/scripts/block", false);
        check("/t,raw,xvda,w,script=/etc/xen/scripts/block", "/etc/xen/scripts/block", false);
        check("/t,raw,xvda,w,script=block-iscsi", "/etc/xen/scripts/block-iscsi", true);
        check("/t,raw,xvda,w,script=/opt/block", "/opt/block", true);
        check("nbd:host:1,xvda,w", "/etc/xen/scripts/block-nbd", true);
    }

    #[test]
    fn what_cannot_be_had_is_named() {
        for (text, words) in [
            ("/t,qcow2,xvda,w", "not qcow2"),
            ("/t,qcow,xvda,w", "not qcow"),
            ("/t,vhd,xvda,w", "not vhd"),
            ("/t,qed,xvda,w", "not qed"),
            (",hdc:cdrom", "without a medium"),
            ("/t,raw,xvda,w,backend=storage", "not by the domain \"storage\""),
            ("/t,raw,xvda,w,backendtype=qdisk", "not by qdisk"),
            ("/t,raw,xvda,w,backendtype=tap", "not by tap"),
            ("/t,raw,xvda,w,specification=virtio", "virtio"),
            ("/t,raw,xvda,w,colo", "colo"),
            ("/t,raw,nvme0n1,w", "\"nvme0n1\" is no name of a disk"),
            (",raw,xvda,w", "needs a medium"),
        ] {
            let error = of(text).expect_err(text);
            assert!(error.message.contains(words), "{text}: {}", error.message);
        }
    }
}
