//! Domains end while the store has half a request of theirs, with a server and without one.

use super::store_lives::{end_first, server};
use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv, await_text, config, console, domid};
use crate::xenstored::Xenstored;
use crate::{ensure, fail};
use libxc_safe::{Domid, Xen};
use std::time::{Duration, Instant};
use xenstore::client::{Client, DEVICE, Nodes as _};

const fn ours(name: &'static str, run: fn() -> Verdict) -> Case {
    let case = Case::new(name, Group::Store, run);
    // Of domains that nobody else removes their nodes are left.
    Case { xenstored: Xenstored::Xlr, wrecks: true, ci: false, limit_seconds: 200, ..case }
}

/// The cases of this topic.
pub const CASES: &[Case] = &[
    ours("store/dies-in-mid-request", dies_in_mid_request),
    ours("store-killed/dies-in-mid-request", dies_without_server),
];

/// How long a domain may take to be gone once nobody holds its pages.
const PATIENCE: Duration = Duration::from_secs(10);

fn failed(error: impl std::fmt::Display) -> Stop {
    Stop::Failed(error.to_string())
}

/// Hears of ends, through the kernel's ring: a kill of the server does not end it.
struct Ends(Client);

impl Ends {
    fn new() -> Result<Ends, Stop> {
        let mut client = Client::connect_to(DEVICE).map_err(failed)?;
        client.watch("@releaseDomain", "end").map_err(failed)?;
        let mut ends = Ends(client);
        ends.heard("the watch")?;
        Ok(ends)
    }

    /// Waits for an event, and takes the others that have come.
    fn heard(&mut self, of: &str) -> Verdict {
        let event = self.0.next_event(Some(PATIENCE)).map_err(failed)?;
        ensure!(event.is_some(), "no event of {of}");
        while self.0.next_event(Some(Duration::ZERO)).map_err(failed)?.is_some() {}
        Ok(())
    }

    fn is_introduced(&mut self, domid: Domid) -> Result<bool, Stop> {
        self.0.is_introduced(domid).map_err(failed)
    }
}

/// Destroys a domain; while somebody holds a page of it, it stays as a dying one.
fn destroy(xen: &Xen, domid: Domid) -> Verdict {
    xen.destroy(domid).map_err(failed)
}

/// Waits until nobody holds a page of it.
fn gone(xen: &Xen, domid: Domid) -> Verdict {
    let start = Instant::now();
    while xen.domain_info(domid).map_err(failed)?.is_some() {
        ensure!(start.elapsed() < PATIENCE, "domain {domid} is destroyed and does not go");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A guest that has done to the store what `how` says.
fn attacker(how: &str) -> Result<Domid, Stop> {
    let text = format!(
        "name = \"dies\"\ntype = \"pv\"\nkernel = \"/guest/xtf/store-attack\"\n\
         extra = \"how={how}\"\nmemory = 8\nvcpus = 1\n"
    );
    let mut log = console("dies")?;
    argv(&["/bin/xlr", "create", "-q", &config("dies", &text)?])?.success()?;
    await_text(&mut log, "xtf: attacks", 60)?;
    let number = domid("dies")?.and_then(|number| u16::try_from(number).ok());
    let Some(domid) = number.map(Domid) else { fail!("there is no domain called dies") };
    Ok(domid)
}

/// What must hold after the end of one: the store has let go of it, and serves.
fn let_go(ends: &mut Ends, domid: Domid) -> Verdict {
    ensure!(!ends.is_introduced(domid)?, "domain {domid} has a connection after its end");
    let own = format!("/local/domain/{domid}/data");
    let left = ends.0.read_optional(&own).map_err(failed)?;
    ensure!(left.is_none(), "{own}, of a domain that is gone, is {left:?}");
    argv(&["/xen/bin/xenstore-control", "check"])?.success()?;
    // So that the next one has its name; its other nodes were the toolstack's to remove.
    ends.0.rm(format!("/local/domain/{domid}")).map_err(failed)
}

/// Half a request, requests without end, replies that nobody takes: and no guest any more.
fn dies_in_mid_request() -> Verdict {
    let xen = Xen::open().map_err(failed)?;
    let mut ends = Ends::new()?;
    for how in ["partial", "flood", "sleep", "flood", "flood", "partial"] {
        let domid = attacker(how)?;
        ensure!(ends.is_introduced(domid)?, "{how}: domain {domid} has no connection");
        destroy(&xen, domid)?;
        ends.heard(&format!("the end of {domid}, {how}"))?;
        gone(&xen, domid)?;
        let_go(&mut ends, domid)?;
    }
    Ok(())
}

/// The same while no server runs: the next one has half a request of a domain that is dying, as
/// xenconsoled holds a page of it until it is told.
fn dies_without_server() -> Verdict {
    let xen = Xen::open().map_err(failed)?;
    let mut ends = Ends::new()?;
    end_first()?;
    let mut serves = server(None)?;
    for how in ["partial", "flood", "sleep"] {
        let domid = attacker(how)?;
        serves.kill()?;
        serves.wait()?;
        destroy(&xen, domid)?;
        let dying = xen.domain_info(domid).map_err(failed)?;
        ensure!(dying.is_some_and(|info| info.dying), "{how}: nobody holds domain {domid}");
        serves = server(None)?;
        ends.heard(&format!("the end of {domid}, {how}"))?;
        gone(&xen, domid)?;
        let_go(&mut ends, domid)?;
    }
    Ok(serves.kill()?)
}
