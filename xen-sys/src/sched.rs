//! Scheduling calls of a guest, and shutting another domain down. Mirrors `xen/sched.h`.

use crate::xen::domid_t;

/// Give up the rest of the time slice.
pub const SCHEDOP_yield: u64 = 0;
/// Wait for an event.
pub const SCHEDOP_block: u64 = 1;
/// Shut the caller down: [`sched_shutdown`].
pub const SCHEDOP_shutdown: u64 = 2;
/// Wait for given ports: [`sched_poll`].
pub const SCHEDOP_poll: u64 = 3;
/// Shut another domain down: [`sched_remote_shutdown`].
pub const SCHEDOP_remote_shutdown: u64 = 4;
/// Note a reason for a shutdown to come: [`sched_shutdown`].
pub const SCHEDOP_shutdown_code: u64 = 5;
/// Arm a watchdog: [`sched_watchdog`].
pub const SCHEDOP_watchdog: u64 = 6;
/// Pin the calling vCPU for a while: [`sched_pin_override`].
pub const SCHEDOP_pin_override: u64 = 7;
/// Power off.
pub const SHUTDOWN_poweroff: u32 = 0;
/// Reboot.
pub const SHUTDOWN_reboot: u32 = 1;
/// Suspended: the state can be saved.
pub const SHUTDOWN_suspend: u32 = 2;
/// Crashed.
pub const SHUTDOWN_crash: u32 = 3;
/// A watchdog fired.
pub const SHUTDOWN_watchdog: u32 = 4;
/// Reset in place.
pub const SHUTDOWN_soft_reset: u32 = 5;
/// Highest reason.
pub const SHUTDOWN_MAX: u32 = 5;

/// Reason of a shutdown.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct sched_shutdown {
    /// `SHUTDOWN_*`.
    pub reason: u32,
}
layout!(struct sched_shutdown: 4, reason 0);

/// Ports to wait for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct sched_poll {
    /// Address of ports, `u32` each.
    pub ports: u64,
    /// How many.
    pub nr_ports: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// System time to give up, nanoseconds; 0 never.
    pub timeout: u64,
}
layout!(struct sched_poll: 24, ports 0, nr_ports 8, _hole0 12, timeout 16);

/// `SCHEDOP_remote_shutdown`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct sched_remote_shutdown {
    /// The domain.
    pub domain_id: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// `SHUTDOWN_*`.
    pub reason: u32,
}
layout!(struct sched_remote_shutdown: 8, domain_id 0, _hole0 2, reason 4);

/// `SCHEDOP_watchdog`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct sched_watchdog {
    /// 0 for a new one, else which.
    pub id: u32,
    /// Seconds; 0 disarms.
    pub timeout: u32,
}
layout!(struct sched_watchdog: 8, id 0, timeout 4);

/// `SCHEDOP_pin_override`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct sched_pin_override {
    /// CPU; negative undoes.
    pub pcpu: i32,
}
layout!(struct sched_pin_override: 4, pcpu 0);
