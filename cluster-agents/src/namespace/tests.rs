//! How a namespace goes.

use serde_json::json;

use super::*;
use crate::testing::{Server, flatten, seconds};

fn going() -> Server {
    Server::with([json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "a", "deletionTimestamp": crate::testing::begin().to_string()},
        "spec": {"finalizers": ["kubernetes", "mine"]}, "status": {"phase": "Terminating"},
    })])
}

fn decision(server: &Server) -> Decision {
    decide(&server.world, &Key::new("", "a"), server.now)
}

fn found(server: &mut Server, remains: Remains) {
    let now = server.now;
    server.world.remains.insert("a".to_owned(), (remains, now));
}

#[test]
fn an_empty_namespace_loses_our_finalizer_and_keeps_others() {
    let mut server = going();
    assert_eq!(decision(&server), Decision::one(Action::Empty { namespace: "a".to_owned() }));
    found(&mut server, Remains::default());
    let actions = flatten(decision(&server).steps);
    let [Action::Replace { part: Part::Finalize, body, .. }] = actions.as_slice() else {
        panic!("{actions:?}")
    };
    assert_eq!(body["spec"]["finalizers"], json!(["mine"]));
}

#[test]
fn what_remains_is_told_and_tried_again_later() {
    let mut server = going();
    let remains = Remains {
        objects: [("pods.".to_owned(), 1), ("configmaps.".to_owned(), 2)].into_iter().collect(),
        finalizers: [("a.b/c".to_owned(), 2)].into_iter().collect(),
        ..Remains::default()
    };
    server.put(json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "a"}, "spec": {"containers": []}}));
    found(&mut server, remains);
    for action in flatten(decision(&server).steps) {
        server.act(action);
    }
    let status = server.find("Namespace", "a").unwrap()["status"].clone();
    let messages: Vec<&str> = status["conditions"].as_array().unwrap()[3..]
        .iter()
        .map(|condition| condition["message"].as_str().unwrap())
        .collect();
    assert_eq!(
        messages,
        [
            "Some resources are remaining: configmaps. has 2 resource instances, pods. has 1 \
             resource instances",
            "Some content in the namespace has finalizers remaining: a.b/c in 2 resource instances",
        ]
    );
    assert!(
        matches!(decision(&server), Decision { next: Next::After(_), steps } if steps.is_empty())
    );
    server.now = server.now.saturating_add(seconds(5)).unwrap();
    assert!(matches!(flatten(decision(&server).steps)[..], [Action::Empty { .. }]));
}

#[test]
fn the_last_pod_that_goes_ends_the_wait() {
    let mut server = going();
    let objects = [("pods.".to_owned(), 1)].into_iter().collect();
    found(&mut server, Remains { objects, ..Remains::default() });
    for action in flatten(decision(&server).steps) {
        server.act(action);
    }
    assert!(matches!(flatten(decision(&server).steps)[..], [Action::Empty { .. }]));
}

#[test]
fn a_namespace_that_stays_is_left_alone() {
    let server = Server::with([json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"},
        "spec": {"finalizers": ["kubernetes"]},
    })]);
    assert_eq!(decision(&server), Decision::nothing());
}
