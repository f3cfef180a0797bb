//! Every pod has a service account, and a token of it in every container.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Operation, Request};
use crate::auth::lookup::{Answer, Lookup, core};
use crate::auth::node::MIRROR;
use crate::object::{self, Object};
use crate::pod_refs::references;

const DEFAULT: &str = "default";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
/// A controller makes the account of a new namespace; this often it is looked for.
const TRIES_FOR_DEFAULT: usize = 10;

pub(super) async fn mutate(request: &mut Request<'_>, lookup: &dyn Lookup) -> Answer<()> {
    // Specs of pods are fixed once they are made; the other lists of containers have no mounts.
    if !request.is("pods", "") || request.operation != Operation::Create {
        return Ok(());
    }
    // A mirror pod must stay as its kubelet wrote it.
    if is_mirror(request.sent()) {
        return validate(request, lookup).await;
    }
    let told = |member| object::text(request.sent(), &["spec", member]);
    let name = [told("serviceAccountName"), told("serviceAccount"), DEFAULT]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or(DEFAULT)
        .to_owned();
    let account = find(request, &name, lookup).await?;
    let suffix = request.suffix;
    let Some(pod) = request.object.as_deref_mut() else { return Ok(()) };
    object::set(pod, &["spec", "serviceAccountName"], name.as_str());
    // The old name of the field goes with the new one wherever pods are written.
    object::set(pod, &["spec", "serviceAccount"], name.as_str());
    if mounts_token(&account, pod) {
        mount(pod, suffix);
    }
    let pull = object::list(&account, &["imagePullSecrets"]);
    if object::list(pod, &["spec", "imagePullSecrets"]).is_empty() && !pull.is_empty() {
        let named = |secret: &Value| json!({"name": secret["name"]});
        let secrets: Vec<Value> = pull.iter().map(named).collect();
        object::set(pod, &["spec", "imagePullSecrets"], secrets);
    }
    Ok(())
}

pub(super) async fn validate(request: &Request<'_>, lookup: &dyn Lookup) -> Answer<()> {
    let creates = request.is("pods", "") && request.operation == Operation::Create;
    let debugs =
        request.is("pods", "ephemeralcontainers") && request.operation == Operation::Update;
    if !creates && !debugs {
        return Ok(());
    }
    let pod = request.sent();
    if creates && is_mirror(pod) {
        return match mirror_fault(pod) {
            Some(why) => Err(request.forbidden(why)),
            None => Ok(()),
        };
    }
    let name = object::text(pod, &["spec", "serviceAccountName"]);
    if name.is_empty() {
        let (namespace, pod) = (request.namespace, object::name(pod));
        let why = format!("no service account specified for pod {namespace}/{pod}");
        return Err(request.forbidden(&why));
    }
    let account = find(request, name, lookup).await?;
    if !enforces_secrets(&account) {
        return Ok(());
    }
    let lists: &[(&str, &str)] = if creates {
        &[("initContainers", "init container"), ("containers", "container")]
    } else {
        &[("ephemeralContainers", "ephemeral container")]
    };
    let fault = container_fault(pod, &account, lists);
    let fault = if creates { volume_fault(pod, &account).or(fault) } else { fault };
    let fault = if creates { fault.or_else(|| pull_fault(pod, &account)) } else { fault };
    fault.map_or(Ok(()), |why| Err(request.forbidden(&why)))
}

fn is_mirror(pod: &Object) -> bool {
    object::at(pod, &["metadata", "annotations", MIRROR]).is_some()
}

fn mirror_fault(pod: &Object) -> Option<&'static str> {
    if !object::text(pod, &["spec", "serviceAccountName"]).is_empty() {
        return Some("a mirror pod may not reference service accounts");
    }
    if references(pod, "").iter().any(|reference| reference.resource == "secrets") {
        return Some("a mirror pod may not reference secrets");
    }
    let projected = object::list(pod, &["spec", "volumes"])
        .iter()
        .filter_map(|volume| volume["projected"]["sources"].as_array())
        .flatten();
    let mut tokens = projected.filter(|source| source.get("serviceAccountToken").is_some());
    tokens.next().map(|_| "a mirror pod may not use ServiceAccountToken volume projections")
}

async fn find(request: &Request<'_>, name: &str, lookup: &dyn Lookup) -> Answer<Arc<Object>> {
    let tries = if name == DEFAULT { TRIES_FOR_DEFAULT } else { 1 };
    for attempt in 0..tries {
        if attempt > 0 {
            lookup.pause().await;
        }
        if let Some(found) = lookup.get(core("serviceaccounts"), request.namespace, name).await? {
            return Ok(found);
        }
    }
    let namespace = request.namespace;
    Err(request.forbidden(&format!(
        "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
    )))
}

/// The pod's wish counts before the account's.
fn mounts_token(account: &Object, pod: &Object) -> bool {
    let wish = |value: Option<&Value>| value.and_then(Value::as_bool);
    wish(object::at(pod, &["spec", "automountServiceAccountToken"]))
        .or_else(|| wish(account.get("automountServiceAccountToken")))
        .unwrap_or(true)
}

fn mount(pod: &mut Object, suffix: &str) {
    let known = object::list(pod, &["spec", "volumes"])
        .iter()
        .filter_map(|volume| volume["name"].as_str())
        .find(|name| name.starts_with(VOLUME_PREFIX))
        .map(str::to_owned);
    let has_volume = known.is_some();
    let volume = known.unwrap_or_else(|| format!("{VOLUME_PREFIX}{suffix}"));
    let mount = json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH});
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        let containers = pod.get_mut("spec").and_then(|spec| spec.get_mut(list));
        let containers = containers.and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers.filter_map(Value::as_object_mut) {
            let mounts = object::list(container, &["volumeMounts"]);
            // Who mounts something of their own there wants no token.
            if mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
                continue;
            }
            push(container, "volumeMounts", mount.clone());
            mounted = true;
        }
    }
    if mounted && !has_volume {
        push(object::map_mut(pod, &["spec"]), "volumes", token_volume(&volume));
    }
}

fn push(parent: &mut Object, list: &str, value: Value) {
    match parent.get_mut(list) {
        Some(Value::Array(values)) => values.push(value),
        _ => {
            parent.insert(list.to_owned(), Value::Array(vec![value]));
        }
    }
}

/// The volume with the token, the authority's certificate and the name of the namespace.
fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }},
                {"downwardAPI": {"items": [{
                    "path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                }]}},
            ],
            "defaultMode": 420,
        },
    })
}

fn enforces_secrets(account: &Object) -> bool {
    let wish = object::text(account, &["metadata", "annotations", ENFORCE]);
    matches!(wish, "1" | "t" | "T" | "TRUE" | "true" | "True")
}

fn names(account: &Object, list: &str, name: &str) -> bool {
    object::list(account, &[list]).iter().any(|entry| entry["name"] == name)
}

fn volume_fault(pod: &Object, account: &Object) -> Option<String> {
    let volumes = object::list(pod, &["spec", "volumes"]).iter();
    let secrets = volumes.filter_map(|volume| volume["secret"]["secretName"].as_str());
    secrets.into_iter().find(|secret| !names(account, "secrets", secret)).map(|secret| {
        let account = object::name(account);
        format!(
            "volume with secret.secretName=\"{secret}\" is not allowed because service account \
             {account} does not reference that secret"
        )
    })
}

fn container_fault(pod: &Object, account: &Object, lists: &[(&str, &str)]) -> Option<String> {
    let fault = |word: &str, container: &Value, what: &str, secret: &str| {
        let name = container["name"].as_str().unwrap_or_default();
        let account = object::name(account);
        format!(
            "{word} {name} with {what} referencing secret.secretName=\"{secret}\" is not allowed \
             because service account {account} does not reference that secret"
        )
    };
    for (list, word) in lists {
        for container in object::list(pod, &["spec", list]) {
            for entry in container["env"].as_array().into_iter().flatten() {
                let secret = entry["valueFrom"]["secretKeyRef"]["name"].as_str();
                if let Some(secret) = secret.filter(|name| !names(account, "secrets", name)) {
                    let what = format!("envVar {}", entry["name"].as_str().unwrap_or_default());
                    return Some(fault(word, container, &what, secret));
                }
            }
            for entry in container["envFrom"].as_array().into_iter().flatten() {
                let secret = entry["secretRef"]["name"].as_str();
                if let Some(secret) = secret.filter(|name| !names(account, "secrets", name)) {
                    return Some(fault(word, container, "envFrom", secret));
                }
            }
        }
    }
    None
}

fn pull_fault(pod: &Object, account: &Object) -> Option<String> {
    let secrets = object::list(pod, &["spec", "imagePullSecrets"]).iter().enumerate();
    let names = |name: &str| names(account, "imagePullSecrets", name);
    secrets
        .map(|(index, secret)| (index, secret["name"].as_str().unwrap_or_default()))
        .find(|(_, name)| !names(name))
        .map(|(index, name)| {
            let account = object::name(account);
            format!(
                "imagePullSecrets[{index}].name=\"{name}\" is not allowed because service account \
                 {account} does not reference that imagePullSecret"
            )
        })
}
