//! Times and spans of time as Go's JSON writes them.
//!
//! No calendar crate: all that is needed is the day of a date and the date of a day, in the
//! proleptic Gregorian calendar, and the error texts have to be Go's.

/// The seconds of Go's zero time, the start of the year 1: what JSON shows as `null`.
pub const ZERO: i64 = -62_135_596_800;

const DAY: i64 = 86_400;
const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
const LAYOUT_MICRO: &str = "2006-01-02T15:04:05.000000Z07:00";

/// A time in seconds since 1970 as `2006-01-02T15:04:05Z`; `None` outside of the years 0 to 9999.
#[must_use]
pub fn format(seconds: i64) -> Option<String> {
    let (date, clock) = parts(seconds)?;
    Some(format!("{date}T{clock}Z"))
}

/// The same with microseconds.
#[must_use]
pub fn format_micro(seconds: i64, micros: i32) -> Option<String> {
    let carry = i64::from(micros.div_euclid(1_000_000));
    let (date, clock) = parts(seconds.checked_add(carry)?)?;
    Some(format!("{date}T{clock}.{:06}Z", micros.rem_euclid(1_000_000)))
}

fn parts(seconds: i64) -> Option<(String, String)> {
    let (day, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = date_of(day)?;
    let date = format!("{year:04}-{month:02}-{day:02}");
    Some((date, format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)))
}

/// Days since 1970 of a date. Years start in March here, so that the day of February that not
/// every year has is the last one.
fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn date_of(day: i64) -> Option<(i64, i64, i64)> {
    let day = day.checked_add(719_468)?;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (0..=9999).contains(&year).then_some((year, month, date))
}

/// Seconds since 1970 and nanoseconds of a time, with or without a fraction.
#[must_use]
pub fn parse(text: &str) -> Option<(i64, u32)> {
    Reader { layout: LAYOUT, text, rest: text }.time(Fraction::Any).ok()
}

/// Brings a time to seconds and UTC: `2006-01-02T15:04:05Z`; `None` for Go's zero time.
///
/// # Errors
///
/// Fails with the text of Go's `time.Parse`.
pub fn normal(text: &str) -> Result<Option<String>, String> {
    let (seconds, nanos) = Reader { layout: LAYOUT, text, rest: text }.time(Fraction::Any)?;
    Ok((seconds != ZERO || nanos != 0).then(|| format(seconds)).flatten())
}

/// Brings a time to microseconds and UTC; the text must have six digits behind the point.
///
/// # Errors
///
/// Fails with the text of Go's `time.Parse`.
pub fn normal_micro(text: &str) -> Result<Option<String>, String> {
    let reader = Reader { layout: LAYOUT_MICRO, text, rest: text };
    let (seconds, nanos) = reader.time(Fraction::Six)?;
    let micros = i32::try_from(nanos / 1000).expect("a second has a million of them");
    Ok((seconds != ZERO || nanos != 0).then(|| format_micro(seconds, micros)).flatten())
}

#[derive(Clone, Copy, PartialEq)]
enum Fraction {
    Any,
    Six,
}

/// Reads a time as Go's `time.Parse` does, down to what it complains about.
struct Reader<'a> {
    layout: &'static str,
    text: &'a str,
    rest: &'a str,
}

impl Reader<'_> {
    fn time(mut self, fraction: Fraction) -> Result<(i64, u32), String> {
        let year = self.digits(4, "2006")?;
        self.literal("-")?;
        let month = self.digits(2, "01")?;
        if !(1..=12).contains(&month) {
            return Err(self.out_of_range("month"));
        }
        self.literal("-")?;
        let day = self.digits(2, "02")?;
        self.literal("T")?;
        let hour = self.hour()?;
        self.literal(":")?;
        let minute = self.digits(2, "04")?;
        if minute > 59 {
            return Err(self.out_of_range("minute"));
        }
        self.literal(":")?;
        let second = self.digits(2, "05")?;
        if second > 59 {
            return Err(self.out_of_range("second"));
        }
        let nanos = self.fraction(fraction)?;
        let offset = self.zone()?;
        if !self.rest.is_empty() {
            return Err(format!("parsing time {:?}: extra text: {:?}", self.text, self.rest));
        }
        if day < 1 || day > days_in(year, month) {
            return Err(self.out_of_range("day"));
        }
        let seconds = day_of(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset;
        Ok((seconds, nanos))
    }

    fn cannot(&self, element: &str) -> String {
        format!(
            "parsing time {:?} as {:?}: cannot parse {:?} as {element:?}",
            self.text, self.layout, self.rest
        )
    }

    fn out_of_range(&self, what: &str) -> String {
        format!("parsing time {:?}: {what} out of range", self.text)
    }

    fn digits(&mut self, count: usize, element: &str) -> Result<i64, String> {
        let number = self.rest.get(..count).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let number = number.ok_or_else(|| self.cannot(element))?;
        let value = number.parse().expect("a few digits are a number");
        self.rest = &self.rest[count..];
        Ok(value)
    }

    /// The hour may have one digit.
    fn hour(&mut self) -> Result<i64, String> {
        let two = self.rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        let hour = self.digits(if two { 2 } else { 1 }, "15")?;
        if hour > 23 { Err(self.out_of_range("hour")) } else { Ok(hour) }
    }

    fn literal(&mut self, literal: &str) -> Result<(), String> {
        self.rest = self.rest.strip_prefix(literal).ok_or_else(|| self.cannot(literal))?;
        Ok(())
    }

    fn fraction(&mut self, fraction: Fraction) -> Result<u32, String> {
        let digits = self.rest.strip_prefix(['.', ',']).unwrap_or("");
        let length = digits.bytes().take_while(u8::is_ascii_digit).count();
        let length = match fraction {
            Fraction::Any if length == 0 => return Ok(0),
            Fraction::Any => length,
            Fraction::Six if length < 6 => return Err(self.cannot(".000000")),
            Fraction::Six => 6,
        };
        self.rest = &self.rest[1 + length..];
        let nine: String = digits[..length].chars().chain("000000000".chars()).take(9).collect();
        Ok(nine.parse().expect("nine digits are a number"))
    }

    /// Seconds east of Greenwich.
    fn zone(&mut self) -> Result<i64, String> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        let bytes = self.rest.as_bytes();
        let number = |at: usize| -> Option<i64> {
            let text = self.rest.get(at..at + 2)?;
            text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
        };
        let (sign, colon) = (bytes.first(), bytes.get(3));
        match (sign, number(1), colon, number(4)) {
            (Some(sign @ (b'+' | b'-')), Some(hours), Some(b':'), Some(minutes))
                if hours <= 24 && minutes < 60 =>
            {
                self.rest = &self.rest[6..];
                let seconds = hours * 3600 + minutes * 60;
                Ok(if *sign == b'-' { -seconds } else { seconds })
            }
            _ => Err(self.cannot("Z07:00")),
        }
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    day_of(next_year, next, 1) - day_of(year, month, 1)
}

const UNITS: [(&str, i128); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
];
const HOUR: i128 = 3_600_000_000_000;

/// A span of nanoseconds as Go writes it: `1h0m0.5s`.
#[must_use]
pub fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let all = nanos.unsigned_abs();
    if all == 0 {
        return "0s".to_owned();
    }
    if all < 1_000_000_000 {
        let (unit, size) = match all {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{sign}{}{unit}", decimal(all, size));
    }
    let (minutes, rest) = (all / 60_000_000_000, all % 60_000_000_000);
    let seconds = decimal(rest, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

fn decimal(number: u64, unit: u64) -> String {
    let (whole, rest) = (number / unit, number % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
}

/// The nanoseconds of a span as Go writes it.
///
/// # Errors
///
/// Fails with the text of Go's `time.ParseDuration`.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let length = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(length);
        let unit_length = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_length);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || whole.len() > 18 || fraction.contains('.') {
            return Err(invalid());
        }
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let size = if unit == "h" {
            Some(HOUR)
        } else {
            UNITS.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size)
        };
        let size =
            size.ok_or_else(|| format!("time: unknown unit {unit:?} in duration {text:?}"))?;
        let whole: i128 =
            if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let fraction = &fraction[..fraction.len().min(15)];
        let part: i128 =
            if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| invalid())? };
        let scale = 10_i128.pow(u32::try_from(fraction.len()).expect("at most 15 digits"));
        total += whole * size + part * size / scale;
        rest = tail;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_to_text_and_back() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_732_199_194, "2024-11-21T14:26:34Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(format(seconds).unwrap(), text);
            assert_eq!(parse(text), Some((seconds, 0)));
        }
        assert_eq!(format(253_402_300_800), None);
        assert_eq!(format_micro(1, 5).unwrap(), "1970-01-01T00:00:01.000005Z");
    }

    #[test]
    fn times_are_brought_to_one_form_or_refused_in_the_words_of_go() {
        assert_eq!(normal("2024-01-01T12:00:00.9+02:00").unwrap().unwrap(), "2024-01-01T10:00:00Z");
        assert_eq!(normal("0001-01-01T00:00:00Z").unwrap(), None);
        assert_eq!(
            normal_micro("2024-01-01T12:00:00.000100-01:30").unwrap().unwrap(),
            "2024-01-01T13:30:00.000100Z"
        );
        let layout = "\"2006-01-02T15:04:05Z07:00\"";
        for (text, expected) in [
            ("abc", format!("parsing time \"abc\" as {layout}: cannot parse \"abc\" as \"2006\"")),
            (
                "2024-13-01T00:00:00Z",
                "parsing time \"2024-13-01T00:00:00Z\": month out of range".to_owned(),
            ),
            (
                "2023-02-29T00:00:00Z",
                "parsing time \"2023-02-29T00:00:00Z\": day out of range".to_owned(),
            ),
            (
                "2024-01-01T00:00:00",
                format!(
                    "parsing time \"2024-01-01T00:00:00\" as {layout}: cannot parse \"\" as \"Z07:00\""
                ),
            ),
            (
                "2024-01-01 00:00:00Z",
                format!(
                    "parsing time \"2024-01-01 00:00:00Z\" as {layout}: cannot parse \" 00:00:00Z\" as \"T\""
                ),
            ),
            (
                "2024-01-01T00:00:00Zx",
                "parsing time \"2024-01-01T00:00:00Zx\": extra text: \"x\"".to_owned(),
            ),
        ] {
            assert_eq!(normal(text).unwrap_err(), expected);
        }
        assert!(normal_micro("2024-01-01T00:00:00Z").is_err());
    }

    #[test]
    fn spans_go_to_text_and_back() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (-2_000_000, "-2ms"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(format_duration(nanos), text);
            assert_eq!(parse_duration(text), Ok(nanos));
        }
        assert_eq!(parse_duration("x").unwrap_err(), "time: invalid duration \"x\"");
        assert_eq!(parse_duration("1").unwrap_err(), "time: missing unit in duration \"1\"");
        assert_eq!(
            parse_duration("1x").unwrap_err(),
            "time: unknown unit \"x\" in duration \"1x\""
        );
    }
}
