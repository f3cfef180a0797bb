//! Blocking work: the seam between tasks that must never wait for a disk and the disk.
//!
//! A *job* runs once, somewhere else, and tells its own story: whoever hands it in puts the
//! sending half of a channel into it. A *lane* is an ordered queue of jobs that run one at a
//! time. In production a lane is a thread and loose jobs run on a bounded pool; in the simulator
//! both are tasks that run a job when its virtual time is over, or part of it when the member
//! crashes in between (from some disk operation on everything in it fails).

use std::fmt::{Debug, Display, Formatter};
use std::sync::Arc;

/// A piece of blocking work.
pub type Job = Box<dyn FnOnce() + Send>;

/// The pool's queue is full; the job was dropped unrun. The caller answers "try again".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overloaded;

impl Display for Overloaded {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("too many blocking jobs are waiting")
    }
}

impl std::error::Error for Overloaded {}

/// Where blocking work goes.
pub trait Jobs: Send + Sync + Debug {
    /// Runs `job` beside others, in no order. At the bound it is refused, not queued.
    fn run(&self, job: Job) -> Result<(), Overloaded>;

    /// Opens a lane; `name` shows up in thread names and traces. Dropping it lets the jobs
    /// already queued finish.
    fn lane(&self, name: &str) -> Arc<dyn Lane>;
}

/// An ordered queue of jobs, one at a time.
pub trait Lane: Send + Sync + Debug {
    /// Queues `job` behind those before it. The queue itself has no bound; each caller keeps the
    /// number of its unfinished jobs bounded (the write-ahead log and the apply path have one).
    fn push(&self, job: Job);
}
