//! `policy.toml` into a [`Policy`].
//!
//! In: text. Out: rules with their lines. A key that is not known is an error: a slip would lift a
//! limit. Pure.

use super::{Policy, Ruled, Rules};
use crate::template::ranges;
use domain_builder::spec::EndAction;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// What is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Wrong {
    /// The line.
    pub line: usize,
    /// What.
    pub what: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    memory: Option<Memory>,
    vcpus: Option<Vcpus>,
    kernel: Option<Hashes>,
    ramdisk: Option<Hashes>,
    image: Option<Images>,
    pinning: Option<Pinning>,
    #[serde(default)]
    force: BTreeMap<Spanned<String>, EndAction>,
    devices: Option<Devices>,
    #[serde(default)]
    user: BTreeMap<String, User>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    #[serde(default)]
    exempt: bool,
    memory: Option<Memory>,
    vcpus: Option<Vcpus>,
    kernel: Option<Hashes>,
    ramdisk: Option<Hashes>,
    image: Option<Images>,
    pinning: Option<Pinning>,
    #[serde(default)]
    force: BTreeMap<Spanned<String>, EndAction>,
    devices: Option<Devices>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    max: Spanned<Amount>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Amount {
    Mib(u32),
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vcpus {
    max: Spanned<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hashes {
    sha256: Spanned<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Images {
    sha256: Spanned<Vec<String>>,
    writable: Option<Spanned<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pinning {
    required: Option<Spanned<bool>>,
    cpus: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Devices {
    disk: Option<Spanned<Vec<String>>>,
    vif: Option<Spanned<Vec<String>>>,
    pci: Option<Spanned<Vec<String>>>,
    rdma: Option<Spanned<Vec<String>>>,
    channel: Option<Spanned<Vec<String>>>,
    raw: Option<Spanned<bool>>,
}

/// Keys of `[force]`.
const FORCED: [&str; 5] = ["on_poweroff", "on_reboot", "on_watchdog", "on_crash", "on_soft_reset"];

/// Reads a policy.
///
/// # Errors
/// [`Wrong`]: it is no TOML, or holds what no policy does.
pub fn parse(text: &str) -> Result<Policy, Wrong> {
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        Wrong { line: line(text, at), what: error.message().to_owned() }
    })?;
    let reader = Reader { text };
    let mut users = BTreeMap::new();
    for (name, user) in file.user {
        let exempt = user.exempt;
        let own = reader.rules(File {
            memory: user.memory,
            vcpus: user.vcpus,
            kernel: user.kernel,
            ramdisk: user.ramdisk,
            image: user.image,
            pinning: user.pinning,
            force: user.force,
            devices: user.devices,
            user: BTreeMap::new(),
        })?;
        if exempt && own != Rules::default() {
            let what = format!("user.{name} is exempt, and has rules: remove one of the two");
            return Err(Wrong { line: 1, what });
        }
        users.insert(name, (!exempt).then_some(own));
    }
    let rules = reader.rules(File { user: BTreeMap::new(), ..file })?;
    Ok(Policy { rules, users })
}

fn line(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
}

struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn ruled<T, U>(
        &self,
        given: Spanned<T>,
        read: impl Fn(T) -> Result<U, String>,
    ) -> Result<Ruled<U>, Wrong> {
        let line = line(self.text, given.span().start);
        let value = read(given.into_inner()).map_err(|what| Wrong { line, what })?;
        Ok(Ruled { value, line })
    }

    fn rules(&self, file: File) -> Result<Rules, Wrong> {
        let hashes = |hashes: Option<Hashes>| {
            hashes.map(|hashes| self.ruled(hashes.sha256, all_hashes)).transpose()
        };
        let (mut image, mut writable) = (None, None);
        if let Some(images) = file.image {
            image = Some(self.ruled(images.sha256, all_hashes)?);
            writable = images.writable.map(|list| self.ruled(list, Ok)).transpose()?;
        }
        let (mut pinning, mut cpus) = (None, None);
        if let Some(given) = file.pinning {
            pinning = given.required.map(|required| self.ruled(required, Ok)).transpose()?;
            cpus = given
                .cpus
                .map(|cpus| self.ruled(cpus, |text| ranges::expand(&text)))
                .transpose()?;
        }
        let mut force = BTreeMap::new();
        for (key, action) in file.force {
            let line = line(self.text, key.span().start);
            let Some(known) = FORCED.iter().find(|known| **known == key.get_ref()) else {
                let what = format!("force has no {}: it has {}", key.get_ref(), FORCED.join(", "));
                return Err(Wrong { line, what });
            };
            force.insert(*known, Ruled { value: action, line });
        }
        let (mut devices, mut raw) = (BTreeMap::new(), None);
        if let Some(given) = file.devices {
            let classes = [
                ("disk", given.disk),
                ("vif", given.vif),
                ("pci", given.pci),
                ("rdma", given.rdma),
                ("channel", given.channel),
            ];
            for (class, list) in classes {
                if let Some(list) = list {
                    devices.insert(class, self.ruled(list, Ok)?);
                }
            }
            raw = given.raw.map(|raw| self.ruled(raw, Ok)).transpose()?;
        }
        Ok(Rules {
            memory_max_kib: file.memory.map(|memory| self.ruled(memory.max, amount)).transpose()?,
            vcpus_max: file.vcpus.map(|vcpus| self.ruled(vcpus.max, Ok)).transpose()?,
            kernel: hashes(file.kernel)?,
            ramdisk: hashes(file.ramdisk)?,
            image,
            writable,
            pinning,
            cpus,
            force,
            devices,
            raw,
        })
    }
}

fn amount(amount: Amount) -> Result<u64, String> {
    match amount {
        Amount::Mib(mib) => Ok(u64::from(mib) << 10),
        Amount::Text(text) => ranges::amount_kib(&text),
    }
}

fn all_hashes(hashes: Vec<String>) -> Result<Vec<String>, String> {
    for hash in &hashes {
        if hash.len() != 64 || !hash.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(format!(
                "{hash:?} is no SHA-256: 64 hexadecimal digits, as sha256sum prints"
            ));
        }
    }
    Ok(hashes.into_iter().map(|hash| hash.to_ascii_lowercase()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(text: &str, at: usize, words: &str) {
        let wrong = parse(text).expect_err(text);
        assert_eq!(wrong.line, at, "{text:?}: {wrong}");
        assert!(wrong.what.contains(words), "{text:?}: {wrong}");
    }

    #[test]
    fn a_policy_has_its_lines() {
        let hash = "AB".repeat(32);
        let text = format!(
            "[memory]\nmax = '16G'\n[vcpus]\nmax = 8\n[kernel]\nsha256 = ['{hash}']\n[pinning]\n\
             required = true\ncpus = '2-5'\n[force]\non_crash = 'destroy'\n[devices]\npci = []\n\
             [user.alice.memory]\nmax = 64\n[user.root]\nexempt = true\n"
        );
        let policy = parse(&text).expect("a policy");
        let rules = &policy.rules;
        assert_eq!(rules.memory_max_kib, Some(Ruled { value: 16 << 20, line: 2 }));
        assert_eq!(rules.vcpus_max, Some(Ruled { value: 8, line: 4 }));
        let kernel = Ruled { value: vec![hash.to_lowercase()], line: 6 };
        assert_eq!(rules.kernel, Some(kernel));
        assert_eq!(rules.cpus, Some(Ruled { value: vec![2, 3, 4, 5], line: 9 }));
        assert_eq!(rules.force["on_crash"], Ruled { value: EndAction::Destroy, line: 11 });
        assert_eq!(rules.devices["pci"], Ruled { value: Vec::new(), line: 13 });
        let names = |name: &str| [name.to_owned(), String::from("1000")];
        let alice = policy.rules_for(&names("alice")).expect("rules");
        assert_eq!(alice.memory_max_kib, Some(Ruled { value: 64 << 10, line: 15 }));
        assert_eq!(alice.vcpus_max, rules.vcpus_max);
        assert_eq!(policy.rules_for(&names("root")), None);
        assert_eq!(policy.rules_for(&names("bob")).as_ref(), Some(rules));
        assert_eq!(parse(""), Ok(Policy::default()));
    }

    #[test]
    fn what_is_no_policy_is_refused_at_its_line() {
        refuse("[memory]\nmax = 'lots'", 2, "no amount");
        refuse("[memory]\nmaximum = 4", 2, "unknown field");
        refuse("[memmory]\nmax = 4", 1, "unknown field");
        refuse("[kernel]\nsha256 = ['abc']", 2, "no SHA-256");
        refuse("\n[pinning]\ncpus = 'nodes:0'", 3, "no range");
        refuse("[force]\n\non_crash = 'explode'", 3, "unknown variant");
        refuse("[force]\nmemory = 'destroy'", 2, "force has no memory");
        refuse("a = ", 1, "");
        refuse("[user.a]\nexempt = true\n[user.a.vcpus]\nmax = 1", 1, "exempt");
    }
}
