//! The writer's half of the store: commands go in, published states come out.
//!
//! ```text
//!   begin(index) -> Write: put delete note table_put ... -> finish | abandon      any number of commands
//!   publish(position, chain)                                                      all of them become visible at once
//!   prepare_checkpoint -> CheckpointJob::run (another thread) -> finish_checkpoint
//! ```
//!
//! Invariant: there is one `Store` per directory and it is used by one thread at a time (the lane
//! that applies); it never waits for a checkpoint.
//! Invariant: the working state differs from the published one only by finished commands, the one
//! in progress, and cells that were swept, which nobody can see.

use std::fmt::{Debug, Formatter};
use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::Checkpoint;
use crate::log::writer::LogWriter;
use crate::look::Look;
use crate::root::Root;
use crate::snapshot::{Shared, View};
use crate::sweep::Sweep;
use crate::tree::Tree;
use crate::write::{Undo, Write};
use crate::{
    Access, ChainHash, Index, Options, Position, Pressure, Reader, Revision, Snapshot, Sub,
};

/// The numbers of the working state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) revision: Revision,
    /// The place within `revision` that the next record gets.
    pub(crate) next_sub: Sub,
    pub(crate) compacted: Revision,
    pub(crate) retained: Revision,
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The entry of the Raft log from behind which the state must be carried on; `None`: from the
    /// first one.
    pub position: Option<Position>,
    /// The same of the root before: the Raft log may be purged up to there.
    pub second_position: Option<Position>,
    /// The hash that belongs to `position`.
    pub chain: ChainHash,
    /// The newest revision.
    pub revision: Revision,
    /// Why the newest root could not be used, if it was not.
    pub fell_back: Option<String>,
}

/// The entries of the Raft log that the two newest durable roots are the outcome of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DurableRoots {
    /// Where a restart goes on.
    pub newest: Option<Position>,
    /// Where a restart goes on if the newest root is damaged: the Raft log is purged at most to
    /// here.
    pub second_newest: Option<Position>,
}

/// See the module.
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: Options,
    pub(crate) log: LogWriter,
    /// The working state tree, side tables included.
    pub(crate) tree: Tree,
    pub(crate) numbers: Numbers,
    /// What to do to get the tree back to where the command in progress began; empty between
    /// commands.
    pub(crate) undo: Undo,
    /// Whether a command was finished since the last publication.
    pub(crate) pending: Pending,
    pub(crate) sweep: Sweep,
    pub(crate) reader: Reader,
    /// The published view, as `reader` hands it out.
    pub(crate) published: Arc<View>,
    pub(crate) checkpoint: Checkpoint,
}

/// Whether there is something that `publish` would make visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    Nothing,
    Commands,
}

impl Debug for Store {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("home", &self.shared.home)
            .field("numbers", &self.numbers)
            .field("published", &self.published)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The state of a root whose files are open.
    pub(crate) fn at_root(
        root: &Root,
        shared: Arc<Shared>,
        log: LogWriter,
        checkpoint: Checkpoint,
        options: Options,
    ) -> Self {
        let last = root.log.last.filter(|last| last.revision == root.revision);
        let numbers = Numbers {
            revision: root.revision,
            next_sub: last.map_or(Sub(0), |last| last.sub.next()),
            compacted: root.compacted,
            retained: root.retained,
        };
        let tree = Tree::at(root.state);
        let published = Arc::new(View {
            shared: Arc::clone(&shared),
            tree: tree.clone(),
            end: log.end(),
            revision: root.revision,
            compacted: root.compacted,
            retained: root.retained,
            swept: root.swept,
            dead_bytes: root.dead_bytes,
            position: root.applied,
            chain: root.chain,
        });
        Self {
            shared,
            options,
            log,
            tree,
            numbers,
            undo: Undo::default(),
            pending: Pending::Nothing,
            sweep: Sweep::new(root.swept, root.dead_bytes),
            reader: Reader::new(Arc::clone(&published)),
            published,
            checkpoint,
        }
    }

    /// A handle for reading, for any number of threads.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// The newest published state.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { view: Arc::clone(&self.published) }
    }

    /// Begins a command: the outcome of the Raft log's entry `index`.
    pub fn begin(&mut self, index: Index) -> Write<'_> {
        Write::begin(self, index)
    }

    /// Goes on with the command that was finished last, in its revision: a large command is
    /// applied in slices, with other work of the lane in between and nothing published.
    pub fn resume(&mut self, index: Index) -> Write<'_> {
        Write::resume(self, index)
    }

    /// Makes everything finished so far visible at once. `position` is the last entry applied,
    /// `chain` the hash after it; also called for entries that changed nothing.
    pub fn publish(&mut self, position: Position, chain: ChainHash) -> Snapshot {
        self.pending = Pending::Nothing;
        self.publish_view(Some(position), chain)
    }

    pub(crate) fn publish_view(
        &mut self,
        position: Option<Position>,
        chain: ChainHash,
    ) -> Snapshot {
        self.log.settle();
        let Numbers { revision, compacted, retained, .. } = self.numbers;
        let view = Arc::new(View {
            shared: Arc::clone(&self.shared),
            tree: self.tree.clone(),
            end: self.log.end(),
            revision,
            compacted,
            retained,
            swept: self.sweep.swept(),
            dead_bytes: self.sweep.dead_bytes(),
            position,
            chain,
        });
        self.published = Arc::clone(&view);
        self.reader.publish(Arc::clone(&view));
        Snapshot { view }
    }

    /// How full the dirty memory is.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        Pressure {
            dirty_bytes: self.tree.dirty_bytes() + self.log.memory_bytes(),
            budget: self.options.dirty_budget,
        }
    }

    /// Whether it is time for a checkpoint: the Raft log behind the last root is long, many pages
    /// are dirty, or something changed a while ago.
    ///
    /// The first one of a run (`none_yet`) comes after a 64th of the log: a process that is killed
    /// every few seconds never lives to see the other triggers, and would replay more each time.
    #[must_use]
    pub fn checkpoint_due(
        &self,
        log_bytes_behind_root: u64,
        since_last: Duration,
        none_yet: bool,
    ) -> bool {
        if !self.can_checkpoint() {
            return false;
        }
        let log_bytes = self.options.checkpoint_log_bytes / if none_yet { 64 } else { 1 };
        log_bytes_behind_root >= log_bytes
            || self.tree.dirty_bytes() >= self.options.dirty_budget / 4
            || since_last >= self.options.checkpoint_interval
    }

    pub(crate) fn look(&self) -> Look<'_> {
        let Shared { pages, log, .. } = &*self.shared;
        Look { tree: &self.tree, pages, log, pending: Some(&self.log), access: Access::Disk }
    }
}
