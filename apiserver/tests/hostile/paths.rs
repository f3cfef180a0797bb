//! Paths with tricks, methods that do not belong, and names that are none.

use http::Method;

use super::case::{Case, MAPS, Who};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = tricks();
    cases.extend(long());
    cases.extend(methods());
    cases.extend(nowhere());
    cases.extend(strangers());
    cases
}

/// Dots, slashes and escapes. No path leads to anything but what authorisation saw.
fn tricks() -> Vec<Case> {
    let (found, none) = ("200", "404");
    let list = [
        ("/api/v1/namespaces/default/configmaps/", found),
        ("/api/v1/namespaces/default/configmaps//", found),
        ("/api/v1/namespaces/default%2fconfigmaps", found),
        ("/api/v1/namespaces%2Fdefault%2Fconfigmaps", found),
        ("/api/v1/namespaces//configmaps", found),
        ("/api/v1/namespaces/A_B/configmaps", found),
        ("/api/v1/namespaces/%20/configmaps", found),
        ("/api//v1/pods", none),
        ("/api/v1//pods", none),
        ("/api/v1/./pods", none),
        ("/api/v1/../v1/pods", none),
        ("/api/v1/namespaces/default/configmaps/../secrets", none),
        ("/api/v1/namespaces/default/configmaps/%2e%2e%2fsecrets", none),
        ("/api/v1/namespaces/default/configmaps/..%2fsecrets", none),
        ("/api/v1/namespaces/default/configmaps/a%2fb", none),
        ("/api/v1/namespaces/default/configmaps/base%2f", found),
        ("/api/v1/namespaces/..%2f..%2f/configmaps", none),
        ("/api/v1/namespaces/../configmaps/base", "400 or 404"),
        ("/api/v1/nodes/a%2f..%2fb", none),
        ("/api/v1/namespaces/default/configmaps/..", "400 BadRequest or 404 NotFound"),
        ("/api/v1/namespaces/default/configmaps/.", "400 BadRequest or 404 NotFound"),
        ("/api/v1/namespaces/default/configmaps/%2e%2e", "400 BadRequest or 404 NotFound"),
        ("/api/v1/namespaces/default/configmaps/%2e", "400 BadRequest or 404 NotFound"),
        ("/api/v1/namespaces/default/configmaps/%252e%252e", "400 or 404"),
        ("/api/v1/namespaces/default/configmaps/a%00b", none),
        ("/api/v1/namespaces/default/configmaps/%00", none),
        ("/api/v1/namespaces/default/configmaps/base%00", none),
        ("/api/v1/namespaces/default/configmaps/%ff%fe", none),
        ("/api/v1/namespaces/default/configmaps/%e2%82", none),
        ("/api/v1/namespaces/default/configmaps/%E2%82%AC", none),
        ("/api/v1/namespaces/default/configmaps/%0a%0d", none),
        ("/api/v1/namespaces/default/configmaps/a;b", none),
        ("/api/v1/namespaces/default/configmaps/a%20b", none),
        ("/api/v1/namespaces/default/configmaps/a+b", none),
        ("/api/v1/namespaces/default/configmaps/a%3Fwatch=1", none),
        ("/api/v1/namespaces/default/configmaps/a%23b", none),
        ("/api/v1/namespaces/default/configmaps/%5c..%5c", none),
        ("/api/v1/namespaces/default/configmaps/BASE", none),
        ("/api/v1/namespaces/DEFAULT/configmaps/base", none),
        ("/API/v1/namespaces/default/configmaps/base", "404"),
        ("/api/V1/namespaces/default/configmaps/base", none),
        ("//api/v1/pods", "404 or 200"),
        ("/healthz/..", "404"),
        ("/healthz/../api", "404"),
        ("/./healthz", "404"),
        ("/%68ealthz", found),
        ("/healthz%2f..", "404"),
        ("/healthz%00", "404"),
        ("/openapi/v3/../../etc/passwd", "404"),
        ("/openapi/v3/apis/..%2f..%2fetc", "404"),
        ("/apis/apps%2fv1", found),
        ("/apis/..", "404"),
        ("/version/..", "404"),
        ("/metrics/..%2f", "404"),
        ("*", "404 or 400"),
    ];
    let mut cases: Vec<Case> = list
        .iter()
        .map(|(target, expected)| Case::get(&format!("path: {target}"), target, expected))
        .collect();
    // Upstream's server refuses these before it looks at them, without a Status.
    for escape in ["%", "%z", "%zz", "%1", "a%", "%%", "%u0041", "%-1"] {
        let target = format!("{MAPS}/{escape}");
        cases.push(Case::get(&format!("path: the escape {escape}"), &target, "400 or 404"));
    }
    cases
}

/// Paths and names that never end.
fn long() -> Vec<Case> {
    let (none, bad) = ("404", "400 BadRequest");
    let long = "a".repeat(60_000);
    let slashes = "/".repeat(60_000);
    let parts = "a/".repeat(30_000);
    let dots = "../".repeat(20_000);
    let escapes = "%2e".repeat(20_000);
    vec![
        Case::get("path: a name of 60,000 letters", &format!("{MAPS}/{long}"), none),
        Case::get(
            "path: a namespace of 60,000 letters",
            &format!("/api/v1/namespaces/{long}/configmaps"),
            "200",
        ),
        Case::get("path: a resource of 60,000 letters", &format!("/api/v1/{long}"), none),
        Case::get("path: a group of 60,000 letters", &format!("/apis/{long}/v1/pods"), "404"),
        Case::get("path: a version of 60,000 letters", &format!("/api/{long}/pods"), "404"),
        Case::get("path: 60,000 slashes", &slashes, "404 or 200"),
        Case::get(
            "path: 60,000 slashes behind a name",
            &format!("{MAPS}/base{slashes}"),
            "404 or 200",
        ),
        Case::get("path: 30,000 parts", &format!("/{parts}"), "404"),
        Case::get("path: 30,000 parts of a resource", &format!("{MAPS}/{parts}"), none),
        Case::get("path: 20,000 ways up", &format!("{MAPS}/{dots}"), none),
        Case::get("path: 20,000 escaped dots", &format!("{MAPS}/{escapes}"), "404"),
        Case::get("path: a long health check", &format!("/healthz/{long}"), "404"),
        Case::get("path: a long query", &format!("{MAPS}?{long}"), "200"),
        Case::get("path: 20,000 parameters", &format!("{MAPS}?{}", "a=b&".repeat(15_000)), "200"),
        Case::get("path: 60,000 ampersands", &format!("{MAPS}?{}", "&".repeat(60_000)), "200"),
        Case::get(
            "path: 30,000 equals signs",
            &format!("{MAPS}?limit={}", "=".repeat(30_000)),
            bad,
        ),
    ]
}

/// Methods that a path does not have.
fn methods() -> Vec<Case> {
    let not_allowed = "405 MethodNotAllowed";
    let one = format!("{MAPS}/base");
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let mut cases = Vec::new();
    let mut add = |method: &str, target: &str, expected: &str| {
        let name = format!("method: {method} {target}");
        cases.push(Case::new(&name, method.parse().unwrap(), target, expected));
    };
    for method in ["OPTIONS", "TRACE", "CONNECT", "FOO", "get", "PROPFIND"] {
        add(method, MAPS, not_allowed);
    }
    for method in ["PUT", "PATCH"] {
        add(method, MAPS, "405 MethodNotAllowed or 400 or 415");
    }
    for method in ["OPTIONS", "TRACE", "FOO", "POST"] {
        add(method, &one, not_allowed);
    }
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        add(method, token, not_allowed);
        add(method, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", not_allowed);
    }
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        add(method, "/api/v1/watch/namespaces/default/configmaps", not_allowed);
        add(method, "/api/v1/watch/namespaces/default/configmaps/base", not_allowed);
        add(method, "/no/such/path", "404");
        add(method, "/apis/no.such.group/v1/things", "404");
    }
    add("DELETE", "/api/v1/namespaces", not_allowed);
    add("POST", "/api/v1/namespaces/default", not_allowed);
    add("PUT", "/api/v1/pods", not_allowed);
    add("POST", "/api/v1/configmaps", not_allowed);
    add("DELETE", "/api/v1/namespaces/default/pods/x/log", not_allowed);
    add("GET", "/api/v1/namespaces/default/pods/x/binding", not_allowed);
    add("GET", "/api/v1/namespaces/default/pods/x/eviction", not_allowed);
    cases
}

/// Groups, versions, resources and parts that are not there.
fn nowhere() -> Vec<Case> {
    [
        ("/api/v2", "404"),
        ("/api/v1beta1/pods", "404"),
        ("/api/v1/pod", "404"),
        ("/api/v1/Pods", "404"),
        ("/api/v1/namespaces/default/Pod/x", "404"),
        ("/apis/apps", "200"),
        ("/apis/apps/v2", "404"),
        ("/apis/apps/v1beta1/deployments", "404"),
        ("/apis/APPS/v1/deployments", "404"),
        ("/apis/core/v1/pods", "404"),
        ("/apis//v1/pods", "404 or 200"),
        ("/apis/apps/v1/pods", "404"),
        ("/api/v1/deployments", "404"),
        ("/api/v1/namespaces/default/nodes", "404"),
        ("/api/v1/namespaces/default/nodes/x", "404"),
        ("/api/v1/namespaces/default/namespaces/x", "404"),
        ("/api/v1/namespaces/default/configmaps/base/status", "404"),
        ("/api/v1/namespaces/default/configmaps/base/scale", "404"),
        ("/api/v1/namespaces/default/configmaps/base/a/b/c", "404"),
        ("/api/v1/namespaces/default/pods/x/nope", "404"),
        ("/api/v1/namespaces/default/pods/x/status/more", "404"),
        ("/api/v1/namespaces/default/pods/x/log/more", "404"),
        ("/api/v1/namespaces/default/finalize/x", "404"),
        ("/api/v1/namespaces/default/status", "200"),
        ("/apis/apps/v1/namespaces/default/deployments/base/scale/x", "404"),
        ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "404"),
        ("/api/v1/proxy/nodes/x", "404 or 405"),
        ("/api/v1/proxy/namespaces/default/pods/x", "404 or 405"),
        ("/healthz/nope", "404"),
        ("/readyz/nope", "404"),
        ("/livez/ping/more", "404"),
        ("/openapi/v3/api/v9", "404"),
        ("/openapi/v4", "404"),
        ("/swagger.json", "404"),
        ("/ui", "404"),
        ("/favicon.ico", "404"),
        ("/.git/config", "404"),
        ("/.well-known/nope", "404"),
    ]
    .iter()
    .map(|(target, expected)| Case::get(&format!("nowhere: {target}"), target, expected))
    .collect()
}

/// A stranger gets nowhere by writing a path differently.
fn strangers() -> Vec<Case> {
    [
        "/api/v1/namespaces/default/secrets",
        "/api/v1/namespaces/default%2fsecrets",
        "/api/v1/namespaces//secrets",
        "/healthz/../api/v1/secrets",
        "/healthz%2f..%2fapi/v1/secrets",
        "/version/../api/v1/secrets",
        "/livez/..;/api/v1/secrets",
        "/api/v1/../../healthz",
        "/api/v1/watch/secrets",
        "/healthz?x=/../api",
        "//healthz",
        "/healthz//",
        "/HEALTHZ",
        "/readyz%00",
        "/api/v1/secrets?fieldSelector=metadata.name%3Dhealthz",
        "/apis",
        "/openapi/v3",
        "/metrics",
    ]
    .iter()
    .map(|target| {
        let expected = if *target == "/healthz?x=/../api" { "200" } else { "403 Forbidden" };
        let name = format!("stranger: {target}");
        Case::new(&name, Method::GET, target, expected).by(Who::Stranger)
    })
    .collect()
}
