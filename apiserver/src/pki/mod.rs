//! Keys and certificates: who the server is, and what its people and agents prove themselves with.
//!
//! ```text
//!   Authority ─► serving certificate (names and addresses of the server)
//!       │    └─► client certificates (name = CN, group = O)   ─► kubeconfig
//!       └ create, or load what was made before
//!   SigningKey ─► tokens of service accounts; PublicKey checks them (several, for rotation)
//! ```
//!
//! Everything here is a function of bytes and of the time that the caller names; files are the
//! caller's. Randomness is ring's.
//!
//! Invariant: a private key is shown by no `Debug`, no `Display` and no error.

use std::fmt;

pub mod authority;
pub mod certificate;
mod der;
mod issue;
pub mod kubeconfig;
pub mod pem;
pub mod signing;

pub use authority::{Authority, Pair, SubjectNames};
pub use certificate::Certificate;
pub use signing::{PublicKey, SigningKey};

/// Why a key or a certificate is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PkiError(pub String);

impl PkiError {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for PkiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PkiError {}
