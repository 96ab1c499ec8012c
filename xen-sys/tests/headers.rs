//! Compares the crate with Xen's and Linux's own headers, item by item.
//!
//! A build script lists every public structure, union, constant and alias from the crate's
//! sources. This test turns the list into a C program per set of headers, compiles it with `cc`,
//! runs it, and compares sizes, offsets and values. What no set of headers proves must stand in
//! `UNPROVEN` with its reason, and nothing else may.
//!
//! Run with `cargo test -p xen-sys --features header-check`, and in the environment
//! `XEN_HEADERS_4_14`, `XEN_HEADERS_4_17` and `XEN_HEADERS_4_20`: for each the include directory
//! of that release (the one that holds `xen/`), for example from Debian's `libxen-dev`. Headers of
//! further releases (`XEN_HEADERS_4_16` …) are compared as well where they are named.
//!
//! Headers prove the releases that they are of. That an item came or went in a release between two
//! of them, and that it holds beyond the newest, is stated from Xen's history.
//!
//! `LINUX_HEADERS` is where Linux's `xen/privcmd.h` lies, `/usr/include` unless it says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use xen_sys::Zeroed;
use xen_sys::revision::{DomctlRevision, SysctlRevision};

/// Releases whose headers must be given.
const REQUIRED: [u32; 3] = [14, 17, 20];

/// The layout existed in 4.15 or 4.16 only, and no Debian release carries those headers. Its size
/// is known from compiling the release's source.
const BETWEEN: &str = "a layout of 4.15 or 4.16 only; no Debian release has those headers";
/// The item is younger than the newest headers that Debian has.
const NEW: &str = "newer than 4.20, the newest headers in a Debian release";

/// Items that no required header proves, and why.
const UNPROVEN: &[(&str, &str)] = &[
    ("xen_sys::domctl::XEN_DOMCTL_GETDOMSTATE_CAP_CONTROL", NEW),
    ("xen_sys::domctl::XEN_DOMCTL_GETDOMSTATE_CAP_HARDWARE", NEW),
    ("xen_sys::domctl::XEN_DOMCTL_GETDOMSTATE_CAP_XENSTORE", NEW),
    ("xen_sys::domctl::XEN_DOMCTL_GETDOMSTATE_STATE_DEAD", NEW),
    ("xen_sys::domctl::XEN_DOMCTL_GETDOMSTATE_STATE_DYING", NEW),
    ("xen_sys::domctl::XEN_DOMCTL_GETDOMSTATE_STATE_EXIST", NEW),
    ("xen_sys::domctl::XEN_DOMCTL_GETDOMSTATE_STATE_SHUTDOWN", NEW),
    ("xen_sys::domctl::XEN_DOMCTL_get_domain_state", NEW),
    ("xen_sys::domctl::xen_domctl_createdomain_0x13", BETWEEN),
    ("xen_sys::domctl::xen_domctl_createdomain_0x14", BETWEEN),
    ("xen_sys::domctl::xen_domctl_get_domain_state", NEW),
    ("xen_sys::domctl::xen_domctl_getdomaininfo_0x13", BETWEEN),
    ("xen_sys::io::xs_wire::XS_GET_FEATURE", NEW),
    ("xen_sys::io::xs_wire::XS_GET_QUOTA", NEW),
    ("xen_sys::io::xs_wire::XS_SET_FEATURE", NEW),
    ("xen_sys::io::xs_wire::XS_SET_QUOTA", NEW),
    ("xen_sys::xen::DOMID_ANY", NEW),
];

struct Item {
    rust: &'static str,
    header: &'static str,
    linux: bool,
    c: &'static str,
    since: u32,
    until: u32,
    what: What,
}

enum What {
    Value(u64),
    Size(usize),
    Layout { size: usize, fields: &'static [Field] },
}

struct Field {
    c: &'static str,
    offset: usize,
    size: usize,
    since: u32,
    until: u32,
}

/// Size of a type, which must have a layout assertion.
const fn bound<T: Zeroed>() -> usize {
    size_of::<T>()
}

const fn width<T: Copy, F: Copy>(_: fn(T) -> F) -> usize {
    size_of::<F>()
}

const fn member<T: Copy, F: Copy>(_: fn(F) -> T) -> usize {
    size_of::<F>()
}

#[allow(clippy::unnecessary_cast)]
static INVENTORY: &[Item] = include!(concat!(env!("OUT_DIR"), "/inventory.rs"));

/// One set of headers.
struct Headers {
    name: String,
    include: PathBuf,
    /// `None` for Linux's.
    release: Option<u32>,
}

impl Headers {
    fn xen(release: u32) -> Option<Self> {
        let name = format!("XEN_HEADERS_4_{release}");
        let include = PathBuf::from(env::var_os(&name)?);
        assert!(
            include.join("xen/xen.h").exists(),
            "{name}={} has no xen/xen.h: it must be an include directory",
            include.display()
        );
        Some(Self { name: format!("xen-4.{release}"), include, release: Some(release) })
    }

    fn linux() -> Self {
        let include = env::var_os("LINUX_HEADERS").unwrap_or_else(|| "/usr/include".into());
        Self { name: "linux".into(), include: include.into(), release: None }
    }

    fn has(&self, linux: bool, since: u32, until: u32) -> bool {
        match self.release {
            Some(release) => !linux && (since..=until).contains(&release),
            None => linux,
        }
    }

    /// What the C compiler makes of the items: lines of a key and numbers.
    fn answers(&self) -> BTreeMap<String, String> {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&self.name);
        fs::create_dir_all(&dir).expect("make a directory");
        let source = dir.join("headers.c");
        let program = dir.join("headers");
        fs::write(&source, self.program(&dir)).expect("write the program");
        let mut cc = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
        cc.arg("-std=gnu11").arg("-o").arg(&program).arg("-I").arg(&dir);
        if self.release.is_some() {
            cc.arg("-I").arg(&self.include);
        }
        let out = cc.arg(&source).output().expect("run cc, the C compiler");
        let errors = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{}: an item is not in the headers:\n{errors}", self.name);
        let out = Command::new(&program).output().expect("run the program");
        assert!(out.status.success(), "{}: the program failed", self.name);
        let mut answers = BTreeMap::new();
        for line in String::from_utf8(out.stdout).expect("UTF-8").lines() {
            let (key, value) = line.split_once('=').expect("key=value");
            answers.insert(key.to_owned(), value.to_owned());
        }
        answers
    }

    fn program(&self, dir: &Path) -> String {
        let mut c = String::from(
            "#define __XEN_TOOLS__ 1\n\
             #include <stdint.h>\n#include <stddef.h>\n#include <stdio.h>\n#include <errno.h>\n",
        );
        if self.release.is_none() {
            // Linux's exported headers use types of a header that is not exported.
            let stub = dir.join("xen/interface");
            fs::create_dir_all(&stub).expect("make a directory");
            fs::write(stub.join("xen.h"), "").expect("write a header");
            c.push_str(
                "#include <sys/ioctl.h>\ntypedef uint16_t domid_t;\n\
                 typedef unsigned long xen_pfn_t;\ntypedef uint32_t grant_ref_t;\n",
            );
        }
        let headers: BTreeSet<_> = INVENTORY
            .iter()
            .filter(|item| self.has(item.linux, item.since, item.until))
            .map(|item| item.header)
            .collect();
        for header in headers {
            match self.release {
                Some(_) => writeln!(c, "#include <{header}>"),
                None => writeln!(c, "#include \"{}/{header}\"", self.include.display()),
            }
            .expect("write to a string");
        }
        c.push_str("int main(void)\n{\n");
        for (index, item) in INVENTORY.iter().enumerate() {
            self.statements(&mut c, index, item).expect("write to a string");
        }
        if self.release.is_some() {
            c.push_str(
                "printf(\"domctl=%u\\n\", XEN_DOMCTL_INTERFACE_VERSION);\n\
                 printf(\"sysctl=%u\\n\", XEN_SYSCTL_INTERFACE_VERSION);\n",
            );
        }
        c.push_str("return 0;\n}\n");
        c
    }

    fn statements(&self, c: &mut String, index: usize, item: &Item) -> std::fmt::Result {
        let name = item.c;
        let value = format!("printf(\"{index}=%llu\\n\", (unsigned long long)({name}));");
        if !self.has(item.linux, item.since, item.until) {
            // A constant that is said not to be there must not be there.
            if self.release.is_some() && !item.linux && matches!(item.what, What::Value(_)) {
                writeln!(c, "#ifdef {name}\n{value}\n#endif")?;
            }
            return Ok(());
        }
        match item.what {
            What::Value(_) => writeln!(c, "{value}"),
            What::Size(_) => writeln!(c, "printf(\"{index}=%zu\\n\", sizeof({name}));"),
            What::Layout { fields, .. } => {
                writeln!(c, "printf(\"{index}=%zu\\n\", sizeof({name}));")?;
                for (at, field) in fields.iter().enumerate() {
                    let member = field.c;
                    if self.has(item.linux, field.since, field.until) {
                        writeln!(
                            c,
                            "printf(\"{index}.{at}=%zu+%zu\\n\", offsetof({name}, {member}), \
                             sizeof((({name} *)0)->{member}));"
                        )?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Every disagreement, and the items that were compared.
    fn compare(&self) -> (Vec<String>, BTreeSet<&'static str>) {
        let answers = self.answers();
        let mut wrong = Vec::new();
        let mut proven = BTreeSet::new();
        for (index, item) in INVENTORY.iter().enumerate() {
            let here = self.has(item.linux, item.since, item.until);
            let answer = answers.get(&index.to_string());
            let ours = match &item.what {
                What::Value(value) => value.to_string(),
                What::Size(size) | What::Layout { size, .. } => size.to_string(),
            };
            match (here, answer) {
                (false, Some(theirs)) if *theirs == ours => {
                    wrong.push(format!("{} is there, but not said to be", item.rust));
                }
                (false, _) => continue,
                (true, Some(theirs)) if *theirs == ours => {
                    proven.insert(item.rust);
                }
                (true, theirs) => {
                    wrong.push(format!("{}: ours {ours}, headers {theirs:?}", item.rust));
                }
            }
            let What::Layout { fields, .. } = item.what else { continue };
            for (at, field) in fields.iter().enumerate() {
                if !here || !self.has(item.linux, field.since, field.until) {
                    continue;
                }
                let ours = format!("{}+{}", field.offset, field.size);
                let theirs = answers.get(&format!("{index}.{at}"));
                if theirs != Some(&ours) {
                    wrong.push(format!(
                        "{}.{}: ours {ours} (offset+size), headers {theirs:?}",
                        item.rust, field.c
                    ));
                }
            }
        }
        if let Some(release) = self.release {
            revisions(release, &answers, &mut wrong);
        }
        (wrong, proven)
    }
}

/// The table of revisions names this release beside the revision that its headers have.
fn revisions(release: u32, answers: &BTreeMap<String, String>, wrong: &mut Vec<String>) {
    let number = |key: &str| answers[key].parse().expect("a number");
    let named = |releases: &str| {
        let minor = |text: &str| text.trim().strip_prefix("4.").and_then(|m| m.parse().ok());
        releases.split(',').any(|part| match part.split_once(" to ") {
            Some((first, last)) => {
                minor(first).is_some_and(|first: u32| first <= release)
                    && minor(last).is_some_and(|last: u32| release <= last)
            }
            None => minor(part) == Some(release),
        })
    };
    match DomctlRevision::from_raw(number("domctl")) {
        Ok(revision) if named(revision.releases()) => {}
        other => wrong.push(format!("domctl of 4.{release}: {other:?}")),
    }
    match SysctlRevision::from_raw(number("sysctl")) {
        Ok(revision) if named(revision.releases()) => {}
        other => wrong.push(format!("sysctl of 4.{release}: {other:?}")),
    }
}

#[test]
fn every_item_equals_the_headers_or_is_listed_as_unproven() {
    let missing: Vec<_> = REQUIRED
        .iter()
        .map(|release| format!("XEN_HEADERS_4_{release}"))
        .filter(|name| env::var_os(name).is_none())
        .collect();
    assert!(
        missing.is_empty(),
        "{missing:?} not set: each is the include directory of that release's libxen-dev"
    );
    let mut all: Vec<Headers> = (0..100).filter_map(Headers::xen).collect();
    all.push(Headers::linux());

    let mut wrong = Vec::new();
    let mut proven = BTreeSet::new();
    for headers in &all {
        let (theirs_wrong, theirs_proven) = headers.compare();
        println!("{}: {} items equal", headers.name, theirs_proven.len());
        wrong.extend(theirs_wrong.into_iter().map(|line| format!("{}: {line}", headers.name)));
        if headers.release.is_none_or(|release| REQUIRED.contains(&release)) {
            proven.extend(theirs_proven);
        }
    }
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));

    let unproven: BTreeSet<_> =
        INVENTORY.iter().map(|item| item.rust).filter(|rust| !proven.contains(rust)).collect();
    let listed: BTreeSet<_> = UNPROVEN.iter().map(|(rust, _)| *rust).collect();
    let unlisted: Vec<_> = unproven.difference(&listed).collect();
    let superfluous: Vec<_> = listed.difference(&unproven).collect();
    assert!(unlisted.is_empty(), "proven by no header and not listed: {unlisted:#?}");
    assert!(superfluous.is_empty(), "listed as unproven, but proven or gone: {superfluous:#?}");
    println!("{} items, {} proven by headers, the others:", INVENTORY.len(), proven.len());
    for (rust, reason) in UNPROVEN {
        println!("  {rust}: {reason}");
    }
}
