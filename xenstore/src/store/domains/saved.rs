//! A domain as bytes: what it may, what it has used, where its nodes begin.

use std::collections::BTreeSet;

use super::{Domain, FEATURES, Limits, Quota, Ring, Usage};
use crate::codec::{Damaged, Put, Reader};
use crate::{Domid, Gfn, Port};

impl Domain {
    /// Appends the domain.
    pub(in crate::store) fn save(&self, out: &mut Vec<u8>) {
        out.put(self.since);
        out.put(u64::from(self.introduced) | u64::from(self.shutdown) << 1);
        out.put_flag(self.ring.is_some());
        if let Some(ring) = self.ring {
            out.put(ring.gfn.0);
            out.put(ring.port.0.into());
        }
        out.put_option(self.target.map(|target| target.0.into()));
        out.put(self.features.into());
        self.limits.save(out);
        let usage = &self.usage;
        for count in
            [usage.nodes, usage.watches, usage.transactions, usage.outstanding, usage.memory]
        {
            out.put(count);
        }
        out.put(self.queued);
        out.put_len(self.roots.len());
        self.roots.iter().for_each(|path| out.put_bytes(path.as_bytes()));
    }

    /// Reads a domain.
    pub(in crate::store) fn restore(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        const WHAT: &str = "a domain";
        let since = input.number(WHAT)?;
        let flags = input.number(WHAT)?;
        let ring = match input.flag(WHAT)? {
            true => Some(Ring { gfn: Gfn(input.number(WHAT)?), port: Port(input.narrow(WHAT)?) }),
            false => None,
        };
        let target = input.option(WHAT)?.map(u16::try_from).transpose();
        let target = target.map_err(|_| input.damaged(WHAT))?.map(Domid);
        let features: u32 = input.narrow(WHAT)?;
        let limits = Limits::restore(input)?;
        let mut counts = [0; 5];
        for count in &mut counts {
            *count = input.number(WHAT)?;
        }
        let queued = input.number(WHAT)?;
        let [nodes, watches, transactions, outstanding, memory] = counts;
        let mut roots = BTreeSet::new();
        for _ in 0..input.count(WHAT)? {
            roots.insert(input.text("the path of a domain's node")?.into());
        }
        if flags > 3
            || features & !FEATURES != 0
            || counts.iter().chain([&queued]).any(|count| *count > 1 << 62)
        {
            return Err(input.damaged(WHAT));
        }
        Ok(Self {
            since,
            introduced: flags & 1 != 0,
            ring,
            shutdown: flags & 2 != 0,
            target,
            features,
            limits,
            usage: Usage { nodes, watches, transactions, outstanding, memory },
            queued,
            roots,
        })
    }
}

impl Limits {
    /// Appends the limits.
    pub(in crate::store) fn save(&self, out: &mut Vec<u8>) {
        for quota in Quota::ALL {
            out.put_option(self.get(quota).map(u64::from));
        }
    }

    /// Reads limits.
    pub(in crate::store) fn restore(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut limits = Self::default();
        for quota in Quota::ALL {
            if let Some(limit) = input.option("a quota")? {
                limits.set(quota, limit.try_into().map_err(|_| input.damaged("a quota"))?);
            }
        }
        Ok(limits)
    }
}
