//! The ELF notes by which a PV kernel tells the domain builder what it is (`xen/elfnote.h`).
//!
//! They are emitted in the guest's own crate, so that each guest chooses its optional ones.

/// Virtual address of the p2m of guests with the `init_p2m` note: top-level slot 1, like Linux.
pub const INIT_P2M: u64 = 0x80_0000_0000;

/// Emits one set of notes; see [`main!`](crate::main).
#[doc(hidden)]
#[macro_export]
macro_rules! note {
    (basic) => {
        $crate::note!(@string $crate::xen_sys::elfnote::XEN_ELFNOTE_GUEST_OS, "xtf");
        $crate::note!(@string $crate::xen_sys::elfnote::XEN_ELFNOTE_GUEST_VERSION, "1");
        $crate::note!(@string $crate::xen_sys::elfnote::XEN_ELFNOTE_XEN_VERSION, "xen-3.0");
        $crate::note!(@string $crate::xen_sys::elfnote::XEN_ELFNOTE_LOADER, "generic");
        $crate::note!(@string $crate::xen_sys::elfnote::XEN_ELFNOTE_PAE_MODE, "yes");
        $crate::note!(
            @string $crate::xen_sys::elfnote::XEN_ELFNOTE_FEATURES,
            "!writable_page_tables|pae_pgdir_above_4gb"
        );
        $crate::note!(@number $crate::xen_sys::elfnote::XEN_ELFNOTE_ENTRY, "_start");
        $crate::note!(@number $crate::xen_sys::elfnote::XEN_ELFNOTE_VIRT_BASE, "virt_base");
        $crate::note!(@number $crate::xen_sys::elfnote::XEN_ELFNOTE_PADDR_OFFSET, "0");
        $crate::note!(
            @number $crate::xen_sys::elfnote::XEN_ELFNOTE_HV_START_LOW,
            "0xffff800000000000"
        );
        $crate::note!(@number $crate::xen_sys::elfnote::XEN_ELFNOTE_SUSPEND_CANCEL, "1");
        // Mask and value of entries that hold a frame: the present bit.
        $crate::note!(@number $crate::xen_sys::elfnote::XEN_ELFNOTE_L1_MFN_VALID, "1, 1");
    };
    (hypercall_page) => {
        $crate::note!(
            @number $crate::xen_sys::elfnote::XEN_ELFNOTE_HYPERCALL_PAGE,
            "hypercall_page"
        );
    };
    (init_p2m) => {
        $crate::note!(@number $crate::xen_sys::elfnote::XEN_ELFNOTE_INIT_P2M, "0x8000000000");
    };
    (mod_start_pfn) => {
        $crate::note!(@number $crate::xen_sys::elfnote::XEN_ELFNOTE_MOD_START_PFN, "1");
    };
    (@string $type:expr, $text:literal) => {
        $crate::note!(@emit $type, concat!(".asciz \"", $text, "\""));
    };
    (@number $type:expr, $value:literal) => {
        $crate::note!(@emit $type, concat!(".quad ", $value));
    };
    (@emit $type:expr, $description:expr) => {
        core::arch::global_asm!(
            ".pushsection .note.Xen, \"a\", @note",
            ".balign 4",
            ".long 4",
            ".long 3f - 2f",
            ".long {kind}",
            ".asciz \"Xen\"",
            "2:",
            $description,
            "3:",
            ".balign 4",
            ".popsection",
            kind = const $type,
        );
    };
}
