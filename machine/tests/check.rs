//! The limits on transactions, which only the door enforces.

use kstore_machine::command::{Compare, DeleteRange, Operation, Put, Range, Step, Txn};
use kstore_machine::{Rejected, TxnLimits, check_range, check_txn};

fn put(key: &str) -> Operation {
    let key = bytes::Bytes::copy_from_slice(key.as_bytes());
    Operation::new(Step::Put(Put { key, ..Put::default() }))
}

fn puts(count: usize) -> Vec<Operation> {
    (0..count).map(|number| put(&format!("key-{number}"))).collect()
}

fn nested(depth: usize) -> Txn {
    let mut txn = Txn::default();
    for _ in 0..depth {
        let success = vec![Operation::new(Step::Txn(txn))];
        txn = Txn { success, ..Txn::default() };
    }
    txn
}

#[test]
fn each_list_of_a_txn_may_be_as_long_as_the_limit() {
    let limits = TxnLimits { operations: 3 };
    let compare = Compare { key: "a".into(), ..Compare::default() };
    let fits = Txn { compare: vec![compare.clone(); 3], success: puts(3), failure: puts(3) };
    assert_eq!(check_txn(&fits, limits), Ok(()));
    for txn in [
        Txn { compare: vec![compare; 4], ..Txn::default() },
        Txn { success: puts(4), ..Txn::default() },
        Txn { failure: puts(4), ..Txn::default() },
    ] {
        assert_eq!(check_txn(&txn, limits), Err(Rejected::TooManyOps));
    }
}

#[test]
fn a_nested_txn_may_have_what_its_parent_leaves() {
    let inner = |count| Txn { success: puts(count), ..Txn::default() };
    let outer = |count| Txn {
        success: vec![put("x"), Operation::new(Step::Txn(inner(count)))],
        ..Txn::default()
    };
    let limits = TxnLimits { operations: 5 };
    assert_eq!(check_txn(&outer(3), limits), Ok(()));
    assert_eq!(check_txn(&outer(4), limits), Err(Rejected::TooManyOps));
}

#[test]
fn a_txn_nested_beyond_reason_is_refused_and_does_not_exhaust_the_stack() {
    assert_eq!(check_txn(&nested(90), TxnLimits::NONE), Ok(()));
    assert_eq!(check_txn(&nested(5000), TxnLimits::NONE), Err(Rejected::TooDeep));
}

#[test]
fn sort_options_that_do_not_exist_are_refused() {
    let range = Range { key: "a".into(), ..Range::default() };
    assert_eq!(check_range(&range), Ok(()));
    let bad = [Range { sort_order: 3, ..range.clone() }, Range { sort_target: -1, ..range }];
    for range in bad {
        assert_eq!(check_range(&range), Err(Rejected::InvalidSortOption));
        let success = vec![Operation::new(Step::Range(range))];
        let txn = Txn { success, ..Txn::default() };
        assert_eq!(check_txn(&txn, TxnLimits::default()), Err(Rejected::InvalidSortOption));
    }
}

#[test]
fn the_overlap_check_is_quick_for_very_many_operations() {
    let mut operations = puts(20_000);
    operations.extend((0..20_000).map(|number| {
        let key = format!("other-{number}").into();
        Operation::new(Step::DeleteRange(DeleteRange { key, ..DeleteRange::default() }))
    }));
    let txn = Txn { success: operations, ..Txn::default() };
    assert_eq!(check_txn(&txn, TxnLimits::NONE), Ok(()));
}
