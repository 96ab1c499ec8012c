//! Who wants to hear of which path.
//!
//! Watches are sorted by path, so that a change finds those that concern it without looking at any
//! other: the watched paths on the way from the root to the change, and, when a subtree goes, those
//! below it. The cost of a change does not grow with watches elsewhere. Events of one connection
//! come in the order in which its watches were set.

mod saved;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::connection_id::ConnectionId;
use crate::wire::Token;

/// One watch.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// Place in the order of all watches.
    number: u64,
    /// How many levels below the path count; `None` for all.
    depth: Option<u32>,
    /// Bytes that events leave out at the front of a path, for a watch set by a relative path.
    prefix_len: usize,
}

/// A watch that an event concerns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Match {
    /// First, because matches are sorted by it.
    number: u64,
    pub(super) connection: ConnectionId,
    pub(super) token: Token,
    pub(super) prefix_len: usize,
    pub(super) depth: Option<u32>,
}

impl Match {
    /// A watch without a limit of depth, by itself.
    pub(super) const fn new(connection: ConnectionId, token: Token, prefix_len: usize) -> Self {
        Self { number: 0, connection, token, prefix_len, depth: None }
    }
}

/// The watches of one connection, by number.
pub(super) type Held = BTreeMap<u64, (Arc<str>, Token)>;

/// Who watches, and by which token.
type Key = (ConnectionId, Token);

/// Watchers of a path that are kept in a row: most paths have one, and a tree has room for eleven.
const FEW: usize = 8;

/// The watches of one path.
#[derive(Clone, Debug, Default)]
struct Watchers {
    few: Vec<(Key, Watch)>,
    /// Those that came while there were [`FEW`].
    more: BTreeMap<Key, Watch>,
}

impl Watchers {
    fn get(&self, key: &Key) -> Option<&Watch> {
        let few = self.few.iter().find(|(known, _)| known == key).map(|(_, watch)| watch);
        few.or_else(|| self.more.get(key))
    }

    /// Adds a watch whose key is new.
    fn insert(&mut self, key: Key, watch: Watch) {
        if self.few.len() < FEW {
            if self.few.is_empty() {
                self.few.reserve_exact(1);
            }
            self.few.push((key, watch));
        } else {
            self.more.insert(key, watch);
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Watch> {
        match self.few.iter().position(|(known, _)| known == key) {
            Some(place) => Some(self.few.swap_remove(place).1),
            None => self.more.remove(key),
        }
    }

    fn len(&self) -> usize {
        self.few.len() + self.more.len()
    }

    fn iter(&self) -> impl Iterator<Item = (&Key, &Watch)> {
        self.few.iter().map(|(key, watch)| (key, watch)).chain(&self.more)
    }
}

/// All watches.
#[derive(Clone, Debug, Default)]
pub(super) struct Watches {
    by_path: BTreeMap<Arc<str>, Watchers>,
    next_number: u64,
}

impl Watches {
    /// Sets a watch; `false` when the connection has one with this path and token.
    pub(super) fn add(
        &mut self,
        connection: ConnectionId,
        held: &mut Held,
        path: &str,
        token: &Token,
        depth: Option<u32>,
        prefix_len: usize,
    ) -> bool {
        let known = self.by_path.get_key_value(path);
        if self.has(connection, path, token) {
            return false;
        }
        let path = known.map_or_else(|| path.into(), |(path, _)| Arc::clone(path));
        let number = self.next_number;
        self.next_number += 1;
        held.insert(number, (Arc::clone(&path), token.clone()));
        let watchers = self.by_path.entry(path).or_default();
        watchers.insert((connection, token.clone()), Watch { number, depth, prefix_len });
        true
    }

    /// Whether the connection has a watch with this path and token.
    pub(super) fn has(&self, connection: ConnectionId, path: &str, token: &Token) -> bool {
        self.by_path.get(path).is_some_and(|all| all.get(&(connection, token.clone())).is_some())
    }

    /// Takes a watch back; `false` when there is none with this path and token.
    pub(super) fn remove(
        &mut self,
        connection: ConnectionId,
        held: &mut Held,
        path: &str,
        token: &Token,
    ) -> bool {
        let Some(watchers) = self.by_path.get_mut(path) else { return false };
        let Some(watch) = watchers.remove(&(connection, token.clone())) else { return false };
        if watchers.len() == 0 {
            self.by_path.remove(path);
        }
        held.remove(&watch.number);
        true
    }

    /// Takes all watches of a connection back.
    pub(super) fn remove_all(&mut self, connection: ConnectionId, held: &mut Held) {
        for (path, token) in std::mem::take(held).into_values() {
            if let Some(watchers) = self.by_path.get_mut(&path) {
                watchers.remove(&(connection, token));
                if watchers.len() == 0 {
                    self.by_path.remove(&path);
                }
            }
        }
    }

    /// How many watches there are.
    pub(super) fn len(&self) -> usize {
        self.by_path.values().map(Watchers::len).sum()
    }

    /// The watches that a change at `path` concerns: on it, and on the paths above it as far as
    /// their depth reaches. In the order in which they were set.
    pub(super) fn above(&self, path: &str) -> Vec<Match> {
        let mut found = Vec::new();
        let mut upto = path;
        // The greatest key up to a path begins with every key that is a prefix of the path. So each
        // step either meets such a key or shortens the path to what both have in common.
        while let Some((key, watchers)) =
            self.by_path.range::<str, _>((Bound::Unbounded, Bound::Included(upto))).next_back()
        {
            let common = common_path(key, upto);
            if common.len() == key.len() {
                let levels = levels_below(path, key);
                let deep = |watch: &Watch| watch.depth.is_none_or(|depth| levels <= depth as usize);
                found.extend(watchers.iter().filter(|(_, watch)| deep(watch)).map(matched));
                if common.len() <= 1 {
                    break;
                }
                upto = parent(common);
            } else {
                upto = common;
            }
            if upto.is_empty() {
                break;
            }
        }
        found.sort_unstable();
        found
    }

    /// The watches on exactly this path, in the order in which they were set.
    pub(super) fn at(&self, path: &str) -> Vec<Match> {
        let Some(watchers) = self.by_path.get(path) else { return Vec::new() };
        let mut found: Vec<_> = watchers.iter().map(matched).collect();
        found.sort_unstable();
        found
    }

    /// Whether something below this path (not the path itself) is watched.
    pub(super) fn any_below(&self, path: &str) -> bool {
        let mut from = path.trim_end_matches('/').to_owned();
        from.push('/');
        let range = (Bound::Excluded(from.as_str()), Bound::Unbounded);
        self.by_path.range::<str, _>(range).next().is_some_and(|(key, _)| key.starts_with(&from))
    }
}

fn matched(((connection, token), watch): (&Key, &Watch)) -> Match {
    Match {
        number: watch.number,
        connection: *connection,
        token: token.clone(),
        prefix_len: watch.prefix_len,
        depth: watch.depth,
    }
}

/// The longest path at or above `path` with which `key` begins, byte by byte; it may be empty where
/// special paths are concerned.
fn common_path<'a>(key: &str, path: &'a str) -> &'a str {
    let equal = key.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
    let head = path.get(..equal).unwrap_or("");
    if path.len() == equal || path.as_bytes().get(equal) == Some(&b'/') && equal > 0 {
        return head;
    }
    parent(head)
}

/// The path above; empty above a special path, and the root above its children.
fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) => "/",
        Some(slash) => &path[..slash],
        None => "",
    }
}

/// Levels of `path` below `ancestor`, which is known to be above it or the same.
fn levels_below(path: &str, ancestor: &str) -> usize {
    let rest = path.get(ancestor.len()..).unwrap_or("");
    let slashes = rest.bytes().filter(|&byte| byte == b'/').count();
    if ancestor == "/" && !rest.is_empty() { slashes + 1 } else { slashes }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: ConnectionId = ConnectionId::Socket(1);

    fn token(text: &str) -> Token {
        Token::new(text).unwrap()
    }

    fn watches(paths: &[&str]) -> (Watches, Held) {
        let (mut watches, mut held) = (Watches::default(), Held::new());
        for path in paths {
            assert!(watches.add(HERE, &mut held, path, &token(path), None, 0));
        }
        (watches, held)
    }

    fn check(watched: &[&str], path: &str, wanted: &[&str]) {
        let (watches, _) = watches(watched);
        let found: Vec<_> = watches.above(path).into_iter().map(|m| m.token).collect();
        let wanted: Vec<_> = wanted.iter().map(|path| token(path)).collect();
        assert_eq!(found, wanted, "{path} among {watched:?}");
    }

    #[test]
    fn a_change_concerns_its_path_and_those_above() {
        check(&["/"], "/", &["/"]);
        check(&["/"], "/a/b", &["/"]);
        check(&["/a", "/", "/a/b"], "/a/b", &["/a", "/", "/a/b"]);
        check(&["/a", "/ab", "/a-b", "/a/b/c"], "/a/b", &["/a"]);
        check(&["/a-b", "/a/a", "/a/b/c", "/a/b-c", "/a0"], "/a/b/d", &[]);
        check(&["/a", "/a-b", "/a/a/a", "/a/a-a"], "/a/a/b", &["/a"]);
        check(&["/b"], "/a", &[]);
        check(&["@releaseDomain", "/"], "@releaseDomain", &["@releaseDomain"]);
        check(&["@releaseDomain"], "@releaseDomain/5", &["@releaseDomain"]);
        check(&["@introduceDomain"], "@releaseDomain", &[]);
        check(&["/local"], "/", &[]);
        check(&["/", "/b"], "/a", &["/"]);
    }

    #[test]
    fn below() {
        let (watches, _) = watches(&["/a/b", "/a-b", "/c"]);
        for (path, wanted) in
            [("/a", true), ("/a/b", false), ("/c", false), ("/", true), ("/a-b", false)]
        {
            assert_eq!(watches.any_below(path), wanted, "{path}");
        }
    }

    #[test]
    fn depth_limits_what_counts() {
        let (mut watches, mut held) = (Watches::default(), Held::new());
        for (path, depth) in [("/", 1), ("/a", 0), ("/a/b", 1)] {
            assert!(watches.add(HERE, &mut held, path, &token(path), Some(depth), 0));
        }
        for (path, wanted) in [
            ("/a", &["/", "/a"][..]),
            ("/a/b", &["/a/b"]),
            ("/a/b/c", &["/a/b"]),
            ("/a/b/c/d", &[]),
        ] {
            let found: Vec<_> = watches.above(path).into_iter().map(|m| m.token).collect();
            assert_eq!(found, wanted.iter().map(|p| token(p)).collect::<Vec<_>>(), "{path}");
        }
    }

    #[test]
    fn many_watch_one_path() {
        let (mut watches, mut helds) = (Watches::default(), vec![Held::new(); 30]);
        let id = |number: usize| ConnectionId::Socket(number as u32);
        for (number, held) in helds.iter_mut().enumerate() {
            assert!(watches.add(id(number), held, "/a", &token("t"), None, 0));
            assert!(!watches.add(id(number), held, "/a", &token("t"), None, 0), "twice");
        }
        for number in [3, 20, 5] {
            assert!(watches.remove(id(number), &mut helds[number], "/a", &token("t")));
            assert!(!watches.remove(id(number), &mut helds[number], "/a", &token("t")));
        }
        assert!(watches.add(id(20), &mut helds[20], "/a", &token("t"), None, 0));
        let heard: Vec<_> = watches.at("/a").into_iter().map(|m| m.connection).collect();
        let wanted = (0..30).filter(|number| ![3, 20, 5].contains(number)).chain([20]).map(id);
        assert_eq!(heard, wanted.collect::<Vec<_>>(), "in the order in which they were set");
        assert_eq!(watches.len(), 28);
    }

    #[test]
    fn nothing_stays_behind() {
        let (mut watches, mut held) = watches(&["/a", "/b"]);
        assert!(!watches.add(HERE, &mut held, "/a", &token("/a"), None, 0), "twice");
        assert!(watches.remove(HERE, &mut held, "/a", &token("/a")));
        assert!(!watches.remove(HERE, &mut held, "/a", &token("/a")));
        watches.remove_all(HERE, &mut held);
        assert!(watches.by_path.is_empty() && held.is_empty());
    }
}
