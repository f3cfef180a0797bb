//! One member of a cluster: the write-ahead log, consensus, the apply lane, leases' time, peers.
//!
//! ```text
//!                     Member (a handle: propose, read, watch, status)
//!                        │
//!      ┌─────────┬───────┴───────┬──────────────┬─────────────┐
//!   Pending   Barrier         engine         Applier        Lessor
//!   (who      (read        (openraft, the   (apply lane:   (the leader's
//!   waits)     index)       one module      machine, view,  lease clock)
//!                           that names it)   hub)
//!                         │      │     │
//!                        wal   peers   store
//! ```
//!
//! Nothing here names a runtime, a socket or a clock: [`start`] takes them all as parameters, so
//! that the simulator runs members as they are. Only `peer::tonic_net` and `peer::talk`, the real
//! network, know tokio and tonic.
//!
//! Invariant: a write is acknowledged only after a quorum has synced it and this member has
//! applied and published it.

mod applied;
mod apply;
mod barrier;
pub mod bootstrap;
mod checkpointer;
mod engine;
mod event;
mod forward;
mod hearing;
mod housekeeping;
mod identity;
mod image;
mod incoming;
mod inspect;
mod keeping;
mod lessor;
mod member;
mod outcome;
pub mod peer;
mod pending;
pub mod planted;
mod serve;
mod start;
mod tasks;
mod types;
pub mod wal;
mod watch_stream;

pub use engine::{PeerAddress, Timing};
pub use event::Event;
pub use image::ImageStream;
pub use inspect::{Inspected, inspect};
pub use kstore_watch::SubscriptionId;
pub use member::Member;
pub use outcome::Outcome;
pub use start::{HostParts, StartError, StartOptions, start};
pub use tasks::BoxFuture;
pub use types::{
    ClusterId, LeaseTimes, MemberId, MemberInfo, MoveLeaderError, ReadFailure, Role, Status,
    Unavailable,
};
pub use watch_stream::{WatchItem, WatchStream};

/// The runtimes that a member can be started on.
pub mod runtime {
    pub use openraft::AsyncRuntime;
    pub use openraft::TokioRuntime;
}
