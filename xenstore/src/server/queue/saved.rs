//! A queue as bytes.

use super::{Message, Queue};
use crate::Domid;
use crate::codec::{Damaged, Put, Reader};

impl Queue {
    /// Appends all that waits, and what decides about merging.
    pub(in crate::server) fn save(&self, out: &mut Vec<u8>) {
        out.put(self.base.into());
        out.put_bytes(self.waiting());
        out.put_len(self.messages.len());
        for message in &self.messages {
            out.put_len(message.left);
            out.put_option(message.origin.map(|domid| domid.0.into()));
        }
        out.put_len(self.recent.len());
        self.recent.iter().for_each(|event| out.put_bytes(event));
    }

    /// Reads a queue.
    pub(in crate::server) fn restore(
        input: &mut Reader<'_>,
        reader: Option<Domid>,
    ) -> Result<Self, Damaged> {
        const WHAT: &str = "a queue";
        let mut queue = Self::at(input.narrow(WHAT)?, reader);
        queue.bytes = input.bytes(WHAT)?.to_vec();
        let mut left_bytes = 0_usize;
        for _ in 0..input.count(WHAT)? {
            let left: usize = input.narrow(WHAT)?;
            let origin = input.option(WHAT)?.map(u16::try_from).transpose();
            let origin = origin.map_err(|_| input.damaged(WHAT))?.map(Domid);
            left_bytes = left_bytes.saturating_add(left);
            queue.owed += usize::from(queue.is_owed(origin));
            queue.messages.push_back(Message { left, origin, since: None });
        }
        for _ in 0..input.count(WHAT)? {
            queue.recent.insert(input.bytes(WHAT)?.into());
        }
        let empty = queue.messages.iter().any(|message| message.left == 0);
        if empty || left_bytes != queue.bytes.len() {
            return Err(input.damaged(WHAT));
        }
        Ok(queue)
    }
}
