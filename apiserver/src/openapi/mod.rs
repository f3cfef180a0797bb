//! The OpenAPI documents of what is served, and nothing else.
//!
//! ```text
//!   GET /openapi/v3                         the index: path ─► URL with a hash
//!   GET /openapi/v3/apis/apps/v1?hash=…     a document, to be kept for good
//!   GET /openapi/v3/apis/apps/v1            the same, to be asked for again (ETag)
//!
//!   kinds, reviews ──► paths ──┐
//!   types, facts ──► schemas ──┴──► documents ──► answers
//! ```
//!
//! kubectl's `apply` computes its patches from these documents, `explain` shows them, and clients
//! learn from them what the server checks. They are made when somebody asks first, and then kept
//! in their packed form.
//!
//! The third version is offered in JSON, which is kept, and in protobuf ([`wire`]), which is made
//! anew each time: clients of today ask for JSON. Of the second ([`second`]) there is a document that
//! describes nothing: kubectl asks for it about lists of objects and about kinds that it does not
//! find in the third, and goes on when it does not find them here either.

mod documents;
mod facts;
mod parameters;
mod paths;
mod schemas;
mod second;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::OnceLock;

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::auth::lookup::Answer;
use crate::http::answer::Gzip;
use crate::http::info::Query;
use crate::http::negotiate::wanted;
use crate::status::Status;
use documents::{Document, Documents, url};

/// Where the index is.
const ROOT: &str = "/openapi/v3";

/// How long a document with its hash in the URL may be kept, for clients that take "for good" to
/// mean nothing without a number: a year.
const KEPT: &str = "public, immutable, max-age=31536000";

/// The document of a path, if it is one of these.
pub(crate) fn document(path: &str, query: &Query, headers: &HeaderMap) -> Option<Answer<Response>> {
    if path == second::PATH {
        return Some(second::answer(headers));
    }
    static DOCUMENTS: OnceLock<Documents> = OnceLock::new();
    let below = path.strip_prefix(ROOT)?;
    if !below.is_empty() && !below.starts_with('/') {
        return None;
    }
    let documents = DOCUMENTS.get_or_init(Documents::make);
    if below.is_empty() {
        let mut response = Response::new(Body::from(documents.index()));
        set(&mut response, CONTENT_TYPE, "application/json");
        return Some(Ok(response));
    }
    let path = below.trim_start_matches('/');
    let document = documents.get(path)?;
    let Some(media) = media(headers) else {
        return Some(Err(Box::new(Status::not_acceptable(&[JSON, PROTOBUF]))));
    };
    Some(Ok(answer(path, document, query.get("hash"), (media, headers))))
}

const JSON: &str = "application/json";

/// What a document in protobuf is called.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";

/// How clients ask for it.
const AS_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";

/// The first form that the client takes.
fn media(headers: &HeaderMap) -> Option<&'static str> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    if accept.trim().is_empty() {
        return Some(JSON);
    }
    wanted(accept).iter().find_map(|one| match one.media_type {
        JSON | "application/*" | "*/*" => Some(JSON),
        PROTOBUF | AS_PROTOBUF => Some(PROTOBUF),
        _ => None,
    })
}

fn answer(
    path: &str,
    document: &Document,
    hash: &str,
    (media, headers): (&'static str, &HeaderMap),
) -> Response {
    let mut response = Response::new(Body::empty());
    // Each form is another thing to keep.
    let form = if media == JSON { "" } else { "-protobuf" };
    let tag = format!("\"{}{form}\"", document.hash);
    set(&mut response, ETAG, &tag);
    set(&mut response, VARY, "Accept, Accept-Encoding");
    if !hash.is_empty() && hash != document.hash {
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        set(&mut response, LOCATION, &url(path, &document.hash));
        return response;
    }
    if !hash.is_empty() {
        set(&mut response, CACHE_CONTROL, KEPT);
    }
    if has(headers, &tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    set(&mut response, CONTENT_TYPE, media);
    *response.body_mut() = match Gzip::of(headers) {
        _ if media == PROTOBUF => Body::from(document.in_protobuf()),
        Gzip::Accepted => {
            set(&mut response, CONTENT_ENCODING, "gzip");
            Body::from(document.packed())
        }
        Gzip::NotAccepted => Body::from(document.whole()),
    };
    response
}

/// Whether the client has the document of this tag already.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let tags = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or("");
    tags.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    // All values here are made of visible ASCII characters.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
