//! Transactions.
//!
//! ```text
//!   1 evaluate   every comparison, also of nested transactions on the branches taken, against the
//!                state before ─► Plan: which branch at each level
//!   2 check      every operation on the plan: revisions that cannot be read, leases and keys that
//!                do not exist ─► refused as a whole, before anything is written
//!   3 execute    in order; all writes share one revision; reads see the writes before them
//! ```
//!
//! Nothing is left to fail in step 3 but the store itself. (If it did, the whole command would be
//! abandoned, so not a trace would stay.)

//! A transaction that only reads needs no log entry: its door answers it over a snapshot, with the
//! same steps ([`answer_read_only`]).

use std::cmp::Ordering;
use std::ops::ControlFlow;

use kstore_mvcc::{Content, KeyRange, KeyValue, Snapshot};

use crate::applying::{Applying, tag};
use crate::check::{TxnLimits, check_txn};
use crate::command::{Compare, CompareResult, CompareTarget, Operation, Put, Range, Step, Txn};
use crate::lease;
use crate::machine::Wants;
use crate::range::{self, Reads, SnapshotReads};
use crate::reply::{Body, RangeReply, Rejected, Reply};
use crate::stop::Stop;

/// The branch that a transaction takes, with the plans of the transactions nested in that branch,
/// in order.
#[derive(Debug)]
struct Plan {
    succeeded: bool,
    nested: Vec<Self>,
}

impl Plan {
    fn branch<'t>(&self, txn: &'t Txn) -> &'t [Operation] {
        if self.succeeded { &txn.success } else { &txn.failure }
    }
}

/// Whether no branch of the transaction, nor of one nested in it, writes.
#[must_use]
pub fn is_read_only(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|operation| match &operation.step {
        Some(Step::Put(_) | Step::DeleteRange(_)) => false,
        Some(Step::Txn(nested)) => is_read_only(nested),
        Some(Step::Range(_)) | None => true,
    })
}

/// Answers a transaction that only reads and was checked by [`crate::check_txn`].
///
/// # Errors
/// The reads fail; in particular a revision is compacted or of the future.
pub fn answer_read_only(
    reads: &SnapshotReads<'_>,
    txn: &Txn,
) -> Result<Reply, kstore_mvcc::ReadError> {
    let plan = evaluate(reads, txn)?;
    answer_plan(reads, txn, plan)
}

fn answer_plan(
    reads: &SnapshotReads<'_>,
    txn: &Txn,
    plan: Plan,
) -> Result<Reply, kstore_mvcc::ReadError> {
    let revision = Snapshot::revision(reads.snapshot);
    let mut responses = Vec::new();
    let succeeded = plan.succeeded;
    let branch = plan.branch(txn);
    let mut nested = plan.nested.into_iter();
    for operation in branch {
        responses.push(match &operation.step {
            Some(Step::Range(range)) => {
                Reply { revision, body: Body::Range(range::answer(reads, range)?) }
            }
            Some(Step::Txn(txn)) => {
                let plan = nested.next().expect("evaluate planned each nested transaction");
                answer_plan(reads, txn, plan)?
            }
            // Not in a transaction that only reads and was checked.
            Some(Step::Put(_) | Step::DeleteRange(_)) | None => continue,
        });
    }
    Ok(Reply { revision, body: Body::Txn { succeeded, responses } })
}

fn evaluate<R: Reads>(reads: &R, txn: &Txn) -> Result<Plan, R::Error> {
    let mut plan = Plan { succeeded: true, nested: Vec::new() };
    for compare in &txn.compare {
        if !holds(reads, compare)? {
            plan.succeeded = false;
            break;
        }
    }
    for operation in plan.branch(txn) {
        if let Some(Step::Txn(nested)) = &operation.step {
            plan.nested.push(evaluate(reads, nested)?);
        }
    }
    Ok(plan)
}

/// Whether a comparison holds for each key in its range; for a range without keys, whether it holds
/// for an absent key.
fn holds<R: Reads>(reads: &R, compare: &Compare) -> Result<bool, R::Error> {
    let keys = KeyRange::from_request(compare.key.clone(), compare.range_end.clone());
    let of_value = CompareTarget::try_from(compare.target) == Ok(CompareTarget::Value);
    let content = if of_value { Content::Values } else { Content::KeysOnly };
    let (mut all, mut any) = (true, false);
    reads.visit(&keys, content, &mut |kv| {
        any = true;
        all = holds_for(compare, kv);
        if all { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(if any { all } else { holds_for_absent(compare) })
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let number = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => return matches(compare, kv.value.cmp(&compare.value)),
        Ok(CompareTarget::Version) => signed(kv.version),
        Ok(CompareTarget::Create) => signed(kv.create.0),
        Ok(CompareTarget::Mod) => signed(kv.modified.revision.0),
        Ok(CompareTarget::Lease) => kv.lease.map_or(0, |lease| lease.0),
        // etcd: an unknown target compares as equal.
        Err(_) => compare.number,
    };
    matches(compare, number.cmp(&compare.number))
}

/// An absent key is all zeros, but no comparison with its value holds.
fn holds_for_absent(compare: &Compare) -> bool {
    match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => false,
        Ok(_) => matches(compare, 0.cmp(&compare.number)),
        Err(_) => matches(compare, Ordering::Equal),
    }
}

/// Whether what is there relates to the operand as asked.
fn matches(compare: &Compare, ordering: Ordering) -> bool {
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering.is_eq(),
        Ok(CompareResult::NotEqual) => ordering.is_ne(),
        Ok(CompareResult::Greater) => ordering.is_gt(),
        Ok(CompareResult::Less) => ordering.is_lt(),
        // etcd: an unknown result holds.
        Err(_) => true,
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Applying<'_, '_> {
    pub(crate) fn txn(&mut self, txn: &Txn) -> Result<Reply, Stop> {
        check_txn(txn, TxnLimits::NONE)?;
        let plan = evaluate(&*self.write, txn)?;
        self.check_plan(txn, &plan)?;
        self.execute(txn, plan)
    }

    fn check_plan(&self, txn: &Txn, plan: &Plan) -> Result<(), Stop> {
        let mut nested = plan.nested.iter();
        for operation in plan.branch(txn) {
            match &operation.step {
                None | Some(Step::DeleteRange(_)) => {}
                Some(Step::Range(range)) => self.readable(range.revision)?,
                Some(Step::Put(put)) => self.check_put_possible(put)?,
                Some(Step::Txn(txn)) => {
                    let plan = nested.next().expect("evaluate planned each nested transaction");
                    self.check_plan(txn, plan)?;
                }
            }
        }
        Ok(())
    }

    /// etcd's check of what a put needs, against the state before the transaction.
    fn check_put_possible(&self, put: &Put) -> Result<(), Stop> {
        if (put.ignore_value || put.ignore_lease) && self.write.meta(&put.key)?.is_none() {
            return Err(Rejected::KeyNotFound.into());
        }
        match lease::given(put.lease) {
            Some(lease) if !lease::exists(self.write, lease)? => {
                Err(Rejected::LeaseNotFound.into())
            }
            _ => Ok(()),
        }
    }

    fn execute(&mut self, txn: &Txn, plan: Plan) -> Result<Reply, Stop> {
        self.outcome.tag(if plan.succeeded { tag::TXN_SUCCESS } else { tag::TXN_FAILURE });
        let branch = plan.branch(txn);
        let mut responses = Vec::with_capacity(branch.len());
        let succeeded = plan.succeeded;
        let mut nested = plan.nested.into_iter();
        for operation in branch {
            responses.push(match &operation.step {
                None => return Err(Rejected::KeyNotFound.into()),
                Some(Step::Range(range)) => self.range(range)?,
                Some(Step::Put(put)) => self.put(put)?,
                Some(Step::DeleteRange(delete)) => self.delete_range(delete)?,
                Some(Step::Txn(txn)) => {
                    let plan = nested.next().expect("evaluate planned each nested transaction");
                    self.execute(txn, plan)?
                }
            });
        }
        self.outcome.tag(tag::TXN_END);
        Ok(self.reply(Body::Txn { succeeded, responses }))
    }

    /// Reads are answered only where somebody waits for them; they are no part of the outcome.
    fn range(&mut self, range: &Range) -> Result<Reply, Stop> {
        self.outcome.tag(tag::RANGE);
        let answer = match self.wants {
            Wants::Reply => range::answer(&*self.write, range)?,
            Wants::ReplyTo { .. } | Wants::Nothing => RangeReply::default(),
        };
        Ok(self.reply(Body::Range(answer)))
    }
}
