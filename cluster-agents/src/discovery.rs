//! Asks the server which resources it serves.

use std::borrow::Cow;
use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIResource, APIResourceList};
use kube::Client;

use crate::kinds::{Resource, Scope};

/// A resource and what can be done with it.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) resource: Resource,
    verbs: BTreeSet<String>,
}

impl Served {
    pub(crate) fn can_be_emptied(&self) -> bool {
        self.resource.scope == Scope::Namespaced
            && self.can(&["delete", "list"])
            && self.verbs.contains("deletecollection")
    }

    /// The collector follows what can be listed, watched and deleted, but for events: they expire
    /// by themselves, and there are many.
    pub(crate) fn can_be_collected(&self) -> bool {
        self.can(&["delete", "list", "watch"]) && self.resource.plural != "events"
    }

    fn can(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|verb| self.verbs.contains(*verb))
    }
}

/// The preferred version of everything that is served.
#[derive(Clone, Debug, Default)]
pub(crate) struct All {
    pub(crate) resources: Vec<Served>,
    /// Groups that could not be asked about.
    pub(crate) failures: Vec<String>,
}

pub(crate) async fn served(client: &Client) -> All {
    let mut all = All::default();
    match client.list_core_api_resources("v1").await {
        Ok(list) => all.add("", "v1", list),
        Err(error) => all.failures.push(format!("v1: {error}")),
    }
    let groups = match client.list_api_groups().await {
        Ok(groups) => groups.groups,
        Err(error) => {
            all.failures.push(error.to_string());
            return all;
        }
    };
    for group in groups {
        let Some(preferred) = group.preferred_version.or(group.versions.into_iter().next()) else {
            continue;
        };
        match client.list_api_group_resources(&preferred.group_version).await {
            Ok(list) => all.add(&group.name, &preferred.version, list),
            Err(error) => all.failures.push(format!("{}: {error}", preferred.group_version)),
        }
    }
    all
}

impl All {
    fn add(&mut self, group: &str, version: &str, list: APIResourceList) {
        let whole = list.resources.into_iter().filter(|resource| !resource.name.contains('/'));
        self.resources.extend(whole.map(|resource| one(group, version, resource)));
    }
}

fn one(group: &str, version: &str, resource: APIResource) -> Served {
    Served {
        resource: Resource {
            group: Cow::Owned(group.to_owned()),
            version: Cow::Owned(version.to_owned()),
            plural: Cow::Owned(resource.name),
            kind: Cow::Owned(resource.kind),
            scope: if resource.namespaced { Scope::Namespaced } else { Scope::Cluster },
        },
        verbs: resource.verbs.into_iter().collect(),
    }
}
