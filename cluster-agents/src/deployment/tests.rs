//! Rollouts on the small server: what they come to, and what they never do on the way.

use serde_json::{Value, json};

use crate::engine::Controller;
use crate::hollow::{self, Hollow, HollowOptions};
use crate::kinds::Watched;
use crate::pods;
use crate::rollout;
use crate::testing::{Server, deployment, node, template};
use crate::{deployment as controller, replicaset, scheduler};

fn rolling(surge: &Value, missing: &Value) -> Value {
    json!({"type": "RollingUpdate",
           "rollingUpdate": {"maxSurge": surge, "maxUnavailable": missing}})
}

fn controllers() -> Vec<Controller> {
    let mut all = vec![controller::controller(), replicaset::controller(), scheduler::controller()];
    all.extend(hollow::controllers().into_iter().skip(1));
    all
}

fn cluster() -> Server {
    let mut server = Server::new();
    let options = HollowOptions::named("n");
    server.world.hollow.insert("n".to_owned(), Hollow::new(options));
    server.put(node("n", "64"));
    server
}

fn pods_of(server: &Server) -> Vec<String> {
    let pods = server.world.tables.pods.all().filter(|pod| !pod.is_deleting());
    let mut images: Vec<String> =
        pods.map(|pod| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap()).collect();
    images.sort();
    images
}

fn status(server: &Server) -> Value {
    server.find("Deployment", "web").unwrap()["status"].clone()
}

fn condition(server: &Server, name: &str) -> (String, String) {
    let status = status(server);
    let all = status["conditions"].as_array().unwrap();
    let found = all.iter().find(|condition| condition["type"] == name).unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"))
}

#[test]
fn a_deployment_gets_its_pods_and_says_so() {
    let mut server = cluster();
    server.put(deployment("web", 3, &rolling(&json!("25%"), &json!("25%"))));
    server.settle(&controllers());
    assert_eq!(pods_of(&server), ["x:1", "x:1", "x:1"]);
    let status = status(&server);
    for count in ["replicas", "readyReplicas", "availableReplicas", "updatedReplicas"] {
        assert_eq!(status[count], 3, "{count}");
    }
    assert_eq!(status["observedGeneration"], 1);
    let (truth, yes) = ("True".to_owned(), |reason: &str| reason.to_owned());
    assert_eq!(condition(&server, "Progressing"), (truth.clone(), yes("NewReplicaSetAvailable")));
    assert_eq!(condition(&server, "Available"), (truth, yes("MinimumReplicasAvailable")));
    assert!(server.events.iter().any(|event| event.starts_with("ScalingReplicaSet: Scaled up")));
}

#[test]
fn a_rollout_stays_within_surge_and_availability_all_the_way() {
    for (replicas, surge, missing) in
        [(10, json!(3), json!(2)), (4, json!("25%"), json!("25%")), (3, json!(0), json!(1))]
    {
        let mut server = cluster();
        server.put(deployment("web", replicas, &rolling(&surge, &missing)));
        server.settle(&controllers());
        server.patch("Deployment", "web", &json!({"spec": {"template": template("x:2")}}));
        let deployment = server.world.tables.deployments.named("default", "web").unwrap().clone();
        let most = replicas + rollout::max_surge(&deployment);
        let least = replicas - rollout::max_unavailable(&deployment);
        for round in 0.. {
            assert!(round < 200, "the rollout ends");
            let done = server.round(&controllers()) == 0;
            let sets = server.world.tables.replica_sets.all().map(|set| rollout::size(set));
            assert!(sets.sum::<i32>() <= most, "round {round}");
            let pods = server.world.tables.pods.all().filter(|pod| pods::is_active(pod));
            let ready = i32::try_from(pods.filter(|pod| pods::is_ready(pod)).count()).unwrap();
            assert!(ready >= least, "round {round}: {ready} of {least}");
            if done && server.round(&controllers()) == 0 {
                break;
            }
        }
        let count = usize::try_from(replicas).unwrap();
        assert_eq!(pods_of(&server), vec!["x:2".to_owned(); count]);
    }
}

#[test]
fn going_back_to_a_template_takes_its_old_set_and_a_new_revision() {
    let mut server = cluster();
    server.put(deployment("web", 2, &rolling(&json!(1), &json!(0))));
    server.settle(&controllers());
    for image in ["x:2", "x:1"] {
        server.patch("Deployment", "web", &json!({"spec": {"template": template(image)}}));
        server.settle(&controllers());
    }
    assert_eq!(server.world.tables.replica_sets.len(), 2);
    let deployment = server.find("Deployment", "web").unwrap();
    assert_eq!(deployment["metadata"]["annotations"][rollout::REVISION], "3");
    let sets: Vec<_> = server.world.tables.replica_sets.all().cloned().collect();
    let live = sets.iter().find(|set| rollout::size(set) == 2).unwrap();
    assert_eq!(rollout::annotation(&**live, rollout::HISTORY), Some("1"));
    assert_eq!(rollout::revision(live), 3);
}

#[test]
fn old_sets_beyond_the_history_are_deleted() {
    let mut server = cluster();
    server.put(deployment("web", 1, &rolling(&json!(1), &json!(0))));
    server.settle(&controllers());
    for image in 2..8 {
        let image = format!("x:{image}");
        server.patch("Deployment", "web", &json!({"spec": {"template": template(&image)}}));
        server.settle(&controllers());
    }
    // What triggers the last clean-up upstream, too, is any later change.
    server.patch("Deployment", "web", &json!({"metadata": {"annotations": {"a": "b"}}}));
    server.settle(&controllers());
    assert_eq!(server.world.tables.replica_sets.len(), 3, "the live one and two old ones");
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let mut server = cluster();
    server.put(deployment("web", 3, &json!({"type": "Recreate"})));
    server.settle(&controllers());
    server.patch("Deployment", "web", &json!({"spec": {"template": template("x:2")}}));
    for _ in 0..100 {
        let images = pods_of(&server);
        let mixed = images.iter().any(|i| i == "x:1") && images.iter().any(|i| i == "x:2");
        assert!(!mixed, "{images:?}");
        server.round(&controllers());
    }
    assert_eq!(pods_of(&server), ["x:2", "x:2", "x:2"]);
}

#[test]
fn a_paused_deployment_is_scaled_and_not_rolled() {
    let mut server = cluster();
    server.put(deployment("web", 2, &rolling(&json!(1), &json!(0))));
    server.settle(&controllers());
    let patch = json!({"spec": {"paused": true, "replicas": 5, "template": template("x:2")}});
    server.patch("Deployment", "web", &patch);
    server.settle(&controllers());
    assert_eq!(pods_of(&server), vec!["x:1"; 5]);
    assert_eq!(condition(&server, "Progressing").1, "DeploymentPaused");
    server.patch("Deployment", "web", &json!({"spec": {"paused": false}}));
    server.settle(&controllers());
    assert_eq!(pods_of(&server), vec!["x:2"; 5]);
}

#[test]
fn no_progress_until_the_deadline_is_told() {
    let mut server = cluster();
    let mut web = deployment("web", 1, &rolling(&json!(1), &json!(0)));
    let never = json!({"kstore.io/hollow-ready": "false"});
    web["spec"]["template"]["metadata"]["annotations"] = never;
    server.put(web);
    server.settle(&controllers());
    assert_eq!(condition(&server, "Progressing").1, "ReplicaSetUpdated");
    server.now = server.now.saturating_add(crate::testing::seconds(700)).unwrap();
    server.patch("Deployment", "web", &json!({"metadata": {"annotations": {"a": "b"}}}));
    server.settle(&controllers());
    let told = condition(&server, "Progressing");
    assert_eq!(told, ("False".to_owned(), "ProgressDeadlineExceeded".to_owned()));
}
