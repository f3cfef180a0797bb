//! Labels, annotations and the selectors of labels: whether they are well formed, and what matches.

use serde_json::Value;

use super::names;
use super::tree::objects;
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};

/// All keys and values of an object's annotations together, in bytes.
const ANNOTATIONS: usize = 256 * 1024;

/// Notes each complaint about a text.
pub(super) fn complain(faults: &[String], path: &Path, text: &str, errors: &mut FieldErrors) {
    for fault in faults {
        errors.invalid(path, text, fault.as_str());
    }
}

/// Checks the keys and values of labels.
pub(super) fn check_labels(labels: Option<&Object>, path: &Path, errors: &mut FieldErrors) {
    for (key, value) in labels.into_iter().flatten() {
        complain(&names::qualified(key), path, key, errors);
        let value = value.as_str().unwrap_or_default();
        complain(&names::label_value(value), path, value, errors);
    }
}

/// Checks the keys of annotations, and that they are not too much.
pub(super) fn check_annotations(of: Option<&Object>, path: &Path, errors: &mut FieldErrors) {
    let mut size = 0;
    for (key, value) in of.into_iter().flatten() {
        complain(&names::qualified(&key.to_lowercase()), path, key, errors);
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > ANNOTATIONS {
        errors.too_long(path, ANNOTATIONS);
    }
}

/// Checks a selector, if there is one.
pub(super) fn check_selector(selector: Option<&Object>, path: &Path, errors: &mut FieldErrors) {
    let Some(selector) = selector else { return };
    let labels = object::map(selector, &["matchLabels"]);
    check_labels(labels, &path.child("matchLabels"), errors);
    for (index, term) in objects(selector, &["matchExpressions"]).enumerate() {
        let path = path.child("matchExpressions").index(index);
        let values = object::list(term, &["values"]);
        let operator = object::text(term, &["operator"]);
        match operator {
            "In" | "NotIn" if values.is_empty() => errors.required(
                &path.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            ),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.forbidden(
                &path.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => {
                errors.invalid(&path.child("operator"), operator, "not a valid selector operator");
            }
        }
        let key = object::text(term, &["key"]);
        complain(&names::qualified(key), &path.child("key"), key, errors);
        for (index, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            let path = path.child("values").index(index);
            complain(&names::label_value(value), &path, value, errors);
        }
    }
}

/// Whether a selector can be understood at all.
pub(super) fn is_understood(selector: &Object) -> bool {
    let mut errors = FieldErrors::default();
    check_selector(Some(selector), &Path::default(), &mut errors);
    errors.is_empty()
}

/// Whether a selector says nothing: it then selects everything.
pub(super) fn says_nothing(selector: &Object) -> bool {
    object::map(selector, &["matchLabels"]).is_none_or(Object::is_empty)
        && object::list(selector, &["matchExpressions"]).is_empty()
}

/// Whether labels are what a selector asks for.
pub(super) fn matches(selector: &Object, labels: Option<&Object>) -> bool {
    let of = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    let wanted = object::map(selector, &["matchLabels"]).into_iter().flatten();
    let mut wanted = wanted.map(|(key, value)| of(key) == value.as_str());
    let terms = objects(selector, &["matchExpressions"]);
    wanted.all(|holds| holds)
        && terms.into_iter().all(|term| {
            let value = of(object::text(term, &["key"]));
            let among = |value: &str| object::list(term, &["values"]).iter().any(|it| it == value);
            match object::text(term, &["operator"]) {
                "In" => value.is_some_and(among),
                "NotIn" => !value.is_some_and(among),
                "Exists" => value.is_some(),
                _ => value.is_none(),
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_asks_for_labels_and_for_terms() {
        let selector = serde_json::json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "NotIn", "values": ["db"]},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        });
        let selector = selector.as_object().unwrap();
        for (labels, holds) in [
            (serde_json::json!({"app": "web"}), true),
            (serde_json::json!({"app": "web", "tier": "front"}), true),
            (serde_json::json!({"app": "web", "tier": "db"}), false),
            (serde_json::json!({"app": "web", "old": ""}), false),
            (serde_json::json!({}), false),
        ] {
            assert_eq!(matches(selector, labels.as_object()), holds, "{labels}");
        }
    }
}
