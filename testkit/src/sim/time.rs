//! Time in a simulated world: members' clocks, timers, and their source of chance.

use std::fmt::Debug;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::Duration;

use kstore_host::{Clock, Random};

use super::world::Shared;
use crate::Prng;

/// The wall clock at the start of every world: 2026-01-01 UTC.
const WALL_ORIGIN: Duration = Duration::from_secs(1_767_225_600);

/// What every member's monotonic clock shows at the start: far enough from zero that code may
/// subtract from it.
const LOCAL_ORIGIN: u64 = 1_000_000_000_000_000;

/// Parts in a million: the rate of a clock that runs true.
const TRUE_RATE: u64 = 1_000_000;

/// How a member's clocks run.
#[derive(Debug, Clone)]
pub(super) struct MemberTime {
    /// The member's time was `local` when the world's was `world`, and runs at `rate` since.
    pub(super) world: u64,
    pub(super) local: u64,
    /// In parts per million of true.
    pub(super) rate: u64,
    /// Added to the member's calendar.
    pub(super) wall_offset: i64,
    pub(super) prng: Prng,
}

impl MemberTime {
    /// True clocks, first looked at when the world's time is `now`.
    pub(super) fn from(now: u64, prng: Prng) -> Self {
        Self { world: now, local: LOCAL_ORIGIN + now, rate: TRUE_RATE, wall_offset: 0, prng }
    }

    /// Changes the rate from `now` on.
    pub(super) fn set_rate(&mut self, now: u64, rate: u64) {
        self.local = self.local_at(now);
        self.world = now;
        self.rate = rate;
    }

    pub(super) fn local_at(&self, world: u64) -> u64 {
        self.local + scaled(world.saturating_sub(self.world), self.rate, TRUE_RATE)
    }

    /// The first moment of the world at which the member's clock shows `local` or more.
    pub(super) fn world_at(&self, local: u64) -> u64 {
        let ahead = local.saturating_sub(self.local);
        self.world.saturating_add(scaled(ahead, TRUE_RATE, self.rate).saturating_add(1))
    }
}

fn scaled(value: u64, times: u64, over: u64) -> u64 {
    let wide = u128::from(value) * u128::from(times) / u128::from(over);
    u64::try_from(wide).unwrap_or(u64::MAX)
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A moment of a world, to be woken at. Dropping it takes the alarm back.
#[derive(Debug)]
pub(super) struct Timer {
    pub(super) world: Weak<Shared>,
    pub(super) due: u64,
    /// Where it stands among the world's timers, while it does.
    pub(super) key: Option<(u64, u64)>,
}

impl Timer {
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        // A world that is gone wakes nobody.
        let Some(world) = self.world.upgrade() else { return Poll::Pending };
        let mut state = world.state();
        let set = self.key.and_then(|key| state.timers.get(&key));
        if set.is_some_and(|waker| waker.will_wake(context.waker())) && state.now < self.due {
            return Poll::Pending;
        }
        let old = self.key.take().and_then(|key| state.timers.remove(&key));
        let result = if state.now >= self.due {
            Poll::Ready(())
        } else {
            let key = (self.due, state.next_timer);
            state.next_timer += 1;
            state.timers.insert(key, context.waker().clone());
            self.key = Some(key);
            Poll::Pending
        };
        drop(state);
        drop(old);
        result
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let (Some(key), Some(world)) = (self.key, self.world.upgrade()) {
            let waker = world.state().timers.remove(&key);
            drop(waker);
        }
    }
}

/// A member's clock, as its code sees it through `host::Clock`.
#[derive(Debug, Clone)]
pub struct MemberClock {
    pub(super) world: Weak<Shared>,
    pub(super) member: u64,
}

impl MemberClock {
    fn read(&self) -> (u64, i64) {
        let Some(world) = self.world.upgrade() else { return (LOCAL_ORIGIN, 0) };
        let mut state = world.state();
        let now = state.now;
        let time = state.member(self.member);
        (time.local_at(now), time.wall_offset)
    }
}

impl Clock for MemberClock {
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.read().0)
    }

    fn wall(&self) -> Duration {
        let (local, offset) = self.read();
        let passed = local.saturating_sub(LOCAL_ORIGIN).saturating_add_signed(offset);
        WALL_ORIGIN + Duration::from_nanos(passed)
    }
}

/// A member's source of chance, as its code sees it through `host::Random`.
#[derive(Debug, Clone)]
pub struct MemberRandom {
    pub(super) world: Weak<Shared>,
    pub(super) member: u64,
}

impl Random for MemberRandom {
    fn fill(&self, bytes: &mut [u8]) {
        match self.world.upgrade() {
            Some(world) => world.state().member(self.member).prng.fill(bytes),
            None => bytes.fill(0),
        }
    }
}
