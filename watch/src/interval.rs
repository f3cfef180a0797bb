//! Ranges that can be asked: which of you hold this key?
//!
//! A treap: a binary search tree by (start, end) that is also a heap by a priority drawn from a
//! counter, so that no order of insertions makes it deep. Each node knows the furthest end below
//! it, so a search leaves out what ends too early:
//!
//! ```text
//!              [f, k) furthest z
//!             /              \
//!   [a, c) furthest e      [m, p) furthest z     key h: left child ends before h, leave it out;
//!         \                /                     [f, k) holds h; right child starts after h
//!       [b, e)         [g, z)
//! ```
//!
//! Equal ranges share a node. A search costs about the depth for each range found; insert and
//! remove cost about the depth. Recursion is as deep as the tree, some tens of levels for a million
//! ranges.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use bytes::Bytes;

/// Where an interval ends; `Never` is after every key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Before(Bytes),
    Never,
}

impl End {
    fn is_after(&self, key: &[u8]) -> bool {
        match self {
            Self::Before(end) => key < end.as_ref(),
            Self::Never => true,
        }
    }
}

/// A set of (interval, id) pairs.
#[derive(Debug, Default)]
pub(crate) struct Intervals {
    root: Tree,
    /// How many nodes were ever made; the source of priorities.
    made: u64,
}

type Tree = Option<Box<Node>>;

#[derive(Debug)]
struct Node {
    start: Bytes,
    end: End,
    ids: BTreeSet<u64>,
    /// Invariant: not below that of any node underneath.
    priority: u64,
    /// Invariant: the furthest `end` of this node and all underneath.
    furthest: End,
    left: Tree,
    right: Tree,
}

impl Intervals {
    pub(crate) fn insert(&mut self, start: &Bytes, end: &End, id: u64) {
        if let Some(node) = find(&mut self.root, start, end) {
            node.ids.insert(id);
            return;
        }
        self.made += 1;
        let node = Box::new(Node {
            start: start.clone(),
            end: end.clone(),
            ids: BTreeSet::from([id]),
            priority: scatter(self.made),
            furthest: end.clone(),
            left: None,
            right: None,
        });
        let (low, high) = split(self.root.take(), start, end);
        self.root = merge(merge(low, Some(node)), high);
    }

    pub(crate) fn remove(&mut self, start: &Bytes, end: &End, id: u64) {
        let Some(node) = find(&mut self.root, start, end) else { return };
        node.ids.remove(&id);
        if node.ids.is_empty() {
            self.root = without(self.root.take(), start, end);
        }
    }

    /// Calls `found` with each id whose interval holds `key`.
    pub(crate) fn each_at(&self, key: &[u8], found: &mut dyn FnMut(u64)) {
        self.each_touching(key, key, found);
    }

    /// Calls `found` with each id whose interval may hold a key between `first` and `last`, both
    /// included.
    pub(crate) fn each_touching(&self, first: &[u8], last: &[u8], found: &mut dyn FnMut(u64)) {
        visit(&self.root, first, last, found);
    }
}

fn visit(tree: &Tree, first: &[u8], last: &[u8], found: &mut dyn FnMut(u64)) {
    let Some(node) = tree else { return };
    if !node.furthest.is_after(first) {
        return;
    }
    visit(&node.left, first, last, found);
    if node.start.as_ref() <= last {
        if node.end.is_after(first) {
            node.ids.iter().for_each(|id| found(*id));
        }
        visit(&node.right, first, last, found);
    }
}

fn find<'a>(tree: &'a mut Tree, start: &Bytes, end: &End) -> Option<&'a mut Node> {
    let node = tree.as_deref_mut()?;
    match node.order(start, end) {
        Ordering::Equal => Some(node),
        Ordering::Less => find(&mut node.left, start, end),
        Ordering::Greater => find(&mut node.right, start, end),
    }
}

/// Parts the tree into what lies before (start, end) and what lies after; it is not in the tree.
fn split(tree: Tree, start: &Bytes, end: &End) -> (Tree, Tree) {
    let Some(mut node) = tree else { return (None, None) };
    if node.order(start, end) == Ordering::Less {
        let (low, high) = split(node.left.take(), start, end);
        node.left = high;
        node.measure();
        (low, Some(node))
    } else {
        let (low, high) = split(node.right.take(), start, end);
        node.right = low;
        node.measure();
        (Some(node), high)
    }
}

/// Joins two trees; everything in `low` lies before everything in `high`.
fn merge(low: Tree, high: Tree) -> Tree {
    match (low, high) {
        (None, tree) | (tree, None) => tree,
        (Some(mut low), Some(high)) if low.priority > high.priority => {
            low.right = merge(low.right.take(), Some(high));
            low.measure();
            Some(low)
        }
        (Some(low), Some(mut high)) => {
            high.left = merge(Some(low), high.left.take());
            high.measure();
            Some(high)
        }
    }
}

fn without(tree: Tree, start: &Bytes, end: &End) -> Tree {
    let mut node = tree?;
    match node.order(start, end) {
        Ordering::Equal => return merge(node.left.take(), node.right.take()),
        Ordering::Less => node.left = without(node.left.take(), start, end),
        Ordering::Greater => node.right = without(node.right.take(), start, end),
    }
    node.measure();
    Some(node)
}

impl Node {
    /// Where (start, end) lies as seen from this node.
    fn order(&self, start: &Bytes, end: &End) -> Ordering {
        start.cmp(&self.start).then_with(|| end.cmp(&self.end))
    }

    fn measure(&mut self) {
        let below = [&self.left, &self.right].into_iter().flatten().map(|child| &child.furthest);
        if let Some(furthest) = below.chain([&self.end]).max() {
            self.furthest = furthest.clone();
        }
    }
}

/// Spreads the bits of a counter (the finish of `SplitMix64`).
fn scatter(counter: u64) -> u64 {
    let mut bits = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Short keys over a small alphabet, so that ranges nest, touch and repeat.
    fn key(random: &mut u64) -> Bytes {
        *random += 1;
        let bits = scatter(*random);
        let length = 1 + (bits >> 32) % 2;
        (0..length).map(|place| b'a' + (bits >> (8 * place)).to_le_bytes()[0] % 8).collect()
    }

    #[test]
    fn a_search_finds_exactly_the_intervals_that_hold_the_key() {
        for seed in 0..30 {
            println!("seed {seed}");
            let mut random = seed * 1_000_000;
            let mut tree = Intervals::default();
            let mut model: Vec<(Bytes, End, u64)> = Vec::new();
            for id in 0..300 {
                let start = key(&mut random);
                let end = match random % 5 {
                    0 => End::Never,
                    _ => End::Before(key(&mut random)),
                };
                tree.insert(&start, &end, id);
                model.push((start, end, id));
                if id % 3 == 2 {
                    let place = usize::try_from(scatter(random)).unwrap() % model.len();
                    let (start, end, id) = model.swap_remove(place);
                    tree.remove(&start, &end, id);
                }
                let (one, other) = (key(&mut random), key(&mut random));
                let (first, last) = if one <= other { (one, other) } else { (other, one) };
                check(&tree, &model, &first, &first);
                check(&tree, &model, &first, &last);
            }
        }
    }

    fn check(tree: &Intervals, model: &[(Bytes, End, u64)], first: &Bytes, last: &Bytes) {
        let mut found = Vec::new();
        tree.each_touching(first, last, &mut |id| found.push(id));
        found.sort_unstable();
        let mut expected: Vec<u64> = model
            .iter()
            .filter(|(start, end, _)| start <= last && end.is_after(first))
            .map(|(_, _, id)| *id)
            .collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "between {first:?} and {last:?}");
    }

    #[test]
    fn ten_thousand_intervals_in_order_make_no_deep_tree() {
        fn depth(tree: &Tree) -> usize {
            tree.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
        }
        let mut tree = Intervals::default();
        for id in 0..10_000_u64 {
            tree.insert(&Bytes::copy_from_slice(&id.to_be_bytes()), &End::Never, id);
        }
        assert!(depth(&tree.root) < 60, "depth {}", depth(&tree.root));
    }
}
