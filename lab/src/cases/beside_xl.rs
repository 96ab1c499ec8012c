//! xlr beside xl: each lists, renames, ends and removes what the other made, and nothing is left.

use crate::case::{Case, Group};
use crate::dom0::dump;
use crate::dom0::host::{
    Stop, Verdict, argv, await_node, await_process_end, await_text, config, console, domid, run,
};
use crate::{ensure, fail};
use std::time::Duration;
use xenstore::client::{Client, Nodes as _};

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("beside-xl/list-long", Group::Toolstack, || list_long(&LONG)),
    Case {
        xen: "4.14",
        ci: false,
        // Without the keys that came later.
        ..Case::new("beside-xl/list-long-4.14", Group::Toolstack, || list_long(&LONG[..2]))
    },
    Case {
        xen: "4.20",
        ci: false,
        ..Case::new("beside-xl/list-long-4.20", Group::Toolstack, || list_long(&LONG))
    },
    Case::new("beside-xl/mixed", Group::Toolstack, mixed),
    Case::new("beside-xl/unasked", Group::Toolstack, unasked),
    Case::new("beside-xl/lock", Group::Toolstack, lock),
    Case::new("beside-xl/domid-history", Group::Toolstack, domid_history),
];

const UUID: &str = "11111111-2222-3333-4444-555555555555";

fn idle(name: &str) -> Result<String, Stop> {
    let text = format!(
        "name = \"{name}\"\nuuid = \"{UUID}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\n\
         memory = 8\nmaxmem = 8\nvcpus = 1\n"
    );
    config(name, &text)
}

/// Configurations whose listings are compared.
const LONG: [&str; 3] = [
    "vcpus = 1\nmemory = 8\nmaxmem = 8\n",
    "vcpus = 2\nmaxvcpus = 3\nmemory = 16\nmaxmem = 32\ncpus = \"0\"\ncpu_weight = 300\n\
     on_crash = \"preserve\"\non_poweroff = \"rename-restart\"\nextra = \"a \\\"b\\\" c\"\n\
     ramdisk = \"/guest/initramfs.gz\"\nmemory = 64\nmaxmem = 64\ntsc_mode = \"native\"\n",
    "vcpus = 2\nmemory = 16\nmaxmem = 16\ncpus = [\"0\", \"0\"]\ncpus_soft = \"0\"\ncap = 50\n\
     max_grant_frames = 16\nmax_maptrack_frames = 64\nmax_event_channels = 511\nnomigrate = 1\n\
     driver_domain = 1\nmsr_relaxed = 1\nrtc_timeoffset = 60\nmax_grant_version = 1\n\
     on_reboot = \"destroy\"\non_watchdog = \"coredump-restart\"\non_soft_reset = \"preserve\"\n",
];

/// What `xl list -l` prints of a domain is the same, whoever made it.
fn list_long(texts: &[&str]) -> Verdict {
    for text in texts {
        let head = format!(
            "name = \"long\"\nuuid = \"{UUID}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\n"
        );
        let path = config("long", &format!("{head}{text}"))?;
        let theirs = listed("/xen/bin/xl", &path)?;
        let ours = listed("/bin/xlr", &path)?;
        ensure!(ours == theirs, "for\n{text}\nxl lists\n{ours:#}\ninstead of\n{theirs:#}");
    }
    Ok(())
}

/// What `xl list -l` says of a domain that `tool` made.
fn listed(tool: &str, path: &str) -> Result<serde_json::Value, Stop> {
    argv(&[tool, "create", "-p", path])?.success()?;
    let said = run("/xen/bin/xl list -l long")?.success()?;
    let mut value: serde_json::Value = serde_json::from_str(&said.out)?;
    let Some(domain) = value.get_mut(0) else { fail!("xl lists nothing of {tool}'s domain") };
    domain["domid"] = 0.into();
    argv(&[tool, "destroy", "long"])?.success()?;
    Ok(value)
}

/// A domain made by one tool is listed, renamed, shut down and removed by the other.
pub(super) fn mixed() -> Verdict {
    let path = idle("mixed")?;
    let before = dump::take()?;
    for (maker, other) in [("/bin/xlr", "/xen/bin/xl"), ("/xen/bin/xl", "/bin/xlr")] {
        // Asked to shut down by the other.
        let mut log = console("mixed")?;
        argv(&[maker, "create", &path])?.success()?;
        await_text(&mut log, "xtf: idle", 30)?;
        let all = run("/xen/bin/xl list -l mixed")?.success()?.out;
        ensure!(all.contains(UUID) && all.contains("\"mixed\""), "xl list -l: {all}");
        let all = argv(&[other, "list"])?.success()?.out;
        ensure!(all.contains("mixed"), "{other} list: {all}");
        // A rename by hand, as neither tool is at work on it.
        run("/xen/bin/xl rename mixed renamed")?.success()?;
        let id = argv(&[maker, "domid", "renamed"])?.success()?.out.trim().to_owned();
        run("/xen/bin/xl rename renamed mixed")?.success()?;
        argv(&[other, "shutdown", "-w", "mixed"])?.success()?;
        // Either tool only waits for the end of the other's domain. Of xl's a process of its own
        // follows, which removes it; of ours none does.
        match maker {
            "/bin/xlr" => drop(argv(&["/bin/xlr", "destroy", &id])?.success()?),
            _ => await_process_end("/xen/bin/xl create", 30)?,
        }
        dump::unchanged(&before, &format!("{maker} create, {other} shutdown"))?;

        // Destroyed by the other, with what it was told for its next start.
        argv(&[maker, "create", "-p", &path])?.success()?;
        let id = domid("mixed")?.map_or(String::new(), |id| id.to_string());
        await_node(&format!("/local/domain/{id}/console/tty"), 20)?;
        argv(&[other, "config-update", "mixed", &path])?.success()?;
        let kept = std::fs::read(format!("/var/lib/xen/userdata-d.{id}.{UUID}.xl"))?;
        ensure!(kept == std::fs::read(&path)?, "{other} config-update kept something else");
        argv(&[other, "destroy", "mixed"])?.success()?;
        await_process_end("/xen/bin/xl create", 30)?;
        // Whatever xlr does next takes note that the domain is gone.
        run("/bin/xlr create -p /tmp/mixed.cfg")?.success()?;
        run("/bin/xlr destroy mixed")?.success()?;
        dump::unchanged(&before, &format!("{maker} create, {other} destroy"))?;
    }
    Ok(())
}

/// Unasked, xlr acts only on its own.
fn unasked() -> Verdict {
    let before = dump::take()?;
    let (theirs, ours) = (idle("theirs")?, idle("ours")?);
    let mut logs = [console("theirs")?, console("ours")?];
    let other = "uuid=\"99999999-2222-3333-4444-555555555555\"";
    run(&format!("/xen/bin/xl create {theirs}"))?.success()?;
    argv(&["/bin/xlr", "create", &ours, other])?.success()?;
    for log in &mut logs {
        await_text(log, "xtf: idle", 30)?;
    }
    let id = domid("theirs")?.map_or(String::new(), |id| id.to_string());
    let failed = |error: xenstore::client::Error| Stop::Failed(error.to_string());
    let asking = format!("/local/domain/{id}/control/shutdown");
    let mut store = Client::connect().map_err(failed)?;
    store.watch(&asking, "asking").map_err(failed)?;
    // xenstored answers in order: what was written before is heard with the answer.
    let mut heard = || -> Result<usize, Stop> {
        store.read_optional(&asking).map_err(failed)?;
        let mut count = 0;
        while store.next_event(Some(Duration::ZERO)).map_err(failed)?.is_some() {
            count += 1;
        }
        Ok(count)
    };
    ensure!(heard()? == 1, "a watch begins with an event");
    let said = run("/bin/xlr shutdown -a -w")?.success()?;
    ensure!(domid("ours")?.is_none(), "ours is still there: {}", said.err);
    ensure!(domid("theirs")?.is_some(), "theirs is gone: {}", said.err);
    ensure!(said.err.contains(&format!("xlr did not make them: {id};")), "{}", said.err);
    ensure!(heard()? == 0, "theirs was asked");
    // By name it is asked, and left to xl, which removes it.
    run("/bin/xlr shutdown -ww theirs")?.success()?;
    ensure!(heard()? > 0, "by name it was not asked either");
    await_process_end("/xen/bin/xl create", 30)?;
    dump::unchanged(&before, "shutdown -a, and one by name")
}

/// While xlr makes a domain xl does not, where it would make room first.
fn lock() -> Verdict {
    use crate::dom0::stopped::stopped;
    let conf = "/etc/xen/xl.conf";
    std::fs::create_dir_all("/etc/xen")?;
    std::fs::write(conf, "autoballoon=\"on\"\n")?;
    let path = idle("first")?;
    let second = idle("second")?;
    let uuid = "uuid=\"99999999-2222-3333-4444-555555555555\"";
    let before = dump::take()?;
    let made = stopped(&["create", "-p", "--stop-before-step", "5", &path])?;
    let mut xl = crate::dom0::init::command("/xen/bin/xl");
    let mut xl = xl.args(["create", "-p", &second, uuid]).spawn()?;
    // The kernel's list names who holds a lock and who waits for it ("->").
    let waiting = format!(" {} ", xl.id());
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let locks = std::fs::read_to_string("/proc/locks")?;
        if locks
            .lines()
            .any(|line| line.contains("->") && line.contains("POSIX") && line.contains(&waiting))
        {
            break;
        }
        ensure!(xl.try_wait()?.is_none(), "xl did not wait for xlr; locks:\n{locks}");
        ensure!(std::time::Instant::now() < deadline, "xl waits for no lock:\n{locks}");
        std::thread::sleep(Duration::from_millis(20));
    }
    ensure!(domid("second")?.is_none(), "xl made its domain all the same");
    let said = made.resume()?;
    ensure!(said.code == 0, "{}", said.err);
    ensure!(xl.wait()?.success(), "xl create failed");
    for name in ["first", "second"] {
        run(&format!("/bin/xlr destroy {name}"))?.success()?;
    }
    std::fs::remove_file(conf)?;
    dump::unchanged(&before, "two creates, one after the other")
}

/// A domid rests after its domain's end, whoever ended it, and whoever comes next.
fn domid_history() -> Verdict {
    const HISTORY: &str = "/run/xen/domid-history";
    let path = idle("resting")?;
    let create = |tool: &str| -> Result<u32, Stop> {
        argv(&[tool, "create", "-p", &path])?.success()?;
        domid("resting")?.ok_or_else(|| Stop::Failed(format!("{tool} made no domain")))
    };
    let mut last = 0;
    for tool in ["/bin/xlr", "/xen/bin/xl"] {
        last = create("/bin/xlr")?;
        argv(&[tool, "destroy", "resting"])?.success()?;
        let history = std::fs::read_to_string(HISTORY)?;
        let noted = history.lines().any(|line| line.split(' ').nth(1) == Some(&last.to_string()));
        ensure!(noted, "{tool} destroy {last} noted nothing: {history}");
    }
    // The numbers that come next have just been in use.
    let uptime = std::fs::read_to_string("/proc/uptime")?;
    let now = uptime.split('.').next().unwrap_or_default();
    let mut text = std::fs::read_to_string(HISTORY)?;
    text.push_str(&format!("{now} {}\n{now} {}\n", last + 1, last + 2));
    std::fs::write(HISTORY, text)?;
    let next = create("/bin/xlr")?;
    ensure!(next == last + 3, "domid {next} although {} and {} rest", last + 1, last + 2);
    run("/bin/xlr destroy resting")?.success()?;
    let after = create("/xen/bin/xl")?;
    ensure!(after == next + 1, "xl got domid {after} after {next}");
    run("/xen/bin/xl destroy resting")?.success()?;
    // The lines are still libxl's: it leaves out those whose time is over, and keeps the others.
    let history = std::fs::read_to_string(HISTORY)?;
    let all = [last + 1, last + 2, next, after];
    for id in all {
        let there = history.lines().any(|line| line.split(' ').nth(1) == Some(&id.to_string()));
        ensure!(there, "{id} is missing: {history}");
    }
    Ok(())
}
