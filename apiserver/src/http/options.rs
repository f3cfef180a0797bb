//! Options of a request: what stands in its query, and in the body of a delete.

use std::time::Duration;

use serde_json::Value;

use super::info::Query;
use crate::auth::lookup::Answer;
use crate::field::{FieldErrors, Path};
use crate::kinds::Kind;
use crate::object::{self, Object};
use crate::registry::{DeleteOptions, DryRun, Filter, ListOptions, Propagation, WatchOptions};
use crate::selector::{fields, labels};
use crate::status::Status;

/// How long a watch lasts at least if nobody says otherwise; at most twice that (upstream's
/// numbers). It differs, so that clients do not all come back at once.
const WATCH: Duration = Duration::from_secs(1800);

/// `dryRun`.
pub(crate) fn dry_run(query: &Query) -> Answer<DryRun> {
    let mut found = DryRun::No;
    for value in query.all("dryRun") {
        match value {
            "" => {}
            "All" => found = DryRun::Yes,
            other => {
                let mut errors = FieldErrors::default();
                let given = Value::from(vec![other]);
                errors.add(
                    crate::field::Fault::NotSupported,
                    &Path::new("dryRun"),
                    given,
                    "supported values: \"All\"",
                );
                return Err(Box::new(Status::invalid("meta.k8s.io", "CreateOptions", "", &errors)));
            }
        }
    }
    Ok(found)
}

/// The selectors.
pub(crate) fn filter(kind: &Kind, query: &Query) -> Answer<Filter> {
    let bad = |why: String| Box::new(Status::bad_request(why));
    let labels = labels::Selector::parse(query.get("labelSelector"))
        .map_err(|why| bad(format!("unable to parse requirement: {why}")))?;
    let text = query.get("fieldSelector");
    let fields = fields::Selector::parse(text).map_err(|why| bad(why.to_string()))?;
    for field in fields.terms().iter().map(|term| term.field.as_str()) {
        if !is_selectable(kind, field) {
            return Err(bad(unknown_field(kind, field)));
        }
    }
    Ok(Filter { labels, fields })
}

fn is_selectable(kind: &Kind, field: &str) -> bool {
    field == "metadata.name"
        || (field == "metadata.namespace" && kind.is_namespaced())
        || kind.selectable.contains(&field)
}

/// Kinds with selectable fields of their own say it in one way, the others in another.
fn unknown_field(kind: &Kind, field: &str) -> String {
    if kind.selectable.is_empty() { fields::not_known(field) } else { fields::not_supported(field) }
}

/// What to list.
pub(crate) fn list(kind: &Kind, query: &Query) -> Answer<ListOptions> {
    if query.all("sendInitialEvents").next().is_some() {
        let mut errors = FieldErrors::default();
        let why = "sendInitialEvents is forbidden for list";
        errors.forbidden(&Path::new("sendInitialEvents"), why);
        return Err(Box::new(Status::invalid("meta.k8s.io", "ListOptions", "", &errors)));
    }
    Ok(ListOptions {
        filter: filter(kind, query)?,
        limit: usize::try_from(whole(query, "limit")?.max(0)).unwrap_or(usize::MAX),
        next: query.get("continue").to_owned(),
        resource_version: query.get("resourceVersion").to_owned(),
        version_match: query.get("resourceVersionMatch").to_owned(),
    })
}

/// What to watch. `random` spreads the ends of watches.
pub(crate) fn watch(kind: &Kind, query: &Query, random: u64) -> Answer<WatchOptions> {
    let asked = query.all("sendInitialEvents").next();
    let initial_events = asked.map(|_| query.is_on("sendInitialEvents"));
    let timeout = match whole(query, "timeoutSeconds")? {
        seconds if seconds > 0 => Duration::from_secs(seconds.unsigned_abs()),
        _ => WATCH + Duration::from_millis(random % 1_800_000),
    };
    Ok(WatchOptions {
        filter: filter(kind, query)?,
        resource_version: query.get("resourceVersion").to_owned(),
        version_match: query.get("resourceVersionMatch").to_owned(),
        initial_events,
        bookmarks: query.is_on("allowWatchBookmarks"),
        timeout,
    })
}

fn whole(query: &Query, name: &str) -> Answer<i64> {
    match query.get(name) {
        "" => Ok(0),
        text => text.parse().map_err(|_| {
            Box::new(Status::bad_request(format!(
                "strconv.ParseInt: parsing \"{text}\": invalid syntax"
            )))
        }),
    }
}

/// How to delete, from the query and the body.
pub(crate) fn delete(query: &Query, body: Option<&Object>) -> Answer<(DeleteOptions, DryRun)> {
    let empty = Object::new();
    let body = body.unwrap_or(&empty);
    let text =
        |path: &[&str]| Some(object::text(body, path).to_owned()).filter(|text| !text.is_empty());
    let grace = match object::number(body, &["gracePeriodSeconds"]) {
        Some(seconds) => Some(seconds),
        None if query.get("gracePeriodSeconds").is_empty() => None,
        None => Some(whole(query, "gracePeriodSeconds")?),
    };
    let in_body = object::text(body, &["propagationPolicy"]);
    let policy = if in_body.is_empty() { query.get("propagationPolicy") } else { in_body };
    let orphan = object::at(body, &["orphanDependents"]).and_then(Value::as_bool);
    let asked = query.all("orphanDependents").next();
    let orphan = orphan.or_else(|| asked.map(|_| query.is_on("orphanDependents")));
    let propagation = match (policy, orphan) {
        ("", None) => None,
        ("", Some(true)) | ("Orphan", None) => Some(Propagation::Orphan),
        ("", Some(false)) | ("Background", None) => Some(Propagation::Background),
        ("Foreground", None) => Some(Propagation::Foreground),
        (policy, orphan) => return Err(wrong_propagation(policy, orphan)),
    };
    let mut dry = dry_run(query)?;
    if !object::list(body, &["dryRun"]).is_empty() {
        dry = DryRun::Yes;
    }
    let options = DeleteOptions {
        grace,
        uid: text(&["preconditions", "uid"]),
        resource_version: text(&["preconditions", "resourceVersion"]),
        propagation,
    };
    Ok((options, dry))
}

fn wrong_propagation(policy: &str, orphan: Option<bool>) -> Box<Status> {
    let mut errors = FieldErrors::default();
    let path = Path::new("propagationPolicy");
    if orphan.is_some() {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        errors.invalid(&path, policy, why);
    } else {
        errors.not_supported(&path, policy, &["Foreground", "Background", "Orphan", "nil"]);
    }
    Box::new(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors))
}
