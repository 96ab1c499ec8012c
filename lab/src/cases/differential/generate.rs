//! Requests of every type that can be compared, from a seed.

use super::CONNECTIONS;
use super::ours::Spoilt;
use std::fmt;
use xenstore::Domid;
use xenstore::wire::{MessageType, PAYLOAD_MAX, Packet};

/// Transactions of one connection that are open at once, as far as requests mean them.
const SLOTS: usize = 4;
/// A number that no transaction has.
const NO_TRANSACTION: u32 = 0x7777;

/// A request, without what differs between the two stores.
#[derive(Clone)]
pub struct Asked {
    pub connection: usize,
    pub kind: u32,
    pub payload: Vec<u8>,
    /// Which of the connection's transactions it belongs to.
    pub slot: Option<usize>,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 120;
        let Self { connection, kind, payload, slot } = self;
        match MessageType::from_raw(*kind) {
            Some(kind) => write!(f, "{kind} of {connection}")?,
            None => write!(f, "type {kind} of {connection}")?,
        }
        if let Some(slot) = slot {
            write!(f, " in {slot}")?;
        }
        let start = &payload[..payload.len().min(SHOWN_MAX)];
        write!(f, " «{}» ({} B)", start.escape_ascii(), payload.len())
    }
}

impl Asked {
    /// Whether it is of a type that changes nodes.
    pub fn writes(&self) -> bool {
        use MessageType as T;
        [T::Write, T::Mkdir, T::Rm, T::SetPerms].iter().any(|kind| kind.raw() == self.kind)
    }

    /// The first field as text.
    pub fn path(&self) -> String {
        let path = self.payload.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(path).into_owned()
    }
}

/// A transaction that is open at both stores.
#[derive(Clone, Debug, Default)]
struct Open {
    ids: Ids,
    /// What others changed since it began.
    spoilt: Vec<Spoilt>,
    /// What it wrote itself.
    wrote: Vec<String>,
    /// Whether a limit was met in it.
    met_limit: bool,
    /// Whether it has become another one at either store, so that it can only be thrown away.
    differs: bool,
}

/// The number of a transaction at either store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ids {
    pub theirs: u32,
    pub ours: u32,
}

pub struct Generator {
    seed: u64,
    pub guests: [Domid; 2],
    open: [[Option<Open>; SLOTS]; CONNECTIONS],
    /// Requests that were to look in a transaction at what has changed since it began.
    pub moved: u32,
}

/// The absolute path that a path of a connection means.
pub fn absolute(guests: [Domid; 2], connection: usize, path: &str) -> String {
    let domid = if connection < 2 { Domid(0) } else { guests[connection - 2] };
    if path.starts_with(['/', '@']) { path.into() } else { format!("/local/domain/{domid}/{path}") }
}

pub fn asked(connection: usize, kind: MessageType, payload: impl Into<Vec<u8>>) -> Asked {
    Asked { connection, kind: kind.raw(), payload: payload.into(), slot: None }
}

/// What makes both stores one.
pub fn beginning(guests: [Domid; 2]) -> Vec<Asked> {
    use MessageType as T;
    let mut all = vec![asked(0, T::Write, "/\0")];
    for special in ["@introduceDomain", "@releaseDomain"] {
        all.push(asked(0, T::SetPerms, format!("{special}\0n0\0")));
    }
    for path in ["/", "/local", "/local/domain", "/local/domain/0", "/diff"] {
        all.push(asked(0, T::Mkdir, format!("{path}\0")));
        let others = if path == "/diff" { "b" } else { "n" };
        all.push(asked(0, T::SetPerms, format!("{path}\0{others}0\0")));
    }
    for domid in guests {
        let home = format!("/local/domain/{domid}");
        all.push(asked(0, T::Write, format!("{home}\0home")));
        all.push(asked(0, T::SetPerms, format!("{home}\0n{domid}\0")));
    }
    all
}

impl Generator {
    pub fn new(guests: [Domid; 2], seed: u64) -> Self {
        Self { seed, guests, open: Default::default(), moved: 0 }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        (self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Whose turn it is.
    pub fn connection(&mut self) -> usize {
        self.below(CONNECTIONS)
    }

    fn path(&mut self, connection: usize) -> String {
        match self.below(60) {
            0 => {
                return self
                    .pick(&["", "//", "/diff/", "/diff//a", "diff a", "/diff/a%", "/"])
                    .into();
            }
            1 => return self.pick(&["@releaseDomain", "@introduceDomain", "@other"]).into(),
            // C 4.17 holds the host to the guests' limit, 2048.
            2 if connection < 2 => return format!("/diff/{}", "x".repeat(1000 + self.below(1040))),
            2 => return format!("/diff/{}", "x".repeat(1000 + self.below(2200))),
            3 => return format!("/diff/{}", "d/".repeat(self.below(40)) + "e"),
            _ => {}
        }
        let home = self.pick(&self.guests.clone());
        let mut path = match self.below(5) {
            0 | 1 => "/diff".to_owned(),
            2 | 3 => format!("/local/domain/{home}"),
            _ => self.pick(&["a", "b", "c"]).to_owned(),
        };
        for _ in 0..self.below(4) {
            path = format!("{path}/{}", self.pick(&["a", "b", "c", "a-b"]));
        }
        path
    }

    fn permissions(&mut self) -> String {
        let [one, two] = self.guests;
        let mut text = String::new();
        for _ in 0..=self.below(3) {
            let domid = self.pick(&[Domid(0), one, two, Domid(999)]);
            text += &format!("{}{domid}\0", self.pick(&['n', 'r', 'w', 'b']));
        }
        text
    }

    /// A request of a connection.
    pub fn next(&mut self, connection: usize) -> Asked {
        use MessageType as T;
        let path = self.path(connection);
        let token = self.pick(&["one", "two", ""]);
        let (kind, text) = match self.below(100) {
            0..=19 => {
                let len = if self.below(20) == 0 { self.below(3000) } else { self.below(60) };
                (T::Write, format!("{path}\0{}", "v".repeat(len)))
            }
            20..=31 => (T::Read, format!("{path}\0")),
            32..=38 => (T::Mkdir, format!("{path}\0")),
            39..=46 => (T::Rm, format!("{path}\0")),
            47..=54 => (T::Directory, format!("{path}\0")),
            55..=57 => (T::DirectoryPart, format!("{path}\0{}\0", self.below(6))),
            // C 4.17 has no GET_PERMS of special paths.
            58..=62 if !path.starts_with('@') => (T::GetPerms, format!("{path}\0")),
            63..=69 => (T::SetPerms, format!("{path}\0{}", self.permissions())),
            70..=77 => (T::Watch, format!("{path}\0{token}\0")),
            78..=82 => (T::Unwatch, format!("{path}\0{token}\0")),
            83..=88 => (T::TransactionStart, "\0".into()),
            89..=95 => (T::TransactionEnd, self.pick(&["T\0", "T\0", "T\0", "F\0", "x\0"]).into()),
            96 => (T::GetDomainPath, format!("{}\0", self.pick(&["0", "7", "40000"]))),
            97 => (T::IsDomainIntroduced, format!("{}\0", self.pick(&["0", "999"]))),
            58..=62 => (T::Read, format!("{path}\0")),
            98 if self.below(4) == 0 => (T::ResetWatches, "\0".into()),
            98 => (T::Read, format!("{path}\0")),
            _ => (T::Error, "\0".into()),
        };
        let mut asked = asked(connection, kind, text);
        if self.below(2) == 0 && kind != T::TransactionStart || kind == T::TransactionEnd {
            asked.slot = Some(self.below(SLOTS));
        }
        if self.below(25) == 0 {
            self.damage(&mut asked);
        }
        if self.below(100) == 0 {
            asked.kind = self.pick(&[MessageType::WatchEvent.raw(), 20, 27, 40, 0xffff]);
        }
        if let Some(slot) = asked.slot
            && self.open[connection][slot].as_ref().is_some_and(|open| open.differs)
        {
            let end = MessageType::TransactionEnd.raw();
            asked = Asked { kind: end, payload: b"F\0".to_vec(), ..asked };
        }
        // To one that it refuses C 4.17 answers with the error of some earlier request; it has ended
        // beside one.
        let known = ["@introduceDomain", "@releaseDomain"].contains(&&*asked.path());
        if asked.kind == T::SetPerms.raw()
            && asked.payload.starts_with(b"@")
            && !(known && connection < 2)
        {
            asked.kind = T::Read.raw();
        }
        // A longer one is the end of a connection.
        asked.payload.truncate(PAYLOAD_MAX);
        if self.looks_at_what_changed(&asked) {
            asked.slot = None;
            self.moved += 1;
        }
        asked
    }

    /// Spoils the path, or adds to the payload; what C 4.17 does not survive or answers as it happens
    /// is left out (see `known`).
    fn damage(&mut self, asked: &mut Asked) {
        use MessageType as T;
        let path_len = asked.payload.iter().position(|&byte| byte == 0).unwrap_or(0);
        // What C makes of a number that is none is shown in `known`.
        let numbers = [T::GetDomainPath.raw(), T::IsDomainIntroduced.raw()];
        let has_path = path_len > 1 && !numbers.contains(&asked.kind);
        let one_path = [T::Read, T::Directory, T::Mkdir, T::Rm, T::GetPerms];
        let is_one_path = one_path.iter().any(|kind| kind.raw() == asked.kind);
        match self.below(3) {
            0 if has_path && asked.kind != T::Write.raw() => {
                let at = self.below(path_len);
                asked.payload.truncate(at);
                asked.payload.push(0);
            }
            1 if !is_one_path => asked.payload.push(0),
            _ if has_path => {
                let at = self.below(path_len);
                asked.payload[at] = self.pick(if at == 0 { b"/ %\xffz" } else { b"/@%\xffz" });
            }
            _ => {}
        }
    }

    /// Whether a request would see in its transaction what others have changed since that began: C
    /// and ours differ there (see `known`).
    fn looks_at_what_changed(&self, asked: &Asked) -> bool {
        let Some(slot) = asked.slot else { return false };
        let Some(open) = &self.open[asked.connection][slot] else { return false };
        if asked.kind == MessageType::TransactionEnd.raw() {
            return false;
        }
        let path = absolute(self.guests, asked.connection, &asked.path());
        let removes = asked.kind == MessageType::Rm.raw();
        open.spoilt.iter().any(|spoilt| spoilt.concerns(&path, removes))
    }

    /// The numbers that a request's transaction has.
    pub fn ids(&self, asked: &Asked) -> Ids {
        let unknown = Ids { theirs: NO_TRANSACTION, ours: NO_TRANSACTION };
        match asked.slot {
            Some(slot) => {
                self.open[asked.connection][slot].as_ref().map_or(unknown, |open| open.ids)
            }
            None => Ids::default(),
        }
    }

    /// Whether anything has changed since the transaction of a request began.
    pub fn is_spoilt(&self, asked: &Asked) -> bool {
        let open = asked.slot.and_then(|slot| self.open[asked.connection][slot].as_ref());
        open.is_some_and(|open| !open.spoilt.is_empty())
    }

    /// Whether a limit was met in the transaction of a request.
    pub fn met_limit(&self, asked: &Asked) -> bool {
        let open = asked.slot.and_then(|slot| self.open[asked.connection][slot].as_ref());
        open.is_some_and(|open| open.met_limit)
    }

    /// Notes for all open transactions but that of the request what the request changed.
    pub fn spoil(&mut self, asked: &Asked, changed: &[Spoilt]) {
        let mut changed = changed.to_vec();
        let own = asked.slot.and_then(|slot| self.open[asked.connection][slot].as_ref());
        match own {
            _ if changed.is_empty() => {}
            Some(own) => changed.extend(own.wrote.iter().cloned().map(Spoilt::Node)),
            None => {
                let path = absolute(self.guests, asked.connection, &asked.path());
                changed.push(Spoilt::Node(path));
            }
        }
        for (connection, slots) in self.open.iter_mut().enumerate() {
            for (slot, open) in slots.iter_mut().enumerate() {
                let is_own = asked.slot == Some(slot) && connection == asked.connection;
                if let Some(open) = open.as_mut().filter(|_| !is_own) {
                    open.spoilt.extend(changed.iter().cloned());
                }
            }
        }
    }

    /// Notes what the replies say of transactions.
    pub fn learn(&mut self, asked: &Asked, theirs: &Packet, ours: &Packet) {
        let Asked { connection, kind, slot, .. } = *asked;
        let succeeded = |reply: &Packet| reply.header.kind == kind;
        if kind == MessageType::TransactionStart.raw() && succeeded(theirs) && succeeded(ours) {
            let number = |reply: &Packet| {
                let text = String::from_utf8_lossy(&reply.payload).into_owned();
                text.trim_end_matches('\0').parse().unwrap_or(NO_TRANSACTION)
            };
            let ids = Ids { theirs: number(theirs), ours: number(ours) };
            let free = self.open[connection].iter().position(Option::is_none);
            let slot = free.unwrap_or_else(|| self.below(SLOTS));
            self.open[connection][slot] = Some(Open { ids, ..Open::default() });
        }
        if kind == MessageType::ResetWatches.raw() && succeeded(ours) {
            self.open[connection] = Default::default();
        }
        let Some(slot) = slot else { return };
        let path = absolute(self.guests, connection, &asked.path());
        if let Some(open) = self.open[connection][slot].as_mut().filter(|_| asked.writes()) {
            open.wrote.push(path);
        }
        if let Some(open) = &mut self.open[connection][slot] {
            let refused = |reply: &Packet| reply.payload == b"ENOSPC\0";
            open.met_limit |= refused(theirs) || refused(ours);
            open.differs |= refused(theirs) != refused(ours);
        }
        // Whatever the end says, the transaction is over, unless the request was malformed.
        let over = succeeded(ours) || !ours.payload.starts_with(b"EINVAL");
        if kind == MessageType::TransactionEnd.raw() && over {
            self.open[connection][slot] = None;
        }
    }
}
