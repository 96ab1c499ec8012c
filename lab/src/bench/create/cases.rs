//! What is created: guests, and who creates them from which kernel file.
//!
//! Plain data shared by the two halves of the benchmark, so that both mean the same by a name.

/// The kernels, by what makes them a case of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// A microkernel guest of `tests/xtf`, some 70 KB.
    Micro,
    /// The small guest kernel, an ELF file of 16 MB.
    Small,
    /// Debian's stock kernel: an xz bzImage, 66 MB when decoded.
    Stock,
}

/// Whether `xlr` finds the kernel decoded. `xl` has no cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// As after an earlier create.
    Warm,
    /// As at the first create on a node.
    Cold,
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From the start of `create -p` until it returns.
    CreatePaused,
    /// From the start of `create` until the guest's first line is in its console log.
    FirstOutput,
    /// From the start of `destroy` of a paused guest until it returns.
    Destroy,
}

/// A program that creates guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Ours.
    Xlr,
    /// The least that has to be done: the hypercalls of xlr's plan, made by a program that has
    /// read plan, kernel headers and devices before its clock starts and never speaks to the store.
    Floor,
    /// The C toolstack, given a kernel that is decoded already.
    Xl,
    /// The C toolstack, given the compressed kernel.
    XlXz,
}

/// One guest and who creates it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its kernel.
    pub kernel: Kernel,
    /// Its memory.
    pub memory_mib: u64,
    /// State of the cache of decoded kernels.
    pub cache: Cache,
    /// Who creates it; the order alternates from round to round.
    pub by: &'static [By],
    /// What is timed.
    pub phases: &'static [Phase],
    /// Whether it is part of `--full` alone.
    pub full: bool,
}

const ALL: &[Phase] = &[Phase::CreatePaused, Phase::Destroy, Phase::FirstOutput];
const PAUSED: &[Phase] = &[Phase::CreatePaused, Phase::Destroy];

/// Every case. The stock kernel alone takes 75 MiB: 128 MiB stand in for its smallest guest.
pub const CASES: &[Case] = &[
    Case::new(Kernel::Micro, 8, ALL),
    Case::new(Kernel::Small, 64, PAUSED),
    Case::new(Kernel::Small, 256, ALL),
    Case { full: true, ..Case::new(Kernel::Small, 1024, PAUSED) },
    Case { full: true, ..Case::new(Kernel::Stock, 128, PAUSED) },
    Case::new(Kernel::Stock, 256, ALL),
    Case { full: true, ..Case::new(Kernel::Stock, 1024, PAUSED) },
    Case {
        cache: Cache::Cold,
        by: &[By::Xlr, By::XlXz],
        phases: &[Phase::CreatePaused],
        ..Case::new(Kernel::Stock, 256, PAUSED)
    },
];

impl Case {
    const fn new(kernel: Kernel, memory_mib: u64, phases: &'static [Phase]) -> Self {
        let by = &[By::Xlr, By::Xl, By::Floor];
        Self { kernel, memory_mib, cache: Cache::Warm, by, phases, full: false }
    }

    /// `kernel/memory/cache`.
    #[must_use]
    pub fn name(&self) -> String {
        let kernel = match self.kernel {
            Kernel::Micro => "micro",
            Kernel::Small => "small",
            Kernel::Stock => "stock",
        };
        let cache = match self.cache {
            Cache::Warm => "warm",
            Cache::Cold => "cold",
        };
        format!("{kernel}/{}MiB/{cache}", self.memory_mib)
    }

    /// Its ramdisk, if any.
    #[must_use]
    pub const fn ramdisk(&self) -> Option<&'static str> {
        match self.kernel {
            Kernel::Micro => None,
            Kernel::Small | Kernel::Stock => Some("/guest/initramfs.gz"),
        }
    }

    /// The configuration file that `by` is given. They differ in the kernel's file at most.
    #[must_use]
    pub fn configuration(&self, by: By) -> String {
        let ramdisk =
            self.ramdisk().map_or_else(String::new, |path| format!("ramdisk = \"{path}\"\n"));
        format!(
            "name = \"{DOMAIN}\"\ntype = \"pv\"\nkernel = \"{}\"\n{ramdisk}\
             extra = \"console=hvc0\"\nmemory = {}\nvcpus = 1\n",
            self.kernel.path(by),
            self.memory_mib
        )
    }

    /// How many times as fast as `by` a paused create by `xlr` shall be, where that was promised.
    #[must_use]
    pub const fn target(&self, by: By) -> Option<f64> {
        match (self.kernel, self.cache, by) {
            (Kernel::Micro, _, By::Xl) => Some(10.0),
            (Kernel::Small, _, By::Xl) | (Kernel::Stock, Cache::Warm, By::Xl) => Some(5.0),
            (Kernel::Stock, Cache::Cold, By::XlXz) => Some(1.0),
            _ => None,
        }
    }
}

/// Name of the domain in every case.
pub const DOMAIN: &str = "bench";

/// The small kernel's place in dom0.
pub const SMALL_ELF: &str = "/bench/small.elf";
/// The floor's place in dom0.
pub const FLOOR: &str = "/bench/create-floor";
/// The decoded stock kernel's place in dom0.
pub const STOCK_ELF: &str = "/bench/stock.elf";

impl Kernel {
    /// The kernel's file in dom0, as `by` gets it.
    #[must_use]
    pub const fn path(self, by: By) -> &'static str {
        match (self, by) {
            (Self::Micro, _) => "/guest/xtf/idle",
            (Self::Small, _) => SMALL_ELF,
            (Self::Stock, By::Xl) => STOCK_ELF,
            (Self::Stock, _) => "/guest/stock",
        }
    }
}

impl Phase {
    /// Unit of all phases.
    pub const UNIT: &str = "ms";

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreatePaused => "create-paused",
            Self::FirstOutput => "create-to-first-output",
            Self::Destroy => "destroy",
        }
    }
}

impl By {
    /// Its name in records and rows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xlr => "xlr",
            Self::Floor => "floor",
            Self::Xl => "xl",
            Self::XlXz => "xl-xz",
        }
    }

    /// The program.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Xlr => "/bin/xlr",
            Self::Floor => FLOOR,
            Self::Xl | Self::XlXz => "/xen/bin/xl",
        }
    }
}

/// The cases that were asked for.
#[must_use]
pub fn chosen(full: bool, filter: Option<&str>) -> Vec<&'static Case> {
    CASES
        .iter()
        .filter(|case| full || !case.full)
        .filter(|case| filter.is_none_or(|part| case.name().contains(part)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_chosen_by_part() {
        let names: BTreeSet<String> = CASES.iter().map(Case::name).collect();
        assert_eq!(names.len(), CASES.len());
        let of = |full, filter| -> Vec<String> {
            chosen(full, filter).into_iter().map(Case::name).collect()
        };
        assert_eq!(of(false, Some("small")), ["small/64MiB/warm", "small/256MiB/warm"]);
        assert!(of(true, Some("small")).contains(&"small/1024MiB/warm".to_owned()));
        assert_eq!(of(false, Some("cold")), ["stock/256MiB/cold"]);
    }

    #[test]
    fn xl_gets_the_same_configuration_save_for_the_decoded_kernel() {
        for case in CASES {
            let ours = case.configuration(By::Xlr);
            let theirs = case.configuration(By::Xl);
            let kernel = case.kernel;
            assert_eq!(theirs.replace(kernel.path(By::Xl), kernel.path(By::Xlr)), ours);
            assert_eq!(case.configuration(By::XlXz), ours, "{}", case.name());
        }
    }

    #[test]
    fn every_case_of_a_paused_create_has_its_target() {
        for case in CASES {
            let stated = case.by.iter().filter_map(|by| case.target(*by)).count();
            assert_eq!(stated, 1, "{}", case.name());
        }
    }
}
