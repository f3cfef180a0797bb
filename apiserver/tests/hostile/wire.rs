//! Protobuf whose lengths lie, that nests without end, or that is no protobuf at all.

use super::case::{Case, JSON, MAPS, PROTOBUF};

const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const BYTES: u8 = 2;
const GROUP: u8 = 3;
const GROUP_END: u8 = 4;
const FIXED_32: u8 = 5;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = envelopes();
    cases.extend(messages());
    cases.extend(cut_everywhere());
    cases.extend(broken_anywhere());
    cases.extend(heavy());
    cases.extend(answers());
    cases
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

fn tag(number: u64, wire: u8) -> Vec<u8> {
    varint(number << 3 | u64::from(wire))
}

fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [tag(number, BYTES), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// An object's envelope: magic, kind, message.
fn envelope(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), field(1, &meta), field(2, raw)].concat()
}

fn map(raw: &[u8]) -> Vec<u8> {
    envelope("v1", "ConfigMap", raw)
}

/// A configmap with a generated name and a piece of data.
fn fine() -> Vec<u8> {
    let data = [field(1, b"key"), field(2, b"value")].concat();
    [field(1, &field(2, b"a")), field(2, &data)].concat()
}

fn case(name: &str, body: Vec<u8>, expected: &str) -> Case {
    Case::map(&format!("protobuf: {name}"), PROTOBUF, body, expected)
}

fn envelopes() -> Vec<Case> {
    let bad = "400 BadRequest";
    let raw = fine();
    let past =
        |length: u64| [b"k8s\0".to_vec(), tag(2, BYTES), varint(length), vec![0; 8]].concat();
    vec![
        case("fine", map(&raw), "201"),
        case("nothing", Vec::new(), bad),
        case("one byte", vec![0], bad),
        case("only the magic", b"k8s\0".to_vec(), bad),
        case("half the magic", b"k8".to_vec(), bad),
        case("another magic", [b"k8t\0".to_vec(), field(2, &raw)].concat(), bad),
        case("no envelope", raw.clone(), bad),
        case("JSON", b"{}".to_vec(), bad),
        case("the magic and JSON", b"k8s\0{}".to_vec(), bad),
        case("an envelope without a message", map(&[]), "422 Invalid"),
        case("an envelope in an envelope", map(&map(&raw)), bad),
        case("no kind", envelope("v1", "", &raw), "201 or 400 BadRequest"),
        case("no version", envelope("", "ConfigMap", &raw), "201 or 400 BadRequest"),
        case("another kind", envelope("v1", "Pod", &raw), bad),
        case("an unknown kind", envelope("v1", "Nope", &raw), bad),
        case("an unknown version", envelope("v9", "ConfigMap", &raw), bad),
        case("a kind that is no UTF-8", envelope("v1", "\u{fffd}", &raw), bad),
        case("a length past the end", past(9), bad),
        case("a length of 2 GiB", past(1 << 31), bad),
        case("a length beyond 63 bits", past(u64::MAX), bad),
        case("a length of 2^63", past(1 << 63), bad),
        case("rubbish behind", [map(&raw), vec![0xff; 16]].concat(), bad),
        case(
            "another encoding named",
            [map(&raw), field(3, b"gzip")].concat(),
            "201 or 400 BadRequest",
        ),
        case(
            "another media type named",
            [map(&raw), field(4, JSON.as_bytes())].concat(),
            "201 or 400 BadRequest",
        ),
        case("two messages", [map(&raw), field(2, &raw)].concat(), "201"),
        case("ones", vec![0xff; 4096], bad),
        case("the magic and ones", [b"k8s\0".to_vec(), vec![0xff; 4096]].concat(), bad),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn messages() -> Vec<Case> {
    let bad = "400 BadRequest";
    let with = |more: Vec<u8>| map(&[fine(), more].concat());
    let metadata = |more: Vec<u8>| map(&field(1, &[field(2, b"a"), more].concat()));
    let mut cases = vec![
        case("an unknown field", with(field(500, b"hello")), "201"),
        case("an unknown number", with([tag(500, VARINT), varint(u64::MAX)].concat()), "201"),
        case("an unknown fixed number", with([tag(500, FIXED_64), vec![1; 8]].concat()), "201"),
        case("a cut fixed number", with([tag(500, FIXED_64), vec![1; 7]].concat()), bad),
        case("a cut fixed number of 32 bits", with([tag(500, FIXED_32), vec![1; 3]].concat()), bad),
        case("the largest field number", with(field((1 << 29) - 1, b"x")), "201"),
        case(
            "a field number beyond the largest",
            with(field(1 << 33, b"x")),
            "201 or 400 BadRequest",
        ),
        case("field 0", with(field(0, b"x")), bad),
        case("wire type 6", with(tag(1, 6)), bad),
        case("wire type 7", with(tag(1, 7)), bad),
        case(
            "a group",
            with([tag(500, GROUP), tag(500, GROUP_END)].concat()),
            "201 or 400 BadRequest",
        ),
        case("a group that does not end", with(tag(500, GROUP)), bad),
        case("the end of no group", with(tag(500, GROUP_END)), bad),
        case(
            "a group that ends as another",
            with([tag(500, GROUP), tag(501, GROUP_END)].concat()),
            "201 or 400 BadRequest",
        ),
        case("a varint of eleven bytes", with([tag(500, VARINT), vec![0xff; 11]].concat()), bad),
        case("a varint that does not end", with([tag(500, VARINT), vec![0x80; 4]].concat()), bad),
        case(
            "a varint beyond 64 bits",
            with([tag(500, VARINT), vec![0xff; 9], vec![0x7f]].concat()),
            "201 or 400 BadRequest",
        ),
        case("a tag that does not end", with(vec![0x80; 3]), bad),
        case("a number where a message belongs", with([tag(1, VARINT), varint(1)].concat()), bad),
        case(
            "a fixed number where a map belongs",
            with([tag(2, FIXED_32), vec![0; 4]].concat()),
            bad,
        ),
        case("bytes where a truth belongs", with(field(4, b"yes")), bad),
        case("a truth of 7", with([tag(4, VARINT), varint(7)].concat()), "201"),
        case(
            "a truth twice",
            with([tag(4, VARINT), varint(0), tag(4, VARINT), varint(1)].concat()),
            "201",
        ),
        case(
            "a name that is no UTF-8",
            map(&field(1, &field(1, b"\xff\xfe"))),
            "422 Invalid or 400 BadRequest",
        ),
        case(
            "data that is no UTF-8",
            with(field(2, &[field(1, b"k"), field(2, b"\xff")].concat())),
            "201 or 400 BadRequest",
        ),
        case("data without a key", with(field(2, &field(2, b"x"))), "422 Invalid"),
        case("data without a value", with(field(2, &field(1, b"x"))), "201"),
        case(
            "data with a third member",
            with(field(2, &[field(1, b"x"), field(3, b"y")].concat())),
            "201 or 400 BadRequest",
        ),
        case(
            "data twice",
            with([field(2, &field(1, b"x")), field(2, &field(1, b"x"))].concat()),
            "201",
        ),
        case("a name twice", metadata(field(2, b"b")), "201"),
        case("a time of rubbish", metadata(field(8, &[0xff; 3])), bad),
        case(
            "a time far away",
            metadata(field(8, &[tag(1, VARINT), varint(u64::MAX >> 1)].concat())),
            "201 or 400 BadRequest",
        ),
        case(
            "a time before all",
            metadata(field(8, &[tag(1, VARINT), varint(1 << 63)].concat())),
            "201 or 400 BadRequest",
        ),
        case(
            "a generation below zero",
            metadata([tag(7, VARINT), varint(u64::MAX)].concat()),
            "201 or 422 Invalid",
        ),
    ];
    let pods = "/api/v1/namespaces/default/pods?dryRun=All";
    let pod = |name: &str, spec: Vec<u8>, expected: &str| {
        let raw = [field(1, &field(1, b"p")), field(2, &spec)].concat();
        let name = format!("protobuf: {name}");
        let case = Case::new(&name, http::Method::POST, pods, expected);
        case.sends(PROTOBUF, envelope("v1", "Pod", &raw))
    };
    let limit = |text: &[u8]| {
        let entry = [field(1, b"cpu"), field(2, &field(1, text))].concat();
        field(2, &[field(1, b"c"), field(8, &field(1, &entry))].concat())
    };
    cases.extend([
        pod("an amount that is none", limit(b"lots"), bad),
        pod("an amount of nothing", limit(b""), "400 or 422"),
        pod("an amount with a huge exponent", limit(b"1e1000000000"), "400 or 422"),
        pod("an amount of many digits", limit(&[b'9'; 100_000]), "400 or 422"),
        pod("a container of ones", field(2, &[0xff; 64]), bad),
        pod(
            "a port beyond 32 bits",
            field(2, &field(6, &[tag(3, VARINT), varint(u64::MAX)].concat())),
            "422 Invalid",
        ),
        pod("10,000 containers of nothing", field(2, b"").repeat(10_000), "422 Invalid"),
    ]);
    cases
}

/// A message that is cut at each byte.
fn cut_everywhere() -> Vec<Case> {
    let whole = map(&fine());
    (0..whole.len())
        .map(|at| {
            let body = whole[..at].to_vec();
            case(&format!("cut at byte {at}"), body, "400 BadRequest or 422 Invalid")
        })
        .collect()
}

/// A message of which one byte is another. It may still be a configmap.
fn broken_anywhere() -> Vec<Case> {
    let whole = map(&fine());
    let mut cases = Vec::new();
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut body = whole.clone();
            body[at] ^= flip;
            cases.push(case(&format!("byte {at} turned by {flip:#x}"), body, "400 or 422 or 201"));
        }
    }
    cases
}

/// What is small on the wire and large in memory.
fn heavy() -> Vec<Case> {
    let nested = |depth: usize| {
        let mut raw = Vec::new();
        for _ in 0..depth {
            raw = field(1, &raw);
        }
        raw
    };
    let groups = [tag(9, GROUP).repeat(1 << 20), tag(9, GROUP_END).repeat(1 << 20)].concat();
    let owner = field(1, &field(13, b"").repeat(1_000_000));
    let entry = field(2, b"");
    vec![
        case(
            "10,000 messages in each other",
            map(&nested(10_000)),
            "400 BadRequest or 422 Invalid",
        ),
        case("a million groups in each other", map(&groups), "400 BadRequest or 422 Invalid"),
        case("a million open groups", map(&tag(9, GROUP).repeat(1 << 20)), "400 BadRequest"),
        case("a million owners of nothing", map(&owner), "400 BadRequest or 422 Invalid"),
        case(
            "a million pieces of data of nothing",
            map(&entry.repeat(1_000_000)),
            "400 BadRequest or 422 Invalid",
        ),
        case("a million unknown fields", map(&field(99, b"").repeat(1_000_000)), "422 Invalid"),
        case("a million magics", b"k8s\0".repeat(700_000), "400 BadRequest"),
    ]
}

/// Protobuf is asked for where there is none, or in a form that there is not.
fn answers() -> Vec<Case> {
    let mut cases = Vec::new();
    for (accept, expected) in [
        ("application/vnd.kubernetes.protobuf", "200"),
        (
            "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io",
            "200 or 406 NotAcceptable",
        ),
        ("application/vnd.kubernetes.protobuf;as=Nope;v=v1;g=meta.k8s.io", "406 NotAcceptable"),
        ("application/json;as=Table;v=v9;g=meta.k8s.io", "406 NotAcceptable"),
        ("application/json;as=Table;v=v1;g=nope", "406 NotAcceptable"),
        ("application/json;as=Table", "406 NotAcceptable"),
        ("text/html", "406 NotAcceptable"),
        ("nonsense", "406 NotAcceptable"),
        ("application/json;q=nope", "200"),
        ("application/json;q=NaN", "200"),
        ("application/json;q=-1", "200"),
        ("application/json;q=1e999", "200"),
        (",,,,", "200 or 406 NotAcceptable"),
        (";;;;", "406 NotAcceptable"),
        ("*/*;*/*;*/*", "200"),
        ("application/*", "406 NotAcceptable or 200"),
        ("*", "200 or 406 NotAcceptable"),
        ("", "200"),
    ] {
        let name = format!("accept: {accept:?}");
        cases.push(Case::get(&name, MAPS, expected).with("accept", accept));
    }
    let many = "text/html;q=0.1,".repeat(3_000);
    cases.push(Case::get("accept: 3,000 of them", MAPS, "406 NotAcceptable").with("accept", &many));
    let long = format!("application/json;{}", "a=b;".repeat(10_000));
    cases.push(Case::get("accept: 10,000 parameters", MAPS, "200").with("accept", &long));
    cases
}
