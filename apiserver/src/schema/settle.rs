//! Which members Go's JSON encoder would write: zeroes left out or filled in.

use serde_json::Value;

use super::{Field, Form, Type, TypeId, Types};
use crate::object::Object;

/// The object of these values, which stand in the order of the type's members.
pub(super) fn object(types: &Types, of: &Type, values: Vec<Option<Value>>) -> Object {
    let mut object = Object::with_capacity(values.iter().flatten().count());
    for (member, value) in of.members.iter().zip(values) {
        if value.is_none() && !member.filled {
            continue;
        }
        if let Some(value) = settled(types, types.field(member), value) {
            object.insert(member.name.to_owned(), value);
        }
    }
    object
}

/// Whether a field is written even if nobody sets it.
pub(super) fn is_filled(field: &Field) -> bool {
    if field.pointer {
        !field.omit_empty
    } else {
        !(field.omit_zero || field.omit_empty && can_be_empty(&field.shape.form))
    }
}

/// Whether a field with this value is written just so.
pub(super) fn is_settled(field: &Field, value: &Value) -> bool {
    if value.is_null() {
        return is_filled(field) && (field.pointer || is_null(&field.shape.form));
    }
    field.pointer || !field.omit_empty || !is_empty(&field.shape.form, value)
}

/// What is written for a field that has this value; `None` if it is left out.
pub(super) fn settled(types: &Types, field: &Field, value: Option<Value>) -> Option<Value> {
    let value = value.filter(|value| !value.is_null());
    if field.pointer {
        return value.or_else(|| (!field.omit_empty).then_some(Value::Null));
    }
    match value {
        Some(value) => {
            (!(field.omit_empty && is_empty(&field.shape.form, &value))).then_some(value)
        }
        None => is_filled(field).then(|| zero(types, &field.shape.form)),
    }
}

/// Whether `omitempty` has a meaning for the form: Go ignores it for structs.
fn can_be_empty(form: &Form) -> bool {
    matches!(
        form,
        Form::Bool
            | Form::Int32
            | Form::Int64
            | Form::Double
            | Form::Text
            | Form::Bytes
            | Form::List(_)
            | Form::WrappedList(_)
            | Form::Map(_)
    )
}

fn is_empty(form: &Form, value: &Value) -> bool {
    can_be_empty(form)
        && match value {
            Value::Null => true,
            Value::Bool(yes) => !yes,
            Value::Number(number) => number.as_i64() == Some(0) || number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
        }
}

/// The text of a form's zero.
pub(super) fn zero(types: &Types, form: &Form) -> Value {
    match form {
        Form::Bool | Form::SchemaOrBool => Value::Bool(false),
        Form::Int32 | Form::Int64 | Form::Double | Form::IntOrString => Value::from(0),
        Form::Text => Value::String(String::new()),
        Form::Quantity => Value::from("0"),
        Form::Duration => Value::from("0s"),
        Form::Message(id) => Value::Object(zero_object(types, *id)),
        _ => Value::Null,
    }
}

/// Whether the form's zero is written as `null`.
fn is_null(form: &Form) -> bool {
    !matches!(
        form,
        Form::Bool
            | Form::SchemaOrBool
            | Form::Int32
            | Form::Int64
            | Form::Double
            | Form::IntOrString
            | Form::Text
            | Form::Quantity
            | Form::Duration
            | Form::Message(_)
    )
}

fn zero_object(types: &Types, id: TypeId) -> Object {
    let of = types.get(id);
    object(types, of, vec![None; of.members.len()])
}
