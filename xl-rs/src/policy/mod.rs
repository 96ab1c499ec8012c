//! Site policy: what the user asks for and what the administrator demands, merged into one definition.
//!
//! ```text
//!   policy.toml ──parse──▶ Policy ──for user──▶ Rules ─┐
//!   hpc.cfg ──load──▶ DomainConfig ────────────────────┼─merge─▶ overrides, refusals
//!   files that are named ──looked at──▶ Facts ─────────┘
//! ```
//!
//! In: a policy, a configuration that was read, and what the files that it names are. Out: assignments of
//! xl.cfg that take the place of what was asked for, and reasons to refuse. Pure: whoever calls looks
//! at files and says who the user is.
//!
//! With the assignments put after it a configuration satisfies the policy, or it is refused; and nothing
//! becomes looser than it was asked for: an override takes CPUs, memory or vcpus away that the guest might
//! have had later, never gives any, and sets what the administrator forces.

pub mod devices;
pub mod glob;
pub mod merge;
pub mod parse;
pub mod pinning;

use domain_builder::spec::EndAction;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A rule's value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruled<T> {
    /// What it says.
    pub value: T,
    /// Its line in the policy, from 1.
    pub line: usize,
}

/// What a domain has to keep to. What is not there is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// `memory.max`.
    pub memory_max_kib: Option<Ruled<u64>>,
    /// `vcpus.max`.
    pub vcpus_max: Option<Ruled<u32>>,
    /// `kernel.sha256`: hashes of the kernels that may run, in lower-case hexadecimal digits.
    pub kernel: Option<Ruled<Vec<String>>>,
    /// `ramdisk.sha256`.
    pub ramdisk: Option<Ruled<Vec<String>>>,
    /// `image.sha256`: of disks that the guest only reads.
    pub image: Option<Ruled<Vec<String>>>,
    /// `image.writable`: disks that it may write to where images are limited.
    pub writable: Option<Ruled<Vec<String>>>,
    /// `pinning.required`.
    pub pinning: Option<Ruled<bool>>,
    /// `pinning.cpus`.
    pub cpus: Option<Ruled<Vec<u32>>>,
    /// `force.on_crash` and its kin, by key.
    pub force: BTreeMap<&'static str, Ruled<EndAction>>,
    /// `devices.disk` and its kin: patterns of what may be given, by key.
    pub devices: BTreeMap<&'static str, Ruled<Vec<String>>>,
    /// `devices.raw`: whether I/O ports, I/O memory and interrupts may be given.
    pub raw: Option<Ruled<bool>>,
}

/// A whole policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What holds for everybody.
    pub rules: Rules,
    /// What holds for one user in the place of it, rule by rule; none for who is exempt.
    pub users: BTreeMap<String, Option<Rules>>,
}

impl Policy {
    /// The rules for a user, known by these names (a name, a number). None for who is exempt.
    #[must_use]
    pub fn rules_for(&self, names: &[String]) -> Option<Rules> {
        let Some(own) = names.iter().find_map(|name| self.users.get(name)) else {
            return Some(self.rules.clone());
        };
        let (own, all) = (own.clone()?, self.rules.clone());
        let mut force = all.force;
        force.extend(own.force);
        let mut devices = all.devices;
        devices.extend(own.devices);
        Some(Rules {
            memory_max_kib: own.memory_max_kib.or(all.memory_max_kib),
            vcpus_max: own.vcpus_max.or(all.vcpus_max),
            kernel: own.kernel.or(all.kernel),
            ramdisk: own.ramdisk.or(all.ramdisk),
            image: own.image.or(all.image),
            writable: own.writable.or(all.writable),
            pinning: own.pinning.or(all.pinning),
            cpus: own.cpus.or(all.cpus),
            force,
            devices,
            raw: own.raw.or(all.raw),
        })
    }
}

/// What was found out about the files that a configuration names.
pub type Facts = BTreeMap<PathBuf, FileFacts>;

/// What was found out about one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileFacts {
    /// The hash of its content, or why there is none; none at all if no rule asks for it.
    pub sha256: Option<Result<String, String>>,
    /// A place on the way to it, or the file, that others than root can change.
    pub changeable: Option<PathBuf>,
}

#[cfg(test)]
mod tests;
