//! The repository's files, and what cargo says about them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The repository's root directory.
pub(crate) fn root() -> PathBuf {
    let testkit = Path::new(env!("CARGO_MANIFEST_DIR"));
    testkit.parent().expect("testkit is a directory of the workspace").to_owned()
}

/// The text of a file, named from the root.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("read {path}: {e}"))
}

pub(crate) fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// Every file of the repository, named from the root, sorted. Build output and what git keeps for
/// itself are left out.
pub(crate) fn files() -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![root()];
    while let Some(directory) = left.pop() {
        let entries = fs::read_dir(&directory)
            .unwrap_or_else(|e| panic!("list {}: {e}", directory.display()));
        for entry in entries {
            let path = entry.expect("the directory was listed").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if ["target", ".git", ".cache", "node_modules"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                left.push(path);
            } else {
                let inside = path.strip_prefix(root()).expect("found below the root");
                found.push(inside.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file.
pub(crate) fn rust_files() -> Vec<String> {
    files().into_iter().filter(|path| path.ends_with(".rs")).collect()
}

/// What `cargo metadata` answers. Asked offline first; what a build never needed may have to be
/// fetched once.
pub(crate) fn metadata(arguments: &[&str]) -> Value {
    let ask = |network: &str| {
        Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", network])
            .args(arguments)
            .current_dir(root())
            .output()
            .expect("cargo runs: it runs this test")
    };
    let mut output = ask("--offline");
    if !output.status.success() {
        output = ask("--locked");
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {complaint}");
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

/// A field that must be a string.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// A field that must be a list.
pub(crate) fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

/// A crate of this workspace.
pub(crate) struct Member {
    /// Its package name, as `kstore-mvcc`.
    pub(crate) package: String,
    /// Its directory, as `mvcc`.
    pub(crate) folder: String,
    /// The folders of the crates of ours that it uses, but for tests; sorted.
    pub(crate) uses: Vec<String>,
}

/// The crates of this workspace, sorted by folder.
pub(crate) fn members() -> Vec<Member> {
    let metadata = metadata(&["--no-deps"]);
    let folder = |path: &str| {
        let inside = Path::new(path).strip_prefix(root()).ok()?;
        Some(inside.to_string_lossy().into_owned())
    };
    let mut members: Vec<Member> = list(&metadata, "packages")
        .iter()
        .map(|package| {
            let manifest = Path::new(text(package, "manifest_path"));
            let directory = manifest.parent().expect("a manifest lies in a directory");
            let used = list(package, "dependencies")
                .iter()
                .filter(|dependency| text(dependency, "kind") != "dev")
                .filter_map(|dependency| folder(dependency["path"].as_str()?));
            let mut uses: Vec<String> = used.collect();
            uses.sort();
            uses.dedup();
            Member {
                package: text(package, "name").to_owned(),
                folder: folder(&directory.to_string_lossy()).expect("a member lies in the tree"),
                uses,
            }
        })
        .collect();
    members.sort_by(|a, b| a.folder.cmp(&b.folder));
    assert!(!members.is_empty());
    members
}
