//! Disks: what a guest writes is on the medium, in every way in which a disk comes and goes.

use crate::case::{Case, Group};
use crate::dom0::dump::{self, Dump};
use crate::dom0::guest::Guest;
use crate::dom0::host::{Stop, Verdict, await_node_is, run};
use crate::ensure;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("disk/guest-serves", Group::Toolstack, serves),
    Case::new("disk/mounts-and-writes", Group::Toolstack, mounts_and_writes),
    Case::new("disk/hot", Group::Toolstack, hot),
];

/// The guest that all cases with devices drive.
fn serves() -> Verdict {
    let mut guest = Guest::create("served", "")?;
    ensure!(guest.sh("echo $((6*7))")?.trim() == "42", "it cannot calculate");
    let (code, text) = guest.try_sh("cat /nosuch; false")?;
    ensure!(code == 1 && text.contains("/nosuch"), "{code}: {text}");
    guest.destroy()
}

/// A file of zeros.
fn medium(name: &str, mib: u64) -> Result<String, Stop> {
    let path = format!("/tmp/{name}.img");
    std::fs::File::create(&path)?.set_len(mib << 20)?;
    Ok(path)
}

/// Whether these bytes are somewhere in a file.
fn holds(path: &str, bytes: &[u8]) -> Result<bool, Stop> {
    let content = std::fs::read(path)?;
    Ok(content.windows(bytes.len()).any(|window| window == bytes))
}

fn unchanged(before: &Dump, after: &str) -> Verdict {
    dump::unchanged(before, after)
}

/// A disk that comes while the guest runs is written to and goes again; one that is in use stays until
/// the guest lets go of it, or is taken away. The same is listed by both tools.
fn hot() -> Verdict {
    let path = medium("hot", 8)?;
    run(&format!("/bin/mke2fs -q -F -t ext2 {path}"))?.success()?;
    let mut guest = Guest::create("hot", "")?;
    let before = dump::take()?;
    let attach = format!("/bin/xlr block-attach hot {path},raw,xvdc,rw");
    run(&attach)?.success()?;
    await_node_is(&format!("/local/domain/0/backend/vbd/{}/51744/state", guest.domid), "4")?;
    guest.sh("mount -t ext2 /dev/xvdc /mnt && echo hot-$((40+2)) >/mnt/f && sync")?;
    let (ours, theirs) = (run("/bin/xlr block-list hot")?, run("/xen/bin/xl block-list hot")?);
    ensure!(ours.success()?.out == theirs.success()?.out, "the lists differ");
    let said = run(&attach)?.failure()?;
    ensure!(said.err.contains("xvdc") && said.err.contains("is there already"), "{}", said.err);
    let said = run("/bin/xlr block-detach hot xvdc")?.failure()?;
    ensure!(said.err.contains("the guest has been asked to let go of it"), "{}", said.err);
    guest.sh("cat /mnt/f && umount /mnt")?;
    run("/bin/xlr block-detach hot xvdc")?.success()?;
    ensure!(holds(&path, b"hot-42")?, "the file does not have it");
    let said = run("/bin/xlr block-detach hot xvdc")?.failure()?;
    ensure!(said.err.contains("has no disk xvdc"), "{}", said.err);
    unchanged(&before, "a disk that came and went")?;

    run(&attach)?.success()?;
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
