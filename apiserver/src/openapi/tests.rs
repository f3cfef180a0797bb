//! The documents as clients read them.

use std::collections::{BTreeMap, BTreeSet};

use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, IF_NONE_MATCH, LOCATION,
};
use http::{HeaderMap, HeaderName, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::documents;
use super::facts::Facts;
use crate::http::info::Query;
use crate::kinds::{self, Kind, Verb};
use crate::schema::types;

fn all() -> BTreeMap<String, Value> {
    documents::values(&Facts::read()).collect()
}

fn of_kind<'a>(all: &'a BTreeMap<String, Value>, kind: &Kind) -> &'a Value {
    let place = if kind.group.is_empty() { "api" } else { "apis" };
    &all[&format!("{place}/{}", kind.api_version())]
}

/// What kubectl looks for: the patch of this group, version and kind.
fn patches<'a>(document: &'a Value, kind: &Kind) -> Vec<(&'a str, &'a Value)> {
    let names = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .filter_map(|(path, item)| Some((path.as_str(), item.get("patch")?)))
        .filter(|(_, patch)| patch["x-kubernetes-group-version-kind"] == names)
        .collect()
}

fn parameters(operation: &Value) -> BTreeSet<&str> {
    let list = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    let query = list.iter().filter(|one| one["in"] == "query");
    query.map(|one| one["name"].as_str().unwrap()).collect()
}

/// Every `$ref` below a value.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(place) if name == "$ref" => {
                        found.insert(place);
                    }
                    member => references(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_kind_has_a_patch_that_kubectl_finds() {
    let all = all();
    for kind in kinds::all().iter().filter(|kind| kind.verbs.contains(&Verb::Patch)) {
        let found = patches(of_kind(&all, kind), kind);
        assert!(!found.is_empty(), "{} has no patch", kind.kind);
        for (path, patch) in found {
            let content = patch["requestBody"]["content"].as_object().unwrap();
            let types: Vec<&str> = content.keys().map(String::as_str).collect();
            let wanted = [
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
            ];
            assert_eq!(types, wanted, "{path}");
            let names = parameters(patch);
            for name in ["fieldValidation", "fieldManager", "dryRun"] {
                assert!(names.contains(name), "{path} has no {name}");
            }
        }
    }
}

#[test]
fn every_kind_has_one_schema_that_says_which_kind_it_is() {
    let all = all();
    for kind in kinds::all() {
        let names = json!({"group": kind.group, "kind": kind.kind, "version": kind.version});
        let schemas = of_kind(&all, kind)["components"]["schemas"].as_object().unwrap();
        let is_it = |schema: &&Value| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array();
            kinds.is_some_and(|kinds| kinds.contains(&names))
        };
        assert_eq!(schemas.values().filter(is_it).count(), 1, "{}", kind.kind);
    }
}

#[test]
fn every_reference_has_its_schema_and_every_schema_is_referred_to() {
    for (path, document) in all() {
        let mut wanted = BTreeSet::new();
        references(&document, &mut wanted);
        let none = serde_json::Map::new();
        let schemas = document["components"]["schemas"].as_object().unwrap_or(&none);
        let there: BTreeSet<String> =
            schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
        let there: BTreeSet<&str> = there.iter().map(String::as_str).collect();
        assert_eq!(wanted, there, "{path}");
    }
}

#[test]
fn every_verb_of_every_row_has_its_operation() {
    let all = all();
    for kind in kinds::all() {
        let paths = of_kind(&all, kind)["paths"].as_object().unwrap();
        let place = if kind.is_namespaced() { "/namespaces/{namespace}" } else { "" };
        let prefix = if kind.group.is_empty() { "/api" } else { "/apis" };
        let own = format!("{prefix}/{}{place}/{}", kind.api_version(), kind.resource);
        for verb in kind.verbs {
            let (path, method, action) = match verb {
                Verb::Create => (own.clone(), "post", "post"),
                Verb::List => (own.clone(), "get", "list"),
                Verb::DeleteCollection => (own.clone(), "delete", "deletecollection"),
                Verb::Get => (format!("{own}/{{name}}"), "get", "get"),
                Verb::Update => (format!("{own}/{{name}}"), "put", "put"),
                Verb::Patch => (format!("{own}/{{name}}"), "patch", "patch"),
                Verb::Delete => (format!("{own}/{{name}}"), "delete", "delete"),
                Verb::Watch => continue,
            };
            assert_eq!(paths[&path][method]["x-kubernetes-action"], action, "{path}");
        }
        for sub in kind.subresources {
            let item = paths[&format!("{own}/{{name}}/{}", sub.name)].as_object().unwrap();
            assert_eq!(item.len() - 1, sub.verbs.len(), "{}/{}", kind.resource, sub.name);
        }
    }
}

#[test]
fn every_operation_has_a_name_of_its_own_and_its_path_has_its_parameters() {
    for (document_path, document) in all() {
        let mut names = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            let nothing = Vec::new();
            let given = item["parameters"].as_array().unwrap_or(&nothing);
            let given: BTreeSet<&str> = given
                .iter()
                .filter(|one| one["in"] == "path")
                .map(|one| one["name"].as_str().unwrap())
                .collect();
            let needed: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
            assert_eq!(given, needed, "{path}");
            for operation in item.as_object().unwrap().values().filter(|one| one.is_object()) {
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name), "{document_path} has {name} twice");
            }
        }
    }
}

#[test]
fn patch_keys_are_those_that_patches_are_applied_with() {
    let all = all();
    let schemas = &all["apis/apps/v1"]["components"]["schemas"];
    let mut seen = 0;
    for of in types().all() {
        let Some(schema) = schemas.get(of.model_name()) else { continue };
        for member in &of.members {
            let field = types().field(member);
            let property = &schema["properties"][member.name];
            let text = |name: &str| property[name].as_str().unwrap_or("");
            assert_eq!(text("x-kubernetes-patch-strategy"), field.patch_strategy);
            assert_eq!(text("x-kubernetes-patch-merge-key"), field.patch_merge_key);
            seen += usize::from(field.merges());
        }
    }
    assert!(seen > 15, "only {seen} lists of pods and deployments are merged");
}

#[test]
fn fields_are_written_as_upstream_writes_them() {
    let all = all();
    let schemas = &all["api/v1"]["components"]["schemas"];
    let property = |of: &str, name: &str| {
        schemas[format!("io.k8s.api.core.v1.{of}")]["properties"][name].clone()
    };
    let place = "#/components/schemas/io.k8s";
    assert_eq!(
        property("Pod", "spec"),
        json!({"default": {}, "allOf": [{"$ref": format!("{place}.api.core.v1.PodSpec")}]})
    );
    assert_eq!(
        property("Container", "ports"),
        json!({
            "type": "array",
            "items": {
                "default": {},
                "allOf": [{"$ref": format!("{place}.api.core.v1.ContainerPort")}],
            },
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
            "x-kubernetes-patch-merge-key": "containerPort",
            "x-kubernetes-patch-strategy": "merge",
        })
    );
    assert_eq!(
        property("ContainerPort", "protocol"),
        json!({"type": "string", "default": "TCP", "enum": ["SCTP", "TCP", "UDP"]})
    );
    let quantity = format!("{place}.apimachinery.pkg.api.resource.Quantity");
    assert_eq!(
        property("ResourceRequirements", "limits"),
        json!({"type": "object", "additionalProperties": {"$ref": quantity}})
    );
    assert_eq!(schemas["io.k8s.api.core.v1.PodSpec"]["required"], json!(["containers"]));
    assert_eq!(
        schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"],
        json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
    );
}

struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

async fn get(target: &str, asked: &[(HeaderName, &str)]) -> Option<Got> {
    let headers: HeaderMap =
        asked.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let response = match super::document(path, &Query::parse(query), &headers)? {
        Ok(response) => response,
        Err(status) => crate::http::answer::failure(crate::http::negotiate::Form::PLAIN, &status),
    };
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Some(Got { status: parts.status, headers: parts.headers, body })
}

fn url_of(index: &Got, path: &str) -> String {
    let index: Value = serde_json::from_slice(&index.body).unwrap();
    index["paths"][path]["serverRelativeURL"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_index_leads_to_documents_that_may_be_kept_for_good() {
    let index = get("/openapi/v3", &[]).await.unwrap();
    let url = url_of(&index, "apis/apps/v1");
    let got = get(&url, &[(ACCEPT, "application/json")]).await.unwrap();
    assert_eq!(got.status, StatusCode::OK);
    assert!(got.headers[CACHE_CONTROL].to_str().unwrap().starts_with("public, immutable"));
    let whole: Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(whole, all()["apis/apps/v1"]);

    let tag = got.headers[ETAG].to_str().unwrap();
    let again = get("/openapi/v3/apis/apps/v1", &[(IF_NONE_MATCH, tag)]).await.unwrap();
    assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert!(!again.headers.contains_key(CACHE_CONTROL));
    let other = get("/openapi/v3/api/v1", &[(IF_NONE_MATCH, tag)]).await.unwrap();
    assert_eq!(other.status, StatusCode::OK);
}

#[tokio::test]
async fn a_hash_that_is_old_leads_to_the_new_one() {
    let index = get("/openapi/v3", &[]).await.unwrap();
    let got = get("/openapi/v3/apis/apps/v1?hash=ABC", &[]).await.unwrap();
    assert_eq!(got.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(got.headers[LOCATION].to_str().unwrap(), url_of(&index, "apis/apps/v1"));
}

#[tokio::test]
async fn clients_that_can_unpack_get_it_packed() {
    let packed = get("/openapi/v3/api/v1", &[(ACCEPT_ENCODING, "gzip")]).await.unwrap();
    assert_eq!(packed.headers[CONTENT_ENCODING], "gzip");
    let whole = get("/openapi/v3/api/v1", &[]).await.unwrap();
    assert!(!whole.headers.contains_key(CONTENT_ENCODING));
    assert!(packed.body.len() * 5 < whole.body.len());
}

#[tokio::test]
async fn whoever_takes_neither_json_nor_protobuf_is_told_so() {
    let got = get("/openapi/v3/api/v1", &[(ACCEPT, "image/png")]).await.unwrap();
    assert_eq!(got.status, StatusCode::NOT_ACCEPTABLE);
    let either = "image/png, application/json;q=0.9";
    let got = get("/openapi/v3/api/v1", &[(ACCEPT, either)]).await.unwrap();
    assert_eq!(got.status, StatusCode::OK);
    let protobuf = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
    let got = get("/openapi/v3/api/v1", &[(ACCEPT, protobuf)]).await.unwrap();
    assert_eq!(got.status, StatusCode::OK);
    assert!(got.body.starts_with(b"\x0a\x053.0.0"));
}

#[tokio::test]
async fn what_is_not_served_has_no_document() {
    for path in ["/openapi/v3/", "/openapi/v3/apis/nope/v1", "/openapi/v30"] {
        assert!(get(path, &[]).await.is_none(), "{path}");
    }
}
