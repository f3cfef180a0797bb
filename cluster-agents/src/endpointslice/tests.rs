//! Slices: who is in them, and how little changes.

use serde_json::{Value, json};

use super::*;
use crate::endpoints::tests::{pod, service};
use crate::testing::Server;

fn slices(server: &Server) -> Vec<Value> {
    server.world.tables.endpoint_slices.all().map(|slice| crate::action::value(&**slice)).collect()
}

fn count(slice: &Value) -> usize {
    slice["endpoints"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_service_without_pods_has_one_empty_slice() {
    let mut server = Server::with([service("web", &json!({}))]);
    server.settle(&[controller()]);
    let all = slices(&server);
    assert_eq!(all.len(), 1);
    assert_eq!(count(&all[0]), 0);
    let meta = &all[0]["metadata"];
    assert_eq!(meta["labels"][SERVICE_NAME], "web");
    assert_eq!(meta["labels"][MANAGED_BY], MANAGER);
    assert_eq!(meta["generateName"], "web-");
    assert_eq!(meta["ownerReferences"][0]["kind"], "Service");
}

#[test]
fn conditions_say_ready_serving_and_terminating() {
    let leaving = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    for (ready, more, publish, expected) in [
        ("True", json!({}), false, [true, true, false]),
        ("False", json!({}), false, [false, false, false]),
        ("False", json!({}), true, [true, false, false]),
        ("True", leaving, false, [false, true, true]),
    ] {
        let spec = json!({"publishNotReadyAddresses": publish});
        let mut server = Server::with([service("web", &spec), pod("a", "10.0.0.1", ready, &more)]);
        server.settle(&[controller()]);
        let all = slices(&server);
        assert_eq!(all.len(), 1);
        let conditions = &all[0]["endpoints"][0]["conditions"];
        let [ready, serving, terminating] = expected;
        assert_eq!(
            conditions,
            &json!({"ready": ready, "serving": serving, "terminating": terminating})
        );
        let port = &all[0]["ports"][0];
        assert_eq!(port, &json!({"name": "", "port": 8080, "protocol": "TCP"}));
    }
}

#[test]
fn slices_hold_a_hundred_and_new_pods_fill_them_up() {
    let mut server = Server::with([service("web", &json!({}))]);
    for number in 0..150 {
        let ip = format!("10.1.0.{}", number + 1);
        server.put(pod(&format!("p{number}"), &ip, "True", &json!({})));
    }
    server.settle(&[controller()]);
    let mut counts: Vec<usize> = slices(&server).iter().map(count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [50, 100], "and the empty one has gone");
    let before = slices(&server);
    server.put(pod("late", "10.2.0.1", "True", &json!({})));
    server.settle(&[controller()]);
    let after = slices(&server);
    let same = before.iter().filter(|slice| after.contains(slice)).count();
    assert_eq!(same, 1, "only the slice with room has changed");
}

#[test]
fn pods_with_other_ports_have_slices_of_their_own() {
    let other = json!({"spec": {"containers": [{"name": "c", "image": "x",
        "ports": [{"name": "http", "containerPort": 9090}]}]}});
    let mut server = Server::with([
        service("web", &json!({})),
        pod("a", "10.0.0.1", "True", &json!({})),
        pod("b", "10.0.0.2", "True", &other),
    ]);
    server.settle(&[controller()]);
    let ports: BTreeSet<i64> =
        slices(&server).iter().map(|slice| slice["ports"][0]["port"].as_i64().unwrap()).collect();
    assert_eq!(ports, BTreeSet::from([8080, 9090]));
}
