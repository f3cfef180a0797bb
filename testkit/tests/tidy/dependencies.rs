//! What others' code we take: licences, bans, and a reason for each.
//!
//! `deny.toml` is the one list; people run cargo-deny on it, this test needs nothing but cargo.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::assert_none;
use crate::lists::{array_lines, field, field_list, settings, table_below};
use crate::tree::{list, metadata, read, text};

/// One package that a build on Linux may link or run.
struct Package {
    name: String,
    version: String,
    licence: String,
    ours: bool,
    /// Names of the packages that use it.
    users: BTreeSet<String>,
}

fn packages() -> Vec<Package> {
    let metadata = metadata(&["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let mut users: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let by_id: BTreeMap<&str, &Value> =
        list(&metadata, "packages").iter().map(|package| (text(package, "id"), package)).collect();
    for node in list(&metadata["resolve"], "nodes") {
        let user = text(by_id[text(node, "id")], "name");
        users.entry(text(node, "id")).or_default();
        for used in list(node, "deps") {
            users.entry(text(used, "pkg")).or_default().insert(user.to_owned());
        }
    }
    let packages = users.into_iter().map(|(id, users)| {
        let package = by_id[id];
        Package {
            name: text(package, "name").to_owned(),
            version: text(package, "version").to_owned(),
            licence: text(package, "license").to_owned(),
            ours: package["source"].is_null(),
            users,
        }
    });
    packages.collect()
}

/// Whether a licence expression can be met with the `allowed` licences alone.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = either(&words, &mut at, allowed);
    met && at == words.len()
}

fn either(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= both(words, at, allowed);
    }
    met
}

fn both(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at, allowed);
    }
    met
}

fn one(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let word = words.get(*at).copied().unwrap_or_default();
    *at += 1;
    if word == "(" {
        let met = either(words, at, allowed);
        *at += 1;
        return met;
    }
    if words.get(*at) == Some(&"WITH") {
        // An exception only adds permissions.
        *at += 2;
    }
    allowed.iter().any(|licence| licence == word)
}

#[test]
fn every_licence_is_one_that_we_accept() {
    let allowed: Vec<String> = array_lines(&read("deny.toml"), "licenses", "allow")
        .iter()
        .filter_map(|line| line.split('"').nth(1).map(str::to_owned))
        .collect();
    let packages = packages();
    let offences: Vec<String> = packages
        .iter()
        .filter(|package| !is_met(&package.licence, &allowed))
        .map(|package| format!("{} {}: {:?}", package.name, package.version, package.licence))
        .collect();
    assert_none("licences", &offences);
    let needless = allowed.iter().filter(|licence| {
        let others: Vec<String> =
            allowed.iter().filter(|other| other != licence).cloned().collect();
        packages.iter().all(|package| is_met(&package.licence, &others))
            && licence.as_str() != "Apache-2.0"
            && licence.as_str() != "MIT"
    });
    let needless: Vec<String> = needless.cloned().collect();
    assert_none("accepted licences that nothing needs", &needless);
}

#[test]
fn a_licence_expression_is_met_by_one_side_of_or_and_both_of_and() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];
    assert!(is_met("MIT OR GPL-3.0", &allowed));
    assert!(is_met("GPL-3.0/MIT", &allowed));
    assert!(is_met("(GPL-3.0 OR MIT) AND ISC", &allowed));
    assert!(is_met("MIT WITH LLVM-exception", &allowed));
    assert!(!is_met("MIT AND GPL-3.0", &allowed));
    assert!(!is_met("", &allowed));
}

#[test]
fn no_banned_package_is_used_but_by_those_named() {
    let mut offences = Vec::new();
    let bans = array_lines(&read("deny.toml"), "bans", "deny");
    assert!(!bans.is_empty());
    let packages = packages();
    for ban in &bans {
        let name = field(ban, "crate").unwrap_or_else(|| panic!("names a crate: {ban}"));
        if field(ban, "reason").is_none() {
            offences.push(format!("{name}: banned without a reason"));
        }
        let wrappers = field_list(ban, "wrappers");
        for package in packages.iter().filter(|package| package.name == name) {
            let others = package.users.iter().filter(|user| !wrappers.contains(&user.as_str()));
            offences.extend(others.map(|user| format!("{name} is banned, and {user} uses it")));
        }
    }
    assert_none("banned packages", &offences);
}

#[test]
fn a_package_has_one_version_unless_the_other_is_excused() {
    let skips = array_lines(&read("deny.toml"), "bans", "skip");
    let excused: Vec<(String, String)> = skips
        .iter()
        .filter_map(|skip| field(skip, "crate")?.split_once('@'))
        .map(|(name, version)| (name.to_owned(), format!("{version}.")))
        .collect();
    let is_excused = |package: &Package| {
        let version = format!("{}.", package.version);
        excused.iter().any(|(name, prefix)| *name == package.name && version.starts_with(prefix))
    };
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let packages = packages();
    for package in packages.iter().filter(|package| !is_excused(package)) {
        versions.entry(package.name.clone()).or_default().push(package.version.clone());
    }
    let mut offences: Vec<String> = versions
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| format!("{name}: {}", versions.join(", ")))
        .collect();
    for (name, prefix) in &excused {
        let there = packages.iter().any(|package| {
            package.name == *name && format!("{}.", package.version).starts_with(prefix)
        });
        if !there {
            offences.push(format!("{name} {prefix}: excused, but not there"));
        }
    }
    assert_none("one package in several versions", &offences);
}

/// The names in `[workspace.dependencies]` that are not ours.
fn direct() -> BTreeSet<String> {
    settings(&read("Cargo.toml"), "workspace.dependencies")
        .into_iter()
        .filter(|(_, value)| !value.contains("path ="))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn every_dependency_has_a_line_that_says_why() {
    let rows = table_below(&read("docs/dependencies.md"), "Dependencies");
    let mut offences = Vec::new();
    let mut described = BTreeSet::new();
    for row in &rows {
        if row.len() != 4 || row.iter().any(String::is_empty) {
            offences.push(format!("{row:?}: name, what for, why this one, who keeps it"));
        }
        let names = row.first().into_iter().flat_map(|cell| cell.split(','));
        described.extend(names.map(|name| name.trim().trim_matches('`').to_owned()));
    }
    let direct = direct();
    offences.extend(direct.difference(&described).map(|name| format!("{name}: no line")));
    offences.extend(described.difference(&direct).map(|name| format!("{name}: not used")));
    assert_none("docs/dependencies.md", &offences);
}

#[test]
fn every_dependency_of_the_workspace_is_used_by_a_crate_and_taken_from_there() {
    let metadata = metadata(&["--no-deps"]);
    let mut used = BTreeSet::new();
    let mut offences = Vec::new();
    for package in list(&metadata, "packages") {
        for dependency in list(package, "dependencies") {
            used.insert(text(dependency, "name").to_owned());
        }
        let name = text(package, "name");
        let manifest = std::fs::read_to_string(text(package, "manifest_path"))
            .unwrap_or_else(|e| panic!("read the manifest of {name}: {e}"));
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let own = settings(&manifest, section)
                .into_iter()
                .filter(|(name, value)| {
                    !name.ends_with(".workspace") && !value.contains("workspace = true")
                })
                .map(|(dependency, _)| format!("{name}: {dependency} is not `workspace = true`"));
            offences.extend(own);
        }
    }
    offences.extend(direct().difference(&used).map(|name| format!("{name}: no crate uses it")));
    assert_none("workspace dependencies", &offences);
}

#[test]
fn only_packages_from_crates_io_are_used() {
    let metadata = metadata(&["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let offences: Vec<String> = list(&metadata, "packages")
        .iter()
        .filter_map(|package| Some((text(package, "name"), package["source"].as_str()?)))
        .filter(|(_, source)| *source != "registry+https://github.com/rust-lang/crates.io-index")
        .map(|(name, source)| format!("{name} from {source}"))
        .collect();
    assert_none("sources of packages", &offences);
    assert!(packages().iter().any(|package| package.ours));
}
