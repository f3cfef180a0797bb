//! Kubernetes' REST API: kubectl, client-go and helm on one side, a store of keys on the other.
//!
//! ```text
//!   http ─► authentication ─► authorisation ─► admission ─► registry ─► trait Storage
//!                                                             │  ▲
//!                              kinds (rows)  schema  patch ───┘  └── feed
//! ```
//!
//! Objects are JSON trees. What a kind is stands in one row of a table ([`kinds`]); what its fields
//! are stands in another ([`schema`]), so that code which knows a single kind is rare and plain.

mod access;
pub mod admission;
mod aggregation;
pub mod auth;
pub mod bootstrap;
mod discovery;
pub mod field;
pub mod housekeeping;
pub mod http;
pub mod kinds;
pub mod object;
mod openapi;
pub mod patch;
pub mod pki;
pub mod pod_refs;
mod registry;
pub mod schema;
pub mod selector;
pub mod server;
pub mod status;
pub mod storage;
