//! A list of children as bytes: chunk by chunk, because what a change costs depends on their shape.

use std::sync::Arc;

use super::{CHUNK, Children, Chunked, List, Named, Numbered};
use crate::codec::{Damaged, Put, Reader};
use crate::store::node::Node;

impl Children {
    /// The child at a chunk and a place there, or the first one behind, in which case that is where it
    /// is; and whether another list may have it, too.
    pub(in crate::store) fn at(&self, at: &mut (usize, usize)) -> Option<(&Arc<Node>, bool)> {
        let chunks = &self.list.as_ref()?.by_name.chunks;
        if at.1 >= chunks.get(at.0)?.len() {
            *at = (at.0 + 1, 0);
        }
        let chunk = chunks.get(at.0)?;
        Some((&chunk.get(at.1)?.node, Arc::strong_count(chunk) > 1))
    }

    /// Appends the list; `places` say where the children have been written, in the order of the chunks.
    pub(in crate::store) fn save(&self, out: &mut Vec<u8>, places: &[u64]) {
        let Some(list) = &self.list else { return out.put(0) };
        let mut places = places.iter();
        out.put_len(list.by_name.chunks.len());
        for chunk in &list.by_name.chunks {
            out.put_len(chunk.len());
            for child in chunk.iter() {
                out.put_bytes(child.name.as_bytes());
                out.put(child.number);
                // There is one for each child.
                out.put(places.next().copied().unwrap_or_default());
            }
        }
        out.put(list.next_number);
        out.put_len(list.by_number.chunks.len());
        list.by_number.chunks.iter().for_each(|chunk| out.put_len(chunk.len()));
    }

    /// Reads the list; `find` has the child that was written at a place.
    pub(in crate::store) fn restore<'n>(
        input: &mut Reader<'_>,
        mut find: impl FnMut(u64) -> Option<&'n Arc<Node>>,
    ) -> Result<Self, Damaged> {
        const WHAT: &str = "a list of children";
        let mut by_name = Vec::new();
        let mut order = Vec::new();
        let mut names_len = 0;
        for _ in 0..input.count(WHAT)? {
            let mut chunk = Vec::new();
            for _ in 0..input.count(WHAT)?.min(CHUNK + 1) {
                let name: Arc<str> = input.text("the name of a child")?.into();
                let number = input.number("the number of a child")?;
                let node = find(input.number("a child")?).ok_or(input.damaged("a child"))?;
                if name.is_empty() || name.contains('/') {
                    return Err(input.damaged("the name of a child"));
                }
                names_len += name.len() + 1;
                order.push(Numbered { number, name: Arc::clone(&name) });
                chunk.push(Named { name, number, node: Arc::clone(node) });
            }
            by_name.push(Arc::new(chunk));
        }
        if by_name.is_empty() {
            return Ok(Self::default());
        }
        order.sort_unstable_by_key(|child| child.number);
        let next_number: u64 = input.number(WHAT)?;
        let mut by_number = Vec::new();
        for _ in 0..input.count(WHAT)? {
            let len = input.narrow::<usize>(WHAT)?.min(order.len());
            let rest = order.split_off(len);
            by_number.push(Arc::new(std::mem::replace(&mut order, rest)));
        }
        let (by_name, by_number) = (Chunked { chunks: by_name }, Chunked { chunks: by_number });
        let in_use = by_number.chunks.last().and_then(|chunk| chunk.last()).map(|c| c.number);
        let sound = order.is_empty()
            && by_name.is_sound()
            && by_number.is_sound()
            && in_use.is_some_and(|last| last < next_number && next_number < 1 << 62);
        if !sound {
            return Err(input.damaged(WHAT));
        }
        let by_number = Arc::new(by_number);
        Ok(Self { list: Some(Box::new(List { by_name, by_number, next_number, names_len })) })
    }
}
