//! Whether labels match what somebody selects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

pub(crate) type Labels = BTreeMap<String, String>;

/// Whether `labels` have every entry of `wanted`.
pub(crate) fn include(labels: Option<&Labels>, wanted: &Labels) -> bool {
    wanted.iter().all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
}

/// Whether a selector takes these labels. An empty one takes everything; one with an operator that
/// is not known takes nothing.
pub(crate) fn select(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    if selector.match_labels.as_ref().is_some_and(|wanted| !include(labels, wanted)) {
        return false;
    }
    let terms = selector.match_expressions.as_deref().unwrap_or_default();
    terms.iter().all(|term| {
        let value = labels.and_then(|labels| labels.get(&term.key));
        let values = term.values.as_deref().unwrap_or_default();
        meets(&term.operator, value, values)
    })
}

/// One requirement, of a selector of labels or of nodes.
pub(crate) fn meets(operator: &str, value: Option<&String>, values: &[String]) -> bool {
    match operator {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(value, values).is_some_and(|(a, b)| a > b),
        "Lt" => compare(value, values).is_some_and(|(a, b)| a < b),
        _ => false,
    }
}

fn compare(value: Option<&String>, values: &[String]) -> Option<(i64, i64)> {
    let [bound] = values else { return None };
    Some((value?.parse().ok()?, bound.parse().ok()?))
}

/// Whether a selector selects nothing in particular.
pub(crate) fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn every_operator_means_what_the_api_says() {
        let value = |text: &str| Some(text.to_owned());
        let cases = [
            ("In", value("a"), "a b", true),
            ("In", None, "a", false),
            ("NotIn", value("a"), "a", false),
            ("NotIn", None, "a", true),
            ("Exists", value(""), "", true),
            ("DoesNotExist", None, "", true),
            ("Gt", value("5"), "4", true),
            ("Gt", value("x"), "4", false),
            ("Lt", value("3"), "4", true),
            ("Like", value("3"), "3", false),
        ];
        for (operator, value, values, met) in cases {
            let values: Vec<String> = values.split_whitespace().map(str::to_owned).collect();
            assert_eq!(meets(operator, value.as_ref(), &values), met, "{operator} {value:?}");
        }
    }

    #[test]
    fn a_selector_needs_all_of_its_labels() {
        let selector = LabelSelector {
            match_labels: Some(labels("app=web,tier=front")),
            match_expressions: None,
        };
        assert!(select(&selector, Some(&labels("app=web,tier=front,x=y"))));
        assert!(!select(&selector, Some(&labels("app=web"))));
        assert!(!select(&selector, None));
    }
}
