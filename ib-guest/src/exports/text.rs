//! Words for numbers, and files below /sys.

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// `enum ibv_wc_status`, in its order.
const STATUSES: [&CStr; 24] = [
    c"success",
    c"local length error",
    c"local QP operation error",
    c"local EE context operation error",
    c"local protection error",
    c"Work Request Flushed Error",
    c"memory management operation error",
    c"bad response error",
    c"local access error",
    c"remote invalid request error",
    c"remote access error",
    c"remote operation error",
    c"transport retry counter exceeded",
    c"RNR retry counter exceeded",
    c"local RDD violation error",
    c"remote invalid RD request",
    c"aborted error",
    c"invalid EE context number",
    c"invalid EE context state",
    c"fatal error",
    c"response timeout error",
    c"general error",
    c"TM error",
    c"TM software rendezvous",
];

/// `enum ibv_node_type`, from 1.
const NODE_TYPES: [&CStr; 7] = [
    c"InfiniBand channel adapter",
    c"InfiniBand switch",
    c"InfiniBand router",
    c"iWARP NIC",
    c"usNIC",
    c"usNIC UDP",
    c"unspecified",
];

/// `enum ibv_port_state`, in its order.
const PORT_STATES: [&CStr; 6] = [
    c"no state change (NOP)",
    c"PORT_DOWN",
    c"PORT_INIT",
    c"PORT_ARMED",
    c"PORT_ACTIVE",
    c"PORT_ACTIVE_DEFER",
];

/// `enum ibv_event_type`, in its order.
const EVENTS: [&CStr; 20] = [
    c"CQ error",
    c"local work queue catastrophic error",
    c"invalid request local work queue error",
    c"local access violation work queue error",
    c"communication established",
    c"send queue drained",
    c"path migrated",
    c"path migration request error",
    c"local catastrophic error",
    c"port active",
    c"port error",
    c"LID change",
    c"P_Key change",
    c"SM change",
    c"SRQ catastrophic error",
    c"SRQ limit reached",
    c"last WQE reached",
    c"client reregistration",
    c"GID table change",
    c"WQ fatal",
];

fn word(words: &[&'static CStr], index: i64) -> *const c_char {
    let found = usize::try_from(index).ok().and_then(|index| words.get(index));
    found.unwrap_or(&c"unknown").as_ptr()
}

/// What a completion's status means.
#[unsafe(no_mangle)]
pub extern "C" fn ibv_wc_status_str(status: c_int) -> *const c_char {
    word(&STATUSES, status.into())
}

/// What a node's type is called.
#[unsafe(no_mangle)]
pub extern "C" fn ibv_node_type_str(kind: c_int) -> *const c_char {
    word(&NODE_TYPES, i64::from(kind) - 1)
}

/// What a port's state is called.
#[unsafe(no_mangle)]
pub extern "C" fn ibv_port_state_str(state: c_int) -> *const c_char {
    word(&PORT_STATES, state.into())
}

/// What an asynchronous event means.
#[unsafe(no_mangle)]
pub extern "C" fn ibv_event_type_str(kind: c_int) -> *const c_char {
    word(&EVENTS, kind.into())
}

/// Where sysfs is.
#[unsafe(no_mangle)]
pub extern "C" fn ibv_get_sysfs_path() -> *const c_char {
    c"/sys".as_ptr()
}

/// Reads a file below a directory as text, without the end of its line; gives its length, or -1.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_read_sysfs_file(
    directory: *const c_char,
    file: *const c_char,
    to: *mut c_char,
    size: usize,
) -> c_int {
    // SAFETY: by the contract both are strings.
    let (directory, file) = unsafe { (CStr::from_ptr(directory), CStr::from_ptr(file)) };
    let directory = Path::new(OsStr::from_bytes(directory.to_bytes()));
    let Ok(text) = std::fs::read(directory.join(OsStr::from_bytes(file.to_bytes()))) else {
        return -1;
    };
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let length = text.len().min(size.saturating_sub(1));
    if size > 0 {
        // SAFETY: by the contract `size` bytes can be written, and length is below that.
        unsafe {
            to.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), length);
            to.add(length).write(0);
        }
    }
    length as c_int
}
