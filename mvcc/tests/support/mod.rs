//! What the tests of the store share: a naive model of it, and random commands for both.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod model;
pub(crate) mod script;

use std::path::Path;
use std::sync::Arc;

use kstore_host::Disk;
use kstore_mvcc::{
    ChainHash, Index, Lineage, OpenError, Opening, Options, Position, Store, StoreId,
    StoreIdentity, Term,
};
use kstore_testkit::SimDisk;

pub(crate) const DATA: &str = "/data";

pub(crate) fn identity(seed: u64) -> StoreIdentity {
    StoreIdentity { lineage: Lineage(7), store: StoreId(u128::from(seed) << 64 | 0x5eed) }
}

/// A disk with a data directory, as whoever installs a member makes it.
pub(crate) fn new_disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_dir(Path::new(DATA)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

pub(crate) fn open(
    disk: &SimDisk,
    options: &Options,
    seed: u64,
) -> Result<(Store, Opening), OpenError> {
    let disk = Arc::new(disk.clone());
    Store::open(disk, Path::new(DATA), options.clone(), identity(seed))
}

pub(crate) fn position(index: usize) -> Position {
    Position { term: Term(1), index: Index(index as u64) }
}

/// A hash that tells positions apart; the store only keeps it.
pub(crate) fn chain(index: usize) -> ChainHash {
    let mut hash = [3; 32];
    hash[..8].copy_from_slice(&(index as u64).to_le_bytes());
    ChainHash(hash)
}

/// How many entries of the script the store has applied, by its position.
pub(crate) fn applied(position: Option<Position>) -> usize {
    position.map_or(0, |p| usize::try_from(p.index.0).unwrap() + 1)
}

/// Runs a whole checkpoint here and now.
pub(crate) fn checkpoint(store: &mut Store) -> Result<bool, kstore_mvcc::Fatal> {
    match store.prepare_checkpoint()? {
        None => Ok(false),
        Some(job) => {
            let done = job.run()?;
            store.finish_checkpoint(done)?;
            Ok(true)
        }
    }
}
