//! What a node may: its own objects, and what the pods that run on it refer to.
//!
//! ```text
//!   pods (watched) ─► NodeGraph: (kind, namespace, name) ─► nodes whose pods refer to it
//! ```
//!
//! Nodes are users `system:node:<name>` in the group `system:nodes`. What is checked in the content
//! of their writes stands in [`crate::admission::node_restriction`].
//!
//! Invariant: a node reaches an object through the graph exactly if a pod that is bound to the node,
//! and that no kubelet put there itself, refers to the object.

use std::collections::BTreeMap;

use super::{Attributes, Decision, User};
use crate::object::{self, Object};
use crate::pod_refs::{Reference, references};

/// The group of nodes.
pub const NODES: &str = "system:nodes";
const USER_PREFIX: &str = "system:node:";
/// Marks a pod that a kubelet runs of itself and only shows to the server.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// Whether somebody is a node, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeIdentity<'a> {
    /// No node.
    Other,
    /// In the group of nodes, under a name that is none of theirs.
    Unknown,
    /// This node.
    Node(&'a str),
}

/// Which node a user is.
#[must_use]
pub fn identity(user: &User) -> NodeIdentity<'_> {
    match user.name.strip_prefix(USER_PREFIX) {
        _ if !user.is_in(NODES) => NodeIdentity::Other,
        Some(name) if !name.is_empty() => NodeIdentity::Node(name),
        _ => NodeIdentity::Unknown,
    }
}

/// What refers to what.
#[derive(Debug, Clone, Default)]
pub struct NodeGraph {
    /// Where each pod runs and what it refers to, by namespace and name.
    pods: BTreeMap<(String, String), (String, Vec<Reference>)>,
    /// By object: the nodes, and how many of their pods refer to it.
    reached: BTreeMap<Reference, BTreeMap<String, usize>>,
}

impl NodeGraph {
    /// Takes over how a pod stands now; `None`: it is gone.
    pub fn apply_pod(&mut self, pod: Option<&Object>, namespace: &str, name: &str) {
        let place = (namespace.to_owned(), name.to_owned());
        if let Some((node, old)) = self.pods.remove(&place) {
            old.iter().for_each(|reference| self.forget(reference, &node));
        }
        let node = pod.map(|pod| object::text(pod, &["spec", "nodeName"])).unwrap_or_default();
        let Some(pod) = pod.filter(|_| !node.is_empty()) else { return };
        let refers = references_of(pod, namespace, name);
        for reference in &refers {
            let nodes = self.reached.entry(reference.clone()).or_default();
            *nodes.entry(node.to_owned()).or_default() += 1;
        }
        self.pods.insert(place, (node.to_owned(), refers));
    }

    fn forget(&mut self, reference: &Reference, node: &str) {
        let Some(nodes) = self.reached.get_mut(reference) else { return };
        if let Some(count) = nodes.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                nodes.remove(node);
            }
        }
        if nodes.is_empty() {
            self.reached.remove(reference);
        }
    }

    /// Whether a pod of the node refers to an object.
    #[must_use]
    pub fn reaches(&self, node: &str, resource: &str, namespace: &str, name: &str) -> bool {
        Reference::known(resource, namespace, name)
            .and_then(|reference| self.reached.get(&reference))
            .is_some_and(|nodes| nodes.contains_key(node))
    }

    /// Decides for nodes; has no opinion on others.
    #[must_use]
    pub fn authorise(&self, user: &User, asked: &Attributes) -> Decision {
        let outcome = match identity(user) {
            NodeIdentity::Other => Err(String::new()),
            NodeIdentity::Unknown => {
                Err(format!("unknown node for user {}", super::text::quote(&user.name)))
            }
            NodeIdentity::Node(node) => self.decide(node, asked),
        };
        match outcome {
            Ok(()) => Decision::Allowed(String::new()),
            Err(reason) => Decision::NoOpinion(reason),
        }
    }

    fn decide(&self, node: &str, asked: &Attributes) -> Result<(), String> {
        let resource = (asked.group.as_str(), asked.resource.as_str());
        match resource {
            _ if !asked.is_resource => by_rules(asked),
            ("", "secrets" | "configmaps") => self.read_of_namespace(node, asked),
            ("", "persistentvolumeclaims") if asked.subresource == "status" => {
                refuse_unless(
                    matches!(asked.verb.as_str(), "update" | "patch"),
                    "can only get/update/patch this type",
                )?;
                self.related(node, asked)
            }
            ("", "persistentvolumeclaims" | "persistentvolumes")
            | ("resource.k8s.io", "resourceclaims")
            | ("storage.k8s.io", "volumeattachments") => self.get_of_one(node, asked),
            ("", "serviceaccounts") => self.service_account(node, asked),
            ("coordination.k8s.io", "leases") => lease(node, asked),
            ("storage.k8s.io", "csinodes") => csi_node(node, asked),
            ("", "nodes") => own_node(node, asked),
            ("", "pods") => self.pod(node, asked),
            _ => by_rules(asked),
        }
    }

    fn related(&self, node: &str, asked: &Attributes) -> Result<(), String> {
        refuse_unless(!asked.name.is_empty(), "No Object name found")?;
        if self.reaches(node, &asked.resource, &asked.namespace, &asked.name) {
            return Ok(());
        }
        Err(format!("no relationship found between node '{node}' and this object"))
    }

    fn get_of_one(&self, node: &str, asked: &Attributes) -> Result<(), String> {
        refuse_unless(asked.verb == "get", "can only get individual resources of this type")?;
        refuse_unless(asked.subresource.is_empty(), "cannot get subresource")?;
        self.related(node, asked)
    }

    fn read_of_namespace(&self, node: &str, asked: &Attributes) -> Result<(), String> {
        let reads = matches!(asked.verb.as_str(), "get" | "list" | "watch");
        refuse_unless(reads, "can only read resources of this type")?;
        refuse_unless(asked.subresource.is_empty(), "cannot read subresource")?;
        let placed = !asked.namespace.is_empty();
        refuse_unless(placed, "can only read namespaced object of this type")?;
        self.related(node, asked)
    }

    fn service_account(&self, node: &str, asked: &Attributes) -> Result<(), String> {
        if asked.verb == "get" && asked.subresource.is_empty() {
            return self.read_of_namespace(node, asked);
        }
        let one = asked.verb == "create" && !asked.name.is_empty();
        refuse_unless(one, "can only create tokens for individual service accounts")?;
        let token = asked.subresource == "token";
        refuse_unless(token, "can only create token subresource of serviceaccount")?;
        self.related(node, asked)
    }

    fn pod(&self, node: &str, asked: &Attributes) -> Result<(), String> {
        match (asked.subresource.as_str(), asked.verb.as_str()) {
            ("", "get") => self.get_of_one(node, asked),
            ("", "list" | "watch") => {
                let own =
                    |(field, value): &(String, String)| field == "spec.nodeName" && value == node;
                if asked.fields.iter().any(own) {
                    return Ok(());
                }
                let why = "can only list/watch pods with spec.nodeName field selector";
                refuse_unless(!asked.name.is_empty(), why)?;
                self.related(node, asked)
            }
            // What these writes may hold is for admission to say.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
                Ok(())
            }
            _ => Err(String::new()),
        }
    }
}

fn references_of(pod: &Object, namespace: &str, name: &str) -> Vec<Reference> {
    let itself = Reference::known("pods", namespace, name);
    let mirrored = object::at(pod, &["metadata", "annotations", MIRROR]).is_some();
    // A mirror pod is the kubelet's own claim: it must not open anything.
    let others = if mirrored { Vec::new() } else { references(pod, namespace) };
    itself.into_iter().chain(others).collect()
}

fn refuse_unless(holds: bool, why: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

fn lease(node: &str, asked: &Attributes) -> Result<(), String> {
    let known = matches!(asked.verb.as_str(), "get" | "create" | "update" | "patch" | "delete");
    refuse_unless(known, "can only get, create, update, patch, or delete a node lease")?;
    let placed = asked.namespace == "kube-node-lease";
    refuse_unless(placed, "can only access leases in the \"kube-node-lease\" system namespace")?;
    // A create names its object in the body; admission looks there.
    let own = asked.verb == "create" || asked.name == node;
    refuse_unless(own, "can only access node lease with the same name as the requesting node")
}

fn csi_node(node: &str, asked: &Attributes) -> Result<(), String> {
    let known = matches!(asked.verb.as_str(), "get" | "create" | "update" | "patch" | "delete");
    refuse_unless(known, "can only get, create, update, patch, or delete a CSINode")?;
    refuse_unless(asked.subresource.is_empty(), "cannot authorize CSINode subresources")?;
    let own = asked.verb == "create" || asked.name == node;
    refuse_unless(own, "can only access CSINode with the same name as the requesting node")
}

fn own_node(node: &str, asked: &Attributes) -> Result<(), String> {
    match (asked.subresource.as_str(), asked.verb.as_str()) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        ("", "get" | "list" | "watch") => match asked.name.as_str() {
            own if own == node => Ok(()),
            "" => Err(format!("node '{node}' cannot read all nodes, only its own Node object")),
            other => Err(format!("node '{node}' cannot read '{other}', only its own Node object")),
        },
        _ => Err(String::new()),
    }
}

/// What every node may alike: the rules of the role `system:node`.
fn by_rules(asked: &Attributes) -> Result<(), String> {
    let combined = asked.combined_resource();
    let allowed = crate::bootstrap::node_rules().iter().any(|rule| rule.allows(asked, &combined));
    if allowed { Ok(()) } else { Err(String::new()) }
}
