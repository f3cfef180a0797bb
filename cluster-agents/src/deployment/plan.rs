//! One decision about a deployment while it is being worked out, on copies of its objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use super::{NAME, status};
use crate::action::{Action, Decision, Note, Step};
use crate::kinds::{self, Watched};
use crate::labels::Labels;
use crate::rollout::{self, DESIRED, HASH_LABEL, HISTORY, MAXIMUM, REVISION};
use crate::world::{FailureKind, World};

/// Characters of past revisions that a set remembers.
const HISTORY_MOST: usize = 2000;

/// The longest name of an object.
const NAME_MOST: usize = 253;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Known,
    /// The plan creates it; everything else is left to the next decision.
    Created,
}

pub(super) struct Plan<'a> {
    pub(super) now: Timestamp,
    pub(super) before: &'a Deployment,
    /// The deployment as it will be: only its status and its annotations differ.
    pub(super) after: Deployment,
    /// The set with the deployment's template.
    pub(super) new: Option<ReplicaSet>,
    /// All others, the oldest first.
    pub(super) old: Vec<ReplicaSet>,
    /// Names of sets that have to be written.
    changed: BTreeSet<String>,
    steps: Vec<Step>,
    events: Vec<Step>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(deployment: &'a Deployment, own: &[Arc<ReplicaSet>], now: Timestamp) -> Self {
        let new = rollout::find_new(deployment, own.iter().map(|set| &**set)).cloned();
        let name = new.as_ref().map(|set| set.name().to_owned());
        let others = own.iter().filter(|set| Some(set.name()) != name.as_deref());
        let mut old: Vec<ReplicaSet> = others.map(|set| (**set).clone()).collect();
        old.sort_by_key(rollout::age);
        Self {
            now,
            before: deployment,
            after: deployment.clone(),
            new,
            old,
            changed: BTreeSet::new(),
            steps: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.old.iter().chain(&self.new)
    }

    fn wanted(&self) -> i32 {
        rollout::wanted(self.before)
    }

    pub(super) fn status(&mut self) -> &mut DeploymentStatus {
        self.after.status.get_or_insert_default()
    }

    pub(super) fn is_complete(&self) -> bool {
        let status = self.before.status.clone().unwrap_or_default();
        status::is_complete(self.before, &status)
    }

    /// Whether the deployment has been scaled since its sets were sized.
    pub(super) fn is_scaled(&mut self) -> bool {
        self.sync_revision();
        let wanted = self.wanted();
        let mut active = self.all().filter(|set| rollout::size(set) > 0);
        active.any(|set| rollout::number_annotation(set, DESIRED).is_some_and(|n| n != wanted))
    }

    fn newest_old_revision(&self) -> i64 {
        self.old.iter().map(rollout::revision).max().unwrap_or(0)
    }

    /// Gives the new set, if there is one, its revision, and notes it on the deployment.
    pub(super) fn sync_revision(&mut self) {
        let revision = (self.newest_old_revision() + 1).to_string();
        let Some(mut set) = self.new.take() else { return };
        let changed = annotate(self.before, &mut set, &revision);
        let seconds = self.before.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
        let spec = set.spec.get_or_insert_default();
        let other = spec.min_ready_seconds.unwrap_or(0) != seconds.unwrap_or(0);
        spec.min_ready_seconds = seconds;
        if changed || other {
            self.changed.insert(set.name().to_owned());
        }
        let noted = rollout::annotation(&set, REVISION).unwrap_or_default().to_owned();
        self.note_revision(&noted);
        if status::has_deadline(self.before)
            && status::find(self.after.status.as_ref(), "Progressing").is_none()
        {
            let message = format!("Found new replica set \"{}\"", set.name());
            let condition =
                status::condition("Progressing", "True", "FoundNewReplicaSet", message, self.now);
            status::set(self.status(), condition);
        }
        self.new = Some(set);
    }

    fn note_revision(&mut self, revision: &str) {
        let annotations = self.after.metadata.annotations.get_or_insert_default();
        annotations.insert(REVISION.to_owned(), revision.to_owned());
        annotations.remove("deprecated.deployment.rollback.to");
    }

    pub(super) fn find_or_create_new(&mut self, world: &World) -> Found {
        if self.new.is_some() {
            self.sync_revision();
            return Found::Known;
        }
        let mut set = self.new_set();
        if world.tables.replica_sets.find(&set.key()).is_some() {
            // Another template has the same hash: the next one is salted.
            let status = self.status();
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            return Found::Created;
        }
        let size = rollout::new_size(self.before, rollout::sizes(&self.old), 0);
        set.spec.get_or_insert_default().replicas = Some(size);
        let revision = (self.newest_old_revision() + 1).to_string();
        annotate(self.before, &mut set, &revision);
        note_sizes(self.before, &mut set);
        self.note_failure(world, &set);
        self.steps.push(Step::One(Action::create(&set)));
        if size > 0 {
            let message = format!("Scaled up replica set {} from 0 to {size}", set.name());
            self.event(message);
        }
        self.note_revision(&revision);
        if status::has_deadline(self.before) {
            let message = format!("Created new replica set \"{}\"", set.name());
            let condition =
                status::condition("Progressing", "True", "NewReplicaSetCreated", message, self.now);
            status::set(self.status(), condition);
        }
        Found::Created
    }

    /// If the last attempt failed, the failure is told before the next one.
    fn note_failure(&mut self, world: &World, set: &ReplicaSet) {
        let failure = world.failure(NAME, &self.before.key());
        let Some(failure) = failure.filter(|failure| failure.kind == FailureKind::Other) else {
            return;
        };
        let message =
            format!("Failed to create new replica set \"{}\": {}", set.name(), failure.message);
        if status::has_deadline(self.before) {
            let condition = status::condition(
                "Progressing",
                "False",
                "ReplicaSetCreateError",
                message.clone(),
                self.now,
            );
            let mut failed = self.before.clone();
            status::set(failed.status.get_or_insert_default(), condition);
            if failed.status != self.before.status {
                self.steps.push(Step::One(Action::replace_status(&failed)));
                // The version is another one then; what follows must not depend on it.
                self.after.metadata.resource_version = None;
            }
        }
        let event = Note::warning(self.before, NAME, "ReplicaSetCreateError", message);
        self.steps.push(Step::One(event));
    }

    fn new_set(&self) -> ReplicaSet {
        let spec = self.before.spec.clone().unwrap_or_default();
        let collisions = self.before.status.as_ref().and_then(|status| status.collision_count);
        let hash = rollout::template_hash(&spec.template, collisions);
        let mut template = spec.template;
        let meta = template.metadata.get_or_insert_default();
        meta.labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.clone());
        let labels: Labels = meta.labels.clone().unwrap_or_default();
        let mut selector = spec.selector;
        selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.clone());
        let name = self.before.name();
        let most = NAME_MOST - 1 - hash.len();
        let name = name.get(..most).unwrap_or(name);
        ReplicaSet {
            metadata: ObjectMeta {
                name: Some(format!("{name}-{hash}")),
                namespace: self.before.metadata.namespace.clone(),
                labels: Some(labels),
                owner_references: Some(vec![kinds::controller_reference(self.before)]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(0),
                min_ready_seconds: spec.min_ready_seconds,
                selector,
                template: Some(template),
            }),
            status: None,
        }
    }

    /// Sizes the new set up (or down, if fewer pods are wanted); whether that changed anything.
    pub(super) fn grow_new(&mut self) -> bool {
        let all = rollout::sizes(self.all());
        let Some(set) = self.new.as_ref().map(rollout::size) else { return false };
        let wanted = self.wanted();
        let size = match set.cmp(&wanted) {
            std::cmp::Ordering::Equal => return false,
            std::cmp::Ordering::Greater => wanted,
            std::cmp::Ordering::Less => rollout::new_size(self.before, all, set),
        };
        self.resize(None, size)
    }

    pub(super) fn resize_new_to_all(&mut self) {
        self.resize(None, self.wanted());
    }

    /// Takes old sets down: first pods that are not available anyway, then as many as there are
    /// too many available ones. Whether that changed anything.
    pub(super) fn shrink_old(&mut self) -> bool {
        if rollout::sizes(&self.old) == 0 {
            return false;
        }
        let least = self.wanted() - rollout::max_unavailable(self.before);
        let (new, ready) =
            self.new.as_ref().map_or((0, 0), |set| (rollout::size(set), rollout::available(set)));
        let most = rollout::sizes(self.all()) - least - (new - ready);
        if most <= 0 {
            return false;
        }
        let cleaned = self.take_down(most, |set| rollout::size(set) - rollout::available(set));
        let available: i32 = self.all().map(rollout::available).sum();
        let scaled = self.take_down(available - least, rollout::size);
        cleaned + scaled > 0
    }

    /// Takes at most `most` pods from old sets, the oldest first, from each at most `from`.
    fn take_down(&mut self, most: i32, from: fn(&ReplicaSet) -> i32) -> i32 {
        let mut taken = 0;
        for at in 0..self.old.len() {
            let size = rollout::size(&self.old[at]);
            let count = from(&self.old[at]).min(most - taken).min(size);
            if count > 0 {
                self.resize(Some(at), size - count);
                taken += count;
            }
        }
        taken
    }

    /// Takes all old sets down to nothing; whether that changed anything.
    pub(super) fn stop_old(&mut self) -> bool {
        let mut changed = false;
        for at in 0..self.old.len() {
            changed |= rollout::size(&self.old[at]) != 0 && self.resize(Some(at), 0);
        }
        changed
    }

    /// Sizes the sets there are to the number that is wanted by now, without rolling on.
    pub(super) fn scale(&mut self) {
        self.sync_revision();
        let wanted = self.wanted();
        let active: Vec<Option<usize>> =
            self.places().into_iter().filter(|p| self.at(*p) > 0).collect();
        if let [] | [_] = active.as_slice() {
            let newest = if self.old.is_empty() { None } else { Some(self.old.len() - 1) };
            let only = match active.first() {
                Some(place) => *place,
                None if self.new.is_some() => None,
                None => newest,
            };
            if only.is_some() || self.new.is_some() {
                self.resize(only, wanted);
            }
            return;
        }
        if self.is_saturated() {
            for at in 0..self.old.len() {
                if rollout::size(&self.old[at]) != 0 {
                    self.resize(Some(at), 0);
                }
            }
        } else if rollout::is_rolling(self.before) {
            self.scale_in_proportion(active);
        }
    }

    /// Where sets are: `None` is the new one, a number an old one.
    fn places(&self) -> Vec<Option<usize>> {
        let new = self.new.as_ref().map(|_| None);
        (0..self.old.len()).map(Some).chain(new).collect()
    }

    fn set(&self, place: Option<usize>) -> Option<&ReplicaSet> {
        match place {
            Some(at) => self.old.get(at),
            None => self.new.as_ref(),
        }
    }

    fn at(&self, place: Option<usize>) -> i32 {
        self.set(place).map_or(0, rollout::size)
    }

    fn is_saturated(&self) -> bool {
        let wanted = self.wanted();
        self.new.as_ref().is_some_and(|set| {
            rollout::size(set) == wanted
                && rollout::number_annotation(set, DESIRED) == Some(wanted)
                && rollout::available(set) == wanted
        })
    }

    fn scale_in_proportion(&mut self, mut places: Vec<Option<usize>>) {
        let wanted = self.wanted();
        let most = if wanted > 0 { wanted + rollout::max_surge(self.before) } else { 0 };
        let add = most - places.iter().map(|place| self.at(*place)).sum::<i32>();
        // The larger ones first; among equals the newer ones if there is something to add.
        places.sort_by(|a, b| {
            let ages = (self.set(*a).map(rollout::age), self.set(*b).map(rollout::age));
            let ages = if add > 0 { ages.1.cmp(&ages.0) } else { ages.0.cmp(&ages.1) };
            self.at(*b).cmp(&self.at(*a)).then(ages)
        });
        let mut added = 0;
        let mut sizes: BTreeMap<Option<usize>, i32> = BTreeMap::new();
        for place in &places {
            let Some(set) = self.set(*place) else { continue };
            let share = rollout::proportion(set, self.before, add, added);
            sizes.insert(*place, rollout::size(set) + share);
            added += share;
        }
        if let Some(size) = places.first().and_then(|first| sizes.get_mut(first)) {
            *size = (*size + add - added).max(0);
        }
        for (place, size) in sizes {
            self.resize(place, size);
        }
    }

    /// Gives a set another size, with the annotations that belong to it; whether it was another.
    fn resize(&mut self, place: Option<usize>, size: i32) -> bool {
        let deployment = self.before;
        let set = match place {
            Some(at) => self.old.get_mut(at),
            None => self.new.as_mut(),
        };
        let Some(set) = set else { return false };
        let before = rollout::size(set);
        set.spec.get_or_insert_default().replicas = Some(size);
        let noted = note_sizes(deployment, set);
        let name = set.name().to_owned();
        if before == size && !noted {
            return false;
        }
        if before != size {
            let direction = if before < size { "up" } else { "down" };
            let message = format!("Scaled {direction} replica set {name} from {before} to {size}");
            self.event(message);
        }
        self.changed.insert(name);
        before != size
    }

    fn event(&mut self, message: String) {
        let event = Note::normal(self.before, NAME, "ScalingReplicaSet", message);
        self.events.push(Step::One(event));
    }

    /// Deletes empty old sets beyond the number that is to be kept, those of the oldest revisions.
    pub(super) fn forget_history(&mut self) {
        let limit = self.before.spec.as_ref().and_then(|spec| spec.revision_history_limit);
        let Some(limit) = limit.filter(|limit| *limit != i32::MAX) else { return };
        let mut alive: Vec<&ReplicaSet> =
            self.old.iter().filter(|set| !set.is_deleting()).collect();
        alive.sort_by_key(|set| (rollout::revision(set), rollout::age(set)));
        let surplus = alive.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        let empty = |set: &ReplicaSet| {
            let status = set.status.clone().unwrap_or_default();
            status.replicas == 0
                && rollout::size(set) == 0
                && set.metadata.generation.unwrap_or(0) <= status.observed_generation.unwrap_or(0)
        };
        let doomed = alive.into_iter().take(surplus).filter(|set| empty(set));
        let deletes: Vec<Step> = doomed.map(|set| Step::One(Action::delete(set))).collect();
        self.steps.extend(deletes);
    }

    /// The steps: sets, then what is told about them, then the deployment itself.
    pub(super) fn decision(mut self) -> Decision {
        let next = status::next_check(&self.after, self.now);
        let sets = self.old.iter().chain(&self.new);
        let writes = sets.filter(|set| self.changed.contains(set.name()));
        let writes: Vec<Step> = writes.map(|set| Step::One(Action::replace(set))).collect();
        let mut steps = writes;
        steps.append(&mut self.steps);
        steps.append(&mut self.events);
        if status::differs(self.before, &self.after) {
            steps.push(Step::One(Action::replace_status(&self.after)));
        }
        Decision { steps, next }
    }
}

/// Passes a deployment's annotations on to its new set and counts its revision up; whether that
/// changed anything.
fn annotate(deployment: &Deployment, set: &mut ReplicaSet, revision: &str) -> bool {
    let before = set.metadata.annotations.clone().unwrap_or_default();
    let mut after = before.clone();
    let inherited = deployment.metadata.annotations.iter().flatten();
    for (name, value) in inherited {
        if !rollout::NOT_INHERITED.contains(&name.as_str()) {
            after.insert(name.clone(), value.clone());
        }
    }
    let known = before.get(REVISION);
    let number = |text: &str| text.parse::<i64>().unwrap_or(0);
    if known.map_or(0, |text| number(text)) < number(revision) {
        after.insert(REVISION.to_owned(), revision.to_owned());
        if let Some(known) = known {
            let history = before.get(HISTORY).map(String::as_str).unwrap_or_default();
            after.insert(HISTORY.to_owned(), longer_history(history, known));
        }
    }
    let changed = before != after;
    set.metadata.annotations = Some(after);
    changed
}

fn longer_history(history: &str, revision: &str) -> String {
    let mut all: Vec<&str> = history.split(',').filter(|one| !one.is_empty()).collect();
    all.push(revision);
    let mut from = 0;
    while from + 1 < all.len() && all[from..].join(",").len() > HISTORY_MOST {
        from += 1;
    }
    all[from..].join(",")
}

/// Notes on a set for which size of the deployment it was sized; whether that changed anything.
fn note_sizes(deployment: &Deployment, set: &mut ReplicaSet) -> bool {
    let wanted = rollout::wanted(deployment);
    let most = wanted + rollout::max_surge(deployment);
    let annotations = set.metadata.annotations.get_or_insert_default();
    let mut changed = false;
    for (name, value) in [(DESIRED, wanted.to_string()), (MAXIMUM, most.to_string())] {
        let before = annotations.insert(name.to_owned(), value.clone());
        changed |= before.as_ref() != Some(&value);
    }
    changed
}
