//! Exceptions: each one ends the test with what is known of it.

use crate::{hypercall, memory};
use core::{arch::global_asm, ptr::addr_of};
use xen_sys::arch_x86::{FLAT_KERNEL_CS, trap_info};

/// Exceptions of the processor that a PV guest can see.
const VECTORS: usize = 20;

const NAMES: [&str; VECTORS] = [
    "divide error",
    "debug",
    "nmi",
    "breakpoint",
    "overflow",
    "bound range",
    "invalid opcode",
    "device not available",
    "double fault",
    "coprocessor overrun",
    "invalid tss",
    "segment not present",
    "stack fault",
    "general protection fault",
    "page fault",
    "vector 15",
    "floating point error",
    "alignment check",
    "machine check",
    "simd error",
];

// Xen leaves rcx, r11, the error code of vectors that have one, then the usual frame. The stubs are
// 16 bytes apart, so that the address pushed by `call` tells the vector. `xtf_trap` does not return.
global_asm!(
    ".pushsection .text.traps, \"ax\", @progbits",
    ".balign 16",
    "xtf_trap_stubs:",
    ".rept {vectors}",
    ".balign 16",
    "    call 9f",
    ".endr",
    "9:  pop rdi",
    "    lea rax, [rip + xtf_trap_stubs]",
    "    sub rdi, rax",
    "    shr rdi, 4",
    "    mov rsi, rsp",
    "    and rsp, -16",
    "    xor ebp, ebp",
    "    call xtf_trap",
    "    ud2",
    ".popsection",
    vectors = const VECTORS,
);

unsafe extern "C" {
    static xtf_trap_stubs: u8;
}

const fn has_error_code(vector: u64) -> bool {
    matches!(vector, 8 | 10..=14 | 17)
}

/// Registers the handlers.
pub fn init() -> Result<(), hypercall::Errno> {
    let mut table: [trap_info; VECTORS + 1] =
        [const { trap_info { vector: 0, flags: 0, cs: 0, _hole0: [0; 4], address: 0 } }; _];
    for (vector, entry) in table[..VECTORS].iter_mut().enumerate() {
        entry.vector = vector as u8;
        entry.cs = FLAT_KERNEL_CS;
        entry.address = addr_of!(xtf_trap_stubs) as u64 + 16 * vector as u64;
    }
    // SAFETY: each address is a stub above, made for this frame; the last entry is zero.
    unsafe { hypercall::set_trap_table(&table) }
}

/// Reports an exception. `frame` is the stack pointer at the stub.
#[unsafe(no_mangle)]
extern "C" fn xtf_trap(vector: u64, frame: *const u64) -> ! {
    let error_words = usize::from(has_error_code(vector));
    // SAFETY: Xen's frame of at least 7 words, 8 with an error code, lies at `frame`.
    let (error, rip, rsp) = unsafe {
        let error = if error_words == 1 { frame.add(2).read() } else { 0 };
        (error, frame.add(2 + error_words).read(), frame.add(5 + error_words).read())
    };
    // SAFETY: shared_info is mapped before the handlers are registered.
    let cr2 = unsafe { addr_of!((*memory::shared_info()).vcpu_info[0].arch.cr2).read_volatile() };
    let name = NAMES.get(vector as usize).unwrap_or(&"unknown vector");
    panic!("{name} at {rip:#x}, error code {error:#x}, cr2 {cr2:#x}, rsp {rsp:#x}");
}
