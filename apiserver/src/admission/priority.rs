//! The number behind the name of a pod's priority class.

use std::sync::Arc;

use serde_json::Value;

use super::{Operation, Request};
use crate::auth::lookup::{Answer, Lookup};
use crate::object::{self, Object};
use crate::status::Resource;

const CLASSES: Resource<'static> = Resource { group: "scheduling.k8s.io", name: "priorityclasses" };

pub(super) async fn mutate(request: &mut Request<'_>, lookup: &dyn Lookup) -> Answer<()> {
    if !request.is("pods", "") {
        return Ok(());
    }
    match request.operation {
        Operation::Create => resolve(request, lookup).await,
        Operation::Update => {
            keep(request);
            Ok(())
        }
        Operation::Delete | Operation::Connect => Ok(()),
    }
}

/// What was resolved once stays, also for clients that do not send it back.
fn keep(request: &mut Request<'_>) {
    let Some((pod, old)) = request.object.as_deref_mut().zip(request.old) else { return };
    for member in ["priority", "preemptionPolicy"] {
        let path = ["spec", member];
        if let Some(value) = object::at(old, &path).filter(|value| !value.is_null()) {
            object::set_default(pod, &path, value.clone());
        }
    }
}

async fn resolve(request: &mut Request<'_>, lookup: &dyn Lookup) -> Answer<()> {
    let name = object::text(request.sent(), &["spec", "priorityClassName"]).to_owned();
    let class = if name.is_empty() {
        default_class(lookup).await?
    } else {
        let found = lookup.get(CLASSES, "", &name).await?;
        let missing = || request.forbidden(&format!("no PriorityClass with name {name} was found"));
        Some(found.ok_or_else(missing)?)
    };
    let priority = class.as_ref().and_then(|class| object::number(class, &["value"])).unwrap_or(0);
    let policy = match &class {
        Some(class) => object::text(class, &["preemptionPolicy"]).to_owned(),
        None => "PreemptLowerPriority".to_owned(),
    };
    let own = object::number(request.sent(), &["spec", "priority"]);
    if let Some(own) = own.filter(|own| *own != priority) {
        return Err(request.forbidden(&format!(
            "the integer value of priority ({own}) must not be provided in pod spec; priority \
             admission controller computed {priority} from the given PriorityClass name"
        )));
    }
    let own = object::text(request.sent(), &["spec", "preemptionPolicy"]);
    if !own.is_empty() && !policy.is_empty() && own != policy {
        return Err(request.forbidden(&format!(
            "the string value of PreemptionPolicy ({own}) must not be provided in pod spec; \
             priority admission controller computed {policy} from the given PriorityClass name"
        )));
    }
    let Some(pod) = request.object.as_deref_mut() else { return Ok(()) };
    if let Some(class) = class {
        object::set(pod, &["spec", "priorityClassName"], object::name(&class));
    }
    object::set(pod, &["spec", "priority"], priority);
    if !policy.is_empty() {
        object::set(pod, &["spec", "preemptionPolicy"], policy);
    }
    Ok(())
}

/// The class for pods without one; of several (two may be made at once) the lowest.
async fn default_class(lookup: &dyn Lookup) -> Answer<Option<Arc<Object>>> {
    let classes = lookup.list(CLASSES, "").await?;
    Ok(classes
        .into_iter()
        .filter(|class| class.get("globalDefault") == Some(&Value::Bool(true)))
        .min_by_key(|class| object::number(class, &["value"])))
}

/// Only one class is the default.
pub(super) async fn validate(request: &Request<'_>, lookup: &dyn Lookup) -> Answer<()> {
    let on_classes = request.group == CLASSES.group
        && request.resource == CLASSES.name
        && request.subresource.is_empty();
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    if !on_classes || !writes || !object::flag(request.sent(), &["globalDefault"]) {
        return Ok(());
    }
    let Some(class) = default_class(lookup).await? else { return Ok(()) };
    let name = object::name(&class);
    if request.operation == Operation::Update && name == object::name(request.sent()) {
        return Ok(());
    }
    Err(request.forbidden(&format!(
        "PriorityClass {name} is already marked as default. Only one default can exist"
    )))
}
