//! Parts of resources with behaviour of their own: scale, binding, eviction, token, log, finalize.

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer;
use super::resource::{Incoming, names_of, place, success_status};
use crate::auth::lookup::Answer;
use crate::auth::token_request::{self, TokenQuestion};
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};
use crate::registry::{Call, DeleteOptions, DryRun, Part};
use crate::schema::conversion::{Kinded, convertible};
use crate::schema::{self, TypeId};
use crate::status::Status;

const SCALE: Kinded<'static> = Kinded { group: "autoscaling", version: "v1", kind: "Scale" };
const BINDING: Kinded<'static> = Kinded { group: "", version: "v1", kind: "Binding" };
const EVICTION: Kinded<'static> = Kinded { group: "policy", version: "v1", kind: "Eviction" };
const TOKEN: Kinded<'static> =
    Kinded { group: "authentication.k8s.io", version: "v1", kind: "TokenRequest" };

impl Incoming<'_> {
    pub(super) async fn scale(&self, call: &Call<'_>, verb: &str, body: Body) -> Answer<Response> {
        let registry = &self.server.registry;
        let scale = match verb {
            "get" => registry.scale(call).await?,
            "update" => {
                let new = self.object(call, SCALE, body).await?;
                registry.change_scale(call, |_| Ok(new.clone())).await?
            }
            _ => {
                let (patch, _) = self.read_patch(body).await?;
                let id = schema::types().kind(SCALE.group, SCALE.version, SCALE.kind);
                let id = id.ok_or_else(|| Status::internal("the kind has no schema"))?;
                registry.change_scale(call, |old| checked_scale(id, patch.apply(id, old)?)).await?
            }
        };
        Ok(self.other_answer(200, scale))
    }

    pub(super) async fn finalize(&self, call: &Call<'_>, body: Body) -> Answer<Response> {
        let new = self.object(call, names_of(call.kind), body).await?;
        let finalizers = object::at(&new, &["spec", "finalizers"]).cloned();
        let wanted = object::text(&new, &["metadata", "resourceVersion"]).to_owned();
        let changed = self.server.registry.change(call, Part::Whole, |old| {
            let mut next = old.clone();
            match &finalizers {
                Some(list) => object::set(&mut next, &["spec", "finalizers"], list.clone()),
                None => drop(object::remove(&mut next, &["spec", "finalizers"])),
            }
            object::set(&mut next, &["metadata", "resourceVersion"], wanted.clone());
            Ok(next)
        });
        Ok(self.object_answer(call, 200, changed.await?))
    }

    /// A scheduler says on which node a pod runs.
    pub(super) async fn bind(&self, call: &Call<'_>, body: Body) -> Answer<Response> {
        let mut binding = self.object(call, BINDING, body).await?;
        place(call, &mut binding)?;
        self.bind_to(call, binding).await
    }

    /// The same by the old path, where the binding's own name is that of the pod.
    pub(super) async fn bind_named(&self, call: &Call<'_>, body: Body) -> Answer<Response> {
        let mut binding = self.object(call, BINDING, body).await?;
        place(call, &mut binding)?;
        let name = object::name(&binding).to_owned();
        if name.is_empty() {
            return Err(Box::new(Status::bad_request("Name parameter required.")));
        }
        let kind = crate::kinds::by_resource("", "v1", "pods");
        let kind = kind.ok_or_else(|| Status::internal("there are no pods"))?;
        let subresource = kind.subresource("binding");
        let warnings = std::sync::Mutex::default();
        let call = Call { kind, subresource, name: &name, warnings, ..*call };
        self.bind_to(&call, binding).await
    }

    async fn bind_to(&self, call: &Call<'_>, binding: Object) -> Answer<Response> {
        if object::name(&binding) != call.name {
            let why = "name in URL does not match name in Binding object";
            return Err(Box::new(Status::bad_request(why)));
        }
        check_target(&binding)?;
        let node = object::text(&binding, &["target", "name"]).to_owned();
        let uid = object::uid(&binding).to_owned();
        let labels = self.topology(&node).await?;
        let now = schema::time::format(self.server.registry.now()).unwrap_or_default();
        let changed = self.server.registry.change(call, Part::Whole, |old| {
            check_bindable(call, old, &uid)?;
            let mut pod = old.clone();
            object::set(&mut pod, &["spec", "nodeName"], node.clone());
            for name in ["annotations", "labels"] {
                let added = object::map(&binding, &["metadata", name]).cloned().unwrap_or_default();
                if !added.is_empty() {
                    object::map_mut(&mut pod, &["metadata", name]).extend(added);
                }
            }
            if !labels.is_empty() {
                object::map_mut(&mut pod, &["metadata", "labels"]).extend(labels.clone());
            }
            schedule(&mut pod, &now);
            Ok(pod)
        });
        changed.await?;
        let mut status = success_status();
        status.insert("code".to_owned(), Value::from(201));
        Ok(self.other_answer(201, status))
    }

    /// Where a node stands; pods on it are labelled with that (KEP-4742).
    async fn topology(&self, node: &str) -> Answer<Object> {
        let Some(kind) = crate::kinds::by_resource("", "v1", "nodes") else {
            return Ok(Object::new());
        };
        let node = self.server.registry.nearby(kind, "", node).await?.unwrap_or_default();
        let labels = object::map(&node, &["metadata", "labels"]).cloned().unwrap_or_default();
        let wanted = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];
        Ok(labels.into_iter().filter(|(name, _)| wanted.contains(&name.as_str())).collect())
    }

    /// A pod is asked to leave: it is deleted. (Nothing counts disruptions yet, so no budget can hold
    /// it.)
    pub(super) async fn evict(&self, call: &Call<'_>, body: Body) -> Answer<Response> {
        let eviction = self.object(call, EVICTION, body).await?;
        let said = object::name(&eviction);
        if !said.is_empty() && said != call.name {
            let why = "name in URL does not match name in Eviction object";
            return Err(Box::new(Status::bad_request(why)));
        }
        let text = |path: &[&str]| {
            Some(object::text(&eviction, path).to_owned()).filter(|text| !text.is_empty())
        };
        let options = DeleteOptions {
            grace: object::number(&eviction, &["deleteOptions", "gracePeriodSeconds"]),
            uid: text(&["deleteOptions", "preconditions", "uid"]),
            resource_version: text(&["deleteOptions", "preconditions", "resourceVersion"]),
            propagation: None,
        };
        let asked = !object::list(&eviction, &["deleteOptions", "dryRun"]).is_empty();
        let dry_run = if asked { DryRun::Yes } else { call.dry_run };
        let call = Call { dry_run, warnings: std::sync::Mutex::default(), ..*call };
        self.server.registry.delete(&call, &options).await?;
        let mut status = success_status();
        status.insert("code".to_owned(), Value::from(201));
        Ok(self.other_answer(201, status))
    }

    pub(super) async fn token(&self, call: &Call<'_>, body: Body) -> Answer<Response> {
        let sent = self.object(call, TOKEN, body).await?;
        let registry = &self.server.registry;
        let id = registry.uuid();
        let question = TokenQuestion {
            namespace: call.namespace,
            name: call.name,
            body: &sent,
            now: registry.now(),
            id: &id,
        };
        let answer =
            token_request::answer(&self.server.tokens, &question, registry.as_ref()).await?;
        for text in answer.warnings {
            call.warn(text);
        }
        Ok(self.other_answer(201, answer.object))
    }

    /// What a pod's containers wrote. No kubelet is asked yet, and that is said.
    pub(super) async fn log(&self, call: &Call<'_>) -> Answer<Response> {
        let pod = self.server.registry.get(call).await?;
        let container = chosen_container(call, &pod, self.query.get("container"))?;
        let node = object::text(&pod, &["spec", "nodeName"]);
        if node.is_empty() {
            return Ok(answer::bytes(200, "text/plain", ""));
        }
        let kind = crate::kinds::by_resource("", "v1", "nodes");
        let node = match kind {
            Some(kind) => self.server.registry.nearby(kind, "", node).await?.unwrap_or_default(),
            None => Object::new(),
        };
        let labels = object::map(&node, &["metadata", "labels"]);
        let hollow = labels.and_then(|labels| labels.get("kstore.io/hollow"));
        if hollow.and_then(Value::as_str) == Some("true") {
            let text = format!(
                "container {container} of pod {} runs on a hollow node: no process was started, \
                 so there is no log\n",
                call.name
            );
            return Ok(answer::bytes(200, "text/plain", text));
        }
        let why = "logs of nodes that are not hollow are not served yet";
        Err(Box::new(Status::new(501, "NotImplemented", why)))
    }
}

/// What a patch made of a Scale, if it is one still.
fn checked_scale(id: TypeId, mut patched: Object) -> Answer<Object> {
    let shown = Value::Object(patched.clone()).to_string();
    let said = |name: &str| object::text(&patched, &[name]);
    let checked = convertible(said("apiVersion"), said("kind"), SCALE)
        .and_then(|()| schema::decode::check(id, &mut patched))
        .map(|_| patched);
    checked.map_err(|why| {
        let mut errors = FieldErrors::default();
        errors.invalid(&Path::new("patch"), shown, why);
        // Upstream names neither kind nor object here.
        Box::new(Status::invalid("", "", "", &errors))
    })
}

fn check_target(binding: &Object) -> Answer<()> {
    let mut errors = FieldErrors::default();
    let kind = object::text(binding, &["target", "kind"]);
    if !kind.is_empty() && kind != "Node" {
        errors.not_supported(&Path::new("target.kind"), kind, &["Node", "<empty>"]);
    }
    if object::text(binding, &["target", "name"]).is_empty() {
        errors.required(&Path::new("target.name"), "");
    }
    if errors.is_empty() {
        return Ok(());
    }
    // Upstream does not turn this into a refusal of its own kind.
    Err(Box::new(Status::new(500, "", errors.joined())))
}

fn check_bindable(call: &Call<'_>, pod: &Object, uid: &str) -> Answer<()> {
    let conflict = |why: String| {
        Box::new(Status::conflict(
            crate::status::Resource { group: "", name: "pods/binding" },
            call.name,
            &why,
        ))
    };
    if !uid.is_empty() && uid != object::uid(pod) {
        return Err(call.of_another_uid(uid, object::uid(pod)));
    }
    if object::is_deleting(pod) {
        return Err(conflict(format!(
            "pod {} is being deleted, cannot be assigned to a host",
            call.name
        )));
    }
    let node = object::text(pod, &["spec", "nodeName"]);
    if !node.is_empty() {
        return Err(conflict(format!("pod {} is already assigned to node \"{node}\"", call.name)));
    }
    if !object::list(pod, &["spec", "schedulingGates"]).is_empty() {
        return Err(conflict(format!("pod {} has non-empty .spec.schedulingGates", call.name)));
    }
    Ok(())
}

/// Notes in a pod's status that it has a node.
fn schedule(pod: &mut Object, now: &str) {
    let condition = json!({
        "type": "PodScheduled", "status": "True",
        "lastProbeTime": null, "lastTransitionTime": now,
    });
    let status = object::map_mut(pod, &["status"]);
    let list = status.entry("conditions").or_insert_with(|| Value::Array(Vec::new()));
    let Value::Array(conditions) = list else { return };
    conditions.retain(|one| one.get("type").and_then(Value::as_str) != Some("PodScheduled"));
    conditions.push(condition);
}

/// The container whose log is meant.
fn chosen_container<'a>(call: &Call<'_>, pod: &'a Object, asked: &'a str) -> Answer<&'a str> {
    let names = |field: &str| {
        let list = object::list(pod, &["spec", field]);
        list.iter().filter_map(|one| one.get("name")?.as_str()).collect::<Vec<_>>()
    };
    let own = names("containers");
    let (init, ephemeral) = (names("initContainers"), names("ephemeralContainers"));
    let bad = |why: String| Box::new(Status::bad_request(why));
    if !asked.is_empty() {
        let known = own.iter().chain(&init).chain(&ephemeral).any(|name| *name == asked);
        return if known {
            Ok(asked)
        } else {
            Err(bad(format!("container {asked} is not valid for pod {}", call.name)))
        };
    }
    if let [one] = own.as_slice() {
        return Ok(one);
    }
    let mut why = format!(
        "a container name must be specified for pod {}, choose one of: [{}]",
        call.name,
        own.join(" ")
    );
    if !init.is_empty() {
        why.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
    }
    Err(bad(why))
}
