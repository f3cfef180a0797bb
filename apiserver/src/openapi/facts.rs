//! Reads `facts.txt`: what OpenAPI says of types and Go's struct tags do not.
//!
//! ```text
//!   TYPE⇥<type>[⇥<map type>]
//!   <member>⇥<word>…     required, optional, default=<JSON>, list=<list type>, keys=<a,b>,
//!                        map=<map type>, enum=<a,b>
//! ```
//!
//! The file is part of the program, so what is malformed in it is a bug and ends the program.

use std::collections::BTreeMap;

use serde_json::Value;

/// What is known of one member of a type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Member {
    /// Whether it must be there, where its tag would lead to the opposite.
    pub(super) required: Option<bool>,
    /// Its default, where it is not the zero that its tag would lead to.
    pub(super) default: Option<Value>,
    /// `x-kubernetes-list-type`; may be empty.
    pub(super) list_type: &'static str,
    /// `x-kubernetes-list-map-keys`.
    pub(super) list_keys: Vec<&'static str>,
    /// `x-kubernetes-map-type`; may be empty.
    pub(super) map_type: &'static str,
    /// What it may be, or its items.
    pub(super) values: Vec<&'static str>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    map_types: BTreeMap<&'static str, &'static str>,
    members: BTreeMap<(&'static str, &'static str), Member>,
}

impl Facts {
    pub(super) fn read() -> Self {
        Self::of(include_str!("facts.txt"))
    }

    fn of(text: &'static str) -> Self {
        let mut facts = Self::default();
        let mut owner = "";
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&'static str> = line.split('\t').collect();
            match *words.as_slice() {
                ["TYPE", name, ref map_type @ ..] => {
                    owner = name;
                    facts.map_types.extend(map_type.first().map(|word| (name, *word)));
                }
                [name, ref words @ ..] => {
                    facts.members.insert((owner, name), member(words));
                }
                [] => unreachable!("splitting a line gives a word at least"),
            }
        }
        facts
    }

    /// `x-kubernetes-map-type` of a type, by its name in the table of types.
    pub(super) fn map_type(&self, of: &str) -> Option<&'static str> {
        self.map_types.get(of).copied()
    }

    /// What is known of a member of a type.
    pub(super) fn member(&self, of: &'static str, name: &'static str) -> Member {
        self.members.get(&(of, name)).cloned().unwrap_or_default()
    }
}

fn member(words: &[&'static str]) -> Member {
    let mut member = Member::default();
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "required" => member.required = Some(true),
            "optional" => member.required = Some(false),
            "default" => {
                member.default = Some(serde_json::from_str(value).expect("defaults are JSON"));
            }
            "list" => member.list_type = value,
            "keys" => member.list_keys = value.split(',').collect(),
            "map" => member.map_type = value,
            "enum" => member.values = value.split(',').collect(),
            _ => unreachable!("a line of facts.txt has the word {word:?}"),
        }
    }
    member
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_found_by_type_and_member() {
        let facts = Facts::read();
        let ports = facts.member("core.v1.Container", "ports");
        assert_eq!((ports.list_type, ports.list_keys), ("map", vec!["containerPort", "protocol"]));
        let protocol = facts.member("core.v1.ContainerPort", "protocol");
        assert_eq!(protocol.default, Some(Value::from("TCP")));
        assert_eq!(protocol.values, ["SCTP", "TCP", "UDP"]);
        assert_eq!(facts.map_type("core.v1.SecretKeySelector"), Some("atomic"));
        assert_eq!(facts.member("core.v1.Container", "nosuch"), Member::default());
    }
}
