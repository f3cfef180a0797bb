//! Too few, too many, not ours: what a replica set does about its pods.

use serde_json::{Value, json};

use super::*;
use crate::testing::{Server, flatten, replica_set};

fn pod(name: &str, owner: Option<&str>, more: &Value) -> Value {
    let owners: Vec<Value> = owner
        .map(|uid| {
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid,
                   "controller": true, "blockOwnerDeletion": true})
        })
        .into_iter()
        .collect();
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web"}, "ownerReferences": owners},
        "spec": {"containers": [{"name": "c", "image": "x:1"}], "nodeName": "n"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    for (part, value) in more.as_object().unwrap() {
        for (field, value) in value.as_object().unwrap() {
            pod[part][field] = value.clone();
        }
    }
    pod
}

fn with_set(replicas: i32) -> (Server, String) {
    let mut server = Server::new();
    server.put(replica_set("web", replicas));
    let uid = server.world.tables.replica_sets.all().next().unwrap().uid().to_owned();
    (server, uid)
}

fn decision(server: &Server) -> Decision {
    decide(&server.world, &Key::new("default", "web"), server.now)
}

fn deleted(server: &Server) -> Vec<String> {
    let actions = flatten(decision(server).steps);
    let names = actions.iter().filter_map(|action| match action {
        Action::Delete { target, .. } => Some(target.key.name.clone()),
        _ => None,
    });
    names.collect()
}

#[test]
fn missing_pods_are_created_in_one_batch_from_the_template() {
    let (server, uid) = with_set(3);
    let decision = decision(&server);
    let Step::Batch(creates) = &decision.steps[0] else { panic!("{decision:?}") };
    assert_eq!(creates.len(), 3);
    let Action::Create { body, namespace, .. } = &creates[0] else { panic!("{creates:?}") };
    assert_eq!(namespace, "default");
    assert_eq!(body["metadata"]["generateName"], "web-");
    assert_eq!(body["metadata"]["ownerReferences"][0]["uid"], uid.as_str());
    assert_eq!(body["metadata"]["labels"]["app"], "web");
}

#[test]
fn the_least_useful_pods_go_first() {
    let cases = [
        ("no node", json!({"spec": {"nodeName": null}})),
        ("pending", json!({"status": {"phase": "Pending"}})),
        ("unready", json!({"status": {"conditions": []}})),
        (
            "cheap",
            json!({"metadata": {"annotations":
                {"controller.kubernetes.io/pod-deletion-cost": "-5"}}}),
        ),
        (
            "restarted",
            json!({"status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "",
                "ready": true, "restartCount": 7}]}}),
        ),
    ];
    for (why, more) in cases {
        let (mut server, uid) = with_set(2);
        for name in ["a", "z"] {
            server.put(pod(name, Some(&uid), &json!({})));
        }
        server.put(pod("m", Some(&uid), &more));
        assert_eq!(deleted(&server), ["m"], "{why}");
    }
}

#[test]
fn crowded_nodes_give_pods_up_first() {
    let (mut server, uid) = with_set(2);
    for (name, node) in [("a", "lonely"), ("b", "crowded"), ("c", "crowded")] {
        server.put(pod(name, Some(&uid), &json!({"spec": {"nodeName": node}})));
    }
    let gone = deleted(&server);
    assert!(gone == ["b"] || gone == ["c"], "{gone:?}");
}

#[test]
fn pods_on_their_way_out_and_finished_ones_do_not_count() {
    let (mut server, uid) = with_set(1);
    let leaving = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    server.put(pod("a", Some(&uid), &leaving));
    server.put(pod("b", Some(&uid), &json!({"status": {"phase": "Failed"}})));
    let Step::Batch(creates) = &decision(&server).steps[0] else { panic!() };
    assert_eq!(creates.len(), 1);
}

#[test]
fn orphans_are_adopted_and_strangers_released_before_anything_is_counted() {
    let (mut server, uid) = with_set(2);
    server.put(pod("orphan", None, &json!({})));
    server.put(pod("stranger", Some(&uid), &json!({"metadata": {"labels": {"app": "other"}}})));
    let actions = flatten(decision(&server).steps);
    assert_eq!(actions.len(), 2, "no pod is created yet: {actions:?}");
    server.settle(&[controller()]);
    let owner =
        |name: &str| server.find("Pod", name).unwrap()["metadata"]["ownerReferences"].clone();
    assert_eq!(owner("orphan")[0]["uid"], uid.as_str());
    assert!(owner("stranger").as_array().is_none_or(Vec::is_empty));
    let own = server.world.pods_of_owner(&uid).count();
    assert_eq!(own, 2);
}

#[test]
fn a_set_that_goes_away_neither_adopts_nor_creates() {
    let (mut server, _) = with_set(2);
    server.put(pod("orphan", None, &json!({})));
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z",
        "finalizers": ["foregroundDeletion"]}});
    server.patch("ReplicaSet", "web", &going);
    let actions = flatten(decision(&server).steps);
    assert!(actions.iter().all(|action| matches!(action, Action::Replace { .. })), "{actions:?}");
}

#[test]
fn a_failure_to_create_is_a_condition_until_it_is_over() {
    let (mut server, _) = with_set(1);
    let key = Key::new("default", "web");
    let failure = Failure { kind: FailureKind::Other, message: "exceeded quota".to_owned() };
    server.world.note_failure(NAME, &key, Some(failure));
    let steps = decision(&server).steps;
    let Step::One(Action::Replace { body, .. }) = &steps[0] else { panic!("{steps:?}") };
    let condition = &body["status"]["conditions"][0];
    assert_eq!(condition["type"], "ReplicaFailure");
    assert_eq!(condition["reason"], "FailedCreate");
    assert_eq!(condition["message"], "exceeded quota");
    assert!(matches!(&steps[2], Step::Batch(creates) if creates.len() == 1), "and it tries again");
    for action in flatten(steps) {
        server.act(action);
    }
    assert_eq!(server.events, ["FailedCreate: Error creating: exceeded quota"]);
    server.world.note_failure(NAME, &key, None);
    server.settle(&[controller()]);
    let status = server.find("ReplicaSet", "web").unwrap()["status"].clone();
    assert!(status.get("conditions").is_none(), "{status}");
}

#[test]
fn a_pod_is_available_when_it_has_been_ready_for_long_enough() {
    let (mut server, uid) = with_set(1);
    server.patch("ReplicaSet", "web", &json!({"spec": {"minReadySeconds": 10}}));
    let since = server.now.to_string();
    let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
    server.put(pod("a", Some(&uid), &json!({"status": {"conditions": ready}})));
    assert_eq!(decision(&server).next, Next::After(std::time::Duration::from_secs(10)));
    server.settle(&[controller()]);
    let count = |server: &Server| {
        server.find("ReplicaSet", "web").unwrap()["status"]["availableReplicas"].as_i64()
    };
    assert_eq!(count(&server).unwrap_or(0), 0);
    server.now = server.now.saturating_add(crate::testing::seconds(10)).unwrap();
    let later = decision(&server);
    assert_eq!(later.next, Next::Idle);
    for action in flatten(later.steps) {
        server.act(action);
    }
    assert_eq!(count(&server), Some(1));
}
