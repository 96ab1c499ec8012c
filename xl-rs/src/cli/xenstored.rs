//! The arguments of `xenstored`. Letters and names are those of C xenstored where it has them.

use clap::Args;
use std::path::{Path, PathBuf};
use xenstore::store::Quota;

/// Arguments of `xenstored`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct XenstoredArgs {
    /// Stay in the foreground; messages go to standard error
    #[arg(short = 'N', long, alias = "no-fork")]
    pub foreground: bool,

    /// Write the number of the process that serves here, and hold a lock on the file
    #[arg(short = 'F', long, value_name = "FILE", default_value = "/run/xen/xenstored.pid")]
    pub pid_file: PathBuf,

    /// Where a log of all requests goes, from the start on; CONTROL log turns it off and on
    #[arg(short = 'T', long, value_name = "FILE")]
    pub trace_file: Option<PathBuf>,

    /// Set a quota of every guest: nodes, watches, transactions, outstanding, transaction-nodes,
    /// memory, permissions, path-max or node-size; 0 lifts it. A store that is taken up again keeps
    /// the quotas it has
    #[arg(short = 'Q', long = "quota", value_name = "NAME=NUMBER", value_parser = quota)]
    pub quotas: Vec<(Quota, u32)>,

    /// Set the quota nodes
    #[arg(short = 'E', long, value_name = "NUMBER")]
    pub entry_nb: Option<u32>,

    /// Set the quota node-size
    #[arg(short = 'S', long, value_name = "BYTES")]
    pub entry_size: Option<u32>,

    /// Set the quota watches
    #[arg(short = 'W', long, value_name = "NUMBER")]
    pub watch_nb: Option<u32>,

    /// Set the quota transactions
    #[arg(short = 't', long, value_name = "NUMBER")]
    pub transaction: Option<u32>,

    /// Set the quota permissions
    #[arg(short = 'A', long, value_name = "NUMBER")]
    pub perm_nb: Option<u32>,

    /// Set the quota path-max
    #[arg(short = 'M', long, value_name = "BYTES")]
    pub path_max: Option<u32>,

    /// Print the number of the process that serves
    #[arg(short = 'P', long)]
    pub output_pid: bool,

    /// For scripts of C xenstored: what it does with these does not exist here
    #[arg(
        short = 'V',
        short_aliases = ['D', 'R', 'L', 'K'],
        long = "no-recovery",
        aliases = ["no-domain-init", "preserve-local", "keep-orphans"],
        action = clap::ArgAction::Count,
        hide = true
    )]
    pub without_effect: u8,

    /// Set the bytes of a guest that are worth a warning
    #[arg(short = 'q', long, value_name = "memory=NUMBER", value_parser = soft_quota)]
    pub quota_soft: Option<u32>,

    /// Where the store is kept for the next xenstored, should this one be killed; in memory-backed storage
    #[arg(long, value_name = "FOLDER", default_value = "/run/xlr/xenstored")]
    pub state_directory: PathBuf,

    /// Let sockets close when this process ends, rather than have a small process hold them for the
    /// next xenstored
    #[arg(long)]
    pub no_keeper: bool,

    /// Keep all capabilities, files and system calls rather than those that serving takes; CONTROL
    /// logfile and memreport may then name a file outside /var/log/xen
    #[arg(long)]
    pub unconfined: bool,

    /// The process that holds sockets; its standard input is where a xenstored finds it
    #[arg(long, hide = true, exclusive = true)]
    pub keeper: bool,

    /// For tests: end by SIGKILL at a step
    #[arg(long, hide = true, value_name = "STEP:TIMES")]
    pub end_at: Option<String>,

    /// The process that serves: say on standard output when it is ready, and leave the terminal
    #[arg(long, hide = true, requires = "foreground")]
    pub detached: bool,
}

impl XenstoredArgs {
    /// Where it goes on to write: the state, the place of a keeper, the log, the trace.
    pub fn folders(&self) -> Vec<&Path> {
        let trace = self.trace_file.as_deref().and_then(Path::parent);
        let fixed = ["/run/xlr", "/var/log/xen"].map(Path::new);
        fixed.into_iter().chain([self.state_directory.as_path()]).chain(trace).collect()
    }

    /// The quotas that are given, by whichever option.
    pub fn all_quotas(&self) -> impl Iterator<Item = (Quota, u32)> {
        let letters = [
            (Quota::Nodes, self.entry_nb),
            (Quota::NodeSize, self.entry_size),
            (Quota::Watches, self.watch_nb),
            (Quota::Transactions, self.transaction),
            (Quota::Permissions, self.perm_nb),
            (Quota::PathMax, self.path_max),
        ];
        let letters = letters.into_iter().filter_map(|(quota, limit)| Some((quota, limit?)));
        letters.chain(self.quotas.iter().copied())
    }
}

fn split(text: &str) -> Result<(&str, u32), String> {
    let (name, number) = text.split_once('=').ok_or("write NAME=NUMBER")?;
    let number = super::number::digits(number).ok_or("give a number after the equals sign")?;
    Ok((name, number))
}

fn quota(text: &str) -> Result<(Quota, u32), String> {
    let (name, number) = split(text)?;
    let quota = Quota::from_name(name).ok_or_else(|| {
        format!("{name} is no quota; there are {}", Quota::ALL.map(Quota::name).join(", "))
    })?;
    Ok((quota, number))
}

fn soft_quota(text: &str) -> Result<u32, String> {
    match split(text)? {
        ("memory", number) => Ok(number),
        (name, _) => Err(format!("{name} has no such limit; memory has")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas() {
        assert_eq!(quota("nodes=7"), Ok((Quota::Nodes, 7)));
        assert_eq!(quota("node-permissions=0"), Ok((Quota::Permissions, 0)));
        for wrong in ["nodes", "nodes=", "nodes=x", "nodes=-1", "other=1", "nodes=4294967296"] {
            assert!(quota(wrong).is_err(), "{wrong}");
        }
        let letters = XenstoredArgs {
            entry_nb: Some(9),
            quotas: vec![(Quota::Watches, 3)],
            ..XenstoredArgs::default()
        };
        let all: Vec<_> = letters.all_quotas().collect();
        assert_eq!(all, [(Quota::Nodes, 9), (Quota::Watches, 3)]);
        assert_eq!(soft_quota("memory=5"), Ok(5));
        assert!(soft_quota("nodes=5").is_err());
    }
}
