//! What the cells of `kubectl get` have in common: names, ages, labels, selectors.
//!
//! People's scripts cut these texts apart, so they are upstream's to the byte: `3m10s`, `<none>`,
//! `<unset>`, `<unknown>`.

use std::cmp::Ordering;

use serde_json::Value;

use super::{CellType, Column};
use crate::object::{self, Object};

/// A column of text.
pub(super) const fn text(name: &'static str, description: &'static str) -> Column {
    Column { name, cell: CellType::Text, format: "", description, priority: 0 }
}

/// A column of text that only `-o wide` shows.
pub(super) const fn wide(name: &'static str, description: &'static str) -> Column {
    Column { name, cell: CellType::Text, format: "", description, priority: 1 }
}

/// A column of whole numbers.
pub(super) const fn integer(name: &'static str, description: &'static str) -> Column {
    Column { name, cell: CellType::Integer, format: "", description, priority: 0 }
}

/// The column of names, which kubectl prefixes with kinds where several are shown.
pub(super) const NAME: Column = Column {
    name: "Name",
    cell: CellType::Text,
    format: "name",
    description: "The object's name.",
    priority: 0,
};

/// How long ago an object was created.
pub(super) const AGE: Column = text("Age", "How long ago it was created.");

/// When an object was created: for kinds whose rows nobody designed.
pub(super) const CREATED_AT: Column = Column {
    name: "Created At",
    cell: CellType::Date,
    format: "",
    description: "When it was created.",
    priority: 0,
};

/// The columns that all kinds with a pod template share.
pub(super) const CONTAINERS: Column = wide("Containers", "The names of the template's containers.");
/// See [`CONTAINERS`].
pub(super) const IMAGES: Column = wide("Images", "The images of the template's containers.");
/// See [`CONTAINERS`].
pub(super) const SELECTOR: Column = wide("Selector", "Which pods belong to it.");

/// The cells of a kind whose rows nobody designed.
pub(super) fn name_and_creation(object: &Object, _now: i64) -> Vec<Value> {
    vec![name(object), object::text(object, &["metadata", "creationTimestamp"]).into()]
}

/// The cell of the name.
pub(super) fn name(object: &Object) -> Value {
    object::name(object).into()
}

/// The cell of the age.
pub(super) fn age(object: &Object, now: i64) -> Value {
    since(object::text(object, &["metadata", "creationTimestamp"]), now).into()
}

/// A number of the status or the spec, 0 where there is none.
pub(super) fn count(object: &Object, path: &[&str]) -> i64 {
    object::number(object, path).unwrap_or(0)
}

/// A text, or `otherwise` where there is none.
pub(super) fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// How long ago a time was: `<unknown>` for none.
pub(super) fn since(time: &str, now: i64) -> String {
    seconds(time).map_or_else(|| "<unknown>".to_owned(), |then| human_duration(now - then))
}

/// Seconds since 1970 of a time in RFC 3339, with or without a fraction.
pub(super) fn seconds(time: &str) -> Option<i64> {
    let number = |from: usize, to: usize| time.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let zone = time.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone.as_bytes().first()? {
        b'Z' | b'z' => 0,
        sign => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let east = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
            if *sign == b'-' { -east } else { east }
        }
    };
    Some(days_before(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// Days from 1970 to a day of the Gregorian calendar. Years start in March, so that the day that
/// is sometimes there is the last one.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let months_since_march = (month + 9) % 12;
    let days_in_year = (153 * months_since_march + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + days_in_year - 719_468
}

/// A time span as `kubectl` shows it: two or three figures that matter.
pub(super) fn human_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |whole: i64, unit: &str, rest: i64, small: &str| {
        if rest == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit}{rest}{small}") }
    };
    match () {
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => two(days, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{days}d"),
        () if hours < 24 * 365 * 8 => two(years, "y", days % 365, "d"),
        () => format!("{years}y"),
    }
}

/// Labels as one text: `a=1,b=2`, `<none>` for none.
pub(super) fn labels(labels: Option<&Object>) -> String {
    let mut pairs: Vec<(&str, &str)> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort_unstable();
    let texts: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    or(&texts.join(","), "<none>").to_owned()
}

/// A label selector as one text: `a=1,b in (x,y),!c`; empty for one that says nothing.
pub(super) fn selector(selector: Option<&Object>) -> String {
    let Some(selector) = selector else { return String::new() };
    let mut terms: Vec<(String, String)> = Vec::new();
    for (key, value) in object::map(selector, &["matchLabels"]).into_iter().flatten() {
        terms.push((key.clone(), format!("{key}={}", value.as_str().unwrap_or_default())));
    }
    for term in object::list(selector, &["matchExpressions"]).iter().filter_map(Value::as_object) {
        let key = object::text(term, &["key"]);
        let values = object::list(term, &["values"]).iter().filter_map(Value::as_str);
        let mut values: Vec<&str> = values.collect();
        values.sort_unstable();
        let values = values.join(",");
        let shown = match object::text(term, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return "<error>".to_owned(),
        };
        terms.push((key.to_owned(), shown));
    }
    terms.sort_by(|a, b| a.0.cmp(&b.0).then(Ordering::Equal));
    terms.into_iter().map(|term| term.1).collect::<Vec<_>>().join(",")
}

/// The names and the images of a pod spec's containers.
pub(super) fn containers(spec: Option<&Object>) -> [Value; 2] {
    let containers = spec.map_or(&[][..], |spec| object::list(spec, &["containers"]));
    ["name", "image"].map(|field| {
        let of_each = containers.iter().filter_map(Value::as_object);
        of_each
            .map(|container| object::text(container, &[field]))
            .collect::<Vec<_>>()
            .join(",")
            .into()
    })
}

/// The first items of many: `a,b,c + 2 more...`, `<unset>` for none.
pub(super) fn first_of(items: &[String]) -> String {
    /// More than this is noise in a table.
    const SHOWN: usize = 3;
    if items.len() > SHOWN {
        return format!("{} + {} more...", items[..SHOWN].join(","), items.len() - SHOWN);
    }
    or(&items.join(","), "<unset>").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_or_three_figures() {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        for (seconds, shown) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (181, "3m1s"),
            (600, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 120, "3h2m"),
            (8 * HOUR + 120, "8h"),
            (47 * HOUR, "47h"),
            (2 * DAY, "2d"),
            (2 * DAY + HOUR, "2d1h"),
            (8 * DAY + HOUR, "8d"),
            (729 * DAY, "729d"),
            (731 * DAY, "2y1d"),
            (730 * DAY, "2y"),
            (8 * 365 * DAY, "8y"),
        ] {
            assert_eq!(human_duration(seconds), shown, "{seconds}");
        }
    }

    #[test]
    fn times_are_read_in_every_form_that_is_written() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2000-02-29T00:00:01Z"), Some(951_782_401));
        assert_eq!(seconds("2026-11-21T16:26:32.123456Z"), Some(1_795_278_392));
        assert_eq!(seconds("2026-11-21T17:26:32+01:00"), Some(1_795_278_392));
        assert_eq!(seconds(""), None);
        assert_eq!(seconds("yesterday"), None);
        assert_eq!(since("", 5), "<unknown>");
    }

    #[test]
    fn selectors_and_labels_are_sorted() {
        let labels_of = serde_json::json!({"b": "2", "a": "1"});
        assert_eq!(labels(labels_of.as_object()), "a=1,b=2");
        assert_eq!(labels(None), "<none>");
        let it = serde_json::json!({
            "matchLabels": {"z": "1", "b": "2"},
            "matchExpressions": [
                {"key": "c", "operator": "NotIn", "values": ["y", "x"]},
                {"key": "a", "operator": "DoesNotExist"},
            ],
        });
        assert_eq!(selector(it.as_object()), "!a,b=2,c notin (x,y),z=1");
        assert_eq!(selector(None), "");
    }

    #[test]
    fn three_of_many_are_shown() {
        let items: Vec<String> = (1..=5).map(|n| n.to_string()).collect();
        assert_eq!(first_of(&items), "1,2,3 + 2 more...");
        assert_eq!(first_of(&items[..3]), "1,2,3");
        assert_eq!(first_of(&[]), "<unset>");
    }
}
