//! What a namespace may use in all: pods, their resources, services, claims, and counts of anything.
//!
//! ```text
//!   request ─► usage of the object (usage) ─► growth ─► each quota that concerns it: does it fit?
//!                                                           └─► quotas with their new use
//! ```
//!
//! Invariant: a quota's use and the object that uses it are written together or not at all, so a
//! request that fails leaves no use behind.

use std::sync::Arc;

use serde_json::{Value, json};

use super::amounts::{Amounts, add, amounts, growth, only, show, to_value};
use super::{DryRun, Operation, Request};
use crate::auth::lookup::{Answer, Lookup, core};
use crate::object::{self, Object};
use crate::status::Resource;

mod usage;

use usage::{Counted, is_terminating};

/// What is stored nowhere, and events, which never counted.
fn is_ignored(request: &Request<'_>) -> bool {
    matches!(
        (request.group, request.resource),
        ("" | "events.k8s.io", "events")
            | ("", "bindings" | "componentstatuses")
            | ("authentication.k8s.io", "tokenreviews" | "selfsubjectreviews")
            | (
                "authorization.k8s.io",
                "subjectaccessreviews"
                    | "selfsubjectaccessreviews"
                    | "localsubjectaccessreviews"
                    | "selfsubjectrulesreviews"
            )
    )
}

/// Whether the request can change what is used.
fn concerns(request: &Request<'_>) -> bool {
    if request.namespace.is_empty() || request.object.is_none() || is_ignored(request) {
        return false;
    }
    match (request.operation, request.resource, request.subresource) {
        (Operation::Create, _, "") => true,
        (Operation::Update, "services" | "persistentvolumeclaims", "")
        | (Operation::Update, "pods", "resize") => request.group.is_empty(),
        // Only a pod whose scope changes moves from one quota to another.
        (Operation::Update, "pods", "") => {
            request.group.is_empty()
                && is_terminating(request.sent()) != is_terminating(request.stored())
        }
        _ => false,
    }
}

/// Refuses what a quota has no room for; the answer is the quotas with their new use.
pub(super) async fn validate(request: &Request<'_>, lookup: &dyn Lookup) -> Answer<Vec<Object>> {
    if !concerns(request) {
        return Ok(Vec::new());
    }
    let quotas = lookup.list(core("resourcequotas"), request.namespace).await?;
    if quotas.is_empty() {
        return Ok(Vec::new());
    }
    let counted = Counted { resource: resource_of(request), now: request.now };
    let usage = counted.usage(request.sent());
    let negative = only(&usage, |name| usage[name].is_negative());
    if !negative.is_empty() {
        let names: Vec<&str> = negative.keys().map(String::as_str).collect();
        let names = names.join(",");
        let why = format!("quota usage is negative for resource(s): {names}");
        return Err(request.forbidden(&why));
    }
    let mut changed = Vec::new();
    for quota in quotas {
        changed.extend(charge(request, &counted, &quota, &usage)?);
    }
    Ok(if request.dry_run == DryRun::Only { Vec::new() } else { changed })
}

fn resource_of<'a>(request: &'a Request<'_>) -> Resource<'a> {
    Resource { group: request.group, name: request.resource }
}

/// The quota with its new use; `None` if it does not change.
fn charge(
    request: &Request<'_>,
    counted: &Counted<'_>,
    quota: &Object,
    usage: &Amounts,
) -> Answer<Option<Object>> {
    let (sent, name) = (request.sent(), object::name(quota));
    let hard = amounts(quota, &["status", "hard"]);
    let concerned = counted.of_hard(&hard);
    if concerned.is_empty() || !in_scopes(counted, quota, sent) {
        return Ok(None);
    }
    if let Some(missing) = counted.missing(&concerned, sent) {
        let why = format!("failed quota: {name}: must specify {missing}");
        return Err(request.forbidden(&why));
    }
    let used = amounts(quota, &["status", "used"]);
    if concerned.keys().any(|resource| !used.contains_key(resource)) {
        let names: Vec<&str> = concerned.keys().map(String::as_str).collect();
        let why = format!("status unknown for quota: {name}, resources: {}", names.join(","));
        return Err(request.forbidden(&why));
    }
    // What the stored object uses is charged already, if to this quota.
    let old = request.old.filter(|old| in_scopes(counted, quota, old));
    let before = old.map(|old| counted.usage(old)).unwrap_or_default();
    let wanted = growth(usage, &before);
    let wanted = only(&wanted, |name| hard.contains_key(name) && !wanted[name].is_zero());
    if wanted.is_empty() {
        return Ok(None);
    }
    let mut next = used.clone();
    add(&mut next, &wanted);
    let over = |name: &str| wanted.contains_key(name) && next[name] > hard[name];
    let exceeded = only(&wanted, over);
    if !exceeded.is_empty() {
        let of = |amounts: &Amounts| show(&only(amounts, |name| exceeded.contains_key(name)));
        let why = format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            show(&exceeded),
            of(&used),
            of(&hard)
        );
        return Err(request.forbidden(&why));
    }
    let mut changed = quota.clone();
    object::set(&mut changed, &["status", "used"], to_value(&next));
    Ok(Some(changed))
}

/// Whether an object is in all scopes of a quota.
fn in_scopes(counted: &Counted<'_>, quota: &Object, it: &Object) -> bool {
    let plain = object::list(quota, &["spec", "scopes"])
        .iter()
        .map(|scope| json!({"scopeName": scope, "operator": "Exists"}));
    let selectors = object::list(quota, &["spec", "scopeSelector", "matchExpressions"]);
    plain.chain(selectors.iter().cloned()).all(|selector| counted.is_in_scope(&selector, it))
}

/// How a quota's status must be, by what there is in its namespace; `None` if it is so.
///
/// # Errors
///
/// What the lookup says.
pub async fn recalculated(quota: &Object, now: i64, lookup: &dyn Lookup) -> Answer<Option<Object>> {
    let namespace = object::namespace(quota);
    let hard = amounts(quota, &["spec", "hard"]);
    let mut used = Amounts::new();
    for (group, resource) in usage::counted_resources(&hard) {
        let resource = Resource { group: &group, name: &resource };
        let counted = Counted { resource, now };
        let concerned = counted.of_hard(&hard);
        let mut sum: Amounts =
            concerned.keys().map(|name| (name.clone(), super::amounts::count(0))).collect();
        let all: Vec<Arc<Object>> = lookup.list(resource, namespace).await?;
        for it in all.iter().filter(|it| in_scopes(&counted, quota, it)) {
            add(&mut sum, &only(&counted.usage(it), |name| concerned.contains_key(name)));
        }
        used.extend(sum);
    }
    let mut status = Object::new();
    let hard = object::at(quota, &["spec", "hard"]).cloned();
    status.insert("hard".to_owned(), hard.unwrap_or_else(|| json!({})));
    status.insert("used".to_owned(), to_value(&used));
    let same = object::map(quota, &["status"]).is_some_and(|old| *old == status);
    if same {
        return Ok(None);
    }
    let mut changed = quota.clone();
    changed.insert("status".to_owned(), Value::Object(status));
    Ok(Some(changed))
}

/// The name under which objects of a resource are counted.
fn count_name(resource: Resource<'_>) -> String {
    format!("count/{resource}")
}
