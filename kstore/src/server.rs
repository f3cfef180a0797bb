//! A member of a cluster: `kstore server`, or the program under the name `etcd`.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs a member until it is told to stop. The first word is the program's name.
pub(crate) fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let _words = words.into_iter();
    crate::complain("Error: the server is not part of this build yet");
    ExitCode::FAILURE
}
