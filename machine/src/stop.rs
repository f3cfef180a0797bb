//! Why applying a command stops early, inside this crate.
//!
//! The crate's face keeps the two reasons apart, as `Result<Result<Reply, Rejected>, Fatal>`;
//! inside, one type lets `?` carry both out of nested steps.

use kstore_mvcc as mvcc;

use crate::command::CommandFault;
use crate::reply::Rejected;

/// Why the member must stop: what it applies would no longer be what the others apply.
#[derive(Debug)]
pub enum Fatal {
    /// The store met damage or a failing disk.
    Store(mvcc::Fatal),
    /// The entry cannot be understood.
    Command(CommandFault),
    /// A row of a side table cannot be understood.
    Row {
        /// Which table.
        table: mvcc::Table,
        /// What is wrong with it.
        what: String,
    },
}

impl std::fmt::Display for Fatal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(fatal) => fatal.fmt(f),
            Self::Command(fault) => fault.fmt(f),
            Self::Row { table, what } => write!(f, "decode row of table {table:?}: {what}"),
        }
    }
}

impl std::error::Error for Fatal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(fatal) => Some(fatal),
            Self::Command(fault) => Some(fault),
            Self::Row { .. } => None,
        }
    }
}

impl From<mvcc::Fatal> for Fatal {
    fn from(fatal: mvcc::Fatal) -> Self {
        Self::Store(fatal)
    }
}

impl From<CommandFault> for Fatal {
    fn from(fault: CommandFault) -> Self {
        Self::Command(fault)
    }
}

/// Either reason.
#[derive(Debug)]
pub(crate) enum Stop {
    Rejected(Rejected),
    Fatal(Fatal),
}

impl<F: Into<Fatal>> From<F> for Stop {
    fn from(fatal: F) -> Self {
        Self::Fatal(fatal.into())
    }
}

impl From<Rejected> for Stop {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

/// Takes the two reasons apart.
pub(crate) fn parted<T>(result: Result<T, Stop>) -> Result<Result<T, Rejected>, Fatal> {
    match result {
        Ok(done) => Ok(Ok(done)),
        Err(Stop::Rejected(rejected)) => Ok(Err(rejected)),
        Err(Stop::Fatal(fatal)) => Err(fatal),
    }
}
