//! Numbers and bytes of saved state: how they are written, and how they are read from bytes that may
//! be damaged.
//!
//! Numbers take as many bytes as they need (seven bits each, the lowest first), texts and lists begin
//! with their length. In: values, or bytes of any content. Out: bytes, or values, or [`Damaged`] with
//! the place; reading never panics, and takes no memory that the input's length does not pay for.

use thiserror::Error;

/// Bytes that are no saved state, or not all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{what} at byte {at} cannot be right")]
pub struct Damaged {
    /// Where reading ended, in bytes from the beginning of what was read.
    pub at: usize,
    /// What was read there.
    pub what: &'static str,
}

/// Values as bytes, appended.
pub(crate) trait Put {
    fn put(&mut self, number: u64);
    fn put_len(&mut self, len: usize);
    fn put_flag(&mut self, flag: bool);
    fn put_bytes(&mut self, bytes: &[u8]);
    fn put_signed(&mut self, number: i64);
    /// A number that may be absent.
    fn put_option(&mut self, number: Option<u64>);
}

impl Put for Vec<u8> {
    fn put(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.push(number as u8);
    }

    fn put_len(&mut self, len: usize) {
        self.put(len as u64);
    }

    fn put_flag(&mut self, flag: bool) {
        self.push(u8::from(flag));
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_len(bytes.len());
        self.extend_from_slice(bytes);
    }

    fn put_signed(&mut self, number: i64) {
        // The sign goes into the lowest bit, so that small numbers stay short.
        self.put(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    fn put_option(&mut self, number: Option<u64>) {
        self.put_flag(number.is_some());
        if let Some(number) = number {
            self.put(number);
        }
    }
}

/// Reads values off the front of bytes.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// An error at this place.
    pub(crate) const fn damaged(&self, what: &'static str) -> Damaged {
        Damaged { at: self.len - self.rest.len(), what }
    }

    pub(crate) fn number(&mut self, what: &'static str) -> Result<u64, Damaged> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(self.damaged(what))?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            self.rest = rest;
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.damaged(what))
    }

    /// A number that fits a narrower type.
    pub(crate) fn narrow<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, Damaged> {
        let before = self.damaged(what);
        T::try_from(self.number(what)?).map_err(|_| before)
    }

    pub(crate) fn signed(&mut self, what: &'static str) -> Result<i64, Damaged> {
        let number = self.number(what)?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, Damaged> {
        match self.number(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.damaged(what)),
        }
    }

    pub(crate) fn option(&mut self, what: &'static str) -> Result<Option<u64>, Damaged> {
        if self.flag(what)? { self.number(what).map(Some) } else { Ok(None) }
    }

    /// How many things follow, each of which takes a byte at least.
    pub(crate) fn count(&mut self, what: &'static str) -> Result<usize, Damaged> {
        let before = self.damaged(what);
        let count: usize = self.narrow(what)?;
        if count > self.rest.len() { Err(before) } else { Ok(count) }
    }

    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], Damaged> {
        let len = self.count(what)?;
        self.take(len, what)
    }

    /// So many bytes.
    pub(crate) fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], Damaged> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(self.damaged(what))?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<&'a [u8; N], Damaged> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(self.damaged(what))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A text of printable ASCII, of which paths and names are made.
    pub(crate) fn text(&mut self, what: &'static str) -> Result<&'a str, Damaged> {
        let before = self.damaged(what);
        let text = std::str::from_utf8(self.bytes(what)?).map_err(|_| before)?;
        if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) { Ok(text) } else { Err(before) }
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), Damaged> {
        if self.is_empty() { Ok(()) } else { Err(self.damaged("the end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_both_ways_and_are_as_short_as_can_be() {
        for (number, len) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (1 << 62, 9), (u64::MAX, 10)]
        {
            let mut bytes = Vec::new();
            bytes.put(number);
            assert_eq!(bytes.len(), len, "{number}");
            assert_eq!(Reader::new(&bytes).number(""), Ok(number));
            for cut in 0..len {
                assert!(Reader::new(&bytes[..cut]).number("").is_err(), "{number} cut at {cut}");
            }
        }
        for number in [0, 1, -1, 63, -64, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            bytes.put_signed(number);
            assert_eq!(Reader::new(&bytes).signed(""), Ok(number));
        }
    }

    #[test]
    fn damage_is_named_with_its_place() {
        let check = |bytes: &[u8], read: fn(&mut Reader<'_>) -> Option<Damaged>, at: usize| {
            assert_eq!(read(&mut Reader::new(bytes)), Some(Damaged { at, what: "it" }));
        };
        check(&[0xff; 12], |reader| reader.number("it").err(), 9);
        check(&[0x80, 0x80, 4], |reader| reader.narrow::<u16>("it").err(), 0);
        check(&[2], |reader| reader.flag("it").err(), 1);
        check(&[3, 1, 2], |reader| reader.bytes("it").err(), 0);
        check(&[1, 7], |reader| reader.text("it").err(), 0);
        check(&[1, 0xff], |reader| reader.text("it").err(), 0);
        assert!(Reader::new(&[1]).end().is_err());
    }
}
