//! Page files as readers see them: open files, checks, and the cache.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kstore_host::{Disk, File, OpenMode};

use super::cache::Cache;
use super::options::PageOptions;
use super::page::{self, PAGE_HEADER, PAGE_MAX, Page, Shape};
use super::place::{FileNumber, PagesEnd, Place};
use super::writer::PageWriter;
use crate::{Access, Damage, Lineage, OpenError, ReadError};

/// The length of the header of a page file.
pub(super) const FILE_HEADER: usize = 64;

/// The version of the format that is written, and the only one that is read.
const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"kstorepg";

/// The stored pages of one store: shared by all readers and by the writer of checkpoints.
#[derive(Debug)]
pub(crate) struct PageStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    lineage: Lineage,
    options: PageOptions,
    cache: Cache,
    /// Files open for reading, at most `options.open_files`; the one with the lowest number is
    /// closed first.
    files: Mutex<BTreeMap<FileNumber, Arc<PageFile>>>,
}

/// A page file whose header was checked.
#[derive(Debug)]
struct PageFile {
    file: Arc<dyn File>,
    /// Goes into each checksum, so that a page of another file is never right here.
    seed: u64,
}

/// The header of a page file.
pub(super) struct FileHeader {
    pub(super) number: FileNumber,
    pub(super) lineage: Lineage,
    pub(super) seed: u64,
}

impl FileHeader {
    pub(super) fn encode(&self) -> [u8; FILE_HEADER] {
        let mut out = [0; FILE_HEADER];
        out[0..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.number.0.to_le_bytes());
        out[16..32].copy_from_slice(&self.lineage.0.to_le_bytes());
        out[32..40].copy_from_slice(&self.seed.to_le_bytes());
        let checksum = crc32fast::hash(&out[..FILE_HEADER - 4]);
        out[FILE_HEADER - 4..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a header that should be that of file `number` of `lineage`; returns its seed.
    fn decode(
        bytes: &[u8; FILE_HEADER],
        number: FileNumber,
        lineage: Lineage,
    ) -> Result<u64, String> {
        let version = Self::version(bytes)?;
        if version != FORMAT_VERSION {
            return Err(format!("format version {version}, not {FORMAT_VERSION}"));
        }
        let mut seed = [0; 8];
        seed.copy_from_slice(&bytes[32..40]);
        let seed = u64::from_le_bytes(seed);
        let expected = Self { number, lineage, seed }.encode();
        if expected != *bytes {
            return Err("file header of another file or another store".to_owned());
        }
        Ok(seed)
    }
}

impl FileHeader {
    /// The format version that a sound header states.
    fn version(bytes: &[u8; FILE_HEADER]) -> Result<u32, &'static str> {
        if bytes[0..8] != MAGIC {
            return Err("not a page file");
        }
        if crc32fast::hash(&bytes[..FILE_HEADER - 4]).to_le_bytes() != bytes[FILE_HEADER - 4..] {
            return Err("file header checksum mismatch");
        }
        Ok(u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]))
    }
}

/// The checksum of a page: over its position and everything behind the checksum itself.
pub(super) fn page_checksum(seed: u64, file: FileNumber, offset: u32, page: &[u8]) -> u32 {
    let mut position = [0; 16];
    position[0..8].copy_from_slice(&seed.to_le_bytes());
    position[8..12].copy_from_slice(&file.0.to_le_bytes());
    position[12..16].copy_from_slice(&offset.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&position);
    hasher.update(&page[4..]);
    hasher.finalize()
}

impl PageStore {
    /// Opens the page files in `dir` up to `end`, as the root has it, and deletes those behind:
    /// what no root names is cut off. `seed` must differ from one start to the next; it marks
    /// the files that this one will write.
    ///
    /// The writer's first page begins a new file: a file that a root names is never written to by
    /// a later process, whatever a crash left behind its end.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        lineage: Lineage,
        options: PageOptions,
        end: PagesEnd,
        seed: u64,
    ) -> Result<(Self, PageWriter), OpenError> {
        let writer = PageWriter::new(Arc::clone(&disk), dir, lineage, &options, end, seed);
        let store = Self::open_read_only(disk, dir, lineage, options);
        store.check_versions()?;
        store.cut_off(end)?;
        Ok((store, writer))
    }

    /// Opens the page files in `dir` as they are, to read and never to write.
    pub(crate) fn open_read_only(
        disk: Arc<dyn Disk>,
        dir: &Path,
        lineage: Lineage,
        options: PageOptions,
    ) -> Self {
        let files = Mutex::new(BTreeMap::new());
        let cache = Cache::new(options.cache_bytes);
        Self { disk, dir: dir.to_owned(), lineage, options, cache, files }
    }

    /// Refuses files of another format: nothing is wrong with them, and no older root would help.
    /// What is damaged is not this one's concern: it shows when a page is read.
    pub(crate) fn check_versions(&self) -> Result<(), OpenError> {
        for number in self.files().map_err(OpenError::io("list", &self.dir))? {
            let path = self.path(number);
            let mut header = [0; FILE_HEADER];
            let file = self.disk.open(&path, OpenMode::Read);
            match file.and_then(|file| file.read_exact_at(&mut header, 0)) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                read => read.map_err(OpenError::io("read", &path))?,
            }
            if let Ok(found) = FileHeader::version(&header)
                && found != FORMAT_VERSION
            {
                return Err(OpenError::OtherFormat { path, found, expected: FORMAT_VERSION });
            }
        }
        Ok(())
    }

    /// Deletes the page files that were begun after the root.
    fn cut_off(&self, end: PagesEnd) -> Result<(), OpenError> {
        let files = self.files().map_err(OpenError::io("list", &self.dir))?;
        let mut cut = false;
        for number in files.into_iter().filter(|number| *number >= end.next) {
            let path = self.path(number);
            self.disk.remove_file(&path).map_err(OpenError::io("remove", &path))?;
            cut = true;
        }
        if cut {
            self.disk.sync_dir(&self.dir).map_err(OpenError::io("sync", &self.dir))?;
        }
        Ok(())
    }

    /// The sizes in force.
    pub(crate) fn options(&self) -> &PageOptions {
        &self.options
    }

    /// Bytes of pages in the cache.
    #[cfg(test)]
    pub(crate) fn cached_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// The page files there are.
    pub(crate) fn files(&self) -> io::Result<Vec<FileNumber>> {
        let entries = self.disk.read_dir(&self.dir)?;
        Ok(entries.iter().filter_map(|entry| FileNumber::of_name(&entry.name)).collect())
    }

    /// Where a page file lies, such as to link it into an image.
    pub(crate) fn path(&self, number: FileNumber) -> PathBuf {
        self.dir.join(number.name())
    }

    /// Removes a page file that no root names any more. The caller syncs the directory.
    #[cfg_attr(
        not(test),
        allow(dead_code, reason = "files are reclaimed by a part of the store to come")
    )]
    pub(crate) fn remove(&self, number: FileNumber) -> io::Result<()> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        self.cache.forget(number);
        self.disk.remove_file(&self.path(number))
    }

    /// The page at `place`, from memory if it is there.
    pub(super) fn load(
        &self,
        place: &Place,
        shape: Shape,
        access: Access,
    ) -> Result<Arc<Page>, ReadError> {
        let page = match (self.cache.find(place), access) {
            (Some(page), _) => page,
            (None, Access::Cached) => return Err(ReadError::Cold),
            (None, Access::Disk) => {
                let page = Arc::new(self.read(place)?);
                self.cache.insert(place, Arc::clone(&page));
                page
            }
        };
        if !shape.fits(&page) {
            return Err(damaged(place.file, place.offset, "a page of another level"));
        }
        Ok(page)
    }

    /// Keeps a page that was just written.
    pub(super) fn keep(&self, place: &Place, page: Arc<Page>) {
        self.cache.insert(place, page);
    }

    /// Reads the page at `place` from the disk, past the cache, and checks it.
    pub(super) fn read(&self, place: &Place) -> Result<Page, ReadError> {
        let Place { file: number, offset, .. } = *place;
        let length = place.length as usize;
        if !(PAGE_HEADER..=PAGE_MAX).contains(&length) || (offset as usize) < FILE_HEADER {
            return Err(damaged(number, offset, "a place where no page can be"));
        }
        let file = self.file(number)?;
        let mut bytes = vec![0; length];
        file.file
            .read_exact_at(&mut bytes, u64::from(offset))
            .map_err(|error| read_error(number, offset, error))?;
        let checksum = page_checksum(file.seed, number, offset, &bytes);
        if bytes[0..4] != checksum.to_le_bytes() {
            return Err(damaged(number, offset, "page checksum mismatch"));
        }
        if checksum != place.checksum || bytes[4..8] != place.length.to_le_bytes() {
            return Err(damaged(number, offset, "another page than the one meant"));
        }
        let body = page::decode(&bytes).map_err(|what| damaged(number, offset, what))?;
        let page = Page::stored(*place, body);
        if page.overflows() != place.overflows {
            return Err(damaged(number, offset, "overflow pages that the parent does not know of"));
        }
        Ok(page)
    }

    fn file(&self, number: FileNumber) -> Result<Arc<PageFile>, ReadError> {
        let open = || self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open().get(&number) {
            return Ok(Arc::clone(file));
        }
        // Not under the lock: two threads may open the same file, and one handle is dropped.
        let file = self
            .disk
            .open(&self.path(number), OpenMode::Read)
            .map_err(|error| read_error(number, 0, error))?;
        let mut header = [0; FILE_HEADER];
        file.read_exact_at(&mut header, 0).map_err(|error| read_error(number, 0, error))?;
        let seed = FileHeader::decode(&header, number, self.lineage)
            .map_err(|what| damaged(number, 0, what))?;
        let file = Arc::new(PageFile { file, seed });
        let mut files = open();
        while files.len() >= self.options.open_files.max(1) {
            files.pop_first();
        }
        files.insert(number, Arc::clone(&file));
        Ok(file)
    }
}

pub(super) fn damaged(file: FileNumber, offset: u32, what: impl Display) -> ReadError {
    let what = what.to_string();
    ReadError::Damaged(Damage { file: file.name(), offset: u64::from(offset), what })
}

/// A file that is missing or too short is damage: a root named what lay there.
fn read_error(number: FileNumber, offset: u32, source: io::Error) -> ReadError {
    match source.kind() {
        io::ErrorKind::NotFound => damaged(number, offset, "the file is missing"),
        io::ErrorKind::UnexpectedEof => damaged(number, offset, "the file ends too early"),
        _ => ReadError::Io { file: number.name(), source },
    }
}
