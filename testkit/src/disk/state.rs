//! The simulated file system itself: inodes, directories, and what of both is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use crate::Prng;
use crate::prng::{mix, mix_bytes};

use super::content::Content;
use super::crash::{Change, Crash, CrashPolicy};
use super::faults::{Applied, Fault, OpKind, Operation, Trouble};
use super::names::Directory;

/// Names an inode; never used twice on one disk.
pub(super) type InodeId = u64;

/// The root directory, which is always there.
pub(super) const ROOT: InodeId = 0;

/// Everything a disk is. Cloning it clones the disk.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) inodes: BTreeMap<InodeId, Inode>,
    pub(super) next_inode: InodeId,
    /// Counts crashes: handles of an earlier boot fail.
    pub(super) boot: u64,
    /// False from a power cut until the crash is settled.
    pub(super) powered: bool,
    /// Locked directories, each with the number of its lock.
    pub(super) locks: BTreeMap<InodeId, u64>,
    pub(super) next_lock: u64,
    pub(super) faults: Vec<Fault>,
    /// Stretches of files that cannot be read: inode, first byte, end.
    pub(super) bad: Vec<(InodeId, u64, u64)>,
    pub(super) operations: u64,
    pub(super) changes: u64,
    counts: BTreeMap<OpKind, u64>,
    /// Orders the unsynced changes of the whole disk.
    sequence: u64,
    pub(super) log: Option<Vec<Operation>>,
    /// A running hash of every operation.
    pub(super) digest: u64,
    pub(super) capacity: Option<u64>,
    pub(super) prng: Prng,
}

#[derive(Debug, Clone)]
pub(super) struct Inode {
    /// Open handles of this boot.
    pub(super) open: u64,
    pub(super) body: Body,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    File(FileBody),
    Directory(Directory),
}

/// Invariant: `current` is `durable` with every pending change applied, but for what a failed
/// sync threw away.
#[derive(Debug, Clone, Default)]
pub(super) struct FileBody {
    durable: Content,
    current: Content,
    pending: Vec<(u64, Change)>,
    /// Space reserved by allocate: writes below it need no more.
    reserved: u64,
}

/// What is to become of an operation that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    Fail(super::Errno),
    Forget,
    GoThenPowerCut,
}

pub(super) fn crashed() -> io::Error {
    io::Error::other("crashed")
}

pub(super) fn error(kind: io::ErrorKind) -> io::Error {
    io::Error::from(kind)
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        let root = Inode { open: 0, body: Body::Directory(Directory::default()) };
        Self {
            inodes: BTreeMap::from([(ROOT, root)]),
            next_inode: ROOT + 1,
            boot: 0,
            powered: true,
            locks: BTreeMap::new(),
            next_lock: 0,
            faults: Vec::new(),
            bad: Vec::new(),
            operations: 0,
            changes: 0,
            counts: BTreeMap::new(),
            sequence: 0,
            log: None,
            digest: seed,
            capacity: None,
            prng: Prng::of("disk", seed),
        }
    }

    pub(super) fn count(&self, kind: OpKind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// Counts an operation and decides its fate.
    pub(super) fn admit(&mut self, boot: u64, kind: OpKind) -> io::Result<Verdict> {
        if !self.powered || boot != self.boot {
            return Err(crashed());
        }
        self.operations += 1;
        self.changes += u64::from(kind.changes());
        let of_kind = self.counts.entry(kind).or_default();
        *of_kind += 1;
        let (operations, changes, of_kind) = (self.operations, self.changes, *of_kind);
        let fault = self.faults.iter().find(|f| f.meets(kind, operations, changes, of_kind));
        match fault.map(|fault| fault.trouble) {
            None => Ok(Verdict::Go),
            Some(Trouble::Fail(errno)) => Ok(Verdict::Fail(errno)),
            Some(Trouble::Forget) => Ok(Verdict::Forget),
            Some(Trouble::PowerCut(Applied::Yes)) => Ok(Verdict::GoThenPowerCut),
            Some(Trouble::PowerCut(Applied::No)) => {
                self.powered = false;
                Err(crashed())
            }
        }
    }

    pub(super) fn record(&mut self, operation: Operation) {
        let Operation { kind, ref path, offset, length, succeeded, .. } = operation;
        for word in [kind as u64, offset, length, u64::from(succeeded)] {
            self.digest = mix(self.digest, word);
        }
        self.digest = mix_bytes(self.digest, path.as_os_str().as_encoded_bytes());
        if let Some(log) = &mut self.log {
            log.push(operation);
        }
    }

    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    // Files.

    fn file(&self, id: InodeId) -> io::Result<&FileBody> {
        match self.inodes.get(&id).map(|inode| &inode.body) {
            Some(Body::File(file)) => Ok(file),
            _ => Err(error(io::ErrorKind::NotFound)),
        }
    }

    fn file_mut(&mut self, id: InodeId) -> io::Result<&mut FileBody> {
        match self.inodes.get_mut(&id).map(|inode| &mut inode.body) {
            Some(Body::File(file)) => Ok(file),
            _ => Err(error(io::ErrorKind::NotFound)),
        }
    }

    pub(super) fn length(&self, id: InodeId) -> io::Result<u64> {
        Ok(self.file(id)?.current.length())
    }

    pub(super) fn read(&self, id: InodeId, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset + buffer.len() as u64;
        if self.bad.iter().any(|(bad, from, to)| *bad == id && *from < end && offset < *to) {
            return Err(super::Errno::InputOutput.into());
        }
        Ok(self.file(id)?.current.read(buffer, offset))
    }

    fn change(&mut self, id: InodeId, change: Change) -> io::Result<()> {
        let sequence = self.next_sequence();
        let file = self.file_mut(id)?;
        change.apply(&mut file.current);
        file.pending.push((sequence, change));
        Ok(())
    }

    pub(super) fn write(&mut self, id: InodeId, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        if end > self.file(id)?.reserved {
            self.room_for(bytes.len() as u64)?;
        }
        self.change(id, Change::Write { offset, bytes: bytes.to_vec() })
    }

    /// A failed write: some of it may be there all the same.
    pub(super) fn fail_write(&mut self, id: InodeId, bytes: &[u8], offset: u64) {
        let part = self.prng.index(bytes.len() + 1);
        let change = Change::Write { offset, bytes: bytes[..part].to_vec() };
        if part > 0 {
            // Should the file be gone, there is nothing to spoil.
            drop(self.change(id, change));
        }
    }

    pub(super) fn allocate(&mut self, id: InodeId, length: u64) -> io::Result<()> {
        let reserved = self.file(id)?.reserved;
        self.room_for(length.saturating_sub(reserved))?;
        self.file_mut(id)?.reserved = reserved.max(length);
        self.change(id, Change::Grow(length))
    }

    pub(super) fn set_length(&mut self, id: InodeId, length: u64) -> io::Result<()> {
        let file = self.file_mut(id)?;
        file.reserved = file.reserved.min(length);
        self.change(id, Change::SetLength(length))
    }

    pub(super) fn sync(&mut self, id: InodeId) -> io::Result<()> {
        let file = self.file_mut(id)?;
        for (_, change) in std::mem::take(&mut file.pending) {
            change.apply(&mut file.durable);
        }
        Ok(())
    }

    /// A failed sync: the changes may be thrown away, though reads still show them.
    pub(super) fn fail_sync(&mut self, id: InodeId) {
        let forgets = self.prng.one_in(2);
        if let (true, Ok(file)) = (forgets, self.file_mut(id)) {
            file.pending.clear();
        }
    }

    /// Changes bytes behind everybody's back, durably.
    pub(super) fn damage(
        &mut self,
        id: InodeId,
        offset: u64,
        spoil: impl FnOnce(&mut [u8]),
        length: usize,
    ) -> io::Result<()> {
        let file = self.file_mut(id)?;
        let mut bytes = vec![0; length];
        if file.current.read(&mut bytes, offset) < length {
            return Err(error(io::ErrorKind::UnexpectedEof));
        }
        spoil(&mut bytes);
        file.current.write(&bytes, offset);
        if offset + length as u64 <= file.durable.length() {
            file.durable.write(&bytes, offset);
        }
        Ok(())
    }

    // Space.

    pub(super) fn used(&self) -> u64 {
        let reachable = self.reachable(|directory| directory.current.values().copied().collect());
        let files =
            self.inodes.iter().filter(|(id, inode)| inode.open > 0 || reachable.contains(id));
        files
            .map(|(_, inode)| match &inode.body {
                Body::File(file) => file.reserved + file.current.space_beyond(file.reserved),
                Body::Directory(_) => 0,
            })
            .sum()
    }

    pub(super) fn room_for(&self, bytes: u64) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if self.used().saturating_add(bytes) > capacity => {
                Err(super::Errno::NoSpace.into())
            }
            _ => Ok(()),
        }
    }

    // Crashes.

    /// The inodes that can be reached from the root, where `names` says what a directory holds.
    fn reachable(&self, names: impl Fn(&Directory) -> Vec<InodeId>) -> BTreeSet<InodeId> {
        let mut reached = BTreeSet::from([ROOT]);
        let mut left = vec![ROOT];
        while let Some(id) = left.pop() {
            let Ok(directory) = self.directory(id) else { continue };
            left.extend(names(directory).into_iter().filter(|next| reached.insert(*next)));
        }
        reached
    }

    /// Forgets inodes that no crash can bring back.
    pub(super) fn sweep(&mut self) {
        let keep = self.reachable(|directory| {
            let unsynced = directory.pending.iter().filter_map(|(_, change)| change.inode());
            let named = directory.durable.values().chain(directory.current.values());
            named.copied().chain(unsynced).collect()
        });
        self.inodes.retain(|id, inode| inode.open > 0 || keep.contains(id));
    }

    /// Turns the disk into what `policy` leaves of it, and the power on again.
    pub(super) fn crash(&mut self, policy: CrashPolicy) {
        let mut prng = self.prng.clone();
        let crash = Crash::draw(policy, self.pending_sequences(), &mut prng);
        for inode in self.inodes.values_mut() {
            inode.open = 0;
            match &mut inode.body {
                Body::File(file) => {
                    for (sequence, change) in std::mem::take(&mut file.pending) {
                        crash.settle(sequence, &change, &mut file.durable, &mut prng);
                    }
                    file.current = file.durable.clone();
                    file.reserved = file.reserved.min(file.current.length());
                }
                Body::Directory(directory) => {
                    for (sequence, change) in std::mem::take(&mut directory.pending) {
                        if crash.keeps_name(sequence, &mut prng) {
                            change.apply(&mut directory.durable);
                        }
                    }
                    directory.current = directory.durable.clone();
                }
            }
        }
        self.prng = prng;
        self.locks.clear();
        self.faults.retain(|fault| !matches!(fault.trouble, Trouble::PowerCut(_)));
        self.boot += 1;
        self.powered = true;
        self.sweep();
    }

    fn pending_sequences(&self) -> Vec<u64> {
        let mut sequences = Vec::new();
        for inode in self.inodes.values() {
            match &inode.body {
                Body::File(file) => sequences.extend(file.pending.iter().map(|(n, _)| *n)),
                Body::Directory(names) => sequences.extend(names.pending.iter().map(|(n, _)| *n)),
            }
        }
        sequences
    }

    /// Every file that can be reached, with its length.
    pub(super) fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        let mut left = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, id)) = left.pop() {
            match self.inodes.get(&id).map(|inode| &inode.body) {
                Some(Body::File(file)) => found.push((path, file.current.length())),
                Some(Body::Directory(directory)) => {
                    left.extend(directory.current.iter().map(|(name, id)| (path.join(name), *id)));
                }
                None => {}
            }
        }
        found.sort();
        found
    }
}
