//! Nothing is made in a namespace that is not there or that goes away, and some never go.

use super::{Operation, Request};
use crate::auth::lookup::{Answer, Lookup, core};
use crate::object;
use crate::status::Status;

/// The namespaces that stay.
const IMMORTAL: [&str; 3] = ["default", "kube-public", "kube-system"];

pub(super) async fn admit(request: &Request<'_>, lookup: &dyn Lookup) -> Answer<()> {
    let on_namespaces = request.group.is_empty() && request.resource == "namespaces";
    if on_namespaces {
        let immortal = IMMORTAL.contains(&request.name) && request.subresource.is_empty();
        if request.operation == Operation::Delete && immortal {
            let why = "this namespace may not be deleted";
            return Err(Box::new(Status::forbidden(core("namespaces"), request.name, why)));
        }
        return Ok(());
    }
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    if request.namespace.is_empty() || !writes || is_access_review(request) {
        return Ok(());
    }
    let Some(namespace) = lookup.get(core("namespaces"), "", request.namespace).await? else {
        return Err(Box::new(Status::not_found(core("namespaces"), request.namespace)));
    };
    let ends = object::text(&namespace, &["status", "phase"]) == "Terminating";
    if request.operation == Operation::Create && ends {
        let name = request.namespace;
        let why = format!(
            "unable to create new content in namespace {name} because it is being terminated"
        );
        let cause = format!("namespace {name} is being terminated");
        let status = *request.forbidden(&why);
        let status = status.with_cause("NamespaceTerminating", &cause, "metadata.namespace");
        return Err(Box::new(status));
    }
    Ok(())
}

/// What such a review says of a namespace that is not there would tell who asks that it is not.
fn is_access_review(request: &Request<'_>) -> bool {
    request.group == "authorization.k8s.io" && request.resource == "localsubjectaccessreviews"
}
