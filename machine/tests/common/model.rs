//! etcd's rules once more, as plainly as they can be said: a map of keys for each revision.

use std::collections::BTreeMap;

use bytes::Bytes;
use kstore_machine::command::{Command, Compare, DeleteRange, Operation, Put, Range, Step, Txn};
use kstore_machine::{Body, RangeReply, Rejected, Reply};
use kstore_mvcc::{KeyRange, KeyValue, LeaseId, RecordId, Revision, Sub};

type Keys = BTreeMap<Bytes, KeyValue>;

/// A put (with its value) or a delete, and the record that it replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub id: RecordId,
    pub key: Bytes,
    pub value: Option<Bytes>,
    pub previous: Option<RecordId>,
}

#[derive(Debug, Clone)]
pub struct Model {
    /// All keys as of each revision, from 0.
    pub states: Vec<Keys>,
    /// What each revision did.
    pub changes: Vec<Vec<Change>>,
    pub compacted: u64,
    /// Granted and remaining seconds.
    pub leases: BTreeMap<i64, (i64, Option<i64>)>,
}

/// A command under way.
struct Work<'m> {
    model: &'m Model,
    keys: Keys,
    changes: Vec<Change>,
}

impl Model {
    pub fn new() -> Self {
        Self {
            states: vec![Keys::new(), Keys::new()],
            changes: vec![Vec::new(), Vec::new()],
            compacted: 0,
            leases: BTreeMap::new(),
        }
    }

    pub fn revision(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    fn newest(&self) -> &Keys {
        self.states.last().unwrap()
    }

    pub fn apply(&mut self, command: &Command) -> Result<Reply, Rejected> {
        let mut leases = self.leases.clone();
        let mut compacted = self.compacted;
        let mut work = Work { model: self, keys: self.newest().clone(), changes: Vec::new() };
        let done = |work: &Work<'_>| work.reply(Body::Done);
        let reply = match command {
            Command::Put(put) => {
                work.check_put(put)?;
                work.put(put)
            }
            Command::DeleteRange(delete) => work.delete(delete),
            Command::Txn(txn) => {
                check_txn(txn)?;
                let plan = work.plan(txn)?;
                work.txn(txn, &mut plan.into_iter())
            }
            Command::Compact(compact) => {
                let (low, current) = (Revision(self.compacted), Revision(self.revision()));
                let to = u64::try_from(compact.revision).unwrap();
                if to <= self.compacted {
                    return Err(Rejected::Compacted { compacted: low });
                }
                if to > self.revision() {
                    return Err(Rejected::FutureRevision { current });
                }
                compacted = to;
                done(&work)
            }
            Command::LeaseGrant(grant) => {
                if grant.id == 0 {
                    return Err(Rejected::LeaseNotFound);
                }
                if leases.contains_key(&grant.id) {
                    return Err(Rejected::LeaseExists);
                }
                let ttl = grant.ttl.max(1);
                leases.insert(grant.id, (ttl, None));
                work.reply(Body::LeaseGrant { id: LeaseId(grant.id), ttl })
            }
            Command::LeaseRevoke(revoke) => {
                let mut revoked = Vec::new();
                for id in &revoke.ids {
                    if leases.remove(id).is_some() {
                        revoked.push(LeaseId(*id));
                        work.delete_where(|kv| kv.lease == Some(LeaseId(*id)));
                    }
                }
                if revoked.is_empty() {
                    return Err(Rejected::LeaseNotFound);
                }
                work.reply(Body::LeaseRevoke { revoked })
            }
            Command::LeaseCheckpoint(checkpoint) => {
                for lease in &checkpoint.leases {
                    if let Some((granted, remaining)) = leases.get_mut(&lease.id) {
                        *remaining = (lease.ttl > 0).then_some(lease.ttl.min(*granted));
                    }
                }
                done(&work)
            }
            _ => done(&work),
        };
        let (keys, changes) = (work.keys, work.changes);
        if !changes.is_empty() {
            self.states.push(keys);
            self.changes.push(changes);
        }
        self.leases = leases;
        self.compacted = compacted;
        Ok(reply)
    }

    /// A range over the newest revision.
    pub fn range(&self, range: &Range) -> Result<RangeReply, Rejected> {
        Work { model: self, keys: self.newest().clone(), changes: Vec::new() }
            .check_range(range)?;
        Ok(self.read(self.newest(), range))
    }

    fn read(&self, newest: &Keys, range: &Range) -> RangeReply {
        let keys = match usize::try_from(range.revision) {
            Ok(revision) if revision > 0 => &self.states[revision],
            _ => newest,
        };
        let wanted = KeyRange::from_request(range.key.clone(), range.range_end.clone());
        let mut kvs: Vec<KeyValue> =
            keys.values().filter(|kv| wanted.contains(&kv.key)).cloned().collect();
        let count = kvs.len() as u64;
        if range.count_only {
            return RangeReply { kvs: Vec::new(), more: false, count };
        }
        let limit = match range.limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap(),
        };
        let bounds = [
            range.min_mod_revision,
            range.max_mod_revision,
            range.min_create_revision,
            range.max_create_revision,
        ];
        let bounds = bounds.map(|bound| u64::try_from(bound).unwrap());
        if range.sort_order == 0 && bounds == [0; 4] {
            kvs.truncate(limit.saturating_add(1));
        }
        kvs.retain(|kv| {
            let (modified, create) = (kv.modified.revision.0, kv.create.0);
            modified >= bounds[0]
                && (bounds[1] == 0 || modified <= bounds[1])
                && create >= bounds[2]
                && (bounds[3] == 0 || create <= bounds[3])
        });
        let number = |kv: &KeyValue| match range.sort_target {
            1 => kv.version,
            2 => kv.create.0,
            3 => kv.modified.revision.0,
            _ => 0,
        };
        let value =
            |kv: &KeyValue| if range.sort_target == 4 { kv.value.clone() } else { Bytes::new() };
        // Descending numbers, but ascending keys among equals, unless the keys are what is sorted.
        if range.sort_order == 2 && range.sort_target == 0 {
            kvs.sort_by(|one, other| other.key.cmp(&one.key));
        } else if range.sort_order == 2 {
            kvs.sort_by_key(|kv| std::cmp::Reverse((number(kv), value(kv))));
        } else {
            kvs.sort_by_key(|kv| (number(kv), value(kv)));
        }
        let more = kvs.len() > limit;
        kvs.truncate(limit);
        if range.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        RangeReply { kvs, more, count }
    }
}

impl Work<'_> {
    fn revision(&self) -> u64 {
        self.model.revision() + u64::from(!self.changes.is_empty())
    }

    fn reply(&self, body: Body) -> Reply {
        Reply { revision: Revision(self.revision()), body }
    }

    fn next(&self) -> RecordId {
        let revision = Revision(self.model.revision() + 1);
        RecordId { revision, sub: Sub(self.changes.len() as u64) }
    }

    fn check_put(&self, put: &Put) -> Result<(), Rejected> {
        let before = self.model.newest();
        if (put.ignore_value || put.ignore_lease) && !before.contains_key(&put.key) {
            return Err(Rejected::KeyNotFound);
        }
        if put.lease != 0 && !self.model.leases.contains_key(&put.lease) {
            return Err(Rejected::LeaseNotFound);
        }
        Ok(())
    }

    fn check_range(&self, range: &Range) -> Result<(), Rejected> {
        let Some(revision) = u64::try_from(range.revision).ok().filter(|number| *number > 0) else {
            return Ok(());
        };
        if revision < self.model.compacted {
            return Err(Rejected::Compacted { compacted: Revision(self.model.compacted) });
        }
        if revision > self.model.revision() {
            return Err(Rejected::FutureRevision { current: Revision(self.model.revision()) });
        }
        Ok(())
    }

    fn put(&mut self, put: &Put) -> Reply {
        let id = self.next();
        let before = self.keys.get(&put.key).cloned();
        let value = match &before {
            Some(before) if put.ignore_value => before.value.clone(),
            _ => put.value.clone(),
        };
        let lease = match &before {
            Some(before) if put.ignore_lease => before.lease,
            _ => (put.lease != 0).then_some(LeaseId(put.lease)),
        };
        let kv = KeyValue {
            key: put.key.clone(),
            value: value.clone(),
            create: before.as_ref().map_or(id.revision, |before| before.create),
            modified: id,
            version: before.as_ref().map_or(0, |before| before.version) + 1,
            lease,
        };
        self.keys.insert(put.key.clone(), kv);
        let previous = before.as_ref().map(|before| before.modified);
        let key = put.key.clone();
        self.changes.push(Change { id, key, value: Some(value), previous });
        self.reply(Body::Put { previous: before.filter(|_| put.prev_kv) })
    }

    fn delete_where(&mut self, gone: impl Fn(&KeyValue) -> bool) -> Vec<KeyValue> {
        let deleted: Vec<KeyValue> = self.keys.values().filter(|kv| gone(kv)).cloned().collect();
        for kv in &deleted {
            let (id, key, previous) = (self.next(), kv.key.clone(), Some(kv.modified));
            self.keys.remove(&kv.key);
            self.changes.push(Change { id, key, value: None, previous });
        }
        deleted
    }

    fn delete(&mut self, delete: &DeleteRange) -> Reply {
        let wanted = KeyRange::from_request(delete.key.clone(), delete.range_end.clone());
        let mut previous = self.delete_where(|kv| wanted.contains(&kv.key));
        let deleted = previous.len() as u64;
        if !delete.prev_kv {
            previous.clear();
        }
        self.reply(Body::DeleteRange { deleted, previous })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let wanted = KeyRange::from_request(compare.key.clone(), compare.range_end.clone());
        let of_value = compare.target == 3;
        let found: Vec<(Bytes, i64)> = self
            .model
            .newest()
            .values()
            .filter(|kv| wanted.contains(&kv.key))
            .map(|kv| {
                let number = match compare.target {
                    0 => i64::try_from(kv.version).unwrap(),
                    1 => i64::try_from(kv.create.0).unwrap(),
                    2 => i64::try_from(kv.modified.revision.0).unwrap(),
                    _ => kv.lease.map_or(0, |lease| lease.0),
                };
                (kv.value.clone(), number)
            })
            .collect();
        let holds = |value: &Bytes, number: i64| {
            let order =
                if of_value { value.cmp(&compare.value) } else { number.cmp(&compare.number) };
            match compare.result {
                0 => order.is_eq(),
                1 => order.is_gt(),
                2 => order.is_lt(),
                _ => order.is_ne(),
            }
        };
        if found.is_empty() {
            return !of_value && holds(&Bytes::new(), 0);
        }
        found.iter().all(|(value, number)| holds(value, *number))
    }

    /// Which branches are taken, outermost first, in the order in which transactions begin; all
    /// that is on them was checked.
    fn plan(&self, txn: &Txn) -> Result<Vec<bool>, Rejected> {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let mut plan = vec![succeeded];
        for operation in if succeeded { &txn.success } else { &txn.failure } {
            match &operation.step {
                Some(Step::Put(put)) => self.check_put(put)?,
                Some(Step::Range(range)) => self.check_range(range)?,
                Some(Step::Txn(txn)) => plan.extend(self.plan(txn)?),
                _ => {}
            }
        }
        Ok(plan)
    }

    fn txn(&mut self, txn: &Txn, plan: &mut impl Iterator<Item = bool>) -> Reply {
        let succeeded = plan.next().unwrap();
        let mut responses = Vec::new();
        for operation in if succeeded { &txn.success } else { &txn.failure } {
            responses.push(match operation.step.as_ref().unwrap() {
                Step::Put(put) => self.put(put),
                Step::DeleteRange(delete) => self.delete(delete),
                Step::Range(range) => self.reply(Body::Range(self.model.read(&self.keys, range))),
                Step::Txn(txn) => self.txn(txn, plan),
            });
        }
        self.reply(Body::Txn { succeeded, responses })
    }
}

/// A write with the way to it: which operation of each list, and which branch below it.
struct Place {
    path: Vec<(usize, bool)>,
    keys: KeyRange,
    put: bool,
}

fn check_txn(txn: &Txn) -> Result<(), Rejected> {
    for branch in [&txn.success, &txn.failure] {
        let mut places = Vec::new();
        collect(branch, &mut Vec::new(), &mut places)?;
        for (number, one) in places.iter().enumerate() {
            for other in &places[..number] {
                let mut steps = one.path.iter().zip(&other.path);
                let parting = steps.find(|(one, other)| one != other);
                let exclusive = parting.is_some_and(|(one, other)| one.0 == other.0);
                let change = (one.put || other.put) && one.keys.overlaps(&other.keys);
                if change && !exclusive {
                    // Something without a step is told of first.
                    return find_empty(txn).and(Err(Rejected::DuplicateKey));
                }
            }
        }
    }
    find_empty(txn)
}

fn find_empty(txn: &Txn) -> Result<(), Rejected> {
    for operation in txn.success.iter().chain(&txn.failure) {
        match &operation.step {
            None => return Err(Rejected::KeyNotFound),
            Some(Step::Txn(nested)) => find_empty(nested)?,
            _ => {}
        }
    }
    Ok(())
}

fn collect(
    branch: &[Operation],
    path: &mut Vec<(usize, bool)>,
    places: &mut Vec<Place>,
) -> Result<(), Rejected> {
    for (number, operation) in branch.iter().enumerate() {
        let mut place = |keys, put| {
            let mut path = path.clone();
            path.push((number, false));
            places.push(Place { path, keys, put });
        };
        match &operation.step {
            None => return Err(Rejected::KeyNotFound),
            Some(Step::Put(put)) => place(KeyRange::single(put.key.clone()), true),
            Some(Step::DeleteRange(delete)) => {
                let keys = KeyRange::from_request(delete.key.clone(), delete.range_end.clone());
                place(keys, false);
            }
            Some(Step::Range(_)) => {}
            Some(Step::Txn(txn)) => {
                path.push((number, true));
                collect(&txn.success, path, places)?;
                path.pop();
                path.push((number, false));
                collect(&txn.failure, path, places)?;
                path.pop();
            }
        }
    }
    Ok(())
}
