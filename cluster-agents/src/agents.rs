//! Puts agents together and runs them: informers, engine, leadership.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, Pod, ResourceQuota, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{info, warn};

use crate::engine::{Controller, Engine};
use crate::hollow::{self, Hollow, HollowOptions};
use crate::informer::{self, Wanted};
use crate::kinds::{Kind, Resource};
use crate::world::{self, Delta, World};
use crate::{discovery, leader, recorder};

/// News that wait for the engine; then watches are read more slowly.
const DELTAS: usize = 4096;

/// How often the server is asked whether it serves other resources by now.
const DISCOVER: Duration = Duration::from_secs(30);

/// Finished pods that stay, over the whole cluster, unless the options say otherwise.
const FINISHED_PODS_MOST: usize = 12_500;

/// Whether these agents may be the only ones of their kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Nobody else does this work; nothing is asked.
    Alone,
    /// Work begins when a lease is held, under this identity.
    Elected {
        /// Unique among those who stand for election.
        identity: String,
    },
}

/// What the controllers need to be told.
#[derive(Clone, Debug, Default)]
pub struct ControllerOptions {
    /// Certificates that the server's own certificate can be checked with, as PEM; they are
    /// published to every namespace. Nothing is published without them.
    pub root_ca: Option<String>,
    /// How many finished pods may stay in the cluster; 12,500 if it is not given.
    pub finished_pods_most: Option<usize>,
}

/// The agents of one process. They share their watches.
#[derive(Clone, Debug)]
pub struct Agents {
    /// Whether to place pods on nodes, and as whom.
    pub scheduler: Option<Leadership>,
    /// Whether to run the controllers, and as whom.
    pub controllers: Option<(ControllerOptions, Leadership)>,
    /// Nodes to play.
    pub hollow: Vec<HollowOptions>,
}

/// Why agents cannot go on.
#[derive(Debug)]
pub enum Error {
    /// The lease of this name is held by somebody else by now, or could not be renewed in time.
    LostLeadership(&'static str),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LostLeadership(lease) => write!(f, "lost the lease {lease}"),
        }
    }
}

impl std::error::Error for Error {}

/// Places pods on nodes until `until` is ready.
///
/// # Errors
/// When the lease was lost.
pub async fn run_scheduler(
    client: Client,
    leadership: Leadership,
    until: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let agents = Agents { scheduler: Some(leadership), controllers: None, hollow: Vec::new() };
    run(client, agents, until).await
}

/// Runs all controllers until `until` is ready.
///
/// # Errors
/// When the lease was lost.
pub async fn run_controllers(
    client: Client,
    options: ControllerOptions,
    leadership: Leadership,
    until: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let controllers = Some((options, leadership));
    run(client, Agents { scheduler: None, controllers, hollow: Vec::new() }, until).await
}

/// Plays a node until `until` is ready.
///
/// # Errors
/// Never, so far: a hollow node has no lease to lose to others.
pub async fn run_hollow(
    client: Client,
    options: HollowOptions,
    until: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    run(client, Agents { scheduler: None, controllers: None, hollow: vec![options] }, until).await
}

/// Runs several agents until `until` is ready: on one set of watches, if none of them has to be
/// elected; by themselves otherwise, since each may have to wait for others.
///
/// # Errors
/// When one of their leases was lost.
pub async fn run(
    client: Client,
    agents: Agents,
    until: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let parts = parts(agents).into_iter().map(|part| Box::pin(lead(client.clone(), part)));
    let parts: Vec<_> = parts.collect();
    if parts.is_empty() {
        until.await;
        return Ok(());
    }
    tokio::select! {
        (ended, _, _) = futures_util::future::select_all(parts) => ended,
        () = until => Ok(()),
    }
}

/// Agents that share their watches, and the lease that they need.
struct Part {
    agents: Agents,
    election: Option<(&'static str, String)>,
}

fn parts(agents: Agents) -> Vec<Part> {
    let nothing = || Agents { scheduler: None, controllers: None, hollow: Vec::new() };
    let mut together = nothing();
    let mut parts = Vec::new();
    match agents.scheduler {
        Some(Leadership::Elected { identity }) => {
            let agents = Agents { scheduler: Some(Leadership::Alone), ..nothing() };
            parts.push(Part { agents, election: Some(("kube-scheduler", identity)) });
        }
        scheduler => together.scheduler = scheduler,
    }
    match agents.controllers {
        Some((options, Leadership::Elected { identity })) => {
            let controllers = Some((options, Leadership::Alone));
            let agents = Agents { controllers, ..nothing() };
            parts.push(Part { agents, election: Some(("kube-controller-manager", identity)) });
        }
        controllers => together.controllers = controllers,
    }
    together.hollow = agents.hollow;
    let some = together.scheduler.is_some() || together.controllers.is_some();
    if some || !together.hollow.is_empty() {
        parts.push(Part { agents: together, election: None });
    }
    parts
}

/// Runs a part as long as its lease is held. Dropping this ends all of its tasks.
async fn lead(client: Client, part: Part) -> Result<(), Error> {
    let mut tasks = JoinSet::new();
    let lost = match part.election {
        None => None,
        Some((lease, identity)) => Some(leader::acquire(&client, lease, identity).await),
    };
    let lost = async {
        match lost {
            None => std::future::pending().await,
            Some(held) => held.keep().await,
        }
    };
    tokio::select! {
        () = start(&client, &part.agents, &mut tasks) => Ok(()),
        name = lost => Err(Error::LostLeadership(name)),
    }
}

async fn start(client: &Client, agents: &Agents, tasks: &mut JoinSet<()>) {
    let (deltas, queue) = mpsc::channel(DELTAS);
    let wanted = wanted(agents);
    let kinds: BTreeSet<Kind> = wanted.iter().map(|wanted| wanted.kind).collect();
    for wanted in wanted {
        follow(client, wanted, &deltas, tasks);
    }
    let mut world = World::default();
    for options in &agents.hollow {
        world.hollow.insert(options.name.clone(), Hollow::new(options.clone()));
    }
    world.finished_pods_most = FINISHED_PODS_MOST;
    if let Some((options, _)) = &agents.controllers {
        world.root_ca.clone_from(&options.root_ca);
        world.finished_pods_most = options.finished_pods_most.unwrap_or(FINISHED_PODS_MOST);
        tasks.spawn(collect(client.clone(), deltas.clone()));
    }
    drop(deltas);
    let host = agents.hollow.first().map_or_else(String::new, |node| node.name.clone());
    let (recorder, recording) = recorder::start(client.clone(), host);
    tasks.spawn(recording);
    let controllers = controllers(agents);
    info!(controllers = controllers.len(), nodes = agents.hollow.len(), "agents start");
    Engine::new(client.clone(), recorder, world, kinds, controllers).run(queue).await;
}

fn controllers(agents: &Agents) -> Vec<Controller> {
    let mut all = Vec::new();
    if agents.scheduler.is_some() {
        all.push(crate::scheduler::controller());
    }
    if agents.controllers.is_some() {
        all.extend([
            crate::deployment::controller(),
            crate::replicaset::controller(),
            crate::namespace::controller(),
            crate::serviceaccount::controller(),
            crate::root_ca::controller(),
            crate::endpoints::controller(),
            crate::endpointslice::controller(),
            crate::garbage::controller(),
            crate::quota::controller(),
        ]);
        all.extend(crate::node_lifecycle::controllers());
        all.push(crate::pod_garbage::controller());
    }
    if !agents.hollow.is_empty() {
        all.extend(hollow::controllers());
    }
    all
}

/// The kinds that these agents read, and which part of each.
fn wanted(agents: &Agents) -> Vec<Wanted> {
    let leases =
        Wanted { kind: Kind::Lease, fields: Some("metadata.namespace=kube-node-lease".to_owned()) };
    if agents.controllers.is_some() {
        let all = Kind::ALL.iter().map(|kind| match kind {
            Kind::Lease => leases.clone(),
            Kind::ConfigMap => Wanted {
                kind: Kind::ConfigMap,
                fields: Some("metadata.name=kube-root-ca.crt".to_owned()),
            },
            kind => Wanted::all(*kind),
        });
        return all.collect();
    }
    let mut wanted = Vec::new();
    match agents.hollow.as_slice() {
        // A node by itself need not know of others' pods.
        [node] if agents.scheduler.is_none() => {
            let fields = |name: &str| Some(format!("{name}={}", node.name));
            wanted.push(Wanted { kind: Kind::Pod, fields: fields("spec.nodeName") });
            wanted.push(Wanted { kind: Kind::Node, fields: fields("metadata.name") });
        }
        _ => wanted.extend([Wanted::all(Kind::Pod), Wanted::all(Kind::Node)]),
    }
    if !agents.hollow.is_empty() {
        wanted.extend([leases, Wanted::all(Kind::Namespace)]);
    }
    wanted
}

fn follow(client: &Client, wanted: Wanted, out: &Sender<Delta>, tasks: &mut JoinSet<()>) {
    let client = client.clone();
    let out = out.clone();
    match wanted.kind {
        Kind::Pod => tasks.spawn(informer::follow::<Pod>(client, wanted, out)),
        Kind::Node => tasks.spawn(informer::follow::<Node>(client, wanted, out)),
        Kind::Namespace => tasks.spawn(informer::follow::<Namespace>(client, wanted, out)),
        Kind::Deployment => tasks.spawn(informer::follow::<Deployment>(client, wanted, out)),
        Kind::ReplicaSet => tasks.spawn(informer::follow::<ReplicaSet>(client, wanted, out)),
        Kind::Service => tasks.spawn(informer::follow::<Service>(client, wanted, out)),
        Kind::Endpoints => tasks.spawn(informer::follow::<Endpoints>(client, wanted, out)),
        Kind::EndpointSlice => tasks.spawn(informer::follow::<EndpointSlice>(client, wanted, out)),
        Kind::ServiceAccount => {
            tasks.spawn(informer::follow::<ServiceAccount>(client, wanted, out))
        }
        Kind::ConfigMap => tasks.spawn(informer::follow::<ConfigMap>(client, wanted, out)),
        Kind::Lease => tasks.spawn(informer::follow::<Lease>(client, wanted, out)),
        Kind::ResourceQuota => tasks.spawn(informer::follow::<ResourceQuota>(client, wanted, out)),
    };
}

/// Follows the metadata of all that the server serves and that is not followed whole.
async fn collect(client: Client, out: Sender<Delta>) {
    let whole: BTreeSet<(String, String)> = Kind::ALL
        .iter()
        .filter(|kind| world::is_whole(**kind))
        .map(|kind| (kind.resource().group.to_string(), kind.resource().kind.to_string()))
        .collect();
    let mut followers = JoinSet::new();
    let mut followed: BTreeMap<Resource, AbortHandle> = BTreeMap::new();
    loop {
        let all = discovery::served(&client).await;
        for failure in &all.failures {
            warn!(failure, "cannot discover");
        }
        let mut served = BTreeSet::new();
        for found in all.resources.iter().filter(|found| found.can_be_collected()) {
            let resource = found.resource.clone();
            served.insert(resource.clone());
            if out.send(Delta::Served { resource: resource.clone() }).await.is_err() {
                return;
            }
            let name = (resource.group.to_string(), resource.kind.to_string());
            if !whole.contains(&name) && !followed.contains_key(&resource) {
                let work = informer::follow_metadata(client.clone(), resource.clone(), out.clone());
                followed.insert(resource, followers.spawn(work));
            }
        }
        // What is no longer served has no objects any more. A failure proves nothing.
        if all.failures.is_empty() {
            let gone: Vec<Resource> =
                followed.keys().filter(|known| !served.contains(known)).cloned().collect();
            for resource in gone {
                if let Some(task) = followed.remove(&resource) {
                    task.abort();
                }
                let none = Delta::MetaReplaced { resource, revision: u64::MAX, metas: Vec::new() };
                if out.send(none).await.is_err() {
                    return;
                }
            }
        }
        tokio::time::sleep(DISCOVER).await;
    }
}
