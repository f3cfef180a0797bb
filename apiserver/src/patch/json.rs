//! JSON Patch (RFC 6902), with the habits of upstream's library: indices may count from the end,
//! `replace` of a member that is missing sets it, and a missing value is `null`.

use serde_json::Value;

use super::{Parsed, bad, does_not_fit, parse};
use crate::object::{Object, type_name};
use crate::schema::json::{MAX_DEPTH, height};
use crate::status::Status;

/// The most operations in a patch.
const MAX_OPERATIONS: usize = 10_000;

/// The most bytes that the copies of a patch may add.
const MAX_COPIED: usize = 3 * 1024 * 1024;

/// The most values that a patch may move about. A bound on work, far beyond what anyone needs.
const MAX_MOVED: usize = 10_000_000;

/// The most items and members that may have to make room or close a gap. The same.
const MAX_SHIFTED: usize = 50_000_000;

/// What an operation lacks to be done; clients are not told more than that it does not fit.
struct Unfit;

#[derive(Debug, Clone)]
struct Operation {
    op: String,
    path: Option<String>,
    from: Option<String>,
    value: Value,
}

/// A list of operations.
#[derive(Debug, Clone)]
pub struct JsonPatch(Vec<Operation>);

impl JsonPatch {
    /// Parses the body of a patch.
    ///
    /// # Errors
    ///
    /// Fails with 400 if the body is no list of operations, with 413 if it has too many.
    pub fn parse(body: &[u8]) -> Result<Parsed<Self>, Box<Status>> {
        let (value, mut complaints) = parse(body, "error decoding patch: ")?;
        let wrong = |what: &str, of: &str| {
            bad(&format!("error decoding patch: json: cannot unmarshal {what} into Go {of}"))
        };
        let items = match value {
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            other => return Err(wrong(type_name(&other), "value of type []handlers.jsonPatchOp")),
        };
        let mut operations = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            let members = match item {
                Value::Object(members) => members,
                Value::Null => Object::new(),
                other => {
                    return Err(wrong(type_name(&other), "value of type handlers.jsonPatchOp"));
                }
            };
            let mut operation =
                Operation { op: String::new(), path: None, from: None, value: Value::Null };
            for (name, value) in members {
                let text = match name.as_str() {
                    "value" => {
                        operation.value = value;
                        continue;
                    }
                    "op" | "path" | "from" => match value {
                        Value::String(text) => text,
                        Value::Null => continue,
                        other => {
                            let of = format!("struct field jsonPatchOp.{name} of type string");
                            return Err(wrong(type_name(&other), &of));
                        }
                    },
                    _ => {
                        complaints.push(format!("unknown field \"[{at}].{name}\""));
                        continue;
                    }
                };
                match name.as_str() {
                    "op" => operation.op = text,
                    "path" => operation.path = Some(text),
                    _ => operation.from = Some(text),
                }
            }
            operations.push(operation);
        }
        if operations.len() > MAX_OPERATIONS {
            let count = operations.len();
            let text = format!(
                "Request entity too large: The allowed maximum operations in a JSON patch is \
                 {MAX_OPERATIONS}, got {count}"
            );
            return Err(Box::new(Status::new(413, "RequestEntityTooLarge", text)));
        }
        let complaints = complaints.into_iter().map(|text| format!("json patch {text}")).collect();
        Ok((Self(operations), complaints))
    }

    /// Applies the operations one after the other.
    ///
    /// # Errors
    ///
    /// Fails with 422 if one does not fit, a test among them.
    pub fn apply(&self, document: Object) -> Result<Value, Box<Status>> {
        let mut document = Value::Object(document);
        let mut done = Done { copied: 0, moved: 0, shifted: 0 };
        for operation in &self.0 {
            run(operation, &mut document, &mut done).map_err(|Unfit| does_not_fit())?;
        }
        Ok(document)
    }
}

/// What a patch did so far.
struct Done {
    /// The bytes of all copies.
    copied: usize,
    /// The values of all that was moved.
    moved: usize,
    /// The neighbours that stepped aside or closed up.
    shifted: usize,
}

impl Done {
    fn shift(&mut self, neighbours: usize) -> Result<(), Unfit> {
        self.shifted += neighbours;
        if self.shifted > MAX_SHIFTED { Err(Unfit) } else { Ok(()) }
    }
}

fn run(operation: &Operation, document: &mut Value, done: &mut Done) -> Result<(), Unfit> {
    let path = operation.path.as_deref().ok_or(Unfit);
    let from = operation.from.as_deref().ok_or(Unfit);
    match operation.op.as_str() {
        "add" => add(document, path?, operation.value.clone(), done),
        "remove" => remove(document, path?, done).map(|_| ()),
        "replace" => replace(document, path?, operation.value.clone()),
        "move" => {
            let value = remove(document, from?, done)?;
            done.moved += count(&value);
            if done.moved > MAX_MOVED {
                return Err(Unfit);
            }
            add(document, path?, value, done)
        }
        "copy" => {
            let value = get(document, from?)?.cloned().unwrap_or(Value::Null);
            done.copied += value.to_string().len();
            if done.copied > MAX_COPIED {
                return Err(Unfit);
            }
            add(document, path?, value, done)
        }
        "test" => {
            let found = match path? {
                "" => &*document,
                path => get(document, path)?.unwrap_or(&Value::Null),
            };
            if *found == operation.value { Ok(()) } else { Err(Unfit) }
        }
        _ => Err(Unfit),
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// The parts of a path that lead to the container, and the last.
fn split(path: &str) -> Result<(Vec<String>, String), Unfit> {
    let (_, parts) = path.split_once('/').ok_or(Unfit)?;
    let mut parts: Vec<String> = parts.split('/').map(unescaped).collect();
    let last = parts.pop().ok_or(Unfit)?;
    Ok((parts, last))
}

/// An index of a list of so many items; it may count from the end.
fn index(key: &str, length: usize) -> Result<usize, Unfit> {
    let index: i64 = key.parse().map_err(|_| Unfit)?;
    let length = i64::try_from(length).map_err(|_| Unfit)?;
    let index = if index < 0 { index + length } else { index };
    if index < 0 || index >= length {
        Err(Unfit)
    } else {
        usize::try_from(index).map_err(|_| Unfit)
    }
}

fn container<'a>(document: &'a mut Value, parts: &[String]) -> Result<&'a mut Value, Unfit> {
    let mut here = document;
    for part in parts {
        here = match here {
            Value::Object(members) => members.get_mut(part).ok_or(Unfit)?,
            Value::Array(items) => {
                let at = index(part, items.len())?;
                &mut items[at]
            }
            _ => return Err(Unfit),
        };
    }
    Ok(here)
}

fn get<'a>(document: &'a mut Value, path: &str) -> Result<Option<&'a Value>, Unfit> {
    let (parts, key) = split(path)?;
    match container(document, &parts)? {
        Value::Object(members) => Ok(members.get(&key)),
        Value::Array(items) => {
            let at = index(&key, items.len())?;
            Ok(Some(&items[at]))
        }
        _ => Err(Unfit),
    }
}

/// Operations must not pile up what could not be parsed in one piece.
fn fits_depth(parts: &[String], value: &Value) -> Result<(), Unfit> {
    if parts.len() + 1 + height(value) > MAX_DEPTH { Err(Unfit) } else { Ok(()) }
}

fn add(document: &mut Value, path: &str, value: Value, done: &mut Done) -> Result<(), Unfit> {
    let (parts, key) = split(path)?;
    fits_depth(&parts, &value)?;
    match container(document, &parts)? {
        Value::Object(members) => {
            members.insert(key, value);
        }
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let at = index(&key, items.len() + 1)?;
            done.shift(items.len() - at)?;
            items.insert(at, value);
        }
        _ => return Err(Unfit),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str, done: &mut Done) -> Result<Value, Unfit> {
    let (parts, key) = split(path)?;
    match container(document, &parts)? {
        Value::Object(members) => {
            done.shift(members.len())?;
            members.shift_remove(&key).ok_or(Unfit)
        }
        Value::Array(items) => {
            let at = index(&key, items.len())?;
            done.shift(items.len() - at)?;
            Ok(items.remove(at))
        }
        _ => Err(Unfit),
    }
}

fn replace(document: &mut Value, path: &str, value: Value) -> Result<(), Unfit> {
    if path.is_empty() {
        if !value.is_object() && !value.is_array() {
            return Err(Unfit);
        }
        *document = value;
        return Ok(());
    }
    let (parts, key) = split(path)?;
    fits_depth(&parts, &value)?;
    match container(document, &parts)? {
        Value::Object(members) => {
            members.insert(key, value);
        }
        Value::Array(items) => {
            let at = index(&key, items.len())?;
            items[at] = value;
        }
        _ => return Err(Unfit),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(patch: Value) -> Result<String, u16> {
        let document = json!({"a": {"b": [1, 2, 3]}, "c/d": "x", "n": null});
        let Value::Object(document) = document else { panic!("it is an object") };
        let (patch, _) = JsonPatch::parse(patch.to_string().as_bytes()).map_err(|s| s.code)?;
        patch.apply(document).map(|value| value.to_string()).map_err(|status| status.code)
    }

    #[test]
    fn operations_do_what_the_library_of_upstream_does() {
        let rest = r#""c/d":"x","n":null}"#;
        for (patch, expected) in [
            (
                json!([{"op": "add", "path": "/a/b/-", "value": 4}]),
                format!("{{\"a\":{{\"b\":[1,2,3,4]}},{rest}"),
            ),
            (
                json!([{"op": "add", "path": "/a/b/0", "value": 0}]),
                format!("{{\"a\":{{\"b\":[0,1,2,3]}},{rest}"),
            ),
            (
                json!([{"op": "remove", "path": "/a/b/-1"}]),
                format!("{{\"a\":{{\"b\":[1,2]}},{rest}"),
            ),
            (
                json!([{"op": "replace", "path": "/a/z", "value": 1}]),
                format!("{{\"a\":{{\"b\":[1,2,3],\"z\":1}},{rest}"),
            ),
            (
                json!([{"op": "move", "from": "/a/b/0", "path": "/a/x"}]),
                format!("{{\"a\":{{\"b\":[2,3],\"x\":1}},{rest}"),
            ),
            (
                json!([{"op": "copy", "from": "/c~1d", "path": "/a/x"}]),
                format!("{{\"a\":{{\"b\":[1,2,3],\"x\":\"x\"}},{rest}"),
            ),
            (
                json!([{"op": "test", "path": "/c~1d", "value": "x"}, {"op": "test", "path": "/zzz"}]),
                format!("{{\"a\":{{\"b\":[1,2,3]}},{rest}"),
            ),
        ] {
            assert_eq!(patched(patch.clone()), Ok(expected), "{patch}");
        }
    }

    #[test]
    fn what_does_not_fit_is_422_and_what_is_no_patch_400() {
        for patch in [
            json!([{"op": "test", "path": "/c~1d", "value": "y"}]),
            json!([{"op": "remove", "path": "/nosuch"}]),
            json!([{"op": "add", "path": "/nosuch/x", "value": 1}]),
            json!([{"op": "add", "path": "", "value": 1}]),
            json!([{"op": "add", "path": "/a/b/9", "value": 1}]),
            json!([{"op": "fly", "path": "/a"}]),
            json!([{"op": "add"}]),
        ] {
            assert_eq!(patched(patch.clone()), Err(422), "{patch}");
        }
        assert_eq!(patched(json!({"op": "add"})), Err(400));
        assert_eq!(patched(json!([5])), Err(400));
        let many = vec![json!({"op": "test", "path": "/n"}); 10_001];
        assert_eq!(patched(Value::Array(many)), Err(413));
        let tower = vec![json!({"op": "copy", "from": "/a", "path": "/a/x"}); 200];
        assert_eq!(patched(Value::Array(tower)), Err(422));
        let doubling = vec![json!({"op": "copy", "from": "/a", "path": "/a/b/-"}); 40];
        assert_eq!(patched(Value::Array(doubling)), Err(422));
    }
}
