//! `txn`: one atomic transaction, read line by line.
//!
//! ```text
//!   mod("key1") > "0"          compares
//!   <empty line>
//!   put key1 "overwritten"     if all of them hold
//!   <empty line>
//!   get key1                   if one does not
//!   <empty line>
//! ```

use std::io::BufRead;
use std::os::unix::ffi::OsStringExt;

use bytes::Bytes;
use clap::{ArgMatches, Command};
use kstore_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use kstore_proto::etcdserverpb::request_op::Request;
use kstore_proto::etcdserverpb::{Compare, RequestOp, TxnRequest};

use super::arguments::{no_words, switch, verb};
use super::failure::Failure;
use super::kv;
use super::notation::{quote, signed, unquote, words};
use super::output::{print, say};
use super::session::{Session, Wire};
use super::settings::Settings;

use super::arguments::Flags;

/// Bounds what is read before the server can judge it; far above what a server takes.
const MOST_LINES: usize = 1 << 20;

pub(crate) fn command() -> Command {
    verb("txn", "Reads a transaction from standard input and applies it at once", "")
        .arg(switch("interactive", "Say what is to be typed").short('i'))
}

pub(crate) async fn run(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    no_words(flags, "txn command does not accept argument")?;
    let request = read(&mut std::io::stdin().lock(), flags.on("interactive"))?;
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.kv().txn(request).await;
    print(session.settings.style, &session.write(request, rpc).await?)
}

fn read(input: &mut dyn BufRead, interactive: bool) -> Result<TxnRequest, Failure> {
    let prompt = |text: &str| if interactive { say(text) } else { Ok(()) };
    prompt("compares:")?;
    let compare = block(input, parse_compare)?;
    prompt("success requests (get, put, del):")?;
    let success = block(input, parse_request)?;
    prompt("failure requests (get, put, del):")?;
    let failure = block(input, parse_request)?;
    Ok(TxnRequest { compare, success, failure })
}

/// The lines up to an empty one.
fn block<T>(
    input: &mut dyn BufRead,
    parse: fn(&str) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut parsed = Vec::new();
    while parsed.len() < MOST_LINES {
        let mut line = String::new();
        input.read_line(&mut line).map_err(Failure::input)?;
        // The last line must end, too: a transaction that was cut off is not applied.
        let Some(line) = line.strip_suffix('\n') else {
            return Err(Failure::input("EOF"));
        };
        match line.trim() {
            "" => return Ok(parsed),
            line => parsed.push(parse(line)?),
        }
    }
    Err(Failure::input(format!("more than {MOST_LINES} lines")))
}

fn parse_request(line: &str) -> Result<RequestOp, Failure> {
    let words = words(line).map_err(Failure::input)?;
    if words.len() < 2 {
        return Err(Failure::input(format!("invalid txn compare request: {line}")));
    }
    let commands = Command::new("txn")
        .no_binary_name(true)
        .args_override_self(true)
        .subcommand_required(true)
        .infer_subcommands(true)
        .subcommands([kv::put_command(), kv::get_command(), kv::del_command()]);
    let words = words.into_iter().map(std::ffi::OsString::from_vec);
    let invalid = || Failure::input(format!("invalid txn request: {line}"));
    let flags = commands.try_get_matches_from(words).map_err(|_| invalid())?;
    let request = match flags.subcommand() {
        Some(("put", flags)) => Request::RequestPut(kv::put_request(flags)?),
        Some(("get", flags)) => Request::RequestRange(kv::get_request(flags)?),
        Some(("del", flags)) => Request::RequestDeleteRange(kv::del_request(flags)?),
        _ => return Err(invalid()),
    };
    Ok(RequestOp { request: Some(request) })
}

/// Reads `target("key") operator "value"`.
fn parse_compare(line: &str) -> Result<Compare, Failure> {
    let Some((target, rest)) = line.split_once('(') else {
        return Err(Failure::input(format!("malformed comparison: {line}")));
    };
    let parts = Parts::scan(rest);
    let Parts { key, operator, value: Some(value) } = &parts else {
        let Parts { key, operator, .. } = &parts;
        let key = quote(key);
        let got = format!("got {target}({key}) {operator} \"\"");
        return Err(Failure::input(format!("malformed comparison: {line}; {got}")));
    };
    let number = |radix| {
        std::str::from_utf8(value)
            .ok()
            .and_then(|text| signed(text, radix).ok())
            .ok_or_else(|| Failure::input(format!("invalid txn compare request: {line}")))
    };
    let (target, union) = match target {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number(10)?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number(10)?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(10)?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.clone().into())),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(16)?)),
        _ => {
            let unknown = format!("(unknown target {target})");
            return Err(Failure::input(format!("malformed comparison: {line} {unknown}")));
        }
    };
    let result = match operator.as_str() {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        _ => {
            let unknown = format!("(unknown operator {operator})");
            return Err(Failure::input(format!("malformed comparison: {line} {unknown}")));
        }
    };
    Ok(Compare {
        result: result.into(),
        target: target.into(),
        key: Bytes::from(key.clone()),
        range_end: Bytes::new(),
        target_union: Some(union),
    })
}

/// What could be read of `"key") operator "value"`, for the comparison or the complaint.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts {
    key: Vec<u8>,
    operator: String,
    value: Option<Vec<u8>>,
}

impl Parts {
    fn scan(text: &str) -> Self {
        let mut parts = Self::default();
        let Some((key, rest)) = unquote(text) else {
            return parts;
        };
        parts.key = key;
        let Some(rest) = rest.strip_prefix(')') else {
            return parts;
        };
        let rest = rest.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        parts.operator = rest[..end].to_owned();
        parts.value = unquote(rest[end..].trim_start()).map(|(value, _)| value);
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(script: &str) -> Result<TxnRequest, Failure> {
        read(&mut script.as_bytes(), false)
    }

    #[test]
    fn three_blocks_make_a_transaction() {
        let txn = parse(
            "mod(\"a\") > \"0\"\nval(\"b\") = \"x\\ty\"\n\nput a \"new value\" --prev-kv\nget b \
             --limit 3\n\ndel --prefix c\n\n",
        )
        .unwrap();
        assert_eq!(txn.compare.len(), 2);
        let value = TargetUnion::Value(Bytes::from_static(b"x\ty"));
        assert_eq!(txn.compare[1].target_union, Some(value));
        let Some(Request::RequestPut(put)) = &txn.success[0].request else {
            panic!("not a put: {txn:?}");
        };
        assert_eq!((&put.value[..], put.prev_kv), (&b"new value"[..], true));
        let Some(Request::RequestDeleteRange(del)) = &txn.failure[0].request else {
            panic!("not a del: {txn:?}");
        };
        assert_eq!(&del.range_end[..], b"d");
    }

    #[test]
    fn a_transaction_that_was_cut_off_is_refused() {
        assert_eq!(parse("mod(\"a\") > \"0\"\n"), Err(Failure::input("EOF")));
        assert_eq!(parse("\n\nput a b"), Err(Failure::input("EOF")));
    }

    #[test]
    fn a_bad_comparison_shows_how_far_it_was_understood() {
        for (line, message) in [
            ("mod(\"b\") >", "malformed comparison: mod(\"b\") >; got mod(\"b\") > \"\""),
            ("mod(\"b\" > \"1\"", "malformed comparison: mod(\"b\" > \"1\"; got mod(\"b\")  \"\""),
            ("mod(\"b\") > \"a\"", "invalid txn compare request: mod(\"b\") > \"a\""),
            ("xx(\"b\") > \"1\"", "malformed comparison: xx(\"b\") > \"1\" (unknown target xx)"),
            ("nothing", "malformed comparison: nothing"),
        ] {
            assert_eq!(parse(&format!("{line}\n")), Err(Failure::input(message)));
        }
    }

    #[test]
    fn a_request_that_is_none_is_named() {
        assert_eq!(parse("\nfoo bar\n"), Err(Failure::input("invalid txn request: foo bar")));
        let unknown = "\nput a b --foo\n";
        assert_eq!(parse(unknown), Err(Failure::input("invalid txn request: put a b --foo")));
    }
}
