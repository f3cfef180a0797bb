//! Strategic merge patches against what upstream's library made of them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use kstore_apiserver::object::Object;
use kstore_apiserver::patch::{JsonPatch, merge_patch, strategic_merge_patch};
use kstore_apiserver::schema::{json, types};
use serde_json::Value;

fn read(text: &str) -> Value {
    json::parse(text.as_bytes()).unwrap().0
}

fn members(text: &str) -> Object {
    let Value::Object(members) = read(text) else { panic!("{text}") };
    members
}

#[test]
fn strategic_patches_do_what_the_library_of_upstream_does() {
    let lines: Vec<&str> = include_str!("data/patches.txt").lines().skip(1).collect();
    let (mut wrong, mut texts) = (0, 0);
    for case in lines.chunks(4) {
        let [kind, original, patch, expected] = *case else { panic!("a case has four lines") };
        let [group, version, name] = *kind.split(' ').collect::<Vec<_>>() else { panic!("{kind}") };
        let id = types().kind(if group == "-" { "" } else { group }, version, name).unwrap();
        let ours = strategic_merge_patch(id, members(original), members(patch));
        let fits = match (&ours, expected.strip_prefix("error ")) {
            (Ok(ours), None) => Value::Object(ours.clone()) == read(expected),
            (Err(status), Some(error)) => {
                // Upstream looks at the members in no particular order and says what it met first.
                texts += usize::from(status.message.replace('\n', "\\n") == error);
                true
            }
            _ => false,
        };
        if !fits {
            wrong += 1;
            let ours = ours.map(|ours| Value::Object(ours).to_string());
            println!("{kind}\n{original}\n{patch}\n  ours {ours:?}\n  want {expected}");
        }
    }
    assert_eq!(wrong, 0, "of {}", lines.len() / 4);
    let errors = lines.chunks(4).filter(|case| case[3].starts_with("error ")).count();
    assert!(texts * 2 > errors, "{texts} of {errors} texts are upstream's");
    assert!(lines.len() / 4 > 400);
}

#[test]
fn plain_patches_do_what_the_library_of_upstream_does() {
    let lines: Vec<&str> = include_str!("data/plainpatches.txt").lines().skip(1).collect();
    for case in lines.chunks(5) {
        let [document, merge, merged, operations, patched] = *case else {
            panic!("a case has five lines")
        };
        let mut ours = members(document);
        merge_patch(&mut ours, members(merge));
        assert_eq!(Value::Object(ours), read(merged), "{document} {merge}");
        let (patch, _) = JsonPatch::parse(operations.as_bytes()).unwrap();
        match patch.apply(members(document)) {
            Ok(ours) => assert!(
                patched != "error" && ours == read(patched),
                "{document} {operations}: {ours}, not {patched}"
            ),
            Err(status) => {
                assert_eq!(status.code, 422);
                assert_eq!(patched, "error", "{document} {operations}");
            }
        }
    }
    assert!(lines.len() / 5 > 500);
}
