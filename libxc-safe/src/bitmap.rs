//! Sets of CPUs and nodes as bitmaps: bit n of byte n / 8, least significant first.

use crate::error::{Error, Result};

/// Highest number that a set may hold: far above what Xen supports, it bounds what is allocated.
const HIGHEST: u32 = 1 << 16;

/// The bytes of a set, at least one, a multiple of 8 as Xen copies whole words.
pub(crate) fn encode(operation: &'static str, members: &[u32]) -> Result<Vec<u8>> {
    let highest = members.iter().copied().max().unwrap_or(0);
    if highest >= HIGHEST {
        return Err(Error::Invalid { operation, what: "a CPU or node number is too high" });
    }
    let mut bytes = vec![0; (highest as usize / 64 + 1) * 8];
    for member in members {
        bytes[*member as usize / 8] |= 1 << (member % 8);
    }
    Ok(bytes)
}

/// How many bits `bytes` hold.
pub(crate) fn bits(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len() * 8).unwrap_or(u32::MAX)
}

/// The members of a set, ascending.
pub(crate) fn decode(bytes: &[u8]) -> Vec<u32> {
    let bits = bytes.iter().enumerate().flat_map(|(at, byte)| {
        (0..8).filter(move |bit| byte >> bit & 1 != 0).map(move |bit| (at * 8) + bit)
    });
    bits.filter_map(|bit| u32::try_from(bit).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_round_trip() {
        let check = |members: &[u32], bytes: &[u8]| {
            assert_eq!(encode("test", members).unwrap(), bytes, "{members:?}");
            assert_eq!(decode(bytes), members, "{members:?}");
        };
        check(&[], &[0; 8]);
        check(&[0], &[1, 0, 0, 0, 0, 0, 0, 0]);
        check(&[1, 7, 8, 63], &[0x82, 1, 0, 0, 0, 0, 0, 0x80]);
        check(&[64], &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn the_highest_number_is_bounded() {
        assert!(encode("test", &[HIGHEST - 1]).is_ok());
        assert!(encode("test", &[HIGHEST]).is_err());
    }
}
