//! The journal in files: what it keeps, and what it does when it cannot.

use crate::world::World;
use xenstore::Domid;
use xenstore::saved::{Storage, load};
use xenstore::server::{Entry, Journal, SavedLog};
use xenstore::store::ConnectionId;
use xenstore::wire::{Header, Packet};

const GUEST: ConnectionId = ConnectionId::Domain(Domid(1));

fn folder(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("xlr-log-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    path
}

fn request(log: &mut SavedLog) {
    let packet = Packet { header: Header::default(), payload: Vec::new() };
    log.note(Entry::Request { connection: GUEST, packet: &packet });
    log.answered(b"answer");
}

#[test]
fn what_was_sent_is_kept_with_the_next_request() {
    let path = folder("sent");
    let mut log = SavedLog::new(Storage::open(&path).unwrap());
    assert!(log.wants_image() && !log.is_kept());
    log.keep(b"image").unwrap();
    let frames = || {
        let bytes = std::fs::read(path.join("state")).unwrap();
        let contents = load(&bytes).unwrap();
        contents.frames.iter().map(|frame| frame.answers).collect::<Vec<_>>()
    };
    log.note(Entry::Sent { connection: GUEST, bytes: 9 });
    log.commit().unwrap();
    assert_eq!(frames(), [], "the ring knows");
    request(&mut log);
    log.commit().unwrap();
    log.commit().unwrap();
    request(&mut log);
    log.commit().unwrap();
    let answers = crc32fast::hash(b"answer");
    assert_eq!(frames(), [answers, answers]);
    std::fs::remove_dir_all(&path).unwrap();
}

#[test]
fn a_storage_that_takes_no_image_is_tried_again_after_a_while() {
    let path = folder("full");
    let mut log = SavedLog::new(Storage::open(&path).unwrap());
    std::fs::remove_dir_all(&path).unwrap();
    assert!(log.keep(b"image").is_err());
    let mut commits = 0;
    while !log.wants_image() {
        request(&mut log);
        log.commit().unwrap();
        commits += 1;
        assert!(commits < 1000, "it is never tried again");
    }
    assert!(commits > 100, "not at each commit");
    assert!(!log.is_kept());
    std::fs::create_dir(&path).unwrap();
    log.keep(b"image").unwrap();
    assert!(log.is_kept() && !log.wants_image());
    std::fs::remove_dir_all(&path).unwrap();
}

/// What an earlier server left is true until something happens that it does not tell of.
#[test]
fn a_file_of_an_earlier_server_does_not_outlive_what_it_tells() {
    let path = folder("earlier");
    let mut log = SavedLog::new(Storage::open(&path).unwrap());
    log.keep(b"image").unwrap();
    drop(log);
    let mut log = SavedLog::new(Storage::open(&path).unwrap());
    // Something that cannot be written over stands in the way of the image.
    std::fs::create_dir(path.join("state.new")).unwrap();
    assert!(log.keep(b"later").is_err());
    log.note(Entry::Sent { connection: GUEST, bytes: 9 });
    log.commit().unwrap();
    assert!(path.join("state").exists(), "nothing has happened");
    request(&mut log);
    log.commit().unwrap();
    assert!(!path.join("state").exists(), "a third server would begin with what is not true");
    std::fs::remove_dir_all(&path).unwrap();
}

/// What was noted before an image that failed is not in it.
#[test]
fn an_image_that_fails_hides_nothing_that_was_noted_before() {
    let path = folder("noted");
    let mut log = SavedLog::new(Storage::open(&path).unwrap());
    log.keep(b"image").unwrap();
    drop(log);
    let mut log = SavedLog::new(Storage::open(&path).unwrap());
    std::fs::create_dir(path.join("state.new")).unwrap();
    log.note(Entry::Gone(Domid(1)));
    assert!(log.keep(b"later").is_err());
    log.commit().unwrap();
    assert!(!path.join("state").exists(), "it does not tell that the domain is gone");
    std::fs::remove_dir(path.join("state.new")).unwrap();
    // One that is given up is none, either.
    log.note(Entry::Gone(Domid(2)));
    log.keep(b"image").unwrap();
    log.commit().unwrap();
    let frames = |path: &std::path::Path| {
        let bytes = std::fs::read(path.join("state")).unwrap();
        load(&bytes).unwrap().frames.len()
    };
    assert_eq!(frames(&path), 0, "it is in the image");
    drop(log);
    let mut log = SavedLog::new(Storage::open(&path).unwrap());
    log.note(Entry::Gone(Domid(3)));
    log.begin().unwrap();
    log.add(b"never whole").unwrap();
    log.give_up();
    log.commit().unwrap();
    assert!(!path.join("state").exists());
    std::fs::remove_dir_all(&path).unwrap();
}

/// What is committed while an image is written follows it; until it is in place, the old one counts.
#[test]
fn an_image_is_written_in_pieces_and_followed_by_what_came_meanwhile() {
    let path = folder("pieces");
    let mut log = SavedLog::new(Storage::open(&path).unwrap());
    log.keep(b"old image").unwrap();
    let file = || {
        let bytes = std::fs::read(path.join("state")).unwrap();
        let contents = load(&bytes).unwrap();
        (contents.image.to_vec(), contents.frames.len())
    };
    request(&mut log);
    log.commit().unwrap();
    // Sent before the image is begun: in it, and not behind it.
    log.note(Entry::Sent { connection: GUEST, bytes: 9 });
    log.begin().unwrap();
    assert_eq!(file(), (b"old image".to_vec(), 2));
    log.add(b"new ").unwrap();
    request(&mut log);
    log.commit().unwrap();
    log.add(b"image").unwrap();
    request(&mut log);
    log.commit().unwrap();
    assert!(log.has_begun() && !log.wants_image());
    assert_eq!(file(), (b"old image".to_vec(), 4));
    while !log.finish().unwrap() {
        assert_eq!(file(), (b"old image".to_vec(), 4));
    }
    assert_eq!(file(), (b"new image".to_vec(), 2));
    request(&mut log);
    log.commit().unwrap();
    assert_eq!(file(), (b"new image".to_vec(), 3));
    // One that is given up leaves nothing.
    log.begin().unwrap();
    log.add(b"never whole").unwrap();
    log.give_up();
    assert!(!path.join("state.new").exists() && !log.has_begun());
    assert_eq!(file(), (b"new image".to_vec(), 3));
    std::fs::remove_dir_all(&path).unwrap();
}

/// Frames longer than the image ask for a new one, so that a file stays a small multiple of its store.
#[test]
fn the_file_is_bounded() {
    let path = folder("bound");
    let world = World::new(1);
    let mut server = world.server();
    let mut image = Vec::new();
    let mut log = SavedLog::new(Storage::open(&path).unwrap());
    server.save(&mut image);
    log.keep(&image).unwrap();
    let mut longest = 0;
    for _ in 0..30_000 {
        request(&mut log);
        log.commit().unwrap();
        if log.wants_image() {
            longest = longest.max(std::fs::metadata(path.join("state")).unwrap().len());
            server.round().unwrap();
            log.keep(&image).unwrap();
        }
    }
    assert!((1 << 20..(1 << 20) + 8192).contains(&longest), "{longest}");
    std::fs::remove_dir_all(&path).unwrap();
}
