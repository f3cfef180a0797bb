//! Whether a pod's spec makes sense: in pods, and in templates of pods.
//!
//! ```text
//!   check ─► volumes ─► containers (env, mounts, probes, resources) ─► scheduling ─► security
//!               └── names ──────┘
//! ```
//!
//! Invariant: complaints come in upstream's order, for tests and people compare them.

mod affinity;
mod container;
mod env;
mod handler;
mod internal;
mod scheduling;
mod security;
mod volume;
mod warnings;

use serde_json::Value;

use super::labels::{self, complain};
use super::resources::{self, Whose};
use super::tree::objects;
use super::{address, amounts, names, pod_resources};
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};

pub(super) use container::check_images;
pub(super) use handler::check_port;
pub(super) use internal::shown as internal_form;
pub(super) use scheduling::{check_taints, check_tolerations};
pub(super) use warnings::warnings;

/// Marks a pod that a kubelet runs on its own account.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";

/// Where a spec stands: pods are checked a bit more than what they are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home<'a> {
    /// In a pod of this name.
    Pod(&'a str),
    /// In a template.
    Template,
}

/// What the parts of a spec must know of the whole.
#[derive(Debug, Clone, Copy)]
struct Whole<'a> {
    spec: &'a Object,
    home: Home<'a>,
}

impl Whole<'_> {
    fn shares_users_with_host(&self) -> bool {
        object::at(self.spec, &["hostUsers"]).and_then(Value::as_bool).unwrap_or(true)
    }

    fn grace_period(&self) -> Option<i64> {
        object::number(self.spec, &["terminationGracePeriodSeconds"])
    }
}

/// Checks a template of pods.
pub(super) fn check_template(template: &Object, path: &Path, errors: &mut FieldErrors) {
    let labels = object::map(template, &["metadata", "labels"]);
    labels::check_labels(labels, &path.child("labels"), errors);
    let annotations = object::map(template, &["metadata", "annotations"]);
    labels::check_annotations(annotations, &path.child("annotations"), errors);
    let nothing = Object::new();
    let spec = object::map(template, &["spec"]).unwrap_or(&nothing);
    check_annotations(annotations, spec, &path.child("annotations"), errors);
    check(spec, Home::Template, &path.child("spec"), errors);
    if !object::list(spec, &["ephemeralContainers"]).is_empty() {
        let path = path.child("spec").child("ephemeralContainers");
        errors.forbidden(&path, "ephemeral containers not allowed in pod template");
    }
}

/// Checks the annotations that mean something to pods.
pub(super) fn check_annotations(
    annotations: Option<&Object>,
    spec: &Object,
    path: &Path,
    errors: &mut FieldErrors,
) {
    /// How willingly a pod is given up.
    const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
    let text = |key: &str| annotations.and_then(|it| it.get(key)).and_then(Value::as_str);
    if let Some(value) = text(MIRROR)
        && object::text(spec, &["nodeName"]).is_empty()
    {
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        errors.invalid(&path.key(MIRROR), value, detail);
    }
    if let Some(cost) = text(DELETION_COST)
        && (cost.parse::<i32>().is_err() || cost.starts_with('+') || is_padded(cost))
    {
        errors.invalid(&path.key(DELETION_COST), cost, "must be a 32bit integer");
    }
}

/// Zeros before a number are refused: others might read them as octal.
fn is_padded(number: &str) -> bool {
    let digits = number.trim_start_matches('-');
    (digits.len() > 1 && digits.starts_with('0')) || number == "-0"
}

/// Checks a spec.
pub(super) fn check(spec: &Object, home: Home<'_>, path: &Path, errors: &mut FieldErrors) {
    let whole = Whole { spec, home };
    if whole.grace_period().is_none() {
        errors.required(&path.child("terminationGracePeriodSeconds"), "");
    }
    let volumes = volume::check_all(whole, &path.child("volumes"), errors);
    container::check_all(whole, &volumes, path, errors);
    check_pod_resources(spec, &path.child("resources"), errors);
    check_host_ports(whole, path, errors);
    check_choices(spec, path, errors);
    let selector = object::map(spec, &["nodeSelector"]);
    labels::check_labels(selector, &path.child("nodeSelector"), errors);
    security::check_pod(spec, &path.child("securityContext"), errors);
    affinity::check(spec, &path.child("affinity"), errors);
    check_dns(spec, &path.child("dnsConfig"), errors);
    scheduling::check_gates(spec, path, errors);
    scheduling::check_spread(spec, &path.child("topologySpreadConstraints"), errors);
    security::check_host_users(whole, path, errors);
    check_hostname_override(spec, &path.child("hostnameOverride"), errors);
    check_names(spec, path, errors);
    check_rest(spec, path, errors);
}

/// Takes one of the supported values; nothing at all is another mistake than a wrong one.
pub(super) fn choose(
    object: &Object,
    field: &str,
    supported: &[&str],
    path: &Path,
    errors: &mut FieldErrors,
) {
    let (value, path) = (object::text(object, &[field]), path.child(field));
    if value.is_empty() {
        errors.required(&path, "");
    } else if !supported.contains(&value) {
        errors.not_supported(&path, value, supported);
    }
}

fn check_choices(spec: &Object, path: &Path, errors: &mut FieldErrors) {
    choose(spec, "restartPolicy", &["Always", "OnFailure", "Never"], path, errors);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    choose(spec, "dnsPolicy", &policies, path, errors);
}

fn check_pod_resources(spec: &Object, path: &Path, errors: &mut FieldErrors) {
    let Some(resources) = object::map(spec, &["resources"]) else { return };
    if !object::list(resources, &["claims"]).is_empty() {
        let detail = "claims may not be set for Resources at pod-level";
        errors.forbidden(&path.child("claims"), detail);
    }
    resources::check_requirements(resources, Whose::Pod, path, errors);
    for (name, amount) in object::map(resources, &["requests"]).into_iter().flatten() {
        let (asked, needed) = (amounts::read(amount), pod_resources::total(spec, "requests", name));
        if let (Some(asked), Some(needed)) = (asked, needed)
            && needed > asked
        {
            let detail = format!(
                "must be greater than or equal to aggregate container requests of {needed}"
            );
            errors.invalid(&path.child("requests").key(name), asked.to_string(), detail);
        }
    }
    let limits = object::map(resources, &["limits"]);
    for (index, container) in objects(spec, &["containers"]).enumerate() {
        for (name, amount) in object::map(container, &["resources", "limits"]).into_iter().flatten()
        {
            let most = limits.and_then(|limits| limits.get(name)).and_then(amounts::read);
            if let (Some(limit), Some(most)) = (amounts::read(amount), most)
                && limit > most
            {
                let path = path.child("containers").index(index).key(name).child("limits");
                let detail = format!("must be less than or equal to pod limits of {most}");
                errors.invalid(&path, limit.to_string(), detail);
            }
        }
    }
}

/// In the host's network, a container's port is the host's.
fn check_host_ports(whole: Whole<'_>, path: &Path, errors: &mut FieldErrors) {
    if !object::flag(whole.spec, &["hostNetwork"]) {
        return;
    }
    for (index, container) in objects(whole.spec, &["containers"]).enumerate() {
        for (port_index, port) in objects(container, &["ports"]).enumerate() {
            let host = object::number(port, &["hostPort"]).unwrap_or(0);
            let own = object::number(port, &["containerPort"]).unwrap_or(0);
            if host != own && (host != 0 || whole.home != Home::Template) {
                let ports = path.child("containers").index(index).child("ports");
                let path = ports.index(port_index).child("hostPort");
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid(&path, host, detail);
            }
        }
    }
}

fn check_dns(spec: &Object, path: &Path, errors: &mut FieldErrors) {
    /// What the C library reads of a resolver's configuration.
    const MOST: (usize, usize, usize) = (3, 32, 2048);
    let config = object::map(spec, &["dnsConfig"]);
    if object::text(spec, &["dnsPolicy"]) == "None" {
        match config {
            None => {
                let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
                return errors.required(path, detail);
            }
            Some(config) if object::list(config, &["nameservers"]).is_empty() => {
                let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
                return errors.required(&path.child("nameservers"), detail);
            }
            Some(_) => {}
        }
    }
    let Some(config) = config else { return };
    let list = |field: &str| object::list(config, &[field]);
    let texts =
        |field: &str| -> Vec<&str> { list(field).iter().filter_map(Value::as_str).collect() };
    let (servers, searches) = (texts("nameservers"), texts("searches"));
    if servers.len() > MOST.0 {
        let detail = format!("must not have more than {} nameservers", MOST.0);
        errors.invalid(&path.child("nameservers"), list("nameservers").to_vec(), detail);
    }
    for (index, server) in servers.iter().enumerate() {
        address::check(server, &path.child("nameservers").index(index), errors);
    }
    let at = path.child("searches");
    if searches.len() > MOST.1 {
        let detail = format!("must not have more than {} search paths", MOST.1);
        errors.invalid(&at, list("searches").to_vec(), detail);
    }
    if searches.join(" ").len() > MOST.2 {
        let detail = format!(
            "must not have more than {} characters (including spaces) in the search list",
            MOST.2
        );
        errors.invalid(&at, list("searches").to_vec(), detail);
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| **search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        complain(&names::dns_subdomain_with_underscores(search), &at.index(index), search, errors);
    }
    for (index, option) in objects(config, &["options"]).enumerate() {
        if object::text(option, &["name"]).is_empty() {
            errors.required(&path.child("options").index(index), "must not be empty");
        }
    }
}

fn check_hostname_override(spec: &Object, path: &Path, errors: &mut FieldErrors) {
    /// What Linux takes as a host's name.
    const MOST: usize = 64;
    let Some(name) = spec.get("hostnameOverride").and_then(Value::as_str) else {
        return;
    };
    for field in ["setHostnameAsFQDN", "hostNetwork"] {
        if object::flag(spec, &[field]) {
            errors.forbidden(path, format!("may not be specified when {field} is true"));
        }
    }
    if name.len() > MOST {
        errors.too_long(path, MOST);
    }
    complain(&names::dns_subdomain(name), path, name, errors);
}

/// What a spec names, and what it is called itself.
fn check_names(spec: &Object, path: &Path, errors: &mut FieldErrors) {
    let mut check = |field: &str, rule: fn(&str) -> Vec<String>| {
        let name = object::text(spec, &[field]);
        if !name.is_empty() {
            complain(&rule(name), &path.child(field), name, errors);
        }
    };
    check("serviceAccountName", names::dns_subdomain);
    check("nodeName", names::dns_subdomain);
    let deadline = object::number(spec, &["activeDeadlineSeconds"]);
    if let Some(seconds) = deadline {
        for fault in names::within(seconds, 1, i64::from(i32::MAX)) {
            errors.invalid(&path.child("activeDeadlineSeconds"), seconds, fault);
        }
    }
    let mut check = |field: &str, rule: fn(&str) -> Vec<String>| {
        let name = object::text(spec, &[field]);
        if !name.is_empty() {
            complain(&rule(name), &path.child(field), name, errors);
        }
    };
    check("hostname", names::dns_label);
    check("subdomain", names::dns_label);
}

fn check_rest(spec: &Object, path: &Path, errors: &mut FieldErrors) {
    check_tolerations(spec, &path.child("tolerations"), errors);
    for (index, alias) in objects(spec, &["hostAliases"]).enumerate() {
        let path = path.child("hostAliases").index(index);
        address::check(object::text(alias, &["ip"]), &path.child("ip"), errors);
        for (index, name) in object::list(alias, &["hostnames"]).iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            let path = path.child("hostnames").index(index);
            complain(&names::dns_subdomain(name), &path, name, errors);
        }
    }
    for field in ["priorityClassName", "runtimeClassName"] {
        let name = object::text(spec, &[field]);
        if !name.is_empty() {
            complain(&names::dns_subdomain(name), &path.child(field), name, errors);
        }
    }
    if spec.get("preemptionPolicy").is_some_and(|it| !it.is_null()) {
        choose(spec, "preemptionPolicy", &["PreemptLowerPriority", "Never"], path, errors);
    }
    let at = path.child("overhead");
    let overhead = object::map(spec, &["overhead"]);
    resources::check_list(overhead, Whose::Container, &at.child("limits"), errors);
    if let Some(system) = object::map(spec, &["os"]) {
        let (name, path) = (object::text(system, &["name"]), path.child("os"));
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else if !matches!(name, "linux" | "windows") {
            errors.not_supported(&path, name, &["linux", "windows"]);
        }
    }
    env::check_file_volumes(spec, path, errors);
}
