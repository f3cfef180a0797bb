//! The objects that every cluster starts with: namespaces, priority classes, roles and bindings.
//!
//! ```text
//!   tables (cluster_roles, controllers, here) ─► objects ─► created if missing, else reconciled
//! ```
//!
//! Invariant: reconciling adds what is missing and takes nothing away; what somebody marked with
//! `autoupdate: "false"` stays as it is.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::auth::rbac::aggregated_rules;
use crate::auth::rules::{Rule, missing};
use crate::object::{self, Object};

mod cluster_roles;
mod controllers;
mod table;

use table::{EVENTS, READ, Row, binding, on, row};

const CONTROLLER: &str = "system:controller:";
const LEASES: &str = "create get list update watch";

/// Roles within a namespace.
const ROLES: &[(&str, &[Row])] = &[
    (
        "kube-system",
        &[
            row(
                "extension-apiserver-authentication-reader",
                &[on(READ, "core", "configmaps").only("extension-apiserver-authentication")],
            ),
            row(
                "system::leader-locking-kube-controller-manager",
                &[
                    on(LEASES, "coordination.k8s.io", "leases"),
                    on(LEASES, "coordination.k8s.io", "leasecandidates"),
                ],
            ),
            row(
                "system::leader-locking-kube-scheduler",
                &[
                    on(LEASES, "coordination.k8s.io", "leases"),
                    on(LEASES, "coordination.k8s.io", "leasecandidates"),
                ],
            ),
            row("system:controller:bootstrap-signer", &[on(READ, "core", "secrets")]),
            row(
                "system:controller:cloud-provider",
                &[on("create get list watch", "core", "configmaps")],
            ),
            row(
                "system:controller:token-cleaner",
                &[on("delete get list watch", "core", "secrets"), EVENTS],
            ),
        ],
    ),
    (
        "kube-public",
        &[row(
            "system:controller:bootstrap-signer",
            &[
                on(READ, "core", "configmaps"),
                on("update", "core", "configmaps").only("cluster-info"),
                EVENTS,
            ],
        )],
    ),
];

/// Bindings of cluster roles, which are named after their role, and whom they name.
const CLUSTER_BINDINGS: &[(&str, &str)] = &[
    ("cluster-admin", "Group system:masters"),
    ("system:basic-user", "Group system:authenticated"),
    ("system:discovery", "Group system:authenticated"),
    ("system:kube-controller-manager", "User system:kube-controller-manager"),
    ("system:kube-dns", "ServiceAccount kube-system/kube-dns"),
    ("system:kube-scheduler", "User system:kube-scheduler"),
    ("system:monitoring", "Group system:monitoring"),
    ("system:node", ""),
    ("system:node-proxier", "User system:kube-proxy"),
    ("system:public-info-viewer", "Group system:authenticated, Group system:unauthenticated"),
    ("system:service-account-issuer-discovery", "Group system:serviceaccounts"),
    ("system:volume-scheduler", "User system:kube-scheduler"),
];

/// Bindings of roles: namespace, name, role, and whom they name.
const BINDINGS: &[(&str, &str, &str, &str)] = &[
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        "ServiceAccount kube-system/bootstrap-signer",
    ),
    (
        "kube-system",
        "system::extension-apiserver-authentication-reader",
        "extension-apiserver-authentication-reader",
        "User system:kube-controller-manager, User system:kube-scheduler",
    ),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        "system::leader-locking-kube-controller-manager",
        "User system:kube-controller-manager, ServiceAccount kube-system/kube-controller-manager, \
         ServiceAccount kube-system/leader-election-controller",
    ),
    (
        "kube-system",
        "system::leader-locking-kube-scheduler",
        "system::leader-locking-kube-scheduler",
        "User system:kube-scheduler, ServiceAccount kube-system/kube-scheduler",
    ),
    (
        "kube-system",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        "ServiceAccount kube-system/bootstrap-signer",
    ),
    (
        "kube-system",
        "system:controller:cloud-provider",
        "system:controller:cloud-provider",
        "ServiceAccount kube-system/cloud-provider",
    ),
    (
        "kube-system",
        "system:controller:token-cleaner",
        "system:controller:token-cleaner",
        "ServiceAccount kube-system/token-cleaner",
    ),
];

/// Lets the controllers, which all ask as one user here, do what each of them may do.
///
/// Upstream gives each controller a service account of its own; these bindings are ours, and named
/// so.
#[must_use]
pub fn controller_bindings() -> Vec<Object> {
    let names = controllers::ROLES.iter().map(|row| format!("{CONTROLLER}{}", row.name));
    let binding = |role: String| {
        object_of(json!({
            "kind": "ClusterRoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1",
            "metadata": {"name": format!("kstore:{role}")},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role,
            },
            "subjects": [{
                "apiGroup": "rbac.authorization.k8s.io", "kind": "User",
                "name": "system:kube-controller-manager",
            }],
        }))
    };
    names.map(binding).chain(hollow_role()).collect()
}

/// What the hollow nodes of one process may do: they follow all nodes' leases and pods at once, which
/// the node authoriser would not let a node do.
fn hollow_role() -> [Object; 2] {
    let all = ["get", "list", "watch", "create", "update", "patch", "delete"];
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    let role = json!({
        "kind": "ClusterRole", "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": HOLLOW},
        "rules": [
            rule("", &["nodes", "nodes/status", "pods", "pods/status"], &all),
            rule("coordination.k8s.io", &["leases"], &all),
            rule("", &["namespaces", "configmaps", "secrets"], &["get", "list", "watch"]),
            rule("", &["events"], &["create", "patch", "update"]),
            rule("events.k8s.io", &["events"], &["create", "patch", "update"]),
        ],
    });
    let binding = json!({
        "kind": "ClusterRoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": HOLLOW},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": HOLLOW,
        },
        "subjects": [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": HOLLOW},
        ],
    });
    [object_of(role), object_of(binding)]
}

/// The user that plays hollow nodes, and its role.
const HOLLOW: &str = "kstore:hollow";

/// The namespaces that are always there.
pub const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Everything, in an order in which each object finds what it needs: namespaces first.
#[must_use]
pub fn objects() -> Vec<Object> {
    let mut all = namespaces();
    all.extend(priority_classes());
    all.extend(cluster_roles());
    all.extend(cluster_role_bindings());
    for (namespace, rows) in ROLES {
        all.extend(rows.iter().map(|row| row.object("Role", "", namespace)));
    }
    for (namespace, name, role, subjects) in BINDINGS {
        all.push(binding(name, namespace, ("Role", role), subjects));
    }
    all
}

/// The namespaces as objects.
#[must_use]
pub fn namespaces() -> Vec<Object> {
    let object = |name: &&str| {
        object_of(json!({
            "kind": "Namespace", "apiVersion": "v1",
            "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        }))
    };
    NAMESPACES.iter().map(object).collect()
}

/// The two priority classes of the system.
#[must_use]
pub fn priority_classes() -> Vec<Object> {
    let classes = [
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to \
             another node if necessary.",
        ),
    ];
    let object = |(name, value, description): (&str, i64, &str)| {
        object_of(json!({
            "kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1",
            "metadata": {"name": name}, "value": value, "description": description,
            "preemptionPolicy": "PreemptLowerPriority",
        }))
    };
    classes.into_iter().map(object).collect()
}

/// The cluster roles; those that collect others' rules have them already.
#[must_use]
pub fn cluster_roles() -> Vec<Object> {
    let mut roles: Vec<Object> =
        cluster_roles::ROLES.iter().map(|row| row.object("ClusterRole", "", "")).collect();
    roles.extend(controllers::ROLES.iter().map(|row| row.object("ClusterRole", CONTROLLER, "")));
    // Each of these feeds the next.
    for name in ["view", "edit", "admin"] {
        let Some(place) = roles.iter().position(|role| object::name(role) == name) else {
            continue;
        };
        if let Some(rules) = aggregated_rules(&roles[place], &roles) {
            roles[place].insert("rules".to_owned(), rules.into());
        }
    }
    roles
}

fn cluster_role_bindings() -> Vec<Object> {
    let plain = CLUSTER_BINDINGS
        .iter()
        .map(|(name, subjects)| binding(name, "", ("ClusterRole", name), subjects));
    let of_controllers = controllers::ROLES.iter().map(|row| {
        let name = format!("{CONTROLLER}{}", row.name);
        let subject = format!("ServiceAccount kube-system/{}", row.name);
        binding(&name, "", ("ClusterRole", &name), &subject)
    });
    plain.chain(of_controllers).collect()
}

/// What nodes may, beyond what depends on their pods.
#[must_use]
pub fn node_rules() -> &'static [Rule] {
    static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
        let node = cluster_roles::ROLES.iter().find(|row| row.name == "system:node");
        node.map(Row::rules).unwrap_or_default()
    });
    &RULES
}

fn object_of(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

/// What is to be written over a role or binding that was there before, so that it has all that a
/// cluster starts with; `None` if it has, or if nobody shall touch it.
///
/// A binding that gives another role is returned as `wanted` is: it must be deleted first, since
/// no binding changes its role.
#[must_use]
pub fn reconciled(stored: &Object, wanted: &Object) -> Option<Object> {
    let annotations = ["metadata", "annotations"];
    let automatic = "rbac.authorization.kubernetes.io/autoupdate";
    let guarded = object::map(stored, &annotations).and_then(|map| map.get(automatic));
    if guarded.and_then(Value::as_str) == Some("false") {
        return None;
    }
    if wanted.get("roleRef") != stored.get("roleRef") {
        return Some(wanted.clone());
    }
    let mut result = stored.clone();
    for path in [annotations, ["metadata", "labels"]] {
        for (key, value) in object::map(wanted, &path).into_iter().flatten() {
            object::map_mut(&mut result, &path).entry(key.clone()).or_insert(value.clone());
        }
    }
    // A role that collects rules gets them from others, whatever the table says.
    if wanted.get("aggregationRule").is_none_or(Value::is_null) {
        let lacking = missing(&Rule::read_all(stored), &Rule::read_all(wanted));
        extend(&mut result, "rules", lacking.iter().map(Rule::to_value));
    }
    let known = object::list(stored, &["subjects"]);
    let lacking = object::list(wanted, &["subjects"]).iter().filter(|one| !known.contains(one));
    extend(&mut result, "subjects", lacking.cloned());
    (result != *stored).then_some(result)
}

fn extend(object: &mut Object, list: &str, values: impl Iterator<Item = Value>) {
    let mut values = values.peekable();
    if values.peek().is_none() {
        return;
    }
    let slot = object.entry(list).or_insert_with(|| Value::Array(Vec::new()));
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    slot.as_array_mut().expect("it was just made a list").extend(values);
}
