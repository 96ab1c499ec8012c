//! InfiniBand in a guest's life: a device that fails and comes back, what its configuration allows it, and
//! a reboot.

use super::rdma::{DEVICE, Daemon, RAMDISK, Rxe, case, shell};
use crate::case::Case;
use crate::dom0::guest::{Guest, configuration};
use crate::dom0::host::{Verdict, argv, console, run};
use crate::ensure;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    case("rdma/reconnect", reconnect),
    case("rdma/policy", policy),
    case("rdma/reboot", reboot),
    case("rdma/preload", preload),
];

/// How often the daemon is killed.
const KILLS: usize = 3;

/// A program hears that its device has failed when the daemon is killed, closes it, opens it again once
/// there is another daemon, and works as before.
fn reconnect() -> Verdict {
    let _rxe = Rxe::new()?;
    let mut daemon = Daemon::start(&[])?;
    let mut guest = Guest::create("g", &format!("{RAMDISK}{DEVICE}"))?;
    guest.sh(&format!("(verbs-test xrdma0 reconnect {KILLS}; echo ended $?) >/run/said 2>&1 &"))?;
    let until = |guest: &mut Guest, word: &str, count: usize| {
        guest.sh(&format!(
            "until [ $(grep -c '^{word}' /run/said) -ge {count} ] || grep -q ended /run/said; \
             do sleep 0.1; done; [ $(grep -c '^{word}' /run/said) -ge {count} ]"
        ))
    };
    for round in 1..=KILLS {
        until(&mut guest, "connected", round)?;
        daemon.kill()?;
        shell("while pidof xlr-ibd || pidof ibd-guardian; do sleep 0.05; done")?;
        until(&mut guest, "closed", round)?;
        daemon = Daemon::start(&[])?;
    }
    let said = guest.sh("until grep ended /run/said; do sleep 0.1; done; cat /run/said")?;
    ensure!(said.contains("all is well") && said.contains("ended 0"), "it has not: {said}");
    guest.destroy()
}

/// What a program sees of the policy in its guest's configuration: sources and partitions that it may not
/// use are not there, and a QP does not come to know a destination that it may not reach.
fn policy() -> Verdict {
    let _rxe = Rxe::new()?;
    let _daemon = Daemon::start(&[])?;
    let device =
        |policy: &str| format!("{RAMDISK}rdma = [ \"backend-device=rxe0, pages=1024{policy}\" ]\n");
    let mut guest = Guest::create("g", &device(", destinations=10.7.0.0/16"))?;
    // Its own address is no destination: the QP is refused on its way to RTR. errno 1 is EPERM.
    let test = "verbs-test xrdma0 operations";
    let refused = |guest: &mut Guest, policy: &str| -> Verdict {
        let (code, said) = guest.try_sh(test)?;
        ensure!(
            code == 1 && said.contains("failed: !ibv_modify_qp") && said.contains("errno 1)"),
            "{policy}: {said}"
        );
        Ok(())
    };
    refused(&mut guest, "destinations")?;
    let again = |policy: &str| -> Verdict {
        run("/bin/xlr rdma detach g 0")?.success()?;
        argv(&["/bin/xlr", "rdma", "attach", "g", "backend-device=rxe0", policy])?.success()?;
        Ok(())
    };
    again("destinations=10.9.0.0/24")?;
    guest.sh(test)?;
    // The GID that the program uses is number 1.
    again("gids=0")?;
    refused(&mut guest, "gids")?;
    again("gids=1")?;
    guest.sh(test)?;
    again("pkeys=0x8001")?;
    refused(&mut guest, "pkeys")?;
    again("pkeys=0xffff")?;
    guest.sh(test)?;
    guest.destroy()
}

/// A guest that reboots has its device again.
fn reboot() -> Verdict {
    let _rxe = Rxe::new()?;
    let _daemon = Daemon::start(&[])?;
    let path = configuration("g", &format!("{RAMDISK}{DEVICE}on_reboot = \"restart\"\n"))?;
    let follow = console("g")?;
    argv(&["/bin/xlr", "create", &path])?.success()?;
    let mut guest = Guest::attach("g", follow)?;
    guest.sh("verbs-test xrdma0 operations")?;
    let before = guest.domid;
    let follow = console("g")?;
    run("/bin/xlr reboot g")?.success()?;
    let mut guest = Guest::attach("g", follow)?;
    ensure!(guest.domid != before, "it is still domain {before}");
    guest.sh("verbs-test xrdma0 operations")?;
    let left = argv(&["/usr/bin/xenstore-ls", "/local/domain/0/backend/rdma"])?.success()?.out;
    ensure!(!left.contains(&format!("domain/{before}/")), "of the old one there is still: {left}");
    guest.destroy()
}

/// Over rdma-core's own library, which stays, the preloaded one works.
fn preload() -> Verdict {
    let _rxe = Rxe::new()?;
    let _daemon = Daemon::start(&[])?;
    let mut guest = Guest::create("g", &format!("{RAMDISK}{DEVICE}"))?;
    let directory = "/usr/lib/x86_64-linux-gnu";
    guest.sh(&format!(
        "xlr-ib-install && cp /usr/lib/xlr/libxlr-ibverbs.so /run/ && \
         cp /usr/lib/rdma-core/libibverbs.so.1 {directory}/"
    ))?;
    let (_, without) = guest.try_sh("ibv_devices")?;
    ensure!(!without.contains("xrdma0"), "rdma-core's library knows the device: {without}");
    let said = guest.sh("LD_PRELOAD=/run/libxlr-ibverbs.so ibv_devinfo -d xrdma0")?;
    ensure!(said.contains("PORT_ACTIVE"), "the port is not active: {said}");
    let said = guest.sh("LD_PRELOAD=/run/libxlr-ibverbs.so verbs-test xrdma0 operations")?;
    ensure!(said.contains("all is well"), "not all works");
    guest.destroy()
}
