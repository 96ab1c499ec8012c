//! What becomes of this library's state when its program forks.
//!
//! Before: what is idle in the cache goes, as a child would share it. In the child: the files that the
//! parent's pages come from are let go of. Whoever is told of the parent's end hears of it when the last
//! of those who have them open is gone, which is to be the parent. `process` says what a child has instead.

use crate::{cache, session};
use std::sync::Once;

/// From now on forks are heeded.
pub fn heed() {
    extern "C" fn before() {
        cache::clear_before_fork();
    }
    extern "C" fn in_child() {
        session::take_inherited()
            .into_iter()
            .for_each(|(descriptor, device)| let_go(descriptor, device));
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the functions are part of this library, with which the C library forgets them.
        let _ = unsafe { libc::pthread_atfork(Some(before), None, Some(in_child)) };
    });
}

/// Puts something else in the place of a descriptor, if it still is of this device: a program may have
/// closed it, and have something else there. The number stays taken, as those who have it are not asked.
fn let_go(descriptor: i32, device: u64) {
    // SAFETY: all zeros are such a structure, of plain numbers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills the structure, whatever the number is.
    let known = unsafe { libc::fstat(descriptor, &raw mut stat) } == 0;
    if !known || stat.st_rdev != device {
        return;
    }
    // SAFETY: it makes a descriptor, and changes nothing else.
    let other = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if other < 0 {
        return;
    }
    // SAFETY: `descriptor` is a file of this library's, as was seen, that a child does not use; `other` was
    // made just now, and nobody else knows it.
    unsafe {
        libc::dup3(other, descriptor, libc::O_CLOEXEC);
        libc::close(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn only_a_file_of_the_device_is_let_go_of() {
        let mut zeros = File::open("/dev/zero").unwrap();
        let device = zeros.metadata().unwrap().rdev();
        let null = File::options().write(true).open("/dev/null").unwrap();
        let_go(null.as_raw_fd(), device);
        (&null).write_all(b"still here").unwrap();
        zeros.read_exact(&mut [1]).unwrap();
        let_go(zeros.as_raw_fd(), device);
        assert_eq!(zeros.metadata().unwrap().rdev(), 0);
        let_go(-1, device);
    }
}
