//! The requests, played into a naive store, against what xl of Xen 4.17 left in a real one.

use super::*;
use std::collections::BTreeMap;

/// `xenstore-ls -fp` after `xl create -p` on Debian 12, without what belongs to dom0, sorted by path
/// components; the time and the terminal, which xenconsoled writes, made constant.
const XL: &str = r#"/libxl = "" (n0)
/libxl/1 = "" (n0)
/libxl/1/device = "" (n0)
/libxl/1/device/console = "" (n0)
/libxl/1/device/console/0 = "" (n0)
/libxl/1/device/console/0/backend = "/local/domain/0/backend/console/1/0" (n0)
/libxl/1/device/console/0/frontend = "/local/domain/1/console" (n0)
/libxl/1/device/console/0/frontend-id = "1" (n0)
/libxl/1/device/console/0/online = "1" (n0)
/libxl/1/device/console/0/protocol = "vt100" (n0)
/libxl/1/device/console/0/state = "1" (n0)
/libxl/1/dm-version = "qemu_xen" (n0)
/libxl/1/type = "pv" (n0)
/local/domain/0/backend = "" (n0)
/local/domain/0/backend/console = "" (n0)
/local/domain/0/backend/console/1 = "" (n0)
/local/domain/0/backend/console/1/0 = "" (n0,r1)
/local/domain/0/backend/console/1/0/frontend = "/local/domain/1/console" (n0,r1)
/local/domain/0/backend/console/1/0/frontend-id = "1" (n0,r1)
/local/domain/0/backend/console/1/0/online = "1" (n0,r1)
/local/domain/0/backend/console/1/0/protocol = "vt100" (n0,r1)
/local/domain/0/backend/console/1/0/state = "1" (n0,r1)
/local/domain/1 = "" (n0,r1)
/local/domain/1/attr = "" (n1)
/local/domain/1/console = "" (n0,r1)
/local/domain/1/console/backend = "/local/domain/0/backend/console/1/0" (n0,r1)
/local/domain/1/console/backend-id = "0" (n1,r0)
/local/domain/1/console/limit = "1048576" (n0,r1)
/local/domain/1/console/output = "pty" (n0,r1)
/local/domain/1/console/port = "2" (n0,r1)
/local/domain/1/console/ring-ref = "504858" (n0,r1)
/local/domain/1/console/tty = "" (n0,r1)
/local/domain/1/console/type = "xenconsoled" (n0,r1)
/local/domain/1/control = "" (n0,r1)
/local/domain/1/control/feature-poweroff = "" (n1)
/local/domain/1/control/feature-reboot = "" (n1)
/local/domain/1/control/feature-suspend = "" (n1)
/local/domain/1/control/platform-feature-multiprocessor-suspend = "1" (n0,r1)
/local/domain/1/control/platform-feature-xs_reset_watches = "1" (n0,r1)
/local/domain/1/control/shutdown = "" (n1)
/local/domain/1/control/sysrq = "" (n1)
/local/domain/1/cpu = "" (n0,r1)
/local/domain/1/cpu/0 = "" (n0,r1)
/local/domain/1/cpu/0/availability = "online" (n0,r1)
/local/domain/1/cpu/1 = "" (n0,r1)
/local/domain/1/cpu/1/availability = "offline" (n0,r1)
/local/domain/1/data = "" (n1)
/local/domain/1/device = "" (n0,r1)
/local/domain/1/device/suspend = "" (n0,r1)
/local/domain/1/device/suspend/event-channel = "" (n1)
/local/domain/1/domid = "1" (n0,r1)
/local/domain/1/drivers = "" (n1)
/local/domain/1/error = "" (n1)
/local/domain/1/feature = "" (n1)
/local/domain/1/memory = "" (n0,r1)
/local/domain/1/memory/static-max = "196608" (n0,r1)
/local/domain/1/memory/target = "131072" (n0,r1)
/local/domain/1/memory/videoram = "0" (n0,r1)
/local/domain/1/name = "guest" (n0,r1)
/local/domain/1/store = "" (n0,r1)
/local/domain/1/store/port = "1" (n0,r1)
/local/domain/1/store/ring-ref = "504857" (n0,r1)
/local/domain/1/vm = "/vm/01234567-89ab-cdef-0123-456789abcdef" (n0,r1)
/vm = "" (n0)
/vm/01234567-89ab-cdef-0123-456789abcdef = "" (n0,r1)
/vm/01234567-89ab-cdef-0123-456789abcdef/image = "" (n0,r1)
/vm/01234567-89ab-cdef-0123-456789abcdef/image/cmdline = "console=hvc0 quiet" (n0,r1)
/vm/01234567-89ab-cdef-0123-456789abcdef/image/kernel = "/guest/vmlinuz" (n0,r1)
/vm/01234567-89ab-cdef-0123-456789abcdef/image/ostype = "linux" (n0,r1)
/vm/01234567-89ab-cdef-0123-456789abcdef/image/ramdisk = "/guest/initramfs.gz" (n0,r1)
/vm/01234567-89ab-cdef-0123-456789abcdef/name = "guest" (n0,r1)
/vm/01234567-89ab-cdef-0123-456789abcdef/start_time = "1234567890.05" (n0,r1)
/vm/01234567-89ab-cdef-0123-456789abcdef/uuid = "01234567-89ab-cdef-0123-456789abcdef" (n0,r1)"#;

/// The same for `channel = ["name=one,connection=pty", "name=two,connection=socket,path=/tmp/two.sock"]`,
/// as xl has it when it starts QEMU; what it adds to the nodes of the same domain without channels.
const XL_CHANNELS: &str = r#"/local/domain/0/backend/console/1/1 = "" (n0,r1)
/local/domain/0/backend/console/1/1/frontend = "/local/domain/1/device/console/1" (n0,r1)
/local/domain/0/backend/console/1/1/frontend-id = "1" (n0,r1)
/local/domain/0/backend/console/1/1/online = "1" (n0,r1)
/local/domain/0/backend/console/1/1/state = "1" (n0,r1)
/local/domain/0/backend/console/1/1/protocol = "vt100" (n0,r1)
/local/domain/0/backend/console/1/1/name = "one" (n0,r1)
/local/domain/0/backend/console/1/1/connection = "pty" (n0,r1)
/local/domain/0/backend/console/1/2 = "" (n0,r1)
/local/domain/0/backend/console/1/2/frontend = "/local/domain/1/device/console/2" (n0,r1)
/local/domain/0/backend/console/1/2/frontend-id = "1" (n0,r1)
/local/domain/0/backend/console/1/2/online = "1" (n0,r1)
/local/domain/0/backend/console/1/2/state = "1" (n0,r1)
/local/domain/0/backend/console/1/2/protocol = "vt100" (n0,r1)
/local/domain/0/backend/console/1/2/name = "two" (n0,r1)
/local/domain/0/backend/console/1/2/connection = "socket" (n0,r1)
/local/domain/0/backend/console/1/2/path = "/tmp/two.sock" (n0,r1)
/local/domain/1/device/console = "" (n0,r1)
/local/domain/1/device/console/1 = "" (n1,r0)
/local/domain/1/device/console/1/backend = "/local/domain/0/backend/console/1/1" (n1,r0)
/local/domain/1/device/console/1/backend-id = "0" (n1,r0)
/local/domain/1/device/console/1/state = "1" (n1,r0)
/local/domain/1/device/console/1/protocol = "vt100" (n1,r0)
/local/domain/1/device/console/1/name = "one" (n0,r1)
/local/domain/1/device/console/1/limit = "1048576" (n0,r1)
/local/domain/1/device/console/1/type = "ioemu" (n0,r1)
/local/domain/1/device/console/1/output = "pty" (n0,r1)
/local/domain/1/device/console/1/tty = "" (n0,r1)
/local/domain/1/device/console/2 = "" (n1,r0)
/local/domain/1/device/console/2/backend = "/local/domain/0/backend/console/1/2" (n1,r0)
/local/domain/1/device/console/2/backend-id = "0" (n1,r0)
/local/domain/1/device/console/2/state = "1" (n1,r0)
/local/domain/1/device/console/2/protocol = "vt100" (n1,r0)
/local/domain/1/device/console/2/name = "two" (n0,r1)
/local/domain/1/device/console/2/limit = "1048576" (n0,r1)
/local/domain/1/device/console/2/type = "ioemu" (n0,r1)
/local/domain/1/device/console/2/output = "chardev:libxl-channel2" (n0,r1)
/local/domain/1/device/console/2/tty = "" (n0,r1)
/libxl/1/device/console/1 = "" (n0)
/libxl/1/device/console/1/frontend = "/local/domain/1/device/console/1" (n0)
/libxl/1/device/console/1/backend = "/local/domain/0/backend/console/1/1" (n0)
/libxl/1/device/console/1/frontend-id = "1" (n0)
/libxl/1/device/console/1/online = "1" (n0)
/libxl/1/device/console/1/state = "1" (n0)
/libxl/1/device/console/1/protocol = "vt100" (n0)
/libxl/1/device/console/1/name = "one" (n0)
/libxl/1/device/console/1/connection = "pty" (n0)
/libxl/1/device/console/2 = "" (n0)
/libxl/1/device/console/2/frontend = "/local/domain/1/device/console/2" (n0)
/libxl/1/device/console/2/backend = "/local/domain/0/backend/console/1/2" (n0)
/libxl/1/device/console/2/frontend-id = "1" (n0)
/libxl/1/device/console/2/online = "1" (n0)
/libxl/1/device/console/2/state = "1" (n0)
/libxl/1/device/console/2/protocol = "vt100" (n0)
/libxl/1/device/console/2/name = "two" (n0)
/libxl/1/device/console/2/connection = "socket" (n0)
/libxl/1/device/console/2/path = "/tmp/two.sock" (n0)"#;

/// What xlr has and xl has not.
const OURS: &str = r#"/libxl/1/xlr = "0.1.0 00000000000003e9" (n0)"#;

/// Nodes in the order of their path's components, with permissions that are inherited as C
/// xenstored does it for a privileged client.
#[derive(Default)]
struct Naive(BTreeMap<Vec<String>, (String, String)>);

impl Naive {
    fn key(path: &xenstore::Path) -> Vec<String> {
        path.as_str().split('/').skip(1).map(str::to_owned).collect()
    }

    fn write(&mut self, key: &[String], value: &str) {
        for len in 1..=key.len() {
            let parent = self.0.get(&key[..len - 1]).map_or("n0".to_owned(), |(_, p)| p.clone());
            self.0.entry(key[..len].to_vec()).or_insert((String::new(), parent));
        }
        self.0.get_mut(key).unwrap().0 = value.to_owned();
    }

    fn apply(&mut self, request: &Request) {
        match request {
            Request::Rm(path) => {
                let key = Self::key(path);
                self.0.retain(|other, _| !other.starts_with(&key));
            }
            Request::Write { path, value } => {
                self.write(&Self::key(path), std::str::from_utf8(value).unwrap());
            }
            Request::SetPerms { path, permissions } => {
                let node = self.0.get_mut(&Self::key(path)).expect("permissions of a node that is");
                node.1 = permissions.to_string();
            }
            other => panic!("{other:?}"),
        }
    }

    fn dump(&self) -> Vec<String> {
        let line = |(key, (value, permissions)): (&Vec<String>, &(String, String))| {
            format!("/{} = \"{value}\" ({permissions})", key.join("/"))
        };
        self.0.iter().map(line).collect()
    }
}

fn plan() -> NodePlan {
    NodePlan {
        name: "guest".to_owned(),
        uuid: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes(),
        kernel: "/guest/vmlinuz".to_owned(),
        ramdisk: Some("/guest/initramfs.gz".to_owned()),
        cmdline: "console=hvc0 quiet".to_owned(),
        memory_kib: 128 * 1024,
        max_memory_kib: 192 * 1024,
        vcpus: 1,
        max_vcpus: 2,
        console_domid: 0,
        driver_domain: false,
        channels: Vec::new(),
        no_suspend_node: false,
    }
}

fn live(plan: &NodePlan) -> Live {
    Live {
        domid: 1,
        uuid: plan.uuid,
        console_domid: plan.console_domid,
        store_port: 1,
        store_mfn: 504_857,
        console_port: 2,
        console_mfn: 504_858,
        start_time_centis: 123_456_789_005,
        generation: 1001,
    }
}

fn store_after(plan: &NodePlan) -> Naive {
    let mut store = Naive::default();
    let live = live(plan);
    for ops in [identity(plan, "0.1.0"), contents(plan)] {
        resolve(&ops, &live).unwrap().iter().for_each(|request| store.apply(request));
    }
    store
}

#[test]
fn nodes_and_permissions_are_those_of_xl() {
    check(&plan(), "");
    check(&with_channels(), XL_CHANNELS);
}

fn with_channels() -> NodePlan {
    let channel =
        |name: &str, connection| crate::spec::Channel { name: name.to_owned(), connection };
    let channels = vec![
        channel("one", crate::spec::Connection::Pty),
        channel("two", crate::spec::Connection::Socket("/tmp/two.sock".into())),
    ];
    NodePlan { channels, ..plan() }
}

fn check(plan: &NodePlan, more: &'static str) {
    let mut wanted: Vec<&str> = XL.lines().chain(OURS.lines()).chain(more.lines()).collect();
    wanted.sort_by_key(|line| {
        line.split(' ').next().unwrap().split('/').map(str::to_owned).collect::<Vec<_>>()
    });
    let mut found = store_after(plan).dump();
    // Parents of the backend directory are dom0's.
    found.retain(|line| {
        !["/local =", "/local/domain =", "/local/domain/0 ="]
            .iter()
            .any(|dom0| line.starts_with(dom0))
    });
    assert_eq!(found, wanted);
}

#[test]
fn an_absent_ramdisk_and_command_line_have_no_nodes() {
    let plan = NodePlan { ramdisk: None, cmdline: String::new(), ..plan() };
    let dump = store_after(&plan).dump();
    assert!(!dump.iter().any(|line| line.contains("image/ramdisk") || line.contains("cmdline")));
}

/// Pinned one by one: who may touch what (XSA-57, 175, 178 were about trusting such nodes).
#[test]
fn the_guest_writes_only_where_it_may() {
    let dump = store_after(&plan()).dump();
    let own = "/local/domain/1/";
    let writable: Vec<_> = dump
        .iter()
        .filter(|line| line.contains("(n1"))
        .map(|line| line.split(' ').next().unwrap())
        .map(|path| path.strip_prefix(own).expect("the guest's own subtree"))
        .collect();
    assert_eq!(
        writable,
        [
            "attr",
            "console/backend-id",
            "control/feature-poweroff",
            "control/feature-reboot",
            "control/feature-suspend",
            "control/shutdown",
            "control/sysrq",
            "data",
            "device/suspend/event-channel",
            "drivers",
            "error",
            "feature"
        ]
    );
}

/// With a console's domain of its own, that domain owns what it serves.
#[test]
fn a_console_in_another_domain() {
    let plan = NodePlan { console_domid: 7, ..plan() };
    let dump = store_after(&plan).dump();
    let check = |line: &str| assert!(dump.iter().any(|l| l == line), "{line} in {dump:#?}");
    check(r#"/local/domain/7/backend/console/1/0/online = "1" (n7,r1)"#);
    check(r#"/local/domain/1/console/limit = "1048576" (n7,r1)"#);
    check(r#"/local/domain/1/console/backend-id = "7" (n1,r7)"#);
    check(r#"/libxl/1/device/console/0/online = "1" (n0)"#);
    let removed = removal(&live(&plan));
    assert_eq!(removed[0], "/local/domain/7/backend/console/1");
    assert_eq!(removed[1], "/local/domain/0/backend/console/1");
}

/// Of a channel the guest writes what it must, and nothing that names a file.
#[test]
fn the_guest_does_not_name_where_a_channel_ends() {
    let dump = store_after(&with_channels()).dump();
    let own = "/local/domain/1/device/console/2/";
    let writable: Vec<_> = dump
        .iter()
        .filter_map(|line| line.strip_prefix(own))
        .filter(|line| line.contains("(n1"))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(writable, ["backend", "backend-id", "protocol", "state"]);
    // Who has no directory of its own any more cannot make one.
    let parent = r#"/local/domain/1/device/console = "" (n0,r1)"#;
    assert!(dump.iter().any(|line| line == parent), "{dump:#?}");
}

#[test]
fn a_driver_domain_has_directories_of_its_own() {
    let plan = NodePlan { driver_domain: true, ..plan() };
    let dump = store_after(&plan).dump();
    for name in ["libxl", "device-model"] {
        let line = format!(r#"/local/domain/1/{name} = "" (n1)"#);
        assert!(dump.contains(&line), "{line} in {dump:#?}");
    }
}

#[test]
fn the_suspend_node_can_be_left_out() {
    let plan = NodePlan { no_suspend_node: true, ..plan() };
    let dump = store_after(&plan).dump();
    assert!(!dump.iter().any(|line| line.contains("event-channel")), "{dump:#?}");
    assert!(dump.contains(&String::from(r#"/local/domain/1/device = "" (n1)"#)), "{dump:#?}");
}

/// Nothing is left of a domain after its removal, but for directories that it shares.
#[test]
fn removal_removes_everything() {
    let plan = with_channels();
    let mut store = store_after(&plan);
    for path in removal(&live(&plan)) {
        store.apply(&Request::rm(path).unwrap());
    }
    let names = |line: String| line.split(' ').next().unwrap().to_owned();
    let left: Vec<_> = store.dump().into_iter().map(names).collect();
    let mut wanted: Vec<String> = shared_parents(&live(&plan));
    wanted.extend(TOP_DIRECTORIES.map(str::to_owned));
    wanted.extend(["/local", "/local/domain", "/local/domain/0"].map(str::to_owned));
    wanted.sort();
    let mut left = left;
    left.sort();
    assert_eq!(left, wanted);
}

/// Stale nodes of an earlier domain with the same number, or the same UUID, are gone afterwards.
#[test]
fn stale_nodes_are_removed() {
    let plan = with_channels();
    let mut store = Naive::default();
    for path in [
        "/local/domain/1/secret",
        "/libxl/1/secret",
        "/vm/01234567-89ab-cdef-0123-456789abcdef/secret",
        "/local/domain/0/backend/console/1/0/secret",
        "/local/domain/0/backend/console/1/2/secret",
    ] {
        store.apply(&Request::write(path, "x").unwrap());
    }
    let live = live(&plan);
    for ops in [identity(&plan, "0.1.0"), contents(&plan)] {
        resolve(&ops, &live).unwrap().iter().for_each(|request| store.apply(request));
    }
    assert!(!store.dump().iter().any(|line| line.contains("secret")));
}
