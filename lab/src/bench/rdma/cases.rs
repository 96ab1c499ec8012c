//! What is measured: names, sizes, and which values a case has.

/// A case.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What is done.
    pub kind: Kind,
}

/// What is done.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Writes of so many bytes, posted by so many; instructions of `more` operations.
    Work {
        /// Operations posted with one call.
        batch: u32,
        /// Bytes of each.
        bytes: u32,
        /// Operations that are counted.
        more: u32,
    },
    /// One write after the other.
    Latency {
        /// Whether completions are polled for.
        polls: bool,
        /// Bytes of each.
        bytes: u32,
    },
    /// A window of writes, polled for.
    Bandwidth {
        /// Bytes of each.
        bytes: u32,
    },
    /// Registering and deregistering.
    Register {
        /// Bytes of the region.
        bytes: u32,
    },
}

/// One number that a case has.
pub struct Value {
    /// How records and rows call it.
    pub phase: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Who is compared with it, if anybody is.
    pub reference: Option<&'static str>,
}

/// The program in a guest.
pub const GUEST: &str = "guest";
/// The program in dom0.
pub const NATIVE: &str = "native";

/// Instructions of all domains, and of each.
pub const TOTAL: &str = "instructions";
/// Of dom0.
pub const IN_DOM0: &str = "instructions-in-dom0";
/// Of the guest.
pub const IN_GUEST: &str = "instructions-in-guest";
/// One operation after the other.
pub const LATENCY: &str = "latency";
/// Many at once.
pub const BANDWIDTH: &str = "bandwidth";
/// Registering.
pub const REGISTER: &str = "register";
/// Deregistering.
pub const DEREGISTER: &str = "deregister";
/// Registering what was registered before, with a cache of mapped pages.
pub const REGISTER_CACHED: &str = "register-cached";
/// Deregistering with it.
pub const DEREGISTER_CACHED: &str = "deregister-cached";

/// The unit of counts.
pub const COUNT: &str = "per operation";
/// The unit of times.
pub const TIME: &str = "us";
/// The unit of rates.
pub const RATE: &str = "MB/s";

const fn work(name: &'static str, batch: u32, bytes: u32, more: u32) -> Case {
    Case { name, kind: Kind::Work { batch, bytes, more } }
}

const fn latency(name: &'static str, polls: bool, bytes: u32) -> Case {
    Case { name, kind: Kind::Latency { polls, bytes } }
}

const fn bandwidth(name: &'static str, bytes: u32) -> Case {
    Case { name, kind: Kind::Bandwidth { bytes } }
}

const fn register(name: &'static str, bytes: u32) -> Case {
    Case { name, kind: Kind::Register { bytes } }
}

/// All cases.
pub const CASES: &[Case] = &[
    work("write-64/by-32", 32, 64, 2048),
    work("write-4096/by-32", 32, 4096, 1024),
    work("write-65536/by-32", 32, 65536, 128),
    work("write-64/by-1", 1, 64, 512),
    latency("events/64", false, 64),
    latency("events/4096", false, 4096),
    latency("events/65536", false, 65536),
    register("4096", 4096),
    register("65536", 65536),
    register("1048576", 1 << 20),
    register("4194304", 4 << 20),
    latency("polling/64", true, 64),
    latency("polling/4096", true, 4096),
    latency("polling/65536", true, 65536),
    bandwidth("polling/64", 64),
    bandwidth("polling/1024", 1024),
    bandwidth("polling/4096", 4096),
    bandwidth("polling/65536", 65536),
    bandwidth("polling/262144", 262_144),
];

impl Case {
    /// Whether it wants a CPU for each poller.
    pub fn polls(&self) -> bool {
        matches!(self.kind, Kind::Latency { polls: true, .. } | Kind::Bandwidth { .. })
    }

    /// Whether its values are times, whose median is of more.
    pub fn is_time(&self) -> bool {
        !matches!(self.kind, Kind::Work { .. })
    }

    /// Whether what is added has a bound: where one operation at a time waits for the other side, it is
    /// waking that is counted, and reported.
    pub fn is_judged(&self) -> bool {
        matches!(self.kind, Kind::Work { batch: 2.., .. })
    }

    /// Its values.
    pub fn values(&self) -> Vec<Value> {
        let value = |phase, unit, reference| Value { phase, unit, reference };
        let native = Some(NATIVE);
        match self.kind {
            Kind::Work { .. } => vec![
                value(TOTAL, COUNT, native),
                value(IN_DOM0, COUNT, None),
                value(IN_GUEST, COUNT, None),
            ],
            Kind::Latency { .. } => vec![value(LATENCY, TIME, native)],
            Kind::Bandwidth { .. } => vec![value(BANDWIDTH, RATE, native)],
            Kind::Register { .. } => vec![
                value(REGISTER, TIME, native),
                value(DEREGISTER, TIME, native),
                value(REGISTER_CACHED, TIME, native),
                value(DEREGISTER_CACHED, TIME, native),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_values_are_one_case_each() {
        let mut names: Vec<(&str, &str)> = Vec::new();
        for case in CASES {
            names.extend(case.values().iter().map(|value| (value.phase, case.name)));
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn what_is_judged_counts_instructions_of_many_at_once() {
        let judged = |name: &str| CASES.iter().any(|case| case.name == name && case.is_judged());
        assert!(judged("write-64/by-32") && judged("write-65536/by-32"));
        assert!(!judged("write-64/by-1") && !judged("events/64"));
    }
}
