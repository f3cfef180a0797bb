//! Several API servers on one store, and the flags of upstream's.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::os::unix::fs::symlink;
use std::process::Command;

use http::Request;
use support::api::{Process, alone, client, member, ready, words};
use support::{KSTORE, Scratch, errors, free_address};

#[tokio::test]
async fn a_kubeconfig_of_one_server_is_good_at_all_on_its_store() {
    let scratch = Scratch::new("servers-share");
    let store = free_address();
    let member = member(&scratch.path("data"), &store, &["--secure-port=0"]);
    let first = ready(&scratch.0.join("data/admin.kubeconfig")).await;
    let server = alone(&scratch.path("api"), &format!("http://{store}"));
    let second = ready(&scratch.0.join("api/admin.kubeconfig")).await;
    for (mut config, other) in [(first.clone(), &second), (second.clone(), &first)] {
        config.cluster_url = other.cluster_url.clone();
        let list = Request::get("/api/v1/namespaces").body(Vec::new()).unwrap();
        let text = client(config).request_text(list).await.unwrap();
        assert!(text.contains("kube-system"), "{text}");
    }
    server.stop();
    member.stop();
}

#[tokio::test]
async fn keys_of_another_cluster_are_refused_and_not_overwritten() {
    let scratch = Scratch::new("servers-other-keys");
    let (store, other) = (free_address(), free_address());
    let first = member(&scratch.path("data"), &store, &["--secure-port=0"]);
    ready(&scratch.0.join("data/admin.kubeconfig")).await;
    let second = member(&scratch.path("other"), &other, &["--secure-port=0"]);
    ready(&scratch.0.join("other/admin.kubeconfig")).await;
    let flags = ["apiserver", "--secure-port=0", "--data-dir", &scratch.path("data")];
    let asked = Command::new(KSTORE).args(flags).args(["--etcd-servers", &other]).output().unwrap();
    let why = errors(&asked);
    assert!(why.contains("ca.crt is another authority than the cluster's"), "{why}");
    first.stop();
    second.stop();
}

#[tokio::test]
async fn under_upstreams_name_it_takes_upstreams_flags() {
    let scratch = Scratch::new("servers-kube-apiserver");
    let program = scratch.path("kube-apiserver");
    symlink(KSTORE, &program).unwrap();
    let store = free_address();
    let member = member(&scratch.path("data"), &store, &[]);
    let kubeconfig = scratch.path("admin.kubeconfig");
    let (servers, keys) = (format!("http://{store}"), scratch.path("keys"));
    let flags = [
        "--etcd-servers",
        &servers,
        "--cert-dir",
        &keys,
        "--kubeconfig",
        &kubeconfig,
        "--bind-address=127.0.0.1",
        "--secure-port=0",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        "--profiling",
        "--max-requests-inflight",
        "400",
        "-v",
        "2",
    ];
    let server = Process::start(&program, &words(&flags));
    ready(kubeconfig.as_ref()).await;
    server.stop();
    let harmful = ["--etcd-servers", &servers, "--encryption-provider-config=x"];
    let why = errors(&Command::new(&program).args(harmful).output().unwrap());
    assert!(why.contains("passing it over would do harm"), "{why}");
    member.stop();
}
