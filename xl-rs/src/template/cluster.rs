//! What tells the guests of a cluster apart: names, UUIDs, addresses, and slices of CPUs.
//!
//! Everything is derived from the cluster's name and a guest's number, so that the same template gives
//! the same guests again, on every machine, and a cluster that grows keeps those it had. Within a cluster
//! nothing overlaps; clusters whose names differ have other UUIDs, and addresses from other places of the
//! same space. Pure.

use super::ranges;
use crate::device::vif::Mac;
use uuid::{Builder, Uuid};

/// A cluster with more guests than this is a slip.
pub const MOST_GUESTS: u64 = 1 << 16;
/// Addresses that there are: the half of Xen's that neither xl nor xlr gives out by itself.
const ADDRESSES: u64 = 1 << 23;

/// What a cluster is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Its name, from which everything is derived.
    pub name: String,
    /// Number of guests.
    pub count: u64,
    /// Number of the first guest; others are on other hosts.
    pub first: u64,
    /// CPUs for each guest; 0 where they are not pinned.
    pub cpus: usize,
    /// The CPUs that may be used, NUMA node by NUMA node.
    pub numa: Vec<Vec<u32>>,
    /// Network interfaces of each guest.
    pub nics: u64,
    /// The address of the first interface of guest 0; derived from the name if there is none.
    pub mac_base: Option<Mac>,
}

/// One guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Its number in the cluster.
    pub index: u64,
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// The addresses of its interfaces.
    pub macs: Vec<Mac>,
    /// Its CPUs, and their NUMA node; none where guests are not pinned.
    pub cpus: Option<(Vec<u32>, usize)>,
}

/// The guests of a cluster.
///
/// # Errors
/// What there is too much of.
pub fn guests(cluster: &Cluster) -> Result<Vec<Guest>, String> {
    let end = cluster.first.checked_add(cluster.count).filter(|end| *end <= MOST_GUESTS);
    let Some(end) = end else {
        return Err(format!("a cluster has at most {MOST_GUESTS} guests"));
    };
    if end.checked_mul(cluster.nics).is_none_or(|addresses| addresses > ADDRESSES) {
        return Err(format!("there are {ADDRESSES} addresses for a cluster's interfaces, no more"));
    }
    let slices = slices(cluster)?;
    let guest = |(offset, index): (usize, u64)| {
        let macs = (0..cluster.nics).map(|nic| address(cluster, index * cluster.nics + nic));
        Guest {
            index,
            name: format!("{}-{index}", cluster.name),
            uuid: uuid(&cluster.name, index),
            macs: macs.collect(),
            cpus: slices.get(offset).cloned(),
        }
    };
    Ok((0..).zip(cluster.first..end).map(guest).collect())
}

/// The UUID of a guest: 122 bits of BLAKE3, marked as a UUID of version 8.
#[must_use]
pub fn uuid(cluster: &str, index: u64) -> Uuid {
    let hash = hash("xlr 2026 template uuid", cluster, &index.to_le_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// The address with this number: Xen's prefix, a set bit, and 23 bits that count from where the
/// cluster's name or its base says.
fn address(cluster: &Cluster, number: u64) -> Mac {
    match cluster.mac_base {
        Some(base) => {
            let base_number = base.0.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
            let [_, _, bytes @ ..] = (base_number + number).to_be_bytes();
            Mac(bytes)
        }
        None => {
            let hash = hash("xlr 2026 template mac", &cluster.name, &[]);
            let base = u64::from_le_bytes([hash[0], hash[1], hash[2], 0, 0, 0, 0, 0]);
            let [.., a, b, c] = (((base + number) % ADDRESSES) | ADDRESSES).to_be_bytes();
            Mac([0x00, 0x16, 0x3e, a, b, c])
        }
    }
}

fn hash(context: &str, name: &str, rest: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    // The length keeps name and rest apart.
    hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes()).update(rest);
    *hasher.finalize().as_bytes()
}

/// The slices, from the first NUMA node on, each within one node.
fn slices(cluster: &Cluster) -> Result<Vec<(Vec<u32>, usize)>, String> {
    if cluster.cpus == 0 {
        return Ok(Vec::new());
    }
    let mut all: Vec<u32> = cluster.numa.concat();
    let given = all.len();
    all.sort_unstable();
    all.dedup();
    if all.len() != given {
        return Err(String::from("a CPU is named twice in numa"));
    }
    let nodes = cluster.numa.iter().enumerate();
    let cut = |(node, cpus): (usize, &Vec<u32>)| {
        cpus.chunks_exact(cluster.cpus).map(move |cpus| (cpus.to_vec(), node)).collect::<Vec<_>>()
    };
    let mut slices: Vec<_> = nodes.flat_map(cut).collect();
    let wanted = usize::try_from(cluster.count).unwrap_or(usize::MAX);
    if slices.len() < wanted {
        let nodes: Vec<String> = cluster.numa.iter().map(|cpus| ranges::compact(cpus)).collect();
        return Err(format!(
            "{wanted} guests of {} CPUs do not fit: the NUMA nodes ({}) hold {}, each within one",
            cluster.cpus,
            nodes.join("; "),
            slices.len()
        ));
    }
    slices.truncate(wanted);
    Ok(slices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn cluster() -> impl Strategy<Value = Cluster> {
        let numa = proptest::collection::vec(0usize..20, 0..4);
        ("[a-z]{1,6}", 0u64..40, 0u64..3000, 0usize..5, numa, 0u64..4, any::<bool>()).prop_map(
            |(name, count, first, cpus, sizes, nics, based)| {
                let mut next = 2..;
                let numa = sizes.iter().map(|&size| next.by_ref().take(size).collect()).collect();
                let mac_base = based.then_some(Mac([2, 0, 0, 0, 0xff, 0xf0]));
                Cluster { name, count, first, cpus, numa, nics, mac_base }
            },
        )
    }

    proptest! {
        /// Nothing is given twice, and nothing that is not there.
        #[test]
        fn nothing_overlaps(cluster in cluster()) {
            let Ok(guests) = guests(&cluster) else { return Ok(()) };
            prop_assert_eq!(guests.len() as u64, cluster.count);
            let names: BTreeSet<_> = guests.iter().map(|guest| &guest.name).collect();
            let uuids: BTreeSet<_> = guests.iter().map(|guest| guest.uuid).collect();
            let macs: Vec<_> = guests.iter().flat_map(|guest| &guest.macs).map(|mac| mac.0).collect();
            prop_assert_eq!(names.len(), guests.len());
            prop_assert_eq!(uuids.len(), guests.len());
            prop_assert_eq!(macs.iter().collect::<BTreeSet<_>>().len() as u64, cluster.count * cluster.nics);
            prop_assert!(macs.iter().all(|mac| mac[0] & 1 == 0), "no multicast");
            if cluster.mac_base.is_none() {
                prop_assert!(macs.iter().all(|mac| mac[..3] == [0, 0x16, 0x3e] && mac[3] >= 0x80));
            }
            let slices: Vec<_> = guests.iter().filter_map(|guest| guest.cpus.as_ref()).collect();
            prop_assert_eq!(slices.len(), if cluster.cpus == 0 { 0 } else { guests.len() });
            let used: Vec<u32> = slices.iter().flat_map(|(cpus, _)| cpus.clone()).collect();
            prop_assert_eq!(used.iter().collect::<BTreeSet<_>>().len(), used.len());
            for (cpus, node) in slices {
                prop_assert_eq!(cpus.len(), cluster.cpus);
                prop_assert!(cpus.iter().all(|cpu| cluster.numa[*node].contains(cpu)));
            }
        }

        /// The same again, and a cluster that grows keeps what it had.
        #[test]
        fn what_is_given_stays(cluster in cluster(), less in 0u64..40) {
            let smaller = Cluster { count: cluster.count.min(less), ..cluster.clone() };
            let Ok(guests) = guests(&cluster) else { return Ok(()) };
            prop_assert_eq!(&super::guests(&cluster).unwrap(), &guests);
            let kept = super::guests(&smaller).unwrap();
            prop_assert_eq!(&guests[..kept.len()], kept.as_slice());
        }

        /// Parts of a cluster on several hosts share no identity.
        #[test]
        fn hosts_share_nothing(cluster in cluster()) {
            let next = Cluster { first: cluster.first + cluster.count, ..cluster.clone() };
            let (Ok(here), Ok(there)) = (guests(&cluster), guests(&next)) else { return Ok(()) };
            for one in &here {
                for other in &there {
                    prop_assert!(one.uuid != other.uuid && one.name != other.name);
                    prop_assert!(one.macs.iter().all(|mac| !other.macs.contains(mac)));
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let base = Cluster { name: "a".into(), count: 2, nics: 1, ..Cluster::default() };
        let check = |cluster: Cluster, words: &str| {
            let error = guests(&cluster).expect_err(words);
            assert!(error.contains(words), "{error}");
        };
        assert!(guests(&base).is_ok());
        check(Cluster { count: MOST_GUESTS + 1, ..base.clone() }, "at most");
        check(Cluster { first: u64::MAX, ..base.clone() }, "at most");
        check(Cluster { nics: ADDRESSES, ..base.clone() }, "addresses");
        let numa = vec![vec![0, 1, 2], vec![3, 4, 5]];
        check(
            Cluster { count: 3, cpus: 2, numa: numa.clone(), ..base.clone() },
            "(0-2; 3-5) hold 2",
        );
        check(Cluster { cpus: 1, numa: vec![vec![1], vec![1]], ..base }, "twice");
    }

    /// Guests that stand today must be the same tomorrow.
    #[test]
    fn the_derivation_stays() {
        let cluster = Cluster { name: "mpi".into(), count: 2, nics: 1, ..Cluster::default() };
        let guests = guests(&cluster).unwrap();
        assert_eq!(guests[1].name, "mpi-1");
        assert_eq!(guests[1].uuid, uuid("mpi", 1));
        assert_eq!(guests[1].uuid.get_version_num(), 8);
        assert_eq!(guests[0].uuid.to_string(), "d5f813a5-f958-8388-bd40-441bd7cf5ae4");
        assert_eq!(guests[0].macs[0].to_string(), "00:16:3e:9b:f5:59");
    }
}
