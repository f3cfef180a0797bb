//! Where a pod runs shows in its labels: zone and region of its node.
//!
//! A binding carries them to its pod: whoever binds merges the binding's labels into the pod's.

use super::{Operation, Request};
use crate::auth::lookup::{Answer, Lookup, core};
use crate::object;

const LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

pub(super) async fn mutate(request: &mut Request<'_>, lookup: &dyn Lookup) -> Answer<()> {
    if request.operation != Operation::Create {
        return Ok(());
    }
    let sent = request.sent();
    let node = if request.is("pods", "") {
        object::text(sent, &["spec", "nodeName"])
    } else if request.is("pods", "binding") && object::text(sent, &["target", "kind"]) == "Node" {
        object::text(sent, &["target", "name"])
    } else {
        ""
    };
    if node.is_empty() {
        return Ok(());
    }
    // Pods may be bound to nodes that are not there; somebody else's trouble.
    let Some(node) = lookup.get(core("nodes"), "", node).await? else { return Ok(()) };
    let Some(sent) = request.object.as_deref_mut() else { return Ok(()) };
    for label in LABELS {
        let value = object::text(&node, &["metadata", "labels", label]);
        if !value.is_empty() {
            object::set(sent, &["metadata", "labels", label], value);
        }
    }
    Ok(())
}
