//! `xlr run`: a verdict for every way in which a guest can fare, and no domain after any.

use super::console::{Kill, Terminal};
use super::supervise::Supervisor;
use crate::case::{Case, Group};
use crate::dom0::dump;
use crate::dom0::host::{Stop, Verdict, argv, await_text, config, console, domid};
use crate::dom0::init;
use crate::dom0::pending::swept;
use crate::{ensure, fail};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case { ci: false, ..Case::new("run/verdicts", Group::Toolstack, verdicts) },
    Case { ci: false, ..Case::new("run/killed", Group::Toolstack, killed) },
    Case::new("run/killed-beside-a-supervisor", Group::Toolstack, killed_beside_a_supervisor),
    Case::new("run/suite", Group::Toolstack, || suite(WAYS.len())),
    Case { ci: false, ..Case::new("run/suite-of-twenty", Group::Toolstack, || suite(20)) },
    Case { ci: false, ..Case::new("run/progress", Group::Toolstack, progress) },
    Case { ci: false, ..Case::new("run/unread", Group::Toolstack, unread) },
    Case { ci: false, ..Case::new("run/crowded", Group::Toolstack, crowded) },
    Case { ci: false, ..Case::new("run/as-documented", Group::Toolstack, as_documented) },
    Case::new("run/files", Group::Toolstack, files),
    Case { ci: false, ..Case::new("run/suite-killed", Group::Toolstack, suite_killed) },
];

/// A microkernel that fares as it is told.
fn guest(name: &str, extra: &str) -> Result<String, Stop> {
    let text = format!(
        "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/fare\"\nmemory = 8\nvcpus = 1\n\
         extra = \"{extra}\"\n"
    );
    config(name, &text)
}

/// Each way to fare, and what is made of it.
fn verdicts() -> Verdict {
    let before = dump::take()?;
    const EXPECT: &[&str] = &["--expect", "all tests passed", "--fail-on", "tests failed|panic"];
    const NONE: &[&str] = &[];
    // What is waited for comes first, and what must not come after it.
    const FRAME: &[&str] = &["--expect", "Xen Test Framework", "--fail-on", "tests passed"];
    // (how the guest fares, what is asked for, exit code, what is told)
    let checks: &[(&str, &[&str], i32, &str)] = &[
        ("how=pass", EXPECT, 0, "pass judged after"),
        ("how=pass", NONE, 0, "ended by poweroff"),
        ("how=stay", EXPECT, 0, "printed what was expected"),
        ("how=prompt", EXPECT, 0, "printed what was expected"),
        ("how=fail", EXPECT, 1, "printed «1 of 7 tests failed»"),
        ("how=pass", FRAME, 1, "printed «all tests passed»"),
        ("how=pass mute=1", EXPECT, 1, "ended before that: \"all tests passed\""),
        ("how=crash", EXPECT, 1, "ended by crash and not by poweroff, after all"),
        ("how=crash", &["--expect", "all tests passed", "--end", "crash"], 0, "pass judged"),
        ("how=reboot", NONE, 1, "ended by reboot and not by poweroff"),
        ("how=reboot", &["--end", "reboot"], 0, "pass judged"),
        ("how=stay code=0", NONE, 0, "wrote exit code 0"),
        ("how=stay code=3", EXPECT, 1, "wrote exit code 3"),
        ("how=stay code=seven", NONE, 1, "wrote \"seven\""),
        ("how=hang", &["--timeout", "1"], 124, "not within 1 s: its end"),
        ("how=stay", &["--exit-code", "--timeout", "1"], 124, "not within 1 s: an exit code"),
        ("how=flood", &["--timeout", "1"], 124, "not within 1 s"),
        ("how=endless", &["--timeout", "1"], 124, "not within 1 s"),
        ("how=echo say=good word=good", &["--expect", "good"], 1, "ended before that: \"good\""),
        ("how=echo bad=1", &["--expect", "command", "--fail-on", "bad"], 0, "pass judged"),
    ];
    for (how, asked, code, words) in checks {
        let path = guest("judged", how)?;
        let said = argv(&[&["/bin/xlr", "run", &path, "--grace", "1"], *asked].concat())?;
        ensure!(said.code == *code, "{how}: exit code {}: {}{}", said.code, said.out, said.err);
        ensure!(said.out.contains(words), "{how}: no «{words}» in {}{}", said.out, said.err);
    }
    // What is wrong before there is a guest.
    let path = guest("judged", "how=pass")?;
    for (words, code, told) in [
        (&["run", "/tmp/none.cfg"][..], 3, "/tmp/none.cfg"),
        (&["run", &path, "kernel=\"/tmp/none\""], 3, "/tmp/none"),
        (&["run", &path, "memory=999999"], 3, ""),
        (&["run", &path, "--expect", "("], 2, "is no pattern"),
        (&["run"], 2, "required"),
    ] {
        let said = argv(&[&["/bin/xlr"], words].concat())?;
        ensure!(said.code == code, "{words:?}: exit code {}: {}", said.code, said.err);
        ensure!(said.err.contains(told), "{words:?}: no «{told}» in {}", said.err);
    }
    // All of a suite is read before any of it runs.
    let text = "[defaults]\nconfig = \"judged.cfg\"\n[[guest]]\nname = \"right\"\n\
        [[guest]]\nname = \"wrong\"\nset = [\"memory=4X\"]\n";
    std::fs::write("/tmp/wrong.toml", text)?;
    let said = argv(&["/bin/xlr", "run", "/tmp/wrong.toml", "--junit", "/tmp/wrong.xml"])?;
    ensure!(said.code == 2 && said.err.contains("guest \"wrong\""), "{}: {}", said.code, said.err);
    ensure!(!said.err.contains("right") && !Path::new("/tmp/wrong.xml").exists(), "{}", said.err);
    // The configuration's own actions are not done, and the console has its time.
    let said = argv(&["/bin/xlr", "run", &path, "on_poweroff=\"preserve\"", "--log", "/tmp/out"])?
        .success()?;
    let line = said.out.lines().find(|line| line.ends_with("all tests passed"));
    ensure!(line.is_some_and(|line| line.starts_with("[    ")), "no time: {}", said.out);
    let log = std::fs::read_to_string("/tmp/out/console.log")?;
    ensure!(said.out.starts_with(&log) && log.contains("all tests passed"), "{log}");
    std::fs::remove_dir_all("/tmp/out")?;
    dump::unchanged(&before, "verdicts")
}

/// However the runner ends, its guest goes with it.
fn killed() -> Verdict {
    let before = dump::take()?;
    let path = guest("leased", "how=stay")?;
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let mut log = console("leased")?;
        let mut command = init::command("/bin/xlr");
        let runner =
            command.args(["run", &path, "--timeout", "60"]).stdout(Stdio::null()).spawn()?;
        let mut runner = Kill(runner);
        await_text(&mut log, "all tests passed", 30)?;
        kill_process(Pid::from_child(&runner.0), signal).map_err(std::io::Error::from)?;
        let code = runner.0.wait()?.code();
        if signal == Signal::KILL {
            ensure!(code.is_none(), "{code:?} after SIGKILL");
            ensure!(domid("leased")?.is_some(), "who has removed it?");
            let said = swept()?;
            ensure!(said.err.contains("Removed what was left of domain"), "{}", said.err);
        } else if code != Some(130) {
            fail!("{code:?} after {signal:?}");
        }
        ensure!(domid("leased")?.is_none(), "{signal:?}: it is still there");
        dump::unchanged(&before, &format!("a run that {signal:?} ends"))?;
    }
    Ok(())
}

/// The supervisor removes it at once, and does nothing else at its end.
fn killed_beside_a_supervisor() -> Verdict {
    let before = dump::take()?;
    let path = guest("leased", "how=stay")?;
    let mut supervisor = Supervisor::start()?;
    let said = argv(&["/bin/xlr", "run", &path, "--grace", "0", "extra=\"how=reboot\""])?;
    ensure!(said.code == 1, "exit code {}: {}", said.code, said.out);
    let mut log = console("leased")?;
    let mut command = init::command("/bin/xlr");
    let mut runner = Kill(command.args(["run", &path]).stdout(Stdio::null()).spawn()?);
    await_text(&mut log, "all tests passed", 30)?;
    let leased = domid("leased")?.unwrap_or_default();
    runner.0.kill()?;
    runner.0.wait()?;
    supervisor.says(&format!("Removed what was left of domain {leased}"))?;
    let said = supervisor.end()?;
    ensure!(!said.contains("has shut down"), "it acted at a leased guest's end: {said}");
    dump::unchanged(&before, "a run that was killed beside a supervisor")
}

/// What a guest does, what is said of it, verdict, cause.
const WAYS: [(&str, &str, &str, &str); 13] = [
    ("how=pass", "", "pass", "expect"),
    ("how=stay", "", "pass", "expect"),
    ("how=prompt", "", "pass", "expect"),
    ("how=fail", "retries = 1", "fail", "fail-on"),
    ("how=pass mute=1", "", "fail", "unseen"),
    ("how=crash", "", "fail", "end"),
    ("how=crash", "end = \"crash\"", "pass", "expect"),
    ("how=reboot", "", "fail", "end"),
    ("how=stay code=0", "expect = []\nexit-code = true", "pass", "exit-code"),
    ("how=stay code=3", "", "fail", "exit-code"),
    ("how=hang", "timeout = 1", "timeout", "timeout"),
    ("how=flood", "timeout = 1", "timeout", "timeout"),
    ("how=pass", "set = ['kernel=\"/tmp/none\"']", "error", ""),
];

/// So many guests, at least one for each way to fare.
fn suite(count: usize) -> Verdict {
    let before = dump::take()?;
    let mut text = String::from(
        "[defaults]\nconfig = \"judged.cfg\"\nexpect = \"all tests passed\"\n\
         fail-on = \"tests failed\"\ngrace = 1\n",
    );
    guest("judged", "")?;
    for number in 0..count {
        let (how, said, ..) = WAYS[number % WAYS.len()];
        text.push_str(&format!("[[guest]]\nname = \"guest-{number}\"\n{said}\n"));
        let set = format!("set = ['extra=\"{how}\"']\n");
        // One that has assignments of its own keeps to what its configuration says.
        text.push_str(if said.starts_with("set") { "" } else { &set });
    }
    std::fs::write("/tmp/many.toml", &text)?;
    let line = "run /tmp/many.toml -j 8 --json --junit /tmp/many.xml --log /tmp/many";
    let words: Vec<&str> = ["/bin/xlr"].into_iter().chain(line.split(' ')).collect();
    let said = argv(&words)?;
    ensure!(said.code == 1, "exit code {}: {}", said.code, said.err);
    let found: serde_json::Value = serde_json::from_str(&said.out)?;
    let Some(guests) = found["guests"].as_array() else { fail!("no guests: {found}") };
    ensure!(guests.len() == count && found["exit_code"] == 1, "{found}");
    let (mut failures, mut errors) = (0, 0);
    for (number, guest) in guests.iter().enumerate() {
        let (how, asked, verdict, cause) = WAYS[number % WAYS.len()];
        let Some(last) = guest["attempts"].as_array().and_then(|all| all.last()) else {
            fail!("{how}: it was not run: {guest}");
        };
        let found = (guest["verdict"].as_str(), last["cause"].as_str().unwrap_or_default());
        ensure!(found == (Some(verdict), cause), "guest-{number}, {how}, {asked}: {guest}");
        ensure!(guest["name"] == format!("guest-{number}"), "the order: {guest}");
        ensure!((guest["retries"] == 1) == asked.contains("retries"), "{how}: {guest}");
        failures += usize::from(matches!(verdict, "fail" | "timeout"));
        errors += usize::from(verdict == "error");
        let core = format!("/tmp/many/guest-{number}/core");
        let there = std::fs::read(&core).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF"));
        ensure!(there == how.contains("crash"), "guest-{number}, {how}: a core: {there}: {guest}");
        ensure!((last["core"] == core.as_str()) == there, "its core: {guest}");
        if verdict != "error" {
            let log = std::fs::read_to_string(format!("/tmp/many/guest-{number}/console.log"))?;
            ensure!(!log.is_empty(), "guest-{number} has no log");
        }
    }
    ensure!(Path::new("/tmp/many/guest-3/retry-1/console.log").exists(), "no log");
    let junit = std::fs::read_to_string("/tmp/many.xml")?;
    let totals = format!("tests=\"{count}\" failures=\"{failures}\" errors=\"{errors}\"");
    ensure!(junit.contains(&totals) && junit.contains("<rerunFailure"), "no {totals}: {junit}");
    std::fs::remove_dir_all("/tmp/many")?;
    dump::unchanged(&before, "a suite")
}

/// The commands of the pipelines that the documents show, as they stand there but for sudo.
fn as_documented() -> Verdict {
    let before = dump::take()?;
    let commands: Vec<&str> = include_str!("../../../docs/ci.md")
        .lines()
        .filter_map(|line| {
            let line = line.trim().trim_start_matches("- ");
            line.trim_start_matches("run: ").strip_prefix("sudo -n ")
        })
        .collect();
    let programs: Vec<_> = commands.iter().filter_map(|line| line.split(' ').next()).collect();
    let (xlr, chown) = ("/usr/local/bin/xlr", "/usr/bin/chown");
    ensure!(programs == [xlr, chown, xlr, chown], "other commands: {commands:?}");
    for (path, target) in [(xlr, "/bin/xlr"), (chown, "/bin/busybox")] {
        if !Path::new(path).exists() {
            std::fs::create_dir_all(Path::new(path).parent().unwrap_or(Path::new("/")))?;
            std::os::unix::fs::symlink(target, path)?;
        }
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    std::fs::write("/etc/passwd", format!("{users}ci:x:1000:1000::/:/bin/sh\n"))?;
    std::fs::create_dir_all("/tmp/job/ci")?;
    guest("judged", "")?;
    std::fs::rename("/tmp/judged.cfg", "/tmp/job/ci/judged.cfg")?;
    for (bad, code) in [("how=pass", 0), ("how=fail", 1)] {
        let text = format!(
            "[defaults]\nconfig = \"judged.cfg\"\nexpect = \"all tests passed\"\n\
             fail-on = \"tests failed\"\n[[guest]]\nname = \"one\"\nset = ['extra=\"how=pass\"']\n\
             [[guest]]\nname = \"two\"\nset = ['extra=\"{bad}\"']\n"
        );
        std::fs::write("/tmp/job/ci/suite.toml", text)?;
        for (number, line) in commands.iter().enumerate() {
            let said = argv(&["/bin/sh", "-c", &format!("cd /tmp/job && {line}")])?;
            let wanted = if number % 2 == 0 { code } else { 0 };
            ensure!(said.code == wanted, "{line}: exit code {}: {}", said.code, said.err);
        }
        let junit = std::fs::read_to_string("/tmp/job/junit.xml")?;
        ensure!(junit.contains(&format!("tests=\"2\" failures=\"{code}\"")), "{junit}");
        for path in ["junit.xml", "out/one/console.log", "out/two/console.log"] {
            let owner = std::fs::metadata(format!("/tmp/job/{path}"))?.uid();
            ensure!(owner == 1000, "{path} is {owner}'s");
        }
    }
    std::fs::remove_dir_all("/tmp/job")?;
    std::fs::write("/etc/passwd", users)?;
    dump::unchanged(&before, "pipelines")
}

/// Two suites on one host look at the same free memory: who comes too late waits.
fn crowded() -> Verdict {
    let before = dump::take()?;
    let info = argv(&["/bin/xlr", "info", "--json"])?.success()?;
    let info: serde_json::Value = serde_json::from_str(&info.out)?;
    let Some(free_mib) = info["free_memory"].as_u64() else { fail!("no free memory: {info}") };
    guest("judged", "")?;
    let mut runners = Vec::new();
    for suite in ["left", "right"] {
        let mut text = String::from("[defaults]\nconfig = \"judged.cfg\"\n");
        for number in 0..16 {
            text.push_str(&format!(
                "[[guest]]\nname = \"{suite}-{number}\"\nset = ['extra=\"how=pass\"', 'memory={}']\n",
                free_mib * 3 / 5
            ));
        }
        let path = format!("/tmp/{suite}.toml");
        std::fs::write(&path, text)?;
        let mut command = init::command("/bin/xlr");
        command.args(["run", &path, "-j", "2", "--json"]);
        runners.push(Kill(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?));
    }
    let mut waited = 0;
    for mut runner in runners {
        let (mut said, mut told) = (String::new(), String::new());
        let (Some(mut out), Some(mut err)) = (runner.0.stdout.take(), runner.0.stderr.take())
        else {
            fail!("no pipes to xlr run");
        };
        out.read_to_string(&mut said)?;
        err.read_to_string(&mut told)?;
        let found: serde_json::Value = serde_json::from_str(&said)?;
        let Some(guests) = found["guests"].as_array() else { fail!("no guests: {found} {told}") };
        let verdicts = guests.iter().filter(|guest| guest["verdict"] == "pass").count();
        ensure!(verdicts == 16, "{verdicts} of 16 have passed: {found}\n{told}");
        waited += told.matches("others have its memory").count();
    }
    println!("{waited} had to wait");
    dump::unchanged(&before, "two suites")
}

/// Nobody reads what a guest prints without end: its time runs all the same, and it goes.
fn unread() -> Verdict {
    let before = dump::take()?;
    let path = guest("judged", "how=flood")?;
    let mut log = console("judged")?;
    let mut command = init::command("/bin/xlr");
    command.args(["run", &path, "--timeout", "3"]).stdout(Stdio::piped());
    let mut runner = Kill(command.spawn()?);
    await_text(&mut log, "a line of a flood", 30)?;
    argv(&["/bin/xlr", "wait", "--until", "gone", "--timeout", "30", "judged"])?.success()?;
    ensure!(runner.0.try_wait()?.is_none(), "it has ended with words that nobody has read");
    let mut said = String::new();
    if let Some(mut pipe) = runner.0.stdout.take() {
        pipe.read_to_string(&mut said)?;
    }
    let code = runner.0.wait()?.code();
    let last = said.lines().next_back().unwrap_or_default();
    ensure!(code == Some(124) && last.starts_with("timeout judged"), "{code:?}: {last}");
    dump::unchanged(&before, "a flood that nobody reads")
}

/// How far a suite is: lines in a log, what moves on a terminal; a table in the end.
fn progress() -> Verdict {
    let before = dump::take()?;
    guest("judged", "how=stay")?;
    let text = "[defaults]\nconfig = \"judged.cfg\"\nexpect = \"all tests passed\"\n\
        [[guest]]\nname = \"one\"\n[[guest]]\nname = \"two\"\n";
    std::fs::write("/tmp/two.toml", text)?;
    let words = ["/bin/xlr", "run", "/tmp/two.toml", "-j", "2"];
    let said = argv(&words)?.success()?;
    ensure!(said.out.contains("GUEST") && said.out.contains("2 guests in"), "{}", said.out);
    for line in ["run  one", "run  two", "pass one after", "pass two after"] {
        ensure!(said.err.contains(line), "no «{line}» in {}", said.err);
    }
    let mut terminal = Terminal::start(&words)?;
    terminal.until("0/2 guests")?;
    terminal.until("2 guests in")?;
    let code = terminal.end()?;
    ensure!(code == 0, "exit code {code}: {}", terminal.text());
    dump::unchanged(&before, "suites that are watched")
}

/// Files that a guest writes to its scratch device arrive, and nothing else of it.
fn files() -> Verdict {
    let before = dump::take()?;
    let hand_out = "#!/bin/sh\n\
        export PATH=/sbin:/bin\n\
        mount -t devtmpfs dev /dev\n\
        mkdir -p /out/below\n\
        echo result-42 >/out/result.xml\n\
        echo deep >/out/below/deep\n\
        ln -s /etc/passwd /out/link\n\
        while [ ! -b /dev/xvdz ]; do sleep 1; done\n\
        tar -cf /dev/xvdz -C /out . && sync && echo all is handed out >/dev/console\n\
        exec /bin/busybox poweroff -f\n";
    std::fs::create_dir_all("/tmp/handing")?;
    std::fs::write("/tmp/handing/hand-out", hand_out)?;
    let pack = "cd /tmp/handing && chmod 755 hand-out && \
        echo hand-out | busybox cpio -o -H newc | busybox gzip >/tmp/handing.gz && \
        cat /guest/initramfs.gz /tmp/handing.gz >/tmp/handing.img";
    argv(&["/bin/sh", "-c", pack])?.success()?;
    let text = "name = \"handing\"\ntype = \"pv\"\nkernel = \"/guest/vmlinuz\"\n\
        ramdisk = \"/tmp/handing.img\"\nmemory = 128\nvcpus = 1\n\
        extra = \"console=hvc0 rdinit=/hand-out quiet\"\n";
    let path = config("handing", text)?;
    let line = ["/bin/xlr", "run", &path, "--expect", "all is handed out", "--scratch", "4MiB"];
    let said = argv(&[&line[..], &["--json", "--log", "/tmp/handed"]].concat())?.success()?;
    let found: serde_json::Value = serde_json::from_str(&said.out)?;
    let attempt = &found["guests"][0]["attempts"][0];
    ensure!(attempt["files"] == "/tmp/handed/files", "{found}");
    ensure!(attempt["notes"].to_string().contains("link"), "{found}");
    let result = std::fs::read_to_string("/tmp/handed/files/result.xml")?;
    let deep = std::fs::read_to_string("/tmp/handed/files/below/deep")?;
    ensure!((result.as_str(), deep.as_str()) == ("result-42\n", "deep\n"), "{result}{deep}");
    ensure!(std::fs::read_dir("/tmp/handed/files")?.count() == 2, "a link was made");
    ensure!(std::fs::read_dir("/tmp/handed")?.count() == 2, "the device's file is left");
    let said = argv(&line)?;
    ensure!(said.code == 2 && said.err.contains("--log"), "nowhere to go: {}", said.err);
    for path in ["/tmp/handed", "/tmp/handing"] {
        std::fs::remove_dir_all(path)?;
    }
    for path in ["/tmp/handing.gz", "/tmp/handing.img"] {
        std::fs::remove_file(path)?;
    }
    dump::unchanged(&before, "files that were handed out")
}

/// Killed at any moment of a suite, it leaves nothing that the next command does not remove.
fn suite_killed() -> Verdict {
    let before = dump::take()?;
    guest("judged", "how=stay")?;
    let mut text = String::from("[defaults]\nconfig = \"judged.cfg\"\ntimeout = 60\n");
    for number in 0..12 {
        text.push_str(&format!("[[guest]]\nname = \"guest-{number}\"\nexpect = \"none\"\n"));
    }
    std::fs::write("/tmp/killed.toml", &text)?;
    for pause_ms in [50, 150, 300, 500, 800, 1200, 2000] {
        let mut command = init::command("/bin/xlr");
        command.args(["run", "/tmp/killed.toml", "-j", "8"]);
        let mut runner = Kill(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        // The moment of the kill is what is tried here; no event stands for it.
        std::thread::sleep(std::time::Duration::from_millis(pause_ms));
        runner.0.kill()?;
        runner.0.wait()?;
        swept()?;
        dump::unchanged(&before, &format!("a suite that was killed after {pause_ms} ms"))?;
    }
    Ok(())
}
