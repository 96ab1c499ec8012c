//! Work: whether what a guest put into a ring may be posted. Pure.
//!
//! In: a slot's head that was copied, and the size of the queues. Out: what follows it, or the status
//! with which it completes: verbs would have refused it at once, which a ring cannot.

use ib_protocol::{QpSize, Receive, SendWork, opcode};

/// `IBV_WC_LOC_LEN_ERR`.
pub const BAD_LENGTH: u32 = 1;
/// `IBV_WC_LOC_QP_OP_ERR`.
pub const BAD_OPERATION: u32 = 2;

/// `IBV_SEND_INLINE`.
const INLINE: u32 = 8;
/// Fence, signaled, solicited, inline.
const FLAGS: u32 = 0xf;

/// What follows the head of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// So many entries.
    Entries(usize),
    /// So many bytes.
    Inline(usize),
}

/// What follows the head of a send.
///
/// # Errors
/// The status with which it completes.
pub fn send(work: &SendWork, size: &QpSize) -> Result<Follows, u32> {
    if work.opcode > opcode::ATOMIC_FETCH_AND_ADD || work.send_flags & !FLAGS != 0 {
        return Err(BAD_OPERATION);
    }
    if work.send_flags & INLINE == 0 {
        let fits = work.sges <= size.send_sge;
        return if fits { Ok(Follows::Entries(work.sges as usize)) } else { Err(BAD_LENGTH) };
    }
    if work.opcode > opcode::SEND_WITH_IMM {
        return Err(BAD_OPERATION);
    }
    let fits = work.inline_bytes <= size.inline_bytes;
    if fits { Ok(Follows::Inline(work.inline_bytes as usize)) } else { Err(BAD_LENGTH) }
}

/// How many entries follow the head of a receive.
///
/// # Errors
/// The status with which it completes.
pub fn receive(work: &Receive, size: &QpSize) -> Result<usize, u32> {
    if work.sges <= size.recv_sge { Ok(work.sges as usize) } else { Err(BAD_LENGTH) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ib_protocol::{QpLayout, Record, Sge};

    const SIZE: QpSize =
        QpSize { send_wr: 8, recv_wr: 8, send_sge: 3, recv_sge: 2, inline_bytes: 40 };

    #[test]
    fn sends() {
        let check = |opcode, send_flags, sges, inline_bytes, expected| {
            let work = SendWork { opcode, send_flags, sges, inline_bytes, ..Default::default() };
            assert_eq!(send(&work, &SIZE), expected, "{work:?}");
        };
        check(opcode::SEND, 2, 3, u32::MAX, Ok(Follows::Entries(3)));
        check(opcode::SEND, 2, 4, 0, Err(BAD_LENGTH));
        check(opcode::RDMA_WRITE, INLINE, u32::MAX, 40, Ok(Follows::Inline(40)));
        check(opcode::RDMA_WRITE, INLINE, 0, 41, Err(BAD_LENGTH));
        check(opcode::RDMA_READ, INLINE, 0, 8, Err(BAD_OPERATION));
        check(opcode::ATOMIC_FETCH_AND_ADD, 0, 1, 0, Ok(Follows::Entries(1)));
        check(7, 0, 1, 0, Err(BAD_OPERATION));
        check(opcode::SEND, 16, 1, 0, Err(BAD_OPERATION));
    }

    #[test]
    fn receives() {
        let check = |sges, expected| {
            assert_eq!(receive(&Receive { sges, ..Default::default() }, &SIZE), expected);
        };
        check(2, Ok(2));
        check(3, Err(BAD_LENGTH));
    }

    #[test]
    fn fuzz_work() {
        let rounds = std::env::var("XLR_FUZZ_ITERS").ok().and_then(|text| text.parse().ok());
        let mut state = 3_u64;
        let mut bytes = [0; SendWork::SIZE];
        let layout = QpLayout::new(SIZE).unwrap();
        for _ in 0..rounds.unwrap_or(50_000) {
            for byte in &mut bytes {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (state >> 56) as u8 & (state >> 48) as u8 & (state >> 40) as u8;
            }
            // What follows always lies within the slot.
            let send_room = layout.send.stride - SendWork::SIZE;
            match send(&SendWork::decode(&bytes), &SIZE) {
                Ok(Follows::Entries(count)) => assert!(count * Sge::SIZE <= send_room),
                Ok(Follows::Inline(count)) => assert!(count <= send_room),
                Err(status) => assert!(status == BAD_LENGTH || status == BAD_OPERATION),
            }
            if let Ok(count) = receive(&Receive::decode(&bytes), &SIZE) {
                assert!(Receive::SIZE + count * Sge::SIZE <= layout.recv.stride);
            }
        }
    }
}
