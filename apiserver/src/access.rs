//! Who may, kept in memory: roles, bindings, and which node runs which pods.

use std::sync::{PoisonError, RwLock};

use crate::auth::node::NodeGraph;
use crate::auth::rbac::Policy;
use crate::auth::{self, Attributes, Decision, User};
use crate::server::Authorisation;

/// What decides who may. Changed by [`crate::housekeeping`] only, which follows the store.
#[derive(Debug, Default)]
pub(crate) struct Access {
    authorisation: Authorisation,
    policy: RwLock<Policy>,
    nodes: RwLock<NodeGraph>,
}

impl Access {
    pub(crate) fn of(authorisation: Authorisation) -> Self {
        Self { authorisation, ..Self::default() }
    }

    pub(crate) fn authorise(&self, user: &User, asked: &Attributes) -> Decision {
        if self.authorisation == Authorisation::AlwaysAllow {
            return Decision::Allowed(String::new());
        }
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        let policy = self.policy.read().unwrap_or_else(PoisonError::into_inner);
        auth::authorise(user, asked, &nodes, &policy)
    }

    /// Looks at the roles; nothing that waits may happen inside.
    pub(crate) fn with_policy<T>(&self, look: impl FnOnce(&Policy) -> T) -> T {
        look(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change_policy(&self, change: impl FnOnce(&mut Policy)) {
        change(&mut self.policy.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn change_nodes(&self, change: impl FnOnce(&mut NodeGraph)) {
        change(&mut self.nodes.write().unwrap_or_else(PoisonError::into_inner));
    }
}
