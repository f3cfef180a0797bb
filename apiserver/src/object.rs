//! Objects as trees of JSON, and how to look into them without knowing their kind.
//!
//! Absent, `null` and of another type all read as nothing: what a schema check let through needs
//! no second complaint.

use serde_json::{Map, Value};

/// An object: the members of its outermost JSON object, in the order in which they are written.
pub type Object = Map<String, Value>;

/// The value at a path of member names.
#[must_use]
pub fn at<'a>(object: &'a Object, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(object.get(*first)?, |value, name| value.get(name))
}

/// The text at a path; empty if there is none.
#[must_use]
pub fn text<'a>(object: &'a Object, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number at a path.
#[must_use]
pub fn number(object: &Object, path: &[&str]) -> Option<i64> {
    at(object, path).and_then(Value::as_i64)
}

/// The truth at a path; false if there is none.
#[must_use]
pub fn flag(object: &Object, path: &[&str]) -> bool {
    at(object, path).and_then(Value::as_bool).unwrap_or_default()
}

/// The list at a path; empty if there is none.
#[must_use]
pub fn list<'a>(object: &'a Object, path: &[&str]) -> &'a [Value] {
    at(object, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The map at a path, if there is one.
#[must_use]
pub fn map<'a>(object: &'a Object, path: &[&str]) -> Option<&'a Object> {
    at(object, path).and_then(Value::as_object)
}

/// The map at a path, made where it is missing; what stands there and is no map is replaced.
pub fn map_mut<'a>(object: &'a mut Object, path: &[&str]) -> &'a mut Object {
    let mut here = object;
    for name in path {
        let value = here.entry(*name).or_insert_with(|| Value::Object(Object::new()));
        if !value.is_object() {
            *value = Value::Object(Object::new());
        }
        let Value::Object(next) = value else { unreachable!("it was just made one") };
        here = next;
    }
    here
}

/// Puts a value at a path, making the maps that lead there.
pub fn set(object: &mut Object, path: &[&str], value: impl Into<Value>) {
    if let Some((last, before)) = path.split_last() {
        map_mut(object, before).insert((*last).to_owned(), value.into());
    }
}

/// Puts a value at a path unless one that is not `null` stands there.
pub fn set_default(object: &mut Object, path: &[&str], value: impl Into<Value>) {
    if at(object, path).is_none_or(Value::is_null) {
        set(object, path, value);
    }
}

/// Takes the value at a path away.
pub fn remove(object: &mut Object, path: &[&str]) -> Option<Value> {
    let (last, before) = path.split_last()?;
    let mut here = object;
    for name in before {
        here = here.get_mut(*name)?.as_object_mut()?;
    }
    here.remove(*last)
}

/// `metadata.name`; empty if there is none.
#[must_use]
pub fn name(object: &Object) -> &str {
    text(object, &["metadata", "name"])
}

/// `metadata.namespace`; empty if there is none.
#[must_use]
pub fn namespace(object: &Object) -> &str {
    text(object, &["metadata", "namespace"])
}

/// `metadata.uid`; empty if there is none.
#[must_use]
pub fn uid(object: &Object) -> &str {
    text(object, &["metadata", "uid"])
}

/// Whether the object is being deleted.
#[must_use]
pub fn is_deleting(object: &Object) -> bool {
    at(object, &["metadata", "deletionTimestamp"]).is_some_and(|v| !v.is_null())
}

/// What JSON calls a value of this kind, as Go's decoder names it.
#[must_use]
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Object {
        match value {
            Value::Object(object) => object,
            _ => Object::new(),
        }
    }

    #[test]
    fn a_path_reads_what_is_there_and_nothing_where_there_is_none() {
        let pod = object(serde_json::json!({
            "metadata": {"name": "a"}, "spec": {"n": 3, "on": true, "list": [1]},
        }));
        assert_eq!(name(&pod), "a");
        assert_eq!(namespace(&pod), "");
        assert_eq!(number(&pod, &["spec", "n"]), Some(3));
        assert!(flag(&pod, &["spec", "on"]));
        assert_eq!(list(&pod, &["spec", "list"]).len(), 1);
        assert_eq!(text(&pod, &["spec", "n", "deeper"]), "");
    }

    #[test]
    fn setting_makes_the_way_and_a_default_leaves_what_is_there() {
        let mut it = Object::new();
        set(&mut it, &["spec", "template", "x"], 1);
        set_default(&mut it, &["spec", "template", "x"], 2);
        set_default(&mut it, &["spec", "template", "y"], 2);
        assert_eq!(
            Value::Object(it.clone()),
            serde_json::json!({"spec":{"template":{"x":1,"y":2}}})
        );
        assert_eq!(remove(&mut it, &["spec", "template", "x"]), Some(Value::from(1)));
        assert_eq!(remove(&mut it, &["spec", "nothing", "x"]), None);
    }
}
