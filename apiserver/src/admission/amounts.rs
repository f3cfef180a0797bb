//! Amounts of resources by their names, and how to reckon with them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::{self, Object};
use crate::schema::quantity::{Format, Quantity};

/// Amounts by the names of resources.
pub(super) type Amounts = BTreeMap<String, Quantity>;

/// The amount that a value says; one that is no amount is none (validation complains of it).
pub(super) fn amount(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

/// The amounts at a path.
pub(super) fn amounts(object: &Object, path: &[&str]) -> Amounts {
    let map = object::map(object, path);
    let pair = |(name, value): (&String, &Value)| Some((name.clone(), amount(value)?));
    map.into_iter().flatten().filter_map(pair).collect()
}

/// So many of something.
pub(super) fn count(number: usize) -> Quantity {
    Quantity::new(i64::try_from(number).unwrap_or(i64::MAX), Format::DecimalSi)
}

/// Adds each of `more`.
pub(super) fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = to.get(name).map_or_else(|| amount.clone(), |known| known.plus(amount));
        to.insert(name.clone(), sum);
    }
}

/// Takes the greater of each.
pub(super) fn raise(to: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        if to.get(name).is_none_or(|known| amount > known) {
            to.insert(name.clone(), amount.clone());
        }
    }
}

/// What `new` has more than `old`; never less than nothing.
pub(super) fn growth(new: &Amounts, old: &Amounts) -> Amounts {
    let nothing = count(0);
    let grown = |(name, amount): (&String, &Quantity)| {
        let difference = old.get(name).map_or_else(|| amount.clone(), |old| amount.minus(old));
        (name.clone(), if difference > nothing { difference } else { nothing.clone() })
    };
    new.iter().map(grown).collect()
}

/// Only those of these names.
pub(super) fn only(amounts: &Amounts, wanted: impl Fn(&str) -> bool) -> Amounts {
    amounts
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, amount)| (name.clone(), amount.clone()))
        .collect()
}

/// `cpu=1,pods=2`.
pub(super) fn show(amounts: &Amounts) -> String {
    let parts: Vec<String> =
        amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
    parts.join(",")
}

/// The amounts as objects have them.
pub(super) fn to_value(amounts: &Amounts) -> Value {
    let pair = |(name, amount): (&String, &Quantity)| (name.clone(), amount.to_string().into());
    Value::Object(amounts.iter().map(pair).collect())
}
