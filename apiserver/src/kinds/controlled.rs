//! Kinds without behaviour of their own: a row, its columns, and no more.

use super::columns::{self, AGE, NAME, age, count, name, text};
use super::pod_template::default_template;
use super::{IMMUTABLE, Kind, PLAIN, pod_spec};
use crate::field::Path;
use crate::object::{self, Object};

pub(super) const POD_TEMPLATES: Kind = Kind {
    kind: "PodTemplate",
    resource: "podtemplates",
    singular: "podtemplate",
    stored_under: "podtemplates",
    columns: &[
        NAME,
        text("Containers", "The names of the template's containers."),
        text("Images", "The images of the template's containers."),
        text("Pod Labels", "The labels of pods made from it."),
    ],
    cells: |object, _| {
        let [names, images] = columns::containers(object::map(object, &["template", "spec"]));
        let labels = columns::labels(object::map(object, &["template", "metadata", "labels"]));
        vec![name(object), names, images, labels.into()]
    },
    default: |object| default_template(object::map_mut(object, &["template"])),
    validate: |object, errors| {
        if let Some(template) = object::map(object, &["template"]) {
            pod_spec::check_template(template, &Path::new("template"), errors);
        }
    },
    has_generation: true,
    counts_change: |new, old| new.get("template") != old.get("template"),
    ..PLAIN
};

pub(super) const CONTROLLER_REVISIONS: Kind = Kind {
    group: "apps",
    kind: "ControllerRevision",
    resource: "controllerrevisions",
    singular: "controllerrevision",
    stored_under: "controllerrevisions",
    columns: &[
        NAME,
        text("Controller", "Whose revision it is."),
        text("Revision", "Its number."),
        AGE,
    ],
    validate_update: |new, old, errors| {
        if new.get("data") != old.get("data") {
            let data = new.get("data").cloned().unwrap_or_default();
            errors.invalid(&Path::new("data"), data, IMMUTABLE);
        }
    },
    cells: |object, now| {
        let revision = count(object, &["revision"]);
        vec![name(object), controller(object).into(), revision.into(), age(object, now)]
    },
    ..PLAIN
};

/// The owner that controls an object, as `kind.group/name`.
fn controller(object: &Object) -> String {
    let owners = object::list(object, &["metadata", "ownerReferences"]).iter();
    let controller = owners
        .filter_map(serde_json::Value::as_object)
        .find(|owner| object::flag(owner, &["controller"]));
    let Some(owner) = controller else { return "<none>".to_owned() };
    let kind = object::text(owner, &["kind"]).to_lowercase();
    let group = object::text(owner, &["apiVersion"]).split_once('/').map_or("", |parts| parts.0);
    let dot = if group.is_empty() { "" } else { "." };
    format!("{kind}{dot}{group}/{}", object::text(owner, &["name"]))
}
