//! Known differences that a request brings out every time, shown before the comparison begins, which
//! then stays clear of them.
//!
//! Two more are not asked for. To a path with a NUL too many C 4.17 answers with the error of some
//! earlier request, ours with EINVAL. And C 4.17 has ended at a path without its NUL; ours answers
//! EINVAL.

use super::generate::{Asked, asked};
use super::ours::Ours;
use super::theirs::Theirs;
use crate::dom0::host::Stop;
use crate::ensure;
use xenstore::wire::{MessageType as T, Packet};

struct Step {
    connection: usize,
    kind: T,
    payload: String,
    in_transaction: bool,
    theirs: &'static str,
    ours: &'static str,
}

struct Known {
    why: &'static str,
    steps: Vec<Step>,
}

fn step(kind: T, payload: &str, theirs: &'static str, ours: &'static str) -> Step {
    let payload = payload.to_owned();
    Step { connection: 0, kind, payload, in_transaction: false, theirs, ours }
}

fn inside(kind: T, payload: &str, theirs: &'static str, ours: &'static str) -> Step {
    Step { in_transaction: true, ..step(kind, payload, theirs, ours) }
}

fn table() -> Vec<Known> {
    vec![
        Known {
            why: "C takes a node into a transaction at the first request that touches it, ours all \
                  nodes at the start: what was read in one transaction was true at one moment",
            steps: vec![
                step(T::TransactionStart, "\0", "*", "*"),
                Step { connection: 1, ..step(T::Write, "/diff/late\0new", "OK\\x00", "OK\\x00") },
                inside(T::Read, "/diff/late\0", "new", "ENOENT\\x00"),
                inside(T::TransactionEnd, "T\0", "OK\\x00", "EAGAIN\\x00"),
                step(T::Rm, "/diff/late\0", "OK\\x00", "OK\\x00"),
            ],
        },
        Known {
            why: "C reads a number up to the first other letter, and none at all as 0",
            steps: vec![
                step(T::IsDomainIntroduced, "x\0", "T\\x00", "EINVAL\\x00"),
                step(T::GetDomainPath, "x\0", "/local/domain/0\\x00", "EINVAL\\x00"),
                step(T::GetDomainPath, "7z\0", "/local/domain/7\\x00", "EINVAL\\x00"),
                step(T::DirectoryPart, "/diff\0z\0", "*", "EINVAL\\x00"),
            ],
        },
        Known {
            why: "C 4.17 holds the host to the guests' limit on the length of paths",
            steps: vec![
                step(T::Read, &format!("/{}\0", "x".repeat(2047)), "ENOENT\\x00", "ENOENT\\x00"),
                step(T::Read, &format!("/{}\0", "x".repeat(2048)), "EINVAL\\x00", "ENOENT\\x00"),
            ],
        },
        Known {
            why: "what later headers have: GET_PERMS of special paths, features, watches with a depth",
            steps: vec![
                step(T::GetPerms, "@releaseDomain\0", "EINVAL\\x00", "n0\\x00"),
                step(T::GetFeature, "0\0", "ENOSYS\\x00", "*"),
                step(T::Watch, "/diff\0token\x001\0", "EINVAL\\x00", "OK\\x00"),
            ],
        },
    ]
}

fn number(packet: &Packet) -> u32 {
    let text = String::from_utf8_lossy(&packet.payload).into_owned();
    text.trim_end_matches('\0').parse().unwrap_or(0)
}

/// Asks both stores; what ours makes of it is forgotten.
pub fn show(theirs: &mut Theirs, ours: &Ours) -> Result<(), Stop> {
    let mut ours = ours.clone();
    let mut steps = 0;
    for known in table() {
        let mut transactions = (0, 0);
        for step in known.steps {
            let asked: Asked = asked(step.connection, step.kind, step.payload);
            let numbers = if step.in_transaction { transactions } else { (0, 0) };
            let (replies, _) = theirs.ask_all(step.connection, &[(&asked, numbers.0)])?;
            let our_reply = ours.ask(&asked, numbers.1).reply;
            if step.kind == T::TransactionStart {
                transactions = (number(&replies[0]), number(&our_reply));
            }
            for (whose, reply, wanted) in
                [("C", &replies[0], step.theirs), ("ours", &our_reply, step.ours)]
            {
                let said = reply.payload.escape_ascii().to_string();
                let error = reply.header.kind == T::Error.raw();
                let fits = if wanted == "*" { !error } else { said == wanted };
                ensure!(fits, "{}: {asked:?}: {whose} says «{said}»", known.why);
            }
            steps += 1;
        }
    }
    eprintln!("{steps} requests show the known differences");
    Ok(())
}
