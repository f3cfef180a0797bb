//! The revision log.

mod record;

pub use record::{NoteKind, Record, RecordKind};
