//! What the sources must and must not say.

use std::collections::BTreeSet;

use crate::assert_none;
use crate::lists::settings;
use crate::tree::{exists, files, members, read, rust_files};

/// Lines of code outside of tests that a file may have.
const MOST_LINES: usize = 600;

/// Where the rules themselves are spelled out, and so may say what they ban.
const RULES: &str = "testkit/tests/tidy";

/// A source without comments and without the contents of its strings; lines stay where they are.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (taken, kept) = token(rest, first);
        let (piece, behind) = rest.split_at(taken);
        if kept {
            out.push_str(piece);
        } else {
            out.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = behind;
    }
    out
}

/// The length of what `rest` begins with, and whether it is code.
fn token(rest: &str, first: char) -> (usize, bool) {
    let upto = |end: &str, from: usize| rest[from..].find(end).map(|at| from + at);
    if rest.starts_with("//") {
        return (upto("\n", 0).unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (upto("*/", 2).map_or(rest.len(), |at| at + 2), false);
    }
    if let Some(hashes) = raw_string(rest) {
        let end = format!("\"{}", "#".repeat(hashes));
        let begin = hashes + 2;
        return (upto(&end, begin).map_or(rest.len(), |at| at + end.len()), false);
    }
    if first == '"' {
        return (string_end(rest), false);
    }
    for quoted in ["'\"'", "'\\\"'", "'\\''", "'\\\\'"] {
        if rest.starts_with(quoted) {
            return (quoted.len(), false);
        }
    }
    if first.is_alphanumeric() || first == '_' {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        return (end.unwrap_or(rest.len()), true);
    }
    (first.len_utf8(), true)
}

/// The number of `#`s if `rest` begins a raw string.
fn raw_string(rest: &str) -> Option<usize> {
    let behind = rest.strip_prefix('r')?;
    let hashes = behind.chars().take_while(|c| *c == '#').count();
    behind[hashes..].starts_with('"').then_some(hashes)
}

fn string_end(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The part of a source that is not `#[cfg(test)] mod … { … }` at its end.
fn outside_tests(text: &str) -> &str {
    let mut from = 0;
    while let Some(at) = text[from..].find("\n#[cfg(test)]\n") {
        let start = from + at + 1;
        let behind = text[start..].lines().find(|line| !line.starts_with("#["));
        if behind.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{')) {
            return &text[..start];
        }
        from = start;
    }
    text
}

/// Files (or folders, ending in a slash) that are compiled for tests only.
fn test_places(files: &[String]) -> BTreeSet<String> {
    let mut places = BTreeSet::new();
    for file in files {
        let text = read(file);
        let lines: Vec<&str> = text.lines().collect();
        let stem = file.trim_end_matches(".rs");
        let folder = match stem.rsplit_once('/') {
            Some((folder, "mod" | "lib" | "main")) => folder,
            _ => stem,
        };
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| line.trim() == "#[cfg(test)]") {
            let Some(item) = lines[at + 1..].iter().find(|line| !line.starts_with("#[")) else {
                continue;
            };
            let name = item.trim_start_matches("pub(crate) ").strip_prefix("mod ");
            if let Some(name) = name.and_then(|name| name.strip_suffix(';')) {
                places.insert(format!("{folder}/{name}.rs"));
                places.insert(format!("{folder}/{name}/"));
            }
        }
    }
    places
}

/// Sources that go into a build, each with its text outside of tests.
fn shipped() -> Vec<(String, String)> {
    let files = rust_files();
    let places = test_places(&files);
    let is_test = |file: &str| {
        let in_tests = file.split('/').any(|part| part == "tests" || part == "fuzz");
        let placed = places.iter().any(|place| {
            file == place || (place.ends_with('/') && file.starts_with(place.as_str()))
        });
        in_tests || placed
    };
    files
        .into_iter()
        .filter(|file| !is_test(file))
        .map(|file| {
            let text = read(&file);
            let outside = outside_tests(&text).to_owned();
            (file, outside)
        })
        .collect()
}

/// Whether `code` names `path`, by itself or inside a group of a `use`; words match whole.
fn names(code: &str, path: &str) -> bool {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let plain = code.match_indices(path).any(|(at, _)| {
        !is_word(code[..at].chars().next_back()) && !is_word(code[at + path.len()..].chars().next())
    });
    let Some((parent, last)) = path.rsplit_once("::") else { return plain };
    plain
        || code
            .match_indices(&format!("{parent}::{{"))
            .any(|(at, group)| group_of(&code[at + group.len()..]).iter().any(|item| item == last))
}

/// The first segments of the items of a `use` group, up to its closing brace.
fn group_of(text: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut items = vec![String::new()];
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            _ if depth == 0 => items.last_mut().expect("never empty").push(c),
            _ => {}
        }
    }
    let first = |item: &String| item.trim().split([':', ' ']).next().unwrap_or("").to_owned();
    items.iter().map(first).collect()
}

/// Offences of files below `folder` against `bans`.
fn banned(folder: &str, except: &[&str], bans: &[&str]) -> Vec<String> {
    let mut offences = Vec::new();
    for (file, text) in shipped() {
        if !file.starts_with(folder) || except.iter().any(|place| file.starts_with(place)) {
            continue;
        }
        let code = code(&text);
        offences.extend(
            bans.iter().filter(|ban| names(&code, ban)).map(|ban| format!("{file}: {ban}")),
        );
    }
    offences
}

#[test]
fn the_pure_crates_know_no_machine() {
    let bans = [
        "std::fs",
        "std::thread",
        "std::net",
        "std::process",
        "std::env",
        "SystemTime",
        "Instant::now",
        "std::time::Instant",
        "tokio",
        "rand",
        "getrandom",
        "HashMap",
        "HashSet",
        "RandomState",
    ];
    let mut offences = Vec::new();
    for folder in ["mvcc/src/", "machine/src/", "watch/src/"] {
        offences.extend(banned(folder, &[], &bans));
    }
    assert_none("pure crates", &offences);
}

#[test]
fn a_member_takes_time_tasks_and_chance_from_its_runtime_alone() {
    let bans = [
        "tokio::spawn",
        "tokio::task",
        "tokio::time",
        "tokio::runtime",
        "tokio::select",
        "tokio::net",
        "tokio::fs",
        "tokio::sync::watch",
        "tokio::sync::broadcast",
        "futures_util::select",
        "std::fs",
        "std::thread",
        "std::net",
        "SystemTime",
        "std::time::Instant",
        "rand",
        "getrandom",
        "HashMap",
        "HashSet",
    ];
    // The net over tonic is the one part that the simulator replaces.
    assert_none("raft", &banned("raft/src/", &["raft/src/peer/"], &bans));
}

#[test]
fn only_host_touches_files_clocks_and_threads() {
    let bans = ["std::fs", "tokio::fs", "std::thread", "SystemTime", "std::time::Instant"];
    // Time limits of connections are etcd-api's own business; files and threads are not.
    assert_none("etcd-api", &banned("etcd-api/src/", &[], &bans));
}

#[test]
fn only_the_engine_names_openraft() {
    // The root of raft hands the engine's runtime on under a name of its own.
    let allowed = ["raft/src/engine", "raft/src/lib.rs", "testkit/src/sim", "jepsen/"];
    let mut offences = Vec::new();
    for (file, text) in shipped() {
        let code = code(&text);
        // `AsyncRuntime` is the seam for the simulator, and a trait of a crate of its own.
        let without = code.replace("openraft::AsyncRuntime", "");
        let allowed = allowed.iter().any(|place| file.starts_with(place));
        if !allowed && ["openraft", "openraft_rt"].iter().any(|name| names(&without, name)) {
            offences.push(file);
        }
    }
    assert_none("openraft outside of the engine", &offences);
}

#[test]
fn the_first_line_of_every_source_says_what_it_is_for() {
    let offences: Vec<String> =
        rust_files().into_iter().filter(|file| !read(file).starts_with("//! ")).collect();
    assert_none("first line is `//! `", &offences);
}

#[test]
fn no_source_is_longer_than_a_reader_can_hold() {
    let ratchet = settings(&read("testkit/tidy.toml"), "lines");
    let mut offences = Vec::new();
    for (file, text) in shipped() {
        let lines = text.lines().count();
        let listed = ratchet.iter().find(|(name, _)| *name == file);
        let listed: Option<usize> = listed.and_then(|(_, lines)| lines.parse().ok());
        match listed {
            None if lines <= MOST_LINES => {}
            None => offences.push(format!("{file}: {lines} lines, at most {MOST_LINES}")),
            Some(most) if lines > most => {
                offences.push(format!("{file}: {lines} lines, it had {most} and may only shrink"));
            }
            Some(_) if lines <= MOST_LINES => {
                offences.push(format!("{file}: short enough now, take it off testkit/tidy.toml"));
            }
            Some(_) => {}
        }
    }
    let gone = ratchet.iter().filter(|(file, _)| !exists(file));
    offences.extend(gone.map(|(file, _)| format!("{file}: in testkit/tidy.toml, but not there")));
    assert_none("length of sources", &offences);
}

#[test]
fn nothing_is_left_to_be_done_or_without_a_bound() {
    let mut offences = Vec::new();
    for file in rust_files().into_iter().filter(|file| !file.starts_with(RULES)) {
        let text = read(&file);
        for mark in ["FIXME", "XXX", "TODO"] {
            if names(&text, mark) {
                offences.push(format!("{file}: {mark}"));
            }
        }
        let code = code(&text);
        for call in ["dbg!", "todo!", "unimplemented!", "unbounded_channel", "unbounded"] {
            if names(&code, call) {
                offences.push(format!("{file}: {call}"));
            }
        }
    }
    assert_none("left over", &offences);
}

#[test]
fn no_test_is_ignored_or_waits_by_the_clock() {
    let mut offences = Vec::new();
    for file in rust_files().into_iter().filter(|file| !file.starts_with(RULES)) {
        let code = code(&read(&file));
        for ban in ["#[ignore", "#[should_panic", "thread::sleep"] {
            if code.contains(ban) {
                offences.push(format!("{file}: {ban}"));
            }
        }
    }
    assert_none("tests", &offences);
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let offences: Vec<String> = members()
        .into_iter()
        .map(|member| format!("{}/Cargo.toml", member.folder))
        .filter(|manifest| {
            let lints = settings(&read(manifest), "lints");
            lints != [("workspace".to_owned(), "true".to_owned())]
        })
        .collect();
    assert_none("[lints] workspace = true", &offences);
}

#[test]
fn the_repository_names_no_place_outside_of_itself() {
    let bans = [
        concat!("/wo", "rk/"),
        concat!("/tmp/", "kstore"),
        concat!("shared/", "reference"),
        concat!("shared/", "design"),
        concat!("/ro", "ot/"),
        concat!("reference/", "openraft.md"),
    ];
    let mut offences = Vec::new();
    for file in files() {
        let Ok(text) = std::fs::read_to_string(crate::tree::root().join(&file)) else {
            // Not text.
            continue;
        };
        offences.extend(
            bans.iter().filter(|ban| text.contains(**ban)).map(|ban| format!("{file}: {ban}")),
        );
    }
    assert_none("private places", &offences);
}

#[test]
fn comments_and_strings_are_not_code() {
    let text = "a /* b */ c // d\n\"e \\\" f\" g r#\"h\" i\"# j 'k' '\"' l";
    let words: Vec<String> = code(text).split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["a", "c", "g", "j", "'k'", "l"]);
}

#[test]
fn a_path_is_found_by_itself_and_inside_a_group() {
    assert!(names("use std::fs;", "std::fs"));
    assert!(names("use std::{fmt, fs::{self, File}, io};", "std::fs"));
    assert!(names("std::fs::read()", "std::fs"));
    assert!(!names("use std::{fmt, io};", "std::fs"));
    assert!(!names("use std::fs_extra;", "std::fs"));
    assert!(!names("operand", "rand"));
}
