//! A small generator of pseudo-random numbers: seeded, portable, the same on every machine.
//!
//! xoshiro256** seeded through splitmix64, after Blackman and Vigna's public descriptions. Written
//! out here so that a seed printed by a failing test means the same in ten years, whatever
//! becomes of any library.

/// The generator. Cloning it clones its future.
#[derive(Debug, Clone)]
pub struct Prng {
    state: [u64; 4],
}

/// One step of splitmix64: advances `state` and mixes it into an output.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Mixes `value` into the running hash `hash`: order matters, and every bit counts.
#[must_use]
pub fn mix(hash: u64, value: u64) -> u64 {
    let mut state = hash.rotate_left(23) ^ value;
    splitmix(&mut state)
}

/// Mixes bytes into a running hash.
#[must_use]
pub fn mix_bytes(hash: u64, bytes: &[u8]) -> u64 {
    let mut hash = mix(hash, bytes.len() as u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash, u64::from_le_bytes(word));
    }
    hash
}

impl Prng {
    /// The generator of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut seed = seed;
        Self { state: std::array::from_fn(|_| splitmix(&mut seed)) }
    }

    /// The generator of `seed` for the part of a simulation that is called `part`: parts given one
    /// seed draw apart from each other.
    #[must_use]
    pub fn of(part: &str, seed: u64) -> Self {
        Self::new(mix_bytes(seed, part.as_bytes()))
    }

    /// Sixty-four random bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number below `bound`; zero if `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of a 128-bit product: its bias is far below what any test could notice.
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the high half of a 128-bit number has 64 bits")
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high);
        low + self.below((high - low).saturating_add(1))
    }

    /// An index below `length`.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a usize")
    }

    /// True once in `out_of` draws, on average.
    pub fn one_in(&mut self, out_of: u64) -> bool {
        self.below(out_of) == 0
    }

    /// True `times` in `out_of` draws, on average.
    pub fn chance(&mut self, times: u64, out_of: u64) -> bool {
        self.below(out_of) < times
    }

    /// One of `items`, which must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.index(i + 1));
        }
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// Another generator with a future of its own, named by `label`: what is drawn from one does
    /// not change what the other says.
    #[must_use]
    pub fn split(&self, label: u64) -> Self {
        let hash = self.state.iter().fold(label, |hash, word| mix(hash, *word));
        Self::new(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_says_the_same_and_another_does_not() {
        let draw = |seed| {
            let mut prng = Prng::new(seed);
            (0..16).map(|_| prng.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn numbers_stay_inside_their_bounds_and_reach_both_ends() {
        let mut prng = Prng::new(1);
        let drawn: Vec<u64> = (0..1000).map(|_| prng.between(3, 6)).collect();
        assert_eq!(drawn.iter().min(), Some(&3));
        assert_eq!(drawn.iter().max(), Some(&6));
        assert_eq!(prng.below(0), 0);
    }

    #[test]
    fn a_split_generator_leaves_its_parent_alone() {
        let mut one = Prng::new(5);
        let mut two = Prng::new(5);
        let mut child = one.split(1);
        child.next_u64();
        assert_eq!(one.next_u64(), two.next_u64());
        assert_ne!(one.split(1).next_u64(), one.split(2).next_u64());
    }
}
