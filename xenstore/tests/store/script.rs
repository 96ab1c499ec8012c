//! Scripts: requests and what shall come of them, one per line.
//!
//! ```text
//! s1: WRITE /a/b hello          -> OK | s1 /a/b token, d5 /a/b other
//! d5/1: READ /a/b               -> =hello
//! world: GONE 5                 -> -
//! ```
//!
//! Before the colon: the caller (`s1` a socket, `d5` a domain) and, after a slash, its transaction.
//! After the arrow: the reply, and after a bar all events in order (`| *` for any, nothing for
//! none). `x*20` in a value or a path stands for twenty times x. `world` is what the server learns:
//! GONE, SHUTDOWN, EXISTS with a domain; CLOSE with a socket.

use xenstore::store::{Changes, ConnectionId, Effect, Event, Outcome, Ring, State};
use xenstore::wire::{Reply, Request, Token, TransactionId};
use xenstore::{Domid, Gfn, Path, Port};

/// A store with domains 1, 2 and 3 and sockets 1 and 2 connected, and a home for each domain.
pub fn store() -> State {
    let mut state = State::new();
    run(
        &mut state,
        "s1: INTRODUCE 1 -> OK
         s1: INTRODUCE 2 -> OK
         s1: INTRODUCE 3 -> OK
         s1: WRITE /local/domain/1 home -> OK
         s1: SET_PERMS /local/domain/1 n1 -> OK
         s1: WRITE /local/domain/2 home -> OK
         s1: SET_PERMS /local/domain/2 n2 -> OK
         s1: WRITE /local/domain/3 home -> OK
         s1: SET_PERMS /local/domain/3 n3 -> OK",
    );
    state
}

/// Runs a script.
pub fn run(state: &mut State, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (caller, rest) = line.split_once(": ").expect(line);
        let (request, wanted) = rest.split_once(" -> ").expect(line);
        let (reply, events) = ask(state, caller, request);
        let (wanted_reply, wanted_events) = match wanted.split_once(" | ") {
            Some((reply, events)) => (reply.trim(), events.trim()),
            None => (wanted.trim(), ""),
        };
        assert_eq!(reply, wanted_reply, "{line}");
        if wanted_events != "*" {
            assert_eq!(events, wanted_events, "events of {line}");
        }
        assert_eq!(state.check(), Vec::<String>::new(), "after {line}");
    }
}

/// One request; the reply and the events as text.
pub fn ask(state: &mut State, caller: &str, request: &str) -> (String, String) {
    if caller == "world" {
        return ("-".to_owned(), events(&world(state, request).events));
    }
    let (caller, transaction) = match caller.split_once('/') {
        Some((caller, number)) => (caller, TransactionId(number.parse().unwrap())),
        None => (caller, TransactionId::NONE),
    };
    let caller = connection(caller);
    if let ConnectionId::Socket(number) = caller {
        state.connect_socket(number);
    }
    let outcome = apply(state, caller, transaction, &parse(request));
    (reply(outcome.reply.as_ref().unwrap()), events(&outcome.changes.events))
}

/// One request, with a ring that can always be mapped.
pub fn apply(
    state: &mut State,
    caller: ConnectionId,
    transaction: TransactionId,
    request: &Request,
) -> Outcome {
    let outcome = state.apply(caller, transaction, request);
    if outcome.reply.is_none()
        && let [Effect::Connect { domid, gfn, port, .. }] = outcome.changes.effects[..]
    {
        return state.connected(domid, Ring { gfn, port }, Ok(()));
    }
    outcome
}

fn world(state: &mut State, request: &str) -> Changes {
    let (verb, number) = request.split_once(' ').unwrap();
    let number: u16 = number.parse().unwrap();
    match verb {
        "GONE" => state.domain_gone(Domid(number)),
        "SHUTDOWN" => state.domain_shut_down(Domid(number)),
        "EXISTS" => {
            state.domain_exists(Domid(number));
            Changes::default()
        }
        "CLOSE" => {
            state.disconnect_socket(number.into());
            Changes::default()
        }
        verb => panic!("{verb}"),
    }
}

pub fn connection(text: &str) -> ConnectionId {
    let (kind, number) = text.split_at(1);
    match kind {
        "s" => ConnectionId::Socket(number.parse().unwrap()),
        "d" => ConnectionId::Domain(Domid(number.parse().unwrap())),
        kind => panic!("{kind}"),
    }
}

/// A word, with repetitions spelled out.
fn word(text: &str) -> String {
    match text.split_once('*') {
        Some((head, count)) => {
            let (kept, last) = head.split_at(head.len() - 1);
            let digits = count.bytes().take_while(u8::is_ascii_digit).count();
            let times = count[..digits].parse().unwrap();
            format!("{kept}{}{}", last.repeat(times), word(&count[digits..]))
        }
        None => text.to_owned(),
    }
}

fn domid(text: &str) -> Domid {
    Domid(text.parse().unwrap())
}

pub fn parse(text: &str) -> Request {
    let words: Vec<String> = text.split_whitespace().map(word).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let path = |text: &str| Path::new(text).unwrap();
    let token = |text: &str| Token::new(text).unwrap();
    match words.as_slice() {
        ["READ", p] => Request::Read(path(p)),
        ["WRITE", p] => Request::Write { path: path(p), value: Vec::new() },
        ["WRITE", p, value] => Request::Write { path: path(p), value: (*value).into() },
        ["MKDIR", p] => Request::Mkdir(path(p)),
        ["RM", p] => Request::Rm(path(p)),
        ["DIRECTORY", p] => Request::Directory(path(p)),
        ["PART", p, offset] => {
            Request::DirectoryPart { path: path(p), offset: offset.parse().unwrap() }
        }
        ["GET_PERMS", p] => Request::GetPerms(path(p)),
        ["SET_PERMS", p, permissions] => {
            Request::SetPerms { path: path(p), permissions: permissions.parse().unwrap() }
        }
        ["WATCH", p, t] => Request::Watch { path: path(p), token: token(t), depth: None },
        ["WATCH", p, t, depth] => {
            Request::Watch { path: path(p), token: token(t), depth: Some(depth.parse().unwrap()) }
        }
        ["UNWATCH", p, t] => Request::Unwatch { path: path(p), token: token(t) },
        ["RESET_WATCHES"] => Request::ResetWatches,
        ["START"] => Request::TransactionStart,
        ["COMMIT"] => Request::TransactionEnd { commit: true },
        ["ABORT"] => Request::TransactionEnd { commit: false },
        ["INTRODUCE", d] => Request::Introduce { domid: domid(d), gfn: Gfn(1), port: Port(1) },
        ["INTRODUCE", d, port] => {
            let port = Port(port.parse().unwrap());
            Request::Introduce { domid: domid(d), gfn: Gfn(1), port }
        }
        ["RELEASE", d] => Request::Release(domid(d)),
        ["GET_DOMAIN_PATH", d] => Request::GetDomainPath(domid(d)),
        ["IS_DOMAIN_INTRODUCED", d] => Request::IsDomainIntroduced(domid(d)),
        ["RESUME", d] => Request::Resume(domid(d)),
        ["SET_TARGET", d, t] => Request::SetTarget { domid: domid(d), target: domid(t) },
        ["GET_FEATURE"] => Request::GetFeature(None),
        ["GET_FEATURE", d] => Request::GetFeature(Some(domid(d))),
        ["SET_FEATURE", d, bits] => {
            Request::SetFeature { domid: domid(d), features: bits.parse().unwrap() }
        }
        ["GET_QUOTA"] => Request::GetQuota { domid: None, quota: None },
        ["GET_QUOTA", q] => Request::GetQuota { domid: None, quota: Some((*q).to_owned()) },
        ["GET_QUOTA", d, q] => {
            Request::GetQuota { domid: Some(domid(d)), quota: Some((*q).to_owned()) }
        }
        ["SET_QUOTA", q, value] => {
            Request::SetQuota { domid: None, quota: (*q).to_owned(), value: value.parse().unwrap() }
        }
        ["SET_QUOTA", d, q, value] => Request::SetQuota {
            domid: Some(domid(d)),
            quota: (*q).to_owned(),
            value: value.parse().unwrap(),
        },
        ["CONTROL", command, parameters @ ..] => Request::Control {
            command: (*command).to_owned(),
            parameters: parameters.iter().flat_map(|p| [p.as_bytes(), &[0]].concat()).collect(),
        },
        words => panic!("{words:?}"),
    }
}

fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Done(_) => "OK".to_owned(),
        Reply::Control(bytes) => {
            String::from_utf8_lossy(bytes).trim_end_matches('\0').trim_end().to_owned()
        }
        Reply::Directory(names) if names.is_empty() => "-".to_owned(),
        Reply::Directory(names) => names.join(" "),
        Reply::DirectoryPart { children, last, .. } => {
            format!("[{}]{}", children.join(" "), if *last { "." } else { "" })
        }
        Reply::Value(value) => format!("={}", String::from_utf8_lossy(value)),
        Reply::Permissions(permissions) => permissions.to_string(),
        Reply::TransactionStarted(id) => format!("tx{}", id.0),
        Reply::DomainPath(path) => path.to_string(),
        Reply::Introduced(yes) => if *yes { "T" } else { "F" }.to_owned(),
        Reply::Features(bits) => bits.to_string(),
        Reply::Quota(text) => text.clone(),
        Reply::Error(failure) => String::from_utf8_lossy(failure.text()).into_owned(),
        Reply::Event(_) => panic!("an event is no reply"),
    }
}

pub fn events(events: &[Event]) -> String {
    let one = |event: &Event| {
        let connection = match event.connection {
            ConnectionId::Socket(number) => format!("s{number}"),
            ConnectionId::Domain(domid) => format!("d{domid}"),
        };
        format!("{connection} {} {}", event.event.path, event.event.token)
    };
    events.iter().map(one).collect::<Vec<_>>().join(", ")
}
