//! Writing dirty pages, and letting go of them.

use std::sync::Arc;

use super::Tree;
use super::page::{Body, Inner, Page, PageRef};
use super::place::Place;
use super::store::PageStore;
use super::writer::PageWriter;
use crate::Fatal;

impl Tree {
    /// Writes all dirty pages, children first, and returns the same tree as it now is on the disk.
    /// The pages stay in the cache as far as it holds them. Nothing is durable before
    /// [`PageWriter::sync`].
    ///
    /// Meant to run on a clone, beside the one who changes the tree. There may be only one such
    /// run at a time. After an error the process must not go on writing.
    pub(crate) fn clean(&self, pages: &PageStore, writer: &mut PageWriter) -> Result<Self, Fatal> {
        let place = match &self.root {
            Some(root) => Some(write(root, pages, writer)?),
            None => None,
        };
        // Before anybody can ask for a page that only its place remembers.
        writer.flush()?;
        Ok(Self::at(place))
    }

    /// After a checkpoint: lets go of the pages that it wrote and that were not changed since, so
    /// that from now on the cache decides how long they stay in memory.
    pub(crate) fn settle(&mut self) {
        self.dirty = self.root.as_mut().map_or(0, settle);
    }
}

/// Writes what is dirty at and below `at`. The recursion is as deep as the tree is high.
fn write(at: &PageRef, pages: &PageStore, writer: &mut PageWriter) -> Result<Place, Fatal> {
    let page = match at {
        PageRef::Stored(place) => return Ok(*place),
        PageRef::Held(page) => page,
    };
    if let Some(place) = page.place() {
        return Ok(*place);
    }
    if let Some(cells) = page.cells() {
        for overflow in cells.references() {
            write(overflow, pages, writer)?;
        }
    }
    if let Body::Inner(inner) = &page.body {
        for child in inner.children.iter() {
            write(child, pages, writer)?;
        }
    }
    let place = writer.append(page)?;
    page.set_place(place);
    pages.keep(&place, to_keep(page, place));
    Ok(place)
}

/// What the cache should hold of a page that was just written: never a page that holds others in
/// memory, as these would stay there however little room the cache has.
fn to_keep(page: &Arc<Page>, place: Place) -> Arc<Page> {
    let holds_others = match &page.body {
        Body::Inner(_) => true,
        Body::Leaf(cells) => cells.has_references(),
        Body::Overflow(_) => false,
    };
    if !holds_others {
        return Arc::clone(page);
    }
    let mut body = page.copy().body;
    settle_body(&mut body);
    Arc::new(Page::stored(place, body))
}

/// Replaces what is clean at and below `at` by its place; returns the bytes that are dirty.
fn settle(at: &mut PageRef) -> u64 {
    let PageRef::Held(page) = at else { return 0 };
    if let Some(place) = page.place() {
        *at = PageRef::Stored(*place);
        return 0;
    }
    let own = page.encoded_len() as u64;
    let holds_others = match &page.body {
        Body::Inner(_) => true,
        Body::Leaf(cells) => cells.has_references(),
        Body::Overflow(_) => false,
    };
    if !holds_others {
        return own;
    }
    if Arc::get_mut(page).is_none() {
        *page = Arc::new(page.copy());
    }
    let page = Arc::get_mut(page).expect("either nobody else had it or it is new");
    own + settle_body(&mut page.body)
}

/// As [`settle`], for everything that a page points at.
fn settle_body(body: &mut Body) -> u64 {
    let mut dirty = 0;
    let cells = match body {
        Body::Leaf(cells) => cells,
        Body::Inner(Inner { separators, children, .. }) => {
            children.each_held(|child| dirty += settle(child));
            if !separators.has_references() {
                return dirty;
            }
            Arc::make_mut(separators)
        }
        Body::Overflow(_) => return 0,
    };
    cells.references_mut().for_each(|overflow| dirty += settle(overflow));
    dirty
}
