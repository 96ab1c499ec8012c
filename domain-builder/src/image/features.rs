//! Features that a guest kernel names in its notes (`public/features.h`).
//!
//! In: the FEATURES string or the SUPPORTED_FEATURES number. Out: two bit sets. Never decides
//! whether a feature can be had: that is [`super::pv`]'s business.

use serde::{Deserialize, Serialize};
use xen_sys::features::*;

/// Every feature that Xen names, with its bit in submap 0.
pub const FEATURE_NAMES: [(&str, u32); 21] = [
    ("writable_page_tables", XENFEAT_writable_page_tables),
    ("writable_descriptor_tables", XENFEAT_writable_descriptor_tables),
    ("auto_translated_physmap", XENFEAT_auto_translated_physmap),
    ("supervisor_mode_kernel", XENFEAT_supervisor_mode_kernel),
    ("pae_pgdir_above_4gb", XENFEAT_pae_pgdir_above_4gb),
    ("mmu_pt_update_preserve_ad", XENFEAT_mmu_pt_update_preserve_ad),
    ("highmem_assist", XENFEAT_highmem_assist),
    ("gnttab_map_avail_bits", XENFEAT_gnttab_map_avail_bits),
    ("hvm_callback_vector", XENFEAT_hvm_callback_vector),
    ("hvm_safe_pvclock", XENFEAT_hvm_safe_pvclock),
    ("hvm_pirqs", XENFEAT_hvm_pirqs),
    ("dom0", XENFEAT_dom0),
    // Of Arm, and gone from newer headers; a kernel may still name it.
    ("grant_map_identity", 12),
    ("memory_op_vnode_supported", XENFEAT_memory_op_vnode_supported),
    ("ARM_SMCCC_supported", XENFEAT_ARM_SMCCC_supported),
    ("linux_rsdp_unrestricted", XENFEAT_linux_rsdp_unrestricted),
    ("not_direct_mapped", XENFEAT_not_direct_mapped),
    ("direct_mapped", XENFEAT_direct_mapped),
    ("runstate_phys_area", XENFEAT_runstate_phys_area),
    ("vcpu_time_phys_area", XENFEAT_vcpu_time_phys_area),
    ("dm_msix_all_writes", XENFEAT_dm_msix_all_writes),
];

/// Bits of submap 0 that a kernel can use and those it cannot live without.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// Bit `1 << n` for feature `n`: the kernel can work with it. Includes `required`.
    pub supported: u32,
    /// Bit `1 << n` for feature `n`: marked with `!` in the FEATURES string.
    pub required: u32,
    /// Required features without a known name; a kernel with one cannot be started.
    pub unknown_required: Vec<String>,
}

impl Features {
    /// Adds the FEATURES string: names divided by `|`, `!` before one that is required.
    /// Names that are unknown and not required have no effect: an older Xen lacks them.
    pub fn add_text(&mut self, text: &str) {
        for item in text.split('|').filter(|item| !item.is_empty()) {
            let (name, required) = match item.strip_prefix('!') {
                Some(name) => (name, true),
                None => (item, false),
            };
            match FEATURE_NAMES.iter().find(|(known, _)| *known == name) {
                Some(&(_, bit)) => {
                    self.supported |= 1 << bit;
                    if required {
                        self.required |= 1 << bit;
                    }
                }
                None if required => self.unknown_required.push(name.to_owned()),
                None => {}
            }
        }
    }

    /// Adds the SUPPORTED_FEATURES number: submap 0 in its low 32 bits.
    pub fn add_bits(&mut self, bits: u64) {
        self.supported |= bits as u32;
    }

    /// Whether feature `name` is among those supported.
    pub fn supports(&self, name: &str) -> bool {
        bit_of(name).is_some_and(|bit| self.supported & bit != 0)
    }

    /// Names of the required features, in the order of their bits, unknown ones last.
    pub fn required_names(&self) -> impl Iterator<Item = &str> {
        FEATURE_NAMES
            .iter()
            .filter(|(_, bit)| self.required & (1 << bit) != 0)
            .map(|(name, _)| *name)
            .chain(self.unknown_required.iter().map(String::as_str))
    }
}

fn bit_of(name: &str) -> Option<u32> {
    FEATURE_NAMES.iter().find(|(known, _)| *known == name).map(|(_, bit)| 1 << bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, supported: u32, required: u32, unknown: &[&str]) {
        let mut features = Features::default();
        features.add_text(text);
        assert_eq!((features.supported, features.required), (supported, required), "{text}");
        assert_eq!(features.unknown_required, unknown, "{text}");
    }

    #[test]
    fn text_is_read() {
        check("", 0, 0, &[]);
        check("!writable_page_tables|pae_pgdir_above_4gb", 0x11, 1, &[]);
        check("dom0|!dom0", 0x800, 0x800, &[]);
        check("|bogus||!other|", 0, 0, &["other"]);
        check("Writable_Page_Tables|writable_page_tables ", 0, 0, &[]);
        check("!direct_mapped", 1 << 17, 1 << 17, &[]);
    }

    #[test]
    fn bits_and_text_add_up() {
        let mut features = Features::default();
        features.add_bits(0xffff_ffff_0000_8801);
        features.add_text("!pae_pgdir_above_4gb|!new");
        assert_eq!((features.supported, features.required), (0x8811, 0x10));
        assert!(features.supports("linux_rsdp_unrestricted") && !features.supports("bogus"));
        assert_eq!(features.required_names().collect::<Vec<_>>(), ["pae_pgdir_above_4gb", "new"]);
    }
}
