//! PCI devices: set aside for guests and given back, handed to guests and taken from them, on a
//! machine with an IOMMU and two network cards.

mod guests;

use crate::case::{Case, Group};
use crate::dom0::dump;
use crate::dom0::host::{Said, Stop, Verdict, argv, run};
use crate::{ensure, fail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    on_cards("pci/assignable", assignable),
    Case { ci: false, ..on_cards("pci/assignable-undone", assignable_undone) },
    on_cards("pci/virtual-functions", virtual_functions),
    Case { xen_options: "iommu=0", ..on_cards("pci/no-iommu", no_iommu) },
    on_cards("pci/nodes-equal-to-xl", guests::nodes),
    Case { ci: false, ..on_cards("pci/refused", guests::refused_to_guests) },
    with_a_guest("pci/carries-traffic", guests::carries_traffic),
    Case { ci: false, ..with_a_guest("pci/hot", guests::hot) },
    Case { ci: false, ..with_a_guest("pci/rounds", || guests::rounds(20)) },
    Case {
        ci: false,
        limit_seconds: 1800,
        ..with_a_guest("pci/200-rounds", || guests::rounds(200))
    },
];

const fn on_cards(name: &'static str, run: fn() -> Verdict) -> Case {
    Case { passthrough: true, ..Case::new(name, Group::Device, run) }
}

/// A stock kernel boots for it.
const fn with_a_guest(name: &'static str, run: fn() -> Verdict) -> Case {
    Case { limit_seconds: 400, ..on_cards(name, run) }
}

/// The plain card.
const CARD: &str = "0000:00:04.0";
/// The card with virtual functions.
const PHYSICAL: &str = "0000:01:00.0";
/// Its first two virtual functions.
const VIRTUAL: [&str; 2] = ["0000:01:10.0", "0000:01:10.2"];
/// A bridge.
const BRIDGE: &str = "0000:00:05.0";

/// Loads dom0's drivers, and lets the cards find theirs.
fn modules(names: &[&str]) -> Verdict {
    for name in names {
        run(&format!("modprobe {name}"))?.success()?;
    }
    Ok(())
}

/// dom0's driver of a function.
fn driver(bdf: &str) -> Option<String> {
    let link = fs::read_link(format!("/sys/bus/pci/devices/{bdf}/driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

fn ensure_driver(bdf: &str, name: Option<&str>) -> Verdict {
    let found = driver(bdf);
    ensure!(found.as_deref() == name, "{bdf} is driven by {found:?}, not {name:?}");
    Ok(())
}

/// Fails, says these words, and changes nothing.
fn refused(line: &str, words: &[&str]) -> Result<Said, Stop> {
    let before = dump::take()?;
    let said = run(line)?.failure()?;
    for word in words {
        ensure!(said.err.contains(word), "{line} does not say «{word}»: {}", said.err);
    }
    dump::unchanged(&before, line)?;
    Ok(said)
}

fn json(line: &str) -> Result<Value, Stop> {
    Ok(serde_json::from_str(&run(line)?.success()?.out)?)
}

/// Nodes below this path, with values and permissions.
fn nodes(below: &str) -> Result<BTreeMap<String, String>, Stop> {
    let text = run("/usr/bin/xenstore-ls -fp")?.success()?.out;
    let lines = text.lines().filter_map(|line| line.split_once(" = "));
    let below = lines.filter(|(path, _)| path.starts_with(below));
    Ok(below.map(|(path, value)| (path.to_owned(), value.to_owned())).collect())
}

/// The first network interface of a function in dom0.
fn interface(bdf: &str) -> Result<String, Stop> {
    let names = fs::read_dir(format!("/sys/bus/pci/devices/{bdf}/net"))?;
    let names: Vec<String> =
        names.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let Some(name) = names.into_iter().next() else { fail!("{bdf} has no interface") };
    Ok(name)
}

/// dom0 reaches the emulator's network through a function.
fn carries_traffic(bdf: &str) -> Verdict {
    let name = interface(bdf)?;
    run(&format!("ip addr add 10.0.2.15/24 dev {name}"))?.success()?;
    run(&format!("ip link set {name} up"))?.success()?;
    let reached = run("ping -c 3 -w 20 10.0.2.2")?.success();
    run(&format!("ip link set {name} down"))?.success()?;
    run(&format!("ip addr flush dev {name}"))?.success()?;
    reached.map(drop)
}

/// Removes what xl leaves of its notes.
fn forget_notes() -> Verdict {
    run("/usr/bin/xenstore-rm /libxl/pci")?.success()?;
    Ok(())
}

/// Set aside and given back: as xl does it, node by node, and the card works afterwards.
fn assignable() -> Verdict {
    modules(&["e1000e", "xen-pciback"])?;
    ensure_driver(CARD, Some("e1000e"))?;
    let before = dump::take()?;
    run(&format!("/xen/bin/xl pci-assignable-add {CARD}"))?.success()?;
    let theirs = (nodes("/libxl/pci")?, driver(CARD));
    run(&format!("/xen/bin/xl pci-assignable-remove -r {CARD}"))?.success()?;
    forget_notes()?;

    run("/bin/xlr pci-assignable-add 00:04.0")?.success()?;
    let ours = (nodes("/libxl/pci")?, driver(CARD));
    ensure!(ours == theirs, "ours {ours:?}, xl's {theirs:?}");
    let list = |tool: &str| -> Result<String, Stop> {
        let text = run(&format!("{tool} pci-assignable-list"))?.success()?.out;
        Ok(text.lines().map(|line| format!("{}\n", line.trim_end())).collect())
    };
    let (own, xls) = (list("/bin/xlr")?, list("/xen/bin/xl")?);
    ensure!(own == xls && own == format!("{CARD}\n"), "lists: {own:?}, xl's {xls:?}");

    // A second time gives it a name, and says that nothing else was to be done.
    let again = run("/bin/xlr pci-assignable-add -n fast 0000:00:04.0")?.success()?;
    ensure!(again.err.contains("set aside for guests before"), "{}", again.err);
    let found = json("/bin/xlr pci-assignable-list --json")?;
    let expected = serde_json::json!([{ "address": CARD, "name": "fast" }]);
    ensure!(found == expected, "{found}");
    let (own, xls) = (
        run("/bin/xlr pci-assignable-list -n")?.success()?.out,
        run("/xen/bin/xl pci-assignable-list -n")?.success()?.out,
    );
    ensure!(own == format!("{CARD} fast\n") && own.trim() == xls.trim(), "{own:?}, xl's {xls:?}");
    refused("/bin/xlr pci-assignable-remove slow", &["no PCI device is called \"slow\""])?;

    // Without -r it stays without a driver, which is not forgotten.
    run("/bin/xlr pci-assignable-remove fast")?.success()?;
    ensure_driver(CARD, None)?;
    run(&format!("/bin/xlr pci-assignable-remove -r {CARD}"))?.success()?;
    ensure_driver(CARD, Some("e1000e"))?;
    dump::unchanged(&before, "setting a card aside")?;
    carries_traffic(CARD)
}

/// What cannot be set aside is refused, and what fails half-way is taken back.
fn assignable_undone() -> Verdict {
    modules(&["e1000e"])?;
    // Loaded by another case, perhaps.
    if fs::exists("/sys/module/xen_pciback")? {
        run("modprobe -r xen-pciback")?.success()?;
    }
    let add = |bdf: &str| format!("/bin/xlr pci-assignable-add {bdf}");
    refused(&add(CARD), &["xen-pciback is not loaded", "modprobe xen-pciback"])?;
    modules(&["xen-pciback"])?;
    refused(&add("0000:77:00.0"), &["has no PCI device 0000:77:00.0", "xlr pci list"])?;
    refused(&add(BRIDGE), &["is a bridge"])?;
    refused(&add("00:04.*"), &["means all functions"])?;
    refused(&add("nonsense"), &["no PCI address"])?;
    refused("/bin/xlr pci-assignable-remove -r 00:04.0", &["the driver e1000e of this host"])?;
    argv(&["/bin/xlr", "pci-assignable-add", "-n", "two words", CARD])?.failure()?;

    // The kernel refuses every driver but the named one: pciback does not get the card.
    let only = format!("/sys/bus/pci/devices/{CARD}/driver_override");
    fs::write(&only, "e1000e")?;
    let said = refused(&add(CARD), &["pciback/bind"]);
    fs::write(&only, "\n")?;
    said?;
    ensure_driver(CARD, Some("e1000e"))
}

/// Virtual functions are shown as such, set aside on their own, and keep their card in place.
fn virtual_functions() -> Verdict {
    modules(&["igb", "xen-pciback"])?;
    let before = dump::take()?;
    fs::write(format!("/sys/bus/pci/devices/{PHYSICAL}/sriov_numvfs"), "2")?;
    let done = with_virtual_functions();
    // They go with their number, whoever has them.
    for bdf in VIRTUAL.iter().filter(|bdf| driver(bdf).as_deref() == Some("pciback")) {
        run(&format!("/bin/xlr pci-assignable-remove {bdf}"))?.success()?;
    }
    fs::write(format!("/sys/bus/pci/devices/{PHYSICAL}/sriov_numvfs"), "0")?;
    done?;
    dump::unchanged(&before, "setting virtual functions aside")
}

fn with_virtual_functions() -> Verdict {
    run(&format!("/bin/xlr pci-assignable-add {}", VIRTUAL[1]))?.success()?;
    let rows = json("/bin/xlr pci list --rdma --json")?;
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |bdf: &str| {
        let found = rows.iter().find(|row| row["address"] == bdf);
        found.ok_or_else(|| Stop::Failed(format!("{bdf} is not in {rows:?}")))
    };
    let (card, physical, held) = (row(CARD)?, row(PHYSICAL)?, row(VIRTUAL[1])?);
    ensure!(rows.len() == 4, "adapters alone: {rows:?}");
    ensure!(card["role"] == "plain", "{card}");
    ensure!(physical["role"] == "physical" && physical["driver"] == "igb", "{physical}");
    let both = serde_json::json!(VIRTUAL);
    ensure!(physical["virtual_functions"] == both, "{physical}");
    ensure!(physical["max_virtual_functions"] == 7, "{physical}");
    ensure!(held["role"] == "virtual" && held["physical_function"] == PHYSICAL, "{held}");
    ensure!(held["assignable"] == true && held["driver"] == "pciback", "{held}");
    let text = run("/bin/xlr pci list --rdma")?.success()?.out;
    for words in ["physical, 2 of 7 virtual", "virtual of 0000:01:00.0", "8086:10ca"] {
        ensure!(text.contains(words), "no «{words}» in {text}");
    }
    let all = run("/bin/xlr pci list")?.success()?.out;
    ensure!(all.contains(BRIDGE) && !text.contains(BRIDGE), "{all}\n{text}");
    let add = format!("/bin/xlr pci-assignable-add {PHYSICAL}");
    refused(&add, &["has virtual functions that are set aside", VIRTUAL[1]])?;
    run(&format!("/bin/xlr pci-assignable-remove -r {}", VIRTUAL[1]))?.success()?;
    ensure_driver(VIRTUAL[1], None)
}

/// Without an IOMMU everything is refused before anything is touched.
fn no_iommu() -> Verdict {
    modules(&["e1000e", "xen-pciback"])?;
    refused(&format!("/bin/xlr pci-assignable-add {CARD}"), &["Xen uses no IOMMU"])?;
    for more in ["pci = [\"00:04.0,seize=1\"]\n", "passthrough = \"enabled\"\n"] {
        let path = guests::idle("no-iommu", more)?;
        refused(&format!("/bin/xlr create {path}"), &["IOMMU"])?;
    }
    ensure_driver(CARD, Some("e1000e"))
}
