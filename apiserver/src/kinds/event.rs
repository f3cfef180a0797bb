//! Events, of the core group and of `events.k8s.io`: the same objects under other names.
//!
//! They are stored as core events; the newer group's fields are renamed on the way in and out.
//!
//! Invariant: turning an event into the other form and back changes nothing.

use serde_json::Value;

use super::columns::{NAME, count, or, since, text, wide};
use super::{Column, Kind, PLAIN, event_checks};
use crate::object::{self, Object};

pub(super) const EVENTS: Kind = Kind {
    kind: "Event",
    resource: "events",
    singular: "event",
    short_names: &["ev"],
    stored_under: "events",
    columns: COLUMNS,
    cells,
    selectable: &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ],
    selected,
    default,
    validate: event_checks::validate_core,
    create_on_update: true,
    ..PLAIN
};

pub(super) const NEW_EVENTS: Kind = Kind {
    group: "events.k8s.io",
    selectable: &[
        "reason",
        "regarding.kind",
        "regarding.namespace",
        "regarding.name",
        "regarding.uid",
        "regarding.apiVersion",
        "regarding.resourceVersion",
        "regarding.fieldPath",
        "reportingController",
        "type",
    ],
    cells: |event, now| cells(&as_core(event), now),
    selected: |event, field| super::text_at(event, field),
    default: |event| {
        to_stored(event);
        default(event);
        from_stored(event);
    },
    validate: |event, errors| event_checks::validate_new(&as_core(event), errors),
    validate_create: |event, errors| event_checks::validate_new_create(&as_core(event), errors),
    validate_update: |new, old, errors| {
        event_checks::validate_new_update(&as_core(new), &as_core(old), errors);
    },
    to_stored,
    from_stored,
    ..EVENTS
};

const COLUMNS: &[Column] = &[
    text("Last Seen", "How long ago it happened last."),
    text("Type", "Whether it is a warning."),
    text("Reason", "What happened, in a word."),
    text("Object", "To what it happened."),
    wide("Subobject", "To what part of it."),
    wide("Source", "Who noticed."),
    text("Message", "What happened, for people."),
    wide("First Seen", "How long ago it happened first."),
    wide("Count", "How often it happened."),
    Column { priority: 1, ..NAME },
];

/// The names of the same fields, of core events and of the newer group's.
const RENAMED: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn to_stored(event: &mut Object) {
    rename(event, "v1", |&(core, new)| (new, core));
}

fn from_stored(event: &mut Object) {
    rename(event, "events.k8s.io/v1", |&(core, new)| (core, new));
}

fn as_core(event: &Object) -> Object {
    let mut core = event.clone();
    to_stored(&mut core);
    core
}

fn rename(
    event: &mut Object,
    api_version: &str,
    direction: impl Fn(&(&'static str, &'static str)) -> (&'static str, &'static str),
) {
    object::set(event, &["apiVersion"], api_version);
    for (from, to) in RENAMED.iter().map(direction) {
        if let Some(value) = event.shift_remove(from) {
            event.insert(to.to_owned(), value);
        }
    }
}

fn cells(event: &Object, now: i64) -> Vec<Value> {
    let at = |path: &[&str]| object::text(event, path).to_owned();
    let first_time =
        or(object::text(event, &["firstTimestamp"]), object::text(event, &["eventTime"]));
    let first = since(first_time, now);
    let last_time = object::text(event, &["lastTimestamp"]);
    let (mut last, mut times) = match last_time {
        "" => (first.clone(), count(event, &["count"])),
        time => (since(time, now), count(event, &["count"])),
    };
    if let Some(series) = object::map(event, &["series"]) {
        last = since(object::text(series, &["lastObservedTime"]), now);
        times = count(series, &["count"]);
    } else if times == 0 {
        times = 1;
    }
    let kind = at(&["involvedObject", "kind"]).to_lowercase();
    let target = match object::text(event, &["involvedObject", "name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        last.into(),
        at(&["type"]).into(),
        at(&["reason"]).into(),
        target.into(),
        at(&["involvedObject", "fieldPath"]).into(),
        source(event).into(),
        object::text(event, &["message"]).trim().into(),
        first.into(),
        times.into(),
        object::name(event).into(),
    ]
}

/// Who noticed: the component and, if it says so, on which machine.
fn source(event: &Object) -> String {
    let new_component = object::text(event, &["reportingComponent"]);
    let component = or(object::text(event, &["source", "component"]), new_component);
    let new_instance = object::text(event, &["reportingInstance"]);
    match or(object::text(event, &["source", "host"]), new_instance) {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    }
}

fn selected(event: &Object, field: &str) -> String {
    if field == "source" {
        let new_component = object::text(event, &["reportingComponent"]);
        return or(object::text(event, &["source", "component"]), new_component).to_owned();
    }
    super::text_at(event, field)
}

/// Nothing is decided for an event; these are written even where they say nothing.
fn default(event: &mut Object) {
    object::set_default(event, &["source"], Object::new());
    for time in ["firstTimestamp", "lastTimestamp", "eventTime"] {
        object::set_default(event, &[time], Value::Null);
    }
    for text in ["reportingComponent", "reportingInstance"] {
        object::set_default(event, &[text], "");
    }
}
