//! Time and chance that a test owns.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kstore_host::{Clock, Random};

use crate::Prng;

/// A clock that moves only when told to. Clones share one time.
#[derive(Debug, Clone, Default)]
pub struct SimClock {
    /// (monotonic, wall − monotonic); the first only grows.
    time: Arc<Mutex<(Duration, Duration)>>,
}

impl SimClock {
    /// A clock at zero, whose calendar stands at `wall`.
    #[must_use]
    pub fn at(wall: Duration) -> Self {
        Self { time: Arc::new(Mutex::new((Duration::ZERO, wall))) }
    }

    /// Lets `duration` pass.
    pub fn advance(&self, duration: Duration) {
        self.time.lock().unwrap_or_else(PoisonError::into_inner).0 += duration;
    }

    /// Moves the calendar, and only the calendar, to `wall`.
    pub fn set_wall(&self, wall: Duration) {
        let mut time = self.time.lock().unwrap_or_else(PoisonError::into_inner);
        time.1 = wall.saturating_sub(time.0);
    }
}

impl Clock for SimClock {
    fn monotonic(&self) -> Duration {
        self.time.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn wall(&self) -> Duration {
        let time = self.time.lock().unwrap_or_else(PoisonError::into_inner);
        time.0 + time.1
    }
}

/// A seeded source of chance. Clones share one stream.
#[derive(Debug, Clone)]
pub struct SimRandom {
    prng: Arc<Mutex<Prng>>,
}

impl SimRandom {
    /// The stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from(Prng::of("random", seed))
    }
}

impl From<Prng> for SimRandom {
    fn from(prng: Prng) -> Self {
        Self { prng: Arc::new(Mutex::new(prng)) }
    }
}

impl Random for SimRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.prng.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_only_when_told_and_the_calendar_may_jump_alone() {
        let clock = SimClock::at(Duration::from_secs(1000));
        let other = clock.clone();
        clock.advance(Duration::from_secs(5));
        assert_eq!(other.monotonic(), Duration::from_secs(5));
        assert_eq!(other.wall(), Duration::from_secs(1005));
        clock.set_wall(Duration::from_secs(900));
        assert_eq!(other.monotonic(), Duration::from_secs(5));
        assert_eq!(other.wall(), Duration::from_secs(900));
    }

    #[test]
    fn the_same_seed_gives_the_same_random_bytes() {
        let (one, two) = (SimRandom::new(3), SimRandom::new(3));
        let (mut a, mut b) = ([0; 20], [0; 20]);
        one.fill(&mut a);
        two.fill(&mut b);
        assert_eq!(a, b);
        assert_eq!(one.next_u64(), two.next_u64());
    }
}
