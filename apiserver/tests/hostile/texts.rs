//! Bodies of JSON and YAML that are deep, long, doubled, broken, or of a type that nobody reads.

use serde_json::json;

use super::case::{Case, JSON, MAPS, PROTOBUF, YAML};

const MIB: usize = 1 << 20;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = broken_json();
    cases.extend(deep_json());
    cases.extend(odd_json());
    cases.extend(numbers());
    cases.extend(doubled());
    cases.extend(long());
    cases.extend(yaml());
    cases.extend(bombs());
    cases.extend(media_types());
    cases
}

/// What is no JSON is 400, whatever is wrong with it.
fn broken_json() -> Vec<Case> {
    let texts: [(&str, &[u8]); 36] = [
        ("nothing", b""),
        ("a space", b" "),
        ("an open object", b"{"),
        ("a closed object", b"}"),
        ("an open list", b"["),
        ("an open string", b"\"x"),
        ("a list", b"[]"),
        ("a number", b"1"),
        ("a string", b"\"x\""),
        ("true", b"true"),
        ("a NUL", b"\0"),
        ("many NULs", &[0; 4096]),
        ("a byte order mark", b"\xef\xbb\xbf{}"),
        ("UTF-16", b"\xff\xfe{\0}\0"),
        ("a comma", b","),
        ("a key without a value", b"{\"data\"}"),
        ("a key without a colon", b"{\"data\" {}}"),
        ("a colon without a value", b"{\"data\":}"),
        ("a comma at the end", b"{\"data\":{},}"),
        ("two commas", b"{\"data\":{},,\"kind\":\"ConfigMap\"}"),
        ("a key that is a number", b"{1:2}"),
        ("a key without quotes", b"{data:{}}"),
        ("single quotes", b"{'data':{}}"),
        ("a comment", b"{/* */\"data\":{}}"),
        ("rubbish behind", b"{\"data\":{}}x"),
        ("a second object behind", b"{\"data\":{}}{\"data\":{}}"),
        ("a NUL behind", b"{\"data\":{}}\0"),
        ("a raw NUL in a string", b"{\"data\":{\"a\":\"\0\"}}"),
        ("a raw line break in a string", b"{\"data\":{\"a\":\"\n\"}}"),
        ("an escape that is none", b"{\"data\":{\"a\":\"\\x41\"}}"),
        ("an escape that is cut", b"{\"data\":{\"a\":\"\\u12\"}}"),
        ("an escape at the end", b"{\"data\":{\"a\":\"\\"),
        ("a word", b"{\"data\":nul}"),
        ("a word in capitals", b"{\"data\":NULL}"),
        ("mismatched brackets", b"{\"data\":[}]"),
        ("HTML", b"<html><body>hello</body></html>"),
    ];
    texts
        .iter()
        .map(|(name, text)| Case::map(&format!("json: {name}"), JSON, *text, "400 BadRequest"))
        .collect()
}

/// Nesting: upstream stops at 10,000 levels, we at 120, which no object comes near.
fn deep_json() -> Vec<Case> {
    let mut cases = Vec::new();
    for depth in [121, 1_000, 10_000, 100_000, MIB] {
        for (name, open, close) in
            [("lists", "[", "]"), ("objects", "{\"a\":", "}"), ("both", "[{\"a\":", "}]")]
        {
            let depth = if open.len() > 1 { depth / 4 + 121 } else { depth };
            let tower = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let cut = open.repeat(depth);
            for (place, text) in [
                ("as the body", tower.clone()),
                ("in data", format!("{{\"data\":{{\"a\":{tower}}}}}")),
                ("in what is unknown", format!("{{\"nope\":{tower}}}")),
                ("cut off", format!("{{\"data\":{cut}")),
            ] {
                let name = format!("json: {depth} {name} {place}");
                // Below its own bound upstream takes what is unknown with a warning.
                cases.push(Case::map(&name, JSON, text, "400 BadRequest"));
            }
        }
    }
    cases
}

/// JSON that is strange and fine, or fine and no ConfigMap.
fn odd_json() -> Vec<Case> {
    let named = |rest: &str| format!("{{\"metadata\":{{\"generateName\":\"a\"}},{rest}}}");
    let data = |value: &[u8]| {
        let mut text = named("\"data\":{\"a\":\"").into_bytes();
        text.pop();
        text.extend_from_slice(value);
        text.extend_from_slice(b"\"}}");
        text
    };
    vec![
        Case::map("json: bytes that are no UTF-8", JSON, data(b"\xff\xfe\x80"), "201"),
        Case::map("json: half a character of UTF-8", JSON, data(b"\xe2\x82"), "201"),
        Case::map("json: an overlong slash", JSON, data(b"\xc0\xaf"), "201"),
        Case::map("json: a surrogate alone", JSON, data(b"\\ud800"), "201"),
        Case::map("json: surrogates swapped", JSON, data(b"\\udc00\\ud800"), "201"),
        Case::map("json: an escaped NUL", JSON, data(b"\\u0000"), "201"),
        Case::map("json: the last character", JSON, data(b"\xf4\x8f\xbf\xbf"), "201"),
        Case::map("json: beyond the last character", JSON, data(b"\xf4\x90\x80\x80"), "201"),
        Case::map("json: right to left", JSON, data("\u{202e}".as_bytes()), "201"),
        Case::map(
            "json: a key with a NUL",
            JSON,
            named("\"data\":{\"a\\u0000\":\"1\"}"),
            "422 Invalid",
        ),
        Case::map("json: an empty key", JSON, named("\"data\":{\"\":\"1\"}"), "422 Invalid"),
        Case::map("json: a key of dots", JSON, named("\"data\":{\"..\":\"1\"}"), "422 Invalid"),
        Case::map(
            "json: a key with a slash",
            JSON,
            named("\"data\":{\"a/b\":\"1\"}"),
            "422 Invalid",
        ),
        Case::map("json: no name", JSON, "{\"data\":{}}", "422 Invalid"),
        Case::map("json: only spaces around", JSON, format!(" \r\n\t{} ", named("\"x\":1")), "201"),
        Case::map("json: another kind", JSON, named("\"kind\":\"Pod\""), "400 BadRequest"),
        Case::map(
            "json: another version",
            JSON,
            named("\"kind\":\"ConfigMap\",\"apiVersion\":\"v9\""),
            "400 BadRequest",
        ),
        Case::map("json: a kind that is a number", JSON, named("\"kind\":1"), "400 BadRequest"),
        Case::map("json: null", JSON, "null", "422 Invalid"),
        Case::map(
            "json: a kind in capitals",
            JSON,
            named("\"Kind\":\"Pod\""),
            "201 or 400 BadRequest",
        ),
        Case::map(
            "json: metadata twice, one null",
            JSON,
            named("\"metadata\":null"),
            "201 or 422 Invalid",
        ),
    ]
}

/// Numbers that no machine has, where a number belongs and where none does.
fn numbers() -> Vec<Case> {
    let huge = "9".repeat(100_000);
    let texts: Vec<(&str, String)> = vec![
        ("beyond a double", "1e999".to_owned()),
        ("below a double", "-1e999".to_owned()),
        ("a huge exponent", format!("1e{}", "9".repeat(1_000))),
        ("a hundred thousand digits", huge.clone()),
        ("a hundred thousand digits behind a point", format!("0.{huge}")),
        ("beyond 64 bits", "18446744073709551616".to_owned()),
        ("beyond 63 bits", "9223372036854775808".to_owned()),
        ("a leading zero", "01".to_owned()),
        ("a plus", "+1".to_owned()),
        ("a minus alone", "-".to_owned()),
        ("a point alone", ".".to_owned()),
        ("a point in front", ".5".to_owned()),
        ("a point behind", "5.".to_owned()),
        ("an exponent without digits", "1e".to_owned()),
        ("hexadecimal", "0x10".to_owned()),
        ("NaN", "NaN".to_owned()),
        ("Infinity", "-Infinity".to_owned()),
        ("a fraction", "1.5".to_owned()),
        ("two minuses", "--1".to_owned()),
        ("an underscore", "1_000".to_owned()),
    ];
    let mut cases = Vec::new();
    for (name, number) in texts {
        let text = format!("{{\"metadata\":{{\"name\":\"a\",\"generation\":{number}}}}}");
        cases.push(Case::map(&format!("number: {name}"), JSON, text, "400 BadRequest"));
        let path = "/apis/apps/v1/namespaces/default/deployments/base?dryRun=All";
        let patch = format!("{{\"spec\":{{\"replicas\":{number}}}}}");
        let name = format!("number: {name} in a patch");
        let case = Case::new(&name, http::Method::PATCH, path, "400 BadRequest or 422 Invalid");
        cases.push(case.sends("application/merge-patch+json", patch));
    }
    cases
}

/// Members that stand twice: told, or refused where that is asked for, at a bounded price.
fn doubled() -> Vec<Case> {
    let strict =
        |case: Case| Case { target: format!("{}&fieldValidation=Strict", case.target), ..case };
    let named = |rest: &str| format!("{{\"metadata\":{{\"generateName\":\"a\"}},{rest}}}");
    let twice = named("\"data\":{\"a\":\"1\",\"a\":\"2\"}");
    let many = named(&format!("\"data\":{{{}\"a\":\"1\"}}", "\"a\":\"1\",".repeat(200_000)));
    let kinds: String = (0..50_000).map(|n| format!("\"k{n}\":\"1\",\"k{n}\":\"1\",")).collect();
    let kinds = named(&format!("\"data\":{{{kinds}\"z\":\"1\"}}"));
    // A path of a million bytes before each of a hundred thousand duplicates.
    let below = |key: &str| {
        let inside = "\"b\":1,".repeat(100_000);
        named(&format!("\"nope\":{{\"{key}\":{{{inside}\"b\":1}}}}"))
    };
    let long_key = "k".repeat(MIB);
    let different: String = (0..60_000).map(|n| format!("\"{n}\":1,\"{n}\":1,")).collect();
    let different = named(&format!("\"nope\":{{\"{long_key}\":{{{different}\"b\":1}}}}"));
    let deep = {
        let inside = "\"b\":1,\"b\":1";
        let open: String = (0..100).map(|_| format!("{{\"{}\":", "k".repeat(20_000))).collect();
        named(&format!("\"nope\":{open}{{{inside}}}{}", "}".repeat(100)))
    };
    let unknown: String = (0..100_000).map(|n| format!("\"u{n}\":1,")).collect();
    let unknown = named(&format!("{unknown}\"data\":{{}}"));
    let long_unknown = named(&format!("\"{}\":1", "u".repeat(2 * MIB)));
    vec![
        Case::map("doubled: once", JSON, twice.clone(), "201"),
        strict(Case::map("doubled: once, strictly", JSON, twice, "400 BadRequest")),
        Case::map("doubled: 200,000 times", JSON, many.clone(), "201"),
        strict(Case::map("doubled: 200,000 times, strictly", JSON, many, "400 BadRequest")),
        Case::map("doubled: 50,000 members", JSON, kinds.clone(), "201 or 422 Invalid"),
        strict(Case::map("doubled: 50,000 members, strictly", JSON, kinds, "400 BadRequest")),
        Case::map("doubled: 100,000 times below a long key", JSON, below(&long_key), "201"),
        Case::map("doubled: 60,000 members below a long key", JSON, different.clone(), "201"),
        strict(Case::map(
            "doubled: 60,000 members below a long key, strictly",
            JSON,
            different,
            "400 BadRequest",
        )),
        strict(Case::map("doubled: below a hundred long keys", JSON, deep, "400 BadRequest")),
        Case::map("unknown: 100,000 fields", JSON, unknown.clone(), "201"),
        strict(Case::map("unknown: 100,000 fields, strictly", JSON, unknown, "400 BadRequest")),
        Case::map("unknown: a field with a long name", JSON, long_unknown.clone(), "201"),
        strict(Case::map(
            "unknown: a field with a long name, strictly",
            JSON,
            long_unknown,
            "400 BadRequest",
        )),
    ]
}

/// Much of something, within the bound of a body and beyond it.
#[expect(clippy::too_many_lines, reason = "a table")]
fn long() -> Vec<Case> {
    let map = |metadata: serde_json::Value| json!({"metadata": metadata}).to_string();
    let numbered = |count: usize| -> serde_json::Map<String, serde_json::Value> {
        (0..count).map(|n| (format!("k{n}"), json!("v"))).collect()
    };
    let list = |count: usize, item: &dyn Fn(usize) -> serde_json::Value| -> serde_json::Value {
        (0..count).map(item).collect::<Vec<_>>().into()
    };
    let owner = |n: usize| json!({"apiVersion": "v1", "kind": "Pod", "name": format!("p{n}"), "uid": format!("u{n}")});
    let too_large = "413 RequestEntityTooLarge";
    let at = |size: usize| format!("{{\"data\":{{}}{}}}", " ".repeat(size - 11));
    vec![
        Case::map("long: a body at the bound", JSON, at(3 * MIB), "422 Invalid"),
        Case::map("long: a body beyond the bound", JSON, at(3 * MIB + 1), too_large),
        Case::map("long: a body of 8 MiB", JSON, at(8 * MIB), too_large),
        Case::map("long: a body of 8 MiB as YAML", YAML, at(8 * MIB), too_large),
        Case::map("long: a body of 8 MiB as protobuf", PROTOBUF, at(8 * MIB), too_large),
        Case::map(
            "long: data of 2 MiB",
            JSON,
            json!({
                "metadata": {"name": "a"}, "data": {"a": "x".repeat(2 * MIB)},
            })
            .to_string(),
            "422 Invalid",
        ),
        Case::map(
            "long: a name of 2 MiB",
            JSON,
            map(json!({"name": "a".repeat(2 * MIB)})),
            "422 Invalid",
        ),
        Case::map(
            "long: a prefix of a name of 2 MiB",
            JSON,
            map(json!({"generateName": "a".repeat(2 * MIB)})),
            "422 Invalid",
        ),
        Case::map(
            "long: a name of capitals",
            JSON,
            map(json!({"name": "A".repeat(2 * MIB)})),
            "422 Invalid",
        ),
        Case::map(
            "long: a name of hyphens",
            JSON,
            map(json!({"name": "-".repeat(MIB)})),
            "422 Invalid",
        ),
        Case::map(
            "long: a name of dots",
            JSON,
            map(json!({"name": ".".repeat(MIB)})),
            "422 Invalid",
        ),
        Case::map(
            "long: a namespace of 1 MiB",
            JSON,
            map(json!({"name": "a", "namespace": "b".repeat(MIB)})),
            "400 BadRequest",
        ),
        Case::map(
            "long: 100,000 labels",
            JSON,
            map(json!({"name": "a", "labels": numbered(100_000)})),
            "201",
        ),
        Case::map(
            "long: a label's name of 1 MiB",
            JSON,
            map(json!({"name": "a", "labels": {"x".repeat(MIB): "y"}})),
            "422 Invalid",
        ),
        Case::map(
            "long: a label's value of 1 MiB",
            JSON,
            map(json!({"name": "a", "labels": {"x": "y".repeat(MIB)}})),
            "422 Invalid",
        ),
        Case::map(
            "long: annotations of 1 MiB",
            JSON,
            map(json!({"name": "a", "annotations": {"x": "y".repeat(MIB)}})),
            "422 Invalid",
        ),
        Case::map(
            "long: 100,000 annotations",
            JSON,
            map(json!({"name": "a", "annotations": numbered(100_000)})),
            "422 Invalid",
        ),
        Case::map(
            "long: 100,000 bad labels",
            JSON,
            map(
                json!({"name": "a", "labels": numbered(100_000).into_iter().map(|(k, v)| (format!("-{k}"), v)).collect::<serde_json::Map<_, _>>()}),
            ),
            "422 Invalid",
        ),
        Case::map(
            "long: 100,000 finalizers",
            JSON,
            map(json!({"name": "a", "finalizers": list(100_000, &|n| json!(format!("a.b/{n}")))})),
            "201",
        ),
        Case::map(
            "long: 100,000 bad finalizers",
            JSON,
            map(json!({"name": "a", "finalizers": list(100_000, &|n| json!(format!("x{n}")))})),
            "422 Invalid",
        ),
        Case::map(
            "long: 20,000 owners",
            JSON,
            map(json!({"name": "a", "ownerReferences": list(20_000, &owner)})),
            "201",
        ),
        Case::map(
            "long: 500,000 nulls where texts belong",
            JSON,
            map(json!({"name": "a", "finalizers": list(500_000, &|_| json!(null))})),
            "422 Invalid",
        ),
        Case::map(
            "long: 700,000 empty objects in what is unknown",
            JSON,
            format!("{{\"x\":[{}1]}}", "{},".repeat(700_000)),
            "422 Invalid",
        ),
        Case::map(
            "long: 1,400,000 numbers in what is unknown",
            JSON,
            format!("{{\"x\":[{}1]}}", "1,".repeat(1_400_000)),
            "422 Invalid or 400 BadRequest",
        ),
    ]
}

/// YAML that is broken, deep or strange.
fn yaml() -> Vec<Case> {
    let named = |rest: &str| format!("metadata: {{generateName: a}}\n{rest}");
    let bad = "400 BadRequest";
    let broken: [(&str, &[u8]); 20] = [
        ("a scalar", b"hello"),
        ("a list", b"- a\n- b\n"),
        ("bytes that are no UTF-8", b"data: {a: \xff}"),
        ("a NUL", b"data: {a: \0}"),
        ("a control character", b"data: {a: \x01}"),
        ("a tab for indentation", b"data:\n\ta: b\n"),
        ("an open flow", b"data: {a: b"),
        ("an open list", b"data: [a"),
        ("an open string", b"data: {a: \"b"),
        ("an anchor that is not there", b"data: *nope"),
        ("an alias of itself", b"data: &a {b: *a}"),
        ("a list within itself", b"data: &a [*a]"),
        ("a key that is a list", b"? [a, b]\n: c\n"),
        ("a key that is a map", b"? {a: b}\n: c\n"),
        ("an unknown escape", b"data: {a: \"\\q\"}"),
        ("a percent at the start", b"%NOPE 1\n"),
        ("a reserved character", b"data: @a"),
        ("a backtick", b"data: `a`"),
        ("wrong indentation", b"data:\n    a: b\n  c: d\n"),
        ("a value twice", b"data: a: b: c"),
    ];
    let mut cases: Vec<Case> = broken
        .iter()
        .map(|(name, text)| Case::map(&format!("yaml: {name}"), YAML, *text, bad))
        .collect();
    for (name, text, expected) in [
        ("a tag of Python", "data: {a: !!python/object/apply:os.system [x]}", bad),
        ("a tag of its own", "data: {a: !mine b}", "201"),
        ("bytes", "data: {a: !!binary aGVsbG8=}", "201"),
        ("bytes that are none", "data: {a: !!binary '***'}", bad),
        ("a number where a text belongs", "data: {a: 1}", bad),
        ("a truth where a text belongs", "data: {a: yes}", bad),
        ("infinity", "metadata: {name: a, generation: .inf}", bad),
        ("no number", "metadata: {name: a, generation: .nan}", bad),
        ("a merge key", "x: &x {a: b}\ndata: {<<: *x}", "201"),
        ("a merge key of a scalar", "data: {<<: 1}", bad),
        ("a second document", "data: {a: b}\n---\ndata: {a: [}", "201"),
        ("a comment of its own", "# hello", "422 Invalid"),
    ] {
        let text = if text.starts_with("metadata") || text.starts_with('#') {
            text.to_owned()
        } else {
            named(text)
        };
        cases.push(Case::map(&format!("yaml: {name}"), YAML, text, expected));
    }
    for depth in [121, 1_000, 10_000, 100_000, MIB] {
        let flow = format!("data: {}{}", "[".repeat(depth), "]".repeat(depth));
        cases.push(Case::map(&format!("yaml: {depth} lists"), YAML, flow, bad));
        let cut = format!("data: {}", "[".repeat(depth));
        cases.push(Case::map(&format!("yaml: {depth} lists, cut off"), YAML, cut, bad));
        let maps = format!("data: {}", "{a: ".repeat(depth / 3 + 121));
        cases.push(Case::map(&format!("yaml: {depth}/3 maps, cut off"), YAML, maps, bad));
        let dashes = format!("data:\n{}a", "- ".repeat(depth));
        cases.push(Case::map(&format!("yaml: {depth} dashes"), YAML, dashes, bad));
        let questions = format!("{}a", "? ".repeat(depth));
        cases.push(Case::map(&format!("yaml: {depth} question marks"), YAML, questions, bad));
    }
    let steps: String = (0..1_500).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    cases.push(Case::map("yaml: 1,500 steps", YAML, steps, bad));
    cases
}

/// YAML that unfolds: aliases of aliases, and much of what is small.
fn bombs() -> Vec<Case> {
    let bad = "400 BadRequest";
    let laughs = |levels: usize, width: usize, open: &str, close: &str| {
        let mut text = String::from("a0: &a0 lol\n");
        for level in 1..=levels {
            let below = level - 1;
            let item = |n: usize| {
                if open == "{" { format!("k{n}: *a{below}") } else { format!("*a{below}") }
            };
            let items: Vec<String> = (0..width).map(item).collect();
            text.push_str(&format!("a{level}: &a{level} {open}{}{close}\n", items.join(", ")));
        }
        text
    };
    let merges: String = {
        let mut text = String::from("m0: &m0 {a: b}\n");
        for level in 1..40 {
            let below = level - 1;
            text.push_str(&format!("m{level}: &m{level} {{<<: [*m{below}, *m{below}]}}\n"));
        }
        text
    };
    let anchors: String = (0..60_000).map(|n| format!("a{n}: &a{n} b\n")).collect();
    let one_anchor = format!("a: &a b\nx: [{}b]", "*a, ".repeat(500_000));
    let long_alias = format!("a: &a {}\nx: [{}b]", "y".repeat(100_000), "*a, ".repeat(100_000));
    let same_keys = format!("data:\n{}", "  a: b\n".repeat(200_000));
    let many_keys: String = (0..150_000).map(|n| format!("k{n}: b\n")).collect();
    let plain = format!("x: {}", "a ".repeat(MIB));
    let folded = format!("x: >\n{}", " a\n".repeat(500_000));
    let comments = "# \n".repeat(800_000);
    let documents = "---\n".repeat(500_000);
    let breaks = "\n".repeat(2 * MIB);
    vec![
        Case::map("bomb: a billion laughs", YAML, laughs(9, 10, "[", "]"), bad),
        Case::map("bomb: laughs in maps", YAML, laughs(9, 10, "{", "}"), bad),
        Case::map("bomb: doubled fifty times", YAML, laughs(50, 2, "[", "]"), bad),
        Case::map("bomb: a thousand of a thousand", YAML, laughs(3, 1_000, "[", "]"), bad),
        Case::map("bomb: two hundred levels", YAML, laughs(200, 1, "[", "]"), bad),
        Case::map("bomb: merged forty times", YAML, merges, "422 Invalid or 400 BadRequest"),
        Case::map("bomb: 60,000 anchors", YAML, anchors, "422 Invalid"),
        Case::map("bomb: 500,000 aliases", YAML, one_anchor, bad),
        Case::map(
            "bomb: 100,000 aliases of a long text",
            YAML,
            long_alias,
            "400 BadRequest or 422 Invalid",
        ),
        Case::map("bomb: a key 200,000 times", YAML, same_keys, "422 Invalid"),
        Case::map("bomb: 150,000 keys", YAML, many_keys, "422 Invalid"),
        Case::map("bomb: a plain text of 2 MiB", YAML, plain, "422 Invalid"),
        Case::map("bomb: 500,000 folded lines", YAML, folded, "422 Invalid"),
        Case::map("bomb: 800,000 comments", YAML, comments, "422 Invalid"),
        Case::map("bomb: 500,000 documents", YAML, documents, "422 Invalid"),
        Case::map("bomb: 2 MiB of line breaks", YAML, breaks, "422 Invalid"),
        Case::map("yaml: nothing", YAML, "", "422 Invalid"),
        Case::map("yaml: null", YAML, "~", "422 Invalid"),
    ]
}

/// Types that nobody reads, and types that lie.
fn media_types() -> Vec<Case> {
    let fine = "{\"metadata\":{\"generateName\":\"a\"}}";
    let refused = "415 UnsupportedMediaType";
    let mut cases = Vec::new();
    for (media, expected) in [
        ("", "201"),
        ("application/json", "201"),
        ("application/json; charset=utf-8", "201"),
        ("application/json;charset=utf-16", "201"),
        ("APPLICATION/JSON", "201"),
        ("application/yaml", "201"),
        ("application/vnd.kubernetes.protobuf", "400 BadRequest"),
        ("application/json/more", refused),
        ("application/json,application/yaml", refused),
        ("application/", refused),
        ("/", refused),
        (";", refused),
        ("; charset=utf-8", refused),
        ("*/*", refused),
        ("text/plain", refused),
        ("text/json", refused),
        ("text/yaml", refused),
        ("application/xml", refused),
        ("application/cbor", refused),
        ("application/x-www-form-urlencoded", refused),
        ("multipart/form-data; boundary=x", refused),
        ("application/json-patch+json", refused),
        ("application/apply-patch+yaml", refused),
        ("application/vnd.kubernetes.protobuf;stream=watch", "400 BadRequest"),
        ("application/json; charset", refused),
        ("application/json; =", refused),
        ("application/json;;;;", refused),
        ("application/json;", "201"),
    ] {
        let name = format!("media type: {media:?}");
        cases.push(Case::map(&name, media, fine, expected));
    }
    let long = format!("application/{}", "x".repeat(8_000));
    cases.push(Case::map("media type: 8,000 letters", &long, fine, refused));
    let parameters = format!("application/json{}", ";a=b".repeat(2_000));
    cases.push(Case::map("media type: 2,000 parameters", &parameters, fine, "201"));
    let twice =
        Case::map("media type: two of them", JSON, fine, "201").with("content-type", "text/plain");
    cases.push(twice);
    let packed =
        Case::map("media type: packed", JSON, &b"\x1f\x8b\x08\0\0\0\0\0"[..], "400 BadRequest");
    cases.push(packed.with("content-encoding", "gzip"));
    let patch = |media: &str, expected: &str| {
        let name = format!("media type of a patch: {media:?}");
        let target = format!("{MAPS}/base?dryRun=All");
        Case::new(&name, http::Method::PATCH, &target, expected).sends(media, "{}")
    };
    for media in
        ["", "application/json", "application/yaml", "text/plain", "application/merge-patch"]
    {
        cases.push(patch(media, refused));
    }
    cases.push(patch("application/merge-patch+json; charset=utf-8", "200"));
    cases.push(patch("application/strategic-merge-patch+json;a=b", "200"));
    cases.push(patch("application/json-patch+json", "400 BadRequest"));
    cases
}
