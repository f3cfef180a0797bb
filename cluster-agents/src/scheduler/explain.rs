//! The sentence that says why a pod fits on no node. People and programs read it, so it is
//! upstream's to the letter.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

use super::filter::Misfit;

pub(crate) fn explain(pod: &Pod, misfits: &[Misfit]) -> String {
    let nodes = misfits.len();
    let reasons = misfits.iter().flat_map(|misfit| misfit.reasons.iter().map(String::as_str));
    let first = sentence(nodes, reasons);
    format!("{first} no new claims to deallocate, {}", preemption(pod, misfits))
}

/// Why making room by deleting other pods does not help.
fn preemption(pod: &Pod, misfits: &[Misfit]) -> String {
    let policy = pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref());
    if policy == Some("Never") {
        return "preemption: not eligible due to preemptionPolicy=Never.".to_owned();
    }
    let reasons = misfits.iter().map(|misfit| {
        if misfit.curable {
            "No preemption victims found for incoming pod"
        } else {
            "Preemption is not helpful for scheduling"
        }
    });
    format!("preemption: {}", sentence(misfits.len(), reasons))
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
fn sentence<'a>(nodes: usize, reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut parts: Vec<String> =
        counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    // By the text with its number, as text: 10 comes before 2.
    parts.sort();
    format!("0/{nodes} nodes are available: {}.", parts.join(", "))
}
