//! Kills at every step of an exchange, and at random in long ones.

use crate::client::Client;
use crate::random::{Random, iterations};
use crate::world::{TestServer, World, assert_same};
use xenstore::store::ConnectionId;
use xenstore::wire::{Packet, Request, Token};
use xenstore::{Access, Domid, Gfn, Path, Permissions, Port};

const GUESTS: u16 = 2;

/// What everyone got.
type Streams = Vec<(Vec<Packet>, Vec<Packet>)>;

fn write(path: &str, value: &str) -> Request {
    Request::Write { path: Path::new(path).unwrap(), value: value.into() }
}

fn read(path: &str) -> Request {
    Request::Read(Path::new(path).unwrap())
}

fn watch(path: &str, token: &str) -> Request {
    let (path, token) = (Path::new(path).unwrap(), Token::new(token).unwrap());
    Request::Watch { path, token, depth: None }
}

fn home(domid: u16) -> String {
    if domid == 0 { "/control".to_owned() } else { format!("/local/domain/{domid}") }
}

/// Domain 0 connects the guests, each of which may read the other's home.
fn prepare(client: &mut Client) {
    for domid in 1..=GUESTS {
        let number = Domid(domid);
        client.ask(0, &Request::Introduce { domid: number, gfn: Gfn(1), port: Port(1) });
        client.ask(0, &write(&home(domid), ""));
        let permissions = Permissions::private(number).grant(Domid(3 - domid), Access::Read);
        let path = Path::new(home(domid)).unwrap();
        client.ask(0, &Request::SetPerms { path, permissions });
    }
    client.ask(0, &watch("/local", "all"));
}

/// Watches are there before anything happens, so that everyone hears of the same.
fn set_watches(client: &mut Client, domid: u16) {
    client.ask(0, &watch(&home(3 - domid), "other"));
    client.ask(0, &watch(&home(domid), "own"));
}

/// A guest's day: numbers in order, transactions, watches, values longer than a ring.
fn guest_script(client: &mut Client, domid: u16, rounds: u32, random: &mut Random) {
    for round in 0..rounds {
        client.ask(0, &write(&format!("{}/n{round}", home(domid)), &round.to_string()));
        match random.below(5) {
            0 => client.ask(0, &Request::GetPerms(Path::new(home(domid)).unwrap())),
            1 => client.ask(0, &write(&format!("{}/big", home(domid)), &"v".repeat(1500))),
            2 => client.ask(0, &read(&format!("{}/n{}", home(domid), round / 2))),
            3 => {
                client.ask(0, &Request::Rm(Path::new(format!("{}/n{round}", home(domid))).unwrap()))
            }
            _ => client.ask(0, &Request::Directory(Path::new(home(domid)).unwrap())),
        }
    }
}

/// A transaction that is open for long, with writes inside and an end that says what it should.
fn transaction_script(client: &mut Client, domid: u16, rounds: u32) {
    for number in 1..=rounds {
        let node = format!("{}/t", home(domid));
        client.ask(0, &Request::TransactionStart);
        client.ask(number, &read(&home(domid)));
        client.ask(number, &write(&node, &number.to_string()));
        if number % 3 == 0 {
            client.ask(0, &write(&home(domid), "changed outside"));
            client.ask(number, &read(&home(domid)));
        }
        client.ask(number, &read(&node));
        client.ask(number, &Request::TransactionEnd { commit: true });
        client.ask(0, &read(&node));
    }
}

struct Case {
    seed: u64,
    rounds: u32,
    /// Kills come in fewer steps than this after the server's start; none when 0.
    kills: u64,
    /// The first kill is after exactly so many steps.
    first: u64,
}

/// Runs clients against servers until everyone has everything; what they got, and how many kills and
/// steps it took.
fn run(case: &Case) -> (Streams, u64, u64) {
    let world = World::new(GUESTS);
    let mut random = Random(case.seed);
    let mut clients: Vec<Client> =
        (0..=GUESTS).map(|domid| Client::new(&world.pages[&Domid(domid)], &home(domid))).collect();
    prepare(&mut clients[0]);
    let mut stages: Vec<Stage<'_>> = vec![
        Box::new(move |clients| {
            guest_script(&mut clients[1], 1, case.rounds, &mut random);
            transaction_script(&mut clients[2], 2, case.rounds);
        }),
        Box::new(|clients| (1..=GUESTS).for_each(|d| set_watches(&mut clients[usize::from(d)], d))),
    ];
    let mut chance = Random(case.seed ^ case.first << 20 ^ 0x6b69_6c6c);
    world.kill.after(case.first);
    for kills in 0..4_000 {
        let killed = world.live(|mut server| {
            serve(&world, &mut server, &mut clients, &mut stages, &mut chance);
        });
        if !killed {
            assert_eq!(*world.faults.borrow(), [], "nobody did wrong");
            let got = clients.into_iter().map(|client| (client.own, client.foreign)).collect();
            return (got, kills, world.kill.taken.get());
        }
        let steps = if case.kills == 0 { 0 } else { 1 + chance.below(case.kills as usize) as u64 };
        world.kill.after(steps);
    }
    let done: Vec<_> = clients.iter().map(Client::progress).collect();
    panic!("seed {:#x}, kills within {}: no end, {done:?}", case.seed, case.kills);
}

type Stage<'a> = Box<dyn FnMut(&mut [Client]) + 'a>;

fn serve(
    world: &World,
    server: &mut TestServer,
    clients: &mut [Client],
    stages: &mut Vec<Stage<'_>>,
    chance: &mut Random,
) {
    let (mut quiet, mut rounds, mut image) = (0, 0, None);
    while quiet < 20 {
        rounds += 1;
        assert!(rounds < 20_000, "a client waits for ever");
        for domid in 0..=GUESTS {
            // Guests begin when they are introduced: their rings are set up then.
            if domid == 0 || server.connection(ConnectionId::Domain(Domid(domid))).is_some() {
                clients[usize::from(domid)].act(chance);
            }
            server.ready(ConnectionId::Domain(Domid(domid)));
        }
        server.round().unwrap();
        match chance.below(40) {
            0 if image.is_none() => world.keep(server),
            1 => {
                assert_same_after_commit(world, server);
            }
            2..=19 => world.piece(server, &mut image),
            _ => {}
        }
        quiet = if clients.iter().all(Client::is_done) { quiet + 1 } else { 0 };
        if quiet == 20
            && let Some(mut stage) = stages.pop()
        {
            stage(clients);
            quiet = 0;
        }
    }
}

/// What was sent since the last commit is noted with the next one, so this looks after one.
fn assert_same_after_commit(world: &World, server: &mut TestServer) {
    use xenstore::server::Journal as _;
    server.journal_mut().commit().unwrap();
    assert_same(world, server);
}

fn check(case: &Case, wanted: &Streams) -> u64 {
    let (got, kills, _) = run(case);
    for (domid, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        let place = (case.seed, case.first, domid);
        assert_eq!(got.0.len(), wanted.0.len(), "{place:?}: replies and events of its own");
        assert!(got.0 == wanted.0, "{place:?}: other replies");
        // Which of two guests came first is not what this is about.
        for domid in 1..=GUESTS {
            let of = |packets: &[Packet]| -> Vec<Packet> {
                let home = home(domid).into_bytes();
                packets.iter().filter(|p| p.payload.starts_with(&home)).cloned().collect()
            };
            assert!(of(&got.1) == of(&wanted.1), "{place:?}: events of domain {domid}");
        }
        assert_eq!(got.1.len(), wanted.1.len(), "{place:?}: events");
    }
    kills
}

#[test]
fn a_kill_at_each_step_of_a_short_exchange() {
    let seed = 0x7374_6570;
    let case = |first| Case { seed, rounds: 6, kills: 0, first };
    let (wanted, _, steps) = run(&case(0));
    for first in 1..=steps {
        check(&case(first), &wanted);
    }
}

#[test]
fn kills_at_random_in_long_exchanges() {
    let mut kills = 0;
    for number in 0..iterations(15) {
        let seed = 0x006c_6f6e_6700 + number;
        let case = |kills| Case { seed, rounds: 60, kills, first: kills };
        let (wanted, ..) = run(&case(0));
        for distance in [40, 100, 500] {
            kills += check(&case(distance), &wanted);
        }
    }
    assert!(kills > 100, "{kills}");
}
