//! The node itself: registers, stays ready, renews its lease.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::{Hollow, HollowOptions};
use crate::action::{Action, Decision, Part, PatchKind, Step, Target};
use crate::kinds::{Key, Object, Resource, Scope, Watched};
use crate::quantity::amounts;
use crate::queue::Next;
use crate::world::{Change, World};

pub(crate) const LEASES: &str = "kube-node-lease";

/// How often the lease is renewed, and how long one renewal holds.
const RENEW: Duration = Duration::from_secs(10);
const LEASE_SECONDS: i32 = 40;

/// How often the conditions carry a new heartbeat even if nothing has changed.
const HEARTBEAT_SECONDS: i64 = 300;

pub(crate) fn keys(world: &World, change: &Change, out: &mut BTreeSet<Key>) {
    match change {
        Change::Object { new: Some(Object::Node(node)), .. } if is_ours(world, node.name()) => {
            out.insert(node.key());
        }
        // Nothing else happens in an empty cluster that would make the first decision.
        Change::Object { new: Some(Object::Namespace(_)), .. } => {
            let absent = |name: &&String| world.tables.nodes.named("", name).is_none();
            out.extend(world.hollow.keys().filter(absent).map(|name| Key::new("", name)));
        }
        Change::Object { old: Some(Object::Node(node)), new: None }
            if is_ours(world, node.name()) =>
        {
            out.insert(node.key());
        }
        Change::Object { old: Some(Object::Lease(lease)), new: None }
            if is_ours(world, lease.name()) =>
        {
            out.insert(Key::new("", lease.name()));
        }
        _ => {}
    }
}

fn is_ours(world: &World, name: &str) -> bool {
    world.hollow.contains_key(name)
}

pub(crate) fn decide(world: &World, key: &Key, now: Timestamp) -> Decision {
    let Some(hollow) = world.hollow.get(&key.name) else { return Decision::nothing() };
    let Some(node) = world.tables.nodes.find(key) else {
        let node = new_node(hollow, now);
        return Decision {
            steps: vec![Step::One(Action::create(&node))],
            next: Next::After(RENEW),
        };
    };
    let mut steps = Vec::new();
    if let Some(action) = status_write(hollow, node, now) {
        steps.push(Step::One(action));
    }
    let (lease, wait) = renew(world, node, now);
    steps.extend(lease.map(Step::One));
    Decision { steps, next: Next::After(wait) }
}

/// Renews the lease if it is time to; and how long until it is time again.
fn renew(world: &World, node: &Node, now: Timestamp) -> (Option<Action>, Duration) {
    let name = node.name();
    let Some(lease) = world.tables.leases.named(LEASES, name) else {
        // The namespace may be younger than we are.
        if world.tables.namespaces.named("", LEASES).is_none() {
            return (None, Duration::from_secs(1));
        }
        return (Some(Action::create(&new_lease(node, now))), RENEW);
    };
    let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
    let age = renewed
        .map_or(RENEW, |time| Duration::try_from(now.duration_since(time.0)).unwrap_or(RENEW));
    // A tenth of a second early is not early: timers are not exact.
    let wait = RENEW.saturating_sub(age);
    if wait > Duration::from_millis(100) {
        return (None, wait);
    }
    let body = json!({"spec": {
        "renewTime": MicroTime(now), "holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS,
    }});
    let patch = Action::Patch {
        target: Target { resource: Resource::of::<Lease>(Scope::Namespaced), key: lease.key() },
        part: Part::Whole,
        kind: PatchKind::Merge,
        body,
    };
    (Some(patch), RENEW)
}

fn new_lease(node: &Node, now: Timestamp) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some(node.name().to_owned()),
            namespace: Some(LEASES.to_owned()),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: node.name().to_owned(),
                uid: node.uid().to_owned(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(node.name().to_owned()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
    }
}

fn new_node(hollow: &Hollow, now: Timestamp) -> Node {
    let options = &hollow.options;
    let mut labels = options.labels.clone();
    let usual = [
        ("kubernetes.io/hostname", options.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", ARCHITECTURE),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", ARCHITECTURE),
        ("kstore.io/hollow", "true"),
    ];
    for (name, value) in usual {
        labels.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    let words = "This node runs no containers: it only reports its pods as if they ran.";
    Node {
        metadata: ObjectMeta {
            name: Some(options.name.clone()),
            labels: Some(labels),
            annotations: Some(BTreeMap::from([("kstore.io/hollow".to_owned(), words.to_owned())])),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec::default()),
        status: Some(NodeStatus { conditions: Some(conditions(None, now)), ..facts(options) }),
    }
}

/// What upstream calls the processors that we run on.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// What does not change while the node lives.
fn facts(options: &HollowOptions) -> NodeStatus {
    let quantity = |text: String| Quantity(text);
    let room = BTreeMap::from([
        ("cpu".to_owned(), quantity(options.cpus.to_string())),
        ("memory".to_owned(), quantity(options.memory.clone())),
        ("ephemeral-storage".to_owned(), quantity("1Ti".to_owned())),
        ("pods".to_owned(), quantity(options.pods.to_string())),
    ]);
    let address = |type_: &str, address: String| NodeAddress { type_: type_.to_owned(), address };
    NodeStatus {
        capacity: Some(room.clone()),
        allocatable: Some(room),
        addresses: Some(vec![
            address("InternalIP", options.address.to_string()),
            address("Hostname", options.name.clone()),
        ]),
        daemon_endpoints: Some(NodeDaemonEndpoints::default()),
        node_info: Some(NodeSystemInfo {
            architecture: ARCHITECTURE.to_owned(),
            operating_system: "linux".to_owned(),
            os_image: "none (hollow)".to_owned(),
            kernel_version: "none".to_owned(),
            container_runtime_version: "hollow://1".to_owned(),
            kubelet_version: "v1.36.0-hollow".to_owned(),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}

/// Name, status, reason, message.
const CONDITIONS: [(&str, &str, &str, &str); 4] = [
    (
        "MemoryPressure",
        "False",
        "KubeletHasSufficientMemory",
        "kubelet has sufficient memory available",
    ),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
];

fn conditions(before: Option<&Node>, now: Timestamp) -> Vec<NodeCondition> {
    let known = before.and_then(|node| node.status.as_ref()?.conditions.as_deref());
    let all = CONDITIONS.iter().map(|(name, status, reason, message)| {
        let same =
            known.unwrap_or_default().iter().find(|c| c.type_ == *name && c.status == *status);
        NodeCondition {
            type_: (*name).to_owned(),
            status: (*status).to_owned(),
            reason: Some((*reason).to_owned()),
            message: Some((*message).to_owned()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: same
                .and_then(|condition| condition.last_transition_time.clone())
                .or(Some(Time(now))),
        }
    });
    all.collect()
}

/// Writes the status when somebody has changed it, or when the last heartbeat is old.
fn status_write(hollow: &Hollow, node: &Node, now: Timestamp) -> Option<Action> {
    let status = node.status.clone().unwrap_or_default();
    let facts = facts(&hollow.options);
    let known = status.conditions.as_deref().unwrap_or_default();
    let right = CONDITIONS.iter().all(|(name, wanted, ..)| {
        known.iter().any(|condition| {
            let beat = condition.last_heartbeat_time.as_ref().map_or(0, |t| t.0.as_second());
            condition.type_ == *name
                && condition.status == *wanted
                && now.as_second() - beat < HEARTBEAT_SECONDS
        })
    });
    let version =
        |status: &NodeStatus| status.node_info.as_ref().map(|i| i.kubelet_version.clone());
    if right
        // As amounts: a server may write 10000 as 10k.
        && amounts(status.allocatable.as_ref()) == amounts(facts.allocatable.as_ref())
        && status.addresses == facts.addresses
        && version(&status) == version(&facts)
    {
        return None;
    }
    let status = NodeStatus { conditions: Some(conditions(Some(node), now)), ..facts };
    Some(Action::Patch {
        target: Target::of(node),
        part: Part::Status,
        kind: PatchKind::Strategic,
        body: json!({"status": status}),
    })
}
