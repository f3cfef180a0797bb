//! `kstore server`: a member of a cluster as a process.
//!
//! ```text
//!   flags, ETCD_* ──► Config ──► sockets ──► raft::start ──► listeners ──► "ready to serve ..."
//!                      │                        │                │
//!                   one line               one line          SIGTERM, SIGINT: drain, stop, exit 0
//!                   and exit 1             and exit 1        the member ends by itself: exit 1
//! ```
//!
//! Who runs where, so that nothing that clients ask for can delay a heartbeat:
//!
//! | threads | what runs on them |
//! |---|---|
//! | `raft` (one) | the engine, its timers, messages to and from peers |
//! | `api` (as many as processors) | clients' connections, requests, answers |
//! | `wal`, `apply`, `checkpoint` (lanes) | syncs of the log, commands, roots |
//! | `job-*` (a bounded pool) | reads that are long or cold |
//!
//! Invariant: whatever keeps the member from starting is said in one line, and the process ends
//! with a code that is not 0; nothing is half started.

mod compactor;
mod config;
mod flags;
pub(crate) mod logs;
mod serve;
mod timed_disk;
mod urls;

use std::ffi::OsString;
use std::process::ExitCode;

use config::{Asked, Config};

/// Runs a member until it is told to stop. `words` are the program's name and its flags.
pub(crate) fn run(words: Vec<OsString>) -> ExitCode {
    begin(&words, Config::of)
}

/// Runs everything on one machine until it is told to stop.
pub(crate) fn up(words: Vec<OsString>) -> ExitCode {
    begin(&words, Config::of_up)
}

fn begin(words: &[OsString], config_of: fn(&flags::Given) -> Result<Asked, String>) -> ExitCode {
    let asked = flags::Given::read(&words[1.min(words.len())..], std::env::vars_os());
    let config = match asked.and_then(|given| config_of(&given)) {
        Ok(Asked::Serve(config)) => config,
        Ok(Asked::Print(text)) => return print(&text),
        Err(why) => return fail(&why),
    };
    logs::start(&config.logs);
    for note in &config.notes {
        tracing::warn!("{note}");
    }
    match serve::serve(*config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

fn print(text: &str) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(why: &str) -> ExitCode {
    crate::complain(&format!("kstore server: {why}"));
    ExitCode::FAILURE
}
