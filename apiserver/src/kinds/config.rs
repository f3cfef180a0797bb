//! What pods are given: config maps, secrets and service accounts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::columns::{AGE, NAME, age, name, text};
use super::tree::{each, fill};
use super::{Kind, PLAIN, Subresource, Verb, config_checks};
use crate::object::{self, Object};

pub(super) const CONFIG_MAPS: Kind = Kind {
    kind: "ConfigMap",
    resource: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    stored_under: "configmaps",
    columns: &[NAME, text("Data", "How many entries it has."), AGE],
    cells: config_map_cells,
    validate: config_checks::validate_config_map,
    validate_update: config_checks::validate_config_map_update,
    ..PLAIN
};

pub(super) const SECRETS: Kind = Kind {
    kind: "Secret",
    resource: "secrets",
    singular: "secret",
    stored_under: "secrets",
    columns: &[
        NAME,
        text("Type", "What it is for."),
        text("Data", "How many entries it has."),
        AGE,
    ],
    cells: secret_cells,
    selectable: &["type"],
    selected: super::text_at,
    default: default_secret,
    validate: config_checks::validate_secret,
    validate_update: config_checks::validate_secret_update,
    ..PLAIN
};

pub(super) const SERVICE_ACCOUNTS: Kind = Kind {
    kind: "ServiceAccount",
    resource: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    subresources: &[Subresource {
        name: "token",
        group: "authentication.k8s.io",
        version: "v1",
        kind: "TokenRequest",
        verbs: &[Verb::Create],
    }],
    stored_under: "serviceaccounts",
    columns: &[NAME, AGE],
    cells: |object, now| vec![name(object), age(object, now)],
    prepare_create: names_of_secrets_only,
    prepare_update: |new, _| names_of_secrets_only(new),
    ..PLAIN
};

fn config_map_cells(object: &Object, now: i64) -> Vec<Value> {
    let entries = entries(object, "data") + entries(object, "binaryData");
    vec![name(object), entries.into(), age(object, now)]
}

fn secret_cells(object: &Object, now: i64) -> Vec<Value> {
    let kind = object::text(object, &["type"]);
    vec![name(object), kind.into(), entries(object, "data").into(), age(object, now)]
}

fn entries(object: &Object, field: &str) -> usize {
    object::map(object, &[field]).map_or(0, Object::len)
}

/// `stringData` is how people write data; it is stored, and read, as data.
fn default_secret(secret: &mut Object) {
    fill(secret, "type", "Opaque");
    let Some(Value::Object(texts)) = secret.remove("stringData") else { return };
    for (key, text) in texts {
        let encoded = STANDARD.encode(text.as_str().unwrap_or_default());
        object::map_mut(secret, &["data"]).insert(key, encoded.into());
    }
}

fn names_of_secrets_only(account: &mut Object) {
    each(account, &["secrets"], |secret| secret.retain(|field, _| field == "name"));
}
