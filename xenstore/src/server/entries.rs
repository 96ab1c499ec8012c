//! Entries of a journal as bytes.

use super::host::Identity;
use super::journal::Entry;
use crate::codec::{Damaged, Put, Reader};
use crate::store::{ConnectionId, Ring};
use crate::wire::{Header, PAYLOAD_MAX, Packet};
use crate::{Domid, Errno, Gfn, Port};

const REQUEST: u8 = 1;
const PARTIAL: u8 = 2;
const SENT: u8 = 3;
const EXISTS: u8 = 4;
const CONNECTED: u8 = 5;
const SHUT_DOWN: u8 = 6;
const GONE: u8 = 7;
const OPENED: u8 = 8;
const CLOSED: u8 = 9;
const RESET: u8 = 10;
const IMAGE: u8 = 11;

impl Entry<'_> {
    /// Appends the entry.
    pub fn save(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Request { connection, packet } => {
                out.push(REQUEST);
                put_connection(connection, out);
                out.extend_from_slice(&packet.header.encode());
                out.extend_from_slice(&packet.payload);
            }
            Self::Partial { connection, bytes } => {
                out.push(PARTIAL);
                put_connection(connection, out);
                out.put_bytes(bytes);
            }
            Self::Sent { connection, bytes } => {
                out.push(SENT);
                put_connection(connection, out);
                out.put_len(bytes);
            }
            Self::Exists(domid, identity) => {
                put_numbered(EXISTS, domid.0.into(), out);
                out.extend_from_slice(&identity.0);
            }
            Self::Connected { domid, identity, ring, result } => {
                put_numbered(CONNECTED, domid.0.into(), out);
                out.extend_from_slice(&identity.0);
                out.put(ring.gfn.0);
                out.put(ring.port.0.into());
                out.put(result.err().map_or(0, |errno| errno.raw().unsigned_abs().into()));
            }
            Self::ShutDown(domid) => put_numbered(SHUT_DOWN, domid.0.into(), out),
            Self::Gone(domid) => put_numbered(GONE, domid.0.into(), out),
            Self::Opened(number) => put_numbered(OPENED, number, out),
            Self::Closed(number) => put_numbered(CLOSED, number, out),
            Self::Reset { connection, parked } => {
                out.push(RESET);
                put_connection(connection, out);
                out.put_flag(parked);
            }
            Self::Image(begun) => {
                out.push(IMAGE);
                out.put_flag(begun);
            }
        }
    }

    /// Reads an entry; its packet goes to `packet`.
    pub(super) fn restore<'a, 'b: 'a>(
        input: &mut Reader<'b>,
        packet: &'a mut Packet,
    ) -> Result<Entry<'a>, Damaged> {
        let unknown = input.damaged("the kind of an entry");
        Ok(match input.narrow("the kind of an entry")? {
            REQUEST => {
                let connection = connection(input)?;
                packet.header = Header::decode(input.array("a request")?);
                let len = packet.header.len as usize;
                if len > PAYLOAD_MAX {
                    return Err(input.damaged("a request"));
                }
                packet.payload.clear();
                packet.payload.extend_from_slice(input.take(len, "a request")?);
                Entry::Request { connection, packet }
            }
            PARTIAL => {
                let connection = connection(input)?;
                Entry::Partial { connection, bytes: input.bytes("a part of a request")? }
            }
            SENT => {
                let connection = connection(input)?;
                Entry::Sent { connection, bytes: input.narrow("a number of bytes")? }
            }
            EXISTS => Entry::Exists(domid(input)?, identity(input)?),
            CONNECTED => restore_connected(input)?,
            SHUT_DOWN => Entry::ShutDown(domid(input)?),
            GONE => Entry::Gone(domid(input)?),
            OPENED => Entry::Opened(input.narrow("the number of a socket")?),
            CLOSED => Entry::Closed(input.narrow("the number of a socket")?),
            RESET => {
                let connection = connection(input)?;
                Entry::Reset { connection, parked: input.flag("a reset")? }
            }
            IMAGE => Entry::Image(input.flag("an image")?),
            _ => return Err(unknown),
        })
    }

    /// The entry that comes next, if it says how the ring of an INTRODUCE was connected.
    pub(super) fn connected_next<'a>(input: &Reader<'a>) -> Option<Entry<'a>> {
        let mut ahead = input.clone();
        match ahead.narrow("the kind of an entry") {
            Ok(CONNECTED) => restore_connected(&mut ahead).ok(),
            _ => None,
        }
    }
}

fn restore_connected<'a>(input: &mut Reader<'a>) -> Result<Entry<'a>, Damaged> {
    const WHAT: &str = "a ring";
    let (domid, identity) = (domid(input)?, identity(input)?);
    let ring = Ring { gfn: Gfn(input.number(WHAT)?), port: Port(input.narrow(WHAT)?) };
    let unknown = input.damaged("the number of an error");
    let result = match input.narrow("the number of an error")? {
        0 => Ok(()),
        raw => Err(Errno::from_raw(raw).ok_or(unknown)?),
    };
    Ok(Entry::Connected { domid, identity, ring, result })
}

fn put_numbered(kind: u8, number: u32, out: &mut Vec<u8>) {
    out.push(kind);
    out.put(number.into());
}

pub(super) fn put_connection(id: ConnectionId, out: &mut Vec<u8>) {
    match id {
        ConnectionId::Socket(number) => put_numbered(0, number, out),
        ConnectionId::Domain(domid) => put_numbered(1, domid.0.into(), out),
    }
}

pub(super) fn connection(input: &mut Reader<'_>) -> Result<ConnectionId, Damaged> {
    Ok(match input.flag("a connection")? {
        false => ConnectionId::Socket(input.narrow("the number of a socket")?),
        true => ConnectionId::Domain(domid(input)?),
    })
}

pub(super) fn domid(input: &mut Reader<'_>) -> Result<Domid, Damaged> {
    input.narrow("a domain's number").map(Domid)
}

pub(super) fn identity(input: &mut Reader<'_>) -> Result<Identity, Damaged> {
    input.array("a domain's identity").map(|bytes| Identity(*bytes))
}
