//! The cases of the REST API over HTTPS, on each store that it can stand on: the member in the same
//! process, a kstore behind its etcd API, and a real etcd (`KSTORE_TEST_ETCD` names its program;
//! without it that part says that it has not run).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../apiserver/tests/support/rest_cases.rs"]
mod rest_cases;
mod support;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::Value;

use rest_cases::{Api, Door, Reply, for_each_case};
use support::api::{self, Process, alone, member, words};
use support::{KSTORE, Scratch, free_address};

/// An API server over HTTPS, and the etcd API of the store below it.
struct Served {
    client: Client,
    store: String,
}

impl Served {
    async fn by(kubeconfig: PathBuf, store: &str) -> Self {
        let client = api::client(api::ready(&kubeconfig).await);
        Self { client, store: store.to_owned() }
    }

    fn etcd(&self, words: &[&str]) -> Value {
        let mut kstore = Command::new(KSTORE);
        let asked = kstore.args(words).args(["--endpoints", &self.store, "-w", "json"]);
        serde_json::from_str(&support::text(&asked.output().unwrap())).unwrap_or(Value::Null)
    }

    /// Runs all cases, one after the other: some of them compact the store.
    async fn run(self) {
        let door: Arc<dyn Door> = Arc::new(self);
        macro_rules! run {
            ($($case:ident),*) => {
                $(
                    eprintln!("case {}", stringify!($case));
                    let namespace: String = stringify!($case).replace('_', "-");
                    let namespace = namespace[..namespace.len().min(60)].trim_end_matches('-');
                    rest_cases::$case(&Api::new(Arc::clone(&door), namespace).await).await;
                )*
            };
        }
        for_each_case!(run);
    }
}

impl Door for Served {
    fn send(&self, method: Method, path: &str, media: &str, body: String) -> BoxFuture<'_, Reply> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media)
            .body(Body::from(body.into_bytes()))
            .unwrap();
        Box::pin(async move {
            let response = self.client.send(request).await.unwrap();
            let code = response.status().as_u16();
            let body = response.into_body().into_data_stream();
            Reply { code, body: body.map(|chunk| chunk.unwrap()).boxed() }
        })
    }

    fn compact(&self, revision: u64) -> BoxFuture<'_, ()> {
        self.etcd(&["compaction", &revision.to_string()]);
        Box::pin(async {})
    }

    fn lease_of(&self, key: &str) -> BoxFuture<'_, i64> {
        let got = self.etcd(&["get", key]);
        let lease = got["kvs"][0]["lease"].as_i64().unwrap_or(0);
        Box::pin(async move { lease })
    }
}

#[tokio::test]
async fn the_cases_hold_on_the_member_in_the_same_process() {
    let scratch = Scratch::new("rest-local");
    let client = free_address();
    let member = member(&scratch.path("data"), &client, &["--secure-port=0"]);
    let served = Served::by(scratch.0.join("data/admin.kubeconfig"), &client).await;
    served.run().await;
    member.stop();
}

#[tokio::test]
async fn the_cases_hold_on_kstores_etcd_api() {
    let scratch = Scratch::new("rest-kstore");
    let client = free_address();
    let member = member(&scratch.path("data"), &client, &[]);
    // The first endpoint is nobody's: the second one serves.
    let store = format!("http://{},http://{client}", free_address());
    let server = alone(&scratch.path("api"), &store);
    let served = Served::by(scratch.0.join("api/admin.kubeconfig"), &client).await;
    served.run().await;
    server.stop();
    member.stop();
}

#[tokio::test]
async fn the_cases_hold_on_a_real_etcd() {
    let Ok(etcd) = std::env::var("KSTORE_TEST_ETCD") else {
        eprintln!(
            "NOT RUN: the cases of the REST API on a real etcd (KSTORE_TEST_ETCD is not set)"
        );
        return;
    };
    let scratch = Scratch::new("rest-etcd");
    let client = free_address();
    let (url, peer) = (format!("http://{client}"), format!("http://{}", free_address()));
    let cluster = format!("default={peer}");
    let flags = [
        "--data-dir",
        &scratch.path("data"),
        "--listen-client-urls",
        &url,
        "--advertise-client-urls",
        &url,
        "--listen-peer-urls",
        &peer,
        "--initial-advertise-peer-urls",
        &peer,
        "--initial-cluster",
        &cluster,
    ];
    let etcd = Process::start(&etcd, &words(&flags));
    let server = alone(&scratch.path("api"), &url);
    let served = Served::by(scratch.0.join("api/admin.kubeconfig"), &client).await;
    served.run().await;
    server.stop();
    drop(etcd);
}
