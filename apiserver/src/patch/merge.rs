//! JSON Merge Patch (RFC 7386), as upstream's library has it: where a patch puts a new value, the
//! nulls go from the objects in its lists, too.

use serde_json::Value;

use crate::object::Object;

/// Applies a patch.
pub fn merge_patch(object: &mut Object, patch: Object) {
    for (name, value) in patch {
        if value.is_null() {
            object.shift_remove(&name);
            continue;
        }
        match (object.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge_patch(old, new),
            (Some(old @ Value::Object(_)), value) => *old = value,
            (Some(old), mut value) => {
                prune(&mut value);
                *old = value;
            }
            (None, mut value) => {
                prune(&mut value);
                object.insert(name, value);
            }
        }
    }
}

/// Takes members away that are `null`.
fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(object: Value, patch: Value) -> Value {
        let (Value::Object(mut object), Value::Object(patch)) = (object, patch) else {
            panic!("both are objects")
        };
        merge_patch(&mut object, patch);
        Value::Object(object)
    }

    #[test]
    fn members_are_set_merged_and_taken_away() {
        assert_eq!(
            patched(
                json!({"a": {"b": 1, "c": 2}, "d": [1]}),
                json!({"a": {"b": null, "e": 3}, "d": [2]})
            ),
            json!({"a": {"c": 2, "e": 3}, "d": [2]})
        );
        assert_eq!(
            patched(json!({"a": "x"}), json!({"a": {"b": null, "c": 1}})),
            json!({"a": {"c": 1}})
        );
        assert_eq!(patched(json!({}), json!({"a": [{"b": null}, null]})), json!({"a": [{}, null]}));
    }
}
