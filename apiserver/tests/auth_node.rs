//! What nodes may: themselves, and what their pods refer to.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use kstore_apiserver::auth::node::{NodeGraph, NodeIdentity, identity};
use kstore_apiserver::auth::{Attributes, User};
use kstore_apiserver::object::{self, Object};
use kstore_apiserver::pod_refs::references;
use serde_json::{Value, json};

fn object(value: Value) -> Object {
    value.as_object().unwrap().clone()
}

fn node(name: &str) -> User {
    User {
        name: format!("system:node:{name}"),
        groups: vec!["system:nodes".to_owned()],
        ..User::default()
    }
}

fn ask(text: &str) -> Attributes {
    let words: Vec<&str> =
        text.split(' ').map(|word| if word == "-" { "" } else { word }).collect();
    let mut resource = words[1].split('/').map(str::to_owned);
    let mut part = || resource.next().unwrap_or_default();
    let (group, resource, subresource) = (part(), part(), part());
    Attributes {
        verb: words[0].to_owned(),
        is_resource: true,
        group,
        resource,
        subresource,
        namespace: words[2].to_owned(),
        name: words[3].to_owned(),
        ..Attributes::default()
    }
}

/// A pod with a reference of every form.
fn pod() -> Object {
    let env = |name: &str| {
        json!([
            {"name": "a", "valueFrom": {"secretKeyRef": {"name": format!("env-{name}")}}},
            {"name": "b", "valueFrom": {"configMapKeyRef": {"name": format!("env-{name}")}}},
        ])
    };
    let from = |name: &str| {
        json!([
            {"secretRef": {"name": format!("from-{name}")}},
            {"configMapRef": {"name": format!("from-{name}")}},
        ])
    };
    let container = |name: &str| json!({"name": name, "env": env(name), "envFrom": from(name)});
    object(json!({
        "metadata": {"name": "p", "namespace": "ns"},
        "spec": {
            "nodeName": "n1", "serviceAccountName": "sa",
            "imagePullSecrets": [{"name": "pull"}],
            "initContainers": [container("init")],
            "containers": [container("main")],
            "ephemeralContainers": [container("debug")],
            "volumes": [
                {"name": "a", "secret": {"secretName": "volume"}},
                {"name": "b", "configMap": {"name": "volume"}},
                {"name": "c", "projected": {"sources": [
                    {"secret": {"name": "projected"}}, {"configMap": {"name": "projected"}}]}},
                {"name": "d", "persistentVolumeClaim": {"claimName": "claim"}},
                {"name": "e", "ephemeral": {}},
                {"name": "f", "csi": {"nodePublishSecretRef": {"name": "csi"}}},
                {"name": "g", "rbd": {"secretRef": {"name": "rbd"}}},
            ],
        },
    }))
}

#[test]
fn every_reference_of_a_pod_is_found() {
    let mut found: Vec<String> =
        references(&pod(), "ns").iter().map(|r| format!("{}/{}", r.resource, r.name)).collect();
    found.sort();
    let mut expected = vec![
        "persistentvolumeclaims/claim",
        "persistentvolumeclaims/p-e",
        "secrets/csi",
        "secrets/pull",
        "secrets/rbd",
        "serviceaccounts/sa",
    ];
    for name in [
        "volume",
        "projected",
        "env-init",
        "env-main",
        "env-debug",
        "from-init",
        "from-main",
        "from-debug",
    ] {
        expected.push(Box::leak(format!("secrets/{name}").into_boxed_str()));
        expected.push(Box::leak(format!("configmaps/{name}").into_boxed_str()));
    }
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn a_node_reads_what_its_pods_refer_to_and_nothing_else() {
    let mut graph = NodeGraph::default();
    graph.apply_pod(Some(&pod()), "ns", "p");
    let none = "no relationship found between node 'n1' and this object";
    let cases = [
        ("get /secrets ns volume", None),
        ("watch /secrets ns from-debug", None),
        ("get /configmaps ns projected", None),
        ("get /secrets ns other", Some(none)),
        ("get /secrets ns2 volume", Some(none)),
        ("list /secrets ns -", Some("No Object name found")),
        ("list /secrets - -", Some("can only read namespaced object of this type")),
        ("update /secrets ns volume", Some("can only read resources of this type")),
        ("get /persistentvolumeclaims ns claim", None),
        (
            "list /persistentvolumeclaims ns -",
            Some("can only get individual resources of this type"),
        ),
        ("get /serviceaccounts ns sa", None),
        ("create /serviceaccounts/token ns sa", None),
        ("create /serviceaccounts/token ns default", Some(none)),
        (
            "create /serviceaccounts ns -",
            Some("can only create tokens for individual service accounts"),
        ),
        ("get /pods ns p", None),
        ("get /pods ns q", Some(none)),
        ("list /pods - -", Some("can only list/watch pods with spec.nodeName field selector")),
        ("update /pods/status ns p", None),
        ("create /pods/eviction ns p", None),
        ("create /pods/binding ns p", Some("")),
        ("patch /pods ns p", Some("")),
        ("get /nodes - n1", None),
        ("get /nodes - n2", Some("node 'n1' cannot read 'n2', only its own Node object")),
        ("list /nodes - -", Some("node 'n1' cannot read all nodes, only its own Node object")),
        ("delete /nodes - n1", Some("")),
        ("patch /nodes/status - n1", None),
        ("update coordination.k8s.io/leases kube-node-lease n1", None),
        ("create coordination.k8s.io/leases kube-node-lease -", None),
        (
            "update coordination.k8s.io/leases kube-node-lease n2",
            Some("can only access node lease with the same name as the requesting node"),
        ),
        (
            "get coordination.k8s.io/leases kube-system n1",
            Some("can only access leases in the \"kube-node-lease\" system namespace"),
        ),
        ("get storage.k8s.io/csinodes - n1", None),
        (
            "get storage.k8s.io/csinodes - n2",
            Some("can only access CSINode with the same name as the requesting node"),
        ),
        ("list /services - -", None),
        ("create /events ns -", None),
        ("delete /events ns a", Some("")),
        ("list apps/deployments ns -", Some("")),
        ("create authorization.k8s.io/subjectaccessreviews - -", None),
    ];
    for (asked, refused) in cases {
        let decision = graph.authorise(&node("n1"), &ask(asked));
        assert_eq!(decision.is_allowed(), refused.is_none(), "{asked}: {decision:?}");
        assert_eq!(decision.reason(), refused.unwrap_or_default(), "{asked}");
    }
    assert!(!graph.authorise(&node("n2"), &ask("get /secrets ns volume")).is_allowed());
}

#[test]
fn a_node_lists_the_pods_that_are_bound_to_it() {
    let graph = NodeGraph::default();
    let mut asked = ask("list /pods - -");
    asked.fields = vec![("spec.nodeName".to_owned(), "n1".to_owned())];
    assert!(graph.authorise(&node("n1"), &asked).is_allowed());
    assert!(!graph.authorise(&node("n2"), &asked).is_allowed());
}

#[test]
fn references_last_as_long_as_the_last_pod_that_has_them() {
    let mut graph = NodeGraph::default();
    let asked = ask("get /secrets ns volume");
    graph.apply_pod(Some(&pod()), "ns", "p");
    graph.apply_pod(Some(&pod()), "ns", "q");
    graph.apply_pod(None, "ns", "p");
    assert!(graph.authorise(&node("n1"), &asked).is_allowed());
    let mut moved = pod();
    object::set(&mut moved, &["spec", "nodeName"], "n2");
    graph.apply_pod(Some(&moved), "ns", "q");
    assert!(!graph.authorise(&node("n1"), &asked).is_allowed());
    assert!(graph.authorise(&node("n2"), &asked).is_allowed());
    graph.apply_pod(None, "ns", "q");
    assert!(!graph.authorise(&node("n2"), &asked).is_allowed());
}

#[test]
fn a_mirror_pod_and_one_without_a_node_open_nothing() {
    let mut graph = NodeGraph::default();
    let mut mirror = pod();
    object::set(&mut mirror, &["metadata", "annotations", "kubernetes.io/config.mirror"], "x");
    graph.apply_pod(Some(&mirror), "ns", "p");
    assert!(!graph.authorise(&node("n1"), &ask("get /secrets ns volume")).is_allowed());
    assert!(graph.authorise(&node("n1"), &ask("get /pods ns p")).is_allowed());
    let mut waiting = pod();
    object::remove(&mut waiting, &["spec", "nodeName"]);
    graph.apply_pod(Some(&waiting), "ns", "p");
    assert!(!graph.authorise(&node("n1"), &ask("get /pods ns p")).is_allowed());
}

#[test]
fn only_members_of_the_group_are_nodes() {
    assert_eq!(identity(&node("a")), NodeIdentity::Node("a"));
    let mut odd = node("");
    assert_eq!(identity(&odd), NodeIdentity::Unknown);
    odd.name = "kubelet".to_owned();
    assert_eq!(identity(&odd), NodeIdentity::Unknown);
    let decision = NodeGraph::default().authorise(&odd, &ask("list /services - -"));
    assert_eq!(decision.reason(), "unknown node for user \"kubelet\"");
    odd = node("a");
    odd.groups.clear();
    assert_eq!(identity(&odd), NodeIdentity::Other);
}
