//! Random changes, snapshots, checkpoints and crashes against a map.

use std::ops::Bound;

use kstore_testkit::Prng;
use kstore_testkit::disk::{CrashPolicy, Sector};

use super::{Model, Pages, dirty_bytes};
use crate::tree::{PageOptions, PagesEnd, Place, Tree};
use crate::{Access, ReadError};

const SEEDS: u64 = 24;
const STEPS: u64 = 4000;
const SNAPSHOTS_MAX: usize = 4;

/// How keys look in one run.
#[derive(Debug, Clone, Copy)]
enum Keys {
    /// A few letters: every key meets every other.
    Dense,
    /// As in a cluster: long common prefixes, many neighbours.
    Paths,
    /// Mostly too long for a page, differing at either end.
    Long,
    /// Counting up, now and then starting anew.
    Ascending,
    /// All of these.
    Mixed,
}

struct Run {
    prng: Prng,
    keys: Keys,
    counter: u64,
    pages: Pages,
    tree: Tree,
    model: Model,
    snapshots: Vec<(Tree, Model)>,
    durable: (Option<Place>, PagesEnd, Model),
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut prng = Prng::new(seed);
        let keys =
            *prng.pick(&[Keys::Dense, Keys::Paths, Keys::Long, Keys::Ascending, Keys::Mixed]);
        let options = PageOptions {
            segment_bytes: *prng.pick(&[2 << 10, 64 << 10]),
            cache_bytes: *prng.pick(&[0, 8 << 10, 4 << 20]),
            ..PageOptions::tiny()
        };
        println!("seed {seed}: {keys:?}, {options:?}");
        Self {
            prng,
            keys,
            counter: 0,
            pages: Pages::new(options),
            tree: Tree::default(),
            model: Model::new(),
            snapshots: Vec::new(),
            durable: (None, PagesEnd::EMPTY, Model::new()),
        }
    }

    fn fresh_key(&mut self) -> Vec<u8> {
        let keys = match self.keys {
            Keys::Mixed => {
                *self.prng.pick(&[Keys::Dense, Keys::Paths, Keys::Long, Keys::Ascending])
            }
            keys => keys,
        };
        let prng = &mut self.prng;
        match keys {
            Keys::Dense | Keys::Mixed => {
                let length = prng.index(5);
                (0..length).map(|_| *prng.pick(&[0, b'a', b'b', 0xff])).collect()
            }
            Keys::Paths => format!(
                "/registry/{}/namespace-{:03}/object-{:05}",
                prng.pick(&["pods", "leases", "configmaps"]),
                prng.below(20),
                prng.below(100)
            )
            .into_bytes(),
            Keys::Long => {
                let shared = *prng.pick(&[0, 100, 127, 128, 129, 200, 700]);
                let mut key = vec![b'x'; shared];
                key.extend((0..prng.index(4)).map(|_| *prng.pick(&[0, 1, 2])));
                key.extend(vec![b'y'; *prng.pick(&[0, 1, 126, 300])]);
                key
            }
            Keys::Ascending => {
                self.counter += 1;
                if prng.one_in(500) {
                    self.counter = 0;
                }
                format!("count/{:010}/{:02}", self.counter, prng.below(3)).into_bytes()
            }
        }
    }

    /// A key that is there, half of the time.
    fn any_key(&mut self) -> Vec<u8> {
        let fresh = self.fresh_key();
        if self.prng.one_in(2) {
            return fresh;
        }
        let mut from = self.model.range(fresh.clone()..);
        from.next().map_or(fresh, |(key, _)| key.clone())
    }

    fn value(&mut self) -> Vec<u8> {
        let length = match self.prng.below(20) {
            0 => *self.prng.pick(&[127, 128, 129, 130, 1000]),
            1..4 => 0,
            _ => self.prng.index(40),
        };
        let mut value = vec![0; length];
        self.prng.fill(&mut value);
        value
    }

    fn insert(&mut self) {
        let (key, value) = (self.any_key(), self.value());
        self.tree.insert(&self.pages.store, &key, &value).unwrap();
        self.model.insert(key, value);
    }

    fn remove(&mut self) {
        let key = self.any_key();
        let removed = self.tree.remove(&self.pages.store, &key).unwrap();
        assert_eq!(removed.as_deref(), self.model.remove(&key).as_deref());
    }

    /// Removes everything between two keys, so that pages empty and join.
    fn remove_range(&mut self) {
        let from = self.any_key();
        let count = self.prng.index(60);
        let keys: Vec<_> = self.model.range(from..).take(count).map(|(k, _)| k.clone()).collect();
        for key in keys {
            let removed = self.tree.remove(&self.pages.store, &key).unwrap();
            assert_eq!(removed.as_deref(), self.model.remove(&key).as_deref());
        }
    }

    fn some_tree(&mut self) -> (Tree, Model) {
        if self.snapshots.is_empty() || self.prng.one_in(2) {
            return (self.tree.clone(), self.model.clone());
        }
        self.prng.pick(&self.snapshots).clone()
    }

    fn check_get(&mut self) {
        let key = self.any_key();
        let (tree, model) = self.some_tree();
        let expected = model.get(&key).map(Vec::as_slice);
        match tree.get(&self.pages.store, Access::Cached, &key) {
            Ok(found) => assert_eq!(found.as_deref(), expected),
            Err(error) => assert!(matches!(error, ReadError::Cold), "{error}"),
        }
        let found = tree.get(&self.pages.store, Access::Disk, &key).unwrap();
        assert_eq!(found.as_deref(), expected);
    }

    /// Goes to a key and some steps to and fro.
    fn check_cursor(&mut self) {
        let key = self.any_key();
        let (tree, model) = self.some_tree();
        let bound = match self.prng.below(2) {
            0 => Bound::Included(key.as_slice()),
            _ => Bound::Excluded(key.as_slice()),
        };
        let mut cursor = tree.cursor(&self.pages.store, Access::Disk, bound).unwrap();
        let all: Vec<_> = model.iter().map(|(k, v)| (k.as_slice(), v.as_slice())).collect();
        let mut at = match bound {
            Bound::Included(key) => all.partition_point(|(k, _)| *k < key),
            _ => all.partition_point(|(k, _)| *k <= key.as_slice()),
        };
        for _ in 0..self.prng.index(30) {
            if self.prng.chance(2, 3) {
                assert_eq!(cursor.next().unwrap(), all.get(at).copied());
                at = (at + 1).min(all.len());
            } else {
                let before = at.checked_sub(1);
                assert_eq!(cursor.prev().unwrap(), before.map(|before| all[before]));
                at = before.unwrap_or(0);
            }
        }
    }

    fn take_snapshot(&mut self) {
        if self.snapshots.len() == SNAPSHOTS_MAX {
            let oldest = self.snapshots.remove(0);
            assert!(self.pages.content(&oldest.0) == oldest.1);
        }
        self.snapshots.push((self.tree.clone(), self.model.clone()));
    }

    /// Writes a snapshot while the tree goes on changing.
    fn checkpoint(&mut self) {
        let (snapshot, model) = (self.tree.clone(), self.model.clone());
        for _ in 0..self.prng.index(20) {
            self.insert();
        }
        let clean = snapshot.clean(&self.pages.store, &mut self.pages.writer).unwrap();
        for _ in 0..self.prng.index(20) {
            self.remove();
        }
        let end = self.pages.writer.sync().unwrap();
        self.tree.settle();
        assert_eq!(self.tree.dirty_bytes(), dirty_bytes(&self.tree));
        assert_eq!(clean.dirty_bytes(), 0);
        assert!(self.pages.content(&clean) == model);
        self.durable = (clean.root_place(), end, model);
    }

    /// The power goes; the last checkpoint is what is left.
    fn crash(&mut self) {
        let policy = *self.prng.pick(&[
            CrashPolicy::LoseAll,
            CrashPolicy::KeepAll,
            CrashPolicy::Prefix,
            CrashPolicy::RandomSubset { tear: Sector::Bytes512 },
        ]);
        // Something may be half written behind the root's end.
        if self.prng.one_in(2) {
            self.tree.clean(&self.pages.store, &mut self.pages.writer).unwrap();
        }
        let disk = self.pages.disk.crash(policy);
        let (root, end, model) = self.durable.clone();
        // No format depends on the page size.
        self.pages.options.page_bytes = *self.prng.pick(&[512, 512, 1000, 4096]);
        self.pages = self.pages.reopen(disk, end);
        self.tree = Tree::at(root);
        self.model = model;
        self.snapshots.clear();
        self.check_durable();
    }

    fn check_durable(&self) {
        let (root, end, model) = &self.durable;
        let tree = Tree::at(*root);
        let report = self.pages.verify(&tree);
        assert_eq!(report.cells, model.len() as u64);
        assert_eq!(report.files, tree.files_reachable(&self.pages.store).unwrap());
        for number in report.files.keys() {
            assert!(*number < end.next);
        }
        assert!(self.pages.content(&tree) == *model);
    }

    fn step(&mut self) {
        match self.prng.below(1000) {
            0..500 => self.insert(),
            500..700 => self.remove(),
            700..706 => self.remove_range(),
            706..850 => self.check_get(),
            850..960 => self.check_cursor(),
            960..985 => self.take_snapshot(),
            985..997 => self.checkpoint(),
            _ => self.crash(),
        }
    }
}

#[test]
fn the_tree_does_what_a_map_does() {
    for seed in 0..SEEDS {
        let mut run = Run::new(seed);
        for step in 0..STEPS {
            run.step();
            assert_eq!(run.tree.dirty_bytes(), dirty_bytes(&run.tree), "step {step}");
        }
        let report = run.pages.verify(&run.tree);
        assert_eq!(report.cells, run.model.len() as u64);
        assert!(run.pages.content(&run.tree) == run.model);
        for (tree, model) in &run.snapshots {
            assert!(run.pages.content(tree) == *model);
        }
        run.checkpoint();
        run.check_durable();
    }
}
