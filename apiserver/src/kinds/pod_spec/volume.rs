//! Volumes: where they come from, and where containers have them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::env::{self, Reader};
use super::{Home, Whole, choose};
use crate::field::{FieldErrors, Path};
use crate::kinds::amounts;
use crate::kinds::labels::complain;
use crate::kinds::names;
use crate::kinds::tree::objects;
use crate::object::{self, Object};

/// What a volume can come from, in the order in which upstream looks.
const SOURCES: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// The volumes of a spec that are as they should be, by name.
#[derive(Debug)]
pub(super) struct Volumes<'a>(BTreeMap<&'a str, &'a Object>);

/// Checks all volumes.
pub(super) fn check_all<'a>(whole: Whole<'a>, at: &Path, errors: &mut FieldErrors) -> Volumes<'a> {
    let mut volumes = BTreeMap::new();
    for (index, volume) in objects(whole.spec, &["volumes"]).enumerate() {
        let path = at.index(index);
        let before = errors.0.len();
        let name = object::text(volume, &["name"]);
        check_source(volume, name, whole, &path, errors);
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            complain(&names::dns_label(name), &path.child("name"), name, errors);
        }
        if volumes.contains_key(name) {
            errors.duplicate(&path.child("name"), name);
        }
        if errors.0.len() == before {
            volumes.insert(name, volume);
        }
    }
    Volumes(volumes)
}

fn check_source(
    volume: &Object,
    volume_name: &str,
    whole: Whole<'_>,
    path: &Path,
    errors: &mut FieldErrors,
) {
    let mut found = SOURCES.iter().filter_map(|name| Some((*name, object::map(volume, &[name])?)));
    let Some((name, source)) = found.next() else {
        return errors.required(path, "must specify a volume type");
    };
    let at = path.child(name);
    let need = |fields: &[&str], errors: &mut FieldErrors| {
        for field in fields.iter().filter(|field| object::text(source, &[field]).is_empty()) {
            errors.required(&at.child(field), "");
        }
    };
    match name {
        "emptyDir" => {
            let limit = source.get("sizeLimit").and_then(amounts::read);
            if limit.is_some_and(|limit| limit.is_negative()) {
                let detail = "SizeLimit field must be a valid resource quantity";
                errors.forbidden(&at.child("sizeLimit"), detail);
            }
        }
        "hostPath" => check_host_path(source, &at, errors),
        "secret" | "configMap" => {
            need(&[if name == "secret" { "secretName" } else { "name" }], errors);
            check_mode(source, "defaultMode", &at, errors);
            check_items(source, &at, errors);
        }
        "nfs" => {
            need(&["server", "path"], errors);
            let path = object::text(source, &["path"]);
            if !path.starts_with('/') {
                errors.invalid(&at.child("path"), path, "must be an absolute path");
            }
        }
        "persistentVolumeClaim" => need(&["claimName"], errors),
        "downwardAPI" => {
            check_mode(source, "defaultMode", &at, errors);
            objects(source, &["items"]).for_each(|file| check_file(file, &at, errors));
        }
        "projected" => {
            check_mode(source, "defaultMode", &at, errors);
            Projection { at: &at, paths: BTreeSet::new() }.check(source, errors);
        }
        "csi" => need(&["driver"], errors),
        "image" => {
            if whole.home != Home::Template {
                need(&["reference"], errors);
            }
            choose(source, "pullPolicy", &["Always", "IfNotPresent", "Never"], &at, errors);
        }
        "ephemeral" => check_ephemeral(source, volume_name, whole, path, errors),
        _ => {}
    }
    for (name, _) in found {
        errors.forbidden(&path.child(name), "may not specify more than 1 volume type");
    }
}

fn check_ephemeral(
    source: &Object,
    volume_name: &str,
    whole: Whole<'_>,
    path: &Path,
    errors: &mut FieldErrors,
) {
    if object::map(source, &["volumeClaimTemplate"]).is_none() {
        errors.required(&path.child("ephemeral").child("volumeClaimTemplate"), "");
    }
    if let Home::Pod(pod) = whole.home
        && !pod.is_empty()
        && !volume_name.is_empty()
    {
        let claim = format!("{pod}-{volume_name}");
        for fault in names::dns_subdomain(&claim) {
            let detail = format!("PVC name \"{claim}\": {fault}");
            errors.invalid(&path.child("name"), volume_name, detail);
        }
    }
}

fn check_host_path(source: &Object, at: &Path, errors: &mut FieldErrors) {
    const TYPES: &[&str] = &[
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    let path = object::text(source, &["path"]);
    if path.is_empty() {
        return errors.required(&at.child("path"), "");
    }
    check_no_steps_back(path, &at.child("path"), errors);
    let kind = object::text(source, &["type"]);
    if !TYPES.contains(&kind) {
        errors.not_supported(&at.child("type"), kind, TYPES);
    }
}

fn check_mode(source: &Object, field: &str, at: &Path, errors: &mut FieldErrors) {
    if let Some(mode) = object::number(source, &[field]).filter(|it| !(0..=0o777).contains(it)) {
        errors.invalid(&at.child(field), mode, MODE);
    }
}

fn check_items(source: &Object, at: &Path, errors: &mut FieldErrors) {
    for (index, item) in objects(source, &["items"]).enumerate() {
        let path = at.child("items").index(index);
        for field in ["key", "path"] {
            if object::text(item, &[field]).is_empty() {
                errors.required(&path.child(field), "");
            }
        }
        check_file_path(object::text(item, &["path"]), &path.child("path"), errors);
        check_mode(item, "mode", &path, errors);
    }
}

fn check_file(file: &Object, at: &Path, errors: &mut FieldErrors) {
    let path = object::text(file, &["path"]);
    if path.is_empty() {
        errors.required(&at.child("path"), "");
    }
    check_file_path(path, &at.child("path"), errors);
    let resource = object::map(file, &["resourceFieldRef"]);
    if let Some(field) = object::map(file, &["fieldRef"]) {
        env::check_field(field, env::OF_FILES, &at.child("fieldRef"), errors);
        if resource.is_some() {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.invalid(at, "resource", detail);
        }
    } else if let Some(resource) = resource {
        env::check_resource(resource, Reader::File, &at.child("resourceFieldRef"), errors);
    } else {
        errors.required(at, "one of fieldRef and resourceFieldRef is required");
    }
    check_mode(file, "mode", at, errors);
}

/// Several sources in one volume: no two may make the same file.
struct Projection<'a> {
    at: &'a Path,
    paths: BTreeSet<String>,
}

impl Projection<'_> {
    fn check(&mut self, projected: &Object, errors: &mut FieldErrors) {
        for (index, source) in objects(projected, &["sources"]).enumerate() {
            let path = self.at.child("sources").index(index);
            for name in ["secret", "configMap"] {
                let Some(source) = object::map(source, &[name]) else { continue };
                let at = path.child(name);
                let object_name = object::text(source, &["name"]);
                if object_name.is_empty() {
                    errors.required(&at.child("name"), "");
                }
                check_items(source, &at, errors);
                for item in objects(source, &["items"]) {
                    self.claim(object::text(item, &["path"]), object_name, errors);
                }
            }
            for file in objects(source, &["downwardAPI", "items"]) {
                check_file(file, &path.child("downwardAPI"), errors);
                let file_path = object::text(file, &["path"]);
                self.claim(file_path, file_path, errors);
            }
            if let Some(token) = object::map(source, &["serviceAccountToken"]) {
                self.check_token(token, &path.child("serviceAccountToken"), errors);
            }
            if source.values().filter(|value| value.is_object()).count() > 1 {
                let detail = "may not specify more than 1 volume type per source";
                errors.forbidden(&path, detail);
            }
        }
    }

    fn claim(&mut self, path: &str, shown: &str, errors: &mut FieldErrors) {
        if !path.is_empty() && !self.paths.insert(path.to_owned()) {
            errors.invalid(self.at, shown, "conflicting duplicate paths");
        }
    }

    fn check_token(&self, token: &Object, path: &Path, errors: &mut FieldErrors) {
        let seconds = object::number(token, &["expirationSeconds"]).unwrap_or(0);
        let at = path.child("expirationSeconds");
        if seconds < 600 {
            errors.invalid(&at, seconds, "may not specify a duration less than 10 minutes");
        }
        if seconds > 1 << 32 {
            errors.invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds");
        }
        let path = object::text(token, &["path"]);
        if path.is_empty() {
            errors.required(&self.at.child("path"), "");
        } else {
            check_file_path(path, &self.at.child("path"), errors);
        }
    }
}

fn check_no_steps_back(path: &str, at: &Path, errors: &mut FieldErrors) {
    if path.split('/').any(|part| part == "..") {
        errors.invalid(at, path, "must not contain '..'");
    }
}

/// A path below a directory.
pub(super) fn check_below(path: &str, at: &Path, errors: &mut FieldErrors) {
    if path.starts_with('/') {
        errors.invalid(at, path, "must be a relative path");
    }
    check_no_steps_back(path, at, errors);
}

fn check_file_path(path: &str, at: &Path, errors: &mut FieldErrors) {
    check_below(path, at, errors);
    if path.starts_with("..") && !path.starts_with("../") {
        errors.invalid(at, path, "must not start with '..'");
    }
}

impl Volumes<'_> {
    /// Checks where a container has its volumes.
    pub(super) fn check_mounts(&self, container: &Object, at: &Path, errors: &mut FieldErrors) {
        let mut used = BTreeSet::new();
        for (index, mount) in objects(container, &["volumeMounts"]).enumerate() {
            let path = at.index(index);
            let text = |field: &str| object::text(mount, &[field]);
            let (name, mount_path) = (text("name"), text("mountPath"));
            if name.is_empty() {
                errors.required(&path.child("name"), "");
            }
            if !self.0.contains_key(name) {
                errors.not_found(&path.child("name"), name);
            }
            if mount_path.is_empty() {
                errors.required(&path.child("mountPath"), "");
            }
            if !used.insert(mount_path) {
                errors.invalid(&path.child("mountPath"), mount_path, "must be unique");
            }
            for device in objects(container, &["volumeDevices"]) {
                if object::text(device, &["name"]) == name {
                    let detail = "must not already exist in volumeDevices";
                    errors.invalid(&path.child("name"), name, detail);
                }
                if object::text(device, &["devicePath"]) == mount_path {
                    let detail = "must not already exist as a path in volumeDevices";
                    errors.invalid(&path.child("mountPath"), mount_path, detail);
                }
            }
            if !text("subPath").is_empty() {
                check_below(text("subPath"), &at.child("subPath"), errors);
            }
            if !text("subPathExpr").is_empty() {
                if !text("subPath").is_empty() {
                    let detail = "subPathExpr and subPath are mutually exclusive";
                    errors.invalid(&path.child("subPathExpr"), text("subPathExpr"), detail);
                }
                check_below(text("subPathExpr"), &at.child("subPathExpr"), errors);
            }
            check_propagation(mount, container, at, errors);
        }
    }

    /// Checks which volumes a container has as devices.
    pub(super) fn check_devices(&self, container: &Object, at: &Path, errors: &mut FieldErrors) {
        let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
        for (index, device) in objects(container, &["volumeDevices"]).enumerate() {
            let path = at.index(index);
            let name = object::text(device, &["name"]);
            let device_path = object::text(device, &["devicePath"]);
            let (name_at, path_at) = (path.child("name"), path.child("devicePath"));
            if name.is_empty() {
                errors.required(&name_at, "");
            } else if !names.insert(name) {
                errors.invalid(&name_at, name, "must be unique");
            }
            match self.0.get(name) {
                None => errors.not_found(&name_at, name),
                Some(volume) => {
                    let claims = ["persistentVolumeClaim", "ephemeral"];
                    if !claims.iter().any(|claim| volume.contains_key(*claim)) {
                        let detail = "can only use volume source type of PersistentVolumeClaim or \
                                      Ephemeral for block mode";
                        errors.invalid(&name_at, name, detail);
                    }
                }
            }
            if device_path.is_empty() {
                errors.required(&path_at, "");
            }
            if paths.contains(device_path) {
                errors.invalid(&path_at, device_path, "must be unique");
            }
            if device_path.split('/').any(|part| part == "..") {
                errors.invalid(&path_at, device_path, "can not contain backsteps ('..')");
            } else {
                paths.insert(device_path);
            }
            for mount in objects(container, &["volumeMounts"]) {
                if object::text(mount, &["name"]) == name {
                    errors.invalid(&name_at, name, "must not already exist in volumeMounts");
                }
                if object::text(mount, &["mountPath"]) == device_path {
                    let detail = "must not already exist as a path in volumeMounts";
                    errors.invalid(&path_at, device_path, detail);
                }
            }
        }
    }
}

fn check_propagation(mount: &Object, container: &Object, at: &Path, errors: &mut FieldErrors) {
    let propagation = mount.get("mountPropagation").and_then(Value::as_str);
    let path = at.child("mountPropagation");
    if let Some(propagation) = propagation {
        let supported = ["Bidirectional", "HostToContainer", "None"];
        if !supported.contains(&propagation) {
            errors.not_supported(&path, propagation, &supported);
        }
        let privileged = object::flag(container, &["securityContext", "privileged"]);
        if propagation == "Bidirectional" && !privileged {
            let detail =
                "Bidirectional mount propagation is available only to privileged containers";
            errors.forbidden(&path, detail);
        }
    }
    let path = at.child("recursiveReadOnly");
    match mount.get("recursiveReadOnly").and_then(Value::as_str) {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !object::flag(mount, &["readOnly"]) {
                errors.forbidden(&path, "may only be specified when readOnly is true");
            }
            if propagation.is_some_and(|it| it != "None") {
                let detail = "may only be specified when mountPropagation is None or not specified";
                errors.forbidden(&path, detail);
            }
        }
        Some(other) => {
            errors.not_supported(&path, other, &["Disabled", "Enabled", "IfPossible"]);
        }
    }
}
