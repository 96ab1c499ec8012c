//! Checks that the image was loaded to the byte: patterns in every kind of section.

use super::check;
use core::hint::black_box;
use xtf::Guest;

const WORDS: usize = 4096;

/// xorshift32, so that a page in the wrong place cannot look right.
const fn pattern(mut state: u32) -> [u32; WORDS] {
    let mut words = [0; WORDS];
    let mut i = 0;
    while i < WORDS {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        words[i] = state;
        i += 1;
    }
    words
}

static CONSTANT: [u32; WORDS] = pattern(0x5eed_0001);
#[unsafe(link_section = ".data.pattern")]
static VARIABLE: [u32; WORDS] = pattern(0x5eed_0002);

pub fn check_image(guest: &mut Guest) {
    for (name, words, seed) in
        [("rodata", &CONSTANT, 0x5eed_0001), ("data", &VARIABLE, 0x5eed_0002)]
    {
        let mut state: u32 = seed;
        let wrong = black_box(words).iter().position(|word| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            *word != state
        });
        check!(guest, wrong.is_none(), "{name} is wrong from word {wrong:?} on");
    }
    check!(guest, guest.boot.bss_was_zero, "bss was not zero");

    let page = guest.boot.hypercall_page();
    let named = guest.option("hypercall_page") != Some("0");
    let untouched = black_box(page).iter().all(|byte| *byte == xtf::HYPERCALL_PAGE_UNTOUCHED);
    check!(guest, untouched != named, "hypercall page: note {named}, filled {}", !untouched);
    if !named || untouched {
        return;
    }
    // Hypercall 17 (xen_version), entered through the page.
    let version: u64;
    // SAFETY: Xen fills the page with one entry of 32 bytes per hypercall; xen_version with
    // XENVER_version reads and writes no memory.
    unsafe {
        core::arch::asm!(
            "call {entry}",
            entry = in(reg) page.as_ptr() as u64 + 32 * 17,
            inlateout("rdi") 0_u64 => _,
            lateout("rax") version,
            out("rsi") _, out("rdx") _, out("rcx") _, out("r8") _, out("r9") _, out("r10") _,
            out("r11") _,
        );
    }
    check!(
        guest,
        version == u64::from(xtf::hypercall::version()),
        "the hypercall page answers {version:#x} for the version"
    );
}
