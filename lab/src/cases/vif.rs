//! Network interfaces: guests talk over a bridge, by routes and through a user's script; interfaces
//! come and go while they do; what is wrong is named, and leaves nothing.

use crate::case::{Case, Group};
use crate::dom0::dump;
use crate::dom0::guest::Guest;
use crate::dom0::host::{Stop, Verdict, argv, await_node, await_node_is, config, domid, run};
use crate::dom0::init;
use crate::dom0::pending::swept;
use crate::dom0::stopped::stopped;
use crate::{ensure, fail};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case { limit_seconds: 240, ..Case::new("vif/bridged", Group::Device, bridged) },
    Case { limit_seconds: 240, ..Case::new("vif/routed", Group::Device, routed) },
    Case { limit_seconds: 240, ..Case::new("vif/script", Group::Device, script) },
    Case { ci: false, ..Case::new("vif/script-hangs", Group::Device, script_hangs) },
    Case { limit_seconds: 240, ..Case::new("vif/vlan", Group::Device, vlan) },
    Case { limit_seconds: 240, ..Case::new("vif/attach", Group::Device, attach) },
    Case { limit_seconds: 240, ..Case::new("vif/refused", Group::Device, refused) },
    Case { ci: false, ..Case::new("vif/no-answer", Group::Device, no_answer) },
    Case { ci: false, limit_seconds: 240, ..Case::new("vif/lies", Group::Device, lies) },
    Case { limit_seconds: 360, ..Case::new("vif/equal-to-xl", Group::Device, equal_to_xl) },
    Case { ci: false, limit_seconds: 240, ..Case::new("vif/killed", Group::Device, killed) },
    Case { ci: false, limit_seconds: 240, ..Case::new("vif/rounds", Group::Device, || rounds(20)) },
    Case {
        ci: false,
        limit_seconds: 900,
        ..Case::new("vif/200-rounds", Group::Device, || rounds(200))
    },
    Case {
        ci: false,
        limit_seconds: 900,
        ..Case::new("vif/guest-memory-as-with-xl", Group::Device, guest_memory)
    },
];

const XLR: &str = "/bin/xlr";
const XL: &str = "/xen/bin/xl";

/// A bridge of dom0's, which goes with this value.
pub(super) struct Bridge(&'static str);

impl Bridge {
    /// One that is up, with an address of dom0's.
    pub(super) fn new(name: &'static str, address: &str) -> Result<Bridge, Stop> {
        for module in ["xen-netback", "bridge"] {
            argv(&["/bin/modprobe", module])?.success()?;
        }
        let bridge = Bridge(name);
        shell(&format!(
            "brctl addbr {name} && ip addr add {address} dev {name} && ip link set {name} up"
        ))?;
        Ok(bridge)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // What cannot be removed is a leftover, which the runner tells.
        let name = self.0;
        let _ = shell(&format!("ip link set {name} down; brctl delbr {name}"));
    }
}

/// Runs a line in dom0's shell.
fn shell(line: &str) -> Result<String, Stop> {
    Ok(argv(&["/bin/sh", "-c", line])?.success()?.out)
}

/// A key of a configuration.
fn key(vifs: &[&str]) -> String {
    let vifs: Vec<String> = vifs.iter().map(|vif| format!("\"{vif}\"")).collect();
    format!("vif = [{}]\n", vifs.join(", "))
}

/// A guest with a shell, whose first interface has an address.
fn start(name: &str, vif: &str, address: &str) -> Result<Guest, Stop> {
    start_with(name, &key(&[vif]), address)
}

fn start_with(name: &str, more: &str, address: &str) -> Result<Guest, Stop> {
    let mut guest = Guest::create(name, more)?;
    guest.sh(&format!("ip addr add {address} dev eth0 && ip link set eth0 up"))?;
    Ok(guest)
}

/// A paused microkernel, which has no frontend at all.
fn paused(tool: &str, name: &str, more: &str) -> Result<u32, Stop> {
    let path = config(
        name,
        &format!(
            "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\n\
             uuid = \"11111111-2222-3333-4444-555555555555\"\n{more}"
        ),
    )?;
    argv(&[tool, "create", "-p", &path])?.success()?;
    match domid(name)? {
        Some(domid) => Ok(domid),
        None => fail!("{tool} created no {name}"),
    }
}

/// 256 KiB of zeros, and their sum.
const PAYLOAD: &str = "dd if=/dev/zero bs=4096 count=64 2>/dev/null";
const SUM: &str = "ec87a838931d4d5d2e94a04644788a55";

/// Listens in the background for one sender, and is listening when the line ends: a connection of an
/// earlier talk on the same port is none of its. The listener's input stays open: at its end it would
/// hang up. What came goes as a sum into a pipe with a name, where whoever reads it waits for it.
const LISTEN: &str = "rm -f /run/in /run/sum; busybox mkfifo /run/in /run/sum; exec 9<>/run/in; \
    (nc -l -p 5000 <&9 | md5sum | cat >/run/sum) & \
    until grep -q ':1388 0*:0000 0A' /proc/net/tcp*; do :; done";

/// Sends the payload from one to the other by TCP, and compares what came.
fn talk(from: &mut Guest, to: &mut Guest, address: &str) -> Verdict {
    to.sh(LISTEN)?;
    from.sh(&format!("{PAYLOAD} | nc -w 60 {address} 5000"))?;
    let sum = to.sh("cat /run/sum")?;
    ensure!(sum.contains(SUM), "{} got something else: {sum}", to.name);
    Ok(())
}

/// Sends the payload from a guest to dom0, and compares what came.
fn talk_to_dom0(from: &mut Guest, address: &str) -> Verdict {
    let mut listener = init::command("/bin/sh")
        .args(["-c", &format!("{LISTEN}; echo listening; cat /run/sum; rm /run/in /run/sum")])
        .stdout(Stdio::piped())
        .spawn()?;
    let Some(out) = listener.stdout.take() else { fail!("no pipe from the listener") };
    let mut lines = BufReader::new(out).lines();
    let begun = lines.next().transpose()?;
    ensure!(begun.as_deref() == Some("listening"), "dom0 does not listen: {begun:?}");
    from.sh(&format!("{PAYLOAD} | nc -w 60 {address} 5000"))?;
    let sum = lines.next().transpose()?.unwrap_or_default();
    listener.wait()?;
    ensure!(sum.contains(SUM), "dom0 got something else: {sum}");
    Ok(())
}

/// A guest pings an address without end, in the background.
fn flood(guest: &mut Guest, address: &str) -> Verdict {
    guest.sh(&format!(
        "(while :; do ping -c 1 -s 1400 {address}; done) >/dev/null 2>&1 & echo $! >/run/flood"
    ))?;
    Ok(())
}

/// It ends, and the guest has seen that its interface is gone.
fn end_of_flood(guest: &mut Guest, device: &str) -> Verdict {
    // A line is carried out in a shell of its own, which knows no job of another one.
    guest.sh("kill $(cat /run/flood)")?;
    guest.await_gone(device)
}

/// Two guests talk to each other and to dom0. An address that is not written stays the same.
fn bridged() -> Verdict {
    let _bridge = Bridge::new("xenbr0", "10.1.0.1/24")?;
    let before = dump::take()?;
    let mut first = start("first", "mac=00:16:3e:00:00:01,vifname=first0", "10.1.0.2/24")?;
    let mut second = start("second", "mtu=1400", "10.1.0.3/24")?;
    let mac = first.sh("cat /sys/class/net/eth0/address")?;
    ensure!(mac.trim() == "00:16:3e:00:00:01", "the guest has {mac}");
    for guest in [&mut first, &mut second] {
        // Linux has no ear for what the backend says.
        guest.sh("ip link set eth0 mtu 1400")?;
    }
    talk(&mut first, &mut second, "10.1.0.3")?;
    talk_to_dom0(&mut second, "10.1.0.1")?;
    let ports = shell("ls /sys/class/net/xenbr0/brif; cat /sys/class/net/vif*.0/mtu")?;
    let expected = format!("first0\nvif{}.0\n1400\n", second.domid);
    ensure!(ports == expected, "the bridge has {ports}");
    first.destroy()?;
    second.destroy()?;
    dump::unchanged(&before, "two guests on a bridge")
}

/// A guest that dom0 routes to reaches it, and another one behind it.
fn routed() -> Verdict {
    let _bridge = Bridge::new("net0", "10.9.0.1/24")?;
    let before = dump::take()?;
    shell("echo 1 > /proc/sys/net/ipv4/ip_forward")?;
    let vif = |ip| format!("script=vif-route,gatewaydev=net0,ip={ip}");
    let mut first = start("first", &vif("10.2.0.2"), "10.2.0.2/32")?;
    let mut second = start("second", &vif("10.2.0.3"), "10.2.0.3/32")?;
    for guest in [&mut first, &mut second] {
        // Whatever it asks for, dom0 answers.
        guest.sh("ip route add default dev eth0")?;
    }
    talk(&mut first, &mut second, "10.2.0.3")?;
    talk_to_dom0(&mut first, "10.9.0.1")?;
    // What xl's vif-route does, which does not run on busybox's ip.
    let name = format!("vif{}.0", first.domid);
    let said = shell(&format!(
        "ip route | grep 10.2.0.2; cat /proc/sys/net/ipv4/conf/{name}/proxy_arp; \
         ip addr show dev {name} | grep 'inet '"
    ))?;
    let said: Vec<&str> = said.lines().map(str::trim).collect();
    let route = format!("10.2.0.2 dev {name} scope link  src 10.9.0.1  metric 2");
    let inet = format!("inet 10.9.0.1/32 scope global {name}");
    ensure!(said == [route.as_str(), "1", inet.as_str()], "dom0 has {said:?}");
    first.destroy()?;
    second.destroy()?;
    shell("echo 0 > /proc/sys/net/ipv4/ip_forward")?;
    dump::unchanged(&before, "two guests by routes")
}

/// Writes a script for dom0.
fn write_script(text: &str) -> Result<&'static str, Stop> {
    const PATH: &str = "/tmp/vif-own";
    std::fs::write(PATH, format!("#!/bin/sh\n{text}\n"))?;
    std::fs::set_permissions(PATH, std::fs::Permissions::from_mode(0o755))?;
    Ok(PATH)
}

/// A user's script gets what xl gives it, connects the interface, and may say no.
fn script() -> Verdict {
    let _bridge = Bridge::new("xenbr0", "10.1.0.1/24")?;
    let before = dump::take()?;
    let own = write_script(
        "echo \"$0 $# $1 $2 $script $XENBUS_TYPE $XENBUS_PATH $XENBUS_BASE_PATH [$netdev] $vif\" \
         >> /tmp/said\n[ $1 = offline ] && exit 0\nip link set $vif master xenbr0\n\
         ip link set $vif up\nxenstore-write $XENBUS_PATH/hotplug-status connected",
    )?;
    let mut said = BTreeMap::new();
    for tool in [XL, XLR] {
        let _ = std::fs::remove_file("/tmp/said");
        let domid = paused(tool, "own", &key(&["script=/tmp/vif-own,gatewaydev=xenbr0"]))?;
        let master = std::fs::read_link(format!("/sys/class/net/vif{domid}.0/master"))?;
        ensure!(master.ends_with("xenbr0"), "{tool}: the script made no port: {master:?}");
        argv(&[tool, "destroy", "own"])?.success()?;
        let domid = domid.to_string();
        let text = std::fs::read_to_string("/tmp/said")?;
        said.insert(
            tool,
            text.replace(&format!("/{domid}/"), "/D/").replace(&format!("vif{domid}."), "vifD."),
        );
    }
    ensure!(said[XL] == said[XLR], "xl's script got\n{}ours\n{}", said[XL], said[XLR]);
    ensure!(said[XLR].lines().count() == 2, "not twice: {}", said[XLR]);

    paused(XLR, "own", "")?;
    let alone = dump::take()?;
    for (text, words) in [
        ("xenstore-write $XENBUS_PATH/hotplug-error 'no cable'; exit 1", "no cable"),
        (
            "xenstore-write $XENBUS_PATH/hotplug-error 'no luck'; \
             xenstore-write $XENBUS_PATH/hotplug-status error",
            "no luck",
        ),
        ("[ $1 = offline ] || kill -9 $$", "signal: 9"),
    ] {
        write_script(text)?;
        let failed = argv(&[XLR, "network-attach", "own", &format!("script={own}")])?.failure()?;
        ensure!(failed.err.contains(words), "no «{words}»: {}", failed.err);
        dump::unchanged(&alone, &format!("a script that said {words}"))?;
    }
    let failed = argv(&[XLR, "network-attach", "own", "script=/tmp/missing"])?.failure()?;
    ensure!(failed.err.contains("/tmp/missing"), "{}", failed.err);
    dump::unchanged(&alone, "a script that is not there")?;
    run("/bin/xlr destroy own")?.success()?;
    std::fs::remove_file(own)?;
    std::fs::remove_file("/tmp/said")?;
    dump::unchanged(&before, "scripts")
}

/// A script that does not end is killed with its children, and nothing is attached.
fn script_hangs() -> Verdict {
    let _bridge = Bridge::new("xenbr0", "10.1.0.1/24")?;
    paused(XLR, "own", "")?;
    let before = dump::take()?;
    let own = write_script("[ $1 = offline ] && exit 0\nsleep 1234 & sleep 1235")?;
    let failed = argv(&[XLR, "network-attach", "own", &format!("script={own}")])?.failure()?;
    ensure!(failed.err.contains("killed after 40 s"), "{}", failed.err);
    dump::unchanged(&before, "a script that hangs")?;
    run("/bin/xlr destroy own")?.success()?;
    std::fs::remove_file(own)?;
    Ok(())
}

/// Guests of one VLAN see each other, and nobody else.
fn vlan() -> Verdict {
    let _bridge = Bridge::new("xenbr0", "10.1.0.1/24")?;
    let before = dump::take()?;
    paused(XLR, "none", "")?;
    let failed = argv(&[XLR, "network-attach", "none", "vlan=7"])?.failure()?;
    ensure!(failed.err.contains("vlan_filtering 1"), "{}", failed.err);
    run("/bin/xlr destroy none")?.success()?;
    shell("echo 1 > /sys/class/net/xenbr0/bridge/vlan_filtering")?;
    let mut first = start("first", "vlan=7", "10.1.0.2/24")?;
    let mut second = start("second", "vlan=7", "10.1.0.3/24")?;
    talk(&mut first, &mut second, "10.1.0.3")?;
    for (address, reached) in [("10.1.0.3", true), ("10.1.0.1", false)] {
        let (code, said) = first.try_sh(&format!("ping -c 1 -W 3 {address}"))?;
        ensure!((code == 0) == reached, "VLAN 7 to {address}: {said}");
    }
    // The same interface outside of it. Its directory is what the end of the old one is seen by.
    first.sh("[ -d /sys/devices/vif-0 ]")?;
    argv(&[XLR, "network-detach", "first", "0"])?.success()?;
    first.await_gone("vif-0")?;
    argv(&[XLR, "network-attach", "first", "devid=0"])?.success()?;
    first.await_file("/sys/class/net/eth0")?;
    first.sh("ip addr add 10.1.0.2/24 dev eth0 && ip link set eth0 up")?;
    for (address, reached) in [("10.1.0.1", true), ("10.1.0.3", false)] {
        let (code, said) = first.try_sh(&format!("ping -c 1 -W 3 {address}"))?;
        ensure!((code == 0) == reached, "no VLAN to {address}: {said}");
    }
    first.destroy()?;
    second.destroy()?;
    dump::unchanged(&before, "VLANs")
}

/// Interfaces come and go under traffic, and xl sees what xlr sees.
fn attach() -> Verdict {
    let _bridge = Bridge::new("xenbr0", "10.1.0.1/24")?;
    let before = dump::take()?;
    let mut guest = start("hot", "", "10.1.0.2/24")?;
    let one = dump::take()?;
    argv(&[XLR, "network-attach", "hot", "mac=00:16:3e:00:00:09", "rate=200Kb/s"])?.success()?;
    guest.await_file("/sys/class/net/eth1")?;
    guest.sh("ip addr add 10.1.1.2/24 dev eth1 && ip link set eth1 up")?;
    shell("ip addr add 10.1.1.1/24 dev xenbr0")?;
    await_node_is(&format!("/local/domain/0/backend/vif/{}/1/state", guest.domid), "4")?;
    let lists = [XL, XLR].map(|tool| argv(&[tool, "network-list", "hot"]));
    let [theirs, ours] = lists;
    let (theirs, ours) = (theirs?.success()?.out, ours?.success()?.out);
    ensure!(theirs == ours && ours.lines().count() == 3, "xl lists\n{theirs}xlr\n{ours}");
    // 25 kB a second, after a burst of 128 KiB.
    let started = std::time::Instant::now();
    talk_to_dom0(&mut guest, "10.1.1.1")?;
    let took = started.elapsed().as_secs();
    ensure!(took >= 4, "256 KiB at 200 kbit/s took {took} s");
    // Gone in the middle of a flood, by its address.
    flood(&mut guest, "10.1.1.1")?;
    argv(&[XLR, "network-detach", "hot", "00:16:3e:00:00:09"])?.success()?;
    end_of_flood(&mut guest, "vif-1")?;
    talk_to_dom0(&mut guest, "10.1.0.1")?;
    dump::unchanged(&one, "attach and detach")?;
    // And the only one, while it is at work.
    flood(&mut guest, "10.1.0.1")?;
    argv(&[XLR, "network-detach", "hot", "0"])?.success()?;
    end_of_flood(&mut guest, "vif-0")?;
    guest.destroy()?;
    dump::unchanged(&before, "the guest's end")
}

/// What is wrong is named before anything is made, or undone.
fn refused() -> Verdict {
    let _bridge = Bridge::new("xenbr0", "10.1.0.1/24")?;
    let clean = dump::take()?;
    for (more, words) in [
        ("bridge=nowhere", "no bridge nowhere"),
        ("bridge=lo", "lo is not a bridge"),
        ("vifname=xenbr0", "an interface xenbr0 already"),
        ("script=vif-route,gatewaydev=nowhere", "no interface nowhere"),
        ("script=vif-route,gatewaydev=xenbr0,ip=10.0", "\"10.0\""),
        ("type=ioemu", "no emulated interface"),
        ("backend=net", "domain net"),
        ("devid=1\", \"devid=1", "devid"),
        ("vifname=x\", \"vifname=x", "vifname"),
    ] {
        let path = config("bad", &idle_text("bad", &key(&[more])))?;
        let failed = argv(&[XLR, "create", "-p", &path])?.failure()?;
        ensure!(failed.err.contains(words), "{more}: no «{words}» in {}", failed.err);
        dump::unchanged(&clean, &format!("create with {more}"))?;
    }
    let id = paused(XLR, "good", &key(&["mac=00:16:3e:00:00:01"]))?;
    let before = dump::take()?;
    let device = format!("network interface 0 of domain {id}");
    for (words, expected) in [
        (vec!["network-attach", "good", "devid=0"], format!("{device} is there already")),
        (vec!["network-attach", "good", "bridge=nowhere"], String::from("no bridge nowhere")),
        (vec!["network-attach", "good", "brigde=x"], String::from("no parameter \"brigde\"")),
        (vec!["network-attach", "nobody"], String::from("nobody")),
        (vec!["network-detach", "good", "7"], String::from("7")),
        (vec!["network-detach", "good", "00:16:3e:00:00:02"], String::from("00:16:3e:00:00:02")),
        (vec!["network-detach", "good", "x"], String::from("x")),
    ] {
        let failed = argv(&[&[XLR], &words[..]].concat())?.failure()?;
        ensure!(failed.err.contains(&expected), "{words:?}: no «{expected}» in {}", failed.err);
        dump::unchanged(&before, &words.join(" "))?;
    }
    // A guest that has no frontend lets go of what it never had.
    run("/bin/xlr network-detach good 0")?.success()?;
    run("/bin/xlr destroy good")?.success()?;
    dump::unchanged(&clean, "the domain's end")
}

/// The configuration of a microkernel.
fn idle_text(name: &str, more: &str) -> String {
    format!("name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\n{more}")
}

/// A backend that never answers: the kernel has a driver, and does not give it the device.
fn no_answer() -> Verdict {
    let _bridge = Bridge::new("xenbr0", "10.1.0.1/24")?;
    let id = paused(XLR, "mute", "")?;
    let before = dump::take()?;
    shell("echo 0 > /sys/bus/xen-backend/drivers_autoprobe")?;
    let said = argv(&[XLR, "network-attach", "mute"]);
    shell("echo 1 > /sys/bus/xen-backend/drivers_autoprobe")?;
    let said = said?.failure()?;
    let words = format!("network interface 0 of domain {id}: its backend is not ready after 10 s");
    ensure!(said.err.contains(&words), "no «{words}» in {}", said.err);
    dump::unchanged(&before, "a backend that does not answer")?;
    // Without the driver nobody waits.
    argv(&["/bin/rmmod", "xen_netback"])?.success()?;
    let said = argv(&[XLR, "network-attach", "mute"])?.failure()?;
    ensure!(said.err.contains("modprobe xen-netback"), "{}", said.err);
    argv(&["/bin/modprobe", "xen-netback"])?.success()?;
    dump::unchanged(&before, "a kernel without netback")?;
    run("/bin/xlr destroy mute")?.success()?;
    Ok(())
}

/// What a guest writes into its own half leads nobody anywhere.
fn lies() -> Verdict {
    let _bridge = Bridge::new("xenbr0", "10.1.0.1/24")?;
    let clean = dump::take()?;
    let mut victim = start("victim", "", "10.1.0.3/24")?;
    let id = paused(XLR, "liar", &key(&[""]))?;
    let victim_backend = format!("/local/domain/0/backend/vif/{}/0", victim.domid);
    let own = format!("/local/domain/{id}/device/vif/0");
    let lie = |name: &str, value: &str| {
        argv(&["/usr/bin/xenstore-write", &format!("{own}/{name}"), value])?.success()
    };
    lie("backend", &victim_backend)?;
    lie("backend-id", "7")?;
    lie("state", "4")?;
    lie("handle", "99")?;
    lie("mac", "zz\u{1b}[2J")?;
    lie("multi-queue-num-queues", "4294967295")?;
    lie("tx-ring-ref", "77777777777777777777")?;
    let list = argv(&[XLR, "network-list", "liar"])?.success()?.out;
    ensure!(!list.contains('\u{1b}') && !list.contains("99"), "it lists the guest's word: {list}");
    let json = argv(&[XLR, "network-list", "--json", "liar"])?.success()?.out;
    let _: serde_json::Value = serde_json::from_str(&json)?;
    argv(&[XLR, "network-detach", "liar", "0"])?.success()?;
    let left = run(&format!("/usr/bin/xenstore-ls /local/domain/0/backend/vif/{id}"))?;
    ensure!(left.code != 0, "the liar still has a backend: {}", left.out);
    talk_to_dom0(&mut victim, "10.1.0.1")?;
    // A half that the guest has thrown away is no reason to keep the rest.
    argv(&[XLR, "network-attach", "liar"])?.success()?;
    argv(&["/usr/bin/xenstore-rm", &own])?.success()?;
    argv(&[XLR, "network-detach", "liar", "0"])?.success()?;
    run("/bin/xlr destroy liar")?.success()?;
    victim.destroy()?;
    dump::unchanged(&clean, "a guest that lies")
}

/// Attached and detached again and again: nothing grows.
fn rounds(count: u32) -> Verdict {
    let _bridge = Bridge::new("xenbr0", "10.1.0.1/24")?;
    // Its kernel loses 1 MiB a round, as it does with xl ([`guest_memory`]).
    let more = format!("{}memory = {}\n", key(&[""]), 96 + 2 * count);
    let mut guest = start_with("rounds", &more, "10.1.0.2/24")?;
    let before = dump::take()?;
    for round in 0..count {
        argv(&[XLR, "network-attach", "rounds", "mac=00:16:3e:00:00:77"])?.success()?;
        if round % 2 == 0 {
            // Every other one goes before its guest has seen it.
            guest.await_file("/sys/class/net/eth1")?;
        }
        argv(&[XLR, "network-detach", "rounds", "1"])?.success()?;
        guest.await_gone("vif-1")?;
    }
    talk_to_dom0(&mut guest, "10.1.0.1")?;
    dump::unchanged(&before, &format!("{count} rounds"))?;
    guest.destroy()
}

/// What a guest's kernel loses each time is its own doing: it loses as much when xl does the same.
fn guest_memory() -> Verdict {
    let _bridge = Bridge::new("xenbr0", "10.1.0.1/24")?;
    let mut lost = Vec::new();
    for tool in [XL, XLR] {
        let mut guest = start("loses", "", "10.1.0.2/24")?;
        let mut free = Vec::new();
        for round in 0..15 {
            if round % 5 == 0 {
                free.push(free_kib(&mut guest)?);
            }
            argv(&[tool, "network-attach", "loses", "mac=00:16:3e:00:00:77"])?.success()?;
            guest.await_file("/sys/class/net/eth1")?;
            argv(&[tool, "network-detach", "loses", "1"])?.success()?;
            guest.await_gone("vif-1")?;
        }
        free.push(free_kib(&mut guest)?);
        guest.destroy()?;
        eprintln!("{tool}: free KiB of the guest every 5 rounds: {free:?}");
        // The first rounds fill caches that later ones use.
        lost.push(free[1] - free[3]);
    }
    let [xl, xlr] = lost[..] else { fail!("two tools were measured") };
    ensure!(xlr <= xl + xl / 5 + 500, "10 rounds cost the guest {xlr} KiB, with xl {xl} KiB");
    Ok(())
}

fn free_kib(guest: &mut Guest) -> Result<i64, Stop> {
    let line =
        guest.sh("echo 3 > /proc/sys/vm/drop_caches; sed -n 's/^MemFree: *//p' /proc/meminfo")?;
    let number = line.split_whitespace().next().and_then(|word| word.parse().ok());
    number.ok_or_else(|| Stop::Failed(format!("the guest's free memory is {line:?}")))
}

/// What a command leaves that is killed in the middle of an attach goes with the next command; an
/// interface that was attached by then is noted by it. What is noted comes again with a reboot.
fn killed() -> Verdict {
    let _bridge = Bridge::new("xenbr0", "10.1.0.1/24")?;
    let clean = dump::take()?;
    let id = Guest::create("victim", &key(&["devid=3"]))?.domid;
    let before = dump::take()?;
    let given = ["mac=00:16:3e:00:00:09", "rate=800Kb/s", "untrusted"];
    for point in ["0", "1", "2", "3"] {
        let attach = ["network-attach", "--stop-at", point, "victim"];
        stopped(&[&attach[..], &given].concat())?.kill()?;
        let said = swept()?;
        let words = match point {
            "0" => "",
            "3" => "is attached: only its command had not come to its end",
            _ => "Removed what was left of network interface 4",
        };
        ensure!(said.err.contains(words), "{point}: {}", said.err);
        if point != "3" {
            dump::unchanged(&before, &format!("an attach that was killed at {point}"))?;
        }
    }
    let seen = |id: u32| -> Result<String, Stop> {
        let list = argv(&[XLR, "network-list", "--json", "victim"])?.success()?.out;
        let list: serde_json::Value = serde_json::from_str(&list)?;
        let list: Vec<_> = list.as_array().into_iter().flatten().map(|row| &row["mac"]).collect();
        let long: serde_json::Value =
            serde_json::from_str(&run("/xen/bin/xl list -l victim")?.success()?.out)?;
        let rate = argv(&["/usr/bin/xenstore-read", &format!("/libxl/{id}/device/vif/4/rate")])?;
        Ok(format!("{list:?}{}{}", rate.success()?.out, long[0]["config"]["nics"]))
    };
    let now = seen(id)?;
    ensure!(now.contains("00:16:3e:00:00:09") && now.contains("\"trusted\":\"False\""), "{now}");
    argv(&[XLR, "reboot", "victim"])?.success()?;
    let Some(id) = domid("victim")? else { fail!("it was not started again") };
    let then = seen(id)?;
    ensure!(then == now, "before the reboot\n{now}\nafter it\n{then}");
    for devid in ["4", "3"] {
        argv(&[XLR, "network-detach", "victim", devid])?.success()?;
    }
    argv(&[XLR, "reboot", "victim"])?.success()?;
    let list = argv(&[XLR, "network-list", "victim"])?.success()?.out;
    ensure!(list.lines().count() <= 1, "they came again: {list}");
    argv(&[XLR, "destroy", "victim"])?.success()?;
    dump::unchanged(&clean, "attaches that were killed")
}

/// Descriptions whose nodes and interfaces are compared with xl's.
const TWINS: &[&str] = &[
    "mac=00:16:3e:00:00:01",
    "mac=00:16:3e:00:00:01,mtu=1400,rate=10Mb/s@20ms,ip=10.1.0.2,untrusted,model=e1000",
    "mac=00:16:3e:00:00:01,bridge=xenbr0,devid=3",
];

/// Nodes, permissions and dom0's end are those that xl makes of the same description.
fn equal_to_xl() -> Verdict {
    let _bridge = Bridge::new("xenbr0", "10.1.0.1/24")?;
    for vif in TWINS {
        let mut seen = Vec::new();
        for tool in [XL, XLR] {
            let before = crate::dom0::snapshot::take()?.nodes;
            let domid = paused(tool, "twin", &key(&[vif]))?;
            await_node(&format!("/local/domain/{domid}/console/tty"), 20)?;
            let after = crate::dom0::snapshot::take()?.nodes;
            let nodes = super::nodes::added(&before, after, &domid.to_string());
            let end = shell(&format!(
                "ip addr | sed -n '/vif{domid}/,$p'; ip route; \
                 cat /proc/sys/net/ipv4/conf/vif{domid}.*/proxy_arp; ls /sys/class/net/xenbr0/brif"
            ))?;
            let long: serde_json::Value =
                serde_json::from_str(&run("/xen/bin/xl list -l twin")?.success()?.out)?;
            run("/bin/xlr destroy twin")?.success()?;
            let nics = format!("{:#}\n", long[0]["config"]["nics"]);
            seen.push((nodes, nics + &neutral_end(&end, domid)));
        }
        let [(theirs, their_end), (ours, our_end)] = &seen[..] else { fail!("not two") };
        super::nodes::compare(theirs, ours)?;
        ensure!(their_end == our_end, "{vif}: dom0 has\n{our_end}with xl\n{their_end}");
    }
    Ok(())
}

/// What dom0 shows of its end, without numbers that every new interface gets.
fn neutral_end(text: &str, domid: u32) -> String {
    let text = text.replace(&format!("vif{domid}."), "vifD.");
    // Addresses of IPv6 come in their own time, and a line on their lifetime follows them.
    let (mut out, mut skipped) = (String::new(), false);
    for line in text.lines() {
        let line = line.split_once(": vifD").map_or(line, |(number, _)| &line[number.len() + 2..]);
        if !(line.contains("inet6") || skipped && line.contains("valid_lft")) {
            out.push_str(line);
            out.push('\n');
        }
        skipped = line.contains("inet6");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_out() {
        let text = "12: vif7.0: <UP> mtu 1500\n    link/ether fe\n\
                    \x20   inet6 fe80::1/64\n       valid_lft forever\n10.2.0.2 dev vif7.0 scope link\n";
        let expected = "vifD.0: <UP> mtu 1500\n    link/ether fe\n10.2.0.2 dev vifD.0 scope link\n";
        assert_eq!(neutral_end(text, 7), expected);
    }
}
