//! Amounts of resources in trees: read, and written in the one way.

use serde_json::Value;

use super::tree;
use crate::object::Object;
use crate::schema::quantity::Quantity;

/// Reads an amount from a text or a number.
pub(super) fn read(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

/// Whether an amount is a whole number.
pub(super) fn is_whole(amount: &Quantity) -> bool {
    amount.milli_value() % 1000 == 0
}

/// Writes the amounts of a list of resources in the one way, rounded up to thousandths.
pub(super) fn normalise_list(object: &mut Object, path: &[&str]) {
    for value in tree::existing(object, path).into_iter().flatten().map(|(_, value)| value) {
        if let Some(amount) = read(value) {
            *value = rounded(amount).to_string().into();
        }
    }
}

/// Writes one amount in the one way.
pub(super) fn normalise(object: &mut Object, field: &str) {
    if let Some(amount) = object.get(field).and_then(read) {
        object.insert(field.to_owned(), amount.to_string().into());
    }
}

/// Rounds to thousandths, away from zero. What is too much to be counted in thousandths is whole.
fn rounded(amount: Quantity) -> Quantity {
    let milli = Quantity::milli(amount.milli_value(), amount.format());
    let grew = if amount.is_negative() { milli < amount } else { milli > amount };
    if grew { milli } else { amount }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_in_lists_are_rounded_up_to_thousandths() {
        for (written, shown) in [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1n", "1m"),
            ("1.0001", "1001m"),
            ("1.5Gi", "1536Mi"),
            ("10E", "10E"),
            ("0", "0"),
        ] {
            let mut list = serde_json::json!({"limits": {"cpu": written}});
            normalise_list(list.as_object_mut().unwrap(), &["limits"]);
            assert_eq!(list["limits"]["cpu"], shown, "{written}");
        }
    }

    #[test]
    fn whole_numbers_are_told_from_parts() {
        for (written, whole) in [("1", true), ("1500m", false), ("2k", true), ("0.5Ki", true)] {
            assert_eq!(is_whole(&Quantity::parse(written).unwrap()), whole, "{written}");
        }
    }
}
