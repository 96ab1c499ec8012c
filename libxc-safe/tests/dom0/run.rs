//! The shortest PV guest: six pages, seven instructions, one hypercall.
//!
//! It proves the whole way from an empty domain to a running one: memory, foreign mapping, page
//! tables, pin, registers, unpause.

use std::time::{Duration, Instant};

use libxc_safe::{Domid, Gfn, MemoryFlags, Mfn, Protection, ShutdownReason, VcpuContext, Xen};
use xen_sys::arch_x86::{
    FLAT_KERNEL_CS, FLAT_KERNEL_SS, VGCF_in_kernel, VGCF_online, cpu_user_regs, trap_info,
    xen_pfn_to_cr3,
};

use super::{Outcome, Temporary, ensure, in_dom0, show};

in_dom0!(guest_runs);

// Pages of the guest. Page n is mapped at virtual address n * 4096.
const L4: usize = 0;
const L3: usize = 1;
const L2: usize = 2;
const L1: usize = 3;
const CODE: usize = 4;
const STACK: usize = 5;
const PAGES: usize = 6;

/// Shuts itself down for the reason that it finds behind its code.
const PROGRAM: [u8; 26] = [
    0xB8, 29, 0, 0, 0, // mov $__HYPERVISOR_sched_op, %eax
    0xBF, 2, 0, 0, 0, // mov $SCHEDOP_shutdown, %edi
    0x48, 0x8D, 0x35, 5, 0, 0, 0, // lea 5(%rip), %rsi
    0x0F, 0x05, // syscall
    0x0F, 0x0B, // ud2
    0x90, // nop
    1, 0, 0, 0, // SHUTDOWN_reboot
];

const PRESENT: u64 = 0x65; // present, user, accessed, dirty
const WRITABLE: u64 = 2;

fn guest_runs(xen: &Xen) -> Outcome {
    let domain = Temporary::pv(xen)?;
    let domid = domain.domid;
    xen.max_vcpus(domid, 2).map_err(show)?;
    xen.set_max_mem_kib(domid, 1024).map_err(show)?;
    let mut mfns: Vec<u64> = (0..PAGES as u64).collect();
    let done = xen.populate_physmap(domid, 0, MemoryFlags::ANY, &mut mfns).map_err(show)?;
    ensure(done == PAGES, "all pages")?;
    load(xen, domid, &mfns)?;
    xen.pin_l4(domid, Mfn(mfns[L4])).map_err(show)?;
    xen.set_vcpu_context(domid, 0, &context(mfns[L4])).map_err(show)?;
    xen.unpause(domid).map_err(show)?;
    let info = shut_down(xen, domid)?;
    ensure(info.shutdown == Some(ShutdownReason::Reboot), format!("reboot, got {info:?}"))?;
    ensure(info.cpu_time_ns > 0 && info.online_vcpus == 1, "one vCPU that ran")?;
    let after = xen.vcpu_context(domid, 0).map_err(show)?;
    let expected = (CODE * 4096) as u64 + 19;
    let rip = after.user_regs.rip;
    ensure(rip == expected || rip == expected - 2, format!("rip {expected:#x}, got {rip:#x}"))?;
    Ok(format!("domain {domid} ran {} ns, {:?}, rip {rip:#x}", info.cpu_time_ns, info.shutdown))
}

fn load(xen: &Xen, domid: Domid, mfns: &[u64]) -> Result<(), String> {
    let frames: Vec<Gfn> = mfns.iter().copied().map(Gfn).collect();
    let mapping = xen.map_foreign(domid, &frames, Protection::ReadWrite).map_err(show)?;
    let table = |page: usize, entries: &[u64]| mapping.write_words(page * 4096, entries);
    table(L4, &[mfns[L3] << 12 | PRESENT | WRITABLE]).map_err(show)?;
    table(L3, &[mfns[L2] << 12 | PRESENT | WRITABLE]).map_err(show)?;
    table(L2, &[mfns[L1] << 12 | PRESENT | WRITABLE]).map_err(show)?;
    // Page tables are read-only for the guest: Xen accepts nothing else.
    let leaves: Vec<u64> = mfns
        .iter()
        .enumerate()
        .map(|(page, mfn)| mfn << 12 | PRESENT | if page > L1 { WRITABLE } else { 0 })
        .collect();
    table(L1, &leaves).map_err(show)?;
    mapping.write(CODE * 4096, &PROGRAM).map_err(show)
}

fn context(l4: u64) -> VcpuContext {
    let user_regs = cpu_user_regs {
        r15: 0,
        r14: 0,
        r13: 0,
        r12: 0,
        rbp: 0,
        rbx: 0,
        r11: 0,
        r10: 0,
        r9: 0,
        r8: 0,
        rax: 0,
        rcx: 0,
        rdx: 0,
        rsi: 0,
        rdi: 0,
        error_code: 0,
        entry_vector: 0,
        rip: (CODE * 4096) as u64,
        cs: FLAT_KERNEL_CS,
        _pad0: [0; 1],
        saved_upcall_mask: 0,
        _pad1: [0; 3],
        rflags: 1 << 9,
        rsp: ((STACK + 1) * 4096) as u64,
        ss: FLAT_KERNEL_SS,
        _pad2: [0; 3],
        es: 0,
        _pad3: [0; 3],
        ds: 0,
        _pad4: [0; 3],
        fs: 0,
        _pad5: [0; 3],
        gs: 0,
        _pad6: [0; 3],
    };
    let mut ctrlreg = [0; 8];
    ctrlreg[3] = xen_pfn_to_cr3(l4);
    let trap = trap_info { vector: 0, flags: 0, cs: 0, _hole0: [0; 4], address: 0 };
    VcpuContext {
        fpu_ctxt: [0; 512],
        flags: VGCF_in_kernel | VGCF_online,
        user_regs,
        trap_ctxt: [trap; 256],
        ldt_base: 0,
        ldt_ents: 0,
        gdt_frames: [0; 16],
        gdt_ents: 0,
        kernel_ss: u64::from(FLAT_KERNEL_SS),
        kernel_sp: ((STACK + 1) * 4096) as u64,
        ctrlreg,
        debugreg: [0; 8],
        event_callback_eip: 0,
        failsafe_callback_eip: 0,
        syscall_callback_eip: 0,
        vm_assist: 0,
        fs_base: 0,
        gs_base_kernel: 0,
        gs_base_user: 0,
    }
}

/// The state once the domain has shut down. The event for it belongs to xenstored, so this asks.
fn shut_down(xen: &Xen, domid: Domid) -> Result<libxc_safe::DomainInfo, String> {
    let start = Instant::now();
    loop {
        let info = xen.existing_domain_info(domid).map_err(show)?;
        if info.shutdown.is_some() {
            return Ok(info);
        }
        ensure(start.elapsed() < Duration::from_secs(20), format!("an end, got {info:?}"))?;
        std::thread::sleep(Duration::from_millis(1));
    }
}
