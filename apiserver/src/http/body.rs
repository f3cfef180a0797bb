//! Request bodies: read within bounds, decoded from what their media type says, checked.

use axum::body::Body;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;

use super::info::Query;
use crate::auth::lookup::Answer;
use crate::object::{self, Object};
use crate::schema;
use crate::status::Status;

/// The largest body that is read (upstream's number).
const BODY_BYTES: usize = 3 * 1024 * 1024;

/// The forms that an object may come in.
const OBJECT_TYPES: [&str; 3] =
    ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// What happens when a body says what its kind does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

impl FieldValidation {
    pub(crate) fn of(query: &Query) -> Answer<Self> {
        match query.get("fieldValidation") {
            "" | "Warn" => Ok(Self::Warn),
            "Ignore" => Ok(Self::Ignore),
            "Strict" => Ok(Self::Strict),
            other => Err(invalid_option(other)),
        }
    }

    /// What to do about complaints: the texts to warn of, or 400.
    pub(crate) fn judge(self, complaints: Vec<String>, of_patch: Written) -> Answer<Vec<String>> {
        match self {
            Self::Ignore => Ok(Vec::new()),
            Self::Warn => Ok(complaints),
            Self::Strict if complaints.is_empty() => Ok(complaints),
            Self::Strict => {
                let texts = complaints.join(", ");
                Err(Box::new(match of_patch {
                    Written::Whole(kind) => Status::bad_request(format!(
                        "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {texts}",
                        kind.kind, kind.version, kind.kind
                    )),
                    Written::Patch => {
                        Status::bad_request(format!("strict decoding error: {texts}"))
                    }
                }))
            }
        }
    }
}

/// What complaints are about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Written {
    /// An object of a kind.
    Whole(Kinded<'static>),
    /// What a patch made.
    Patch,
}

/// A kind by its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinded<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) kind: &'a str,
}

impl Kinded<'_> {
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

fn invalid_option(given: &str) -> Box<Status> {
    use crate::field::{FieldErrors, Path};
    let mut errors = FieldErrors::default();
    let path = Path::new("fieldValidation");
    errors.not_supported(&path, given, &["", "Ignore", "Strict", "Warn"]);
    Box::new(Status::invalid("meta.k8s.io", "CreateOptions", "", &errors))
}

/// Reads a body within its bound.
pub(crate) async fn read(body: Body) -> Answer<Vec<u8>> {
    match Limited::new(body, BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes().to_vec()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let why = format!("Request entity too large: limit is {BODY_BYTES}");
            Err(Box::new(Status::too_large(why)))
        }
        Err(error) => Err(Box::new(Status::bad_request(format!("unable to read data: {error}")))),
    }
}

/// The media type of a body, without its parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    text.split(';').next().unwrap_or("").trim()
}

/// The media type of a body that is an object, JSON if it says none; `None` if what it says is none.
/// (Upstream: Go's `mime.ParseMediaType`.)
fn object_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE).map_or(Some(""), |value| value.to_str().ok())?;
    if text.is_empty() {
        return Some("application/json".to_owned());
    }
    let (media, parameters) = text.split_once(';').unwrap_or((text, ""));
    let is_token = |text: &str| {
        let is_part = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte);
        !text.is_empty() && text.bytes().all(is_part)
    };
    let mut parameters = parameters.trim();
    // One semicolon at the end says nothing.
    parameters = parameters.strip_suffix(';').unwrap_or(parameters).trim();
    let is_pair = |pair: &str| {
        let pair = pair.trim().split_once('=');
        pair.is_some_and(|(name, value)| {
            let quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
            is_token(name) && (quoted || is_token(value))
        })
    };
    let media = media.trim();
    let is_type =
        media.split_once('/').is_some_and(|(kind, rest)| is_token(kind) && is_token(rest));
    let is_good = is_type && (parameters.is_empty() || parameters.split(';').all(is_pair));
    is_good.then(|| media.to_lowercase())
}

/// A body as it was decoded: the object, its duplicates, and what kind it says that it is.
pub(crate) struct Decoded {
    pub(crate) object: Object,
    pub(crate) complaints: Vec<String>,
}

/// Decodes a body that is an object of a kind.
pub(crate) fn decode(
    headers: &HeaderMap,
    bytes: &[u8],
    wanted: Kinded<'static>,
) -> Answer<Decoded> {
    let media = object_type(headers);
    let (mut object, duplicates) = match media.as_deref() {
        Some("application/json") => json(bytes)?,
        Some("application/yaml") => yaml(bytes)?,
        Some("application/vnd.kubernetes.protobuf") => (protobuf(bytes, wanted)?, Vec::new()),
        _ => return Err(Box::new(Status::unsupported_media_type(&OBJECT_TYPES))),
    };
    check_kind(object::text(&object, &["apiVersion"]), object::text(&object, &["kind"]), wanted)?;
    let id = schema::types().kind(wanted.group, wanted.version, wanted.kind);
    let id = id.ok_or_else(|| Status::internal("the kind has no schema"))?;
    let unknown =
        schema::decode::check(id, &mut object).map_err(|why| cannot_handle(wanted, &why))?;
    let complaints = schema::decode::complaints(duplicates, unknown);
    schema::proto::name_kind(&mut object, &wanted.api_version(), wanted.kind);
    Ok(Decoded { object, complaints })
}

fn json(bytes: &[u8]) -> Answer<(Object, Vec<String>)> {
    let (value, duplicates) = schema::json::parse(bytes).map_err(|why| unreadable(&why, bytes))?;
    Ok((as_object(value)?, duplicates))
}

fn yaml(bytes: &[u8]) -> Answer<(Object, Vec<String>)> {
    let (value, duplicates) = schema::yaml::parse(bytes).map_err(|why| {
        Box::new(Status::bad_request(format!("error converting YAML to JSON: {why}")))
    })?;
    Ok((as_object(value)?, duplicates))
}

fn protobuf(bytes: &[u8], wanted: Kinded<'_>) -> Answer<Object> {
    let bad = |why: String| Box::new(Status::bad_request(why));
    let envelope = schema::proto::decode_envelope(bytes).map_err(bad)?;
    check_kind(&envelope.api_version, &envelope.kind, wanted)?;
    let id = schema::types().kind(wanted.group, wanted.version, wanted.kind);
    let id = id.ok_or_else(|| Status::internal("the kind has no schema"))?;
    schema::proto::decode(id, envelope.raw).map_err(|why| bad(why.to_string()))
}

fn as_object(value: Value) -> Answer<Object> {
    match value {
        Value::Object(object) => Ok(object),
        // As for Go, nothing is an object without members.
        Value::Null => Ok(Object::new()),
        other => {
            let what = match other {
                Value::Array(_) => "array",
                Value::String(_) => "string",
                Value::Number(_) => "number",
                _ => "bool",
            };
            let why = format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {what} into \
                 Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; \
                 Kind string \"json:\\\"kind,omitempty\\\"\" }}"
            );
            Err(Box::new(Status::bad_request(why)))
        }
    }
}

fn unreadable(why: &str, bytes: &[u8]) -> Box<Status> {
    if bytes.is_empty() {
        return Box::new(Status::bad_request("unexpected end of JSON input"));
    }
    Box::new(Status::bad_request(format!("couldn't get version/kind; json parse error: {why}")))
}

/// 400 if the object says that it is of another kind.
fn check_kind(version: &str, kind: &str, wanted: Kinded<'_>) -> Answer<()> {
    let own = wanted.api_version();
    if !version.is_empty() && version != own {
        return Err(Box::new(Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({own})"
        ))));
    }
    if !kind.is_empty() && kind != wanted.kind {
        return Err(Box::new(Status::bad_request(format!(
            "{kind} in version \"{own}\" cannot be handled as a {}: no kind \"{kind}\" is \
             registered for this path",
            wanted.kind
        ))));
    }
    Ok(())
}

fn cannot_handle(wanted: Kinded<'_>, why: &str) -> Box<Status> {
    Box::new(Status::bad_request(format!(
        "{} in version \"{}\" cannot be handled as a {}: {why}",
        wanted.kind, wanted.version, wanted.kind
    )))
}
