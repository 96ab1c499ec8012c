//! The arguments of each verb, and what a line of them reads as.

use super::TemplateArgs;
use super::number;
use crate::host::judge::Feature;
use clap::{ArgAction, Args, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::ffi::OsString;
use std::path::PathBuf;

/// Arguments of `create`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct CreateArgs {
    /// The configuration file (- for standard input), and KEY=VALUE assignments that override it
    ///
    /// An assignment is a line of xl.cfg: strings keep their quotes, as in 'name="web"'.
    #[arg(value_name = "FILE | KEY=VALUE")]
    pub arguments: Vec<String>,

    /// The configuration file, where its name cannot stand as an argument
    #[arg(short = 'f', long = "defconfig", value_name = "FILE")]
    pub file: Option<String>,

    /// Leave the domain paused
    #[arg(short = 'p')]
    pub paused: bool,

    /// Attach to the console before the domain runs
    #[arg(short = 'c')]
    pub console: bool,

    /// Do not print warnings
    #[arg(short, long)]
    pub quiet: bool,

    /// Show what would be done, as text or JSON, and do nothing
    #[arg(short = 'n', long, alias = "dryrun", value_name = "FORMAT", num_args = 0..=1)]
    #[arg(default_missing_value = "text", require_equals = true)]
    pub dry_run: Option<PlanFormat>,

    /// Stay until the domain ends, and do then what its configuration says (on_poweroff and its kin)
    #[arg(short = 'F')]
    pub foreground: bool,

    /// Fail just before this step of the plan, to see that everything is undone
    #[arg(long, hide = true, value_name = "N")]
    pub fail_before_step: Option<usize>,

    /// Stop just before this step of the plan until SIGCONT comes, to see what is left by a kill
    #[arg(long, hide = true, value_name = "N")]
    pub stop_before_step: Option<usize>,

    /// What a template is given; the flags are added to the definition of all verbs only.
    #[arg(skip)]
    pub template: TemplateArgs,
}

/// How a plan is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Reads `-njson` as `-n=json`: clap would take it for five flags. Words after `--` are none.
pub(super) fn separate_plan_format(arguments: &mut [OsString]) {
    for argument in arguments.iter_mut().take_while(|argument| *argument != "--") {
        let format = argument.to_str().and_then(|text| text.strip_prefix("-n"));
        if let Some(format @ ("json" | "text")) = format {
            *argument = OsString::from(format!("-n={format}"));
        }
    }
}

impl CreateArgs {
    /// Brings the configuration file to the front, wherever it stands among the assignments.
    ///
    /// # Errors
    /// What cannot be meant: two files, or the format of a plan apart from its flag.
    pub fn put_file_first(&mut self) -> Result<(), String> {
        self.arguments.sort_by_key(|argument| argument.contains('='));
        let given = self.file.iter().chain(&self.arguments).filter(|a| !a.contains('='));
        let format = given.clone().find(|file| matches!(file.as_str(), "json" | "text"));
        if let (Some(format), Some(_)) = (format, self.dry_run) {
            return Err(format!(
                "{format} is taken for a file here; write --dry-run={format} for the plan in that \
                 form, ./{format} for the file"
            ));
        }
        let first = self.arguments.first().filter(|argument| !argument.contains('='));
        let second = match (&self.file, first) {
            (Some(file), Some(second)) => Some((file, second)),
            _ => first.zip(self.arguments.get(1).filter(|argument| !argument.contains('='))),
        };
        match second {
            Some((first, second)) => Err(format!(
                "two configuration files, {first} and {second}: create makes one domain from one \
                 file; settings after it are written KEY=VALUE"
            )),
            None => Ok(()),
        }
    }

    /// The configuration file and the assignments, told apart as xl does: the first argument is the
    /// file unless it holds an equals sign or a file was given by flag.
    #[must_use]
    pub fn file_and_assignments(&self) -> (Option<&str>, &[String]) {
        file_and_assignments(self.file.as_deref(), &self.arguments)
    }
}

fn file_and_assignments<'a>(
    file: Option<&'a str>,
    arguments: &'a [String],
) -> (Option<&'a str>, &'a [String]) {
    match (file, arguments.split_first()) {
        (Some(file), _) => (Some(file), arguments),
        (None, Some((first, rest))) if !first.contains('=') => (Some(first), rest),
        (None, _) => (None, arguments),
    }
}

/// Arguments of `config-update`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ConfigUpdateArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// The configuration file (- for standard input), and KEY=VALUE assignments that override it
    #[arg(value_name = "FILE | KEY=VALUE")]
    pub arguments: Vec<String>,

    /// The configuration file, where its name cannot stand as an argument
    #[arg(short = 'f', long = "defconfig", value_name = "FILE")]
    pub file: Option<String>,
}

impl ConfigUpdateArgs {
    /// The configuration file and the assignments, told apart as for `create`.
    #[must_use]
    pub fn file_and_assignments(&self) -> (Option<&str>, &[String]) {
        file_and_assignments(self.file.as_deref(), &self.arguments)
    }
}

/// Arguments of `list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ListArgs {
    /// Only these domains, by name or domid
    #[arg(value_name = "DOMAIN")]
    pub domains: Vec<String>,

    /// Print each domain's whole configuration as JSON, as xl saves it
    #[arg(short, long)]
    pub long: bool,

    /// Add UUID, shutdown reason and security label
    #[arg(short, long)]
    pub verbose: bool,

    /// Add the security label
    #[arg(short = 'Z', long)]
    pub context: bool,

    /// Add the CPU pool
    #[arg(short, long)]
    pub cpupool: bool,

    /// Add the NUMA nodes that memory is taken from
    #[arg(short, long)]
    pub numa: bool,

    /// Print JSON, one object per domain
    #[arg(long, conflicts_with = "long")]
    pub json: bool,

    /// Print names only, one per line, without domain 0: what completions ask for
    #[arg(long, hide = true)]
    pub names: bool,
}

/// Arguments of `destroy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct DestroyArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// Accepted for the sake of scripts made for xl; domain 0 is refused all the same
    #[arg(short)]
    pub force: bool,
}

/// Which domains are to end, for `shutdown` and `reboot`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct EndingArgs {
    /// The domain, by name or domid
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub domain: Option<String>,

    /// All domains that xlr made
    #[arg(short, long)]
    pub all: bool,

    /// Accepted for the sake of scripts made for xl; it concerns HVM guests only
    #[arg(short = 'F', hide = true)]
    pub fallback_trigger: bool,
}

/// Arguments of `shutdown`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ShutdownArgs {
    /// Which domains.
    #[command(flatten)]
    pub ending: EndingArgs,

    /// Wait until the domain has shut down, then remove it, unless its configuration says that it
    /// is preserved or started again; twice to wait until it is gone
    ///
    /// The second form leaves the removal to whoever else manages the domain.
    #[arg(short, long, action = ArgAction::Count)]
    pub wait: u8,
}

/// Arguments of `reboot`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct RebootArgs {
    /// Which domains.
    #[command(flatten)]
    pub ending: EndingArgs,

    /// Wait for a domain of another toolstack, too; for those that xlr made it always waits, as it
    /// is what starts them again
    #[arg(short, long, action = ArgAction::Count)]
    pub wait: u8,

    /// Stop at this point of the restart until SIGCONT comes, to see what is left by a kill
    #[arg(long, hide = true, value_name = "N")]
    pub stop_in_restart: Option<usize>,
}

/// Arguments of `wait`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct WaitArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// What to wait for
    #[arg(short, long, value_enum, default_value_t = Until::Shutdown)]
    pub until: Until,

    /// Give up after so many seconds, with exit code 124
    #[arg(short, long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// What `wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Until {
    /// It has been let run; one that is not there yet is waited for
    Running,
    /// It has shut down, in whatever way, or is gone
    Shutdown,
    /// It has crashed, or its watchdog has ended it: sure to be seen only where on_crash preserves it
    Crashed,
    /// There is no such domain, and none that is being started in its place
    Gone,
}

/// Arguments of `supervise`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct SuperviseArgs {
    /// Stop at this point of each restart until SIGCONT comes, to see what is left by a kill
    #[arg(long, hide = true, value_name = "N")]
    pub stop_in_restart: Option<usize>,
}

/// A domain and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct DomainArg {
    /// The domain, by name or domid
    pub domain: String,
}

/// Arguments of `events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct EventsArgs {
    /// Print each as one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `metrics`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct MetricsArgs {
    /// Write them to this file, which is replaced at once; for node_exporter's textfile collector
    #[arg(long, value_name = "FILE", conflicts_with = "listen")]
    pub file: Option<PathBuf>,

    /// Stay, and serve them at /metrics: on ADDRESS:PORT, or on a unix socket with unix:PATH
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
}

/// Arguments of `top`.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct TopArgs {
    /// Seconds between two looks
    #[arg(short, long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub delay: f64,

    /// Print lines, for programs, in place of a screen
    #[arg(short, long)]
    pub batch: bool,

    /// End after so many looks
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub iterations: Option<u64>,

    /// Show a line per interface
    #[arg(short, long)]
    pub networks: bool,

    /// Show a line per disk
    #[arg(short = 'x', long)]
    pub vbds: bool,

    /// Show a line per vcpu
    #[arg(short, long)]
    pub vcpus: bool,

    /// Print the headings before every domain
    #[arg(short, long)]
    pub repeat_header: bool,

    /// Show names in full
    #[arg(short, long)]
    pub full_name: bool,

    /// Show dom0 before all others, however it is sorted
    #[arg(short = 'z', long)]
    pub dom0_first: bool,
}

/// A time between two looks.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=86400.0).contains(&seconds) => Ok(seconds),
        _ => Err(String::from("seconds from 0.1 to 86400")),
    }
}

/// Arguments of `dump-core`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct DumpCoreArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// The file; without it /var/lib/xen/dump/NAME-TIME
    pub file: Option<PathBuf>,
}

/// Arguments of `console`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ConsoleArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// Kind of console; only pv is supported
    #[arg(short = 't', value_name = "TYPE", default_value = "pv", value_parser = ["pv"])]
    pub kind: String,

    /// Number of the console: 0 is the first, channels are counted from 1
    #[arg(short = 'n', value_name = "NUMBER", default_value = "0", value_parser = console_number)]
    pub number: u16,

    /// The key that detaches, as ^ and a letter or as the character itself
    #[arg(short = 'e', value_name = "KEY", default_value = "^]", value_parser = key)]
    pub escape: u8,
}

/// Reads the number of a console.
fn console_number(text: &str) -> Result<u16, String> {
    number::digits(text).ok_or_else(|| {
        String::from("give a number: 0 is the first console, channels are counted from 1")
    })
}

/// Reads a key: `^X` is X with Ctrl.
fn key(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [only] => Ok(*only),
        // What a terminal sends for Ctrl and one of @, A to Z, [, \, ], ^, _.
        [b'^', key] if matches!(key.to_ascii_uppercase(), b'@'..=b'_') => {
            Ok(key.to_ascii_uppercase() & 0x1f)
        }
        _ => Err(String::from("write one character, or ^ and one for Ctrl with it, as in ^]")),
    }
}

/// Arguments of `channel-list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ChannelListArgs {
    /// The domains, by name or domid
    #[arg(value_name = "DOMAIN", required = true)]
    pub domains: Vec<String>,

    /// Print JSON, one object per channel
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `domid`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct DomidArgs {
    /// The domain's name
    pub name: String,

    /// Print JSON: name and domid
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `domname`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct DomnameArgs {
    /// The domain's domid
    #[arg(value_parser = domid)]
    pub domid: u16,

    /// Print JSON: name and domid
    #[arg(long)]
    pub json: bool,
}

/// Reads a domid.
fn domid(text: &str) -> Result<u16, String> {
    number::digits(text).ok_or_else(|| {
        String::from(
            "Invalid domain id: give a number as list shows it; domid finds that of a name",
        )
    })
}

/// Arguments of `host`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct HostArgs {
    /// What to do
    #[command(subcommand)]
    pub what: HostVerb,
}

/// What `host` does.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum HostVerb {
    /// Tell what this host lacks for running domains, and how to mend it
    ///
    /// A line per feature: ok, degraded (it can be used, within limits), missing, or unknown (it
    /// could not be looked at, for want of rights). Nothing is changed. Works without root and
    /// without Xen, as far as that goes.
    Check(HostCheckArgs),
}

/// Arguments of `host check`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct HostCheckArgs {
    /// Only these features; they alone settle the exit code, too
    #[arg(value_name = "FEATURE")]
    pub features: Vec<Feature>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `info`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct InfoArgs {
    /// Print only the value of this fact
    #[arg(value_name = "KEY")]
    pub key: Option<String>,

    /// Add CPU topology and NUMA nodes
    #[arg(short, long)]
    pub numa: bool,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `dmesg`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct DmesgArgs {
    /// Clear the log after printing it
    #[arg(short, long)]
    pub clear: bool,

    /// Print JSON: the log as one text
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `generate`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct GenerateArgs {
    /// What to write
    #[command(subcommand)]
    pub what: Generated,
}

/// What `generate` writes.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Generated {
    /// Completions for a shell, to standard output
    ///
    /// They are for the name xlr. Where it is called as xl, bash is told so once they are loaded, by
    /// complete -o bashdefault -o default -F _xlr_and_domains xl; zsh by compdef _xlr xl; fish by
    /// complete -c xl -w xlr.
    Completions {
        /// The shell
        shell: Shell,
    },
    /// One man page per verb, into a folder
    Man {
        /// The folder; it is made if it does not exist
        folder: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Verb, read};
    use super::*;

    fn cli(line: &str) -> Result<Cli, clap::Error> {
        read(std::iter::once("xlr").chain(line.split_whitespace()).map(Into::into))
    }

    fn create(line: &str) -> CreateArgs {
        match cli(&format!("create {line}")).expect(line).verb {
            Verb::Create(arguments) => arguments,
            other => panic!("{line}: {other:?}"),
        }
    }

    /// What `create` takes for file and assignments.
    fn check(line: &str, file: Option<&str>, assignments: &[&str]) {
        let arguments = create(line);
        let (found_file, found) = arguments.file_and_assignments();
        assert_eq!(found_file, file, "{line}");
        assert_eq!(found, assignments, "{line}");
    }

    #[test]
    fn create_tells_file_and_assignments_apart() {
        check("a.cfg", Some("a.cfg"), &[]);
        check("a.cfg memory=1 vcpus=2", Some("a.cfg"), &["memory=1", "vcpus=2"]);
        check("memory=1", None, &["memory=1"]);
        check("-f a=b.cfg memory=1", Some("a=b.cfg"), &["memory=1"]);
        check("--defconfig=a.cfg memory=1", Some("a.cfg"), &["memory=1"]);
        check("-", Some("-"), &[]);
        check("", None, &[]);
        check("-p a.cfg -c memory=1", Some("a.cfg"), &["memory=1"]);
    }

    #[test]
    fn create_flags() {
        let flags = create("-p -c -q a.cfg");
        assert!(flags.paused && flags.console && flags.quiet);
        assert_eq!(create("a.cfg --dry-run").dry_run, Some(PlanFormat::Text));
        assert_eq!(create("--dry-run a.cfg").dry_run, Some(PlanFormat::Text));
        assert_eq!(create("-n a.cfg").dry_run, Some(PlanFormat::Text));
        assert_eq!(create("--dry-run=json a.cfg").dry_run, Some(PlanFormat::Json));
        assert_eq!(create("--fail-before-step 3 a.cfg").fail_before_step, Some(3));
        assert!(cli("-N create a.cfg").expect("global -N").flags.dry_run);
        assert_eq!(cli("-vv list").expect("global -v").flags.verbose, 2);
    }

    #[test]
    fn verbs_may_be_shortened_while_unambiguous() {
        assert!(matches!(cli("li").expect("li").verb, Verb::List(_)));
        assert!(matches!(cli("cr a.cfg").expect("cr").verb, Verb::Create(_)));
        assert!(matches!(cli("domi n").expect("domi").verb, Verb::Domid(_)));
        assert!(matches!(cli("dest n").expect("dest").verb, Verb::Destroy(_)));
        assert!(matches!(cli("-v vcpu-l").expect("after a flag").verb, Verb::VcpuList(_)));
        for ambiguous in ["c a.cfg", "dom n", "d n", "l", "con 3"] {
            assert!(cli(ambiguous).is_err(), "{ambiguous}");
        }
    }

    /// One file, at any place; everything else is refused with a word.
    #[test]
    fn create_takes_one_file() {
        let arguments = create("memory=1 a.cfg vcpus=2");
        assert_eq!(arguments.file_and_assignments().0, Some("a.cfg"));
        assert_eq!(arguments.file_and_assignments().1, ["memory=1", "vcpus=2"]);
        for (line, words) in [
            ("create a.cfg b.cfg", "two configuration files, a.cfg and b.cfg"),
            ("create a.cfg memory=1 b.cfg", "two configuration files, a.cfg and b.cfg"),
            ("create -f a.cfg b.cfg", "two configuration files, a.cfg and b.cfg"),
            ("create -n json a.cfg", "--dry-run=json"),
            ("create -n json", "--dry-run=json"),
            ("create a.cfg -n text", "--dry-run=text"),
            ("create -nyaml a.cfg", "unexpected argument '-y'"),
        ] {
            let error = cli(line).expect_err(line).to_string();
            assert!(error.contains(words), "{line}: {error}");
        }
        assert_eq!(create("-n=json a.cfg").dry_run, Some(PlanFormat::Json));
        assert_eq!(create("-njson a.cfg").dry_run, Some(PlanFormat::Json));
        assert_eq!(create("-n ./json").file_and_assignments().0, Some("./json"));
    }

    #[test]
    fn keys() {
        for (text, byte) in [
            ("^]", Some(0x1d)),
            ("^a", Some(1)),
            ("^A", Some(1)),
            ("^@", Some(0)),
            ("q", Some(b'q')),
            ("^", Some(b'^')),
            ("", None),
            ("^1", None),
            ("ab", None),
            ("^ab", None),
        ] {
            assert_eq!(key(text).ok(), byte, "{text:?}");
        }
    }

    #[test]
    fn shutdown_needs_a_domain_or_all() {
        let shutdown = |line: &str| match cli(line).expect(line).verb {
            Verb::Shutdown(arguments) => arguments,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(shutdown("shutdown -w 3").wait, 1);
        assert_eq!(shutdown("shutdown -ww 3").wait, 2);
        assert!(shutdown("shutdown -a").ending.all);
        assert!(cli("shutdown").is_err());
        assert!(cli("shutdown -a 3").is_err());
    }

    #[test]
    fn list_and_info_flags() {
        let list = cli("list --json -v hpc 3").expect("list").verb;
        let Verb::List(list) = list else { panic!("{list:?}") };
        assert!(list.json && list.verbose && !list.cpupool);
        assert_eq!(list.domains, ["hpc", "3"]);
        let info = cli("info virt_caps").expect("a key").verb;
        assert!(matches!(info, Verb::Info(InfoArgs { key: Some(key), .. }) if key == "virt_caps"));
        assert!(cli("domname hpc").is_err() && cli("domname +1").is_err());
        assert!(cli("console -t vnc 3").is_err());
        assert!(cli("console -n -1 3").is_err());
    }
}
