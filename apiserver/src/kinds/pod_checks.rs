//! Whether a pod may be made, changed, and reported on.

use serde_json::Value;

use super::labels::complain;
use super::pod_spec::{self, Home, MIRROR};
use super::tree::objects;
use super::{IMMUTABLE, address, diff, names};
use crate::field::{Fault, FieldErrors, Path};
use crate::object::{self, Object};

/// What an update may change of a spec, in upstream's words.
const CHANGEABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,\
`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Checks a pod by itself.
pub(super) fn validate(pod: &Object, errors: &mut FieldErrors) {
    let nothing = Object::new();
    let spec = object::map(pod, &["spec"]).unwrap_or(&nothing);
    let path = Path::new("spec");
    let annotations = object::map(pod, &["metadata", "annotations"]);
    let at = Path::new("metadata").child("annotations");
    pod_spec::check_annotations(annotations, spec, &at, errors);
    pod_spec::check(spec, Home::Pod(object::name(pod)), &path, errors);
    if object::text(spec, &["serviceAccountName"]).is_empty() {
        for (index, volume) in objects(spec, &["volumes"]).enumerate() {
            for (source_index, source) in objects(volume, &["projected", "sources"]).enumerate() {
                if object::map(source, &["serviceAccountToken"]).is_some() {
                    let volume = path.child("volumes").index(index).child("projected");
                    let source = volume.child("sources").index(source_index);
                    let detail = "must not be specified when serviceAccountName is not set";
                    errors.forbidden(&source.child("serviceAccountToken"), detail);
                }
            }
        }
    }
    pod_spec::check_images(pod, errors);
}

/// Checks what only a new pod must not have.
pub(super) fn validate_create(pod: &Object, errors: &mut FieldErrors) {
    let path = Path::new("spec");
    if !object::list(pod, &["spec", "ephemeralContainers"]).is_empty() {
        errors.forbidden(&path.child("ephemeralContainers"), "cannot be set on create");
    }
    let gated = !object::list(pod, &["spec", "schedulingGates"]).is_empty();
    if gated && !object::text(pod, &["spec", "nodeName"]).is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.forbidden(&path.child("nodeName"), detail);
    }
}

fn annotation<'a>(pod: &'a Object, key: &str) -> Option<&'a str> {
    object::at(pod, &["metadata", "annotations", key]).and_then(Value::as_str)
}

/// Checks a change of a pod: all but a few fields of its spec stay.
pub(super) fn validate_update(new: &Object, old: &Object, errors: &mut FieldErrors) {
    check_mirror(new, old, errors);
    let nothing = Object::new();
    let (after, before) = (
        object::map(new, &["spec"]).unwrap_or(&nothing),
        object::map(old, &["spec"]).unwrap_or(&nothing),
    );
    let path = Path::new("spec");
    for list in ["containers", "initContainers"] {
        if object::list(after, &[list]).len() != object::list(before, &[list]).len() {
            let detail = "pod updates may not add or remove containers";
            return errors.forbidden(&path.child(list), detail);
        }
    }
    if !check_deadline(after, before, &path.child("activeDeadlineSeconds"), errors) {
        return;
    }
    check_tolerations(after, before, &path.child("tolerations"), errors);
    check_gates(after, before, &path.child("schedulingGates"), errors);
    let munged = without_allowed_changes(after, before, &path, errors);
    if &munged != before {
        let (before, munged) = (pod_spec::internal_form(before), pod_spec::internal_form(&munged));
        let difference = diff::unified(&before, &munged);
        let detail = format!("pod updates may not change fields other than {CHANGEABLE}");
        errors.forbidden(&path, format!("{detail}\n{difference}"));
    }
}

fn check_mirror(new: &Object, old: &Object, errors: &mut FieldErrors) {
    let path = Path::new("metadata").child("annotations").key(MIRROR);
    match (annotation(old, MIRROR), annotation(new, MIRROR)) {
        (None, Some(_)) => errors.forbidden(&path, "may not add mirror pod annotation"),
        (Some(before), after) if after != Some(before) => {
            errors.forbidden(&path, "may not remove or update mirror pod annotation");
        }
        _ => {}
    }
}

/// A deadline can be set and drawn nearer. Says whether to look further.
fn check_deadline(after: &Object, before: &Object, path: &Path, errors: &mut FieldErrors) -> bool {
    let of = |spec| object::number(spec, &["activeDeadlineSeconds"]);
    match (of(after), of(before)) {
        (Some(after), _) if !(0..=i64::from(i32::MAX)).contains(&after) => {
            for fault in names::within(after, 0, i64::from(i32::MAX)) {
                errors.invalid(path, after, fault);
            }
            false
        }
        (Some(after), Some(before)) if before < after => {
            errors.invalid(path, after, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.invalid(path, Value::Null, detail);
            true
        }
        _ => true,
    }
}

fn check_tolerations(after: &Object, before: &Object, path: &Path, errors: &mut FieldErrors) {
    let without_seconds = |toleration: &Object| {
        let mut toleration = toleration.clone();
        toleration.remove("tolerationSeconds");
        toleration
    };
    let kept: Vec<Object> = objects(after, &["tolerations"]).map(without_seconds).collect();
    if objects(before, &["tolerations"]).any(|old| !kept.contains(&without_seconds(old))) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        return errors.forbidden(path, detail);
    }
    pod_spec::check_tolerations(after, path, errors);
}

fn check_gates(after: &Object, before: &Object, path: &Path, errors: &mut FieldErrors) {
    let old: Vec<&str> =
        objects(before, &["schedulingGates"]).map(|gate| object::text(gate, &["name"])).collect();
    for (index, gate) in objects(after, &["schedulingGates"]).enumerate() {
        let name = object::text(gate, &["name"]);
        if !old.contains(&name) {
            let detail =
                format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.forbidden(&path.index(index).child("name"), detail);
        }
    }
}

/// The new spec with what may change as it was: what then differs may not.
fn without_allowed_changes(
    after: &Object,
    before: &Object,
    path: &Path,
    errors: &mut FieldErrors,
) -> Object {
    let mut munged = after.clone();
    let restore = |munged: &mut Object, field: &str| match before.get(field) {
        Some(value) => drop(munged.insert(field.to_owned(), value.clone())),
        None => drop(munged.remove(field)),
    };
    for list in ["containers", "initContainers"] {
        let old_images = objects(before, &[list]).map(|it| it.get("image").cloned());
        let Some(Value::Array(containers)) = munged.get_mut(list) else { continue };
        for (container, image) in containers.iter_mut().zip(old_images) {
            if let (Some(container), Some(image)) = (container.as_object_mut(), image) {
                container.insert("image".to_owned(), image);
            }
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        restore(&mut munged, field);
    }
    let grace = |spec| object::number(spec, &["terminationGracePeriodSeconds"]);
    if grace(before).is_some_and(|seconds| seconds < 0) && grace(after) == Some(1) {
        restore(&mut munged, "terminationGracePeriodSeconds");
    }
    let gated = !object::list(before, &["schedulingGates"]).is_empty();
    if gated && after.get("nodeSelector") != before.get("nodeSelector") {
        let kept = object::map(before, &["nodeSelector"]).into_iter().flatten();
        let now = object::map(after, &["nodeSelector"]);
        if !kept.into_iter().all(|(key, value)| now.and_then(|it| it.get(key)) == Some(value)) {
            let detail =
                "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
            let now = now.cloned().map_or(Value::Null, Value::Object);
            errors.invalid(&path.child("nodeSelector"), now, detail);
        }
        restore(&mut munged, "nodeSelector");
    }
    if gated {
        restore_node_affinity(&mut munged, before, path, errors);
    }
    munged
}

/// A gated pod may be bound to fewer nodes: terms may be narrowed, but neither more nor fewer.
fn restore_node_affinity(
    munged: &mut Object,
    before: &Object,
    path: &Path,
    errors: &mut FieldErrors,
) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let of = |spec: &Object| object::at(spec, &["affinity", "nodeAffinity"]).cloned();
    if of(munged) == of(before) {
        return;
    }
    let list = ["affinity", "nodeAffinity", REQUIRED, "nodeSelectorTerms"];
    let at = path.child("affinity").child("nodeAffinity").child(REQUIRED);
    let at = at.child("nodeSelectorTerms");
    let (was, now) = (object::list(before, &list), object::list(munged, &list).to_vec());
    if !was.is_empty() && was.len() != now.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.invalid(&at, now, detail);
    } else {
        for (index, (was, now)) in was.iter().zip(now).enumerate() {
            if !only_adds(&now, was) {
                let detail = "only additions are allowed (no mutations or deletions)";
                errors.invalid(&at.index(index), now, detail);
            }
        }
    }
    match of(before) {
        Some(affinity) => object::set(munged, &["affinity", "nodeAffinity"], affinity),
        None => drop(object::remove(munged, &["affinity", "nodeAffinity"])),
    }
    let empty = object::map(munged, &["affinity"]).is_some_and(Object::is_empty);
    if empty && !before.contains_key("affinity") {
        munged.remove("affinity");
    }
}

fn only_adds(now: &Value, was: &Value) -> bool {
    let list = |term: &Value, field| term.get(field).and_then(Value::as_array).cloned();
    let fields = ["matchExpressions", "matchFields"];
    let of = |term: &Value| fields.map(|field| list(term, field).unwrap_or_default());
    let (now, was) = (of(now), of(was));
    let said_nothing = was.iter().all(Vec::is_empty);
    (!said_nothing || now.iter().all(Vec::is_empty))
        && now.iter().zip(&was).all(|(now, was)| now.starts_with(was))
}

/// Checks what a kubelet says of a pod.
pub(super) fn validate_status_update(new: &Object, old: &Object, errors: &mut FieldErrors) {
    check_mirror(new, old, errors);
    let path = Path::new("status");
    let status = |pod, field| object::text(pod, &["status", field]);
    check_conditions(new, &path.child("conditions"), errors);
    let nominated = status(new, "nominatedNodeName");
    if !nominated.is_empty() && nominated != status(old, "nominatedNodeName") {
        let path = path.child("nominatedNodeName");
        complain(&names::dns_subdomain(nominated), &path, nominated, errors);
        if !object::text(old, &["spec", "nodeName"]).is_empty() {
            let detail = "may not be set on pods that are already bound to a node";
            errors.forbidden(&path, detail);
        }
    }
    if status(new, "qosClass") != status(old, "qosClass") {
        errors.invalid(&path.child("qosClass"), status(new, "qosClass"), IMMUTABLE);
    }
    for (list, specs) in [
        ("containerStatuses", "containers"),
        ("initContainerStatuses", "initContainers"),
        ("ephemeralContainerStatuses", ""),
    ] {
        check_states(new, old, list, specs, errors);
    }
    for (list, first) in [("podIPs", None), ("hostIPs", Some("hostIP"))] {
        check_addresses(new, old, list, first, errors);
    }
}

/// Conditions that nobody but kubelets and schedulers sets have names of their own.
fn check_conditions(pod: &Object, at: &Path, errors: &mut FieldErrors) {
    const OF_THE_SYSTEM: &[&str] = &[
        "PodScheduled",
        "Ready",
        "Initialized",
        "ContainersReady",
        "DisruptionTarget",
        "PodReadyToStartContainers",
        "PodResizePending",
        "PodResizeInProgress",
        "AllContainersRestarting",
    ];
    for (index, condition) in objects(pod, &["status", "conditions"]).enumerate() {
        let kind = object::text(condition, &["type"]);
        if !OF_THE_SYSTEM.contains(&kind) {
            let path = at.index(index).child("Type");
            complain(&names::qualified(kind), &path, kind, errors);
        }
    }
}

/// A container that ended for good stays ended.
fn check_states(new: &Object, old: &Object, list: &str, specs: &str, errors: &mut FieldErrors) {
    for (index, before) in objects(old, &["status", list]).enumerate() {
        let Some(end) = object::map(before, &["state", "terminated"]) else { continue };
        let name = object::text(before, &["name"]);
        let after = objects(new, &["status", list]).find(|it| object::text(it, &["name"]) == name);
        let lives = after.is_some_and(|it| object::map(it, &["state", "terminated"]).is_none());
        let code = object::number(end, &["exitCode"]).unwrap_or(0);
        let spec = objects(old, &["spec", specs]).find(|it| object::text(it, &["name"]) == name);
        if lives && !spec.is_some_and(|container| is_restarted(container, old, code)) {
            let path = Path::new("status").child(list).index(index).child("state");
            errors.forbidden(&path, "may not be transitioned to non-terminated state");
        }
    }
}

fn is_restarted(container: &Object, pod: &Object, code: i64) -> bool {
    for rule in objects(container, &["restartPolicyRules"]) {
        let values = object::list(rule, &["exitCodes", "values"]);
        let among = values.iter().any(|value| value.as_i64() == Some(code));
        if among == (object::text(rule, &["exitCodes", "operator"]) == "In") {
            return true;
        }
    }
    let of_pod = object::text(pod, &["spec", "restartPolicy"]);
    match super::columns::or(object::text(container, &["restartPolicy"]), of_pod) {
        "Always" => true,
        "OnFailure" => code != 0,
        _ => false,
    }
}

fn check_addresses(
    new: &Object,
    old: &Object,
    list: &str,
    first: Option<&str>,
    errors: &mut FieldErrors,
) {
    let path = Path::new("status").child(list);
    let of = |pod| -> Vec<String> {
        let all = objects(pod, &["status", list]);
        all.map(|it| object::text(it, &["ip"]).to_owned()).collect()
    };
    let (addresses, known) = (of(new), of(old));
    if let (Some(field), Some(address)) = (first, addresses.first())
        && object::text(new, &["status", field]) != address
    {
        let path = path.index(0).child("ip");
        errors.invalid(&path, address.as_str(), format!("must be equal to `{field}`"));
    }
    for (index, text) in addresses.iter().enumerate().filter(|(_, it)| !known.contains(it)) {
        address::check(text, &path.index(index), errors);
    }
    let families = addresses.iter().filter_map(|text| Some(address::parse(text)?.is_ipv4()));
    let families: Vec<bool> = families.collect();
    let both = families.contains(&true) && families.contains(&false);
    if addresses.len() < 2 {
        return;
    }
    let unread = addresses.iter().enumerate().find(|(_, text)| address::parse(text).is_none());
    if let Some((index, text)) = unread {
        let detail = "failed to check for dual stack with error:invalid IP";
        errors.add(Fault::Internal, &path, Value::Null, format!("{detail}[{index}]: {text}"));
    }
    if unread.is_some() || !both || addresses.len() > 2 {
        let all: Vec<Value> = addresses.iter().map(|it| serde_json::json!({"IP": it})).collect();
        errors.invalid(&path, all, "may specify no more than one IP for each IP family");
    }
}
