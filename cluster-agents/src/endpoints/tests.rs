//! Addresses of services in their older form.

use serde_json::{Value, json};

use super::*;
use crate::testing::Server;

pub(crate) fn service(name: &str, spec: &Value) -> Value {
    let mut whole = json!({"clusterIP": "10.96.0.9", "selector": {"app": "web"},
        "ipFamilies": ["IPv4"], "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}]});
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": whole})
}

pub(crate) fn pod(name: &str, ip: &str, ready: &str, more: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web"}, "uid": format!("uid-{name}")},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "x",
            "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": ready}]},
    });
    for (part, value) in more.as_object().unwrap() {
        for (field, value) in value.as_object().unwrap() {
            pod[part][field] = value.clone();
        }
    }
    pod
}

#[test]
fn ready_and_unready_pods_are_told_apart() {
    let mut server = Server::with([
        service("web", &json!({})),
        pod("b", "10.0.0.2", "True", &json!({})),
        pod("a", "10.0.0.1", "True", &json!({})),
        pod("sick", "10.0.0.3", "False", &json!({})),
        pod("done", "10.0.0.4", "True", &json!({"status": {"phase": "Succeeded"}})),
    ]);
    server.settle(&[controller()]);
    let endpoints = server.find("Endpoints", "web").unwrap();
    let subset = &endpoints["subsets"][0];
    let ips = |list: &Value| -> Vec<String> {
        let all = list.as_array().unwrap().iter();
        all.map(|address| address["ip"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ips(&subset["addresses"]), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(ips(&subset["notReadyAddresses"]), ["10.0.0.3"]);
    assert_eq!(subset["ports"], json!([{"port": 8080, "protocol": "TCP"}]));
    assert_eq!(subset["addresses"][0]["targetRef"]["name"], "a");
    assert_eq!(endpoints["metadata"]["labels"][MANAGED_BY], MANAGER);
    assert!(endpoints["metadata"]["annotations"][TRIGGER].is_string());
}

#[test]
fn endpoints_go_with_their_service_and_belong_to_others_without_a_selector() {
    let mut server = Server::with([service("web", &json!({}))]);
    server.settle(&[controller()]);
    assert!(server.find("Endpoints", "web").is_some());
    server.remove("Service", "web");
    server.settle(&[controller()]);
    assert!(server.find("Endpoints", "web").is_none());
    server.put(service("by-hand", &json!({"selector": null})));
    server.put(json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "by-hand"}}));
    server.settle(&[controller()]);
    assert!(server.find("Endpoints", "by-hand").is_some());
}

#[test]
fn more_than_a_thousand_addresses_are_cut_off_and_marked() {
    let mut server = Server::with([service("web", &json!({}))]);
    for number in 0..1001 {
        let ip = format!("10.1.{}.{}", number / 250, number % 250 + 1);
        server.put(pod(&format!("p{number}"), &ip, "True", &json!({})));
    }
    server.settle(&[controller()]);
    let endpoints = server.find("Endpoints", "web").unwrap();
    assert_eq!(endpoints["subsets"][0]["addresses"].as_array().unwrap().len(), 1000);
    assert_eq!(endpoints["metadata"]["annotations"][OVER_CAPACITY], "truncated");
}
