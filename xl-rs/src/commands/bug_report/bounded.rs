//! Text that does not grow beyond a limit, and says so where it had to stop.
//!
//! What a report tells of guests is as long as guests make it; the memory of dom0 is not theirs.

/// Text with a limit.
#[derive(Debug)]
pub struct Bounded {
    text: String,
    most_bytes: usize,
    /// What did not fit any more.
    left_out_bytes: usize,
}

impl Bounded {
    /// Empty, and never longer than `most_bytes` but for the word on what was left out.
    pub fn new(most_bytes: usize) -> Self {
        Self { text: String::new(), most_bytes, left_out_bytes: 0 }
    }

    /// Adds a piece as a whole, or leaves it out. After the first that is left out none is added, so
    /// that what is there has no holes.
    pub fn add(&mut self, piece: &str) {
        let fits = self.text.len().saturating_add(piece.len()) <= self.most_bytes;
        if fits && !self.is_full() {
            self.text.push_str(piece);
        } else {
            self.left_out_bytes = self.left_out_bytes.saturating_add(piece.len());
        }
    }

    /// Whether something was left out.
    pub fn is_full(&self) -> bool {
        self.left_out_bytes > 0
    }

    /// The text. Where something was left out a last line tells how much at least.
    pub fn text(mut self) -> String {
        if self.is_full() {
            let bytes = self.left_out_bytes;
            self.text.push_str(&format!("... {bytes} bytes or more were left out here\n"));
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::Bounded;

    #[test]
    fn a_text_stops_at_its_limit() {
        for (most_bytes, pieces, expected) in [
            (4, &["ab\n"][..], "ab\n"),
            (6, &["ab\n", "cd\n"], "ab\ncd\n"),
            (5, &["ab\n", "cd\n"], "ab\n... 3 bytes or more were left out here\n"),
            (5, &["ab\n", "cd\n", "e"], "ab\n... 4 bytes or more were left out here\n"),
            (0, &["a"], "... 1 bytes or more were left out here\n"),
            (0, &[""], ""),
        ] {
            let mut text = Bounded::new(most_bytes);
            pieces.iter().for_each(|piece| text.add(piece));
            assert_eq!(text.text(), expected, "{pieces:?} in {most_bytes}");
        }
    }
}
