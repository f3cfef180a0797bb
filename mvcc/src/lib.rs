//! The store on disk.

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
mod query;
mod recover;
mod root;
mod snapshot;
mod store;
mod sweep;
mod tree;
mod types;
mod write;

pub use checkpoint::{CheckpointDone, CheckpointJob};
pub use error::{Access, Damage, Fatal, OpenError, ReadError};
pub use identity::{Lineage, StoreId, StoreIdentity};
pub use image::{
    Image, ImageError, ImageInfo, ImageReader, ImageReceiver, Installed, ReceivedImage, Restart,
    install,
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
pub use write::Write;
