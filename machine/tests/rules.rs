//! What commands come to, as scripts; `common/script.rs` says how to read them.

mod common;

use common::script::check;

#[test]
fn a_put_creates_then_changes_and_tells_what_was_before_when_asked() {
    check(
        "> put a 1
         ok r2
         event 2.0 a=1
         > put a 2 prev
         ok r3 before a=1 (2.2.0 v1)
         event 3.0 a=2 after 2.0
         > get a
         a=2 (2.3.0 v2)
         count 1",
    );
}

#[test]
fn a_put_without_a_key_is_refused_and_leaves_no_trace() {
    check(
        "> put '' 1
         refused: key is not provided
         > put a 1
         ok r2
         event 2.0 a=1",
    );
}

#[test]
fn a_put_that_keeps_the_value_needs_the_key_and_brings_none() {
    check(
        "> put a '' ignore_value
         refused: key not found
         > put a 1
         ok r2
         event 2.0 a=1
         > put a 2 ignore_value
         refused: value is provided
         > grant 5 10
         ok r2 lease 5 for 10
         > put a '' ignore_value lease=5
         ok r3
         event 3.0 a=1 after 2.0
         > get a
         a=1 (2.3.0 v2 lease 5)
         count 1",
    );
}

#[test]
fn a_put_that_keeps_the_lease_needs_the_key_and_brings_none() {
    check(
        "> put a 1 ignore_lease
         refused: key not found
         > grant 5 10
         ok r1 lease 5 for 10
         > put a 1 lease=5
         ok r2
         event 2.0 a=1
         > put a 2 ignore_lease lease=5
         refused: lease is provided
         > put a 2 ignore_lease
         ok r3
         event 3.0 a=2 after 2.0
         > lease 5
         granted 10 remaining None keys a",
    );
}

#[test]
fn a_deleted_key_starts_anew() {
    check(
        "> put a 1
         ok r2
         event 2.0 a=1
         > put a 2
         ok r3
         event 3.0 a=2 after 2.0
         > del a prev
         ok r4 deleted 1 before a=2 (2.3.0 v2)
         event 4.0 a deleted after 3.0
         > get a
         count 0
         > get a rev=3
         a=2 (2.3.0 v2)
         count 1
         > put a 3
         ok r5
         event 5.0 a=3
         > get a
         a=3 (5.5.0 v1)
         count 1",
    );
}

#[test]
fn deleting_nothing_makes_no_revision() {
    check(
        "> del a *
         ok r1 deleted 0
         > put a 1
         ok r2
         event 2.0 a=1
         > del b c
         ok r2 deleted 0
         > del c b
         ok r2 deleted 0",
    );
}

#[test]
fn a_range_is_deleted_in_one_revision_in_key_order() {
    check(
        "> put c 1
         ok r2
         event 2.0 c=1
         > put a 2
         ok r3
         event 3.0 a=2
         > put b 3
         ok r4
         event 4.0 b=3
         > del a c prev
         ok r5 deleted 2 before a=2 (3.3.0 v1) before b=3 (4.4.0 v1)
         event 5.0 a deleted after 3.0
         event 5.1 b deleted after 4.0
         > del a *
         ok r6 deleted 1
         event 6.0 c deleted after 2.0",
    );
}

#[test]
fn a_range_is_cut_at_the_limit_and_counts_all_keys() {
    check(
        "> put a 1
         ok r2
         event 2.0 a=1
         > put b 2
         ok r3
         event 3.0 b=2
         > put c 3
         ok r4
         event 4.0 c=3
         > get a * limit=2
         a=1 (2.2.0 v1)
         b=2 (3.3.0 v1)
         count 3 more
         > get a * limit=3
         a=1 (2.2.0 v1)
         b=2 (3.3.0 v1)
         c=3 (4.4.0 v1)
         count 3
         > get b * count limit=1
         count 2
         > get a c keys
         a= (2.2.0 v1)
         b= (3.3.0 v1)
         count 2
         > get c a
         count 0",
    );
}

#[test]
fn a_range_is_filtered_then_sorted_then_cut() {
    check(
        "> put a 9
         ok r2
         event 2.0 a=9
         > put b 5
         ok r3
         event 3.0 b=5
         > put c 7
         ok r4
         event 4.0 c=7
         > put a 1
         ok r5
         event 5.0 a=1 after 2.0
         > get a * by=mod order=desc limit=2
         a=1 (2.5.0 v2)
         c=7 (4.4.0 v1)
         count 3 more
         > get a * by=value order=asc keys
         a= (2.5.0 v2)
         b= (3.3.0 v1)
         c= (4.4.0 v1)
         count 3
         > get a * by=version order=desc
         a=1 (2.5.0 v2)
         b=5 (3.3.0 v1)
         c=7 (4.4.0 v1)
         count 3
         > get a * order=desc limit=1
         c=7 (4.4.0 v1)
         count 3 more
         > get a * minmod=4 limit=1
         a=1 (2.5.0 v2)
         count 3 more
         > get a * maxmod=4
         b=5 (3.3.0 v1)
         c=7 (4.4.0 v1)
         count 3
         > get a * mincreate=3 maxcreate=3
         b=5 (3.3.0 v1)
         count 3",
    );
}

#[test]
fn a_sort_target_without_an_order_sorts_only_what_the_limit_lets_through() {
    check(
        "> put a 9
         ok r2
         event 2.0 a=9
         > put b 5
         ok r3
         event 3.0 b=5
         > put c 1
         ok r4
         event 4.0 c=1
         > get a * by=value limit=1
         b=5 (3.3.0 v1)
         count 3 more
         > get a * by=value order=asc limit=1
         c=1 (4.4.0 v1)
         count 3 more
         > get a * by=value
         c=1 (4.4.0 v1)
         b=5 (3.3.0 v1)
         a=9 (2.2.0 v1)
         count 3",
    );
}

#[test]
fn a_txn_takes_the_branch_that_its_comparisons_say() {
    check(
        "> put a 1
         ok r2
         event 2.0 a=1
         > txn [ version a = 1 , create a = 2 , mod a < 3 , value a = 1 , lease a = 0 ] { put b yes } { put b no }
         ok r3 success
         - ok r3
         event 3.0 b=yes
         > txn [ version a = 1 , value a > 1 ] { put c yes } { put c no ; get b }
         ok r4 failure
         - ok r4
         - ok r4
         b=yes (3.3.0 v1)
         count 1
         event 4.0 c=no
         > txn [ value a != 2 ] { } { }
         ok r4 success",
    );
}

#[test]
fn an_absent_key_compares_as_zeros_but_its_value_never_holds() {
    check(
        "> txn [ version a = 0 , create a = 0 , mod a < 1 , lease a = 0 ] { } { get a }
         ok r1 success
         > txn [ value a = '' ] { } { }
         ok r1 failure
         > txn [ value a != x ] { } { }
         ok r1 failure
         > txn [ value a ..* = '' ] { } { }
         ok r1 failure
         > txn [ version a ..* = 0 ] { } { }
         ok r1 success",
    );
}

#[test]
fn a_comparison_of_a_range_must_hold_for_every_key() {
    check(
        "> put a 1
         ok r2
         event 2.0 a=1
         > put b 2
         ok r3
         event 3.0 b=2
         > txn [ mod a ..c > 1 ] { } { }
         ok r3 success
         > txn [ mod a ..c > 2 ] { } { }
         ok r3 failure
         > txn [ value a ..* < 3 ] { } { }
         ok r3 success
         > txn [ value a ..* < 2 ] { } { }
         ok r3 failure",
    );
}

#[test]
fn all_writes_of_a_txn_share_a_revision_and_its_reads_see_them() {
    check(
        "> put a 1
         ok r2
         event 2.0 a=1
         > txn [ ] { get a ; put a 2 ; get a ; get a rev=2 ; del b * ; put b 3 prev ; get a * count } { }
         refused: duplicate key given in txn request
         > txn [ ] { get a ; put a 2 prev ; get a ; get a rev=2 ; put b 3 ; del c * ; get a * count } { }
         ok r3 success
         - ok r2
         a=1 (2.2.0 v1)
         count 1
         - ok r3 before a=1 (2.2.0 v1)
         - ok r3
         a=2 (2.3.0 v2)
         count 1
         - ok r3
         a=1 (2.2.0 v1)
         count 1
         - ok r3
         - ok r3 deleted 0
         - ok r3
         count 2
         event 3.0 a=2 after 2.0
         event 3.1 b=3",
    );
}

#[test]
fn comparisons_of_nested_txns_see_the_state_before_the_whole_txn() {
    check(
        "> put a 1
         ok r2
         event 2.0 a=1
         > txn [ ] { put a 2 ; txn [ value a = 1 ] { put b old } { put b new } ; get a } { }
         ok r3 success
         - ok r3
         - ok r3 success
         - ok r3
         - ok r3
         a=2 (2.3.0 v2)
         count 1
         event 3.0 a=2 after 2.0
         event 3.1 b=old",
    );
}

#[test]
fn a_txn_may_change_a_key_once() {
    let refused = "refused: duplicate key given in txn request";
    for branch in [
        "put a 1 ; put a 2",
        "put a 1 ; del a",
        "del a ; put a 1",
        "del a c ; put b 1",
        "put b 1 ; del a *",
        "put a 1 ; txn [ ] { put a 2 } { }",
        "txn [ ] { put a 2 } { } ; put a 1",
        "txn [ ] { } { del a b } ; put a 1",
        "txn [ ] { put a 1 } { } ; txn [ ] { } { del a }",
        "txn [ ] { txn [ ] { put a 1 } { } } { } ; del a *",
        "del a b ; del b c ; put b 1",
    ] {
        check(&format!("> txn [ ] {{ {branch} }} {{ }}\n {refused}"));
        check(&format!("> txn [ ] {{ }} {{ {branch} }}\n {refused}"));
    }
    for branch in [
        "del a c ; del b d",
        "del a c ; put c 1",
        "txn [ ] { put a 1 } { put a 2 }",
        "txn [ ] { put a 1 } { del a }",
        "put b 1 ; del c * ; del a b",
    ] {
        let script = format!("> txn [ version z = 1 ] {{ {branch} }} {{ }}\n ok r1 failure");
        check(&script);
    }
}

#[test]
fn a_txn_with_an_operation_that_cannot_be_done_leaves_no_trace() {
    check(
        "> put a 1
         ok r2
         event 2.0 a=1
         > put a 2
         ok r3
         event 3.0 a=2 after 2.0
         > compact 3
         ok r3
         > txn [ ] { put b 1 ; get a rev=2 } { }
         refused: required revision has been compacted (3)
         > txn [ ] { put b 1 ; get a rev=4 } { }
         refused: required revision is a future revision (3)
         > txn [ ] { put b 1 ; txn [ ] { get a rev=4 } { } } { }
         refused: required revision is a future revision (3)
         > txn [ ] { put b 1 ; put c 1 lease=9 } { }
         refused: requested lease not found
         > txn [ ] { put b 1 ; put c '' ignore_value } { }
         refused: key not found
         > txn [ ] { put b 1 ; nothing } { }
         refused: key not found
         > txn [ ] { put b 1 ; put '' 1 } { }
         refused: key is not provided
         > txn [ mod '' = 1 ] { } { }
         refused: key is not provided
         > txn [ ] { put b 1 } { get a rev=9 ; put c 1 lease=9 }
         ok r4 success
         - ok r4
         event 4.0 b=1",
    );
}

#[test]
fn compaction_moves_the_horizon_up_and_never_beyond_the_newest_revision() {
    check(
        "> put a 1
         ok r2
         event 2.0 a=1
         > put a 2
         ok r3
         event 3.0 a=2 after 2.0
         > compact 4
         refused: required revision is a future revision (3)
         > compact 0
         refused: required revision has been compacted (0)
         > compact 3
         ok r3
         > compact 3
         refused: required revision has been compacted (3)
         > compact -1
         refused: required revision has been compacted (3)
         > get a rev=2
         refused: required revision has been compacted (3)
         > get a rev=3
         a=2 (2.3.0 v2)
         count 1
         > get a rev=4
         refused: required revision is a future revision (3)
         > get a rev=-7
         a=2 (2.3.0 v2)
         count 1
         > retain 9
         ok r3
         > get a
         a=2 (2.3.0 v2)
         count 1",
    );
}

#[test]
fn a_lease_is_granted_once_and_not_for_ever() {
    check(
        "> grant 5 10
         ok r1 lease 5 for 10
         > grant 5 20
         refused: lease already exists
         > grant 0 20
         refused: requested lease not found
         > grant 6 9000000001
         refused: too large lease ttl
         > grant -6 9000000000
         ok r1 lease -6 for 9000000000
         > grant 7 0
         ok r1 lease 7 for 1
         > leases
         -6 5 7
         > lease 8
         none",
    );
}

#[test]
fn a_put_replaces_the_attachment_and_a_delete_ends_it() {
    check(
        "> grant 5 10
         ok r1 lease 5 for 10
         > grant 6 10
         ok r1 lease 6 for 10
         > put a 1 lease=7
         refused: requested lease not found
         > put a 1 lease=5
         ok r2
         event 2.0 a=1
         > put b 1 lease=5
         ok r3
         event 3.0 b=1
         > lease 5
         granted 10 remaining None keys a,b
         > put a 2 lease=6
         ok r4
         event 4.0 a=2 after 2.0
         > lease 5
         granted 10 remaining None keys b
         > lease 6
         granted 10 remaining None keys a
         > put a 3
         ok r5
         event 5.0 a=3 after 4.0
         > lease 6
         granted 10 remaining None keys
         > del b
         ok r6 deleted 1
         event 6.0 b deleted after 3.0
         > lease 5
         granted 10 remaining None keys",
    );
}

#[test]
fn revoking_deletes_the_attached_keys_in_order_in_one_revision() {
    check(
        "> grant 5 10
         ok r1 lease 5 for 10
         > put c 1 lease=5
         ok r2
         event 2.0 c=1
         > put a 1 lease=5
         ok r3
         event 3.0 a=1
         > put b 1
         ok r4
         event 4.0 b=1
         > revoke 5
         ok r5 revoked 5
         event 5.0 a deleted after 3.0
         event 5.1 c deleted after 2.0
         > revoke 5
         refused: requested lease not found
         > leases
         
         > get a * count
         count 1",
    );
}

#[test]
fn revoking_without_keys_makes_no_revision_and_several_leases_make_one() {
    check(
        "> grant 5 10
         ok r1 lease 5 for 10
         > grant 6 10
         ok r1 lease 6 for 10
         > grant 7 10
         ok r1 lease 7 for 10
         > revoke 7
         ok r1 revoked 7
         > put b 1 lease=5
         ok r2
         event 2.0 b=1
         > put a 1 lease=6
         ok r3
         event 3.0 a=1
         > revoke 5 99 6 5
         ok r4 revoked 5 revoked 6
         event 4.0 b deleted after 2.0
         event 4.1 a deleted after 3.0
         > revoke 98 99
         refused: requested lease not found",
    );
}

#[test]
fn a_checkpoint_remembers_how_long_a_lease_has_left() {
    check(
        "> grant 5 10
         ok r1 lease 5 for 10
         > checkpoint 5 4
         ok r1
         > lease 5
         granted 10 remaining Some(4) keys
         > checkpoint 5 40
         ok r1
         > lease 5
         granted 10 remaining Some(10) keys
         > checkpoint 5 0
         ok r1
         > lease 5
         granted 10 remaining None keys
         > checkpoint 6 4
         ok r1",
    );
}

#[test]
fn under_the_space_alarm_only_what_takes_space_is_refused() {
    check(
        "> put a 1
         ok r2
         event 2.0 a=1
         > raise 3 nospace
         ok r2 3:NoSpace
         > raise 3 nospace
         ok r2 3:NoSpace
         > alarms
         3:NoSpace
         > put a 2
         refused: database space exceeded
         > grant 5 10
         refused: database space exceeded
         > txn [ ] { get a } { put a 1 }
         refused: database space exceeded
         > txn [ ] { txn [ ] { put a 1 } { } } { }
         refused: database space exceeded
         > txn [ ] { del a } { }
         ok r3 success
         - ok r3 deleted 1
         event 3.0 a deleted after 2.0
         > compact 3
         ok r3
         > clear 4 nospace
         ok r3
         > clear 0 all
         ok r3 3:NoSpace
         > alarms
         
         > put a 2
         ok r4
         event 4.0 a=2",
    );
}

#[test]
fn under_the_damage_alarm_clients_are_refused_everything() {
    check(
        "> raise 3 all
         refused: unknown alarm
         > raise 3 corrupt
         ok r1 3:Corrupt
         > del a
         refused: corrupt cluster
         > compact 1
         refused: corrupt cluster
         > revoke 1
         refused: corrupt cluster
         > txn [ ] { } { }
         refused: corrupt cluster
         > member 1 one http://one:2380 http://one:2379
         ok r1
         > clear 3 corrupt
         ok r1 3:Corrupt
         > put a 1
         ok r2
         event 2.0 a=1",
    );
}

#[test]
fn a_member_that_was_removed_keeps_its_row_and_takes_no_attributes() {
    check(
        "> member 1 one p1 c1
         ok r1
         > membership 1,2 3
         Ok(Done)
         > member 2 two p2 c2
         ok r1
         > members
         1 one p1 c1 Voter
         2 two p2 c2 Voter
         3    Learner
         > membership 1,3 -
         Ok(Done)
         > members
         1 one p1 c1 Voter
         2 two p2 c2 Removed
         3    Voter
         > member 2 two p2 c2
         refused: member not found
         > version 3.7.0
         ok r1",
    );
}
