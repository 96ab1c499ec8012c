//! Keys of xl.cfg whose effect only a running guest, or Xen itself, can show.

use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, await_text, config, console, domid, report, run};
use crate::dom0::init;
use crate::ensure;
use std::time::{SystemTime, UNIX_EPOCH};

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("options/wall-clock", Group::Create, wall_clock),
    Case::new("options/local-time", Group::Create, local_time),
    Case::new("options/grant-version", Group::Create, grant_version),
    Case::new("options/msr-relaxed", Group::Create, msr_relaxed),
    Case { xen: "4.14", ..Case::new("options/xen-4.14", Group::Create, refused_by_4_14) },
];

fn text(name: &str, words: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/vmlinuz\"\n\
         ramdisk = \"/guest/initramfs.gz\"\nextra = \"console=hvc0 {words}\"\n\
         memory = 128\n{more}\n"
    )
}

/// Boots a guest with a further line of configuration; what it printed.
fn boot(name: &str, words: &str, more: &str) -> Result<Vec<u8>, Stop> {
    let path = config(name, &text(name, words, more))?;
    let mut log = console(name)?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    await_text(&mut log, "xlr-guest: ready", 60)?;
    run(&format!("/bin/xlr destroy {name}"))?.success()?;
    Ok(log.text)
}

/// The guest's wall clock is a day ahead of dom0's.
fn wall_clock() -> Verdict {
    const DAY: i64 = 86_400;
    // The emulated machine is slow; a boot takes seconds, never an hour.
    const SLACK: i64 = 3_600;
    let printed = boot("clock", "", &format!("rtc_timeoffset = {DAY}"))?;
    let theirs = report(&printed).get("utc_seconds").and_then(|text| text.parse::<i64>().ok());
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let ours = i64::try_from(ours).unwrap_or(i64::MAX);
    let ahead = theirs.map(|theirs| theirs - ours);
    ensure!(
        ahead.is_some_and(|ahead| (ahead - DAY).abs() < SLACK),
        "the guest is ahead by {ahead:?} seconds, not by {DAY}"
    );
    Ok(())
}

/// With `localtime` the guest's clock is ahead of UTC as the host's is; a host without a time zone
/// is at UTC.
fn local_time() -> Verdict {
    let path = config("local", &text("local", "", "localtime = 1"))?;
    for (zone, ahead) in [(Some("AAA-2"), 7_200), (Some("BBB3:30"), -12_600), (None, 0)] {
        let mut command = init::command("/bin/xlr");
        command.args(["create", "--dry-run=json", &path]).env_remove("TZ");
        zone.map(|zone| command.env("TZ", zone));
        let out = command.output()?;
        ensure!(out.status.success(), "{zone:?}: {}", String::from_utf8_lossy(&out.stderr));
        let plan: serde_json::Value = serde_json::from_slice(&out.stdout)?;
        let steps = plan["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
        let offset = steps.iter().find(|step| step["step"] == "time-offset");
        let offset = offset.map_or(Some(0), |step| step["seconds"].as_i64());
        ensure!(offset == Some(ahead), "{zone:?}: ahead by {offset:?} seconds, not by {ahead}");
    }
    Ok(())
}

/// A guest that prefers version 2 gets it unless it may only have version 1.
fn grant_version() -> Verdict {
    for version in [1, 2] {
        let name = format!("grants-{version}");
        let more = format!("max_grant_version = {version}");
        let printed = boot(&name, "grant_table.version=2", &more)?;
        let wanted = format!("Grant tables using version {version} layout");
        let printed = String::from_utf8_lossy(&printed);
        ensure!(printed.contains(&wanted), "no «{wanted}» in:\n{printed}");
    }
    Ok(())
}

/// Reading an MSR that Xen does not know of is a fault, unless such reads are allowed.
fn msr_relaxed() -> Verdict {
    for (value, wanted) in [(0, "general protection fault"), (1, "Test result: SUCCESS")] {
        let path = config(
            "msr",
            &format!(
                "name = \"msr\"\ntype = \"pv\"\nkernel = \"/guest/xtf/msr\"\nmemory = 8\n\
                 msr_relaxed = {value}\n"
            ),
        )?;
        let mut log = console("msr")?;
        run(&format!("/bin/xlr create {path}"))?.success()?;
        let heard = await_text(&mut log, "Test result: ", 30);
        let heard = heard.and_then(|()| await_text(&mut log, "\n", 5));
        run("/bin/xlr destroy msr")?.success()?;
        heard?;
        let printed = String::from_utf8_lossy(&log.text);
        ensure!(printed.contains(wanted), "msr_relaxed = {value}: no «{wanted}» in:\n{printed}");
    }
    Ok(())
}

/// What Xen 4.14 does not have is refused before anything is made.
fn refused_by_4_14() -> Verdict {
    for (more, said) in [
        ("max_grant_version = 1", "Xen 4.14 chooses the version for all domains alike"),
        ("msr_relaxed = 1", "msr_relaxed needs Xen 4.15, this is 4.14"),
    ] {
        let path = config("old", &text("old", "", more))?;
        let found = run(&format!("/bin/xlr create -p {path}"))?.failure()?;
        ensure!(found.err.contains(said), "no «{said}» in {}", found.err);
        ensure!(domid("old")?.is_none(), "a domain was left");
    }
    Ok(())
}
