//! A restart that is killed costs a domain its memory and never its configuration: the next command
//! says how to start it again, or the domain is still as it was.

use crate::case::{Case, Group};
use crate::dom0::dump;
use crate::dom0::host::{Stop, Verdict, argv, await_text, config, console, domid, run};
use crate::dom0::pending::{pending, swept};
use crate::dom0::stopped::stopped;
use crate::{ensure, fail};
use std::path::Path;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("killed/restart", Group::Toolstack, restart),
    Case::new("killed/rename-restart", Group::Toolstack, rename_restart),
];

const UUID: &str = "11111111-2222-3333-4444-666666666666";

fn guest(line: &str) -> Result<String, Stop> {
    let text = format!(
        "name = \"cut\"\nuuid = \"{UUID}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\n\
         memory = 8\nvcpus = 1\nextra = \"on=obey\"\n{line}\n"
    );
    config("cut", &text)
}

/// Where the configuration is while there is no domain.
fn kept() -> String {
    format!("/var/lib/xlr/restarts/{UUID}.cfg")
}

/// A running guest whose reboot is killed at this point. Gives its number.
fn killed_at(point: &str, line: &str) -> Result<u32, Stop> {
    let path = guest(line)?;
    let mut log = console("cut")?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    await_text(&mut log, "xtf: idle", 30)?;
    let Some(first) = domid("cut")? else { fail!("no domain was made") };
    stopped(&["reboot", "--stop-in-restart", point, "cut"])?.kill()?;
    Ok(first)
}

/// The next command says how to start it, and that does.
fn started_from_what_is_kept() -> Verdict {
    let said = swept()?;
    let words = format!("create {} starts it", kept());
    ensure!(said.err.contains(&words), "no «{words}» in {}", said.err);
    ensure!(domid("cut")?.is_none() && pending()? == 0, "something is left: {}", said.err);
    run(&format!("/bin/xlr create -q {}", kept()))?.success()?;
    let Some(second) = domid("cut")? else { fail!("it was not started") };
    let uuid = argv(&["/usr/bin/xenstore-read", &format!("/local/domain/{second}/vm")])?.out;
    ensure!(uuid.trim() == format!("/vm/{UUID}"), "its UUID is {uuid}");
    ensure!(!Path::new(&kept()).exists(), "{} is left", kept());
    run("/bin/xlr destroy cut")?.success()?;
    Ok(())
}

fn restart() -> Verdict {
    let before = dump::take()?;
    // Before the domain is taken down: it is as it was, and can be rebooted.
    let first = killed_at("0", "")?;
    let said = swept()?;
    ensure!(!said.err.contains("starts it"), "with the domain still there: {}", said.err);
    ensure!(!Path::new(&kept()).exists(), "{} is left", kept());
    ensure!(domid("cut")? == Some(first), "it is gone: {}", said.err);
    run("/bin/xlr reboot cut")?.success()?;
    ensure!(domid("cut")?.is_some_and(|second| second != first), "it was not started again");
    run("/bin/xlr destroy cut")?.success()?;
    dump::unchanged(&before, "a kill before the removal")?;

    killed_at("2", "")?;
    started_from_what_is_kept()?;
    dump::unchanged(&before, "a kill between removal and making")
}

/// Between the record and the UUID the domain loses its devices. The next command ends that, and the
/// domain is otherwise as it was.
fn devices_go_first(line: &str) -> Verdict {
    let medium = "/tmp/cut.img";
    std::fs::File::create(medium)?.set_len(1 << 20)?;
    let first = killed_at("3", &format!("{line}\ndisk = [\"{medium},raw,xvda,rw\"]"))?;
    ensure!(pending()? == 1, "{} records", pending()?);
    let backend = format!("xenstore-exists /local/domain/0/backend/vbd/{first}/51712");
    run(&backend)?.success()?;
    let saved = || Ok::<_, Stop>(std::fs::read_dir("/var/lib/xlr/domains")?.count());
    let files = saved()?;
    let said = swept()?;
    ensure!(saved()? == files - 1, "the file of the UUID that it did not get is left");
    ensure!(pending()? == 0, "{} records are left: {}", pending()?, said.err);
    ensure!(run(&backend)?.code != 0, "the disk is still there");
    ensure!(domid("cut")? == Some(first), "it is gone: {}", said.err);
    run("/bin/xlr reboot cut")?.success()?;
    ensure!(domid("cut")?.is_some_and(|second| second != first), "it was not started again");
    run("/bin/xlr destroy cut")?.success()?;
    run(&format!("/bin/xlr destroy {first}"))?.success()?;
    Ok(std::fs::remove_file(medium)?)
}

fn rename_restart() -> Verdict {
    let before = dump::take()?;
    let line = "on_reboot = \"rename-restart\"";
    devices_go_first(line)?;
    dump::unchanged(&before, "a kill before the devices were taken away")?;
    for point in ["1", "2"] {
        let first = killed_at(point, line)?;
        ensure!(pending()? == usize::from(point == "1"), "{} records at {point}", pending()?);
        started_from_what_is_kept()?;
        let name = argv(&["/xen/bin/xl", "domname", &first.to_string()])?.success()?.out;
        ensure!(name.starts_with("cut-20"), "{first} is called {name}");
        let vm = argv(&["/usr/bin/xenstore-read", &format!("/local/domain/{first}/vm")])?.out;
        let list = run("/xen/bin/xl list -v")?.success()?.out;
        let uuid = vm.trim().trim_start_matches("/vm/");
        ensure!(uuid != UUID && list.contains(uuid), "its nodes are those of {uuid}: {list}");
        run(&format!("/bin/xlr destroy {}", name.trim()))?.success()?;
        dump::unchanged(&before, &format!("a kill at {point} of a restart under another name"))?;
    }
    Ok(())
}
