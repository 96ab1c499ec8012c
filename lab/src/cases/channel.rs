//! Channels, consoles beyond the first: bytes both ways, guests that flood or lie, a daemon that is
//! killed, and what is left at the end.

use super::console::{Kill, Terminal, readable};
use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv, await_node, await_text, config, console, domid, run};
use crate::dom0::init;
use crate::{ensure, fail};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use xenstore::client::{Client as Store, Nodes as _};

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("channel/both-ways", Group::Device, both_ways),
    Case::new("channel/flood", Group::Device, flood),
    Case::new("channel/guest-that-lies", Group::Device, guest_that_lies),
    Case::new("channel/daemon-is-killed", Group::Device, daemon_is_killed),
    Case::new("channel/nobody-serves", Group::Device, nobody_serves),
    Case::new("channel/socket-in-the-way", Group::Device, socket_in_the_way),
];

/// Limit of everything that is waited for.
const LIMIT: Duration = Duration::from_secs(40);
/// Bytes of a line of a flood.
const LINE: u64 = 11;

/// The daemon, killed with the case.
struct Consoled(Kill);

impl Consoled {
    /// Starts it and waits until it says that it is ready.
    fn start() -> Result<Consoled, Stop> {
        let mut command = init::command("/bin/xlr");
        let mut child = Kill(command.arg("consoled").stdout(Stdio::piped()).spawn()?);
        let Some(pipe) = child.0.stdout.take() else { fail!("no pipe to consoled") };
        ensure!(readable(&pipe, Instant::now() + LIMIT)?, "consoled says nothing");
        let mut line = String::new();
        BufReader::new(pipe).read_line(&mut line)?;
        ensure!(line.starts_with("consoled: ready"), "consoled says {line:?}");
        Ok(Consoled(child))
    }

    /// Kills it, and waits for its end.
    fn kill(mut self) -> Verdict {
        self.0.0.kill()?;
        self.0.0.wait()?;
        Ok(())
    }
}

fn socket(name: &str) -> String {
    format!("/run/{name}.sock")
}

/// A guest with a terminal as its first channel and a socket as its second.
fn guest(name: &str, does: &str) -> Result<String, Stop> {
    config(
        name,
        &format!(
            "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/channel\"\n\
             extra = \"{does}\"\nmemory = 8\nvcpus = 1\n\
             channel = [ \"name=one,connection=pty\", \
             \"name=two,connection=socket,path={}\" ]\n",
            socket(name)
        ),
    )
}

/// Somebody at the socket of a channel.
struct Client(UnixStream);

impl Client {
    fn connect(name: &str) -> Result<Client, Stop> {
        let stream = UnixStream::connect(socket(name))?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Client(stream))
    }

    /// Sends a line and expects it in capitals.
    fn ask(&mut self, text: &str) -> Verdict {
        self.0.write_all(format!("{text}\n").as_bytes())?;
        self.expect(&format!("2:{}\n", text.to_uppercase()))
    }

    fn expect(&mut self, wanted: &str) -> Verdict {
        let mut bytes = vec![0; wanted.len()];
        self.0.read_exact(&mut bytes)?;
        let said = String::from_utf8_lossy(&bytes);
        ensure!(said == wanted, "expected {wanted:?}, got {said:?}");
        Ok(())
    }
}

/// Bytes both ways over a terminal and a socket, attached to while the guest is still paused; all of
/// it goes with the domain.
fn both_ways() -> Verdict {
    let consoled = Consoled::start()?;
    let path = guest("talk", "")?;
    let mut log = console("talk")?;
    let made = run(&format!("/bin/xlr create -p {path}"))?.success()?;
    ensure!(!made.err.contains("serves channels"), "{}", made.err);
    let id = domid("talk")?.unwrap_or_default();
    let tty = await_node(&format!("/local/domain/{id}/device/console/1/tty"), 20)?;
    let mut terminal = Terminal::start(&["/bin/xlr", "console", "-n", "1", "talk"])?;
    terminal.until("Ctrl-] leaves it.")?;
    terminal.until("\n")?;
    terminal.await_raw()?;
    let mut client = Client::connect("talk")?;
    client.0.write_all(b"before it runs\n")?;
    run("/bin/xlr unpause talk")?.success()?;
    await_text(&mut log, "xtf: channels are connected", 40)?;
    client.expect("2:BEFORE IT RUNS\n")?;
    terminal.type_in(b"hello\n")?;
    terminal.until("1:HELLO\n")?;
    client.ask("and back")?;
    // More than a ring holds, in one go: each waits for the other.
    let long = "x".repeat(1000);
    for _ in 0..5 {
        client.ask(&long)?;
        terminal.type_in(b"still\n")?;
        terminal.until("1:STILL\n")?;
    }
    // Another client takes the place of the first; until then it waits.
    let mut second = Client::connect("talk")?;
    second.0.write_all(b"next\n")?;
    client.ask("first")?;
    drop(client);
    second.expect("2:NEXT\n")?;

    list_is_xls("talk")?;
    let said = run("/bin/xlr console -n 2 talk")?.failure()?;
    ensure!(said.err.contains(&format!("UNIX-CONNECT:{}", socket("talk"))), "{}", said.err);
    let said = run("/bin/xlr console -n 3 talk")?.failure()?;
    ensure!(said.err.contains("has no console 3"), "{}", said.err);

    run("/bin/xlr destroy talk")?.success()?;
    let code = terminal.end()?;
    ensure!(code == 0, "the console ends with {code}: {}", terminal.text());
    let mut rest = Vec::new();
    second.0.read_to_end(&mut rest)?;
    ensure!(!Path::new(&socket("talk")).exists(), "the socket stays");
    ensure!(!Path::new(&tty).exists(), "the terminal {tty} stays");
    consoled.kill()
}

/// `channel-list` prints what xl's prints.
fn list_is_xls(name: &str) -> Verdict {
    let theirs = run(&format!("/xen/bin/xl channel-list {name}"))?.success()?;
    let ours = run(&format!("/bin/xlr channel-list {name}"))?.success()?;
    ensure!(ours.out == theirs.out, "xlr prints {:?}, xl {:?}", ours.out, theirs.out);
    ensure!(ours.out.lines().count() == 3, "no two channels: {}", ours.out);
    let json = run(&format!("/bin/xlr channel-list --json {name}"))?.success()?;
    let json: serde_json::Value = serde_json::from_str(&json.out)?;
    let names: Vec<&str> =
        json.as_array().into_iter().flatten().filter_map(|row| row["name"].as_str()).collect();
    ensure!(names == ["one", "two"] && json[0]["state"] == 4, "{json}");
    ensure!(json[1]["path"] == *socket(name), "{json}");
    // xl takes our file for one of its own.
    run(&format!("/xen/bin/xl list -l {name}"))?.success()?;
    Ok(())
}

/// One channel says more than anybody reads: the other, and another guest, answer all the same, and
/// of what was said nothing is lost.
fn flood() -> Verdict {
    let consoled = Consoled::start()?;
    let loud = guest("loud", "flood=1")?;
    let quiet = guest("quiet", "")?;
    let (mut one, mut two) = (console("loud")?, console("quiet")?);
    run(&format!("/bin/xlr create {loud}"))?.success()?;
    run(&format!("/bin/xlr create {quiet}"))?.success()?;
    await_text(&mut one, "xtf: channels are connected", 40)?;
    await_text(&mut two, "xtf: channels are connected", 40)?;
    // Nobody reads the flood.
    let (mut same, mut other) = (Client::connect("loud")?, Client::connect("quiet")?);
    for round in 0..10 {
        same.ask(&format!("unread {round}"))?;
        other.ask(&format!("unread {round}"))?;
    }
    // Somebody does.
    let id = domid("loud")?.unwrap_or_default();
    let tty = await_node(&format!("/local/domain/{id}/device/console/1/tty"), 20)?;
    let mut flood = std::fs::File::open(tty)?;
    let mut line = [0; LINE as usize];
    for number in 0..5000 {
        flood.read_exact(&mut line)?;
        let wanted = format!("{number:010}\n");
        let said = String::from_utf8_lossy(&line);
        ensure!(said == wanted, "line {number} of the flood is {said:?}");
        if number % 500 == 0 {
            same.ask("read")?;
            other.ask("read")?;
        }
    }
    for name in ["loud", "quiet"] {
        run(&format!("/bin/xlr destroy {name}"))?.success()?;
    }
    drop((same, other));
    consoled.kill()
}

/// A guest whose indices make no sense loses that channel, and nobody else anything; once it begins
/// anew it is served again.
fn guest_that_lies() -> Verdict {
    let consoled = Consoled::start()?;
    let liar = guest("liar", "lie=2")?;
    let honest = guest("honest", "")?;
    let (mut one, mut two) = (console("liar")?, console("honest")?);
    run(&format!("/bin/xlr create {liar}"))?.success()?;
    run(&format!("/bin/xlr create {honest}"))?.success()?;
    await_text(&mut one, "xtf: channels are connected", 40)?;
    await_text(&mut two, "xtf: channels are connected", 40)?;
    let (mut lied_to, mut other) = (Client::connect("liar")?, Client::connect("honest")?);
    other.ask("before")?;
    lied_to.0.write_all(b"lie")?;
    await_text(&mut one, "xtf: channel 2 lies", 40)?;
    await_text(&mut one, "xtf: channel 2 is closed", 40)?;
    other.ask("meanwhile")?;
    await_text(&mut one, "xtf: channel 2 is connected again", 40)?;
    lied_to.ask("honest now")?;
    other.ask("after")?;
    for name in ["liar", "honest"] {
        run(&format!("/bin/xlr destroy {name}"))?.success()?;
    }
    drop((lied_to, other));
    consoled.kill()
}

/// The daemon is killed under traffic, again and again, and each time another one goes on: nothing
/// of what the guest says is lost, at most one write comes twice, and it hears what it is told.
fn daemon_is_killed() -> Verdict {
    let mut consoled = Consoled::start()?;
    let path = guest("survivor", "flood=2")?;
    let mut log = console("survivor")?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    await_text(&mut log, "xtf: channels are connected", 40)?;
    let id = domid("survivor")?.unwrap_or_default();
    let tty = format!("/local/domain/{id}/device/console/1/tty");
    // How far the flood has been seen.
    let mut seen = 0;
    for round in 0..6 {
        let mut client = Client::connect("survivor")?;
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        while bytes.len() < 20_000 {
            let count = client.0.read(&mut chunk)?;
            ensure!(count > 0, "round {round}: it hangs up");
            bytes.extend_from_slice(&chunk[..count]);
        }
        consoled.kill()?;
        // What was handed over is here, whoever is dead.
        loop {
            match client.0.read(&mut chunk) {
                Ok(0) => break,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                read => bytes.extend_from_slice(&chunk[..read?]),
            }
        }
        seen = follow(&bytes, seen)?;
        consoled = Consoled::start()?;
        let tty = await_node(&tty, 20)?;
        let mut terminal = std::fs::OpenOptions::new().read(true).write(true).open(tty)?;
        terminal.write_all(format!("round {round}\n").as_bytes())?;
        let mut answer = [0; 10];
        ensure!(readable(&terminal, Instant::now() + LIMIT)?, "round {round}: no answer");
        terminal.read_exact(&mut answer)?;
        let said = String::from_utf8_lossy(&answer).into_owned();
        ensure!(said == format!("1:ROUND {round}\n"), "round {round}: {said:?}");
    }
    let mut client = Client::connect("survivor")?;
    run("/bin/xlr destroy survivor")?.success()?;
    client.0.read_to_end(&mut Vec::new())?;
    ensure!(!Path::new(&socket("survivor")).exists(), "the socket stays");
    consoled.kill()
}

/// Where a piece of the flood ends. It must begin where the last one ended, or one write before.
fn follow(bytes: &[u8], seen: u64) -> Result<u64, Stop> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { fail!("no line") };
    let line = bytes.get(end + 1..end + 11).unwrap_or_default();
    let number = std::str::from_utf8(line).ok().and_then(|text| text.parse::<u64>().ok());
    let Some(number) = number else { fail!("no number: {:?}", String::from_utf8_lossy(line)) };
    let begin = (number * LINE).wrapping_sub(end as u64 + 1);
    ensure!(begin <= seen, "bytes {seen} to {begin} are lost");
    ensure!(begin + 2048 >= seen, "bytes {begin} to {seen} come again");
    for (at, byte) in (begin..).zip(bytes) {
        let text = format!("{:010}\n", at / LINE);
        let wanted = text.as_bytes()[(at % LINE) as usize];
        ensure!(*byte == wanted, "byte {at} is {byte:#x}, not {wanted:#x}");
    }
    Ok(begin + bytes.len() as u64)
}

/// Without the daemon a create says what to do, and the channels wait; a second daemon is refused.
fn nobody_serves() -> Verdict {
    let path = guest("waits", "")?;
    let mut log = console("waits")?;
    let said = run(&format!("/bin/xlr create {path}"))?.success()?;
    ensure!(
        said.err.contains("nobody serves channels") && said.err.contains("consoled"),
        "{said:?}"
    );
    let said = run("/bin/xlr console -n 1 waits")?.failure()?;
    ensure!(said.err.contains("nobody serves channels"), "{}", said.err);
    let said = run("/bin/xlr host check channels")?.failure()?;
    ensure!(said.out.contains("consoled does not run"), "{}", said.out);
    let consoled = Consoled::start()?;
    run("/bin/xlr host check channels")?.success()?;
    await_text(&mut log, "xtf: channels are connected", 40)?;
    Client::connect("waits")?.ask("at last")?;
    let said = run("/bin/xlr consoled")?.failure()?;
    ensure!(said.err.contains("another consoled"), "{}", said.err);
    // Asked to end, it takes the terminal's name away: another may get that terminal.
    let id = domid("waits")?.unwrap_or_default();
    let pid = consoled.0.0.id();
    let mut consoled = consoled;
    run(&format!("/bin/busybox kill {pid}"))?.success()?;
    let ended = consoled.0.0.wait()?;
    ensure!(ended.success(), "consoled ends with {ended}");
    let tty =
        argv(&["/usr/bin/xenstore-read", &format!("/local/domain/{id}/device/console/1/tty")])?;
    ensure!(tty.success()?.out.trim().is_empty(), "the terminal is still named");
    ensure!(!Path::new(&socket("waits")).exists(), "the socket stays");
    run("/bin/xlr destroy waits")?.success()?;
    Ok(())
}

/// Waits until a node has this value, woken by a watch.
fn await_value(path: &str, wanted: &str) -> Verdict {
    let failed = |error: xenstore::client::Error| Stop::Failed(error.to_string());
    let mut store = Store::connect().map_err(failed)?;
    store.watch(path, "lab").map_err(failed)?;
    let mut found = None;
    while store.next_event(Some(LIMIT)).map_err(failed)?.is_some() {
        found = store.read_text_optional(path).map_err(failed)?;
        if found.as_deref() == Some(wanted) {
            return Ok(());
        }
    }
    fail!("{path} is {found:?}, not {wanted}")
}

/// What is where a channel's socket shall be is not removed.
fn socket_in_the_way() -> Verdict {
    let path = guest("blocked", "")?;
    std::fs::write(socket("blocked"), "precious")?;
    let said = run(&format!("/bin/xlr create {path}"))?.failure()?;
    ensure!(said.code == 3 && said.err.contains("is there and is no socket"), "{said:?}");
    ensure!(std::fs::read(socket("blocked"))? == b"precious", "the file is gone");
    std::fs::remove_file(socket("blocked"))?;
    let listener = std::os::unix::net::UnixListener::bind(socket("blocked"))?;
    let consoled = Consoled::start()?;
    run(&format!("/bin/xlr create -p {path}"))?.success()?;
    let id = domid("blocked")?.unwrap_or_default();
    // The terminal is served, the socket stays whose it is.
    await_node(&format!("/local/domain/{id}/device/console/1/tty"), 20)?;
    await_value(&format!("/local/domain/0/backend/console/{id}/2/state"), "6")?;
    run("/bin/xlr destroy blocked")?.success()?;
    ensure!(Path::new(&socket("blocked")).exists(), "somebody else's socket is gone");
    drop(listener);
    std::fs::remove_file(socket("blocked"))?;
    let elsewhere = argv(&[
        "/bin/xlr",
        "create",
        &path,
        "channel=[\"name=a,connection=socket,path=/no/such/folder/a\"]",
    ])?;
    ensure!(elsewhere.code == 3 && elsewhere.err.contains("lies in no directory"), "{elsewhere:?}");
    consoled.kill()
}
