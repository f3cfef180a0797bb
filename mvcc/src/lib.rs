//! The store on disk: every key at every revision, the history of changes, and images of both.
//!
//! ```text
//!            commands                                             reads
//!               |                                                   |
//!   Store -> Write --+--> revision log   values, history <----- Snapshot (any number,
//!               |    '--> state tree     key x revision  <-----'   of any published state)
//!            publish
//!               |
//!      CheckpointJob --> root file       "everything up to here is durable"
//!               |
//!             Image  --> stream, directory --> another member, a backup
//! ```
//!
//! Semantics are etcd's: one global revision, versions per key, reads at any revision that is not
//! compacted, transactions whose changes share a revision and are told apart by a sub. The tree
//! knows for each key and revision everything but the value; the log holds each value once, in
//! the order of revisions, and so is the watch history too. The tree names a record by its id
//! (revision, sub), never by where it lies.
//!
//! The store is no source of truth about what was acknowledged: that is the Raft log. The store
//! holds the outcome of the log up to some entry, as of the last *checkpoint*; after a crash the
//! layer above opens it, asks for that entry's position and applies the rest again. Hence nothing
//! here is synced but by a checkpoint, and recovery never looks at what lies behind a root.
//!
//! Everything on disk is append-only but for the slots of the root file; `docs/formats/` draws
//! all bytes.
//!
//! Invariant: a state is visible (published) or durable (in a root) only as a whole: with all
//! effects of the entries up to its position, and none of later ones.
//! Invariant: bytes that fail their checksum are never answered ([`Damage`]).
//! Invariant: the same entries give the same records, ids and digests on every member. Layout,
//! sweeping and checkpoints may differ.
//!
//! Deliberately absent: threads, clocks, chance (they come in as arguments or jobs); a second
//! copy of values in the tree; repair (it needs peers); giving file space back, which is to come.

mod cache;
mod catalogue;
mod checkpoint;
mod codec;
mod error;
mod history;
mod home;
mod identity;
mod image;
mod keys;
mod log;
mod look;
mod options;
pub mod planted;
mod query;
mod recover;
mod root;
mod snapshot;
mod store;
mod sweep;
mod tree;
mod types;
mod verify;
mod write;

pub use checkpoint::{CheckpointDone, CheckpointJob};
pub use error::{Access, Damage, Fatal, OpenError, ReadError};
pub use identity::{Lineage, StoreId, StoreIdentity};
pub use image::{
    Image, ImageError, ImageInfo, ImageProgress, ImageReader, ImageReceiver, Installed,
    ReceivedImage, Restart, install,
};
pub use keys::Table;
pub use log::{NoteKind, Record, RecordKind};
pub use options::Options;
pub use query::{
    ChainHash, Content, Finished, HistoryLimit, HistoryPage, KeyMeta, KeyValue, Pressure,
    RangeAnswer, RangeQuery, RecordsDigest, Written,
};
pub use snapshot::{Reader, Snapshot, TableRow};
pub use store::{DurableRoots, Opening, Store};
pub use sweep::SweepStep;
pub use tree::PageOptions;
pub use types::*;
pub use verify::{VerifyReport, verify};
pub use write::Write;
