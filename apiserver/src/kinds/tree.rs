//! Changing trees in place: what stands there is changed, nothing is made up on the way.

use serde_json::Value;

use crate::object::{self, Object};

/// The object at a path, if there is one.
pub(super) fn existing<'a>(object: &'a mut Object, path: &[&str]) -> Option<&'a mut Object> {
    let mut here = object;
    for name in path {
        here = here.get_mut(*name)?.as_object_mut()?;
    }
    Some(here)
}

/// Does something to every object of a list.
pub(super) fn each(object: &mut Object, path: &[&str], mut act: impl FnMut(&mut Object)) {
    let Some((last, before)) = path.split_last() else { return };
    let Some(holder) = existing(object, before) else { return };
    if let Some(Value::Array(items)) = holder.get_mut(*last) {
        items.iter_mut().filter_map(Value::as_object_mut).for_each(&mut act);
    }
}

/// The objects of a list.
pub(super) fn objects<'a>(
    object: &'a Object,
    path: &[&str],
) -> impl DoubleEndedIterator<Item = &'a Object> + Clone + use<'a> {
    object::list(object, path).iter().filter_map(Value::as_object)
}

/// Fills in a field where an empty text, zero and false mean the same as nothing: fields that are
/// no pointers in upstream's structs.
pub(super) fn fill(object: &mut Object, field: &str, value: impl Into<Value>) {
    let empty = match object.get(field) {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(_) => false,
    };
    if empty {
        object.insert(field.to_owned(), value.into());
    }
}

/// Makes sure that there is an object: one that upstream always writes, even empty.
pub(super) fn have(object: &mut Object, field: &str) {
    object::set_default(object, &[field], Object::new());
}
