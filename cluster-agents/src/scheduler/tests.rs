//! Which node a pod gets, or what it is told.

use serde_json::{Value, json};

use super::*;
use crate::testing::{Server, flatten, node};

fn pod(name: &str, spec: &Value) -> Value {
    let mut whole = json!({"containers": [{"name": "c", "image": "x"}]});
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": whole,
           "status": {"phase": "Pending"}})
}

fn asks(cpu: &str) -> Value {
    json!([{"name": "c", "image": "x", "resources": {"requests": {"cpu": cpu}}}])
}

/// The node that a pod of this spec gets, or the message.
fn check(nodes: &[Value], spec: &Value) -> String {
    let mut server = Server::with(nodes.iter().cloned());
    server.put(pod("p", spec));
    let decision = decide(&server.world, &Key::new("default", "p"), server.now);
    let actions = flatten(decision.steps);
    match &actions[0] {
        Action::Bind { node, .. } => node.clone(),
        Action::Patch { body, .. } => {
            body["status"]["conditions"][0]["message"].as_str().unwrap().to_owned()
        }
        other => panic!("{other:?}"),
    }
}

fn tainted(name: &str, key: &str, effect: &str) -> Value {
    let mut node = node(name, "4");
    node["spec"]["taints"] = json!([{"key": key, "value": "v", "effect": effect}]);
    node
}

fn affinity(kind: &str, key: &str, operator: &str, values: &[&str]) -> Value {
    json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{kind: [{"key": key, "operator": operator, "values": values}]}]}}}})
}

#[test]
fn a_pod_goes_where_it_may() {
    let nodes = [node("a", "4"), tainted("b", "k", "NoSchedule"), tainted("c", "l", "NoExecute")];
    let tolerates = |key: &str| {
        json!({"tolerations": [{"key": key, "operator": "Equal", "value": "v"}],
               "nodeSelector": {"name": if key == "k" { "b" } else { "c" }}})
    };
    let cases = [
        (json!({}), "a"),
        (tolerates("k"), "b"),
        (tolerates("l"), "c"),
        (affinity("matchExpressions", "name", "In", &["a"]), "a"),
        (affinity("matchExpressions", "name", "NotIn", &["b", "c"]), "a"),
        (affinity("matchFields", "metadata.name", "In", &["a"]), "a"),
    ];
    for (spec, expected) in cases {
        assert_eq!(check(&nodes, &spec), expected, "{spec}");
    }
}

#[test]
fn a_pod_that_fits_nowhere_is_told_why_in_upstreams_words() {
    let after = "no new claims to deallocate, preemption:";
    let help = "Preemption is not helpful for scheduling.";
    let cases = [
        (vec![], json!({}), "no nodes available to schedule pods".to_owned()),
        (
            vec![node("a", "1"), tainted("b", "k", "NoSchedule"), tainted("c", "k", "NoSchedule")],
            json!({"containers": asks("2")}),
            format!(
                "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s). \
                 {after} 0/3 nodes are available: 3 {help}"
            ),
        ),
        (
            vec![node("a", "1")],
            json!({"nodeSelector": {"no": "such"}, "preemptionPolicy": "Never"}),
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. no new \
             claims to deallocate, preemption: not eligible due to preemptionPolicy=Never."
                .to_owned(),
        ),
        (
            vec![node("a", "1")],
            affinity("matchFields", "metadata.name", "In", &["z"]),
            format!(
                "0/1 nodes are available: 1 node(s) didn't satisfy plugin(s) [NodeAffinity]. \
                 {after} 0/1 nodes are available: 1 {help}"
            ),
        ),
    ];
    for (nodes, spec, expected) in cases {
        assert_eq!(check(&nodes, &spec), expected);
    }
}

#[test]
fn a_full_node_might_be_freed_by_preemption_that_finds_no_victims() {
    let mut server = Server::with([node("a", "2")]);
    server.put(pod("old", &json!({"containers": asks("2"), "nodeName": "a"})));
    server.put(pod("new", &json!({"containers": asks("1")})));
    let decision = decide(&server.world, &Key::new("default", "new"), server.now);
    assert_eq!(decision.next, Next::Parked);
    let text = format!("{:?}", decision.steps);
    assert!(text.contains("1 No preemption victims found for incoming pod."), "{text}");
}

#[test]
fn what_is_on_its_way_to_a_node_counts_as_there() {
    let mut server = Server::with([node("a", "2"), node("b", "2")]);
    for name in ["p", "q", "r"] {
        server.put(pod(name, &json!({"containers": asks("2")})));
    }
    let mut places = Vec::new();
    for name in ["p", "q", "r"] {
        let key = Key::new("default", name);
        let actions = flatten(decide(&server.world, &key, server.now).steps);
        if let Action::Bind { pod, uid, node } = &actions[0] {
            server.world.assume(pod, uid, node);
            places.push(node.clone());
        }
    }
    places.sort();
    assert_eq!(places, ["a", "b"], "and nothing is left for the third");
}

#[test]
fn a_binding_that_failed_is_forgotten() {
    let mut server = Server::with([node("a", "2")]);
    server.put(pod("p", &json!({"containers": asks("2")})));
    let key = Key::new("default", "p");
    let uid = server.world.tables.pods.find(&key).unwrap().uid().to_owned();
    server.world.assume(&key, &uid, "a");
    assert_eq!(server.world.usage("a").unwrap().pods, 1);
    server.world.forget(&key, &uid);
    assert_eq!(server.world.usage("a").unwrap().pods, 0);
    let actions = flatten(decide(&server.world, &key, server.now).steps);
    assert!(matches!(&actions[0], Action::Bind { node, .. } if node == "a"));
}

#[test]
fn gated_foreign_and_deleted_pods_are_left_alone() {
    for spec in [
        json!({"schedulingGates": [{"name": "g"}]}),
        json!({"schedulerName": "mine"}),
        json!({"nodeName": "a"}),
    ] {
        let mut server = Server::with([node("a", "2")]);
        server.put(pod("p", &spec));
        let decision = decide(&server.world, &Key::new("default", "p"), server.now);
        assert_eq!(decision, Decision::nothing(), "{spec}");
    }
}

#[test]
fn the_preferred_and_the_emptier_node_win() {
    let prefers = json!({"affinity": {"nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 10, "preference":
                {"matchExpressions": [{"key": "name", "operator": "In", "values": ["b"]}]}}]}}});
    let nodes = [node("a", "4"), node("b", "4"), tainted("c", "k", "PreferNoSchedule")];
    assert_eq!(check(&nodes, &prefers), "b");
    let mut server = Server::with([node("a", "4"), node("b", "4")]);
    server.put(pod("old", &json!({"containers": asks("3"), "nodeName": "a"})));
    server.put(pod("new", &json!({"containers": asks("1")})));
    let actions = flatten(decide(&server.world, &Key::new("default", "new"), server.now).steps);
    assert!(matches!(&actions[0], Action::Bind { node, .. } if node == "b"));
}

#[test]
fn pods_of_higher_priority_come_first_then_older_ones() {
    let mut server = Server::new();
    server.put(pod("low", &json!({})));
    server.put(pod("high", &json!({"priority": 100})));
    server.now = server.now.saturating_add(crate::testing::seconds(9)).unwrap();
    server.put(pod("late", &json!({})));
    let rank = |name: &str| rank(&server.world, &Key::new("default", name));
    assert!(rank("high") < rank("low") && rank("low") < rank("late"));
}

#[test]
fn room_on_a_node_wakes_those_who_wait_and_a_heartbeat_does_not() {
    let mut server = Server::with([node("a", "2")]);
    server.put(pod("p", &json!({"containers": asks("9")})));
    let woken = |server: &Server, old: Value, new: Value| {
        let object =
            |value: Value| Object::parse(&crate::testing::resource("Node"), &value.to_string());
        let change = Change::Object { old: object(old), new: object(new) };
        let mut out = BTreeSet::new();
        keys(&server.world, &change, &mut out);
        out.len()
    };
    let mut beat = node("a", "2");
    beat["status"]["conditions"] =
        json!([{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]);
    assert_eq!(woken(&server, node("a", "2"), beat), 0);
    assert_eq!(woken(&server, node("a", "2"), node("a", "16")), 1);
}
