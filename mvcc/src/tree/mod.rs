//! A persistent B+tree from bytes to bytes, and the page files that it lies in.
//!
//! ```text
//!            Tree (a pointer)              clone = a read view that never changes
//!              |
//!          inner page                      separators | children
//!          /    |    \
//!      leaf   leaf    leaf                 packed cells: key, value
//!               \
//!                overflow page             the rest of a long key, or a long value
//!
//!   in memory: Held(Arc<Page>)   dirty until written; shared by all trees that contain it
//!   on disk:   Stored(Place)     file, offset, length, checksum; found through the cache
//! ```
//!
//! Keys are compared as bytes; whoever needs another order encodes keys so that this is it.
//!
//! **Copy on write.** A change goes down to its leaf. On the way a page that no other tree shares
//! is changed in place, one that is shared is copied once, and the copy belongs to this tree alone
//! until the tree is cloned again. So a clone is a snapshot at the price of one counter, and a
//! batch of changes between two snapshots copies each page it touches once.
//!
//! **Writing.** [`Tree::clean`] runs on a clone, beside the one who goes on changing the tree. It
//! appends every dirty page, children before parents, and notes in each page where it now lies; as
//! the working tree shares the pages that it has not changed since, these become clean there too,
//! and are not written again. [`Tree::settle`] then lets go of them in the working tree, so that
//! the cache decides what stays in memory.
//!
//! **Long keys and values.** A page holds at most a quarter of its size of one key and as much of
//! one value. What is longer goes on in one overflow page, as long as need be, owned by its cell
//! or separator.
//!
//! **Filling.** A page that inserts in key order overfill is split behind them and stays full; any
//! other is split in halves. A page that falls below a third is joined with a neighbour if the two
//! fill at most five sixths. A page may stay below a third if its neighbours are full, and may
//! pass the page size by a cell where a single long cell leaves no better split.
//!
//! Invariant: a page once stored is never overwritten; bytes on the disk belong to the tree only
//! if a checksum in their parent says so, up to the root file.
//! Invariant: all leaves have level 0, and a child's level is one below its parent's.
//! Invariant: no read copies more than it returns, and no read of cached pages waits for the disk.
//!
//! Deliberately absent: deleting ranges (remove one by one), threads, merging on a timer. Space in
//! page files comes back only by whole files: see [`Tree::files_reachable`].
//!
//! The bytes are drawn in `docs/formats/pages.md`.

mod cache;
mod cell;
mod cells;
mod children;
mod clean;
mod cursor;
mod edit;
mod options;
mod page;
mod place;
mod store;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::ops::Bound;

use bytes::Bytes;

pub(crate) use cursor::Cursor;
pub use options::PageOptions;
pub(crate) use place::{FileNumber, PagesEnd, Place};
pub(crate) use store::PageStore;
pub(crate) use writer::PageWriter;

use crate::{Access, ReadError};
use cell::Value;
use edit::Editor;
use page::{Body, Loader, PageRef, Shape};

/// A tree as it is at one moment; the default is empty. Cloning it is cheap, and the clone never
/// changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    /// `None`: the tree is empty.
    root: Option<PageRef>,
    /// Bytes of dirty pages. What a checkpoint has written in the meantime counts until
    /// [`Tree::settle`].
    dirty: u64,
}

impl Tree {
    /// The tree whose root page lies at `place`; `None` is the empty tree.
    pub(crate) fn at(place: Option<Place>) -> Self {
        Self { root: place.map(PageRef::Stored), dirty: 0 }
    }

    /// Where the root page lies, if the whole tree is stored. The empty tree is, nowhere.
    pub(crate) fn root_place(&self) -> Option<Place> {
        match &self.root {
            None => None,
            Some(PageRef::Stored(place)) => Some(*place),
            Some(PageRef::Held(page)) => page.place().copied(),
        }
    }

    /// Bytes of pages that a checkpoint would have to write, at most.
    pub(crate) fn dirty_bytes(&self) -> u64 {
        self.dirty
    }

    /// The value of `key`.
    pub(crate) fn get(
        &self,
        pages: &PageStore,
        access: Access,
        key: &[u8],
    ) -> Result<Option<Bytes>, ReadError> {
        self.get_with(pages, access, key, Bytes::copy_from_slice)
    }

    /// What `read` makes of the value of `key`. Nothing is copied.
    pub(crate) fn get_with<R>(
        &self,
        pages: &PageStore,
        access: Access,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, ReadError> {
        let Some(root) = &self.root else { return Ok(None) };
        find(root, Shape::Root, Loader { pages, access }, key, read)
    }

    /// Gives `key` a value, in place of the one it may have.
    pub(crate) fn insert(
        &mut self,
        pages: &PageStore,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), ReadError> {
        let mut editor = Editor::new(pages);
        let result = self.insert_with(&mut editor, key, value);
        self.dirty = self.dirty.saturating_add_signed(editor.dirty);
        result
    }

    fn insert_with(
        &mut self,
        editor: &mut Editor<'_>,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), ReadError> {
        let Some(root) = &mut self.root else {
            self.root = Some(editor.first_leaf(key, value));
            return Ok(());
        };
        if let Some(split) = editor.insert(root, Shape::Root, key, value)? {
            *root = editor.new_root(root.clone(), split)?;
        }
        Ok(())
    }

    /// Removes `key`; returns the value that it had.
    pub(crate) fn remove(
        &mut self,
        pages: &PageStore,
        key: &[u8],
    ) -> Result<Option<Bytes>, ReadError> {
        // Looking first keeps a key that is not there from making its pages dirty.
        if self.get_with(pages, Access::Disk, key, |_| ())?.is_none() {
            return Ok(None);
        }
        let mut editor = Editor::new(pages);
        let result = self.remove_with(&mut editor, key);
        self.dirty = self.dirty.saturating_add_signed(editor.dirty);
        result
    }

    fn remove_with(
        &mut self,
        editor: &mut Editor<'_>,
        key: &[u8],
    ) -> Result<Option<Bytes>, ReadError> {
        let Some(root) = &mut self.root else { return Ok(None) };
        let removed = editor.remove(root, Shape::Root, key)?;
        self.root = editor.lower_root(root.clone())?;
        Ok(removed)
    }

    /// A cursor that stands where `start` says; see [`Cursor::seek`].
    pub(crate) fn cursor<'a>(
        &'a self,
        pages: &'a PageStore,
        access: Access,
        start: Bound<&[u8]>,
    ) -> Result<Cursor<'a>, ReadError> {
        let mut cursor = Cursor::new(self.root.as_ref(), Loader { pages, access });
        cursor.seek(start)?;
        Ok(cursor)
    }
}

/// Looks `key` up below `at`. Pages in memory are borrowed on the way, not counted.
fn find<R>(
    at: &PageRef,
    shape: Shape,
    loader: Loader<'_>,
    key: &[u8],
    read: impl FnOnce(&[u8]) -> R,
) -> Result<Option<R>, ReadError> {
    let loaded;
    let page = match at {
        PageRef::Held(page) => page,
        PageRef::Stored(_) => {
            loaded = loader.load(at, shape)?;
            &loaded
        }
    };
    match &page.body {
        Body::Inner(inner) => {
            let child = inner.children.get(inner.child_for(key, loader)?);
            find(child, Shape::below(inner.level), loader, key, read)
        }
        Body::Leaf(cells) => {
            let Ok(index) = cells.search(key, loader)? else { return Ok(None) };
            Ok(Some(match cells.cell(index).value {
                Value::Here(value) => read(value),
                Value::Apart(number) => read(loader.overflow(cells.reference(number))?.bytes()),
            }))
        }
        Body::Overflow(_) => unreachable!("shapes are checked when a page is loaded"),
    }
}
