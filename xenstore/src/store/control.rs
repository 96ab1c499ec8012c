//! CONTROL, GET_QUOTA and SET_QUOTA: what an operator asks of the daemon.
//!
//! The commands of C xenstored that concern the store, with its arguments; what they say is laid
//! out as there. Files, logs and consoles are the server's business: they come out as effects.

use std::fmt::Write as _;

use super::State;
use super::changes::{Changes, Effect};
use super::perform::Failed;
use super::quota::{Limits, Quota};
use crate::wire::Reply;
use crate::{Domid, Errno};

/// Commands and their parameters, as `help` shows them.
const COMMANDS: [(&str, &str); 8] = [
    ("check", ""),
    ("log", "on|off"),
    ("logfile", "<file>"),
    ("memreport", "[<file>]"),
    ("print", "<string>"),
    ("quota", "[set <name> <val>|<domid>]"),
    ("quota-soft", "[set <name> <val>]"),
    ("help", ""),
];

impl State {
    pub(super) fn control(
        &mut self,
        changes: &mut Changes,
        command: &str,
        parameters: &[u8],
    ) -> Result<Reply, Failed> {
        let parameters = words(parameters)?;
        let parameters: Vec<&str> = parameters.iter().map(String::as_str).collect();
        let effect = match (command, parameters.as_slice()) {
            ("check", []) => {
                let findings = self.check();
                let text = if findings.is_empty() {
                    "the store is consistent\n".to_owned()
                } else {
                    findings.join("\n") + "\n"
                };
                Effect::Report { file: None, text }
            }
            ("log", ["on"]) => Effect::Log(true),
            ("log", ["off"]) => Effect::Log(false),
            ("logfile", [file]) => Effect::LogFile((*file).to_owned()),
            ("memreport", []) => Effect::Report { file: None, text: self.memory_report() },
            ("memreport", [file]) => {
                Effect::Report { file: Some((*file).to_owned()), text: self.memory_report() }
            }
            ("print", [text]) => Effect::Print((*text).to_owned()),
            ("quota", []) => return Ok(text(&self.quota_table())),
            ("quota", ["set", name, value]) => {
                let quota = Quota::from_name(name).ok_or(Errno::Einval)?;
                self.limits.set(quota, positive(value)?);
                return Ok(text("OK"));
            }
            ("quota", [domid]) => return Ok(text(&self.usage_table(number(domid)?)?)),
            ("quota-soft", []) => {
                let row = row("memory", u64::from(self.soft_memory));
                return Ok(text(&format!("Quota settings:\n{row} {}\n", SOFT_MEMORY)));
            }
            ("quota-soft", ["set", "memory", value]) => {
                self.soft_memory = positive(value)?;
                return Ok(text("OK"));
            }
            ("help", []) => return Ok(text(&help())),
            _ => return Err(Errno::Einval.into()),
        };
        changes.effects.push(effect);
        Ok(text("OK"))
    }

    /// Sets a limit of every domain that has none of its own; 0 lifts it.
    pub fn set_limit(&mut self, quota: Quota, limit: u32) {
        self.limits.set(quota, limit);
    }

    /// Sets the bytes above which a guest's memory is worth a warning.
    pub fn set_soft_memory(&mut self, bytes: u32) {
        self.soft_memory = bytes;
    }

    /// Whether a domain uses more memory than is worth a warning.
    #[must_use]
    pub fn is_above_soft_memory(&self, domid: Domid) -> bool {
        domid != Domid::DOM0
            && self.usage(domid).is_some_and(|usage| usage.memory >= u64::from(self.soft_memory))
    }

    pub(super) fn get_quota(
        &self,
        domid: Option<Domid>,
        quota: Option<&str>,
    ) -> Result<String, Failed> {
        let Some(name) = quota else {
            return Ok(Quota::ALL.map(Quota::name).join(" "));
        };
        let quota = Quota::from_name(name).ok_or(Errno::Einval)?;
        let own = match domid {
            Some(domid) => &self.domains.get(&domid).ok_or(Errno::Enoent)?.limits,
            None => &Limits::default(),
        };
        let limit = self.limits.of(own, quota);
        // No limit is written as 0.
        Ok(if limit == u64::MAX { "0".to_owned() } else { limit.to_string() })
    }

    pub(super) fn set_quota(
        &mut self,
        domid: Option<Domid>,
        name: &str,
        limit: u32,
    ) -> Result<(), Failed> {
        let quota = Quota::from_name(name).ok_or(Errno::Einval)?;
        let limits = match domid {
            Some(domid) => &mut self.domains.get_mut(&domid).ok_or(Errno::Enoent)?.limits,
            None => &mut self.limits,
        };
        limits.set(quota, limit);
        Ok(())
    }

    fn quota_table(&self) -> String {
        let mut table = "Quota settings:\n".to_owned();
        for quota in Quota::ALL {
            let limit = self.limits.get(quota).unwrap_or(quota.default_limit());
            let _ = writeln!(table, "{} {}", row(quota.name(), limit.into()), quota.description());
        }
        table
    }

    fn usage_table(&self, domid: Domid) -> Result<String, Failed> {
        let usage = self.usage(domid).ok_or(Errno::Enoent)?;
        let mut table = format!("Domain {domid}:\n");
        for quota in Quota::ALL {
            let _ = writeln!(table, "{}", row(quota.name(), usage.of(quota)));
        }
        Ok(table)
    }

    /// Where memory goes: per domain what it is charged with, and sums.
    fn memory_report(&self) -> String {
        let mut report = String::from("domain      nodes    watches  transactions      bytes\n");
        for (domid, domain) in &self.domains {
            let usage = domain.usage;
            let _ = writeln!(
                report,
                "{domid:>6} {:>10} {:>10} {:>13} {:>10}",
                usage.nodes, usage.watches, usage.transactions, usage.memory
            );
        }
        let _ = writeln!(
            report,
            "{} connections, {} watches, {} transactions of guests",
            self.connections.len(),
            self.watches.len(),
            self.snapshots.len()
        );
        report
    }
}

const SOFT_MEMORY: &str = "bytes kept for a domain that are worth a warning";

fn row(name: &str, value: u64) -> String {
    format!("{name:<17}: {value:>8}")
}

fn help() -> String {
    COMMANDS.iter().fold(String::new(), |mut text, (command, parameters)| {
        let _ = writeln!(text, "{command:<15} {parameters}");
        text
    })
}

/// A textual answer, with its NUL.
fn text(text: &str) -> Reply {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    Reply::Control(bytes)
}

/// The parameters of a command, each of which ends with a NUL.
fn words(parameters: &[u8]) -> Result<Vec<String>, Failed> {
    let Some(body) = parameters.strip_suffix(&[0]) else {
        return if parameters.is_empty() { Ok(Vec::new()) } else { Err(Errno::Einval.into()) };
    };
    let word = |word: &[u8]| String::from_utf8(word.to_vec()).map_err(|_| Errno::Einval.into());
    body.split(|&byte| byte == 0).map(word).collect()
}

fn number(text: &str) -> Result<Domid, Failed> {
    Ok(Domid(crate::wire::decimal(text.as_bytes()).ok_or(Errno::Einval)?))
}

fn positive(text: &str) -> Result<u32, Failed> {
    let value = crate::wire::decimal(text.as_bytes()).filter(|&value: &u32| value > 0);
    Ok(value.ok_or(Errno::Einval)?)
}
