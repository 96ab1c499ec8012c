//! The store against a naive model: a map from paths to nodes, transactions that copy all of it, and
//! watches that are looked through one by one.
//!
//! A transaction of the model keeps its requests and replies. When the store commits one, the model
//! runs its requests again on the present map: every reply must be as it was, and the maps must
//! agree. When the store refuses, something that the transaction touched must have changed.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::script::{ask, run};
use xenstore::store::State;

/// Domains 0 (behind the socket), 1 and 2.
type Epochs = [u32; 3];

#[derive(Clone, Debug, PartialEq)]
struct Node {
    value: String,
    owner: usize,
    others: char,
    /// Domain, letter, and which domain of that number was meant.
    grants: Vec<(usize, char, u32)>,
    order: u64,
}

impl Node {
    fn permissions(&self) -> String {
        let head = format!("{}{}", self.others, self.owner);
        let grants = self.grants.iter().map(|(domid, letter, _)| format!(",{letter}{domid}"));
        head + &grants.collect::<String>()
    }

    /// Letters of what the caller may: r, w, and o for the owner's right.
    fn rights(&self, caller: usize, epochs: Epochs) -> &'static str {
        if caller == 0 || caller == self.owner {
            return "rwo";
        }
        let meant =
            |g: &&(usize, char, u32)| g.0 == caller && g.2 == epochs.get(g.0).copied().unwrap();
        match self.grants.iter().find(meant).map_or(self.others, |g| g.1) {
            'r' => "r",
            'w' => "w",
            'b' => "rw",
            _ => "",
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Nodes {
    map: BTreeMap<String, Node>,
    next: u64,
}

#[derive(Clone, Debug)]
enum Op {
    Read,
    Write(String),
    Mkdir,
    Rm,
    Directory,
    GetPerms,
    SetPerms { owner: usize, others: char, grants: Vec<(usize, char)> },
}

impl Op {
    fn text(&self, path: &str) -> String {
        match self {
            Self::Read => format!("READ {path}"),
            Self::Write(value) => format!("WRITE {path} {value}"),
            Self::Mkdir => format!("MKDIR {path}"),
            Self::Rm => format!("RM {path}"),
            Self::Directory => format!("DIRECTORY {path}"),
            Self::GetPerms => format!("GET_PERMS {path}"),
            Self::SetPerms { owner, others, grants } => {
                let grants = grants.iter().map(|(domid, letter)| format!(",{letter}{domid}"));
                format!("SET_PERMS {path} {others}{owner}{}", grants.collect::<String>())
            }
        }
    }
}

fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

fn is_at_or_below(path: &str, ancestor: &str) -> bool {
    ancestor == "/" || path == ancestor || path.starts_with(&format!("{ancestor}/"))
}

fn depth_below(path: &str, ancestor: &str) -> usize {
    let names = |path: &str| path.split('/').filter(|name| !name.is_empty()).count();
    names(path) - names(ancestor)
}

/// Something that watchers may want to know: the path, whether only watches on exactly it count,
/// and the nodes of which one must be readable.
#[derive(Clone, Debug)]
struct Fire {
    path: String,
    exact: bool,
    readable: Vec<Node>,
}

#[derive(Debug, Default)]
struct Answer {
    reply: String,
    fires: Vec<Fire>,
    changed: Vec<String>,
}

impl Nodes {
    fn new() -> Self {
        let mut nodes = Self::default();
        for path in ["/", "/tool", "/tool/xenstored"] {
            nodes.add(path, 0, if path == "/" { 'b' } else { 'n' }, Vec::new());
        }
        nodes
    }

    fn add(&mut self, path: &str, owner: usize, others: char, grants: Vec<(usize, char, u32)>) {
        let order = self.next;
        self.next += 1;
        let node = Node { value: String::new(), owner, others, grants, order };
        self.map.insert(path.to_owned(), node);
    }

    fn children(&self, path: &str) -> Vec<String> {
        let below = |child: &&String| *child != "/" && parent(child) == path;
        let mut children: Vec<_> = self.map.keys().filter(below).cloned().collect();
        children.sort_by_key(|child| self.map[child].order);
        children
    }

    /// All nodes at and below a path, parents first.
    fn subtree(&self, path: &str) -> Vec<String> {
        let mut all = vec![path.to_owned()];
        for child in self.children(path) {
            all.extend(self.subtree(&child));
        }
        all
    }

    fn post_order(&self, path: &str) -> Vec<String> {
        let children = self.children(path);
        let mut all: Vec<_> = children.iter().flat_map(|child| self.post_order(child)).collect();
        all.push(path.to_owned());
        all
    }

    fn dump(&self) -> Vec<(String, String, String)> {
        let row = |path: String| {
            let node = &self.map[&path];
            (path.clone(), node.value.clone(), node.permissions())
        };
        self.subtree("/").into_iter().map(row).collect()
    }

    fn fire(&self, path: &str, exact: bool, before: Option<&Node>) -> Fire {
        let mut readable: Vec<_> = before.into_iter().cloned().collect();
        readable.extend(self.map.get(path).cloned());
        if path != "/" {
            readable.extend(self.map.get(parent(path)).cloned());
        }
        Fire { path: path.to_owned(), exact, readable }
    }

    fn remove(&mut self, path: &str, result: &mut Answer) {
        for gone in self.post_order(path) {
            result.fires.push(self.fire(&gone, gone != path, None));
            result.changed.push(gone);
        }
        result.changed.push(parent(path).to_owned());
        self.map.retain(|other, _| !is_at_or_below(other, path));
    }

    /// Answers a request. `made` are the epochs at the time it was first asked.
    fn step(&mut self, caller: usize, path: &str, op: &Op, now: Epochs, made: Epochs) -> Answer {
        let failed = |reply: &str| Answer { reply: reply.to_owned(), ..Answer::default() };
        let wanted = match op {
            Op::Read | Op::Directory | Op::GetPerms => "r",
            Op::Write(_) | Op::Mkdir | Op::Rm => "w",
            Op::SetPerms { .. } => "wo",
        };
        let exists = self.map.contains_key(path);
        let mut nearest = path;
        while !self.map.contains_key(nearest) {
            nearest = parent(nearest);
        }
        let rights = self.map[nearest].rights(caller, now);
        let allowed = if exists {
            wanted.chars().all(|right| rights.contains(right))
        } else {
            wanted.chars().any(|right| rights.contains(right))
        };
        if !allowed {
            return failed("EACCES");
        }
        let creates = matches!(op, Op::Write(_) | Op::Mkdir);
        if !exists && !creates {
            let parent_exists = self.map.contains_key(parent(path));
            let is_rm = matches!(op, Op::Rm);
            return failed(if is_rm && parent_exists { "OK" } else { "ENOENT" });
        }
        let mut result = Answer { reply: "OK".to_owned(), ..Answer::default() };
        if !exists {
            self.create(caller, nearest, path, &mut result);
        }
        let before = self.map[path].clone();
        match op {
            Op::Read => result.reply = format!("={}", before.value),
            Op::GetPerms => result.reply = before.permissions(),
            Op::Directory => {
                let children = self.children(path);
                let names = children.iter().map(|child| child.rsplit_once('/').unwrap().1);
                result.reply = names.collect::<Vec<_>>().join(" ");
                if result.reply.is_empty() {
                    result.reply = "-".to_owned();
                }
            }
            Op::Mkdir if exists => {}
            Op::Mkdir => result.fires.push(self.fire(path, false, None)),
            Op::Write(value) => {
                self.map.get_mut(path).unwrap().value.clone_from(value);
                result.changed.push(path.to_owned());
                result.fires.push(self.fire(path, false, None));
            }
            Op::Rm if path == "/" => return failed("EINVAL"),
            Op::Rm => self.remove(path, &mut result),
            Op::SetPerms { owner, others, grants } => {
                if caller != 0 && *owner != before.owner {
                    return failed("EPERM");
                }
                let node = self.map.get_mut(path).unwrap();
                (node.owner, node.others) = (*owner, *others);
                node.grants = grants.iter().map(|&(d, letter)| (d, letter, made[d])).collect();
                result.changed.push(path.to_owned());
                result.fires.push(self.fire(path, false, Some(&before)));
            }
        }
        result
    }

    fn create(&mut self, caller: usize, nearest: &str, path: &str, result: &mut Answer) {
        let from = self.map[nearest].clone();
        let owner = if caller == 0 { from.owner } else { caller };
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends.filter(|&end| end > 0) {
            if !self.map.contains_key(&path[..end]) {
                self.add(&path[..end], owner, from.others, from.grants.clone());
                result.changed.push(path[..end].to_owned());
            }
        }
        result.changed.push(nearest.to_owned());
    }
}

#[derive(Clone, Debug)]
struct Asked {
    path: String,
    op: Op,
    made: Epochs,
    reply: String,
}

#[derive(Debug)]
struct Transaction {
    copy: Nodes,
    log: Vec<Asked>,
    /// What changed outside since the start.
    changed: Vec<String>,
    owners_died: bool,
}

#[derive(Debug)]
struct Watch {
    caller: usize,
    path: String,
    token: String,
    depth: Option<usize>,
}

/// One thing that happens. Callers are 0 to 2; `slot` chooses among open transactions.
#[derive(Clone, Debug)]
enum Happening {
    Ask {
        caller: usize,
        slot: Option<usize>,
        path: String,
        op: Op,
    },
    Start {
        caller: usize,
    },
    End {
        caller: usize,
        slot: usize,
        commit: bool,
    },
    Watch {
        caller: usize,
        path: String,
        depth: Option<usize>,
    },
    Unwatch {
        caller: usize,
        path: String,
    },
    /// Domain 2 goes and another one of its number comes.
    Rebirth,
}

struct World {
    state: State,
    nodes: Nodes,
    epochs: Epochs,
    transactions: BTreeMap<(usize, u32), Transaction>,
    watches: Vec<Watch>,
}

const CALLERS: [&str; 3] = ["s1", "d1", "d2"];

impl World {
    fn new() -> Self {
        let mut state = State::new();
        run(
            &mut state,
            "s1: INTRODUCE 1 -> OK
             s1: INTRODUCE 2 -> OK
             s1: SET_PERMS / b0 -> OK",
        );
        let nodes = Nodes::new();
        Self { state, nodes, epochs: [0; 3], transactions: BTreeMap::new(), watches: Vec::new() }
    }

    fn chosen(&self, caller: usize, slot: usize) -> Option<u32> {
        let open: Vec<_> = self.transactions.keys().filter(|(c, _)| *c == caller).collect();
        if open.is_empty() { None } else { Some(open[slot % open.len()].1) }
    }

    /// Events that the watches make of these fires.
    fn told(&self, fires: &[Fire]) -> String {
        let mut told = Vec::new();
        for fire in fires {
            for watch in &self.watches {
                let hit = if fire.exact {
                    fire.path == watch.path
                } else {
                    is_at_or_below(&fire.path, &watch.path)
                        && watch.depth.is_none_or(|d| depth_below(&fire.path, &watch.path) <= d)
                };
                let readable = |node: &Node| node.rights(watch.caller, self.epochs).contains('r');
                if hit && fire.readable.iter().any(readable) {
                    told.push(format!("{} {} {}", CALLERS[watch.caller], fire.path, watch.token));
                }
            }
        }
        told.join(", ")
    }

    fn note_changes(&mut self, changed: &[String]) {
        for transaction in self.transactions.values_mut() {
            transaction.changed.extend_from_slice(changed);
        }
    }

    fn happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Ask { caller, slot, path, op } => self.asked(*caller, *slot, path, op),
            Happening::Start { caller } => {
                let (reply, _) = ask(&mut self.state, CALLERS[*caller], "START");
                if let Some(number) = reply.strip_prefix("tx") {
                    let transaction = Transaction {
                        copy: self.nodes.clone(),
                        log: Vec::new(),
                        changed: Vec::new(),
                        owners_died: false,
                    };
                    self.transactions.insert((*caller, number.parse().unwrap()), transaction);
                }
            }
            Happening::End { caller, slot, commit } => {
                if let Some(number) = self.chosen(*caller, *slot) {
                    self.end(*caller, number, *commit);
                }
            }
            Happening::Watch { caller, path, depth } => {
                let token = format!("t{}", self.watches.len());
                let depth_text = depth.map(|depth| format!(" {depth}")).unwrap_or_default();
                let request = format!("WATCH {path} {token}{depth_text}");
                let (reply, events) = ask(&mut self.state, CALLERS[*caller], &request);
                let known = self
                    .watches
                    .iter()
                    .any(|w| (w.caller, &w.path, &w.token) == (*caller, path, &token));
                assert_eq!(reply, if known { "EEXIST" } else { "OK" });
                if !known {
                    assert_eq!(events, format!("{} {path} {token}", CALLERS[*caller]));
                    let (caller, path, depth) = (*caller, path.clone(), *depth);
                    self.watches.push(Watch { caller, path, token, depth });
                }
            }
            Happening::Unwatch { caller, path } => {
                let found =
                    self.watches.iter().position(|w| w.caller == *caller && w.path == *path);
                let token = found.map_or("none".to_owned(), |at| self.watches[at].token.clone());
                let request = format!("UNWATCH {path} {token}");
                let (reply, _) = ask(&mut self.state, CALLERS[*caller], &request);
                assert_eq!(reply, if found.is_some() { "OK" } else { "ENOENT" });
                found.map(|at| self.watches.remove(at));
            }
            Happening::Rebirth => self.rebirth(),
        }
        let dump = self.state.nodes().into_iter().map(|(path, value, permissions)| {
            (path, String::from_utf8_lossy(&value).into_owned(), permissions.to_string())
        });
        assert_eq!(dump.collect::<Vec<_>>(), self.nodes.dump());
        assert_eq!(self.state.check(), Vec::<String>::new());
    }

    fn asked(&mut self, caller: usize, slot: Option<usize>, path: &str, op: &Op) {
        let text = op.text(path);
        let epochs = self.epochs;
        if let Some(number) = slot.and_then(|slot| self.chosen(caller, slot)) {
            let who = format!("{}/{number}", CALLERS[caller]);
            let (reply, events) = ask(&mut self.state, &who, &text);
            let transaction = self.transactions.get_mut(&(caller, number)).unwrap();
            let wanted = transaction.copy.step(caller, path, op, epochs, epochs).reply;
            assert_eq!((reply.as_str(), events.as_str()), (wanted.as_str(), ""), "{who}: {text}");
            let asked = Asked { path: path.to_owned(), op: op.clone(), made: epochs, reply };
            transaction.log.push(asked);
            return;
        }
        let (reply, events) = ask(&mut self.state, CALLERS[caller], &text);
        let wanted = self.nodes.step(caller, path, op, epochs, epochs);
        assert_eq!(reply, wanted.reply, "{} {text}", CALLERS[caller]);
        assert_eq!(events, self.told(&wanted.fires), "{} {text}", CALLERS[caller]);
        self.note_changes(&wanted.changed);
    }

    fn end(&mut self, caller: usize, number: u32, commit: bool) {
        let transaction = self.transactions.remove(&(caller, number)).unwrap();
        let who = format!("{}/{number}", CALLERS[caller]);
        let request = if commit { "COMMIT" } else { "ABORT" };
        let (reply, events) = ask(&mut self.state, &who, request);
        if !commit {
            assert_eq!((reply.as_str(), events.as_str()), ("OK", ""));
            return;
        }
        if reply == "EAGAIN" {
            let touched = |changed: &String| {
                transaction.log.iter().any(|asked| is_at_or_below(&asked.path, changed))
            };
            let real = transaction.owners_died || transaction.changed.iter().any(touched);
            assert!(real, "no conflict: {transaction:?}");
            return;
        }
        assert_eq!(reply, "OK");
        let before = self.nodes.clone();
        let mut allowed = Vec::new();
        for asked in &transaction.log {
            let result = self.nodes.step(caller, &asked.path, &asked.op, self.epochs, asked.made);
            assert_eq!(result.reply, asked.reply, "not as if at once: {asked:?}");
            allowed.extend(result.fires);
            self.note_changes(&result.changed);
        }
        self.check_events(&before, &allowed, &events);
    }

    /// The events of a commit: each has a cause, each watcher of a net change is told.
    fn check_events(&self, before: &Nodes, causes: &[Fire], events: &str) {
        let events: Vec<Vec<&str>> =
            events.split(", ").filter(|e| !e.is_empty()).map(|e| e.split(' ').collect()).collect();
        for event in &events {
            let caused = causes.iter().any(|fire| fire.path == event[1]);
            // Of a removed subtree, what others made in it goes too.
            let below = causes.iter().any(|fire| is_at_or_below(event[1], &fire.path));
            assert!(caused || below, "{event:?} has no cause");
        }
        // A node that is new may have been made on the way to another one, which has the event.
        for (path, old) in &before.map {
            let new = self.nodes.map.get(path);
            let same = |new: &Node| {
                (&old.value, old.owner, old.others, &old.grants)
                    == (&new.value, new.owner, new.others, &new.grants)
            };
            if new.is_some_and(same) {
                continue;
            }
            for watch in self.watches.iter().filter(|watch| watch.path == *path) {
                let readable = |node: &Node| node.rights(watch.caller, self.epochs).contains('r');
                let told = events
                    .iter()
                    .any(|event| event[0] == CALLERS[watch.caller] && event[2] == watch.token);
                let may_know = readable(old) || new.is_some_and(readable);
                assert!(told || !may_know, "{watch:?} was not told of {path}");
            }
        }
    }

    fn rebirth(&mut self) {
        ask(&mut self.state, "world", "GONE 2");
        run(&mut self.state, "s1: INTRODUCE 2 -> OK | *");
        self.watches.retain(|watch| watch.caller != 2);
        self.transactions.retain(|(caller, _), _| *caller != 2);
        for transaction in self.transactions.values_mut() {
            let gives = |asked: &Asked| matches!(asked.op, Op::SetPerms { owner: 2, .. });
            transaction.owners_died |= transaction.log.iter().any(gives);
        }
        let mut result = Answer::default();
        while let Some(path) =
            self.nodes.subtree("/").into_iter().find(|path| self.nodes.map[path].owner == 2)
        {
            if path == "/" {
                self.nodes.map.get_mut("/").unwrap().owner = 0;
                result.changed.push("/".to_owned());
            } else {
                self.nodes.remove(&path, &mut result);
            }
        }
        self.note_changes(&result.changed);
        self.epochs[2] += 1;
    }
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just("/".to_owned()),
        20 => "/a(/[ab])?",
        4 => "(/[ab]){1,3}",
        2 => "/a-b(/[a])?",
    ]
}

fn letter() -> impl Strategy<Value = char> {
    prop_oneof![Just('n'), Just('r'), Just('w'), Just('b')]
}

fn op() -> impl Strategy<Value = Op> {
    let grants = vec((0..3usize, letter()), 0..3);
    prop_oneof![
        6 => Just(Op::Read),
        8 => "[xyz]{1,2}".prop_map(Op::Write),
        2 => Just(Op::Mkdir),
        2 => Just(Op::Rm),
        2 => Just(Op::Directory),
        1 => Just(Op::GetPerms),
        2 => (0..3usize, letter(), grants)
            .prop_map(|(owner, others, grants)| Op::SetPerms { owner, others, grants }),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let caller = || prop_oneof![3 => Just(0usize), 2 => Just(1), 2 => Just(2)];
    let slot = || proptest::option::weighted(0.6, 0..3usize);
    let depth = proptest::option::weighted(0.2, 0..3usize);
    prop_oneof![
        20 => (caller(), slot(), path(), op())
            .prop_map(|(caller, slot, path, op)| Happening::Ask { caller, slot, path, op }),
        3 => caller().prop_map(|caller| Happening::Start { caller }),
        3 => (caller(), 0..3usize, proptest::bool::weighted(0.8))
            .prop_map(|(caller, slot, commit)| Happening::End { caller, slot, commit }),
        2 => (caller(), path(), depth)
            .prop_map(|(caller, path, depth)| Happening::Watch { caller, path, depth }),
        1 => (caller(), path()).prop_map(|(caller, path)| Happening::Unwatch { caller, path }),
        1 => Just(Happening::Rebirth),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(happenings in vec(happening(), 1..120)) {
        let mut world = World::new();
        for happening in &happenings {
            world.happen(happening);
        }
    }
}
