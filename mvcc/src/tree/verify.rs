//! Looking at every page of a tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Tree;
use super::cell::Value;
use super::cells::Cells;
use super::page::{Body, Inner, Loader, Page, PageRef, Shape};
use super::place::{FileNumber, Overflows, Place};
use super::store::{PageStore, damaged};
use crate::{Access, Damage, ReadError};

/// More damage than this is not listed: the files are lost, whatever else is wrong.
const DAMAGES_MAX: usize = 1000;

/// What part of a page file a tree uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FileUse {
    /// How many pages.
    pub(crate) pages: u64,
    /// How many bytes.
    pub(crate) bytes: u64,
}

/// What [`Tree::verify`] found.
#[derive(Debug, Default)]
pub(crate) struct TreeReport {
    /// Cells of leaves.
    pub(crate) cells: u64,
    /// Pages of cells, leaves and inner ones.
    pub(crate) pages: u64,
    /// Bytes of these pages: divided by `pages`, how well they are filled.
    pub(crate) page_bytes: u64,
    /// Levels: 0 if the tree is empty, 1 if its root is a leaf.
    pub(crate) height: u8,
    /// Stored pages, by file.
    pub(crate) files: BTreeMap<FileNumber, FileUse>,
    /// What is wrong, in key order, at most a thousand findings.
    pub(crate) damages: Vec<Damage>,
}

/// What looks at a cell on behalf of the one who knows what cells mean. An error says what is
/// wrong with it.
pub(crate) type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> Result<(), String> + 'v;

impl Tree {
    /// Looks at every page: stored ones are read from the disk, past the cache. Checks checksums,
    /// order, bounds, levels and counts, and shows each cell to `visit`. Damage goes into the
    /// report, and the walk goes on beside it; an error is an error of the disk.
    pub(crate) fn verify(
        &self,
        pages: &PageStore,
        visit: &mut Visit<'_>,
    ) -> Result<TreeReport, ReadError> {
        let mut walk = Walk {
            loader: Loader { pages, access: Access::Disk },
            visit,
            report: TreeReport::default(),
            last: None,
        };
        if let Some(root) = &self.root {
            walk.page(root, Shape::Root, Bounds { lower: None, upper: None })?;
        }
        Ok(walk.report)
    }

    #[cfg_attr(
        not(test),
        allow(dead_code, reason = "files are reclaimed by a part of the store to come")
    )]
    /// Which page files hold pages of this tree, which must be stored as a whole, and how much of
    /// them. Reads inner pages, and leaves only where they own overflow pages.
    pub(crate) fn files_reachable(
        &self,
        pages: &PageStore,
    ) -> Result<BTreeMap<FileNumber, FileUse>, ReadError> {
        let mut files = BTreeMap::new();
        let loader = Loader { pages, access: Access::Disk };
        if let Some(root) = &self.root {
            reach(root, Shape::Root, loader, &mut files)?;
        }
        Ok(files)
    }
}

fn count(place: &Place, files: &mut BTreeMap<FileNumber, FileUse>) {
    let file = files.entry(place.file).or_default();
    file.pages += 1;
    file.bytes += u64::from(place.length);
}

#[cfg_attr(
    not(test),
    allow(dead_code, reason = "files are reclaimed by a part of the store to come")
)]
fn reach(
    at: &PageRef,
    shape: Shape,
    loader: Loader<'_>,
    files: &mut BTreeMap<FileNumber, FileUse>,
) -> Result<(), ReadError> {
    if let Some(place) = place_of(at) {
        count(&place, files);
        let alone = shape == Shape::Overflow
            || (shape == Shape::Level(0) && place.overflows == Overflows::None);
        if alone {
            return Ok(());
        }
    }
    let page = loader.load(at, shape)?;
    for overflow in page.cells().into_iter().flat_map(Cells::references) {
        reach(overflow, Shape::Overflow, loader, files)?;
    }
    if let Body::Inner(inner) = &page.body {
        for child in inner.children.iter() {
            reach(child, Shape::below(inner.level), loader, files)?;
        }
    }
    Ok(())
}

fn place_of(at: &PageRef) -> Option<Place> {
    match at {
        PageRef::Stored(place) => Some(*place),
        PageRef::Held(page) => page.place().copied(),
    }
}

/// Between which keys a page must stay: at or above `lower`, below `upper`.
#[derive(Clone, Copy)]
struct Bounds<'b> {
    lower: Option<&'b [u8]>,
    upper: Option<&'b [u8]>,
}

struct Walk<'w> {
    loader: Loader<'w>,
    visit: &'w mut Visit<'w>,
    report: TreeReport,
    /// The key of the leaf cell seen last.
    last: Option<Vec<u8>>,
}

impl Walk<'_> {
    /// Notes damage and lets the walk go on; passes any other error on.
    fn note(&mut self, error: ReadError) -> Result<(), ReadError> {
        match error {
            ReadError::Damaged(damage) => {
                if self.report.damages.len() < DAMAGES_MAX {
                    self.report.damages.push(damage);
                }
                Ok(())
            }
            other => Err(other),
        }
    }

    fn page(&mut self, at: &PageRef, shape: Shape, bounds: Bounds<'_>) -> Result<(), ReadError> {
        match self.page_strictly(at, shape, bounds) {
            Ok(()) => Ok(()),
            Err(error) => self.note(error),
        }
    }

    /// As [`Walk::page`]; damage of this page itself is an error.
    fn page_strictly(
        &mut self,
        at: &PageRef,
        shape: Shape,
        bounds: Bounds<'_>,
    ) -> Result<(), ReadError> {
        let page = self.fetch(at, shape)?;
        self.report.pages += 1;
        self.report.page_bytes += page.encoded_len() as u64;
        self.report.height = self.report.height.max(page.level() + 1);
        let wrong = |what: String| match place_of(at) {
            Some(place) => damaged(place.file, place.offset, what),
            None => ReadError::Damaged(Damage {
                file: "(memory)".to_owned(),
                offset: 0,
                what: format!("page not written yet: {what}"),
            }),
        };
        match &page.body {
            Body::Leaf(cells) => self.leaf(cells, bounds, &wrong),
            Body::Inner(inner) => self.inner(inner, bounds, &wrong),
            Body::Overflow(_) => unreachable!("shapes are checked when a page is loaded"),
        }
    }

    /// The page as it is on the disk, or in memory if it was never written.
    fn fetch(&mut self, at: &PageRef, shape: Shape) -> Result<Arc<Page>, ReadError> {
        let Some(place) = place_of(at) else { return self.loader.load(at, shape) };
        count(&place, &mut self.report.files);
        let page = self.loader.pages.read(&place)?;
        if !shape.fits(&page) {
            return Err(damaged(place.file, place.offset, "a page of another level"));
        }
        Ok(Arc::new(page))
    }

    fn leaf(
        &mut self,
        cells: &Cells,
        bounds: Bounds<'_>,
        wrong: &dyn Fn(String) -> ReadError,
    ) -> Result<(), ReadError> {
        if cells.is_empty() {
            return Err(wrong("a leaf without cells".to_owned()));
        }
        for index in 0..cells.len() {
            self.report.cells += 1;
            let key = self.key(cells, index)?;
            let in_order = self.last.as_ref().is_none_or(|last| *last < key);
            check_place(&key, in_order, bounds)
                .map_err(|what| wrong(format!("cell {index}: {what}")))?;
            match cells.cell(index).value {
                Value::Here(value) => (self.visit)(&key, value),
                Value::Apart(number) => {
                    let page = self.fetch(cells.reference(number), Shape::Overflow)?;
                    (self.visit)(&key, page.bytes())
                }
            }
            .map_err(|what| wrong(format!("cell {index}: {what}")))?;
            self.last = Some(key);
        }
        Ok(())
    }

    fn inner(
        &mut self,
        inner: &Inner,
        bounds: Bounds<'_>,
        wrong: &dyn Fn(String) -> ReadError,
    ) -> Result<(), ReadError> {
        let mut separators: Vec<Vec<u8>> = Vec::with_capacity(inner.separators.len());
        for index in 0..inner.separators.len() {
            let key = self.key(&inner.separators, index)?;
            let in_order = separators.last().is_none_or(|last| *last < key);
            check_place(&key, in_order, bounds)
                .map_err(|what| wrong(format!("separator {index}: {what}")))?;
            separators.push(key);
        }
        if inner.children.len() != separators.len() + 1 {
            return Err(wrong("another number of children than of separators and one".to_owned()));
        }
        for (index, child) in inner.children.iter().enumerate() {
            let lower = match index.checked_sub(1) {
                Some(before) => Some(separators[before].as_slice()),
                None => bounds.lower,
            };
            let upper = separators.get(index).map(Vec::as_slice).or(bounds.upper);
            self.page(child, Shape::below(inner.level), Bounds { lower, upper })?;
        }
        Ok(())
    }

    fn key(&mut self, cells: &Cells, index: usize) -> Result<Vec<u8>, ReadError> {
        let mut key = cells.inline_key(index);
        if let Some(rest) = cells.cell(index).rest {
            let page = self.fetch(cells.reference(rest), Shape::Overflow)?;
            key.extend_from_slice(page.bytes());
        }
        Ok(key)
    }
}

fn check_place(key: &[u8], in_order: bool, bounds: Bounds<'_>) -> Result<(), String> {
    if !in_order {
        return Err("a key that is not above the one before".to_owned());
    }
    if bounds.lower.is_some_and(|lower| key < lower) {
        return Err("a key below the separator before the page".to_owned());
    }
    if bounds.upper.is_some_and(|upper| key >= upper) {
        return Err("a key not below the separator behind the page".to_owned());
    }
    Ok(())
}
