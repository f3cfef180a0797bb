//! Answers: objects, lists, tables and failures, in the form that the client accepts.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use std::io::Write as _;
use std::sync::Arc;

use super::negotiate::{Encoding, Form, Layout, Shape};
use super::table::{Headings, Include, Table, partial};
use crate::auth::lookup::Answer;
use crate::kinds::Kind;
use crate::object::Object;
use crate::registry::splice::{Head, Shown};
use crate::registry::{Page, Registry, Rest, object_of};
use crate::schema;
use crate::status::Status;
use crate::storage::Stored;

/// Answers that are shorter go as they are (upstream's number).
const GZIP_BYTES: usize = 128 * 1024;

/// What of the request decides how it is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) form: Form,
    pub(crate) include: Include,
    /// Whether the client can unpack gzip.
    pub(crate) gzip: Gzip,
    /// Seconds since 1970.
    pub(crate) now: i64,
}

/// Whether the client can unpack gzip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gzip {
    Accepted,
    NotAccepted,
}

impl Gzip {
    /// What the client says of it.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let list = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        let mut names = list.unwrap_or("").split(',').filter_map(|one| one.split(';').next());
        if names.any(|name| name.trim() == "gzip") { Self::Accepted } else { Self::NotAccepted }
    }
}

/// An answer of some bytes.
pub(crate) fn bytes(code: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The bytes of any value in an encoding; what has no protobuf form goes as JSON.
pub(crate) fn encode(form: Form, value: &Value) -> (Vec<u8>, &'static str) {
    match form.encoding {
        Encoding::Protobuf => {
            if let Value::Object(object) = value
                && let Ok(bytes) = schema::proto::encode_object(object)
            {
                return (bytes, Encoding::Protobuf.content_type());
            }
            (json_bytes(value, Layout::Compact), Encoding::Json.content_type())
        }
        // JSON is YAML, too.
        Encoding::Yaml => {
            let mut bytes = json_bytes(value, Layout::Indented);
            bytes.push(b'\n');
            (bytes, "application/yaml")
        }
        Encoding::Json => (json_bytes(value, form.layout), "application/json"),
    }
}

impl Encoding {
    fn content_type(self) -> &'static str {
        Form { encoding: self, ..Form::PLAIN }.content_type()
    }
}

/// As upstream writes it: what programs read is a line, what people read does not end in one.
fn json_bytes(value: &Value, layout: Layout) -> Vec<u8> {
    // Writing a tree to memory does not fail.
    match layout {
        Layout::Compact => {
            let mut bytes = serde_json::to_vec(value).unwrap_or_default();
            bytes.push(b'\n');
            bytes
        }
        Layout::Indented => serde_json::to_vec_pretty(value).unwrap_or_default(),
    }
}

/// A failure.
pub(crate) fn failure(form: Form, status: &Status) -> Response {
    let form = Form { shape: Shape::Object, ..form };
    let (body, content_type) = encode(form, &status.to_value());
    let mut response = bytes(status.code, content_type, body);
    let after = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if after > 0 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after));
    }
    response
}

/// Any value, such as a discovery document.
pub(crate) fn value(asked: &Asked, code: u16, value: &Value) -> Response {
    let (body, content_type) = encode(asked.form, value);
    packed(asked, bytes(code, content_type, Bytes::new()), body)
}

/// One object of a kind.
pub(crate) fn object(asked: &Asked, kind: &Kind, code: u16, object: Object) -> Response {
    value(asked, code, &shape(asked, kind, object, Headings::Shown))
}

/// An object in the shape that was asked for.
pub(crate) fn shape(asked: &Asked, kind: &Kind, object: Object, headings: Headings) -> Value {
    match asked.form.shape {
        Shape::Object => Value::Object(object),
        Shape::Metadata(version) => partial(&object, version),
        Shape::Table(version) => {
            let revision = crate::object::text(&object, &["metadata", "resourceVersion"]);
            let metadata = json!({"resourceVersion": revision});
            let table = Table { kind, version, include: asked.include, headings, now: asked.now };
            table.of(vec![object], metadata)
        }
    }
}

/// One object as it is stored; spliced where that is all there is to do.
pub(crate) fn stored(asked: &Asked, kind: &Kind, stored: &Stored) -> Answer<Response> {
    if asked.form == Form::PLAIN {
        let mut body = Vec::with_capacity(stored.value.len() + 64);
        let head = Head::of(kind);
        if head.append(&mut body, &stored.value, stored.mod_revision, Shown::Alone) {
            body.push(b'\n');
            let empty = bytes(200, "application/json", Bytes::new());
            return Ok(packed(asked, empty, body));
        }
    }
    let found = object_of(kind, &stored.value, stored.mod_revision)?;
    Ok(object(asked, kind, 200, found))
}

/// A list, read as it is sent if it is long.
pub(crate) async fn list(
    asked: &Asked,
    registry: &Arc<Registry>,
    kind: &'static Kind,
    page: Page,
) -> Answer<Response> {
    let plain = asked.form.encoding == Encoding::Json
        && asked.form.layout == Layout::Compact
        && asked.form.shape == Shape::Object;
    if plain && page.rest.is_some() && asked.gzip == Gzip::NotAccepted {
        return Ok(streamed(registry, kind, page));
    }
    let (revision, next, remaining) = (page.revision, page.next.clone(), page.remaining);
    let items = whole(registry, page).await?;
    let metadata = list_metadata(revision, &next, remaining);
    if plain {
        let mut body = list_head(kind, &metadata);
        append_items(&mut body, kind, &items, Place::First)?;
        body.extend_from_slice(LIST_END);
        return Ok(packed(asked, bytes(200, "application/json", Bytes::new()), body));
    }
    let objects: Vec<Object> = items
        .iter()
        .map(|stored| object_of(kind, &stored.value, stored.mod_revision))
        .collect::<Answer<_>>()?;
    Ok(value(asked, 200, &shape_list(asked, kind, objects, metadata)))
}

/// The whole of a page in memory, for forms that cannot be sent piece by piece.
async fn whole(registry: &Registry, page: Page) -> Answer<Vec<Stored>> {
    let mut items = page.items;
    let Some(mut rest) = page.rest else { return Ok(items) };
    loop {
        let more = registry.more(&mut rest).await?;
        if more.is_empty() {
            return Ok(items);
        }
        items.extend(more);
    }
}

fn shape_list(asked: &Asked, kind: &Kind, objects: Vec<Object>, metadata: Value) -> Value {
    match asked.form.shape {
        Shape::Table(version) => {
            let headings = Headings::Shown;
            Table { kind, version, include: asked.include, headings, now: asked.now }
                .of(objects, metadata)
        }
        Shape::Metadata(version) => {
            let items: Vec<Value> = objects.iter().map(|one| partial(one, version)).collect();
            json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": metadata,
                "items": items,
            })
        }
        Shape::Object => json!({
            "kind": format!("{}List", kind.kind),
            "apiVersion": kind.api_version(),
            "metadata": metadata,
            "items": objects.into_iter().map(without_names).collect::<Vec<_>>(),
        }),
    }
}

/// Items of typed lists say neither kind nor version.
fn without_names(mut object: Object) -> Value {
    object.shift_remove("kind");
    object.shift_remove("apiVersion");
    Value::Object(object)
}

fn list_metadata(revision: u64, next: &str, remaining: Option<u64>) -> Value {
    let mut metadata = Object::new();
    metadata.insert("resourceVersion".to_owned(), Value::from(revision.to_string()));
    if !next.is_empty() {
        metadata.insert("continue".to_owned(), Value::from(next));
    }
    if let Some(remaining) = remaining {
        metadata.insert("remainingItemCount".to_owned(), Value::from(remaining));
    }
    Value::Object(metadata)
}

/// What stands behind the last item.
const LIST_END: &[u8] = b"]}\n";

fn list_head(kind: &Kind, metadata: &Value) -> Vec<u8> {
    let version = kind.api_version();
    format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{version}\",\"metadata\":{metadata},\"items\":[",
        kind.kind
    )
    .into_bytes()
}

/// Whether an item follows another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Later,
}

fn append_items(body: &mut Vec<u8>, kind: &Kind, items: &[Stored], mut place: Place) -> Answer<()> {
    let head = Head::of(kind);
    for stored in items {
        if place == Place::Later {
            body.push(b',');
        }
        place = Place::Later;
        if !head.append(body, &stored.value, stored.mod_revision, Shown::Listed) {
            let object = object_of(kind, &stored.value, stored.mod_revision)?;
            body.extend_from_slice(without_names(object).to_string().as_bytes());
        }
    }
    Ok(())
}

/// A list that is read while it is sent. If that fails on the way, the body ends short of its
/// closing bracket, and the client sees an error.
fn streamed(registry: &Arc<Registry>, kind: &'static Kind, page: Page) -> Response {
    let head = list_head(kind, &list_metadata(page.revision, "", None));
    let state: Sending = (Arc::clone(registry), Some((head, page.items, Place::First)), page.rest);
    let pieces = stream::unfold(state, move |(registry, ready, rest)| async move {
        let Some((mut piece, items, place)) = ready else {
            return more_of(registry, kind, rest?).await;
        };
        Some(match append_items(&mut piece, kind, &items, place) {
            Ok(()) => (Ok(Bytes::from(piece)), (registry, None, rest)),
            Err(status) => (Err(status), (registry, None, None)),
        })
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What is to be sent first, if anything is, and what is still to be read.
type Sending = (Arc<Registry>, Option<(Vec<u8>, Vec<Stored>, Place)>, Option<Rest>);

/// The next piece of a list, or its end.
async fn more_of(
    registry: Arc<Registry>,
    kind: &Kind,
    mut rest: Rest,
) -> Option<(Answer<Bytes>, Sending)> {
    let items = match registry.more(&mut rest).await {
        Ok(items) => items,
        Err(status) => return Some((Err(status), (registry, None, None))),
    };
    if items.is_empty() {
        return Some((Ok(Bytes::from_static(LIST_END)), (registry, None, None)));
    }
    let mut piece = Vec::new();
    Some(match append_items(&mut piece, kind, &items, Place::Later) {
        Ok(()) => (Ok(Bytes::from(piece)), (registry, None, Some(rest))),
        Err(status) => (Err(status), (registry, None, None)),
    })
}

/// Puts a body in, packed if it is long and the client can unpack it.
fn packed(asked: &Asked, mut response: Response, body: Vec<u8>) -> Response {
    if asked.gzip == Gzip::Accepted {
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if body.len() > GZIP_BYTES {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            // Writing to memory does not fail.
            if encoder.write_all(&body).is_ok()
                && let Ok(small) = encoder.finish()
            {
                let gzip = HeaderValue::from_static("gzip");
                response.headers_mut().insert(CONTENT_ENCODING, gzip);
                *response.body_mut() = Body::from(small);
                return response;
            }
        }
    }
    *response.body_mut() = Body::from(body);
    response
}
