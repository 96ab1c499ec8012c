//! Where there is no Xen, opening it says so.

use libxc_safe::{Errno, Error, EventChannels, GrantAllocator, GrantDevice, Xen};
use std::path::Path;

#[test]
fn a_missing_device_is_told_from_a_missing_right() {
    let check = |path: &str, error: Option<Error>| match error {
        None => assert!(Path::new(path).exists(), "{path} opened"),
        Some(Error::NotDom0 {
            path: named,
            errno: Errno::NOENT | Errno::NXIO | Errno::NODEV,
            ..
        }) => {
            assert_eq!(named, path);
        }
        Some(error) => assert!(Path::new(path).exists(), "{error}"),
    };
    check("/dev/xen/privcmd", Xen::open().err());
    check("/dev/xen/evtchn", EventChannels::open().err());
    check("/dev/xen/gntdev", GrantDevice::open().err());
    check("/dev/xen/gntalloc", GrantAllocator::open().err());
}
