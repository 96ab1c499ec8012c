//! The machine, its log, its domains and pools.

use libxc_safe::{Domid, Errno, PciAddress, Xen};

use super::{Outcome, Temporary, ensure, in_dom0, show};

in_dom0!(revisions, version, host, list, pools, console_ring, grants);

fn revisions(xen: &Xen) -> Outcome {
    let (major, minor) = xen.release();
    let device = if xen.has_hypercall_device() { "/dev/xen/hypercall" } else { "locked memory" };
    let (domctl, sysctl) = (xen.domctl_revision(), xen.sysctl_revision());
    let seen = format!("Xen {major}.{minor}, domctl {domctl}, sysctl {sysctl}, buffers: {device}");
    let release = format!("{major}.{minor}");
    let expected = match (major, minor) {
        (4, 14) => (0x12, 0x13),
        (4, 15) => (0x13, 0x13),
        (4, 16) => (0x14, 0x14),
        (4, 17) => (0x15, 0x15),
        (4, 18) => (0x16, 0x15),
        (4, 19 | 20) => (0x17, 0x15),
        (4, 21) => (0x17, 0x16),
        (4, 22) => (0x18, 0x16),
        _ => return Err(format!("no expectation for Xen {release}: {seen}")),
    };
    ensure((domctl.raw(), sysctl.raw()) == expected, format!("{expected:x?}, found {seen}"))?;
    Ok(seen)
}

fn version(xen: &Xen) -> Outcome {
    let version = xen.version().map_err(show)?;
    ensure(version.page_bytes == 4096, "pages of 4096 bytes")?;
    ensure(!version.capabilities.is_empty(), "guest kinds")?;
    let features = xen.features(0).map_err(show)?;
    Ok(format!(
        "{version}, {}, {:?}, command line {:?}, build id {} bytes, virt_start {:#x}, \
         features {features:#x}",
        version.compiler,
        version.capabilities,
        version.command_line,
        version.build_id.len(),
        version.virt_start,
    ))
}

fn host(xen: &Xen) -> Outcome {
    let info = xen.physinfo().map_err(show)?;
    ensure(info.cpus > 0 && info.total_pages > 0 && info.capabilities.pv(), "a PV host")?;
    ensure(info.free_pages < info.total_pages, "fewer free pages than pages")?;
    let places = xen.cpu_topology().map_err(show)?;
    let present = places.iter().flatten().count();
    ensure(present == info.cpus as usize, format!("{} CPUs in {places:?}", info.cpus))?;
    let nodes = xen.numa_nodes().map_err(show)?;
    ensure(nodes.len() == info.nodes as usize, format!("{} nodes in {nodes:?}", info.nodes))?;
    ensure(nodes.iter().all(|node| node.size_bytes > 0), "memory in each node")?;
    // Neither is there: the one asked for twice is answered twice.
    let absent = PciAddress { segment: 0xfffe, bus: 0xff, device_function: 0xff };
    let near = xen.pci_nodes(&[absent, absent]).map_err(show)?;
    ensure(near == [None, None], format!("nodes of PCI devices that are not there: {near:?}"))?;
    ensure(xen.pci_nodes(&[]).map_err(show)?.is_empty(), "nodes of no PCI devices")?;
    let idle = xen.cpu_idle_ns().map_err(show)?;
    ensure(idle.iter().any(|time| *time > 0), "idle time")?;
    // Debian builds its Xen without XSM.
    ensure(!xen.has_flask().map_err(show)?, "no Flask policy")?;
    let heap = xen.free_heap_bytes(None).map_err(show)?;
    ensure(heap / 4096 <= info.total_pages, "a heap within the machine")?;
    Ok(format!(
        "{} CPUs at {} kHz, {} of {} pages free, {} nodes, caps {:?}, heap {heap} bytes, idle \
         {idle:?} ns",
        info.cpus,
        info.cpu_khz,
        info.free_pages,
        info.total_pages,
        nodes.len(),
        info.capabilities.names().collect::<Vec<_>>(),
    ))
}

fn list(xen: &Xen) -> Outcome {
    let domains = xen.domains().map_err(show)?;
    let dom0 = domains.first().ok_or("an empty list")?;
    ensure(dom0.domid == Domid::DOM0 && dom0.running, "dom0, running, first")?;
    let alone = xen.domain_info(Domid::DOM0).map_err(show)?.ok_or("no dom0")?;
    ensure(alone.uuid == dom0.uuid && alone.max_vcpu_id == dom0.max_vcpu_id, "the same dom0")?;
    ensure(alone.cpu_time_ns >= dom0.cpu_time_ns, "time to go forward")?;
    // More domains than there are at all: the list must stay sorted and complete.
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(Temporary::pv(xen)?);
    }
    let after = xen.domains().map_err(show)?;
    ensure(after.len() == domains.len() + 3, "three more domains")?;
    ensure(after.is_sorted_by_key(|info| info.domid), "a sorted list")?;
    let vcpu = xen.vcpu_info(Domid::DOM0, 0).map_err(show)?;
    ensure(vcpu.online && vcpu.cpu_time_ns > 0, "vCPU 0 of dom0 up")?;
    Ok(format!("{} domains, dom0 has {} pages, {vcpu:?}", domains.len(), dom0.tot_pages))
}

fn pools(xen: &Xen) -> Outcome {
    let scheduler = xen.scheduler().map_err(show)?;
    let pools = xen.cpupools().map_err(show)?;
    let first = pools.first().ok_or("no pool")?;
    ensure(first.id == 0 && first.scheduler == scheduler, "pool 0 with the default scheduler")?;
    ensure(!first.cpus.is_empty() && first.domains > 0, "CPUs and dom0 in pool 0")?;
    let free = xen.free_cpus().map_err(show)?;
    let made = xen.cpupool_create(scheduler).map_err(show)?;
    let with = xen.cpupools().map_err(show);
    xen.cpupool_destroy(made).map_err(show)?;
    ensure(with?.iter().any(|pool| pool.id == made && pool.cpus.is_empty()), "a new, empty pool")?;
    let gone = xen.cpupool_destroy(made).err().ok_or("a pool destroyed twice")?;
    ensure(gone.errno() == Some(Errno::NOENT), format!("ENOENT, got {gone}"))?;
    let parameters = xen.pool_scheduler_parameters(0, scheduler).map_err(show)?;
    xen.set_pool_scheduler_parameters(0, parameters).map_err(show)?;
    let domain = xen.scheduler_parameters(Domid::DOM0, scheduler).map_err(show)?;
    Ok(format!("{pools:?}, free {free:?}, {parameters:?}, dom0 {domain:?}"))
}

fn console_ring(xen: &Xen) -> Outcome {
    let all = xen.read_console(None, false).map_err(show)?;
    ensure(all.bytes.windows(5).any(|bytes| bytes == b"(XEN)"), "Xen's prefix in its log")?;
    let more = xen.read_console(Some(all.next_index), false).map_err(show)?;
    // g lists grants in use; the log grows by it, and only by it.
    xen.send_debug_keys("g").map_err(show)?;
    let new = xen.read_console(Some(more.next_index), false).map_err(show)?;
    let text = String::from_utf8_lossy(&new.bytes);
    let whole = text.contains("gnttab_usage_print_all [") && text.contains("] done");
    ensure(whole, format!("a list of grants, got {text:?}"))?;
    let bad = xen.read_console(Some(new.next_index), false).map_err(show)?;
    ensure(bad.bytes.is_empty(), "nothing new")?;
    Ok(format!(
        "{} bytes, then {}, then {} of grants",
        all.bytes.len(),
        more.bytes.len(),
        text.len()
    ))
}

fn grants(xen: &Xen) -> Outcome {
    let size = xen.grant_table_size(Domid::DOM0).map_err(show)?;
    ensure(size.frames <= size.max_frames && size.max_frames > 0, format!("{size:?}"))?;
    let nobody = xen.grant_table_size(Domid(0x7fe0));
    ensure(nobody.is_err(), format!("a domain that is not there has {nobody:?}"))?;
    Ok(format!("{size:?}"))
}
