//! The documents, and the index of them.
//!
//! ```text
//!   kinds, reviews ─► paths ─┐
//!                            ├─► document ─► JSON ─► its hash, and the bytes, packed
//!   types, facts ─► schemas ─┘                              │
//!                                 index: path ─► URL with the hash
//! ```
//!
//! Invariant: the hash in the index is that of the document's bytes, so whoever has the document
//! of a hash need never ask for it again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use ring::digest;
use serde_json::{Value, json};

use super::facts::Facts;
use super::paths::{Paths, Version, group_page, page};
use super::schemas::{Schemas, Special};
use super::wire;
use crate::http::{pages, reviews};
use crate::kinds;
use crate::object::Object;

/// A document. Only its packed form is kept: the whole is ten times as large, and nearly every
/// client can unpack it.
#[derive(Debug)]
pub(super) struct Document {
    /// It changes with the document.
    pub(super) hash: String,
    packed: Bytes,
}

impl Document {
    fn of(value: &Value) -> Self {
        // Writing a tree to memory does not fail.
        let text = serde_json::to_vec(value).unwrap_or_default();
        let mut hash = String::new();
        for byte in digest::digest(&digest::SHA512, &text).as_ref() {
            let _ = write!(hash, "{byte:02X}");
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let packed = encoder.write_all(&text).and_then(|()| encoder.finish()).unwrap_or_default();
        Self { hash, packed: packed.into() }
    }

    /// Its bytes, packed with gzip.
    pub(super) fn packed(&self) -> Bytes {
        self.packed.clone()
    }

    /// The same in protobuf.
    pub(super) fn in_protobuf(&self) -> Vec<u8> {
        // What was written here can be read here.
        let document = serde_json::from_slice(&self.whole()).unwrap_or_default();
        wire::encode(&document)
    }

    /// Its bytes as they are.
    pub(super) fn whole(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // What was packed here can be unpacked here.
        let _ = GzDecoder::new(self.packed.as_ref()).read_to_end(&mut text);
        text
    }
}

/// All documents, by their paths below `/openapi/v3/`.
#[derive(Debug)]
pub(super) struct Documents {
    all: BTreeMap<String, Document>,
    index: Bytes,
}

impl Documents {
    /// Makes them all: the index needs the hash of each.
    pub(super) fn make() -> Self {
        let facts = Facts::read();
        let mut all = BTreeMap::new();
        for (path, value) in values(&facts) {
            all.insert(path, Document::of(&value));
        }
        let paths: Object = all
            .iter()
            .map(|(path, document)| {
                (path.clone(), json!({"serverRelativeURL": url(path, &document.hash)}))
            })
            .collect();
        let index = json!({"paths": paths}).to_string().into();
        Self { all, index }
    }

    pub(super) fn get(&self, path: &str) -> Option<&Document> {
        self.all.get(path)
    }

    pub(super) fn index(&self) -> Bytes {
        self.index.clone()
    }
}

/// Where a document is, and will be for as long as it is the same.
pub(super) fn url(path: &str, hash: &str) -> String {
    format!("/openapi/v3/{path}?hash={hash}")
}

/// Every document, one after the other.
pub(super) fn values(facts: &Facts) -> impl Iterator<Item = (String, Value)> {
    let served = versions();
    let mut groups: Vec<&str> = served.iter().map(|of| of.group).collect();
    groups.retain(|group| !group.is_empty());
    groups.dedup();
    let groups = groups.into_iter().map(|group| {
        let mut schemas = Schemas::new(facts, "", "v1");
        let value = group_page(group, &mut schemas);
        (format!("apis/{group}"), single(&format!("/apis/{group}/"), value, schemas))
    });
    let versions = served.into_iter().map(|of| (path(of), version(facts, of)));
    versions.chain(groups).chain(singles(facts))
}

/// The versions of groups that are served, the core group among them.
fn versions() -> Vec<Version<'static>> {
    let own = kinds::all().iter().map(|kind| (kind.group, kind.version));
    let reviewed = reviews::ALL.iter().map(|review| (review.group, "v1"));
    let mut all: Vec<_> = own.chain(reviewed).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter().map(|(group, version)| Version { group, version }).collect()
}

fn path(of: Version<'_>) -> String {
    of.root().trim_start_matches('/').to_owned()
}

fn version(facts: &Facts, of: Version<'static>) -> Value {
    let mut schemas = Schemas::new(facts, of.group, of.version);
    let mut paths = Paths::new(of, &mut schemas);
    let own = |kind: &&kinds::Kind| kind.group == of.group && kind.version == of.version;
    for kind in kinds::all().iter().filter(own) {
        paths.kind(kind);
    }
    for review in reviews::ALL.iter().filter(|one| one.group == of.group && of.version == "v1") {
        paths.review(review);
    }
    let paths = paths.finish();
    document(paths, schemas)
}

/// The documents of pages.
fn singles(facts: &Facts) -> Vec<(String, Value)> {
    let json = "application/json";
    let mut all = Vec::new();
    let mut add = |path: &str, tag: &str, id: &str, of: Of| {
        let mut schemas = Schemas::new(facts, "", "v1");
        let (media_type, schema) = match of {
            Of::Kind(kind) => (json, schemas.kind("", "v1", kind)),
            Of::Version => (json, schemas.special(Special::Version)),
            Of::Text(media_type) => (media_type, json!({"type": "string"})),
        };
        let value = page(tag, id, media_type, &schema);
        all.push((path.to_owned(), single(&format!("/{path}/"), value, schemas)));
    };
    add("api", "core", "getCoreAPIVersions", Of::Kind("APIVersions"));
    add("apis", "apis", "getAPIVersions", Of::Kind("APIGroupList"));
    add("version", "version", "getCodeVersion", Of::Version);
    add(
        ".well-known/openid-configuration",
        "WellKnown",
        "getServiceAccountIssuerOpenIDConfiguration",
        Of::Text(json),
    );
    add(
        "openid/v1/jwks",
        "openid",
        "getServiceAccountIssuerOpenIDKeyset",
        Of::Text("application/jwk-set+json"),
    );
    all
}

/// What a page is.
enum Of {
    Kind(&'static str),
    Version,
    Text(&'static str),
}

fn single(path: &str, value: Value, schemas: Schemas<'_>) -> Value {
    let mut paths = Object::new();
    paths.insert(path.to_owned(), value);
    document(paths, schemas)
}

fn document(paths: Object, schemas: Schemas<'_>) -> Value {
    let schemas = schemas.components();
    let mut components = Object::new();
    if !schemas.is_empty() {
        components.insert("schemas".to_owned(), schemas.into());
    }
    let bearer = json!({
        "type": "apiKey", "description": "Bearer Token authentication",
        "name": "authorization", "in": "header",
    });
    components.insert("securitySchemes".to_owned(), json!({"BearerToken": bearer}));
    let minor = pages::MINOR;
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": format!("1.{minor}")},
        "paths": paths,
        "components": components,
    })
}
