//! The notation of flags, transactions and output: durations, numbers, booleans and quoted text,
//! written and read as etcdctl's users know them.
//!
//! Those are the forms of Go's standard library; scripts depend on them down to the error texts.

use std::fmt::Write;
use std::time::Duration;

/// Reads `1.5s`, `1m30s`, `200ms`, `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("time: invalid duration {}", quote(text.as_bytes()));
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(bad()),
            };
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(total).map_err(|_| bad())
}

/// Writes `1m30s`, `2.963183ms`, `825.176µs`, `0s`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let (unit, suffix) = match nanos {
        0..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => return show_seconds(nanos),
    };
    format!("{}{suffix}", decimal(nanos, unit))
}

fn show_seconds(nanos: u128) -> String {
    const SECOND: u128 = 1_000_000_000;
    let (minutes, rest) = (nanos / (60 * SECOND), nanos % (60 * SECOND));
    let seconds = decimal(rest, SECOND);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `count / unit` with as many digits behind the point as it needs. `unit` is a power of ten.
fn decimal(count: u128, unit: u128) -> String {
    let (whole, part) = (count / unit, count % unit);
    if part == 0 {
        return whole.to_string();
    }
    let width = unit.to_string().len() - 1;
    let part = format!("{part:0width$}");
    format!("{whole}.{}", part.trim_end_matches('0'))
}

/// Reads a boolean.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(syntax("ParseBool", text)),
    }
}

/// Reads a signed number, decimal or with `0x`, `0o`, `0b`.
pub(crate) fn number(text: &str) -> Result<i64, String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ => (10, lower.as_str()),
    };
    signed_text(&format!("{sign}{digits}"), radix).map_err(|kind| kind.of("ParseInt", text))
}

/// Reads a signed number in a given base.
pub(crate) fn signed(text: &str, radix: u32) -> Result<i64, String> {
    signed_text(text, radix).map_err(|kind| kind.of("ParseInt", text))
}

/// Reads an unsigned number in base 16: member ids.
pub(crate) fn unsigned_hex(text: &str) -> Result<u64, String> {
    let kind = |error: std::num::ParseIntError| BadNumber::from(error.kind());
    if text.starts_with('+') {
        return Err(BadNumber::Syntax.of("ParseUint", text));
    }
    u64::from_str_radix(text, 16).map_err(|error| kind(error).of("ParseUint", text))
}

fn signed_text(text: &str, radix: u32) -> Result<i64, BadNumber> {
    i64::from_str_radix(text, radix).map_err(|error| BadNumber::from(error.kind()))
}

enum BadNumber {
    Syntax,
    Range,
}

impl From<&std::num::IntErrorKind> for BadNumber {
    fn from(kind: &std::num::IntErrorKind) -> Self {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        match kind {
            PosOverflow | NegOverflow => Self::Range,
            _ => Self::Syntax,
        }
    }
}

impl BadNumber {
    fn of(self, function: &str, text: &str) -> String {
        match self {
            Self::Syntax => syntax(function, text),
            Self::Range => format!(
                "strconv.{function}: parsing {}: value out of range",
                quote(text.as_bytes())
            ),
        }
    }
}

fn syntax(function: &str, text: &str) -> String {
    format!("strconv.{function}: parsing {}: invalid syntax", quote(text.as_bytes()))
}

/// Bytes between double quotes, everything unprintable escaped.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_quoted(&mut out, c);
        }
        for byte in chunk.invalid() {
            push(&mut out, format_args!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

fn push_quoted(out: &mut String, c: char) {
    let code = u32::from(c);
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        '\'' => out.push(c),
        // A character that Rust would not escape in its own notation is printable.
        _ if c.escape_debug().len() == 1 => out.push(c),
        _ if code < 0x80 => push(out, format_args!("\\x{code:02x}")),
        _ if code < 0x1_0000 => push(out, format_args!("\\u{code:04x}")),
        _ => push(out, format_args!("\\U{code:08x}")),
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes every write");
}

/// Reads a double-quoted text at the start of `text`; returns it and what follows.
pub(crate) fn unquote(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut out = Vec::new();
    let mut rest = text.strip_prefix('"')?;
    loop {
        let mut chars = rest.chars();
        match chars.next()? {
            '"' => return Some((out, chars.as_str())),
            '\n' => return None,
            '\\' => rest = unescape(&mut out, chars.as_str())?,
            c => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = chars.as_str();
            }
        }
    }
}

/// Reads what follows a backslash; returns what follows the escape.
fn unescape<'a>(out: &mut Vec<u8>, text: &'a str) -> Option<&'a str> {
    let mut chars = text.chars();
    let kind = chars.next()?;
    let after = chars.as_str();
    let simple = match kind {
        'a' => 7,
        'b' => 8,
        'f' => 0xc,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0xb,
        '\\' => b'\\',
        '"' => b'"',
        'x' => return digits(after, 2, 16).and_then(|(code, rest)| byte(out, code, rest)),
        '0'..='7' => return digits(text, 3, 8).and_then(|(code, rest)| byte(out, code, rest)),
        'u' => return digits(after, 4, 16).and_then(|(code, rest)| letter(out, code, rest)),
        'U' => return digits(after, 8, 16).and_then(|(code, rest)| letter(out, code, rest)),
        _ => return None,
    };
    out.push(simple);
    Some(after)
}

fn digits(text: &str, count: usize, radix: u32) -> Option<(u32, &str)> {
    let digits = text.get(..count)?;
    // `from_str_radix` takes a sign; an escape does not.
    let all = digits.chars().all(|c| c.is_digit(radix));
    let code = u32::from_str_radix(digits, radix).ok().filter(|_| all)?;
    Some((code, &text[count..]))
}

fn byte<'a>(out: &mut Vec<u8>, code: u32, rest: &'a str) -> Option<&'a str> {
    out.push(u8::try_from(code).ok()?);
    Some(rest)
}

fn letter<'a>(out: &mut Vec<u8>, code: u32, rest: &'a str) -> Option<&'a str> {
    let c = char::from_u32(code)?;
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Some(rest)
}

/// A size as people read it: powers of 1,000, two digits.
pub(crate) fn show_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let (mut unit, mut scale) = (0, 1_u64);
    while bytes / scale >= 1000 {
        scale *= 1000;
        unit += 1;
    }
    let tenths = (u128::from(bytes) * 10 + u128::from(scale) / 2) / u128::from(scale);
    let whole = tenths / 10;
    if whole < 10 {
        return format!("{whole}.{} {}", tenths % 10, UNITS[unit]);
    }
    let rounded = match tenths % 10 {
        0..5 => whole,
        5 => whole + whole % 2,
        _ => whole + 1,
    };
    format!("{rounded} {}", UNITS[unit])
}

/// Splits a line into words: separated by spaces, or between single or double quotes.
pub(crate) fn words(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        match first {
            '"' => {
                let (word, after) = unquote(rest).ok_or("invalid syntax")?;
                words.push(word);
                rest = after;
            }
            '\'' => {
                let (word, after) = rest[1..].split_once('\'').ok_or("unterminated quote")?;
                words.push(word.as_bytes().to_vec());
                rest = after;
            }
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                words.push(rest.as_bytes()[..end].to_vec());
                rest = &rest[end..];
            }
        }
        rest = rest.trim_start();
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_in_the_same_notation() {
        for (text, nanos) in [
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1h0m0.5s", 3_600_500_000_000),
            ("2.963183ms", 2_963_183),
            ("825.176µs", 825_176),
            ("7ns", 7),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
            assert_eq!(show_duration(Duration::from_nanos(nanos)), text);
        }
        assert_eq!(duration("abc"), Err("time: invalid duration \"abc\"".to_owned()));
        assert_eq!(duration("-5s"), Err("time: invalid duration \"-5s\"".to_owned()));
        assert_eq!(duration("5"), Err("time: invalid duration \"5\"".to_owned()));
    }

    #[test]
    fn numbers_fail_with_the_texts_that_scripts_know() {
        assert_eq!(number("0x10"), Ok(16));
        assert_eq!(number("-3"), Ok(-3));
        assert_eq!(
            number("abc"),
            Err("strconv.ParseInt: parsing \"abc\": invalid syntax".to_owned())
        );
        assert_eq!(
            unsigned_hex("zz"),
            Err("strconv.ParseUint: parsing \"zz\": invalid syntax".to_owned())
        );
        let over = signed("9223372036854775808", 10);
        assert_eq!(
            over,
            Err("strconv.ParseInt: parsing \"9223372036854775808\": value out of range".to_owned())
        );
    }

    #[test]
    fn what_was_quoted_is_unquoted_to_the_same_bytes() {
        for bytes in
            [&b"plain"[..], b"a\"b\\c\n\t\x00\x7f", "grüße €\u{1f600}".as_bytes(), b"\xff\xfe"]
        {
            let quoted = quote(bytes);
            assert_eq!(unquote(&quoted), Some((bytes.to_vec(), "")), "{quoted}");
        }
        assert_eq!(quote(b"a\xffb\x01"), r#""a\xffb\x01""#);
        assert_eq!(quote("\u{a0}\u{e000}".as_bytes()), "\"\\u00a0\\ue000\"");
        assert_eq!(unquote(r#""\101" rest"#), Some((b"A".to_vec(), " rest")));
        assert_eq!(unquote(r#""open"#), None);
        assert_eq!(unquote(r#""\q""#), None);
        assert_eq!(unquote(r#""\x+1""#), None);
    }

    #[test]
    fn sizes_have_two_digits_and_a_decimal_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (82, "82 B"),
            (1_000, "1.0 kB"),
            (16_384, "16 kB"),
            (20_480, "20 kB"),
            (2_147_483_648, "2.1 GB"),
            (999_999, "1000 kB"),
        ] {
            assert_eq!(show_size(bytes), text);
        }
    }

    #[test]
    fn a_line_is_split_at_spaces_outside_of_quotes() {
        let split = words(r#"put "a b" 'c "d"' e\n --prev-kv"#);
        let wanted: [&[u8]; 5] = [b"put", b"a b", b"c \"d\"", b"e\\n", b"--prev-kv"];
        assert_eq!(split.unwrap(), wanted);
        assert!(words(r#"put "a"#).is_err());
        assert_eq!(words("  "), Ok(vec![]));
    }
}
