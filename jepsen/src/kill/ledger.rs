//! What was asked, what was answered, and what turned out to be so.
//!
//! ```text
//!   clients ──► writes (unknown, until acknowledged at a revision)     what they were promised
//!               reads, leases                                                │ compared
//!   members ──► history: revision ──► the write that made it           what there is
//! ```
//!
//! Every value names the write that put it, so that an event in the history of a member leads back
//! to the one request that may have caused it. A write of unknown outcome may be in the history or
//! not, but at most once.
//!
//! Invariant: only puts change keys, one key each. So each revision after the first is one write,
//! and none may be missing.

use std::collections::BTreeMap;
use std::time::Duration;

use kstore_proto::mvccpb::KeyValue;
use kstore_testkit::mix;

/// The revision of an empty store; the first write makes the next one.
const REVISION_EMPTY: i64 = 1;

/// More writes than this are not begun: what is kept of each stays in memory.
const WRITES_MAX: usize = 8_000_000;

/// More violations than this are only counted.
const VIOLATIONS_MAX: usize = 20;

/// Names a write: who made it, and his how-manieth it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WriteId {
    writer: usize,
    number: usize,
}

/// What is known about a write.
#[derive(Debug)]
struct Write {
    key: u64,
    /// The lease that the key was attached to, or zero as in the request.
    lease: i64,
    /// The highest revision that was acknowledged when it was sent.
    floor: i64,
    began: Duration,
    /// The revision that its answer told. `None`: the outcome is unknown.
    acknowledged: Option<i64>,
    /// Where the history has it.
    seen: Option<i64>,
}

/// A linearizable get of one key, and its answer.
#[derive(Debug)]
pub(super) struct Get {
    pub(super) key: u64,
    /// The highest revision that was acknowledged when it was sent.
    pub(super) floor: i64,
    /// The revision that the answer told.
    pub(super) revision: i64,
    pub(super) found: Option<KeyValue>,
}

/// How long nothing was acknowledged after a kill.
#[derive(Debug, Clone, Copy)]
struct Outage {
    killed: Duration,
    /// When a write was first acknowledged that had been sent after the kill.
    over: Option<Duration>,
}

/// What the clients have done so far.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Writes whose outcome was never told.
    pub unknown: usize,
    /// Those of unknown outcome that came into being.
    pub unknown_seen: usize,
    /// Linearizable gets that were answered.
    pub gets: usize,
    /// Leases that were granted.
    pub leases: usize,
    /// Revisions of the history.
    pub revisions: usize,
}

/// See the head of the module.
#[derive(Debug)]
pub(super) struct Ledger {
    /// By writer, then by number.
    writes: Vec<Vec<Write>>,
    begun: usize,
    gets: usize,
    /// Acknowledged or answered, and not yet compared with the history.
    writes_unchecked: Vec<WriteId>,
    gets_unchecked: Vec<Get>,
    leases: Vec<i64>,
    /// The highest revision of any answer to a write.
    highest: i64,
    /// The write that made each revision, from the first after the empty store's on: as the first
    /// member told that was asked, which all others must confirm.
    history: Vec<WriteId>,
    /// The revisions of each key, ascending.
    revisions_of: BTreeMap<u64, Vec<i64>>,
    outage: Option<Outage>,
    violations: Vec<String>,
}

impl Ledger {
    /// An empty one for so many writers.
    pub(super) fn new(writers: usize) -> Self {
        Self {
            writes: (0..writers).map(|_| Vec::new()).collect(),
            begun: 0,
            gets: 0,
            writes_unchecked: Vec::new(),
            gets_unchecked: Vec::new(),
            leases: Vec::new(),
            highest: REVISION_EMPTY,
            history: Vec::new(),
            revisions_of: BTreeMap::new(),
            outage: None,
            violations: Vec::new(),
        }
    }

    /// Notes a write that is about to be sent. `None`: there have been enough.
    pub(super) fn begin(
        &mut self,
        writer: usize,
        key: u64,
        lease: i64,
        now: Duration,
    ) -> Option<WriteId> {
        if self.begun == WRITES_MAX {
            return None;
        }
        self.begun += 1;
        let id = WriteId { writer, number: self.writes[writer].len() };
        let floor = self.highest;
        let write = Write { key, lease, floor, began: now, acknowledged: None, seen: None };
        self.writes[writer].push(write);
        Some(id)
    }

    /// Notes that a write was acknowledged at `revision`. Whether that ends an outage.
    pub(super) fn acknowledge(&mut self, id: WriteId, revision: i64, now: Duration) -> bool {
        let write = &mut self.writes[id.writer][id.number];
        write.acknowledged = Some(revision);
        let (floor, began) = (write.floor, write.began);
        self.writes_unchecked.push(id);
        self.highest = self.highest.max(revision);
        if revision <= floor {
            self.violate(format!(
                "revisions went back: {id:?} was acknowledged at {revision} and sent after {floor} \
                 was acknowledged"
            ));
        }
        match &mut self.outage {
            Some(outage) if outage.over.is_none() && began >= outage.killed => {
                outage.over = Some(now);
                true
            }
            _ => false,
        }
    }

    pub(super) fn granted(&mut self, lease: i64) {
        self.leases.push(lease);
    }

    pub(super) fn answered(&mut self, get: Get) {
        self.gets += 1;
        if get.revision < get.floor {
            let (revision, floor) = (get.revision, get.floor);
            self.violate(format!("a get answered at {revision} though {floor} was acknowledged"));
        }
        self.gets_unchecked.push(get);
    }

    /// The highest revision of any answer to a write.
    pub(super) fn highest(&self) -> i64 {
        self.highest
    }

    /// The leases granted so far.
    pub(super) fn leases(&self) -> &[i64] {
        &self.leases
    }

    pub(super) fn killed(&mut self, now: Duration) {
        self.outage = Some(Outage { killed: now, over: None });
    }

    /// From the last kill to the next acknowledged write, if there has been one.
    pub(super) fn outage(&self) -> Option<Duration> {
        let outage = self.outage?;
        outage.over.map(|over| over.saturating_sub(outage.killed))
    }

    pub(super) fn violate(&mut self, what: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(what);
        }
    }

    /// The violations since the last call.
    pub(super) fn take_violations(&mut self) -> Vec<String> {
        std::mem::take(&mut self.violations)
    }

    /// Takes an event of a member's history and compares it with what was asked and with what other
    /// members told.
    pub(super) fn observe(&mut self, member: usize, event: &KeyValue) {
        if let Err(why) = self.try_observe(event) {
            let revision = event.mod_revision;
            self.violate(format!("m{}: event at revision {revision}: {why}", member + 1));
        }
    }

    fn try_observe(&mut self, event: &KeyValue) -> Result<(), String> {
        let revision = event.mod_revision;
        let place = usize::try_from(revision - REVISION_EMPTY - 1)
            .map_err(|_| "no write can have made it".to_owned())?;
        let id = self.author(event)?;
        match self.history.get(place) {
            Some(known) if *known == id => Ok(()),
            Some(known) => Err(format!("{id:?} here, {known:?} elsewhere")),
            None if place > self.history.len() => {
                Err(format!("the revisions from {} on are missing", self.next_revision()))
            }
            None => self.extend(id, event),
        }
    }

    /// The write that an event or a key tells of, if it says exactly what was asked for.
    fn author(&self, found: &KeyValue) -> Result<WriteId, String> {
        let id = decode(&found.value).ok_or("a value that nobody wrote")?;
        let write = self.writes.get(id.writer).and_then(|writes| writes.get(id.number));
        let write = write.ok_or("a value that nobody has written yet")?;
        if found.value != value(id) {
            return Err(format!("the value of {id:?} is altered"));
        }
        if found.key != key(write.key) {
            return Err(format!("{id:?} is at the key {}", found.key.escape_ascii()));
        }
        if found.lease != write.lease {
            return Err(format!("{id:?} has the lease {} of {}", found.lease, write.lease));
        }
        Ok(id)
    }

    fn extend(&mut self, id: WriteId, event: &KeyValue) -> Result<(), String> {
        let revision = event.mod_revision;
        self.history.push(id);
        let write = &mut self.writes[id.writer][id.number];
        let before = write.seen.replace(revision);
        let revisions = self.revisions_of.entry(write.key).or_default();
        revisions.push(revision);
        if let Some(before) = before {
            return Err(format!("{id:?} is there twice, first at {before}"));
        }
        if event.create_revision != revisions[0]
            || usize::try_from(event.version) != Ok(revisions.len())
        {
            return Err(format!(
                "version {} since {}, not {} since {}",
                event.version,
                event.create_revision,
                revisions.len(),
                revisions[0]
            ));
        }
        Ok(())
    }

    /// The first revision that the history does not have yet.
    fn next_revision(&self) -> i64 {
        let length = i64::try_from(self.history.len()).expect("no more than WRITES_MAX");
        REVISION_EMPTY + 1 + length
    }

    /// Compares what was promised at revisions up to `revision` with the history, which goes as far.
    pub(super) fn judge(&mut self, revision: i64) {
        for id in std::mem::take(&mut self.writes_unchecked) {
            let write = &self.writes[id.writer][id.number];
            let (promised, seen) = (write.acknowledged, write.seen);
            if promised.is_some_and(|promised| promised > revision) {
                self.writes_unchecked.push(id);
            } else if seen != promised {
                self.violate(format!("lost: {id:?} acknowledged at {promised:?}, is at {seen:?}"));
            }
        }
        for get in std::mem::take(&mut self.gets_unchecked) {
            if get.revision > revision {
                self.gets_unchecked.push(get);
            } else if let Err(why) = self.judge_get(&get) {
                self.violate(format!("get of key {} at {}: {why}", get.key, get.revision));
            }
        }
    }

    fn judge_get(&self, get: &Get) -> Result<(), String> {
        let revisions = self.revisions_of.get(&get.key).map_or(&[][..], Vec::as_slice);
        let newest = revisions[..revisions.partition_point(|r| *r <= get.revision)].last();
        let found = get.found.as_ref();
        if found.map(|found| &found.mod_revision) != newest {
            return Err(format!("it found {:?}, not {newest:?}", found.map(|f| f.mod_revision)));
        }
        match found {
            Some(found) => self.judge_found(found),
            None => Ok(()),
        }
    }

    fn judge_found(&self, found: &KeyValue) -> Result<(), String> {
        let id = self.author(found)?;
        let place = usize::try_from(found.mod_revision - REVISION_EMPTY - 1).ok();
        match place.and_then(|place| self.history.get(place)) {
            Some(known) if *known == id => Ok(()),
            known => Err(format!("it found {id:?}, not {known:?}")),
        }
    }

    /// Compares all keys of a member, read after the last write, with the history.
    pub(super) fn judge_keys(&mut self, asked: &str, found: &[KeyValue]) {
        let keys: Vec<_> = self.revisions_of.keys().map(|key| self::key(*key)).collect();
        if !found.iter().map(|kv| kv.key.as_ref()).eq(keys.iter().map(Vec::as_slice)) {
            self.violate(format!("{asked}: {} keys, not {}", found.len(), keys.len()));
        }
        for kv in found {
            let newest = self.author(kv).map(|id| {
                let key = self.writes[id.writer][id.number].key;
                self.revisions_of.get(&key).and_then(|revisions| revisions.last().copied())
            });
            let verdict = match newest {
                Ok(newest) if newest == Some(kv.mod_revision) => self.judge_found(kv),
                Ok(newest) => Err(format!("is of {}, not {newest:?}", kv.mod_revision)),
                Err(why) => Err(why),
            };
            if let Err(why) = verdict {
                self.violate(format!("{asked}: key {}: {why}", kv.key.escape_ascii()));
            }
        }
    }

    /// Compares every acknowledged write with the history once more.
    pub(super) fn judge_all(&mut self) {
        let mut lost = Vec::new();
        for write in self.writes.iter().flatten() {
            if write.acknowledged.is_some() && write.acknowledged != write.seen {
                lost.push(format!("lost: acknowledged at {:?}", write.acknowledged));
            }
        }
        for what in lost {
            self.violate(what);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let acknowledged = |write: &&Write| write.acknowledged.is_some();
        let strayed = |write: &&Write| write.acknowledged.is_none() && write.seen.is_some();
        let acknowledged = self.writes.iter().flatten().filter(acknowledged).count();
        Counts {
            acknowledged,
            unknown: self.begun - acknowledged,
            unknown_seen: self.writes.iter().flatten().filter(strayed).count(),
            gets: self.gets,
            leases: self.leases.len(),
            revisions: self.history.len(),
        }
    }
}

/// The name of a key.
pub(super) fn key(number: u64) -> Vec<u8> {
    format!("kill/{number:05}").into_bytes()
}

/// The value that a write puts: its name, and a filling that depends on it.
pub(super) fn value(id: WriteId) -> Vec<u8> {
    let mut bytes = format!("{}.{}.", id.writer, id.number).into_bytes();
    let hash = mix(mix(0, id.writer as u64), id.number as u64);
    let letters = (0..hash % 200).map(|place| b'a' + (mix(hash, place) % 26).to_le_bytes()[0]);
    bytes.extend(letters);
    bytes
}

/// The write whose name a value begins with.
fn decode(value: &[u8]) -> Option<WriteId> {
    let mut parts = std::str::from_utf8(value).ok()?.splitn(3, '.');
    let writer = parts.next()?.parse().ok()?;
    let number = parts.next()?.parse().ok()?;
    Some(WriteId { writer, number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: WriteId, key_number: u64, revision: i64) -> KeyValue {
        KeyValue {
            key: key(key_number).into(),
            value: value(id).into(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: 0,
        }
    }

    fn violations(script: impl FnOnce(&mut Ledger, WriteId, WriteId)) -> Vec<String> {
        let mut ledger = Ledger::new(1);
        let first = ledger.begin(0, 1, 0, Duration::ZERO).unwrap();
        let second = ledger.begin(0, 2, 0, Duration::ZERO).unwrap();
        script(&mut ledger, first, second);
        ledger.take_violations()
    }

    #[test]
    fn writes_at_the_revisions_that_were_told_are_in_order() {
        let found = violations(|ledger, first, second| {
            ledger.acknowledge(second, 3, Duration::ZERO);
            ledger.observe(0, &event(first, 1, 2));
            ledger.observe(0, &event(second, 2, 3));
            ledger.observe(1, &event(first, 1, 2));
            ledger.judge(3);
            ledger.judge_all();
            ledger.judge_keys("m1", &[event(first, 1, 2), event(second, 2, 3)]);
            assert_eq!(ledger.counts().unknown_seen, 1);
        });
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn an_acknowledged_write_that_is_not_there_is_found() {
        let found = violations(|ledger, first, second| {
            ledger.acknowledge(second, 2, Duration::ZERO);
            ledger.observe(0, &event(first, 1, 2));
            ledger.judge(2);
        });
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn a_write_that_was_done_twice_is_found() {
        let found = violations(|ledger, first, _| {
            ledger.observe(0, &event(first, 1, 2));
            let again = KeyValue { create_revision: 2, version: 2, ..event(first, 1, 3) };
            ledger.observe(0, &again);
        });
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn a_member_with_another_history_is_found() {
        let found = violations(|ledger, first, second| {
            ledger.observe(0, &event(first, 1, 2));
            ledger.observe(1, &event(second, 2, 2));
        });
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn an_altered_value_and_a_gap_in_the_revisions_are_found() {
        let found = violations(|ledger, first, second| {
            let mut altered = event(first, 1, 2);
            altered.value = [altered.value.as_ref(), b"!"].concat().into();
            ledger.observe(0, &altered);
            ledger.observe(0, &event(second, 2, 3));
        });
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn a_get_that_misses_a_write_and_a_revision_that_goes_back_are_found() {
        let found = violations(|ledger, first, second| {
            ledger.acknowledge(first, 2, Duration::ZERO);
            ledger.observe(0, &event(first, 1, 2));
            ledger.answered(Get { key: 1, floor: 2, revision: 2, found: None });
            ledger.judge(2);
            let third = ledger.begin(0, 1, 0, Duration::ZERO).unwrap();
            ledger.acknowledge(second, 3, Duration::ZERO);
            ledger.acknowledge(third, 2, Duration::ZERO);
        });
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn only_a_write_that_was_sent_after_the_kill_ends_an_outage() {
        violations(|ledger, first, _| {
            ledger.killed(Duration::from_secs(5));
            assert!(!ledger.acknowledge(first, 2, Duration::from_secs(6)));
            let later = ledger.begin(0, 1, 0, Duration::from_secs(7)).unwrap();
            assert!(ledger.acknowledge(later, 3, Duration::from_secs(8)));
            assert_eq!(ledger.outage(), Some(Duration::from_secs(3)));
        });
    }
}
