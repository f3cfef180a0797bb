//! A disk that keeps nothing: an image is checked down to its last byte without room for it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use kstore_host::{DirectoryLock, Disk, Entry, File, OpenMode};

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Discard;

impl DirectoryLock for Discard {}

impl File for Discard {
    fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<usize> {
        Err(nothing())
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _length: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_length(&self, _length: u64) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(0)
    }
}

impl Disk for Discard {
    fn open(&self, _path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        match mode {
            OpenMode::CreateNew => Ok(Arc::new(Self)),
            OpenMode::Read | OpenMode::ReadWrite => Err(nothing()),
        }
    }

    fn read_dir(&self, _path: &Path) -> io::Result<Vec<Entry>> {
        Ok(Vec::new())
    }

    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove_file(&self, _path: &Path) -> io::Result<()> {
        Err(nothing())
    }

    fn remove_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(nothing())
    }

    fn link(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(nothing())
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<Box<dyn DirectoryLock>> {
        Ok(Box::new(*self))
    }

    fn free_space(&self, _path: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

fn nothing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}
