//! What counts as the same, and what is known to differ.

use super::generate::Asked;
use super::{CONNECTIONS, Exchange};
use std::collections::BTreeMap;
use xenstore::wire::{MessageType, Packet};

const COARSER: &str = "a transaction conflicts at C where it saw nothing that changed";
const GIVEN_UP: &str =
    "C gives up a transaction in which a limit was met: ENOMEM, where ours commits";
const AT_LIMIT: &str = "C refuses a commit when an owner has as many nodes as the limit says";
const REASONS: &str = "both refuse a commit, C for limits before conflicts";
const LATE: &str = "nodes of a transaction count at once in ours, at its end in C";
const GIVEN_AWAY: &str = "a guest that owns a special node may give it away at C, EPERM of ours";
const TRANSIENT: &str = "an event of a node that a transaction both made and removed";
const ORDER: &str = "the order of the events of one request";
const MERGED: &str = "C leaves out an event while the same one waits to be sent";
const UNWATCH: &str = "an UNWATCH of what is no path: ENOENT of C, EINVAL of ours";
const SPECIAL: &str =
    "a SET_PERMS of a special path that is none: EINVAL of C, EACCES or ENOENT of ours";

const STALE: &str = "a request whose one path is none: an error of C's that an earlier request left, EINVAL of ours";

const OWNER_FIRST: &str =
    "a SET_PERMS of what is no path for a domain that is not there: ENOENT of C, EINVAL of ours";

#[derive(Default)]
pub struct Differences {
    pub known: BTreeMap<&'static str, u32>,
    pub found: Vec<String>,
    pub errors: u32,
    pub events: usize,
}

fn is(packet: &Packet, kind: MessageType) -> bool {
    packet.header.kind == kind.raw()
}

/// Why C refuses a commit that ours carries out, if that is known to happen: it counts a change of
/// any part of a node that was touched as a conflict, where ours looks at those parts that were seen;
/// it gives up a transaction in which a request met a limit halfway, where ours takes back the request;
/// and it refuses as soon as an owner has as many nodes as the limit says (`at_limit`), even those of others.
pub fn is_refused_commit(
    theirs: &Packet,
    ours: &Packet,
    (is_spoilt, met_limit, at_limit): (bool, bool, bool),
) -> Option<&'static str> {
    if !is(theirs, MessageType::Error) || is(ours, MessageType::Error) {
        return None;
    }
    match theirs.payload.as_slice() {
        b"EAGAIN\0" if is_spoilt => Some(COARSER),
        b"ENOMEM\0" if met_limit => Some(GIVEN_UP),
        b"ENOSPC\0" if at_limit => Some(AT_LIMIT),
        _ => None,
    }
}

/// Both refuse a commit, each for the first reason that it looks for.
fn is_refused_by_both(asked: &Asked, theirs: &Packet, ours: &Packet) -> bool {
    let refused = |reply: &Packet| {
        [&b"EAGAIN\0"[..], b"ENOMEM\0", b"ENOSPC\0"].contains(&reply.payload.as_slice())
    };
    ends_transaction(asked) && refused(theirs) && refused(ours)
}

/// Inside a transaction ours counts the nodes that it makes, C at its end.
fn is_counted_late(asked: &Asked, theirs: &Packet, ours: &Packet) -> bool {
    let makes = [MessageType::Write, MessageType::Mkdir].iter().any(|kind| is(theirs, *kind));
    asked.slot.is_some() && makes && ours.payload == b"ENOSPC\0"
}

/// Whether a guest gives a special node away that it owns.
pub fn is_given_away(asked: &Asked, theirs: &Packet, ours: &Packet) -> bool {
    is(theirs, MessageType::SetPerms)
        && asked.payload.starts_with(b"@")
        && ours.payload == b"EPERM\0"
}

fn is_unwatch_of_no_path(asked: &Asked, theirs: &Packet, ours: &Packet) -> bool {
    asked.kind == MessageType::Unwatch.raw()
        && theirs.payload == b"ENOENT\0"
        && ours.payload == b"EINVAL\0"
}

fn is_refused_special(asked: &Asked, theirs: &Packet, ours: &Packet) -> bool {
    asked.kind == MessageType::SetPerms.raw()
        && asked.payload.starts_with(b"@")
        && theirs.payload == b"EINVAL\0"
        && [&b"EACCES\0"[..], b"ENOENT\0"].contains(&ours.payload.as_slice())
}

/// C looks at its last error where a node was not found, and sets none where there is no path to look
/// for: several strings, or a special one.
fn is_stale(asked: &Asked, theirs: &Packet, ours: &Packet) -> bool {
    let one_path = [MessageType::Read, MessageType::Directory, MessageType::GetPerms];
    let strings = asked.payload.iter().filter(|&&byte| byte == 0).count();
    one_path.iter().any(|kind| asked.kind == kind.raw())
        && (strings != 1 || asked.payload.starts_with(b"@"))
        && is(theirs, MessageType::Error)
        && ours.payload == b"EINVAL\0"
}

fn is_owner_first(asked: &Asked, theirs: &Packet, ours: &Packet) -> bool {
    asked.kind == MessageType::SetPerms.raw()
        && theirs.payload == b"ENOENT\0"
        && ours.payload == b"EINVAL\0"
}

/// The part of a reply's payload that both stores decide alike.
fn comparable(packet: &Packet) -> &[u8] {
    match packet.header.message_type() {
        Some(MessageType::TransactionStart) => &[],
        // The generation comes first; the two count in their own ways.
        Some(MessageType::DirectoryPart) => {
            let nul = packet.payload.iter().position(|&byte| byte == 0);
            &packet.payload[nul.unwrap_or(0)..]
        }
        _ => &packet.payload,
    }
}

fn text_until_nul(payload: &[u8]) -> String {
    let text = payload.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

fn shown<'a>(payloads: impl IntoIterator<Item = &'a Vec<u8>>) -> String {
    let one = |payload: &Vec<u8>| payload.escape_ascii().to_string();
    payloads.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

impl Differences {
    pub fn count(&mut self, what: &'static str) {
        *self.known.entry(what).or_default() += 1;
    }

    /// Compares the replies and the events of one round. `absolute` makes a path of a connection
    /// absolute, `lasts` says whether a node was there before the round's end or is there now.
    pub fn compare(
        &mut self,
        number: u32,
        round: &[Exchange],
        replies: &[Packet],
        events: &[Vec<Packet>; CONNECTIONS],
        lasts: impl Fn(usize, &str) -> bool,
    ) {
        for (index, (exchange, theirs)) in round.iter().zip(replies).enumerate() {
            let ours = &exchange.ours.reply;
            self.errors += u32::from(is(ours, MessageType::Error));
            let same =
                theirs.header.kind == ours.header.kind && comparable(theirs) == comparable(ours);
            let asked = &exchange.asked;
            if !same && is_refused_by_both(asked, theirs, ours) {
                self.count(REASONS);
            } else if !same && is_counted_late(asked, theirs, ours) {
                self.count(LATE);
            } else if !same && is_given_away(asked, theirs, ours) {
                self.count(GIVEN_AWAY);
            } else if !same && is_refused_special(&exchange.asked, theirs, ours) {
                self.count(SPECIAL);
            } else if !same && is_stale(asked, theirs, ours) {
                self.count(STALE);
            } else if !same && is_owner_first(&exchange.asked, theirs, ours) {
                self.count(OWNER_FIRST);
            } else if !same && is_unwatch_of_no_path(&exchange.asked, theirs, ours) {
                self.count(UNWATCH);
            } else if !same {
                self.found.push(format!(
                    "request {}, {:?}: C says {} «{}», ours {} «{}»",
                    number + index as u32,
                    exchange.asked,
                    theirs.header.kind,
                    theirs.payload.escape_ascii(),
                    ours.header.kind,
                    ours.payload.escape_ascii(),
                ));
            }
        }
        for (connection, events) in events.iter().enumerate() {
            let theirs: Vec<_> = events.iter().map(|e| e.payload.clone()).collect();
            self.events += theirs.len();
            self.compare_events(number, round, connection, &theirs, &lasts);
        }
    }

    /// C's events of one connection are in the order of the requests, as ours are.
    fn compare_events(
        &mut self,
        number: u32,
        round: &[Exchange],
        connection: usize,
        theirs: &[Vec<u8>],
        lasts: &impl Fn(usize, &str) -> bool,
    ) {
        let mut left = theirs.iter().peekable();
        let mut earlier: Vec<&Vec<u8>> = Vec::new();
        for (index, exchange) in round.iter().enumerate() {
            let ours: Vec<_> =
                exchange.ours.events[connection].iter().map(|event| &event.payload).collect();
            let mut due = ours.clone();
            let mut in_order = true;
            let transient = |event: &Vec<u8>| {
                ends_transaction(&exchange.asked) && !lasts(connection, &text_until_nul(event))
            };
            while let Some(event) = left.peek() {
                match due.iter().position(|one| one == event) {
                    Some(at) => {
                        in_order &= at == 0;
                        due.remove(at);
                    }
                    None if transient(event) => self.count(TRANSIENT),
                    None => break,
                }
                left.next();
            }
            if !in_order {
                self.count(ORDER);
            }
            // Two watches with one token make the same event twice.
            let times = |events: &[&Vec<u8>], event| events.iter().filter(|&&e| e == event).count();
            let again = |event| times(&ours, event) > times(&due, event);
            let (merged, missing): (Vec<_>, Vec<_>) =
                due.iter().partition(|event| earlier.contains(event) || again(**event));
            for _ in &merged {
                self.count(MERGED);
            }
            if !missing.is_empty() {
                self.found.push(format!(
                    "request {}, {:?}, connection {connection}: C does not send [{}], but [{}]",
                    number + index as u32,
                    exchange.asked,
                    shown(missing.into_iter().copied()),
                    shown(theirs),
                ));
                return;
            }
            earlier.extend(ours);
        }
        let more: Vec<_> = left.collect();
        if !more.is_empty() {
            let asked: Vec<_> = round.iter().map(|exchange| &exchange.asked).collect();
            self.found.push(format!(
                "requests from {number} on, connection {connection}: only C sends [{}]; {asked:?}",
                shown(more)
            ));
        }
    }
}

pub fn ends_transaction(asked: &Asked) -> bool {
    asked.kind == MessageType::TransactionEnd.raw()
}
