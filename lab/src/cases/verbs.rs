//! Verbs of xl that scripts cut by column: each is run by both tools in one boot, on the same
//! domains, and must print the same.

use crate::case::{Case, Group};
use crate::dom0::host::{Said, Stop, Verdict, argv, await_node, config, domid, run};
use crate::dom0::init;
use crate::{ensure, fail};
use std::os::unix::process::CommandExt as _;
use xen_sys::types::{Domid, Gfn};
use xenstore::client::{Client, Nodes as _};

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("verbs/listings", Group::Toolstack, listings),
    Case::new("verbs/list-long", Group::Toolstack, list_long),
    Case::new("verbs/rename", Group::Toolstack, rename),
    Case::new("verbs/vcpus", Group::Toolstack, vcpus),
    Case::new("verbs/memory", Group::Toolstack, memory),
    Case::new("verbs/memory-of-dom0", Group::Toolstack, memory_of_dom0),
    Case::new("verbs/domain-that-goes", Group::Toolstack, domain_that_goes),
    Case::new("verbs/keys-and-logs", Group::Toolstack, keys_and_logs),
    Case::new("verbs/errors", Group::Toolstack, errors),
    Case::new("verbs/plain-log", Group::Toolstack, plain_log),
    Case::new("verbs/troubleshooting", Group::Toolstack, troubleshooting),
    Case::new("verbs/called-as-xl", Group::Toolstack, called_as_xl),
];

const XL: &str = "/xen/bin/xl";
const XLR: &str = "/bin/xlr";

/// A paused microkernel with two vcpus of three online.
fn paused(tool: &str, name: &str) -> Result<u32, Stop> {
    let path = config(
        name,
        &format!(
            "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\n\
             maxmem = 16\nvcpus = 2\nmaxvcpus = 3\n"
        ),
    )?;
    argv(&[tool, "create", "-p", &path])?.success()?;
    match domid(name)? {
        Some(domid) => Ok(domid),
        None => fail!("{tool} created no {name}"),
    }
}

fn destroy(name: &str) -> Verdict {
    argv(&[XLR, "destroy", name])?.success()?;
    Ok(())
}

/// What both tools say.
fn both(words: &[&str]) -> Result<(Said, Said), Stop> {
    let ours = argv(&[&[XLR], words].concat())?;
    let theirs = argv(&[&[XL], words].concat())?;
    ensure!(ours.code == theirs.code, "{words:?}: ends with {}, xl {}", ours.code, theirs.code);
    Ok((ours, theirs))
}

/// Fails unless both print the same to standard output, once `neutral` has taken out what chance or
/// the clock decides.
fn same(words: &[&str], neutral: fn(&str) -> String) -> Verdict {
    let (ours, theirs) = both(words)?;
    let lines = |said: &Said| said.out.lines().map(neutral).collect::<Vec<_>>();
    ensure!(lines(&ours) == lines(&theirs), "{words:?}:\n{}xl:\n{}", ours.out, theirs.out);
    Ok(())
}

fn as_it_is(line: &str) -> String {
    String::from(line)
}

/// Domain 0 uses time while the question is asked, and whether it runs at that moment is chance.
fn without_dom0_time(line: &str) -> String {
    if !line.starts_with("Domain-0") {
        return String::from(line);
    }
    let time = |word: &str| word.contains('.') && word.parse::<f64>().is_ok();
    let state = |word: &str| word.len() >= 3 && word.chars().all(|c| "-rb".contains(c));
    let neutral = |word: &str| match word {
        word if time(word) => "T".repeat(word.len()),
        word if state(word) => String::from("S"),
        word => String::from(word),
    };
    // Blanks stay: columns are cut by them. A time that grows by a digit eats one of them.
    line.split(' ').map(neutral).filter(|word| !word.starts_with('T')).collect::<Vec<_>>().join(" ")
}

/// Fails unless both print the same but for clocks, which go on while one is asked after the other.
fn same_but_later(words: &[&str]) -> Verdict {
    const PASSED_SECONDS: u64 = 10;
    let (ours, theirs) = both(words)?;
    let ((text, clocks), (their_text, their_clocks)) = (clocks(&ours.out), clocks(&theirs.out));
    let near = clocks.iter().zip(&their_clocks).all(|(our, their)| {
        // Where no seconds are printed a minute may have begun.
        our.seconds.abs_diff(their.seconds) <= our.unit_seconds.max(PASSED_SECONDS)
    });
    ensure!(
        text == their_text && !clocks.is_empty() && near,
        "{words:?}:\n{}xl:\n{}",
        ours.out,
        theirs.out
    );
    Ok(())
}

/// A time of day or a duration: `H:MM:SS` or `H:MM`.
struct Clock {
    seconds: u64,
    unit_seconds: u64,
}

/// The text with `N` for the digits of clocks, and the clocks.
fn clocks(text: &str) -> (String, Vec<Clock>) {
    let (mut neutral, mut clocks) = (String::new(), Vec::new());
    for word in text.split_inclusive([' ', '\n']) {
        let parts = word.trim_end_matches([',', ' ', '\n']).split(':');
        let parts: Option<Vec<u64>> = parts.map(|part| part.parse().ok()).collect();
        let (seconds, unit_seconds) = match parts.as_deref() {
            Some([hours, minutes, seconds]) => (hours * 3600 + minutes * 60 + seconds, 1),
            Some([hours, minutes]) => (hours * 3600 + minutes * 60, 60),
            _ => {
                neutral.push_str(word);
                continue;
            }
        };
        clocks.push(Clock { seconds, unit_seconds });
        neutral.push_str(&word.replace(|c: char| c.is_ascii_digit(), "N"));
    }
    (neutral, clocks)
}

fn listings() -> Verdict {
    let ours = paused(XLR, "of-xlr")?.to_string();
    paused(XL, "of-xl")?;
    for words in [
        &["list"][..],
        &["list", "-v"],
        &["list", "-Z"],
        &["list", "-c"],
        &["list", "-n"],
        &["list", "-vcn"],
        &["list", "-Z", "-n"],
        &["claims"],
        &["vm-list"],
        &["vcpu-list"],
        &["li"],
    ] {
        same(words, without_dom0_time)?;
    }
    for words in [
        &["list", "of-xlr"][..],
        &["list", "-v", "of-xl"],
        &["vcpu-list", "of-xlr", "of-xl"],
        &["domid", "of-xlr"],
        &["domname", &ours],
        &["domname", "0"],
        &["info", "virt_caps"],
        &["info", "xen_version"],
    ] {
        same(words, as_it_is)?;
    }
    for words in [&["info"][..], &["info", "-n"]] {
        let (ours, theirs) = both(words)?;
        // The last lines are xlr's own.
        let ours = ours.out.lines().filter(|line| !line.starts_with("xlr_")).map(str::trim_end);
        let (ours, theirs): (Vec<_>, Vec<_>) =
            (ours.collect(), theirs.out.lines().map(str::trim_end).collect());
        ensure!(ours == theirs, "{words:?}:\n{}\nxl:\n{}", ours.join("\n"), theirs.join("\n"));
    }
    for words in [&["uptime"][..], &["uptime", "-s"], &["uptime", "of-xlr"], &["uptime", "-s", "0"]]
    {
        same_but_later(words)?;
    }
    for words in ["uptime --json", "vcpu-list --json", "list -n --json", "domid --json of-xl"] {
        let said = run(&format!("{XLR} {words}"))?.success()?;
        let _: serde_json::Value = serde_json::from_str(&said.out)?;
    }
    let names = run(&format!("{XLR} list --names"))?.success()?.out;
    ensure!(names == "of-xlr\nof-xl\n", "what completions are told: {names:?}");
    let json = run(&format!("{XLR} vcpu-list --json of-xlr"))?.success()?.out;
    let json: serde_json::Value = serde_json::from_str(&json)?;
    // The guest has not brought up its second one yet.
    let online: Vec<_> = (0..3).map(|vcpu| json[vcpu]["online"].as_bool()).collect();
    ensure!(online == [Some(true), Some(false), Some(false)], "vcpus online: {json}");
    destroy("of-xlr")?;
    destroy("of-xl")
}

/// What xl has saved of a domain, brought up to date as xl does it.
fn list_long() -> Verdict {
    paused(XL, "long")?;
    let json = |tool: &str, words: &[&str]| -> Result<serde_json::Value, Stop> {
        let said = argv(&[&[tool, "list"], words].concat())?.success()?;
        serde_json::from_str(&said.out).map_err(|error| format!("{}: {error}", said.command).into())
    };
    let same = |what: &str, words: &[&str]| -> Verdict {
        let (ours, theirs) = (json(XLR, words)?, json(XL, words)?);
        ensure!(ours == theirs, "{what}:\n{ours:#}\nxl:\n{theirs:#}");
        Ok(())
    };
    same("as created", &["-l", "long"])?;
    argv(&[XL, "rename", "long", "longer"])?.success()?;
    same("renamed", &["-l", "longer"])?;
    argv(&[XL, "mem-set", "longer", "7"])?.success()?;
    same("less memory", &["-l", "longer"])?;
    argv(&[XL, "vcpu-set", "-i", "longer", "3"])?.success()?;
    same("more vcpus", &["-l", "longer"])?;
    argv(&[XL, "sched-credit2", "-d", "longer", "-w", "512"])?.success()?;
    same("another weight", &["-l", "longer"])?;
    argv(&[XL, "vcpu-pin", "longer", "1", "0", "all"])?.success()?;
    same("pinned", &["-l", "longer"])?;
    // What cannot be read is told, and makes the command fail; the others are shown.
    paused(XL, "unreadable")?;
    let list = run(&format!("{XLR} list --json unreadable"))?.success()?.out;
    let list: serde_json::Value = serde_json::from_str(&list)?;
    let (id, uuid) = (&list[0]["domid"], list[0]["uuid"].as_str().unwrap_or_default());
    let saved = format!("/var/lib/xen/userdata-d.{id}.{uuid}.libxl-json");
    let whole = std::fs::read(&saved)?;
    std::fs::write(&saved, "{ not JSON")?;
    let said = argv(&[XLR, "list", "-l", "longer", "unreadable"])?.failure()?;
    ensure!(said.code == 1 && said.err.contains(&saved), "{}", said.err);
    let shown: serde_json::Value = serde_json::from_str(&said.out)?;
    ensure!(shown.as_array().is_some_and(|shown| shown.len() == 1), "{shown:#}");
    std::fs::write(&saved, whole)?;
    destroy("unreadable")?;
    destroy("longer")
}

/// Every node that a rename by xl changes is changed, to the same.
fn rename() -> Verdict {
    let id = paused(XLR, "before")?;
    paused(XLR, "other")?;
    let nodes = |name: &str| -> Result<Vec<String>, Stop> {
        let listing = run("/usr/bin/xenstore-ls -fp")?.success()?.out;
        let word = format!("\"{name}\"");
        Ok(listing.lines().filter(|line| line.contains(&word)).map(String::from).collect())
    };
    argv(&[XL, "rename", "before", "renamed"])?.success()?;
    let theirs = nodes("renamed")?;
    argv(&[XL, "rename", "renamed", "before"])?.success()?;
    argv(&[XLR, "rename", "before", "renamed"])?.success()?;
    let ours = nodes("renamed")?;
    ensure!(ours == theirs && !ours.is_empty(), "nodes: {ours:?}, by xl {theirs:?}");
    ensure!(domid("renamed")? == Some(id) && domid("before")?.is_none(), "xl finds another name");
    for (words, word) in
        [(["rename", "renamed", "other"], "other"), (["rename", "nobody", "new"], "nobody")]
    {
        let (ours, _) = both(&words)?;
        ensure!(ours.code != 0 && ours.err.contains(word), "{words:?}: {}", ours.err);
    }
    for bad in ["", "a/b"] {
        argv(&[XLR, "rename", "renamed", bad])?.failure()?;
    }
    ensure!(domid("renamed")? == Some(id), "a refused rename took the name away");
    // A name of digits is given, and warned of: by that name nobody finds it.
    let said = argv(&[XLR, "rename", "renamed", "4711"])?.success()?;
    ensure!(said.err.contains("taken for a domid"), "a name of digits: {}", said.err);
    argv(&[XLR, "rename", &id.to_string(), "renamed"])?.success()?;
    // With a sign a number is a name, which nobody has.
    let signed = format!("+{id}");
    for words in [
        &["destroy", &signed][..],
        &["list", &signed],
        &["domname", &signed],
        &["vcpu-pin", "renamed", "+0", "0"],
        &["rename", &signed, "other-name"],
    ] {
        argv(&[&[XLR], words].concat())?.failure()?;
    }
    ensure!(domid("renamed")? == Some(id), "a number with a sign was taken for a domid");
    // To the name that it has: nothing changes, nothing fails.
    argv(&[XLR, "rename", "renamed", "renamed"])?.success()?;
    destroy("renamed")?;
    destroy("other")
}

fn vcpus() -> Verdict {
    let (ours, theirs) = (paused(XLR, "vcpus-xlr")?, paused(XL, "vcpus-xl")?);
    let nodes = |id: u32| -> Result<String, Stop> {
        let listing = run(&format!("/usr/bin/xenstore-ls -p /local/domain/{id}/cpu"))?;
        Ok(listing.success()?.out.replace(&format!("r{id}"), "rD"))
    };
    for (flag, count) in [("", "1"), ("-i", "3"), ("--ignore-host", "2")] {
        for (tool, name) in [(XLR, "vcpus-xlr"), (XL, "vcpus-xl")] {
            let words = [tool, "vcpu-set", flag, name, count];
            argv(&words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>())?
                .success()?;
        }
        let (a, b) = (nodes(ours)?, nodes(theirs)?);
        ensure!(a == b && a.contains("availability"), "vcpu-set {flag} {count}:\n{a}xl:\n{b}");
    }
    // One CPU: more vcpus than that need to be insisted on.
    for words in [
        &["vcpu-set", "vcpus-xlr", "3"][..],
        &["vcpu-set", "vcpus-xlr", "x"],
        &["vcpu-set", "nobody", "1"],
        &["vcpu-pin", "vcpus-xlr", "9", "0"],
        &["vcpu-pin", "vcpus-xlr", "x", "0"],
        &["vcpu-pin", "nobody", "0", "0"],
        &["vcpu-pin", "vcpus-xlr", "0"],
    ] {
        argv(&[&[XLR], words].concat())?.failure()?;
    }
    for words in [
        ["vcpu-pin", "D", "0", "0", "all"],
        ["vcpu-pin", "D", "all", "all", "-"],
        ["vcpu-pin", "D", "1", "-", "0"],
        ["vcpu-pin", "-f", "D", "0", "all"],
        ["vcpu-pin", "--force", "D", "1", "0"],
    ] {
        for (tool, name) in [(XLR, "vcpus-xlr"), (XL, "vcpus-xl")] {
            let words = words.map(|word| if word == "D" { name } else { word });
            argv(&[&[tool], &words[..]].concat())?.success()?;
        }
        let affinity = |name: &str| -> Result<Vec<String>, Stop> {
            let out = argv(&[XL, "vcpu-list", name])?.success()?.out;
            Ok(out.lines().map(|line| line.split_whitespace().skip(6).collect()).collect())
        };
        ensure!(affinity("vcpus-xlr")? == affinity("vcpus-xl")?, "{words:?}");
    }
    for words in [
        &["vcpu-pin", "-f", "vcpus-xlr", "all", "0"][..],
        &["vcpu-pin", "-f", "vcpus-xlr", "0", "7"],
    ] {
        argv(&[&[XLR], words].concat())?.failure()?;
        argv(&[&[XL], words].concat())?.failure()?;
    }
    let (ours, theirs) = both(&["-N", "vcpu-pin", "vcpus-xlr", "0", "0", "all"])?;
    ensure!(ours.out == theirs.out, "dry run: {}, xl {}", ours.out, theirs.out);
    destroy("vcpus-xlr")?;
    destroy("vcpus-xl")
}

/// Both tools change the same limits and the same nodes.
fn memory() -> Verdict {
    let (ours, theirs) = (paused(XLR, "mem-xlr")?, paused(XL, "mem-xl")?);
    for id in [ours, theirs] {
        // Until then xenconsoled still adds nodes.
        await_node(&format!("/local/domain/{id}/console/tty"), 20)?;
    }
    for (verb, size) in [
        ("mem-max", "12"),
        ("mem-max", "20000k"),
        ("mem-max", "10m"),
        ("mem-set", "7"),
        ("mem-set", "8192k"),
        ("mem-set", "16"),
        ("mem-max", "4"),
        ("mem-set", "17"),
        ("mem-set", "x"),
        ("mem-max", "1q"),
    ] {
        let our = argv(&[XLR, verb, "mem-xlr", size])?;
        let their = argv(&[XL, verb, "mem-xl", size])?;
        ensure!(
            (our.code == 0) == (their.code == 0),
            "{verb} {size}: ends with {}, xl {}: {}",
            our.code,
            their.code,
            our.err
        );
        let (a, b) = (amounts("mem-xlr", ours)?, amounts("mem-xl", theirs)?);
        ensure!(a == b, "{verb} {size}: {a:?}, xl {b:?}");
    }
    argv(&[XLR, "mem-set", "nobody", "8"])?.failure()?;
    argv(&[XLR, "mem-max", "nobody", "8"])?.failure()?;
    // xl takes it, and writes that the guest is to give everything away.
    for (verb, size) in [("mem-set", "0"), ("mem-max", "0"), ("mem-set", "3k")] {
        let before = amounts("mem-xlr", ours)?;
        let said = argv(&[XLR, verb, "mem-xlr", size])?.failure()?;
        ensure!(said.err.contains("less than 4 KiB"), "{verb} {size}: {}", said.err);
        ensure!(amounts("mem-xlr", ours)? == before, "{verb} {size} has changed something");
    }
    destroy("mem-xlr")?;
    destroy("mem-xl")
}

/// Domain 0 comes without nodes: down, and up again to where it was, as under xl.
fn memory_of_dom0() -> Verdict {
    let failed = |error: xenstore::client::Error| Stop::Failed(error.to_string());
    let mut store = Client::connect().map_err(failed)?;
    let xen = libxc_safe::Xen::open().map_err(|error| error.to_string())?;
    let info = xen.existing_domain_info(Domid(0)).map_err(|error| error.to_string())?;
    let nodes = ["target", "static-max"].map(|node| format!("/local/domain/0/memory/{node}"));
    let before = [&nodes[0], &nodes[1]].map(|node| store.read_optional(node).ok().flatten());
    // What a first mem-set brings, by whichever tool, and this case takes away again.
    let mut brought = vec!["/local/domain/0/memory", "/vm/00000000-0000-0000-0000-000000000000"];
    brought.retain(|path| store.exists(path).is_ok_and(|there| !there));
    let has_mib = info.tot_pages / 256;
    let down = format!("{}", has_mib - 8);
    let up = format!("{}", has_mib - 4);
    let mut said = Vec::new();
    for tool in [XLR, XL] {
        for node in &nodes {
            let _ = store.rm(node);
        }
        xen.set_max_mem_kib(Domid(0), info.max_pages * 4).map_err(|error| error.to_string())?;
        let mut of_tool = Vec::new();
        for size in [&down, &up] {
            let code = argv(&[tool, "mem-set", "0", size])?.code;
            let now = xen.existing_domain_info(Domid(0)).map_err(|error| error.to_string())?;
            let values: Vec<_> = nodes.iter().map(|node| store.read_text(node).ok()).collect();
            of_tool.push((code, now.max_pages, values));
        }
        said.push(of_tool);
    }
    // As it was, whatever was found.
    for (node, value) in nodes.iter().zip(before) {
        match value {
            Some(value) => store.write(node, value).map_err(failed)?,
            None => store.rm(node).map_err(failed)?,
        }
    }
    for path in brought {
        store.rm(path).map_err(failed)?;
    }
    xen.set_max_mem_kib(Domid(0), info.max_pages * 4).map_err(|error| error.to_string())?;
    ensure!(said[0] == said[1], "xlr {:?}, xl {:?}", said[0], said[1]);
    ensure!(said[0].iter().all(|(code, ..)| *code == 0), "{:?}", said[0]);
    Ok(())
}

/// A domain that has been destroyed while somebody holds one of its pages: Xen still knows it, and
/// nothing may be written for it any more.
fn domain_that_goes() -> Verdict {
    let id = paused(XLR, "held")?;
    let ring = await_node(&format!("/local/domain/{id}/console/ring-ref"), 20)?;
    let frame = Gfn(ring.trim().parse().map_err(|_| format!("ring-ref is {ring:?}"))?);
    let domid = Domid(u16::try_from(id).unwrap_or_default());
    let xen = libxc_safe::Xen::open().map_err(|error| error.to_string())?;
    let page = xen.map_foreign(domid, &[frame], libxc_safe::Protection::Read);
    let page = page.map_err(|error| error.to_string())?;
    argv(&[XL, "destroy", "held"])?.success()?;
    let info = xen.existing_domain_info(domid).map_err(|error| error.to_string())?;
    ensure!(info.dying, "the domain is not held");
    let id = id.to_string();
    for words in [
        &["vcpu-set", &id, "1"][..],
        &["mem-set", &id, "7"],
        &["mem-max", &id, "9"],
        &["sysrq", &id, "h"],
        &["rename", &id, "new-name"],
    ] {
        argv(&[&[XLR], words].concat())?.failure()?;
        let listing = argv(&["/usr/bin/xenstore-ls", &format!("/local/domain/{id}")])?;
        ensure!(listing.code != 0, "{words:?} left nodes: {}", listing.out);
    }
    drop(page);
    Ok(())
}

/// What Xen and xenstore hold about a domain's memory.
fn amounts(name: &str, id: u32) -> Result<Vec<String>, Stop> {
    let json = argv(&[XLR, "list", "--json", name])?.success()?.out;
    let json: serde_json::Value = serde_json::from_str(&json)?;
    let mut amounts = vec![json[0]["max_memory_kib"].to_string()];
    let uuid = json[0]["uuid"].as_str().unwrap_or_default();
    for node in [
        format!("/local/domain/{id}/memory/target"),
        format!("/local/domain/{id}/memory/static-max"),
        format!("/vm/{uuid}/memory"),
    ] {
        amounts.push(argv(&["/usr/bin/xenstore-read", &node])?.out);
    }
    Ok(amounts)
}

fn keys_and_logs() -> Verdict {
    let id = paused(XLR, "asked")?;
    argv(&[XLR, "sysrq", "asked", "h"])?.success()?;
    let node = format!("/local/domain/{id}/control/sysrq");
    let value = argv(&["/usr/bin/xenstore-read", &node])?.success()?.out;
    ensure!(value == "h\n", "sysrq wrote {value:?}");
    argv(&[XL, "sysrq", "asked", "s"])?.success()?;
    argv(&[XLR, "sysrq", "asked", "hh"])?.failure()?;
    argv(&[XLR, "sysrq", "0", "h"])?.failure()?;
    let value = argv(&["/usr/bin/xenstore-read", &node])?.success()?.out;
    ensure!(value == "s\n", "a refused request wrote {value:?}");
    destroy("asked")?;

    argv(&[XLR, "dmesg", "-c"])?.success()?;
    argv(&[XLR, "debug-keys", "h"])?.success()?;
    same(&["dmesg"], as_it_is)?;
    let log = argv(&[XLR, "dmesg"])?.success()?.out;
    ensure!(log.contains("'h' pressed"), "the log after debug-keys h: {log}");
    let cleared = argv(&[XLR, "dmesg", "-c"])?.success()?.out;
    ensure!(cleared == log, "dmesg -c prints {cleared}, dmesg {log}");
    let empty = argv(&[XL, "dmesg"])?.success()?.out;
    ensure!(empty.is_empty(), "after dmesg -c: {empty}");
    Ok(())
}

/// What is not there is refused by both, with the same exit code, and named; so is it by a user who
/// is not root.
fn errors() -> Verdict {
    for words in [
        &["list", "nobody"][..],
        &["list", "77"],
        &["list", "-l", "nobody"],
        &["vcpu-list", "nobody"],
        &["uptime", "nobody"],
        &["uptime", "-s", "nobody"],
        &["domid", "nobody"],
        &["domname", "77"],
        &["console", "nobody"],
        &["pause", "nobody"],
        &["unpause", "nobody"],
        &["rename", "nobody", "new"],
        &["sysrq", "nobody", "h"],
        &["mem-set", "nobody", "8"],
        &["vcpu-set", "nobody", "1"],
    ] {
        let (ours, _) = both(words)?;
        let given = words.iter().find(|word| matches!(**word, "nobody" | "77"));
        let named = given.is_some_and(|given| ours.err.contains(given));
        ensure!(ours.code == 1 && named, "{words:?} ends with {}: {}", ours.code, ours.err);
        ensure!(ours.out.is_empty(), "{words:?} prints {}", ours.out);
    }
    for words in ["list -x", "domid", "domname", "sysrq", "rename a", "vcpu-pin a 0", "debug-keys"]
    {
        let words: Vec<&str> = words.split(' ').collect();
        let (ours, _) = both(&words)?;
        ensure!(ours.code == 2, "{words:?} ends with {}: {}", ours.code, ours.err);
    }
    for line in ["list", "info", "dmesg", "uptime", "vcpu-list", "debug-keys h", "sysrq a h"] {
        let out = init::command(XLR).args(line.split(' ')).uid(65534).gid(65534).output()?;
        let err = String::from_utf8_lossy(&out.stderr);
        let code = out.status.code();
        ensure!(code == Some(4) && err.contains("root"), "{line} ends with {code:?}: {err}");
    }
    Ok(())
}

/// `-v` speaks plainly, to a person; `-T` and `XLR_LOG` add what a maintainer wants.
fn plain_log() -> Verdict {
    let path = config(
        "told",
        "name = \"told\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\nvcpus = 1\n",
    )?;
    let told = |flags: &[&str], log: Option<&str>| -> Result<Vec<String>, Stop> {
        let mut command = init::command(XLR);
        if let Some(log) = log {
            command.env("XLR_LOG", log);
        }
        let out = command.args(flags).args(["create", "-p", "-q", &path]).output()?;
        ensure!(out.status.success(), "{flags:?}: {}", String::from_utf8_lossy(&out.stderr));
        destroy("told")?;
        Ok(String::from_utf8_lossy(&out.stderr).lines().map(String::from).collect())
    };
    ensure!(told(&[], None)?.is_empty(), "without -v something is said");
    let plain = told(&["-vv"], None)?;
    ensure!(plain.len() > 10, "-vv says only {plain:?}");
    for line in &plain {
        let year = line.starts_with("20");
        ensure!(!year && !line.contains("xl_rs") && !line.contains('\x1b'), "-vv says {line:?}");
    }
    let timed = told(&["-T", "-v"], None)?;
    let all = timed.iter().all(|line| line.starts_with("20"));
    ensure!(all && !timed.is_empty(), "-T -v says {timed:?}");
    let chosen = told(&[], Some("xl_rs=debug"))?;
    ensure!(chosen.iter().any(|line| line.contains("DEBUG xl_rs")), "XLR_LOG says {chosen:?}");
    Ok(())
}

/// The guide quotes what is printed: each line stands in it as it comes.
fn troubleshooting() -> Verdict {
    let guide = include_str!("../../../docs/troubleshooting.md");
    // A number stands for any other: which domid and how long is chance.
    let without_numbers = |text: &str| {
        let parts = text.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("N")
    };
    let quoted = |text: &str| {
        let guide = without_numbers(guide);
        text.lines().all(|line| guide.contains(without_numbers(line).trim_start_matches("xlr: ")))
    };
    let path = config(
        "web",
        "name = \"web\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\nvcpus = 1\n",
    )?;
    argv(&[XLR, "create", "-p", &path])?.success()?;
    let taken = argv(&[XLR, "create", &path])?.failure()?;
    ensure!(quoted(&taken.err) && taken.err.lines().count() == 2, "a name in use: {}", taken.err);

    let out = init::command(XLR).arg("list").uid(65534).output()?;
    let err = String::from_utf8_lossy(&out.stderr);
    ensure!(quoted(&err) && out.status.code() == Some(4), "not root: {err}");

    let mut command = init::command(XLR);
    let out = command.arg("list").env("XENSTORED_PATH", "/run/xenstored/none").output()?;
    let err = String::from_utf8_lossy(&out.stderr).replace("/none:", "/socket:");
    let err = err.split(';').next().unwrap_or_default().trim_end_matches(')');
    ensure!(quoted(err) && out.status.code() == Some(6), "no xenstored: {err}");
    // The domids are there all the same.
    let listed = String::from_utf8_lossy(&out.stdout);
    ensure!(listed.lines().filter(|line| line.starts_with("(null) ")).count() >= 2, "{listed}");

    let listed = argv(&[XLR, "list", "-v", "web"])?.success()?.out;
    ensure!(listed.contains("Reason-Code"), "{listed}");
    let report = argv(&[XLR, "bug-report", "-o", "/tmp/xlr-web.txt"])?.success()?.err;
    let start = "versions, info -n, vcpu-list, log of the hypervisor";
    ensure!(report.contains(start) && guide.contains(start), "bug-report: {report}");
    let report = std::fs::read_to_string("/tmp/xlr-web.txt")?;
    ensure!(report.contains("\nDomain-0 ") && report.contains("\nweb "), "no names: {report}");
    destroy("web")
}

/// Under the name xl nothing but that name differs.
fn called_as_xl() -> Verdict {
    let link = "/tmp/as-xl/xl";
    std::fs::create_dir_all("/tmp/as-xl")?;
    let _ = std::fs::remove_file(link);
    std::os::unix::fs::symlink(XLR, link)?;
    paused(link, "by-link")?;
    for words in [
        &["list", "by-link"][..],
        &["list", "nobody"],
        &["domid", "nobody"],
        &["migrate", "1", "h"],
    ] {
        let (ours, as_xl) = (argv(&[&[XLR], words].concat())?, argv(&[&[link], words].concat())?);
        ensure!(ours.code == as_xl.code && ours.out == as_xl.out, "{words:?} differs");
        let expected = ours.err.replace("xlr: ", "xl: ").replace("xlr list", "xl list");
        let expected = expected.replace("Usage: xlr ", "Usage: xl ");
        ensure!(as_xl.err == expected, "{words:?}: {} and not {expected}", as_xl.err);
    }
    argv(&[link, "destroy", "by-link"])?.success()?;
    Ok(())
}
