//! HTTP: from a connection to an answer, stage by stage.
//!
//! ```text
//!   TLS ─► what is it about? ─► who asks? ─► as whom? ─► may they? ─► page, document or resource
//!          (info)               (authentication, impersonation)      (pages, discovery, resource)
//! ```
//!
//! Invariant: nothing behind "may they?" runs for a request that was not allowed, whatever its
//! path; a path that is not known is asked about like any other.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod counts;
pub(crate) mod info;
mod listen;
pub(crate) mod negotiate;
mod options;
pub(crate) mod pages;
mod parts;
mod pipeline;
mod resource;
pub(crate) mod reviews;
mod table;
mod watch;

pub use listen::{Listener, PeerChain};
pub use pipeline::answer;
