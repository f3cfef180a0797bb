//! Selectors against what upstream's packages answered.

use kstore_apiserver::selector::{fields, labels};
use serde_json::{Value, json};

/// The sets of labels for which the answers stand in the file.
fn label_sets() -> Vec<Value> {
    vec![
        json!({}),
        json!({"a": "b"}),
        json!({"a": "b", "app": "web", "tier": ""}),
        json!({"a": "5", "b": "7"}),
        json!({"app": "A", "x.y/z": "b"}),
    ]
}

fn check_labels(case: &[Value], selector: Result<labels::Selector, String>) {
    match selector {
        Ok(selector) => {
            assert_eq!(selector.to_string(), case[2], "{case:?}");
            let selected: Vec<bool> =
                label_sets().iter().map(|labels| selector.matches(labels.as_object())).collect();
            assert_eq!(json!(selected), case[3], "{case:?}");
        }
        Err(text) => assert_eq!(format!("error {text}"), case[2], "{case:?}"),
    }
}

#[test]
fn selectors_are_read_written_and_followed_as_upstream_does() {
    let lines = include_str!("data/selectors.txt").lines();
    let cases: Vec<Vec<Value>> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(cases.len() > 1500);
    for case in cases {
        let text = || case[1].as_str().unwrap();
        match case[0].as_str().unwrap() {
            "labels" => check_labels(&case, labels::Selector::parse(text())),
            "object" => check_labels(&case, labels::Selector::from_object(Some(&case[1]))),
            _ => {
                let ours = match fields::Selector::parse(text()) {
                    Ok(selector) => selector.to_string(),
                    Err(error) => format!("error {error}"),
                };
                assert_eq!(ours, case[2], "{case:?}");
            }
        }
    }
}
