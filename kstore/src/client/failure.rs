//! How a command fails: one line for people, one exit code for scripts.

use std::fmt::Display;

use tonic::{Code, Status};

/// Exit codes, with etcdctl's numbers: scripts test for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The server refused, or time ran out.
    Error = 1,
    /// No connection could be set up.
    BadConnection = 2,
    /// Standard input does not hold what the command reads from it.
    InvalidInput = 3,
    /// A flag with a value that the command does not know.
    BadFeature = 4,
    /// The command ended before its work was done.
    Interrupted = 5,
    /// Missing, superfluous or malformed arguments.
    BadArguments = 128,
}

/// Why a command did not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What to exit with.
    pub(crate) code: u8,
    /// What to say, without the leading `Error: `. Empty: everything has been said already.
    pub(crate) message: String,
}

impl Failure {
    /// A failure of the given kind.
    pub(crate) fn new(exit: Exit, message: impl Display) -> Self {
        Self { code: exit as u8, message: message.to_string() }
    }

    /// The server refused, or time ran out.
    pub(crate) fn error(message: impl Display) -> Self {
        Self::new(Exit::Error, message)
    }

    /// Missing, superfluous or malformed arguments.
    pub(crate) fn arguments(message: impl Display) -> Self {
        Self::new(Exit::BadArguments, message)
    }

    /// A flag with a value that the command does not know.
    pub(crate) fn feature(message: impl Display) -> Self {
        Self::new(Exit::BadFeature, message)
    }

    /// Standard input does not hold what the command reads from it.
    pub(crate) fn input(message: impl Display) -> Self {
        Self::new(Exit::InvalidInput, message)
    }

    /// What was to say has been printed; only the exit code is left.
    pub(crate) fn said(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// The time that a command was given is over.
    pub(crate) fn late() -> Self {
        Self::error("context deadline exceeded")
    }

    /// The same failure with another exit code.
    pub(crate) fn exiting(self, exit: Exit) -> Self {
        Self { code: exit as u8, ..self }
    }

    /// The same failure, wrapped in what was tried: `failed to grant lease (...)`.
    pub(crate) fn while_trying(self, what: &str) -> Self {
        Self { message: format!("{what} ({})", self.message), ..self }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::error(text(&status))
    }
}

/// How a status reads. Errors of the v3 API are recognised by their text, which all begin alike,
/// and stand for themselves; anything else is shown with its code.
pub(crate) fn text(status: &Status) -> String {
    if status.message().starts_with("etcdserver: ") {
        return status.message().to_owned();
    }
    format!("rpc error: code = {} desc = {}", code_name(status.code()), status.message())
}

/// The names that gRPC's own documents give the codes; tonic's `Display` describes them instead.
fn code_name(code: Code) -> String {
    match code {
        Code::Cancelled => "Canceled".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_api_stands_for_itself() {
        let status = Status::invalid_argument("etcdserver: key is not provided");
        assert_eq!(Failure::from(status), Failure::error("etcdserver: key is not provided"));
    }

    #[test]
    fn any_other_status_is_shown_with_its_code() {
        let status = Status::cancelled("stream reset");
        assert_eq!(text(&status), "rpc error: code = Canceled desc = stream reset");
    }
}
