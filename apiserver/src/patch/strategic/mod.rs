//! Strategic merge patch: lists are merged by the keys that the table of fields names.
//!
//! ```text
//!   {"spec": {"containers": [{"name": "a", "image": "x"}],          merged into the one called a
//!             "$setElementOrder/containers": [{"name": "a"}, …],    the order of the outcome
//!             "$deleteFromPrimitiveList/finalizers": ["x"],         taken out of a list of texts
//!             "strategy": {"$retainKeys": ["type"], …},             all other members go
//!             "template": {"$patch": "replace", …}}}                or "delete"
//! ```
//!
//! The rules, down to what happens to odd input, are those of apimachinery's `strategicpatch`; a
//! test compares with what it made of some hundred cases.

mod lists;

use serde_json::Value;

use super::{bad, does_not_fit, go_print, go_print_map};
use crate::object::Object;
use crate::schema::{Field, Form, Shape, TypeId, Types, types};
use crate::status::Status;

/// Applies a patch to an object of a type.
///
/// # Errors
///
/// Fails with the status that upstream answers to a patch that is malformed or does not fit.
pub fn strategic_merge_patch(
    id: TypeId,
    original: Object,
    patch: Object,
) -> std::result::Result<Object, Box<Status>> {
    let root = Shape { form: Form::Message(id), named: "" };
    let merger = Merger { types: types() };
    merger.map(original, patch, &root).map_err(|trouble| match trouble {
        Trouble::Malformed(text) => bad(text),
        Trouble::Unfit => does_not_fit(),
        Trouble::Other(text) => Box::new(Status::new(500, "", text)),
    })
}

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder";
const DELETE: &str = "$deleteFromPrimitiveList";

const BAD_RETAIN_KEYS: Trouble = Trouble::Malformed("invalid patch format of retainKeys");
const BAD_ORDER: Trouble = Trouble::Malformed("invalid patch format of setElementOrder list");
const BAD_DELETION: Trouble = Trouble::Malformed("invalid patch format of primitive list");

/// Why a patch cannot be applied.
#[derive(Debug, PartialEq)]
enum Trouble {
    /// 400.
    Malformed(&'static str),
    /// 422.
    Unfit,
    /// 500, as upstream answers to whatever it has no better answer for.
    Other(String),
}

impl Trouble {
    fn no_merge_key(map: &Object, key: &str) -> Self {
        Self::Other(format!(
            "map: {} does not contain declared merge key: {key}",
            go_print_map(map)
        ))
    }

    fn wrong_type(expected: &str, value: &Value) -> Self {
        Self::Other(format!("expected a {expected}, but received a {}", go_type(value)))
    }
}

type Result<T> = std::result::Result<T, Trouble>;

const GO_MAP: &str = "map[string]interface {}";
const GO_LIST: &str = "[]interface {}";

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => GO_LIST,
        Value::Object(_) => GO_MAP,
    }
}

/// How the values of a field are merged.
#[derive(Debug, Clone, Copy)]
struct Way<'a> {
    /// What the field holds; for a list what its items are.
    shape: &'a Shape,
    /// Whether a list is merged.
    merges: bool,
    /// Whether a map is replaced.
    replaces: bool,
    /// The member that tells the items of a list apart; may be empty.
    key: &'a str,
}

struct Merger {
    types: &'static Types,
}

impl Merger {
    fn field(&self, of: &Shape, name: &str) -> Result<&'static Field> {
        let no_struct = |kind: &str| {
            let text = "merging an object in json but data type is not struct, instead is";
            Trouble::Other(format!("{text}: {kind}"))
        };
        let id = match &of.form {
            Form::Message(id) => *id,
            Form::Map(_) => return Err(no_struct("map")),
            Form::List(_) | Form::WrappedList(_) | Form::Bytes => return Err(no_struct("slice")),
            Form::Text => return Err(no_struct("string")),
            Form::Bool => return Err(no_struct("bool")),
            Form::Int32 => return Err(no_struct("int32")),
            Form::Int64 => return Err(no_struct("int64")),
            Form::Double => return Err(no_struct("float64")),
            _ => {
                let go = self.types.go_type(of);
                let short = go.rsplit('.').next().unwrap_or(&go);
                return Err(not_found(short, name));
            }
        };
        let within = self.types.get(id);
        let exact = self.types.member(id, name);
        let folded = || {
            let member =
                within.members.iter().find(|member| member.name.eq_ignore_ascii_case(name));
            member.map(|member| self.types.field(member))
        };
        exact.or_else(folded).ok_or_else(|| not_found(within.short_name(), name))
    }

    fn way_of_map(&self, of: &Shape, name: &str) -> Result<Way<'static>> {
        let field = self.field(of, name)?;
        Ok(Way {
            shape: &field.shape,
            merges: field.merges(),
            replaces: field.patch_strategy.split(',').any(|word| word == "replace"),
            key: field.patch_merge_key,
        })
    }

    fn way_of_list(&self, of: &Shape, name: &str) -> Result<Way<'static>> {
        let way = self.way_of_map(of, name)?;
        match &way.shape.form {
            Form::List(item) | Form::WrappedList(item) => Ok(Way { shape: item, ..way }),
            _ => Err(Trouble::Other("expected slice or array type, but got: struct".to_owned())),
        }
    }

    /// Merges a patch into a map.
    fn map(&self, mut original: Object, mut patch: Object, of: &Shape) -> Result<Object> {
        if let Some(directive) = patch.get(PATCH) {
            return match directive.as_str() {
                Some("replace") => {
                    patch.shift_remove(PATCH);
                    Ok(patch)
                }
                Some("delete") => Ok(Object::new()),
                _ => Err(Trouble::Other(format!(
                    "unknown patch type: {} in map: {}",
                    go_print(directive),
                    go_print_map(&patch)
                ))),
            };
        }
        retain_keys(&mut original, &mut patch)?;
        self.ordered_lists(&mut original, &mut patch, of)?;
        for (name, value) in patch {
            let (name, deletes) = match name.strip_prefix(DELETE) {
                Some(rest) => (rest.strip_prefix('/').ok_or(BAD_DELETION)?.to_owned(), true),
                None => (name, false),
            };
            if value.is_null() {
                original.shift_remove(&name);
                continue;
            }
            let merged = match (original.get_mut(&name), value) {
                (Some(Value::Object(old)), Value::Object(new)) => {
                    let way = self.way_of_map(of, &name)?;
                    let old = std::mem::take(old);
                    Some(Value::Object(if way.replaces {
                        new
                    } else {
                        self.map(old, new, way.shape)?
                    }))
                }
                (Some(Value::Array(old)), Value::Array(new)) => {
                    let way = self.way_of_list(of, &name)?;
                    let old = std::mem::take(old);
                    Some(Value::Array(self.list(old, new, way, deletes)?))
                }
                _ if deletes => continue,
                (_, mut value) => {
                    discard_nulls(&mut value);
                    without_directives(value)
                }
            };
            match merged {
                Some(value) => {
                    original.insert(name, value);
                }
                None => {
                    original.shift_remove(&name);
                }
            }
        }
        Ok(original)
    }

    /// Merges the lists whose order the patch says, and takes them out of the patch.
    fn ordered_lists(&self, original: &mut Object, patch: &mut Object, of: &Shape) -> Result<()> {
        let orders: Vec<String> =
            patch.keys().filter(|name| name.starts_with(ORDER)).cloned().collect();
        for directive in orders {
            let order = patch.shift_remove(&directive).unwrap_or(Value::Null);
            let Value::Array(order) = order else {
                return Err(Trouble::wrong_type(GO_LIST, &order));
            };
            let name = directive.strip_prefix(ORDER).and_then(|rest| rest.strip_prefix('/'));
            let name = name.ok_or(BAD_ORDER)?;
            let old = original.get(name).map(list_of).transpose()?.cloned();
            let new = patch.get(name).map(list_of).transpose()?.cloned();
            let way = self.way_of_list(of, name)?;
            lists::fits_order(new.as_deref().unwrap_or_default(), &order, way.key)?;
            let merged = match (&old, &new) {
                (None, None) => continue,
                (Some(old), None) => old.clone(),
                (None, Some(new)) => new.iter().cloned().filter_map(without_directives).collect(),
                (Some(old), Some(new)) => self.list(old.clone(), new.clone(), way, false)?,
            };
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            let maps = lists::are_maps(&old, &new)?;
            let sorted = lists::in_order(merged, &order, &old, way.key, maps)?;
            original.insert(name.to_owned(), Value::Array(sorted));
            patch.shift_remove(name);
        }
        Ok(())
    }

    /// Merges a patch into a list, or replaces the list.
    fn list(
        &self,
        old: Vec<Value>,
        new: Vec<Value>,
        way: Way<'_>,
        deletes: bool,
    ) -> Result<Vec<Value>> {
        if !way.merges && !deletes {
            return Ok(new);
        }
        if old.is_empty() && new.is_empty() {
            return Ok(old);
        }
        if !lists::are_maps(&old, &new)? {
            if deletes {
                return Ok(old.into_iter().filter(|item| !new.contains(item)).collect());
            }
            let merged = lists::without_duplicates(old.iter().chain(&new).cloned().collect());
            return lists::in_order(merged, &new, &old, way.key, false);
        }
        if way.key.is_empty() {
            return Err(Trouble::Other(
                "cannot merge lists without merge key for struct".to_owned(),
            ));
        }
        let (old, new) = lists::directives_done(old, new, way.key)?;
        let mut merged = old.clone();
        for item in &new {
            let map = lists::map_of(item)?;
            let value = map.get(way.key).ok_or_else(|| Trouble::no_merge_key(map, way.key))?;
            match lists::find(&merged, way.key, value)? {
                Some(at) => {
                    let Value::Object(before) = merged[at].take() else {
                        unreachable!("it was found as a map")
                    };
                    merged[at] = Value::Object(self.map(before, map.clone(), way.shape)?);
                }
                None => merged.push(item.clone()),
            }
        }
        lists::in_order(merged, &new, &old, way.key, true)
    }
}

fn not_found(of: &str, name: &str) -> Trouble {
    Trouble::Other(format!("unable to find api field in struct {of} for the json field {name:?}"))
}

fn list_of(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().ok_or_else(|| Trouble::wrong_type(GO_LIST, value))
}

/// Takes the members of the original away that the patch does not want to retain.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<()> {
    let Some(keys) = patch.shift_remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else { return Err(BAD_RETAIN_KEYS) };
    let retained = |name: &str| keys.iter().any(|key| key.as_str() == Some(name));
    let is_directive = |name: &str| name.starts_with(DELETE) || name.starts_with(ORDER);
    if patch.iter().any(|(name, value)| !value.is_null() && !is_directive(name) && !retained(name))
    {
        return Err(BAD_RETAIN_KEYS);
    }
    original.retain(|name, _| retained(name));
    Ok(())
}

/// Takes members away that are `null`.
fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(discard_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// A value of a patch as it is put where nothing was; maps that are directives go.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(members) if members.contains_key(PATCH) => None,
        Value::Object(members) => {
            let kept = members.into_iter();
            let kept = kept.filter_map(|(name, value)| Some((name, without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => {
            Some(Value::Array(items.into_iter().filter_map(without_directives).collect()))
        }
        other => Some(other),
    }
}
