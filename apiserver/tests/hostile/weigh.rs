//! How much memory a request takes at its heaviest: an allocator that counts for each thread.
//!
//! Tests run each on a thread of their own, and a request on the thread of its test.

#![expect(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; this one passes on and counts"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread took and did not give back, since it began to count.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static HEAVIEST: Cell<isize> = const { Cell::new(0) };
}

struct Scales;

#[global_allocator]
static SCALES: Scales = Scales;

fn note(bytes: isize) {
    // A thread that is ending counts no more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = HEAVIEST.try_with(|heaviest| heaviest.set(heaviest.get().max(held.get())));
    });
}

fn signed(size: usize) -> isize {
    isize::try_from(size).unwrap_or(isize::MAX)
}

// SAFETY: everything is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Scales {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(signed(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        note(-signed(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(signed(size) - signed(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Begins to count on this thread.
pub(crate) fn begin() {
    HELD.set(0);
    HEAVIEST.set(0);
}

/// The most that this thread held at once since it began to count.
pub(crate) fn heaviest() -> usize {
    usize::try_from(HEAVIEST.get()).unwrap_or(0)
}
