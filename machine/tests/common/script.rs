//! Scripts: lines that begin with `> ` are commands, the lines below each are what they must come
//! to.
//!
//! ```text
//! > put KEY VALUE [lease=N] [prev] [ignore_value] [ignore_lease]
//! > del KEY [END] [prev]                         END: a key, or `*` for "from the key on"
//! > get KEY [END] [limit=N] [rev=N] [order=asc|desc] [by=key|version|create|mod|value]
//!       [keys] [count] [minmod=N] [maxmod=N] [mincreate=N] [maxcreate=N]
//! > txn [ TARGET KEY [..END] RESULT OPERAND , ... ] { OP ; ... } { OP ; ... }
//! > compact N        > retain N        > grant ID TTL        > revoke ID ...
//! > checkpoint ID LEFT                 > lease ID            > leases
//! > raise MEMBER nospace|corrupt       > clear MEMBER nospace|corrupt|all       > alarms
//! > member ID NAME PEER CLIENT         > membership VOTER,... LEARNER,...       > members
//! > version TEXT
//! ```
//!
//! A reply reads `ok r<revision>`; a key `key=value (create.mod.sub version lease)`.

use std::fmt::Write as _;

use bytes::Bytes;
use kstore_machine::command::{
    Alarm, AlarmAction, AlarmKind, Command, Compact, Compare, CompareResult, CompareTarget,
    DeleteRange, LeaseCheckpoint, LeaseGrant, LeaseRemaining, LeaseRevoke, MemberAttributes,
    Operation, Put, Range, Retain, SetClusterVersion, SortOrder, SortTarget, Step, Txn,
};
use kstore_machine::range::{self, SnapshotReads};
use kstore_machine::{
    Body, EventBatch, Membership, RaisedAlarm, RangeReply, Rejected, Reply, check_range, cluster,
    lease,
};
use kstore_mvcc::{Access, KeyValue, LeaseId, RecordKind};

use super::{World, bytes};

/// Runs a script against a fresh machine and compares what every command comes to.
pub fn check(script: &str) {
    let mut world = World::new();
    let mut actual = String::new();
    let mut expected = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        writeln!(expected, "{line}").unwrap();
        if let Some(command) = line.strip_prefix("> ") {
            writeln!(actual, "{line}").unwrap();
            for line in world.line(command).lines() {
                writeln!(actual, "{}", line.trim()).unwrap();
            }
        }
    }
    assert!(actual == expected, "the machine says:\n\n{actual}\ninstead of:\n\n{expected}");
}

impl World {
    fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["get", ..] => self.get(&range_of(&words[1..])),
            ["lease", id] => self.lease(LeaseId(id.parse().unwrap())),
            ["leases"] => {
                let leases = lease::all(&self.snapshot, Access::Disk).unwrap();
                let ids: Vec<String> = leases.iter().map(|lease| lease.id.0.to_string()).collect();
                ids.join(" ")
            }
            ["alarms"] => alarms_text(&cluster::alarms(&self.snapshot, Access::Disk).unwrap()),
            ["members"] => self.members(),
            ["membership", voters, learners] => {
                let ids = |text: &str| {
                    text.split(',').filter(|id| *id != "-").map(|id| id.parse().unwrap()).collect()
                };
                let membership = Membership {
                    encoded: bytes(voters),
                    voters: ids(voters),
                    learners: ids(learners),
                };
                let position = self.next_position();
                self.log.push(Bytes::new());
                let applied = self.machine.apply_membership(position, &membership).unwrap();
                self.publish();
                format!("{:?}", applied.reply.map(|reply| reply.body))
            }
            _ => {
                let applied = self.apply(command_of(line));
                self.publish();
                let mut text = match &applied.reply {
                    Ok(reply) => reply_text(reply),
                    Err(rejected) => refusal(*rejected),
                };
                for batch in &self.batches {
                    text.push_str(&batch_text(batch));
                }
                text
            }
        }
    }

    fn get(&self, range: &Range) -> String {
        if let Err(rejected) = check_range(range) {
            return refusal(rejected);
        }
        let reads = SnapshotReads { snapshot: &self.snapshot, access: Access::Disk };
        match range::answer(&reads, range) {
            Ok(reply) => range_text(&reply),
            Err(error) => refusal(Rejected::of_read(&error).unwrap()),
        }
    }

    fn lease(&self, id: LeaseId) -> String {
        let Some(known) = lease::find(&self.snapshot, id, Access::Disk).unwrap() else {
            return "none".to_owned();
        };
        let keys = lease::keys(&self.snapshot, id, Access::Disk).unwrap();
        let keys: Vec<_> = keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
        format!("granted {} remaining {:?} keys {}", known.granted, known.remaining, keys.join(","))
    }

    fn members(&self) -> String {
        let mut text = String::new();
        for member in cluster::members(&self.snapshot, Access::Disk).unwrap() {
            writeln!(
                text,
                "{} {} {} {} {:?}",
                member.id,
                member.name,
                member.peer_urls.join(","),
                member.client_urls.join(","),
                member.role
            )
            .unwrap();
        }
        text
    }
}

fn refusal(rejected: Rejected) -> String {
    match rejected {
        Rejected::Compacted { compacted } => format!("refused: {rejected} ({compacted})\n"),
        Rejected::FutureRevision { current } => format!("refused: {rejected} ({current})\n"),
        _ => format!("refused: {rejected}\n"),
    }
}

fn key_text(kv: &KeyValue) -> String {
    let lease = kv.lease.map(|lease| format!(" lease {}", lease.0)).unwrap_or_default();
    format!(
        "{}={} ({}.{} v{}{lease})",
        String::from_utf8_lossy(&kv.key),
        String::from_utf8_lossy(&kv.value),
        kv.create,
        kv.modified,
        kv.version
    )
}

fn range_text(reply: &RangeReply) -> String {
    let mut text: String = reply.kvs.iter().map(|kv| key_text(kv) + "\n").collect();
    let more = if reply.more { " more" } else { "" };
    writeln!(text, "count {}{more}", reply.count).unwrap();
    text
}

fn reply_text(reply: &Reply) -> String {
    let mut text = format!("ok r{}", reply.revision);
    match &reply.body {
        Body::Done => {}
        Body::Put { previous } => {
            text.extend(previous.iter().map(|kv| format!(" before {}", key_text(kv))));
        }
        Body::Range(range) => {
            text.push('\n');
            text.push_str(range_text(range).trim_end());
        }
        Body::DeleteRange { deleted, previous } => {
            write!(text, " deleted {deleted}").unwrap();
            text.extend(previous.iter().map(|kv| format!(" before {}", key_text(kv))));
        }
        Body::Txn { succeeded, responses } => {
            write!(text, " {}", if *succeeded { "success" } else { "failure" }).unwrap();
            for response in responses {
                write!(text, "\n- {}", reply_text(response).trim_end()).unwrap();
            }
        }
        Body::LeaseGrant { id, ttl } => write!(text, " lease {} for {ttl}", id.0).unwrap(),
        Body::LeaseRevoke { revoked } => {
            text.extend(revoked.iter().map(|id| format!(" revoked {}", id.0)));
        }
        Body::Alarm { alarms } => write!(text, " {}", alarms_text(alarms)).unwrap(),
    }
    text.push('\n');
    text
}

fn alarms_text(alarms: &[RaisedAlarm]) -> String {
    let alarms: Vec<String> =
        alarms.iter().map(|alarm| format!("{}:{:?}", alarm.member, alarm.alarm)).collect();
    alarms.join(" ")
}

fn batch_text(batch: &EventBatch) -> String {
    let events = match batch {
        EventBatch::Named { events, first, last, .. } => {
            return format!("{events} events from {first:?} to {last:?}\n");
        }
        EventBatch::Events { events, .. } => events,
    };
    let mut text = String::new();
    for event in events {
        let previous = event.previous.map(|id| format!(" after {id}")).unwrap_or_default();
        let what = match event.kind {
            RecordKind::Put => format!("={}", String::from_utf8_lossy(&event.value)),
            _ => " deleted".to_owned(),
        };
        let key = String::from_utf8_lossy(&event.key);
        writeln!(text, "event {} {key}{what}{previous}", event.id).unwrap();
    }
    text
}

/// The options of a line: `name=value` and bare words behind the first ones.
fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn number(words: &[&str], name: &str) -> i64 {
    option(words, name).map_or(0, |text| text.parse().unwrap())
}

fn key_of(word: &str) -> Bytes {
    match word {
        "''" => Bytes::new(),
        "*" => Bytes::from_static(&[0]),
        _ => bytes(word),
    }
}

fn is_end(word: &str) -> bool {
    !word.contains('=') && !["prev", "keys", "count"].contains(&word)
}

fn end_of(words: &[&str]) -> Bytes {
    words.get(1).filter(|word| is_end(word)).map(|word| key_of(word)).unwrap_or_default()
}

pub fn range_of(words: &[&str]) -> Range {
    let order = match option(words, "order") {
        None => SortOrder::None,
        Some("asc") => SortOrder::Ascend,
        Some(_) => SortOrder::Descend,
    };
    let target = match option(words, "by") {
        None | Some("key") => SortTarget::Key,
        Some("version") => SortTarget::Version,
        Some("create") => SortTarget::Create,
        Some("mod") => SortTarget::Mod,
        Some(_) => SortTarget::Value,
    };
    Range {
        key: key_of(words[0]),
        range_end: end_of(words),
        limit: number(words, "limit"),
        revision: number(words, "rev"),
        sort_order: order.into(),
        sort_target: target.into(),
        keys_only: words.contains(&"keys"),
        count_only: words.contains(&"count"),
        min_mod_revision: number(words, "minmod"),
        max_mod_revision: number(words, "maxmod"),
        min_create_revision: number(words, "mincreate"),
        max_create_revision: number(words, "maxcreate"),
    }
}

fn put_of(words: &[&str]) -> Put {
    Put {
        key: key_of(words[0]),
        value: key_of(words[1]),
        lease: number(words, "lease"),
        prev_kv: words.contains(&"prev"),
        ignore_value: words.contains(&"ignore_value"),
        ignore_lease: words.contains(&"ignore_lease"),
    }
}

fn delete_of(words: &[&str]) -> DeleteRange {
    let range_end = end_of(words);
    DeleteRange { key: key_of(words[0]), range_end, prev_kv: words.contains(&"prev") }
}

fn alarm_of(action: AlarmAction, words: &[&str]) -> Command {
    let alarm = match words[1] {
        "nospace" => AlarmKind::NoSpace,
        "corrupt" => AlarmKind::Corrupt,
        _ => AlarmKind::None,
    };
    let member = words[0].parse().unwrap();
    Command::Alarm(Alarm { action: action.into(), member, alarm: alarm.into() })
}

fn command_of(line: &str) -> Command {
    let words: Vec<&str> = line.split_whitespace().collect();
    let rest = &words[1..];
    let numbers = || rest.iter().map(|word| word.parse().unwrap()).collect::<Vec<i64>>();
    match words[0] {
        "put" => Command::Put(put_of(rest)),
        "del" => Command::DeleteRange(delete_of(rest)),
        "txn" => Command::Txn(txn_of(&mut words.iter().copied().skip(1).peekable())),
        "compact" => Command::Compact(Compact { revision: numbers()[0] }),
        "retain" => Command::Retain(Retain { revision: numbers()[0] }),
        "grant" => Command::LeaseGrant(LeaseGrant { id: numbers()[0], ttl: numbers()[1] }),
        "revoke" => Command::LeaseRevoke(LeaseRevoke { ids: numbers() }),
        "checkpoint" => {
            let lease = LeaseRemaining { id: numbers()[0], ttl: numbers()[1] };
            Command::LeaseCheckpoint(LeaseCheckpoint { leases: vec![lease] })
        }
        "raise" => alarm_of(AlarmAction::Activate, rest),
        "clear" => alarm_of(AlarmAction::Deactivate, rest),
        "member" => Command::MemberAttributes(MemberAttributes {
            id: rest[0].parse().unwrap(),
            name: rest[1].to_owned(),
            peer_urls: vec![rest[2].to_owned()],
            client_urls: vec![rest[3].to_owned()],
        }),
        "version" => Command::SetClusterVersion(SetClusterVersion { version: rest[0].to_owned() }),
        other => panic!("no such command: {other}"),
    }
}

type Words<'a, 'b> =
    &'b mut std::iter::Peekable<std::iter::Skip<std::iter::Copied<std::slice::Iter<'a, &'a str>>>>;

/// `[ compare , ... ] { op ; ... } { op ; ... }`; the brackets stand alone.
fn txn_of(words: Words<'_, '_>) -> Txn {
    let mut txn = Txn::default();
    assert_eq!(words.next(), Some("["));
    let mut compare = Vec::new();
    for word in words.by_ref() {
        if word == "," || word == "]" {
            if !compare.is_empty() {
                txn.compare.push(compare_of(&std::mem::take(&mut compare)));
            }
            if word == "]" {
                break;
            }
        } else {
            compare.push(word);
        }
    }
    txn.success = branch_of(words);
    txn.failure = branch_of(words);
    txn
}

fn branch_of(words: Words<'_, '_>) -> Vec<Operation> {
    let mut operations = Vec::new();
    if words.next_if_eq(&"{").is_none() {
        return operations;
    }
    let mut operation: Vec<&str> = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "txn" => operations.push(Operation::new(Step::Txn(txn_of(words)))),
            "nothing" => operations.push(Operation { step: None }),
            ";" | "}" => {
                if let Some((name, rest)) = operation.split_first() {
                    operations.push(Operation::new(match *name {
                        "put" => Step::Put(put_of(rest)),
                        "del" => Step::DeleteRange(delete_of(rest)),
                        "get" => Step::Range(range_of(rest)),
                        other => panic!("no such operation: {other}"),
                    }));
                    operation.clear();
                }
                if word == "}" {
                    break;
                }
            }
            word => operation.push(word),
        }
    }
    operations
}

fn compare_of(words: &[&str]) -> Compare {
    let (target, key, rest) = (words[0], words[1], &words[2..]);
    let (range_end, rest) = match rest[0].strip_prefix("..") {
        Some(end) => (key_of(end), &rest[1..]),
        None => (Bytes::new(), rest),
    };
    let target = match target {
        "version" => CompareTarget::Version,
        "create" => CompareTarget::Create,
        "mod" => CompareTarget::Mod,
        "value" => CompareTarget::Value,
        _ => CompareTarget::Lease,
    };
    let result = match rest[0] {
        "=" => CompareResult::Equal,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        _ => CompareResult::NotEqual,
    };
    let mut compare = Compare {
        key: key_of(key),
        range_end,
        target: target.into(),
        result: result.into(),
        ..Compare::default()
    };
    if target == CompareTarget::Value {
        compare.value = key_of(rest[1]);
    } else {
        compare.number = rest[1].parse().unwrap();
    }
    compare
}
