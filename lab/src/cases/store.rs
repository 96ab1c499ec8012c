//! The store served by xlr: for Debian's tools, for guests, and against them. And xlr on oxenstored.

use super::{beside_xl, create};
use crate::case::{Case, Group};
use crate::dom0::dump;
use crate::dom0::host::{self, Stop, Verdict, argv, await_text, config, console, domid, run};
use crate::dom0::init;
use crate::xenstored::Xenstored;
use crate::{ensure, fail};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Instant;
use xen_sys::types::Domid;
use xenstore::client::Client;

/// A case on `xlr xenstored`.
const fn ours(name: &'static str, run: fn() -> Verdict) -> Case {
    Case { xenstored: Xenstored::Xlr, ..Case::new(name, Group::Store, run) }
}

/// A case on another xenstored, as a comparison.
const fn theirs(name: &'static str, xenstored: Xenstored, run: fn() -> Verdict) -> Case {
    Case { xenstored, ci: false, ..Case::new(name, Group::Store, run) }
}

/// The cases of this topic.
pub const CASES: &[Case] = &[
    ours("store/tools", tools),
    theirs("store/tools-on-c", Xenstored::C, tools),
    ours("store/control", control),
    ours("store/xl-and-xlr", beside_xl::mixed),
    ours("store/linux", create::hpc),
    Case { limit_seconds: 300, ..ours("store/test-xenstore", test_xenstore) },
    ours("store/second-instance", second_instance),
    ours("store/confined", confined),
    Case { ci: false, ..Case::new("store/second-to-c", Group::Store, second_instance) },
    ours("store/attack-indices", || attack("indices")),
    ours("store/attack-long", || attack("long")),
    ours("store/attack-partial", || attack("partial")),
    ours("store/attack-flood", || attack("flood")),
    ours("store/attack-sleep", || attack("sleep")),
    ours("store/limits-of-a-domain", limits),
    Case::new("store/limits-refused", Group::Store, limits_refused),
    theirs("store/xlr-on-ocaml", Xenstored::Ocaml, create::hpc),
    theirs("store/beside-xl-on-ocaml", Xenstored::Ocaml, beside_xl::mixed),
];

/// A guest with limits of its own.
fn limited() -> Result<String, Stop> {
    config(
        "limited",
        "name = \"limited\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\n\
         xenstore_feature_mask = 0x5\nxenstore_quota = [ \"nodes=77\", \"watches=0x10\" ]\n",
    )
}

/// The store grants a domain what its configuration says, and others what it granted before.
fn limits() -> Verdict {
    run(&format!("/bin/xlr create -q -p {}", limited()?))?.success()?;
    let failed = |error: xenstore::client::Error| Stop::Failed(error.to_string());
    let mut store = Client::connect().map_err(failed)?;
    let Some(domid) = domid("limited")?.and_then(|domid| u16::try_from(domid).ok()).map(Domid)
    else {
        fail!("there is no domain called limited")
    };
    let mut quota = |whose, name| store.get_quota(whose, name).map_err(failed);
    let own = (quota(Some(domid), "nodes")?, quota(Some(domid), "watches")?);
    ensure!(own == ("77".to_owned(), "16".to_owned()), "its quotas are {own:?}");
    let all = (quota(None, "nodes")?, quota(None, "watches")?);
    ensure!(all == ("1000".to_owned(), "128".to_owned()), "everybody's quotas are {all:?}");
    let features = store.get_feature(Some(domid)).map_err(failed)?;
    ensure!(features == 5, "its features are {features:#x}");
    run("/bin/xlr destroy limited")?.success()?;
    let unknown = argv(&["/bin/xlr", "create", "-q", &limited()?, "xenstore_quota=['nono=1']"])?;
    let unknown = unknown.failure()?;
    ensure!(unknown.err.contains("quota nono"), "{}", unknown.err);
    ensure!(host::domid("limited")?.is_none(), "a refused domain is there");
    Ok(())
}

/// A store that cannot limit a single domain: said so, and no domain is left.
fn limits_refused() -> Verdict {
    let line = format!("/bin/xlr create -q {}", limited()?);
    // What earlier cases left to the next create goes with this one.
    run(&line)?.failure()?;
    let before = dump::take()?;
    let refused = run(&line)?.failure()?;
    for word in ["limited", "store-limits", "4.21", "xenstore_quota", "nothing was left behind"] {
        ensure!(refused.err.contains(word), "no {word:?} in {}", refused.err);
    }
    dump::unchanged(&before, "a create that the store refused")
}

/// A line for the C tools, and what they are to say.
fn says(line: &str, expected: &str) -> Verdict {
    let said = run(line)?.success()?;
    ensure!(said.out == expected, "{line} says {:?}, not {expected:?}", said.out);
    Ok(())
}

/// The C tools, one after the other.
fn tools() -> Verdict {
    says("xenstore-write /lab/a one /lab/b/c two", "")?;
    says("xenstore-read /lab/a /lab/b/c", "one\ntwo\n")?;
    says("xenstore-list /lab", "a\nb\n")?;
    says("xenstore-exists /lab/b/c", "")?;
    ensure!(run("xenstore-exists /lab/none")?.code == 1, "a node that is not there exists");
    let refused = run("xenstore-read /lab/none")?.failure()?;
    ensure!(refused.err.contains("/lab/none"), "{}", refused.err);
    says("xenstore-chmod /lab/a n0 r7 b9", "")?;
    says("xenstore-ls /lab", "a = \"one\"\nb = \"\"\n c = \"two\"\n")?;
    let all = run("xenstore-ls -fp /lab")?.success()?.out;
    ensure!(all.contains("/lab/a = \"one\"") && all.contains("(n0"), "{all}");
    // A transaction, which the tools use with -s... as xenstore-write does for several nodes.
    let long = "x".repeat(2000);
    says(&format!("xenstore-write /lab/long {long}"), "")?;
    says("xenstore-read /lab/long", &format!("{long}\n"))?;
    watched()?;
    says("xenstore-rm /lab", "")?;
    ensure!(run("xenstore-exists /lab")?.code == 1, "/lab is still there");
    Ok(())
}

/// xenstore-watch hears of a change that another tool makes.
fn watched() -> Verdict {
    let mut watch = init::command("/usr/bin/xenstore-watch");
    let mut child = watch.args(["-n", "2", "/lab/w"]).stdout(Stdio::piped()).spawn()?;
    let Some(out) = child.stdout.take() else { fail!("xenstore-watch has no output") };
    let mut lines = BufReader::new(out).lines();
    let mut next = || lines.next().transpose().map_err(Stop::from);
    ensure!(next()?.as_deref() == Some("/lab/w"), "no first event");
    says("xenstore-write /lab/w/x y", "")?;
    ensure!(next()?.as_deref() == Some("/lab/w/x"), "no event of the change");
    ensure!(child.wait()?.success(), "xenstore-watch failed");
    Ok(())
}

/// The commands of xenstore-control.
fn control() -> Verdict {
    says("/xen/bin/xenstore-control check", "OK\n")?;
    let quotas = run("/xen/bin/xenstore-control quota")?.success()?.out;
    ensure!(quotas.contains("nodes") && quotas.contains("1000"), "{quotas}");
    says("/xen/bin/xenstore-control quota set nodes 900", "OK\n")?;
    let quotas = run("/xen/bin/xenstore-control quota")?.success()?.out;
    ensure!(quotas.contains("900"), "{quotas}");
    says("/xen/bin/xenstore-control quota set nodes 1000", "OK\n")?;
    let usage = run("/xen/bin/xenstore-control quota 0")?.success()?.out;
    ensure!(usage.contains("nodes"), "{usage}");
    says("/xen/bin/xenstore-control print lab-was-here", "OK\n")?;
    let log = std::fs::read_to_string("/var/log/xen/xenstored.log")?;
    ensure!(log.contains("lab-was-here"), "the log says {log}");

    let trace = "/var/log/xen/store-trace";
    says(&format!("/xen/bin/xenstore-control logfile {trace}"), "OK\n")?;
    says("/xen/bin/xenstore-control log on", "OK\n")?;
    says("xenstore-write /lab/traced secret", "")?;
    says("/xen/bin/xenstore-control log off", "OK\n")?;
    says("xenstore-write /lab/traced unseen", "")?;
    says("xenstore-rm /lab", "")?;
    let text = std::fs::read_to_string(trace)?;
    let wanted = ["WRITE", "/lab/traced\\x00secret", "OUT"];
    ensure!(wanted.iter().all(|word| text.contains(word)), "the trace says {text}");
    ensure!(!text.contains("unseen"), "it goes on after log off: {text}");

    let report = "/var/log/xen/store-memory";
    says(&format!("/xen/bin/xenstore-control memreport {report}"), "OK\n")?;
    let text = std::fs::read_to_string(report)?;
    ensure!(text.contains("connections"), "the report says {text}");
    ensure!(run("/xen/bin/xenstore-control nonsense")?.code != 0, "nonsense is a command");
    std::fs::remove_file(trace)?;
    std::fs::remove_file(report)?;
    Ok(())
}

/// Xen's own test of a store, all of it.
fn test_xenstore() -> Verdict {
    run("/xen/bin/test-xenstore -i 50")?.success()?;
    Ok(())
}

/// A second one says so, and the first one serves on.
fn second_instance() -> Verdict {
    let ours = std::fs::read_to_string("/run/xen/xenstored.pid")?;
    for pid_file in ["/run/xen/xenstored.pid", "/tmp/second.pid"] {
        let said = argv(&["/bin/xlr", "xenstored", "--pid-file", pid_file])?.failure()?;
        ensure!(said.err.contains("another xenstored serves this host"), "{}", said.err);
        let said = argv(&["/bin/xlr", "xenstored", "-N", "--pid-file", pid_file])?.failure()?;
        ensure!(said.err.contains("another xenstored serves this host"), "{}", said.err);
        says("xenstore-write /lab one", "")?;
        says("xenstore-rm /lab", "")?;
    }
    let now = std::fs::read_to_string("/run/xen/xenstored.pid")?;
    ensure!(now == ours, "the pid file says {now}, not {ours}");
    std::fs::remove_file("/tmp/second.pid")?;
    Ok(())
}

/// The server, and what holds its sockets, have no capability, and the server a filter of system calls;
/// neither of them has been refused anything so far, which the cases of this dom0 would show.
fn confined() -> Verdict {
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if !line.split(|&byte| byte == 0).any(|word| word == b"xenstored") {
            continue;
        }
        let status = std::fs::read_to_string(entry.path().join("status"))?;
        let is_keeper = line.split(|&byte| byte == 0).any(|word| word == b"--keeper");
        let none = ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"];
        let filter = (!is_keeper).then_some("Seccomp:\t2");
        for wanted in none.into_iter().chain(filter) {
            let line = String::from_utf8_lossy(&line);
            ensure!(status.contains(wanted), "{line}: there is no {wanted} in {status}");
        }
    }
    // It writes where logs are, and nowhere else: its log says so.
    for (file, wanted) in [("/tmp/store-report", false), ("/var/log/xen/store-report", true)] {
        argv(&["/xen/bin/xenstore-control", "memreport", file])?.success()?;
        let written = std::fs::remove_file(file).is_ok();
        ensure!(written == wanted, "{file}: written {written}");
        let log = std::fs::read_to_string("/var/log/xen/xenstored.log")?;
        ensure!(log.contains(file) != wanted, "{file}: the log says {log}");
    }
    Ok(())
}

/// A guest attacks, and others are served.
fn attack(how: &str) -> Verdict {
    let guest = |name: &str, kernel: &str, extra: &str| {
        let text = format!(
            "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/{kernel}\"\n\
             extra = \"{extra}\"\nmemory = 8\nvcpus = 1\n"
        );
        config(name, &text)
    };
    let attacker = guest("attacker", "store-attack", &format!("how={how}"))?;
    let honest = guest("honest", "hello", "")?;
    let mut log = console("attacker")?;
    argv(&["/bin/xlr", "create", &attacker])?.success()?;
    let recovers = matches!(how, "indices" | "long");
    let sign = if recovers { "Test result: " } else { "xtf: attacks" };
    await_text(&mut log, sign, 60)?;
    if recovers {
        let text = String::from_utf8_lossy(&log.text).into_owned();
        await_text(&mut log, "\n", 5)?;
        let text = text + &String::from_utf8_lossy(&log.text);
        ensure!(text.contains("Test result: SUCCESS"), "the attacker found: {text}");
    }
    // Programs, and another guest, meanwhile.
    let start = Instant::now();
    for number in 0..10 {
        says(&format!("xenstore-write /lab {number}"), "")?;
        says("xenstore-read /lab", &format!("{number}\n"))?;
    }
    eprintln!("20 requests beside {how}: {:.2} s", start.elapsed().as_secs_f64());
    says("xenstore-rm /lab", "")?;
    let mut log = console("honest")?;
    argv(&["/bin/xlr", "create", &honest])?.success()?;
    await_text(&mut log, "xtf: hello domid=", 60)?;
    for name in ["attacker", "honest"] {
        argv(&["/bin/xlr", "destroy", name])?.success()?;
    }
    Ok(())
}
