//! What can go wrong with the store, one type for each reader of the news.
//!
//! - [`ReadError`]: a read could not be answered; the store goes on.
//! - [`Fatal`]: applying met damage or a failing disk. Nothing more may be applied: the member
//!   stops, so that it can never answer from a state that the others do not have.
//! - [`OpenError`]: a data directory cannot be served as it is; one line says why.
//!
//! Invariant: damaged bytes are never answered. Every page and every record carries a checksum
//! over its content and its place, and is checked whenever it comes from the disk.

use std::fmt::{Display, Formatter};
use std::io;
use std::path::{Path, PathBuf};

use crate::Revision;

/// Whether a read may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Memory only; what is not there is [`ReadError::Cold`]. For callers that must not block.
    Cached,
    /// The disk too. For jobs.
    Disk,
}

/// Bytes that are not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file, by its name in the store's directory.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// What is wrong there, such as `page checksum mismatch`.
    pub what: String,
}

impl Display for Damage {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at offset {}: {}", self.file, self.offset, self.what)
    }
}

/// Why a read has no answer.
#[derive(Debug)]
pub enum ReadError {
    /// The revision asked for lies below the compaction horizon.
    Compacted {
        /// The lowest revision that can be read.
        compacted: Revision,
    },
    /// The revision asked for is not written yet.
    Future {
        /// The newest revision.
        current: Revision,
    },
    /// What is needed lies on the disk, and the read was [`Access::Cached`]: run it as a job.
    Cold,
    /// The snapshot was held for too long and its files are gone: take a new one.
    PinExpired,
    /// The bytes on the disk are damaged.
    Damaged(Damage),
    /// The disk failed.
    Io {
        /// The file, by its name in the store's directory.
        file: String,
        /// The disk's own words.
        source: io::Error,
    },
}

impl Display for ReadError {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Compacted { compacted } => write!(f, "revisions below {compacted} are compacted"),
            Self::Future { current } => write!(f, "the newest revision is {current}"),
            Self::Cold => f.write_str("the answer is not in memory"),
            Self::PinExpired => f.write_str("the snapshot was held for too long"),
            Self::Damaged(damage) => write!(f, "damaged data: {damage}"),
            Self::Io { file, source } => write!(f, "read {file}: {source}"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Why the member must stop.
#[derive(Debug)]
pub enum Fatal {
    /// What applying needed to read could not be read.
    Read(ReadError),
    /// A write or a sync failed; nothing is known about what reached the disk.
    Write {
        /// What was being done, such as `sync log-000001-0000`.
        what: String,
        /// The disk's own words.
        source: io::Error,
    },
}

impl Fatal {
    /// Wraps an error of the disk with what was being done to which file.
    pub(crate) fn write(verb: &str, file: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Write { what: format!("{verb} {file}"), source }
    }
}

impl Display for Fatal {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(error) => write!(f, "the store cannot go on: {error}"),
            Self::Write { what, source } => write!(f, "the store cannot go on: {what}: {source}"),
        }
    }
}

impl std::error::Error for Fatal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(error) => Some(error),
            Self::Write { source, .. } => Some(source),
        }
    }
}

impl From<ReadError> for Fatal {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// Why a data directory cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The disk failed.
    Io {
        /// What was being done, such as `list /var/lib/kstore/store-000001`.
        what: String,
        /// The disk's own words.
        source: io::Error,
    },
    /// The files were written by another version of kstore.
    OtherFormat {
        /// The file that says so.
        path: PathBuf,
        /// The version it carries.
        found: u32,
        /// The version that this program writes and reads.
        expected: u32,
    },
    /// No root of the store can be used.
    Damaged {
        /// The store's directory.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl OpenError {
    /// Wraps an error of the disk with what was being done to which path.
    pub(crate) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: format!("{verb} {}", path.display()), source }
    }
}

impl Display for OpenError {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io { what, source } => write!(f, "{what}: {source}"),
            Self::OtherFormat { path, found, expected } => write!(
                f,
                "{} has format version {found}; this kstore reads version {expected} only",
                path.display()
            ),
            Self::Damaged { path, what } => {
                write!(f, "the store in {} is damaged: {what}", path.display())
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
