//! The API server: what it is made of, and what it keeps in memory.
//!
//! It keeps no objects, but what decides who may: roles, bindings, and which node runs which pods.
//! Both are read at the start and followed by watches ([`crate::housekeeping`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kstore_host::{Clock, Random};
use tokio::sync::Notify;

use crate::access::Access;
use crate::auth::authentication::{Anonymous, Tokens};
use crate::http::counts::Counts;
use crate::registry::{EventLeases, Feeds, Registry};
use crate::storage::Storage;

/// What an API server is made of.
pub struct Parts {
    /// The store.
    pub storage: Arc<dyn Storage>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// Makes and checks tokens of service accounts.
    pub tokens: Tokens,
    /// Whether strangers are somebody.
    pub anonymous: Anonymous,
    /// The addresses of services, such as `10.96.0.0/12`.
    pub service_network: String,
    /// Where other machines reach this server: address and port.
    pub advertised: (std::net::Ipv4Addr, u16),
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("advertised", &self.advertised).finish_non_exhaustive()
    }
}

/// What an operator may relax.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Who may do what.
    pub authorisation: Authorisation,
    /// The admission plugins that are left out, of [`crate::admission::OPTIONAL`].
    pub left_out: Vec<String>,
}

/// Who may do what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Authorisation {
    /// What roles and nodes' work allow.
    #[default]
    ByRules,
    /// Everybody may everything.
    AlwaysAllow,
}

/// An API server.
pub struct Server {
    pub(crate) registry: Arc<Registry>,
    pub(crate) tokens: Tokens,
    pub(crate) anonymous: Anonymous,
    pub(crate) advertised: (std::net::Ipv4Addr, u16),
    pub(crate) access: Arc<Access>,
    pub(crate) ready: AtomicBool,
    pub(crate) requests: Requests,
    /// A notice for every cluster role that changes.
    pub(crate) roles_changed: Notify,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("advertised", &self.advertised).finish_non_exhaustive()
    }
}

/// How many requests there were and are.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pub(crate) answered: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) by_resource: Counts,
    /// Reads under way, and writes under way.
    pub(crate) reading: AtomicU64,
    pub(crate) writing: AtomicU64,
    pub(crate) watching: AtomicU64,
}

impl Server {
    /// Puts a server together. It answers once [`crate::housekeeping`] has read what it needs.
    ///
    /// # Errors
    /// One line if the parts do not fit together.
    pub fn new(parts: Parts) -> Result<Arc<Self>, String> {
        Self::with_rules(parts, Rules::default())
    }

    /// The same with fewer rules.
    ///
    /// # Errors
    /// One line if the parts do not fit together.
    pub fn with_rules(parts: Parts, rules: Rules) -> Result<Arc<Self>, String> {
        let network = parts.service_network.parse()?;
        let access = Arc::new(Access::of(rules.authorisation));
        let registry = Registry {
            access: Arc::clone(&access),
            storage: parts.storage,
            clock: parts.clock,
            random: parts.random,
            network,
            event_leases: EventLeases::default(),
            left_out: rules.left_out,
            feeds: Feeds::default(),
        };
        Ok(Arc::new(Self {
            registry: Arc::new(registry),
            tokens: parts.tokens,
            anonymous: parts.anonymous,
            advertised: parts.advertised,
            access,
            ready: AtomicBool::new(false),
            requests: Requests::default(),
            roles_changed: Notify::new(),
        }))
    }

    /// Whether it has read what it needs.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}
