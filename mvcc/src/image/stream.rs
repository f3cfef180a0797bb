//! The stream form of an image, piece by piece.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kstore_host::{Disk, File, OpenMode};
use sha2::{Digest, Sha256};

use crate::codec::wide;
use crate::image::manifest::{Manifest, padded};
use crate::image::{ImageError, PIECE, malformed};

/// Reads an image from front to end.
#[derive(Debug)]
pub struct ImageReader<'a> {
    disk: &'a dyn Disk,
    dir: PathBuf,
    manifest: &'a Manifest,
    hasher: Sha256,
    stage: Stage,
}

/// How far an image has been read.
#[derive(Debug)]
pub struct ImageProgress {
    hasher: Sha256,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Manifest,
    File { number: usize, file: Option<Arc<dyn File>>, at: u64 },
    Done,
}

impl<'a> ImageReader<'a> {
    pub(crate) fn new(disk: &'a dyn Disk, dir: &Path, manifest: &'a Manifest) -> Self {
        let dir = dir.to_owned();
        Self { disk, dir, manifest, hasher: Sha256::new(), stage: Stage::Manifest }
    }

    /// Where the reader stands, apart from the image that it reads: so that each piece can be read
    /// by a job of its own. [`Image::resume`](crate::Image::resume) goes on from there.
    #[must_use]
    pub fn pause(self) -> ImageProgress {
        ImageProgress { hasher: self.hasher, stage: self.stage }
    }

    pub(crate) fn resume(mut self, progress: ImageProgress) -> Self {
        self.hasher = progress.hasher;
        self.stage = progress.stage;
        self
    }

    /// The next piece, at most 256 KiB unless it is the manifest; `None` after the last one.
    pub fn next_piece(&mut self) -> Result<Option<Bytes>, ImageError> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::Manifest => {
                    self.stage = Stage::File { number: 0, file: None, at: 0 };
                    return Ok(Some(self.hashed(self.manifest.encode())));
                }
                Stage::File { number, file, at } => {
                    let Some(wanted) = self.manifest.files.get(number) else {
                        self.stage = Stage::Done;
                        let digest = std::mem::take(&mut self.hasher).finalize();
                        return Ok(Some(Bytes::copy_from_slice(&digest)));
                    };
                    if at >= wanted.length {
                        self.stage = Stage::File { number: number + 1, file: None, at: 0 };
                        continue;
                    }
                    let path = self.dir.join(&wanted.name);
                    let file = match file {
                        Some(file) => file,
                        None => self
                            .disk
                            .open(&path, OpenMode::Read)
                            .map_err(ImageError::io("open", &path))?,
                    };
                    let piece = read_piece(&*file, &path, at, wanted.length)?;
                    let at = at + wide(piece.len());
                    self.stage = Stage::File { number, file: Some(file), at };
                    return Ok(Some(self.hashed(piece)));
                }
                Stage::Done => return Ok(None),
            }
        }
    }

    fn hashed(&mut self, piece: Vec<u8>) -> Bytes {
        self.hasher.update(&piece);
        Bytes::from(piece)
    }
}

/// The bytes of a file from `at` on; the last piece is padded with zeros.
fn read_piece(file: &dyn File, path: &Path, at: u64, length: u64) -> Result<Vec<u8>, ImageError> {
    let left = length - at;
    let piece = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
    let mut bytes = vec![0; piece];
    let read = file.read_at(&mut bytes, at).map_err(ImageError::io("read", path))?;
    if read < piece {
        return Err(malformed(&format!("{} is shorter than it was", path.display())));
    }
    if wide(piece) == left {
        let end = usize::try_from(padded(wide(piece))).expect("a piece and some zeros");
        bytes.resize(end, 0);
    }
    Ok(bytes)
}

const _: () = assert!(PIECE.is_multiple_of(512), "all pieces but the last are whole units");
