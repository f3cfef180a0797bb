//! What waits to be written, in the order in which it was handed in; groups are cut from it.
//!
//! ```text
//!   append  append  committed  vote       one queue for everything,
//!      \       \        |       /         so nothing can become durable
//!   [ E E E cb  E E cb   C    V cb ]      before what was handed in earlier
//!     ^-------- a group ---------^        one write, one sync, then the callbacks
//! ```
//!
//! Everything queued while one group is written and synced goes into the next, up to a bound in
//! bytes: at one client that is one entry a sync, at a thousand it is a thousand.
//!
//! The queue has no bound of its own. It is the engine that keeps the number of entries in flight
//! bounded; [`super::Wal::queued_bytes`] tells it how much waits here.

use std::collections::VecDeque;

use super::OnFlushed;
use super::format::Record;

/// Something in the queue.
pub(super) enum Item {
    /// To be written.
    Record(Record),
    /// To be called once everything before it is on the disk.
    Callback(OnFlushed),
    /// Asks for an empty group, which records the sync of everything before it.
    Mark,
    /// The end: nothing after it is written. To be called once everything before it is on the disk.
    Close(OnFlushed),
}

/// What goes into one group.
#[derive(Default)]
pub(super) struct Batch {
    /// In order.
    pub(super) records: Vec<Record>,
    /// Whether the group is to be written even though it is empty.
    pub(super) mark: bool,
    /// To be called afterwards, in order.
    pub(super) callbacks: Vec<OnFlushed>,
    /// Set when nothing may follow; to be called last.
    pub(super) close: Option<OnFlushed>,
}

/// What waits to be written.
#[derive(Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    /// Bytes of the records in `items`.
    bytes: u64,
    /// How many of `items` are no records: what somebody waits for.
    awaited: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether anybody waits for what is queued. Records that nobody waits for (commits) go along
    /// with the next group that somebody does; a sync of their own would hold that one up.
    pub(super) fn wants_group(&self) -> bool {
        self.awaited > 0
    }

    fn push_awaited(&mut self, item: Item) {
        self.awaited += 1;
        self.items.push_back(item);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn push(&mut self, record: Record) {
        // Only the last of several commits in a row tells anything.
        if let (Record::Committed(_), Some(Item::Record(Record::Committed(_)))) =
            (&record, self.items.back())
        {
            self.bytes -= record.encoded_bytes();
            self.items.pop_back();
        }
        self.bytes += record.encoded_bytes();
        self.items.push_back(Item::Record(record));
    }

    pub(super) fn push_callback(&mut self, callback: OnFlushed) {
        self.push_awaited(Item::Callback(callback));
    }

    pub(super) fn push_mark(&mut self) {
        self.push_awaited(Item::Mark);
    }

    pub(super) fn push_close(&mut self, done: OnFlushed) {
        self.push_awaited(Item::Close(done));
    }

    /// Takes the next group: whole records up to `bytes_max`, but one at least, and the callbacks
    /// that wait for nothing else.
    pub(super) fn take(&mut self, bytes_max: u64) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0;
        loop {
            match self.items.front() {
                Some(Item::Record(record)) => {
                    bytes += record.encoded_bytes();
                    let full = bytes > bytes_max && !batch.records.is_empty();
                    if full || batch.mark {
                        break;
                    }
                }
                // A mark makes a group of its own: it tells that those before it are synced.
                Some(Item::Mark) if !batch.records.is_empty() => break,
                Some(Item::Mark | Item::Callback(_) | Item::Close(_)) => {}
                None => break,
            }
            let item = self.items.pop_front();
            self.awaited -= usize::from(!matches!(item, Some(Item::Record(_)) | None));
            match item {
                Some(Item::Record(record)) => batch.records.push(record),
                Some(Item::Callback(callback)) => batch.callbacks.push(callback),
                Some(Item::Mark) => batch.mark = true,
                Some(Item::Close(done)) => {
                    batch.close = Some(done);
                    break;
                }
                None => {}
            }
        }
        self.bytes -= batch.records.iter().map(Record::encoded_bytes).sum::<u64>();
        batch
    }

    /// Takes everything that waits for an answer, and forgets the rest.
    pub(super) fn drain_callbacks(&mut self) -> Vec<OnFlushed> {
        self.bytes = 0;
        self.awaited = 0;
        let mut callbacks = Vec::new();
        for item in self.items.drain(..) {
            match item {
                Item::Callback(callback) | Item::Close(callback) => callbacks.push(callback),
                Item::Record(_) | Item::Mark => {}
            }
        }
        callbacks
    }
}
