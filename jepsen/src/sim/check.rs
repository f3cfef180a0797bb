//! What must hold at the end of a run.
//!
//! Every reply carries a revision, and revisions are a total order of all changes, so
//! linearizability needs no search: a write's revision must lie above every revision that was
//! acknowledged before it began, a linearizable read's view at or above it, and what was read must
//! be what the history says at that revision.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kstore_host::Disk;
use kstore_machine::command::{Command, Put};
use kstore_machine::lease;
use kstore_mvcc::{Access, HistoryLimit, KeyRange, LeaseId, Revision};
use kstore_raft::Member;

use super::cluster::{Cluster, told};
use super::history::{Change, Read, Seen, Told, Watched, Write};

const LIMIT: Duration = Duration::from_secs(10);

/// How long a member that may still be starting is waited for at a time.
const BARRIER: Duration = Duration::from_secs(2);

/// How many of the newest revisions are compared again after the next cut.
const OVERLAP: u64 = 100;

/// Once everything is healed: all members take writes and answer reads, agree on the whole
/// history, and have every lease. Then ends them cleanly.
pub(super) async fn after_heal(cluster: &Arc<Cluster>) {
    for number in cluster.numbers() {
        write_once(cluster, number).await;
    }
    for number in cluster.numbers() {
        let barrier = cluster.on(number, LIMIT, |member: Member| {
            Box::pin(async move { member.read_barrier().await })
        });
        if !matches!(barrier.await, Some(Ok(()))) {
            cluster.history.violate(format!("member {number} answers no read after all is healed"));
            continue;
        }
        cluster.witness(number);
        same_history(cluster, number, 0);
        leases_are_there(cluster, number, usize::MAX);
    }
    cluster.stop_all().await;
}

/// How far what was acknowledged is known to be there.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Writes before this one were looked for.
    writes: usize,
    /// The history below this revision was compared.
    revision: u64,
}

/// After a cut: a member answers reads, and everything that was acknowledged or seen before is
/// there. `false` if it does not serve yet.
pub(super) async fn after_cut(cluster: &Arc<Cluster>, number: u64, ledger: &mut Ledger) -> bool {
    // What is acknowledged from here on need not be in the view that is read.
    let (writes, leases) = {
        let seen = cluster.history.seen();
        (seen.writes.len(), seen.leases.len())
    };
    let barrier = cluster
        .on(number, BARRIER, |member: Member| Box::pin(async move { member.read_barrier().await }));
    if !matches!(barrier.await, Some(Ok(()))) {
        return false;
    }
    cluster.witness(number);
    cluster.inspect(number);
    same_history(cluster, number, ledger.revision);
    leases_are_there(cluster, number, leases);
    if number == *cluster.numbers().last().expect("there is a member") {
        let lost = {
            let seen = cluster.history.seen();
            let from = seen.told.partition_point(|told| told.revision < ledger.revision);
            let model = Model::of(&seen.told[from..]);
            let told_below = seen.told_below;
            let late = seen.writes[ledger.writes..writes].iter();
            // A write may have been acknowledged long after it was done.
            let late: Vec<Write> =
                late.filter(|write| write.revision >= ledger.revision).cloned().collect();
            ledger.writes = writes;
            ledger.revision = told_below.saturating_sub(OVERLAP);
            acknowledged_writes_are_there(&model, &late)
        };
        lost.into_iter().for_each(|lost| cluster.history.violate(lost));
    }
    true
}

async fn write_once(cluster: &Arc<Cluster>, number: u64) {
    let key = Bytes::from(format!("/after/{number}"));
    let put = Put { key, value: Bytes::from_static(b"healed"), ..Put::default() };
    let written = cluster.on(number, LIMIT, move |member: Member| {
        Box::pin(async move { member.propose(Command::Put(put)).await })
    });
    if !matches!(written.await, Some(Ok(_))) {
        let text = cluster.describe();
        cluster.history.violate(format!("member {number} takes no write after the heal: {text}"));
    }
}

/// The member's history from `least` on, as far as it is not compacted, is what the witness was
/// told.
fn same_history(cluster: &Cluster, number: u64, least: u64) {
    let Some(member) = cluster.member(number) else { return };
    let view = member.snapshot();
    let first = view.compacted().0.max(2).max(least);
    let mut from = first;
    let mut found: Vec<Told> = Vec::new();
    while from <= view.revision().0 {
        let limit = HistoryLimit { bytes: 1 << 20, revisions: 10_000 };
        match view.history(&KeyRange::everything(), Revision(from), limit, Access::Disk) {
            Ok(page) => {
                found.extend(page.events.iter().map(told));
                from = page.next.0;
            }
            Err(error) => {
                cluster
                    .history
                    .violate(format!("member {number} has no history at {from}: {error}"));
                return;
            }
        }
    }
    let seen = cluster.history.seen();
    let newest = view.revision().0;
    let from = seen.told.partition_point(|told| told.revision < first);
    let expected: Vec<&Told> = seen.told[from..].iter().filter(|t| t.revision <= newest).collect();
    let differs = expected.len() != found.len()
        || expected.iter().zip(&found).any(|(expected, found)| **expected != *found);
    drop(seen);
    if differs {
        cluster
            .history
            .violate(format!("member {number} tells another history than was witnessed"));
    }
}

/// The first `count` leases that were granted for good.
fn leases_are_there(cluster: &Cluster, number: u64, count: usize) {
    let Some(member) = cluster.member(number) else { return };
    let view = member.snapshot();
    let seen = cluster.history.seen();
    let granted: Vec<i64> = seen.leases.iter().take(count).map(|lease| lease.0).collect();
    drop(seen);
    for id in granted {
        if !matches!(lease::find(&view, LeaseId(id), Access::Disk), Ok(Some(_))) {
            cluster.history.violate(format!("member {number} lost lease {id:x}"));
        }
    }
}

/// With all members ended: their stores verify, and everything that clients saw fits together.
pub(super) fn offline(cluster: &Cluster) {
    for number in cluster.numbers() {
        let disk: Arc<dyn Disk> = Arc::new(cluster.disk(number));
        match kstore_mvcc::verify(&disk, Path::new("/data")) {
            Ok(report) if report.damages.is_empty() => {}
            Ok(report) => {
                let damages = report.damages;
                cluster.history.violate(format!("member {number} has damage: {damages:?}"));
            }
            Err(error) => {
                cluster.history.violate(format!("member {number} does not verify: {error}"));
            }
        }
    }
    let violations = {
        let seen = cluster.history.seen();
        let model = Model::of(&seen.told);
        let mut violations = model.revisions_are_whole();
        violations.extend(acknowledged_writes_are_there(&model, &seen.writes));
        violations.extend(real_time_order(&seen));
        violations.extend(seen.reads.iter().filter_map(|read| read_fits(&model, read)));
        violations.extend(seen.watched.iter().filter_map(|w| watch_is_complete(&seen.told, w)));
        violations
    };
    for violation in violations {
        cluster.history.violate(violation);
    }
}

/// The whole history, by revision and by key.
struct Model<'a> {
    by_revision: BTreeMap<u64, Vec<&'a Told>>,
    by_key: BTreeMap<&'a Bytes, Vec<&'a Told>>,
}

impl<'a> Model<'a> {
    fn of(told: &'a [Told]) -> Self {
        let mut model = Self { by_revision: BTreeMap::new(), by_key: BTreeMap::new() };
        for change in told {
            model.by_revision.entry(change.revision).or_default().push(change);
            model.by_key.entry(&change.key).or_default().push(change);
        }
        model
    }

    /// What a key was at a revision.
    fn at(&self, key: &Bytes, revision: u64) -> Option<&Bytes> {
        let changes = self.by_key.get(key)?;
        let newest = changes.iter().rev().find(|change| change.revision <= revision)?;
        newest.value.as_ref()
    }

    /// Revisions follow one another without a hole, and so do the changes within each.
    fn revisions_are_whole(&self) -> Vec<String> {
        let mut violations = Vec::new();
        let mut expected = 2;
        for (revision, changes) in &self.by_revision {
            if *revision != expected {
                violations.push(format!("revision {expected} is missing, {revision} follows"));
            }
            expected = revision + 1;
            if changes.windows(2).any(|pair| pair[0].sub >= pair[1].sub) {
                violations.push(format!("the changes of revision {revision} are out of order"));
            }
        }
        violations
    }
}

fn acknowledged_writes_are_there(model: &Model<'_>, writes: &[Write]) -> Vec<String> {
    let mut violations = Vec::new();
    for write in writes {
        let there = model.by_revision.get(&write.revision);
        for change in &write.changes {
            let (key, value) = match change {
                Change::Put(key, value) => (key, Some(value)),
                Change::Delete(key) => (key, None),
            };
            let found = there.is_some_and(|changes| {
                changes.iter().any(|c| c.key == *key && c.value.as_ref() == value)
            });
            if !found {
                violations.push(format!(
                    "an acknowledged write is lost: {key:?} at revision {}, acknowledged at {:?}",
                    write.revision, write.ended
                ));
            }
        }
    }
    violations
}

/// No operation that began after another was acknowledged has a lower revision.
fn real_time_order(seen: &Seen) -> Vec<String> {
    // What was acknowledged, and when: of writes and of reads alike.
    let mut acknowledged: Vec<(Duration, u64)> = seen
        .writes
        .iter()
        .map(|write| (write.ended, write.revision))
        .chain(seen.reads.iter().filter(|r| r.linearizable).map(|r| (r.ended, r.revision)))
        .collect();
    acknowledged.sort_unstable();
    let mut highest = Vec::with_capacity(acknowledged.len());
    let mut most = 0;
    for (_, revision) in &acknowledged {
        most = most.max(*revision);
        highest.push(most);
    }
    let known_before = |began: Duration| {
        let before = acknowledged.partition_point(|(ended, _)| *ended < began);
        before.checked_sub(1).map_or(0, |last| highest[last])
    };
    let mut violations = Vec::new();
    for write in &seen.writes {
        let known = known_before(write.began);
        if write.revision <= known && known > 0 {
            violations.push(format!(
                "a write got revision {} although {known} was acknowledged before it began",
                write.revision
            ));
        }
    }
    for read in seen.reads.iter().filter(|read| read.linearizable) {
        let known = known_before(read.began);
        if read.revision < known {
            violations.push(format!(
                "member {} answered a linearizable read at revision {} although {known} was \
                 acknowledged before it began",
                read.member, read.revision
            ));
        }
    }
    violations
}

fn read_fits(model: &Model<'_>, read: &Read) -> Option<String> {
    let expected = model.at(&read.key, read.revision);
    (expected != read.value.as_ref()).then(|| {
        format!(
            "member {} read something else than the history has of {:?} at revision {}",
            read.member, read.key, read.revision
        )
    })
}

/// A watch was given all of its part of the history, and nothing else, and nothing twice.
fn watch_is_complete(told: &[Told], watched: &Watched) -> Option<String> {
    let expected = told.iter().filter(|change| {
        change.key.starts_with(&watched.prefix)
            && (watched.from..=watched.upto).contains(&change.revision)
    });
    let complete = expected.eq(watched.events.iter());
    (!complete).then(|| {
        format!(
            "a watch of {:?} from {} to {} was not given what happened",
            watched.prefix, watched.from, watched.upto
        )
    })
}
