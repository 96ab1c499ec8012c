//! Parameters of an HVM or PVH guest. Mirrors `xen/hvm/params.h`.

/// How events interrupt the guest; the type is in the top byte.
pub const HVM_PARAM_CALLBACK_IRQ: u32 = 0;
/// Frame of the xenstore ring.
pub const HVM_PARAM_STORE_PFN: u32 = 1;
/// Port of the xenstore ring.
pub const HVM_PARAM_STORE_EVTCHN: u32 = 2;
/// PAE is allowed.
pub const HVM_PARAM_PAE_ENABLED: u32 = 4;
/// Frame of I/O requests.
pub const HVM_PARAM_IOREQ_PFN: u32 = 5;
/// Frame of buffered I/O requests.
pub const HVM_PARAM_BUFIOREQ_PFN: u32 = 6;
/// Hyper-V enlightenments.
pub const HVM_PARAM_VIRIDIAN: u32 = 9;
/// What happens to missed timer ticks: `HVMPTM_*`.
pub const HVM_PARAM_TIMER_MODE: u32 = 10;
/// The HPET is there.
pub const HVM_PARAM_HPET_ENABLED: u32 = 11;
/// Frame of the identity page table.
pub const HVM_PARAM_IDENT_PT: u32 = 12;
/// Domain of the device model.
pub const HVM_PARAM_DM_DOMAIN: u32 = 13;
/// ACPI sleep state.
pub const HVM_PARAM_ACPI_S_STATE: u32 = 14;
/// Address of the vm86 TSS.
pub const HVM_PARAM_VM86_TSS: u32 = 15;
/// Timers are aligned.
pub const HVM_PARAM_VPT_ALIGN: u32 = 16;
/// Frame of the console ring.
pub const HVM_PARAM_CONSOLE_PFN: u32 = 17;
/// Port of the console ring.
pub const HVM_PARAM_CONSOLE_EVTCHN: u32 = 18;
/// Where the ACPI ports are.
pub const HVM_PARAM_ACPI_IOPORTS_LOCATION: u32 = 19;
/// The guest may run a hypervisor.
pub const HVM_PARAM_NESTEDHVM: u32 = 24;
/// Port of buffered I/O requests.
pub const HVM_PARAM_BUFIOREQ_EVTCHN: u32 = 26;
/// Frame of the paging ring.
pub const HVM_PARAM_PAGING_RING_PFN: u32 = 27;
/// Frame of the monitor ring.
pub const HVM_PARAM_MONITOR_RING_PFN: u32 = 28;
/// Frame of the sharing ring.
pub const HVM_PARAM_SHARING_RING_PFN: u32 = 29;
/// Shutdown reason of a triple fault.
pub const HVM_PARAM_TRIPLE_FAULT_REASON: u32 = 31;
/// First frame for I/O request servers.
pub const HVM_PARAM_IOREQ_SERVER_PFN: u32 = 32;
/// Frames for I/O request servers.
pub const HVM_PARAM_NR_IOREQ_SERVER_PAGES: u32 = 33;
/// Address of the generation id.
pub const HVM_PARAM_VM_GENERATION_ID_ADDR: u32 = 34;
/// Alternate p2ms.
pub const HVM_PARAM_ALTP2M: u32 = 35;
/// Width of the FPU's instruction pointer.
pub const HVM_PARAM_X87_FIP_WIDTH: u32 = 36;
/// Address and size of the vm86 TSS.
pub const HVM_PARAM_VM86_TSS_SIZED: u32 = 37;
/// Machine check capabilities.
pub const HVM_PARAM_MCA_CAP: u32 = 38;
/// Number of parameters.
pub const HVM_NR_PARAMS: u32 = 39;
/// Where the type of a callback is.
pub const HVM_PARAM_CALLBACK_IRQ_TYPE_MASK: u64 = 0xFF00_0000_0000_0000;
/// Callback by an interrupt line.
pub const HVM_PARAM_CALLBACK_TYPE_GSI: u64 = 0;
/// Callback by a PCI interrupt pin.
pub const HVM_PARAM_CALLBACK_TYPE_PCI_INTX: u64 = 1;
/// Callback by a vector.
pub const HVM_PARAM_CALLBACK_TYPE_VECTOR: u64 = 2;
/// Guest time stands still while it is descheduled.
pub const HVMPTM_delay_for_missed_ticks: u64 = 0;
/// Missed ticks are delivered late.
pub const HVMPTM_no_delay_for_missed_ticks: u64 = 1;
/// Missed ticks are dropped.
pub const HVMPTM_no_missed_ticks_pending: u64 = 2;
/// Missed ticks become one.
pub const HVMPTM_one_missed_tick_pending: u64 = 3;
