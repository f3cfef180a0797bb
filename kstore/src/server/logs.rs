//! Logs: lines for people on a terminal, JSON elsewhere, always on standard error.

use std::io::{IsTerminal, stderr};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Logs {
    /// What is written at all.
    pub(crate) level: LevelFilter,
    /// `None`: JSON unless a person is watching.
    pub(crate) json: Option<bool>,
}

/// etcd's names of levels.
pub(crate) fn level(name: &str) -> Result<LevelFilter, String> {
    match name {
        "debug" => Ok(LevelFilter::DEBUG),
        "info" => Ok(LevelFilter::INFO),
        "warn" => Ok(LevelFilter::WARN),
        "error" | "dpanic" | "panic" | "fatal" => Ok(LevelFilter::ERROR),
        _ => Err(format!("unknown log level \"{name}\": debug, info, warn or error")),
    }
}

/// Begins to write logs. Called once.
pub(crate) fn start(logs: &Logs) {
    let json = logs.json.unwrap_or_else(|| !stderr().is_terminal());
    // Libraries speak of their insides; only what they cannot cope with is for people who run a
    // member. (A peer that does not answer is no such thing.)
    let libraries = logs.level.min(LevelFilter::ERROR);
    let ours = ["kstore", "kstore_etcd_api", "kstore_raft", "kstore_machine", "kstore_mvcc"];
    let mut targets = ours.map(|target| (target, logs.level)).to_vec();
    // What it cannot cope with ends the member, and the member's last line says it.
    if logs.level < LevelFilter::DEBUG {
        targets.push(("openraft", LevelFilter::OFF));
    }
    let filter = Targets::new().with_default(libraries).with_targets(targets);
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr).with_target(false);
    let registry = tracing_subscriber::registry();
    // Fails only if somebody else has begun to already, and then logs are written.
    let _begun = match json {
        true => registry.with(lines.json().flatten_event(true).with_filter(filter)).try_init(),
        false => {
            let lines = lines.with_ansi(stderr().is_terminal());
            registry.with(lines.with_filter(filter)).try_init()
        }
    };
}
