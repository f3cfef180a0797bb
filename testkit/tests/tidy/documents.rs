//! What the documents name must exist, and what exists must be named.

use crate::assert_none;
use crate::tree::{exists, files, members, read};

/// What stands between back-ticks, outside of fenced blocks.
fn quoted(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// Folders that a build or a suite makes: they are named, but are not there in a clean checkout.
const MADE: [&str; 2] = [".cache/", "target/"];

/// Whether a quoted word can only be a path of this repository.
fn is_path(word: &str) -> bool {
    if MADE.iter().any(|folder| word.starts_with(folder)) {
        return false;
    }
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let is_file = [".rs", ".md", ".toml", ".proto", ".sh"].iter().any(|end| word.ends_with(end));
    plain && !word.starts_with('/') && word.contains('/') && (is_file || word.ends_with('/'))
}

#[test]
fn the_architecture_names_each_crate_and_each_path_it_names_exists() {
    let architecture = read("ARCHITECTURE.md");
    let mut offences: Vec<String> = members()
        .into_iter()
        .filter(|member| !architecture.contains(&format!("**{}**", member.folder)))
        .map(|member| format!("no paragraph on **{}** ({})", member.folder, member.package))
        .collect();
    let words = quoted(&architecture);
    let missing = words.iter().filter(|word| is_path(word) && !exists(word));
    offences.extend(missing.map(|word| format!("`{word}` is not there")));
    assert_none("ARCHITECTURE.md", &offences);
}

#[test]
fn every_document_names_only_paths_that_exist() {
    let mut offences = Vec::new();
    for file in files() {
        let is_document = file.ends_with(".md") && !file.starts_with("docs/decisions/");
        if !is_document || file == "ARCHITECTURE.md" || file == "CHANGELOG.md" {
            continue;
        }
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        for word in quoted(&read(&file)).iter().filter(|word| is_path(word)) {
            if !exists(word) && !exists(&format!("{folder}/{word}")) {
                offences.push(format!("{file}: `{word}` is not there"));
            }
        }
    }
    assert_none("paths in documents", &offences);
}
