//! Field selectors: `metadata.name=a,status.phase!=Running`.
//!
//! A comma, an equals sign or a backslash in a value stands behind a backslash.

use std::fmt;

use crate::schema::json::quote;

/// One term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The path of the field.
    pub field: String,
    /// The value that it is compared with.
    pub value: String,
    /// Whether it must have another value.
    pub differs: bool,
}

/// Terms that must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Term>);

impl Selector {
    /// Parses a selector; empty selects everything.
    ///
    /// # Errors
    ///
    /// Fails with upstream's text if it is malformed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = split(text);
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let Some(at) = part.find('=') else { return Err(not_understood(text, part)) };
            let (field, value, differs) = match part[..at]
                .find("!=")
                .map_or_else(|| part[..at].strip_suffix('!'), |at| Some(&part[..at]))
            {
                Some(field) => (field, &part[at + 1..], true),
                None => {
                    let value = &part[at + 1..];
                    (&part[..at], value.strip_prefix('=').unwrap_or(value), false)
                }
            };
            let value = unescaped(value)?;
            if !(field.is_empty() && value.is_empty()) {
                terms.push(Term { field: field.to_owned(), value, differs });
            }
        }
        Ok(Self(terms))
    }

    /// The same, for objects only whose field has a value.
    #[must_use]
    pub fn and(mut self, field: &str, value: &str) -> Self {
        let (field, value) = (field.to_owned(), value.to_owned());
        self.0.push(Term { field, value, differs: false });
        self
    }

    /// The terms; sorted, if they were parsed.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.0
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The only value that a field may have.
    #[must_use]
    pub fn exact(&self, field: &str) -> Option<&str> {
        let term = self.0.iter().find(|term| !term.differs && term.field == field);
        term.map(|term| term.value.as_str())
    }

    /// Whether all terms hold, by the value of each field.
    pub fn matches(&self, value_of: impl Fn(&str) -> String) -> bool {
        self.0.iter().all(|term| (value_of(&term.field) == term.value) != term.differs)
    }

    /// The first field that is not among `known`.
    #[must_use]
    pub fn unknown_field(&self, known: &[&str]) -> Option<&str> {
        let mut fields = self.0.iter().map(|term| term.field.as_str());
        fields.find(|field| !known.contains(field))
    }
}

/// What upstream answers for a field that a kind with selectable fields of its own does not have.
#[must_use]
pub fn not_supported(field: &str) -> String {
    format!("field label not supported: {field}")
}

/// What upstream answers for a field that a kind without selectable fields of its own does not have.
#[must_use]
pub fn not_known(field: &str) -> String {
    let field = quote(field);
    format!("{field} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, term) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let operator = if term.differs { "!=" } else { "=" };
            write!(f, "{comma}{}{operator}{}", term.field, escaped(&term.value))?;
        }
        Ok(())
    }
}

fn not_understood(text: &str, part: &str) -> String {
    format!("invalid selector: '{text}'; can't understand '{part}'")
}

fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

fn unescaped(value: &str) -> Result<String, String> {
    let invalid =
        |sequence: &str| format!("invalid field selector: invalid escape sequence: {sequence}");
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => plain.push(c),
                Some(c) => return Err(invalid(&format!("\\{c}"))),
                None => return Err(invalid("\\")),
            },
            ',' | '=' => {
                let code = u32::from(c);
                return Err(format!(
                    "invalid field selector: unescaped character in value: {code}"
                ));
            }
            c => plain.push(c),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_hold_or_do_not() {
        let selector = Selector::parse("status.phase!=Failed,spec.nodeName==n1").unwrap();
        let pod = |phase: &'static str, node: &'static str| {
            move |field: &str| if field == "status.phase" { phase } else { node }.to_owned()
        };
        assert!(selector.matches(pod("Running", "n1")));
        assert!(!selector.matches(pod("Failed", "n1")));
        assert!(!selector.matches(pod("Running", "")));
        assert_eq!(selector.exact("spec.nodeName"), Some("n1"));
        assert_eq!(selector.exact("status.phase"), None);
        assert_eq!(selector.unknown_field(&["spec.nodeName"]), Some("status.phase"));
    }
}
