//! The kinds of flags that commands have, and how their values are read.
//!
//! All rules are etcdctl's: a switch takes `--name` or `--name=false`, the last of two equal flags
//! wins, flags and words mix freely, `--` ends the flags, words may be any bytes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use bytes::Bytes;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::failure::{Exit, Failure};
use super::notation;

/// A command with words, named as in the usage line.
pub(crate) fn verb(name: &'static str, about: &'static str, usage: &'static str) -> Command {
    Command::new(name).about(about).arg(
        Arg::new(WORDS)
            .value_name(usage)
            .num_args(0..)
            .action(ArgAction::Append)
            .value_parser(value_parser!(OsString)),
    )
}

/// A command that has nothing but commands below it.
pub(crate) fn family(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).arg_required_else_help(true).infer_subcommands(true)
}

const WORDS: &str = "words";

/// A flag that is on or off.
pub(crate) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .value_name("bool")
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(notation::boolean)
}

/// A flag with a number.
pub(crate) fn number(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .value_name("number")
        .action(ArgAction::Set)
        .allow_hyphen_values(true)
        .value_parser(notation::number)
}

/// A flag with a text.
pub(crate) fn text(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .value_name("text")
        .action(ArgAction::Set)
        .allow_hyphen_values(true)
        .value_parser(value_parser!(String))
}

/// A flag with a span of time.
pub(crate) fn span(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .value_name("duration")
        .action(ArgAction::Set)
        .value_parser(notation::duration)
}

/// How commands read what clap found. A flag that was not given reads as its type's nothing.
pub(crate) trait Flags {
    fn on(&self, name: &str) -> bool;
    fn number(&self, name: &str) -> i64;
    fn text(&self, name: &str) -> &str;
    fn span(&self, name: &str) -> Option<Duration>;
    fn words(&self) -> Vec<Bytes>;
    fn text_words(&self) -> Result<Vec<String>, Failure>;
}

impl Flags for ArgMatches {
    fn on(&self, name: &str) -> bool {
        self.get_one(name).copied().unwrap_or(false)
    }

    fn number(&self, name: &str) -> i64 {
        self.get_one(name).copied().unwrap_or(0)
    }

    fn text(&self, name: &str) -> &str {
        self.get_one::<String>(name).map_or("", String::as_str)
    }

    fn span(&self, name: &str) -> Option<Duration> {
        self.get_one(name).copied()
    }

    /// The words of the command, as bytes: keys and values need not be text.
    fn words(&self) -> Vec<Bytes> {
        let words = self.get_many::<OsString>(WORDS).unwrap_or_default();
        words.map(|word| Bytes::from(word.clone().into_vec())).collect()
    }

    /// The words of a command whose words are names and numbers.
    fn text_words(&self) -> Result<Vec<String>, Failure> {
        let words = self.get_many::<OsString>(WORDS).unwrap_or_default();
        words
            .map(|word| {
                let word = word.clone().into_string();
                word.map_err(|_| Failure::arguments("arguments must be UTF-8 here"))
            })
            .collect()
    }
}

/// Exactly one word, or the complaint.
pub(crate) fn only_word(flags: &ArgMatches, complaint: &str) -> Result<String, Failure> {
    let words: [String; 1] =
        flags.text_words()?.try_into().map_err(|_| Failure::arguments(complaint))?;
    let [word] = words;
    Ok(word)
}

/// Exactly two words, or the complaint.
pub(crate) fn two_words(flags: &ArgMatches, complaint: &str) -> Result<(String, String), Failure> {
    let words: [String; 2] =
        flags.text_words()?.try_into().map_err(|_| Failure::arguments(complaint))?;
    let [first, second] = words;
    Ok((first, second))
}

/// No words, or the complaint.
pub(crate) fn no_words(flags: &ArgMatches, complaint: &str) -> Result<(), Failure> {
    if flags.words().is_empty() { Ok(()) } else { Err(Failure::arguments(complaint)) }
}

/// What clap had to say, in etcdctl's words. `Err(text)` is help that was asked for.
pub(crate) fn misuse(error: &clap::Error) -> Result<Failure, String> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    // `--limit <number>`, `--prefix[=<bool>]`, `-w, --write-out <text>`: only the name counts.
    let flag = context(ContextKind::InvalidArg);
    let name = flag.split([' ', '[', '=']).find(|part| part.starts_with("--")).unwrap_or(flag);
    let hint = "Run with --help for usage.";
    let message = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return Err(error.render().to_string());
        }
        ErrorKind::UnknownArgument if flag.starts_with("--") => {
            format!("unknown flag: {}\n{hint}", flag.split('=').next().unwrap_or(flag))
        }
        ErrorKind::UnknownArgument if flag.starts_with('-') => {
            let letter = flag.chars().nth(1).unwrap_or('-');
            format!("unknown shorthand flag: '{letter}' in {flag}\n{hint}")
        }
        ErrorKind::InvalidSubcommand => {
            let word = context(ContextKind::InvalidSubcommand);
            format!("unknown command {} for \"etcdctl\"\n{hint}", notation::quote(word.as_bytes()))
        }
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_empty() => {
            format!("flag needs an argument: {name}\n{hint}")
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let value = notation::quote(context(ContextKind::InvalidValue).as_bytes());
            let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            format!("invalid argument {value} for \"{name}\" flag: {why}\n{hint}")
        }
        _ => error.render().to_string().trim_start_matches("error: ").trim_end().to_owned(),
    };
    Ok(Failure::new(Exit::Error, message))
}
