//! How many requests per second the core of the store answers, without any transport.
//!
//! `cargo run --release -p xenstore --example store-core [DOMAINS [KIND ROUNDS]]` fills a store with
//! so many domains' worth of nodes and watches (default 1000) and prints a row per kind of request.
//! With a KIND (the beginning of a row's name) only that one runs, ROUNDS times: for tools that count
//! instructions, where a run with 0 rounds gives what is to be taken off. The numbers compare builds
//! on one machine; they say nothing of a served store.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use xenstore::store::{ConnectionId, Effect, Ring, State};
use xenstore::wire::{Reply, Request, Token, TransactionId};
use xenstore::{Domid, Errno, Gfn, Path, Permissions, Port};

const SOCKET: ConnectionId = ConnectionId::Socket(1);
const FOR_EACH: Duration = Duration::from_millis(300);

fn ask(state: &mut State, caller: ConnectionId, transaction: u32, request: &Request) -> Reply {
    let outcome = state.apply(caller, TransactionId(transaction), request);
    if let Some(Reply::Error(failure)) = &outcome.reply {
        assert_eq!(failure.errno(), Some(Errno::Eagain), "{request:?}");
    }
    if let [Effect::Connect { domid, gfn, port, .. }] = outcome.changes.effects[..] {
        return state.connected(domid, Ring { gfn, port }, Ok(())).reply.expect("a reply");
    }
    outcome.reply.expect("a reply")
}

fn path(text: &str) -> Path {
    Path::new(text).expect("a path")
}

fn write(text: &str, value: &str) -> Request {
    Request::Write { path: path(text), value: value.into() }
}

fn fill(state: &mut State, domains: u16) {
    state.connect_socket(1);
    for number in 1..=domains {
        let domid = Domid(number);
        ask(state, SOCKET, 0, &Request::Introduce { domid, gfn: Gfn(1), port: Port(1) });
        let home = format!("/local/domain/{number}");
        for node in ["name", "memory/target", "control/shutdown", "device/vif/0/state", "data"] {
            ask(state, SOCKET, 0, &write(&format!("{home}/{node}"), "value"));
        }
        let permissions = format!("n{number}").parse().expect("permissions");
        let data = path(&format!("{home}/data"));
        ask(state, SOCKET, 0, &Request::SetPerms { path: data, permissions });
        ask(state, SOCKET, 0, &write(&format!("{home}/data/x"), "value"));
        for watched in ["control/shutdown", "memory/target", "device/vif/0/state", "data"] {
            let token = Token::new(watched).expect("a token");
            let watch = Request::Watch { path: path(watched), token, depth: None };
            ask(state, ConnectionId::Domain(domid), 0, &watch);
        }
    }
}

fn measure(name: &str, requests: u32, mut work: impl FnMut()) {
    let mut arguments = std::env::args().skip(2);
    if let (Some(kind), Some(rounds)) = (arguments.next(), arguments.next()) {
        let rounds = if name.starts_with(&kind) { rounds.parse().unwrap_or(0) } else { 0 };
        (0..rounds).for_each(|_| work());
        return;
    }
    let start = Instant::now();
    let mut rounds = 0u32;
    while start.elapsed() < FOR_EACH {
        for _ in 0..100 {
            work();
        }
        rounds += 100;
    }
    let nanoseconds = start.elapsed().as_nanos() / u128::from(rounds) / u128::from(requests);
    println!("{name:<44} {nanoseconds:>8} ns/request {:>10}/s", 1_000_000_000 / nanoseconds.max(1));
}

fn begin(state: &mut State, caller: ConnectionId) -> u32 {
    match ask(state, caller, 0, &Request::TransactionStart) {
        Reply::TransactionStarted(id) => id.0,
        other => unreachable!("{other:?}"),
    }
}

fn main() {
    let domains = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1000);
    let mut state = State::new();
    let start = Instant::now();
    fill(&mut state, domains);
    println!("{domains} domains, {} nodes, made in {:?}", state.nodes().len(), start.elapsed());

    let state = &mut state;
    let guest = ConnectionId::Domain(Domid(1));
    let node = "/local/domain/1/data/x";
    measure("read, by a guest", 1, || {
        ask(state, guest, 0, &Request::Read(path(node)));
    });
    measure("write, with a watch, by a guest", 1, || {
        ask(state, guest, 0, &write(node, "value"));
    });
    measure("write, privileged", 1, || {
        ask(state, SOCKET, 0, &write("/local/domain/1/name", "value"));
    });
    measure("make and remove four levels", 2, || {
        ask(state, SOCKET, 0, &write("/libxl/1/device/vif/0", "value"));
        ask(state, SOCKET, 0, &Request::Rm(path("/libxl/1")));
    });
    measure("transaction: start, read, write, end", 4, || {
        let id = begin(state, SOCKET);
        ask(state, SOCKET, id, &Request::Read(path(node)));
        ask(state, SOCKET, id, &write(node, "value"));
        ask(state, SOCKET, id, &Request::TransactionEnd { commit: true });
    });
    measure("8 transactions at once on one node, 7 EAGAIN", 32, || {
        let ids: Vec<u32> = (0..8).map(|_| begin(state, SOCKET)).collect();
        for &id in &ids {
            ask(state, SOCKET, id, &Request::Read(path(node)));
            ask(state, SOCKET, id, &write(node, "value"));
        }
        for &id in &ids {
            ask(state, SOCKET, id, &Request::TransactionEnd { commit: true });
        }
    });
    let domid = Domid(1);
    let data = path("/local/domain/1/data");
    measure("a domain comes, owns two nodes, and goes", 5, || {
        state.domain_gone(domid);
        ask(state, SOCKET, 0, &Request::Introduce { domid, gfn: Gfn(1), port: Port(1) });
        ask(state, SOCKET, 0, &Request::Mkdir(data.clone()));
        let permissions = Permissions::private(domid);
        ask(state, SOCKET, 0, &Request::SetPerms { path: data.clone(), permissions });
        ask(state, guest, 0, &write(node, "value"));
    });
}
