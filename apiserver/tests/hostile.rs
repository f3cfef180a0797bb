//! Hostile input: whatever somebody sends, the server answers as upstream does, at a bounded price.
//!
//! Each case is a name, a request and what must become of it. No case may end in a panic or in a
//! 500, none may take more memory than a multiple of what was sent, and none may take long.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "hostile/bench.rs"]
mod bench;
#[path = "hostile/case.rs"]
mod case;
#[path = "hostile/fields.rs"]
mod fields;
#[path = "support/memory.rs"]
mod memory;
#[path = "hostile/patches.rs"]
mod patches;
#[path = "hostile/paths.rs"]
mod paths;
#[path = "hostile/people.rs"]
mod people;
#[path = "hostile/queries.rs"]
mod queries;
#[path = "hostile/texts.rs"]
mod texts;
#[path = "hostile/weigh.rs"]
mod weigh;
#[path = "hostile/wire.rs"]
mod wire;

use std::collections::BTreeSet;

use serde_json::json;

#[tokio::test]
async fn texts_that_are_deep_long_doubled_or_broken() {
    case::run(texts::cases()).await;
}

#[tokio::test]
async fn values_of_the_wrong_type_in_every_field() {
    case::run(fields::cases()).await;
}

#[tokio::test]
async fn paths_with_tricks_and_methods_that_do_not_belong() {
    case::run(paths::cases()).await;
}

#[tokio::test]
async fn messages_whose_lengths_and_types_lie() {
    case::run(wire::cases()).await;
}

#[tokio::test]
async fn selectors_limits_tokens_and_revisions_that_somebody_made_up() {
    case::run(queries::cases()).await;
}

#[tokio::test]
async fn patches_that_grow_point_nowhere_or_misuse_directives() {
    case::run(patches::cases()).await;
}

#[tokio::test]
async fn tokens_headers_and_names_that_somebody_forged() {
    case::run(people::cases()).await;
}

/// With `KSTORE_PRINT_CASES` in the environment it prints them as lines of JSON, to ask a stock
/// server about.
#[test]
fn every_case_has_a_name_of_its_own() {
    let families = [
        texts::cases(),
        paths::cases(),
        wire::cases(),
        queries::cases(),
        patches::cases(),
        people::cases(),
        fields::cases(),
    ];
    let prints = std::env::var("KSTORE_PRINT_CASES").is_ok();
    if prints {
        for (path, object) in case::furniture() {
            println!("{}", json!({"furniture": path, "object": object}));
        }
    }
    let mut names = BTreeSet::new();
    for case in families.into_iter().flatten() {
        assert!(names.insert(case.name.clone()), "two cases are called {}", case.name);
        if prints {
            println!("{}", case.to_line());
        }
    }
}
