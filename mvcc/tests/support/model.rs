//! The store as one would write it on a page: everything in memory, nothing clever.

use std::collections::BTreeMap;

use bytes::Bytes;
use kstore_mvcc::{
    Access, Content, HistoryLimit, KeyRange, KeyValue, LeaseId, RangeQuery, ReadError, RecordId,
    RecordKind, Revision, Snapshot, Sub, Table,
};
use kstore_testkit::Prng;

use super::script::{Change, Command, random_key, random_range};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: RecordId,
    pub(crate) key: Bytes,
    /// `None` for a delete.
    pub(crate) after: Option<KeyValue>,
    pub(crate) previous: Option<RecordId>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) revision: u64,
    pub(crate) next_sub: u64,
    pub(crate) compacted: u64,
    pub(crate) retained: u64,
    /// Everything that ever happened.
    pub(crate) events: Vec<Event>,
    /// Of each key what happened to it, as indexes into `events`.
    pub(crate) keys: BTreeMap<Bytes, Vec<usize>>,
    pub(crate) tables: BTreeMap<(Table, Bytes), Bytes>,
    /// How many records there are, notes included.
    pub(crate) records: u64,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { revision: 1, ..Self::default() }
    }

    fn live(&self, key: &[u8]) -> Option<KeyValue> {
        let last = *self.keys.get(key)?.last()?;
        self.events[last].after.clone()
    }

    fn id(&mut self) -> RecordId {
        let id = RecordId { revision: Revision(self.revision), sub: Sub(self.next_sub) };
        self.next_sub += 1;
        self.records += 1;
        id
    }

    fn change(&mut self, key: &Bytes, begun: &mut bool, value: Option<(&Bytes, Option<LeaseId>)>) {
        let before = self.live(key);
        if before.is_none() && value.is_none() {
            return;
        }
        if !*begun {
            *begun = true;
            self.revision += 1;
            self.next_sub = 0;
        }
        let id = self.id();
        let after = value.map(|(value, lease)| KeyValue {
            key: key.clone(),
            value: value.clone(),
            create: before.as_ref().map_or(id.revision, |kv| kv.create),
            modified: id,
            version: before.as_ref().map_or(1, |kv| kv.version + 1),
            lease,
        });
        let previous = before.map(|kv| kv.modified);
        self.keys.entry(key.clone()).or_default().push(self.events.len());
        self.events.push(Event { id, key: key.clone(), after, previous });
    }

    fn changes(&mut self, changes: &[Change], begun: &mut bool) {
        for change in changes {
            match change {
                Change::Put { key, value, lease } => self.change(key, begun, Some((value, *lease))),
                Change::Delete { key } => self.change(key, begun, None),
                Change::DeleteRange { range } => {
                    let keys: Vec<Bytes> =
                        self.keys.keys().filter(|key| range.contains(key)).cloned().collect();
                    for key in keys {
                        self.change(&key, begun, None);
                    }
                }
            }
        }
    }

    pub(crate) fn apply(&mut self, command: &Command) {
        match command {
            Command::Changes(changes) => self.changes(changes, &mut false),
            Command::Abandoned(_) | Command::Blank => {}
            Command::Slices(first, second) => {
                let mut begun = false;
                self.changes(first, &mut begun);
                if begun {
                    self.changes(second, &mut begun);
                }
            }
            Command::Note { .. } => {
                self.id();
            }
            Command::TablePut { table, key, value } => {
                self.tables.insert((*table, key.clone()), value.clone());
            }
            Command::TableDelete { table, key } => {
                self.tables.remove(&(*table, key.clone()));
            }
            Command::Compact { readable, retained } => {
                self.compacted = self.compacted.max(self.revision.saturating_sub(*readable));
                self.retained = self.retained.max(self.compacted.saturating_sub(*retained));
                self.id();
            }
        }
    }

    pub(crate) fn get(&self, key: &[u8], at: u64) -> Option<KeyValue> {
        let all = self.keys.get(key)?;
        let newest = all.iter().rev().find(|n| self.events[**n].id.revision.0 <= at)?;
        self.events[*newest].after.clone()
    }

    pub(crate) fn range(&self, range: &KeyRange, at: u64) -> Vec<KeyValue> {
        let keys = self.keys.keys().filter(|key| range.contains(key));
        keys.filter_map(|key| self.get(key, at)).collect()
    }

    pub(crate) fn history(&self, range: &KeyRange, from: u64) -> Vec<&Event> {
        let from = Revision(from);
        let wanted = |event: &&Event| event.id.revision >= from && range.contains(&event.key);
        self.events.iter().filter(wanted).collect()
    }

    /// Compares everything that can be asked in a few random questions.
    pub(crate) fn check(&self, snapshot: &Snapshot, prng: &mut Prng, keys: u64) {
        assert_eq!(snapshot.revision().0, self.revision, "revision");
        assert_eq!(snapshot.compacted().0, self.compacted, "compacted");
        assert_eq!(snapshot.retained().0, self.retained, "retained");
        for _ in 0..4 {
            let at = prng.between(self.compacted.max(1), self.revision);
            let key = random_key(prng, keys);
            let got = snapshot.get(&key, Some(Revision(at)), Access::Disk).unwrap();
            assert_eq!(got, self.get(&key, at), "{key:?} at {at}");
            let got = snapshot.get(&key, None, Access::Disk).unwrap();
            assert_eq!(got, self.get(&key, self.revision), "{key:?} now");
        }
        for _ in 0..2 {
            self.check_range(snapshot, prng, keys);
        }
        self.check_history(snapshot, prng, keys);
        if !self.events.is_empty() {
            let event = prng.pick(&self.events);
            self.check_record(snapshot, event);
        }
        if self.compacted > 1 {
            let below = snapshot.get(b"x", Some(Revision(self.compacted - 1)), Access::Cached);
            assert!(matches!(below, Err(ReadError::Compacted { .. })), "{below:?}");
        }
        let above = snapshot.get(b"x", Some(Revision(self.revision + 1)), Access::Cached);
        assert!(matches!(above, Err(ReadError::Future { .. })), "{above:?}");
    }

    fn check_record(&self, snapshot: &Snapshot, event: &Event) {
        let record = snapshot.record(event.id, Access::Disk).unwrap().unwrap();
        assert_eq!((record.id, &record.key), (event.id, &event.key));
        assert_eq!(record.previous, event.previous);
        match &event.after {
            None => assert_eq!(record.kind, RecordKind::Delete),
            Some(kv) => {
                assert_eq!(record.kind, RecordKind::Put);
                assert_eq!((&record.value, record.create), (&kv.value, kv.create));
                assert_eq!((record.version, record.lease), (kv.version, kv.lease));
            }
        }
    }

    fn check_range(&self, snapshot: &Snapshot, prng: &mut Prng, keys: u64) {
        let range = random_range(prng, keys);
        let at = prng.between(self.compacted.max(1), self.revision);
        let all = self.range(&range, at);
        let limit = prng.one_in(2).then(|| 1 + prng.below(5));
        let content = *prng.pick(&[Content::Values, Content::KeysOnly, Content::CountOnly]);
        let query = RangeQuery { range, at: Some(Revision(at)), limit, content };
        let answer = snapshot.range(&query, Access::Disk).unwrap();
        assert_eq!(answer.count, all.len() as u64, "{query:?}");
        if content == Content::CountOnly {
            assert!(answer.kvs.is_empty());
            return;
        }
        let kept = limit.map_or(all.len(), |n| all.len().min(usize::try_from(n).unwrap()));
        assert_eq!(answer.more, kept < all.len());
        assert_eq!(answer.kvs.len(), kept);
        let page = snapshot.page(&query, Access::Disk).unwrap();
        assert_eq!((&page.kvs, page.more), (&answer.kvs, answer.more), "{query:?}");
        assert_eq!(page.count, all.len().min(kept + 1) as u64, "it counts no further");
        for (mut expected, got) in all.into_iter().zip(answer.kvs) {
            if content == Content::KeysOnly {
                expected.value = Bytes::new();
            }
            assert_eq!(got, expected, "{query:?}");
        }
    }

    fn check_history(&self, snapshot: &Snapshot, prng: &mut Prng, keys: u64) {
        let range = if prng.one_in(2) { KeyRange::everything() } else { random_range(prng, keys) };
        let low = self.compacted.max(1).max(self.revision.saturating_sub(40));
        let from = prng.between(low, self.revision + 1);
        let limit = HistoryLimit { bytes: prng.below(4000), revisions: 1 + prng.below(6) };
        let mut got = Vec::new();
        let mut next = Revision(from);
        while next.0 <= self.revision {
            let page = snapshot.history(&range, next, limit, Access::Disk).unwrap();
            assert!(page.next > next, "a page goes on");
            assert!(page.events.iter().all(|e| e.id.revision >= next && e.id.revision < page.next));
            got.extend(page.events);
            next = page.next;
        }
        let expected = self.history(&range, from);
        assert_eq!(got.len(), expected.len(), "history of {range:?} from {from}");
        for (got, expected) in got.iter().zip(expected) {
            assert_eq!(got.id, expected.id);
            assert_eq!(got.key, expected.key);
            assert_eq!(got.previous, expected.previous);
            assert_eq!(got.kind == RecordKind::Put, expected.after.is_some());
            if let Some(kv) = &expected.after {
                assert_eq!((&got.value, got.version, got.lease), (&kv.value, kv.version, kv.lease));
            }
        }
        if self.compacted > 1 {
            let below = snapshot.history(&range, Revision(self.compacted - 1), limit, Access::Disk);
            assert!(matches!(below, Err(ReadError::Compacted { .. })));
        }
    }

    /// Compares everything there is.
    pub(crate) fn check_all(&self, snapshot: &Snapshot) {
        let content = Content::Values;
        let range = KeyRange::everything();
        for at in [
            self.compacted.max(1),
            u64::midpoint(self.compacted.max(1), self.revision),
            self.revision,
        ] {
            let query =
                RangeQuery { range: range.clone(), at: Some(Revision(at)), limit: None, content };
            let answer = snapshot.range(&query, Access::Disk).unwrap();
            assert_eq!(answer.kvs, self.range(&range, at), "everything at {at}");
        }
        for table in [Table::Lease, Table::LeaseKey, Table::Meta, Table::Auth] {
            let rows = snapshot.table_scan(table, b"", b"", usize::MAX, Access::Disk).unwrap();
            let expected = self.tables.iter().filter(|((of, _), _)| *of == table);
            let expected: Vec<(Bytes, Bytes)> =
                expected.map(|((_, key), value)| (key.clone(), value.clone())).collect();
            assert_eq!(rows, expected, "{table:?}");
        }
        let from = self.compacted.max(1);
        let limit = HistoryLimit { bytes: u64::MAX, revisions: u64::MAX };
        let page = snapshot.history(&range, Revision(from), limit, Access::Disk).unwrap();
        let expected = self.history(&range, from);
        assert_eq!(page.events.len(), expected.len());
        for (got, expected) in page.events.iter().zip(expected) {
            assert_eq!((got.id, &got.key), (expected.id, &expected.key));
        }
    }
}
