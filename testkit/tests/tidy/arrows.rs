//! Who may use whom: the table in ARCHITECTURE.md is the law, the manifests obey it.

use std::collections::BTreeMap;

use crate::assert_none;
use crate::lists::table_below;
use crate::tree::{members, read};

/// What a row allows.
enum May {
    /// Whatever it likes: wiring and tests.
    Any,
    /// Exactly these.
    These(Vec<String>),
}

fn law() -> BTreeMap<String, May> {
    let rows = table_below(&read("ARCHITECTURE.md"), "The arrows");
    assert!(!rows.is_empty(), "ARCHITECTURE.md has a table under the heading \"The arrows\"");
    let law = rows.into_iter().map(|row| {
        let [name, uses] = &row[..] else { panic!("a row has two cells: {row:?}") };
        let may = match uses.as_str() {
            "any" => May::Any,
            "–" | "-" => May::These(Vec::new()),
            names => {
                let mut names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
                names.sort();
                May::These(names)
            }
        };
        (name.trim_matches('`').to_owned(), may)
    });
    law.collect()
}

#[test]
fn each_crate_uses_exactly_the_crates_that_the_architecture_lets_it_use() {
    let law = law();
    let members = members();
    let mut offences = Vec::new();
    for member in &members {
        match law.get(&member.folder) {
            None => offences.push(format!("{}: no row in the table", member.folder)),
            Some(May::Any) => {}
            Some(May::These(allowed)) if *allowed == member.uses => {}
            Some(May::These(allowed)) => offences.push(format!(
                "{}: the table says {allowed:?}, its manifest {:?}",
                member.folder, member.uses
            )),
        }
    }
    for row in law.keys().filter(|row| !members.iter().any(|member| member.folder == **row)) {
        offences.push(format!("{row}: a row without a crate"));
    }
    assert_none("arrows between crates", &offences);
}

#[test]
fn nothing_that_is_shipped_uses_what_is_for_tests() {
    let for_tests = ["testkit", "benches", "jepsen"];
    let mut offences = Vec::new();
    for member in members().iter().filter(|member| !for_tests.contains(&&*member.folder)) {
        for used in member.uses.iter().filter(|used| for_tests.contains(&used.as_str())) {
            offences.push(format!("{} uses {used}", member.folder));
        }
    }
    assert_none("test crates in a release", &offences);
}
