//! Every kind against what kube-apiserver 1.36.3 answered: defaults, complaints, cells.
//!
//! `tests/kinds/*.jsonl` has one case a line: what was asked of it (without admission plugins), and
//! its answer. A case is run through the functions of the kind's row in the registry's order.
//!
//! ```text
//!   create   default ─► prepare_create ─► meta, validate, validate_create
//!   update   default ─► prepare_update ─► meta, validate, validate_update
//!   status   default ─► all but the status as before ─► prepare_status_update ─► …status_update
//!   table    cells
//! ```

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use kstore_apiserver::field::{FieldError, FieldErrors};
use kstore_apiserver::kinds::{self, CellType, Kind, meta};
use kstore_apiserver::object::{self, Object};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

/// What the store and its allocators fill in, not the kinds.
const ALLOCATED: &[&str] = &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"];

fn run(cases: &str) {
    let mut wrong = Vec::new();
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["case"].as_str().unwrap();
        let (expected, got) = answers(&case);
        if expected != got {
            wrong.push(format!("{name}\n  expected {expected}\n  got      {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

fn answers(case: &Value) -> (Value, Value) {
    let mut parts = case["resource"].as_str().unwrap().split('/');
    let mut part = || parts.next().unwrap();
    let kind = kinds::by_resource(part(), part(), part()).unwrap();
    let object = case["object"].as_object().unwrap().clone();
    let mut expected = case["answer"].clone();
    if case["do"] == "table" {
        return table(kind, case, &object);
    }
    let mut got = match case["do"].as_str().unwrap() {
        "create" => create(kind, object),
        "update" => update(kind, object, case["old"].as_object().unwrap()),
        "status" => status(kind, object, case["old"].as_object().unwrap()),
        other => unreachable!("{other}"),
    };
    for answer in [&mut expected, &mut got] {
        if let Some(causes) = answer.get_mut("causes").and_then(Value::as_array_mut) {
            // Upstream finds some mistakes twice on an update; people see them once.
            let mut seen = Vec::new();
            causes.retain(|cause| {
                !seen.contains(cause) && {
                    seen.push(cause.clone());
                    true
                }
            });
        }
        if kind.resource == "services" {
            without_allocated(answer, case);
        }
        prune(answer);
        without_transitions(answer);
    }
    (expected, got)
}

fn create(kind: &Kind, mut new: Object) -> Value {
    (kind.default)(&mut new);
    (kind.prepare_create)(&mut new);
    let mut errors = FieldErrors::default();
    meta::validate(&new, kind, &mut errors);
    (kind.validate)(&new, &mut errors);
    (kind.validate_create)(&new, &mut errors);
    answer(new, &errors)
}

fn update(kind: &Kind, mut new: Object, old: &Object) -> Value {
    (kind.default)(&mut new);
    object::set(&mut new, &["metadata", "resourceVersion"], "1");
    (kind.prepare_update)(&mut new, old);
    let mut errors = FieldErrors::default();
    meta::validate_update(&new, old, &mut errors);
    (kind.validate)(&new, &mut errors);
    (kind.validate_update)(&new, old, &mut errors);
    answer(new, &errors)
}

fn status(kind: &Kind, asked: Object, old: &Object) -> Value {
    let mut new = asked;
    (kind.default)(&mut new);
    let kept = old.iter().filter(|(field, _)| !matches!(field.as_str(), "status" | "metadata"));
    for (field, value) in kept {
        new.insert(field.clone(), value.clone());
    }
    object::set(&mut new, &["metadata", "resourceVersion"], "1");
    (kind.prepare_status_update)(&mut new, old);
    let mut errors = FieldErrors::default();
    meta::validate_update(&new, old, &mut errors);
    (kind.validate_status_update)(&new, old, &mut errors);
    answer(new, &errors)
}

fn answer(mut new: Object, errors: &FieldErrors) -> Value {
    if errors.is_empty() {
        object::remove(&mut new, &["metadata", "resourceVersion"]);
        return json!({ "object": new });
    }
    let cause =
        |error: &FieldError| json!([error.path.to_string(), error.fault.reason(), error.body()]);
    json!({ "causes": errors.0.iter().map(cause).collect::<Vec<_>>() })
}

fn table(kind: &Kind, case: &Value, object: &Object) -> (Value, Value) {
    let columns: Vec<Value> = kind
        .columns
        .iter()
        .map(|column| {
            let cell = match column.cell {
                CellType::Text => "string",
                CellType::Integer => "integer",
                CellType::Boolean => "boolean",
                CellType::Date => "date",
            };
            json!([column.name, cell, column.format, column.priority])
        })
        .collect();
    let mut got = (kind.cells)(object, case["now"].as_i64().unwrap());
    let mut expected = case["answer"]["cells"].as_array().unwrap().clone();
    for (index, column) in kind.columns.iter().enumerate() {
        if column.name == "Age" {
            got[index] = "some".into();
            expected[index] = "some".into();
        }
    }
    let conditions = match (kind.row_conditions)(object) {
        none if none.is_empty() => Value::Null,
        some => some.into(),
    };
    (
        json!([case["answer"]["columns"], expected, case["answer"]["conditions"]]),
        json!([columns, got, conditions]),
    )
}

/// Nobody but the registry knows the time.
fn without_transitions(answer: &mut Value) {
    let conditions = answer.pointer_mut("/object/status/conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten().filter_map(Value::as_object_mut) {
        condition.remove("lastTransitionTime");
    }
}

fn without_allocated(answer: &mut Value, case: &Value) {
    let asked = &case["object"]["spec"];
    let Some(spec) = answer.pointer_mut("/object/spec").and_then(Value::as_object_mut) else {
        return;
    };
    spec.retain(|field, _| !ALLOCATED.contains(&field.as_str()) || asked.get(field).is_some());
    spec.remove("healthCheckNodePort");
    if let Some(Value::Array(ports)) = spec.get_mut("ports") {
        for port in ports.iter_mut().filter_map(Value::as_object_mut) {
            port.remove("nodePort");
        }
    }
}

/// Members that are `null` or empty lists, which the codec leaves out or writes by its own table.
fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(prune);
            members.retain(|_, member| !member.is_null() && member != &json!([]));
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

#[test]
fn pods_say_without_saying_what_upstream_fills_in() {
    run(include_str!("kinds/pod-defaults.jsonl"));
}

#[test]
fn mistakes_in_pods_are_found_in_upstreams_words() {
    run(include_str!("kinds/pod-mistakes.jsonl"));
}

#[test]
fn pods_change_as_far_as_upstream_lets_them() {
    run(include_str!("kinds/pod-updates.jsonl"));
    run(include_str!("kinds/pod-differences.jsonl"));
}

#[test]
fn deployments_and_their_like_answer_as_upstream() {
    run(include_str!("kinds/workloads.jsonl"));
}

#[test]
fn services_answer_as_upstream() {
    run(include_str!("kinds/services.jsonl"));
}

#[test]
fn namespaces_nodes_and_configuration_answer_as_upstream() {
    run(include_str!("kinds/core.jsonl"));
}

#[test]
fn events_leases_and_endpoints_answer_as_upstream() {
    run(include_str!("kinds/events-and-endpoints.jsonl"));
}

#[test]
fn roles_priorities_and_quotas_answer_as_upstream() {
    run(include_str!("kinds/policies.jsonl"));
}

#[test]
fn tables_have_upstreams_columns_and_cells() {
    run(include_str!("kinds/tables.jsonl"));
}

const ALL: &[&str] = &[
    include_str!("kinds/pod-defaults.jsonl"),
    include_str!("kinds/pod-mistakes.jsonl"),
    include_str!("kinds/pod-updates.jsonl"),
    include_str!("kinds/pod-differences.jsonl"),
    include_str!("kinds/workloads.jsonl"),
    include_str!("kinds/services.jsonl"),
    include_str!("kinds/core.jsonl"),
    include_str!("kinds/events-and-endpoints.jsonl"),
    include_str!("kinds/policies.jsonl"),
    include_str!("kinds/tables.jsonl"),
];

/// Every recorded object with its kind.
fn objects() -> impl Iterator<Item = (&'static Kind, Object)> {
    ALL.iter().flat_map(|cases| cases.lines()).map(|line| {
        let case: Value = serde_json::from_str(line).unwrap();
        let mut parts = case["resource"].as_str().unwrap().split('/');
        let mut part = || parts.next().unwrap();
        let kind = kinds::by_resource(part(), part(), part()).unwrap();
        (kind, case["object"].as_object().unwrap().clone())
    })
}

#[test]
fn filling_in_twice_is_filling_in_once() {
    for (kind, mut once) in objects() {
        (kind.default)(&mut once);
        let mut twice = once.clone();
        (kind.default)(&mut twice);
        assert_eq!(once, twice, "{}", kind.resource);
    }
}

#[test]
fn what_is_stored_reads_as_what_was_written() {
    for (kind, mut object) in objects() {
        (kind.default)(&mut object);
        let mut stored = object.clone();
        (kind.to_stored)(&mut stored);
        let mut read = stored.clone();
        (kind.from_stored)(&mut read);
        assert_eq!(object, read, "{}", kind.resource);
    }
}

/// Puts values of other types into random places of a tree.
fn spoil(value: &mut Value, rng: &mut StdRng) {
    const OTHERS: usize = 8;
    if rng.random_range(0..12) == 0 {
        *value = match rng.random_range(0..OTHERS) {
            0 => Value::Null,
            1 => json!(""),
            2 => json!("é%"),
            3 => json!(i64::MIN),
            4 => json!(u64::MAX),
            5 => json!([[], {}, null]),
            6 => json!({"": {}}),
            _ => json!(1.5),
        };
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(|member| spoil(member, rng)),
        Value::Array(items) => items.iter_mut().for_each(|item| spoil(item, rng)),
        _ => {}
    }
}

#[test]
fn no_object_is_so_wrong_that_a_kind_panics() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    println!("SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for round in 0..20 {
        for (kind, object) in objects() {
            let mut spoilt = Value::Object(object.clone());
            spoil(&mut spoilt, &mut rng);
            let Value::Object(spoilt) = spoilt else { continue };
            (kind.cells)(&spoilt, round);
            (kind.row_conditions)(&spoilt);
            for field in kind.selectable {
                (kind.selected)(&spoilt, field);
            }
            (kind.warnings)(&spoilt, Some(&object));
            (kind.warnings)(&object, Some(&spoilt));
            (kind.warnings)(&spoilt, None);
            create(kind, spoilt.clone());
            update(kind, spoilt.clone(), &object);
            update(kind, object.clone(), &spoilt);
            status(kind, spoilt.clone(), &object);
            status(kind, object, &spoilt);
        }
    }
}

/// Resources of upstream's groups that are served without a row, or not at all.
const ELSEWHERE: &[&str] = &[
    "bindings",
    "componentstatuses",
    "daemonsets",
    "ipaddresses",
    "persistentvolumeclaims",
    "persistentvolumes",
    "replicationcontrollers",
    "servicecidrs",
    "statefulsets",
];
/// Parts of resources that are not served.
const PARTS_ELSEWHERE: &[&str] =
    &["attach", "ephemeralcontainers", "exec", "portforward", "proxy", "resize"];

#[test]
fn field_selectors_see_what_upstream_lets_them_see() {
    let pod = json!({
        "spec": {"nodeName": "n", "hostNetwork": true, "restartPolicy": "Never"},
        "status": {"phase": "Running", "podIPs": [{"ip": "1.2.3.4"}, {"ip": "fd00::1"}]},
    });
    let event = json!({
        "involvedObject": {"kind": "Pod", "name": "p"},
        "reportingComponent": "kubelet",
        "type": "Normal",
    });
    let new_event = json!({"regarding": {"kind": "Pod"}, "reportingController": "kubelet"});
    let service = json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9"}});
    for (resource, object, field, value) in [
        ("/pods", &pod, "spec.nodeName", "n"),
        ("/pods", &pod, "spec.host", "n"),
        ("/pods", &pod, "spec.hostNetwork", "true"),
        ("/pods", &pod, "spec.serviceAccountName", ""),
        ("/pods", &pod, "status.phase", "Running"),
        ("/pods", &pod, "status.podIP", "1.2.3.4"),
        ("/pods", &pod, "status.podIPs", ""),
        ("/events", &event, "involvedObject.kind", "Pod"),
        ("/events", &event, "source", "kubelet"),
        ("/events", &event, "type", "Normal"),
        ("events.k8s.io/events", &new_event, "regarding.kind", "Pod"),
        ("events.k8s.io/events", &new_event, "reportingController", "kubelet"),
        ("/services", &service, "spec.type", "NodePort"),
        ("/services", &service, "spec.clusterIP", "10.96.0.9"),
        ("/nodes", &service, "spec.unschedulable", "false"),
        ("apps/replicasets", &service, "status.replicas", "0"),
    ] {
        let (group, resource) = resource.split_once('/').unwrap();
        let kind = kinds::by_resource(group, "v1", resource).unwrap();
        assert!(kind.selectable.contains(&field), "{field}");
        assert_eq!((kind.selected)(object.as_object().unwrap(), field), value, "{field}");
    }
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    for line in include_str!("kinds/warnings.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let mut parts = case["resource"].as_str().unwrap().split('/');
        let mut part = || parts.next().unwrap();
        let kind = kinds::by_resource(part(), part(), part()).unwrap();
        let mut object = case["object"].as_object().unwrap().clone();
        (kind.default)(&mut object);
        (kind.prepare_create)(&mut object);
        let mut warnings = (kind.warnings)(&object, None);
        if !kind.deprecation.is_empty() {
            warnings.insert(0, kind.deprecation.to_owned());
        }
        assert_eq!(case["answer"], json!(warnings), "{}", case["case"]);
    }
}

#[test]
fn rows_say_what_upstreams_discovery_says() {
    for line in include_str!("kinds/discovery.jsonl").lines() {
        let said: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| said[field].as_str().unwrap_or_default();
        let (resource, part) = text("name").split_once('/').unwrap_or((text("name"), ""));
        if ELSEWHERE.contains(&resource) || PARTS_ELSEWHERE.contains(&part) {
            continue;
        }
        let kind = kinds::by_resource(text("in"), "v1", resource).unwrap();
        let verbs =
            |verbs: &[kinds::Verb]| -> Vec<&str> { verbs.iter().map(|verb| verb.name()).collect() };
        if part.is_empty() {
            let row = json!({
                "in": kind.group,
                "name": kind.resource,
                "singularName": kind.singular,
                "namespaced": kind.is_namespaced(),
                "kind": kind.kind,
                "verbs": verbs(kind.verbs),
            });
            for field in ["in", "name", "singularName", "namespaced", "kind", "verbs"] {
                assert_eq!(said[field], row[field], "{line}");
            }
            let listed = |field: &str| said.get(field).cloned().unwrap_or_else(|| json!([]));
            assert_eq!(listed("shortNames"), json!(kind.short_names), "{line}");
            assert_eq!(listed("categories"), json!(kind.categories), "{line}");
        } else {
            let row = kind.subresource(part).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(said["kind"], row.kind, "{line}");
            assert_eq!(said["verbs"], json!(verbs(row.verbs)), "{line}");
            let own = if text("group").is_empty() { text("in") } else { text("group") };
            assert_eq!(own, if row.group.is_empty() { text("group") } else { row.group }, "{line}");
        }
    }
}
