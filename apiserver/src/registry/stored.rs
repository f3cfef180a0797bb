//! Keys and bytes: where an object lies in the store, and what its bytes are.
//!
//! ```text
//!   /registry/<stored_under>/[<namespace>/]<name>       upstream's layout, which stock servers read
//!   {"kind":…,"apiVersion":…,"metadata":{…},…}          as upstream's JSON codec writes it
//! ```
//!
//! The resourceVersion is not in the bytes: it is the revision that wrote them.

use bytes::Bytes;
use serde_json::Value;

use crate::auth::lookup::Answer;
use crate::kinds::Kind;
use crate::object::{self, Object};
use crate::schema;
use crate::status::Status;

/// Under which everything lies.
const ROOT: &str = "/registry/";

/// What upstream's protobuf values begin with.
const PROTOBUF_MAGIC: &[u8] = b"k8s\0";

/// The key of an object.
pub(crate) fn key(kind: &Kind, namespace: &str, name: &str) -> Bytes {
    let mut key = prefix(kind, namespace);
    key.push_str(name);
    Bytes::from(key)
}

/// What the keys of a kind's objects begin with, in one namespace or (if empty) in all.
pub(crate) fn prefix(kind: &Kind, namespace: &str) -> String {
    let mut key = format!("{ROOT}{}/", kind.stored_under);
    if kind.is_namespaced() && !namespace.is_empty() {
        key.push_str(namespace);
        key.push('/');
    }
    key
}

/// The first key behind all that begin with `prefix`.
pub(crate) fn behind(prefix: &str) -> Bytes {
    let mut bytes = prefix.as_bytes().to_vec();
    // Prefixes end in a slash, which has a successor.
    if let Some(last) = bytes.last_mut() {
        *last += 1;
    }
    Bytes::from(bytes)
}

/// The bytes of an object; its resourceVersion stays out.
pub(crate) fn encode(mut object: Object) -> Answer<Bytes> {
    object::remove(&mut object, &["metadata", "resourceVersion"]);
    object::remove(&mut object, &["metadata", "selfLink"]);
    let bytes =
        serde_json::to_vec(&in_order(object)).map_err(|why| Box::new(Status::internal(why)))?;
    Ok(Bytes::from(bytes))
}

/// With kind, apiVersion and metadata first, where a splice finds them at once.
fn in_order(mut object: Object) -> Object {
    let mut ordered = Object::new();
    for name in ["kind", "apiVersion", "metadata"] {
        if let Some(value) = object.remove(name) {
            ordered.insert(name.to_owned(), value);
        }
    }
    ordered.extend(object);
    ordered
}

/// The object of some bytes, with the revision that wrote them.
pub(crate) fn decode(bytes: &[u8], revision: u64) -> Answer<Object> {
    let mut object = if bytes.starts_with(PROTOBUF_MAGIC) {
        schema::proto::decode_object(bytes).map_err(|why| Box::new(Status::internal(why)))?
    } else {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(object)) => object,
            Ok(_) => {
                return Err(Box::new(Status::internal("a stored object is no JSON object")));
            }
            Err(why) => return Err(Box::new(Status::internal(format!("a stored object: {why}")))),
        }
    };
    object::set(&mut object, &["metadata", "resourceVersion"], revision.to_string());
    Ok(object)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_end_of_a_prefix_is_behind_all_its_keys() {
        let end = super::behind("/registry/pods/a/");
        assert!(end.as_ref() > b"/registry/pods/a/zzz".as_slice());
        assert!(end.as_ref() < b"/registry/pods/b/".as_slice());
    }
}
