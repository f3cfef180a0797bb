//! Looking at what a stopped member keeps beside its store: who it is, and its log. Nothing is
//! changed.

use std::path::Path;

use kstore_host::Disk;
use kstore_mvcc::Index;

use crate::identity::Identity;
use crate::start::StartError;
use crate::types::{ClusterId, MemberId};
use crate::wal::{self, Recovered};

/// What [`inspect`] found.
#[derive(Debug)]
pub struct Inspected {
    /// Who the member is; `None` in a directory that no member was started on yet, or why it
    /// cannot be read.
    pub identity: Result<Option<(ClusterId, MemberId)>, StartError>,
    /// What the log holds; `None` if there is none yet, or why no member starts with it.
    pub log: Result<Option<Recovered>, wal::OpenError>,
}

/// Reads all of it in a data directory that no process serves: the caller holds its lock.
/// `applied` is the last entry that the store's newest root applied.
pub fn inspect(disk: &dyn Disk, data_dir: &Path, applied: Option<Index>) -> Inspected {
    let identity = Identity::read(disk, data_dir);
    Inspected {
        identity: identity.map(|found| found.map(|found| (found.cluster, found.member))),
        log: wal::inspect(disk, &data_dir.join("wal"), applied),
    }
}
