//! The chain hash: one number that says whether two members applied the same log to the same
//! effect.
//!
//! ```text
//!   chain(n) = SHA-256( chain(n-1), index, term, revision, records, digest of the records, outcome )
//! ```
//!
//! The outcome is which answer, which error, which branches of transactions, how many keys. It says
//! nothing of values that were read: members on which nobody waits for the answer do not read them.

use kstore_mvcc::{ChainHash, Finished, Position};
use sha2::{Digest as _, Sha256};

use crate::applying::Outcome;

/// The chain after one more entry. `finished` is what the entry wrote, if anything could be
/// written.
pub(crate) fn extended(
    previous: ChainHash,
    position: Position,
    finished: Option<&Finished>,
    outcome: &Outcome,
) -> ChainHash {
    let mut hash = Sha256::new();
    hash.update(previous.0);
    hash.update(position.index.0.to_le_bytes());
    hash.update(position.term.0.to_le_bytes());
    if let Some(finished) = finished {
        hash.update(finished.revision.0.to_le_bytes());
        hash.update(finished.first_sub.0.to_le_bytes());
        hash.update(finished.records.to_le_bytes());
        hash.update(finished.digest.0.to_le_bytes());
    }
    // Its length is told by the end of the input.
    hash.update(&outcome.0);
    ChainHash(hash.finalize().into())
}
