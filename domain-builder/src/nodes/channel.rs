//! The nodes of channels: consoles beyond the first, which dom0 serves.
//!
//! As for every device: the guest owns its end but for what it may only read, dom0 owns the backend,
//! and what the toolstack itself relies on stands below `/libxl`, where no guest writes.

use super::{
    Access, CONSOLE_LIMIT_BYTES, CONSOLE_PROTOCOL, NodePath, Ops, Root, STATE_INITIALISING,
};
use super::{Value, backend_nodes};
use crate::spec::{Channel, Connection};

/// Channels in the order of their numbers, which begin at 1.
pub(super) fn nodes(ops: &mut Ops, channels: &[Channel]) {
    for (number, channel) in (1..).zip(channels) {
        one(ops, number, channel);
    }
}

fn one(ops: &mut Ops, number: u32, channel: &Channel) {
    let rest = format!("device/console/{number}");
    let frontend = NodePath { root: Root::Domain, rest: rest.clone() };
    let root = Root::ChannelBackend(number);
    let backend = NodePath { root, rest: String::new() };

    ops.make(Root::Domain, &rest, Access::GuestReads);
    let output = match channel.connection {
        Connection::Pty => String::from("pty"),
        Connection::Socket(_) => format!("chardev:libxl-channel{number}"),
    };
    ops.text(Root::Domain, format!("{rest}/name"), channel.name.as_str());
    ops.text(Root::Domain, format!("{rest}/limit"), CONSOLE_LIMIT_BYTES);
    // Whoever is not C's xenconsoled, which serves first consoles alone.
    ops.text(Root::Domain, format!("{rest}/type"), "ioemu");
    ops.text(Root::Domain, format!("{rest}/output"), output);
    ops.text(Root::Domain, format!("{rest}/tty"), "");
    // What follows is the guest's to change.
    ops.permit(Root::Domain, &rest, Access::GuestOwnsDom0Reads);
    ops.write(Root::Domain, format!("{rest}/backend"), Value::Path(backend.clone()));
    ops.text(Root::Domain, format!("{rest}/backend-id"), "0");
    ops.text(Root::Domain, format!("{rest}/state"), STATE_INITIALISING);
    ops.text(Root::Domain, format!("{rest}/protocol"), CONSOLE_PROTOCOL);

    let libxl = format!("device/console/{number}/");
    ops.write(Root::Libxl, format!("{libxl}backend"), Value::Path(backend));
    both(ops, Root::Libxl, &libxl, &frontend, channel);
    ops.remove(root);
    ops.make(root, "", Access::GuestReads);
    both(ops, root, "", &frontend, channel);
}

/// What the backend and libxl's copy of it hold.
fn both(ops: &mut Ops, root: Root, prefix: &str, frontend: &NodePath, channel: &Channel) {
    backend_nodes(ops, root, prefix, frontend);
    ops.text(root, format!("{prefix}name"), channel.name.as_str());
    match &channel.connection {
        Connection::Pty => ops.text(root, format!("{prefix}connection"), "pty"),
        Connection::Socket(path) => {
            ops.text(root, format!("{prefix}connection"), "socket");
            ops.text(root, format!("{prefix}path"), path.to_string_lossy());
        }
    }
}
