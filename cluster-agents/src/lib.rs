//! The agents of a cluster as plain clients of its REST API: scheduler, controllers, hollow nodes.
//!
//! All of them are one loop (`engine`) over one picture of the cluster (`world`), in which each
//! agent is two pure functions: which keys a change concerns, and what to do about a key.
//!
//! ```text
//!   watch ──► world ──► queue ──► decide(&World, key, now) ──► writes by REST ──► world
//! ```
//!
//! Nothing here knows how the server stores anything; any server of the Kubernetes API will do.
//!
//! Invariant: a decision reads the world and the time, and nothing else; all effects are values
//! (`action`) that `writer` carries out.

mod action;
mod agents;
mod deployment;
mod discovery;
mod empty;
mod endpoints;
mod endpointslice;
mod engine;
mod garbage;
mod graph;
mod hollow;
mod informer;
mod kinds;
mod labels;
mod leader;
mod namespace;
mod node_lifecycle;
mod pod_garbage;
mod pods;
mod quantity;
mod queue;
mod quota;
mod recorder;
mod replicaset;
mod rollout;
mod root_ca;
mod scheduler;
mod serviceaccount;
mod table;
#[cfg(test)]
mod testing;
mod world;
mod writer;

pub use agents::{
    Agents, ControllerOptions, Error, Leadership, run, run_controllers, run_hollow, run_scheduler,
};
pub use hollow::HollowOptions;
pub use root_ca::root_ca_of;
