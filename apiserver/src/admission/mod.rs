//! What may be written, and what is added to it: upstream's admission plugins, in its order.
//!
//! ```text
//!   request ─► mutate   NamespaceLifecycle, LimitRanger, ServiceAccount, NodeRestriction,
//!                       TaintNodesByCondition, Priority, DefaultTolerationSeconds,
//!                       PodTopologyLabels
//!           ─► (the registry checks the object)
//!           ─► validate LimitRanger, ServiceAccount, Priority, ResourceQuota
//! ```
//!
//! Each plugin is one module with plain functions; what they need to know of other objects they
//! ask of a [`Lookup`].
//!
//! Invariant: every plugin looks at creations and at updates, or says why not; a rule that only
//! one of them knows is a hole.

use crate::auth::lookup::{Answer, Lookup};
use crate::auth::{Attributes, Decision, User};
use crate::object::{self, Object};
use crate::status::{Resource, Status};

mod amounts;
pub mod limit_ranger;
pub mod namespace_lifecycle;
pub mod node_restriction;
pub mod pod_resources;
pub mod priority;
pub mod quota;
pub mod service_account;
pub mod tolerations;
pub mod topology_labels;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Makes an object.
    Create,
    /// Changes one: an update, a patch, or an apply.
    Update,
    /// Deletes one.
    Delete,
    /// Opens a stream to one.
    Connect,
}

impl Operation {
    /// Its name in texts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// Whether a request shall leave anything behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DryRun {
    /// It shall only be tried.
    Only,
    /// It is meant.
    No,
}

/// A request as plugins see it.
pub struct Request<'a> {
    /// Who asks.
    pub user: &'a User,
    /// What for.
    pub operation: Operation,
    /// The API group.
    pub group: &'a str,
    /// The plural name.
    pub resource: &'a str,
    /// The part of it; empty for the thing itself.
    pub subresource: &'a str,
    /// The namespace; empty for objects that lie in none.
    pub namespace: &'a str,
    /// The name of the path, or of the object that is to be made; empty if it is yet to be made up.
    pub name: &'a str,
    /// What was sent (for a subresource with a kind of its own: that kind's object); `None` for
    /// deletions.
    pub object: Option<&'a mut Object>,
    /// What is stored; `None` for creations.
    pub old: Option<&'a Object>,
    /// Whether it is meant.
    pub dry_run: DryRun,
    /// The time in seconds since 1970.
    pub now: i64,
    /// Five random letters, for names that are made up.
    pub suffix: &'a str,
    /// Decides whether the user may do something else as well.
    pub authorise: &'a (dyn Fn(&Attributes) -> Decision + Send + Sync),
}

impl std::fmt::Debug for Request<'_> {
    /// Without the objects: they may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("user", &self.user.name)
            .field("operation", &self.operation)
            .field("resource", &self.resource)
            .field("subresource", &self.subresource)
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Request<'_> {
    /// Whether it is about this resource of the core group, or this part of it.
    fn is(&self, resource: &str, subresource: &str) -> bool {
        self.group.is_empty() && self.resource == resource && self.subresource == subresource
    }

    /// What was sent; empty if nothing was.
    fn sent(&self) -> &Object {
        static NOTHING: std::sync::LazyLock<Object> = std::sync::LazyLock::new(Object::new);
        self.object.as_deref().unwrap_or(&NOTHING)
    }

    /// What is stored; empty if nothing is.
    fn stored(&self) -> &Object {
        static NOTHING: std::sync::LazyLock<Object> = std::sync::LazyLock::new(Object::new);
        self.old.unwrap_or(&NOTHING)
    }

    /// 403 for a reason.
    fn forbidden(&self, why: &str) -> Box<Status> {
        let sent = self.sent();
        let generated = object::text(sent, &["metadata", "generateName"]);
        let name = [self.name, object::name(sent), generated]
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or("Unknown");
        let resource = Resource { group: self.group, name: self.resource };
        Box::new(Status::forbidden(resource, name, why))
    }
}

/// What follows from a request that may go on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Admitted {
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
    /// Quotas with their new use. They must be written together with the object, each only if it
    /// still has the resourceVersion that it has here; if one has not, admission is asked again.
    /// Empty for dry runs.
    pub quotas: Vec<Object>,
}

/// The plugins that an operator may leave out, by upstream's names; the others guard what the API
/// itself relies on.
pub const OPTIONAL: [&str; 9] = [
    "DefaultTolerationSeconds",
    "LimitRanger",
    "NamespaceLifecycle",
    "NodeRestriction",
    "PodTopologyLabels",
    "Priority",
    "ResourceQuota",
    "ServiceAccount",
    "TaintNodesByCondition",
];

/// Adds to the object what it does not say, and refuses what cannot be.
///
/// # Errors
///
/// What the client gets, in upstream's words.
pub async fn mutate(request: &mut Request<'_>, lookup: &dyn Lookup) -> Answer<()> {
    mutate_without(request, lookup, &[]).await
}

/// The same without some of the plugins.
///
/// # Errors
///
/// What the client gets, in upstream's words.
pub async fn mutate_without(
    request: &mut Request<'_>,
    lookup: &dyn Lookup,
    left_out: &[String],
) -> Answer<()> {
    let has = |plugin: &str| !left_out.iter().any(|name| name == plugin);
    if has("NamespaceLifecycle") {
        namespace_lifecycle::admit(request, lookup).await?;
    }
    if has("LimitRanger") {
        limit_ranger::mutate(request, lookup).await?;
    }
    if has("ServiceAccount") {
        service_account::mutate(request, lookup).await?;
    }
    if has("NodeRestriction") {
        node_restriction::admit(request, lookup).await?;
    }
    if has("TaintNodesByCondition") {
        tolerations::taint_new_nodes(request);
    }
    if has("Priority") {
        priority::mutate(request, lookup).await?;
    }
    if has("DefaultTolerationSeconds") {
        tolerations::add_default_seconds(request);
    }
    if has("PodTopologyLabels") {
        topology_labels::mutate(request, lookup).await?;
    }
    Ok(())
}

/// Refuses what must not be, once the object is as it would be stored.
///
/// # Errors
///
/// What the client gets, in upstream's words.
pub async fn validate(request: &Request<'_>, lookup: &dyn Lookup) -> Answer<Admitted> {
    validate_without(request, lookup, &[]).await
}

/// The same without some of the plugins.
///
/// # Errors
///
/// What the client gets, in upstream's words.
pub async fn validate_without(
    request: &Request<'_>,
    lookup: &dyn Lookup,
    left_out: &[String],
) -> Answer<Admitted> {
    let has = |plugin: &str| !left_out.iter().any(|name| name == plugin);
    if has("LimitRanger") {
        limit_ranger::validate(request, lookup).await?;
    }
    if has("ServiceAccount") {
        service_account::validate(request, lookup).await?;
    }
    if has("Priority") {
        priority::validate(request, lookup).await?;
    }
    let quotas = match has("ResourceQuota") {
        true => quota::validate(request, lookup).await?,
        false => Vec::new(),
    };
    Ok(Admitted { warnings: Vec::new(), quotas })
}

/// Both phases, for objects that nothing else checks in between.
///
/// # Errors
///
/// What the client gets, in upstream's words.
pub async fn admit(request: &mut Request<'_>, lookup: &dyn Lookup) -> Answer<Admitted> {
    mutate(request, lookup).await?;
    validate(request, lookup).await
}
