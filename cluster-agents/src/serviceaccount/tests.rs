//! Default service accounts, and the published certificates beside them.

use serde_json::json;

use super::*;
use crate::root_ca;
use crate::testing::Server;

fn namespace(name: &str, phase: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
           "status": {"phase": phase}})
}

#[test]
fn each_active_namespace_gets_an_account_again_and_again() {
    let mut server = Server::with([namespace("default", "Active"), namespace("b", "Terminating")]);
    server.settle(&[controller()]);
    assert!(server.find("ServiceAccount", ACCOUNT).is_some());
    assert_eq!(server.world.tables.service_accounts.len(), 1);
    server.remove("ServiceAccount", ACCOUNT);
    server.settle(&[controller()]);
    assert!(server.find("ServiceAccount", ACCOUNT).is_some());
}

#[test]
fn the_certificates_are_published_and_put_right() {
    let mut server = Server::with([namespace("default", "Active")]);
    server.settle(&[root_ca::controller()]);
    assert_eq!(server.world.tables.config_maps.len(), 0, "there is nothing to publish");
    server.world.root_ca = Some("PEM".to_owned());
    server.put(namespace("default", "Active"));
    server.settle(&[root_ca::controller()]);
    server.patch("ConfigMap", "kube-root-ca.crt", &json!({"data": {"ca.crt": "mine"}}));
    server.settle(&[root_ca::controller()]);
    let map = server.find("ConfigMap", "kube-root-ca.crt").unwrap();
    assert_eq!(map["data"]["ca.crt"], "PEM");
    assert!(map["metadata"]["annotations"]["kubernetes.io/description"].is_string());
}
