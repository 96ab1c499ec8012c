//! What the fuzz tests share: a seeded source of numbers, and how often they run.

/// xorshift64*: all that a bounded, repeatable run needs.
pub struct Random(pub u64);

impl Random {
    /// A number below `limit`; 0 where there is none.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let next = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        usize::try_from(next % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// `XLR_FUZZ_ITERS`, or `usual` where it says nothing.
pub fn iterations(usual: u64) -> u64 {
    std::env::var("XLR_FUZZ_ITERS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}
