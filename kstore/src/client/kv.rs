//! `get`, `put`, `del`, `compaction`.
//!
//! Flags become a request here, for the commands and for the lines of a transaction alike.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use clap::{ArgMatches, Command};
use kstore_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use kstore_proto::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest};

use super::arguments::{Flags, number, only_word, switch, text, verb};
use super::failure::{Exit, Failure};
use super::keys::{Range, Widening};
use super::notation;
use super::output::{Format, Style, complain, print, say};
use super::session::{Session, Wire};
use super::settings::Settings;

pub(crate) fn get_command() -> Command {
    verb("get", "Gets the key or a range of keys", "key [range_end]").args([
        text("consistency", "Linearizable (l, the default) or serializable (s)"),
        text("order", "Order of results: ASCEND or DESCEND"),
        text("sort-by", "Sort by CREATE, KEY, MODIFY, VALUE or VERSION"),
        number("limit", "Largest number of results"),
        switch("prefix", "Keys that begin with the key"),
        switch("from-key", "Keys from the key on, in byte order"),
        number("rev", "The store as it was at this revision"),
        switch("keys-only", "Leave the values out"),
        switch("count-only", "Only count (with --write-out=fields)"),
        switch("print-value-only", "Leave the keys out (with --write-out=simple)"),
        number("min-create-rev", "Leave out keys that were created before"),
        number("max-create-rev", "Leave out keys that were created after"),
        number("min-mod-rev", "Leave out keys that were last changed before"),
        number("max-mod-rev", "Leave out keys that were last changed after"),
    ])
}

pub(crate) fn put_command() -> Command {
    verb("put", "Puts a key; without a value it is read from standard input", "key [value]").args([
        text("lease", "Lease to attach, in base 16"),
        switch("prev-kv", "Print what was there before"),
        switch("ignore-value", "Keep the key's value"),
        switch("ignore-lease", "Keep the key's lease"),
    ])
}

pub(crate) fn del_command() -> Command {
    verb("del", "Deletes a key or a range of keys", "key [range_end]").args([
        switch("prefix", "Keys that begin with the key"),
        switch("from-key", "Keys from the key on, in byte order"),
        switch("range", "Delete a range without waiting for second thoughts"),
        switch("prev-kv", "Print what was deleted"),
    ])
}

pub(crate) fn compaction_command() -> Command {
    verb("compaction", "Forgets the history before a revision", "revision")
        .arg(switch("physical", "Wait until it is gone from the store"))
}

pub(crate) async fn get(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let request = get_request(flags)?;
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.kv().range(request).await;
    let answer = session.read(request, rpc).await?;
    let style = session.settings.style;
    if flags.on("count-only") && style.format != Format::Fields {
        return Err(Failure::arguments("--count-only is only for `--write-out=fields`"));
    }
    let values_only = flags.on("print-value-only");
    if values_only && style.format != Format::Simple {
        return Err(Failure::arguments("print-value-only is only for `--write-out=simple`"));
    }
    print(Style { values_only, ..style }, &answer)
}

pub(crate) async fn put(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let request = put_request(flags)?;
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.kv().put(request).await;
    print(session.settings.style, &session.write(request, rpc).await?)
}

pub(crate) async fn del(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let request = del_request(flags)?;
    if let [from, to] = &flags.words()[..]
        && !flags.on("range")
    {
        let (from, to) = (notation::quote(from), notation::quote(to));
        complain(&format!(
            "Warning: Keys between {from} and {to} will be deleted. Please interrupt the command \
             within next 2 seconds to cancel. You can provide `--range` flag to avoid the delay.\n"
        ));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.kv().delete_range(request).await;
    print(session.settings.style, &session.write(request, rpc).await?)
}

pub(crate) async fn compaction(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let word = only_word(flags, "compaction command needs 1 argument")?;
    let revision = notation::signed(&word, 10).map_err(Failure::error)?;
    let request = CompactionRequest { revision, physical: flags.on("physical") };
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.kv().compact(request).await;
    session.write(request, rpc).await?;
    say(format!("compacted revision {revision}"))
}

fn widening(flags: &ArgMatches) -> Widening {
    Widening { prefix: flags.on("prefix"), from_key: flags.on("from-key") }
}

/// The request of `get`.
pub(crate) fn get_request(flags: &ArgMatches) -> Result<RangeRequest, Failure> {
    let range = Range::parse(&flags.words(), widening(flags)).ok_or_else(|| {
        Failure::arguments(
            "get command needs one argument as key and an optional argument as range_end",
        )
    })?;
    if flags.on("keys-only") && flags.on("count-only") {
        return Err(Failure::arguments(
            "`--keys-only` and `--count-only` cannot be set at the same time, choose one",
        ));
    }
    let serializable = serializable(flags)?;
    let (key, range_end) = range.map(|range| (range.key, range.end))?;
    let (sort_target, sort_order) = sorting(flags)?;
    let (min_create_revision, max_create_revision) = bounds(
        flags,
        ["min-create-rev", "max-create-rev"],
        ["getMinCreateRev", "getMaxCreateRev"],
    )?;
    let (min_mod_revision, max_mod_revision) =
        bounds(flags, ["min-mod-rev", "max-mod-rev"], ["getMinModRev", "getMaxModRev"])?;
    Ok(RangeRequest {
        key,
        range_end,
        limit: flags.number("limit"),
        revision: flags.number("rev").max(0),
        sort_order: sort_order.into(),
        sort_target: sort_target.into(),
        serializable,
        keys_only: flags.on("keys-only"),
        count_only: flags.on("count-only"),
        min_mod_revision,
        max_mod_revision,
        min_create_revision,
        max_create_revision,
    })
}

/// Reads `--consistency`.
pub(crate) fn serializable(flags: &ArgMatches) -> Result<bool, Failure> {
    match flags.get_one::<String>("consistency").map_or("l", String::as_str) {
        "s" => Ok(true),
        "l" => Ok(false),
        other => {
            let other = notation::quote(other.as_bytes());
            Err(Failure::feature(format!("unknown consistency flag {other}")))
        }
    }
}

fn sorting(flags: &ArgMatches) -> Result<(SortTarget, SortOrder), Failure> {
    let (order, target) = (flags.text("order"), flags.text("sort-by"));
    let sort_order = match order.to_uppercase().as_str() {
        "" => SortOrder::None,
        "ASCEND" => SortOrder::Ascend,
        "DESCEND" => SortOrder::Descend,
        _ => return Err(Failure::feature(format!("bad sort order {order}"))),
    };
    let sort_target = match target.to_uppercase().as_str() {
        "" | "KEY" => SortTarget::Key,
        "CREATE" => SortTarget::Create,
        "MODIFY" => SortTarget::Mod,
        "VALUE" => SortTarget::Value,
        "VERSION" => SortTarget::Version,
        _ => return Err(Failure::feature(format!("bad sort target {target}"))),
    };
    // Keys come in ascending order by themselves; asking for it would only cost the server a sort.
    let natural = sort_target == SortTarget::Key && sort_order == SortOrder::Ascend;
    Ok((sort_target, if natural { SortOrder::None } else { sort_order }))
}

/// A pair of revisions, the upper of which is given and not below the lower.
fn bounds(flags: &ArgMatches, names: [&str; 2], shown: [&str; 2]) -> Result<(i64, i64), Failure> {
    let [low, high] = names.map(|name| flags.number(name).max(0));
    if high > 0 && low > high {
        let [low_name, high_name] = shown;
        return Err(Failure::feature(format!("{low_name}(={low}) > {high_name}(={high})")));
    }
    Ok((low, high))
}

/// The request of `put`; reads standard input if the value is not among the words.
pub(crate) fn put_request(flags: &ArgMatches) -> Result<PutRequest, Failure> {
    let words = flags.words();
    let needs = "put command needs 1 argument and input from stdin or 2 arguments";
    let Some(key) = words.first() else {
        return Err(Failure::arguments(needs));
    };
    let ignore_value = flags.on("ignore-value");
    let value = match words.get(1) {
        Some(_) if ignore_value => {
            return Err(Failure::arguments(
                "put command needs only 1 argument when 'ignore-value' is set",
            ));
        }
        None if ignore_value => Bytes::new(),
        Some(value) => value.clone(),
        None => standard_input().ok_or_else(|| Failure::arguments(needs))?,
    };
    let lease = flags.get_one::<String>("lease").map_or("0", String::as_str);
    let lease = notation::signed(lease, 16)
        .map_err(|why| Failure::arguments(format!("bad lease ID ({why}), expecting ID in Hex")))?;
    Ok(PutRequest {
        key: key.clone(),
        value,
        lease,
        prev_kv: flags.on("prev-kv"),
        ignore_value,
        ignore_lease: flags.on("ignore-lease"),
    })
}

/// All of standard input, unless there is nothing.
fn standard_input() -> Option<Bytes> {
    let mut value = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut value);
    (read.is_ok() && !value.is_empty()).then(|| Bytes::from(value))
}

/// The request of `del`.
pub(crate) fn del_request(flags: &ArgMatches) -> Result<DeleteRangeRequest, Failure> {
    let needs = "del command needs one argument as key and an optional argument as range_end";
    let words = flags.words();
    if words.len() > 2 {
        return Err(Failure::new(Exit::BadArguments, needs));
    }
    let range =
        Range::parse(&words, widening(flags)).ok_or_else(|| Failure::arguments(needs))??;
    Ok(DeleteRangeRequest { key: range.key, range_end: range.end, prev_kv: flags.on("prev-kv") })
}
