//! The store on disk.

mod codec;
mod error;
mod identity;
mod log;
mod options;
mod query;
mod cache;
mod skeleton;
mod tree;
mod types;

pub use error::{Access, Damage, Fatal, OpenError, ReadError};
pub use identity::{Lineage, StoreId, StoreIdentity};
pub use log::{NoteKind, Record, RecordKind};
pub use options::Options;
pub use query::{
    ChainHash, Content, Finished, HistoryLimit, HistoryPage, KeyMeta, KeyValue, Pressure,
    RangeAnswer, RangeQuery, RecordsDigest, Written,
};
pub use skeleton::*;
pub use types::*;
