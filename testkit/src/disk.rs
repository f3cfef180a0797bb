//! A disk in memory that forgets what a real one may forget.
//!
//! ```text
//!   SimDisk ── clone: the same disk ─────────── SimDisk
//!      │  fork(): another disk, equal from here on, apart afterwards
//!      │  crash(policy): what a power cut leaves; old handles fail with "crashed"
//!      ▼
//!   every operation ─► counted ─► meets a fault? ─► done ─► logged
//!
//!   file        durable bytes + ordered unsynced changes          durable on File::sync
//!   directory   durable names + ordered unsynced changes          durable on Disk::sync_dir
//! ```
//!
//! The disk keeps to the letter of `host::Disk`'s contract and to nothing beyond it: syncing a
//! file does not make its name durable, syncing a directory does not make its parent's entry
//! durable, a rename between two directories is two changes. A real file system is kinder; code
//! that survives this one survives those.
//!
//! Invariant: with the same seed and the same calls in the same order, a disk does the same.
//!
//! Deliberately missing: permissions, symbolic links, times, and latency, which is
//! the matter of whoever schedules the jobs.

mod content;
mod crash;
mod faults;
mod names;
mod state;

use std::fmt::{Debug, Formatter};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kstore_host::{DirectoryLock, Disk, Entry, File, OpenMode};

use crate::Prng;

pub use crash::{CrashPolicy, Sector};
pub use faults::{Applied, Errno, Fault, OpKind, Operation, Repeat, Trouble, When};

use state::{InodeId, State, Verdict, crashed};

const EBADF: i32 = 9;
const EINVAL: i32 = 22;

/// What [`Disk::free_space`] answers on a disk without a capacity: one tebibyte.
const PLENTY: u64 = 1 << 40;

/// A handle on a simulated disk, of one boot. Clones are handles on the same disk.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Mutex<State>>,
    boot: u64,
}

impl Debug for SimDisk {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimDisk").field("boot", &self.boot).finish_non_exhaustive()
    }
}

/// Making, cutting and copying disks.
impl SimDisk {
    /// An empty disk without faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { shared: Arc::new(Mutex::new(State::new(seed))), boot: 0 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another disk, equal to this one in everything, unsynced changes, faults and all. Files that
    /// are open here stay this disk's.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.state().clone();
        Self { shared: Arc::new(Mutex::new(state)), boot: self.boot }
    }

    /// Gives the disk another future: forks with different seeds crash differently.
    pub fn reseed(&self, seed: u64) {
        self.state().prng = Prng::of("disk", seed);
    }

    /// Turns the power off: every operation of every handle fails until [`Self::crash`].
    pub fn cut_power(&self) {
        self.state().powered = false;
    }

    /// Whether the power went, by [`Self::cut_power`] or by a fault, and no crash has been settled
    /// since.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.state().powered
    }

    /// Cuts the power, lets `policy` decide what survives, and turns it on again. The returned
    /// handle works on what survived; all older handles, files and locks are dead. Planned power
    /// cuts are forgotten, other faults stay.
    #[must_use]
    pub fn crash(&self, policy: CrashPolicy) -> Self {
        let mut state = self.state();
        state.crash(policy);
        Self { shared: Arc::clone(&self.shared), boot: state.boot }
    }
}

/// Faults.
impl SimDisk {
    /// Adds a fault. Where several meet one operation, the one added first decides.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Cuts the power at the `n`-th change from now on, one being the next.
    pub fn cut_power_after(&self, n: u64, applied: Applied) {
        let mut state = self.state();
        let at = state.changes + n;
        state.faults.push(Fault::power_cut(at, applied));
    }

    /// Cuts the power right after the `n`-th successful sync of a file from now on.
    pub fn cut_power_after_sync(&self, n: u64) {
        let mut state = self.state();
        let when = When::Kind(OpKind::Sync, state.count(OpKind::Sync) + n);
        let trouble = Trouble::PowerCut(Applied::Yes);
        state.faults.push(Fault { when, trouble, repeat: Repeat::Once });
    }

    /// Forgets all faults, bad stretches and the capacity.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.bad.clear();
        state.capacity = None;
    }

    /// Limits the disk to `bytes`, or lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Flips one bit (0 to 7) of the byte at `offset`, durably and without counting.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u32) -> io::Result<()> {
        assert!(bit < 8);
        let mut state = self.state();
        let id = state.find(path)?;
        state.damage(id, offset, |bytes| bytes[0] ^= 1 << bit, 1)
    }

    /// Replaces bytes, durably and without counting.
    pub fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let id = state.find(path)?;
        state.damage(id, offset, |there| there.copy_from_slice(bytes), bytes.len())
    }

    /// Makes every read that touches `range` of this file fail with EIO, until [`Self::heal`].
    pub fn spoil_reads(&self, path: &Path, range: Range<u64>) -> io::Result<()> {
        let mut state = self.state();
        let id = state.find(path)?;
        state.bad.push((id, range.start, range.end));
        Ok(())
    }
}

/// Looking on.
impl SimDisk {
    /// How many operations there were, reads and failed ones too.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// How many operations of kinds for which [`OpKind::changes`] holds: the crash points so far.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// How many operations of one kind.
    #[must_use]
    pub fn count(&self, kind: OpKind) -> u64 {
        self.state().count(kind)
    }

    /// Starts a log, empty. The log grows with every operation until it is taken.
    pub fn start_log(&self) {
        self.state().log = Some(Vec::new());
    }

    /// Puts a mark into the log, so that a test can say "a sync lies between this and that".
    pub fn mark(&self, text: &str) {
        let mut state = self.state();
        let number = state.operations;
        let path = PathBuf::from(text);
        let kind = OpKind::Mark;
        state.record(Operation { number, kind, path, offset: 0, length: 0, succeeded: true });
    }

    /// Takes what was logged since [`Self::start_log`] or the last take; the log goes on.
    #[must_use]
    pub fn take_log(&self) -> Vec<Operation> {
        self.state().log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// A hash of every operation so far: equal for equal runs.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.state().digest
    }

    /// Every file with its length, sorted by path, as a running process sees them.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.state().files()
    }

    /// Bytes in use by files that have a name or are open.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().used()
    }
}

/// One operation on its way through the disk: what the log will say about it.
struct Call<'a> {
    kind: OpKind,
    path: &'a Path,
    offset: u64,
    length: u64,
}

impl<'a> Call<'a> {
    fn of(kind: OpKind, path: &'a Path) -> Self {
        Self { kind, path, offset: 0, length: 0 }
    }
}

impl SimDisk {
    /// Counts, judges, does and logs one operation. `done` is what the caller is told when a fault
    /// makes the disk forget the operation; `spoil` is what a failing one leaves behind.
    fn operate<T>(
        &self,
        call: &Call<'_>,
        act: impl FnOnce(&mut State) -> io::Result<T>,
        forgotten: Option<T>,
        spoil: impl FnOnce(&mut State),
    ) -> io::Result<T> {
        let mut state = self.state();
        let result = match (state.admit(self.boot, call.kind)?, forgotten) {
            (Verdict::Fail(errno), _) => {
                spoil(&mut state);
                Err(errno.into())
            }
            (Verdict::Forget, Some(answer)) => Ok(answer),
            (Verdict::Go | Verdict::Forget, _) => act(&mut state),
            (Verdict::GoThenPowerCut, _) => {
                // Whatever came of it, nobody learns.
                let _unseen = act(&mut state);
                state.powered = false;
                Err(crashed())
            }
        };
        let (path, succeeded) = (call.path.to_owned(), result.is_ok());
        let (number, kind) = (state.operations, call.kind);
        let (offset, length) = (call.offset, call.length);
        state.record(Operation { number, kind, path, offset, length, succeeded });
        result
    }

    /// An operation that a fault either prevents as a whole or does not touch.
    fn simply<T>(
        &self,
        kind: OpKind,
        path: &Path,
        act: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.operate(&Call::of(kind, path), act, None, |_| ())
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let id = match mode {
            OpenMode::CreateNew => self.simply(OpKind::Create, path, |s| s.create(path)),
            _ => self.simply(OpKind::Open, path, |s| s.open(path)),
        }?;
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(SimFile { disk: self.clone(), id, path: path.to_owned(), writable }))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.simply(OpKind::ReadDir, path, |s| s.read_dir(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.simply(OpKind::CreateDir, path, |s| s.create_dir(path))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.simply(OpKind::RemoveFile, path, |s| s.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.simply(OpKind::RemoveDir, path, |s| s.remove_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.simply(OpKind::Rename, from, |s| s.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.simply(OpKind::Link, from, |s| s.link(from, to))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let call = Call::of(OpKind::SyncDir, path);
        self.operate(&call, |s| s.sync_dir(path), Some(()), |s| s.fail_sync_dir(path))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirectoryLock>> {
        let (directory, lock) = self.simply(OpKind::Lock, path, |s| s.lock(path))?;
        Ok(Box::new(SimLock { disk: self.clone(), directory, lock }))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.simply(OpKind::FreeSpace, path, |s| {
            Ok(s.capacity.map_or(PLENTY, |capacity| capacity.saturating_sub(s.used())))
        })
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    directory: InodeId,
    lock: u64,
}

impl DirectoryLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().unlock(self.directory, self.lock);
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: InodeId,
    path: PathBuf,
    writable: bool,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.state().close(self.disk.boot, self.id);
    }
}

impl SimFile {
    /// Fails as Linux does, with `errno`, on a file that was opened for reading.
    fn must_be_writable(&self, errno: i32) -> io::Result<()> {
        if self.writable {
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(errno))
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let length = buffer.len() as u64;
        let call = Call { kind: OpKind::Read, path: &self.path, offset, length };
        self.disk.operate(&call, |s| s.read(self.id, buffer, offset), None, |_| ())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.must_be_writable(EBADF)?;
        let length = bytes.len() as u64;
        let call = Call { kind: OpKind::Write, path: &self.path, offset, length };
        let spoil = |s: &mut State| s.fail_write(self.id, bytes, offset);
        self.disk.operate(&call, |s| s.write(self.id, bytes, offset), Some(()), spoil)
    }

    fn sync(&self) -> io::Result<()> {
        let call = Call::of(OpKind::Sync, &self.path);
        self.disk.operate(&call, |s| s.sync(self.id), Some(()), |s| s.fail_sync(self.id))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.must_be_writable(EBADF)?;
        let call = Call { kind: OpKind::Allocate, path: &self.path, offset: 0, length };
        self.disk.operate(&call, |s| s.allocate(self.id, length), Some(()), |_| ())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.must_be_writable(EINVAL)?;
        let call = Call { kind: OpKind::SetLength, path: &self.path, offset: 0, length };
        self.disk.operate(&call, |s| s.set_length(self.id, length), Some(()), |_| ())
    }

    fn length(&self) -> io::Result<u64> {
        self.disk.simply(OpKind::Length, &self.path, |s| s.length(self.id))
    }
}

#[cfg(test)]
mod tests;
