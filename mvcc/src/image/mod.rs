//! Images: a durable state of the store as files that can be kept, sent and installed
//! (`docs/formats/image.md`).
//!
//! ```text
//!   Store::image -> Image --reader--> stream: manifest | file | file | ... | SHA-256
//!                     |                                   |
//!                  write_dir                        ImageReceiver
//!                     v                                   v
//!   directory: manifest, files, sha256  --open--> ReceivedImage --install--> store-<n+1>
//! ```
//!
//! One format serves backups, Raft snapshots and restores. An image is that of the newest root, so
//! nothing is copied to make one: it names the files and keeps them from being removed while it
//! lives. Sealed files never change; of the open segment and the last page file the first bytes,
//! up to where the root ends, never change either.
//!
//! The digest at the end covers every byte before it, and a [`ReceivedImage`] exists only after it
//! was checked, so what is installed is what was sent.

mod install;
mod manifest;
mod receive;
mod stream;

use std::fmt::{Display, Formatter};
use std::io;
use std::path::Path;
use std::sync::Arc;

use kstore_host::{Disk, OpenMode};

use crate::checkpoint::Pin;
use crate::snapshot::Shared;
use crate::store::Store;
use crate::tree::FileNumber;
use crate::{Lineage, Position, ReadError, Revision};

pub use install::{Installed, Restart, install};
use manifest::{ImageFile, Manifest};
pub use receive::{ImageReceiver, ReceivedImage};
pub use stream::{ImageProgress, ImageReader};

/// The name of the manifest in the directory form.
pub(crate) const MANIFEST: &str = "manifest";
/// The name of the file that holds the digest in the directory form.
pub(crate) const DIGEST: &str = "sha256";
/// How much of a file is read at a time.
const PIECE: usize = 256 << 10;

/// Why an image cannot be made, sent, received or installed.
#[derive(Debug)]
pub enum ImageError {
    /// The disk failed.
    Io {
        /// What was being done.
        what: String,
        /// The disk's own words.
        source: io::Error,
    },
    /// What was received is no image, or not a whole one.
    Malformed(String),
    /// The image was written by another version of kstore.
    OtherFormat {
        /// The version it carries.
        found: u32,
        /// The version that this program writes and reads.
        expected: u32,
    },
}

impl ImageError {
    pub(crate) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: format!("{verb} {}", path.display()), source }
    }
}

fn malformed(what: &str) -> ImageError {
    ImageError::Malformed(what.to_owned())
}

impl Display for ImageError {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io { what, source } => write!(f, "{what}: {source}"),
            Self::Malformed(what) => write!(f, "the image cannot be used: {what}"),
            Self::OtherFormat { found, expected } => write!(
                f,
                "the image has format version {found}; this kstore reads version {expected} only"
            ),
        }
    }
}

impl std::error::Error for ImageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<ReadError> for ImageError {
    fn from(error: ReadError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// What an image is the image of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageInfo {
    /// The entry of the Raft log that the state is the outcome of.
    pub position: Option<Position>,
    /// Its newest revision.
    pub revision: Revision,
    /// Its compaction horizon.
    pub compacted: Revision,
    /// The history that it belongs to.
    pub lineage: Lineage,
    /// The hash that chains the outcomes of all entries up to `position`.
    pub chain: crate::ChainHash,
}

impl Manifest {
    fn info(&self) -> ImageInfo {
        let root = &self.root;
        ImageInfo {
            position: root.applied,
            revision: root.revision,
            compacted: root.compacted,
            lineage: root.lineage,
            chain: root.chain,
        }
    }
}

/// The newest durable state, held so that its files stay while it lives.
#[derive(Debug)]
pub struct Image {
    shared: Arc<Shared>,
    manifest: Manifest,
    _pin: Pin,
}

impl Store {
    /// The image of the newest durable root. A checkpoint before this makes it that of the
    /// published state.
    pub fn image(&self) -> Result<Image, ImageError> {
        let root = self.checkpoint.newest;
        let pin = self.checkpoint.pins.pin(root.generation);
        let shared = Arc::clone(&self.shared);
        let mut files = Vec::new();
        {
            let state = shared.log.state();
            for segment in &state.segments {
                if segment.file.number >= root.log.file.number {
                    break;
                }
                let sealed = segment.sealed.get().expect("segments before the open one are sealed");
                files.push(ImageFile { name: segment.file.name(), length: sealed.length });
            }
        }
        if root.log.offset > 0 {
            files.push(ImageFile { name: root.log.file.name(), length: root.log.offset });
        }
        let numbers = shared.pages.files().map_err(ImageError::io("list", &shared.home))?;
        for number in numbers.into_iter().filter(|number| *number < root.pages.next) {
            files.push(page_file(&shared, number, root.pages.last)?);
        }
        Ok(Image { shared, manifest: Manifest { root, files }, _pin: pin })
    }
}

/// A page file with the length that it has for good.
fn page_file(
    shared: &Shared,
    number: FileNumber,
    last: Option<(FileNumber, u64)>,
) -> Result<ImageFile, ImageError> {
    let name = number.name();
    if let Some((last, length)) = last
        && last == number
    {
        return Ok(ImageFile { name, length });
    }
    let path = shared.pages.path(number);
    let file = shared.disk.open(&path, OpenMode::Read);
    let length = file.and_then(|file| file.length()).map_err(ImageError::io("measure", &path))?;
    Ok(ImageFile { name, length })
}

impl Image {
    /// What it is the image of.
    #[must_use]
    pub fn info(&self) -> ImageInfo {
        self.manifest.info()
    }

    /// The length of its stream form.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.manifest.stream_length()
    }

    /// The stream form, from its beginning. Reads the disk: for jobs.
    #[must_use]
    pub fn reader(&self) -> ImageReader<'_> {
        ImageReader::new(&*self.shared.disk, &self.shared.home, &self.manifest)
    }

    /// The stream form, from where an earlier reader of this image was paused.
    #[must_use]
    pub fn resume(&self, progress: ImageProgress) -> ImageReader<'_> {
        self.reader().resume(progress)
    }

    /// Writes the directory form to `dir`, which must not hold anything yet. Sealed files are
    /// linked where the file system allows it.
    pub fn write_dir(&self, disk: &dyn Disk, dir: &Path) -> Result<(), ImageError> {
        install::write_dir(disk, &self.shared.home, &self.manifest, dir)
    }
}
