//! The children of a node: found by name, listed in the order of their creation, cheap to share.
//!
//! A directory may have tens of thousands of children (`/local/domain` on a busy node), and a
//! snapshot holds on to all of them. Entries therefore live in short sorted chunks behind reference
//! counts: a copy takes one pointer per chunk, a change copies one chunk. Two such lists make a
//! directory: names to nodes, and numbers of creation to names. The second one is what DIRECTORY
//! shows, because C xenstored lists children in the order in which they came.

mod saved;

use std::cmp::Ordering;
use std::sync::Arc;

use super::node::Node;

/// Entries of a chunk at most.
const CHUNK: usize = 32;

/// Something that sorts by a part of itself.
trait Keyed {
    type Key: ?Sized;
    fn key(&self) -> &Self::Key;
    fn compare(&self, key: &Self::Key) -> Ordering;
}

/// Sorted entries in chunks; no chunk is empty. Cloning copies pointers.
#[derive(Clone, Debug)]
struct Chunked<T> {
    chunks: Vec<Arc<Vec<T>>>,
}

impl<T: Keyed + Clone> Chunked<T> {
    const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    /// Whether entries are in order, no two have one key, and no chunk is empty or too long.
    fn is_sound(&self) -> bool {
        let sized = |chunk: &Arc<Vec<T>>| (1..=CHUNK).contains(&chunk.len());
        let entries = self.chunks.iter().flat_map(|chunk| chunk.iter());
        self.chunks.iter().all(sized)
            && entries.is_sorted_by(|before, after| before.compare(after.key()).is_lt())
    }

    /// The chunk that holds or would hold `key`, and the place in it.
    fn locate(&self, key: &T::Key) -> (usize, Result<usize, usize>) {
        let after =
            |chunk: &Arc<Vec<T>>| chunk.first().is_some_and(|first| first.compare(key).is_le());
        let chunk = self.chunks.partition_point(after).saturating_sub(1);
        let place = match self.chunks.get(chunk) {
            Some(entries) => entries.binary_search_by(|entry| entry.compare(key)),
            None => Err(0),
        };
        (chunk, place)
    }

    fn get(&self, key: &T::Key) -> Option<&T> {
        let (chunk, place) = self.locate(key);
        self.chunks.get(chunk)?.get(place.ok()?)
    }

    fn get_mut(&mut self, key: &T::Key) -> Option<&mut T> {
        let (chunk, place) = self.locate(key);
        let place = place.ok()?;
        Arc::make_mut(self.chunks.get_mut(chunk)?).get_mut(place)
    }

    /// Adds an entry whose key is new.
    fn insert(&mut self, entry: T) {
        let (chunk, place) = self.locate(entry.key());
        let (Ok(place) | Err(place)) = place;
        let at_the_end = chunk + 1 >= self.chunks.len();
        match self.chunks.get_mut(chunk) {
            // Appending to a full last chunk opens a new one, so that lists which only grow at their
            // end stay dense.
            Some(full) if full.len() >= CHUNK && at_the_end && place == full.len() => {
                self.chunks.push(Arc::new(vec![entry]));
            }
            Some(full) if full.len() >= CHUNK => {
                let entries = Arc::make_mut(full);
                let mut upper = entries.split_off(CHUNK / 2);
                if place > CHUNK / 2 {
                    upper.insert(place - CHUNK / 2, entry);
                } else {
                    entries.insert(place, entry);
                }
                self.chunks.insert(chunk + 1, Arc::new(upper));
            }
            Some(entries) => Arc::make_mut(entries).insert(place, entry),
            None => self.chunks.push(Arc::new(vec![entry])),
        }
    }

    fn remove(&mut self, key: &T::Key) -> Option<T> {
        let (chunk, place) = self.locate(key);
        let entries = Arc::make_mut(self.chunks.get_mut(chunk)?);
        let entry = entries.remove(place.ok()?);
        let left = entries.len();
        if left == 0 {
            self.chunks.remove(chunk);
        } else if self.chunks.get(chunk + 1).is_some_and(|next| left + next.len() <= CHUNK / 2) {
            let next = self.chunks.remove(chunk + 1);
            if let Some(entries) = self.chunks.get_mut(chunk) {
                Arc::make_mut(entries).extend(next.iter().cloned());
            }
        }
        Some(entry)
    }
}

/// A child by its name.
#[derive(Clone, Debug)]
struct Named {
    name: Arc<str>,
    /// Its number in the order of creation.
    number: u64,
    node: Arc<Node>,
}

impl Keyed for Named {
    type Key = str;
    fn key(&self) -> &str {
        &self.name
    }

    /// Shorter names first: nobody sees this order, and lengths are quickly compared.
    fn compare(&self, key: &str) -> Ordering {
        let name = self.name.as_bytes();
        name.len().cmp(&key.len()).then_with(|| name.cmp(key.as_bytes()))
    }
}

/// A child by its number.
#[derive(Clone, Debug)]
struct Numbered {
    number: u64,
    name: Arc<str>,
}

impl Keyed for Numbered {
    type Key = u64;
    fn key(&self) -> &u64 {
        &self.number
    }

    fn compare(&self, key: &u64) -> Ordering {
        self.number.cmp(key)
    }
}

#[derive(Clone, Debug)]
struct List {
    by_name: Chunked<Named>,
    /// Shared, because most changes of a child leave the list as it is.
    by_number: Arc<Chunked<Numbered>>,
    next_number: u64,
    /// Bytes of all names, each with its NUL.
    names_len: usize,
}

/// The children of one node.
#[derive(Clone, Debug, Default)]
pub(super) struct Children {
    /// Most nodes are leaves.
    list: Option<Box<List>>,
}

impl Children {
    /// Length of the list as DIRECTORY shows it: each name with its NUL.
    pub(super) fn names_len(&self) -> usize {
        self.list.as_ref().map_or(0, |list| list.names_len)
    }

    /// About how many bytes a change among the children copies when a snapshot shares them.
    pub(super) fn copy_cost(&self) -> u64 {
        let Some(list) = &self.list else { return size_of::<Node>() as u64 };
        let entries = list.by_name.chunks.first().map_or(0, |chunk| chunk.len());
        let pointers = list.by_name.chunks.len() + list.by_number.chunks.len();
        (size_of::<Node>() + size_of::<List>() + entries * size_of::<Named>() + pointers * 8) as u64
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Node>> {
        self.list.as_ref()?.by_name.get(name).map(|child| &child.node)
    }

    /// The child, to be changed; copies the chunk that holds it when a snapshot shares it.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Arc<Node>> {
        self.list.as_mut()?.by_name.get_mut(name).map(|child| &mut child.node)
    }

    /// Adds a child behind all others. The name must be new.
    pub(super) fn insert(&mut self, name: &str, node: Arc<Node>) {
        let list = self.list.get_or_insert_with(|| {
            Box::new(List {
                by_name: Chunked::new(),
                by_number: Arc::new(Chunked::new()),
                next_number: 0,
                names_len: 0,
            })
        });
        let name: Arc<str> = name.into();
        let number = list.next_number;
        list.next_number += 1;
        list.names_len += name.len() + 1;
        Arc::make_mut(&mut list.by_number).insert(Numbered { number, name: Arc::clone(&name) });
        list.by_name.insert(Named { name, number, node });
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Arc<Node>> {
        let list = self.list.as_mut()?;
        let child = list.by_name.remove(name)?;
        Arc::make_mut(&mut list.by_number).remove(&child.number);
        list.names_len -= child.name.len() + 1;
        if list.by_name.chunks.is_empty() {
            self.list = None;
        }
        Some(child.node)
    }

    /// The children in the order of their creation.
    pub(super) fn iter(&self) -> Iter<'_> {
        Iter { list: self.list.as_deref(), chunk: 0, place: 0 }
    }

    /// The names in the order of their creation.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let chunks = self.list.as_ref().map_or(&[][..], |list| &list.by_number.chunks);
        chunks.iter().flat_map(|chunk| chunk.iter().map(|child| &*child.name))
    }

    /// Moves the nodes that nobody else holds to `unshared`, for a drop without recursion.
    pub(super) fn drain_into(&mut self, unshared: &mut Vec<Arc<Node>>) {
        let Some(list) = self.list.take() else { return };
        for chunk in list.by_name.chunks {
            if let Some(entries) = Arc::into_inner(chunk) {
                unshared.extend(entries.into_iter().map(|child| child.node));
            }
        }
    }
}

/// Children in the order of their creation.
#[derive(Clone, Debug)]
pub(super) struct Iter<'a> {
    list: Option<&'a List>,
    chunk: usize,
    place: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a Node);

    fn next(&mut self) -> Option<Self::Item> {
        let list = self.list?;
        let entries = list.by_number.chunks.get(self.chunk)?;
        let name = &*entries.get(self.place)?.name;
        self.place += 1;
        if self.place == entries.len() {
            (self.chunk, self.place) = (self.chunk + 1, 0);
        }
        list.by_name.get(name).map(|child| (name, &*child.node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::node::Acl;
    use crate::{Domid, Permissions};

    fn leaf() -> Arc<Node> {
        let acl = Arc::new(Acl::new(Permissions::private(Domid::DOM0), 1));
        Arc::new(Node::new(acl, &[], 1))
    }

    fn names(children: &Children) -> Vec<String> {
        children.names().map(String::from).collect()
    }

    /// Every public way to look at the list agrees with a plain list of names.
    fn check(children: &Children, wanted: &[String]) {
        assert_eq!(names(children), wanted);
        assert_eq!(children.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>(), wanted);
        assert_eq!(children.names_len(), wanted.iter().map(|name| name.len() + 1).sum::<usize>());
        for name in wanted {
            assert!(children.get(name).is_some(), "{name}");
        }
        assert!(children.get("absent").is_none());
    }

    #[test]
    fn keeps_the_order_of_creation_through_splits_and_merges() {
        let mut children = Children::default();
        let mut wanted = Vec::new();
        // A stride that visits all names in no sorted order.
        for step in 0..1000u32 {
            let name = format!("n{}", step * 617 % 1000);
            children.insert(&name, leaf());
            wanted.push(name);
        }
        check(&children, &wanted);
        let snapshot = children.clone();
        for step in 0..990u32 {
            let name = format!("n{}", step * 331 % 1000);
            assert!(children.remove(&name).is_some());
            assert!(children.remove(&name).is_none());
            wanted.retain(|other| *other != name);
            if step % 97 == 0 {
                check(&children, &wanted);
            }
        }
        check(&children, &wanted);
        assert_eq!(snapshot.names().count(), 1000, "a snapshot does not see what came later");
        children.insert("n5", leaf());
        assert_eq!(names(&children).last().map(String::as_str), Some("n5"));
    }

    #[test]
    fn an_emptied_list_takes_no_memory() {
        let mut children = Children::default();
        children.insert("a", leaf());
        assert!(children.remove("a").is_some());
        assert!(children.list.is_none());
    }
}
