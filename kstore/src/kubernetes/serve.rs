//! Starting and stopping the API server on a member.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kstore_apiserver::auth::authentication::{Anonymous, Tokens};
use kstore_apiserver::housekeeping;
use kstore_apiserver::http::Listener;
use kstore_apiserver::server::{Parts, Server};
use kstore_apiserver::storage::Storage;
use kstore_host::{Clock, Disk, Random};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::files::{Files, Maker};

/// What the command line says about the API server.
#[derive(Debug, Clone)]
pub(crate) struct ApiConfig {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// Keys, certificates and kubeconfigs lie here.
    pub(crate) dir: PathBuf,
    /// The administrator's kubeconfig.
    pub(crate) kubeconfig: PathBuf,
    /// The addresses of services.
    pub(crate) services: String,
    /// More names that clients call it by.
    pub(crate) names: Vec<String>,
}

/// What it takes from its machine.
pub(crate) struct ApiHost {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// An API server that runs.
pub(crate) struct ApiServer {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    server: Arc<Server>,
    pub(crate) address: SocketAddr,
}

impl ApiServer {
    /// Binds, makes what is missing, and serves.
    pub(crate) async fn start(
        config: &ApiConfig,
        storage: Arc<dyn Storage>,
        host: ApiHost,
    ) -> Result<Self, String> {
        let socket = TcpListener::bind(config.listen).await;
        let socket =
            socket.map_err(|error| format!("listen on https://{}: {error}", config.listen))?;
        let address = socket.local_addr().map_err(|error| error.to_string())?;
        let now = i64::try_from(host.clock.wall().as_secs()).unwrap_or(i64::MAX);
        let maker = Maker { disk: &host.disk, dir: config.dir.clone(), now };
        let first = first_service(&config.services)?;
        let files = maker.open(&config.names, first)?;
        kubeconfigs(&maker, &files, config, address)?;
        let tls = tls(&files)?;
        let server = Server::new(Parts {
            storage,
            clock: host.clock,
            random: host.random,
            tokens: Tokens::new(ISSUER, files.signing, Vec::new()),
            anonymous: Anonymous::Allowed,
            service_network: config.services.clone(),
            advertised: (advertised(address), address.port()),
        })?;
        let stop = watch::Sender::new(false);
        let serving = Listener::new(socket, tls).serve(Arc::clone(&server), stop.subscribe());
        let tasks =
            vec![tokio::spawn(serving), tokio::spawn(housekeeping::run(Arc::clone(&server)))];
        Ok(Self { stop, tasks, server, address })
    }

    /// Waits until it has read who may what.
    pub(crate) async fn ready(&self) {
        while !self.server.is_ready() {
            sleep(LOOK).await;
        }
    }

    /// Sends clients away.
    pub(crate) async fn end(mut self) {
        self.stop.send_replace(true);
        if let Some(housekeeping) = self.tasks.pop() {
            housekeeping.abort();
        }
        for task in self.tasks {
            drop(task.await);
        }
    }
}

/// How often to look whether it is ready.
const LOOK: Duration = Duration::from_millis(2);

/// Who makes the tokens of service accounts (upstream's name for it).
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The address of the `kubernetes` service: the first of the range.
fn first_service(range: &str) -> Result<Ipv4Addr, String> {
    let base = range.split('/').next().unwrap_or_default();
    let base: Ipv4Addr = base
        .parse()
        .map_err(|_| format!("invalid value \"{range}\" for --service-cluster-ip-range"))?;
    Ok(Ipv4Addr::from(u32::from(base).wrapping_add(1)))
}

/// The address that others are told. Endpoints must not be loopback addresses, so a server that
/// listens there tells the address from which this machine would reach others. (Asking for it
/// sends nothing.)
fn advertised(address: SocketAddr) -> Ipv4Addr {
    match address {
        SocketAddr::V4(address)
            if !address.ip().is_unspecified() && !address.ip().is_loopback() =>
        {
            *address.ip()
        }
        _ => own_address().unwrap_or(Ipv4Addr::LOCALHOST),
    }
}

fn own_address() -> Option<Ipv4Addr> {
    // An address of RFC 5737, which is nobody's.
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 9));
    let socket = std::net::UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], 0))).ok()?;
    socket.connect(elsewhere).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(address) if !address.ip().is_loopback() => Some(*address.ip()),
        _ => None,
    }
}

/// The kubeconfigs: name of the file, of the user, and group.
const AGENTS: [(&str, &str, Option<&str>); 3] = [
    ("scheduler", "system:kube-scheduler", None),
    ("controller-manager", "system:kube-controller-manager", None),
    ("hollow", "kstore:hollow", None),
];

fn kubeconfigs(
    maker: &Maker<'_>,
    files: &Files,
    config: &ApiConfig,
    address: SocketAddr,
) -> Result<(), String> {
    let host =
        if address.ip().is_unspecified() { "127.0.0.1".into() } else { address.ip().to_string() };
    let server = format!("https://{host}:{}", address.port());
    let admin = ("admin", "kubernetes-admin", Some("system:masters"));
    maker.kubeconfig(&config.kubeconfig, files, admin, &server)?;
    for (name, user, group) in AGENTS {
        let path = config.dir.join(format!("{name}.kubeconfig"));
        maker.kubeconfig(&path, files, (name, user, group), &server)?;
    }
    Ok(())
}

fn tls(files: &Files) -> Result<Arc<ServerConfig>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("the server's certificate: {why}");
    let certificates = |text: &str| {
        CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|why| wrong(&why))
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.authority.pair().certificate)? {
        roots.add(certificate).map_err(|why| wrong(&why))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|why| wrong(&why))?;
    let key =
        PrivateKeyDer::from_pem_slice(files.serving.key.as_bytes()).map_err(|why| wrong(&why))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| wrong(&why))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&files.serving.certificate)?, key)
        .map_err(|why| wrong(&why))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
