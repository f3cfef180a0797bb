//! Power cuts at every change of the disk, threads beside each other, and the bytes themselves.

use std::sync::mpsc::{TryRecvError, sync_channel};
use std::thread;

use kstore_host::{Disk, OpenMode};
use kstore_testkit::Prng;
use kstore_testkit::disk::{Applied, CrashPolicy, Sector};

use super::{Model, Pages};
use crate::Access;
use crate::tree::{PageOptions, PageStore, PageWriter, PagesEnd, Place, Tree};

fn cell(number: u64) -> (Vec<u8>, Vec<u8>) {
    (format!("key-{number:05}").into_bytes(), number.to_le_bytes().to_vec())
}

#[test]
fn a_power_cut_at_any_change_leaves_the_root_before() {
    let mut first =
        Pages::new(PageOptions { segment_bytes: 6 << 10, cache_bytes: 0, ..PageOptions::tiny() });
    let model: Model = (0..300).map(cell).collect();
    let mut tree = first.tree_of(&model);
    let (root, end) = first.checkpoint(&tree);
    tree.settle();
    for number in 0..900 {
        let (key, value) = cell(number * 7 % 1000);
        tree.insert(&first.store, &key, &value).unwrap();
    }
    let policies = [
        CrashPolicy::LoseAll,
        CrashPolicy::KeepAll,
        CrashPolicy::Prefix,
        CrashPolicy::RandomSubset { tear: Sector::Bytes512 },
    ];
    let mut cuts = 0;
    for change in 1.. {
        let disk = first.disk.fork();
        disk.reseed(change);
        let mut pages = first.reopen(disk.clone(), end);
        // The dirty pages are the same ones each time: nobody may have noted a place in them.
        let copy = copied(&tree, &first, &pages);
        let applied = if change % 2 == 0 { Applied::Yes } else { Applied::No };
        disk.cut_power_after(change, applied);
        let done = copy.clean(&pages.store, &mut pages.writer).and_then(|_| pages.writer.sync());
        let policy = policies[usize::try_from(change).unwrap() % policies.len()];
        let after = pages.reopen(disk.crash(policy), end);
        let old = Tree::at(root);
        assert_eq!(after.verify(&old).cells, 300, "cut at change {change}");
        assert!(after.content(&old) == model);
        if done.is_ok() {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 8, "{cuts} cuts");
}

/// The same content, in pages that are all dirty.
fn copied(tree: &Tree, from: &Pages, to: &Pages) -> Tree {
    to.tree_of(&from.content(tree))
}

#[test]
fn a_checkpoint_runs_beside_a_writer_and_readers() {
    let seed = 11;
    println!("seed {seed}");
    let mut prng = Prng::new(seed);
    let options = PageOptions { cache_bytes: 64 << 10, ..PageOptions::tiny() };
    let Pages { store, mut writer, disk, .. } = Pages::new(options.clone());
    let (jobs, incoming) = sync_channel::<(Tree, Model)>(1);
    let (finished, results) = sync_channel(1);
    let mut model = Model::new();
    let mut tree = Tree::default();
    let last = thread::scope(|scope| {
        let store = &store;
        scope.spawn(move || {
            for (tree, model) in incoming {
                let clean = run_checkpoint(store, &mut writer, &tree);
                finished.send((clean, model)).unwrap();
            }
        });
        let mut running = false;
        let mut last = None;
        for round in 0..20_000 {
            let (key, value) = cell(prng.below(3000));
            match prng.below(3) {
                0 => {
                    tree.remove(store, &key).unwrap();
                    model.remove(&key);
                }
                _ => {
                    tree.insert(store, &key, &value).unwrap();
                    model.insert(key, value);
                }
            }
            match results.try_recv() {
                Ok(done) => {
                    tree.settle();
                    running = false;
                    last = Some(done);
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => panic!("the checkpoint died"),
            }
            if !running {
                running = true;
                jobs.send((tree.clone(), model.clone())).unwrap();
            }
            if round % 500 == 0 {
                let (tree, model) = (tree.clone(), model.clone());
                scope.spawn(move || {
                    for (key, value) in &model {
                        let found = tree.get(store, Access::Disk, key).unwrap();
                        assert_eq!(found.as_deref(), Some(value.as_slice()));
                    }
                });
            }
        }
        drop(jobs);
        last
    });
    let (((root, end), expected), model) = (last.unwrap(), model);
    let pages = Pages::open(disk, options, end, 2);
    assert!(pages.content(&Tree::at(root)) == expected);
    assert!(pages.content(&tree) == model);
}

fn run_checkpoint(
    store: &PageStore,
    writer: &mut PageWriter,
    tree: &Tree,
) -> (Option<Place>, PagesEnd) {
    let clean = tree.clean(store, writer).unwrap();
    (clean.root_place(), writer.sync().unwrap())
}

/// Files of this version must be readable for years: these bytes may change only together with
/// the format version. `docs/formats/pages.md` draws them.
#[test]
fn the_bytes_on_the_disk_are_what_they_were() {
    let mut pages = Pages::new(PageOptions::tiny());
    let mut tree = Tree::default();
    tree.insert(&pages.store, b"key-a", b"one").unwrap();
    tree.insert(&pages.store, b"key-bc", b"").unwrap();
    let (root, end) = pages.checkpoint(&tree);
    let place = root.unwrap();
    let (_, length) = end.last.unwrap();
    let file = pages.disk.open(&pages.store.path(place.file), OpenMode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let expected: Vec<u8> = [
        // The header of the file.
        &b"kstorepg"[..],
        &1u32.to_le_bytes(),
        &1u32.to_le_bytes(),
        &super::LINEAGE.0.to_le_bytes(),
        &1u64.to_le_bytes(),
        &[0; 20],
        &bytes[60..64],
        // The header of the page: checksum, length, leaf of level 0, prefix of 4, two cells.
        &place.checksum.to_le_bytes(),
        &30u32.to_le_bytes(),
        &[1, 0, 4, 0, 2, 0, 0, 0],
        b"key-",
        &[2, 6],
        b"aone",
        &[4, 0],
        b"bc",
    ]
    .concat();
    assert_eq!(bytes.len(), 64 + 16 + 14);
    assert_eq!(bytes, expected);
}

/// The same for an inner page, and for a leaf that owns overflow pages.
#[test]
fn the_bytes_of_inner_pages_and_long_cells_are_what_they_were() {
    let mut pages = Pages::new(PageOptions::tiny());
    let mut tree = Tree::default();
    // Each of these takes two lengths of one and two bytes, two bytes of key, 128 of value.
    for key in [b"aa", b"bb", b"bd"] {
        tree.insert(&pages.store, key, &[7; 128]).unwrap();
    }
    tree.insert(&pages.store, &[b'c'; 130], &[8; 200]).unwrap();
    let (root, end) = pages.checkpoint(&tree);
    let root = root.unwrap();
    let (_, length) = end.last.unwrap();
    let file = pages.disk.open(&pages.store.path(root.file), OpenMode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();

    // The order of writing: left leaf, rest of the key, long value, right leaf, root.
    let (left, rest, value) = (64, 64 + 16 + 3 * 133, 64 + 16 + 3 * 133 + 18);
    let leaf = value + 16 + 200;
    let page = &bytes[leaf..];
    assert_eq!(page[8..16], [1, 0, 128, 0, 1, 0, 2, 0]);
    assert_eq!(page[16..16 + 128], [b'c'; 128]);
    // No suffix, but a rest, number 0; a value apart, number 1.
    assert_eq!(page[144..150], [1, 1, 0, 0, 1, 0]);
    let overflow = |offset: usize, length: u32| {
        let offset32 = u32::try_from(offset).unwrap().to_le_bytes();
        let length = length.to_le_bytes();
        [&1u32.to_le_bytes()[..], &offset32, &length, &bytes[offset..offset + 4], &[0]].concat()
    };
    assert_eq!(page[150..167], overflow(rest, 18));
    assert_eq!(page[167..184], overflow(value, 216));
    assert_eq!(bytes[rest + 8..rest + 18], [3, 0, 0, 0, 0, 0, 0, 0, b'c', b'c']);

    let page = &bytes[leaf + 184..];
    assert_eq!(root.offset as usize, leaf + 184);
    assert_eq!(page[8..16], [2, 1, 1, 0, 1, 0, 0, 0]);
    // The separator is all prefix, its suffix and its value are empty.
    assert_eq!(page[16..19], [b'c', 0, 0]);
    assert_eq!(page[19..36], overflow(left, 16 + 3 * 133));
    let mut right = overflow(leaf, 184);
    right[16] = 1;
    assert_eq!(page[36..], right);
}
