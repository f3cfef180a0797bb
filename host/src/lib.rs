//! What a process takes from its machine, behind traits: files, time, chance, and blocking work.
//!
//! ```text
//!   mvcc  raft  etcd-api  kstore        only these traits are visible to the layers above
//!      \    |     |     /
//!   Disk  Clock  Random  Jobs
//!      |                   \
//!   os::OsDisk, os::OsClock, os::OsRandom, threads::ThreadJobs     the real ones
//!   testkit::SimDisk, SimClock, SimRandom, SimJobs                 the simulated ones
//! ```
//!
//! Invariant: in the crates from `host` to `etcd-api`, only this crate touches files, clocks,
//! sources of chance and threads, so that a simulator which implements these traits owns
//! everything that reaches a member from outside.

mod clock;
mod disk;
mod jobs;
pub mod os;
pub mod process;
mod random;
pub mod threads;

pub use clock::Clock;
pub use disk::{DirectoryLock, Disk, Entry, File, OpenMode};
pub use jobs::{Job, Jobs, Lane, Overloaded};
pub use random::Random;
