//! The lives of pods on hollow nodes.

use serde_json::{Value, json};

use super::*;
use crate::testing::{Server, node, seconds};

fn cluster() -> Server {
    let mut server = Server::new();
    server.world.hollow.insert("n".to_owned(), Hollow::new(HollowOptions::named("n")));
    server.put(node("n", "4"));
    server
}

fn pod(name: &str, cpu: &str, policy: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"nodeName": "n", "restartPolicy": policy, "initContainers": [
                    {"name": "i", "image": "i"}],
                 "containers": [{"name": "c", "image": "x:1",
                                 "resources": {"requests": {"cpu": cpu}}}]},
    })
}

fn pods_controller() -> Vec<Controller> {
    controllers().into_iter().skip(1).collect()
}

fn phase(server: &Server, name: &str) -> String {
    let pod = server.find("Pod", name).unwrap();
    pod["status"]["phase"].as_str().unwrap_or("none").to_owned()
}

#[test]
fn a_pod_runs_and_has_an_address_of_its_own() {
    let mut server = cluster();
    for name in ["a", "b"] {
        server.put(pod(name, "1", "Always", &json!({})));
    }
    server.settle(&pods_controller());
    assert_eq!(phase(&server, "a"), "Running");
    let address = |name: &str| server.find("Pod", name).unwrap()["status"]["podIP"].clone();
    assert_eq!(address("a"), "10.244.0.1");
    assert_eq!(address("b"), "10.244.0.2");
    let status = server.find("Pod", "a").unwrap()["status"].clone();
    assert_eq!(status["containerStatuses"][0]["ready"], true);
    let init = &status["initContainerStatuses"][0]["state"]["terminated"];
    assert_eq!(init["reason"], "Completed");
}

#[test]
fn addresses_are_given_again_when_their_pods_have_gone() {
    let mut server = cluster();
    server.put(pod("a", "1", "Always", &json!({})));
    server.put(pod("b", "1", "Always", &json!({})));
    server.settle(&pods_controller());
    server.remove("Pod", "a");
    server.put(pod("c", "1", "Always", &json!({})));
    server.settle(&pods_controller());
    assert_eq!(server.find("Pod", "c").unwrap()["status"]["podIP"], "10.244.0.1");
}

#[test]
fn a_pod_ends_when_its_annotations_say_so() {
    for (code, policy, end) in [
        ("0", "Never", "Succeeded"),
        ("3", "Never", "Failed"),
        ("0", "OnFailure", "Succeeded"),
        ("3", "OnFailure", "Running"),
        ("0", "Always", "Running"),
    ] {
        let mut server = cluster();
        let says = json!({"kstore.io/hollow-exit-code": code, "kstore.io/hollow-run-seconds": "5"});
        server.put(pod("p", "1", policy, &says));
        server.settle(&pods_controller());
        assert_eq!(phase(&server, "p"), "Running");
        server.now = server.now.saturating_add(seconds(6)).unwrap();
        let key = Key::new("default", "p");
        let decision = decide(&server.world, &key, server.now);
        for action in crate::testing::flatten(decision.steps) {
            server.act(action);
        }
        assert_eq!(phase(&server, "p"), end, "{code} {policy}");
    }
}

#[test]
fn a_pod_that_does_not_fit_fails_and_the_one_before_runs() {
    let mut server = cluster();
    server.put(pod("a", "3", "Always", &json!({})));
    server.put(pod("b", "3", "Always", &json!({})));
    server.settle(&pods_controller());
    assert_eq!(phase(&server, "a"), "Running");
    let status = server.find("Pod", "b").unwrap()["status"].clone();
    assert_eq!(status["reason"], "OutOfcpu");
    assert_eq!(
        status["message"],
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 3000, used: 3000, \
         capacity: 4000"
    );
}

#[test]
fn a_deleted_pod_goes_at_once() {
    let mut server = cluster();
    server.put(pod("p", "1", "Always", &json!({})));
    server.settle(&pods_controller());
    let target =
        Target { resource: crate::testing::resource("Pod"), key: Key::new("default", "p") };
    server.delete(&target, false, None);
    assert!(server.find("Pod", "p").is_some());
    server.settle(&pods_controller());
    assert!(server.find("Pod", "p").is_none());
}

#[test]
fn another_image_starts_the_container_again() {
    let mut server = cluster();
    server.put(pod("p", "1", "Always", &json!({})));
    server.settle(&pods_controller());
    let containers = json!([{"name": "c", "image": "x:2"}]);
    server.patch("Pod", "p", &json!({"spec": {"containers": containers}}));
    server.settle(&pods_controller());
    let status = &server.find("Pod", "p").unwrap()["status"]["containerStatuses"][0];
    assert_eq!((&status["image"], &status["restartCount"]), (&json!("x:2"), &json!(1)));
}

#[test]
fn the_node_registers_and_renews_its_lease_every_ten_seconds() {
    let mut server = Server::new();
    server.world.hollow.insert("n".to_owned(), Hollow::new(HollowOptions::named("n")));
    server.put(json!({"kind": "Namespace", "metadata": {"name": node::LEASES}}));
    let controllers: Vec<Controller> = controllers().into_iter().take(1).collect();
    server.settle(&controllers);
    let found = server.find("Node", "n").unwrap();
    assert_eq!(found["metadata"]["labels"]["kstore.io/hollow"], "true");
    let lease = |server: &Server| {
        let lease = server.world.tables.leases.named(node::LEASES, "n").unwrap().clone();
        lease.spec.as_ref().unwrap().renew_time.clone().unwrap().0
    };
    let first = lease(&server);
    let key = Key::new("", "n");
    let early = server.now.saturating_add(seconds(4)).unwrap();
    assert_eq!(node::decide(&server.world, &key, early).steps, []);
    let due = server.now.saturating_add(seconds(10)).unwrap();
    assert_eq!(node::decide(&server.world, &key, due).steps.len(), 1);
    assert_eq!(first, server.now);
}
