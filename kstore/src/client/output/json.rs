//! JSON in the order and with the omissions that etcdctl's readers know.
//!
//! Members keep their order; those that hold nothing (`0`, `false`, `""`, an empty list, null) can
//! be left out; bytes are base64; `<`, `>` and `&` are escaped.

use std::fmt::{Display, Formatter, Result as FmtResult, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(&'static str, Self)>),
}

impl Json {
    /// An object with all of the members.
    pub(crate) fn whole(members: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        Self::Object(members.into_iter().collect())
    }

    /// An object with those of the members that hold something.
    pub(crate) fn sparse(members: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        Self::Object(members.into_iter().filter(|(_, value)| !value.is_nothing()).collect())
    }

    /// A list.
    pub(crate) fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::List(items.into_iter().collect())
    }

    /// A list, or null when there is nothing in it.
    pub(crate) fn list_or_null(items: impl IntoIterator<Item = Self>) -> Self {
        match Self::list(items) {
            Self::List(items) if items.is_empty() => Self::Null,
            list => list,
        }
    }

    /// Binds the members of `self`, if it is an object, in front of `more`.
    pub(crate) fn then(self, more: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        let mut members = match self {
            Self::Object(members) => members,
            _ => Vec::new(),
        };
        members.extend(more);
        Self::Object(members)
    }

    /// An object holds something even when it has no members: it says that it is there.
    fn is_nothing(&self) -> bool {
        match self {
            Self::Null | Self::Bool(false) | Self::Signed(0) | Self::Unsigned(0) => true,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Bool(true) | Self::Signed(_) | Self::Unsigned(_) | Self::Object(_) => false,
        }
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Self {
        Self::Signed(value)
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Self {
        Self::Unsigned(value)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&Bytes> for Json {
    fn from(value: &Bytes) -> Self {
        Self::Text(BASE64_STANDARD.encode(value))
    }
}

impl From<&[String]> for Json {
    fn from(values: &[String]) -> Self {
        Self::list(values.iter().map(|value| value.as_str().into()))
    }
}

impl From<&Vec<String>> for Json {
    fn from(values: &Vec<String>) -> Self {
        values.as_slice().into()
    }
}

impl<T: Into<Self>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Display for Json {
    fn fmt(&self, out: &mut Formatter<'_>) -> FmtResult {
        match self {
            Self::Null => out.write_str("null"),
            Self::Bool(value) => write!(out, "{value}"),
            Self::Signed(value) => write!(out, "{value}"),
            Self::Unsigned(value) => write!(out, "{value}"),
            Self::Text(text) => write_text(out, text),
            Self::List(items) => {
                out.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(out, "{comma}{item}")?;
                }
                out.write_char(']')
            }
            Self::Object(members) => {
                out.write_char('{')?;
                for (index, (name, value)) in members.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(out, "{comma}\"{name}\":{value}")?;
                }
                out.write_char('}')
            }
        }
    }
}

fn write_text(out: &mut Formatter<'_>, text: &str) -> FmtResult {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\u{8}' => out.write_str("\\b")?,
            '\u{c}' => out.write_str("\\f")?,
            '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                write!(out, "\\u{:04x}", u32::from(c))?;
            }
            _ => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_object_leaves_out_what_holds_nothing() {
        let object = Json::sparse([
            ("a", 0_i64.into()),
            ("b", false.into()),
            ("c", "".into()),
            ("d", Json::list([])),
            ("e", Json::sparse([])),
            ("f", (&Bytes::from_static(b"\xff\xfe")).into()),
            ("g", u64::MAX.into()),
        ]);
        assert_eq!(object.to_string(), r#"{"e":{},"f":"//4=","g":18446744073709551615}"#);
    }

    #[test]
    fn text_is_escaped_so_that_it_is_safe_inside_of_html() {
        let text = Json::from("<a href=\"x\">&\n\u{1}\u{2028}é");
        assert_eq!(text.to_string(), "\"\\u003ca href=\\\"x\\\"\\u003e\\u0026\\n\\u0001\\u2028é\"");
    }
}
