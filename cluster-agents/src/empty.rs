//! Empties a namespace: asks the server what there is to serve, and deletes all of it.
//!
//! Pods go first and everything else only when they are gone, so that what still runs keeps its
//! service accounts, secrets and services until it has ended.

use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::discovery;
use crate::kinds::Resource;
use crate::world::{Failure, FailureKind, Remains};
use crate::writer;

/// Objects of one kind that are looked at to count finalizers; a namespace with more has enough to
/// say.
const COUNTED_MOST: usize = 500;

pub(crate) async fn empty(client: &Client, namespace: &str) -> Result<Remains, Failure> {
    let served = discovery::served(client).await;
    let mut remains = Remains { discovery_failures: served.failures, ..Remains::default() };
    let resources = served.resources.into_iter().filter(discovery::Served::can_be_emptied);
    let (pods, others): (Vec<Resource>, Vec<Resource>) = resources
        .map(|served| served.resource)
        .partition(|resource| resource.group.is_empty() && resource.plural == "pods");
    for resource in &pods {
        empty_resource(client, resource, namespace, &mut remains).await;
    }
    if remains.objects.is_empty() {
        for resource in &others {
            empty_resource(client, resource, namespace, &mut remains).await;
        }
    }
    Ok(remains)
}

async fn empty_resource(
    client: &Client,
    resource: &Resource,
    namespace: &str,
    remains: &mut Remains,
) {
    let name = match resource.group.as_ref() {
        "" => format!("{}.", resource.plural),
        group => format!("{}.{group}", resource.plural),
    };
    let path = resource.path(namespace);
    let body = json!({
        "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background",
    });
    let request = writer::call("DELETE", path.clone(), "application/json", &body);
    match client.request_text(request).await.map_err(writer::failure) {
        Err(failure) if failure.kind != FailureKind::NotFound => {
            remains.deletion_failures.push(failure.message);
            return;
        }
        _ => {}
    }
    match left(client, &path).await {
        Err(failure) if failure.kind == FailureKind::NotFound => {}
        Err(failure) => remains.deletion_failures.push(failure.message),
        Ok((0, _)) => {}
        Ok((count, finalizers)) => {
            remains.objects.insert(name, count);
            for finalizer in finalizers {
                *remains.finalizers.entry(finalizer).or_default() += 1;
            }
        }
    }
}

/// How many objects there still are, and the finalizers that they have.
async fn left(client: &Client, path: &str) -> Result<(usize, Vec<String>), Failure> {
    let accept =
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
    let request = Request::get(format!("{path}?limit={COUNTED_MOST}"))
        .header("Accept", accept)
        .body(Vec::new())
        .expect("paths are made of names");
    let list: Value = client.request(request).await.map_err(writer::failure)?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let more = list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
    let finalizers = items
        .iter()
        .flat_map(|item| item["metadata"]["finalizers"].as_array().cloned().unwrap_or_default())
        .filter_map(|finalizer| finalizer.as_str().map(str::to_owned));
    let more = usize::try_from(more).unwrap_or(usize::MAX);
    Ok((items.len().saturating_add(more), finalizers.collect()))
}
