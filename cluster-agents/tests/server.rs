//! The loop against a server that is a function: what is asked, and what becomes of the answers.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use kstore_cluster_agents::{ControllerOptions, Leadership, run_controllers, run_scheduler};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Notify;

type Answer =
    Response<StreamBody<BoxStream<'static, Result<hyper::body::Frame<Bytes>, Infallible>>>>;

/// Answers one request: method, path with query, body.
type Handler = dyn Fn(&str, &str, &Value) -> (u16, Value) + Send + Sync;

/// Everything that was asked, as `GET /api/v1/pods?...`, and a bell for whoever waits for more.
#[derive(Clone, Default)]
struct Log {
    asked: Arc<Mutex<Vec<String>>>,
    bell: Arc<Notify>,
}

impl Log {
    fn count(&self, what: &str) -> usize {
        let asked = self.asked.lock().expect("nobody panics with the log in hand");
        asked.iter().filter(|line| line.starts_with(what)).count()
    }

    async fn wait_for(self, what: &'static str, count: usize) {
        loop {
            let rung = self.bell.notified();
            if self.count(what) >= count {
                return;
            }
            rung.await;
        }
    }
}

/// A client whose server is `handler`. Watches to which it answers null tell nothing for ever.
fn client(log: &Log, handler: Arc<Handler>) -> Client {
    let log = log.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (log, handler) = (log.clone(), Arc::clone(&handler));
        async move {
            let method = request.method().to_string();
            let path = request.uri().to_string();
            let body = request.into_body().collect().await.expect("bodies are in memory");
            let body = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
            let (code, answer) = handler(&method, &path, &body);
            log.asked.lock().expect("nobody panics with the log").push(format!("{method} {path}"));
            log.bell.notify_waiters();
            Ok::<_, Infallible>(response(&path, code, &answer))
        }
    });
    Client::new(service, "default")
}

fn response(path: &str, code: u16, answer: &Value) -> Answer {
    let frame = |text: String| Ok(hyper::body::Frame::data(Bytes::from(text)));
    let body = if path.contains("watch=true") {
        let events: Vec<_> =
            answer.as_array().into_iter().flatten().map(|e| frame(format!("{e}\n"))).collect();
        stream::iter(events).chain(stream::pending()).boxed()
    } else {
        stream::iter([frame(answer.to_string())]).boxed()
    };
    let builder = Response::builder().status(code).header("Content-Type", "application/json");
    builder.body(StreamBody::new(body)).expect("a status and a header")
}

fn list(kind: &str, items: &[Value]) -> (u16, Value) {
    (
        200,
        json!({"kind": format!("{kind}List"), "apiVersion": "v1",
                 "metadata": {"resourceVersion": "10"}, "items": items}),
    )
}

fn failure(code: u16, reason: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                  "reason": reason, "message": reason}),
    )
}

fn pod() -> Value {
    json!({"metadata": {"name": "p", "namespace": "default", "uid": "u", "resourceVersion": "5"},
           "spec": {"containers": [{"name": "c", "image": "x"}]}, "status": {"phase": "Pending"}})
}

fn node() -> Value {
    json!({"metadata": {"name": "n", "uid": "un", "resourceVersion": "6"},
           "status": {"allocatable": {"cpu": "4", "memory": "4Gi", "pods": "10"}}})
}

const BINDING: &str = "POST /api/v1/namespaces/default/pods/p/binding";

#[tokio::test]
async fn a_binding_that_fails_is_tried_again_and_then_told() {
    let log = Log::default();
    let seen = log.clone();
    let handler = move |method: &str, path: &str, _: &Value| match (method, path) {
        _ if path.contains("watch=true") => (200, Value::Null),
        ("GET", path) if path.starts_with("/api/v1/pods") => list("Pod", &[pod()]),
        ("GET", path) if path.starts_with("/api/v1/nodes") => list("Node", &[node()]),
        ("POST", path) if path.ends_with("/binding") => match seen.count(BINDING) {
            0 => failure(500, "InternalError"),
            _ => (201, json!({"kind": "Status", "status": "Success"})),
        },
        _ => (201, json!({})),
    };
    let until = log.clone().wait_for("POST /api/v1/namespaces/default/events", 1);
    let ended = run_scheduler(client(&log, Arc::new(handler)), Leadership::Alone, until).await;
    assert!(ended.is_ok());
    assert_eq!(log.count(BINDING), 2);
}

#[tokio::test]
async fn a_watch_that_has_expired_makes_a_new_list() {
    let log = Log::default();
    let seen = log.clone();
    let handler = move |_: &str, path: &str, _: &Value| {
        let expired = json!([{"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1",
            "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}}]);
        match path {
            path if path.contains("watch=true") && path.contains("/pods") => {
                let first = seen.count("GET /api/v1/pods") < 2;
                (200, if first { expired } else { Value::Null })
            }
            path if path.contains("watch=true") => (200, Value::Null),
            path if path.starts_with("/api/v1/pods") => list("Pod", &[]),
            _ => list("Node", &[node()]),
        }
    };
    let until = log.clone().wait_for("GET /api/v1/pods", 4);
    let ended = run_scheduler(client(&log, Arc::new(handler)), Leadership::Alone, until).await;
    assert!(ended.is_ok());
    assert_eq!(log.count("GET /api/v1/pods?&limit"), 2, "{:?}", log.asked.lock());
}

#[tokio::test]
async fn kinds_that_are_not_served_hold_nobody_up() {
    let log = Log::default();
    let handler = |method: &str, path: &str, _: &Value| match (method, path) {
        ("GET", path) if path.contains("watch=true") => (200, Value::Null),
        ("GET", path) if path.starts_with("/api/v1/namespaces?") => {
            let meta = json!({"name": "a", "uid": "ua", "resourceVersion": "4"});
            list("Namespace", &[json!({"metadata": meta, "status": {"phase": "Active"}})])
        }
        ("GET", _) => failure(404, "NotFound"),
        _ => (201, json!({})),
    };
    let until = log.clone().wait_for("POST /api/v1/namespaces/a/serviceaccounts", 1);
    let options = ControllerOptions::default();
    let client = client(&log, Arc::new(handler));
    let ended = run_controllers(client, options, Leadership::Alone, until).await;
    assert!(ended.is_ok());
}
