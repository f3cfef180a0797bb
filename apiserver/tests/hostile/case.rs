//! A hostile request, what must become of it, and the judge of what did.
//!
//! Expectations are written `400 BadRequest`: the code and the reason of the Status. What a stock
//! kube-apiserver of the served version answers is expected; where ours may differ, or upstream's
//! own answers do, it is one of several.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use http::{Method, Request};
use kstore_apiserver::auth::authentication::PeerUser;
use kstore_host::Clock as _;
use kstore_host::os::OsClock;
use serde_json::{Value, json};

use crate::bench::{Answered, Bench, admin};
use crate::weigh;

pub(crate) const JSON: &str = "application/json";
pub(crate) const YAML: &str = "application/yaml";
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
pub(crate) const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Admin,
    Stranger,
}

/// A hostile request.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) who: Who,
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// What may become of it, such as `400 BadRequest`; `400` alone says nothing about the body.
    pub(crate) expected: Vec<String>,
}

impl Case {
    pub(crate) fn new(name: &str, method: Method, target: &str, expected: &str) -> Self {
        Self {
            name: name.to_owned(),
            who: Who::Admin,
            method,
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            expected: expected.split(" or ").map(str::to_owned).collect(),
        }
    }

    pub(crate) fn get(name: &str, target: &str, expected: &str) -> Self {
        Self::new(name, Method::GET, target, expected)
    }

    /// A configmap that is not kept.
    pub(crate) fn map(name: &str, media: &str, body: impl Into<Vec<u8>>, expected: &str) -> Self {
        let target = format!("{MAPS}?dryRun=All");
        Self::new(name, Method::POST, &target, expected).sends(media, body)
    }

    pub(crate) fn sends(mut self, media: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.with("content-type", media)
    }

    pub(crate) fn with(mut self, header: &str, value: &str) -> Self {
        self.headers.push((header.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn by(mut self, who: Who) -> Self {
        self.who = who;
        self
    }

    #[expect(clippy::print_stdout, reason = "for people who look for what is dear")]
    fn tell(&self, took: Duration, heaviest: usize) {
        println!("{:>6} ms {:>9} KiB  {}", took.as_millis(), heaviest >> 10, self.name);
    }

    /// The case as a line of JSON.
    pub(crate) fn to_line(&self) -> Value {
        json!({
            "name": self.name, "stranger": self.who == Who::Stranger,
            "method": self.method.as_str(), "target": self.target, "headers": self.headers,
            "body": STANDARD.encode(&self.body), "expected": self.expected,
        })
    }

    fn request(&self) -> Request<Body> {
        let mut request = Request::builder().method(&self.method).uri(&self.target);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Body::from(self.body.clone())).unwrap()
    }

    /// What is wrong with how the server took it.
    pub(crate) async fn judge(&self, bench: &Bench, admin: &PeerUser) -> Option<String> {
        let who = (self.who == Who::Admin).then_some(admin);
        let (clock, request) = (OsClock::start(), self.request());
        let began = clock.monotonic();
        let sent = self.body.len() + self.target.len() + self.headers.len() * 64;
        weigh::begin();
        let answered = AssertUnwindSafe(bench.ask(who, request)).catch_unwind().await;
        let heaviest = weigh::heaviest();
        let took = clock.monotonic() - began;
        let Ok(answered) = answered else { return Some(format!("{}: PANIC", self.name)) };
        if std::env::var("KSTORE_TEST_VERBOSE").is_ok() {
            self.tell(took, heaviest);
        }
        let mut faults = faults(&answered, &self.expected);
        if heaviest > MEMORY + sent * MEMORY_PER_BYTE {
            faults.push(format!("{} MiB for a request of {} KiB", heaviest >> 20, sent >> 10));
        }
        if took.as_secs() >= SECONDS {
            faults.push(format!("{took:?}"));
        }
        (!faults.is_empty()).then(|| format!("{}: {}", self.name, faults.join("; ")))
    }
}

/// What one request may take at once: so much, and so much for each byte of it. A value in a tree
/// takes 32 bytes and can stand in two bytes of text; a member of an object takes about a hundred.
const MEMORY: usize = 32 << 20;
const MEMORY_PER_BYTE: usize = 150;

/// No request takes longer, on a slow machine that does much else, without optimisation.
const SECONDS: u64 = 20;

fn faults(answered: &Answered, expected: &[String]) -> Vec<String> {
    let (code, body) = (answered.code, answered.json());
    let reason = body["reason"].as_str().unwrap_or("");
    let told = format!("{code} {reason}");
    let mut faults = Vec::new();
    let fits = |wanted: &String| {
        let plain = wanted.bytes().all(|byte| byte.is_ascii_digit());
        *wanted == told.trim_end() || (plain && *wanted == code.to_string())
    };
    if !expected.iter().any(fits) {
        let message = body["message"].as_str().unwrap_or("");
        let message: String = message.chars().take(200).collect();
        let expected = expected.join(" or ");
        faults.push(format!("{told} instead of {expected}: {message}"));
    }
    let page = answered.body == "404 page not found\n";
    if code >= 400 && !page && answered.media_type() == JSON {
        let is_status = body["kind"] == "Status"
            && body["apiVersion"] == "v1"
            && body["status"] == "Failure"
            && body["code"] == u64::from(code)
            && body["message"].is_string();
        if !is_status {
            faults.push(format!("no Status: {:?}", answered.body));
        }
    }
    let longest = answered.headers.iter().map(|(_, value)| value.len()).max().unwrap_or(0);
    if longest > HEADER {
        faults.push(format!("a header of {longest} bytes"));
    }
    faults
}

/// The longest header of an answer that clients must take.
const HEADER: usize = 16 << 10;

/// Runs cases one after the other; fails with all that is wrong.
pub(crate) async fn run(cases: Vec<Case>) {
    let bench = Bench::new().await;
    furnish(&bench).await;
    let (admin, count) = (admin(), cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        wrong.extend(case.judge(&bench, &admin).await);
    }
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
}

/// What the cases are about.
pub(crate) fn furniture() -> Vec<(&'static str, Value)> {
    let template = json!({
        "metadata": {"labels": {"app": "base"}},
        "spec": {"containers": [{"name": "main", "image": "base", "ports": [{"containerPort": 80}]}]},
    });
    vec![
        (MAPS, json!({"metadata": {"name": "base"}, "data": {"a": "1", "b": "2"}})),
        (
            "/apis/apps/v1/namespaces/default/deployments",
            json!({
                "metadata": {"name": "base", "finalizers": ["example.com/a", "example.com/b"]},
                "spec": {
                    "replicas": 0,
                    "selector": {"matchLabels": {"app": "base"}},
                    "template": template,
                },
            }),
        ),
        ("/api/v1/namespaces/default/serviceaccounts", {
            json!({"metadata": {"name": "default"}})
        }),
    ]
}

async fn furnish(bench: &Bench) {
    for (path, object) in furniture() {
        let request = Request::post(path)
            .header("content-type", JSON)
            .body(Body::from(object.to_string()))
            .unwrap();
        let code = bench.ask(Some(&admin()), request).await.code;
        assert!(matches!(code, 201 | 409), "{path}: {code}");
    }
}
