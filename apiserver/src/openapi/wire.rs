//! Documents of the third version in protobuf: the messages of gnostic's `OpenAPIv3.proto`, by a
//! table of the members that our documents have.
//!
//! What stands in JSON as a map is on the wire a list of names and values, what can be a reference
//! is one message or the other, and what starts with `x-` is YAML in a list of its own (JSON is
//! YAML). What a default is that is an object cannot be said there.

use serde_json::Value;

use crate::object::Object;
use crate::schema::proto::encode::Backward;

/// A message: members by their names in JSON with their numbers, and where extensions go.
struct Message {
    members: &'static [(&'static str, u16, Form)],
    extensions: u16,
}

/// What a member is.
enum Form {
    Text,
    Texts,
    Flag,
    /// Any values, as YAML.
    Values,
    One(&'static Message),
    /// It, or a reference.
    Either(&'static Message),
    EitherList(&'static Message),
    /// Names and values in a message; the number is that of its list.
    Named(u16, &'static Message),
    NamedEither(u16, &'static Message),
    /// What a list holds: a message around the schema.
    Items,
    /// What a map holds: a schema or yes or no.
    Additional,
    /// A number, yes or no, or a text.
    Default,
}

static DOCUMENT: Message = Message {
    members: &[
        ("openapi", 1, Form::Text),
        ("info", 2, Form::One(&INFO)),
        ("paths", 4, Form::Named(1, &PATH)),
        ("components", 5, Form::One(&COMPONENTS)),
    ],
    extensions: 9,
};

static INFO: Message =
    Message { members: &[("title", 1, Form::Text), ("version", 6, Form::Text)], extensions: 7 };

static COMPONENTS: Message = Message {
    members: &[
        ("schemas", 1, Form::NamedEither(1, &SCHEMA)),
        ("securitySchemes", 7, Form::NamedEither(1, &SECURITY)),
    ],
    extensions: 10,
};

static SECURITY: Message = Message {
    members: &[
        ("type", 1, Form::Text),
        ("description", 2, Form::Text),
        ("name", 3, Form::Text),
        ("in", 4, Form::Text),
    ],
    extensions: 9,
};

static PATH: Message = Message {
    members: &[
        ("get", 4, Form::One(&OPERATION)),
        ("put", 5, Form::One(&OPERATION)),
        ("post", 6, Form::One(&OPERATION)),
        ("delete", 7, Form::One(&OPERATION)),
        ("patch", 10, Form::One(&OPERATION)),
        ("parameters", 13, Form::EitherList(&PARAMETER)),
    ],
    extensions: 14,
};

static OPERATION: Message = Message {
    members: &[
        ("tags", 1, Form::Texts),
        ("description", 3, Form::Text),
        ("operationId", 5, Form::Text),
        ("parameters", 6, Form::EitherList(&PARAMETER)),
        ("requestBody", 7, Form::Either(&BODY)),
        ("responses", 8, Form::NamedEither(2, &RESPONSE)),
    ],
    extensions: 13,
};

static PARAMETER: Message = Message {
    members: &[
        ("name", 1, Form::Text),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("required", 4, Form::Flag),
        ("schema", 10, Form::Either(&SCHEMA)),
    ],
    extensions: 14,
};

static BODY: Message = Message {
    members: &[
        ("description", 1, Form::Text),
        ("content", 2, Form::Named(1, &MEDIA)),
        ("required", 3, Form::Flag),
    ],
    extensions: 4,
};

static RESPONSE: Message = Message {
    members: &[("description", 1, Form::Text), ("content", 3, Form::Named(1, &MEDIA))],
    extensions: 5,
};

static MEDIA: Message = Message { members: &[("schema", 1, Form::Either(&SCHEMA))], extensions: 5 };

static SCHEMA: Message = Message {
    members: &[
        ("required", 23, Form::Texts),
        ("enum", 24, Form::Values),
        ("type", 25, Form::Text),
        ("allOf", 26, Form::EitherList(&SCHEMA)),
        ("oneOf", 27, Form::EitherList(&SCHEMA)),
        ("items", 30, Form::Items),
        ("properties", 31, Form::NamedEither(1, &SCHEMA)),
        ("additionalProperties", 32, Form::Additional),
        ("default", 33, Form::Default),
        ("description", 34, Form::Text),
        ("format", 35, Form::Text),
        ("uniqueItems", 20, Form::Flag),
    ],
    extensions: 36,
};

/// A document as bytes.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Backward::with_capacity(1 << 16);
    message(&mut out, &DOCUMENT, document);
    out.finish()
}

/// The members of a message, the last first.
fn message(out: &mut Backward, of: &Message, value: &Value) {
    let Value::Object(object) = value else { return };
    extensions(out, of.extensions, object);
    for (name, number, form) in of.members.iter().rev() {
        if let Some(value) = object.get(*name) {
            member(out, *number, form, value);
        }
    }
}

fn extensions(out: &mut Backward, number: u16, object: &Object) {
    for (name, value) in object.iter().rev().filter(|(name, _)| name.starts_with("x-")) {
        out.message(number, |named| {
            named.message(2, |any| any.field(2, value.to_string().as_bytes()));
            named.field(1, name.as_bytes());
        });
    }
}

fn member(out: &mut Backward, number: u16, form: &Form, value: &Value) {
    match (form, value) {
        (Form::Text, Value::String(text)) => out.field(number, text.as_bytes()),
        (Form::Texts, Value::Array(items)) => {
            for text in items.iter().rev().filter_map(Value::as_str) {
                out.field(number, text.as_bytes());
            }
        }
        (Form::Flag, Value::Bool(flag)) => out.number(number, u64::from(*flag)),
        (Form::Values, Value::Array(items)) => {
            for item in items.iter().rev() {
                out.message(number, |any| any.field(2, item.to_string().as_bytes()));
            }
        }
        (Form::One(of), value) => out.message(number, |out| message(out, of, value)),
        (Form::Either(of), value) => out.message(number, |out| either(out, of, value)),
        (Form::EitherList(of), Value::Array(items)) => {
            for item in items.iter().rev() {
                out.message(number, |out| either(out, of, item));
            }
        }
        (Form::Named(at, of), Value::Object(object)) => {
            out.message(number, |out| named(out, *at, object, |out, one| message(out, of, one)));
        }
        (Form::NamedEither(at, of), Value::Object(object)) => {
            out.message(number, |out| named(out, *at, object, |out, one| either(out, of, one)));
        }
        (Form::Items, value) => {
            out.message(number, |out| out.message(1, |out| either(out, &SCHEMA, value)));
        }
        (Form::Additional, Value::Bool(flag)) => {
            out.message(number, |out| out.number(2, u64::from(*flag)));
        }
        (Form::Additional, value) => {
            out.message(number, |out| out.message(1, |out| either(out, &SCHEMA, value)));
        }
        (Form::Default, value) => default(out, number, value),
        _ => {}
    }
}

/// A list of names and values.
fn named(out: &mut Backward, number: u16, object: &Object, write: impl Fn(&mut Backward, &Value)) {
    for (name, value) in object.iter().rev() {
        out.message(number, |out| {
            out.message(2, |out| write(out, value));
            out.field(1, name.as_bytes());
        });
    }
}

/// A thing by itself, or a reference to one.
fn either(out: &mut Backward, of: &Message, value: &Value) {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => out.message(2, |out| out.field(1, reference.as_bytes())),
        None => out.message(1, |out| message(out, of, value)),
    }
}

fn default(out: &mut Backward, number: u16, value: &Value) {
    match value {
        Value::Number(value) => {
            let bits = value.as_f64().unwrap_or_default().to_bits();
            out.message(number, |out| out.fixed(1, bits));
        }
        Value::Bool(flag) => out.message(number, |out| out.number(2, u64::from(*flag))),
        Value::String(text) => out.message(number, |out| out.field(3, text.as_bytes())),
        // That there is one can be said, but not what it is.
        Value::Null | Value::Array(_) | Value::Object(_) => out.message(number, |_| ()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_what_protobuf_readers_expect() {
        let document = json!({
            "openapi": "3.0.0",
            "components": {"schemas": {"A": {
                "type": "object", "properties": {"b": {"$ref": "#/B"}}, "x-k": {"c": 1},
            }}},
        });
        let expected = b"\x0a\x053.0.0*8\x0a6\x0a4\x0a\x01A\x12/\x0a-\xca\x01\x06object\xfa\x01\x0e\x0a\x0c\x0a\x01b\x12\x07\x12\x05\x0a\x03#/B\xa2\x02\x10\x0a\x03x-k\x12\x09\x12\x07{\"c\":1}";
        assert_eq!(encode(&document), expected);
    }
}
