//! What a pod refers to: every field of a pod that names another object, in one place.
//!
//! Whoever must not miss one (who may read what, which service account may use which secret) asks
//! here, so that a field which is forgotten is forgotten nowhere or everywhere.

use serde_json::Value;

use crate::object::{self, Object};

/// The lists of containers of a pod.
pub const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// An object that a pod refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The resource, such as `secrets`.
    pub resource: &'static str,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Reference {
    /// A reference to one of the resources that pods refer to.
    #[must_use]
    pub fn known(resource: &str, namespace: &str, name: &str) -> Option<Self> {
        let known = ["pods", "secrets", "configmaps", "serviceaccounts", "persistentvolumeclaims"];
        let resource = known.into_iter().find(|known| *known == resource)?;
        Some(Self { resource, namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

/// Where a volume names a secret.
const SECRETS_OF_VOLUME: [&[&str]; 10] = [
    &["secret", "secretName"],
    &["azureFile", "secretName"],
    &["cephfs", "secretRef", "name"],
    &["cinder", "secretRef", "name"],
    &["flexVolume", "secretRef", "name"],
    &["rbd", "secretRef", "name"],
    &["scaleIO", "secretRef", "name"],
    &["iscsi", "secretRef", "name"],
    &["storageos", "secretRef", "name"],
    &["csi", "nodePublishSecretRef", "name"],
];

/// All containers of a pod's spec, of every list.
pub fn containers(spec: &Object) -> impl Iterator<Item = &Object> {
    CONTAINER_LISTS
        .into_iter()
        .flat_map(|list| object::list(spec, &[list]))
        .filter_map(Value::as_object)
}

/// Every object that a pod of a namespace refers to.
#[must_use]
pub fn references(pod: &Object, namespace: &str) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut add = |resource: &'static str, name: &str| {
        if !name.is_empty() {
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            found.push(Reference { resource, namespace, name });
        }
    };
    let Some(spec) = object::map(pod, &["spec"]) else { return found };
    add("serviceaccounts", object::text(spec, &["serviceAccountName"]));
    for secret in maps(spec, "imagePullSecrets") {
        add("secrets", object::text(secret, &["name"]));
    }
    for container in containers(spec) {
        for entry in maps(container, "env") {
            add("secrets", object::text(entry, &["valueFrom", "secretKeyRef", "name"]));
            add("configmaps", object::text(entry, &["valueFrom", "configMapKeyRef", "name"]));
        }
        for entry in maps(container, "envFrom") {
            add("secrets", object::text(entry, &["secretRef", "name"]));
            add("configmaps", object::text(entry, &["configMapRef", "name"]));
        }
    }
    for volume in maps(spec, "volumes") {
        for path in SECRETS_OF_VOLUME {
            add("secrets", object::text(volume, path));
        }
        add("configmaps", object::text(volume, &["configMap", "name"]));
        let claim = object::text(volume, &["persistentVolumeClaim", "claimName"]);
        add("persistentvolumeclaims", claim);
        if volume.contains_key("ephemeral") {
            // The claim of such a volume is named after pod and volume.
            let name = format!("{}-{}", object::name(pod), object::text(volume, &["name"]));
            add("persistentvolumeclaims", &name);
        }
        let sources = object::list(volume, &["projected", "sources"]);
        for source in sources.iter().filter_map(Value::as_object) {
            add("secrets", object::text(source, &["secret", "name"]));
            add("configmaps", object::text(source, &["configMap", "name"]));
        }
    }
    found
}

fn maps<'a>(parent: &'a Object, list: &str) -> impl Iterator<Item = &'a Object> {
    object::list(parent, &[list]).iter().filter_map(Value::as_object)
}
