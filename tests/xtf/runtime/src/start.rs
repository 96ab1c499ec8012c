//! From the first instruction to the guest's function, and from its outcome to the shutdown.

use crate::{console, hypercall, memory, println, store::Store, trap};
use core::{arch::global_asm, fmt, panic::PanicInfo};
use xen_sys::{
    io::{console::xencons_interface, xs_wire::xenstore_domain_interface},
    sched::{SHUTDOWN_crash, SHUTDOWN_poweroff},
    types::{Mfn, Port},
    xen::start_info,
};

/// The stack, bytes; the page below it is unmapped.
const STACK_BYTES: usize = 128 * 1024;

// The builder passes start_info in rsi and a stack that is not ours to keep. bss is looked at before
// anything is written to it.
global_asm!(
    ".pushsection .text.start, \"ax\", @progbits",
    ".globl _start",
    "_start:",
    "    cld",
    "    mov rbx, rsi",
    "    mov rbp, rsp",
    "    lea rdi, [rip + __bss_start]",
    "    lea rcx, [rip + __bss_end]",
    "    sub rcx, rdi",
    "    shr rcx, 3",
    "    xor eax, eax",
    "    repe scasq",
    "    setne al",
    "    movzx edx, al",
    "    mov rdi, rbx",
    "    mov rsi, rbp",
    "    lea rsp, [rip + xtf_stack + 4096 + {stack}]",
    "    xor ebp, ebp",
    "    call xtf_start",
    "    ud2",
    ".popsection",
    // Xen fills this page when the ELF note names it.
    ".pushsection .text.hypercall, \"ax\", @progbits",
    ".balign 4096",
    ".globl hypercall_page",
    "hypercall_page:",
    "    .fill 4096, 1, {untouched}",
    ".popsection",
    ".pushsection .bss.pages, \"aw\", @nobits",
    ".balign 4096",
    "xtf_stack:",
    "    .zero 4096 + {stack}",
    ".popsection",
    stack = const STACK_BYTES,
    untouched = const HYPERCALL_PAGE_UNTOUCHED,
);

/// What every byte of the hypercall page is in the image.
pub const HYPERCALL_PAGE_UNTOUCHED: u8 = 0xf4;

unsafe extern "C" {
    static xtf_stack: u8;
    static hypercall_page: [u8; 4096];
    static __image_start: u8;
    static __image_end: u8;
}

unsafe extern "Rust" {
    fn xtf_main(guest: &mut Guest) -> Outcome;
}

/// How a test ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything held.
    Success,
    /// The test does not apply here, for the reason given.
    Skip(&'static str),
    /// The test could not be carried out.
    Error(&'static str),
    /// Something did not hold; the lines before say what.
    Failure,
}

impl fmt::Display for Outcome {
    /// XTF's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "SUCCESS",
            Self::Skip(_) => "SKIP",
            Self::Error(_) => "ERROR",
            Self::Failure => "FAILURE",
        })
    }
}

/// What the builder started the guest with, as found at the first instruction.
#[derive(Clone, Copy)]
pub struct Boot {
    /// start_info, copied.
    pub info: start_info,
    /// Where start_info lies.
    pub info_va: u64,
    /// The stack pointer at entry.
    pub stack: u64,
    /// Whether all of bss was zero.
    pub bss_was_zero: bool,
    /// How far Xen's machine-to-physical table reaches, frames.
    pub machine_frames: u64,
}

impl Boot {
    /// The machine frame of a pfn, from the builder's list; `None` beyond the guest's memory.
    #[must_use]
    pub fn mfn(&self, pfn: u64) -> Option<Mfn> {
        if pfn >= self.info.nr_pages {
            return None;
        }
        let entry = (self.info.mfn_list as *const u64).wrapping_add(pfn as usize);
        // SAFETY: the builder maps a list of nr_pages words at mfn_list (start_info's contract). If
        // it does not, the page fault ends the test with the address.
        Some(Mfn(unsafe { entry.read_volatile() }))
    }

    /// The machine frame of an address in the initial mapping.
    #[must_use]
    pub fn mfn_of_va(&self, va: u64) -> Option<Mfn> {
        self.mfn(va.wrapping_sub(memory::VIRT_BASE) / memory::PAGE)
    }

    /// The address at which a frame lies in the initial mapping.
    #[must_use]
    pub fn va_of(&self, mfn: Mfn) -> Option<u64> {
        let pfn = memory::pfn_of(mfn, self.machine_frames)?;
        (self.mfn(pfn.0)? == mfn).then(|| memory::address(pfn))
    }

    /// The store ring's frame and port.
    #[must_use]
    pub fn store(&self) -> (Mfn, Port) {
        (Mfn(self.info.store_mfn), Port(self.info.store_evtchn))
    }

    /// The console ring's frame and port.
    #[must_use]
    pub fn console(&self) -> (Mfn, Port) {
        // SAFETY: the domain is not the control domain, so the union holds the guest's part; both
        // parts are plain integers in any case.
        let console = unsafe { self.info.console.domU };
        (Mfn(console.mfn), Port(console.evtchn))
    }

    /// The image's addresses, bss included.
    #[must_use]
    pub fn image(&self) -> core::ops::Range<u64> {
        core::ptr::addr_of!(__image_start) as u64..core::ptr::addr_of!(__image_end) as u64
    }

    /// The hypercall page as it is now.
    #[must_use]
    pub fn hypercall_page(&self) -> &'static [u8; 4096] {
        // SAFETY: a page of the image that nothing writes after Xen filled it at creation.
        unsafe { &*core::ptr::addr_of!(hypercall_page) }
    }
}

/// Everything a test works with.
pub struct Guest {
    /// What the builder did.
    pub boot: Boot,
    /// The guest's own xenstore ring.
    pub store: Store,
    /// What held and what did not.
    pub checks: Checks,
}

/// A count of checks; a field of its own, so that a check's text may speak of the rest of [`Guest`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Checks {
    made: u32,
    failed: u32,
}

impl Checks {
    /// Counts one check and prints it when it fails.
    pub fn check(&mut self, holds: bool, what: fmt::Arguments) {
        self.made += 1;
        if !holds {
            self.failed += 1;
            println!("FAIL: {what}");
        }
    }

    /// Success when every check held.
    #[must_use]
    pub fn verdict(&self) -> Outcome {
        println!("xtf: checks={} failed={}", self.made, self.failed);
        if self.failed == 0 { Outcome::Success } else { Outcome::Failure }
    }
}

impl Guest {
    /// The value of `key=value` on the command line.
    #[must_use]
    pub fn option(&self, key: &str) -> Option<&str> {
        crate::cmdline::value(&self.boot.info.cmd_line, key)
    }
}

/// The address below which the stack must not grow; unmapped.
pub fn guard_page() -> u64 {
    core::ptr::addr_of!(xtf_stack) as u64
}

#[unsafe(no_mangle)]
extern "C" fn xtf_start(info: *const start_info, stack: u64, bss_dirty: u64) -> ! {
    // SAFETY: the builder maps start_info where rsi points. Copied once; nothing changes it later.
    let copy = unsafe { info.read_volatile() };
    let mut boot = Boot {
        info: copy,
        info_va: info as u64,
        stack,
        bss_was_zero: bss_dirty == 0,
        machine_frames: 0,
    };
    memory::map_shared_info(copy.shared_info).expect("start_info.shared_info maps");
    trap::init().expect("Xen takes a trap table");
    boot.machine_frames = memory::machine_frames().expect("Xen tells the size of the m2p");

    let (frame, port) = boot.console();
    let ring = boot.va_of(frame).expect("the console page is the guest's own");
    // SAFETY: the initial mapping covers the console page and stays as it is.
    unsafe { console::init(ring as *mut xencons_interface, port) };
    // SAFETY: nothing lives on the page below the stack.
    unsafe { hypercall::update_va_mapping(guard_page(), 0) }.expect("the guard page unmaps");

    let (frame, port) = boot.store();
    let ring = boot.va_of(frame).expect("the store page is the guest's own");
    // SAFETY: the initial mapping covers the store page and stays as it is.
    let store = unsafe { Store::new(ring as *mut xenstore_domain_interface, port) };
    let mut guest = Guest { boot, store, checks: Checks::default() };

    println!("--- Xen Test Framework ---");
    println!(
        "Environment: PV 64bit, Xen {}.{}",
        hypercall::version() >> 16,
        hypercall::version() & 0xffff
    );
    // SAFETY: `main!` defines the function with this signature.
    let outcome = unsafe { xtf_main(&mut guest) };
    if let Outcome::Skip(reason) | Outcome::Error(reason) = outcome {
        println!("{reason}");
    }
    println!("Test result: {outcome}");
    console::flush();
    hypercall::shutdown(SHUTDOWN_poweroff)
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    println!("PANIC: {info}");
    println!("Test result: ERROR");
    console::flush();
    hypercall::shutdown(SHUTDOWN_crash)
}
