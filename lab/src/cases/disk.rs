//! Disks: what a guest writes is on the medium, in every way in which a disk comes and goes.

use super::disk_bad::medium;
use crate::case::{Case, Group};
use crate::dom0::dump::{self, Dump};
use crate::dom0::guest::Guest;
use crate::dom0::host::{Stop, Verdict, await_node_is, domid, run};
use crate::ensure;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case { ci: false, ..Case::new("disk/guest-serves", Group::Device, serves) },
    Case::new("disk/mounts-and-writes", Group::Device, mounts_and_writes),
    Case::new("disk/hot", Group::Device, hot),
    Case::new("disk/block-device", Group::Device, block_device),
    Case { ci: false, ..Case::new("disk/under-load", Group::Device, under_load) },
    Case::new("disk/ends", Group::Device, ends),
    Case { ci: false, ..Case::new("disk/rounds", Group::Device, || rounds(20)) },
    Case {
        ci: false,
        limit_seconds: 600,
        ..Case::new("disk/200-rounds", Group::Device, || rounds(200))
    },
];

/// The guest that all cases with devices drive.
fn serves() -> Verdict {
    let mut guest = Guest::create("served", "")?;
    ensure!(guest.sh("echo $((6*7))")?.trim() == "42", "it cannot calculate");
    let (code, text) = guest.try_sh("cat /nosuch; false")?;
    ensure!(code == 1 && text.contains("/nosuch"), "{code}: {text}");
    guest.destroy()
}

/// Whether these bytes are somewhere in a file.
fn holds(path: &str, bytes: &[u8]) -> Result<bool, Stop> {
    let content = std::fs::read(path)?;
    Ok(content.windows(bytes.len()).any(|window| window == bytes))
}

fn unchanged(before: &Dump, after: &str) -> Verdict {
    dump::unchanged(before, after)
}

/// A disk that comes while the guest runs is written to and goes again, or is taken away. The same is
/// listed by both tools.
fn hot() -> Verdict {
    let path = medium("hot", 8)?;
    run(&format!("/bin/mke2fs -q -F -t ext2 {path}"))?.success()?;
    let mut guest = Guest::create("hot", "")?;
    let before = dump::take()?;
    let attach = format!("/bin/xlr block-attach hot {path},raw,xvdc,rw");
    run(&attach)?.success()?;
    guest.await_file("/dev/xvdc")?;
    guest.sh("mount -t ext2 /dev/xvdc /mnt && echo hot-$((40+2)) >/mnt/f && sync")?;
    let (ours, theirs) = (run("/bin/xlr block-list hot")?, run("/xen/bin/xl block-list hot")?);
    ensure!(ours.success()?.out == theirs.success()?.out, "the lists differ");
    let said = run(&attach)?.failure()?;
    ensure!(said.err.contains("xvdc") && said.err.contains("is there already"), "{}", said.err);
    guest.sh("cat /mnt/f && umount /mnt")?;
    run("/bin/xlr block-detach hot xvdc")?.success()?;
    ensure!(holds(&path, b"hot-42")?, "the file does not have it");
    let said = run("/bin/xlr block-detach hot xvdc")?.failure()?;
    ensure!(said.err.contains("has no disk xvdc"), "{}", said.err);
    unchanged(&before, "a disk that came and went")?;

    guest.await_gone("vbd-51744")?;
    run(&attach)?.success()?;
    guest.await_file("/dev/xvdc")?;
    guest.sh("mount -t ext2 /dev/xvdc /mnt")?;
    run("/bin/xlr block-detach -f hot xvdc")?.success()?;
    unchanged(&before, "a disk that was taken away")?;
    guest.destroy()
}

/// A guest mounts the file system on its disk, and what it writes there is in the file; of a disk that
/// it may only read it can write nothing.
fn mounts_and_writes() -> Verdict {
    let (writable, fixed) = (medium("writable", 8)?, medium("fixed", 4)?);
    for path in [&writable, &fixed] {
        run(&format!("/bin/mke2fs -q -F -t ext2 {path}"))?.success()?;
    }
    let before = dump::take()?;
    let disks = format!("disk = [\"{writable},raw,xvda,rw\", \"{fixed},raw,xvdb,ro\"]\n");
    let mut guest = Guest::create("mounts", &disks)?;
    guest.sh("mount -t ext2 /dev/xvda /mnt && echo written-by-$((40+2)) >/mnt/f && umount /mnt")?;
    // Mounted all the same, but for reading only.
    let (code, text) = guest.try_sh("mount -t ext2 -o rw /dev/xvdb /mnt && echo x >/mnt/f")?;
    ensure!(code != 0, "written to a file: {text}");
    guest.sh("ls /mnt/lost+found && umount /mnt")?;
    let (code, text) = guest.try_sh("dd if=/dev/zero of=/dev/xvdb count=1")?;
    ensure!(code != 0, "written to the disk: {text}");
    guest.destroy()?;
    ensure!(holds(&writable, b"written-by-42")?, "the file does not have it");
    unchanged(&before, "a guest with two disks")?;
    std::fs::remove_file(writable)?;
    Ok(std::fs::remove_file(fixed)?)
}

/// A block device is served as it is, and so is one beyond the sixteenth.
fn block_device() -> Verdict {
    let path = medium("block", 8)?;
    run(&format!("/bin/losetup /dev/loop5 {path}"))?.success()?;
    let before = dump::take()?;
    let disks = "disk = [\"phy:/dev/loop5,xvda,w\"]\n";
    let mut guest = Guest::create("block", disks)?;
    guest.sh("echo block-$((40+2)) | dd of=/dev/xvda bs=512 seek=3 conv=sync && sync")?;
    let extended = medium("extended", 1)?;
    run(&format!("/bin/xlr block-attach block {extended},raw,xvdz,rw"))?.success()?;
    guest.await_file("/dev/xvdz")?;
    ensure!(guest.sh("cat /sys/block/xvdz/size")?.trim() == "2048", "its size");
    guest.destroy()?;
    ensure!(holds(&path, b"block-42")?, "the medium does not have it");
    unchanged(&before, "a block device")?;
    run("/bin/losetup -d /dev/loop5")?.success()?;
    Ok(())
}

/// A disk goes while it is written to, asked for or taken; a guest that is destroyed while it writes
/// leaves nothing.
fn under_load() -> Verdict {
    let path = medium("load", 64)?;
    let none = dump::take()?;
    // A guest each: Linux' blkfront lets go at once, and who writes then may wait for ever.
    for how in ["block-detach", "block-detach -f", "destroy"] {
        let mut guest = Guest::create("load", "")?;
        let before = dump::take()?;
        run(&format!("/bin/xlr block-attach load {path},raw,xvda,rw"))?.success()?;
        guest.await_file("/dev/xvda")?;
        // By a name that stays: where its own were gone, dd would make a file of that name and fill it.
        guest.sh(
            "mknod /run/xvda b 202 0; (while dd if=/dev/zero of=/run/xvda bs=64k conv=fsync; do :; \
             done) >/dev/null 2>&1 & until [ $(awk '{ print $7 }' /sys/block/xvda/stat) -gt 0 ]; \
             do :; done",
        )?;
        if how == "destroy" {
            guest.destroy()?;
        } else {
            run(&format!("/bin/xlr {how} load xvda"))?.success()?;
            unchanged(&before, &format!("{how} under load"))?;
            ensure!(guest.sh("echo alive")?.trim() == "alive", "{how} under load");
            guest.destroy()?;
        }
        unchanged(&none, &format!("a guest after {how} under load"))?;
    }
    Ok(std::fs::remove_file(path)?)
}

/// Disks go with their domain however it ends, by either tool, and come back with a reboot.
fn ends() -> Verdict {
    let path = medium("ends", 4)?;
    let disks = format!("disk = [\"{path},raw,xvda,rw\"]\non_reboot = \"restart\"\n");
    let before = dump::take()?;
    let mut guest = Guest::create("ends", &disks)?;
    guest.sh("echo ends-$((40+2)) | dd of=/dev/xvda bs=512 conv=sync && sync")?;
    // One that came since is there after a reboot, too, as under xl.
    let later = medium("later", 1)?;
    run(&format!("/bin/xlr block-attach ends {later},raw,xvdb,r"))?.success()?;
    run("/bin/xlr reboot ends")?.success()?;
    let Some(domid) = domid("ends")? else { crate::fail!("it was not started again") };
    for devid in [51712, 51728] {
        await_node_is(&format!("/local/domain/0/backend/vbd/{domid}/{devid}/state"), "4")?;
    }
    run("/bin/xlr shutdown -w ends")?.success()?;
    unchanged(&before, "a guest that was shut down")?;
    ensure!(holds(&path, b"ends-42")?, "the file does not have it");
    // Each tool takes down what the other one made.
    let config = crate::dom0::guest::configuration("ends", &disks)?;
    for (create, destroy) in [("/xen/bin/xl", "/bin/xlr"), ("/bin/xlr", "/xen/bin/xl")] {
        let log = crate::dom0::host::console("ends")?;
        run(&format!("{create} create {config}"))?.success()?;
        let guest = Guest::attach("ends", log)?;
        let theirs = format!("{destroy} destroy ends");
        run(&theirs)?.success()?;
        drop(guest);
        crate::dom0::host::await_process_end(&format!("{create} create"), 20)?;
        run("/bin/xlr list")?.success()?;
        if destroy == "/bin/xlr" {
            unchanged(&before, &format!("{theirs} of what {create} made"))?;
        }
    }
    Ok(())
}

/// Nothing is left by any number of disks that come and go.
fn rounds(count: u32) -> Verdict {
    let path = medium("rounds", 1)?;
    let mut guest = Guest::create("rounds", "")?;
    let round = |guest: &mut Guest| -> Verdict {
        run(&format!("/bin/xlr block-attach rounds {path},raw,xvda,rw"))?.success()?;
        let state = format!("/local/domain/0/backend/vbd/{}/51712/state", guest.domid);
        await_node_is(&state, "4")?;
        run("/bin/xlr block-detach rounds xvda")?.success()?;
        guest.await_gone("vbd-51712")
    };
    // What the first one brings for good.
    round(&mut guest)?;
    let before = dump::take()?;
    for _ in 0..count {
        round(&mut guest)?;
    }
    unchanged(&before, &format!("{count} rounds"))?;
    guest.destroy()
}
