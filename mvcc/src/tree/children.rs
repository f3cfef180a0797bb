//! The children of an inner page, in a form that is cheap to copy.
//!
//! A page is copied whenever it changes for the first time after a tree was published. A plain
//! list of a few hundred counted pointers would make that copy slow: each count is a cache line of
//! its own, touched once for the copy and once more when the old page goes. So the list is cut
//! into runs, and a copy shares all runs but the one that changes.

use std::sync::Arc;

use super::page::PageRef;

/// A run longer than this is cut in two.
const RUN_MAX: usize = 32;

/// The children of an inner page, in key order.
#[derive(Debug, Clone, Default)]
pub(super) struct Children {
    runs: Vec<Run>,
    len: usize,
}

/// Invariant: `count` is the length of `pages`, kept here so that finding a child touches only
/// the run it is in; and no run is empty.
#[derive(Debug, Clone)]
struct Run {
    count: usize,
    pages: Arc<Vec<PageRef>>,
}

impl Run {
    fn new(pages: Vec<PageRef>) -> Self {
        Self { count: pages.len(), pages: Arc::new(pages) }
    }
}

impl Children {
    pub(super) fn new(pages: Vec<PageRef>) -> Self {
        let len = pages.len();
        let runs = pages.chunks(RUN_MAX / 2).map(|run| Run::new(run.to_vec())).collect();
        Self { runs, len }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PageRef> {
        self.runs.iter().flat_map(|run| run.pages.iter())
    }

    /// The run that holds the child at `index`, and the child's place in it. An index at the end
    /// belongs to the last run.
    fn find(&self, mut index: usize) -> (usize, usize) {
        for (number, run) in self.runs.iter().enumerate() {
            if index < run.count || (index == run.count && number + 1 == self.runs.len()) {
                return (number, index);
            }
            index -= run.count;
        }
        panic!("an inner page was asked for a child that it does not have");
    }

    pub(super) fn get(&self, index: usize) -> &PageRef {
        let (run, at) = self.find(index);
        &self.runs[run].pages[at]
    }

    pub(super) fn get_mut(&mut self, index: usize) -> &mut PageRef {
        let (run, at) = self.find(index);
        &mut Arc::make_mut(&mut self.runs[run].pages)[at]
    }

    pub(super) fn insert(&mut self, index: usize, page: PageRef) {
        self.len += 1;
        if self.runs.is_empty() {
            self.runs.push(Run::new(vec![page]));
            return;
        }
        let (number, at) = self.find(index);
        let run = &mut self.runs[number];
        let pages = Arc::make_mut(&mut run.pages);
        pages.insert(at, page);
        let right = (pages.len() > RUN_MAX).then(|| pages.split_off(RUN_MAX / 2));
        run.count = pages.len();
        if let Some(right) = right {
            self.runs.insert(number + 1, Run::new(right));
        }
    }

    pub(super) fn remove(&mut self, index: usize) -> PageRef {
        let (number, at) = self.find(index);
        self.len -= 1;
        let run = &mut self.runs[number];
        let page = Arc::make_mut(&mut run.pages).remove(at);
        run.count -= 1;
        if run.count == 0 {
            self.runs.remove(number);
        }
        page
    }

    /// Moves the children from `index` on into a list of their own.
    pub(super) fn split_off(&mut self, index: usize) -> Self {
        let right = Self::new(self.iter().skip(index).cloned().collect());
        *self = Self::new(self.iter().take(index).cloned().collect());
        right
    }

    /// The children of `self`, then those of `right`.
    pub(super) fn joined(&self, right: &Self) -> Self {
        Self::new(self.iter().chain(right.iter()).cloned().collect())
    }

    /// Visits each child that is held in memory, to change how it is held. Runs without one are
    /// not copied.
    pub(super) fn each_held(&mut self, mut visit: impl FnMut(&mut PageRef)) {
        for run in &mut self.runs {
            if run.pages.iter().any(|page| matches!(page, PageRef::Held(_))) {
                Arc::make_mut(&mut run.pages).iter_mut().for_each(&mut visit);
            }
        }
    }
}
