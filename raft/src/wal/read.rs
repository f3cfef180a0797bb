//! Reads entries back: from memory, or from the segments.
//!
//! A stretch of entries that lies in one segment is fetched with one read of the disk. What is
//! looked up under the lock (file, seed, offsets) stays right after the lock is given back: the
//! bytes of a group never change, and a file that has lost its name can still be read. Only a
//! segment that is purged meanwhile may be used again, and then nothing in it matches its
//! checksum any more; so after a mismatch the log is asked once more whether the entry is there.

use std::fmt::{Display, Formatter};
use std::io;

use bytes::Bytes;
use kstore_mvcc::{Access, Damage, Index};

use super::folder::segment_name;
use super::format::{RECORD_HEADER_BYTES, Record, payload_bytes};
use super::places::Stretch;
use super::view::Whereabouts;
use super::{Entry, Shared};

/// The most that one read takes from the disk at once, unless a single entry is longer.
const READ_BYTES_MAX: u64 = 4 << 20;

/// Why entries could not be read.
#[derive(Debug)]
pub enum WalReadError {
    /// The first of them is purged.
    Purged,
    /// They lie on the disk, and the read was [`Access::Cached`]: run it as a job.
    Cold,
    /// The bytes on the disk are not what was written.
    Damaged(Damage),
    /// The disk failed.
    Io(io::Error),
}

impl Display for WalReadError {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Purged => f.write_str("the entries are purged from the log"),
            Self::Cold => f.write_str("the entries are not in memory"),
            Self::Damaged(damage) => write!(f, "the write-ahead log is damaged in {damage}"),
            Self::Io(source) => write!(f, "read the write-ahead log: {source}"),
        }
    }
}

impl std::error::Error for WalReadError {}

/// Why a stretch could not be read.
enum StretchFault {
    Io(io::Error),
    Damaged { offset: u64, what: &'static str },
}

impl Shared {
    /// See [`super::Wal::read`].
    pub(super) fn read(
        &self,
        start: Index,
        end: Index,
        bytes_max: u64,
        access: Access,
    ) -> Result<Vec<Entry>, WalReadError> {
        let state = self.state();
        if start >= end {
            return Ok(Vec::new());
        }
        match state.view.whereabouts(start) {
            Whereabouts::Purged => return Err(WalReadError::Purged),
            Whereabouts::Beyond => return Ok(Vec::new()),
            Whereabouts::Memory => return Ok(state.view.tail_from(start, end, bytes_max)),
            Whereabouts::Disk => {}
        }
        if access == Access::Cached {
            return Err(WalReadError::Cold);
        }
        let end = end.min(state.view.tail_start());
        let bytes_max = bytes_max.min(READ_BYTES_MAX);
        let stretch = state.places.find(start, end.0 - start.0, bytes_max);
        let stretch = stretch.expect("an entry that is not in memory is on the disk");
        drop(state);
        match stretch.read(start, bytes_max) {
            Ok(entries) => Ok(entries),
            Err(StretchFault::Io(e)) => Err(WalReadError::Io(e)),
            Err(StretchFault::Damaged { .. }) if self.is_purged(start) => Err(WalReadError::Purged),
            Err(StretchFault::Damaged { offset, what }) => Err(WalReadError::Damaged(Damage {
                file: segment_name(stretch.segment.number),
                offset,
                what: what.to_owned(),
            })),
        }
    }

    fn is_purged(&self, index: Index) -> bool {
        self.state().view.whereabouts(index) == Whereabouts::Purged
    }
}

impl Stretch {
    /// Its entries, the first of which has the index `start`: one at least, and otherwise those
    /// that lie within `bytes_max`.
    fn read(&self, start: Index, bytes_max: u64) -> Result<Vec<Entry>, StretchFault> {
        let first = u64::from(self.offsets[0]);
        let header = self.bytes(first, RECORD_HEADER_BYTES as u64)?;
        let short = StretchFault::Damaged { offset: first, what: "a record is cut off" };
        let Some(payload) = payload_bytes(&header) else { return Err(short) };
        let least = (RECORD_HEADER_BYTES + payload) as u64;
        // The length is not checked yet, but it is not longer than the segment.
        if least > self.end.saturating_sub(first) {
            return Err(short);
        }
        let bytes = Bytes::from(self.bytes(first, least.max(bytes_max))?);
        let mut entries = Vec::with_capacity(self.offsets.len());
        for (offset, index) in self.offsets.iter().zip(start.0..) {
            let offset = u64::from(*offset);
            let at = usize::try_from(offset - first).unwrap_or(usize::MAX).min(bytes.len());
            let rest = bytes.slice(at..);
            let fault = match Record::decode(&rest, self.segment.seed, offset) {
                Ok((Record::Entry(entry), _)) if entry.position.index.0 == index => {
                    entries.push(entry);
                    continue;
                }
                Ok(_) => "the record is not the entry that was written here",
                Err(what) => what,
            };
            // A later entry may lie beyond what was read; if it is damaged, that is said when it
            // is the first one asked for.
            if entries.is_empty() {
                return Err(StretchFault::Damaged { offset, what: fault });
            }
            break;
        }
        Ok(entries)
    }

    /// Up to `bytes` of the segment from `offset` on.
    fn bytes(&self, offset: u64, bytes: u64) -> Result<Vec<u8>, StretchFault> {
        let bytes = bytes.min(self.end.saturating_sub(offset));
        let length = usize::try_from(bytes).expect("a segment fits into memory");
        let mut buffer = vec![0; length];
        let read = self.segment.file.read_at(&mut buffer, offset).map_err(StretchFault::Io)?;
        buffer.truncate(read);
        Ok(buffer)
    }
}
