//! Selectors, limits, tokens of pages, revisions and switches that somebody made up.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::json;

use super::case::{Case, MAPS};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = labels();
    cases.extend(fields());
    cases.extend(pages());
    cases.extend(tokens());
    cases.extend(revisions());
    cases.extend(switches());
    cases
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn list(parameter: &str, value: &str, expected: &str) -> Case {
    let shown: String = value.chars().take(40).collect();
    let target = format!("{MAPS}?{parameter}={}", escaped(value));
    Case::get(&format!("{parameter}: {shown:?}"), &target, expected)
}

fn labels() -> Vec<Case> {
    let bad = "400 BadRequest";
    let mut cases: Vec<Case> = [
        ("a===b", bad),
        ("=", bad),
        ("=b", bad),
        ("!", bad),
        ("!!a", bad),
        ("a b", bad),
        ("a,,b", bad),
        (",a", bad),
        ("a,", bad),
        ("a in", bad),
        ("a in (", bad),
        ("a in b", bad),
        ("a in ()", "200 or 400 BadRequest"),
        ("a in (b", bad),
        ("a in (b,", bad),
        ("a in (b) c", bad),
        ("a notin", bad),
        ("in in (in)", "200"),
        ("a>b", bad),
        ("a>1.5", bad),
        ("a>99999999999999999999", bad),
        ("a<", bad),
        ("a=b=c", bad),
        ("-a=b", bad),
        ("a/b/c=d", bad),
        ("a=b c", bad),
        ("a=\0", "200"),
        ("a=é", bad),
        ("()", bad),
        ("((((((", bad),
        ("a in (((b)))", bad),
        ("'; DROP TABLE pods; --", bad),
        ("  ", "200"),
        ("a", "200"),
        ("!a", "200"),
    ]
    .iter()
    .map(|(text, expected)| list("labelSelector", text, expected))
    .collect();
    let long = "a".repeat(20_000);
    cases.push(list("labelSelector", &long, bad));
    cases.push(list("labelSelector", &format!("a={long}"), bad));
    cases.push(list("labelSelector", &"(".repeat(20_000), bad));
    cases.push(list("labelSelector", &"!".repeat(20_000), bad));
    let values: Vec<String> = (0..3_000).map(|n| format!("v{n}")).collect();
    cases.push(list("labelSelector", &format!("a in ({})", values.join(",")), "200"));
    let keys: Vec<String> = (0..3_000).map(|n| format!("k{n}")).collect();
    cases.push(list("labelSelector", &keys.join(","), "200"));
    cases
}

fn fields() -> Vec<Case> {
    let bad = "400 BadRequest";
    let mut cases: Vec<Case> = [
        ("metadata.name", bad),
        ("=", "200"),
        ("=x", bad),
        ("nope=x", bad),
        ("spec.nope=x", bad),
        ("data.a=1", bad),
        ("metadata.name=a,nope=b", bad),
        ("metadata.name>a", bad),
        ("metadata.name in (a)", bad),
        ("metadata.name=a\\", bad),
        ("metadata.name=a\\q", bad),
        ("metadata.name=../../secrets", "200"),
        ("metadata.name=a/b", "200"),
        ("metadata.name=\0", "200"),
        ("metadata.name==base", "200"),
        ("metadata.name!=base", "200"),
        ("metadata.name=base,metadata.name=other", "200"),
        ("metadata.namespace=kube-system", "200"),
        (",,,,", "200"),
    ]
    .iter()
    .map(|(text, expected)| list("fieldSelector", text, expected))
    .collect();
    let long = "a".repeat(20_000);
    cases.push(list("fieldSelector", &format!("metadata.name={long}"), "200"));
    cases.push(list("fieldSelector", &long, bad));
    let many = "metadata.name!=x,".repeat(1_000);
    cases.push(list("fieldSelector", &many, "200"));
    cases
}

fn pages() -> Vec<Case> {
    let bad = "400 BadRequest";
    [
        ("limit", "-1", "200"),
        ("limit", "0", "200"),
        ("limit", "9223372036854775807", "200"),
        ("limit", "-9223372036854775808", "200"),
        ("limit", "9223372036854775808", bad),
        ("limit", "1e3", bad),
        ("limit", "1.5", bad),
        ("limit", "abc", bad),
        ("limit", " 1", bad),
        ("limit", "0x10", bad),
        ("limit", "\0", bad),
        ("timeoutSeconds", "abc", "400 BadRequest or 200"),
        ("timeoutSeconds", "99999999999999999999", "400 BadRequest or 200"),
        ("timeoutSeconds", "-5", "200"),
        ("sendInitialEvents", "true", "422 Invalid"),
        ("sendInitialEvents", "nope", "422 Invalid"),
        ("resourceVersionMatch", "Nope", "422 Invalid"),
        ("resourceVersionMatch", "Exact", "422 Invalid"),
        ("pretty", "nope", "200"),
        ("nope", "nope", "200"),
        ("", "", "200"),
        ("limit", "", "400 BadRequest or 200"),
    ]
    .iter()
    .map(|(parameter, value, expected)| list(parameter, value, expected))
    .chain([
        Case::get(
            "watch: a timeout of letters",
            &format!("{MAPS}?watch=nope&timeoutSeconds=a"),
            bad,
        ),
        Case::get("limit: twice", &format!("{MAPS}?limit=1&limit=abc"), "200"),
        Case::get("limit: twice, the first wrong", &format!("{MAPS}?limit=abc&limit=1"), bad),
        Case::get("limit: a plus", &format!("{MAPS}?limit=+1"), bad),
        Case::get("limit: without a value", &format!("{MAPS}?limit"), "400 BadRequest or 200"),
    ])
    .collect()
}

/// Tokens of pages: what is inside them is nobody's business, so anybody can write one.
fn tokens() -> Vec<Case> {
    let bad = "400 BadRequest";
    let token = |inside: &str| URL_SAFE_NO_PAD.encode(inside);
    let forged = |rv: serde_json::Value, start: &str| {
        token(&json!({"v": "meta.k8s.io/v1", "rv": rv, "start": start}).to_string())
    };
    let deep = format!("{{\"v\":{}", "[".repeat(10_000));
    let texts = [
        ("no base64", "***".to_owned(), bad),
        ("a letter", "a".to_owned(), bad),
        ("no JSON", token("hello"), bad),
        ("nothing inside", token("{}"), bad),
        ("a list", token("[]"), bad),
        ("deep inside", token(&deep), bad),
        ("another version", token("{\"v\":\"v9\",\"rv\":5,\"start\":\"a\"}"), bad),
        ("no revision", forged(json!(0), "a\0"), bad),
        ("a revision that is a text", forged(json!("5"), "a\0"), bad),
        ("a revision of a fraction", forged(json!(1.5), "a\0"), bad),
        ("a revision beyond 63 bits", forged(json!(u64::MAX), "a\0"), bad),
        ("no start", forged(json!(5), ""), bad),
        ("a start above", forged(json!(5), "../secrets/default/a\0"), bad),
        ("a start far above", forged(json!(5), "../../../../etc/passwd"), bad),
        ("a start with a step up inside", forged(json!(5), "a/../../secrets/x\0"), bad),
        ("a start of dots", forged(json!(5), ".."), bad),
        ("a start of a dot", forged(json!(5), "."), bad),
        ("a start that is a number", token("{\"v\":\"meta.k8s.io/v1\",\"rv\":5,\"start\":5}"), bad),
        ("rubbish behind", token("{\"v\":\"meta.k8s.io/v1\",\"rv\":5,\"start\":\"a\"}x"), bad),
        ("bytes", URL_SAFE_NO_PAD.encode([0xff_u8; 64]), bad),
        // A revision that is yet to come is waited for, and then refused.
        (
            "a revision far ahead",
            forged(json!(i64::MAX), "a\0"),
            "504 Timeout or 410 Expired or 500",
        ),
        ("the newest revision", forged(json!(-1), "a\0"), "200"),
        ("a start behind everything", forged(json!(-1), "\u{10ffff}\u{10ffff}\0"), "200"),
    ];
    let mut cases: Vec<Case> = texts
        .iter()
        .map(|(name, token, expected)| {
            let target = format!("{MAPS}?limit=1&continue={}", escaped(token));
            Case::get(&format!("continue: {name}"), &target, expected)
        })
        .collect();
    let newest = forged(json!(-1), "a\0");
    let both = format!("{MAPS}?limit=1&resourceVersion=5&continue={newest}");
    cases.push(Case::get("continue: with a revision beside it", &both, "400 BadRequest or 200"));
    let deleting = format!("{MAPS}?dryRun=All&continue={}", forged(json!(5), "../x"));
    cases.push(Case::new("continue: a start above, to delete", Method::DELETE, &deleting, bad));
    cases
}

fn revisions() -> Vec<Case> {
    let bad = "400 BadRequest";
    let mut cases = Vec::new();
    for (text, expected) in [
        ("abc", bad),
        ("-1", bad),
        ("1.5", bad),
        ("0x1", bad),
        ("18446744073709551616", bad),
        ("1e3", bad),
        (" 1", bad),
        ("\0", bad),
        ("9999999999", "504 Timeout"),
        ("0", "200"),
    ] {
        cases.push(list("resourceVersion", text, expected));
        let target = format!("{MAPS}/base?resourceVersion={}", escaped(text));
        // Upstream says of a single object that it does not understand, with a 500.
        let expected = if expected == bad { "400 BadRequest or 500" } else { expected };
        cases.push(Case::get(&format!("resourceVersion of one: {text:?}"), &target, expected));
    }
    for (text, expected) in [("abc", "400 BadRequest or 500"), ("-1", "400 BadRequest or 500")] {
        let target = format!("{MAPS}?watch=1&timeoutSeconds=1&resourceVersion={text}");
        cases.push(Case::get(&format!("resourceVersion of a watch: {text:?}"), &target, expected));
    }
    for text in ["abc", "-1", "18446744073709551616", "0x1", "\u{0}"] {
        let body = json!({
            "metadata": {"name": "base", "resourceVersion": text}, "data": {"x": "y"},
        });
        let target = format!("{MAPS}/base?dryRun=All");
        let name = format!("resourceVersion of an update: {text:?}");
        // Upstream says so, with a 500.
        let case = Case::new(&name, Method::PUT, &target, "500");
        cases.push(case.sends("application/json", body.to_string()));
    }
    cases
}

fn switches() -> Vec<Case> {
    let (bad, invalid) = ("400 BadRequest", "422 Invalid");
    let body = "{\"metadata\":{\"generateName\":\"a\"}}";
    let create = |query: &str, expected: &str| {
        let target = format!("{MAPS}?{query}");
        let case = Case::new(&format!("create: {query}"), Method::POST, &target, expected);
        case.sends("application/json", body)
    };
    let delete = |query: &str, body: &str, expected: &str| {
        let shown: String = body.chars().take(60).collect();
        let target = format!("{MAPS}/base?dryRun=All&{query}");
        let case =
            Case::new(&format!("delete: {query} {shown}"), Method::DELETE, &target, expected);
        case.sends("application/json", body)
    };
    vec![
        create("dryRun=Nope", invalid),
        create("dryRun=All&dryRun=Nope", invalid),
        create("dryRun=all", invalid),
        create("dryRun=All&fieldValidation=Nope", invalid),
        create("dryRun=All&fieldValidation=strict", invalid),
        create(&format!("dryRun=All&fieldManager={}", "a".repeat(129)), "422 Invalid or 201"),
        create(&format!("dryRun=All&fieldManager={}", "a".repeat(60_000)), "422 Invalid or 201"),
        create("dryRun=All&fieldManager=%00", "422 Invalid or 201"),
        create("dryRun=All&fieldManager=%0a", "422 Invalid or 201"),
        delete("propagationPolicy=Nope", "", invalid),
        delete("propagationPolicy=Orphan&orphanDependents=true", "", invalid),
        delete("gracePeriodSeconds=abc", "", bad),
        delete("gracePeriodSeconds=99999999999999999999", "", bad),
        delete("", "{\"propagationPolicy\":\"Nope\"}", invalid),
        delete("", "{\"gracePeriodSeconds\":\"abc\"}", bad),
        delete("", "{\"gracePeriodSeconds\":1e30}", bad),
        delete("", "{\"preconditions\":[]}", bad),
        delete("", "{\"preconditions\":{\"uid\":7}}", bad),
        delete("", "{\"preconditions\":{\"uid\":\"nope\"}}", "409 Conflict"),
        delete("", "{\"preconditions\":{\"resourceVersion\":\"nope\"}}", "409 Conflict"),
        delete("", "{\"dryRun\":[\"Nope\"]}", "422 Invalid or 200"),
        delete("", "{\"dryRun\":\"All\"}", bad),
        delete("", "{\"kind\":\"Pod\"}", bad),
        delete(
            "",
            "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v9\",\"dryRun\":[\"All\"]}",
            "200 or 400 BadRequest",
        ),
        delete("", "[]", bad),
        delete("", "{", bad),
        delete("", "nonsense", bad),
        delete("", &"[".repeat(10_000), bad),
    ]
}
