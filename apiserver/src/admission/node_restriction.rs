//! What a node may write: itself, and the pods that run on it.
//!
//! Whether it may write at all, the authoriser has said; this looks at what it writes. Every rule
//! holds for creations and for updates, for the thing and for its status.

use serde_json::Value;

use super::{Operation, Request};
use crate::auth::lookup::{Answer, Lookup, core};
use crate::auth::node::{MIRROR, NodeIdentity, identity};
use crate::auth::text::quote;
use crate::auth::{Attributes, Decision};
use crate::object::{self, Object};
use crate::pod_refs::references;
use crate::status::Status;

/// Labels of Kubernetes' own that a node may put on itself.
const OWN_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];
/// Groups of labels of Kubernetes' own that a node may put on itself.
const OWN_LABEL_GROUPS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

pub(super) async fn admit(request: &Request<'_>, lookup: &dyn Lookup) -> Answer<()> {
    let node = match identity(request.user) {
        NodeIdentity::Other => return Ok(()),
        NodeIdentity::Unknown => {
            let user = quote(&request.user.name);
            return Err(request.forbidden(&format!("could not determine node from user {user}")));
        }
        NodeIdentity::Node(node) => node,
    };
    match (request.group, request.resource, request.subresource) {
        ("", "pods", "") => pod(node, request, lookup).await,
        ("", "pods", "status") => pod_status(node, request),
        ("", "pods", "eviction") => eviction(node, request, lookup).await,
        ("", "pods", other) => Err(request.forbidden(&format!(
            "unexpected pod subresource {}, only 'status' and 'eviction' are allowed",
            quote(other)
        ))),
        ("", "nodes", _) => own_node(node, request),
        ("", "persistentvolumeclaims", "status") => claim_status(node, request),
        ("", "persistentvolumeclaims", _) => Err(request.forbidden("may only update PVC status")),
        ("", "serviceaccounts", "token") => token(node, request, lookup).await,
        ("coordination.k8s.io", "leases", _) => lease(node, request),
        ("storage.k8s.io", "csinodes", _) => {
            let why = "can only access CSINode with the same name as the requesting node";
            own_name(node, request, why)
        }
        _ => Ok(()),
    }
}

fn refuse_unless(holds: bool, request: &Request<'_>, why: impl Fn() -> String) -> Answer<()> {
    if holds { Ok(()) } else { Err(request.forbidden(&why())) }
}

async fn pod(node: &str, request: &Request<'_>, lookup: &dyn Lookup) -> Answer<()> {
    let quoted = quote(node);
    match request.operation {
        Operation::Create => new_pod(node, request, lookup).await,
        Operation::Delete => {
            let found = stored_pod(request, request.name, lookup).await?;
            refuse_unless(runs_on(&found, node), request, || {
                format!("node {quoted} can only delete pods with spec.nodeName set to itself")
            })
        }
        other => Err(request.forbidden(&format!(
            "unexpected operation {}, node {quoted} can only create and delete mirror pods",
            quote(other.name())
        ))),
    }
}

fn runs_on(pod: &Object, node: &str) -> bool {
    object::text(pod, &["spec", "nodeName"]) == node
}

async fn stored_pod(
    request: &Request<'_>,
    name: &str,
    lookup: &dyn Lookup,
) -> Answer<std::sync::Arc<Object>> {
    let found = lookup.get(core("pods"), request.namespace, name).await?;
    Ok(found.ok_or_else(|| Status::not_found(core("pods"), name))?)
}

async fn new_pod(node: &str, request: &Request<'_>, lookup: &dyn Lookup) -> Answer<()> {
    let (pod, quoted) = (request.sent(), quote(node));
    refuse_unless(
        object::at(pod, &["metadata", "annotations", MIRROR]).is_some(),
        request,
        || {
            let mirror = quote(MIRROR);
            format!(
                "pod does not have {mirror} annotation, node {quoted} can only create mirror pods"
            )
        },
    )?;
    refuse_unless(runs_on(pod, node), request, || {
        format!("node {quoted} can only create pods with spec.nodeName set to itself")
    })?;
    let can_only = |what: &str| format!("node {quoted} can only create pods with {what}");
    let owner = match object::list(pod, &["metadata", "ownerReferences"]) {
        [owner] => owner,
        [] => return Err(request.forbidden(&can_only("an owner reference set to itself"))),
        _ => {
            return Err(request.forbidden(&can_only("a single owner reference set to itself")));
        }
    };
    let itself = owner["apiVersion"] == "v1" && owner["kind"] == "Node" && owner["name"] == node;
    refuse_unless(itself, request, || can_only("an owner reference set to itself"))?;
    refuse_unless(owner["controller"] == true, request, || {
        can_only("a controller owner reference set to itself")
    })?;
    refuse_unless(owner["blockOwnerDeletion"] != true, request, || {
        format!("node {quoted} must not set blockOwnerDeletion on an owner reference")
    })?;
    let found = lookup.get(core("nodes"), "", node).await?;
    let found = found.ok_or_else(|| Status::not_found(core("nodes"), node))?;
    let (uid, told) = (object::uid(&found), owner["uid"].as_str().unwrap_or_default());
    refuse_unless(uid == told, request, || {
        format!("node {node} UID mismatch: expected {told} got {uid}")
    })?;
    match referred(pod) {
        Some(what) => {
            Err(request
                .forbidden(&format!("node {quoted} can not create pods that reference {what}")))
        }
        None => Ok(()),
    }
}

/// What a mirror pod refers to although it must not, in upstream's words.
fn referred(pod: &Object) -> Option<String> {
    if !object::text(pod, &["spec", "serviceAccountName"]).is_empty() {
        return Some("serviceaccounts".to_owned());
    }
    let refers = references(pod, "");
    let named = |resource: &str| refers.iter().any(|reference| reference.resource == resource);
    if let Some(resource) = ["secrets", "configmaps"].into_iter().find(|name| named(name)) {
        return Some(resource.to_owned());
    }
    if !object::list(pod, &["spec", "resourceClaims"]).is_empty() {
        return Some("resourceclaims".to_owned());
    }
    let sources = [
        ("configMap", "configmaps (via configmap volumes)"),
        ("secret", "secrets (via secret volumes)"),
        ("csi", "csidrivers (via CSI volumes)"),
        ("glusterfs", "endpoints (via glusterFS volumes)"),
        ("persistentVolumeClaim", "persistentvolumeclaims"),
        ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
        ("azureFile", "secrets (via azureFile volumes)"),
    ];
    let projections = [
        ("configMap", "configmaps (via projected volumes)"),
        ("secret", "secrets (via projected volumes)"),
        ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
        ("clusterTrustBundle", "clustertrustbundles"),
        ("podCertificate", "podcertificates"),
    ];
    let has = |holder: &Value, table: &[(&str, &str)]| {
        let found = table.iter().find(|(member, _)| holder.get(member).is_some());
        found.map(|(_, what)| (*what).to_owned())
    };
    object::list(pod, &["spec", "volumes"]).iter().find_map(|volume| {
        let projected = volume["projected"]["sources"].as_array();
        has(volume, &sources)
            .or_else(|| projected?.iter().find_map(|source| has(source, &projections)))
    })
}

fn pod_status(node: &str, request: &Request<'_>) -> Answer<()> {
    let quoted = quote(node);
    if request.operation != Operation::Update {
        let operation = quote(request.operation.name());
        return Err(request.forbidden(&format!("unexpected operation {operation}")));
    }
    let (old, new) = (request.stored(), request.sent());
    refuse_unless(runs_on(old, node), request, || {
        format!(
            "node {quoted} can only update pod status for pods with spec.nodeName set to itself"
        )
    })?;
    let labels = ["metadata", "labels"];
    refuse_unless(same(old, new, &labels), request, || {
        format!("node {quoted} cannot update labels through pod status")
    })?;
    refuse_unless(same(old, new, &["status", "resourceClaimStatuses"]), request, || {
        format!("node {quoted} cannot update resource claim statues")
    })?;
    refuse_unless(same(old, new, &["status", "extendedResourceClaimStatus"]), request, || {
        format!("node {quoted} cannot update extended resource claim status")
    })
}

/// Whether both have the same at a path; nothing and an empty value are the same.
fn same(old: &Object, new: &Object, path: &[&str]) -> bool {
    let full = |value: &&Value| match value {
        Value::Null => false,
        Value::Array(values) => !values.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    };
    object::at(old, path).filter(full) == object::at(new, path).filter(full)
}

async fn eviction(node: &str, request: &Request<'_>, lookup: &dyn Lookup) -> Answer<()> {
    if request.operation != Operation::Create {
        let operation = request.operation.name();
        return Err(request.forbidden(&format!("unexpected operation {operation}")));
    }
    let name = if request.name.is_empty() { object::name(request.sent()) } else { request.name };
    refuse_unless(!name.is_empty(), request, || {
        "could not determine pod from request data".to_owned()
    })?;
    let found = stored_pod(request, name, lookup).await?;
    refuse_unless(runs_on(&found, node), request, || {
        format!("node {node} can only evict pods with spec.nodeName set to itself")
    })
}

fn claim_status(node: &str, request: &Request<'_>) -> Answer<()> {
    if request.operation != Operation::Update {
        let operation = quote(request.operation.name());
        return Err(request.forbidden(&format!("unexpected operation {operation}")));
    }
    let bare = |object: &Object| {
        let mut bare = object.clone();
        for path in [
            ["metadata", "resourceVersion"],
            ["metadata", "managedFields"],
            ["status", "capacity"],
            ["status", "conditions"],
            ["status", "allocatedResourceStatuses"],
            ["status", "allocatedResources"],
        ] {
            object::remove(&mut bare, &path);
        }
        bare
    };
    refuse_unless(bare(request.stored()) == bare(request.sent()), request, || {
        format!(
            "node {} is not allowed to update fields other than status.quantity and \
             status.conditions",
            quote(node)
        )
    })
}

fn own_node(node: &str, request: &Request<'_>) -> Answer<()> {
    let (quoted, new, old) = (quote(node), request.sent(), request.stored());
    let name = if request.name.is_empty() { object::name(new) } else { request.name };
    refuse_unless(name == node, request, || {
        format!("node {quoted} is not allowed to modify node {}", quote(name))
    })?;
    let config = ["spec", "configSource"];
    let configured = object::at(new, &config).is_some_and(|value| !value.is_null());
    let forbidden = forbidden_labels(new, old).join(", ");
    match request.operation {
        Operation::Create => {
            refuse_unless(!configured, request, || {
                format!("node {quoted} is not allowed to create pods with a non-nil configSource")
            })?;
            refuse_unless(forbidden.is_empty(), request, || {
                format!("node {quoted} is not allowed to set the following labels: {forbidden}")
            })
        }
        Operation::Update => {
            let set_anew = configured && !same(old, new, &config);
            refuse_unless(!set_anew, request, || {
                format!(
                    "node {quoted} is not allowed to update configSource to a new non-nil \
                     configSource"
                )
            })?;
            refuse_unless(same(old, new, &["spec", "taints"]), request, || {
                format!("node {quoted} is not allowed to modify taints")
            })?;
            refuse_unless(same(old, new, &["metadata", "ownerReferences"]), request, || {
                format!("node {quoted} is not allowed to modify ownerReferences")
            })?;
            refuse_unless(forbidden.is_empty(), request, || {
                format!("is not allowed to modify labels: {forbidden}")
            })
        }
        Operation::Delete | Operation::Connect => Ok(()),
    }
}

/// The labels that differ and that are not the node's to set, sorted.
fn forbidden_labels(new: &Object, old: &Object) -> Vec<String> {
    let labels = ["metadata", "labels"];
    let (new, old) = (object::map(new, &labels), object::map(old, &labels));
    let value = |map: Option<&Object>, key: &str| map.and_then(|map| map.get(key)).cloned();
    let mut forbidden: Vec<String> = new
        .into_iter()
        .chain(old)
        .flat_map(Object::keys)
        .filter(|key| value(new, key) != value(old, key))
        .filter(|key| is_forbidden(key))
        .cloned()
        .collect();
    forbidden.sort();
    forbidden.dedup();
    forbidden
}

fn is_forbidden(label: &str) -> bool {
    let group = label.split_once('/').map_or("", |(group, _)| group);
    let within = |parent: &str| {
        group == parent || group.strip_suffix(parent).is_some_and(|before| before.ends_with('.'))
    };
    let own = OWN_LABELS.contains(&label) || OWN_LABEL_GROUPS.into_iter().any(within);
    within("node-restriction.kubernetes.io")
        || ((within("kubernetes.io") || within("k8s.io")) && !own)
}

async fn token(node: &str, request: &Request<'_>, lookup: &dyn Lookup) -> Answer<()> {
    if request.operation != Operation::Create {
        return Ok(());
    }
    let text = |name| object::text(request.sent(), &["spec", "boundObjectRef", name]);
    let bound = text("apiVersion") == "v1" && text("kind") == "Pod" && !text("name").is_empty();
    refuse_unless(bound, request, || "node requested token not bound to a pod".to_owned())?;
    refuse_unless(!text("uid").is_empty(), request, || {
        "node requested token with a pod binding without a uid".to_owned()
    })?;
    let pod = stored_pod(request, text("name"), lookup).await?;
    refuse_unless(text("uid") == object::uid(&pod), request, || {
        let uid = text("uid");
        format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The \
             object might have been deleted and then recreated"
        )
    })?;
    refuse_unless(runs_on(&pod, node), request, || {
        "node requested token bound to a pod scheduled on a different node".to_owned()
    })?;
    audience(&pod, request)
}

/// A node may ask for the audiences that the pod's volumes name, and for those that it is allowed.
fn audience(pod: &Object, request: &Request<'_>) -> Answer<()> {
    let asked = match object::list(request.sent(), &["spec", "audiences"]) {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return Err(request.forbidden("node may only request 0 or 1 audiences")),
    };
    let named = object::list(pod, &["spec", "volumes"])
        .iter()
        .filter_map(|volume| volume["projected"]["sources"].as_array())
        .flatten()
        .filter_map(|source| source.get("serviceAccountToken"))
        .any(|token| token["audience"].as_str().unwrap_or_default() == asked);
    let may = Attributes {
        verb: "request-serviceaccounts-token-audience".to_owned(),
        is_resource: true,
        version: "v1".to_owned(),
        resource: asked.to_owned(),
        namespace: request.namespace.to_owned(),
        name: request.name.to_owned(),
        ..Attributes::default()
    };
    let allowed = named || matches!((request.authorise)(&may), Decision::Allowed(_));
    refuse_unless(allowed, request, || {
        format!(
            "audience {} not found in pod spec volume, {} is not authorized to request tokens for \
             this audience",
            quote(asked),
            request.user.name
        )
    })
}

fn lease(node: &str, request: &Request<'_>) -> Answer<()> {
    refuse_unless(request.namespace == "kube-node-lease", request, || {
        "can only access leases in the \"kube-node-lease\" system namespace".to_owned()
    })?;
    let why = "can only access node lease with the same name as the requesting node";
    own_name(node, request, why)
}

/// A creation names its object in what is sent, anything else in the path.
fn own_name(node: &str, request: &Request<'_>, why: &str) -> Answer<()> {
    let name = match request.operation {
        Operation::Create => object::name(request.sent()),
        _ => request.name,
    };
    refuse_unless(name == node, request, || why.to_owned())
}
