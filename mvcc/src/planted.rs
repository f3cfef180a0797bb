//! A known bug, put back on purpose behind the build feature `planted`, to prove that the tests
//! find it. Not in a normal build.

#[cfg(feature = "planted")]
mod switch {
    use std::sync::atomic::{AtomicBool, Ordering};

    static ROOT_BEFORE_PAGES: AtomicBool = AtomicBool::new(false);

    /// From now on every checkpoint of this process writes its root before its pages are durable.
    pub fn plant_root_before_pages() {
        ROOT_BEFORE_PAGES.store(true, Ordering::SeqCst);
    }

    pub(crate) fn root_before_pages() -> bool {
        ROOT_BEFORE_PAGES.load(Ordering::SeqCst)
    }
}

#[cfg(feature = "planted")]
pub use switch::plant_root_before_pages;

/// Whether checkpoints write their root before their pages are durable.
pub(crate) fn root_before_pages() -> bool {
    #[cfg(feature = "planted")]
    return switch::root_before_pages();
    #[cfg(not(feature = "planted"))]
    false
}
