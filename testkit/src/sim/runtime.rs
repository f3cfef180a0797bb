//! openraft's runtime, on a simulated world.
//!
//! The trait's functions are static, so the world is the one that the current thread is in. mpsc,
//! oneshot and mutex are tokio's, which are first in, first out and need no runtime; tokio's watch
//! picks among its waiters by chance of its own, so watch is ours.

use std::convert::Infallible;
use std::fmt::{Display, Formatter};
use std::future::poll_fn;
use std::io;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use openraft_rt::{AsyncRuntime, Oneshot, OneshotSender, OptionalSend};
use openraft_rt_tokio::{TokioMpsc, TokioMutex, TokioOneshot};

use super::time::{Timer, nanos};
use super::watch::SimWatch;
use super::world::{self, World, WorldOptions};

/// A runtime whose time, order and chance come from a [`World`].
#[derive(Debug)]
pub struct SimRuntime {
    world: World,
}

impl SimRuntime {
    /// The runtime of `world`.
    #[must_use]
    pub fn of(world: World) -> Self {
        Self { world }
    }
}

/// The task was dropped before it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Killed;

impl Display for Killed {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("the task was dropped before it ended")
    }
}

impl std::error::Error for Killed {}

/// The time was over first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl Display for Elapsed {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("time limit reached")
    }
}

impl std::error::Error for Elapsed {}

type OneshotReceiver<T> = <TokioOneshot as Oneshot>::Receiver<T>;

/// Waits for a task. Dropping it lets the task go on.
#[derive(Debug)]
pub struct JoinHandle<T: Send + 'static> {
    result: OneshotReceiver<T>,
}

impl<T: Send + 'static> Future for JoinHandle<T> {
    type Output = Result<T, Killed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(context).map(|result| result.map_err(|_| Killed))
    }
}

/// Waits for a moment.
#[derive(Debug)]
pub struct Sleep {
    timer: Timer,
}

impl Sleep {
    pub(super) fn new(timer: Timer) -> Self {
        Self { timer }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.timer.poll(context)
    }
}

/// Waits for a future, but not for ever.
#[derive(Debug)]
pub struct Timeout<F> {
    future: Pin<Box<F>>,
    sleep: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(value) = self.future.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        Pin::new(&mut self.sleep).poll(context).map(|()| Err(Elapsed))
    }
}

/// A moment by the clock of the member that asked, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimInstant(u64);

impl Add<Duration> for SimInstant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl Sub<Duration> for SimInstant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

impl Sub<Self> for SimInstant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl AddAssign<Duration> for SimInstant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl SubAssign<Duration> for SimInstant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl openraft_rt::Instant for SimInstant {
    fn now() -> Self {
        Self(world::local_now())
    }
}

/// Draws from the source of the member that asks.
#[derive(Debug, Clone, Copy)]
pub struct MemberRng;

impl rand::TryRng for MemberRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let high = world::draw() >> 32;
        Ok(u32::try_from(high).expect("the high half of 64 bits has 32"))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(world::draw())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let word = world::draw().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

impl AsyncRuntime for SimRuntime {
    type JoinError = Killed;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = SimInstant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = MemberRng;
    type Mpsc = TokioMpsc;
    type Watch = SimWatch;
    type Oneshot = TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = TokioMutex<T>;

    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let (sender, result) = TokioOneshot::channel();
        world::spawn(async move {
            // Nobody need wait for the result.
            drop(sender.send(future.await));
        });
        JoinHandle { result }
    }

    fn sleep(duration: Duration) -> Sleep {
        world::sleep(duration)
    }

    fn sleep_until(deadline: SimInstant) -> Sleep {
        world::sleep_until_local(deadline.0)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Timeout<F> {
        Timeout { future: Box::pin(future), sleep: Self::sleep(duration) }
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: SimInstant,
        future: F,
    ) -> Timeout<F> {
        Timeout { future: Box::pin(future), sleep: Self::sleep_until(deadline) }
    }

    fn is_panic(_: &Killed) -> bool {
        // A panic is not caught: it ends the whole run.
        false
    }

    fn thread_rng() -> MemberRng {
        MemberRng
    }

    fn new(_threads: usize) -> Self {
        Self { world: World::new(0, WorldOptions::default()) }
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.world.block_on(future)
    }

    fn spawn_blocking<F, T>(act: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let mut handle = Self::spawn(async move {
            world::yield_now().await;
            act()
        });
        poll_fn(move |context| Pin::new(&mut handle).poll(context).map_err(io::Error::other))
    }
}
