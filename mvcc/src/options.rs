//! The sizes and triggers of a store, all in one place.

use std::time::Duration;

use crate::PageOptions;

/// Sizes and triggers. The defaults are production's; tests and the simulator take
/// [`Options::tiny`], so that rare paths become common.
#[derive(Debug, Clone)]
pub struct Options {
    /// The size of the first segment of the revision log; each new one doubles it.
    pub segment_first: u64,
    /// Where the doubling ends.
    pub segment_max: u64,
    /// Records that are not yet written to their segment are written when they pass this many
    /// bytes, so this bounds the memory they take (plus one command).
    pub tail_bytes: usize,
    /// Bytes of the newest records that stay in memory after they were written, so that watchers
    /// and readers of recent changes never wait for the disk. The oldest leave first.
    pub recent_bytes: usize,
    /// Bytes of older records kept in memory after they were read. The least recently used leave.
    pub record_cache_bytes: usize,
    /// Bytes of blocks of segment footers kept in memory.
    pub footer_cache_bytes: usize,
    /// How many log segments are kept open for reading.
    pub open_segments: usize,

    /// The sizes of tree pages and of the files that they lie in.
    pub pages: PageOptions,
    /// Bytes of tree pages that may be dirty: [`crate::Store::pressure`] reports against this,
    /// and a quarter of it is the trigger of a checkpoint.
    pub dirty_budget: u64,
    /// A checkpoint is due when the Raft log behind the last root has this many bytes.
    pub checkpoint_log_bytes: u64,
    /// A checkpoint is due when this long passed since the last one and something changed.
    pub checkpoint_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_first: 1 << 20,
            segment_max: 64 << 20,
            tail_bytes: 256 << 10,
            recent_bytes: 16 << 20,
            record_cache_bytes: 64 << 20,
            footer_cache_bytes: 16 << 20,
            open_segments: 256,
            pages: PageOptions::default(),
            dirty_budget: 512 << 20,
            checkpoint_log_bytes: 256 << 20,
            checkpoint_interval: Duration::from_secs(60),
        }
    }
}

impl Options {
    /// So small that segments roll, pages split and checkpoints run all the time.
    #[must_use]
    pub fn tiny() -> Self {
        Self {
            segment_first: 16 << 10,
            segment_max: 64 << 10,
            tail_bytes: 2 << 10,
            recent_bytes: 32 << 10,
            record_cache_bytes: 32 << 10,
            footer_cache_bytes: 16 << 10,
            open_segments: 4,
            pages: PageOptions::tiny(),
            dirty_budget: 256 << 10,
            checkpoint_log_bytes: 128 << 10,
            checkpoint_interval: Duration::from_secs(5),
        }
    }
}
