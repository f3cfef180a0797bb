//! What happened to a key, as watches are told it.

use std::ops::Deref;

use kstore_mvcc::{Record, RecordKind};

/// A record of the revision log that put or deleted a key. Cloning it shares its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event(pub Record);

impl Event {
    /// The event that a record is, unless it is a note.
    #[must_use]
    pub fn from_record(record: Record) -> Option<Self> {
        matches!(record.kind, RecordKind::Put | RecordKind::Delete).then_some(Self(record))
    }
}

impl Deref for Event {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.0
    }
}

impl kstore_watch::Event for Event {
    fn key(&self) -> &[u8] {
        &self.0.key
    }

    fn revision(&self) -> u64 {
        self.0.id.revision.0
    }

    fn sub(&self) -> u64 {
        self.0.id.sub.0
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.0.key.len() + self.0.value.len()
    }
}
