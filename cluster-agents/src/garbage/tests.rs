//! Who goes when owners go.

use serde_json::{Value, json};

use super::*;
use crate::testing::{Server, flatten, resource};

fn account(name: &str, owners: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount",
           "metadata": {"name": name, "uid": format!("uid-{name}"), "ownerReferences": owners}})
}

fn owned_by(names: &[&str], blocks: bool) -> Value {
    let all = names.iter().map(|name| {
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "name": name,
               "uid": format!("uid-{name}"), "blockOwnerDeletion": blocks})
    });
    all.collect()
}

fn names(server: &Server) -> Vec<String> {
    let all = server.world.tables.service_accounts.all();
    all.map(|account| account.metadata.name.clone().unwrap()).collect()
}

fn delete(server: &mut Server, name: &str, how: Option<Propagation>) {
    let target = Target { resource: resource("ServiceAccount"), key: Key::new("default", name) };
    server.delete(&target, false, how);
    server.settle(&[controller()]);
}

fn family() -> Server {
    let mut server = Server::with([
        account("parent", &json!([])),
        account("child", &owned_by(&["parent"], true)),
        account("grandchild", &owned_by(&["child"], true)),
        account("shared", &owned_by(&["parent", "other"], true)),
        account("other", &json!([])),
    ]);
    server.settle(&[controller()]);
    assert_eq!(names(&server).len(), 5, "nothing goes while its owners are there");
    server
}

#[test]
fn in_the_background_dependents_go_after_their_owner() {
    let mut server = family();
    delete(&mut server, "parent", None);
    assert_eq!(names(&server), ["other", "shared"]);
    let owners =
        server.find("ServiceAccount", "shared").unwrap()["metadata"]["ownerReferences"].clone();
    assert_eq!(owners.as_array().unwrap().len(), 1, "the reference to nobody has gone");
}

#[test]
fn in_the_foreground_the_owner_goes_last() {
    let mut server = family();
    let target =
        Target { resource: resource("ServiceAccount"), key: Key::new("default", "parent") };
    server.delete(&target, false, Some(Propagation::Foreground));
    for _ in 0..50 {
        let all = names(&server);
        let parent = all.iter().any(|name| name == "parent");
        let child = all.iter().any(|name| name == "child");
        assert!(parent || !child, "{all:?}");
        server.round(&[controller()]);
    }
    assert_eq!(names(&server), ["other", "shared"]);
}

#[test]
fn orphans_stay_and_forget_their_owner() {
    let mut server = family();
    delete(&mut server, "parent", Some(Propagation::Orphan));
    assert_eq!(names(&server), ["child", "grandchild", "other", "shared"]);
    let child = server.find("ServiceAccount", "child").unwrap();
    assert!(child["metadata"].get("ownerReferences").is_none());
}

#[test]
fn an_owner_that_nobody_has_seen_is_asked_for_before_anything_goes() {
    let server = Server::with([account("child", &owned_by(&["ghost"], true))]);
    let decision = decide(&server.world, &Key::new("", "uid-child"), server.now);
    let actions = flatten(decision.steps);
    assert!(
        matches!(&actions[..], [Action::Confirm { uid, .. }] if uid == "uid-ghost"),
        "{actions:?}"
    );
    let mut server = server;
    server.settle(&[controller()]);
    assert!(names(&server).is_empty());
}

#[test]
fn an_owner_of_a_kind_that_is_not_served_keeps_its_dependents() {
    let owners = json!([{"apiVersion": "x.io/v1", "kind": "Odd", "name": "o", "uid": "uid-o"}]);
    let mut server = Server::with([account("child", &owners)]);
    server.settle(&[controller()]);
    assert_eq!(names(&server), ["child"]);
}

#[test]
fn a_reference_into_another_namespace_is_one_to_nobody() {
    let mut owner = account("far", &json!([]));
    owner["metadata"]["namespace"] = json!("elsewhere");
    let mut server = Server::with([owner, account("child", &owned_by(&["far"], true))]);
    server.settle(&[controller()]);
    assert_eq!(names(&server), ["far"]);
}

#[test]
fn a_circle_does_not_wait_for_itself() {
    let mut server = Server::with([
        account("a", &owned_by(&["c"], true)),
        account("b", &owned_by(&["a"], true)),
        account("c", &owned_by(&["b"], true)),
    ]);
    server.settle(&[controller()]);
    delete(&mut server, "a", Some(Propagation::Foreground));
    assert!(names(&server).is_empty());
}

#[test]
fn a_dependent_that_does_not_block_goes_with_its_owner_all_the_same() {
    let mut server =
        Server::with([account("a", &json!([])), account("b", &owned_by(&["a"], false))]);
    delete(&mut server, "a", Some(Propagation::Foreground));
    assert!(names(&server).is_empty());
}
