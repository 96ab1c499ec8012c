//! Checks what a guest was started with, against the ABI, the store and the command line.
//!
//! The command line tells what the toolstack was asked for, each word optional:
//! `memory_kib=8192 vcpus=1 max_vcpus=1 name=check ramdisk_bytes=4096 ramdisk_crc32=1c291ca3`.
//! Every failed check prints a `FAIL:` line; one `xtf:` line of key=value words tells what was found.

use xtf::{Guest, Outcome, crc::Crc32, memory, memory::PAGE, println};

mod grants;
mod layout;
mod loaded;
mod node;

/// `check!(guest, condition, "what", …)` counts and reports.
macro_rules! check {
    ($guest:expr, $holds:expr, $($what:tt)+) => {{
        let holds = $holds;
        $guest.checks.check(holds, format_args!($($what)+))
    }};
}
/// Two values that must be equal, printed when they are not.
macro_rules! equal {
    ($guest:expr, $what:expr, $found:expr, $wanted:expr) => {{
        let (found, wanted) = ($found, $wanted);
        $guest.checks.check(
            found == wanted,
            format_args!("{}: found {:?}, wanted {:?}", $what, found, wanted),
        )
    }};
}
pub(crate) use {check, equal};

pub fn run(guest: &mut Guest) -> Outcome {
    loaded::check_image(guest);
    start_info(guest);
    shared_info(guest);
    rings(guest);
    resources(guest);
    layout::check(guest);
    ramdisk(guest);
    grants::check(guest);
    node::check(guest);
    guest.checks.verdict()
}

/// A number that the command line promises.
pub fn promised(guest: &Guest, key: &str) -> Option<u64> {
    guest.option(key).and_then(|value| value.parse().ok())
}

fn start_info(guest: &mut Guest) {
    use xtf::xen_sys::xen::{MAX_GUEST_CMDLINE, SIF_INITDOMAIN, SIF_MULTIBOOT_MOD, SIF_PRIVILEGED};
    let info = guest.boot.info;
    let magic = b"xen-3.0-x86_64\0";
    check!(guest, info.magic.starts_with(magic), "start_info.magic: {:x?}", info.magic);
    check!(guest, info.magic[magic.len()..].iter().all(|byte| *byte == 0), "magic is not padded");
    check!(
        guest,
        guest.boot.info_va.is_multiple_of(PAGE),
        "start_info at {:#x}",
        guest.boot.info_va
    );
    for flag in [SIF_PRIVILEGED, SIF_INITDOMAIN, SIF_MULTIBOOT_MOD] {
        check!(guest, info.flags & flag == 0, "start_info.flags {:#x} has {flag:#x}", info.flags);
    }
    check!(guest, info.cmd_line.contains(&0), "cmd_line of {MAX_GUEST_CMDLINE} is not terminated");
    let line = xtf::cmdline::bytes(&info.cmd_line).len();
    check!(guest, info.cmd_line[line..].iter().all(|byte| *byte == 0), "cmd_line is not padded");
    if let Some(memory_kib) = promised(guest, "memory_kib") {
        equal!(guest, "start_info.nr_pages in KiB", info.nr_pages * 4, memory_kib);
    }
}

/// shared_info as Xen and the builder leave it.
fn shared_info(guest: &mut Guest) {
    let shared = memory::shared_info();
    for vcpu in 0..xtf::xen_sys::xen::XEN_LEGACY_MAX_VCPUS {
        // SAFETY: shared_info is mapped; Xen may write it at any time, hence volatile.
        let mask = unsafe {
            core::ptr::addr_of!((*shared).vcpu_info[vcpu].evtchn_upcall_mask).read_volatile()
        };
        check!(guest, mask != 0, "shared_info.vcpu_info[{vcpu}] takes upcalls");
    }
    // SAFETY: as above.
    let (words, seconds) = unsafe {
        (
            core::ptr::addr_of!((*shared).evtchn_mask).read_volatile(),
            core::ptr::addr_of!((*shared).wc_sec).read_volatile(),
        )
    };
    check!(guest, words.iter().all(|word| *word == 0), "event channels start out masked");
    check!(guest, seconds != 0, "wall clock is not set");
    let time = xtf::clock::parameters();
    check!(guest, time.tsc_to_system_mul != 0, "system time has no scale");
    let before = xtf::clock::now_ns();
    let after = xtf::clock::now_ns();
    check!(guest, after >= before, "system time ran back from {before} to {after} ns");
}

/// Both rings: on pages of our own, in order, with ports bound to the control domain.
fn rings(guest: &mut Guest) {
    use xtf::xen_sys::event_channel::{EVTCHNSTAT_interdomain, EVTCHNSTAT_unbound};
    let boot = guest.boot;
    for (name, (frame, port)) in [("store", boot.store()), ("console", boot.console())] {
        check!(guest, boot.va_of(frame).is_some(), "{name}: frame {frame} is not ours");
        check!(guest, port.0 > 0 && port.0 < xtf::event::PORTS, "{name}: port {port}");
        match xtf::event::status(port) {
            Ok(status) => {
                // SAFETY: both members begin with the domid, which Xen writes for both states.
                let domid = unsafe { status.u.interdomain.dom };
                let bound = [EVTCHNSTAT_unbound, EVTCHNSTAT_interdomain].contains(&status.status);
                check!(guest, bound, "{name}: port {port} has status {}", status.status);
                equal!(guest, format_args!("{name}: domain at the other end"), domid, 0);
            }
            Err(error) => check!(guest, false, "{name}: status of port {port}: {error}"),
        }
    }
    check!(guest, boot.store() != boot.console(), "console and store are the same");
}

/// What Xen gave the domain, by its own account.
fn resources(guest: &mut Guest) {
    let found = xtf::vcpu::count();
    match found {
        Ok(count) => {
            if let Some(vcpus) = promised(guest, "max_vcpus").or(promised(guest, "vcpus")) {
                equal!(guest, "vcpus that Xen made", u64::from(count), vcpus);
            }
        }
        Err(error) => check!(guest, false, "counting vcpus: {error}"),
    }
    check!(guest, xtf::vcpu::is_up(0) == Ok(true), "vcpu 0 is not up");
    for vcpu in 1..found.unwrap_or(1) {
        check!(guest, xtf::vcpu::is_up(vcpu) == Ok(false), "vcpu {vcpu} runs already");
    }
    match memory::reservation() {
        Ok((now, most)) => {
            equal!(guest, "pages by Xen's count", now, guest.boot.info.nr_pages);
            check!(guest, most >= now, "may hold {most} pages, holds {now}");
        }
        Err(error) => check!(guest, false, "reading the reservation: {error}"),
    }
}

fn ramdisk(guest: &mut Guest) {
    let info = guest.boot.info;
    let promised = promised(guest, "ramdisk_bytes");
    if let Some(bytes) = promised {
        // Some libxl releases tell the length in whole pages, and all do for a ramdisk given by pfn.
        let pages = info.mod_len == bytes.next_multiple_of(PAGE);
        check!(guest, info.mod_len == bytes || pages, "start_info.mod_len {}", info.mod_len);
    }
    let mut crc = Crc32::default();
    let mut left = promised.unwrap_or(info.mod_len).min(info.mod_len);
    let bytes = left;
    let mut at = info.mod_start;
    while left > 0 {
        let count = left.min(PAGE) as usize;
        let pfn = layout::ramdisk_pfn(&info, at);
        let Some(mfn) = guest.boot.mfn(pfn) else {
            check!(guest, false, "ramdisk leaves the memory at pfn {pfn}");
            return;
        };
        let read = memory::with_frame(mfn, false, |words| {
            // SAFETY: the frame is mapped for this call and nothing writes to it meanwhile.
            crc.update(unsafe { core::slice::from_raw_parts(words.cast::<u8>(), count) });
            // The rest of the last page is padding, and must not show what was there before.
            // SAFETY: as above; 4096 bytes are mapped.
            let rest = unsafe {
                core::slice::from_raw_parts(words.cast::<u8>().add(count), PAGE as usize - count)
            };
            rest.iter().all(|byte| *byte == 0)
        });
        match read {
            Ok(clean) => check!(guest, clean, "the ramdisk's last page is not cleared"),
            Err(error) => check!(guest, false, "looking at the ramdisk's pfn {pfn}: {error}"),
        }
        left -= count as u64;
        at = layout::next_ramdisk_page(&info, at);
    }
    println!("xtf: ramdisk_bytes={} ramdisk_crc32={:08x}", bytes, crc.value());
    if let Some(wanted) = guest.option("ramdisk_crc32") {
        let wanted = u32::from_str_radix(wanted, 16).ok();
        equal!(guest, "ramdisk_crc32", Some(crc.value()), wanted);
    }
}
