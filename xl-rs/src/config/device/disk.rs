//! A disk: `target, format, vdev, access` by position, `key=value`, flags, and the prefixes of
//! older toolstacks, in any mixture.
//!
//! ```text
//! disk  := [item (',' item)*] [',']
//! item  := 'target=' REST-OF-THE-TEXT | KEY '=' VALUE | FLAG | [PREFIX ':'] POSITIONAL
//! ```
//!
//! Read as libxlutil reads it; `tests/libxlu/main.rs` compares the two.

use super::{Part, SpecError};
use nom::bytes::complete::take_while;
use nom::character::complete::{char, satisfy};
use nom::combinator::{consumed, recognize};
use nom::sequence::pair;
use nom::{IResult, Parser};

/// How the image is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The bytes as they are.
    #[default]
    Raw,
    /// QEMU's first format.
    Qcow,
    /// QEMU's second format.
    Qcow2,
    /// Microsoft's format.
    Vhd,
    /// QEMU's enhanced format.
    Qed,
    /// A drive without a medium.
    Empty,
}

/// Who serves the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The kernel of the backend's domain.
    Phy,
    /// blktap.
    Tap,
    /// QEMU.
    Qdisk,
    /// A program of its own.
    Standalone,
}

/// What the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specification {
    /// Xen's block protocol.
    Xen,
    /// virtio-blk.
    Virtio,
}

/// A disk as it was written. `None` is what was not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Block device, image, or what the script makes of it.
    pub target: Option<String>,
    /// Encoding of the image.
    pub format: Option<Format>,
    /// Name of the device in the guest.
    pub vdev: Option<String>,
    /// Whether the guest may only read.
    pub read_only: bool,
    /// Whether it is a CD-ROM drive.
    pub cdrom: bool,
    /// Domain that serves it.
    pub backend: Option<String>,
    /// Who in that domain serves it.
    pub backend_type: Option<Backend>,
    /// What the guest sees.
    pub specification: Option<Specification>,
    /// Hotplug script.
    pub script: Option<String>,
    /// `O_DIRECT` is safe with it.
    pub direct_io_safe: bool,
    /// Whether the guest may discard blocks.
    pub discard: Option<bool>,
    /// Whether the guest may trust its backend.
    pub trusted: Option<bool>,
    /// Whether virtio devices use grants.
    pub grant_usage: Option<bool>,
    /// Replication, key by key.
    pub colo: Colo,
}

/// Settings of a replicated disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Colo {
    /// `colo`, `no-colo`.
    pub enabled: Option<bool>,
    /// `colo-host`.
    pub host: Option<String>,
    /// `colo-port`.
    pub port: Option<u16>,
    /// `colo-export`.
    pub export: Option<String>,
    /// `active-disk`.
    pub active: Option<String>,
    /// `hidden-disk`.
    pub hidden: Option<String>,
}

const FORMATS: &[(&str, Format)] = &[
    ("", Format::Raw),
    ("raw", Format::Raw),
    ("qcow", Format::Qcow),
    ("qcow2", Format::Qcow2),
    ("vhd", Format::Vhd),
    ("qed", Format::Qed),
    ("empty", Format::Empty),
];
/// Prefixes that name a format.
const FORMAT_PREFIXES: &[&str] = &["raw", "qcow", "qcow2", "vhd"];
/// Prefixes that name a script, `block-` before it.
const SCRIPT_PREFIXES: &[&str] = &["iscsi", "nbd", "enbd", "drbd"];
/// Prefixes that mean nothing any more.
const IDLE_PREFIXES: &[&str] = &["tapdisk", "tap", "tap2", "aio", "ioemu", "file", "phy"];

/// Reads a disk.
///
/// # Errors
/// [`SpecError`] with the part at fault.
pub fn parse(text: &str) -> Result<Disk, SpecError> {
    let whole = Part::whole(text);
    if let Some((at, found)) =
        text.char_indices().find(|(_, found)| found.is_control() && *found != '\t')
    {
        let part = Part { text: &text[at..at + found.len_utf8()], at };
        return Err(part.error("a disk holds no control characters", "remove it"));
    }
    let mut state = State::default();
    let mut rest = whole.trim_start();
    while !rest.text.is_empty() {
        rest = state.item(rest)?.trim_start();
    }
    state.finish(whole)
}

#[derive(Default)]
struct State {
    disk: Disk,
    had_prefix: bool,
    access_set: bool,
}

impl State {
    /// Takes one item from the beginning; what is left.
    fn item<'a>(&mut self, rest: Part<'a>) -> Result<Part<'a>, SpecError> {
        if let Some(value) = rest.text.strip_prefix("target=") {
            let value = value.strip_suffix(',').unwrap_or(value);
            save(&mut self.disk.target, "target", Part { text: value, at: rest.at + 7 })?;
            return Ok(Part { text: "", at: rest.at + rest.text.len() });
        }
        if let Ok((after, (whole, name))) = prefix(rest.text) {
            let part = Part { text: name, at: rest.at };
            let next = Part { text: after, at: rest.at + whole.len() };
            if self.prefix(part)? {
                return Ok(next);
            }
            let part_of_a_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            if !after.bytes().next().is_some_and(part_of_a_name) {
                let message = format!("{whole} is no prefix of a disk");
                return Err(part.error(message, "write target=… for a path with a colon"));
            }
        }
        let end = rest.text.find(',').unwrap_or(rest.text.len());
        let item = Part { text: &rest.text[..end], ..rest };
        match item.split_once('=') {
            Some((key, value)) => self.named(item, key, value)?,
            None => self.flag_or_positional(item)?,
        }
        let used = (end + 1).min(rest.text.len());
        Ok(Part { text: &rest.text[used..], at: rest.at + used })
    }

    /// A prefix of an older toolstack; false if it is none.
    fn prefix(&mut self, name: Part<'_>) -> Result<bool, SpecError> {
        if FORMAT_PREFIXES.contains(&name.text) {
            self.format(name)?;
        } else if SCRIPT_PREFIXES.contains(&name.text) {
            let script = format!("block-{}", name.text);
            save(&mut self.disk.script, "script", Part { text: &script, ..name })?;
        } else if !IDLE_PREFIXES.contains(&name.text) {
            return Ok(false);
        }
        self.had_prefix = true;
        Ok(true)
    }

    fn named(&mut self, item: Part<'_>, key: Part<'_>, value: Part<'_>) -> Result<(), SpecError> {
        let disk = &mut self.disk;
        match key.text {
            "format" => return self.format(value),
            "access" => return self.access(value),
            "vdev" => return save(&mut disk.vdev, "vdev", value),
            "backend" => return save(&mut disk.backend, "backend", value),
            "script" => return save(&mut disk.script, "script", value),
            "backendtype" => {
                let known = [
                    ("phy", Backend::Phy),
                    ("tap", Backend::Tap),
                    ("qdisk", Backend::Qdisk),
                    ("standalone", Backend::Standalone),
                ];
                return choose(&mut disk.backend_type, "backendtype", value, &known);
            }
            "specification" => {
                let known = [("xen", Specification::Xen), ("virtio", Specification::Virtio)];
                return choose(&mut disk.specification, "specification", value, &known);
            }
            "devtype" => match value.text {
                "cdrom" => disk.cdrom = true,
                "disk" => disk.cdrom = false,
                _ => return Err(unknown("devtype", value)),
            },
            "grant_usage" => disk.grant_usage = Some(value.flag()?),
            _ => return self.colo(item, key, value),
        }
        Ok(())
    }

    fn colo(&mut self, item: Part<'_>, key: Part<'_>, value: Part<'_>) -> Result<(), SpecError> {
        let colo = &mut self.disk.colo;
        match key.text {
            "colo-host" => save(&mut colo.host, "colo-host", value),
            "colo-export" => save(&mut colo.export, "colo-export", value),
            "active-disk" => save(&mut colo.active, "active-disk", value),
            "hidden-disk" => save(&mut colo.hidden, "hidden-disk", value),
            "colo-port" => {
                let port = value.text.parse().ok().filter(|port| *port != 0);
                colo.port = Some(port.ok_or_else(|| unknown("colo-port", value))?);
                Ok(())
            }
            _ => Err(item.error(
                format!("a disk has no parameter {:?}", key.text),
                "a target that holds = or , is written last, as target=…",
            )),
        }
    }

    fn flag_or_positional(&mut self, item: Part<'_>) -> Result<(), SpecError> {
        let disk = &mut self.disk;
        match item.text {
            "cdrom" => disk.cdrom = true,
            "direct-io-safe" => disk.direct_io_safe = true,
            "discard" => disk.discard = Some(true),
            "no-discard" => disk.discard = Some(false),
            "trusted" => disk.trusted = Some(true),
            "untrusted" => disk.trusted = Some(false),
            "colo" => disk.colo.enabled = Some(true),
            "no-colo" => disk.colo.enabled = Some(false),
            _ => return self.positional(item),
        }
        Ok(())
    }

    fn positional(&mut self, item: Part<'_>) -> Result<(), SpecError> {
        let Some(target) = &self.disk.target else {
            return save(&mut self.disk.target, "target", item);
        };
        if !self.had_prefix && self.disk.format.is_none() {
            // `,hdc:cdrom` is an empty drive, written as for older toolstacks.
            if target.is_empty() && self.vdev_with_type(item)? {
                self.disk.format = Some(Format::Empty);
                return Ok(());
            }
            return self.format(item);
        }
        if self.disk.vdev.is_none() {
            if self.vdev_with_type(item)? {
                return Ok(());
            }
            return save(&mut self.disk.vdev, "vdev", item);
        }
        if !self.access_set {
            self.access_set = true;
            return self.access(item);
        }
        Err(item.error(
            "a disk has four parameters by position, this is the fifth",
            "write target, format, vdev, access; everything else as key=value",
        ))
    }

    /// `vdev:cdrom` or `vdev:disk`; false if there is no colon.
    fn vdev_with_type(&mut self, item: Part<'_>) -> Result<bool, SpecError> {
        let Some(colon) = item.text.rfind(':') else { return Ok(false) };
        save(&mut self.disk.vdev, "vdev", Part { text: &item.text[..colon], ..item })?;
        let kind = Part { text: &item.text[colon + 1..], at: item.at + colon + 1 };
        self.disk.cdrom = match kind.text {
            "cdrom" => true,
            "disk" => false,
            _ => return Err(unknown("type of a disk", kind)),
        };
        Ok(true)
    }

    fn format(&mut self, value: Part<'_>) -> Result<(), SpecError> {
        choose(&mut self.disk.format, "format", value, FORMATS)
    }

    fn access(&mut self, value: Part<'_>) -> Result<(), SpecError> {
        self.disk.read_only = match value.text {
            "r" | "ro" => true,
            "w" | "rw" | "" => false,
            _ => return Err(unknown("access", value)),
        };
        Ok(())
    }

    fn finish(self, whole: Part<'_>) -> Result<Disk, SpecError> {
        let mut disk = self.disk;
        disk.format.get_or_insert_default();
        if disk.cdrom {
            disk.read_only = true;
            if disk.target.as_deref().is_none_or(str::is_empty) {
                disk.format = Some(Format::Empty);
            }
        }
        let help = "write \"/dev/vg/guest, raw, xvda, rw\"";
        if disk.vdev.is_none() {
            return Err(whole.error("a disk needs a vdev, its name in the guest", help));
        }
        if disk.target.is_none() && !disk.cdrom {
            return Err(whole.error("a disk needs a target, unless it is a CD-ROM drive", help));
        }
        Ok(disk)
    }
}

/// `NAME:` at the beginning.
fn prefix(text: &str) -> IResult<&str, (&str, &str)> {
    let letter = satisfy(|character| character.is_ascii_lowercase());
    let more = take_while(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let (rest, (whole, (name, _))) =
        consumed(pair(recognize(pair(letter, more)), char(':'))).parse(text)?;
    Ok((rest, (whole, name)))
}

fn unknown(what: &str, value: Part<'_>) -> SpecError {
    value.error(format!("{:?} is no {what}", value.text), "see xl-disk-configuration(5)")
}

/// Sets a text once; an empty one may be replaced.
fn save(to: &mut Option<String>, what: &str, value: Part<'_>) -> Result<(), SpecError> {
    if to.as_ref().is_some_and(|before| !before.is_empty()) {
        return Err(value.error(format!("{what} is given twice"), "remove one of the two"));
    }
    *to = Some(value.text.to_owned());
    Ok(())
}

/// Sets one of several choices; the same one may be given again.
fn choose<T: Copy + PartialEq>(
    to: &mut Option<T>,
    what: &str,
    value: Part<'_>,
    known: &[(&str, T)],
) -> Result<(), SpecError> {
    let found = known.iter().find(|(name, _)| *name == value.text);
    let (_, choice) = found.ok_or_else(|| unknown(what, value))?;
    if to.is_some_and(|before| before != *choice) {
        return Err(value.error(format!("{what} is given twice"), "remove one of the two"));
    }
    *to = Some(*choice);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, change: impl FnOnce(&mut Disk)) {
        let mut expected = Disk {
            target: Some("/t".into()),
            format: Some(Format::Raw),
            vdev: Some("xvda".into()),
            ..Disk::default()
        };
        change(&mut expected);
        assert_eq!(parse(text), Ok(expected), "{text:?}");
    }

    #[test]
    fn positions_names_and_prefixes() {
        check("/t,raw,xvda,rw", |_| {});
        check("/t,,xvda", |_| {});
        check("/t, raw, xvda, r,", |disk| disk.read_only = true);
        check("vdev=xvda,access=ro,target=/t", |disk| disk.read_only = true);
        check("format=qcow2,vdev=xvda,target=/a,b=c", |disk| {
            disk.format = Some(Format::Qcow2);
            disk.target = Some("/a,b=c".into());
        });
        check("qcow2:/t,xvda,w", |disk| disk.format = Some(Format::Qcow2));
        check("phy:/t,xvda,w", |_| {});
        check("tap2:aio:/t,xvda,w", |_| {});
        check("nbd:host:1,xvda,w", |disk| {
            disk.target = Some("host:1".into());
            disk.script = Some("block-nbd".into());
        });
        check("format=raw,/t,xvda,cdrom", |disk| {
            (disk.cdrom, disk.read_only) = (true, true);
        });
        check("/t,raw,hdc:cdrom,r", |disk| {
            disk.vdev = Some("hdc".into());
            (disk.cdrom, disk.read_only) = (true, true);
        });
        check(",hdc:cdrom", |disk| {
            (disk.target, disk.vdev) = (Some(String::new()), Some("hdc".into()));
            disk.format = Some(Format::Empty);
            (disk.cdrom, disk.read_only) = (true, true);
        });
        check("vdev=xvda,devtype=cdrom", |disk| {
            (disk.target, disk.format) = (None, Some(Format::Empty));
            (disk.cdrom, disk.read_only) = (true, true);
        });
    }

    #[test]
    fn every_parameter() {
        check("/t,raw,xvda,rw,backend=d,backendtype=qdisk,script=s,specification=virtio", |disk| {
            disk.backend = Some("d".into());
            disk.backend_type = Some(Backend::Qdisk);
            disk.script = Some("s".into());
            disk.specification = Some(Specification::Virtio);
        });
        check("/t,raw,xvda,rw,direct-io-safe,no-discard,untrusted,grant_usage=1", |disk| {
            disk.direct_io_safe = true;
            (disk.discard, disk.trusted) = (Some(false), Some(false));
            disk.grant_usage = Some(true);
        });
        check(
            "/t,raw,xvda,rw,colo,colo-host=h,colo-port=9,colo-export=e,active-disk=a,hidden-disk=i",
            |disk| {
                disk.colo = Colo {
                    enabled: Some(true),
                    host: Some("h".into()),
                    port: Some(9),
                    export: Some("e".into()),
                    active: Some("a".into()),
                    hidden: Some("i".into()),
                };
            },
        );
    }

    #[test]
    fn mistakes_are_pointed_at() {
        for (text, range, words) in [
            ("", 0..0, "needs a vdev"),
            ("/t", 0..2, "needs a vdev"),
            ("vdev=xvda", 0..9, "needs a target"),
            ("/t,rwa,xvda", 3..6, "\"rwa\" is no format"),
            ("/t,raw,xvda,x", 12..13, "\"x\" is no access"),
            ("/t,raw,xvda,rw,5", 15..16, "this is the fifth"),
            ("/t,raw,xvda,bakend=d", 12..20, "no parameter \"bakend\""),
            ("/t,raw,xvda,vdev=xvdb", 17..21, "vdev is given twice"),
            ("/t,raw,xvda,target=/u", 19..21, "target is given twice"),
            ("raw:/t,xvda,w,format=vhd", 21..24, "format is given twice"),
            ("/t,raw,xvda,backendtype=loop", 24..28, "is no backendtype"),
            ("/t,raw,xvda,devtype=tape", 20..24, "is no devtype"),
            ("/t,raw,hdc:tape", 11..15, "is no type of a disk"),
            ("http:/t,raw,xvda", 0..4, "http: is no prefix"),
            ("/t,raw,xvda,colo-port=0", 22..23, "is no colo-port"),
            ("/t,raw,xv\nda", 9..10, "control characters"),
            // Two bytes long: once cut in the middle.
            ("/t,raw,xv\u{85}da", 9..11, "control characters"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.message.contains(words), "{text:?}: {error}");
            assert_eq!(error.range, range, "{text:?}");
        }
    }
}
