//! The Kubernetes side of the binary: an API server on the member in this process, or on an etcd
//! elsewhere; and the agents.
//!
//! ```text
//!   kstore up, server ──► LocalStorage (the member) ─┐
//!                                                    ├─► ApiServer ──► listener
//!   kstore apiserver  ──► EtcdStorage (any etcd) ────┘      │
//!                                              files, shared (keys, certificates, kubeconfigs)
//! ```

mod agents;
mod alone;
mod files;
mod fixed_tokens;
mod flags;
mod local;
mod serve;
mod shared;

pub(crate) use agents::{Agent, Agents, run_alone};
pub(crate) use alone::{Program, run_api_server};
pub(crate) use local::LocalStorage;
pub(crate) use serve::{ApiConfig, ApiHost, ApiServer, OwnKeys};
