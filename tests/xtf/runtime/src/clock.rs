//! Xen's system time: nanoseconds since the host booted.

use crate::memory;
use core::{
    arch::x86_64::_rdtsc,
    ptr::addr_of,
    sync::atomic::{Ordering, fence},
};
use xen_sys::xen::vcpu_time_info;

/// One second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// The first vCPU's clock parameters, read while Xen was not writing them.
#[must_use]
pub fn parameters() -> vcpu_time_info {
    // SAFETY: shared_info stays mapped for the life of the guest; only the address is taken.
    let time = unsafe { addr_of!((*memory::shared_info()).vcpu_info[0].time) };
    loop {
        // SAFETY: Xen writes this structure at any time: volatile, and judged by its version.
        let before = unsafe { addr_of!((*time).version).read_volatile() };
        fence(Ordering::Acquire);
        // SAFETY: as above.
        let copy = unsafe { time.read_volatile() };
        fence(Ordering::Acquire);
        // SAFETY: as above.
        let after = unsafe { addr_of!((*time).version).read_volatile() };
        if before == after && before & 1 == 0 {
            return copy;
        }
    }
}

/// Nanoseconds since the host booted.
#[must_use]
pub fn now_ns() -> u64 {
    let time = parameters();
    // SAFETY: rdtsc reads a counter; Xen lets PV kernels execute it or emulates it.
    let ticks = unsafe { _rdtsc() }.wrapping_sub(time.tsc_timestamp);
    let shifted =
        if time.tsc_shift < 0 { ticks >> -time.tsc_shift } else { ticks << time.tsc_shift };
    let elapsed = (u128::from(shifted) * u128::from(time.tsc_to_system_mul)) >> 32;
    time.system_time.wrapping_add(elapsed as u64)
}
