//! Hypercall buffers over many calls, failed ones and several threads.

use libxc_safe::{Domid, Error, Xen};

use super::{Outcome, ensure, in_dom0, show};

in_dom0!(many_calls, threads, without_the_device, not_root);

/// Failed calls and successful ones use the same few pages again and again.
fn many_calls(xen: &Xen) -> Outcome {
    xen.domains().map_err(show)?;
    xen.read_console(None, false).map_err(show)?;
    let mappings = mappings()?;
    for round in 0..500 {
        let failed = xen.pause(Domid(0x7000)).is_err();
        ensure(failed, "a missing domain")?;
        xen.domains().map_err(show)?;
        if round % 100 == 0 {
            xen.read_console(None, false).map_err(show)?;
        }
    }
    let pooled = xen.pooled_buffers();
    ensure((1..=4).contains(&pooled), format!("few buffers in the pool, got {pooled}"))?;
    let after = self::mappings()?;
    ensure(after <= mappings + 2, format!("{mappings} mappings, got {after}"))?;
    Ok(format!("1000 calls, {pooled} buffers pooled, {after} mappings"))
}

fn mappings() -> Result<usize, String> {
    Ok(std::fs::read_to_string("/proc/self/maps").map_err(show)?.lines().count())
}

fn threads(xen: &Xen) -> Outcome {
    let failures: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..100).filter(|_| xen.domains().is_err()).count()))
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(100)).sum()
    });
    ensure(failures == 0, format!("no failure, got {failures}"))?;
    let pooled = xen.pooled_buffers();
    ensure(pooled <= 16, format!("a bounded pool, got {pooled}"))?;
    Ok(format!("800 lists by 8 threads, {pooled} buffers pooled"))
}

/// As on kernels before 4.18: buffers come from locked memory.
fn without_the_device(_: &Xen) -> Outcome {
    const DEVICE: &str = "/dev/xen/hypercall";
    const AWAY: &str = "/dev/xen/hypercall.away";
    std::fs::rename(DEVICE, AWAY).map_err(show)?;
    let opened = Xen::open();
    std::fs::rename(AWAY, DEVICE).map_err(show)?;
    let xen = opened.map_err(show)?;
    ensure(!xen.has_hypercall_device(), "no device")?;
    many_calls(&xen)?;
    // A child gets none of the pages: nothing of ours becomes copy-on-write.
    let child = std::process::Command::new("/proc/self/exe").arg("--help").output();
    ensure(child.map_err(show)?.status.success(), "a child to run")?;
    many_calls(&xen)?;
    let large = xen.read_console(None, false).map_err(show)?;
    Ok(format!("{} bytes of log through locked memory", large.bytes.len()))
}

/// Only this thread gives up root; the kernel then refuses it the device.
fn not_root(_: &Xen) -> Outcome {
    let refused = std::thread::spawn(|| {
        let nobody = rustix::process::Uid::from_raw(65534);
        rustix::thread::set_thread_uid(nobody).map_err(show)?;
        Ok::<_, String>(Xen::open().err())
    });
    let refused = refused.join().map_err(|_| "the thread panicked")??;
    let refused = refused.ok_or("anyone can open the hypervisor")?;
    ensure(matches!(refused, Error::NotRoot { .. }), format!("NotRoot, got {refused}"))?;
    Ok(refused.to_string())
}
