//! Domains end while the store has half a request of theirs, with a server and without one, and others
//! get their numbers.

use super::store_lives::{end_first, server};
use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv, await_text, config, console, domid};
use crate::xenstored::Xenstored;
use crate::{ensure, fail};
use libxc_safe::{CreateDomain, Domid, ForeignMapping, Gfn, MemoryFlags, Port, Protection, Xen};
use std::mem::offset_of;
use std::process::Child;
use std::time::{Duration, Instant};
use xen_sys::io::xs_wire::{XENSTORE_RING_SIZE, xenstore_domain_interface as Raw};
use xenstore::Permissions;
use xenstore::client::{Client, DEVICE, Nodes as _};
use xenstore::wire::{Header, MessageType, Parser, Request, RequestId, TransactionId};

const fn ours(name: &'static str, run: fn() -> Verdict) -> Case {
    let case = Case::new(name, Group::Store, run);
    // Of domains that nobody else removes their nodes are left.
    Case { xenstored: Xenstored::Xlr, wrecks: true, ci: false, limit_seconds: 200, ..case }
}

/// The cases of this topic.
pub const CASES: &[Case] = &[
    ours("store/dies-in-mid-request", dies_in_mid_request),
    ours("store/number-reused", || number_reused(false)),
    ours("store-killed/dies-in-mid-request", dies_without_server),
    ours("store-killed/number-reused", || number_reused(true)),
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

/// A domain without a program; this process has its ring.
struct Silent {
    domid: Domid,
    ring: ForeignMapping,
    gfn: Gfn,
    port: Port,
}

impl Silent {
    fn new(xen: &Xen, domid: Option<Domid>, uuid: u8) -> Result<Silent, Stop> {
        let request = CreateDomain {
            domid,
            uuid: [uuid; 16],
            max_vcpus: 1,
            max_event_channel_port: 127,
            ..CreateDomain::default()
        };
        let domid = xen.create_domain(&request).map_err(failed)?;
        xen.max_vcpus(domid, 1).map_err(failed)?;
        xen.set_max_mem_kib(domid, 1024).map_err(failed)?;
        let mut frames = [0];
        let done = xen.populate_physmap(domid, 0, MemoryFlags::ANY, &mut frames);
        ensure!(done.map_err(failed)? == 1, "no page for domain {domid}");
        let gfn = Gfn(frames[0]);
        let ring = xen.map_foreign(domid, &[gfn], Protection::ReadWrite).map_err(failed)?;
        ring.zero(0, 4096).map_err(failed)?;
        let port = xen.alloc_unbound(domid, Domid::DOM0).map_err(failed)?;
        Ok(Silent { domid, ring, gfn, port })
    }

    /// Makes nodes that it owns.
    fn home(&self, store: &mut Client, name: &str) -> Verdict {
        let home = format!("/local/domain/{}", self.domid);
        let own = Permissions::private(self.domid);
        for (node, value) in [(home.clone(), ""), (format!("{home}/name"), name)] {
            store.write(&node, value).map_err(failed)?;
            store.set_perms(&node, &own).map_err(failed)?;
        }
        Ok(())
    }

    /// Introduces the domain, which empties the ring, and puts bytes into it. As nobody can signal its
    /// event channel, the store looks at them when the next server begins.
    fn asks(&self, store: &mut Client, serves: &mut Child, bytes: &[u8]) -> Verdict {
        store.introduce(self.domid, self.gfn, self.port).map_err(failed)?;
        // The ring is emptied before the store answers what comes next.
        let introduced = store.is_introduced(self.domid).map_err(failed)?;
        ensure!(introduced, "domain {} has no connection", self.domid);
        self.ring.write(offset_of!(Raw, req), bytes).map_err(failed)?;
        let len = u32::try_from(bytes.len()).map_err(failed)?;
        self.ring.store_u32(offset_of!(Raw, req_prod), len).map_err(failed)?;
        serves.kill()?;
        serves.wait()?;
        *serves = server(None)?;
        let start = Instant::now();
        while self.ring.load_u32(offset_of!(Raw, req_cons)).map_err(failed)? != len {
            ensure!(start.elapsed() < PATIENCE, "the store takes no request of {}", self.domid);
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The replies that the store has put into the ring.
    fn replies(&self) -> Result<Vec<(Option<MessageType>, String)>, Stop> {
        let len = self.ring.load_u32(offset_of!(Raw, rsp_prod)).map_err(failed)? as usize;
        let mut bytes = vec![0; len.min(XENSTORE_RING_SIZE)];
        self.ring.read(offset_of!(Raw, rsp), &mut bytes).map_err(failed)?;
        let (mut parser, mut rest, mut replies) = (Parser::new(), &*bytes, Vec::new());
        while let Some(packet) = parser.advance(&mut rest).map_err(failed)? {
            let text = String::from_utf8_lossy(&packet.payload).into_owned();
            replies.push((packet.header.message_type(), text));
        }
        Ok(replies)
    }
}

/// Bytes of a request that is not whole.
fn half() -> Vec<u8> {
    let request = RequestId(1);
    let (kind, transaction) = (MessageType::Write.raw(), TransactionId::NONE);
    let header = Header { kind, request, transaction, len: 3000 };
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(&[b'x'; 800]);
    bytes
}

/// Another domain has the number of one that ended, `without_server` or with one: it has nothing of the
/// first, not the half of a request either.
fn number_reused(without_server: bool) -> Verdict {
    let xen = Xen::open().map_err(failed)?;
    let mut ends = Ends::new()?;
    end_first()?;
    let mut serves = server(None)?;
    let first = Silent::new(&xen, None, 0x11)?;
    let domid = first.domid;
    first.home(&mut ends.0, "first")?;
    first.asks(&mut ends.0, &mut serves, &half())?;
    if without_server {
        serves.kill()?;
        serves.wait()?;
    }
    drop(first);
    destroy(&xen, domid)?;
    // With a server it is the server that holds the ring's page, and lets it go.
    gone(&xen, domid)?;
    let second = Silent::new(&xen, Some(domid), 0x22)?;
    if without_server {
        serves = server(None)?;
    }
    ends.heard("the end of the first")?;
    ensure!(!ends.is_introduced(domid)?, "the second has the connection of the first");
    let name = format!("/local/domain/{domid}/name");
    let left = ends.0.read_optional(&name).map_err(failed)?;
    ensure!(left.is_none(), "the second has the nodes of the first: {left:?}");

    second.home(&mut ends.0, "second")?;
    let mut bytes = Vec::new();
    let read = Request::read("name").map_err(failed)?;
    let encoded = read.encode(RequestId(7), TransactionId::NONE, &mut bytes);
    ensure!(encoded.is_ok(), "a request of {} bytes", bytes.len());
    second.asks(&mut ends.0, &mut serves, &bytes)?;
    ensure!(ends.is_introduced(domid)?, "the second has no connection");
    let replies = second.replies()?;
    let wanted = [(Some(MessageType::Read), "second".to_owned())];
    ensure!(replies == wanted, "the second is told {replies:?}");

    drop(second);
    destroy(&xen, domid)?;
    ends.heard("the end of the second")?;
    gone(&xen, domid)?;
    ensure!(!ends.is_introduced(domid)?, "nobody has the connection of the second");
    argv(&["/xen/bin/xenstore-control", "check"])?.success()?;
    Ok(serves.kill()?)
}
