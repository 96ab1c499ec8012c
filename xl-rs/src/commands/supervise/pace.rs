//! How long to wait before a domain is started again: one that ends at once, again and again, would
//! otherwise take the host's time for itself.

use std::time::Duration;

/// The ends of one domain and of those that followed it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// Ends in a row that came too soon.
    soon: u32,
}

impl Pace {
    /// A domain that lives for as long as this ends when it likes.
    const ENOUGH: Duration = Duration::from_secs(10);
    /// Longest waiting.
    const LONGEST_SECONDS: u64 = 60;

    /// A domain has lived for so long: none for the first two that end soon, then 1 s, 2 s, 4 s and
    /// so on.
    pub fn next(&mut self, lived: Duration) -> Duration {
        if lived >= Self::ENOUGH {
            self.soon = 0;
            return Duration::ZERO;
        }
        self.soon = self.soon.saturating_add(1);
        let doubled = match self.soon {
            0..=2 => 0,
            soon => 1_u64.checked_shl(soon - 3).unwrap_or(u64::MAX),
        };
        Duration::from_secs(doubled.min(Self::LONGEST_SECONDS))
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use std::time::Duration;

    #[test]
    fn what_ends_at_once_is_not_started_at_once() {
        let check = |lived: &[u64], waits: &[u64]| {
            let mut pace = Pace::default();
            let seconds =
                lived.iter().map(|&lived| pace.next(Duration::from_secs(lived)).as_secs());
            assert_eq!(seconds.collect::<Vec<_>>(), waits, "{lived:?}");
        };
        check(&[10, 100, 10], &[0, 0, 0]);
        check(&[0; 11], &[0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        check(&[9, 9, 9, 10, 9, 9, 9], &[0, 0, 1, 0, 0, 0, 1]);
        let mut pace = Pace { soon: u32::MAX - 1 };
        assert_eq!(pace.next(Duration::ZERO).as_secs(), 60);
        assert_eq!(pace.next(Duration::ZERO).as_secs(), 60);
    }
}
