//! Life cycle and settings of domains.

use libxc_safe::{
    Affinity, CpuPolicy, CreateDomain, Domid, Errno, Error, MemoryFlags, Scheduler,
    SchedulerParameters, ShutdownReason, SystemPolicy, TscInfo, Xen,
};

use xen_sys::arch_x86::XEN_X86_EMU_LAPIC;
use xen_sys::hvm::params::HVM_PARAM_STORE_PFN;

use super::{Outcome, Temporary, ensure, in_dom0, pv_request, show};

in_dom0!(bad_domids, empty_domain, chosen_domid, vcpus, cpu_policy, shutdown, pvh);

fn bad_domids(xen: &Xen) -> Outcome {
    let nobody = Domid(0x7000);
    ensure(xen.domain_info(nobody).map_err(show)?.is_none(), "no info of a missing domain")?;
    let refusals: [(&str, Result<(), Error>); 8] = [
        ("pause", xen.pause(nobody)),
        ("destroy", xen.destroy(nobody)),
        ("max_vcpus", xen.max_vcpus(nobody, 1)),
        ("max_mem", xen.set_max_mem_kib(nobody, 1024)),
        ("populate", xen.populate_physmap(nobody, 0, MemoryFlags::ANY, &mut [0]).map(|_| ())),
        ("alloc_unbound", xen.alloc_unbound(nobody, Domid::DOM0).map(|_| ())),
        ("policy", xen.cpu_policy(nobody).map(|_| ())),
        ("shutdown", xen.shutdown(nobody, ShutdownReason::Crash)),
    ];
    for (name, outcome) in &refusals {
        let error = outcome.as_ref().err().ok_or(format!("{name} worked"))?;
        ensure(error.is_no_such_domain(), format!("ESRCH of {name}, got {error}"))?;
        ensure(error.to_string().contains("domain 28672"), format!("the domid in {error}"))?;
    }
    for domid in [Domid::DOM0, Domid::SELF, Domid(0x7FF4)] {
        let outcome = xen.destroy(domid);
        ensure(matches!(outcome, Err(Error::Invalid { .. })), "pseudo-domains to be refused")?;
    }
    Ok(refusals[0].1.as_ref().map_or_else(ToString::to_string, |()| String::new()))
}

fn empty_domain(xen: &Xen) -> Outcome {
    let domain = Temporary::pv(xen)?;
    let domid = domain.domid;
    let info = xen.existing_domain_info(domid).map_err(show)?;
    ensure(info.uuid == pv_request().uuid, "its UUID")?;
    ensure(info.paused && !info.hvm && !info.dying && info.shutdown.is_none(), "paused PV")?;
    ensure(info.max_vcpu_id.is_none_or(|id| id == 1), "vCPU numbers up to 1")?;
    xen.set_uuid(domid, *b"another one, new").map_err(show)?;
    xen.set_time_offset(domid, 3600).map_err(show)?;
    xen.pause(domid).map_err(show)?;
    xen.unpause(domid).map_err(show)?;
    let info = xen.existing_domain_info(domid).map_err(show)?;
    ensure(info.uuid == *b"another one, new" && info.paused, "a new UUID, still paused")?;
    drop(domain);
    ensure(xen.domain_info(domid).map_err(show)?.is_none(), "it to be gone")?;
    let again = xen.destroy(domid).err().ok_or("destroyed twice")?;
    ensure(again.is_no_such_domain(), format!("ESRCH, got {again}"))?;
    Ok(format!("domain {domid} made and destroyed, {info:?}"))
}

fn chosen_domid(xen: &Xen) -> Outcome {
    let wanted = Domid(0x6FF0);
    let request = CreateDomain { domid: Some(wanted), ..pv_request() };
    let domain = Temporary::create(xen, &request)?;
    ensure(domain.domid == wanted, format!("domid {wanted}, got {}", domain.domid))?;
    let taken = xen.create_domain(&request).err().ok_or("a domid given twice")?;
    let errno = taken.errno();
    ensure(errno == Some(Errno::EXIST) || errno == Some(Errno::INVAL), "EEXIST or EINVAL")?;
    Ok(format!("domid {wanted} given, then: {taken}"))
}

fn vcpus(xen: &Xen) -> Outcome {
    let domain = Temporary::pv(xen)?;
    let domid = domain.domid;
    xen.max_vcpus(domid, 2).map_err(show)?;
    let info = xen.existing_domain_info(domid).map_err(show)?;
    ensure(info.max_vcpu_id == Some(1), "two vCPUs")?;
    ensure(!xen.vcpu_info(domid, 1).map_err(show)?.online, "vCPU 1 down")?;
    ensure(xen.vcpu_info(domid, 2).is_err(), "no vCPU 2")?;
    let set = xen.set_vcpu_affinity(domid, 1, Some(&[0]), None).map_err(show)?;
    ensure(set.hard == [0], format!("CPU 0 effective, got {set:?}"))?;
    let Affinity { hard, soft } = xen.vcpu_affinity(domid, 1).map_err(show)?;
    ensure(hard == [0], format!("CPU 0, got {hard:?}"))?;
    let none = xen.set_vcpu_affinity(domid, 0, Some(&[60000]), None).err();
    let none = none.ok_or("an impossible CPU was accepted")?;
    ensure(none.errno() == Some(Errno::INVAL), format!("EINVAL, got {none}"))?;
    xen.set_node_affinity(domid, &[0]).map_err(show)?;
    ensure(xen.node_affinity(domid).map_err(show)? == [0], "node 0")?;
    let scheduler = xen.scheduler().map_err(show)?;
    let parameters = match scheduler {
        Scheduler::Credit => SchedulerParameters::Credit { weight: 512, cap: 25 },
        _ => SchedulerParameters::Credit2 { weight: 512, cap: 25 },
    };
    xen.set_scheduler_parameters(domid, parameters).map_err(show)?;
    let back = xen.scheduler_parameters(domid, scheduler).map_err(show)?;
    ensure(back == parameters, format!("{parameters:?}, got {back:?}"))?;
    let tsc = TscInfo { mode: 0, khz: 0, incarnation: 1, elapsed_ns: 0 };
    xen.set_tsc_info(domid, tsc).map_err(show)?;
    let tsc = xen.tsc_info(domid).map_err(show)?;
    let context = xen.vcpu_context(domid, 0).map(|_| ());
    Ok(format!(
        "soft affinity {} CPUs, {back:?}, {tsc:?}, context before init: {context:?}",
        soft.len()
    ))
}

fn cpu_policy(xen: &Xen) -> Outcome {
    let host = xen.system_cpu_policy(SystemPolicy::Host).map_err(show)?;
    let default = xen.system_cpu_policy(SystemPolicy::PvDefault).map_err(show)?;
    let domain = Temporary::pv(xen)?;
    let own = xen.cpu_policy(domain.domid).map_err(show)?;
    ensure(!own.leaves.is_empty() && !own.msrs.is_empty(), "leaves and MSRs")?;
    xen.set_cpu_policy(domain.domid, &own).map_err(show)?;
    ensure(xen.cpu_policy(domain.domid).map_err(show)? == own, "the same policy back")?;
    let mut wrong: CpuPolicy = own.clone();
    let last = wrong.leaves.first_mut().ok_or("no leaf")?;
    last.a = 0xFFFF;
    let refusal = xen.set_cpu_policy(domain.domid, &wrong).err().ok_or("nonsense accepted")?;
    ensure(matches!(refusal, Error::PolicyRefused { leaf: Some(0), .. }), refusal.to_string())?;
    Ok(format!(
        "host {} leaves {} MSRs, PV default {} and {}, domain {} and {}, refusal: {refusal}",
        host.leaves.len(),
        host.msrs.len(),
        default.leaves.len(),
        default.msrs.len(),
        own.leaves.len(),
        own.msrs.len(),
    ))
}

fn shutdown(xen: &Xen) -> Outcome {
    let domain = Temporary::pv(xen)?;
    let domid = domain.domid;
    xen.max_vcpus(domid, 2).map_err(show)?;
    xen.shutdown(domid, ShutdownReason::Crash).map_err(show)?;
    let info = xen.existing_domain_info(domid).map_err(show)?;
    ensure(info.crashed(), format!("a crash, got {:?}", info.shutdown))?;
    Ok(format!("{:?}", info.shutdown))
}

/// A PVH domain that is never run: what its parameters and its paging pool need.
fn pvh(xen: &Xen) -> Outcome {
    let caps = xen.physinfo().map_err(show)?.capabilities;
    let request =
        CreateDomain { hvm: true, hap: true, emulation_flags: XEN_X86_EMU_LAPIC, ..pv_request() };
    if !(caps.hvm() && caps.hap()) {
        let refused = xen.create_domain(&request).err().ok_or("PVH without the hardware for it")?;
        return Ok(format!("no HVM here, refused: {refused}"));
    }
    let domain = Temporary::create(xen, &request)?;
    let domid = domain.domid;
    let info = xen.existing_domain_info(domid).map_err(show)?;
    ensure(info.hvm && info.hap && info.emulation_flags == XEN_X86_EMU_LAPIC, "PVH")?;
    xen.max_vcpus(domid, 2).map_err(show)?;
    xen.set_paging_pool_bytes(domid, 4 << 20).map_err(show)?;
    let pool = match xen.paging_pool_bytes(domid) {
        Ok(bytes) => bytes,
        Err(Error::Unsupported { .. }) if xen.release() < (4, 17) => 4 << 20,
        Err(error) => return Err(show(error)),
    };
    ensure(pool == 4 << 20, format!("a pool of 4 MiB, got {pool}"))?;
    xen.set_hvm_param(domid, HVM_PARAM_STORE_PFN, 0xFEFFC).map_err(show)?;
    ensure(xen.hvm_param(domid, HVM_PARAM_STORE_PFN) == Ok(0xFEFFC), "the parameter back")?;
    let pv = Temporary::pv(xen)?;
    let refused = xen.set_hvm_param(pv.domid, HVM_PARAM_STORE_PFN, 1).err().ok_or("PV took it")?;
    Ok(format!("domain {domid}, pool {pool} bytes, PV: {refused}"))
}
