//! Kubernetes' REST API: kubectl, client-go and helm on one side, a store of keys on the other.
//!
//! ```text
//!   http ─► authentication ─► authorisation ─► admission ─► registry ─► trait Storage
//!                                                             │  ▲
//!                              kinds (rows)  schema  patch ───┘  └── feed (watches)
//! ```
//!
//! Objects are JSON trees. What a kind is stands in one row of a table ([`kinds`]); what its fields
//! are stands in another ([`schema`]), so that code which knows a single kind is rare and plain.

pub mod admission;
pub mod auth;
pub mod field;
pub mod kinds;
pub mod object;
pub mod patch;
pub mod schema;
pub mod status;
pub mod storage;
