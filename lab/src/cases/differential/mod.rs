//! The same requests to C xenstored and to the store of `xlr xenstored`: replies and events must agree.
//!
//! Two programs of dom0 talk to C xenstored through its socket, two guests through their rings: they
//! are domains that never run, and the case writes into their ring pages in their place. The other
//! store is the core of `xlr xenstored` in this process. Requests go out in rounds, each of one
//! connection; after a round every connection asks something harmless, so that all events of the
//! round have come.
//!
//! Where the two are known to differ (`known`, `compare`), the difference is shown or counted and both
//! are brought to one state again; any other difference fails the case.

mod compare;
mod generate;
mod known;
mod ours;
mod theirs;

use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv, config};
use crate::{ensure, fail};
use compare::Differences;
use generate::{Asked, Generator, Ids};
use ours::Ours;
use std::time::Instant;
use theirs::Theirs;
use xenstore::Domid;
use xenstore::wire::{MessageType, Packet};

/// Connections: two programs, two guests.
pub const CONNECTIONS: usize = 4;
/// Requests of one round; C admits 20 of a guest that are not settled.
const ROUND_MAX: usize = 16;
/// Differences after which the rest would say no more.
const FOUND_MAX: usize = 20;

/// Where the comparison begins that is always the same.
const SEED: u64 = 0x6469_6666;
/// log2 of the requests after which counts are compared.
const COUNTED: u32 = 7;
/// Nodes that a guest may own.
const NODES: u32 = 40;

/// What a request leads to: its reply, and the events of each connection.
#[derive(Clone, Debug)]
pub struct Answer {
    pub reply: Packet,
    pub events: [Vec<Packet>; CONNECTIONS],
}

/// A request and what ours made of it.
pub struct Exchange {
    asked: Asked,
    ids: Ids,
    ours: Answer,
}

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case {
        wrecks: true,
        limit_seconds: 200,
        ..case("store/differential", || compare(2_000, SEED))
    },
    Case {
        wrecks: true,
        ci: false,
        limit_seconds: 3_000,
        ..case("store/differential-seeds", || several(1..11, 5_000))
    },
    Case {
        wrecks: true,
        ci: false,
        limit_seconds: 3_000,
        ..case("store/long-differential", || several(11..15, 25_000))
    },
];

const fn case(name: &'static str, run: fn() -> Verdict) -> Case {
    Case::new(name, Group::Store, run)
}

fn guest(name: &str) -> Result<Domid, Stop> {
    let text = format!(
        "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\nvcpus = 1\n"
    );
    argv(&["/bin/xlr", "create", "-p", &config(name, &text)?])?.success()?;
    match crate::dom0::host::domid(name)? {
        Some(domid) => Ok(Domid(u16::try_from(domid).unwrap_or(0))),
        None => fail!("{name} is not there"),
    }
}

/// Several shorter comparisons, each of its own seed, with guests of its own.
fn several(seeds: std::ops::Range<u64>, requests: u32) -> Verdict {
    for seed in seeds {
        eprintln!("seed {seed}:");
        compare(requests, SEED ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))?;
    }
    Ok(())
}

fn compare(requests: u32, seed: u64) -> Verdict {
    // C xenstored has been seen to end; the kernel says why.
    std::fs::write("/proc/sys/kernel/print-fatal-signals", "1")?;
    let guests = [guest("first")?, guest("second")?];
    for (quota, limit) in [("nodes", &*NODES.to_string()), ("watches", "10"), ("transactions", "3")]
    {
        argv(&["/xen/bin/xenstore-control", "quota", "set", quota, limit])?.success()?;
    }
    let mut theirs = Theirs::connect(guests)?;
    let mut ours = Ours::new(guests);
    for asked in generate::beginning(guests) {
        let (replies, _) = theirs.ask_all(asked.connection, &[(&asked, 0)])?;
        let our_reply = ours.ask(&asked, 0).reply;
        ensure!(replies[0].payload == our_reply.payload, "{asked:?}: {replies:?}, {our_reply:?}");
    }
    known::show(&mut theirs, &ours)?;
    let mut generator = Generator::new(guests, seed);
    let mut differences = Differences::default();
    let (mut number, start) = (0, Instant::now());
    while number < requests && differences.found.len() < FOUND_MAX {
        number += round(number, &mut generator, &mut theirs, &mut ours, &mut differences)?;
    }
    for (what, count) in &differences.known {
        eprintln!("known difference, {count} times: {what}");
    }
    eprintln!(
        "{number} requests in {:.1} s, {} replies were errors, {} events, {} requests were moved \
         out of transactions",
        start.elapsed().as_secs_f64(),
        differences.errors,
        differences.events,
        generator.moved
    );
    for name in ["first", "second"] {
        argv(&["/bin/xlr", "destroy", name])?;
    }
    ensure!(differences.found.is_empty(), "{}", differences.found.join("\n"));
    Ok(())
}

/// Some requests of one connection; gives their number.
fn round(
    number: u32,
    generator: &mut Generator,
    theirs: &mut Theirs,
    ours: &mut Ours,
    differences: &mut Differences,
) -> Result<u32, Stop> {
    let connection = generator.connection();
    let mut round: Vec<Exchange> = Vec::new();
    let mut last_state = ours.clone();
    // A round ends where what follows depends on what both say.
    let mut over = false;
    while !over && round.len() < ROUND_MAX {
        let asked = generator.next(connection);
        let ids = generator.ids(&asked);
        let is_end = compare::ends_transaction(&asked);
        let changes = is_end || asked.slot.is_none() && asked.writes();
        let special = asked.kind == MessageType::SetPerms.raw() && asked.payload.starts_with(b"@");
        over = is_end || asked.kind == MessageType::TransactionStart.raw() || special;
        if changes {
            last_state = ours.clone();
        }
        let answer = ours.ask(&asked, ids.ours);
        over |= asked.slot.is_some() && answer.reply.payload == b"ENOSPC\0";
        if changes && !is_end {
            generator.spoil(&asked, &last_state.changed(ours));
        }
        round.push(Exchange { asked, ids, ours: answer });
    }
    let packets: Vec<_> = round.iter().map(|one| (&one.asked, one.ids.theirs)).collect();
    let (replies, events) = theirs.ask_all(connection, &packets).map_err(|stop| {
        let asked: Vec<_> = round.iter().map(|one| &one.asked).collect();
        let kernel = argv(&["/bin/busybox", "dmesg"]).map(|said| said.out).unwrap_or_default();
        let last: Vec<_> = kernel.lines().filter(|line| line.contains("xenstored")).collect();
        Stop::Failed(format!("requests from {number} on, {asked:?}: {stop:?}; {last:?}"))
    })?;
    let (Some(last), Some(reply)) = (round.last_mut(), replies.last()) else { return Ok(0) };
    if compare::ends_transaction(&last.asked) {
        let at_limit = generator.guests.iter().any(|&domid| ours.nodes_of(domid) >= NODES.into());
        let (is_spoilt, met_limit) =
            (generator.is_spoilt(&last.asked), generator.met_limit(&last.asked));
        let why =
            compare::is_refused_commit(reply, &last.ours.reply, (is_spoilt, met_limit, at_limit));
        if let Some(why) = why {
            differences.count(why);
            *ours = last_state.clone();
            ours.discard(&last.asked, last.ids.ours);
            last.ours = Answer { reply: reply.clone(), events: Default::default() };
        }
        generator.spoil(&last.asked, &last_state.changed(ours));
    }
    let states = [last_state.paths(), ours.paths()];
    let lasts = |connection: usize, path: &str| {
        let path = ours.absolute(connection, path);
        states.iter().any(|paths| paths.contains(&path))
    };
    differences.compare(number, &round, &replies, &events, lasts);
    let after = number + round.len() as u32;
    for domid in generator.guests.into_iter().filter(|_| number >> COUNTED != after >> COUNTED) {
        let (counted, kept) = (theirs.nodes_of(domid)?, ours.nodes_of(domid));
        if counted != kept {
            let asked: Vec<_> = round.iter().map(|one| &one.asked).collect();
            differences.found.push(format!(
                "requests from {number} on, {asked:?}: C counts {counted} nodes of domain {domid}, \
                 ours {kept}"
            ));
        }
    }
    for (exchange, reply) in round.iter().zip(&replies) {
        if compare::is_given_away(&exchange.asked, reply, &exchange.ours.reply) {
            // With the host's rights, which give everything away.
            ours.ask(&Asked { connection: 0, ..exchange.asked.clone() }, 0);
        }
        generator.learn(&exchange.asked, reply, &exchange.ours.reply);
    }
    Ok(round.len() as u32)
}
