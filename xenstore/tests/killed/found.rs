//! What a new server finds that the old one did not know of: domains that went, numbers that are used
//! again, rings whose indices lie.

use crate::client::{Client, REQ_CONS, RSP_PROD};
use crate::random::{Random, iterations};
use crate::world::{World, identity};
use xenstore::saved::{append_frame, begin, load};
use xenstore::server::{ReplayError, Revived};
use xenstore::store::ConnectionId;
use xenstore::wire::{Reply, Request, Token};
use xenstore::{Domid, Gfn, Path, Port};

const GUEST: ConnectionId = ConnectionId::Domain(Domid(1));

/// A world whose first server has connected domains 1 and 2, with a watch of domain 0 on ends.
fn prepared() -> (World, Vec<Client>) {
    let world = World::new(2);
    let client = |domid: u16| Client::new(&world.pages[&Domid(domid)], "/none");
    let mut clients = vec![client(0), client(1), client(2)];
    for domid in 1..=2 {
        let (domid, gfn, port) = (Domid(domid), Gfn(1), Port(1));
        clients[0].ask(0, &Request::Introduce { domid, gfn, port });
        let path = Path::new(format!("/local/domain/{domid}")).unwrap();
        clients[0].ask(0, &Request::Write { path: path.clone(), value: b"home".to_vec() });
        let permissions = xenstore::Permissions::private(domid);
        clients[0].ask(0, &Request::SetPerms { path, permissions });
    }
    let (path, token) = (Path::new("@releaseDomain").unwrap(), Token::new("end").unwrap());
    clients[0].ask(0, &Request::Watch { path, token, depth: None });
    assert!(!life(&world, &mut clients));
    clients[0].foreign.clear();
    (world, clients)
}

/// A server that serves until nobody wants anything.
fn life(world: &World, clients: &mut [Client]) -> bool {
    let mut random = Random(7);
    world.live(|mut server| {
        for _ in 0..60 {
            for (domid, client) in (0..).zip(clients.iter_mut()) {
                let id = ConnectionId::Domain(Domid(domid));
                if server.connection(id).is_some_and(|c| !c.is_parked()) {
                    client.act(&mut random);
                }
                server.ready(id);
            }
            server.round().unwrap();
        }
    })
}

fn read(client: &mut Client, path: &str) {
    client.ask(0, &Request::Read(Path::new(path).unwrap()));
}

fn last_reply(client: &Client) -> Reply {
    Reply::decode(client.own.last().unwrap()).unwrap()
}

#[test]
fn a_domain_that_went_is_gone_once() {
    let (world, mut clients) = prepared();
    world.domains.borrow_mut().remove(&Domid(1));
    life(&world, &mut clients);
    assert_eq!(clients[0].foreign.len(), 1, "one end is told");
    // And not again by the next server.
    life(&world, &mut clients);
    assert_eq!(clients[0].foreign.len(), 1);
    read(&mut clients[0], "/local/domain/1");
    read(&mut clients[2], "/local/domain/2");
    life(&world, &mut clients);
    assert!(matches!(last_reply(&clients[0]), Reply::Error(_)), "its nodes went with it");
    assert_eq!(last_reply(&clients[2]), Reply::Value(b"home".to_vec()));
}

#[test]
fn a_number_that_another_domain_has_is_not_taken_for_the_old_one() {
    let (world, mut clients) = prepared();
    world.domains.borrow_mut().insert(Domid(1), identity(99));
    life(&world, &mut clients);
    assert_eq!(clients[0].foreign.len(), 1, "one end is told");
    assert_eq!(*world.mapped.borrow(), [Domid(0), Domid(2)], "the new domain's ring is let alone");
}

#[test]
fn a_domain_that_shut_down_is_told_once() {
    let (world, mut clients) = prepared();
    world.domains.borrow_mut().get_mut(&Domid(2)).unwrap().shut_down = true;
    for _ in 0..3 {
        life(&world, &mut clients);
        assert_eq!(clients[0].foreign.len(), 1);
    }
    read(&mut clients[2], "/local/domain/2");
    life(&world, &mut clients);
    assert_eq!(last_reply(&clients[2]), Reply::Value(b"home".to_vec()), "it is served still");
}

/// One index of domain 1 is changed while no server runs.
fn check_lie(index: usize, distance: u32, cut_off: bool) {
    let (world, mut clients) = prepared();
    let page = &world.pages[&Domid(1)];
    page.set_word(index, page.word(index).wrapping_add(distance));
    read(&mut clients[2], "/local/domain/2");
    life(&world, &mut clients);
    let faults = world.faults.borrow().clone();
    assert_eq!(faults, if cut_off { vec![GUEST] } else { vec![] }, "index {index} by {distance}");
    assert_eq!(last_reply(&clients[2]), Reply::Value(b"home".to_vec()), "others are served");
}

#[test]
fn indices_that_lie_fail_their_connection_only() {
    for distance in [1, 500, 1 << 31, u32::MAX] {
        check_lie(RSP_PROD, distance, true);
    }
    for distance in [1, 1 << 31, 1_u32.wrapping_sub(1026)] {
        check_lie(REQ_CONS, distance, true);
    }
    check_lie(REQ_CONS, 0, false);
}

/// The kernel of this domain cannot be cut off: it would never come back.
#[test]
fn the_kernels_ring_fits_or_nothing_begins() {
    for (index, reached) in [(REQ_CONS, true), (RSP_PROD, true), (REQ_CONS, false)] {
        let (mut world, mut clients) = prepared();
        life(&world, &mut clients);
        if reached {
            let page = &world.pages[&Domid::DOM0];
            page.set_word(index, page.word(index).wrapping_add(5));
        } else {
            world.pages.remove(&Domid::DOM0);
        }
        let before: Vec<_> = world.pages.values().map(|page| page.0.borrow().clone()).collect();
        let file = world.file.borrow().clone();
        world.mapped.borrow_mut().clear();
        let error = world.try_server().map(drop).unwrap_err();
        assert!(matches!(&error, ReplayError::Kernel(why) if why.is_some() == reached), "{error}");
        let after: Vec<_> = world.pages.values().map(|page| page.0.borrow().clone()).collect();
        assert!(before == after, "nobody was told anything");
        assert_eq!(*world.file.borrow(), file);
        assert_eq!(*world.mapped.borrow(), [Domid::DOM0], "no other ring was touched");
    }
}

/// A ring that is introduced once more while it is in use, by a server that is killed at any step of it.
#[test]
fn a_ring_begins_anew_once_whenever_the_kill_comes() {
    let mut kills = 0;
    for first in 1..60 {
        let (world, mut clients) = prepared();
        read(&mut clients[1], "/local/domain/1");
        life(&world, &mut clients);
        let (domid, gfn, port) = (Domid(1), Gfn(1), Port(1));
        clients[0].ask(0, &Request::Introduce { domid, gfn, port });
        world.kill.after(first);
        // The guest is suspended meanwhile.
        kills += u32::from(life(&world, &mut clients[..1]));
        world.kill.after(0);
        life(&world, &mut clients[..1]);
        assert_eq!(*world.faults.borrow(), [], "killed after {first} steps");
        assert!(clients.iter().all(Client::is_done));
        let page = &world.pages[&domid];
        assert_eq!((page.word(REQ_CONS), page.word(RSP_PROD)), (0, 0));
        clients[1] = Client::new(page, "/none");
        read(&mut clients[1], "/local/domain/1");
        life(&world, &mut clients);
        assert_eq!(last_reply(&clients[1]), Reply::Value(b"home".to_vec()));
    }
    assert!(kills > 10, "{kills}");
}

/// Damage that checksums do not show: somebody made a file of it.
#[test]
fn fuzz_revived() {
    let (world, mut clients) = prepared();
    read(&mut clients[1], "/local/domain/1");
    let file = world.file.borrow().clone();
    let contents = load(&file).unwrap();
    assert!(!contents.frames.is_empty());
    let mut random = Random(0x7265_7669_7665);
    let mut read_back = 0;
    for _ in 0..iterations(3_000) {
        let mut image = contents.image.to_vec();
        let mut frames: Vec<Vec<u8>> =
            contents.frames.iter().map(|frame| frame.entries.to_vec()).collect();
        let victim = random.below(frames.len() + 1);
        let bytes = frames.get_mut(victim).unwrap_or(&mut image);
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 if at < bytes.len() => drop(bytes.remove(at)),
                1 => bytes.insert(at, random.below(256) as u8),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|b| *b = random.below(256) as u8),
            }
        }
        let mut damaged = begin(&image);
        for (entries, frame) in frames.iter().zip(&contents.frames) {
            append_frame(entries, frame.answers, &mut damaged);
        }
        if let Ok(revived) = Revived::read(&load(&damaged).unwrap()) {
            read_back += 1;
            assert_eq!(revived.state().check(), Vec::<String>::new());
        }
    }
    assert!(read_back > 0, "some damage is no more than another story");
}

#[test]
fn other_answers_than_were_given_are_noticed() {
    let (world, _) = prepared();
    let file = world.file.borrow().clone();
    let contents = load(&file).unwrap();
    let mut other = begin(contents.image);
    for frame in &contents.frames {
        append_frame(frame.entries, frame.answers ^ 1, &mut other);
    }
    let error = Revived::read(&load(&other).unwrap()).unwrap_err();
    assert!(matches!(error, ReplayError::Differs { number: 0 }), "{error}");
}
