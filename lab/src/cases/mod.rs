//! All cases, by topic.

mod bad_input;
mod beside_xl;
mod boot;
mod bug_report;
mod cache;
mod channel;
mod commands;
mod console;
mod create;
mod differential;
mod disk;
mod disk_bad;
mod dump_core;
mod dump_core_gdb;
mod ends;
mod events;
mod harness;
mod host_check;
mod interrupt;
mod json;
mod killed;
mod killed_restart;
mod memory;
mod nodes;
mod numa;
mod options;
mod pci;
mod policy;
pub mod rdma;
mod rdma_hostile;
mod rdma_lives;
mod run;
mod site_policy;
mod store;
mod store_dies;
mod store_killed;
mod store_large;
mod store_lives;
mod store_sockets;
mod supervise;
mod template;
mod undo;
mod verbs;
mod vif;
mod xtf;

use crate::case::{Case, Ending};
use crate::dom0::host::Stop;

/// Every case, in the order in which they run.
pub fn all() -> Vec<Case> {
    [
        boot::CASES,
        harness::CASES,
        xtf::CASES,
        create::CASES,
        commands::CASES,
        nodes::CASES,
        options::CASES,
        undo::CASES,
        verbs::CASES,
        interrupt::CASES,
        killed::CASES,
        killed_restart::CASES,
        bad_input::CASES,
        dump_core::CASES,
        dump_core_gdb::CASES,
        ends::CASES,
        events::CASES,
        run::CASES,
        supervise::CASES,
        beside_xl::CASES,
        memory::CASES,
        policy::CASES,
        numa::CASES,
        cache::CASES,
        console::CASES,
        channel::CASES,
        json::CASES,
        template::CASES,
        site_policy::CASES,
        bug_report::CASES,
        rdma::CASES,
        rdma_hostile::CASES,
        rdma_lives::CASES,
        store::CASES,
        host_check::CASES,
        pci::CASES,
        disk::CASES,
        store_killed::CASES,
        store_dies::CASES,
        store_large::CASES,
        store_sockets::CASES,
        vif::CASES,
        disk_bad::CASES,
        differential::CASES,
    ]
    .concat()
}

/// `lab case NAME`, inside dom0: the last line of standard output is the ending as JSON.
pub fn main(name: &str) -> std::io::Result<()> {
    let ending = match all().into_iter().find(|case| case.name == name) {
        None => Ending::Failed(format!("no case {name}")),
        Some(case) => match (case.run)() {
            Ok(()) => Ending::Passed,
            Err(Stop::Failed(why)) => {
                end_guests();
                Ending::Failed(why)
            }
            Err(Stop::Skipped(why)) => Ending::Skipped(why),
        },
    };
    println!("{}", serde_json::to_string(&ending)?);
    Ok(())
}

/// What a case that failed was about to end would only hide why it failed.
fn end_guests() {
    for domid in crate::dom0::snapshot::domains().unwrap_or_default().into_keys() {
        if domid != "0" {
            // What does not end is a leftover, which the runner tells. xl does not know each kind of device.
            let _ = crate::dom0::host::argv(&["/xen/bin/xl", "destroy", &domid]);
            let rdma = format!("/local/domain/0/backend/rdma/{domid}");
            let _ = crate::dom0::host::argv(&["/usr/bin/xenstore-rm", "-t", &rdma]);
        }
    }
}
