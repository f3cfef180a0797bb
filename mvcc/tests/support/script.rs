//! Random commands, the same for store and model.

use bytes::Bytes;
use kstore_mvcc::{
    Fatal, Finished, Index, KeyRange, LeaseId, NoteKind, RangeEnd, Revision, Store, Table,
};
use kstore_testkit::Prng;

/// One change of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Put { key: Bytes, value: Bytes, lease: Option<LeaseId> },
    Delete { key: Bytes },
    DeleteRange { range: KeyRange },
}

/// One entry of the Raft log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Changes(Vec<Change>),
    /// Begun, and taken back in the middle.
    Abandoned(Vec<Change>),
    /// Finished in two pieces that are one revision.
    Slices(Vec<Change>, Vec<Change>),
    Note {
        key: Bytes,
        value: Bytes,
    },
    TablePut {
        table: Table,
        key: Bytes,
        value: Bytes,
    },
    TableDelete {
        table: Table,
        key: Bytes,
    },
    /// How many revisions to keep readable, and how many more to retain.
    Compact {
        readable: u64,
        retained: u64,
    },
    Blank,
}

pub(crate) fn random_key(prng: &mut Prng, keys: u64) -> Bytes {
    let n = prng.below(keys);
    let mut key = format!("/registry/{}/{n:04}", ["pods", "nodes", "leases"][(n % 3) as usize]);
    if n.is_multiple_of(17) {
        key = format!("z\0\0{n}");
    }
    if n.is_multiple_of(41) {
        key.push_str(&"long".repeat(150));
    }
    Bytes::from(key)
}

pub(crate) fn random_value(prng: &mut Prng) -> Bytes {
    let length = match prng.below(40) {
        0 => prng.below(6000),
        1..=4 => 0,
        _ => prng.below(200),
    };
    let mut value = vec![0; usize::try_from(length).unwrap()];
    prng.fill(&mut value);
    Bytes::from(value)
}

pub(crate) fn random_range(prng: &mut Prng, keys: u64) -> KeyRange {
    let start = random_key(prng, keys);
    let end = match prng.below(5) {
        0 => RangeEnd::Single,
        1 => RangeEnd::Unbounded,
        _ => RangeEnd::Before(random_key(prng, keys)),
    };
    KeyRange { start, end }
}

fn random_change(prng: &mut Prng, keys: u64) -> Change {
    let key = random_key(prng, keys);
    match prng.below(20) {
        0..=12 => {
            let lease =
                prng.one_in(5).then(|| LeaseId(i64::try_from(prng.below(1 << 16)).unwrap() - 99));
            Change::Put { key, value: random_value(prng), lease }
        }
        13..=18 => Change::Delete { key },
        _ => {
            let mut end = key.to_vec();
            end.push(0xff);
            Change::DeleteRange {
                range: KeyRange { start: key, end: RangeEnd::Before(end.into()) },
            }
        }
    }
}

fn random_changes(prng: &mut Prng, keys: u64) -> Vec<Change> {
    let count = if prng.one_in(30) { 60 } else { 1 + prng.below(3) * prng.below(3) };
    (0..count).map(|_| random_change(prng, keys)).collect()
}

pub(crate) fn random_command(prng: &mut Prng, keys: u64) -> Command {
    match prng.below(40) {
        0 => Command::Abandoned(random_changes(prng, keys)),
        1 => Command::Slices(random_changes(prng, keys), random_changes(prng, keys)),
        2..=3 => Command::Note { key: random_key(prng, keys), value: random_value(prng) },
        4..=5 => {
            let table = *prng.pick(&[Table::Lease, Table::LeaseKey, Table::Meta]);
            Command::TablePut { table, key: random_key(prng, 50), value: random_value(prng) }
        }
        6 => {
            let table = *prng.pick(&[Table::Lease, Table::LeaseKey, Table::Meta]);
            Command::TableDelete { table, key: random_key(prng, 50) }
        }
        7 => Command::Compact { readable: prng.below(60), retained: prng.below(20) },
        8 => Command::Blank,
        _ => Command::Changes(random_changes(prng, keys)),
    }
}

fn apply_changes(write: &mut kstore_mvcc::Write<'_>, changes: &[Change]) -> Result<(), Fatal> {
    for change in changes {
        match change {
            Change::Put { key, value, lease } => {
                write.put(key, value, *lease)?;
            }
            Change::Delete { key } => {
                write.delete(key)?;
            }
            Change::DeleteRange { range } => {
                for key in write.live_keys(range, usize::MAX)? {
                    assert!(write.delete(&key)?.is_some());
                }
            }
        }
    }
    Ok(())
}

/// Applies a command to the store as entry `index`; the caller publishes.
pub(crate) fn apply(
    store: &mut Store,
    index: usize,
    command: &Command,
) -> Result<Option<Finished>, Fatal> {
    let index = Index(index as u64);
    let mut write = store.begin(index);
    match command {
        Command::Changes(changes) => apply_changes(&mut write, changes)?,
        Command::Abandoned(changes) => {
            apply_changes(&mut write, changes)?;
            write.note(NoteKind::Lease, b"gone", b"")?;
            write.table_put(Table::Meta, b"gone", b"soon")?;
            write.table_delete(Table::Lease, &random_key(&mut Prng::new(index.0), 50))?;
            write.abandon()?;
            return Ok(None);
        }
        Command::Slices(first, second) => {
            apply_changes(&mut write, first)?;
            let first = write.finish()?;
            if first.changes == 0 {
                return Ok(Some(first));
            }
            write = store.resume(index);
            apply_changes(&mut write, second)?;
        }
        Command::Note { key, value } => {
            write.note(NoteKind::Member, key, value)?;
        }
        Command::TablePut { table, key, value } => write.table_put(*table, key, value)?,
        Command::TableDelete { table, key } => {
            write.table_delete(*table, key)?;
        }
        Command::Compact { readable, retained } => {
            let compacted = Revision(write.revision().0.saturating_sub(*readable));
            if compacted > write.compacted() {
                write.set_compacted(compacted);
            }
            let retained = Revision(write.compacted().0.saturating_sub(*retained));
            if retained > write.retained() {
                write.set_retained(retained);
            }
            write.note(NoteKind::Compaction, b"", b"")?;
        }
        Command::Blank => {}
    }
    write.finish().map(Some)
}
