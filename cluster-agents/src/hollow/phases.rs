//! The life of a pod without containers: what its status should say by now.
//!
//! ```text
//!   Pending ──► Running, ready ──► Succeeded or Failed
//!                 │     ▲            (only if its annotations say that it ends)
//!                 └─────┘ an image changes: that container starts again
//! ```

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStatus,
    HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::Hollow;
use crate::action::{Action, Decision, Part, PatchKind, Step, Target};
use crate::kinds::Watched;
use crate::pods;
use crate::queue::Next;

pub(crate) fn advance(hollow: &Hollow, pod: &Pod, now: Timestamp) -> Decision {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let before = pod.status.clone().unwrap_or_default();
    let begun = before.start_time.as_ref().map_or(now, |time| time.0);
    let ending = ending(pod, begun);
    let ended = ending.filter(|ending| ending.at <= now);
    let status = status(hollow, pod, &before, begun, ended, now);
    let next = match ending {
        Some(ending) if ended.is_none() => {
            let wait = Duration::try_from(ending.at.duration_since(now));
            Next::After(wait.unwrap_or(Duration::ZERO))
        }
        _ => Next::Idle,
    };
    if says_the_same(&before, &status) {
        return Decision { steps: Vec::new(), next };
    }
    let patch = Action::Patch {
        target: Target::of(pod),
        part: Part::Status,
        kind: PatchKind::Strategic,
        body: json!({"metadata": {"uid": pod.uid()}, "status": status}),
    };
    Decision { steps: vec![Step::One(patch)], next }
}

/// When and how the containers end.
#[derive(Clone, Copy, Debug)]
struct Ending {
    at: Timestamp,
    code: i32,
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

fn ending(pod: &Pod, begun: Timestamp) -> Option<Ending> {
    let policy = pod.spec.as_ref()?.restart_policy.as_deref()?;
    let code: i32 = annotation(pod, "kstore.io/hollow-exit-code")?.parse().ok()?;
    // A container that fails and is restarted on failure would fail again: it is left running.
    if policy == "Always" || policy == "OnFailure" && code != 0 {
        return None;
    }
    let seconds = annotation(pod, "kstore.io/hollow-run-seconds")
        .and_then(|text| text.parse::<u32>().ok())
        .unwrap_or(0);
    let at = begun.saturating_add(SignedDuration::from_secs(i64::from(seconds))).ok()?;
    Some(Ending { at, code })
}

fn status(
    hollow: &Hollow,
    pod: &Pod,
    before: &PodStatus,
    begun: Timestamp,
    ended: Option<Ending>,
    now: Timestamp,
) -> PodStatus {
    let spec = pod.spec.clone().unwrap_or_default();
    let address = hollow.address(pod).to_string();
    let host = hollow.options.address.to_string();
    let containers = |list: &[Container], known: &Option<Vec<ContainerStatus>>, role: Role| {
        let known = known.as_deref().unwrap_or_default();
        let all = list.iter().map(|container| {
            let before = known.iter().find(|status| status.name == container.name);
            container_status(pod, container, before, role, ended, begun, now)
        });
        all.collect::<Vec<_>>()
    };
    let main = containers(&spec.containers, &before.container_statuses, Role::Main);
    let init = spec.init_containers.unwrap_or_default();
    let init = containers(&init, &before.init_container_statuses, Role::Init);
    let phase = match ended {
        None => "Running",
        Some(ending) if ending.code == 0 => "Succeeded",
        Some(_) => "Failed",
    };
    PodStatus {
        phase: Some(phase.to_owned()),
        observed_generation: pod.metadata.generation,
        start_time: Some(Time(begun)),
        host_ip: Some(host.clone()),
        host_ips: Some(vec![HostIP { ip: host }]),
        pod_ip: Some(address.clone()),
        pod_ips: Some(vec![PodIP { ip: address }]),
        conditions: Some(conditions(pod, ended, now)),
        container_statuses: Some(main),
        init_container_statuses: (!init.is_empty()).then_some(init),
        ..PodStatus::default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Main,
    Init,
}

fn container_status(
    pod: &Pod,
    container: &Container,
    before: Option<&ContainerStatus>,
    role: Role,
    ended: Option<Ending>,
    begun: Timestamp,
    now: Timestamp,
) -> ContainerStatus {
    let image = container.image.clone().unwrap_or_default();
    let same = before.filter(|status| status.image == image);
    let restarts = match (before, same) {
        (Some(before), None) => before.restart_count + 1,
        (Some(before), Some(_)) => before.restart_count,
        (None, _) => 0,
    };
    let started = same
        .and_then(|status| status.state.as_ref()?.running.as_ref()?.started_at.clone())
        .unwrap_or(Time(if before.is_some() { now } else { begun }));
    let id = format!("hollow://{}/{}/{restarts}", pod.uid(), container.name);
    let (code, at) = match (role, ended) {
        // What starts a pod has ended when the pod has begun.
        (Role::Init, _) if !pods::is_sidecar(container) => (Some(0), begun),
        (_, Some(ending)) => (Some(ending.code), ending.at),
        (_, None) => (None, begun),
    };
    let runs = code.is_none();
    let state = match code {
        None => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(started) }),
            ..ContainerState::default()
        },
        Some(code) => ended_state(code, &id, begun, at),
    };
    ContainerStatus {
        name: container.name.clone(),
        image_id: format!("hollow://{image}"),
        image,
        container_id: Some(id),
        ready: role == Role::Init && code == Some(0) || runs && wants_ready(pod),
        started: Some(runs),
        restart_count: restarts,
        state: Some(state),
        resources: container.resources.clone(),
        ..ContainerStatus::default()
    }
}

fn ended_state(code: i32, id: &str, begun: Timestamp, at: Timestamp) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: code,
            reason: Some(if code == 0 { "Completed" } else { "Error" }.to_owned()),
            container_id: Some(id.to_owned()),
            started_at: Some(Time(begun)),
            finished_at: Some(Time(at)),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

fn wants_ready(pod: &Pod) -> bool {
    annotation(pod, "kstore.io/hollow-ready") != Some("false")
}

fn conditions(pod: &Pod, ended: Option<Ending>, now: Timestamp) -> Vec<PodCondition> {
    let containers = match ended {
        None if wants_ready(pod) => ("True", None),
        None => ("False", Some("ContainersNotReady")),
        Some(ending) if ending.code == 0 => ("False", Some("PodCompleted")),
        Some(_) => ("False", Some("PodFailed")),
    };
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let open = gates.into_iter().all(|gate| {
        pods::condition(pod, &gate.condition_type).is_some_and(|known| known.status == "True")
    });
    let ready = match containers {
        ("True", _) if !open => ("False", Some("ReadinessGatesNotReady")),
        same => same,
    };
    let sandbox = if ended.is_some() { "False" } else { "True" };
    let initialized = ("True", ended.and(containers.1).filter(|reason| *reason == "PodCompleted"));
    [
        ("PodReadyToStartContainers", (sandbox, None)),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", ("True", None)),
    ]
    .into_iter()
    .map(|(name, (status, reason))| condition(pod, name, status, reason, now))
    .collect()
}

fn condition(
    pod: &Pod,
    name: &str,
    status: &str,
    reason: Option<&str>,
    now: Timestamp,
) -> PodCondition {
    let before = pods::condition(pod, name).filter(|before| before.status == status);
    let since = before.and_then(|before| before.last_transition_time.clone());
    PodCondition {
        type_: name.to_owned(),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        observed_generation: pod.metadata.generation,
        last_transition_time: Some(since.unwrap_or(Time(now))),
        ..PodCondition::default()
    }
}

/// Whether the status already says what we would write; what others wrote does not count.
fn says_the_same(before: &PodStatus, status: &PodStatus) -> bool {
    let known = before.conditions.as_deref().unwrap_or_default();
    let ours = status.conditions.as_deref().unwrap_or_default();
    let conditions = ours.iter().all(|condition| known.contains(condition));
    // What the server fills in for a container (resources, say) is not ours to compare.
    let containers = |status: &PodStatus| {
        let all = status.container_statuses.iter().chain(&status.init_container_statuses);
        all.flatten()
            .map(|c| (c.name.clone(), c.image.clone(), c.restart_count, c.ready, c.state.clone()))
            .collect::<Vec<_>>()
    };
    conditions
        && before.phase == status.phase
        && before.pod_ip == status.pod_ip
        && before.host_ip == status.host_ip
        && before.start_time == status.start_time
        && before.observed_generation == status.observed_generation
        && containers(before) == containers(status)
}
