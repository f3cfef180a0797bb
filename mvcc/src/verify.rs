//! Looking at every byte of a store that nobody serves: pages, records, footers, and whether tree
//! and log say the same, both ways. Nothing is changed.
//!
//! ```text
//!   each page of the two trees       checksum, order, links
//!   each segment                     header, each record, the footer that its records must have
//!   each put and delete in the log   has its cell, unless it is dead by the retention horizon
//!   as many cells as such records    so each cell has its record
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kstore_host::{Disk, OpenMode};

use crate::catalogue::{self, SegmentRow};
use crate::codec::wide;
use crate::keys::{Cell, CellKey, CellState, KeySpace, key_prefix, with_revision};
use crate::log::footer::{self, Entry};
use crate::log::record::{self, Record};
use crate::log::scan::Scan;
use crate::log::segment::{HEADER_BYTES, SegmentFile, SegmentHeader};
use crate::recover::{Home, find_home};
use crate::root::{Root, SlotFault};
use crate::tree::{PageStore, Tree};
use crate::{
    Access, Damage, OpenError, Options, Position, ReadError, RecordId, RecordKind, Revision,
};

/// More damage than this is not listed: the files are lost, whatever else is wrong.
const DAMAGES_MAX: usize = 1000;

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// The directory that was looked at: the home of the store that counts.
    pub home: PathBuf,
    /// The entry of the Raft log that the newest root is the outcome of.
    pub position: Option<Position>,
    /// The newest revision.
    pub revision: Revision,
    /// The compaction horizon.
    pub compacted: Revision,
    /// Segments of the revision log.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of these.
    pub record_bytes: u64,
    /// Cells of the state tree, side tables included.
    pub cells: u64,
    /// Pages of the state tree.
    pub pages: u64,
    /// Levels of the state tree.
    pub height: u8,
    /// What is wrong, at most a thousand findings. Empty: the store is sound.
    pub damages: Vec<Damage>,
}

impl VerifyReport {
    fn damaged(&mut self, file: &str, offset: u64, what: String) {
        if self.damages.len() < DAMAGES_MAX {
            self.damages.push(Damage { file: file.to_owned(), offset, what });
        }
    }
}

/// Looks at everything in a data directory that no process serves: the caller holds its lock.
pub fn verify(disk: &Arc<dyn Disk>, data_dir: &Path) -> Result<VerifyReport, OpenError> {
    let Some(home) = find_home(&**disk, data_dir, OpenMode::Read)? else {
        let path = data_dir.to_owned();
        return Err(OpenError::Damaged { path, what: "there is no store".to_owned() });
    };
    let root = home.roots.valid[0];
    let pages = PageStore::open_read_only(
        Arc::clone(disk),
        &home.path,
        root.lineage,
        Options::default().pages,
    );
    pages.check_versions()?;
    let mut report = VerifyReport {
        home: home.path.clone(),
        position: root.applied,
        revision: root.revision,
        compacted: root.compacted,
        ..VerifyReport::default()
    };
    for slot in &home.roots.damaged {
        let offset = wide(*slot) * 4096;
        report.damaged("root", offset, format!("slot {slot} is {}", SlotFault::Damaged));
    }
    let (matched, uncovered) = (0, BTreeMap::new());
    let mut check =
        Check { disk: &**disk, home: &home, root, pages: &pages, report, matched, uncovered };
    check.run()?;
    Ok(check.report)
}

struct Check<'a> {
    disk: &'a dyn Disk,
    home: &'a Home,
    root: Root,
    pages: &'a PageStore,
    report: VerifyReport,
    /// Records that have their cell.
    matched: u64,
    /// Puts at or below the retention horizon without a cell, and where they lie: each must be
    /// dead, that is, replaced by a record at or below the horizon.
    uncovered: BTreeMap<RecordId, (SegmentFile, u64)>,
}

impl Check<'_> {
    fn run(&mut self) -> Result<(), OpenError> {
        let cells = self.check_trees()?;
        let rows = match catalogue::segments(&Tree::at(self.root.catalogue), self.pages) {
            Ok(rows) => rows,
            Err(error) => {
                self.note(error)?;
                Vec::new()
            }
        };
        for row in &rows {
            self.check_sealed(row)?;
        }
        self.check_open()?;
        for (id, (file, offset)) in std::mem::take(&mut self.uncovered) {
            self.report.damaged(&file.name(), offset, no_cell(id));
        }
        let sound = self.report.damages.is_empty();
        if sound && cells != self.matched {
            let what = format!("{cells} cells of keys, but {} records for them", self.matched);
            self.report.damaged("state tree", 0, what);
        }
        Ok(())
    }

    /// Puts damage into the report; an error of the disk ends everything.
    fn note(&mut self, error: ReadError) -> Result<(), OpenError> {
        match error {
            ReadError::Io { file, source } => {
                Err(OpenError::Io { what: format!("read {file}"), source })
            }
            ReadError::Damaged(damage) => {
                self.report.damaged(&damage.file, damage.offset, damage.what);
                Ok(())
            }
            other => {
                self.report.damaged("state tree", 0, other.to_string());
                Ok(())
            }
        }
    }

    /// Checks both trees; returns how many cells of keys there are.
    fn check_trees(&mut self) -> Result<u64, OpenError> {
        let mut cells = 0;
        let mut visit = |key: &[u8], value: &[u8]| {
            if key < KeySpace::START {
                return Ok(());
            }
            cells += 1;
            let key = CellKey::decode(key).ok_or("malformed key of a cell")?;
            match Cell::decode(key.revision, value) {
                Some(_) => Ok(()),
                None => Err("malformed cell".to_owned()),
            }
        };
        match Tree::at(self.root.state).verify(self.pages, &mut visit) {
            Ok(tree) => {
                self.report.cells = tree.cells;
                self.report.pages = tree.pages;
                self.report.height = tree.height;
                for damage in tree.damages {
                    self.report.damaged(&damage.file, damage.offset, damage.what);
                }
            }
            Err(error) => self.note(error)?,
        }
        match Tree::at(self.root.catalogue).verify(self.pages, &mut |_, _| Ok(())) {
            Ok(tree) => {
                for damage in tree.damages {
                    self.report.damaged(&damage.file, damage.offset, damage.what);
                }
            }
            Err(error) => self.note(error)?,
        }
        Ok(cells)
    }

    fn check_sealed(&mut self, row: &SegmentRow) -> Result<(), OpenError> {
        self.report.segments += 1;
        let name = row.file.name();
        let Some(bytes) = self.read(row.file, row.sealed.length)? else { return Ok(()) };
        if let Err(error) = self.check_header(row.file, &bytes) {
            return self.fault(&name, error);
        }
        let data_end = usize::try_from(row.sealed.data_end).ok().filter(|end| *end <= bytes.len());
        let Some(data_end) = data_end else {
            self.report.damaged(&name, 0, "the catalogue names an end beyond it".to_owned());
            return Ok(());
        };
        let Some(entries) = self.check_records(row.file, &bytes.slice(..data_end))? else {
            return Ok(());
        };
        let ends = entries.first().zip(entries.last()).map(|(first, last)| (first.id, last.id));
        if ends != Some((row.first, row.sealed.last)) {
            self.report.damaged(&name, 0, "its records are not the catalogue's".to_owned());
            return Ok(());
        }
        // The footer follows from the records, byte by byte.
        let expected = footer::encode(row.file, &entries, row.sealed.data_end);
        let actual = &bytes[data_end..];
        if actual != expected.as_slice() {
            let same = actual.iter().zip(&expected).take_while(|(a, b)| a == b).count();
            let offset = row.sealed.data_end + wide(same);
            self.report.damaged(&name, offset, "footer does not match the records".to_owned());
        }
        Ok(())
    }

    fn check_header(&self, file: SegmentFile, bytes: &[u8]) -> Result<(), OpenError> {
        let header = usize::try_from(HEADER_BYTES).expect("a small number");
        let header = &bytes[..header.min(bytes.len())];
        let path = self.home.path.join(file.name());
        SegmentHeader::decode(header, &path, file, self.root.lineage).map(|_| ())
    }

    /// Puts what is wrong with a file into the report.
    fn fault(&mut self, name: &str, error: OpenError) -> Result<(), OpenError> {
        match error {
            OpenError::Damaged { what, .. } => {
                self.report.damaged(name, 0, what);
                Ok(())
            }
            other => Err(other),
        }
    }

    fn check_open(&mut self) -> Result<(), OpenError> {
        let end = self.root.log;
        if end.offset == 0 {
            return Ok(());
        }
        self.report.segments += 1;
        let scanned = Scan::run(self.disk, &self.home.path, self.root.lineage, end);
        if let Err(error) = scanned {
            return self.fault(&end.file.name(), error);
        }
        let Some(bytes) = self.read(end.file, end.offset)? else { return Ok(()) };
        self.check_records(end.file, &bytes)?;
        Ok(())
    }

    /// The first `length` bytes of a segment; `None` if it has fewer.
    fn read(&mut self, file: SegmentFile, length: u64) -> Result<Option<Bytes>, OpenError> {
        let name = file.name();
        let path = self.home.path.join(&name);
        let handle = match self.disk.open(&path, OpenMode::Read) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.report.damaged(&name, 0, "the file is missing".to_owned());
                return Ok(None);
            }
            other => other.map_err(OpenError::io("open", &path))?,
        };
        let there = handle.length().map_err(OpenError::io("measure", &path))?;
        let wanted = usize::try_from(length).ok().filter(|_| length <= there);
        let Some(wanted) = wanted else {
            self.report.damaged(&name, there, "the file ends too early".to_owned());
            return Ok(None);
        };
        let mut bytes = vec![0; wanted];
        handle.read_exact_at(&mut bytes, 0).map_err(OpenError::io("read", &path))?;
        Ok(Some(Bytes::from(bytes)))
    }

    /// Checks the records of a segment and compares them with the tree; `None` if they are
    /// damaged, since what follows damage cannot be told apart.
    fn check_records(
        &mut self,
        file: SegmentFile,
        bytes: &Bytes,
    ) -> Result<Option<Vec<Entry>>, OpenError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut at = usize::try_from(HEADER_BYTES).expect("a small number");
        while at < bytes.len() {
            let offset = wide(at);
            let length =
                record::record_length(&bytes[at..]).filter(|length| *length <= bytes.len() - at);
            let decoded = length.ok_or(record::RecordFault::Length).and_then(|length| {
                record::decode_checked(&bytes.slice(at..at + length), file.at(offset))
            });
            let record = match decoded {
                Ok((record, _)) => record,
                Err(fault) => {
                    self.report.damaged(&file.name(), offset, fault.what().to_owned());
                    return Ok(None);
                }
            };
            if entries.last().is_some_and(|last| last.id >= record.id) {
                self.report.damaged(&file.name(), offset, "record out of order".to_owned());
                return Ok(None);
            }
            at += length.expect("the record was decoded");
            self.report.records += 1;
            self.report.record_bytes += wide(at) - offset;
            let (id, kind, previous) = (record.id, record.kind, record.previous);
            entries.push(Entry { id, offset, kind, previous });
            self.check_cell(file, offset, &record)?;
        }
        Ok(Some(entries))
    }

    /// Whether the tree knows a record of a key as the log does.
    fn check_cell(
        &mut self,
        file: SegmentFile,
        offset: u64,
        record: &Record,
    ) -> Result<(), OpenError> {
        if !record.kind.is_change() {
            return Ok(());
        }
        let mut key = key_prefix(&record.key);
        with_revision(&mut key, record.id.revision);
        let found = Tree::at(self.root.state).get(self.pages, Access::Disk, &key);
        let cell = match found {
            Ok(cell) => cell.and_then(|bytes| Cell::decode(record.id.revision, &bytes)),
            // The walk over the tree has reported it.
            Err(ReadError::Damaged(_)) => return Ok(()),
            Err(error) => return self.note(error),
        };
        let retained = self.root.retained;
        if let Some(previous) = record.previous.filter(|_| record.id.revision <= retained) {
            self.uncovered.remove(&previous);
        }
        let Some(cell) = cell else {
            if record.id.revision > retained {
                self.report.damaged(&file.name(), offset, no_cell(record.id));
            } else if record.kind == RecordKind::Put {
                self.uncovered.insert(record.id, (file, offset));
            }
            return Ok(());
        };
        // A later change of the same key in the same revision has taken the cell over.
        if cell.sub > record.id.sub {
            return Ok(());
        }
        self.matched += 1;
        if cell.sub != record.id.sub || !agrees(&cell, record) {
            let what = format!("record {} and its cell in the state tree differ", record.id);
            self.report.damaged(&file.name(), offset, what);
        }
        Ok(())
    }
}

fn no_cell(id: RecordId) -> String {
    format!("record {id} has no cell in the state tree")
}

fn agrees(cell: &Cell, record: &Record) -> bool {
    match (cell.state, record.kind) {
        (CellState::Tombstone, RecordKind::Delete) => true,
        (CellState::Live(live), RecordKind::Put) => {
            live.create == record.create
                && live.version == record.version
                && live.lease == record.lease
                && live.value_length == wide(record.value.len())
        }
        _ => false,
    }
}
