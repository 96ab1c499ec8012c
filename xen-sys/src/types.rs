//! Numbers that must not be mixed up: domains, frames, ports, grant references.
//!
//! The raw structures of this crate keep the header's plain integers; everything above them
//! carries these types.

use core::fmt;

use crate::xen::{DOMID_FIRST_RESERVED, DOMID_SELF};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub $raw);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$raw> for $name {
            fn from(raw: $raw) -> Self {
                Self(raw)
            }
        }
    };
}

number!(
    /// Domain identifier (`domid_t`, xen.h). Valid guests are below `DOMID_FIRST_RESERVED` (0x7FF0).
    Domid(u16)
);
number!(
    /// Pseudo-physical frame number: an index into a PV guest's own, dense memory map.
    Pfn(u64)
);
number!(
    /// Guest frame number: what foreign mapping takes. Equals the [`Mfn`] for a PV guest.
    Gfn(u64)
);
number!(
    /// Machine frame number: a frame of real memory.
    Mfn(u64)
);
number!(
    /// Event channel port, local to one domain (`evtchn_port_t`, event_channel.h).
    Port(u32)
);
number!(
    /// Grant reference: an index into the granting domain's table (`grant_ref_t`, grant_table.h).
    GrantRef(u32)
);

impl Domid {
    /// The control domain.
    pub const DOM0: Self = Self(0);
    /// The calling domain, in hypercall arguments (`DOMID_SELF`, xen.h).
    pub const SELF: Self = Self(DOMID_SELF);
    /// Whether this names an ordinary domain and none of the reserved pseudo-domains.
    #[must_use]
    pub const fn is_ordinary(self) -> bool {
        self.0 < DOMID_FIRST_RESERVED
    }
}

impl From<Mfn> for Gfn {
    /// PV guests are not translated: a machine frame is its own guest frame.
    fn from(mfn: Mfn) -> Self {
        Self(mfn.0)
    }
}
