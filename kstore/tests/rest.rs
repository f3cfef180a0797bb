//! The cases of the REST API over HTTPS, on each store that it can stand on: the member in the same
//! process, a kstore behind its etcd API, and a real etcd (`KSTORE_TEST_ETCD` names its program;
//! without it that part says that it has not run).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../apiserver/tests/support/rest_cases.rs"]
mod rest_cases;
mod support;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use rest_cases::{Api, Door, Reply, for_each_case};
use support::{KSTORE, Scratch, free_address};

/// How long a server may take until it is ready.
const LIMIT: Duration = Duration::from_secs(60);

/// How often it is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// A process that ends with the test.
struct Process(Child);

impl Process {
    fn start(program: &str, words: &[String]) -> Self {
        let quiet = || Stdio::null();
        Self(Command::new(program).args(words).stdout(quiet()).stderr(quiet()).spawn().unwrap())
    }

    /// Ends it as an operator does; it must end well.
    fn stop(mut self) {
        let kill = format!("kill -TERM {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, and that is as good.
        let _ended = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// An API server over HTTPS, and the etcd API of the store below it.
struct Served {
    client: Client,
    store: String,
}

impl Served {
    /// Waits until the server that writes this kubeconfig is ready.
    async fn by(kubeconfig: PathBuf, store: &str) -> Self {
        let ready = async {
            loop {
                if let Ok(file) = Kubeconfig::read_from(&kubeconfig) {
                    let options = KubeConfigOptions::default();
                    let config = Config::from_custom_kubeconfig(file, &options).await;
                    let mut config = config.unwrap();
                    // Every answer counts, also one that says to come again.
                    config.default_retry = false;
                    let client = Client::try_from(config).unwrap();
                    let page = Request::get("/readyz").body(Vec::new()).unwrap();
                    if client.request_text(page).await.is_ok() {
                        return client;
                    }
                }
                sleep(LOOK).await;
            }
        };
        let client = timeout(LIMIT, ready).await.expect("the API server is not ready");
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

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A member: its flags with an API server or without.
fn member(data: &str, client: &str, more: &[&str]) -> Process {
    let peer = format!("http://{}", free_address());
    let mut flags = words(&["server", "--data-dir", data]);
    flags.push(format!("--listen-client-urls=http://{client}"));
    flags.push(format!("--listen-peer-urls={peer}"));
    flags.extend(words(more));
    Process::start(KSTORE, &flags)
}

/// An API server alone, on a store.
fn alone(data: &str, store: &str) -> Process {
    let flags = ["apiserver", "--etcd-servers", store, "--secure-port", "0", "--data-dir", data];
    Process::start(KSTORE, &words(&flags))
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
