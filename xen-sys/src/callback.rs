//! Entry points of a PV kernel. Mirrors `xen/callback.h`.

/// [`callback_register`].
pub const CALLBACKOP_register: u64 = 0;
/// [`callback_unregister`].
pub const CALLBACKOP_unregister: u64 = 1;
/// Event upcall.
pub const CALLBACKTYPE_event: u16 = 0;
/// Failed iret.
pub const CALLBACKTYPE_failsafe: u16 = 1;
/// Syscall from 64-bit user mode.
pub const CALLBACKTYPE_syscall: u16 = 2;
/// NMI.
pub const CALLBACKTYPE_nmi: u16 = 4;
/// Sysenter.
pub const CALLBACKTYPE_sysenter: u16 = 5;
/// Syscall from 32-bit user mode.
pub const CALLBACKTYPE_syscall32: u16 = 7;
/// Enter with events masked.
pub const CALLBACKF_mask_events: u16 = 1 << 0;

/// `CALLBACKOP_register`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct callback_register {
    /// `CALLBACKTYPE_*`.
    pub r#type: u16,
    /// `CALLBACKF_*`.
    pub flags: u16,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Entry point.
    pub address: u64,
}
layout!(struct callback_register: 16, r#type 0, flags 2, _hole0 4, address 8);

/// `CALLBACKOP_unregister`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct callback_unregister {
    /// `CALLBACKTYPE_*`.
    pub r#type: u16,
    /// Zero.
    pub _unused: u16,
}
layout!(struct callback_unregister: 4, r#type 0, _unused 2);
