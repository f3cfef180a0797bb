//! What `kubectl get pods` shows: above all the one word that says how a pod does.
//!
//! The word starts as the phase and is overruled by what is more to the point: a reason, a
//! container that waits, the step at which initialising stands, deletion. Scripts wait for these
//! words, so they are upstream's.

use serde_json::Value;

use super::Column;
use super::columns::{self, age, count, name, or, text, wide};
use super::columns::{AGE, NAME};
use crate::object::{self, Object};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    text("Ready", "How many of the containers are ready."),
    text("Status", "How the pod does."),
    text("Restarts", "How often containers were restarted, and when last."),
    AGE,
    wide("IP", "The pod's first address."),
    wide("Node", "Where it runs."),
    wide("Nominated Node", "Where it will run once others have made room."),
    wide("Readiness Gates", "How many of the extra conditions hold."),
];

/// The cells of one pod.
pub(super) fn cells(pod: &Object, now: i64) -> Vec<Value> {
    let summary = summarise(pod);
    let restarts = match summary.restarted {
        Restarts { count, last: Some(last) } if count != 0 => {
            format!("{count} ({} ago)", columns::human_duration(now - last))
        }
        Restarts { count, .. } => count.to_string(),
    };
    let containers = object::list(pod, &["spec", "containers"]).len();
    let sidecars = objects(pod, &["spec", "initContainers"]).filter(|it| is_sidecar(it)).count();
    vec![
        name(pod),
        format!("{}/{}", summary.ready, containers + sidecars).into(),
        summary.word.into(),
        restarts.into(),
        age(pod, now),
        or(first_ip(pod), "<none>").into(),
        or(object::text(pod, &["spec", "nodeName"]), "<none>").into(),
        or(object::text(pod, &["status", "nominatedNodeName"]), "<none>").into(),
        readiness_gates(pod).into(),
    ]
}

/// A pod that ended is completed, well or not.
pub(super) fn row_conditions(pod: &Object) -> Vec<Value> {
    let phase = object::text(pod, &["status", "phase"]);
    let message = match phase {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => return Vec::new(),
    };
    vec![serde_json::json!({
        "type": "Completed",
        "status": "True",
        "reason": phase,
        "message": message,
    })]
}

/// How often containers were restarted, and when the last of them ended before.
#[derive(Debug, Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<i64>,
}

impl Restarts {
    fn add(&mut self, container: &Object) {
        self.count += count(container, &["restartCount"]);
        let ended = object::text(container, &["lastState", "terminated", "finishedAt"]);
        self.last = self.last.max(columns::seconds(ended));
    }
}

#[derive(Debug, Default)]
struct Summary {
    word: String,
    ready: usize,
    restarted: Restarts,
}

fn summarise(pod: &Object) -> Summary {
    let phase = object::text(pod, &["status", "phase"]);
    let mut word = or(object::text(pod, &["status", "reason"]), phase).to_owned();
    let gated = objects(pod, &["status", "conditions"]).any(|condition| {
        object::text(condition, &["type"]) == "PodScheduled"
            && object::text(condition, &["reason"]) == "SchedulingGated"
    });
    if gated {
        "SchedulingGated".clone_into(&mut word);
    }
    let init = initialising(pod);
    let mut summary = Summary { word, ready: init.ready, restarted: init.restarted };
    let stuck = init.stuck_at.is_some();
    if let Some(step) = init.stuck_at {
        summary.word = step;
    }
    if !stuck || condition_holds(pod, "Initialized") {
        summary.restarted = init.sidecars_restarted;
        running(pod, &mut summary);
    }
    if object::is_deleting(pod) {
        if object::text(pod, &["status", "reason"]) == "NodeLost" {
            "Unknown".clone_into(&mut summary.word);
        } else if !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut summary.word);
        }
    }
    summary
}

/// How far the init containers are.
#[derive(Debug, Default)]
struct Initialising {
    ready: usize,
    restarted: Restarts,
    sidecars_restarted: Restarts,
    stuck_at: Option<String>,
}

fn initialising(pod: &Object) -> Initialising {
    let mut init = Initialising::default();
    let specs = object::list(pod, &["spec", "initContainers"]);
    for (index, container) in objects(pod, &["status", "initContainerStatuses"]).enumerate() {
        init.restarted.add(container);
        let own_name = object::text(container, &["name"]);
        let sidecar = specs
            .iter()
            .filter_map(Value::as_object)
            .any(|spec| object::text(spec, &["name"]) == own_name && is_sidecar(spec));
        if sidecar {
            init.sidecars_restarted.add(container);
        }
        let terminated = object::map(container, &["state", "terminated"]);
        if terminated.is_some_and(|end| count(end, &["exitCode"]) == 0) {
            continue;
        }
        if sidecar && object::flag(container, &["started"]) {
            init.ready += usize::from(object::flag(container, &["ready"]));
            continue;
        }
        let waits_for = object::text(container, &["state", "waiting", "reason"]);
        init.stuck_at = Some(match terminated {
            Some(end) => format!("Init:{}", end_of(end)),
            None if !waits_for.is_empty() && waits_for != "PodInitializing" => {
                format!("Init:{waits_for}")
            }
            None => format!("Init:{index}/{}", specs.len()),
        });
        break;
    }
    init
}

/// Looks at the containers, the last one first: the first one has the last word.
fn running(pod: &Object, summary: &mut Summary) {
    let mut any_runs = false;
    let mut error = String::new();
    for container in objects(pod, &["status", "containerStatuses"]).rev() {
        summary.restarted.add(container);
        let waits_for = object::text(container, &["state", "waiting", "reason"]);
        if !waits_for.is_empty() {
            waits_for.clone_into(&mut summary.word);
        } else if let Some(end) = object::map(container, &["state", "terminated"]) {
            summary.word = end_of(end);
            if count(end, &["exitCode"]) != 0 {
                error.clone_from(&summary.word);
            }
        } else if object::flag(container, &["ready"])
            && object::map(container, &["state", "running"]).is_some()
        {
            any_runs = true;
            summary.ready += 1;
        }
    }
    if summary.word == "Completed" {
        if any_runs && condition_holds(pod, "Ready") {
            "Running".clone_into(&mut summary.word);
        } else if !error.is_empty() {
            summary.word = error;
        } else if any_runs {
            "NotReady".clone_into(&mut summary.word);
        }
    }
}

/// Why a container ended: its reason, else its signal, else its exit code.
fn end_of(terminated: &Object) -> String {
    let reason = object::text(terminated, &["reason"]);
    let signal = count(terminated, &["signal"]);
    if !reason.is_empty() {
        reason.to_owned()
    } else if signal != 0 {
        format!("Signal:{signal}")
    } else {
        format!("ExitCode:{}", count(terminated, &["exitCode"]))
    }
}

fn readiness_gates(pod: &Object) -> String {
    let gates = object::list(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let open = gates.iter().filter_map(Value::as_object).filter(|gate| {
        let wanted = object::text(gate, &["conditionType"]);
        condition_holds(pod, wanted)
    });
    format!("{}/{}", open.count(), gates.len())
}

/// Whether the first condition of this type is true.
fn condition_holds(pod: &Object, wanted: &str) -> bool {
    objects(pod, &["status", "conditions"])
        .find(|condition| object::text(condition, &["type"]) == wanted)
        .is_some_and(|condition| object::text(condition, &["status"]) == "True")
}

/// The first of `status.podIPs`, else `status.podIP`.
pub(super) fn first_ip(pod: &Object) -> &str {
    objects(pod, &["status", "podIPs"])
        .next()
        .map_or_else(|| object::text(pod, &["status", "podIP"]), |ip| object::text(ip, &["ip"]))
}

/// Whether an init container keeps running beside the others.
fn is_sidecar(container: &Object) -> bool {
    object::text(container, &["restartPolicy"]) == "Always"
}

/// The objects of a list.
fn objects<'a>(object: &'a Object, path: &[&str]) -> impl DoubleEndedIterator<Item = &'a Object> {
    object::list(object, path).iter().filter_map(Value::as_object)
}
