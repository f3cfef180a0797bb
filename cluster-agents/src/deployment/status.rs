//! What the status of a deployment says: counts, and the conditions by which people and tools see
//! whether it is available and getting on.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::plan::Plan;
use crate::kinds::Watched;
use crate::queue::Next;
use crate::rollout::{self, REVISION};

/// The deadline that means none.
pub(super) fn has_deadline(deployment: &Deployment) -> bool {
    deadline(deployment).is_some()
}

fn deadline(deployment: &Deployment) -> Option<i32> {
    let seconds = deployment.spec.as_ref()?.progress_deadline_seconds?;
    (seconds != i32::MAX).then_some(seconds)
}

pub(super) fn condition(
    name: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: name.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

pub(super) fn find<'a>(
    status: Option<&'a DeploymentStatus>,
    name: &str,
) -> Option<&'a DeploymentCondition> {
    let conditions = status?.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == name)
}

/// Puts a condition in, unless one of the same status and reason is there.
pub(super) fn set(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    let known = find(Some(status), &condition.type_).cloned();
    if let Some(known) = known {
        if known.status == condition.status && known.reason == condition.reason {
            return;
        }
        if known.status == condition.status {
            condition.last_transition_time = known.last_transition_time;
        }
    }
    remove(status, &condition.type_);
    status.conditions.get_or_insert_default().push(condition);
}

fn remove(status: &mut DeploymentStatus, name: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != name);
    }
}

pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = rollout::wanted(deployment);
    status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0)
}

fn has_progressed(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let number = |value: Option<i32>| value.unwrap_or(0);
    let old = |status: &DeploymentStatus| number(status.replicas) - number(status.updated_replicas);
    number(after.updated_replicas) > number(before.updated_replicas)
        || old(after) < old(before)
        || number(after.ready_replicas) > number(before.ready_replicas)
        || number(after.available_replicas) > number(before.available_replicas)
}

fn has_timed_out(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> bool {
    let Some(condition) = find(Some(status), "Progressing") else { return false };
    match condition.reason.as_deref() {
        Some("NewReplicaSetAvailable") => false,
        Some("ProgressDeadlineExceeded") => true,
        _ => due(deployment, condition).is_some_and(|due| due < now),
    }
}

/// When a deployment that has not got on until then has taken too long.
fn due(deployment: &Deployment, condition: &DeploymentCondition) -> Option<Timestamp> {
    let seconds = SignedDuration::from_secs(i64::from(deadline(deployment)?));
    condition.last_update_time.as_ref()?.0.saturating_add(seconds).ok()
}

/// When to look whether the deadline has passed.
pub(super) fn next_check(deployment: &Deployment, now: Timestamp) -> Next {
    let status = deployment.status.clone().unwrap_or_default();
    let Some(condition) = find(Some(&status), "Progressing") else { return Next::Idle };
    if is_complete(deployment, &status)
        || condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    {
        return Next::Idle;
    }
    let Some(due) = due(deployment, condition) else { return Next::Idle };
    let wait = Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO);
    Next::After(wait + Duration::from_secs(1))
}

/// Whether there is something to write. Zeros and empty lists are left out on the wire.
pub(super) fn differs(before: &Deployment, after: &Deployment) -> bool {
    let plain = |deployment: &Deployment| {
        let mut status = deployment.status.clone().unwrap_or_default();
        for number in [
            &mut status.replicas,
            &mut status.updated_replicas,
            &mut status.ready_replicas,
            &mut status.available_replicas,
            &mut status.unavailable_replicas,
        ] {
            *number = number.filter(|number| *number != 0);
        }
        status.conditions = status.conditions.filter(|conditions| !conditions.is_empty());
        (status, rollout::annotation(deployment, REVISION).map(str::to_owned))
    };
    plain(before) != plain(after)
}

impl Plan<'_> {
    /// While a deployment is paused its progress is not watched.
    pub(super) fn note_pause(&mut self) {
        if !has_deadline(self.before) {
            return;
        }
        let reason = find(self.before.status.as_ref(), "Progressing")
            .and_then(|condition| condition.reason.clone());
        if reason.as_deref() == Some("ProgressDeadlineExceeded") {
            return;
        }
        let was = reason.as_deref() == Some("DeploymentPaused");
        let is = self.before.spec.as_ref().and_then(|spec| spec.paused) == Some(true);
        let (reason, message) = match (was, is) {
            (false, true) => ("DeploymentPaused", "Deployment is paused"),
            (true, false) => ("DeploymentResumed", "Deployment is resumed"),
            _ => return,
        };
        let condition = condition("Progressing", "Unknown", reason, message.to_owned(), self.now);
        set(self.status(), condition);
    }

    fn count(&mut self) {
        let wanted = rollout::wanted(self.before);
        let least = wanted - rollout::max_unavailable(self.before);
        let sum = |read: &dyn Fn(&ReplicaSet) -> i32| self.all().map(read).sum::<i32>();
        let of = |set: &ReplicaSet,
                  read: fn(&k8s_openapi::api::apps::v1::ReplicaSetStatus) -> i32| {
            set.status.as_ref().map_or(0, read)
        };
        let available = sum(&rollout::available);
        let counts = DeploymentStatus {
            observed_generation: self.before.metadata.generation,
            replicas: Some(sum(&|set| of(set, |status| status.replicas))),
            updated_replicas: self.new.as_ref().map(|set| of(set, |status| status.replicas)),
            ready_replicas: Some(sum(&|set| of(set, |status| status.ready_replicas.unwrap_or(0)))),
            available_replicas: Some(available),
            unavailable_replicas: Some((sum(&rollout::size) - available).max(0)),
            terminating_replicas: terminating(self.all()),
            ..DeploymentStatus::default()
        };
        let now = self.now;
        let status = self.status();
        let conditions = status.conditions.take();
        *status =
            DeploymentStatus { conditions, collision_count: status.collision_count, ..counts };
        let condition = if available >= least {
            let message = "Deployment has minimum availability.".to_owned();
            condition("Available", "True", "MinimumReplicasAvailable", message, now)
        } else {
            let message = "Deployment does not have minimum availability.".to_owned();
            condition("Available", "False", "MinimumReplicasUnavailable", message, now)
        };
        set(status, condition);
    }

    /// The status of a deployment that is not being rolled out.
    pub(super) fn status_while_still(&mut self) {
        self.count();
    }

    pub(super) fn status_of_rollout(&mut self) {
        let before = self.before.status.clone().unwrap_or_default();
        let current = find(self.after.status.as_ref(), "Progressing").cloned();
        self.count();
        let mut status = self.status().clone();
        if has_deadline(self.before) {
            let done = status.replicas.unwrap_or(0) == status.updated_replicas.unwrap_or(0)
                && current.as_ref().and_then(|condition| condition.reason.as_deref())
                    == Some("NewReplicaSetAvailable");
            if !done {
                self.judge_progress(&before, &mut status, current);
            }
        } else {
            remove(&mut status, "Progressing");
        }
        match self.failure() {
            Some(failure) => set(&mut status, failure),
            None => remove(&mut status, "ReplicaFailure"),
        }
        self.after.status = Some(status);
    }

    fn judge_progress(
        &self,
        before: &DeploymentStatus,
        status: &mut DeploymentStatus,
        current: Option<DeploymentCondition>,
    ) {
        let subject = match &self.new {
            Some(set) => format!("ReplicaSet \"{}\"", set.name()),
            None => format!("Deployment \"{}\"", self.before.name()),
        };
        let new = |status: &str, reason: &str, what: &str| {
            condition("Progressing", status, reason, format!("{subject} {what}"), self.now)
        };
        if is_complete(self.before, status) {
            let what = "has successfully progressed.";
            set(status, new("True", "NewReplicaSetAvailable", what));
        } else if has_progressed(before, status) {
            // Replaced even if it says the same: its update time is what the deadline counts from.
            let mut condition = new("True", "ReplicaSetUpdated", "is progressing.");
            if let Some(current) = current.filter(|current| current.status == "True") {
                condition.last_transition_time = current.last_transition_time;
            }
            remove(status, "Progressing");
            set(status, condition);
        } else if has_timed_out(self.before, status, self.now) {
            let what = "has timed out progressing.";
            set(status, new("False", "ProgressDeadlineExceeded", what));
        }
    }

    /// What keeps a replica set from creating pods, the new one's first.
    fn failure(&self) -> Option<DeploymentCondition> {
        let sets = self.new.iter().chain(&self.old);
        let conditions = sets.flat_map(|set| set.status.iter());
        let mut failures = conditions
            .flat_map(|status| status.conditions.iter().flatten())
            .filter(|condition| condition.type_ == "ReplicaFailure");
        failures.next().map(|failure| DeploymentCondition {
            type_: failure.type_.clone(),
            status: failure.status.clone(),
            reason: failure.reason.clone(),
            message: failure.message.clone(),
            last_transition_time: failure.last_transition_time.clone(),
            last_update_time: failure.last_transition_time.clone(),
        })
    }
}

/// Pods on their way out; unknown as long as some set does not say.
fn terminating<'a>(sets: impl Iterator<Item = &'a ReplicaSet>) -> Option<i32> {
    let mut sum = 0;
    for set in sets {
        let status = set.status.clone().unwrap_or_default();
        match (status.observed_generation.unwrap_or(0), status.terminating_replicas) {
            (_, Some(count)) => sum += count,
            (0, None) => {}
            (_, None) => return None,
        }
    }
    Some(sum)
}
