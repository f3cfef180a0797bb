//! The random numbers by which files and directories know each other.

use std::fmt::{Display, Formatter};

/// The history that a file belongs to. Images, Raft snapshots and restores keep it, so that a
/// file of another member of the same cluster is valid here, and one of a stranger is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lineage(pub u128);

/// One store directory. It seeds the checksums of the root file, so that a root copied there
/// from another directory is not taken for one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreId(pub u128);

/// What a new store is given; both are random numbers drawn by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreIdentity {
    /// Used if the directory is new; an existing store keeps its own. Members of one cluster
    /// should start with the same lineage (for example derived from the cluster's id).
    pub lineage: Lineage,
    /// Used for a home that this call creates.
    pub store: StoreId,
}

impl Display for Lineage {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Display for StoreId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
