//! The sizes of pages, of the files they lie in, and of what is kept in memory.

/// Sizes of the tree. They may change from one start to the next: no format depends on them.
#[derive(Debug, Clone)]
pub struct PageOptions {
    /// The most bytes a page of cells may take on the disk, 512 to 16 KiB. A key or a value beyond
    /// a quarter of it goes on in a page of its own.
    pub page_bytes: usize,
    /// A page file that has reached this length is left and the next one is begun.
    pub segment_bytes: u64,
    /// Bytes of stored pages that are kept in memory. Beyond it the least used ones leave.
    pub cache_bytes: usize,
    /// How many page files are kept open for reading. Beyond it the oldest is closed.
    pub open_files: usize,
}

impl Default for PageOptions {
    fn default() -> Self {
        Self {
            page_bytes: 8 << 10,
            segment_bytes: 64 << 20,
            cache_bytes: 256 << 20,
            open_files: 256,
        }
    }
}

impl PageOptions {
    /// So small that pages split, merge, leave the cache and change files all the time.
    #[must_use]
    pub fn tiny() -> Self {
        Self { page_bytes: 512, segment_bytes: 64 << 10, cache_bytes: 32 << 10, open_files: 2 }
    }

    /// The page size, forced into the range that the in-memory form of a page can hold.
    pub(crate) fn page_limit(&self) -> usize {
        self.page_bytes.clamp(512, 16 << 10)
    }

    /// How many bytes of a key lie in the page itself; the rest goes on in an overflow page. The
    /// same bound holds for a value, which then lies apart as a whole.
    pub(crate) fn inline_limit(&self) -> usize {
        self.page_limit() / 4
    }
}
