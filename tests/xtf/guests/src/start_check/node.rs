//! Checks the guest's own nodes in the store, read through its own ring.

use super::{check, equal, promised};
use core::fmt::{self, Write};
use xtf::{Guest, hypercall, println};

/// A short text on the stack.
struct Text {
    bytes: [u8; 64],
    len: usize,
}

impl Text {
    fn of(arguments: fmt::Arguments) -> Self {
        let mut text = Self { bytes: [0; 64], len: 0 };
        // What does not fit is left out, and then fails the comparison.
        let _ = text.write_fmt(arguments);
        text
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

struct Uuid([u8; 16]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_char('-')?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

pub fn check(guest: &mut Guest) {
    let info = guest.boot.info;
    let (store_frame, store_port) = guest.boot.store();
    let (console_frame, console_port) = guest.boot.console();
    number(guest, "memory/target", info.nr_pages * 4);
    number(guest, "store/port", store_port.0.into());
    number(guest, "store/ring-ref", store_frame.0);
    number(guest, "console/port", console_port.0.into());
    number(guest, "console/ring-ref", console_frame.0);

    match hypercall::guest_handle() {
        Ok(handle) => text(guest, "vm", Text::of(format_args!("/vm/{}", Uuid(handle))).as_str()),
        Err(error) => check!(guest, false, "asking Xen for the handle: {error}"),
    }
    let mut name = Text { bytes: [0; 64], len: 0 };
    if let Some(wanted) = guest.option("name") {
        name = Text::of(format_args!("{wanted}"));
        text(guest, "name", name.as_str());
    }
    let vcpus = promised(guest, "vcpus").unwrap_or(1);
    let max_vcpus = promised(guest, "max_vcpus").unwrap_or(vcpus);
    let mut online = 0;
    for vcpu in 0..max_vcpus {
        let path = Text::of(format_args!("cpu/{vcpu}/availability"));
        let path = path.as_str();
        text(guest, path, if vcpu < vcpus { "online" } else { "offline" });
        online += u64::from(guest.store.read(path) == Ok("online"));
    }
    let path = Text::of(format_args!("cpu/{max_vcpus}/availability"));
    let more = guest.store.read(path.as_str()).map(drop);
    check!(guest, more.is_err_and(|error| error.is("ENOENT")), "more than {max_vcpus} vcpus");

    // Rights: its name is not the guest's to change, its data is.
    let refused = guest.store.write("name", "mine");
    check!(
        guest,
        refused.is_err_and(|error| error.is("EACCES")),
        "may write its name: {refused:?}"
    );
    let allowed = guest.store.write("data/xtf", "mine");
    check!(guest, allowed.is_ok(), "may not write below data: {allowed:?}");
    text(guest, "data/xtf", "mine");
    let removed = guest.store.remove("data/xtf");
    check!(guest, removed.is_ok(), "may not remove what it wrote: {removed:?}");

    let domid = guest.store.read_number("domid");
    check!(guest, domid.is_ok(), "domid: {domid:?}");
    println!(
        "xtf: memory_kib={} vcpus={online} max_vcpus={} domid={} name={}",
        info.nr_pages * 4,
        xtf::vcpu::count().unwrap_or(0),
        domid.unwrap_or(0),
        name.as_str(),
    );
}

fn number(guest: &mut Guest, path: &str, wanted: u64) {
    let found = guest.store.read_number(path);
    equal!(guest, path, found, Ok(wanted));
}

fn text(guest: &mut Guest, path: &str, wanted: &str) {
    let found = guest.store.read(path);
    let same = found == Ok(wanted);
    if !same {
        match found {
            Ok(found) => println!("{path}: found {found:?}"),
            Err(error) => println!("{path}: {error}"),
        }
    }
    check!(guest, same, "{path}: wanted {wanted:?}");
}
