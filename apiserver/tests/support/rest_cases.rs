//! What the REST API must do whatever it stands on: cases that run in-process on the model of a store,
//! and over HTTPS on servers that stand on a member, on kstore's etcd API and on a real etcd.
//!
//! Each case has a namespace of its own, so that cases can share a server.

#![allow(clippy::unwrap_used, reason = "what a case needs is there or the case has failed")]
#![allow(unreachable_pub, reason = "each test file that includes it has it as a module of its own")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::BoxStream;
use http::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

/// How long a watch that must tell something may say nothing.
const LIMIT: Duration = Duration::from_secs(30);

/// Calls a macro with the names of all cases.
#[allow(unused_macros, reason = "used where it is included")]
macro_rules! for_each_case {
    ($do:ident) => {
        $do!(
            an_object_is_created_read_changed_and_deleted,
            a_write_that_changes_nothing_makes_no_revision,
            a_list_in_pages_shows_one_state_whatever_is_written_in_between,
            a_page_that_was_compacted_away_is_expired_and_says_how_to_go_on,
            a_list_of_more_than_one_read_is_whole,
            a_list_at_a_revision_shows_what_was_then,
            a_list_at_a_revision_yet_to_come_is_refused_with_what_clients_parse,
            a_selector_chooses_by_labels_and_fields,
            a_watch_tells_the_state_and_then_what_enters_and_leaves_the_selection,
            a_watch_from_an_old_revision_tells_everything_since,
            a_watch_from_before_the_compaction_is_gone,
            a_watch_goes_on_over_a_compaction,
            of_many_who_create_one_name_one_does,
            a_finalizer_holds_an_object_until_it_is_taken_away,
            patches_at_the_same_moment_all_happen_and_none_is_told_of_a_conflict,
            a_deletion_that_expects_another_revision_is_a_conflict,
            a_service_that_a_finalizer_held_leaves_its_address_to_others,
            two_services_never_have_one_address_or_port,
            an_event_hangs_on_a_lease_and_other_objects_do_not,
            server_side_apply_is_refused_with_the_accepted_types
        );
    };
}
#[allow(unused_imports, reason = "used where it is included")]
pub(crate) use for_each_case;

/// An answer as it comes.
pub struct Reply {
    pub code: u16,
    pub body: BoxStream<'static, Bytes>,
}

/// A server, and the store below it.
pub trait Door: Send + Sync {
    /// Sends a request as somebody who may do everything.
    fn send(&self, method: Method, path: &str, media: &str, body: String) -> BoxFuture<'_, Reply>;

    /// Compacts the store.
    fn compact(&self, revision: u64) -> BoxFuture<'_, ()>;

    /// The lease that a key of the store hangs on; 0 for none.
    fn lease_of(&self, key: &str) -> BoxFuture<'_, i64>;
}

/// A server, and a namespace of it.
pub struct Api {
    door: Arc<dyn Door>,
    namespace: String,
}

/// A watch under way.
pub struct Watch {
    body: BoxStream<'static, Bytes>,
    /// What has come of lines that are not yet told.
    rest: Vec<u8>,
}

impl Watch {
    /// The next event.
    pub async fn next(&mut self) -> Value {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let chunk = timeout(LIMIT, self.body.next()).await.expect("the watch is silent");
            self.rest.extend_from_slice(&chunk.expect("the watch has ended"));
        }
    }
}

impl Api {
    /// A namespace that is made for it.
    pub async fn new(door: Arc<dyn Door>, namespace: &str) -> Self {
        let api = Self { door, namespace: namespace.to_owned() };
        let made = json!({"metadata": {"name": namespace}});
        let (code, answer) = api.ask(Method::POST, "/api/v1/namespaces", made).await;
        assert_eq!(code, 201, "{answer}");
        api
    }

    /// The path of a resource of the core group in the namespace.
    pub fn path(&self, resource: &str) -> String {
        format!("/api/v1/namespaces/{}/{resource}", self.namespace)
    }

    /// The code and the object of an answer.
    pub async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        read(self.door.send(method, path, "application/json", body).await).await
    }

    pub async fn patch(&self, path: &str, media: &str, body: Value) -> (u16, Value) {
        read(self.door.send(Method::PATCH, path, media, body.to_string()).await).await
    }

    pub async fn watch(&self, path: &str) -> Watch {
        let reply = self.door.send(Method::GET, path, "", String::new()).await;
        assert_eq!(reply.code, 200);
        Watch { body: reply.body, rest: Vec::new() }
    }

    /// Makes a config map.
    pub async fn make(&self, name: &str, labels: Value) -> Value {
        let body = json!({"metadata": {"name": name, "labels": labels}, "data": {"a": "1"}});
        let (code, made) = self.ask(Method::POST, &self.path("configmaps"), body).await;
        assert_eq!(code, 201, "{made}");
        made
    }

    /// Forgets whatever was before now.
    async fn compact(&self) {
        let now = self.make("now", json!({})).await;
        self.door.compact(revision_of(&now)).await;
    }
}

async fn read(mut reply: Reply) -> (u16, Value) {
    let mut bytes = Vec::new();
    while let Some(chunk) = reply.body.next().await {
        bytes.extend_from_slice(&chunk);
    }
    (reply.code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn revision_of(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

pub async fn an_object_is_created_read_changed_and_deleted(api: &Api) {
    let maps = api.path("configmaps");
    let made = api.make("a", json!({})).await;
    assert!(made["metadata"]["uid"].is_string());
    let path = format!("{maps}/a");
    let (code, got) = api.ask(Method::GET, &path, Value::Null).await;
    assert_eq!((code, &got["metadata"]["uid"]), (200, &made["metadata"]["uid"]));
    let mut next = got.clone();
    next["data"]["b"] = "2".into();
    let (code, changed) = api.ask(Method::PUT, &path, next.clone()).await;
    assert_eq!((code, &changed["data"]["b"]), (200, &json!("2")));
    assert_ne!(changed["metadata"]["resourceVersion"], got["metadata"]["resourceVersion"]);
    let (code, stale) = api.ask(Method::PUT, &path, next).await;
    assert_eq!((code, &stale["reason"]), (409, &json!("Conflict")));
    let (code, gone) = api.ask(Method::DELETE, &path, Value::Null).await;
    assert_eq!((code, &gone["status"]), (200, &json!("Success")));
    let (code, missing) = api.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(code, 404);
    assert_eq!(missing["message"], "configmaps \"a\" not found");
}

pub async fn a_write_that_changes_nothing_makes_no_revision(api: &Api) {
    let maps = api.path("configmaps");
    let made = api.make("a", json!({})).await;
    let path = format!("{maps}/a");
    let merge = "application/merge-patch+json";
    let (code, same) = api.patch(&path, merge, json!({"data": {"a": "1"}})).await;
    assert_eq!(code, 200);
    assert_eq!(same["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let (_, other) = api.patch(&path, merge, json!({"data": {"a": "2"}})).await;
    assert_ne!(other["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
}

pub async fn a_list_in_pages_shows_one_state_whatever_is_written_in_between(api: &Api) {
    let maps = api.path("configmaps");
    for name in ["a", "b", "c", "d", "e"] {
        api.make(name, json!({})).await;
    }
    let (_, first) = api.ask(Method::GET, &format!("{maps}?limit=2"), Value::Null).await;
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    api.make("aa", json!({})).await;
    let next = first["metadata"]["continue"].as_str().unwrap();
    let path = format!("{maps}?limit=9&continue={next}");
    let (_, second) = api.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(second["items"].as_array().unwrap().len(), 3);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert!(second["metadata"].get("continue").is_none());
}

pub async fn a_selector_chooses_by_labels_and_fields(api: &Api) {
    let maps = api.path("configmaps");
    api.make("a", json!({"app": "web"})).await;
    api.make("b", json!({"app": "db"})).await;
    let (_, list) =
        api.ask(Method::GET, &format!("{maps}?labelSelector=app%3Dweb"), Value::Null).await;
    assert_eq!(names(&list), ["a"]);
    let path = format!("{maps}?fieldSelector=metadata.name%3Db");
    let (_, list) = api.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(names(&list), ["b"]);
    let (code, refused) =
        api.ask(Method::GET, &format!("{maps}?labelSelector=a%3D%3D%3Db"), Value::Null).await;
    assert_eq!((code, &refused["reason"]), (400, &json!("BadRequest")));
}

pub async fn a_watch_tells_the_state_and_then_what_enters_and_leaves_the_selection(api: &Api) {
    let maps = api.path("configmaps");
    api.make("a", json!({"app": "web"})).await;
    let path = format!(
        "{maps}?watch=1&labelSelector=app%3Dweb&sendInitialEvents=true\
         &resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut watch = api.watch(&path).await;
    assert_eq!(watch.next().await["type"], "ADDED");
    let bookmark = watch.next().await;
    assert_eq!(bookmark["type"], "BOOKMARK");
    let told = &bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"];
    assert_eq!(told, "true");
    api.make("b", json!({"app": "db"})).await;
    api.make("c", json!({"app": "web"})).await;
    assert_eq!(watch.next().await["object"]["metadata"]["name"], "c");
    let merge = "application/merge-patch+json";
    api.patch(&format!("{maps}/b"), merge, json!({"metadata": {"labels": {"app": "web"}}})).await;
    let entered = watch.next().await;
    assert_eq!(
        (&entered["type"], &entered["object"]["metadata"]["name"]),
        (&json!("ADDED"), &json!("b"))
    );
    api.patch(&format!("{maps}/b"), merge, json!({"metadata": {"labels": {"app": "x"}}})).await;
    let left = watch.next().await;
    assert_eq!(left["type"], "DELETED");
    assert_eq!(left["object"]["metadata"]["labels"]["app"], "web", "it is told as it was");
}

pub async fn a_finalizer_holds_an_object_until_it_is_taken_away(api: &Api) {
    let maps = api.path("configmaps");
    let body = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    assert_eq!(api.ask(Method::POST, &maps, body).await.0, 201);
    let path = format!("{maps}/held");
    let (code, leaving) = api.ask(Method::DELETE, &path, Value::Null).await;
    assert_eq!(code, 200);
    assert!(leaving["metadata"]["deletionTimestamp"].is_string());
    let merge = "application/merge-patch+json";
    let (code, _) = api.patch(&path, merge, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(code, 200);
    assert_eq!(api.ask(Method::GET, &path, Value::Null).await.0, 404);
}

pub async fn patches_at_the_same_moment_all_happen_and_none_is_told_of_a_conflict(api: &Api) {
    let maps = api.path("configmaps");
    api.make("a", json!({})).await;
    let path = format!("{maps}/a");
    let patches = (0..8).map(|n| {
        let data = json!({"data": {format!("key{n}"): "x"}});
        api.patch(&path, "application/merge-patch+json", data)
    });
    for (code, answer) in join_all(patches).await {
        assert_eq!(code, 200, "{answer}");
    }
    let (_, all) = api.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(all["data"].as_object().unwrap().len(), 9);
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"late": "x"}});
    let (code, refused) = api.patch(&path, "application/merge-patch+json", stale).await;
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")));
}

pub async fn a_service_that_a_finalizer_held_leaves_its_address_to_others(api: &Api) {
    let path = &api.path("services");
    let service = |name: &str, finalizers: Value| {
        json!({
            "metadata": {"name": name, "finalizers": finalizers},
            "spec": {"clusterIP": "10.96.7.7", "ports": [{"port": 80}]},
        })
    };
    let held = service("held", json!(["example.com/hold"]));
    assert_eq!(api.ask(Method::POST, path, held).await.0, 201);
    let one = format!("{path}/held");
    api.ask(Method::DELETE, &one, Value::Null).await;
    assert_eq!(api.ask(Method::POST, path, service("b", json!([]))).await.0, 422);
    let merge = "application/merge-patch+json";
    api.patch(&one, merge, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(api.ask(Method::GET, &one, Value::Null).await.0, 404);
    let (code, made) = api.ask(Method::POST, path, service("b", json!([]))).await;
    assert_eq!(code, 201, "{made}");
}

pub async fn two_services_never_have_one_address_or_port(api: &Api) {
    let path = &api.path("services");
    let service = |name: &str, more: Value| {
        let mut spec = json!({"ports": [{"port": 80}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"metadata": {"name": name}, "spec": spec})
    };
    let (code, first) =
        api.ask(Method::POST, path, service("a", json!({"type": "NodePort"}))).await;
    assert_eq!(code, 201, "{first}");
    let (address, port) = (&first["spec"]["clusterIP"], &first["spec"]["ports"][0]["nodePort"]);
    let (code, refused) =
        api.ask(Method::POST, path, service("b", json!({"clusterIP": address}))).await;
    assert_eq!(code, 422, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("provided IP is already allocated"));
    let wanted = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    let (code, refused) = api.ask(Method::POST, path, service("c", wanted.clone())).await;
    assert_eq!(code, 422, "{refused}");
    api.ask(Method::DELETE, &format!("{path}/a"), Value::Null).await;
    assert_eq!(api.ask(Method::POST, path, service("c", wanted)).await.0, 201);
}

pub async fn server_side_apply_is_refused_with_the_accepted_types(api: &Api) {
    let maps = api.path("configmaps");
    let path = format!("{maps}/a?fieldManager=me");
    let (code, refused) = api.patch(&path, "application/apply-patch+yaml", json!({})).await;
    assert_eq!((code, &refused["reason"]), (415, &json!("UnsupportedMediaType")));
}

pub async fn a_page_that_was_compacted_away_is_expired_and_says_how_to_go_on(api: &Api) {
    let maps = api.path("configmaps");
    for name in ["a", "b", "c"] {
        api.make(name, json!({})).await;
    }
    let (_, first) = api.ask(Method::GET, &format!("{maps}?limit=1"), Value::Null).await;
    assert_eq!(names(&first), ["a"]);
    let (code, _) = api.ask(Method::DELETE, &format!("{maps}/b"), Value::Null).await;
    assert_eq!(code, 200);
    api.compact().await;
    let next = first["metadata"]["continue"].as_str().unwrap();
    let path = format!("{maps}?limit=9&continue={next}");
    let (code, expired) = api.ask(Method::GET, &path, Value::Null).await;
    assert_eq!((code, &expired["reason"]), (410, &json!("Expired")), "{expired}");
    let next = expired["metadata"]["continue"].as_str().unwrap();
    let path = format!("{maps}?limit=9&continue={next}");
    let (code, rest) = api.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(code, 200);
    assert_eq!(names(&rest), ["c", "now"]);
}

pub async fn a_list_of_more_than_one_read_is_whole(api: &Api) {
    let names_made: Vec<String> = (0..1100).map(|number| format!("m{number:04}")).collect();
    for some in names_made.chunks(64) {
        join_all(some.iter().map(|name| api.make(name, json!({})))).await;
    }
    let maps = api.path("configmaps");
    let (_, all) = api.ask(Method::GET, &maps, Value::Null).await;
    assert_eq!(names(&all), names_made);
    let path = format!("{maps}?resourceVersion=0&limit=1050");
    let (_, most) = api.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(names(&most).len(), 1050);
    let (code, _) = api.ask(Method::DELETE, &maps, Value::Null).await;
    assert_eq!(code, 200);
    let (_, none) = api.ask(Method::GET, &maps, Value::Null).await;
    assert_eq!(names(&none), Vec::<String>::new());
}

pub async fn a_list_at_a_revision_shows_what_was_then(api: &Api) {
    let maps = api.path("configmaps");
    let first = api.make("a", json!({})).await;
    let then = revision_of(&first);
    api.make("b", json!({})).await;
    api.ask(Method::DELETE, &format!("{maps}/a"), Value::Null).await;
    let path = format!("{maps}?resourceVersion={then}&resourceVersionMatch=Exact");
    let (code, list) = api.ask(Method::GET, &path, Value::Null).await;
    assert_eq!((code, names(&list)), (200, vec!["a".to_owned()]));
    assert_eq!(revision_of(&list), then);
    let path = format!("{maps}?resourceVersion={then}&resourceVersionMatch=NotOlderThan");
    let (_, list) = api.ask(Method::GET, &path, Value::Null).await;
    assert!(revision_of(&list) >= then);
}

pub async fn a_list_at_a_revision_yet_to_come_is_refused_with_what_clients_parse(api: &Api) {
    let maps = api.path("configmaps");
    let far = revision_of(&api.make("a", json!({})).await) + 1_000_000;
    for how in ["Exact", "NotOlderThan"] {
        let path = format!("{maps}?resourceVersion={far}&resourceVersionMatch={how}");
        let (code, refused) = api.ask(Method::GET, &path, Value::Null).await;
        assert_eq!((code, &refused["reason"]), (504, &json!("Timeout")), "{refused}");
        let cause = &refused["details"]["causes"][0]["reason"];
        assert_eq!(cause, "ResourceVersionTooLarge");
    }
}

pub async fn a_watch_from_an_old_revision_tells_everything_since(api: &Api) {
    let maps = api.path("configmaps");
    let then = revision_of(&api.make("a", json!({})).await);
    api.make("b", json!({})).await;
    let merge = "application/merge-patch+json";
    api.patch(&format!("{maps}/a"), merge, json!({"data": {"a": "2"}})).await;
    api.ask(Method::DELETE, &format!("{maps}/b"), Value::Null).await;
    let mut watch = api.watch(&format!("{maps}?watch=1&resourceVersion={then}")).await;
    let mut told = Vec::new();
    let mut last = then;
    for _ in 0..3 {
        let event = watch.next().await;
        let object = &event["object"];
        assert!(revision_of(object) > last, "{event}");
        last = revision_of(object);
        told.push((event["type"].clone(), object["metadata"]["name"].clone()));
    }
    let expected = [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")];
    assert_eq!(told, expected.map(|(kind, name)| (json!(kind), json!(name))));
    api.make("c", json!({})).await;
    assert_eq!(watch.next().await["object"]["metadata"]["name"], "c");
}

pub async fn a_watch_from_before_the_compaction_is_gone(api: &Api) {
    // Of a kind that nobody has watched: of others the server may remember what the store forgot.
    let accounts = api.path("serviceaccounts");
    let make = async |name: &str| {
        let body = json!({"metadata": {"name": name}});
        revision_of(&api.ask(Method::POST, &accounts, body).await.1)
    };
    let then = make("a").await;
    make("b").await;
    api.compact().await;
    let path = format!("{accounts}?watch=1&resourceVersion={}", then - 1);
    let reply = api.door.send(Method::GET, &path, "", String::new()).await;
    // Either the answer says so, or the first event: clients take both.
    let status = match reply.code {
        200 => {
            let event = Watch { body: reply.body, rest: Vec::new() }.next().await;
            assert_eq!(event["type"], "ERROR", "{event}");
            event["object"].clone()
        }
        _ => read(reply).await.1,
    };
    assert_eq!((&status["code"], &status["reason"]), (&json!(410), &json!("Expired")), "{status}");
}

pub async fn a_watch_goes_on_over_a_compaction(api: &Api) {
    let maps = api.path("configmaps");
    let then = revision_of(&api.make("a", json!({})).await);
    let mut watch = api.watch(&format!("{maps}?watch=1&resourceVersion={then}")).await;
    api.make("b", json!({})).await;
    assert_eq!(watch.next().await["object"]["metadata"]["name"], "b");
    api.compact().await;
    assert_eq!(watch.next().await["object"]["metadata"]["name"], "now");
    api.ask(Method::DELETE, &format!("{maps}/a"), Value::Null).await;
    let gone = watch.next().await;
    assert_eq!((&gone["type"], &gone["object"]["data"]["a"]), (&json!("DELETED"), &json!("1")));
}

pub async fn of_many_who_create_one_name_one_does(api: &Api) {
    let maps = api.path("configmaps");
    let create = || api.ask(Method::POST, &maps, json!({"metadata": {"name": "one"}}));
    let mut codes: Vec<u16> = Vec::new();
    for (code, answer) in join_all((0..16).map(|_| create())).await {
        if code == 409 {
            assert_eq!(answer["reason"], "AlreadyExists");
        }
        codes.push(code);
    }
    codes.sort_unstable();
    assert_eq!(codes[0], 201);
    assert!(codes[1..].iter().all(|code| *code == 409), "{codes:?}");
}

pub async fn a_deletion_that_expects_another_revision_is_a_conflict(api: &Api) {
    let maps = api.path("configmaps");
    let old = api.make("a", json!({})).await;
    let path = format!("{maps}/a");
    let merge = "application/merge-patch+json";
    let (_, new) = api.patch(&path, merge, json!({"data": {"a": "2"}})).await;
    let expecting = |object: &Value| json!({"preconditions": {"resourceVersion": object["metadata"]["resourceVersion"]}});
    let (code, refused) = api.ask(Method::DELETE, &path, expecting(&old)).await;
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")));
    assert_eq!(api.ask(Method::DELETE, &path, expecting(&new)).await.0, 200);
}

pub async fn an_event_hangs_on_a_lease_and_other_objects_do_not(api: &Api) {
    let namespace = &api.namespace;
    api.make("a", json!({})).await;
    let event = json!({
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "ConfigMap", "namespace": namespace, "name": "a"},
        "reason": "Testing", "message": "m", "type": "Normal",
    });
    let (code, made) = api.ask(Method::POST, &api.path("events"), event).await;
    assert_eq!(code, 201, "{made}");
    assert_ne!(api.door.lease_of(&format!("/registry/events/{namespace}/e")).await, 0);
    assert_eq!(api.door.lease_of(&format!("/registry/configmaps/{namespace}/a")).await, 0);
    let merge = "application/merge-patch+json";
    let (code, _) =
        api.patch(&format!("{}/e", api.path("events")), merge, json!({"count": 2})).await;
    assert_eq!(code, 200);
    assert_ne!(api.door.lease_of(&format!("/registry/events/{namespace}/e")).await, 0);
}
