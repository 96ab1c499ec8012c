//! The crate on a real hypervisor: needs root in dom0, which the lab provides.
//!
//! Each test makes domains of its own, destroys them, and leaves nothing behind:
//! no domain, no descriptor. They run one after the other, as they count what the host has.

#[path = "dom0/buffers.rs"]
mod buffers;
#[path = "dom0/devices.rs"]
mod devices;
#[path = "dom0/domains.rs"]
mod domains;
#[path = "dom0/host.rs"]
mod host;
#[path = "dom0/memory.rs"]
mod memory;
#[path = "dom0/run.rs"]
mod run;

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use libxc_safe::{CreateDomain, Domid, Xen};

/// What a check saw, or what it missed.
type Outcome = Result<String, String>;

/// Makes one test of a topic's checks: each costs milliseconds, a case of its own seconds. Ignored
/// where there is no Xen.
macro_rules! in_dom0 {
    ($($check:ident),+) => {
        #[test]
        #[ignore = "needs root in a Xen dom0: `cargo lab test`"]
        fn in_dom0() {
            crate::on_xen(&[$((stringify!($check), $check)),+]);
        }
    };
}
use in_dom0;

/// A check's name and itself.
type Check = (&'static str, fn(&Xen) -> Outcome);

/// Runs all checks, also after a failure, and looks for what each left behind.
fn on_xen(checks: &[Check]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut failed = Vec::new();
    for (name, check) in checks {
        match alone(*check) {
            Ok(seen) => println!("{name}: {seen}"),
            Err(why) => {
                println!("{name} FAILED: {why}");
                failed.push(*name);
            }
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// Runs one check on a hypervisor of its own opening.
fn alone(check: fn(&Xen) -> Outcome) -> Outcome {
    let descriptors = open_descriptors();
    let xen = Xen::open().map_err(show)?;
    let domains = xen.domains().map_err(show)?.len();
    let outcome = check(&xen);
    let left = xen.domains().map_err(show)?.len();
    drop(xen);
    let seen = outcome?;
    ensure(left == domains, format!("{domains} domains, {left} are left"))?;
    let open = open_descriptors();
    ensure(open == descriptors, format!("{descriptors} descriptors, {open} are open"))?;
    Ok(seen)
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn show(error: impl Display) -> String {
    error.to_string()
}

fn ensure(holds: bool, what: impl Display) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("expected {what}")) }
}

/// A domain that is destroyed when it goes out of scope, whatever happened.
struct Temporary<'xen> {
    xen: &'xen Xen,
    domid: Domid,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.xen.destroy(self.domid) {
            println!("FAIL cleaning up: {error}");
        }
    }
}

impl<'xen> Temporary<'xen> {
    fn create(xen: &'xen Xen, request: &CreateDomain) -> Result<Self, String> {
        let domid = xen.create_domain(request).map_err(show)?;
        Ok(Self { xen, domid })
    }

    fn pv(xen: &'xen Xen) -> Result<Self, String> {
        Self::create(xen, &pv_request())
    }
}

fn pv_request() -> CreateDomain {
    CreateDomain {
        uuid: *b"libxc-safe test.",
        max_vcpus: 2,
        max_grant_frames: Some(8),
        max_maptrack_frames: Some(8),
        ..CreateDomain::default()
    }
}
