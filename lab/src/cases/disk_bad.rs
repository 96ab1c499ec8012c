//! Disks that cannot be had, backends that do not answer, guests that lie, commands that are killed: an
//! error with a name, nothing half attached, the domain as it was.

use crate::case::{Case, Group};
use crate::dom0::dump::{self, Dump};
use crate::dom0::guest::{self, Guest};
use crate::dom0::host::{Stop, Verdict, argv, await_node, await_node_is, config, domid, run};
use crate::dom0::init;
use crate::dom0::pending::swept;
use crate::dom0::stopped::{steps, stopped};
use crate::ensure;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Instant;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("disk/refused", Group::Device, refused),
    Case::new("disk/in-use", Group::Device, in_use),
    Case { ci: false, ..Case::new("disk/reboot-in-use", Group::Device, reboot_in_use) },
    Case { ci: false, ..Case::new("disk/silent-backend", Group::Device, silent_backend) },
    Case::new("disk/lying-frontend", Group::Device, lying_frontend),
    Case { ci: false, ..Case::new("disk/kept", Group::Device, kept) },
    Case { ci: false, ..Case::new("disk/loop-held", Group::Device, loop_held) },
    Case::new("disk/killed", Group::Device, killed),
    Case { ci: false, ..Case::new("disk/scripts", Group::Device, scripts) },
];

/// A file of zeros.
pub fn medium(name: &str, mib: u64) -> Result<String, Stop> {
    let path = format!("/tmp/{name}.img");
    std::fs::File::create(&path)?.set_len(mib << 20)?;
    Ok(path)
}

/// A guest that stays paused: what is attached to it waits for a frontend.
pub fn paused(name: &str, more: &str) -> Result<u32, Stop> {
    let path = guest::configuration(name, more)?;
    argv(&["/bin/xlr", "create", "-p", &path])?.success()?;
    domid(name)?.ok_or_else(|| Stop::Failed(format!("{name} is gone")))
}

fn unchanged(before: &Dump, after: &str) -> Verdict {
    dump::unchanged(before, after)
}

fn destroy(name: &str) -> Verdict {
    argv(&["/bin/xlr", "destroy", name])?.success()?;
    Ok(())
}

/// Fails the case unless the command fails with these words.
fn fails(words: &[&str], said: &str) -> Verdict {
    let answer = argv(words)?.failure()?;
    ensure!(answer.err.contains(said), "no «{said}» in {}", answer.err);
    Ok(())
}

/// What cannot be a disk is refused by name, at an attach and at a create.
fn refused() -> Verdict {
    let raw = medium("refused", 1)?;
    for (name, first, at) in [
        ("qcow2", &b"QFI\xfb\0\0\0\x03"[..], 0),
        ("qed", b"QED\0", 0),
        ("vhd", b"conectix", (1 << 20) - 512),
    ] {
        let path = medium(name, 1)?;
        let mut bytes = std::fs::read(&path)?;
        bytes[at..at + first.len()].copy_from_slice(first);
        std::fs::write(&path, bytes)?;
    }
    std::fs::write("/tmp/short.img", "x")?;
    let _ = paused("target", &format!("disk = [\"{raw},raw,xvda,rw\"]\n"))?;
    let before = dump::take()?;
    for (disk, said) in [
        ("/tmp/nosuch.img,raw,xvdb,rw", "cannot open /tmp/nosuch.img"),
        ("/tmp,raw,xvdb,rw", "/tmp is a directory"),
        ("/dev/null,raw,xvdb,rw", "/dev/null is a character device"),
        ("/tmp/short.img,raw,xvdb,rw", "less than a sector"),
        ("/tmp/refused.img,qcow2,xvdb,rw", "not qcow2"),
        ("/tmp/qcow2.img,raw,xvdb,rw", "holds a qcow2 image"),
        ("/tmp/qed.img,raw,xvdb,rw", "holds a qed image"),
        ("/tmp/vhd.img,raw,xvdb,rw", "holds a vhd image"),
        ("/tmp/refused.img,raw,xvdb,rw,backend=storage", "not by the domain \"storage\""),
        ("/tmp/refused.img,raw,xvdb,rw,backendtype=qdisk", "not by qdisk"),
        ("/tmp/refused.img,raw,nvme0n1,rw", "is no name of a disk"),
        ("/tmp/refused.img,raw,xvda,rw", "xvda of domain"),
        ("/tmp/refused.img,raw,51712,rw", "is there already"),
        ("/tmp/x,raw,xvdb,rw,script=nosuch", "script /etc/xen/scripts/nosuch cannot be run"),
    ] {
        fails(&["/bin/xlr", "block-attach", "target", disk], said)?;
        if !disk.contains("xvda") && !disk.contains("51712") {
            let path = guest::configuration("never", &format!("disk = [\'{disk}\']\n"))?;
            fails(&["/bin/xlr", "create", "-p", &path], said)?;
        }
    }
    fails(&["/bin/xlr", "block-attach", "nosuch", "/tmp/refused.img,raw,xvdb,rw"], "nosuch")?;
    fails(&["/bin/xlr", "block-attach", "0", "/tmp/refused.img,raw,xvdb,rw"], "0")?;
    unchanged(&before, "disks that cannot be had")?;
    destroy("target")
}

/// Whoever writes to a medium is alone with it; readers may be several.
fn in_use() -> Verdict {
    let (file, other) = (medium("used", 4)?, medium("other", 4)?);
    run(&format!("/bin/mke2fs -q -F -t ext2 {other}"))?.success()?;
    let _ = paused("first", &format!("disk = [\"{file},raw,xvda,rw\"]\n"))?;
    let _ = paused("second", "")?;
    run(&format!("/bin/losetup /dev/loop6 {other}"))?.success()?;
    let before = dump::take()?;
    let attach = |domain: &str, disk: &str, said: &str| {
        fails(&["/bin/xlr", "block-attach", domain, disk], said)
    };
    attach("second", "/tmp/used.img,raw,xvda,rw", "domain")?;
    attach("second", "/tmp/used.img,raw,xvda,r", "has it as xvda for writing")?;
    attach("first", "/tmp/used.img,raw,xvdb,rw", "has it as xvda for writing")?;
    attach("second", "/tmp/other.img,raw,xvda,rw", "/dev/loop6 is over it for writing")?;
    run("/bin/modprobe crc32c_generic")?.success()?;
    run("/bin/modprobe ext4")?.success()?;
    run("/bin/mount -t ext4 /dev/loop6 /mnt")?.success()?;
    let mounted = dump::take()?;
    attach("second", "/dev/loop6,raw,xvda,rw", "dom0 has mounted it")?;
    attach("second", "/dev/loop6,raw,xvda,r", "dom0 has mounted it for writing")?;
    unchanged(&mounted, "a disk that dom0 has mounted")?;
    run("/bin/umount /mnt")?.success()?;
    unchanged(&before, "disks that are in use")?;

    // A block device can be had as soon as nobody has it, and by readers together.
    let read = |domain: &str, name: &str| {
        argv(&["/bin/xlr", "block-attach", domain, &format!("/dev/loop6,raw,{name},r")])?.success()
    };
    read("first", "xvdc")?;
    read("second", "xvdc")?;
    attach("second", "/dev/loop6,raw,xvdd,rw", "has it as xvdc for reading")?;
    for domain in ["first", "second"] {
        argv(&["/bin/xlr", "block-detach", "-f", domain, "xvdc"])?.success()?;
    }
    unchanged(&before, "a disk with two readers")?;
    destroy("first")?;
    run("/bin/xlr block-attach second /tmp/used.img,raw,xvda,rw")?.success()?;
    destroy("second")?;
    run("/bin/losetup -d /dev/loop6")?.success()?;
    Ok(())
}

/// A reboot to a disk that somebody else has fails before anything is taken down, and succeeds once
/// the disk is free. So does an attach that waits for another one: it says so, and a signal ends it.
fn reboot_in_use() -> Verdict {
    let (held, own) = (medium("held", 1)?, medium("moved", 1)?);
    let before = dump::take()?;
    let _ = paused("holder", &format!("disk = [\"{held},raw,xvda,rw\"]\n"))?;
    let guest = Guest::create("mover", &format!("disk = [\"{own},raw,xvda,rw\"]\n"))?;
    let id = guest.domid;
    let both = format!("disk = [\"{own},raw,xvda,rw\", \"{held},raw,xvdb,rw\"]\n");
    let path = guest::configuration("mover", &both)?;
    argv(&["/bin/xlr", "config-update", "mover", &path])?.success()?;
    fails(&["/bin/xlr", "reboot", "mover"], "has it as xvda for writing")?;
    ensure!(domid("mover")? == Some(id), "it was taken down");
    destroy("holder")?;
    argv(&["/bin/xlr", "reboot", "mover"])?.success()?;
    let Some(id) = domid("mover")? else { crate::fail!("it was not started again") };
    await_node_is(&format!("/local/domain/0/backend/vbd/{id}/51728/state"), "4")?;
    destroy("mover")?;
    unchanged(&before, "a guest that got another one's disk")?;

    let _ = paused("waits", "")?;
    let before = dump::take()?;
    let attach = ["block-attach", "waits", "/tmp/held.img,raw,xvda,rw"];
    // Where xl's scripts have their lock: whoever holds it attaches a disk.
    std::fs::create_dir_all("/var/run/xen-hotplug")?;
    let lock = "/var/run/xen-hotplug/block";
    let file = std::fs::File::create(lock)?;
    file.lock()?;
    let mut command = init::command("/bin/xlr");
    let mut child = command.args(attach).stderr(Stdio::piped()).spawn()?;
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        BufReader::new(stderr).read_line(&mut said)?;
    }
    kill_process(Pid::from_child(&child), Signal::TERM).map_err(std::io::Error::from)?;
    let code = child.wait()?.code();
    ensure!(said.contains("waiting for who attaches a disk"), "{said}");
    ensure!(code == Some(130), "{code:?}");
    std::fs::remove_file(lock)?;
    drop(file);
    swept()?;
    unchanged(&before, "an attach that waited")?;
    destroy("waits")
}

/// A switch of dom0's bus for backends: whether drivers look at new devices.
fn probing(on: bool) -> Verdict {
    Ok(std::fs::write("/sys/bus/xen-backend/drivers_autoprobe", if on { "1" } else { "0" })?)
}

/// A backend that never answers: the attach and the create end with its state, and a signal ends the
/// waiting sooner.
fn silent_backend() -> Verdict {
    let file = medium("silent", 1)?;
    let id = paused("waits", "")?;
    let before = dump::take()?;
    probing(false)?;
    let attach = ["block-attach", "waits", "/tmp/silent.img,raw,xvda,rw"];
    let said = "its backend is not ready after 10 s (state 1, begins)";
    let begun = Instant::now();
    let failed = fails(&[&["/bin/xlr"][..], &attach].concat(), said);
    let took = begun.elapsed().as_secs();
    let path = guest::configuration("never", &format!("disk = [\"{file},raw,xvda,rw\"]\n"))?;
    let created = fails(&["/bin/xlr", "create", "-p", &path], said);
    let mut command = init::command("/bin/xlr");
    let mut child = command.args(attach).stderr(Stdio::piped()).spawn()?;
    await_node(&format!("/libxl/{id}/device/vbd/51712/backend"), 20)?;
    kill_process(Pid::from_child(&child), Signal::TERM).map_err(std::io::Error::from)?;
    let begun = Instant::now();
    let code = child.wait()?.code();
    let interrupted = begun.elapsed().as_secs();
    probing(true)?;
    failed?;
    created?;
    ensure!((10..18).contains(&took), "after {took} s");
    ensure!(code == Some(130) && interrupted < 5, "{code:?} after {interrupted} s");
    unchanged(&before, "a backend that never answers")?;
    destroy("waits")
}

/// A guest owns its half and may write there what it likes.
fn lying_frontend() -> Verdict {
    let _file = medium("lies", 1)?;
    let id = paused("liar", "")?;
    let before = dump::take()?;
    let frontend = format!("/local/domain/{id}/device/vbd/51712");
    let attach = ["block-attach", "--stop-at", "1", "liar", "/tmp/lies.img,raw,xvda,rw"];
    let lie = |node: &str, value: &str| {
        argv(&["/usr/bin/xenstore-write", &format!("{frontend}/{node}"), value])?.success()
    };

    // It says that it has ended before anything begins.
    let held = stopped(&attach)?;
    lie("state", "6")?;
    await_node_is(&format!("/local/domain/0/backend/vbd/{id}/51712/state"), "6")?;
    let said = held.resume()?;
    ensure!(
        said.code != 0 && said.err.contains("its backend gave up (state 6, closed)"),
        "{}",
        said.err
    );
    unchanged(&before, "a frontend that says that it has ended")?;

    // It takes its half away.
    let held = stopped(&attach)?;
    argv(&["/usr/bin/xenstore-rm", &frontend])?.success()?;
    let said = held.resume()?;
    ensure!(said.code != 0 && said.err.contains("gave up"), "{}", said.err);
    unchanged(&before, "a frontend that was taken away")?;

    // It names another backend, another number, and nonsense: nobody looks for them there.
    run("/bin/xlr block-attach liar /tmp/lies.img,raw,xvda,rw")?.success()?;
    lie("backend", "/local/domain/0/backend/vbd/0/1")?;
    lie("backend-id", "7")?;
    lie("virtual-device", "1")?;
    lie("event-channel", "x\u{1b}[2J")?;
    let list = run("/bin/xlr block-list liar")?.success()?.out;
    ensure!(list.contains(&format!("/local/domain/0/backend/vbd/{id}/51712")), "{list}");
    ensure!(list.contains(" -1 ") && !list.contains('\u{1b}'), "{list}");
    for garbage in ["", "x", "99999999999999999999", "0", "5"] {
        lie("state", garbage)?;
    }
    run("/bin/xlr block-detach -f liar xvda")?.success()?;
    unchanged(&before, "a frontend that lies")?;

    // It takes its half away later: nobody would ever close the backend.
    run("/bin/xlr block-attach liar /tmp/lies.img,raw,xvda,rw")?.success()?;
    argv(&["/usr/bin/xenstore-rm", &frontend])?.success()?;
    let begun = Instant::now();
    run("/bin/xlr block-detach liar xvda")?.success()?;
    ensure!(begun.elapsed().as_secs() < 8, "{} s", begun.elapsed().as_secs());
    unchanged(&before, "a frontend that is gone")?;
    destroy("liar")
}

/// A guest that does not let go of a disk keeps it; it is named, and taken away by force.
fn kept() -> Verdict {
    let _file = medium("kept", 1)?;
    let id = paused("keeper", "")?;
    let before = dump::take()?;
    run("/bin/xlr block-attach keeper /tmp/kept.img,raw,xvda,rw")?.success()?;
    let detach = ["/bin/xlr", "block-detach", "keeper", "xvda"];
    fails(&detach, "disk xvda of domain")?;
    fails(&detach, "the guest has been asked to let go of it and has not within 10 s")?;
    ensure!(run("/bin/xlr block-list keeper")?.success()?.out.contains("51712"), "it is gone");
    run("/bin/xlr block-detach -f keeper xvda")?.success()?;
    unchanged(&before, "a disk that was kept")?;

    // Killed while it waited: the next command goes on, once the guest has let go.
    run("/bin/xlr block-attach keeper /tmp/kept.img,raw,xvda,rw")?.success()?;
    let mut child = init::command("/bin/xlr").args(&detach[1..]).spawn()?;
    let state = format!("/local/domain/0/backend/vbd/{id}/51712/state");
    await_node_is(&state, "5")?;
    kill_process(Pid::from_child(&child), Signal::KILL).map_err(std::io::Error::from)?;
    child.wait()?;
    let closed = format!("/local/domain/{id}/device/vbd/51712/state");
    argv(&["/usr/bin/xenstore-write", &closed, "6"])?.success()?;
    await_node_is(&state, "6")?;
    let said = swept()?;
    ensure!(said.err.contains("Removed what was left of disk xvda"), "{}", said.err);
    unchanged(&before, "a detach that was killed")?;
    destroy("keeper")
}

/// A loop device that somebody has open is not free: the nodes stay, and the next command finishes. One
/// that serves another file by now is nobody's to free.
fn loop_held() -> Verdict {
    let file = medium("looped", 1)?;
    let id = paused("looper", "")?;
    let before = dump::take()?;
    let attach = ["/bin/xlr", "block-attach", "looper", "/tmp/looped.img,raw,xvda,rw"];
    let detach = ["/bin/xlr", "block-detach", "-f", "looper", "xvda"];
    let backend = format!("/local/domain/0/backend/vbd/{id}/51712");
    let node = || -> Result<String, Stop> {
        let read = run(&format!("/usr/bin/xenstore-read {backend}/node"))?.success()?;
        Ok(read.out.trim().to_owned())
    };
    argv(&attach)?.success()?;
    let device = std::fs::File::open(node()?)?;
    fails(&detach, "cannot free /dev/loop")?;
    ensure!(run("/bin/xlr block-list looper")?.success()?.out.contains("51712"), "it is gone");
    drop(device);
    // It is recorded: any command goes on.
    let said = swept()?;
    ensure!(said.err.contains("Removed what was left of disk xvda"), "{}", said.err);
    unchanged(&before, "a loop device that somebody had open")?;

    argv(&attach)?.success()?;
    let device = node()?;
    argv(&["/usr/bin/xenstore-write", &format!("{backend}/loop-file"), "1:1"])?.success()?;
    argv(&detach)?.success()?;
    fails(&attach, &format!("{device} is over it for writing"))?;
    run(&format!("/bin/losetup -d {device}"))?.success()?;
    unchanged(&before, "another file's loop device")?;
    destroy("looper")?;
    Ok(std::fs::remove_file(file)?)
}

/// What a command leaves that is killed in the middle of an attach goes with the next command, and so
/// does a domain whose create was killed there.
fn killed() -> Verdict {
    let file = medium("killed", 1)?;
    let _ = paused("victim", "")?;
    let before = dump::take()?;
    for point in ["0", "1", "2", "3"] {
        let attach = ["block-attach", "--stop-at", point, "victim", "/tmp/killed.img,raw,xvda,rw"];
        stopped(&attach)?.kill()?;
        let said = swept()?;
        let words = match point {
            "0" => "",
            "3" => "is attached: only its command had not come to its end",
            _ => "Removed what was left of disk xvda",
        };
        ensure!(said.err.contains(words), "{point}: {}", said.err);
        if point == "3" {
            // All was done, and the guest may use it already.
            let list = run("/bin/xlr block-list victim")?.success()?.out;
            ensure!(list.contains("51712"), "it is gone: {list}");
            run("/bin/xlr block-detach -f victim xvda")?.success()?;
        }
        unchanged(&before, &format!("an attach that was killed at {point}"))?;
    }
    destroy("victim")?;
    let before = dump::take()?;
    let disks = format!("disk = [\"{file},raw,xvda,rw\", \"/tmp/other.img,raw,xvdb,r\"]\n");
    medium("other", 1)?;
    let path = config("half", &std::fs::read_to_string(guest::configuration("half", &disks)?)?)?;
    let end = steps(&path)?.len();
    for point in 0..8 {
        let at = (end + 4 + point).to_string();
        stopped(&["create", "--stop-before-step", &at, &path])?.kill()?;
        swept()?;
        unchanged(&before, &format!("a create that was killed at {at}"))?;
    }
    Ok(())
}

/// A script of one's own is run with xl's environment when the disk comes and when it goes; one that
/// fails is named with what it said.
fn scripts() -> Verdict {
    let path = "/tmp/own-script";
    std::fs::write(
        path,
        "#!/bin/sh\n[ \"$2\" = \"\" ] || exit 9\n\
         echo \"$1 $XENBUS_TYPE $XENBUS_PATH $XENBUS_BASE_PATH $script\" >>/tmp/own-script.log\n\
         if [ \"$1\" = add ]; then\n\
         [ \"$(xenstore-read $XENBUS_PATH/params)\" = what:ever ] || { \n\
         xenstore-write $XENBUS_PATH/hotplug-error 'no such thing'; exit 3; }\n\
         losetup /dev/loop5 /tmp/own.img\n\
         xenstore-write $XENBUS_PATH/physical-device 7:5 $XENBUS_PATH/hotplug-status connected\n\
         else losetup -d /dev/loop5; fi\n",
    )?;
    run(&format!("/bin/chmod 755 {path}"))?.success()?;
    let _file = medium("own", 4)?;
    let mut guest = Guest::create("scripted", "")?;
    let before = dump::take()?;
    let attach = |target: &str| {
        argv(&[
            "/bin/xlr",
            "block-attach",
            "scripted",
            &format!("vdev=xvda,script={path},target={target}"),
        ])
    };
    attach("what:ever")?.success()?;
    let backend = format!("backend/vbd/{}/51712", guest.domid);
    guest.await_file("/dev/xvda")?;
    guest.sh("dd if=/dev/xvda of=/dev/null bs=4k count=1")?;
    run("/bin/xlr block-detach scripted xvda")?.success()?;
    let log = std::fs::read_to_string("/tmp/own-script.log")?;
    let expected =
        format!("add vbd {backend} backend {path}\nremove vbd {backend} backend {path}\n");
    ensure!(log == expected, "{log:?} and not {expected:?}");
    let said = attach("other")?.failure()?;
    ensure!(said.err.contains("no such thing"), "{}", said.err);
    unchanged(&before, "a script of one's own")?;
    guest.destroy()
}
