//! `metadata`: what the server fills in, what it keeps, and what it does not take from clients.

use kstore_host::Random;
use serde_json::Value;

use crate::kinds::Kind;
use crate::object::{self, Object};
use crate::schema::time;

/// The letters of generated names: no vowels, so that no words come out.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// How many letters are added.
const ADDED: usize = 5;

/// What is left of `generateName` at most.
const KEPT: usize = 58;

/// A random (version 4) uuid.
pub(crate) fn uuid(random: &dyn Random) -> String {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// A name from a prefix.
pub(crate) fn generate_name(prefix: &str, random: &dyn Random) -> String {
    let mut kept = prefix.len().min(KEPT);
    while !prefix.is_char_boundary(kept) {
        kept -= 1;
    }
    let mut name = prefix[..kept].to_owned();
    name.push_str(&suffix(random));
    name
}

/// Five random letters.
pub(crate) fn suffix(random: &dyn Random) -> String {
    let mut bytes = [0; ADDED];
    random.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

/// A time as `metadata` writes it.
pub(crate) fn timestamp(seconds: i64) -> String {
    time::format(seconds).unwrap_or_default()
}

/// What a new object gets, whatever the client said about it.
pub(crate) fn fill_new(object: &mut Object, kind: &Kind, now: i64, uid: String) {
    let metadata = object::map_mut(object, &["metadata"]);
    for name in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
        "resourceVersion",
        "generation",
    ] {
        metadata.remove(name);
    }
    metadata.insert("uid".to_owned(), Value::from(uid));
    metadata.insert("creationTimestamp".to_owned(), Value::from(timestamp(now)));
    if kind.has_generation {
        metadata.insert("generation".to_owned(), Value::from(1));
    }
}

/// What of `metadata` the server has written and no update changes.
const KEPT_BY_UPDATES: [&str; 5] = [
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "namespace",
];

/// Puts back what an update must not change. (A uid that differs was refused before.)
pub(crate) fn keep(new: &mut Object, old: &Object) {
    let old = object::map(old, &["metadata"]).cloned().unwrap_or_default();
    let metadata = object::map_mut(new, &["metadata"]);
    for name in ["managedFields", "selfLink"] {
        metadata.remove(name);
    }
    for name in KEPT_BY_UPDATES.iter().chain(&["uid", "resourceVersion", "generateName"]) {
        match old.get(*name) {
            Some(value) => {
                metadata.insert((*name).to_owned(), value.clone());
            }
            None => {
                metadata.remove(*name);
            }
        }
    }
}

/// One more change of what is wanted.
pub(crate) fn next_generation(new: &mut Object, old: &Object) {
    let generation = object::number(old, &["metadata", "generation"]).unwrap_or(0);
    object::set(new, &["metadata", "generation"], generation.saturating_add(1));
}

/// `metadata.finalizers`.
pub(crate) fn finalizers(object: &Object) -> Vec<String> {
    let list = object::list(object, &["metadata", "finalizers"]);
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Counting;

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for (byte, number) in bytes.iter_mut().zip(0..) {
                *byte = number;
            }
        }
    }

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        assert_eq!(uuid(&Counting), "00010203-0405-4607-8809-0a0b0c0d0e0f");
    }

    #[test]
    fn a_generated_name_is_the_prefix_cut_short_and_five_letters() {
        assert_eq!(generate_name("web-", &Counting), "web-bcdfg");
        assert_eq!(generate_name(&"x".repeat(100), &Counting).len(), 63);
        assert_eq!(generate_name(&"ä".repeat(40), &Counting).chars().count(), 29 + 5);
    }
}
