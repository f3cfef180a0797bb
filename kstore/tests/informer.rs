//! A foreign client's informer on a real server: kube-rs' watcher and its reflector see every change,
//! also those around a crash of the server, whichever way they learn the first state.
//!
//! And the small things that people do with the same client: entries, patches, evictions.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DeleteParams, EvictParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Config, ResourceExt as _};
use serde_json::json;
use support::{KSTORE, Scratch, free_address};
use tokio::time::timeout;

/// How long a change may take to be told: far more than it needs.
const LIMIT: Duration = Duration::from_secs(60);

/// `kstore up` in a directory and on ports that stay the same.
struct Cluster {
    scratch: Scratch,
    secure: String,
    client: String,
    peer: String,
    process: Child,
}

impl Cluster {
    fn start(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let (secure, client, peer) = (free_address(), free_address(), free_address());
        let process = launch(&scratch, &secure, &client, &peer);
        Self { scratch, secure, client, peer, process }
    }

    /// Ends it as a power cut does, and starts it again.
    fn crash(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = launch(&self.scratch, &self.secure, &self.client, &self.peer);
    }

    async fn kube(&self) -> Client {
        let file = Kubeconfig::read_from(self.scratch.path("data/admin.kubeconfig")).unwrap();
        let options = KubeConfigOptions::default();
        Client::try_from(Config::from_custom_kubeconfig(file, &options).await.unwrap()).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may have ended, and that is as good.
        let _ended = self.process.kill();
        self.process.wait().unwrap();
    }
}

fn launch(scratch: &Scratch, secure: &str, client: &str, peer: &str) -> Child {
    let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
    let (_, port) = secure.split_once(':').unwrap();
    let mut process = Command::new(KSTORE)
        .arg("up")
        .arg(format!("--data-dir={}", scratch.path("data")))
        .arg(format!("--secure-port={port}"))
        .arg(format!("--listen-client-urls={client}"))
        .arg(format!("--advertise-client-urls={client}"))
        .arg(format!("--listen-peer-urls={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .arg(format!("--initial-cluster=default={peer}"))
        .arg("--log-format=json")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = BufReader::new(process.stdout.take().unwrap());
    let up = said.lines().map_while(Result::ok).any(|line| line.starts_with("kstore is up"));
    assert!(up, "it ended before it was up");
    process
}

type Events = Pin<Box<dyn Stream<Item = watcher::Result<Event<ConfigMap>>> + Send>>;

/// An informer: what it is told, in order, and the state that it has made of it.
struct Informer {
    events: Events,
    state: Store<ConfigMap>,
}

/// What an informer is told: `+name=value` or `-name`.
fn line(event: &Event<ConfigMap>) -> Option<String> {
    let value =
        |map: &ConfigMap| map.data.clone().unwrap_or_default().remove("v").unwrap_or_default();
    match event {
        Event::Init => Some("begin".to_owned()),
        Event::InitDone => Some("state".to_owned()),
        Event::InitApply(map) => Some(format!("{}={}", map.name_any(), value(map))),
        Event::Apply(map) => Some(format!("+{}={}", map.name_any(), value(map))),
        Event::Delete(map) => Some(format!("-{}", map.name_any())),
    }
}

impl Informer {
    fn new(maps: &Api<ConfigMap>, config: watcher::Config) -> Self {
        let (state, writer) = reflector::store();
        let events = watcher(maps.clone(), config.labels("followed=yes"));
        let events = events.default_backoff().reflect(writer).boxed();
        Self { events, state }
    }

    /// What it is told next. Errors are what a crash looks like; it goes on after them.
    async fn next(&mut self) -> String {
        loop {
            let event = timeout(LIMIT, self.events.next()).await.expect("it is told in time");
            let told = event.expect("it never ends").ok().as_ref().and_then(line);
            if let Some(told) = told {
                return told;
            }
        }
    }

    async fn is_told(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(self.next().await, *expected);
        }
    }

    fn state(&self) -> BTreeMap<String, String> {
        let all = self.state.state();
        all.iter()
            .map(|map| (map.name_any(), map.data.clone().unwrap_or_default()["v"].clone()))
            .collect()
    }
}

fn map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"followed": "yes"}}, "data": {"v": value},
    }))
    .unwrap()
}

async fn set(maps: &Api<ConfigMap>, name: &str, value: &str) {
    let patch = json!({"data": {"v": value}});
    maps.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// Everything that is done is told once and in order, with a crash in the middle.
async fn follow(name: &str, config: watcher::Config) {
    let mut cluster = Cluster::start(name);
    let kube = cluster.kube().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(kube.clone());
    let (post, delete) = (PostParams::default(), DeleteParams::default());
    maps.create(&post, &map("a", "1")).await.unwrap();
    let mut informer = Informer::new(&maps, config);
    informer.is_told(&["begin", "a=1", "state"]).await;
    maps.create(&post, &map("b", "1")).await.unwrap();
    set(&maps, "a", "2").await;
    maps.delete("b", &delete).await.unwrap();
    informer.is_told(&["+b=1", "+a=2", "-b"]).await;
    assert_eq!(informer.state(), BTreeMap::from([("a".to_owned(), "2".to_owned())]));

    cluster.crash();
    // The informer is not asked meanwhile, so all of this happens before it is back.
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.kube().await);
    maps.create(&post, &map("c", "1")).await.unwrap();
    for value in 2..=9 {
        set(&maps, "c", &value.to_string()).await;
    }
    maps.delete("a", &delete).await.unwrap();
    let changes: Vec<String> = (1..=9).map(|value| format!("+c={value}")).collect();
    for change in &changes {
        assert_eq!(informer.next().await, *change, "it goes on where it was");
    }
    informer.is_told(&["-a"]).await;
    assert_eq!(informer.state(), BTreeMap::from([("c".to_owned(), "9".to_owned())]));
}

#[tokio::test]
async fn an_informer_that_lists_and_watches_loses_nothing_in_a_crash() {
    follow("informer-lists", watcher::Config::default()).await;
}

#[tokio::test]
async fn an_informer_that_lists_in_pages_loses_nothing_in_a_crash() {
    follow("informer-pages", watcher::Config::default().page_size(1)).await;
}

#[tokio::test]
async fn an_informer_that_streams_its_list_loses_nothing_in_a_crash() {
    follow("informer-streams", watcher::Config::default().streaming_lists()).await;
}

/// The code of a refusal.
fn code<T: std::fmt::Debug>(answered: kube::Result<T>) -> u16 {
    match answered.unwrap_err() {
        kube::Error::Api(status) => status.code,
        other => panic!("{other}"),
    }
}

async fn patches(kube: &Client) {
    let deployments: Api<Deployment> = Api::default_namespaced(kube.clone());
    let made = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "one"}]},
            },
        },
    }));
    deployments.create(&PostParams::default(), &made.unwrap()).await.unwrap();
    let params = PatchParams::default();
    let beside = json!({"spec": {"template": {"spec": {
        "containers": [{"name": "beside", "image": "two"}],
    }}}});
    let patched = deployments.patch("web", &params, &Patch::Strategic(beside)).await.unwrap();
    let containers = patched.spec.unwrap().template.spec.unwrap().containers;
    assert_eq!(containers.len(), 2, "lists of things with names are merged");
    let only = json!({"spec": {"template": {"spec": {
        "containers": [{"name": "only", "image": "three"}],
    }}}});
    let patched = deployments.patch("web", &params, &Patch::Merge(only)).await.unwrap();
    let containers = patched.spec.unwrap().template.spec.unwrap().containers;
    assert_eq!(containers.len(), 1, "lists of a merge patch are replaced");
    let operations = json!([
        {"op": "test", "path": "/spec/replicas", "value": 0},
        {"op": "add", "path": "/metadata/labels", "value": {"patched": "yes"}},
    ]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(operations).unwrap());
    let patched = deployments.patch("web", &params, &patch).await.unwrap();
    assert_eq!(patched.labels()["patched"], "yes");
    let operations = json!([{"op": "test", "path": "/spec/replicas", "value": 7}]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(operations).unwrap());
    assert_eq!(code(deployments.patch("web", &params, &patch).await), 422);
    let apply = PatchParams::apply("me");
    assert_eq!(code(deployments.patch("web", &apply, &Patch::Apply(json!({}))).await), 415);
}

async fn entries(kube: &Client) {
    let maps: Api<ConfigMap> = Api::default_namespaced(kube.clone());
    let params = PostParams::default();
    let entry = maps.entry("entry").await.unwrap().or_insert(|| map("entry", "1"));
    let mut entry = entry;
    entry.commit(&params).await.unwrap();
    entry.get_mut().data.get_or_insert_default().insert("v".to_owned(), "2".to_owned());
    entry.commit(&params).await.unwrap();
    let kept = maps.get("entry").await.unwrap();
    assert_eq!(kept.data.unwrap()["v"], "2");
    // Somebody else was faster: the entry is of a state that is past.
    set(&maps, "entry", "3").await;
    entry.get_mut().data.get_or_insert_default().insert("v".to_owned(), "4".to_owned());
    assert!(entry.commit(&params).await.is_err());
    assert_eq!(maps.get("entry").await.unwrap().data.unwrap()["v"], "3");
}

async fn pods(kube: &Client) {
    let pods: Api<Pod> = Api::default_namespaced(kube.clone());
    let pod = serde_json::from_value(json!({
        "metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "one"}]},
    }));
    pods.create(&PostParams::default(), &pod.unwrap()).await.unwrap();
    let path = "/api/v1/namespaces/default/pods/p/exec?command=ls";
    let exec = kube::client::Body::empty();
    let exec = http::Request::post(path).body(exec).unwrap();
    let refused = kube.send(exec).await.unwrap().status();
    assert!(refused.is_client_error(), "there is no container to run anything in: {refused}");
    pods.evict("p", &EvictParams::default()).await.unwrap();
    assert_eq!(code(pods.evict("nobody", &EvictParams::default()).await), 404);
}

#[tokio::test]
async fn entries_patches_and_evictions_do_what_people_know() {
    let cluster = Cluster::start("informer-people");
    let kube = cluster.kube().await;
    entries(&kube).await;
    patches(&kube).await;
    pods(&kube).await;
}
