//! The order of merged lists, and what patches may say in lists.
//!
//! Items that the patch names stand in the order of the patch (or of `$setElementOrder`), the
//! others in that of the original; both are interleaved so that an item of the second kind comes
//! before the first one of the first kind that it stood before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::{GO_MAP, PATCH, Result, Trouble, go_print, go_type};
use crate::object::Object;

pub(super) fn map_of(value: &Value) -> Result<&Object> {
    value.as_object().ok_or_else(|| Trouble::wrong_type(GO_MAP, value))
}

/// Whether the items are maps; all of them must be of one type.
pub(super) fn are_maps(old: &[Value], new: &[Value]) -> Result<bool> {
    let mut all = old.iter().chain(new);
    let Some(first) = all.next() else {
        return Err(Trouble::Other("no elements in any of the given slices".to_owned()));
    };
    if first.is_array() {
        return Err(Trouble::Unfit);
    }
    if first.is_null() || all.any(|item| go_type(item) != go_type(first)) {
        let lists = [Value::Array(old.to_vec()), Value::Array(new.to_vec())];
        let shown = go_print(&Value::Array(lists.to_vec()));
        return Err(Trouble::Other(format!("list element types are not identical: {shown}")));
    }
    Ok(first.is_object())
}

/// The place of the item with this value under the merge key.
pub(super) fn find(items: &[Value], key: &str, value: &Value) -> Result<Option<usize>> {
    for (at, item) in items.iter().enumerate() {
        let Some(map) = item.as_object() else {
            return Err(Trouble::Other(format!("value for key {at} is not a map")));
        };
        if map.get(key) == Some(value) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// What the patch has to say about a list by `$patch` in its items is done; the items that are
/// left are to be merged.
pub(super) fn directives_done(
    mut old: Vec<Value>,
    new: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>)> {
    let mut items = Vec::new();
    let mut replaces = false;
    for item in new {
        let map = map_of(&item)?;
        match map.get(PATCH).map(|directive| directive.as_str()) {
            None => items.push(item),
            Some(Some("delete")) => {
                let value = map.get(key).ok_or_else(|| Trouble::no_merge_key(map, key))?;
                while let Some(at) = find(&old, key, value)? {
                    old.remove(at);
                }
            }
            Some(Some("replace")) => replaces = true,
            Some(Some("merge")) => {
                let text = "merging lists cannot yet be specified in the patch";
                return Err(Trouble::Other(text.to_owned()));
            }
            Some(_) => {
                return Err(Trouble::Other(format!(
                    "unknown patch type: {} in map: {}",
                    go_print(&map[PATCH]),
                    go_print(&item)
                )));
            }
        }
    }
    if replaces { Ok((items, Vec::new())) } else { Ok((old, items)) }
}

/// Each value once. The place of a duplicate is taken by the last item, as upstream has it.
pub(super) fn without_duplicates(mut items: Vec<Value>) -> Vec<Value> {
    let mut places: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        places.entry(item.to_string()).or_default().insert(at);
    }
    let mut at = 0;
    while at < items.len() {
        let own = items[at].to_string();
        while let Some(other) = next_place(&places, &own, at) {
            let last = items.len() - 1;
            let moved = places.get_mut(&items[last].to_string());
            if let Some(moved) = moved {
                moved.remove(&last);
                moved.insert(other);
            }
            if other == last || items[last] != items[other] {
                places.entry(own.clone()).or_default().remove(&other);
            }
            items.swap_remove(other);
        }
        at += 1;
    }
    items
}

/// The first place behind `at` where the same stands.
fn next_place(places: &BTreeMap<String, BTreeSet<usize>>, name: &str, at: usize) -> Option<usize> {
    places.get(name)?.range(at + 1..).next().copied()
}

/// Checks that the items of the patch stand in `order`, in the same order.
pub(super) fn fits_order(new: &[Value], order: &[Value], key: &str) -> Result<()> {
    if new.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut items = Vec::new();
    for item in new {
        if key.is_empty() || map_of(item)?.get(PATCH).and_then(Value::as_str) != Some("delete") {
            items.push(item);
        }
    }
    let (mut item, mut place) = (0, 0);
    while item < items.len() && place < order.len() {
        if items[item].get(PATCH).is_some() {
            item += 1;
            continue;
        }
        if key_of(items[item], key)? == key_of(&order[place], key)? {
            item += 1;
        }
        place += 1;
    }
    if item == items.len() {
        return Ok(());
    }
    Err(Trouble::Other(format!(
        "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
        go_print(&Value::Array(new.to_vec())),
        go_print(&Value::Array(order.to_vec()))
    )))
}

/// What tells an item apart: its merge key, or the item itself where there is none.
fn key_of<'a>(item: &'a Value, key: &str) -> Result<&'a Value> {
    if key.is_empty() {
        return Ok(item);
    }
    let map = map_of(item)?;
    map.get(key).ok_or_else(|| Trouble::no_merge_key(map, key))
}

/// The places of items by what tells them apart.
struct Places(BTreeMap<String, usize>);

impl Places {
    fn new(items: &[Value], key: &str, maps: bool) -> Self {
        let mut places = BTreeMap::new();
        for (at, item) in items.iter().enumerate() {
            places.entry(Self::name(item, key, maps)).or_insert(at);
        }
        Self(places)
    }

    /// A text that differs for values that differ.
    fn name(item: &Value, key: &str, maps: bool) -> String {
        if maps { item.get(key).unwrap_or(&Value::Null).to_string() } else { item.to_string() }
    }

    fn of(&self, item: &Value, key: &str, maps: bool) -> Option<usize> {
        self.0.get(&Self::name(item, key, maps)).copied()
    }
}

/// Sorts a merged list: by `order` what stands there, by the original the rest.
pub(super) fn in_order(
    merged: Vec<Value>,
    order: &[Value],
    original: &[Value],
    key: &str,
    maps: bool,
) -> Result<Vec<Value>> {
    let (mut named, mut others) = (Vec::new(), Vec::new());
    let in_order = Places::new(order, key, maps);
    for item in merged {
        if !key.is_empty() {
            key_of(&item, key)?;
        }
        let is_named = in_order.of(&item, key, maps).is_some();
        if is_named { named.push(item) } else { others.push(item) }
    }
    if maps {
        for item in order.iter().chain(original) {
            key_of(item, key)?;
        }
    }
    let in_original = Places::new(original, key, maps);
    sort(&mut named, |item| in_order.of(item, key, maps));
    sort(&mut others, |item| in_original.of(item, key, maps));

    let mut sorted = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let before = match (others.peek(), named.peek()) {
            (None, None) => return Ok(sorted),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(one)) => {
                let places = (in_original.of(other, key, maps), in_original.of(one, key, maps));
                matches!(places, (Some(other), Some(one)) if other < one)
            }
        };
        sorted.extend(if before { others.next() } else { named.next() });
    }
}

/// Sorts by place. An item without one goes before all that stood before it, which turns a list
/// of nothing but such items around; upstream does so.
fn sort(items: &mut Vec<Value>, place: impl Fn(&Value) -> Option<usize>) {
    if items.iter().all(|item| place(item).is_some()) {
        items.sort_by_cached_key(place);
        return;
    }
    let mut sorted: VecDeque<(Option<usize>, Value)> = VecDeque::with_capacity(items.len());
    for item in items.drain(..) {
        let here = place(&item);
        let stays = |before: Option<usize>| matches!((here, before), (Some(here), Some(before)) if here >= before);
        let mut at = if here.is_none() { 0 } else { sorted.len() };
        while at > 0 && !stays(sorted[at - 1].0) {
            at -= 1;
        }
        sorted.insert(at, (here, item));
    }
    items.extend(sorted.into_iter().map(|(_, item)| item));
}
