//! What happens is told: `events` as it happens, `metrics` and `top` when they are asked.

use super::console::{Kill, Terminal};
use super::store_lives::PID_FILE;
use super::store_sockets::{alone, keeper};
use super::vif::Bridge;
use crate::case::{Case, Group};
use crate::dom0::dump;
use crate::dom0::guest::Guest;
use crate::dom0::host::{Stop, Verdict, argv, await_text, config, console, domid, run};
use crate::dom0::init;
use crate::xenstored::Xenstored;
use crate::{ensure, fail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{ChildStdout, Stdio};
use std::time::{Duration, Instant};
use xenstore::client::Client;

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("events/domains-and-devices", Group::Toolstack, domains_and_devices),
    Case::new("events/metrics", Group::Toolstack, metrics),
    Case::new("events/top", Group::Toolstack, top),
    Case { ci: false, limit_seconds: 240, ..Case::new("events/rates", Group::Device, rates) },
    Case {
        xenstored: Xenstored::Xlr,
        wrecks: true,
        ci: false,
        ..Case::new("events/store-ends", Group::Store, store_ends)
    },
];

const MEDIUM: &str = "/tmp/told.img";
const UUID: &str = "11111111-2222-3333-4444-555555555555";

fn guest(name: &str, more: &str) -> Result<String, Stop> {
    config(
        name,
        &format!(
            "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\nvcpus = 1\n\
             extra = \"on=obey\"\n{more}"
        ),
    )
}

/// The stream, ended with this value.
struct Stream {
    child: Kill,
    lines: BufReader<ChildStdout>,
}

impl Stream {
    /// Starts it, and reads on until everything that was there has been told; gives that.
    fn start() -> Result<(Stream, Vec<Value>), Stop> {
        let mut command = init::command("/bin/xlr");
        command.args(["events", "--json"]).stdout(Stdio::piped());
        let mut child = Kill(command.spawn()?);
        let Some(out) = child.0.stdout.take() else { fail!("no pipe to events") };
        let mut stream = Stream { child, lines: BufReader::new(out) };
        let there = stream.until("ready")?;
        Ok((stream, there))
    }

    /// Reads up to this event, and gives all that came before it.
    fn until(&mut self, event: &str) -> Result<Vec<Value>, Stop> {
        let mut before = Vec::new();
        loop {
            let mut line = String::new();
            ensure!(self.lines.read_line(&mut line)? > 0, "events ended without {event}");
            eprint!("events: {line}");
            let value: Value = serde_json::from_str(&line)?;
            if value["event"] == event {
                before.push(value);
                return Ok(before);
            }
            before.push(value);
        }
    }

    /// Reads exactly these events, each about this domain.
    fn says(&mut self, id: u32, events: &[(&str, &str)]) -> Verdict {
        for (event, about) in events {
            let seen = self.until(event)?;
            let [value] = &seen[..] else { fail!("before {event}: {seen:?}") };
            ensure!(value["domid"] == id, "{value} is not of domain {id}");
            let found = [&value["reason"], &value["device"], &value["name"]]
                .into_iter()
                .find_map(Value::as_str);
            ensure!(found == Some(about), "{value} does not tell of {about}");
        }
        Ok(())
    }

    fn end(mut self) -> Verdict {
        self.child.0.kill()?;
        self.child.0.wait()?;
        Ok(())
    }
}

fn domains_and_devices() -> Verdict {
    let before = dump::take()?;
    std::fs::File::create(MEDIUM)?.set_len(1 << 20)?;
    let more = format!("uuid = \"{UUID}\"\ndisk = [\"{MEDIUM},raw,xvda,rw\"]\n");
    let path = guest("told", &more)?;
    let mut log = console("told")?;
    let (mut stream, there) = Stream::start()?;
    ensure!(there.len() == 1, "there is {there:?}");
    run(&format!("/bin/xlr create -q {path}"))?.success()?;
    await_text(&mut log, "xtf: idle", 30)?;
    let Some(id) = domid("told")? else { fail!("there is no told") };
    // Devices before or after the name: nobody promises which.
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let mut line = String::new();
        ensure!(stream.lines.read_line(&mut line)? > 0, "events ended");
        eprint!("events: {line}");
        let value: Value = serde_json::from_str(&line)?;
        ensure!(value["domid"] == id, "{value} is not of domain {id}");
        let devid = value["devid"].as_u64().map(|devid| format!(" {devid}")).unwrap_or_default();
        seen.push(format!(
            "{} {}{devid}{}",
            value["event"].as_str().unwrap_or_default(),
            value["device"].as_str().or(value["name"].as_str()).unwrap_or_default(),
            value["uuid"].as_str().map(|uuid| format!(" {uuid}")).unwrap_or_default()
        ));
    }
    seen.sort();
    ensure!(
        seen == [
            "device-added console 0",
            "device-added vbd 51712",
            &format!("domain-created told {UUID}"),
        ],
        "{seen:?}"
    );

    // Another one that listens is told what there is.
    let (second, there) = Stream::start()?;
    let there: Vec<_> = there.iter().filter_map(|value| value["event"].as_str()).collect();
    ensure!(there == ["domain-there", "device-there", "device-there", "ready"], "{there:?}");
    second.end()?;

    run("/bin/xlr rename told spoken")?.success()?;
    stream.says(id, &[("domain-renamed", "spoken")])?;
    let node = format!("/local/domain/{id}/control/shutdown");
    argv(&["/usr/bin/xenstore-write", &node, "crash"])?.success()?;
    stream.says(id, &[("domain-shut-down", "crash")])?;
    run(&format!("/bin/xlr destroy {id}"))?.success()?;
    let seen = stream.until("domain-gone")?;
    let removed: Vec<_> = seen
        .iter()
        .filter(|value| value["event"] == "device-removed" && value["domid"] == id)
        .filter_map(|value| value["device"].as_str())
        .collect();
    ensure!(removed.contains(&"vbd") && removed.contains(&"console"), "removed: {removed:?}");

    let mut command = init::command("/bin/xlr");
    let mut supervisor =
        Kill(command.arg("supervise").stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let seen = stream.until("daemon-ready")?;
    ensure!(seen.len() == 1 && seen[0]["daemon"] == "supervise", "{seen:?}");
    supervisor.0.kill()?;
    supervisor.0.wait()?;
    let seen = stream.until("daemon-ended")?;
    ensure!(seen.len() == 1 && seen[0]["daemon"] == "supervise", "{seen:?}");
    stream.end()?;

    // It ends with its reader.
    let mut command = init::command("/bin/xlr");
    let mut child = Kill(command.arg("events").stdout(Stdio::piped()).spawn()?);
    if let Some(out) = child.0.stdout.take() {
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        ensure!(line.ends_with(" ready\n"), "events says {line:?}");
    }
    child.0.wait()?;
    std::fs::remove_file(MEDIUM)?;
    dump::unchanged(&before, "events")
}

/// A store that ends and comes again.
fn store_ends() -> Verdict {
    let mut first = Kill(alone(None)?);
    // What the first one of all left holds its sockets for a while.
    let deadline = Instant::now() + Duration::from_secs(60);
    while keeper().is_ok() {
        ensure!(Instant::now() < deadline, "there is a keeper");
        std::thread::sleep(Duration::from_millis(1));
    }
    Client::connect_within(Duration::from_secs(60)).map_err(|e| Stop::Failed(e.to_string()))?;
    let path = guest("after", "")?;
    run(&format!("/bin/xlr create -q {path}"))?.success()?;
    let Some(id) = domid("after")? else { fail!("there is no after") };
    let (mut stream, _) = Stream::start()?;
    first.0.kill()?;
    first.0.wait()?;
    let seen = stream.until("store-lost")?;
    ensure!(seen.len() == 1, "{seen:?}");
    let mut command = init::command("/bin/xlr");
    command.args(["xenstored", "--foreground", "--no-keeper", "--pid-file", PID_FILE]);
    let second = Kill(command.stdin(Stdio::null()).spawn()?);
    let seen = stream.until("store-back")?;
    ensure!(seen.len() == 1, "{seen:?}");
    run(&format!("/bin/xlr destroy {id}"))?.success()?;
    stream.until("domain-gone")?;
    drop(second);
    stream.end()
}

/// Samples by name and labels, from lines that have no quotes inside of values.
pub(super) fn samples(text: &str) -> BTreeMap<String, f64> {
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

fn metrics() -> Verdict {
    let before = dump::take()?;
    let path = guest("counted", "")?;
    let mut log = console("counted")?;
    run(&format!("/bin/xlr create -q {path}"))?.success()?;
    await_text(&mut log, "xtf: idle", 30)?;
    let Some(id) = domid("counted")? else { fail!("there is no counted") };
    let text = run("/bin/xlr metrics")?.success()?.out;
    let found = samples(&text);
    let of = |name: &str| {
        let key = format!("{name}{{domid=\"{id}\",name=\"counted\"}}");
        found.get(&key).copied().ok_or_else(|| Stop::Failed(format!("there is no {key}")))
    };
    ensure!(of("xlr_domain_memory_bytes")? == f64::from(8 << 20), "its memory");
    ensure!(of("xlr_domain_vcpus")? == 1.0, "its vcpus");
    ensure!(of("xlr_domain_cpu_seconds_total")? > 0.0, "its time");
    ensure!(found.get("xlr_domains") == Some(&2.0), "domains: {:?}", found.get("xlr_domains"));
    ensure!(found.get("xlr_store_up") == Some(&1.0), "the store");
    let state = format!("xlr_domain_state{{domid=\"{id}\",name=\"counted\",state=\"blocked\"}}");
    ensure!(found.get(&state) == Some(&1.0), "it waits: {:?}", found.get(&state));
    // Prometheus asks for a kind of each.
    for key in found.keys() {
        let name = key.split('{').next().unwrap_or_default();
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        let line = format!("# TYPE {name} {kind}\n");
        ensure!(text.matches(&line).count() == 1, "{key} has no kind {kind}");
    }

    // The same into a file, and over HTTP.
    run("/bin/xlr metrics --file /tmp/counted.prom")?.success()?;
    let written = samples(&std::fs::read_to_string("/tmp/counted.prom")?);
    ensure!(written.keys().eq(found.keys()), "the file has other samples");
    std::fs::remove_file("/tmp/counted.prom")?;
    for _ in 0..2 {
        // The second one finds the socket of the first, which was killed.
        let mut command = init::command("/bin/xlr");
        command.args(["metrics", "--listen", "unix:/tmp/counted.sock"]).stdout(Stdio::piped());
        let mut child = Kill(command.spawn()?);
        let Some(out) = child.0.stdout.take() else { fail!("no pipe to metrics") };
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        ensure!(line.starts_with("metrics: ready"), "metrics says {line:?}");
        let mode = std::fs::metadata("/tmp/counted.sock")?.permissions().mode();
        ensure!(mode & 0o777 == 0o600, "everybody may ask: {mode:o}");
        // One that says nothing holds nobody up for long.
        let silent = UnixStream::connect("/tmp/counted.sock")?;
        let mut socket = UnixStream::connect("/tmp/counted.sock")?;
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let Some((head, body)) = answer.split_once("\r\n\r\n") else { fail!("{answer}") };
        ensure!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        ensure!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        ensure!(samples(body).keys().eq(found.keys()), "other samples over HTTP");
        drop(silent);
        child.0.kill()?;
        child.0.wait()?;
    }
    std::fs::remove_file("/tmp/counted.sock")?;
    run("/bin/xlr destroy counted")?.success()?;
    dump::unchanged(&before, "metrics")
}

/// Lines in the columns of `xentop -b`, which says the same of what does not change; and the screen, on a
/// terminal.
fn top() -> Verdict {
    let before = dump::take()?;
    let path = guest("a-long-name", "")?;
    let mut log = console("a-long-name")?;
    run(&format!("/bin/xlr create -q {path}"))?.success()?;
    await_text(&mut log, "xtf: idle", 30)?;
    let ours = run("/bin/xlr top -b -i 2 -d 0.5 -f")?.success()?.out;
    let theirs = run("/xen/bin/xentop -b -i 1 -f")?.success()?.out;
    let [ours, theirs] = [&ours, &theirs].map(|text| text.lines().collect::<Vec<_>>());
    ensure!(ours.len() == 6 && ours[0] == ours[3], "two looks at two domains: {ours:#?}");
    ensure!(ours[0] == theirs[0], "headings:\n{}\n{}", ours[0], theirs[0]);
    for name in ["Domain-0", "a-long-name"] {
        let cells = |lines: &[&str]| {
            let line = lines.iter().rev().find(|line| line.contains(name));
            let words = line.map(|line| line.replace("no limit", "no-limit")).unwrap_or_default();
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            // What is used grows.
            [&words[..2], &words[4..]].concat()
        };
        let (ours, theirs) = (cells(&ours), cells(&theirs));
        ensure!(ours == theirs, "of {name}: {ours:?}, xentop {theirs:?}");
    }

    let mut screen = Terminal::start(&["/bin/xlr", "top", "-d", "1"])?;
    screen.until("a-long-nam")?;
    screen.type_in(b"v")?;
    screen.until("VCPUs(sec)")?;
    screen.type_in(b"q")?;
    // What was on the terminal before comes back.
    screen.until("\u{1b}[?1049l")?;
    ensure!(screen.end()? == 0, "top ended otherwise: {}", screen.text());
    screen.is_restored()?;
    run("/bin/xlr destroy a-long-name")?.success()?;
    dump::unchanged(&before, "top")
}

/// Bytes that a guest has read and written, packets that it has sent and received.
fn counters(id: u32) -> Result<[f64; 4], Stop> {
    let found = samples(&run("/bin/xlr metrics")?.success()?.out);
    let of = |name: &str, devid: u32| {
        let key = format!("{name}{{domid=\"{id}\",name=\"rated\",devid=\"{devid}\"}}");
        found.get(&key).copied().ok_or_else(|| Stop::Failed(format!("there is no {key}")))
    };
    Ok([
        of("xlr_block_read_bytes_total", 51712)?,
        of("xlr_block_written_bytes_total", 51712)?,
        of("xlr_network_sent_packets_total", 0)?,
        of("xlr_network_received_packets_total", 0)?,
    ])
}

/// What a guest reads, writes, sends and receives is counted, and as xentop counts it.
fn rates() -> Verdict {
    const READ_BYTES: f64 = 1_048_576.0;
    const WRITTEN_BYTES: f64 = 524_288.0;
    let before = dump::take()?;
    std::fs::File::create(MEDIUM)?.set_len(4 << 20)?;
    let bridge = Bridge::new("xenbr0", "10.1.0.1/24")?;
    let more = format!(
        "disk = [\"{MEDIUM},raw,xvda,rw\"]\nvif = [\"mac=00:16:3e:00:00:07,bridge=xenbr0\"]\n"
    );
    let mut guest = Guest::create("rated", &more)?;
    guest.await_file("/dev/xvda")?;
    let start = counters(guest.domid)?;
    guest.sh("dd if=/dev/xvda of=/dev/null bs=64k skip=16 count=16")?;
    guest.sh("dd if=/dev/zero of=/dev/xvda bs=64k count=8 conv=fsync")?;
    guest.sh("ip addr add 10.1.0.2/24 dev eth0 && ip link set eth0 up && ping -c 3 10.1.0.1")?;
    let end = counters(guest.domid)?;
    let grown: Vec<f64> = end.iter().zip(start).map(|(end, start)| end - start).collect();
    // Linux reads ahead; what it writes it writes once.
    ensure!(grown[0] >= READ_BYTES && grown[0] <= 2.0 * READ_BYTES, "read {}", grown[0]);
    ensure!(grown[1] == WRITTEN_BYTES, "written {}", grown[1]);
    // Each ping and its answer, and a question for an address each way at most.
    ensure!(grown[2] >= 3.0 && grown[3] >= 3.0, "packets {grown:?}");

    // At rest both say the same of its devices.
    guest.sh("ip link set eth0 down")?;
    let ours = run("/bin/xlr top -b -i 1 -f")?.success()?.out;
    let theirs = run("/xen/bin/xentop -b -i 1 -f")?.success()?.out;
    let cells = |text: &str| {
        let line = text.lines().find(|line| line.contains(" rated "));
        let words: Vec<String> =
            line.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        words.get(8..).map(<[String]>::to_vec).unwrap_or_default()
    };
    let (ours, mut theirs) = (cells(&ours), cells(&theirs));
    ensure!(ours.len() == 11 && theirs.len() == 11, "{ours:?}, xentop {theirs:?}");
    // xentop tells what dom0's end of the interface sent and received.
    theirs.swap(2, 3);
    ensure!(ours == theirs, "{ours:?}, xentop {theirs:?}");
    ensure!(ours[1] == "1" && ours[4] == "1", "one device of each: {ours:?}");
    guest.destroy()?;
    drop(bridge);
    std::fs::remove_file(MEDIUM)?;
    dump::unchanged(&before, "counts of devices")
}
