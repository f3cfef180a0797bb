//! Putting an image into a directory: its own form, or a home of a store.

use std::path::Path;

use kstore_host::{Disk, OpenMode};

use crate::codec::wide;
use crate::home;
use crate::image::manifest::{ImageFile, Manifest};
use crate::image::receive::{digest, write_small};
use crate::image::{DIGEST, ImageError, ImageInfo, MANIFEST, PIECE, ReceivedImage, malformed};
use crate::root::{Root, RootFile};
use crate::{OpenError, StoreId};

/// What the installed store goes on as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// A member of the cluster that the image is from: the Raft log goes on behind its position.
    SameCluster,
    /// The first state of a new cluster, whose Raft log begins anew.
    NewCluster,
}

/// An image that was installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed {
    /// What it is the image of; without a position for a new cluster.
    pub info: ImageInfo,
}

/// Makes an image the store of a data directory. The home before it is void from then on; open
/// the store again. Both newest roots are the image's, so going back from it leads to it again.
///
/// A crash in between leaves the home before it as it was.
pub fn install(
    disk: &dyn Disk,
    data_dir: &Path,
    image: &ReceivedImage,
    store: StoreId,
    restart: Restart,
) -> Result<Installed, ImageError> {
    let number = home::list(disk, data_dir)
        .map_err(as_image_error)?
        .first()
        .map_or(home::FIRST, |highest| highest + 1);
    let path = home::path(data_dir, number);
    disk.create_dir(&path).map_err(ImageError::io("create", &path))?;
    let Manifest { root, files } = &image.manifest;
    for file in files {
        let open = file.name == root.log.file.name();
        let place = if open { Place::Copied } else { Place::Linked };
        bring(disk, &image.dir, &path, file, place)?;
    }
    disk.sync_dir(&path).map_err(ImageError::io("sync", &path))?;
    let mut info = image.info();
    if restart == Restart::NewCluster {
        info.position = None;
    }
    let first = Root { store, applied: info.position, ..*root };
    let second = Root { generation: first.generation + 1, ..first };
    RootFile::create(disk, &path, &[first, second]).map_err(as_image_error)?;
    disk.sync_dir(&path).map_err(ImageError::io("sync", &path))?;
    disk.sync_dir(data_dir).map_err(ImageError::io("sync", data_dir))?;
    Ok(Installed { info })
}

fn as_image_error(error: OpenError) -> ImageError {
    match error {
        OpenError::Io { what, source } => ImageError::Io { what, source },
        other => malformed(&other.to_string()),
    }
}

/// See [`crate::Image::write_dir`].
pub(crate) fn write_dir(
    disk: &dyn Disk,
    from: &Path,
    manifest: &Manifest,
    dir: &Path,
) -> Result<(), ImageError> {
    disk.create_dir(dir).map_err(ImageError::io("create", dir))?;
    if !disk.read_dir(dir).map_err(ImageError::io("list", dir))?.is_empty() {
        return Err(malformed(&format!("{} is not empty", dir.display())));
    }
    let open_pages = manifest.root.pages.last.map(|(number, _)| number.name());
    for file in &manifest.files {
        let grows =
            file.name == manifest.root.log.file.name() || Some(&file.name) == open_pages.as_ref();
        let place = if grows { Place::Copied } else { Place::Linked };
        bring(disk, from, dir, file, place)?;
    }
    write_small(disk, &dir.join(MANIFEST), &manifest.encode())?;
    let digest = digest(disk, dir, manifest)?;
    write_small(disk, &dir.join(DIGEST), &digest)?;
    disk.sync_dir(dir).map_err(ImageError::io("sync", dir))
}

/// How a file gets to its new directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A second name of the same bytes; nobody ever writes to them again.
    Linked,
    /// Bytes of its own, because the one here or there goes on.
    Copied,
}

/// Brings a file to another directory, durable but for its name.
fn bring(
    disk: &dyn Disk,
    from: &Path,
    to: &Path,
    file: &ImageFile,
    place: Place,
) -> Result<(), ImageError> {
    let (source, target) = (from.join(&file.name), to.join(&file.name));
    match disk.remove_file(&target) {
        // Left by an attempt that a crash ended.
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(ImageError::io("remove", &target)(error)),
    }
    // Some file systems cannot link, or not across to this one: then the bytes are copied.
    if place == Place::Linked && disk.link(&source, &target).is_ok() {
        return Ok(());
    }
    let input = disk.open(&source, OpenMode::Read).map_err(ImageError::io("open", &source))?;
    let output =
        disk.open(&target, OpenMode::CreateNew).map_err(ImageError::io("create", &target))?;
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < file.length {
        let left = usize::try_from(file.length - at).map_or(PIECE, |left| left.min(PIECE));
        input.read_exact_at(&mut buffer[..left], at).map_err(ImageError::io("read", &source))?;
        output.write_at(&buffer[..left], at).map_err(ImageError::io("write", &target))?;
        at += wide(left);
    }
    output.sync().map_err(ImageError::io("sync", &target))
}
