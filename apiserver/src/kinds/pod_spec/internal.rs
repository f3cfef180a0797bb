//! A pod's spec as upstream has it in memory: what its complaint about a forbidden change shows.
//!
//! Upstream compares its internal structs, whose fields have other names, another order, and are
//! there even when they say nothing. People read the lines around the one that differs, so the
//! same lines are made here, from a table of those structs.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::{self, Object};

/// The structs and their fields.
const TABLE: &str = include_str!("internal.txt");

/// What the API has in the spec, upstream's memory has in the security context.
const OF_THE_HOST: &[&str] =
    &["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers"];

/// A spec with the names and the order of upstream's memory.
pub(in crate::kinds) fn shown(spec: &Object) -> Value {
    let structs: BTreeMap<&str, &str> = TABLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .collect();
    let mut spec = spec.clone();
    for field in OF_THE_HOST {
        if let Some(value) = spec.get(*field).cloned() {
            object::set(&mut spec, &["securityContext", field], value);
        }
    }
    Table(structs).render(Some(&Value::Object(spec)), "PodSpec")
}

struct Table(BTreeMap<&'static str, &'static str>);

impl Table {
    /// Writes a value of a type; what is missing is written as the type's zero.
    fn render(&self, value: Option<&Value>, of: &str) -> Value {
        let value = value.filter(|value| !value.is_null());
        let (sort, inner) = of.split_at(usize::from(of.starts_with(['*', '[', '{', '<'])));
        match (sort, value) {
            ("*", Some(value)) => self.render(Some(value), inner),
            ("[", Some(Value::Array(items))) => {
                items.iter().map(|item| self.render(Some(item), inner)).collect()
            }
            ("{", Some(Value::Object(members))) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_key(|member| member.0);
                let pairs = members
                    .into_iter()
                    .map(|(key, it)| (key.clone(), self.render(Some(it), inner)));
                Value::Object(pairs.collect())
            }
            ("<", Some(value)) => value.clone(),
            ("<", None) if inner == "Quantity" => "0".into(),
            ("<", None) if inner == "IntOrString" => 0.into(),
            ("", value) => self.render_plain(value, of),
            _ => Value::Null,
        }
    }

    fn render_plain(&self, value: Option<&Value>, of: &str) -> Value {
        match of {
            "s" => value.cloned().unwrap_or_else(|| "".into()),
            "i" => value.cloned().unwrap_or_else(|| 0.into()),
            "b" => value.cloned().unwrap_or_else(|| false.into()),
            _ => {
                let fields = self.0.get(of).into_iter().flat_map(|fields| fields.split(' '));
                let fields = fields.filter_map(|field| field.split_once(':'));
                Value::Object(fields.map(|(names, of)| self.member(value, names, of)).collect())
            }
        }
    }

    fn member(&self, value: Option<&Value>, names: &str, of: &str) -> (String, Value) {
        let (name, member) = match names.split_once('=') {
            Some((name, member)) => (name, member.to_owned()),
            None => (names, lower_first(names)),
        };
        (name.to_owned(), self.render(value.and_then(|value| value.get(member)), of))
    }
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_there_as_nothing() {
        let spec = serde_json::json!({
            "containers": [{"name": "a", "tty": true}], "hostNetwork": true,
        });
        let shown = shown(spec.as_object().unwrap());
        assert_eq!(shown["Containers"][0]["Name"], "a");
        assert_eq!(shown["Containers"][0]["TTY"], true);
        assert_eq!(shown["Containers"][0]["Command"], Value::Null);
        assert_eq!(shown["SecurityContext"]["HostNetwork"], true);
        assert_eq!(shown["NodeName"], "");
    }
}
