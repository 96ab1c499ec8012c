//! A console's bytes as lines, of bounded length.
//!
//! In: bytes, as they come. Out: lines without their end; one that is too long is broken. Whatever a
//! guest prints, no more than [`LONGEST`] bytes are kept.

use crate::printable::steers;
use anstream::adapter::strip_bytes;

/// Longest line, in bytes.
pub const LONGEST: usize = 8192;

/// A line that has not come to its end.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    open: Vec<u8>,
}

impl Lines {
    /// Takes bytes in, and gives each line that they complete.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let room = LONGEST - self.open.len();
            let count = end.unwrap_or(bytes.len());
            if count > room {
                self.open.extend_from_slice(&bytes[..room]);
                bytes = &bytes[room..];
                self.give(&mut each);
                continue;
            }
            self.open.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if end.is_some() {
                bytes = &bytes[1..];
                self.give(&mut each);
            }
        }
    }

    /// What has no end yet.
    #[must_use]
    pub fn open(&self) -> &[u8] {
        &self.open
    }

    /// The last line, if it has no end.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8])) {
        if !self.open.is_empty() {
            self.give(&mut each);
        }
    }

    fn give(&mut self, each: &mut impl FnMut(&[u8])) {
        let kept = self.open.iter().rposition(|&byte| byte != b'\r').map_or(0, |last| last + 1);
        // What a progress bar writes over itself are lines of their own: a word at the beginning of one is.
        let mut over =
            self.open[..kept].split(|&byte| byte == b'\r').filter(|part| !part.is_empty());
        each(over.next().unwrap_or_default());
        over.for_each(each);
        self.open.clear();
    }
}

/// A line as text: without escape sequences and whatever else steers a terminal.
#[must_use]
pub fn text(line: &[u8]) -> String {
    let plain = strip_bytes(line).into_vec();
    let text = String::from_utf8_lossy(&plain);
    text.chars().filter(|&character| character == '\t' || !steers(character)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.push(chunk, |line| found.push(line.to_vec()));
        }
        (found, lines.open().to_vec())
    }

    #[test]
    fn lines_end_and_are_broken() {
        let check = |chunks: &[&[u8]], lines: &[&[u8]], open: &[u8]| {
            let (found, left) = split(chunks);
            assert_eq!(found, lines, "{chunks:?}");
            assert_eq!(left, open, "{chunks:?}");
        };
        check(&[b"a\nb"], &[b"a"], b"b");
        check(&[b"a\r", b"\nb\r\r\n"], &[b"a", b"b"], b"");
        check(&[b"\n\n"], &[b"", b""], b"");
        check(&[b"\r10%\r\r20", b"%\rPASS\r\n"], &[b"10%", b"20%", b"PASS"], b"");
        let long = vec![b'x'; LONGEST + 2];
        check(&[&long, b"\n"], &[&long[2..], b"xx"], b"");
        check(&[&long[2..], b"\n"], &[&long[2..]], b"");
        check(&[&long[2..]], &[], &long[2..]);
    }

    #[test]
    fn a_line_is_text() {
        let check = |line: &[u8], expected: &str| assert_eq!(text(line), expected, "{line:?}");
        check(b"plain\ttext", "plain\ttext");
        check(b"\x1b[32mPASS\x1b[0m", "PASS");
        check(b"a\x00b\x08c\rd", "abcd");
        // What is no text is left out.
        check(b"\xff\xc3\xb6", "ö");
        check(b"\x1b]0;title\x07x", "x");
    }

    proptest! {
        /// However the bytes are cut, the lines are the same, and none is too long.
        #[test]
        fn the_cut_does_not_matter(
            bytes in prop::collection::vec(prop::sample::select(vec![b'a', b'b', b'\n', b'\r']), 0..200),
            at in 0_usize..200,
        ) {
            let at = at.min(bytes.len());
            let whole = split(&[&bytes]);
            prop_assert_eq!(&whole, &split(&[&bytes[..at], &bytes[at..]]));
            prop_assert!(whole.0.iter().all(|line| line.len() <= LONGEST));
        }
    }
}
