//! One rule of a role: what it allows, and whether one rule covers another.

use serde_json::Value;

use super::Attributes;
use super::text::quote_list;
use crate::object::Object;

/// A rule: any of the verbs on any of the resources of any of the groups, or on the paths.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Verbs, or `*`.
    pub verbs: Vec<String>,
    /// API groups, or `*`.
    pub groups: Vec<String>,
    /// Resources: `pods`, `pods/log`, `*/scale` or `*`.
    pub resources: Vec<String>,
    /// Names of objects; none: all.
    pub names: Vec<String>,
    /// Paths that are no resource; the last letter may be `*`.
    pub paths: Vec<String>,
}

impl Rule {
    /// The rules of those who may do all.
    #[must_use]
    pub fn everything() -> [Self; 2] {
        let all = || vec!["*".to_owned()];
        [
            Self { verbs: all(), groups: all(), resources: all(), ..Self::default() },
            Self { verbs: all(), paths: all(), ..Self::default() },
        ]
    }

    /// Reads a rule as roles write it.
    #[must_use]
    pub fn read(value: &Value) -> Self {
        let texts = |name: &str| -> Vec<String> {
            let list = value.get(name).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            verbs: texts("verbs"),
            groups: texts("apiGroups"),
            resources: texts("resources"),
            names: texts("resourceNames"),
            paths: texts("nonResourceURLs"),
        }
    }

    /// The rules of a role.
    #[must_use]
    pub fn read_all(role: &Object) -> Vec<Self> {
        let rules = role.get("rules").and_then(Value::as_array);
        rules.into_iter().flatten().map(Self::read).collect()
    }

    /// The rule as roles write it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.insert("verbs".to_owned(), self.verbs.clone().into());
        let members = [
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.paths),
        ];
        for (name, texts) in members {
            if !texts.is_empty() {
                object.insert(name.to_owned(), texts.clone().into());
            }
        }
        Value::Object(object)
    }

    /// Whether it allows what is asked. `combined` is the resource with its part.
    #[must_use]
    pub fn allows(&self, asked: &Attributes, combined: &str) -> bool {
        if !has_or_all(&self.verbs, &asked.verb) {
            return false;
        }
        if !asked.is_resource {
            return self.paths.iter().any(|own| path_covers(own, &asked.path));
        }
        has_or_all(&self.groups, &asked.group)
            && self.allows_resource(combined, &asked.subresource)
            && (self.names.is_empty() || self.names.contains(&asked.name))
    }

    fn allows_resource(&self, combined: &str, part: &str) -> bool {
        self.resources.iter().any(|own| {
            own == "*"
                || own == combined
                || (!part.is_empty() && own.strip_prefix("*/").is_some_and(|rest| rest == part))
        })
    }

    /// The smallest rules that it consists of.
    fn pieces(&self) -> Vec<Self> {
        let mut pieces = Vec::new();
        let one = |text: &String| vec![text.clone()];
        for (group, resource) in
            self.groups.iter().flat_map(|g| self.resources.iter().map(move |r| (g, r)))
        {
            for verb in &self.verbs {
                let piece = Self {
                    verbs: one(verb),
                    groups: one(group),
                    resources: one(resource),
                    ..Self::default()
                };
                if self.names.is_empty() {
                    pieces.push(piece);
                    continue;
                }
                let named = |name| Self { names: one(name), ..piece.clone() };
                pieces.extend(self.names.iter().map(named));
            }
        }
        for path in &self.paths {
            let piece = |verb| Self { verbs: one(verb), paths: one(path), ..Self::default() };
            pieces.extend(self.verbs.iter().map(piece));
        }
        pieces
    }

    /// Whether it allows all that a smallest rule does.
    fn covers(&self, piece: &Self) -> bool {
        let all = |own: &[String], asked: &[String]| asked.iter().all(|text| has_or_all(own, text));
        let resource = |text: &String| {
            has_or_all(&self.resources, text)
                || text
                    .split_once('/')
                    .is_some_and(|(_, part)| self.resources.contains(&format!("*/{part}")))
        };
        let path = |text: &String| self.paths.iter().any(|own| path_covers(own, text));
        all(&self.verbs, &piece.verbs)
            && all(&self.groups, &piece.groups)
            && piece.resources.iter().all(resource)
            && piece.paths.iter().all(path)
            && (self.names.is_empty()
                || (!piece.names.is_empty()
                    && piece.names.iter().all(|name| self.names.contains(name))))
    }

    /// The rule on one line, as upstream's messages show it.
    #[must_use]
    pub fn compact(&self) -> String {
        let members = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.paths),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ];
        let parts: Vec<String> = members
            .iter()
            .filter(|(_, texts)| !texts.is_empty())
            .map(|(name, texts)| format!("{name}:{}", quote_list(texts)))
            .collect();
        format!("{{{}}}", parts.join(", "))
    }
}

fn has_or_all(own: &[String], asked: &str) -> bool {
    own.iter().any(|text| text == "*" || text == asked)
}

fn path_covers(own: &str, asked: &str) -> bool {
    own == asked || (own.ends_with('*') && asked.starts_with(own.trim_end_matches('*')))
}

/// What of `wanted` no rule of `held` covers, in smallest rules.
#[must_use]
pub fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    wanted
        .iter()
        .flat_map(Rule::pieces)
        .filter(|piece| !held.iter().any(|rule| rule.covers(piece)))
        .collect()
}

/// Merges smallest rules that differ in their verbs alone.
#[must_use]
pub fn merge_verbs(rules: Vec<Rule>) -> Vec<Rule> {
    let mut merged: Vec<Rule> = Vec::new();
    for rule in rules {
        let simple = rule.resources.len() == 1 && rule.groups.len() == 1 && rule.paths.is_empty();
        let same = |known: &&mut Rule| {
            known.resources == rule.resources
                && known.groups == rule.groups
                && known.names == rule.names
                && known.paths.is_empty()
        };
        match merged.iter_mut().find(same).filter(|_| simple) {
            Some(known) => known.verbs.extend(rule.verbs),
            None => merged.push(rule),
        }
    }
    merged
}
