//! Checks trees against the table and brings them into the form in which Go would write them.
//!
//! ```text
//!   {"spec": {"foo": 1, "replicas": "x"}}      json: cannot unmarshal string into Go struct field
//!             │          └─ wrong type ──────► DeploymentSpec.spec.replicas of type int32
//!             └─ unknown ────────────────────► unknown field "spec.foo"
//! ```
//!
//! Typed decoding loses what the type does not know, and a round trip through Go's types changes
//! more: zeroes that may be left out go, those that may not come, amounts and times get their
//! canonical text, members the order of the struct. All of that happens here, so that an object
//! is the same whether it came as JSON, YAML or protobuf.

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Number, Value};

use super::complaint::{self, Complaint, MAX_COMPLAINTS};
use super::{Form, Shape, Type, TypeId, Types, proto, quantity, settle, time, types};
use crate::object::{self, Object};

/// Checks an object against its type and brings it into its canonical form. The answer is what
/// strict decoding complains about: `unknown field "spec.foo"`.
///
/// # Errors
///
/// Fails with Go's text if a value is of another type than the table says. The object is then
/// empty.
pub fn check(id: TypeId, object: &mut Object) -> Result<Vec<Complaint>, String> {
    checked(id, object, Reader::Text)
}

/// The same for what a strategic merge patch made: upstream has it as a tree already and turns it
/// into an object by another way, which is more lenient with numbers and complains in other words
/// (and in alphabetical order).
///
/// # Errors
///
/// Fails with upstream's text if a value is of another type than the table says. The object is then
/// empty.
pub fn check_patched(id: TypeId, object: &mut Object) -> Result<Vec<Complaint>, String> {
    checked(id, object, Reader::Tree).map(complaint::alphabetical)
}

/// Which of upstream's two ways to an object is followed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reader {
    Text,
    Tree,
}

fn checked(id: TypeId, object: &mut Object, reader: Reader) -> Result<Vec<Complaint>, String> {
    let mut checker = Checker { types: types(), reader, unknown: Vec::new(), values: 0 };
    let checked = checker.object(id, std::mem::take(object)).map_err(Failure::into_text)?;
    *object = checked;
    Ok(complaint::distinct(checker.unknown))
}

/// All that strict decoding complains about: what [`check`] and the parser found, in the order of
/// the text. A field that is not known is not also a duplicate of itself.
#[must_use]
pub fn complaints(duplicates: Vec<Complaint>, unknown: Vec<Complaint>) -> Vec<String> {
    complaint::merged(duplicates, unknown).iter().map(ToString::to_string).collect()
}

enum Failure {
    /// A value of another type than the field has; Go says where it stood.
    Type { value: String, wanted: String, of: &'static str, path: Vec<String> },
    /// What a type with a reader of its own says.
    Other(String),
}

impl Failure {
    fn into_text(self) -> String {
        match self {
            Self::Type { value, wanted, of: "", .. } => {
                format!("json: cannot unmarshal {value} into Go value of type {wanted}")
            }
            Self::Type { value, wanted, of, mut path } => {
                path.reverse();
                let path = path.join(".");
                format!(
                    "json: cannot unmarshal {value} into Go struct field {of}.{path} of type {wanted}"
                )
            }
            Self::Other(text) => text,
        }
    }

    fn wrong(value: &Value, wanted: impl Into<String>) -> Self {
        let value = object::type_name(value).to_owned();
        Self::Type { value, wanted: wanted.into(), of: "", path: Vec::new() }
    }

    fn number(number: &Number, wanted: impl Into<String>) -> Self {
        let value = format!("number {number}");
        Self::Type { value, wanted: wanted.into(), of: "", path: Vec::new() }
    }
}

type Checked = Result<Value, Failure>;

struct Checker {
    types: &'static Types,
    reader: Reader,
    /// Members that no type knows; no more than are told of.
    unknown: Vec<Complaint>,
    /// How many values the canonical form has so far.
    values: usize,
}

impl Checker {
    fn object(&mut self, id: TypeId, mut members: Object) -> Result<Object, Failure> {
        let of = self.types.get(id);
        // An object that is canonical but for its inner values stays as it is: in the order of the
        // struct, with all that is filled in and without what is left out.
        let (mut canonical, mut filled, mut next) = (true, 0, 0);
        for (place, (name, value)) in members.iter_mut().enumerate() {
            let Some(at) = of.position_near(name, next) else {
                if self.unknown.len() < MAX_COMPLAINTS {
                    self.unknown.push(Complaint::unknown(name, place));
                }
                canonical = false;
                continue;
            };
            canonical &= at >= next;
            next = at + 1;
            let member = &of.members[at];
            filled += usize::from(member.filled);
            let field = self.types.field(member);
            if !value.is_null() {
                let before = self.unknown.len();
                let checked = self.value(&field.shape, value.take());
                *value = checked.map_err(|failure| self.stood(failure, id, at))?;
                self.unknown[before..].iter_mut().for_each(|one| one.within_member(name, place));
            }
            canonical &= settle::is_settled(field, value);
        }
        if !canonical || filled != of.filled {
            members = self.settled(of, members);
        }
        self.values += members.len();
        if self.values > proto::MAX_VALUES {
            let text = format!("an object has more than {} values", proto::MAX_VALUES);
            return Err(Failure::Other(text));
        }
        Ok(members)
    }

    /// The members in the order of the struct, with zeroes as Go writes them.
    fn settled(&self, of: &Type, members: Object) -> Object {
        let mut values = vec![None; of.members.len()];
        let mut next = 0;
        for (name, value) in members {
            if let Some(at) = of.position_near(&name, next) {
                next = at + 1;
                values[at] = Some(value);
            }
        }
        settle::object(self.types, of, values)
    }

    /// Notes in a failure that it happened in a member of a type.
    fn stood(&self, mut failure: Failure, id: TypeId, at: usize) -> Failure {
        if self.reader == Reader::Tree {
            return failure;
        }
        if let Failure::Type { of, path, .. } = &mut failure {
            let within = self.types.get(id);
            if of.is_empty() {
                *of = within.short_name();
            }
            let member = &within.members[at];
            path.push(member.name.to_owned());
            path.extend(embedded(self.types, id, member.owner).into_iter().map(str::to_owned));
        }
        failure
    }

    /// A value in its canonical form; an inner `null` becomes the zero of its type.
    fn item(&mut self, shape: &Shape, value: Value) -> Checked {
        if value.is_null() {
            return Ok(settle::zero(self.types, &shape.form));
        }
        self.value(shape, value)
    }

    fn value(&mut self, shape: &Shape, value: Value) -> Checked {
        match (&shape.form, value) {
            (Form::Bool, value @ Value::Bool(_)) | (Form::Text, value @ Value::String(_)) => {
                Ok(value)
            }
            (Form::Int32 | Form::Int64, Value::Number(number)) => self.whole(shape, &number),
            (Form::Double, Value::Number(number)) => {
                Ok(super::json::double(number.as_f64().unwrap_or_default()))
            }
            (Form::Bytes, Value::String(text)) => base64(text).map_err(|failure| match failure {
                Failure::Other(text) if self.reader == Reader::Tree => {
                    Failure::Other(format!("error decoding from json: {text}"))
                }
                failure => failure,
            }),
            (Form::Bytes, Value::Array(items)) => numbered_bytes(&items),
            (Form::Message(id), Value::Object(members)) => {
                self.object(*id, members).map(Value::Object)
            }
            (Form::List(item) | Form::WrappedList(item), Value::Array(items)) => {
                self.list(item, items)
            }
            (Form::Map(of), Value::Object(members)) => self.map(of, members),
            (
                Form::Bool
                | Form::Text
                | Form::Int32
                | Form::Int64
                | Form::Double
                | Form::Bytes
                | Form::Message(_)
                | Form::List(_)
                | Form::WrappedList(_)
                | Form::Map(_),
                value,
            ) => Err(self.wrong(shape, &value)),
            (form, value) => self.odd(form, value),
        }
    }

    fn whole(&self, shape: &Shape, number: &Number) -> Checked {
        if let Some(value) = whole(&shape.form, number) {
            return Ok(value);
        }
        if self.reader == Reader::Text {
            return Err(Failure::number(number, self.types.go_type(shape)));
        }
        match (number.as_i64(), number.as_f64()) {
            #[expect(clippy::cast_possible_truncation, reason = "so does upstream")]
            (Some(whole), _) => Ok(Value::from(whole as i32)),
            #[expect(clippy::cast_possible_truncation, reason = "checked to have no fraction")]
            (None, Some(float)) if float.fract() == 0.0 => Ok(Value::from(float as i64)),
            _ => {
                let go = self.types.go_type(shape);
                Err(Failure::Other(format!("cannot convert float64 to {go}")))
            }
        }
    }

    /// What upstream says of a value that the form does not take.
    fn wrong(&self, shape: &Shape, value: &Value) -> Failure {
        let go = self.types.go_type(shape);
        if self.reader == Reader::Text {
            return Failure::wrong(value, go);
        }
        let kind = match value {
            Value::Null => "invalid",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_i64() => "int64",
            Value::Number(_) => "float64",
            Value::String(_) => "string",
            Value::Array(_) => "slice",
            Value::Object(_) => "map",
        };
        Failure::Other(match &shape.form {
            Form::Map(_) => format!("cannot restore map from {kind}"),
            Form::Message(_) => format!("cannot restore struct from: {kind}"),
            Form::List(_) | Form::WrappedList(_) | Form::Bytes => {
                format!("cannot restore slice from {kind}")
            }
            Form::Text if kind == "int64" => format!("cannot convert int64 to {go}"),
            Form::Text => "unrecognized type: string".to_owned(),
            Form::Bool => "unrecognized type: bool".to_owned(),
            Form::Int32 => "unrecognized type: int32".to_owned(),
            Form::Int64 => "unrecognized type: int64".to_owned(),
            _ => "unrecognized type: float64".to_owned(),
        })
    }

    /// Types that have a reader of their own.
    fn odd(&mut self, form: &Form, value: Value) -> Checked {
        match (form, value) {
            (Form::RawExtension | Form::FieldsV1 | Form::Json, value) => Ok(value),
            (Form::Quantity, value) => {
                let text = match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                quantity::canonical(text.trim()).map(Value::String).map_err(Failure::Other)
            }
            (Form::IntOrString, value @ Value::String(_)) => Ok(value),
            (Form::IntOrString, Value::Number(number)) => {
                whole(&Form::Int32, &number).ok_or_else(|| Failure::number(&number, "int32"))
            }
            (Form::IntOrString, value) => Err(Failure::wrong(&value, "int32")),
            (Form::Time, Value::String(text)) => written(time::normal(&text)),
            (Form::MicroTime, Value::String(text)) => written(time::normal_micro(&text)),
            (Form::Duration, Value::String(text)) => {
                let nanos = time::parse_duration(&text).map_err(Failure::Other)?;
                Ok(Value::String(time::format_duration(nanos)))
            }
            (Form::SchemaOrBool, value @ Value::Bool(_)) => Ok(value),
            (_, Value::Object(members)) if is_schema(form) => {
                // The readers of these types are not strict, whatever the request asks for.
                let before = self.unknown.len();
                let schema = self.types.named("apiextensions.v1.JSONSchemaProps");
                let schema = schema.expect("the table has the schema of schemas");
                let checked = self.object(schema, members).map(Value::Object);
                self.unknown.truncate(before);
                checked
            }
            (Form::SchemaOrBool, _) => {
                Err(Failure::Other("boolean or JSON schema expected".to_owned()))
            }
            (Form::SchemaOrArray | Form::SchemaOrTexts, Value::Array(items)) => {
                let texts = *form == Form::SchemaOrTexts;
                let form = if texts { Form::Text } else { Form::SchemaOrArray };
                self.list(&Shape { form, named: "" }, items)
            }
            (Form::SchemaOrArray | Form::SchemaOrTexts, _) => Ok(Value::Null),
            (_, value) => Err(Failure::wrong(&value, "string")),
        }
    }

    fn list(&mut self, item: &Shape, mut items: Vec<Value>) -> Checked {
        self.values += items.len();
        for (at, value) in items.iter_mut().enumerate() {
            let before = self.unknown.len();
            *value = self.item(item, value.take())?;
            self.unknown[before..].iter_mut().for_each(|one| one.within_item(at));
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, of: &Shape, mut members: Object) -> Checked {
        self.values += members.len();
        for (place, (name, value)) in members.iter_mut().enumerate() {
            let before = self.unknown.len();
            *value = self.item(of, value.take())?;
            self.unknown[before..].iter_mut().for_each(|one| one.within_member(name, place));
        }
        if !members.keys().is_sorted() {
            members.sort_keys();
        }
        Ok(Value::Object(members))
    }
}

/// The names of the structs that are inlined in each other between a type and the one that has the
/// field, the innermost first: Go names them in its complaints.
fn embedded(types: &Types, id: TypeId, owner: TypeId) -> Vec<&'static str> {
    if id == owner {
        return Vec::new();
    }
    for field in types.get(id).fields.iter().filter(|field| field.inline) {
        let Form::Message(inner) = field.shape.form else { continue };
        let found = embedded(types, inner, owner);
        if inner == owner || !found.is_empty() {
            let mut names = found;
            names.push(types.get(inner).short_name());
            return names;
        }
    }
    Vec::new()
}

fn is_schema(form: &Form) -> bool {
    matches!(form, Form::SchemaOrBool | Form::SchemaOrArray | Form::SchemaOrTexts)
}

fn whole(form: &Form, number: &Number) -> Option<Value> {
    let whole = number.as_i64()?;
    let fits = *form == Form::Int64 || i32::try_from(whole).is_ok();
    fits.then(|| Value::from(whole))
}

fn written(time: Result<Option<String>, String>) -> Checked {
    time.map(|text| text.map_or(Value::Null, Value::String)).map_err(Failure::Other)
}

/// Bytes as a list of numbers, which Go takes, too.
fn numbered_bytes(items: &[Value]) -> Checked {
    let mut bytes = Vec::with_capacity(items.len());
    for item in items {
        bytes.push(match item {
            Value::Null => 0,
            Value::Number(number) => {
                let byte = number.as_u64().and_then(|byte| u8::try_from(byte).ok());
                byte.ok_or_else(|| Failure::number(number, "uint8"))?
            }
            other => return Err(Failure::wrong(other, "uint8")),
        });
    }
    Ok(Value::String(STANDARD.encode(bytes)))
}

/// Like Go's, the decoder takes bits that say nothing behind the last byte.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Base64 in its one form; Go skips line ends in it.
fn base64(text: String) -> Checked {
    let plain: String = if text.contains(['\r', '\n']) {
        text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect()
    } else {
        text
    };
    match LENIENT.decode(&plain) {
        Ok(bytes) => {
            let again = STANDARD.encode(bytes);
            Ok(Value::String(again))
        }
        Err(error) => {
            use base64::DecodeError::{InvalidByte, InvalidLastSymbol};
            let at = match error {
                InvalidByte(at, _) | InvalidLastSymbol(at, _) => at,
                // Go points to the end of the last group that was whole.
                _ => plain.len() / 4 * 4,
            };
            Err(Failure::Other(format!("illegal base64 data at input byte {at}")))
        }
    }
}
