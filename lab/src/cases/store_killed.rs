//! `xlr xenstored` is killed, at chosen steps and at any time, while a guest and a program of dom0 count
//! through it: the next one takes up the store, and neither of them notices.

use super::store_lives::{End, Loads, PID_FILE, counter, end_by, end_first, lives, steps_of};
use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv, await_text, config, console, run};
use crate::xenstored::Xenstored;
use crate::{ensure, fail};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt as _;
use xenstore::client::{Client, DEVICE, Nodes as _};
use xenstore::saved::load;

const fn ours(name: &'static str, limit_seconds: u64, ci: bool, run: fn() -> Verdict) -> Case {
    let case = Case::new(name, Group::Store, run);
    // The server of the case is not the one that dom0's init started.
    Case { xenstored: Xenstored::Xlr, wrecks: true, limit_seconds, ci, ..case }
}

/// The cases of this topic.
pub const CASES: &[Case] = &[
    ours("store-killed/steps", 200, true, || killed(&steps(&[1, 2, 3, 20, 100]))),
    ours("store-killed/any-time", 200, true, || killed(&[End::Random; 30])),
    ours("store-killed/every-step", 900, false, || killed(&steps(&(1..40).collect::<Vec<_>>()))),
    ours("store-killed/500-times", 1800, false, || killed(&[End::Random; 500])),
    ours("store-killed/no-server-for-long", 200, false, || killed(&[End::Late])),
    ours("store-killed/damaged", 100, true, damaged),
    ours("store-killed/storage-full", 100, true, storage_full),
];

fn steps(times: &[u32]) -> Vec<End> {
    let again = ["commit", "committed", "copied", "indexed", "notify"];
    let once = [End::Step("image", 1), End::Step("kept", 1)];
    once.into_iter().chain(steps_of(&again, times)).collect()
}

/// Servers end in these ways, one after the other, under load: a guest's, and that of a program that
/// counts through the kernel's ring, which is what programs use that must outlive a xenstored.
fn killed(ends: &[End]) -> Verdict {
    let text = "name = \"counts\"\ntype = \"pv\"\nkernel = \"/guest/xtf/store-sequence\"\n\
                memory = 8\nvcpus = 1\n";
    let config = config("counts", text)?;
    let mut log = console("counts")?;
    argv(&["/bin/xlr", "create", &config])?.success()?;
    await_text(&mut log, "xtf: counts", 60)?;
    let before = run("xenstore-ls -p /local/domain/0")?.success()?.out;
    let mut loads = Loads::default();
    let device = || Client::connect_to(DEVICE).map_err(|error| error.to_string());
    loads.start("counter", || counter(device()?, "/lab/sequence"))?;
    let last = lives(ends, || loads.all_go());
    let mut last = loads.end_unless(last)?;
    let rounds = loads.rounds();
    // The last one is as good as the first.
    let after = loads.go_on(20);
    loads.end()?;
    after?;
    argv(&["xenstore-write", "/lab/done", "yes"])?.success()?;
    let domid = crate::dom0::host::domid("counts")?;
    let Some(domid) = domid else { fail!("the guest is gone") };
    argv(&["xenstore-write", &format!("/local/domain/{domid}/data/end"), "1"])?.success()?;
    let heard = await_text(&mut log, "Test result: ", 60);
    let text = String::from_utf8_lossy(&log.text).into_owned();
    heard?;
    ensure!(!text.contains("FAILURE"), "the guest: {text}");
    eprintln!("{} ends, {rounds:?} rounds of dom0; {text}", ends.len());
    let after = run("xenstore-ls -p /local/domain/0")?.success()?.out;
    ensure!(before == after, "dom0's nodes were\n{before}\nand are\n{after}");
    argv(&["/xen/bin/xenstore-control", "check"])?.success()?;
    argv(&["/bin/xlr", "destroy", "counts"])?.success()?;
    last.kill()?;
    Ok(())
}

/// A file that somebody wrote into is refused, and the message says what to do.
fn damaged() -> Verdict {
    end_first()?;
    let path = "/run/xlr/xenstored/state";
    let bytes = std::fs::read(path)?;
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(path, &damaged)?;
    let said = argv(&["/bin/xlr", "xenstored", "--pid-file", PID_FILE])?.failure()?;
    ensure!(said.err.contains(path) && said.err.contains("remove"), "{}", said.err);
    std::fs::write(path, &bytes)?;
    argv(&["/bin/xlr", "xenstored", "--pid-file", PID_FILE])?.success()?;
    argv(&["xenstore-write", "/lab/after", "damage"])?.success()?;
    // Another version may take up what an ordinary end leaves: there is no request to do again.
    end_by(Signal::TERM)?;
    let bytes = std::fs::read(path)?;
    let left = load(&bytes).map_err(|error| Stop::Failed(error.to_string()))?;
    ensure!(left.frames.is_empty(), "{} frames after SIGTERM", left.frames.len());
    argv(&["/bin/xlr", "xenstored", "--pid-file", PID_FILE])?.success()?;
    let said = argv(&["xenstore-read", "/lab/after"])?.success()?;
    ensure!(said.out == "damage\n", "after SIGTERM: {}", said.out);
    let mode = std::fs::metadata(PID_FILE)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "{PID_FILE} has mode {mode:o}");
    Ok(())
}

/// A storage without room costs the promise and not the service; when there is room, the promise is back.
fn storage_full() -> Verdict {
    end_first()?;
    let folder = "/tmp/full";
    std::fs::create_dir_all(folder)?;
    argv(&["/bin/busybox", "mount", "-t", "tmpfs", "-o", "size=256k", "full", folder])?
        .success()?;
    let start = ["/bin/xlr", "xenstored", "--pid-file", PID_FILE, "--state-directory", folder];
    argv(&start)?.success()?;
    argv(&["xenstore-write", "/lab/full", "one"])?.success()?;
    ensure!(!std::path::Path::new("/tmp/full/state").exists(), "a state without room for commits");
    argv(&["/bin/busybox", "mount", "-o", "remount,size=16m", folder])?.success()?;
    let mut store = Client::connect().map_err(|error| Stop::Failed(error.to_string()))?;
    for number in 0..600 {
        let written = store.write("/lab/full", number.to_string());
        written.map_err(|error| Stop::Failed(error.to_string()))?;
    }
    ensure!(std::path::Path::new("/tmp/full/state").exists(), "the state is not saved again");
    end_first()?;
    argv(&start)?.success()?;
    let said = argv(&["xenstore-read", "/lab/full"])?.success()?;
    ensure!(said.out == "599\n", "after the kill: {}", said.out);
    Ok(())
}
