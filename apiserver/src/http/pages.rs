//! Pages that are no resources: health, version, metrics, keys of tokens, the index.

use std::sync::atomic::Ordering;

use axum::response::Response;
use serde_json::{Value, json};

use super::answer;
use super::info::Query;
use crate::server::Server;

/// The version of Kubernetes whose API is served.
pub(crate) const MINOR: &str = "36";

/// What readiness consists of.
const CHECKS: [&str; 3] = ["ping", "store", "policy"];

/// The page of a path, if there is one.
pub(crate) async fn page(server: &Server, path: &str, query: &Query) -> Option<Response> {
    let path = path.strip_suffix('/').unwrap_or(path);
    match path {
        "/version" => Some(json_page(&version())),
        "/metrics" => {
            Some(answer::bytes(200, "text/plain; version=0.0.4; charset=utf-8", metrics(server)))
        }
        "/openid/v1/jwks" => {
            let keys = server.tokens.key_set().to_string();
            Some(answer::bytes(200, "application/jwk-set+json", keys))
        }
        "/.well-known/openid-configuration" => {
            let (address, port) = server.advertised;
            let keys = format!("https://{address}:{port}/openid/v1/jwks");
            Some(json_page(&server.tokens.openid_configuration(&keys)))
        }
        "" => Some(json_page(&json!({"paths": crate::discovery::paths()}))),
        _ => health(server, path, query).await,
    }
}

/// Whether a page is one that can only be read: another method is refused there, where upstream's
/// health and metrics answer any.
pub(crate) fn is_read_only(path: &str) -> bool {
    matches!(path, "/version" | "/openid/v1/jwks" | "/.well-known/openid-configuration")
}

fn json_page(value: &Value) -> Response {
    answer::bytes(200, "application/json", serde_json::to_vec_pretty(value).unwrap_or_default())
}

/// What `kubectl version` shows.
pub(crate) fn version() -> Value {
    json!({
        "major": "1",
        "minor": MINOR,
        "emulationMajor": "1",
        "emulationMinor": MINOR,
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": format!("v1.{MINOR}.0+kstore"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("linux/{}", platform()),
    })
}

fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

async fn health(server: &Server, path: &str, query: &Query) -> Option<Response> {
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let name = parts.next()?;
    if !matches!(name, "healthz" | "livez" | "readyz") {
        return None;
    }
    let only = parts.next();
    if only.is_some_and(|only| !CHECKS.contains(&only)) {
        return None;
    }
    let mut report = String::new();
    let mut failed = Vec::new();
    for check in CHECKS.iter().filter(|check| only.is_none_or(|only| only == **check)) {
        if query.all("exclude").any(|excluded| excluded == *check) {
            report.push_str(&format!("[+]{check} excluded: ok\n"));
        } else if passes(server, name, check).await {
            report.push_str(&format!("[+]{check} ok\n"));
        } else {
            report.push_str(&format!("[-]{check} failed: reason withheld\n"));
            failed.push(*check);
        }
    }
    let plain = "text/plain; charset=utf-8";
    if !failed.is_empty() {
        return Some(answer::bytes(500, plain, format!("{report}{name} check failed\n")));
    }
    if query.all("verbose").next().is_some() {
        return Some(answer::bytes(200, plain, format!("{report}{name} check passed\n")));
    }
    Some(answer::bytes(200, plain, "ok"))
}

async fn passes(server: &Server, page: &str, check: &str) -> bool {
    match check {
        "store" if page != "livez" => server.registry.storage.current_revision().await.is_ok(),
        "policy" if page != "livez" => server.is_ready(),
        _ => true,
    }
}

fn metrics(server: &Server) -> String {
    let requests = &server.requests;
    let rows = [
        ("kstore_apiserver_requests_total", "counter", &requests.answered),
        ("kstore_apiserver_requests_failed_total", "counter", &requests.failed),
        ("kstore_apiserver_reads_in_flight", "gauge", &requests.reading),
        ("kstore_apiserver_writes_in_flight", "gauge", &requests.writing),
        ("kstore_apiserver_watches_begun_in_flight", "gauge", &requests.watching),
    ];
    let mut text = String::new();
    for (name, kind, number) in rows {
        let number = number.load(Ordering::Relaxed);
        text.push_str(&format!("# TYPE {name} {kind}\n{name} {number}\n"));
    }
    text + &requests.by_resource.text()
}
