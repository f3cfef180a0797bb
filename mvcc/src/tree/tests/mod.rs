//! Tests of the tree: against a model, with long keys, and on damaged files.
//!
//! Everything runs on a simulated disk with tiny pages. A random test prints its seed; run it
//! alone by putting the seed into `SEEDS`.

mod crash;
mod damage;
mod model;
mod shapes;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;

use kstore_host::Disk;
use kstore_testkit::SimDisk;

use super::page::{Body, PageRef};
use super::verify::TreeReport;
use super::{PageOptions, PageStore, PageWriter, PagesEnd, Place, Tree};
use crate::{Access, Lineage};

const LINEAGE: Lineage = Lineage(0x1234_5678_9abc_def0);

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// A directory of pages, opened.
struct Pages {
    disk: SimDisk,
    options: PageOptions,
    store: PageStore,
    writer: PageWriter,
    /// How often it was opened: the seed of the files.
    opened: u64,
}

fn dir() -> PathBuf {
    PathBuf::from("/store")
}

impl Pages {
    fn new(options: PageOptions) -> Self {
        let disk = SimDisk::new(1);
        disk.create_dir(&dir()).unwrap();
        disk.sync_dir(&PathBuf::from("/")).unwrap();
        Self::open(disk, options, PagesEnd::EMPTY, 1)
    }

    fn open(disk: SimDisk, options: PageOptions, end: PagesEnd, opened: u64) -> Self {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (store, writer) =
            PageStore::open(shared, &dir(), LINEAGE, options.clone(), end, opened).unwrap();
        Self { disk, options, store, writer, opened }
    }

    fn reopen(&self, disk: SimDisk, end: PagesEnd) -> Self {
        Self::open(disk, self.options.clone(), end, self.opened + 1)
    }

    /// Writes and syncs a tree; what a root file would then hold.
    fn checkpoint(&mut self, tree: &Tree) -> (Option<Place>, PagesEnd) {
        let clean = tree.clean(&self.store, &mut self.writer).unwrap();
        (clean.root_place(), self.writer.sync().unwrap())
    }

    fn tree_of(&self, model: &Model) -> Tree {
        let mut tree = Tree::default();
        for (key, value) in model {
            tree.insert(&self.store, key, value).unwrap();
        }
        tree
    }

    fn verify(&self, tree: &Tree) -> TreeReport {
        let report = tree.verify(&self.store, &mut |_, _| Ok(())).unwrap();
        assert_eq!(report.damages, []);
        report
    }

    /// Everything in the tree, read forwards; and that reading it backwards says the same.
    fn content(&self, tree: &Tree) -> Model {
        let mut cursor = tree.cursor(&self.store, Access::Disk, Bound::Unbounded).unwrap();
        let mut forwards = Vec::new();
        while let Some((key, value)) = cursor.next().unwrap() {
            forwards.push((key.to_vec(), value.to_vec()));
        }
        assert_eq!(cursor.next().unwrap(), None);
        if forwards.len() % 2 == 0 {
            cursor.seek_last().unwrap();
        }
        let mut backwards = Vec::new();
        while let Some((key, value)) = cursor.prev().unwrap() {
            backwards.push((key.to_vec(), value.to_vec()));
        }
        assert_eq!(cursor.prev().unwrap(), None);
        backwards.reverse();
        assert!(forwards == backwards);
        let count = forwards.len();
        let content: Model = forwards.into_iter().collect();
        assert_eq!(content.len(), count);
        content
    }
}

/// The bytes of dirty pages, counted one by one.
fn dirty_bytes(tree: &Tree) -> u64 {
    fn below(at: &PageRef) -> u64 {
        let PageRef::Held(page) = at else { return 0 };
        if page.place().is_some() {
            return 0;
        }
        let mut bytes = page.encoded_len() as u64;
        if let Some(cells) = page.cells() {
            bytes += cells.references().map(below).sum::<u64>();
        }
        if let Body::Inner(inner) = &page.body {
            bytes += inner.children.iter().map(below).sum::<u64>();
        }
        bytes
    }
    tree.root.as_ref().map_or(0, below)
}
