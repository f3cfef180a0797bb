//! A whole cluster in one thread, driven by one seed.
//!
//! ```text
//!                            World ── seed, virtual clock, timers, ready tasks, trace hash
//!    run_until(…) ───────────►│
//!                             │ picks one ready task, by chance, and polls it
//!          ┌──────────────────┼──────────────────┐
//!       member 1           member 2           harness (member 0)
//!       its tasks          its tasks          clients, nemesis, checkers
//!       SimRuntime, MemberClock, MemberRandom: its time and chance
//!       SimJobs ─► SimDisk: its blocking work, with latency, stalls and power cuts
//!          └───── SimNet: bytes with delay, loss, cuts ─────┘
//! ```
//!
//! Virtual time stands still while any task is ready, but for the small cost of each poll, and
//! jumps to the next timer when none is. Each task runs on behalf of one member, and what it
//! spawns runs on behalf of the same one, so a power cut is: cut the disk, drop the tasks.
//!
//! Invariant: whatever the simulated code can observe (time, chance, order of polls, messages,
//! disk contents) is a function of the seed. Two runs of one seed have equal
//! [`World::trace_hash`]es; a test that finds otherwise has found code that asks the real machine.
//!
//! Deliberately missing: threads, real sockets, and catching panics. A panic in a task is a bug
//! and ends the run.

mod jobs;
mod net;
mod runtime;
mod time;
mod watch;
mod world;

pub use jobs::{JobOptions, Latency, SimJobs};
pub use net::{CallError, Channel, Fate, Handler, LinkOptions, SimNet};
pub use runtime::{Elapsed, JoinHandle, Killed, MemberRng, SimInstant, SimRuntime, Sleep, Timeout};
pub use time::{MemberClock, MemberRandom};
pub use watch::{SimWatch, WatchReceiver, WatchRef, WatchSender};
pub use world::{HARNESS, Poll, World, WorldOptions, now, sleep, sleep_until, spawn, spawn_on};

/// A boxed future that may be spawned.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[cfg(test)]
mod tests;
