//! A private apt: resolves and downloads packages of any Debian release as an ordinary user.
//!
//! The mirror and the keyring are those of the machine's own apt configuration, read from
//! `/etc/apt` in either of its formats. State, lists and cache live under `target/lab/apt`;
//! the system's own package state is neither read nor changed. apt checks the signature of the
//! index and every download against it.

use crate::command;
use crate::error::{Context as _, Error, Result};
use crate::paths::Paths;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's keyring, used when the configuration names none.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One package as apt chose it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its full version, with epoch.
    pub version: String,
    /// The name of the downloaded file.
    pub file: String,
    /// Its length.
    pub size_bytes: u64,
    /// Its sha256 from the signed index, in hexadecimal.
    pub sha256: String,
}

/// One line of `sources.list` or one paragraph of a `.sources` file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// A Debian mirror: the main archive and, where known, the security archive.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror {
    main: String,
    security: Option<String>,
    signed_by: String,
}

/// apt with private state for one release.
pub struct Apt {
    release: String,
    config: PathBuf,
    lists: PathBuf,
    updated: bool,
}

impl Apt {
    /// Prepares the private state of `release`; fetches nothing yet.
    pub fn new(paths: &Paths, release: &str) -> Result<Apt> {
        let mirror = machine_mirror()?;
        let dir = paths.dir("apt")?.join(release);
        for sub in ["lists/partial", "cache/archives/partial", "parts"] {
            let path = dir.join(sub);
            std::fs::create_dir_all(&path).on("create", &path)?;
        }
        let sources = dir.join("sources.list");
        std::fs::write(&sources, sources_list(&mirror, release)).on("write", &sources)?;
        let status = dir.join("status");
        std::fs::write(&status, "").on("write", &status)?;
        let config = dir.join("apt.conf");
        std::fs::write(&config, configuration(&dir)).on("write", &config)?;
        Ok(Apt { release: release.into(), config, lists: dir.join("lists"), updated: false })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-q").arg("-c").arg(&self.config).env("LC_ALL", "C");
        command
    }

    /// Fetches the release's signed index.
    pub fn update(&mut self) -> Result<()> {
        let mut command = self.command("apt-get");
        command.args(["-o", "APT::Update::Error-Mode=any", "update"]);
        command::output(&mut command).map_err(|error| self.explain(error))?;
        self.updated = true;
        Ok(())
    }

    /// The packages that `wanted` needs in an empty system, with their hashes.
    pub fn resolve(&mut self, wanted: &[String], suite: Option<&str>) -> Result<Vec<Package>> {
        if !self.updated && !has_index(&self.lists) {
            self.update()?;
        }
        let mut command = self.command("apt-get");
        command.args(["-y", "--no-install-recommends", "--print-uris"]);
        command.args(["-o", "Acquire::ForceHash=sha256"]);
        if let Some(suite) = suite {
            command.args(["-t", suite]);
        }
        let text = command::output(command.arg("install").args(wanted))?;
        parse_uris(&String::from_utf8_lossy(&text))
    }

    /// Downloads packages of exactly these versions into `dir`.
    pub fn download(&self, packages: &[&Package], dir: &Path) -> Result<()> {
        let mut command = self.command("apt-get");
        command.arg("download");
        command.args(packages.iter().map(|p| format!("{}={}", p.name, p.version)));
        command::output(command.current_dir(dir)).map(drop).map_err(|error| self.explain(error))
    }

    /// Adds the likely cause to a failed fetch.
    fn explain(&self, error: Error) -> Error {
        let text = crate::error::chain(&error);
        let gone = text.contains("404") || text.contains("does not have a Release file");
        if gone {
            return Error::Missing(format!(
                "Debian {release} is no longer (whole) on this machine's mirror: an old release \
                 moves to Debian's archive. Point apt at a mirror that still has it, for example \
                 by a line `deb URI {release} main` in /etc/apt/sources.list.d, or leave out what \
                 needs it.\n{text}",
                release = self.release
            ));
        }
        Error::Missing(format!("cannot fetch from Debian {}: {text}", self.release))
    }
}

fn has_index(lists: &Path) -> bool {
    std::fs::read_dir(lists).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    })
}

fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "Dir::State \"{dir}\";\nDir::State::Lists \"{dir}/lists\";\n\
         Dir::State::status \"{dir}/status\";\nDir::Cache \"{dir}/cache\";\n\
         Dir::Etc::SourceList \"{dir}/sources.list\";\nDir::Etc::SourceParts \"{dir}/parts\";\n\
         Dir::Etc::Preferences \"{dir}/preferences\";\nDir::Etc::PreferencesParts \"{dir}/parts\";\n\
         Acquire::Languages \"none\";\nAcquire::Check-Valid-Until \"false\";\n\
         Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
         Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled \"false\";\n\
         Acquire::Retries \"3\";\nAPT::Architecture \"amd64\";\n\
         #clear APT::Architectures;\nAPT::Architectures {{ \"amd64\"; }};\n\
         APT::Sandbox::User \"\";\n\
         #clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n\
         #clear DPkg::Post-Invoke;\n#clear DPkg::Pre-Install-Pkgs;\n"
    )
}

fn sources_list(mirror: &Mirror, release: &str) -> String {
    let signed = &mirror.signed_by;
    let mut text = format!("deb [signed-by={signed}] {} {release} main\n", mirror.main);
    if let Some(security) = &mirror.security {
        let _ = writeln!(text, "deb [signed-by={signed}] {security} {release}-security main");
    }
    // Backports of an old release leave the mirror before the release itself: only the default
    // release needs them.
    if release == "bookworm" {
        let _ = writeln!(text, "deb [signed-by={signed}] {} {release}-backports main", mirror.main);
    }
    text
}

/// Finds the Debian mirror in the machine's apt configuration.
fn machine_mirror() -> Result<Mirror> {
    let mut sources = Vec::new();
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = std::fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|ext| ext.to_str()) {
            Some("list") => sources.extend(parse_list(&text)),
            Some("sources") => sources.extend(parse_deb822(&text)),
            _ => {}
        }
    }
    choose_mirror(&sources).ok_or_else(|| {
        Error::Missing(
            "no Debian mirror in /etc/apt/sources.list or /etc/apt/sources.list.d: the lab takes \
             its packages from the machine's own mirror. Add a line `deb URI bookworm main`."
                .into(),
        )
    })
}

/// Releases by whose names Debian's main archive is recognised.
const RELEASES: [&str; 8] =
    ["bullseye", "bookworm", "trixie", "forky", "sid", "stable", "oldstable", "testing"];

fn choose_mirror(sources: &[Source]) -> Option<Mirror> {
    let usable = |source: &&Source| source.components.iter().any(|name| name == "main");
    let names = |source: &Source, end: &str| {
        source.suites.iter().any(|suite| RELEASES.iter().any(|r| *suite == format!("{r}{end}")))
    };
    let main = sources.iter().filter(usable).find(|source| names(source, ""))?;
    let security = sources.iter().filter(usable).find(|source| names(source, "-security"));
    Some(Mirror {
        main: main.uri.clone(),
        security: security.map(|source| source.uri.clone()),
        signed_by: main.signed_by.clone().unwrap_or_else(|| KEYRING.into()),
    })
}

/// Parses the one-line format.
fn parse_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_list_line).collect()
}

fn parse_list_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let mut rest = line.strip_prefix("deb")?.trim_start();
    if !line[3..].starts_with([' ', '\t']) {
        return None;
    }
    let mut signed_by = None;
    if let Some(options) = rest.strip_prefix('[') {
        let (options, after) = options.split_once(']')?;
        signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .filter(|value| value.starts_with('/'))
            .map(String::from);
        rest = after.trim_start();
    }
    let mut words = rest.split_whitespace().map(String::from);
    Some(Source {
        uri: words.next()?,
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by,
    })
}

/// Parses the paragraph format (deb822).
fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for paragraph in text.split("\n\n") {
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        let mut last = String::new();
        for line in paragraph.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with([' ', '\t']) {
                if let Some(value) = fields.get_mut(&last) {
                    value.push(' ');
                    value.push_str(line.trim());
                }
            } else if let Some((name, value)) = line.split_once(':') {
                last = name.trim().to_ascii_lowercase();
                fields.insert(last.clone(), value.trim().into());
            }
        }
        let words = |name: &str| -> Vec<String> {
            fields
                .get(name)
                .map_or_else(Vec::new, |value| value.split_whitespace().map(String::from).collect())
        };
        let enabled = fields.get("enabled").is_none_or(|value| value != "no");
        if !enabled || !words("types").iter().any(|kind| kind == "deb") {
            continue;
        }
        for uri in words("uris") {
            sources.push(Source {
                uri,
                suites: words("suites"),
                components: words("components"),
                signed_by: words("signed-by").first().filter(|v| v.starts_with('/')).cloned(),
            });
        }
    }
    sources
}

/// Parses `apt-get --print-uris` lines: `'URI' FILE SIZE SHA256:HEX`.
fn parse_uris(text: &str) -> Result<Vec<Package>> {
    let bad = |line: &str| Error::Missing(format!("apt gave no sha256 for a package: {line}"));
    let mut packages = Vec::new();
    for line in text.lines().filter(|line| line.starts_with('\'')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, file, size, hash, ..] = words[..] else { return Err(bad(line)) };
        let mut parts = file.split('_');
        let (Some(name), Some(version)) = (parts.next(), parts.next()) else {
            return Err(bad(line));
        };
        packages.push(Package {
            name: name.into(),
            version: version.replace("%3a", ":"),
            file: file.into(),
            size_bytes: size.parse().map_err(|_| bad(line))?,
            sha256: hash.strip_prefix("SHA256:").ok_or_else(|| bad(line))?.to_ascii_lowercase(),
        });
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, parse: fn(&str) -> Vec<Source>, main: &str, security: Option<&str>) {
        let mirror = choose_mirror(&parse(text)).expect("a mirror");
        assert_eq!(mirror.main, main);
        assert_eq!(mirror.security.as_deref(), security);
    }

    #[test]
    fn mirrors_of_both_formats() {
        check(
            "# comment\ndeb-src http://src.example/debian bookworm main\n\
             deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian bookworm main contrib\n\
             deb http://s.example/security bookworm-security main # end\n",
            parse_list,
            "http://a.example/debian",
            Some("http://s.example/security"),
        );
        check(
            "Types: deb\n# note\nURIs: http://a.example/debian\nSuites: bookworm\n bookworm-updates\n\
             Components: main\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://x.example/other\n\
             Suites: nodistro\nComponents: main\n",
            parse_deb822,
            "http://a.example/debian",
            None,
        );
        check(
            "Types: deb\nEnabled: no\nURIs: http://off.example\nSuites: bookworm\nComponents: main\n\n\
             Types: deb deb-src\nURIs: http://on.example\nSuites: trixie\nComponents: main\n",
            parse_deb822,
            "http://on.example",
            None,
        );
    }

    #[test]
    fn foreign_sources_give_no_mirror() {
        assert_eq!(choose_mirror(&parse_list("deb http://x.example/apt cloud main\n")), None);
        assert_eq!(choose_mirror(&parse_list("debris http://x.example bookworm main\n")), None);
    }

    #[test]
    fn uris_with_epochs_and_hashes() {
        let text =
            "Reading...\n'http://m/p/q_1%253a2_amd64.deb' q_1%3a2-3_amd64.deb 17 SHA256:AB\n";
        let packages = parse_uris(text).expect("parses");
        assert_eq!(packages[0].name, "q");
        assert_eq!(packages[0].version, "1:2-3");
        assert_eq!(packages[0].sha256, "ab");
        assert!(parse_uris("'u' q_1_amd64.deb 17 MD5Sum:ab\n").is_err());
    }
}
