//! The watches of a connection as bytes.

use super::{ConnectionId, Held, Token, Watches};
use crate::codec::{Damaged, Put, Reader};

impl Watches {
    /// Appends the number that the next watch gets.
    pub(in crate::store) fn save_next(&self, out: &mut Vec<u8>) {
        out.put(self.next_number);
    }

    /// No watches yet; the next one gets the number that was saved.
    pub(in crate::store) fn restore_next(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let next_number = input.number("the number of watches")?;
        if next_number > 1 << 62 {
            return Err(input.damaged("the number of watches"));
        }
        Ok(Self { next_number, ..Self::default() })
    }

    /// Appends the watches of a connection.
    pub(in crate::store) fn save(&self, id: ConnectionId, held: &Held, out: &mut Vec<u8>) {
        out.put_len(held.len());
        for (number, (path, token)) in held {
            let watch = self.by_path.get(path).and_then(|all| all.get(&(id, token.clone())));
            out.put(*number);
            out.put_bytes(path.as_bytes());
            out.put_bytes(token.as_bytes());
            out.put_option(watch.and_then(|watch| watch.depth).map(u64::from));
            out.put_len(watch.map_or(0, |watch| watch.prefix_len));
        }
    }

    /// Adds the watches of a connection.
    pub(in crate::store) fn restore(
        &mut self,
        id: ConnectionId,
        input: &mut Reader<'_>,
    ) -> Result<Held, Damaged> {
        const WHAT: &str = "a watch";
        let mut held = Held::new();
        for _ in 0..input.count(WHAT)? {
            let number = input.number(WHAT)?;
            let path = input.text("the path of a watch")?;
            let token = Token::new(input.bytes(WHAT)?).map_err(|_| input.damaged(WHAT))?;
            let depth = input.option(WHAT)?.map(u32::try_from).transpose();
            let depth = depth.map_err(|_| input.damaged(WHAT))?;
            let prefix_len: usize = input.narrow(WHAT)?;
            let sound =
                number < self.next_number && !held.contains_key(&number) && !path.is_empty();
            let next = std::mem::replace(&mut self.next_number, number);
            let is_new = sound && self.add(id, &mut held, path, &token, depth, prefix_len);
            self.next_number = next;
            if !is_new {
                return Err(input.damaged(WHAT));
            }
        }
        Ok(held)
    }
}
