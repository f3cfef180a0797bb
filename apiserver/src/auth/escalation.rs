//! Nobody gives more than they have: what is asked of those who write roles and bindings.

use super::lookup::Answer;
use super::rbac::{GROUP, Policy, PolicyKind, RoleRef};
use super::rules::{Rule, merge_verbs, missing};
use super::text::{aggregate, quote, quote_list};
use super::{Attributes, Decision, MASTERS, User};
use crate::object::{self, Object};
use crate::status::{Resource, Status};

/// A write of a role or a binding.
#[derive(Debug, Clone, Copy)]
pub struct PolicyWrite<'a> {
    /// Who writes.
    pub user: &'a User,
    /// What kind of object.
    pub kind: PolicyKind,
    /// The namespace; empty for cluster roles and their bindings.
    pub namespace: &'a str,
    /// What is to be stored.
    pub object: &'a Object,
    /// What is stored, for an update.
    pub old: Option<&'a Object>,
}

/// Refuses a write that would give what the writer has not. `authorise` decides by everything that
/// there is, as for a request.
///
/// # Errors
///
/// 403 with upstream's text; 404 if a binding gives a role that is not there.
pub fn check(
    write: &PolicyWrite<'_>,
    policy: &Policy,
    authorise: impl Fn(&Attributes) -> Decision,
) -> Answer<()> {
    if write.user.is_in(MASTERS) || write.old.is_some_and(|old| only_owners_differ(write, old)) {
        return Ok(());
    }
    match write.kind {
        PolicyKind::Role | PolicyKind::ClusterRole => check_role(write, policy, authorise),
        PolicyKind::RoleBinding | PolicyKind::ClusterRoleBinding => {
            check_binding(write, policy, authorise)
        }
    }
}

fn check_role(
    write: &PolicyWrite<'_>,
    policy: &Policy,
    authorise: impl Fn(&Attributes) -> Decision,
) -> Answer<()> {
    let resource = resource_of(write.kind);
    let may_escalate = Attributes {
        name: write.old.map(object::name).unwrap_or_default().to_owned(),
        ..attributes("escalate", resource, write.namespace)
    };
    if authorise(&may_escalate).is_allowed() {
        return Ok(());
    }
    confirm(write, policy, &Rule::read_all(write.object))?;
    // A role that collects others' rules gives whatever anybody labels: that takes everything.
    let collects = std::iter::once(write.object)
        .chain(write.old)
        .any(|role| !object::list(role, &["aggregationRule", "clusterRoleSelectors"]).is_empty());
    if write.kind == PolicyKind::ClusterRole && collects {
        let (held, _) = policy.rules_of(write.user, write.namespace);
        if !missing(&held, &Rule::everything()).is_empty() {
            let why = "must have cluster-admin privileges to use the aggregationRule";
            return Err(refused(write, why));
        }
    }
    Ok(())
}

fn check_binding(
    write: &PolicyWrite<'_>,
    policy: &Policy,
    authorise: impl Fn(&Attributes) -> Decision,
) -> Answer<()> {
    let role = RoleRef::read(write.object);
    let resource = match role.kind.as_str() {
        "ClusterRole" => "clusterroles",
        _ => "roles",
    };
    let may_bind =
        Attributes { name: role.name.clone(), ..attributes("bind", resource, write.namespace) };
    if authorise(&may_bind).is_allowed() {
        return Ok(());
    }
    // Upstream names the binding's resource here, with the name of the role.
    let wanted = policy.rules_of_role(&role, write.namespace).map_err(|_| {
        Status::not_found(Resource { group: GROUP, name: resource_of(write.kind) }, &role.name)
    })?;
    confirm(write, policy, wanted)
}

/// Refuses unless the writer has all these rules.
fn confirm(write: &PolicyWrite<'_>, policy: &Policy, wanted: &[Rule]) -> Answer<()> {
    let (held, faults) = policy.rules_of(write.user, write.namespace);
    let lacking = missing(&held, wanted);
    if lacking.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = merge_verbs(lacking).iter().map(Rule::compact).collect();
    lines.sort();
    lines.dedup();
    let mut why = format!(
        "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        quote(&write.user.name),
        quote_list(&write.user.groups),
        lines.join("\n"),
    );
    if !faults.is_empty() {
        why = format!("{why}; resolution errors: [{}]", aggregate(&faults));
    }
    Err(refused(write, &why))
}

fn refused(write: &PolicyWrite<'_>, why: &str) -> Box<Status> {
    let resource = Resource { group: GROUP, name: resource_of(write.kind) };
    Box::new(Status::forbidden(resource, object::name(write.object), why))
}

fn resource_of(kind: PolicyKind) -> &'static str {
    match kind {
        PolicyKind::Role => "roles",
        PolicyKind::ClusterRole => "clusterroles",
        PolicyKind::RoleBinding => "rolebindings",
        PolicyKind::ClusterRoleBinding => "clusterrolebindings",
    }
}

fn attributes(verb: &str, resource: &str, namespace: &str) -> Attributes {
    Attributes {
        verb: verb.to_owned(),
        is_resource: true,
        group: GROUP.to_owned(),
        version: "*".to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        ..Attributes::default()
    }
}

/// Whether the update only takes owners or finalizers away, as the garbage collector does.
fn only_owners_differ(write: &PolicyWrite<'_>, old: &Object) -> bool {
    let mut object = write.object.clone();
    for member in ["ownerReferences", "finalizers", "managedFields"] {
        object::remove(&mut object, &["metadata", member]);
        if let Some(value) = object::at(old, &["metadata", member]) {
            object::set(&mut object, &["metadata", member], value.clone());
        }
    }
    object == *old
}
