//! Silent nodes, and what becomes of the pods on them.

use serde_json::{Value, json};

use super::*;
use crate::testing::{Server, begin, flatten, seconds};

fn node(ready: &str, taints: &Value) -> Value {
    let beat = begin().to_string();
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
        "spec": {"taints": taints},
        "status": {"conditions": [
            {"type": "Ready", "status": ready, "lastHeartbeatTime": beat}]},
    })
}

fn pod(tolerations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"nodeName": "n", "tolerations": tolerations, "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn taints_of(server: &Server) -> Vec<String> {
    let node = server.find("Node", "n").unwrap();
    let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let text = |taint: &Value| {
        let (key, effect) = (taint["key"].as_str().unwrap(), taint["effect"].as_str().unwrap());
        format!("{}:{effect}", key.trim_start_matches("node.kubernetes.io/"))
    };
    taints.iter().map(text).collect()
}

fn look(server: &mut Server) {
    for _ in 0..3 {
        let decision = decide_node(&server.world, &Key::new("", "n"), server.now);
        for action in flatten(decision.steps) {
            server.act(action);
        }
    }
}

#[test]
fn a_silent_node_becomes_unreachable_and_its_pods_not_ready() {
    let mut server = Server::with([node("True", &json!(null)), pod(&json!([]))]);
    server.now = begin().saturating_add(seconds(30)).unwrap();
    look(&mut server);
    assert!(taints_of(&server).is_empty(), "not yet");
    server.now = begin().saturating_add(seconds(41)).unwrap();
    look(&mut server);
    assert_eq!(taints_of(&server), ["unreachable:NoSchedule", "unreachable:NoExecute"]);
    let conditions = server.find("Node", "n").unwrap()["status"]["conditions"].clone();
    let ready = conditions.as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap();
    assert_eq!(ready["reason"], "NodeStatusUnknown");
    let pod = server.find("Pod", "p").unwrap();
    assert_eq!(pod["status"]["conditions"][0]["status"], "False");
}

#[test]
fn a_lease_that_is_renewed_keeps_a_node_alive() {
    let mut server = Server::with([node("True", &json!(null))]);
    server.now = begin().saturating_add(seconds(100)).unwrap();
    let renewed = begin().saturating_add(seconds(70)).unwrap();
    server.put(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "n", "namespace": LEASES},
        "spec": {"renewTime": format!("{renewed:.6}")},
    }));
    look(&mut server);
    assert!(taints_of(&server).is_empty());
}

#[test]
fn taints_follow_what_the_node_says_of_itself() {
    let ours = json!([
        {"key": NOT_READY, "effect": "NoSchedule"}, {"key": NOT_READY, "effect": "NoExecute"},
        {"key": "mine", "effect": "NoSchedule"},
    ]);
    let mut server = Server::with([node("True", &ours)]);
    look(&mut server);
    assert_eq!(taints_of(&server), ["mine:NoSchedule"]);
    server.put(node("False", &json!([])));
    look(&mut server);
    assert_eq!(taints_of(&server), ["not-ready:NoSchedule", "not-ready:NoExecute"]);
    server.patch("Node", "n", &json!({"spec": {"unschedulable": true}}));
    look(&mut server);
    assert!(taints_of(&server).contains(&"unschedulable:NoSchedule".to_owned()));
}

#[test]
fn pods_stand_a_taint_for_as_long_as_they_tolerate_it() {
    let taint = json!([{"key": UNREACHABLE, "effect": "NoExecute",
                        "timeAdded": begin().to_string()}]);
    let tolerates = |seconds: &Value| {
        json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": seconds}])
    };
    for (tolerations, expected) in [
        (json!([]), Ok(())),
        (tolerates(&json!(null)), Err(Next::Idle)),
        (tolerates(&json!(300)), Err(Next::After(Duration::from_secs(200)))),
        (tolerates(&json!(100)), Ok(())),
    ] {
        let mut server = Server::with([node("Unknown", &taint), pod(&tolerations)]);
        server.now = begin().saturating_add(seconds(100)).unwrap();
        let decision = decide_pod(&server.world, &Key::new("default", "p"), server.now);
        let found = if decision.steps.is_empty() { Err(decision.next) } else { Ok(()) };
        assert_eq!(found, expected, "{tolerations}");
        for action in flatten(decision.steps) {
            server.act(action);
        }
        if expected.is_ok() {
            let pod = server.find("Pod", "p").unwrap();
            assert!(pod["metadata"]["deletionTimestamp"].is_string());
            let conditions = pod["status"]["conditions"].as_array().unwrap().clone();
            assert!(conditions.iter().any(|c| c["reason"] == "DeletionByTaintManager"));
        }
    }
}
