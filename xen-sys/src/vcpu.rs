//! A guest's own vCPUs: bring up, stop, inspect, register areas. Mirrors `xen/vcpu.h`.

/// Load a vCPU's state: [`crate::arch_x86::vcpu_guest_context`].
pub const VCPUOP_initialise: u64 = 0;
/// Start a vCPU.
pub const VCPUOP_up: u64 = 1;
/// Stop a vCPU.
pub const VCPUOP_down: u64 = 2;
/// Ask whether it runs.
pub const VCPUOP_is_up: u64 = 3;
/// [`vcpu_runstate_info`].
pub const VCPUOP_get_runstate_info: u64 = 4;
/// Have run state kept at an address.
pub const VCPUOP_register_runstate_memory_area: u64 = 5;
/// [`vcpu_set_periodic_timer`].
pub const VCPUOP_set_periodic_timer: u64 = 6;
/// Stop it.
pub const VCPUOP_stop_periodic_timer: u64 = 7;
/// [`vcpu_set_singleshot_timer`].
pub const VCPUOP_set_singleshot_timer: u64 = 8;
/// Stop it.
pub const VCPUOP_stop_singleshot_timer: u64 = 9;
/// [`vcpu_register_vcpu_info`].
pub const VCPUOP_register_vcpu_info: u64 = 10;
/// Send an NMI.
pub const VCPUOP_send_nmi: u64 = 11;
/// [`vcpu_get_physid`].
pub const VCPUOP_get_physid: u64 = 12;
/// Have the clock kept at an address.
pub const VCPUOP_register_vcpu_time_memory_area: u64 = 13;
/// Have run state kept at a physical address. Since Xen 4.18.
pub const VCPUOP_register_runstate_phys_area: u64 = 14;
/// Have the clock kept at a physical address. Since Xen 4.18.
pub const VCPUOP_register_vcpu_time_phys_area: u64 = 15;
/// Bit of `state_entry_time`: Xen is writing.
pub const XEN_RUNSTATE_UPDATE: u64 = 1 << 63;
/// On a CPU.
pub const RUNSTATE_running: u32 = 0;
/// Waits for a CPU.
pub const RUNSTATE_runnable: u32 = 1;
/// Waits for an event.
pub const RUNSTATE_blocked: u32 = 2;
/// Down or paused.
pub const RUNSTATE_offline: u32 = 3;
/// Fail rather than fire for a time that has passed.
pub const VCPU_SSHOTTMR_future: u32 = 1 << 0;

/// Run state of a vCPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct vcpu_runstate_info {
    /// `RUNSTATE_*`.
    pub state: i32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// System time when it began, nanoseconds.
    pub state_entry_time: u64,
    /// Time in each state, nanoseconds.
    pub time: [u64; 4],
}
layout!(struct vcpu_runstate_info: 48, state 0, _hole0 4, state_entry_time 8, time 16);

/// `VCPUOP_register_runstate_memory_area`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct vcpu_register_runstate_memory_area {
    /// Address of a [`vcpu_runstate_info`]. In C: `addr.p`.
    pub p: u64,
}
layout!(struct vcpu_register_runstate_memory_area: 8, p 0);

/// `VCPUOP_register_vcpu_time_memory_area`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct vcpu_register_time_memory_area {
    /// Address of a [`crate::xen::vcpu_time_info`]. In C: `addr.p`.
    pub p: u64,
}
layout!(struct vcpu_register_time_memory_area: 8, p 0);

/// `VCPUOP_set_periodic_timer`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct vcpu_set_periodic_timer {
    /// Nanoseconds.
    pub period_ns: u64,
}
layout!(struct vcpu_set_periodic_timer: 8, period_ns 0);

/// `VCPUOP_set_singleshot_timer`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct vcpu_set_singleshot_timer {
    /// System time, nanoseconds.
    pub timeout_abs_ns: u64,
    /// `VCPU_SSHOTTMR_future`.
    pub flags: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
}
layout!(struct vcpu_set_singleshot_timer: 16, timeout_abs_ns 0, flags 8, _hole0 12);

/// `VCPUOP_register_vcpu_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct vcpu_register_vcpu_info {
    /// Frame.
    pub mfn: u64,
    /// Offset in it, bytes.
    pub offset: u32,
    /// Zero.
    pub rsvd: u32,
}
layout!(struct vcpu_register_vcpu_info: 16, mfn 0, offset 8, rsvd 12);

/// `VCPUOP_get_physid`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct vcpu_get_physid {
    /// APIC id, and the ACPI id in the high half.
    pub phys_id: u64,
}
layout!(struct vcpu_get_physid: 8, phys_id 0);
