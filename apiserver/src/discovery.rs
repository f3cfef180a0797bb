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

use crate::http::negotiate::{Offer, wanted};
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

/// The document of a path, and how it is offered.
pub(crate) fn document(path: &str) -> Option<(Value, Offer)> {
    match parts(path).as_slice() {
        ["api"] => {
            let value = json!({
                "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [],
            });
            Some((value, Offer::Plain))
        }
        ["apis"] => Some((group_list(), Offer::Groups)),
        ["api", version] => Some((resource_list("", version)?, Offer::Plain)),
        ["apis", group] => {
            let (name, versions) = groups().into_iter().find(|(name, _)| name == group)?;
            let mut value = group_value(name, &versions);
            value["kind"] = "APIGroup".into();
            value["apiVersion"] = "v1".into();
            Some((value, Offer::Groups))
        }
        ["apis", group, version] => Some((resource_list(group, version)?, Offer::Plain)),
        _ => None,
    }
}

/// Whether a group that is served is above the path: who asks for something else there is told so
/// in the form of the API.
pub(crate) fn is_above(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    match (parts.next(), parts.next()) {
        (Some("api"), Some(_)) => true,
        (Some("apis"), Some(group)) => {
            !group.is_empty() && groups().iter().any(|(name, _)| *name == group)
        }
        _ => false,
    }
}

/// Whether a path has a document.
pub(crate) fn is_at(path: &str) -> bool {
    document(path).is_some()
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty()).collect()
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
    let more = [
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ];
    paths.extend(more.iter().map(|path| (*path).to_owned()));
    paths
}

/// Which groups a document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Core,
    Named,
}

/// The type of the aggregated form, in the one version of it that is left: clients that ask for an
/// older one get the documents one by one.
pub(crate) const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Everything at once, if the path has it and the client asks for it.
pub(crate) fn aggregated(path: &str, headers: &HeaderMap) -> Option<Value> {
    let which = match parts(path).as_slice() {
        ["api"] => Which::Core,
        ["apis"] => Which::Named,
        _ => return None,
    };
    let accept = headers.get(ACCEPT)?.to_str().ok()?;
    let is_asked = wanted(accept).iter().any(|one| {
        let names = ["as", "g", "v"].map(|name| one.parameter(name));
        one.media_type == "application/json"
            && names == ["APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2"]
    });
    is_asked.then(|| aggregate(which))
}

fn aggregate(which: Which) -> Value {
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
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
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
            "responseKind": {"group": "", "version": "", "kind": review.kind},
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
        "responseKind": {"group": "", "version": "", "kind": kind.kind},
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
                // What is of the resource's own group and version does not say so.
                let (group, version) = match (sub.group, sub.version) {
                    own if own == (kind.group, kind.version) => ("", ""),
                    other => other,
                };
                json!({
                    "subresource": sub.name,
                    "responseKind": {"group": group, "version": version, "kind": sub.kind},
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
