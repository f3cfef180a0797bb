//! Time: the seam between kstore and the clocks of its machine.

use std::fmt::Debug;
use std::time::Duration;

/// A source of time. The pure crates have none: they take times as arguments.
pub trait Clock: Send + Sync + Debug {
    /// Time since an origin that is fixed for the life of the process; never goes back.
    fn monotonic(&self) -> Duration;

    /// Time since 1970-01-01 UTC by the machine's calendar; may jump. For people only: nothing
    /// that must be right rests on it.
    fn wall(&self) -> Duration;
}
