//! Frequency and idle states. Mirrors `xen/sysctl.h`.
//!
//! 4.21 (sysctl 0x16) changed these operations: they hold up to 0x15.

/// Bytes of a name with its terminator.
pub const CPUFREQ_NAME_LEN: usize = 16;
/// Ask for the number of frequencies.
pub const PMSTAT_get_max_px: u32 = 0x11;
/// Ask for frequency statistics.
pub const PMSTAT_get_pxstat: u32 = 0x12;
/// Zero them.
pub const PMSTAT_reset_pxstat: u32 = 0x13;
/// Ask for the number of idle states.
pub const PMSTAT_get_max_cx: u32 = 0x21;
/// Ask for idle statistics.
pub const PMSTAT_get_cxstat: u32 = 0x22;
/// Zero them.
pub const PMSTAT_reset_cxstat: u32 = 0x23;
/// One frequency. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct pm_px_val {
    /// MHz.
    pub freq: u64,
    /// Time in it, nanoseconds.
    pub residency: u64,
    /// Times entered.
    pub count: u64,
}
layout!(struct pm_px_val: 24, freq 0, residency 8, count 16);

/// Frequencies of a CPU. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct pm_px_stat {
    /// Frequencies.
    pub total: u8,
    /// Usable ones.
    pub usable: u8,
    /// The one before.
    pub last: u8,
    /// The current one.
    pub cur: u8,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of transitions, `u64` each, a square.
    pub trans_pt: u64,
    /// Address of [`pm_px_val`] records.
    pub pt: u64,
}
layout!(struct pm_px_stat: 24, total 0, usable 1, last 2, cur 3, _hole0 4, trans_pt 8, pt 16);

/// Idle states of a CPU. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct pm_cx_stat {
    /// Idle states.
    pub nr: u32,
    /// The last one.
    pub last: u32,
    /// Nanoseconds.
    pub idle_time: u64,
    /// Address of times entered, `u64` each.
    pub triggers: u64,
    /// Address of times spent, `u64` each.
    pub residencies: u64,
    /// Package states.
    pub nr_pc: u32,
    /// Core states.
    pub nr_cc: u32,
    /// Address of times in package states, `u64` each.
    pub pc: u64,
    /// Address of times in core states, `u64` each.
    pub cc: u64,
}
layout!(
    struct pm_cx_stat: 56, nr 0, last 4, idle_time 8, triggers 16, residencies 24, nr_pc 32,
    nr_cc 36, pc 40, cc 48
);

/// Statistics by kind. In C: `struct xen_sysctl_get_pmstat::u`. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_sysctl_get_pmstat_u {
    /// Frequencies.
    pub getpx: pm_px_stat,
    /// Idle states.
    pub getcx: pm_cx_stat,
}
layout!(union xen_sysctl_get_pmstat_u: 56, getpx, getcx);

/// `XEN_SYSCTL_get_pmstat`. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_sysctl_get_pmstat {
    /// `PMSTAT_*`.
    pub r#type: u32,
    /// CPU.
    pub cpuid: u32,
    /// Statistics.
    pub u: xen_sysctl_get_pmstat_u,
}
layout!(struct xen_sysctl_get_pmstat: 64, r#type 0, cpuid 4, u 8);

/// Highest frequency, kHz.
pub const SCALING_MAX_FREQ: u32 = 1;
/// Lowest frequency, kHz.
pub const SCALING_MIN_FREQ: u32 = 2;
/// Frequency of the userspace governor, kHz.
pub const SCALING_SETSPEED: u32 = 3;
/// Sampling rate of the ondemand governor.
pub const SAMPLING_RATE: u32 = 4;
/// Threshold of the ondemand governor.
pub const UP_THRESHOLD: u32 = 5;
/// Ask for frequency control.
pub const GET_CPUFREQ_PARA: u32 = 0x11;
/// Choose a governor.
pub const SET_CPUFREQ_GOV: u32 = 0x12;
/// Set a parameter.
pub const SET_CPUFREQ_PARA: u32 = 0x13;
/// Ask for the average frequency.
pub const GET_CPUFREQ_AVGFREQ: u32 = 0x14;
/// Set parameters of hardware control. Since Xen 4.18.
pub const SET_CPUFREQ_CPPC: u32 = 0x15;
/// Let the scheduler save power.
pub const XEN_SYSCTL_pm_op_set_sched_opt_smt: u32 = 0x21;
/// Ask for the deepest idle state.
pub const XEN_SYSCTL_pm_op_get_max_cstate: u32 = 0x22;
/// Set the deepest idle state.
pub const XEN_SYSCTL_pm_op_set_max_cstate: u32 = 0x23;
/// Turbo on.
pub const XEN_SYSCTL_pm_op_enable_turbo: u32 = 0x26;
/// Turbo off.
pub const XEN_SYSCTL_pm_op_disable_turbo: u32 = 0x27;
/// No limit to idle states.
pub const XEN_SYSCTL_CX_UNLIMITED: u32 = 0xffff_ffff;
/// The userspace governor. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_userspace {
    /// Frequency, kHz.
    pub scaling_setspeed: u32,
}
layout!(struct xen_userspace: 4, scaling_setspeed 0);

/// The ondemand governor. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_ondemand {
    /// Highest rate.
    pub sampling_rate_max: u32,
    /// Lowest rate.
    pub sampling_rate_min: u32,
    /// Rate.
    pub sampling_rate: u32,
    /// Percent of load that raises the frequency.
    pub up_threshold: u32,
}
layout!(
    struct xen_ondemand: 16, sampling_rate_max 0, sampling_rate_min 4, sampling_rate 8,
    up_threshold 12
);

/// Parameters by governor. In C: `struct xen_get_cpufreq_para::u.s.u`. Since Xen 4.18, until Xen
/// 4.20.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_get_cpufreq_para_governor {
    /// Userspace.
    pub userspace: xen_userspace,
    /// Ondemand.
    pub ondemand: xen_ondemand,
}
layout!(union xen_get_cpufreq_para_governor: 16, userspace, ondemand);

/// Control by Xen. In C: `struct xen_get_cpufreq_para::u.s`. Since Xen 4.18, until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_get_cpufreq_para_s {
    /// Frequency, kHz.
    pub scaling_cur_freq: u32,
    /// Governor.
    pub scaling_governor: [u8; CPUFREQ_NAME_LEN],
    /// Highest, kHz.
    pub scaling_max_freq: u32,
    /// Lowest, kHz.
    pub scaling_min_freq: u32,
    /// Governor's parameters.
    pub u: xen_get_cpufreq_para_governor,
}
layout!(
    struct xen_get_cpufreq_para_s: 44, scaling_cur_freq 0, scaling_governor 4, scaling_max_freq
    20, scaling_min_freq 24, u 28
);

/// Control by hardware. Since Xen 4.18, until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_cppc_para {
    /// What can be set.
    pub features: u32,
    /// Lowest performance.
    pub lowest: u32,
    /// Lowest efficient performance.
    pub lowest_nonlinear: u32,
    /// Guaranteed performance.
    pub nominal: u32,
    /// Highest performance.
    pub highest: u32,
    /// Lower limit.
    pub minimum: u32,
    /// Upper limit.
    pub maximum: u32,
    /// Wanted; 0 leaves it to hardware.
    pub desired: u32,
    /// 0 performance to 255 saving.
    pub energy_perf: u32,
    /// Averaging window.
    pub activity_window: u32,
}
layout!(
    struct xen_cppc_para: 40, features 0, lowest 4, lowest_nonlinear 8, nominal 12, highest 16,
    minimum 20, maximum 24, desired 28, energy_perf 32, activity_window 36
);

/// Control by hardware. Since Xen 4.18, until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_set_cppc_para {
    /// Which of the fields hold.
    pub set_params: u32,
    /// Lower limit.
    pub minimum: u32,
    /// Upper limit.
    pub maximum: u32,
    /// Wanted.
    pub desired: u32,
    /// 0 performance to 255 saving.
    pub energy_perf: u32,
    /// Averaging window.
    pub activity_window: u32,
}
layout!(
    struct xen_set_cppc_para: 24, set_params 0, minimum 4, maximum 8, desired 12, energy_perf
    16, activity_window 20
);

/// By kind of control. In C: `struct xen_get_cpufreq_para::u`. Since Xen 4.18, until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_get_cpufreq_para_u {
    /// By Xen.
    pub s: xen_get_cpufreq_para_s,
    /// By hardware.
    pub cppc_para: xen_cppc_para,
}
layout!(union xen_get_cpufreq_para_u: 44, s, cppc_para);

/// Frequency control. Earlier releases have the fields of `u.s` at the same places. Since Xen 4.18,
/// until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_get_cpufreq_para {
    /// CPUs that share it.
    pub cpu_num: u32,
    /// Frequencies.
    pub freq_num: u32,
    /// Governors.
    pub gov_num: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of CPUs, `u32` each.
    pub affected_cpus: u64,
    /// Address of frequencies, kHz, `u32` each.
    pub scaling_available_frequencies: u64,
    /// Address of names.
    pub scaling_available_governors: u64,
    /// Driver.
    pub scaling_driver: [u8; CPUFREQ_NAME_LEN],
    /// Frequency, kHz.
    pub cpuinfo_cur_freq: u32,
    /// Highest possible, kHz.
    pub cpuinfo_max_freq: u32,
    /// Lowest possible, kHz.
    pub cpuinfo_min_freq: u32,
    /// Control.
    pub u: xen_get_cpufreq_para_u,
    /// 1 with turbo.
    pub turbo_enabled: i32,
    /// Unnamed in the header; zero.
    pub _hole1: [u8; 4],
}
layout!(
    struct xen_get_cpufreq_para: 120, cpu_num 0, freq_num 4, gov_num 8, _hole0 12, affected_cpus
    16, scaling_available_frequencies 24, scaling_available_governors 32, scaling_driver 40,
    cpuinfo_cur_freq 56, cpuinfo_max_freq 60, cpuinfo_min_freq 64, u 68, turbo_enabled 112,
    _hole1 116
);

/// Chooses a governor. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_set_cpufreq_gov {
    /// Name, terminated.
    pub scaling_governor: [u8; CPUFREQ_NAME_LEN],
}
layout!(struct xen_set_cpufreq_gov: 16, scaling_governor 0);

/// Sets a parameter. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_set_cpufreq_para {
    /// `SCALING_*` and so on.
    pub ctrl_type: u32,
    /// Value.
    pub ctrl_value: u32,
}
layout!(struct xen_set_cpufreq_para: 8, ctrl_type 0, ctrl_value 4);

/// Argument by operation. In C: `struct xen_sysctl_pm_op::u`. Since Xen 4.18, until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_sysctl_pm_op_u {
    /// Ask.
    pub get_para: xen_get_cpufreq_para,
    /// Governor.
    pub set_gov: xen_set_cpufreq_gov,
    /// Parameter.
    pub set_para: xen_set_cpufreq_para,
    /// Control by hardware.
    pub set_cppc: xen_set_cppc_para,
    /// Out: average frequency, kHz.
    pub get_avgfreq: u64,
    /// 1 saves power.
    pub set_sched_opt_smt: u32,
    /// Out: deepest idle state.
    pub get_max_cstate: u32,
    /// Deepest idle state.
    pub set_max_cstate: u32,
}
layout!(
    union xen_sysctl_pm_op_u: 120, get_para, set_gov, set_para, set_cppc, get_avgfreq,
    set_sched_opt_smt, get_max_cstate, set_max_cstate
);

/// `XEN_SYSCTL_pm_op`. Since Xen 4.18, until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_sysctl_pm_op {
    /// `GET_CPUFREQ_PARA` and so on.
    pub cmd: u32,
    /// CPU.
    pub cpuid: u32,
    /// Argument.
    pub u: xen_sysctl_pm_op_u,
}
layout!(struct xen_sysctl_pm_op: 128, cmd 0, cpuid 4, u 8);
