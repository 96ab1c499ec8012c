//! Whether a kernel can be started as a PV guest, and where it lies then.
//!
//! In: segments and notes of a [`KernelImage`]. Out: [`PvLayout`], or [`NotPv`] with the reason.
//! Pure: reads no file.

use super::error::{ImageError, NotPv, Problem};
use super::features::FEATURE_NAMES;
use super::kernel::KernelImage;
use super::notes::NotesForm;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Bytes of a page.
const PAGE: u64 = 4096;
/// Addresses that belong to Xen in every 64-bit PV guest (`public/arch-x86/xen-x86_64.h`).
const XEN_HOLE: Range<u64> = 0xffff_8000_0000_0000..0xffff_8800_0000_0000;
/// Addresses that are not canonical with 48 bits.
const NON_CANONICAL: Range<u64> = 0x0000_8000_0000_0000..0xffff_8000_0000_0000;
/// Features that a PV guest in domU never has; a kernel that requires one cannot run.
const NEVER_FOR_PV: [&str; 8] = [
    "auto_translated_physmap",
    "hvm_callback_vector",
    "hvm_safe_pvclock",
    "hvm_pirqs",
    "dom0",
    "grant_map_identity",
    "ARM_SMCCC_supported",
    "direct_mapped",
];

/// Where a PV kernel lies. Virtual addresses unless named otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PvLayout {
    /// Address of guest physical 0.
    pub virt_base: u64,
    /// First instruction of the first vcpu.
    pub entry_vaddr: u64,
    /// First byte of the kernel and the first one behind it.
    pub kernel: Range<u64>,
    /// One per segment of the image, in the same order.
    pub segments: Vec<PvSegment>,
    /// Page for the hypercall stubs, inside the kernel; absent in newer kernels.
    pub hypercall_page: Option<u64>,
    /// Where the kernel wants its initial p2m table; `None` is behind the kernel and ramdisk.
    pub init_p2m: Option<u64>,
    /// The ramdisk may lie outside the initial mapping.
    pub mod_start_pfn: bool,
}

/// Where one segment goes. Lengths are in the image's segment of the same index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PvSegment {
    /// Guest physical address of its first byte.
    pub guest_paddr: u64,
    /// Virtual address of its first byte.
    pub vaddr: u64,
}

fn addresses<T>(reason: String) -> Result<T, NotPv> {
    Err(NotPv::Addresses { reason })
}

impl KernelImage {
    /// Checks that this kernel can be a PV guest and computes where it lies.
    ///
    /// # Errors
    /// [`Problem::NotPv`], with what to do about it.
    pub fn pv(&self) -> Result<PvLayout, ImageError> {
        let layout = || {
            self.check_claims()?;
            let layout = self.layout()?;
            check_layout(&layout)?;
            Ok(layout)
        };
        layout().map_err(|reason| ImageError::new(&self.path, Problem::NotPv(reason)))
    }

    fn check_claims(&self) -> Result<(), NotPv> {
        let notes = &self.notes;
        if notes.form == NotesForm::Absent {
            return Err(NotPv::NoNotes);
        }
        if notes.phys32_entry.is_some() && notes.entry_vaddr.is_none() && notes.virt_base.is_none()
        {
            return Err(NotPv::PvhOnly);
        }
        if let Some(loader) = notes.loader.as_ref().filter(|loader| *loader != "generic") {
            return Err(NotPv::Loader { loader: loader.clone() });
        }
        if let Some(version) = notes.xen_version.as_ref().filter(|v| *v != "xen-3.0") {
            return Err(NotPv::XenVersion { version: version.clone() });
        }
        let known = |name: &str| FEATURE_NAMES.iter().any(|(known, _)| *known == name);
        if let Some(feature) =
            notes.features.required_names().find(|n| !known(n) || NEVER_FOR_PV.contains(n))
        {
            return Err(NotPv::Feature { feature: feature.to_owned() });
        }
        if notes.bsd_symtab {
            return Err(NotPv::SymbolTable);
        }
        Ok(())
    }

    fn layout(&self) -> Result<PvLayout, NotPv> {
        let notes = &self.notes;
        if notes.paddr_offset.is_some() && notes.virt_base.is_none() {
            return addresses("PADDR_OFFSET without VIRT_BASE".to_owned());
        }
        let virt_base = notes.virt_base.unwrap_or(0);
        let offset = notes.paddr_offset.unwrap_or(0);
        let mut segments = Vec::with_capacity(self.segments.len());
        let (mut start, mut end) = (u64::MAX, 0);
        for segment in &self.segments {
            let place = segment.paddr.checked_sub(offset).and_then(|guest_paddr| {
                let vaddr = virt_base.checked_add(guest_paddr)?;
                Some((guest_paddr, vaddr, vaddr.checked_add(segment.mem_len)?))
            });
            let Some((guest_paddr, vaddr, vaddr_end)) = place else {
                return addresses(format!(
                    "the segment at {:#x} leaves the address space with VIRT_BASE {virt_base:#x} \
                     and PADDR_OFFSET {offset:#x}",
                    segment.paddr
                ));
            };
            (start, end) = (start.min(vaddr), end.max(vaddr_end));
            segments.push(PvSegment { guest_paddr, vaddr });
        }
        Ok(PvLayout {
            virt_base,
            entry_vaddr: notes.entry_vaddr.unwrap_or(self.elf_entry),
            kernel: start..end,
            segments,
            hypercall_page: notes.hypercall_page,
            init_p2m: notes.init_p2m,
            mod_start_pfn: notes.mod_start_pfn,
        })
    }
}

fn check_layout(layout: &PvLayout) -> Result<(), NotPv> {
    let kernel = &layout.kernel;
    if !layout.virt_base.is_multiple_of(PAGE) {
        return addresses(format!("VIRT_BASE {:#x} is not at a page", layout.virt_base));
    }
    let mapped = layout.virt_base..kernel.end;
    if overlap(&mapped, &XEN_HOLE) || overlap(&mapped, &NON_CANONICAL) {
        return addresses(format!(
            "{:#x} to {:#x} is not free for guests",
            mapped.start, mapped.end
        ));
    }
    if !kernel.contains(&layout.entry_vaddr) {
        return addresses(format!(
            "the entry point {:#x} is outside {:#x} to {:#x}",
            layout.entry_vaddr, kernel.start, kernel.end
        ));
    }
    if let Some(page) = layout.hypercall_page
        && !(page.is_multiple_of(PAGE)
            && page >= kernel.start
            && page.checked_add(PAGE).is_some_and(|end| end <= kernel.end))
    {
        return addresses(format!("HYPERCALL_PAGE {page:#x} is not a page of the kernel"));
    }
    if let Some(p2m) = layout.init_p2m
        && (!p2m.is_multiple_of(PAGE)
            || mapped.contains(&p2m)
            || XEN_HOLE.contains(&p2m)
            || NON_CANONICAL.contains(&p2m))
    {
        return addresses(format!("INIT_P2M {p2m:#x} is not free"));
    }
    Ok(())
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}
