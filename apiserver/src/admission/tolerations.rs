//! Nodes start out as not ready, and pods bear a node's trouble for five minutes.

use serde_json::{Value, json};

use super::{Operation, Request};
use crate::object;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const SECONDS: i64 = 300;

/// TaintNodesByCondition: until the node controller has seen a node, nothing is put on it.
pub(super) fn taint_new_nodes(request: &mut Request<'_>) {
    if !request.is("nodes", "") || request.operation != Operation::Create {
        return;
    }
    let Some(node) = request.object.as_deref_mut() else { return };
    let matches = |taint: &Value| taint["key"] == NOT_READY && taint["effect"] == "NoSchedule";
    if object::list(node, &["spec", "taints"]).iter().any(matches) {
        return;
    }
    let mut taints = object::list(node, &["spec", "taints"]).to_vec();
    taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
    object::set(node, &["spec", "taints"], taints);
}

/// DefaultTolerationSeconds.
pub(super) fn add_default_seconds(request: &mut Request<'_>) {
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    if !request.is("pods", "") || !writes {
        return;
    }
    let Some(pod) = request.object.as_deref_mut() else { return };
    let own = object::list(pod, &["spec", "tolerations"]);
    let empty_or =
        |value: &Value, text: &str| value.as_str().is_none_or(|own| own.is_empty() || own == text);
    let bears = |taint: &str| {
        own.iter().any(|own| empty_or(&own["key"], taint) && empty_or(&own["effect"], "NoExecute"))
    };
    let missing: Vec<Value> = [NOT_READY, UNREACHABLE]
        .into_iter()
        .filter(|taint| !bears(taint))
        .map(|taint| {
            json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": SECONDS,
            })
        })
        .collect();
    if !missing.is_empty() {
        let mut all = own.to_vec();
        all.extend(missing);
        object::set(pod, &["spec", "tolerations"], all);
    }
}
