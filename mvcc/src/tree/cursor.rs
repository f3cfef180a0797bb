//! Walking a tree in key order, either way.

use std::ops::Bound;
use std::sync::Arc;

use super::cell::Value;
use super::page::{Body, Inner, Loader, Page, PageRef, Shape};
use crate::ReadError;

/// A place *between* two cells of a tree: [`Cursor::next`] returns the cell behind it and
/// [`Cursor::prev`] the one before it, and either moves the place across that cell. So a `prev`
/// right after a `next` returns the same cell again.
///
/// Keys and values are lent until the next call; nothing is allocated for a cell.
///
/// After an error the place is unknown: seek again, or drop the cursor.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    root: Option<&'a PageRef>,
    loader: Loader<'a>,
    /// From the root down to a leaf; empty if the tree is empty, or before the first seek.
    path: Vec<Frame>,
    /// The key of the cell returned last.
    key: Vec<u8>,
    /// The overflow page of the value returned last.
    apart: Option<Arc<Page>>,
}

/// A key and its value, lent by a cursor until it moves.
type Lent<'c> = (&'c [u8], &'c [u8]);

#[derive(Debug)]
struct Frame {
    page: Arc<Page>,
    /// In an inner page the child that the path goes on with; in a leaf the cell behind the place,
    /// or the number of cells.
    index: usize,
}

/// The two ends of a page.
#[derive(Debug, Clone, Copy)]
enum End {
    First,
    #[cfg_attr(not(test), allow(dead_code, reason = "all readers walk upwards so far"))]
    Last,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(root: Option<&'a PageRef>, loader: Loader<'a>) -> Self {
        Self { root, loader, path: Vec::new(), key: Vec::new(), apart: None }
    }

    /// Goes to the place before `key` (`Included`), right behind it (`Excluded`), or before all
    /// cells (`Unbounded`). The key itself need not exist.
    ///
    /// To walk down from a bound: `Included(key)` then `prev` returns what is below the key,
    /// `Excluded(key)` then `prev` what is not above it.
    pub(crate) fn seek(&mut self, start: Bound<&[u8]>) -> Result<(), ReadError> {
        let (key, behind) = match start {
            Bound::Unbounded => return self.seek_end(End::First),
            Bound::Included(key) => (key, 0),
            Bound::Excluded(key) => (key, 1),
        };
        self.path.clear();
        let Some(root) = self.root else { return Ok(()) };
        let mut page = self.loader.load(root, Shape::Root)?;
        loop {
            let (index, child) = match &page.body {
                Body::Inner(inner) => {
                    let index = inner.child_for(key, self.loader)?;
                    (index, Some(self.child(inner, index)?))
                }
                Body::Leaf(cells) => match cells.search(key, self.loader)? {
                    Ok(found) => (found + behind, None),
                    Err(between) => (between, None),
                },
                Body::Overflow(_) => unreachable!("shapes are checked when a page is loaded"),
            };
            self.path.push(Frame { page, index });
            match child {
                Some(child) => page = child,
                None => return Ok(()),
            }
        }
    }

    /// Goes behind all cells.
    #[cfg_attr(not(test), allow(dead_code, reason = "all readers walk upwards so far"))]
    pub(crate) fn seek_last(&mut self) -> Result<(), ReadError> {
        self.seek_end(End::Last)
    }

    /// The cell behind the place, which moves behind it.
    pub(crate) fn next(&mut self) -> Result<Option<Lent<'_>>, ReadError> {
        loop {
            let Some(leaf) = self.path.last_mut() else { return Ok(None) };
            if leaf.index < leaf.page.cells().map_or(0, |cells| cells.len()) {
                leaf.index += 1;
                let index = leaf.index - 1;
                return self.lend(index).map(Some);
            }
            if !self.step(End::First)? {
                return Ok(None);
            }
        }
    }

    /// The cell before the place, which moves before it.
    #[cfg_attr(not(test), allow(dead_code, reason = "all readers walk upwards so far"))]
    pub(crate) fn prev(&mut self) -> Result<Option<Lent<'_>>, ReadError> {
        loop {
            let Some(leaf) = self.path.last_mut() else { return Ok(None) };
            if leaf.index > 0 {
                leaf.index -= 1;
                let index = leaf.index;
                return self.lend(index).map(Some);
            }
            if !self.step(End::Last)? {
                return Ok(None);
            }
        }
    }

    fn seek_end(&mut self, end: End) -> Result<(), ReadError> {
        self.path.clear();
        match self.root {
            Some(root) => self.descend(self.loader.load(root, Shape::Root)?, end),
            None => Ok(()),
        }
    }

    fn child(&self, inner: &Inner, index: usize) -> Result<Arc<Page>, ReadError> {
        self.loader.load(inner.children.get(index), Shape::below(inner.level))
    }

    /// Extends the path from `page` down along its first or last children.
    fn descend(&mut self, mut page: Arc<Page>, end: End) -> Result<(), ReadError> {
        loop {
            let count = match &page.body {
                Body::Inner(inner) => inner.children.len() - 1,
                Body::Leaf(_) | Body::Overflow(_) => page.cells().map_or(0, |cells| cells.len()),
            };
            let index = match end {
                End::First => 0,
                End::Last => count,
            };
            let child = match &page.body {
                Body::Inner(inner) => Some(self.child(inner, index)?),
                Body::Leaf(_) | Body::Overflow(_) => None,
            };
            self.path.push(Frame { page, index });
            match child {
                Some(child) => page = child,
                None => return Ok(()),
            }
        }
    }

    /// Goes to the near end of the next leaf (`First`) or of the one before (`Last`). Returns
    /// whether there is one; if not, the place stays.
    fn step(&mut self, end: End) -> Result<bool, ReadError> {
        for depth in (0..self.path.len()).rev() {
            let frame = &self.path[depth];
            let Body::Inner(inner) = &frame.page.body else { continue };
            let sibling = match end {
                End::First => Some(frame.index + 1).filter(|index| *index < inner.children.len()),
                End::Last => frame.index.checked_sub(1),
            };
            let Some(sibling) = sibling else { continue };
            let child = self.child(inner, sibling)?;
            self.path.truncate(depth + 1);
            self.path[depth].index = sibling;
            self.descend(child, end)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// The cell at `index` of the leaf at the end of the path.
    fn lend(&mut self, index: usize) -> Result<Lent<'_>, ReadError> {
        let leaf = self.path.last().expect("a cell was found in it");
        let cells = leaf.page.cells().expect("the path ends with a leaf");
        self.key.clear();
        cells.key_into(index, self.loader, &mut self.key)?;
        let value = match cells.cell(index).value {
            Value::Here(value) => value,
            Value::Apart(number) => {
                let page = self.loader.overflow(cells.reference(number))?;
                self.apart.insert(page).bytes()
            }
        };
        Ok((&self.key, value))
    }
}
