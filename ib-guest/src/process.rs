//! What belongs to one process: a child that was forked begins with a new one.
//!
//! In: the process that asks. Out: its own value. What a parent had is never touched by its child, nor
//! dropped there: locks in it may be held by threads that the child does not have, its pages are the
//! parent's, and giving them back by an inherited file would take them from the parent.

use std::sync::OnceLock;

/// One value for each process that asks.
#[derive(Debug)]
pub struct PerProcess<T>(OnceLock<Box<Link<T>>>);

/// The value of one process, and after it that of a child, in the child's copy of this memory.
#[derive(Debug)]
struct Link<T> {
    pid: u32,
    value: T,
    next: PerProcess<T>,
}

impl<T: Default> PerProcess<T> {
    /// Nobody has asked yet.
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// This process' value.
    pub fn get(&self) -> &T {
        self.of(std::process::id())
    }

    fn of(&self, pid: u32) -> &T {
        let new = || Box::new(Link { pid, value: T::default(), next: Self::new() });
        let mut link = self.0.get_or_init(new);
        // The last is of whoever asked last: this process, or one that it comes from.
        loop {
            match link.next.0.get() {
                Some(next) => link = next,
                None if link.pid == pid => return &link.value,
                None => link = link.next.0.get_or_init(new),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn a_child_has_nothing_of_its_parents_not_even_a_lock() {
        let values = PerProcess::<Mutex<u32>>::new();
        *values.of(10).lock().unwrap() = 1;
        let held = values.of(10).lock().unwrap();
        // A child's memory begins as a copy of its parent's, locks that others hold included.
        *values.of(11).try_lock().unwrap() = 2;
        assert_eq!(*values.of(11).try_lock().unwrap(), 2);
        assert_eq!(*values.of(12).try_lock().unwrap(), 0);
        assert_eq!(*held, 1);
    }

    #[test]
    fn threads_of_a_process_have_the_same_one() {
        let values = PerProcess::<Mutex<u32>>::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| *values.get().lock().unwrap() += 1);
            }
        });
        assert_eq!(*values.get().lock().unwrap(), 8);
    }
}
