//! Patches: JSON Patch, JSON Merge Patch, strategic merge patch.
//!
//! ```text
//!   body ──parse──► patch + complaints ──apply to the object as it is──► tree ──schema::decode──► object
//! ```
//!
//! A patch works on the tree of an object in its canonical form; what comes out has to go through
//! `schema::decode::check` again, because a patch can put anything anywhere. A patch is parsed once
//! and applied as often as writing it meets a conflict.

mod json;
mod merge;
mod strategic;

use serde_json::Value;

pub use json::JsonPatch;
pub use merge::merge_patch;
pub use strategic::strategic_merge_patch;

use crate::object::{self, Object};
use crate::schema;
use crate::status::{Details, Status};

/// A patch and the complaints of strict decoding about its text.
pub type Parsed<T> = (T, Vec<String>);

/// Parses the body of a JSON Merge Patch.
///
/// # Errors
///
/// Fails with 400 if the body is no JSON object.
pub fn parse_merge_patch(body: &[u8]) -> Result<Parsed<Object>, Box<Status>> {
    let (value, complaints) = parse(body, "error decoding patch: ")?;
    match value {
        Value::Object(patch) => Ok((patch, complaints)),
        Value::Null => Err(bad("Invalid JSON Patch")),
        other => Err(bad(&format!("error decoding patch: {}", no_map(&other)))),
    }
}

/// Parses the body of a strategic merge patch.
///
/// # Errors
///
/// Fails with 400 if the body is no JSON object.
pub fn parse_strategic_patch(body: &[u8]) -> Result<Parsed<Object>, Box<Status>> {
    let (value, complaints) = parse(body, "")?;
    match value {
        Value::Object(patch) => Ok((patch, complaints)),
        Value::Null => Ok((Object::new(), complaints)),
        other => Err(bad(&no_map(&other))),
    }
}

fn parse(body: &[u8], context: &str) -> Result<Parsed<Value>, Box<Status>> {
    let (value, complaints) =
        schema::json::parse(body).map_err(|text| bad(&format!("{context}{text}")))?;
    Ok((value, complaints.iter().map(ToString::to_string).collect()))
}

fn no_map(value: &Value) -> String {
    let what = object::type_name(value);
    format!("json: cannot unmarshal {what} into Go value of type map[string]interface {{}}")
}

/// A value as Go's `%v` prints it: `map[name:web ports:[80 443]]`.
#[must_use]
pub fn go_print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_print).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(members) => go_print_map(members),
        other => other.to_string(),
    }
}

fn go_print_map(members: &Object) -> String {
    let mut names: Vec<&String> = members.keys().collect();
    names.sort_unstable();
    let members: Vec<String> =
        names.into_iter().map(|name| format!("{name}:{}", go_print(&members[name]))).collect();
    format!("map[{}]", members.join(" "))
}

fn bad(message: &str) -> Box<Status> {
    Box::new(Status::new(400, "BadRequest", message))
}

/// 422 for a patch that does not fit the object; upstream does not say in what.
fn does_not_fit() -> Box<Status> {
    let text = "the server rejected our request due to an error in our request";
    let mut status = Status::new(422, "Invalid", text);
    status.details = Some(Details::default());
    Box::new(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_are_no_patches_are_refused_in_the_words_of_go() {
        let message =
            |body: &str| parse_merge_patch(body.as_bytes()).map_err(|status| status.message);
        assert_eq!(
            message("[1]").unwrap_err(),
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        );
        assert_eq!(message("null").unwrap_err(), "Invalid JSON Patch");
        assert_eq!(
            message("{x").unwrap_err(),
            "error decoding patch: invalid character 'x' looking for beginning of object key string"
        );
        let (_, complaints) = message(r#"{"a":1,"a":2}"#).unwrap();
        assert_eq!(complaints, [r#"duplicate field "a""#]);
    }

    #[test]
    fn values_are_printed_as_go_does() {
        let value = serde_json::json!({"b": [1, true, null], "a": {"x": "y"}});
        assert_eq!(go_print(&value), "map[a:map[x:y] b:[1 true <nil>]]");
    }
}
