//! Reading what happened: pages of events by revision, and the hash over all of it.

use std::ops::Bound;

use crate::keys::{CellState, KeySpace};
use crate::log::Cursor;
use crate::look::{decode_cell, decode_key, inconsistent};
use crate::{
    Access, HistoryLimit, HistoryPage, KeyRange, ReadError, RecordId, Revision, Snapshot, Sub,
};

/// See [`Snapshot::history`].
pub(crate) fn page(
    snapshot: &Snapshot,
    range: &KeyRange,
    from: Revision,
    limit: HistoryLimit,
    access: Access,
) -> Result<HistoryPage, ReadError> {
    let view = &snapshot.view;
    if from < view.compacted {
        return Err(ReadError::Compacted { compacted: view.compacted });
    }
    let mut page = HistoryPage { events: Vec::new(), next: from };
    let Some(last) = view.end.last.filter(|last| last.revision >= from) else {
        page.next = from.max(view.revision.next());
        return Ok(page);
    };
    let first = RecordId { revision: from, sub: Sub(0) };
    let mut cursor = Cursor::seek(&view.shared.log, first, access)?;
    let mut bytes = 0;
    let mut revisions = 0;
    // How many events belong to whole revisions; what follows belongs to `page.next`.
    let mut whole = 0;
    loop {
        let stored = match cursor.next() {
            Ok(stored) => stored,
            // What was found in memory is a page; the rest is left to the next question.
            Err(ReadError::Cold) if revisions > 1 => {
                page.events.truncate(whole);
                return Ok(page);
            }
            Err(error) => return Err(error),
        };
        let Some(stored) = stored.filter(|stored| stored.record.id <= last) else { break };
        let revision = stored.record.id.revision;
        if revisions == 0 || revision > page.next {
            if revisions > 0 && (bytes >= limit.bytes || revisions >= limit.revisions) {
                page.next = revision;
                return Ok(page);
            }
            revisions += 1;
            page.next = revision;
            whole = page.events.len();
        }
        bytes += stored.length;
        if stored.record.kind.is_change() && range.contains(&stored.record.key) {
            page.events.push(stored.record);
        }
    }
    page.next = view.revision.next();
    Ok(page)
}

/// See [`Snapshot::hash_kv`]. Covers each record above the compaction horizon, and of each key
/// the newest one at or below it, unless that is a deletion from before the horizon.
pub(crate) fn hash_kv(snapshot: &Snapshot, at: Revision) -> Result<u32, ReadError> {
    let view = &snapshot.view;
    let look = snapshot.look(Access::Disk);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&view.compacted.0.to_le_bytes());
    let mut cursor =
        view.tree.cursor(&view.shared.pages, Access::Disk, Bound::Included(KeySpace::START))?;
    let mut current = Vec::new();
    let mut horizon_met = false;
    while let Some((bytes, value)) = cursor.next()? {
        if bytes >= KeySpace::END {
            break;
        }
        let key = decode_key(bytes)?;
        if key.prefix != current.as_slice() {
            current.clear();
            current.extend_from_slice(key.prefix);
            horizon_met = false;
        }
        if key.revision > at || horizon_met {
            continue;
        }
        let cell = decode_cell(&key, value)?;
        if key.revision <= view.compacted {
            horizon_met = true;
            let dead = matches!(cell.state, CellState::Tombstone) && key.revision < view.compacted;
            if dead {
                continue;
            }
        }
        let id = cell.record(key.revision);
        let record =
            look.record(id)?.ok_or_else(|| inconsistent(format!("record {id} is missing")))?;
        hasher.update(&id.revision.0.to_le_bytes());
        hasher.update(&id.sub.0.to_le_bytes());
        hasher.update(&[record.kind.code()]);
        hasher.update(&record.key);
        hasher.update(&record.create.0.to_le_bytes());
        hasher.update(&record.version.to_le_bytes());
        hasher.update(&record.lease.map_or(0, |lease| lease.0).to_le_bytes());
        hasher.update(&record.value);
    }
    Ok(hasher.finalize())
}
