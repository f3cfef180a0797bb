//! Objects as protobuf: what typed clients send and may ask for.
//!
//! ```text
//!   "k8s\0" Unknown { 1: TypeMeta { 1: apiVersion, 2: kind }, 2: raw, 3: encoding, 4: content type }
//!                                                              │
//!                         a message of the kind's type ◄───────┘
//! ```
//!
//! Bytes are those that upstream's generated code writes: fields by number, zeroes of fields that
//! are no pointers written out, maps sorted by key. Decoding takes any order and skips what it does
//! not know. Malformed bytes are an error text, in upstream's words where it has any.
//!
//! Invariant: what is made of some bytes is bounded by [`MAX_VALUES`] and `json::MAX_DEPTH`, however
//! small the bytes are (an empty message stands for an object with all its required members).

mod decode;
pub(crate) mod encode;

use serde_json::Value;

pub use decode::decode;
pub use encode::encode;

use super::types;
use crate::object::{self, Object};

/// The most values that one object may have; far beyond what fits a request of 3 MiB otherwise.
pub const MAX_VALUES: usize = 1_000_000;

/// The first four bytes of every object.
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// An object's envelope, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The kind's group and version; empty if the sender leaves it to the receiver.
    pub api_version: String,
    /// The kind; may be empty, too.
    pub kind: String,
    /// The message.
    pub raw: &'a [u8],
}

/// Opens the envelope of an object.
///
/// # Errors
///
/// Fails with a text for people if the bytes are none.
pub fn decode_envelope(bytes: &[u8]) -> Result<Envelope<'_>, String> {
    if bytes.is_empty() {
        return Err("empty data".to_owned());
    }
    let body = bytes.strip_prefix(MAGIC).ok_or_else(|| {
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
            .to_owned()
    })?;
    if body.is_empty() {
        return Err("empty body".to_owned());
    }
    let mut envelope = Envelope { api_version: String::new(), kind: String::new(), raw: &[] };
    let mut fields = decode::Fields::new(body);
    while let Some((number, wire)) = fields.next()? {
        match number {
            1 => {
                let mut meta = decode::Fields::new(wire.bytes("TypeMeta")?);
                while let Some((number, wire)) = meta.next()? {
                    match number {
                        1 => envelope.api_version = wire.text("APIVersion")?,
                        2 => envelope.kind = wire.text("Kind")?,
                        _ => {}
                    }
                }
            }
            2 => envelope.raw = wire.bytes("Raw")?,
            _ => {}
        }
    }
    Ok(envelope)
}

/// Puts a message into its envelope.
#[must_use]
pub fn encode_envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut out = encode::Backward::with_capacity(raw.len() + 64);
    out.field(4, b"");
    out.field(3, b"");
    out.field(2, raw);
    out.message(1, |meta| {
        meta.field(2, kind.as_bytes());
        meta.field(1, api_version.as_bytes());
    });
    out.bytes(MAGIC);
    out.finish()
}

/// Decodes an object with its envelope; the kind is the envelope's.
///
/// # Errors
///
/// Fails with a text for people if the bytes are malformed or the kind is not known.
pub fn decode_object(bytes: &[u8]) -> Result<Object, String> {
    let envelope = decode_envelope(bytes)?;
    let id = types().kind_of(&envelope.api_version, &envelope.kind).ok_or_else(|| {
        format!("no kind {:?} is known for {:?}", envelope.kind, envelope.api_version)
    })?;
    let mut object = decode(id, envelope.raw)?;
    name_kind(&mut object, &envelope.api_version, &envelope.kind);
    Ok(object)
}

/// Encodes an object that says its kind, with its envelope.
///
/// # Errors
///
/// Fails with a text for people if the kind is not known or a member is of another type than the
/// table says.
pub fn encode_object(object: &Object) -> Result<Vec<u8>, String> {
    let (api_version, kind) =
        (object::text(object, &["apiVersion"]), object::text(object, &["kind"]));
    let id = types()
        .kind_of(api_version, kind)
        .ok_or_else(|| format!("no kind {kind:?} is known for {api_version:?}"))?;
    Ok(encode_envelope(api_version, kind, &encode(id, object)?))
}

/// Puts `kind` and `apiVersion` before all other members.
pub fn name_kind(object: &mut Object, api_version: &str, kind: &str) {
    object.shift_insert(0, "kind".to_owned(), Value::from(kind));
    object.shift_insert(1, "apiVersion".to_owned(), Value::from(api_version));
}
