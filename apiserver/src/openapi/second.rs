//! `/openapi/v2`: a document in which no paths and no types are described.
//!
//! kubectl falls back on it for `kind: List` and for kinds that the third version does not have. It
//! checks what it finds described, and lets pass what is not; the server checks every object anyway.

use axum::body::Body;
use axum::response::Response;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use serde_json::json;

use super::{JSON, media, set};
use crate::auth::lookup::Answer;
use crate::http::negotiate::wanted;
use crate::http::pages;
use crate::schema::proto::encode::Backward;
use crate::status::Status;

pub(super) const PATH: &str = "/openapi/v2";

/// How clients ask for the document in protobuf, the only form that client-go asks for.
const ASKED: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];

pub(super) fn answer(headers: &HeaderMap) -> Answer<Response> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let version = format!("v1.{}.0", pages::MINOR);
    let (media_type, body) = if wanted(accept).iter().any(|one| ASKED.contains(&one.media_type)) {
        (ASKED[1], in_protobuf(&version))
    } else if media(headers) == Some(JSON) {
        let info = json!({"title": TITLE, "version": version});
        let document = json!({"swagger": "2.0", "info": info, "paths": {}});
        ("application/json", document.to_string().into_bytes())
    } else {
        return Err(Box::new(Status::not_acceptable(&["application/json", ASKED[1]])));
    };
    let mut response = Response::new(Body::from(body));
    set(&mut response, CONTENT_TYPE, media_type);
    Ok(response)
}

const TITLE: &str = "Kubernetes";

/// The same, by the numbers of gnostic's `openapi.v2.Document`.
fn in_protobuf(version: &str) -> Vec<u8> {
    let mut out = Backward::with_capacity(64);
    // paths
    out.field(8, b"");
    // info
    out.message(2, |info| {
        info.field(2, version.as_bytes());
        info.field(1, TITLE.as_bytes());
    });
    // swagger
    out.field(1, b"2.0");
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_what_protobuf_readers_expect() {
        let expected = b"\n\x032.0\x12\x15\n\nKubernetes\x12\x07v1.36.0B\0";
        assert_eq!(in_protobuf("v1.36.0"), expected);
    }
}
