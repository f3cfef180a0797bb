//! Appending pages to page files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kstore_host::{Disk, File, OpenMode};

use super::options::PageOptions;
use super::page::{self, Page};
use super::place::{FileNumber, PagesEnd, Place};
use super::store::{FILE_HEADER, FileHeader, page_checksum};
use crate::{Fatal, Lineage};

/// Pages are handed to the disk in pieces of about this size.
const BUFFER_BYTES: usize = 1 << 20;

/// After a sync the next page begins at a multiple of this. So no later write touches a sector,
/// or a page of the machine's cache, that holds synced pages: tearing it cannot tear them.
const ALIGNMENT: u64 = 4096;

/// A page file never grows beyond this: offsets have 32 bits.
const SEGMENT_MAX: u64 = 1 << 30;

/// The one who writes pages; owned by whoever runs the checkpoint.
///
/// Invariant: bytes below `at` of the active file are with the disk, the buffer follows at `at`,
/// and nothing is ever written twice.
#[derive(Debug)]
pub(crate) struct PageWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    lineage: Lineage,
    seed: u64,
    segment_bytes: u64,
    /// The end of what was synced or, for a new process, of what the root names.
    synced: PagesEnd,
    /// The number of the next file.
    next: FileNumber,
    active: Option<Active>,
    /// Files that were left since the last sync and are not synced yet.
    left: Vec<(FileNumber, Arc<dyn File>)>,
    /// Whether the directory has entries that are not synced.
    directory: Entries,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entries {
    Synced,
    New,
}

#[derive(Debug)]
struct Active {
    number: FileNumber,
    file: Arc<dyn File>,
    /// Where the buffer will be written.
    at: u64,
    buffer: Vec<u8>,
}

impl Active {
    fn end(&self) -> u64 {
        self.at + self.buffer.len() as u64
    }

    fn flush(&mut self) -> Result<(), Fatal> {
        if !self.buffer.is_empty() {
            self.file
                .write_at(&self.buffer, self.at)
                .map_err(Fatal::write("write", &self.number.name()))?;
            self.at = self.end();
            self.buffer.clear();
        }
        Ok(())
    }
}

impl PageWriter {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        lineage: Lineage,
        options: &PageOptions,
        end: PagesEnd,
        seed: u64,
    ) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            lineage,
            seed,
            segment_bytes: options.segment_bytes.min(SEGMENT_MAX),
            synced: end,
            next: end.next,
            active: None,
            left: Vec::new(),
            directory: Entries::Synced,
        }
    }

    /// Appends a page whose children and overflow pages are stored, and returns its place. The
    /// page may be read there only after [`PageWriter::flush`].
    pub(super) fn append(&mut self, page: &Page) -> Result<Place, Fatal> {
        let seed = self.seed;
        let active = self.active_for(page.encoded_len())?;
        let (file, offset) = (active.number, u32_of(active.end()));
        let start = active.buffer.len();
        page::encode(page, &mut active.buffer);
        let bytes = &mut active.buffer[start..];
        let length = u32_of(bytes.len() as u64);
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        let checksum = page_checksum(seed, file, offset, bytes);
        bytes[0..4].copy_from_slice(&checksum.to_le_bytes());
        if active.buffer.len() >= BUFFER_BYTES {
            active.flush()?;
        }
        Ok(Place { file, offset, length, checksum, overflows: page.overflows() })
    }

    /// Hands everything appended to the disk.
    pub(crate) fn flush(&mut self) -> Result<(), Fatal> {
        match &mut self.active {
            Some(active) => active.flush(),
            None => Ok(()),
        }
    }

    /// Where the appended pages end, durable or not.
    pub(crate) fn end(&self) -> PagesEnd {
        let active = self.active.as_ref().map(|active| (active.number, active.end()));
        PagesEnd { next: self.next, last: active.or(self.synced.last) }
    }

    /// Makes everything appended durable, and says where it ends.
    pub(crate) fn sync(&mut self) -> Result<PagesEnd, Fatal> {
        self.flush()?;
        for (number, file) in self.left.drain(..) {
            file.sync().map_err(Fatal::write("sync", &number.name()))?;
        }
        let mut last = self.synced.last;
        if let Some(active) = &mut self.active
            && last != Some((active.number, active.at))
        {
            let name = active.number.name();
            active.file.sync().map_err(Fatal::write("sync", &name))?;
            last = Some((active.number, active.at));
        }
        if self.directory == Entries::New {
            self.disk.sync_dir(&self.dir).map_err(Fatal::write("sync", "the directory"))?;
            self.directory = Entries::Synced;
        }
        self.synced = PagesEnd { next: self.next, last };
        Ok(self.synced)
    }

    /// The active file, a new one if there is none or a page of `length` would make it too long.
    fn active_for(&mut self, length: usize) -> Result<&mut Active, Fatal> {
        if let Some(active) = &mut self.active {
            if self.synced.last == Some((active.number, active.end())) {
                active.at = active.at.next_multiple_of(ALIGNMENT);
            }
            if active.end() + length as u64 > self.segment_bytes {
                active.flush()?;
                self.left.push((active.number, Arc::clone(&active.file)));
                self.active = None;
            }
        }
        if self.active.is_none() {
            self.active = Some(self.create()?);
        }
        Ok(self.active.as_mut().expect("just made sure of it"))
    }

    fn create(&mut self) -> Result<Active, Fatal> {
        let number = self.next;
        let file = self
            .disk
            .open(&self.dir.join(number.name()), OpenMode::CreateNew)
            .map_err(Fatal::write("create", &number.name()))?;
        self.next = FileNumber(number.0 + 1);
        self.directory = Entries::New;
        let header = FileHeader { number, lineage: self.lineage, seed: self.seed };
        Ok(Active { number, file, at: 0, buffer: header.encode().to_vec() })
    }
}

fn u32_of(bytes: u64) -> u32 {
    u32::try_from(bytes).expect("a page file ends below 1 GiB, and a page is shorter than that")
}

const _: () = assert!((FILE_HEADER as u64) < ALIGNMENT);
