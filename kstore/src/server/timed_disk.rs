//! A disk that says how long its syncs take.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kstore_etcd_api::{Histogram, SyncTimes};
use kstore_host::{Clock, DirectoryLock, Disk, Entry, File, OpenMode};

/// Does what `disk` does and counts the time of each sync: those of the write-ahead log, which
/// lies in a directory of its own, and those of everything else.
#[derive(Debug)]
pub(crate) struct TimedDisk {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) times: Arc<SyncTimes>,
}

/// The directory of the write-ahead log.
const LOG_DIRECTORY: &str = "wal";

#[derive(Debug)]
struct TimedFile {
    file: Arc<dyn File>,
    clock: Arc<dyn Clock>,
    times: Arc<SyncTimes>,
    is_log: bool,
}

impl TimedFile {
    fn histogram(&self) -> &Histogram {
        if self.is_log { &self.times.log } else { &self.times.store }
    }

    fn now(&self) -> Duration {
        self.clock.monotonic()
    }
}

impl File for TimedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        let begun = self.now();
        let result = self.file.sync();
        self.histogram().count(self.now().saturating_sub(begun));
        result
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

impl Disk for TimedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let parent = path.parent().and_then(Path::file_name);
        Ok(Arc::new(TimedFile {
            file: self.disk.open(path, mode)?,
            clock: Arc::clone(&self.clock),
            times: Arc::clone(&self.times),
            is_log: parent.is_some_and(|name| name == LOG_DIRECTORY),
        }))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.disk.read_dir(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.link(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirectoryLock>> {
        self.disk.lock(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_space(path)
    }
}
