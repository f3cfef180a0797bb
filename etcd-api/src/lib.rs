//! etcd's client API on a member: gRPC services, and the pages beside them, on one port.
//!
//! ```text
//!   Listener ─(TCP, TLS, HTTP/1 and 2)─► Door ─┬─► kv, lease, watch, cluster, maintenance, auth,
//!                                              │     health             requests ─► commands
//!                                              └─► pages (health, version, metrics)
//!                                                         │
//!                        error (codes and texts) ◄── Api ─┴─► raft::Member: propose, read, watch
//! ```
//!
//! Requests are checked here as far as that needs no state, and turned into commands; replies are
//! turned into answers. What a command does is the machine's to know; who orders it, the member's.
//! So the services are thin, and what is worth reading is [`watch`] (one stream, many watches, one
//! order) and [`error`] (what clients recognise errors by).
//!
//! Invariant: byte strings of a request are shared, not copied, from the socket to the proposal,
//! and those of the store from a view to the answer's encoder.
//!
//! Invariant: nothing here waits for a disk or holds a thread: reads that may be long or cold are
//! jobs of the member.
//!
//! Deliberately missing for now: users and roles, changes of membership, the JSON gateway,
//! compressed messages.

mod api;
mod auth;
mod cluster;
mod convert;
mod door;
mod error;
mod health;
mod histogram;
mod kv;
mod lease;
mod listen;
mod maintenance;
mod methods;
mod metrics;
mod pages;
mod pulse;
mod range_stream;
mod settings;
mod tls;
mod version;
mod watch;

pub use api::Api;
pub use door::Door;
pub use histogram::{Histogram, SyncTimes};
pub use listen::{Listener, Serves};
pub use settings::Settings;
pub use tls::{Tls, TlsFiles};
