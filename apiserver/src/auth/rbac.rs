//! Role-based access control: roles and bindings as they stand, and what follows from them.
//!
//! ```text
//!   watches ─► Policy::apply ─► cluster     ┐ roles by name,
//!                               namespaces  ┘ bindings by subject ─► authorise, rules_of
//! ```
//!
//! A decision looks only at the bindings of the user and of its groups, never at all bindings.
//!
//! Invariant: the index of subjects names exactly the bindings that are there, under exactly the
//! subjects that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::rules::Rule;
use super::text::{aggregate, quote};
use super::{Attributes, Decision, User, service_account_user};
use crate::object::{self, Object};

/// The API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// The four kinds that the policy consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKind {
    /// Rules for a namespace.
    Role,
    /// Rules for the cluster, or for any namespace that a binding names.
    ClusterRole,
    /// Who has a role in a namespace.
    RoleBinding,
    /// Who has a role in the cluster.
    ClusterRoleBinding,
}

impl PolicyKind {
    /// The kind of a resource of [`GROUP`].
    #[must_use]
    pub fn of_resource(resource: &str) -> Option<Self> {
        Some(match resource {
            "roles" => Self::Role,
            "clusterroles" => Self::ClusterRole,
            "rolebindings" => Self::RoleBinding,
            "clusterrolebindings" => Self::ClusterRoleBinding,
            _ => return None,
        })
    }
}

/// Whom a binding names. Service accounts are users with a name of a certain form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    User(String),
    Group(String),
}

/// The role that a binding gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl RoleRef {
    /// Reads it from a binding.
    #[must_use]
    pub fn read(binding: &Object) -> Self {
        let text = |name| object::text(binding, &["roleRef", name]).to_owned();
        Self { kind: text("kind"), name: text("name") }
    }
}

#[derive(Debug, Clone)]
struct Binding {
    role: RoleRef,
    /// As the binding names them, with how a message describes each.
    subjects: Vec<(Subject, String)>,
}

/// What stands in one namespace, or in the cluster.
#[derive(Debug, Clone, Default)]
struct Scope {
    /// The rules of roles, by name.
    roles: BTreeMap<String, Arc<[Rule]>>,
    bindings: BTreeMap<String, Binding>,
    /// The names of the bindings that name a user, or a group.
    users: Index,
    groups: Index,
}

/// Names of bindings by whom they name.
type Index = BTreeMap<String, BTreeSet<String>>;

impl Scope {
    fn bind(&mut self, name: &str, binding: Binding) {
        for (subject, _) in &binding.subjects {
            let (index, who) = match subject {
                Subject::User(who) => (&mut self.users, who),
                Subject::Group(who) => (&mut self.groups, who),
            };
            index.entry(who.clone()).or_default().insert(name.to_owned());
        }
        self.bindings.insert(name.to_owned(), binding);
    }

    fn unbind(&mut self, name: &str) {
        let Some(old) = self.bindings.remove(name) else { return };
        for (subject, _) in old.subjects {
            let (index, who) = match subject {
                Subject::User(who) => (&mut self.users, who),
                Subject::Group(who) => (&mut self.groups, who),
            };
            if let Some(names) = index.get_mut(&who) {
                names.remove(name);
                if names.is_empty() {
                    index.remove(&who);
                }
            }
        }
    }

    /// The names of the bindings that name a user or one of its groups; one may come twice.
    fn names_for<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a String> {
        let by_name = self.users.get(&user.name).into_iter().flatten();
        let by_group = user.groups.iter().filter_map(|group| self.groups.get(group)).flatten();
        by_name.chain(by_group)
    }
}

/// Roles and bindings as they stand.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    cluster: Scope,
    namespaces: BTreeMap<String, Scope>,
}

impl Policy {
    /// Takes over how an object stands now; `None`: it is gone.
    pub fn apply(
        &mut self,
        kind: PolicyKind,
        object: Option<&Object>,
        namespace: &str,
        name: &str,
    ) {
        let (scope, namespace) = match kind {
            PolicyKind::Role | PolicyKind::RoleBinding => {
                (self.namespaces.entry(namespace.to_owned()).or_default(), namespace)
            }
            PolicyKind::ClusterRole | PolicyKind::ClusterRoleBinding => (&mut self.cluster, ""),
        };
        match kind {
            PolicyKind::Role | PolicyKind::ClusterRole => {
                match object {
                    Some(role) => scope.roles.insert(name.to_owned(), Rule::read_all(role).into()),
                    None => scope.roles.remove(name),
                };
            }
            PolicyKind::RoleBinding | PolicyKind::ClusterRoleBinding => {
                scope.unbind(name);
                if let Some(binding) = object {
                    scope.bind(name, read_binding(binding, namespace));
                }
            }
        }
        if scope.roles.is_empty() && scope.bindings.is_empty() {
            self.namespaces.remove(namespace);
        }
    }

    /// Decides. Masters are not known here.
    #[must_use]
    pub fn authorise(&self, user: &User, asked: &Attributes) -> Decision {
        let combined = asked.combined_resource();
        let mut faults = Vec::new();
        for (namespace, scope) in self.scopes(&asked.namespace) {
            for name in scope.names_for(user) {
                let binding = &scope.bindings[name];
                match self.rules_of_role(&binding.role, namespace) {
                    Ok(rules) if rules.iter().any(|rule| rule.allows(asked, &combined)) => {
                        return Decision::Allowed(reason(namespace, name, binding, user));
                    }
                    Ok(_) => {}
                    Err(fault) => faults.push(fault),
                }
            }
        }
        match aggregate(&faults) {
            text if text.is_empty() => Decision::NoOpinion(text),
            text => Decision::NoOpinion(format!("RBAC: {text}")),
        }
    }

    /// All rules that a user has in a namespace (empty: in the cluster), and what stood in the way
    /// of finding all.
    #[must_use]
    pub fn rules_of(&self, user: &User, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        let (mut all, mut faults) = (Vec::new(), Vec::new());
        for (namespace, scope) in self.scopes(namespace) {
            for name in scope.names_for(user).collect::<BTreeSet<_>>() {
                match self.rules_of_role(&scope.bindings[name].role, namespace) {
                    Ok(rules) => all.extend_from_slice(rules),
                    Err(fault) => faults.push(fault),
                }
            }
        }
        (all, faults)
    }

    /// The rules of the role that a binding in a namespace (empty: of the cluster) gives.
    ///
    /// # Errors
    ///
    /// Upstream's text if there is no such role.
    pub fn rules_of_role(&self, role: &RoleRef, namespace: &str) -> Result<&[Rule], String> {
        let (scope, resource) = match role.kind.as_str() {
            "Role" => (self.namespaces.get(namespace), "role"),
            "ClusterRole" => (Some(&self.cluster), "clusterrole"),
            kind => return Err(format!("unsupported role reference kind: {}", quote(kind))),
        };
        scope
            .and_then(|scope| scope.roles.get(&role.name))
            .map(AsRef::as_ref)
            .ok_or_else(|| format!("{resource}.{GROUP} {} not found", quote(&role.name)))
    }

    /// Where bindings count for a request in a namespace: in the cluster, and there.
    fn scopes<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (&'a str, &'a Scope)> {
        let there = self.namespaces.get(namespace).map(|scope| (namespace, scope));
        std::iter::once(("", &self.cluster)).chain(there)
    }
}

fn read_binding(binding: &Object, namespace: &str) -> Binding {
    let subjects = object::list(binding, &["subjects"]);
    Binding {
        role: RoleRef::read(binding),
        subjects: subjects.iter().filter_map(|value| read_subject(value, namespace)).collect(),
    }
}

fn read_subject(value: &Value, namespace: &str) -> Option<(Subject, String)> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let (kind, name) = (text("kind"), text("name"));
    let plain = || format!("{kind} {}", quote(name));
    match kind {
        "User" => Some((Subject::User(name.to_owned()), plain())),
        "Group" => Some((Subject::Group(name.to_owned()), plain())),
        "ServiceAccount" => {
            let own = text("namespace");
            let place = if own.is_empty() { namespace } else { own };
            let shown = format!("{kind} {}", quote(&format!("{name}/{place}")));
            let user = Subject::User(service_account_user(place, name));
            (!place.is_empty()).then_some((user, shown))
        }
        _ => None,
    }
}

/// By what somebody may, as upstream says it.
fn reason(namespace: &str, name: &str, binding: &Binding, user: &User) -> String {
    let applies = |subject: &Subject| match subject {
        Subject::User(name) => *name == user.name,
        Subject::Group(group) => user.is_in(group),
    };
    let subject = binding.subjects.iter().find(|(subject, _)| applies(subject));
    let shown = subject.map_or("", |(_, shown)| shown);
    let (kind, title) = if namespace.is_empty() {
        ("ClusterRoleBinding", name.to_owned())
    } else {
        ("RoleBinding", format!("{name}/{namespace}"))
    };
    let (title, role) = (quote(&title), quote(&binding.role.name));
    format!("RBAC: allowed by {kind} {title} of {} {role} to {shown}", binding.role.kind)
}

/// The rules that a cluster role collects from others, in the order of their names; `None` if it
/// collects none. (A controller writes them into the role.)
#[must_use]
pub fn aggregated_rules<'a>(
    role: &Object,
    all: impl IntoIterator<Item = &'a Object>,
) -> Option<Vec<Value>> {
    let selectors = object::at(role, &["aggregationRule", "clusterRoleSelectors"])?.as_array()?;
    let own = object::name(role);
    let mut others: Vec<&Object> = all
        .into_iter()
        .filter(|other| object::name(other) != own)
        .filter(|other| selectors.iter().any(|selector| selects(selector, other)))
        .collect();
    others.sort_by_key(|other| object::name(other));
    let mut rules: Vec<Value> = Vec::new();
    for rule in others.into_iter().flat_map(|other| object::list(other, &["rules"])) {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    Some(rules)
}

/// What a cluster role's rules must be if it collects others', where that differs from what it has.
#[must_use]
pub fn stale_aggregate<'a>(
    role: &Object,
    all: impl IntoIterator<Item = &'a Object>,
) -> Option<Vec<Value>> {
    aggregated_rules(role, all).filter(|rules| object::list(role, &["rules"]) != rules.as_slice())
}

/// Whether a label selector selects an object.
fn selects(selector: &Value, other: &Object) -> bool {
    let labels = object::map(other, &["metadata", "labels"]);
    let label = |key: &str| labels.and_then(|map| map.get(key)).and_then(Value::as_str);
    let exact = selector.get("matchLabels").and_then(Value::as_object);
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    exact.into_iter().flatten().all(|(key, value)| label(key) == value.as_str())
        && expressions.into_iter().flatten().all(|expression| {
            let text =
                |name: &str| expression.get(name).and_then(Value::as_str).unwrap_or_default();
            let values = expression.get("values").and_then(Value::as_array);
            let own = label(text("key"));
            let listed = values.into_iter().flatten().any(|v| own.is_some() && v.as_str() == own);
            match text("operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => own.is_some(),
                "DoesNotExist" => own.is_none(),
                _ => false,
            }
        })
}

/// The status of a SelfSubjectRulesReview.
#[must_use]
pub fn rules_status(policy: &Policy, user: &User, namespace: &str) -> Value {
    let (rules, faults) = policy.rules_of(user, namespace);
    let of_resources: Vec<Value> = rules
        .iter()
        .filter(|rule| !rule.resources.is_empty())
        .map(|rule| Rule { paths: Vec::new(), ..rule.clone() }.to_value())
        .collect();
    let of_paths: Vec<Value> = rules
        .iter()
        .filter(|rule| !rule.paths.is_empty())
        .map(|rule| json!({"verbs": rule.verbs, "nonResourceURLs": rule.paths}))
        .collect();
    let mut status = json!({
        "resourceRules": of_resources, "nonResourceRules": of_paths, "incomplete": false,
    });
    if !faults.is_empty() {
        status["evaluationError"] = aggregate(&faults).into();
    }
    status
}
