//! What the clients hear when a domain comes and goes. The caller says how to make one and how to
//! remove it, for this crate knows no hypercall.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use xenstore::Domid;
use xenstore::client::{Client, DEVICE, Nodes};

use super::{Checked, ensure};

const SPECIAL: [&str; 2] = ["@introduceDomain", "@releaseDomain"];
const SOON: Duration = Duration::from_secs(30);

/// Runs the check; returns how many failed.
pub fn run(socket: &Path, create: &str, destroy: &str) -> usize {
    let start = Instant::now();
    let result = check(socket, create, destroy);
    let took = start.elapsed().as_millis();
    match result {
        Ok(detail) => println!("ok   domains-come-and-go ({took} ms): {detail}"),
        Err(error) => {
            println!("FAIL domains-come-and-go ({took} ms): {error}");
            return 1;
        }
    }
    0
}

fn check(socket: &Path, create: &str, destroy: &str) -> Checked {
    let mut clients = [Client::connect_to(socket)?, Client::connect_to(DEVICE)?];
    for client in &mut clients {
        for special in SPECIAL {
            client.watch(special, special)?;
            client.next_event(Some(SOON))?.ok_or("no first event")?;
        }
    }
    let before = domains(&mut clients[0])?;
    shell(create)?;
    for client in &mut clients {
        hear(client, SPECIAL[0])?;
    }
    let after = domains(&mut clients[0])?;
    let new: Vec<_> = after.into_iter().filter(|domid| !before.contains(domid)).collect();
    let [domid] = new[..] else { return Err(format!("new domains: {new:?}").into()) };
    for client in &mut clients {
        ensure(client.is_introduced(Domid(domid))?, "the new domain is not introduced")?;
    }
    shell(destroy)?;
    for client in &mut clients {
        hear(client, SPECIAL[1])?;
        ensure(!client.is_introduced(Domid(domid))?, "the domain is still introduced")?;
    }
    Ok(format!("domain {domid} was introduced and released; socket and device heard both"))
}

/// Waits for this event; others may come before.
fn hear(client: &mut Client, special: &str) -> Result<(), Box<dyn std::error::Error>> {
    let deadline = Instant::now() + SOON;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = client.next_event(Some(left))?.ok_or(format!("no {special}"))?;
        if event.path.as_str() == special {
            return ensure(event.token == special, format!("token {}", event.token));
        }
    }
}

fn domains(store: &mut Client) -> Result<Vec<u16>, Box<dyn std::error::Error>> {
    let names = store.directory("/local/domain")?;
    Ok(names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?)
}

fn shell(line: &str) -> Result<(), Box<dyn std::error::Error>> {
    let status = Command::new("/bin/sh").args(["-c", line]).status()?;
    ensure(status.success(), format!("{line}: {status}"))
}
