//! Hypercalls of an unprivileged PV guest, typed by what they take.
//!
//! They enter by `syscall` and not through the hypercall page, so that a guest without that page
//! runs the same code. Structures come from `xen_sys`.

use core::{arch::asm, fmt};
use xen_sys::xen::{
    __HYPERVISOR_console_io, __HYPERVISOR_event_channel_op, __HYPERVISOR_grant_table_op,
    __HYPERVISOR_memory_op, __HYPERVISOR_sched_op, __HYPERVISOR_set_trap_table,
    __HYPERVISOR_update_va_mapping, __HYPERVISOR_vcpu_op, __HYPERVISOR_xen_version,
    CONSOLEIO_write,
};
use xen_sys::{arch_x86::trap_info, sched};

/// `UVMF_INVLPG` (xen.h): flush one address after the change.
const UVMF_INVLPG: u64 = 2;

/// A hypercall's error: Xen's errno, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i64);

impl Errno {
    /// No such vCPU, port or entry (`XEN_ENOENT`).
    pub const NO_ENTRY: Self = Self(2);
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Xen errno {}", self.0)
    }
}

/// Makes hypercall `number`; the result is as Xen returns it, negative for an error.
///
/// # Safety
///
/// Every argument that is an address must hold for what the hypercall reads and writes there, and
/// the call must not change mappings that Rust relies on.
pub unsafe fn raw(number: u64, arguments: [u64; 4]) -> i64 {
    let result;
    // SAFETY: `syscall` from a PV kernel enters Xen, which takes the number in rax and arguments in
    // rdi, rsi, rdx, r10, and keeps every register but rax, rcx, r11 and the arguments. Memory
    // effects are the caller's to answer for; the asm block is taken to touch all memory.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            inlateout("rdi") arguments[0] => _,
            inlateout("rsi") arguments[1] => _,
            inlateout("rdx") arguments[2] => _,
            inlateout("r10") arguments[3] => _,
            out("r8") _,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result
}

fn check(result: i64) -> Result<u64, Errno> {
    u64::try_from(result).map_err(|_| Errno(-result))
}

fn address<T>(argument: &mut T) -> u64 {
    core::ptr::from_mut(argument) as u64
}

/// `SCHEDOP_*` with its structure.
pub fn sched_op<T: xen_sys::Zeroed>(op: u64, argument: &mut T) -> Result<u64, Errno> {
    // SAFETY: Xen reads the structure of `op`, which the caller passes by its C type; scheduling
    // operations write no guest memory.
    check(unsafe { raw(__HYPERVISOR_sched_op, [op, address(argument), 0, 0]) })
}

/// `EVTCHNOP_*` with its structure, which Xen may write.
pub fn event_channel_op<T: xen_sys::Zeroed>(op: u64, argument: &mut T) -> Result<u64, Errno> {
    // SAFETY: Xen reads and writes at most the structure, exclusively borrowed for the call.
    check(unsafe { raw(__HYPERVISOR_event_channel_op, [op, address(argument), 0, 0]) })
}

/// `XENVER_*` whose argument Xen fills; `u32` results come back directly.
///
/// # Safety
///
/// `argument` is null or points to as much memory as `op` writes.
pub unsafe fn xen_version(op: u64, argument: *mut u8) -> Result<u64, Errno> {
    // SAFETY: passed on to the caller.
    check(unsafe { raw(__HYPERVISOR_xen_version, [op, argument as u64, 0, 0]) })
}

/// Xen's version, major in the upper half.
#[must_use]
pub fn version() -> u32 {
    // SAFETY: XENVER_version takes no argument.
    let version = unsafe { xen_version(xen_sys::version::XENVER_version, core::ptr::null_mut()) };
    version.map_or(0, |version| version as u32)
}

/// The domain's handle, as the UUID's 16 bytes.
pub fn guest_handle() -> Result<[u8; 16], Errno> {
    let mut handle = [0; 16];
    // SAFETY: XENVER_guest_handle writes a xen_domain_handle_t, 16 bytes.
    unsafe { xen_version(xen_sys::version::XENVER_guest_handle, handle.as_mut_ptr())? };
    Ok(handle)
}

/// `XENMEM_*`.
///
/// # Safety
///
/// `argument` is the structure of `op`, and addresses in it hold for what `op` reads and writes.
pub unsafe fn memory_op<T: xen_sys::Zeroed>(op: u64, argument: &mut T) -> Result<u64, Errno> {
    // SAFETY: passed on to the caller.
    check(unsafe { raw(__HYPERVISOR_memory_op, [op, address(argument), 0, 0]) })
}

/// `GNTTABOP_*` with one structure.
///
/// # Safety
///
/// `argument` is the structure of `op`, and addresses in it hold for what `op` reads and writes.
pub unsafe fn grant_table_op<T: xen_sys::Zeroed>(op: u64, argument: &mut T) -> Result<u64, Errno> {
    // SAFETY: passed on to the caller.
    check(unsafe { raw(__HYPERVISOR_grant_table_op, [op, address(argument), 1, 0]) })
}

/// `VCPUOP_*` without a structure.
pub fn vcpu_op(op: u64, vcpu: u32) -> Result<u64, Errno> {
    // SAFETY: no address is passed.
    check(unsafe { raw(__HYPERVISOR_vcpu_op, [op, u64::from(vcpu), 0, 0]) })
}

/// Sets the page table entry that maps `va` and flushes it.
///
/// # Safety
///
/// Nothing that Rust uses may be mapped there, before or after, with other contents or rights.
pub unsafe fn update_va_mapping(va: u64, entry: u64) -> Result<(), Errno> {
    // SAFETY: passed on to the caller.
    check(unsafe { raw(__HYPERVISOR_update_va_mapping, [va, entry, UVMF_INVLPG, 0]) })?;
    Ok(())
}

/// Registers exception handlers; the table ends with an all-zero entry.
///
/// # Safety
///
/// Every address is an entry point that expects Xen's 64-bit exception frame.
pub unsafe fn set_trap_table(table: &[trap_info]) -> Result<(), Errno> {
    // SAFETY: Xen reads entries up to the zero one; the handlers are the caller's to answer for.
    check(unsafe { raw(__HYPERVISOR_set_trap_table, [table.as_ptr() as u64, 0, 0, 0]) })?;
    Ok(())
}

/// Writes to Xen's own console, which release builds of Xen refuse to ordinary guests.
pub fn emergency_console(text: &[u8]) {
    let arguments = [CONSOLEIO_write.into(), text.len() as u64, text.as_ptr() as u64, 0];
    // SAFETY: Xen reads `len` bytes at the address.
    let _ = unsafe { raw(__HYPERVISOR_console_io, arguments) };
}

/// Ends the domain with a `SHUTDOWN_*` reason.
pub fn shutdown(reason: u32) -> ! {
    let mut argument = sched::sched_shutdown { reason };
    loop {
        let _ = sched_op(sched::SCHEDOP_shutdown, &mut argument);
    }
}
