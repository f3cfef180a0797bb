//! Damaged files: whatever a byte is changed to, it is noticed or makes no difference.

use std::ops::Bound;
use std::sync::Arc;

use kstore_host::Disk;
use kstore_testkit::Prng;

use super::{LINEAGE, Model, Pages, dir};
use crate::tree::cell::{NewKey, NewValue};
use crate::tree::cells::Cells;
use crate::tree::children::Children;
use crate::tree::page::{Body, Inner, PAGE_HEADER, Page, PageRef, decode, encode};
use crate::tree::{FileNumber, PageOptions, PagesEnd, Place, Tree};
use crate::{Access, Lineage, ReadError};

/// A small store with leaves, an inner page, a long key and a long value, on the disk.
fn small() -> (Pages, Model, Option<Place>, PagesEnd) {
    let mut pages = Pages::new(PageOptions { cache_bytes: 0, ..PageOptions::tiny() });
    let mut model = Model::new();
    for number in 0..30u8 {
        model.insert(format!("key-{number:03}").into_bytes(), vec![number; 20]);
    }
    model.insert(vec![b'l'; 300], b"long key".to_vec());
    model.insert(b"long value".to_vec(), vec![9; 300]);
    let tree = pages.tree_of(&model);
    let (root, end) = pages.checkpoint(&tree);
    (pages, model, root, end)
}

/// Everything in the tree, or the damage met on the way.
fn read_all(pages: &Pages, tree: &Tree) -> Result<Model, ReadError> {
    let mut cursor = tree.cursor(&pages.store, Access::Disk, Bound::Unbounded)?;
    let mut all = Model::new();
    while let Some((key, value)) = cursor.next()? {
        all.insert(key.to_vec(), value.to_vec());
    }
    Ok(all)
}

#[test]
fn every_flipped_bit_is_noticed_or_harmless() {
    let (pages, model, root, end) = small();
    let (_, length) = end.last.unwrap();
    let path = pages.store.path(FileNumber(1));
    let mut noticed = 0;
    for offset in 0..length {
        let bit = u32::try_from(offset % 8).unwrap();
        let disk = pages.disk.fork();
        disk.flip_bit(&path, offset, bit).unwrap();
        let damaged = pages.reopen(disk, end);
        let tree = Tree::at(root);
        let found = read_all(&damaged, &tree);
        let report = tree.verify(&damaged.store, &mut |_, _| Ok(())).unwrap();
        match found {
            Ok(all) => {
                assert!(all == model, "wrong data after a flip at {offset}");
            }
            Err(ReadError::Damaged(damage)) => {
                noticed += 1;
                assert_eq!(damage.file, "pages-000001");
                let listed = report.damages.contains(&damage);
                assert!(listed, "verify does not list {damage}, but {:?}", report.damages);
                assert!(damage.offset <= offset, "{damage} found for a flip at {offset}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(noticed, length, "every byte of this file is in use");
}

#[test]
fn files_cut_short_are_noticed() {
    let (pages, _, root, end) = small();
    let (number, length) = end.last.unwrap();
    for length in 0..length {
        let disk = pages.disk.fork();
        let file = disk.open(&pages.store.path(number), kstore_host::OpenMode::ReadWrite).unwrap();
        file.set_length(length).unwrap();
        let damaged = pages.reopen(disk, end);
        let found = read_all(&damaged, &Tree::at(root));
        assert!(matches!(found, Err(ReadError::Damaged(_))), "cut to {length}: {found:?}");
    }
}

#[test]
fn a_page_written_to_the_wrong_place_is_noticed() {
    // Two files with the same content at the same offsets: only their numbers differ.
    let mut pages = Pages::new(PageOptions { cache_bytes: 0, ..PageOptions::tiny() });
    let mut tree = Tree::default();
    tree.insert(&pages.store, b"key", b"value").unwrap();
    let (first, end) = pages.checkpoint(&tree);
    let mut pages = pages.reopen(pages.disk.clone(), end);
    let mut tree = Tree::default();
    tree.insert(&pages.store, b"key", b"value").unwrap();
    let (second, end) = pages.checkpoint(&tree);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.offset, first.length), (second.offset, second.length));
    let mut bytes = vec![0; first.length as usize];
    let from = pages.disk.open(&pages.store.path(first.file), kstore_host::OpenMode::Read).unwrap();
    from.read_exact_at(&mut bytes, u64::from(first.offset)).unwrap();
    pages.disk.overwrite(&pages.store.path(second.file), u64::from(second.offset), &bytes).unwrap();
    let pages = pages.reopen(pages.disk.clone(), end);
    let found = read_all(&pages, &Tree::at(Some(second)));
    assert!(matches!(found, Err(ReadError::Damaged(_))));
    assert!(read_all(&pages, &Tree::at(Some(first))).is_ok());
}

#[test]
fn a_file_of_another_store_is_noticed() {
    let (pages, _, root, end) = small();
    let shared: Arc<dyn Disk> = Arc::new(pages.disk.clone());
    let stranger = crate::tree::PageStore::open(
        shared,
        &dir(),
        Lineage(LINEAGE.0 + 1),
        PageOptions::tiny(),
        end,
        9,
    );
    let (store, _) = stranger.unwrap();
    let found = Tree::at(root).get(&store, Access::Disk, b"key-001");
    assert!(matches!(found, Err(ReadError::Damaged(damage)) if damage.offset == 0));
}

#[test]
fn a_place_that_cannot_be_is_noticed() {
    let (pages, _, root, _) = small();
    let root = root.unwrap();
    let wrong = [
        Place { offset: 3, ..root },
        Place { offset: u32::MAX, ..root },
        Place { length: 0, ..root },
        Place { length: u32::MAX, ..root },
        Place { length: root.length - 1, ..root },
        Place { checksum: root.checksum ^ 1, ..root },
        Place { file: FileNumber(77), ..root },
    ];
    for place in wrong {
        let found = read_all(&pages, &Tree::at(Some(place)));
        assert!(matches!(found, Err(ReadError::Damaged(_))), "{place:?}: {found:?}");
    }
}

#[test]
fn verify_goes_on_beside_the_damage() {
    let (pages, model, root, end) = small();
    let disk = pages.disk.fork();
    // The first page written is the leftmost leaf.
    disk.flip_bit(&pages.store.path(FileNumber(1)), 100, 3).unwrap();
    let pages = pages.reopen(disk, end);
    let report = Tree::at(root).verify(&pages.store, &mut |_, _| Ok(())).unwrap();
    assert_eq!(report.damages.len(), 1);
    assert_eq!(report.damages[0].offset, 64);
    assert!(report.cells > 0 && report.cells < model.len() as u64);
}

#[test]
fn verify_reports_what_the_visitor_refuses() {
    let (pages, model, root, _) = small();
    let tree = Tree::at(root);
    let mut refuse = |key: &[u8], value: &[u8]| {
        assert_eq!(model[key], value);
        if key == b"key-004" { Err("no".to_owned()) } else { Ok(()) }
    };
    let report = tree.verify(&pages.store, &mut refuse).unwrap();
    assert_eq!(report.damages.len(), 1);
    assert_eq!(report.damages[0].what, "cell 4: no");
}

#[test]
fn a_failing_disk_is_an_error_and_not_damage() {
    let (pages, _, root, end) = small();
    let path = pages.store.path(FileNumber(1));
    pages.disk.spoil_reads(&path, 64..1 << 20).unwrap();
    let pages = pages.reopen(pages.disk.clone(), end);
    let tree = Tree::at(root);
    assert!(matches!(read_all(&pages, &tree), Err(ReadError::Io { .. })));
    let verified = tree.verify(&pages.store, &mut |_, _| Ok(()));
    assert!(matches!(verified, Err(ReadError::Io { .. })));
}

/// Writes a leaf with cells in just this order, well formed otherwise.
fn leaf_of(pages: &mut Pages, keys: &[&[u8]]) -> PageRef {
    let mut cells = Cells::default();
    for (index, inline) in keys.iter().enumerate() {
        cells.make_room_for(inline);
        cells.insert(index, NewKey { inline, rest: None }, NewValue::Here(b"value"));
    }
    PageRef::Stored(pages.writer.append(&Page::dirty(Body::Leaf(cells))).unwrap())
}

/// What `verify` says of an inner page above some leaves.
fn findings(level: u8, separators: &[&[u8]], leaves: &[&[&[u8]]]) -> Vec<String> {
    let mut pages = Pages::new(PageOptions::tiny());
    let children = leaves.iter().map(|keys| leaf_of(&mut pages, keys)).collect();
    let mut cells = Cells::default();
    for (index, inline) in separators.iter().enumerate() {
        cells.make_room_for(inline);
        cells.insert(index, NewKey { inline, rest: None }, NewValue::Here(b""));
    }
    let (separators, children) = (Arc::new(cells), Children::new(children));
    let root = Page::dirty(Body::Inner(Inner { level, separators, children }));
    let root = pages.writer.append(&root).unwrap();
    pages.writer.flush().unwrap();
    let report = Tree::at(Some(root)).verify(&pages.store, &mut |_, _| Ok(())).unwrap();
    report.damages.into_iter().map(|damage| damage.what).collect()
}

#[test]
fn verify_finds_what_checksums_cannot() {
    assert_eq!(findings(1, &[b"c"], &[&[b"a", b"b"], &[b"c"]]), Vec::<String>::new());
    assert_eq!(
        findings(1, &[b"c"], &[&[b"b", b"a"], &[b"c"]]),
        ["cell 1: a key that is not above the one before"]
    );
    assert_eq!(
        findings(1, &[b"c"], &[&[b"a", b"a"], &[b"c"]]),
        ["cell 1: a key that is not above the one before"]
    );
    assert_eq!(
        findings(1, &[b"c"], &[&[b"a", b"c"], &[b"d"]]),
        ["cell 1: a key not below the separator behind the page"]
    );
    assert_eq!(
        findings(1, &[b"c"], &[&[b"a"], &[b"bb"]]),
        ["cell 0: a key below the separator before the page"]
    );
    assert_eq!(
        findings(1, &[b"d", b"c"], &[&[b"a"], &[b"d"], &[b"e"]]),
        ["separator 1: a key that is not above the one before"]
    );
    assert_eq!(findings(1, &[b"c"], &[&[b"a"], &[]]), ["a leaf without cells"]);
    assert_eq!(
        findings(2, &[b"c"], &[&[b"a"], &[b"c"]]),
        ["a page of another level", "a page of another level"]
    );
}

/// A page that passed its checksum and is nonsense all the same: the decoder says so, or makes
/// a page of it that can be searched and encoded again.
#[test]
fn the_decoder_survives_any_bytes() {
    let seed = 7;
    println!("seed {seed}");
    let mut prng = Prng::new(seed);
    let (pages, _, root, end) = small();
    let file =
        pages.disk.open(&pages.store.path(FileNumber(1)), kstore_host::OpenMode::Read).unwrap();
    let mut samples = Vec::new();
    let mut at = 64;
    while at < end.last.unwrap().1 {
        let mut length = [0; 4];
        file.read_exact_at(&mut length, at + 4).unwrap();
        let mut page = vec![0; u32::from_le_bytes(length) as usize];
        file.read_exact_at(&mut page, at).unwrap();
        at += page.len() as u64;
        samples.push(page);
    }
    assert!(root.is_some() && samples.len() > 4);
    let mut survived = 0;
    for _ in 0..100_000 {
        let mut bytes = prng.pick(&samples).clone();
        for _ in 0..prng.between(1, 4) {
            let at = prng.index(bytes.len());
            bytes[at] = *prng.pick(&[0, 1, 2, 3, bytes[at] ^ 1, 0x7f, 0x80, 0xff]);
        }
        if prng.one_in(4) {
            bytes.truncate(prng.index(bytes.len() + 1));
        }
        let Ok(body) = decode(&bytes) else { continue };
        survived += 1;
        let page = Page::dirty(body);
        let mut again = Vec::new();
        encode(&page, &mut again);
        assert_eq!(again[PAGE_HEADER..].len(), bytes[PAGE_HEADER..].len());
    }
    assert!(survived > 1000, "{survived}");
    for _ in 0..100_000 {
        let mut bytes = vec![0; prng.index(200)];
        prng.fill(&mut bytes);
        if bytes.len() > 16 {
            bytes[8] = *prng.pick(&[0, 1, 2, 3]);
            bytes[9] = *prng.pick(&[0, 1, 2]);
            bytes[11] = 0;
            bytes[13] = 0;
            bytes[15] = 0;
        }
        let _ = decode(&bytes);
    }
}
