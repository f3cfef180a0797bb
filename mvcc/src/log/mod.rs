//! The revision log: every change in the order in which it happened, each value written once.
//!
//! ```text
//!   LogWriter --settle--> Log (shared) <--- lookups by id, Cursor (in order)
//!       |                   |
//!     flush                read
//!       v                   v
//!   log-000001-0000  log-000002-0000  log-000003-0001 ...        sealed: records, footer
//!                                                  ^ open: records only
//! ```
//!
//! It is both where values live and the watch history. The state tree says that a key was last
//! changed by the record 117.0; the log finds that record by its id. Records lie in the order of
//! their ids, within a segment and across segments, and the log has no gaps: what has no revision
//! of its own (leases, members, compaction) is there too, under the current revision.
//!
//! Invariant: a record is appended only behind all others. Recovery cuts the log where the chosen
//! root says and never looks at what lies behind.

mod cursor;
pub(crate) mod footer;
pub(crate) mod readers;
pub(crate) mod record;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod writer;

pub(crate) use cursor::Cursor;
pub use record::{NoteKind, Record, RecordKind};
