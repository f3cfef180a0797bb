//! The command line that behaves as etcdctl.
//!
//! ```text
//!   words ─► clap (arguments.rs) ─► Settings ─► Session ─────► gRPC
//!              │                    flags,      endpoints,        │
//!              ▼                    ETCDCTL_*   retries, login    ▼
//!            a family of commands ◄──────────────────────────── answer ─► output.rs ─► stdout
//!            kv txn watch lease member ...                        or Failure ─► stderr, exit code
//! ```
//!
//! Flags, words, output in all forms, error texts and exit codes are etcdctl 3.6's, since scripts
//! and programs stand on them; `kstore/tests/compat/cli.sh` compares them with the original.
//!
//! Deliberately different:
//! - a flag wins over its `ETCDCTL_*` variable, where etcdctl refuses to run;
//! - no log lines on standard error, only the `Error:` line;
//! - every short command ends at `--command-timeout`; some of etcdctl's wait for ever;
//! - usage and help have a wording of their own.
//!
//! Deliberately missing: `check`, `make-mirror` and `completion`; discovery by DNS; an editor for
//! passwords (`--user name` without a password fails instead of asking).

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use self::failure::{Exit, Failure};
use self::output::{complain, say};
use self::settings::Settings;

mod arguments;
mod endpoint;
mod failure;
mod keys;
mod kv;
mod lease;
mod lock;
mod member;
mod notation;
mod offline;
mod output;
mod role;
mod session;
mod settings;
mod snapshot;
mod tls;
mod txn;
mod upkeep;
mod user;
mod watch;

pub(crate) use tls::SYSTEM_AUTHORITIES;

/// The release of etcd whose command line this is.
const ETCD_VERSION: &str = "3.6.16";
const API_VERSION: &str = "3.6";

/// Runs one command. The first word is the program's name.
pub(crate) fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    match parse_and_run(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                complain(&format!("Error: {}\n", failure.message));
            }
            ExitCode::from(failure.code)
        }
    }
}

fn parse_and_run(words: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let flags = match commands().try_get_matches_from(words) {
        Ok(flags) => flags,
        Err(error) => match arguments::misuse(&error) {
            Ok(failure) => return Err(failure),
            Err(help) => return say(help.trim_end()),
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::error(format!("start the runtime: {error}")))?;
    // One thread for all: nothing here is worth a second.
    let outcome = tokio::task::LocalSet::new().block_on(&runtime, dispatch(&flags));
    // A thread may still wait for standard input; nothing that it could read matters any more.
    runtime.shutdown_background();
    outcome
}

fn commands() -> Command {
    let top = Command::new("etcdctl")
        .about("A command line client for the etcd v3 API")
        .args_override_self(true)
        .arg_required_else_help(true)
        .infer_subcommands(true)
        .subcommands([
            kv::get_command(),
            kv::put_command(),
            kv::del_command(),
            txn::command(),
            watch::command(),
            kv::compaction_command(),
            lease::command(),
            member::command(),
            endpoint::command(),
            upkeep::alarm_command(),
            endpoint::defrag_command(),
            upkeep::move_leader_command(),
            snapshot::command(),
            lock::lock_command(),
            lock::elect_command(),
            user::auth_command(),
            user::command(),
            role::command(),
            upkeep::downgrade_command(),
            offline::verify_command(),
            arguments::verb("version", "Prints the version", ""),
        ]);
    settings::with_flags(top)
}

async fn dispatch(flags: &ArgMatches) -> Result<(), Failure> {
    let (name, flags) =
        flags.subcommand().ok_or_else(|| Failure::new(Exit::Error, "no command"))?;
    if name == "version" {
        say(format!("etcdctl version: {ETCD_VERSION}"))?;
        return say(format!("API version: {API_VERSION}"));
    }
    // The innermost flags hold the global ones, too, wherever they stood.
    let mut innermost = flags;
    while let Some((_, inner)) = innermost.subcommand() {
        innermost = inner;
    }
    let settings = Settings::resolve(innermost, &|name| std::env::var(name).ok())?;
    match name {
        "get" => kv::get(settings, flags).await,
        "put" => kv::put(settings, flags).await,
        "del" => kv::del(settings, flags).await,
        "txn" => txn::run(settings, flags).await,
        "watch" => watch::run(settings, flags).await,
        "compaction" => kv::compaction(settings, flags).await,
        "lease" => lease::run(settings, flags).await,
        "member" => member::run(settings, flags).await,
        "endpoint" => endpoint::run(settings, flags).await,
        "alarm" => upkeep::alarm(settings, flags).await,
        "defrag" => endpoint::defrag(settings, flags).await,
        "move-leader" => upkeep::move_leader(settings, flags).await,
        "snapshot" => snapshot::run(settings, flags).await,
        "lock" => lock::lock(settings, flags).await,
        "elect" => lock::elect(settings, flags).await,
        "auth" => user::auth(settings, flags).await,
        "user" => user::run(settings, flags).await,
        "role" => role::run(settings, flags).await,
        "verify" => offline::verify_directory(&settings, flags),
        "downgrade" => upkeep::downgrade(settings, flags).await,
        _ => Err(Failure::new(Exit::Error, format!("unknown command {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        commands().debug_assert();
    }

    #[test]
    fn global_flags_may_stand_before_and_behind_the_command() {
        for words in
            [&["etcdctl", "-w=json", "get", "k"][..], &["etcdctl", "get", "k", "-w", "json"]]
        {
            let flags = commands().try_get_matches_from(words).unwrap();
            let (_, get) = flags.subcommand().unwrap();
            assert_eq!(get.get_one::<String>("write-out").unwrap(), "json");
        }
    }
}
