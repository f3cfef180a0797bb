//! Texts as upstream's language writes them, for messages that are compared to the byte.

use std::fmt::Write as _;

/// A text in quotes, as Go's `%q` writes it.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\0'..'\u{80}' if letter.is_ascii_control() => {
                write!(out, "\\x{:02x}", u32::from(letter)).expect("a text takes all");
            }
            _ if letter.is_control() => {
                write!(out, "\\u{:04x}", u32::from(letter)).expect("a text takes all");
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// A list of texts, as Go's `%q` writes it: `["a" "b"]`.
#[must_use]
pub fn quote_list<T: AsRef<str>>(texts: &[T]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quote(text.as_ref())).collect();
    format!("[{}]", quoted.join(" "))
}

/// Several faults as one text, as upstream's aggregate writes them.
#[must_use]
pub fn aggregate(texts: &[String]) -> String {
    match texts {
        [] => String::new(),
        [one] => one.clone(),
        many => {
            let mut once: Vec<&str> = Vec::new();
            for text in many {
                if !once.contains(&text.as_str()) {
                    once.push(text);
                }
            }
            match once.as_slice() {
                [one] => (*one).to_owned(),
                several => format!("[{}]", several.join(", ")),
            }
        }
    }
}

/// Without anything that a browser could take for a tag.
#[must_use]
pub fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_those_of_go() {
        assert_eq!(quote("a\"b\\c\n\u{1}é\u{85}"), "\"a\\\"b\\\\c\\n\\x01é\\u0085\"");
        assert_eq!(quote_list(&["a", "b c"]), "[\"a\" \"b c\"]");
        assert_eq!(quote_list::<&str>(&[]), "[]");
    }

    #[test]
    fn an_aggregate_names_each_fault_once() {
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(aggregate(&texts(&["a"])), "a");
        assert_eq!(aggregate(&texts(&["a", "a"])), "a");
        assert_eq!(aggregate(&texts(&["a", "b", "a"])), "[a, b]");
    }
}
