//! A small server for tests: it keeps its objects in the world itself, does what actions ask for,
//! and lets controllers decide until nobody has anything left to do.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::action::{Action, Part, PatchKind, Propagation, Step, Target};
use crate::engine::{Controller, GARBAGE};
use crate::kinds::{Key, Kind, Object, Resource};
use crate::world::{Change, Delta, Remains, World};

/// The time at which tests begin.
pub(crate) fn begin() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

pub(crate) struct Server {
    pub(crate) world: World,
    pub(crate) now: Timestamp,
    pub(crate) events: Vec<String>,
    version: u64,
    changes: Vec<Change>,
}

impl Server {
    pub(crate) fn new() -> Self {
        let mut world = World::default();
        world.finished_pods_most = 100;
        let mut server =
            Self { world, now: begin(), events: Vec::new(), version: 0, changes: Vec::new() };
        for kind in Kind::ALL {
            server.world.graph.serve(kind.resource());
        }
        server
    }

    pub(crate) fn with(objects: impl IntoIterator<Item = Value>) -> Self {
        let mut server = Self::new();
        for object in objects {
            server.put(object);
        }
        server
    }

    /// Stores an object; what its metadata lacks is filled in.
    pub(crate) fn put(&mut self, mut object: Value) -> String {
        self.version += 1;
        let kind = object["kind"].as_str().unwrap().to_owned();
        let resource = resource(&kind);
        let meta = object["metadata"].as_object_mut().unwrap();
        if !meta.contains_key("name") {
            let prefix = meta["generateName"].as_str().unwrap_or("x-").to_owned();
            meta.insert("name".to_owned(), json!(format!("{prefix}{}", self.version)));
        }
        let name = meta["name"].as_str().unwrap().to_owned();
        if resource.scope == crate::kinds::Scope::Namespaced {
            meta.entry("namespace").or_insert(json!("default"));
        }
        meta.entry("uid").or_insert(json!(format!("uid-{name}-{}", self.version)));
        meta.entry("creationTimestamp").or_insert(json!(self.now.to_string()));
        meta.entry("generation").or_insert(json!(1));
        meta.insert("resourceVersion".to_owned(), json!(self.version.to_string()));
        let object = Object::parse(&resource, &object.to_string()).unwrap();
        let changes = self.world.apply(Delta::Applied(object));
        self.changes.extend(changes);
        name
    }

    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<Value> {
        let namespace = match resource(kind).scope {
            crate::kinds::Scope::Namespaced => "default",
            crate::kinds::Scope::Cluster => "",
        };
        self.get(&resource(kind), &Key::new(namespace, name))
    }

    fn get(&self, resource: &Resource, key: &Key) -> Option<Value> {
        let tables = &self.world.tables;
        macro_rules! look {
            ($($kind:literal => $table:ident),*) => {
                match resource.kind.as_ref() {
                    $($kind => tables.$table.find(key).map(|object| crate::action::value(&**object)),)*
                    other => panic!("no table of {other}"),
                }
            };
        }
        look!("Pod" => pods, "Node" => nodes, "Namespace" => namespaces,
            "Deployment" => deployments, "ReplicaSet" => replica_sets, "Service" => services,
            "Endpoints" => endpoints, "EndpointSlice" => endpoint_slices,
            "ServiceAccount" => service_accounts, "ConfigMap" => config_maps, "Lease" => leases,
            "ResourceQuota" => quotas)
    }

    pub(crate) fn remove(&mut self, kind: &str, name: &str) {
        if let Some(mut object) = self.find(kind, name) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            let object = Object::parse(&resource(kind), &object.to_string()).unwrap();
            let changes = self.world.apply(Delta::Deleted(object));
            self.changes.extend(changes);
        }
    }

    /// Changes an object as a merge patch would.
    pub(crate) fn patch(&mut self, kind: &str, name: &str, patch: &Value) {
        let mut object = self.find(kind, name).unwrap();
        self.write(&mut object, patch, PatchKind::Merge);
    }

    fn write(&mut self, object: &mut Value, patch: &Value, kind: PatchKind) {
        let spec = object["spec"].clone();
        merge(object, patch, kind);
        if object["spec"] != spec {
            let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        let ends = object["metadata"]["deletionTimestamp"].is_string()
            && object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty)
            && object["kind"] != "Pod"
            && object["kind"] != "Namespace";
        let kind = object["kind"].as_str().unwrap().to_owned();
        if ends {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            self.remove(&kind, &name);
        } else {
            self.put(object.clone());
        }
    }

    /// Does what an action asks for. An object that is not there is none to write to.
    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Create { resource, namespace, mut body, .. } => {
                body["kind"] = json!(resource.kind);
                if !namespace.is_empty() {
                    body["metadata"]["namespace"] = json!(namespace);
                }
                self.put(body);
            }
            Action::Replace { target, part, body } => self.replace(&target, part, &body),
            Action::Patch { target, kind, mut body, .. } => {
                if let Some(meta) = body.get_mut("metadata").and_then(Value::as_object_mut) {
                    meta.remove("uid");
                    meta.remove("resourceVersion");
                }
                if let Some(mut object) = self.get(&target.resource, &target.key) {
                    self.write(&mut object, &body, kind);
                }
            }
            Action::Delete { target, deletion } => {
                let at_once = deletion.grace_seconds == Some(0);
                self.delete(&target, at_once, deletion.propagation);
            }
            Action::Bind { pod, node, .. } => {
                let patch = json!({"spec": {"nodeName": node}});
                self.patch("Pod", &pod.name, &patch);
            }
            Action::Event(note) => self.events.push(format!("{}: {}", note.reason, note.message)),
            Action::Confirm { target, uid } => {
                let found = self.get(&target.resource, &target.key);
                if found.is_none_or(|found| found["metadata"]["uid"] != uid.as_str()) {
                    self.world.graph.confirm_absent(&uid);
                }
            }
            Action::Empty { namespace } => {
                self.world.remains.insert(namespace, (Remains::default(), self.now));
            }
        }
    }

    fn replace(&mut self, target: &Target, part: Part, body: &Value) {
        let Some(mut object) = self.get(&target.resource, &target.key) else { return };
        let mut patch = match part {
            Part::Status => json!({"status": null}),
            _ => json!({"spec": null, "metadata": {"annotations": null, "labels": null}}),
        };
        merge(&mut object, &patch.take(), PatchKind::Merge);
        let mut wanted = match part {
            Part::Status => json!({"status": body["status"],
                "metadata": {"annotations": body["metadata"]["annotations"]}}),
            _ => json!({"spec": body["spec"], "subsets": body["subsets"],
                "endpoints": body["endpoints"], "data": body["data"],
                "metadata": {"annotations": body["metadata"]["annotations"],
                             "labels": body["metadata"]["labels"]}}),
        };
        self.write(&mut object, &wanted.take(), PatchKind::Merge);
    }

    pub(crate) fn delete(&mut self, target: &Target, at_once: bool, how: Option<Propagation>) {
        let Some(mut object) = self.get(&target.resource, &target.key) else { return };
        let mut finalizers =
            object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        match how {
            Some(Propagation::Foreground) => finalizers.push(json!("foregroundDeletion")),
            Some(Propagation::Orphan) => finalizers.push(json!("orphan")),
            _ => {}
        }
        let graceful =
            target.resource.kind == "Pod" && !at_once && object["spec"]["nodeName"].is_string();
        if finalizers.is_empty() && !graceful {
            let kind = target.resource.kind.to_string();
            self.remove(&kind, &target.key.name);
            return;
        }
        object["metadata"]["finalizers"] = json!(finalizers);
        object["metadata"]["deletionTimestamp"] = json!(self.now.to_string());
        object["metadata"]["deletionGracePeriodSeconds"] = json!(if graceful { 30 } else { 0 });
        self.put(object);
    }

    /// One round: every controller decides about every key that has changed. The steps that were
    /// taken, as `controller key: steps`.
    pub(crate) fn round(&mut self, controllers: &[Controller]) -> usize {
        let mut keys: BTreeMap<usize, BTreeSet<Key>> = BTreeMap::new();
        let pending = self.world.graph.take_pending();
        for (at, controller) in controllers.iter().enumerate() {
            let own = keys.entry(at).or_default();
            for change in &self.changes {
                (controller.keys)(&self.world, change, own);
            }
            if controller.name == GARBAGE {
                own.extend(pending.iter().map(|uid| Key::new("", uid)));
            }
        }
        self.changes.clear();
        let mut count = 0;
        for (at, keys) in keys {
            for key in keys {
                let decision = (controllers[at].decide)(&self.world, &key, self.now);
                for action in flatten(decision.steps) {
                    count += 1;
                    self.act(action);
                }
            }
        }
        count
    }

    /// Rounds until nothing is done any more; fails if that does not happen.
    pub(crate) fn settle(&mut self, controllers: &[Controller]) {
        for _ in 0..500 {
            if self.round(controllers) == 0 && self.changes.is_empty() {
                return;
            }
        }
        panic!("controllers do not come to rest");
    }
}

pub(crate) fn flatten(steps: Vec<Step>) -> Vec<Action> {
    let each = steps.into_iter().flat_map(|step| match step {
        Step::One(action) => vec![action],
        Step::Batch(actions) => actions,
    });
    each.collect()
}

pub(crate) fn resource(kind: &str) -> Resource {
    let kinds = Kind::ALL.iter().map(|known| known.resource());
    kinds.into_iter().find(|known| known.kind == kind).unwrap()
}

/// A merge patch; a strategic one keeps conditions that it does not name.
fn merge(into: &mut Value, patch: &Value, kind: PatchKind) {
    let Some(fields) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(name);
        } else if name == "conditions" && kind == PatchKind::Strategic {
            let mut all = into[name].as_array().cloned().unwrap_or_default();
            for condition in value.as_array().unwrap() {
                all.retain(|known| known["type"] != condition["type"]);
                all.push(condition.clone());
            }
            into[name] = json!(all);
        } else {
            merge(&mut into[name], value, kind);
        }
    }
}

/// A pod template with one container of an image.
pub(crate) fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": image}], "restartPolicy": "Always"},
    })
}

pub(crate) fn replica_set(name: &str, replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                 "template": template("x:1")},
    })
}

pub(crate) fn deployment(name: &str, replicas: i32, strategy: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                 "template": template("x:1"), "strategy": strategy,
                 "progressDeadlineSeconds": 600, "revisionHistoryLimit": 2},
    })
}

pub(crate) fn node(name: &str, cpu: &str) -> Value {
    let room = json!({"cpu": cpu, "memory": "16Gi", "pods": "110"});
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"name": name}},
        "spec": {}, "status": {"allocatable": room, "capacity": room},
    })
}

pub(crate) const fn seconds(count: i64) -> k8s_openapi::jiff::SignedDuration {
    k8s_openapi::jiff::SignedDuration::from_secs(count)
}
