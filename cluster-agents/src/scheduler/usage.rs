//! What the pods of a node take of it, kept up to date pod by pod.

use k8s_openapi::api::core::v1::Pod;

use crate::pods::{self, HostPort};
use crate::quantity::{Amounts, Milli};

/// What a container that asks for nothing is taken to need when nodes are compared: 100 m of CPU
/// and 200 MB.
pub(crate) const LEAST_CPU: Milli = 100;
pub(crate) const LEAST_MEMORY: Milli = 200 * 1024 * 1024 * 1000;

/// Sums over the unfinished pods of one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) pods: usize,
    pub(crate) requested: Amounts,
    /// CPU and memory, where a pod that asks for none counts as a small one.
    pub(crate) cpu_guess: Milli,
    pub(crate) memory_guess: Milli,
    pub(crate) ports: Vec<HostPort>,
}

impl Usage {
    pub(crate) fn add(&mut self, pod: &Pod) {
        let requests = pods::requests(pod);
        let (cpu, memory) = guesses(&requests);
        self.pods += 1;
        self.cpu_guess += cpu;
        self.memory_guess += memory;
        for (name, amount) in requests {
            *self.requested.entry(name).or_default() += amount;
        }
        self.ports.extend(pods::host_ports(pod));
    }

    pub(crate) fn subtract(&mut self, pod: &Pod) {
        let requests = pods::requests(pod);
        let (cpu, memory) = guesses(&requests);
        self.pods = self.pods.saturating_sub(1);
        self.cpu_guess -= cpu;
        self.memory_guess -= memory;
        for (name, amount) in requests {
            *self.requested.entry(name).or_default() -= amount;
        }
        for port in pods::host_ports(pod) {
            if let Some(at) = self.ports.iter().position(|taken| *taken == port) {
                self.ports.swap_remove(at);
            }
        }
    }
}

/// CPU and memory of a pod for comparing nodes.
pub(crate) fn guesses(requests: &Amounts) -> (Milli, Milli) {
    let or = |name: &str, least: Milli| {
        requests.get(name).copied().filter(|amount| *amount > 0).unwrap_or(least)
    };
    (or("cpu", LEAST_CPU), or("memory", LEAST_MEMORY))
}
