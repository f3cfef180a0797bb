//! Reading the revision log in order.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::wide;
use crate::log::readers::{Log, damage};
use crate::log::record::{self, LENGTH_END, Record};
use crate::log::segment::{HEADER_BYTES, Segment};
use crate::{Access, ReadError, RecordId};

/// How much is read from a file at a time; a longer record is read on its own.
const READ_AHEAD: u64 = 128 << 10;

/// A record with what surrounds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) record: Record,
    /// Its bytes in the log.
    pub(crate) length: u64,
    /// The checksum of its content if it was read from a file; records in memory are not summed.
    pub(crate) digest: Option<u32>,
}

/// Walks over settled records in order.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    log: &'a Log,
    access: Access,
    /// The current segment and where in it the next record begins; `None` before the first one
    /// was looked for and after the last.
    at: Option<(Arc<Segment>, u64)>,
    /// Bytes from `at` on, as far as they were fetched.
    buffer: Bytes,
    /// Where the run of bytes ends that `buffer` is the front of.
    limit: u64,
    /// Whether `buffer` came from a file and must be checked.
    from_file: bool,
}

impl<'a> Cursor<'a> {
    /// A cursor on the first record at or after `from`.
    pub(crate) fn seek(log: &'a Log, from: RecordId, access: Access) -> Result<Self, ReadError> {
        let mut cursor =
            Self { log, access, at: None, buffer: Bytes::new(), limit: 0, from_file: false };
        let first = log.state().first_from(from);
        let Some(segment) = first else { return Ok(cursor) };
        if segment.first >= from {
            cursor.at = Some((segment, HEADER_BYTES));
            return Ok(cursor);
        }
        match log.seek(&segment, from, access)? {
            Some(offset) => cursor.at = Some((segment, offset)),
            None => cursor.enter_after(&segment),
        }
        Ok(cursor)
    }

    /// The next record; `None` where the settled log ends.
    pub(crate) fn next(&mut self) -> Result<Option<Stored>, ReadError> {
        loop {
            let Some((segment, offset)) = self.at.clone() else { return Ok(None) };
            let end = self.log.state().data_end(&segment);
            if offset >= end {
                self.enter_after(&segment);
                continue;
            }
            if self.buffer.is_empty() {
                self.fetch(&segment, offset, end, READ_AHEAD)?;
            }
            if let Some(stored) = self.decode(&segment, offset)? {
                self.at = Some((segment, offset + stored.length));
                return Ok(Some(stored));
            }
        }
    }

    /// Decodes the record at the front of the buffer, or fetches the rest of it.
    fn decode(&mut self, segment: &Segment, offset: u64) -> Result<Option<Stored>, ReadError> {
        let end = self.limit;
        let damaged = |what: &str| damage(segment.file, offset, what);
        let length = if self.buffer.len() < LENGTH_END {
            LENGTH_END
        } else {
            record::record_length(&self.buffer)
                .filter(|length| wide(*length) <= end - offset)
                .ok_or_else(|| damaged("record length out of bounds"))?
        };
        if self.buffer.len() < length {
            if wide(self.buffer.len()) == end - offset {
                return Err(damaged("record cut short"));
            }
            self.fetch(segment, offset, end, READ_AHEAD.max(wide(length)))?;
            return Ok(None);
        }
        let bytes = self.buffer.split_to(length);
        let length = wide(length);
        if !self.from_file {
            let record = record::decode(&bytes).expect("bytes in memory are as they were encoded");
            return Ok(Some(Stored { record, length, digest: None }));
        }
        let (record, digest) = record::decode_checked(&bytes, segment.file.at(offset))
            .map_err(|fault| damaged(fault.what()))?;
        Ok(Some(Stored { record, length, digest: Some(digest) }))
    }

    /// Fills the buffer from `offset` on.
    fn fetch(
        &mut self,
        segment: &Segment,
        offset: u64,
        end: u64,
        wanted: u64,
    ) -> Result<(), ReadError> {
        let (memory, in_file) = {
            let state = self.log.state();
            (state.bytes_at(segment.file, offset), state.next_in_memory(segment.file, offset))
        };
        if let Some(bytes) = memory {
            self.limit = offset + wide(bytes.len());
            self.buffer = bytes;
            self.from_file = false;
            return Ok(());
        }
        if self.access == Access::Cached {
            return Err(ReadError::Cold);
        }
        self.limit = in_file.map_or(end, |start| start.min(end));
        self.buffer = self.log.read(segment.file, offset, wanted.min(self.limit - offset))?;
        self.from_file = true;
        Ok(())
    }

    /// Goes to the first record of the segment after `segment`.
    fn enter_after(&mut self, segment: &Segment) {
        let state = self.log.state();
        let after = state.segments.partition_point(|one| one.first <= segment.first);
        self.at = state.segments.get(after).map(|next| (Arc::clone(next), HEADER_BYTES));
        self.buffer = Bytes::new();
    }
}
