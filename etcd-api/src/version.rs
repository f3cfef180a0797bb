//! Which etcd this program answers like. Clients choose features by these numbers.

/// Said in Status, in `/version` and with each part of a snapshot. It is the first line of etcd
/// that has RangeStream, which is served here.
pub(crate) const SERVER: &str = "3.7.1";

/// The version that all members of the cluster speak.
pub(crate) const CLUSTER: &str = "3.7.0";

/// The version of the stored data, as etcd counts it.
pub(crate) const STORAGE: &str = "3.7.0";
