//! Patches that grow, point nowhere, or misuse the directives of strategic patches.

use http::Method;
use serde_json::{Value, json};

use super::case::{Case, MAPS};

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/base?dryRun=All";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = json_patches();
    cases.extend(growing());
    cases.extend(merge_patches());
    cases.extend(directives());
    cases.extend(long_lists());
    cases.extend(scales());
    cases
}

fn patch(name: &str, target: &str, kind: &str, body: String, expected: &str) -> Case {
    let media = format!("application/{kind}+json");
    Case::new(name, Method::PATCH, target, expected).sends(&media, body)
}

fn of_map(name: &str, kind: &str, body: &str, expected: &str) -> Case {
    patch(name, &format!("{MAPS}/base?dryRun=All"), kind, body.to_owned(), expected)
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn json_patches() -> Vec<Case> {
    let (bad, unfit) = ("400 BadRequest", "422 Invalid");
    let list = [
        ("{}", bad),
        ("null", "200"),
        ("[]", "200"),
        ("[null]", unfit),
        ("[1]", bad),
        ("[[]]", bad),
        ("[{}]", unfit),
        (r#"[{"op":"fly","path":"/data"}]"#, unfit),
        (r#"[{"op":1,"path":"/data"}]"#, bad),
        (r#"[{"op":"add","path":1,"value":1}]"#, bad),
        (r#"[{"op":"add"}]"#, unfit),
        (r#"[{"op":"add","path":""}]"#, unfit),
        (r#"[{"op":"add","path":"","value":{}}]"#, unfit),
        (r#"[{"op":"add","path":"data","value":{}}]"#, "200 or 422 Invalid"),
        (r#"[{"op":"add","path":"/nope/x","value":1}]"#, unfit),
        (r#"[{"op":"add","path":"/data/a/b","value":1}]"#, unfit),
        (r#"[{"op":"add","path":"/data","value":7}]"#, unfit),
        (r#"[{"op":"add","path":"/data/a","value":{}}]"#, unfit),
        (r#"[{"op":"add","path":"/data/~","value":"x"}]"#, "200 or 422 Invalid"),
        (r#"[{"op":"add","path":"/data/~2","value":"x"}]"#, "200 or 422 Invalid"),
        (r#"[{"op":"add","path":"/data/~0~1","value":"x"}]"#, unfit),
        (r#"[{"op":"add","path":"/data/a~1b","value":"x"}]"#, unfit),
        (
            r#"[{"op":"add","path":"/metadata/finalizers","value":["a.b/c"]},{"op":"add","path":"/metadata/finalizers/5","value":"a.b/d"}]"#,
            unfit,
        ),
        (
            r#"[{"op":"add","path":"/metadata/finalizers","value":["a.b/c"]},{"op":"add","path":"/metadata/finalizers/99999999999999999999","value":"a.b/d"}]"#,
            unfit,
        ),
        (
            r#"[{"op":"add","path":"/metadata/finalizers","value":["a.b/c"]},{"op":"add","path":"/metadata/finalizers/-9223372036854775808","value":"a.b/d"}]"#,
            unfit,
        ),
        (
            r#"[{"op":"add","path":"/metadata/finalizers","value":["a.b/c"]},{"op":"remove","path":"/metadata/finalizers/-2"}]"#,
            unfit,
        ),
        (
            r#"[{"op":"add","path":"/metadata/finalizers","value":["a.b/c"]},{"op":"remove","path":"/metadata/finalizers/1e0"}]"#,
            unfit,
        ),
        (
            r#"[{"op":"add","path":"/metadata/finalizers","value":["a.b/c"]},{"op":"remove","path":"/metadata/finalizers/-"}]"#,
            unfit,
        ),
        (r#"[{"op":"remove","path":"/nope"}]"#, unfit),
        (r#"[{"op":"remove","path":""}]"#, unfit),
        (r#"[{"op":"remove","path":"/"}]"#, unfit),
        (r#"[{"op":"remove","path":"/metadata"}]"#, "400 or 422"),
        (r#"[{"op":"remove","path":"/kind"}]"#, "200 or 400 or 422"),
        (r#"[{"op":"replace","path":"/kind","value":"Pod"}]"#, "400 or 422"),
        (r#"[{"op":"replace","path":"/metadata/name","value":"other"}]"#, "400 or 422"),
        (
            r#"[{"op":"replace","path":"/metadata/uid","value":"other"}]"#,
            "409 Conflict or 422 Invalid",
        ),
        (
            // Upstream says so, with a 500.
            r#"[{"op":"replace","path":"/metadata/resourceVersion","value":"nope"}]"#,
            "500",
        ),
        (r#"[{"op":"replace","path":"","value":7}]"#, unfit),
        (r#"[{"op":"replace","path":"","value":[]}]"#, "400 or 422"),
        (r#"[{"op":"replace","path":"","value":{}}]"#, "400 or 422"),
        (r#"[{"op":"move","from":"/data","path":"/data/a"}]"#, unfit),
        (r#"[{"op":"move","from":"/data","path":"/data/a/b/c"}]"#, unfit),
        (r#"[{"op":"move","from":"","path":"/data/a"}]"#, unfit),
        (r#"[{"op":"move","from":"/nope","path":"/data/a"}]"#, unfit),
        (r#"[{"op":"move","path":"/data/a"}]"#, unfit),
        (r#"[{"op":"move","from":"/data/a","path":"/data/a"}]"#, "200"),
        (r#"[{"op":"copy","from":"","path":"/data/a"}]"#, unfit),
        (r#"[{"op":"copy","from":"/nope","path":"/data/c"}]"#, "422 Invalid or 200"),
        (r#"[{"op":"copy","from":"/data","path":"/data/a"}]"#, unfit),
        (r#"[{"op":"test","path":"/nope","value":1}]"#, unfit),
        (r#"[{"op":"test","path":"/data/a","value":"2"}]"#, unfit),
        (r#"[{"op":"test","path":"/data/a","value":{"a":[1]}}]"#, unfit),
        (r#"[{"op":"test","path":"/data/a"}]"#, unfit),
        (r#"[{"op":"test","path":"/data/a","value":"1"}]"#, "200"),
        (r#"[{"op":"test","path":"/data/a","value":"1","nope":1}]"#, "200"),
        ("[{\"op\":\"test\"", bad),
    ];
    list.iter()
        .map(|(body, expected)| {
            of_map(&format!("json patch: {body}"), "json-patch", body, expected)
        })
        .collect()
}

/// Patches whose work or whose result grows.
fn growing() -> Vec<Case> {
    let too_large = "413 RequestEntityTooLarge";
    let repeated = |count: usize, operation: Value| vec![operation; count];
    let case = |name: &str, operations: Vec<Value>, expected: &str| {
        let body = Value::Array(operations).to_string();
        of_map(&format!("json patch: {name}"), "json-patch", &body, expected)
    };
    let add = |path: &str, value: Value| json!({"op": "add", "path": path, "value": value});
    let copy = |from: &str, path: &str| json!({"op": "copy", "from": from, "path": path});
    let test = json!({"op": "test", "path": "/data/a", "value": "1"});
    // Each round copies the whole twice into itself.
    let mut doubling = vec![add("/x", json!({"y": "z".repeat(1_000)}))];
    for round in 0..40 {
        doubling.push(copy("/x", &format!("/x/{round}")));
    }
    let mut texts = vec![add("/data/c", json!("z".repeat(100_000)))];
    texts.extend((0..200).map(|n| copy("/data/c", &format!("/data/c{n}"))));
    let list: Vec<u8> = vec![1; 1_000_000];
    let mut front = vec![add("/x", json!(list))];
    front.extend(repeated(9_000, add("/x/0", json!(1))));
    let members: serde_json::Map<String, Value> =
        (0..150_000).map(|n| (format!("k{n}"), json!(1))).collect();
    let mut removals = vec![add("/x", json!(members))];
    removals.extend((0..9_000).map(|n| json!({"op": "remove", "path": format!("/x/k{n}")})));
    let mut moves = vec![add("/x", json!(vec![json!({}); 500_000]))];
    moves.extend((0..4_000).flat_map(|_| {
        [
            json!({"op": "move", "from": "/x", "path": "/y"}),
            json!({"op": "move", "from": "/y", "path": "/x"}),
        ]
    }));
    let mut compares = vec![add("/x", json!("z".repeat(1_000_000)))];
    compares.extend(repeated(9_000, json!({"op": "test", "path": "", "value": {}})));
    let mut tower = vec![add("/x", json!({}))];
    tower.extend((0..9_000).map(|_| json!({"op": "move", "from": "/x", "path": "/y"})));
    let nested = format!("[{{\"op\":\"add\",\"path\":\"/x\",\"value\":{}", "[".repeat(100_000));
    let deep_path =
        format!("[{{\"op\":\"add\",\"path\":\"{}\",\"value\":1}}]", "/a".repeat(500_000));
    vec![
        case("10,000 operations", repeated(10_000, test.clone()), "200"),
        case("10,001 operations", repeated(10_001, test), too_large),
        case("doubled by copies", doubling, "422 Invalid or 413 RequestEntityTooLarge"),
        case("200 copies of a long text", texts, "422 Invalid or 413 RequestEntityTooLarge"),
        case("9,000 insertions before a million items", front, "422 Invalid or 200"),
        case("9,000 removals from 150,000 members", removals, "422 Invalid or 200"),
        case("8,000 moves of 500,000 items", moves, "422 Invalid or 200"),
        case("9,000 comparisons with the whole", compares, "422 Invalid"),
        case("moves to where it is not", tower, "422 Invalid"),
        of_map("json patch: 100,000 lists", "json-patch", &nested, "400 BadRequest"),
        of_map("json patch: a path of 500,000 parts", "json-patch", &deep_path, "422 Invalid"),
    ]
}

fn merge_patches() -> Vec<Case> {
    let (bad, invalid) = ("400 BadRequest", "422 Invalid");
    let list = [
        ("null", "200 or 400 BadRequest"),
        ("[]", "400 or 422"),
        ("1", "400 or 422"),
        ("\"x\"", "400 or 422"),
        ("{", bad),
        ("", "400 or 200"),
        ("{}", "200"),
        (r#"{"metadata":null}"#, "400 or 422 or 200"),
        (r#"{"kind":null,"apiVersion":null}"#, "200 or 400 or 422"),
        (r#"{"data":null}"#, "200"),
        (r#"{"data":{"a":null,"b":null}}"#, "200"),
        (r#"{"data":{"a":{"b":null}}}"#, invalid),
        (r#"{"data":7}"#, invalid),
        (r#"{"data":[]}"#, invalid),
        (r#"{"data":{"a":7}}"#, invalid),
        (r#"{"metadata":[]}"#, "400 or 422"),
        (r#"{"metadata":{"name":null}}"#, "400 or 422"),
        (r#"{"metadata":{"name":"other"}}"#, "400 or 422"),
        (r#"{"metadata":{"name":7}}"#, "400 or 422"),
        (r#"{"metadata":{"namespace":"other"}}"#, "400 or 422"),
        (r#"{"metadata":{"labels":{"a":7}}}"#, "400 or 422"),
        (r#"{"metadata":{"labels":{"-":"x"}}}"#, invalid),
        // Upstream says so, with a 500.
        (r#"{"metadata":{"resourceVersion":"nope"}}"#, "500"),
        (r#"{"metadata":{"resourceVersion":7}}"#, "400 or 422"),
        (r#"{"metadata":{"managedFields":7}}"#, "400 or 422"),
        (r#"{"metadata":{"deletionTimestamp":"nope"}}"#, "400 or 422"),
        // A strategic patch is put into the object that is there, whatever it says of its kind.
        (r#"{"kind":"Pod"}"#, "200 or 422"),
        (r#"{"apiVersion":"v9"}"#, "200 or 422"),
    ];
    let mut cases = Vec::new();
    for (body, expected) in list {
        for kind in ["merge-patch", "strategic-merge-patch"] {
            cases.push(of_map(&format!("{kind}: {body}"), kind, body, expected));
        }
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let nulls: serde_json::Map<String, Value> =
        (0..100_000).map(|n| (format!("k{n}"), Value::Null)).collect();
    let nulls = json!({"data": nulls}).to_string();
    for kind in ["merge-patch", "strategic-merge-patch"] {
        cases.push(of_map(&format!("{kind}: 100,000 objects"), kind, &deep, bad));
        cases.push(of_map(&format!("{kind}: 100,000 nulls"), kind, &nulls, "200"));
    }
    cases
}

/// Directives with the wrong types and in the wrong places.
fn directives() -> Vec<Case> {
    let values =
        ["null", "7", "true", "\"x\"", "[]", "[7]", "[null]", "{}", "[{}]", "[[]]", "{\"a\":1}"];
    let pod = |inside: &str| format!("{{\"spec\":{{\"template\":{{\"spec\":{{{inside}}}}}}}}}");
    let main = "\"name\":\"main\"";
    let mut cases = Vec::new();
    for value in values {
        let bodies = [
            ("$patch of the whole", format!("{{\"$patch\":{value}}}")),
            ("$patch of the spec", format!("{{\"spec\":{{\"$patch\":{value}}}}}")),
            ("$patch of an item", pod(&format!("\"containers\":[{{{main},\"$patch\":{value}}}]"))),
            (
                "$patch of an item without a key",
                pod(&format!("\"containers\":[{{\"$patch\":{value}}}]")),
            ),
            ("$retainKeys", format!("{{\"spec\":{{\"strategy\":{{\"$retainKeys\":{value}}}}}}}")),
            (
                "$retainKeys where none belong",
                format!("{{\"metadata\":{{\"$retainKeys\":{value}}}}}"),
            ),
            (
                "$setElementOrder of containers",
                pod(&format!("\"$setElementOrder/containers\":{value}")),
            ),
            (
                "$setElementOrder beside the list",
                pod(&format!(
                    "\"$setElementOrder/containers\":{value},\"containers\":[{{{main}}}]"
                )),
            ),
            (
                "$setElementOrder of texts",
                format!("{{\"metadata\":{{\"$setElementOrder/finalizers\":{value}}}}}"),
            ),
            ("$setElementOrder of nothing", format!("{{\"$setElementOrder/\":{value}}}")),
            ("$setElementOrder of no list", format!("{{\"$setElementOrder/spec\":{value}}}")),
            (
                "$deleteFromPrimitiveList",
                format!("{{\"metadata\":{{\"$deleteFromPrimitiveList/finalizers\":{value}}}}}"),
            ),
            (
                "$deleteFromPrimitiveList of objects",
                pod(&format!("\"$deleteFromPrimitiveList/containers\":{value}")),
            ),
            ("a list that is merged", pod(&format!("\"containers\":{value}"))),
            (
                "a list of texts that is merged",
                format!("{{\"metadata\":{{\"finalizers\":{value}}}}}"),
            ),
            ("a key of an item", pod(&format!("\"containers\":[{{\"name\":{value}}}]"))),
            ("an unknown directive", format!("{{\"$nope\":{value}}}")),
        ];
        for (name, body) in bodies {
            let name = format!("strategic: {name}: {value}");
            let kind = "strategic-merge-patch";
            // Upstream panics at some of these, and says of many that it is its own fault.
            cases.push(patch(&name, DEPLOYMENT, kind, body, "200 or 400 or 422 or 500"));
        }
    }
    cases
}

/// Lists that are merged item by item.
fn long_lists() -> Vec<Case> {
    let kind = "strategic-merge-patch";
    let texts: Vec<String> = (0..60_000).map(|n| format!("a.b/{n}")).collect();
    let containers: Vec<Value> = (0..10_000).map(|n| json!({"name": format!("c{n}")})).collect();
    let finalizers = json!({"metadata": {"finalizers": texts}}).to_string();
    let order = json!({"metadata": {"$setElementOrder/finalizers": texts, "finalizers": texts}});
    let deletion = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": texts}});
    let spec = |inside: Value| json!({"spec": {"template": {"spec": inside}}}).to_string();
    let ordered = json!({"$setElementOrder/containers": containers, "containers": containers});
    let deleted: Vec<Value> =
        (0..10_000).map(|n| json!({"name": format!("c{n}"), "$patch": "delete"})).collect();
    vec![
        patch("strategic: 60,000 texts", DEPLOYMENT, kind, finalizers, "200 or 422"),
        patch(
            "strategic: 60,000 texts in order",
            DEPLOYMENT,
            kind,
            order.to_string(),
            "200 or 422",
        ),
        patch("strategic: 60,000 texts deleted", DEPLOYMENT, kind, deletion.to_string(), "200"),
        patch(
            "strategic: 10,000 items",
            DEPLOYMENT,
            kind,
            spec(json!({"containers": containers})),
            "422 Invalid",
        ),
        patch(
            "strategic: 10,000 items in order",
            DEPLOYMENT,
            kind,
            spec(ordered),
            "200 or 422 or 400",
        ),
        patch(
            "strategic: 10,000 items deleted",
            DEPLOYMENT,
            kind,
            spec(json!({"containers": deleted})),
            "200",
        ),
    ]
}

/// The scale of a deployment, patched.
fn scales() -> Vec<Case> {
    let target = "/apis/apps/v1/namespaces/default/deployments/base/scale?dryRun=All";
    let kind = "merge-patch";
    [
        (r#"{"spec":{"replicas":-1}}"#, "422 Invalid"),
        (r#"{"spec":{"replicas":"x"}}"#, "400 or 422"),
        (r#"{"spec":{"replicas":1e30}}"#, "400 or 422"),
        (r#"{"spec":{"replicas":1.5}}"#, "400 or 422"),
        (r#"{"spec":[]}"#, "400 or 422"),
        (r#"{"spec":null}"#, "200"),
        (r#"{"kind":"Pod"}"#, "400 or 422"),
        ("[]", "400 or 422"),
    ]
    .iter()
    .map(|(body, expected)| {
        patch(&format!("scale: {body}"), target, kind, (*body).to_owned(), expected)
    })
    .collect()
}
