//! Every route passes the authorisation stage: whoever may not is told so before anything else
//! happens, and what he is told names the same verb, resource and namespace that upstream names.
//!
//! `data/routes.txt` is what a stock kube-apiserver of the served version answers to somebody who
//! is authenticated and has no rights, and to somebody who is not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "hostile/bench.rs"]
mod bench;
#[path = "support/memory.rs"]
mod memory;

use std::collections::BTreeSet;

use axum::body::Body;
use bench::{Answered, Bench, admin, person};
use http::{Method, Request};
use kstore_apiserver::auth::authentication::PeerUser;
use serde_json::Value;

const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// Paths that are no resources, and paths that are nothing.
const OTHERS: [&str; 40] = [
    "/",
    "/api",
    "/api/",
    "/api/v1",
    "/api/v9",
    "/apis",
    "/apis/",
    "/apis/apps",
    "/apis/apps/",
    "/apis/apps/v1",
    "/apis/apps/v1/",
    "/apis/no.such.group",
    "/apis/no.such.group/v1",
    "/openapi",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/api/v1",
    "/openapi/v3/apis/apps/v1",
    "/version",
    "/version/",
    "/version/more",
    "/healthz",
    "/healthz/ping",
    "/livez",
    "/livez/ping",
    "/readyz",
    "/readyz/ping",
    "/metrics",
    "/metrics/more",
    "/logs",
    "/debug/pprof",
    "/openid/v1/jwks",
    "/.well-known/openid-configuration",
    "/no/such/path",
    "/apiv1",
    "/API/v1/pods",
    "/api/v1/no-such-resources",
    "/api/v1/namespaces/a/no-such-resources/x/y/z",
    "/apis/no.such.group/v1/namespaces/a/things/x",
    "/apis/apps/v9/deployments",
];

/// Requests whose attributes are not plain to see.
const PECULIAR: [(&str, &str); 24] = [
    ("GET", "/api/v1/watch/pods"),
    ("GET", "/api/v1/watch/namespaces/a/pods"),
    ("GET", "/api/v1/watch/namespaces/a/pods/x"),
    ("GET", "/apis/apps/v1/watch/namespaces/a/deployments"),
    ("GET", "/api/v1/namespaces/a/pods?watch"),
    ("GET", "/api/v1/namespaces/a/pods?watch=false"),
    ("GET", "/api/v1/namespaces/a/pods?watch=0"),
    ("GET", "/api/v1/namespaces/a/pods?watch=yes"),
    ("GET", "/api/v1/namespaces/a/pods/x?watch=true"),
    ("GET", "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dx"),
    ("GET", "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dx&watch=1"),
    ("GET", "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dx%2Fy"),
    ("DELETE", "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dx"),
    ("GET", "/api/v1/namespaces"),
    ("GET", "/api/v1/namespaces/a"),
    ("PUT", "/api/v1/namespaces/a/finalize"),
    ("PATCH", "/api/v1/namespaces/a/status"),
    ("GET", "/api/v1/namespaces/a/pods/x/proxy/some/path"),
    ("POST", "/api/v1/namespaces/a/pods/x/exec?command=ls"),
    ("GET", "/api/v1/namespaces/a/pods/x/exec?command=ls"),
    ("GET", "/api/v1/proxy/namespaces/a/pods/x"),
    ("GET", "/api/v1/nodes/n/proxy/logs"),
    ("POST", "/api/v1/namespaces/a/bindings"),
    ("HEAD", "/api/v1/namespaces/a/pods/x"),
];

fn request(method: &Method, target: &str) -> Request<Body> {
    Request::builder().method(method).uri(target).body(Body::empty()).unwrap()
}

/// Methods and paths of everything that discovery names, in namespace `a` and with the name `x`.
async fn routes(bench: &Bench) -> BTreeSet<(String, String)> {
    let mut routes = BTreeSet::new();
    for base in bases(bench).await {
        let list = bench.ask(Some(&admin()), request(&Method::GET, &base)).await.json();
        for resource in list["resources"].as_array().unwrap() {
            add_resource(&mut routes, &base, resource);
        }
    }
    assert!(routes.len() > 250, "discovery names more than {} routes", routes.len());
    routes
}

/// The paths of all groups and versions.
async fn bases(bench: &Bench) -> Vec<String> {
    let groups = bench.ask(Some(&admin()), request(&Method::GET, "/apis")).await.json();
    let mut bases = vec!["/api/v1".to_owned()];
    for group in groups["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            bases.push(format!("/apis/{}", version["groupVersion"].as_str().unwrap()));
        }
    }
    bases
}

fn add_resource(routes: &mut BTreeSet<(String, String)>, base: &str, resource: &Value) {
    let (name, part) = match resource["name"].as_str().unwrap().split_once('/') {
        Some((name, part)) => (name, format!("/{part}")),
        None => (resource["name"].as_str().unwrap(), String::new()),
    };
    let namespaced = resource["namespaced"] == true;
    let many =
        if namespaced { format!("{base}/namespaces/a/{name}") } else { format!("{base}/{name}") };
    let one = format!("{many}/x{part}");
    for verb in resource["verbs"].as_array().unwrap() {
        let (method, path) = match verb.as_str().unwrap() {
            "create" if part.is_empty() => ("POST", many.clone()),
            "create" => ("POST", one.clone()),
            "get" => ("GET", one.clone()),
            "update" => ("PUT", one.clone()),
            "patch" => ("PATCH", one.clone()),
            "delete" => ("DELETE", one.clone()),
            "deletecollection" => ("DELETE", many.clone()),
            "list" => ("GET", many.clone()),
            "watch" => ("GET", format!("{many}?watch=1")),
            other => panic!("discovery names the verb {other}"),
        };
        if method == "GET" && namespaced && path.starts_with(&many) && !path.starts_with(&one) {
            routes.insert((method.to_owned(), path.replace("/namespaces/a", "")));
        }
        routes.insert((method.to_owned(), path));
    }
}

/// One line of what a stock server answered.
struct Told {
    method: Method,
    target: String,
    /// Somebody who is authenticated is told this; empty if he may.
    somebody: String,
    /// And a stranger this; `same` if it is the same but for the name.
    stranger: String,
}

fn told() -> Vec<Told> {
    let lines = include_str!("data/routes.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let parts: Vec<&str> = line.split('\t').collect();
            let [method, target, somebody, stranger] = parts.as_slice() else {
                panic!("four parts: {line}")
            };
            Told {
                method: method.parse().unwrap(),
                target: (*target).to_owned(),
                somebody: (*somebody).to_owned(),
                stranger: match *stranger {
                    "same" => somebody.replacen("\"nobody\"", "\"system:anonymous\"", 1),
                    other => other.to_owned(),
                },
            }
        })
        .collect()
}

fn check_told(wanted: &str, answered: &Answered, route: &str) -> Result<(), String> {
    // A HEAD has no body that could say anything.
    if route.starts_with("HEAD") {
        let refused = answered.code == 403;
        return if refused != wanted.is_empty() { Ok(()) } else { Err(route.to_owned()) };
    }
    let status = answered.json();
    let message = status["message"].as_str().unwrap_or("");
    match (answered.code, wanted) {
        (403, _) if status["reason"] != "Forbidden" => Err(format!("{route}: {status}")),
        (403, wanted) if wanted == message => Ok(()),
        (code, "") if code != 403 => Ok(()),
        (code, _) => Err(format!("{route}: {code} {message}\n    instead of {wanted}")),
    }
}

#[tokio::test]
async fn whoever_may_not_is_told_what_upstream_tells_him_on_every_route() {
    let bench = Bench::new().await;
    let somebody = person("nobody", &["system:authenticated"]);
    let mut wrong = Vec::new();
    for told in told() {
        let route = format!("{} {}", told.method, told.target);
        let answered = bench.ask(Some(&somebody), request(&told.method, &told.target)).await;
        wrong.extend(check_told(&told.somebody, &answered, &route).err());
        let answered = bench.ask(None, request(&told.method, &told.target)).await;
        let route = format!("{route} (a stranger)");
        wrong.extend(check_told(&told.stranger, &answered, &route).err());
    }
    assert!(wrong.is_empty(), "{} routes differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_upstream_was_asked_covers_every_route_of_discovery() {
    let bench = Bench::new().await;
    let known: BTreeSet<(String, String)> =
        told().into_iter().map(|told| (told.method.to_string(), told.target)).collect();
    let mut all = routes(&bench).await;
    all.extend(OTHERS.iter().map(|path| ("GET".to_owned(), (*path).to_owned())));
    let owned = |(method, target): &(&str, &str)| ((*method).to_owned(), (*target).to_owned());
    all.extend(PECULIAR.iter().map(owned));
    let missing: Vec<String> =
        all.difference(&known).map(|(method, target)| format!("{method}\t{target}")).collect();
    assert!(missing.is_empty(), "ask a stock server for\n{}", missing.join("\n"));
}

/// Every method at every path that is known, and at some that are not.
async fn everything(bench: &Bench) -> Vec<(Method, String)> {
    let mut targets: BTreeSet<String> =
        routes(bench).await.into_iter().map(|(_, target)| target).collect();
    targets.extend(OTHERS.iter().map(|path| (*path).to_owned()));
    targets.extend(PECULIAR.iter().map(|(_, target)| (*target).to_owned()));
    let each = targets.into_iter();
    each.flat_map(|target| METHODS.map(|method| (method, target.clone()))).collect()
}

async fn refused_everywhere(who: Option<&PeerUser>, public: impl Fn(&Method, &str) -> bool) {
    let bench = Bench::new().await;
    let all = everything(&bench).await;
    let before = bench.store.asked();
    let mut wrong = Vec::new();
    for (method, target) in all {
        if public(&method, &target) {
            continue;
        }
        let answered = bench.ask(who, request(&method, &target)).await;
        if answered.code != 403 {
            wrong.push(format!("{method} {target}: {}", answered.code));
        }
    }
    assert!(wrong.is_empty(), "{} routes let him in:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(bench.store.asked(), before, "nothing that was refused reached the store");
}

#[tokio::test]
async fn somebody_without_any_rights_gets_nowhere_and_never_reaches_the_store() {
    refused_everywhere(Some(&person("nobody", &[])), |_, _| false).await;
}

#[tokio::test]
async fn a_stranger_sees_health_and_version_and_nothing_else() {
    // What the role system:public-info-viewer names, and nothing below those paths.
    let public = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    refused_everywhere(None, |method, target| *method == Method::GET && public.contains(&target))
        .await;
    let bench = Bench::new().await;
    for path in public {
        assert_eq!(bench.ask(None, request(&Method::GET, path)).await.code, 200, "{path}");
    }
}
