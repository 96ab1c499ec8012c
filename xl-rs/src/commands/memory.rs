//! `mem-max` and `mem-set`: how much memory a domain may have, and shall have.
//!
//! The limit is Xen's; the target is a wish that the guest's balloon driver carries out. Both change
//! what xl's own commands change.

use super::domain;
use super::error::CommandError;
use crate::cli::MemoryArgs;
use domain_builder::nodes::uuid_text;
use domain_builder::plan::MAX_MEMORY_SLACK_KIB;
use libxc_safe::{DomainInfo, Xen};
use xenstore::client::{Client, Nodes};

/// Below this dom0 does not live.
const DOM0_LEAST_KIB: u64 = 128 << 10;

/// Sets the limit.
pub fn set_max(arguments: &MemoryArgs) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let info = domain::find(&xen, &mut store, &arguments.domain)?;
    let wanted_kib = arguments.memory_kib;
    let target_kib = read(&mut store, &info, "target")?;
    if wanted_kib < target_kib {
        let (domid, limit_kib) = (info.domid.0, target_kib);
        let why = "what the domain shall have, its target (mem-set changes that)";
        return Err(CommandError::Memory { domid, wanted_kib, side: "less", limit_kib, why });
    }
    xen.set_max_mem_kib(info.domid, wanted_kib.saturating_add(MAX_MEMORY_SLACK_KIB))?;
    Ok(store.write(path(&info, "static-max"), wanted_kib.to_string())?)
}

/// Sets the target, and the limit to match.
pub fn set_target(arguments: &MemoryArgs) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let info = domain::find(&xen, &mut store, &arguments.domain)?;
    let (domid, wanted_kib) = (info.domid.0, arguments.memory_kib);
    let most_kib = read(&mut store, &info, "static-max")?;
    let refuse =
        |side, limit_kib, why| CommandError::Memory { domid, wanted_kib, side, limit_kib, why };
    if wanted_kib > most_kib {
        return Err(refuse("more", most_kib, "its maxmem"));
    }
    if domid == 0 && wanted_kib < DOM0_LEAST_KIB {
        return Err(refuse("less", DOM0_LEAST_KIB, "what domain 0 needs to live"));
    }
    xen.set_max_mem_kib(info.domid, wanted_kib.saturating_add(MAX_MEMORY_SLACK_KIB))?;
    // A guest's frame buffer counts as its memory and is none of the balloon's.
    let video_kib = match store.read_text_optional(path(&info, "videoram"))? {
        Some(text) => text.parse().unwrap_or(0),
        None => 0,
    };
    let target_kib = wanted_kib.saturating_sub(video_kib);
    let vm = format!("/vm/{}/memory", uuid_text(&info.uuid));
    store.transaction(|transaction| {
        transaction.write(path(&info, "target"), target_kib.to_string())?;
        transaction.write(&vm, (target_kib / 1024).to_string())
    })?;
    Ok(())
}

fn path(info: &DomainInfo, node: &str) -> String {
    format!("/local/domain/{}/memory/{node}", info.domid)
}

/// An amount that the store keeps of the domain. Nobody but the toolstack can write there.
fn read(store: &mut Client, info: &DomainInfo, node: &'static str) -> Result<u64, CommandError> {
    let path = path(info, node);
    match store.read_text_optional(&path)? {
        Some(text) => text.parse().map_err(|_| CommandError::NoAmount { path }),
        // Who starts dom0 need not write its nodes: what it has and may have stands for them.
        None if info.domid.0 == 0 && node == "target" => Ok(info.tot_pages.saturating_mul(4)),
        None if info.domid.0 == 0 => Ok(info.max_pages.saturating_mul(4)),
        None => Err(CommandError::NoAmount { path }),
    }
}
