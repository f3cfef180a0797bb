//! Taking an image in: from a stream, or from a directory that holds one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kstore_host::{Disk, File, OpenMode};
use sha2::{Digest, Sha256};

use crate::codec::wide;
use crate::image::manifest::{HEAD, Manifest, padded};
use crate::image::{DIGEST, ImageError, ImageInfo, ImageReader, MANIFEST, malformed};

/// An image in a directory, whole and checked against its digest.
#[derive(Debug)]
pub struct ReceivedImage {
    pub(crate) dir: PathBuf,
    pub(crate) manifest: Manifest,
}

impl ReceivedImage {
    /// What it is the image of.
    #[must_use]
    pub fn info(&self) -> ImageInfo {
        self.manifest.info()
    }

    /// Opens the directory form of an image and checks its digest, which reads all of it.
    pub fn open(disk: &dyn Disk, dir: &Path) -> Result<Self, ImageError> {
        let manifest = Manifest::decode(&read_all(disk, &dir.join(MANIFEST))?)?;
        let expected = read_all(disk, &dir.join(DIGEST))?;
        if digest(disk, dir, &manifest)? != expected {
            return Err(malformed("its digest is not that of its files"));
        }
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// Removes the directory with everything in it.
    pub fn remove(self, disk: &dyn Disk) -> Result<(), ImageError> {
        clear(disk, &self.dir)?;
        disk.remove_dir(&self.dir).map_err(ImageError::io("remove", &self.dir))
    }
}

/// The digest of an image in a directory.
pub(crate) fn digest(
    disk: &dyn Disk,
    dir: &Path,
    manifest: &Manifest,
) -> Result<Vec<u8>, ImageError> {
    let mut reader = ImageReader::new(disk, dir, manifest);
    let mut last = None;
    while let Some(piece) = reader.next_piece()? {
        last = Some(piece);
    }
    Ok(last.expect("the digest is always the last piece").to_vec())
}

/// A small file as a whole.
fn read_all(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, ImageError> {
    let file = disk.open(path, OpenMode::Read).map_err(ImageError::io("open", path))?;
    let length = file.length().map_err(ImageError::io("measure", path))?;
    let length = usize::try_from(length).ok().filter(|length| *length < 64 << 20);
    let mut bytes = vec![0; length.ok_or_else(|| malformed("a small file is very large"))?];
    file.read_exact_at(&mut bytes, 0).map_err(ImageError::io("read", path))?;
    Ok(bytes)
}

/// Removes all files in a directory.
fn clear(disk: &dyn Disk, dir: &Path) -> Result<(), ImageError> {
    let entries = match disk.read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ImageError::io("list", dir)(source)),
    };
    for entry in entries.into_iter().filter(|entry| !entry.is_dir) {
        let path = dir.join(entry.name);
        disk.remove_file(&path).map_err(ImageError::io("remove", &path))?;
    }
    Ok(())
}

/// Writes the stream form of an image to a directory as it comes in.
#[derive(Debug)]
pub struct ImageReceiver {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    hasher: Sha256,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The manifest, as far as it is there. Bounded by the length that it may have.
    Manifest(Vec<u8>),
    Files(Manifest, Filling),
    /// The digest, as far as it is there: at most 32 bytes.
    Digest(Manifest, Vec<u8>),
}

/// The file that is coming in.
#[derive(Debug)]
struct Filling {
    number: usize,
    file: Option<Arc<dyn File>>,
    /// How much of it came, padding included.
    at: u64,
}

impl ImageReceiver {
    /// Begins to receive into `dir`, which is made, or emptied if an earlier attempt left it.
    pub fn begin(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, ImageError> {
        clear(&*disk, dir)?;
        disk.create_dir(dir).map_err(ImageError::io("create", dir))?;
        let stage = Stage::Manifest(Vec::new());
        Ok(Self { disk, dir: dir.to_owned(), hasher: Sha256::new(), stage })
    }

    /// Takes the next bytes of the stream, cut anywhere.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), ImageError> {
        while !bytes.is_empty() {
            let stage = std::mem::replace(&mut self.stage, Stage::Manifest(Vec::new()));
            let taken;
            (self.stage, taken) = match stage {
                Stage::Manifest(known) => self.take_manifest(known, bytes)?,
                Stage::Files(manifest, filling) => self.take_file(manifest, filling, bytes)?,
                Stage::Digest(manifest, mut digest) => {
                    if digest.len() + bytes.len() > 32 {
                        return Err(malformed("bytes behind its end"));
                    }
                    digest.extend_from_slice(bytes);
                    (Stage::Digest(manifest, digest), bytes.len())
                }
            };
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    fn take_manifest(
        &mut self,
        mut known: Vec<u8>,
        bytes: &[u8],
    ) -> Result<(Stage, usize), ImageError> {
        let wanted = match known.first_chunk::<HEAD>() {
            None => HEAD,
            Some(head) => Manifest::length(head)?,
        };
        let taken = bytes.len().min(wanted - known.len());
        known.extend_from_slice(&bytes[..taken]);
        if known.len() < wanted || wanted == HEAD {
            return Ok((Stage::Manifest(known), taken));
        }
        let manifest = Manifest::decode(&known)?;
        self.hasher.update(&known);
        let filling = Filling { number: 0, file: None, at: 0 };
        Ok((skip_empty(manifest, filling), taken))
    }

    fn take_file(
        &mut self,
        manifest: Manifest,
        mut filling: Filling,
        bytes: &[u8],
    ) -> Result<(Stage, usize), ImageError> {
        let wanted = &manifest.files[filling.number];
        let path = self.dir.join(&wanted.name);
        let file = match filling.file.take() {
            Some(file) => file,
            None => self
                .disk
                .open(&path, OpenMode::CreateNew)
                .map_err(ImageError::io("create", &path))?,
        };
        let left = padded(wanted.length) - filling.at;
        let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let content = wanted.length.saturating_sub(filling.at);
        let content = usize::try_from(content).map_or(taken, |content| content.min(taken));
        file.write_at(&bytes[..content], filling.at).map_err(ImageError::io("write", &path))?;
        self.hasher.update(&bytes[..taken]);
        filling.at += wide(taken);
        if filling.at < padded(wanted.length) {
            filling.file = Some(file);
            return Ok((Stage::Files(manifest, filling), taken));
        }
        file.sync().map_err(ImageError::io("sync", &path))?;
        let next = Filling { number: filling.number + 1, file: None, at: 0 };
        Ok((skip_empty(manifest, next), taken))
    }

    /// Ends the stream: checks the digest and makes the directory durable.
    pub fn finish(self) -> Result<ReceivedImage, ImageError> {
        let Self { disk, dir, hasher, stage } = self;
        let Stage::Digest(manifest, digest) = stage else {
            return Err(malformed("the stream ends too early"));
        };
        if digest != hasher.finalize().as_slice() {
            return Err(malformed("its digest is not that of its bytes"));
        }
        write_small(&*disk, &dir.join(MANIFEST), &manifest.encode())?;
        write_small(&*disk, &dir.join(DIGEST), &digest)?;
        disk.sync_dir(&dir).map_err(ImageError::io("sync", &dir))?;
        Ok(ReceivedImage { dir, manifest })
    }
}

/// Goes on with the next file that has any bytes, or with the digest.
fn skip_empty(manifest: Manifest, mut filling: Filling) -> Stage {
    while manifest.files.get(filling.number).is_some_and(|file| file.length == 0) {
        filling.number += 1;
    }
    if filling.number < manifest.files.len() {
        Stage::Files(manifest, filling)
    } else {
        Stage::Digest(manifest, Vec::new())
    }
}

/// Makes a small file and syncs it.
pub(crate) fn write_small(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let file = disk.open(path, OpenMode::CreateNew).map_err(ImageError::io("create", path))?;
    file.write_at(bytes, 0).map_err(ImageError::io("write", path))?;
    file.sync().map_err(ImageError::io("sync", path))
}
