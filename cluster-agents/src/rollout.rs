//! The arithmetic of rollouts: how many pods more, how many fewer, which replica set is the new
//! one. Numbers and names only; `deployment` decides with them.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::kinds::Watched;
use crate::pods;

pub(crate) const HASH_LABEL: &str = "pod-template-hash";
pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(crate) const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(crate) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(crate) const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of a deployment that its replica sets do not inherit.
pub(crate) const NOT_INHERITED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
];

pub(crate) fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub(crate) fn is_rolling(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate")
}

/// How many pods a rollout may have above and below the wanted number: never both none.
pub(crate) fn fenceposts(deployment: &Deployment) -> (i32, i32) {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let wanted = wanted(deployment);
    let surge = scaled(rolling.and_then(|r| r.max_surge.as_ref()), wanted, Round::Up);
    let missing = scaled(rolling.and_then(|r| r.max_unavailable.as_ref()), wanted, Round::Down);
    if surge == 0 && missing == 0 { (0, 1) } else { (surge, missing) }
}

#[derive(Clone, Copy)]
enum Round {
    Up,
    Down,
}

/// A number, or a share of `total`. What cannot be read counts as 0; the server does not let it in.
fn scaled(value: Option<&IntOrString>, total: i32, round: Round) -> i32 {
    match value {
        None => 0,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => {
            let percent = text.strip_suffix('%').and_then(|text| text.parse::<i64>().ok());
            let product = percent.unwrap_or(0).saturating_mul(i64::from(total));
            let number = match round {
                Round::Up => (product + 99).div_euclid(100),
                Round::Down => product.div_euclid(100),
            };
            i32::try_from(number).unwrap_or(i32::MAX)
        }
    }
}

pub(crate) fn max_surge(deployment: &Deployment) -> i32 {
    if is_rolling(deployment) { fenceposts(deployment).0 } else { 0 }
}

pub(crate) fn max_unavailable(deployment: &Deployment) -> i32 {
    let wanted = wanted(deployment);
    if !is_rolling(deployment) || wanted == 0 {
        return 0;
    }
    fenceposts(deployment).1.min(wanted)
}

pub(crate) fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub(crate) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

pub(crate) fn sizes<'a>(sets: impl IntoIterator<Item = &'a ReplicaSet>) -> i32 {
    sets.into_iter().map(size).sum()
}

/// How large the new set may be by now, with `all` sets counted.
pub(crate) fn new_size(deployment: &Deployment, all: i32, new: i32) -> i32 {
    let wanted = wanted(deployment);
    if !is_rolling(deployment) {
        return wanted;
    }
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = scaled(rolling.and_then(|r| r.max_surge.as_ref()), wanted, Round::Up);
    let most = wanted.saturating_add(surge);
    if all >= most { new } else { new + (most - all).min(wanted - new) }
}

/// How much a set grows or shrinks when the whole deployment does, in proportion to its size.
pub(crate) fn proportion(set: &ReplicaSet, deployment: &Deployment, add: i32, added: i32) -> i32 {
    if size(set) == 0 || add == 0 || add == added {
        return 0;
    }
    let fraction = fraction(set, deployment);
    let allowed = add - added;
    if add > 0 { fraction.min(allowed) } else { fraction.max(allowed) }
}

fn fraction(set: &ReplicaSet, deployment: &Deployment) -> i32 {
    if wanted(deployment) == 0 {
        return -size(set);
    }
    let most = i64::from(wanted(deployment) + max_surge(deployment));
    let noted = number_annotation(set, MAXIMUM).filter(|most| *most != 0);
    let status = deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
    let before = i64::from(noted.unwrap_or(status));
    if before == 0 {
        return 0;
    }
    let product = i64::from(size(set)) * most;
    let rounded = (2 * product + before).div_euclid(2 * before);
    i32::try_from(rounded).unwrap_or(i32::MAX) - size(set)
}

pub(crate) fn annotation<'a, K: Watched>(object: &'a K, name: &str) -> Option<&'a str> {
    object.metadata().annotations.as_ref()?.get(name).map(String::as_str)
}

pub(crate) fn number_annotation<K: Watched>(object: &K, name: &str) -> Option<i32> {
    annotation(object, name)?.parse().ok().filter(|number| *number >= 0)
}

pub(crate) fn revision(set: &ReplicaSet) -> i64 {
    annotation(set, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Whether two templates are the same but for the label that tells replica sets apart.
pub(crate) fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    without_hash(a) == without_hash(b)
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(labels) = template.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove(HASH_LABEL);
    }
    template
}

/// The oldest set that has the deployment's template.
pub(crate) fn find_new<'a>(
    deployment: &Deployment,
    sets: impl Iterator<Item = &'a ReplicaSet>,
) -> Option<&'a ReplicaSet> {
    let template = &deployment.spec.as_ref()?.template;
    let same = sets.filter(|set| {
        let own = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
        own.is_some_and(|own| same_template(own, template))
    });
    same.min_by_key(|set| age(set))
}

/// Orders sets from the oldest to the newest.
pub(crate) fn age(set: &ReplicaSet) -> (Option<k8s_openapi::jiff::Timestamp>, Option<String>) {
    (pods::created(set), set.metadata.name.clone())
}

/// The name part by which replica sets of different templates differ.
pub(crate) fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let text = serde_json::to_vec(template).expect("objects of the API are maps with string keys");
    let more = collisions.map(i32::to_le_bytes).unwrap_or_default();
    let bytes = text.iter().chain(&more);
    let hash = bytes
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    // No vowels, and nothing that looks like another: no words by accident.
    let alphabet = b"bcdfghjklmnpqrstvwxz2456789";
    let digits = hash.to_string();
    digits.bytes().map(|digit| char::from(alphabet[usize::from(digit) % alphabet.len()])).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(wanted: i32, surge: &str, missing: &str) -> Deployment {
        let value = |text: &str| text.parse::<i32>().map_or_else(|_| json!(text), |n| json!(n));
        serde_json::from_value(json!({
            "metadata": {"name": "d"},
            "spec": {
                "replicas": wanted, "selector": {}, "template": {},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {
                    "maxSurge": value(surge), "maxUnavailable": value(missing)}},
            },
        }))
        .unwrap()
    }

    #[test]
    fn shares_round_up_for_surge_and_down_for_unavailable_and_are_never_both_none() {
        for (wanted, surge, missing, posts) in [
            (10, "25%", "25%", (3, 2)),
            (1, "25%", "25%", (1, 0)),
            (4, "0", "10%", (0, 1)),
            (10, "2", "0", (2, 0)),
        ] {
            assert_eq!(fenceposts(&deployment(wanted, surge, missing)), posts, "{wanted} {surge}");
        }
    }

    #[test]
    fn the_new_set_grows_by_what_surge_leaves() {
        let ten = deployment(10, "3", "2");
        assert_eq!(new_size(&ten, 10, 0), 3);
        assert_eq!(new_size(&ten, 13, 3), 3);
        assert_eq!(new_size(&ten, 8, 3), 8);
        assert_eq!(new_size(&ten, 2, 2), 10);
    }

    #[test]
    fn a_set_keeps_its_share_when_the_deployment_grows() {
        let mut set = ReplicaSet::default();
        set.spec.get_or_insert_default().replicas = Some(8);
        set.metadata.annotations =
            Some([(MAXIMUM.to_owned(), "13".to_owned())].into_iter().collect());
        let twenty = deployment(20, "3", "2");
        assert_eq!(proportion(&set, &twenty, 10, 0), 6, "8 of 13 is 14 of 23");
        assert_eq!(proportion(&set, &twenty, 10, 7), 3);
    }

    #[test]
    fn a_hash_depends_on_the_template_and_on_collisions() {
        let template = PodTemplateSpec::default();
        let plain = template_hash(&template, None);
        assert_ne!(plain, template_hash(&template, Some(1)));
        assert!(plain.len() <= 10 && !plain.contains(['a', 'e', '0', '1']));
    }
}
