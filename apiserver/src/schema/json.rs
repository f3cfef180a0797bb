//! JSON to trees, with Go's error texts, and a note of every member that stands twice.
//!
//! Written by hand because clients see what is wrong in Go's words, and because no parser of the
//! usual ones notes duplicates. Of two members with one name the last counts; two objects are
//! merged, as Go does when it decodes into a struct.

use serde_json::{Number, Value};

use super::complaint::{Complaint, MAX_COMPLAINTS, distinct};
use crate::object::Object;

/// The deepest nesting that is taken: below what `serde_json` reads back from the store.
pub const MAX_DEPTH: usize = 120;

/// A tree and the complaints about duplicates in the text: `duplicate field "spec.replicas"`.
pub type Parsed = (Value, Vec<Complaint>);

/// Parses a text that is one JSON value.
///
/// # Errors
///
/// Fails with the text that Go's parser has for what is wrong.
pub fn parse(text: &[u8]) -> Result<Parsed, String> {
    parse_below(text, 0)
}

/// The same for a text that will stand so many levels deep in another.
pub(super) fn parse_below(text: &[u8], depth: usize) -> Result<Parsed, String> {
    let mut parser = Parser { text, at: 0, depth, duplicates: Vec::new() };
    let value = parser.value()?;
    parser.spaces();
    if parser.at < text.len() {
        return Err(parser.invalid("after top-level value"));
    }
    Ok((value, distinct(parser.duplicates)))
}

/// How many levels of lists and objects a value has.
#[must_use]
pub fn height(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(height).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(height).max().unwrap_or(0),
        _ => 0,
    }
}

/// A number with a fraction as Go's encoder writes it: without one where there is none. What JSON
/// cannot say is `null`.
#[must_use]
pub fn double(number: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and below 2^53")]
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// A text as Go's `%q` writes it.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

const CUT_OFF: &str = "unexpected end of JSON input";

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    /// Members that stand twice; no more than are told of.
    duplicates: Vec<Complaint>,
}

impl Parser<'_> {
    fn spaces(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The complaint about the byte that stands here.
    fn invalid(&self, context: &str) -> String {
        let shown = match self.peek() {
            None => return CUT_OFF.to_owned(),
            Some(b'\'') => "\\'".to_owned(),
            Some(b'"') => "\"".to_owned(),
            Some(byte) => {
                let quoted = quote(&char::from(byte).to_string());
                quoted[1..quoted.len() - 1].to_owned()
            }
        };
        format!("invalid character '{shown}' {context}")
    }

    fn value(&mut self) -> Result<Value, String> {
        self.spaces();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.invalid("looking for beginning of value")),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, String>) -> Result<Value, String> {
        if self.depth >= MAX_DEPTH {
            return Err(self.invalid("exceeded max depth"));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Value, String> {
        let mut members = Object::new();
        let own = self.duplicates.len();
        self.spaces();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(members));
        }
        loop {
            self.spaces();
            if self.peek() != Some(b'"') {
                return Err(self.invalid("looking for beginning of object key string"));
            }
            let name = self.string()?;
            self.spaces();
            if self.peek() != Some(b':') {
                return Err(self.invalid("after object key"));
            }
            self.at += 1;
            let at = members.len();
            // A member that stands a thousand times is one complaint.
            if self.duplicates.len() < MAX_COMPLAINTS
                && members.contains_key(&name)
                && !self.duplicates[own..].iter().any(|one| one.is_duplicate_of(&name))
            {
                self.duplicates.push(Complaint::duplicate(&name, at));
            }
            let before = self.duplicates.len();
            let value = self.value()?;
            for complaint in &mut self.duplicates[before..] {
                complaint.within_member(&name, at);
            }
            put(&mut members, name, value);
            self.spaces();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(members));
                }
                _ => return Err(self.invalid("after object key:value pair")),
            }
        }
    }

    fn array(&mut self) -> Result<Value, String> {
        let mut items = Vec::new();
        self.spaces();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            let before = self.duplicates.len();
            let value = self.value()?;
            for complaint in &mut self.duplicates[before..] {
                complaint.within_item(items.len());
            }
            items.push(value);
            self.spaces();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(items));
                }
                _ => return Err(self.invalid("after array element")),
            }
        }
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value, String> {
        for expected in word.bytes() {
            if self.peek() != Some(expected) {
                let context = format!("in literal {word} (expecting '{}')", char::from(expected));
                return Err(self.invalid(&context));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.invalid("in numeric literal")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        let digits = std::str::from_utf8(&self.text[start..self.at]);
        let digits = digits.expect("signs, digits, points and exponents are ASCII");
        if let Ok(whole) = digits.parse::<i64>() {
            return Ok(Value::from(whole));
        }
        let float = digits.parse::<f64>().ok().and_then(Number::from_f64);
        float.map(Value::Number).ok_or_else(|| {
            format!("json: cannot unmarshal number {digits} into Go value of type float64")
        })
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self, context: &str) -> Result<(), String> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.invalid(context));
        }
        self.digits();
        Ok(())
    }

    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                None => return Err(CUT_OFF.to_owned()),
                Some(b'"') => {
                    let text = String::from_utf8_lossy(&self.text[start..self.at]).into_owned();
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => return self.escaped(start),
                Some(0..=0x1f) => return Err(self.invalid("in string literal")),
                Some(_) => self.at += 1,
            }
        }
    }

    /// The rest of a string that has escapes.
    fn escaped(&mut self, start: usize) -> Result<String, String> {
        let mut text = self.text[start..self.at].to_vec();
        loop {
            match self.peek() {
                None => return Err(CUT_OFF.to_owned()),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(String::from_utf8_lossy(&text).into_owned());
                }
                Some(0..=0x1f) => return Err(self.invalid("in string literal")),
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(byte) => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let c = match self.peek() {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.invalid("in string escape code")),
        };
        self.at += 1;
        Ok(c)
    }

    /// One or, for a pair of surrogates, two escapes; a lone surrogate is the replacement character.
    fn unicode(&mut self) -> Result<char, String> {
        let first = self.hex()?;
        if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let both = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Result<u32, String> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let digit = digit.ok_or_else(|| self.invalid("in \\u hexadecimal character escape"))?;
            value = value << 4 | digit;
            self.at += 1;
        }
        Ok(value)
    }
}

fn put(members: &mut Object, name: String, value: Value) {
    match (members.get_mut(&name), value) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            for (name, value) in new {
                put(old, name, value);
            }
        }
        (Some(old), value) => *old = value,
        (None, value) => {
            members.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_trees_and_duplicates_are_noted_with_their_paths() {
        let text =
            br#"{"a":1,"b":[{"c":1,"c":2}],"a":-2.5,"m":{"x":1},"m":{"y":"\u00e4\n\ud83d\ude00"}}"#;
        let (value, complaints) = parse(text).unwrap();
        let complaints: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        assert_eq!(
            value.to_string(),
            "{\"a\":-2.5,\"b\":[{\"c\":2}],\"m\":{\"x\":1,\"y\":\"ä\\n😀\"}}"
        );
        let expected =
            [r#"duplicate field "b[0].c""#, r#"duplicate field "a""#, r#"duplicate field "m""#];
        assert_eq!(complaints, expected);
    }

    #[test]
    fn a_name_of_a_megabyte_above_many_duplicates_takes_no_memory() {
        let many = "\"a\":1,".repeat(100_000);
        let text = format!("{{\"{}\":{{{many}\"b\":1,\"b\":2}}}}", "n".repeat(1 << 20));
        let (_, complaints) = parse(text.as_bytes()).unwrap();
        assert_eq!(complaints.len(), 2);
        assert!(complaints.iter().all(|one| one.to_string().len() < 1000));
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_go() {
        let cases = [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            ("{a", "invalid character 'a' looking for beginning of object key string"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 2}", "invalid character '2' after object key:value pair"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("trux", "invalid character 'x' in literal true (expecting 'e')"),
            ("-a", "invalid character 'a' in numeric literal"),
            ("\"\\q\"", "invalid character 'q' in string escape code"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text.as_bytes()).unwrap_err(), expected, "{text:?}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(parse(deep.as_bytes()).unwrap_err(), "invalid character '[' exceeded max depth");
    }
}
