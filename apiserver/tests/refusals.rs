//! What is refused, in the words of a stock kube-apiserver 1.36; and the little that the server does
//! by itself with roles.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "hostile/bench.rs"]
mod bench;
#[path = "support/memory.rs"]
mod memory;

use std::sync::Arc;

use axum::body::Body;
use bench::{Answered, Bench, admin};
use http::Request;
use kstore_apiserver::housekeeping;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const OTHER: &str = "00000000-0000-4000-8000-000000000000";

async fn send(bench: &Bench, method: &str, path: &str, media: &str, body: String) -> Answered {
    let request = Request::builder().method(method).uri(path).header("content-type", media);
    bench.ask(Some(&admin()), request.body(Body::from(body)).unwrap()).await
}

/// The code and the message of an answer.
async fn told(bench: &Bench, method: &str, path: &str, media: &str, body: Value) -> (u16, String) {
    let got = send(bench, method, path, media, body.to_string()).await;
    (got.code, got.json()["message"].as_str().unwrap_or_default().to_owned())
}

async fn made(bench: &Bench, path: &str, body: Value) -> Value {
    let got = send(bench, "POST", path, JSON, body.to_string()).await;
    assert_eq!(got.code, 201, "{}", got.json());
    got.json()
}

#[tokio::test]
async fn a_strict_patch_shows_what_it_made_and_what_is_wrong_with_it() {
    let bench = Bench::new().await;
    made(&bench, MAPS, json!({"metadata": {"name": "a"}, "data": {"z": "1"}})).await;
    let path = format!("{MAPS}/a?fieldValidation=Strict");
    let (code, text) = told(&bench, "PATCH", &path, STRATEGIC, json!({"nope": 1})).await;
    let expected = " \"\" is invalid: patch: Invalid value: \"map[nope:1]\": strict decoding error: \
                    unknown field \"nope\"";
    assert_eq!((code, text.as_str()), (422, expected));
    let (code, text) = told(&bench, "PATCH", &path, MERGE, json!({"nope": 1})).await;
    assert_eq!(code, 422);
    let begins = " \"\" is invalid: patch: Invalid value: \"{\\\"apiVersion\\\":\\\"v1\\\",\
                  \\\"data\\\":{\\\"z\\\":\\\"1\\\"},\\\"kind\\\":\\\"ConfigMap\\\",\
                  \\\"metadata\\\":{\\\"name\\\":\\\"a\\\",";
    assert!(text.starts_with(begins), "{text}");
    assert!(text.ends_with("\\\"nope\\\":1}\": strict decoding error: unknown field \"nope\""));
}

#[tokio::test]
async fn a_patch_makes_no_other_kind_and_no_other_uid() {
    let bench = Bench::new().await;
    made(&bench, MAPS, json!({"metadata": {"name": "a"}})).await;
    let path = format!("{MAPS}/a");
    let (code, text) = told(&bench, "PATCH", &path, MERGE, json!({"kind": "Secret"})).await;
    assert_eq!(code, 422);
    let ends = "converting (v1.Secret) to (core.ConfigMap): unknown conversion";
    assert!(text.ends_with(ends), "{text}");
    let uid = json!({"metadata": {"uid": "b"}});
    let (code, text) = told(&bench, "PATCH", &path, MERGE, uid).await;
    let expected =
        "ConfigMap \"a\" is invalid: metadata.uid: Invalid value: \"b\": field is immutable";
    assert_eq!((code, text.as_str()), (422, expected));
}

#[tokio::test]
async fn whoever_means_another_object_is_told_so() {
    let bench = Bench::new().await;
    let object = made(&bench, MAPS, json!({"metadata": {"name": "a"}})).await;
    let uid = object["metadata"]["uid"].as_str().unwrap();
    let path = format!("{MAPS}/a");
    let body = json!({"metadata": {"name": "a", "uid": OTHER}});
    let (code, text) = told(&bench, "PUT", &path, JSON, body).await;
    let expected = format!(
        "Operation cannot be fulfilled on configmaps \"a\": StorageError: invalid object, Code: 4, \
         Key: /registry/configmaps/default/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
         failed: UID in precondition: {OTHER}, UID in object meta: {uid}"
    );
    assert_eq!((code, text), (409, expected));
    let body = json!({"preconditions": {"uid": OTHER}});
    let (code, text) = told(&bench, "DELETE", &path, JSON, body).await;
    let expected = format!(
        "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition ({OTHER}) \
         does not match the UID in record ({uid}). The object might have been deleted and then \
         recreated"
    );
    assert_eq!((code, text), (409, expected));
    let body = json!({"metadata": {"name": "a", "resourceVersion": "abc"}});
    let (code, text) = told(&bench, "PUT", &path, JSON, body).await;
    let expected = "strconv.ParseUint: parsing \"abc\": invalid syntax";
    assert_eq!((code, text.as_str()), (500, expected));
}

#[tokio::test]
async fn a_lease_is_not_changed_without_its_version() {
    let bench = Bench::new().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    made(&bench, leases, json!({"metadata": {"name": "l"}, "spec": {}})).await;
    let body = json!({"metadata": {"name": "l"}, "spec": {}});
    let (code, text) = told(&bench, "PUT", &format!("{leases}/l"), JSON, body).await;
    let expected = "leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid \
                    value: 0: must be specified for an update";
    assert_eq!((code, text.as_str()), (422, expected));
}

#[tokio::test]
async fn a_page_and_a_version_exclude_each_other() {
    let bench = Bench::new().await;
    for name in ["a", "b"] {
        made(&bench, MAPS, json!({"metadata": {"name": name}})).await;
    }
    let first = send(&bench, "GET", &format!("{MAPS}?limit=1"), JSON, String::new()).await.json();
    let next = first["metadata"]["continue"].as_str().unwrap();
    let path = format!("{MAPS}?limit=1&continue={next}&resourceVersion=5");
    let (code, text) = told(&bench, "GET", &path, JSON, Value::Null).await;
    let expected = "specifying resource version is not allowed when using continue";
    assert_eq!((code, text.as_str()), (400, expected));
}

#[tokio::test]
async fn a_config_map_of_more_than_a_megabyte_is_too_long() {
    let bench = Bench::new().await;
    let body = json!({"metadata": {"name": "a"}, "data": {"k": "x".repeat((1 << 20) + 1)}});
    let (code, text) = told(&bench, "POST", MAPS, JSON, body).await;
    let expected = "ConfigMap \"a\" is invalid: []: Too long: may not be more than 1048576 bytes";
    assert_eq!((code, text.as_str()), (422, expected));
}

#[tokio::test]
async fn bindings_go_by_the_old_path_too_and_need_a_target() {
    let bench = Bench::new().await;
    let path = "/api/v1/namespaces/default/bindings";
    let post = async |body: Value| told(&bench, "POST", path, JSON, body).await;
    let (code, text) = post(json!({"metadata": {"name": "p"}})).await;
    assert_eq!((code, text.as_str()), (500, "target.name: Required value"));
    let (code, text) = post(json!({"metadata": {"name": "p"}, "target": {"name": "n"}})).await;
    assert_eq!((code, text.as_str()), (404, "pods \"p\" not found"));
    let (code, text) = post(json!({"target": {"name": "n"}})).await;
    assert_eq!((code, text.as_str()), (400, "Name parameter required."));
    assert_eq!(told(&bench, "GET", path, JSON, Value::Null).await.0, 405);
}

#[tokio::test]
async fn what_is_no_path_or_no_name_or_no_method_is_none() {
    let bench = Bench::new().await;
    let code =
        async |method: &str, path: &str| send(&bench, method, path, JSON, String::new()).await.code;
    assert_eq!(code("GET", &format!("{MAPS}/%zz")).await, 400);
    assert_eq!(code("GET", &format!("{MAPS}/%2e%2e")).await, 400);
    assert_eq!(code("GET", "//api/v1/configmaps").await, 404);
    assert_eq!(code("HEAD", MAPS).await, 405);
    assert_eq!(code("PUT", MAPS).await, 405);
    assert_eq!(code("PATCH", MAPS).await, 405);
    let (_, text) = told(&bench, "GET", "/api/v1/nopes", JSON, Value::Null).await;
    assert_eq!(text, "the server could not find the requested resource");
    assert_eq!(told(&bench, "GET", "/apis/nope/v1/nopes", JSON, Value::Null).await.1, "");
    assert_eq!(code("GET", "/healthz//").await, 404);
    assert_eq!(code("GET", "/api/v1/namespaces//configmaps").await, 200);
    assert_eq!(code("POST", "/version").await, 405);
    assert_eq!(code("DELETE", "/apis/apps/v1").await, 405);
    assert_eq!(code("POST", "/healthz").await, 200);
}

#[tokio::test]
async fn an_answer_for_programs_is_a_line() {
    let bench = Bench::new().await;
    for path in [MAPS.to_owned(), format!("{MAPS}/none"), "/apis/apps/v1".to_owned()] {
        let got = send(&bench, "GET", &path, JSON, String::new()).await;
        let lines = got.body.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!((lines, got.body.last()), (1, Some(&b'\n')), "{path}");
    }
}

#[tokio::test]
async fn roles_that_collect_rules_have_those_of_a_role_that_comes_later() {
    let bench = Bench::new().await;
    let house = tokio::spawn(housekeeping::run(Arc::clone(&bench.server)));
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let selects = |label: &str| json!([{"matchLabels": {label: "yes"}}]);
    // The first collects from the second, which collects from the third.
    for (name, own, from) in [("a", "x/none", "x/a"), ("b", "x/a", "x/b")] {
        let body = json!({
            "metadata": {"name": name, "labels": {own: "yes"}},
            "aggregationRule": {"clusterRoleSelectors": selects(from)},
        });
        made(&bench, roles, body).await;
    }
    let rules = json!([{"apiGroups": [""], "resources": ["things"], "verbs": ["get"]}]);
    let body = json!({"metadata": {"name": "c", "labels": {"x/b": "yes"}}, "rules": rules});
    made(&bench, roles, body).await;
    for name in ["b", "a"] {
        let path = format!("{roles}/{name}");
        while send(&bench, "GET", &path, JSON, String::new()).await.json()["rules"] != rules {
            tokio::task::yield_now().await;
        }
    }
    house.abort();
}
