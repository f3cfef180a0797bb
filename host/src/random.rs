//! Chance: the seam between kstore and its machine's source of randomness.

use std::fmt::Debug;

/// A source of random bits. The pure crates have none: they take ids as arguments.
pub trait Random: Send + Sync + Debug {
    /// Fills `bytes` with random bytes, fit for identifiers and tokens.
    fn fill(&self, bytes: &mut [u8]);

    /// Sixty-four random bits.
    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}
