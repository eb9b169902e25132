//! Chance that can be repeated.

/// A sequence of numbers that one seed determines (xorshift64*).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub const fn new(seed: u64) -> Self {
        // Zero would stay zero for ever, and seeds beside each other have each a sequence of its own.
        Self(seed.rotate_left(1) | 1)
    }

    /// The next number. Not an iterator: it never ends.
    #[expect(clippy::should_implement_trait, reason = "it has no end")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `bound`; zero where there is nothing below it.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u64::try_from(bound.max(1)).expect("64 bits hold a usize");
        usize::try_from(self.next() % wide).expect("below a usize")
    }

    /// Bytes that do not pack.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}
