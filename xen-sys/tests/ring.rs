//! Ring indices against a naive model, and against a peer that writes anything.

use std::collections::VecDeque;

use proptest::prelude::*;
use xen_sys::io::ring_index::{BrokenRing, RingSize};

/// A ring whose indices have run for `start` bytes, beside the queue that it must behave like.
struct Both {
    size: RingSize,
    array: Vec<u8>,
    cons: u32,
    prod: u32,
    model: VecDeque<u8>,
}

impl Both {
    fn new(size: u32, start: u32) -> Self {
        let array = vec![0; size as usize];
        let model = VecDeque::new();
        Self { size: RingSize::new(size), array, cons: start, prod: start, model }
    }

    fn write(&mut self, bytes: &[u8]) {
        let room = self.size.room(self.cons, self.prod).expect("honest indices");
        assert_eq!(room as usize, self.array.len() - self.model.len());
        let count = bytes.len().min(room as usize);
        let mut from = bytes[..count].iter();
        for span in self.size.spans(self.prod, count as u32) {
            self.array[span].iter_mut().for_each(|to| *to = *from.next().expect("counted"));
        }
        assert!(from.next().is_none());
        self.prod = self.prod.wrapping_add(count as u32);
        self.model.extend(&bytes[..count]);
    }

    fn read(&mut self, most: usize) {
        let waiting = self.size.waiting(self.cons, self.prod).expect("honest indices");
        assert_eq!(waiting as usize, self.model.len());
        let count = most.min(waiting as usize);
        let mut got = Vec::new();
        for span in self.size.spans(self.cons, count as u32) {
            got.extend_from_slice(&self.array[span]);
        }
        self.cons = self.cons.wrapping_add(count as u32);
        assert_eq!(got, self.model.drain(..count).collect::<Vec<_>>());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<u8>),
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Step::Write),
        (0usize..200).prop_map(Step::Read),
    ]
}

proptest! {
    #[test]
    fn behaves_like_a_queue(
        order in 0u32..8,
        start in prop_oneof![any::<u32>(), Just(u32::MAX), Just(u32::MAX - 3)],
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut both = Both::new(1 << order, start);
        for step in steps {
            match step {
                Step::Write(bytes) => both.write(&bytes),
                Step::Read(most) => both.read(most),
            }
        }
    }

    #[test]
    fn a_hostile_peer_gets_no_further_than_the_array(
        order in 0u32..32,
        cons in any::<u32>(),
        prod in any::<u32>(),
        count in any::<u32>(),
    ) {
        let size = RingSize::new(1 << order);
        let capacity = u64::from(size.get());
        // In wide numbers: the producer is ahead, perhaps by a whole turn of the counter.
        let ahead = (u64::from(prod) + (1 << 32) - u64::from(cons)) % (1 << 32);
        let broken = BrokenRing { cons, prod, size: size.get() };
        if ahead <= capacity {
            prop_assert_eq!(size.waiting(cons, prod).map(u64::from), Ok(ahead));
            prop_assert_eq!(size.room(cons, prod).map(u64::from), Ok(capacity - ahead));
        } else {
            prop_assert_eq!(size.waiting(cons, prod), Err(broken));
            prop_assert_eq!(size.room(cons, prod), Err(broken));
        }
        let [first, second] = size.spans(cons, count);
        prop_assert!(first.end as u64 <= capacity && second.end as u64 <= capacity);
        prop_assert_eq!((first.len() + second.len()) as u64, u64::from(count).min(capacity));
        // What wraps ends where the straight part began, at the latest.
        prop_assert!(second.is_empty() || (first.end as u64 == capacity && second.end <= first.start));
    }
}

#[test]
fn a_full_ring_is_not_an_empty_one() {
    let ring = RingSize::XENSTORE;
    assert_eq!(ring.waiting(7, 7 + 1024), Ok(1024));
    assert_eq!(ring.room(7, 7 + 1024), Ok(0));
    assert_eq!(ring.waiting(7, 7), Ok(0));
    assert!(ring.waiting(7, 8 + 1024).is_err());
    assert!(ring.waiting(7, 6).is_err());
}

#[test]
fn ranges_wrap_at_the_end_of_the_array() {
    assert_eq!(RingSize::XENSTORE.spans(1020, 10), [1020..1024, 0..6]);
    assert_eq!(RingSize::CONSOLE_OUT.spans(2048, 10), [0..10, 0..0]);
    assert_eq!(RingSize::CONSOLE_IN.spans(1, 5000), [1..1024, 0..1]);
}
