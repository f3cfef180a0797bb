//! Amounts: `100m`, `128Mi`, `1e3`; how they are read, written, compared and added.
//!
//! An amount is a whole number times a power of ten, with the family of suffixes in which it is
//! written. What is finer than a nano is rounded away from zero. Where upstream keeps the text that
//! it was given (it does when a quick look says that it is canonical, even for `1.500`), so does
//! this. Numbers of more than 37 digits are refused; upstream takes them.

use std::cmp::Ordering;
use std::fmt;

/// The family of an amount's suffixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `12e6`.
    DecimalExponent,
    /// `12Mi`.
    BinarySi,
    /// `12M`.
    DecimalSi,
}

/// An amount.
#[derive(Debug, Clone)]
pub struct Quantity {
    value: i128,
    /// The power of ten by which `value` is multiplied.
    scale: i32,
    format: Format,
    /// The text that it was read from, where that is kept.
    text: Option<Box<str>>,
}

const FORMAT_WRONG: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const NUMERIC: &str = "unable to parse numeric part of quantity";
const SUFFIX: &str = "unable to parse quantity's suffix";

const NANO: i32 = -9;
/// Digits that fit an `i128` whatever they are.
const MAX_DIGITS: usize = 37;

const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [(&str, i32); 7] =
    [("", 0), ("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// The canonical text of an amount.
///
/// # Errors
///
/// Fails with upstream's text if there is no amount in it.
pub fn canonical(text: &str) -> Result<String, String> {
    Ok(Quantity::parse(text)?.to_string())
}

/// The pieces of a text.
struct Pieces<'a> {
    negative: bool,
    /// Sign, digits and point as they stand.
    number: &'a str,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn split(text: &str) -> Result<Pieces<'_>, String> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let stripped = unsigned.trim_start_matches('0');
    let (whole, mut rest) = stripped.split_at(digits(stripped));
    if stripped.is_empty() {
        return Ok(Pieces { negative, number: "0", whole: "0", fraction: "", suffix: "" });
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    let mut fraction = "";
    if let Some(behind) = rest.strip_prefix('.') {
        (fraction, rest) = behind.split_at(digits(behind));
    }
    let number = &text[..text.len() - rest.len()];
    let letters = rest.bytes().take_while(|b| b"eEinumkKMGTP".contains(b)).count();
    let exponent = rest[letters..].strip_prefix(['-', '+']).unwrap_or(&rest[letters..]);
    if digits(exponent) < exponent.len() {
        return Err(FORMAT_WRONG.to_owned());
    }
    Ok(Pieces { negative, number, whole, fraction, suffix: rest })
}

/// Base is two for the binary family, else ten.
fn interpret(suffix: &str) -> Option<(Format, i32)> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((Format::DecimalSi, *exponent));
    }
    if let Some((_, exponent)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((Format::BinarySi, *exponent));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).filter(|digits| !digits.is_empty())?;
    // Beyond this nothing of use can be computed with; upstream would wrap around somewhere.
    let exponent = exponent.parse::<i64>().ok()?.clamp(-1_000_000, 1_000_000);
    Some((Format::DecimalExponent, i32::try_from(exponent).expect("it was just clamped")))
}

impl Quantity {
    /// A whole amount.
    #[must_use]
    pub fn new(value: i64, format: Format) -> Self {
        Self { value: value.into(), scale: 0, format, text: None }
    }

    /// An amount in thousandths.
    #[must_use]
    pub fn milli(value: i64, format: Format) -> Self {
        Self { value: value.into(), scale: -3, format, text: None }
    }

    /// Reads an amount.
    ///
    /// # Errors
    ///
    /// Fails with upstream's text if there is no amount in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(FORMAT_WRONG.to_owned());
        }
        let pieces = split(text)?;
        let (format, exponent) = interpret(pieces.suffix).ok_or_else(|| SUFFIX.to_owned())?;
        match Self::quick(text, &pieces, format, exponent) {
            Some(quantity) => Ok(quantity),
            None => Self::slow(&pieces, format, exponent),
        }
    }

    /// The way of almost all amounts; only here a text is kept.
    fn quick(text: &str, pieces: &Pieces<'_>, format: Format, exponent: i32) -> Option<Self> {
        let whole = i32::try_from(pieces.whole.len()).ok()?;
        let fraction = i32::try_from(pieces.fraction.len()).ok()?;
        let (precision, mantissa, scale) = match format {
            Format::BinarySi if fraction > 0 => return None,
            Format::BinarySi => (15 - whole - exponent * 3 / 10 - 1, 1_i64 << exponent, 0),
            _ => (18_i32.checked_sub(whole.checked_add(fraction)?)?, 1, exponent),
        };
        let scale = scale - fraction;
        if precision < 0 || scale < NANO {
            return None;
        }
        let shifted = format!("{}{}", pieces.whole, pieces.fraction);
        let number: i64 = shifted.parse().ok()?;
        let product = number.checked_mul(mantissa)?;
        let keep = match format {
            Format::BinarySi => number & 7 != 0,
            _ => scale % 3 == 0 && !shifted.ends_with("000") && !shifted.starts_with('0'),
        };
        let value = i128::from(if pieces.negative { -product } else { product });
        Some(Self { value, scale, format, text: keep.then(|| text.into()) })
    }

    fn slow(pieces: &Pieces<'_>, format: Format, exponent: i32) -> Result<Self, String> {
        let numeric = || NUMERIC.to_owned();
        let number = pieces.number.strip_prefix(['-', '+']).unwrap_or(pieces.number);
        if !number.bytes().any(|b| b.is_ascii_digit()) {
            return Err(numeric());
        }
        let mut all = format!("{}{}", pieces.whole, pieces.fraction);
        let mut scale = -i32::try_from(pieces.fraction.len()).map_err(|_| numeric())?;
        if format != Format::BinarySi {
            scale += exponent;
        }
        // Digits far behind the point only matter in that there are any.
        let fine = if format == Format::BinarySi { NANO - 20 } else { NANO };
        let mut lost = false;
        if scale < fine {
            let cut = usize::try_from(fine - scale).map_err(|_| numeric())?;
            let kept = all.len().saturating_sub(cut);
            lost = all[kept..].bytes().any(|b| b != b'0');
            all.truncate(kept);
            scale = fine;
        }
        let all = all.trim_start_matches('0');
        if all.len() > MAX_DIGITS {
            return Err(numeric());
        }
        let mut value: i128 =
            if all.is_empty() { 0 } else { all.parse().map_err(|_| numeric())? };
        value += i128::from(lost);
        let mut format = format;
        if format == Format::BinarySi {
            value = value.checked_mul(1 << exponent).ok_or_else(numeric)?;
            (value, scale) = raised(value, scale, NANO).0;
            let cap = Self { value: i64::MAX.into(), scale: 0, format, text: None };
            let here = Self { value, scale, format, text: None };
            if here > cap {
                (value, scale) = (cap.value, 0);
            } else if value > 0 && here < Self::new(1, format) {
                format = Format::DecimalSi;
            }
        }
        Ok(Self { value: if pieces.negative { -value } else { value }, scale, format, text: None })
    }

    /// The family of its suffixes.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.value == 0
    }

    /// Whether it is less than nothing.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.value < 0
    }

    /// The amount as a whole number, rounded away from zero and kept within its bounds.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.scaled(0)
    }

    /// The amount in thousandths, rounded away from zero and kept within its bounds.
    #[must_use]
    pub fn milli_value(&self) -> i64 {
        self.scaled(-3)
    }

    fn scaled(&self, scale: i32) -> i64 {
        let ((value, left), _) = raised(self.value, self.scale, scale);
        let bound = || if value < 0 { i64::MIN } else { i64::MAX };
        let Ok(times) = u32::try_from(left - scale) else { return bound() };
        let all = 10_i128.checked_pow(times).and_then(|power| value.checked_mul(power));
        match all {
            _ if value == 0 => 0,
            Some(all) => i64::try_from(all).unwrap_or_else(|_| bound()),
            None => bound(),
        }
    }

    /// The sum. A zero takes the other's family.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        let scale = if self.is_zero() {
            other.scale
        } else if other.is_zero() {
            self.scale
        } else {
            self.scale.min(other.scale)
        };
        let value = lowered(self, scale).saturating_add(lowered(other, scale));
        Self { value, scale, format, text: None }
    }

    /// The difference. A zero takes the other's family.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.plus(&Self { value: -other.value, text: None, ..other.clone() })
    }

    /// The amount so many times.
    #[must_use]
    pub fn times(&self, factor: i64) -> Self {
        let value = self.value.saturating_mul(factor.into());
        Self { value, text: None, ..self.clone() }
    }
}

/// A value at a scale that is at least `scale`, rounded away from zero, and whether it is exact.
fn raised(value: i128, from: i32, scale: i32) -> ((i128, i32), bool) {
    if from >= scale {
        return ((value, from), true);
    }
    let power = u32::try_from(scale - from).ok().and_then(|by| 10_i128.checked_pow(by));
    let (whole, rest) = power.map_or((0, value), |power| (value / power, value % power));
    ((whole + rest.signum(), scale), rest == 0)
}

/// The value of an amount at a scale that is not above its own; saturates.
fn lowered(of: &Quantity, scale: i32) -> i128 {
    if of.value == 0 {
        return 0;
    }
    let power = u32::try_from(of.scale - scale).ok().and_then(|by| 10_i128.checked_pow(by));
    let bound = if of.value < 0 { i128::MIN } else { i128::MAX };
    power.and_then(|power| of.value.checked_mul(power)).unwrap_or(bound)
}

fn without_factors(mut value: i128, base: i128) -> (i128, i32) {
    let mut times = 0;
    while value != 0 && value % base == 0 {
        value /= base;
        times += 1;
    }
    (value, times)
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        let signs = self.value.signum().cmp(&other.value.signum());
        if signs != Ordering::Equal || self.value == 0 {
            return signs;
        }
        let scale = self.scale.min(other.scale);
        lowered(self, scale).cmp(&lowered(other, scale))
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.text {
            return f.write_str(text);
        }
        if self.value == 0 {
            return f.write_str("0");
        }
        let ((rounded, left), exact) = raised(self.value, self.scale, 0);
        let mut format = self.format;
        if format == Format::BinarySi {
            let limit = Self::new(1024, format);
            let small = *self < limit && *self > Self::new(-1024, format);
            if small || !exact {
                format = Format::DecimalSi;
            }
        }
        if format == Format::BinarySi {
            let all = lowered(&Self { value: rounded, scale: left, format, text: None }, 0);
            let (number, times) = without_factors(all, 1024);
            let suffix = BINARY.iter().find(|(_, exponent)| *exponent == times * 10);
            return write!(f, "{number}{}", suffix.map_or("", |(name, _)| name));
        }
        let (mut number, times) = without_factors(self.value, 10);
        let mut exponent = self.scale + times;
        while exponent % 3 != 0 {
            number = number.saturating_mul(10);
            exponent -= 1;
        }
        match format {
            Format::DecimalExponent if exponent == 0 => write!(f, "{number}"),
            Format::DecimalExponent => write!(f, "{number}e{exponent}"),
            _ => {
                let suffix = DECIMAL.iter().find(|(_, power)| *power == exponent);
                write!(f, "{number}{}", suffix.map_or("", |(name, _)| name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_brought_to_their_canonical_text() {
        for (text, expected) in [
            ("1000m", "1"),
            ("100m", "100m"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1024Ki", "1Mi"),
            ("0", "0"),
            ("0Mi", "0"),
            ("1e3", "1e3"),
            ("1500", "1500"),
            ("2000", "2k"),
            ("0.1n", "1n"),
            ("-5", "-5"),
            ("1.1Ki", "1126400m"),
            ("100Ei", "9223372036854775807"),
        ] {
            assert_eq!(canonical(text).unwrap(), expected, "{text}");
        }
        assert_eq!(canonical("abc").unwrap_err(), FORMAT_WRONG);
        assert_eq!(canonical("1x").unwrap_err(), FORMAT_WRONG);
        assert_eq!(canonical("1Kn").unwrap_err(), SUFFIX);
    }

    #[test]
    fn amounts_are_compared_and_added_exactly() {
        let read = |text: &str| Quantity::parse(text).unwrap();
        assert!(read("1Gi") > read("1G"));
        assert_eq!(read("1000m"), read("1"));
        assert_eq!(read("1").plus(&read("500m")).to_string(), "1500m");
        assert_eq!(read("0").plus(&read("128Mi")).to_string(), "128Mi");
        assert_eq!(read("1Gi").minus(&read("512Mi")).to_string(), "512Mi");
        assert_eq!(read("1500m").value(), 2);
        assert_eq!(read("-1500m").value(), -2);
        assert_eq!(read("1").milli_value(), 1000);
        assert_eq!(read("1e30").value(), i64::MAX);
        assert!(read("1e100") > read("1e90"));
    }
}
