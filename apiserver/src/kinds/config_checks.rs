//! Whether config maps and secrets are well formed, and what may change of sealed ones.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::labels::complain;
use super::{IMMUTABLE, names};
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};

/// The most that all values of one object may be together, in bytes.
const MOST: usize = 1024 * 1024;

/// Checks a config map by itself.
pub(super) fn validate_config_map(object: &Object, errors: &mut FieldErrors) {
    let mut size = 0;
    let binary = object::map(object, &["binaryData"]);
    for (key, value) in object::map(object, &["data"]).into_iter().flatten() {
        let path = Path::new("data").key(key);
        complain(&names::config_key(key), &path, key, errors);
        if binary.is_some_and(|binary| binary.contains_key(key)) {
            errors.invalid(&path, key.as_str(), "duplicate of key present in binaryData");
        }
        size += value.as_str().map_or(0, str::len);
    }
    for (key, value) in binary.into_iter().flatten() {
        complain(&names::config_key(key), &Path::new("binaryData").key(key), key, errors);
        size += decoded(value).len();
    }
    if size > MOST {
        // So upstream writes a place without a name.
        errors.too_long(&Path::new("[]"), MOST);
    }
}

/// Checks a secret by itself.
pub(super) fn validate_secret(object: &Object, errors: &mut FieldErrors) {
    let at = Path::new("data");
    let data = object::map(object, &["data"]);
    let mut size = 0;
    for (key, value) in data.into_iter().flatten() {
        complain(&names::config_key(key), &at.key(key), key, errors);
        size += decoded(value).len();
    }
    if size > MOST {
        errors.too_long(&at, MOST);
    }
    let value = |key: &str| data.and_then(|data| data.get(key));
    match object::text(object, &["type"]) {
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            if object::text(object, &["metadata", "annotations", key]).is_empty() {
                let path = Path::new("metadata").child("annotations").key(key);
                errors.required(&path, "");
            }
        }
        "kubernetes.io/dockercfg" => check_json(value(".dockercfg"), ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => {
            check_json(value(".dockerconfigjson"), ".dockerconfigjson", errors);
        }
        "kubernetes.io/basic-auth" => {
            let fields = ["username", "password"];
            if fields.iter().all(|field| value(field).is_none()) {
                fields.iter().for_each(|field| errors.required(&at.key(field), ""));
            }
        }
        "kubernetes.io/ssh-auth"
            if value("ssh-privatekey").is_none_or(|key| decoded(key).is_empty()) =>
        {
            errors.required(&at.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            for field in ["tls.crt", "tls.key"] {
                if value(field).is_none() {
                    errors.required(&at.key(field), "");
                }
            }
        }
        _ => {}
    }
}

fn decoded(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default()
}

/// A registry's credentials are JSON; what is wrong with them is not repeated, for it is secret.
fn check_json(value: Option<&Value>, key: &str, errors: &mut FieldErrors) {
    let path = Path::new("data").key(key);
    let Some(value) = value else { return errors.required(&path, "") };
    if let Err(fault) = serde_json::from_slice::<Object>(&decoded(value)) {
        let detail = match fault.classify() {
            serde_json::error::Category::Eof => "unexpected end of JSON input".to_owned(),
            _ => "invalid character in JSON input".to_owned(),
        };
        errors.invalid(&path, "<secret contents redacted>", detail);
    }
}

/// A sealed config map stays as it is.
pub(super) fn validate_config_map_update(new: &Object, old: &Object, errors: &mut FieldErrors) {
    check_sealed(new, old, &["data", "binaryData"], errors);
}

/// A sealed secret stays as it is; what a secret is for stays in any case.
pub(super) fn validate_secret_update(new: &Object, old: &Object, errors: &mut FieldErrors) {
    let kind = |object| object::text(object, &["type"]);
    if kind(new) != kind(old) {
        errors.invalid(&Path::new("type"), kind(new), IMMUTABLE);
    }
    check_sealed(new, old, &["data"], errors);
}

fn check_sealed(new: &Object, old: &Object, fields: &[&str], errors: &mut FieldErrors) {
    const SEALED: &str = "field is immutable when `immutable` is set";
    if !object::flag(old, &["immutable"]) {
        return;
    }
    if !object::flag(new, &["immutable"]) {
        errors.forbidden(&Path::new("immutable"), SEALED);
    }
    for field in fields {
        let of = |object| object::map(object, &[field]).cloned().unwrap_or_default();
        if of(new) != of(old) {
            errors.forbidden(&Path::new(*field), SEALED);
        }
    }
}
