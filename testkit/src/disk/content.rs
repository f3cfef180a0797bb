//! The bytes of one simulated file: sparse, and cheap to clone because clones share pages.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes per shared page of content; nothing but memory and speed depends on it.
const PAGE_BYTES: usize = 4096;
const PAGE: u64 = PAGE_BYTES as u64;

type Page = [u8; PAGE_BYTES];

/// Invariant: no byte at or beyond `length` is anything but zero, so that growing shows zeros.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    length: u64,
    pages: BTreeMap<u64, Arc<Page>>,
}

/// A stretch of one page: its number, where it starts inside, and how many bytes.
struct Stretch {
    page: u64,
    within: usize,
    count: usize,
}

/// Cuts `length` bytes from `offset` on into stretches that each lie in one page.
fn stretches(offset: u64, length: usize) -> impl Iterator<Item = Stretch> {
    let mut at = offset;
    let end = offset + length as u64;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let (page, within) = (at / PAGE, at % PAGE);
        let count = (PAGE - within).min(end - at);
        at += count;
        let fits = "a page is far smaller than any usize";
        Some(Stretch {
            page,
            within: usize::try_from(within).expect(fits),
            count: usize::try_from(count).expect(fits),
        })
    })
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of whole pages that hold data at or beyond `from`.
    pub(super) fn space_beyond(&self, from: u64) -> u64 {
        self.pages.range(from.div_ceil(PAGE)..).count() as u64 * PAGE
    }

    /// Reads what there is at `offset`, up to the end; returns how much.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let there = self.length.saturating_sub(offset);
        let count = usize::try_from(there).unwrap_or(usize::MAX).min(buffer.len());
        let mut done = 0;
        for stretch in stretches(offset, count) {
            let target = &mut buffer[done..done + stretch.count];
            match self.pages.get(&stretch.page) {
                Some(page) => {
                    target.copy_from_slice(&page[stretch.within..stretch.within + stretch.count]);
                }
                None => target.fill(0),
            }
            done += stretch.count;
        }
        count
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        let mut done = 0;
        for stretch in stretches(offset, bytes.len()) {
            let page = self.pages.entry(stretch.page).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            let source = &bytes[done..done + stretch.count];
            Arc::make_mut(page)[stretch.within..stretch.within + stretch.count]
                .copy_from_slice(source);
            done += stretch.count;
        }
        self.length = self.length.max(offset + bytes.len() as u64);
    }

    pub(super) fn set_length(&mut self, length: u64) {
        if length < self.length {
            self.pages.split_off(&length.div_ceil(PAGE));
            if let Some(page) = self.pages.get_mut(&(length / PAGE)) {
                let keep = usize::try_from(length % PAGE).expect("less than a page");
                Arc::make_mut(page)[keep..].fill(0);
            }
        }
        self.length = length;
    }

    pub(super) fn grow(&mut self, length: u64) {
        self.length = self.length.max(length);
    }
}
