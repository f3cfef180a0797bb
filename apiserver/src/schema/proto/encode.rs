//! Trees to protobuf.
//!
//! A message is written from its end to its start: its length is known when it is put before it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::object::Object;
use crate::schema::{Field, Form, Shape, Type, TypeId, Types, time, types};

type Result<T> = std::result::Result<T, String>;

/// Encodes an object of a type. It should have gone through `schema::decode` or
/// `schema::proto::decode` before: what the type does not know is left out.
///
/// # Errors
///
/// Fails with a text for people if a member is of another type than the table says.
pub fn encode(id: TypeId, object: &Object) -> Result<Vec<u8>> {
    let mut encoder = Encoder { types: types(), out: Backward::with_capacity(1024) };
    encoder.message(id, object)?;
    Ok(encoder.out.finish())
}

/// Bytes, the last first.
#[derive(Debug)]
pub(crate) struct Backward(Vec<u8>);

impl Backward {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.reverse();
        self.0
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend(bytes.iter().rev());
    }

    fn varint(&mut self, mut value: u64) {
        let (mut bytes, mut length) = ([0_u8; 10], 0);
        loop {
            let low = u8::try_from(value & 0x7f).expect("seven bits fit a byte");
            value >>= 7;
            bytes[length] = if value == 0 { low } else { low | 0x80 };
            length += 1;
            if value == 0 {
                break;
            }
        }
        self.bytes(&bytes[..length]);
    }

    fn tag(&mut self, number: u16, wire: u8) {
        self.varint(u64::from(number) << 3 | u64::from(wire));
    }

    /// A field of bytes.
    pub(crate) fn field(&mut self, number: u16, bytes: &[u8]) {
        self.bytes(bytes);
        self.varint(bytes.len() as u64);
        self.tag(number, 2);
    }

    pub(crate) fn number(&mut self, number: u16, value: u64) {
        self.varint(value);
        self.tag(number, 0);
    }

    pub(crate) fn fixed(&mut self, number: u16, bits: u64) {
        self.bytes(&bits.to_le_bytes());
        self.tag(number, 1);
    }

    /// A field that is a message; `write` writes its fields from the last to the first.
    pub(crate) fn message(&mut self, number: u16, write: impl FnOnce(&mut Self)) {
        let before = self.0.len();
        write(self);
        self.close(number, before);
    }

    /// Puts number and length before a message of which `before` is the end.
    fn close(&mut self, number: u16, before: usize) {
        self.varint((self.0.len() - before) as u64);
        self.tag(number, 2);
    }
}

struct Encoder {
    types: &'static Types,
    out: Backward,
}

impl Encoder {
    fn message(&mut self, id: TypeId, object: &Object) -> Result<()> {
        let of = self.types.get(id);
        let mut values = vec![None; of.members.len()];
        let mut next = 0;
        for (name, value) in object {
            if let Some(at) = of.position_near(name, next) {
                next = at + 1;
                values[at] = Some(value);
            }
        }
        self.fields(of, &values)
    }

    /// Writes the fields of a type, whose values stand in the order of its members.
    fn fields(&mut self, of: &Type, values: &[Option<&Value>]) -> Result<()> {
        for at in of.by_number.iter().rev() {
            let at = usize::from(*at);
            let (field, first) = (&of.fields[at], usize::from(of.first_members[at]));
            match &field.shape.form {
                Form::Message(inner) if field.inline => {
                    let inner = self.types.get(*inner);
                    let before = self.out.0.len();
                    self.fields(inner, &values[first..first + inner.members.len()])?;
                    self.out.close(field.number, before);
                }
                _ => self.field(field, values[first])?,
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, value: Option<&Value>) -> Result<()> {
        let value = value.filter(|value| !value.is_null());
        match (&field.shape.form, value) {
            (Form::List(_) | Form::Map(_) | Form::Bytes, None) => Ok(()),
            (_, None) if field.pointer => Ok(()),
            (form, None) => self.zero(field.number, form),
            (Form::List(item), Some(value)) => {
                let items = value.as_array().ok_or_else(|| wrong(field.name, "a list"))?;
                for value in items.iter().rev() {
                    self.value(field.number, item, value, field.name)?;
                }
                Ok(())
            }
            (Form::Map(of), Some(value)) => {
                let map = value.as_object().ok_or_else(|| wrong(field.name, "a map"))?;
                self.map(field, of, map)
            }
            (_, Some(value)) => self.value(field.number, &field.shape, value, field.name),
        }
    }

    fn map(&mut self, field: &Field, of: &Shape, map: &Object) -> Result<()> {
        let mut entries: Vec<(&String, &Value)> = map.iter().collect();
        entries.sort_unstable_by(|a, b| b.0.cmp(a.0));
        for (key, value) in entries {
            let before = self.out.0.len();
            if value.is_null() {
                if !matches!(of.form, Form::Bytes) {
                    self.zero(2, &of.form)?;
                }
            } else {
                self.value(2, of, value, field.name)?;
            }
            self.out.field(1, key.as_bytes());
            self.out.close(field.number, before);
        }
        Ok(())
    }

    /// The zero of a field that is no pointer.
    fn zero(&mut self, number: u16, form: &Form) -> Result<()> {
        match form {
            Form::Bool | Form::Int32 | Form::Int64 => self.out.number(number, 0),
            Form::Double => self.out.fixed(number, 0),
            Form::Quantity => self.out.message(number, |out| out.field(1, b"0")),
            Form::IntOrString => self.int_or_string(number, 0, 0, ""),
            Form::Duration => self.out.message(number, |out| out.number(1, 0)),
            Form::Message(id) => {
                let before = self.out.0.len();
                self.message(*id, &Object::new())?;
                self.out.close(number, before);
            }
            _ => self.out.field(number, b""),
        }
        Ok(())
    }

    fn value(&mut self, number: u16, shape: &Shape, value: &Value, name: &str) -> Result<()> {
        if value.is_null() {
            return self.zero(number, &shape.form);
        }
        match &shape.form {
            Form::Bool => {
                let yes = value.as_bool().ok_or_else(|| wrong(name, "a boolean"))?;
                self.out.number(number, u64::from(yes));
            }
            Form::Int32 | Form::Int64 => {
                let whole = value.as_i64().ok_or_else(|| wrong(name, "a whole number"))?;
                self.out.number(number, whole.cast_unsigned());
            }
            Form::Double => {
                let double = value.as_f64().ok_or_else(|| wrong(name, "a number"))?;
                self.out.fixed(number, double.to_bits());
            }
            Form::Text => self.out.field(number, text(value, name)?.as_bytes()),
            Form::Bytes => self.out.field(number, &bytes(value, name)?),
            Form::Message(id) => {
                let object = value.as_object().ok_or_else(|| wrong(name, "an object"))?;
                let before = self.out.0.len();
                self.message(*id, object)?;
                self.out.close(number, before);
            }
            Form::List(_) | Form::Map(_) => return Err(wrong(name, "no list of lists or maps")),
            form => return self.odd(number, form, value, name),
        }
        Ok(())
    }

    /// The forms whose text is not that of their message.
    fn odd(&mut self, number: u16, form: &Form, value: &Value, name: &str) -> Result<()> {
        let before = self.out.0.len();
        match form {
            Form::WrappedList(item) => {
                let items = value.as_array().ok_or_else(|| wrong(name, "a list"))?;
                for value in items.iter().rev() {
                    self.value(1, item, value, name)?;
                }
            }
            Form::Quantity => self.out.field(1, text(value, name)?.as_bytes()),
            Form::IntOrString => {
                return match (value.as_i64(), value.as_str()) {
                    (Some(whole), _) => {
                        self.int_or_string(number, 0, whole, "");
                        Ok(())
                    }
                    (None, Some(text)) => {
                        self.int_or_string(number, 1, 0, text);
                        Ok(())
                    }
                    (None, None) => Err(wrong(name, "a number or a text")),
                };
            }
            Form::Time | Form::MicroTime => {
                let (seconds, nanos) =
                    time::parse(text(value, name)?).ok_or_else(|| wrong(name, "a time"))?;
                let nanos = if *form == Form::Time { 0 } else { nanos / 1000 * 1000 };
                self.out.number(2, u64::from(nanos));
                self.out.number(1, seconds.cast_unsigned());
            }
            Form::Duration => {
                let nanos = time::parse_duration(text(value, name)?)
                    .map_err(|_| wrong(name, "a duration"))?;
                self.out.number(1, nanos.cast_unsigned());
            }
            Form::SchemaOrBool | Form::SchemaOrArray | Form::SchemaOrTexts => {
                self.schema(form, value, name)?
            }
            _ => {
                let raw = serde_json::to_vec(value).map_err(|error| error.to_string())?;
                self.out.field(1, &raw);
            }
        }
        self.out.close(number, before);
        Ok(())
    }

    fn schema(&mut self, form: &Form, value: &Value, name: &str) -> Result<()> {
        let id = self.types.named("apiextensions.v1.JSONSchemaProps");
        let schema = Shape {
            form: Form::Message(id.expect("the table has the schema of schemas")),
            named: "",
        };
        match (form, value) {
            (Form::SchemaOrBool, Value::Bool(yes)) => self.out.number(1, u64::from(*yes)),
            (Form::SchemaOrBool, _) => {
                self.value(2, &schema, value, name)?;
                self.out.number(1, 1);
            }
            (_, Value::Array(items)) => {
                let text = Shape { form: Form::Text, named: "" };
                let item = if *form == Form::SchemaOrTexts { &text } else { &schema };
                for value in items.iter().rev() {
                    self.value(2, item, value, name)?;
                }
            }
            _ => self.value(1, &schema, value, name)?,
        }
        Ok(())
    }

    fn int_or_string(&mut self, number: u16, kind: u64, whole: i64, text: &str) {
        self.out.message(number, |out| {
            out.field(3, text.as_bytes());
            out.number(2, whole.cast_unsigned());
            out.number(1, kind);
        });
    }
}

fn wrong(name: &str, wanted: &str) -> String {
    format!("field {name} is not {wanted}")
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str> {
    value.as_str().ok_or_else(|| wrong(name, "a text"))
}

fn bytes(value: &Value, name: &str) -> Result<Vec<u8>> {
    STANDARD.decode(text(value, name)?).map_err(|_| wrong(name, "base64"))
}
