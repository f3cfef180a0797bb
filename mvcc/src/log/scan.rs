//! Reading the open segment at start: its index is rebuilt from its records.

use std::path::Path;

use bytes::Bytes;
use kstore_host::{Disk, OpenMode};

use crate::codec::wide;
use crate::log::footer::Entry;
use crate::log::record::{self, CHECKSUM_BYTES};
use crate::log::segment::{HEADER_BYTES, SegmentFile, SegmentHeader};
use crate::log::writer::{LogEnd, Unsynced};
use crate::{Lineage, OpenError};

/// The records of the open segment up to where a root ends, checked.
#[derive(Debug)]
pub(crate) struct Scan {
    end: LogEnd,
    /// From the first record on.
    records: Vec<u8>,
    entries: Vec<Entry>,
    /// The checksum of each record's content.
    digests: Vec<u32>,
    /// The length of the file.
    length: u64,
}

/// The open segment, ready to be appended to.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) end: LogEnd,
    pub(crate) records: Bytes,
    pub(crate) entries: Vec<Entry>,
    /// What was written to get here.
    pub(crate) unsynced: Unsynced,
    /// The file whose records were copied to the next generation.
    pub(crate) replaced: Option<SegmentFile>,
}

impl Scan {
    /// Reads and checks everything up to `end`, which is not at the beginning of its segment.
    pub(crate) fn run(
        disk: &dyn Disk,
        home: &Path,
        lineage: Lineage,
        end: LogEnd,
    ) -> Result<Self, OpenError> {
        let path = home.join(end.file.name());
        let damaged = |what: String| OpenError::Damaged { path: path.clone(), what };
        let file = match disk.open(&path, OpenMode::Read) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(damaged("the file is missing".to_owned()));
            }
            other => other.map_err(OpenError::io("open", &path))?,
        };
        let length = file.length().map_err(OpenError::io("measure", &path))?;
        let wanted = usize::try_from(end.offset).ok().filter(|_| end.offset >= HEADER_BYTES);
        let wanted = wanted.filter(|_| end.offset <= length);
        let wanted = wanted.ok_or_else(|| {
            damaged(format!("it has {length} bytes, and the root names {}", end.offset))
        })?;
        let mut bytes = vec![0; wanted];
        file.read_exact_at(&mut bytes, 0).map_err(OpenError::io("read", &path))?;
        let header_end = usize::try_from(HEADER_BYTES).expect("a small number");
        let records = bytes.split_off(header_end);
        SegmentHeader::decode(&bytes, &path, end.file, lineage)?;
        let mut scan = Self { end, records, entries: Vec::new(), digests: Vec::new(), length };
        scan.check().map_err(|(offset, what)| damaged(format!("at offset {offset}: {what}")))?;
        Ok(scan)
    }

    fn check(&mut self) -> Result<(), (u64, &'static str)> {
        let records = Bytes::copy_from_slice(&self.records);
        let mut at = 0;
        while at < records.len() {
            let offset = HEADER_BYTES + wide(at);
            let fail = |what| (offset, what);
            let length = record::record_length(&records[at..])
                .filter(|length| *length <= records.len() - at)
                .ok_or_else(|| fail("record length out of bounds"))?;
            let bytes = records.slice(at..at + length);
            let (record, digest) = record::decode_checked(&bytes, self.end.file.at(offset))
                .map_err(|fault| fail(fault.what()))?;
            if self.entries.last().is_some_and(|last| last.id >= record.id) {
                return Err(fail("record out of order"));
            }
            let (id, kind, previous) = (record.id, record.kind, record.previous);
            self.entries.push(Entry { id, offset, kind, previous });
            self.digests.push(digest);
            at += length;
        }
        if self.entries.last().map(|entry| entry.id) != self.end.last {
            return Err((self.end.offset, "the last record is not the one that the root names"));
        }
        Ok(())
    }

    /// Makes the segment fit to be appended to. If the file goes on behind the end, it may have
    /// been sealed or linked, and anyway bytes that were written once must not come to lie at
    /// the same place again: then the records are written anew as `generation`, which is a new one.
    pub(crate) fn into_tail(
        self,
        disk: &dyn Disk,
        home: &Path,
        lineage: Lineage,
        generation: u32,
    ) -> Result<Tail, OpenError> {
        let Self { mut end, mut records, entries, digests, length } = self;
        let mut unsynced = Unsynced::default();
        let mut replaced = None;
        if length > end.offset {
            replaced = Some(end.file);
            end.file.generation = generation;
            for (entry, digest) in entries.iter().zip(digests) {
                let at = usize::try_from(entry.offset - HEADER_BYTES).expect("it lies in memory");
                let content = crc32fast::Hasher::new_with_initial(digest);
                let checksum = end.file.at(entry.offset).seal(content);
                records[at..at + CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
            }
            let path = home.join(end.file.name());
            let file =
                disk.open(&path, OpenMode::CreateNew).map_err(OpenError::io("create", &path))?;
            let header = SegmentHeader { lineage, file: end.file, limit: end.limit };
            file.write_at(&header.encode(), 0).map_err(OpenError::io("write", &path))?;
            file.write_at(&records, HEADER_BYTES).map_err(OpenError::io("write", &path))?;
            unsynced.files.insert(end.file, file);
            unsynced.names = true;
        }
        Ok(Tail { end, records: Bytes::from(records), entries, unsynced, replaced })
    }
}
