//! Who asks, and whether they may.
//!
//! ```text
//!   certificate, token ─► authentication ─► User ─► impersonation ─► User
//!                                                                     │
//!   Attributes (what is asked) ─► authorisation: system:masters, node, rbac ─► Decision
//! ```
//!
//! Invariant: nobody who is not known is anything but `system:anonymous`; a token that is wrong is
//! never anonymous but refused.
//!
//! Invariant: what no rule allows is refused; there are no rules that forbid.

use crate::status::{Resource, Status};

pub mod authentication;
pub mod escalation;
pub mod impersonation;
pub mod lookup;
pub mod node;
pub mod rbac;
pub mod review;
pub mod rules;
pub mod text;
pub mod token;
pub mod token_request;

/// The group of those who may do anything.
pub const MASTERS: &str = "system:masters";
/// The group of all who said who they are.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of all who did not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of all who did not.
pub const ANONYMOUS: &str = "system:anonymous";

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The name, such as `system:serviceaccount:default:builder`.
    pub name: String,
    /// A unique id; may be empty.
    pub uid: String,
    /// The groups, such as `system:authenticated`.
    pub groups: Vec<String>,
    /// More about them, by key.
    pub extra: Vec<(String, Vec<String>)>,
}

impl User {
    /// Whether they belong to a group.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// What is known about them under a key.
    #[must_use]
    pub fn extra(&self, key: &str) -> &[String] {
        self.extra.iter().find(|(name, _)| name == key).map_or(&[], |(_, values)| values)
    }

    /// Namespace and name of the service account that they are.
    #[must_use]
    pub fn service_account(&self) -> Option<(&str, &str)> {
        split_service_account(&self.name)
    }
}

/// The name of a service account as a user.
#[must_use]
pub fn service_account_user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// Namespace and name of the service account that a user's name means.
#[must_use]
pub fn split_service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let plain = |text: &str, also: &[u8]| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || also.contains(&b))
    };
    (plain(namespace, b"-") && plain(name, b"-.")).then_some((namespace, name))
}

/// What somebody wants to do, as authorisers see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or the
    /// lower-case method for paths that are no resource.
    pub verb: String,
    /// Whether it is about a resource; else `path` counts.
    pub is_resource: bool,
    /// The API group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The plural name.
    pub resource: String,
    /// The part of it; empty for the thing itself.
    pub subresource: String,
    /// The namespace; empty for all or none.
    pub namespace: String,
    /// The object's name; empty for all.
    pub name: String,
    /// The path of the request.
    pub path: String,
    /// What a field selector asks for with `=` or `==`: field and value. Only reads of many
    /// objects have one, and only the node authoriser looks.
    pub fields: Vec<(String, String)>,
}

impl Attributes {
    /// Resource and subresource as rules write them: `pods`, `pods/log`.
    #[must_use]
    pub fn combined_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// What an authoriser says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes; and by what, for people.
    Allowed(String),
    /// Nothing allows it; and what else there is to say.
    NoOpinion(String),
}

impl Decision {
    /// Whether it is a yes.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }

    /// What it says beyond yes or no; may be empty.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Allowed(reason) | Self::NoOpinion(reason) => reason,
        }
    }
}

/// Decides by everything that there is: masters first, then the node authoriser, then RBAC.
#[must_use]
pub fn authorise(
    user: &User,
    asked: &Attributes,
    nodes: &node::NodeGraph,
    policy: &rbac::Policy,
) -> Decision {
    if user.is_in(MASTERS) {
        return Decision::Allowed(String::new());
    }
    let first = match nodes.authorise(user, asked) {
        Decision::NoOpinion(reason) => reason,
        allowed @ Decision::Allowed(_) => return allowed,
    };
    match policy.authorise(user, asked) {
        Decision::NoOpinion(second) if !first.is_empty() && !second.is_empty() => {
            Decision::NoOpinion(format!("{first}\n{second}"))
        }
        Decision::NoOpinion(second) if second.is_empty() => Decision::NoOpinion(first),
        decision => decision,
    }
}

/// The answer to somebody who may not.
#[must_use]
pub fn forbidden(user: &User, asked: &Attributes, reason: &str) -> Status {
    let mut why = text::escape_html(&cannot(user, asked));
    if !reason.is_empty() {
        why = format!("{why}: {reason}");
    }
    let resource = Resource { group: &asked.group, name: &asked.resource };
    Status::forbidden(resource, &asked.name, &why)
}

fn cannot(user: &User, asked: &Attributes) -> String {
    let (name, verb) = (text::quote(&user.name), &asked.verb);
    if !asked.is_resource {
        return format!("User {name} cannot {verb} path {}", text::quote(&asked.path));
    }
    let resource = text::quote(&asked.combined_resource());
    let group = text::quote(&asked.group);
    let place = if asked.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {}", text::quote(&asked.namespace))
    };
    format!("User {name} cannot {verb} resource {resource} in API group {group} {place}")
}
