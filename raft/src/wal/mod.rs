//! The write-ahead log of a Raft member: entries, votes and commits, durable in the order in which
//! they were handed in.
//!
//! ```text
//!   engine:  append  save_vote  save_committed  truncate  purge         read
//!               \        |           |             |        /             |
//!                +-------+-----------+-------------+-------+        +-----+------+
//!                        |                   |                      |            |
//!                      queue               view   (at once)       view        places
//!                        |                  tail in memory <--------+            |
//!   lane:             writer: one group a job, one write, one sync               |
//!                        |                                                       |
//!   disk:   wal-00000004  wal-00000005  wal-00000006 <---------------------------+
//!           | H | group | group |  ...                 groups begin at 512-byte blocks
//! ```
//!
//! This is the one durable thing of a member. The store's checkpoints only bound how much of it is
//! replayed; an acknowledged write is one whose entry a quorum has in this log, synced.
//!
//! Everything handed in is visible to readers at once and goes through one queue, so nothing can
//! become durable before what was handed in earlier. All that waits while one group is synced goes
//! into the next: the sync is shared by as many as there are. `queue` cuts groups, `writer` writes
//! them, `view` and `places` answer readers from memory and from the disk, `folder` makes, names
//! and recycles segments, `recover` reads them back and decides where the log ends. The bytes are
//! drawn in `docs/formats/wal.md`.
//!
//! Invariant: a callback is called with `Ok` only after the sync that covers everything handed in
//! before it; callbacks are called in the order in which they were handed in, each exactly once.
//! Invariant: after the first error of the disk nothing is written any more, and every callback
//! gets that error. Nothing is tried twice: after a failed sync nobody knows what the disk holds.
//! Invariant: a log that was damaged does not open. See `recover` for what is damage and what is
//! the unfinished end of a power cut.
//!
//! Deliberately missing: compression and encryption (a record is written once and lives for
//! minutes), and reading the log of a running member from another process.

mod base;
mod folder;
mod format;
mod places;
mod queue;
mod read;
mod recover;
mod view;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt::{Debug, Formatter};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kstore_host::{Disk, Lane, OpenMode, Random};
use kstore_mvcc::{Access, Index, Position, Term};

pub use format::PAYLOAD_BYTES_MAX;
pub use read::WalReadError;
pub use recover::{Cut, OpenError, Recovered};

use folder::Folder;
use format::Record;
use places::Places;
use queue::Queue;
use recover::{Settled, doing};
use view::View;
use writer::{Start, Writer};

/// Called once, on the lane, when what it was handed in with is on the disk, or never will be.
/// It may call the log, but must not wait for it.
pub type OnFlushed = Box<dyn FnOnce(io::Result<()>) + Send>;

/// One entry of the Raft log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its term and index.
    pub position: Position,
    /// What it says; opaque to the log. At most [`PAYLOAD_BYTES_MAX`].
    pub payload: Bytes,
}

/// The sizes of a log.
#[derive(Debug, Clone)]
pub struct WalOptions {
    /// The length of segment number 1; each one after it is twice as long as the one before.
    pub segment_bytes_first: u64,
    /// The length at which that stops. At most 1 GiB.
    pub segment_bytes: u64,
    /// A group takes no further record beyond this.
    pub group_bytes: u64,
    /// Entries are kept in memory up to this, and beyond it while they are not flushed.
    pub tail_bytes: u64,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            segment_bytes_first: 1 << 20,
            segment_bytes: 64 << 20,
            group_bytes: 4 << 20,
            tail_bytes: 16 << 20,
        }
    }
}

impl WalOptions {
    /// For tests and the simulator: everything happens after a few entries.
    #[must_use]
    pub fn tiny() -> Self {
        Self { segment_bytes_first: 2048, segment_bytes: 4096, group_bytes: 1024, tail_bytes: 1024 }
    }
}

/// Why nothing is written any more.
#[derive(Debug, Clone)]
struct Fault {
    kind: io::ErrorKind,
    what: String,
}

impl Fault {
    fn from_error(doing: &str, error: &io::Error) -> Self {
        Self { kind: error.kind(), what: format!("{doing}: {error}") }
    }

    fn closed() -> Self {
        Self { kind: io::ErrorKind::BrokenPipe, what: "the log is closed".to_owned() }
    }

    fn error(&self) -> io::Error {
        io::Error::new(self.kind, self.what.clone())
    }
}

/// What the callers and the lane share.
struct State {
    /// What readers see. Ahead of the disk by what is in `queue` and in the writer's hands.
    view: View,
    /// Where flushed entries lie. Set by the writer.
    places: Places,
    /// What waits to be written.
    queue: Queue,
    /// Whether a job for the next group is queued or runs. At most one is.
    group_queued: bool,
    /// Whether an upkeep job is queued. At most one is.
    upkeep_queued: bool,
    /// Whether something was handed in since the last tick.
    busy: bool,
    /// Whether the last group is an empty one, so that the sync of all others is on record.
    marked: bool,
    /// Set at the first error and when the log is closed; never cleared.
    fault: Option<Fault>,
}

impl State {
    fn new(view: View, places: Places) -> Self {
        Self {
            view,
            places,
            queue: Queue::default(),
            group_queued: false,
            upkeep_queued: false,
            busy: false,
            marked: false,
            fault: None,
        }
    }
}

struct Shared {
    dir: PathBuf,
    lane: Arc<dyn Lane>,
    options: WalOptions,
    /// Held for moments only, never during an operation of the disk.
    state: Mutex<State>,
    /// Taken by jobs of the lane alone, so nobody ever waits for it. Taken before `state`.
    writer: Mutex<Writer>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The write-ahead log; a handle that is cheap to clone.
#[derive(Clone)]
pub struct Wal {
    shared: Arc<Shared>,
}

impl Debug for Wal {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wal").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

impl Wal {
    /// Opens the log in `dir`, or makes a new one; blocks. `applied` is the last entry that a
    /// durable checkpoint of the store applied *from this log*, which proves that it was synced.
    /// Nobody else may have the directory open: the caller holds its lock.
    pub fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        lane: Arc<dyn Lane>,
        random: &dyn Random,
        options: WalOptions,
        applied: Option<Index>,
    ) -> Result<(Self, Recovered), OpenError> {
        assert!(options.segment_bytes <= 1 << 30, "offsets within a segment take 32 bits");
        make_dir(disk.as_ref(), dir)?;
        let found =
            recover::find(disk.as_ref(), dir, OpenMode::ReadWrite, options.tail_bytes, applied)?;
        let (recovered, settled) = match found {
            Some(found) => (found.recovered(), found.settle(dir)?),
            None => (Recovered::default(), Settled::fresh(random.next_u64())),
        };
        let Settled { view, places, log, segment, group, retired } = settled;
        let start = Start { segment, group, base: view.base().clone(), retired };
        let (disk, entropy) = (Arc::clone(disk), random.next_u64());
        let (writer, group) =
            Folder::take_over(disk, dir.to_owned(), options.clone(), log, entropy)
                .and_then(|folder| Writer::start(folder, start))
                .map_err(doing("open a new segment in", dir))?;
        let mut state = State::new(view, places);
        state.publish(&[], group);
        let shared = Shared {
            dir: dir.to_owned(),
            lane,
            options,
            state: Mutex::new(state),
            writer: Mutex::new(writer),
        };
        Ok((Self { shared: Arc::new(shared) }, recovered))
    }

    /// Appends entries behind the last one, or behind the last purged one when the log is empty;
    /// the first entry of a new log has index 0. They can be read when this returns; `on_flushed`
    /// tells when they are durable.
    pub fn append(&self, entries: Vec<Entry>, on_flushed: OnFlushed) {
        for entry in &entries {
            assert!(
                entry.payload.len() <= PAYLOAD_BYTES_MAX,
                "requests are bounded far below this"
            );
        }
        self.enqueue(entries.into_iter().map(Record::Entry), Some(on_flushed));
    }

    /// Saves the vote.
    pub fn save_vote(&self, vote: Bytes, on_flushed: OnFlushed) {
        self.enqueue([Record::Vote(vote)], Some(on_flushed));
    }

    /// Notes how far the log is committed. It goes along with the next group and asks for no sync
    /// of its own: a start that does not know of it learns it from the leader.
    pub fn save_committed(&self, position: Position) {
        self.enqueue([Record::Committed(position)], None);
    }

    /// Drops the entries after `position`; `None` drops all. They are gone for readers when this
    /// returns; on the disk they go, at the latest, together with the next entries. Nothing
    /// happens when the log ends there, or before.
    pub fn truncate_after(&self, position: Option<Position>) {
        if let Some(position) = position {
            let state = self.shared.state();
            if state.fault.is_some() || position.index >= state.view.base().next_index() {
                return;
            }
            let term = state.view.term_at(position.index);
            assert!(term.is_none_or(|term| term == position.term), "an entry has one term");
        }
        self.enqueue([Record::Truncate(position)], None);
    }

    /// Drops the entries up to and with `position`, which may lie behind the log's end: then the
    /// log is empty and goes on behind it. Segments are given up later, on the lane.
    pub fn purge(&self, position: Position) {
        self.enqueue([Record::Purge(position)], Some(Box::new(|_| ())));
    }

    /// Announces that an image of the store, which reaches to `position`, is about to be
    /// installed. Call it, and wait for it, before the image's root is written: from then on a
    /// checkpoint at exactly that position proves nothing about this log.
    pub fn expect_image(&self, position: Position, on_flushed: OnFlushed) {
        self.enqueue([Record::ExpectImage(position)], Some(on_flushed));
    }

    /// Calls back once everything handed in so far is durable. It causes no sync if it is.
    pub fn when_flushed(&self, on_flushed: OnFlushed) {
        self.enqueue([], Some(on_flushed));
    }

    /// To be called every 100 ms or so. When nothing was handed in since the last call, it has
    /// what still waits written, and an empty group behind it: until there is a group behind
    /// another, nothing on the disk proves that the other was synced.
    pub fn idle_tick(&self) {
        let mut state = self.shared.state();
        let was_busy = mem::replace(&mut state.busy, false);
        let settled = state.marked && state.queue.is_empty();
        if was_busy || settled || state.group_queued || state.fault.is_some() {
            return;
        }
        state.queue.push_mark();
        state.group_queued = true;
        drop(state);
        self.shared.push_group_job();
    }

    /// Writes what waits, puts the last sync on record, and ends the log: whatever is handed in
    /// later is answered with an error.
    pub fn close(&self, done: OnFlushed) {
        let mut state = self.shared.state();
        state.queue.push_mark();
        state.queue.push_close(done);
        let push = !mem::replace(&mut state.group_queued, true);
        drop(state);
        if push {
            self.shared.push_group_job();
        }
    }

    /// Hands in records, and who waits for them.
    fn enqueue(&self, records: impl IntoIterator<Item = Record>, on_flushed: Option<OnFlushed>) {
        let mut state = self.shared.state();
        state.busy = true;
        if state.fault.is_none() {
            for record in records {
                state.view.follow(&record);
                state.queue.push(record);
            }
        }
        let Some(on_flushed) = on_flushed else { return };
        state.queue.push_callback(on_flushed);
        let push = !mem::replace(&mut state.group_queued, true);
        drop(state);
        if push {
            self.shared.push_group_job();
        }
    }

    /// Entries from `start` up to but without `end`: at least one if there is one at `start`,
    /// and no more than about `bytes_max`. There may be fewer than are there; ask again.
    pub fn read(
        &self,
        start: Index,
        end: Index,
        bytes_max: u64,
        access: Access,
    ) -> Result<Vec<Entry>, WalReadError> {
        self.shared.read(start, end, bytes_max, access)
    }

    /// Why nothing is written any more, if so: entries handed in since are not kept.
    #[must_use]
    pub fn failure(&self) -> Option<io::Error> {
        self.shared.state().fault.as_ref().map(Fault::error)
    }

    /// The last entry; the last purged one when there is no other.
    #[must_use]
    pub fn last(&self) -> Option<Position> {
        self.shared.state().view.base().last
    }

    /// The last purged entry.
    #[must_use]
    pub fn purged(&self) -> Option<Position> {
        self.shared.state().view.base().purged
    }

    /// The term of the entry at `index`, if it is there or is the last purged one.
    #[must_use]
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.shared.state().view.term_at(index)
    }

    /// The last vote that was handed in.
    #[must_use]
    pub fn vote(&self) -> Option<Bytes> {
        self.shared.state().view.base().vote.clone()
    }

    /// The last commit that was handed in, as far as the log reaches.
    #[must_use]
    pub fn committed(&self) -> Option<Position> {
        self.shared.state().view.base().committed
    }

    /// The last entry that is known to be synced, or the last purged one if that is later.
    #[must_use]
    pub fn flushed(&self) -> Option<Position> {
        self.shared.state().view.flushed()
    }

    /// Bytes of log from the entry at `index` on, what waits to be written included.
    #[must_use]
    pub fn bytes_behind(&self, index: Index) -> u64 {
        let state = self.shared.state();
        state.places.bytes_from(index) + state.queue.bytes()
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn queued_bytes(&self) -> u64 {
        self.shared.state().queue.bytes()
    }
}

/// Makes `dir`, durably, if it is not there.
fn make_dir(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    disk.create_dir(dir).map_err(doing("make the directory", dir))?;
    match dir.parent() {
        Some(parent) => disk.sync_dir(parent).map_err(doing("sync the directory", parent)),
        None => Ok(()),
    }
}

/// Reads the whole log in `dir`, which nobody has open, changes nothing, and returns what opening
/// it would; `None` if there is no log. `applied` is that of [`Wal::open`].
pub fn inspect(
    disk: &dyn Disk,
    dir: &Path,
    applied: Option<Index>,
) -> Result<Option<Recovered>, OpenError> {
    let found = recover::find(disk, dir, OpenMode::Read, 0, applied)?;
    Ok(found.map(|found| found.recovered()))
}
