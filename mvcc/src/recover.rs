//! Opening a data directory: which home, which root, and what is cut off.
//!
//! ```text
//!   slots of the root file -> the two newest valid roots -> try the newest
//!        its files are damaged: make it void, try the one before, and say so
//!   chosen root: open pages, read the catalogue, scan the open segment up to the root's end
//!        remove the files that no kept root names
//!        bytes behind the end: the records before it go to the segment's next generation
//! ```
//!
//! The newest valid root is the state. What lies behind its positions is cut off and never looked
//! at; the Raft log carries the state on from the root's applied entry.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use kstore_host::{Disk, OpenMode};

use crate::catalogue::{self, SegmentRow};
use crate::checkpoint::{Checkpoint, PageSizes, Retiring, Tools};
use crate::home;
use crate::log::readers::{Chunk, Index, Log, State};
use crate::log::scan::{Scan, Tail};
use crate::log::segment::{HEADER_BYTES, Segment, SegmentFile};
use crate::log::writer::{LogEnd, LogWriter, Unsynced};
use crate::root::{Root, RootFile, SlotFault};
use crate::snapshot::Shared;
use crate::store::Store;
use crate::tree::{FileNumber, PageStore, PageWriter, Tree};
use crate::{Access, OpenError, Opening, Options, ReadError, StoreIdentity};

/// Why a root cannot be used.
pub(crate) enum Unusable {
    /// Its files are not what it says: the root before may do.
    Damaged(String),
    /// Nothing is wrong with the root itself, and no other one would help.
    Open(OpenError),
}

impl From<OpenError> for Unusable {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Damaged { path, what } => {
                Self::Damaged(format!("{}: {what}", path.display()))
            }
            other => Self::Open(other),
        }
    }
}

impl From<ReadError> for Unusable {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io { file, source } => {
                Self::Open(OpenError::Io { what: format!("read {file}"), source })
            }
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// What a root file holds.
pub(crate) struct Roots {
    /// The valid roots, newest first.
    pub(crate) valid: Vec<Root>,
    pub(crate) damaged: BTreeSet<usize>,
}

impl Roots {
    pub(crate) fn of(slots: &[Result<Root, SlotFault>]) -> Self {
        let mut valid: Vec<Root> = slots.iter().filter_map(|slot| slot.ok()).collect();
        valid.sort_by_key(|root| std::cmp::Reverse(root.generation));
        let damaged =
            slots.iter().enumerate().filter(|(_, slot)| **slot == Err(SlotFault::Damaged));
        Self { valid, damaged: damaged.map(|(n, _)| n).collect() }
    }

    /// The root before `root`, if it is there.
    pub(crate) fn before(&self, root: &Root) -> Option<Root> {
        self.valid.iter().find(|one| one.generation + 1 == root.generation).copied()
    }

    /// Whether the slot that the root after `root` would be in is damaged: that root may have
    /// been whole once, or never.
    pub(crate) fn lost_after(&self, root: &Root) -> Option<usize> {
        let next = (root.generation + 1) % 4;
        self.damaged.iter().copied().find(|slot| crate::codec::wide(*slot) == next)
    }
}

/// The home that counts.
pub(crate) struct Home {
    pub(crate) path: PathBuf,
    pub(crate) root_file: RootFile,
    pub(crate) roots: Roots,
}

impl Store {
    /// Opens the store of a data directory, or makes a new one. The caller holds the lock of the
    /// directory. `fresh` is drawn anew for each call; it names a new store, and it sets files
    /// written from now on apart from those that an earlier process may have left.
    pub fn open(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        options: Options,
        fresh: StoreIdentity,
    ) -> Result<(Self, Opening), OpenError> {
        let home = match find_home(&*disk, data_dir, OpenMode::ReadWrite)? {
            Some(home) => home,
            None => make_home(&*disk, data_dir, &options, fresh)?,
        };
        remove_other_homes(&*disk, data_dir, &home.path)?;
        Opener { disk, home, options, fresh }.open()
    }
}

/// The highest home with a valid root. `None` if there is nothing to be opened, only perhaps the
/// beginnings of a home.
pub(crate) fn find_home(
    disk: &dyn Disk,
    data_dir: &Path,
    mode: OpenMode,
) -> Result<Option<Home>, OpenError> {
    let mut ruin = None;
    for number in home::list(disk, data_dir)? {
        let path = home::path(data_dir, number);
        let files = home::files(disk, &path)?;
        if files.iter().any(|name| name == home::ROOT) {
            let (root_file, slots) = RootFile::open(disk, &path, mode)?;
            let roots = Roots::of(&slots);
            if !roots.valid.is_empty() {
                return Ok(Some(Home { path, root_file, roots }));
            }
        }
        // A home is made without files but its root, and an image is installed with its root
        // last while the home before it is still there. Any other home without a root is a ruin.
        if files.iter().any(|name| name != home::ROOT) {
            ruin = Some(path);
        }
    }
    match ruin {
        None => Ok(None),
        Some(path) => {
            let what = "it has files, but no valid root".to_owned();
            Err(OpenError::Damaged { path, what })
        }
    }
}

fn make_home(
    disk: &dyn Disk,
    data_dir: &Path,
    options: &Options,
    fresh: StoreIdentity,
) -> Result<Home, OpenError> {
    let path = home::path(data_dir, home::FIRST);
    disk.create_dir(&path).map_err(OpenError::io("create", &path))?;
    for name in home::files(disk, &path)? {
        let file = path.join(name);
        disk.remove_file(&file).map_err(OpenError::io("remove", &file))?;
    }
    let root = Root::fresh(fresh.store, fresh.lineage, LogEnd::empty(options));
    let root_file = RootFile::create(disk, &path, &[root])?;
    disk.sync_dir(&path).map_err(OpenError::io("sync", &path))?;
    disk.sync_dir(data_dir).map_err(OpenError::io("sync", data_dir))?;
    let roots = Roots { valid: vec![root], damaged: BTreeSet::new() };
    Ok(Home { path, root_file, roots })
}

fn remove_other_homes(disk: &dyn Disk, data_dir: &Path, kept: &Path) -> Result<(), OpenError> {
    for number in home::list(disk, data_dir)? {
        let path = home::path(data_dir, number);
        if path != kept {
            home::remove(disk, &path)?;
        }
    }
    Ok(())
}

/// The files of a root, opened and checked.
struct Loaded {
    pages: PageStore,
    writer: PageWriter,
    catalogue: Tree,
    rows: Vec<SegmentRow>,
    scan: Option<Scan>,
}

struct Opener {
    disk: Arc<dyn Disk>,
    home: Home,
    options: Options,
    fresh: StoreIdentity,
}

impl Opener {
    fn open(self) -> Result<(Store, Opening), OpenError> {
        let newest = self.home.roots.valid[0];
        let damaged = |what| OpenError::Damaged { path: self.home.path.clone(), what };
        match self.load(&newest) {
            Ok(loaded) => {
                let lost = self.home.roots.lost_after(&newest);
                let fell_back = lost.map(|slot| {
                    let path = self.home.path.join(home::ROOT);
                    format!("slot {slot} of {} is damaged; {}", path.display(), went_on(&newest))
                });
                // If there was a newer root, the files of the one before may be gone.
                let second = match lost {
                    None => self.home.roots.before(&newest),
                    Some(_) => None,
                };
                self.serve(newest, second, loaded, fell_back)
            }
            Err(Unusable::Open(error)) => Err(error),
            Err(Unusable::Damaged(why)) => {
                let Some(second) = self.home.roots.before(&newest) else {
                    return Err(damaged(why));
                };
                let loaded = match self.load(&second) {
                    Ok(loaded) => loaded,
                    Err(Unusable::Open(error)) => return Err(error),
                    Err(Unusable::Damaged(again)) => {
                        return Err(damaged(format!("{why}; and the root before: {again}")));
                    }
                };
                let path = self.home.path.join(home::ROOT);
                self.home.root_file.make_void(&newest).map_err(OpenError::io("write", &path))?;
                let fell_back = Some(format!("{why}; {}", went_on(&second)));
                self.serve(second, None, loaded, fell_back)
            }
        }
    }

    /// Opens everything that a root names, without changing a file that it names.
    fn load(&self, root: &Root) -> Result<Loaded, Unusable> {
        let (pages, writer) = PageStore::open(
            Arc::clone(&self.disk),
            &self.home.path,
            root.lineage,
            self.options.pages.clone(),
            root.pages,
            self.seed(root),
        )?;
        let catalogue = Tree::at(root.catalogue);
        let rows = catalogue::segments(&catalogue, &pages)?;
        check_order(&rows, root)?;
        let names: BTreeSet<String> =
            home::files(&*self.disk, &self.home.path)?.into_iter().collect();
        if let Some(row) = rows.iter().find(|row| !names.contains(&row.file.name())) {
            return Err(Unusable::Damaged(format!("{} is missing", row.file)));
        }
        // Reads the root page.
        Tree::at(root.state).get(&pages, Access::Disk, &[])?;
        let scan = match root.log.offset {
            0 => None,
            _ => Some(Scan::run(&*self.disk, &self.home.path, root.lineage, root.log)?),
        };
        Ok(Loaded { pages, writer, catalogue, rows, scan })
    }

    /// A number that no earlier process used for its page files.
    fn seed(&self, root: &Root) -> u64 {
        let mut bytes = [0; 8];
        let mixed = self.fresh.store.0 ^ root.store.0.rotate_left(64);
        bytes.copy_from_slice(&mixed.to_le_bytes()[..8]);
        u64::from_le_bytes(bytes) ^ root.generation
    }

    fn serve(
        self,
        mut root: Root,
        second: Option<Root>,
        loaded: Loaded,
        fell_back: Option<String>,
    ) -> Result<(Store, Opening), OpenError> {
        let Loaded { pages, writer, catalogue, rows, scan } = loaded;
        let mut kept = named(&rows, &root);
        let there = self.segments()?;
        let second = second.and_then(|second| usable(second, &pages, &there));
        // What only that root names goes when it is not one of the two newest any more.
        let mut retiring = Vec::new();
        for (second, names) in second.iter() {
            let generation = second.generation;
            let only = names.difference(&kept).map(|file| Retiring { file: *file, generation });
            retiring.extend(only);
        }
        let second = second.map(|(second, names)| {
            kept.extend(names);
            second
        });
        // Names that a lost future has used are not used again.
        self.remove_all_but(&there, &kept)?;
        let same = there.iter().filter(|file| file.number == root.log.file.number);
        let generation = same.map(|file| file.generation + 1).max().unwrap_or(0);
        let next_number = there.iter().map(|file| file.number + 1).max().unwrap_or(0);
        root.log.next_number = root.log.next_number.max(next_number);
        let tail = match scan {
            Some(scan) => {
                let home = &self.home.path;
                let mut tail = scan.into_tail(&*self.disk, home, root.lineage, generation)?;
                tail.end.next_number = root.log.next_number;
                Some(tail)
            }
            None => {
                root.log.file.generation = generation;
                None
            }
        };
        let closed = page_bytes(&*self.disk, &pages)?;
        let first_page_file = root.pages.next;
        let catalogued = rows.len();
        let Resumed { state, end, unsynced, replaced } =
            Resumed::at(&root, &rows, tail, self.options.recent_bytes);
        retiring.extend(replaced);
        let home = self.home.path.clone();
        let log = Arc::new(Log::new(Arc::clone(&self.disk), home.clone(), &self.options, state));
        let shared = Arc::new(Shared {
            disk: Arc::clone(&self.disk),
            home: home.clone(),
            pages,
            log: Arc::clone(&log),
            page_bytes: AtomicU64::new(closed),
            first_page_file,
        });
        let log = LogWriter::new(
            Arc::clone(&self.disk),
            home,
            root.lineage,
            log,
            end,
            unsynced,
            &self.options,
        );
        let tools = Tools { pages: writer, catalogue, sizes: PageSizes { closed, last: None } };
        let checkpoint =
            Checkpoint::new(self.home.root_file, root, second, tools, catalogued, retiring);
        let opening = Opening {
            position: root.applied,
            second_position: second.and_then(|second| second.applied),
            chain: root.chain,
            revision: root.revision,
            fell_back,
        };
        Ok((Store::at_root(&root, shared, log, checkpoint, self.options), opening))
    }

    /// The segments that are there.
    fn segments(&self) -> Result<Vec<SegmentFile>, OpenError> {
        let names = home::files(&*self.disk, &self.home.path)?;
        Ok(names.iter().filter_map(|name| SegmentFile::from_name(name)).collect())
    }

    /// Removes those of the segments that no root names.
    fn remove_all_but(
        &self,
        there: &[SegmentFile],
        kept: &BTreeSet<SegmentFile>,
    ) -> Result<(), OpenError> {
        for file in there.iter().filter(|file| !kept.contains(file)) {
            let path = self.home.path.join(file.name());
            self.disk.remove_file(&path).map_err(OpenError::io("remove", &path))?;
        }
        Ok(())
    }
}

fn went_on(root: &Root) -> String {
    match root.applied {
        Some(position) => format!("went back to the root of entry {position}"),
        None => "went back to the empty store".to_owned(),
    }
}

/// A root to go back to, with the segments that it names. It is none if its catalogue cannot be
/// read or its files are gone, as those of older roots are once a start went back.
fn usable(
    root: Root,
    pages: &PageStore,
    there: &[SegmentFile],
) -> Option<(Root, BTreeSet<SegmentFile>)> {
    let rows = catalogue::segments(&Tree::at(root.catalogue), pages).ok()?;
    let names = named(&rows, &root);
    names.iter().all(|file| there.contains(file)).then_some((root, names))
}

/// The segments that a root names.
fn named(rows: &[SegmentRow], root: &Root) -> BTreeSet<SegmentFile> {
    let open = (root.log.offset > 0).then_some(root.log.file);
    rows.iter().map(|row| row.file).chain(open).collect()
}

/// Segments follow one another, and the open one follows them all.
fn check_order(rows: &[SegmentRow], root: &Root) -> Result<(), Unusable> {
    let fault = |file: SegmentFile| Unusable::Damaged(format!("catalogue: {file} is out of order"));
    for pair in rows.windows(2) {
        if pair[0].sealed.last >= pair[1].first {
            return Err(fault(pair[1].file));
        }
    }
    for row in rows {
        if row.first > row.sealed.last || row.file.number >= root.log.file.number {
            return Err(fault(row.file));
        }
    }
    Ok(())
}

/// What the page files weigh together.
fn page_bytes(disk: &dyn Disk, pages: &PageStore) -> Result<u64, OpenError> {
    let dir = pages.path(FileNumber(0));
    let mut bytes = 0;
    for number in pages.files().map_err(OpenError::io("list", &dir))? {
        let path = pages.path(number);
        let file = disk.open(&path, OpenMode::Read).map_err(OpenError::io("open", &path))?;
        bytes += file.length().map_err(OpenError::io("measure", &path))?;
    }
    Ok(bytes)
}

/// The log as it goes on.
struct Resumed {
    state: State,
    end: LogEnd,
    unsynced: Unsynced,
    /// The file whose records were copied.
    replaced: Option<Retiring>,
}

impl Resumed {
    fn at(root: &Root, rows: &[SegmentRow], tail: Option<Tail>, recent_bytes: usize) -> Self {
        let sealed = |row: &SegmentRow| Arc::new(Segment::sealed(row.file, row.first, row.sealed));
        let mut state = State { segments: rows.iter().map(sealed).collect(), ..State::default() };
        let Some(Tail { end, records, entries, unsynced, replaced }) = tail else {
            let unsynced = Unsynced::default();
            return Self { state, end: root.log, unsynced, replaced: None };
        };
        let first = entries.first().expect("an open segment with bytes has a record").id;
        let segment = Arc::new(Segment::open(end.file, first, end.limit));
        state.segments.push(Arc::clone(&segment));
        state.indexes.push_back(Index { segment, entries, end: end.offset });
        if records.len() <= recent_bytes {
            state.chunk_bytes = records.len();
            state.written = 1;
            state.chunks.push_back(Chunk { file: end.file, offset: HEADER_BYTES, bytes: records });
        }
        let generation = root.generation;
        let replaced = replaced.map(|file| Retiring { file, generation });
        Self { state, end, unsynced, replaced }
    }
}
