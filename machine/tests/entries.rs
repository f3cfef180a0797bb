//! What lies in the log, whatever it is: guards, blanks, damage, commands from the future, and
//! commands without measure.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use bytes::Bytes;
use common::random::Maker;
use common::{World, bytes};
use kstore_machine::command::{
    Command, CommandFault, DeleteRange, Envelope, LeaseGrant, LeaseRevoke, Put, VERSION,
};
use kstore_machine::{Body, EventBatch, Fatal, Membership, Notice, Rejected, Wants, cluster};
use kstore_mvcc::{Access, Index, LeaseId, Position, Revision, Term};

fn put(key: &str, value: &str) -> Command {
    Command::Put(Put { key: bytes(key), value: bytes(value), ..Put::default() })
}

#[test]
fn an_empty_entry_changes_nothing_but_the_position_and_the_hash() {
    let mut world = World::new();
    let before = world.machine.chain();
    let position = Position { term: Term(3), index: Index(0) };
    let applied = world.machine.apply(position, &Bytes::new(), Wants::Reply).unwrap();
    assert_eq!(applied.request, None);
    assert_eq!(applied.reply.unwrap().body, Body::Done);
    assert_ne!(world.machine.chain(), before);
    let published = world.machine.publish();
    assert_eq!(published.snapshot.position(), Some(position));
    assert_eq!(published.snapshot.revision(), Revision::FIRST);
}

#[test]
fn a_guarded_command_has_effects_only_in_its_own_term() {
    let mut world = World::new();
    let guarded = |term| Envelope::new(1, 1, put("a", "1")).guarded_by_term(Term(term));
    let position = |index| Position { term: Term(4), index: Index(index) };
    let stale = guarded(3).encode_to_bytes();
    let applied = world.machine.apply(position(0), &stale, Wants::Reply).unwrap();
    assert_eq!(applied.reply, Err(Rejected::TermChanged));
    let timely = guarded(4).encode_to_bytes();
    let applied = world.machine.apply(position(1), &timely, Wants::Reply).unwrap();
    assert_eq!(applied.reply.unwrap().revision, Revision(2));
}

#[test]
fn what_was_read_is_told_only_where_somebody_waits_for_it() {
    let mut world = World::new();
    let position = |index| Position { term: Term(1), index: Index(index) };
    let asking = || {
        let put = Put { key: "a".into(), value: "2".into(), prev_kv: true, ..Put::default() };
        Envelope::new(7, 1, Command::Put(put)).encode_to_bytes()
    };
    let mut previous = |index, origin| {
        let wants = Wants::ReplyTo { origin };
        let applied = world.machine.apply(position(index), &asking(), wants).unwrap();
        let Body::Put { previous } = applied.reply.unwrap().body else { panic!("it was a put") };
        previous
    };
    assert_eq!(previous(0, 7), None, "there was none");
    assert_eq!(previous(1, 8), None, "another run of a member asked");
    assert!(previous(2, 7).is_some());
}

#[test]
fn a_command_of_a_later_version_or_kind_stops_the_member() {
    let position = Position { term: Term(1), index: Index(0) };
    let mut envelope = Envelope::new(1, 1, put("a", "1"));
    envelope.version = VERSION + 1;
    let result = World::new().machine.apply(position, &envelope.encode_to_bytes(), Wants::Reply);
    let Err(Fatal::Command(fault)) = result else { panic!("it is fatal") };
    assert_eq!(fault, CommandFault::UnknownVersion(VERSION + 1));
    assert!(fault.to_string().contains("upgrade this member"), "{fault}");
    envelope.version = VERSION;
    envelope.command = None;
    // Field 30, two bytes long.
    let mut payload = envelope.encode_to_bytes().to_vec();
    payload.extend_from_slice(&[0xf2, 0x01, 0x02, 0x08, 0x01]);
    let result = World::new().machine.apply(position, &payload.into(), Wants::Reply);
    let Err(Fatal::Command(fault)) = result else { panic!("it is fatal") };
    assert_eq!(fault, CommandFault::UnknownKind);
}

#[test]
fn no_bytes_make_the_machine_panic() {
    let mut world = World::new();
    for seed in 0..40 {
        println!("seed {seed}");
        let mut maker = Maker::new(seed);
        for _ in 0..100 {
            let command = maker.command();
            let mut payload = Envelope::new(1, 1, command).encode_to_bytes().to_vec();
            match maker.prng.below(4) {
                0 => maker.prng.fill(&mut payload),
                1 => {
                    let cut = maker.prng.index(payload.len());
                    payload.truncate(cut);
                }
                _ => {
                    for _ in 0..=maker.prng.below(4) {
                        let place = maker.prng.index(payload.len());
                        payload[place] ^= 1 << maker.prng.below(8);
                    }
                }
            }
            let position = world.next_position();
            world.log.push(Bytes::new());
            // An entry that cannot be read stops a member; here the next one is tried.
            let _ = world.machine.apply(position, &payload.into(), Wants::Reply);
        }
        world.publish();
    }
}

#[test]
fn notices_tell_the_lease_clock_what_it_needs() {
    let mut world = World::new();
    let id = LeaseId(5);
    let grant = world.apply(Command::LeaseGrant(LeaseGrant { id: 5, ttl: 10 }));
    assert_eq!(grant.notices, [Notice::LeaseGranted { id, ttl: 10 }]);
    let again = world.apply(Command::LeaseGrant(LeaseGrant { id: 5, ttl: 10 }));
    assert_eq!(again.notices, []);
    let revoke = world.apply(Command::LeaseRevoke(LeaseRevoke { ids: vec![4, 5] }));
    assert_eq!(revoke.notices, [Notice::LeaseRevoked { id }]);
}

#[test]
fn the_newest_membership_is_stored_with_its_position() {
    let mut world = World::new();
    let membership = Membership { encoded: bytes("opaque"), voters: vec![1, 2], learners: vec![3] };
    let position = Position { term: Term(2), index: Index(9) };
    world.machine.apply_membership(position, &membership).unwrap();
    world.publish();
    let stored = cluster::membership(&world.snapshot, Access::Disk).unwrap();
    assert_eq!(stored, Some((position, bytes("opaque"))));
}

#[test]
fn a_hundred_thousand_keys_are_deleted_in_one_revision_and_only_named() {
    let mut world = World::new();
    let keys = 100_000_u64;
    for number in 0..keys {
        world.apply(put(&format!("key-{number:06}"), "v"));
        if number % 1000 == 0 {
            world.publish();
        }
    }
    world.publish();
    let delete = DeleteRange {
        key: bytes("key-"),
        range_end: Bytes::from_static(&[0]),
        ..DeleteRange::default()
    };
    let reply = world.run(Command::DeleteRange(delete)).unwrap();
    assert_eq!(reply.body, Body::DeleteRange { deleted: keys, previous: Vec::new() });
    let expected = EventBatch::Named {
        revision: Revision(keys + 2),
        events: keys,
        first: bytes("key-000000"),
        last: bytes("key-099999"),
    };
    assert_eq!(world.batches, [expected]);
}

#[test]
fn a_refused_command_leaves_a_mark_in_the_hash_that_depends_on_why() {
    let chain_after = |command: Command| {
        let mut world = World::new();
        let _ = world.apply(command);
        world.machine.chain()
    };
    let missing_lease = Put { key: bytes("a"), lease: 9, ..Put::default() };
    let missing_key = Put { key: bytes("a"), ignore_value: true, ..Put::default() };
    let one = chain_after(Command::Put(missing_lease));
    let other = chain_after(Command::Put(missing_key));
    assert_ne!(one, other);
}
