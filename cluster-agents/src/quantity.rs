//! Amounts of resources: what `500m`, `1.5Gi` or `2e3` mean, in thousandths.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Thousandths of a unit: exact for every amount that a cluster can have.
pub(crate) type Milli = i128;

/// Amounts by resource name.
pub(crate) type Amounts = BTreeMap<String, Milli>;

/// Reads a quantity; what is finer than a thousandth is rounded up. `None` if it is not one.
pub(crate) fn parse(text: &str) -> Option<Milli> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '+' | '-' | '.')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let value: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (numerator, denominator) = factor(suffix)?;
    let denominator = denominator.checked_mul(10_i128.checked_pow(digits_of(fraction))?)?;
    let scaled = value.checked_mul(numerator)?.checked_mul(1000)?;
    let quotient = scaled / denominator;
    let rest = i128::from(scaled % denominator != 0);
    Some(sign * (quotient + rest))
}

fn digits_of(fraction: &str) -> u32 {
    u32::try_from(fraction.len()).unwrap_or(u32::MAX)
}

fn factor(suffix: &str) -> Option<(i128, i128)> {
    let exact = match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        other => {
            let exponent: i32 = other.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    };
    Some(exact)
}

/// What a list of quantities says; what cannot be read counts as nothing.
pub(crate) fn amounts(list: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    let read = list.into_iter().flatten();
    read.filter_map(|(name, quantity)| Some((name.clone(), parse(&quantity.0)?))).collect()
}

pub(crate) fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *to.entry(name.clone()).or_default() += amount;
    }
}

pub(crate) fn raise(to: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let entry = to.entry(name.clone()).or_default();
        *entry = (*entry).max(*amount);
    }
}

/// Writes an amount: `cpu` in thousandths where it needs them, memory in powers of two where that
/// is exact.
pub(crate) fn print(name: &str, amount: Milli) -> String {
    if amount % 1000 != 0 {
        return format!("{amount}m");
    }
    let units = amount / 1000;
    let binary = name.ends_with("memory") || name.contains("storage");
    if binary && units != 0 {
        for (shift, suffix) in [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")] {
            if units % (1_i128 << shift) == 0 {
                return format!("{}{suffix}", units >> shift);
            }
        }
    }
    units.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_every_notation() {
        let cases = [
            ("1", Some(1_000)),
            ("500m", Some(500)),
            ("0.1", Some(100)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("2e3", Some(2_000_000)),
            ("1E", Some(1_000_000_000_000_000_000_000)),
            ("100n", Some(1)),
            ("-3", Some(-3_000)),
            ("12Mi", Some(12_582_912_000)),
            ("", None),
            ("abc", None),
            ("1Q", None),
        ];
        for (text, amount) in cases {
            assert_eq!(parse(text), amount, "{text}");
        }
    }

    #[test]
    fn amounts_are_written_the_short_way() {
        assert_eq!(print("cpu", 1_500), "1500m");
        assert_eq!(print("cpu", 2_000), "2");
        assert_eq!(print("memory", 1_073_741_824_000), "1Gi");
        assert_eq!(print("pods", 0), "0");
    }
}
