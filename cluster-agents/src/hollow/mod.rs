//! A node that is none: it takes pods and leads them through their lives without containers.
//!
//! To everybody who reads the API it looks like a node: it registers itself, renews its lease,
//! gives pods addresses and reports them as running and ready. Nothing runs, and it says so: the
//! node has the label `kstore.io/hollow: "true"` and an annotation in words. Good for trying
//! controllers, schedulers and clients, and for clusters of thousands of pods on one machine.
//!
//! What a pod may say about itself, by annotations:
//!
//! | annotation | meaning |
//! |---|---|
//! | `kstore.io/hollow-exit-code: "0"` | its containers end with this code (restartPolicy `Never` or `OnFailure`) |
//! | `kstore.io/hollow-run-seconds: "5"` | ... after this long; at once if it is not given |
//! | `kstore.io/hollow-ready: "false"` | it runs and never becomes ready |

mod admit;
mod node;
mod phases;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use crate::action::{Action, Decision, Deletion, Target};
use crate::engine::{self, Controller};
use crate::kinds::{Key, Object, Watched};
use crate::pods;
use crate::world::{Change, World};

const NAME: &str = "kubelet";

/// A hollow node as its user describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct HollowOptions {
    /// Name of the node.
    pub name: String,
    /// Address of the node; it need not answer.
    pub address: IpAddr,
    /// First address and prefix length of the network that pods get their addresses from.
    pub pod_network: (Ipv4Addr, u8),
    /// CPUs that it claims to have.
    pub cpus: u32,
    /// Memory that it claims to have, as a quantity: `32Gi`.
    pub memory: String,
    /// Pods that it takes.
    pub pods: u32,
    /// Labels of the node besides the usual ones.
    pub labels: BTreeMap<String, String>,
}

impl HollowOptions {
    /// A node of 32 CPUs and 256 Gi that takes 10,000 pods.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            pod_network: (Ipv4Addr::new(10, 244, 0, 0), 16),
            cpus: 32,
            memory: "256Gi".to_owned(),
            pods: 10_000,
            labels: BTreeMap::new(),
        }
    }
}

/// A node that this process plays.
#[derive(Clone, Debug)]
pub(crate) struct Hollow {
    pub(crate) options: HollowOptions,
    /// Addresses of its pods, by uid, as offsets into the network.
    offsets: BTreeMap<String, u32>,
    taken: BTreeSet<u32>,
}

impl Hollow {
    pub(crate) const fn new(options: HollowOptions) -> Self {
        Self { options, offsets: BTreeMap::new(), taken: BTreeSet::new() }
    }

    /// Offsets that pods may have: neither the network's own address nor the last one.
    fn last_offset(&self) -> u32 {
        let bits = u32::from(self.options.pod_network.1.min(30));
        (u32::MAX >> bits).saturating_sub(1)
    }

    /// A pod has come: it keeps the address that it has, or gets the lowest one that is free.
    pub(crate) fn give_address(&mut self, pod: &Pod) {
        if pods::is_finished(pod) {
            self.free_address(pod.uid());
            return;
        }
        if self.offsets.contains_key(pod.uid()) {
            return;
        }
        let offset = self.offset_of(pod).filter(|offset| !self.taken.contains(offset));
        let offset = offset.unwrap_or_else(|| self.lowest_free());
        self.offsets.insert(pod.uid().to_owned(), offset);
        self.taken.insert(offset);
    }

    pub(crate) fn free_address(&mut self, uid: &str) {
        if let Some(offset) = self.offsets.remove(uid) {
            self.taken.remove(&offset);
        }
    }

    fn offset_of(&self, pod: &Pod) -> Option<u32> {
        let address: Ipv4Addr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
        let offset = u32::from(address).checked_sub(u32::from(self.options.pod_network.0))?;
        (1..=self.last_offset()).contains(&offset).then_some(offset)
    }

    /// When the network is full, pods share its last address: better than not running them.
    fn lowest_free(&self) -> u32 {
        let mut free = 1;
        for taken in &self.taken {
            if *taken > free {
                break;
            }
            free = taken + 1;
        }
        free.min(self.last_offset())
    }

    pub(crate) fn address(&self, pod: &Pod) -> IpAddr {
        let host = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
        match self.offsets.get(pod.uid()) {
            Some(offset) if !host => {
                let first = u32::from(self.options.pod_network.0);
                IpAddr::V4(Ipv4Addr::from(first.wrapping_add(*offset)))
            }
            _ => self.options.address,
        }
    }
}

pub(crate) fn controllers() -> Vec<Controller> {
    vec![
        Controller {
            name: "hollow-node",
            keys: node::keys,
            decide: node::decide,
            rank: engine::in_order,
            writers: 16,
            back_off: engine::CONTROLLER_BACK_OFF,
        },
        Controller {
            name: NAME,
            keys,
            decide,
            rank: engine::in_order,
            writers: 64,
            back_off: engine::CONTROLLER_BACK_OFF,
        },
    ]
}

fn keys(world: &World, change: &Change, out: &mut BTreeSet<Key>) {
    let Change::Object { new: Some(Object::Pod(pod)), .. } = change else { return };
    if pods::node(pod).is_some_and(|node| world.hollow.contains_key(node)) {
        out.insert(pod.key());
    }
}

fn decide(world: &World, key: &Key, now: Timestamp) -> Decision {
    let Some(pod) = world.tables.pods.find(key) else { return Decision::nothing() };
    let hollow = pods::node(pod).and_then(|node| world.hollow.get(node));
    let Some(hollow) = hollow else { return Decision::nothing() };
    if pod.is_deleting() {
        return end(pod);
    }
    if pods::is_finished(pod) {
        return Decision::nothing();
    }
    let begun = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
    if !begun && let Some(rejection) = admit::check(world, pod, now) {
        return rejection;
    }
    phases::advance(hollow, pod, now)
}

/// Nothing runs, so a pod that is to go may go at once.
fn end(pod: &Pod) -> Decision {
    if pod.metadata.deletion_grace_period_seconds == Some(0) {
        // Its finalizers hold it, not we.
        return Decision::nothing();
    }
    let deletion =
        Deletion { uid: Some(pod.uid().to_owned()), grace_seconds: Some(0), ..Deletion::default() };
    Decision::one(Action::Delete { target: Target::of(pod), deletion })
}

#[cfg(test)]
mod tests;
