//! Images on their way out: to a member that is far behind, or into a backup.
//!
//! An image is the files of a durable root. As long as one is pinned the store keeps those files;
//! its stream form is read piece by piece, each piece by a job of its own, so that nothing waits
//! for the disk on a runtime.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use kstore_host::Jobs;
use kstore_mvcc::{Image, ImageProgress, Position};
use tokio::sync::oneshot;

/// The files of a durable root, kept for as long as this lives.
pub(crate) struct PinnedImage {
    /// The last applied entry; `None` for an empty store.
    pub(crate) position: Option<Position>,
    /// The newest membership at that position, as the engine encoded it.
    pub(crate) membership: Option<Bytes>,
    pub(crate) image: Arc<Image>,
    pub(crate) jobs: Arc<dyn Jobs>,
}

impl PinnedImage {
    /// The stream form, from its beginning.
    pub(crate) fn reader(&self) -> ImageReader {
        let progress = self.image.reader().pause();
        ImageReader {
            image: Arc::clone(&self.image),
            jobs: Arc::clone(&self.jobs),
            progress: Some(progress),
        }
    }
}

/// Reads an image's stream form piece by piece.
pub(crate) struct ImageReader {
    image: Arc<Image>,
    jobs: Arc<dyn Jobs>,
    /// `None` after an error.
    progress: Option<ImageProgress>,
}

impl ImageReader {
    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let progress = self.progress.take();
        let progress = progress.ok_or_else(|| io::Error::other("an earlier piece failed"))?;
        let image = Arc::clone(&self.image);
        let (sender, receiver) = oneshot::channel();
        let job = move || {
            let mut reader = image.resume(progress);
            let piece = reader.next_piece();
            drop(sender.send((piece, reader.pause())));
        };
        self.jobs.run(Box::new(job)).map_err(io::Error::other)?;
        let answer = receiver.await;
        let (piece, progress) = answer.map_err(|_| io::Error::other("read job was dropped"))?;
        self.progress = Some(progress);
        piece.map_err(io::Error::other)
    }
}

/// An image as a stream of bytes: the manifest, the files, and a SHA-256 of all that at the end.
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
    pub(crate) fn new(image: &PinnedImage) -> Self {
        Self { reader: image.reader(), total: image.image.length() }
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, String>> {
        self.reader.next().await.map_err(|error| error.to_string()).transpose()
    }
}
