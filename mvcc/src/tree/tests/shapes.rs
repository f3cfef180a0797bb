//! How full pages are, how long keys are handled, and what is in memory.

use std::ops::Bound;

use kstore_testkit::Prng;

use super::{Model, Pages, dirty_bytes};
use crate::tree::{FileNumber, PageOptions, PagesEnd, Tree};
use crate::{Access, ReadError};

fn key(number: u64) -> Vec<u8> {
    format!("/registry/pods/default/pod-{number:08}").into_bytes()
}

fn fill(pages: &Pages, tree: &Tree) -> u64 {
    let report = pages.verify(tree);
    report.page_bytes * 100 / (report.pages * pages.options.page_bytes as u64)
}

#[test]
fn keys_in_order_fill_their_pages() {
    let pages = Pages::new(PageOptions::tiny());
    let (mut ascending, mut descending) = (Tree::default(), Tree::default());
    for number in 0..5000 {
        ascending.insert(&pages.store, &key(number), b"twenty bytes of data").unwrap();
        descending.insert(&pages.store, &key(9999 - number), b"twenty bytes of data").unwrap();
    }
    assert!(fill(&pages, &ascending) >= 90, "{} %", fill(&pages, &ascending));
    assert!(fill(&pages, &descending) >= 90, "{} %", fill(&pages, &descending));
}

#[test]
fn keys_at_random_fill_two_thirds() {
    let pages = Pages::new(PageOptions { page_bytes: 4096, ..PageOptions::tiny() });
    let mut tree = Tree::default();
    let mut prng = Prng::new(5);
    for _ in 0..30_000 {
        let random = prng.below(100_000_000);
        tree.insert(&pages.store, &key(random), b"twenty bytes of data").unwrap();
    }
    assert!((60..80).contains(&fill(&pages, &tree)), "{} %", fill(&pages, &tree));
}

#[test]
fn a_key_overwritten_again_and_again_fills_its_pages() {
    // The store puts a newer revision of a key before the older ones.
    let pages = Pages::new(PageOptions::tiny());
    let mut tree = Tree::default();
    for lease in 0..20 {
        tree.insert(&pages.store, &[&key(lease)[..], &[0xff; 8]].concat(), b"first").unwrap();
    }
    for revision in (0..3000u64).rev() {
        let cell = [&key(7)[..], &revision.to_be_bytes()].concat();
        tree.insert(&pages.store, &cell, b"a lease").unwrap();
    }
    assert!(fill(&pages, &tree) >= 80, "{} %", fill(&pages, &tree));
}

#[test]
fn an_emptied_tree_is_empty_at_every_size_on_the_way() {
    let pages = Pages::new(PageOptions::tiny());
    let mut tree = Tree::default();
    for number in 0..2000 {
        tree.insert(&pages.store, &key(number), &[7; 30]).unwrap();
    }
    for number in 0..2000u64 {
        let shuffled = (number * 1237) % 2000;
        assert!(tree.remove(&pages.store, &key(shuffled)).unwrap().is_some());
        if number % 100 == 0 {
            assert_eq!(pages.verify(&tree).cells, 1999 - number);
        }
    }
    assert!(tree.root_place().is_none() && tree.dirty_bytes() == 0);
}

#[test]
fn thinned_out_pages_are_joined() {
    let pages = Pages::new(PageOptions::tiny());
    let mut tree = Tree::default();
    for number in 0..5000 {
        tree.insert(&pages.store, &key(number), &[7; 30]).unwrap();
    }
    for number in (0..5000).filter(|number| number % 10 != 0) {
        tree.remove(&pages.store, &key(number)).unwrap();
    }
    assert!(fill(&pages, &tree) >= 40, "{} %", fill(&pages, &tree));
}

#[test]
fn keys_and_values_of_megabytes_are_kept() {
    let mut pages = Pages::new(PageOptions::default());
    let long = |last: u8| {
        let mut key = vec![b'k'; 3 << 20];
        key.push(last);
        key
    };
    let mut model = Model::new();
    for last in 0..10 {
        model.insert(long(last), vec![last; 64 << 10]);
        model.insert(vec![b'k'; usize::from(last) * 1000], vec![last]);
    }
    let mut tree = pages.tree_of(&model);
    let (root, end) = pages.checkpoint(&tree);
    tree.settle();
    assert!(pages.content(&tree) == model);
    let pages = pages.reopen(pages.disk.clone(), end);
    let mut tree = Tree::at(root);
    assert!(pages.content(&tree) == model);
    assert_eq!(pages.verify(&tree).cells, 20);
    assert_eq!(tree.remove(&pages.store, &long(3)).unwrap().as_deref(), Some(&[3; 64 << 10][..]));
    assert_eq!(tree.get(&pages.store, Access::Disk, &long(3)).unwrap(), None);
    assert_eq!(pages.verify(&tree).cells, 19);
}

#[test]
fn separators_longer_than_a_page_separate() {
    let mut pages = Pages::new(PageOptions::tiny());
    let mut model = Model::new();
    for number in 0..200u64 {
        model.insert([&[b'p'; 2000][..], &number.to_be_bytes()].concat(), vec![1; 20]);
    }
    let mut tree = pages.tree_of(&model);
    assert!(pages.verify(&tree).height > 2);
    let (root, end) = pages.checkpoint(&tree);
    tree.settle();
    assert_eq!(tree.dirty_bytes(), 0);
    let pages = pages.reopen(pages.disk.clone(), end);
    let mut tree = Tree::at(root);
    for (key, value) in &model {
        assert_eq!(tree.remove(&pages.store, key).unwrap().as_deref(), Some(value.as_slice()));
    }
    assert!(tree.root_place().is_none() && tree.dirty_bytes() == 0);
}

#[test]
fn a_cached_read_never_waits_for_the_disk() {
    let mut pages = Pages::new(PageOptions { cache_bytes: 4 << 20, ..PageOptions::tiny() });
    let mut tree = Tree::default();
    for number in 0..1000 {
        tree.insert(&pages.store, &key(number), b"value").unwrap();
    }
    let (root, end) = pages.checkpoint(&tree);
    let warm = Tree::at(root);
    for number in 0..1000 {
        let found = warm.get(&pages.store, Access::Cached, &key(number)).unwrap();
        assert_eq!(found.as_deref(), Some(&b"value"[..]));
    }
    let pages = pages.reopen(pages.disk.clone(), end);
    let cold = |result: Result<Option<bytes::Bytes>, ReadError>| {
        assert!(matches!(result, Err(ReadError::Cold)));
    };
    cold(warm.get(&pages.store, Access::Cached, &key(5)));
    assert!(matches!(
        warm.cursor(&pages.store, Access::Cached, Bound::Unbounded),
        Err(ReadError::Cold)
    ));
    assert!(warm.get(&pages.store, Access::Disk, &key(5)).unwrap().is_some());
    assert!(warm.get(&pages.store, Access::Cached, &key(5)).unwrap().is_some());
    cold(warm.get(&pages.store, Access::Cached, &key(900)));
}

#[test]
fn the_cache_keeps_to_its_bound() {
    let mut pages = Pages::new(PageOptions { cache_bytes: 20 << 10, ..PageOptions::tiny() });
    let mut tree = Tree::default();
    for number in 0..5000 {
        tree.insert(&pages.store, &key(number), b"value").unwrap();
    }
    let (root, _) = pages.checkpoint(&tree);
    drop(tree);
    let tree = Tree::at(root);
    for number in (0..5000).rev() {
        assert!(tree.get(&pages.store, Access::Disk, &key(number)).unwrap().is_some());
        assert!(pages.store.cached_bytes() <= 20 << 10);
    }
}

#[test]
fn a_checkpoint_writes_each_page_once() {
    let mut pages = Pages::new(PageOptions { segment_bytes: 1 << 20, ..PageOptions::tiny() });
    let mut tree = Tree::default();
    for number in 0..1000 {
        tree.insert(&pages.store, &key(number), b"value").unwrap();
    }
    let (_, before) = pages.checkpoint(&tree);
    // Not settled: the working tree knows by the pages themselves.
    assert_eq!(dirty_bytes(&tree), 0);
    assert_eq!(pages.checkpoint(&tree).1, before);
    tree.insert(&pages.store, &key(500), b"other").unwrap();
    let report = pages.verify(&tree);
    let (root, end) = pages.checkpoint(&tree);
    let written = end.last.unwrap().1 - before.last.unwrap().1;
    assert!(written < 4096 + u64::from(report.height) * 600, "{written}");
    assert_eq!(pages.verify(&Tree::at(root)).cells, 1000);
}

#[test]
fn files_that_no_root_names_are_deleted_at_start_and_their_numbers_are_free() {
    let mut pages = Pages::new(PageOptions { segment_bytes: 2 << 10, ..PageOptions::tiny() });
    let mut tree = Tree::default();
    for number in 0..400 {
        tree.insert(&pages.store, &key(number), b"value").unwrap();
    }
    let (root, end) = pages.checkpoint(&tree);
    let named = pages.store.files().unwrap();
    assert!(named.len() > 1, "{named:?}");
    tree.insert(&pages.store, &key(1000), &[1; 3000]).unwrap();
    pages.checkpoint(&tree);
    assert!(pages.store.files().unwrap().len() > named.len());
    let mut pages = pages.reopen(pages.disk.clone(), end);
    assert_eq!(pages.store.files().unwrap(), named);
    let mut tree = Tree::at(root);
    tree.insert(&pages.store, &key(1001), b"later").unwrap();
    let (_, later) = pages.checkpoint(&tree);
    assert_eq!(later.last.unwrap().0, end.next);
    assert_eq!(pages.verify(&tree).cells, 401);
}

#[test]
fn a_store_that_only_reads_makes_no_file() {
    let mut pages = Pages::new(PageOptions::tiny());
    assert_eq!(pages.checkpoint(&Tree::default()), (None, PagesEnd::EMPTY));
    assert_eq!(pages.store.files().unwrap(), []);
    assert_eq!(PagesEnd::EMPTY.next, FileNumber(1));
}

#[test]
fn page_files_are_told_by_their_names() {
    assert_eq!(FileNumber::of_name("pages-000012"), Some(FileNumber(12)));
    assert_eq!(FileNumber::of_name(&FileNumber(12_345_678).name()), Some(FileNumber(12_345_678)));
    for other in ["pages-12", "pages-+00012", "pages-000012x", "log-000012", "pages-"] {
        assert_eq!(FileNumber::of_name(other), None, "{other}");
    }
}

#[test]
fn pages_of_an_unneeded_file_leave_with_it() {
    let mut pages = Pages::new(PageOptions {
        segment_bytes: 2 << 10,
        cache_bytes: 4 << 20,
        ..PageOptions::tiny()
    });
    let mut tree = Tree::default();
    for number in 0..200 {
        tree.insert(&pages.store, &key(number), b"value").unwrap();
    }
    let (old, _) = pages.checkpoint(&tree);
    for number in 0..200 {
        tree.insert(&pages.store, &key(number), b"other").unwrap();
    }
    let (new, _) = pages.checkpoint(&tree);
    tree.settle();
    let needed = Tree::at(new).files_reachable(&pages.store).unwrap();
    for number in pages.store.files().unwrap() {
        if !needed.contains_key(&number) {
            pages.store.remove(number).unwrap();
        }
    }
    assert_eq!(pages.verify(&tree).cells, 200);
    assert!(matches!(
        Tree::at(old).get(&pages.store, Access::Disk, &key(1)),
        Err(ReadError::Damaged(damage)) if damage.what == "the file is missing"
    ));
}
