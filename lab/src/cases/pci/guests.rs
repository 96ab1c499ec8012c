//! Guests that drive the machine's cards: the plain one and a virtual function, given when they are
//! made or while they run.

use super::{
    CARD, PHYSICAL, VIRTUAL, carries_traffic as dom0_carries_traffic, ensure_driver, interface,
    json, modules, refused,
};
use crate::cases::nodes;
use crate::dom0::dump;
use crate::dom0::guest::Guest;
use crate::dom0::host::{Stop, Verdict, argv, config, run};
use crate::dom0::pending::swept;
use crate::dom0::stopped::{steps, stopped};
use crate::ensure;
use std::fs;

/// The configuration of a guest that does nothing.
pub fn idle(name: &str, more: &str) -> Result<String, Stop> {
    let text = format!(
        "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\nmemory = 16\n{more}"
    );
    config(name, &text)
}

/// A guest of the stock kernel, which has drivers for the cards, and for the bus on which they come.
fn with_drivers(name: &str, more: &str) -> Result<Guest, Stop> {
    let stock = "kernel = \"/guest/stock\"\nramdisk = \"/guest/initramfs-drivers.gz\"\n\
                 memory = 256\n";
    let mut guest = Guest::create(name, &format!("{stock}{more}"))?;
    for module in ["xen-pcifront", "e1000e", "igbvf"] {
        guest.sh(&format!("busybox modprobe {module}"))?;
    }
    Ok(guest)
}

/// Lines of shell that put the name of the interface that a driver makes into `n`, and give it an
/// address. The guest has nothing that would wake it.
fn interface_of(driver: &str) -> String {
    let find = format!(
        "for d in /sys/class/net/*; do l=$(readlink $d/device/driver); \
         [ \"${{l##*/}}\" = {driver} ] && n=${{d##*/}}; done"
    );
    format!(
        "t=0; until {find}; [ -n \"$n\" ] || [ $t -gt 100 ]; do sleep 0.2; t=$((t+1)); done; \
         ip addr add 10.0.2.15/24 dev $n && ip link set $n up"
    )
}

/// The guest reaches the emulator's network through the interface that its driver makes.
fn reaches_network(guest: &mut Guest, driver: &str) -> Verdict {
    let interface = interface_of(driver);
    guest.sh(&format!("{interface} && ping -c 3 -w 40 10.0.2.2 && ip addr flush dev $n"))?;
    Ok(())
}

/// It pings through that interface without end, in the background; one answer has come.
fn flood(guest: &mut Guest, driver: &str) -> Verdict {
    let interface = interface_of(driver);
    guest.sh(&format!(
        "{interface} && ping -c 1 -w 40 10.0.2.2 || exit 1; echo $n >/run/flooded; \
         (while :; do ping -c 1 -s 1400 10.0.2.2; done) >/dev/null 2>&1 & echo $! >/run/flood"
    ))?;
    Ok(())
}

/// It ends. What was sent through the interface meanwhile is counted.
fn end_of_flood(guest: &mut Guest) -> Verdict {
    let name = "$(cat /run/flooded)";
    guest.sh(&format!(
        "kill $(cat /run/flood); [ $(cat /sys/class/net/{name}/statistics/tx_packets) -gt 2 ]; \
         ip addr flush dev {name}; rm /run/flooded"
    ))?;
    Ok(())
}

fn assignable(bdf: &str) -> Verdict {
    run(&format!("/bin/xlr pci-assignable-add {bdf}"))?.success()?;
    Ok(())
}

fn given_back(bdf: &str, driver: Option<&str>) -> Verdict {
    run(&format!("/bin/xlr pci-assignable-remove -r {bdf}"))?.success()?;
    ensure_driver(bdf, driver)
}

/// What xl and xlr write of a domain with a card, and with whose rights, is the same.
pub fn nodes() -> Verdict {
    modules(&["e1000e", "xen-pciback"])?;
    assignable(CARD)?;
    let pci = "pci = [\"00:04.0@1e,permissive=1,msitranslate=1\"]\n";
    let equal = nodes::equal_once(1, pci, &["/local/domain/0/backend/pci/D/0/root_num"]);
    let saved = saved(pci);
    given_back(CARD, Some("e1000e"))?;
    equal.and(saved)
}

/// So is what either tool keeps for the next reboot, also of a card that came later.
fn saved(pci: &str) -> Verdict {
    let more = "uuid = \"11111111-2222-3333-4444-555555555555\"\n\
                ioports = [\"2f8-2ff\"]\nirqs = [3]\niomem = [\"fed90,1\"]\n";
    for (first, later) in
        [(pci, None), ("passthrough = \"enabled\"\ne820_host = 1\n", Some("00:04.0,permissive=1"))]
    {
        let path = idle("saved", &format!("{more}{first}"))?;
        let mut kept = Vec::new();
        for tool in ["/xen/bin/xl", "/bin/xlr"] {
            run(&format!("{tool} create -p {path}"))?.success()?;
            if let Some(later) = later {
                argv(&[tool, "pci-attach", "saved", later])?.success()?;
            }
            let text = run("/xen/bin/xl list -l saved")?.success()?.out;
            run("/bin/xlr destroy saved")?.success()?;
            let list: serde_json::Value = serde_json::from_str(&text)?;
            let config = &list[0]["config"];
            let hardware = ["ioports", "irqs", "iomem", "passthrough", "type.pv"]
                .map(|key| (key, config["b_info"][key].clone()));
            kept.push(format!("{} {hardware:?} {}", config["c_info"], config["pcidevs"]));
        }
        ensure!(kept[0] == kept[1], "xl keeps\n{}\nxlr\n{}", kept[0], kept[1]);
        ensure!(kept[1].contains("permissive"), "no card: {}", kept[1]);
    }
    Ok(())
}

/// What a guest cannot have is refused by name, and nothing has happened then.
pub fn refused_to_guests() -> Verdict {
    modules(&["e1000e", "xen-pciback"])?;
    let card = "pci = [\"00:04.0\"]\n";
    let create = |name: &str, more: &str| -> Result<String, Stop> {
        Ok(format!("/bin/xlr create {}", idle(name, more)?))
    };
    let words = ["0000:00:04.0 is not assignable", "e1000e", "pci-assignable-add 0000:00:04.0"];
    refused(&create("held", card)?, &words)?;
    refused(&create("no", "pci = [\"0000:77:00.0\"]\n")?, &["has no PCI device 0000:77:00.0"])?;
    refused(&create("noname", "pci = [\"name=fast\"]\n")?, &["no PCI device is called \"fast\""])?;
    let before = dump::take()?;
    run(&create("owner", "pci = [\"00:04.0,seize=1\"]\n")?)?.success()?;
    run(&create("plain", "")?)?.success()?;
    let words = ["0000:00:04.0 belongs to domain", "xlr pci-detach"];
    refused(&create("second", card)?, &words)?;
    refused(&format!("/bin/xlr pci-attach plain {CARD}"), &words)?;
    refused(&format!("/bin/xlr pci-assignable-remove -r {CARD}"), &words)?;
    refused(&format!("/bin/xlr pci-detach plain {CARD}"), &["has no PCI device 0000:00:04.0"])?;
    // Its kernel has no driver for the bus: it never lets go.
    refused(&format!("/bin/xlr pci-detach owner {CARD}"), &["does not answer", "xen-pcifront"])?;
    hidden(CARD)?;
    run("/bin/xlr destroy owner")?.success()?;
    let words = ["was made without passthrough", "passthrough = \"enabled\""];
    refused(&format!("/bin/xlr pci-attach plain {CARD}"), &words)?;
    run("/bin/xlr destroy plain")?.success()?;
    killed()?;
    given_back(CARD, Some("e1000e"))?;
    dump::unchanged(&before, "a domain with a card that it did not drive")
}

/// A function that was given when the command was killed, and no kernel told, is taken back by the next
/// command.
fn killed() -> Verdict {
    run(&format!("/bin/xlr create {}", idle("half", "passthrough = \"enabled\"\n")?))?.success()?;
    let before = dump::take()?;
    stopped(&["pci-attach", "--stop-at", "2", "half", CARD])?.kill()?;
    let said = swept()?;
    ensure!(said.err.contains("is taken from domain"), "{}", said.err);
    dump::unchanged(&before, "an attach that was killed before its nodes")?;
    run("/bin/xlr destroy half")?.success()?;
    let path = idle("half", "pci = [\"00:04.0\"]\n")?;
    let at = (steps(&path)?.len() + 4 + 2).to_string();
    let before = dump::take()?;
    stopped(&["create", "--stop-before-step", &at, &path])?.kill()?;
    swept()?;
    dump::unchanged(&before, "a create that was killed there")
}

/// Whatever xenstore says: Xen's word counts, and a number that came again owns nothing.
fn hidden(bdf: &str) -> Verdict {
    let (node, domid) = (bdf.replace([':', '.'], "-"), run("/bin/xlr domid owner")?.success()?.out);
    let (notes, domid) = (format!("/libxl/pci/{node}"), domid.trim());
    let count = format!("/local/domain/0/backend/pci/{domid}/0/num_devs");
    let owner = run(&format!("/usr/bin/xenstore-read {notes}/owner"))?.success()?.out;
    ensure!(owner.starts_with(&format!("{domid} ")), "{owner:?} is not of domain {domid}");
    let remove = format!("/bin/xlr pci-assignable-remove -r {bdf}");
    run(&format!("/usr/bin/xenstore-write {count} 0"))?.success()?;
    // The note alone tells whose it is.
    refused(&remove, &["belongs to domain"])?;
    let other = format!("{domid} 00000000-0000-0000-0000-000000000001");
    argv(&["/usr/bin/xenstore-write", &format!("{notes}/owner"), &other])?.success()?;
    let said = refused(&remove, &["Xen has given it to a domain"])?;
    ensure!(!said.err.contains("belongs to"), "{}", said.err);
    argv(&["/usr/bin/xenstore-write", &format!("{notes}/owner"), owner.trim()])?.success()?;
    run(&format!("/usr/bin/xenstore-write {count} 1"))?.success()?;
    Ok(())
}

/// A card that dom0 drives is seized for a guest, which drives it; then dom0 does so again.
pub fn carries_traffic() -> Verdict {
    modules(&["e1000e", "xen-pciback"])?;
    let before = dump::take()?;
    let mut guest = with_drivers("driver", "pci = [\"00:04.0,seize=1\"]\n")?;
    reaches_network(&mut guest, "e1000e")?;
    let (ours, theirs) = (
        run("/bin/xlr pci-list driver")?.success()?.out,
        run("/xen/bin/xl pci-list driver")?.success()?.out,
    );
    ensure!(ours == theirs && ours.contains(CARD), "ours {ours:?}, xl's {theirs:?}");
    let listed = json("/bin/xlr pci-list --json driver")?;
    ensure!(listed == serde_json::json!([{ "address": CARD, "virtual_slot": null }]), "{listed}");
    let rows = json("/bin/xlr pci list --rdma --json")?;
    let row = rows.as_array().and_then(|rows| rows.iter().find(|row| row["address"] == CARD));
    ensure!(row.is_some_and(|row| row["domid"] == guest.domid), "{rows}");
    // What the guest is told of memory has the host's holes.
    let map = guest.sh("dmesg | grep 'Xen: \\[mem'")?;
    ensure!(map.contains("reserved") && map.contains("unusable"), "{map}");
    guest.destroy()?;
    let free = run("/bin/xlr pci-assignable-list")?.success()?.out;
    ensure!(free == format!("{CARD}\n"), "{free}");
    given_back(CARD, Some("e1000e"))?;
    dump::unchanged(&before, "a guest that drove a card")?;
    dom0_carries_traffic(CARD)
}

/// A card and a virtual function come and go while a guest runs, each with traffic.
pub fn hot() -> Verdict {
    modules(&["e1000e", "igb", "xen-pciback"])?;
    let before = dump::take()?;
    fs::write(format!("/sys/bus/pci/devices/{PHYSICAL}/sriov_numvfs"), "2")?;
    let physical = interface(PHYSICAL)?;
    // Virtual functions have a link when their card has one.
    run(&format!("ip link set {physical} up"))?.success()?;
    let done = come_and_go();
    for bdf in [CARD, VIRTUAL[0]] {
        if super::driver(bdf).as_deref() == Some("pciback") {
            run(&format!("/bin/xlr pci-assignable-remove -r {bdf}"))?.success()?;
        }
    }
    run(&format!("ip link set {physical} down"))?.success()?;
    fs::write(format!("/sys/bus/pci/devices/{PHYSICAL}/sriov_numvfs"), "0")?;
    done?;
    dump::unchanged(&before, "cards that came and went")
}

fn come_and_go() -> Verdict {
    let mut guest = with_drivers("hot", "passthrough = \"enabled\"\ne820_host = 1\n")?;
    let attach = |bdf: &str| run(&format!("/bin/xlr pci-attach hot {bdf},seize=1"))?.success();
    let detach = |bdf: &str| run(&format!("/bin/xlr pci-detach hot {bdf}"))?.success();
    attach(CARD)?;
    detach(CARD)?;
    given_back(CARD, Some("e1000e"))?;
    // The guest's driver leaves a word of its own at its first end.
    let empty = dump::take()?;
    attach(CARD)?;
    reaches_network(&mut guest, "e1000e")?;
    attach(VIRTUAL[0])?;
    reaches_network(&mut guest, "igbvf")?;
    let listed = run("/bin/xlr pci-list hot")?.success()?.out;
    ensure!(listed.lines().count() == 3 && listed.contains(VIRTUAL[0]), "{listed}");
    // The first goes while it is at work, and the second moves up and goes on.
    flood(&mut guest, "e1000e")?;
    detach(CARD)?;
    guest.sh("kill $(cat /run/flood); rm /run/flooded")?;
    reaches_network(&mut guest, "igbvf")?;
    // It comes again while the other one is at work, and that one goes so.
    flood(&mut guest, "igbvf")?;
    attach(CARD)?;
    end_of_flood(&mut guest)?;
    reaches_network(&mut guest, "e1000e")?;
    detach(CARD)?;
    flood(&mut guest, "igbvf")?;
    detach(VIRTUAL[0])?;
    guest.sh("kill $(cat /run/flood); rm /run/flooded")?;
    run(&format!("/bin/xlr pci-assignable-remove {}", VIRTUAL[0]))?.success()?;
    given_back(CARD, Some("e1000e"))?;
    dump::unchanged(&empty, "a card and a virtual function")?;
    assignable(CARD)?;
    attach(CARD)?;
    reaches_network(&mut guest, "e1000e")?;
    // What came later is there after a reboot, too, as under xl.
    run("/bin/xlr reboot hot")?.success()?;
    let listed = run("/bin/xlr pci-list hot")?.success()?.out;
    ensure!(listed.contains(CARD), "after a reboot: {listed}");
    run("/bin/xlr destroy hot")?.success()?;
    Ok(())
}

/// A card comes and goes again and again: nothing grows.
pub fn rounds(count: u32) -> Verdict {
    modules(&["e1000e", "xen-pciback"])?;
    assignable(CARD)?;
    let mut guest = with_drivers("rounds", "passthrough = \"enabled\"\ne820_host = 1\n")?;
    let round = |number: u32| -> Verdict {
        run(&format!("/bin/xlr pci-attach rounds {CARD}"))?.success()?;
        let detached = run(&format!("/bin/xlr pci-detach rounds {CARD}"))?.success();
        ensure!(detached.is_ok(), "round {number}: {detached:?}");
        Ok(())
    };
    // What the first one brings for good.
    round(0)?;
    let before = dump::take()?;
    (1..=count).try_for_each(round)?;
    dump::unchanged(&before, &format!("{count} rounds"))?;
    run(&format!("/bin/xlr pci-attach rounds {CARD}"))?.success()?;
    reaches_network(&mut guest, "e1000e")?;
    guest.destroy()?;
    given_back(CARD, Some("e1000e"))
}
