//! Inserting and removing: pages are copied on the way down where a published tree shares them,
//! split and joined on the way up.

use std::sync::Arc;

use bytes::Bytes;

use super::cell::{NewKey, NewValue, Value, common_prefix};
use super::cells::Cells;
use super::children::Children;
use super::page::{Body, Inner, Loader, PAGE_HEADER, Page, PageRef, Shape};
use super::place::Place;
use super::store::PageStore;
use crate::{Access, ReadError};

/// One change of a tree.
#[derive(Debug)]
pub(super) struct Editor<'a> {
    loader: Loader<'a>,
    /// The most bytes a page of cells may take.
    limit: usize,
    /// The longest inline key, and the longest inline value.
    inline: usize,
    /// By how much the bytes of dirty pages changed.
    pub(super) dirty: i64,
}

/// A page became two: its upper half is new.
#[derive(Debug)]
pub(super) struct Split {
    pub(super) separator: Separator,
    pub(super) right: PageRef,
}

/// A key between two pages: above all keys on the left, not above any on the right.
#[derive(Debug)]
pub(super) struct Separator {
    inline: Vec<u8>,
    rest: Option<PageRef>,
}

impl Separator {
    pub(super) fn as_key(&self) -> NewKey<'_> {
        NewKey { inline: &self.inline, rest: self.rest.clone() }
    }
}

const NO_VALUE: NewValue<'static> = NewValue::Here(&[]);

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).expect("memory has less than 2^63 bytes")
}

impl<'a> Editor<'a> {
    pub(super) fn new(pages: &'a PageStore) -> Self {
        Self {
            loader: Loader { pages, access: Access::Disk },
            limit: pages.options().page_limit(),
            inline: pages.options().inline_limit(),
            dirty: 0,
        }
    }

    /// A new leaf with one cell.
    pub(super) fn first_leaf(&mut self, key: &[u8], value: &[u8]) -> PageRef {
        let mut cells = Cells::default();
        let (key, value) = (self.cut_key(key, &[]), self.cut_value(value));
        cells.insert(0, key, value);
        self.held(Body::Leaf(cells))
    }

    /// A new root above the halves of the old one.
    pub(super) fn new_root(&mut self, left: PageRef, split: Split) -> Result<PageRef, ReadError> {
        let level = self.loader.load(&left, Shape::Root)?.level() + 1;
        let mut separators = Cells::default();
        separators.insert(0, split.separator.as_key(), NO_VALUE);
        let separators = Arc::new(separators);
        let children = Children::new(vec![left, split.right]);
        Ok(self.held(Body::Inner(Inner { level, separators, children })))
    }

    /// The root after a remove: without cells there is none, and one with a single child gives
    /// way to it.
    pub(super) fn lower_root(&mut self, root: PageRef) -> Result<Option<PageRef>, ReadError> {
        let mut root = root;
        loop {
            let page = self.loader.load(&root, Shape::Root)?;
            if page.is_empty() {
                self.forget(&root);
                return Ok(None);
            }
            match &page.body {
                Body::Inner(inner) if inner.children.len() == 1 => {
                    self.forget(&root);
                    root = inner.children.get(0).clone();
                }
                _ => return Ok(Some(root)),
            }
        }
    }

    /// Puts a key and its value below `at`, in place of the value it has.
    pub(super) fn insert(
        &mut self,
        at: &mut PageRef,
        shape: Shape,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<Split>, ReadError> {
        let page = self.own(at, shape)?;
        let before = page.encoded_len();
        let split = match &mut page.body {
            Body::Leaf(cells) => self.insert_cell(cells, key, value)?,
            Body::Inner(inner) => {
                let index = inner.child_for(key, self.loader)?;
                let below = Shape::below(inner.level);
                match self.insert(inner.children.get_mut(index), below, key, value)? {
                    None => return Ok(None),
                    Some(split) => self.insert_child(inner, index, split)?,
                }
            }
            Body::Overflow(_) => unreachable!("shapes are checked when a page is loaded"),
        };
        self.dirty += signed(page.encoded_len()) - signed(before);
        Ok(split)
    }

    /// Removes a key that is below `at`; returns its value.
    pub(super) fn remove(
        &mut self,
        at: &mut PageRef,
        shape: Shape,
        key: &[u8],
    ) -> Result<Option<Bytes>, ReadError> {
        let page = self.own(at, shape)?;
        let before = page.encoded_len();
        let removed = match &mut page.body {
            Body::Leaf(cells) => self.remove_cell(cells, key)?,
            Body::Inner(inner) => {
                let index = inner.child_for(key, self.loader)?;
                let below = Shape::below(inner.level);
                let removed = self.remove(inner.children.get_mut(index), below, key)?;
                self.mend(inner, index)?;
                removed
            }
            Body::Overflow(_) => unreachable!("shapes are checked when a page is loaded"),
        };
        self.dirty += signed(page.encoded_len()) - signed(before);
        Ok(removed)
    }

    /// Makes the page that `at` points at one that only this tree has, so that it can be changed
    /// in place.
    fn own<'p>(&mut self, at: &'p mut PageRef, shape: Shape) -> Result<&'p mut Page, ReadError> {
        if let PageRef::Stored(_) = at {
            *at = PageRef::Held(self.loader.load(at, shape)?);
        }
        let PageRef::Held(page) = at else { unreachable!("it was loaded above") };
        if page.place().is_some() {
            self.dirty += signed(page.encoded_len());
        }
        match Arc::get_mut(page) {
            Some(alone) => alone.make_dirty(),
            None => *page = Arc::new(page.copy()),
        }
        Ok(Arc::get_mut(page).expect("either nobody else had it or it is new"))
    }

    fn held(&mut self, body: Body) -> PageRef {
        let page = Page::dirty(body);
        self.dirty += signed(page.encoded_len());
        PageRef::Held(Arc::new(page))
    }

    /// Takes a page that is no longer part of the tree off the count of dirty bytes.
    fn forget(&mut self, gone: &PageRef) {
        match gone {
            PageRef::Held(page) if page.place().is_none() => {
                self.dirty -= signed(page.encoded_len());
            }
            PageRef::Held(_) | PageRef::Stored(_) => {}
        }
    }

    /// Cuts a key for a page with this prefix. A page of a time with larger pages may have a
    /// prefix beyond today's inline limit: then the key's inline part must cover it, or it would
    /// seem to lie beyond the ends of the page.
    fn cut_key<'k>(&mut self, key: &'k [u8], prefix: &[u8]) -> NewKey<'k> {
        let inline =
            if key.starts_with(prefix) { self.inline.max(prefix.len()) } else { self.inline };
        match key.split_at_checked(inline) {
            Some((inline, rest)) if !rest.is_empty() => {
                NewKey { inline, rest: Some(self.held(Body::Overflow(rest.to_vec()))) }
            }
            _ => NewKey { inline: key, rest: None },
        }
    }

    fn cut_value<'v>(&mut self, value: &'v [u8]) -> NewValue<'v> {
        if value.len() <= self.inline {
            return NewValue::Here(value);
        }
        NewValue::Apart(self.held(Body::Overflow(value.to_vec())))
    }

    fn insert_cell(
        &mut self,
        cells: &mut Cells,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<Split>, ReadError> {
        let value = self.cut_value(value);
        let index = match cells.search(key, self.loader)? {
            Ok(index) => {
                if let Some(gone) = cells.replace(index, value) {
                    self.forget(&gone);
                }
                index
            }
            Err(index) => {
                let cut = self.cut_key(key, cells.prefix());
                if !self.can_hold(cells, PAGE_HEADER, cut.inline) {
                    return self.insert_beside(cells, index, (key, cut), value).map(Some);
                }
                cells.insert(index, cut, value);
                index
            }
        };
        if PAGE_HEADER + cells.encoded_len() <= self.limit || cells.len() < 2 {
            return Ok(None);
        }
        let middle = cells.split_index(index);
        let separator = self.separator_in(cells, middle)?;
        let right = self.held(Body::Leaf(cells.split_off(middle)));
        Ok(Some(Split { separator, right }))
    }

    /// Whether the prefix of `cells` can make room for a key without overfilling the page: only a
    /// key beyond either end can need it.
    fn can_hold(&self, cells: &Cells, other_bytes: usize, inline: &[u8]) -> bool {
        cells.is_empty()
            || cells.covers(inline)
            || other_bytes + cells.encoded_len() + cells.growth_for(inline) <= self.limit
    }

    /// Puts a cell at one end of a leaf into a leaf of its own: sharing a page with it would cost
    /// the others their prefix.
    fn insert_beside(
        &mut self,
        cells: &mut Cells,
        index: usize,
        (key, cut): (&[u8], NewKey<'_>),
        value: NewValue<'_>,
    ) -> Result<Split, ReadError> {
        let mut alone = Cells::default();
        alone.insert(0, cut, value);
        if index == 0 {
            let first = self.full_key(cells, 0)?;
            let separator = self.separator_between(key, &first);
            let right = self.held(Body::Leaf(std::mem::replace(cells, alone)));
            return Ok(Split { separator, right });
        }
        let last = self.full_key(cells, cells.len() - 1)?;
        let separator = self.separator_between(&last, key);
        Ok(Split { separator, right: self.held(Body::Leaf(alone)) })
    }

    fn full_key(&self, cells: &Cells, index: usize) -> Result<Vec<u8>, ReadError> {
        let mut key = Vec::new();
        cells.key_into(index, self.loader, &mut key)?;
        Ok(key)
    }

    fn separator_in(&mut self, cells: &Cells, index: usize) -> Result<Separator, ReadError> {
        let (left, right) = (self.full_key(cells, index - 1)?, self.full_key(cells, index)?);
        Ok(self.separator_between(&left, &right))
    }

    /// The shortest key above `left` and not above `right`.
    fn separator_between(&mut self, left: &[u8], right: &[u8]) -> Separator {
        let shortest = &right[..(common_prefix(left, right) + 1).min(right.len())];
        let cut = self.cut_key(shortest, &[]);
        Separator { inline: cut.inline.to_vec(), rest: cut.rest }
    }

    /// Cuts a separator anew if the prefix of the page that it goes to asks for it.
    fn fit(&mut self, separator: Separator, page: &Cells) -> Result<Separator, ReadError> {
        let Some(rest) = &separator.rest else { return Ok(separator) };
        if separator.inline.len() >= page.prefix().len() {
            return Ok(separator);
        }
        let key = [&separator.inline, self.loader.overflow(rest)?.bytes()].concat();
        self.forget(rest);
        let cut = self.cut_key(&key, page.prefix());
        Ok(Separator { inline: cut.inline.to_vec(), rest: cut.rest })
    }

    /// Adds the upper half of the child at `index`.
    fn insert_child(
        &mut self,
        inner: &mut Inner,
        index: usize,
        split: Split,
    ) -> Result<Option<Split>, ReadError> {
        let split = Split { separator: self.fit(split.separator, &inner.separators)?, ..split };
        let places = inner.encoded_len() - inner.separators.encoded_len();
        if !self.can_hold(&inner.separators, places, &split.separator.inline) {
            return Ok(Some(self.insert_child_beside(inner, index, split)));
        }
        Arc::make_mut(&mut inner.separators).insert(index, split.separator.as_key(), NO_VALUE);
        inner.children.insert(index + 1, split.right);
        if inner.encoded_len() <= self.limit || inner.separators.len() < 2 {
            return Ok(None);
        }
        let middle = inner.separators.split_index(index);
        Ok(Some(self.split_inner(inner, middle)))
    }

    /// Splits an inner page: its separator at `middle` moves up.
    fn split_inner(&mut self, inner: &mut Inner, middle: usize) -> Split {
        let mut separators = Arc::make_mut(&mut inner.separators).split_off(middle);
        let children = inner.children.split_off(middle + 1);
        let separator = take_first(&mut separators);
        let separators = Arc::new(separators);
        let right = self.held(Body::Inner(Inner { level: inner.level, separators, children }));
        Split { separator, right }
    }

    /// As [`Editor::insert_beside`], for a separator at one end of an inner page.
    fn insert_child_beside(&mut self, inner: &mut Inner, index: usize, split: Split) -> Split {
        if index > 0 {
            let children = Children::new(vec![split.right]);
            let separators = Arc::default();
            let right = self.held(Body::Inner(Inner { level: inner.level, separators, children }));
            return Split { separator: split.separator, right };
        }
        let upper = self.split_inner(inner, 0);
        Arc::make_mut(&mut inner.separators).insert(0, split.separator.as_key(), NO_VALUE);
        inner.children.insert(1, split.right);
        upper
    }

    fn remove_cell(&mut self, cells: &mut Cells, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let Ok(index) = cells.search(key, self.loader)? else { return Ok(None) };
        let value = match cells.cell(index).value {
            Value::Here(here) => Bytes::copy_from_slice(here),
            Value::Apart(number) => {
                let page = self.loader.overflow(cells.reference(number))?;
                Bytes::copy_from_slice(page.bytes())
            }
        };
        for gone in cells.remove(index).iter().flatten() {
            self.forget(gone);
        }
        Ok(Some(value))
    }

    /// After a remove below the child at `index`: drops the child if it is empty, joins it with a
    /// neighbour if it is small and both fit in one page.
    fn mend(&mut self, inner: &mut Inner, index: usize) -> Result<(), ReadError> {
        let below = Shape::below(inner.level);
        let child = self.loader.load(inner.children.get(index), below)?;
        if child.is_empty() {
            self.drop_child(inner, index);
            return Ok(());
        }
        if child.encoded_len() * 3 > self.limit {
            return Ok(());
        }
        drop(child);
        let neighbours =
            [index.checked_sub(1), (index + 1 < inner.children.len()).then_some(index)];
        for left in neighbours.into_iter().flatten() {
            if self.join(inner, left)? {
                break;
            }
        }
        Ok(())
    }

    fn drop_child(&mut self, inner: &mut Inner, index: usize) {
        let gone = inner.children.remove(index);
        self.forget(&gone);
        if !inner.separators.is_empty() {
            let separator = Arc::make_mut(&mut inner.separators).remove(index.saturating_sub(1));
            separator.iter().flatten().for_each(|gone| self.forget(gone));
        }
    }

    /// Joins the children at `left` and `left + 1` if one page can hold both and has some room
    /// left, so that the next insert does not split it again.
    fn join(&mut self, inner: &mut Inner, left: usize) -> Result<bool, ReadError> {
        let below = Shape::below(inner.level);
        let first = self.loader.load(inner.children.get(left), below)?;
        let second = self.loader.load(inner.children.get(left + 1), below)?;
        let enough = self.limit * 5 / 6;
        let joined = match (&first.body, &second.body) {
            (Body::Leaf(a), Body::Leaf(b)) if PAGE_HEADER + a.joined_len(b) <= enough => {
                Body::Leaf(a.joined(b))
            }
            (Body::Inner(a), Body::Inner(b)) => {
                let separator = key_at(&inner.separators, left);
                let Some(joined) = join_inner(a, &separator, b, enough) else { return Ok(false) };
                Body::Inner(joined)
            }
            _ => return Ok(false),
        };
        drop((first, second));
        let gone = inner.children.remove(left + 1);
        self.forget(&gone);
        self.forget(inner.children.get(left));
        let joined_below = matches!(joined, Body::Inner(_));
        *inner.children.get_mut(left) = self.held(joined);
        let separator = Arc::make_mut(&mut inner.separators).remove(left);
        if !joined_below {
            separator.iter().flatten().for_each(|gone| self.forget(gone));
        }
        Ok(true)
    }
}

/// Both inner pages and the separator between them in one page, if it takes at most `limit` bytes.
fn join_inner(a: &Inner, separator: &Separator, b: &Inner, limit: usize) -> Option<Inner> {
    let mut between = Cells::default();
    between.insert(0, separator.as_key(), NO_VALUE);
    let places = PAGE_HEADER + (a.children.len() + b.children.len()) * Place::ENCODED;
    if places + a.separators.joined_len(&between) > limit {
        return None;
    }
    let lower = a.separators.joined(&between);
    if places + lower.joined_len(&b.separators) > limit {
        return None;
    }
    let separators = Arc::new(lower.joined(&b.separators));
    let children = a.children.joined(&b.children);
    Some(Inner { level: a.level, separators, children })
}

fn key_at(cells: &Cells, index: usize) -> Separator {
    let rest = cells.cell(index).rest.map(|number| cells.reference(number).clone());
    Separator { inline: cells.inline_key(index), rest }
}

fn take_first(cells: &mut Cells) -> Separator {
    let separator = key_at(cells, 0);
    cells.remove(0);
    separator
}
