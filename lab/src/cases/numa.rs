//! Guests on a host with two NUMA nodes: each lies where xl would put it.

use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv, config, domid};
use crate::{ensure, fail};
use libxc_safe::{Domid, Xen};

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case { numa_nodes: 2, ci: false, ..Case::new("numa/as-xl", Group::Create, as_xl) },
    Case { xen: "4.20", numa_nodes: 2, ..Case::new("numa/spread", Group::Create, spread) },
    // Right after `spread` has destroyed its guests: their memory is not scrubbed yet.
    Case { xen: "4.20", numa_nodes: 2, ..Case::new("numa/pinned", Group::Create, pinned) },
];

const GUEST_MIB: u64 = 64;
/// What a domain costs beside its memory, and what dom0 may take or give back meanwhile.
const SLACK_MIB: u64 = 8;

/// Where a guest lies and runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// Nodes that lost memory to it, in multiples of a quarter of its memory.
    quarters: Vec<(u32, u64)>,
    node_affinity: Vec<u32>,
    hard: Vec<Vec<u32>>,
    soft: Vec<Vec<u32>>,
}

/// Guests one after the other, left to the toolstack or pinned: xlr's lie as xl's did.
fn as_xl() -> Verdict {
    let xen = Xen::open().map_err(|error| error.to_string())?;
    let nodes = xen.numa_nodes().map_err(|error| error.to_string())?;
    ensure!(nodes.len() == 2, "this machine has {nodes:?}");
    let guests = [
        // The second goes where the first is not, `wide` wants a CPU on each node, `wider` a third.
        ("first", "vcpus = 1\n"),
        ("second", "vcpus = 1\n"),
        ("wide", "vcpus = 2\n"),
        ("wider", "vcpus = 3\n"),
        ("soft", "vcpus = 1\ncpus_soft = \"node:1\"\n"),
        ("listed", "vcpus = 2\ncpus = [\"1\", \"1\"]\n"),
    ];
    let theirs = places(&xen, "/xen/bin/xl", &guests)?;
    let ours = places(&xen, "/bin/xlr", &guests)?;
    for ((name, _), (ours, theirs)) in guests.iter().zip(ours.iter().zip(&theirs)) {
        eprintln!("{name}: xlr {ours:?}, xl {theirs:?}");
        ensure!(ours == theirs, "{name} lies otherwise:\n{ours:?}, xl:\n{theirs:?}");
    }
    let alone = |at: usize| theirs.get(at).and_then(|place: &Place| place.quarters.first());
    ensure!(alone(0) != alone(1), "the first two share a node: nothing was chosen: {theirs:?}");
    Ok(())
}

/// What the comparison with xl proves at length, by two guests: each has a node to itself.
fn spread() -> Verdict {
    let xen = Xen::open().map_err(|error| error.to_string())?;
    let found = places(&xen, "/bin/xlr", &[("first", "vcpus = 1\n"), ("second", "vcpus = 1\n")])?;
    eprintln!("{found:?}");
    for place in &found {
        let [(node, 4)] = place.quarters[..] else { fail!("not on one node: {place:?}") };
        let expected = place.node_affinity[..] == [node] && place.soft[..] == [vec![node]];
        ensure!(expected, "it may lie or prefers to run elsewhere: {place:?}");
    }
    let [first, second] = &found[..] else { fail!("{} guests", found.len()) };
    ensure!(first.quarters != second.quarters, "both share a node: {found:?}");
    Ok(())
}

/// A guest that is pinned as a whole has its memory where its CPUs are. xl is no model here: it
/// looks for a node as for a guest that is not pinned, and may find another one.
fn pinned() -> Verdict {
    let xen = Xen::open().map_err(|error| error.to_string())?;
    for (node, lines) in [
        (1, "vcpus = 1\ncpus = \"1\"\n"),
        (0, "vcpus = 1\ncpus = \"0\"\n"),
        (1, "vcpus = 2\ncpus = \"nodes:1\"\n"),
    ] {
        let found = places(&xen, "/bin/xlr", &[("pinned", lines)])?;
        eprintln!("{lines}: {found:?}");
        let [Place { quarters, node_affinity, hard, .. }] = &found[..] else {
            fail!("{} guests", found.len());
        };
        ensure!(quarters[..] == [(node, 4)], "{lines} lies on {quarters:?}");
        ensure!(node_affinity[..] == [node], "{lines} may lie on {node_affinity:?}");
        // Each node has one CPU, of the same number.
        ensure!(hard.iter().all(|cpus| cpus[..] == [node]), "{lines} runs on {hard:?}");
    }
    Ok(())
}

/// Creates all guests, and says where each came to lie; then destroys them.
fn places(xen: &Xen, tool: &str, guests: &[(&str, &str)]) -> Result<Vec<Place>, Stop> {
    let mut places = Vec::new();
    for (name, lines) in guests {
        let text = format!(
            "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/vmlinuz\"\n\
             memory = {GUEST_MIB}\n{lines}"
        );
        let path = config(name, &text)?;
        let before = free_mib(xen)?;
        argv(&[tool, "create", "-p", &path])?.success()?;
        let after = free_mib(xen)?;
        let id = domid(name)?.and_then(|id| u16::try_from(id).ok());
        let Some(id) = id else { fail!("{tool} made no domain {name}") };
        places.push(place(xen, Domid(id), &before, &after)?);
    }
    for (name, _) in guests {
        argv(&[tool, "destroy", name])?.success()?;
    }
    Ok(places)
}

fn place(xen: &Xen, id: Domid, before: &[(u32, u64)], after: &[(u32, u64)]) -> Result<Place, Stop> {
    let failed = |error: libxc_safe::Error| Stop::Failed(error.to_string());
    let lost = before.iter().zip(after).map(|((node, before), (_, after))| {
        let quarter = GUEST_MIB / 4;
        (*node, (before.saturating_sub(*after) + SLACK_MIB) / quarter)
    });
    let vcpus = xen.existing_domain_info(id).map_err(failed)?.max_vcpu_id.unwrap_or(0);
    let affinity: Vec<_> = (0..=vcpus)
        .map(|vcpu| xen.vcpu_affinity(id, vcpu))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    Ok(Place {
        quarters: lost.filter(|(_, quarters)| *quarters > 0).collect(),
        node_affinity: xen.node_affinity(id).map_err(failed)?,
        hard: affinity.iter().map(|affinity| affinity.hard.clone()).collect(),
        soft: affinity.iter().map(|affinity| affinity.soft.clone()).collect(),
    })
}

/// Free memory of each node.
fn free_mib(xen: &Xen) -> Result<Vec<(u32, u64)>, Stop> {
    let nodes = xen.numa_nodes().map_err(|error| error.to_string())?;
    Ok(nodes.iter().map(|node| (node.id, node.free_bytes >> 20)).collect())
}
