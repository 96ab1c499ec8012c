//! A console's ring page: bytes both ways, by indices that the guest can set to anything.
//!
//! Each index is read once per step, and bytes are copied before anybody looks at them. Our own
//! indices are kept here and only published in the page, which is also where a successor finds them.

use libxc_safe::{Error, Mapping};
use std::mem::offset_of;
use xen_sys::io::console::xencons_interface;
use xen_sys::io::ring_index::{BrokenRing, RingSize};

const IN: usize = offset_of!(xencons_interface, r#in);
const OUT: usize = offset_of!(xencons_interface, out);
const IN_CONS: usize = offset_of!(xencons_interface, in_cons);
const IN_PROD: usize = offset_of!(xencons_interface, in_prod);
const OUT_CONS: usize = offset_of!(xencons_interface, out_cons);
const OUT_PROD: usize = offset_of!(xencons_interface, out_prod);

/// The most that can wait from a guest.
pub const OUT_BYTES: usize = RingSize::CONSOLE_OUT.get() as usize;

/// A page that a guest writes, too.
pub trait Page {
    /// Reads an index, and with it what was written before it.
    ///
    /// # Errors
    /// Outside of the page.
    fn index(&self, offset: usize) -> Result<u32, Error>;
    /// Writes an index after everything before it.
    ///
    /// # Errors
    /// Outside of the page.
    fn set_index(&self, offset: usize, value: u32) -> Result<(), Error>;
    /// Copies bytes out of it.
    ///
    /// # Errors
    /// Outside of the page.
    fn copy_from(&self, offset: usize, bytes: &mut [u8]) -> Result<(), Error>;
    /// Copies bytes into it.
    ///
    /// # Errors
    /// Outside of the page.
    fn copy_to(&self, offset: usize, bytes: &[u8]) -> Result<(), Error>;
}

impl<T: std::ops::Deref<Target = Mapping>> Page for T {
    fn index(&self, offset: usize) -> Result<u32, Error> {
        self.load_u32(offset)
    }
    fn set_index(&self, offset: usize, value: u32) -> Result<(), Error> {
        self.store_u32(offset, value)
    }
    fn copy_from(&self, offset: usize, bytes: &mut [u8]) -> Result<(), Error> {
        self.read(offset, bytes)
    }
    fn copy_to(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        self.write(offset, bytes)
    }
}

/// What is wrong with a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub BrokenRing);

/// A ring that is served.
#[derive(Debug)]
pub struct Ring<P> {
    page: P,
    out_cons: u32,
    in_prod: u32,
}

impl<P: Page> Ring<P> {
    /// Takes up a ring where whoever served it before has left it.
    ///
    /// # Errors
    /// The page is too short.
    pub fn take_up(page: P) -> Result<Self, Error> {
        let (out_cons, in_prod) = (page.index(OUT_CONS)?, page.index(IN_PROD)?);
        Ok(Self { page, out_cons, in_prod })
    }

    /// Copies what waits from the guest; nothing is taken yet.
    ///
    /// # Errors
    /// The page is too short.
    pub fn waiting<'a>(
        &self,
        buffer: &'a mut [u8; OUT_BYTES],
    ) -> Result<Result<&'a [u8], Broken>, Error> {
        let prod = self.page.index(OUT_PROD)?;
        let count = match RingSize::CONSOLE_OUT.waiting(self.out_cons, prod) {
            Ok(count) => count,
            Err(broken) => return Ok(Err(Broken(broken))),
        };
        let mut at = 0;
        for span in RingSize::CONSOLE_OUT.spans(self.out_cons, count) {
            let part = &mut buffer[at..at + span.len()];
            self.page.copy_from(OUT + span.start, part)?;
            at += span.len();
        }
        Ok(Ok(&buffer[..at]))
    }

    /// The first `count` bytes that waited have been handed on: the guest may use their place.
    ///
    /// # Errors
    /// The page is too short.
    pub fn taken(&mut self, count: usize) -> Result<(), Error> {
        // No more than the ring has room for was given out.
        self.out_cons = self.out_cons.wrapping_add(count as u32);
        self.page.set_index(OUT_CONS, self.out_cons)
    }

    /// How many bytes the guest has room for.
    ///
    /// # Errors
    /// The page is too short.
    pub fn room(&self) -> Result<Result<usize, Broken>, Error> {
        let cons = self.page.index(IN_CONS)?;
        Ok(RingSize::CONSOLE_IN.room(cons, self.in_prod).map(|room| room as usize).map_err(Broken))
    }

    /// Gives the guest bytes, for which [`Ring::room`] has found room.
    ///
    /// # Errors
    /// The page is too short.
    pub fn give(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let count = bytes.len() as u32;
        let mut left = bytes;
        for span in RingSize::CONSOLE_IN.spans(self.in_prod, count) {
            let (part, rest) = left.split_at(span.len());
            self.page.copy_to(IN + span.start, part)?;
            left = rest;
        }
        self.in_prod = self.in_prod.wrapping_add(count);
        self.page.set_index(IN_PROD, self.in_prod)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::rc::Rc;

    /// A page of memory that both sides of a test hold.
    #[derive(Clone)]
    /// A page that both ends have.
    pub struct Shared(Rc<RefCell<Vec<u8>>>);

    impl Shared {
        /// One with nothing in it.
        pub fn new() -> Self {
            Self(Rc::new(RefCell::new(vec![0; 4096])))
        }
    }

    impl Page for Shared {
        fn index(&self, offset: usize) -> Result<u32, Error> {
            let page = self.0.borrow();
            Ok(u32::from_ne_bytes(page[offset..offset + 4].try_into().expect("4 bytes")))
        }
        fn set_index(&self, offset: usize, value: u32) -> Result<(), Error> {
            self.copy_to(offset, &value.to_ne_bytes())
        }
        fn copy_from(&self, offset: usize, bytes: &mut [u8]) -> Result<(), Error> {
            bytes.copy_from_slice(&self.0.borrow()[offset..offset + bytes.len()]);
            Ok(())
        }
        fn copy_to(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
            self.0.borrow_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
    }

    /// The guest's side, as a driver has it.
    struct Guest {
        page: Shared,
        out_prod: u32,
        in_cons: u32,
    }

    impl Guest {
        fn say(&mut self, bytes: &[u8]) -> usize {
            let cons = self.page.index(OUT_CONS).expect("inside");
            let free = OUT_BYTES - self.out_prod.wrapping_sub(cons) as usize;
            let said = &bytes[..bytes.len().min(free)];
            for byte in said {
                let at = OUT + self.out_prod as usize % OUT_BYTES;
                self.page.copy_to(at, &[*byte]).expect("inside");
                self.out_prod = self.out_prod.wrapping_add(1);
            }
            self.page.set_index(OUT_PROD, self.out_prod).expect("inside");
            said.len()
        }

        fn hear(&mut self) -> Vec<u8> {
            let prod = self.page.index(IN_PROD).expect("inside");
            let mut heard = Vec::new();
            while self.in_cons != prod {
                let mut byte = [0];
                self.page.copy_from(IN + self.in_cons as usize % 1024, &mut byte).expect("inside");
                heard.push(byte[0]);
                self.in_cons = self.in_cons.wrapping_add(1);
            }
            self.page.set_index(IN_CONS, self.in_cons).expect("inside");
            heard
        }
    }

    fn pair(start: u32) -> (Guest, Ring<Shared>) {
        let page = Shared::new();
        for offset in [IN_CONS, IN_PROD, OUT_CONS, OUT_PROD] {
            page.set_index(offset, start).expect("inside");
        }
        let ring = Ring::take_up(page.clone()).expect("a whole page");
        (Guest { page, out_prod: start, in_cons: start }, ring)
    }

    proptest! {
        /// Whatever is moved in whatever portions, from any index on and over a change of servers,
        /// arrives whole and in order.
        #[test]
        fn bytes_arrive_in_order(
            start in prop_oneof![any::<u32>(), u32::MAX - 4000..],
            steps in prop::collection::vec((0usize..3000, 0usize..3000, any::<bool>()), 1..40)
        ) {
            let (mut guest, mut ring) = pair(start);
            let (mut said, mut given) = (0u8, 0u8);
            let (mut out, mut input) = (VecDeque::new(), VecDeque::new());
            for (say, take, successor) in steps {
                let bytes: Vec<u8> = (0..say).map(|at| said.wrapping_add(at as u8)).collect();
                let count = guest.say(&bytes);
                out.extend(&bytes[..count]);
                said = said.wrapping_add(count as u8);

                let mut buffer = [0; OUT_BYTES];
                let waiting = ring.waiting(&mut buffer).expect("inside").expect("an honest guest");
                prop_assert_eq!(waiting.len(), out.len());
                let taken = take.min(waiting.len());
                for byte in &waiting[..taken] {
                    prop_assert_eq!(Some(*byte), out.pop_front());
                }
                ring.taken(taken).expect("inside");

                let room = ring.room().expect("inside").expect("an honest guest");
                let bytes: Vec<u8> =
                    (0..take.min(room)).map(|at| given.wrapping_add(at as u8)).collect();
                ring.give(&bytes).expect("inside");
                given = given.wrapping_add(bytes.len() as u8);
                input.extend(bytes);
                if say % 2 == 0 {
                    for byte in guest.hear() {
                        prop_assert_eq!(Some(byte), input.pop_front());
                    }
                    prop_assert!(input.is_empty());
                }
                if successor {
                    ring = Ring::take_up(guest.page.clone()).expect("a whole page");
                }
            }
        }

        /// Any indices: an answer, never a panic, and never more than a ring.
        #[test]
        fn any_index_survives(indices: [u32; 4], later: [u32; 2]) {
            let page = Shared::new();
            for (offset, value) in [IN_CONS, IN_PROD, OUT_CONS, OUT_PROD].into_iter().zip(indices) {
                page.set_index(offset, value).expect("inside");
            }
            let mut ring = Ring::take_up(page.clone()).expect("a whole page");
            for index in later {
                let mut buffer = [0; OUT_BYTES];
                if let Ok(waiting) = ring.waiting(&mut buffer).expect("inside") {
                    let count = waiting.len();
                    ring.taken(count).expect("inside");
                }
                if let Ok(room) = ring.room().expect("inside") {
                    prop_assert!(room <= 1024);
                    ring.give(&vec![7; room]).expect("inside");
                }
                page.set_index(OUT_PROD, index).expect("inside");
                page.set_index(IN_CONS, index).expect("inside");
                page.set_index(OUT_CONS, !index).expect("inside");
            }
        }
    }

    #[test]
    fn lies_are_told() {
        let (guest, ring) = pair(10);
        for (prod, broken) in [(10, false), (10 + 2048, false), (10 + 2049, true), (9, true)] {
            guest.page.set_index(OUT_PROD, prod).expect("inside");
            let mut buffer = [0; OUT_BYTES];
            assert_eq!(ring.waiting(&mut buffer).expect("inside").is_err(), broken, "{prod}");
        }
        for (cons, broken) in [(10, false), (11, true), (10u32.wrapping_sub(1024), false)] {
            guest.page.set_index(IN_CONS, cons).expect("inside");
            assert_eq!(ring.room().expect("inside").is_err(), broken, "{cons}");
        }
    }
}
