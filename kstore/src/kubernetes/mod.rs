//! The Kubernetes side of the binary: an API server on the member in this process.
//!
//! ```text
//!   kstore up ──► server, with an API server ──► files (keys, certificates, kubeconfig)
//!                       │                          │
//!                       ▼                          ▼
//!            local (Storage on the Member) ──► kstore_apiserver::Server ──► listener
//! ```

mod agents;
mod files;
mod local;
mod serve;

pub(crate) use agents::{Agent, Agents, run_alone};
pub(crate) use local::LocalStorage;
pub(crate) use serve::{ApiConfig, ApiHost, ApiServer};
