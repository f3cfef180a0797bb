//! Images on their way out: to a member that is far behind, or into a backup.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use kstore_host::Jobs;
use kstore_mvcc::{Position, Store};

/// The files of a durable root, kept for as long as this lives.
pub(crate) struct PinnedImage {
    pub(crate) position: Position,
    pub(crate) membership: Option<Bytes>,
    jobs: Arc<dyn Jobs>,
}

impl PinnedImage {
    pub(crate) fn of(_store: &mut Store, _jobs: Arc<dyn Jobs>) -> io::Result<Option<Self>> {
        Ok(None)
    }

    /// The stream form, from its beginning.
    pub(crate) fn reader(&self) -> ImageReader {
        ImageReader { _jobs: Arc::clone(&self.jobs) }
    }
}

/// Reads an image's stream form piece by piece.
pub(crate) struct ImageReader {
    _jobs: Arc<dyn Jobs>,
}

impl ImageReader {
    /// The next bytes, at most `most`; empty at the end.
    pub(crate) async fn next(&mut self, _most: usize) -> io::Result<Bytes> {
        Ok(Bytes::new())
    }
}

/// An image as a stream of bytes.
pub struct ImageStream {
    reader: ImageReader,
    /// How many bytes it has in all.
    pub total: u64,
}

impl std::fmt::Debug for ImageStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageStream").field("total", &self.total).finish_non_exhaustive()
    }
}

impl ImageStream {
    pub(crate) fn new(image: PinnedImage) -> Self {
        Self { reader: image.reader(), total: 0 }
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, String>> {
        match self.reader.next(64 * 1024).await {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => Some(Ok(bytes)),
            Err(error) => Some(Err(error.to_string())),
        }
    }
}
