//! The protobuf transcoder against what upstream's own encoders wrote.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use kstore_apiserver::schema::{decode, json, proto, types};
use serde_json::Value;

struct Vector {
    kind: String,
    id: kstore_apiserver::schema::TypeId,
    wire: Vec<u8>,
    json: &'static str,
}

fn vectors() -> Vec<Vector> {
    let lines: Vec<&str> = include_str!("data/protobuf.txt").lines().skip(1).collect();
    let read = |lines: &[&'static str]| {
        let [group, version, kind] = *lines[0].split(' ').collect::<Vec<_>>() else {
            panic!("{}", lines[0])
        };
        let group = if group == "-" { "" } else { group };
        Vector {
            kind: lines[0].to_owned(),
            id: types().kind(group, version, kind).unwrap(),
            wire: bytes(lines[1]),
            json: lines[2],
        }
    };
    lines.chunks(3).map(read).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Go writes `<`, `>` and `&` as escapes, which mean the same.
fn plain(json: &str) -> String {
    json.replace("\\u003c", "<").replace("\\u003e", ">").replace("\\u0026", "&")
}

fn members(value: Value) -> kstore_apiserver::object::Object {
    let Value::Object(members) = value else { panic!("an object is a map") };
    members
}

#[test]
fn protobuf_becomes_the_json_that_upstream_writes() {
    let vectors = vectors();
    assert!(vectors.len() > 400);
    for vector in vectors {
        let object = proto::decode(vector.id, &vector.wire).unwrap();
        assert_eq!(Value::Object(object).to_string(), plain(vector.json), "{}", vector.kind);
    }
}

#[test]
fn json_becomes_the_protobuf_that_upstream_writes() {
    for vector in vectors() {
        let (value, complaints) = json::parse(vector.json.as_bytes()).unwrap();
        assert_eq!(complaints, [], "{}", vector.kind);
        let wire = proto::encode(vector.id, &members(value)).unwrap();
        assert_eq!(wire, vector.wire, "{}: {}", vector.kind, vector.json);
    }
}

#[test]
fn what_upstream_writes_is_canonical_already() {
    for vector in vectors() {
        let mut object = members(json::parse(vector.json.as_bytes()).unwrap().0);
        let complaints = decode::check(vector.id, &mut object).unwrap();
        assert_eq!(complaints, [], "{}", vector.kind);
        assert_eq!(Value::Object(object).to_string(), plain(vector.json), "{}", vector.kind);
    }
}

#[test]
fn bytes_that_are_cut_off_or_turned_over_do_no_harm() {
    for vector in vectors().iter().step_by(7) {
        for cut in (0..vector.wire.len()).step_by(1 + vector.wire.len() / 40) {
            let _ = proto::decode(vector.id, &vector.wire[..cut]);
            let mut turned = vector.wire.clone();
            turned[cut] ^= 0xff;
            if let Ok(object) = proto::decode(vector.id, &turned) {
                proto::encode(vector.id, &object).unwrap();
            }
        }
    }
}

#[test]
fn an_object_goes_through_its_envelope() {
    let pod =
        members(serde_json::json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}));
    let wire = proto::encode_object(&pod).unwrap();
    assert!(wire.starts_with(b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12"));
    assert!(wire.ends_with(&[0x1a, 0, 0x22, 0]));
    let back = Value::Object(proto::decode_object(&wire).unwrap());
    assert_eq!(
        back.to_string(),
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"},"spec":{"containers":null},"status":{}}"#
    );
    assert!(proto::decode_object(b"k8s\0\x0a\x63").is_err());
    assert!(proto::decode_object(b"{}").unwrap_err().contains("expected prefix [107 56 115 0]"));
}

#[test]
fn small_bytes_cannot_become_a_huge_object() {
    let list = types().kind("", "v1", "PodList").unwrap();
    let wire: Vec<u8> = [0x12, 0].repeat(1_000_000);
    assert!(proto::decode(list, &wire).unwrap_err().contains("more than"));
    let schemas = types().named("apiextensions.v1.JSONSchemaProps").unwrap();
    let mut wire = Vec::new();
    for _ in 0..2000 {
        let mut outer = vec![0xe2, 0x01]; // field 28, `not`
        let mut length = wire.len();
        while length > 127 {
            outer.push(u8::try_from(length & 127).unwrap() | 128);
            length >>= 7;
        }
        outer.push(u8::try_from(length).unwrap());
        outer.extend(&wire);
        wire = outer;
    }
    assert!(proto::decode(schemas, &wire).unwrap_err().contains("too deeply"));
}
