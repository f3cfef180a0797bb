//! One command being applied: the working state, and what is gathered for the answer, the watchers,
//! the lease clock and the chain hash.

use bytes::Bytes;
use kstore_mvcc::{
    Index, KeyRange, KeyValue, LeaseId, NoteKind, Record, RecordKind, Table, Write, Written,
};

use crate::batch::Collector;
use crate::check::{check_delete_range, check_put};
use crate::command::{DeleteRange, Put};
use crate::lease;
use crate::machine::{Notice, Wants};
use crate::range::{self, Slices};
use crate::reply::{Body, RaisedAlarm, Rejected, Reply};
use crate::stop::Stop;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Applying<'w, 's> {
    pub(crate) write: &'w mut Write<'s>,
    pub(crate) index: Index,
    pub(crate) wants: Wants,
    pub(crate) events: Collector,
    pub(crate) notices: Vec<Notice>,
    /// What members compare: see [`crate::chain`].
    pub(crate) outcome: Outcome,
    /// The alarms that are up after the command, if it changed them.
    pub(crate) alarms: Option<Vec<RaisedAlarm>>,
}

/// Bytes that say how a command went: the same on all members, whoever wants an answer.
#[derive(Debug, Default)]
pub(crate) struct Outcome(pub(crate) Vec<u8>);

impl Outcome {
    pub(crate) fn tag(&mut self, tag: u8) {
        self.0.push(tag);
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// The command came to nothing, however far it had got.
    pub(crate) fn refused(&mut self, rejected: Rejected) {
        self.0.clear();
        self.tag(tag::REJECTED);
        self.tag(rejected.code());
    }
}

/// The outcome's tags. Never reused.
pub(crate) mod tag {
    pub(crate) const BLANK: u8 = 0;
    pub(crate) const PUT: u8 = 1;
    pub(crate) const DELETE_RANGE: u8 = 2;
    pub(crate) const RANGE: u8 = 3;
    pub(crate) const TXN_SUCCESS: u8 = 4;
    pub(crate) const TXN_FAILURE: u8 = 5;
    pub(crate) const TXN_END: u8 = 6;
    pub(crate) const COMPACT: u8 = 7;
    pub(crate) const RETAIN: u8 = 8;
    pub(crate) const LEASE_GRANT: u8 = 9;
    pub(crate) const LEASE_REVOKE: u8 = 10;
    pub(crate) const LEASE_CHECKPOINT: u8 = 11;
    pub(crate) const MEMBER_ATTRIBUTES: u8 = 12;
    pub(crate) const CLUSTER_VERSION: u8 = 13;
    pub(crate) const ALARM: u8 = 14;
    pub(crate) const MEMBERSHIP: u8 = 15;
    pub(crate) const REJECTED: u8 = 255;
}

impl<'w, 's> Applying<'w, 's> {
    pub(crate) fn new(write: &'w mut Write<'s>, index: Index, wants: Wants) -> Self {
        Self {
            write,
            index,
            wants,
            events: Collector::default(),
            notices: Vec::new(),
            outcome: Outcome::default(),
            alarms: None,
        }
    }

    /// An answer at the revision that the working state has reached.
    pub(crate) fn reply(&self, body: Body) -> Reply {
        Reply { revision: self.write.revision(), body }
    }

    pub(crate) fn put(&mut self, put: &Put) -> Result<Reply, Stop> {
        check_put(put)?;
        let wants_previous = put.prev_kv && self.wants == Wants::Reply;
        let mut lease = lease::given(put.lease);
        let mut value = put.value.clone();
        let mut previous = None;
        if put.ignore_value || wants_previous {
            previous = self.write.get(&put.key)?;
        }
        if put.ignore_value {
            value = previous.as_ref().ok_or(Rejected::KeyNotFound)?.value.clone();
        }
        if put.ignore_lease {
            lease = self.write.meta(&put.key)?.ok_or(Rejected::KeyNotFound)?.lease;
        }
        if let Some(lease) = lease
            && put.lease != 0
            && !lease::exists(self.write, lease)?
        {
            return Err(Rejected::LeaseNotFound.into());
        }
        self.put_key(&put.key, value, lease)?;
        self.outcome.tag(tag::PUT);
        let previous = previous.filter(|_| wants_previous);
        Ok(self.reply(Body::Put { previous }))
    }

    fn put_key(&mut self, key: &Bytes, value: Bytes, lease: Option<LeaseId>) -> Result<(), Stop> {
        let written = self.write.put(key, &value, lease)?;
        if written.previous_lease != lease {
            self.detach(key, &written)?;
            if let Some(lease) = lease {
                self.write.table_put(Table::LeaseKey, &lease::key_row(lease, key), &[])?;
            }
        }
        let Written { id, create, version, previous, .. } = written;
        let (index, kind, key) = (self.index, RecordKind::Put, key.clone());
        self.events.push(Record { index, id, kind, key, value, create, version, lease, previous });
        Ok(())
    }

    fn detach(&mut self, key: &[u8], written: &Written) -> Result<(), Stop> {
        if let Some(lease) = written.previous_lease {
            self.write.table_delete(Table::LeaseKey, &lease::key_row(lease, key))?;
        }
        Ok(())
    }

    pub(crate) fn delete_range(&mut self, delete: &DeleteRange) -> Result<Reply, Stop> {
        check_delete_range(delete)?;
        let keys = KeyRange::from_request(delete.key.clone(), delete.range_end.clone());
        let mut previous = Vec::new();
        let wants_previous = delete.prev_kv && self.wants == Wants::Reply;
        let deleted = self.delete_keys(keys, wants_previous.then_some(&mut previous))?;
        self.outcome.tag(tag::DELETE_RANGE);
        self.outcome.number(deleted);
        Ok(self.reply(Body::DeleteRange { deleted, previous }))
    }

    /// Deletes in key order; what was there goes to `previous`.
    fn delete_keys(
        &mut self,
        keys: KeyRange,
        mut previous: Option<&mut Vec<KeyValue>>,
    ) -> Result<u64, Stop> {
        let mut deleted = 0;
        let mut slices = Slices::of(keys);
        while let Some(slice) = slices.next(self.write)? {
            for key in slice {
                if let Some(previous) = &mut previous {
                    previous.extend(self.write.get(&key)?);
                }
                deleted += u64::from(self.delete_key(key)?);
            }
        }
        Ok(deleted)
    }

    /// Deletes a key and takes it off its lease; whether it was there.
    pub(crate) fn delete_key(&mut self, key: Bytes) -> Result<bool, Stop> {
        let Some(written) = self.write.delete(&key)? else { return Ok(false) };
        self.detach(&key, &written)?;
        let Written { id, create, version, previous, .. } = written;
        self.events.push(Record {
            index: self.index,
            id,
            kind: RecordKind::Delete,
            key,
            value: Bytes::new(),
            create,
            version,
            lease: None,
            previous,
        });
        Ok(true)
    }

    /// Writes a record that is no event, so that the revision log tells the whole story.
    pub(crate) fn note(&mut self, kind: NoteKind, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        self.write.note(kind, key, value)?;
        Ok(())
    }

    /// Whether the revision that a request names may be read now.
    pub(crate) fn readable(&self, revision: i64) -> Result<(), Rejected> {
        let Some(revision) = range::requested_revision(revision) else { return Ok(()) };
        let (compacted, current) = (self.write.compacted(), self.write.revision());
        if revision < compacted {
            return Err(Rejected::Compacted { compacted });
        }
        if revision > current {
            return Err(Rejected::FutureRevision { current });
        }
        Ok(())
    }
}
