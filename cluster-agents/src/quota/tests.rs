//! What objects count for.

use serde_json::{Value, json};

use super::*;
use crate::testing::Server;

fn pod(name: &str, phase: &str, cpu: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "resources": {
            "requests": {"cpu": cpu}, "limits": {"cpu": "1", "memory": "1Mi"}}}]},
        "status": {"phase": phase, "qosClass": "Burstable"},
    })
}

fn used(hard: &Value, more: &Value) -> Value {
    let mut spec = json!({"hard": hard});
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    let mut server = Server::with([
        pod("a", "Running", "500m"),
        pod("b", "Pending", "1"),
        pod("done", "Succeeded", "7"),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
               "spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}}),
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
               "spec": spec}),
    ]);
    server.settle(&[controller()]);
    server.find("ResourceQuota", "q").unwrap()["status"]["used"].clone()
}

#[test]
fn unfinished_pods_and_all_objects_are_counted() {
    let hard = json!({"pods": "9", "cpu": "9", "requests.cpu": "9", "limits.memory": "9Gi",
        "services": "9", "services.nodeports": "9", "count/pods": "9",
        "count/replicasets.apps": "9", "requests.x.io/gpu": "1"});
    assert_eq!(
        used(&hard, &json!({})),
        json!({"count/pods": "2", "count/replicasets.apps": "0", "cpu": "1500m",
            "limits.memory": "2Mi", "pods": "2", "requests.cpu": "1500m",
            "requests.x.io/gpu": "0", "services": "1", "services.nodeports": "2"})
    );
}

#[test]
fn a_scope_leaves_pods_out() {
    for (scope, expected) in [("BestEffort", "0"), ("NotBestEffort", "2"), ("Terminating", "0")] {
        let used = used(&json!({"pods": "9"}), &json!({"scopes": [scope]}));
        assert_eq!(used["pods"], expected, "{scope}");
    }
}
