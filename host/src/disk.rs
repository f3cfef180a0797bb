//! Files and directories: the seam between kstore and a disk.
//!
//! The contract is POSIX's, spelled out, because recovery rests on each line of it:
//!
//! - Bytes written are durable once [`File::sync`] on that file has returned, not before. A
//!   crash may keep any subset of what was written since, torn at sector borders, in any order.
//! - A directory entry (made by create, rename, link or remove) is durable once
//!   [`Disk::sync_dir`] on its directory has returned.
//! - After an error from a write or a sync nothing is known about the file's unsynced bytes: the
//!   caller stops; it never tries again.
//!
//! Paths are plain `std::path::Path`s. A simulated disk gives them meaning of its own.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How [`Disk::open`] opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A file that must not exist yet, for reading and writing, readable by its owner only.
    CreateNew,
}

/// One name in a directory, as [`Disk::read_dir`] lists it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name, without its directory. Names that are not UTF-8 are not listed: kstore makes none.
    pub name: String,
    /// Whether it names a directory.
    pub is_dir: bool,
}

/// An open file. Offsets and lengths are in bytes; all methods may be called from any thread.
pub trait File: Send + Sync + Debug {
    /// Reads into `buffer` from `offset` on; returns how many bytes were read, which is less than
    /// asked for only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`, growing the file if need be. A gap reads as zeros.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes every write to this file before this call durable, with its length.
    fn sync(&self) -> io::Result<()>;

    /// Reserves space so that later writes below `length` cannot fail for want of it, and sets
    /// the length to at least `length`. New bytes read as zeros.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Cuts or extends the file to `length`.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// The length of the file.
    fn length(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let read = self.read_at(buffer, offset)?;
        if read < buffer.len() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(())
    }
}

/// Held while a process owns a directory; dropping it gives the directory up.
pub trait DirectoryLock: Send + Sync + Debug {}

/// A file system.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file. Errors: `NotFound`, `AlreadyExists` (for [`OpenMode::CreateNew`]), and the
    /// machine's own.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// The entries of a directory, sorted by name.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// Makes a directory and its missing parents, accessible to the owner only. An existing
    /// directory is no error. The new entry is durable after a [`Disk::sync_dir`] of its parent.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes a file's name. Open handles go on working.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Gives a file or directory another name in the same file system, replacing a file there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name. Errors: `AlreadyExists`.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the entries of a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes the exclusive right to a directory. Fails with `WouldBlock` while another holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirectoryLock>>;

    /// Free space for new files in the file system of `path`, in bytes.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
}
