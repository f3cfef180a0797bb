//! The replicated state machine: what a committed command does to the store.
//!
//! ```text
//!   entry of the Raft log ──► Machine::apply ──► Applied { answer or refusal, notices }
//!      (position, payload)         │                       to whoever waits, to the lease clock
//!                                  ▼
//!                          working state of the store
//!                                  │ Machine::publish, after some entries
//!                                  ▼
//!                          Published { snapshot, event batches }
//!                                                 to readers, to those who watch
//! ```
//!
//! The semantics are etcd's, to the letter where clients can see them: puts, deletes, transactions
//! with nested ones, leases, compaction, alarms. Each is described where it is done: [`command`]
//! says what may be asked, `applying` and `txn` what it does to keys, [`lease`] and [`cluster`]
//! what else is replicated, [`range`] how keys are read, inside transactions and by clients alike.
//!
//! Everything is synchronous and deterministic: no clock, no randomness, no thread. Whatever would
//! differ between members comes in with the command.
//!
//! Three kinds of errors, never mixed: a [`Rejected`] is an answer that all members agree on; a
//! [`Fatal`] means that this member can no longer apply what the others apply, and must stop; that
//! something cannot be done just now is for the layer above to say.
//!
//! Deliberately missing: users and roles; forgetting one key's history.

mod applying;
mod batch;
mod chain;
mod check;
pub mod cluster;
pub mod command;
pub mod lease;
mod machine;
pub mod range;
mod reply;
mod stop;
mod txn;

pub use batch::{EventBatch, EventSpan};
pub use check::{TxnLimits, check_delete_range, check_put, check_range, check_txn};
pub use machine::{Applied, Machine, Membership, Notice, Published, RequestId, Wants};
pub use reply::{Body, RaisedAlarm, RangeReply, Rejected, Reply};
pub use stop::Fatal;
pub use txn::{answer_read_only, is_read_only};
