//! Pages in memory, what points at them, and their form on the disk (`docs/formats/pages.md`).

use std::sync::{Arc, OnceLock};

use super::cells::{Cells, Counts, take_place};
use super::children::Children;
use super::place::{Overflows, Place};
use super::store::PageStore;
use crate::{Access, ReadError};

/// The length of the header of a stored page.
pub(super) const PAGE_HEADER: usize = 16;

/// The longest page that is read: any key or value that kstore takes fits several times over.
pub(super) const PAGE_MAX: usize = 64 << 20;

/// No tree is higher: a page that says so is damaged.
const LEVEL_MAX: u8 = 32;

const KIND_LEAF: u8 = 1;
const KIND_INNER: u8 = 2;
const KIND_OVERFLOW: u8 = 3;

/// A page.
///
/// Invariant: once its place is set, a page's content never changes; whoever changes it takes
/// the place away first, and can do so only as its single owner.
#[derive(Debug)]
pub(super) struct Page {
    /// Where the page is stored; set when it is written, by whoever writes it, for all who hold
    /// it. Empty: the page is dirty.
    place: OnceLock<Place>,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    /// Keys and values.
    Leaf(Cells),
    /// Separators and children.
    Inner(Inner),
    /// The rest of a long key, or a long value.
    Overflow(Vec<u8>),
}

/// An inner page.
///
/// Invariant: there is one child more than there are separators; the keys below child `i` are at
/// or above separator `i - 1` and below separator `i`.
#[derive(Debug)]
pub(super) struct Inner {
    /// The level of the children is one less; leaves have level 0.
    pub(super) level: u8,
    /// Cells without values. Shared by the copies of a page: they change only when children are
    /// split or joined, and the page is copied for every change below it.
    pub(super) separators: Arc<Cells>,
    pub(super) children: Children,
}

/// How a page is pointed at.
#[derive(Debug, Clone)]
pub(super) enum PageRef {
    /// In memory, dirty or clean.
    Held(Arc<Page>),
    /// On the disk, and perhaps in the cache.
    Stored(Place),
}

/// What a page must be, seen from what points at it. Checked whenever a page comes from the
/// store, so that no pointer of a damaged page can lead in a circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A leaf or an inner page of any level.
    Root,
    /// A leaf (0) or an inner page of this level.
    Level(u8),
    Overflow,
}

impl Shape {
    /// What a child of a page of `level` must be.
    pub(super) fn below(level: u8) -> Self {
        Self::Level(level - 1)
    }

    pub(super) fn fits(self, page: &Page) -> bool {
        match (self, &page.body) {
            (Self::Overflow, Body::Overflow(_))
            | (Self::Root, Body::Leaf(_) | Body::Inner(_))
            | (Self::Level(0), Body::Leaf(_)) => true,
            (Self::Level(level), Body::Inner(inner)) => inner.level == level,
            _ => false,
        }
    }
}

/// Follows references, on behalf of a read that may or may not wait for the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loader<'a> {
    pub(super) pages: &'a PageStore,
    pub(super) access: Access,
}

impl Loader<'_> {
    /// The page that `reference` points at.
    pub(super) fn load(&self, reference: &PageRef, shape: Shape) -> Result<Arc<Page>, ReadError> {
        match reference {
            PageRef::Held(page) => Ok(Arc::clone(page)),
            PageRef::Stored(place) => self.pages.load(place, shape, self.access),
        }
    }

    pub(super) fn overflow(&self, reference: &PageRef) -> Result<Arc<Page>, ReadError> {
        self.load(reference, Shape::Overflow)
    }
}

impl Inner {
    /// The number of the child below which `key` lies.
    pub(super) fn child_for(&self, key: &[u8], loader: Loader<'_>) -> Result<usize, ReadError> {
        Ok(match self.separators.search(key, loader)? {
            Ok(equal) => equal + 1,
            Err(between) => between,
        })
    }

    pub(super) fn encoded_len(&self) -> usize {
        PAGE_HEADER + self.separators.encoded_len() + self.children.len() * Place::ENCODED
    }
}

impl Page {
    /// A page that is nowhere on the disk.
    pub(super) fn dirty(body: Body) -> Self {
        Self { place: OnceLock::new(), body }
    }

    /// A page as it is stored at `place`.
    pub(super) fn stored(place: Place, body: Body) -> Self {
        Self { place: OnceLock::from(place), body }
    }

    /// Where the page is stored, if it is.
    pub(super) fn place(&self) -> Option<&Place> {
        self.place.get()
    }

    /// Says where the page now is stored.
    pub(super) fn set_place(&self, place: Place) {
        // Two checkpoints never write the same page: there is one at a time.
        self.place.set(place).expect("a page is written once");
    }

    /// Takes the place away, before the page is changed.
    pub(super) fn make_dirty(&mut self) {
        self.place.take();
    }

    /// A dirty copy, to be changed.
    pub(super) fn copy(&self) -> Self {
        Self::dirty(match &self.body {
            Body::Leaf(cells) => Body::Leaf(cells.clone()),
            Body::Inner(inner) => Body::Inner(Inner {
                level: inner.level,
                separators: Arc::clone(&inner.separators),
                children: inner.children.clone(),
            }),
            Body::Overflow(bytes) => Body::Overflow(bytes.clone()),
        })
    }

    /// The bytes of an overflow page. What is loaded as one is one ([`Shape::fits`]).
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Overflow(bytes) => bytes,
            Body::Leaf(_) | Body::Inner(_) => panic!("a page of cells was used as overflow page"),
        }
    }

    /// The level of a page of cells.
    pub(super) fn level(&self) -> u8 {
        match &self.body {
            Body::Inner(inner) => inner.level,
            Body::Leaf(_) | Body::Overflow(_) => 0,
        }
    }

    /// Whether the page has neither cells nor children, so that its parent should drop it.
    pub(super) fn is_empty(&self) -> bool {
        match &self.body {
            Body::Leaf(cells) => cells.is_empty(),
            Body::Inner(inner) => inner.children.len() == 0,
            Body::Overflow(_) => false,
        }
    }

    /// The cells of a leaf, or the separators of an inner page.
    pub(super) fn cells(&self) -> Option<&Cells> {
        match &self.body {
            Body::Leaf(cells) => Some(cells),
            Body::Inner(inner) => Some(&inner.separators),
            Body::Overflow(_) => None,
        }
    }

    pub(super) fn overflows(&self) -> Overflows {
        match self.cells() {
            Some(cells) if cells.has_references() => Overflows::Some,
            _ => Overflows::None,
        }
    }

    /// How many bytes the page takes on the disk.
    pub(super) fn encoded_len(&self) -> usize {
        match &self.body {
            Body::Leaf(cells) => PAGE_HEADER + cells.encoded_len(),
            Body::Inner(inner) => inner.encoded_len(),
            Body::Overflow(bytes) => PAGE_HEADER + bytes.len(),
        }
    }

    /// How many bytes of memory the page takes, roughly.
    pub(super) fn memory(&self) -> usize {
        let body = match &self.body {
            Body::Leaf(cells) => cells.memory(),
            Body::Inner(inner) => {
                inner.separators.memory() + inner.children.len() * size_of::<PageRef>()
            }
            Body::Overflow(bytes) => bytes.capacity(),
        };
        size_of::<Self>() + body
    }
}

/// Appends the form on the disk of a page whose children and overflow pages are all stored.
/// Checksum and length are left open for the writer, which knows the position.
pub(super) fn encode(page: &Page, out: &mut Vec<u8>) {
    let (kind, level) = match &page.body {
        Body::Leaf(_) => (KIND_LEAF, 0),
        Body::Inner(inner) => (KIND_INNER, inner.level),
        Body::Overflow(_) => (KIND_OVERFLOW, 0),
    };
    let canonical = page.cells().filter(|cells| cells.has_references()).map(Cells::canonical);
    let cells = canonical.as_ref().or(page.cells());
    let count = |of: usize| u16::try_from(of).expect("a page holds less than 64 KiB of cells");
    let (prefix, len, references) = cells.map_or((0, 0, 0), |cells| {
        (count(cells.prefix().len()), count(cells.len()), count(cells.references().count()))
    });
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&[kind, level]);
    out.extend_from_slice(&prefix.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&references.to_le_bytes());
    match &page.body {
        Body::Overflow(bytes) => out.extend_from_slice(bytes),
        Body::Leaf(_) | Body::Inner(_) => {
            let cells = cells.expect("leaves and inner pages have cells");
            cells.encode(out);
            encode_places(cells.references(), out);
        }
    }
    if let Body::Inner(inner) = &page.body {
        assert_eq!(inner.children.len(), cells.map_or(0, Cells::len) + 1);
        encode_places(inner.children.iter(), out);
    }
}

fn encode_places<'a>(references: impl Iterator<Item = &'a PageRef>, out: &mut Vec<u8>) {
    for reference in references {
        let place = match reference {
            PageRef::Stored(place) => place,
            PageRef::Held(page) => page.place().expect("what a page owns is written before it"),
        };
        out.extend_from_slice(&place.encode());
    }
}

/// Reads a page whose checksum is right. `bytes` is the whole page; any bytes at all are
/// survived.
pub(super) fn decode(bytes: &[u8]) -> Result<Body, String> {
    let Some((header, body)) = bytes.split_first_chunk::<PAGE_HEADER>() else {
        return Err("shorter than a page header".to_owned());
    };
    let number = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let (kind, level) = (header[8], header[9]);
    let counts = Counts { prefix: number(10), cells: number(12), references: number(14) };
    let (body, rest) = match (kind, level) {
        (KIND_LEAF, 0) => {
            let (cells, rest) = Cells::decode(body, counts)?;
            (Body::Leaf(cells), rest)
        }
        (KIND_INNER, 1..=LEVEL_MAX) => {
            let (separators, mut rest) = Cells::decode(body, counts)?;
            let mut children = Vec::with_capacity(counts.cells + 1);
            for index in 0..=counts.cells {
                let place = take_place(&mut rest).ok_or_else(|| format!("no child {index}"))?;
                children.push(PageRef::Stored(place));
            }
            let separators = Arc::new(separators);
            (Body::Inner(Inner { level, separators, children: Children::new(children) }), rest)
        }
        (KIND_OVERFLOW, 0) => (Body::Overflow(body.to_vec()), [].as_slice()),
        _ => return Err(format!("no such page kind and level: {kind}, {level}")),
    };
    if !rest.is_empty() {
        return Err(format!("{} bytes behind the content", rest.len()));
    }
    Ok(body)
}
