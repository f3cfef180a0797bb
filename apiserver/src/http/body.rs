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
use crate::schema::complaint::Complaint;
use crate::schema::conversion::{Kinded, convertible, not_registered};
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
    pub(crate) fn judge(
        self,
        complaints: Vec<String>,
        kind: Kinded<'static>,
    ) -> Answer<Vec<String>> {
        match self {
            Self::Ignore => Ok(Vec::new()),
            Self::Warn => Ok(complaints),
            Self::Strict if complaints.is_empty() => Ok(complaints),
            Self::Strict => {
                let texts = complaints.join(", ");
                Err(Box::new(Status::bad_request(format!(
                    "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {texts}",
                    kind.kind, kind.version, kind.kind
                ))))
            }
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

/// Why a body is not an object of the kind that it should be.
enum Unread {
    /// The answer is this.
    Refused(Box<Status>),
    /// Kind and version that it says, if they could be read, and what is wrong.
    Misfit { said: Option<(String, String)>, why: String },
}

type Read<T> = Result<T, Unread>;

impl Unread {
    fn unrecognised(why: impl Into<String>) -> Self {
        Self::Misfit { said: None, why: why.into() }
    }

    fn said(wanted: Kinded<'_>, why: String) -> Self {
        let said = Some((wanted.kind.to_owned(), wanted.version.to_owned()));
        Self::Misfit { said, why }
    }

    fn bad(why: impl Into<String>) -> Self {
        Self::Refused(Box::new(Status::bad_request(why)))
    }
}

/// Decodes a body that is an object of a kind.
pub(crate) fn decode(
    headers: &HeaderMap,
    bytes: &[u8],
    wanted: Kinded<'static>,
) -> Answer<Decoded> {
    decode_any(headers, bytes, wanted, check_kind).map_err(|unread| match unread {
        Unread::Refused(status) => status,
        Unread::Misfit { said: Some((kind, version)), why } => {
            Box::new(Status::bad_request(format!(
                "{kind} in version \"{version}\" cannot be handled as a {}: {why}",
                wanted.kind
            )))
        }
        Unread::Misfit { said: None, why } => Box::new(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {why} ({})",
            wanted.kind,
            summary(bytes)
        ))),
    })
}

/// Decodes a body that is DeleteOptions, which every version of every group has.
pub(crate) fn decode_options(headers: &HeaderMap, bytes: &[u8]) -> Answer<Object> {
    let wanted = Kinded { group: "", version: "v1", kind: "DeleteOptions" };
    let check = |version: &str, kind: &str, wanted: Kinded<'_>| {
        if kind.is_empty() || kind == wanted.kind {
            return Ok(());
        }
        Err(Unread::unrecognised(not_registered(version, kind)))
    };
    let decoded = decode_any(headers, bytes, wanted, check);
    decoded.map(|decoded| decoded.object).map_err(|unread| match unread {
        Unread::Refused(status) => status,
        Unread::Misfit { why, .. } => Box::new(Status::bad_request(why)),
    })
}

fn decode_any(
    headers: &HeaderMap,
    bytes: &[u8],
    wanted: Kinded<'static>,
    check: impl Fn(&str, &str, Kinded<'_>) -> Read<()>,
) -> Read<Decoded> {
    let media = object_type(headers);
    let (mut object, duplicates) = match media.as_deref() {
        Some("application/json") => json(bytes)?,
        Some("application/yaml") => yaml(bytes)?,
        Some("application/vnd.kubernetes.protobuf") => {
            (protobuf(bytes, wanted, &check)?, Vec::new())
        }
        _ => {
            let refused = Status::unsupported_media_type(&OBJECT_TYPES);
            return Err(Unread::Refused(Box::new(refused)));
        }
    };
    names_are_texts(&object)?;
    check(object::text(&object, &["apiVersion"]), object::text(&object, &["kind"]), wanted)?;
    let id = schema::types().kind(wanted.group, wanted.version, wanted.kind);
    let id = id.ok_or_else(|| Unread::unrecognised("the kind has no schema"))?;
    let unknown =
        schema::decode::check(id, &mut object).map_err(|why| Unread::said(wanted, why))?;
    let complaints = schema::decode::complaints(duplicates, unknown);
    schema::proto::name_kind(&mut object, &wanted.api_version(), wanted.kind);
    Ok(Decoded { object, complaints })
}

fn json(bytes: &[u8]) -> Read<(Object, Vec<Complaint>)> {
    let (value, duplicates) = schema::json::parse(bytes).map_err(|why| no_version(&why))?;
    Ok((as_object(value)?, duplicates))
}

fn yaml(bytes: &[u8]) -> Read<(Object, Vec<Complaint>)> {
    let (value, duplicates) = schema::yaml::parse(bytes).map_err(Unread::unrecognised)?;
    Ok((as_object(value)?, duplicates))
}

fn protobuf(
    bytes: &[u8],
    wanted: Kinded<'_>,
    check: impl Fn(&str, &str, Kinded<'_>) -> Read<()>,
) -> Read<Object> {
    let envelope = schema::proto::decode_envelope(bytes).map_err(Unread::unrecognised)?;
    check(&envelope.api_version, &envelope.kind, wanted)?;
    let id = schema::types().kind(wanted.group, wanted.version, wanted.kind);
    let id = id.ok_or_else(|| Unread::unrecognised("the kind has no schema"))?;
    schema::proto::decode(id, envelope.raw).map_err(|why| Unread::said(wanted, why.to_string()))
}

/// What Go says of a text whose version and kind cannot be read.
fn no_version(why: &str) -> Unread {
    Unread::unrecognised(format!("couldn't get version/kind; json parse error: {why}"))
}

/// Nothing is an object without members.
fn as_object(value: Value) -> Read<Object> {
    let what = match value {
        Value::Object(object) => return Ok(object),
        Value::Null => return Ok(Object::new()),
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
    };
    Err(no_version(&format!(
        "json: cannot unmarshal {what} into Go value of type struct {{ APIVersion string \
         \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
    )))
}

fn names_are_texts(object: &Object) -> Read<()> {
    for (name, value) in object {
        if !matches!(name.as_str(), "apiVersion" | "kind") {
            continue;
        }
        let what = match value {
            Value::String(_) | Value::Null => continue,
            Value::Array(_) => "array",
            Value::Object(_) => "object",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
        };
        return Err(no_version(&format!(
            "json: cannot unmarshal {what} into Go struct field .{name} of type string"
        )));
    }
    Ok(())
}

/// Whether an object is of the kind that is wanted; what it does not say, it is.
fn check_kind(version: &str, kind: &str, wanted: Kinded<'_>) -> Read<()> {
    let own = wanted.api_version();
    let version = if version.is_empty() { own.as_str() } else { version };
    let kind = if kind.is_empty() { wanted.kind } else { kind };
    let (group, short) = version.split_once('/').unwrap_or(("", version));
    if short.contains('/') {
        return Err(Unread::unrecognised(format!("unexpected GroupVersion string: {version}")));
    }
    let is_known = schema::types().kind(group, short, kind).is_some();
    if is_known && version != own && (kind, wanted.kind) == ("Event", "Event") {
        // Events of both groups are one kind within upstream's server.
        return Err(Unread::bad(format!(
            "the API version in the data ({version}) does not match the expected API version ({own})"
        )));
    }
    let Err(why) = convertible(version, kind, wanted) else { return Ok(()) };
    Err(Unread::Misfit { said: Some((kind.to_owned(), short.to_owned())), why })
}

/// How much of a body a text about it shows (upstream's number).
const SUMMARY_BYTES: usize = 30;

/// The beginning of a body, for people.
fn summary(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SUMMARY_BYTES)];
    let mut text = match bytes.first() {
        None => return "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(shown).into_owned(),
        Some(_) => shown.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if bytes.len() > SUMMARY_BYTES {
        text.push_str(" ...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> String {
        let wanted = Kinded { group: "", version: "v1", kind: "ConfigMap" };
        match decode(&HeaderMap::new(), body.as_bytes(), wanted) {
            Ok(_) => "taken".to_owned(),
            Err(status) => status.message,
        }
    }

    #[test]
    fn a_body_of_another_kind_is_refused_in_the_words_of_upstream() {
        let scheme = "in scheme \"pkg/runtime/scheme.go:111\"";
        assert_eq!(
            refused(r#"{"apiVersion":"apps/v1","kind":"Deployment"}"#),
            "Deployment in version \"v1\" cannot be handled as a ConfigMap: converting \
             (v1.Deployment) to (core.ConfigMap): unknown conversion"
        );
        assert_eq!(
            refused(r#"{"apiVersion":"v9","kind":"ConfigMap"}"#),
            format!(
                "ConfigMap in version \"v9\" cannot be handled as a ConfigMap: no kind \
                 \"ConfigMap\" is registered for version \"v9\" {scheme}"
            )
        );
        assert_eq!(
            refused(r#"{"apiVersion":"a/b/c","kind":"ConfigMap"}"#),
            "the object provided is unrecognized (must be of type ConfigMap): unexpected \
             GroupVersion string: a/b/c ({\"apiVersion\":\"a/b/c\",\"kind\":\" ...)"
        );
        assert_eq!(refused("null"), "taken");
        assert_eq!(
            refused("{"),
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get \
             version/kind; json parse error: unexpected end of JSON input ({)"
        );
    }

    #[test]
    fn strict_decoding_complains_in_the_order_of_the_text() {
        let body = r#"{"metadata":{"nope":1},"data":{"a":"1","x":"0","a":"2"},"more":{}}"#;
        let wanted = Kinded { group: "", version: "v1", kind: "ConfigMap" };
        let decoded = decode(&HeaderMap::new(), body.as_bytes(), wanted).ok();
        let expected = [
            "unknown field \"metadata.nope\"",
            "duplicate field \"data.a\"",
            "unknown field \"more\"",
        ];
        assert_eq!(decoded.map(|it| it.complaints).unwrap_or_default(), expected);
    }
}
