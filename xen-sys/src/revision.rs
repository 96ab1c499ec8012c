//! Interface revisions of domctl and sysctl: which exist, who speaks them, what changed.
//!
//! Xen answers a call of another revision with `EACCES`. A program that serves several releases
//! asks once which revision is spoken, and picks the layouts by it.
//!
//! | Xen | domctl | sysctl | createdomain | getdomaininfo | physinfo |
//! |---|---|---|---|---|---|
//! | 4.14 | 0x12 | 0x13 | 48 | 104 | 104 |
//! | 4.15 | 0x13 | 0x13 | 56 | 104 | 104 |
//! | 4.16 | 0x14 | 0x14 | 60 | 112 | 104 |
//! | 4.17 | 0x15 | 0x15 | 64 | 112 | 112 |
//! | 4.18 | 0x16 | 0x15 | 64 | 112 | 112 |
//! | 4.19, 4.20 | 0x17 | 0x15 | 68 | 112 | 112 |
//! | 4.21 | 0x17 | 0x16 | 68 | 112 | 112 |
//! | 4.22 | 0x18 | 0x16 | 68 | 112 | 112 |
//!
//! Sizes in bytes. 4.21 brings no new domctl revision although it splits a field of createdomain
//! and adds an operation: the revision alone does not tell 4.20 and 4.21 apart.

use core::fmt;

/// An interface revision that this crate does not describe. No C counterpart: an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownRevision(
    /// The number that was found.
    pub u32,
);

impl fmt::Display for UnknownRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown interface revision {:#x}", self.0)
    }
}

impl core::error::Error for UnknownRevision {}

macro_rules! revisions {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$change:meta])* $variant:ident = $raw:literal, $releases:literal;)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum $name {
            $(
                $(#[$change])*
                #[doc = ""]
                #[doc = concat!("Xen ", $releases, ".")]
                $variant = $raw,
            )+
        }

        impl $name {
            /// Every known revision, oldest first.
            pub const KNOWN: &[Self] = &[$(Self::$variant),+];

            /// The revision with this number.
            ///
            /// # Errors
            ///
            /// [`UnknownRevision`] for a number that is not in the table.
            pub const fn from_raw(raw: u32) -> Result<Self, UnknownRevision> {
                match raw {
                    $($raw => Ok(Self::$variant),)+
                    other => Err(UnknownRevision(other)),
                }
            }

            /// The number that goes into `interface_version`.
            #[must_use]
            pub const fn raw(self) -> u32 {
                self as u32
            }

            /// The Xen releases that speak it, for people to read.
            #[must_use]
            pub const fn releases(self) -> &'static str {
                match self {
                    $(Self::$variant => $releases,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x} (Xen {})", self.raw(), self.releases())
            }
        }
    };
}

revisions! {
    /// Revision of the domctl interface (`XEN_DOMCTL_INTERFACE_VERSION`).
    DomctlRevision {
        /// The oldest one served.
        V0x12 = 0x12, "4.14";
        /// createdomain gains `vmtrace_size` and `arch.misc_flags`, and the flag `nested_virt`;
        /// `disable_migrate` is gone.
        V0x13 = 0x13, "4.15";
        /// createdomain gains `grant_opts` and the flag `vpmu`; getdomaininfo gains `gpaddr_bits`;
        /// `irq_permission.pirq` widens to 32 bits.
        V0x14 = 0x14, "4.16";
        /// createdomain gains `cpupool_id`; `get_` and `set_paging_mempool_size` replace the
        /// allocation operations of `shadow_op`.
        V0x15 = 0x15, "4.17";
        /// No change of layout on x86.
        V0x16 = 0x16, "4.18";
        /// createdomain gains `altp2m_opts`; 4.20 adds `gsi_permission` and `set_llc_colors`, 4.21
        /// splits `altp2m_opts` and adds `get_domain_state`.
        V0x17 = 0x17, "4.19 to 4.21";
        /// No change of layout on x86. createdomain takes `DOMID_ANY` to choose a free domid.
        V0x18 = 0x18, "4.22";
    }
}

revisions! {
    /// Revision of the sysctl interface (`XEN_SYSCTL_INTERFACE_VERSION`).
    SysctlRevision {
        /// The oldest one served.
        V0x13 = 0x13, "4.14, 4.15";
        /// The getdomaininfo records of getdomaininfolist grow.
        V0x14 = 0x14, "4.16";
        /// physinfo gains `arch_capabilities`.
        V0x15 = 0x15, "4.17 to 4.20";
        /// Power management and live patch operations change.
        V0x16 = 0x16, "4.21, 4.22";
    }
}

#[cfg(test)]
mod tests {
    use super::{DomctlRevision, SysctlRevision, UnknownRevision};

    #[test]
    fn every_number_is_known_or_refused() {
        for raw in 0..0x100 {
            match DomctlRevision::from_raw(raw) {
                Ok(known) => assert_eq!(known.raw(), raw),
                Err(unknown) => assert_eq!(unknown, UnknownRevision(raw)),
            }
            match SysctlRevision::from_raw(raw) {
                Ok(known) => assert_eq!(known.raw(), raw),
                Err(unknown) => assert_eq!(unknown, UnknownRevision(raw)),
            }
        }
        let domctl: [u32; 7] = core::array::from_fn(|i| DomctlRevision::KNOWN[i].raw());
        assert_eq!(domctl, [0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
        assert_eq!(DomctlRevision::KNOWN.len(), 7);
        let sysctl: [u32; 4] = core::array::from_fn(|i| SysctlRevision::KNOWN[i].raw());
        assert_eq!(sysctl, [0x13, 0x14, 0x15, 0x16]);
        assert_eq!(SysctlRevision::KNOWN.len(), 4);
    }
}
