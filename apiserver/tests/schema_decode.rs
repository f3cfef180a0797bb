//! Strict decoding, amounts and YAML against what upstream's libraries answered.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::cmp::Ordering;

use kstore_apiserver::schema::quantity::Quantity;
use kstore_apiserver::schema::{decode, json, proto, types, yaml};
use serde_json::Value;

/// Go writes `<`, `>` and `&` as escapes, which mean the same.
fn plain(json: &str) -> String {
    json.replace("\\u003c", "<").replace("\\u003e", ">").replace("\\u0026", "&")
}

fn answer(kind: &str, body: &str, by: Way) -> String {
    let [group, version, kind] = *kind.split(' ').collect::<Vec<_>>() else { panic!("{kind}") };
    let id = types().kind(if group == "-" { "" } else { group }, version, kind).unwrap();
    let (value, duplicates) = json::parse(body.as_bytes()).unwrap();
    let Value::Object(mut object) = value else { panic!("a body is an object") };
    let checked = match by {
        Way::Text => decode::check(id, &mut object),
        Way::Tree => decode::check_patched(id, &mut object),
    };
    match checked {
        Ok(unknown) => {
            let complaints = decode::complaints(duplicates, unknown);
            let json = Value::Object(object).to_string();
            [vec![json], complaints].concat().join("\t")
        }
        Err(text) => format!("error {text}"),
    }
}

/// Upstream's two ways to an object: from a text, and from the tree that a patch left.
#[derive(Clone, Copy)]
enum Way {
    Text,
    Tree,
}

#[test]
fn objects_with_faults_are_decoded_as_upstream_does() {
    let lines: Vec<&str> = include_str!("data/decoding.txt").lines().skip(1).collect();
    let mut wrong = 0;
    for case in lines.chunks(4) {
        for (by, want) in [(Way::Text, case[2]), (Way::Tree, case[3])] {
            let ours = answer(case[0], case[1], by);
            if ours != plain(want) {
                wrong += 1;
                println!("{}\n{}\n  ours {ours}\n  want {want}", case[0], case[1]);
            }
        }
    }
    assert_eq!(wrong, 0, "of {}", lines.len() / 2);
    assert!(lines.len() / 4 > 400);
}

#[test]
fn amounts_are_read_written_compared_and_added_as_upstream_does() {
    for line in include_str!("data/amounts.txt").lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [text, canonical, value, milli, other, order, sum, difference] = *fields.as_slice()
        else {
            let error = Quantity::parse(fields[0]).unwrap_err();
            assert_eq!(format!("error {error}"), fields[1], "{line}");
            continue;
        };
        let (ours, other) = (Quantity::parse(text).unwrap(), Quantity::parse(other).unwrap());
        assert_eq!(ours.to_string(), canonical, "{line}");
        // Far out upstream wraps around, ours stays at the bound; and upstream rounds some of the
        // negative ones up, ours all of them away from zero.
        for (ours, theirs) in [(ours.value(), value), (ours.milli_value(), milli)] {
            if (0..1 << 60).contains(&ours) && !text.starts_with('-') {
                assert_eq!(ours.to_string(), theirs, "{line}");
            }
        }
        let found = match ours.cmp(&other) {
            Ordering::Less => "-1",
            Ordering::Equal => "0",
            Ordering::Greater => "1",
        };
        assert_eq!(found, order, "{line}");
        // Upstream's numbers have no bound, ours have some 37 digits.
        if sum.len() < 36 && difference.len() < 36 {
            assert_eq!(ours.plus(&other).to_string(), sum, "{line}");
            assert_eq!(ours.minus(&other).to_string(), difference, "{line}");
        }
    }
}

#[test]
fn yaml_is_read_as_upstream_does() {
    let lines: Vec<&str> = include_str!("data/yaml.txt").lines().skip(1).collect();
    for case in lines.chunks(3) {
        let text: String = serde_json::from_str(case[0]).unwrap();
        match yaml::parse(text.as_bytes()) {
            Ok((value, complaints)) => {
                assert_eq!(value.to_string(), plain(case[1]), "{}", case[0]);
                let complaints: String = complaints.iter().map(ToString::to_string).collect();
                assert_eq!(complaints.replace('\n', "\\n"), case[2], "{}", case[0]);
            }
            // Where the text is no YAML the words are those of the parser, which is another one.
            Err(error) => assert!(case[1].starts_with("error "), "{}: {error}", case[0]),
        }
    }
}

/// A generator that needs nothing but its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}

#[test]
fn texts_with_bytes_turned_over_are_taken_or_refused_but_do_no_harm() {
    let seed = 0x5eed_0004;
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let lines: Vec<&str> = include_str!("data/decoding.txt").lines().skip(1).collect();
    for case in lines.chunks(4) {
        let [group, version, kind] = *case[0].split(' ').collect::<Vec<_>>() else {
            panic!("{}", case[0])
        };
        let id = types().kind(if group == "-" { "" } else { group }, version, kind).unwrap();
        for _ in 0..8 {
            let mut text = case[1].as_bytes().to_vec();
            for _ in 0..=random.below(4) {
                let at = random.below(text.len());
                match random.below(3) {
                    0 => text[at] = b"{}[]:,\"\\0-e.& *#|>\n\t\xff\0"[random.below(22)],
                    1 => text.truncate(at.max(1)),
                    _ => text.insert(at, b"{}[]\":,-"[random.below(8)]),
                }
            }
            for parsed in [json::parse(&text), yaml::parse(&text)] {
                let Ok((Value::Object(mut object), _)) = parsed else { continue };
                if decode::check(id, &mut object).is_ok() {
                    let wire = proto::encode(id, &object).unwrap();
                    // What is canonical stays so on the way through protobuf.
                    let mut again = proto::decode(id, &wire).unwrap();
                    decode::check(id, &mut again).unwrap();
                    assert_eq!(
                        proto::encode(id, &again).unwrap(),
                        wire,
                        "{}",
                        String::from_utf8_lossy(&text)
                    );
                }
            }
        }
    }
}
