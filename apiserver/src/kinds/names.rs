//! What names of all sorts must look like; what is wrong with one, in upstream's words.
//!
//! Every function answers with the complaints about a text; no complaint means that it is right.
//! The texts quote regular expressions because upstream's do; the checks are written by hand.

/// The most characters of a label of a host name, and of names of labels.
const LABEL: usize = 63;
/// The most characters of a host name.
const SUBDOMAIN: usize = 253;

const LABEL_FORM: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FORM: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const KEY_FORM: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// A label of a host name: `my-name`.
#[must_use]
pub fn dns_label(name: &str) -> Vec<String> {
    let mut faults = at_most(name, LABEL, "characters");
    if !is_label(name) {
        faults.push(if is_subdomain(name) {
            "must not contain dots".to_owned()
        } else {
            let rule = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
                        characters or '-', and must start and end with an alphanumeric character";
            form(rule, LABEL_FORM, &["my-name", "123-abc"])
        });
    }
    faults
}

/// A host name: `my.name`. Most objects' names are of this form.
#[must_use]
pub fn dns_subdomain(name: &str) -> Vec<String> {
    subdomain(name, "characters")
}

fn subdomain(name: &str, unit: &str) -> Vec<String> {
    let mut faults = at_most(name, SUBDOMAIN, unit);
    if !is_subdomain(name) {
        let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
                    characters, '-' or '.', and must start and end with an alphanumeric character";
        faults.push(form(rule, SUBDOMAIN_FORM, &["example.com"]));
    }
    faults
}

/// A host name whose labels may have underscores.
#[must_use]
pub fn dns_subdomain_with_underscores(name: &str) -> Vec<String> {
    const LABEL: &str = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    let mut faults = at_most(name, SUBDOMAIN, "characters");
    let is_label = |label: &str| {
        let label = label.strip_prefix('_').unwrap_or(label);
        framed(label, is_lower, |c| is_lower(c) || c == '-' || c == '_')
    };
    if !name.split('.').all(is_label) {
        let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
                    characters, '_', '-' or '.', and must start and end with an alphanumeric \
                    character";
        faults.push(form(rule, &format!("{LABEL}(\\.{LABEL})*"), &["example.com"]));
    }
    faults
}

/// A qualified name, such as a label's key: `example.com/name`.
#[must_use]
pub fn qualified(name: &str) -> Vec<String> {
    const RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start \
                        and end with an alphanumeric character";
    let key_form = || form(RULE, KEY_FORM, &["MyName", "my.name", "123-abc"]);
    let (prefix, rest) = match name.split_once('/') {
        None => (None, name),
        Some((prefix, rest)) => (Some(prefix), rest),
    };
    if rest.contains('/') {
        let more = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
        return vec![format!("a valid label key {} {more}", key_form())];
    }
    let mut faults = Vec::new();
    if let Some(prefix) = prefix {
        let wrong = subdomain(prefix, "bytes");
        if prefix.is_empty() {
            faults.push("prefix part must be non-empty".to_owned());
        } else {
            faults.extend(wrong.iter().map(|fault| format!("prefix part {fault}")));
        }
    }
    if rest.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else {
        faults.extend(at_most(rest, LABEL, "bytes").iter().map(|it| format!("name part {it}")));
    }
    if !is_key(rest) {
        faults.push(format!("name part {}", key_form()));
    }
    faults
}

/// A label's value; empty is right.
#[must_use]
pub fn label_value(value: &str) -> Vec<String> {
    let mut faults = at_most(value, LABEL, "bytes");
    if !value.is_empty() && !is_key(value) {
        let rule = "a valid label must be an empty string or consist of alphanumeric characters, \
                    '-', '_' or '.', and must start and end with an alphanumeric character";
        faults.push(form(rule, &format!("({KEY_FORM})?"), &["MyValue", "my_value", "12345"]));
    }
    faults
}

/// A key of a config map or secret: a file's name.
#[must_use]
pub fn config_key(key: &str) -> Vec<String> {
    let mut faults = at_most(key, SUBDOMAIN, "characters");
    let right = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if key.is_empty() || !key.chars().all(right) {
        let rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        faults.push(form(rule, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    match key {
        "." | ".." => faults.push(format!("must not be '{key}'")),
        _ if key.starts_with("..") => faults.push("must not start with '..'".to_owned()),
        _ => {}
    }
    faults
}

/// A part of a path: names of roles may be anything else.
#[must_use]
pub fn path_segment(name: &str) -> Vec<String> {
    if matches!(name, "." | "..") {
        return vec![format!("may not be '{name}'")];
    }
    let bad = ['/', '%'].into_iter().filter(|c| name.contains(*c));
    bad.map(|c| format!("may not contain '{c}'")).collect()
}

/// A port's name.
#[must_use]
pub fn port_name(name: &str) -> Vec<String> {
    let mut faults = at_most(name, 15, "characters");
    if name.is_empty() || !name.chars().all(|c| is_lower(c) || c == '-') {
        let rule = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
        faults.push(rule.to_owned());
    }
    if !name.chars().any(|c| c.is_ascii_lowercase()) {
        faults.push("must contain at least one letter (a-z)".to_owned());
    }
    if name.contains("--") {
        faults.push("must not contain consecutive hyphens".to_owned());
    }
    if name.starts_with('-') || name.ends_with('-') {
        faults.push("must not begin or end with a hyphen".to_owned());
    }
    faults
}

/// A port's number.
#[must_use]
pub fn port_number(port: i64) -> Vec<String> {
    within(port, 1, 65_535)
}

/// A user's or group's number.
#[must_use]
pub fn user_number(id: i64) -> Vec<String> {
    within(id, 0, i64::from(i32::MAX))
}

/// A number between two, both included.
#[must_use]
pub fn within(number: i64, low: i64, high: i64) -> Vec<String> {
    if (low..=high).contains(&number) {
        return Vec::new();
    }
    vec![format!("must be between {low} and {high}, inclusive")]
}

/// A percentage: `25%`.
#[must_use]
pub fn percentage(text: &str) -> Vec<String> {
    if is_percentage(text) {
        return Vec::new();
    }
    let rule = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![form(rule, "[0-9]+%", &["1%", "93%"])]
}

/// Whether a text is a percentage.
#[must_use]
pub fn is_percentage(text: &str) -> bool {
    let digits = text.strip_suffix('%').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A header of HTTP.
#[must_use]
pub fn http_header(name: &str) -> Vec<String> {
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Vec::new();
    }
    let rule = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![form(rule, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// A variable of the environment.
#[must_use]
pub fn variable(name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if name.is_empty() {
        faults.push("environment variable name must be non-empty".to_owned());
    }
    if !name.chars().all(|c| (' '..='~').contains(&c) && c != '=') {
        let rule = "a valid environment variable name must consist only of printable ASCII \
                    characters other than '='";
        faults.push(rule.to_owned());
    }
    faults
}

/// Something with a dash at its end that more will follow: what would be checked of it.
#[must_use]
pub fn as_prefix(name: &str) -> String {
    match name.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => {
            let kept: String = rest.chars().take(rest.chars().count() - 1).collect();
            kept + "a"
        }
        _ => name.to_owned(),
    }
}

fn at_most(text: &str, most: usize, unit: &str) -> Vec<String> {
    if text.len() <= most {
        return Vec::new();
    }
    vec![format!("must be no more than {most} {unit}")]
}

fn form(rule: &str, regex: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|it| format!("'{it}', ")).collect();
    format!("{rule} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

fn is_lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    framed(text, is_lower, |c| is_lower(c) || c == '-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_key(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    framed(text, alphanumeric, |c| alphanumeric(c) || "-_.".contains(c))
}

/// Whether a text begins and ends with characters of one sort and has others within.
fn framed(text: &str, ends: impl Fn(char) -> bool, within: impl Fn(char) -> bool) -> bool {
    let at_ends = [text.chars().next(), text.chars().next_back()];
    at_ends.into_iter().all(|c| c.is_some_and(&ends)) && text.chars().all(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_name_is_said_in_upstreams_words() {
        assert_eq!(
            dns_label("A"),
            ["a lowercase RFC 1123 label must consist of lower case alphanumeric characters or \
              '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or \
              '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"]
        );
        assert_eq!(dns_label("a.b"), ["must not contain dots"]);
        assert_eq!(dns_label(&"a".repeat(64)), ["must be no more than 63 characters"]);
        assert_eq!(qualified("a/b/c").len(), 1);
        assert_eq!(qualified("/b"), ["prefix part must be non-empty"]);
        assert_eq!(config_key(".."), ["must not be '..'"]);
        assert_eq!(path_segment("a/b%c"), ["may not contain '/'", "may not contain '%'"]);
        assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
        assert_eq!(percentage("5%"), [""; 0]);
    }

    #[test]
    fn right_names_have_no_faults() {
        for name in ["a", "a-1", "0"] {
            assert!(dns_label(name).is_empty(), "{name}");
        }
        for name in ["a.b", "1.2.3", "a"] {
            assert!(dns_subdomain(name).is_empty(), "{name}");
        }
        for name in ["a", "A_b.c", "example.com/A"] {
            assert!(qualified(name).is_empty(), "{name}");
        }
        for wrong in ["", "-a", "a-", "a..b", ".a"] {
            assert!(!dns_subdomain(wrong).is_empty(), "{wrong}");
        }
        assert!(label_value("").is_empty());
        assert_eq!(as_prefix("web-"), "wea");
        assert_eq!(as_prefix("-"), "-");
    }
}
