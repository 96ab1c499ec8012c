//! What is asked of a store: each case is a number of requests that are made over and over.

use super::at_once::{self, AtOnce};
use std::io;
use std::ops::{Deref, DerefMut};
use xenstore::PathError;
use xenstore::client::{Client, Error, Loss, Nodes as _};
use xenstore::wire::{MessageType, Request};

/// Requests in a burst: more than fit into one turn of any server.
const BURST: usize = 64;
/// Clients of the conflicting transactions.
pub const CLIENTS: usize = 8;

/// Who asks.
pub struct Clients {
    /// Those that wait for each answer.
    waiting: Vec<Client>,
    /// Those that do not wait for each other.
    at_once: AtOnce,
}

impl Clients {
    /// Connects all of them.
    pub fn connect() -> io::Result<Self> {
        let waiting = (0..CLIENTS).map(|_| Client::connect()).collect::<Result<_, _>>();
        Ok(Self { waiting: waiting.map_err(io::Error::other)?, at_once: AtOnce::connect()? })
    }
}

impl Deref for Clients {
    type Target = [Client];

    fn deref(&self) -> &[Client] {
        &self.waiting
    }
}

impl DerefMut for Clients {
    fn deref_mut(&mut self) -> &mut [Client] {
        &mut self.waiting
    }
}

/// A case.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// How often it is done in a round.
    pub times: u32,
    /// Requests that one time makes.
    pub requests: u32,
    /// What is done, by one client or several.
    pub work: fn(&mut Clients, u32) -> Result<(), Error>,
}

/// What is promised against the C daemon: half of its server's work for a request, twice its throughput
/// where requests do not wait for each other, never slower.
pub fn target(phase: &str, case: &str) -> f64 {
    let rate = ["pipelined", "conflicting/"];
    match phase {
        super::SERVER => 2.0,
        _ if rate.iter().any(|part| case.contains(part)) => 2.0,
        _ => 1.0,
    }
}

const fn case(
    name: &'static str,
    times: u32,
    requests: u32,
    work: fn(&mut Clients, u32) -> Result<(), Error>,
) -> Case {
    Case { name, times, requests, work }
}

/// The cases of the store while it is small.
pub const SMALL: &[Case] = &[
    case("sync/read", 200, 1, |clients, _| clients[0].read("/bench/a").map(drop)),
    case("sync/write", 200, 1, |clients, _| clients[0].write("/bench/a", "value")),
    case("sync/write-1500", 200, 1, |clients, _| clients[0].write("/bench/long", [b'x'; 1500])),
    case("sync/directory", 200, 1, |clients, _| clients[0].directory("/bench").map(drop)),
    case("sync/mkdir-rm", 100, 2, |clients, _| {
        clients[0].mkdir("/bench/new")?;
        clients[0].rm("/bench/new")
    }),
    case("sync/permissions", 200, 1, |clients, _| clients[0].get_perms("/bench/a").map(drop)),
    case("sync/transaction-empty", 100, 2, |clients, _| {
        clients[0].transaction(|_| Ok::<(), Error>(()))
    }),
    case("sync/transaction-read-write", 100, 4, |clients, _| {
        clients[0].transaction(|transaction| {
            transaction.read("/bench/a")?;
            transaction.write("/bench/a", "value")
        })
    }),
    case("sync/watched-write", 100, 1, |clients, _| {
        clients[0].write("/bench/watched", "value")?;
        while clients[1].next_event(None)?.is_none() {}
        Ok(())
    }),
    case("pipelined/read", 20, BURST as u32, |clients, _| {
        burst(clients, Request::read("/bench/a"))
    }),
    case("pipelined/write", 20, BURST as u32, |clients, _| {
        burst(clients, Request::write("/bench/a", "value"))
    }),
    // Each within the one before: every request waits, as in the cases `sync`.
    case("sync/conflicting", 10, CONFLICTING as u32, |clients, _| conflict(clients)),
    case("conflicting/8-clients", 10, at_once::REQUESTS as u32, |clients, _| {
        clients.at_once.conflict().map_err(|error| Error::Disconnected {
            operation: MessageType::TransactionEnd,
            subject: String::new(),
            loss: Loss::from(&error),
        })
    }),
];

/// The cases of a store with [`FEW`] domains, and of the same store with many: `domains-few/read`,
/// `domains-many/read`.
pub const DOMAINS: &[Case] = &[
    case("read", 200, 1, |clients, time| clients[0].read(node_of(time)).map(drop)),
    case("write", 200, 1, |clients, time| clients[0].write(node_of(time), "value")),
    case("mkdir-rm", 100, 2, |clients, _| {
        clients[0].mkdir("/bench/domain/1/new")?;
        clients[0].rm("/bench/domain/1/new")
    }),
    case("pipelined-read", 20, BURST as u32, |clients, _| {
        burst(clients, Request::read(node_of(1)))
    }),
    case("pipelined-write", 20, BURST as u32, |clients, _| {
        burst(clients, Request::write(node_of(1), "value"))
    }),
];

/// Domains' worth of nodes and watches in a store with few.
pub const FEW: u32 = 10;

/// The cases of test-xenstore, Debian's, as it names them.
pub const TESTS: [&str; 12] = [
    "read 1",
    "read 2000",
    "write 1",
    "write 2000",
    "dir",
    "rm node",
    "rm dir",
    "ta empty",
    "ta empty x",
    "ta rmw",
    "ta rmw x",
    "ta err",
];

/// Such a case's name among the rows.
pub fn test_name(test: &str) -> String {
    format!("test-xenstore/{}", test.replace(' ', "-"))
}

fn node_of(time: u32) -> String {
    format!("/bench/domain/{}/data/3", time % FEW)
}

fn burst(clients: &mut Clients, request: Result<Request, PathError>) -> Result<(), Error> {
    let requests = vec![request?; BURST];
    clients[0].batch_all(&requests).map(drop)
}

/// Requests of [`conflict`]: all clients but the last make their transaction of four requests twice.
const CONFLICTING: usize = (2 * CLIENTS - 1) * 4;

/// Transactions of all clients on one node, each within the one before: the last commits first, and
/// each of the others has to do its own again.
fn conflict(clients: &mut [Client]) -> Result<(), Error> {
    let Some((first, rest)) = clients.split_first_mut() else { return Ok(()) };
    let mut again = false;
    first.transaction(|transaction| {
        transaction.read("/bench/a")?;
        if !std::mem::replace(&mut again, true) {
            conflict(rest)?;
        }
        transaction.write("/bench/a", "value")
    })
}

/// A domain's worth of nodes.
pub fn fill(client: &mut Client, number: u32) -> Result<(), Error> {
    let home = format!("/bench/domain/{number}");
    let write = |node: String| Request::write(format!("{home}/{node}"), "value");
    let nodes = ["name", "memory/target", "control/shutdown", "device/vif/0/state", "console/port"];
    let mut requests = Vec::new();
    for node in nodes {
        requests.push(write(node.to_owned())?);
    }
    for node in 0..15 {
        requests.push(write(format!("data/{node}"))?);
    }
    client.batch_all(&requests).map(drop)
}

/// A domain's worth of watches.
pub fn watch(client: &mut Client, number: u32) -> Result<(), Error> {
    for node in ["control/shutdown", "memory/target", "device/vif/0/state", "data/7"] {
        client.watch(format!("/bench/domain/{number}/{node}"), "token")?;
    }
    Ok(())
}
