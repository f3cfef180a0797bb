//! Protobuf to trees.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::MAX_VALUES;
use crate::object::Object;
use crate::schema::json::MAX_DEPTH;
use crate::schema::{Field, Form, Shape, Type, TypeId, Types, json, quantity, settle, time, types};

type Result<T> = std::result::Result<T, String>;

/// Decodes a message of a type.
///
/// # Errors
///
/// Fails with a text for people if the bytes are malformed.
pub fn decode(id: TypeId, raw: &[u8]) -> Result<Object> {
    Decoder { types: types(), values: 0, depth: 0 }.message(id, raw)
}

/// What a field holds on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

impl<'a> Wire<'a> {
    fn wrong(self, name: &str) -> String {
        let number = match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Fixed32 => 5,
        };
        format!("proto: wrong wireType = {number} for field {name}")
    }

    pub(super) fn bytes(self, name: &str) -> Result<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(self.wrong(name)) }
    }

    pub(super) fn text(self, name: &str) -> Result<String> {
        Ok(String::from_utf8_lossy(self.bytes(name)?).into_owned())
    }

    fn number(self, name: &str) -> Result<u64> {
        if let Self::Varint(number) = self { Ok(number) } else { Err(self.wrong(name)) }
    }
}

/// The fields of a message, one after the other.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

const CUT_OFF: &str = "unexpected EOF";

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field with its number; `None` behind the last. Old groups are not part of any
    /// message here and are refused.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Wire<'a>)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number =
            number.ok_or_else(|| format!("proto: illegal tag {} (wire type {tag})", tag >> 3))?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => {
                let bytes = self.take(8)?;
                Wire::Fixed64(u64::from_le_bytes(bytes.try_into().expect("eight bytes were taken")))
            }
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| CUT_OFF.to_owned())?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Fixed32
            }
            4 => return Err("proto: wiretype end group for non-group".to_owned()),
            other => return Err(format!("proto: illegal wireType {other}")),
        };
        Ok(Some((number, wire)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| CUT_OFF.to_owned())?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        // A varint of 64 bits has at most ten bytes.
        for at in 0..10 {
            let byte = *self.rest.get(at).ok_or_else(|| CUT_OFF.to_owned())?;
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err("proto: integer overflow".to_owned())
    }
}

struct Decoder {
    types: &'static Types,
    /// How many values were made so far.
    values: usize,
    depth: usize,
}

impl Decoder {
    fn message(&mut self, id: TypeId, raw: &[u8]) -> Result<Object> {
        self.deeper()?;
        let of = self.types.get(id);
        let mut values = vec![None; of.members.len()];
        self.fields(of, raw, &mut values)?;
        let object = settle::object(self.types, of, values);
        self.count(object.len())?;
        self.depth -= 1;
        Ok(object)
    }

    /// Enters a level of the tree.
    fn deeper(&mut self) -> Result<()> {
        if self.depth >= MAX_DEPTH {
            return Err("proto: messages are nested too deeply".to_owned());
        }
        self.depth += 1;
        Ok(())
    }

    fn count(&mut self, values: usize) -> Result<()> {
        self.values += values;
        if self.values > MAX_VALUES {
            return Err(format!("proto: an object has more than {MAX_VALUES} values"));
        }
        Ok(())
    }

    /// Reads the fields of a message into the places of its members.
    fn fields(&mut self, of: &Type, raw: &[u8], values: &mut [Option<Value>]) -> Result<()> {
        let mut fields = Fields::new(raw);
        // Senders write fields by number, so the next field is mostly the next one in that order.
        let mut hint = 0;
        while let Some((number, wire)) = fields.next()? {
            let Some((at, order)) = find(of, number, hint) else { continue };
            hint = order;
            let field = &of.fields[at];
            let first = usize::from(of.first_members[at]);
            match &field.shape.form {
                Form::Message(inner) if field.inline => {
                    let inner = self.types.get(*inner);
                    let places = &mut values[first..first + inner.members.len()];
                    self.fields(inner, wire.bytes(of.short_name())?, places)?;
                }
                _ => self.field(field, wire, &mut values[first])?,
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, wire: Wire<'_>, place: &mut Option<Value>) -> Result<()> {
        match &field.shape.form {
            Form::List(item) => {
                let list = place.get_or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(list) = list else { unreachable!("a list was put there") };
                self.deeper()?;
                self.items(field, item, wire, list)?;
                self.depth -= 1;
                Ok(())
            }
            Form::Map(value) => {
                let map = place.get_or_insert_with(|| Value::Object(Object::new()));
                let Value::Object(map) = map else { unreachable!("a map was put there") };
                self.deeper()?;
                self.entry(field, value, wire.bytes(field.name)?, map)?;
                self.depth -= 1;
                Ok(())
            }
            _ => {
                *place = Some(self.value(&field.shape, wire, field.name)?);
                Ok(())
            }
        }
    }

    /// One item, or several numbers packed into one field.
    fn items(
        &mut self,
        field: &Field,
        item: &Shape,
        wire: Wire<'_>,
        list: &mut Vec<Value>,
    ) -> Result<()> {
        if let (Wire::Bytes(packed), Form::Int32 | Form::Int64) = (wire, &item.form) {
            let mut numbers = Fields::new(packed);
            while !numbers.rest.is_empty() {
                let number = Wire::Varint(numbers.varint()?);
                list.push(self.value(item, number, field.name)?);
            }
            return Ok(());
        }
        list.push(self.value(item, wire, field.name)?);
        Ok(())
    }

    /// An entry of a map: a message of key and value.
    fn entry(&mut self, field: &Field, of: &Shape, raw: &[u8], map: &mut Object) -> Result<()> {
        let (mut key, mut value) = (String::new(), None);
        let mut fields = Fields::new(raw);
        while let Some((number, wire)) = fields.next()? {
            match number {
                1 => key = wire.text(field.name)?,
                2 => value = Some(self.value(of, wire, field.name)?),
                _ => {}
            }
        }
        let value = match value {
            Some(value) => value,
            None => settle::zero(self.types, &of.form),
        };
        // Go writes maps in the order of their keys, and most senders send them so.
        match map.keys().next_back() {
            Some(last) if *last >= key => {
                map.insert(key, value);
                map.sort_keys();
            }
            _ => {
                map.insert(key, value);
            }
        }
        Ok(())
    }

    fn value(&mut self, shape: &Shape, wire: Wire<'_>, name: &str) -> Result<Value> {
        self.count(1)?;
        Ok(match &shape.form {
            Form::Bool => Value::Bool(wire.number(name)? != 0),
            // Numbers of 32 bits are sent as if they had 64; only the low half counts.
            Form::Int32 => Value::from(low_half(wire.number(name)?)),
            Form::Int64 => Value::from(wire.number(name)?.cast_signed()),
            Form::Double => match wire {
                Wire::Fixed64(bits) => json::double(f64::from_bits(bits)),
                _ => return Err(wire.wrong(name)),
            },
            Form::Text => Value::String(wire.text(name)?),
            Form::Bytes => Value::String(STANDARD.encode(wire.bytes(name)?)),
            form => self.nested(form, wire.bytes(name)?, name)?,
        })
    }

    /// A value that is a message on the wire.
    fn nested(&mut self, form: &Form, raw: &[u8], name: &str) -> Result<Value> {
        Ok(match form {
            Form::Message(id) => Value::Object(self.message(*id, raw)?),
            Form::WrappedList(item) => {
                let mut list = Vec::new();
                each(raw, 1, |wire| {
                    list.push(self.value(item, wire, name)?);
                    Ok(())
                })?;
                if list.is_empty() { Value::Null } else { Value::Array(list) }
            }
            Form::Quantity => {
                let text = last(raw, 1, |wire| wire.text(name))?;
                match text {
                    Some(text) => Value::String(quantity::canonical(&text)?),
                    None => Value::from("0"),
                }
            }
            Form::IntOrString => int_or_string(raw)?,
            Form::Time | Form::MicroTime => timestamp(form, raw)?,
            Form::Duration => {
                let nanos = last(raw, 1, |wire| wire.number(name))?.unwrap_or(0);
                Value::String(time::format_duration(nanos.cast_signed()))
            }
            Form::RawExtension | Form::FieldsV1 | Form::Json => {
                match last(raw, 1, |wire| wire.bytes(name))? {
                    Some(raw) if !raw.is_empty() => self.any(raw)?,
                    _ => Value::Null,
                }
            }
            Form::SchemaOrBool => match last(raw, 2, |wire| wire.bytes(name))? {
                Some(schema) => self.schema(schema)?,
                None => Value::Bool(last(raw, 1, |wire| wire.number(name))?.unwrap_or(0) != 0),
            },
            Form::SchemaOrArray | Form::SchemaOrTexts => self.schema_or_list(form, raw, name)?,
            _ => unreachable!("the other forms are no messages"),
        })
    }

    fn schema(&mut self, raw: &[u8]) -> Result<Value> {
        let id = self.types.named("apiextensions.v1.JSONSchemaProps");
        Ok(Value::Object(self.message(id.expect("the table has the schema of schemas"), raw)?))
    }

    fn schema_or_list(&mut self, form: &Form, raw: &[u8], name: &str) -> Result<Value> {
        let mut list = Vec::new();
        each(raw, 2, |wire| {
            let item = match form {
                Form::SchemaOrTexts => Value::String(wire.text(name)?),
                _ => self.schema(wire.bytes(name)?)?,
            };
            self.count(1)?;
            list.push(item);
            Ok(())
        })?;
        match last(raw, 1, |wire| wire.bytes(name))? {
            _ if !list.is_empty() => Ok(Value::Array(list)),
            Some(schema) => self.schema(schema),
            None => Ok(Value::Null),
        }
    }

    /// An object in a field that takes any kind: JSON, or protobuf with its envelope.
    fn any(&mut self, raw: &[u8]) -> Result<Value> {
        if raw.starts_with(super::MAGIC) {
            let envelope = super::decode_envelope(raw)?;
            let id = self.types.kind_of(&envelope.api_version, &envelope.kind);
            let id = id.ok_or_else(|| format!("no kind {:?} is known", envelope.kind))?;
            let mut object = self.message(id, envelope.raw)?;
            super::name_kind(&mut object, &envelope.api_version, &envelope.kind);
            return Ok(Value::Object(object));
        }
        Ok(json::parse_below(raw, self.depth)?.0)
    }
}

/// The place of the field with this number, and its place in the order by number.
fn find(of: &Type, number: u32, hint: usize) -> Option<(usize, usize)> {
    let has = |order: usize| {
        let at = usize::from(*of.by_number.get(order)?);
        (u32::from(of.fields[at].number) == number).then_some((at, order))
    };
    if let Some(found) = has(hint).or_else(|| has(hint + 1)) {
        return Some(found);
    }
    let order = of
        .by_number
        .binary_search_by_key(&number, |at| u32::from(of.fields[usize::from(*at)].number));
    order.ok().and_then(has)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half of the bits is what is meant")]
fn low_half(number: u64) -> i32 {
    (number as u32).cast_signed()
}

/// Calls `use_it` with each field of this number.
fn each<'a>(
    raw: &'a [u8],
    number: u32,
    mut use_it: impl FnMut(Wire<'a>) -> Result<()>,
) -> Result<()> {
    let mut fields = Fields::new(raw);
    while let Some((found, wire)) = fields.next()? {
        if found == number {
            use_it(wire)?;
        }
    }
    Ok(())
}

/// The last field of this number.
fn last<'a, T>(
    raw: &'a [u8],
    number: u32,
    read: impl Fn(Wire<'a>) -> Result<T>,
) -> Result<Option<T>> {
    let mut value = None;
    each(raw, number, |wire| {
        value = Some(read(wire)?);
        Ok(())
    })?;
    Ok(value)
}

fn int_or_string(raw: &[u8]) -> Result<Value> {
    let kind = last(raw, 1, |wire| wire.number("Type"))?.unwrap_or(0);
    let number = last(raw, 2, |wire| wire.number("IntVal"))?.unwrap_or(0);
    let text = last(raw, 3, |wire| wire.text("StrVal"))?.unwrap_or_default();
    match kind {
        0 => Ok(Value::from(low_half(number))),
        1 => Ok(Value::String(text)),
        _ => Err("impossible IntOrString.Type".to_owned()),
    }
}

fn timestamp(form: &Form, raw: &[u8]) -> Result<Value> {
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    let seconds = last(raw, 1, |wire| wire.number("Seconds"))?.unwrap_or(0).cast_signed();
    let nanos = low_half(last(raw, 2, |wire| wire.number("Nanos"))?.unwrap_or(0));
    let text = match form {
        Form::Time => time::format(seconds),
        _ => time::format_micro(seconds, nanos / 1000),
    };
    text.map(Value::String).ok_or_else(|| "a time lies outside of the years 0 to 9999".to_owned())
}
