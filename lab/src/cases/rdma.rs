//! InfiniBand: a device in software in dom0, guests that use it.

use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv};
use crate::ensure;

/// The cases of this topic.
pub const CASES: &[Case] = &[case("rdma/native", native)];

const fn case(name: &'static str, run: fn() -> Verdict) -> Case {
    Case { rdma: true, limit_seconds: 240, ..Case::new(name, Group::Device, run) }
}

/// The network below the device.
const NETWORK: &str = "10.9.0.1";

/// An InfiniBand device in software on an interface that leads nowhere; both go with this value.
struct Rxe;

impl Rxe {
    fn new() -> Result<Rxe, Stop> {
        // Without the first one a device cannot be made, and nothing loads it.
        for module in ["crc32_generic", "ib_uverbs", "rdma_rxe"] {
            argv(&["/bin/modprobe", module])?.success()?;
        }
        argv(&["/bin/modprobe", "dummy", "numdummies=0"])?.success()?;
        let rxe = Rxe;
        shell(&format!(
            "ip link add d0 type dummy && ip link set d0 mtu 4200 up && \
             ip addr add {NETWORK}/24 dev d0 && rdma link add rxe0 type rxe netdev d0"
        ))?;
        Ok(rxe)
    }
}

impl Drop for Rxe {
    fn drop(&mut self) {
        // What cannot be removed is a leftover, which the runner tells.
        let _ = shell("rdma link delete rxe0; ip link delete d0");
    }
}

/// Runs a line in dom0's shell.
fn shell(line: &str) -> Result<String, Stop> {
    Ok(argv(&["/bin/sh", "-c", line])?.success()?.out)
}

/// The device works in dom0 itself, from process to process: what guests are compared with.
fn native() -> Verdict {
    let _rxe = Rxe::new()?;
    let devices = shell("ibv_devices")?;
    ensure!(devices.contains("rxe0"), "no rxe0 in {devices}");
    let information = shell("ibv_devinfo -d rxe0")?;
    ensure!(information.contains("PORT_ACTIVE"), "the port is not active: {information}");
    ensure!(information.contains("4096 (5)"), "the MTU is not 4096: {information}");
    for how in ["", "-e"] {
        // The server listens before the client looks for it.
        let said = shell(&format!(
            "ibv_rc_pingpong -d rxe0 -g 1 -n 200 {how} >/tmp/server & \
             until grep -q ':4853 0*:0000 0A' /proc/net/tcp*; do :; done; \
             ibv_rc_pingpong -d rxe0 -g 1 -n 200 {how} {NETWORK} && wait && cat /tmp/server"
        ))?;
        let ends = said.matches("200 iters in").count();
        ensure!(ends == 2, "{ends} of 2 ends came to their end: {said}");
    }
    Ok(())
}
