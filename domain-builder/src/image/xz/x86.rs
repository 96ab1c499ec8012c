//! The x86 filter of xz, backwards: what were relative targets of calls and jumps before packing,
//! and were packed as absolute ones, becomes relative again.
//!
//! In: the unpacked bytes, buffer by buffer. Out: the same buffers, changed in place. A filter of
//! the format, whose every quirk is part of it: what it takes for an instruction need not be one.

/// An instruction: the opcode E8 or E9, and a target of four bytes.
const INSTRUCTION_BYTES: usize = 5;

/// The filter between two buffers.
#[derive(Default)]
pub(super) struct X86 {
    /// Place in the stream of the next byte.
    place: u32,
    /// Which of the three bytes before the next one are opcodes that were left as they are; the
    /// lowest bit is the nearest one.
    passed: u32,
}

impl X86 {
    /// Filters as much as can be told and returns how much that is. What is left (at most four
    /// bytes) stands before the next buffer's bytes, or is the end and stays as it is.
    pub fn decode(&mut self, bytes: &mut [u8]) -> usize {
        let Some(last) = bytes.len().checked_sub(INSTRUCTION_BYTES) else { return 0 };
        let mut at = 0;
        while at <= last {
            let gap = memchr::memchr2(0xe8, 0xe9, &bytes[at..=last]);
            let skipped = gap.unwrap_or(last + 1 - at);
            at += skipped;
            self.passed = if skipped < 3 { self.passed << skipped & 7 } else { 0 };
            if gap.is_none() {
                break;
            }
            let next = self.place.wrapping_add((at + INSTRUCTION_BYTES) as u32);
            if let Some(target) = bytes[at + 1..].first_chunk_mut()
                && let Some(relative) = relative(*target, next, self.passed)
            {
                *target = relative;
                at += INSTRUCTION_BYTES;
                self.passed = 0;
            } else {
                at += 1;
                self.passed = (self.passed << 1 | 1) & 7;
            }
        }
        self.place = self.place.wrapping_add(at as u32);
        at
    }
}

/// The relative form of `target`, if the filter has changed it when it packed. `next` is the
/// place behind the instruction.
fn relative(target: [u8; 4], next: u32, passed: u32) -> Option<[u8; 4]> {
    // A jump within 16 MiB: the highest byte repeats the sign.
    let is_sign = |byte: u8| byte == 0 || byte == 0xff;
    if !is_sign(target[3]) {
        return None;
    }
    let absolute = u32::from_le_bytes(target);
    let mut relative = absolute.wrapping_sub(next);
    if passed != 0 {
        // Of two instructions that overlap, only one can have been changed.
        let distance = passed.trailing_zeros() + 1;
        let highest = 3 - distance as usize;
        if passed.count_ones() > 1 || is_sign(target[highest]) {
            return None;
        }
        // The packed form may not let the overlapped one look like a near jump, so one that
        // would was packed with its low bits turned over. Once does it: these then are the
        // complement of `absolute`'s, whose highest byte is no sign.
        if is_sign(relative.to_le_bytes()[highest]) {
            let low = u32::MAX >> (8 * distance);
            relative = (relative ^ low).wrapping_sub(next);
        }
    }
    // 25 bits count, and the highest of them is the sign.
    Some(((relative << 7) as i32 >> 7).to_le_bytes())
}
