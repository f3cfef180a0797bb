//! Sorted cells in packed form: what leaves and inner pages are made of.
//!
//! ```text
//!   prefix  "registry/pods/"          common to the inline keys of all cells
//!   slots   [ pod-a1:31, pod-a2:0, ]  each cell's first bytes and its place in the heap, in key order
//!   heap    |len|len|suffix|value|len|len|suffix|value| (dead) |len|len|..
//!   refs    [ -> page, .. ]           overflow pages that cells name by their number here
//! ```
//!
//! A cell's key is prefix + suffix + what its overflow page holds, if it has one. A key is longer
//! than its *inline* part (prefix + suffix) exactly if it has an overflow page, so any two keys can
//! be compared whatever the inline limit was when they were written.
//!
//! An insert appends to the heap and moves slots; a remove leaves dead bytes behind, which are
//! squeezed out when there are many or when the page is copied anyway.
//!
//! Invariant: each slot points at a whole, well-formed cell; [`Cells::decode`] checks it for bytes
//! from the disk, everything else here keeps it.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use super::cell::{self, Cell, NewKey, NewValue, Slot, Value, common_prefix, number};
use super::page::{Loader, PageRef};
use super::place::Place;
use crate::ReadError;

/// Heap offsets are sixteen bits wide.
const HEAP_MAX: usize = u16::MAX as usize;

/// Room for a few inserts, given to a heap that is copied in order to be changed.
const SLACK: usize = 256;

/// The capacity of a heap with `bytes` in use: a few sizes only, which allocators reuse well.
fn room_for(bytes: usize) -> usize {
    (bytes + SLACK / 2).next_multiple_of(2 * SLACK)
}

/// How many inserts in a row must lie side by side before a page is split for their sake.
const RUN: u8 = 3;

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Cells {
    /// Shared by the copies of a page, as it rarely changes.
    prefix: Arc<[u8]>,
    slots: Vec<Slot>,
    heap: Vec<u8>,
    /// Bytes of the heap that no slot points at any more.
    dead: usize,
    /// Holes are entries that a removed cell gave back.
    refs: Vec<Option<PageRef>>,
    trail: Trail,
}

/// Where the last inserts went: neighbours tell a load in key order from a random one.
#[derive(Debug, Default, Clone, Copy)]
struct Trail {
    /// Where the last insert went; `None` in a page that had none since it was read or made.
    last: Option<u16>,
    /// How many inserts up to it lay beside their predecessor.
    run: u8,
    /// How many inserts there were, as far as a byte can count.
    inserts: u8,
}

impl Trail {
    fn note(&mut self, index: usize) {
        let index = number(index);
        let beside = self.last.is_some_and(|last| index == last || index == last + 1);
        self.run = if beside { self.run.saturating_add(1) } else { 0 };
        self.inserts = self.inserts.saturating_add(1);
        self.last = Some(index);
    }

    /// The trails of the two halves of a page split at `index`.
    fn split(self, index: usize) -> (Self, Self) {
        match self.last {
            Some(last) if usize::from(last) >= index => {
                (Self::default(), Self { last: Some(last - number(index)), ..self })
            }
            _ => (self, Self::default()),
        }
    }
}

impl Cells {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What every inline key begins with.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// The cell at `index`, which must exist.
    #[inline]
    pub(super) fn cell(&self, index: usize) -> Cell<'_> {
        Cell::parse(&self.heap[self.slots[index].at()..]).expect("slots point at well-formed cells")
    }

    /// The overflow page that a cell of this page names.
    pub(super) fn reference(&self, number: u16) -> &PageRef {
        self.refs[usize::from(number)].as_ref().expect("cells name references that exist")
    }

    /// The overflow pages of all cells, each once.
    pub(super) fn references(&self) -> impl Iterator<Item = &PageRef> {
        self.refs.iter().flatten()
    }

    /// As [`Cells::references`], to change what they point at but not their order.
    pub(super) fn references_mut(&mut self) -> impl Iterator<Item = &mut PageRef> {
        self.refs.iter_mut().flatten()
    }

    /// How many bytes [`Cells::encode`] makes.
    pub(super) fn encoded_len(&self) -> usize {
        let references = if self.refs.is_empty() { 0 } else { self.references().count() };
        self.prefix.len() + self.heap.len() - self.dead + references * Place::ENCODED
    }

    /// Bytes of memory held, roughly.
    pub(super) fn memory(&self) -> usize {
        self.prefix.len()
            + self.heap.capacity()
            + self.slots.capacity() * size_of::<Slot>()
            + self.refs.capacity() * size_of::<Option<PageRef>>()
    }

    /// Where `key` is (`Ok`) or would be inserted (`Err`).
    pub(super) fn search(
        &self,
        key: &[u8],
        loader: Loader<'_>,
    ) -> Result<Result<usize, usize>, ReadError> {
        let Some(tail) = key.strip_prefix(&*self.prefix) else {
            let before_all = key < &*self.prefix;
            return Ok(Err(if before_all { 0 } else { self.len() }));
        };
        let (mut low, mut high) = self.candidates(tail);
        while low < high {
            let middle = low.midpoint(high);
            match self.order(middle, tail, loader)? {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(Ok(middle)),
                Ordering::Greater => high = middle,
            }
        }
        Ok(Err(low))
    }

    /// Between which cells one with `tail` is or would be, as far as heads can tell.
    fn candidates(&self, tail: &[u8]) -> (usize, usize) {
        if !self.refs.is_empty() {
            // What follows a short suffix may lie in an overflow page: its head does not count.
            return (0, self.len());
        }
        let head = Slot::head_of(tail);
        let low = self.slots.partition_point(|slot| slot.head() < head);
        let equal = self.slots[low..].iter().take_while(|slot| slot.head() == head);
        // Heads are equal rarely, or for many cells in a row; the latter must not cost a walk.
        match equal.take(8).count() {
            8 => (low, low + self.slots[low..].partition_point(|slot| slot.head() == head)),
            few => (low, low + few),
        }
    }

    /// How the cell at `index` compares with a key that has the prefix and then `tail`.
    #[inline]
    fn order(&self, index: usize, tail: &[u8], loader: Loader<'_>) -> Result<Ordering, ReadError> {
        let cell = self.cell(index);
        let Some(rest) = cell.rest else { return Ok(cell.suffix.cmp(tail)) };
        let Some((head, tail)) = tail.split_at_checked(cell.suffix.len()) else {
            return Ok(cell.suffix.cmp(tail));
        };
        match cell.suffix.cmp(head) {
            Ordering::Equal => Ok(loader.overflow(self.reference(rest))?.bytes().cmp(tail)),
            unequal => Ok(unequal),
        }
    }

    /// Appends the key at `index` to `out`.
    pub(super) fn key_into(
        &self,
        index: usize,
        loader: Loader<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        let cell = self.cell(index);
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(cell.suffix);
        if let Some(rest) = cell.rest {
            out.extend_from_slice(loader.overflow(self.reference(rest))?.bytes());
        }
        Ok(())
    }

    /// The inline part of the key at `index`.
    pub(super) fn inline_key(&self, index: usize) -> Vec<u8> {
        [&*self.prefix, self.cell(index).suffix].concat()
    }

    /// Whether a key with this inline part can be inserted without changing the prefix.
    pub(super) fn covers(&self, inline: &[u8]) -> bool {
        !self.is_empty() && inline.starts_with(&self.prefix)
    }

    /// How many bytes the page grows by if its prefix must make room for `inline`.
    pub(super) fn growth_for(&self, inline: &[u8]) -> usize {
        let lost = self.prefix.len() - common_prefix(&self.prefix, inline);
        // A longer suffix may need a longer length, too.
        self.len() * (lost + 1)
    }

    /// Shortens the prefix to what `inline` shares with it.
    pub(super) fn make_room_for(&mut self, inline: &[u8]) {
        if self.is_empty() {
            self.prefix = inline.into();
            return;
        }
        let shared = common_prefix(&self.prefix, inline);
        if shared < self.prefix.len() {
            let trail = self.trail;
            *self = self.copy_range(0..self.len(), shared);
            self.trail = trail;
        }
    }

    /// Inserts a cell whose key is not here yet, before the one at `index`. The prefix must cover
    /// the key, or the page be empty.
    pub(super) fn insert(&mut self, index: usize, key: NewKey<'_>, value: NewValue<'_>) {
        self.make_room_for(key.inline);
        let rest = key.rest.map(|page| self.add_reference(page));
        let suffix_at = self.prefix.len();
        let slot = self.append(&key.inline[suffix_at..], rest, value);
        self.slots.insert(index, slot);
        self.trail.note(index);
    }

    /// Gives the cell at `index` another value; returns the overflow page of the old one.
    pub(super) fn replace(&mut self, index: usize, value: NewValue<'_>) -> Option<PageRef> {
        let slot = self.slots[index].at();
        let old = self.cell(index);
        let (old_length, rest, suffix) = (old.length, old.rest, old.suffix.to_vec());
        let freed = match (old.value, &value) {
            (Value::Here(here), NewValue::Here(new)) if here.len() == new.len() => {
                let end = slot + old_length;
                self.heap[end - new.len()..end].copy_from_slice(new);
                return None;
            }
            (Value::Here(_), _) => None,
            (Value::Apart(number), _) => self.refs[usize::from(number)].take(),
        };
        self.dead += old_length;
        // The old cell is dead: its slot must not be followed while the heap is squeezed.
        self.slots.remove(index);
        let slot = self.append(&suffix, rest, value);
        self.slots.insert(index, slot);
        freed
    }

    /// Removes the cell at `index`; returns the overflow pages of its key and of its value.
    pub(super) fn remove(&mut self, index: usize) -> [Option<PageRef>; 2] {
        let cell = self.cell(index);
        let numbers = [cell.rest, cell.value.apart()];
        self.dead += cell.length;
        self.slots.remove(index);
        self.trail = Trail::default();
        let freed = numbers.map(|number| self.refs[usize::from(number?)].take());
        if self.is_empty() {
            *self = Self::default();
        }
        freed
    }

    /// Moves the cells from `index` on into a page of their own. Both prefixes become as long as
    /// they can.
    pub(super) fn split_off(&mut self, index: usize) -> Self {
        let mut right = self.copy_range(index..self.len(), self.tight_prefix(index..self.len()));
        let mut left = self.copy_range(0..index, self.tight_prefix(0..index));
        (left.trail, right.trail) = self.trail.split(index);
        *self = left;
        right
    }

    /// Where to split a page that the insert at `inserted` made too large: at least one cell on
    /// each side.
    pub(super) fn split_index(&self, inserted: usize) -> usize {
        let at_fresh_end = self.trail.inserts == 1 && inserted + 1 == self.len();
        let index = if self.trail.run >= RUN || at_fresh_end {
            self.split_index_in_a_row(inserted)
        } else {
            self.split_index_in_halves()
        };
        index.clamp(1, self.len() - 1)
    }

    /// Where both sides get as many bytes.
    fn split_index_in_halves(&self) -> usize {
        let total = self.heap.len() - self.dead;
        let mut before = 0;
        for index in 0..self.len() {
            before += self.cell(index).length;
            if before * 2 >= total {
                return index + 1;
            }
        }
        self.len()
    }

    /// Where inserts in a row go on in a page with room, and leave full ones behind. The insert
    /// goes with the smaller side; or with the larger one if that shrinks well without the other,
    /// as revisions of one key do when they part from other keys.
    fn split_index_in_a_row(&self, inserted: usize) -> usize {
        let total = self.heap.len() - self.dead;
        let before = self.tight_len(0..inserted);
        let behind = self.tight_len(inserted + 1..self.len());
        let (with_smaller, with_larger, larger) = if before >= behind {
            (inserted, inserted + 1, self.tight_len(0..inserted + 1))
        } else {
            (inserted + 1, inserted, self.tight_len(inserted..self.len()))
        };
        if larger * 4 <= total * 3 { with_larger } else { with_smaller }
    }

    /// How many bytes some cells take in a page of their own, roughly.
    fn tight_len(&self, range: Range<usize>) -> usize {
        let gain = self.tight_prefix(range.clone()).saturating_sub(self.prefix.len());
        range.map(|index| self.cell(index).length - gain).sum()
    }

    /// How many bytes the cells of `self` and then those of `right` would take in one page.
    pub(super) fn joined_len(&self, right: &Self) -> usize {
        let prefix = self.joined_prefix(right);
        let grown = |cells: &Self| {
            let longer = cells.prefix.len().saturating_sub(prefix);
            cells.encoded_len() + cells.len() * if longer > 0 { longer + 1 } else { 0 }
        };
        grown(self) + grown(right)
    }

    /// The cells of `self`, then those of `right`, in one page.
    pub(super) fn joined(&self, right: &Self) -> Self {
        let prefix = self.joined_prefix(right);
        let mut all = if self.is_empty() {
            Self { prefix: right.prefix[..prefix].into(), ..Self::default() }
        } else {
            self.copy_range(0..self.len(), prefix)
        };
        all.extend(right, 0..right.len());
        all
    }

    fn joined_prefix(&self, right: &Self) -> usize {
        match (self.is_empty(), right.is_empty()) {
            (true, _) => right.prefix.len(),
            (_, true) => self.prefix.len(),
            _ => common_prefix(&self.prefix, &right.prefix),
        }
    }

    /// The longest prefix that some cells have in common.
    fn tight_prefix(&self, range: Range<usize>) -> usize {
        if range.is_empty() {
            return 0;
        }
        let first = self.cell(range.start).suffix;
        let common = common_prefix(first, self.cell(range.end - 1).suffix);
        if self.refs.is_empty() {
            return self.prefix.len() + common;
        }
        // Between keys with a long common inline part there may be one that was cut earlier.
        let shortest = range.map(|index| self.cell(index)).filter(|cell| cell.rest.is_some());
        let shortest = shortest.map(|cell| cell.suffix.len()).min();
        self.prefix.len() + common.min(shortest.unwrap_or(common))
    }

    /// Some cells, in order and without gaps, below a prefix of another length.
    fn copy_range(&self, range: Range<usize>, prefix: usize) -> Self {
        let mut copy = Self { heap: Vec::with_capacity(self.heap.len()), ..Self::default() };
        if !range.is_empty() {
            copy.prefix = self.inline_key(range.start)[..prefix].into();
        }
        copy.extend(self, range);
        copy.heap.shrink_to(room_for(copy.heap.len()));
        copy
    }

    /// Appends some cells of `other`, all of which begin with the prefix of `self`.
    fn extend(&mut self, other: &Self, range: Range<usize>) {
        self.slots.reserve(range.len());
        for index in range {
            let cell = other.cell(index);
            if self.prefix.len() == other.prefix.len() && other.refs.is_empty() {
                let at = other.slots[index].at();
                self.slots.push(Slot::new(number(self.heap.len()), cell.suffix));
                self.heap.extend_from_slice(&other.heap[at..at + cell.length]);
                continue;
            }
            let rest = cell.rest.map(|number| self.add_reference(other.reference(number).clone()));
            let value = match cell.value {
                Value::Here(here) => NewValue::Here(here),
                Value::Apart(number) => NewValue::Apart(other.reference(number).clone()),
            };
            let slot = match self.prefix.len().checked_sub(other.prefix.len()) {
                Some(cut) => self.append(&cell.suffix[cut..], rest, value),
                None => {
                    let more = &other.prefix[self.prefix.len()..];
                    self.append(&[more, cell.suffix].concat(), rest, value)
                }
            };
            self.slots.push(slot);
        }
    }

    fn add_reference(&mut self, page: PageRef) -> u16 {
        let hole = self.refs.iter().position(Option::is_none);
        match hole {
            Some(hole) => self.refs[hole] = Some(page),
            None => self.refs.push(Some(page)),
        }
        number(hole.unwrap_or(self.refs.len() - 1))
    }

    /// Writes a cell to the end of the heap and returns where it begins. The caller gives it a
    /// slot.
    fn append(&mut self, suffix: &[u8], rest: Option<u16>, value: NewValue<'_>) -> Slot {
        let value = match value {
            NewValue::Here(here) => Value::Here(here),
            NewValue::Apart(page) => Value::Apart(self.add_reference(page)),
        };
        self.reserve(cell::length_at_most(suffix, value));
        let slot = Slot::new(number(self.heap.len()), suffix);
        cell::put(&mut self.heap, suffix, rest, value);
        slot
    }

    /// Makes room for `needed` bytes at the end of the heap: dead bytes go first.
    fn reserve(&mut self, needed: usize) {
        if self.heap.len() + needed <= self.heap.capacity() {
            return;
        }
        if self.dead > SLACK || self.heap.len() + needed > HEAP_MAX {
            self.squeeze();
        }
        if self.heap.len() + needed > self.heap.capacity() {
            self.heap.reserve_exact(room_for(self.heap.len() + needed) - self.heap.len());
        }
    }

    /// Rewrites the heap in key order without its dead bytes. References keep their numbers.
    fn squeeze(&mut self) {
        let room = Vec::with_capacity(self.heap.capacity());
        let old = std::mem::replace(&mut self.heap, room);
        for slot in &mut self.slots {
            let start = slot.at();
            let cell = Cell::parse(&old[start..]).expect("slots point at well-formed cells");
            *slot = Slot::new(number(self.heap.len()), cell.suffix);
            self.heap.extend_from_slice(&old[start..start + cell.length]);
        }
        self.dead = 0;
    }

    /// Whether any cell has an overflow page.
    pub(super) fn has_references(&self) -> bool {
        self.refs.iter().any(Option::is_some)
    }

    /// Appends prefix and cells to `out`, in key order. References are numbered by the order in
    /// which [`Cells::references`] of the *canonical* form lists them: call
    /// [`Cells::canonical`] first if there are any.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        for (index, slot) in self.slots.iter().enumerate() {
            let start = slot.at();
            out.extend_from_slice(&self.heap[start..start + self.cell(index).length]);
        }
    }

    /// The same cells with references numbered 0, 1, 2.. in the order of the cells, the key's
    /// before the value's.
    pub(super) fn canonical(&self) -> Self {
        self.copy_range(0..self.len(), self.prefix.len())
    }

    /// Reads what [`Cells::encode`] wrote, and returns what lies behind it. Every length is
    /// checked here, once, so that reading a cell later cannot fail.
    pub(super) fn decode(bytes: &[u8], count: Counts) -> Result<(Self, &[u8]), String> {
        let (prefix, rest) = bytes
            .split_at_checked(count.prefix)
            .ok_or_else(|| format!("prefix of {} bytes runs out of the page", count.prefix))?;
        let mut slots = Vec::with_capacity(count.cells.min(rest.len()));
        let (mut at, mut references) = (0, 0);
        for index in 0..count.cells {
            let cell = Cell::parse(&rest[at..])
                .ok_or_else(|| format!("cell {index} runs out of the page"))?;
            for named in cell.rest.into_iter().chain(cell.value.apart()) {
                if usize::from(named) != references {
                    return Err(format!("cell {index} names overflow page {named} out of turn"));
                }
                references += 1;
            }
            let start = u16::try_from(at).map_err(|_| "cells beyond 64 KiB".to_owned())?;
            slots.push(Slot::new(start, cell.suffix));
            at += cell.length;
        }
        if references != count.references {
            return Err(format!("{references} overflow pages named, {} listed", count.references));
        }
        let (heap, mut rest) = rest.split_at(at);
        let mut refs = Vec::with_capacity(count.references.min(rest.len()));
        for index in 0..count.references {
            let place =
                take_place(&mut rest).ok_or_else(|| format!("no overflow place {index}"))?;
            refs.push(Some(PageRef::Stored(place)));
        }
        let prefix = prefix.into();
        let cells =
            Self { prefix, slots, heap: heap.to_vec(), dead: 0, refs, trail: Trail::default() };
        Ok((cells, rest))
    }
}

impl Clone for Cells {
    /// A copy for an owner of its own, squeezed if that pays, with room to grow.
    fn clone(&self) -> Self {
        if self.dead * 8 > self.heap.len() {
            let mut copy = self.copy_range(0..self.len(), self.prefix.len());
            copy.trail = self.trail;
            return copy;
        }
        let mut heap = Vec::with_capacity(room_for(self.heap.len()));
        heap.extend_from_slice(&self.heap);
        let mut slots = Vec::with_capacity(self.slots.len() + 8);
        slots.extend_from_slice(&self.slots);
        Self {
            prefix: self.prefix.clone(),
            slots,
            heap,
            dead: self.dead,
            refs: self.refs.clone(),
            trail: self.trail,
        }
    }
}

/// What a page's header says about its cells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) prefix: usize,
    pub(super) cells: usize,
    pub(super) references: usize,
}

/// Reads one place.
pub(super) fn take_place(bytes: &mut &[u8]) -> Option<Place> {
    let (place, rest) = bytes.split_first_chunk::<{ Place::ENCODED }>()?;
    *bytes = rest;
    Place::decode(place)
}
