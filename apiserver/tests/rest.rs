//! The REST API over the model of a store: requests in, answers out, without sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/memory.rs"]
mod memory;

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use futures_util::StreamExt as _;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use kstore_apiserver::auth::User;
use kstore_apiserver::auth::authentication::{Anonymous, PeerUser, Tokens};
use kstore_apiserver::http::answer;
use kstore_apiserver::pki::SigningKey;
use kstore_apiserver::server::{Parts, Server};
use kstore_apiserver::{housekeeping, storage::Storage};
use kstore_host::os::{OsClock, OsRandom};
use serde_json::{Value, json};

use memory::MemoryStorage;

/// A server on an empty store, and somebody who may do everything.
struct Bench {
    server: Arc<Server>,
    admin: PeerUser,
}

impl Bench {
    async fn new() -> Self {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let key = SigningKey::from_pem(&SigningKey::generate().unwrap()).unwrap();
        let server = Server::new(Parts {
            storage,
            clock: Arc::new(OsClock::start()),
            random: Arc::new(OsRandom),
            tokens: Tokens::new("https://kubernetes.default.svc", key, Vec::new()),
            anonymous: Anonymous::Allowed,
            service_network: "10.96.0.0/12".to_owned(),
            advertised: (Ipv4Addr::new(192, 0, 2, 1), 6443),
        })
        .unwrap();
        tokio::spawn(housekeeping::run(Arc::clone(&server)));
        while !server.is_ready() {
            tokio::task::yield_now().await;
        }
        let user = User {
            name: "admin".to_owned(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
            ..User::default()
        };
        Self { server, admin: PeerUser { user, expires: i64::MAX } }
    }

    async fn send(&self, method: Method, path: &str, media: &str, body: String) -> Response {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media)
            .body(Body::from(body))
            .unwrap();
        answer(&self.server, Some(&self.admin), request).await
    }

    /// The code and the object of an answer.
    async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        read(self.send(method, path, "application/json", body).await).await
    }

    async fn patch(&self, path: &str, media: &str, body: Value) -> (u16, Value) {
        read(self.send(Method::PATCH, path, media, body.to_string()).await).await
    }

    async fn make(&self, name: &str, labels: Value) -> Value {
        let body = json!({"metadata": {"name": name, "labels": labels}, "data": {"a": "1"}});
        let (code, made) = self.ask(Method::POST, MAPS, body).await;
        assert_eq!(code, 201, "{made}");
        made
    }
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn read(response: Response) -> (u16, Value) {
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

#[tokio::test]
async fn an_object_is_created_read_changed_and_deleted() {
    let bench = Bench::new().await;
    let made = bench.make("a", json!({})).await;
    assert!(made["metadata"]["uid"].is_string());
    let path = format!("{MAPS}/a");
    let (code, got) = bench.ask(Method::GET, &path, Value::Null).await;
    assert_eq!((code, &got["metadata"]["uid"]), (200, &made["metadata"]["uid"]));
    let mut next = got.clone();
    next["data"]["b"] = "2".into();
    let (code, changed) = bench.ask(Method::PUT, &path, next.clone()).await;
    assert_eq!((code, &changed["data"]["b"]), (200, &json!("2")));
    assert_ne!(changed["metadata"]["resourceVersion"], got["metadata"]["resourceVersion"]);
    let (code, stale) = bench.ask(Method::PUT, &path, next).await;
    assert_eq!((code, &stale["reason"]), (409, &json!("Conflict")));
    let (code, gone) = bench.ask(Method::DELETE, &path, Value::Null).await;
    assert_eq!((code, &gone["status"]), (200, &json!("Success")));
    let (code, missing) = bench.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(code, 404);
    assert_eq!(missing["message"], "configmaps \"a\" not found");
}

#[tokio::test]
async fn a_write_that_changes_nothing_makes_no_revision() {
    let bench = Bench::new().await;
    let made = bench.make("a", json!({})).await;
    let path = format!("{MAPS}/a");
    let merge = "application/merge-patch+json";
    let (code, same) = bench.patch(&path, merge, json!({"data": {"a": "1"}})).await;
    assert_eq!(code, 200);
    assert_eq!(same["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let (_, other) = bench.patch(&path, merge, json!({"data": {"a": "2"}})).await;
    assert_ne!(other["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_list_in_pages_shows_one_state_whatever_is_written_in_between() {
    let bench = Bench::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        bench.make(name, json!({})).await;
    }
    let (_, first) = bench.ask(Method::GET, &format!("{MAPS}?limit=2"), Value::Null).await;
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    bench.make("aa", json!({})).await;
    let next = first["metadata"]["continue"].as_str().unwrap();
    let path = format!("{MAPS}?limit=9&continue={next}");
    let (_, second) = bench.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(second["items"].as_array().unwrap().len(), 3);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert!(second["metadata"].get("continue").is_none());
}

#[tokio::test]
async fn a_selector_chooses_by_labels_and_fields() {
    let bench = Bench::new().await;
    bench.make("a", json!({"app": "web"})).await;
    bench.make("b", json!({"app": "db"})).await;
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let (_, list) =
        bench.ask(Method::GET, &format!("{MAPS}?labelSelector=app%3Dweb"), Value::Null).await;
    assert_eq!(names(&list), ["a"]);
    let path = format!("{MAPS}?fieldSelector=metadata.name%3Db");
    let (_, list) = bench.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(names(&list), ["b"]);
    let (code, refused) =
        bench.ask(Method::GET, &format!("{MAPS}?labelSelector=a%3D%3D%3Db"), Value::Null).await;
    assert_eq!((code, &refused["reason"]), (400, &json!("BadRequest")));
}

#[tokio::test]
async fn a_watch_tells_the_state_and_then_what_enters_and_leaves_the_selection() {
    let bench = Bench::new().await;
    bench.make("a", json!({"app": "web"})).await;
    let path = format!(
        "{MAPS}?watch=1&labelSelector=app%3Dweb&sendInitialEvents=true\
         &resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let response = bench.send(Method::GET, &path, "", String::new()).await;
    let mut lines = response.into_body().into_data_stream();
    let mut next = async || -> Value {
        let line = lines.next().await.unwrap().unwrap();
        serde_json::from_slice(&line).unwrap()
    };
    assert_eq!(next().await["type"], "ADDED");
    let bookmark = next().await;
    assert_eq!(bookmark["type"], "BOOKMARK");
    let told = &bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"];
    assert_eq!(told, "true");
    bench.make("b", json!({"app": "db"})).await;
    bench.make("c", json!({"app": "web"})).await;
    assert_eq!(next().await["object"]["metadata"]["name"], "c");
    let merge = "application/merge-patch+json";
    bench.patch(&format!("{MAPS}/b"), merge, json!({"metadata": {"labels": {"app": "web"}}})).await;
    let entered = next().await;
    assert_eq!(
        (&entered["type"], &entered["object"]["metadata"]["name"]),
        (&json!("ADDED"), &json!("b"))
    );
    bench.patch(&format!("{MAPS}/b"), merge, json!({"metadata": {"labels": {"app": "x"}}})).await;
    let left = next().await;
    assert_eq!(left["type"], "DELETED");
    assert_eq!(left["object"]["metadata"]["labels"]["app"], "web", "it is told as it was");
}

#[tokio::test]
async fn a_finalizer_holds_an_object_until_it_is_taken_away() {
    let bench = Bench::new().await;
    let body = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    assert_eq!(bench.ask(Method::POST, MAPS, body).await.0, 201);
    let path = format!("{MAPS}/held");
    let (code, leaving) = bench.ask(Method::DELETE, &path, Value::Null).await;
    assert_eq!(code, 200);
    assert!(leaving["metadata"]["deletionTimestamp"].is_string());
    let merge = "application/merge-patch+json";
    let (code, _) = bench.patch(&path, merge, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(code, 200);
    assert_eq!(bench.ask(Method::GET, &path, Value::Null).await.0, 404);
}

#[tokio::test]
async fn patches_at_the_same_moment_all_happen_and_none_is_told_of_a_conflict() {
    let bench = Bench::new().await;
    bench.make("a", json!({})).await;
    let path = format!("{MAPS}/a");
    let patches = (0..8).map(|n| {
        let data = json!({"data": {format!("key{n}"): "x"}});
        bench.patch(&path, "application/merge-patch+json", data)
    });
    for (code, answer) in futures_util::future::join_all(patches).await {
        assert_eq!(code, 200, "{answer}");
    }
    let (_, all) = bench.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(all["data"].as_object().unwrap().len(), 9);
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"late": "x"}});
    let (code, refused) = bench.patch(&path, "application/merge-patch+json", stale).await;
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")));
}

#[tokio::test]
async fn a_service_that_a_finalizer_held_leaves_its_address_to_others() {
    let bench = Bench::new().await;
    let path = "/api/v1/namespaces/default/services";
    let service = |name: &str, finalizers: Value| {
        json!({
            "metadata": {"name": name, "finalizers": finalizers},
            "spec": {"clusterIP": "10.96.7.7", "ports": [{"port": 80}]},
        })
    };
    let held = service("held", json!(["example.com/hold"]));
    assert_eq!(bench.ask(Method::POST, path, held).await.0, 201);
    let one = format!("{path}/held");
    bench.ask(Method::DELETE, &one, Value::Null).await;
    assert_eq!(bench.ask(Method::POST, path, service("b", json!([]))).await.0, 422);
    let merge = "application/merge-patch+json";
    bench.patch(&one, merge, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(bench.ask(Method::GET, &one, Value::Null).await.0, 404);
    let (code, made) = bench.ask(Method::POST, path, service("b", json!([]))).await;
    assert_eq!(code, 201, "{made}");
}

#[tokio::test]
async fn two_services_never_have_one_address_or_port() {
    let bench = Bench::new().await;
    let path = "/api/v1/namespaces/default/services";
    let service = |name: &str, more: Value| {
        let mut spec = json!({"ports": [{"port": 80}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"metadata": {"name": name}, "spec": spec})
    };
    let (code, first) =
        bench.ask(Method::POST, path, service("a", json!({"type": "NodePort"}))).await;
    assert_eq!(code, 201, "{first}");
    let (address, port) = (&first["spec"]["clusterIP"], &first["spec"]["ports"][0]["nodePort"]);
    let (code, refused) =
        bench.ask(Method::POST, path, service("b", json!({"clusterIP": address}))).await;
    assert_eq!(code, 422, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("provided IP is already allocated"));
    let wanted = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    let (code, refused) = bench.ask(Method::POST, path, service("c", wanted.clone())).await;
    assert_eq!(code, 422, "{refused}");
    bench.ask(Method::DELETE, &format!("{path}/a"), Value::Null).await;
    assert_eq!(bench.ask(Method::POST, path, service("c", wanted)).await.0, 201);
}

#[tokio::test]
async fn a_stranger_may_look_at_health_and_nothing_else() {
    let bench = Bench::new().await;
    let ask = async |path: &str| {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        answer(&bench.server, None, request).await.status().as_u16()
    };
    assert_eq!(ask("/readyz").await, 200);
    assert_eq!(ask("/version").await, 200);
    assert_eq!(ask("/api/v1/pods").await, 403);
    assert_eq!(ask("/api/v1/no/such/thing").await, 403);
    assert_eq!(ask("/metrics").await, 403);
}

#[tokio::test]
async fn server_side_apply_is_refused_with_the_accepted_types() {
    let bench = Bench::new().await;
    let path = format!("{MAPS}/a?fieldManager=me");
    let (code, refused) = bench.patch(&path, "application/apply-patch+yaml", json!({})).await;
    assert_eq!((code, &refused["reason"]), (415, &json!("UnsupportedMediaType")));
}
