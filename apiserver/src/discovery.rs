//! Discovery: which groups, versions and resources there are, in both of its forms.
//!
//! ```text
//!   GET /api, /apis      APIGroupDiscoveryList if asked for (aggregated: everything at once)
//!                        else APIVersions, APIGroupList
//!   GET /apis/<group>    APIGroup
//!   GET /api/v1, /apis/<group>/<version>    APIResourceList
//! ```
//!
//! It is made from the table of kinds; the order is that of the table.

use http::HeaderMap;
use http::header::ACCEPT;
use serde_json::{Value, json};

use crate::http::reviews;
use crate::kinds::{self, Kind, Subresource};

/// Groups whose newest version comes first, in the order in which clients prefer them.
fn groups() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    let reviewed = reviews::ALL.iter().map(|review| (review.group, "v1"));
    let own = kinds::all().iter().map(|kind| (kind.group, kind.version));
    for (group, version) in own.chain(reviewed) {
        match groups.iter_mut().find(|(name, _)| *name == group) {
            Some((_, versions)) if versions.contains(&version) => {}
            Some((_, versions)) => versions.push(version),
            None => groups.push((group, vec![version])),
        }
    }
    groups
}

/// The document of a path, and its content type.
pub(crate) fn document(path: &str, headers: &HeaderMap) -> Option<(Value, String)> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let plain = |value: Value| Some((value, "application/json".to_owned()));
    match parts.as_slice() {
        ["api"] => match aggregated(headers) {
            Some(version) => Some(aggregate(version, Which::Core)),
            None => plain(json!({
                "kind": "APIVersions", "versions": ["v1"],
                "serverAddressByClientCIDRs": [],
            })),
        },
        ["apis"] => match aggregated(headers) {
            Some(version) => Some(aggregate(version, Which::Named)),
            None => plain(group_list()),
        },
        ["api", version] => plain(resource_list("", version)?),
        ["apis", group] => {
            let (name, versions) = groups().into_iter().find(|(name, _)| name == group)?;
            let mut value = group_value(name, &versions);
            value["kind"] = "APIGroup".into();
            value["apiVersion"] = "v1".into();
            plain(value)
        }
        ["apis", group, version] => plain(resource_list(group, version)?),
        _ => None,
    }
}

/// Every path that answers, for the index.
pub(crate) fn paths() -> Vec<String> {
    let mut paths = vec![
        "/.well-known/openid-configuration".to_owned(),
        "/api".to_owned(),
        "/api/v1".to_owned(),
        "/apis".to_owned(),
    ];
    for (group, versions) in groups().into_iter().filter(|(group, _)| !group.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    let more =
        ["/healthz", "/livez", "/metrics", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"];
    paths.extend(more.iter().map(|path| (*path).to_owned()));
    paths
}

/// Which groups a document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Core,
    Named,
}

/// The version of the aggregated form that the client asks for, if it does.
fn aggregated(headers: &HeaderMap) -> Option<&'static str> {
    let accept = headers.get(ACCEPT)?.to_str().ok()?;
    accept.split(',').find_map(|one| {
        let is = |part: &str| one.split(';').any(|own| own.trim() == part);
        if !is("as=APIGroupDiscoveryList") || !is("g=apidiscovery.k8s.io") {
            return None;
        }
        match () {
            () if is("v=v2") => Some("v2"),
            () if is("v=v2beta1") => Some("v2beta1"),
            () => None,
        }
    })
}

fn aggregate(version: &'static str, which: Which) -> (Value, String) {
    let wanted = |group: &str| (which == Which::Core) == group.is_empty();
    let items: Vec<Value> = groups()
        .into_iter()
        .filter(|(group, _)| wanted(group))
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|own| {
                    json!({
                        "version": own,
                        "resources": aggregated_resources(group, own),
                        "freshness": "Current",
                    })
                })
                .collect();
            let metadata = if group.is_empty() {
                json!({"creationTimestamp": null})
            } else {
                json!({"name": group, "creationTimestamp": null})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let value = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    });
    let content_type =
        format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    (value, content_type)
}

fn aggregated_resources(group: &str, version: &str) -> Vec<Value> {
    let own = kinds::all().iter().filter(|kind| kind.group == group && kind.version == version);
    let mut all: Vec<Value> = own.map(aggregated_resource).collect();
    for review in reviews::ALL.iter().filter(|one| one.group == group) {
        let scope = match review.namespaced {
            reviews::Namespaced::Yes => "Namespaced",
            reviews::Namespaced::No => "Cluster",
        };
        all.push(json!({
            "resource": review.resource,
            "responseKind": {"group": review.group, "version": "v1", "kind": review.kind},
            "scope": scope,
            "singularResource": review.kind.to_lowercase(),
            "verbs": ["create"],
        }));
    }
    all
}

fn aggregated_resource(kind: &Kind) -> Value {
    let mut value = json!({
        "resource": kind.resource,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": if kind.is_namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": verbs(kind.verbs),
    });
    if !kind.short_names.is_empty() {
        value["shortNames"] = kind.short_names.into();
    }
    if !kind.categories.is_empty() {
        value["categories"] = kind.categories.into();
    }
    if !kind.subresources.is_empty() {
        let parts: Vec<Value> = kind
            .subresources
            .iter()
            .map(|sub| {
                json!({
                    "subresource": sub.name,
                    "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                    "verbs": verbs(sub.verbs),
                })
            })
            .collect();
        value["subresources"] = parts.into();
    }
    value
}

fn verbs(verbs: &[kinds::Verb]) -> Vec<&'static str> {
    verbs.iter().map(|verb| verb.name()).collect()
}

fn group_list() -> Value {
    let named = groups().into_iter().filter(|(group, _)| !group.is_empty());
    let groups: Vec<Value> = named.map(|(group, versions)| group_value(group, &versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn group_value(group: &str, versions: &[&str]) -> Value {
    let one =
        |version: &&str| json!({"groupVersion": format!("{group}/{version}"), "version": version});
    let all: Vec<Value> = versions.iter().map(one).collect();
    json!({"name": group, "versions": all, "preferredVersion": versions.first().map(one)})
}

fn resource_list(group: &str, version: &str) -> Option<Value> {
    let own: Vec<&Kind> =
        kinds::all().iter().filter(|kind| kind.group == group && kind.version == version).collect();
    let mut resources = Vec::new();
    for kind in &own {
        resources.push(listed_resource(kind));
        resources.extend(kind.subresources.iter().map(|sub| listed_part(kind, sub)));
    }
    for review in reviews::ALL.iter().filter(|one| one.group == group && version == "v1") {
        resources.push(json!({
            "name": review.resource,
            "singularName": review.kind.to_lowercase(),
            "namespaced": review.namespaced == reviews::Namespaced::Yes,
            "kind": review.kind,
            "verbs": ["create"],
        }));
    }
    if resources.is_empty() {
        return None;
    }
    let name = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources,
    }))
}

fn listed_resource(kind: &Kind) -> Value {
    let mut value = json!({
        "name": kind.resource,
        "singularName": kind.singular,
        "namespaced": kind.is_namespaced(),
        "kind": kind.kind,
        "verbs": verbs(kind.verbs),
    });
    if !kind.short_names.is_empty() {
        value["shortNames"] = kind.short_names.into();
    }
    if !kind.categories.is_empty() {
        value["categories"] = kind.categories.into();
    }
    value
}

fn listed_part(kind: &Kind, sub: &Subresource) -> Value {
    let mut value = json!({
        "name": format!("{}/{}", kind.resource, sub.name),
        "singularName": "",
        "namespaced": kind.is_namespaced(),
        "kind": sub.kind,
        "verbs": verbs(sub.verbs),
    });
    if (sub.group, sub.version) != (kind.group, kind.version) {
        value["group"] = sub.group.into();
        value["version"] = sub.version.into();
    }
    value
}
