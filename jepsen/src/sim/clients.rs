//! The load: clients that write, read, compare and swap, delete, lease and compact, and note what
//! they were told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kstore_machine::command::{
    Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange, LeaseGrant, LeaseRevoke,
    Operation, Put, Step, Txn,
};
use kstore_machine::{Body, Reply};
use kstore_mvcc::Access;
use kstore_raft::{Member, Unavailable};
use kstore_testkit::Prng;
use kstore_testkit::sim::{HARNESS, now, sleep};

use super::cluster::Cluster;
use super::history::{Change, Granted, Read, Write};

/// What the clients do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// How many there are.
    clients: u64,
    /// How many keys they write.
    keys: u64,
    /// How many keys a deletion of several deletes.
    range: u64,
    /// The most milliseconds between two operations of one client.
    pause: u64,
    /// What is noted of each write.
    notes: Notes,
}

/// What is noted of writes beside their outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notes {
    /// Nothing.
    Nothing,
    /// On the disks' logs, when it was handed in and when it was answered.
    Disks,
}

impl Load {
    /// Few keys, so that they are overwritten often.
    pub(super) const CONTENDED: Self =
        Self { clients: 6, keys: 24, range: 10, pause: 30, notes: Notes::Nothing };

    /// More keys, so that the tree of keys grows and shrinks.
    pub(super) const CHURN: Self =
        Self { clients: 6, keys: 300, range: 100, pause: 20, notes: Notes::Disks };
}

/// How long a client waits for an answer.
const LIMIT: Duration = Duration::from_secs(8);

/// Longer than any run: a lease that nobody revokes must still be there at its end.
const LONG: i64 = 100_000;

/// Starts the clients; they end at `end`.
pub(super) fn spawn(cluster: &Arc<Cluster>, load: Load, seed: u64, end: Duration) {
    for number in 0..load.clients {
        let client = Client {
            load,
            cluster: Arc::clone(cluster),
            prng: cluster.world.prng(seed ^ 0xc11e_0000 ^ number),
            number,
            written: 0,
            leases: Vec::new(),
        };
        cluster.client_begins();
        cluster.world.spawn_on(HARNESS, client.run(end));
    }
}

struct Client {
    load: Load,
    cluster: Arc<Cluster>,
    prng: Prng,
    number: u64,
    /// How many values it has made; each is written once.
    written: u64,
    /// Short leases that it was granted.
    leases: Vec<i64>,
}

/// A proposal's outcome as the client knows it.
enum Told {
    /// Done, with this answer.
    Done(Reply),
    /// Refused by the machine, or by a member that had not handed it on.
    Refused,
    /// Nobody knows.
    Unknown,
}

fn numbered(key: u64) -> Bytes {
    Bytes::from(format!("/registry/pods/key-{key:03}"))
}

/// What a command counts as when it was done.
fn name_of(command: &Command) -> &'static str {
    match command {
        Command::LeaseGrant(_) => "leases granted",
        Command::LeaseRevoke(_) => "leases revoked",
        Command::Compact(_) => "compactions",
        Command::DeleteRange(delete) if !delete.range_end.is_empty() => "ranges deleted",
        Command::DeleteRange(_) => "keys deleted",
        Command::Txn(_) => "transactions",
        _ => "puts",
    }
}

impl Client {
    async fn run(mut self, end: Duration) {
        while now() < end && !self.cluster.is_silent() {
            let pause = self.prng.between(1, self.load.pause);
            sleep(Duration::from_millis(pause)).await;
            let numbers = self.cluster.numbers();
            let member = numbers[self.prng.index(numbers.len())];
            match self.prng.below(100) {
                0..35 => self.put(member).await,
                35..40 => self.put_large(member).await,
                40..50 => self.compare_and_swap(member).await,
                50..56 => self.delete(member).await,
                56..58 => self.delete_range(member).await,
                58..62 => self.several_in_one(member).await,
                62..85 => self.read(member, true).await,
                85..92 => self.read(member, false).await,
                92..95 => self.grant_and_put(member).await,
                95..97 => self.revoke(member).await,
                97..98 => self.grant_for_good(member).await,
                _ => self.compact(member).await,
            }
        }
        self.cluster.client_ends();
    }

    fn key(&mut self) -> Bytes {
        numbered(self.prng.below(self.load.keys))
    }

    fn value(&mut self, bytes: usize) -> Bytes {
        self.written += 1;
        let mut value = format!("client {} write {} ", self.number, self.written).into_bytes();
        let length = value.len().max(bytes);
        value.resize(length, b'.');
        Bytes::from(value)
    }

    async fn propose(&self, member: u64, command: Command) -> Told {
        let number = self.cluster.next_proposal();
        let disks = match self.load.notes {
            Notes::Nothing => Vec::new(),
            Notes::Disks => {
                self.cluster.numbers().into_iter().map(|n| self.cluster.disk(n)).collect()
            }
        };
        let noted = !disks.is_empty();
        let answer = self.cluster.on(member, LIMIT, move |member: Member| {
            Box::pin(async move {
                disks.iter().for_each(|disk| disk.mark(&format!("?{number}")));
                let answer = member.propose(command).await;
                if answer.is_ok() {
                    disks.iter().for_each(|disk| disk.mark(&format!("!{number}")));
                }
                answer
            })
        });
        match answer.await {
            Some(Ok(outcome)) => {
                if noted {
                    self.cluster.history.seen().answered.push(number);
                }
                outcome.reply.map_or(Told::Refused, Told::Done)
            }
            Some(Err(Unavailable::TooManyRequests)) => Told::Refused,
            _ => Told::Unknown,
        }
    }

    /// Proposes a write of `changes` and notes the outcome; the revision if it was done.
    async fn write(
        &self,
        member: u64,
        command: Command,
        changes: impl FnOnce(&Reply) -> Option<Vec<Change>>,
    ) -> Option<Reply> {
        let began = now();
        let name = name_of(&command);
        let told = self.propose(member, command).await;
        let ended = now();
        match told {
            Told::Done(reply) => {
                *self.cluster.history.seen().done.entry(name).or_default() += 1;
                if let Some(changes) = changes(&reply) {
                    let revision = reply.revision.0;
                    let write = Write { began, ended, revision, changes };
                    self.cluster.history.seen().writes.push(write);
                }
                Some(reply)
            }
            Told::Refused => None,
            Told::Unknown => {
                self.cluster.history.seen().unknown += 1;
                None
            }
        }
    }

    async fn put_value(&mut self, member: u64, bytes: usize, lease: i64) {
        let (key, value) = (self.key(), self.value(bytes));
        let put = Put { key: key.clone(), value: value.clone(), lease, ..Put::default() };
        self.write(member, Command::Put(put), |_| Some(vec![Change::Put(key, value)])).await;
    }

    async fn put(&mut self, member: u64) {
        let bytes = self.prng.index(200);
        self.put_value(member, bytes, 0).await;
    }

    async fn put_large(&mut self, member: u64) {
        let bytes = self.prng.index(6000);
        self.put_value(member, bytes, 0).await;
    }

    async fn compare_and_swap(&mut self, member: u64) {
        let (key, value) = (self.key(), self.value(60));
        let known = self
            .cluster
            .member(member)
            .and_then(|m| m.snapshot().get(&key, None, Access::Disk).ok().flatten());
        let number = known.map_or(0, |kv| kv.modified.revision.0);
        let compare = Compare {
            key: key.clone(),
            target: CompareTarget::Mod.into(),
            result: CompareResult::Equal.into(),
            number: i64::try_from(number).unwrap_or(0),
            ..Compare::default()
        };
        let put = Put { key: key.clone(), value: value.clone(), ..Put::default() };
        let txn = Txn {
            compare: vec![compare],
            success: vec![Operation::new(Step::Put(put))],
            failure: Vec::new(),
        };
        let changes = |reply: &Reply| match &reply.body {
            Body::Txn { succeeded: true, .. } => Some(vec![Change::Put(key, value)]),
            _ => None,
        };
        self.write(member, Command::Txn(txn), changes).await;
    }

    async fn several_in_one(&mut self, member: u64) {
        let mut success = Vec::new();
        let mut changes = Vec::new();
        let first = self.prng.below(self.load.keys);
        for offset in 0..self.prng.between(2, 6) {
            let key = numbered((first + offset) % self.load.keys);
            let value = self.value(20);
            changes.push(Change::Put(key.clone(), value.clone()));
            success.push(Operation::new(Step::Put(Put { key, value, ..Put::default() })));
        }
        let txn = Txn { compare: Vec::new(), success, failure: Vec::new() };
        self.write(member, Command::Txn(txn), |_| Some(changes)).await;
    }

    async fn delete(&mut self, member: u64) {
        let key = self.key();
        let delete = DeleteRange { key: key.clone(), ..DeleteRange::default() };
        let changes = |reply: &Reply| match &reply.body {
            Body::DeleteRange { deleted: 1, .. } => Some(vec![Change::Delete(key)]),
            _ => None,
        };
        self.write(member, Command::DeleteRange(delete), changes).await;
    }

    async fn delete_range(&mut self, member: u64) {
        let first = self.prng.below(self.load.keys) / self.load.range * self.load.range;
        let (key, range_end) = (numbered(first), numbered(first + self.load.range));
        let delete = DeleteRange { key, range_end, prev_kv: true };
        let changes = |reply: &Reply| match &reply.body {
            Body::DeleteRange { previous, .. } if !previous.is_empty() => {
                Some(previous.iter().map(|kv| Change::Delete(kv.key.clone())).collect())
            }
            _ => None,
        };
        self.write(member, Command::DeleteRange(delete), changes).await;
    }

    async fn read(&mut self, member: u64, linearizable: bool) {
        let key = self.key();
        let asked = key.clone();
        let began = now();
        let answer = self.cluster.on(member, LIMIT, move |member: Member| {
            Box::pin(async move {
                if linearizable && member.read_barrier().await.is_err() {
                    return None;
                }
                let view = member.snapshot();
                let revision = view.revision().0;
                let read = move |view: &kstore_mvcc::Snapshot, access: Access| {
                    view.get(&asked, None, access)
                };
                Some((revision, member.read(view, read).await))
            })
        });
        match answer.await {
            Some(Some((revision, Ok(kv)))) => {
                let value = kv.map(|kv| kv.value);
                let ended = now();
                let read = Read { began, ended, revision, key, value, linearizable, member };
                self.cluster.history.seen().reads.push(read);
            }
            Some(Some((_, Err(kstore_raft::ReadFailure::Read(error)))))
                if !self.cluster.disk(member).is_cut() =>
            {
                self.cluster.history.violate(format!("member {member} cannot read: {error}"));
            }
            _ => {}
        }
    }

    async fn grant(&mut self, member: u64, ttl: i64) -> Option<i64> {
        let id = i64::try_from(self.prng.next_u64() >> 1).unwrap_or(1).max(1);
        let grant = Command::LeaseGrant(LeaseGrant { id, ttl });
        self.write(member, grant, |_| None).await.map(|_| id)
    }

    async fn grant_and_put(&mut self, member: u64) {
        let ttl = i64::try_from(self.prng.between(1, 5)).unwrap_or(1);
        let Some(id) = self.grant(member, ttl).await else { return };
        self.leases.push(id);
        self.put_value(member, 30, id).await;
    }

    async fn grant_for_good(&mut self, member: u64) {
        if let Some(id) = self.grant(member, LONG).await {
            self.cluster.history.seen().leases.push(Granted(id));
        }
    }

    async fn revoke(&mut self, member: u64) {
        let Some(id) = self.leases.pop() else { return };
        let revoke = Command::LeaseRevoke(LeaseRevoke { ids: vec![id] });
        self.write(member, revoke, |_| None).await;
    }

    /// Compacts what the witness has read, less a little, so that watches from there still work.
    async fn compact(&mut self, member: u64) {
        let told = self.cluster.history.seen().told_below;
        let Some(revision) = told.checked_sub(self.prng.between(20, 60)) else { return };
        let revision = i64::try_from(revision).unwrap_or(0);
        self.write(member, Command::Compact(Compact { revision }), |_| None).await;
    }
}
