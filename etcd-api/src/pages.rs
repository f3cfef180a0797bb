//! The pages of the client port: health for probes, the version, the metrics.
//!
//! ```text
//!   /health                 {"health":"true","reason":""}, or 503; ?exclude=ALARM ?serializable
//!   /livez  /livez/CHECK    ok, or 503 and what failed; ?verbose ?exclude=CHECK
//!   /readyz /readyz/CHECK   the same with more checks
//!   /version  /metrics
//! ```

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use kstore_machine::command::{self, AlarmKind};
use kstore_raft::Role;
use tokio::time::timeout;
use tonic::body::Body;

use crate::api::Api;
use crate::version;

/// How long a check may take (etcd's bound for a request without a deadline of its own).
const CHECK_LIMIT: Duration = Duration::from_secs(5);

/// One thing that can be right or wrong with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    const LIVE: [Self; 1] = [Self::SerializableRead];
    const READY: [Self; 4] =
        [Self::DataCorruption, Self::SerializableRead, Self::LinearizableRead, Self::NonLearner];

    fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
        }
    }

    /// What is wrong, if anything is.
    async fn run(self, api: &Api) -> Result<(), String> {
        match self {
            Self::DataCorruption => {
                let alarms = api.alarms().await.map_err(|status| status.message().to_owned())?;
                match alarms.iter().any(|alarm| alarm.alarm == AlarmKind::Corrupt) {
                    true => Err("alarm activated: CORRUPT".to_owned()),
                    false => Ok(()),
                }
            }
            Self::SerializableRead => read(api, false).await,
            Self::LinearizableRead => read(api, true).await,
            Self::NonLearner => match api.member().status().role {
                Role::Learner => Err("not a voting member".to_owned()),
                _ => Ok(()),
            },
        }
    }
}

/// Reads a key that need not exist, as a client would.
async fn read(api: &Api, linearizable: bool) -> Result<(), String> {
    let attempt = async {
        if linearizable {
            api.read_barrier().await?;
        }
        let range = command::Range { key: Bytes::from_static(b"a"), ..command::Range::default() };
        api.read_range(api.member().snapshot(), range).await
    };
    match timeout(CHECK_LIMIT, attempt).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) => Err(status.message().to_owned()),
        Err(_) => Err("context deadline exceeded".to_owned()),
    }
}

/// Answers a request that is not gRPC.
pub(crate) async fn answer<B>(api: &Api, request: &Request<B>) -> Response<Body> {
    let path = request.uri().path();
    let query = Query(request.uri().query().unwrap_or(""));
    let checks = |root: &str| match path.strip_prefix(root) {
        Some("" | "/") => Some(None),
        Some(rest) => rest.strip_prefix('/').map(Some),
        None => None,
    };
    if !is_page(path) {
        return text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned());
    }
    if request.method() != Method::GET {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n".to_owned());
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        return refused;
    }
    if let Some(only) = checks("/livez") {
        return run_checks(api, &Check::LIVE, only, query).await;
    }
    if let Some(only) = checks("/readyz") {
        return run_checks(api, &Check::READY, only, query).await;
    }
    match path {
        "/health" => health(api, query).await,
        "/metrics" => metrics(api),
        _ => json(
            StatusCode::OK,
            format!(
                r#"{{"etcdserver":"{}","etcdcluster":"{}","storage":"{}"}}"#,
                version::SERVER,
                version::CLUSTER,
                version::STORAGE
            ),
        ),
    }
}

fn is_page(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or("");
    match first {
        "livez" | "readyz" => true,
        "health" | "version" | "metrics" => path.len() == first.len() + 1,
        _ => false,
    }
}

/// The part of a URL behind the question mark. Names and values that pages know need no decoding.
#[derive(Debug, Clone, Copy)]
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn values(self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.0.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(move |(key, _)| *key == name).map(|(_, value)| value)
    }

    fn has(self, name: &'a str) -> bool {
        self.values(name).next().is_some()
    }
}

async fn health(api: &Api, query: Query<'_>) -> Response<Body> {
    let reason = match sickness(api, query).await {
        None => return json(StatusCode::OK, r#"{"health":"true","reason":""}"#.to_owned()),
        Some(reason) => serde_json::Value::from(reason),
    };
    let body = format!(r#"{{"health":"false","reason":{reason}}}"#);
    json(StatusCode::SERVICE_UNAVAILABLE, body)
}

async fn sickness(api: &Api, query: Query<'_>) -> Option<String> {
    let alarms = match api.alarms().await {
        Ok(alarms) => alarms,
        Err(status) => return Some(format!("RANGE ERROR:{}", status.message())),
    };
    for alarm in alarms {
        let name = match alarm.alarm {
            AlarmKind::None => continue,
            AlarmKind::NoSpace => "NOSPACE",
            AlarmKind::Corrupt => "CORRUPT",
        };
        if !query.values("exclude").any(|excluded| excluded == name) {
            return Some(format!("ALARM {name}"));
        }
    }
    let serializable = query.values("serializable").any(|value| value == "true");
    if !serializable && !api.pulse().has_leader() {
        return Some("RAFT NO LEADER".to_owned());
    }
    read(api, !serializable).await.err().map(|why| format!("RANGE ERROR:{why}"))
}

async fn run_checks(
    api: &Api,
    checks: &[Check],
    only: Option<&str>,
    query: Query<'_>,
) -> Response<Body> {
    if only.is_some_and(|only| !checks.iter().any(|check| check.name() == only)) {
        return text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned());
    }
    let mut healthy = true;
    let mut report = String::new();
    for check in checks.iter().filter(|check| only.is_none_or(|only| check.name() == only)) {
        let name = check.name();
        if query.values("exclude").any(|excluded| excluded == name) {
            report.push_str(&format!("[+]{name} excluded: ok\n"));
            continue;
        }
        match check.run(api).await {
            Ok(()) => report.push_str(&format!("[+]{name} ok\n")),
            Err(why) => {
                healthy = false;
                report.push_str(&format!("[-]{name} failed: {why}\n"));
            }
        }
    }
    match healthy {
        false => text(StatusCode::SERVICE_UNAVAILABLE, report),
        true if query.has("verbose") => text(StatusCode::OK, report + "ok\n"),
        true => text(StatusCode::OK, "ok\n".to_owned()),
    }
}

/// The metrics alone, for a listener that serves nothing else.
pub(crate) fn metrics(api: &Api) -> Response<Body> {
    let body = crate::metrics::render(api);
    page(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body)
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    page(status, "text/plain; charset=utf-8", body)
}

fn json(status: StatusCode, body: String) -> Response<Body> {
    page(status, "application/json", body)
}

fn page(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(body))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_with_and_without_values() {
        let query = Query("verbose&exclude=a&exclude=b&x=");
        assert!(query.has("verbose") && query.has("x") && !query.has("y"));
        assert_eq!(query.values("exclude").collect::<Vec<_>>(), ["a", "b"]);
        assert!(!Query("").has(""));
    }

    #[test]
    fn only_known_paths_are_pages() {
        for path in ["/health", "/version", "/metrics", "/livez", "/readyz/non_learner"] {
            assert!(is_page(path), "{path}");
        }
        for path in ["/", "/healthy", "/health/x", "/v3/kv/put", "//health"] {
            assert!(!is_page(path), "{path}");
        }
    }
}
