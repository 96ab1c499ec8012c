//! Descriptions of devices, sound and broken, for the comparison.

use crate::random::Random;

const DISK_ITEMS: &[&str] = &[
    "/dev/vg/x",
    "/x",
    "",
    "raw",
    "qcow",
    "qcow2",
    "vhd",
    "qed",
    "empty",
    "xvda",
    "hdc",
    "sda1",
    "d1p2",
    "hdc:cdrom",
    "xvda:disk",
    "hdc:tape",
    "r",
    "ro",
    "rw",
    "w",
    "wr",
    "cdrom",
    "discard",
    "no-discard",
    "direct-io-safe",
    "trusted",
    "untrusted",
    "colo",
    "no-colo",
    "format=raw",
    "format=",
    "format=vhd",
    "format=x",
    "vdev=xvdb",
    "vdev=",
    "access=r",
    "access=rw",
    "access=",
    "access=x",
    "devtype=cdrom",
    "devtype=disk",
    "devtype=x",
    "backend=d",
    "backend=",
    "backendtype=phy",
    "backendtype=tap",
    "backendtype=qdisk",
    "backendtype=standalone",
    "backendtype=x",
    "specification=xen",
    "specification=virtio",
    "specification=x",
    "script=s",
    "script=",
    "colo-host=h",
    "colo-port=9",
    "colo-port=0",
    "colo-export=e",
    "active-disk=a",
    "hidden-disk=i",
    "target=/y",
    "target=",
    "target=/y,a=b",
    "foo=bar",
    "foo=",
    "=x",
    "a b",
    "file:/x",
    "phy:/x",
    "tap:aio:/x",
    "tap2:/x",
    "tapdisk:/x",
    "aio:/x",
    "ioemu:/x",
    "raw:/x",
    "qcow:/x",
    "qcow2:/x",
    "vhd:/x",
    "iscsi:iqn",
    "nbd:h",
    "enbd:h",
    "drbd:r",
    "http:/x",
    "x:y",
    "x:",
    "raw:",
    " xvda",
    "xvda ",
    "\t",
    "/x:y",
    "CDROM",
    "cdroms",
    "cdrom=1",
    "\u{e9}",
];

/// A disk: items in any order, now and then in the order that makes sense.
pub fn disk(random: &mut Random) -> String {
    let mut items: Vec<&str> = Vec::new();
    if random.one_in(2) {
        items.push(random.pick(&["/dev/x", "", "phy:/dev/x", "qcow2:/i", "nbd:h:1", "/a b"]));
        if !random.one_in(4) {
            items.push(random.pick(&["raw", "", "qcow2", " vhd", "xvda"]));
        }
        items.push(random.pick(&["xvda", " hdc:cdrom", "sda", "vdev=xvdb", "hda1"]));
        if random.one_in(2) {
            items.push(random.pick(&["rw", "r", "", "access=ro", " w"]));
        }
    }
    for _ in 0..random.below(4) {
        items.push(random.pick(DISK_ITEMS));
    }
    items.join(",")
}

/// A PCI device. The library reads on from anywhere when no dot follows the device's number, so
/// such texts are not among them.
pub fn pci(random: &mut Random) -> String {
    let address = [
        "03:00.0",
        "0000:03:1f.7",
        "3:0.*",
        "ffff:ff:1f.0",
        "0001:00:00.*",
        "10000:0:0.0",
        "100:00.0",
        "0:20.0",
        "0:0.8",
        "0:0.g",
        "0:0.",
        "::0.0",
        "1:2:3:4.0",
        "",
        "x",
        "A:B.c",
        "a:b.1",
    ];
    let options = [
        "permissive=1",
        "permissive=0",
        "msitranslate=1",
        "seize=1",
        "power_mgmt=1",
        "rdm_policy=strict",
        "rdm_policy=relaxed",
        "rdm_policy=x",
        "vslot=1f",
        "vslot=3",
        "vslot=20",
        "name=gpu",
        "bdf=3:0.1",
        "bdf=x",
        "foo=1",
        "seize",
        "",
    ];
    let mut parts = Vec::new();
    if !random.one_in(6) {
        let mut first = String::from(random.pick(&address));
        if random.one_in(3) {
            first.push('@');
            first.push_str(random.pick(&["0", "1e", "1f", "20", "", "x"]));
        }
        parts.push(first);
    }
    for _ in 0..random.below(4) {
        parts.push(String::from(random.pick(&options)));
    }
    parts.join(",")
}

/// A rate.
pub fn rate(random: &mut Random) -> String {
    let numbers = ["1", "10", "250", "4294967295", "4294967296", "0", "010", "09", "", "-1", "0x1"];
    let mut text = String::from(random.pick(&numbers));
    text.push_str(random.pick(&["", "K", "M", "G", "k", "T"]));
    text.push_str(random.pick(&["B/s", "b/s", "B/s", "b/s", "B", "/s", "B/S"]));
    if random.one_in(2) {
        text.push('@');
        text.push_str(random.pick(&["1", "20", "50", "4294", "4295", "0", "010", ""]));
        text.push_str(random.pick(&["s", "ms", "us", "", "m", "u", "x"]));
    }
    text
}
