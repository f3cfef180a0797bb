//! What the tests of the hub share: an event, a naive log of all events, and a waker that can be
//! asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use bytes::Bytes;
use kstore_watch::{Batch, Event, History, HistoryError, Keys, Page};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Bytes,
    pub(crate) revision: u64,
    pub(crate) sub: u64,
}

impl Event for Change {
    fn key(&self) -> &[u8] {
        &self.key
    }
    fn revision(&self) -> u64 {
        self.revision
    }
    fn sub(&self) -> u64 {
        self.sub
    }
    fn weight(&self) -> usize {
        10
    }
}

/// Everything that ever happened; revision r is at place r.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) revisions: Vec<Vec<Change>>,
    pub(crate) compacted: u64,
    /// The most revisions that a page looks at.
    pub(crate) page_revisions: u64,
}

impl Log {
    /// A log at revision 1, as a fresh store.
    pub(crate) fn new() -> Self {
        Self { revisions: vec![Vec::new(), Vec::new()], compacted: 0, page_revisions: 1000 }
    }

    pub(crate) fn current(&self) -> u64 {
        self.revisions.len() as u64 - 1
    }

    pub(crate) fn write(&mut self, keys: &[&str]) -> Batch<Change> {
        let revision = self.current() + 1;
        let changes = keys.iter().zip(0..).map(|(key, sub)| Change {
            key: Bytes::copy_from_slice(key.as_bytes()),
            revision,
            sub,
        });
        self.revisions.push(changes.collect());
        self.batch(revision)
    }

    pub(crate) fn batch(&self, revision: u64) -> Batch<Change> {
        let events = self.revisions[usize::try_from(revision).unwrap()].clone();
        Batch::Events { revision, events }
    }

    pub(crate) fn named(&self, revision: u64) -> Batch<Change> {
        let events = &self.revisions[usize::try_from(revision).unwrap()];
        let first = events.iter().map(|event| event.key.clone()).min().unwrap_or_default();
        let last = events.iter().map(|event| event.key.clone()).max().unwrap_or_default();
        Batch::Named { revision, first, last }
    }

    #[allow(dead_code, reason = "not every test uses it")]
    pub(crate) fn matching(&self, keys: &Keys, from: u64) -> Vec<Change> {
        let all = self.revisions.iter().flatten();
        all.filter(|event| event.revision >= from && keys.contains(&event.key)).cloned().collect()
    }
}

impl History<Change> for Log {
    fn events(&self, keys: &Keys, from: u64, weight: usize) -> Result<Page<Change>, HistoryError> {
        if from < self.compacted {
            return Err(HistoryError::Compacted { revision: self.compacted });
        }
        let mut page = Page { events: Vec::new(), next: from };
        while page.next <= self.current()
            && page.next < from + self.page_revisions
            && page.events.len() * 10 <= weight
        {
            let revision = &self.revisions[usize::try_from(page.next).unwrap()];
            page.events.extend(revision.iter().filter(|event| keys.contains(&event.key)).cloned());
            page.next += 1;
        }
        Ok(page)
    }
}

/// A waker that remembers that it was woken.
#[derive(Debug, Default)]
pub(crate) struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Bell {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let bell = Arc::new(Self::default());
        let waker = Waker::from(bell.clone());
        (bell, waker)
    }

    /// Whether it was woken since it was last asked.
    pub(crate) fn rang(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }

    #[allow(dead_code, reason = "not every test uses it")]
    pub(crate) fn rings(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    #[allow(dead_code, reason = "not every test uses it")]
    pub(crate) fn ring(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
