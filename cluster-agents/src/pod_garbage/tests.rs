//! Pods that nobody else clears away.

use serde_json::{Value, json};

use super::*;
use crate::testing::{Server, flatten, seconds};

fn pod(name: &str, node: Option<&str>, phase: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
           "spec": {"nodeName": node, "containers": []}, "status": {"phase": phase}})
}

#[test]
fn pods_of_a_node_that_is_gone_fail_and_go_after_a_while() {
    let mut server = Server::with([pod("p", Some("gone"), "Running")]);
    let key = Key::new("default", "p");
    let early = decide(&server.world, &key, server.now);
    assert_eq!(early.next, Next::After(Duration::from_secs(40)));
    assert!(early.steps.is_empty());
    server.now = server.now.saturating_add(seconds(41)).unwrap();
    let actions = flatten(decide(&server.world, &key, server.now).steps);
    let [Action::Patch { body, .. }, Action::Delete { deletion, .. }] = actions.as_slice() else {
        panic!("{actions:?}")
    };
    assert_eq!(body["status"]["phase"], "Failed");
    assert_eq!(body["status"]["conditions"][0]["reason"], "DeletionByPodGC");
    assert_eq!(deletion.grace_seconds, Some(0));
}

#[test]
fn the_oldest_finished_pods_go_when_there_are_too_many() {
    let mut server = Server::new();
    server.world.finished_pods_most = 2;
    server.put(crate::testing::node("n", "4"));
    for name in ["a", "b", "c", "d"] {
        server.put(pod(name, Some("n"), "Succeeded"));
        server.now = server.now.saturating_add(seconds(1)).unwrap();
    }
    server.settle(&[controller()]);
    let left: Vec<String> =
        server.world.tables.pods.all().map(|pod| pod.name().to_owned()).collect();
    assert_eq!(left, ["c", "d"]);
}
