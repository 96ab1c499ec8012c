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
use xenstore::client::{Client, Nodes, Transaction};

/// Below this dom0 does not live.
const DOM0_LEAST_KIB: u64 = 128 << 10;
/// A page of memory.
const PAGE_KIB: u64 = 4;

/// Sets the limit.
pub fn set_max(arguments: &MemoryArgs) -> Result<(), CommandError> {
    change(arguments, |transaction, info, now| {
        let wanted_kib = arguments.memory_kib;
        if wanted_kib < now.target_kib {
            let why = "what the domain shall have, its target (mem-set changes that)";
            return Err(refused(info, wanted_kib, "less", now.target_kib, why));
        }
        Ok(transaction.write(path(info, "static-max"), wanted_kib.to_string())?)
    })
}

/// Sets the target, and the limit to match.
pub fn set_target(arguments: &MemoryArgs) -> Result<(), CommandError> {
    change(arguments, |transaction, info, now| {
        let wanted_kib = arguments.memory_kib;
        if wanted_kib > now.most_kib {
            let why = "the most that it may have (mem-max changes that)";
            return Err(refused(info, wanted_kib, "more", now.most_kib, why));
        }
        if info.domid.0 == 0 && wanted_kib < DOM0_LEAST_KIB {
            let why = "what domain 0 needs to live";
            return Err(refused(info, wanted_kib, "less", DOM0_LEAST_KIB, why));
        }
        // A guest's frame buffer counts as its memory and is none of the balloon's.
        let video_kib = match transaction.read_text_optional(path(info, "videoram"))? {
            Some(text) => text.parse().unwrap_or(0),
            None => 0,
        };
        let target_kib = wanted_kib.saturating_sub(video_kib);
        transaction.write(path(info, "target"), target_kib.to_string())?;
        let vm = format!("/vm/{}/memory", uuid_text(&info.uuid));
        Ok(transaction.write(vm, (target_kib / 1024).to_string())?)
    })
}

/// What the store keeps of a domain's memory.
struct Amounts {
    target_kib: u64,
    most_kib: u64,
}

/// Changes nodes by `nodes` in a transaction and Xen's limit in its last moment: both, or none. What
/// is changed is read in the same transaction, so that nothing is written for a domain whose nodes
/// go meanwhile.
fn change(
    arguments: &MemoryArgs,
    nodes: impl Fn(&mut Transaction<'_>, &DomainInfo, &Amounts) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let info = domain::find(&xen, &mut store, &arguments.domain)?;
    if arguments.memory_kib < PAGE_KIB {
        // xl takes 0; a guest would give memory away until it dies of it.
        let why = "a page, and no domain lives without memory";
        return Err(refused(&info, arguments.memory_kib, "less", PAGE_KIB, why));
    }
    let limit_kib = arguments.memory_kib.saturating_add(MAX_MEMORY_SLACK_KIB);
    let mut limited = false;
    let done = store.transaction(|transaction| {
        let target_kib = amount(transaction, &info, "target", info.tot_pages)?;
        let most_kib = amount(transaction, &info, "static-max", info.max_pages)?;
        nodes(transaction, &info, &Amounts { target_kib, most_kib })?;
        limited = true;
        Ok(xen.set_max_mem_kib(info.domid, limit_kib)?)
    });
    if done.is_err() && limited {
        // The nodes are as before. A domain that has gone takes no limit, and needs none.
        let _ = xen.set_max_mem_kib(info.domid, info.max_pages.saturating_mul(PAGE_KIB));
    }
    done
}

fn refused(
    info: &DomainInfo,
    wanted_kib: u64,
    side: &'static str,
    limit_kib: u64,
    why: &'static str,
) -> CommandError {
    CommandError::Memory { domid: info.domid.0, wanted_kib, side, limit_kib, why }
}

fn path(info: &DomainInfo, node: &str) -> String {
    format!("/local/domain/{}/memory/{node}", info.domid)
}

/// An amount that the store keeps of the domain. Nobody but the toolstack can write there.
///
/// Who starts dom0 need not write its nodes. What Xen says stands for them the first time, and is
/// kept from then on: after that it says what was set last, not what domain 0 came with.
fn amount(
    transaction: &mut Transaction<'_>,
    info: &DomainInfo,
    node: &'static str,
    pages: u64,
) -> Result<u64, CommandError> {
    let path = path(info, node);
    match transaction.read_text_optional(&path)? {
        Some(text) => text.parse().map_err(|_| CommandError::NoAmount { path }),
        None if info.domid.0 == 0 => {
            let kib = pages.saturating_mul(PAGE_KIB);
            transaction.write(&path, kib.to_string())?;
            Ok(kib)
        }
        None => Err(CommandError::NoAmount { path }),
    }
}
