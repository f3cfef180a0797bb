//! Who asks: tokens, fixed tokens, nobody, and asking as somebody else.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kstore_apiserver::auth::authentication::{
    Anonymous, DEFAULT_ISSUER, Tokens, authenticate, bearer,
};
use kstore_apiserver::auth::lookup::{Model, core};
use kstore_apiserver::auth::review::{
    Scope, access_question, exact_fields, review_token, user_info,
};
use kstore_apiserver::auth::token::{Claims, sign, verify};
use kstore_apiserver::auth::token_request::{TokenQuestion, answer};
use kstore_apiserver::auth::{User, split_service_account};
use kstore_apiserver::object::{self, Object};
use kstore_apiserver::pki::SigningKey;
use serde_json::{Value, json};

const NOW: i64 = 1_795_278_645;

fn object(value: Value) -> Object {
    value.as_object().unwrap().clone()
}

fn key() -> SigningKey {
    SigningKey::from_pem(&SigningKey::generate().unwrap()).unwrap()
}

fn world() -> Model {
    let mut world = Model::default();
    let named = |name: &str, namespace: &str, uid: &str| {
        object(json!({"metadata": {"name": name, "namespace": namespace, "uid": uid}}))
    };
    world.put(core("serviceaccounts"), named("sa", "ns", "u-sa"));
    world.put(core("secrets"), named("sec", "ns", "u-sec"));
    world.put(core("nodes"), named("n1", "", "u-n1"));
    let mut pod = named("p", "ns", "u-p");
    object::set(&mut pod, &["spec", "serviceAccountName"], "sa");
    object::set(&mut pod, &["spec", "nodeName"], "n1");
    world.put(core("pods"), pod);
    world
}

/// Asks for a token of `ns/sa` with this spec.
async fn ask(tokens: &Tokens, world: &Model, spec: Value) -> Result<Object, String> {
    let body = object(json!({"spec": spec}));
    let question =
        TokenQuestion { namespace: "ns", name: "sa", body: &body, now: NOW, id: "the-id" };
    answer(tokens, &question, world)
        .await
        .map(|answer| answer.object)
        .map_err(|status| format!("{} {}", status.code, status.message))
}

fn token_of(answer: &Object) -> String {
    object::text(answer, &["status", "token"]).to_owned()
}

async fn know(tokens: &Tokens, world: &Model, token: &str, now: i64) -> Result<User, String> {
    tokens.know(token, &[], now, world).await.map(|known| known.user).map_err(|why| why.message())
}

fn claims_of(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn a_token_says_who_its_bearer_is_in_upstreams_words() {
    let tokens = Tokens::new(DEFAULT_ISSUER, key(), Vec::new());
    let answer = ask(&tokens, &world(), json!({})).await.unwrap();
    assert_eq!(
        claims_of(&token_of(&answer)).to_string(),
        format!(
            "{{\"aud\":[\"{DEFAULT_ISSUER}\"],\"exp\":{},\"iat\":{NOW},\"iss\":\"{DEFAULT_ISSUER}\",\
             \"jti\":\"the-id\",\"kubernetes.io\":{{\"namespace\":\"ns\",\"serviceaccount\":\
             {{\"name\":\"sa\",\"uid\":\"u-sa\"}}}},\"nbf\":{NOW},\
             \"sub\":\"system:serviceaccount:ns:sa\"}}",
            NOW + 3_600
        )
    );
    assert_eq!(object::text(&answer, &["kind"]), "TokenRequest");
    assert_eq!(object::text(&answer, &["status", "expirationTimestamp"]), "2026-11-21T17:30:45Z");
    let user = know(&tokens, &world(), &token_of(&answer), NOW).await.unwrap();
    assert_eq!(
        user_info(&user),
        json!({
            "username": "system:serviceaccount:ns:sa", "uid": "u-sa",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:ns",
                       "system:authenticated"],
            "extra": {"authentication.kubernetes.io/credential-id": ["JTI=the-id"]},
        })
    );
}

#[tokio::test]
async fn a_token_of_a_pod_names_pod_and_node_and_ends_with_the_pod() {
    let tokens = Tokens::new(DEFAULT_ISSUER, key(), Vec::new());
    let mut world = world();
    let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "u-p"});
    let spec = json!({"expirationSeconds": 3607, "boundObjectRef": bound});
    let answer = ask(&tokens, &world, spec).await.unwrap();
    let token = token_of(&answer);
    let claims = claims_of(&token);
    assert_eq!(claims["exp"], NOW + 365 * 86_400);
    assert_eq!(claims["kubernetes.io"]["warnafter"], NOW + 3_607);
    let user = know(&tokens, &world, &token, NOW).await.unwrap();
    for (key, value) in
        [("pod-name", "p"), ("pod-uid", "u-p"), ("node-name", "n1"), ("node-uid", "u-n1")]
    {
        assert_eq!(user.extra(&format!("authentication.kubernetes.io/{key}")), [value]);
    }
    // A pod that is being deleted still may, until its time is over.
    let mut pod = object(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u-p",
        "deletionTimestamp": "2026-11-21T16:30:30Z"}}));
    world.put(core("pods"), pod.clone());
    assert!(know(&tokens, &world, &token, NOW).await.is_ok());
    let refused = know(&tokens, &world, &token, NOW + 60).await.unwrap_err();
    let invalidated = "[invalid bearer token, service account token has been invalidated]";
    assert_eq!(refused, invalidated);
    object::remove(&mut pod, &["metadata", "deletionTimestamp"]);
    object::set(&mut pod, &["metadata", "uid"], "another");
    world.put(core("pods"), pod);
    assert_eq!(
        know(&tokens, &world, &token, NOW).await.unwrap_err(),
        "[invalid bearer token, Pod UID (another) does not match service account pod ref claim \
         (u-p)]"
    );
    world.remove(core("pods"), "ns", "p");
    assert_eq!(know(&tokens, &world, &token, NOW).await.unwrap_err(), invalidated);
}

#[tokio::test]
async fn a_token_ends_with_its_account_its_secret_its_node_and_its_time() {
    let tokens = Tokens::new(DEFAULT_ISSUER, key(), Vec::new());
    for (kind, resource, namespace, name) in
        [("Secret", "secrets", "ns", "sec"), ("Node", "nodes", "", "n1")]
    {
        let mut world = world();
        let bound = json!({"boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": name}});
        let token = token_of(&ask(&tokens, &world, bound).await.unwrap());
        assert!(know(&tokens, &world, &token, NOW).await.is_ok());
        world.remove(core(resource), namespace, name);
        assert!(know(&tokens, &world, &token, NOW).await.is_err(), "{kind}");
    }
    let mut world = world();
    let token = token_of(&ask(&tokens, &world, json!({})).await.unwrap());
    assert!(know(&tokens, &world, &token, NOW + 3_660).await.is_ok());
    for (now, why) in [
        (NOW + 3_661, "service account token has expired"),
        (NOW - 61, "service account token is not valid yet"),
    ] {
        let refused = know(&tokens, &world, &token, now).await.unwrap_err();
        assert_eq!(refused, format!("[invalid bearer token, {why}]"));
    }
    let again = object(json!({"metadata": {"name": "sa", "namespace": "ns", "uid": "new"}}));
    world.put(core("serviceaccounts"), again);
    assert_eq!(
        know(&tokens, &world, &token, NOW).await.unwrap_err(),
        "[invalid bearer token, service account UID (new) does not match claim (u-sa)]"
    );
}

#[tokio::test]
async fn requests_for_tokens_are_refused_in_upstreams_words() {
    let tokens = Tokens::new(DEFAULT_ISSUER, key(), Vec::new());
    let mut world = world();
    world.put(
        core("pods"),
        object(json!({"metadata": {"name": "q", "namespace": "ns", "uid": "u"},
                      "spec": {"serviceAccountName": "other"}})),
    );
    let bound = |kind: &str, name: &str, uid: &str| json!({"boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": name, "uid": uid}});
    let cases = [
        (
            json!({"expirationSeconds": 300}),
            "422 TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid \
          value: 300: may not specify a duration less than 10 minutes",
        ),
        (
            json!({"expirationSeconds": 1_i64 << 33}),
            "422 TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid \
          value: 8589934592: may not specify a duration larger than 2^32 seconds",
        ),
        (bound("Pod", "x", ""), "404 pods \"x\" not found"),
        (
            bound("Pod", "q", ""),
            "400 cannot bind token for serviceaccount \"sa\" to pod running with different \
          serviceaccount name.",
        ),
        (
            bound("ConfigMap", "x", ""),
            "400 cannot bind token to object of type /v1, Kind=ConfigMap",
        ),
        (
            bound("Secret", "sec", "old"),
            "409 Operation cannot be fulfilled on Secret \"sec\": the UID in the bound object \
          reference (old) does not match the UID in record. The object might have been deleted and \
          then recreated",
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(ask(&tokens, &world, spec.clone()).await.unwrap_err(), expected, "{spec}");
    }
    world.remove(core("serviceaccounts"), "ns", "sa");
    assert_eq!(
        ask(&tokens, &world, json!({})).await.unwrap_err(),
        "404 serviceaccounts \"sa\" not found"
    );
}

#[tokio::test]
async fn a_longest_life_shortens_and_warns() {
    let mut tokens = Tokens::new(DEFAULT_ISSUER, key(), Vec::new());
    tokens.longest = Some(1_000);
    let body = object(json!({"spec": {"expirationSeconds": 5_000}}));
    let question = TokenQuestion { namespace: "ns", name: "sa", body: &body, now: NOW, id: "i" };
    let answer = answer(&tokens, &question, &world()).await.unwrap();
    assert_eq!(claims_of(&token_of(&answer.object))["exp"], NOW + 1_000);
    assert_eq!(answer.warnings, ["requested expiration of 5000 seconds shortened to 1000 seconds"]);
}

#[tokio::test]
async fn keys_rotate_and_strangers_tokens_are_nobodys() {
    let old = key();
    let before = Tokens::new(DEFAULT_ISSUER, key(), Vec::new());
    let world = world();
    let token = token_of(&ask(&before, &world, json!({})).await.unwrap());
    let after = Tokens::new(DEFAULT_ISSUER, key(), before.keys.clone());
    assert!(know(&after, &world, &token, NOW).await.is_ok());
    let stranger = Tokens::new(DEFAULT_ISSUER, old, Vec::new());
    assert_eq!(
        know(&stranger, &world, &token, NOW).await.unwrap_err(),
        "[invalid bearer token, invalid signature, no keys found]"
    );
    let elsewhere = Tokens::new("https://elsewhere", key(), before.keys.clone());
    assert_eq!(know(&elsewhere, &world, &token, NOW).await.unwrap_err(), "invalid bearer token");
    assert_eq!(after.key_set()["keys"].as_array().unwrap().len(), 2);
    assert_eq!(
        after.openid_configuration("https://a/openid/v1/jwks"),
        json!({
            "issuer": DEFAULT_ISSUER, "jwks_uri": "https://a/openid/v1/jwks",
            "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    );
}

#[test]
fn what_is_tampered_with_is_refused() {
    let key = key();
    let claims = Claims { issuer: "i".to_owned(), namespace: "ns".to_owned(), ..Claims::default() };
    let token = sign(&claims, &key).unwrap();
    let issuers = ["i".to_owned()];
    let keys = [key.public().clone()];
    assert!(verify(&token, &issuers, &keys).is_ok());
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (head, body) = message.split_once('.').unwrap();
    let mut other = claims_of(&token);
    other["kubernetes.io"]["namespace"] = "kube-system".into();
    let none = encode(&json!({"alg": "none", "kid": key.public().id()}));
    let rsa = encode(&json!({"alg": "RS256", "kid": key.public().id()}));
    let hmac = encode(&json!({"alg": "HS256"}));
    let critical = encode(&json!({"alg": "ES256", "crit": ["b64"]}));
    for wrong in [
        format!("{head}.{}.{signature}", encode(&other)),
        format!("{none}.{body}."),
        format!("{none}.{body}.{signature}"),
        format!("{rsa}.{body}.{signature}"),
        format!("{hmac}.{body}.{signature}"),
        format!("{critical}.{body}.{signature}"),
        format!("{head}.{body}"),
        format!("{head}.{body}.{signature}.{signature}"),
        format!("{head}.{body}.{}", &signature[..40]),
        String::new(),
        "a.b.c".to_owned(),
        "a".repeat(100_000),
        format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode("[".repeat(5_000))),
    ] {
        assert!(verify(&wrong, &issuers, &keys).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn a_wrong_token_is_never_anonymous() {
    let mut tokens = Tokens::new(DEFAULT_ISSUER, key(), Vec::new());
    tokens.add_fixed("secret", User { name: "fixed".to_owned(), ..User::default() });
    let world = world();
    let ask = async |header: Option<&str>, anonymous| {
        authenticate(None, header, anonymous, &tokens, NOW, &world)
            .await
            .map(|user| user.name)
            .map_err(|status| status.code)
    };
    assert_eq!(ask(None, Anonymous::Allowed).await, Ok("system:anonymous".to_owned()));
    assert_eq!(ask(None, Anonymous::Refused).await, Err(401));
    assert_eq!(ask(Some("Bearer secret"), Anonymous::Allowed).await, Ok("fixed".to_owned()));
    assert_eq!(ask(Some("Bearer wrong"), Anonymous::Allowed).await, Err(401));
    assert_eq!(ask(Some("Basic wrong"), Anonymous::Allowed).await.unwrap(), "system:anonymous");
    assert_eq!(bearer("bearer  x"), None);
    assert_eq!(bearer(" BEARER x "), Some("x"));
}

#[tokio::test]
async fn a_token_review_tells_whose_a_token_is_or_what_is_wrong() {
    let tokens = Tokens::new(DEFAULT_ISSUER, key(), Vec::new());
    let world = world();
    let token = token_of(&ask(&tokens, &world, json!({})).await.unwrap());
    let review = async |spec: Value| {
        let body = object(json!({"kind": "TokenReview", "spec": spec}));
        review_token(&tokens, &body, NOW, &world)
            .await
            .map(|answer| answer["status"].clone())
            .map_err(|status| status.message)
    };
    let status = review(json!({"token": token})).await.unwrap();
    assert_eq!(status["authenticated"], true);
    assert_eq!(status["audiences"], json!([DEFAULT_ISSUER]));
    assert_eq!(
        review(json!({"token": "abc"})).await.unwrap(),
        json!({"user": {}, "error": "invalid bearer token"})
    );
    assert_eq!(
        review(json!({"token": token, "audiences": ["foo"]})).await.unwrap()["error"],
        format!(
            "[invalid bearer token, token audiences [\"{DEFAULT_ISSUER}\"] is invalid for the \
             target audiences [\"foo\"]]"
        )
    );
    assert_eq!(
        review(json!({})).await.unwrap_err(),
        "token is required for TokenReview in authentication"
    );
}

#[test]
fn names_of_service_accounts_are_read_strictly() {
    assert_eq!(split_service_account("system:serviceaccount:ns:a.b"), Some(("ns", "a.b")));
    for wrong in
        ["system:serviceaccount:ns", "system:serviceaccount::a", "system:serviceaccount:a:b:c", "x"]
    {
        assert_eq!(split_service_account(wrong), None, "{wrong}");
    }
}

#[test]
fn access_reviews_say_who_would_do_what() {
    let body = object(json!({"spec": {"user": "alice", "groups": ["g"], "resourceAttributes": {
        "verb": "list", "resource": "pods", "namespace": "ns",
        "fieldSelector": {"rawSelector": "spec.nodeName=n1,metadata.name!=x"}}}}));
    let (user, asked) = access_question(&body, Scope::Subject).unwrap();
    assert_eq!((user.name.as_str(), asked.verb.as_str()), ("alice", "list"));
    assert_eq!(asked.fields, [("spec.nodeName".to_owned(), "n1".to_owned())]);
    assert_eq!(exact_fields("a==b, c = d ,e!=f"), exact_fields("a=b,c=d"));
    let empty = object(json!({"spec": {}}));
    let message = access_question(&empty, Scope::Subject).unwrap_err().message;
    assert_eq!(
        message,
        "SubjectAccessReview.authorization.k8s.io \"\" is invalid: [spec.resourceAttributes: \
         Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be \
         specified, spec.user: Invalid value: \"\": at least one of user or group must be \
         specified]"
    );
    let own = User { name: "me".to_owned(), ..User::default() };
    let path = object(json!({"spec": {"nonResourceAttributes": {"verb": "get", "path": "/x"}}}));
    let (user, asked) = access_question(&path, Scope::Own(&own)).unwrap();
    assert_eq!((user.name.as_str(), asked.path.as_str()), ("me", "/x"));
    assert!(access_question(&body, Scope::Local("other")).is_err());
}
