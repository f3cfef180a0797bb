//! What is allowed in a pod or template and probably not meant: upstream's warnings, which kubectl
//! prints.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::field::Path;
use crate::kinds::amounts;
use crate::kinds::names;
use crate::kinds::tree::objects;
use crate::object::{self, Object};

/// Labels of nodes that have other names by now.
const OLD_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];

/// Annotations that do nothing any more.
const OLD_ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];

/// Sources of volumes that are gone or will be.
const OLD_VOLUMES: &[(&str, &str, &str)] = &[
    ("photonPersistentDisk", "photonPersistentDisk", "v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "v1.28, non-functional in v1.31+"),
];

/// Warns of what a pod or a template at a path has.
pub(in crate::kinds) fn warnings(template: &Object, path: &Path) -> Vec<String> {
    let nothing = Object::new();
    let spec = object::map(template, &["spec"]).unwrap_or(&nothing);
    let annotations = object::map(template, &["metadata", "annotations"]).unwrap_or(&nothing);
    let at = path.child("spec");
    let mut warnings = Vec::new();
    warn_of_labels(spec, &at, &mut warnings);
    for (key, why) in OLD_ANNOTATIONS.iter().filter(|(key, _)| annotations.contains_key(*key)) {
        let path = path.child("metadata").child("annotations").key(key);
        warnings.push(format!("{path}: {why}"));
    }
    for (index, volume) in objects(spec, &["volumes"]).enumerate() {
        for (field, shown, when) in OLD_VOLUMES {
            if object::map(volume, &[field]).is_some() {
                let path = at.child("volumes").index(index).child(shown);
                warnings.push(format!("{path}: deprecated in {when}"));
            }
        }
    }
    warn_of_doubles(spec, &at, &mut warnings);
    warn_of_parts(object::map(spec, &["overhead"]), &at.child("overhead"), &mut warnings);
    let containers: Vec<(Path, &Object)> = ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| {
            let at = at.child(list);
            objects(spec, &[list]).enumerate().map(move |(index, it)| (at.index(index), it))
        })
        .collect();
    for (path, container) in &containers {
        warn_of_container(container, path, &mut warnings);
    }
    warn_of_ports(&containers, &mut warnings);
    if object::number(spec, &["terminationGracePeriodSeconds"]).is_some_and(|it| it < 0) {
        let path = at.child("terminationGracePeriodSeconds");
        warnings.push(format!(
            "{path}: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    warn_of_affinity(spec, &at.child("affinity"), &mut warnings);
    warnings
}

fn old_label(key: &str) -> Option<&'static str> {
    OLD_LABELS.iter().find(|(old, _)| *old == key).map(|(_, why)| *why)
}

const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";

fn warn_of_labels(spec: &Object, at: &Path, warnings: &mut Vec<String>) {
    for (key, _) in object::map(spec, &["nodeSelector"]).into_iter().flatten() {
        if let Some(why) = old_label(key) {
            warnings.push(format!("{}: {why}", at.child("nodeSelector").key(key)));
        }
    }
    let node = at.child("affinity").child("nodeAffinity");
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let terms = ["affinity", "nodeAffinity", required, "nodeSelectorTerms"];
    for (index, term) in objects(spec, &terms).enumerate() {
        let path = node.child(required).child("nodeSelectorTerms").index(index);
        warn_of_expressions(term, &path, warnings);
    }
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in objects(spec, &["affinity", "nodeAffinity", preferred]).enumerate() {
        let path = node.child(preferred).index(index).child("preference");
        let Some(term) = object::map(term, &["preference"]) else { continue };
        warn_of_expressions(term, &path, warnings);
        for (index, expression) in objects(term, &["matchExpressions"]).enumerate() {
            let path = path.child("matchExpressions").index(index).child("values");
            for (index, value) in object::list(expression, &["values"]).iter().enumerate() {
                let value = value.as_str().unwrap_or_default();
                for fault in names::label_value(value) {
                    warnings.push(format!("{}: {value} is invalid, {fault}", path.index(index)));
                }
            }
        }
    }
    for (index, constraint) in objects(spec, &["topologySpreadConstraints"]).enumerate() {
        let path = at.child("topologySpreadConstraints").index(index);
        let key = object::text(constraint, &["topologyKey"]);
        if let Some(why) = old_label(key) {
            warnings.push(format!("{}: {key} is {why}", path.child("topologyKey")));
        }
        if object::map(constraint, &["labelSelector"]).is_none() {
            warnings.push(format!("{}: {NO_SELECTOR}", path.child("labelSelector")));
        }
    }
}

fn warn_of_expressions(term: &Object, path: &Path, warnings: &mut Vec<String>) {
    for (index, expression) in objects(term, &["matchExpressions"]).enumerate() {
        let key = object::text(expression, &["key"]);
        if let Some(why) = old_label(key) {
            let path = path.child("matchExpressions").index(index).child("key");
            warnings.push(format!("{path}: {key} is {why}"));
        }
    }
}

/// What stands twice in a list: the later one, or neither, counts.
fn warn_of_doubles(spec: &Object, at: &Path, warnings: &mut Vec<String>) {
    for (list, field) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        let values: Vec<&str> =
            objects(spec, &[list]).map(|item| object::text(item, &[field])).collect();
        for (index, value) in values.iter().enumerate() {
            if values[..index].contains(value) {
                let path = at.child(list).index(index).child(field);
                warnings.push(format!("{path}: duplicate {field} \"{value}\""));
            }
        }
    }
    for (index, secret) in objects(spec, &["imagePullSecrets"]).enumerate() {
        if object::text(secret, &["name"]).is_empty() {
            let path = at.child("imagePullSecrets").index(index).child("name");
            warnings.push(format!("{path}: invalid empty name \"\""));
        }
    }
}

/// Parts of bytes.
fn warn_of_parts(list: Option<&Object>, path: &Path, warnings: &mut Vec<String>) {
    for resource in ["memory", "ephemeral-storage"] {
        let amount = list.and_then(|list| list.get(resource)).and_then(amounts::read);
        if let Some(amount) = amount.filter(|amount| !amounts::is_whole(amount)) {
            warnings.push(format!(
                "{}: fractional byte value \"{amount}\" is invalid, must be an integer",
                path.key(resource)
            ));
        }
    }
}

fn warn_of_container(container: &Object, path: &Path, warnings: &mut Vec<String>) {
    for resource in ["memory", "ephemeral-storage"] {
        for which in ["limits", "requests"] {
            let amount = object::at(container, &["resources", which, resource]);
            let only: Object =
                amount.map(|amount| (resource.to_owned(), amount.clone())).into_iter().collect();
            warn_of_parts(Some(&only), &path.child("resources").child(which), warnings);
        }
    }
    let mut seen = Vec::new();
    for (index, variable) in objects(container, &["env"]).enumerate() {
        let name = object::text(variable, &["name"]);
        let value = object::text(variable, &["value"]);
        let reference = format!("$({name})");
        let extends = value.contains(&reference)
            && value != reference
            && object::map(variable, &["valueFrom"]).is_none();
        if seen.contains(&name) && !extends {
            warnings.push(format!(
                "{}: hides previous definition of \"{name}\", which may be dropped when using apply",
                path.child("env").index(index)
            ));
        }
        seen.push(name);
    }
}

fn warn_of_ports(containers: &[(Path, &Object)], warnings: &mut Vec<String>) {
    let ports: Vec<(Path, &Object)> = containers
        .iter()
        .flat_map(|(path, container)| {
            let at = path.child("ports");
            objects(container, &["ports"]).enumerate().map(move |(i, port)| (at.index(i), port))
        })
        .collect();
    let text = |port: &Object, field: &str| object::text(port, &[field]).to_owned();
    let number = |port: &Object, field: &str| object::number(port, &[field]).unwrap_or(0);
    for (index, (path, port)) in ports.iter().enumerate() {
        let host_ip = text(port, "hostIP");
        let host_port = number(port, "hostPort");
        if !host_ip.is_empty() && host_port == 0 {
            let (name, protocol) = (text(port, "name"), text(port, "protocol"));
            let own = number(port, "containerPort");
            warnings.push(format!(
                "{path}: hostIP set without hostPort: {{Name:{name} HostPort:0 ContainerPort:{own} \
                 Protocol:{protocol} HostIP:{host_ip}}}"
            ));
        }
        for (other_path, other) in &ports[..index] {
            let same = number(port, "containerPort") == number(other, "containerPort")
                && text(port, "protocol") == text(other, "protocol");
            let (other_ip, other_port) = (text(other, "hostIP"), number(other, "hostPort"));
            let what = match () {
                () if !same => continue,
                () if host_ip == other_ip && host_port == other_port => "duplicate",
                () if host_port == 0 || other_port == 0 => "overlapping",
                () if host_port == other_port && host_ip.is_empty() != other_ip.is_empty() => {
                    "dangerously ambiguous"
                }
                () => continue,
            };
            warnings.push(format!("{path}: {what} port definition with {other_path}"));
        }
    }
    let mut named: BTreeMap<String, &Path> = BTreeMap::new();
    for (path, port) in &ports {
        let name = text(port, "name");
        if name.is_empty() {
            continue;
        }
        if let Some(other) = named.get(&name) {
            warnings.push(format!(
                "{path}: duplicate port name \"{name}\" with {other}, services and probes that \
                 select ports by name will use {other}"
            ));
        } else {
            named.insert(name, path);
        }
    }
}

fn warn_of_affinity(spec: &Object, at: &Path, warnings: &mut Vec<String>) {
    let missing = |term: Option<&Object>| {
        term.is_none_or(|term| object::map(term, &["labelSelector"]).is_none())
    };
    for name in ["podAffinity", "podAntiAffinity"] {
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        for (index, term) in objects(spec, &["affinity", name, required]).enumerate() {
            if missing(Some(term)) {
                let path = at.child(name).child(required).index(index).child("labelSelector");
                warnings.push(format!("{path}: {NO_SELECTOR}"));
            }
        }
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        for (index, weighted) in objects(spec, &["affinity", name, preferred]).enumerate() {
            if missing(weighted.get("podAffinityTerm").and_then(Value::as_object)) {
                let path = at.child(name).child(preferred).index(index);
                let path = path.child("podAffinityTerm").child("labelSelector");
                warnings.push(format!("{path}: {NO_SELECTOR}"));
            }
        }
    }
}
