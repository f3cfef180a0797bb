//! Who may do what: roles, and whom they are bound to.

use serde_json::Value;

use super::columns::{AGE, NAME, age, name, text, wide};
use super::tree::{each, fill, objects};
use super::{Column, Kind, PLAIN, Scope, labels, names};
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) const ROLES: Kind = Kind {
    group: GROUP,
    kind: "Role",
    resource: "roles",
    singular: "role",
    stored_under: "roles",
    default: |role| object::set_default(role, &["rules"], Value::Null),
    validate: |role, errors| check_rules(role, Scope::Namespaced, errors),
    name_rule: names::path_segment,
    create_on_update: true,
    ..PLAIN
};

pub(super) const CLUSTER_ROLES: Kind = Kind {
    kind: "ClusterRole",
    resource: "clusterroles",
    singular: "clusterrole",
    scope: Scope::Cluster,
    stored_under: "clusterroles",
    validate: |role, errors| {
        check_rules(role, Scope::Cluster, errors);
        check_aggregation(role, errors);
    },
    ..ROLES
};

pub(super) const ROLE_BINDINGS: Kind = Kind {
    group: GROUP,
    kind: "RoleBinding",
    resource: "rolebindings",
    singular: "rolebinding",
    stored_under: "rolebindings",
    columns: BINDING_COLUMNS,
    cells: binding_cells,
    default: default_binding,
    validate: |binding, errors| check_binding(binding, Scope::Namespaced, errors),
    validate_update: validate_binding_update,
    name_rule: names::path_segment,
    create_on_update: true,
    ..PLAIN
};

pub(super) const CLUSTER_ROLE_BINDINGS: Kind = Kind {
    kind: "ClusterRoleBinding",
    resource: "clusterrolebindings",
    singular: "clusterrolebinding",
    scope: Scope::Cluster,
    stored_under: "clusterrolebindings",
    validate: |binding, errors| check_binding(binding, Scope::Cluster, errors),
    ..ROLE_BINDINGS
};

const BINDING_COLUMNS: &[Column] = &[
    NAME,
    text("Role", "What they may do."),
    AGE,
    wide("Users", "The users who may."),
    wide("Groups", "The groups whose members may."),
    wide("ServiceAccounts", "The service accounts that may."),
];

fn binding_cells(binding: &Object, now: i64) -> Vec<Value> {
    let role = |field| object::text(binding, &["roleRef", field]);
    let of_kind = |kind: &str| -> String {
        let subjects = object::list(binding, &["subjects"]).iter().filter_map(Value::as_object);
        let names = subjects.filter(|it| object::text(it, &["kind"]) == kind).map(|it| {
            let name = object::text(it, &["name"]);
            if kind == "ServiceAccount" {
                format!("{}/{name}", object::text(it, &["namespace"]))
            } else {
                name.to_owned()
            }
        });
        names.collect::<Vec<_>>().join(", ")
    };
    vec![
        name(binding),
        format!("{}/{}", role("kind"), role("name")).into(),
        age(binding, now),
        of_kind("User").into(),
        of_kind("Group").into(),
        of_kind("ServiceAccount").into(),
    ]
}

fn default_binding(binding: &mut Object) {
    fill(object::map_mut(binding, &["roleRef"]), "apiGroup", GROUP);
    each(binding, &["subjects"], |subject| {
        if matches!(object::text(subject, &["kind"]), "User" | "Group") {
            fill(subject, "apiGroup", GROUP);
        }
    });
}

fn check_rules(role: &Object, scope: Scope, errors: &mut FieldErrors) {
    for (index, rule) in objects(role, &["rules"]).enumerate() {
        let path = Path::new("rules").index(index);
        let list = |field: &str| object::list(rule, &[field]);
        if list("verbs").is_empty() {
            errors.required(&path.child("verbs"), "verbs must contain at least one value");
        }
        let of_resources = ["apiGroups", "resources", "resourceNames"];
        let urls = list("nonResourceURLs");
        if !urls.is_empty() {
            let at = path.child("nonResourceURLs");
            if scope == Scope::Namespaced {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                errors.invalid(&at, urls.to_vec(), detail);
            }
            if of_resources.iter().any(|field| !list(field).is_empty()) {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.invalid(&at, urls.to_vec(), detail);
            }
            continue;
        }
        for (field, what) in [("apiGroups", "api group"), ("resources", "resource")] {
            if list(field).is_empty() {
                let detail = format!("resource rules must supply at least one {what}");
                errors.required(&path.child(field), detail);
            }
        }
    }
}

/// Rules that are gathered from other roles are found by labels.
fn check_aggregation(role: &Object, errors: &mut FieldErrors) {
    let Some(rule) = object::map(role, &["aggregationRule"]) else { return };
    let at = Path::new("aggregationRule").child("clusterRoleSelectors");
    if object::list(rule, &["clusterRoleSelectors"]).is_empty() {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.required(&at, detail);
    }
    for (index, selector) in objects(rule, &["clusterRoleSelectors"]).enumerate() {
        labels::check_selector(Some(selector), &at.index(index), errors);
        if !labels::is_understood(selector) {
            errors.invalid(&at.index(index), Value::Null, "invalid label selector.");
        }
    }
}

fn check_binding(binding: &Object, scope: Scope, errors: &mut FieldErrors) {
    let role = |field| object::text(binding, &["roleRef", field]);
    let path = Path::new("roleRef");
    if role("apiGroup") != GROUP {
        errors.not_supported(&path.child("apiGroup"), role("apiGroup"), &[GROUP]);
    }
    let kinds: &[&str] = match scope {
        Scope::Namespaced => &["Role", "ClusterRole"],
        Scope::Cluster => &["ClusterRole"],
    };
    if !kinds.contains(&role("kind")) {
        errors.not_supported(&path.child("kind"), role("kind"), kinds);
    }
    let name = role("name");
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    } else {
        labels::complain(&names::path_segment(name), &path.child("name"), name, errors);
    }
    for (index, subject) in objects(binding, &["subjects"]).enumerate() {
        check_subject(subject, scope, &Path::new("subjects").index(index), errors);
    }
}

fn check_subject(subject: &Object, scope: Scope, path: &Path, errors: &mut FieldErrors) {
    let text = |field: &str| object::text(subject, &[field]);
    let (name, group) = (text("name"), text("apiGroup"));
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    }
    match text("kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                labels::complain(&names::dns_subdomain(name), &path.child("name"), name, errors);
            }
            if !group.is_empty() {
                errors.not_supported(&path.child("apiGroup"), group, &[""]);
            }
            if scope == Scope::Cluster && text("namespace").is_empty() {
                errors.required(&path.child("namespace"), "");
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.not_supported(&path.child("apiGroup"), group, &[GROUP]);
            }
        }
        kind => {
            let kinds = ["ServiceAccount", "User", "Group"];
            errors.not_supported(&path.child("kind"), kind, &kinds);
        }
    }
}

/// Whoever may bind a role must not be able to bind another one that way.
fn validate_binding_update(new: &Object, old: &Object, errors: &mut FieldErrors) {
    if new.get("roleRef") != old.get("roleRef") {
        let role = |field| object::text(new, &["roleRef", field]);
        let shown = serde_json::json!({
            "APIGroup": role("apiGroup"),
            "Kind": role("kind"),
            "Name": role("name"),
        });
        errors.invalid(&Path::new("roleRef"), shown, "cannot change roleRef");
    }
}
