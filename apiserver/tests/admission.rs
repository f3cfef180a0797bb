//! Admission: what is added to objects, and what is refused in which words.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use futures_util::FutureExt as _;
use kstore_apiserver::admission::{Admitted, DryRun, Operation, Request, admit};
use kstore_apiserver::auth::lookup::{Model, core};
use kstore_apiserver::auth::{Decision, User};
use kstore_apiserver::bootstrap;
use kstore_apiserver::object::{self, Object};
use kstore_apiserver::status::{Resource, Status};
use serde_json::{Value, json};

const NOW: i64 = 1_795_278_645;

fn object(value: Value) -> Object {
    value.as_object().unwrap().clone()
}

/// A cluster with the namespace `ns` and its account `default`.
fn world() -> Model {
    let mut world = Model::default();
    for namespace in bootstrap::namespaces() {
        world.put(core("namespaces"), namespace);
    }
    world.put(core("namespaces"), object(json!({"metadata": {"name": "ns"}})));
    world.put(
        core("serviceaccounts"),
        object(json!({"metadata": {"name": "default", "namespace": "ns"}})),
    );
    let classes = Resource { group: "scheduling.k8s.io", name: "priorityclasses" };
    for class in bootstrap::priority_classes() {
        world.put(classes, class);
    }
    world
}

/// What is asked for; the namespace is `ns` unless the resource lies in none.
struct Ask<'a> {
    user: User,
    operation: Operation,
    resource: Resource<'a>,
    subresource: &'a str,
    name: &'a str,
    object: Option<Object>,
    old: Option<Object>,
    dry_run: DryRun,
}

impl<'a> Ask<'a> {
    fn create(resource: Resource<'a>, value: Value) -> Self {
        Self {
            user: User { name: "somebody".to_owned(), ..User::default() },
            operation: Operation::Create,
            resource,
            subresource: "",
            name: "",
            object: Some(object(value)),
            old: None,
            dry_run: DryRun::No,
        }
    }

    fn pod(name: &str, container: Value, spec: Value) -> Self {
        let mut it = object(json!({"name": "c", "image": "i"}));
        it.extend(object(container));
        let mut all = object(json!({"containers": [it]}));
        all.extend(object(spec));
        Self::create(core("pods"), json!({"metadata": {"name": name}, "spec": all}))
    }

    fn update(resource: Resource<'a>, name: &'a str, old: &Value, new: &Value) -> Self {
        Self {
            operation: Operation::Update,
            name,
            old: Some(object(old.clone())),
            ..Self::create(resource, new.clone())
        }
    }

    fn delete(resource: Resource<'a>, name: &'a str) -> Self {
        let ask = Self::create(resource, json!({}));
        Self { operation: Operation::Delete, name, object: None, ..ask }
    }

    fn node(self, name: &str) -> Self {
        let user = User {
            name: format!("system:node:{name}"),
            groups: vec!["system:nodes".to_owned()],
            ..User::default()
        };
        Self { user, ..self }
    }

    fn part(self, subresource: &'a str) -> Self {
        Self { subresource, ..self }
    }

    /// The object as it would be stored, and what follows.
    fn run_in(mut self, namespace: &str, world: &Model) -> Result<(Object, Admitted), Box<Status>> {
        let mut sent = self.object.take();
        let mut request = Request {
            user: &self.user,
            operation: self.operation,
            group: self.resource.group,
            resource: self.resource.name,
            subresource: self.subresource,
            namespace,
            name: self.name,
            object: sent.as_mut(),
            old: self.old.as_ref(),
            dry_run: self.dry_run,
            now: NOW,
            suffix: "abcde",
            authorise: &|_| Decision::NoOpinion(String::new()),
        };
        let admitted = admit(&mut request, world).now_or_never().unwrap()?;
        Ok((sent.unwrap_or_default(), admitted))
    }

    fn run(self, world: &Model) -> Result<(Object, Admitted), Box<Status>> {
        let cluster = matches!(self.resource.name, "nodes" | "namespaces" | "priorityclasses");
        self.run_in(if cluster { "" } else { "ns" }, world)
    }

    fn refused(self, world: &Model) -> String {
        self.run(world).unwrap_err().message
    }

    fn stored(self, world: &Model) -> Object {
        self.run(world).unwrap().0
    }
}

#[test]
fn nothing_is_made_in_a_namespace_that_is_missing_or_ends() {
    let mut world = world();
    let config = || Ask::create(core("configmaps"), json!({"metadata": {"name": "g"}}));
    let status = config().run_in("nope", &world).unwrap_err();
    assert_eq!((status.code, status.message.as_str()), (404, "namespaces \"nope\" not found"));
    world.put(
        core("namespaces"),
        object(json!({"metadata": {"name": "end"}, "status": {"phase": "Terminating"}})),
    );
    let status = config().run_in("end", &world).unwrap_err();
    assert_eq!(
        status.message,
        "configmaps \"g\" is forbidden: unable to create new content in namespace end because it \
         is being terminated"
    );
    let cause = &status.details.unwrap().causes[0];
    assert_eq!(cause.reason, "NamespaceTerminating");
    assert_eq!(cause.message, "namespace end is being terminated");
    assert_eq!(cause.field, "metadata.namespace");
    let same = json!({"metadata": {"name": "g"}});
    assert!(Ask::update(core("configmaps"), "g", &same, &same).run_in("end", &world).is_ok());
    assert!(Ask::delete(core("configmaps"), "g").run_in("gone", &world).is_ok());
}

#[test]
fn three_namespaces_stay() {
    let world = world();
    for name in ["default", "kube-system", "kube-public"] {
        assert_eq!(
            Ask::delete(core("namespaces"), name).refused(&world),
            format!("namespaces \"{name}\" is forbidden: this namespace may not be deleted")
        );
    }
    for name in ["kube-node-lease", "mine"] {
        assert!(Ask::delete(core("namespaces"), name).run(&world).is_ok());
    }
}

#[test]
fn a_plain_pod_gets_its_account_its_token_its_priority_and_tolerations() {
    let pod = Ask::pod("a", json!({}), json!({})).stored(&world());
    assert_eq!(
        pod["spec"],
        json!({
            "containers": [{
                "name": "c", "image": "i",
                "volumeMounts": [{
                    "name": "kube-api-access-abcde", "readOnly": true,
                    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                }],
            }],
            "serviceAccountName": "default", "serviceAccount": "default",
            "volumes": [{
                "name": "kube-api-access-abcde",
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                        {"configMap": {"name": "kube-root-ca.crt",
                                       "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {
                            "apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
                    ],
                    "defaultMode": 420,
                },
            }],
            "priority": 0, "preemptionPolicy": "PreemptLowerPriority",
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists",
                 "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists",
                 "effect": "NoExecute", "tolerationSeconds": 300},
            ],
        })
    );
}

#[test]
fn who_wants_no_token_or_mounts_something_of_their_own_there_gets_none() {
    let mut world = world();
    let path = "/var/run/secrets/kubernetes.io/serviceaccount";
    let own = json!({"volumeMounts": [{"name": "v", "mountPath": path}]});
    for (container, spec) in
        [(own.clone(), json!({})), (json!({}), json!({"automountServiceAccountToken": false}))]
    {
        let pod = Ask::pod("a", container, spec).stored(&world);
        assert_eq!(pod["spec"].get("volumes"), None);
    }
    let mut account = object(json!({"metadata": {"name": "default", "namespace": "ns"},
        "automountServiceAccountToken": false, "imagePullSecrets": [{"name": "pull"}]}));
    world.put(core("serviceaccounts"), account.clone());
    let pod = Ask::pod("a", json!({}), json!({})).stored(&world);
    assert_eq!(pod["spec"].get("volumes"), None);
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    let wish = json!({"automountServiceAccountToken": true});
    let pod = Ask::pod("a", json!({}), wish).stored(&world);
    assert_eq!(pod["spec"]["volumes"].as_array().unwrap().len(), 1);
    account.remove("automountServiceAccountToken");
    world.put(core("serviceaccounts"), account);
    let both = json!({"initContainers": [{"name": "i"}],
                      "volumes": [{"name": "kube-api-access-zzzzz"}]});
    let pod = Ask::pod("a", own, both).stored(&world);
    let mounts = &pod["spec"]["initContainers"][0]["volumeMounts"];
    assert_eq!(mounts[0]["name"], "kube-api-access-zzzzz");
    assert_eq!(pod["spec"]["volumes"].as_array().unwrap().len(), 1);
}

#[test]
fn service_accounts_are_refused_in_upstreams_words() {
    let mut world = world();
    world.put(
        core("serviceaccounts"),
        object(json!({"metadata": {"name": "lim", "namespace": "ns", "annotations": {
            "kubernetes.io/enforce-mountable-secrets": "true"}}, "secrets": [{"name": "ok"}]})),
    );
    let lim = |more: Value| {
        let mut spec = object(json!({"serviceAccountName": "lim"}));
        spec.extend(object(more));
        Value::Object(spec)
    };
    let mirror = |spec: Value| {
        let mut ask = Ask::pod("m", json!({}), spec);
        let pod = ask.object.as_mut().unwrap();
        object::set(pod, &["metadata", "annotations", "kubernetes.io/config.mirror"], "x");
        ask
    };
    let env = |secret: &str| json!({"env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": secret}}}]});
    let not = "is not allowed because service account lim does not reference that";
    let cases = [
        (Ask::pod("a", json!({}), json!({"serviceAccountName": "zz"})),
         "pods \"a\" is forbidden: error looking up service account ns/zz: serviceaccount \"zz\" \
          not found".to_owned()),
        (Ask::pod("s1", json!({"envFrom": [{"secretRef": {"name": "sec"}}]}), lim(json!({}))),
         format!("pods \"s1\" is forbidden: container c with envFrom referencing \
                  secret.secretName=\"sec\" {not} secret")),
        (Ask::pod("s1", env("sec"), lim(json!({}))),
         format!("pods \"s1\" is forbidden: container c with envVar E referencing \
                  secret.secretName=\"sec\" {not} secret")),
        (Ask::pod("s1", json!({}), lim(json!({"volumes": [{"secret": {"secretName": "sec"}}]}))),
         format!("pods \"s1\" is forbidden: volume with secret.secretName=\"sec\" {not} secret")),
        (Ask::pod("s1", json!({}), lim(json!({"imagePullSecrets": [{"name": "sec"}]}))),
         format!("pods \"s1\" is forbidden: imagePullSecrets[0].name=\"sec\" {not} \
                  imagePullSecret")),
        (mirror(json!({"serviceAccountName": "default"})),
         "pods \"m\" is forbidden: a mirror pod may not reference service accounts".to_owned()),
        (mirror(json!({"volumes": [{"secret": {"secretName": "s"}}]})),
         "pods \"m\" is forbidden: a mirror pod may not reference secrets".to_owned()),
        (mirror(json!({"volumes": [{"projected": {"sources": [{"serviceAccountToken": {}}]}}]})),
         "pods \"m\" is forbidden: a mirror pod may not use ServiceAccountToken volume \
          projections".to_owned()),
    ];
    for (ask, expected) in cases {
        assert_eq!(ask.refused(&world), expected);
    }
    assert!(Ask::pod("s1", env("ok"), lim(json!({}))).run(&world).is_ok());
    // Who adds a debugging container must not get at more than who made the pod.
    let debug = json!({"metadata": {"name": "p"}, "spec": {"serviceAccountName": "lim",
        "ephemeralContainers": [{"name": "d", "envFrom": [{"secretRef": {"name": "sec"}}]}]}});
    let ask = Ask::update(core("pods"), "p", &json!({}), &debug).part("ephemeralcontainers");
    assert_eq!(
        ask.refused(&world),
        format!(
            "pods \"p\" is forbidden: ephemeral container d with envFrom referencing \
                 secret.secretName=\"sec\" {not} secret"
        )
    );
}

#[test]
fn priorities_come_from_classes_and_from_nowhere_else() {
    let mut world = world();
    let critical = json!({"priorityClassName": "system-node-critical"});
    let pod = Ask::pod("a", json!({}), critical).stored(&world);
    assert_eq!(pod["spec"]["priority"], 2_000_001_000);
    let cases = [
        (json!({"priorityClassName": "zz"}), "no PriorityClass with name zz was found"),
        (
            json!({"priority": 7}),
            "the integer value of priority (7) must not be provided in pod spec; priority admission \
          controller computed 0 from the given PriorityClass name",
        ),
        (
            json!({"preemptionPolicy": "Never"}),
            "the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority \
          admission controller computed PreemptLowerPriority from the given PriorityClass name",
        ),
    ];
    for (spec, why) in cases {
        let refused = Ask::pod("p", json!({}), spec).refused(&world);
        assert_eq!(refused, format!("pods \"p\" is forbidden: {why}"));
    }
    let classes = Resource { group: "scheduling.k8s.io", name: "priorityclasses" };
    let class = |name: &str, value: i64| {
        json!({"metadata": {"name": name}, "value": value, "globalDefault": true,
               "preemptionPolicy": "Never"})
    };
    world.put(classes, object(class("hd1", 5)));
    assert_eq!(
        Ask::create(classes, class("hd2", 5)).refused(&world),
        "priorityclasses.scheduling.k8s.io \"hd2\" is forbidden: PriorityClass hd1 is already \
         marked as default. Only one default can exist"
    );
    let same = class("hd1", 5);
    assert!(Ask::update(classes, "hd1", &same, &same).run(&world).is_ok());
    world.put(classes, object(class("hd0", 3)));
    let pod = Ask::pod("a", json!({}), json!({})).stored(&world);
    assert_eq!(pod["spec"]["priorityClassName"], "hd0");
    assert_eq!(pod["spec"]["priority"], 3);
    assert_eq!(pod["spec"]["preemptionPolicy"], "Never");
    // An update that leaves them out keeps them.
    let old = Value::Object(pod);
    let updated =
        Ask::update(core("pods"), "a", &old, &json!({"metadata": {"name": "a"}})).stored(&world);
    assert_eq!(updated["spec"]["priority"], 3);
    assert_eq!(updated["spec"]["preemptionPolicy"], "Never");
}

#[test]
fn tolerations_that_are_there_are_left_alone() {
    let count = |tolerations: Value| {
        let pod = Ask::pod("a", json!({}), json!({"tolerations": tolerations})).stored(&world());
        pod["spec"]["tolerations"].as_array().unwrap().len()
    };
    assert_eq!(count(json!([{"operator": "Exists"}])), 1);
    assert_eq!(count(json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}])), 2);
    assert_eq!(count(json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])), 3);
}

#[test]
fn new_nodes_are_not_ready() {
    let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
    let node = |spec: Value| {
        let value = json!({"metadata": {"name": "n"}, "spec": spec});
        Ask::create(core("nodes"), value).stored(&world())["spec"]["taints"].clone()
    };
    assert_eq!(node(json!({})), json!([taint]));
    assert_eq!(node(json!({"taints": [taint]})), json!([taint]));
}

#[test]
fn pods_show_the_zone_of_their_node() {
    let mut world = world();
    let labels = json!({"topology.kubernetes.io/zone": "z", "other": "o"});
    world.put(core("nodes"), object(json!({"metadata": {"name": "n1", "labels": labels}})));
    let zone = json!({"topology.kubernetes.io/zone": "z"});
    let pod = Ask::pod("a", json!({}), json!({"nodeName": "n1"})).stored(&world);
    assert_eq!(pod["metadata"]["labels"], zone);
    let bind = |node: &str| {
        let value = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": node}});
        Ask::create(core("pods"), value).part("binding").stored(&world)
    };
    assert_eq!(bind("n1")["metadata"]["labels"], zone);
    assert_eq!(bind("gone")["metadata"].get("labels"), None);
}

fn with_limits(limits: Value) -> Model {
    let mut world = world();
    world.put(
        core("limitranges"),
        object(json!({"metadata": {"name": "lr", "namespace": "ns"}, "spec": {"limits": limits}})),
    );
    world
}

#[test]
fn limit_ranges_fill_in_what_is_not_asked_for() {
    let world = with_limits(json!([{"type": "Container",
        "default": {"cpu": "500m", "memory": "128Mi"},
        "defaultRequest": {"cpu": "100m", "memory": "128Mi"}}]));
    let init = json!({"initContainers": [{"name": "i"}]});
    let pod = Ask::pod("l1", json!({"resources": {}}), init).stored(&world);
    let filled = json!({"limits": {"cpu": "500m", "memory": "128Mi"},
                        "requests": {"cpu": "100m", "memory": "128Mi"}});
    for list in ["containers", "initContainers"] {
        assert_eq!(pod["spec"][list][0]["resources"], filled);
    }
    assert_eq!(
        pod["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for \
         container c; cpu, memory request for init container i; cpu, memory limit for init \
         container i"
    );
    let own = json!({"resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}});
    let pod = Ask::pod("l1", own, json!({})).stored(&world);
    assert_eq!(
        pod["spec"]["containers"][0]["resources"],
        json!({"requests": {"cpu": "1", "memory": "128Mi"},
               "limits": {"memory": "1Gi", "cpu": "500m"}})
    );
    assert_eq!(
        pod["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: memory request for container c; cpu limit for container c"
    );
}

#[test]
fn limit_ranges_refuse_in_upstreams_words() {
    let world = with_limits(json!([
        {"type": "Container", "min": {"cpu": "50m"}, "max": {"cpu": "1", "memory": "1Gi"},
         "maxLimitRequestRatio": {"cpu": "10"}},
        {"type": "Pod", "max": {"cpu": "1500m"}},
        {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}},
    ]));
    let resources = |requests: Value, limits: Value| json!({"resources": {"requests": requests, "limits": limits}});
    let cases = [
        (
            resources(json!({"cpu": "10m", "memory": "2Gi"}), json!({"cpu": "2", "memory": "2Gi"})),
            "[minimum cpu usage per Container is 50m, but request is 10m, maximum cpu usage per \
          Container is 1, but limit is 2, maximum memory usage per Container is 1Gi, but limit is \
          2Gi, cpu max limit to request ratio per Container is 10, but provided ratio is \
          200.000000, maximum cpu usage per Pod is 1500m, but limit is 2]",
        ),
        (
            resources(json!({"cpu": "60m"}), json!({"cpu": "1", "memory": "1Mi"})),
            "cpu max limit to request ratio per Container is 10, but provided ratio is 16.666667",
        ),
        (
            resources(json!({"memory": "1Mi"}), json!({"memory": "1Mi"})),
            "[minimum cpu usage per Container is 50m.  No request is specified, maximum cpu usage \
          per Container is 1.  No limit is specified, cpu max limit to request ratio per Container \
          is 10, but no request is specified or request is 0, maximum cpu usage per Pod is 1500m.  \
          No limit is specified]",
        ),
    ];
    for (container, why) in cases {
        let refused = Ask::pod("l2", container, json!({})).refused(&world);
        assert_eq!(refused, format!("pods \"l2\" is forbidden: {why}"));
    }
    let each = resources(json!({"cpu": "1"}), json!({"cpu": "1", "memory": "1Mi"}));
    let mut second = object(each.clone());
    second.insert("name".to_owned(), "d".into());
    let mut first = object(each);
    first.insert("name".to_owned(), "c".into());
    let refused = Ask::pod("l4", json!({}), json!({"containers": [first, second]})).refused(&world);
    assert_eq!(
        refused,
        "pods \"l4\" is forbidden: maximum cpu usage per Pod is 1500m, but limit is 2"
    );
    let claim = |storage: &str| {
        let spec = json!({"resources": {"requests": {"storage": storage}}});
        let value = json!({"metadata": {"name": "v"}, "spec": spec});
        Ask::create(core("persistentvolumeclaims"), value)
    };
    assert!(claim("1.5Gi").run(&world).is_ok());
    assert_eq!(
        claim("3Gi").refused(&world),
        "persistentvolumeclaims \"v\" is forbidden: maximum storage usage per \
         PersistentVolumeClaim is 2Gi, but request is 3Gi"
    );
}

fn with_quota(spec: Value, used: Value) -> Model {
    let mut world = world();
    world.put(
        core("resourcequotas"),
        object(json!({"metadata": {"name": "q", "namespace": "ns", "resourceVersion": "7"},
                      "spec": spec, "status": {"hard": spec["hard"], "used": used}})),
    );
    world
}

#[test]
fn quotas_refuse_in_upstreams_words() {
    let world = with_quota(
        json!({"hard": {"pods": "4", "requests.cpu": "1", "limits.memory": "1Gi",
                        "count/configmaps": "2", "services.nodeports": "1",
                        "count/deployments.apps": "0"}}),
        json!({"pods": "3", "requests.cpu": "100m", "limits.memory": "128Mi",
               "count/configmaps": "2", "services.nodeports": "0",
               "count/deployments.apps": "0"}),
    );
    let resources = |cpu: &str, memory: &str| json!({"resources": {"requests": {"cpu": cpu}, "limits": {"memory": memory}}});
    let init = json!({"initContainers": [{"name": "i", "resources": {"requests": {"cpu": "1m"}}}]});
    let deployments = Resource { group: "apps", name: "deployments" };
    let cases = [
        (
            Ask::pod("q1", json!({}), init),
            "pods \"q1\" is forbidden: failed quota: q: must specify limits.memory for: c,i; \
          requests.cpu for: c",
        ),
        (
            Ask::pod("q2", resources("2", "2Gi"), json!({})),
            "pods \"q2\" is forbidden: exceeded quota: q, requested: limits.memory=2Gi,\
          requests.cpu=2, used: limits.memory=128Mi,requests.cpu=100m, limited: \
          limits.memory=1Gi,requests.cpu=1",
        ),
        (
            Ask::create(core("configmaps"), json!({"metadata": {"name": "c3"}})),
            "configmaps \"c3\" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: \
          count/configmaps=2, limited: count/configmaps=2",
        ),
        (
            Ask::create(deployments, json!({"metadata": {"name": "d"}})),
            "deployments.apps \"d\" is forbidden: exceeded quota: q, requested: \
          count/deployments.apps=1, used: count/deployments.apps=0, limited: \
          count/deployments.apps=0",
        ),
        (
            Ask::create(
                core("services"),
                json!({"metadata": {"name": "s"},
             "spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}}),
            ),
            "services \"s\" is forbidden: exceeded quota: q, requested: services.nodeports=2, used: \
          services.nodeports=0, limited: services.nodeports=1",
        ),
    ];
    for (ask, expected) in cases {
        assert_eq!(ask.refused(&world), expected);
    }
    let (_, admitted) = Ask::pod("q3", resources("500m", "1Mi"), json!({})).run(&world).unwrap();
    let quota = &admitted.quotas[0];
    assert_eq!(object::text(quota, &["metadata", "resourceVersion"]), "7");
    assert_eq!(
        quota["status"]["used"],
        json!({"count/configmaps": "2", "count/deployments.apps": "0", "limits.memory": "129Mi",
               "pods": "4", "requests.cpu": "600m", "services.nodeports": "0"})
    );
    let dry = Ask { dry_run: DryRun::Only, ..Ask::pod("q3", resources("1m", "1Mi"), json!({})) };
    assert_eq!(dry.run(&world).unwrap().1.quotas, []);
    assert!(Ask::create(core("events"), json!({"metadata": {"name": "e"}})).run(&world).is_ok());
}

#[test]
fn a_quota_whose_use_is_not_known_yet_lets_nothing_in() {
    let world = with_quota(json!({"hard": {"pods": "4", "requests.cpu": "1"}}), json!({}));
    let cpu = json!({"resources": {"requests": {"cpu": "1m"}}});
    assert_eq!(
        Ask::pod("a", cpu, json!({})).refused(&world),
        "pods \"a\" is forbidden: status unknown for quota: q, resources: pods,requests.cpu"
    );
    let fresh = with_quota(json!({}), json!({}));
    assert!(Ask::pod("a", json!({}), json!({})).run(&fresh).is_ok());
}

#[test]
fn an_update_is_charged_for_its_growth_only() {
    let world = with_quota(
        json!({"hard": {"services": "1", "services.nodeports": "2"}}),
        json!({"services": "1", "services.nodeports": "1"}),
    );
    let service = |kind: &str, ports: usize| {
        let ports: Vec<Value> = (0..ports).map(|port| json!({"port": port})).collect();
        json!({"metadata": {"name": "s"}, "spec": {"type": kind, "ports": ports}})
    };
    let update =
        |old: Value, new: Value| Ask::update(core("services"), "s", &old, &new).run(&world);
    let (_, admitted) = update(service("NodePort", 1), service("NodePort", 2)).unwrap();
    assert_eq!(admitted.quotas[0]["status"]["used"]["services.nodeports"], "2");
    assert_eq!(update(service("NodePort", 2), service("ClusterIP", 9)).unwrap().1.quotas, []);
    assert!(update(service("ClusterIP", 3), service("LoadBalancer", 3)).is_err());
}

#[test]
fn scopes_say_which_pods_a_quota_counts() {
    let requests = json!({"resources": {"requests": {"cpu": "1m"}}});
    let class = |operator: &str, values: Value| {
        json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": values}]}})
    };
    let critical = json!({"priorityClassName": "system-node-critical"});
    let deadline = json!({"activeDeadlineSeconds": 5});
    let cases = [
        (json!({"scopes": ["BestEffort"]}), json!({}), json!({}), true),
        (json!({"scopes": ["BestEffort"]}), requests.clone(), json!({}), false),
        (json!({"scopes": ["NotBestEffort"]}), requests.clone(), json!({}), true),
        (json!({"scopes": ["NotBestEffort"]}), json!({}), json!({}), false),
        (json!({"scopes": ["Terminating"]}), json!({}), deadline.clone(), true),
        (json!({"scopes": ["NotTerminating"]}), json!({}), deadline.clone(), false),
        (json!({"scopes": ["Terminating", "BestEffort"]}), requests, deadline, false),
        (class("In", json!(["system-node-critical"])), json!({}), critical.clone(), true),
        (class("In", json!(["other"])), json!({}), critical.clone(), false),
        (class("NotIn", json!(["other"])), json!({}), critical.clone(), true),
        (class("Exists", json!([])), json!({}), critical.clone(), true),
        (class("Exists", json!([])), json!({}), json!({}), false),
        (class("DoesNotExist", json!([])), json!({}), critical, false),
        (
            json!({"scopes": ["CrossNamespacePodAffinity"]}),
            json!({}),
            json!({"affinity": {
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"podAffinityTerm": {"namespaces": ["x"]}}]}}}),
            true,
        ),
    ];
    for (scopes, container, spec, counted) in cases {
        let mut quota = object(json!({"hard": {"pods": "0"}}));
        quota.extend(object(scopes.clone()));
        let world = with_quota(Value::Object(quota), json!({"pods": "0"}));
        let refused = Ask::pod("a", container, spec.clone()).run(&world).is_err();
        assert_eq!(refused, counted, "{scopes} {spec}");
    }
}

#[test]
fn what_a_pod_uses_is_the_sum_or_the_greatest_of_its_parts() {
    let used = |spec: Value, hard: &str| {
        let world = with_quota(json!({"hard": {hard: "100"}}), json!({hard: "0"}));
        let (_, admitted) = Ask::pod("a", json!({}), spec).run(&world).unwrap();
        admitted.quotas.first().map_or(Value::Null, |q| q["status"]["used"][hard].clone())
    };
    let with = |name: &str, cpu: &str, stays: bool| {
        let policy = if stays { "Always" } else { "" };
        json!({"name": name, "restartPolicy": policy,
               "resources": {"requests": {"cpu": cpu, "x.y/gpu": "1"}}})
    };
    let spec = json!({
        "containers": [with("a", "1", false), with("b", "500m", false)],
        "initContainers": [with("i", "1", false), with("s", "200m", true), with("j", "2", false)],
        "overhead": {"cpu": "50m"},
    });
    // The second init container stays; the third runs beside it: 2 + 0.2, more than 1 + 0.5 + 0.2.
    assert_eq!(used(spec.clone(), "requests.cpu"), "2250m");
    assert_eq!(used(spec.clone(), "requests.x.y/gpu"), "3");
    let mut whole = object(spec);
    whole.insert("resources".to_owned(), json!({"requests": {"cpu": "4"}}));
    assert_eq!(used(Value::Object(whole), "requests.cpu"), "4050m");
}

#[test]
fn a_quotas_use_is_counted_from_what_there_is() {
    let mut world = with_quota(
        json!({"hard": {"pods": "9", "count/pods": "9", "requests.cpu": "9", "secrets": "9",
                        "count/deployments.apps": "9", "requests.storage": "9Gi",
                        "fast.storageclass.storage.k8s.io/requests.storage": "9Gi"}}),
        json!({}),
    );
    let named = |name: &str| json!({"metadata": {"name": name, "namespace": "ns"}});
    let pod = |name: &str, phase: &str| {
        let mut pod = object(named(name));
        let resources = json!({"requests": {"cpu": "250m"}});
        pod.insert("spec".to_owned(), json!({"containers": [{"resources": resources}]}));
        pod.insert("status".to_owned(), json!({"phase": phase}));
        pod
    };
    world.put(core("pods"), pod("a", "Running"));
    world.put(core("pods"), pod("b", "Pending"));
    world.put(core("pods"), pod("c", "Succeeded"));
    let mut stuck = pod("d", "Running");
    object::set(&mut stuck, &["metadata", "deletionTimestamp"], "2026-11-21T16:00:00Z");
    object::set(&mut stuck, &["metadata", "deletionGracePeriodSeconds"], 30);
    world.put(core("pods"), stuck);
    world.put(core("secrets"), object(named("s")));
    world.put(Resource { group: "apps", name: "deployments" }, object(named("d")));
    let mut claim = object(named("v"));
    claim.insert(
        "spec".to_owned(),
        json!({"storageClassName": "fast",
        "resources": {"requests": {"storage": "3Gi"}}}),
    );
    world.put(core("persistentvolumeclaims"), claim);
    use kstore_apiserver::admission::quota::recalculated;
    use kstore_apiserver::auth::lookup::Lookup as _;
    let quota =
        world.get(core("resourcequotas"), "ns", "q").now_or_never().unwrap().unwrap().unwrap();
    let again = |quota: &Object| recalculated(quota, NOW, &world).now_or_never().unwrap().unwrap();
    let next = again(&quota).unwrap();
    assert_eq!(
        next["status"]["used"],
        json!({"count/deployments.apps": "1", "count/pods": "4",
               "fast.storageclass.storage.k8s.io/requests.storage": "3Gi", "pods": "2",
               "requests.cpu": "500m", "requests.storage": "3Gi", "secrets": "1"})
    );
    assert_eq!(again(&next), None);
}

/// Two nodes, and a pod on the first.
fn with_nodes() -> Model {
    let mut world = world();
    for name in ["n1", "n2"] {
        let value = json!({"metadata": {"name": name, "uid": format!("u-{name}")}});
        world.put(core("nodes"), object(value));
    }
    let token = json!({"serviceAccountToken": {"audience": "vault"}});
    world.put(
        core("pods"),
        object(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u-p"},
            "spec": {"nodeName": "n1", "volumes": [{"projected": {"sources": [
                {"serviceAccountToken": {"path": "token"}}, token]}}]}})),
    );
    world
}

#[test]
fn a_node_writes_itself_only_and_nothing_that_draws_work_to_it() {
    let world = with_nodes();
    let node = |more: Value| {
        let mut node = object(json!({"metadata": {"name": "n1", "labels": {"a": "b"}}}));
        node.extend(object(more));
        Value::Object(node)
    };
    let labels = |labels: Value| node(json!({"metadata": {"name": "n1", "labels": labels}}));
    let create = |value: Value| Ask::create(core("nodes"), value).node("n1").refused(&world);
    assert_eq!(
        create(labels(json!({"node-restriction.kubernetes.io/a": "b", "foo.k8s.io/x": "y",
                             "node.kubernetes.io/z": "1", "kubernetes.io/os": "linux",
                             "x.kubelet.kubernetes.io/y": ""}))),
        "nodes \"n1\" is forbidden: node \"n1\" is not allowed to set the following labels: \
         foo.k8s.io/x, node-restriction.kubernetes.io/a"
    );
    assert_eq!(
        create(json!({"metadata": {"name": "n8"}})),
        "nodes \"n8\" is forbidden: node \"n1\" is not allowed to modify node \"n8\""
    );
    let config = json!({"spec": {"configSource": {"configMap": {}}}});
    assert_eq!(
        create(node(config.clone())),
        "nodes \"n1\" is forbidden: node \"n1\" is not allowed to create pods with a non-nil \
         configSource"
    );
    let owners = json!({"metadata": {"name": "n1", "labels": {"a": "b"},
                                     "ownerReferences": [{"name": "x"}]}});
    let cases = [
        (config, "node \"n1\" is not allowed to update configSource to a new non-nil configSource"),
        (
            json!({"spec": {"taints": [{"key": "a"}]}}),
            "node \"n1\" is not allowed to modify taints",
        ),
        (owners, "node \"n1\" is not allowed to modify ownerReferences"),
        (
            json!({"metadata": {"name": "n1", "labels": {"foo.k8s.io/x": "y"}}}),
            "is not allowed to modify labels: foo.k8s.io/x",
        ),
    ];
    for (change, why) in cases {
        for part in ["", "status"] {
            let ask = Ask::update(core("nodes"), "n1", &node(json!({})), &node(change.clone()));
            let refused = ask.part(part).node("n1").refused(&world);
            assert_eq!(refused, format!("nodes \"n1\" is forbidden: {why}"), "{part}");
        }
    }
    let ask = Ask::update(core("nodes"), "n2", &json!({}), &json!({"metadata": {"name": "n1"}}));
    assert_eq!(
        ask.node("n1").refused(&world),
        "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\""
    );
    assert!(Ask::delete(core("nodes"), "n2").node("n1").run(&world).is_err());
    let ok = Ask::update(core("nodes"), "n1", &node(json!({})), &labels(json!({"c": "d"})));
    assert!(ok.node("n1").run(&world).is_ok());
}

/// A mirror pod of the first node.
fn mirror(owners: Value, spec: Value) -> Ask<'static> {
    let metadata = json!({"name": "m", "ownerReferences": owners,
                          "annotations": {"kubernetes.io/config.mirror": "x"}});
    let mut all = object(json!({"nodeName": "n1"}));
    all.extend(object(spec));
    Ask::create(core("pods"), json!({"metadata": metadata, "spec": all})).node("n1")
}

/// The first node as an owner, with one member changed.
fn owner(member: &str, value: Value) -> Value {
    let mut owner = object(json!({"apiVersion": "v1", "kind": "Node", "name": "n1",
                                  "uid": "u-n1", "controller": true}));
    owner.insert(member.to_owned(), value);
    Value::Object(owner)
}

#[test]
fn a_node_makes_mirror_pods_that_it_owns() {
    let world = with_nodes();
    let good = owner("kind", json!("Node"));
    let host = json!({"volumes": [{"hostPath": {}}]});
    assert!(mirror(json!([good]), host).run(&world).is_ok());
    let can_only = "node \"n1\" can only create pods with";
    let cases = [
        (json!([]), format!("{can_only} an owner reference set to itself")),
        (json!([good, good]), format!("{can_only} a single owner reference set to itself")),
        (
            json!([owner("name", json!("n2"))]),
            format!("{can_only} an owner reference set to itself"),
        ),
        (
            json!([owner("controller", json!(false))]),
            format!("{can_only} a controller owner reference set to itself"),
        ),
        (
            json!([owner("blockOwnerDeletion", json!(true))]),
            "node \"n1\" must not set blockOwnerDeletion on an owner reference".to_owned(),
        ),
        (
            json!([owner("uid", json!("other"))]),
            "node n1 UID mismatch: expected other got u-n1".to_owned(),
        ),
    ];
    for (owners, why) in cases {
        let refused = mirror(owners.clone(), json!({})).refused(&world);
        assert_eq!(refused, format!("pods \"m\" is forbidden: {why}"), "{owners}");
    }
    let plain = Ask::create(core("pods"), json!({"metadata": {"name": "x"}, "spec": {}}));
    assert_eq!(
        plain.node("n1").refused(&world),
        "pods \"x\" is forbidden: pod does not have \"kubernetes.io/config.mirror\" annotation, \
         node \"n1\" can only create mirror pods"
    );
    let elsewhere = mirror(json!([good]), json!({"nodeName": "n2"}));
    assert_eq!(
        elsewhere.refused(&world),
        format!("pods \"m\" is forbidden: {can_only} spec.nodeName set to itself")
    );
}

#[test]
fn a_mirror_pod_of_a_node_refers_to_nothing() {
    let world = with_nodes();
    let volume = |source: Value| json!({"volumes": [source]});
    let projected = |source: Value| volume(json!({"projected": {"sources": [source]}}));
    let of_node = |what: &str| format!("node \"n1\" can not create pods that reference {what}");
    let of_mirror = |what: &str| format!("a mirror pod may not {what}");
    let cases = [
        (volume(json!({"secret": {"secretName": "s"}})), of_mirror("reference secrets")),
        (volume(json!({"secret": {}})), of_node("secrets (via secret volumes)")),
        (volume(json!({"csi": {"driver": "d"}})), of_node("csidrivers (via CSI volumes)")),
        (
            volume(json!({"ephemeral": {}})),
            of_node("persistentvolumeclaims (via ephemeral volumes)"),
        ),
        (
            projected(json!({"serviceAccountToken": {}})),
            of_mirror("use ServiceAccountToken volume projections"),
        ),
        (projected(json!({"podCertificate": {}})), of_node("podcertificates")),
        (json!({"resourceClaims": [{"name": "x"}]}), of_node("resourceclaims")),
        (json!({"serviceAccountName": "default"}), of_mirror("reference service accounts")),
        (
            json!({"ephemeralContainers": [{"envFrom": [{"configMapRef": {"name": "s"}}]}]}),
            of_node("configmaps"),
        ),
    ];
    for (spec, why) in cases {
        let refused = mirror(json!([owner("kind", json!("Node"))]), spec.clone()).refused(&world);
        assert_eq!(refused, format!("pods \"m\" is forbidden: {why}"), "{spec}");
    }
}

#[test]
fn a_node_ends_and_reports_its_own_pods_only() {
    let world = with_nodes();
    let own = json!({"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"nodeName": "n1"}});
    assert!(Ask::delete(core("pods"), "p").node("n1").run(&world).is_ok());
    assert_eq!(
        Ask::delete(core("pods"), "p").node("n2").refused(&world),
        "pods \"p\" is forbidden: node \"n2\" can only delete pods with spec.nodeName set to itself"
    );
    assert_eq!(
        Ask::delete(core("pods"), "gone").node("n1").refused(&world),
        "pods \"gone\" not found"
    );
    let status = |new: &Value| Ask::update(core("pods"), "p", &own, new).part("status");
    assert!(status(&own).node("n1").run(&world).is_ok());
    assert_eq!(
        status(&own).node("n2").refused(&world),
        "pods \"p\" is forbidden: node \"n2\" can only update pod status for pods with \
         spec.nodeName set to itself"
    );
    let mut relabelled = own.clone();
    relabelled["metadata"]["labels"]["a"] = "c".into();
    assert_eq!(
        status(&relabelled).node("n1").refused(&world),
        "pods \"p\" is forbidden: node \"n1\" cannot update labels through pod status"
    );
    assert!(Ask::update(core("pods"), "p", &own, &own).node("n1").run(&world).is_err());
    let evict = || Ask { name: "p", ..Ask::create(core("pods"), json!({})).part("eviction") };
    assert!(evict().node("n1").run(&world).is_ok());
    assert_eq!(
        evict().node("n2").refused(&world),
        "pods \"p\" is forbidden: node n2 can only evict pods with spec.nodeName set to itself"
    );
    assert_eq!(
        evict().part("exec").node("n1").refused(&world),
        "pods \"p\" is forbidden: unexpected pod subresource \"exec\", only 'status' and \
         'eviction' are allowed"
    );
}

#[test]
fn a_node_asks_for_tokens_of_its_pods_only() {
    let world = with_nodes();
    let ask = |bound: Value, audiences: Value| {
        let spec = json!({"boundObjectRef": bound, "audiences": audiences});
        let ask = Ask::create(core("serviceaccounts"), json!({"spec": spec}));
        Ask { name: "default", ..ask.part("token") }
    };
    let bound = |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
    for audiences in [json!([]), json!(["vault"])] {
        assert!(ask(bound("p", "u-p"), audiences).node("n1").run(&world).is_ok());
    }
    let cases = [
        (json!(null), json!([]), "n1", "node requested token not bound to a pod"),
        (bound("p", ""), json!([]), "n1", "node requested token with a pod binding without a uid"),
        (
            bound("p", "old"),
            json!([]),
            "n1",
            "the UID in the bound object reference (old) does not match the UID in record. The object \
          might have been deleted and then recreated",
        ),
        (
            bound("p", "u-p"),
            json!([]),
            "n2",
            "node requested token bound to a pod scheduled on a different node",
        ),
        (bound("p", "u-p"), json!(["a", "b"]), "n1", "node may only request 0 or 1 audiences"),
        (
            bound("p", "u-p"),
            json!(["other"]),
            "n1",
            "audience \"other\" not found in pod spec volume, system:node:n1 is not authorized to \
          request tokens for this audience",
        ),
    ];
    for (bound, audiences, node, why) in cases {
        let refused = ask(bound, audiences).node(node).refused(&world);
        assert_eq!(refused, format!("serviceaccounts \"default\" is forbidden: {why}"));
    }
}

#[test]
fn a_node_has_one_lease() {
    let world = with_nodes();
    let leases = Resource { group: "coordination.k8s.io", name: "leases" };
    let lease = |name: &str| Ask::create(leases, json!({"metadata": {"name": name}})).node("n1");
    assert!(lease("n1").run_in("kube-node-lease", &world).is_ok());
    assert_eq!(
        lease("other").run_in("kube-node-lease", &world).unwrap_err().message,
        "leases.coordination.k8s.io \"other\" is forbidden: can only access node lease with the \
         same name as the requesting node"
    );
    assert_eq!(
        lease("n1").refused(&world),
        "leases.coordination.k8s.io \"n1\" is forbidden: can only access leases in the \
         \"kube-node-lease\" system namespace"
    );
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }

    /// A value of any type where any other is expected, under names that plugins look at.
    fn value(&mut self, depth: usize) -> Value {
        const NAMES: [&str; 38] = [
            "metadata",
            "spec",
            "status",
            "containers",
            "initContainers",
            "resources",
            "requests",
            "limits",
            "cpu",
            "memory",
            "volumes",
            "projected",
            "sources",
            "serviceAccountToken",
            "env",
            "envFrom",
            "valueFrom",
            "secretKeyRef",
            "name",
            "labels",
            "annotations",
            "kubernetes.io/config.mirror",
            "ownerReferences",
            "nodeName",
            "taints",
            "tolerations",
            "priorityClassName",
            "priority",
            "ports",
            "type",
            "hard",
            "used",
            "scopes",
            "scopeSelector",
            "matchExpressions",
            "activeDeadlineSeconds",
            "serviceAccountName",
            "imagePullSecrets",
        ];
        const TEXTS: [&str; 8] = ["", "n1", "100m", "1e999", "-1", "Exists", "BestEffort", "é\0"];
        match self.next(if depth == 0 { 5 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.next(3) == 0),
            2 => json!(i64::MIN + i64::try_from(self.next(9)).unwrap()),
            3 => json!(1.5e300),
            4 => json!(TEXTS[self.next(TEXTS.len())]),
            5 => (0..self.next(4)).map(|_| self.value(depth - 1)).collect(),
            _ => {
                let entry = |dice: &mut Self| {
                    let name = NAMES[dice.next(NAMES.len())].to_owned();
                    (name, dice.value(depth - 1))
                };
                Value::Object((0..self.next(6)).map(|_| entry(self)).collect())
            }
        }
    }

    fn object(&mut self) -> Object {
        let members = ["metadata", "spec", "status"];
        members.iter().map(|name| ((*name).to_owned(), self.value(7))).collect()
    }
}

#[test]
fn objects_that_make_no_sense_are_admitted_or_refused_but_break_nothing() {
    let resources = ["pods", "nodes", "services", "persistentvolumeclaims", "serviceaccounts"];
    let parts = ["", "", "status", "eviction", "token", "ephemeralcontainers", "resize"];
    for seed in 1..3_000 {
        let mut dice = Dice(seed);
        let mut world = with_nodes();
        for resource in ["limitranges", "resourcequotas", "serviceaccounts"] {
            let mut it = dice.object();
            object::set(&mut it, &["metadata", "name"], "default");
            object::set(&mut it, &["metadata", "namespace"], "ns");
            world.put(core(resource), it);
        }
        let resource = core(resources[dice.next(resources.len())]);
        let mut ask = Ask::create(resource, json!({})).part(parts[dice.next(parts.len())]);
        ask.object = Some(dice.object());
        ask.name = ["p", "n1", "x"][dice.next(3)];
        if dice.next(2) == 0 {
            ask.operation = Operation::Update;
            ask.old = Some(dice.object());
        }
        if dice.next(3) == 0 {
            ask = ask.node("n1");
        }
        println!("seed {seed}");
        drop(ask.run(&world));
    }
}
