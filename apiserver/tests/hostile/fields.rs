//! Every field of some kinds, with values of every type that does not belong there.
//!
//! The fields are those of the table of types; lists and maps are entered with one item. The object
//! around is nothing but the way to the field, so that what is wrong can only be the field: a text
//! in a number is 400, and no value makes a 500 or a panic.

use http::Method;
use kstore_apiserver::kinds;
use kstore_apiserver::schema::{self, Form, Shape, TypeId};
use serde_json::{Value, json};

use super::case::{Case, JSON};

/// Kinds with fields of every form, and how many steps are gone into each: a pod's containers'
/// probes' handlers' ports are eight deep, and a deployment's template has the same again.
const KINDS: [(&str, &str, &str, usize); 8] = [
    ("", "v1", "pods", 8),
    ("", "v1", "services", 8),
    ("apps", "v1", "deployments", 4),
    ("", "v1", "secrets", 8),
    ("rbac.authorization.k8s.io", "v1", "roles", 8),
    ("", "v1", "nodes", 8),
    ("", "v1", "events", 8),
    ("coordination.k8s.io", "v1", "leases", 8),
];

/// A step on the way to a field.
#[derive(Debug, Clone)]
enum Step {
    Member(&'static str),
    Item,
    Key,
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, version, resource, deepest) in KINDS {
        let kind = kinds::by_resource(group, version, resource).unwrap();
        let id = schema::types().kind(group, version, kind.kind).unwrap();
        let base = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
        let place = if kind.is_namespaced() { "/namespaces/default" } else { "" };
        let target = format!("{base}/{version}{place}/{resource}?dryRun=All");
        let mut walk =
            Walk { cases: Vec::new(), way: Vec::new(), kind: kind.kind, target, deepest };
        walk.message(id);
        cases.extend(walk.cases);
    }
    cases
}

struct Walk {
    cases: Vec<Case>,
    way: Vec<Step>,
    kind: &'static str,
    target: String,
    deepest: usize,
}

impl Walk {
    fn message(&mut self, id: TypeId) {
        if self.way.len() >= self.deepest {
            return;
        }
        for member in &schema::types().get(id).members {
            self.way.push(Step::Member(member.name));
            self.value(&schema::types().field(member).shape);
            self.way.pop();
        }
    }

    fn value(&mut self, shape: &Shape) {
        for (wrong, value) in wrong_values(&shape.form) {
            self.add(wrong, value, "400 BadRequest");
        }
        for (odd, value) in odd_values(&shape.form) {
            // What the type can hold is for the checks of the kind to judge.
            self.add(odd, value, "400 or 403 or 404 or 422 or 201");
        }
        match &shape.form {
            Form::Message(id) => self.message(*id),
            Form::List(item) | Form::WrappedList(item) => {
                self.way.push(Step::Item);
                self.value(item);
                self.way.pop();
            }
            Form::Map(item) => {
                self.way.push(Step::Key);
                self.value(item);
                self.way.pop();
            }
            _ => {}
        }
    }

    fn add(&mut self, what: &str, value: Value, expected: &str) {
        let mut way = String::new();
        let mut object = value;
        for step in self.way.iter().rev() {
            object = match step {
                Step::Member(name) => {
                    way.insert_str(0, &format!(".{name}"));
                    json!({*name: object})
                }
                Step::Item => {
                    way.insert_str(0, "[0]");
                    json!([object])
                }
                Step::Key => {
                    way.insert_str(0, "[k]");
                    json!({"k": object})
                }
            };
        }
        let name = format!("{}{way}: {what}", self.kind);
        let mut case = Case::new(&name, Method::POST, &self.target, expected);
        if way == ".metadata.resourceVersion" {
            // What upstream says of a new object with a revision is a 500.
            case.expected.push("500".to_owned());
        }
        self.cases.push(case.sends(JSON, object.to_string()));
    }
}

/// A value of each of JSON's types.
fn all_values() -> Vec<(&'static str, Value)> {
    vec![
        ("a number", json!(7)),
        ("a text", json!("text")),
        ("a list", json!([])),
        ("an object", json!({})),
        ("a truth", json!(true)),
    ]
}

/// What does not belong into a field of a form.
fn wrong_values(form: &Form) -> Vec<(&'static str, Value)> {
    let fitting: &[&str] = match form {
        Form::Bool => &["a truth"],
        Form::Int32 | Form::Int64 | Form::Double => &["a number"],
        Form::Text | Form::Duration => &["a text"],
        // A list of bytes is bytes for Go; a text that is no base64 is wrong in its own way.
        Form::Bytes => &["a text", "a list"],
        Form::Message(_) | Form::Map(_) => &["an object"],
        Form::List(_) | Form::WrappedList(_) => &["a list"],
        Form::Quantity | Form::IntOrString => &["a number", "a text"],
        Form::Time | Form::MicroTime => &[],
        // Upstream takes anything here, or looks at it later.
        _ => &["a number", "a text", "a list", "an object", "a truth"],
    };
    all_values().into_iter().filter(|(name, _)| !fitting.contains(name)).collect()
}

/// What belongs there by its type, and is strange.
fn odd_values(form: &Form) -> Vec<(&'static str, Value)> {
    let mut odd = vec![("null", Value::Null)];
    match form {
        Form::Int32 => odd.extend([
            ("beyond 32 bits", json!(2_147_483_648_i64)),
            ("the least", json!(i32::MIN)),
            ("the most", json!(i32::MAX)),
            ("a fraction", json!(1.5)),
        ]),
        Form::Int64 => odd.extend([
            ("the least", json!(i64::MIN)),
            ("the most", json!(i64::MAX)),
            ("beyond 64 bits", json!(1e30)),
        ]),
        Form::Text => odd.extend([
            ("nothing", json!("")),
            ("a NUL", json!("\0")),
            ("a text of 2,000 letters", json!("x".repeat(2_000))),
            ("signs", json!("../..//%2e\u{202e}\u{feff}😀")),
        ]),
        Form::Bytes => {
            odd.extend([
                ("no base64", json!("*")),
                ("cut base64", json!("YQ")),
                ("numbers", json!([1])),
            ]);
        }
        Form::Quantity => odd.extend([
            ("nothing", json!("")),
            ("a huge exponent", json!("1e1000000000")),
            ("a tiny exponent", json!("1e-1000000000")),
            ("many digits", json!("9".repeat(10_000))),
            ("many decimals", json!(format!("0.{}", "9".repeat(10_000)))),
            ("a sign alone", json!("-")),
            ("a suffix alone", json!("Ki")),
            ("two suffixes", json!("1KiKi")),
            ("below nothing", json!("-9223372036854775809E")),
            ("a fraction", json!(0.000_000_000_1)),
        ]),
        Form::Time | Form::MicroTime => odd.extend([
            ("nothing", json!("")),
            ("no time", json!("yesterday")),
            ("month 13", json!("2026-13-01T00:00:00Z")),
            ("the 30th of February", json!("2026-02-30T00:00:00Z")),
            ("year 0", json!("0000-01-01T00:00:00Z")),
            ("year 10000", json!("10000-01-01T00:00:00Z")),
            ("a huge zone", json!("2026-01-01T00:00:00+99:99")),
            ("a long fraction", json!(format!("2026-01-01T00:00:00.{}Z", "1".repeat(10_000)))),
        ]),
        Form::Duration => odd.extend([
            ("nothing", json!("")),
            ("too long", json!("999999999999h")),
            ("no unit", json!("1")),
            ("many parts", json!("1h".repeat(1_000))),
        ]),
        Form::IntOrString => odd.extend([
            ("beyond 32 bits", json!(i64::MAX)),
            ("below nothing", json!(-1)),
            ("percents", json!("99999999999999999999%")),
            ("a fraction", json!(1.5)),
        ]),
        Form::List(_) | Form::WrappedList(_) => {
            odd.extend([("a list of null", json!([null])), ("an empty list", json!([]))])
        }
        Form::Map(_) => odd.extend([
            ("an empty key", json!({"": null})),
            ("a key of signs", json!({"../\0": null})),
        ]),
        _ => {}
    }
    odd
}
