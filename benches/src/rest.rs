//! Creates, gets and lists of Kubernetes' API, over TLS and HTTP/2.
//!
//! Bodies and paths are made of a template, so that the generator costs little beside the server;
//! answers are read to their end and counted, but not decoded.
//!
//! Invariant: an operation counts only if the answer has the code that the verb promises.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use clap::ValueEnum;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use kube::Config;
use kube::client::ConfigExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

use crate::etcd::scatter;
use crate::load::{Found, Target};

/// What answers may be under way on a stream and on a connection: a list must not wait for window.
const WINDOW: u32 = 16 << 20;

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Get,
    List,
}

/// What objects it does that with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wanted {
    /// With one value, as long as asked for.
    Configmaps,
    /// As a controller makes them; nobody's scheduler takes them.
    Pods,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) verb: Verb,
    pub(crate) wanted: Wanted,
    pub(crate) namespace: String,
    pub(crate) bytes: usize,
    pub(crate) objects: u64,
    /// How many watch the pods of a node each, as kubelets do.
    pub(crate) watchers: u64,
}

/// A server, and what to ask it.
#[derive(Debug)]
pub(crate) struct Objects {
    plan: Plan,
    /// `https://host:port`
    server: String,
    collection: String,
    template: String,
    watched: Rc<Watched>,
    /// Clients share them in turn.
    connections: Vec<SendRequest<Full<Bytes>>>,
    answers: Cell<u64>,
    answered_bytes: Cell<u64>,
}

/// What those who watch have seen.
#[derive(Debug, Default)]
struct Watched {
    events: Cell<u64>,
    /// How many watches ended, which none should.
    ended: Cell<u64>,
    seen: Notify,
}

/// What is in a template, and others take the place of.
const NAME: &str = "name-of-the-object";
const NODE: &str = "name-of-the-node";

/// So many watches share a connection.
const WATCHES: u64 = 50;

impl Objects {
    /// Connects so many times.
    pub(crate) async fn connect(
        plan: Plan,
        kubeconfig: &Path,
        connections: usize,
    ) -> Result<Rc<Self>, String> {
        let config = config_of(kubeconfig).await?;
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(connection(&config).await?);
        }
        let body = match plan.wanted {
            Wanted::Configmaps => configmap(plan.bytes),
            Wanted::Pods => pod(plan.bytes),
        };
        let template = body.to_string();
        let resource = match plan.wanted {
            Wanted::Configmaps => "configmaps",
            Wanted::Pods => "pods",
        };
        let objects = Self {
            server: config.cluster_url.to_string().trim_end_matches('/').to_owned(),
            collection: format!("/api/v1/namespaces/{}/{resource}", plan.namespace),
            template,
            watched: Rc::default(),
            plan,
            connections: open,
            answers: Cell::new(0),
            answered_bytes: Cell::new(0),
        };
        objects.watch(&config).await?;
        Ok(Rc::new(objects))
    }

    /// Begins as many watches as are wanted, and waits for the first bytes of their answers.
    async fn watch(&self, config: &Config) -> Result<(), String> {
        let mut shared = None;
        for number in 0..self.plan.watchers {
            let mut connection = match shared.take() {
                Some(open) if number % WATCHES != 0 => open,
                _ => connection(config).await?,
            };
            let Self { server, collection, .. } = self;
            let node = format!("fieldSelector=spec.nodeName%3Dnode-{number}");
            let url = format!("{server}{collection}?watch=1&timeoutSeconds=3000&{node}");
            connection.ready().await.map_err(|e| e.to_string())?;
            let answer = connection.send_request(request(Method::GET, url, String::new())?).await;
            let answer = answer.map_err(|e| format!("watch: {e}"))?;
            if answer.status() != StatusCode::OK {
                return Err(format!("watch: {}", answer.status()));
            }
            tokio::task::spawn_local(count_events(answer.into_body(), Rc::clone(&self.watched)));
            shared = Some(connection);
        }
        Ok(())
    }

    /// How long an answer's body was on average.
    pub(crate) fn bytes_per_answer(&self) -> f64 {
        self.answered_bytes.get() as f64 / self.answers.get().max(1) as f64
    }

    fn request(&self, number: u64) -> Result<Request<Full<Bytes>>, String> {
        let Self { server, collection, template, plan, .. } = self;
        match plan.verb {
            Verb::Create => {
                let node = match plan.watchers {
                    0 => "nobody".to_owned(),
                    nodes => format!("node-{}", number % nodes),
                };
                let name = format!("object-{number}");
                let body = template.replacen(NAME, &name, 1).replacen(NODE, &node, 1);
                request(Method::POST, format!("{server}{collection}"), body)
            }
            Verb::Get => {
                let name = scatter(number) % plan.objects;
                let url = format!("{server}{collection}/object-{name}");
                request(Method::GET, url, String::new())
            }
            Verb::List => request(Method::GET, format!("{server}{collection}"), String::new()),
        }
    }
}

fn request(method: Method, url: String, body: String) -> Result<Request<Full<Bytes>>, String> {
    Request::builder()
        .method(method)
        .uri(url)
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("user-agent", "kstore-benches")
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| format!("make a request: {e}"))
}

/// Counts the lines of an answer, which are events.
async fn count_events(mut body: Incoming, watched: Rc<Watched>) {
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            let lines = data.iter().filter(|byte| **byte == b'\n').count() as u64;
            watched.events.set(watched.events.get() + lines);
            watched.seen.notify_one();
        }
    }
    watched.ended.set(watched.ended.get() + 1);
    watched.seen.notify_one();
}

impl Target for Objects {
    async fn operation(&self, client: usize, number: u64) -> Result<Found, String> {
        let mut connection = self.connections[client % self.connections.len()].clone();
        let request = self.request(number)?;
        connection.ready().await.map_err(|e| e.to_string())?;
        let answer = connection.send_request(request).await.map_err(|e| e.to_string())?;
        let code = answer.status();
        let mut body = answer.into_body();
        let mut length = 0;
        let mut refusal = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| e.to_string())?;
            if let Some(data) = frame.data_ref() {
                length += data.len() as u64;
                if !code.is_success() {
                    refusal.extend_from_slice(data);
                }
            }
        }
        let wanted =
            if self.plan.verb == Verb::Create { StatusCode::CREATED } else { StatusCode::OK };
        if code != wanted {
            return Err(format!("{code}: {}", String::from_utf8_lossy(&refusal)));
        }
        self.answers.set(self.answers.get() + 1);
        self.answered_bytes.set(self.answered_bytes.get() + length);
        Ok(Found::It)
    }

    /// Each object is news for one of those who watch.
    async fn settle(&self, operations: u64) {
        while self.plan.watchers > 0
            && self.watched.events.get() < operations
            && self.watched.ended.get() == 0
        {
            self.watched.seen.notified().await;
        }
    }
}

async fn config_of(path: &Path) -> Result<Config, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("read {}: {error}", path.display());
    let file = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(file, &options).await.map_err(|error| wrong(&error))
}

/// Tasks of a connection, on the one thread of all.
#[derive(Debug, Clone, Copy)]
struct Here;

impl<F: Future + 'static> Executor<F> for Here {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move {
            task.await;
        });
    }
}

async fn connection(config: &Config) -> Result<SendRequest<Full<Bytes>>, String> {
    let host = config.cluster_url.host().unwrap_or_default().to_owned();
    let port = config.cluster_url.port_u16().unwrap_or(443);
    let failed = |why: &dyn std::fmt::Display| format!("connect to {host}:{port}: {why}");
    let mut tls = config.rustls_client_config().map_err(|e| failed(&e))?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(host.clone()).map_err(|e| failed(&e))?;
    let socket = TcpStream::connect((host.as_str(), port)).await.map_err(|e| failed(&e))?;
    socket.set_nodelay(true).map_err(|e| failed(&e))?;
    let socket = TlsConnector::from(std::sync::Arc::new(tls)).connect(name, socket).await;
    let socket = TokioIo::new(socket.map_err(|e| failed(&e))?);
    let (sender, connection) = http2::Builder::new(Here)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(socket)
        .await
        .map_err(|e| failed(&e))?;
    tokio::task::spawn_local(async move {
        // Why it broke is told by the requests on it.
        let _broken = connection.await;
    });
    Ok(sender)
}

fn configmap(bytes: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": NAME, "labels": {"app": "load"}},
        "data": {"text": "x".repeat(bytes.saturating_sub(300))},
    })
}

/// A pod as a Deployment makes it: an owner, probes, resources, a volume; and an environment that
/// makes up the length.
fn pod(bytes: usize) -> Value {
    let filler = bytes.saturating_sub(2200);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": NAME,
            "labels": {"app": "load", "pod-template-hash": "5d8f7c9b6"},
            "annotations": {"example.com/checksum": "x".repeat(64)},
        },
        "spec": {
            "schedulerName": "nobody",
            "nodeName": NODE,
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "main", "image": "registry.example.com/team/application:v1.2.3",
                "command": ["/bin/application", "--listen=:8080"],
                "env": (0..8).map(|number| json!({
                    "name": format!("SETTING_{number}"), "value": "x".repeat(filler / 8),
                })).collect::<Vec<_>>(),
                "ports": [{"name": "http", "containerPort": 8080}],
                "resources": {
                    "requests": {"cpu": "100m", "memory": "128Mi"},
                    "limits": {"cpu": "500m", "memory": "256Mi"},
                },
                "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
                "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
            }],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        },
    })
}
