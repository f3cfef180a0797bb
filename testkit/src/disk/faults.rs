//! What a simulated disk can be told to do wrong, and how its operations are counted and logged.

use std::io;
use std::path::PathBuf;

/// One kind of disk operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the method of host's Disk or File of the same name")]
pub enum OpKind {
    Open,
    Create,
    Read,
    Write,
    Sync,
    Allocate,
    SetLength,
    Length,
    ReadDir,
    CreateDir,
    RemoveFile,
    RemoveDir,
    Rename,
    Link,
    SyncDir,
    Lock,
    FreeSpace,
    /// Not an operation of the disk: a mark that a test put into the log.
    Mark,
}

impl OpKind {
    /// Whether the operation can change what a crash leaves behind: these are the crash points.
    #[must_use]
    pub fn changes(self) -> bool {
        match self {
            Self::Open | Self::Read | Self::Length | Self::ReadDir | Self::FreeSpace => false,
            Self::Mark => false,
            Self::Create | Self::Write | Self::Sync | Self::Allocate | Self::SetLength => true,
            Self::CreateDir | Self::RemoveFile | Self::RemoveDir | Self::Rename => true,
            Self::Link | Self::SyncDir | Self::Lock => true,
        }
    }
}

/// One line of a disk's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Which operation of the disk this was, counted from one. A mark repeats the last number.
    pub number: u64,
    /// What was done.
    pub kind: OpKind,
    /// To what: the file's path when it was opened, or the text of a mark.
    pub path: PathBuf,
    /// Where in the file; zero for whole files and directories.
    pub offset: u64,
    /// How many bytes, or the length that was asked for.
    pub length: u64,
    /// Whether it succeeded, as the caller saw it.
    pub succeeded: bool,
}

/// An error number, as a machine would report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errno {
    /// EIO.
    InputOutput,
    /// ENOSPC.
    NoSpace,
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::InputOutput => Self::from_raw_os_error(5),
            Errno::NoSpace => Self::from_raw_os_error(28),
        }
    }
}

/// Which operation meets a fault, counted from one since the disk was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The n-th operation of any kind, reads too.
    Operation(u64),
    /// The n-th operation for which [`OpKind::changes`] holds.
    Change(u64),
    /// The n-th operation of one kind.
    Kind(OpKind, u64),
}

/// Whether the operations after the first one meet the fault as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// One operation only.
    Once,
    /// That one and all later ones that [`When`] counts.
    FromThenOn,
}

/// Whether the operation at which the power goes still takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It does; nobody learns of it.
    Yes,
    /// It does not.
    No,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The operation fails. A failed write may have written a part; a failed sync may have thrown
    /// away what it should have kept, so that a later sync succeeds without it.
    Fail(Errno),
    /// The power goes; this operation and all later ones fail until [`super::SimDisk::crash`].
    PowerCut(Applied),
    /// The operation reports success and is forgotten: a lost write, a lying sync.
    Forget,
}

/// One fault to inject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which operation meets it.
    pub when: When,
    /// What happens.
    pub trouble: Trouble,
    /// How often.
    pub repeat: Repeat,
}

impl Fault {
    /// Fails the `n`-th operation of any kind.
    #[must_use]
    pub fn fail(n: u64, errno: Errno, repeat: Repeat) -> Self {
        Self { when: When::Operation(n), trouble: Trouble::Fail(errno), repeat }
    }

    /// Cuts the power at the `n`-th change.
    #[must_use]
    pub fn power_cut(n: u64, applied: Applied) -> Self {
        Self { when: When::Change(n), trouble: Trouble::PowerCut(applied), repeat: Repeat::Once }
    }

    /// Whether the operation with these counts meets this fault. `of_kind` is the count of
    /// operations of `kind` so far, this one included.
    pub(super) fn meets(&self, kind: OpKind, operations: u64, changes: u64, of_kind: u64) -> bool {
        let (count, from) = match self.when {
            When::Operation(n) => (operations, n),
            When::Change(_) if !kind.changes() => return false,
            When::Change(n) => (changes, n),
            When::Kind(other, _) if other != kind => return false,
            When::Kind(_, n) => (of_kind, n),
        };
        match self.repeat {
            Repeat::Once => count == from,
            Repeat::FromThenOn => count >= from,
        }
    }
}
