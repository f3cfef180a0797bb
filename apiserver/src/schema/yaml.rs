//! YAML to trees, by the rules of the library that upstream uses (go-yaml 2, so YAML 1.1 with the
//! numbers of Go), which differ from those of YAML 1.2: `yes` is true, `0o17` and `017` are 15.
//!
//! ```text
//!   text ──saphyr──► events ──Reader──► tree, keys sorted
//!                                └────► keys that stand twice, with their lines
//! ```
//!
//! Only the first document counts. A key that is a number, a truth or a text becomes a text.
//!
//! Invariant: what aliases add is bounded by upstream's rule: the more there is, the smaller the
//! part of it that may come from aliases.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::Value;

use super::complaint::Complaint;
use super::json::{self, MAX_DEPTH, Parsed, quote};
use super::proto::MAX_VALUES;
use crate::object::Object;

/// Parses the first document of a text. The complaint, there is at most one, is that of upstream's
/// strict reader about keys that stand twice.
///
/// # Errors
///
/// Fails with a text for people, which says the line where there is one.
pub fn parse(text: &[u8]) -> Result<Parsed, String> {
    let text =
        std::str::from_utf8(text).map_err(|_| "yaml: invalid leading UTF-8 octet".to_owned())?;
    if text.chars().any(is_control) {
        return Err("yaml: control characters are not allowed".to_owned());
    }
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        values: 0,
        aliased: 0,
        repeated: 0,
        kept: 0,
        depth: 0,
        duplicates: Vec::new(),
    };
    let value = reader.document()?;
    let complaints = if reader.duplicates.is_empty() {
        Vec::new()
    } else {
        let text = format!("yaml: unmarshal errors:\n  {}", reader.duplicates.join("\n  "));
        vec![Complaint::text(text)]
    };
    Ok((value, complaints))
}

/// Whether a character may stand nowhere in a text of YAML.
fn is_control(c: char) -> bool {
    !matches!(c,
        '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
}

/// What a scalar is.
#[derive(Debug, Clone, PartialEq)]
enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
}

impl Scalar {
    fn tag(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::Uint(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
        }
    }

    fn into_value(self) -> Result<Value, String> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(yes) => Value::Bool(yes),
            Self::Int(number) => Value::from(number),
            Self::Uint(number) => Value::from(number),
            Self::Float(number) if number.is_nan() => {
                return Err("json: unsupported value: NaN".to_owned());
            }
            Self::Float(number) if number.is_infinite() => {
                let sign = if number < 0.0 { '-' } else { '+' };
                return Err(format!("json: unsupported value: {sign}Inf"));
            }
            Self::Float(number) => json::double(number),
            Self::Text(text) => Value::String(text),
        })
    }

    /// The key of a map, and how Go shows it.
    fn into_key(self) -> Result<(String, String), String> {
        Ok(match self {
            Self::Null => {
                return Err("unsupported map key of type: %!s(<nil>), key: <nil>".to_owned());
            }
            Self::Text(text) => {
                let shown = quote(&text);
                (text, shown)
            }
            Self::Bool(yes) => (yes.to_string(), yes.to_string()),
            Self::Int(number) => (number.to_string(), number.to_string()),
            Self::Uint(number) => {
                return Err(format!("unsupported map key of type: uint64, key: {number:#x}"));
            }
            Self::Float(number) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "upstream shows so many digits"
                )]
                let text = (number as f32).to_string();
                (text.clone(), text)
            }
        })
    }
}

/// What an anchor stands for, and of how many values and levels it consists.
struct Anchored {
    value: Value,
    values: usize,
    height: usize,
    weight: usize,
}

/// What copies for anchors and for aliases may weigh, each: upstream's rule counts values, and a
/// long text is one value however often it is repeated.
const MAX_COPIED: usize = 32 << 20;

/// About as many bytes as a value takes in memory.
fn weight(value: &Value) -> usize {
    const OWN: usize = 32;
    match value {
        Value::String(text) => OWN + text.len(),
        Value::Array(items) => OWN + items.iter().map(weight).sum::<usize>(),
        Value::Object(members) => {
            OWN + members.iter().map(|(key, value)| OWN + key.len() + weight(value)).sum::<usize>()
        }
        _ => OWN,
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, Anchored>,
    /// How many values were read so far, those of aliases among them.
    values: usize,
    /// How many of them came from aliases.
    aliased: usize,
    /// What the copies for aliases weigh, and those for anchors.
    repeated: usize,
    kept: usize,
    depth: usize,
    duplicates: Vec<String>,
}

const EXCESSIVE: &str = "yaml: document contains excessive aliasing";

fn too_deep() -> String {
    format!("yaml: exceeded max depth of {MAX_DEPTH}")
}

fn scan_error(error: &ScanError) -> String {
    format!("yaml: line {}: {}", error.marker().line(), error.info())
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), String> {
        match self.parser.next_event() {
            Some(event) => event.map_err(|error| scan_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Result<Value, String> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                (Event::StreamEnd | Event::DocumentEnd, _) => return Ok(Value::Null),
                (event, _) => {
                    let value = self.node(event)?;
                    // What follows the value within the document must be well-formed, too.
                    self.next()?;
                    return Ok(value);
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>) -> Result<Value, String> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(format!("yaml: a document has more than {MAX_VALUES} values"));
        }
        let before = self.values;
        let (anchor, value) = match event {
            Event::Alias(anchor) => return self.alias(anchor),
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, resolve(text, style, tag.as_deref())?.into_value()?)
            }
            Event::SequenceStart(anchor, _) => (anchor, self.nested(Self::sequence)?),
            Event::MappingStart(anchor, _) => (anchor, self.nested(Self::mapping)?),
            _ => return Err("yaml: a value is missing".to_owned()),
        };
        if anchor > 0 {
            let values = self.values - before + 1;
            self.keep(anchor, &value, values)?;
        }
        Ok(value)
    }

    /// Keeps what an anchor stands at for aliases of it. Anchors within each other keep the innermost
    /// value several times.
    fn keep(&mut self, anchor: usize, value: &Value, values: usize) -> Result<(), String> {
        let (height, weight) = (json::height(value), weight(value));
        self.kept += weight;
        if self.kept > MAX_COPIED {
            return Err(EXCESSIVE.to_owned());
        }
        self.anchors.insert(anchor, Anchored { value: value.clone(), values, height, weight });
        Ok(())
    }

    fn alias(&mut self, anchor: usize) -> Result<Value, String> {
        let anchored = self.anchors.get(&anchor);
        let anchored = anchored.ok_or_else(|| "yaml: anchor value contains itself".to_owned())?;
        if self.depth + anchored.height > MAX_DEPTH {
            return Err(too_deep());
        }
        self.values += anchored.values;
        self.aliased += anchored.values;
        if self.aliased > 100 && self.values > 1000 && is_excessive(self.aliased, self.values) {
            return Err(EXCESSIVE.to_owned());
        }
        self.repeated += anchored.weight;
        if self.repeated > MAX_COPIED {
            return Err(EXCESSIVE.to_owned());
        }
        Ok(anchored.value.clone())
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, String>) -> Result<Value, String> {
        if self.depth >= MAX_DEPTH {
            return Err(too_deep());
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn sequence(&mut self) -> Result<Value, String> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Array(items)),
                (event, _) => items.push(self.node(event)?),
            }
        }
    }

    fn mapping(&mut self) -> Result<Value, String> {
        let mut members = Object::new();
        let mut seen = BTreeSet::new();
        loop {
            let (event, _) = self.next()?;
            if event == Event::MappingEnd {
                members.sort_keys();
                return Ok(Value::Object(members));
            }
            let merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = if merge { None } else { Some(self.key(event)?) };
            let (event, span) = self.next()?;
            let value = self.node(event)?;
            match key {
                Some((key, shown)) => {
                    if seen.insert(shown.clone()) {
                        members.insert(key, value);
                    } else {
                        let line = span.start.line();
                        self.duplicates
                            .push(format!("line {line}: key {shown} already set in map"));
                        members.insert(key, value);
                    }
                }
                None => merged(&mut members, &mut seen, value)?,
            }
        }
    }

    fn key(&mut self, event: Event<'a>) -> Result<(String, String), String> {
        self.values += 1;
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = resolve(text, style, tag.as_deref())?;
                if anchor > 0 {
                    self.keep(anchor, &scalar.clone().into_value()?, 1)?;
                }
                scalar.into_key()
            }
            Event::Alias(anchor) => match self.alias(anchor)? {
                Value::String(text) => Scalar::Text(text).into_key(),
                Value::Bool(yes) => Scalar::Bool(yes).into_key(),
                Value::Number(number) => Ok((number.to_string(), number.to_string())),
                _ => Err("yaml: invalid map key".to_owned()),
            },
            _ => Err("yaml: invalid map key".to_owned()),
        }
    }
}

/// Puts what stands under `<<` among the members.
fn merged(members: &mut Object, seen: &mut BTreeSet<String>, value: Value) -> Result<(), String> {
    let maps = match value {
        Value::Object(map) => vec![Value::Object(map)],
        // Of several maps the first has the last word.
        Value::Array(maps) => maps.into_iter().rev().collect(),
        other => vec![other],
    };
    for map in maps {
        let Value::Object(map) = map else {
            return Err("yaml: map merge requires map or sequence of maps as the value".to_owned());
        };
        for (key, value) in map {
            seen.insert(quote(&key));
            members.insert(key, value);
        }
    }
    Ok(())
}

/// Upstream's rule: 99 of 100 values may come from aliases in a document of up to 400,000 values,
/// 10 in one of four million, and between them it falls evenly.
fn is_excessive(aliased: usize, values: usize) -> bool {
    const LOW: usize = 400_000;
    const HIGH: usize = 4_000_000;
    let allowed = match values {
        0..=LOW => 990,
        HIGH.. => 100,
        _ => 990 - 890 * (values - LOW) / (HIGH - LOW),
    };
    aliased * 1000 > allowed * values
}

fn resolve(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Result<Scalar, String> {
    let tag = match tag {
        Some(tag) if tag.handle == "tag:yaml.org,2002:" || tag.handle == "!!" => {
            tag.suffix.as_str()
        }
        Some(_) => "other",
        None if style == ScalarStyle::Plain => "",
        None => "str",
    };
    match tag {
        "binary" => {
            use base64::Engine as _;
            let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_bytes());
            let bytes = bytes
                .map_err(|_| "yaml: !!binary value contains invalid base64 data".to_owned())?;
            Ok(Scalar::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        "" | "bool" | "int" | "float" | "null" => match (plain(&text), tag) {
            (Scalar::Int(number), "float") => {
                Ok(text.parse().map_or(Scalar::Int(number), Scalar::Float))
            }
            (scalar, tag) if tag.is_empty() || scalar.tag() == tag => Ok(scalar),
            (scalar, tag) => {
                Err(format!("yaml: cannot decode !!{} `{text}` as a !!{tag}", scalar.tag()))
            }
        },
        _ => Ok(Scalar::Text(text.into_owned())),
    }
}

/// What a plain scalar is. (A timestamp stays the text that it is.)
fn plain(text: &str) -> Scalar {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Scalar::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Scalar::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let number = match text.as_bytes()[0] {
        b'.' => is_float(text).then(|| text.parse().ok().map(Scalar::Float)).flatten(),
        b'+' | b'-' | b'0'..=b'9' => number(&text.replace('_', "")),
        _ => None,
    };
    number.unwrap_or_else(|| Scalar::Text(text.to_owned()))
}

/// A number as Go's `ParseInt` with base 0 reads it: the prefix says the base.
fn number(text: &str) -> Option<Scalar> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, rest) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    let whole = rest
        .starts_with(|c: char| c.is_ascii_alphanumeric())
        .then(|| i128::from_str_radix(rest, base).ok())
        .flatten();
    if let Some(whole) = whole.map(|whole| if negative { -whole } else { whole }) {
        if let Ok(whole) = i64::try_from(whole) {
            return Some(Scalar::Int(whole));
        }
        if let (Ok(whole), false) = (u64::try_from(whole), text.starts_with('+')) {
            return Some(Scalar::Uint(whole));
        }
    }
    if is_float(text) {
        text.parse().ok().filter(|float: &f64| float.is_finite()).map(Scalar::Float)
    } else {
        None
    }
}

/// Digits with a point somewhere and an exponent behind: `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    let good_exponent = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && is_number(digits)
    });
    has_digits && is_number(whole) && is_number(fraction) && good_exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(complaints: &[Complaint]) -> String {
        complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    fn read(text: &str) -> String {
        match parse(text.as_bytes()) {
            Ok((value, complaints)) if complaints.is_empty() => value.to_string(),
            Ok((value, complaints)) => format!("{value} {}", texts(&complaints)),
            Err(error) => error,
        }
    }

    #[test]
    fn scalars_are_what_the_library_of_upstream_takes_them_for() {
        for (text, expected) in [
            ("a: yes", r#"{"a":true}"#),
            ("a: 'yes'", r#"{"a":"yes"}"#),
            ("a: Off", r#"{"a":false}"#),
            ("a: ~", r#"{"a":null}"#),
            ("a:", r#"{"a":null}"#),
            ("a: 017", r#"{"a":15}"#),
            ("a: 0o17", r#"{"a":15}"#),
            ("a: 0x1F", r#"{"a":31}"#),
            ("a: 0b11", r#"{"a":3}"#),
            ("a: 08", r#"{"a":8}"#),
            ("a: 1_000", r#"{"a":1000}"#),
            ("a: 1.50", r#"{"a":1.5}"#),
            ("a: 1e3", r#"{"a":1000}"#),
            ("a: 1.0", r#"{"a":1}"#),
            ("a: 2001-12-14", r#"{"a":"2001-12-14"}"#),
            ("a: 1.2.3", r#"{"a":"1.2.3"}"#),
            ("a: 100m", r#"{"a":"100m"}"#),
            ("a: !!str 5", r#"{"a":"5"}"#),
            ("a: !!int x", "yaml: cannot decode !!str `x` as a !!int"),
            ("a: .inf", "json: unsupported value: +Inf"),
            ("b: 1\n5: x\ntrue: y", r#"{"5":"x","b":1,"true":true}"#),
            ("", "null"),
            ("a: 1\n---\nb: 2", r#"{"a":1}"#),
            (
                "a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}",
                r#"{"a":{"b":1},"c":{"b":1},"d":{"b":1,"e":2}}"#,
            ),
            ("a: |\n  x\n  y\n", r#"{"a":"x\ny\n"}"#),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn keys_that_stand_twice_are_noted_with_their_lines() {
        assert_eq!(
            read("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n"),
            "{\"a\":3,\"b\":{\"c\":2}} yaml: unmarshal errors:\n  line 4: key \"c\" already set in map\n  \
             line 5: key \"a\" already set in map"
        );
    }

    #[test]
    fn bombs_and_towers_are_refused() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..20 {
            let inner = format!("*a{},", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
        }
        assert_eq!(read(&bomb), "yaml: document contains excessive aliasing");
        let mut tower = "a0: &a0 [x]\n".to_owned();
        for level in 1..200 {
            tower.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert_eq!(read(&tower), "yaml: exceeded max depth of 120");
        assert!(read("a: &a [*a]").contains("contains itself"));
        assert!(read(&"[".repeat(5000)).starts_with("yaml: "));
        assert!(read(&"- ".repeat(5000)).starts_with("yaml: "));
        assert!(read(&"{a: ".repeat(5000)).starts_with("yaml: "));
        assert!(read("a: b: c").starts_with("yaml: line 1: "));
    }
}
