//! Trouble has one clear line: what goes wrong is provoked on a real member, which must say what
//! it is, once, and end with an exit code that is not 0, or go on with what it still has.
//!
//! What needs a file system of its own (a full disk, a read-only one) is in
//! `jepsen/compat/troubles.sh`; this needs nothing but cargo.

#![allow(clippy::unwrap_used, reason = "what a test needs is there or the test has failed")]
#![allow(clippy::disallowed_methods, reason = "files are damaged behind the member's back")]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use kstore_proto::etcdserverpb::RangeRequest;
use kstore_proto::etcdserverpb::kv_client::KvClient;
use support::{Member, Scratch, Setup, errors, offline, text, unusual};
use tonic::Code;
use tonic::transport::Endpoint;

/// A root's slot in the root file.
const SLOT: usize = 4096;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Where `text` lies in a file.
#[track_caller]
fn find(path: &Path, text: &str) -> usize {
    let bytes = fs::read(path).unwrap();
    let found = bytes.windows(text.len()).position(|window| window == text.as_bytes());
    found.unwrap_or_else(|| panic!("no {text} in {}", path.display()))
}

/// A data directory whose member was started and stopped `runs` times, with a key of each run.
fn prepared(scratch: &Scratch, runs: usize) -> PathBuf {
    let data_dir = scratch.0.join("prepared");
    for run in 0..runs {
        let member = Setup::alone(&data_dir).start();
        for number in 0..3 {
            let (key, value) = (format!("key/{run}/{number}"), format!("value-{run}-{number}"));
            member.says(&["put", &key, &value]);
        }
        member.stop();
    }
    data_dir
}

#[track_caller]
fn has_all(member: &Member, runs: usize) {
    let found = member.says(&["get", "key/", "--prefix", "--print-value-only"]);
    let wanted: Vec<String> =
        (0..runs).flat_map(|run| (0..3).map(move |n| format!("value-{run}-{n}"))).collect();
    assert_eq!(found.lines().collect::<Vec<_>>(), wanted);
}

/// `kstore verify` finds it, too; returns what it says.
#[track_caller]
fn verify_finds(data_dir: &Path) -> String {
    let output = offline(&["verify", data_dir.to_str().unwrap()]);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("sound"), "{said}");
    said
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let scratch = Scratch::new("not-a-directory");
    let file = scratch.0.join("file");
    fs::write(&file, "").unwrap();
    let ended = Setup::alone(file.join("data")).ends();
    let path = file.join("data");
    let wanted = format!("make data directory {}: Not a directory (os error 20)", path.display());
    assert_eq!(ended.complaint(), wanted);
}

#[test]
fn a_data_directory_of_another_version_is_refused() {
    let scratch = Scratch::new("other-version");
    let prepared = prepared(&scratch, 1);
    // The file, where its version lies, where its checksum lies and what that covers.
    type Sum = fn(&[u8]) -> u32;
    let files: [(&str, usize, usize, Sum); 5] = [
        ("identity", 4, 40, |bytes| crc32fast::hash(&bytes[..40])),
        ("store-000001/root", 8, SLOT - 4, |bytes| {
            crc32fast::hash(&[&bytes[24..40], &bytes[..SLOT - 4]].concat())
        }),
        ("store-000001/log-000001-0000", 8, 60, |bytes| crc32fast::hash(&bytes[..60])),
        ("store-000001/pages-000001", 8, 60, |bytes| crc32fast::hash(&bytes[..60])),
        ("wal/wal-00000001", 8, 12, |bytes| {
            crc32fast::hash(&[&bytes[..12], &bytes[16..40]].concat())
        }),
    ];
    for (name, version, checksum, sum) in files {
        let data_dir = scratch.0.join("changed");
        copy(&prepared, &data_dir);
        let path = data_dir.join(name);
        change(&path, |bytes| {
            let length = bytes.len().min(if name.ends_with("root") { 4 * SLOT } else { 64 });
            for part in bytes[..length].chunks_mut(SLOT) {
                if part.iter().all(|byte| *byte == 0) {
                    continue;
                }
                assert_eq!(part[version..version + 4], 1_u32.to_le_bytes(), "{name}");
                assert_eq!(part[checksum..checksum + 4], sum(part).to_le_bytes(), "{name}");
                part[version..version + 4].copy_from_slice(&2_u32.to_le_bytes());
                let sum = sum(part);
                part[checksum..checksum + 4].copy_from_slice(&sum.to_le_bytes());
            }
        });
        let wanted = "has format version 2; this kstore reads version 1 only";
        let ended = Setup::alone(&data_dir).ends();
        let complaint = ended.complaint();
        let named = complaint.contains(&path.display().to_string());
        assert!(named && complaint.ends_with(wanted), "{complaint}");
        assert!(verify_finds(&data_dir).contains(wanted), "{name}");
        fs::remove_dir_all(&data_dir).unwrap();
    }
}

#[test]
fn a_port_that_is_taken_is_named_and_nothing_is_left_behind() {
    let scratch = Scratch::new("taken");
    let first = Setup::alone(scratch.0.join("first"));
    let _member = first.start();
    let second = Setup::alone(scratch.0.join("second"));
    let taken = [
        (Setup { client: first.client.clone(), ..second.clone() }, &first.client),
        (Setup { peer: first.peer.clone(), ..second }, &first.peer),
    ];
    for (setup, address) in taken {
        let wanted = format!("listen on http://{address}: address already in use");
        assert_eq!(setup.ends().complaint(), wanted);
        assert!(!setup.data_dir.exists());
    }
}

#[test]
fn a_data_directory_in_use_is_refused() {
    let scratch = Scratch::new("in-use");
    let data_dir = scratch.0.join("data");
    let mut first = Setup::alone(&data_dir).start();
    let shown = data_dir.display();
    let wanted = format!("data directory {shown} is in use by another process");
    assert_eq!(Setup::alone(&data_dir).ends().complaint(), wanted);
    assert_eq!(first.says(&["put", "key", "value"]), "OK\n");
    assert!(first.is_alive());
}

#[test]
fn a_damaged_newest_root_is_said_and_the_one_before_has_everything_with_the_log() {
    let scratch = Scratch::new("roots");
    let runs = 3;
    let prepared = prepared(&scratch, runs);
    let slots = newest_slots(&prepared.join("store-000001/root"));
    for damaged in 1..=2 {
        let data_dir = scratch.0.join(format!("damaged-{damaged}"));
        copy(&prepared, &data_dir);
        let root = data_dir.join("store-000001/root");
        change(&root, |bytes| {
            slots[..damaged].iter().for_each(|slot| bytes[slot * SLOT + 300] ^= 1)
        });
        let found = verify_finds(&data_dir);
        for slot in &slots[..damaged] {
            let wanted = format!("root at offset {}: slot {slot} is damaged\n", slot * SLOT);
            assert!(found.contains(&wanted), "{found}");
        }

        let member = Setup::alone(&data_dir).start();
        has_all(&member, runs);
        assert_eq!(member.says(&["put", "key/9", "later"]), "OK\n");
        let ended = member.stop();
        let line = ended.only_line();
        let slot = slots[damaged - 1];
        for part in [
            "\"level\":\"WARN\"",
            "the newest root of the store is unusable; falling back to the one before",
            &format!(
                "slot {slot} of {} is damaged; went back to the root of entry",
                root.display()
            ),
        ] {
            assert!(line.contains(part), "{line}");
        }
        // What was mended stays mended.
        let member = Setup::alone(&data_dir).start();
        assert_eq!(member.says(&["get", "key/9", "--print-value-only"]), "later\n");
    }
}

#[test]
fn a_store_without_a_sound_root_is_refused() {
    let scratch = Scratch::new("no-root");
    let data_dir = prepared(&scratch, 1);
    change(&data_dir.join("store-000001/root"), |bytes| {
        bytes.chunks_mut(SLOT).for_each(|slot| slot[300] ^= 1);
    });
    let shown = data_dir.join("store-000001");
    let shown = shown.display();
    let wanted = format!("the store in {shown} is damaged: it has files, but no valid root");
    assert_eq!(Setup::alone(&data_dir).ends().complaint(), wanted);
    assert!(verify_finds(&data_dir).contains(&wanted));
}

/// The slots of a root file, the newest root's first.
fn newest_slots(path: &Path) -> Vec<usize> {
    let bytes = fs::read(path).unwrap();
    let generation = |slot: &usize| {
        let at = slot * SLOT + 16;
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    };
    let mut slots: Vec<usize> = (0..4).filter(|slot| bytes[slot * SLOT] != 0).collect();
    slots.sort_by_key(|slot| std::cmp::Reverse(generation(slot)));
    slots
}

#[test]
fn a_damaged_entry_in_the_middle_of_the_log_is_refused() {
    let scratch = Scratch::new("log");
    let data_dir = prepared(&scratch, 2);
    let segment = data_dir.join("wal/wal-00000001");
    let at = find(&segment, "value-0-1");
    let bytes = fs::read(&segment).unwrap();
    let group = (0..=at / 512).rev().map(|block| block * 512);
    let group = group.into_iter().find(|start| bytes[*start..].starts_with(b"kwgr")).unwrap();
    change(&segment, |bytes| bytes[at] ^= 1);
    let shown = segment.display();
    let wanted = format!("the write-ahead log is damaged in {shown} at offset {group}: ");

    let before = fs::read(&segment).unwrap();
    let ended = Setup::alone(&data_dir).ends();
    assert!(ended.complaint().starts_with(&wanted), "{ended:?}");
    assert_eq!(fs::read(&segment).unwrap(), before, "it was not touched");
    let found = verify_finds(&data_dir);
    assert!(found.starts_with(&wanted), "{found}");
    let summary = format!("Error: {} is damaged in one place\n", data_dir.display());
    assert!(found.ends_with(&summary), "{found}");
}

#[test]
fn a_log_that_does_not_reach_what_the_store_has_applied_is_refused() {
    let scratch = Scratch::new("short-log");
    let data_dir = prepared(&scratch, 1);
    fs::remove_dir_all(data_dir.join("wal")).unwrap();
    let wanted = format!(
        "the write-ahead log is damaged in {} at offset 0: there is no log, but the store has \
         applied entry ",
        data_dir.join("wal").display()
    );
    assert!(verify_finds(&data_dir).starts_with(&wanted));
    let ended = Setup::alone(&data_dir).ends();
    assert!(ended.complaint().starts_with(&wanted), "{ended:?}");
}

/// What a member answers to a read of one key.
fn read(member: &Member, key: &str) -> Result<u64, tonic::Status> {
    let endpoint = format!("http://{}", member.endpoint);
    let request = RangeRequest { key: key.as_bytes().to_vec().into(), ..RangeRequest::default() };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let channel = Endpoint::from_shared(endpoint).unwrap().connect().await.unwrap();
        let mut client = KvClient::new(channel);
        let found = client.range(request).await?;
        Ok(found.into_inner().kvs.iter().map(|kv| kv.value.len() as u64).sum())
    })
}

#[test]
fn a_damaged_record_is_named_and_the_rest_is_served() {
    const VALUE: usize = 100_000;
    let scratch = Scratch::new("record");
    let data_dir = scratch.0.join("data");
    let value = "v".repeat(VALUE);
    let member = Setup::alone(&data_dir).start();
    // The first segment is a mebibyte: these seal it.
    for number in 10..25 {
        member.says(&["put", &format!("key/{number}"), &value]);
    }
    member.stop();
    let segment = data_dir.join("store-000001/log-000001-0000");
    let at = find(&segment, "key/13");
    change(&segment, |bytes| bytes[at + VALUE / 2] ^= 1);
    let found = verify_finds(&data_dir);
    assert!(found.contains("log-000001-0000 at offset"), "{found}");
    let damage = found.lines().next().unwrap();

    let mut member = Setup::alone(&data_dir).start();
    let status = read(&member, "key/13").unwrap_err();
    assert_eq!(status.code(), Code::DataLoss);
    assert_eq!(status.message(), format!("etcdserver: damaged data: {damage}"));
    for number in (10..25).filter(|number| *number != 13) {
        assert_eq!(read(&member, &format!("key/{number}")).unwrap(), VALUE as u64);
    }
    let keys = member.says(&["get", "key/", "--prefix", "--keys-only"]);
    assert_eq!(keys.lines().filter(|line| !line.is_empty()).count(), 15);
    // Watchers of that time are told; it can be written anew and deleted.
    let watched = member.run(&["watch", "key/", "--prefix", "--rev", "2"]);
    assert!(errors(&watched).contains(damage), "{watched:?}");
    assert_eq!(member.says(&["put", "key/13", "new"]), "OK\n");
    assert_eq!(read(&member, "key/13").unwrap(), 3);
    assert_eq!(member.says(&["del", "key/13"]), "1\n");
    assert!(member.is_alive());
    member.stop();
}

#[test]
fn damage_in_the_open_segment_is_mended_from_the_log_or_refused() {
    let scratch = Scratch::new("open-segment");
    let prepared = prepared(&scratch, 3);
    let segment = Path::new("store-000001/log-000001-0000");
    let damaged = |name: &str, value: &str| {
        let data_dir = scratch.0.join(name);
        copy(&prepared, &data_dir);
        let at = find(&data_dir.join(segment), value);
        change(&data_dir.join(segment), |bytes| bytes[at] ^= 1);
        data_dir
    };
    // Written since the root before the newest: all of it is in the Raft log, too.
    let member = Setup::alone(damaged("late", "value-2-1")).start();
    has_all(&member, 3);
    let ended = member.stop();
    let line = ended.only_line();
    let wanted = "record checksum mismatch; went back to the root of entry";
    assert!(line.contains(wanted), "{line}");

    // Both roots name it.
    let data_dir = damaged("early", "value-0-1");
    let ended = Setup::alone(&data_dir).ends();
    let line = ended.complaint();
    let shown = data_dir.join(segment);
    let wanted = format!("{}: at offset ", shown.display());
    assert!(line.contains(&wanted) && line.contains(": record checksum mismatch"), "{line}");
    assert!(verify_finds(&data_dir).contains("record checksum mismatch"));
}

#[test]
fn a_damaged_page_is_named_and_the_rest_is_served() {
    let scratch = Scratch::new("page");
    let data_dir = scratch.0.join("data");
    let member = Setup::alone(&data_dir).start();
    let key = |number: usize| format!("{}/{number:05}", "k".repeat(200));
    for first in (0..2000).step_by(100) {
        let puts: String = (first..first + 100).map(|n| format!("put {} v\n", key(n))).collect();
        member.transacts(&format!("\n{puts}\n\n"));
    }
    member.stop();
    let pages = data_dir.join("store-000001/pages-000001");
    let middle = fs::metadata(&pages).unwrap().len() / 2;
    change(&pages, |bytes| bytes[usize::try_from(middle).unwrap()] ^= 1);
    let found = verify_finds(&data_dir);
    let damage = found.lines().next().unwrap();
    assert!(damage.starts_with("pages-000001 at offset "), "{found}");
    assert!(damage.ends_with(": page checksum mismatch"), "{found}");

    let mut member = Setup::alone(&data_dir).start();
    let mut lost = Vec::new();
    for number in (0..2000).step_by(20) {
        match read(&member, &key(number)) {
            Ok(length) => assert_eq!(length, 1),
            Err(status) => {
                assert_eq!(status.code(), Code::DataLoss);
                assert_eq!(status.message(), format!("etcdserver: damaged data: {damage}"));
                lost.push(number);
            }
        }
    }
    assert!((1..50).contains(&lost.len()), "{lost:?}");
    assert_eq!(member.says(&["put", "another", "value"]), "OK\n");
    assert!(member.is_alive());
    member.stop();

    // To write what lies there would be to guess: the member ends, and names the place.
    let member = Setup::alone(&data_dir).start();
    errors(&member.run(&["put", &key(lost[0]), "new"]));
    let wanted = format!("member ended: the store cannot go on: damaged data: {damage}");
    assert_eq!(member.end().complaint(), wanted);
}

#[test]
fn a_member_of_another_cluster_ends_and_does_no_harm() {
    let scratch = Scratch::new("stranger");
    let mut setups: Vec<Setup> = (1..=3)
        .map(|number| Setup {
            name: format!("m{number}"),
            ..Setup::alone(scratch.0.join(format!("m{number}")))
        })
        .collect();
    let member = |setup: &Setup| format!("{}=http://{}", setup.name, setup.peer);
    let cluster = setups.iter().map(member).collect::<Vec<_>>().join(",");
    for setup in &mut setups {
        setup.cluster = Some(cluster.clone());
    }
    setups[2].token = "another".to_owned();
    let mut right: Vec<Member> = setups[..2].iter().map(Setup::launch).collect();
    for member in &mut right {
        assert!(member.wait_for("ready to serve client requests"), "{member:?}");
    }
    let ended = setups[2].ends();
    assert_eq!(ended.code, Some(1));
    let wanted = "kstore server: member ended: this member belongs to another cluster than its \
                  peers: cluster id mismatch: got ";
    assert!(ended.lines.last().unwrap().starts_with(wanted), "{ended:?}");
    // Before that it has warned once of each peer.
    assert!(unusual(&ended.lines).len() <= 3, "{ended:?}");
    for member in &mut right {
        assert_eq!(member.says(&["put", "key", "value"]), "OK\n");
        assert!(member.is_alive());
    }
    // Started as what it is, it joins.
    fs::remove_dir_all(&setups[2].data_dir).unwrap();
    setups[2].token = setups[0].token.clone();
    assert_eq!(setups[2].start().says(&["get", "key"]), "key\nvalue\n");
}

#[test]
fn flags_that_contradict_each_other_are_refused_before_anything_is_touched() {
    let scratch = Scratch::new("flags");
    let alone = Setup::alone(scratch.0.join("data"));
    let elsewhere = Setup { cluster: Some("default=http://127.0.0.1:1".into()), ..alone.clone() };
    let wanted = format!(
        "--initial-cluster has default=http://127.0.0.1:1 but --initial-advertise-peer-urls is \
         http://{}",
        alone.peer
    );
    assert_eq!(elsewhere.ends().complaint(), wanted);
    let unnamed = Setup { name: "other".to_owned(), ..elsewhere };
    let wanted = "couldn't find local name \"other\" in the initial cluster configuration";
    assert_eq!(unnamed.ends().complaint(), wanted);
    assert!(!alone.data_dir.exists());
}

#[test]
fn a_sound_directory_is_said_to_be_sound() {
    let scratch = Scratch::new("sound");
    let data_dir = prepared(&scratch, 2);
    let found = text(&offline(&["verify", data_dir.to_str().unwrap()]));
    assert!(found.contains("\nlog: last entry ") && found.ends_with("\nsound\n"), "{found}");
    let found = text(&offline(&["verify", data_dir.to_str().unwrap(), "-w", "json"]));
    assert!(found.contains("\"damages\":[]"), "{found}");
}
