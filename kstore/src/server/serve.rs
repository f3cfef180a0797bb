//! Wiring: sockets, threads, the member, its listeners; and how all of that ends.

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kstore_etcd_api::{Api, Door, Listener, Serves, SyncTimes, Tls};
use kstore_host::os::{OsClock, OsDisk, OsRandom};
use kstore_host::threads::ThreadJobs;
use kstore_host::{Clock, Disk, OpenMode};
use kstore_machine::command::{Command, MemberAttributes};
use kstore_raft::peer::tonic_net::{PeerService, TonicNet};
use kstore_raft::runtime::TokioRuntime;
use kstore_raft::{HostParts, Member, StartOptions};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::kubernetes::{Agents, ApiConfig, ApiHost, ApiServer, LocalStorage};

use super::compactor;
use super::config::{Config, PeerTls};
use super::timed_disk::TimedDisk;
use super::urls::MemberUrl;

/// Threads for reads that are long or cold.
const JOB_THREADS: usize = 4;

/// Reads that wait for a thread; beyond that clients are told to try again.
const JOB_QUEUE: usize = 4096;

/// How long the member has to stop cleanly. What it does then (hand leadership over, write a
/// root) saves time later; nothing is lost without it.
const STOP_LIMIT: Duration = Duration::from_millis(1300);

/// How long to wait before publishing the member's name and addresses again.
const PUBLISH_AGAIN: Duration = Duration::from_millis(100);

/// Runs a member until a signal; an error is one line.
pub(crate) fn serve(config: Config) -> Result<(), String> {
    if let Err(error) = kstore_host::process::raise_open_files() {
        tracing::warn!(%error, "the bound on open files stays as it is");
    }
    let api_runtime = runtime("api", api_threads())?;
    let raft_runtime = runtime("raft", 1)?;
    let result = api_runtime.block_on(run(config, &raft_runtime));
    // Whatever still runs is not waited for: the member has stopped, or has told why it ended.
    raft_runtime.shutdown_background();
    api_runtime.shutdown_background();
    result
}

fn api_threads() -> usize {
    std::thread::available_parallelism().map_or(2, NonZero::get).clamp(2, 16)
}

fn runtime(name: &str, threads: usize) -> Result<Runtime, String> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(|error| format!("start threads: {error}"))
}

/// What a member takes from its machine.
struct Machine {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    /// How long the disk's syncs took.
    syncs: Arc<SyncTimes>,
}

impl Machine {
    fn open() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(OsClock::start());
        let syncs = Arc::new(SyncTimes::default());
        let disk = TimedDisk {
            disk: Arc::new(OsDisk),
            clock: Arc::clone(&clock),
            times: Arc::clone(&syncs),
        };
        Self { disk: Arc::new(disk), clock, syncs }
    }
}

async fn run(config: Config, raft_runtime: &Runtime) -> Result<(), String> {
    let mut signals = Signals::open()?;
    let machine = Machine::open();
    let sockets = Sockets::open(&config, &machine, raft_runtime).await?;
    let net = TonicNet::new(client_tls(&config, &*machine.disk)?);
    let starting = raft_runtime.spawn(start(start_options(&config), host_parts(&machine), net));
    let member = tokio::select! {
        started = starting => started.map_err(|error| format!("start member: {error}"))??,
        () = signals.stop() => return Ok(()),
    };
    tracing::info!(
        name = config.name,
        member = %member.member_id(),
        cluster = %member.cluster_id(),
        data_dir = %config.data_dir.display(),
        "member started"
    );
    let api = Api::new(member.clone(), config.settings.clone(), Arc::clone(&machine.syncs));
    let served = sockets.serve(api, &member, raft_runtime);
    if let Some(compaction) = config.compaction {
        tokio::spawn(compactor::run(member.clone(), compaction));
    }
    let mut kubernetes = Kubernetes::default();
    tokio::select! {
        reason = member.stopped() => return Err(format!("member ended: {reason}")),
        failed = kubernetes.run(config, &member, &machine) => return Err(failed),
        () = signals.stop() => {}
    }
    tracing::info!("stopping");
    kubernetes.end().await;
    served.stop(&member).await;
    tracing::info!("stopped");
    Ok(())
}

/// What of Kubernetes runs in this process.
#[derive(Default)]
struct Kubernetes {
    api_server: Option<ApiServer>,
    agents: Option<Agents>,
}

impl Kubernetes {
    /// Starts what is asked for, which can take as long as the cluster is without a leader, then
    /// tells others about this member. It returns only if something fails, and says what.
    async fn run(&mut self, config: Config, member: &Member, machine: &Machine) -> String {
        if let Err(why) = self.start(&config, member, machine).await {
            return why;
        }
        announce(member.clone(), config).await;
        std::future::pending().await
    }

    async fn start(
        &mut self,
        config: &Config,
        member: &Member,
        machine: &Machine,
    ) -> Result<(), String> {
        let Some(api) = &config.api else { return Ok(()) };
        let host = ApiHost {
            disk: Arc::clone(&machine.disk),
            clock: Arc::clone(&machine.clock),
            random: Arc::new(OsRandom),
        };
        let storage = Arc::new(LocalStorage(member.clone()));
        let started = self.api_server.insert(ApiServer::start(api, storage, host).await?);
        tracing::info!(address = %started.address, "the API server listens");
        started.ready().await;
        if config.agents {
            self.agents = Some(Agents::start(&api.dir).await?);
            greet(api).await;
        }
        Ok(())
    }

    async fn end(self) {
        if let Some(agents) = self.agents {
            agents.end();
        }
        if let Some(api_server) = self.api_server {
            api_server.end().await;
        }
    }
}

/// What a person does next.
async fn greet(api: &ApiConfig) {
    let Some(kubeconfig) = &api.kubeconfig else { return };
    let kubeconfig = kubeconfig.display();
    let text = format!(
        "kstore is up, on one hollow node: pods get as far as Running, but no container is started.\n\
         \n\
         \x20 export KUBECONFIG={kubeconfig}\n\
         \x20 kubectl get nodes\n\
         \x20 kubectl create deployment hello --image=nginx --replicas=3 && kubectl get pods -w\n"
    );
    // Nobody reads it if that fails.
    drop(tokio::io::stdout().write_all(text.as_bytes()).await);
}

/// Listeners at work.
struct Served {
    clients: Group,
    peers: Group,
}

/// Listeners that end together.
struct Group {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Group {
    fn new() -> Self {
        Self { stop: watch::Sender::new(false), tasks: JoinSet::new() }
    }

    async fn end(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Served {
    /// Clients are sent away while the member hands leadership over and puts everything away.
    /// Peers are served until that is done: whoever takes over needs this member's answers.
    async fn stop(self, member: &Member) {
        let stopped = timeout(STOP_LIMIT, member.stop());
        let (stopped, ()) = tokio::join!(stopped, self.clients.end());
        if stopped.is_err() {
            tracing::warn!(
                "stopped before everything was put away; the next start replays the log"
            );
        }
        drop(self.peers);
    }
}

async fn start(options: StartOptions, host: HostParts, net: TonicNet) -> Result<Member, String> {
    let started = kstore_raft::start::<TokioRuntime, TonicNet>(options, host, net).await;
    started.map_err(|error| error.to_string())
}

fn start_options(config: &Config) -> StartOptions {
    let mut options = StartOptions::new(
        config.name.clone(),
        config.data_dir.clone(),
        config.cluster.clone(),
        config.token.clone(),
    );
    options.timing = config.timing;
    options
}

fn host_parts(machine: &Machine) -> HostParts {
    HostParts {
        disk: Arc::clone(&machine.disk),
        clock: Arc::clone(&machine.clock),
        random: Arc::new(OsRandom),
        jobs: Arc::new(ThreadJobs::new(JOB_THREADS, JOB_QUEUE)),
    }
}

/// Tells the cluster what this member is called and where its clients find it, unless it knows;
/// then says that it serves. Both need a leader, so a member that says it is ready is.
async fn announce(member: Member, config: Config) {
    let client_urls: Vec<String> =
        config.advertise_client.iter().map(ToString::to_string).collect();
    loop {
        let known = member.read_barrier().await.is_ok();
        let own = member.members().into_iter().find(|info| info.id == member.member_id());
        let is_published =
            own.is_some_and(|info| info.name == config.name && info.client_urls == client_urls);
        if known && is_published {
            break;
        }
        let attributes = MemberAttributes {
            id: member.member_id().0,
            name: config.name.clone(),
            peer_urls: Vec::new(),
            client_urls: client_urls.clone(),
        };
        if known && let Err(why) = member.propose(Command::MemberAttributes(attributes)).await {
            tracing::debug!(%why, "member attributes not published yet");
        }
        tokio::time::sleep(PUBLISH_AGAIN).await;
    }
    let addresses = addresses(&config.listen_client);
    tracing::info!(name = config.name, %addresses, "ready to serve client requests");
}

fn addresses(urls: &[MemberUrl]) -> String {
    let addresses: Vec<String> = urls.iter().map(ToString::to_string).collect();
    addresses.join(",")
}

/// The sockets of a member, bound before anything else is touched.
struct Sockets {
    clients: Vec<Listener>,
    peers: Vec<Listener>,
    metrics: Vec<Listener>,
}

impl Sockets {
    async fn open(
        config: &Config,
        machine: &Machine,
        raft_runtime: &Runtime,
    ) -> Result<Self, String> {
        let tls = |files: Option<kstore_etcd_api::TlsFiles>| {
            let open =
                |files| Tls::open(files, Arc::clone(&machine.disk), Arc::clone(&machine.clock));
            files.map(open).transpose().map(|tls| tls.map(Arc::new))
        };
        let client_tls = tls(config.client_tls.clone())?;
        let peer_tls = tls(config.peer_tls.clone().map(|tls| tls.files))?;
        // What the operating system says about the peers' sockets is heard by the threads that
        // serve them, however busy the others are.
        let peers = raft_runtime.spawn(listeners(config.listen_peer.clone(), peer_tls));
        Ok(Self {
            clients: listeners(config.listen_client.clone(), client_tls.clone()).await?,
            peers: peers.await.map_err(|error| format!("listen for peers: {error}"))??,
            metrics: listeners(config.listen_metrics.clone(), client_tls).await?,
        })
    }

    fn serve(self, api: Api, member: &Member, raft_runtime: &Runtime) -> Served {
        let mut served = Served { clients: Group::new(), peers: Group::new() };
        let pulse = api.clone();
        tokio::spawn(async move { pulse.run().await });
        let clients = Serves::Clients(Arc::new(Door::new(api.clone())));
        let peers = Serves::Peers(Arc::new(PeerService::server(member.clone())));
        for (listeners, serves) in [(self.clients, clients), (self.metrics, Serves::Pages(api))] {
            for listener in listeners {
                let stop = served.clients.stop.subscribe();
                served.clients.tasks.spawn(listener.serve(serves.clone(), stop));
            }
        }
        for listener in self.peers {
            let stop = served.peers.stop.subscribe();
            let serving = listener.serve(peers.clone(), stop);
            served.peers.tasks.spawn_on(serving, raft_runtime.handle());
        }
        served
    }
}

async fn listeners(urls: Vec<MemberUrl>, tls: Option<Arc<Tls>>) -> Result<Vec<Listener>, String> {
    let mut listeners = Vec::new();
    for url in urls {
        let socket = TcpListener::bind(&url.address).await;
        let socket = socket.map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!("listen on {url}: address already in use")
            }
            std::io::ErrorKind::PermissionDenied => format!("listen on {url}: permission denied"),
            _ => format!("listen on {url}: {error}"),
        })?;
        listeners.push(Listener::new(socket, tls.clone().filter(|_| url.tls)));
    }
    Ok(listeners)
}

/// How this member calls others over TLS.
fn client_tls(config: &Config, disk: &dyn Disk) -> Result<Option<ClientTlsConfig>, String> {
    let Some(PeerTls { files, authorities }) = &config.peer_tls else { return Ok(None) };
    let certificate = read(disk, &files.certificate)?;
    let key = read(disk, &files.key)?;
    let mut tls = ClientTlsConfig::new().identity(Identity::from_pem(certificate, key));
    if let Some(authorities) = authorities {
        tls = tls.ca_certificate(Certificate::from_pem(read(disk, authorities)?));
    }
    Ok(Some(tls))
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, String> {
    let read = || {
        let file = disk.open(path, OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(file.length()?).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    };
    read().map_err(|error: std::io::Error| format!("read {}: {error}", path.display()))
}

/// The signals that end a member.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn open() -> Result<Self, String> {
        let open = |kind| signal(kind).map_err(|error| format!("listen for signals: {error}"));
        Ok(Self {
            terminate: open(SignalKind::terminate())?,
            interrupt: open(SignalKind::interrupt())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
