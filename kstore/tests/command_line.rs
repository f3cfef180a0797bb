//! The command line against a real member: the path that a backup takes, from a key to a restored
//! directory, and the words that programs read on it.
//!
//! `tests/compat/cli.sh` compares all commands with etcdctl; this needs nothing but cargo.

#![allow(clippy::unwrap_used, reason = "what a test needs is there or the test has failed")]

#[path = "support/mod.rs"]
mod support;

use std::path::Path;

use support::{Member, Scratch, Setup, offline, text};

fn start(data_dir: &Path) -> Member {
    Setup::alone(data_dir).start()
}

#[test]
fn what_was_saved_is_restored_with_its_revisions() {
    let scratch = Scratch::new("restored");
    let (file, restored) = (scratch.path("image"), scratch.path("restored"));
    {
        let member = start(&scratch.0.join("first"));
        assert_eq!(member.says(&["put", "key", "one"]), "OK\n");
        assert_eq!(member.says(&["put", "key", "two", "--prev-kv"]), "OK\nkey\none\n");
        let saved = member.says(&["snapshot", "save", &file]);
        assert!(saved.starts_with(&format!("Snapshot saved at {file}\n")), "{saved}");
        // After the image: not in it.
        member.says(&["put", "key", "three"]);
    }
    let status = text(&offline(&["snapshot", "status", &file, "-w", "fields"]));
    assert!(status.starts_with("\"Revision\" : 3\n"), "{status}");
    text(&offline(&["snapshot", "restore", &file, "--data-dir", &restored]));
    assert!(text(&offline(&["verify", &restored])).ends_with("sound\n"));

    let member = start(Path::new(&restored));
    assert_eq!(member.says(&["get", "key"]), "key\ntwo\n");
    assert_eq!(member.says(&["get", "key", "--rev", "2"]), "key\none\n");
    let members = member.says(&["member", "list"]);
    assert_eq!(members.lines().count(), 1, "the member of the first cluster is gone: {members}");
    assert_eq!(member.says(&["put", "key", "four"]), "OK\n");
}

#[test]
fn a_directory_that_is_not_empty_is_not_restored_into() {
    let scratch = Scratch::new("not-empty");
    std::fs::create_dir(scratch.0.join("something")).unwrap();
    let restored = offline(&["snapshot", "restore", "image", "--data-dir", &scratch.path("")]);
    assert_eq!(restored.status.code(), Some(1));
    let said = String::from_utf8(restored.stderr).unwrap();
    assert!(said.ends_with("not empty or could not be read\n"), "{said}");
}

#[test]
fn a_store_cannot_be_verified_while_it_is_served() {
    let scratch = Scratch::new("verified");
    let data_dir = scratch.path("data");
    {
        let member = start(Path::new(&data_dir));
        member.says(&["put", "key", "value"]);
        let verified = offline(&["verify", &data_dir]);
        let said = String::from_utf8(verified.stderr).unwrap();
        assert_eq!(said, format!("Error: {data_dir} is in use: stop the member first\n"));
    }
    assert!(text(&offline(&["verify", &data_dir])).ends_with("sound\n"));
}

#[test]
fn a_refusal_is_one_line_and_an_exit_code() {
    let scratch = Scratch::new("refused");
    let member = start(&scratch.0.join("data"));
    for (words, code, said) in [
        (&["get", ""][..], 1, "Error: etcdserver: key is not provided\n"),
        (
            &["put", "key", "v", "--lease", "zz"],
            128,
            "Error: bad lease ID (strconv.ParseInt: parsing \"zz\": invalid syntax), expecting ID in Hex\n",
        ),
        (&["get", "key", "-w", "table"], 4, "Error: table not supported as output format\n"),
        (
            &["lease", "keep-alive", "--once", "1"],
            2,
            "Error: etcdserver: requested lease not found\n",
        ),
    ] {
        let output = member.run(words);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), said);
        assert_eq!(output.status.code(), Some(code));
    }
}
