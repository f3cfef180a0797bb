//! Whether a pod may run on a node, in the order in which upstream's plugins are asked; the first
//! one that objects gives the reasons.

use k8s_openapi::api::core::v1::{Node, NodeSelectorTerm, Pod, Taint, Toleration};

use crate::kinds::Watched;
use crate::labels;
use crate::pods::{self, HostPort};
use crate::quantity::{self, Amounts};
use crate::world::World;

/// Why a node is out of the question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Misfit {
    pub(crate) reasons: Vec<String>,
    /// Whether it would help if other pods went.
    pub(crate) curable: bool,
}

/// What a pod asks for, read once for all nodes.
pub(crate) struct Asks<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) requests: Amounts,
    ports: Vec<HostPort>,
    pub(crate) tolerations: &'a [Toleration],
    terms: Option<&'a [NodeSelectorTerm]>,
    /// Set when the required terms name nodes by name only, so that others need not be looked at.
    named: Option<Vec<&'a str>>,
}

impl<'a> Asks<'a> {
    pub(crate) fn of(pod: &'a Pod) -> Self {
        let spec = pod.spec.as_ref();
        let affinity = spec.and_then(|spec| spec.affinity.as_ref()?.node_affinity.as_ref());
        let required = affinity
            .and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
        let terms = required.map(|selector| selector.node_selector_terms.as_slice());
        Self {
            pod,
            requests: pods::requests(pod),
            ports: pods::host_ports(pod),
            tolerations: spec.and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default(),
            terms,
            named: terms.and_then(named),
        }
    }
}

/// The nodes that all terms together name by `metadata.name`; `None` if some term does not.
fn named(terms: &[NodeSelectorTerm]) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    for term in terms {
        let fields = term.match_fields.as_deref().unwrap_or_default();
        let by_name = fields.iter().find(|f| f.key == "metadata.name" && f.operator == "In")?;
        names.extend(by_name.values.iter().flatten().map(String::as_str));
    }
    (!names.is_empty()).then_some(names)
}

pub(crate) fn check(world: &World, asks: &Asks<'_>, node: &Node) -> Result<(), Misfit> {
    if asks.named.as_ref().is_some_and(|names| !names.contains(&node.name())) {
        return Err(incurable("node(s) didn't satisfy plugin(s) [NodeAffinity]"));
    }
    let spec = node.spec.as_ref();
    if spec.and_then(|spec| spec.unschedulable) == Some(true) {
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        if !is_tolerated(&taint, asks.tolerations) {
            return Err(incurable("node(s) were unschedulable"));
        }
    }
    let taints = spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let hard = taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
    if hard.into_iter().any(|taint| !is_tolerated(taint, asks.tolerations)) {
        return Err(incurable("node(s) had untolerated taint(s)"));
    }
    if !is_selected(asks, node) {
        return Err(incurable("node(s) didn't match Pod's node affinity/selector"));
    }
    ports(world, asks, node)?;
    resources(world, asks, node)
}

fn incurable(reason: &str) -> Misfit {
    Misfit { reasons: vec![reason.to_owned()], curable: false }
}

pub(crate) fn is_tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "" | "Equal" => {
            toleration.value.as_deref().unwrap_or_default()
                == taint.value.as_deref().unwrap_or_default()
        }
        _ => false,
    }
}

fn is_selected(asks: &Asks<'_>, node: &Node) -> bool {
    let wanted = asks.pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
    let plain = wanted.is_none_or(|wanted| labels::include(node.metadata.labels.as_ref(), wanted));
    plain && asks.terms.is_none_or(|terms| terms.iter().any(|term| meets_term(term, node)))
}

/// A term without any requirement takes no node.
pub(crate) fn meets_term(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let labels = node.metadata.labels.as_ref();
    let by_labels = expressions.iter().all(|wanted| {
        let value = labels.and_then(|labels| labels.get(&wanted.key));
        labels::meets(&wanted.operator, value, wanted.values.as_deref().unwrap_or_default())
    });
    let by_fields = fields.iter().all(|wanted| {
        wanted.key == "metadata.name"
            && labels::meets(
                &wanted.operator,
                node.metadata.name.as_ref(),
                wanted.values.as_deref().unwrap_or_default(),
            )
    });
    by_labels && by_fields
}

fn ports(world: &World, asks: &Asks<'_>, node: &Node) -> Result<(), Misfit> {
    let Some(usage) = world.usage(node.name()) else { return Ok(()) };
    let taken = asks.ports.iter().any(|port| usage.ports.iter().any(|other| port.clashes(other)));
    if taken {
        let reason = "node(s) didn't have free ports for the requested pod ports".to_owned();
        return Err(Misfit { reasons: vec![reason], curable: true });
    }
    Ok(())
}

/// What a node can give to pods.
pub(crate) fn allocatable(node: &Node) -> Amounts {
    let status = node.status.as_ref();
    quantity::amounts(status.and_then(|status| status.allocatable.as_ref()))
}

fn resources(world: &World, asks: &Asks<'_>, node: &Node) -> Result<(), Misfit> {
    let nothing = super::usage::Usage::default();
    let usage = world.usage(node.name()).unwrap_or(&nothing);
    let room = allocatable(node);
    let has = |name: &str| room.get(name).copied().unwrap_or(0);
    let mut reasons = Vec::new();
    let mut curable = true;
    if i128::try_from(usage.pods + 1).is_ok_and(|pods| pods * 1000 > has("pods")) {
        reasons.push("Too many pods".to_owned());
    }
    for (name, amount) in &asks.requests {
        let used = usage.requested.get(name).copied().unwrap_or(0);
        if *amount > 0 && *amount > has(name) - used {
            reasons.push(format!("Insufficient {name}"));
            curable &= *amount <= has(name);
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(Misfit { reasons, curable }) }
}
