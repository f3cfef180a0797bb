//! Leases: which there are, for how long they were granted, and which keys hang on them.
//!
//! Two side tables, drawn in `docs/formats/command.md`:
//!
//! ```text
//!   Lease     id            ─► granted seconds, remaining seconds at the last checkpoint
//!   LeaseKey  id, key       ─► (nothing)      one row for each key attached to a lease
//! ```
//!
//! *Time* is not here: when a lease is over is decided by the leader's clock, outside, and comes
//! back as a command. The machine tells of every change by a [`Notice`], so that this clock keeps
//! up.
//!
//! Invariant: a key has a LeaseKey row exactly when its newest record carries that lease, and then
//! the Lease row exists.

use bytes::Bytes;
use kstore_mvcc::{Access, LeaseId, NoteKind, ReadError, Snapshot, Table, Write};
use prost::Message as _;

use crate::applying::{Applying, tag};
use crate::check::after;
use crate::command::{LeaseCheckpoint, LeaseGrant, LeaseRevoke};
use crate::machine::Notice;
use crate::reply::{Body, Rejected, Reply};
use crate::stop::{Fatal, Stop};

/// No lease may live longer, in seconds (etcd's bound).
pub const TTL_MAX: i64 = 9_000_000_000;

/// A lease as the machine knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// Seconds that it was granted.
    pub granted: i64,
    /// Seconds that it had left at the last checkpoint, if there was one.
    pub remaining: Option<i64>,
}

/// The row of a lease.
#[derive(Clone, PartialEq, prost::Message)]
struct Row {
    #[prost(int64, tag = "1")]
    granted: i64,
    #[prost(int64, optional, tag = "2")]
    remaining: Option<i64>,
}

/// Rows read at once from a table.
const PAGE: usize = 512;

/// The lease, if there is one with this id.
///
/// # Errors
/// The read fails.
pub fn find(snapshot: &Snapshot, id: LeaseId, access: Access) -> Result<Option<Lease>, ReadError> {
    let row = snapshot.table(Table::Lease, &row_key(id), access)?;
    Ok(row.and_then(|row| lease_of(id, &row)))
}

/// The keys attached to a lease, in order. None are attached to an unknown lease.
///
/// # Errors
/// The read fails.
pub fn keys(snapshot: &Snapshot, id: LeaseId, access: Access) -> Result<Vec<Bytes>, ReadError> {
    let prefix = row_key(id);
    let mut keys = Vec::new();
    let mut from = Bytes::copy_from_slice(&prefix);
    loop {
        let rows = snapshot.table_scan(Table::LeaseKey, &prefix, &from, PAGE, access)?;
        keys.extend(rows.iter().map(|(row, _)| row.slice(prefix.len()..)));
        match rows.last() {
            Some((last, _)) if rows.len() == PAGE => from = after(last),
            _ => return Ok(keys),
        }
    }
}

/// All leases, by id.
///
/// # Errors
/// The read fails.
pub fn all(snapshot: &Snapshot, access: Access) -> Result<Vec<Lease>, ReadError> {
    let mut leases = Vec::new();
    let mut from = Bytes::new();
    loop {
        let rows = snapshot.table_scan(Table::Lease, &[], &from, PAGE, access)?;
        leases.extend(rows.iter().filter_map(|(key, row)| lease_of(row_id(key)?, row)));
        match rows.last() {
            Some((last, _)) if rows.len() == PAGE => from = after(last),
            _ => return Ok(leases),
        }
    }
}

/// The lease that a request names; zero is none.
pub(crate) fn given(id: i64) -> Option<LeaseId> {
    (id != 0).then_some(LeaseId(id))
}

pub(crate) fn exists(write: &Write<'_>, id: LeaseId) -> Result<bool, Fatal> {
    Ok(write.table(Table::Lease, &row_key(id))?.is_some())
}

/// The key of the row that attaches `key` to a lease.
pub(crate) fn key_row(id: LeaseId, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(8 + key.len());
    row.extend_from_slice(&row_key(id));
    row.extend_from_slice(key);
    row
}

/// The key of a lease's row: big end first and the sign turned, so that rows lie in order of ids.
fn row_key(id: LeaseId) -> [u8; 8] {
    let mut bytes = id.0.to_be_bytes();
    bytes[0] ^= 0x80;
    bytes
}

fn row_id(key: &[u8]) -> Option<LeaseId> {
    let mut bytes: [u8; 8] = key.try_into().ok()?;
    bytes[0] ^= 0x80;
    Some(LeaseId(i64::from_be_bytes(bytes)))
}

/// Rows are checksummed with their page, and only this module writes them, so they can be read.
fn lease_of(id: LeaseId, row: &[u8]) -> Option<Lease> {
    let Row { granted, remaining } = Row::decode(row).ok()?;
    Some(Lease { id, granted, remaining })
}

impl Applying<'_, '_> {
    pub(crate) fn lease_grant(&mut self, grant: &LeaseGrant) -> Result<Reply, Stop> {
        let id = given(grant.id).ok_or(Rejected::LeaseNotFound)?;
        if grant.ttl > TTL_MAX {
            return Err(Rejected::LeaseTtlTooLarge.into());
        }
        if exists(self.write, id)? {
            return Err(Rejected::LeaseExists.into());
        }
        // The proposer has raised it to the cluster's least; this only keeps nonsense out.
        let ttl = grant.ttl.max(1);
        self.write_lease(id, &Row { granted: ttl, remaining: None })?;
        self.notices.push(Notice::LeaseGranted { id, ttl });
        self.outcome.tag(tag::LEASE_GRANT);
        Ok(self.reply(Body::LeaseGrant { id, ttl }))
    }

    fn write_lease(&mut self, id: LeaseId, row: &Row) -> Result<(), Stop> {
        let row = row.encode_to_vec();
        self.write.table_put(Table::Lease, &row_key(id), &row)?;
        self.note(NoteKind::Lease, &row_key(id), &row)
    }

    pub(crate) fn lease_revoke(&mut self, revoke: &LeaseRevoke) -> Result<Reply, Stop> {
        let mut revoked = Vec::new();
        let mut deleted = 0;
        for id in revoke.ids.iter().copied().map(LeaseId) {
            // A lease that the request names twice is gone the second time.
            if self.write.table_delete(Table::Lease, &row_key(id))?.is_none() {
                continue;
            }
            deleted += self.delete_keys_of(id)?;
            revoked.push(id);
        }
        if revoked.is_empty() {
            return Err(Rejected::LeaseNotFound.into());
        }
        // After the deletions, so that nothing stands between the events of the revision.
        for id in &revoked {
            self.note(NoteKind::Lease, &row_key(*id), &[])?;
            self.notices.push(Notice::LeaseRevoked { id: *id });
        }
        self.outcome.tag(tag::LEASE_REVOKE);
        self.outcome.number(revoked.len() as u64);
        self.outcome.number(deleted);
        Ok(self.reply(Body::LeaseRevoke { revoked }))
    }

    /// Deletes the keys attached to a lease, in order. Deleting a key takes its row away.
    fn delete_keys_of(&mut self, id: LeaseId) -> Result<u64, Stop> {
        let prefix = row_key(id);
        let mut deleted = 0;
        let mut from = Bytes::copy_from_slice(&prefix);
        loop {
            let rows = self.write.table_scan(Table::LeaseKey, &prefix, &from, PAGE)?;
            let Some((last, _)) = rows.last() else { return Ok(deleted) };
            from = after(last);
            for (row, _) in &rows {
                deleted += u64::from(self.delete_key(row.slice(prefix.len()..))?);
            }
        }
    }

    pub(crate) fn lease_checkpoint(&mut self, checkpoint: &LeaseCheckpoint) -> Result<Reply, Stop> {
        let mut known = 0;
        for lease in &checkpoint.leases {
            let id = LeaseId(lease.id);
            let Some(row) = self.write.table(Table::Lease, &row_key(id))? else { continue };
            let mut row = Row::decode(row)
                .map_err(|error| Fatal::Row { table: Table::Lease, what: error.to_string() })?;
            row.remaining = (lease.ttl > 0).then_some(lease.ttl.min(row.granted));
            let remaining = row.remaining.unwrap_or(row.granted);
            self.write_lease(id, &row)?;
            self.notices.push(Notice::LeaseCheckpointed { id, remaining });
            known += 1;
        }
        self.outcome.tag(tag::LEASE_CHECKPOINT);
        self.outcome.number(known);
        Ok(self.reply(Body::Done))
    }
}
