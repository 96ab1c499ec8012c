//! What happens at a domain's end: `create -F`, `shutdown -w` and `reboot` do what the configuration
//! says, and nothing else.

use crate::case::{Case, Group};
use crate::dom0::dump;
use crate::dom0::follow::Follow;
use crate::dom0::host::{Stop, Verdict, argv, await_text, config, console, domid, run};
use crate::dom0::init;
use crate::{ensure, fail};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("ends/foreground", Group::Toolstack, foreground),
    Case::new("ends/foreground-console", Group::Toolstack, foreground_console),
    Case::new("ends/shutdown-wait", Group::Toolstack, shutdown_wait),
    Case::new("ends/reboot", Group::Toolstack, reboot),
    Case::new("ends/reboot-as-it-was", Group::Toolstack, reboot_as_it_was),
    Case::new("ends/reboot-of-the-dead", Group::Toolstack, reboot_of_the_dead),
    Case::new("ends/restart-refused", Group::Toolstack, restart_refused),
    Case::new("ends/restart-that-fails", Group::Toolstack, restart_that_fails),
    Case::new("ends/restart-renamed", Group::Toolstack, restart_renamed),
    Case::new("ends/two-for-one-end", Group::Toolstack, two_for_one_end),
    Case::new("ends/two-reboots", Group::Toolstack, two_reboots),
    Case::new("ends/foreground-unread", Group::Toolstack, foreground_unread),
];

/// A microkernel that ends as `on` says when it is asked to, with more lines of configuration.
fn idle(name: &str, on: &str, lines: &str) -> Result<String, Stop> {
    let text = format!(
        "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\nvcpus = 1\n\
         extra = \"on={on}\"\n{lines}\n"
    );
    config(name, &text)
}

/// Waits for the next time that the guest is ready, and forgets what it said.
fn ready(log: &mut Follow) -> Verdict {
    await_text(log, "xtf: idle", 30)?;
    log.text.clear();
    Ok(())
}

/// Asks the guest for its end.
fn ask(domid: u32, word: &str) -> Verdict {
    let node = format!("/local/domain/{domid}/control/shutdown");
    argv(&["/usr/bin/xenstore-write", &node, word])?.success()?;
    Ok(())
}

fn there(name: &str) -> Result<u32, Stop> {
    domid(name)?.ok_or_else(|| Stop::Failed(format!("there is no {name}")))
}

fn uuid_of(domid: u32) -> Result<String, Stop> {
    let node = format!("/local/domain/{domid}/vm");
    Ok(run(&format!("/usr/bin/xenstore-read {node}"))?.success()?.out.trim().to_owned())
}

fn start(args: &[&str]) -> Result<Child, Stop> {
    let mut command = init::command("/bin/xlr");
    Ok(command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// The exit code, and both outputs.
fn finished(mut child: Child) -> Result<(Option<i32>, String), Stop> {
    let mut said = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut said)?;
    }
    if let Some(mut pipe) = child.stderr.take() {
        pipe.read_to_string(&mut said)?;
    }
    let code = child.wait()?.code();
    eprintln!("{said}[{code:?}]");
    Ok((code, said))
}

/// Every action, for one reason each; `create -F` ends with the last domain it looks after.
fn foreground() -> Verdict {
    let before = dump::take()?;
    // (how it ends, what the configuration says, whether it stays, what is said)
    let checks = [
        ("poweroff", "", false, "reason code 0"),
        ("poweroff", "on_poweroff = \"preserve\"", true, "is preserved"),
        ("crash", "", false, "reason code 3"),
        ("reboot", "on_reboot = \"destroy\"", false, "reason code 1"),
    ];
    for (on, line, stays, words) in checks {
        let path = idle("ended", on, line)?;
        let mut log = console("ended")?;
        let child = start(&["create", "-F", &path])?;
        ready(&mut log)?;
        let id = there("ended")?;
        ask(id, "poweroff")?;
        let (code, said) = finished(child)?;
        ensure!(code == Some(0), "{on}, {line}: {code:?}: {said}");
        ensure!(said.contains(words), "{on}, {line}: no «{words}» in {said}");
        ensure!(domid("ended")?.is_some() == stays, "{on}, {line}: {said}");
        if stays {
            run("/bin/xlr destroy ended")?.success()?;
        }
        dump::unchanged(&before, &format!("on={on}, {line}"))?;
    }

    // Started again, under its name and with its UUID, until it ends in another way.
    let path = idle("ended", "obey", "")?;
    let mut log = console("ended")?;
    let child = start(&["create", "-F", &path])?;
    ready(&mut log)?;
    let first = there("ended")?;
    let uuid = uuid_of(first)?;
    ask(first, "reboot")?;
    ready(&mut log)?;
    let second = there("ended")?;
    ensure!(second != first, "it was not started again: {first}");
    ensure!(uuid_of(second)? == uuid, "its UUID was {uuid}, is {}", uuid_of(second)?);
    ask(second, "poweroff")?;
    let (code, said) = finished(child)?;
    ensure!(code == Some(0), "{code:?}: {said}");
    dump::unchanged(&before, "a restart and an end")?;

    // Kept under another name, and started again under its own.
    let path = idle("ended", "obey", "on_crash = \"rename-restart\"")?;
    let mut log = console("ended")?;
    let child = start(&["create", "-F", &path])?;
    ready(&mut log)?;
    let first = there("ended")?;
    let uuid = uuid_of(first)?;
    ask(first, "crash")?;
    ready(&mut log)?;
    let second = there("ended")?;
    let name = argv(&["/xen/bin/xl", "domname", &first.to_string()])?.success()?.out;
    ensure!(second != first && name.starts_with("ended-20"), "{first} is called {name}");
    ensure!(uuid_of(second)? == uuid && uuid_of(first)? != uuid, "the UUID stays with the dead");
    run(&format!("/bin/xlr destroy {first}"))?.success()?;
    ask(second, "poweroff")?;
    let (code, said) = finished(child)?;
    ensure!(code == Some(0), "{code:?}: {said}");
    dump::unchanged(&before, "a preserved domain, a restart and an end")?;

    // Removed by somebody else.
    let mut log = console("ended")?;
    let child = start(&["create", "-F", &path])?;
    ready(&mut log)?;
    run("/xen/bin/xl destroy ended")?.success()?;
    let (code, said) = finished(child)?;
    ensure!(code == Some(0) && said.contains("has been destroyed"), "{code:?}: {said}");
    run("/bin/xlr create -p /tmp/ended.cfg")?.success()?;
    run("/bin/xlr destroy ended")?.success()?;
    dump::unchanged(&before, "an end by xl")
}

/// With `-c` the console of every domain that follows is on standard output.
fn foreground_console() -> Verdict {
    let before = dump::take()?;
    let path = idle("spoken", "obey", "")?;
    let mut log = console("spoken")?;
    let mut child = start(&["create", "-Fc", &path])?;
    ready(&mut log)?;
    let first = there("spoken")?;
    ask(first, "reboot")?;
    if let Err(stop) = ready(&mut log) {
        child.kill()?;
        fail!("{stop:?}; xlr: {:?}", finished(child)?);
    }
    ask(there("spoken")?, "poweroff")?;
    let (code, said) = finished(child)?;
    ensure!(code == Some(0), "{code:?}: {said}");
    let starts = said.matches("xtf: idle").count();
    let ends = said.matches("Test result: SUCCESS").count();
    ensure!(starts == 2 && ends == 2, "{starts} starts and {ends} ends on the console: {said}");
    dump::unchanged(&before, "two domains with their console")
}

/// `shutdown -w` removes what has shut down, unless it is to be kept or started again.
fn shutdown_wait() -> Verdict {
    let before = dump::take()?;
    let checks = [
        ("obey", "", false, "reason code 0"),
        ("obey", "on_poweroff = \"preserve\"", true, "is preserved"),
        ("reboot", "", true, "xlr reboot"),
        ("reboot", "on_reboot = \"destroy\"", false, "reason code 1"),
        ("crash", "on_crash = \"preserve\"", true, "is preserved"),
    ];
    for (on, line, stays, words) in checks {
        let path = idle("waited", on, line)?;
        let mut log = console("waited")?;
        run(&format!("/bin/xlr create {path}"))?.success()?;
        ready(&mut log)?;
        let said = run("/bin/xlr shutdown -w waited")?.success()?;
        ensure!(said.err.contains(words), "{on}, {line}: no «{words}» in {}", said.err);
        ensure!(domid("waited")?.is_some() == stays, "{on}, {line}: {}", said.err);
        if stays {
            run("/bin/xlr destroy waited")?.success()?;
        }
        dump::unchanged(&before, &format!("shutdown -w with on={on}, {line}"))?;
    }
    Ok(())
}

/// `reboot` starts a domain again from what it was made from, or from what `config-update` of either
/// tool has left.
fn reboot() -> Verdict {
    let before = dump::take()?;
    let path = idle("again", "obey", "")?;
    let mut log = console("again")?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    ready(&mut log)?;
    // From what it was made from, not from what stands at the path now.
    std::fs::write(&path, "broken")?;
    let mut last = there("again")?;
    let uuid = uuid_of(last)?;
    run("/bin/xlr reboot again")?.success()?;
    ready(&mut log)?;
    for (tool, memory_mib) in [("/bin/xlr", 12), ("/xen/bin/xl", 16)] {
        let now = there("again")?;
        ensure!(now != last, "it was not started again: {now}");
        ensure!(uuid_of(now)? == uuid, "its UUID was {uuid}, is {}", uuid_of(now)?);
        last = now;
        let path = idle("again", "obey", &format!("memory = {memory_mib}"))?;
        argv(&[tool, "config-update", "again", &path])?.success()?;
        run("/bin/xlr reboot -w again")?.success()?;
        ready(&mut log)?;
        let list = run("/xen/bin/xl list again")?.success()?.out;
        let memory = list.lines().nth(1).and_then(|line| line.split_whitespace().nth(2));
        ensure!(memory == Some(&memory_mib.to_string()), "{memory:?} MiB and not {memory_mib}");
    }
    // What cannot be built again is not taken down.
    let last = there("again")?;
    std::fs::copy("/guest/xtf/idle", "/tmp/kernel")?;
    let path = idle("again", "obey", "kernel = \"/tmp/kernel\"")?;
    run(&format!("/bin/xlr config-update again {path}"))?.success()?;
    std::fs::remove_file("/tmp/kernel")?;
    let said = run("/bin/xlr reboot again")?.failure()?;
    ensure!(said.err.contains("/tmp/kernel"), "{}", said.err);
    ensure!(domid("again")? == Some(last), "it was removed: {}", said.err);
    match run("/bin/xlr config-update again memory=\"x\"")?.failure()? {
        said if said.code == 3 => {}
        said => fail!("a broken configuration is taken: {}", said.err),
    }
    run("/bin/xlr destroy again")?.success()?;
    dump::unchanged(&before, "reboots")
}

/// A reboot keeps what either tool has changed since: name, memory and vcpus.
fn reboot_as_it_was() -> Verdict {
    let before = dump::take()?;
    for [rename, limit, target] in
        [["/bin/xlr", "/xen/bin/xl", "/bin/xlr"], ["/xen/bin/xl", "/bin/xlr", "/xen/bin/xl"]]
    {
        let path = idle("was", "obey", "vcpus = 3")?;
        let mut log = console("was")?;
        run(&format!("/bin/xlr create {path}"))?.success()?;
        ready(&mut log)?;
        let mut log = console("is")?;
        argv(&[rename, "rename", "was", "is"])?.success()?;
        argv(&[limit, "mem-max", "is", "16"])?.success()?;
        argv(&[target, "mem-set", "is", "12"])?.success()?;
        argv(&[limit, "vcpu-set", "-i", "is", "2"])?.success()?;
        let last = there("is")?;
        run("/bin/xlr reboot is")?.success()?;
        ready(&mut log)?;
        let now = there("is")?;
        ensure!(now != last, "it was not started again");
        for (node, kib) in [("target", "12288"), ("static-max", "16384")] {
            let path = format!("/local/domain/{now}/memory/{node}");
            let found = argv(&["/usr/bin/xenstore-read", &path])?.success()?.out;
            ensure!(found.trim() == kib, "{rename} renamed it, and {node} is {found}");
        }
        let mut vcpus = Vec::new();
        for vcpu in 0..3 {
            let path = format!("/local/domain/{now}/cpu/{vcpu}/availability");
            vcpus.push(argv(&["/usr/bin/xenstore-read", &path])?.success()?.out);
        }
        ensure!(vcpus == ["online\n", "online\n", "offline\n"], "its vcpus are {vcpus:?}");
        run("/bin/xlr destroy is")?.success()?;
    }
    dump::unchanged(&before, "reboots of what was changed")
}

/// Whoever asks for a reboot gets a domain that runs, however the old one ends, unless it is to be
/// kept, which is no success then.
fn reboot_of_the_dead() -> Verdict {
    let before = dump::take()?;
    for on in ["poweroff", "crash"] {
        let path = idle("dead", on, "")?;
        let mut log = console("dead")?;
        run(&format!("/bin/xlr create {path}"))?.success()?;
        ready(&mut log)?;
        let first = there("dead")?;
        let said = run("/bin/xlr reboot dead")?.success()?;
        ready(&mut log)?;
        ensure!(there("dead")? != first, "{on}: it was not started again: {}", said.err);
        run("/bin/xlr destroy dead")?.success()?;
        dump::unchanged(&before, &format!("a reboot answered by {on}"))?;
    }
    let path = idle("dead", "crash", "on_crash = \"preserve\"")?;
    let mut log = console("dead")?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    ready(&mut log)?;
    let first = there("dead")?;
    let said = run("/bin/xlr reboot dead")?.failure()?;
    ensure!(said.err.contains("is kept, not started again"), "{}", said.err);
    ensure!(there("dead")? == first, "it was not kept: {}", said.err);
    run("/bin/xlr destroy dead")?.success()?;
    dump::unchanged(&before, "a reboot of what is preserved")
}

/// A configuration with the name of another domain is refused while the old domain is still there.
fn restart_refused() -> Verdict {
    let before = dump::take()?;
    let path = idle("lost", "obey", "")?;
    let mut log = console("lost")?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    ready(&mut log)?;
    let other = idle("other", "obey", "")?;
    run(&format!("/bin/xlr create -p {other}"))?.success()?;
    run(&format!("/bin/xlr config-update lost {other}"))?.success()?;
    let first = there("lost")?;
    let said = run("/bin/xlr reboot lost")?.failure()?;
    ensure!(said.err.contains("the name \"other\" belongs to"), "{}", said.err);
    ensure!(there("lost")? == first, "it was taken down: {}", said.err);
    run("/bin/xlr destroy other")?.success()?;
    run("/bin/xlr destroy lost")?.success()?;
    dump::unchanged(&before, "a restart that was refused")
}

/// What fails after a domain was taken down, here for want of memory, costs it its memory and never
/// its configuration.
fn restart_that_fails() -> Verdict {
    let before = dump::take()?;
    let path = idle("lost", "obey", "")?;
    let mut log = console("lost")?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    ready(&mut log)?;
    let first = there("lost")?;
    let path = idle("lost", "obey", "memory = 6000")?;
    run(&format!("/bin/xlr config-update lost {path}"))?.success()?;
    let uuid = uuid_of(first)?.trim_start_matches("/vm/").to_owned();
    let said = run("/bin/xlr reboot lost")?.failure()?;
    ensure!(domid("lost")?.is_none(), "6000 MiB are there: {}", said.err);
    let kept = format!("/var/lib/xlr/restarts/{uuid}.cfg");
    let words = format!("create {kept} starts it");
    ensure!(said.err.contains(&words), "no «{words}» in {}", said.err);
    let said = run("/bin/xlr list")?.success()?;
    ensure!(said.err.contains(&words), "the next command says nothing: {}", said.err);
    run(&format!("/bin/xlr create {kept} memory=8"))?.success()?;
    ready(&mut log)?;
    ensure!(uuid_of(there("lost")?)? == format!("/vm/{uuid}"), "another UUID than {uuid}");
    ensure!(!std::path::Path::new(&kept).exists(), "{kept} is left");
    run("/bin/xlr destroy lost")?.success()?;
    dump::unchanged(&before, "a restart that failed")
}

/// A domain keeps the name that it was given since it was made.
fn restart_renamed() -> Verdict {
    let before = dump::take()?;
    let path = idle("lost", "obey", "")?;
    let mut log = console("lost")?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    ready(&mut log)?;
    run("/bin/xlr rename lost found")?.success()?;
    let first = there("found")?;
    let mut log = console("found")?;
    run("/bin/xlr reboot found")?.success()?;
    ensure!(domid("lost")?.is_none(), "it has its old name again");
    ready(&mut log)?;
    ensure!(there("found")? != first, "it was not started again");
    run("/bin/xlr destroy found")?.success()?;
    dump::unchanged(&before, "a restart under another name")
}

/// A domain that a `create -F` stays for is left to it by `reboot` and `shutdown -w`.
fn two_for_one_end() -> Verdict {
    let before = dump::take()?;
    let path = idle("cared", "obey", "")?;
    let mut log = console("cared")?;
    let child = start(&["create", "-F", &path])?;
    ready(&mut log)?;
    let first = there("cared")?;
    let uuid = uuid_of(first)?;
    let said = run("/bin/xlr reboot cared")?.success()?;
    // It waits until the other one stands, and says which.
    let second = there("cared")?;
    let words = format!("has been started again as domain {second}");
    ensure!(said.err.contains(&words), "no «{words}» in {}", said.err);
    ensure!(second != first && uuid_of(second)? == uuid, "{first} became {second}");
    ready(&mut log)?;
    run("/bin/xlr shutdown -w cared")?.success()?;
    let (code, said) = finished(child)?;
    ensure!(code == Some(0), "{code:?}: {said}");
    let ends = said.matches("has shut down, reason code").count();
    ensure!(ends == 2, "create -F looked after {ends} of two domains: {said}");

    // Where it starts none, a reboot has failed.
    let path = idle("cared", "obey", "on_reboot = \"destroy\"")?;
    let mut log = console("cared")?;
    let child = start(&["create", "-F", &path])?;
    ready(&mut log)?;
    let said = run("/bin/xlr reboot cared")?.failure()?;
    ensure!(said.err.contains("has started none in its place"), "{}", said.err);
    let (code, said) = finished(child)?;
    ensure!(code == Some(0), "{code:?}: {said}");
    dump::unchanged(&before, "a domain that was cared for")
}

/// Of two reboots that wait for one end, one finds nothing more to do.
fn two_reboots() -> Verdict {
    let before = dump::take()?;
    let path = idle("cared", "ignore", "")?;
    let mut log = console("cared")?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    ready(&mut log)?;
    let first = there("cared")?;
    let rebooting = [waiting(&["reboot", "cared"])?, waiting(&["reboot", "cared"])?];
    let xen = libxc_safe::Xen::open().map_err(|error| Stop::Failed(error.to_string()))?;
    let number = libxc_safe::Domid(u16::try_from(first).unwrap_or_default());
    xen.shutdown(number, libxc_safe::ShutdownReason::Reboot)
        .map_err(|error| Stop::Failed(error.to_string()))?;
    for mut child in rebooting {
        let code = child.wait()?.code();
        ensure!(code == Some(0), "a reboot ended with {code:?}");
    }
    ensure!(there("cared")? != first, "it was not started again");
    run("/bin/xlr destroy cared")?.success()?;
    dump::unchanged(&before, "two reboots at once")
}

/// Starts a command that waits for one domain's end, and lets it come so far.
fn waiting(args: &[&str]) -> Result<Child, Stop> {
    let mut child = start(args)?;
    let Some(pipe) = child.stderr.take() else { fail!("no pipe to xlr") };
    let mut lines = BufReader::new(pipe);
    let mut line = String::new();
    while !line.contains("Waiting for 1") {
        line.clear();
        ensure!(lines.read_line(&mut line)? > 0, "xlr {args:?} does not wait");
    }
    // What it says later may go unread, as a pipe takes all of it.
    child.stderr = Some(lines.into_inner());
    Ok(child)
}

/// That nobody reads the console any more is no reason to lose the domain.
fn foreground_unread() -> Verdict {
    let before = dump::take()?;
    let path = idle("unread", "obey", "")?;
    let mut log = console("unread")?;
    let mut child = start(&["create", "-Fc", &path])?;
    drop(child.stdout.take());
    ready(&mut log)?;
    let first = there("unread")?;
    ask(first, "reboot")?;
    ready(&mut log)?;
    ensure!(there("unread")? != first, "it was not started again");
    ask(there("unread")?, "poweroff")?;
    let (code, said) = finished(child)?;
    ensure!(code == Some(0), "{code:?}: {said}");
    dump::unchanged(&before, "a console without a reader")
}
