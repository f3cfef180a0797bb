//! Checkpoints: when the store is made durable up to some entry, and the log's head may go.
//!
//! ```text
//!   prepare (apply lane) ──► wait until the log has synced that entry ──► write (its own lane)
//!        ──► finish (apply lane) ──► tell the engine ──► purge the log up to the root before
//! ```
//!
//! Invariant: a root is written only after the local log has synced every entry that it covers,
//! so that a store is never ahead of a log whose tail was lost.
//!
//! Invariant: the log is purged at most up to the second newest durable root, so that falling back
//! to that root finds every entry since.

use std::sync::Arc;
use std::time::Duration;

use kstore_host::Lane;
use kstore_mvcc::{CheckpointDone, DurableRoots, Index};
use tokio::sync::{Mutex, oneshot};

use crate::member::Core;

/// Entries of the log that are kept behind the newest one, for followers that are a little behind.
pub(crate) const KEPT_ENTRIES: u64 = 10_000;

/// Writes checkpoints, one at a time.
pub(crate) struct Checkpointer {
    lane: Arc<dyn Lane>,
    /// Held while one is under way.
    last: Mutex<Last>,
    /// How many entries stay behind the newest one.
    pub(crate) kept_entries: u64,
}

/// The newest checkpoint of this run of the member.
struct Last {
    /// When it was written, or when the member started.
    at: Duration,
    /// Whether there was none yet.
    none_yet: bool,
}

impl Checkpointer {
    pub(crate) fn new(lane: Arc<dyn Lane>, now: Duration, kept_entries: u64) -> Self {
        Self { lane, last: Mutex::new(Last { at: now, none_yet: true }), kept_entries }
    }
}

impl Last {
    fn written(&mut self, now: Duration) {
        *self = Self { at: now, none_yet: false };
    }
}

/// Writes a checkpoint if one is due.
pub(crate) async fn checkpoint_if_due(core: &Arc<Core>) -> Result<(), String> {
    let durable = core.applier.durable().await.map_err(|e| e.to_string())?;
    let root = durable.newest.map_or(Index(0), |position| position.index);
    let log_bytes = core.wal.bytes_behind(root);
    let last = core.checkpointer.last.lock().await;
    let since = core.clock.monotonic().saturating_sub(last.at);
    let none_yet = last.none_yet;
    drop(last);
    let due = core.applier.checkpoint_due(log_bytes, since, none_yet).await;
    if due.map_err(|e| e.to_string())? {
        return checkpoint(core).await;
    }
    Ok(())
}

/// Writes a checkpoint of the newest view, if anything has changed since the last one.
pub(crate) async fn checkpoint(core: &Arc<Core>) -> Result<(), String> {
    let mut last = core.checkpointer.last.lock().await;
    let held = core.applier.hold_store().await;
    let job = core.applier.prepare_checkpoint().await.map_err(|e| e.to_string())?;
    let Some(job) = job else {
        last.written(core.clock.monotonic());
        return Ok(());
    };
    let (flushed, is_flushed) = oneshot::channel();
    core.wal.when_flushed(Box::new(move |result| drop(flushed.send(result))));
    let flushed = is_flushed.await.map_err(|_| "the write-ahead log has ended".to_owned())?;
    flushed.map_err(|e| e.to_string())?;
    let (sender, receiver) = oneshot::channel();
    core.checkpointer.lane.push(Box::new(move || drop(sender.send(job.run()))));
    let done: CheckpointDone = receiver
        .await
        .map_err(|_| "the checkpoint lane has ended".to_owned())?
        .map_err(|e| e.to_string())?;
    let durable = core.applier.finish_checkpoint(done).await.map_err(|e| e.to_string())?;
    last.written(core.clock.monotonic());
    drop((held, last));
    purge(core, durable).await;
    Ok(())
}

/// Drops the head of the log that neither durable root needs, and no follower that is near.
async fn purge(core: &Arc<Core>, durable: DurableRoots) {
    core.engine.note_checkpoint().await;
    let Some(second) = durable.second_newest else { return };
    let state = core.engine.state();
    let last = state.last_index.map_or(0, |index| index.0);
    let near = last.saturating_sub(core.checkpointer.kept_entries);
    let upto = second.index.0.min(near);
    let purged = state.purged.map_or(0, |index| index.0);
    if upto > purged {
        core.engine.purge(Index(upto)).await;
    }
}
