//! The arguments of verbs that look at domains and adjust them while they run.

use super::number;
use clap::Args;

/// Arguments of `rename`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct RenameArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// Its new name
    #[arg(value_name = "NEW-NAME")]
    pub new_name: String,
}

/// Arguments of `uptime`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct UptimeArgs {
    /// Only these domains, by name or domid
    #[arg(value_name = "DOMAIN")]
    pub domains: Vec<String>,

    /// One line in words per domain, with the time of day
    #[arg(short, long)]
    pub short: bool,

    /// Print JSON, one object per domain
    #[arg(long, conflicts_with = "short")]
    pub json: bool,
}

/// Arguments of `vcpu-list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct VcpuListArgs {
    /// Only these domains, by name or domid
    #[arg(value_name = "DOMAIN")]
    pub domains: Vec<String>,

    /// Print JSON, one object per vcpu
    #[arg(long)]
    pub json: bool,
}

/// JSON or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct JsonArg {
    /// Print JSON, one object per domain
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `vcpu-pin`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct VcpuPinArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// The vcpu, by number, or all
    pub vcpu: String,

    /// CPUs it may run on, as in cpus= of xl.cfg: 0-3,^2, node:0, all; - leaves them as they are
    pub hard: String,

    /// CPUs it prefers to run on, in the same form
    pub soft: Option<String>,

    /// Also where domain 0 has bound this vcpu of its own to a CPU for a while
    #[arg(short, long)]
    pub force: bool,
}

/// Arguments of `vcpu-set`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct VcpuSetArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// How many of its vcpus shall be online
    #[arg(value_name = "VCPUS", value_parser = count)]
    pub count: u32,

    /// Allow more vcpus than the host has CPUs
    #[arg(short, long)]
    pub ignore_host: bool,
}

/// Arguments of `mem-max` and `mem-set`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct MemoryArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// The amount, in MiB, or with a unit: b, k, m, g, t (256m, 4g)
    #[arg(value_name = "SIZE", value_parser = memory_kib)]
    pub memory_kib: u64,
}

/// Arguments of `sysrq`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct SysrqArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// The letter, as the guest's kernel documents it: h lists them all
    #[arg(value_parser = one_letter)]
    pub letter: String,
}

/// Arguments of `debug-keys`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct DebugKeysArgs {
    /// The keys: h writes a list of them to the hypervisor's log
    pub keys: String,
}

/// Arguments of `bug-report`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct BugReportArgs {
    /// Where to write the report (- for standard output); a new file in this folder otherwise
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<String>,

    /// Add the end of each guest's console log, which may hold what the guests' users consider private
    #[arg(long)]
    pub guest_consoles: bool,
}

/// Reads an amount of memory: MiB unless it has a unit, as under xl.
fn memory_kib(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| String::from("give a number, as in 256 or 4g"))?;
    let shifted = match unit.to_ascii_lowercase().as_str() {
        "b" => Some(number >> 10),
        "k" => Some(number),
        "" | "m" => number.checked_mul(1 << 10),
        "g" => number.checked_mul(1 << 20),
        "t" => number.checked_mul(1 << 30),
        _ => return Err(format!("{unit} is not one of the units b, k, m, g, t")),
    };
    // Beyond that the number of pages would not fit what Xen counts in.
    shifted.filter(|kib| *kib < 1 << 52).ok_or_else(|| String::from("more than any machine has"))
}

/// Reads a number of vcpus.
fn count(text: &str) -> Result<u32, String> {
    number::digits(text).ok_or_else(|| String::from("give a number of vcpus, as in 2"))
}

/// Reads the letter of a system request.
fn one_letter(text: &str) -> Result<String, String> {
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if letter.is_ascii_graphic() => Ok(String::from(letter)),
        _ => Err(String::from("give one letter")),
    }
}

#[cfg(test)]
mod tests {
    use super::{memory_kib, one_letter};

    #[test]
    fn amounts_of_memory() {
        for (text, kib) in [
            ("256", Some(256 << 10)),
            ("0", Some(0)),
            ("256m", Some(256 << 10)),
            ("256M", Some(256 << 10)),
            ("20000k", Some(20000)),
            ("4g", Some(4 << 20)),
            ("1T", Some(1 << 30)),
            ("4096b", Some(4)),
            ("4095b", Some(3)),
            ("", None),
            ("m", None),
            ("4x", None),
            ("4mb", None),
            ("-4", None),
            ("4 m", None),
            ("0x10", None),
            ("18446744073709551615", None),
            ("18446744073709551615t", None),
            ("18446744073709551616b", None),
        ] {
            assert_eq!(memory_kib(text).ok(), kib, "{text:?}");
        }
    }

    #[test]
    fn a_system_request_is_one_letter() {
        for (text, good) in [("h", true), ("9", true), ("", false), ("hh", false), ("ü", false)] {
            assert_eq!(one_letter(text).is_ok(), good, "{text:?}");
        }
    }
}
