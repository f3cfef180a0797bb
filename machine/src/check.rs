//! What is wrong with a request by itself, whatever the store holds.
//!
//! The door checks a client's request before it proposes it, so that nonsense never costs a log
//! entry. Applying checks once more (all but the limits, which are a setting), so that whatever
//! lies in the log has defined effects.
//!
//! A transaction may change a key once: whichever of its branches run, no two of its operations may
//! write one key. What etcd lets through here (a put and a delete of one key in sibling nested
//! transactions, a put below a delete "from this key on") is refused too; two deletes may overlap.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use kstore_mvcc::{KeyRange, RangeEnd};

use crate::command::{DeleteRange, Operation, Put, Range, SortOrder, SortTarget, Step, Txn};
use crate::reply::Rejected;

/// Limits on a transaction; a setting of the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnLimits {
    /// The most comparisons, and operations in a branch, that a transaction may have; those nested
    /// in it have what it leaves.
    pub operations: usize,
}

impl TxnLimits {
    /// No limit but memory.
    pub const NONE: Self = Self { operations: usize::MAX };
}

impl Default for TxnLimits {
    /// etcd's.
    fn default() -> Self {
        Self { operations: 128 }
    }
}

/// Transactions nested deeper than this are refused. (Reading the request refuses them at about
/// half of a hundred, so this guards only recursion over commands made by hand.)
const DEPTH_MAX: usize = 100;

/// Checks a put.
///
/// # Errors
/// See [`Rejected`].
pub fn check_put(put: &Put) -> Result<(), Rejected> {
    if put.key.is_empty() {
        return Err(Rejected::EmptyKey);
    }
    if put.ignore_value && !put.value.is_empty() {
        return Err(Rejected::ValueProvided);
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(Rejected::LeaseProvided);
    }
    Ok(())
}

/// Checks a delete range.
///
/// # Errors
/// See [`Rejected`].
pub fn check_delete_range(delete: &DeleteRange) -> Result<(), Rejected> {
    if delete.key.is_empty() {
        return Err(Rejected::EmptyKey);
    }
    Ok(())
}

/// Checks a range.
///
/// # Errors
/// See [`Rejected`].
pub fn check_range(range: &Range) -> Result<(), Rejected> {
    if range.key.is_empty() {
        return Err(Rejected::EmptyKey);
    }
    if SortOrder::try_from(range.sort_order).is_err()
        || SortTarget::try_from(range.sort_target).is_err()
    {
        return Err(Rejected::InvalidSortOption);
    }
    Ok(())
}

/// Checks a transaction with all that is nested in it.
///
/// # Errors
/// See [`Rejected`].
pub fn check_txn(txn: &Txn, limits: TxnLimits) -> Result<(), Rejected> {
    check_shape(txn, limits.operations, 0)?;
    changes_of(&txn.success)?;
    changes_of(&txn.failure)?;
    Ok(())
}

fn check_shape(txn: &Txn, operations_max: usize, depth: usize) -> Result<(), Rejected> {
    if depth >= DEPTH_MAX {
        return Err(Rejected::TooDeep);
    }
    let operations = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    let Some(left) = operations_max.checked_sub(operations) else {
        return Err(Rejected::TooManyOps);
    };
    if txn.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Rejected::EmptyKey);
    }
    for operation in txn.success.iter().chain(&txn.failure) {
        match &operation.step {
            None => return Err(Rejected::KeyNotFound),
            Some(Step::Range(range)) => check_range(range)?,
            Some(Step::Put(put)) => check_put(put)?,
            Some(Step::DeleteRange(delete)) => check_delete_range(delete)?,
            Some(Step::Txn(txn)) => check_shape(txn, left, depth + 1)?,
        }
    }
    Ok(())
}

/// The keys that some operations may change.
#[derive(Default)]
struct Changes {
    puts: BTreeSet<Bytes>,
    deletes: Deleted,
}

/// What a branch may change.
fn changes_of(branch: &[Operation]) -> Result<Changes, Rejected> {
    let mut all = Changes::default();
    for operation in branch {
        match &operation.step {
            None | Some(Step::Range(_)) => {}
            Some(Step::Put(put)) => {
                if all.deletes.contains(&put.key) || !all.puts.insert(put.key.clone()) {
                    return Err(Rejected::DuplicateKey);
                }
            }
            Some(Step::DeleteRange(delete)) => {
                let keys = KeyRange::from_request(delete.key.clone(), delete.range_end.clone());
                let span = Span::of(&keys);
                if span.as_ref().is_some_and(|span| span.holds_one_of(&all.puts)) {
                    return Err(Rejected::DuplicateKey);
                }
                all.deletes.extend(span);
            }
            Some(Step::Txn(txn)) => {
                // Only one of the two branches runs, so they may share keys.
                let success = changes_of(&txn.success)?;
                let failure = changes_of(&txn.failure)?;
                if all.conflicts_with(&success) || all.conflicts_with(&failure) {
                    return Err(Rejected::DuplicateKey);
                }
                all.join(success);
                all.join(failure);
            }
        }
    }
    Ok(all)
}

impl Changes {
    fn conflicts_with(&self, other: &Self) -> bool {
        other.puts.iter().any(|key| self.puts.contains(key) || self.deletes.contains(key))
            || other.deletes.spans().any(|span| span.holds_one_of(&self.puts))
    }

    fn join(&mut self, other: Self) {
        self.puts.extend(other.puts);
        self.deletes.extend(other.deletes.into_spans());
    }
}

/// From a first key to before an end, or for ever.
struct Span {
    start: Bytes,
    end: Option<Bytes>,
}

impl Span {
    fn of(keys: &KeyRange) -> Option<Self> {
        if keys.is_empty() {
            return None;
        }
        let end = match &keys.end {
            RangeEnd::Single => Some(after(&keys.start)),
            RangeEnd::Before(end) => Some(end.clone()),
            RangeEnd::Unbounded => None,
        };
        Some(Self { start: keys.start.clone(), end })
    }

    fn holds_one_of(&self, keys: &BTreeSet<Bytes>) -> bool {
        let end = self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        keys.range::<[u8], _>((Bound::Included(self.start.as_ref()), end)).next().is_some()
    }
}

/// Deleted ranges, joined where they overlap, by their starts: so a lookup is one step back.
#[derive(Default)]
struct Deleted(BTreeMap<Bytes, Option<Bytes>>);

impl Deleted {
    fn contains(&self, key: &[u8]) -> bool {
        let before = self.0.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        before.is_some_and(|(_, end)| end.as_ref().is_none_or(|end| key < end.as_ref()))
    }

    fn extend(&mut self, spans: impl IntoIterator<Item = Span>) {
        for mut span in spans {
            // Absorb, from the back, what begins at or before the end and ends at or after the
            // start.
            while let Some((start, end)) = self.last_touching(&span) {
                self.0.remove(&start);
                span.start = span.start.min(start);
                span.end = span.end.zip(end).map(|(one, other)| one.max(other));
            }
            self.0.insert(span.start, span.end);
        }
    }

    fn last_touching(&self, span: &Span) -> Option<(Bytes, Option<Bytes>)> {
        let upper = span.end.as_deref().map_or(Bound::Unbounded, Bound::Included);
        let (start, end) = self.0.range::<[u8], _>((Bound::Unbounded, upper)).next_back()?;
        let touches = end.as_ref().is_none_or(|end| *end >= span.start);
        touches.then(|| (start.clone(), end.clone()))
    }

    fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        self.0.iter().map(|(start, end)| Span { start: start.clone(), end: end.clone() })
    }

    fn into_spans(self) -> impl Iterator<Item = Span> {
        self.0.into_iter().map(|(start, end)| Span { start, end })
    }
}

/// The key right after `key`.
pub(crate) fn after(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    Bytes::from(next)
}
