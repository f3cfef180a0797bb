//! The rules of this repository that no compiler checks, as tests.
//!
//! ```text
//!   arrows         who may use whom                ARCHITECTURE.md  against  the manifests
//!   sources        what the sources must not say   bans by crate, heads, lengths, lints
//!   dependencies   what others' code we take       deny.toml, docs/dependencies.md  against  Cargo.lock
//!   documents      what the documents name         crates and paths exist
//! ```
//!
//! They need nothing but cargo. A rule that has an exception has it in a file, with a reason, where
//! a reviewer sees it grow.

#[path = "tidy/arrows.rs"]
mod arrows;
#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/lists.rs"]
mod lists;
#[path = "tidy/sources.rs"]
mod sources;
#[path = "tidy/tree.rs"]
mod tree;

/// Fails with one line for each offence.
#[track_caller]
fn assert_none(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n  {}\n", offences.join("\n  "));
}
