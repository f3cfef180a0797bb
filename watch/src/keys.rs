//! Ranges of keys, as subscriptions name them.

use bytes::Bytes;

/// Some keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Keys {
    /// The first key.
    pub start: Bytes,
    /// Where the range ends.
    pub end: KeysEnd,
}

/// Where a range of keys ends. The order of the variants is no order of ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeysEnd {
    /// After the start itself: the range is that one key.
    Single,
    /// Before this key.
    Before(Bytes),
    /// Never.
    Unbounded,
}

impl Keys {
    /// One key.
    #[must_use]
    pub fn single(key: Bytes) -> Self {
        Self { start: key, end: KeysEnd::Single }
    }

    /// Every key.
    #[must_use]
    pub fn everything() -> Self {
        Self { start: Bytes::new(), end: KeysEnd::Unbounded }
    }

    /// The keys from `start` on and before `end`.
    #[must_use]
    pub fn between(start: Bytes, end: Bytes) -> Self {
        Self { start, end: KeysEnd::Before(end) }
    }

    /// Whether `key` is one of them.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            KeysEnd::Single => key == self.start,
            KeysEnd::Before(end) => key >= self.start.as_ref() && key < end.as_ref(),
            KeysEnd::Unbounded => key >= self.start.as_ref(),
        }
    }

    /// Whether one of them may lie between `first` and `last`, both included.
    #[must_use]
    pub fn touches(&self, first: &[u8], last: &[u8]) -> bool {
        match &self.end {
            KeysEnd::Single => first <= self.start.as_ref() && self.start.as_ref() <= last,
            KeysEnd::Before(end) => {
                self.start < *end && self.start.as_ref() <= last && first < end.as_ref()
            }
            KeysEnd::Unbounded => self.start.as_ref() <= last,
        }
    }
}
