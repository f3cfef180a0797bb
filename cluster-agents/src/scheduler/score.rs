//! Which of the nodes that would do is the best. Each rule gives 0 to 100, times its weight.
//!
//! The weights are upstream's: taints 3, preferred affinity 2, spreading 2, free resources 1,
//! balanced resources 1. Among equals the choice depends on the pod, so that pods spread over
//! equal nodes without any of them being remembered.

use k8s_openapi::api::core::v1::Node;

use super::filter::{self, Asks};
use super::usage;
use crate::kinds::Watched;
use crate::pods;
use crate::quantity::Milli;
use crate::world::World;

/// The most that one rule gives.
const MOST: i64 = 100;

pub(crate) fn best<'a>(world: &World, asks: &Asks<'_>, nodes: &[&'a Node]) -> Option<&'a Node> {
    if nodes.len() <= 1 {
        return nodes.first().copied();
    }
    let mut totals = vec![0; nodes.len()];
    let mut add = |weight: i64, scores: Vec<i64>| {
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += weight * score;
        }
    };
    add(3, fewest(nodes.iter().map(|node| avoided_taints(asks, node)).collect()));
    add(2, most(nodes.iter().map(|node| preference(asks, node)).collect()));
    add(2, fewest(nodes.iter().map(|node| siblings(world, asks, node)).collect()));
    add(1, nodes.iter().map(|node| free(world, asks, node)).collect());
    add(1, nodes.iter().map(|node| balance(world, asks, node)).collect());
    let top = totals.iter().copied().max()?;
    let mut equals: Vec<&Node> = Vec::new();
    equals.extend(nodes.iter().zip(&totals).filter(|(_, total)| **total == top).map(|(n, _)| *n));
    let draw = hash(asks.pod.uid());
    let at = usize::try_from(draw % (equals.len() as u64)).unwrap_or(0);
    equals.get(at).copied()
}

/// FNV-1a: the same everywhere, and good enough to tell uids apart.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The node with the most gets 100.
fn most(counts: Vec<i64>) -> Vec<i64> {
    let top = counts.iter().copied().max().unwrap_or(0);
    counts.into_iter().map(|count| if top > 0 { MOST * count / top } else { 0 }).collect()
}

/// The node with the most gets 0.
fn fewest(counts: Vec<i64>) -> Vec<i64> {
    let top = counts.iter().copied().max().unwrap_or(0);
    counts.into_iter().map(|count| if top > 0 { MOST - MOST * count / top } else { MOST }).collect()
}

fn avoided_taints(asks: &Asks<'_>, node: &Node) -> i64 {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let soft = taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
    count(soft.filter(|taint| !filter::is_tolerated(taint, asks.tolerations)).count())
}

fn preference(asks: &Asks<'_>, node: &Node) -> i64 {
    let affinity = asks.pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let terms = affinity
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|node| node.preferred_during_scheduling_ignored_during_execution.as_deref());
    let met = terms.unwrap_or_default().iter();
    met.filter(|term| filter::meets_term(&term.preference, node))
        .map(|term| i64::from(term.weight))
        .sum()
}

/// Pods of the same owner that are on the node already.
fn siblings(world: &World, asks: &Asks<'_>, node: &Node) -> i64 {
    let Some(owner) = asks.pod.controller() else { return 0 };
    let others = world.pods_of_owner(&owner.uid).filter(|pod| pods::is_active(pod));
    count(others.filter(|pod| pods::node(pod) == Some(node.name())).count())
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// CPU and memory that would be used, of what there is.
fn used(world: &World, asks: &Asks<'_>, node: &Node) -> [(Milli, Milli); 2] {
    let room = filter::allocatable(node);
    let (cpu, memory) = usage::guesses(&asks.requests);
    let usage = world.usage(node.name());
    let (cpu_used, memory_used) = usage.map_or((0, 0), |u| (u.cpu_guess, u.memory_guess));
    let has = |name: &str| room.get(name).copied().unwrap_or(0);
    [(cpu_used + cpu, has("cpu")), (memory_used + memory, has("memory"))]
}

fn free(world: &World, asks: &Asks<'_>, node: &Node) -> i64 {
    let scores = used(world, asks, node)
        .map(|(used, all)| if all <= 0 || used > all { 0 } else { (all - used) * 100 / all });
    i64::try_from((scores[0] + scores[1]) / 2).unwrap_or(0)
}

/// The closer the shares of CPU and memory are to each other, the more.
fn balance(world: &World, asks: &Asks<'_>, node: &Node) -> i64 {
    let shares = used(world, asks, node)
        .map(|(used, all)| if all <= 0 { 1000 } else { (used * 1000 / all).min(1000) });
    let deviation = (shares[0] - shares[1]).abs() / 2;
    i64::try_from((1000 - deviation) / 10).unwrap_or(0)
}
