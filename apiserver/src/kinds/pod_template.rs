//! What a pod spec says without saying it: the defaults that pods and templates of pods share.

use serde_json::Value;

use super::amounts;
use super::tree::{each, existing, fill, have};
use crate::object::{self, Object};

/// The three lists of containers.
pub(super) const CONTAINER_LISTS: [&str; 3] =
    ["containers", "initContainers", "ephemeralContainers"];

/// Fills in a template: metadata and spec are always there.
pub(super) fn default_template(template: &mut Object) {
    have(template, "metadata");
    default_spec(object::map_mut(template, &["spec"]));
}

/// Fills in what every pod spec has.
pub(super) fn default_spec(spec: &mut Object) {
    fill(spec, "dnsPolicy", "ClusterFirst");
    fill(spec, "restartPolicy", "Always");
    have(spec, "securityContext");
    object::set_default(spec, &["terminationGracePeriodSeconds"], 30);
    fill(spec, "schedulerName", "default-scheduler");
    each(spec, &["volumes"], default_volume);
    for list in CONTAINER_LISTS {
        each(spec, &[list], default_container);
    }
    amounts::normalise_list(spec, &["overhead"]);
    amounts::normalise_list(spec, &["resources", "limits"]);
    amounts::normalise_list(spec, &["resources", "requests"]);
    same_service_account(spec);
}

/// The account's name stands in two fields, of which one is older. Both say the same.
fn same_service_account(spec: &mut Object) {
    let old = object::text(spec, &["serviceAccount"]).to_owned();
    fill(spec, "serviceAccountName", old);
    let name = object::text(spec, &["serviceAccountName"]).to_owned();
    if name.is_empty() {
        spec.remove("serviceAccountName");
        spec.remove("serviceAccount");
    } else {
        object::set(spec, &["serviceAccount"], name);
    }
}

fn default_container(container: &mut Object) {
    let latest = is_latest(object::text(container, &["image"]));
    fill(container, "imagePullPolicy", if latest { "Always" } else { "IfNotPresent" });
    fill(container, "terminationMessagePath", "/dev/termination-log");
    fill(container, "terminationMessagePolicy", "File");
    have(container, "resources");
    each(container, &["ports"], |port| fill(port, "protocol", "TCP"));
    each(container, &["env"], |variable| {
        if let Some(source) = existing(variable, &["valueFrom"]) {
            default_reference(source);
            if let Some(key) = existing(source, &["fileKeyRef"]) {
                object::set_default(key, &["optional"], false);
            }
        }
    });
    amounts::normalise_list(container, &["resources", "limits"]);
    amounts::normalise_list(container, &["resources", "requests"]);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = existing(container, &[probe]) {
            default_probe(probe);
        }
    }
    for hook in ["postStart", "preStop"] {
        default_http_get(container, &["lifecycle", hook, "httpGet"]);
    }
}

fn default_probe(probe: &mut Object) {
    fill(probe, "timeoutSeconds", 1);
    fill(probe, "periodSeconds", 10);
    fill(probe, "successThreshold", 1);
    fill(probe, "failureThreshold", 3);
    default_http_get(probe, &["httpGet"]);
    if let Some(call) = existing(probe, &["grpc"]) {
        object::set_default(call, &["service"], "");
    }
}

fn default_http_get(object: &mut Object, path: &[&str]) {
    if let Some(get) = existing(object, path) {
        fill(get, "path", "/");
        fill(get, "scheme", "HTTP");
    }
}

/// `fieldRef` and `resourceFieldRef`, of variables and of files.
fn default_reference(source: &mut Object) {
    if let Some(field) = existing(source, &["fieldRef"]) {
        fill(field, "apiVersion", "v1");
    }
    if let Some(resource) = existing(source, &["resourceFieldRef"]) {
        object::set_default(resource, &["divisor"], "0");
        amounts::normalise(resource, "divisor");
    }
}

fn default_volume(volume: &mut Object) {
    /// Files can be written by their owner and read by all.
    const MODE: u32 = 0o644;
    if !volume.iter().any(|(field, value)| field != "name" && !value.is_null()) {
        have(volume, "emptyDir");
    }
    if let Some(directory) = existing(volume, &["emptyDir"]) {
        amounts::normalise(directory, "sizeLimit");
    }
    if let Some(path) = existing(volume, &["hostPath"]) {
        object::set_default(path, &["type"], "");
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = existing(volume, &[source]) {
            object::set_default(source, &["defaultMode"], MODE);
        }
    }
    each(volume, &["downwardAPI", "items"], default_reference);
    each(volume, &["projected", "sources"], |source| {
        each(source, &["downwardAPI", "items"], default_reference);
        if let Some(token) = existing(source, &["serviceAccountToken"]) {
            object::set_default(token, &["expirationSeconds"], 3600);
        }
    });
    if let Some(image) = existing(volume, &["image"]) {
        let latest = is_latest(object::text(image, &["reference"]));
        fill(image, "pullPolicy", if latest { "Always" } else { "IfNotPresent" });
    }
    if let Some(claim) = existing(volume, &["ephemeral", "volumeClaimTemplate"]) {
        have(claim, "metadata");
        let claim = object::map_mut(claim, &["spec"]);
        object::set_default(claim, &["volumeMode"], "Filesystem");
        have(claim, "resources");
        amounts::normalise_list(claim, &["resources", "limits"]);
        amounts::normalise_list(claim, &["resources", "requests"]);
    }
    default_remote_volume(volume);
}

/// Sources that only old clusters have.
fn default_remote_volume(volume: &mut Object) {
    if let Some(iscsi) = existing(volume, &["iscsi"]) {
        fill(iscsi, "iscsiInterface", "default");
    }
    if let Some(rbd) = existing(volume, &["rbd"]) {
        fill(rbd, "pool", "rbd");
        fill(rbd, "user", "admin");
        fill(rbd, "keyring", "/etc/ceph/keyring");
    }
    if let Some(disk) = existing(volume, &["azureDisk"]) {
        object::set_default(disk, &["cachingMode"], "ReadWrite");
        object::set_default(disk, &["fsType"], "ext4");
        object::set_default(disk, &["readOnly"], false);
        object::set_default(disk, &["kind"], "Shared");
    }
    if let Some(scale_io) = existing(volume, &["scaleIO"]) {
        fill(scale_io, "storageMode", "ThinProvisioned");
        fill(scale_io, "fsType", "xfs");
    }
}

/// Whether an image is the newest one of its name: tagged `latest`, or without tag and digest.
/// What is no image's name at all is not: it is refused elsewhere.
fn is_latest(image: &str) -> bool {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    let path = match name.split_once('/') {
        Some((host, path)) if is_host(host) => path,
        _ => name,
    };
    let valid = !path.is_empty()
        && path.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c));
    valid && tag.map_or(digest.is_none(), |tag| tag == "latest")
}

fn is_host(text: &str) -> bool {
    text == "localhost" || text.contains(['.', ':']) || text.chars().any(|c| c.is_ascii_uppercase())
}

/// The resources that are limited but not asked for are asked for: by containers of pods, not of
/// templates, so that templates stay as they were written.
pub(super) fn requests_from_limits(container: &mut Object) {
    let Some(limits) = object::map(container, &["resources", "limits"]).cloned() else { return };
    let requests = object::map_mut(container, &["resources", "requests"]);
    for (resource, amount) in limits {
        let missing = requests.get(&resource).is_none_or(Value::is_null);
        if missing {
            requests.insert(resource, amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_tag_is_the_latest() {
        for (image, latest) in [
            ("busybox", true),
            ("busybox:latest", true),
            ("busybox:1.36", false),
            ("localhost:5000/busybox", true),
            ("Registry.example/busybox:latest", true),
            ("busybox@sha256:0123", false),
            ("busybox:latest@sha256:0123", true),
            ("", false),
            ("UPPER", false),
        ] {
            assert_eq!(is_latest(image), latest, "{image}");
        }
    }
}
