//! What a proposal came to.

use kstore_machine::{Rejected, Reply};
use kstore_mvcc::Position;

/// The outcome of a command that was committed and applied.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The machine's answer, or its refusal; every member comes to the same.
    pub reply: Result<Reply, Rejected>,
    /// The entry that it was.
    pub position: Position,
}
