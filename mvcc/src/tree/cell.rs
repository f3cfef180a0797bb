//! One cell in packed form.
//!
//! ```text
//!   len 2s+r | len 2v+a | suffix (s bytes) | [number, if r] | value (v bytes) or number, if a
//! ```
//!
//! `r` says that the key goes on in an overflow page, `a` that the value lies in one; the numbers
//! are indices into the page's references (`docs/formats/pages.md`).

use super::page::PageRef;

/// One cell, borrowed from its heap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell<'a> {
    /// The inline key without the page's prefix.
    pub(super) suffix: &'a [u8],
    /// The overflow page that the key goes on in, by its number in the page.
    pub(super) rest: Option<u16>,
    /// The value.
    pub(super) value: Value<'a>,
    /// How many bytes of the heap the cell takes.
    pub(super) length: usize,
}

/// A cell's value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// In the cell.
    Here(&'a [u8]),
    /// In an overflow page, by its number in the page.
    Apart(u16),
}

impl Value<'_> {
    /// The number of the overflow page, if the value is in one.
    pub(super) fn apart(self) -> Option<u16> {
        match self {
            Value::Apart(number) => Some(number),
            Value::Here(_) => None,
        }
    }
}

/// A key cut into what lies in a page and what goes on in an overflow page.
#[derive(Debug)]
pub(super) struct NewKey<'a> {
    pub(super) inline: &'a [u8],
    pub(super) rest: Option<PageRef>,
}

/// A value on its way into a page.
#[derive(Debug)]
pub(super) enum NewValue<'a> {
    Here(&'a [u8]),
    Apart(PageRef),
}

/// Reads a length of at most 21 bits: seven bits a byte, the lowest first.
fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    if first < 0x80 {
        return Some(usize::from(first));
    }
    let mut value = usize::from(first & 0x7f);
    for shift in [7, 14] {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn put_length(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// How many bytes two strings have in common at their start.
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

impl<'a> Cell<'a> {
    /// The cell at the start of `heap`; `None` if there is no whole one.
    #[inline]
    pub(super) fn parse(heap: &'a [u8]) -> Option<Self> {
        let mut bytes = heap;
        let key = take_length(&mut bytes)?;
        let value = take_length(&mut bytes)?;
        let (suffix, mut bytes) = bytes.split_at_checked(key >> 1)?;
        let rest = if key & 1 == 1 { Some(take_number(&mut bytes)?) } else { None };
        let value = if value & 1 == 1 {
            Value::Apart(take_number(&mut bytes)?)
        } else {
            let (here, after) = bytes.split_at_checked(value >> 1)?;
            bytes = after;
            Value::Here(here)
        };
        Some(Self { suffix, rest, value, length: heap.len() - bytes.len() })
    }
}

fn take_number(bytes: &mut &[u8]) -> Option<u16> {
    let (number, rest) = bytes.split_first_chunk::<2>()?;
    *bytes = rest;
    Some(u16::from_le_bytes(*number))
}

/// Appends a cell to a heap.
pub(super) fn put(heap: &mut Vec<u8>, suffix: &[u8], rest: Option<u16>, value: Value<'_>) {
    put_length(heap, suffix.len() * 2 + usize::from(rest.is_some()));
    put_length(
        heap,
        match value {
            Value::Here(here) => here.len() * 2,
            Value::Apart(_) => 1,
        },
    );
    heap.extend_from_slice(suffix);
    if let Some(number) = rest {
        heap.extend_from_slice(&number.to_le_bytes());
    }
    match value {
        Value::Here(here) => heap.extend_from_slice(here),
        Value::Apart(number) => heap.extend_from_slice(&number.to_le_bytes()),
    }
}

/// How many bytes [`put`] may append.
pub(super) fn length_at_most(suffix: &[u8], value: Value<'_>) -> usize {
    let value = match value {
        Value::Here(here) => here.len(),
        Value::Apart(_) => 2,
    };
    // Two lengths of three bytes, and the number of an overflow page.
    3 + 3 + suffix.len() + 2 + value
}

/// A cell's place in the heap, in the lower 16 bits, below the first six bytes of its suffix, the
/// first one uppermost and zeros behind a shorter suffix. Slots lie side by side, so a search
/// that compares them touches few cache lines, and hardly ever a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u64);

impl Slot {
    const HEAD_BYTES: usize = 6;

    pub(super) fn new(at: u16, suffix: &[u8]) -> Self {
        Self(Self::head_of(suffix) << 16 | u64::from(at))
    }

    /// The first bytes of a suffix as a number. Suffixes with different heads compare as these.
    #[inline]
    pub(super) fn head_of(suffix: &[u8]) -> u64 {
        let mut bytes = [0; 8];
        match suffix.first_chunk::<{ Self::HEAD_BYTES }>() {
            Some(first) => bytes[2..].copy_from_slice(first),
            None => bytes[2..2 + suffix.len()].copy_from_slice(suffix),
        }
        u64::from_be_bytes(bytes)
    }

    #[inline]
    pub(super) fn head(self) -> u64 {
        self.0 >> 16
    }

    #[inline]
    pub(super) fn at(self) -> usize {
        (self.0 & 0xffff) as usize
    }
}

/// A place in a heap, or the number of something in a page.
pub(super) fn number(value: usize) -> u16 {
    u16::try_from(value).expect("a page is split long before its heap has 64 KiB")
}
