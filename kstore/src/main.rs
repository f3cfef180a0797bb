//! One binary: a member of a cluster, and the command line to talk to one.
//!
//! ```text
//!   started as        first word            runs
//!   ───────────────   ───────────────────   ─────────────────────────────────
//!   etcd              any                   server::run    with etcd's flags
//!   etcdctl, etcdutl  any                   client::run    with their flags
//!   kstore            server                server::run
//!   kstore            up                    server::up     with an API server and agents
//!   kstore            apiserver             kubernetes::run_api_server, on any etcd
//!   kube-apiserver    any                   the same       with upstream's flags
//!   kstore            scheduler, ...        kubernetes::run_alone: an agent
//!   kstore            anything else         client::run
//! ```
//!
//! A link is enough to start it under another name.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use kubernetes::{Agent, Program};

mod client;
mod kubernetes;
mod server;

/// A server frees on one thread what another allocated, all the time, and lives for months: the
/// system's allocator pays for both in time and in memory that it never gives back. Huge pages are
/// off: they make a small server take tens of megabytes that it never touches.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    let program = words.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    match program.to_str() {
        Some("etcd") => server::run(words),
        Some("etcdctl" | "etcdutl") => client::run(words),
        Some("kube-apiserver") => kubernetes::run_api_server(Program::KubeApiserver, &words),
        _ if words.get(1).is_some_and(|word| word == "server") => {
            words.remove(1);
            server::run(words)
        }
        _ if words.get(1).is_some_and(|word| word == "up") => {
            words.remove(1);
            server::up(words)
        }
        _ if words.get(1).is_some_and(|word| word == "apiserver") => {
            words.remove(1);
            kubernetes::run_api_server(Program::Kstore, &words)
        }
        _ => match words.get(1).and_then(|word| word.to_str()).and_then(Agent::named) {
            Some(agent) => {
                words.remove(1);
                kubernetes::run_alone(agent, &words)
            }
            None => client::run(words),
        },
    }
}

/// Writes a line to standard error. Nobody is left to tell when that fails.
fn complain(line: &str) {
    let _unheard = writeln!(std::io::stderr().lock(), "{line}");
}
