//! Hypercall buffers over many calls, failed ones and several threads.

use libxc_safe::{Domid, Xen};

use super::{Outcome, ensure, in_dom0, show};

in_dom0!(many_calls, threads);

fn many_calls(xen: &Xen) -> Outcome {
    for round in 0..2000 {
        let failed = xen.pause(Domid(0x7000)).is_err();
        ensure(failed, "a missing domain")?;
        xen.domains().map_err(show)?;
        if round % 100 == 0 {
            xen.read_console(None, false).map_err(show)?;
        }
    }
    let pooled = xen.pooled_buffers();
    ensure(pooled <= 4, format!("few buffers in the pool, got {pooled}"))?;
    Ok(format!("4000 calls, {pooled} buffers pooled"))
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
