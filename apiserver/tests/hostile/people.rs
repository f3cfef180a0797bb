//! Tokens, impersonation and floods of headers that somebody forged.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};

use super::bench::ISSUER;
use super::case::{Case, JSON, MAPS, Who};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = tokens();
    cases.extend(schemes());
    cases.extend(others());
    cases.extend(floods());
    cases.extend(reviews());
    cases
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token that nobody signed.
fn token(head: &Value, claims: &Value, signature: &str) -> String {
    format!("{}.{}.{signature}", part(head), part(claims))
}

fn bearing(name: &str, token: &str, expected: &str) -> Case {
    Case::get(&format!("token: {name}"), MAPS, expected)
        .by(Who::Stranger)
        .with("authorization", &format!("Bearer {token}"))
}

fn tokens() -> Vec<Case> {
    let no = "401 Unauthorized";
    let account = "system:serviceaccount:kube-system:admin";
    let claims = |issuer: &str, expires: Value| {
        json!({
            "iss": issuer, "sub": account, "aud": [issuer], "exp": expires, "nbf": 0, "iat": 0,
            "kubernetes.io": {
                "namespace": "kube-system", "serviceaccount": {"name": "admin", "uid": "u"},
            },
        })
    };
    let (fine, future) = (json!({"alg": "ES256"}), json!(4_000_000_000_i64));
    let ours = claims(ISSUER, future.clone());
    let signature = URL_SAFE_NO_PAD.encode([1; 64]);
    let headed = |head: Value| token(&head, &ours, &signature);
    let deep: Value =
        serde_json::from_str(&format!("{}{}", "[".repeat(100), "]".repeat(100))).unwrap();
    let tower = format!("{{\"alg\":{}", "[".repeat(10_000));
    let audiences: Vec<String> = (0..500).map(|n| format!("a{n}")).collect();
    let list = vec![
        ("no algorithm", token(&json!({"alg": "none"}), &ours, "")),
        ("no algorithm in capitals", token(&json!({"alg": "NONE"}), &ours, "")),
        ("no algorithm, and a signature", headed(json!({"alg": "none"}))),
        ("an algorithm with a shared key", headed(json!({"alg": "HS256"}))),
        ("another algorithm", headed(json!({"alg": "RS256"}))),
        ("an algorithm that is a number", headed(json!({"alg": 7}))),
        ("an algorithm that is deep", headed(json!({"alg": deep}))),
        ("a head that is a tower", format!("{}.{}.x", URL_SAFE_NO_PAD.encode(tower), part(&ours))),
        ("no head", token(&json!({}), &ours, &signature)),
        ("a head that is a list", token(&json!([]), &ours, &signature)),
        ("an unknown key", headed(json!({"alg": "ES256", "kid": "nope"}))),
        ("a key that is a path", headed(json!({"alg": "ES256", "kid": "../../dev/null"}))),
        ("a key of its own", headed(json!({"alg": "ES256", "jwk": {"kty": "EC"}}))),
        ("a key elsewhere", headed(json!({"alg": "ES256", "jku": "http://127.0.0.1/keys"}))),
        ("something critical", headed(json!({"alg": "ES256", "crit": ["x"]}))),
        ("a wrong signature", token(&fine, &ours, &signature)),
        ("no signature", token(&fine, &ours, "")),
        ("half a signature", token(&fine, &ours, &signature[..20])),
        ("a signature of zeroes", token(&fine, &ours, &URL_SAFE_NO_PAD.encode([0; 64]))),
        ("a signature that is no base64", token(&fine, &ours, "*")),
        ("a long signature", token(&fine, &ours, &"A".repeat(20_000))),
        ("another issuer", token(&fine, &claims("https://evil", future.clone()), &signature)),
        ("no issuer", token(&fine, &claims("", future.clone()), &signature)),
        ("expired", token(&fine, &claims(ISSUER, json!(1)), &signature)),
        ("an end that is a text", token(&fine, &claims(ISSUER, json!("never")), &signature)),
        ("an end beyond all time", token(&fine, &claims(ISSUER, json!(1e300)), &signature)),
        ("claims that are a list", token(&fine, &json!([]), &signature)),
        ("claims that are null", token(&fine, &json!(null), &signature)),
        (
            "five hundred audiences",
            token(&fine, &json!({"iss": ISSUER, "aud": audiences}), &signature),
        ),
        ("no token", "hello".to_owned()),
        ("one point", "a.b".to_owned()),
        ("two points", "..".to_owned()),
        ("three points", "a.b.c.d".to_owned()),
        ("a thousand points", ".".repeat(1_000)),
        ("60,000 letters", "a".repeat(60_000)),
        (
            "60,000 letters and two points",
            format!("{}.{}.a", "a".repeat(30_000), "b".repeat(30_000)),
        ),
        ("base64 with padding", format!("{}=.{}=.{signature}=", part(&fine), part(&ours))),
        ("an encrypted one", "a.b.c.d.e".to_owned()),
        ("spaces inside", "a b c".to_owned()),
    ];
    list.iter().map(|(name, token)| bearing(name, token, no)).collect()
}

/// What is no bearer token is nothing, and whoever sends it a stranger.
fn schemes() -> Vec<Case> {
    let (no, stranger) = ("401 Unauthorized", "403 Forbidden");
    [
        ("", stranger),
        ("Bearer", stranger),
        ("Bearer ", stranger),
        ("Bearer  a", stranger),
        ("bearer a", no),
        ("BEARER a", no),
        ("Basic YWRtaW46YWRtaW4=", stranger),
        ("Negotiate a", stranger),
        ("Bearer\ta", stranger),
        ("a", stranger),
        ("Token a", stranger),
        ("Bearer a, Bearer b", no),
    ]
    .iter()
    .map(|(header, expected)| {
        Case::get(&format!("authorization: {header:?}"), MAPS, expected)
            .by(Who::Stranger)
            .with("authorization", header)
    })
    .collect()
}

/// Asking as somebody else.
fn others() -> Vec<Case> {
    let (bad, no) = ("400 BadRequest", "403 Forbidden");
    let user = |name: &str, expected: &str| {
        let shown: String = name.chars().take(40).collect();
        Case::get(&format!("as: {shown:?}"), MAPS, expected).with("impersonate-user", name)
    };
    let alone = |header: &str, value: &str, expected: &str| {
        Case::get(&format!("as nobody, with {header}"), MAPS, expected).with(header, value)
    };
    let mut many = user("many groups", no);
    for n in 0..2_000 {
        many = many.with("impersonate-group", &format!("group-{n}"));
    }
    let mut extra = user("much more", no);
    for n in 0..1_500 {
        extra = extra.with(&format!("impersonate-extra-key{n}"), "value");
    }
    let by_stranger = |case: Case| Case {
        name: format!("{} (a stranger)", case.name),
        who: Who::Stranger,
        ..case
    };
    vec![
        user("nobody", no),
        user(&"a".repeat(60_000), no),
        user("system:anonymous", no),
        user("system:serviceaccount:", no),
        user("system:serviceaccount:a", no),
        user("system:serviceaccount:a:b:c", no),
        user("system:serviceaccount:../..:x", no),
        user("system:node:", no),
        user("%zz", no),
        user("*", no),
        user("a,b", no),
        many,
        extra,
        user("masters", "200").with("impersonate-group", "system:masters"),
        user("odd key", no).with("impersonate-extra-%zz", "x"),
        user("half a key", no).with("impersonate-extra-%", "x"),
        user("no key", no).with("impersonate-extra-", "x"),
        user("a key with a slash", no).with("impersonate-extra-a%2fb", "x"),
        user("a key with a NUL", no).with("impersonate-extra-%00", "x"),
        user("two users", no).with("impersonate-user", "other"),
        user("an id", no).with("impersonate-uid", "7"),
        user("an empty group", no).with("impersonate-group", ""),
        alone("impersonate-group", "system:masters", bad),
        alone("impersonate-uid", "7", bad),
        alone("impersonate-extra-a", "b", bad),
        alone("impersonate-nope", "x", "200 or 400"),
        by_stranger(user("admin", no)),
        by_stranger(user("a master", no).with("impersonate-group", "system:masters")),
        by_stranger(alone("impersonate-group", "system:masters", "400 or 403")),
        // A front proxy's headers mean nothing from anybody but a front proxy.
        Case::get("a proxy's headers", MAPS, no)
            .by(Who::Stranger)
            .with("x-remote-user", "admin")
            .with("x-remote-group", "system:masters"),
        Case::get("another client's address", MAPS, no)
            .by(Who::Stranger)
            .with("x-forwarded-for", "127.0.0.1")
            .with("x-forwarded-user", "admin"),
    ]
}

/// Headers without end. (How many bytes of them are read is for the listener.)
fn floods() -> Vec<Case> {
    let flood = |name: &str, count: usize, header: &dyn Fn(usize) -> (String, String)| {
        let mut case = Case::get(&format!("headers: {name}"), MAPS, "200");
        case.headers = (0..count).map(header).collect();
        case
    };
    vec![
        flood("5,000 of them", 5_000, &|n| (format!("x-{n}"), "y".to_owned())),
        flood("one 5,000 times", 5_000, &|_| ("x-a".to_owned(), "y".to_owned())),
        flood("a long one", 1, &|_| ("x-a".to_owned(), "y".repeat(60_000))),
        flood("5,000 encodings", 1, &|_| ("accept-encoding".to_owned(), "gzip,".repeat(5_000))),
        flood("an odd audit id", 1, &|_| ("audit-id".to_owned(), "x".repeat(10_000))),
        flood("an odd agent", 1, &|_| ("user-agent".to_owned(), "curl".repeat(10_000))),
        flood("an odd host", 1, &|_| ("host".to_owned(), "../../".to_owned())),
        flood("an odd range", 1, &|_| ("range".to_owned(), "bytes=0-0,1-1".to_owned())),
        flood("an upgrade", 1, &|_| ("upgrade".to_owned(), "SPDY/3.1".to_owned())),
        flood("an expectation", 1, &|_| ("if-none-match".to_owned(), "*".to_owned())),
    ]
}

/// Reviews with nonsense inside.
fn reviews() -> Vec<Case> {
    let ask = |group: &str, resource: &str, spec: Value, expected: &str| {
        let target = format!("/apis/{group}/v1/{resource}");
        let shown: String = spec.to_string().chars().take(60).collect();
        Case::new(&format!("{resource}: {shown}"), Method::POST, &target, expected)
            .sends(JSON, json!({"spec": spec}).to_string())
    };
    let access = |spec: Value, expected: &str| {
        ask("authorization.k8s.io", "subjectaccessreviews", spec, expected)
    };
    let own = |spec: Value, expected: &str| {
        ask("authorization.k8s.io", "selfsubjectaccessreviews", spec, expected)
    };
    let token =
        |spec: Value, expected: &str| ask("authentication.k8s.io", "tokenreviews", spec, expected);
    let groups: Vec<String> = (0..50_000).map(|n| format!("g{n}")).collect();
    let (bad, invalid) = ("400 BadRequest", "422 Invalid");
    vec![
        access(json!({}), invalid),
        access(json!(null), invalid),
        access(json!([]), bad),
        access(json!({"user": 7}), bad),
        access(json!({"user": "a"}), invalid),
        access(json!({"resourceAttributes": {}}), invalid),
        access(json!({"user": "a", "resourceAttributes": {}}), "201"),
        access(
            json!({"user": "a", "groups": groups, "resourceAttributes": {"verb": "get"}}),
            "201",
        ),
        access(
            json!({"user": "a", "resourceAttributes": {}, "nonResourceAttributes": {}}),
            invalid,
        ),
        access(json!({"user": "a".repeat(1 << 20), "resourceAttributes": {}}), "201"),
        own(json!({}), invalid),
        own(json!({"nonResourceAttributes": {"path": "/".repeat(1 << 20)}}), "201"),
        own(json!({"resourceAttributes": {"name": "\0", "namespace": "../.."}}), "201"),
        own(json!({"resourceAttributes": {"fieldSelector": {"rawSelector": "a=="}}}), "201 or 422"),
        own(json!({"resourceAttributes": {"fieldSelector": {"requirements": [{}]}}}), "201 or 422"),
        token(json!({}), bad),
        token(json!({"token": 7}), bad),
        token(json!({"token": "hello"}), "201"),
        token(json!({"token": "a".repeat(1 << 20)}), "201"),
        token(json!({"token": "a", "audiences": groups}), "201"),
        ask("authorization.k8s.io", "selfsubjectrulesreviews", json!({}), bad),
        ask("authorization.k8s.io", "selfsubjectrulesreviews", json!({"namespace": "\0"}), "201"),
    ]
}
