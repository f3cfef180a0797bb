//! Checkpoints: making a published state durable, beside the commands that go on.
//!
//! ```text
//!   apply lane    prepare ------------------------------------------> finish
//!                    \                                                 /
//!   a job             sync records -> write and sync pages -> write root -> sync root
//! ```
//!
//! The order of the syncs is the whole point: a root is written only when everything that it names
//! is durable, so a root that reads back right can be used. The Raft log carries the state on from
//! there; it must have flushed everything up to [`CheckpointJob::position`] before the job runs,
//! or a restart would find a state from a future that the log does not know.
//!
//! Invariant: one checkpoint at a time.
//! Invariant: a file is removed only when neither of the two newest roots, nor an image in
//! progress, names it. So going back to the root before the newest one always works.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use kstore_host::OpenMode;

use crate::catalogue::SegmentRow;
use crate::log::segment::SegmentFile;
use crate::log::writer::Unsynced;
use crate::planted;
use crate::root::{Root, RootFile};
use crate::snapshot::{Shared, View};
use crate::store::{Pending, Store};
use crate::tree::{FileNumber, PageWriter, Tree};
use crate::{DurableRoots, Fatal, Position};

/// The generations of roots whose files must stay although newer roots exist, and how many images
/// hold each.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pins {
    held: Arc<Mutex<BTreeMap<u64, usize>>>,
}

/// Keeps the files of one root while it lives.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Pins,
    generation: u64,
}

impl Pins {
    pub(crate) fn pin(&self, generation: u64) -> Pin {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held.entry(generation).or_default() += 1;
        Pin { pins: self.clone(), generation }
    }

    fn lowest(&self) -> Option<u64> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.first_key_value().map(|(generation, _)| *generation)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut held = self.pins.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.generation) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.generation);
            }
        }
    }
}

/// A file that newer roots do not name any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retiring {
    pub(crate) file: SegmentFile,
    /// The last root that names it.
    pub(crate) generation: u64,
}

/// How much the page files weigh.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageSizes {
    /// The files before `last` together.
    pub(crate) closed: u64,
    /// The file that was written last, if this process wrote any.
    pub(crate) last: Option<FileNumber>,
}

/// What a checkpoint works with; it goes from the store into the job and comes back.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) pages: PageWriter,
    pub(crate) catalogue: Tree,
    pub(crate) sizes: PageSizes,
}

/// The store's side of checkpoints.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) root_file: RootFile,
    /// The root that a restart would choose.
    pub(crate) newest: Root,
    /// The root that a restart would choose if the newest one were damaged.
    pub(crate) second: Option<Root>,
    /// `None` while a job has them.
    tools: Option<Tools>,
    /// How many of the log's segments, from the first, are in the catalogue.
    catalogued: usize,
    /// Whether something changed that the published position does not show: cells were swept.
    touched: Touched,
    /// At most a few: recovery makes one at a time.
    retiring: Vec<Retiring>,
    pub(crate) pins: Pins,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touched {
    No,
    Yes,
}

impl Checkpoint {
    pub(crate) fn new(
        root_file: RootFile,
        newest: Root,
        second: Option<Root>,
        tools: Tools,
        catalogued: usize,
        retiring: Vec<Retiring>,
    ) -> Self {
        Self {
            root_file,
            newest,
            second,
            tools: Some(tools),
            catalogued,
            touched: Touched::No,
            retiring,
            pins: Pins::default(),
        }
    }

    /// Notes that the published state changed although its position did not.
    pub(crate) fn touch(&mut self) {
        self.touched = Touched::Yes;
    }
}

/// A checkpoint to be run on another thread.
#[derive(Debug)]
pub struct CheckpointJob {
    shared: Arc<Shared>,
    unsynced: Unsynced,
    tools: Tools,
    tree: Tree,
    /// Complete but for the places of the trees and the end of the pages.
    root: Root,
    root_file: RootFile,
}

/// The outcome of a [`CheckpointJob`], to be handed back to the store.
#[derive(Debug)]
pub struct CheckpointDone {
    root: Root,
    tools: Tools,
}

impl CheckpointDone {
    /// The entry of the Raft log up to which everything is durable now.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.root.applied
    }
}

impl CheckpointJob {
    /// The entry of the Raft log that the state is the outcome of. The job may run only when the
    /// Raft log has made everything up to here durable.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.root.applied
    }

    /// Does the work. After an error nothing is known about the files: the member stops.
    pub fn run(self) -> Result<CheckpointDone, Fatal> {
        let Self { shared, unsynced, mut tools, tree, mut root, root_file } = self;
        for (file, handle) in &unsynced.files {
            handle.sync().map_err(Fatal::write("sync", &file.name()))?;
        }
        if unsynced.names {
            shared.disk.sync_dir(&shared.home).map_err(Fatal::write("sync", "the directory"))?;
        }
        let tree = tree.clean(&shared.pages, &mut tools.pages)?;
        tools.catalogue = tools.catalogue.clean(&shared.pages, &mut tools.pages)?;
        root.state = tree.root_place();
        root.catalogue = tools.catalogue.root_place();
        if planted::root_before_pages() {
            tools.pages.flush()?;
            root.pages = tools.pages.end();
            write_root(&root_file, &root)?;
            tools.pages.sync()?;
        } else {
            root.pages = tools.pages.sync()?;
            write_root(&root_file, &root)?;
        }
        tools.sizes.grow(&shared, &root)?;
        Ok(CheckpointDone { root, tools })
    }
}

/// Makes a root the newest durable one. Everything that it names is durable.
fn write_root(root_file: &RootFile, root: &Root) -> Result<(), Fatal> {
    root_file.write(root).map_err(Fatal::write("write", "the root"))?;
    root_file.sync().map_err(Fatal::write("sync", "the root"))
}

impl PageSizes {
    /// Counts the files that were written since the last checkpoint.
    fn grow(&mut self, shared: &Shared, root: &Root) -> Result<(), Fatal> {
        let Some((last, length)) = root.pages.last else { return Ok(()) };
        // Files of earlier processes are in `closed` already, and this one began a new file.
        let first = self.last.unwrap_or(shared.first_page_file);
        for number in first.0..last.0 {
            let path = shared.pages.path(FileNumber(number));
            let file = shared.disk.open(&path, OpenMode::Read);
            let closed = file.and_then(|file| file.length());
            self.closed += closed.map_err(Fatal::write("measure", &path.display().to_string()))?;
        }
        self.last = Some(last);
        shared.page_bytes.store(self.closed + length, Ordering::Relaxed);
        Ok(())
    }
}

impl Store {
    pub(crate) fn can_checkpoint(&self) -> bool {
        let changed = self.published.position != self.checkpoint.newest.applied;
        self.checkpoint.tools.is_some() && (changed || self.checkpoint.touched == Touched::Yes)
    }

    /// The published state as a checkpoint to be run. `None` if it is the newest root's already,
    /// or if another checkpoint is on its way.
    pub fn prepare_checkpoint(&mut self) -> Result<Option<CheckpointJob>, Fatal> {
        if !self.can_checkpoint() {
            return Ok(None);
        }
        let Some(mut tools) = self.checkpoint.tools.take() else { return Ok(None) };
        self.log.flush()?;
        let unsynced = self.log.take_unsynced();
        let view = Arc::clone(&self.published);
        for row in self.segments_to_catalogue(&view) {
            row.store(&mut tools.catalogue, &self.shared.pages)?;
            self.checkpoint.catalogued += 1;
        }
        self.checkpoint.touched = Touched::No;
        let newest = self.checkpoint.newest;
        let root = Root {
            generation: newest.generation + 1,
            store: newest.store,
            lineage: newest.lineage,
            state: None,
            catalogue: None,
            log: view.end,
            pages: newest.pages,
            revision: view.revision,
            compacted: view.compacted,
            retained: view.retained,
            swept: view.swept,
            dead_bytes: view.dead_bytes,
            applied: view.position,
            chain: view.chain,
        };
        Ok(Some(CheckpointJob {
            shared: Arc::clone(&self.shared),
            unsynced,
            tools,
            tree: view.tree.clone(),
            root,
            root_file: self.checkpoint.root_file.clone(),
        }))
    }

    /// The sealed segments before the one in which the view ends that the catalogue lacks.
    fn segments_to_catalogue(&self, view: &View) -> Vec<SegmentRow> {
        let state = self.shared.log.state();
        let new = state.segments.iter().skip(self.checkpoint.catalogued);
        new.take_while(|segment| segment.file.number != view.end.file.number)
            .map(|segment| {
                let sealed = segment.sealed.get().expect("the flush sealed all full segments");
                SegmentRow {
                    file: segment.file,
                    first: segment.first,
                    sealed: *sealed,
                    live_bytes: sealed.data_end,
                }
            })
            .collect()
    }

    /// Takes the outcome of a checkpoint back: its root is the newest durable one now.
    pub fn finish_checkpoint(&mut self, done: CheckpointDone) -> Result<(), Fatal> {
        let CheckpointDone { root, tools } = done;
        let checkpoint = &mut self.checkpoint;
        checkpoint.tools = Some(tools);
        checkpoint.second = Some(checkpoint.newest);
        checkpoint.newest = root;
        self.tree.settle();
        if self.pending == Pending::Nothing {
            // The same state again, without the pages that can be read from the disk now.
            self.publish_view(self.published.position, self.published.chain);
        }
        self.retire()
    }

    /// Removes the files that no root and no image needs any more. A crash may bring a name back;
    /// then the next start removes it.
    fn retire(&mut self) -> Result<(), Fatal> {
        let checkpoint = &mut self.checkpoint;
        let second = checkpoint.second.map_or(0, |root| root.generation);
        let needed = checkpoint.pins.lowest().map_or(second, |pinned| pinned.min(second));
        let (gone, kept) = checkpoint.retiring.iter().partition(|one| one.generation < needed);
        checkpoint.retiring = kept;
        let gone: Vec<Retiring> = gone;
        for one in gone {
            let name = one.file.name();
            let path = self.shared.home.join(&name);
            self.shared.disk.remove_file(&path).map_err(Fatal::write("remove", &name))?;
        }
        Ok(())
    }

    /// What the two newest durable roots are the outcome of.
    #[must_use]
    pub fn durable(&self) -> DurableRoots {
        DurableRoots {
            newest: self.checkpoint.newest.applied,
            second_newest: self.checkpoint.second.and_then(|root| root.applied),
        }
    }
}
